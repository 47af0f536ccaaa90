//! Frames on their way to the supervisor: any thread puts them in, in one order.
//!
//! Whoever puts one in writes it himself where the socket has room, which it has nearly always: to wake a thread for it costs as
//! much as the write, and then that thread wants a processor while the handler does. What does not fit is left to the writing
//! thread, many frames with one write.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, send};

use crate::hooks::frame::{FromHost, frame};

/// Beyond so many bytes only frames are taken that end or answer something; those are bounded by what is under way.
const FULL: usize = 1 << 20;

/// Frames that wait to be written.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    is_writing: bool,
    socket: Option<OwnedFd>,
}

impl Queue {
    /// Writes as much of it as goes without waiting and without overtaking; returns how much that is.
    fn write_now(&self, bytes: &[u8]) -> usize {
        let Some(socket) = self.socket.as_ref().filter(|_| !self.is_writing && self.bytes.is_empty()) else { return 0 };
        // The writing thread meets the same error, if it is one that lasts.
        send(socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL).unwrap_or(0)
    }
}

impl Outbox {
    /// The socket that [`Self::drain`] will write to, for all who have something to say.
    pub fn open(&self, socket: OwnedFd) {
        self.lock().socket = Some(socket);
    }

    /// Puts in a frame that something under way needs: never refused. `false` where it is too long to travel.
    pub fn send(&self, message: &FromHost) -> bool {
        let Some(bytes) = frame(message) else { return false };
        let mut queue = self.lock();
        let written = queue.write_now(&bytes);
        if let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            queue.bytes.extend_from_slice(rest);
            drop(queue);
            self.changed.notify_all();
        }
        true
    }

    /// Puts in a frame that can be done without; `false` where there is no room, or it is too long to travel.
    pub fn offer(&self, message: &FromHost) -> bool {
        if self.lock().bytes.len() > FULL {
            return false;
        }
        self.send(message)
    }

    /// Writes what comes, until the socket is gone.
    pub fn drain(&self, mut socket: impl Write) {
        let mut batch = Vec::new();
        loop {
            {
                let mut queue = self.lock();
                queue.is_writing = false;
                self.changed.notify_all();
                while queue.bytes.is_empty() {
                    queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                batch.clear();
                // A flood is over at some time; its memory is given back.
                if batch.capacity() > FULL {
                    batch = Vec::new();
                }
                std::mem::swap(&mut batch, &mut queue.bytes);
                queue.is_writing = true;
            }
            if socket.write_all(&batch).is_err() {
                let mut queue = self.lock();
                queue.is_writing = false;
                self.changed.notify_all();
                return;
            }
        }
    }

    /// Waits until all is written, but no longer than this.
    pub fn flush(&self, limit: Duration) {
        let all_written = |queue: &mut Queue| queue.is_writing || !queue.bytes.is_empty();
        let _ = self.changed.wait_timeout_while(self.lock(), limit, all_written);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn frames_arrive_whole_and_in_order() {
        let outbox = Arc::new(Outbox::default());
        let (ours, theirs) = UnixStream::pair().unwrap();
        let writer = Arc::clone(&outbox);
        thread::spawn(move || writer.drain(ours));
        for number in 0..1_000 {
            assert!(outbox.send(&FromHost::Pong { number }));
        }
        outbox.flush(Duration::from_secs(60));
        let lines: Vec<String> = BufReader::new(theirs).lines().take(1_000).map(Result::unwrap).collect();
        let expected: Vec<String> = (0..1_000).map(|n| format!(r#"{{"pong":{{"number":{n}}}}}"#)).collect();
        assert_eq!(lines, expected);
    }

    /// What goes out at once, what waits for room, and what comes while the rest is being written.
    #[test]
    fn nothing_overtakes_what_waits_for_room() {
        let outbox = Arc::new(Outbox::default());
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert!(outbox.send(&FromHost::Pong { number: 0 }));
        outbox.open(ours.try_clone().unwrap().into());
        assert!(outbox.send(&FromHost::Pong { number: 1 }), "there is room, and something waits");
        let writer = Arc::clone(&outbox);
        thread::spawn(move || writer.drain(ours));
        let teller = Arc::clone(&outbox);
        // Far more than a socket holds before anything is read.
        let telling = thread::spawn(move || (2..50_000).all(|number| teller.send(&FromHost::Pong { number })));
        let mut lines = BufReader::new(theirs).lines();
        for number in 0..50_000 {
            assert_eq!(lines.next().unwrap().unwrap(), format!(r#"{{"pong":{{"number":{number}}}}}"#));
        }
        assert!(telling.join().unwrap());
        // All is written: the next one needs no writing thread.
        outbox.flush(Duration::from_secs(60));
        assert_eq!(outbox.lock().write_now(b"x\n"), 2);
        assert_eq!(lines.next().unwrap().unwrap(), "x");
    }

    #[test]
    fn what_can_be_done_without_is_refused_when_it_is_full() {
        let outbox = Outbox::default();
        while outbox.offer(&FromHost::Hello { version: "x".repeat(1000) }) {}
        assert!(outbox.lock().bytes.len() < FULL + 2000);
        assert!(outbox.send(&FromHost::Pong { number: 1 }));
    }
}
