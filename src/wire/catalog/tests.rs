use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use super::*;
use crate::value::json::{self, Raw};
use crate::value::{ExitStatus, Run, ServiceName, Signal};
use crate::wire::event::{
    Actor, EndedBy, Ending, Event, ExitFacts, HealthWord, HookFault, HookFaultKind, Kind, LaunchFacts, Next, Origin, ReadyBy,
    RotateReason, StartReason, StopReason, UpdatePhase,
};

fn exit(status: ExitStatus, full: bool) -> ExitFacts {
    ExitFacts {
        pid: 1,
        status: EndedBy(status),
        oom: full,
        uptime_ms: 1,
        stop_requested: false,
        max_rss_bytes: 1,
        cpu_user_ms: 1,
        cpu_sys_ms: 1,
        log_tail: full.then(|| Arc::from(["x".to_owned()].as_slice())),
    }
}

fn killed() -> ExitStatus {
    ExitStatus::Signal { signal: Signal::parse("KILL").expect("a signal"), core: false }
}

fn fault(full: bool) -> HookFault {
    let some = || full.then(|| "x".to_owned());
    let (script, message) = ("x".to_owned(), "x".to_owned());
    HookFault { script, handler: some(), event_id: some(), kind: HookFaultKind::Error, message, traceback: some() }
}

/// Every kind, each with as much and with as little in it as there can be.
fn kinds() -> Vec<Kind> {
    let word = || "x".to_owned();
    let names = || vec![ServiceName::parse("web").expect("a name")];
    let launch = || Ending::Launch(LaunchFacts { stage: "exec", message: "x".to_owned() });
    let signal = || Signal::parse("TERM").expect("a signal");
    let code = ExitStatus::Code(1);
    let mut out = vec![
        Kind::Start { pid: 1, argv: Arc::from(["x".to_owned()].as_slice()), attempt: 1, reason: StartReason::Boot },
        Kind::Ready { pid: 1, startup_ms: 1, by: ReadyBy::Http },
        Kind::Exit(exit(code, true)),
        Kind::Exit(exit(killed(), false)),
        Kind::Backoff { attempt: 1, delay_ms: 1, next_at: Some(word()) },
        Kind::Recovered { crashes: 1, down_ms: 1 },
        Kind::Stopping { reason: StopReason::Manual, signal: signal(), grace_ms: 1 },
        Kind::Stop { status: None, took_ms: 1, forced: false, reason: StopReason::Manual },
        Kind::Stop { status: Some(EndedBy(code)), took_ms: 1, forced: false, reason: StopReason::Manual },
        Kind::Stop { status: Some(EndedBy(killed())), took_ms: 1, forced: true, reason: StopReason::Manual },
        Kind::Stuck { for_ms: 1 },
        Kind::Hold { by: word(), reason: word(), until: None, for_ms: None },
        Kind::Hold { by: word(), reason: word(), until: Some(word()), for_ms: Some(1) },
        Kind::Health {
            check: "http",
            from: HealthWord::Healthy,
            to: HealthWord::Unhealthy,
            failures: 1,
            latency_ms: 1,
            output: word(),
        },
        Kind::Rotate { path: word(), bytes: 1, reason: RotateReason::Size, folded: 0 },
        Kind::LogDropped { bytes: 1, reason: word() },
        Kind::Decision { point: "stop", verdict: word(), by: word(), reason: word(), took_ms: 1, applied: true },
        Kind::Decision { point: "stop", verdict: word(), by: word(), reason: String::new(), took_ms: 1, applied: true },
        Kind::Reload { added: names(), removed: names(), changed: names(), unchanged: names() },
        Kind::ReloadFailed { errors: vec![word()] },
        Kind::Update { phase: UpdatePhase::Applied, from: None, to: None, error: None },
        Kind::Update { phase: UpdatePhase::Failed, from: Some(word()), to: Some(word()), error: Some(word()) },
        Kind::DaemonStart { version: "0", pid: 1, pid1: true },
        Kind::DaemonReady { took_ms: 1, failed: names() },
        Kind::DaemonStopping { reason: word() },
        Kind::DaemonStop { exit_code: 0 },
        Kind::Orphan { reaped: 1 },
        Kind::HookFailed(fault(true)),
        Kind::HookFailed(fault(false)),
        Kind::HookDisabled(fault(true)),
        Kind::HookDisabled(fault(false)),
    ];
    for ending in [Ending::Exit(exit(code, true)), Ending::Exit(exit(killed(), false)), launch()] {
        out.push(Kind::Crash { ending: ending.clone(), crashes: 1, next: Next::Backoff });
        out.push(Kind::GaveUp { crashes: 1, last: ending });
    }
    out
}

fn event(kind: Kind) -> Event {
    Event {
        seq: 1,
        time: SystemTime::UNIX_EPOCH,
        mono_ms: 1,
        service: Some(ServiceName::parse("web").expect("a name")),
        run: Some(Run(1)),
        actor: Actor::Supervisor,
        cause: Some(1),
        depth: 1,
        kind,
    }
}

fn told(kind: Kind) -> Value {
    let origin = Origin { boot: "b".to_owned(), host: "h".to_owned() };
    json::to_value(&event(kind).envelope(&origin)).expect("JSON")
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().expect("an object").keys().cloned().collect()
}

/// Whether a JSON value is of a type as LuaLS writes it.
fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "table" => value.is_object(),
        "string[]" => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        words => value.as_str().is_some_and(|word| words.split('|').any(|known| known == format!("\"{word}\""))),
    }
}

#[test]
fn the_fields_are_those_that_kinds_serialise() {
    let kinds: Vec<Value> = kinds().into_iter().map(told).collect();
    for described in &EVENTS {
        let seen: Vec<&Value> = kinds.iter().filter(|kind| kind["type"] == described.name).map(|kind| &kind["data"]).collect();
        assert!(!seen.is_empty(), "no kind is told as `{}`", described.name);
        let all: BTreeSet<String> = seen.iter().flat_map(|data| keys(data)).collect();
        let names: BTreeSet<String> = described.fields.iter().map(|field| field.name.to_owned()).collect();
        assert_eq!(names, all, "{}", described.name);
        for field in described.fields {
            assert_eq!(seen.iter().all(|data| data.get(field.name).is_some()), field.always, "{}.{}", described.name, field.name);
            for value in seen.iter().filter_map(|data| data.get(field.name)) {
                assert!(is(value, field.kind), "{}.{}: {value} is no {}", described.name, field.name, field.kind);
            }
        }
    }
    let told: BTreeSet<&str> = kinds.iter().filter_map(|kind| kind["type"].as_str()).collect();
    assert_eq!(told, EVENTS.iter().map(|event| event.name).collect(), "a kind is missing here or there");
}

/// A kind that is not in `kinds()` does not compile here.
#[test]
fn no_kind_is_forgotten() {
    for kind in kinds() {
        match kind {
            Kind::Start { .. }
            | Kind::Ready { .. }
            | Kind::Exit(_)
            | Kind::Crash { .. }
            | Kind::Backoff { .. }
            | Kind::Recovered { .. }
            | Kind::GaveUp { .. }
            | Kind::Stopping { .. }
            | Kind::Stop { .. }
            | Kind::Health { .. }
            | Kind::Rotate { .. }
            | Kind::LogDropped { .. }
            | Kind::Reload { .. }
            | Kind::ReloadFailed { .. }
            | Kind::DaemonStart { .. }
            | Kind::DaemonReady { .. }
            | Kind::DaemonStopping { .. }
            | Kind::DaemonStop { .. }
            | Kind::Orphan { .. }
            | Kind::Hold { .. }
            | Kind::HookFailed(_)
            | Kind::HookDisabled(_)
            | Kind::Decision { .. }
            | Kind::Update { .. }
            | Kind::Stuck { .. } => {}
            Kind::Custom { .. } => panic!("a custom event has no fields of its own"),
        }
    }
}

#[test]
fn the_usual_severity_is_one_that_the_kind_has() {
    let kinds = kinds();
    for described in &EVENTS {
        let of_type = kinds.iter().filter(|kind| told((*kind).clone())["type"] == described.name);
        assert!(of_type.map(Kind::severity).any(|severity| severity == described.severity), "{}", described.name);
    }
}

#[test]
fn the_envelope_is_the_one_that_travels() {
    let mut names = keys(&told(Kind::Rotate { path: String::new(), bytes: 1, reason: RotateReason::Size, folded: 1 }));
    // The host adds these at delivery.
    names.extend(["attempt".to_owned(), "lost".to_owned()]);
    assert_eq!(ENVELOPE.iter().map(|field| field.name.to_owned()).collect::<BTreeSet<_>>(), names);
}

#[test]
fn samples_are_of_their_type() {
    let all = EVENTS.iter().flat_map(|event| event.fields).chain(&ENVELOPE).chain([&SYNTHETIC]);
    for field in all.filter(|field| !field.sample.is_empty()) {
        let value: Value = json::from_str(field.sample).expect(field.name);
        assert!(is(&value, field.kind), "{}: {value} is no {}", field.name, field.kind);
    }
    for event in &EVENTS {
        assert!(event.fields.iter().all(|field| !field.always || !field.sample.is_empty()), "{}", event.name);
    }
}

#[test]
fn words_that_can_be_listened_to() {
    for good in ["crash", "@all", "@problem", "custom.deploy", "custom.*", "custom.a.b-c_1"] {
        assert_eq!(check_selector(good), Ok(()), "{good}");
    }
    for (bad, says) in [
        ("gaveup", "unknown event `gaveup`; did you mean `gave_up`?"),
        ("Crash", "unknown event `Crash`; did you mean `crash`?"),
        ("@problems", "unknown event `@problems`; did you mean `@problem`?"),
        ("custom.", "unknown event `custom.`: after `custom.` come"),
        ("custom.a b", "unknown event `custom.a b`: after `custom.` come"),
        ("quux", "unknown event `quux`; allowed are start, ready,"),
    ] {
        let error = check_selector(bad).expect_err(bad);
        assert!(error.starts_with(says), "{error}");
    }
    assert!(selectors().all(|word| check_selector(word).is_ok()));
    assert!(LISTS.iter().flat_map(|list| list.types).all(|name| event_type(name).is_some()));
}

#[test]
fn what_a_selector_selects() {
    use Severity::{Info, Warning};
    for (selector, event, severity, wanted) in [
        ("crash", "crash", Warning, true),
        ("crash", "exit", Info, false),
        ("@problem", "crash", Warning, true),
        ("@problem", "health", Warning, true),
        ("@problem", "health", Info, false),
        ("@problem", "stop", Warning, true),
        ("@problem", "stop", Info, false),
        ("@life", "stop", Info, true),
        ("@life", "daemon_start", Info, false),
        ("@daemon", "daemon_start", Info, true),
        ("@all", "custom.x", Info, true),
        ("custom.*", "custom.x", Info, true),
        ("custom.x", "custom.x", Info, true),
        ("custom.x", "custom.y", Info, false),
        ("health", "health", Info, true),
    ] {
        assert_eq!(selects(selector, event, severity), wanted, "{selector} {event}");
    }
}

#[test]
fn a_custom_event_is_told_by_its_name() {
    let data: Raw = Raw::parse("{\"v\":1}").expect("JSON");
    let told = told(Kind::Custom { name: "deploy".into(), data: data.into() });
    assert_eq!(told["type"], "custom.deploy");
    assert!(std::ptr::eq(event_type("custom.deploy").expect("a type"), &CUSTOM));
}
