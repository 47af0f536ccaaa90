//! Runs, crashes, backoff and restart policies.

use crate::support::{Daemon, Home, Launch};

/// A service that is launched again almost at once.
const BRISK: &str =
    "services: {web: {command: @web, restart: on-crash, backoff: {initial: 20ms, max: 40ms, reset_after: 200ms}}}";

/// A service whose next launch is far away once it crashed.
const SLOW: &str = "services: {web: {command: @web, backoff: {initial: 60s}}}";

/// G31: crash and clean end are told apart. P13: what died is launched again.
#[test]
fn a_crash_leads_to_backoff_a_new_run_and_recovery() {
    let mut daemon = Daemon::start(BRISK);
    let mut events = daemon.events();
    daemon.stage.actor("web").tell("exit 3");
    let exit = events.until("exit", "web");
    assert_eq!((&exit["data"]["code"], &exit["run"]), (&3.into(), &1.into()));
    let crash = events.until("crash", "web");
    assert_eq!((&crash["data"]["crashes"], &crash["data"]["next"]), (&1.into(), &"backoff".into()));
    assert_eq!(events.until("start", "web")["run"], 2);
    let recovered = events.until("recovered", "web");
    assert_eq!(recovered["data"]["crashes"], 1);
    assert_eq!(events.story("web"), ["start", "ready", "exit", "crash", "backoff", "start", "ready", "recovered"]);
    let status = daemon.status("web");
    assert_eq!((&status["state"], &status["last_exit"]["code"]), (&"running".into(), &3.into()));
}

/// G31: an end by itself, a failure and a backoff are told apart, with code or signal.
#[test]
fn the_policy_decides_what_follows_an_end() {
    let config = "defaults: {backoff: {initial: 60s}}
services:
  a-never-0: {command: exit 0, restart: never}
  b-never-3: {command: exit 3, restart: never}
  c-crash-0: {command: exit 0, restart: on-crash}
  d-crash-3: {command: exit 3, restart: on-crash}
  e-always-0: {command: exit 0, restart: always}
  f-always-3: {command: exit 3, restart: always}
  g-signal: {command: 'kill -SEGV $$', restart: never}
";
    let daemon = Daemon::start(config);
    let ends = ["exited", "failed", "exited", "backoff", "backoff", "backoff", "failed"];
    let names = ["a-never-0", "b-never-3", "c-crash-0", "d-crash-3", "e-always-0", "f-always-3", "g-signal"];
    for (name, state) in names.into_iter().zip(ends) {
        daemon.cli(&["wait", name, "--for", state]).exits(0);
    }
    assert_eq!(daemon.status("b-never-3")["last_exit"]["code"], 3);
    assert!(daemon.status("g-signal")["last_exit"]["signal"].to_string().contains("SEGV"));
}

#[test]
fn the_delay_doubles_and_stays_at_its_maximum() {
    let daemon = Daemon::start("services: {web: {command: exit 1, backoff: {initial: 10ms, max: 40ms}}}");
    let mut events = daemon.events();
    let delays: Vec<i64> = (0..5).filter_map(|_| events.until("backoff", "web")["data"]["delay_ms"].as_i64()).collect();
    assert_eq!(delays, [10, 20, 40, 40, 40]);
}

#[test]
fn it_gives_up_after_so_many_crashes_in_a_row() {
    let daemon = Daemon::start("services: {web: {command: exit 7, backoff: {initial: 10ms, give_up_after: 3}}}");
    let mut events = daemon.events();
    let gave_up = events.until("gave_up", "web");
    assert_eq!((&gave_up["data"]["crashes"], &gave_up["data"]["code"]), (&3.into(), &7.into()));
    assert_eq!(events.story("web").iter().filter(|kind| **kind == "start").count(), 3);
    daemon.cli(&["wait", "web", "--for", "failed"]).exits(0);
}

#[test]
fn g23_a_stop_in_backoff_is_done_at_once() {
    let mut daemon = Daemon::start(SLOW);
    let mut events = daemon.events();
    daemon.stage.actor("web").tell("exit 1");
    events.until("backoff", "web");
    daemon.cli(&["stop", "web"]).exits(0);
    assert_eq!(daemon.status("web")["state"], "stopped");
}

#[test]
fn a_start_in_backoff_starts_now() {
    let mut daemon = Daemon::start(SLOW);
    let mut events = daemon.events();
    daemon.stage.actor("web").tell("exit 1");
    events.until("backoff", "web");
    daemon.cli(&["start", "web"]).exits(0);
    daemon.stage.actor("web");
    assert_eq!(daemon.status("web")["crashes"], 0);
}

#[test]
fn a_start_of_what_runs_and_a_stop_of_what_does_not_are_fine() {
    let mut daemon = Daemon::start(SLOW);
    let web = daemon.stage.actor("web");
    daemon.cli(&["start", "web"]).exits(0);
    assert_eq!(daemon.status("web")["pid"], web.pid);
    daemon.cli(&["stop", "web"]).exits(0);
    daemon.cli(&["stop", "web"]).exits(0);
}

#[test]
fn a_restart_makes_a_new_run() {
    let mut daemon = Daemon::start(SLOW);
    let mut old = daemon.stage.actor("web");
    daemon.cli(&["restart", "web"]).exits(0);
    old.dies();
    let new = daemon.stage.actor("web");
    let status = daemon.status("web");
    assert_eq!((&status["pid"], &status["run"], &status["state"]), (&new.pid.into(), &2.into(), &"running".into()));
}

#[test]
fn g27_what_a_crash_left_in_the_group_is_gone_before_the_next_run() {
    let mut daemon = Daemon::start(BRISK);
    let mut web = daemon.stage.actor("web");
    web.does("spawn member");
    let mut member = daemon.stage.actor("member");
    member.does("ignore TERM");
    web.tell("exit 1");
    daemon.stage.actor("web");
    member.dies();
}

#[test]
fn a_service_that_puts_itself_into_the_background_has_ended() {
    let mut daemon = Daemon::start("services: {web: {command: @web, restart: never}}");
    let mut web = daemon.stage.actor("web");
    web.does("daemonize far");
    let mut far = daemon.stage.actor("far");
    web.tell("exit 0");
    daemon.cli(&["wait", "web", "--for", "exited"]).exits(0);
    far.dies();
}

#[test]
fn not_ready_in_time_is_a_crash() {
    let config = "services: {web: {command: @web, ready: {file: /nonexistent, timeout: 100ms}, backoff: {initial: 60s}}}";
    let daemon = Daemon::start(config);
    let mut events = daemon.events();
    events.until("crash", "web");
    assert!(!events.story("web").contains(&"ready"));
    daemon.cli(&["wait", "web", "--for", "backoff"]).exits(0);
}

#[test]
fn an_unhealthy_service_is_restarted() {
    let home = Home::new("");
    let ill = home.path("ill");
    home.configure(&format!(
        "services: {{web: {{command: @web, backoff: {{initial: 10ms}},
           health: {{exec: [test, '!', -e, {}], interval: 20ms, timeout: 1h, failures: 2}}}}}}",
        ill.display()
    ));
    let mut daemon = Launch::new(home).start();
    let mut events = daemon.events();
    let mut first = daemon.stage.actor("web");
    std::fs::write(&ill, "").expect("a file");
    first.dies();
    events.until_that("unhealthy", |e| e["type"] == "health" && e["data"]["to"] == "unhealthy");
    std::fs::remove_file(&ill).expect("the file");
    daemon.stage.actor("web");
}

/// P05: none hides another one's code.
#[test]
fn the_supervisor_ends_when_all_have_and_passes_on_the_worst_code() {
    let config = "supervisor: {exit_when: all-ended}
services: {a: {command: exit 3, restart: never}, b: {command: 'kill -KILL $$', restart: never}, c: {command: exit 0, restart: never}}";
    // Not `start`: it may have ended before anybody sees its socket.
    assert_eq!(Launch::new(Home::new(config)).spawn().ends(), 137);
}

#[test]
fn an_essential_service_takes_the_supervisor_along() {
    let mut daemon = Daemon::start("services: {web: {command: @web, essential: true, restart: never}, other: {command: @other}}");
    let mut other = daemon.stage.actor("other");
    daemon.stage.actor("web").tell("exit 5");
    other.hears("got TERM");
    assert_eq!(daemon.ends(), 5);
}

#[test]
fn every_event_has_its_number_and_none_is_missing() {
    let daemon = Daemon::start("services: {web: {command: exit 1, backoff: {initial: 1ms, max: 1ms, give_up_after: 20}}}");
    let mut events = daemon.events();
    events.until("gave_up", "web");
    let numbers: Vec<i64> = events.seen().iter().filter_map(|e| e["seq"].as_i64()).collect();
    assert_eq!(numbers.len(), events.seen().len());
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    for run in 1..=20 {
        let of_run = |kind: &str| events.seen().iter().filter(|e| e["type"] == kind && e["run"] == run).count();
        assert_eq!((of_run("start"), of_run("exit")), (1, 1), "run {run}");
    }
}

#[test]
fn the_log_says_that_a_service_was_not_ready_in_time() {
    let daemon = Daemon::start("services: {web: {command: exec sleep 100000, ready: {file: /nonexistent, timeout: 1ms}}}");
    daemon.events().until("crash", "web");
    let said = daemon.cli(&["tail", "section3"]).exits(0).out;
    assert!(said.contains("web: asked to end by SIGTERM, grace 5s (not ready in time)"), "{said}");
}
