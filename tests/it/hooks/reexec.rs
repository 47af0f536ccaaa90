//! Hooks when the supervisor goes on as another program.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{home_with_hooks, host};
use crate::plugins::{asked, loaded};
use crate::support::events::Events;
use crate::support::process::{children, is_alive, zombies_of};
use crate::support::{Daemon, Launch};

/// Says what it heard; `n` counts over all hosts.
const TELLS: &str = r#"s3.on("custom.go", {name = "tells"}, function(ev)
  s3.emit("heard", {id = ev.id, attempt = ev.attempt or 1, lost = ev.lost, n = s3.kv.incr("n")})
end)
s3.on("custom.slow", {name = "slow", timeout = "10m"}, function(ev)
  s3.emit("begun", {id = ev.id, attempt = ev.attempt or 1})
  if (ev.attempt or 1) == 1 then s3.sleep("9m") end
end)"#;

fn emit(daemon: &Daemon, name: &str) -> String {
    let answer = daemon.ask(format!("{{\"v\":1,\"op\":\"emit\",\"args\":{{\"name\":\"{name}\"}}}}\n").as_bytes());
    let answer: Value = serde_json::from_str(answer.lines().next().expect("an answer")).expect("JSON");
    answer["data"]["id"].as_str().unwrap_or_else(|| panic!("no id in {answer}")).to_owned()
}

/// What was told of this event next.
#[track_caller]
fn told(events: &mut Events, kind: &str, id: &str) -> Value {
    events.until_that(&format!("{kind} of {id}"), |event| event["type"] == kind && event["data"]["id"] == id)["data"].clone()
}

#[test]
fn nothing_is_lost_and_what_was_begun_is_a_second_attempt() {
    let home = home_with_hooks("web: {command: exec sleep 100000}", &[("memo", TELLS)]);
    let daemon = Launch::new(home).start();
    loaded(&daemon, "memo");
    daemon.cli(&["wait", "web", "--for", "running"]).exits(0);
    let mut events = daemon.events();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = emit(&daemon, "go");
        told(&mut events, "custom.heard", &id);
        ids.push(id);
    }
    let slow = emit(&daemon, "slow");
    assert_eq!(told(&mut events, "custom.begun", &slow)["attempt"], 1);
    let (before, web) = (host(&daemon), daemon.status("web")["pid"].clone());
    // Some are on their way while it happens.
    ids.extend((0..3).map(|_| emit(&daemon, "go")));
    daemon.cli(&["self", "reexec"]).exits(0);
    ids.extend((0..3).map(|_| emit(&daemon, "go")));
    let last = ids.last().expect("one").clone();
    assert_eq!(told(&mut events, "custom.begun", &slow)["attempt"], 2, "what was begun comes again");
    let is_over = |events: &Events| events.seen().iter().any(|e| e["type"] == "custom.heard" && e["data"]["id"] == last.as_str());
    if !is_over(&events) {
        told(&mut events, "custom.heard", &last);
    }

    let heard: Vec<&Value> = events.seen().iter().filter(|event| event["type"] == "custom.heard").map(|e| &e["data"]).collect();
    for id in &ids {
        let attempts: Vec<u64> =
            heard.iter().filter(|data| data["id"] == id.as_str()).filter_map(|data| data["attempt"].as_u64()).collect();
        assert!([&[1][..], &[2], &[1, 2]].contains(&&attempts[..]), "{id}: {attempts:?} in {heard:?}");
    }
    assert!(heard.iter().all(|data| data.get("lost").is_none()), "{heard:?}");
    // The store goes on: a count is never given twice.
    let counts: Vec<u64> = heard.iter().filter_map(|data| data["n"].as_u64()).collect();
    assert!(counts.is_sorted_by(|a, b| a < b) && counts.last() >= Some(&9), "{counts:?}");

    assert_eq!(daemon.status("web")["pid"], web);
    let after = host(&daemon);
    assert!(after == before || !is_alive(before), "two hosts");
    asked("one host, one service, no zombie", || {
        let mut all = children(daemon.pid());
        all.sort_unstable();
        let mut wanted = vec![after, i32::try_from(web.as_i64()?).ok()?];
        wanted.sort_unstable();
        (all == wanted && zombies_of(daemon.pid()).is_empty()).then_some(())
    });
    // Its end is still the supervisor's business.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(after), Signal::SIGKILL).expect("killed");
    let id = emit(&daemon, "go");
    assert_eq!(told(&mut events, "custom.heard", &id)["id"], json!(id));
    assert_ne!(host(&daemon), after);
}

#[test]
fn twice_in_a_row_and_what_is_disabled_stays_so() {
    let daemon = Launch::new(home_with_hooks("", &[("memo", TELLS), ("mute", TELLS)])).start();
    loaded(&daemon, "memo");
    daemon.cli(&["hook", "disable", "mute"]).exits(0);
    let mut events = daemon.events();
    for _ in 0..2 {
        daemon.cli(&["self", "reexec"]).exits(0);
        let id = emit(&daemon, "go");
        told(&mut events, "custom.heard", &id);
    }
    let heard = events.seen().iter().filter(|event| event["type"] == "custom.heard");
    assert!(heard.clone().all(|event| event["actor"] == "hook:memo"), "{:?}", heard.collect::<Vec<_>>());
    assert_eq!(super::script(&daemon, "mute")["state"], "disabled");
    assert_eq!(daemon.json(&["hook", "list"])["host"]["pid"].as_i64(), Some(i64::from(host(&daemon))));
}
