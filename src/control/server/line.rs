//! One connection: what was read and not understood yet, what was asked, what is to be written. Whatever its task waits for,
//! all of it is here, so that [`Line::rest`] can be taken at any moment the event loop has a turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{Receiver, error::TryRecvError};
use tokio::time::timeout;

use super::{Lost, PATIENCE};
use crate::value::hex;
use crate::wire::request::{Form, MAX_LINE};
use crate::wire::{Fault, reply};

/// A connection.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    unread: RefCell<Vec<u8>>,
    /// The request that is being answered, as it was written.
    asked: RefCell<Vec<u8>>,
    form: Cell<Form>,
    /// The loop has read the request.
    is_taken: RefCell<Arc<AtomicBool>>,
    /// Frames on their way here, while a request is being answered.
    waiting: RefCell<Option<Receiver<Vec<u8>>>>,
    /// Frames that are here, and how much of the first one is written.
    unsent: RefCell<VecDeque<Vec<u8>>>,
    sent: Cell<usize>,
}

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Nothing that was asked is being answered; what is unread may hold a request.
    Nothing,
    /// Somebody in the event loop is to answer.
    Taken,
    /// The answer is complete; the rest of it is to be written.
    Answered,
}

/// A connection, written down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct LineRest {
    /// Its descriptor, and its number.
    pub fd: i32,
    /// What it is doing.
    pub doing: Doing,
    /// How it speaks.
    pub form: Form,
    /// Bytes that were read and are to be understood.
    #[serde(with = "hex")]
    pub unread: Vec<u8>,
    /// The request that is being answered.
    #[serde(with = "hex")]
    pub asked: Vec<u8>,
    /// Bytes that are to be written.
    #[serde(with = "hex")]
    pub unsent: Vec<u8>,
}

impl Line {
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            unread: RefCell::default(),
            asked: RefCell::default(),
            form: Cell::new(Form::Json),
            is_taken: RefCell::default(),
            waiting: RefCell::default(),
            unsent: RefCell::default(),
            sent: Cell::new(0),
        }
    }

    pub fn from_rest(stream: UnixStream, rest: LineRest) -> Self {
        let line = Self::new(stream);
        line.unread.replace(rest.unread);
        line.form.set(rest.form);
        line.is_taken().store(rest.doing == Doing::Taken, Ordering::Release);
        line.asked.replace(rest.asked);
        line.unsent.borrow_mut().push_back(rest.unsent);
        line
    }

    pub fn number(&self) -> i32 {
        self.stream.as_raw_fd()
    }

    pub fn uid(&self) -> Option<u32> {
        self.stream.peer_cred().ok().map(|peer| peer.uid())
    }

    /// Nothing is being answered: what is unsent is the rest of an answer.
    pub fn is_idle(&self) -> bool {
        self.waiting.borrow().is_none()
    }

    /// A request was read; its answer comes through `waiting`.
    pub fn ask(&self, asked: Vec<u8>, form: Form, waiting: Receiver<Vec<u8>>) {
        self.asked.replace(asked);
        self.form.set(form);
        self.is_taken.take();
        self.waiting.replace(Some(waiting));
    }

    /// The rest of an answer comes through `waiting`.
    pub fn wait_for(&self, waiting: Receiver<Vec<u8>>) {
        self.waiting.replace(Some(waiting));
    }

    /// Set once the loop has read the present request.
    pub fn is_taken(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_taken.borrow())
    }

    /// After an answer: whether the conversation ends with it.
    pub fn is_over(&self) -> bool {
        let asked = self.asked.take();
        self.form.get() == Form::Plain || asked.len() > MAX_LINE
    }

    /// What there is to know of it.
    pub fn rest(&self) -> LineRest {
        let mut unsent = self.unsent.borrow_mut();
        let mut is_answered = false;
        if let Some(waiting) = self.waiting.borrow_mut().as_mut() {
            // From one place on the way to another.
            is_answered = loop {
                match waiting.try_recv() {
                    Ok(frame) => unsent.push_back(frame),
                    Err(TryRecvError::Empty) => break false,
                    Err(TryRecvError::Disconnected) => break true,
                }
            };
        }
        let is_busy = self.waiting.borrow().is_some();
        let asked = self.asked.borrow().clone();
        let mut unread = self.unread.borrow().clone();
        let doing = match (is_busy, is_answered, self.is_taken().load(Ordering::Acquire)) {
            (true, true, _) => Doing::Answered,
            (true, false, true) => Doing::Taken,
            // On its way to the loop, which has not seen it: it is as good as unread.
            (true, false, false) => {
                unread.splice(0..0, asked.iter().copied());
                Doing::Nothing
            }
            (false, ..) => Doing::Nothing,
        };
        let unsent = unsent.iter().flatten().copied().skip(self.sent.get()).collect();
        LineRest { fd: self.number(), doing, form: self.form.get(), unread, asked, unsent }
    }

    /// One request line, without reading past [`MAX_LINE`]: a longer one is returned cut, and refused by its length. What it
    /// has not returned stays unread, whenever it is dropped.
    pub async fn next_request(&self) -> io::Result<Option<Vec<u8>>> {
        loop {
            {
                let mut unread = self.unread.borrow_mut();
                if let Some(end) = memchr::memchr(b'\n', &unread) {
                    let rest = unread.split_off(end + 1);
                    return Ok(Some(std::mem::replace(&mut *unread, rest)));
                }
                if unread.len() > MAX_LINE {
                    return Ok(Some(std::mem::take(&mut *unread)));
                }
            }
            if self.read::<4096>().await? == 0 {
                // `printf status | nc`: the last line may lack its end.
                let last = std::mem::take(&mut *self.unread.borrow_mut());
                return Ok(Some(last).filter(|last| !last.is_empty()));
            }
        }
    }

    /// Reads into what is unread; 0 is the end.
    async fn read<const AT_ONCE: usize>(&self) -> io::Result<usize> {
        let mut chunk = [0; AT_ONCE];
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut chunk) {
                Ok(read) => {
                    self.unread.borrow_mut().extend(chunk.iter().take(read));
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the first frame to its end.
    async fn write(&self) -> io::Result<()> {
        loop {
            self.stream.writable().await?;
            let mut unsent = self.unsent.borrow_mut();
            let Some(frame) = unsent.front() else { return Ok(()) };
            let left = frame.get(self.sent.get()..).unwrap_or_default();
            match self.stream.try_write(left) {
                Ok(written) => self.sent.set(self.sent.get() + written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            if self.sent.get() >= frame.len() {
                unsent.pop_front();
                self.sent.set(0);
                return Ok(());
            }
        }
    }

    /// Waits until there is something to be written; `false` after the last frame. [`Line::rest`] may have come first and put
    /// a frame where it is to be written from.
    async fn frame(&self) -> bool {
        poll_fn(|context| {
            let mut unsent = self.unsent.borrow_mut();
            let next = match self.waiting.borrow_mut().as_mut() {
                _ if !unsent.is_empty() => return Poll::Ready(true),
                Some(waiting) => waiting.poll_recv(context),
                None => Poll::Ready(None),
            };
            next.map(|frame| {
                unsent.extend(frame);
                !unsent.is_empty()
            })
        })
        .await
    }

    /// Writes an answer as it comes. Ends early where the client is gone or does not read.
    pub async fn forward(&self) -> Result<(), Lost> {
        let mut listening = true;
        loop {
            while !self.unsent.borrow().is_empty() {
                match timeout(PATIENCE, self.write()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return Err(Lost),
                }
            }
            tokio::select! {
                more = self.frame() => if !more {
                    self.waiting.replace(None);
                    return Ok(());
                },
                read = self.read::<512>(), if listening => match read {
                    Ok(0) if self.is_gone() => return Err(Lost),
                    // It closed its sending half only, as `nc -N` does, and still reads.
                    Ok(0) => listening = false,
                    Ok(_) if self.unread.borrow().len() <= MAX_LINE + 512 => {}
                    Ok(_) | Err(_) => return Err(Lost),
                },
                () = tokio::time::sleep(PATIENCE), if !listening => {
                    if self.is_gone() {
                        return Err(Lost);
                    }
                }
            }
        }
    }

    /// Says why, in both forms at once: what the client speaks is not known yet.
    pub async fn turn_away(&self, fault: &Fault) {
        self.unsent.borrow_mut().push_back(reply::fault(fault).into_bytes());
        // Nothing was written before it, so it needs no reader. An error means that the client is gone.
        let _ = self.write().await;
    }

    /// Whether the other end closed both halves.
    fn is_gone(&self) -> bool {
        let mut watched = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        let _ = poll(&mut watched, PollTimeout::ZERO);
        watched[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
    }
}

#[cfg(test)]
mod tests;
