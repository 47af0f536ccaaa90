//! `notify: systemd`: a socket of its own for each run, and who may speak there.
//!
//! The socket is an abstract one: no folder that another user could not enter, nothing left behind, and once its run is over
//! nobody hears what is sent there. Its name is no secret (`/proc/net/unix`), so the kernel's word on the sender is taken.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, recvmsg, setsockopt,
    socket, sockopt,
};
use tokio::io::unix::AsyncFd;

use super::note::Note;
use crate::sys::process;
use crate::sys::watch::watch;

/// The longest datagram; what systemd takes.
const LONGEST: usize = 4096;
/// Parents of a sender that are looked at.
const GENERATIONS: usize = 64;

/// The supervisor's end of the socket of one run.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    name: String,
}

/// Whose words count.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// The run's main process.
    pub pid: i32,
    /// Whom it runs as.
    pub uid: u32,
    /// Variables that every process of the run was started with.
    pub marks: Vec<(&'static str, String)>,
}

impl Channel {
    /// Makes the socket. `name` must be nobody else's.
    ///
    /// # Errors
    ///
    /// Out of descriptors, or the name is taken.
    pub fn open(name: &str) -> Result<Self, Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        // Before it has its name: a datagram that comes earlier would have no sender.
        setsockopt(&socket, sockopt::PassCred, &true)?;
        bind(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
        Ok(Self { socket, name: format!("@{name}") })
    }

    /// The socket that an earlier image of the program made; its name is known to the run already.
    #[must_use]
    pub const fn inherited(socket: OwnedFd) -> Self {
        Self { socket, name: String::new() }
    }

    /// The number of its descriptor.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    /// The value of `NOTIFY_SOCKET`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins to listen. What was sent before is heard first.
    ///
    /// # Errors
    ///
    /// What `epoll_ctl(2)` says.
    pub fn listen(self, speaker: Speaker) -> io::Result<Listening> {
        Ok(Listening { socket: watch(self.socket)?, speaker })
    }
}

/// Hears what is said.
#[derive(Debug)]
pub struct Listening {
    socket: AsyncFd<OwnedFd>,
    speaker: Speaker,
}

impl Listening {
    /// The next note, `None` in place of one that was not the run's own. May be dropped at any time.
    ///
    /// # Errors
    ///
    /// Where the socket can no longer be read.
    pub async fn next(&self) -> io::Result<Option<Note>> {
        loop {
            let mut ready = self.socket.readable().await?;
            match self.receive() {
                Ok(note) => return Ok(note),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn receive(&self) -> Result<Option<Note>, Errno> {
        let mut datagram = [0; LONGEST];
        // Room for the sender and for nothing else: descriptors that somebody sends along are dropped by the kernel, which
        // is also the answer to `BARRIER=1`.
        let mut control = nix::cmsg_space!(UnixCredentials);
        let (length, sender, is_whole) = {
            let mut parts = [IoSliceMut::new(&mut datagram)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
            let received = recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
            let sender = received.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::ScmCredentials(sender) => Some(sender),
                _ => None,
            });
            (received.bytes, sender, !received.flags.contains(MsgFlags::MSG_TRUNC))
        };
        let is_own = is_whole && sender.is_some_and(|sender| self.speaker.is(sender.pid(), sender.uid()));
        Ok(is_own.then(|| Note::parse(datagram.get(..length).unwrap_or_default())))
    }
}

impl Speaker {
    /// Whether this process is one of the run. The main process is; so is what descends from it, what shares its session,
    /// and what carries its marks. Of one that has gone meanwhile its user must do: it knew the name of the socket.
    fn is(&self, pid: i32, uid: u32) -> bool {
        if pid <= 0 || (uid != self.uid && uid != 0) {
            return false;
        }
        let mut at = pid;
        for generation in 0..GENERATIONS {
            if at == self.pid {
                return true;
            }
            match process::stat(at) {
                Some(process) if process.session == self.pid || process.group == self.pid => return true,
                Some(process) if process.parent > 1 => at = process.parent,
                Some(_) => break,
                None if generation == 0 => return uid == self.uid,
                None => break,
            }
        }
        self.marks.iter().all(|(name, value)| process::variable(pid, name).is_some_and(|found| found == *value))
    }
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;

    fn channel() -> Channel {
        Channel::open(&format!("section3-test-{}", crate::sys::init::random_id())).expect("a socket")
    }

    fn say(channel: &str, words: &str) {
        let address = SocketAddr::from_abstract_name(channel.trim_start_matches('@')).expect("an address");
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.send_to_addr(words.as_bytes(), &address).expect("said");
    }

    fn speaker(pid: i32) -> Speaker {
        Speaker { pid, uid: nix::unistd::getuid().as_raw(), marks: vec![("SECTION3_TEST_MARK", "none has it".to_owned())] }
    }

    #[tokio::test]
    async fn only_the_run_itself_is_heard() {
        let parent = std::os::unix::process::parent_id().cast_signed();
        for (pid, heard) in [(std::process::id().cast_signed(), true), (parent, true), (i32::MAX, false)] {
            let channel = channel();
            let name = channel.name().to_owned();
            say(&name, "READY=1");
            let listening = channel.listen(speaker(pid)).expect("listening");
            let note = listening.next().await.expect("a datagram");
            assert_eq!(note.map(|note| note.ready), heard.then_some(true), "{pid}");
        }
    }

    #[tokio::test]
    async fn another_user_is_not_heard() {
        let channel = channel();
        say(channel.name(), "READY=1");
        let own = speaker(std::process::id().cast_signed());
        assert!(!own.is(own.pid, own.uid + 1));
        assert!(own.is(i32::MAX, own.uid) && !own.is(0, own.uid));
        // Of one that is gone only its user is known; root may speak for a run as long as it can be seen to be of it.
        let others = Speaker { uid: own.uid + 1, ..speaker(own.pid) };
        assert!(!others.is(i32::MAX, 0));
        assert!(others.is(own.pid, 0));
    }

    /// A process that has left the run's family is known by the session, or by what it was started with.
    #[test]
    fn who_belongs_to_a_run() {
        let script = "sleep 1000 & echo $!; exec cat >/dev/null";
        let mut command = std::process::Command::new("setsid");
        command.args(["sh", "-c", &format!("sh -c '{script}'; true")]).env("SECTION3_TEST_MARK", "one");
        let mut main = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().expect("a run");
        let mut line = String::new();
        let mut said = std::io::BufReader::new(main.stdout.take().expect("its output"));
        std::io::BufRead::read_line(&mut said, &mut line).expect("a line");
        let sleeper: i32 = line.trim().parse().expect("a PID");
        let pid = main.id().cast_signed();
        let uid = nix::unistd::getuid().as_raw();
        let is = |pid, mark: &str| Speaker { pid, uid, marks: vec![("SECTION3_TEST_MARK", mark.to_owned())] }.is(sleeper, uid);
        let known = [is(pid, "none"), is(i32::MAX, "one"), is(i32::MAX, "none")];
        // Its parents end, and its session is left.
        drop(main.stdin.take());
        main.wait().expect("its end");
        let by_session = is(pid, "none");
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(sleeper), nix::sys::signal::Signal::SIGKILL);
        assert_eq!((known, by_session), ([true, true, false], true), "by its parents, by its mark, not at all; by its session");
    }

    #[tokio::test]
    async fn what_is_too_long_is_not_heard_in_part() {
        let channel = channel();
        say(channel.name(), &format!("READY=1\n{}", "x".repeat(LONGEST)));
        let listening = channel.listen(speaker(std::process::id().cast_signed())).expect("listening");
        assert_eq!(listening.next().await.expect("a datagram"), None);
    }
}
