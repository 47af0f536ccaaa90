//! Which event goes to which handler, and what became of it: a cursor over the ring for each handler.
//!
//! Pure, plain and serialisable. An event that a handler wants is noted as it happens, handed over when there is room, and
//! ticked off when the handler is done with it; what is in the hands of a host that dies is handed over again, in its old
//! place. Nothing here is ever waited for: who is slow lags, and who is overtaken by the ring is told how much he missed.
//!
//! Cursors belong to the names of a script and its handlers, so they stay over reloads and over new hosts.
//!
//! What answers questions (`decide:POINT`, `check:NAME`, ...) is counted here as well, as a handler that wants to hear of nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::counters::Counters;
use super::frame::{Done, HookError, MAX_IN_FLIGHT, Subscription};
use crate::value::Moment;
use crate::value::glob::Glob;
use crate::value::sorted::{Map, Set};
use crate::wire::catalog;
use crate::wire::event::{Event, HookFaultKind, Kind};

/// Failures in a row after which a handler is paused.
pub const FAILURES: u32 = 10;
/// For how long.
const PAUSE: Duration = Duration::from_secs(600);
/// Deaths of the host with an event after which it is given up: the third handler run of it would be the third death.
const DEATHS: u8 = 2;

/// The events there are: numbered without holes.
pub trait Past {
    /// The number of the oldest one that is kept.
    fn first(&self) -> u64;
    /// The number that the next one will get.
    fn end(&self) -> u64;
    /// An event, if it is kept still.
    fn event(&self, seq: u64) -> Option<&Arc<Event>>;
}

/// All cursors, by script and handler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Deliveries {
    last: u64,
    scripts: Map<String, Map<String, Cursor>>,
}

/// How far one handler is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Cursor {
    wants: Subscription,
    /// Events it wants that were not handed over, oldest first. No longer than the ring.
    waiting: VecDeque<u64>,
    in_flight: Map<u64, Flight>,
    /// What is known of events that were handed over before, to a host that died.
    marks: Map<u64, Mark>,
    /// Lost events that it was not told of.
    unannounced: u64,
    failures_in_a_row: u32,
    gate: Gate,
    /// What is counted.
    pub counters: Counters,
}

/// An event in the hands of the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
struct Flight {
    seq: u64,
    mono_ms: u64,
    lost: u64,
    has_begun: bool,
}

/// An event that a host died with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
struct Mark {
    /// A handler had begun with it.
    is_repeated: bool,
    /// Deaths that it, or its handler, is to blame for.
    deaths: u8,
}

/// Whether events are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
enum Gate {
    Open,
    /// After too many failures.
    Closed {
        until: Moment,
    },
    /// One event decides.
    Probing,
}

/// An event that is to go to the host.
#[derive(Clone, Debug)]
pub struct Handed {
    /// Its delivery number.
    pub delivery: u64,
    /// Whose.
    pub script: String,
    /// The handler.
    pub handler: String,
    /// 1, or 2 where a handler had begun with it when the host died.
    pub attempt: u8,
    /// Events missed just before.
    pub lost: u64,
    /// The event.
    pub event: Arc<Event>,
}

/// A handler run that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose.
    pub script: String,
    /// The handler.
    pub handler: String,
    /// The first of its events.
    pub seq: u64,
    /// How.
    pub error: HookError,
    /// It was one too many: the handler is paused.
    pub is_paused: bool,
}

/// What was in the hands of a host that died.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Died {
    /// Scripts whose handlers had begun with something, each with one of these handlers and the event's number.
    pub suspects: Map<String, (String, u64)>,
    /// Events that were given up: script, handler, number.
    pub dropped: Vec<(String, String, u64)>,
}

/// Whom the host named before it ended itself.
#[derive(Clone, Copy, Debug)]
pub struct Blame<'a> {
    /// The events of its that had begun.
    pub deliveries: &'a [u64],
}

/// How a handler is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing<'a> {
    /// Its script.
    pub script: &'a str,
    /// Its name.
    pub handler: &'a str,
    /// What is counted.
    pub counters: &'a Counters,
    /// Events that it wants and that it is not done with.
    pub lag: usize,
    /// How old the oldest of them is.
    pub lag_ms: u64,
    /// Until when it is paused.
    pub paused_until: Option<Moment>,
}

impl Deliveries {
    /// A script, or a new version of it, has these handlers. One that it had before goes on where it is; a new one hears
    /// what happens from event `from` on; the others are forgotten.
    pub fn subscribe(&mut self, script: &str, handlers: &[Subscription], from: u64, past: &impl Past) {
        let mut before = self.scripts.remove(script).unwrap_or_default();
        let after = handlers.iter().map(|wants| {
            let cursor = match before.remove(&wants.name) {
                Some(cursor) => Cursor { wants: wants.clone(), ..cursor },
                None => Cursor::new(wants, script, from, past),
            };
            (wants.name.clone(), cursor)
        });
        let mut after: Map<String, Cursor> = after.collect();
        for (name, cursor) in before.into_iter().filter(|(_, cursor)| cursor.is_of_question()) {
            after.get_or_insert_with(name, || cursor);
        }
        self.scripts.insert(script.to_owned(), after);
    }

    /// A script, or a new version of it, answers these questions: the others are forgotten.
    pub fn keep_questions(&mut self, script: &str, names: &[String]) {
        if let Some(handlers) = self.scripts.get_mut(script) {
            handlers.retain(|name, cursor| !cursor.is_of_question() || names.contains(name));
        }
    }

    /// A script was asked something and is done with it; returns whether it is not asked that again for a while.
    ///
    /// Only what runs over a limit counts towards that, as a failure does in a handler. What it raises and a time-out are told to
    /// whoever asked: a policy server that is down for a minute must not switch its policy off for ten.
    pub fn answered(&mut self, script: &str, name: &str, run_ms: u64, error: Option<&HookError>, now: Moment) -> bool {
        let handlers = self.scripts.get_or_default(script.to_owned());
        let cursor = handlers.get_or_insert_with(name.to_owned(), || Cursor::of_question(name));
        cursor.counters.delivered += 1;
        cursor.counters.ran(run_ms, error);
        cursor.probe_after(now);
        match error.map(|error| error.kind) {
            Some(kind) if kind.is_over_limit() => cursor.failed(now),
            // It was ended before it could run over a limit, or it could not: that says nothing.
            Some(HookFaultKind::Timeout) => false,
            _ => {
                cursor.succeeded();
                false
            }
        }
    }

    /// Whether a script is not asked this for a while.
    #[must_use]
    pub fn is_paused(&self, script: &str, name: &str, now: Moment) -> bool {
        let cursor = self.scripts.get(script).and_then(|handlers| handlers.get(name));
        cursor.and_then(Cursor::paused_until).is_some_and(|until| until > now)
    }

    /// A script is no longer there.
    pub fn forget(&mut self, script: &str) {
        self.scripts.remove(script);
    }

    /// Something happened; to be called once for each event. `first` is the oldest one that is kept.
    pub fn told(&mut self, event: &Event, first: u64) {
        for (script, handlers) in &mut self.scripts {
            for cursor in handlers.values_mut() {
                if wants(&cursor.wants, script, event) {
                    cursor.waiting.push_back(event.seq);
                }
                cursor.overtaken(first);
            }
        }
    }

    /// Hands events over while `take` has room for more; one for each handler in turn. Only scripts that `is_loaded` get
    /// any, and only events before `end`.
    pub fn hand_over(
        &mut self,
        past: &impl Past,
        end: u64,
        now: Moment,
        is_loaded: impl Fn(&str) -> bool,
        mut take: impl FnMut(&Handed) -> bool,
    ) {
        let mut has_more = true;
        while has_more {
            has_more = false;
            for (script, handlers) in &mut self.scripts {
                if !is_loaded(script) {
                    continue;
                }
                for (handler, cursor) in handlers {
                    cursor.overtaken(past.first());
                    let Some(event) = cursor.next(script, past, end, now) else { continue };
                    let event = Arc::clone(event);
                    let delivery = self.last + 1;
                    let mark = cursor.marks.get(&event.seq).copied().unwrap_or_default();
                    let (attempt, lost) = (1 + u8::from(mark.is_repeated), cursor.unannounced);
                    let flight = Flight { seq: event.seq, mono_ms: event.mono_ms, lost, has_begun: false };
                    let handed = Handed { delivery, script: script.clone(), handler: handler.clone(), attempt, lost, event };
                    if !take(&handed) {
                        return;
                    }
                    self.last = delivery;
                    cursor.waiting.pop_front();
                    cursor.unannounced = 0;
                    cursor.in_flight.insert(delivery, flight);
                    has_more = true;
                }
            }
        }
    }

    /// Handlers began with these.
    pub fn began(&mut self, deliveries: &[u64]) {
        for cursor in self.cursors_mut() {
            for delivery in deliveries {
                if let Some(flight) = cursor.in_flight.get_mut(delivery) {
                    flight.has_begun = true;
                }
            }
        }
    }

    /// A handler is done. `None` where it succeeded, or where nobody knows of these.
    pub fn done(&mut self, done: &Done, now: Moment) -> Option<Failure> {
        for (script, handlers) in &mut self.scripts {
            for (handler, cursor) in handlers {
                let flights: Vec<Flight> =
                    done.deliveries.iter().filter_map(|delivery| cursor.in_flight.remove(delivery)).collect();
                let Some(first) = flights.iter().map(|flight| flight.seq).min() else { continue };
                for flight in &flights {
                    cursor.marks.remove(&flight.seq);
                }
                cursor.counters.delivered += flights.len() as u64;
                let is_paused = cursor.ran(done, now);
                let error = done.error.clone()?;
                return Some(Failure { script: script.clone(), handler: handler.clone(), seq: first, error, is_paused });
            }
        }
        None
    }

    /// The host is gone: what it had is handed over again, in its old place. What it had begun with is a second attempt;
    /// who is to blame twice is given up. Without a `blame` everything that had begun is.
    pub fn host_died(&mut self, blame: Option<Blame<'_>>) -> Died {
        let mut died = Died::default();
        for (script, handlers) in &mut self.scripts {
            for (handler, cursor) in handlers {
                let flights = std::mem::take(&mut cursor.in_flight);
                // Numbers of deliveries grow, but the second attempts among them have older events.
                let mut again = Set::new();
                for (delivery, flight) in flights {
                    cursor.unannounced += flight.lost;
                    if !flight.has_begun {
                        again.insert(flight.seq);
                        continue;
                    }
                    let mark = cursor.marks.get_or_default(flight.seq);
                    mark.is_repeated = true;
                    if blame.is_none_or(|blame| blame.deliveries.contains(&delivery)) {
                        mark.deaths += 1;
                        cursor.counters.fail(HookFaultKind::Crash, "the hook host died with it");
                        died.suspects.get_or_insert_with(script.clone(), || (handler.clone(), flight.seq));
                    }
                    if mark.deaths < DEATHS {
                        again.insert(flight.seq);
                    } else {
                        cursor.marks.remove(&flight.seq);
                        cursor.counters.dropped += 1;
                        died.dropped.push((script.clone(), handler.clone(), flight.seq));
                    }
                }
                // Everything handed over was older than what waits, but for what was handed over before and waits again.
                again.extend(cursor.waiting.drain(..));
                cursor.waiting = again.into_iter().collect();
            }
        }
        died
    }

    /// Whether any event is in the hands of the host.
    #[must_use]
    pub fn is_any_in_flight(&self) -> bool {
        self.scripts.values().flat_map(Map::values).any(|cursor| !cursor.in_flight.is_empty())
    }

    /// Whether an event before `end` waits for one of these scripts.
    #[must_use]
    pub fn is_any_waiting(&self, end: u64, is_loaded: impl Fn(&str) -> bool) -> bool {
        let loaded = self.scripts.iter().filter(|(script, _)| is_loaded(script));
        loaded.flat_map(|(_, handlers)| handlers.values()).any(|cursor| cursor.waiting.front().is_some_and(|seq| *seq < end))
    }

    /// When a pause ends.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let cursors = self.scripts.values().flat_map(Map::values);
        cursors.filter(|cursor| !cursor.waiting.is_empty()).filter_map(Cursor::paused_until).min()
    }

    /// Takes back the pauses of a script.
    pub fn resume(&mut self, script: &str) {
        for cursor in self.scripts.get_mut(script).into_iter().flat_map(Map::values_mut) {
            cursor.gate = Gate::Open;
            cursor.failures_in_a_row = 0;
        }
    }

    /// The handlers of a script hear what happens from now on. What they missed was not meant for them.
    pub fn start_over(&mut self, script: &str) {
        for cursor in self.scripts.get_mut(script).into_iter().flat_map(Map::values_mut) {
            cursor.waiting.clear();
            cursor.in_flight.clear();
            cursor.marks.clear();
            cursor.unannounced = 0;
        }
    }

    /// How the handlers of a script are doing.
    pub fn standings<'a>(&'a self, script: &'a str, past: &impl Past, mono_ms: u64) -> Vec<Standing<'a>> {
        let handlers = self.scripts.get(script).into_iter().flatten();
        let standing = handlers.map(|(handler, cursor)| {
            let oldest = cursor.waiting.iter().find_map(|seq| past.event(*seq)).map(|event| event.mono_ms);
            let oldest = oldest.into_iter().chain(cursor.in_flight.values().map(|flight| flight.mono_ms)).min();
            Standing {
                script,
                handler,
                counters: &cursor.counters,
                lag: cursor.waiting.len() + cursor.in_flight.len(),
                lag_ms: oldest.map_or(0, |oldest| mono_ms.saturating_sub(oldest)),
                paused_until: cursor.paused_until(),
            }
        });
        standing.collect()
    }

    fn cursors_mut(&mut self) -> impl Iterator<Item = &mut Cursor> {
        self.scripts.values_mut().flat_map(Map::values_mut)
    }
}

impl Cursor {
    fn new(wants_: &Subscription, script: &str, from: u64, past: &impl Past) -> Self {
        let wanted = (from.max(past.first())..past.end()).filter_map(|seq| past.event(seq));
        let waiting = wanted.filter(|event| wants(wants_, script, event)).map(|event| event.seq).collect();
        // What they were is not known any more: all of them count.
        let lost = past.first().saturating_sub(from);
        let counters = Counters { lost, ..Counters::default() };
        Self { waiting, unannounced: lost, counters, ..Self::empty(wants_.clone()) }
    }

    /// Of what answers a question.
    fn of_question(name: &str) -> Self {
        Self::empty(Subscription { name: name.to_owned(), types: Vec::new(), service: None, severity: None })
    }

    fn empty(wants: Subscription) -> Self {
        Self {
            wants,
            waiting: VecDeque::new(),
            in_flight: Map::new(),
            marks: Map::new(),
            unannounced: 0,
            failures_in_a_row: 0,
            gate: Gate::Open,
            counters: Counters::default(),
        }
    }

    /// A handler wants to hear of something.
    const fn is_of_question(&self) -> bool {
        self.wants.types.is_empty()
    }

    /// A pause that is over ends with one try.
    fn probe_after(&mut self, now: Moment) {
        if self.paused_until().is_some_and(|until| until <= now) {
            self.gate = Gate::Probing;
        }
    }

    /// Gives up what the ring no longer has.
    fn overtaken(&mut self, first: u64) {
        while let Some(seq) = self.waiting.front().copied().filter(|seq| *seq < first) {
            self.waiting.pop_front();
            self.marks.remove(&seq);
            self.counters.lost += 1;
            self.unannounced += 1;
        }
    }

    /// The event that is next; it stays in its place.
    fn next<'a>(&mut self, script: &str, past: &'a impl Past, end: u64, now: Moment) -> Option<&'a Arc<Event>> {
        self.probe_after(now);
        let most = match self.gate {
            Gate::Open => MAX_IN_FLIGHT,
            Gate::Closed { .. } => 0,
            Gate::Probing => 1,
        };
        while self.in_flight.len() < most {
            let seq = self.waiting.front().copied().filter(|seq| *seq < end)?;
            match past.event(seq) {
                // A new version of the script may want less than the one before.
                Some(event) if wants(&self.wants, script, event) => return Some(event),
                _ => self.waiting.pop_front(),
            };
        }
        None
    }

    /// Takes in the end of a run; returns whether that pauses the handler.
    fn ran(&mut self, done: &Done, now: Moment) -> bool {
        match (done.run_ms, &done.error) {
            (Some(ms), error) => self.counters.ran(ms, error.as_ref()),
            (None, Some(error)) => self.counters.fail(error.kind, &error.message),
            // Filtered, folded or rated away: nothing was learned of the handler.
            (None, None) => return false,
        }
        if done.error.is_none() {
            self.succeeded();
            return false;
        }
        self.failed(now)
    }

    fn succeeded(&mut self) {
        self.failures_in_a_row = 0;
        if self.gate == Gate::Probing {
            self.gate = Gate::Open;
        }
    }

    /// Returns whether that pauses the handler.
    fn failed(&mut self, now: Moment) -> bool {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let is_one_too_many = match self.gate {
            Gate::Open => self.failures_in_a_row >= FAILURES,
            Gate::Probing => true,
            // What it had in its hands when it was paused.
            Gate::Closed { .. } => false,
        };
        if is_one_too_many {
            self.gate = Gate::Closed { until: now + PAUSE };
        }
        is_one_too_many
    }

    const fn paused_until(&self) -> Option<Moment> {
        match self.gate {
            Gate::Closed { until } => Some(until),
            Gate::Open | Gate::Probing => None,
        }
    }
}

/// Whether a handler of this script is to hear of an event. What is about a script never goes to it: its failures would
/// cause more of them.
#[must_use]
pub fn wants(subscription: &Subscription, script: &str, event: &Event) -> bool {
    let severity = event.kind.severity();
    let is_about_itself = matches!(&event.kind, Kind::HookFailed(fault) | Kind::HookDisabled(fault) if fault.script == script);
    let is_of_service = match (&subscription.service, &event.service) {
        (None, _) => true,
        (Some(glob), Some(name)) => Glob::new(glob).matches(name.as_str()),
        (Some(_), None) => false,
    };
    let name = event.kind.name();
    !is_about_itself
        && is_of_service
        && subscription.severity.is_none_or(|least| severity >= least)
        && subscription.types.iter().any(|selector| catalog::selects(selector, &name, severity))
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
