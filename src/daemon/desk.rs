//! The desk: what each request of a client means. A closed list; nothing here waits.

use super::clock::Now;
use super::event_loop::Daemon;
use super::handover::Asker;
use super::inbox::ReloadOrder;
use super::orders::Report;
use crate::control::server::{Answer, Call};
use crate::log::LogId;
use crate::supervision::{ServiceId, Wish};
use crate::value::ServiceName;
use crate::value::version::VERSION;
use crate::wire::event::{Actor, Kind, StartReason, StopReason};
use crate::wire::request::{LogName, Order};
use crate::wire::{Fault, FaultCode, OrderResult, Outcome, Request, RotateResult, SignalReport, VersionReport, text};

/// The three orders about services.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Stop,
    Restart,
}

impl Verb {
    const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    const fn wish(self) -> Wish {
        match self {
            Self::Start => Wish::Start(StartReason::Manual),
            Self::Stop => Wish::Stop { reason: StopReason::Manual, within: None },
            Self::Restart => Wish::Restart(StartReason::Restart),
        }
    }
}

impl Daemon {
    /// Answers a client, now or when it is done.
    pub(super) fn answer(&mut self, call: Call, now: Now) {
        let Call { request, uid, answer } = call;
        answer.taken();
        for ticket in self.orders.clear_out() {
            self.supervisor.drop_ticket(ticket);
        }
        let actor = Actor::Client(uid);
        match request {
            Request::Status { names } => match self.find(&names) {
                Ok(ids) => {
                    let report = self.status(&ids, now);
                    answer.finish(&report, || text::status(&report, text::Paint::Plain));
                }
                Err(fault) => answer.refuse(&fault),
            },
            Request::Start(order) => self.order(Verb::Start, &order, &actor, answer, now),
            Request::Stop(order) => self.order(Verb::Stop, &order, &actor, answer, now),
            Request::Restart(order) => self.order(Verb::Restart, &order, &actor, answer, now),
            Request::Reload { dry_run, apply } => {
                self.begin_reload(ReloadOrder { actor, dry_run, apply, answer: Some(answer) });
            }
            Request::Tail { logs, lines, follow } => match self.find_logs(logs) {
                Ok(logs) => self.stream_tail(logs, lines, follow, answer),
                Err(fault) => answer.refuse(&fault),
            },
            Request::Wait { name, state } => match self.find_one(&name) {
                Ok(id) => self.wait(id, name, state, answer),
                Err(fault) => answer.refuse(&fault),
            },
            Request::Events { lines, follow } => self.stream_events(lines, follow, answer),
            Request::Signal { name, signal } => match self.find_one(&name) {
                Ok(id) => match self.signal_main_process(id, signal) {
                    Ok(pid) => {
                        tracing::info!("{name}: sent {signal} to PID {pid} ({actor})");
                        let report = SignalReport { name: name.as_str().to_owned(), pid, signal };
                        answer.finish(&report, || text::signal(&report));
                    }
                    Err(message) => {
                        let state = self.supervisor.service(id).map_or("gone", |service| service.word().word());
                        let message = format!("cannot send {signal} to {name} ({state}): {message}");
                        answer.refuse(&Fault::new(FaultCode::Failed, message));
                    }
                },
                Err(fault) => answer.refuse(&fault),
            },
            Request::Rotate { logs } => match self.find_logs(logs) {
                Ok(logs) => self.rotate(logs, answer),
                Err(fault) => answer.refuse(&fault),
            },
            Request::Hook(order) => self.hook_order(order, answer, now),
            Request::Emit { name, data } => self.emit(&name, data, actor, answer, now),
            Request::Plugin(call) => self.call_plugin(call, answer, now),
            Request::Reexec => {
                self.begin_reexec(Asker { actor, answer: Some(answer) }, now);
            }
            Request::Updated(note) => {
                let words = |version: Option<crate::value::Version>| version.map(|version| version.to_string());
                let kind = Kind::Update { phase: note.phase, from: words(note.from), to: words(note.to), error: note.error };
                self.tell(None, kind, actor, now);
                answer_version(answer);
            }
            Request::Version => answer_version(answer),
        }
    }

    fn order(&mut self, verb: Verb, order: &Order, actor: &Actor, answer: Answer, now: Now) {
        let ids = if order.all { Ok(self.supervisor.services().map(|(id, _)| id).collect()) } else { self.find(&order.names) };
        let ids = match ids {
            Ok(ids) => ids,
            Err(fault) => return answer.refuse(&fault),
        };
        if self.supervisor.is_stopping() && verb != Verb::Stop {
            return answer
                .refuse(&Fault::new(FaultCode::ShuttingDown, "the supervisor is shutting down; nothing is launched any more"));
        }
        let number = self.orders.number();
        let (mut results, mut tickets) = (Vec::new(), Vec::new());
        for (line, id) in ids.iter().enumerate() {
            let Some(service) = self.supervisor.service(*id) else { continue };
            let dependents = if verb == Verb::Start { Vec::new() } else { self.supervisor.running_dependents(*id) };
            let others = dependents.iter().filter(|name| self.supervisor.id(name.as_str()).is_none_or(|id| !ids.contains(&id)));
            let brought = self.supervisor.brings(*id, verb.wish(), actor).into_iter().filter(|id| !ids.contains(id));
            let brought = brought.filter_map(|id| self.supervisor.service(id)).map(|service| service.name().to_string());
            results.push(OrderResult {
                name: service.name().as_str().to_owned(),
                ok: true,
                outcome: Outcome::Accepted,
                state: service.word(),
                message: service.hold().map(|hold| format!("ends the hold by {}", hold.by)),
                dependencies: brought.collect(),
                dependents: others.map(|name| name.as_str().to_owned()).collect(),
            });
            tickets.push(order.wait.then(|| self.orders.ticket(number, line)));
        }
        match verb.wish() {
            Wish::Stop { reason, .. } => {
                self.supervisor.stop_together(ids.iter().copied().zip(tickets), reason, actor, now.moment);
            }
            wish => {
                for (id, ticket) in ids.iter().zip(tickets) {
                    // Not refused: a shutdown was looked for above.
                    let _ = self.supervisor.order(*id, wish, actor, ticket, now.moment);
                }
            }
        }
        if !order.wait {
            for (result, id) in results.iter_mut().zip(&ids) {
                result.state = self.supervisor.service(*id).map_or(result.state, crate::supervision::Service::word);
            }
        }
        let open = if order.wait { results.len() } else { 0 };
        self.orders.enter(number, Some(answer), open, Report::Orders(verb.word(), results));
    }

    fn rotate(&mut self, logs: Vec<(LogName, LogId)>, answer: Answer) {
        let number = self.orders.number();
        let mut results = Vec::new();
        for (line, (name, log)) in logs.into_iter().enumerate() {
            let ticket = self.orders.ticket(number, line);
            self.pump.rotate(log, ticket.0);
            results.push(RotateResult { name: name.as_str().to_owned(), ok: true, bytes: 0, message: None });
        }
        self.orders.enter(number, Some(answer), results.len(), Report::Rotations(results));
    }

    fn find(&self, names: &[ServiceName]) -> Result<Vec<ServiceId>, Fault> {
        names.iter().map(|name| self.find_one(name)).collect()
    }

    fn find_one(&self, name: &ServiceName) -> Result<ServiceId, Fault> {
        self.supervisor.id(name.as_str()).ok_or_else(|| {
            Fault::unknown_service(name.as_str(), self.supervisor.services().map(|(_, service)| service.name().as_str()))
        })
    }

    /// The logs named, or those of all services.
    fn find_logs(&self, names: Vec<LogName>) -> Result<Vec<(LogName, LogId)>, Fault> {
        if names.is_empty() {
            let all = self.supervisor.services();
            return Ok(all.map(|(id, service)| (LogName::Service(service.name().clone()), LogId(id.0))).collect());
        }
        let found = names.into_iter().map(|name| {
            let log = match &name {
                LogName::Supervisor => LogId::OWN,
                LogName::Service(service) => LogId(self.find_one(service)?.0),
            };
            Ok((name, log))
        });
        found.collect()
    }
}

fn answer_version(answer: Answer) {
    let report = VersionReport { version: VERSION.to_owned(), pid: std::process::id() };
    answer.finish(&report, || text::version(&report));
}
