//! The corners of the contract that one service alone decides, each by its name.

use std::sync::Arc;
use std::time::Duration;

use super::table::{Bench, LIFELESS, OPERATOR, RESTART, START, STOP, Stage, definition, probed};
use crate::spec::{self, Backoff, LogLimits, Policy, Restart};
use crate::supervision::message::{Action, Event, Fact, Gate, Order, Remains, Wish};
use crate::supervision::service::Target;
use crate::value::{ByteSize, ExitStatus, Run, Signal};
use crate::wire::State as Word;
use crate::wire::event::{Ending, Kind, Next, ReadyBy, StopReason};

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

/// Not since its last exit, which may be long ago.
#[test]
fn it_is_known_since_when_it_is_stopped() {
    let mut bench = crashed(patient());
    let crashed_at = bench.service.since();
    bench.pass(7_000);
    assert_eq!(bench.service.since(), crashed_at);
    bench.order(STOP);
    assert_eq!(bench.service.since(), crashed_at.map(|at| at + Duration::from_secs(7)));
    bench.pass(7_000);
    // It is stopped already.
    bench.order(STOP);
    assert_eq!(bench.service.since(), crashed_at.map(|at| at + Duration::from_secs(7)));
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
