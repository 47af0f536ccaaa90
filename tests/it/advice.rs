//! Decisions, as far as they show where nobody can be asked.

use nix::sys::signal::Signal;

use crate::support::Daemon;

/// One service that names a plugin which is switched off: nobody is there to be asked.
fn asking(more: &str) -> String {
    format!("services: {{web: {{command: @web, decisions: [x], {more}}}}}\nplugins: {{x: {{enabled: false}}}}\n")
}

/// The contract's 8.6: a missing host means the core's own decision, at once, as an event.
#[test]
fn a_service_whose_scripts_cannot_be_asked_lives_as_without_them() {
    let mut daemon = Daemon::start(&asking("backoff: {initial: 0s}"));
    let mut events = daemon.events();
    let mut web = daemon.stage.actor("web");
    let decision = events.until("decision", "web");
    let data = &decision["data"];
    assert_eq!((&data["point"], &data["verdict"]), (&"start".into(), &"none".into()));
    assert!(data["by"].as_str().is_some_and(|by| by.ends_with(":x")), "{data}");
    assert!(data["applied"] == false && data["took_ms"].is_u64(), "{data}");
    assert!(data["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{data}");
    events.until("ready", "web");
    web.tell("exit 3");
    daemon.stage.actor("web");
    events.until("ready", "web");
    // Nobody is asked about what an operator orders.
    daemon.cli(&["restart", "web"]).exits(0);
    daemon.stage.actor("web");
    events.until("ready", "web");
    let crash = ["exit", "crash", "decision", "backoff", "decision", "start", "ready"];
    let restart = ["stopping", "exit", "stop", "start", "ready"];
    assert_eq!(events.story("web"), [&["decision", "start", "ready"], &crash[..], &restart].concat());
    daemon.signal(Signal::SIGTERM);
    let decision = events.until("decision", "web");
    assert_eq!(decision["data"]["point"], "stop");
    events.until("stop", "web");
    assert_eq!(daemon.ends(), 0);
}

#[test]
fn without_consent_nobody_is_asked() {
    let mut daemon = Daemon::start("services: {web: {command: @web, backoff: {initial: 0s}}}");
    let mut events = daemon.events();
    daemon.stage.actor("web").tell("exit 3");
    daemon.stage.actor("web");
    events.until("crash", "web");
    events.until("ready", "web");
    assert!(!events.story("web").contains(&"decision"), "{:?}", events.seen());
}

#[test]
fn consent_is_taken_over_by_a_reload_without_a_restart() {
    let mut daemon = Daemon::start("services: {web: {command: @web}}");
    let mut events = daemon.events();
    let mut web = daemon.stage.actor("web");
    daemon.configure(&asking(""));
    daemon.cli(&["reload"]).exits(0).says(&["in effect now"]);
    web.tell("exit 3");
    let decision = events.until("decision", "web");
    assert_eq!((&decision["data"]["point"], &decision["run"]), (&"restart".into(), &1.into()));
    daemon.stage.actor("web");
}
