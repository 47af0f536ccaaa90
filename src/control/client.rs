//! The client's end of the socket: connect, ask, read frames. Blocking and without a runtime, for a client lives for a
//! millisecond; it knows the socket's path and nothing else.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

use serde::de::DeserializeOwned;

use crate::sys::words;
use crate::value::json::Raw;
use crate::value::paths::Places;
use crate::wire::{Fault, FaultCode, Reply, Request, reply};

/// How long a client waits for an answer that needs no waiting on the supervisor's side. The supervisor answers such
/// a request within a millisecond; one that takes this long is stopped or starved, and the operator wants to know.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A wait of zero means "for ever" to `SO_RCVTIMEO`.
const SHORTEST: Duration = Duration::from_millis(1);

/// One request, sent; its answer is still to be read.
pub struct Call<'a> {
    places: &'a Places,
    request: &'a Request,
    patience: Option<Duration>,
    frames: BufReader<UnixStream>,
    answered: bool,
    repeated: bool,
}

/// How the reading of a frame ended short.
enum Broken {
    /// The other end closed in order: it has read the request.
    Closed,
    /// The other end was gone before it had read the request.
    Unread,
    /// Anything else.
    Fault(Fault),
}

impl<'a> Call<'a> {
    /// Connects to the first place where a supervisor listens and sends the request.
    ///
    /// `patience` is the longest wait for the connection, for the request to be taken, and for each frame of the
    /// answer; `None` waits for ever for a frame.
    ///
    /// # Errors
    ///
    /// `no_supervisor`, `not_permitted`, `timeout`, or `connection_lost`.
    pub fn send(places: &'a Places, request: &'a Request, patience: Option<Duration>) -> Result<Self, Fault> {
        let frames = ask(places, request, patience)?;
        Ok(Self { places, request, patience, frames, answered: false, repeated: false })
    }

    /// The next frame. After [`Reply::Done`] or a fault there is none.
    ///
    /// A connection that ends before any answer is made again, once: the supervisor may just be replacing itself. A
    /// request that had been read already is repeated only where that does no harm.
    ///
    /// # Errors
    ///
    /// `timeout`, `connection_lost`, or `internal` for an answer that cannot be read.
    pub fn receive<D: DeserializeOwned>(&mut self) -> Result<Reply<D>, Fault> {
        loop {
            let reply = Reply::decode(&self.line()?)?;
            // It was not begun, or what was begun of it is gone with the program that began it.
            if matches!(&reply, Reply::Fault(fault) if fault.code == FaultCode::Replaced) && self.may_ask_again() {
                self.ask_again()?;
                continue;
            }
            self.answered = true;
            return Ok(reply);
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            match self.read() {
                Ok(line) => return Ok(line),
                Err(Broken::Fault(fault)) => return Err(fault),
                Err(Broken::Closed) if !self.may_ask_again() => return Err(lost(self.answered)),
                Err(Broken::Unread) if self.answered || self.repeated => return Err(lost(self.answered)),
                Err(Broken::Closed | Broken::Unread) => self.ask_again()?,
            }
        }
    }

    fn may_ask_again(&self) -> bool {
        !self.answered && !self.repeated && may_be_repeated(self.request)
    }

    fn ask_again(&mut self) -> Result<(), Fault> {
        self.repeated = true;
        self.frames = ask(self.places, self.request, self.patience)?;
        Ok(())
    }

    /// Whether another whole frame is here already, so that [`Self::receive`] would not wait.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.frames.buffer().contains(&b'\n')
    }

    /// What becomes readable when more of the answer comes.
    #[must_use]
    pub fn source(&self) -> BorrowedFd<'_> {
        self.frames.get_ref().as_fd()
    }

    fn read(&mut self) -> Result<Vec<u8>, Broken> {
        let mut line = Vec::new();
        match self.frames.read_until(b'\n', &mut line) {
            Ok(_) if line.last() == Some(&b'\n') => Ok(line),
            // Half a frame was an answer: asking again could do the thing twice.
            Ok(0) => Err(Broken::Closed),
            Ok(_) => Err(Broken::Fault(lost(true))),
            Err(error) => Err(match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Broken::Fault(timed_out("the supervisor has not answered")),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Broken::Unread,
                _ => Broken::Fault(Fault::new(FaultCode::ConnectionLost, format!("cannot read the answer: {error}"))),
            }),
        }
    }
}

/// Asks and returns the data of the one answer as it came.
///
/// # Errors
///
/// The supervisor's fault, or the ones of [`Call::send`] and [`Call::receive`].
pub fn call(places: &Places, request: &Request, patience: Option<Duration>) -> Result<Raw, Fault> {
    call_for_much(places, request, patience)
}

/// As [`call`], and reads the data.
///
/// # Errors
///
/// As [`call`], and `internal` for data that is not what was expected.
pub fn call_for<D: DeserializeOwned>(places: &Places, request: &Request, patience: Option<Duration>) -> Result<D, Fault> {
    reply::read(&call(places, request, patience)?)
}

/// As [`call_for`], for data of which there may be much: it is read with its frame, in a quarter less time, and by 3 KB of code
/// that are there for each `D`.
///
/// # Errors
///
/// As [`call_for`].
pub fn call_for_much<D: DeserializeOwned>(places: &Places, request: &Request, patience: Option<Duration>) -> Result<D, Fault> {
    match Call::send(places, request, patience)?.receive()? {
        Reply::Done(Some(data)) => Ok(data),
        Reply::Fault(fault) => Err(fault),
        Reply::Done(None) | Reply::Item(_) => Err(Fault::new(FaultCode::Internal, "the supervisor answered without data")),
    }
}

/// Whether doing it twice is the same as doing it once.
const fn may_be_repeated(request: &Request) -> bool {
    match request {
        Request::Restart(_)
        | Request::Reexec
        | Request::Updated(_)
        | Request::Signal { .. }
        | Request::Rotate { .. }
        | Request::Emit { .. }
        | Request::Plugin(crate::wire::request::PluginCall { command: Some(_), .. }) => false,
        Request::Reload { apply, dry_run } => *dry_run || !*apply,
        Request::Status { .. }
        | Request::Start(_)
        | Request::Stop(_)
        | Request::Tail { .. }
        | Request::Wait { .. }
        | Request::Events { .. }
        | Request::Hook(_)
        | Request::Plugin(_)
        | Request::Version => true,
    }
}

fn ask(places: &Places, request: &Request, patience: Option<Duration>) -> Result<BufReader<UnixStream>, Fault> {
    let mut stream = connected(places)?;
    let sent = stream
        .set_read_timeout(patience.map(|wait| wait.max(SHORTEST)))
        .and_then(|()| stream.write_all(request.encode().as_bytes()));
    match sent {
        // A supervisor that refuses a client says why before it closes: the answer is there although the pipe is broken.
        Ok(()) => {}
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(timed_out("the supervisor does not take the request")),
        Err(error) => return Err(Fault::new(FaultCode::ConnectionLost, format!("cannot send the request: {error}"))),
    }
    Ok(BufReader::with_capacity(32 << 10, stream))
}

fn connected(places: &Places) -> Result<UnixStream, Fault> {
    let mut refused = None;
    for path in &places.paths {
        match open(path) {
            Ok(stream) => {
                let uid = peer_uid(&stream)?;
                let own = nix::unistd::geteuid().as_raw();
                return if may_be_served_by(uid, own, places.named) { Ok(stream) } else { Err(impostor(path, uid, own)) };
            }
            Err(Errno::ENOENT | Errno::ECONNREFUSED | Errno::ENOTDIR) => {}
            Err(Errno::EACCES | Errno::EPERM) => refused = refused.or(Some(path)),
            Err(Errno::EAGAIN) => return Err(timed_out(&format!("the supervisor at {} does not accept", path.display()))),
            Err(Errno::ENAMETOOLONG) => {
                let message = format!("the socket's path is longer than the 107 bytes of unix(7): {}", path.display());
                return Err(Fault::new(FaultCode::Usage, message));
            }
            Err(errno) => {
                let message = format!("cannot connect to {}: {}", path.display(), words::errno(errno));
                return Err(Fault::new(FaultCode::NoSupervisor, message));
            }
        }
    }
    Err(match refused {
        Some(path) => Fault::new(FaultCode::NotPermitted, format!("not permitted to connect to {}", path.display()))
            .with_hint("only root and the user that runs the supervisor may"),
        None => {
            let tried: Vec<_> = places.paths.iter().map(|path| path.display().to_string()).collect();
            Fault::new(FaultCode::NoSupervisor, format!("no supervisor at {}", tried.join(" or "))).with_hint(
                "`section3` starts one; where it runs with another socket, say `--socket PATH` or set SECTION3_SOCKET; \
                 one that another user runs is reached as that user or root",
            )
        }
    })
}

fn open(path: &Path) -> Result<UnixStream, Errno> {
    let address = UnixAddr::new(path)?;
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // It also bounds connect(2), which waits where the supervisor is stopped and its backlog is full.
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::new(PATIENCE.as_secs().try_into().unwrap_or(5), 0))?;
    connect(fd.as_raw_fd(), &address)?;
    Ok(UnixStream::from(fd))
}

fn peer_uid(stream: &UnixStream) -> Result<u32, Fault> {
    getsockopt(stream, sockopt::PeerCredentials).map(|credentials| credentials.uid()).map_err(|errno| {
        Fault::new(FaultCode::NotPermitted, format!("cannot tell who serves the socket: {}", words::errno(errno)))
    })
}

/// A default path may lie in `/tmp`, where anyone can be first; root may still name the socket of another user.
const fn may_be_served_by(server: u32, own: u32, named: bool) -> bool {
    server == 0 || server == own || (named && own == 0)
}

fn impostor(path: &Path, uid: u32, own: u32) -> Fault {
    Fault::new(
        FaultCode::NotPermitted,
        format!("{} is served by uid {uid}, which is neither root nor you (uid {own}); nothing was sent", path.display()),
    )
}

fn timed_out(what: &str) -> Fault {
    Fault::new(FaultCode::Timeout, format!("{what} in time")).with_hint("its process may be stopped, frozen or starved of CPU")
}

fn lost(answered: bool) -> Fault {
    let message = if answered {
        "the connection ended in the middle of the answer"
    } else {
        "the connection ended before the answer; whether the request was carried out is not known"
    };
    Fault::new(FaultCode::ConnectionLost, message).with_hint("`section3 status` shows how things are")
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
