//! No byte of output is lost, doubled or moved.

use std::collections::BTreeMap;
use std::fs;

use super::reexec;
use crate::support::Daemon;

const LOUD: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Issue 7, line 2.
#[test]
fn five_floods_go_through_fifty_replacements() {
    let service = |name: &&str| {
        let command = format!("i=0; while :; do i=$((i+1)); echo {name} $i; done");
        format!("  {name}: {{command: '{command}', log_max_size: 1G, stop_signal: KILL}}\n")
    };
    let services: String = LOUD.iter().map(service).collect();
    let mut daemon = Daemon::start(&format!("services:\n{services}"));
    for _ in 0..50 {
        reexec(&daemon);
    }
    daemon.cli(&["stop", "--all"]).exits(0);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);

    let mut written = BTreeMap::new();
    for name in LOUD {
        let text = fs::read_to_string(daemon.log(name)).expect("its log");
        let mut next = 1_u64;
        // The last line may be cut by SIGKILL, between two writes of the shell.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            assert_eq!(line, format!("{name} {next}\n"), "of {name}");
            next += 1;
        }
        assert!(next > 100, "{name} was not loud: {next}");
        written.insert(name.to_owned(), next);
    }

    // The console: whole lines in order, and what is missing is counted.
    let console = daemon.stdout.rest();
    let (mut shown, mut missing) = (BTreeMap::new(), 0_u64);
    // The supervisor's own lines have no better right to the console.
    let (mut gaps, mut own) = (0_u64, 0);
    for line in console.lines() {
        let (head, text) = line.split_once("] ").unwrap_or_else(|| panic!("a torn line: {line:?}"));
        let name = head.strip_prefix('[').unwrap_or_else(|| panic!("a torn line: {line:?}"));
        if name == "section3" {
            match text.split_once(" line").filter(|(_, rest)| rest.contains("missing here")) {
                Some((count, _)) => missing += count.parse::<u64>().expect("a count"),
                None => own += 1,
            }
            continue;
        }
        let number = text.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')?.parse::<u64>().ok());
        // What SIGKILL cut is shown as it is.
        let Some(number) = number.filter(|number| *number < written[name]) else { continue };
        let last = shown.insert(name.to_owned(), number).unwrap_or(0);
        assert!(number > last, "{name}: {number} after {last}");
        gaps += number - last - 1;
    }
    for name in LOUD {
        gaps += written[name] - 1 - shown.get(name).copied().unwrap_or(0);
    }
    gaps += daemon.log_text("section3").lines().count() as u64 - own;
    // What SIGKILL cut may be among those that are counted; it is no line here.
    let cut = LOUD.len() as u64;
    assert!((gaps..=gaps + cut).contains(&missing), "missing on the console: {gaps}, said to be missing: {missing}");
}

/// Half lines, in the file and on the console, and a tail that begins before and ends after.
#[test]
fn a_line_that_is_begun_is_finished() {
    let mut daemon = Daemon::start("services: {web: {command: @web, restart: never}}");
    let mut web = daemon.stage.actor("web");
    let mut events = daemon.events();
    web.does("write one");
    // It was read: the pump has shown it to a follower.
    while !daemon.cli(&["tail", "web"]).exits(0).out.contains("one") {}
    reexec(&daemon);
    web.does("write \"two\",{}");
    reexec(&daemon);
    web.does("print 1");
    daemon.stdout.until("the whole line", |line| line == "[web] one\"two\",{}web line 1");
    web.does("write last");
    web.tell("exit 3");
    let exit = events.until("exit", "web");
    assert_eq!(exit["data"]["log_tail"], serde_json::json!(["one\"two\",{}web line 1", "last"]));
    assert_eq!(daemon.log_text("web"), "one\"two\",{}web line 1\nlast");
}
