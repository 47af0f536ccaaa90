//! Signals never hit a stranger: what the supervisor asks of the kernel, as `strace` sees it.

use std::collections::HashSet;
use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::process::threads;
use crate::support::{Home, Launch};

/// Whether `strace` can be used here; where it must be (in CI), that is a failure.
fn strace_works() -> bool {
    let probe = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    let reason = match probe {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => format!("{error} (package strace)"),
    };
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "strace: {reason}");
    println!("NOT RUN: strace: {reason}");
    false
}

/// The number after `call(`, if this line is such a call: the process or (negative) group it is about.
fn target(line: &str, call: &str) -> Option<i32> {
    let arguments = line.strip_prefix(call)?.strip_prefix('(')?;
    arguments.split([',', ' ', ')']).next()?.parse().ok()
}

/// What a finished call gave back.
fn result(line: &str) -> Option<i32> {
    line.rsplit_once(" = ")?.1.split(' ').next()?.parse().ok()
}

/// G24: no process and no group is signalled after its leader was reaped: not by the stop of a finished one-shot, not in
/// backoff, not by a shutdown. Its number may be anybody's by then.
#[test]
fn g24_no_number_is_signalled_after_it_was_reaped() {
    if !strace_works() {
        return;
    }
    let config = "services: {once: {command: @once, restart: never}, broken: {command: @broken, backoff: {initial: 60s}},
  brisk: {command: @brisk, backoff: {initial: 1ms}}, web: {command: @web}}";
    let home = Home::new(config);
    let trace = home.path("trace");
    let calls = "trace=kill,tkill,tgkill,wait4,clone,clone3,fork,vfork";
    let strace = ["strace", "-f", "-qq", "-e", "signal=none", "-o", &trace.display().to_string(), "-e", calls];
    let mut daemon = Launch::new(home).under_and_forked_by(&strace).start();
    let mut events = daemon.events();
    // It leaves some behind, in its group and out of it, which are to be ended when the leader is gone.
    let mut once = daemon.stage.actor("once");
    once.does("spawn member");
    once.does("daemonize far");
    daemon.stage.actor("member").does("ignore TERM");
    daemon.stage.actor("far").does("ignore TERM");
    once.tell("exit 0");
    events.until("exit", "once");
    daemon.stage.actor("broken").tell("exit 1");
    events.until("backoff", "broken");
    daemon.stage.actor("brisk").tell("exit 1");
    events.until("backoff", "brisk");
    daemon.stage.actor("brisk");
    daemon.cli(&["stop", "once"]).exits(0);
    daemon.cli(&["stop", "broken"]).exits(0);
    daemon.cli(&["restart", "web"]).exits(0);
    let own: HashSet<i32> = threads(daemon.pid()).into_iter().collect();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);

    let text = fs::read_to_string(trace).expect("the trace");
    let (mut reaped, mut signals, mut reaps) = (HashSet::new(), 0, 0);
    for line in text.lines() {
        let (thread, call) = line.split_once(' ').expect("a thread in front");
        let call = call.trim_start();
        if !thread.parse().is_ok_and(|thread| own.contains(&thread)) {
            continue;
        }
        let to = target(call, "kill").or_else(|| target(call, "tkill")).or_else(|| target(call, "tgkill"));
        if let Some(to) = to {
            signals += 1;
            assert!(!reaped.contains(&to.abs()), "{line}, after it was reaped:\n{text}");
        } else if let Some(pid) = result(call).filter(|pid| *pid > 0) {
            if call.contains("wait4") {
                reaps += 1;
                reaped.insert(pid);
            } else {
                // A new process, to which the kernel gave a number that was free.
                reaped.remove(&pid);
            }
        }
    }
    // Two of web, two of brisk, and the other two; each stop is TERM and CONT to a group.
    assert!(reaps >= 6 && signals >= 4, "{reaps} reaped, {signals} signals:\n{text}");
}
