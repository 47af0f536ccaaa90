//! A real supervisor in a corner of its own.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::deadline::{Deadline, LIMIT};
use super::home::{Home, code_of, program};
use super::lines::Lines;
use super::process;

/// How a supervisor is launched.
pub struct Launch {
    home: Home,
    wrapper: Vec<String>,
    env: Vec<(String, String)>,
    flags: Vec<String>,
    program: String,
    forks: bool,
}

/// A running supervisor. When it goes it is asked to end, must do so, and must leave nothing behind.
pub struct Daemon {
    home: Option<Home>,
    child: Child,
    /// Whether the supervisor is the child of our child.
    forks: bool,
    ended: Receiver<()>,
    /// Lines of its standard output.
    pub stdout: Lines,
    /// Lines of its standard error.
    pub stderr: Lines,
}

impl Launch {
    /// A plain launch in this corner.
    pub fn new(home: Home) -> Self {
        let flags = home.flags();
        Self { home, wrapper: Vec::new(), env: Vec::new(), flags, program: program().to_owned(), forks: false }
    }

    /// Puts a command in front, which must exec the rest of its words: `unshare`, `env`, `sh -c '...; exec "$@"' sh`.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|w| (*w).to_owned()).collect();
        self
    }

    /// Another file than the program under test, such as a copy that is to be replaced.
    pub fn program(mut self, path: &Path) -> Self {
        self.program = path.display().to_string();
        self
    }

    /// Makes it PID 1 of a PID namespace of its own; needs root.
    pub fn in_pid_namespace(self) -> Self {
        self.under_and_forked_by(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"])
    }

    /// Puts a command in front that makes the rest of its words its child and ends as that does: `strace`.
    pub fn under_and_forked_by(self, wrapper: &[&str]) -> Self {
        Self { forks: true, ..self.under(wrapper) }
    }

    /// Sets a variable of the supervisor.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and does not wait for anything.
    pub fn spawn(self) -> Daemon {
        let words = [self.wrapper, vec![self.program], self.flags].concat();
        let mut command = Command::new(&words[0]);
        // The mark by which what is left over is found: services inherit it.
        command.args(&words[1..]).env("SECTION3_SOCKET", self.home.socket()).envs(self.env);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot launch {}: {e}", words[0]));
        let stdout = Lines::of(child.stdout.take().expect("stdout"), "stdout of the supervisor");
        let stderr = Lines::of(child.stderr.take().expect("stderr"), "stderr of the supervisor");
        let (to, ended) = channel();
        let id = Id::Pid(Pid::from_raw(child.id().cast_signed()));
        thread::spawn(move || {
            // Looked at, not reaped: the number stays its own until the test reaps it, so no signal can hit a stranger.
            let _ = waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            to.send(())
        });
        Daemon { home: Some(self.home), child, forks: self.forks, ended, stdout, stderr }
    }

    /// Starts it and waits until its socket takes connections.
    #[track_caller]
    pub fn start(self) -> Daemon {
        let socket = self.home.socket();
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).expect("inotify");
        let folder = socket.parent().expect("a folder");
        inotify
            .add_watch(folder, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ATTRIB)
            .expect("a watch");
        let mut daemon = self.spawn();
        let deadline = Deadline::new();
        while UnixStream::connect(&socket).is_err() {
            if daemon.ended.try_recv().is_ok() {
                panic!("the supervisor ended at once:\n{}{}", daemon.stderr.rest(), daemon.stdout.rest());
            }
            assert!(!deadline.is_over(), "the supervisor's socket did not come");
            // The folder says when the name is there. A socket listens a moment after it has its name, and says nothing then:
            // hence the 5 ms.
            let _ = poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], PollTimeout::from(5_u8));
            let _ = inotify.read_events();
        }
        daemon
    }
}

impl Daemon {
    /// A supervisor with this configuration (see [`Home::new`] for `@NAME`).
    #[track_caller]
    pub fn start(config: &str) -> Self {
        Launch::new(Home::new(config)).start()
    }

    /// Its process id, as seen from here.
    pub fn pid(&self) -> i32 {
        let own = self.child.id().cast_signed();
        if self.forks { process::children(own).first().copied().unwrap_or(own) } else { own }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Waits until it has ended; its exit code, 128+N for signal N.
    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        assert!(self.ended.recv_timeout(LIMIT).is_ok(), "the supervisor does not end");
        code_of(self.child.wait().expect("its status"))
    }

    /// Kills it as the kernel's out-of-memory killer would; the corner stays, for the next one.
    #[track_caller]
    pub fn killed(mut self) -> Home {
        self.signal(Signal::SIGKILL);
        assert_eq!(self.ends(), 128 + 9);
        self.home.take().expect("its corner")
    }

    /// Asserts that it is alive and answers, however long that takes: a client would give up after 5 s.
    #[track_caller]
    pub fn answers(&self) {
        let answer = self.ask(b"{\"v\":1,\"op\":\"status\",\"args\":{}}\n");
        assert!(answer.contains("\"ok\":true"), "{answer}");
    }
}

impl std::ops::Deref for Daemon {
    type Target = Home;

    fn deref(&self) -> &Home {
        self.home.as_ref().expect("its corner")
    }
}

impl std::ops::DerefMut for Daemon {
    fn deref_mut(&mut self) -> &mut Home {
        self.home.as_mut().expect("its corner")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        self.signal(Signal::SIGTERM);
        let ended = self.ended.recv_timeout(LIMIT).is_ok();
        if !ended {
            self.signal(Signal::SIGKILL);
        }
        let _ = self.child.wait();
        assert!(ended || thread::panicking(), "the supervisor did not end after SIGTERM");
    }
}
