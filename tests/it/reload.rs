//! Reload: everything is read and checked first, and running services are left alone.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::home::finish;
use crate::support::{Daemon, Home, Launch};

const ONE: &str = "services: {web: {command: @web}}";

#[test]
fn g01_a_missing_file_changes_nothing() {
    let mut daemon = Daemon::start(ONE);
    let web = daemon.stage.actor("web");
    fs::rename(daemon.config(), daemon.path("away")).expect("no config");
    daemon.cli(&["reload"]).exits(6).says(&["section3.yml"]);
    daemon.signal(Signal::SIGHUP);
    let mut events = daemon.events();
    events.until_that("two failed reloads", |e| e["type"] == "reload_failed" && e["actor"] == "signal:SIGHUP");
    let status = daemon.status("web");
    assert_eq!((&status["state"], &status["pid"]), (&"running".into(), &web.pid.into()));
    assert!(!events.story("web").contains(&"stopping"));
}

#[test]
fn an_invalid_file_changes_nothing() {
    let mut daemon = Daemon::start(ONE);
    let web = daemon.stage.actor("web");
    daemon.configure("services: {new: {command: @new}, bad: {command: x, restart: nevr}}");
    daemon.cli(&["reload"]).exits(6).says(&["services.bad.restart", "nevr", "never"]);
    assert_eq!(daemon.status("web")["pid"], web.pid);
    daemon.cli(&["status", "new"]).exits(4);
}

#[test]
fn the_removed_stop_the_new_start_and_the_running_are_left_alone() {
    let mut daemon = Daemon::start("services: {keep: {command: @keep}, gone: {command: @gone}}");
    let keep = daemon.stage.actor("keep");
    let mut gone = daemon.stage.actor("gone");
    daemon.configure("services: {keep: {command: @keep}, new: {command: @new}}");
    let answer = daemon.cli(&["reload"]).exits(0);
    answer.says(&["gone", "new"]);
    gone.dies();
    daemon.stage.actor("new");
    assert_eq!(daemon.status("keep")["pid"], keep.pid);
    daemon.cli(&["status", "gone"]).exits(4);
    let event = daemon.events().until_daemon("reload");
    assert_eq!((&event["data"]["added"], &event["data"]["removed"]), (&serde_json::json!(["new"]), &serde_json::json!(["gone"])));
}

#[test]
fn a_changed_definition_takes_effect_at_the_next_explicit_restart_only() {
    let mut daemon = Daemon::start("services: {web: {command: @old, backoff: {initial: 10ms}}}");
    let mut old = daemon.stage.actor("old");
    daemon.configure("services: {web: {command: @new, backoff: {initial: 10ms}}}");
    daemon.cli(&["reload"]).exits(0).says(&["web"]);
    assert_eq!(daemon.status("web")["definition_changed"], true);
    daemon.cli(&["status"]).says(&["definition changed"]);
    // Not at an automatic restart.
    old.tell("exit 1");
    daemon.stage.actor("old");
    daemon.cli(&["restart", "web"]).exits(0);
    daemon.stage.actor("new");
    assert_ne!(daemon.status("web")["definition_changed"], true);
}

#[test]
fn a_changed_definition_of_what_does_not_run_takes_effect_at_once() {
    let mut daemon = Daemon::start("services: {web: {command: @old}}");
    daemon.stage.actor("old");
    daemon.cli(&["stop", "web"]).exits(0);
    daemon.configure("services: {web: {command: @new}}");
    daemon.cli(&["reload"]).exits(0);
    // g48: an operator's stop survives a reload.
    assert_eq!(daemon.status("web")["state"], "stopped");
    daemon.cli(&["start", "web"]).exits(0);
    daemon.stage.actor("new");
    assert!(daemon.stage.unclaimed().is_empty());
}

/// Whoever reads `definition changed` and then asks for it means that one, too.
#[test]
fn apply_restarts_what_an_earlier_reload_has_changed() {
    let mut daemon = Daemon::start("services: {web: {command: @old}, keep: {command: @keep}}");
    let mut old = daemon.stage.actor("old");
    let keep = daemon.stage.actor("keep");
    daemon.configure("services: {web: {command: @new}, keep: {command: @keep}}");
    daemon.cli(&["reload"]).exits(0).says(&["web      changed    takes effect at its next explicit restart"]);
    // Nothing has changed since, and it is not in force.
    let pending = "web      unchanged  changed by an earlier reload, takes effect at its next explicit restart";
    for line in [&["reload", "--dry-run"][..], &["reload"]] {
        daemon.cli(line).exits(0).says(&[pending]);
    }
    let mut events = daemon.events();
    assert_eq!(events.until_daemon("reload")["data"]["changed"], serde_json::json!(["web"]));
    assert_eq!(events.until_daemon("reload")["data"]["unchanged"], serde_json::json!(["web", "keep"]));
    daemon.cli(&["reload", "--apply"]).exits(0).says(&["web      restarted", "keep     unchanged"]);
    old.dies();
    daemon.stage.actor("new");
    assert_eq!(daemon.status("keep")["pid"], keep.pid);
    daemon.cli(&["reload", "--apply"]).exits(0).says(&["web      unchanged"]);
    // Back to what runs is no change.
    daemon.configure("services: {web: {command: @old}, keep: {command: @keep}}");
    daemon.cli(&["reload"]).exits(0).says(&["web      changed"]);
    daemon.configure("services: {web: {command: @new}, keep: {command: @keep}}");
    daemon.cli(&["reload"]).exits(0).says(&["web      unchanged"]);
    assert_ne!(daemon.status("web")["definition_changed"], true);
}

#[test]
fn apply_restarts_the_changed_and_only_them() {
    let mut daemon = Daemon::start("services: {web: {command: @old}, same: {command: @same}}");
    daemon.stage.actor("old");
    let same = daemon.stage.actor("same");
    daemon.configure("services: {web: {command: @new}, same: {command: @same}}");
    daemon.cli(&["reload", "--apply"]).exits(0).says(&["web"]);
    daemon.stage.actor("new");
    assert_eq!(daemon.status("same")["pid"], same.pid);
}

#[test]
fn dry_run_prints_the_plan_and_changes_nothing() {
    let mut daemon = Daemon::start("services: {keep: {command: @keep}, gone: {command: @gone}}");
    let gone = daemon.stage.actor("gone");
    daemon.configure("services: {keep: {command: @other}, new: {command: @new}}");
    daemon.cli(&["reload", "--dry-run"]).exits(0).says(&["gone", "new", "keep"]);
    assert_eq!(daemon.status("gone")["pid"], gone.pid);
    assert_ne!(daemon.status("keep")["definition_changed"], true);
    daemon.cli(&["status", "new"]).exits(4);
}

#[test]
fn g45_reloads_at_once_never_make_two_copies() {
    let mut daemon = Daemon::start(ONE);
    daemon.stage.actor("web");
    daemon.configure("services: {web: {command: @web}, new: {command: @new}}");
    let clients: Vec<_> = (0..4).map(|_| daemon.client(&["reload"]).spawn().expect("the program")).collect();
    daemon.signal(Signal::SIGHUP);
    // One at a time: each is done, or refused aloud.
    let codes: Vec<i32> = clients.into_iter().map(|client| finish(client, "reload").code).collect();
    assert!(codes.iter().all(|code| [0, 1].contains(code)), "{codes:?}");
    daemon.stage.actor("new");
    daemon.cli(&["status"]).exits(0);
    assert!(daemon.stage.unclaimed().is_empty());
    assert_eq!((daemon.status("new")["run"].clone(), daemon.status("web")["run"].clone()), (1.into(), 1.into()));
}

#[test]
fn g46_a_new_service_that_cannot_start_makes_the_reload_fail_aloud() {
    let mut daemon = Daemon::start(ONE);
    daemon.stage.actor("web");
    daemon.configure("services: {web: {command: @web}, new: {command: [/nonexistent/program], restart: never}}");
    daemon.cli(&["reload"]).exits(1).says(&["new", "/nonexistent/program"]);
    assert_eq!(daemon.status("web")["state"], "running");
}

#[test]
fn g47_a_changed_log_limit_holds_at_once() {
    let mut daemon = Daemon::start(ONE);
    let mut web = daemon.stage.actor("web");
    daemon.configure("services: {web: {command: @web, log_max_size: 4K}}");
    daemon.cli(&["reload"]).exits(0);
    assert_ne!(daemon.status("web")["definition_changed"], true);
    web.does("print 2000");
    web.tell("exit 0");
    daemon.events().until("exit", "web");
    assert!(fs::metadata(daemon.log("web")).expect("a log").len() <= 4096);
}

#[test]
fn a_changed_restart_policy_holds_at_once() {
    let mut daemon = Daemon::start(ONE);
    let mut web = daemon.stage.actor("web");
    daemon.configure("services: {web: {command: @web, restart: never}}");
    daemon.cli(&["reload"]).exits(0);
    web.tell("exit 3");
    daemon.cli(&["wait", "web", "--for", "failed"]).exits(0);
}

#[test]
fn an_empty_set_must_be_written_and_is_then_obeyed() {
    let mut daemon = Daemon::start(ONE);
    let mut web = daemon.stage.actor("web");
    daemon.configure("");
    daemon.cli(&["reload"]).exits(6);
    daemon.configure("services: {}");
    daemon.cli(&["reload"]).exits(0);
    web.dies();
    daemon.answers();
}

#[test]
fn a_restart_of_what_needs_a_changed_one_leaves_it_alone() {
    let mut daemon = Daemon::start("services: {web: {command: @web}, worker: {command: @worker, depends_on: [web]}}");
    daemon.stage.actor("web");
    let worker = daemon.stage.actor("worker");
    daemon.configure("services: {web: {command: @new}, worker: {command: @worker, depends_on: [web]}}");
    daemon.cli(&["reload", "--apply"]).exits(0);
    daemon.stage.actor("new");
    assert_eq!(daemon.status("worker")["pid"], worker.pid);
}

#[test]
fn a_new_service_that_is_not_selected_is_said_to_stay_stopped() {
    let web = "web: {command: exec sleep 100000}";
    let select = "supervisor: {select: {env: WHICH}}";
    let daemon = Launch::new(Home::new(&format!("services: {{{web}}}\n{select}"))).env("WHICH", "web").start();
    daemon.configure(&format!("services: {{{web}, new: {{command: exec sleep 100000}}}}\n{select}"));
    for line in [["reload", "--dry-run"].as_slice(), &["reload"]] {
        let said = daemon.cli(line).exits(0).out;
        assert!(said.contains("new      added      not selected, stays stopped"), "{said}");
    }
    assert_eq!(daemon.status("new")["state"], "stopped");
}

#[test]
fn g48_an_operators_stop_survives_a_reload_that_changes_the_service() {
    let mut daemon = Daemon::start(ONE);
    daemon.stage.actor("web");
    daemon.cli(&["stop", "web"]).exits(0);
    daemon.configure("services: {web: {command: @other, restart: on-crash}}");
    for line in [&["reload"][..], &["reload", "--apply"]] {
        daemon.cli(line).exits(0);
        assert_eq!(daemon.status("web")["state"], "stopped");
    }
    assert!(daemon.stage.unclaimed().is_empty());
    daemon.cli(&["start", "web"]).exits(0);
    daemon.stage.actor("other");
}

#[test]
fn g49_orders_during_a_reload_act_on_the_new_set() {
    let mut daemon = Daemon::start("services: {keep: {command: @keep}, gone: {command: @gone, stop_grace: 60s}}");
    let mut gone = daemon.stage.actor("gone");
    let mut keep = daemon.stage.actor("keep");
    gone.does("ignore TERM");
    daemon.configure("services: {keep: {command: @keep}, new: {command: @new}}");
    let reload = daemon.client(&["reload"]).spawn().expect("the program");
    // It waits for what it removes, and nobody waits for it.
    gone.hears("got TERM");
    let mut new = daemon.stage.actor("new");
    daemon.cli(&["stop", "new"]).exits(0);
    new.dies();
    daemon.cli(&["restart", "keep"]).exits(0);
    keep.dies();
    daemon.stage.actor("keep");
    assert_ne!(daemon.cli(&["start", "gone"]).code, 0, "what was removed does not come back");
    gone.tell("exit 0");
    finish(reload, "reload").exits(0);
    assert_eq!(daemon.status("new")["state"], "stopped");
    assert!(daemon.stage.unclaimed().is_empty());
}
