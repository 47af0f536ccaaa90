//! The handle of the log pump. It lives in the event loop's thread, and nothing here ever waits: every call leaves a note
//! for the pump's thread and rings its bell.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::engine::Engine;
use super::folder::Folder;
use super::follow::Follower;
use super::report::{LogCounters, LogId, Report};
use super::rest::Rest;
use super::tail::Snapshot;
use crate::spec::{Console, LogLimits};
use crate::sys::wake::{Quiet, Wake};
use crate::value::sorted::Map;
use crate::value::{Moment, Run};

/// Bytes of the supervisor's own messages that may wait for the pump.
const OWN_WAITING: usize = 256 << 10;
/// Deep enough for a write, a rotation and a panic message.
const STACK: usize = 256 << 10;
/// Beyond the grace of the end, for the thread to say that it is done.
const MARGIN: Duration = Duration::from_millis(100);

/// Reads `CLOCK_MONOTONIC`.
pub type Clock = Box<dyn Fn() -> Moment + Send>;

/// What the pump is started with.
pub struct Setup {
    /// Where the logs are.
    pub folder: Folder,
    /// Limits of the supervisor's own log.
    pub own: LogLimits,
    /// What is copied to stdout.
    pub console: Console,
    /// Stdout, or what stands for it.
    pub stdout: OwnedFd,
    /// The only clock it looks at, once a turn.
    pub clock: Clock,
}

/// The handle.
#[derive(Debug)]
pub struct Pump {
    commands: Sender<Command>,
    bell: Wake,
    own: Arc<OwnQueue>,
    /// Gets the pipes that are left, once, when the thread ends.
    ended: Receiver<Vec<Attached>>,
}

/// A pipe that was attached when the pump ended.
#[derive(Debug)]
pub struct Attached {
    /// Which log.
    pub log: LogId,
    /// Whose output.
    pub run: Run,
    /// The run has ended, and something that outlived it holds the other end.
    pub is_left_over: bool,
    /// The read end.
    pub pipe: OwnedFd,
}

/// Takes the answer to [`Pump::snapshot`]: `None` where there is no such log. Called on the pump's thread; it must not wait.
pub type SnapshotReply = Box<dyn FnOnce(Option<Snapshot>) + Send>;

/// The supervisor's own messages on their way.
#[derive(Debug, Default)]
pub(super) struct OwnQueue {
    pub waiting: AtomicUsize,
    pub dropped: AtomicU64,
    pub counters: Arc<LogCounters>,
}

/// A note for the pump's thread.
pub(super) enum Command {
    Open {
        log: LogId,
        name: String,
        limits: LogLimits,
        counters: Arc<LogCounters>,
    },
    Limits {
        log: LogId,
        limits: LogLimits,
    },
    Console(Console),
    Attach {
        log: LogId,
        run: Run,
        pipe: OwnedFd,
    },
    Drain {
        log: LogId,
        run: Run,
    },
    Rotate {
        log: LogId,
        ticket: u64,
    },
    Close {
        log: LogId,
    },
    Snapshot {
        log: LogId,
        wants_lines: bool,
        follower: Option<Follower>,
        reply: SnapshotReply,
    },
    Say {
        stamp: String,
        text: String,
    },
    /// Answers with what there is, and waits until the other end of `go_on` is gone.
    Pause {
        limit: Duration,
        answer: Sender<Result<Rest, String>>,
        go_on: Receiver<()>,
    },
    /// The first command of a pump that takes over: the rest, its pipes in the same order, and the counters of its logs.
    TakeOver {
        rest: Box<Rest>,
        pipes: Vec<Option<OwnedFd>>,
        counters: Vec<Arc<LogCounters>>,
        wait: Receiver<()>,
    },
    End {
        grace: Duration,
    },
}

/// The pump has taken over and reads nothing yet.
#[derive(Debug)]
pub struct Held {
    /// Dropping it is the signal.
    _go_on: Sender<()>,
}

/// The pump stands still: it reads nothing and writes nothing, and goes on when this is dropped. What it is told meanwhile it
/// does afterwards.
#[derive(Debug)]
pub struct Paused {
    /// What the next image of the program needs of it.
    pub rest: Rest,
    /// Dropping it is the signal.
    _go_on: Sender<()>,
}

impl Pump {
    /// Starts the thread. `tell` is called on it, once for each report, and must not wait; a report that it gives back (the
    /// inbox is full) is kept, folded with later ones of its kind, and offered again.
    ///
    /// # Errors
    ///
    /// Out of descriptors, memory or threads.
    pub fn start(setup: Setup, tell: impl FnMut(Report) -> Result<(), Report> + Send + 'static) -> io::Result<Self> {
        let (commands, orders) = channel();
        let (done, ended) = channel();
        let bell = Wake::new()?;
        let own = Arc::new(OwnQueue::default());
        let engine = Engine::new(setup, orders, bell.clone(), Arc::clone(&own), Box::new(tell))?;
        let body = move || {
            // Nobody may be waiting for it any more.
            let _ = done.send(engine.run());
        };
        thread::Builder::new().name("log pump".to_owned()).stack_size(STACK).spawn(body)?;
        Ok(Self { commands, bell, own, ended })
    }

    /// While the guard is there its thread sleeps on, whatever it is told: for the loop, which has others to serve first. Not
    /// longer than a turn; [`Pump::pause`] ends it.
    #[must_use]
    pub fn undisturbed(&self) -> Quiet {
        self.bell.quiet()
    }

    /// Opens a log under the number `log`, which must be new. Where an older log of the same name still has a pipe, both go
    /// on in the same file. A file that cannot be opened is tried again at each write, and reported as loss.
    pub fn open(&self, log: LogId, name: &str, limits: LogLimits) -> Arc<LogCounters> {
        let counters = Arc::new(LogCounters::default());
        self.leave(Command::Open { log, name: name.to_owned(), limits, counters: Arc::clone(&counters) });
        counters
    }

    /// Other limits for a log ([`LogId::OWN`]: the supervisor's own); they hold at once.
    pub fn limits(&self, log: LogId, limits: LogLimits) {
        self.leave(Command::Limits { log, limits });
    }

    /// What is copied to stdout from now on.
    pub fn console(&self, console: Console) {
        self.leave(Command::Console(console));
    }

    /// Reads `pipe`, the output of a run, into a log until its end.
    pub fn attach(&self, log: LogId, run: Run, pipe: OwnedFd) {
        self.leave(Command::Attach { log, run, pipe });
    }

    /// All processes of the run are gone, or stuck: what is in its pipe now is written, then [`Report::Drained`] says so. A
    /// pipe that something still holds stays attached; one such pipe a log, an older one is closed.
    pub fn drain(&self, log: LogId, run: Run) {
        self.leave(Command::Drain { log, run });
    }

    /// Rotates now; [`Report::Rotated`], [`Report::NotRotated`] or [`Report::NothingToRotate`] answers under `ticket`.
    pub fn rotate(&self, log: LogId, ticket: u64) {
        self.leave(Command::Rotate { log, ticket });
    }

    /// The service is gone: closes the log after its pipes have ended. Followers are told.
    pub fn close(&self, log: LogId) {
        self.leave(Command::Close { log });
    }

    /// The log as it is now, for [`Snapshot::last`]; `follower` gets every byte that comes after it, so that nothing is
    /// missed or doubled. Without `wants_lines` no file is opened and the snapshot is empty.
    pub fn snapshot(&self, log: LogId, wants_lines: bool, follower: Option<Follower>, reply: SnapshotReply) {
        self.leave(Command::Snapshot { log, wants_lines, follower, reply });
    }

    /// One message of the supervisor for its own log, and the console. `false` where too many wait: then it is dropped, and
    /// a later line says how many were.
    pub fn say(&self, stamp: &str, text: &str) -> bool {
        self.voice().say(stamp, text)
    }

    /// A way to [`Pump::say`] from anywhere.
    #[must_use]
    pub fn voice(&self) -> Voice {
        Voice { commands: self.commands.clone(), bell: self.bell.clone(), own: Arc::clone(&self.own) }
    }

    /// Numbers of the supervisor's own log.
    #[must_use]
    pub fn own_counters(&self) -> &Arc<LogCounters> {
        &self.own.counters
    }

    /// Stops the pump between two reads, and returns what it knows. It waits for the answer, `limit` at most.
    ///
    /// # Errors
    ///
    /// It does not come to a stop in time: a disk is slow, or stdout is. It goes on as if nothing had been asked.
    pub fn pause(&self, limit: Duration) -> Result<Paused, String> {
        let (answer, rest) = channel();
        let (go_on, wait) = channel();
        self.leave(Command::Pause { limit: limit / 2, answer, go_on: wait });
        self.bell.aloud();
        match rest.recv_timeout(limit) {
            Ok(rest) => Ok(Paused { rest: rest?, _go_on: go_on }),
            Err(RecvTimeoutError::Timeout) => Err("the log pump does not come to a stop (slow disk?)".to_owned()),
            Err(RecvTimeoutError::Disconnected) => Err("the log pump is gone".to_owned()),
        }
    }

    /// Goes on where the pump of an earlier image of the program stopped; must come before anything else. `pipes` are those
    /// of [`Rest::feeds`], in their order. Returns the counters of the logs, by the numbers they have; nothing is read before
    /// [`Held`] is dropped, and what the pump is told until then holds from the first byte on.
    pub fn take_over(&self, rest: Rest, pipes: Vec<Option<OwnedFd>>) -> (Map<LogId, Arc<LogCounters>>, Held) {
        let counters: Vec<Arc<LogCounters>> = rest
            .journals
            .iter()
            .map(|journal| {
                let is_own = journal.owners.contains(&LogId::OWN);
                let counters = if is_own { Arc::clone(&self.own.counters) } else { Arc::default() };
                counters.set_size(journal.size);
                counters.add_lost(journal.lost_bytes);
                counters.add_console_dropped(journal.console_dropped);
                counters
            })
            .collect();
        let of = |place: usize| counters.get(place).map(Arc::clone);
        let by_number = rest.places.iter().filter_map(|(log, place)| Some((*log, of(*place)?))).collect();
        self.own.dropped.store(rest.own_dropped, Ordering::Release);
        let (held, wait) = channel();
        self.leave(Command::TakeOver { rest: Box::new(rest), pipes, counters, wait });
        (by_number, Held { _go_on: held })
    }

    /// Writes what was said, flushes the console as far as `grace` allows, ends the thread, and gives back the pipes that
    /// are still attached, unread bytes and all: for the next image of the program. The one call that waits, for `grace` at
    /// most (and a moment more); where the disk is stuck beyond that, the thread is left to itself.
    pub fn shutdown(self, grace: Duration) -> Vec<Attached> {
        self.leave(Command::End { grace });
        self.ended.recv_timeout(grace + MARGIN).unwrap_or_default()
    }

    fn leave(&self, command: Command) {
        // The thread ends only after `shutdown`, whose handle says goodbye once more.
        let _ = self.commands.send(command);
        self.bell.ring();
    }
}

impl Drop for Pump {
    /// A thread that nobody can speak to any more would keep every pipe for ever.
    fn drop(&mut self) {
        self.leave(Command::End { grace: Duration::ZERO });
    }
}

/// The supervisor's own voice: see [`Pump::say`].
#[derive(Clone, Debug)]
pub struct Voice {
    commands: Sender<Command>,
    bell: Wake,
    own: Arc<OwnQueue>,
}

impl Voice {
    /// As [`Pump::say`].
    pub fn say(&self, stamp: &str, text: &str) -> bool {
        let waiting = self.own.waiting.fetch_add(text.len(), Ordering::AcqRel) + text.len();
        let note = Command::Say { stamp: stamp.to_owned(), text: text.to_owned() };
        if waiting > OWN_WAITING || self.commands.send(note).is_err() {
            self.own.waiting.fetch_sub(text.len(), Ordering::AcqRel);
            self.own.dropped.fetch_add(1, Ordering::AcqRel);
            return false;
        }
        self.bell.ring();
        true
    }
}
