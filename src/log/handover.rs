//! The pump across a re-exec: it stands still while the program is replaced, and the next one begins where it stood.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use super::engine::{Engine, Feed, arm};
use super::journal::{Ended, Journal};
use super::report::LogCounters;
use super::rest::{Bytes, FeedRest, Rest};
use crate::sys::outlet::Outlet;
use crate::value::Moment;

impl Engine {
    /// Says what there is, and does nothing until the other end lets go. An exec in the meantime ends this thread, and with it
    /// nothing that is not written down.
    pub(super) fn pause(&mut self, limit: Duration, answer: &Sender<Result<Rest, String>>, go_on: &Receiver<()>) {
        let console = match &self.printer {
            None => Ok(Vec::new()),
            Some(printer) => printer.pause(limit).ok_or_else(|| "stdout holds up a write".to_owned()),
        };
        // Where nobody waits for the answer any more, nobody holds the other end of `go_on` either.
        let _ = answer.send(console.map(|console| self.rest(console)));
        let _ = go_on.recv();
        if let Some(printer) = &self.printer {
            printer.go_on();
        }
    }

    fn rest(&self, console: Vec<u8>) -> Rest {
        // Free places are left out, so every place gets a new number.
        let mut numbers = Vec::new();
        let mut journals = Vec::new();
        for journal in &self.journals {
            numbers.push(journals.len());
            journals.extend(journal.as_ref().map(Journal::rest));
        }
        let number = |place: usize| numbers.get(place).copied().unwrap_or_default();
        let feeds = self.feeds.iter().flatten().map(|feed| FeedRest {
            log: feed.log,
            run: feed.run,
            journal: number(feed.journal),
            fd: feed.outlet.as_fd().as_raw_fd(),
            held: Bytes(feed.held.clone()),
            kept: feed.kept,
            kept_until: feed.kept_until,
            unkept: Bytes(feed.unkept.clone()),
            is_left_over: feed.is_left_over,
        });
        let ended = self.ended.iter().map(|ended| (ended.log, ended.run, Bytes(ended.tail.clone())));
        Rest {
            folder: self.folder.as_fd().as_raw_fd(),
            feeds: feeds.collect(),
            places: self.places.iter().map(|(log, place)| (*log, number(*place))).collect(),
            ended: ended.collect(),
            reports: self.outbox.iter().cloned().collect(),
            console: Bytes(console),
            own_dropped: self.own.dropped.load(Ordering::Acquire),
            journals,
        }
    }

    /// Goes on where another one stopped. Its own log, opened at the start, gives way to what is known of it.
    pub(super) fn take_over(&mut self, rest: Rest, pipes: Vec<Option<OwnedFd>>, counters: Vec<Arc<LogCounters>>, now: Moment) {
        let Rest { folder: _, journals, places, feeds, ended, reports, console, own_dropped: _ } = rest;
        self.journals = journals
            .into_iter()
            .zip(counters)
            .map(|(journal, counters)| Some(Journal::from_rest(journal, counters, now)))
            .collect();
        self.places = places.into_iter().collect();
        self.armed.clear();
        for (feed, pipe) in feeds.into_iter().zip(pipes) {
            let place = self.feeds.len();
            let taken = pipe.ok_or_else(|| std::io::Error::from_raw_os_error(libc::EBADF));
            match taken.and_then(Outlet::new).and_then(|outlet| self.set.add(&outlet, place as u64).map(|()| outlet)) {
                Ok(outlet) => {
                    if let Some(Some(journal)) = self.journals.get_mut(feed.journal) {
                        journal.feeds += 1;
                    }
                    self.feeds.push(Some(Feed {
                        log: feed.log,
                        run: feed.run,
                        outlet,
                        journal: feed.journal,
                        held: feed.held.0,
                        kept: feed.kept,
                        kept_until: feed.kept_until,
                        unkept: feed.unkept.0,
                        is_left_over: feed.is_left_over,
                    }));
                }
                Err(error) => self.outbox.push_back(super::Report::Fault {
                    message: format!("cannot watch the output of run {} any more: {error}", feed.run),
                }),
            }
        }
        self.ended = ended.into_iter().map(|(log, run, tail)| Ended { log, run, tail: tail.0 }).collect::<VecDeque<_>>();
        self.outbox.extend(reports);
        if let Some(printer) = self.printer.as_ref().filter(|_| !console.0.is_empty()) {
            printer.take_over(console.0);
        }
        for place in 0..self.journals.len() {
            if let Some(Some(journal)) = self.journals.get_mut(place) {
                arm(&mut self.armed, place, journal);
            }
        }
    }
}
