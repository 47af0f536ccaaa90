//! Open questions: each goes to every script that its service's `decisions` names, their answers come back one by one, and
//! the machine hears of it once: when the last one has answered, or when the time is over.
//!
//! Nothing here waits. Who does not answer in time has no opinion; what comes later is let go.

use std::time::Duration;

use super::clock::Now;
use super::event_loop::Daemon;
use super::hooks::Asker;
use crate::hooks::frame;
use crate::supervision::advice::{Judged, judge};
use crate::supervision::{Advice, Fact, Question, ServiceId};
use crate::value::duration::Human;
use crate::value::json;
use crate::value::sorted::Map;
use crate::value::{Moment, duration};
use crate::wire::advice::{Case, Verdict};
use crate::wire::event::{Actor, Kind};

/// What a script answers: its verdict, no opinion, or why there is no answer.
pub type Answer = Result<Option<Verdict>, String>;

/// Stands for one script's part in one question; never given again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AskId(pub u64);

/// The questions that are open: at most one a service, each with as many parts as the service names scripts.
#[derive(Debug, Default)]
pub struct Questions {
    next: u64,
    open: Map<ServiceId, Open>,
    places: Map<AskId, ServiceId>,
}

#[derive(Debug)]
struct Open {
    question: Question,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    ask: AskId,
    by: Actor,
    answer: Option<(Moment, Answer)>,
}

/// A question that is over.
#[derive(Debug)]
pub struct Closed {
    id: ServiceId,
    question: Question,
    advice: Option<Advice>,
    told: Vec<(Duration, Judged)>,
}

impl Questions {
    /// Enters a question to these scripts. A service has one question at a time: an older one that its service no longer
    /// waits for is closed.
    pub fn open(&mut self, id: ServiceId, question: Question, scripts: Vec<Actor>) -> (Vec<AskId>, Option<Closed>) {
        let older = self.close(id);
        let mut parts = Vec::with_capacity(scripts.len());
        for by in scripts {
            self.next += 1;
            let ask = AskId(self.next);
            self.places.insert(ask, id);
            parts.push(Part { ask, by, answer: None });
        }
        let asks = parts.iter().map(|part| part.ask).collect();
        self.open.insert(id, Open { question, parts });
        (asks, older)
    }

    /// Takes one answer; the question is over with the last one. A second answer, or one that comes too late, is let go.
    pub fn answered(&mut self, ask: AskId, answer: Answer, now: Moment) -> Option<Closed> {
        let id = self.places.remove(&ask)?;
        let parts = &mut self.open.get_mut(&id)?.parts;
        let part = parts.iter_mut().find(|part| part.ask == ask)?;
        part.answer = Some((now, answer));
        if parts.iter().any(|part| part.answer.is_none()) { None } else { self.close(id) }
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// When the next question is over whatever happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.open.values().map(|open| open.question.deadline).min()
    }

    /// The questions whose time is over.
    pub fn expire(&mut self, now: Moment) -> Vec<Closed> {
        let over = self.open.iter().filter(|(_, open)| open.question.deadline <= now).map(|(id, _)| *id);
        over.collect::<Vec<_>>().into_iter().filter_map(|id| self.close(id)).collect()
    }

    fn close(&mut self, id: ServiceId) -> Option<Closed> {
        let Open { question, parts } = self.open.remove(&id)?;
        let patience = question.deadline.since(question.asked_at);
        let mut answers = Vec::with_capacity(parts.len());
        let mut took = Vec::with_capacity(parts.len());
        for Part { ask, by, answer } in parts {
            self.places.remove(&ask);
            let (at, answer) = answer.unwrap_or_else(|| {
                let silence = format!("no answer within {}", Human(patience));
                (question.deadline, Err(silence))
            });
            took.push(at.since(question.asked_at));
            answers.push((by, answer));
        }
        let (advice, judged) = judge(question.case.point, question.most, &answers);
        let told = judged.into_iter().map(|judged| (took.get(judged.at).copied().unwrap_or_default(), judged));
        Some(Closed { id, advice, told: told.collect(), question })
    }
}

impl Daemon {
    /// Passes a question on to the scripts that its service names.
    pub(super) fn ask_scripts(&mut self, id: ServiceId, question: Question, now: Now) {
        let Some(service) = self.supervisor.service(id) else { return };
        let names = service.spec().policy.decisions.clone();
        if names.is_empty() {
            // A reload took the last one out in the same turn.
            let fact = Fact::Advised { question: question.number, advice: None };
            self.supervisor.learn(id, question.run, fact, now.moment);
            return;
        }
        let scripts = names.iter().map(|name| self.hooks.actor(name)).collect();
        let (case, limit) = (question.case.clone(), question.deadline.since(now.moment));
        let (asks, older) = self.questions.open(id, question, scripts);
        self.conclude_questions(older, now);
        for (ask, name) in asks.into_iter().zip(&names) {
            self.ask_script(ask, name, &case, limit, now);
        }
    }

    /// Sends one script its part of a question. Its answer comes to [`Daemon::answered`], at whatever time.
    fn ask_script(&mut self, ask: AskId, script: &str, case: &Case, limit: Duration, now: Now) {
        if !self.hooks.decides(script, case.point.word(), &case.service) {
            return self.answered(ask, Ok(None), now);
        }
        let subject = json::to_value(case).unwrap_or_default();
        let question = frame::Question::Decide { point: case.point.word().to_owned(), subject };
        self.ask(script, question, limit, Asker::Decision(ask, case.point), now);
    }

    /// A script has answered, or cannot.
    pub(super) fn answered(&mut self, ask: AskId, answer: Answer, now: Now) {
        let over = self.questions.answered(ask, answer, now.moment);
        self.conclude_questions(over, now);
    }

    /// Goes on without those who have not answered in time. Before the machine's own deadlines, which are the same: what the
    /// others have answered counts.
    pub(super) fn expire_questions(&mut self, now: Now) {
        let over = self.questions.expire(now.moment);
        self.conclude_questions(over, now);
    }

    /// Tells what became of each answer, then what the one that counts says.
    fn conclude_questions(&mut self, over: impl IntoIterator<Item = Closed>, now: Now) {
        for Closed { id, question, advice, told } in over {
            let service = self.supervisor.service(id);
            let waits = service.is_some_and(|service| service.question() == Some(question.number));
            let about = service.map(|service| (id, service.name().clone(), question.run));
            for (took, Judged { by, verdict, reason, applied, .. }) in told {
                let reason = if applied && !waits { format!("its service no longer waits for it; {reason}") } else { reason };
                let kind = Kind::Decision {
                    point: question.case.point.word(),
                    verdict,
                    by: by.to_string(),
                    reason: reason.trim_end_matches("; ").to_owned(),
                    took_ms: duration::millis(took),
                    applied: applied && waits,
                };
                self.tell(about.clone(), kind, by, now);
            }
            self.supervisor.learn(id, question.run, Fact::Advised { question: question.number, advice }, now.moment);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use crate::value::{Run, ServiceName};
    use crate::wire::advice::{CaseFacts, Point, Step};
    use crate::wire::event::StartReason;

    const WEB: ServiceId = ServiceId(1);

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    fn question(number: u64, deadline_ms: u64) -> Question {
        Question {
            number,
            run: Run(0),
            asked_at: at(0),
            deadline: at(deadline_ms),
            most: Duration::from_secs(3_600),
            case: Case {
                point: Point::Start,
                service: ServiceName::parse("web").unwrap(),
                run: Run(0),
                attempt: 1,
                crashes: 0,
                facts: CaseFacts::Start { reason: StartReason::Boot },
                default: Verdict { step: Step::Allow, reason: String::new() },
                deadline_ms,
            },
        }
    }

    fn scripts(names: &[&str]) -> Vec<Actor> {
        names.iter().map(|name| Actor::Hook((*name).into())).collect()
    }

    fn verdict(step: Step) -> Answer {
        Ok(Some(Verdict { step, reason: String::new() }))
    }

    fn told(closed: &Closed) -> Vec<String> {
        let line = |(took, judged): &(Duration, Judged)| {
            format!("{} {} {} {}ms: {}", judged.by, judged.verdict, judged.applied, took.as_millis(), judged.reason)
        };
        closed.told.iter().map(line).collect()
    }

    #[test]
    fn it_is_over_with_the_last_answer() {
        let mut questions = Questions::default();
        let (asks, _) = questions.open(WEB, question(1, 2_000), scripts(&["a", "b", "c"]));
        assert_eq!((asks.len(), questions.deadline()), (3, Some(at(2_000))));
        assert!(questions.answered(asks[1], verdict(Step::Deny), at(5)).is_none());
        assert!(questions.answered(asks[0], Ok(None), at(9)).is_none());
        // A second answer of the same script, and one that nobody was asked for.
        assert!(questions.answered(asks[1], verdict(Step::Allow), at(10)).is_none());
        assert!(questions.answered(AskId(99), verdict(Step::Allow), at(10)).is_none());
        let closed = questions.answered(asks[2], Err("it raised: x".to_owned()), at(11)).unwrap();
        assert_eq!(told(&closed), ["hook:b deny true 5ms: ", "hook:c none false 11ms: it raised: x"]);
        assert_eq!((closed.advice.map(|advice| advice.by), closed.question.number), (Some(Actor::Hook("b".into())), 1));
        assert_eq!((questions.deadline(), questions.places.len(), questions.open.len()), (None, 0, 0));
    }

    #[test]
    fn who_is_late_is_not_waited_for_and_what_the_others_said_counts() {
        let mut questions = Questions::default();
        let (asks, _) = questions.open(WEB, question(1, 2_000), scripts(&["hangs", "b"]));
        let other = questions.open(ServiceId(2), question(1, 9_000), scripts(&["b"])).0;
        questions.answered(asks[1], verdict(Step::Allow), at(3));
        assert!(questions.expire(at(1_999)).is_empty());
        let closed = questions.expire(at(2_000));
        assert_eq!(
            closed.iter().map(told).collect::<Vec<_>>(),
            [["hook:hangs none false 2000ms: no answer within 2s", "hook:b allow true 3ms: "]]
        );
        assert!(questions.answered(asks[0], verdict(Step::Deny), at(2_001)).is_none());
        assert_eq!(questions.deadline(), Some(at(9_000)));
        assert!(questions.answered(other[0], Ok(None), at(2_002)).is_some_and(|closed| closed.told.is_empty()));
    }

    #[test]
    fn a_service_has_one_question_at_a_time() {
        let mut questions = Questions::default();
        let (old, none) = questions.open(WEB, question(1, 2_000), scripts(&["a"]));
        assert!(none.is_none());
        let (new, older) = questions.open(WEB, question(2, 2_500), scripts(&["a"]));
        assert_eq!(older.unwrap().question.number, 1);
        assert!(questions.answered(old[0], verdict(Step::Deny), at(9)).is_none());
        assert_eq!(questions.answered(new[0], verdict(Step::Allow), at(9)).unwrap().question.number, 2);
    }
}
