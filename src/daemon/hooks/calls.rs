//! What scripts want of the supervisor. They go by the roads that clients go by, within their budget, and nobody waits.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::host::{HostNote, What};
use crate::daemon::clock::Now;
use crate::daemon::emit::custom;
use crate::daemon::event_loop::Daemon;
use crate::daemon::inbox::Letter;
use crate::daemon::ring::Led;
use crate::daemon::task::Task;
use crate::daemon::usage;
use crate::hooks::budget::deeper;
use crate::hooks::frame::{self, Call, CallError, MAX_FRAME, ToHost, Verb};
use crate::log::LogId;
use crate::supervision::message::HoldOrder;
use crate::supervision::{ServiceId, Wish};
use crate::sys::{task, words};
use crate::value::sorted::Map;
use crate::value::{Signal, nearest};
use crate::wire::event::{Actor, StartReason, StopReason};
use crate::wire::{Fault, OrderResult, Outcome};

/// Calls that wait for something. The host has 8 for each script.
const MOST_OPEN: usize = 512;
/// For an order to be done. It goes on afterwards.
const ORDER_LIMIT: Duration = Duration::from_secs(30);
/// For the log pump and a disk.
const LOG_LIMIT: Duration = Duration::from_secs(5);
/// Lines of a log in one answer.
const MOST_LINES: u32 = 1000;
/// Bytes of them, as JSON: an answer is one frame.
const MOST_BYTES: usize = MAX_FRAME - 4096;

/// What a call returns.
pub type Returned = Result<Value, CallError>;

/// Calls of one host that wait for something; they end with it.
#[derive(Debug, Default)]
pub struct Calls(Map<u64, Task>);

/// What a script does to a service.
enum Deed {
    Wish(Wish),
    /// Why, and for how long.
    Hold(String, Option<Duration>),
}

fn refused(code: &str, message: impl Into<String>) -> CallError {
    CallError { code: code.to_owned(), message: message.into(), retryable: false }
}

impl Daemon {
    pub(super) fn called(&mut self, call: Call, now: Now) {
        let number = call.call;
        // Nothing to return yet: it comes as a letter.
        if let Some(returned) = self.call(call, now).transpose() {
            self.answer_call(number, returned);
        }
    }

    /// What a call has waited for has come.
    pub(super) fn call_returned(&mut self, number: u64, returned: Returned, _now: Now) {
        if self.hooks.up().is_some_and(|up| up.calls.0.remove(&number).is_some()) {
            self.answer_call(number, returned);
        }
    }

    fn answer_call(&mut self, number: u64, returned: Returned) {
        let answer = |result| ToHost::Answer(frame::Answer { call: number, result });
        if !self.hooks.send(&answer(returned)) {
            self.hooks.send(&answer(Err(refused("too_long", "the answer is longer than a frame"))));
        }
    }

    /// Does what is wanted; `None` where that takes its time.
    fn call(&mut self, call: Call, now: Now) -> Result<Option<Value>, CallError> {
        let Call { call: number, script: name, cause, verb } = call;
        let Some(script) = self.hooks.find(&name) else { return Err(refused("refused", format!("no script `{name}`"))) };
        let actor = script.actor();
        match verb {
            Verb::List => {
                let views: Vec<_> = self.supervisor.services().map(|(id, service)| self.service_view(id, service, now)).collect();
                Ok(Some(json!(views)))
            }
            Verb::Get { service } => {
                let id = self.service_called(&service)?;
                self.wait_for_service(number, id, now)
            }
            Verb::Logs { service, lines } => {
                let id = self.service_called(&service)?;
                self.wait_for_log(number, id, lines.min(MOST_LINES))
            }
            Verb::Start { service } => {
                self.script_acts(number, &name, &service, actor, cause, Deed::Wish(Wish::Start(StartReason::Hook)), now)
            }
            Verb::Stop { service } => {
                let wish = Wish::Stop { reason: StopReason::Hook, within: None };
                self.script_acts(number, &name, &service, actor, cause, Deed::Wish(wish), now)
            }
            Verb::Restart { service } => {
                self.script_acts(number, &name, &service, actor, cause, Deed::Wish(Wish::Restart(StartReason::Hook)), now)
            }
            Verb::Signal { service, signal } => {
                let id = self.service_called(&service)?;
                let signal = Signal::parse(&signal).map_err(|why| refused("usage", format!("`{signal}`: {why}")))?;
                self.led_by(cause.as_ref())?;
                self.hooks.memory.budget.act(&name, &service, now.moment)?;
                let pid = self.signal_main_process(id, signal);
                let pid = pid.map_err(|why| refused("failed", format!("cannot send {signal} to {service}: {why}")))?;
                tracing::info!("{service}: sent {signal} to PID {pid} ({actor})");
                Ok(Some(json!({"name": service, "pid": pid, "signal": signal})))
            }
            Verb::Hold { service, reason, for_ms } => {
                let order = Deed::Hold(reason, for_ms.map(Duration::from_millis));
                self.script_acts(number, &name, &service, actor, cause, order, now)
            }
            Verb::Release { service } => self.script_acts(number, &name, &service, actor, cause, Deed::Wish(Wish::Release), now),
            Verb::Emit { name: event, data } => {
                let led = self.led_by(cause.as_ref())?;
                let kind = custom(&event, &data).map_err(|why| refused("usage", why))?;
                self.hooks.memory.budget.emit(&name, now.moment)?;
                self.tell_led(None, kind, actor, Some(led), now);
                Ok(Some(Value::Null))
            }
        }
    }

    fn service_called(&self, name: &str) -> Result<ServiceId, CallError> {
        self.supervisor.id(name).ok_or_else(|| {
            let known = self.supervisor.services().map(|(_, service)| service.name().as_str());
            refused("unknown_service", Fault::unknown_service(name, known).to_string())
        })
    }

    /// What something follows from that a script does now.
    fn led_by(&self, cause: Option<&(String, u8)>) -> Result<Led, CallError> {
        let Some((id, depth)) = cause else { return Ok(Led { cause: None, depth: deeper(0)? }) };
        let event = self.ring.find(id);
        // The ring knows better, while it has it.
        let depth = deeper(event.map_or(*depth, |event| event.depth))?;
        Ok(Led { cause: event.map(|event| event.seq), depth })
    }

    #[allow(clippy::too_many_arguments, reason = "one order, with who and why")]
    fn script_acts(
        &mut self,
        number: u64,
        script: &str,
        service: &str,
        actor: Actor,
        cause: Option<(String, u8)>,
        deed: Deed,
        now: Now,
    ) -> Result<Option<Value>, CallError> {
        let id = self.service_called(service)?;
        let led = self.led_by(cause.as_ref())?;
        self.room_for_call()?;
        if self.supervisor.is_stopping() && !matches!(deed, Deed::Wish(Wish::Stop { .. })) {
            return Err(refused("refused", "the supervisor is shutting down; nothing is launched any more"));
        }
        self.hooks.memory.budget.act(script, service, now.moment)?;
        for ticket in self.orders.clear_out() {
            self.supervisor.drop_ticket(ticket);
        }
        let state = self.supervisor.service(id).map_or(crate::wire::State::Stopped, crate::supervision::Service::word);
        let result = OrderResult {
            name: service.to_owned(),
            ok: true,
            outcome: Outcome::Accepted,
            state,
            message: None,
            dependencies: Vec::new(),
            dependents: Vec::new(),
        };
        let report = self.orders.number();
        let ticket = self.orders.ticket(report, 0);
        let (sender, settled) = oneshot::channel();
        // Before the order: its answer may be there at once.
        self.orders.enter_for_script(report, result, sender);
        self.ring.charge(id, actor.clone(), led, now.moment);
        let is_taken = match deed {
            Deed::Wish(Wish::Stop { reason, .. }) => {
                self.supervisor.stop_together([(id, Some(ticket))], reason, &actor, now.moment);
                Ok(())
            }
            Deed::Wish(wish) => self.supervisor.order(id, wish, &actor, Some(ticket), now.moment),
            Deed::Hold(reason, length) => {
                self.supervisor.hold(id, HoldOrder { actor, reason, length, ticket: Some(ticket) }, now.moment)
            }
        };
        if is_taken.is_err() {
            return Err(refused("refused", "the supervisor is shutting down"));
        }
        self.wait_for(number, async move {
            match timeout(ORDER_LIMIT, settled).await {
                Ok(Ok(result)) => returned(result),
                Ok(Err(_)) => Err(refused("failed", "it was given up")),
                Err(_) => {
                    let message = format!("not done within {} s; it goes on", ORDER_LIMIT.as_secs());
                    Err(refused("timeout", message))
                }
            }
        });
        Ok(None)
    }

    fn room_for_call(&mut self) -> Result<(), CallError> {
        match self.hooks.up() {
            Some(up) if up.calls.0.len() < MOST_OPEN => Ok(()),
            _ => Err(CallError {
                code: "busy".to_owned(),
                message: format!("{MOST_OPEN} calls of scripts are under way"),
                retryable: true,
            }),
        }
    }

    /// The answer comes when this is done, unless the host ends before.
    fn wait_for(&mut self, number: u64, answer: impl Future<Output = Returned> + 'static) {
        let inbox = self.inbox.clone();
        let Some(up) = self.hooks.up() else { return };
        let host = up.number();
        let task = Task::begin(async move {
            let returned = answer.await;
            drop(inbox.send(Letter::Host(HostNote { number: host, what: What::Called(number, returned) })).await);
        });
        up.calls.0.insert(number, task);
    }

    /// A service as `status` shows it, with what only scripts are told: whom it needs, which variables the config gives it, and
    /// what its processes use. The last is read from `/proc`, off the loop.
    fn wait_for_service(&mut self, number: u64, id: ServiceId, now: Now) -> Result<Option<Value>, CallError> {
        let Some(service) = self.supervisor.service(id) else { return Ok(Some(Value::Null)) };
        let mut view = json!(self.service_view(id, service, now));
        let definition = &service.spec().definition;
        view["depends_on"] = json!(definition.depends_on.iter().map(|needed| needed.name.as_str()).collect::<Vec<_>>());
        view["env"] = json!(definition.env.keys().collect::<Vec<_>>());
        let pid = view["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let Some(pid) = pid else { return Ok(Some(view)) };
        self.room_for_call()?;
        self.wait_for(number, async move {
            match tokio::task::spawn_blocking(move || usage::of_run(pid)).await {
                Ok(used) => {
                    view["usage"] = json!({
                        "rss_bytes": used.rss_bytes, "cpu_ms": used.cpu_ms, "fds": used.fds, "processes": used.processes,
                    });
                    Ok(view)
                }
                Err(fault) => Err(refused("internal", fault.to_string())),
            }
        });
        Ok(None)
    }

    fn wait_for_log(&mut self, number: u64, id: ServiceId, lines: u32) -> Result<Option<Value>, CallError> {
        self.room_for_call()?;
        let (reply, snapshot) = oneshot::channel();
        // The other end may have given up waiting.
        self.pump.snapshot(LogId(id.0), lines > 0, None, Box::new(move |snapshot| drop(reply.send(snapshot))));
        self.wait_for(number, async move {
            let slow = || CallError {
                code: "timeout".to_owned(),
                message: "the log cannot be read now (slow disk?)".to_owned(),
                retryable: true,
            };
            let read = async {
                let Ok(Some(snapshot)) = snapshot.await else { return Ok(json!([])) };
                let read = task::aside(move || snapshot.last(lines as usize)).await;
                match read {
                    Ok(Ok(bytes)) => Ok(last_lines(&bytes)),
                    Ok(Err(error)) => Err(refused("failed", format!("cannot read the log: {}", words::io(&error)))),
                    Err(_) => Err(refused("internal", "cannot read the log: no thread for it, or a fault of section3 itself")),
                }
            };
            timeout(LOG_LIMIT, read).await.unwrap_or_else(|_| Err(slow()))
        });
        Ok(None)
    }
}

/// As many of the last lines as fit into an answer.
fn last_lines(bytes: &[u8]) -> Value {
    let text = String::from_utf8_lossy(bytes);
    let mut room = MOST_BYTES;
    let mut lines: Vec<Value> = Vec::new();
    for line in text.lines().rev() {
        let line = Value::from(line);
        // With the quotes, the escapes, and a comma.
        let Some(left) = room.checked_sub(line.to_string().len() + 1) else { break };
        room = left;
        lines.push(line);
    }
    lines.reverse();
    lines.into()
}

fn returned(result: OrderResult) -> Returned {
    if result.ok {
        return Ok(json!(result));
    }
    let code = if result.outcome == Outcome::Overtaken { "overtaken" } else { "failed" };
    Err(refused(code, result.message.unwrap_or_else(|| format!("{} is {}", result.name, result.state))))
}

/// The nearest of these names, as the end of a sentence.
pub fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest::nearest(word, known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_cut_at_its_top() {
        assert_eq!(last_lines(b"a\nb\n"), json!(["a", "b"]));
        let long = "\"".repeat(1000) + "\n";
        let answer = last_lines(long.repeat(2000).as_bytes());
        assert!(answer.to_string().len() <= MOST_BYTES + 2 && answer.as_array().is_some_and(|lines| lines.len() > 500));
        assert_eq!(last_lines("x".repeat(2 * MAX_FRAME).as_bytes()), json!([]));
    }
}
