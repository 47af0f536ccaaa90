//! The life of one service, as a state machine: every event in every state has its arm, ignored ones their reason.
//!
//! Pure: it reads no clock, sends no signal, opens no file. Wish ([`Target`]) and state are two values; what belongs to a
//! state sits inside its variant. Time comes in as an argument, and what is timed is asked for with
//! [`Service::deadline`]; a deadline that is reported early or twice changes nothing.

mod advice;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod corners;
mod facts;
mod orders;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod questions;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod table;
mod view;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::{Action, Advice, Event, Gate, Hold, LastEnd, Outcome, Ticket};
use crate::spec;
use crate::value::{ExitStatus, Moment, Run, Signal, duration};
use crate::wire::event::{Actor, Ending, Kind, LaunchFacts, StartReason, StopReason};

/// From SIGKILL to the report that a process does not end. The kernel needs milliseconds; only a process in an
/// uninterruptible wait needs longer, and then nobody knows how long.
pub const STUCK_AFTER: Duration = Duration::from_secs(2);
/// From one report of a stuck process to the next.
const STUCK_AGAIN: Duration = Duration::from_secs(60);

/// What the operator wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Target {
    /// Up.
    Up,
    /// Down.
    Down,
}

/// Where a service is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
enum State {
    /// Not running because somebody said so, or never started.
    Down,
    /// Wants to start; its dependencies are looked at.
    Waiting,
    /// All it needs is there; scripts are asked before its launch, or one of them delays it. `question`: the one that is open.
    Preparing { until: Moment, question: Option<u64>, delay: Option<Advice> },
    /// A process is being made; its program does not run yet.
    Launching(Life),
    /// The program runs and is not ready yet.
    Starting(Life, Moment),
    /// The program runs and is ready. `forgives`: a run of `reset_after` has something to forgive.
    Up { life: Life, ready_at: Moment, forgives: bool },
    /// To be asked to end; scripts are asked first, or one of them drains it. The grace is running.
    Parting {
        life: Life,
        cause: Cause,
        asked_at: Moment,
        kill_at: Moment,
        signal_at: Moment,
        question: Option<u64>,
        drained_by: Option<Actor>,
    },
    /// Asked to end politely.
    Stopping { life: Life, cause: Cause, asked_at: Moment, kill_at: Moment },
    /// What is left got SIGKILL.
    Killing { life: Life, cause: Cause, asked_at: Moment, forced: bool, until: Moment },
    /// SIGKILL did not end it.
    Stuck { life: Life, cause: Cause, asked_at: Moment, report_at: Moment },
    /// It crashed; scripts are asked what is to follow.
    Judging { until: Moment, question: u64, cause: Cause, crash: Ending },
    /// It ended; the next launch is timed.
    Backoff(Moment),
    /// A script keeps it down.
    Held(Hold),
    /// It ended with 0 and stays down.
    Ended,
    /// It ended otherwise and stays down.
    Failed(String),
}

/// One run while anything of it is alive.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
struct Life {
    /// When its launch was ordered.
    since: Moment,
    /// When its program began to run.
    executed_at: Option<Moment>,
    /// Its main process.
    pid: Option<i32>,
    /// How its main process ended.
    exited: Option<(ExitStatus, Moment)>,
    /// Why its program never ran.
    failure: Option<LaunchFacts>,
    /// Whether it was ever ready.
    was_ready: bool,
}

impl Life {
    const fn new(since: Moment) -> Self {
        Self { since, executed_at: None, pid: None, exited: None, failure: None, was_ready: false }
    }

    /// When its program began to run; before that, when its launch was ordered.
    fn began(&self) -> Moment {
        self.executed_at.unwrap_or(self.since)
    }
}

/// Why a run ends. Only an ordered end skips the backoff.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Cause {
    /// By itself.
    Died,
    /// Somebody wanted it.
    Ordered(StopReason),
    /// It was not ready in time.
    NotReady,
    /// It failed its health check.
    Unhealthy,
}

impl Cause {
    const fn stop_reason(self) -> StopReason {
        match self {
            Self::Ordered(reason) => reason,
            Self::Unhealthy => StopReason::Health,
            Self::NotReady | Self::Died => StopReason::NotReady,
        }
    }
}

/// An open row of crashes: from the first one until `recovered`, `gave_up` or `stop`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
struct Chain {
    crashes: u32,
    since: Moment,
}

/// One service: its spec, its wish, its state.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Service {
    spec: Arc<spec::Service>,
    /// A changed definition that waits for the next explicit restart.
    fresh: Option<Arc<spec::Service>>,
    target: Target,
    state: State,
    run: Run,
    /// Why the next launch happens, and who brought it about.
    reason: StartReason,
    actor: Actor,
    /// An operator's word came while the run was ending: no backoff after it.
    explicit: bool,
    /// Why it is to be down, while its target is down.
    down_reason: StopReason,
    retired: bool,
    removed: bool,
    /// Ends in a row without a run of `reset_after`; what the backoff counts.
    attempts: u32,
    /// Crashes in a row; what `give_up_after` counts.
    crashes: u32,
    chain: Option<Chain>,
    last: Option<LastEnd>,
    tickets: Vec<Ticket>,
    /// What will keep it down as soon as its run is gone.
    hold: Option<Hold>,
    /// Scripts were asked about the next launch.
    cleared: bool,
    /// Nobody is asked any more.
    hushed: bool,
    /// Questions asked so far.
    questions: u64,
    /// When its state became what it is, in the words of the contract.
    #[serde(default)]
    since: Option<Moment>,
}

impl Service {
    /// A service that was never started.
    #[must_use]
    pub fn new(spec: Arc<spec::Service>) -> Self {
        Self {
            spec,
            fresh: None,
            target: Target::Down,
            state: State::Down,
            run: Run::default(),
            reason: StartReason::Boot,
            actor: Actor::Supervisor,
            explicit: false,
            down_reason: StopReason::Manual,
            retired: false,
            removed: false,
            attempts: 0,
            crashes: 0,
            chain: None,
            last: None,
            tickets: Vec::new(),
            hold: None,
            cleared: false,
            hushed: false,
            questions: 0,
            since: None,
        }
    }

    /// Reacts to one event; what is to be done is appended to `out`.
    pub fn on(&mut self, event: Event, now: Moment, out: &mut Vec<Action>) {
        let word = self.word();
        self.react(event, now, out);
        if self.word() != word {
            self.since = Some(now);
        }
    }

    fn react(&mut self, event: Event, now: Moment, out: &mut Vec<Action>) {
        match event {
            Event::Order(order) => self.obey(order, now, out),
            Event::Hold(order) => self.keep_down(order, now, out),
            // A fact of an older run: its processes are gone and its consequences drawn.
            Event::Fact(run, _) if run != self.run => {}
            Event::Fact(_, fact) => self.learn(fact, now, out),
            Event::Gate(gate) => self.pass(gate, now, out),
            Event::Deadline => self.expire(now, out),
        }
    }

    /// When [`Event::Deadline`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match &self.state {
            State::Down | State::Waiting | State::Launching(_) | State::Ended | State::Failed(_) => None,
            State::Starting(_, until) | State::Backoff(until) | State::Killing { until, .. } => Some(*until),
            State::Up { life, forgives, .. } => forgives.then(|| life.began() + self.spec.policy.backoff.reset_after),
            State::Preparing { until, .. } | State::Judging { until, .. } => Some(*until),
            State::Parting { signal_at, .. } => Some(*signal_at),
            State::Held(hold) => hold.until,
            State::Stopping { kill_at, .. } => Some(*kill_at),
            State::Stuck { report_at, .. } => Some(*report_at),
        }
    }

    // The gate

    fn pass(&mut self, gate: Gate, now: Moment, out: &mut Vec<Action>) {
        if !matches!(self.state, State::Waiting) {
            return; // It no longer waits.
        }
        match gate {
            Gate::Open => self.prepare(now, out),
            Gate::Failed(message) => self.fail(message, out),
        }
    }

    // Deadlines

    fn expire(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.deadline().is_none_or(|at| at > now) {
            return; // Early: harmless.
        }
        match &self.state {
            State::Starting(..) => self.begin_stop(Cause::NotReady, None, now, out),
            State::Up { life, .. } => {
                let began = life.began();
                self.recover(began, out);
            }
            State::Stopping { life, cause, asked_at, .. } => {
                let (life, cause, asked_at) = (life.clone(), *cause, *asked_at);
                self.kill(life, cause, asked_at, true, now, out);
            }
            State::Killing { life, cause, asked_at, .. } => {
                self.state =
                    State::Stuck { life: life.clone(), cause: *cause, asked_at: *asked_at, report_at: now + STUCK_AGAIN };
                self.report_stuck(now, out);
            }
            State::Stuck { .. } => self.report_stuck(now, out),
            State::Backoff(_) | State::Held(_) => self.wait(),
            State::Preparing { .. } => self.clear(),
            State::Judging { cause, crash, .. } => {
                let (cause, crash) = (*cause, crash.clone());
                self.after_crash(cause, Some(crash), None, now, out);
            }
            State::Parting { .. } => self.end_parting(self.spec.policy.stop_signal, now, out),
            // These have no deadline.
            State::Down | State::Waiting | State::Launching(_) | State::Ended | State::Failed(_) => {}
        }
    }

    fn report_stuck(&mut self, now: Moment, out: &mut Vec<Action>) {
        let State::Stuck { asked_at, report_at, .. } = &mut self.state else { return };
        *report_at = now + STUCK_AGAIN;
        let for_ms = duration::millis(now.since(*asked_at));
        self.tell(Kind::Stuck { for_ms }, out);
        out.push(Action::Signal(self.run, Signal::KILL));
        let stuck = Outcome::Failed(self.stuck_message());
        self.answer(&stuck, out);
    }

    fn stuck_message(&self) -> String {
        let pid = self.pid().map_or_else(String::new, |pid| format!(" (PID {pid})"));
        format!("SIGKILL did not end it{pid}; it is stuck in the kernel and is waited for")
    }

    // Steps

    fn wait(&mut self) {
        self.explicit = false;
        self.cleared = false;
        self.state = State::Waiting;
    }

    fn begin_stop(&mut self, cause: Cause, within: Option<Duration>, now: Moment, out: &mut Vec<Action>) {
        let life = match &self.state {
            State::Launching(life) | State::Starting(life, _) | State::Up { life, .. } => life.clone(),
            State::Down
            | State::Waiting
            | State::Preparing { .. }
            | State::Parting { .. }
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Stuck { .. }
            | State::Judging { .. }
            | State::Backoff(_)
            | State::Held(_)
            | State::Ended
            | State::Failed(_) => return,
        };
        let grace = within.map_or(self.spec.policy.stop_grace, |most| most.min(self.spec.policy.stop_grace));
        if !matches!(cause, Cause::Ordered(_)) {
            self.actor = Actor::Supervisor;
        }
        self.part(life, cause, grace, now, out);
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one state")]
    fn signal_end(
        &mut self,
        life: Life,
        cause: Cause,
        asked_at: Moment,
        kill_at: Moment,
        signal: Signal,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        let grace_ms = duration::millis(kill_at.since(now));
        self.tell(Kind::Stopping { reason: cause.stop_reason(), signal, grace_ms }, out);
        out.push(Action::Signal(self.run, signal));
        self.state = State::Stopping { life, cause, asked_at, kill_at };
    }

    fn kill(&mut self, life: Life, cause: Cause, asked_at: Moment, forced: bool, now: Moment, out: &mut Vec<Action>) {
        out.push(Action::Signal(self.run, Signal::KILL));
        self.state = State::Killing { life, cause, asked_at, forced, until: now + STUCK_AFTER };
    }

    /// A run was long enough: the crashes before it are forgiven.
    fn recover(&mut self, began: Moment, out: &mut Vec<Action>) {
        if let State::Up { forgives, .. } = &mut self.state {
            *forgives = false;
        }
        if let Some(chain) = self.chain.take() {
            let down_ms = duration::millis(began.since(chain.since));
            self.tell(Kind::Recovered { crashes: chain.crashes, down_ms }, out);
        }
        self.forgive_backoff();
    }

    const fn forgive_backoff(&mut self) {
        self.attempts = 0;
        self.crashes = 0;
    }

    fn adopt_fresh(&mut self) {
        if let Some(fresh) = self.fresh.take() {
            self.spec = fresh;
        }
    }

    /// Nobody waits behind this ticket any more.
    pub fn drop_ticket(&mut self, ticket: Ticket) {
        self.tickets.retain(|other| *other != ticket);
    }

    fn answer(&mut self, outcome: &Outcome, out: &mut Vec<Action>) {
        out.extend(self.tickets.drain(..).map(|ticket| Action::Answer(ticket, outcome.clone())));
    }

    /// Starts and stops have somebody who wanted them; everything else happens.
    fn tell(&self, kind: Kind, out: &mut Vec<Action>) {
        let actor = match kind {
            Kind::Start { .. } | Kind::Stopping { .. } | Kind::Stop { .. } => self.actor.clone(),
            _ => Actor::Supervisor,
        };
        out.push(Action::Tell(kind, self.run, actor));
    }

    const fn life_mut(&mut self) -> Option<&mut Life> {
        match &mut self.state {
            State::Launching(life)
            | State::Starting(life, _)
            | State::Up { life, .. }
            | State::Parting { life, .. }
            | State::Stopping { life, .. }
            | State::Killing { life, .. }
            | State::Stuck { life, .. } => Some(life),
            State::Down
            | State::Waiting
            | State::Preparing { .. }
            | State::Judging { .. }
            | State::Backoff(_)
            | State::Held(_)
            | State::Ended
            | State::Failed(_) => None,
        }
    }

    const fn life(&self) -> Option<&Life> {
        match &self.state {
            State::Launching(life)
            | State::Starting(life, _)
            | State::Up { life, .. }
            | State::Parting { life, .. }
            | State::Stopping { life, .. }
            | State::Killing { life, .. }
            | State::Stuck { life, .. } => Some(life),
            State::Down
            | State::Waiting
            | State::Preparing { .. }
            | State::Judging { .. }
            | State::Backoff(_)
            | State::Held(_)
            | State::Ended
            | State::Failed(_) => None,
        }
    }
}
