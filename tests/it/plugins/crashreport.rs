//! `crashreport`: one redacted folder for each chain of crashes.

use std::fs;

use serde_json::{Value, json};

use super::{asked, loaded, x};
use crate::support::{Daemon, Home, Launch};

fn reports(daemon: &Daemon) -> Vec<Value> {
    let Ok(folders) = fs::read_dir(daemon.path("log/crashreport")) else { return Vec::new() };
    let mut paths: Vec<_> = folders.map(|entry| entry.expect("a folder").path()).collect();
    paths.sort();
    // A folder is there before its report, and after it when it goes.
    let texts = paths.iter().filter_map(|path| fs::read(path.join("report.json")).ok());
    texts.map(|text| serde_json::from_slice(&text).expect("JSON")).collect()
}

/// Waits until no chain is open, and so many reports are there.
fn closed(daemon: &Daemon, count: usize) -> Vec<Value> {
    asked("closed chains", || {
        let all = reports(daemon);
        (all.len() == count && all.iter().all(|report| report["outcome"] != "open")).then_some(all)
    })
}

#[test]
fn a_chain_is_one_report() {
    let mut daemon = Launch::new(Home::new(
        "services:\n  base: {command: exec sleep 100000}\n  a:\n    command: @a\n    env: {DB_PASSWORD: hunter2}\n    depends_on: [base]\n    \
         backoff: {initial: 10ms, max: 10ms, give_up_after: 2}\nplugins: {crashreport: {redact: ['session=[0-9]+']}}\n",
    ))
    .start();
    loaded(&daemon, "crashreport");
    let mut a = daemon.stage.actor("a");
    a.does("line password=hunter2 session=4711 https://u:hunter2@h/ Authorization: Bearer abcdefghij");
    a.does("line connection refused");
    a.tell("exit 3");
    daemon.stage.actor("a").tell("raise KILL");
    let report = closed(&daemon, 1).remove(0);
    assert_eq!((&report["service"], &report["outcome"], &report["crashes"]), (&json!("a"), &json!("gave_up"), &json!(2)));
    let exits = report["exits"].as_array().expect("exits");
    assert_eq!(exits.len(), 2, "{report}");
    assert_eq!((&exits[0]["exit"]["code"], &exits[1]["exit"]["signal"]), (&json!(3), &json!("SIGKILL")), "{report}");
    assert_eq!(report["environment"], json!(["DB_PASSWORD"]));
    assert_eq!(report["dependencies"][0]["name"], "base");
    assert_eq!(report["dependencies"][0]["state"], "running");
    let types: Vec<_> = report["events"].as_array().expect("events").iter().map(|e| e["type"].as_str().unwrap_or("")).collect();
    assert_eq!((types.first(), types.last()), (Some(&"exit"), Some(&"gave_up")), "{types:?}");
    assert!(types.iter().filter(|kind| **kind == "crash").count() == 2, "{types:?}");
    let text = report.to_string();
    assert!(text.contains("connection refused") && text.contains("password=[redacted]"), "{text}");
    for secret in ["hunter2", "4711", "abcdefghij"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    assert_eq!(x(&daemon, &["crashreport", "list"]), json!([]));
}

#[test]
fn each_chain_has_a_folder_of_its_own_and_the_oldest_go() {
    let mut daemon = Launch::new(Home::new(
        "services: {a: {command: @a, backoff: {initial: 10ms, max: 10ms, reset_after: 100ms}}}\nplugins: {crashreport: {keep: 2}}",
    ))
    .start();
    loaded(&daemon, "crashreport");
    let mut events = daemon.events();
    for code in 1..=3 {
        daemon.stage.actor("a").tell(&format!("exit {code}"));
        events.until("recovered", "a");
    }
    let all = asked("the third report", || {
        let all = reports(&daemon);
        let has_third = all.iter().any(|report| report["exits"][0]["exit"]["code"] == 3 && report["outcome"] == "recovered");
        has_third.then_some(all)
    });
    assert_eq!(all.len(), 2, "{all:?}");
}
