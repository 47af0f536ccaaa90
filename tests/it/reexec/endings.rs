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

/// What the kernel gave this image of a process's program: where its stack is differs from one `execve(2)` to the next.
fn image(pid: i32) -> Vec<u8> {
    ["environ", "auxv"].map(|file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()).concat()
}

/// Waits for the moment of the exec that ends an image: by turns just before it, when the rehearsal is over, and just after it.
/// `is_over` says that the re-exec is.
fn until_the_exec(pid: i32, old: &[u8], before: bool, mut is_over: impl FnMut() -> bool) {
    let (mut rehearses, deadline) = (false, Deadline::new());
    let is_rehearsal = |child: i32| {
        fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|words| memchr::memmem::find(&words, b"--check-state").is_some())
    };
    while image(pid) == old && !is_over() {
        assert!(!deadline.is_over(), "no exec");
        let is_there = before && children(pid).into_iter().any(is_rehearsal);
        if rehearses && !is_there {
            return;
        }
        rehearses = is_there;
    }
}

/// Some more moments later, up to a millisecond or so.
fn spin(round: u32) {
    for _ in 0..(round % 20) * 1_000 {
        std::hint::spin_loop();
    }
}

/// Issue 7, line 6.
#[test]
fn hangups_and_exits_in_the_gap_are_not_lost() {
    let mut daemon = Daemon::start("services: {web: {command: @web, backoff: {initial: 0s}}}");
    let mut events = daemon.events();
    let pid = daemon.pid();
    for round in 0..200 {
        let mut web = daemon.stage.actor("web");
        let old = image(pid);
        let mut client = daemon.client(&["self", "reexec"]).spawn().expect("a client");
        until_the_exec(pid, &old, round % 2 == 0, || matches!(client.try_wait(), Ok(Some(_))));
        spin(round / 2);
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
    let rounds = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let round @ 0..200 = rounds.fetch_add(1, Ordering::Relaxed) {
                    let mut daemon = Daemon::start("services: {web: {command: [sleep, '1000']}}");
                    let old = image(daemon.pid());
                    daemon.signal(Signal::SIGUSR2);
                    until_the_exec(daemon.pid(), &old, round % 2 == 0, || false);
                    spin(round / 2);
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
