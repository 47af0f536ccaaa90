//! What the simulator remembers of one service, to judge its next action by.

use std::time::Duration;

use super::kernel::Stage;
use crate::spec::{Definition, Restart};
use crate::supervision::Service;
use crate::supervision::service::STUCK_AFTER;
use crate::value::{Moment, Run, Signal, duration};
use crate::wire::State as Word;
use crate::wire::advice::{Point, Step};
use crate::wire::event::{Ending, Kind, Next, StopReason};

/// A rule that was broken, in words.
pub type Verdict = Result<(), String>;

/// Fails the history unless the condition holds.
macro_rules! hold {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err(format!($($words)+));
        }
    };
}
pub(super) use hold;

/// One service as its actions and events show it.
#[derive(Debug)]
pub struct Watch {
    pub run: Run,
    /// From its launch until the kernel said that it is gone.
    pub is_live: bool,
    started: bool,
    started_at: Moment,
    became_ready: bool,
    exited: bool,
    crashed: bool,
    chain_is_open: bool,
    last_was_exit: bool,
    /// When an automatic relaunch is allowed.
    backoff_until: Option<Moment>,
    attempt: u32,
    attempts_may_reset: bool,
    /// The next launch is somebody's order.
    pub is_ordered: bool,
    /// An operator wants it down.
    pub is_held_down: bool,
    /// What an automatic launch must be made from.
    pub active: Option<Definition>,
    /// When it must be stopped or stuck.
    limit: Option<Moment>,
    /// When it was asked to end and how long it may take.
    asked: Option<(Moment, Duration)>,
    last_kill: Option<Moment>,
    /// A SIGKILL without grace was ordered.
    pub kill_is_ordered: bool,
    /// An operator ordered the next launch: nobody may be asked.
    by_operator: bool,
    /// When the open question is over.
    asked_until: Option<Moment>,
    /// Where it was asked.
    asked_at: Option<Point>,
    /// The end of the grace that was running when it was asked about its stop.
    parts_until: Option<Moment>,
    /// A hold or a delay: no launch before; `None` within: none at all.
    not_before: Option<Option<Moment>>,
    advised_delay: Option<Duration>,
    advised_end: bool,
}

impl Watch {
    pub fn new() -> Self {
        Self {
            run: Run::default(),
            is_live: false,
            started: false,
            started_at: Moment::default(),
            became_ready: false,
            exited: false,
            crashed: false,
            chain_is_open: false,
            last_was_exit: false,
            backoff_until: None,
            attempt: 0,
            attempts_may_reset: true,
            is_ordered: false,
            is_held_down: false,
            active: None,
            limit: None,
            asked: None,
            last_kill: None,
            kill_is_ordered: false,
            by_operator: false,
            asked_until: None,
            asked_at: None,
            parts_until: None,
            not_before: None,
            advised_delay: None,
            advised_end: false,
        }
    }

    /// An order that launches it reached it.
    pub fn ordered_up(&mut self, by_operator: bool) {
        self.is_ordered = true;
        self.by_operator = by_operator;
        self.not_before = None;
        self.is_held_down = false;
        self.attempts_may_reset = true;
    }

    pub fn ordered_down(&mut self, by_operator: bool) {
        self.is_ordered = false;
        self.by_operator = false;
        self.not_before = None;
        self.is_held_down |= by_operator;
        self.attempts_may_reset = true;
    }

    pub fn launched(&mut self, run: Run, service: &Service, newest: Option<&Definition>, now: Moment) -> Verdict {
        let active = &service.spec().definition;
        hold!(!self.is_live, "run {run} launched while run {} lives", self.run);
        hold!(run == self.run.next(), "run {run} follows run {}", self.run);
        let held = self.not_before.is_some_and(|until| until.is_none_or(|until| until > now));
        hold!(!held, "launched while held or delayed: {:?}", self.not_before);
        hold!(!self.is_held_down, "launched although an operator stopped it");
        hold!(!self.chain_is_open || self.crashed || self.is_ordered || self.started, "a chain without a crash");
        if self.is_ordered {
            hold!(newest.is_none_or(|newest| newest == active), "ordered, but launched from an old definition");
        } else {
            hold!(self.backoff_until.is_some_and(|at| at <= now), "relaunched before its backoff: {:?}", self.backoff_until);
            let is_same = self.active.as_ref().is_some_and(|before| before == active);
            hold!(is_same, "an automatic relaunch took over a changed definition");
        }
        *self = Self {
            run,
            is_live: true,
            chain_is_open: self.chain_is_open,
            attempt: self.attempt,
            attempts_may_reset: self.attempts_may_reset,
            active: Some(active.clone()),
            ..Self::new()
        };
        Ok(())
    }

    pub fn signalled(&mut self, run: Run, signal: Signal, stage: Stage, shutting_down: bool, now: Moment) -> Verdict {
        hold!(run == self.run && self.is_live, "{signal} for run {run}, of which nothing is left");
        hold!(stage != Stage::Gone, "{signal} for run {run}, which is gone");
        if signal == Signal::KILL {
            let grace_is_over = self.asked.is_some_and(|(at, grace)| at + grace <= now);
            let is_allowed = stage == Stage::Dead || grace_is_over || self.kill_is_ordered || shutting_down;
            hold!(is_allowed, "SIGKILL before the grace was over: {:?}", self.asked);
            let first = *self.last_kill.get_or_insert(now);
            self.limit = Some(first + STUCK_AFTER);
        }
        Ok(())
    }

    pub fn told(&mut self, kind: &Kind, run: Run, service: &Service, now: Moment) -> Verdict {
        hold!(run == self.run, "an event of run {run} during run {}", self.run);
        let policy = &service.spec().policy;
        let follows_exit = std::mem::replace(&mut self.last_was_exit, matches!(kind, Kind::Exit(_)));
        match kind {
            Kind::Start { .. } => {
                hold!(self.is_live && !self.started && !self.exited, "a second start of run {run}");
                self.started = true;
                self.started_at = now;
            }
            Kind::Ready { .. } => {
                hold!(self.started && !self.exited && !self.became_ready, "ready out of place");
                self.became_ready = true;
            }
            Kind::Exit(_) => {
                hold!(self.started && !self.exited, "an exit out of place");
                self.exited = true;
            }
            Kind::Crash { ending, next, .. } => {
                hold!(!self.crashed, "a second crash of run {run}");
                match ending {
                    Ending::Exit(_) => hold!(follows_exit, "a crash that does not follow its exit"),
                    Ending::Launch(_) => hold!(!self.started, "a launch that failed has started"),
                }
                let may_follow = policy.restart != Restart::Never;
                hold!(may_follow || *next == Next::None, "restart: never, and {next:?} after a crash");
                self.crashed = true;
                self.chain_is_open = true;
            }
            Kind::Backoff { attempt, delay_ms, .. } => {
                hold!(policy.restart != Restart::Never, "backoff under restart: never");
                hold!(policy.restart == Restart::Always || self.crashed, "backoff after a clean end under restart: on-crash");
                let delay = self.advised_delay.take().unwrap_or_else(|| policy.backoff.delay(*attempt));
                hold!(*delay_ms == duration::millis(delay), "a delay of {delay_ms} ms at attempt {attempt}");
                let was_reset = *attempt == 1 && self.attempts_may_reset;
                hold!(was_reset || *attempt == self.attempt + 1, "attempt {attempt} after {}", self.attempt);
                self.attempt = *attempt;
                self.attempts_may_reset = false;
                self.backoff_until = Some(now + delay);
            }
            Kind::Recovered { .. } => {
                hold!(self.chain_is_open && !self.crashed, "recovered without a crash before");
                hold!(self.became_ready, "recovered without having been ready");
                self.chain_is_open = false;
                self.attempts_may_reset = true;
            }
            Kind::GaveUp { crashes, .. } => {
                hold!(self.chain_is_open && self.crashed, "gave up without a crash");
                let is_advised = std::mem::take(&mut self.advised_end);
                let is_enough = policy.backoff.give_up_after.is_some_and(|most| *crashes >= most);
                hold!(is_enough || is_advised, "gave up too early");
                self.chain_is_open = false;
            }
            Kind::Stopping { reason, grace_ms, .. } => {
                hold!(self.is_live && self.asked.is_none(), "asked to end twice");
                let is_own = matches!(reason, StopReason::NotReady | StopReason::Health);
                hold!(!is_own || self.started, "asked to end as {reason:?} before it started");
                let grace = Duration::from_millis(*grace_ms);
                hold!(self.parts_until.is_some() || grace <= policy.stop_grace, "a longer grace than it has");
                // A tick may come late: then there is none left.
                let is_within = grace.is_zero() || self.parts_until.is_none_or(|until| now + grace <= until);
                hold!(is_within, "a question or a drain made the grace longer");
                self.asked = Some((now, grace));
                self.limit = Some(now + grace + STUCK_AFTER);
            }
            Kind::Hold { for_ms, .. } => {
                self.not_before = Some(for_ms.map(|ms| now + Duration::from_millis(ms)));
                self.backoff_until = self.not_before.flatten();
                // What ends the run is no longer the order that launches the next one.
                self.is_ordered &= !self.is_live;
                self.by_operator = false;
            }
            Kind::Stop { .. } => self.chain_is_open = false,
            Kind::Stuck { .. } => {
                let is_late = self.last_kill.is_some_and(|at| at + STUCK_AFTER <= now);
                hold!(is_late, "called stuck too early");
            }
            _ => return Err(format!("not an event of a service: {kind:?}")),
        }
        Ok(())
    }

    /// Scripts are asked about it.
    pub fn asked(&mut self, point: Point, until: Moment, grace: Duration, now: Moment) -> Verdict {
        match point {
            Point::Start => {
                hold!(!self.is_live, "asked about the start of what runs");
                hold!(!self.by_operator, "asked about what an operator ordered");
            }
            Point::Restart => hold!(self.crashed && !self.is_live, "asked what follows a crash without one"),
            Point::Stop => {
                hold!(self.is_live && self.started && self.asked.is_none(), "asked about its stop out of place");
                // The event's milliseconds are rounded down, once more than here.
                self.parts_until = Some(now + grace + Duration::from_millis(1));
                self.limit = Some(now + grace + STUCK_AFTER);
            }
        }
        (self.asked_at, self.asked_until) = (Some(point), Some(until));
        Ok(())
    }

    pub const fn asked_until(&self) -> Option<Moment> {
        self.asked_until
    }

    /// The open question is answered: what may follow only from that.
    pub fn advised(&mut self, step: Option<Step>, longest: Duration, now: Moment) {
        self.advised_end = false;
        match (self.asked_at, step) {
            (Some(Point::Start), Some(Step::Delay(length))) => self.not_before = Some(Some(now + length.min(longest))),
            (Some(Point::Restart), Some(Step::Delay(length))) => self.advised_delay = Some(length.min(longest)),
            (Some(Point::Restart), Some(Step::GiveUp)) => self.advised_end = true,
            _ => {}
        }
    }

    /// A run long enough makes the next wait the first one again, also before the machine says so.
    pub fn may_be_forgiven(&mut self, reset_after: Duration, now: Moment) {
        self.attempts_may_reset |= self.became_ready && self.started_at + reset_after <= now;
    }

    pub fn gone(&mut self, ever_ran: bool) -> Verdict {
        self.is_live = false;
        self.limit = None;
        hold!(self.started == ever_ran, "its program ran: {ever_ran}; start was told: {}", self.started);
        hold!(self.exited == ever_ran, "its program ran: {ever_ran}; exit was told: {}", self.exited);
        Ok(())
    }

    /// What must be true of it between any two steps.
    pub fn check(&self, service: &Service, now: Moment) -> Verdict {
        let word = service.word();
        let lives = matches!(word, Word::Starting | Word::Running | Word::Stopping);
        hold!(lives == self.is_live, "{word}, but a live run: {}", self.is_live);
        hold!(self.run == service.run(), "run {} is shown, run {} was launched", service.run(), self.run);
        let is_in_time = service.is_stuck() || self.limit.is_none_or(|limit| now <= limit);
        hold!(word != Word::Stopping || is_in_time, "still stopping after {:?}", self.limit);
        hold!(word != Word::Stopping || self.limit.is_some(), "stopping without a limit");
        Ok(())
    }
}
