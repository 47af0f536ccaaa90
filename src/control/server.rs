//! The supervisor's end of the control socket: connections, bounds, deadlines. It reads requests and writes answers; what
//! they mean is decided in the event loop, which never waits for a client.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::sys::task;
use crate::wire::request::{Form, MAX_LINE};
use crate::wire::{Fault, FaultCode, Request, reply};

/// Clients at the same time. A person or an agent needs a handful; beyond this somebody leaks connections.
const MAX_CLIENTS: usize = 64;
/// For a client to finish its request, and to take what was written for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Frames that may wait for one client.
const WAITING_FRAMES: usize = 64;

/// One request, and the way back to the client.
#[derive(Debug)]
pub struct Call {
    /// What it asks.
    pub request: Request,
    /// The user at the other end.
    pub uid: u32,
    /// Where the answer goes.
    pub answer: Answer,
}

/// The way back to a client. Dropping it without an end closes the connection.
#[derive(Debug)]
pub struct Answer {
    frames: mpsc::Sender<Vec<u8>>,
    form: Form,
}

/// A client that is gone, or does not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost;

impl Answer {
    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.frames.is_closed()
    }

    /// The form in which it is to speak.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Ends with data; `text` says the same for people. Never waits.
    pub fn finish<T: Serialize>(self, data: &T, text: impl FnOnce() -> String) {
        let frame = match self.form {
            Form::Json => reply::data(data),
            Form::Plain => text(),
        };
        self.push(frame.into_bytes());
    }

    /// Ends with a fault. Never waits.
    pub fn refuse(self, fault: &Fault) {
        let frame = match self.form {
            Form::Json => reply::fault(fault),
            Form::Plain => format!("ERROR: {fault}\n"),
        };
        self.push(frame.into_bytes());
    }

    fn push(&self, frame: Vec<u8>) {
        // Full or closed: the client does not read, and its connection is on its way out.
        let _ = self.frames.try_send(frame);
    }

    /// One piece of a stream, in the words of the client's form. Waits while the client is behind: never to be called on
    /// the event loop's own turn.
    ///
    /// # Errors
    ///
    /// Where the client is gone.
    pub async fn item<T: Serialize>(&self, item: &T, text: impl FnOnce() -> Vec<u8>) -> Result<(), Lost> {
        let frame = match self.form {
            Form::Json => reply::item(item).into_bytes(),
            Form::Plain => text(),
        };
        self.frames.send(frame).await.map_err(|_| Lost)
    }

    /// Ends a stream.
    pub async fn end(self) {
        if self.form == Form::Json {
            let _ = self.frames.send(reply::end().into_bytes()).await;
        }
    }

    /// Waits until nobody waits for the answer any more.
    pub async fn lost(&self) {
        self.frames.closed().await;
    }
}

/// The places that clients can take, whatever listener they came through.
#[derive(Clone, Debug)]
pub struct Places(Rc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Rc::new(Semaphore::new(MAX_CLIENTS)))
    }
}

impl Places {
    /// Waits until every client has its answer and is gone, at most `limit`.
    pub async fn emptied(&self, limit: Duration) {
        let _ = timeout(limit, self.0.acquire_many(MAX_CLIENTS as u32)).await;
    }
}

/// Takes connections until the task is ended. Must run in a `LocalSet`.
pub async fn serve(listener: UnixListener, Places(places): Places, calls: mpsc::Sender<Call>) {
    let owner = nix::unistd::geteuid().as_raw();
    loop {
        let accepted = listener.accept().await;
        let place = Rc::clone(&places);
        match accepted {
            Ok((stream, _)) => {
                let calls = calls.clone();
                task::begin(async move {
                    let Ok(_place) = place.try_acquire() else {
                        turn_away(stream, &Fault::new(FaultCode::Busy, format!("{MAX_CLIENTS} clients are connected"))).await;
                        return;
                    };
                    converse(stream, owner, &calls).await;
                });
            }
            // Out of descriptors, or the client left before we came: neither is a reason to spin.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Says why, in both forms at once: what the client speaks is not known yet.
async fn turn_away(mut stream: UnixStream, fault: &Fault) {
    let _ = timeout(PATIENCE, stream.write_all(reply::fault(fault).as_bytes())).await;
}

async fn converse(stream: UnixStream, owner: u32, calls: &mpsc::Sender<Call>) {
    let Ok(peer) = stream.peer_cred() else { return };
    let uid = peer.uid();
    if uid != 0 && uid != owner {
        turn_away(stream, &Fault::new(FaultCode::NotPermitted, format!("user {uid} may not talk to this supervisor"))).await;
        return;
    }
    let (mut reader, mut writer) = stream.into_split();
    let mut unread = Vec::new();
    loop {
        let line = match timeout(PATIENCE, next_line(&mut reader, &mut unread)).await {
            Ok(Ok(Some(line))) => line,
            // The end of the conversation, a client that does not finish its request, or one that is gone.
            Ok(Ok(None) | Err(_)) | Err(_) => return,
        };
        let (form, request) = Request::decode(&line);
        let (frames, waiting) = mpsc::channel(WAITING_FRAMES);
        let answer = Answer { frames, form };
        match request {
            Ok(request) => {
                if calls.send(Call { request, uid, answer }).await.is_err() {
                    return; // The supervisor ends.
                }
            }
            Err(fault) => answer.refuse(&fault),
        }
        if forward(waiting, &mut reader, &mut unread, &mut writer).await.is_err() || form == Form::Plain || line.len() > MAX_LINE
        {
            return;
        }
    }
}

/// One line, without reading past [`MAX_LINE`]: a longer one is returned cut, and refused by its length.
async fn next_line(reader: &mut OwnedReadHalf, unread: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = memchr::memchr(b'\n', unread) {
            let rest = unread.split_off(end + 1);
            return Ok(Some(std::mem::replace(unread, rest)));
        }
        if unread.len() > MAX_LINE {
            return Ok(Some(std::mem::take(unread)));
        }
        let mut chunk = [0; 4096];
        match reader.read(&mut chunk).await? {
            // `printf status | nc`: the last line may lack its end.
            0 if unread.is_empty() => return Ok(None),
            0 => return Ok(Some(std::mem::take(unread))),
            read => unread.extend(chunk.iter().take(read)),
        }
    }
}

/// Writes an answer as it comes. Ends early where the client is gone or does not read.
async fn forward(
    mut waiting: mpsc::Receiver<Vec<u8>>,
    reader: &mut OwnedReadHalf,
    unread: &mut Vec<u8>,
    writer: &mut OwnedWriteHalf,
) -> Result<(), Lost> {
    let mut chunk = [0; 512];
    let mut listening = true;
    loop {
        tokio::select! {
            frame = waiting.recv() => match frame {
                Some(frame) => match timeout(PATIENCE, writer.write_all(&frame)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return Err(Lost),
                },
                None => return Ok(()),
            },
            read = reader.read(&mut chunk), if listening => match read {
                Ok(0) if is_gone(writer.as_ref()) => return Err(Lost),
                // It closed its sending half only, as `nc -N` does, and still reads.
                Ok(0) => listening = false,
                Ok(read) if unread.len() <= MAX_LINE => unread.extend(chunk.iter().take(read)),
                Ok(_) | Err(_) => return Err(Lost),
            },
            () = tokio::time::sleep(PATIENCE), if !listening => {
                if is_gone(writer.as_ref()) {
                    return Err(Lost);
                }
            }
        }
    }
}

/// Whether the other end closed both halves.
fn is_gone(stream: &UnixStream) -> bool {
    let mut watched = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let _ = poll(&mut watched, PollTimeout::ZERO);
    watched[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}
