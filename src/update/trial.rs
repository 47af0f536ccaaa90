//! A program is run once before it is put in place: does it start here, and is it what it is said to be?

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::{PRODUCT, failed};
use crate::sys::process::signal_group;
use crate::sys::words;
use crate::value::duration::Human;
use crate::value::json;
use crate::value::{Signal, Version};
use crate::wire::{Fault, ProgramReport};

/// How long a program may take to say its version: a thousand times what it needs, also from a cold disk.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The longest answer that is read.
const MAX_ANSWER: u64 = 4 << 10;

/// Runs `PROGRAM self version --json` and compares the answer. Blocks for at most `patience`.
///
/// # Errors
///
/// That it cannot be run, hangs, fails, or is another program, version or target.
pub fn run(program: &Path, version: Version, target: &str, patience: Duration) -> Result<(), Fault> {
    let bad = |what: String| failed(format!("the program of version {version} was not installed: {what}"));
    let mut child = Command::new(program)
        .args(["self", "version", "--json"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| bad(format!("it cannot be run: {}", words::io(&error))))?;
    let pid = child.id().cast_signed();
    let stdout = child.stdout.take();
    let (to, from) = channel();
    thread::spawn(move || {
        let mut answer = Vec::new();
        if let Some(stdout) = stdout {
            // What it did not say is seen in what it said.
            let _ = stdout.take(MAX_ANSWER).read_to_end(&mut answer);
        }
        // Looked at, not reaped: its number stays its own until the signal below cannot hit a stranger.
        let _ = waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        let _ = to.send(answer);
    });
    let answer = from.recv_timeout(patience);
    // Whatever it started goes with it.
    let _ = signal_group(pid, Signal::KILL);
    let status = child.wait().map_err(|error| bad(format!("it cannot be waited for: {}", words::io(&error))))?;
    let answer = answer.map_err(|_| bad(format!("it did not say its version within {}", Human(patience))))?;
    judge(status, &answer, version, target).map_err(bad)
}

fn judge(status: ExitStatus, answer: &[u8], version: Version, target: &str) -> Result<(), String> {
    if !status.success() {
        return Err(format!("asked for its version it ended with {}", shown(status)));
    }
    let report: ProgramReport = json::from_slice(answer).map_err(|error| format!("it does not say its version: {error}"))?;
    for (key, said, wanted) in [
        ("product", &report.product, PRODUCT),
        ("version", &report.release, &version.to_string()),
        ("target", &report.target, target),
    ] {
        if said != wanted {
            return Err(format!("it says that its {key} is `{said}`, not `{wanted}`"));
        }
    }
    Ok(())
}

fn shown(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn tried(script: &str, patience: Duration) -> Result<(), Fault> {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("program");
        std::fs::write(&program, script).expect("a program");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let version = Version::parse("0.2.0").expect("a version");
        // Another test's fork may hold our write descriptor for a moment: such a file cannot be run yet.
        loop {
            match run(&program, version, "linux-amd64", patience) {
                Err(fault) if fault.message.contains("text file busy") => {}
                result => return result,
            }
        }
    }

    fn saying(product: &str, release: &str, target: &str) -> String {
        format!(
            "#!/bin/sh\n[ \"$*\" = 'self version --json' ] || exit 9\necho '{{\"version\":1,\"product\":\"{product}\",\
             \"release\":\"{release}\",\"target\":\"{target}\",\"more\":1}}'\n"
        )
    }

    #[test]
    fn a_program_that_is_what_it_is_said_to_be() {
        assert_eq!(tried(&saying("section3", "0.2.0", "linux-amd64"), LONG), Ok(()));
    }

    #[test]
    fn programs_that_are_not() {
        for (script, part) in [
            (saying("other", "0.2.0", "linux-amd64"), "its product is `other`, not `section3`"),
            (saying("section3", "0.1.9", "linux-amd64"), "its version is `0.1.9`, not `0.2.0`"),
            (saying("section3", "0.2.0", "linux-arm64"), "its target is `linux-arm64`, not"),
            (saying("section3", "\\u001b[2J", "linux-amd64"), "\\x1b[2J"),
            ("#!/bin/sh\nexit 1\n".to_owned(), "ended with exit 1"),
            ("#!/bin/sh\nkill -SEGV $$\n".to_owned(), "ended with signal 11"),
            ("#!/bin/sh\nexit 0\n".to_owned(), "does not say its version"),
            ("#!/bin/sh\nexec cat /dev/zero\n".to_owned(), "ended with signal"),
            ("#!/nonexistent\n".to_owned(), "cannot be run: no such file"),
        ] {
            let fault = tried(&script, LONG).expect_err(part);
            assert!(fault.message.contains(part), "{part}: {fault}");
            assert!(!fault.message.contains('\x1b'));
        }
    }

    #[test]
    fn one_that_hangs_is_killed_with_all_it_started() {
        for script in
            ["#!/bin/sh\nexec sleep 1000\n", "#!/bin/sh\nsleep 1000 & exec >&-; wait\n", "#!/bin/sh\nsleep 1000 & echo '{}'\n"]
        {
            let fault = tried(script, Duration::from_millis(300)).expect_err(script);
            assert!(fault.message.contains("did not say its version within 300ms"), "{fault}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        // Open for both: the script finds a reader whenever it comes.
        let held = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).expect("open");
        let reader = std::fs::File::open(&fifo).expect("open");
        let script = format!("#!/bin/sh\nexec 9>'{}'\nsleep 1000 &\nwait\n", fifo.display());
        assert!(tried(&script, Duration::from_secs(3)).is_err());
        drop(held);
        let (to, from) = channel();
        thread::spawn(move || to.send(std::io::read_to_string(reader)));
        // Its end comes when the last process that could write there is gone.
        assert!(from.recv_timeout(LONG).is_ok());
    }

    /// What is in our environment may change what a program does, or is nobody's business.
    #[test]
    fn it_is_run_with_nothing_of_ours() {
        let folder = tempfile::tempdir().expect("a folder");
        let seen = folder.path().join("seen");
        let shown = seen.display();
        let look = format!("{{ pwd; readlink /proc/self/fd/0 /proc/self/fd/2; env; }} >'{shown}'\n");
        let script = saying("section3", "0.2.0", "linux-amd64").replacen("#!/bin/sh\n", &format!("#!/bin/sh\n{look}"), 1);
        assert_eq!(tried(&script, LONG), Ok(()));
        let seen = std::fs::read_to_string(&seen).expect("what it saw");
        let mut lines = seen.lines();
        let first = [lines.next(), lines.next(), lines.next()].map(Option::unwrap_or_default);
        assert_eq!(first, ["/", "/dev/null", "/dev/null"], "{seen}");
        // A shell sets these itself.
        let its_own = ["PWD", "OLDPWD", "SHLVL", "_", "PATH"];
        let others: Vec<_> = lines.filter(|line| !line.split('=').next().is_some_and(|name| its_own.contains(&name))).collect();
        assert!(others.is_empty(), "{others:?}");
        assert!(std::env::vars_os().count() > its_own.len(), "nothing that could have come along");
    }
}
