//! The supervisor's end of the socketpair: frames out in one write a turn, frames in as letters. Never waits for the host.

use std::cell::RefCell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use tokio::io::unix::AsyncFd;

use crate::hooks::frame::{FromHost, MAX_FRAME, ToHost, frame};
use crate::sys::words;
use crate::value::json;

/// Events are handed over while less than this waits to be written; what does not fit waits in the cursors.
const EVENT_ROOM: usize = 256 << 10;
/// Everything else: a host that leaves so much unread is none.
const MOST_WAITING: usize = 8 << 20;
/// Frames in one letter: between letters everybody else has a turn.
const FRAMES_A_LETTER: usize = 64;

/// What was heard from the host.
#[derive(Debug)]
pub enum Heard {
    /// Frames, in their order.
    Frames(Vec<FromHost>),
    /// Something that is no frame: what, in words.
    Garbage(String),
    /// Nothing more will come.
    Closed,
    /// There is room again for what waits.
    Room,
}

/// The end of the link, shared with the tasks that wait for the other end.
#[derive(Clone, Debug)]
pub struct Link {
    socket: Rc<AsyncFd<OwnedFd>>,
    out: Rc<RefCell<Out>>,
}

#[derive(Debug, Default)]
struct Out {
    bytes: Vec<u8>,
    written: usize,
    /// Somebody waits until the host reads.
    is_blocked: bool,
}

/// Why a frame cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// It is longer than a frame may be.
    TooLong,
    /// Too much waits already.
    NoRoom,
}

/// How a write came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing waits.
    All,
    /// The host does not read at the moment: [`Link::drained`] is to be awaited.
    Blocked,
    /// Somebody waits for that already.
    Waiting,
    /// The other end is gone.
    Gone,
}

impl Link {
    /// Our end of a socketpair, watched.
    #[must_use]
    pub fn new(socket: AsyncFd<OwnedFd>) -> Self {
        Self { socket: Rc::new(socket), out: Rc::default() }
    }

    /// Whether another event may be pushed.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.out.borrow().waiting() < EVENT_ROOM
    }

    /// Puts a frame into the queue of the next write.
    ///
    /// # Errors
    ///
    /// Why it does not go there.
    pub fn push(&self, message: &ToHost) -> Result<(), Unsent> {
        let line = frame(message).ok_or(Unsent::TooLong)?;
        let mut out = self.out.borrow_mut();
        if out.waiting() + line.len() > MOST_WAITING {
            return Err(Unsent::NoRoom);
        }
        out.bytes.extend_from_slice(&line);
        Ok(())
    }

    /// Writes what waits, as far as it goes without waiting.
    #[must_use]
    pub fn flush(&self) -> Written {
        let mut out = self.out.borrow_mut();
        if out.is_blocked {
            return Written::Waiting;
        }
        match out.write(self.socket.get_ref()) {
            Ok(()) => Written::All,
            Err(Errno::EAGAIN) => {
                out.is_blocked = true;
                Written::Blocked
            }
            Err(_) => Written::Gone,
        }
    }

    /// Writes the rest as the host reads; returns when all of it is written, or cannot be.
    pub async fn drained(&self) {
        loop {
            let Ok(mut ready) = self.socket.writable().await else { break };
            let written = ready.try_io(|socket| self.out.borrow_mut().write(socket.get_ref()).map_err(std::io::Error::from));
            // Where there was no room, it waits for room.
            if written.is_ok() {
                break;
            }
        }
        self.out.borrow_mut().is_blocked = false;
    }

    /// Reads until the end; hands on what it reads through `tell`, which answers whether anybody listens still.
    pub async fn read<F: Future<Output = bool>>(&self, tell: impl Fn(Heard) -> F) {
        let mut unread = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        loop {
            let Ok(mut ready) = self.socket.readable().await else { return };
            match recv(self.socket.as_raw_fd(), &mut chunk, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => break,
                Ok(got) => unread.extend_from_slice(chunk.get(..got).unwrap_or_default()),
                Err(Errno::EAGAIN) => {
                    ready.clear_ready();
                    continue;
                }
                Err(Errno::EINTR) => continue,
                Err(_) => break,
            }
            loop {
                let (frames, wrong) = take_frames(&mut unread);
                let is_last = frames.len() < FRAMES_A_LETTER;
                if !frames.is_empty() && !tell(Heard::Frames(frames)).await {
                    return;
                }
                if let Some(wrong) = wrong {
                    tell(Heard::Garbage(wrong)).await;
                    return;
                }
                if is_last {
                    break;
                }
            }
        }
        tell(Heard::Closed).await;
    }
}

impl Out {
    fn waiting(&self) -> usize {
        self.bytes.len() - self.written
    }

    fn write(&mut self, socket: &OwnedFd) -> Result<(), Errno> {
        while self.waiting() > 0 {
            let rest = self.bytes.get(self.written..).unwrap_or_default();
            match send(socket.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(written) => self.written += written,
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    self.bytes.drain(..self.written);
                    self.written = 0;
                    return Err(errno);
                }
            }
        }
        self.bytes.clear();
        self.written = 0;
        // An answer with a whole log is rare, and its memory would be kept for good.
        self.bytes.shrink_to(EVENT_ROOM);
        Ok(())
    }
}

/// Takes whole frames from the front, at most [`FRAMES_A_LETTER`], and says what is wrong with the one after them.
fn take_frames(unread: &mut Vec<u8>) -> (Vec<FromHost>, Option<String>) {
    let (mut frames, mut at, mut wrong) = (Vec::new(), 0, None);
    while frames.len() < FRAMES_A_LETTER && wrong.is_none() {
        let rest = unread.get(at..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest.get(..rest.len().min(MAX_FRAME)).unwrap_or_default());
        match end.and_then(|end| rest.get(..end).map(|line| (end, line))) {
            Some((end, line)) => match json::from_slice(line) {
                Ok(frame) => {
                    frames.push(frame);
                    at += end + 1;
                }
                Err(error) => wrong = Some(format!("a line that is no frame ({error}): {}", beginning(line))),
            },
            None if rest.len() >= MAX_FRAME => wrong = Some(format!("a frame of more than {MAX_FRAME} bytes")),
            None => break,
        }
    }
    unread.drain(..at);
    (frames, wrong)
}

fn beginning(line: &[u8]) -> String {
    String::from_utf8_lossy(line.get(..line.len().min(80)).unwrap_or_default()).into_owned()
}

/// A socketpair: our end, that never blocks, and the host's.
///
/// # Errors
///
/// In words.
pub fn pair() -> Result<(AsyncFd<OwnedFd>, OwnedFd), String> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).map_err(words::errno)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(words::errno)?;
    Ok((crate::sys::watch::watch(ours).map_err(|error| words::io(&error))?, theirs))
}

#[cfg(test)]
mod tests;
