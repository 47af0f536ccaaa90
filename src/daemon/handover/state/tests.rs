//! The state is written by one version of the program and read by another. What each version wrote is kept in
//! `tests/fixtures/handover/`: later versions must read all of it. A file is the content of [`state`] as one version wrote it,
//! pretty-printed; it is never changed, only joined by newer ones. Where a new field breaks this test, it needs a default, or
//! the format a new version.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::config;
use crate::control::server::Doing;
use crate::daemon::ring::Ring;
use crate::daemon::tails::TailRest;
use crate::log::LogId;
use crate::log::rest::{Bytes, FeedRest, JournalRest};
use crate::supervision::{Fact, Wish};
use crate::value::json;
use crate::value::{ExitStatus, ServiceName};
use crate::wire::event::{Kind, LaunchFacts, Origin, ReadyBy, RotateReason, StartReason, StopReason, UpdatePhase};
use crate::wire::request::Form;

const CONFIG: &str = r#"
services:
  db: {command: [/bin/db, --fast], user: "1:2", limits: {nofile: 10}, env: {A: "x\ny"}, env_file: f, ready: {tcp: "db:1"}, oom_score_adj: 5}
  web: {command: run, depends_on: {db: ready}, health: {http: "http://h:80/x", interval: 1s}, backoff: {give_up_after: 3}, stop_signal: INT}
  gone: {command: x, restart: never, essential: false, ready: {log: "up$", timeout: 1m}}
  once: {command: x, restart: on-crash, ready: {notify: systemd}, log_max_size: 64K}
  s6: {command: x, ready: {notify: {fd: 3}}}
  held: {command: x, depends_on: [once]}
supervisor: {console: events, exit_when: all-ended}
"#;

/// What a hostile service would say.
const LOOK_ALIKE: &str = "\"},\"asked_to_stop\":true,\"x\":{\"\nsection3 state 1\u{0}\u{1b}[2J\\";

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

fn state() -> State {
    let spec = config::parse(CONFIG, "section3.yml", &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    let now = Moment::from_nanos(5_000_000_000);
    let mut supervisor = Supervisor::new(&spec);
    supervisor.boot(now);
    let id = |name: &str, supervisor: &Supervisor| supervisor.id(name).unwrap();
    let mut learn = |name: &str, fact: Fact| {
        let id = id(name, &supervisor);
        let run = supervisor.service(id).unwrap().run();
        supervisor.learn(id, run, fact, now);
    };
    learn("db", Fact::Spawned { pid: 100 });
    learn("db", Fact::Executed);
    learn("db", Fact::Ready(ReadyBy::Tcp));
    learn("web", Fact::Spawned { pid: 101 });
    learn("web", Fact::Executed);
    learn("once", Fact::Spawned { pid: 102 });
    learn("once", Fact::Executed);
    learn("gone", Fact::Spawned { pid: 103 });
    learn("gone", Fact::Exited(ExitStatus::Code(7)));
    learn("gone", Fact::Gone(crate::supervision::Remains::default()));
    learn("s6", Fact::LaunchFailed(LaunchFacts { stage: "exec", message: LOOK_ALIKE.to_owned() }));
    learn("s6", Fact::Gone(crate::supervision::Remains::default()));
    let db = id("db", &supervisor);
    let wish = Wish::Stop { reason: StopReason::Manual, within: Some(Duration::from_secs(1)) };
    supervisor.order(db, wish, &Actor::Client(7), Some(crate::supervision::Ticket(3)), now).unwrap();
    let held = id("held", &supervisor);
    supervisor.order(held, Wish::Start(StartReason::Manual), &Actor::Hook("pager".into()), None, now).unwrap();
    let _ = supervisor.take_effects();

    let mut ring = Ring::new(Origin { boot: "b0".to_owned(), host: "h".to_owned() }, now);
    let about = Some((db, name("db"), Run(1)));
    let argv: Arc<[String]> = vec!["/bin/db".to_owned(), LOOK_ALIKE.to_owned()].into();
    for kind in [
        Kind::Start { pid: 100, argv, attempt: 1, reason: StartReason::Boot },
        Kind::Rotate { path: "p".to_owned(), bytes: 9, reason: RotateReason::Size, folded: 2 },
        Kind::LogDropped { bytes: 1, reason: LOOK_ALIKE.to_owned() },
        Kind::Custom { name: "x".into(), data: Raw::of(&LOOK_ALIKE).unwrap().into() },
        Kind::Update { phase: UpdatePhase::Reexec, from: Some("0.0.1".to_owned()), to: None, error: None },
    ] {
        ring.push(about.clone(), Actor::Supervisor, kind, None, now, SystemTime::UNIX_EPOCH + Duration::from_millis(1500));
    }
    let journal = JournalRest {
        name: "db".to_owned(),
        owners: vec![LogId(db.0)],
        line: Bytes(LOOK_ALIKE.as_bytes().to_vec()),
        reason: LOOK_ALIKE.to_owned(),
        turned: Some((5, 1)),
        ..JournalRest::default()
    };
    let held_back = Bytes(b"half \xff\n".to_vec());
    let feed = FeedRest { log: LogId(db.0), run: Run(1), fd: 20, held: held_back, kept: 77, ..FeedRest::default() };
    let log = Rest {
        folder: 10,
        journals: vec![journal],
        places: vec![(LogId(db.0), 0)],
        feeds: vec![feed],
        ended: vec![(LogId(2), Run(1), Bytes(LOOK_ALIKE.into()))],
        reports: vec![Report::Drained { log: LogId(2), run: Run(1), tail: LOOK_ALIKE.into() }],
        console: Bytes(LOOK_ALIKE.into()),
        own_dropped: 3,
    };
    let line = crate::control::server::LineRest {
        fd: 30,
        doing: Doing::Taken,
        form: Form::Plain,
        unread: LOOK_ALIKE.into(),
        asked: b"stop db\n".to_vec(),
        unsent: b"{\"v\":1}\n".to_vec(),
    };
    let children = serde_json::from_value(serde_json::json!({
        "runs": [{"id": 0, "run": 1, "name": "db", "pid": 100, "usage": null, "launch": 21, "killing": true, "draining": false}],
        "strangers": [[555, [0, 1]]], "clearing": [1], "errands": [[777, 0]],
    }));
    let watches = serde_json::from_value(serde_json::json!([{
        "id": 0, "run": 1, "materials": {"variables": {"A": LOOK_ALIKE}, "identity": null}, "uid": 0,
        "channel": [22, {"limit": {"secs": 30, "nanos": 0}, "silent_at": 6_000_000_000_u64, "is_alive": true}], "pipe": 23,
        "output": crate::value::hex::encode(LOOK_ALIKE.as_bytes()), "checks": null, "watchdog": "healthy",
        "words": {"status": LOOK_ALIKE, "is_stopping": false, "refusal": LOOK_ALIKE},
    }]));
    let orders = serde_json::from_value(serde_json::json!({
        "next": 9, "tickets": [[3, 8, 0]],
        "pending": [[8, 30, 1, {"Orders": ["stop", [{"name": "db", "ok": true, "outcome": "accepted", "state": "stopping"}]]}]],
        "waits": [[31, 0, "db", "running"]],
    }));
    State {
        from: "0.1.0".to_owned(),
        pid: 1,
        program: "/usr/bin/section3".into(),
        boot: "b0".to_owned(),
        host: "h".to_owned(),
        began: now,
        config_path: "/c".into(),
        log_dir: "/l".into(),
        socket: "/s".into(),
        descriptor_limit: Limit { soft: 1, hard: u64::MAX },
        restrictions: vec![LOOK_ALIKE.to_owned()],
        lock: 11,
        listener: 12,
        bound: Some((1, u64::MAX)),
        supervisor,
        children: children.unwrap(),
        launches: vec![(ServiceId(1), Run(2))],
        drains: vec![(now, ServiceId(2), Run(1))],
        watches: watches.unwrap(),
        found_ready: vec![(ServiceId(2), Run(1))],
        log,
        reports: vec![Report::Lost { log: LogId(1), bytes: 1, reason: LOOK_ALIKE.to_owned() }],
        ring: ring.rest(),
        rehearsed: 2,
        orders: orders.unwrap(),
        lines: vec![line],
        followers: vec![(31, 5)],
        orphans: 4,
        orphan_notice_at: Some(now),
        asked_to_stop: false,
        asker: Actor::Client(0),
        answer: Some(30),
        hooks: None,
        tails: vec![TailRest {
            connection: 43,
            several: true,
            logs: vec![(Some(name("db")), LogId(0), Bytes(LOOK_ALIKE.as_bytes().to_vec())), (None, LogId::OWN, Bytes::default())],
        }],
    }
}

fn content(state: &State) -> serde_json::Value {
    json::to_value(state).unwrap()
}

#[test]
fn what_is_written_down_is_read_back_to_the_letter() {
    let before = state();
    let after = State::decode(&before.encode().unwrap()).unwrap();
    let (read, written) = (content(&after), content(&before));
    for (place, value) in written.as_array().unwrap().iter().enumerate() {
        assert_eq!(&read[place], value, "field {place}");
    }
    assert_eq!(after.supervisor.deadline(), before.supervisor.deadline());
    let words = |state: &State| state.supervisor.services().map(|(_, service)| service.word()).collect::<Vec<_>>();
    assert_eq!(words(&after), words(&before));
    assert!(!after.asked_to_stop, "what a service wrote became a part of the state");
    assert_eq!(after.descriptors(), [11, 12, 10, 21, 22, 23, 20, 30]);
}

/// The state of every version so far can be taken over.
#[test]
fn golden_states() {
    let files = [include_str!("../../../../tests/fixtures/handover/1.json")];
    for file in files {
        let state = State::decode(&parcel::wrap(file.as_bytes())).unwrap_or_else(|unfit| panic!("{unfit}"));
        let words = state.supervisor.services().map(|(_, service)| service.word().word());
        assert_eq!(words.collect::<Vec<_>>(), ["stopping", "running", "failed", "starting", "backoff", "waiting"]);
        assert_eq!((state.pid, state.boot.as_str(), state.answer), (1, "b0", Some(30)));
    }
}

#[test]
fn states_that_do_not_hold_together() {
    for (name, place, value, said) in [
        ("lock", "/11", serde_json::json!(1), "descriptor 1 is a standard stream"),
        ("listener", "/12", serde_json::json!(11), "named twice"),
        ("lines/0/fd", "/25/0/0", serde_json::json!(-1), "descriptor -1"),
        ("children/runs/0/pid", "/15/0/0/3", serde_json::json!(1), "1 is no child of ours"),
        ("children/runs/0/pid", "/15/0/0/3", serde_json::json!(-1), "-1 is no child of ours"),
        ("children/runs/0/id", "/15/0/0/0", serde_json::json!(99), "belongs to no service"),
        ("children/runs/0/name", "/15/0/0/2", serde_json::json!("../x"), "a service name is"),
        ("children/strangers/0/0", "/15/1/0/0", serde_json::json!(0), "0 is no child of ours"),
        ("log/journals/0/name", "/20/1/0/0", serde_json::json!("../../etc/x"), "is no name of a log"),
        ("log/feeds/0/journal", "/20/3/0/2", serde_json::json!(1), "not among the 1 logs"),
        ("log/feeds/0/held", "/20/3/0/4", serde_json::json!("zz"), "hexadecimal"),
        ("ring/events/1", "/22/1/1", serde_json::json!(7), "event 2: expected a list, found a number"),
        ("ring/events/4/kind/update/phase", "/22/1/4/8/update/phase", serde_json::json!("none"), "event 5: unknown variant"),
        ("supervisor/next_id", "/14/4", serde_json::json!(0), "has number"),
        ("supervisor/order", "/14/2", serde_json::json!([0, 0, 1, 2, 3, 4]), "order of the services"),
        ("supervisor/names/db", "/14/1/db", serde_json::json!(1), "stands for no service"),
        ("supervisor", "/14", serde_json::json!(null), "expected a list, found null"),
        ("asked_to_stop", "/29", serde_json::json!("true"), "expected a boolean"),
    ] {
        let mut changed = content(&state());
        *changed.pointer_mut(place).unwrap_or_else(|| panic!("no {name}")) = value;
        let bytes = parcel::wrap(&json::to_vec(&changed).unwrap());
        let unfit = State::decode(&bytes).map(|_| name).unwrap_err().to_string();
        assert!(unfit.contains(said), "{name}: {unfit}");
    }
}

/// The rehearsal has read them already: that the exec does not is what makes a full ring cheap.
#[test]
fn events_before_the_rehearsal_are_not_read_again() {
    let mut changed = content(&state());
    changed[22][1][0] = serde_json::json!(7);
    let whole = |content: &serde_json::Value| parcel::wrap(&json::to_vec(content).unwrap());
    let state = State::decode(&whole(&changed)).unwrap();
    let ring = Ring::from_rest(Origin { boot: state.boot, host: state.host }, state.began, state.ring);
    assert_eq!(ring.since(0).iter().map(|event| event.seq).collect::<Vec<_>>(), [2, 3, 4, 5]);
    changed[23] = serde_json::json!(0);
    assert!(State::decode(&whole(&changed)).is_err());
}

/// Whatever the bytes, a program that reads them says no, or gets a state that holds together.
#[test]
fn damaged_content_is_refused_or_harmless() {
    let whole = json::to_vec(&state()).unwrap();
    let mut seed = 0x5eed_u64;
    let mut dice = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    let pieces: [&[u8]; 12] =
        [b"\"", b"{", b"}", b"[", b"]", b",", b"null", b"-1", b"1e99", b"18446744073709551616", b"\\u0000", b"\xff"];
    for round in 0..3000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + dice() % 3 {
            let at = dice() % bytes.len();
            match dice() % 4 {
                0 => bytes[at] = dice() as u8,
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.splice(at..at, pieces[dice() % pieces.len()].iter().copied())),
                _ => {
                    let end = (at + dice() % 40).min(bytes.len());
                    let _ = bytes.drain(at..end);
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        if let Ok(state) = State::decode(&parcel::wrap(&bytes)) {
            assert!(state.descriptors().iter().all(|number| *number > 2), "round {round}");
            let _ = (state.supervisor.deadline(), state.supervisor.finished());
        }
    }
}
