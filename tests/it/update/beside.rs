//! What a running supervisor has to do with it: it is told, its services notice nothing, and `status` says what is on disk.

use std::fs::DirBuilder;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::stand::{NEW, OLD, Stand, says};
use crate::support::home::finish;
use crate::support::{Daemon, Home, Launch};

#[test]
fn twenty_services_notice_nothing() {
    let services: Vec<_> = (0..20).map(|n| format!("s{n}: {{command: [sleep, '100000']}}")).collect();
    let daemon = Daemon::start(&format!("services: {{{}}}", services.join(", ")));
    let mut events = daemon.events();
    events.until_daemon("daemon_ready");
    let runs = || -> Vec<(String, String)> {
        let all = daemon.json(&["status"]);
        let list = all["services"].as_array().cloned().unwrap_or_default();
        list.iter().map(|service| (service["pid"].to_string(), service["run"].to_string())).collect()
    };
    let before = runs();
    assert_eq!(before.len(), 20);

    let stand = Stand::offering();
    let ours = |args: &[&str]| {
        let mut command: Command = stand.command(args);
        command.env("SECTION3_SOCKET", daemon.socket());
        finish(command.spawn().expect("it"), "self update")
    };
    ours(&["self", "update", "--check"]).exits(8);
    stand.source("url: http://127.0.0.1:9/\n");
    ours(&["self", "update"]).exits(1);
    stand.trust(&[&stand.key.line()]);
    let said = ours(&["self", "update"]).exits(0).out;
    let runs_on = format!("the supervisor (PID {}) runs {OLD} until `section3 self reexec` or its restart", daemon.pid());
    assert!(said.contains(&runs_on), "{said}");

    for (phase, to, severity) in [("available", NEW, "info"), ("failed", "", "error"), ("applied", NEW, "info")] {
        let event = events.until_daemon("update");
        assert_eq!((&event["data"]["phase"], &event["severity"]), (&phase.into(), &severity.into()), "{event}");
        assert_eq!(
            (event["data"]["from"].as_str(), event["data"]["to"].as_str().unwrap_or_default()),
            (Some(OLD), to),
            "{event}"
        );
        assert_eq!(event["actor"], "cli:uid=0");
        assert_eq!(event["data"]["error"].is_string(), phase == "failed", "{event}");
    }
    assert_eq!(runs(), before);
    let ended: Vec<_> =
        events.seen().iter().filter(|e| ["exit", "stop", "crash"].contains(&e["type"].as_str().unwrap_or(""))).collect();
    assert!(ended.is_empty(), "{ended:?}");
}

/// The new program is a fake, which cannot take over: it is installed, that is said, and the old one goes on.
#[test]
fn live_with_a_program_that_cannot_take_over_changes_nothing_that_runs() {
    let stand = Stand::offering();
    // The supervisor runs the file that is updated.
    let script = format!("shift; exec '{}' \"$@\"", stand.program().display());
    let launch = Launch::new(Home::new("services: {web: {command: @web}}")).under(&["sh", "-c", &script, "sh"]);
    let mut daemon = launch.start();
    let web = daemon.stage.actor("web");
    let mut command = stand.command(&["self", "update", "--live"]);
    command.env("SECTION3_SOCKET", daemon.socket());
    let answer = finish(command.spawn().expect("it"), "self update --live").exits(1);
    assert!(answer.out.contains(&format!("section3 {NEW} is installed")), "{answer:?}");
    assert!(stand.has(NEW));
    assert_eq!(daemon.status("web")["pid"], web.pid);
    daemon.answers();
}

/// A supervisor of version 0.0.1, as it is after an update; and what it is asked.
fn older_supervisor() -> (Home, Receiver<String>) {
    let home = Home::new("services: {}");
    let (to, asked) = channel();
    let _ = DirBuilder::new().mode(0o700).create(home.path("run"));
    let listener = UnixListener::bind(home.socket()).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let op = line.split("\"op\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned();
            let report = match op.as_str() {
                "version" => r#"{"v":1,"ok":true,"data":{"version":"0.0.1","pid":7}}"#,
                "reexec" => r#"{"v":1,"ok":true,"data":{"from":"0.0.1","to":"0.1.0","pid":7}}"#,
                _ => STATUS,
            };
            let _ = to.send(op);
            let _ = (&stream).write_all(format!("{report}\n").as_bytes());
        }
    });
    (home, asked)
}

const STATUS: &str = r#"{"v":1,"ok":true,"data":{"version":1,"supervisor":{"pid":7,"version":"0.0.1","boot":"0","time":"2026-01-01T00:00:00Z","since":"2026-01-01T00:00:00Z","uptime_s":0,"state":"running","config":"/c","log_dir":"/l","console_dropped_lines":0},"services":[]}}"#;

#[test]
fn status_says_that_the_program_on_disk_is_newer() {
    let (home, _asked) = older_supervisor();
    let said = home.cli(&["status"]).exits(0).out;
    assert!(said.contains(&format!("section3 {OLD} is installed, the supervisor runs 0.0.1; `section3 self reexec`")), "{said}");
}

/// Whoever updated without `--live` and says it now.
#[test]
fn live_is_done_also_where_the_file_is_new_already() {
    let stand = Stand::new();
    stand.release(OLD, &says(OLD));
    let (home, asked) = older_supervisor();
    let run = |args: &[&str]| {
        let mut command = stand.command(args);
        command.env("SECTION3_SOCKET", home.socket());
        let said = finish(command.spawn().expect("it"), "self update").exits(0).out;
        (said, asked.try_iter().collect::<Vec<_>>())
    };
    for args in [&["self", "update"][..], &["self", "update", "--to", OLD]] {
        let (said, ops) = run(args);
        assert!(said.contains("the supervisor (PID 7) runs 0.0.1 until `section3 self reexec`"), "{said}");
        assert_eq!(ops, ["version"]);
        let (said, ops) = run(&[args, &["--live"]].concat());
        assert!(said.contains("0.0.1") && said.contains("is "), "{said}");
        assert_eq!(ops, ["version", "reexec"]);
    }
    stand.runs(&["self", "update", "--live"]).exits(3).says(&["is up to date", "no supervisor at"]);
}
