//! What scripts have to say: questions before a launch, after a crash and before a stop signal, and holds.
//!
//! A question costs its own service at most its deadline. An answer is obeyed only while its question is open, and only
//! within the bounds of [`advice`]; whatever else comes, the machine does what it would have done without asking.

use std::time::Duration;

use super::{Cause, Life, Service, State, Target};
use crate::supervision::advice::{self, DENIED_FOR};
use crate::supervision::message::{Action, Advice, Hold, HoldOrder, Outcome, Question, Ticket};
use crate::value::{Moment, Signal, duration};
use crate::wire::advice::{Case, CaseFacts, Point, Step, Verdict};
use crate::wire::event::{Actor, Ending, Kind, StartReason, StopReason};

impl Service {
    /// Whether scripts are asked about what is about to happen to it. Never about what an operator wants.
    fn asks(&self) -> bool {
        !self.spec.policy.decisions.is_empty() && !self.hushed && !self.actor.is_operator()
    }

    /// Asks; the answer is the question's number and its deadline.
    fn ask(
        &mut self,
        point: Point,
        grace: Duration,
        default: Step,
        facts: CaseFacts,
        now: Moment,
        out: &mut Vec<Action>,
    ) -> (u64, Moment) {
        self.questions += 1;
        let patience = advice::patience(point, grace);
        let case = Case {
            point,
            service: self.spec.name.clone(),
            run: self.run,
            attempt: self.attempts + 1,
            crashes: self.crashes,
            facts,
            default: Verdict { step: default, reason: String::new() },
            deadline_ms: duration::millis(patience),
        };
        let deadline = now + patience;
        let most = advice::longest(point, grace);
        out.push(Action::Ask(Question { number: self.questions, run: self.run, asked_at: now, deadline, most, case }));
        (self.questions, deadline)
    }

    /// The number of the question that is open.
    #[must_use]
    pub const fn question(&self) -> Option<u64> {
        match &self.state {
            State::Preparing { question, .. } | State::Parting { question, .. } => *question,
            State::Judging { question, .. } => Some(*question),
            _ => None,
        }
    }

    /// An answer, or the word that there will be none.
    pub(super) fn advised(&mut self, question: u64, advice: Option<Advice>, now: Moment, out: &mut Vec<Action>) {
        if self.question() != Some(question) {
            return; // Late: its service went on without it.
        }
        match &self.state {
            State::Preparing { .. } => self.advised_to_start(usable(Point::Start, Duration::ZERO, advice), now, out),
            State::Judging { cause, crash, .. } => {
                let (cause, crash) = (*cause, crash.clone());
                self.after_crash(cause, Some(crash), usable(Point::Restart, Duration::ZERO, advice), now, out);
            }
            State::Parting { asked_at, kill_at, .. } => {
                let grace = kill_at.since(*asked_at);
                self.advised_to_stop(usable(Point::Stop, grace, advice), now, out);
            }
            // They have asked nothing.
            State::Down
            | State::Waiting
            | State::Launching(_)
            | State::Starting(..)
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Stuck { .. }
            | State::Backoff(_)
            | State::Held(_)
            | State::Ended
            | State::Failed(_) => {}
        }
    }

    // Before a launch

    /// All it needs is there: asks, unless that was done or is not to be done.
    pub(super) fn prepare(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.cleared || !self.asks() {
            self.launch(now, out);
            return;
        }
        let facts = CaseFacts::Start { reason: self.reason };
        let (question, until) = self.ask(Point::Start, Duration::ZERO, Step::Allow, facts, now, out);
        self.state = State::Preparing { until, question: Some(question), delay: None };
    }

    fn launch(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.cleared = false;
        self.run = self.run.next();
        self.state = State::Launching(Life::new(now));
        out.push(Action::Launch(self.run));
    }

    /// Nobody objects any more. What it depends on is looked at once more: it may have gone meanwhile.
    pub(super) fn clear(&mut self) {
        self.cleared = true;
        self.state = State::Waiting;
    }

    fn advised_to_start(&mut self, advice: Option<Advice>, now: Moment, out: &mut Vec<Action>) {
        let Some(advice) = advice else { return self.clear() };
        match advice.verdict.step {
            Step::Delay(length) if !length.is_zero() => {
                self.state = State::Preparing { until: now + length, question: None, delay: Some(advice) };
            }
            Step::Deny => {
                let refusal = format!("{} denies its start{}", advice.by, because(&advice.verdict.reason));
                self.answer(&Outcome::Failed(refusal), out);
                self.enter_hold(Hold { by: advice.by, reason: advice.verdict.reason, until: Some(now + DENIED_FOR) }, now, out);
            }
            // `usable` lets nothing else through.
            Step::Allow
            | Step::Delay(_)
            | Step::Restart
            | Step::Hold(_)
            | Step::GiveUp
            | Step::Proceed
            | Step::Drain(_)
            | Step::Signal(_) => self.clear(),
        }
    }

    // After a crash

    /// Asks what is to follow a crash, if there is somebody to ask.
    pub(super) fn judge(&mut self, cause: Cause, crash: &Ending, now: Moment, out: &mut Vec<Action>) -> bool {
        if self.spec.policy.decisions.is_empty() || self.hushed {
            return false;
        }
        let mut exit = crash.clone();
        let log_tail = if let Ending::Exit(facts) = &mut exit { facts.log_tail.take() } else { None };
        let uptime_ms = self.last.as_ref().map_or(0, |end| duration::millis(end.uptime));
        let usual = self.spec.policy.backoff.delay(self.attempts.saturating_add(1));
        let facts = CaseFacts::Restart { exit, uptime_ms, log_tail };
        let (question, until) = self.ask(Point::Restart, Duration::ZERO, Step::Delay(usual), facts, now, out);
        self.state = State::Judging { until, question, cause, crash: crash.clone() };
        true
    }

    /// A script keeps it down instead of the wait after a crash.
    pub(super) fn hold_after_crash(&mut self, by: Actor, reason: String, length: Duration, now: Moment, out: &mut Vec<Action>) {
        self.reason = StartReason::Restart;
        self.actor = Actor::Supervisor;
        let told = format!("{by} holds it{}", because(&reason));
        self.answer(&Outcome::Failed(told), out);
        self.enter_hold(Hold { by, reason, until: Some(now + length) }, now, out);
    }

    // Before the stop signal

    /// Its program runs and is to end: asks first, if there is somebody to ask and time to do so.
    pub(super) fn part(&mut self, life: Life, cause: Cause, grace: Duration, now: Moment, out: &mut Vec<Action>) {
        let (asked_at, kill_at) = (now, now + grace);
        let asks = life.executed_at.is_some() && self.asks() && !advice::patience(Point::Stop, grace).is_zero();
        if !asks {
            self.signal_end(life, cause, asked_at, kill_at, self.spec.policy.stop_signal, now, out);
            return;
        }
        let facts = CaseFacts::Stop {
            reason: cause.stop_reason(),
            pid: life.pid,
            signal: self.spec.policy.stop_signal,
            grace_ms: duration::millis(grace),
            uptime_ms: duration::millis(now.since(life.began())),
        };
        let (question, signal_at) = self.ask(Point::Stop, grace, Step::Proceed, facts, now, out);
        self.state = State::Parting { life, cause, asked_at, kill_at, signal_at, question: Some(question), drained_by: None };
    }

    fn advised_to_stop(&mut self, advice: Option<Advice>, now: Moment, out: &mut Vec<Action>) {
        match advice.map(|Advice { by, verdict }| (by, verdict.step)) {
            Some((by, Step::Drain(length))) => {
                if let State::Parting { asked_at, signal_at, question, drained_by, kill_at, .. } = &mut self.state {
                    let latest = *asked_at + advice::longest(Point::Stop, kill_at.since(*asked_at));
                    (*signal_at, *question, *drained_by) = ((now + length).min(latest), None, Some(by));
                }
            }
            Some((_, Step::Signal(signal))) => self.end_parting(signal, now, out),
            // `usable` lets nothing else through but `proceed`.
            Some(_) | None => self.end_parting(self.spec.policy.stop_signal, now, out),
        }
    }

    /// The time to part is over: the signal. Nothing if it does not part.
    pub(super) fn end_parting(&mut self, signal: Signal, now: Moment, out: &mut Vec<Action>) {
        if let State::Parting { life, cause, asked_at, kill_at, .. } = &self.state {
            let (life, cause, asked_at, kill_at) = (life.clone(), *cause, *asked_at, *kill_at);
            self.signal_end(life, cause, asked_at, kill_at, signal, now, out);
        }
    }

    /// There is less time than it was told when it was asked to part.
    pub(super) fn hasten_parting(&mut self, within: Option<Duration>, now: Moment, out: &mut Vec<Action>) {
        if self.hushed || self.actor.is_operator() {
            // Whoever drains it is not asked by an operator, nor when there is hardly any time left.
            self.end_parting(self.spec.policy.stop_signal, now, out);
        }
        match &mut self.state {
            State::Parting { kill_at, signal_at, .. } => {
                let left = within.map_or(kill_at.since(now), |within| kill_at.since(now).min(within));
                *kill_at = now + left;
                *signal_at = (*signal_at).min(now + advice::longest(Point::Stop, left));
            }
            State::Stopping { kill_at, .. } => {
                if let Some(within) = within {
                    *kill_at = (*kill_at).min(now + within);
                }
            }
            // Nothing in between.
            _ => {}
        }
    }

    // Holds

    /// What keeps it down, or will as soon as it is down.
    #[must_use]
    pub const fn hold(&self) -> Option<&Hold> {
        match &self.state {
            State::Held(hold) => Some(hold),
            _ => self.hold.as_ref(),
        }
    }

    pub(super) fn enter_hold(&mut self, hold: Hold, now: Moment, out: &mut Vec<Action>) {
        self.tell_hold(&hold, now, out);
        self.state = State::Held(hold);
    }

    fn tell_hold(&self, hold: &Hold, now: Moment, out: &mut Vec<Action>) {
        let for_ms = hold.until.map(|until| duration::millis(until.since(now)));
        let kind = Kind::Hold { by: hold.by.to_string(), reason: hold.reason.clone(), until: None, for_ms };
        out.push(Action::Tell(kind, self.run, hold.by.clone()));
    }

    /// Keeps it down for a while: one that runs is stopped, one that is to be launched is not.
    pub(super) fn keep_down(&mut self, order: HoldOrder, now: Moment, out: &mut Vec<Action>) {
        let HoldOrder { actor, reason, length, ticket } = order;
        let mut reply = |outcome: Outcome| out.extend(ticket.map(|ticket| Action::Answer(ticket, outcome)));
        if let Some(refusal) = self.refusal() {
            return reply(Outcome::Failed(refusal.to_owned()));
        }
        let hold = Hold { by: actor.clone(), reason, until: length.map(|length| now + length) };
        let is_longer = self.hold().is_some_and(|present| present.outlasts(&hold));
        match &self.state {
            // They stay down by themselves, and an operator's stop is not to be undone by the end of a hold.
            State::Down | State::Ended | State::Failed(_) => reply(Outcome::Unchanged),
            _ if self.target == Target::Down || is_longer => reply(Outcome::Unchanged),
            State::Waiting | State::Preparing { .. } | State::Judging { .. } | State::Backoff(_) | State::Held(_) => {
                self.answer(&Outcome::Overtaken(actor), out);
                self.reason = StartReason::Hook;
                self.actor = Actor::Supervisor;
                self.enter_hold(hold, now, out);
                out.extend(ticket.map(|ticket| Action::Answer(ticket, Outcome::Done)));
            }
            State::Launching(_) | State::Starting(..) | State::Up { .. } => {
                self.hold_when_down(hold, ticket, now, out);
                self.actor = actor;
                self.begin_stop(Cause::Ordered(StopReason::Hook), None, now, out);
            }
            State::Parting { .. } | State::Stopping { .. } | State::Killing { .. } => {
                self.hold_when_down(hold, ticket, now, out);
            }
            State::Stuck { .. } => {
                self.hold_when_down(hold, ticket, now, out);
                let stuck = Outcome::Failed(self.stuck_message());
                self.answer(&stuck, out);
            }
        }
    }

    fn hold_when_down(&mut self, hold: Hold, ticket: Option<Ticket>, now: Moment, out: &mut Vec<Action>) {
        self.answer(&Outcome::Overtaken(hold.by.clone()), out);
        self.tickets.extend(ticket);
        self.tell_hold(&hold, now, out);
        self.explicit = false;
        self.hold = Some(hold);
    }

    /// The run that was to end is gone: the hold begins.
    pub(super) fn settle_held(&mut self, hold: Hold, out: &mut Vec<Action>) {
        self.reason = StartReason::Hook;
        self.actor = Actor::Supervisor;
        self.state = State::Held(hold);
        self.answer(&Outcome::Done, out);
    }

    /// Ends a hold.
    pub(super) fn release(&mut self, actor: Actor, ticket: Option<Ticket>, out: &mut Vec<Action>) {
        if self.hold().is_none() {
            out.extend(ticket.map(|ticket| Action::Answer(ticket, Outcome::Unchanged)));
            return;
        }
        self.want(Target::Up, &actor, ticket, out);
        self.start(StartReason::Hook, actor, out);
    }

    /// Why a script may not start it: a hold is ended by a release, or by an operator.
    #[must_use]
    pub fn is_kept_from(&self, actor: &Actor) -> Option<String> {
        let hold = self.hold().filter(|_| actor.is_script())?;
        Some(format!("{} holds it{}; release it first", hold.by, because(&hold.reason)))
    }
}

impl Hold {
    /// Whether it ends later than the other one.
    fn outlasts(&self, other: &Self) -> bool {
        match (self.until, other.until) {
            (None, until) => until.is_some(),
            (Some(_), None) => false,
            (Some(own), Some(other)) => own > other,
        }
    }
}

/// A winning answer within the bounds of its point; `None` where it cannot be used.
fn usable(point: Point, grace: Duration, advice: Option<Advice>) -> Option<Advice> {
    let Advice { by, verdict: Verdict { step, reason } } = advice?;
    let step = advice::usable(point, step, advice::longest(point, grace)).ok()?;
    Some(Advice { by, verdict: Verdict { step, reason } })
}

pub(super) fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}
