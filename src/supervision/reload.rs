//! What a new config means for the services that exist.

use std::sync::Arc;

use super::message::{Action, Effect, Outcome, ServiceId, Ticket, Wish};
use super::service::Service;
use super::supervisor::Supervisor;
use crate::spec::{self, Spec};
use crate::value::sorted::Set;
use crate::value::{Moment, ServiceName};
use crate::wire::event::{Actor, Kind, StartReason, StopReason};

/// What a reload finds of one service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is new.
    Added,
    /// It is no longer there.
    Removed,
    /// What it is made from changed.
    Definition,
    /// Nothing, but what an earlier reload changed of what runs still waits for an explicit restart.
    Pending,
    /// How it is looked after changed.
    Policy,
    /// Nothing.
    None,
}

/// What a reload finds and does: one line a service.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which service.
    pub name: ServiceName,
    /// What changed.
    pub change: Change,
    /// Who is told when its launch or stop is done; `None` where nothing is launched or stopped.
    pub ticket: Option<Ticket>,
}

impl Supervisor {
    /// What a reload to `spec` would find, in the order of the new file, what is no longer there last.
    #[must_use]
    pub fn plan(&self, spec: &Spec) -> Vec<(ServiceName, Change)> {
        let named: Set<&ServiceName> = spec.services.iter().map(|service| &service.name).collect();
        let kept = spec.services.iter().map(|service| (service.name.clone(), self.change_of(service)));
        let removed = self.services().filter(|(_, service)| !service.is_removed() && !named.contains(service.name()));
        let removed = removed.map(|(_, service)| (service.name().clone(), Change::Removed));
        kept.chain(removed).collect()
    }

    fn change_of(&self, spec: &spec::Service) -> Change {
        let Some(id) = self.id(spec.name.as_str()) else { return Change::Added };
        let Some(service) = self.service(id) else { return Change::Added };
        // What it is made from now, not what an earlier reload has brought and left for its next restart.
        let present = service.spec();
        let is_pending = service.is_live() && service.definition_changed() && service.newest().definition == spec.definition;
        match () {
            // One whose stop is still held never went: its removal is taken back.
            () if service.is_removed() && !self.is_held(id) => Change::Added,
            () if is_pending && present.policy == spec.policy => Change::Pending,
            () if present.definition != spec.definition => Change::Definition,
            () if present.policy != spec.policy => Change::Policy,
            () => Change::None,
        }
    }

    /// Takes over a checked config. New services start, removed ones stop, running ones are left alone unless `apply`
    /// restarts the changed ones. `ticket` gives out a ticket for each launch and stop.
    pub fn reload(
        &mut self,
        spec: &Spec,
        apply: bool,
        actor: &Actor,
        mut ticket: impl FnMut() -> Ticket,
        now: Moment,
    ) -> Vec<Step> {
        let plan = self.plan(spec);
        self.settings = spec.settings.clone();
        let mut wishes: Vec<(ServiceId, Wish, Ticket)> = Vec::new();
        let mut steps = Vec::new();
        let mut order = Vec::new();
        for (name, change) in &plan {
            let new = spec.services.iter().find(|service| service.name == *name).cloned().map(Arc::new);
            let known = self.id(name.as_str());
            let (id, wish) = match (new, known) {
                (Some(new), None) => (self.add(new), Some(Wish::Start(StartReason::Reload))),
                (Some(new), Some(id)) => {
                    if self.service(id).is_some_and(Service::is_removed) {
                        self.drop_held(id, actor);
                    }
                    (id, self.revise(id, new, *change, apply))
                }
                (None, Some(id)) => {
                    self.mark_removed(id, true);
                    (id, Some(Wish::Stop { reason: StopReason::Reload, within: None }))
                }
                (None, None) => continue,
            };
            order.push(id);
            let wish = wish.filter(|wish| !matches!(wish, Wish::Start(_)) || self.is_selected(id));
            let ticket = wish.map(|wish| {
                let ticket = ticket();
                wishes.push((id, wish, ticket));
                ticket
            });
            steps.push(Step { name: name.clone(), change: *change, ticket });
        }
        // What was removed by an earlier reload and is not gone yet.
        order.extend(self.order.iter().copied().filter(|id| !order.contains(id)).collect::<Vec<_>>());
        self.order = order;
        self.link();
        self.tell_reload(&plan, apply, actor);
        let (stops, wishes): (Vec<_>, Vec<_>) = wishes.into_iter().partition(|(_, wish, _)| matches!(wish, Wish::Stop { .. }));
        let stops = stops.into_iter().map(|(id, _, ticket)| (id, Some(ticket)));
        self.stop_together(stops, StopReason::Reload, actor, now);
        for (id, wish, ticket) in wishes {
            if self.order(id, wish, actor, Some(ticket), now).is_err() {
                // An essential service of the new file ended at once, and the shutdown began between two orders.
                let refused = Outcome::Failed("the supervisor shuts down".to_owned());
                self.effects.push(Effect::Service(id, Action::Answer(ticket, refused)));
            }
        }
        self.follow_reload(now);
        steps
    }

    fn revise(&mut self, id: ServiceId, new: Arc<spec::Service>, change: Change, apply: bool) -> Option<Wish> {
        self.mark_removed(id, false);
        let service = self.services.get_mut(&id)?;
        let deadline_before = service.deadline();
        let mut actions = Vec::new();
        service.revise(new, &mut actions);
        let restart = apply && matches!(change, Change::Definition | Change::Pending) && service.is_live();
        let returned = change == Change::Added;
        self.reschedule(id, deadline_before);
        self.effects.extend(actions.into_iter().map(|action: Action| Effect::Service(id, action)));
        match (returned, restart) {
            (true, _) => Some(Wish::Start(StartReason::Reload)),
            (false, true) => Some(Wish::Restart(StartReason::Reload)),
            (false, false) => None,
        }
    }

    fn mark_removed(&mut self, id: ServiceId, removed: bool) {
        if let Some(service) = self.services.get_mut(&id) {
            service.set_removed(removed);
        }
    }

    fn tell_reload(&mut self, plan: &[(ServiceName, Change)], apply: bool, actor: &Actor) {
        let named = |wanted: &[Change]| {
            plan.iter().filter(|(_, change)| wanted.contains(change)).map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let (changed, unchanged): (&[_], &[_]) = if apply {
            (&[Change::Definition, Change::Pending, Change::Policy], &[Change::None])
        } else {
            (&[Change::Definition, Change::Policy], &[Change::Pending, Change::None])
        };
        let kind = Kind::Reload {
            added: named(&[Change::Added]),
            removed: named(&[Change::Removed]),
            changed: named(changed),
            unchanged: named(unchanged),
        };
        self.effects.push(Effect::Tell(kind, actor.clone()));
    }
}
