//! A new config: which scripts are loaded, loaded anew, or forgotten.

use serde::{Deserialize, Serialize};

use super::host::Host;
use super::scripts::{Catalogue, Print, Script, State};
use super::{Hooks, Memory, stderr};
use crate::daemon::event_loop::Daemon;
use crate::hooks::delivery::{Blame, Past};
use crate::hooks::frame::{Body, ToHost};
use crate::spec::script::SecretSource;
use crate::supervision::Ticket;
use crate::value::Moment;
use crate::value::sorted::Map;
use crate::wire::{Change, ReloadResult};

/// [`Hooks`], written down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct HooksRest {
    memory: Memory,
    secrets: Map<String, SecretSource>,
    /// Name, body, files, the event from which it hears, and who waits for it to be loaded.
    scripts: Vec<(String, Body, Print, u64, Option<Ticket>)>,
    /// The process of the host, which ends with its descriptor.
    #[serde(default)]
    host: Option<i32>,
}

impl Hooks {
    /// A script that the host was not told of.
    pub(super) fn script(&self, name: String, body: Body, print: Print, from: u64) -> Script {
        let voice = stderr::Voice::default();
        Script { name, body, print, generation: 0, from, state: State::Absent, loaded: None, ticket: None, voice }
    }

    /// What a re-exec hands over. The host is started anew: what its handlers had begun with are second attempts, for which
    /// nobody is to blame.
    #[must_use]
    pub(in crate::daemon) fn rest(&self) -> HooksRest {
        let mut memory = self.memory.clone();
        memory.deliveries.host_died(Some(Blame { deliveries: &[] }));
        let scripts = self.scripts.iter();
        let scripts = scripts.map(|script| {
            let Script { name, body, print, from, ticket, .. } = script;
            (name.clone(), body.clone(), print.clone(), *from, *ticket)
        });
        let host = match &self.host {
            Host::Up(up) => Some(up.pid),
            Host::Down | Host::Waiting { .. } => self.predecessor.map(|(pid, _)| pid),
        };
        HooksRest { memory, secrets: self.secrets.clone(), scripts: scripts.collect(), host }
    }

    /// What an earlier image of the program handed over.
    #[must_use]
    pub(in crate::daemon) fn from_rest(rest: HooksRest) -> Self {
        let mut hooks = Self::new(Catalogue::default(), rest.secrets, 1, rest.memory);
        for (name, body, print, from, ticket) in rest.scripts {
            let script = hooks.script(name, body, print, from);
            hooks.scripts.push(Script { ticket, ..script });
        }
        hooks.predecessor = rest.host.map(|pid| (pid, Moment::default()));
        hooks
    }

    /// What a reload would do.
    pub(in crate::daemon) fn plan(&self, catalogue: &Catalogue) -> Vec<ReloadResult> {
        self.changes(catalogue).into_iter().map(|(name, change)| line(&name, change, false)).collect()
    }

    /// What a reload finds, in the order of the new config, what is gone last.
    fn changes(&self, catalogue: &Catalogue) -> Vec<(String, Change)> {
        let kept = catalogue.scripts.iter().map(|(name, body, print)| {
            let change = match self.find(name) {
                None => Change::Added,
                Some(script) if script.body != *body || script.print != *print => Change::Changed,
                Some(_) => Change::Unchanged,
            };
            (name.clone(), change)
        });
        let gone = self.scripts.iter().filter(|script| !catalogue.scripts.iter().any(|(name, ..)| *name == script.name));
        kept.chain(gone.map(|script| (script.name.clone(), Change::Removed))).collect()
    }
}

/// What a reload says of one script before anything is known to have failed.
fn line(name: &str, change: Change, is_out: bool) -> ReloadResult {
    let done = match change {
        Change::Added | Change::Changed if is_out => "stays disabled",
        Change::Added => "loaded",
        Change::Changed | Change::Policy | Change::Restarted => "loaded anew",
        Change::Removed => "unloaded",
        Change::Unchanged => "left alone",
    };
    ReloadResult { name: format!("hook {name}"), change, done: done.to_owned(), ok: true }
}

impl Daemon {
    /// Takes over the scripts of a new config. Returns a line for each, with a ticket where the host has still to say how it
    /// went.
    pub(in crate::daemon) fn reload_hooks(
        &mut self,
        catalogue: Catalogue,
        secrets: Map<String, SecretSource>,
        mut ticket: impl FnMut(&mut Self) -> Ticket,
    ) -> Vec<(ReloadResult, Option<Ticket>)> {
        let plan = self.hooks.changes(&catalogue);
        let has_new_secrets = std::mem::replace(&mut self.hooks.secrets, secrets.clone()) != secrets;
        let from = self.ring.end();
        let mut before: Map<String, Script> =
            std::mem::take(&mut self.hooks.scripts).into_iter().map(|script| (script.name.clone(), script)).collect();
        for (name, body, print) in catalogue.scripts {
            let script = match before.remove(&name) {
                Some(script) => Script { body, print, ..script },
                None => self.hooks.script(name, body, print, from),
            };
            self.hooks.scripts.push(script);
        }
        let mut lines = Vec::new();
        for (name, change) in plan {
            match change {
                Change::Removed => {
                    self.hooks.send(&ToHost::Unload { script: name.clone() });
                    let memory = &mut self.hooks.memory;
                    memory.deliveries.forget(&name);
                    memory.budget.forget(&name);
                    memory.quarantine.release(&name);
                    memory.disabled.remove(&name);
                }
                Change::Added | Change::Changed => {
                    self.hooks.memory.quarantine.release(&name);
                    if !has_new_secrets {
                        self.hooks.load(&name);
                    }
                }
                Change::Policy | Change::Restarted | Change::Unchanged => {}
            }
            let is_out = self.hooks.memory.disabled.contains(&name);
            let is_loading = self.hooks.find(&name).is_some_and(|script| script.state == State::Loading);
            let ticket = (is_loading && change != Change::Unchanged).then(|| ticket_for(self, &name, &mut ticket));
            lines.push((line(&name, change, is_out), ticket));
        }
        // A removed script's client, and one whose version was overtaken, wait for nothing.
        for ticket in before.into_values().filter_map(|script| script.ticket) {
            self.orders.loaded(ticket, Err("a later reload removed it".to_owned()));
        }
        if has_new_secrets {
            self.renew_host();
        }
        lines
    }

    /// Secrets come with the first frame: a host with other ones is another host.
    fn renew_host(&mut self) {
        let until = crate::daemon::clock::Now::read().moment + super::LAST_EVENTS;
        self.hooks.say_bye(super::LAST_EVENTS, until);
    }
}

fn ticket_for(daemon: &mut Daemon, name: &str, ticket: &mut impl FnMut(&mut Daemon) -> Ticket) -> Ticket {
    let ticket = ticket(daemon);
    let before = daemon.hooks.find_mut(name).and_then(|script| script.ticket.replace(ticket));
    if let Some(before) = before {
        daemon.orders.loaded(before, Err("a later reload took its place".to_owned()));
    }
    ticket
}
