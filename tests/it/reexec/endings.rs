//! Signals and exits at the very moment of the exec, and others who would like the place.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use crate::support::Daemon;
use crate::support::home::{finish, program};

/// Issue 7, line 6. What is between the order and the exec takes some milliseconds, so each round strikes at another time.
fn spin(round: u32) {
    for _ in 0..(round % 40) * 20_000 {
        std::hint::spin_loop();
    }
}

#[test]
fn hangups_and_exits_in_the_gap_are_not_lost() {
    let mut daemon = Daemon::start("services: {web: {command: @web, backoff: {initial: 0s}}}");
    let mut events = daemon.events();
    for round in 0..200 {
        let mut web = daemon.stage.actor("web");
        let client = daemon.client(&["self", "reexec"]).spawn().expect("a client");
        spin(round);
        daemon.signal(Signal::SIGHUP);
        web.tell("exit 7");
        finish(client, "self reexec").exits(0);
        let mut wanted = vec!["reload", "exit", "update"];
        while !wanted.is_empty() {
            let event = events.until_that(&format!("{wanted:?} of round {round}"), |e| {
                wanted.contains(&e["type"].as_str().unwrap_or_default())
            });
            wanted.retain(|kind| event["type"] != *kind);
        }
    }
    let count = |kind: &str| events.seen().iter().filter(|event| event["type"] == kind).count();
    assert_eq!((count("reload"), count("exit"), count("update")), (200, 200, 200));
    drop(daemon.stage.actor("web"));
}

#[test]
fn a_request_to_end_in_the_gap_is_not_lost() {
    for round in 0..20 {
        let mut daemon = Daemon::start("services: {web: {command: @web}}");
        drop(daemon.stage.actor("web"));
        let client = daemon.client(&["self", "reexec"]).spawn().expect("a client");
        spin(round * 2);
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.ends(), 0, "round {round}");
        // Whether it was done before or is refused depends on who came first.
        finish(client, "self reexec");
    }
}

#[test]
fn a_second_supervisor_is_always_kept_out() {
    let mut daemon = Daemon::start("services: {web: {command: @web}}");
    let web = daemon.stage.actor("web");
    let flags = daemon.flags();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let intruder = scope.spawn(|| {
            let mut tries = 0;
            while !over.load(Ordering::Acquire) {
                let mut second = Command::new(program());
                second.args(&flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                finish(second.spawn().expect("a second one"), "a second supervisor").exits(1).says(&["another supervisor"]);
                tries += 1;
            }
            tries
        });
        for _ in 0..30 {
            super::reexec(&daemon);
        }
        over.store(true, Ordering::Release);
        assert!(intruder.join().expect("kept out") > 0);
    });
    assert_eq!(daemon.status("web")["pid"], web.pid);
}
