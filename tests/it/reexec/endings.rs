//! Signals and exits at the very moment of the exec, and others who would like the place.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use crate::support::Daemon;
use crate::support::deadline::Deadline;
use crate::support::home::{finish, program};
use crate::support::process::children;

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

/// Waits for the moment of the exec, the first one of a supervisor: by turns just before it, when the rehearsal is over, and
/// just after it, when the process has its new environment.
fn until_the_exec(pid: i32, before: bool) {
    let holds = |pid: i32, file: &str, word: &[u8]| {
        fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|text| memchr::memmem::find(&text, word).is_some())
    };
    let (mut rehearses, deadline) = (false, Deadline::new());
    while !holds(pid, "environ", b"SECTION3_HANDOVER=") {
        assert!(!deadline.is_over(), "no exec");
        let is_there = before && children(pid).into_iter().any(|child| holds(child, "cmdline", b"--check-state"));
        if rehearses && !is_there {
            return;
        }
        rehearses = is_there;
    }
}

#[test]
fn a_request_to_end_in_the_gap_is_not_lost() {
    let rounds = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let round @ 0..200 = rounds.fetch_add(1, Ordering::Relaxed) {
                    let mut daemon = Daemon::start("services: {web: {command: [sleep, '1000']}}");
                    daemon.signal(Signal::SIGUSR2);
                    until_the_exec(daemon.pid(), round % 2 == 0);
                    spin(round / 20);
                    daemon.signal(Signal::SIGTERM);
                    assert_eq!(daemon.ends(), 0, "round {round}");
                }
            });
        }
    });
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
