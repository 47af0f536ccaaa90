//! What the machine does with what somebody wants.

use std::time::Duration;

use super::{Cause, Service, State, Target};
use crate::supervision::message::{Action, Order, Outcome, Ticket, Wish};
use crate::value::Moment;
use crate::wire::event::{Actor, EndedBy, Kind, StartReason, StopReason};

impl Service {
    pub(super) fn obey(&mut self, order: Order, now: Moment, out: &mut Vec<Action>) {
        let Order { wish, actor, ticket } = order;
        if matches!(wish, Wish::Start(_) | Wish::Restart(_) | Wish::Release)
            && let Some(refusal) = self.refusal()
        {
            out.extend(ticket.map(|ticket| Action::Answer(ticket, Outcome::Failed(refusal.to_owned()))));
            return;
        }
        if matches!(wish, Wish::Start(_) | Wish::Restart(_))
            && let Some(refusal) = self.is_kept_from(&actor)
        {
            out.extend(ticket.map(|ticket| Action::Answer(ticket, Outcome::Failed(refusal))));
            return;
        }
        match wish {
            Wish::Start(reason) => {
                self.want(Target::Up, &actor, ticket, out);
                self.start(reason, actor, out);
            }
            Wish::Restart(reason) => {
                self.want(Target::Up, &actor, ticket, out);
                self.restart(reason, actor, now, out);
            }
            Wish::Stop { reason, within } => {
                self.want(Target::Down, &actor, ticket, out);
                self.actor = actor;
                self.stop(reason, within, now, out);
            }
            Wish::Kill => {
                self.want(Target::Down, &actor, ticket, out);
                self.actor = actor;
                self.kill_now(now, out);
            }
            Wish::Retire => self.retire(actor, now, out),
            Wish::Release => self.release(actor, ticket, out),
        }
    }

    /// Why it can never be launched again, if so.
    pub(super) const fn refusal(&self) -> Option<&'static str> {
        match (self.retired, self.removed) {
            (true, _) => Some("the supervisor shuts down"),
            (false, true) => Some("a reload removed it; it is forgotten as soon as it is gone"),
            (false, false) => None,
        }
    }

    /// Takes over a wish. Clients that wait for the opposite are told that they were overtaken.
    pub(super) fn want(&mut self, target: Target, actor: &Actor, ticket: Option<Ticket>, out: &mut Vec<Action>) {
        // Whoever waits for a hold to begin is overtaken by any other wish.
        if self.hold.take().is_some() || self.target != target {
            self.answer(&Outcome::Overtaken(actor.clone()), out);
            self.target = target;
        }
        self.tickets.extend(ticket);
    }

    pub(super) fn start(&mut self, reason: StartReason, actor: Actor, out: &mut Vec<Action>) {
        match &mut self.state {
            // It is asked about already, and a script's wish does not make the others' words void.
            State::Preparing { .. } if !actor.is_operator() => {}
            State::Down
            | State::Waiting
            | State::Preparing { .. }
            | State::Judging { .. }
            | State::Backoff(_)
            | State::Held(_)
            | State::Ended
            | State::Failed(_) => {
                self.adopt_fresh();
                self.forgive_backoff();
                self.reason = reason;
                self.actor = actor;
                self.wait();
            }
            // Under way already: this wish joins the one before.
            State::Launching(_) | State::Starting(..) => {}
            State::Up { .. } => self.answer(&Outcome::Unchanged, out),
            State::Parting { .. } | State::Stopping { .. } | State::Killing { .. } | State::Stuck { .. } => {
                self.explicit = true;
                self.reason = reason;
                self.actor = actor;
            }
        }
    }

    fn restart(&mut self, reason: StartReason, actor: Actor, now: Moment, out: &mut Vec<Action>) {
        match self.state {
            State::Launching(_) | State::Starting(..) | State::Up { .. } => {
                self.reason = reason;
                self.actor = actor;
                self.begin_stop(Cause::Ordered(StopReason::Restart), None, now, out);
            }
            State::Parting { .. } => {
                self.start(reason, actor, out);
                if self.actor.is_operator() {
                    self.end_parting(self.spec.policy.stop_signal, now, out);
                }
            }
            State::Down
            | State::Waiting
            | State::Preparing { .. }
            | State::Judging { .. }
            | State::Backoff(_)
            | State::Held(_)
            | State::Ended
            | State::Failed(_)
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Stuck { .. } => self.start(reason, actor, out),
        }
    }

    fn stop(&mut self, reason: StopReason, within: Option<Duration>, now: Moment, out: &mut Vec<Action>) {
        self.down_reason = reason;
        match &mut self.state {
            State::Down => self.settle_down(out, Outcome::Unchanged),
            State::Waiting
            | State::Preparing { .. }
            | State::Judging { .. }
            | State::Backoff(_)
            | State::Held(_)
            | State::Ended
            | State::Failed(_) => {
                let was_over = matches!(self.state, State::Ended | State::Failed(_));
                if self.chain.take().is_some() {
                    let last = self.last.as_ref().and_then(|end| end.status).map(EndedBy);
                    self.tell(Kind::Stop { status: last, took_ms: 0, forced: false, reason }, out);
                }
                self.settle_down(out, if was_over { Outcome::Unchanged } else { Outcome::Done });
            }
            State::Launching(_) | State::Starting(..) | State::Up { .. } => {
                self.begin_stop(Cause::Ordered(reason), within, now, out);
            }
            State::Parting { .. } | State::Stopping { .. } => self.hasten_parting(within, now, out),
            // SIGKILL is sent already; what remains is to wait.
            State::Killing { .. } => {}
            State::Stuck { .. } => {
                let stuck = Outcome::Failed(self.stuck_message());
                self.answer(&stuck, out);
            }
        }
    }

    fn kill_now(&mut self, now: Moment, out: &mut Vec<Action>) {
        let reason = if self.retired { StopReason::Shutdown } else { StopReason::Manual };
        match &self.state {
            // There is nothing to kill, or it got SIGKILL already: a second one does no more than the first.
            State::Down
            | State::Waiting
            | State::Preparing { .. }
            | State::Judging { .. }
            | State::Backoff(_)
            | State::Held(_)
            | State::Ended
            | State::Failed(_)
            | State::Killing { .. }
            | State::Stuck { .. } => self.stop(reason, None, now, out),
            State::Launching(life) | State::Starting(life, _) | State::Up { life, .. } => {
                let life = life.clone();
                self.down_reason = reason;
                self.kill(life, Cause::Ordered(reason), now, true, now, out);
            }
            State::Parting { life, cause, asked_at, .. } | State::Stopping { life, cause, asked_at, .. } => {
                let (life, cause, asked_at) = (life.clone(), *cause, *asked_at);
                self.down_reason = reason;
                self.kill(life, cause, asked_at, true, now, out);
            }
        }
    }

    fn retire(&mut self, actor: Actor, now: Moment, out: &mut Vec<Action>) {
        self.retired = true;
        match self.state {
            // On their way to another launch, which there will not be.
            State::Waiting
            | State::Preparing { .. }
            | State::Judging { .. }
            | State::Backoff(_)
            | State::Held(_)
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Stuck { .. }
                if self.target == Target::Up =>
            {
                self.want(Target::Down, &actor, None, out);
                self.actor = actor;
                self.stop(StopReason::Shutdown, None, now, out);
            }
            // Its drain goes on until it is stopped in its turn, but it does not come up again.
            State::Parting { .. } => {
                self.want(Target::Down, &actor, None, out);
                self.actor = actor;
                self.down_reason = StopReason::Shutdown;
            }
            // Going down as somebody wished. Or over: the word for how stays. Or alive: stopped in its turn.
            State::Waiting
            | State::Preparing { .. }
            | State::Judging { .. }
            | State::Backoff(_)
            | State::Held(_)
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Stuck { .. }
            | State::Down
            | State::Ended
            | State::Failed(_)
            | State::Launching(_)
            | State::Starting(..)
            | State::Up { .. } => {}
        }
    }
}
