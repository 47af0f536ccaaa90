//! What the machine does with what somebody wants.

use std::time::Duration;

use super::{Cause, Service, State, Target};
use crate::supervision::message::{Action, Order, Outcome, Ticket, Wish};
use crate::value::Moment;
use crate::wire::event::{Actor, EndedBy, Kind, StartReason, StopReason};

impl Service {
    pub(super) fn obey(&mut self, order: Order, now: Moment, out: &mut Vec<Action>) {
        let Order { wish, actor, ticket } = order;
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
                self.target = Target::Down;
                self.kill_now(now, out);
            }
            Wish::Retire => self.retire(now, out),
        }
    }

    /// Takes over a wish. Clients that wait for the opposite are told that they were overtaken.
    fn want(&mut self, target: Target, actor: &Actor, ticket: Option<Ticket>, out: &mut Vec<Action>) {
        if self.target != target {
            self.answer(&Outcome::Overtaken(actor.clone()), out);
            self.target = target;
        }
        self.tickets.extend(ticket);
    }

    fn start(&mut self, reason: StartReason, actor: Actor, out: &mut Vec<Action>) {
        match &mut self.state {
            State::Down | State::Backoff(_) | State::Ended | State::Failed(_) => {
                self.adopt_fresh();
                self.forgive_backoff();
                self.reason = reason;
                self.actor = actor;
                self.wait();
            }
            // Under way already: this wish joins the one before.
            State::Waiting | State::Launching(_) | State::Starting(..) => {}
            State::Up { .. } => self.answer(&Outcome::Unchanged, out),
            State::Stopping { .. } | State::Killing { .. } | State::Stuck { .. } => {
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
            State::Down
            | State::Waiting
            | State::Backoff(_)
            | State::Ended
            | State::Failed(_)
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Stuck { .. } => self.start(reason, actor, out),
        }
    }

    fn stop(&mut self, reason: StopReason, within: Option<Duration>, now: Moment, out: &mut Vec<Action>) {
        match &mut self.state {
            State::Down => self.settle_down(out, Outcome::Unchanged),
            State::Waiting | State::Backoff(_) | State::Ended | State::Failed(_) => {
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
            State::Stopping { kill_at, .. } => {
                if let Some(within) = within {
                    *kill_at = (*kill_at).min(now + within);
                }
            }
            // SIGKILL is sent already; what remains is to wait.
            State::Killing { .. } => {}
            State::Stuck { .. } => {
                let stuck = Outcome::Failed(self.stuck_message());
                self.answer(&stuck, out);
            }
        }
    }

    fn kill_now(&mut self, now: Moment, out: &mut Vec<Action>) {
        match &self.state {
            // Nothing is alive.
            State::Down | State::Waiting | State::Backoff(_) | State::Ended | State::Failed(_) => {}
            State::Launching(life) | State::Starting(life, _) | State::Up { life, .. } => {
                let life = life.clone();
                self.kill(life, Cause::Ordered(StopReason::Shutdown), now, true, now, out);
            }
            State::Stopping { life, cause, asked_at, .. } => {
                let (life, cause, asked_at) = (life.clone(), *cause, *asked_at);
                self.kill(life, cause, asked_at, true, now, out);
            }
            // Done already; a second SIGKILL does no more than the first.
            State::Killing { .. } | State::Stuck { .. } => {}
        }
    }

    fn retire(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.retired = true;
        match self.state {
            State::Waiting | State::Backoff(_) => {
                self.want(Target::Down, &Actor::Supervisor, None, out);
                self.stop(StopReason::Shutdown, None, now, out);
            }
            // Over already: the shutdown's exit code still needs to know how. Or alive: stopped in its turn.
            State::Down
            | State::Ended
            | State::Failed(_)
            | State::Launching(_)
            | State::Starting(..)
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Stuck { .. } => {}
        }
    }
}
