//! Questions to scripts that are under way, and who asked.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use crate::control::server::Answer;
use crate::daemon::advice::AskId;
use crate::daemon::clock::Now;
use crate::daemon::event_loop::Daemon;
use crate::hooks::delivery::FAILURES;
use crate::hooks::frame::{Ask, HookError, Question, ToHost};
use crate::value::duration::Human;
use crate::value::sorted::Map;
use crate::value::{Moment, duration};
use crate::wire::advice::{Point, Verdict};
use crate::wire::event::{HookFault, HookFaultKind};
use crate::wire::hooks::CommandReport;
use crate::wire::{Fault, FaultCode};

/// Questions at once. Checks ask one each, and people are few.
const MOST: usize = 1024;

/// All that are under way.
#[derive(Debug, Default)]
pub struct Asks {
    last: u64,
    open: Map<u64, Asked>,
    /// Those of `open` that no host has got yet, because the script is being loaded.
    unsent: Map<u64, Ask>,
    /// Those that nobody waits for any more and that no host has said the end of: script and handler. A script that computes
    /// for longer than its asker waits is known by that alone.
    late: Map<u64, (String, String)>,
}

#[derive(Debug)]
struct Asked {
    script: String,
    /// See [`Question::handler`].
    handler: String,
    until: Moment,
    limit: Duration,
    asker: Asker,
}

/// Who is told the answer.
#[derive(Debug)]
pub enum Asker {
    /// A task of ours.
    Task(oneshot::Sender<Reply>),
    /// A client that called a command.
    Client(Answer),
    /// A service that waits for advice.
    Decision(AskId, Point),
}

/// What came of a question.
pub type Reply = Result<Value, Unanswered>;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The script raised, or one of its limits was reached.
    Failed(HookError),
    /// Nobody can be asked, and why: it is not loaded, or the host is gone.
    Nobody(String),
    /// The time was over.
    TooLate(Duration),
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => f.write_str(&error.message),
            Self::Nobody(why) => f.write_str(why),
            Self::TooLate(limit) => write!(f, "no answer within {}", Human(*limit)),
        }
    }
}

/// A question of a task, on its way to the loop.
#[derive(Debug)]
pub struct Inquiry {
    /// Who is asked.
    pub script: String,
    /// What.
    pub question: Question,
    /// For how long the answer is of interest.
    pub limit: Duration,
    /// Where it goes.
    pub reply: oneshot::Sender<Reply>,
}

impl Asks {
    /// When the next one is too late.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.open.values().map(|asked| asked.until).min()
    }

    fn take_late(&mut self, now: Moment) -> Vec<(u64, Asked)> {
        let late: Vec<u64> = self.open.iter().filter(|(_, asked)| asked.until <= now).map(|(number, _)| *number).collect();
        late.into_iter().filter_map(|number| Some((number, self.open.remove(&number)?))).collect()
    }

    /// Nobody waits for this one any more.
    fn keep_late(&mut self, number: u64, script: String, handler: String) {
        self.late.insert(number, (script, handler));
        // Of a script that hangs for good no end is heard.
        if self.late.len() > MOST {
            self.late.pop_first();
        }
    }
}

impl Daemon {
    fn tell_asker(&mut self, asker: Asker, reply: Reply, now: Now) {
        match (asker, reply) {
            // Nobody may be waiting any more.
            (Asker::Task(task), reply) => drop(task.send(reply)),
            (Asker::Client(answer), Ok(result)) => {
                let report = CommandReport { version: 1, result };
                answer.finish(&report, || crate::wire::hooks::command(&report));
            }
            (Asker::Client(answer), Err(unanswered)) => {
                let code = if matches!(unanswered, Unanswered::TooLate(_)) { FaultCode::Timeout } else { FaultCode::Failed };
                answer.refuse(&Fault::new(code, unanswered.to_string()));
            }
            (Asker::Decision(ask, point), reply) => {
                let answer = reply.map_err(|unanswered| unanswered.to_string());
                let answer = answer.and_then(|value| Verdict::read(point, &value));
                self.answered(ask, answer, now);
            }
        }
    }

    /// Asks a script; the asker is told the answer, or why there is none, exactly once. Returns the question's number.
    pub(in crate::daemon) fn ask(&mut self, script: &str, question: Question, limit: Duration, asker: Asker, now: Now) -> u64 {
        let asks = &mut self.hooks.asks;
        asks.last += 1;
        let number = asks.last;
        let deadline_ms = duration::millis(limit);
        let handler = question.handler();
        let is_paused = self.hooks.memory.deliveries.is_paused(script, &handler, now.moment);
        let ask = Ask { ask: number, script: script.to_owned(), deadline_ms, question };
        let refusal = if asks.open.len() >= MOST {
            Some(format!("{MOST} questions to scripts are under way"))
        } else if is_paused {
            let way = format!("`section3 hook enable {script}` ends that");
            Some(format!("{handler} ran over a limit {FAILURES} times in a row and is paused for 10 minutes; {way}"))
        } else if matches!(asker, Asker::Decision(..)) && self.hooks.is_coming(script) {
            // At the boot: a service would else be launched past a script that comes a moment later.
            self.hooks.asks.unsent.insert(number, ask);
            None
        } else if let Some(why) = self.hooks.why_not_loaded(script) {
            Some(why)
        } else if !self.hooks.send(&ToHost::Ask(ask)) {
            Some("the hook host does not take the question".to_owned())
        } else {
            None
        };
        match refusal {
            Some(why) => self.tell_asker(asker, Err(Unanswered::Nobody(why)), now),
            None => {
                let asked = Asked { script: script.to_owned(), handler, until: now.moment + limit, limit, asker };
                self.hooks.asks.open.insert(number, asked);
            }
        }
        number
    }

    pub(in crate::daemon) fn inquired(&mut self, inquiry: Inquiry, now: Now) {
        let Inquiry { script, question, limit, reply } = inquiry;
        self.ask(&script, question, limit, Asker::Task(reply), now);
    }

    /// A script was loaded, or could not be: who waited for that is asked now, or told.
    pub(super) fn ask_on(&mut self, script: &str, now: Now) {
        let asks = &mut self.hooks.asks;
        let (ready, unsent) = std::mem::take(&mut asks.unsent).into_iter().partition(|(_, ask)| ask.script == script);
        asks.unsent = unsent;
        let ready: Map<u64, Ask> = ready;
        for (number, mut ask) in ready {
            let Some(until) = self.hooks.asks.open.get(&number).map(|asked| asked.until) else { continue };
            ask.deadline_ms = duration::millis(until.since(now.moment));
            let refusal = self.hooks.why_not_loaded(script);
            if refusal.is_none() && self.hooks.send(&ToHost::Ask(ask)) {
                continue;
            }
            if let Some(asked) = self.hooks.asks.open.remove(&number) {
                let why = refusal.unwrap_or_else(|| "the hook host does not take the question".to_owned());
                self.tell_asker(asked.asker, Err(Unanswered::Nobody(why)), now);
            }
        }
    }

    pub(super) fn ask_answered(&mut self, number: u64, run_ms: Option<u64>, result: Result<Value, HookError>, now: Now) {
        if let Some((script, handler)) = self.hooks.asks.late.remove(&number) {
            let late = || HookError { kind: HookFaultKind::Timeout, message: "it answered too late".to_owned(), traceback: None };
            return self.question_ended(&script, &handler, run_ms, Some(&result.err().unwrap_or_else(late)), now);
        }
        if let Some(asked) = self.hooks.asks.open.remove(&number) {
            self.question_ended(&asked.script, &asked.handler, run_ms, result.as_ref().err(), now);
            // Both ends have the same deadline, and either may be the first to see it.
            let unanswered = |error: HookError| match error.kind {
                HookFaultKind::Timeout => Unanswered::TooLate(asked.limit),
                _ => Unanswered::Failed(error),
            };
            self.tell_asker(asked.asker, result.map_err(unanswered), now);
        }
    }

    /// Counts a question. Of what it raised and of its time-out the asker is told, in an event or an answer; that a script ran
    /// over a limit everybody is told, whether somebody waited for it or not.
    fn question_ended(&mut self, script: &str, handler: &str, run_ms: Option<u64>, error: Option<&HookError>, now: Now) {
        let Some(run_ms) = run_ms.filter(|_| self.hooks.find(script).is_some()) else { return };
        let is_paused = self.hooks.memory.deliveries.answered(script, handler, run_ms, error, now.moment);
        let Some(error) = error.filter(|error| error.kind.is_over_limit()) else { return };
        self.script_failed(script, Some(handler.to_owned()), error.clone(), now);
        if is_paused {
            let last = &error.message;
            let message = format!("it ran over a limit {FAILURES} times in a row and is paused for 10 minutes; last: {last}");
            let (script, handler) = (script.to_owned(), Some(handler.to_owned()));
            let fault = HookFault { script, handler, event_id: None, kind: error.kind, message, traceback: None };
            self.tell_fault(fault, true, None, now);
        }
    }

    /// Those who waited long enough go on without an answer, and those who wait no more are not answered.
    pub(super) fn give_up_asks(&mut self, now: Now) {
        for (number, asked) in self.hooks.asks.take_late(now.moment) {
            // Without a host there is nobody to tell.
            if self.hooks.asks.unsent.remove(&number).is_none() && self.hooks.send(&ToHost::Drop { ask: number }) {
                self.hooks.asks.keep_late(number, asked.script, asked.handler);
            }
            self.tell_asker(asked.asker, Err(Unanswered::TooLate(asked.limit)), now);
        }
    }

    /// The host is gone: nobody will answer.
    pub(super) fn drop_asks(&mut self, now: Now) {
        self.hooks.asks.unsent.clear();
        self.hooks.asks.late.clear();
        for (_, asked) in std::mem::take(&mut self.hooks.asks.open) {
            let gone = "the hook host ended before it answered".to_owned();
            self.tell_asker(asked.asker, Err(Unanswered::Nobody(gone)), now);
        }
    }
}
