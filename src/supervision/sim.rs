//! Seeded histories against the machine: a fake kernel turns actions into later facts, operators interfere, time jumps to
//! whatever comes next, and after every step the contract's invariants are checked.
//!
//! A failure prints its seed and its history; `SEED=n cargo test --lib sim` repeats one.

mod cast;
mod dice;
mod kernel;
mod scripts;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) use self::cast::definition_of;
use self::dice::Dice;
use self::kernel::Kernel;
use self::scripts::Coming;
use self::watch::{Verdict, Watch, hold};
use super::service::STUCK_AFTER;
use super::{Action, Change, Effect, Fact, Outcome, Remains, Service, ServiceId, Supervisor, Target, Ticket, Wish};
use crate::spec::{Condition, Definition, Spec};
use crate::value::{ExitStatus, Moment, Run};
use crate::wire::State as Word;
use crate::wire::event::{Actor, Kind, LaunchFacts, ReadyBy, StartReason, StopReason};

const HISTORIES: u64 = 2_000;
const OPERATOR: Actor = Actor::Client(0);

/// G49: orders, reloads and ends in any order go through one machine.
#[test]
fn no_history_breaks_an_invariant() {
    let chosen = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = chosen.map_or(0..HISTORIES, |seed: u64| seed..seed + 1);
    for seed in seeds {
        if Sim::new(seed, false).play().is_err() {
            let mut sim = Sim::new(seed, true);
            let broken = sim.play().err().unwrap_or_else(|| "nothing the second time: not deterministic".to_owned());
            panic!("seed {seed}: {broken}\n{}", sim.history.unwrap_or_default().join("\n"));
        }
    }
}

/// An order whose outcome is awaited.
#[derive(Clone, Copy, Debug)]
struct Pending {
    id: ServiceId,
    wants: Target,
    restarts: bool,
    holds: bool,
    releases: bool,
    run_before: Run,
}

struct Shutdown {
    over_at: Moment,
    is_killed: bool,
}

struct Sim {
    dice: Dice,
    now: Moment,
    supervisor: Supervisor,
    spec: Spec,
    kernel: Kernel,
    answers: BTreeMap<(Moment, u64), Coming>,
    next_answer: u64,
    watches: BTreeMap<ServiceId, Watch>,
    tickets: BTreeMap<Ticket, Pending>,
    next_ticket: u64,
    /// The services as they were before the present step.
    before: BTreeMap<ServiceId, Service>,
    /// What the first start still waits for.
    booting: BTreeSet<ServiceId>,
    times_ready: u32,
    times_stopping: u32,
    shutdown: Option<Shutdown>,
    history: Option<Vec<String>>,
}

impl Sim {
    fn new(seed: u64, records: bool) -> Self {
        let mut dice = Dice::new(seed);
        let spec = cast::spec(&mut dice);
        Self {
            supervisor: Supervisor::new(&spec),
            dice,
            now: Moment::from_nanos(1_000_000_000),
            spec,
            kernel: Kernel::default(),
            answers: BTreeMap::new(),
            next_answer: 0,
            watches: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            before: BTreeMap::new(),
            booting: BTreeSet::new(),
            times_ready: 0,
            times_stopping: 0,
            shutdown: None,
            history: records.then(Vec::new),
        }
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        if let Some(history) = &mut self.history {
            history.push(format!("{:>10.3} {}", self.now.as_nanos() as f64 / 1e9 - 1.0, words()));
        }
    }

    fn play(&mut self) -> Verdict {
        let spec = self.spec.clone();
        self.note(|| format!("{spec:#?}"));
        self.remember();
        let ids: Vec<ServiceId> = self.supervisor.services().map(|(id, _)| id).collect();
        for id in ids {
            if self.supervisor.is_selected(id) {
                self.booting.insert(id);
                self.watch(id).ordered_up(false);
            }
        }
        self.supervisor.boot(self.now);
        self.settle()?;
        for _ in 0..20 + self.dice.below(80) {
            if self.supervisor.finished().is_some() {
                break;
            }
            if self.dice.below(5) < 2 { self.interfere()? } else { self.advance()? }
        }
        for _ in 0..60 {
            self.advance()?;
        }
        if !self.dice.one_in(4) {
            self.end()?;
        }
        Ok(())
    }

    /// Shuts down and waits until nothing is left.
    fn end(&mut self) -> Verdict {
        self.shut_down()?;
        for _ in 0..100_000 {
            if self.kernel.next_at().is_none() && self.supervisor.finished().is_some() {
                let lives = self.supervisor.services().find(|(_, service)| service.is_live());
                hold!(lives.is_none(), "alive after the end");
                hold!(self.tickets.is_empty(), "never answered: {:?}", self.tickets);
                return Ok(());
            }
            self.advance()?;
        }
        Err("the shutdown never ends".to_owned())
    }

    // Steps

    /// Time jumps to what comes next: a fact of the kernel or a deadline.
    fn advance(&mut self) -> Verdict {
        self.remember();
        let (fact_at, due_at) = (self.kernel.next_at(), self.supervisor.deadline());
        if let Some(answer_at) = self.next_answer_at()
            && fact_at.into_iter().chain(due_at).all(|at| answer_at < at || (answer_at == at && self.dice.one_in(2)))
        {
            return self.hand_over();
        }
        let Some(next) = fact_at.into_iter().chain(due_at).min() else { return Ok(()) };
        let ticks = due_at == Some(next) && (fact_at != Some(next) || self.dice.one_in(2));
        self.now = self.now.max(next);
        if ticks {
            if self.dice.one_in(8) {
                self.now = self.now + self.dice.ms_below(300);
            }
            self.tick()
        } else if let Some((id, run, fact)) = self.kernel.step(self.now, &mut self.dice) {
            self.note(|| format!("{id:?} run {run}: {fact:?}"));
            if let Some(reset_after) = self.supervisor.service(id).map(|s| s.spec().policy.backoff.reset_after) {
                let now = self.now;
                self.watch(id).may_be_forgiven(reset_after, now);
            }
            let is_gone = matches!(fact, Fact::Gone(_));
            if is_gone {
                self.watch(id).is_live = false;
            }
            self.supervisor.learn(id, run, fact, self.now);
            self.settle()
        } else {
            Ok(())
        }
    }

    fn tick(&mut self) -> Verdict {
        self.note(|| "tick".to_owned());
        for (id, service) in self.supervisor.services() {
            if let Some(watch) = self.watches.get_mut(&id) {
                watch.may_be_forgiven(service.spec().policy.backoff.reset_after, self.now);
            }
        }
        self.supervisor.tick(self.now);
        self.settle()?;
        let deadline = self.supervisor.deadline();
        hold!(deadline.is_none_or(|at| at > self.now), "after a tick the deadline is still {deadline:?}");
        if self.dice.one_in(4) {
            self.changes_nothing("a second tick", |supervisor, now| supervisor.tick(now))?;
        }
        Ok(())
    }

    fn interfere(&mut self) -> Verdict {
        let next = self.kernel.next_at().into_iter().chain(self.supervisor.deadline()).chain(self.next_answer_at()).min();
        let room = next.map_or(Duration::from_secs(5), |next| next.since(self.now));
        if self.dice.one_in(2) {
            self.now = self.now + self.dice.ms_below(u64::try_from(room.as_millis()).unwrap_or(0));
        }
        self.remember();
        match self.dice.below(28) {
            24..=27 => self.hold_or_release(),
            0..=11 => self.give_order(),
            12..=14 => self.reload(),
            15..=18 => self.repeat_old_fact(),
            19 | 20 if next.is_none_or(|at| at > self.now) => {
                self.changes_nothing("an early tick", |supervisor, now| supervisor.tick(now))
            }
            21 if self.dice.one_in(3) => self.shut_down(),
            22 | 23 if self.shutdown.is_some() => self.kill_all(),
            _ => Ok(()),
        }
    }

    fn give_order(&mut self) -> Verdict {
        let ids: Vec<ServiceId> = self.supervisor.services().map(|(id, _)| id).collect();
        let Some(id) = self.dice.pick(&ids).copied() else { return Ok(()) };
        let wish = match self.dice.below(7) {
            0 | 1 => Wish::Start(StartReason::Manual),
            2..=4 => Wish::Stop { reason: StopReason::Manual, within: None },
            5 => Wish::Restart(StartReason::Restart),
            _ => Wish::Kill,
        };
        let actor = if self.dice.one_in(4) { Actor::Hook("y".into()) } else { OPERATOR };
        let ticket = self.new_ticket();
        self.note(|| format!("{id:?} {wish:?} {ticket:?} by {actor}"));
        let launches = matches!(wish, Wish::Start(_) | Wish::Restart(_));
        let was_stopping = self.supervisor.is_stopping();
        let overtaken = self.expect(ticket, id, wish, &actor);
        if launches && !was_stopping {
            self.mark_launches(id, wish, &actor);
        } else if !launches {
            self.watch(id).ordered_down(true);
            self.watch(id).kill_is_ordered |= wish == Wish::Kill;
        }
        let accepted = self.supervisor.order(id, wish, &actor, Some(ticket), self.now).is_ok();
        let must_be_refused = launches && was_stopping;
        hold!(accepted != must_be_refused, "{wish:?} was accepted: {accepted}");
        if !accepted {
            self.tickets.remove(&ticket);
            return self.settle();
        }
        self.settle()?;
        let unanswered: Vec<&Ticket> = overtaken.iter().filter(|ticket| self.tickets.contains_key(ticket)).collect();
        hold!(unanswered.is_empty(), "overtaken and not told: {unanswered:?}");
        Ok(())
    }

    /// Its stop waits for somebody who needs it and is being stopped as well.
    fn is_held_for_a_reason(&self, id: ServiceId) -> bool {
        self.supervisor.is_held(id)
            && self.above(id).into_iter().any(|(other, service)| {
                let is_going = service.target() == Target::Down && service.is_live() && !service.is_stuck();
                is_going || self.supervisor.is_held(other)
            })
    }

    /// Notes who will be launched by an order.
    fn mark_launches(&mut self, id: ServiceId, wish: Wish, actor: &Actor) {
        let Some(service) = self.supervisor.service(id) else { return };
        let word = service.word();
        let is_kept = service.is_kept_from(actor).is_some();
        if is_kept || service.is_removed() || (matches!(wish, Wish::Start(_)) && matches!(word, Word::Running | Word::Starting)) {
            return;
        }
        let mut below = Vec::new();
        let mut next = vec![id];
        while let Some(id) = next.pop() {
            for dependency in self.supervisor.service(id).iter().flat_map(|s| &s.newest().definition.depends_on) {
                next.extend(self.supervisor.id(dependency.name.as_str()));
            }
            below.push(id);
        }
        for dependency in below.into_iter().skip(1) {
            let selected = self.supervisor.is_selected(dependency);
            let is_down =
                self.supervisor.service(dependency).is_some_and(|s| s.target() == Target::Down || s.word() == Word::Failed);
            if selected && is_down {
                self.watch(dependency).ordered_up(actor.is_operator());
            }
        }
        // A script's start does not call off a question or a delay.
        let is_asked = self.supervisor.service(id).is_some_and(Service::is_preparing);
        if actor.is_operator() || !is_asked {
            self.watch(id).ordered_up(actor.is_operator());
        }
    }

    fn reload(&mut self) -> Verdict {
        if self.supervisor.is_stopping() {
            return Ok(());
        }
        let new = cast::revised(&mut self.dice, &self.spec);
        let apply = self.dice.one_in(3);
        let mut next = self.next_ticket;
        self.note(|| format!("reload, apply {apply}: {new:#?}"));
        self.spec = new.clone();
        for service in &new.services {
            // A service that does not run takes over its definition at once.
            if let Some(id) = self.supervisor.id(service.name.as_str())
                && !self.before.get(&id).is_some_and(Service::is_live)
            {
                self.watch(id).active = Some(service.definition.clone());
            }
        }
        let ids: BTreeMap<_, _> = self.before.iter().map(|(id, service)| (service.name().clone(), *id)).collect();
        let take = || {
            next += 1;
            Ticket(next)
        };
        let steps = self.supervisor.reload(&new, apply, &OPERATOR, take, self.now);
        self.next_ticket = next;
        for step in &steps {
            let Some(id) = self.supervisor.id(step.name.as_str()).or_else(|| ids.get(&step.name).copied()) else {
                return Err(format!("{} is unknown after the reload", step.name));
            };
            let wish = match step.change {
                Change::Added => Wish::Start(StartReason::Reload),
                Change::Removed => Wish::Stop { reason: StopReason::Reload, within: None },
                Change::Definition | Change::Pending => Wish::Restart(StartReason::Reload),
                Change::Policy | Change::None => {
                    hold!(step.ticket.is_none(), "a ticket where nothing is done");
                    continue;
                }
            };
            let Some(ticket) = step.ticket else { continue };
            self.expect(ticket, id, wish, &OPERATOR);
            match wish {
                Wish::Start(_) | Wish::Restart(_) => self.watch(id).ordered_up(true),
                _ => self.watch(id).ordered_down(false),
            }
        }
        for (id, service) in self.supervisor.services().filter(|(_, service)| !service.is_removed()) {
            let Some(written) = self.spec.services.iter().find(|written| written.name == *service.name()) else {
                return Err(format!("{id:?} is not in the new file"));
            };
            hold!(service.spec().policy == written.policy, "{id:?}: the policy was not taken over at once");
            hold!(service.newest().definition == written.definition, "{id:?}: the new definition got lost");
            let was_live = self.before.get(&id).is_some_and(Service::is_live);
            let is_taken = service.spec().definition == written.definition;
            hold!(was_live || is_taken, "{id:?}: not live, and the definition was not taken over");
        }
        self.settle()
    }

    fn repeat_old_fact(&mut self) -> Verdict {
        let ids: Vec<ServiceId> = self.supervisor.services().map(|(id, _)| id).collect();
        let Some(id) = self.dice.pick(&ids).copied() else { return Ok(()) };
        let Some(service) = self.supervisor.service(id) else { return Ok(()) };
        let run = if service.is_live() { Run(service.run().0.saturating_sub(1)) } else { service.run() };
        let fact = match self.dice.below(7) {
            0 => Fact::Spawned { pid: 7 },
            1 => Fact::Executed,
            2 => Fact::LaunchFailed(LaunchFacts { stage: "exec", message: "late".to_owned() }),
            3 => Fact::Ready(ReadyBy::Notify),
            4 => Fact::Unhealthy,
            5 => Fact::Exited(ExitStatus::Code(9)),
            _ => Fact::Gone(Remains::default()),
        };
        let words = format!("{id:?}: an old {fact:?} of run {run}");
        self.changes_nothing(&words, move |supervisor, now| supervisor.learn(id, run, fact, now))
    }

    fn changes_nothing(&mut self, what: &str, act: impl FnOnce(&mut Supervisor, Moment)) -> Verdict {
        self.note(|| what.to_owned());
        let before = format!("{:?}", self.supervisor);
        act(&mut self.supervisor, self.now);
        hold!(before == format!("{:?}", self.supervisor), "{what} changed something");
        Ok(())
    }

    fn shut_down(&mut self) -> Verdict {
        self.remember();
        self.note(|| "shutdown".to_owned());
        self.supervisor.shut_down("asked".to_owned(), OPERATOR, self.now);
        self.settle()
    }

    fn kill_all(&mut self) -> Verdict {
        self.note(|| "kill all".to_owned());
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.is_killed = true;
            shutdown.over_at = shutdown.over_at.min(self.now + STUCK_AFTER);
        }
        self.supervisor.kill_all(self.now);
        self.settle()
    }

    // What the supervisor wants, and what must hold after it

    fn settle(&mut self) -> Verdict {
        for effect in self.supervisor.take_effects() {
            self.note(|| format!("      -> {effect:?}"));
            match effect {
                Effect::Service(id, action) => self.obey(id, action).map_err(|broken| format!("{id:?}: {broken}"))?,
                Effect::Tell(Kind::DaemonReady { .. }, _) => self.times_ready += 1,
                Effect::Tell(Kind::DaemonStopping { .. }, _) => {
                    self.times_stopping += 1;
                    let over_at = self.now + self.supervisor.shutdown_budget();
                    self.shutdown.get_or_insert(Shutdown { over_at, is_killed: false });
                }
                Effect::Tell(Kind::Reload { .. }, _) => {}
                Effect::Tell(kind, _) => return Err(format!("not an event of the supervisor: {kind:?}")),
            }
        }
        self.check()
    }

    fn obey(&mut self, id: ServiceId, action: Action) -> Verdict {
        let now = self.now;
        if let Action::Answer(ticket, outcome) = &action {
            return self.answered(id, *ticket, outcome);
        }
        if matches!(action, Action::Forget) {
            hold!(!self.watch(id).is_live, "forgotten while a run of it is alive");
            hold!(self.supervisor.service(id).is_none(), "told to be forgotten, and not forgotten");
            return Ok(());
        }
        // A forgotten service leaves its last words.
        let Some(service) = self.supervisor.service(id).or_else(|| self.before.get(&id)).cloned() else {
            return Err(format!("{action:?} of an unknown service"));
        };
        let shutting_down = self.shutdown.is_some();
        match action {
            Action::Launch(run) => {
                hold!(!shutting_down, "launched during the shutdown");
                self.gate_is_open(&service)?;
                let newest: Option<&Definition> =
                    self.spec.services.iter().find(|written| written.name == *service.name()).map(|written| &written.definition);
                let newest = newest.cloned();
                self.watch(id).launched(run, &service, newest.as_ref(), now)?;
                let has_probe = service.spec().definition.ready.is_some();
                self.kernel.launch(id, run, has_probe, now, &mut self.dice);
            }
            Action::Signal(run, signal) => {
                let stage = self.kernel.stage(id, run);
                self.watch(id).signalled(run, signal, stage, shutting_down, now)?;
                self.kernel.signal(id, run, signal, now, &mut self.dice);
            }
            Action::Tell(kind, run, _) => {
                if let Kind::Stopping { reason: StopReason::Shutdown, .. } = kind {
                    self.is_its_turn(id)?;
                }
                let reset_after = service.spec().policy.backoff.reset_after;
                self.watch(id).may_be_forgiven(reset_after, now);
                self.watch(id).told(&kind, run, &service, now)?;
                if matches!(kind, Kind::Ready { .. }) {
                    self.booting.remove(&id);
                }
            }
            Action::AskReady(run) | Action::WatchHealth(run) => hold!(run == service.run(), "asks an old run"),
            Action::Ask(question) => self.asked(id, question, &service)?,
            Action::LimitLog(_) | Action::Answer(..) | Action::Forget => {}
        }
        Ok(())
    }

    fn answered(&mut self, id: ServiceId, ticket: Ticket, outcome: &Outcome) -> Verdict {
        let Some(pending) = self.tickets.remove(&ticket) else { return Err(format!("{ticket:?} is answered twice")) };
        hold!(pending.id == id, "{ticket:?} is answered by another service");
        let service = self.supervisor.service(id);
        let word = service.map(Service::word);
        let is_as_wished = match (pending.wants, outcome) {
            (_, Outcome::Failed(_) | Outcome::Overtaken(_)) => true,
            (_, Outcome::Unchanged) if pending.holds || pending.releases => true,
            // Or a stop that had waited for this one's end came at once.
            (_, Outcome::Done) if pending.holds => {
                service.is_some_and(|service| service.hold().is_some()) || matches!(word, None | Some(Word::Stopped))
            }
            (Target::Up, Outcome::Unchanged) => word == Some(Word::Running),
            (Target::Up, Outcome::Done) => matches!(word, Some(Word::Running | Word::Exited)),
            (Target::Down, Outcome::Unchanged | Outcome::Done) => matches!(word, None | Some(Word::Stopped)),
        };
        hold!(is_as_wished, "{ticket:?} is told {outcome:?}, but it is {word:?}");
        let is_new = service.is_none_or(|service| service.run() > pending.run_before);
        hold!(!pending.restarts || is_new || *outcome != Outcome::Done, "restarted, but it is the same run");
        Ok(())
    }

    /// Whether the dependencies of a launched service are there, before or after the step.
    fn gate_is_open(&self, service: &Service) -> Verdict {
        for dependency in &service.spec().definition.depends_on {
            let Some(id) = self.supervisor.id(dependency.name.as_str()) else { continue };
            let now = self.supervisor.service(id);
            let is_there = [now, self.before.get(&id)].into_iter().flatten().any(|service| {
                let narrowed_away = service.word() == Word::Stopped && !self.supervisor.is_selected(id);
                narrowed_away || service.is_removed() || is_there(service.word(), dependency.condition)
            });
            hold!(is_there, "launched, but {} is {:?}", dependency.name, now.map(Service::word));
        }
        Ok(())
    }

    /// All that need it, directly or not.
    fn above(&self, id: ServiceId) -> Vec<(ServiceId, &Service)> {
        let mut found = vec![id];
        let mut at = 0;
        while let Some(below) = found.get(at).copied() {
            at += 1;
            let needs_it = |service: &Service| {
                let needs = &service.newest().definition.depends_on;
                needs.iter().any(|need| self.supervisor.id(need.name.as_str()) == Some(below))
            };
            let next = self.supervisor.services().filter(|(other, service)| needs_it(service) && !found.contains(other));
            let next: Vec<ServiceId> = next.map(|(other, _)| other).collect();
            found.extend(next);
        }
        self.supervisor.services().filter(|(other, _)| *other != id && found.contains(other)).collect()
    }

    /// Whether all that need it are gone or beyond hope.
    fn is_its_turn(&self, id: ServiceId) -> Verdict {
        let dependent = self.above(id).into_iter().find(|(_, other)| other.is_live() && !other.is_stuck());
        hold!(dependent.is_none(), "stopped before its dependent {:?}", dependent.map(|(id, _)| id));
        Ok(())
    }

    fn check(&mut self) -> Verdict {
        let supervisor = &self.supervisor;
        let mut asked = Vec::new();
        for (id, service) in supervisor.services() {
            let watch = self.watches.entry(id).or_insert_with(Watch::new);
            let gone = watch.run > Run::default() && self.kernel.stage(id, watch.run) == kernel::Stage::Gone;
            if gone && self.before.get(&id).is_some_and(|before| before.is_live() && before.run() == watch.run) {
                watch.gone(self.kernel.ever_ran(id, watch.run)).map_err(|broken| format!("{id:?}: {broken}"))?;
            }
            watch.check(service, self.now).map_err(|broken| format!("{id:?}: {broken}"))?;
            asked.push((id, watch.asked_until()));
            if service.word() == Word::Running || service.is_settled() {
                self.booting.remove(&id);
            }
            hold!(!service.is_removed() || !service.is_settled(), "{id:?} was removed, is down and not forgotten");
            if service.word() == Word::Waiting {
                self.waits_for_a_reason(id, service)?;
            }
        }
        for (id, until) in asked {
            if let Some(service) = self.supervisor.service(id) {
                self.is_asking_in_time(service, until).map_err(|broken| format!("{id:?}: {broken}"))?;
            }
        }
        self.booting.retain(|id| self.supervisor.service(*id).is_some());
        for (ticket, pending) in &self.tickets {
            let Some(service) = self.supervisor.service(pending.id) else {
                return Err(format!("{ticket:?} waits for a forgotten service"));
            };
            let word = service.word();
            let has_reason = match pending.wants {
                Target::Up if pending.holds => word == Word::Stopping && service.hold().is_some() && !service.is_stuck(),
                Target::Up if service.hold().is_some() => false,
                Target::Up => matches!(word, Word::Waiting | Word::Starting | Word::Stopping | Word::Backoff),
                Target::Down => (word == Word::Stopping && !service.is_stuck()) || self.is_held_for_a_reason(pending.id),
            };
            hold!(has_reason, "{ticket:?} {pending:?} waits, but it is {word}");
        }
        hold!(self.times_ready <= 1, "daemon_ready twice");
        if self.shutdown.is_none() {
            let booted = self.booting.is_empty();
            hold!(booted == (self.times_ready == 1), "booted: {booted}; daemon_ready: {}", self.times_ready);
        }
        self.check_shutdown()
    }

    fn waits_for_a_reason(&self, id: ServiceId, service: &Service) -> Verdict {
        hold!(self.shutdown.is_none(), "{id:?} waits during the shutdown");
        if service.hold().is_some() || service.is_preparing() {
            return Ok(());
        }
        let mut waits = false;
        for dependency in &service.spec().definition.depends_on {
            let Some(dep) = self.supervisor.id(dependency.name.as_str()) else { continue };
            let Some(other) = self.supervisor.service(dep).filter(|other| !other.is_removed()) else { continue };
            hold!(other.word() != Word::Failed, "{id:?} waits for {dep:?}, which failed");
            let narrowed_away = other.word() == Word::Stopped && !self.supervisor.is_selected(dep);
            waits |= !narrowed_away && !is_there(other.word(), dependency.condition);
        }
        hold!(waits, "{id:?} waits for nothing");
        Ok(())
    }

    fn check_shutdown(&self) -> Verdict {
        let Some(shutdown) = &self.shutdown else {
            hold!(!self.supervisor.is_stopping() && self.supervisor.finished().is_none(), "stops and does not say so");
            return Ok(());
        };
        hold!(self.times_stopping == 1, "daemon_stopping {} times", self.times_stopping);
        let is_in_time = self.now <= shutdown.over_at || self.supervisor.finished().is_some();
        // A tick may come late, never by more than 300 ms.
        let is_late = self.now > shutdown.over_at + Duration::from_millis(600);
        hold!(is_in_time || !is_late, "the shutdown takes longer than its budget");
        let is_spent = shutdown.is_killed || self.now > shutdown.over_at - STUCK_AFTER;
        for (id, service) in self.supervisor.services() {
            if service.is_live() && service.word() != Word::Stopping {
                hold!(!is_spent, "{id:?} outlived SIGKILL to all");
                hold!(self.is_its_turn(id).is_err(), "{id:?} could be stopped and is not");
            }
        }
        Ok(())
    }

    // Bookkeeping

    fn remember(&mut self) {
        self.before = self.supervisor.services().map(|(id, service)| (id, service.clone())).collect();
    }

    fn watch(&mut self, id: ServiceId) -> &mut Watch {
        self.watches.entry(id).or_insert_with(Watch::new)
    }

    fn new_ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Registers a ticket; the answer is those that it overtakes.
    fn expect(&mut self, ticket: Ticket, id: ServiceId, wish: Wish, actor: &Actor) -> Vec<Ticket> {
        let wants = if matches!(wish, Wish::Start(_) | Wish::Restart(_)) { Target::Up } else { Target::Down };
        let service = self.before.get(&id);
        let is_kept = |service: &Service| service.is_removed() || service.is_kept_from(actor).is_some();
        let is_refused = wants == Target::Up && service.is_some_and(is_kept);
        let opposite = self.tickets.iter().filter(|(_, pending)| pending.id == id && (pending.holds || pending.wants != wants));
        let overtaken = if is_refused { Vec::new() } else { opposite.map(|(ticket, _)| *ticket).collect() };
        let run_before = service.map(Service::run).unwrap_or_default();
        let restarts = matches!(wish, Wish::Restart(_));
        self.tickets.insert(ticket, Pending { id, wants, restarts, holds: false, releases: false, run_before });
        overtaken
    }
}

fn is_there(word: Word, condition: Condition) -> bool {
    match condition {
        Condition::Started => matches!(word, Word::Starting | Word::Running | Word::Exited),
        Condition::Ready => matches!(word, Word::Running | Word::Exited),
        Condition::Completed => word == Word::Exited,
    }
}
