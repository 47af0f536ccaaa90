//! Clients that follow logs. What each of them was not sent yet is here and not in its task, so that it can be written down for
//! the next program at any moment the event loop has a turn.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};

use crate::log::rest::Bytes;
use crate::log::{FollowEnd, Following, LogId};
use crate::value::ServiceName;
use crate::wire::request::LogName;

/// A line without an end is passed on in pieces of this: output without line ends must not gather here without bound.
pub const LONGEST_LINE: usize = 64 << 10;

/// Everybody who follows a log now.
#[derive(Clone, Debug, Default)]
pub struct Tails(Rc<RefCell<Vec<Weak<Tail>>>>);

/// One client that follows.
#[derive(Debug)]
pub struct Tail {
    /// The number of its connection.
    connection: i32,
    /// Whether it asked for more than one log: then lines carry names.
    several: bool,
    logs: RefCell<Vec<Followed>>,
    /// The line that is on its way to the client, and whose.
    sending: RefCell<Option<(LogId, Vec<u8>)>>,
}

/// One log that a client follows.
#[derive(Debug)]
pub struct Followed {
    name: LogName,
    log: LogId,
    live: Following,
    unsent: Vec<u8>,
    /// Bytes of `unsent` that were sent already: cutting them off for each line would move the rest as often.
    sent: usize,
}

/// What comes next for a client that follows.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A line of a log.
    Line(LogName, Vec<u8>),
    /// It fell too far behind.
    TooSlow,
    /// All its logs were closed.
    Closed,
}

/// [`Tail`], written down.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct TailRest {
    /// Its connection.
    pub connection: i32,
    /// Whether lines carry names.
    pub several: bool,
    /// What it follows: the service (none: the supervisor's own log), the number of the log, the bytes that were not sent.
    pub logs: Vec<(Option<ServiceName>, LogId, Bytes)>,
}

impl Tails {
    /// A client begins to follow these logs.
    #[must_use]
    pub fn enter(&self, connection: i32, several: bool, logs: Vec<Followed>) -> Rc<Tail> {
        let tail = Rc::new(Tail { connection, several, logs: RefCell::new(logs), sending: RefCell::default() });
        let mut all = self.0.borrow_mut();
        all.retain(|tail| tail.strong_count() > 0);
        all.push(Rc::downgrade(&tail));
        tail
    }

    /// Everybody as they stand. Changes nothing that shows. Who was cut off is left out: for that one it ends here.
    #[must_use]
    pub fn rest(&self) -> Vec<TailRest> {
        self.0.borrow().iter().filter_map(Weak::upgrade).filter_map(|tail| tail.rest()).collect()
    }
}

impl Tail {
    fn rest(&self) -> Option<TailRest> {
        let sending = self.sending.borrow();
        let rest = |followed: &mut Followed| {
            followed.take_in();
            let first = sending.as_ref().filter(|(log, _)| *log == followed.log).map(|(_, line)| line.as_slice());
            let unsent = [first.unwrap_or_default(), &followed.unsent[followed.sent..]].concat();
            let service = match &followed.name {
                LogName::Service(name) => Some(name.clone()),
                LogName::Supervisor => None,
            };
            (!followed.live.is_cut_off()).then_some((service, followed.log, Bytes(unsent)))
        };
        let logs = self.logs.borrow_mut().iter_mut().map(rest).collect::<Option<Vec<_>>>()?;
        Some(TailRest { connection: self.connection, several: self.several, logs })
    }

    /// What comes next. A line stays known as one on its way until [`Tail::sent`].
    pub async fn next(&self) -> Next {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Next> {
        let mut logs = self.logs.borrow_mut();
        let mut at = 0;
        while let Some(followed) = logs.get_mut(at) {
            match followed.poll_line(context) {
                Poll::Ready(Ok(line)) => {
                    let (name, log) = (followed.name.clone(), followed.log);
                    // The others first, the next time.
                    logs[at..].rotate_left(1);
                    self.sending.replace(Some((log, line.clone())));
                    return Poll::Ready(Next::Line(name, line));
                }
                Poll::Ready(Err(FollowEnd::TooSlow)) => return Poll::Ready(Next::TooSlow),
                Poll::Ready(Err(FollowEnd::Closed)) => drop(logs.remove(at)),
                Poll::Pending => at += 1,
            }
        }
        if logs.is_empty() { Poll::Ready(Next::Closed) } else { Poll::Pending }
    }

    /// The line that [`Tail::next`] returned is on its connection.
    pub fn sent(&self) {
        self.sending.take();
    }
}

impl Followed {
    /// A log from here on, after bytes that were not sent by the program before.
    #[must_use]
    pub const fn new(name: LogName, log: LogId, live: Following, unsent: Vec<u8>) -> Self {
        Self { name, log, live, unsent, sent: 0 }
    }

    /// A line, or the piece of one that has no end, or the last one without an end.
    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<u8>, FollowEnd>> {
        loop {
            let rest = &self.unsent[self.sent..];
            let length = match memchr::memchr(b'\n', rest) {
                Some(end) => end + 1,
                None if rest.len() > LONGEST_LINE => rest.len(),
                None => {
                    self.unsent.drain(..self.sent);
                    self.sent = 0;
                    match self.live.poll_next(context) {
                        Poll::Ready(Ok(chunk)) => {
                            self.unsent.extend_from_slice(&chunk);
                            continue;
                        }
                        Poll::Ready(Err(_)) if !self.unsent.is_empty() => self.unsent.len(),
                        Poll::Ready(Err(end)) => return Poll::Ready(Err(end)),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            };
            let line = self.unsent[self.sent..self.sent + length].to_vec();
            self.sent += length;
            return Poll::Ready(Ok(line));
        }
    }

    /// Moves what waits here: from one place on the way to another.
    fn take_in(&mut self) {
        while let Some(chunk) = self.live.next_now() {
            self.unsent.extend_from_slice(&chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log::{Follower, following};

    fn web() -> LogName {
        LogName::Service(ServiceName::parse("web").expect("a name"))
    }

    fn now(tail: &Tail) -> Poll<Next> {
        tail.poll_next(&mut Context::from_waker(std::task::Waker::noop()))
    }

    fn line(name: LogName, text: &[u8]) -> Poll<Next> {
        Poll::Ready(Next::Line(name, text.to_vec()))
    }

    fn write(follower: &Follower, bytes: &[u8]) {
        assert!(follower.send(&Arc::from(bytes)));
    }

    #[test]
    fn what_is_written_down_is_what_was_not_sent_and_writing_it_down_changes_nothing() {
        let tails = Tails::default();
        let ((own, of_own), (service, of_service)) = (following(), following());
        let tail = tails.enter(
            7,
            true,
            vec![
                Followed::new(LogName::Supervisor, LogId::OWN, of_own, Vec::new()),
                Followed::new(web(), LogId(1), of_service, b"old".to_vec()),
            ],
        );
        write(&service, b" line\none\ntwo\nthr");
        write(&own, b"said\n");
        assert_eq!(now(&tail), line(LogName::Supervisor, b"said\n"));
        tail.sent();
        assert_eq!(now(&tail), line(web(), b"old line\n"));
        let rest = |web: &[u8]| {
            let name = ServiceName::parse("web").expect("a name");
            let mut found = tails.rest();
            found.iter_mut().for_each(|rest| rest.logs.sort_by_key(|(_, log, _)| *log));
            let logs = vec![(Some(name), LogId(1), Bytes(web.to_vec())), (None, LogId::OWN, Bytes(Vec::new()))];
            assert_eq!(found, [TailRest { connection: 7, several: true, logs }]);
        };
        // It may have been sent by half: the connection knows, once it has all of it.
        rest(b"old line\none\ntwo\nthr");
        tail.sent();
        rest(b"one\ntwo\nthr");
        assert_eq!(now(&tail), line(web(), b"one\n"));
        tail.sent();
        assert_eq!(now(&tail), line(web(), b"two\n"));
        tail.sent();
        assert_eq!(now(&tail), Poll::Pending);
        write(&service, b"ee\n");
        rest(b"three\n");
        assert_eq!(now(&tail), line(web(), b"three\n"));
        tail.sent();
        drop((own, service));
        assert_eq!(now(&tail), Poll::Ready(Next::Closed));
        drop(tail);
        assert_eq!(tails.rest(), []);
    }

    #[test]
    fn a_line_without_end_and_a_reader_that_is_cut_off() {
        let tails = Tails::default();
        let (follower, live) = following();
        let tail = tails.enter(7, false, vec![Followed::new(web(), LogId(1), live, Vec::new())]);
        write(&follower, &vec![b'x'; LONGEST_LINE]);
        assert_eq!(now(&tail), Poll::Pending);
        write(&follower, b"x");
        assert_eq!(now(&tail), line(web(), &vec![b'x'; LONGEST_LINE + 1]));
        tail.sent();
        write(&follower, b"last");
        assert!(!follower.send(&Arc::from(vec![b'x'; 2 << 20])));
        drop(follower);
        assert_eq!(tails.rest(), []);
        assert_eq!(now(&tail), line(web(), b"last"));
        assert_eq!(now(&tail), Poll::Ready(Next::TooSlow));
    }
}
