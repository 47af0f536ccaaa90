//! The supervisor's side of hooks and plugins: feeds events to the hook host, answers its calls, asks it questions, and brings
//! it back when it dies. Nothing here waits for the host, and no script can change what is decided but through the roads
//! that clients have.

mod asks;
mod calls;
mod frames;
mod host;
mod link;
mod reload;
mod scripts;
mod stderr;
mod verbs;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use asks::{Asker, Inquiry};
pub use host::HostNote;
pub use scripts::Catalogue;

use self::asks::Asks;
use self::host::{Host, Up};
use self::scripts::{Script, State};
use super::clock::Now;
use super::event_loop::Daemon;
use crate::hooks::budget::Budget;
use crate::hooks::delivery::{Deliveries, Handed, Past};
use crate::hooks::frame::{Delivery, Done, HookError, ToHost};
use crate::hooks::quarantine::{Quarantine, Revival};
use crate::spec::script::SecretSource;
use crate::value::glob::Glob;
use crate::value::json::Raw;
use crate::value::sorted::{Map, Set};
use crate::value::{Moment, ServiceName};
use crate::wire::event::{Actor, Event, HookFault, HookFaultKind, Kind, Origin};

/// What the host gets of the budget at a shutdown.
const LAST_EVENTS: Duration = Duration::from_secs(2);
/// Between the end of its time and SIGKILL: for a host that obeys to the last moment.
const LAST_GRACE: Duration = Duration::from_millis(250);

/// Everything about scripts.
#[derive(Debug)]
pub struct Hooks {
    /// The scripts of the config, in its order.
    scripts: Vec<Script>,
    secrets: Map<String, SecretSource>,
    host: Host,
    /// The host of the program before, and until when it may write down what its scripts keep.
    predecessor: Option<(i32, Moment)>,
    asks: Asks,
    /// The shutdown began.
    closing: Option<Closing>,
    /// What outlives a host, and the supervisor's program.
    pub memory: Memory,
}

/// What is known of scripts whatever becomes of their host. Plain, for a re-exec to hand over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Memory {
    /// Who has heard what.
    pub deliveries: Deliveries,
    /// Who has to stay out.
    pub quarantine: Quarantine,
    /// When a host comes back.
    pub revival: Revival,
    /// Who did how much.
    pub budget: Budget,
    /// Scripts that an operator switched off.
    pub disabled: Set<String>,
    /// Hosts launched so far.
    pub hosts: u64,
    /// Versions of scripts loaded so far.
    pub generation: u64,
}

/// How a shutdown stands with the host.
#[derive(Clone, Copy, Debug)]
struct Closing {
    /// The last event that it is to get is before this one.
    end: u64,
    /// The end of its time.
    until: Moment,
    /// It was told.
    is_said: bool,
}

impl Hooks {
    /// The scripts of a boot: they hear everything since event `from`.
    #[must_use]
    pub fn new(catalogue: Catalogue, secrets: Map<String, SecretSource>, from: u64, memory: Memory) -> Self {
        let mut hooks = Self {
            scripts: Vec::new(),
            secrets,
            host: Host::Down,
            predecessor: None,
            asks: Asks::default(),
            closing: None,
            memory,
        };
        for (name, body, print) in catalogue.scripts {
            hooks.scripts.push(hooks.script(name, body, print, from));
        }
        hooks
    }

    /// An event took its place in the ring, whose oldest one is `first`.
    pub fn told(&mut self, event: &Event, first: u64) {
        self.memory.deliveries.told(event, first);
    }

    /// When something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let host = match &self.host {
            Host::Down => None,
            Host::Waiting { until } => Some(*until).filter(|_| self.closing.is_none()),
            Host::Up(up) => up.deadline().into_iter().chain(self.memory.deliveries.deadline()).min(),
        };
        let closing = self
            .closing
            .filter(|_| self.is_up())
            .map(|closing| if closing.is_said { closing.until + host::LAST_FRAMES } else { closing.until });
        [host, closing, self.asks.deadline(), self.predecessor.map(|(_, until)| until)].into_iter().flatten().min()
    }

    /// Whether there is nothing of it that would hold up the end of the supervisor: not even a host that SIGKILL does not end.
    #[must_use]
    pub fn is_over(&self, now: Moment) -> bool {
        !self.is_up() || self.closing.is_some_and(|closing| closing.until + host::LAST_FRAMES <= now)
    }

    const fn is_up(&self) -> bool {
        matches!(self.host, Host::Up(_))
    }

    const fn up(&mut self) -> Option<&mut Up> {
        match &mut self.host {
            Host::Up(up) => Some(up),
            Host::Down | Host::Waiting { .. } => None,
        }
    }

    fn find(&self, name: &str) -> Option<&Script> {
        self.scripts.iter().find(|script| script.name == name)
    }

    fn find_mut(&mut self, name: &str) -> Option<&mut Script> {
        self.scripts.iter_mut().find(|script| script.name == name)
    }

    /// Who acts when this script acts.
    #[must_use]
    pub fn actor(&self, name: &str) -> Actor {
        self.find(name).map_or_else(|| Actor::Hook(name.into()), Script::actor)
    }

    /// Whether a script may have something to say at this point about this service; one that is not loaded may.
    #[must_use]
    pub fn decides(&self, name: &str, point: &str, service: &ServiceName) -> bool {
        let Some(loaded) = self.find(name).and_then(|script| script.loaded.as_ref()) else { return true };
        loaded
            .decides
            .iter()
            .any(|(own, glob)| own == point && glob.as_ref().is_none_or(|glob| Glob::new(glob).matches(service.as_str())))
    }

    /// Whether a script is to be in the host.
    fn may_run(&self, name: &str) -> bool {
        !self.memory.disabled.contains(name) && !self.memory.quarantine.has(name)
    }

    /// Whether a host is needed.
    fn is_wanted(&self) -> bool {
        self.closing.is_none() && self.scripts.iter().any(|script| self.may_run(&script.name))
    }

    /// Whether some version of a script is in force.
    fn is_loaded(&self, name: &str) -> bool {
        self.is_up() && self.find(name).is_some_and(|script| script.loaded.is_some())
    }

    /// Whether a script is being loaded for the first time by the host that runs, or by one that is about to.
    fn is_coming(&self, name: &str) -> bool {
        let is_new = |script: &Script| script.loaded.is_none() && matches!(script.state, State::Absent | State::Loading);
        (self.is_up() || self.predecessor.is_some()) && self.may_run(name) && self.find(name).is_some_and(is_new)
    }

    /// Why nobody can ask this script; `None` where one can.
    fn why_not_loaded(&self, name: &str) -> Option<String> {
        let Some(script) = self.find(name) else { return Some(format!("there is no hook or plugin `{name}`")) };
        if self.memory.disabled.contains(name) {
            return Some(format!("{name} is disabled; `section3 hook enable {name}` brings it back"));
        }
        if self.memory.quarantine.has(name) {
            return Some(format!("{name} took the hook host down too often; `section3 hook enable {name}` brings it back"));
        }
        match (&script.state, self.is_loaded(name)) {
            (_, true) => None,
            (State::Refused(why), false) => Some(format!("{name} could not be loaded: {why}")),
            (State::Absent | State::Loading | State::Loaded, false) => Some(format!("{name} is not loaded yet")),
        }
    }

    /// Puts a frame into the next write; `false` where there is no host, or it does not read.
    fn send(&mut self, message: &ToHost) -> bool {
        let Some(up) = self.up() else { return false };
        match up.link.push(message) {
            Ok(()) => true,
            Err(link::Unsent::TooLong) => false,
            Err(link::Unsent::NoRoom) => {
                up.condemn("it does not read what it is told");
                false
            }
        }
    }
}

impl Daemon {
    /// Deadlines and the host's life. What it leads to is carried out in the same turn.
    pub(in crate::daemon) fn look_after_hooks(&mut self, now: Now) {
        if self.hooks.asks.deadline().is_some_and(|at| at <= now.moment) {
            self.give_up_asks(now);
        }
        self.look_after_host(now);
    }

    /// Hands over what this turn has brought, in one write.
    pub(in crate::daemon) fn feed_hooks(&mut self, now: Now) {
        if self.hooks.scripts.is_empty() && !self.hooks.is_up() {
            return;
        }
        self.begin_closing(now);
        self.hand_events_over(now);
        self.end_closing(now);
        self.write_to_host();
    }

    fn hand_events_over(&mut self, now: Now) {
        let Host::Up(up) = &self.hooks.host else { return };
        if !up.is_listening() {
            return;
        }
        let end = self.hooks.closing.map_or_else(|| self.ring.end(), |closing| closing.end);
        let (link, origin, scripts) = (up.link.clone(), self.ring.origin().clone(), &self.hooks.scripts);
        let is_loaded = |name: &str| scripts.iter().any(|script| script.name == name && script.loaded.is_some());
        let mut written: Option<(u64, Raw)> = None;
        let mut too_long = Vec::new();
        self.hooks.memory.deliveries.hand_over(&self.ring, end, now.moment, is_loaded, |handed| {
            if !link.has_room() {
                return false;
            }
            if written.as_ref().is_none_or(|(seq, _)| *seq != handed.event.seq) {
                written = envelope(&handed.event, &origin).map(|envelope| (handed.event.seq, envelope));
            }
            let message = written.as_ref().map(|(_, event)| delivery(handed, event.clone()));
            match message.map(|message| link.push(&message)) {
                Some(Ok(())) => true,
                Some(Err(link::Unsent::NoRoom)) => false,
                Some(Err(link::Unsent::TooLong)) | None => {
                    too_long.push(handed.delivery);
                    true
                }
            }
        });
        for delivery in too_long {
            let message = "the event is longer than a frame".to_owned();
            let error = Some(HookError { kind: HookFaultKind::Load, message, traceback: None });
            self.delivered(&Done { deliveries: vec![delivery], run_ms: None, error }, now);
        }
    }

    /// Something about a script went wrong: everybody but itself is told.
    fn tell_fault(&mut self, fault: HookFault, is_disabled: bool, seq: Option<u64>, now: Now) {
        // What follows from the failure of another script that heard of a failure is as deep as an action of a script:
        // two scripts that stumble over each other's failures come to an end.
        let cause = seq.and_then(|seq| self.ring.event(seq));
        let depth = cause.map_or(0, |event| {
            let is_fault = matches!(event.kind, Kind::HookFailed(_) | Kind::HookDisabled(_));
            event.depth.saturating_add(u8::from(is_fault))
        });
        if depth > crate::hooks::budget::MAX_DEPTH {
            return;
        }
        let led = super::ring::Led { cause: cause.map(|event| event.seq), depth };
        let kind = if is_disabled { Kind::HookDisabled(fault) } else { Kind::HookFailed(fault) };
        self.tell_led(None, kind, Actor::Supervisor, Some(led), now);
    }

    // The end

    /// A shutdown began: the host gets the events up to it.
    fn begin_closing(&mut self, now: Now) {
        if self.hooks.closing.is_some() || !self.supervisor.is_stopping() {
            return;
        }
        let limit = LAST_EVENTS.min(self.supervisor.settings().stop_grace);
        // The machine told `daemon_stopping` first, then what it leads to; the ring has had all of it by now.
        let end =
            self.ring.seq_of_last(|kind| matches!(kind, Kind::DaemonStopping { .. })).map_or(self.ring.end(), |seq| seq + 1);
        self.hooks.closing = Some(Closing { end, until: now.moment + limit, is_said: false });
    }

    /// Says good-bye once the last event was handed over, or its time is over; then waits for its end, not for ever.
    fn end_closing(&mut self, now: Now) {
        let Some(mut closing) = self.hooks.closing else { return };
        let Some(up) = self.hooks.up() else { return };
        if up.is_leaving() && closing.until + LAST_GRACE <= now.moment {
            up.condemn("it did not end in time");
            return;
        }
        let left = closing.until.since(now.moment);
        let Self { hooks, .. } = self;
        let is_waiting = hooks.memory.deliveries.is_any_waiting(closing.end, |name| hooks.is_loaded(name))
            || hooks.scripts.iter().any(|script| script.state == State::Loading);
        if !closing.is_said && (!is_waiting || left.is_zero()) {
            closing.is_said = true;
            hooks.closing = Some(closing);
            hooks.say_bye(left, closing.until);
        }
    }

    /// No time is left at all: the second signal.
    pub(in crate::daemon) fn kill_host(&mut self) {
        if let Some(up) = self.hooks.up() {
            up.condemn("everything is to end now");
        }
    }
}

fn envelope(event: &Event, origin: &Origin) -> Option<Raw> {
    Raw::of(&event.envelope(origin)).ok()
}

fn delivery(handed: &Handed, event: Raw) -> ToHost {
    ToHost::Event(Delivery {
        delivery: handed.delivery,
        script: handed.script.clone(),
        handler: handed.handler.clone(),
        attempt: handed.attempt,
        lost: handed.lost,
        event,
    })
}
