//! More services crash at once than can be launched: clients, signals and stops have their turn all the same.

use nix::sys::signal::Signal;

use crate::support::Daemon;
use crate::support::deadline::Deadline;

const SERVICES: usize = 1000;

/// A supervisor whose services end as fast as they are launched, each more than once by now.
fn in_a_storm() -> Daemon {
    let services: Vec<String> = (0..SERVICES).map(|n| format!("s{n}: {{command: [sh, -c, exit 1]}}")).collect();
    let daemon = Daemon::start(&format!(
        "defaults: {{backoff: {{initial: 10ms, max: 10ms}}}}\nsupervisor: {{console: none}}\nservices: {{{}}}",
        services.join(", ")
    ));
    let deadline = Deadline::new();
    // A run that crashes is four events.
    while newest(&daemon) < 2 * 4 * SERVICES as u64 {
        assert!(!deadline.is_over(), "services do not crash on");
    }
    daemon
}

/// The number of the newest event.
fn newest(daemon: &Daemon) -> u64 {
    let answer = daemon.cli(&["events", "-n", "1", "--json"]).exits(0);
    let event: serde_json::Value = serde_json::from_str(&answer.out).expect("an event");
    event["seq"].as_u64().expect("its number")
}

#[test]
fn clients_are_answered_while_a_thousand_services_crash() {
    let mut daemon = in_a_storm();
    // Each of these gives up after 5 s by itself.
    for _ in 0..10 {
        let before = newest(&daemon);
        daemon.cli(&["status", "s0"]).exits(0).says(&["s0 "]);
        let all = daemon.json(&["status"]);
        assert_eq!(all["services"].as_array().map(Vec::len), Some(SERVICES));
        daemon.cli(&["emit", "storm"]).exits(0);
        assert!(newest(&daemon) > before + 1, "the storm is over");
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
}

#[test]
fn what_is_stopped_in_a_storm_is_stopped_and_the_others_crash_on() {
    let daemon = in_a_storm();
    daemon.cli(&["stop", "s0", "s500", "s999"]).exits(0);
    for name in ["s0", "s500", "s999"] {
        assert_eq!(daemon.status(name)["state"], "stopped");
    }
    let before = newest(&daemon);
    let deadline = Deadline::new();
    while newest(&daemon) < before + 4 * SERVICES as u64 {
        assert!(!deadline.is_over(), "services do not crash on");
    }
    assert_eq!(daemon.status("s500")["state"], "stopped");
    daemon.cli(&["stop", "--all"]).exits(0);
    let all = daemon.json(&["status"]);
    let up: Vec<_> = all["services"].as_array().expect("a list").iter().filter(|s| s["state"] != "stopped").collect();
    assert!(up.is_empty(), "{up:?}");
}
