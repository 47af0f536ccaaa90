use serde_json::json;

use super::*;
use crate::value::{ExitStatus, Signal};
use crate::wire::{Change, LogView, SupervisorView};

const NOW: &str = "2025-01-02T12:00:00Z";

fn report(services: Vec<ServiceView>) -> StatusReport {
    StatusReport {
        version: 1,
        supervisor: SupervisorView {
            pid: 1,
            version: "0.1.0".into(),
            boot: "0123456789abcdef".into(),
            time: NOW.into(),
            since: "2025-01-02T00:00:00Z".into(),
            uptime_s: 43_200,
            state: SupervisorState::Running,
            config: "/workspace/section3.yml".into(),
            log_dir: "/var/log/section3".into(),
            console_dropped_lines: 0,
            restrictions: vec![],
        },
        services,
    }
}

fn at(minutes_ago: u64) -> Option<String> {
    Some(format!("2025-01-02T11:{:02}:00Z", 60 - minutes_ago))
}

fn exited(status: ExitStatus) -> Option<ExitView> {
    Some(ExitView::new(status, NOW.into(), 5))
}

#[test]
fn a_reason_that_is_only_the_exit_is_said_once() {
    let failed = ServiceView {
        last_exit: Some(ExitView { code: Some(3), signal: None, core: false, at: String::new(), uptime_s: 0 }),
        message: Some("exit 3".into()),
        ..ServiceView::new("web", State::Failed)
    };
    assert_eq!(details(&failed, None), ["exit 3"]);
}

#[test]
fn a_held_service_says_by_whom_until_when_and_why() {
    let hold = |until: Option<&str>, reason: &str| ServiceView {
        hold: Some(HoldView { by: "hook:policy".into(), reason: reason.into(), until: until.map(Into::into) }),
        ..ServiceView::new("web", State::Waiting)
    };
    for (view, said) in [
        (hold(Some("2025-01-02T13:00:00Z"), "bad\x1bconfig"), "held by hook:policy until 2025-01-02T13:00:00Z: bad\\x1bconfig"),
        (hold(None, ""), "held by hook:policy"),
    ] {
        assert_eq!(details(&view, None), [said]);
    }
    let delayed = ServiceView {
        next_start_at: Some("2025-01-02T12:00:30Z".into()),
        message: Some("hook:x delays its start: OOM".into()),
        ..ServiceView::new("web", State::Waiting)
    };
    let now = humantime::parse_rfc3339_weak(NOW).ok();
    assert_eq!(details(&delayed, now), ["next start in 30s", "hook:x delays its start: OOM"]);
}

#[test]
fn every_state_has_its_line() {
    let new = ServiceView::new;
    let services = vec![
        ServiceView { pid: Some(12_345), run: Some(1), uptime_s: Some(9_240), ready: Some(true), ..new("web", State::Running) },
        ServiceView {
            crashes: 3,
            last_exit: exited(ExitStatus::Code(1)),
            next_start_at: Some("2025-01-02T12:00:04Z".into()),
            ..new("worker", State::Backoff)
        },
        ServiceView { waiting_for: vec!["db".into(), "web".into()], ..new("api", State::Waiting) },
        ServiceView { pid: Some(7), uptime_s: Some(0), ready: Some(false), ..new("slow", State::Starting) },
        ServiceView { pid: Some(7), message: Some("not ready yet: refused".into()), ..new("asked", State::Starting) },
        ServiceView { pid: Some(8), uptime_s: Some(61), ..new("old", State::Stopping) },
        ServiceView { run: Some(1), since: at(2), last_exit: exited(ExitStatus::Code(0)), ..new("once", State::Exited) },
        ServiceView { run: Some(1), last_exit: exited(ExitStatus::Code(0)), ..new("just", State::Exited) },
        ServiceView {
            run: Some(4),
            since: at(3),
            crashes: 4,
            last_exit: exited(ExitStatus::Signal { signal: Signal::KILL, core: true }),
            message: Some("gave up after 4 crashes".into()),
            ..new("bad", State::Failed)
        },
        ServiceView { message: Some("cannot run /x: no such file".into()), crashes: 1, ..new("typo", State::Failed) },
        new("idle", State::Stopped),
        ServiceView { run: Some(2), since: at(1), ..new("off", State::Stopped) },
        ServiceView {
            pid: Some(9),
            uptime_s: Some(5),
            health: Some(HealthView::Unhealthy),
            definition_changed: true,
            log: Some(LogView { path: "/l".into(), size: 1, lost_bytes: 4_096 }),
            message: Some("\x1b[2Jup\n".into()),
            ..new("odd", State::Running)
        },
    ];
    assert_eq!(
        status(&report(services), Paint::Plain),
        "\
web      running   PID 12345  uptime 2h34m
worker   backoff   exit 1  crash 3  next start in 4s
api      waiting   waiting for db, web
slow     starting  PID 7  uptime 0s  not ready yet
asked    starting  PID 7  not ready yet: refused
old      stopping  PID 8  uptime 1m1s
once     exited    exit 0  2m ago
just     exited    exit 0  0s ago
bad      failed    SIGKILL (core dumped)  3m ago  crash 4  gave up after 4 crashes
typo     failed    cannot run /x: no such file
idle     stopped   never started
off      stopped   1m ago
odd      running   PID 9  uptime 5s  unhealthy  definition changed  log lost 4096 bytes  \\x1b[2Jup\\n
"
    );
}

#[test]
fn a_wall_clock_that_was_set_back_shows_no_age() {
    let service = ServiceView { since: Some("2025-01-03T00:00:00Z".into()), ..ServiceView::new("once", State::Exited) };
    assert_eq!(status(&report(vec![service]), Paint::Plain), "once     exited\n");
}

#[test]
fn an_empty_set_says_so_and_a_shutdown_too() {
    let mut report = report(vec![]);
    report.supervisor.state = SupervisorState::Stopping;
    assert_eq!(status(&report, Paint::Plain), "no services\nthe supervisor is shutting down\n");
}

#[test]
fn colours_do_not_move_the_columns() {
    let report = report(vec![ServiceView::new("web", State::Failed)]);
    assert_eq!(status(&report, Paint::Colour), "web      \x1b[31mfailed  \x1b[0m\n");
}

#[test]
fn orders() {
    let result = |outcome, state, message: Option<&str>, dependents: &[&str]| OrderResult {
        name: "web".into(),
        ok: true,
        outcome,
        state,
        message: message.map(str::to_owned),
        dependencies: Vec::new(),
        dependents: dependents.iter().map(|&name| name.to_owned()).collect(),
    };
    for (op, result, line) in [
        ("start", result(Outcome::Done, State::Running, None, &[]), "web      running   started\n"),
        ("start", result(Outcome::Unchanged, State::Running, None, &[]), "web      running   was running already\n"),
        ("stop", result(Outcome::Done, State::Stopped, None, &[]), "web      stopped\n"),
        (
            "stop",
            result(Outcome::Done, State::Stopped, None, &["api", "ui"]),
            "web      stopped   still running and depending on it: api, ui\n",
        ),
        ("stop", result(Outcome::Unchanged, State::Exited, None, &[]), "web      exited    was not running\n"),
        ("restart", result(Outcome::Done, State::Running, None, &[]), "web      running   restarted\n"),
        (
            "start",
            result(Outcome::Failed, State::Backoff, Some("cannot run /x: no such file"), &[]),
            "web      backoff   did not start  cannot run /x: no such file\n",
        ),
        ("start", result(Outcome::Overtaken, State::Stopping, None, &[]), "web      stopping  overtaken by a later order\n"),
        ("start", result(Outcome::Accepted, State::Starting, None, &[]), "web      starting  accepted\n"),
    ] {
        assert_eq!(order(op, &result, name_width(["web"]), Paint::Plain), line);
    }
    let needy =
        OrderResult { dependencies: vec!["db".into(), "cache".into()], ..result(Outcome::Done, State::Running, None, &[]) };
    let line = "web      running   started  with what it needs: db, cache\n";
    assert_eq!(order("start", &needy, name_width(["web"]), Paint::Plain), line);
}

#[test]
fn reloads_and_rotations() {
    let one = |name: &str, change, done: &str| ReloadResult { name: name.into(), change, done: done.into(), ok: true };
    let report = ReloadReport {
        dry_run: true,
        services: vec![one("web", Change::Unchanged, "left alone"), one("database", Change::Added, "will start")],
        notes: vec!["console: events from now on".into()],
    };
    assert_eq!(
        reload(&report),
        "dry run, nothing was changed\n\
         web       unchanged  left alone\n\
         database  added      will start\n\
         console: events from now on\n"
    );
    let rotated =
        |ok, bytes, message: Option<&str>| RotateResult { name: "web".into(), ok, bytes, message: message.map(str::to_owned) };
    assert_eq!(rotate(&rotated(true, 12, None), 7), "web      rotated  12 bytes\n");
    assert_eq!(rotate(&rotated(true, 0, Some("empty, nothing to rotate")), 7), "web      empty, nothing to rotate\n");
    assert_eq!(rotate(&rotated(false, 0, Some("disk full")), 7), "web      disk full\n");
}

#[test]
fn events_are_one_line_each() {
    let crash = json!({
        "v": 1, "type": "crash", "time": "2025-01-02T03:04:05.678Z", "service": "web", "run": 3, "severity": "warning",
        "actor": "supervisor", "data": {"code": 1, "crashes": 2, "next": "backoff", "log_tail": ["a", "b"]}
    });
    assert_eq!(
        event(&crash),
        "2025-01-02T03:04:05.678Z  warning   web           crash      run=3  code=1  crashes=2  next=backoff\n"
    );
    let start = json!({
        "type": "start", "time": "T", "service": "web", "severity": "info", "actor": "cli:uid=0",
        "data": {"argv": ["/bin/sh", "-c", "x\ny"], "pid": 1, "none": [], "gone": null}
    });
    assert_eq!(event(&start), "T  info      web           start      argv=\"/bin/sh -c x\\\\ny\"  pid=1  by=\"cli:uid=0\"\n");
    assert_eq!(
        event(&json!({"type": "daemon_ready", "severity": "info", "time": "T"})),
        "T  info      -             daemon_ready\n"
    );
    assert_eq!(event(&json!(7)), "-  -         -             -\n");
}

#[test]
fn logs_are_told_apart() {
    let items =
        [TailItem::new("web", b"one\x1b"), TailItem::new("web", b"two"), TailItem::heading("db"), TailItem::new("api", b"\xff")];
    let shown = |logs, follow, visible| {
        let mut text = TailText::new(logs, follow, visible);
        let mut out = Vec::new();
        items.iter().for_each(|item| text.write(item, &mut out));
        out
    };
    assert_eq!(shown(1, false, false), b"one\x1b\ntwo\n\xff\n");
    assert_eq!(shown(0, false, true), b"=== web ===\none\\x1b\ntwo\n=== db ===\n=== api ===\n\\xff\n");
    assert_eq!(shown(3, true, false), b"[web] one\x1b\n[web] two\n[api] \xff\n");
}
