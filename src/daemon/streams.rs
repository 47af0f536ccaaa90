//! Answers that go on: events and logs. Each runs as a task of its own; the loop only hands over, and never waits.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::event_loop::Daemon;
use super::tails::{Followed, Next, Tail, TailRest, Tails};
use crate::control::server::{Answer, Lost};
use crate::log::{Following, LogId, Snapshot, following};
use crate::sys::{task, words};
use crate::value::json;
use crate::wire::event::{Event, Origin};
use crate::wire::request::LogName;
use crate::wire::text::{self, TailText};
use crate::wire::{Fault, FaultCode, TailItem};

/// Events that may wait for one reader: the whole ring.
const WAITING_EVENTS: usize = 4096;
/// For the pump to answer. Only a disk that is stuck makes it take longer.
const PUMP_PATIENCE: Duration = Duration::from_secs(5);

/// The readers of live events.
#[derive(Debug, Default)]
pub struct Subscribers(Vec<Subscriber>);

#[derive(Debug)]
struct Subscriber {
    /// The number of its connection.
    connection: Option<i32>,
    /// The number of the event that it is to be sent next.
    next: Rc<Cell<u64>>,
    events: mpsc::Sender<Arc<Event>>,
    too_slow: Rc<Cell<bool>>,
}

impl Subscribers {
    /// Hands an event to everybody; who has too many waiting is let go, and told so.
    pub fn publish(&mut self, event: &Arc<Event>) {
        self.0.retain(|reader| match reader.events.try_send(Arc::clone(event)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                reader.too_slow.set(true);
                false
            }
        });
    }

    /// Their connections, and where each of them is.
    #[must_use]
    pub fn rest(&self) -> Vec<(i32, u64)> {
        let open = self.0.iter().filter(|reader| !reader.events.is_closed());
        open.filter_map(|reader| Some((reader.connection?, reader.next.get()))).collect()
    }

    /// No more events will come.
    pub fn close(&mut self) {
        self.0.clear();
    }
}

impl Daemon {
    pub(super) fn stream_events(&mut self, lines: u32, follow: bool, answer: Answer) {
        self.send_events(self.ring.last(lines as usize), follow, answer);
    }

    /// Goes on with a stream of events from the one with this number.
    pub(super) fn stream_events_from(&mut self, next: u64, answer: Answer) {
        self.send_events(self.ring.since(next), true, answer);
    }

    fn send_events(&mut self, past: Vec<Arc<Event>>, follow: bool, answer: Answer) {
        let flow = (!follow).then(|| Rc::clone(&self.flows));
        let origin = Arc::clone(self.ring.origin());
        let next = Rc::new(Cell::new(past.first().map_or(self.ring.next_seq(), |event| event.seq)));
        let live = follow.then(|| {
            let (events, live) = mpsc::channel(WAITING_EVENTS);
            let too_slow = Rc::new(Cell::new(false));
            let connection = answer.connection();
            self.subscribers.0.push(Subscriber { connection, next: Rc::clone(&next), events, too_slow: Rc::clone(&too_slow) });
            (live, too_slow)
        });
        task::begin(async move {
            let _flow = flow;
            for event in past {
                if send_event(&answer, &event, &origin).await.is_err() {
                    return;
                }
                next.set(event.seq + 1);
            }
            let Some((mut live, too_slow)) = live else { return answer.end().await };
            loop {
                tokio::select! {
                    event = live.recv() => match event {
                        Some(event) => {
                            if send_event(&answer, &event, &origin).await.is_err() {
                                return;
                            }
                            next.set(event.seq + 1);
                        }
                        None if too_slow.get() => return answer.refuse(&too_slow_fault("events")),
                        None => return answer.end().await,
                    },
                    () = answer.lost() => return,
                }
            }
        });
    }

    pub(super) fn stream_tail(&self, logs: Vec<(LogName, LogId)>, lines: u32, follow: bool, answer: Answer) {
        let several = logs.len() > 1;
        let asked: Vec<Asked> = logs.into_iter().map(|(name, log)| self.ask_for_tail(name, log, lines, follow)).collect();
        let flow = (!follow).then(|| Rc::clone(&self.flows));
        let tails = self.tails.clone();
        task::begin(async move {
            let _flow = flow;
            // An error means that the client is gone: there is nobody to tell.
            let _ = tail(asked, lines, several, &tails, answer).await;
        });
    }

    /// Goes on with what the program before followed for a client. Nothing was written to the logs since, if the pump has not
    /// begun to read yet.
    pub(super) fn stream_tail_from(&self, rest: TailRest, answer: Answer) {
        let logs = rest.logs.into_iter().map(|(service, log, unsent)| {
            let (follower, live) = following();
            self.pump.snapshot(log, false, Some(follower), Box::new(drop));
            Followed::new(service.map_or(LogName::Supervisor, LogName::Service), log, live, unsent.0)
        });
        let writer = TailText::new(if rest.several { 0 } else { 1 }, true, false);
        let tail = self.tails.enter(rest.connection, rest.several, logs.collect());
        task::begin(async move {
            let _ = follow(tail, answer, writer).await;
        });
    }

    fn ask_for_tail(&self, name: LogName, log: LogId, lines: u32, follow: bool) -> Asked {
        let (reply, snapshot) = oneshot::channel();
        let (follower, live) = if follow { Some(following()).unzip() } else { (None, None) };
        // The other end may have given up waiting.
        let reply = Box::new(move |snapshot| drop(reply.send(snapshot)));
        self.pump.snapshot(log, lines > 0, follower, reply);
        Asked { name, log, snapshot, live }
    }
}

async fn send_event(answer: &Answer, event: &Event, origin: &Origin) -> Result<(), Lost> {
    let envelope = event.envelope(origin);
    answer
        .item(&envelope, || {
            let value = json::to_value(&envelope).unwrap_or_default();
            text::event(&value).into_bytes()
        })
        .await
}

/// A log that was asked for.
struct Asked {
    name: LogName,
    log: LogId,
    snapshot: oneshot::Receiver<Option<Snapshot>>,
    live: Option<Following>,
}

async fn tail(asked: Vec<Asked>, lines: u32, several: bool, tails: &Tails, answer: Answer) -> Result<(), Lost> {
    let mut lives = Vec::new();
    let follows = asked.iter().any(|one| one.live.is_some());
    let mut writer = TailText::new(if several { 0 } else { 1 }, follows, false);
    for Asked { name, log, snapshot, live } in asked {
        let snapshot = match timeout(PUMP_PATIENCE, snapshot).await {
            Ok(Ok(Some(snapshot))) => snapshot,
            Ok(Ok(None)) => continue,
            Ok(Err(_)) | Err(_) => {
                answer.refuse(&Fault::new(
                    FaultCode::Failed,
                    format!("the log of {} cannot be read now (slow disk?)", name.as_str()),
                ));
                return Ok(());
            }
        };
        if several && live.is_none() {
            send_line(&answer, &mut writer, &TailItem::heading(name.as_str())).await?;
        }
        let read = task::aside(move || snapshot.last(lines as usize)).await;
        let bytes = match read {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => {
                let message = format!("cannot read the log of {}: {}", name.as_str(), words::io(&error));
                answer.refuse(&Fault::new(FaultCode::Failed, message));
                return Ok(());
            }
            Err(_) => {
                let message =
                    format!("cannot read the log of {}: no thread for it, or a fault of section3 itself", name.as_str());
                answer.refuse(&Fault::new(FaultCode::Internal, message));
                return Ok(());
            }
        };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            send_line(&answer, &mut writer, &TailItem::new(name.as_str(), line)).await?;
        }
        lives.extend(live.map(|live| Followed::new(name, log, live, Vec::new())));
    }
    if lives.is_empty() {
        answer.end().await;
        return Ok(());
    }
    let Some(connection) = answer.connection() else { return Err(Lost) };
    follow(tails.enter(connection, several, lives), answer, writer).await
}

async fn follow(tail: Rc<Tail>, answer: Answer, mut writer: TailText) -> Result<(), Lost> {
    loop {
        let next = tokio::select! {
            next = tail.next() => next,
            () = answer.lost() => return Err(Lost),
        };
        match next {
            Next::Line(name, line) => {
                send_line(&answer, &mut writer, &TailItem::new(name.as_str(), &line)).await?;
                tail.sent();
            }
            Next::TooSlow => {
                answer.refuse(&too_slow_fault("tail"));
                return Ok(());
            }
            Next::Closed => {
                answer.end().await;
                return Ok(());
            }
        }
    }
}

async fn send_line(answer: &Answer, writer: &mut TailText, item: &TailItem) -> Result<(), Lost> {
    answer
        .item(item, || {
            let mut bytes = Vec::new();
            writer.write(item, &mut bytes);
            bytes
        })
        .await
}

fn too_slow_fault(verb: &str) -> Fault {
    Fault::new(FaultCode::TooSlow, "the reader fell too far behind and was let go")
        .with_hint(format!("call `section3 {verb}` again"))
}

#[cfg(test)]
mod tests;
