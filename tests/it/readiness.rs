//! Readiness: every way to be asked or to tell, and whose word counts.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::deadline::Deadline;
use crate::support::process::{describe, descriptors};
use crate::support::{Daemon, Home, Launch, Port};

/// The value of a variable that a process was started with.
fn variable(pid: i32, name: &str) -> String {
    let environ = fs::read(format!("/proc/{pid}/environ")).expect("a live process");
    let environ = String::from_utf8_lossy(&environ).into_owned();
    let value = environ.split('\0').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {name} in {environ}")).to_owned()
}

/// Waits until `status` has this message for a service: what it said before is then known too.
#[track_caller]
fn until_message(daemon: &Daemon, service: &str, message: &str) {
    let deadline = Deadline::new();
    loop {
        let status = daemon.status(service);
        if status["message"].as_str().is_some_and(|found| found.contains(message)) {
            return;
        }
        assert!(!deadline.is_over(), "no message `{message}`: {status}");
    }
}

#[test]
fn a_service_says_itself_that_it_is_ready() {
    let mut daemon = Daemon::start("services: {web: {command: @web, ready: {notify: systemd}}}");
    let mut events = daemon.events();
    let mut web = daemon.stage.actor("web");
    web.does("notify STATUS=warming\x1b up");
    until_message(&daemon, "web", "warming\\u{1b} up");
    assert_eq!(daemon.status("web")["state"], "starting");
    web.does("notify READY=1|STATUS=serving");
    assert_eq!(events.until("ready", "web")["data"]["by"], "notify");
    assert_eq!(daemon.status("web")["message"], "serving");
    web.does("notify READY=1");
    web.does("notify STATUS=|STOPPING=1");
    until_message(&daemon, "web", "stopping");
    daemon.cli(&["stop", "web"]).exits(0);
    events.until("stop", "web");
    assert_eq!(events.story("web"), ["start", "ready", "stopping", "exit", "stop"]);
    assert!(daemon.status("web")["message"].is_null());
}

#[test]
fn a_note_belongs_to_its_run() {
    let config = "services:
  web: {command: @web, ready: {notify: systemd}, backoff: {initial: 10ms}}
  other: {command: @other}
";
    let mut daemon = Daemon::start(config);
    let mut events = daemon.events();
    let mut other = daemon.stage.actor("other");
    let mut web = daemon.stage.actor("web");
    let first = variable(web.pid, "NOTIFY_SOCKET");
    web.tell("exit 1");
    events.until("crash", "web");
    let mut web = daemon.stage.actor("web");
    let second = variable(web.pid, "NOTIFY_SOCKET");
    assert_ne!(first, second);
    // Neither an older run's socket nor another service's word makes it ready.
    other.does(&format!("notify-at {first} READY=1"));
    other.does(&format!("notify-at {second} READY=1|STATUS=forged"));
    web.does("notify STATUS=mine");
    until_message(&daemon, "web", "mine");
    assert_eq!(daemon.status("web")["state"], "starting");
    // What the run itself started may speak for it, wherever it went.
    web.does("daemonize far");
    daemon.stage.actor("far").does("notify READY=1");
    assert_eq!(events.until("ready", "web")["run"], 2);
}

#[test]
fn a_real_program_speaks_sd_notify() {
    if !std::path::Path::new("/usr/bin/systemd-notify").exists() {
        eprintln!("left out: there is no systemd-notify here");
        return;
    }
    let command = "systemd-notify --ready --status=warm; exec sleep 1000";
    let daemon = Daemon::start(&format!("services: {{web: {{command: {command}, ready: {{notify: systemd}}}}}}"));
    daemon.cli(&["wait", "web", "--for", "running"]).exits(0);
    assert_eq!(daemon.status("web")["message"], "warm");
}

#[test]
fn what_the_supervisor_was_started_under_hears_nothing_of_the_services() {
    let home = Home::new("services: {web: {command: @web}}");
    let mut daemon = Launch::new(home).env("NOTIFY_SOCKET", "/nonexistent").env("WATCHDOG_USEC", "1").start();
    let web = daemon.stage.actor("web");
    let environ = fs::read(format!("/proc/{}/environ", web.pid)).expect("a live process");
    assert!(!String::from_utf8_lossy(&environ).contains("NOTIFY_SOCKET"));
    assert!(!String::from_utf8_lossy(&environ).contains("WATCHDOG_USEC"));
}

#[test]
fn a_newline_on_a_descriptor_says_it_too() {
    for number in [3, 100] {
        let config = format!("services: {{web: {{command: @web, ready: {{notify: {{fd: {number}}}}}}}}}");
        let mut daemon = Daemon::start(&config);
        let mut events = daemon.events();
        let mut web = daemon.stage.actor("web");
        assert_eq!(daemon.status("web")["state"], "starting");
        assert!(descriptors(web.pid).contains(&number), "{number}");
        web.does(&format!("newline {number}"));
        assert_eq!(events.until("ready", "web")["data"]["by"], "notify");
    }
}

#[test]
fn a_closed_descriptor_is_no_readiness() {
    let config = "services: {web: {command: 'exec 3>&-; exec sleep 1000', ready: {notify: {fd: 3}, timeout: 200ms}, backoff: {initial: 60s}}}";
    let daemon = Daemon::start(config);
    let mut events = daemon.events();
    events.until("crash", "web");
    assert!(!events.story("web").contains(&"ready"));
}

#[test]
fn a_command_is_asked_as_the_service_would_ask() {
    let home = Home::new("");
    let dir = home.path("");
    home.configure(&format!(
        "services: {{web: {{command: @web, dir: {}, env: {{A: b}},
           ready: {{exec: 'echo not yet; test \"$A$SECTION3_RUN$NOTIFY_SOCKET\" = b1 -a -e up', interval: 10ms}}}}}}",
        dir.display()
    ));
    let mut daemon = Launch::new(home).start();
    let mut events = daemon.events();
    daemon.stage.actor("web");
    until_message(&daemon, "web", "not ready yet: exit 1: not yet");
    fs::write(dir.join("up"), "").expect("the file");
    assert_eq!(events.until("ready", "web")["data"]["by"], "exec");
    assert!(daemon.status("web")["message"].is_null());
    assert_eq!(daemon.log_text("web"), "", "what a probe prints is not the service's output");
}

#[test]
fn a_question_that_hangs_ends_with_all_its_processes() {
    let line = "trap \"\" TERM; sleep 98765 & sleep 98765; true";
    let daemon = Daemon::start(&format!(
        "services: {{web: {{command: @web, ready: {{exec: '{line}', timeout: 300ms}}, backoff: {{initial: 60s}}}}}}"
    ));
    daemon.cli(&["wait", "web", "--for", "backoff"]).exits(0);
    // They are killed, and a moment later they are gone.
    let deadline = Deadline::new();
    while daemon.processes().into_iter().any(|pid| describe(pid).contains("sleep 98765")) {
        assert!(!deadline.is_over(), "the question is not ended");
        daemon.answers();
    }
}

#[test]
fn a_stop_ends_the_question_too() {
    let mut daemon = Daemon::start("services: {web: {command: @web, ready: {exec: @check}}}");
    let mut check = daemon.stage.actor("check");
    check.does("daemonize far");
    let mut far = daemon.stage.actor("far");
    daemon.cli(&["stop", "web"]).exits(0);
    check.dies();
    far.dies();
}

#[test]
fn a_line_of_an_older_run_does_not_count() {
    let mut daemon = Daemon::start("services: {web: {command: @web, ready: {log: 'web line \\d'}, backoff: {initial: 10ms}}}");
    let mut events = daemon.events();
    let mut web = daemon.stage.actor("web");
    web.does("print 1");
    assert_eq!(events.until("ready", "web")["data"]["by"], "log");
    web.tell("exit 1");
    let mut web = daemon.stage.actor("web");
    assert_eq!(daemon.status("web")["state"], "starting");
    // Far more than one part of the output, the line at its end.
    web.does("print 30000");
    assert_eq!(events.until("ready", "web")["run"], 2);
}

#[test]
fn a_bad_pattern_is_an_error_of_the_config() {
    let home = Home::new("services:\n  web:\n    command: sleep 1\n    ready: {log: 'up('}\n");
    home.cli(&["check"]).exits(6).says(&["section3.yml:4:", "services.web.ready.log", "up("]);
}

/// A web server in `dir` that answers 500 until there is a file `up`.
fn moody_server(dir: &std::path::Path, port: u16) -> String {
    fs::create_dir_all(dir.join("cgi-bin")).expect("a folder");
    let script = dir.join("cgi-bin/health");
    fs::write(
        &script,
        format!("#!/bin/sh\n[ -e {0}/up ] && echo 'Status: 200 OK' || echo 'Status: 500 No'\necho\n", dir.display()),
    )
    .expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    format!("busybox httpd -f -p 127.0.0.1:{port} -h {}", dir.display())
}

#[test]
fn a_chain_starts_in_order_and_stops_in_reverse() {
    let home = Home::new("");
    let (dir, reserved) = (home.path("www"), Port::free());
    let port = reserved.number();
    let server = moody_server(&dir, port);
    home.configure(&format!(
        "services:
  worker: {{command: @worker, depends_on: [api]}}
  api: {{command: {server}, depends_on: {{migrate: completed}}, ready: {{http: 'http://localhost:{port}/cgi-bin/health', interval: 10ms}}}}
  migrate: {{command: @migrate, restart: never, depends_on: [db]}}
  db: {{command: @db, ready: {{notify: systemd}}, restart: on-crash, backoff: {{initial: 10ms}}}}
"
    ));
    let mut daemon = Launch::new(home).start();
    let mut events = daemon.events();
    let mut db = daemon.stage.actor("db");
    daemon.cli(&["wait", "migrate", "--for", "waiting"]).exits(0);
    assert_eq!(daemon.status("migrate")["waiting_for"], serde_json::json!(["db"]));
    assert_eq!(daemon.status("api")["waiting_for"], serde_json::json!(["migrate"]));
    db.does("notify READY=1");
    daemon.stage.actor("migrate").tell("exit 0");
    until_message(&daemon, "api", "HTTP status 500");
    assert_eq!(daemon.status("worker")["waiting_for"], serde_json::json!(["api"]));
    fs::write(dir.join("up"), "").expect("the file");
    assert_eq!(events.until("ready", "api")["data"]["by"], "http");
    let worker = daemon.stage.actor("worker");
    events.until("ready", "worker");

    // One that others need goes down and comes back: nobody else moves.
    db.tell("exit 1");
    daemon.stage.actor("db").does("notify READY=1");
    events.until("ready", "db");
    let status = daemon.status("worker");
    assert_eq!((&status["pid"], &status["run"]), (&worker.pid.into(), &1.into()));
    assert_eq!(daemon.status("api")["run"], 1);

    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    events.until_daemon("daemon_stopping");
    let mut order = Vec::new();
    while order.len() < 3 {
        let stop = events.until_that("a stop", |e| e["type"] == "stop" && e["service"] != "migrate");
        order.push(stop["service"].as_str().expect("a service").to_owned());
    }
    assert_eq!(order, ["worker", "api", "db"]);
    assert_eq!(daemon.ends(), 0);
}

#[test]
fn what_needs_a_failed_step_says_so() {
    let config = "services:
  migrate: {command: exit 4, restart: never}
  api: {command: @api, depends_on: {migrate: completed}, ready: {notify: systemd}}
  worker: {command: @worker, depends_on: [api]}
";
    let daemon = Daemon::start(config);
    for (name, why) in [("api", "migrate"), ("worker", "api")] {
        daemon.cli(&["wait", name, "--for", "failed"]).exits(0);
        assert!(daemon.status(name)["message"].to_string().contains(why), "{}", daemon.status(name));
        daemon.cli(&["status", name]).exits(0).says(&[why]);
    }
}

#[test]
fn nobody_at_the_port_is_not_ready_in_time() {
    let reserved = Port::free();
    let ready = format!("tcp: 'localhost:{}', interval: 10ms", reserved.number());
    let daemon = Daemon::start(&format!(
        "defaults: {{restart: never}}
services:
  patient: {{command: @patient, ready: {{{ready}, timeout: 1h}}}}
  brief: {{command: @brief, ready: {{{ready}, timeout: 300ms}}}}
"
    ));
    until_message(&daemon, "patient", "connection refused");
    daemon.cli(&["wait", "brief", "--for", "failed"]).exits(0);
}

#[test]
fn a_file_is_looked_for_where_the_service_is() {
    let home = Home::new("");
    let dir = home.path("");
    home.configure(&format!("services: {{web: {{command: @web, dir: {}, ready: {{file: up, interval: 10ms}}}}}}", dir.display()));
    let mut daemon = Launch::new(home).start();
    let mut events = daemon.events();
    daemon.stage.actor("web");
    until_message(&daemon, "web", "up: no such file");
    fs::write(dir.join("up"), "").expect("the file");
    assert_eq!(events.until("ready", "web")["data"]["by"], "file");
}

/// The signal that it ended by was ours, and would tell nothing.
#[test]
fn a_service_that_is_never_ready_says_so_when_it_is_given_up() {
    let probe = "ready: {file: /section3/none, timeout: 200ms}";
    let daemon = Daemon::start(&format!(
        "services:
  often: {{command: [sleep, '1000'], {probe}, backoff: {{initial: 10ms, give_up_after: 2}}}}
  once: {{command: [sleep, '1000'], {probe}, restart: never}}
  later: {{command: [sleep, '1000'], {probe}, backoff: {{initial: 60s}}}}
"
    ));
    for (name, message) in [
        ("often", "gave up after 2 crashes in a row: not ready within 200ms (SIGTERM)"),
        ("once", "not ready within 200ms (SIGTERM)"),
    ] {
        daemon.cli(&["wait", name, "--for", "failed"]).exits(0);
        assert_eq!(daemon.status(name)["message"], message);
    }
    daemon.cli(&["restart", "later"]).exits(1).says(&["not ready within 200ms (SIGTERM); next start in 1m0s"]);
}
