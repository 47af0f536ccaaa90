//! The scripts' part: answers in time, late, missing and odd; holds and releases at any moment.

use std::time::Duration;

use super::dice::Dice;
use super::watch::{Verdict as Judgement, hold};
use super::{Pending, Sim, Target};
use crate::supervision::advice::{LONGEST, patience};
use crate::supervision::{Advice, Fact, HoldOrder, Question, Service, ServiceId, Wish};
use crate::value::{Moment, Run, Signal};
use crate::wire::advice::{CaseFacts, Point, Step, Verdict};
use crate::wire::event::Actor;

/// An answer on its way.
pub struct Coming {
    id: ServiceId,
    run: Run,
    question: u64,
    advice: Option<Advice>,
}

/// A tick may come this much too late.
const LATE: Duration = Duration::from_millis(300);

fn script() -> Actor {
    Actor::Hook("x".into())
}

fn some_step(dice: &mut Dice) -> Step {
    let length = dice.seconds_of([0, 4, 30, 300, 40_000]);
    match dice.below(12) {
        0 => Step::Allow,
        1 | 2 => Step::Delay(length),
        3 => Step::Deny,
        4 => Step::Restart,
        5 => Step::Hold(Some(length)),
        6 => Step::Hold(None),
        7 => Step::GiveUp,
        8 => Step::Proceed,
        9 => Step::Drain(length),
        10 => Step::Signal(Signal::KILL),
        _ => Step::Signal(Signal::INT),
    }
}

impl Sim {
    /// A question goes out: it must be of somebody who consented, and short. The answer comes some time, or never.
    pub(super) fn asked(&mut self, id: ServiceId, question: Question, service: &Service) -> Judgement {
        let policy = &service.spec().policy;
        hold!(!policy.decisions.is_empty(), "asked without consent");
        hold!(question.run == service.run() && question.asked_at == self.now, "a question of another time");
        let grace = match question.case.facts {
            CaseFacts::Stop { grace_ms, .. } => Duration::from_millis(grace_ms),
            CaseFacts::Start { .. } | CaseFacts::Restart { .. } => Duration::ZERO,
        };
        hold!(grace <= policy.stop_grace, "a longer grace than it has");
        let longest = match question.case.point {
            Point::Start => Duration::from_secs(2),
            Point::Restart => Duration::from_millis(500),
            Point::Stop => Duration::from_secs(2).min(policy.stop_grace / 4),
        };
        hold!(question.deadline <= self.now + longest, "a question that is longer than {longest:?}");
        let now = self.now;
        self.watch(id).asked(question.case.point, question.deadline, grace, now)?;
        for _ in 0..self.dice.below(3) {
            let advice = (!self.dice.one_in(5))
                .then(|| Advice { by: script(), verdict: Verdict { step: some_step(&mut self.dice), reason: String::new() } });
            let most = if self.dice.one_in(4) { 3_000 } else { 400 };
            let at = self.now + self.dice.ms_below(most);
            self.next_answer += 1;
            let coming = Coming { id, run: question.run, question: question.number, advice };
            self.answers.insert((at, self.next_answer), coming);
        }
        Ok(())
    }

    pub(super) fn next_answer_at(&self) -> Option<Moment> {
        self.answers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Hands over the next answer. One to a question that is no longer open must change nothing.
    pub(super) fn hand_over(&mut self) -> Judgement {
        let Some(((at, _), Coming { id, run, question, advice })) = self.answers.pop_first() else { return Ok(()) };
        self.now = self.now.max(at);
        let fact = Fact::Advised { question, advice: advice.clone() };
        let open = self.supervisor.service(id).is_some_and(|s| s.run() == run && s.question() == Some(question));
        if !open {
            let words = format!("{id:?}: a late {fact:?}");
            return self.changes_nothing(&words, move |supervisor, now| supervisor.learn(id, run, fact, now));
        }
        self.note(|| format!("{id:?} run {run}: {fact:?}"));
        let now = self.now;
        self.watch(id).advised(advice.map(|advice| advice.verdict.step), LONGEST, now);
        self.supervisor.learn(id, run, fact, now);
        self.settle()
    }

    /// A script holds or releases some service.
    pub(super) fn hold_or_release(&mut self) -> Judgement {
        let ids: Vec<ServiceId> = self.supervisor.services().map(|(id, _)| id).collect();
        let Some(id) = self.dice.pick(&ids).copied() else { return Ok(()) };
        let Some(service) = self.supervisor.service(id) else { return Ok(()) };
        let (is_held, is_removed) = (service.hold().is_some(), service.is_removed());
        let was_stopping = self.supervisor.is_stopping();
        let run_before = service.run();
        let ticket = self.new_ticket();
        let accepted = if self.dice.one_in(3) {
            self.note(|| format!("{id:?} release {ticket:?}"));
            self.tickets
                .insert(ticket, Pending { id, wants: Target::Up, restarts: false, holds: false, releases: true, run_before });
            if is_held && !is_removed && !was_stopping {
                self.watch(id).ordered_up(false);
            }
            self.supervisor.order(id, Wish::Release, &script(), Some(ticket), self.now).is_ok()
        } else {
            let length = (!self.dice.one_in(5)).then(|| self.dice.seconds_of([0, 5, 50, 900]));
            self.note(|| format!("{id:?} hold {length:?} {ticket:?}"));
            self.tickets
                .insert(ticket, Pending { id, wants: Target::Up, restarts: false, holds: true, releases: false, run_before });
            let order = HoldOrder { actor: script(), reason: "no".to_owned(), length, ticket: Some(ticket) };
            self.supervisor.hold(id, order, self.now).is_ok()
        };
        hold!(accepted != was_stopping, "a hold or a release was accepted: {accepted}");
        if !accepted {
            self.tickets.remove(&ticket);
        }
        self.settle()
    }

    /// Whether an open question has taken longer than it may.
    pub(super) fn is_asking_in_time(&self, service: &Service, asked_until: Option<Moment>) -> Judgement {
        if service.question().is_some() {
            hold!(asked_until.is_some_and(|until| self.now <= until + LATE), "still asking after {asked_until:?}");
        }
        Ok(())
    }
}

#[test]
fn the_machine_and_the_watch_mean_the_same_deadlines() {
    let grace = Duration::from_secs(5);
    assert_eq!(patience(Point::Stop, grace), Duration::from_secs(2).min(grace / 4));
}
