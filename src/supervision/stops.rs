//! Stops of several services: dependents first. The shutdown is the largest of them.

use super::advice::SHUTDOWN_RESERVE;
use super::message::{Action, Effect, Order, Outcome, ServiceId, Ticket, Wish};
use super::service::{STUCK_AFTER, Target};
use super::supervisor::{Phase, Supervisor, order};
use crate::value::Moment;
use crate::wire::event::{Actor, Kind, StopReason};

impl Supervisor {
    /// Stops several services, each when those of them that need it are gone. Services that are not among them are left
    /// alone.
    pub fn stop_together(
        &mut self,
        stops: impl IntoIterator<Item = (ServiceId, Option<Ticket>)>,
        reason: StopReason,
        actor: &Actor,
        now: Moment,
    ) {
        let wish = Wish::Stop { reason, within: None };
        let mut ids = Vec::new();
        for (id, ticket) in stops {
            self.drop_held(id, actor);
            self.held.insert(id, Order { wish, actor: actor.clone(), ticket });
            ids.push(id);
        }
        for id in ids {
            self.release(id, now);
        }
    }

    /// Gives a held stop to its service, once nobody of those that are being stopped needs it.
    pub(super) fn release(&mut self, id: ServiceId, now: Moment) {
        // One that is not alive needs no order, and must not come up meanwhile.
        let alive = self.is_moving(id);
        let needed = alive
            && self.graph.any_above(id, |dependent| {
                let going = self.services.get(&dependent).is_some_and(|service| service.target() == Target::Down);
                self.held.contains_key(&dependent) || (going && self.is_moving(dependent))
            });
        if needed {
            return;
        }
        if let Some(Order { wish, actor, ticket }) = self.held.remove(&id) {
            // A stop is never refused. What this one needs is looked at when it is gone, or at once if it was down.
            let _ = self.order(id, wish, &actor, ticket, now);
        }
    }

    /// Whether its stop waits for the stops of those that need it.
    #[must_use]
    pub fn is_held(&self, id: ServiceId) -> bool {
        self.held.contains_key(&id)
    }

    /// A newer wish overtakes a stop that is held; others that wait for it are looked at again.
    pub(super) fn drop_held(&mut self, id: ServiceId, actor: &Actor) {
        let Some(held) = self.held.remove(&id) else { return };
        let overtaken = Outcome::Overtaken(actor.clone());
        self.effects.extend(held.ticket.map(|ticket| Effect::Service(id, Action::Answer(ticket, overtaken))));
    }

    /// Stops everything, dependents first, within the budget. A second call changes nothing.
    pub fn shut_down(&mut self, reason: String, actor: Actor, now: Moment) {
        let code = self.worst_failure();
        self.begin_shutdown(reason, actor, code, now);
    }

    pub(super) fn begin_shutdown(&mut self, reason: String, actor: Actor, code: u8, now: Moment) {
        if self.is_stopping() {
            return;
        }
        self.phase = Phase::Stopping { kill_at: Some(now + self.settings.stop_grace), code };
        self.effects.push(Effect::Tell(Kind::DaemonStopping { reason }, actor.clone()));
        let all: Vec<ServiceId> = self.services.keys().copied().collect();
        for id in &all {
            self.tell(*id, order(Wish::Retire, actor.clone(), None), now);
        }
        for id in all {
            self.stop_if_unneeded(id, now);
        }
    }

    /// Ends everything now: SIGKILL to all that lives.
    pub fn kill_all(&mut self, now: Moment) {
        let Phase::Stopping { kill_at, .. } = &mut self.phase else { return };
        *kill_at = None;
        let alive: Vec<ServiceId> = self.services.iter().filter(|(_, service)| service.is_live()).map(|(id, _)| *id).collect();
        for id in alive {
            self.tell(id, order(Wish::Kill, Actor::Supervisor, None), now);
        }
    }

    /// One step of the shutdown: a service is stopped when nobody who needs it is alive any more. Its share of the budget
    /// leaves as much for each level below it.
    pub(super) fn stop_if_unneeded(&mut self, id: ServiceId, now: Moment) {
        let Phase::Stopping { kill_at: Some(kill_at), .. } = self.phase else { return };
        // Also of those that need it through one that has ended, such as a one-shot between the two.
        let needed = self.graph.any_above(id, |dependent| self.is_moving(dependent));
        if needed || !self.is_moving(id) {
            return;
        }
        if kill_at.since(now) < SHUTDOWN_RESERVE
            && let Some(service) = self.services.get_mut(&id)
        {
            service.hush();
        }
        let levels = self.graph.levels_below(id, |below| self.is_moving(below)) + 1;
        let within = kill_at.since(now) / levels;
        let wish = Wish::Stop { reason: StopReason::Shutdown, within: Some(within) };
        // Whoever waits for a stop that was held is told of this one.
        let ticket = self.held.remove(&id).and_then(|held| held.ticket);
        self.tell(id, order(wish, Actor::Supervisor, ticket), now);
    }

    /// Alive, and not beyond hope.
    pub(super) fn is_moving(&self, id: ServiceId) -> bool {
        self.services.get(&id).is_some_and(|service| service.is_live() && !service.is_stuck())
    }

    /// Whether a shutdown is under way.
    #[must_use]
    pub const fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. })
    }

    /// The exit code of the supervisor, once it has nothing left to do.
    #[must_use]
    pub fn finished(&self) -> Option<u8> {
        match self.phase {
            Phase::Stopping { code, .. } if !self.services.keys().any(|id| self.is_moving(*id)) => Some(code),
            Phase::Running | Phase::Stopping { .. } => None,
        }
    }

    /// The most time that a shutdown which begins now may take.
    #[must_use]
    pub fn shutdown_budget(&self) -> std::time::Duration {
        self.settings.stop_grace + STUCK_AFTER
    }
}
