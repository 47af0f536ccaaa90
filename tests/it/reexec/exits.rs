//! No exit is missed, none is seen twice.

use std::collections::BTreeMap;

use super::reexec;
use crate::support::Daemon;
use crate::support::deadline::Deadline;
use crate::support::process::zombies_of;

/// Issue 7, line 3: each run ends when it likes, with a code that its PID tells.
#[test]
fn exits_at_any_time_are_each_seen_once() {
    let service = |n: u32| {
        let command = "sleep 0.0$(($$ % 10)); exit $(($$ % 200))";
        format!("  s{n}: {{command: '{command}', backoff: {{initial: 50ms, max: 200ms}}}}\n")
    };
    let services: String = (0..6).map(service).collect();
    let daemon = Daemon::start(&format!("services:\n{services}\nsupervisor: {{console: none}}"));
    let mut events = daemon.events();
    for _ in 0..100 {
        reexec(&daemon);
    }
    daemon.cli(&["stop", "--all"]).exits(0);
    let last = daemon.json(&["status"])["services"].as_array().expect("services").clone();
    for service in &last {
        let name = service["name"].as_str().expect("a name");
        let run = service["run"].clone();
        if !events.seen().iter().any(|e| e["type"] == "exit" && e["service"] == name && e["run"] == run) {
            events.until_that(&format!("the last exit of {name}"), |e| {
                e["type"] == "exit" && e["service"] == name && e["run"] == run
            });
        }
    }
    let mut runs: BTreeMap<(String, u64), (Vec<i64>, Vec<i64>)> = BTreeMap::new();
    for (event, next) in events.seen().iter().zip(1..) {
        assert_eq!(event["seq"], next, "a hole in the events");
        let (Some(service), Some(run)) = (event["service"].as_str(), event["run"].as_u64()) else { continue };
        let (starts, exits) = runs.entry((service.to_owned(), run)).or_default();
        let pid = event["data"]["pid"].as_i64();
        match event["type"].as_str() {
            Some("start") => starts.extend(pid),
            Some("exit") => {
                exits.extend(pid);
                let data = &event["data"];
                let expected = pid.map(|pid| pid % 200);
                assert!(data["code"].as_i64() == expected || data["stop_requested"] == true, "{event}");
            }
            _ => {}
        }
    }
    assert!(runs.len() > 30, "only {} runs", runs.len());
    for ((service, run), (starts, exits)) in &runs {
        assert_eq!((starts.len(), starts), (1, exits), "run {run} of {service}");
    }
    for service in &last {
        let name = service["name"].as_str().expect("a name");
        let count = runs.keys().filter(|(service, _)| service == name).count() as u64;
        assert_eq!(service["run"], count, "a run of {name} was skipped");
    }
    let deadline = Deadline::new();
    while !zombies_of(daemon.pid()).is_empty() {
        assert!(!deadline.is_over(), "zombies");
        daemon.answers();
    }
}
