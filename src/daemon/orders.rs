//! Clients that wait: for their orders, for a rotation, for a state.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::event_loop::Daemon;
use crate::control::server::Answer;
use crate::supervision::reload::Change;
use crate::supervision::{Outcome, ServiceId, Ticket};
use crate::value::ServiceName;
use crate::value::sorted::Map;
use crate::wire::event::{Word, known_word};
use crate::wire::{
    self, Fault, FaultCode, OrderReport, OrderResult, ReloadReport, ReloadResult, RotateReport, RotateResult, State, WaitReport,
    text,
};

/// Everybody who waits. Bounded by the clients there can be, since who is gone is cleared out when somebody comes.
#[derive(Debug, Default)]
pub struct Orders {
    next: u64,
    tickets: Map<Ticket, (u64, usize)>,
    pending: Map<u64, Pending>,
    waits: Vec<Wait>,
}

/// A client with orders that are not all done.
#[derive(Debug)]
struct Pending {
    answer: Option<Answer>,
    open: usize,
    report: Report,
    /// The script that waits for the one line of it, in place of a client.
    script: Option<oneshot::Sender<OrderResult>>,
}

/// What it will be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    /// About a start, stop or restart: the verb, and a line a service.
    Orders(#[serde(deserialize_with = "known_word")] Word, Vec<OrderResult>),
    /// About a reload.
    Reload(Vec<ReloadResult>),
    /// About a rotation.
    Rotations(Vec<RotateResult>),
}

#[derive(Debug)]
struct Wait {
    answer: Answer,
    id: ServiceId,
    name: ServiceName,
    state: State,
}

/// [`Orders`], written down; who waits is the number of a connection.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct OrdersRest {
    next: u64,
    tickets: Vec<(Ticket, u64, usize)>,
    pending: Vec<(u64, Option<i32>, usize, Report)>,
    waits: Vec<(i32, ServiceId, ServiceName, State)>,
}

impl Orders {
    /// Everybody who waits, to be written down.
    #[must_use]
    pub fn rest(&self) -> OrdersRest {
        // Scripts call again, from another host.
        let of_clients = self.pending.iter().filter(|(_, pending)| pending.script.is_none());
        let pending = of_clients.map(|(number, pending)| {
            let answer = pending.answer.as_ref().and_then(Answer::connection);
            (*number, answer, pending.open, pending.report.clone())
        });
        let waits =
            self.waits.iter().filter_map(|wait| Some((wait.answer.connection()?, wait.id, wait.name.clone(), wait.state)));
        OrdersRest {
            next: self.next,
            tickets: self.tickets.iter().map(|(ticket, (number, line))| (*ticket, *number, *line)).collect(),
            pending: pending.collect(),
            waits: waits.collect(),
        }
    }

    /// The same again; `answer` finds the way back to who waits.
    pub fn take_over(rest: OrdersRest, mut answer: impl FnMut(i32) -> Option<Answer>) -> Self {
        let mut orders = Self { next: rest.next, ..Self::default() };
        orders.tickets = rest.tickets.into_iter().map(|(ticket, number, line)| (ticket, (number, line))).collect();
        for (number, connection, open, report) in rest.pending {
            let answer = connection.and_then(&mut answer);
            orders.pending.insert(number, Pending { answer, open, report, script: None });
        }
        for (connection, id, name, state) in rest.waits {
            orders.waits.extend(answer(connection).map(|answer| Wait { answer, id, name, state }));
        }
        orders
    }

    /// A ticket for the `line`th line of the report with this number.
    pub fn ticket(&mut self, report: u64, line: usize) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.tickets.insert(ticket, (report, line));
        ticket
    }

    /// The ticket belongs to another line of its report.
    pub fn move_to(&mut self, ticket: Ticket, line: usize) {
        if let Some(place) = self.tickets.get_mut(&ticket) {
            place.1 = line;
        }
    }

    /// A number for a report.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Enters a report with `open` lines that are not known yet; answers at once where there are none.
    pub fn enter(&mut self, number: u64, answer: Option<Answer>, open: usize, report: Report) {
        let pending = Pending { answer, open, report, script: None };
        if open == 0 {
            pending.finish();
        } else {
            self.pending.insert(number, pending);
        }
    }

    /// Enters the one order of a script; the other end of `script` is told how it came out.
    pub fn enter_for_script(&mut self, number: u64, result: OrderResult, script: oneshot::Sender<OrderResult>) {
        let report = Report::Orders("script", vec![result]);
        self.pending.insert(number, Pending { answer: None, open: 1, report, script: Some(script) });
    }

    /// The outcome behind a ticket is known.
    pub fn settle(&mut self, ticket: Ticket, outcome: Outcome, state: Option<State>) {
        self.fill(ticket, |report, line| report.fill(line, outcome, state));
    }

    /// The outcome of a rotation is known.
    pub fn rotated(&mut self, ticket: u64, outcome: Result<u64, String>) {
        let is_ok = outcome.is_ok();
        let (bytes, message) = outcome.map_or_else(|message| (0, Some(message)), |bytes| (bytes, None));
        self.fill_rotation(ticket, is_ok, bytes, message);
    }

    /// A rotation found nothing to do: as good as done.
    pub fn nothing_to_rotate(&mut self, ticket: u64, message: String) {
        self.fill_rotation(ticket, true, 0, Some(message));
    }

    fn fill_rotation(&mut self, ticket: u64, ok: bool, bytes: u64, message: Option<String>) {
        self.fill(Ticket(ticket), |report, line| {
            if let Report::Rotations(results) = report
                && let Some(result) = results.get_mut(line)
            {
                (result.ok, result.bytes, result.message) = (ok, bytes, message);
            }
        });
    }

    /// A script that a reload brought is in force, or why it is not.
    pub fn loaded(&mut self, ticket: Ticket, outcome: Result<String, String>) {
        self.fill(ticket, |report, line| {
            if let Report::Reload(results) = report
                && let Some(result) = results.get_mut(line)
            {
                result.ok = outcome.is_ok();
                result.done = match outcome {
                    Ok(done) => done,
                    Err(why) => format!("not loaded: {why}"),
                };
            }
        });
    }

    fn fill(&mut self, ticket: Ticket, fill: impl FnOnce(&mut Report, usize)) {
        let Some((number, line)) = self.tickets.remove(&ticket) else { return };
        let Some(pending) = self.pending.get_mut(&number) else { return };
        fill(&mut pending.report, line);
        pending.open -= 1;
        if pending.open == 0
            && let Some(pending) = self.pending.remove(&number)
        {
            pending.finish();
        }
    }

    /// Clears out the clients that are gone; returns the tickets that nobody holds any more.
    pub fn clear_out(&mut self) -> Vec<Ticket> {
        self.waits.retain(|wait| !wait.answer.is_lost());
        let pending = &mut self.pending;
        pending.retain(|_, pending| !pending.is_lost());
        let mut lost = Vec::new();
        self.tickets.retain(|ticket, (number, _)| {
            let is_held = pending.contains_key(number);
            if !is_held {
                lost.push(*ticket);
            }
            is_held
        });
        lost
    }
}

impl Pending {
    /// Whether nobody waits for it any more. A reload by a signal has nobody from the start, and is told in the log.
    fn is_lost(&self) -> bool {
        self.script.as_ref().is_some_and(oneshot::Sender::is_closed) || self.answer.as_ref().is_some_and(Answer::is_lost)
    }

    fn finish(self) {
        match self.report {
            Report::Orders(_, services) if self.script.is_some() => {
                // The host may be gone meanwhile.
                let _ = self.script.zip(services.into_iter().next()).map(|(script, result)| script.send(result));
            }
            Report::Orders(verb, services) => {
                let report = OrderReport { services };
                if let Some(answer) = self.answer {
                    answer.finish(&report, || {
                        let width = text::name_width(report.services.iter().map(|result| result.name.as_str()));
                        report.services.iter().map(|result| text::order(verb, result, width, text::Paint::Plain)).collect()
                    });
                }
            }
            Report::Reload(services) => {
                let failed: Vec<&str> = services.iter().filter(|result| !result.ok).map(|result| result.name.as_str()).collect();
                if !failed.is_empty() {
                    tracing::warn!("the reload was not done for: {}", failed.join(", "));
                }
                let report = ReloadReport { dry_run: false, services, notes: Vec::new() };
                if let Some(answer) = self.answer {
                    answer.finish(&report, || text::reload(&report));
                }
            }
            Report::Rotations(logs) => {
                let report = RotateReport { logs };
                if let Some(answer) = self.answer {
                    answer.finish(&report, || {
                        let width = text::name_width(report.logs.iter().map(|result| result.name.as_str()));
                        report.logs.iter().map(|result| text::rotate(result, width)).collect()
                    });
                }
            }
        }
    }
}

impl Report {
    fn fill(&mut self, line: usize, outcome: Outcome, state: Option<State>) {
        let (word, ok, message) = match outcome {
            Outcome::Done => (wire::Outcome::Done, true, None),
            Outcome::Unchanged => (wire::Outcome::Unchanged, true, None),
            Outcome::Failed(message) => (wire::Outcome::Failed, false, Some(message)),
            Outcome::Overtaken(actor) => {
                (wire::Outcome::Overtaken, false, Some(format!("{actor} wanted the opposite meanwhile")))
            }
        };
        match self {
            Self::Orders(_, results) => {
                if let Some(result) = results.get_mut(line) {
                    result.outcome = word;
                    result.ok = ok;
                    // What it says of a hold stays, unless there is worse to say.
                    result.message = message.or(result.message.take());
                    result.state = state.unwrap_or(State::Stopped);
                }
            }
            Self::Reload(results) => {
                if let Some(result) = results.get_mut(line) {
                    result.ok = ok;
                    if let Some(message) = message {
                        result.done = format!("{}, but: {message}", result.done);
                    }
                }
            }
            Self::Rotations(_) => {}
        }
    }
}

impl Daemon {
    /// Waits for a state on behalf of a client.
    pub(super) fn wait(&mut self, id: ServiceId, name: ServiceName, state: State, answer: Answer) {
        self.orders.waits.push(Wait { answer, id, name, state });
        self.settle_waits();
    }

    /// Answers those whose state is reached.
    pub(super) fn settle_waits(&mut self) {
        if self.orders.waits.is_empty() {
            return;
        }
        let (supervisor, waits) = (&self.supervisor, std::mem::take(&mut self.orders.waits));
        for wait in waits {
            match supervisor.service(wait.id) {
                None => {
                    let message = format!("{} was removed by a reload", wait.name);
                    wait.answer.refuse(&Fault::new(FaultCode::UnknownService, message));
                }
                Some(service) if service.word() == wait.state => {
                    let report = WaitReport { name: wait.name.as_str().to_owned(), state: wait.state };
                    wait.answer.finish(&report, || text::wait(&report, text::Paint::Plain));
                }
                Some(_) => self.orders.waits.push(wait),
            }
        }
    }
}

/// What a reload says of one service before anything is known to have failed.
#[must_use]
pub fn reload_line(name: &ServiceName, change: Change, applied: bool, live: bool, selected: bool) -> ReloadResult {
    let (word, done) = match change {
        Change::Added if selected => (wire::Change::Added, "started"),
        Change::Added => (wire::Change::Added, "not selected, stays stopped"),
        Change::Removed => (wire::Change::Removed, "stopped and removed"),
        Change::Definition if applied && live => (wire::Change::Restarted, "restarted with the new definition"),
        Change::Definition if live => (wire::Change::Changed, "takes effect at its next explicit restart"),
        Change::Definition => (wire::Change::Changed, "takes effect at its next start"),
        Change::Pending if applied => (wire::Change::Restarted, "restarted with the new definition"),
        Change::Pending => (wire::Change::Unchanged, "changed by an earlier reload, takes effect at its next explicit restart"),
        Change::Policy => (wire::Change::Policy, "in effect now"),
        Change::None => (wire::Change::Unchanged, "left alone"),
    };
    ReloadResult { name: name.as_str().to_owned(), change: word, done: done.to_owned(), ok: true }
}
