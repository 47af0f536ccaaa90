//! What each answer of a script does, and what holds do: the corners of the contract's 8.6 that one service alone decides.

use std::time::Duration;

use super::table::{Bench, NOBODY, OPERATOR, RESTART, START, STOP, Stage, hook, short};
use crate::spec::{Backoff, Policy, Restart};
use crate::supervision::message::{Action, Advice, Event, Fact, Gate, Order, Remains, Wish};
use crate::value::json;
use crate::value::{ExitStatus, Signal};
use crate::wire::State as Word;
use crate::wire::advice::{CaseFacts, Point, Step, Verdict};
use crate::wire::event::{StartReason, StopReason};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn advice(step: Step) -> Option<Advice> {
    Some(Advice { by: hook("gate"), verdict: Verdict { step, reason: "r".to_owned() } })
}

fn asked(policy: Policy) -> Policy {
    Policy { decisions: vec!["gate".to_owned()], ..policy }
}

impl Bench {
    /// The answer to the open question.
    fn answer(&mut self, step: Step) -> String {
        let question = self.service.question().expect("a question is open");
        self.fact(Fact::Advised { question, advice: advice(step) })
    }

    /// When its deadline is, from now.
    fn due_ms(&self) -> Option<u64> {
        self.service.deadline().map(|at| u64::try_from(at.since(self.now).as_millis()).unwrap())
    }
}

#[test]
fn each_answer_before_a_start() {
    for (step, wanted, due, at_due) in [
        (Step::Allow, "", None, ""),
        (Step::Delay(secs(0)), "", None, ""),
        (Step::Delay(secs(30)), "", Some(30_000), ""),
        (Step::Delay(secs(7_200)), "", Some(3_600_000), ""),
        (Step::Deny, "hold:hook:gate:60000", Some(60_000), "ask:start"),
        // Answers to other questions: as without one.
        (Step::GiveUp, "", None, ""),
        (Step::Hold(None), "", None, ""),
        (Step::Drain(secs(1)), "", None, ""),
    ] {
        let mut bench = Bench::stage(Stage::Preparing);
        assert_eq!((bench.answer(step).as_str(), bench.due_ms()), (wanted, due), "{step:?}");
        assert_eq!((bench.word(), bench.service.question()), (Word::Waiting, None), "{step:?}");
        if let Some(ms) = due {
            assert_eq!(bench.pass(ms - 1), "", "{step:?}");
            bench.pass(1);
        }
        // What it needs is looked at once more; who was denied is asked about again.
        let then = if at_due.is_empty() { "launch:1" } else { at_due };
        assert_eq!(bench.on(Event::Gate(Gate::Open)), then, "{step:?}");
    }
}

#[test]
fn each_answer_after_a_crash() {
    for (step, wanted, word, due) in [
        (Step::Restart, "backoff:1:1000", Word::Backoff, Some(1_000)),
        (Step::Delay(secs(0)), "backoff:1:0", Word::Waiting, None),
        (Step::Delay(secs(30)), "backoff:1:30000", Word::Backoff, Some(30_000)),
        (Step::Delay(secs(90_000)), "backoff:1:3600000", Word::Backoff, Some(3_600_000)),
        (Step::Hold(Some(secs(3_600))), "hold:hook:gate:3600000", Word::Waiting, Some(3_600_000)),
        (Step::Hold(Some(secs(90_000))), "hold:hook:gate:3600000", Word::Waiting, Some(3_600_000)),
        (Step::Hold(None), "hold:hook:gate:600000", Word::Waiting, Some(600_000)),
        (Step::GiveUp, "gave-up:1", Word::Failed, None),
        (Step::Allow, "backoff:1:1000", Word::Backoff, Some(1_000)),
        (Step::Deny, "backoff:1:1000", Word::Backoff, Some(1_000)),
    ] {
        let mut bench = Bench::stage(Stage::Judging);
        assert_eq!((bench.answer(step).as_str(), bench.word(), bench.due_ms()), (wanted, word, due), "{step:?}");
    }
    let mut gave_up = Bench::stage(Stage::Judging);
    gave_up.answer(Step::GiveUp);
    assert_eq!(gave_up.service.message().as_deref(), Some("hook:gate gave it up: r"));
    assert_eq!(gave_up.service.final_code(), Some(1));
}

#[test]
fn each_answer_before_the_stop_signal() {
    for (step, wanted, due) in [
        (Step::Proceed, "stopping:Health SIGTERM", 5_000),
        (Step::Signal(Signal::INT), "stopping:Health SIGINT", 5_000),
        (Step::Drain(Duration::from_millis(1_500)), "", 1_500),
        // A quarter of the grace is left for the signal.
        (Step::Drain(secs(60)), "", 3_750),
        // No answer there may take the grace away, or the stop.
        (Step::Signal(Signal::KILL), "stopping:Health SIGTERM", 5_000),
        (Step::Deny, "stopping:Health SIGTERM", 5_000),
        (Step::Hold(None), "stopping:Health SIGTERM", 5_000),
    ] {
        let mut bench = Bench::stage(Stage::Parting);
        assert_eq!((bench.answer(step).as_str(), bench.due_ms()), (wanted, Some(due)), "{step:?}");
        assert_eq!(bench.word(), Word::Stopping, "{step:?}");
    }
}

#[test]
fn a_drain_is_part_of_the_grace() {
    let mut bench = Bench::stage(Stage::Parting);
    bench.now = bench.now + Duration::from_millis(1_000);
    bench.answer(Step::Drain(Duration::from_millis(1_500)));
    assert_eq!(bench.pass(1_500), "stopping:Health SIGTERM");
    assert_eq!((bench.due_ms(), bench.pass(2_500).as_str()), (Some(2_500), "KILL"));
}

#[test]
fn the_time_for_a_question_is_part_of_the_grace() {
    let mut bench = Bench::stage(Stage::Parting);
    assert_eq!(bench.pass(1_250), "stopping:Health SIGTERM");
    assert_eq!(bench.due_ms(), Some(3_750));
    // An answer that comes now is too late.
    assert_eq!(bench.fact(Fact::Advised { question: 1, advice: advice(Step::Drain(secs(3))) }), "");
}

#[test]
fn who_ends_while_it_is_drained_is_not_waited_for() {
    let mut bench = Bench::stage(Stage::Parting);
    bench.answer(Step::Drain(secs(3)));
    assert_eq!(bench.fact(Fact::Exited(ExitStatus::Code(0))), "stopping:Health SIGTERM");
    assert_eq!(bench.fact(Fact::Gone(Remains::default())), "exit crash:Backoff ask:restart");
}

#[test]
fn nobody_is_asked_about_what_an_operator_orders() {
    let mut bench = Bench::with_policy(asked(Policy::default()));
    bench.order(START);
    bench.come_up();
    assert_eq!(bench.order(RESTART), "stopping:Restart SIGTERM");
    bench.end(0);
    bench.come_up();
    assert_eq!(bench.order(STOP), "stopping:Manual SIGTERM");
    assert_eq!(bench.end(0), "exit stop:Manual done#3");
    // A script is asked about.
    bench.order_by(hook("y"), Wish::Start(StartReason::Hook));
    assert_eq!(bench.on(Event::Gate(Gate::Open)), "ask:start");
}

#[test]
fn nobody_is_asked_without_consent_or_time() {
    let mut bench = Bench::stage(Stage::Up);
    assert_eq!(bench.fact(Fact::Unhealthy), "stopping:Health SIGTERM");
    // No grace, no question.
    let mut bench = Bench::with_policy(asked(Policy { stop_grace: Duration::ZERO, ..Policy::default() }));
    bench.order(START);
    bench.come_up();
    assert_eq!(bench.fact(Fact::Unhealthy), "stopping:Health SIGTERM");
    // Hardly any of the shutdown's budget.
    let mut bench = Bench::with_policy(asked(Policy::default()));
    bench.order(START);
    bench.come_up();
    bench.service.hush();
    let shutdown = Wish::Stop { reason: StopReason::Shutdown, within: Some(secs(2)) };
    assert_eq!(bench.on(Event::Order(Order { wish: shutdown, actor: NOBODY, ticket: None })), "stopping:Shutdown SIGTERM");
    // A process without a program has nothing to drain.
    let mut bench = Bench::with_policy(asked(Policy::default()));
    bench.order(START);
    bench.on(Event::Gate(Gate::Open));
    assert_eq!(
        bench.order_by(hook("y"), Wish::Stop { reason: StopReason::Hook, within: None }),
        "overtaken#1 stopping:Hook SIGTERM"
    );
}

#[test]
fn nobody_is_asked_where_the_policy_restarts_nothing() {
    for (restart, give_up_after, last) in
        [(Restart::Never, None, "exit crash:None"), (Restart::Always, Some(1), "exit crash:GaveUp gave-up:1")]
    {
        let backoff = Backoff { give_up_after, ..Backoff::default() };
        let mut bench = Bench::with_policy(asked(Policy { restart, backoff, ..Policy::default() }));
        bench.order(START);
        bench.come_up();
        assert_eq!(bench.end(1), last);
    }
    // An end that is no crash.
    let mut bench = Bench::with_policy(asked(Policy::default()));
    bench.order(START);
    bench.come_up();
    assert_eq!(bench.end(0), "exit backoff:1:1000");
}

#[test]
fn an_operator_cuts_a_question_short() {
    let mut bench = Bench::stage(Stage::Preparing);
    bench.order(START);
    assert_eq!(bench.on(Event::Gate(Gate::Open)), "launch:1");
    assert_eq!(bench.fact(Fact::Advised { question: 1, advice: advice(Step::Deny) }), "");
    let mut bench = Bench::stage(Stage::Preparing);
    bench.answer(Step::Delay(secs(3_000)));
    assert_eq!(bench.service.message().as_deref(), Some("hook:gate delays its start: r"));
    bench.order(START);
    assert_eq!(bench.on(Event::Gate(Gate::Open)), "launch:1");
    let mut bench = Bench::stage(Stage::Parting);
    bench.answer(Step::Drain(secs(3)));
    assert_eq!(bench.order(STOP), "stopping:Health SIGTERM");
    let mut bench = Bench::stage(Stage::Judging);
    bench.order(START);
    assert_eq!(bench.fact(Fact::Advised { question: 1, advice: advice(Step::GiveUp) }), "");
    assert_eq!(bench.word(), Word::Waiting);
}

#[test]
fn a_shutdown_shortens_a_drain() {
    let stop =
        |within| Order { wish: Wish::Stop { reason: StopReason::Shutdown, within: Some(within) }, actor: NOBODY, ticket: None };
    let mut bench = Bench::stage(Stage::Parting);
    bench.answer(Step::Drain(secs(3)));
    bench.on(Event::Order(Order { wish: Wish::Retire, actor: OPERATOR, ticket: None }));
    assert_eq!((bench.on(Event::Order(stop(secs(2)))).as_str(), bench.due_ms()), ("", Some(1_500)));
    assert_eq!((bench.pass(1_500).as_str(), bench.due_ms()), ("stopping:Health SIGTERM", Some(500)));
    assert_eq!(bench.end(0), "exit crash:None stop:Shutdown");
}

/// G48: what an operator wants lasts.
#[test]
fn an_operator_ends_a_hold_and_a_script_does_not() {
    let mut bench = Bench::stage(Stage::Held);
    bench.order_by(hook("y"), RESTART);
    assert!(bench.service.hold().is_some());
    bench.order(START);
    assert_eq!((bench.service.hold().is_some(), bench.on(Event::Gate(Gate::Open)).as_str()), (false, "launch:1"));
    // Also while the run that is to be held is still going.
    let mut bench = Bench::stage(Stage::Up);
    bench.hold(0);
    assert_eq!(bench.order(START), "overtaken#1");
    assert_eq!((bench.end(0).as_str(), bench.word(), bench.service.hold()), ("exit stop:Hook", Word::Waiting, None));
    // A stop as well, and then nothing starts it again.
    let mut bench = Bench::stage(Stage::Held);
    assert_eq!((bench.order(STOP).as_str(), bench.word(), bench.due_ms()), ("done#1", Word::Stopped, None));
}

#[test]
fn a_held_run_is_stopped_and_starts_again_when_the_hold_is_over() {
    let mut bench = Bench::stage(Stage::Up);
    assert_eq!(bench.hold(60), "hold:hook:x:60000 stopping:Hook SIGTERM");
    assert_eq!((bench.end(0).as_str(), bench.word(), bench.due_ms()), ("exit stop:Hook done#1", Word::Waiting, Some(60_000)));
    assert!(!bench.service.is_settled() && !bench.service.is_waiting());
    assert_eq!(bench.on(Event::Gate(Gate::Open)), "");
    bench.pass(60_000);
    assert_eq!(bench.on(Event::Gate(Gate::Open)), "launch:2");
}

#[test]
fn a_hold_without_end_ends_by_a_release() {
    let mut bench = Bench::stage(Stage::Up);
    bench.hold(0);
    bench.end(0);
    assert_eq!((bench.pass(1_000_000_000).as_str(), bench.word(), bench.due_ms()), ("", Word::Waiting, None));
    assert_eq!(bench.order_by(hook("x"), Wish::Release), "");
    bench.launch();
    assert_eq!(bench.fact(Fact::Ready(crate::wire::event::ReadyBy::Notify)), "ready done#2");
}

#[test]
fn the_longer_hold_counts() {
    let mut bench = Bench::stage(Stage::Held);
    assert_eq!((bench.hold(5).as_str(), bench.due_ms()), ("unchanged#1", Some(60_000)));
    assert_eq!((bench.hold(0).as_str(), bench.due_ms()), ("hold:hook:x done#2", None));
    assert_eq!(bench.hold(0), "hold:hook:x done#3");
    assert_eq!(bench.hold(500), "unchanged#4");
}

#[test]
fn a_crash_while_a_hold_is_to_begin_is_followed_by_the_hold() {
    let mut bench = Bench::stage(Stage::Up);
    bench.fact(Fact::Exited(ExitStatus::Code(1)));
    assert_eq!(bench.hold(60), "hold:hook:x:60000");
    assert_eq!(bench.fact(Fact::Gone(Remains::default())), "exit crash:Hold done#1");
    assert_eq!(bench.word(), Word::Waiting);
    // The row of crashes goes on.
    assert_eq!(bench.order(STOP), "stop:Manual done#2");
    // What its policy does not restart is not held either.
    let mut bench = Bench::with_policy(Policy { restart: Restart::Never, ..Policy::default() });
    bench.order(START);
    bench.come_up();
    bench.fact(Fact::Exited(ExitStatus::Code(1)));
    bench.hold(60);
    assert_eq!(bench.fact(Fact::Gone(Remains::default())), "exit crash:None unchanged#2");
    assert_eq!((bench.word(), bench.service.hold()), (Word::Failed, None));
}

#[test]
fn who_waits_for_a_start_learns_of_the_denial_and_of_the_hold() {
    let mut bench = Bench::with_policy(asked(Policy::default()));
    bench.order_by(hook("y"), START);
    bench.on(Event::Gate(Gate::Open));
    assert_eq!(bench.answer(Step::Deny), "failed#1 hold:hook:gate:60000");
    let mut bench = Bench::with_policy(asked(Policy::default()));
    bench.order(START);
    bench.launch();
    assert_eq!(bench.end(78), "exit crash:Backoff ask:restart");
    assert_eq!(bench.answer(Step::Hold(None)), "failed#1 hold:hook:gate:600000");
    // And who waits for it is overtaken by a hold.
    let mut bench = Bench::stage(Stage::Waiting);
    bench.order(START);
    assert_eq!(bench.hold(1), "overtaken#1 hold:hook:x:1000 done#2");
}

#[test]
fn what_a_script_is_told() {
    let mut bench = Bench::with_policy(asked(Policy::default()));
    bench.order(START);
    bench.come_up();
    bench.fact(Fact::Exited(ExitStatus::Code(78)));
    let mut actions = Vec::new();
    let tail: std::sync::Arc<[String]> = ["bye".to_owned()].into();
    let remains = Remains { log_tail: Some(tail), ..Remains::default() };
    bench.service.on(Event::Fact(bench.service.run(), Fact::Gone(remains)), bench.now, &mut actions);
    let case = actions.iter().find_map(|action| if let Action::Ask(question) = action { Some(&question.case) } else { None });
    let case = case.unwrap_or_else(|| panic!("no question: {:?}", actions.iter().map(short).collect::<Vec<_>>()));
    assert_eq!((case.point, case.crashes, case.attempt, case.deadline_ms), (Point::Restart, 1, 1, 500));
    assert_eq!(case.default.step, Step::Delay(secs(1)));
    assert!(matches!(case.facts, CaseFacts::Restart { .. }));
    let json = json::to_value(case).unwrap();
    assert_eq!((&json["exit"]["code"], &json["log_tail"][0], &json["exit"]["log_tail"]), (&78.into(), &"bye".into(), &().into()));
}
