use std::time::SystemTime;

use super::*;
use crate::value::json;
use crate::value::{Run, ServiceName};
use crate::wire::event::{Actor, HookFault, Severity};

/// The last events, as the ring keeps them.
#[derive(Default)]
pub struct Kept {
    first: u64,
    events: VecDeque<Arc<Event>>,
    most: usize,
}

impl Kept {
    pub fn new(most: usize) -> Self {
        Self { first: 1, events: VecDeque::new(), most }
    }

    pub fn push(&mut self, service: Option<&str>, kind: Kind) -> Arc<Event> {
        let seq = self.end();
        let event = Arc::new(Event {
            seq,
            time: SystemTime::UNIX_EPOCH,
            mono_ms: seq * 10,
            service: service.map(|name| ServiceName::parse(name).expect("name")),
            run: service.map(|_| Run(1)),
            actor: Actor::Supervisor,
            cause: None,
            depth: 0,
            kind,
        });
        self.events.push_back(Arc::clone(&event));
        if self.events.len() > self.most {
            self.events.pop_front();
            self.first += 1;
        }
        event
    }
}

impl Past for Kept {
    fn first(&self) -> u64 {
        self.first
    }

    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn event(&self, seq: u64) -> Option<&Arc<Event>> {
        self.events.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }
}

pub fn subscription(name: &str, types: &[&str], service: Option<&str>) -> Subscription {
    Subscription {
        name: name.to_owned(),
        types: types.iter().map(|word| (*word).to_owned()).collect(),
        service: service.map(str::to_owned),
        severity: None,
    }
}

pub fn at(ms: u64) -> Moment {
    Moment::from_nanos(0) + Duration::from_millis(ms)
}

/// What is handed over at a moment, at most `room`: number, attempt, lost.
pub fn handed(deliveries: &mut Deliveries, past: &Kept, room: usize, now: Moment) -> Vec<Handed> {
    let mut all = Vec::new();
    deliveries.hand_over(
        past,
        past.end(),
        now,
        |_| true,
        |one| {
            let fits = all.len() < room;
            if fits {
                all.push(one.clone());
            }
            fits
        },
    );
    all
}

pub fn done(deliveries: &[u64], error: Option<HookFaultKind>) -> Done {
    let error = error.map(|kind| HookError { kind, message: "no".to_owned(), traceback: None });
    Done { deliveries: deliveries.to_vec(), run_ms: Some(3), error }
}

struct Set {
    past: Kept,
    deliveries: Deliveries,
}

impl Set {
    /// One script with one handler of `stuck` events.
    fn new() -> Self {
        let mut set = Self { past: Kept::new(100), deliveries: Deliveries::default() };
        set.deliveries.subscribe("s", &[subscription("h", &["stuck"], None)], 1, &set.past);
        set
    }

    fn tell(&mut self, count: usize) {
        for _ in 0..count {
            let event = self.past.push(Some("web"), Kind::Stuck { for_ms: 1 });
            self.deliveries.told(&event, self.past.first());
        }
    }

    fn take(&mut self, now: u64) -> Vec<Handed> {
        handed(&mut self.deliveries, &self.past, usize::MAX, at(now))
    }

    fn done(&mut self, delivery: u64, error: Option<HookFaultKind>, now: u64) -> Option<Failure> {
        self.deliveries.done(&done(&[delivery], error), at(now))
    }

    fn counters(&self) -> Counters {
        self.deliveries.standings("s", &self.past, 0)[0].counters.clone()
    }
}

fn seqs(all: &[Handed]) -> Vec<u64> {
    all.iter().map(|one| one.event.seq).collect()
}

fn attempts(all: &[Handed]) -> Vec<(u64, u8, u64)> {
    all.iter().map(|one| (one.event.seq, one.attempt, one.lost)).collect()
}

#[test]
fn who_hears_what() {
    let mut past = Kept::new(10);
    let fault = |script: &str| HookFault {
        script: script.to_owned(),
        handler: None,
        event_id: None,
        kind: HookFaultKind::Error,
        message: String::new(),
        traceback: None,
    };
    let stuck = past.push(Some("web"), Kind::Stuck { for_ms: 1 });
    let orphan = past.push(None, Kind::Orphan { reaped: 1 });
    let own = past.push(None, Kind::HookFailed(fault("s")));
    let other = past.push(None, Kind::HookDisabled(fault("t")));
    for (types, service, severity, wanted) in [
        (&["@all"][..], None, None, [true, true, false, true]),
        (&["stuck"], None, None, [true, false, false, false]),
        (&["stuck"], Some("w*"), None, [true, false, false, false]),
        (&["stuck"], Some("d*"), None, [false; 4]),
        (&["@all"], Some("*"), None, [true, false, false, false]),
        (&["@all"], None, Some(Severity::Warning), [true, false, false, true]),
        (&["orphan", "hook_disabled"], None, None, [false, true, false, true]),
        (&["@life"], None, None, [true, false, false, false]),
        (&["custom.*"], None, None, [false; 4]),
    ] {
        let subscription = Subscription { severity, ..subscription("h", types, service) };
        let found = [&stuck, &orphan, &own, &other].map(|event| wants(&subscription, "s", event));
        assert_eq!(found, wanted, "{types:?} {service:?} {severity:?}");
    }
}

#[test]
fn no_more_than_64_are_in_flight_and_each_is_handed_over_once() {
    let mut set = Set::new();
    set.tell(70);
    let first = set.take(0);
    assert_eq!(seqs(&first), (1..=64).collect::<Vec<_>>());
    assert!(set.take(0).is_empty());
    // Ticked off in another order: lanes are side by side.
    for delivery in [9, 3] {
        assert_eq!(set.done(first[delivery].delivery, None, 0), None);
    }
    assert_eq!(seqs(&set.take(0)), [65, 66]);
    assert_eq!((set.counters().delivered, set.counters().ok), (2, 2));
    // Nobody knows of it any more.
    assert_eq!(set.done(first[3].delivery, Some(HookFaultKind::Error), 0), None);
    assert_eq!(set.counters().failed, 0);
}

#[test]
fn room_is_shared_and_what_does_not_fit_waits() {
    let mut set = Set::new();
    set.deliveries.subscribe("t", &[subscription("h", &["stuck"], None)], 1, &set.past);
    set.tell(5);
    let first = handed(&mut set.deliveries, &set.past, 3, at(0));
    let names: Vec<_> = first.iter().map(|one| (one.script.as_str(), one.event.seq)).collect();
    assert_eq!(names, [("s", 1), ("t", 1), ("s", 2)]);
    assert_eq!(set.take(0).len(), 7);
    assert!(!set.deliveries.is_any_waiting(u64::MAX, |_| true) && set.deliveries.is_any_in_flight());
}

#[test]
fn a_script_that_is_not_loaded_hears_nothing_and_misses_nothing() {
    let mut set = Set::new();
    set.tell(2);
    set.deliveries.hand_over(&set.past, set.past.end(), at(0), |_| false, |_| panic!("nobody is loaded"));
    assert!(!set.deliveries.is_any_waiting(u64::MAX, |_| false));
    assert_eq!(seqs(&set.take(0)), [1, 2]);
}

#[test]
fn the_ring_overtakes_and_the_next_event_says_by_how_many() {
    let mut set = Set::new();
    set.past = Kept::new(10);
    set.tell(25);
    let all = set.take(0);
    assert_eq!(attempts(&all)[..2], [(16, 1, 15), (17, 1, 0)]);
    assert_eq!(set.counters().lost, 15);
    // The host dies before it has begun: the word of what was lost went with it, and is said again.
    assert_eq!(set.deliveries.host_died(None), Died::default());
    assert_eq!(attempts(&set.take(0))[..2], [(16, 1, 15), (17, 1, 0)]);
    set.deliveries.host_died(None);
    set.tell(2);
    assert_eq!(attempts(&set.take(0))[..2], [(18, 1, 17), (19, 1, 0)]);
    assert_eq!(set.counters().lost, 17);
}

#[test]
fn new_handlers_start_where_they_are_told_to_and_old_ones_where_they_were() {
    let mut set = Set::new();
    set.tell(3);
    assert_eq!(seqs(&set.take(0)), [1, 2, 3]);
    set.tell(1);
    let both = [subscription("h", &["stuck"], None), subscription("new", &["@all"], None)];
    set.deliveries.subscribe("s", &both, 3, &set.past);
    let all = set.take(0);
    let names: Vec<_> = all.iter().map(|one| (one.handler.as_str(), one.event.seq)).collect();
    assert_eq!(names, [("h", 4), ("new", 3), ("new", 4)]);
    // What was handed over to the old version is ticked off all the same.
    assert_eq!(set.done(1, None, 0), None);
    assert_eq!(set.counters().ok, 1);
    // One that is gone is forgotten, and begins anew when it comes back.
    set.deliveries.subscribe("s", &both[..1], 3, &set.past);
    set.deliveries.subscribe("s", &both, 4, &set.past);
    let again = set.take(0);
    assert_eq!((again.len(), again[0].handler.as_str(), again[0].event.seq), (1, "new", 4));
    set.deliveries.forget("s");
    set.tell(1);
    assert!(set.take(0).is_empty() && set.deliveries.standings("s", &set.past, 0).is_empty());
}

#[test]
fn a_new_version_that_wants_less_is_not_given_what_the_old_one_wanted() {
    let mut set = Set::new();
    set.tell(2);
    set.deliveries.subscribe("s", &[subscription("h", &["orphan"], None)], 1, &set.past);
    assert!(set.take(0).is_empty());
    assert!(!set.deliveries.is_any_waiting(u64::MAX, |_| true));
}

#[test]
fn a_boot_script_that_loads_late_is_told_how_much_it_missed() {
    let mut past = Kept::new(5);
    for _ in 0..12 {
        past.push(Some("web"), Kind::Stuck { for_ms: 1 });
    }
    let mut deliveries = Deliveries::default();
    deliveries.subscribe("s", &[subscription("h", &["stuck"], None)], 1, &past);
    assert_eq!(attempts(&handed(&mut deliveries, &past, 1, at(0))), [(8, 1, 7)]);
}

#[test]
fn what_had_begun_when_the_host_died_is_a_second_attempt_and_what_died_twice_is_given_up() {
    let mut set = Set::new();
    set.tell(3);
    let first = set.take(0);
    set.deliveries.began(&[first[0].delivery, first[1].delivery]);
    assert_eq!(set.done(first[1].delivery, None, 0), None);
    let died = set.deliveries.host_died(None);
    assert_eq!(died.suspects, [("s".to_owned(), ("h".to_owned(), 1))].into());
    let second = set.take(0);
    assert_eq!(attempts(&second), [(1, 2, 0), (3, 1, 0)]);
    set.deliveries.began(&[second[0].delivery]);
    let died = set.deliveries.host_died(None);
    assert_eq!(died.dropped, [("s".to_owned(), "h".to_owned(), 1)]);
    assert_eq!(attempts(&set.take(0)), [(3, 1, 0)]);
    let counters = set.counters();
    assert_eq!((counters.delivered, counters.dropped, counters.killed, counters.lost), (1, 1, 2, 0));
}

#[test]
fn who_was_beside_the_culprit_is_asked_again_for_as_long_as_it_takes() {
    let mut set = Set::new();
    set.deliveries.subscribe("bad", &[subscription("h", &["stuck"], None)], 1, &set.past);
    set.tell(1);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let all = set.take(0);
        seen.push(all.iter().map(|one| (one.script.clone(), one.attempt)).collect::<Vec<_>>());
        let numbers: Vec<u64> = all.iter().map(|one| one.delivery).collect();
        set.deliveries.began(&numbers);
        let blamed: Vec<u64> = all.iter().filter(|one| one.script == "bad").map(|one| one.delivery).collect();
        let died = set.deliveries.host_died(Some(Blame { deliveries: &blamed }));
        assert!(!died.suspects.contains_key("s"));
    }
    let pair = |script: &str, attempt: u8| (script.to_owned(), attempt);
    assert_eq!(
        seen,
        [vec![pair("bad", 1), pair("s", 1)], vec![pair("bad", 2), pair("s", 2)], vec![pair("s", 2)], vec![pair("s", 2)]]
    );
    assert_eq!(set.counters().killed, 0);
}

#[test]
fn ten_failures_in_a_row_pause_a_handler_and_one_event_decides_after_it() {
    let mut set = Set::new();
    let fail = |set: &mut Set, one: &Handed, now| set.done(one.delivery, Some(HookFaultKind::Error), now).expect("a failure");
    set.tell(30);
    let first = set.take(0);
    let paused: Vec<bool> = first[..9].iter().map(|one| fail(&mut set, one, 0).is_paused).collect();
    assert_eq!(paused, [false; 9]);
    assert_eq!(set.done(first[9].delivery, None, 0), None);
    let paused: Vec<bool> = first[10..20].iter().map(|one| fail(&mut set, one, 1000).is_paused).collect();
    assert_eq!(paused, [[false; 9].as_slice(), &[true]].concat());
    // The rest of what it had does not pause it again.
    assert!(first[20..].iter().all(|one| !fail(&mut set, one, 2000).is_paused));
    set.tell(3);
    assert!(set.take(600_999).is_empty());
    assert_eq!(set.deliveries.deadline(), Some(at(601_000)));
    let probe = set.take(601_000);
    assert_eq!(seqs(&probe), [31]);
    assert!(fail(&mut set, &probe[0], 601_000).is_paused);
    assert!(set.take(602_000).is_empty());
    let probe = set.take(1_201_000);
    assert_eq!(seqs(&probe), [32]);
    // Filtered: that says nothing of the handler.
    let filtered = Done { deliveries: vec![probe[0].delivery], run_ms: None, error: None };
    assert_eq!(set.deliveries.done(&filtered, at(0)), None);
    let probe = set.take(1_201_000);
    assert_eq!(seqs(&probe), [33]);
    set.tell(2);
    assert!(set.take(1_201_000).is_empty());
    assert_eq!(set.done(probe[0].delivery, None, 1_201_000), None);
    assert_eq!(seqs(&set.take(1_201_000)), [34, 35]);
}

/// Asks a script so many times; returns which of them began a pause.
fn ask(set: &mut Set, times: usize, kind: Option<HookFaultKind>, now: Moment) -> Vec<usize> {
    let error = kind.map(|kind| HookError { kind, message: format!("{kind:?}"), traceback: None });
    (1..=times).filter(|_| set.deliveries.answered("s", "decide:stop", 5, error.as_ref(), now)).collect()
}

#[test]
fn a_question_that_runs_over_a_limit_ten_times_in_a_row_is_paused_and_nothing_else_is() {
    use HookFaultKind::{Cpu, Error, Memory, Timeout};
    for (story, paused) in [
        (&[(9, Some(Cpu))][..], false),
        (&[(10, Some(Cpu))], true),
        (&[(5, Some(Cpu)), (5, Some(Memory))], true),
        (&[(9, Some(Cpu)), (1, None), (9, Some(Cpu))], false),
        (&[(9, Some(Cpu)), (1, Some(Error)), (9, Some(Cpu))], false),
        (&[(9, Some(Cpu)), (9, Some(Timeout)), (1, Some(Cpu))], true),
        (&[(100, Some(Error)), (100, Some(Timeout))], false),
    ] {
        let mut set = Set::new();
        let pauses: usize = story.iter().map(|(times, kind)| ask(&mut set, *times, *kind, at(0)).len()).sum();
        let is_paused = set.deliveries.is_paused("s", "decide:stop", at(599_999));
        assert_eq!((pauses, is_paused), (usize::from(paused), paused), "{story:?}");
        assert!(!set.deliveries.is_paused("s", "decide:start", at(0)));
    }
}

#[test]
fn the_pause_of_a_question_ends_and_the_next_fault_begins_another() {
    let mut set = Set::new();
    let cpu = Some(HookFaultKind::Cpu);
    assert_eq!(ask(&mut set, 12, cpu, at(0)), [10], "what was under way does not count twice");
    assert!(
        set.deliveries.is_paused("s", "decide:stop", at(599_999)) && !set.deliveries.is_paused("s", "decide:stop", at(600_000))
    );
    assert_eq!(ask(&mut set, 1, cpu, at(700_000)), [1]);
    assert!(set.deliveries.is_paused("s", "decide:stop", at(1_299_999)));
    set.deliveries.resume("s");
    assert!(!set.deliveries.is_paused("s", "decide:stop", at(700_000)));
    assert!(ask(&mut set, 9, cpu, at(700_000)).is_empty());
    // It hears of no event, and holds up no end.
    set.tell(3);
    assert!(set.take(700_000).iter().all(|one| one.handler != "decide:stop"));
    let counted = |set: &Set| {
        let standings = set.deliveries.standings("s", &set.past, 0);
        standings.iter().find(|one| one.handler == "decide:stop").map(|one| (one.counters.killed, one.lag))
    };
    assert_eq!(counted(&set), Some((22, 0)));
    // A new version of the script goes on with it, if it answers that still.
    set.deliveries.subscribe("s", &[subscription("h", &["@all"], None)], 1, &set.past);
    set.deliveries.keep_questions("s", &["decide:stop".to_owned()]);
    assert_eq!(counted(&set), Some((22, 0)));
    set.deliveries.keep_questions("s", &["decide:start".to_owned()]);
    assert_eq!(counted(&set), None);
    assert_eq!(set.deliveries.standings("s", &set.past, 0).len(), 1);
}

#[test]
fn an_operator_ends_a_pause() {
    let mut set = Set::new();
    set.tell(12);
    for one in &set.take(0)[..10] {
        set.done(one.delivery, Some(HookFaultKind::Timeout), 0);
    }
    set.tell(1);
    assert!(set.take(1).is_empty());
    set.deliveries.resume("s");
    assert_eq!(seqs(&set.take(1)), [13]);
    assert_eq!((set.counters().timed_out, set.counters().last_error.as_deref()), (10, Some("no")));
}

#[test]
fn a_batch_is_one_run_of_several_events() {
    let mut set = Set::new();
    set.tell(3);
    let all = set.take(0);
    let numbers: Vec<u64> = all.iter().map(|one| one.delivery).collect();
    let failure = set.deliveries.done(&done(&numbers, Some(HookFaultKind::Memory)), at(0)).expect("a failure");
    assert_eq!((failure.script.as_str(), failure.handler.as_str(), failure.seq), ("s", "h", 1));
    let counters = set.counters();
    assert_eq!((counters.delivered, counters.killed, counters.runs.longest()), (3, 1, Some(3)));
}

#[test]
fn lag_is_what_it_is_not_done_with() {
    let mut set = Set::new();
    set.tell(70);
    set.take(0);
    let standing = set.deliveries.standings("s", &set.past, 1000);
    assert_eq!((standing[0].lag, standing[0].lag_ms, standing[0].paused_until), (70, 990, None));
}

#[test]
fn only_events_before_the_end_are_handed_over() {
    let mut set = Set::new();
    set.tell(3);
    let mut all = Vec::new();
    set.deliveries.hand_over(
        &set.past,
        3,
        at(0),
        |_| true,
        |one| {
            all.push(one.event.seq);
            true
        },
    );
    assert_eq!(all, [1, 2]);
    assert!(!set.deliveries.is_any_waiting(3, |_| true) && set.deliveries.is_any_waiting(4, |_| true));
}

#[test]
fn it_can_be_written_down() {
    let mut set = Set::new();
    set.past = Kept::new(10);
    set.tell(90);
    let all = set.take(0);
    set.deliveries.began(&[all[0].delivery]);
    set.deliveries.host_died(None);
    set.take(0);
    set.done(11, Some(HookFaultKind::Error), 0);
    let text = json::to_string(&set.deliveries).expect("JSON");
    assert_eq!(json::from_str::<Deliveries>(&text).expect("the same"), set.deliveries);
}
