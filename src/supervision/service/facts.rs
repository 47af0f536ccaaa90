//! What the machine makes of what became true.

use std::time::Duration;

use super::advice::because;
use super::{Cause, Chain, Life, Service, State, Target};
use crate::spec;
use crate::supervision::advice::USUAL_HOLD;
use crate::supervision::message::{Action, Advice, Fact, Hold, LastEnd, Outcome, Remains};
use crate::value::{ExitStatus, Moment, Signal, duration};
use crate::wire::advice::Step;
use crate::wire::event::{Actor, EndedBy, Ending, ExitFacts, Kind, LaunchFacts, Next, ReadyBy, StartReason};

impl Service {
    pub(super) fn learn(&mut self, fact: Fact, now: Moment, out: &mut Vec<Action>) {
        match fact {
            Fact::Spawned { pid } => {
                if let Some(life) = self.life_mut() {
                    life.pid = Some(pid);
                }
            }
            Fact::Executed => self.executed(now, out),
            Fact::LaunchFailed(facts) => {
                if let Some(life) = self.life_mut() {
                    life.failure = Some(facts);
                    life.exited.get_or_insert((ExitStatus::Code(127), now));
                    self.died(now, out);
                }
            }
            Fact::Exited(status) => {
                if let Some(life) = self.life_mut() {
                    life.exited.get_or_insert((status, now));
                    self.died(now, out);
                }
            }
            Fact::Ready(by) => {
                if matches!(self.state, State::Launching(_)) {
                    // Its own note overtook the kernel's that its program runs.
                    self.executed(now, out);
                }
                if let State::Starting(life, _) = &self.state {
                    let life = life.clone();
                    self.up(life, by, now, out);
                }
                // In any other state it is late: the run is ready already or on its way out.
            }
            Fact::Unhealthy => match self.state {
                State::Up { .. } => self.begin_stop(Cause::Unhealthy, None, now, out),
                // Not being up, it is dealt with already.
                State::Down
                | State::Waiting
                | State::Launching(_)
                | State::Starting(..)
                | State::Preparing { .. }
                | State::Parting { .. }
                | State::Stopping { .. }
                | State::Killing { .. }
                | State::Stuck { .. }
                | State::Judging { .. }
                | State::Backoff(_)
                | State::Held(_)
                | State::Ended
                | State::Failed(_) => {}
            },
            Fact::Gone(remains) => self.conclude(remains, now, out),
            Fact::Advised { question, advice } => self.advised(question, advice, now, out),
        }
    }

    fn executed(&mut self, now: Moment, out: &mut Vec<Action>) {
        let Some(life) = self.life_mut().filter(|life| life.executed_at.is_none()) else {
            return; // Known already.
        };
        life.executed_at = Some(now);
        let pid = life.pid.unwrap_or_default();
        let argv = self.spec.definition.command.argv().into();
        self.tell(Kind::Start { pid, argv, attempt: self.attempts + 1, reason: self.reason }, out);
        if let State::Launching(life) = &self.state {
            let life = life.clone();
            match &self.spec.definition.ready {
                None => self.up(life, ReadyBy::Immediate, now, out),
                Some(ready) => {
                    self.state = State::Starting(life, now + ready.timeout);
                    out.push(Action::AskReady(self.run));
                }
            }
        }
        // Otherwise somebody wanted its end before its program ran: it has its signal and will go.
    }

    fn up(&mut self, mut life: Life, by: ReadyBy, now: Moment, out: &mut Vec<Action>) {
        let pid = life.pid.unwrap_or_default();
        life.was_ready = true;
        self.tell(Kind::Ready { pid, startup_ms: duration::millis(now.since(life.began())), by }, out);
        self.state = State::Up { life, ready_at: now, forgives: self.attempts > 0 || self.chain.is_some() };
        if self.spec.policy.health.is_some() {
            out.push(Action::WatchHealth(self.run));
        }
        self.answer(&Outcome::Done, out);
    }

    /// The main process ended. What is left of the run gets the rest of its grace if it was asked to end, else SIGKILL.
    fn died(&mut self, now: Moment, out: &mut Vec<Action>) {
        match &self.state {
            State::Launching(life) | State::Starting(life, _) | State::Up { life, .. } => {
                let life = life.clone();
                self.kill(life, Cause::Died, now, false, now, out);
            }
            // It left by itself; what is left of it is asked to follow.
            State::Parting { .. } => self.end_parting(self.spec.policy.stop_signal, now, out),
            State::Stopping { .. } | State::Killing { .. } | State::Stuck { .. } => {}
            // No run is alive in these, so no fact of one gets here.
            State::Down
            | State::Waiting
            | State::Preparing { .. }
            | State::Judging { .. }
            | State::Backoff(_)
            | State::Held(_)
            | State::Ended
            | State::Failed(_) => {}
        }
    }

    /// Nothing is left of the run: draw the consequences.
    fn conclude(&mut self, remains: Remains, now: Moment, out: &mut Vec<Action>) {
        let (life, cause, asked_at, forced) = match &self.state {
            State::Launching(life) | State::Starting(life, _) | State::Up { life, .. } => (life.clone(), Cause::Died, now, false),
            State::Parting { life, cause, asked_at, .. } | State::Stopping { life, cause, asked_at, .. } => {
                (life.clone(), *cause, *asked_at, false)
            }
            State::Killing { life, cause, asked_at, forced, .. } => (life.clone(), *cause, *asked_at, *forced),
            State::Stuck { life, cause, asked_at, .. } => (life.clone(), *cause, *asked_at, true),
            // Concluded before.
            State::Down
            | State::Waiting
            | State::Preparing { .. }
            | State::Judging { .. }
            | State::Backoff(_)
            | State::Held(_)
            | State::Ended
            | State::Failed(_) => return,
        };
        let ended_at = life.exited.map_or(now, |(_, at)| at);
        let uptime = ended_at.since(life.began());
        let ending = ending_of(&life, cause, uptime, remains);
        let status = match &ending {
            Some(Ending::Exit(facts)) => Some(facts.status.0),
            Some(Ending::Launch(_)) | None => None,
        };
        // Before the end is told, so that nothing comes between `exit` and `crash`. A run that was never ready forgives
        // nothing, however long it took not to be.
        if life.was_ready && uptime >= self.spec.policy.backoff.reset_after {
            self.recover(life.began(), out);
        }
        if let Some(ending) = &ending {
            if let Ending::Exit(facts) = ending {
                self.tell(Kind::Exit(facts.clone()), out);
            }
            self.last = Some(LastEnd { status, at: ended_at, uptime, launch: life.failure });
        }
        let crash = ending.filter(|ending| match cause {
            Cause::Ordered(_) => false,
            Cause::NotReady | Cause::Unhealthy => true,
            Cause::Died => match ending {
                Ending::Exit(facts) => !facts.status.0.is_success(),
                Ending::Launch(_) => true,
            },
        });
        if let Some(crash) = &crash {
            self.crashes = self.crashes.saturating_add(1);
            let chain = self.chain.get_or_insert(Chain { crashes: 0, since: ended_at });
            chain.crashes = chain.crashes.saturating_add(1);
            let next = self.next_after(crash_counts(self.crashes, &self.spec));
            self.tell(Kind::Crash { ending: crash.clone(), crashes: self.crashes, next }, out);
        }
        let ordered = match cause {
            Cause::Ordered(reason) => Some(reason),
            Cause::Died | Cause::NotReady | Cause::Unhealthy => None,
        };
        let stop_reason = if self.target == Target::Down { Some(self.down_reason) } else { ordered };
        if let Some(reason) = stop_reason {
            let took_ms = duration::millis(now.since(asked_at));
            self.chain = None;
            self.tell(Kind::Stop { status: status.map(EndedBy), took_ms, forced, reason }, out);
        }
        let hold = self.hold.take();
        match (self.target, hold) {
            (Target::Down, _) => self.settle_down(out, Outcome::Done),
            (Target::Up, _) if self.retired => self.settle_for_good(cause, crash.as_ref(), out),
            (Target::Up, Some(hold)) if ordered.is_some() => self.settle_held(hold, out),
            (Target::Up, None) if self.explicit || ordered.is_some() => {
                self.adopt_fresh();
                self.forgive_backoff();
                self.wait();
            }
            (Target::Up, hold) => self.follow_policy(cause, crash, hold, now, out),
        }
    }

    fn next_after(&self, gave_up: bool) -> Next {
        let relaunch = self.spec.policy.restart != spec::Restart::Never;
        match (self.target, self.retired || self.explicit) {
            (Target::Up, false) if relaunch && gave_up => Next::GaveUp,
            (Target::Up, false) if relaunch && self.hold.is_some() => Next::Hold,
            (Target::Up, false) if relaunch => Next::Backoff,
            _ => Next::None,
        }
    }

    fn follow_policy(&mut self, cause: Cause, crash: Option<Ending>, hold: Option<Hold>, now: Moment, out: &mut Vec<Action>) {
        let relaunch = match self.spec.policy.restart {
            spec::Restart::Always => true,
            spec::Restart::OnCrash => crash.is_some(),
            spec::Restart::Never => false,
        };
        let gives_up = crash.is_some() && crash_counts(self.crashes, &self.spec);
        if hold.is_some() && (!relaunch || gives_up) {
            // It ended for good before the hold could begin.
            self.answer(&Outcome::Unchanged, out);
        }
        if !relaunch {
            self.settle_for_good(cause, crash.as_ref(), out);
            return;
        }
        if let Some(last) = crash.as_ref().filter(|_| gives_up) {
            self.chain = None;
            self.tell(Kind::GaveUp { crashes: self.crashes, last: last.clone() }, out);
            let message = format!("gave up after {} crashes in a row: {}", self.crashes, self.crash_text(cause, last));
            self.fail(message, out);
            return;
        }
        if let Some(hold) = hold {
            self.settle_held(hold, out);
            return;
        }
        let asked = crash.as_ref().is_some_and(|crash| self.judge(cause, crash, now, out));
        if !asked {
            self.after_crash(cause, crash, None, now, out);
        }
    }

    /// The next launch is the policy's to time, or whose advice it is.
    pub(super) fn after_crash(
        &mut self,
        cause: Cause,
        crash: Option<Ending>,
        advice: Option<Advice>,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        if self.spec.policy.restart == spec::Restart::Never {
            // A reload while scripts were asked.
            self.settle_for_good(cause, crash.as_ref(), out);
            return;
        }
        let advised = match advice.map(|Advice { by, verdict }| (by, verdict.step, verdict.reason)) {
            Some((_, Step::Delay(delay), _)) => Some(delay),
            Some((by, Step::Hold(length), reason)) => {
                self.hold_after_crash(by, reason, length.unwrap_or(USUAL_HOLD), now, out);
                return;
            }
            Some((by, Step::GiveUp, reason)) => {
                if let Some(last) = crash {
                    self.chain = None;
                    self.tell(Kind::GaveUp { crashes: self.crashes, last }, out);
                }
                self.fail(format!("{by} gave it up{}", because(&reason)), out);
                return;
            }
            Some(_) | None => None,
        };
        self.attempts = self.attempts.saturating_add(1);
        let delay = advised.unwrap_or_else(|| self.spec.policy.backoff.delay(self.attempts));
        self.reason = if cause == Cause::Unhealthy { StartReason::Health } else { StartReason::Restart };
        self.actor = Actor::Supervisor;
        self.tell(Kind::Backoff { attempt: self.attempts, delay_ms: duration::millis(delay), next_at: None }, out);
        if let Some(crash) = &crash {
            let why = self.crash_text(cause, crash);
            self.answer(&Outcome::Failed(format!("{why}; next start in {}", duration::Human(delay))), out);
        }
        if delay.is_zero() {
            self.wait();
        } else {
            self.state = State::Backoff(now + delay);
        }
    }

    fn settle_for_good(&mut self, cause: Cause, crash: Option<&Ending>, out: &mut Vec<Action>) {
        match crash {
            None => {
                self.state = State::Ended;
                self.answer(&Outcome::Done, out);
            }
            Some(ending) => {
                let message = self.crash_text(cause, ending);
                self.fail(message, out);
            }
        }
    }

    /// Why it crashed: of a run that we ended ourselves, the signal alone would tell nothing.
    fn crash_text(&self, cause: Cause, ending: &Ending) -> String {
        let ended = ending_text(ending);
        match (cause, &self.spec.definition.ready) {
            (Cause::NotReady, Some(ready)) => format!("not ready within {} ({ended})", duration::Human(ready.timeout)),
            (Cause::NotReady, None) => format!("not ready in time ({ended})"),
            (Cause::Unhealthy, _) => format!("unhealthy ({ended})"),
            (Cause::Died | Cause::Ordered(_), _) => ended,
        }
    }

    pub(super) fn fail(&mut self, message: String, out: &mut Vec<Action>) {
        self.answer(&Outcome::Failed(message.clone()), out);
        self.state = State::Failed(message);
    }

    pub(super) fn settle_down(&mut self, out: &mut Vec<Action>, outcome: Outcome) {
        self.state = State::Down;
        self.explicit = false;
        self.adopt_fresh();
        self.forgive_backoff();
        self.answer(&outcome, out);
        if self.removed {
            out.push(Action::Forget);
        }
    }
}

/// How a run ended; `None` where it was called off before its program ran.
fn ending_of(life: &Life, cause: Cause, uptime: Duration, remains: Remains) -> Option<Ending> {
    let asked = cause != Cause::Died;
    match (&life.failure, life.exited, life.executed_at) {
        (Some(facts), _, _) => Some(Ending::Launch(facts.clone())),
        (None, Some((status, _)), Some(_)) => Some(Ending::Exit(ExitFacts {
            pid: life.pid.unwrap_or_default(),
            status: EndedBy(status),
            oom: !asked && matches!(status, ExitStatus::Signal { signal: Signal::KILL, .. }),
            uptime_ms: duration::millis(uptime),
            stop_requested: asked,
            max_rss_bytes: remains.max_rss_bytes,
            cpu_user_ms: duration::millis(remains.cpu_user),
            cpu_sys_ms: duration::millis(remains.cpu_sys),
            log_tail: remains.log_tail,
        })),
        (None, None, _) | (None, Some(_), None) if asked => None,
        (None, exited, _) => {
            let how = exited.map_or_else(|| "nothing is known of it".to_owned(), |(status, _)| status.to_string());
            Some(Ending::Launch(LaunchFacts { stage: "exec", message: format!("it ended before its program ran: {how}") }))
        }
    }
}

fn crash_counts(crashes: u32, spec: &spec::Service) -> bool {
    spec.policy.backoff.give_up_after.is_some_and(|most| crashes >= most)
}

/// How a run ended, in a few words.
#[must_use]
pub fn ending_text(ending: &Ending) -> String {
    match ending {
        Ending::Exit(facts) => facts.status.0.to_string(),
        Ending::Launch(facts) => format!("cannot launch: {}: {}", facts.stage, facts.message),
    }
}
