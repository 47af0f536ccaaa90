//! The pump's thread: one wait for all pipes, one read buffer for all of them, and every log file. It may wait for a disk,
//! for that is what it is there for; it must never wait for the event loop, the console or a reader.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use memchr::memrchr;

use super::console::Printer;
use super::folder::Folder;
use super::gather::Gather;
use super::journal::{Ended, Journal, TAIL_BYTES, Turn};
use super::pump::{Attached, Clock, Command, OwnQueue, Setup};
use super::report::{LogCounters, LogId, Report};
use crate::spec::{Console, LogLimits};
use crate::sys::epoll::{ReadSet, wait_readable};
use crate::sys::outlet::{Found, Outlet};
use crate::sys::wake::Wake;
use crate::sys::words;
use crate::value::sorted::Map;
use crate::value::{Moment, Run};

/// The one read buffer. Larger ones fall out of the second-level cache and halve the speed (measured).
const BUFFER: usize = 128 << 10;
/// Reads of one pipe in one turn: a service that floods gets no more than its share.
const READS_A_TURN: usize = 4;
/// An unfinished line that is held back while two pipes feed one log.
const HELD: usize = 64 << 10;
/// When the event loop's inbox was full, the next try.
const TELL_AGAIN: Duration = Duration::from_millis(10);
/// Runs whose pipe ended and whose drain was not asked for yet; each is asked for once, so this is never reached.
const ENDED_KEPT: usize = 4096;
/// After a fault of its own, the pause: one that repeats must not become a busy loop.
const AFTER_FAULT: Duration = Duration::from_millis(20);
/// The bell's number in the read set; pipes have their place in the list of feeds.
const BELL: u64 = u64::MAX;

/// Reports go out through this; what it gives back is kept and offered again.
pub(super) type Tell = Box<dyn FnMut(Report) -> Result<(), Report> + Send>;

pub(super) struct Engine {
    pub(super) set: ReadSet,
    pub(super) bell: Wake,
    pub(super) commands: Receiver<Command>,
    pub(super) clock: Clock,
    pub(super) folder: Folder,
    pub(super) journals: Vec<Option<Journal>>,
    pub(super) places: Map<LogId, usize>,
    /// Journals that have a deadline.
    pub(super) armed: Vec<usize>,
    pub(super) feeds: Vec<Option<Feed>>,
    pub(super) ended: VecDeque<Ended>,
    pub(super) buffer: Box<[u8]>,
    pub(super) ready: Vec<u64>,
    pub(super) gather: Gather,
    pub(super) console: Console,
    pub(super) stdout: OwnedFd,
    pub(super) printer: Option<Printer>,
    pub(super) own: Arc<OwnQueue>,
    pub(super) tell: Tell,
    pub(super) outbox: VecDeque<Report>,
    /// The event loop's inbox was full.
    pub(super) blocked_until: Option<Moment>,
    /// Set by the last command.
    pub(super) ending: Option<Duration>,
}

/// One pipe.
pub(super) struct Feed {
    pub(super) log: LogId,
    pub(super) run: Run,
    pub(super) outlet: Outlet,
    pub(super) journal: usize,
    /// An unfinished line, held back while another pipe feeds the same log.
    pub(super) held: Vec<u8>,
    /// Bytes of this run that are in the files.
    pub(super) kept: u64,
    /// What [`Journal::kept`] was at the last of them.
    pub(super) kept_until: u64,
    /// From the first byte of this run that was lost on: the last [`TAIL_BYTES`], for the files do not have them.
    pub(super) unkept: Vec<u8>,
    /// Its run has ended, and something that outlived it holds the other end.
    pub(super) is_left_over: bool,
}

impl Engine {
    pub fn new(setup: Setup, commands: Receiver<Command>, bell: Wake, own: Arc<OwnQueue>, tell: Tell) -> std::io::Result<Self> {
        let set = ReadSet::new()?;
        set.add(&bell, BELL)?;
        let mut engine = Self {
            set,
            bell,
            commands,
            clock: setup.clock,
            folder: setup.folder,
            journals: Vec::new(),
            places: Map::new(),
            armed: Vec::new(),
            feeds: Vec::new(),
            ended: VecDeque::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            ready: Vec::new(),
            gather: Gather::default(),
            console: Console::None,
            stdout: setup.stdout,
            printer: None,
            own,
            tell,
            outbox: VecDeque::new(),
            blocked_until: None,
            ending: None,
        };
        let counters = Arc::clone(&engine.own.counters);
        engine.open(LogId::OWN, "section3", setup.own, counters, (engine.clock)());
        engine.set_console(setup.console);
        Ok(engine)
    }

    /// Runs until the last command, and gives back the pipes that are still open.
    pub fn run(mut self) -> Vec<Attached> {
        while self.ending.is_none() {
            // A bug in one turn must not leave every service with a pipe that nobody reads.
            if let Err(fault) = catch_unwind(AssertUnwindSafe(|| self.turn())) {
                self.outbox.push_back(Report::Fault {
                    message: format!("the log pump went on after a fault: {}", words::fault(&*fault)),
                });
                wait_readable(&self.bell, AFTER_FAULT);
            }
        }
        self.finish()
    }

    fn turn(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        let limit = self.wait_limit();
        if let Err(error) = self.set.wait(limit, &mut ready) {
            self.outbox.push_back(Report::Fault { message: format!("cannot wait for pipes: {error}") });
        }
        let now = (self.clock)();
        let mut had_commands = self.obey(now);
        let mut fill = 0.0_f64;
        for place in ready.iter().filter_map(|token| usize::try_from(*token).ok()) {
            fill = fill.max(self.read_some(place, now));
            // An attach or a drain does not wait until a thousand loud services had their turn.
            had_commands |= self.obey(now);
        }
        self.ready = ready;
        self.meet_deadlines(now);
        if let Some(errno) = self.printer.as_ref().and_then(Printer::fault) {
            let why = words::errno(errno);
            let message = format!("cannot write to stdout: {why}; lines are missing there and counted, files have them all");
            self.outbox.push_back(Report::Fault { message });
        }
        self.report(now);
        let wait = self.gather.after_turn(now, fill);
        if let Some(wait) = wait.filter(|_| !had_commands && self.ending.is_none()) {
            wait_readable(&self.bell, wait);
        }
    }

    /// Until when nothing happens by itself.
    fn wait_limit(&self) -> Option<Duration> {
        let armed = || self.armed.iter().filter_map(|place| self.journals[*place].as_ref());
        let work = armed().filter_map(Journal::deadline).min();
        let news =
            if self.outbox.is_empty() { armed().filter_map(Journal::report_deadline).min() } else { Some(Moment::default()) };
        let news = news.map(|at| self.blocked_until.map_or(at, |until| until.max(at)));
        let next = work.into_iter().chain(news).min()?;
        Some(next.since((self.clock)()))
    }

    /// Carries out what was asked for; `true` where something was.
    fn obey(&mut self, now: Moment) -> bool {
        if !self.bell.is_rung() {
            return false;
        }
        self.bell.silence();
        while self.ending.is_none()
            && let Ok(command) = self.commands.try_recv()
        {
            self.obey_one(command, now);
        }
        true
    }

    fn obey_one(&mut self, command: Command, now: Moment) {
        match command {
            Command::Open { log, name, limits, counters } => self.open(log, &name, limits, counters, now),
            Command::Limits { log, limits } => {
                self.with_journal(log, now, |journal, turn| journal.set_limits(limits, turn));
            }
            Command::Console(console) => self.set_console(console),
            Command::Attach { log, run, pipe } => self.attach(log, run, pipe),
            Command::Drain { log, run } => self.drain(log, run, now),
            Command::Rotate { log, ticket } => {
                let report = self.with_journal(log, now, |journal, turn| journal.rotate(log, ticket, turn));
                self.outbox.extend(report);
            }
            Command::Close { log } => self.close(log),
            Command::Snapshot { log, wants_lines, follower, reply } => {
                reply(self.with_journal(log, now, |journal, turn| journal.snapshot(wants_lines, follower, turn)));
            }
            Command::Say { stamp, text } => self.say(&stamp, &text, now),
            Command::Pause { limit, answer, go_on } => self.pause(limit, &answer, &go_on),
            Command::TakeOver { rest, pipes, counters, wait } => {
                self.take_over(*rest, pipes, counters, now);
                // The commands that came meanwhile are obeyed before the first read.
                let _ = wait.recv();
            }
            Command::End { grace } => self.ending = Some(grace),
        }
    }

    /// One step of one log, if it is open.
    fn with_journal<T>(&mut self, log: LogId, now: Moment, step: impl FnOnce(&mut Journal, &mut Turn<'_>) -> T) -> Option<T> {
        let place = *self.places.get(&log)?;
        let journal = self.journals[place].as_mut()?;
        let printer = printer_for(log, self.console, self.printer.as_ref());
        let done = step(journal, &mut Turn { now, folder: &mut self.folder, printer });
        arm(&mut self.armed, place, journal);
        Some(done)
    }

    fn open(&mut self, log: LogId, name: &str, limits: LogLimits, counters: Arc<LogCounters>, now: Moment) {
        let same_name = self.journals.iter().position(|journal| journal.as_ref().is_some_and(|journal| journal.name() == name));
        // Two owners of one file would each rotate it: whoever comes later joins.
        let (place, is_new) = match same_name {
            Some(place) => (place, false),
            None => (free_place(&mut self.journals), true),
        };
        if is_new {
            self.journals[place] = Some(Journal::new(name, limits, Arc::clone(&counters), log));
        }
        self.places.insert(log, place);
        self.with_journal(
            log,
            now,
            |journal, turn| {
                if is_new { journal.open(turn) } else { journal.adopt(log, counters, limits, turn) }
            },
        );
    }

    fn close(&mut self, log: LogId) {
        if let Some(place) = self.places.get(&log)
            && let Some(journal) = &mut self.journals[*place]
        {
            journal.disown(log);
            self.forget_unused(log);
        }
    }

    /// Lets go of a number, and of its journal, that nobody needs any more.
    fn forget_unused(&mut self, log: LogId) {
        let Some(&place) = self.places.get(&log) else { return };
        let Some(journal) = &self.journals[place] else { return };
        if journal.owners.contains(&log) || self.feeds.iter().flatten().any(|feed| feed.log == log) {
            return;
        }
        self.places.remove(&log);
        if journal.owners.is_empty() && journal.feeds == 0 {
            self.journals[place] = None;
            self.armed.retain(|armed| *armed != place);
        }
    }

    fn set_console(&mut self, console: Console) {
        self.console = console;
        if console == Console::None {
            self.printer = None;
        } else if self.printer.is_none() {
            match self.stdout.try_clone().and_then(Printer::start) {
                Ok(printer) => self.printer = Some(printer),
                Err(error) => {
                    self.outbox.push_back(Report::Fault { message: format!("cannot start the console thread: {error}") });
                }
            }
        }
    }

    fn say(&mut self, stamp: &str, text: &str, now: Moment) {
        self.own.waiting.fetch_sub(text.len(), Ordering::AcqRel);
        let missing = self.own.dropped.swap(0, Ordering::AcqRel);
        self.with_journal(LogId::OWN, now, |journal, turn| {
            if missing > 0 {
                journal.say(stamp, &format!("{missing} messages are missing here: the disk is too slow for them"), turn);
            }
            journal.say(stamp, text, turn);
        });
    }

    fn attach(&mut self, log: LogId, run: Run, pipe: OwnedFd) {
        let place = free_place(&mut self.feeds);
        let Some(&journal) = self.places.get(&log) else {
            self.outbox.push_back(Report::Fault { message: format!("cannot attach run {run} to log {}, it is not open", log.0) });
            return;
        };
        match Outlet::new(pipe).and_then(|outlet| self.set.add(&outlet, place as u64).map(|()| outlet)) {
            Ok(outlet) => {
                self.feeds[place] = Some(Feed {
                    log,
                    run,
                    outlet,
                    journal,
                    held: Vec::new(),
                    kept: 0,
                    kept_until: 0,
                    unkept: Vec::new(),
                    is_left_over: false,
                });
                if let Some(journal) = &mut self.journals[journal] {
                    journal.feeds += 1;
                }
            }
            Err(error) => {
                self.outbox.push_back(Report::Fault { message: format!("cannot watch the output of run {run}: {error}") });
            }
        }
    }

    /// Reads from one ready pipe; returns how full the pipe was (0 to 1).
    fn read_some(&mut self, place: usize, now: Moment) -> f64 {
        let Some(Some(feed)) = self.feeds.get(place) else { return 0.0 };
        let capacity = feed.outlet.capacity();
        let (mut total, mut reads) = (0, 0);
        while reads < READS_A_TURN {
            match self.read_once(place, now) {
                Found::Bytes(count) => {
                    total += count;
                    reads += 1;
                    // A short read emptied it, as far as we care: the next wait knows.
                    if count < self.buffer.len().min(capacity) {
                        break;
                    }
                }
                Found::Nothing => break,
                Found::End => {
                    self.end_feed(place, now);
                    break;
                }
            }
        }
        total as f64 / capacity as f64
    }

    fn read_once(&mut self, place: usize, now: Moment) -> Found {
        let Self { feeds, journals, buffer, folder, printer, console, armed, .. } = self;
        let Some(Some(feed)) = feeds.get_mut(place) else { return Found::Nothing };
        let Some(Some(journal)) = journals.get_mut(feed.journal) else { return Found::Nothing };
        let found = feed.outlet.read(buffer);
        if let Found::Bytes(count) = found {
            let printer = printer_for(feed.log, *console, printer.as_ref());
            feed.pass(&buffer[..count], journal, &mut Turn { now, folder, printer });
            arm(armed, feed.journal, journal);
        }
        found
    }

    /// The last writer is gone.
    fn end_feed(&mut self, place: usize, now: Moment) {
        let Some(feed) = self.feeds.get(place).and_then(Option::as_ref) else { return };
        let (log, run, is_left_over) = (feed.log, feed.run, feed.is_left_over);
        let tail = self.flush(place, now);
        self.remove_feed(place);
        if !is_left_over {
            if self.ended.len() == ENDED_KEPT {
                self.ended.pop_front();
            }
            self.ended.push_back(Ended { log, run, tail });
        }
    }

    /// Writes what a pipe's feed holds back, ends its console line, and returns the last lines of its run.
    fn flush(&mut self, place: usize, now: Moment) -> Vec<u8> {
        let Self { feeds, journals, folder, printer, console, armed, .. } = self;
        let Some(Some(feed)) = feeds.get_mut(place) else { return Vec::new() };
        let Some(Some(journal)) = journals.get_mut(feed.journal) else { return Vec::new() };
        let printer = printer_for(feed.log, *console, printer.as_ref());
        let mut turn = Turn { now, folder, printer };
        feed.let_go(journal, &mut turn);
        journal.end_line(&turn);
        arm(armed, feed.journal, journal);
        if feed.unkept.is_empty() { journal.tail(feed.kept, feed.kept_until, turn.folder) } else { last_lines(&feed.unkept) }
    }

    fn remove_feed(&mut self, place: usize) {
        if let Some(feed) = self.feeds.get_mut(place).and_then(Option::take) {
            if let Some(journal) = &mut self.journals[feed.journal] {
                journal.feeds -= 1;
            }
            let log = feed.log;
            // Closing takes it out of the read set: it has no duplicate.
            drop(feed);
            self.forget_unused(log);
        }
    }

    fn drain(&mut self, log: LogId, run: Run, now: Moment) {
        let of_log = |feed: &Option<Feed>| feed.as_ref().is_some_and(|feed| feed.log == log);
        let Some(place) = self.feeds.iter().position(|feed| of_log(feed) && feed.as_ref().is_some_and(|feed| feed.run == run))
        else {
            let known = self.ended.iter().position(|ended| ended.log == log && ended.run == run);
            let tail = known.and_then(|at| self.ended.remove(at)).map(|ended| ended.tail).unwrap_or_default();
            self.outbox.push_back(Report::Drained { log, run, tail });
            return;
        };
        let is_at_end = self.read_out(place, now);
        let tail = self.flush(place, now);
        self.outbox.push_back(Report::Drained { log, run, tail });
        if is_at_end {
            self.remove_feed(place);
            return;
        }
        let journal = self.feeds[place].as_ref().map(|feed| feed.journal);
        // Whoever holds it may write on, but a log keeps one such pipe: a service that leaves a process behind at each
        // restart would fill the table of descriptors.
        let older: Vec<usize> = (0..self.feeds.len())
            .filter(|at| self.feeds[*at].as_ref().is_some_and(|feed| feed.is_left_over && Some(feed.journal) == journal))
            .filter(|at| *at != place)
            .collect();
        for at in older {
            self.read_out(at, now);
            self.flush(at, now);
            self.remove_feed(at);
        }
        if let Some(feed) = &mut self.feeds[place] {
            feed.is_left_over = true;
        }
    }

    /// Reads all that is in a pipe now, also where somebody goes on writing; `true` at its end.
    fn read_out(&mut self, place: usize, now: Moment) -> bool {
        let Some(Some(feed)) = self.feeds.get(place) else { return true };
        let mut left = feed.outlet.capacity();
        loop {
            match self.read_once(place, now) {
                Found::Bytes(count) if count < left => left -= count,
                Found::Bytes(_) | Found::Nothing => return false,
                Found::End => return true,
            }
        }
    }

    fn meet_deadlines(&mut self, now: Moment) {
        let Self { journals, armed, folder, .. } = self;
        armed.retain(|place| {
            let Some(journal) = &mut journals[*place] else { return false };
            if journal.deadline().is_some_and(|at| at <= now) {
                journal.on_deadline(&mut Turn { now, folder, printer: None });
            }
            journal.is_armed = journal.deadline().is_some() || journal.report_deadline().is_some();
            journal.is_armed
        });
    }

    fn report(&mut self, now: Moment) {
        if self.blocked_until.is_some_and(|until| now < until) {
            return;
        }
        self.blocked_until = None;
        while let Some(report) = self.outbox.pop_front() {
            if let Err(report) = (self.tell)(report) {
                self.outbox.push_front(report);
                self.blocked_until = Some(now + TELL_AGAIN);
                return;
            }
        }
        for place in &self.armed {
            if let Some(journal) = &mut self.journals[*place]
                && !journal.report(now, &self.folder, &mut self.tell)
            {
                self.blocked_until = Some(now + TELL_AGAIN);
                return;
            }
        }
    }

    /// The end: what is in the pipes stays there for whoever takes them over.
    fn finish(mut self) -> Vec<Attached> {
        let now = (self.clock)();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            for place in 0..self.feeds.len() {
                self.flush(place, now);
            }
            self.meet_deadlines(now);
            self.blocked_until = None;
            self.report(now);
        }));
        if let (Some(printer), Some(grace)) = (self.printer.take(), self.ending) {
            printer.finish(grace);
        }
        let attached = |feed: Feed| {
            // The set lives as long as this thread; a duplicate elsewhere must not keep it awake.
            let _ = self.set.remove(feed.outlet.as_fd());
            Attached { log: feed.log, run: feed.run, is_left_over: feed.is_left_over, pipe: feed.outlet.into_fd() }
        };
        self.feeds.into_iter().flatten().map(attached).collect()
    }
}

impl Feed {
    /// Hands bytes to the log: at once while this is its only pipe, else in whole lines.
    fn pass(&mut self, bytes: &[u8], journal: &mut Journal, turn: &mut Turn<'_>) {
        if journal.feeds == 1 {
            self.let_go(journal, turn);
            self.put(bytes, journal, turn);
            return;
        }
        let (whole, begun) = bytes.split_at(memrchr(b'\n', bytes).map_or(0, |newline| newline + 1));
        if !whole.is_empty() {
            self.held.extend_from_slice(whole);
            self.let_go(journal, turn);
        }
        if self.held.len() + begun.len() > HELD {
            self.let_go(journal, turn);
            self.put(begun, journal, turn);
        } else {
            self.held.extend_from_slice(begun);
        }
    }

    fn let_go(&mut self, journal: &mut Journal, turn: &mut Turn<'_>) {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.put(&held, journal, turn);
        }
    }

    fn put(&mut self, bytes: &[u8], journal: &mut Journal, turn: &mut Turn<'_>) {
        let kept = journal.put(bytes, turn);
        if kept > 0 {
            self.kept += kept as u64;
            self.kept_until = journal.kept();
        }
        if kept < bytes.len() || !self.unkept.is_empty() {
            let news = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
            let surplus = (self.unkept.len() + news.len()).saturating_sub(TAIL_BYTES);
            self.unkept.drain(..surplus);
            self.unkept.extend_from_slice(news);
        }
    }
}

/// The last 20 lines of a piece of output whose beginning may be missing.
fn last_lines(bytes: &[u8]) -> Vec<u8> {
    let ended = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let start = memchr::memrchr_iter(b'\n', ended).nth(19).map_or(0, |newline| newline + 1);
    bytes[start..].to_vec()
}

fn printer_for(log: LogId, console: Console, printer: Option<&Printer>) -> Option<&Printer> {
    match console {
        Console::All => printer,
        Console::Events if log == LogId::OWN => printer,
        Console::Events | Console::None => None,
    }
}

pub(super) fn arm(armed: &mut Vec<usize>, place: usize, journal: &mut Journal) {
    if !journal.is_armed && (journal.deadline().is_some() || journal.report_deadline().is_some()) {
        journal.is_armed = true;
        armed.push(place);
    }
}

/// The first free place of a list; it is empty until the caller fills it.
fn free_place<T>(list: &mut Vec<Option<T>>) -> usize {
    list.iter().position(Option::is_none).unwrap_or_else(|| {
        list.push(None);
        list.len() - 1
    })
}
