//! What the answers of scripts may do: which one wins, how far it reaches, which one is of no use and why.
//!
//! Advice is taken only within narrow bounds: it may make a service wait, end or stay down sooner than its policy would,
//! never longer than an hour, and it may never keep it from being stopped.

use std::cmp::Reverse;
use std::time::Duration;

use super::message::Advice;
use crate::value::Signal;
use crate::wire::advice::{Point, Step, Verdict};
use crate::wire::event::Actor;

/// The longest delay and the longest hold that an answer brings about (the contract's 8.6). Longer needs an order, which an
/// operator sees and can undo by the same means.
pub const LONGEST: Duration = Duration::from_secs(3600);
/// A hold that names no length: long enough to be noticed, short enough to heal by itself over night.
pub const USUAL_HOLD: Duration = Duration::from_secs(600);
/// From a denied start to the next time it is asked about.
pub const DENIED_FOR: Duration = Duration::from_secs(60);
/// Less than this left of the shutdown's budget, and nobody is asked any more: what is left belongs to the services.
pub const SHUTDOWN_RESERVE: Duration = Duration::from_secs(3);

/// How long an answer at a start or a stop is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same after a crash: every restart pays it.
const RESTART_PATIENCE: Duration = Duration::from_millis(500);

/// How long an answer is waited for; `grace` is that of a stop.
#[must_use]
pub fn patience(point: Point, grace: Duration) -> Duration {
    match point {
        Point::Start => PATIENCE,
        Point::Restart => RESTART_PATIENCE,
        Point::Stop => PATIENCE.min(grace / 4),
    }
}

/// The longest delay, hold or drain that is obeyed. A drain leaves a quarter of the grace, so that the service still gets
/// its signal and time to end by it.
#[must_use]
pub fn longest(point: Point, grace: Duration) -> Duration {
    match point {
        Point::Start | Point::Restart => LONGEST,
        Point::Stop => grace - grace / 4,
    }
}

/// What an answer comes down to at this point, no longer than `most`.
///
/// # Errors
///
/// Why it is of no use there.
pub fn usable(point: Point, step: Step, most: Duration) -> Result<Step, String> {
    match (point, step) {
        (Point::Start, Step::Allow | Step::Deny)
        | (Point::Restart, Step::Restart | Step::GiveUp)
        | (Point::Stop, Step::Proceed) => Ok(step),
        (Point::Start | Point::Restart, Step::Delay(length)) => Ok(Step::Delay(length.min(most))),
        (Point::Restart, Step::Hold(length)) => Ok(Step::Hold(Some(length.unwrap_or(USUAL_HOLD).min(most)))),
        (Point::Stop, Step::Drain(length)) => Ok(Step::Drain(length.min(most))),
        // It would take away the grace that the service was promised.
        (Point::Stop, Step::Signal(Signal::KILL)) => Err("SIGKILL comes when the grace is over, not before".to_owned()),
        (Point::Stop, Step::Signal(_)) => Ok(step),
        (
            _,
            Step::Allow
            | Step::Delay(_)
            | Step::Deny
            | Step::Restart
            | Step::Hold(_)
            | Step::GiveUp
            | Step::Proceed
            | Step::Drain(_)
            | Step::Signal(_),
        ) => {
            let allowed: Vec<String> = point.actions().iter().map(|action| format!("`{action}`")).collect();
            Err(format!("`{}` is no answer at `{point}`; allowed: {}", step.action(), allowed.join(", ")))
        }
    }
}

/// How cautious a usable answer is: the largest wins. Equal ones are told apart by the order of the file.
const fn caution(step: Step) -> (u8, Duration) {
    match step {
        Step::Allow | Step::Restart | Step::Proceed => (0, Duration::ZERO),
        Step::Signal(_) => (1, Duration::ZERO),
        Step::Delay(length) | Step::Drain(length) => (2, length),
        Step::Deny => (3, Duration::ZERO),
        Step::Hold(Some(length)) => (3, length),
        Step::Hold(None) => (3, Duration::MAX),
        Step::GiveUp => (4, Duration::ZERO),
    }
}

/// What became of one script's answer, as its `decision` event tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// Its place among the answers.
    pub at: usize,
    /// Whose.
    pub by: Actor,
    /// What it wanted, cut to what is allowed; `none` where there is no usable answer.
    pub verdict: String,
    /// Its own reason, or why it is of no use.
    pub reason: String,
    /// Whether it is the one that counts.
    pub applied: bool,
}

/// Judges the answers to one question, in the order of the file. The most cautious one wins: give_up > hold > longest delay >
/// restart; deny > delay > allow; longest drain > signal > proceed. No opinion is no answer, and not told.
#[must_use]
pub fn judge(
    point: Point,
    most: Duration,
    answers: &[(Actor, Result<Option<Verdict>, String>)],
) -> (Option<Advice>, Vec<Judged>) {
    let judged = answers.iter().enumerate().filter_map(|(at, (by, answer))| {
        let usable = match answer {
            Ok(None) => return None,
            Ok(Some(verdict)) => usable(point, verdict.step, most).map(|step| Verdict { step, reason: verdict.reason.clone() }),
            Err(why) => Err(why.clone()),
        };
        Some((at, by, usable))
    });
    let judged: Vec<(usize, &Actor, Result<Verdict, String>)> = judged.collect();
    let rank = |(at, _, usable): &(usize, &Actor, Result<Verdict, String>)| {
        usable.as_ref().ok().map(|verdict| (caution(verdict.step), Reverse(*at)))
    };
    let winner = judged.iter().filter_map(rank).max().map(|(_, Reverse(at))| at);
    let mut advice = None;
    let told = judged.into_iter().map(|(at, by, usable)| {
        let (by, applied) = (by.clone(), winner == Some(at));
        match usable {
            Ok(verdict) => {
                if applied {
                    advice = Some(Advice { by: by.clone(), verdict: verdict.clone() });
                }
                Judged { at, by, verdict: verdict.step.to_string(), reason: verdict.reason, applied }
            }
            Err(why) => Judged { at, by, verdict: "none".to_owned(), reason: why, applied },
        }
    });
    let told = told.collect();
    (advice, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn the_most_cautious_answer_wins() {
        let signal = Step::Signal(Signal::INT);
        for (point, answers, wins) in [
            (Point::Start, vec![Step::Allow, Step::Delay(secs(1))], 1),
            (Point::Start, vec![Step::Delay(secs(5)), Step::Delay(secs(9)), Step::Allow], 1),
            (Point::Start, vec![Step::Delay(secs(3_000)), Step::Deny], 1),
            (Point::Start, vec![Step::Deny, Step::Deny], 0),
            (Point::Restart, vec![Step::Restart, Step::Delay(secs(0))], 1),
            (Point::Restart, vec![Step::Delay(secs(9)), Step::Delay(secs(8)), Step::Restart], 0),
            (Point::Restart, vec![Step::Delay(secs(3_600)), Step::Hold(Some(secs(1)))], 1),
            // One without a length is of the usual one.
            (Point::Restart, vec![Step::Hold(Some(secs(700))), Step::Hold(None)], 0),
            (Point::Restart, vec![Step::Hold(Some(secs(500))), Step::Hold(None)], 1),
            (Point::Restart, vec![Step::GiveUp, Step::Hold(None)], 0),
            // Beyond the bound they are alike: the first of the file.
            (Point::Restart, vec![Step::Hold(Some(secs(7_200))), Step::Hold(Some(secs(9_999)))], 0),
            (Point::Stop, vec![Step::Proceed, signal, Step::Drain(secs(1)), Step::Drain(secs(2))], 3),
            (Point::Stop, vec![Step::Proceed, signal], 1),
            // What is of no use does not win.
            (Point::Start, vec![Step::GiveUp, Step::Allow], 1),
            (Point::Stop, vec![Step::Signal(Signal::KILL), Step::Proceed], 1),
        ] {
            let by = |at: usize| Actor::Hook(format!("s{at}").into());
            let given: Vec<_> = answers
                .iter()
                .enumerate()
                .map(|(at, step)| (by(at), Ok(Some(Verdict { step: *step, reason: format!("r{at}") }))))
                .collect();
            let (advice, judged) = judge(point, longest(point, secs(8)), &given);
            let advice = advice.unwrap();
            assert_eq!((advice.by, advice.verdict.reason), (by(wins), format!("r{wins}")), "{answers:?}");
            let applied: Vec<usize> = judged.iter().enumerate().filter(|(_, one)| one.applied).map(|(at, _)| at).collect();
            assert_eq!((judged.len(), applied), (answers.len(), vec![wins]), "{answers:?}");
        }
    }

    #[test]
    fn an_answer_reaches_no_further_than_it_may() {
        for (point, step, cut) in [
            (Point::Start, Step::Delay(secs(3_601)), Step::Delay(secs(3_600))),
            (Point::Restart, Step::Delay(secs(90_000)), Step::Delay(secs(3_600))),
            (Point::Restart, Step::Delay(secs(0)), Step::Delay(secs(0))),
            (Point::Restart, Step::Hold(Some(secs(90_000))), Step::Hold(Some(secs(3_600)))),
            (Point::Restart, Step::Hold(None), Step::Hold(Some(secs(600)))),
            (Point::Stop, Step::Drain(secs(60)), Step::Drain(secs(6))),
        ] {
            assert_eq!(usable(point, step, longest(point, secs(8))), Ok(cut), "{step:?}");
        }
    }

    #[test]
    fn an_answer_belongs_to_its_point() {
        let signal = Step::Signal(Signal::INT);
        let all = [
            Step::Allow,
            Step::Delay(secs(1)),
            Step::Deny,
            Step::Restart,
            Step::Hold(Some(secs(1))),
            Step::GiveUp,
            Step::Proceed,
            Step::Drain(secs(1)),
            signal,
        ];
        for point in Point::ALL {
            for step in all {
                let allowed = point.actions().contains(&step.action());
                assert_eq!(usable(point, step, LONGEST), if allowed { Ok(step) } else { usable(point, step, LONGEST) });
                assert_eq!(usable(point, step, LONGEST).is_ok(), allowed, "{step:?} at {point}");
            }
        }
        assert_eq!(
            usable(Point::Stop, Step::Deny, LONGEST),
            Err("`deny` is no answer at `stop`; allowed: `proceed`, `drain`, `signal`".to_owned())
        );
    }

    #[test]
    fn what_is_told_of_each_answer() {
        let hook = |name: &str| Actor::Hook(name.into());
        let verdict = |step, reason: &str| Ok(Some(Verdict { step, reason: reason.to_owned() }));
        let answers = [
            (hook("silent"), Ok(None)),
            (hook("broken"), Err("it raised: x".to_owned())),
            (hook("odd"), verdict(Step::Allow, "")),
            (hook("long"), verdict(Step::Delay(secs(7_200)), "OOM")),
            (Actor::Plugin("calm".into()), verdict(Step::Restart, "")),
        ];
        let (advice, judged) = judge(Point::Restart, LONGEST, &answers);
        assert_eq!(advice.map(|advice| advice.by), Some(hook("long")));
        let told: Vec<String> = judged
            .iter()
            .map(|Judged { by, verdict, reason, applied, .. }| format!("{by} {verdict} {applied}: {reason}"))
            .collect();
        assert_eq!(
            told,
            [
                "hook:broken none false: it raised: x",
                "hook:odd none false: `allow` is no answer at `restart`; allowed: `restart`, `delay`, `hold`, `give_up`",
                "hook:long delay 1h true: OOM",
                "plugin:calm restart false: ",
            ]
        );
        assert_eq!(judge(Point::Restart, LONGEST, &answers[..1]), (None, vec![]));
    }

    #[test]
    fn the_deadlines_of_the_contract() {
        for (point, grace, ms) in [
            (Point::Start, 0, 2_000),
            (Point::Restart, 0, 500),
            (Point::Stop, 100, 2_000),
            (Point::Stop, 4, 1_000),
            (Point::Stop, 0, 0),
        ] {
            assert_eq!(patience(point, secs(grace)).as_millis(), ms, "{point} {grace}");
        }
    }
}
