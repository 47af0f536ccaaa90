//! Carries out what the machine decides. Facts that come of it go back to the machine, never from within a decision.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::census::Census;
use super::clock::Now;
use super::event_loop::Daemon;
use super::inbox::Letter;
use super::recipe::{self, Materials};
use super::ring::Led;
use super::sentence;
use crate::hooks::delivery::Past;
use crate::log::{LogId, Report};
use crate::spec;
use crate::supervision::{Action, Effect, Fact, Remains, ServiceId};
use crate::sys::reserve::{self, Purpose};
use crate::sys::spawn::{self, Outcome, Stage};
use crate::sys::wait::Zombie;
use crate::sys::{task, words};
use crate::value::sorted::Map;
use crate::value::{Moment, Run, ServiceName};
use crate::wire::event::{Actor, Kind, LaunchFacts, RotateReason, Severity};

/// Launches begun in one turn: each costs about a tenth of a millisecond, and between turns the socket is served.
const LAUNCHES_A_TURN: usize = 16;
/// Launches under way: each holds a descriptor, a task and a stack. A launch that hangs on a dead disk takes one of these
/// places.
const LAUNCHES_AT_ONCE: usize = 64;
/// A launch that begins later than this is counted as put off: more services crash at once than this machine can launch.
const LATE: Duration = Duration::from_secs(1);
/// From one word about launches that were put off to the next.
const LATE_NOTICE: Duration = Duration::from_secs(60);
/// For the pump to say that a run's output is kept. A disk that is stuck for longer delays no restart and no shutdown.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// A run whose output is being kept, and until when that is waited for.
pub type Drain = (Moment, ServiceId, Run);

/// Work that is under way or waits for its turn.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Those that are due longest first, each since it is.
    launches: VecDeque<(ServiceId, Run, Moment)>,
    /// Launches that began late, not told of yet, and when that may be told next.
    late: u64,
    late_notice_at: Moment,
    /// Runs of which a launch is ordered and no process exists: what of them is being read.
    gathering: Map<ServiceId, Run>,
    /// Held by the task of every launch whose outcome is awaited: what counts is that its descriptor is closed again.
    under_way: Rc<()>,
    drains: VecDeque<(Moment, ServiceId, Run)>,
    /// Ended children are left for the next turn.
    pub unreaped: bool,
}

impl Backlog {
    /// Whether there is something to be done at once.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.unreaped || (!self.launches.is_empty() && self.has_place())
    }

    fn has_place(&self) -> bool {
        Rc::strong_count(&self.under_way) <= LAUNCHES_AT_ONCE
    }

    /// Counts a launch that was due long before it begins now. Returns how many there were since that was told last, and how
    /// late this one is, where it is to be told again.
    fn count_if_late(&mut self, due: Moment, now: Moment) -> Option<(u64, Duration)> {
        let late_by = now.since(due);
        self.late += u64::from(late_by >= LATE);
        if late_by < LATE || now < self.late_notice_at {
            return None;
        }
        self.late_notice_at = now + LATE_NOTICE;
        Some((std::mem::take(&mut self.late), late_by))
    }

    /// Whether nothing waits at all.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.launches.is_empty()
    }

    /// Launches that have not begun, and drains, to be written down. A launch whose files are being read has not begun.
    #[must_use]
    pub fn rest(&self) -> (Vec<(ServiceId, Run)>, Vec<Drain>) {
        let gathering = self.gathering.iter().map(|(id, run)| (*id, *run));
        (gathering.chain(self.launches.iter().map(|(id, run, _)| (*id, *run))).collect(), self.drains.iter().copied().collect())
    }

    /// The same again.
    #[must_use]
    pub fn from_rest(launches: Vec<(ServiceId, Run)>, drains: Vec<(Moment, ServiceId, Run)>, now: Moment) -> Self {
        let launches = launches.into_iter().map(|(id, run)| (id, run, now)).collect();
        Self { launches, drains: drains.into(), unreaped: true, ..Self::default() }
    }

    /// When a drain has taken too long.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.drains.front().map(|(at, ..)| *at)
    }
}

impl Daemon {
    /// Carries out everything that was decided, and what follows from it, until nothing is left to do now but launches: of
    /// those only a turn's share.
    pub(super) fn carry_out(&mut self, now: Now) {
        self.obey(now);
        self.launch_some(now);
        self.settle_waits();
    }

    /// Carries out what was decided; launches are put down for their turn. For work of which there is much in one turn.
    pub(super) fn obey(&mut self, now: Now) {
        let census = Census::default();
        loop {
            let effects = self.supervisor.take_effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Tell(kind, actor) => self.tell(None, kind, actor, now),
                    Effect::Service(id, action) => self.act(id, action, &census, now),
                }
            }
        }
    }

    fn act(&mut self, id: ServiceId, action: Action, census: &Census, now: Now) {
        match action {
            Action::Launch(run) => self.backlog.launches.push_back((id, run, now.moment)),
            Action::Signal(run, signal) => {
                if self.call_off(id, run, now) {
                    return;
                }
                self.watches.stop_asking(id, run);
                self.children.signal_everyone(id, run, signal, census);
            }
            Action::AskReady(run) => self.ask_ready(id, run),
            Action::WatchHealth(run) => self.watch_health(id, run),
            Action::Ask(question) => self.ask_scripts(id, question, now),
            Action::LimitLog(limits) => self.pump.limits(LogId(id.0), limits),
            Action::Tell(kind, run, actor) => {
                let name = self.supervisor.service(id).map(|service| service.name().clone());
                self.tell(name.map(|name| (id, name, run)), kind, actor, now);
            }
            Action::Answer(ticket, outcome) => {
                let state = self.supervisor.service(id).map(crate::supervision::Service::word);
                self.orders.settle(ticket, outcome, state);
            }
            Action::Forget => {
                self.pump.close(LogId(id.0));
                self.logs.remove(&id);
                self.ring.forget(id);
            }
        }
    }

    /// Gives an event its place, keeps it, and tells everybody.
    pub(super) fn tell(&mut self, about: Option<(ServiceId, ServiceName, Run)>, kind: Kind, actor: Actor, now: Now) {
        self.tell_led(about, kind, actor, None, now);
    }

    /// As [`Daemon::tell`], of something that follows from another event than its service's last one.
    pub(super) fn tell_led(
        &mut self,
        about: Option<(ServiceId, ServiceName, Run)>,
        kind: Kind,
        actor: Actor,
        led: Option<Led>,
        now: Now,
    ) {
        let event = self.ring.push(about, actor, kind, led, now.moment, now.wall);
        let severity = event.kind.severity();
        if let Some(text) = sentence::of(&event) {
            match severity {
                Severity::Debug | Severity::Info => tracing::info!("{text}"),
                Severity::Warning => tracing::warn!("{text}"),
                Severity::Error | Severity::Critical => tracing::error!("{text}"),
            }
        }
        self.subscribers.publish(&event);
        self.hooks.told(&event, self.ring.first());
    }

    // Launching

    pub(super) fn open_log(&mut self, id: ServiceId, spec: &spec::Service) {
        let counters = self.pump.open(LogId(id.0), spec.name.as_str(), spec.policy.log);
        self.logs.insert(id, counters);
    }

    fn launch_some(&mut self, now: Now) {
        for _ in 0..LAUNCHES_A_TURN {
            if !self.backlog.has_place() {
                return;
            }
            let Some((id, run, since)) = self.backlog.launches.pop_front() else { return };
            if let Some((late, by)) = self.backlog.count_if_late(since, now.moment) {
                tracing::warn!(
                    "launches began late ({late}, the last one by {}s) and {} wait: more services end at once than can be \
                     launched; a longer `initial` of their `backoff` gives them room",
                    by.as_secs(),
                    self.backlog.launches.len()
                );
            }
            self.prepare(id, run, now);
        }
    }

    /// A run that has no process yet needs no signal: its launch is called off.
    fn call_off(&mut self, id: ServiceId, run: Run, now: Now) -> bool {
        let before = self.backlog.launches.len();
        self.backlog.launches.retain(|(other, other_run, _)| (*other, *other_run) != (id, run));
        let gathering = self.backlog.gathering.get(&id) == Some(&run) && self.backlog.gathering.remove(&id).is_some();
        let called_off = gathering || self.backlog.launches.len() < before;
        if called_off {
            self.supervisor.learn(id, run, Fact::Gone(Remains::default()), now.moment);
        }
        called_off
    }

    fn prepare(&mut self, id: ServiceId, run: Run, now: Now) {
        let Some(service) = self.supervisor.service(id) else { return };
        let spec = Arc::clone(service.spec());
        if !Materials::are_needed(&spec.definition) {
            self.launch(id, run, &spec, Materials::default(), now);
            return;
        }
        self.backlog.gathering.insert(id, run);
        let inbox = self.inbox.clone();
        task::begin(async move {
            let gathered = task::aside(move || Materials::gather(&spec.definition)).await;
            let gathered = gathered.unwrap_or_else(|_| {
                Err(LaunchFacts { stage: "prepare", message: "no thread for it, or a fault of section3 itself".to_owned() })
            });
            let _ = inbox.send(Letter::Gathered(id, run, gathered)).await;
        });
    }

    pub(super) fn gathered(&mut self, id: ServiceId, run: Run, materials: Result<Materials, LaunchFacts>, now: Now) {
        if self.backlog.gathering.get(&id) != Some(&run) {
            return; // Called off meanwhile.
        }
        self.backlog.gathering.remove(&id);
        let Some(spec) = self.supervisor.service(id).map(|service| Arc::clone(service.spec())) else { return };
        match materials {
            Ok(materials) => self.launch(id, run, &spec, materials, now),
            Err(facts) => self.launch_failed(id, run, facts, now),
        }
    }

    fn launch(&mut self, id: ServiceId, run: Run, spec: &spec::Service, materials: Materials, now: Now) {
        if let Err(facts) = self.try_launch(id, run, spec, materials, now) {
            self.launch_failed(id, run, facts, now);
        }
    }

    fn try_launch(
        &mut self,
        id: ServiceId,
        run: Run,
        spec: &spec::Service,
        materials: Materials,
        now: Now,
    ) -> Result<(), LaunchFacts> {
        let mut recipe = recipe::recipe(&spec.name, &spec.definition, run, &self.surroundings, materials.clone())?;
        let explain = |(stage, errno)| recipe::explain(&spec.definition, stage, errno);
        let (output, input) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| explain((Stage::Pipe, errno)))?;
        let output = reserve::outside(output, Purpose::Output).map_err(|errno| explain((Stage::Pipe, errno)))?;
        let given = self.prepare_watch(id, run, spec, materials, &mut recipe)?;
        let given = given.as_ref().map(|(descriptor, number)| (descriptor.as_fd(), *number));
        let launch = spawn::spawn(recipe, self.null.as_fd(), input.as_fd(), given).map_err(explain)?;
        let launch = Rc::new(launch);
        self.pump.attach(LogId(id.0), run, output);
        self.await_launch(id, run, &launch);
        let pid = launch.pid;
        self.children.add(id, spec.name.clone(), run, launch);
        self.supervisor.learn(id, run, Fact::Spawned { pid }, now.moment);
        Ok(())
    }

    /// A letter comes when the outcome of a launch may be known.
    pub(super) fn await_launch(&self, id: ServiceId, run: Run, launch: &Rc<spawn::Launch>) {
        let (inbox, watched, place) = (self.inbox.clone(), Rc::clone(launch), Rc::clone(&self.backlog.under_way));
        task::begin(async move {
            watched.settled().await;
            drop(watched);
            let _ = inbox.send(Letter::Launched(id, run)).await;
            // Only now: where the inbox is full, no more are launched.
            drop(place);
        });
    }

    /// No process exists: nothing is left, and nothing has to be waited for.
    fn launch_failed(&mut self, id: ServiceId, run: Run, facts: LaunchFacts, now: Now) {
        self.watches.forget(id, run);
        self.supervisor.learn(id, run, Fact::LaunchFailed(facts), now.moment);
        self.supervisor.learn(id, run, Fact::Gone(Remains::default()), now.moment);
    }

    /// The outcome of a launch may be known.
    pub(super) fn launched(&mut self, id: ServiceId, run: Run, now: Now) {
        let Some(slot) = self.children.launch(id, run) else { return };
        let Some(outcome) = slot.as_ref().and_then(|launch| launch.outcome()) else { return };
        *slot = None;
        let fact = match outcome {
            Outcome::Executed => Fact::Executed,
            Outcome::Failed(stage, errno) => {
                let Some(service) = self.supervisor.service(id) else { return };
                Fact::LaunchFailed(recipe::explain(&service.spec().definition, stage, errno))
            }
        };
        self.supervisor.learn(id, run, fact, now.moment);
    }

    /// A main process is a zombie: tells the machine, after the outcome of its launch if that was not known yet.
    pub(super) fn main_process_ended(&mut self, id: ServiceId, run: Run, zombie: Zombie, now: Now) {
        self.launched(id, run, now);
        self.supervisor.learn(id, run, Fact::Exited(zombie.status), now.moment);
    }

    // The end of a run

    /// No process of a run is left: its output is to be in its file before anybody hears of it.
    pub(super) fn drain(&mut self, id: ServiceId, run: Run, now: Now) {
        self.pump.drain(LogId(id.0), run);
        self.backlog.drains.push_back((now.moment + DRAIN_LIMIT, id, run));
    }

    pub(super) fn log_reported(&mut self, report: Report, now: Now) {
        match report {
            Report::Drained { log, run, tail } => self.gone(ServiceId(log.0), run, Some(&tail), now),
            Report::Rotated { log, path, bytes, reason, folded } => {
                let reason = match reason {
                    crate::log::RotateReason::Size => RotateReason::Size,
                    crate::log::RotateReason::Manual(ticket) => {
                        self.orders.rotated(ticket, Ok(bytes));
                        RotateReason::Manual
                    }
                };
                self.tell_log(log, Kind::Rotate { path: path.display().to_string(), bytes, reason, folded }, now);
            }
            Report::NotRotated { log, reason, message } => match reason {
                crate::log::RotateReason::Size => tracing::warn!("{}: cannot rotate its log: {message}", self.log_name(log)),
                crate::log::RotateReason::Manual(ticket) => self.orders.rotated(ticket, Err(message)),
            },
            Report::NothingToRotate { ticket, message } => self.orders.nothing_to_rotate(ticket, message),
            Report::Lost { log, bytes, reason } => self.tell_log(log, Kind::LogDropped { bytes, reason }, now),
            Report::Restored { log, bytes } => {
                tracing::warn!("{}: its log can be written again; {bytes} bytes are missing", self.log_name(log));
            }
            Report::Fault { message } => tracing::error!("{message}"),
        }
    }

    fn log_name(&self, log: LogId) -> &str {
        let service = self.supervisor.service(ServiceId(log.0));
        service.map_or(crate::value::name::SUPERVISOR, |service| service.name().as_str())
    }

    fn tell_log(&mut self, log: LogId, kind: Kind, now: Now) {
        let id = ServiceId(log.0);
        let about = self.supervisor.service(id).map(|service| (id, service.name().clone(), service.run()));
        self.tell(about, kind, Actor::Supervisor, now);
    }

    /// Drains that the pump did not answer in time are over: supervision does not wait for a disk.
    pub(super) fn give_up_drains(&mut self, now: Now) {
        while let Some((at, id, run)) = self.backlog.drains.front().copied() {
            if at > now.moment {
                return;
            }
            self.backlog.drains.pop_front();
            if self.children.get(id).is_some_and(|child| child.run == run) {
                tracing::warn!("{}: its log takes too long to write (slow disk?)", self.log_name(LogId(id.0)));
                self.gone(id, run, None, now);
            }
        }
    }

    fn gone(&mut self, id: ServiceId, run: Run, tail: Option<&[u8]>, now: Now) {
        // A drain that was given up before: the run is history.
        if self.children.get(id).is_none_or(|child| child.run != run) {
            return;
        }
        self.backlog.drains.retain(|(_, other, _)| *other != id);
        self.watches.forget(id, run);
        let usage = self.children.remove(id).and_then(|child| child.usage).unwrap_or_default();
        let remains = Remains {
            max_rss_bytes: usage.max_rss_bytes,
            cpu_user: usage.cpu_user,
            cpu_sys: usage.cpu_sys,
            log_tail: tail.filter(|tail| !tail.is_empty()).map(|tail| {
                let text = String::from_utf8_lossy(tail);
                text.lines().map(str::to_owned).collect()
            }),
        };
        self.supervisor.learn(id, run, Fact::Gone(remains), now.moment);
    }

    /// Sends a signal to the main process of a service, for an operator.
    pub(super) fn signal_main_process(&self, id: ServiceId, signal: crate::value::Signal) -> Result<i32, String> {
        self.children.signal_leader(id, signal).map_err(words::errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launches_that_are_put_off_are_counted_and_told_once_a_minute() {
        let mut backlog = Backlog::default();
        let at = |ms: u64| Moment::from_nanos(ms * 1_000_000);
        let told: Vec<_> = [(5000, 5999), (5000, 6000), (5000, 8000), (60_000, 65_999), (60_000, 66_000), (66_000, 66_001)]
            .map(|(due, now)| backlog.count_if_late(at(due), at(now)))
            .into();
        let seconds = Duration::from_secs;
        assert_eq!(told, [None, Some((1, seconds(1))), None, None, Some((3, seconds(6))), None]);
    }
}
