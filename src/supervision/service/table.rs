//! Every cell of the table: each state, driven into by its usual road, gets each event; the word it ends in and what it wants
//! done are written out. And the corners of the contract that one service alone decides.

use std::sync::Arc;
use std::time::Duration;

use super::{Service, Target};
use crate::spec::{self, Backoff, Definition, LogLimits, Notify, Policy, Probe, Ready, Restart};
use crate::supervision::message::{Action, Event, Fact, Gate, Order, Outcome, Remains, Ticket, Wish};
use crate::value::{ByteSize, ExitStatus, Moment, Run, ServiceName, Signal};
use crate::wire::State as Word;
use crate::wire::event::{Actor, Ending, Kind, LaunchFacts, Next, ReadyBy, StartReason, StopReason};

const OPERATOR: Actor = Actor::Client(0);
const START: Wish = Wish::Start(StartReason::Manual);
const RESTART: Wish = Wish::Restart(StartReason::Restart);
const STOP: Wish = Wish::Stop { reason: StopReason::Manual, within: None };

/// One service and a clock.
struct Bench {
    service: Service,
    now: Moment,
    tickets: u64,
}

impl Bench {
    fn new(spec: spec::Service) -> Self {
        Self { service: Service::new(Arc::new(spec)), now: Moment::from_nanos(0), tickets: 0 }
    }

    fn with_policy(policy: Policy) -> Self {
        Self::new(spec::Service { policy, ..probed() })
    }

    fn on(&mut self, event: Event) -> String {
        let mut actions = Vec::new();
        self.service.on(event, self.now, &mut actions);
        actions.iter().map(short).collect::<Vec<_>>().join(" ")
    }

    fn order(&mut self, wish: Wish) -> String {
        self.tickets += 1;
        self.on(Event::Order(Order { wish, actor: OPERATOR, ticket: Some(Ticket(self.tickets)) }))
    }

    fn fact(&mut self, fact: Fact) -> String {
        self.on(Event::Fact(self.service.run(), fact))
    }

    fn pass(&mut self, ms: u64) -> String {
        self.now = self.now + Duration::from_millis(ms);
        self.on(Event::Deadline)
    }

    fn word(&self) -> Word {
        self.service.word()
    }

    fn launch(&mut self) {
        self.on(Event::Gate(Gate::Open));
        self.fact(Fact::Spawned { pid: 7 });
        self.fact(Fact::Executed);
    }

    /// From the gate to readiness.
    fn come_up(&mut self) {
        self.launch();
        self.fact(Fact::Ready(ReadyBy::Notify));
        assert_eq!(self.word(), Word::Running);
    }

    fn end(&mut self, code: u8) -> String {
        let killing = self.fact(Fact::Exited(ExitStatus::Code(code)));
        assert!(killing.is_empty() || killing == "KILL", "{killing}");
        self.fact(Fact::Gone(Remains::default()))
    }

    fn stage(stage: Stage) -> Self {
        let restart = if matches!(stage, Stage::Ended | Stage::Failed) { Restart::Never } else { Restart::Always };
        let mut bench = Self::with_policy(Policy { restart, ..Policy::default() });
        if stage == Stage::Down {
            return bench;
        }
        bench.on(Event::Order(Order { wish: START, actor: OPERATOR, ticket: None }));
        match stage {
            Stage::Down | Stage::Waiting => {}
            Stage::Launching => drop(bench.on(Event::Gate(Gate::Open))),
            Stage::Starting => bench.launch(),
            Stage::Up | Stage::Stopping | Stage::Killing | Stage::Stuck | Stage::Backoff | Stage::Ended | Stage::Failed => {
                bench.come_up();
            }
        }
        match stage {
            Stage::Stopping | Stage::Killing | Stage::Stuck => {
                bench.on(Event::Order(Order { wish: STOP, actor: OPERATOR, ticket: None }));
            }
            Stage::Backoff | Stage::Failed => drop(bench.end(1)),
            Stage::Ended => drop(bench.end(0)),
            _ => {}
        }
        if matches!(stage, Stage::Killing | Stage::Stuck) {
            bench.pass(5_000);
        }
        if stage == Stage::Stuck {
            bench.pass(2_000);
            assert!(bench.service.is_stuck());
        }
        bench
    }
}

/// The states of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Down,
    Waiting,
    Launching,
    Starting,
    Up,
    Stopping,
    Killing,
    Stuck,
    Backoff,
    Ended,
    Failed,
}

fn probed() -> spec::Service {
    let ready =
        Ready { probe: Probe::Notify(Notify::Systemd), interval: Duration::from_millis(500), timeout: Duration::from_secs(10) };
    spec::Service {
        name: ServiceName::parse("web").unwrap(),
        definition: definition("old", Some(ready)),
        policy: Policy::default(),
    }
}

fn definition(program: &str, ready: Option<Ready>) -> Definition {
    crate::supervision::sim::definition_of(program, Vec::new(), ready)
}

/// An action in a word or two.
fn short(action: &Action) -> String {
    match action {
        Action::Launch(run) => format!("launch:{run}"),
        Action::Signal(_, Signal::KILL, _) => "KILL".to_owned(),
        Action::Signal(_, signal, _) => signal.to_string(),
        Action::AskReady(_) => "ask".to_owned(),
        Action::WatchHealth(_) => "watch".to_owned(),
        Action::LimitLog(_) => "limit-log".to_owned(),
        Action::Forget => "forget".to_owned(),
        Action::Answer(ticket, outcome) => {
            let word = match outcome {
                Outcome::Done => "done",
                Outcome::Unchanged => "unchanged",
                Outcome::Failed(_) => "failed",
                Outcome::Overtaken(_) => "overtaken",
            };
            format!("{word}#{}", ticket.0)
        }
        Action::Tell(kind, ..) => match kind {
            Kind::Start { .. } => "start".to_owned(),
            Kind::Ready { .. } => "ready".to_owned(),
            Kind::Exit(_) => "exit".to_owned(),
            Kind::Crash { next, .. } => format!("crash:{next:?}"),
            Kind::Backoff { attempt, delay_ms, .. } => format!("backoff:{attempt}:{delay_ms}"),
            Kind::Recovered { crashes, .. } => format!("recovered:{crashes}"),
            Kind::GaveUp { crashes, .. } => format!("gave-up:{crashes}"),
            Kind::Stopping { reason, .. } => format!("stopping:{reason:?}"),
            Kind::Stop { reason, forced, .. } => format!("stop:{reason:?}{}", if *forced { ":forced" } else { "" }),
            Kind::Stuck { .. } => "stuck".to_owned(),
            other => format!("{other:?}"),
        },
    }
}

type Cell = (Stage, Word, &'static str);

/// Applies an event in every state.
fn row(name: &str, cells: [Cell; 11], mut act: impl FnMut(&mut Bench) -> String) {
    for (stage, word, actions) in cells {
        let mut bench = Bench::stage(stage);
        let wanted = act(&mut bench);
        assert_eq!((bench.word(), wanted.as_str()), (word, actions), "{name} in {stage:?}");
    }
}

#[test]
fn start_in_every_state() {
    row(
        "start",
        [
            (Stage::Down, Word::Waiting, ""),
            (Stage::Waiting, Word::Waiting, ""),
            (Stage::Launching, Word::Starting, ""),
            (Stage::Starting, Word::Starting, ""),
            (Stage::Up, Word::Running, "unchanged#1"),
            (Stage::Stopping, Word::Stopping, ""),
            (Stage::Killing, Word::Stopping, ""),
            (Stage::Stuck, Word::Stopping, ""),
            (Stage::Backoff, Word::Waiting, ""),
            (Stage::Ended, Word::Waiting, ""),
            (Stage::Failed, Word::Waiting, ""),
        ],
        |bench| bench.order(START),
    );
}

#[test]
fn stop_in_every_state() {
    row(
        "stop",
        [
            (Stage::Down, Word::Stopped, "unchanged#1"),
            (Stage::Waiting, Word::Stopped, "done#1"),
            (Stage::Launching, Word::Stopping, "stopping:Manual SIGTERM"),
            (Stage::Starting, Word::Stopping, "stopping:Manual SIGTERM"),
            (Stage::Up, Word::Stopping, "stopping:Manual SIGTERM"),
            (Stage::Stopping, Word::Stopping, ""),
            (Stage::Killing, Word::Stopping, ""),
            (Stage::Stuck, Word::Stopping, "failed#1"),
            (Stage::Backoff, Word::Stopped, "stop:Manual done#1"),
            (Stage::Ended, Word::Stopped, "unchanged#1"),
            (Stage::Failed, Word::Stopped, "stop:Manual unchanged#1"),
        ],
        |bench| bench.order(STOP),
    );
}

#[test]
fn restart_in_every_state() {
    row(
        "restart",
        [
            (Stage::Down, Word::Waiting, ""),
            (Stage::Waiting, Word::Waiting, ""),
            (Stage::Launching, Word::Stopping, "stopping:Restart SIGTERM"),
            (Stage::Starting, Word::Stopping, "stopping:Restart SIGTERM"),
            (Stage::Up, Word::Stopping, "stopping:Restart SIGTERM"),
            (Stage::Stopping, Word::Stopping, ""),
            (Stage::Killing, Word::Stopping, ""),
            (Stage::Stuck, Word::Stopping, ""),
            (Stage::Backoff, Word::Waiting, ""),
            (Stage::Ended, Word::Waiting, ""),
            (Stage::Failed, Word::Waiting, ""),
        ],
        |bench| bench.order(RESTART),
    );
}

#[test]
fn kill_in_every_state() {
    row(
        "kill",
        [
            (Stage::Down, Word::Stopped, "unchanged#1"),
            (Stage::Waiting, Word::Stopped, "done#1"),
            (Stage::Launching, Word::Stopping, "KILL"),
            (Stage::Starting, Word::Stopping, "KILL"),
            (Stage::Up, Word::Stopping, "KILL"),
            (Stage::Stopping, Word::Stopping, "KILL"),
            (Stage::Killing, Word::Stopping, ""),
            (Stage::Stuck, Word::Stopping, "failed#1"),
            (Stage::Backoff, Word::Stopped, "stop:Manual done#1"),
            (Stage::Ended, Word::Stopped, "unchanged#1"),
            (Stage::Failed, Word::Stopped, "stop:Manual unchanged#1"),
        ],
        |bench| bench.order(Wish::Kill),
    );
}

#[test]
fn retire_in_every_state() {
    row(
        "retire",
        [
            (Stage::Down, Word::Stopped, ""),
            (Stage::Waiting, Word::Stopped, ""),
            (Stage::Launching, Word::Starting, ""),
            (Stage::Starting, Word::Starting, ""),
            (Stage::Up, Word::Running, ""),
            (Stage::Stopping, Word::Stopping, ""),
            (Stage::Killing, Word::Stopping, ""),
            (Stage::Stuck, Word::Stopping, ""),
            (Stage::Backoff, Word::Stopped, "stop:Shutdown"),
            (Stage::Ended, Word::Exited, ""),
            (Stage::Failed, Word::Failed, ""),
        ],
        |bench| bench.on(Event::Order(Order { wish: Wish::Retire, actor: OPERATOR, ticket: None })),
    );
}

#[test]
fn an_open_gate_matters_only_to_who_waits() {
    let cells = [
        Stage::Down,
        Stage::Launching,
        Stage::Starting,
        Stage::Up,
        Stage::Stopping,
        Stage::Killing,
        Stage::Stuck,
        Stage::Backoff,
        Stage::Ended,
        Stage::Failed,
    ];
    for stage in cells {
        for gate in [Gate::Open, Gate::Failed("db".to_owned())] {
            let mut bench = Bench::stage(stage);
            let before = format!("{:?}", bench.service);
            assert_eq!(bench.on(Event::Gate(gate)), "");
            assert_eq!(format!("{:?}", bench.service), before, "{stage:?}");
        }
    }
    assert_eq!(Bench::stage(Stage::Waiting).on(Event::Gate(Gate::Open)), "launch:1");
    let mut waiting = Bench::stage(Stage::Waiting);
    waiting.order(START);
    assert_eq!(waiting.on(Event::Gate(Gate::Failed("dependency db failed".to_owned()))), "failed#1");
    assert_eq!((waiting.word(), waiting.service.final_code()), (Word::Failed, Some(1)));
}

/// States without a live run: whatever is said of a run is late.
const LIFELESS: [Stage; 5] = [Stage::Down, Stage::Waiting, Stage::Backoff, Stage::Ended, Stage::Failed];

#[test]
fn facts_of_a_run_that_is_gone_change_nothing() {
    for stage in LIFELESS {
        for fact in [
            Fact::Spawned { pid: 9 },
            Fact::Executed,
            Fact::LaunchFailed(launch_failure()),
            Fact::Ready(ReadyBy::Notify),
            Fact::Unhealthy,
            Fact::Exited(ExitStatus::Code(3)),
            Fact::Gone(Remains::default()),
        ] {
            let mut bench = Bench::stage(stage);
            let before = format!("{:?}", bench.service);
            assert_eq!(bench.fact(fact.clone()), "", "{stage:?}: {fact:?}");
            assert_eq!(format!("{:?}", bench.service), before, "{stage:?}: {fact:?}");
        }
    }
}

fn launch_failure() -> LaunchFacts {
    LaunchFacts { stage: "exec", message: "no such file".to_owned() }
}

#[test]
fn each_fact_in_each_state_with_a_live_run() {
    let (executed, ready) = (Fact::Executed, Fact::Ready(ReadyBy::Notify));
    let (exited, gone) = (Fact::Exited(ExitStatus::Code(3)), Fact::Gone(Remains::default()));
    let failed = Fact::LaunchFailed(launch_failure());
    for (stage, fact, word, actions) in [
        (Stage::Launching, &executed, Word::Starting, "start ask"),
        (Stage::Launching, &ready, Word::Running, "start ask ready"),
        (Stage::Launching, &Fact::Unhealthy, Word::Starting, ""),
        (Stage::Launching, &exited, Word::Stopping, "KILL"),
        (Stage::Launching, &failed, Word::Stopping, "KILL"),
        (Stage::Launching, &gone, Word::Backoff, "crash:Backoff backoff:1:1000"),
        (Stage::Starting, &executed, Word::Starting, ""),
        (Stage::Starting, &ready, Word::Running, "ready"),
        (Stage::Starting, &Fact::Unhealthy, Word::Starting, ""),
        (Stage::Starting, &exited, Word::Stopping, "KILL"),
        (Stage::Up, &executed, Word::Running, ""),
        (Stage::Up, &ready, Word::Running, ""),
        (Stage::Up, &Fact::Unhealthy, Word::Stopping, "stopping:Health SIGTERM"),
        (Stage::Up, &exited, Word::Stopping, "KILL"),
        (Stage::Stopping, &executed, Word::Stopping, ""),
        (Stage::Stopping, &ready, Word::Stopping, ""),
        (Stage::Stopping, &Fact::Unhealthy, Word::Stopping, ""),
        (Stage::Stopping, &exited, Word::Stopping, ""),
        (Stage::Killing, &ready, Word::Stopping, ""),
        (Stage::Killing, &Fact::Unhealthy, Word::Stopping, ""),
        (Stage::Killing, &exited, Word::Stopping, ""),
        (Stage::Stuck, &ready, Word::Stopping, ""),
        (Stage::Stuck, &Fact::Unhealthy, Word::Stopping, ""),
        (Stage::Stuck, &exited, Word::Stopping, ""),
    ] {
        let mut bench = Bench::stage(stage);
        let wanted = bench.fact(fact.clone());
        assert_eq!((bench.word(), wanted.as_str()), (word, actions), "{fact:?} in {stage:?}");
    }
    for (stage, stop) in [(Stage::Stopping, "exit stop:Manual"), (Stage::Killing, "exit stop:Manual:forced")] {
        let mut bench = Bench::stage(stage);
        bench.fact(exited.clone());
        assert_eq!(bench.fact(gone.clone()), stop);
        assert_eq!(bench.word(), Word::Stopped);
    }
    let mut stuck = Bench::stage(Stage::Stuck);
    stuck.fact(exited);
    assert_eq!(stuck.fact(gone), "exit stop:Manual:forced");
}

#[test]
fn each_deadline() {
    for (stage, ms, word, actions) in [
        (Stage::Starting, 10_000, Word::Stopping, "stopping:NotReady SIGTERM"),
        (Stage::Stopping, 5_000, Word::Stopping, "KILL"),
        (Stage::Killing, 2_000, Word::Stopping, "stuck KILL"),
        (Stage::Stuck, 60_000, Word::Stopping, "stuck KILL"),
        (Stage::Backoff, 1_000, Word::Waiting, ""),
    ] {
        let mut bench = Bench::stage(stage);
        let before = format!("{:?}", bench.service);
        assert_eq!(bench.pass(ms - 1), "", "early in {stage:?}");
        assert_eq!(format!("{:?}", bench.service), before, "early in {stage:?}");
        assert_eq!((bench.pass(1).as_str(), bench.word()), (actions, word), "{stage:?}");
        assert!(bench.service.deadline().is_none_or(|at| at > bench.now), "{stage:?}");
    }
    for stage in [Stage::Down, Stage::Waiting, Stage::Launching, Stage::Up, Stage::Ended, Stage::Failed] {
        assert_eq!(Bench::stage(stage).service.deadline(), None, "{stage:?}");
        assert_eq!(Bench::stage(stage).pass(1_000_000), "", "{stage:?}");
    }
}

#[test]
fn a_fact_of_another_run_changes_nothing() {
    let mut bench = Bench::stage(Stage::Up);
    let before = format!("{:?}", bench.service);
    for run in [Run(0), Run(2)] {
        assert_eq!(bench.on(Event::Fact(run, Fact::Exited(ExitStatus::Code(1)))), "");
        assert_eq!(bench.on(Event::Fact(run, Fact::Gone(Remains::default()))), "");
    }
    assert_eq!(format!("{:?}", bench.service), before);
}

// The corners of the contract

fn patient() -> Policy {
    Policy { backoff: Backoff { initial: Duration::from_secs(60), ..Backoff::default() }, ..Policy::default() }
}

fn crashed(policy: Policy) -> Bench {
    let mut bench = Bench::with_policy(policy);
    bench.order(START);
    bench.come_up();
    bench.end(1);
    bench
}

#[test]
fn a_stop_during_a_long_backoff_settles_at_once() {
    let mut bench = crashed(patient());
    assert_eq!((bench.word(), bench.order(STOP).as_str()), (Word::Backoff, "stop:Manual done#2"));
    assert_eq!((bench.word(), bench.service.deadline()), (Word::Stopped, None));
}

#[test]
fn a_start_in_backoff_launches_now_and_resets_it() {
    let mut bench = crashed(patient());
    bench.order(START);
    assert_eq!(bench.on(Event::Gate(Gate::Open)), "launch:2");
    bench.fact(Fact::Executed);
    bench.fact(Fact::Ready(ReadyBy::Notify));
    assert_eq!(bench.end(1), "exit crash:Backoff backoff:1:60000");
}

#[test]
fn a_stop_overtakes_a_start_and_a_start_a_stop() {
    let mut bench = Bench::new(probed());
    bench.order(START);
    bench.launch();
    assert_eq!(bench.order(STOP), "overtaken#1 stopping:Manual SIGTERM");
    assert_eq!(bench.order(START), "overtaken#2");
    bench.fact(Fact::Exited(ExitStatus::Code(0)));
    assert_eq!(bench.fact(Fact::Gone(Remains::default())), "exit stop:Manual");
    assert_eq!((bench.word(), bench.service.target()), (Word::Waiting, Target::Up));
    bench.launch();
    assert_eq!(bench.fact(Fact::Ready(ReadyBy::Notify)), "ready done#3");
}

#[test]
fn a_kill_overtakes_who_waits_for_readiness() {
    let mut bench = Bench::new(probed());
    bench.order(START);
    bench.launch();
    assert_eq!(bench.order(Wish::Kill), "overtaken#1 KILL");
    bench.fact(Fact::Exited(ExitStatus::Signal { signal: Signal::KILL, core: false }));
    assert_eq!(bench.fact(Fact::Gone(Remains::default())), "exit stop:Manual:forced done#2");
}

#[test]
fn a_retired_service_is_never_launched_again() {
    let mut bench = Bench::stage(Stage::Down);
    bench.on(Event::Order(Order { wish: Wish::Retire, actor: OPERATOR, ticket: None }));
    assert_eq!((bench.order(START).as_str(), bench.word()), ("failed#1", Word::Stopped));
    // Also not one that was to come up again.
    let mut bench = Bench::stage(Stage::Up);
    bench.order(RESTART);
    assert_eq!(bench.on(Event::Order(Order { wish: Wish::Retire, actor: OPERATOR, ticket: None })), "overtaken#1");
    assert_eq!((bench.end(0).as_str(), bench.word()), ("exit stop:Shutdown", Word::Stopped));
}

#[test]
fn a_removed_service_is_not_started_but_forgotten() {
    let mut bench = Bench::stage(Stage::Up);
    bench.service.set_removed(true);
    bench.order(STOP);
    assert_eq!(bench.order(START), "failed#2");
    assert_eq!(bench.end(0), "exit stop:Manual done#1 forget");
}

fn changed() -> Arc<spec::Service> {
    Arc::new(spec::Service { definition: definition("new", None), ..probed() })
}

fn program(bench: &Bench) -> String {
    bench.service.spec().definition.command.argv().join(" ")
}

#[test]
fn a_changed_definition_waits_for_an_explicit_restart() {
    let mut bench = Bench::stage(Stage::Up);
    bench.service.revise(changed(), &mut Vec::new());
    assert!(bench.service.definition_changed());
    bench.end(1);
    bench.pass(1_000);
    bench.come_up();
    assert_eq!((program(&bench).as_str(), bench.service.run()), ("old", Run(2)));
    bench.order(RESTART);
    bench.end(0);
    assert_eq!((program(&bench).as_str(), bench.service.definition_changed()), ("new", false));
}

#[test]
fn a_changed_definition_is_taken_over_at_once_where_nothing_runs() {
    for stage in LIFELESS {
        let mut bench = Bench::stage(stage);
        bench.service.revise(changed(), &mut Vec::new());
        assert_eq!((program(&bench).as_str(), bench.service.definition_changed()), ("new", false), "{stage:?}");
    }
    // Also by a start of one that waits to be relaunched from the old one.
    let mut bench = Bench::stage(Stage::Up);
    bench.service.revise(changed(), &mut Vec::new());
    bench.end(1);
    bench.pass(1_000);
    assert_eq!((bench.word(), program(&bench).as_str()), (Word::Waiting, "old"));
    bench.order(START);
    assert_eq!(program(&bench), "new");
}

#[test]
fn a_changed_policy_is_taken_over_at_once() {
    let mut bench = crashed(Policy::default());
    bench.pass(1_000);
    bench.come_up();
    let limits = LogLimits { max_size: ByteSize::mebibytes(9), keep: 2 };
    let backoff = Backoff { reset_after: Duration::from_secs(5), ..Backoff::default() };
    let policy = Policy { stop_grace: Duration::from_secs(1), log: limits, backoff, ..Policy::default() };
    let mut actions = Vec::new();
    bench.service.revise(Arc::new(spec::Service { policy, ..(*changed()).clone() }), &mut actions);
    assert!(matches!(actions.as_slice(), [Action::LimitLog(taken)] if *taken == limits), "{actions:?}");
    assert_eq!(bench.service.deadline(), Some(bench.now + Duration::from_secs(5)));
    bench.order(STOP);
    assert_eq!(bench.service.deadline(), Some(bench.now + Duration::from_secs(1)));
}

#[test]
fn it_gives_up_after_so_many_crashes_in_a_row() {
    let backoff = Backoff { give_up_after: Some(2), ..Backoff::default() };
    let mut bench = crashed(Policy { backoff, ..Policy::default() });
    bench.pass(1_000);
    bench.order(STOP);
    // A stop forgets; two more crashes are needed.
    bench.order(START);
    bench.come_up();
    assert_eq!(bench.end(1), "exit crash:Backoff backoff:1:1000");
    bench.pass(1_000);
    bench.launch();
    assert_eq!(bench.end(4), "exit crash:GaveUp gave-up:2");
    assert_eq!((bench.word(), bench.service.final_code()), (Word::Failed, Some(4)));
    assert_eq!(bench.order(STOP), "unchanged#4");
}

#[test]
fn a_long_run_forgives_at_its_deadline() {
    let mut bench = crashed(Policy::default());
    bench.pass(1_000);
    bench.come_up();
    assert_eq!(bench.pass(60_000), "recovered:1");
    assert_eq!((bench.service.crashes(), bench.service.deadline()), (0, None));
    assert_eq!(bench.end(1), "exit crash:Backoff backoff:1:1000");
}

#[test]
fn a_long_run_forgives_also_where_its_end_comes_before_the_tick() {
    let mut bench = crashed(Policy::default());
    bench.pass(1_000);
    bench.come_up();
    bench.now = bench.now + Duration::from_secs(61);
    assert_eq!(bench.end(1), "recovered:1 exit crash:Backoff backoff:1:1000");
}

/// With the defaults `ready.timeout` and `reset_after` are both 60 s: else nothing would ever give up.
#[test]
fn a_run_that_was_never_ready_forgives_nothing() {
    let backoff = Backoff { give_up_after: Some(2), reset_after: Duration::from_secs(10), ..Backoff::default() };
    let mut bench = Bench::with_policy(Policy { backoff, ..Policy::default() });
    bench.order(START);
    for last in ["exit crash:Backoff backoff:1:1000 failed#1", "exit crash:GaveUp gave-up:2"] {
        bench.launch();
        assert_eq!(bench.pass(10_000), "stopping:NotReady SIGTERM");
        assert_eq!(bench.end(0), last);
        bench.pass(1_000);
    }
}

#[test]
fn not_ready_in_time_is_a_crash_under_every_policy() {
    for (restart, last, word) in [
        (Restart::Always, "exit crash:Backoff backoff:1:1000 failed#1", Word::Backoff),
        (Restart::OnCrash, "exit crash:Backoff backoff:1:1000 failed#1", Word::Backoff),
        (Restart::Never, "exit crash:None failed#1", Word::Failed),
    ] {
        let mut bench = Bench::with_policy(Policy { restart, ..Policy::default() });
        bench.order(START);
        bench.launch();
        bench.pass(10_000);
        assert_eq!((bench.end(0).as_str(), bench.word()), (last, word), "{restart:?}");
    }
}

#[test]
fn what_follows_an_end_is_the_policy_s() {
    for (restart, code, last, word) in [
        (Restart::Always, 0, "exit backoff:1:1000", Word::Backoff),
        (Restart::Always, 1, "exit crash:Backoff backoff:1:1000", Word::Backoff),
        (Restart::OnCrash, 0, "exit", Word::Exited),
        (Restart::OnCrash, 1, "exit crash:Backoff backoff:1:1000", Word::Backoff),
        (Restart::Never, 0, "exit", Word::Exited),
        (Restart::Never, 1, "exit crash:None", Word::Failed),
    ] {
        let mut bench = Bench::with_policy(Policy { restart, ..Policy::default() });
        bench.order(START);
        bench.come_up();
        assert_eq!((bench.end(code).as_str(), bench.word()), (last, word), "{restart:?} {code}");
    }
}

#[test]
fn a_crash_while_an_operator_restarts_it_skips_the_backoff() {
    let mut bench = Bench::stage(Stage::Up);
    bench.fact(Fact::Exited(ExitStatus::Code(1)));
    bench.order(RESTART);
    assert_eq!(bench.fact(Fact::Gone(Remains::default())), "exit crash:None");
    assert_eq!(bench.word(), Word::Waiting);
}

#[test]
fn who_waits_for_a_restart_learns_that_the_new_run_crashed() {
    let mut bench = Bench::stage(Stage::Up);
    bench.order(RESTART);
    assert_eq!(bench.end(0), "exit stop:Restart");
    bench.launch();
    assert_eq!(bench.end(1), "exit crash:Backoff backoff:1:1000 failed#1");
}

#[test]
fn a_stop_that_overtakes_a_restart_says_so_in_its_event() {
    let mut bench = Bench::stage(Stage::Up);
    bench.order(RESTART);
    assert_eq!(bench.order(STOP), "overtaken#1");
    assert_eq!((bench.end(0).as_str(), bench.word()), ("exit stop:Manual done#2", Word::Stopped));
}

#[test]
fn a_process_that_ends_before_its_program_runs_is_a_failed_launch() {
    let mut bench = Bench::stage(Stage::Launching);
    bench.fact(Fact::Exited(ExitStatus::Signal { signal: Signal::KILL, core: false }));
    let mut actions = Vec::new();
    bench.service.on(Event::Fact(Run(1), Fact::Gone(Remains::default())), bench.now, &mut actions);
    let crash = actions.iter().find_map(|action| match action {
        Action::Tell(Kind::Crash { ending: Ending::Launch(facts), next: Next::Backoff, .. }, ..) => Some(facts.message.as_str()),
        _ => None,
    });
    assert_eq!(crash, Some("it ended before its program ran: SIGKILL"));
}

#[test]
fn a_launch_that_was_called_off_tells_no_exit() {
    let mut bench = Bench::stage(Stage::Launching);
    bench.order(STOP);
    assert_eq!(bench.fact(Fact::Gone(Remains::default())), "stop:Manual done#1");
    assert!(bench.service.last().is_none());
}

#[test]
fn less_time_shortens_the_grace_and_never_lengthens_it() {
    let within = |ms| Wish::Stop { reason: StopReason::Shutdown, within: Some(Duration::from_millis(ms)) };
    for (ms, grace) in [(100, 100), (60_000, 5_000)] {
        let mut bench = Bench::stage(Stage::Up);
        bench.order(within(ms));
        assert_eq!(bench.service.deadline(), Some(bench.now + Duration::from_millis(grace)));
        bench.order(within(60_000));
        assert_eq!(bench.service.deadline(), Some(bench.now + Duration::from_millis(grace)));
        bench.order(within(50));
        assert_eq!(bench.service.deadline(), Some(bench.now + Duration::from_millis(50)));
    }
}
