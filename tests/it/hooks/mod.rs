//! Hooks from the supervisor's side: what its host gets, what becomes of it when the host dies, and what it costs to have none.

mod decisions;
mod oom;
mod plugin;
mod reexec;
mod tls;

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::deadline::Deadline;
use crate::support::{Daemon, Home, Launch, process};

/// A supervisor with these services and these hook files.
fn with_hooks(services: &str, hooks: &[(&str, &str)]) -> Daemon {
    Launch::new(home_with_hooks(services, hooks)).start()
}

fn home_with_hooks(services: &str, hooks: &[(&str, &str)]) -> Home {
    let home = Home::new("");
    fs::create_dir(home.path("hooks")).expect("a folder");
    let names: Vec<String> = hooks.iter().map(|(name, _)| format!("hooks/{name}.lua")).collect();
    for (name, text) in hooks {
        write(&home, name, text);
    }
    home.configure(&format!("services: {{{services}}}\nhooks: [{}]\n", names.join(", ")));
    home
}

fn write(home: &Home, name: &str, text: &str) {
    fs::write(home.path(&format!("hooks/{name}.lua")), format!("local s3 = require \"section3\"\n{text}\n")).expect("a hook");
}

/// Fails with the event's type, attempt and loss: what it heard can be read in the events.
const ECHO: &str = r#"s3.on({"custom.*", "daemon_start"}, {name = "echo"}, function(ev)
  error(ev.type .. " attempt " .. tostring(ev.attempt) .. " lost " .. tostring(ev.lost), 0)
end)"#;

fn is_failure(event: &Value, script: &str, words: &str) -> bool {
    let data = &event["data"];
    event["type"] == "hook_failed" && data["script"] == script && data["message"].as_str().is_some_and(|m| m.contains(words))
}

/// The host's process id.
fn host(daemon: &Daemon) -> i32 {
    let report = daemon.json(&["hook", "list"]);
    i32::try_from(report["host"]["pid"].as_i64().unwrap_or_else(|| panic!("no host in {report}"))).expect("a process id")
}

fn script(daemon: &Daemon, name: &str) -> Value {
    let report = daemon.json(&["hook", "list"]);
    let found = report["scripts"].as_array().and_then(|all| all.iter().find(|script| script["name"] == name));
    found.unwrap_or_else(|| panic!("no {name} in {report}")).clone()
}

#[test]
fn without_hooks_there_is_no_host() {
    let daemon = Daemon::start("services: {}");
    assert!(process::children(daemon.pid()).is_empty());
    daemon.cli(&["hook", "list"]).exits(0).says(&["no hooks, no plugins"]);
    assert_eq!(daemon.json(&["hook", "list"]), json!({"version": 1, "host": {"launches": 0}, "scripts": []}));
    daemon.cli(&["x"]).exits(0).says(&["no commands"]);
    daemon.cli(&["x", "logship", "retry"]).exits(1).says(&["no such hook or plugin: `logship`"]);
    daemon.cli(&["hook", "disable", "web"]).exits(1).says(&["no such hook or plugin: `web`"]);
    assert!(!daemon.path("run/section3.sock.hooks").exists());
}

#[test]
fn anybody_who_may_talk_may_emit() {
    let daemon = Daemon::start("services: {}");
    let mut events = daemon.events();
    daemon.cli(&["emit", "deploy", "version=1.5", "canary=true", "by=me", "note=a b"]).exits(0).says(&["custom.deploy"]);
    let event = events.until_that("custom.deploy", |event| event["type"] == "custom.deploy");
    assert_eq!(event["data"], json!({"version": 1.5, "canary": true, "by": "me", "note": "a b"}));
    assert!(event["actor"].as_str().is_some_and(|actor| actor.starts_with("cli:uid=")), "{event}");
    assert!(daemon.ask(b"emit plain a=1\n").starts_with("custom.plain"));
    let long = format!("a={}", "x".repeat(17 << 10));
    daemon.cli(&["emit", "deploy", &long]).exits(2).says(&["at most 16384"]);
    daemon.cli(&["emit", "no blank"]).exits(2).says(&["no name of an event"]);
    daemon.cli(&["emit", "deploy", "word"]).exits(2).says(&["`word` is not NAME=VALUE"]);
}

#[test]
fn a_hook_hears_of_its_boot_and_of_what_comes() {
    let daemon = with_hooks("", &[("echo", ECHO)]);
    let mut events = daemon.events();
    events.until_that("the boot", |event| is_failure(event, "echo", "daemon_start"));
    daemon.cli(&["emit", "go"]).exits(0);
    let failed = events.until_that("the event", |event| is_failure(event, "echo", "custom.go attempt 1"));
    let emitted = failed["cause"].as_str().expect("a cause");
    assert_eq!(failed["data"]["event_id"], emitted);
    assert_eq!(script(&daemon, "echo")["state"], "loaded");
}

#[test]
fn its_host_is_fenced_in() {
    let daemon = with_hooks("", &[("echo", ECHO)]);
    daemon.events().until_that("the boot", |event| is_failure(event, "echo", "daemon_start"));
    let host = host(&daemon);
    assert_eq!(process::children(daemon.pid()), [host]);
    let status = fs::read_to_string(format!("/proc/{host}/status")).expect("its status");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let stat = fs::read_to_string(format!("/proc/{host}/stat")).expect("its stat");
    let session: Vec<&str> = stat[stat.rfind(')').expect("its name") + 2..].split(' ').skip(2).take(2).collect();
    assert_eq!(session, [host.to_string(), host.to_string()], "its own group and session");
    assert_eq!(fs::read_to_string(format!("/proc/{host}/oom_score_adj")).expect("its score").trim(), "800");
    assert!(daemon.json(&["status"])["services"].as_array().is_some_and(Vec::is_empty));
}

/// As a root without CAP_SYS_RESOURCE, which cannot give it more.
#[test]
fn a_supervisor_with_less_memory_than_its_host_may_have_has_one_all_the_same() {
    let home = home_with_hooks("", &[("echo", ECHO)]);
    let daemon = Launch::new(home).under(&["sh", "-c", "ulimit -v 400000; exec \"$@\"", "sh"]).start();
    daemon.events().until_that("the boot", |event| is_failure(event, "echo", "daemon_start"));
    let limits = fs::read_to_string(format!("/proc/{}/limits", host(&daemon))).expect("its limits");
    let memory = limits.lines().find(|line| line.starts_with("Max address space")).unwrap_or_default();
    assert!(memory.contains("409600000            409600000"), "{limits}");
}

#[test]
fn a_host_that_is_killed_comes_back_and_what_it_had_begun_is_a_second_attempt() {
    let slow = r#"s3.on("custom.*", {name = "slow", timeout = "10m"}, function(ev)
  if ev.attempt == 2 then error(ev.type .. " again", 0) end
  s3.spawn(function() error("begun", 0) end)
  s3.sleep("5m")
end)"#;
    let service = "web: {command: exec sleep 100000}";
    let daemon = with_hooks(service, &[("slow", slow), ("echo", ECHO)]);
    let mut events = daemon.events();
    events.until_that("the boot", |event| is_failure(event, "echo", "daemon_start"));
    let run = daemon.status("web")["run"].clone();
    daemon.cli(&["emit", "go"]).exits(0);
    let (mut has_begun, mut is_echoed) = (false, false);
    while !(has_begun && is_echoed) {
        let event = events.until_that("the event in both hooks", |event| event["type"] == "hook_failed");
        has_begun |= is_failure(&event, "slow", "begun");
        is_echoed |= is_failure(&event, "echo", "custom.go");
    }
    process::signal(host(&daemon), Signal::SIGKILL);
    events.until_that("who it died with", |event| is_failure(event, "slow", "SIGKILL"));
    events.until_that("the second attempt", |event| is_failure(event, "slow", "custom.go again"));
    daemon.cli(&["emit", "more"]).exits(0);
    events.until_that("what comes after it", |event| is_failure(event, "echo", "custom.more attempt 1"));
    assert_eq!(daemon.status("web")["run"], run);
    assert_eq!(script(&daemon, "echo")["handlers"][0]["failed"], 3, "each of its events once");
}

#[test]
fn a_broken_edit_keeps_the_old_version_and_says_so() {
    let daemon = with_hooks("", &[("echo", ECHO)]);
    let mut events = daemon.events();
    events.until_that("the boot", |event| is_failure(event, "echo", "daemon_start"));
    daemon.cli(&["reload"]).exits(0).says(&["hook echo", "left alone"]);
    write(&daemon, "echo", "s3.on(");
    daemon.cli(&["reload", "--dry-run"]).exits(0).says(&["hook echo", "changed"]);
    daemon.cli(&["reload"]).exits(1).says(&["not loaded: ", "echo.lua:", "the version before it goes on"]);
    assert_eq!(script(&daemon, "echo")["state"], "stale");
    daemon.cli(&["emit", "go"]).exits(0);
    events.until_that("the old version", |event| is_failure(event, "echo", "custom.go"));
    write(&daemon, "echo", &ECHO.replace(" attempt ", " newer "));
    daemon.cli(&["reload"]).exits(0).says(&["loaded"]);
    daemon.cli(&["emit", "two"]).exits(0);
    events.until_that("the new version", |event| is_failure(event, "echo", "custom.two newer"));
}

/// The README's word on it: the old version is nowhere but in the host.
#[test]
fn a_broken_edit_and_then_the_end_of_the_host_is_the_end_of_the_old_version() {
    let daemon = with_hooks("", &[("echo", ECHO)]);
    let mut events = daemon.events();
    events.until_that("the boot", |event| is_failure(event, "echo", "daemon_start"));
    write(&daemon, "echo", "s3.on(");
    daemon.cli(&["reload"]).exits(1).says(&["the version before it goes on"]);
    let is_refused = |event: &Value| is_failure(event, "echo", "echo.lua:") && event["data"]["kind"] == "load";
    events.until_that("the refusal", is_refused);
    process::signal(host(&daemon), Signal::SIGKILL);
    events.until_that("why it is out", is_refused);
    assert_eq!(script(&daemon, "echo")["state"], "failed");
    write(&daemon, "echo", ECHO);
    daemon.cli(&["reload"]).exits(0).says(&["loaded"]);
    daemon.cli(&["emit", "go"]).exits(0);
    events.until_that("what it hears from then on", |event| is_failure(event, "echo", "custom.go"));
}

#[test]
fn hooks_come_and_go_with_reloads_and_the_last_one_takes_the_host_with_it() {
    let daemon = with_hooks("", &[("echo", ECHO)]);
    let mut events = daemon.events();
    events.until_that("the boot", |event| is_failure(event, "echo", "daemon_start"));
    write(&daemon, "other", ECHO);
    daemon.configure("services: {}\nhooks: [hooks/other.lua]\n");
    daemon.cli(&["reload"]).exits(0).says(&["hook other  added", "hook echo   removed"]);
    daemon.cli(&["emit", "go"]).exits(0);
    // It hears from now on: the boot is not its business.
    let first = events.until_that("its first word", |event| event["type"] == "hook_failed" && event["data"]["script"] == "other");
    assert!(is_failure(&first, "other", "custom.go"), "{first}");
    daemon.configure("services: {}\n");
    daemon.cli(&["reload"]).exits(0).says(&["hook other", "removed"]);
    let mut daemon = daemon;
    daemon.stdout.until("the end of the host", |line| line.contains("the hook host ended"));
    assert_eq!(daemon.json(&["hook", "list"])["host"], json!({"launches": 1}));
    assert!(process::children(daemon.pid()).is_empty());
}

#[test]
fn a_hook_that_is_disabled_hears_nothing_and_begins_at_the_present() {
    let daemon = with_hooks("", &[("echo", ECHO), ("stays", ECHO)]);
    let mut events = daemon.events();
    events.until_that("the boot", |event| is_failure(event, "echo", "daemon_start"));
    daemon.cli(&["hook", "disable", "echo"]).exits(0).says(&["echo: disabled"]);
    daemon.cli(&["hook", "disable", "echo"]).exits(0).says(&["already"]);
    daemon.cli(&["reload"]).exits(0);
    assert_eq!(script(&daemon, "echo")["state"], "disabled");
    daemon.cli(&["emit", "unheard"]).exits(0);
    events.until_that("who is left", |event| is_failure(event, "stays", "custom.unheard"));
    daemon.cli(&["hook", "enable", "echo"]).exits(0).says(&["echo: enabled"]);
    daemon.cli(&["emit", "heard"]).exits(0);
    let next = events.until_that("its next word", |event| event["type"] == "hook_failed" && event["data"]["script"] == "echo");
    assert!(is_failure(&next, "echo", "custom.heard"), "{next}");
}

#[test]
fn at_the_end_the_host_hears_of_it_and_services_do_not_wait_for_it() {
    let last = r#"s3.on("daemon_stopping", {name = "last"}, function(ev) error("heard " .. ev.type, 0) end)"#;
    let mut daemon = with_hooks("web: {command: exec sleep 100000}", &[("last", last), ("echo", ECHO)]);
    daemon.events().until_that("the boot", |event| is_failure(event, "echo", "daemon_start"));
    let host = host(&daemon);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
    assert!(!process::is_alive(host));
    assert!(daemon.log_text("section3").contains("hook last (last) failed: heard daemon_stopping"));
}

#[test]
fn what_a_killed_supervisor_leaves_of_its_host_is_gone() {
    let daemon = with_hooks("", &[("echo", ECHO)]);
    daemon.events().until_that("the boot", |event| is_failure(event, "echo", "daemon_start"));
    let before = host(&daemon);
    let home = daemon.killed();
    let daemon = Launch::new(home).start();
    daemon.events().until_that("the boot", |event| is_failure(event, "echo", "daemon_start"));
    assert!(!process::is_alive(before) && host(&daemon) != before);
}

#[test]
fn a_hook_that_sleeps_while_everything_crashes_costs_bounded_memory_and_no_restart() {
    let slow = r#"s3.on("exit", {name = "slow", timeout = "10m"}, function(ev) s3.sleep("5m") end)"#;
    // A thousand events a second: no more than a part of a processor can do, for a client is to be answered between them.
    let services: Vec<String> =
        (0..100).map(|n| format!("s{n}: {{command: exit 1, backoff: {{initial: 500ms, max: 500ms}}}}")).collect();
    let mut daemon = with_hooks(&services.join(", "), &[("slow", slow)]);
    // The ring is overtaken: the supervisor goes on, and the hook is told how much it will have missed.
    let deadline = Deadline::new();
    let newest = || daemon.cli(&["events", "-n", "1", "--json"]).exits(0).out;
    while serde_json::from_str::<Value>(&newest()).expect("an event")["seq"].as_u64() < Some(6_000) {
        assert!(!deadline.is_over(), "services do not crash on");
    }
    let handler = &script(&daemon, "slow")["handlers"][0];
    assert!(handler["lost"].as_u64() > Some(0), "{handler}");
    assert!(handler["lag_events"].as_u64() <= Some(4096 + 64), "{handler}");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
}
