//! Every cell of the table: each state, driven into by its usual road, gets each event; the word it ends in and what it wants
//! done are written out. The bench is `corners`' too.

use std::sync::Arc;
use std::time::Duration;

use super::Service;
use crate::spec::{self, Definition, Notify, Policy, Probe, Ready, Restart};
use crate::supervision::message::{Action, Event, Fact, Gate, HoldOrder, Order, Outcome, Remains, Ticket, Wish};
use crate::value::{ExitStatus, Moment, Run, ServiceName, Signal};
use crate::wire::State as Word;
use crate::wire::event::{Actor, Kind, LaunchFacts, ReadyBy, StartReason, StopReason};

pub(super) const OPERATOR: Actor = Actor::Client(0);
/// Not an operator: what it orders is asked about.
pub(super) const NOBODY: Actor = Actor::Supervisor;
pub(super) const START: Wish = Wish::Start(StartReason::Manual);
pub(super) const RESTART: Wish = Wish::Restart(StartReason::Restart);
pub(super) const STOP: Wish = Wish::Stop { reason: StopReason::Manual, within: None };

/// One service and a clock.
pub(super) struct Bench {
    pub(super) service: Service,
    pub(super) now: Moment,
    pub(super) tickets: u64,
}

impl Bench {
    pub(super) fn new(spec: spec::Service) -> Self {
        Self { service: Service::new(Arc::new(spec)), now: Moment::from_nanos(0), tickets: 0 }
    }

    pub(super) fn with_policy(policy: Policy) -> Self {
        Self::new(spec::Service { policy, ..probed() })
    }

    pub(super) fn on(&mut self, event: Event) -> String {
        let mut actions = Vec::new();
        self.service.on(event, self.now, &mut actions);
        actions.iter().map(short).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn order(&mut self, wish: Wish) -> String {
        self.tickets += 1;
        self.on(Event::Order(Order { wish, actor: OPERATOR, ticket: Some(Ticket(self.tickets)) }))
    }

    pub(super) fn order_by(&mut self, actor: Actor, wish: Wish) -> String {
        self.tickets += 1;
        self.on(Event::Order(Order { wish, actor, ticket: Some(Ticket(self.tickets)) }))
    }

    /// A hook's order to keep it down for so many seconds; 0 is until somebody ends it.
    pub(super) fn hold(&mut self, seconds: u64) -> String {
        self.tickets += 1;
        let length = (seconds > 0).then(|| Duration::from_secs(seconds));
        let ticket = Some(Ticket(self.tickets));
        self.on(Event::Hold(HoldOrder { actor: hook("x"), reason: "no".to_owned(), length, ticket }))
    }

    pub(super) fn fact(&mut self, fact: Fact) -> String {
        self.on(Event::Fact(self.service.run(), fact))
    }

    pub(super) fn pass(&mut self, ms: u64) -> String {
        self.now = self.now + Duration::from_millis(ms);
        self.on(Event::Deadline)
    }

    pub(super) fn word(&self) -> Word {
        self.service.word()
    }

    pub(super) fn launch(&mut self) {
        self.on(Event::Gate(Gate::Open));
        self.fact(Fact::Spawned { pid: 7 });
        self.fact(Fact::Executed);
    }

    /// From the gate to readiness.
    pub(super) fn come_up(&mut self) {
        self.launch();
        self.fact(Fact::Ready(ReadyBy::Notify));
        assert_eq!(self.word(), Word::Running);
    }

    pub(super) fn end(&mut self, code: u8) -> String {
        let killing = self.fact(Fact::Exited(ExitStatus::Code(code)));
        assert!(killing.is_empty() || killing == "KILL", "{killing}");
        self.fact(Fact::Gone(Remains::default()))
    }

    pub(super) fn stage(stage: Stage) -> Self {
        let restart = if matches!(stage, Stage::Ended | Stage::Failed) { Restart::Never } else { Restart::Always };
        let asks = matches!(stage, Stage::Preparing | Stage::Parting | Stage::Judging);
        let decisions = if asks { vec!["gate".to_owned()] } else { Vec::new() };
        let mut bench = Self::with_policy(Policy { restart, decisions, ..Policy::default() });
        if stage == Stage::Preparing {
            bench.on(Event::Order(Order { wish: START, actor: NOBODY, ticket: None }));
            assert_eq!(bench.on(Event::Gate(Gate::Open)), "ask:start");
            return bench;
        }
        if stage == Stage::Down {
            return bench;
        }
        bench.on(Event::Order(Order { wish: START, actor: OPERATOR, ticket: None }));
        match stage {
            Stage::Down | Stage::Waiting | Stage::Preparing => {}
            Stage::Held => {
                bench.hold(60);
                bench.tickets = 0;
            }
            Stage::Launching => drop(bench.on(Event::Gate(Gate::Open))),
            Stage::Starting => bench.launch(),
            Stage::Up
            | Stage::Parting
            | Stage::Stopping
            | Stage::Killing
            | Stage::Stuck
            | Stage::Judging
            | Stage::Backoff
            | Stage::Ended
            | Stage::Failed => bench.come_up(),
        }
        match stage {
            Stage::Stopping | Stage::Killing | Stage::Stuck => {
                bench.on(Event::Order(Order { wish: STOP, actor: OPERATOR, ticket: None }));
            }
            Stage::Parting => assert_eq!(bench.fact(Fact::Unhealthy), "ask:stop"),
            Stage::Backoff | Stage::Failed => drop(bench.end(1)),
            Stage::Judging => assert_eq!(bench.end(1), "exit crash:Backoff ask:restart"),
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
pub(super) enum Stage {
    Down,
    Waiting,
    Preparing,
    Launching,
    Starting,
    Up,
    Parting,
    Stopping,
    Killing,
    Stuck,
    Judging,
    Backoff,
    Held,
    Ended,
    Failed,
}

pub(super) fn hook(name: &str) -> Actor {
    Actor::Hook(name.into())
}

pub(super) fn probed() -> spec::Service {
    let ready =
        Ready { probe: Probe::Notify(Notify::Systemd), interval: Duration::from_millis(500), timeout: Duration::from_secs(10) };
    spec::Service {
        name: ServiceName::parse("web").unwrap(),
        definition: definition("old", Some(ready)),
        policy: Policy::default(),
    }
}

pub(super) fn definition(program: &str, ready: Option<Ready>) -> Definition {
    crate::supervision::sim::definition_of(program, Vec::new(), ready)
}

/// An action in a word or two.
pub(super) fn short(action: &Action) -> String {
    match action {
        Action::Launch(run) => format!("launch:{run}"),
        Action::Signal(_, Signal::KILL) => "KILL".to_owned(),
        Action::Signal(_, signal) => signal.to_string(),
        Action::AskReady(_) => "ask".to_owned(),
        Action::WatchHealth(_) => "watch".to_owned(),
        Action::LimitLog(_) => "limit-log".to_owned(),
        Action::Ask(question) => format!("ask:{}", question.case.point),
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
            Kind::Hold { by, for_ms, .. } => format!("hold:{by}{}", for_ms.map_or_else(String::new, |ms| format!(":{ms}"))),
            other => format!("{other:?}"),
        },
    }
}

type Cell = (Stage, Word, &'static str);

/// Applies an event in every state.
fn row(name: &str, cells: [Cell; 15], mut act: impl FnMut(&mut Bench) -> String) {
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
            (Stage::Preparing, Word::Waiting, ""),
            (Stage::Launching, Word::Starting, ""),
            (Stage::Starting, Word::Starting, ""),
            (Stage::Up, Word::Running, "unchanged#1"),
            (Stage::Parting, Word::Stopping, ""),
            (Stage::Stopping, Word::Stopping, ""),
            (Stage::Killing, Word::Stopping, ""),
            (Stage::Stuck, Word::Stopping, ""),
            (Stage::Judging, Word::Waiting, ""),
            (Stage::Backoff, Word::Waiting, ""),
            (Stage::Held, Word::Waiting, ""),
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
            (Stage::Preparing, Word::Stopped, "done#1"),
            (Stage::Launching, Word::Stopping, "stopping:Manual SIGTERM"),
            (Stage::Starting, Word::Stopping, "stopping:Manual SIGTERM"),
            (Stage::Up, Word::Stopping, "stopping:Manual SIGTERM"),
            (Stage::Parting, Word::Stopping, "stopping:Health SIGTERM"),
            (Stage::Stopping, Word::Stopping, ""),
            (Stage::Killing, Word::Stopping, ""),
            (Stage::Stuck, Word::Stopping, "failed#1"),
            (Stage::Judging, Word::Stopped, "stop:Manual done#1"),
            (Stage::Backoff, Word::Stopped, "stop:Manual done#1"),
            (Stage::Held, Word::Stopped, "done#1"),
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
            (Stage::Preparing, Word::Waiting, ""),
            (Stage::Launching, Word::Stopping, "stopping:Restart SIGTERM"),
            (Stage::Starting, Word::Stopping, "stopping:Restart SIGTERM"),
            (Stage::Up, Word::Stopping, "stopping:Restart SIGTERM"),
            (Stage::Parting, Word::Stopping, "stopping:Health SIGTERM"),
            (Stage::Stopping, Word::Stopping, ""),
            (Stage::Killing, Word::Stopping, ""),
            (Stage::Stuck, Word::Stopping, ""),
            (Stage::Judging, Word::Waiting, ""),
            (Stage::Backoff, Word::Waiting, ""),
            (Stage::Held, Word::Waiting, ""),
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
            (Stage::Preparing, Word::Stopped, "done#1"),
            (Stage::Launching, Word::Stopping, "KILL"),
            (Stage::Starting, Word::Stopping, "KILL"),
            (Stage::Up, Word::Stopping, "KILL"),
            (Stage::Parting, Word::Stopping, "KILL"),
            (Stage::Stopping, Word::Stopping, "KILL"),
            (Stage::Killing, Word::Stopping, ""),
            (Stage::Stuck, Word::Stopping, "failed#1"),
            (Stage::Judging, Word::Stopped, "stop:Manual done#1"),
            (Stage::Backoff, Word::Stopped, "stop:Manual done#1"),
            (Stage::Held, Word::Stopped, "done#1"),
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
            (Stage::Preparing, Word::Stopped, ""),
            (Stage::Launching, Word::Starting, ""),
            (Stage::Starting, Word::Starting, ""),
            (Stage::Up, Word::Running, ""),
            (Stage::Parting, Word::Stopping, ""),
            (Stage::Stopping, Word::Stopping, ""),
            (Stage::Killing, Word::Stopping, ""),
            (Stage::Stuck, Word::Stopping, ""),
            (Stage::Judging, Word::Stopped, "stop:Shutdown"),
            (Stage::Backoff, Word::Stopped, "stop:Shutdown"),
            (Stage::Held, Word::Stopped, ""),
            (Stage::Ended, Word::Exited, ""),
            (Stage::Failed, Word::Failed, ""),
        ],
        |bench| bench.on(Event::Order(Order { wish: Wish::Retire, actor: OPERATOR, ticket: None })),
    );
}

#[test]
fn a_scripts_start_in_every_state() {
    row(
        "start by a hook",
        [
            (Stage::Down, Word::Waiting, ""),
            (Stage::Waiting, Word::Waiting, ""),
            (Stage::Preparing, Word::Waiting, ""),
            (Stage::Launching, Word::Starting, ""),
            (Stage::Starting, Word::Starting, ""),
            (Stage::Up, Word::Running, "unchanged#1"),
            (Stage::Parting, Word::Stopping, ""),
            (Stage::Stopping, Word::Stopping, ""),
            (Stage::Killing, Word::Stopping, ""),
            (Stage::Stuck, Word::Stopping, ""),
            (Stage::Judging, Word::Waiting, ""),
            (Stage::Backoff, Word::Waiting, ""),
            (Stage::Held, Word::Waiting, "failed#1"),
            (Stage::Ended, Word::Waiting, ""),
            (Stage::Failed, Word::Waiting, ""),
        ],
        |bench| bench.order_by(hook("y"), Wish::Start(StartReason::Hook)),
    );
}

#[test]
fn hold_in_every_state() {
    row(
        "hold",
        [
            (Stage::Down, Word::Stopped, "unchanged#1"),
            (Stage::Waiting, Word::Waiting, "hold:hook:x:60000 done#1"),
            (Stage::Preparing, Word::Waiting, "hold:hook:x:60000 done#1"),
            (Stage::Launching, Word::Stopping, "hold:hook:x:60000 stopping:Hook SIGTERM"),
            (Stage::Starting, Word::Stopping, "hold:hook:x:60000 stopping:Hook SIGTERM"),
            (Stage::Up, Word::Stopping, "hold:hook:x:60000 stopping:Hook SIGTERM"),
            (Stage::Parting, Word::Stopping, "hold:hook:x:60000"),
            // An operator wants them down: that lasts longer than any hold.
            (Stage::Stopping, Word::Stopping, "unchanged#1"),
            (Stage::Killing, Word::Stopping, "unchanged#1"),
            (Stage::Stuck, Word::Stopping, "unchanged#1"),
            (Stage::Judging, Word::Waiting, "hold:hook:x:60000 done#1"),
            (Stage::Backoff, Word::Waiting, "hold:hook:x:60000 done#1"),
            (Stage::Held, Word::Waiting, "hold:hook:x:60000 done#1"),
            (Stage::Ended, Word::Exited, "unchanged#1"),
            (Stage::Failed, Word::Failed, "unchanged#1"),
        ],
        |bench| bench.hold(60),
    );
}

#[test]
fn release_in_every_state() {
    row(
        "release",
        [
            (Stage::Down, Word::Stopped, "unchanged#1"),
            (Stage::Waiting, Word::Waiting, "unchanged#1"),
            (Stage::Preparing, Word::Waiting, "unchanged#1"),
            (Stage::Launching, Word::Starting, "unchanged#1"),
            (Stage::Starting, Word::Starting, "unchanged#1"),
            (Stage::Up, Word::Running, "unchanged#1"),
            (Stage::Parting, Word::Stopping, "unchanged#1"),
            (Stage::Stopping, Word::Stopping, "unchanged#1"),
            (Stage::Killing, Word::Stopping, "unchanged#1"),
            (Stage::Stuck, Word::Stopping, "unchanged#1"),
            (Stage::Judging, Word::Backoff, "unchanged#1"),
            (Stage::Backoff, Word::Backoff, "unchanged#1"),
            (Stage::Held, Word::Waiting, ""),
            (Stage::Ended, Word::Exited, "unchanged#1"),
            (Stage::Failed, Word::Failed, "unchanged#1"),
        ],
        |bench| bench.order_by(hook("y"), Wish::Release),
    );
}

/// A question that is not the open one: an older one, or one that was never asked.
#[test]
fn a_stale_answer_changes_nothing_in_every_state() {
    for stage in EVERY {
        for question in [0, 2, 9] {
            let mut bench = Bench::stage(stage);
            let before = format!("{:?}", bench.service);
            assert_eq!(bench.fact(Fact::Advised { question, advice: None }), "", "{stage:?}");
            assert_eq!(format!("{:?}", bench.service), before, "{stage:?}");
        }
    }
}

#[test]
fn no_opinion_in_every_state() {
    row(
        "no opinion",
        [
            (Stage::Down, Word::Stopped, ""),
            (Stage::Waiting, Word::Waiting, ""),
            (Stage::Preparing, Word::Waiting, ""),
            (Stage::Launching, Word::Starting, ""),
            (Stage::Starting, Word::Starting, ""),
            (Stage::Up, Word::Running, ""),
            (Stage::Parting, Word::Stopping, "stopping:Health SIGTERM"),
            (Stage::Stopping, Word::Stopping, ""),
            (Stage::Killing, Word::Stopping, ""),
            (Stage::Stuck, Word::Stopping, ""),
            (Stage::Judging, Word::Backoff, "backoff:1:1000"),
            (Stage::Backoff, Word::Backoff, ""),
            (Stage::Held, Word::Waiting, ""),
            (Stage::Ended, Word::Exited, ""),
            (Stage::Failed, Word::Failed, ""),
        ],
        |bench| bench.fact(Fact::Advised { question: 1, advice: None }),
    );
}

#[test]
fn an_open_gate_matters_only_to_who_waits() {
    let cells = [
        Stage::Down,
        Stage::Preparing,
        Stage::Parting,
        Stage::Judging,
        Stage::Held,
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
pub(super) const LIFELESS: [Stage; 8] =
    [Stage::Down, Stage::Waiting, Stage::Preparing, Stage::Judging, Stage::Backoff, Stage::Held, Stage::Ended, Stage::Failed];

const EVERY: [Stage; 15] = [
    Stage::Down,
    Stage::Waiting,
    Stage::Preparing,
    Stage::Launching,
    Stage::Starting,
    Stage::Up,
    Stage::Parting,
    Stage::Stopping,
    Stage::Killing,
    Stage::Stuck,
    Stage::Judging,
    Stage::Backoff,
    Stage::Held,
    Stage::Ended,
    Stage::Failed,
];

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
        (Stage::Parting, &executed, Word::Stopping, ""),
        (Stage::Parting, &ready, Word::Stopping, ""),
        (Stage::Parting, &Fact::Unhealthy, Word::Stopping, ""),
        (Stage::Parting, &exited, Word::Stopping, "stopping:Health SIGTERM"),
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

/// P12: what SIGKILL does not end is killed and reported once a minute, not ten times a second.
#[test]
fn each_deadline() {
    for (stage, ms, word, actions) in [
        (Stage::Starting, 10_000, Word::Stopping, "stopping:NotReady SIGTERM"),
        (Stage::Stopping, 5_000, Word::Stopping, "KILL"),
        (Stage::Killing, 2_000, Word::Stopping, "stuck KILL"),
        (Stage::Stuck, 60_000, Word::Stopping, "stuck KILL"),
        (Stage::Preparing, 2_000, Word::Waiting, ""),
        (Stage::Parting, 1_250, Word::Stopping, "stopping:Health SIGTERM"),
        (Stage::Judging, 500, Word::Backoff, "backoff:1:1000"),
        (Stage::Backoff, 1_000, Word::Waiting, ""),
        (Stage::Held, 60_000, Word::Waiting, ""),
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
