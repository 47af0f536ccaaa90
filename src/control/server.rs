//! The supervisor's end of the control socket: connections, bounds, deadlines. It reads requests and writes answers; what
//! they mean is decided in the event loop, which never waits for a client.
//!
//! What is known of a connection sits in its [`line::Line`], not on the stack of its task: a re-exec carries it over.

mod line;

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::sys::task;
use crate::wire::request::Form;
use crate::wire::{Fault, FaultCode, Request, reply};
use line::Line;
pub use line::{Doing, LineRest};

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
    /// The number of the connection, and whether somebody in the event loop is responsible for the request.
    number: i32,
    is_taken: Arc<AtomicBool>,
}

/// An answer, and what its client would be sent.
#[cfg(test)]
pub fn answer(form: Form) -> (Answer, mpsc::Receiver<Vec<u8>>) {
    let (frames, sent) = mpsc::channel(WAITING_FRAMES);
    (Answer { frames, form, number: 7, is_taken: Arc::default() }, sent)
}

/// A client that is gone, or does not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost;

impl Answer {
    /// The request was read: from here on whoever holds this is responsible for it, also across a re-exec.
    pub fn taken(&self) {
        self.is_taken.store(true, Ordering::Release);
    }

    /// The number of its connection; `None` where that is gone.
    #[must_use]
    pub fn connection(&self) -> Option<i32> {
        (!self.is_lost()).then_some(self.number)
    }

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

/// Everybody who is connected, whatever listener they came through.
#[derive(Clone, Debug)]
pub struct Places {
    free: Rc<Semaphore>,
    lines: Rc<RefCell<Vec<Weak<Line>>>>,
}

impl Default for Places {
    fn default() -> Self {
        Self { free: Rc::new(Semaphore::new(MAX_CLIENTS)), lines: Rc::default() }
    }
}

impl Places {
    /// Waits until every client has its answer and is gone, at most `limit`.
    pub async fn emptied(&self, limit: Duration) {
        let _ = timeout(limit, self.free.acquire_many(MAX_CLIENTS as u32)).await;
    }

    fn enter(&self, line: Line) -> Rc<Line> {
        let line = Rc::new(line);
        let mut lines = self.lines.borrow_mut();
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Rc::downgrade(&line));
        line
    }

    /// Every connection as it stands. Changes nothing that shows.
    #[must_use]
    pub fn rest(&self) -> Vec<LineRest> {
        self.lines.borrow().iter().filter_map(Weak::upgrade).map(|line| line.rest()).collect()
    }

    /// Goes on with a connection of an earlier image of the program. Returns the way back to the client where somebody in the
    /// event loop was responsible for its request. Must be called in a `LocalRuntime`.
    ///
    /// # Errors
    ///
    /// It cannot be watched; it is closed.
    pub fn take_over(&self, stream: OwnedFd, rest: LineRest, calls: mpsc::Sender<Call>) -> io::Result<Option<Answer>> {
        let stream = std::os::unix::net::UnixStream::from(stream);
        let stream = UnixStream::from_std(stream)?;
        let owner = nix::unistd::geteuid().as_raw();
        let doing = rest.doing;
        let form = rest.form;
        let line = self.enter(Line::from_rest(stream, rest));
        let (frames, waiting) = mpsc::channel(WAITING_FRAMES);
        let answer = match doing {
            Doing::Taken => {
                line.wait_for(waiting);
                Some(Answer { frames, form, number: line.number(), is_taken: line.is_taken() })
            }
            // Its sender is gone already: what is unsent is sent, and then that was the answer.
            Doing::Answered => {
                line.wait_for(waiting);
                None
            }
            Doing::Nothing => None,
        };
        let free = Rc::clone(&self.free);
        task::begin(async move {
            // There are as many places as before, and they were enough.
            let Ok(_place) = free.try_acquire() else { return };
            converse(&line, owner, &calls).await;
        });
        Ok(answer)
    }
}

/// Takes connections until the task is ended. Must run in a `LocalRuntime`.
pub async fn serve(listener: UnixListener, places: Places, calls: mpsc::Sender<Call>) {
    let owner = nix::unistd::geteuid().as_raw();
    loop {
        let accepted = listener.accept().await;
        match accepted {
            Ok((stream, _)) => {
                let (calls, free) = (calls.clone(), Rc::clone(&places.free));
                // Entered at once: a connection that was accepted is never forgotten.
                let line = places.enter(Line::new(stream));
                task::begin(async move {
                    let Ok(_place) = free.try_acquire() else {
                        let fault = Fault::new(FaultCode::Busy, format!("{MAX_CLIENTS} clients are connected, that is the most"));
                        let hint = "try again in a moment; each `wait`, `tail -f` and `events -f` that runs is one of them";
                        line.turn_away(&fault.with_hint(hint)).await;
                        return;
                    };
                    converse(&line, owner, &calls).await;
                });
            }
            // Out of descriptors, or the client left before we came: neither is a reason to spin.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn converse(line: &Rc<Line>, owner: u32, calls: &mpsc::Sender<Call>) {
    let Some(uid) = line.uid() else { return };
    if uid != 0 && uid != owner {
        line.turn_away(&Fault::new(FaultCode::NotPermitted, format!("user {uid} may not talk to this supervisor"))).await;
        return;
    }
    loop {
        if line.is_idle() {
            let asked = match timeout(PATIENCE, line.next_request()).await {
                Ok(Ok(Some(asked))) => asked,
                // The end of the conversation, a client that does not finish its request, or one that is gone.
                Ok(Ok(None) | Err(_)) | Err(_) => return,
            };
            let (form, request) = Request::decode(&asked);
            let (frames, waiting) = mpsc::channel(WAITING_FRAMES);
            line.ask(asked, form, waiting);
            let answer = Answer { frames, form, number: line.number(), is_taken: line.is_taken() };
            match request {
                Ok(request) => {
                    if calls.send(Call { request, uid, answer }).await.is_err() {
                        return; // The supervisor ends.
                    }
                }
                Err(fault) => answer.refuse(&fault),
            }
        }
        if line.forward().await.is_err() || line.is_over() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place is free for as long as nobody else keeps it, but the end of the supervisor waits for no client for ever.
    #[tokio::test(start_paused = true)]
    async fn who_does_not_go_is_waited_for_a_while_only() {
        let places = Places::default();
        let limit = Duration::from_secs(1);
        let stays = places.free.acquire().await.expect("a place");
        timeout(2 * limit, places.emptied(limit)).await.expect("it ends");
        drop(stays);
        timeout(limit / 2, places.emptied(limit)).await.expect("nobody is there");
    }

    #[tokio::test]
    async fn who_is_gone_is_forgotten() {
        let places = Places::default();
        let enter = || places.enter(Line::new(UnixStream::pair().expect("a pair").0));
        drop(enter());
        let stays = enter();
        assert_eq!((places.lines.borrow().len(), places.rest()), (1, vec![stays.rest()]));
        let (answer, sent) = answer(Form::Json);
        assert_eq!(answer.connection(), Some(7));
        drop(sent);
        assert_eq!(answer.connection(), None);
    }
}
