//! What the host says, one frame after the other.

use super::scripts::State;
use super::stderr::Leave;
use crate::daemon::clock::Now;
use crate::daemon::event_loop::Daemon;
use crate::hooks::delivery::Failure;
use crate::hooks::frame::{Done, FromHost, HookError, Loaded, LogLine, NotLoaded};
use crate::wire::event::{HookFault, HookFaultKind, Severity};

/// The script that would not be stopped, as the host named it before it ended itself.
#[derive(Clone, Debug)]
pub struct Culprit {
    /// Which.
    pub script: String,
    /// The events that its handlers had begun with.
    pub deliveries: Vec<u64>,
    /// Which limit.
    pub message: String,
}

impl Daemon {
    pub(super) fn host_said(&mut self, frame: FromHost, now: Now) {
        let Some(up) = self.hooks.up() else { return };
        match frame {
            FromHost::Hello { version } if version == env!("CARGO_PKG_VERSION") => {
                up.has_greeted = true;
                up.pulse.answered(0, now.moment);
            }
            FromHost::Hello { version } => {
                self.condemn_host(&format!("it is of version {version}, this is {}", env!("CARGO_PKG_VERSION")));
            }
            _ if !up.has_greeted => self.condemn_host("it did not say who it is"),
            FromHost::Pong { number } => up.pulse.answered(number, now.moment),
            FromHost::Culprit { script, deliveries, message } => up.culprit = Some(Culprit { script, deliveries, message }),
            FromHost::Loaded(loaded) => {
                let script = loaded.script.clone();
                self.script_loaded(loaded);
                self.ask_on(&script, now);
            }
            FromHost::NotLoaded(refused) => {
                let script = refused.script.clone();
                self.script_refused(refused, now);
                self.ask_on(&script, now);
            }
            FromHost::Began { deliveries } => self.hooks.memory.deliveries.began(&deliveries),
            FromHost::Done(done) => self.delivered(&done, now),
            FromHost::Call(call) => self.called(call, now),
            FromHost::Answer { ask, run_ms, result } => self.ask_answered(ask, run_ms, result, now),
            FromHost::Log(line) => self.script_says(&line, now),
            FromHost::Failed { script, handler, error } => self.script_failed(&script, handler, error, now),
        }
    }

    fn script_loaded(&mut self, loaded: Loaded) {
        let name = loaded.script.clone();
        // An answer about an older version, or about a script that a reload has removed meanwhile.
        let Some(script) = self.hooks.scripts.iter_mut().find(|script| script.name == name) else { return };
        if script.generation != loaded.generation || script.state != State::Loading {
            return;
        }
        let count = loaded.handlers.len();
        tracing::info!("{} {name} is loaded: {count} {}", script.kind(), if count == 1 { "handler" } else { "handlers" });
        script.state = State::Loaded;
        self.hooks.memory.deliveries.subscribe(&name, &loaded.handlers, script.from, &self.ring);
        self.hooks.memory.deliveries.keep_questions(&name, &loaded.questions());
        script.loaded = Some(loaded);
        self.settle_load(&name, Ok("loaded".to_owned()));
    }

    fn script_refused(&mut self, refused: NotLoaded, now: Now) {
        let NotLoaded { script: name, generation, error } = refused;
        let Some(script) = self.hooks.find_mut(&name) else { return };
        if script.generation != generation || script.state != State::Loading {
            return;
        }
        script.state = State::Refused(error.message.clone());
        let kept = if script.loaded.is_some() { "; the version before it goes on" } else { "" };
        let message = format!("{}{kept}", error.message);
        self.settle_load(&name, Err(message.clone()));
        let fault = HookFault {
            script: name,
            handler: None,
            event_id: None,
            kind: HookFaultKind::Load,
            message,
            traceback: error.traceback,
        };
        self.tell_fault(fault, false, None, now);
    }

    /// A handler is done.
    pub(super) fn delivered(&mut self, done: &Done, now: Now) {
        let Some(failure) = self.hooks.memory.deliveries.done(done, now.moment) else { return };
        let Failure { script, handler, seq, error, is_paused } = failure;
        let fault = HookFault {
            script,
            handler: Some(handler),
            event_id: Some(self.event_id(seq)),
            kind: error.kind,
            message: error.message,
            traceback: error.traceback,
        };
        self.tell_fault(fault.clone(), false, Some(seq), now);
        if is_paused {
            let message = format!("it failed too often in a row and is paused for 10 minutes; last: {}", fault.message);
            self.tell_fault(HookFault { message, traceback: None, ..fault }, true, Some(seq), now);
        }
    }

    /// A timer, a spawned function or a question failed.
    pub(super) fn script_failed(&mut self, name: &str, handler: Option<String>, error: HookError, now: Now) {
        if self.hooks.find(name).is_none() {
            return;
        }
        // One that fails a thousand times a second must not empty the ring.
        if self.hooks.memory.budget.emit(name, now.moment).is_err() {
            return;
        }
        let HookError { kind, message, traceback } = error;
        let fault = HookFault { script: name.to_owned(), handler, event_id: None, kind, message, traceback };
        self.tell_fault(fault, false, None, now);
    }

    fn script_says(&mut self, line: &LogLine, now: Now) {
        let Some(script) = self.hooks.find_mut(&line.script) else { return };
        let unsaid = match script.voice.leave(now.moment) {
            Leave::Yes(unsaid) => unsaid,
            Leave::No => return,
        };
        let who = format!("{} {}", script.kind(), script.name);
        if unsaid > 0 {
            tracing::warn!("{who}: {unsaid} lines of its log were left out");
        }
        let fields: String = line.fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let text = format!("{who}: {}{fields}", line.message);
        match line.level {
            Severity::Debug => tracing::debug!("{text}"),
            Severity::Info => tracing::info!("{text}"),
            Severity::Warning => tracing::warn!("{text}"),
            Severity::Error | Severity::Critical => tracing::error!("{text}"),
        }
    }
}
