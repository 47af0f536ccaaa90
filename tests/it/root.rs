//! What only root can set up: PID 1 of a namespace, a full disk, other users.

mod identity;
mod reexec;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::deadline::Deadline;
use crate::support::home::finish;
use crate::support::process::zombies_of;
use crate::support::{Daemon, Home, Launch};

/// A user that exists nowhere and owns nothing.
const STRANGER: u32 = 54_321;

/// One whose processes are counted: no other test, also of a second run beside this one, has any under this number.
fn lonely_stranger() -> u32 {
    60_000 + std::process::id() % 5_000
}

/// A supervisor that sees a log folder of its own with room for this much.
fn with_log_disk(home: Home, size: &str) -> Daemon {
    let log = home.path("log");
    fs::create_dir(&log).expect("the log folder");
    let script = format!("mount -t tmpfs -o size={size},mode=0750 none '{}' && exec \"$@\"", log.display());
    // The mount lives and dies with the supervisor's own view of the file system.
    Launch::new(home).under(&["unshare", "--mount", "sh", "-c", &script, "sh"]).start()
}

/// A log file as that supervisor sees it.
fn inside(daemon: &Daemon, service: &str) -> PathBuf {
    let path = daemon.log(service);
    PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), path.display()))
}

#[test]
fn g13_a_full_disk_does_not_end_a_service() {
    let mut daemon = with_log_disk(Home::new("services: {web: {command: @web}}"), "64k");
    let mut events = daemon.events();
    let mut web = daemon.stage.actor("web");
    web.does("print 50000");
    events.until("log_dropped", "web");
    // All of it was taken from the service; the last of it may still be on its way to the disk.
    let deadline = Deadline::new();
    let status = loop {
        let status = daemon.status("web");
        if status["log"]["lost_bytes"].as_u64() > Some(100_000) {
            break status;
        }
        assert!(!deadline.is_over(), "{status}");
    };
    assert_eq!((&status["state"], &status["pid"]), (&"running".into(), &web.pid.into()));

    // Room again: writing goes on, after one line that says how much is missing.
    fs::remove_file(inside(&daemon, "web")).expect("the log");
    let deadline = Deadline::new();
    let text = loop {
        web.does("print 10");
        daemon.answers();
        let text = fs::read_to_string(inside(&daemon, "web")).unwrap_or_default();
        if text.contains("web line") {
            break text;
        }
        assert!(!deadline.is_over(), "writing does not go on");
    };
    let marks: Vec<&str> = text.lines().filter(|line| !line.starts_with("web line")).collect();
    assert_eq!(marks.len(), 1, "{marks:?}");
    assert!(marks[0].contains("bytes"), "{marks:?}");
}

#[test]
fn g13_a_disk_that_is_full_from_the_start_stops_nothing() {
    let home = Home::new("services: {web: {command: @web}}");
    let log = home.path("log");
    fs::create_dir(&log).expect("the log folder");
    let script = format!(
        "mount -t tmpfs -o size=4k,mode=0750 none '{0}' && head -c 4096 /dev/zero >'{0}/full' && exec \"$@\"",
        log.display()
    );
    let mut daemon = Launch::new(home).under(&["unshare", "--mount", "sh", "-c", &script, "sh"]).start();
    let mut web = daemon.stage.actor("web");
    web.does("print 50000");
    daemon.cli(&["restart", "web"]).exits(0);
    daemon.stage.actor("web").does("print 1");
}

#[test]
fn it_runs_as_pid_1() {
    let mut daemon = Launch::new(Home::new("services: {web: {command: @web}}")).in_pid_namespace().start();
    let mut web = daemon.stage.actor("web");
    assert_eq!(daemon.events().until_daemon("daemon_start")["data"]["pid1"], true);
    daemon.signal(Signal::SIGTERM);
    web.hears("got TERM");
    assert_eq!(daemon.ends(), 0);
}

/// P10: adopted orphans are reaped.
#[test]
fn g38_orphans_are_reaped_as_pid_1_and_otherwise() {
    for pid_1 in [true, false] {
        let launch = Launch::new(Home::new("services: {web: {command: @web}}"));
        let mut daemon = if pid_1 { launch.in_pid_namespace().start() } else { launch.start() };
        let mut web = daemon.stage.actor("web");
        for _ in 0..50 {
            web.does("daemonize far");
            let mut far = daemon.stage.actor("far");
            far.tell("exit 0");
            far.dies();
        }
        // The last one is dead, but its parent learns of it a moment later; each answer is one more turn of its loop.
        let deadline = Deadline::new();
        while !zombies_of(daemon.pid()).is_empty() {
            assert!(!deadline.is_over(), "zombies: {:?}", zombies_of(daemon.pid()));
            daemon.answers();
        }
        assert_eq!(daemon.status("web")["run"], 1);
        daemon.events().until_daemon("orphan");
    }
}

#[test]
fn as_pid_1_nothing_at_all_is_left_at_the_end() {
    let mut daemon = Launch::new(Home::new("services: {web: {command: @web, stop_grace: 100ms}}")).in_pid_namespace().start();
    let mut web = daemon.stage.actor("web");
    web.does("daemonize far");
    let mut far = daemon.stage.actor("far");
    far.does("ignore TERM");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
    far.dies();
}

/// P02: also as PID 1.
#[test]
fn g36_as_pid_1_an_early_sigterm_is_not_lost() {
    let services: Vec<String> = (0..20).map(|n| format!("s{n}: {{command: @s}}")).collect();
    let mut daemon = Launch::new(Home::new(&format!("services: {{{}}}", services.join(", ")))).in_pid_namespace().spawn();
    daemon.stage.actor("s");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
}

#[test]
fn a_service_runs_as_its_user() {
    let config = format!(
        "services: {{web: {{command: 'id -u; id -g; id -G', user: '{STRANGER}:{STRANGER}', restart: never}},
  name: {{command: 'id -un', user: nobody, restart: never}}}}"
    );
    let daemon = Daemon::start(&config);
    let mut events = daemon.events();
    for _ in 0..2 {
        events.until_that("an exit", |e| e["type"] == "exit");
    }
    assert_eq!(daemon.log_text("web"), format!("{STRANGER}\n").repeat(3));
    assert_eq!(daemon.log_text("name"), "nobody\n");
}

#[test]
fn g40_another_user_is_not_permitted() {
    let daemon = Daemon::start("services: {web: {command: exec sleep 1000}}");
    let status = || {
        let mut client = daemon.client(&["status"]);
        // Where the test runs may be closed to that user; only the socket is to refuse it.
        client.uid(STRANGER).gid(STRANGER).current_dir("/");
        finish(client.spawn().expect("the program, open to everyone"), "status as another user")
    };
    status().exits(7);
    // Also when the way to the socket is open.
    for (path, mode) in [("", 0o755), ("run", 0o755), ("run/section3.sock", 0o666)] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(daemon.path(path), mode).expect("open");
    }
    status().exits(7);
    daemon.answers();
}

/// A supervisor run by this user, behind a wrapper.
fn as_user(user: u32, wrapper: &[&str], config: &str) -> Daemon {
    at_home_as_user(Home::new(config), user, wrapper)
}

fn at_home_as_user(home: Home, user: u32, wrapper: &[&str]) -> Daemon {
    for path in ["", "run", "section3.yml"] {
        std::os::unix::fs::chown(home.path(path), Some(user), Some(user)).expect("another owner");
    }
    let user = user.to_string();
    let uid = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs", "--bounding-set=-all"];
    Launch::new(home).under(&[wrapper, &uid].concat()).start()
}

#[test]
fn it_works_as_an_ordinary_user_without_privileges() {
    let config = format!(
        "services: {{web: {{command: 'id -u; exec sleep 1000'}}, other: {{command: id, user: root, restart: never}},
self: {{command: 'id; exec sleep 1000', user: '{STRANGER}'}}}}"
    );
    let daemon = as_user(STRANGER, &[], &config);
    daemon.cli(&["wait", "web", "--for", "running"]).exits(0);
    // To become who it is it needs none: one config for a container that runs as root and for one that does not.
    daemon.cli(&["wait", "self", "--for", "running"]).exits(0);
    // What it may not do is a failed launch that says so.
    let crash = daemon.events().until("crash", "other");
    assert!(crash["data"]["message"].to_string().contains("root"), "{crash}");
    daemon.cli(&["stop", "web"]).exits(0);
    assert_eq!(daemon.log_text("web"), format!("{STRANGER}\n"));
}

#[test]
fn g21_a_full_process_table_is_a_failed_launch_that_is_tried_again() {
    let services: Vec<String> = (0..12).map(|n| format!("s{n}: {{command: [sleep, '1000']}}")).collect();
    let config = format!("defaults: {{backoff: {{initial: 50ms, max: 50ms}}}}\nservices: {{{}}}", services.join(", "));
    let daemon = as_user(lonely_stranger(), &["prlimit", "--nproc=8"], &config);
    let mut events = daemon.events();
    let crash = events.until_that("a launch that failed", |e| e["type"] == "crash");
    let name = crash["service"].as_str().unwrap_or_default().to_owned();
    assert!(crash["data"]["message"].is_string(), "{crash}");
    let running = |all: &Value| -> Vec<String> {
        let list = all["services"].as_array().cloned().unwrap_or_default();
        list.iter().filter(|s| s["state"] == "running").filter_map(|s| s["name"].as_str().map(str::to_owned)).collect()
    };
    // All that run are stopped: what could not start then can.
    let names = running(&daemon.json(&["status"]));
    daemon.cli(&[vec!["stop"], names.iter().map(String::as_str).collect()].concat()).exits(0);
    events.until("ready", &name);
}

/// What reads its `env_file` needs a thread, which a full process table refuses as well.
#[test]
fn g21_a_launch_that_gets_no_thread_is_tried_again() {
    let sleepers: Vec<String> = (0..8).map(|n| format!("s{n}: {{command: [sleep, '1000']}}")).collect();
    let home = Home::new(&format!(
        "defaults: {{backoff: {{initial: 50ms, max: 50ms}}}}
services: {{{}, web: {{command: [sleep, '1000'], env_file: env}}}}",
        sleepers.join(", ")
    ));
    std::fs::write(home.path("env"), "A=1\n").expect("the env file");
    let daemon = at_home_as_user(home, lonely_stranger(), &["prlimit", "--nproc=8"]);
    let mut events = daemon.events();
    let crash = events.until("crash", "web");
    assert_eq!(crash["data"]["stage"], "prepare", "{crash}");
    assert!(crash["data"]["message"].to_string().contains("no thread"), "{crash}");
    let sleepers: Vec<String> = (0..8).map(|n| format!("s{n}")).collect();
    daemon.cli(&[vec!["stop"], sleepers.iter().map(String::as_str).collect()].concat()).exits(0);
    events.until("ready", "web");
}

#[test]
fn a_missing_proc_is_said_and_survived() {
    let script = "mount -t tmpfs none /proc && exec \"$@\"";
    let home = Home::new("services: {web: {command: @web}}");
    let mut daemon = Launch::new(home).under(&["unshare", "--mount", "sh", "-c", script, "sh"]).start();
    let mut web = daemon.stage.actor("web");
    daemon.cli(&["stop", "web"]).exits(0);
    web.dies();
}

/// A root that was put together by hand has no `/dev`.
#[test]
fn a_missing_dev_null_is_said_and_survived() {
    let script = "mount -t tmpfs none /dev && exec \"$@\"";
    let home = Home::new("services: {cat: {command: [cat], restart: never}, web: {command: [sleep, '100000']}}");
    let daemon = Launch::new(home).under(&["unshare", "--mount", "sh", "-c", script, "sh"]).start();
    // Its input ends at once, as that of /dev/null does.
    daemon.cli(&["wait", "cat", "--for", "exited"]).exits(0);
    let restrictions = daemon.json(&["status"])["supervisor"]["restrictions"].to_string();
    assert!(restrictions.contains("no /dev/null (no such file or directory)"), "{restrictions}");
    daemon.cli(&["self", "reexec"]).exits(0);
    daemon.cli(&["restart", "web"]).exits(0);
}

#[test]
fn a_config_that_somebody_else_can_write_is_warned_of() {
    let home = Home::new("services: {}");
    let config = home.config();
    std::os::unix::fs::chown(&config, Some(STRANGER), None).expect("another owner");
    let daemon = Launch::new(home).start();
    let warned = |count: usize, words: &str| {
        let said = daemon.cli(&["tail", "section3"]).exits(0).out;
        assert_eq!(said.matches(words).count(), count, "{said}");
    };
    warned(1, &format!("{} belongs to uid {STRANGER}: whoever can write it can run anything as uid 0", config.display()));
    fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o664)).expect("a lax mode");
    daemon.cli(&["reload"]).exits(0);
    warned(1, "can be written by others than its owner (mode 0664)");
}
