//! What clients ask about scripts: `hook list`, `hook enable`, `hook disable`, `emit`, `x`.

use std::time::Duration;

use super::asks::Asker;
use super::calls::meant;
use super::host::Host;
use super::scripts::{Script, State};
use crate::control::server::Answer;
use crate::daemon::clock::Now;
use crate::daemon::event_loop::Daemon;
use crate::hooks::delivery::{Past, Standing};
use crate::hooks::frame::{Question, ToHost};
use crate::wire::fault::shown;
use crate::wire::hooks::{
    self, CommandView, CommandsReport, HandlerView, HookReport, HostView, ScriptState, ScriptView, SwitchReport,
};
use crate::wire::request::{HookOrder, PluginCall};
use crate::wire::{Fault, FaultCode};

impl Daemon {
    pub(in crate::daemon) fn hook_order(&mut self, order: HookOrder, answer: Answer, now: Now) {
        match order {
            HookOrder::List => {
                let report = self.hook_report(now);
                answer.finish(&report, || hooks::list(&report));
            }
            HookOrder::Enable { name } => self.switch(name, true, answer),
            HookOrder::Disable { name } => self.switch(name, false, answer),
        }
    }

    fn hook_report(&self, now: Now) -> HookReport {
        let (pid, next) = match &self.hooks.host {
            Host::Down => (None, None),
            Host::Waiting { until } => (None, Some(now.rfc3339_at(*until))),
            Host::Up(up) => (Some(up.pid), None),
        };
        HookReport {
            version: 1,
            host: HostView { pid, launches: self.hooks.memory.hosts, next_start_at: next },
            scripts: self.hooks.scripts.iter().map(|script| self.script_view(script, now)).collect(),
        }
    }

    fn script_view(&self, script: &Script, now: Now) -> ScriptView {
        let name = script.name.as_str();
        let (state, message) = match (&script.state, &script.loaded) {
            _ if self.hooks.memory.disabled.contains(name) => (ScriptState::Disabled, None),
            _ if self.hooks.memory.quarantine.has(name) => {
                let way = format!("it took the hook host down 3 times; `section3 hook enable {name}` brings it back");
                (ScriptState::Quarantined, Some(way))
            }
            (State::Refused(why), Some(_)) => (ScriptState::Stale, Some(why.clone())),
            (State::Refused(why), None) => (ScriptState::Failed, Some(why.clone())),
            (State::Loaded, _) => (ScriptState::Loaded, None),
            (State::Absent | State::Loading, _) => (ScriptState::Loading, None),
        };
        let standings = self.hooks.memory.deliveries.standings(name, &self.ring, self.ring.mono_ms(now.moment));
        ScriptView {
            name: name.to_owned(),
            kind: script.kind().to_owned(),
            state,
            message,
            handlers: standings.into_iter().map(|standing| handler_view(&standing, now)).collect(),
            commands: commands_of(script),
        }
    }

    fn no_script(&self, name: &str) -> Fault {
        let known = self.hooks.scripts.iter().map(|script| script.name.as_str());
        Fault::new(FaultCode::Failed, format!("no such hook or plugin: `{}`{}", shown(name), meant(name, known)))
            .with_hint("`section3 hook list` lists them")
    }

    fn switch(&mut self, name: String, enabled: bool, answer: Answer) {
        if self.hooks.find(&name).is_none() {
            return answer.refuse(&self.no_script(&name));
        }
        let memory = &mut self.hooks.memory;
        let unchanged = if enabled {
            let was_disabled = memory.disabled.remove(&name);
            let was_out = memory.quarantine.has(&name);
            memory.quarantine.release(&name);
            memory.deliveries.resume(&name);
            if was_disabled {
                // It was not to hear of what happened meanwhile.
                memory.deliveries.start_over(&name);
            }
            !was_disabled && !was_out
        } else {
            !memory.disabled.insert(name.clone())
        };
        if !unchanged {
            let end = self.ring.end();
            tracing::info!("{name}: {}", if enabled { "enabled" } else { "disabled" });
            if enabled {
                if let Some(script) = self.hooks.find_mut(&name) {
                    script.from = end;
                }
                self.hooks.load(&name);
            } else {
                self.hooks.send(&ToHost::Unload { script: name.clone() });
                if let Some(script) = self.hooks.find_mut(&name) {
                    script.state = State::Absent;
                    script.loaded = None;
                }
                self.settle_load(&name, Err("it was disabled meanwhile".to_owned()));
            }
        }
        let report = SwitchReport { name, enabled, unchanged };
        answer.finish(&report, || hooks::switch(&report));
    }

    pub(in crate::daemon) fn call_plugin(&mut self, call: PluginCall, answer: Answer, now: Now) {
        let PluginCall { plugin, command, args, limit_ms } = call;
        let named = self.hooks.scripts.iter().filter(|script| plugin.as_ref().is_none_or(|plugin| *plugin == script.name));
        let commands: Vec<CommandView> = named.flat_map(commands_of).collect();
        let Some((plugin, command)) = plugin.as_ref().zip(command) else {
            if let Some(plugin) = plugin.filter(|plugin| self.hooks.find(plugin).is_none()) {
                return answer.refuse(&self.no_script(&plugin));
            }
            let report = CommandsReport { version: 1, commands };
            return answer.finish(&report, || hooks::commands(&report));
        };
        if self.hooks.find(plugin).is_none() {
            return answer.refuse(&self.no_script(plugin));
        }
        let is_known = commands.iter().any(|view| view.command == command);
        if !is_known && self.hooks.why_not_loaded(plugin).is_none() {
            let near = meant(&command, commands.iter().map(|view| view.command.as_str()));
            let fault = Fault::new(FaultCode::Usage, format!("{plugin} has no command `{}`{near}", shown(&command)));
            return answer.refuse(&fault.with_hint(format!("`section3 x {plugin}` lists its commands")));
        }
        let question = Question::Command { name: command, args };
        self.ask(plugin, question, Duration::from_millis(limit_ms), Asker::Client(answer), now);
    }
}

fn commands_of(script: &Script) -> Vec<CommandView> {
    let commands = script.loaded.iter().flat_map(|loaded| &loaded.commands);
    let view = |(command, summary): &(String, String)| CommandView {
        plugin: script.name.clone(),
        command: command.clone(),
        summary: summary.clone(),
    };
    commands.map(view).collect()
}

fn handler_view(standing: &Standing<'_>, now: Now) -> HandlerView {
    let counters = standing.counters;
    HandlerView {
        name: standing.handler.to_owned(),
        delivered: counters.delivered,
        ok: counters.ok,
        failed: counters.failed,
        timed_out: counters.timed_out,
        killed: counters.killed,
        dropped: counters.dropped,
        lost: counters.lost,
        lag_events: standing.lag,
        lag_ms: standing.lag_ms,
        run_p50_ms: counters.runs.median(),
        run_max_ms: counters.runs.longest(),
        paused_until: standing.paused_until.map(|until| now.rfc3339_at(until)),
        last_error: counters.last_error.clone(),
    }
}
