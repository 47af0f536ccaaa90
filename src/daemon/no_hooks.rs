//! In place of the link to the hook host (`hooks/`) in a program without the feature `hooks`: there are no scripts. The
//! config that names some is refused, so nothing but `hook` and `x` of clients comes here.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

use super::advice::AskId;
use super::clock::Now;
use super::event_loop::Daemon;
use crate::control::server::Answer;
use crate::hooks::frame::Question;
use crate::spec::Scripts;
use crate::spec::script::SecretSource;
use crate::supervision::Ticket;
use crate::sys::wait::Zombie;
use crate::value::sorted::Map;
use crate::value::{Moment, ServiceName};
use crate::wire::advice::Point;
use crate::wire::event::{Actor, Event};
use crate::wire::fault::shown;
use crate::wire::hooks::{self, CommandsReport, HookReport, HostView};
use crate::wire::request::{HookOrder, PluginCall};
use crate::wire::{Fault, FaultCode, ReloadResult};

/// Why nobody answers.
const ABSENT: &str = "this section3 was built without hooks";

/// Everything about scripts.
#[derive(Debug)]
pub struct Hooks;

/// What is known of scripts whatever becomes of their host.
#[derive(Debug, Default)]
pub struct Memory(());

/// [`Hooks`], written down. What a program with scripts wrote cannot be read, and that is said.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct HooksRest;

/// The scripts of a config.
#[derive(Clone, Debug, Default)]
pub struct Catalogue(());

/// Something about the hook host.
#[derive(Debug)]
pub enum HostNote {}

/// A question of a task, on its way to the loop.
#[derive(Debug)]
#[allow(missing_docs, reason = "as in hooks/asks.rs")]
pub struct Inquiry {
    pub script: String,
    pub question: Question,
    pub limit: Duration,
    pub reply: oneshot::Sender<Result<Value, String>>,
}

/// Who is told the answer.
#[derive(Debug)]
pub enum Asker {
    /// A service that waits for advice.
    Decision(AskId, Point),
}

impl Catalogue {
    /// There is none to look at.
    #[must_use]
    pub const fn read(_: &Scripts) -> Self {
        Self(())
    }
}

#[allow(clippy::unused_self, reason = "the other one has something to say")]
impl Hooks {
    pub(super) fn new(_: Catalogue, _: Map<String, SecretSource>, _: u64, _: Memory) -> Self {
        Self
    }

    pub(super) const fn from_rest(_: HooksRest) -> Self {
        Self
    }

    pub(super) const fn rest(&self) -> HooksRest {
        HooksRest
    }

    pub(super) const fn told(&mut self, _: &Event, _: u64) {}

    pub(super) const fn deadline(&self) -> Option<Moment> {
        None
    }

    pub(super) const fn is_over(&self, _: Moment) -> bool {
        true
    }

    pub(super) const fn is_host(&self, _: i32) -> bool {
        false
    }

    pub(super) fn actor(&self, name: &str) -> Actor {
        Actor::Hook(name.into())
    }

    pub(super) const fn decides(&self, _: &str, _: &str, _: &ServiceName) -> bool {
        false
    }

    pub(super) const fn plan(&self, _: &Catalogue) -> Vec<ReloadResult> {
        Vec::new()
    }
}

#[allow(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "the other one has something to do")]
impl Daemon {
    pub(super) const fn look_after_hooks(&mut self, _: Now) {}

    pub(super) const fn feed_hooks(&mut self, _: Now) {}

    pub(super) const fn kill_host(&mut self) {}

    pub(super) const fn await_predecessor(&mut self, _: Now) {}

    pub(super) const fn host_ended(&mut self, _: Zombie, _: Now) {}

    pub(super) const fn host_noted(&mut self, note: HostNote, _: Now) {
        match note {}
    }

    pub(super) fn reload_hooks(
        &mut self,
        _: Catalogue,
        _: Map<String, SecretSource>,
        _: impl FnMut(&mut Self) -> Ticket,
    ) -> Vec<(ReloadResult, Option<Ticket>)> {
        Vec::new()
    }

    pub(super) fn ask(&mut self, _: &str, _: Question, _: Duration, asker: Asker, now: Now) {
        let Asker::Decision(ask, _) = asker;
        self.answered(ask, Err(ABSENT.to_owned()), now);
    }

    pub(super) fn inquired(&mut self, inquiry: Inquiry, _: Now) {
        drop(inquiry.reply.send(Err(ABSENT.to_owned())));
    }

    pub(super) fn hook_order(&mut self, order: HookOrder, answer: Answer, _: Now) {
        match order {
            HookOrder::List => {
                let host = HostView { pid: None, launches: 0, next_start_at: None };
                let report = HookReport { version: 1, host, scripts: Vec::new() };
                answer.finish(&report, || hooks::list(&report));
            }
            HookOrder::Enable { name } | HookOrder::Disable { name } => answer.refuse(&no_script(&name)),
        }
    }

    pub(super) fn call_plugin(&mut self, call: PluginCall, answer: Answer, _: Now) {
        match call.plugin {
            Some(name) => answer.refuse(&no_script(&name)),
            None => {
                let report = CommandsReport { version: 1, commands: Vec::new() };
                answer.finish(&report, || hooks::commands(&report));
            }
        }
    }
}

fn no_script(name: &str) -> Fault {
    Fault::new(FaultCode::Failed, format!("no such hook or plugin: `{}`", shown(name))).with_hint(ABSENT)
}
