//! One log as the pump sees it: the files, what is missing from them, who follows, and what is still to be reported. All
//! bytes of a log, whichever pipe they came from, pass through [`Journal::put`].

use std::sync::Arc;
use std::time::Duration;

use super::console::{Line, Printer};
use super::file::{LogFile, Turned};
use super::folder::Folder;
use super::follow::Follower;
use super::report::{LogCounters, LogId, Report, RotateReason};
use super::rest::{Bytes, JournalRest};
use super::splitter::Position;
use super::tail::{MOST_BYTES, Snapshot};
use crate::spec::LogLimits;
use crate::sys::words;
use crate::value::{Moment, Run};

/// What `exit` events show of a run.
const TAIL_LINES: usize = 20;
/// The most bytes of it.
pub(super) const TAIL_BYTES: usize = 8 << 10;
/// After a failed write, the next try; doubled at each failure in a row.
const WRITE_AGAIN: Duration = Duration::from_millis(250);
/// The longest time between two tries: what an operator who made room is ready to wait.
const WRITE_AGAIN_MAX: Duration = Duration::from_secs(2);
/// At most one report of losses in this time.
const TELL_LOSS_EVERY: Duration = Duration::from_secs(1);
/// At most one report of rotations in this time; a loud service rotates hundreds of times a second.
const TELL_TURN_EVERY: Duration = Duration::from_millis(100);
/// The longest unfinished line that a snapshot copies.
const UNFINISHED_COPY: u64 = 64 << 10;

/// What a journal needs of its surroundings for one step.
pub(super) struct Turn<'a> {
    pub now: Moment,
    pub folder: &'a mut Folder,
    /// Where the console copy of this log goes, if it is copied.
    pub printer: Option<&'a Printer>,
}

/// One log.
pub(super) struct Journal {
    name: String,
    file: LogFile,
    counters: Arc<LogCounters>,
    /// Those who opened it and have not closed it. Several only while a service is replaced by one of the same name.
    pub owners: Vec<LogId>,
    /// Pipes that feed it.
    pub feeds: usize,
    /// It is in the pump's list of logs that have a deadline.
    pub is_armed: bool,
    kept: u64,
    followers: Vec<Follower>,
    line: Line,
    loss: Loss,
    turns: Turns,
}

/// Bytes that are missing.
#[derive(Default)]
struct Loss {
    /// Since the last line in the file that says so.
    missing: u64,
    reason: String,
    again_at: Moment,
    wait: Duration,
    /// Since the last report.
    untold: u64,
    tell_at: Moment,
    /// Bytes that a line in the file accounts for, not reported yet.
    restored: Option<u64>,
}

/// Rotations that are still to be reported.
#[derive(Default)]
struct Turns {
    untold: Option<(Turned, u32)>,
    tell_at: Moment,
    /// What stopped the last try; told once.
    failure: Option<String>,
    failure_is_told: bool,
}

impl Journal {
    pub fn new(name: &str, limits: LogLimits, counters: Arc<LogCounters>, owner: LogId) -> Self {
        Self {
            name: name.to_owned(),
            file: LogFile::new(name, limits),
            counters,
            owners: vec![owner],
            feeds: 0,
            is_armed: false,
            kept: 0,
            followers: Vec::new(),
            line: Line::default(),
            loss: Loss::default(),
            turns: Turns::default(),
        }
    }

    /// What the next image of the program must know of it.
    pub fn rest(&self) -> JournalRest {
        JournalRest {
            name: self.name.clone(),
            limits: self.file.limits(),
            owners: self.owners.clone(),
            kept: self.kept,
            line: Bytes(self.line.begun().to_vec()),
            size: self.counters.size(),
            lost_bytes: self.counters.lost_bytes(),
            console_dropped: self.counters.console_dropped(),
            missing: self.loss.missing,
            reason: self.loss.reason.clone(),
            untold: self.loss.untold,
            restored: self.loss.restored,
            turned: self.turns.untold.map(|(turned, folded)| (turned.bytes, folded)),
            hole: self.file.hole(),
        }
    }

    /// The same log again.
    pub fn from_rest(rest: JournalRest, counters: Arc<LogCounters>, now: Moment) -> Self {
        let mut line = Line::default();
        line.take_over(rest.line.0);
        let untold = rest.turned.map(|(bytes, folded)| (Turned { bytes }, folded));
        Self {
            file: LogFile::new(&rest.name, rest.limits).with_hole(rest.hole),
            name: rest.name,
            counters,
            owners: rest.owners,
            feeds: 0,
            is_armed: false,
            kept: rest.kept,
            followers: Vec::new(),
            line,
            loss: Loss {
                missing: rest.missing,
                reason: rest.reason,
                again_at: now,
                wait: Duration::ZERO,
                untold: rest.untold,
                tell_at: now,
                restored: rest.restored,
            },
            turns: Turns { untold, tell_at: now, ..Turns::default() },
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the file ahead of its first byte, so that a fault is known and `status` can show the size. It is not kept open:
    /// a descriptor for each silent service would make every launch slower, for `execve(2)` closes them one by one.
    pub fn open(&mut self, turn: &mut Turn<'_>) {
        if let Err(error) = self.file.open(turn.folder, turn.now) {
            self.loss.reason = words::io(&error);
            self.loss.tell_at = turn.now;
        }
        self.note_size();
        self.file.let_go();
    }

    /// Another service of the same name took its place.
    pub fn adopt(&mut self, owner: LogId, counters: Arc<LogCounters>, limits: LogLimits, turn: &mut Turn<'_>) {
        self.owners.push(owner);
        self.counters = counters;
        self.set_limits(limits, turn);
        self.note_size();
    }

    /// One of its owners closed it. After the last one nobody is told what a left-over process still writes.
    pub fn disown(&mut self, owner: LogId) {
        self.owners.retain(|other| *other != owner);
        if self.owners.is_empty() {
            self.followers.clear();
        }
    }

    pub fn set_limits(&mut self, limits: LogLimits, turn: &mut Turn<'_>) {
        let line_is_open = self.feeds > 0;
        match self.file.set_limits(turn.folder, limits, line_is_open, turn.now) {
            Ok(Some(turned)) => self.turns.add(turned),
            Ok(None) => {}
            Err(error) => self.turns.fail(&error),
        }
        self.note_size();
    }

    /// Takes bytes: into the file, to the followers, and onto the console. Returns how many of them, from the first on, the
    /// file took; the others are counted.
    pub fn put(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> usize {
        // First the file: whoever hears of a line, as a follower or a readiness probe does, finds it there.
        let kept = self.keep(bytes, turn);
        if !self.followers.is_empty() {
            let chunk: Arc<[u8]> = bytes.into();
            self.followers.retain(|follower| follower.send(&chunk));
        }
        if let Some(printer) = turn.printer {
            let dropped = self.line.add(printer, &self.name, bytes);
            if dropped > 0 {
                self.counters.add_console_dropped(dropped);
            }
        }
        kept
    }

    /// The supervisor's own line: its console copy has no time stamp.
    pub fn say(&mut self, stamp: &str, text: &str, turn: &mut Turn<'_>) {
        if let Some(printer) = turn.printer {
            let dropped = self.line.add(printer, &self.name, format!("{text}\n").as_bytes());
            self.counters.add_console_dropped(dropped);
        }
        let mut file_only = Turn { now: turn.now, folder: &mut *turn.folder, printer: None };
        self.put(format!("{stamp} {text}\n").as_bytes(), &mut file_only);
    }

    /// The unfinished console line of a run that ended.
    pub fn end_line(&mut self, turn: &Turn<'_>) {
        match turn.printer {
            Some(printer) => self.counters.add_console_dropped(self.line.flush(printer, &self.name)),
            None => self.line.clear(),
        }
    }

    fn keep(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> usize {
        if self.loss.missing > 0 && !self.mark_loss(turn) {
            self.lose(bytes.len());
            return 0;
        }
        let turns = &mut self.turns;
        let done = self.file.append(turn.folder, bytes, turn.now, &mut |turned| turns.add(turned));
        if let Some(error) = &done.unrotated {
            self.turns.fail(error);
        }
        if let Some(error) = &done.error {
            self.loss.fail(error, turn.now);
            self.lose(bytes.len() - done.kept);
        } else {
            self.loss.wait = Duration::ZERO;
        }
        self.kept += done.kept as u64;
        self.note_size();
        done.kept
    }

    /// How many bytes of services it ever took.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    fn lose(&mut self, bytes: usize) {
        self.loss.missing += bytes as u64;
        self.loss.untold += bytes as u64;
        self.counters.add_lost(bytes as u64);
    }

    /// Writes the line that says how much is missing; `false` while that does not work.
    fn mark_loss(&mut self, turn: &mut Turn<'_>) -> bool {
        if turn.now < self.loss.again_at {
            return false;
        }
        // Where the file was taken away, the new one has no line to end.
        let file = self.file.check(turn.folder, turn.now).and_then(|()| self.file.open(turn.folder, turn.now));
        if let Err(error) = file {
            self.loss.fail(&error, turn.now);
            return false;
        }
        let before = self.file.position();
        let line_end = if before.is_mid_line() { "\n" } else { "" };
        let missing = self.loss.missing;
        let text = format!("{line_end}[section3] {missing} bytes are missing here: {}\n", self.loss.reason);
        let turns = &mut self.turns;
        let done = self.file.append(turn.folder, text.as_bytes(), turn.now, &mut |turned| turns.add(turned));
        self.note_size();
        if let Some(error) = done.error {
            // Half a line would stay for ever between the service's own.
            self.file.take_back(before);
            self.loss.fail(&error, turn.now);
            return false;
        }
        self.loss.missing = 0;
        self.loss.restored = Some(self.loss.restored.unwrap_or(0) + missing);
        true
    }

    /// Rotates because somebody asked.
    pub fn rotate(&mut self, log: LogId, ticket: u64, turn: &mut Turn<'_>) -> Report {
        let reason = RotateReason::Manual(ticket);
        let done = self.file.rotate(turn.folder, self.feeds > 0, turn.now);
        self.note_size();
        match done {
            Ok(Some(turned)) => {
                self.turns.failure = None;
                self.turned(log, turned, reason, 0, turn.folder)
            }
            Ok(None) => {
                let what = if self.file.position().size == 0 { "empty" } else { "it holds no finished line" };
                Report::NothingToRotate { ticket, message: format!("{what}, nothing to rotate") }
            }
            Err(error) => {
                let message = format!("cannot rotate log {}: {}", self.file.name(), words::io(&error));
                Report::NotRotated { log, reason, message }
            }
        }
    }

    /// The files as they are now, and from here on everything to the follower.
    pub fn snapshot(&mut self, wants_lines: bool, follower: Option<Follower>, turn: &mut Turn<'_>) -> Snapshot {
        // An open that fails here was reported when it failed at a write.
        let _ = self.file.open(turn.folder, turn.now);
        // Whoever left a log that is silent is noticed here.
        self.followers.retain(|follower| !follower.is_gone());
        self.followers.extend(follower);
        if wants_lines {
            self.look(turn.folder, MOST_BYTES as u64)
        } else {
            Snapshot { parts: Vec::new(), unfinished: Vec::new() }
        }
    }

    /// The last lines of what a run wrote, of which `written` bytes are in the files, the last of them where
    /// [`Journal::kept`] was `end`.
    pub fn tail(&self, written: u64, end: u64, folder: &Folder) -> Vec<u8> {
        let most = usize::try_from(written).map_or(TAIL_BYTES, |written| written.min(TAIL_BYTES));
        if most == 0 {
            return Vec::new();
        }
        // What other runs wrote meanwhile.
        let after = self.kept.saturating_sub(end);
        let mut snapshot = self.look(folder, after.saturating_add(most as u64));
        snapshot.cut(after);
        // A tail that cannot be read is an empty one: the exit it belongs to matters more.
        snapshot.last_within(TAIL_LINES, most).unwrap_or_default()
    }

    fn look(&self, folder: &Folder, enough: u64) -> Snapshot {
        let mut parts = self.file.parts(folder, enough);
        let Position { size, line_start } = self.file.position();
        let mut unfinished = Vec::new();
        if size > line_start
            && size - line_start <= UNFINISHED_COPY
            && let Some(newest) = parts.first_mut()
        {
            unfinished.resize(usize::try_from(size - line_start).unwrap_or(0), 0);
            match std::os::unix::fs::FileExt::read_exact_at(&newest.file, &mut unfinished, line_start) {
                Ok(()) => newest.size = line_start,
                Err(_) => unfinished.clear(),
            }
        }
        Snapshot { parts, unfinished }
    }

    /// Whether anything is left for a later time.
    pub fn deadline(&self) -> Option<Moment> {
        let mark = (self.loss.missing > 0).then_some(self.loss.again_at);
        self.file.deadline().into_iter().chain(mark).min()
    }

    /// Does what is due; reports apart.
    pub fn on_deadline(&mut self, turn: &mut Turn<'_>) {
        // A file that cannot be looked at is found by the next write.
        let _ = self.file.check(turn.folder, turn.now);
        self.note_size();
        if self.loss.missing > 0 {
            self.mark_loss(turn);
        }
    }

    /// When the next report may go out, if there is one.
    pub fn report_deadline(&self) -> Option<Moment> {
        let news = self.loss.restored.is_some() || (self.turns.failure.is_some() && !self.turns.failure_is_told);
        [
            news.then(Moment::default),
            (self.loss.untold > 0).then_some(self.loss.tell_at),
            self.turns.untold.is_some().then_some(self.turns.tell_at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Hands out what may be reported now. What `tell` gives back is kept for later; `false` then.
    pub fn report(&mut self, now: Moment, folder: &Folder, tell: &mut dyn FnMut(Report) -> Result<(), Report>) -> bool {
        let log = self.owners.last().copied().unwrap_or(LogId::OWN);
        if self.loss.untold > 0 && self.loss.tell_at <= now {
            if tell(Report::Lost { log, bytes: self.loss.untold, reason: self.loss.reason.clone() }).is_err() {
                return false;
            }
            self.loss.untold = 0;
            self.loss.tell_at = now + TELL_LOSS_EVERY;
        }
        if self.loss.untold == 0
            && let Some(bytes) = self.loss.restored
        {
            if tell(Report::Restored { log, bytes }).is_err() {
                return false;
            }
            self.loss.restored = None;
        }
        if let Some(failure) = &self.turns.failure
            && !self.turns.failure_is_told
        {
            let message = format!("cannot rotate log {}: {failure}", self.file.name());
            if tell(Report::NotRotated { log, reason: RotateReason::Size, message }).is_err() {
                return false;
            }
            self.turns.failure_is_told = true;
        }
        if let Some((turned, folded)) = self.turns.untold
            && self.turns.tell_at <= now
        {
            if tell(self.turned(log, turned, RotateReason::Size, folded, folder)).is_err() {
                return false;
            }
            self.turns.untold = None;
            self.turns.tell_at = now + TELL_TURN_EVERY;
        }
        true
    }

    fn turned(&self, log: LogId, turned: Turned, reason: RotateReason, folded: u32, folder: &Folder) -> Report {
        Report::Rotated { log, path: folder.path().join(&*self.file.generation(1)), bytes: turned.bytes, reason, folded }
    }

    fn note_size(&self) {
        self.counters.set_size(self.file.position().size);
    }
}

impl Loss {
    fn fail(&mut self, error: &std::io::Error, now: Moment) {
        // "Not yet" of a file that could not be opened before: the first reason stays.
        if error.kind() != std::io::ErrorKind::WouldBlock {
            self.reason = words::io(error);
        }
        self.wait = (self.wait * 2).clamp(WRITE_AGAIN, WRITE_AGAIN_MAX);
        self.again_at = now + self.wait;
    }
}

impl Turns {
    fn add(&mut self, turned: Turned) {
        self.untold = Some((turned, self.untold.map_or(0, |(_, folded)| folded + 1)));
        self.failure = None;
        self.failure_is_told = false;
    }

    fn fail(&mut self, error: &std::io::Error) {
        let failure = words::io(error);
        if self.failure.as_ref() != Some(&failure) {
            self.failure = Some(failure);
            self.failure_is_told = false;
        }
    }
}

/// A run whose pipe ended before anyone asked for its drain.
#[derive(Debug)]
pub(super) struct Ended {
    pub log: LogId,
    pub run: Run,
    pub tail: Vec<u8>,
}

#[cfg(test)]
mod tests;
