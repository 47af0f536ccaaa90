//! Cases of the set: each is named after what once went wrong or could, and shorter than the history that showed it.

use std::time::Duration;

use super::sim::definition_of;
use super::{Action, Effect, Fact, Outcome, Remains, ServiceId, Supervisor, Ticket, Wish};
use crate::spec::{Backoff, Condition, Dependency, ExitWhen, Policy, Restart, Selection, Service, Spec, UnknownName};
use crate::value::{ExitStatus, Moment, ServiceName};
use crate::wire::State as Word;
use crate::wire::event::{Actor, Kind, StartReason, StopReason};

const OPERATOR: Actor = Actor::Client(0);
const START: Wish = Wish::Start(StartReason::Manual);
const RESTART: Wish = Wish::Restart(StartReason::Restart);
const STOP: Wish = Wish::Stop { reason: StopReason::Manual, within: None };

struct Set {
    supervisor: Supervisor,
    now: Moment,
    tickets: u64,
    answers: Vec<(Ticket, Outcome)>,
    launched: Vec<String>,
    told: Vec<Kind>,
}

fn name(name: &str) -> ServiceName {
    ServiceName::parse(name).unwrap()
}

fn service(own: &str, needs: &[&str], policy: Policy) -> Service {
    let needs = needs.iter().map(|needed| Dependency { name: name(needed), condition: Condition::Ready });
    Service { name: name(own), definition: definition_of(own, needs.collect(), None), policy }
}

fn spec(services: &[(&str, &[&str])]) -> Spec {
    let services = services.iter().map(|(own, needs)| service(own, needs, Policy::default())).collect();
    Spec { services, ..Spec::default() }
}

impl Set {
    fn new(spec: &Spec) -> Self {
        let mut set = Self {
            supervisor: Supervisor::new(spec),
            now: Moment::from_nanos(0),
            tickets: 0,
            answers: Vec::new(),
            launched: Vec::new(),
            told: Vec::new(),
        };
        set.supervisor.boot(set.now);
        set.settle();
        set
    }

    /// Booted, and every launch went well.
    fn up(spec: &Spec) -> Self {
        let mut set = Self::new(spec);
        set.launch_all();
        set
    }

    fn settle(&mut self) {
        for effect in self.supervisor.take_effects() {
            match effect {
                Effect::Service(id, Action::Launch(_)) => {
                    self.launched.extend(self.supervisor.service(id).map(|service| service.name().to_string()));
                }
                Effect::Service(_, Action::Answer(ticket, outcome)) => self.answers.push((ticket, outcome)),
                Effect::Tell(kind, _) => self.told.push(kind),
                Effect::Service(..) => {}
            }
        }
    }

    fn launch_all(&mut self) {
        while let Some(own) = self.launched.pop() {
            self.learn(&own, Fact::Spawned { pid: 7 });
            self.learn(&own, Fact::Executed);
        }
    }

    fn id(&self, name: &str) -> ServiceId {
        self.supervisor.id(name).unwrap()
    }

    fn word(&self, name: &str) -> Word {
        self.supervisor.service(self.id(name)).unwrap().word()
    }

    fn learn(&mut self, name: &str, fact: Fact) {
        let id = self.id(name);
        let run = self.supervisor.service(id).unwrap().run();
        self.supervisor.learn(id, run, fact, self.now);
        self.settle();
    }

    fn end(&mut self, name: &str, code: u8) {
        self.learn(name, Fact::Exited(ExitStatus::Code(code)));
        self.learn(name, Fact::Gone(Remains::default()));
    }

    fn order(&mut self, name: &str, wish: Wish) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.supervisor.order(self.id(name), wish, &OPERATOR, Some(ticket), self.now).unwrap();
        self.settle();
        ticket
    }

    fn reload(&mut self, spec: &Spec) -> Vec<Ticket> {
        let mut next = self.tickets;
        let ticket = || {
            next += 1;
            Ticket(next)
        };
        let steps = self.supervisor.reload(spec, false, &OPERATOR, ticket, self.now);
        self.tickets = next;
        self.settle();
        steps.into_iter().filter_map(|step| step.ticket).collect()
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.supervisor.tick(self.now);
        self.settle();
        assert!(self.supervisor.deadline().is_none_or(|at| at > self.now));
    }

    fn shut_down(&mut self) {
        self.supervisor.shut_down("asked".to_owned(), OPERATOR, self.now);
        self.settle();
    }

    fn answer(&self, ticket: Ticket) -> Option<&Outcome> {
        let mut found = self.answers.iter().filter(|(answered, _)| *answered == ticket);
        let outcome = found.next().map(|(_, outcome)| outcome);
        assert!(found.next().is_none(), "answered twice");
        outcome
    }
}

#[test]
fn dependencies_first_and_one_daemon_ready() {
    let mut set = Set::new(&spec(&[("db", &[]), ("web", &["db"])]));
    assert_eq!((set.launched.clone(), set.word("web")), (vec!["db".to_owned()], Word::Waiting));
    assert!(set.told.is_empty());
    set.launch_all();
    assert_eq!(set.word("web"), Word::Running);
    set.end("db", 1);
    set.pass(1_000);
    set.launch_all();
    assert!(matches!(set.told.as_slice(), [Kind::DaemonReady { .. }]), "{:?}", set.told);
}

/// P12: a shutdown goes on without it.
#[test]
fn nobody_waits_for_a_stuck_dependent() {
    let mut set = Set::up(&spec(&[("db", &[]), ("web", &["db"])]));
    set.shut_down();
    assert_eq!((set.word("web"), set.word("db")), (Word::Stopping, Word::Running));
    set.pass(4_000);
    set.pass(2_000);
    assert_eq!(set.word("db"), Word::Stopping);
    set.end("db", 0);
    assert_eq!(set.supervisor.finished(), Some(0));
}

#[test]
fn a_budget_of_nothing_kills_in_the_same_tick() {
    let mut spec = spec(&[("db", &[]), ("web", &["db"])]);
    spec.settings.stop_grace = Duration::ZERO;
    let mut set = Set::up(&spec);
    set.shut_down();
    set.pass(0);
    set.pass(2_000);
    assert_eq!(set.supervisor.finished(), Some(0));
}

#[test]
fn a_graceless_service_is_killed_in_the_tick_that_stops_it() {
    let policy = Policy { stop_grace: Duration::ZERO, ..Policy::default() };
    let mut set = Set::up(&Spec { services: vec![service("web", &[], policy)], ..Spec::default() });
    set.order("web", STOP);
    set.pass(0);
    assert!(set.supervisor.deadline().is_some_and(|at| at == set.now + Duration::from_secs(2)));
}

#[test]
fn a_second_request_to_end_overtakes_who_waits_for_a_start() {
    let mut set = Set::new(&spec(&[("db", &[]), ("web", &["db"])]));
    let start = set.order("db", START);
    set.shut_down();
    set.supervisor.kill_all(set.now);
    set.settle();
    set.end("db", 0);
    assert!(matches!(set.answer(start), Some(Outcome::Overtaken(_))), "{:?}", set.answers);
}

#[test]
fn a_service_that_a_reload_frees_of_its_dependency_starts() {
    let mut set = Set::new(&spec(&[("db", &[]), ("web", &["db"])]));
    set.launched.clear();
    set.reload(&spec(&[("db", &[]), ("web", &[])]));
    assert_eq!(set.launched, ["web"]);
}

#[test]
fn a_relaunch_by_an_old_definition_still_hears_of_its_dependency() {
    let mut set = Set::up(&spec(&[("db", &[]), ("web", &["db"])]));
    set.reload(&spec(&[("db", &[]), ("web", &[])]));
    set.end("db", 1);
    set.end("web", 1);
    set.pass(1_000);
    set.launch_all();
    assert_eq!((set.word("db"), set.word("web")), (Word::Running, Word::Running));
}

#[test]
fn a_relaunch_by_an_old_definition_does_not_wait_for_what_was_removed() {
    let mut set = Set::up(&spec(&[("db", &[]), ("web", &["db"])]));
    set.reload(&spec(&[("web", &[])]));
    set.end("web", 1);
    set.pass(1_000);
    set.launch_all();
    assert_eq!((set.word("db"), set.word("web")), (Word::Stopping, Word::Running));
}

/// G48: no reload takes it back.
#[test]
fn an_operators_stop_survives_a_reload_that_adds_a_dependent() {
    let mut set = Set::up(&spec(&[("db", &[])]));
    let stop = set.order("db", STOP);
    set.end("db", 0);
    assert_eq!(set.answer(stop), Some(&Outcome::Done));
    set.reload(&spec(&[("db", &[]), ("web", &["db"])]));
    assert_eq!((set.word("db"), set.word("web")), (Word::Stopped, Word::Waiting));
    set.order("web", START);
    set.launch_all();
    assert_eq!((set.word("db"), set.word("web")), (Word::Running, Word::Running));
}

#[test]
fn a_start_of_a_running_service_leaves_its_stopped_dependency_alone() {
    let mut set = Set::up(&spec(&[("db", &[]), ("web", &["db"])]));
    set.order("db", STOP);
    set.end("db", 0);
    let start = set.order("web", START);
    assert_eq!((set.answer(start), set.word("db")), (Some(&Outcome::Unchanged), Word::Stopped));
}

#[test]
fn a_restart_of_one_that_waits_launches_it_once() {
    let mut services = spec(&[("db", &[]), ("web", &["db"])]);
    services.services[0].policy.restart = Restart::Never;
    let mut set = Set::new(&services);
    set.order("db", STOP);
    set.end("db", 0);
    set.launched.clear();
    set.order("web", RESTART);
    assert_eq!((set.word("web"), set.launched.clone()), (Word::Waiting, vec!["db".to_owned()]));
    set.launch_all();
    assert_eq!(set.supervisor.service(set.id("web")).unwrap().run().0, 1);
}

#[test]
fn a_removed_service_that_waits_is_not_let_through() {
    let mut set = Set::new(&spec(&[("db", &[]), ("web", &["db"])]));
    set.launched.clear();
    set.reload(&spec(&[]));
    assert!(set.launched.is_empty(), "{:?}", set.launched);
    assert!(set.supervisor.id("web").is_none());
}

/// The new file's essential service fails in the middle of the reload, before the removed one was told to stop.
#[test]
fn every_ticket_of_a_reload_that_ends_in_a_shutdown_is_answered() {
    let crash = Policy { restart: Restart::Never, ..Policy::default() };
    let backoff = Backoff { initial: Duration::from_secs(60), ..Backoff::default() };
    let waiting = Policy { backoff, ..Policy::default() };
    let db = service("db", &[], crash);
    let old = Spec { services: vec![db.clone(), service("old", &[], waiting)], ..Spec::default() };
    let mut set = Set::up(&old);
    set.end("db", 3);
    set.end("old", 1);
    assert_eq!((set.word("db"), set.word("old")), (Word::Failed, Word::Backoff));
    let key = service("key", &["db"], Policy { essential: true, ..Policy::default() });
    let late = service("late", &[], Policy::default());
    let tickets = set.reload(&Spec { services: vec![db, key, late], ..Spec::default() });
    assert_eq!(tickets.len(), 3);
    assert!(tickets.iter().all(|ticket| set.answer(*ticket).is_some()), "{tickets:?} {:?}", set.answers);
    assert_eq!(set.supervisor.finished(), Some(1));
}

#[test]
fn a_shutdown_launches_nobody_whom_a_retired_one_would_let_through() {
    let mut services = spec(&[("key", &[]), ("side", &["key"]), ("web", &["side"])]);
    services.services[0].policy = Policy { essential: true, restart: Restart::Never, ..Policy::default() };
    let picked = Some(vec![name("key"), name("web")]);
    let select = Selection { env: "S".to_owned(), unknown: UnknownName::Error, picked, ignored: Vec::new() };
    services.settings.select = Some(select);
    let mut set = Set::new(&services);
    set.launch_all();
    set.launched.clear();
    set.order("side", START);
    set.end("key", 5);
    assert!(set.supervisor.is_stopping());
    assert!(!set.launched.contains(&"web".to_owned()), "{:?}", set.launched);
}

#[test]
fn what_the_selection_leaves_out_is_not_waited_for() {
    let mut services = spec(&[("db", &[]), ("web", &["db"])]);
    let select =
        Selection { env: "S".to_owned(), unknown: UnknownName::Error, picked: Some(vec![name("web")]), ignored: Vec::new() };
    services.settings.select = Some(select);
    let mut set = Set::up(&services);
    assert_eq!((set.word("db"), set.word("web")), (Word::Stopped, Word::Running));
    // Also not after an operator had it for a while.
    set.order("db", START);
    set.launch_all();
    set.order("db", STOP);
    set.end("db", 0);
    set.order("web", RESTART);
    set.end("web", 0);
    assert_eq!(set.launched, ["web"]);
}

#[test]
fn the_end_of_an_essential_service_passes_on_its_code() {
    let mut services = spec(&[("db", &[]), ("web", &["db"])]);
    services.services[1].policy = Policy { essential: true, restart: Restart::Never, ..Policy::default() };
    let mut set = Set::up(&services);
    set.end("web", 9);
    assert_eq!((set.word("db"), set.supervisor.finished()), (Word::Stopping, None));
    set.end("db", 0);
    assert_eq!(set.supervisor.finished(), Some(9));
}

#[test]
fn a_reload_to_all_ended_looks_at_once() {
    let never = Policy { restart: Restart::Never, ..Policy::default() };
    let mut services = Spec { services: vec![service("job", &[], never)], ..Spec::default() };
    let mut set = Set::up(&services);
    set.end("job", 4);
    assert_eq!(set.supervisor.finished(), None);
    services.settings.exit_when = ExitWhen::AllEnded;
    set.reload(&services);
    assert_eq!(set.supervisor.finished(), Some(4));
}

#[test]
fn a_shutdown_keeps_the_code_of_what_had_failed_before() {
    let never = Policy { restart: Restart::Never, ..Policy::default() };
    let mut set = Set::up(&Spec { services: vec![service("job", &[], never)], ..Spec::default() });
    set.end("job", 4);
    set.shut_down();
    assert_eq!(set.supervisor.finished(), Some(4));
}

#[test]
fn a_step_that_is_done_does_not_part_what_it_joins() {
    let mut services = spec(&[("db", &[]), ("migrate", &["db"]), ("api", &["migrate"])]);
    services.services[1].policy.restart = Restart::Never;
    let begun = || {
        let mut set = Set::up(&services);
        set.end("migrate", 0);
        assert_eq!(set.word("migrate"), Word::Exited);
        set
    };
    let mut set = begun();
    set.shut_down();
    assert_eq!(["db", "api"].map(|own| set.word(own)), [Word::Running, Word::Stopping]);
    set.end("api", 0);
    assert_eq!(set.word("db"), Word::Stopping);

    let mut set = begun();
    let ids: Vec<ServiceId> = ["db", "migrate", "api"].map(|own| set.supervisor.id(own).unwrap()).to_vec();
    let stops = ids.into_iter().map(|id| (id, None));
    set.supervisor.stop_together(stops, StopReason::Manual, &OPERATOR, set.now);
    set.settle();
    assert_eq!(["db", "api"].map(|own| set.word(own)), [Word::Running, Word::Stopping]);
    set.end("api", 0);
    assert_eq!(set.word("db"), Word::Stopping);
}

#[test]
fn stops_of_several_go_dependents_first() {
    let mut set = Set::up(&spec(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[])]));
    let ids: Vec<ServiceId> = ["a", "b", "c", "d"].map(|own| set.supervisor.id(own).unwrap()).to_vec();
    let tickets = (1..).map(|number| Some(Ticket(number)));
    set.supervisor.stop_together(ids.into_iter().zip(tickets), StopReason::Manual, &OPERATOR, set.now);
    set.settle();
    assert_eq!(["a", "b", "c", "d"].map(|own| set.word(own)), [Word::Running, Word::Running, Word::Stopping, Word::Stopping]);
    set.end("c", 1);
    assert_eq!(["a", "b", "c"].map(|own| set.word(own)), [Word::Running, Word::Stopping, Word::Stopped]);
    // A newer wish overtakes the stop that is held, and nobody is left behind it.
    set.order("a", RESTART);
    assert_eq!(set.word("a"), Word::Stopping);
    assert!(set.answers.contains(&(Ticket(1), Outcome::Overtaken(OPERATOR))), "{:?}", set.answers);
    set.end("b", 1);
    set.end("a", 1);
    assert_eq!(["a", "b"].map(|own| set.word(own)), [Word::Starting, Word::Stopped]);
}

#[test]
fn a_held_stop_of_what_crashes_meanwhile_is_done() {
    let mut set = Set::up(&spec(&[("a", &[]), ("b", &["a"])]));
    let ids = ["a", "b"].map(|own| (set.supervisor.id(own).unwrap(), None));
    set.supervisor.stop_together(ids, StopReason::Manual, &OPERATOR, set.now);
    set.settle();
    set.end("a", 1);
    assert_eq!(["a", "b"].map(|own| set.word(own)), [Word::Stopped, Word::Stopping], "no backoff for what is to be down");
}
