//! The main waiting tool of the tests: the supervisor's own events, as they come.

use std::process::{Child, Command};

use serde_json::Value;

use super::lines::Lines;

/// A live reader of `section3 events -f --json`.
pub struct Events {
    client: Child,
    lines: Lines,
    seen: Vec<Value>,
}

impl Events {
    /// Starts the client.
    pub fn new(mut client: Command) -> Self {
        let mut client = client.spawn().expect("section3 events");
        let lines = Lines::of(client.stdout.take().expect("stdout"), "section3 events");
        Self { client, lines, seen: Vec::new() }
    }

    /// The next event from here on for which `is_it` holds; `wanted` is how messages call it.
    #[track_caller]
    pub fn until_that(&mut self, wanted: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("no event: {e}: {line}"));
        let seen = std::cell::RefCell::new(&mut self.seen);
        let line = self.lines.until(wanted, |line| {
            let event = parse(line);
            let found = is_it(&event);
            seen.borrow_mut().push(event);
            found
        });
        parse(&line)
    }

    /// The next event of this type about this service.
    #[track_caller]
    pub fn until(&mut self, kind: &str, service: &str) -> Value {
        self.until_that(&format!("event `{kind}` of `{service}`"), |e| e["type"] == kind && e["service"] == service)
    }

    /// The next event of this type about the supervisor.
    #[track_caller]
    pub fn until_daemon(&mut self, kind: &str) -> Value {
        self.until_that(&format!("event `{kind}`"), |e| e["type"] == kind)
    }

    /// All events read so far.
    pub fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// Types of the events about one service so far, in order.
    pub fn story(&self, service: &str) -> Vec<&str> {
        self.seen.iter().filter(|e| e["service"] == service).filter_map(|e| e["type"].as_str()).collect()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
