//! The event ring: every fact gets its place in one total order here, and the last ones are kept.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::hooks::budget;
use crate::hooks::delivery::Past;
use crate::supervision::ServiceId;
use crate::value::json::{self, Raw};
use crate::value::sorted::Map;
use crate::value::{Moment, Run, ServiceName, duration};
use crate::wire::event::{Actor, Ending, Event, Kind, Origin, StartReason};

/// Events that are kept. An event without a log tail takes about 300 bytes, so this is a little over a megabyte.
const KEPT: usize = 4096;
/// Bytes of log tails that are kept with them: the oldest events give up theirs first. 128 tails of the largest size.
const TAIL_BYTES: usize = 1 << 20;

/// The ring.
#[derive(Debug)]
pub struct Ring {
    origin: Arc<Origin>,
    began: Moment,
    next_seq: u64,
    events: VecDeque<Kept>,
    /// Events with a log tail, oldest first, and what their tails take together.
    tails: VecDeque<(u64, usize)>,
    tail_bytes: usize,
    /// The last event of each service: what its next one follows from.
    latest: Map<ServiceId, Latest>,
    /// What scripts ordered: the event that comes of it follows from theirs.
    charges: Map<ServiceId, Charge>,
}

/// An event in the ring. Those that came from the program before this one stay text until somebody wants them, and go on to
/// the next one as they came: to read and write thousands would take longer than a re-exec may.
#[derive(Debug, Default)]
struct Kept {
    /// As a [`Saved`]; there once it was written down.
    text: OnceCell<Arc<Raw>>,
    event: OnceCell<Arc<Event>>,
}

/// What an event follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    /// The event before it.
    pub cause: Option<u64>,
    /// Actions of scripts in the chain.
    pub depth: u8,
}

#[derive(Clone, Copy, Debug)]
struct Latest {
    seq: u64,
    depth: u8,
    /// When the last script in the chain acted. What happens long after it does not follow from it any more.
    acted_at: Moment,
}

#[derive(Clone, Debug)]
struct Charge {
    actor: Actor,
    led: Led,
    at: Moment,
}

/// [`Ring`], written down.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct RingRest {
    next_seq: u64,
    /// Oldest first, each a [`Saved`]; the last one has the number before `next_seq`.
    events: Vec<Arc<Raw>>,
    /// Which of them have a log tail, and what it takes.
    tails: Vec<(u64, usize)>,
    latest: Vec<(ServiceId, u64)>,
    /// Of those in `latest` that scripts led to: how deep, and when the last one acted.
    depths: Vec<(ServiceId, u8, Moment)>,
}

/// An event, written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
struct Saved {
    /// Since 1970.
    time: Duration,
    mono_ms: u64,
    service: Option<ServiceName>,
    run: Option<Run>,
    actor: Actor,
    cause: Option<u64>,
    depth: u8,
    count: u32,
    kind: Kind,
}

impl Kept {
    /// As text, made once.
    fn written(&self) -> Arc<Raw> {
        let saved = || {
            let saved = self.event.get().map(|event| Saved::from(event.as_ref()));
            // Nothing in an event can fail to become JSON. If it did, the rehearsal would refuse what stands here instead.
            Raw::of(&saved).unwrap_or_default().into()
        };
        Arc::clone(self.text.get_or_init(saved))
    }

    /// As an event; `None` where the text cannot be read, which the rehearsal has ruled out.
    fn read(&self, seq: u64) -> Option<&Arc<Event>> {
        if self.event.get().is_none() {
            let saved: Saved = json::from_str(self.text.get()?.get()).ok()?;
            let _ = self.event.set(Arc::new(saved.into_event(seq)));
        }
        self.event.get()
    }
}

impl RingRest {
    /// Checks that the events from a number on can be read: those before it were tried in the rehearsal.
    ///
    /// # Errors
    ///
    /// Which event cannot, and why.
    pub fn check(&self, from: u64) -> Result<(), String> {
        for (seq, text) in (self.first()..).zip(&self.events).filter(|(seq, _)| *seq >= from) {
            json::from_str::<Saved>(text.get()).map_err(|error| format!("event {seq}: {error}"))?;
        }
        Ok(())
    }

    fn first(&self) -> u64 {
        self.next_seq.saturating_sub(self.events.len() as u64)
    }
}

impl Saved {
    fn into_event(self, seq: u64) -> Event {
        let Self { time, mono_ms, service, run, actor, cause, depth, count, mut kind } = self;
        if let Kind::Rotate { folded, .. } = &mut kind {
            *folded = count.saturating_sub(1);
        }
        Event { seq, time: SystemTime::UNIX_EPOCH + time, mono_ms, service, run, actor, cause, depth, kind }
    }
}

impl From<&Event> for Saved {
    fn from(event: &Event) -> Self {
        Self {
            time: event.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            mono_ms: event.mono_ms,
            service: event.service.clone(),
            run: event.run,
            actor: event.actor.clone(),
            cause: event.cause,
            depth: event.depth,
            count: event.kind.count(),
            kind: event.kind.clone(),
        }
    }
}

impl Ring {
    /// An empty ring of this incarnation.
    #[must_use]
    pub fn new(origin: Origin, began: Moment) -> Self {
        Self {
            origin: Arc::new(origin),
            began,
            next_seq: 1,
            events: VecDeque::new(),
            tails: VecDeque::new(),
            tail_bytes: 0,
            latest: Map::new(),
            charges: Map::new(),
        }
    }

    /// The ring, to be written down.
    #[must_use]
    pub fn rest(&self) -> RingRest {
        RingRest {
            next_seq: self.next_seq,
            events: self.events.iter().map(Kept::written).collect(),
            tails: self.tails.iter().copied().collect(),
            latest: self.latest.iter().map(|(id, latest)| (*id, latest.seq)).collect(),
            depths: self
                .latest
                .iter()
                .filter(|(_, latest)| latest.depth > 0)
                .map(|(id, latest)| (*id, latest.depth, latest.acted_at))
                .collect(),
        }
    }

    /// A ring that goes on where another one ended, without a hole.
    #[must_use]
    pub fn from_rest(origin: Origin, began: Moment, rest: RingRest) -> Self {
        let mut ring = Self::new(origin, began);
        ring.events = rest.events.into_iter().map(|text| Kept { text: text.into(), event: OnceCell::new() }).collect();
        ring.tail_bytes = rest.tails.iter().fold(0, |sum: usize, (_, bytes)| sum.saturating_add(*bytes));
        ring.tails = rest.tails.into();
        ring.next_seq = rest.next_seq;
        let alone = |seq| Latest { seq, depth: 0, acted_at: Moment::default() };
        ring.latest = rest.latest.into_iter().map(|(id, seq)| (id, alone(seq))).collect();
        for (id, depth, acted_at) in rest.depths {
            if let Some(latest) = ring.latest.get_mut(&id) {
                (latest.depth, latest.acted_at) = (depth, acted_at);
            }
        }
        ring
    }

    /// What all its events have in common.
    #[must_use]
    pub const fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// A script orders something of a service: what its actor brings about there, or at the services that it needs, follows
    /// from `led`.
    pub fn charge(&mut self, id: ServiceId, actor: Actor, led: Led, at: Moment) {
        self.charges.retain(|_, charge| at.since(charge.at) < budget::WINDOW);
        self.charges.insert(id, Charge { actor, led, at });
    }

    /// What an event of a service follows from.
    fn led(&self, id: ServiceId, actor: &Actor, kind: &Kind, now: Moment) -> (Led, Moment) {
        if matches!(actor, Actor::Hook(_) | Actor::Plugin(_)) {
            let own = self.charges.get(&id).filter(|charge| charge.actor == *actor);
            let newest = || self.charges.values().filter(|charge| charge.actor == *actor).max_by_key(|charge| charge.at);
            let before = self.latest.get(&id).map(|latest| (latest.depth, latest.acted_at));
            if let Some(Charge { led, at, .. }) = own.or_else(newest) {
                // The first event of the order follows from the script's, the others from that one.
                let is_first = before != Some((led.depth, *at));
                if is_first && now.since(*at) < budget::WINDOW {
                    return (*led, *at);
                }
            }
        }
        match self.latest.get(&id) {
            Some(latest) if follows(kind) => {
                let is_fresh = latest.depth > 0 && now.since(latest.acted_at) < budget::WINDOW;
                (Led { cause: Some(latest.seq), depth: if is_fresh { latest.depth } else { 0 } }, latest.acted_at)
            }
            _ => (Led { cause: None, depth: 0 }, Moment::default()),
        }
    }

    /// Gives an event its place. What it follows from is found where `led` does not say it.
    pub fn push(
        &mut self,
        about: Option<(ServiceId, ServiceName, Run)>,
        actor: Actor,
        mut kind: Kind,
        led: Option<Led>,
        now: Moment,
        wall: SystemTime,
    ) -> Arc<Event> {
        let at = |ms: u64| humantime::format_rfc3339_millis(wall + std::time::Duration::from_millis(ms)).to_string();
        match &mut kind {
            Kind::Backoff { delay_ms, next_at, .. } => *next_at = Some(at(*delay_ms)),
            Kind::Hold { until, for_ms, .. } => *until = for_ms.map(at),
            _ => {}
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        let (led, acted_at) = match (led, &about) {
            (Some(led), _) => (led, now),
            (None, Some((id, ..))) => self.led(*id, &actor, &kind, now),
            (None, None) => (Led { cause: None, depth: 0 }, Moment::default()),
        };
        if let Some((id, ..)) = &about {
            self.latest.insert(*id, Latest { seq, depth: led.depth, acted_at });
        }
        let (service, run) = match about {
            Some((_, name, run)) => (Some(name), Some(run)),
            None => (None, None),
        };
        let event = Arc::new(Event {
            seq,
            time: wall,
            mono_ms: self.mono_ms(now),
            service,
            run: run.filter(|run| *run != Run::default()),
            actor,
            cause: led.cause,
            depth: led.depth,
            kind,
        });
        self.keep(Arc::clone(&event));
        event
    }

    fn keep(&mut self, event: Arc<Event>) {
        let bytes = tail_of(&event.kind).map_or(0, |tail| tail.iter().map(String::len).sum());
        if bytes > 0 {
            self.tails.push_back((event.seq, bytes));
            self.tail_bytes += bytes;
        }
        self.events.push_back(Kept { text: OnceCell::new(), event: event.into() });
        while self.events.len() > KEPT {
            self.events.pop_front();
        }
        while self.tail_bytes > TAIL_BYTES {
            self.give_up_oldest_tail();
        }
    }

    /// The number that the next event will have.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The last `count` events, oldest first.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<Arc<Event>> {
        self.since(self.next_seq.saturating_sub(count as u64))
    }

    /// The event of this id, if it is of this boot and kept still.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Arc<Event>> {
        let seq = id.strip_prefix(&self.origin.boot)?.strip_prefix('-')?.parse().ok()?;
        self.event(seq)
    }

    /// The number of the newest event of a kind.
    #[must_use]
    pub fn seq_of_last(&self, is_it: impl Fn(&Kind) -> bool) -> Option<u64> {
        (self.first()..self.next_seq).rev().find(|seq| self.event(*seq).is_some_and(|event| is_it(&event.kind)))
    }

    /// Milliseconds since the supervisor started.
    #[must_use]
    pub fn mono_ms(&self, now: Moment) -> u64 {
        duration::millis(now.since(self.began))
    }

    /// The events from the one with this number on, oldest first.
    #[must_use]
    pub fn since(&self, seq: u64) -> Vec<Arc<Event>> {
        (seq.max(self.first())..self.next_seq).filter_map(|seq| self.event(seq).cloned()).collect()
    }

    /// A service is gone for good.
    pub fn forget(&mut self, id: ServiceId) {
        self.latest.remove(&id);
        self.charges.remove(&id);
    }

    fn give_up_oldest_tail(&mut self) {
        let Some((seq, bytes)) = self.tails.pop_front() else {
            self.tail_bytes = 0;
            return;
        };
        self.tail_bytes = self.tail_bytes.saturating_sub(bytes);
        let shorter = self.event(seq).map(|event| {
            let mut shorter = Event::clone(event);
            drop_tail(&mut shorter.kind);
            Kept { text: OnceCell::new(), event: Arc::new(shorter).into() }
        });
        let place = seq.checked_sub(self.first()).and_then(|at| usize::try_from(at).ok());
        if let Some((kept, shorter)) = place.and_then(|at| self.events.get_mut(at)).zip(shorter) {
            *kept = shorter;
        }
    }
}

impl Past for Ring {
    fn first(&self) -> u64 {
        self.next_seq.saturating_sub(self.events.len() as u64)
    }

    fn end(&self) -> u64 {
        self.next_seq
    }

    fn event(&self, seq: u64) -> Option<&Arc<Event>> {
        let place = seq.checked_sub(self.first())?;
        self.events.get(usize::try_from(place).ok()?)?.read(seq)
    }
}

/// Whether an event follows from the one before it of the same service. What an operator or the boot began follows from
/// nothing here.
const fn follows(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::Start { reason: StartReason::Boot | StartReason::Manual | StartReason::Reload | StartReason::Dependency, .. }
            | Kind::Stopping { .. }
            | Kind::Rotate { .. }
            | Kind::LogDropped { .. }
    )
}

fn tail_of(kind: &Kind) -> Option<&Arc<[String]>> {
    match kind {
        Kind::Exit(facts) | Kind::Crash { ending: Ending::Exit(facts), .. } | Kind::GaveUp { last: Ending::Exit(facts), .. } => {
            facts.log_tail.as_ref()
        }
        _ => None,
    }
}

fn drop_tail(kind: &mut Kind) {
    if let Kind::Exit(facts) | Kind::Crash { ending: Ending::Exit(facts), .. } | Kind::GaveUp { last: Ending::Exit(facts), .. } =
        kind
    {
        facts.log_tail = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ExitStatus;
    use crate::wire::event::{EndedBy, ExitFacts, RotateReason};

    fn ring() -> Ring {
        Ring::new(Origin { boot: "b".to_owned(), host: "h".to_owned() }, Moment::from_nanos(0))
    }

    fn push(ring: &mut Ring, kind: Kind) -> Arc<Event> {
        let name = ServiceName::parse("web").expect("name");
        let now = Moment::from_nanos(5_000_000);
        ring.push(Some((ServiceId(1), name, Run(1))), Actor::Supervisor, kind, None, now, SystemTime::UNIX_EPOCH)
    }

    fn exit(tail: &str) -> Kind {
        Kind::Exit(ExitFacts {
            pid: 5,
            status: EndedBy(ExitStatus::Code(3)),
            oom: false,
            uptime_ms: 1,
            stop_requested: false,
            max_rss_bytes: 0,
            cpu_user_ms: 0,
            cpu_sys_ms: 0,
            log_tail: Some(vec![tail.to_owned()].into()),
        })
    }

    #[test]
    fn the_envelope_of_the_contract() {
        let mut ring = ring();
        push(&mut ring, exit("bye"));
        let event = push(&mut ring, Kind::Backoff { attempt: 1, delay_ms: 1500, next_at: None });
        let json = json::to_string(&event.envelope(ring.origin())).expect("json");
        assert_eq!(
            json,
            r#"{"v":1,"id":"b-2","seq":2,"boot":"b","type":"backoff","data":{"attempt":1,"delay_ms":1500,"next_at":"1970-01-01T00:00:01.500Z"},"time":"1970-01-01T00:00:00.000Z","mono_ms":5,"host":"h","service":"web","run":1,"severity":"info","actor":"supervisor","cause":"b-1"}"#
        );
        let exit = json::to_value(&ring.last(2)[0].envelope(ring.origin())).expect("json");
        assert_eq!(exit["data"]["code"], 3);
        assert_eq!(exit["data"]["log_tail"][0], "bye");
    }

    #[test]
    fn a_hold_says_when_it_ends() {
        let mut ring = ring();
        let hold = |for_ms| Kind::Hold { by: "hook:x".to_owned(), reason: "no".to_owned(), until: None, for_ms };
        let data = |event: &Event, ring: &Ring| json::to_value(&event.envelope(ring.origin())).expect("json")["data"].clone();
        let event = push(&mut ring, hold(Some(1_500)));
        let until = "1970-01-01T00:00:01.500Z";
        assert_eq!(data(&event, &ring), serde_json::json!({"by": "hook:x", "reason": "no", "until": until}));
        let event = push(&mut ring, hold(None));
        assert_eq!(data(&event, &ring), serde_json::json!({"by": "hook:x", "reason": "no"}));
    }

    #[test]
    fn what_a_script_brought_about_follows_from_what_it_heard_and_is_deeper() {
        let actor = Actor::Hook("h".into());
        let at = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000);
        let push = |ring: &mut Ring, id: u32, kind: Kind, actor: &Actor, seconds: u64| {
            let about = Some((ServiceId(id), ServiceName::parse("web").expect("name"), Run(1)));
            let event = ring.push(about, actor.clone(), kind, None, at(seconds), SystemTime::UNIX_EPOCH);
            (event.cause, event.depth)
        };
        let start = || Kind::Start { pid: 1, argv: Vec::new().into(), attempt: 1, reason: StartReason::Hook };
        let stopping =
            || Kind::Stopping { reason: crate::wire::event::StopReason::Hook, signal: crate::value::Signal::TERM, grace_ms: 1 };
        let mut ring = ring();
        assert_eq!(push(&mut ring, 1, exit("x"), &Actor::Supervisor, 1), (None, 0));
        ring.charge(ServiceId(1), actor.clone(), Led { cause: Some(1), depth: 3 }, at(2));
        assert_eq!(push(&mut ring, 1, stopping(), &actor, 2), (Some(1), 3));
        assert_eq!(push(&mut ring, 1, exit("x"), &Actor::Supervisor, 3), (Some(2), 3));
        assert_eq!(push(&mut ring, 1, start(), &actor, 4), (Some(3), 3));
        // A dependency that comes up with it.
        assert_eq!(push(&mut ring, 2, start(), &actor, 4), (Some(1), 3));
        // After a re-exec, and long after: what happens then follows from what was before it, but not from the script.
        let origin = Origin::clone(ring.origin());
        let text = json::to_string(&ring.rest()).expect("JSON");
        let mut ring = Ring::from_rest(origin, at(0), json::from_str(&text).expect("the same"));
        assert_eq!(push(&mut ring, 1, exit("x"), &Actor::Supervisor, 601), (Some(4), 3));
        assert_eq!(push(&mut ring, 1, exit("x"), &Actor::Supervisor, 603), (Some(6), 0));
        // An operator begins anew.
        let manual = Kind::Start { pid: 1, argv: Vec::new().into(), attempt: 1, reason: StartReason::Manual };
        assert_eq!(push(&mut ring, 1, manual, &Actor::Client(0), 603), (None, 0));
        // What a script ordered is over after a while, and forgotten with the next order.
        ring.charge(ServiceId(2), actor.clone(), Led { cause: Some(1), depth: 3 }, at(604));
        assert_eq!(push(&mut ring, 2, start(), &actor, 604 + budget::WINDOW.as_secs()).1, 0);
        ring.charge(ServiceId(1), actor, Led { cause: Some(1), depth: 3 }, at(604 + budget::WINDOW.as_secs()));
        assert_eq!(ring.charges.len(), 1);
    }

    #[test]
    fn what_was_folded_is_counted() {
        let mut ring = ring();
        let rotate = |folded| Kind::Rotate { path: "p".to_owned(), bytes: 1, reason: RotateReason::Size, folded };
        let count = |event: &Event, ring: &Ring| json::to_value(&event.envelope(ring.origin())).expect("json")["count"].clone();
        let (one, three) = (push(&mut ring, rotate(0)), push(&mut ring, rotate(2)));
        assert_eq!((count(&one, &ring), count(&three, &ring)), (serde_json::Value::Null, 3.into()));
    }

    #[test]
    fn it_is_bounded_in_events_and_in_bytes() {
        let mut ring = ring();
        let tail = "x".repeat(8 << 10);
        for _ in 0..KEPT + 10 {
            push(&mut ring, exit(&tail));
        }
        let events = ring.last(KEPT + 10);
        assert_eq!((events.len(), events[0].seq), (KEPT, 11));
        let with_tail = events.iter().filter(|event| tail_of(&event.kind).is_some()).count();
        assert_eq!(with_tail, TAIL_BYTES / tail.len());
        assert!(tail_of(&events[KEPT - 1].kind).is_some(), "the newest keeps its tail");
        assert_eq!((ring.last(2).len(), ring.since(KEPT as u64 + 9)[0].seq, ring.since(0).len()), (2, KEPT as u64 + 9, KEPT));
    }

    #[test]
    fn the_next_ring_goes_on_where_this_one_ended() {
        let mut before = ring();
        let tail = "x".repeat(8 << 10);
        let count = TAIL_BYTES / tail.len();
        for _ in 0..count {
            push(&mut before, exit(&tail));
        }
        push(&mut before, Kind::Rotate { path: "p".to_owned(), bytes: 1, reason: RotateReason::Size, folded: 2 });
        let written = json::to_string(&before.rest()).expect("json");
        let rest: RingRest = json::from_str(&written).expect("a ring");
        assert_eq!(rest.check(0), Ok(()));
        let mut after = Ring::from_rest(Origin::clone(before.origin()), Moment::from_nanos(0), rest);
        assert_eq!(json::to_string(&after.rest()).expect("json"), written, "not as it came");
        let shown = |ring: &Ring| {
            let all = ring.since(0);
            all.iter().map(|event| json::to_string(&event.envelope(ring.origin())).expect("json")).collect::<Vec<_>>()
        };
        assert_eq!(shown(&after), shown(&before));
        // What was read is one event from then on, and the bound of the tails counts those that came along.
        assert!(Arc::ptr_eq(&after.last(1)[0], &after.last(1)[0]));
        let next = push(&mut after, exit(&tail));
        assert_eq!((next.seq, next.cause), (count as u64 + 2, Some(count as u64 + 1)));
        let tails = |ring: &Ring| ring.since(0).iter().map(|event| tail_of(&event.kind).is_some()).collect::<Vec<_>>();
        assert_eq!((tails(&after)[0], tails(&after)[1]), (false, true));
        let rest: RingRest = json::from_str(&json::to_string(&after.rest()).expect("json")).expect("a ring");
        assert!(!rest.events[0].get().contains("xxx"), "the tail that was given up is written down");
    }
}
