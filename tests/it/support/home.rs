//! One test's own corner: config, socket and log folder in a temporary place, and the client that knows them.

use std::fs::{self, DirBuilder};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::deadline::LIMIT;
use super::events::Events;
use super::process;
use super::stage::Stage;

/// What a client said and how it ended.
#[derive(Debug)]
pub struct Answer {
    /// Exit code; 128+N for signal N.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Answer {
    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code; stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Asserts that standard error (or output) holds each of these.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word) || self.out.contains(word), "`{word}` is missing in:\n{}\n{}", self.out, self.err);
        }
        self
    }
}

/// The folder of one test. When it goes, no process that belongs to it may be left.
pub struct Home {
    dir: TempDir,
    /// Where its scripted children come in.
    pub stage: Stage,
}

impl Home {
    /// A corner with this configuration. `@NAME` stands for the command of a scripted child of that name.
    pub fn new(config: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("section3-it-").tempdir().expect("a temporary folder");
        DirBuilder::new().mode(0o700).create(dir.path().join("run")).expect("a folder for the socket");
        let stage = Stage::new(&dir.path().join("stage"));
        let home = Self { dir, stage };
        home.configure(config);
        home
    }

    /// Replaces the configuration.
    pub fn configure(&self, config: &str) {
        let mut text = String::new();
        let mut rest = config;
        while let Some((before, after)) = rest.split_once('@') {
            let end = after.find(|c: char| !c.is_alphanumeric()).unwrap_or(after.len());
            text += before;
            text += &self.stage.command(&after[..end]);
            rest = &after[end..];
        }
        fs::write(self.config(), text + rest).expect("the config file");
    }

    /// A path in this corner.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a file that others may be reading in its place at once: they see the old text or the new one, never a part.
    pub fn replace(&self, path: &Path, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).expect("a new file");
        fs::rename(&new, path).expect("the new file in its place");
    }

    /// The config file.
    pub fn config(&self) -> PathBuf {
        self.path("section3.yml")
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.path("run/section3.sock")
    }

    /// The log file of a service.
    pub fn log(&self, service: &str) -> PathBuf {
        self.path("log").join(format!("{service}.log"))
    }

    /// What the log file of a service holds now.
    #[track_caller]
    pub fn log_text(&self, service: &str) -> String {
        let path = self.log(service);
        String::from_utf8_lossy(&fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).into_owned()
    }

    /// Flags that make a supervisor live here.
    pub fn flags(&self) -> Vec<String> {
        let pair = |flag: &str, path: &Path| [flag.to_owned(), path.display().to_string()];
        [pair("--config", &self.config()), pair("--socket", &self.socket()), pair("--log-dir", &self.path("log"))].concat()
    }

    /// The program as a client of this corner's supervisor.
    pub fn client(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args).env("SECTION3_SOCKET", self.socket()).env("SECTION3_CONFIG", self.config());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs one command to its end.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> Answer {
        finish(self.client(args).spawn().expect("the program"), &format!("section3 {}", args.join(" ")))
    }

    /// Runs one command with `--json`, which must succeed, and reads its answer.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let answer = self.cli(&[args, &["--json"]].concat()).exits(0);
        serde_json::from_str(&answer.out).unwrap_or_else(|e| panic!("{args:?} --json: {e}\n{}", answer.out))
    }

    /// What `status --json` says of one service.
    #[track_caller]
    pub fn status(&self, service: &str) -> Value {
        let all = self.json(&["status", service]);
        let found = all["services"].as_array().and_then(|list| list.iter().find(|s| s["name"] == service));
        found.unwrap_or_else(|| panic!("no service `{service}` in {all}")).clone()
    }

    /// The live events of this corner's supervisor, from the oldest it remembers.
    pub fn events(&self) -> Events {
        Events::new(self.client(&["events", "-f", "-n", "1000", "--json"]))
    }

    /// A connection to the socket on which every wait is bounded.
    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).expect("a supervisor at the socket");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        stream.set_write_timeout(Some(LIMIT)).expect("a limit");
        stream
    }

    /// Sends these bytes, as `nc -N` would, and returns the whole answer.
    #[track_caller]
    pub fn ask(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).expect("a request");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The processes of this corner that are alive.
    pub fn processes(&self) -> Vec<i32> {
        process::with_variable("SECTION3_SOCKET", &self.socket())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let left = self.processes();
        let list: Vec<String> = left.iter().map(|pid| process::describe(*pid)).collect();
        for pid in left {
            process::signal(pid, Signal::SIGKILL);
        }
        assert!(list.is_empty() || thread::panicking(), "left behind:\n{}", list.join("\n"));
    }
}

/// The program under test.
pub fn program() -> &'static str {
    env!("CARGO_BIN_EXE_section3")
}

/// Waits for a process that will end by itself and reads what it says.
#[track_caller]
pub fn finish(child: Child, name: &str) -> Answer {
    let pid = child.id().cast_signed();
    let (to, from) = channel();
    thread::spawn(move || to.send(child.wait_with_output()));
    let Ok(output) = from.recv_timeout(LIMIT) else {
        process::signal(pid, Signal::SIGKILL);
        let said = from.recv_timeout(LIMIT).map(|o| o.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()));
        panic!("`{name}` did not end; it said {said:?}")
    };
    let output = output.expect("its output");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer { code: code_of(output.status), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Exit code as a shell would give it.
pub fn code_of(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|s| 128 + s)).expect("a code or a signal")
}
