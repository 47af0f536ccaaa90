//! What was, is.

use std::fs;

use serde_json::{Value, json};

use super::{install, place, reexec, replaceable, version};
use crate::support::process::{children, descriptors, zombies_of};
use crate::support::{Daemon, Home, Launch};

/// Every state there is, several times.
const EVERYTHING: &str = "
services:
  run1: {command: @run1}
  run2: {command: @run2, depends_on: [run1]}
  run3: {command: [sleep, '1000'], health: {exec: [test, -e, /], interval: 50ms}}
  run4: {command: [sleep, '1000'], user: 'UID', env_file: ENV}
  run5: {command: 'sleep 1000 & sleep 1000'}
  notified: {command: @notified, ready: {notify: systemd}}
  newline: {command: @newline, ready: {notify: {fd: 3}}}
  log: {command: @log, ready: {log: '^halflog line 1$'}}
  start1: {command: @start1, ready: {notify: systemd, timeout: 100s}}
  start2: {command: [sleep, '1000'], ready: {exec: 'sleep 1000', timeout: 100s}}
  start3: {command: [sleep, '1000'], ready: {tcp: 'localhost:1', timeout: 100s}}
  back1: {command: 'exit 3', backoff: {initial: 100s, max: 200s}}
  back2: {command: [/nonexistent], backoff: {initial: 100s, max: 200s}}
  wait1: {command: [sleep, '1000'], depends_on: {start1: ready}}
  wait2: {command: [sleep, '1000'], depends_on: [start2, wait1]}
  stopping: {command: @stopping, stop_grace: 100s}
  stopped: {command: [sleep, '1000']}
  exited: {command: 'exit 0', restart: never}
  failed: {command: 'exit 9', restart: never}
  gone: {command: 'kill -9 $$', restart: on-crash, backoff: {initial: 10ms, give_up_after: 2}}
";

/// What must not change, of every service. Times of day are shown with the milliseconds of a clock that is read anew.
fn picture(daemon: &Daemon) -> Vec<Value> {
    let all = daemon.json(&["status"]);
    let services = all["services"].as_array().expect("services");
    let keep = |service: &Value| {
        let mut service = service.clone();
        let fields = service.as_object_mut().expect("an object");
        for passing in ["uptime_s", "since", "next_start_at"] {
            fields.remove(passing);
        }
        if let Some(Value::Object(exit)) = fields.get_mut("last_exit") {
            exit.remove("at");
        }
        service
    };
    services.iter().map(keep).collect()
}

fn millis(value: &Value) -> Option<i64> {
    let at = humantime::parse_rfc3339(value.as_str()?).expect("a time");
    let since = at.duration_since(std::time::SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).ok()
}

/// Times of the status, in milliseconds.
fn times(daemon: &Daemon) -> Vec<Option<i64>> {
    let all = daemon.json(&["status"]);
    let services = all["services"].as_array().expect("services").iter();
    services.flat_map(|service| [&service["since"], &service["next_start_at"], &service["last_exit"]["at"]].map(millis)).collect()
}

pub fn everything_survives(launch: impl FnOnce(Home) -> Launch) {
    let home = Home::new("services: {}");
    fs::write(home.path("env"), "A=1\n").expect("the env file");
    let uid = nix::unistd::geteuid().to_string();
    home.configure(&EVERYTHING.replace("UID", &uid).replace("ENV", &home.path("env").display().to_string()));
    let place = place(&home);
    install(&place, &fs::read(crate::support::home::program()).expect("the program"));
    let mut daemon = launch(home).program(&place).start();
    let mut events = daemon.events();
    let mut notified = daemon.stage.actor("notified");
    let mut log = daemon.stage.actor("log");
    let mut newline = daemon.stage.actor("newline");
    let mut start1 = daemon.stage.actor("start1");
    notified.does("notify READY=1|STATUS=serving \"},{\"");
    log.does("write half");
    newline.does("newline 3");
    start1.does("notify STATUS=half way");
    let mut stopping = daemon.stage.actor("stopping");
    stopping.does("ignore TERM");
    daemon.cli(&["stop", "stopping", "stopped", "--no-wait"]).exits(0);
    stopping.hears("got TERM");
    for (service, state) in [
        ("notified", "running"),
        ("newline", "running"),
        ("log", "starting"),
        ("start1", "starting"),
        ("start2", "starting"),
        ("start3", "starting"),
        ("back1", "backoff"),
        ("back2", "backoff"),
        ("stopping", "stopping"),
        ("stopped", "stopped"),
        ("exited", "exited"),
        ("failed", "failed"),
        ("gone", "failed"),
        ("run3", "running"),
    ] {
        daemon.cli(&["wait", service, "--for", state, "--timeout", "60s"]).exits(0);
    }
    events.until_that("health of run3", |e| e["type"] == "health" && e["service"] == "run3" && e["data"]["to"] == "healthy");
    // What it says of a question that was just asked may differ; that it has not answered yet does not.
    let settled = |picture: Vec<Value>| {
        let quiet = |mut service: Value| {
            if service["name"] == "start3" || service["name"] == "start2" {
                service.as_object_mut().expect("an object").remove("message");
            }
            service
        };
        picture.into_iter().map(quiet).collect::<Vec<_>>()
    };
    let (before, times_before) = (settled(picture(&daemon)), times(&daemon));
    let head = |daemon: &Daemon| daemon.json(&["status"])["supervisor"].clone();
    let (pid, boot, since) = (daemon.pid(), head(&daemon)["boot"].clone(), head(&daemon)["since"].clone());

    install(&place, &version("9.8.7"));
    let answer = daemon.cli(&["self", "reexec"]).exits(0);
    assert!(answer.out.contains(&format!("section3 9.8.7 took over from {}", env!("CARGO_PKG_VERSION"))), "{}", answer.out);
    assert_eq!(daemon.pid(), pid);
    assert_eq!((&head(&daemon)["version"], &head(&daemon)["boot"]), (&json!("9.8.7"), &boot));
    assert_eq!(settled(picture(&daemon)), before);
    for (now, before) in times(&daemon).iter().zip(&times_before) {
        // Derived from the monotonic clock each time: the wall clock's own rounding is all that may show.
        let apart = now.zip(*before).map(|(now, before)| (now - before).abs());
        assert!(apart.is_none_or(|apart| apart <= 50) && now.is_some() == before.is_some(), "{now:?} {before:?}");
    }
    let since_after = head(&daemon)["since"].clone();
    let apart = millis(&since).zip(millis(&since_after)).map(|(one, other)| (one - other).abs());
    assert!(apart.is_some_and(|apart| apart <= 50), "{since} {since_after}");

    // The same reader of events, no hole, and the new program's word.
    let told = events.until_daemon("update");
    assert_eq!(told["data"], json!({"phase": "reexec", "from": env!("CARGO_PKG_VERSION"), "to": "9.8.7"}));
    assert_eq!(told["actor"], format!("cli:uid={uid}"));
    let seqs: Vec<u64> = events.seen().iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert!(seqs.len() > 20);
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "a hole, or twice");
    assert!(events.seen().iter().all(|event| event["boot"] == boot));

    // Everything goes on to work: what was said half is heard whole.
    log.does("print 1");
    events.until("ready", "log");
    start1.does("notify READY=1");
    events.until("ready", "start1");
    events.until("start", "wait1");
    notified.does("notify STATUS=still there");
    stopping.tell("exit 0");
    let stop = events.until("stop", "stopping");
    assert_eq!((&stop["data"]["forced"], &stop["run"]), (&json!(false), &json!(1)));
    assert_eq!(daemon.status("notified")["message"], "still there");
    daemon.cli(&["start", "stopped"]).exits(0);
    daemon.cli(&["stop", "run5"]).exits(0);
    assert_eq!(daemon.log_text("log"), "halflog line 1\n");
    assert_eq!(zombies_of(pid), Vec::<i32>::new());
}

#[test]
fn every_state_survives() {
    everything_survives(Launch::new);
}

#[test]
fn sigusr2_does_the_same() {
    let mut daemon = replaceable("services: {web: {command: @web}}").start();
    let mut web = daemon.stage.actor("web");
    let mut events = daemon.events();
    install(&place(&daemon), &version("9.8.7"));
    daemon.signal(nix::sys::signal::Signal::SIGUSR2);
    let told = events.until_daemon("update");
    assert_eq!((&told["data"]["phase"], &told["actor"]), (&json!("reexec"), &json!("signal:SIGUSR2")));
    assert_eq!(daemon.json(&["status"])["supervisor"]["version"], "9.8.7");
    web.does("print 1");
}

/// Invariant 15: nothing piles up.
/// Its memory is the container's, and stays there as long as one descriptor of it does.
#[test]
fn the_state_is_let_go_of_once_it_was_read() {
    let daemon = replaceable("services:\n  web: {command: [sleep, '1000']}\n").start();
    let open = || {
        let links = descriptors(daemon.pid()).into_iter().map(|fd| fs::read_link(format!("/proc/{}/fd/{fd}", daemon.pid())));
        links.flatten().map(|link| link.display().to_string()).collect::<Vec<_>>()
    };
    reexec(&daemon);
    assert!(!open().iter().any(|link| link.contains("memfd")), "{:?}", open());
}

#[test]
fn descriptors_processes_and_memory_are_flat() {
    let mut daemon = Daemon::start(
        "services: {a: {command: @a, ready: {notify: systemd}}, b: {command: [sleep, '1000'], health: {exec: 'true', interval: 20ms}}}",
    );
    daemon.stage.actor("a").does("notify READY=1");
    daemon.cli(&["wait", "a", "--for", "running"]).exits(0);
    let pid = daemon.pid();
    let numbers = || (descriptors(pid).len(), children(pid).len());
    let resident = || crate::support::process::counter(pid, "status", "VmRSS");
    for _ in 0..20 {
        reexec(&daemon);
    }
    let (before, memory) = (numbers().0, resident());
    for _ in 0..180 {
        reexec(&daemon);
    }
    // A probe's process or a client's descriptor may be there for a moment.
    let deadline = crate::support::deadline::Deadline::new();
    while numbers().0 > before + 2 || numbers().1 > 3 {
        assert!(!deadline.is_over(), "{before} became {:?}: {:?}", numbers(), descriptors(pid));
        daemon.answers();
    }
    // The ring holds more events than at first.
    assert!(resident() < memory + 8 * 1024, "{memory} KiB became {} KiB", resident());
    assert_eq!(daemon.status("a")["run"], 1);
}
