//! Programs that scripts run: no shell, a process group of their own, an end in any case.
//!
//! The hook host is no reaper of strangers (its supervisor is), so the children here are all its own, and each is reaped by
//! whoever launched it. Never tokio's `process`: it brings a reaper of its own.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::hooks::clock;
use crate::hooks::script::{ExecRequest, ExecResult, IoFault};
use crate::sys::wait::{self, Zombie};
use crate::sys::{process, words};
use crate::value::duration::{Human, millis};
use crate::value::{ExitStatus, Signal};

/// How much is read at once.
const PIECE: usize = 16 << 10;

/// Reads after the program's end: what is in a pipe then is at most 1 MiB, and somebody who left the group may go on writing.
const LAST_READS: usize = 256;

/// Runs a program to its end.
///
/// # Errors
///
/// Where it could not be launched, or its time was over: then it was killed with its whole group, as it is where this future
/// is dropped.
pub async fn exec(request: ExecRequest) -> Result<ExecResult, IoFault> {
    let began = clock::now();
    let program = request.argv.first().map_or("", String::as_str).to_owned();
    let mut running = Running::launch(&request, &program)?;
    let Pipes { stdin, stdout, stderr } = running.pipes().map_err(|error| launch_fault(&program, None, &error))?;
    let mut stdout = Output::new(stdout, request.max_output);
    let mut stderr = Output::new(stderr, request.max_output);
    let pid = running.pid;
    let mut ended = tokio::task::spawn_blocking(move || wait::until_ended(pid));
    let mut feeding = std::pin::pin!(feed(stdin, request.stdin));
    let (mut fed, mut late) = (false, false);
    let mut patience = std::pin::pin!(tokio::time::sleep(request.timeout));
    let zombie = loop {
        tokio::select! {
            zombie = &mut ended => break zombie.ok().flatten(),
            () = &mut patience, if !late => {
                late = true;
                running.kill();
            }
            () = &mut feeding, if !fed => fed = true,
            () = stdout.read(), if stdout.is_open() => {}
            () = stderr.read(), if stderr.is_open() => {}
        }
    };
    running.reap(zombie);
    if late {
        let message = format!("`{program}` was killed: it took longer than {}", Human(request.timeout));
        return Err(IoFault { code: "timeout", message, retryable: true });
    }
    stdout.drain();
    stderr.drain();
    let (code, signal) = match zombie.map(|zombie| zombie.status) {
        Some(ExitStatus::Code(code)) => (Some(i32::from(code)), None),
        Some(ExitStatus::Signal { signal, .. }) => (None, Some(signal.to_string())),
        None => (None, None),
    };
    Ok(ExecResult {
        code,
        signal,
        truncated: stdout.truncated || stderr.truncated,
        stdout: stdout.kept,
        stderr: stderr.kept,
        ms: millis(clock::now().saturating_duration_since(began)),
    })
}

/// A program that was launched and not reaped yet. Dropped, it is killed with its group.
struct Running {
    child: Option<Child>,
    pid: i32,
}

/// Our ends.
struct Pipes {
    stdin: Option<Sender>,
    stdout: Receiver,
    stderr: Receiver,
}

impl Running {
    fn launch(request: &ExecRequest, program: &str) -> Result<Self, IoFault> {
        let mut command = Command::new(program);
        command.args(request.argv.iter().skip(1)).process_group(0);
        command.stdin(if request.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in &request.env {
            command.env(name, value);
        }
        if let Some(dir) = &request.dir {
            command.current_dir(dir);
        }
        let child = command.spawn().map_err(|error| launch_fault(program, request.dir.as_deref(), &error))?;
        let pid = i32::try_from(child.id()).map_err(|_| launch_fault(program, None, &io::Error::other("no process id")))?;
        Ok(Self { child: Some(child), pid })
    }

    fn pipes(&mut self) -> io::Result<Pipes> {
        let child = self.child.as_mut().ok_or_else(|| io::Error::other("it is gone"))?;
        let missing = || io::Error::other("a pipe is missing");
        let stdin = child.stdin.take().map(|end| Sender::from_owned_fd(OwnedFd::from(end))).transpose()?;
        let stdout = Receiver::from_owned_fd(OwnedFd::from(child.stdout.take().ok_or_else(missing)?))?;
        let stderr = Receiver::from_owned_fd(OwnedFd::from(child.stderr.take().ok_or_else(missing)?))?;
        Ok(Pipes { stdin, stdout, stderr })
    }

    /// Kills all of its group. Its number is its own until it is reaped.
    fn kill(&self) {
        let _gone = process::signal_group(self.pid, Signal::KILL);
    }

    /// Ends what it left behind, and reaps it.
    fn reap(mut self, zombie: Option<Zombie>) {
        self.kill();
        if let Some(zombie) = zombie {
            self.child = None;
            let _usage = wait::reap(zombie);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            self.kill();
            // A process that sits in the kernel ends when it ends: not on this thread.
            std::thread::spawn(move || drop(child.wait()));
        }
    }
}

/// Writes what the program is to read; that it does not read it is its own affair.
async fn feed(stdin: Option<Sender>, bytes: Vec<u8>) {
    if let Some(mut stdin) = stdin {
        drop(stdin.write_all(&bytes).await);
    }
}

/// One of the two outputs: the beginning is kept, the rest is read and dropped.
struct Output {
    pipe: Option<Receiver>,
    kept: Vec<u8>,
    most: usize,
    truncated: bool,
}

impl Output {
    const fn new(pipe: Receiver, most: usize) -> Self {
        Self { pipe: Some(pipe), kept: Vec::new(), most, truncated: false }
    }

    const fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    async fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut piece = vec![0; PIECE];
        match pipe.read(&mut piece).await {
            Ok(count) if count > 0 => self.keep(&piece[..count]),
            _ => self.pipe = None,
        }
    }

    /// What is in the pipe now.
    fn drain(&mut self) {
        let mut piece = vec![0; PIECE];
        for _ in 0..LAST_READS {
            let Some(pipe) = &self.pipe else { return };
            // Not through the runtime: it would have to hear of the bytes first.
            match nix::unistd::read(pipe, &mut piece) {
                Ok(count) if count > 0 => self.keep(&piece[..count]),
                _ => return,
            }
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = self.most.saturating_sub(self.kept.len()).min(piece.len());
        self.kept.extend_from_slice(&piece[..room]);
        self.truncated |= room < piece.len();
    }
}

fn launch_fault(program: &str, dir: Option<&Path>, error: &io::Error) -> IoFault {
    let place = match dir {
        Some(dir) if !dir.is_dir() => format!(" in {}", dir.display()),
        _ => String::new(),
    };
    let retryable = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory);
    IoFault { code: "launch", message: format!("cannot run `{program}`{place}: {}", words::io(error)), retryable }
}

/// The longest a program may run.
pub const LONGEST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn request(words: &[&str]) -> ExecRequest {
        ExecRequest {
            argv: words.iter().map(|word| (*word).to_owned()).collect(),
            stdin: Vec::new(),
            env: Vec::new(),
            dir: None,
            timeout: Duration::from_secs(60),
            max_output: 1 << 20,
        }
    }

    fn run(request: ExecRequest) -> Result<ExecResult, IoFault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(exec(request))
    }

    #[test]
    fn how_programs_end() {
        let ended = run(request(&["sh", "-c", "echo out; echo err >&2; exit 7"])).expect("ran");
        assert_eq!((ended.code, ended.signal, ended.truncated), (Some(7), None, false));
        assert_eq!((ended.stdout.as_slice(), ended.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        let ended = run(request(&["sh", "-c", "kill -TERM $$"])).expect("ran");
        assert_eq!((ended.code, ended.signal.as_deref()), (None, Some("SIGTERM")));
    }

    #[test]
    fn stdin_env_and_dir() {
        let dir = tempfile::tempdir().expect("a folder");
        let whole = dir.path().canonicalize().expect("a path");
        // More than a pipe holds.
        let stdin = vec![b'x'; 300_000];
        let words = ["sh", "-c", "printf '%s %s ' \"$A\" \"$PWD\"; wc -c"];
        let request =
            ExecRequest { stdin, env: vec![("A".to_owned(), "1".to_owned())], dir: Some(whole.clone()), ..request(&words) };
        let ended = run(request).expect("ran");
        let text = String::from_utf8(ended.stdout).expect("text");
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["1", whole.to_str().expect("UTF-8"), "300000"]);
    }

    #[test]
    fn a_program_that_does_not_read_is_no_fault() {
        let ended = run(ExecRequest { stdin: vec![b'x'; 300_000], ..request(&["true"]) }).expect("ran");
        assert_eq!(ended.code, Some(0));
    }

    #[test]
    fn output_is_bounded() {
        let request = ExecRequest { max_output: 1000, ..request(&["sh", "-c", "head -c 3000000 /dev/zero; echo done >&2"]) };
        let ended = run(request).expect("ran");
        assert_eq!((ended.stdout.len(), ended.truncated, ended.stderr), (1000, true, b"done\n".to_vec()));
    }

    /// The group is gone: the pipe that its members hold comes to its end.
    #[test]
    fn time_is_bounded_and_the_group_goes_with_it() {
        let (watched, held) = nix::unistd::pipe().expect("a pipe");
        let script = format!("sleep 1000 & sleep 1000 & wait; : {}", std::os::fd::AsRawFd::as_raw_fd(&held));
        let request = ExecRequest { timeout: Duration::from_millis(100), ..request(&["sh", "-c", &script]) };
        let fault = run(request).expect_err("late");
        assert_eq!((fault.code, fault.retryable), ("timeout", true));
        assert_eq!(fault.message, "`sh` was killed: it took longer than 100ms");
        drop(held);
        let mut byte = [0];
        assert_eq!(nix::unistd::read(&watched, &mut byte), Ok(0));
    }

    /// What a program leaves behind ends with it: nobody waits for a pipe that it holds.
    #[test]
    fn what_it_leaves_behind_is_ended() {
        let ended = run(request(&["sh", "-c", "sleep 1000 & echo $!"])).expect("ran");
        let pid: i32 = String::from_utf8(ended.stdout).expect("text").trim().parse().expect("a number");
        let is_over = || process::stat(pid).is_none_or(|left| left.parent != nix::unistd::getpid().as_raw());
        assert!(is_over());
    }

    #[test]
    fn what_cannot_be_launched() {
        for (words, dir, message) in [
            (&["section3-no-such-program"][..], None, "cannot run `section3-no-such-program`: no such file or directory"),
            (&["/etc/passwd"][..], None, "cannot run `/etc/passwd`: permission denied"),
            (&["true"][..], Some("/section3/none"), "cannot run `true` in /section3/none: no such file or directory"),
        ] {
            let fault = run(ExecRequest { dir: dir.map(Into::into), ..request(words) }).expect_err("not launched");
            assert_eq!((fault.code, fault.message.as_str()), ("launch", message));
        }
    }
}
