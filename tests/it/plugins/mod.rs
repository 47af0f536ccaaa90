//! The plugins in the box against real receivers, and one that was made by `plugin new`.

mod chat;
mod crashreport;
mod heartbeat;
mod logship;
mod new;
mod page;
mod resguard;
mod webhook;

use serde_json::Value;

use crate::support::Daemon;
use crate::support::deadline::Deadline;

/// A service that does as it is told and whose crashes follow each other at once.
const A: &str = "a: {command: @a, backoff: {initial: 50ms, max: 50ms, reset_after: 1h}}";

/// What a command of a plugin returns.
#[track_caller]
pub fn x(daemon: &Daemon, words: &[&str]) -> Value {
    let answer = daemon.cli(&[&["x", "--json"], words].concat()).exits(0);
    let report: Value = serde_json::from_str(&answer.out).unwrap_or_else(|e| panic!("{words:?}: {e}\n{}", answer.out));
    report["result"].clone()
}

/// Asks until the answer is as wanted.
#[track_caller]
pub fn asked<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let deadline = Deadline::new();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(!deadline.is_over(), "{what} did not come about");
    }
}

/// Waits until a plugin is loaded.
#[track_caller]
pub fn loaded(daemon: &Daemon, name: &str) {
    asked(&format!("{name}: loaded"), || {
        let report = daemon.json(&["hook", "list"]);
        let scripts = report["scripts"].as_array().cloned().unwrap_or_default();
        let script = scripts.into_iter().find(|script| script["name"] == name)?;
        assert!(script["state"] != "failed", "{script}");
        (script["state"] == "loaded").then_some(())
    });
}
