//! The set of services: who waits for whom, the boot, the shutdown.
//!
//! Pure like the machine of one service. It hands every event on, then draws the consequences for the others: a gate
//! opens, a shutdown goes one step further, an essential service takes everything down.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::graph::Graph;
use super::message::{Action, Effect, Event, Fact, Gate, HoldOrder, Order, Outcome, ServiceId, Ticket, Wish};
use super::service::{Service, Target};
use crate::spec::{Condition, ExitWhen, Settings, Spec};
use crate::value::sorted::{Map, Set};
use crate::value::{Moment, Run, ServiceName, duration};
use crate::wire::State as Word;
use crate::wire::event::{Actor, Kind, StartReason};

/// All services, and where the supervisor itself stands.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Supervisor {
    pub(super) services: Map<ServiceId, Service>,
    pub(super) names: Map<ServiceName, ServiceId>,
    /// The order of the file; what was removed and is not gone yet comes last.
    pub(super) order: Vec<ServiceId>,
    #[serde(skip)]
    pub(super) graph: Graph,
    pub(super) settings: Settings,
    next_id: u32,
    #[serde(skip)]
    deadlines: Set<(Moment, ServiceId)>,
    /// Those who wait for their dependencies.
    #[serde(skip)]
    waiting: Set<ServiceId>,
    /// Stops that wait for the stops of dependents.
    pub(super) held: Map<ServiceId, Order>,
    pub(super) phase: Phase,
    boot: Option<Boot>,
    #[serde(skip)]
    pub(super) effects: Vec<Effect>,
}

/// Where the supervisor stands.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub(super) enum Phase {
    Running,
    /// Everything is being stopped. `kill_at`: the end of the budget; `None` once it is spent.
    Stopping {
        kill_at: Option<Moment>,
        code: u8,
    },
}

/// The first start of everything.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
struct Boot {
    since: Moment,
    pending: Set<ServiceId>,
}

impl Supervisor {
    /// A supervisor of these services; none is started.
    #[must_use]
    pub fn new(spec: &Spec) -> Self {
        let mut supervisor = Self {
            services: Map::new(),
            names: Map::new(),
            order: Vec::new(),
            graph: Graph::default(),
            settings: spec.settings.clone(),
            next_id: 0,
            deadlines: Set::new(),
            waiting: Set::new(),
            held: Map::new(),
            phase: Phase::Running,
            boot: None,
            effects: Vec::new(),
        };
        for service in &spec.services {
            let id = supervisor.add(Arc::new(service.clone()));
            supervisor.order.push(id);
        }
        supervisor.link();
        supervisor
    }

    /// What was not written down because it follows from the rest, and whether the rest holds together: the next image of the
    /// program must not trust it blindly.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub fn restore(&mut self) -> Result<(), String> {
        for (id, service) in &self.services {
            let name = service.name();
            if id.0 >= self.next_id {
                return Err(format!("service {name} has number {}, but the next one is {}", id.0, self.next_id));
            }
            if service.pid().is_some_and(|pid| pid < 2) {
                return Err(format!("service {name} has an impossible PID"));
            }
        }
        if let Some((name, _)) =
            self.names.iter().find(|(name, id)| self.services.get(id).is_none_or(|service| service.name() != *name))
        {
            return Err(format!("the name {name} stands for no service"));
        }
        let known: Set<ServiceId> = self.services.keys().copied().collect();
        if self.order.len() != known.len() || self.order.iter().copied().collect::<Set<_>>() != known {
            return Err("the order of the services is not one of these services".to_owned());
        }
        self.held.retain(|id, _| known.contains(id));
        self.link();
        self.deadlines = self.services.iter().filter_map(|(id, service)| Some((service.deadline()?, *id))).collect();
        self.waiting = self.services.iter().filter(|(_, service)| service.is_waiting()).map(|(id, _)| *id).collect();
        Ok(())
    }

    /// Whether nothing is left to be carried out.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.effects.is_empty()
    }

    pub(super) fn add(&mut self, spec: Arc<crate::spec::Service>) -> ServiceId {
        let id = ServiceId(self.next_id);
        self.next_id += 1;
        self.names.insert(spec.name.clone(), id);
        self.services.insert(id, Service::new(spec));
        id
    }

    /// Follows the dependencies anew, after services came, went or changed.
    pub(super) fn link(&mut self) {
        self.graph = Graph::new(self.services.iter().map(|(id, service)| {
            let dependencies = &service.newest().definition.depends_on;
            (*id, dependencies.iter().filter_map(|dependency| self.names.get(&dependency.name).copied()).collect())
        }));
    }

    /// Starts every selected service.
    pub fn boot(&mut self, now: Moment) {
        let selected: Vec<ServiceId> = self.order.iter().copied().filter(|id| self.is_selected(*id)).collect();
        self.boot = Some(Boot { since: now, pending: selected.iter().copied().collect() });
        for id in selected {
            self.tell(id, order(Wish::Start(StartReason::Boot), Actor::Supervisor, None), now);
        }
        self.check_boot(now);
        self.check_all_ended(now);
    }

    /// What is to be done, in order; taken once.
    #[must_use]
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// When [`Supervisor::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let service = self.deadlines.first().map(|(at, _)| *at);
        let shutdown = match self.phase {
            Phase::Running => None,
            Phase::Stopping { kill_at, .. } => kill_at,
        };
        service.into_iter().chain(shutdown).min()
    }

    /// Reports to everybody whose deadline has passed.
    pub fn tick(&mut self, now: Moment) {
        // One after the other: what is due may bring what is due at once, such as a grace of 0 s. The bound is never
        // reached, as a service passes at most three states without waiting; it keeps a mistake from holding up PID 1 for ever.
        for _ in 0..4 * (self.services.len() + 1) {
            if self.deadline().is_none_or(|at| at > now) {
                return;
            }
            match self.phase {
                Phase::Stopping { kill_at: Some(at), .. } if at <= now => self.kill_all(now),
                Phase::Running | Phase::Stopping { .. } => {
                    if let Some((_, id)) = self.deadlines.first().copied() {
                        self.tell(id, Event::Deadline, now);
                    }
                }
            }
        }
    }

    /// Passes on a fact about a run.
    pub fn learn(&mut self, id: ServiceId, run: Run, fact: Fact, now: Moment) {
        self.tell(id, Event::Fact(run, fact), now);
    }

    /// Obeys an order about one service. A start brings the dependencies that are down with it.
    ///
    /// # Errors
    ///
    /// During a shutdown every launch is refused.
    pub fn order(
        &mut self,
        id: ServiceId,
        wish: Wish,
        actor: &Actor,
        ticket: Option<Ticket>,
        now: Moment,
    ) -> Result<(), ShuttingDown> {
        let launches = matches!(wish, Wish::Start(_) | Wish::Restart(_) | Wish::Release);
        if launches && self.is_stopping() {
            return Err(ShuttingDown);
        }
        if !self.services.contains_key(&id) {
            // Forgotten a moment ago: it is as down as it can be.
            let outcome = if launches { Outcome::Failed("it was removed".to_owned()) } else { Outcome::Unchanged };
            self.effects.extend(ticket.map(|ticket| Effect::Service(id, Action::Answer(ticket, outcome))));
            return Ok(());
        }
        // A launch of what a reload removed, or a script keeps down, is refused below, and must not take back its stop.
        let is_refused =
            self.services.get(&id).is_some_and(|service| service.is_removed() || service.is_kept_from(actor).is_some());
        if !launches || (!is_refused && wish != Wish::Release) {
            self.drop_held(id, actor);
        }
        let needed = self.brings(id, wish, actor).into_iter();
        let mut events: Vec<_> =
            needed.map(|id| (id, order(Wish::Start(StartReason::Dependency), actor.clone(), None))).collect();
        events.push((id, order(wish, actor.clone(), ticket)));
        self.tell_all(events, now);
        for dependency in self.graph.below(id) {
            self.release(dependency, now);
        }
        Ok(())
    }

    /// Keeps a service down for a while, on behalf of a script: one that runs is stopped, and it starts again by itself when
    /// the hold is over. An operator's start ends it, and so does [`Wish::Release`]. What is stopped, or being stopped, stays
    /// as it is: `Unchanged`.
    ///
    /// # Errors
    ///
    /// During a shutdown.
    pub fn hold(&mut self, id: ServiceId, order: HoldOrder, now: Moment) -> Result<(), ShuttingDown> {
        if self.is_stopping() {
            return Err(ShuttingDown);
        }
        // Its stop waits for the stops of those that need it, or it was forgotten a moment ago.
        if self.is_held(id) || !self.services.contains_key(&id) {
            self.effects.extend(order.ticket.map(|ticket| Effect::Service(id, Action::Answer(ticket, Outcome::Unchanged))));
            return Ok(());
        }
        self.tell(id, Event::Hold(order), now);
        Ok(())
    }

    /// Nobody waits behind this ticket any more.
    pub fn drop_ticket(&mut self, ticket: Ticket) {
        for service in self.services.values_mut() {
            service.drop_ticket(ticket);
        }
    }

    /// Only where something will be launched, and not for a reload: an operator's stop survives it.
    /// What else an order launches: the dependencies that are down, what is needed first coming first.
    #[must_use]
    pub fn brings(&self, id: ServiceId, wish: Wish, actor: &Actor) -> Vec<ServiceId> {
        let is_refused = self.services.get(&id).is_some_and(|service| service.is_kept_from(actor).is_some());
        if is_refused || !self.brings_dependencies(id, wish) {
            return Vec::new();
        }
        let is_down = |service: &Service| service.target() == Target::Down || service.word() == Word::Failed;
        let is_needed = |id: &ServiceId| self.is_selected(*id) && self.services.get(id).is_some_and(is_down);
        self.graph.below(id).into_iter().filter(is_needed).collect()
    }

    fn brings_dependencies(&self, id: ServiceId, wish: Wish) -> bool {
        let Some(service) = self.services.get(&id).filter(|service| !service.is_removed()) else { return false };
        match wish {
            Wish::Start(StartReason::Reload) | Wish::Restart(StartReason::Reload) => false,
            Wish::Start(_) => !matches!(service.word(), Word::Running | Word::Starting),
            Wish::Restart(_) => true,
            // It was up, or on its way there, with all it needs.
            Wish::Release | Wish::Stop { .. } | Wish::Kill | Wish::Retire => false,
        }
    }

    // Consequences

    pub(super) fn worst_failure(&self) -> u8 {
        self.services.values().filter_map(Service::final_code).max().unwrap_or(0)
    }

    /// Hands an event to one service and draws the consequences for the others.
    pub(super) fn tell(&mut self, id: ServiceId, event: Event, now: Moment) {
        self.tell_all(vec![(id, event)], now);
    }

    /// Hands on events that belong together. Gates are looked at after all of them, and as they are then: a service that
    /// one event lets through must not be launched before the event that is about itself.
    fn tell_all(&mut self, events: Vec<(ServiceId, Event)>, now: Moment) {
        let mut queue: VecDeque<(ServiceId, Option<Event>)> = events.into_iter().map(|(id, event)| (id, Some(event))).collect();
        while let Some((id, event)) = queue.pop_front() {
            let Some(event) = event.or_else(|| self.gate(id).map(Event::Gate)) else { continue };
            let Some(service) = self.services.get_mut(&id) else { continue };
            let (word_before, was_stuck, deadline_before) = (service.word(), service.is_stuck(), service.deadline());
            let mut actions = Vec::new();
            service.on(event, now, &mut actions);
            let (word, is_stuck, waiting) = (service.word(), service.is_stuck(), service.is_waiting());
            self.reschedule(id, deadline_before);
            let forgotten = actions.iter().any(|action| matches!(action, Action::Forget));
            self.effects.extend(actions.into_iter().map(|action| Effect::Service(id, action)));
            if waiting {
                self.waiting.insert(id);
                queue.push_back((id, None));
            } else {
                self.waiting.remove(&id);
            }
            if word != word_before {
                // Not by the graph: that is made of the newest definitions, and they wait by their present ones.
                queue.extend(self.waiting.iter().map(|id| (*id, None)));
            }
            // A stuck one keeps its word, but nobody waits for it any more.
            if (word, is_stuck) != (word_before, was_stuck) {
                self.draw_consequences(id, now);
            }
            if forgotten {
                self.forget(id);
            }
        }
    }

    /// Follows a service's deadline.
    pub(super) fn reschedule(&mut self, id: ServiceId, before: Option<Moment>) {
        let deadline = self.services.get(&id).and_then(Service::deadline);
        if deadline != before {
            self.deadlines.extend(deadline.map(|at| (at, id)));
            before.map(|at| self.deadlines.remove(&(at, id)));
        }
    }

    /// Draws the consequences of a reload for those whom it did not order anything.
    pub(super) fn follow_reload(&mut self, now: Moment) {
        for id in self.waiting.clone() {
            if let Some(gate) = self.gate(id) {
                self.tell(id, Event::Gate(gate), now);
            }
        }
        for id in self.held.keys().copied().collect::<Vec<_>>() {
            self.release(id, now);
        }
        self.check_all_ended(now);
    }

    fn draw_consequences(&mut self, id: ServiceId, now: Moment) {
        if self.is_stopping() {
            if !self.is_moving(id) {
                for dependency in self.graph.below(id) {
                    self.stop_if_unneeded(dependency, now);
                }
            }
            return;
        }
        let Some(service) = self.services.get(&id) else { return };
        if let Some(code) = service.final_code().filter(|_| service.spec().policy.essential) {
            let reason = format!("essential service {} ended ({})", service.name(), service.word());
            self.begin_shutdown(reason, Actor::Supervisor, code, now);
            return;
        }
        if matches!(service.word(), Word::Running) || service.is_settled() {
            if let Some(boot) = &mut self.boot {
                boot.pending.remove(&id);
            }
            self.check_boot(now);
            self.check_all_ended(now);
        }
        if !self.held.is_empty() && !self.is_moving(id) {
            self.release(id, now);
            for dependency in self.graph.below(id) {
                self.release(dependency, now);
            }
        }
    }

    fn check_boot(&mut self, now: Moment) {
        if self.boot.as_ref().is_some_and(|boot| boot.pending.is_empty())
            && let Some(boot) = self.boot.take()
        {
            let failed = self.services.values().filter(|service| service.word() == Word::Failed);
            let failed = failed.map(|service| service.name().clone()).collect();
            let took_ms = duration::millis(now.since(boot.since));
            self.effects.push(Effect::Tell(Kind::DaemonReady { took_ms, failed }, Actor::Supervisor));
        }
    }

    fn check_all_ended(&mut self, now: Moment) {
        let over = self.settings.exit_when == ExitWhen::AllEnded
            && !self.is_stopping()
            && self.boot.is_none()
            && self.services.values().all(Service::is_settled);
        if over {
            let code = self.worst_failure();
            self.begin_shutdown("all services have ended".to_owned(), Actor::Supervisor, code, now);
        }
    }

    fn forget(&mut self, id: ServiceId) {
        if let Some(service) = self.services.remove(&id) {
            if self.names.get(service.name()) == Some(&id) {
                self.names.remove(service.name());
            }
            self.order.retain(|other| *other != id);
            self.deadlines.retain(|(_, other)| *other != id);
            self.waiting.remove(&id);
            // Its stop had not been handed to it: it ended by itself, and is as down as was wished.
            let ticket = self.held.remove(&id).and_then(|held| held.ticket);
            self.effects.extend(ticket.map(|ticket| Effect::Service(id, Action::Answer(ticket, Outcome::Done))));
            self.link();
        }
    }

    /// Word about the dependencies of a service; `None` while one is to be waited for.
    fn gate(&self, id: ServiceId) -> Option<Gate> {
        if self.is_stopping() {
            return None; // Nothing is launched any more; those who wait are told to stop one by one.
        }
        // A removed one waits for nothing but the order to stop.
        let service = self.services.get(&id).filter(|service| !service.is_removed())?;
        let mut all_there = true;
        for dependency in &service.spec().definition.depends_on {
            // One that a reload removed is nothing to wait for, gone or not.
            let Some((dep_id, dep)) = self.by_name(&dependency.name).filter(|(_, dep)| !dep.is_removed()) else { continue };
            let there = match (dep.word(), dependency.condition) {
                (Word::Exited, _)
                | (Word::Running, Condition::Started | Condition::Ready)
                | (Word::Starting, Condition::Started) => true,
                (Word::Failed, _) => return Some(Gate::Failed(format!("dependency {} failed", dependency.name))),
                // Narrowed away by the selection: there is nothing to wait for.
                (Word::Stopped, _) => !self.is_selected(dep_id),
                (Word::Running | Word::Starting, _) | (Word::Waiting | Word::Stopping | Word::Backoff, _) => false,
            };
            all_there &= there;
        }
        all_there.then_some(Gate::Open)
    }

    /// The names a waiting service waits for.
    #[must_use]
    pub fn waits_for(&self, id: ServiceId) -> Vec<ServiceName> {
        let Some(service) = self.services.get(&id).filter(|service| service.is_waiting()) else { return Vec::new() };
        let dependencies = service.spec().definition.depends_on.iter();
        let missing = dependencies.filter(|dependency| {
            self.by_name(&dependency.name).is_some_and(|(_, dep)| match dependency.condition {
                Condition::Started => !matches!(dep.word(), Word::Running | Word::Starting | Word::Exited),
                Condition::Ready => !matches!(dep.word(), Word::Running | Word::Exited),
                Condition::Completed => dep.word() != Word::Exited,
            })
        });
        missing.map(|dependency| dependency.name.clone()).collect()
    }

    // Views

    /// The number of the service with this name.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<ServiceId> {
        self.names.get(name).copied()
    }

    fn by_name(&self, name: &ServiceName) -> Option<(ServiceId, &Service)> {
        let id = *self.names.get(name)?;
        Some((id, self.services.get(&id)?))
    }

    /// One service.
    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(&id)
    }

    /// Every service, in the order of the file.
    pub fn services(&self) -> impl Iterator<Item = (ServiceId, &Service)> {
        self.order.iter().filter_map(|id| Some((*id, self.services.get(id)?)))
    }

    /// The services that depend on this one and run.
    #[must_use]
    pub fn running_dependents(&self, id: ServiceId) -> Vec<ServiceName> {
        let dependents = self.graph.dependents(id).iter().filter_map(|dependent| self.services.get(dependent));
        dependents.filter(|service| service.is_live()).map(|service| service.name().clone()).collect()
    }

    /// The supervisor's settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn is_selected(&self, id: ServiceId) -> bool {
        self.services.get(&id).is_some_and(|service| self.settings.selects(service.name()))
    }
}

/// A launch was refused because the supervisor shuts down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShuttingDown;

pub(super) const fn order(wish: Wish, actor: Actor, ticket: Option<Ticket>) -> Event {
    Event::Order(Order { wish, actor, ticket })
}
