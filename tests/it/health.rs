//! Health: what is asked of a running service, and what a row of bad answers leads to.
//! The check is a scripted child here: each question is one that comes in, and answers when it is told to.

use crate::support::deadline::Deadline;
use crate::support::events::Events;
use crate::support::process::describe;
use crate::support::stage::Actor;
use crate::support::{Daemon, Home, Launch, Port};

fn config(health: &str) -> String {
    format!(
        "services: {{web: {{command: @web, backoff: {{initial: 10ms}}, health: {{exec: @check, interval: 10ms, timeout: 60s, {health}}}}}}}"
    )
}

/// Answers so many questions with these exit codes.
#[track_caller]
fn answers(daemon: &mut Daemon, codes: &[u8]) {
    for code in codes {
        daemon.stage.actor("check").tell(&format!("exit {code}"));
    }
}

/// The next question, unanswered: all answers before it have been taken in.
#[track_caller]
fn next_question(daemon: &mut Daemon) -> Actor {
    daemon.stage.actor("check")
}

/// The health events so far, as `from>to`.
fn changes(events: &Events) -> Vec<String> {
    let seen = events.seen().iter().filter(|e| e["type"] == "health");
    seen.map(|e| format!("{}>{}", e["data"]["from"].as_str().unwrap_or("?"), e["data"]["to"].as_str().unwrap_or("?"))).collect()
}

#[test]
fn so_many_failures_in_a_row_restart_it_and_it_keeps_being_watched() {
    let mut daemon = Daemon::start(&config("failures: 3"));
    let mut events = daemon.events();
    let mut first = daemon.stage.actor("web");
    answers(&mut daemon, &[1, 1, 0, 1, 1]);
    let mut check = next_question(&mut daemon);
    assert_eq!(daemon.status("web")["health"], "healthy");
    check.does("write the disk is full");
    check.tell("exit 7");
    events.until_that("unhealthy", |e| e["type"] == "health" && e["data"]["to"] == "unhealthy");
    let unhealthy = events.seen().last().cloned().expect("the event");
    assert_eq!((&unhealthy["severity"], &unhealthy["run"]), (&"warning".into(), &1.into()));
    let data = &unhealthy["data"];
    assert_eq!(
        (&data["check"], &data["failures"], &data["output"]),
        (&"exec".into(), &3.into(), &"exit 7: the disk is full".into())
    );
    first.dies();
    assert_eq!(events.until("stopping", "web")["data"]["reason"], "health");
    assert_eq!(events.until("start", "web")["data"]["reason"], "health");
    daemon.stage.actor("web");
    next_question(&mut daemon);
    assert_eq!(daemon.status("web")["health"], "unknown");
    assert_eq!(changes(&events), ["unknown>healthy", "healthy>unhealthy"]);
}

#[test]
fn failures_within_the_grace_do_not_count() {
    let mut daemon = Daemon::start(&config("failures: 1, grace: 1h"));
    daemon.stage.actor("web");
    answers(&mut daemon, &[1, 1, 1, 1, 1]);
    next_question(&mut daemon);
    let status = daemon.status("web");
    assert_eq!((&status["state"], &status["run"], &status["health"]), (&"running".into(), &1.into(), &"unknown".into()));
}

#[test]
fn without_an_action_it_is_only_told() {
    let mut daemon = Daemon::start(&config("failures: 2, action: none"));
    let mut events = daemon.events();
    daemon.stage.actor("web");
    answers(&mut daemon, &[1, 1, 1]);
    let mut check = next_question(&mut daemon);
    assert_eq!(daemon.status("web")["health"], "unhealthy");
    check.tell("exit 0");
    events.until_that("healthy", |e| e["type"] == "health" && e["data"]["to"] == "healthy");
    assert_eq!(changes(&events), ["unknown>unhealthy", "unhealthy>healthy"]);
    assert_eq!(events.story("web"), ["start", "ready", "health", "health"]);
}

#[test]
fn a_check_that_hangs_costs_nothing_but_itself() {
    let config = "services:
  web: {command: @web, backoff: {initial: 60s}, health: {exec: exec sleep 98765, interval: 10ms, timeout: 300ms, failures: 1}}
  other: {command: @other, health: {exec: @fine, interval: 10ms, timeout: 1h}}
";
    let mut daemon = Daemon::start(config);
    let mut events = daemon.events();
    for _ in 0..5 {
        daemon.stage.actor("fine").tell("exit 0");
    }
    let event = events.until_that("unhealthy", |e| e["type"] == "health" && e["data"]["to"] == "unhealthy");
    assert!(event["data"]["output"].to_string().contains("no answer within 300ms"), "{event}");
    events.until("backoff", "web");
    assert_eq!(daemon.status("other")["health"], "healthy");
    // It is killed, and a moment later it is gone.
    let deadline = Deadline::new();
    while daemon.processes().into_iter().any(|pid| describe(pid).contains("sleep 98765")) {
        assert!(!deadline.is_over(), "the check is not ended");
        daemon.answers();
    }
    assert!(!events.seen().iter().any(|e| e["type"] == "orphan"), "a check is no orphan");
}

#[test]
fn a_stop_ends_a_check_that_hangs() {
    let mut daemon = Daemon::start(&config("failures: 1"));
    let mut check = next_question(&mut daemon);
    daemon.cli(&["stop", "web"]).exits(0);
    check.dies();
    assert!(daemon.status("web")["health"].is_null());
}

#[test]
fn a_reload_changes_the_check_at_once() {
    let mut daemon = Daemon::start("services: {web: {command: @web, health: {exec: @check, interval: 1h, timeout: 1h}}}");
    let mut events = daemon.events();
    let web = daemon.stage.actor("web");
    next_question(&mut daemon).tell("exit 0");
    events.until("health", "web");
    daemon.configure("services: {web: {command: @web, health: {exec: @another, interval: 1h, timeout: 1h}}}");
    daemon.cli(&["reload"]).exits(0);
    let mut another = daemon.stage.actor("another");
    assert_eq!(daemon.status("web")["health"], "unknown");
    daemon.configure("services: {web: {command: @web}}");
    daemon.cli(&["reload"]).exits(0);
    another.dies();
    let status = daemon.status("web");
    assert!(status["health"].is_null() && status["pid"] == web.pid, "{status}");
}

#[test]
fn a_web_server_that_answers_500_is_restarted() {
    let home = Home::new("");
    let (dir, reserved) = (home.path("www"), Port::free());
    let port = reserved.number();
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("health"), "fine").expect("a page");
    home.configure(&format!(
        "services:
  web:
    command: busybox httpd -f -p 127.0.0.1:{port} -h {}
    ready: {{tcp: '127.0.0.1:{port}', interval: 10ms}}
    health: {{http: 'http://127.0.0.1:{port}/health', interval: 10ms, timeout: 1h, failures: 2}}
    backoff: {{initial: 10ms}}
",
        dir.display()
    ));
    let daemon = Launch::new(home).start();
    let mut events = daemon.events();
    assert_eq!(events.until("health", "web")["data"]["to"], "healthy");
    std::fs::remove_file(dir.join("health")).expect("the page");
    let unhealthy = events.until("health", "web");
    assert!(unhealthy["data"]["output"].to_string().contains("HTTP status 404"), "{unhealthy}");
    events.until("crash", "web");
    std::fs::write(dir.join("health"), "fine").expect("a page");
    let healthy = events.until_that("healthy again", |e| e["type"] == "health" && e["data"]["to"] == "healthy");
    assert!(healthy["run"].as_u64() > Some(1), "{healthy}");
}

#[test]
fn a_silent_watchdog_is_unhealthy() {
    let config =
        "services: {web: {command: @web, env: {WATCHDOG_USEC: '100000'}, ready: {notify: systemd}, backoff: {initial: 10ms}}}";
    let mut daemon = Daemon::start(config);
    let mut events = daemon.events();
    let mut web = daemon.stage.actor("web");
    web.does("notify READY=1|WATCHDOG=1");
    let unhealthy = events.until_that("unhealthy", |e| e["type"] == "health" && e["data"]["to"] == "unhealthy");
    assert_eq!(unhealthy["data"]["check"], "watchdog");
    assert!(unhealthy["data"]["output"].to_string().contains("no WATCHDOG=1 for 100ms"), "{unhealthy}");
    web.dies();
    // The next run says that it needs longer, and then that it wants to be dealt with.
    let mut web = daemon.stage.actor("web");
    web.does("notify READY=1|WATCHDOG_USEC=60000000|WATCHDOG=1");
    events.until("ready", "web");
    let healthy = events.until("health", "web");
    assert_eq!((&healthy["run"], &healthy["data"]["to"]), (&2.into(), &"healthy".into()));
    assert_eq!(daemon.status("web")["health"], "healthy");
    web.does("notify WATCHDOG=trigger");
    assert!(events.until("health", "web")["data"]["output"].to_string().contains("trigger"));
    web.dies();
}

#[test]
fn a_watchdog_without_restart_is_only_told() {
    let config = "services: {web: {command: @web, env: {WATCHDOG_USEC: '60000000'}, ready: {notify: systemd},
        health: {file: /, interval: 1h, action: none}}}";
    let mut daemon = Daemon::start(config);
    let mut events = daemon.events();
    let mut web = daemon.stage.actor("web");
    web.does("notify READY=1|WATCHDOG=1");
    web.does("notify WATCHDOG=trigger");
    let is_watchdog = |e: &serde_json::Value| e["type"] == "health" && e["data"]["check"] == "watchdog";
    events.until_that("unhealthy", |e| is_watchdog(e) && e["data"]["to"] == "unhealthy");
    web.does("notify WATCHDOG=1");
    events.until_that("healthy", |e| is_watchdog(e) && e["data"]["to"] == "healthy");
    assert_eq!(daemon.status("web")["run"], 1);
}
