//! Signals to the supervisor, early and odd ones too.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::{Daemon, Home, Launch};

/// Twenty services; the first one that comes in says that the launches have begun.
fn twenty() -> Home {
    let services: Vec<String> = (0..20).map(|n| format!("s{n}: {{command: @s}}")).collect();
    Home::new(&format!("services: {{{}}}", services.join(", ")))
}

#[test]
fn g36_a_sighup_while_services_are_launched_is_a_reload() {
    let mut daemon = Launch::new(twenty()).spawn();
    daemon.stage.actor("s");
    daemon.signal(Signal::SIGHUP);
    for _ in 1..20 {
        daemon.stage.actor("s");
    }
    daemon.events().until_that("a reload by signal", |e| e["type"] == "reload" && e["actor"] == "signal:SIGHUP");
    assert!(daemon.stage.unclaimed().is_empty());
}

/// P02: signals are heard from before the first launch.
#[test]
fn g36_a_sigterm_while_services_are_launched_ends_all_of_them() {
    let mut daemon = Launch::new(twenty()).spawn();
    daemon.stage.actor("s");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
    assert!(daemon.processes().is_empty());
}

#[test]
fn a_sighup_during_a_shutdown_does_not_stop_it() {
    let mut daemon = Daemon::start("supervisor: {stop_grace: 1h}\nservices: {web: {command: @web, stop_grace: 1h}}");
    let mut web = daemon.stage.actor("web");
    web.does("ignore TERM");
    daemon.signal(Signal::SIGTERM);
    web.hears("got TERM");
    daemon.signal(Signal::SIGHUP);
    daemon.answers();
    web.tell("exit 0");
    assert_eq!(daemon.ends(), 0);
}

#[test]
fn an_interrupt_is_a_shutdown() {
    let mut daemon = Daemon::start("services: {web: {command: @web}}");
    let mut web = daemon.stage.actor("web");
    daemon.signal(Signal::SIGINT);
    web.hears("got TERM");
    assert_eq!(daemon.ends(), 0);
}

#[test]
fn no_other_signal_is_fatal() {
    let mut daemon = Daemon::start("services: {web: {command: @web}}");
    let web = daemon.stage.actor("web");
    // But HUP, INT, KILL, USR2, TERM and STOP. Among them those that faults raise, and those that the C library keeps for itself.
    for signal in (1..=64).filter(|signal| ![1, 2, 9, 12, 15, 19].contains(signal)) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", daemon.pid())]).status();
        assert!(sent.expect("sh").success(), "signal {signal}");
        daemon.answers();
    }
    assert_eq!(daemon.status("web")["pid"], web.pid);
}
