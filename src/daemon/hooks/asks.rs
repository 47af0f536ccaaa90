//! Questions to scripts that are under way, and who asked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use crate::control::server::Answer;
use crate::daemon::clock::Now;
use crate::daemon::event_loop::Daemon;
use crate::hooks::frame::{Ask, HookError, Question, ToHost};
use crate::value::duration::Human;
use crate::value::{Moment, duration};
use crate::wire::hooks::CommandReport;
use crate::wire::{Fault, FaultCode};

/// Questions at once. Checks ask one each, and people are few.
const MOST: usize = 1024;

/// All that are under way.
#[derive(Debug, Default)]
pub struct Asks {
    last: u64,
    open: BTreeMap<u64, Asked>,
}

#[derive(Debug)]
struct Asked {
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
}

impl Asker {
    fn tell(self, reply: Reply) {
        match self {
            // Nobody may be waiting any more.
            Self::Task(task) => drop(task.send(reply)),
            Self::Client(answer) => match reply {
                Ok(result) => {
                    let report = CommandReport { version: 1, result };
                    answer.finish(&report, || crate::wire::hooks::command(&report));
                }
                Err(unanswered) => {
                    let code = if matches!(unanswered, Unanswered::TooLate(_)) { FaultCode::Timeout } else { FaultCode::Failed };
                    answer.refuse(&Fault::new(code, unanswered.to_string()));
                }
            },
        }
    }
}

impl Daemon {
    /// Asks a script; the asker is told the answer, or why there is none, exactly once. Returns the question's number.
    pub(in crate::daemon) fn ask(&mut self, script: &str, question: Question, limit: Duration, asker: Asker, now: Now) -> u64 {
        let asks = &mut self.hooks.asks;
        asks.last += 1;
        let number = asks.last;
        let deadline_ms = duration::millis(limit);
        let ask = ToHost::Ask(Ask { ask: number, script: script.to_owned(), deadline_ms, question });
        let refusal = if asks.open.len() >= MOST {
            Some(format!("{MOST} questions to scripts are under way"))
        } else if let Some(why) = self.hooks.why_not_loaded(script) {
            Some(why)
        } else if !self.hooks.send(&ask) {
            Some("the hook host does not take the question".to_owned())
        } else {
            None
        };
        match refusal {
            Some(why) => asker.tell(Err(Unanswered::Nobody(why))),
            None => {
                let asked = Asked { until: now.moment + limit, limit, asker };
                self.hooks.asks.open.insert(number, asked);
            }
        }
        number
    }

    pub(in crate::daemon) fn inquired(&mut self, inquiry: Inquiry, now: Now) {
        let Inquiry { script, question, limit, reply } = inquiry;
        self.ask(&script, question, limit, Asker::Task(reply), now);
    }

    pub(super) fn ask_answered(&mut self, number: u64, result: Result<Value, HookError>) {
        if let Some(asked) = self.hooks.asks.open.remove(&number) {
            asked.asker.tell(result.map_err(Unanswered::Failed));
        }
    }

    /// Those who waited long enough go on without an answer, and those who wait no more are not answered.
    pub(super) fn give_up_asks(&mut self, now: Moment) {
        for (number, asked) in self.hooks.asks.take_late(now) {
            // Without a host there is nobody to tell.
            self.hooks.send(&ToHost::Drop { ask: number });
            asked.asker.tell(Err(Unanswered::TooLate(asked.limit)));
        }
    }

    /// The host is gone: nobody will answer.
    pub(super) fn drop_asks(&mut self) {
        for (_, asked) in std::mem::take(&mut self.hooks.asks.open) {
            asked.asker.tell(Err(Unanswered::Nobody("the hook host ended before it answered".to_owned())));
        }
    }
}
