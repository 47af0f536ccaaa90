//! `resguard`: a process tree over its limits, and what is done about it.

use serde_json::{Value, json};

use super::{loaded, x};
use crate::support::events::Events;
use crate::support::{Daemon, Home, Launch};

/// Service `a` under a plugin with these settings, which looks ten times a second.
fn guarded(settings: &str) -> Daemon {
    let config = format!("services: {{a: {{command: @a}}}}\nplugins: {{resguard: {{interval: 100ms, {settings}}}}}");
    let daemon = Launch::new(Home::new(&config)).start();
    loaded(&daemon, "resguard");
    daemon
}

/// What is told next of one measure.
#[track_caller]
fn told(events: &mut Events, metric: &str) -> Value {
    let is_it = |event: &Value| event["type"] == "custom.resource" && event["data"]["metric"] == metric;
    let event = events.until_that(&format!("a word about {metric}"), is_it);
    assert_eq!((&event["data"]["service"], &event["actor"]), (&json!("a"), &json!("plugin:resguard")), "{event}");
    event["data"].clone()
}

#[test]
fn a_tree_over_its_memory_limit_is_restarted() {
    // The memory is in a child of the main process, and only in the first run.
    let daemon = Launch::new(Home::new(
        "services:\n  a:\n    command: |\n      if [ \"$SECTION3_RUN\" = 1 ]; then\n        sh -c 'x=$(head -c 60000000 /dev/zero | tr \"\\0\" x); \
         sleep 100000'\n      else\n        exec sleep 100000\n      fi\n  \
         b: {command: exec sleep 100000}\nplugins:\n  resguard: {memory: 40M, interval: 100ms, action: restart, cooldown: 1h}\n",
    ))
    .start();
    loaded(&daemon, "resguard");
    let mut events = daemon.events();
    let over = events.until_daemon("custom.resource");
    assert_eq!((over["data"]["service"].as_str(), over["data"]["metric"].as_str()), (Some("a"), Some("memory")), "{over}");
    assert_eq!((over["data"]["state"].as_str(), over["data"]["action"].as_str()), (Some("over"), Some("restart")), "{over}");
    assert!(over["data"]["value"].as_u64() > Some(40 << 20), "{over}");
    let again =
        daemon.events().until_that("the second start of a", |e| e["type"] == "start" && e["service"] == "a" && e["run"] == 2);
    assert_eq!((again["data"]["reason"].as_str(), again["actor"].as_str()), (Some("hook"), Some("plugin:resguard")), "{again}");
    let usage = x(&daemon, &["resguard", "usage"]);
    let b = usage.as_array().expect("a list").iter().find(|service| service["name"] == "b").expect("b").clone();
    assert_eq!(b["usage"]["processes"], 1, "{b}");
    assert!(b["usage"]["fds"].as_u64() > Some(2) && b["usage"]["rss_bytes"].as_u64() > Some(0), "{b}");
}

#[test]
fn too_much_cpu_brings_the_signal() {
    let mut daemon = guarded("cpu: 1, action: signal, signal: USR1, cooldown: 1h");
    let mut events = daemon.events();
    let mut a = daemon.stage.actor("a");
    a.does("burn");
    let over = told(&mut events, "cpu");
    assert_eq!((&over["state"], &over["action"], &over["limit"]), (&json!("over"), &json!("signal"), &json!(1)), "{over}");
    assert!(
        over["value"].as_f64() > Some(1.0) && over["text"].as_str().is_some_and(|text| text.contains("allowed are 1%")),
        "{over}"
    );
    a.hears("got USR1");
    assert_eq!((&daemon.status("a")["run"], &daemon.status("a")["pid"]), (&json!(1), &json!(a.pid)));
}

#[test]
fn too_many_descriptors_are_told_and_so_is_their_end() {
    let mut daemon = guarded("fds: 100");
    let mut events = daemon.events();
    let mut a = daemon.stage.actor("a");
    a.does("spawn b");
    // Neither has more than 100; both together have.
    let mut b = daemon.stage.actor("b");
    a.does("open 60");
    b.does("open 60");
    let over = told(&mut events, "fds");
    assert_eq!((&over["state"], &over["action"], &over["limit"]), (&json!("over"), &json!("event"), &json!(100)), "{over}");
    assert!((120..200).contains(&over["value"].as_u64().expect("a number")), "{over}");
    b.does("shut");
    let fine = told(&mut events, "fds");
    assert_eq!(fine["state"], "ok", "{fine}");
    assert!((60..=100).contains(&fine["value"].as_u64().expect("a number")), "{fine}");
    // Once is enough: what came between was one event.
    a.does("open 60");
    assert_eq!(told(&mut events, "fds")["state"], "over");
    assert_eq!(daemon.status("a")["run"], 1);
}

#[test]
fn after_an_action_the_service_is_left_alone_until_the_cooldown_is_over() {
    let mut daemon = guarded("fds: 100, processes: 1, action: signal, signal: HUP, cooldown: 2s");
    let mut events = daemon.events();
    let mut a = daemon.stage.actor("a");
    a.does("open 150");
    assert_eq!(told(&mut events, "fds")["action"], "signal");
    a.hears("got HUP");
    a.does("shut");
    assert_eq!(told(&mut events, "fds")["state"], "ok");
    // Another limit of the same service, within the same cooldown.
    a.does("spawn b");
    let mut actions = vec![told(&mut events, "processes")["action"].clone()];
    if actions == ["cooldown"] {
        actions.push(told(&mut events, "processes")["action"].clone());
    }
    // A machine that is that slow has seen the cooldown pass.
    assert!(actions == ["cooldown", "signal"] || actions == ["signal"], "{actions:?}");
    a.hears("got HUP");
    // It did not help: once more, a cooldown later.
    assert_eq!(told(&mut events, "processes")["action"], "signal");
    a.hears("got HUP");
}

#[test]
fn what_is_over_its_limit_is_told_once_it_has_lasted() {
    let mut daemon = guarded("fds: 100, for: 500ms");
    let mut events = daemon.events();
    daemon.stage.actor("a").does("open 150");
    let over = told(&mut events, "fds");
    assert!(over["state"] == "over" && over["for_ms"].as_u64() >= Some(500), "{over}");
}

#[test]
fn a_signal_that_is_none_is_an_error_of_the_config() {
    let home = Home::new("services: {}\nplugins: {resguard: {action: signal, signal: USR3}}");
    home.cli(&["check"]).exits(6).says(&["plugins.resguard.signal", "USR3"]);
    home.configure("services: {}\nplugins: {resguard: {action: signal, signal: SIGUSR2}}");
    home.cli(&["check"]).exits(0);
}
