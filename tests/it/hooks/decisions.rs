//! Decisions: what a script may change about its service, and what it costs when it does not answer.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{script, with_hooks};
use crate::plugins::loaded;
use crate::support::Daemon;
use crate::support::events::Events;

#[track_caller]
pub fn decision(events: &mut Events, service: &str, point: &str) -> Value {
    let is_it = |event: &Value| event["type"] == "decision" && event["service"] == service && event["data"]["point"] == point;
    events.until_that(&format!("the decision {point} of {service}"), is_it)["data"].clone()
}

/// The core's own policy holds, and why is told.
#[track_caller]
fn is_none(decision: &Value, by: &str, reason: &str) {
    assert_eq!((&decision["verdict"], &decision["applied"]), (&json!("none"), &json!(false)), "{decision}");
    assert_eq!(decision["by"], by);
    assert!(decision["reason"].as_str().is_some_and(|said| said.contains(reason)), "{reason}: {decision}");
}

#[track_caller]
fn when(event: &Value) -> u64 {
    event["mono_ms"].as_u64().unwrap_or_else(|| panic!("no time in {event}"))
}

/// A service that is there since the boot, and the hook that it lets advise, ready to be asked.
pub fn asked_by(service: &str, name: &str, text: &str) -> Daemon {
    let daemon = with_hooks(&format!("web: {{command: @web, decisions: [{name}], {service}}}"), &[(name, text)]);
    loaded(&daemon, name);
    daemon
}

#[test]
fn what_it_holds_stays_down_until_the_operator_starts_it() {
    let policy = r#"s3.decide("restart", function(c)
  if c.exit.code == 78 then return {action = "hold", ["for"] = "1h", reason = "fix its configuration"} end
  if c.exit.code == 5 then return {action = "delay", delay = "2h"} end
  if c.exit.code == 6 then return {action = "give_up"} end
end)"#;
    let mut daemon = asked_by("backoff: {initial: 0s}", "policy", policy);
    let mut events = daemon.events();
    daemon.stage.actor("web").tell("exit 78");
    let held = decision(&mut events, "web", "restart");
    assert_eq!((&held["verdict"], &held["applied"], &held["by"]), (&json!("hold 1h"), &json!(true), &json!("hook:policy")));
    let hold = events.until("hold", "web");
    assert_eq!((&hold["data"]["by"], &hold["data"]["reason"]), (&json!("hook:policy"), &json!("fix its configuration")));
    assert!(hold["data"]["until"].is_string(), "{hold}");
    assert_eq!(daemon.status("web")["hold"]["reason"], "fix its configuration");
    daemon.cli(&["status"]).exits(0).says(&["held by hook:policy", "fix its configuration"]);
    daemon.cli(&["start", "web"]).exits(0);
    assert_eq!(events.until("start", "web")["data"]["reason"], "manual");
    assert!(daemon.status("web").get("hold").is_none());

    // Longer than is allowed.
    daemon.stage.actor("web").tell("exit 5");
    assert_eq!(decision(&mut events, "web", "restart")["verdict"], "delay 1h");
    assert_eq!(events.until("backoff", "web")["data"]["delay_ms"], 3_600_000);
    daemon.cli(&["start", "web"]).exits(0);
    // No opinion: its own policy.
    daemon.stage.actor("web").tell("exit 3");
    assert_eq!(events.until("backoff", "web")["data"]["delay_ms"], 0);
    daemon.stage.actor("web").tell("exit 6");
    assert_eq!(decision(&mut events, "web", "restart")["verdict"], "give_up");
    events.until("gave_up", "web");
    daemon.cli(&["wait", "web", "--for", "failed"]).exits(0);
}

/// The boot asks before the host has loaded the script: the question waits for that.
#[test]
fn a_start_is_denied_at_the_boot_already() {
    let policy = r#"s3.decide("start", function(c) return {action = "deny", reason = "closed"} end)"#;
    let daemon = asked_by("nice: 0", "policy", policy);
    let mut events = daemon.events();
    let first = decision(&mut events, "web", "start");
    if first["verdict"] == "deny" {
        assert_eq!(events.until("hold", "web")["data"]["reason"], "closed");
        assert!(!events.story("web").contains(&"start"), "{:?}", events.seen());
    } else {
        // A machine that needs longer than the question's 2 s to load a script.
        is_none(&first, "hook:policy", "no answer within");
    }
}

#[test]
fn a_start_is_denied_and_a_stop_is_drained_first() {
    let policy = r#"s3.decide("start", function(c)
  if c.reason == "restart" then return {action = "deny", reason = "its licence is over"} end
end)
s3.decide("stop", function(c)
  s3.emit("draining", {grace_ms = c.grace_ms})
  return {action = "drain", ms = 300}
end)"#;
    let mut daemon = asked_by("stop_grace: 100s, backoff: {initial: 0s}", "policy", policy);
    let mut events = daemon.events();
    daemon.stage.actor("web").tell("exit 3");
    events.until("crash", "web");
    assert_eq!(decision(&mut events, "web", "start")["verdict"], "deny");
    let hold = events.until("hold", "web");
    assert_eq!(hold["data"]["reason"], "its licence is over", "{hold}");
    assert_eq!(daemon.status("web")["state"], "waiting");
    daemon.cli(&["start", "web"]).exits(0);
    let mut web = daemon.stage.actor("web");
    web.does("ignore TERM");
    // Operator commands are never asked about; the end of everything is.
    daemon.signal(Signal::SIGTERM);
    let is_drained = |event: &Value| event["type"] == "decision" && event["data"]["point"] == "stop";
    let drained = events.until_that("the decision at the stop", is_drained);
    assert_eq!((&drained["data"]["verdict"], &drained["data"]["applied"]), (&json!("drain 300ms"), &json!(true)), "{drained}");
    web.hears("got TERM");
    web.tell("exit 0");
    let exit = events.until("exit", "web");
    assert!(when(&exit) >= when(&drained) + 300, "{drained} {exit}");
    assert_eq!(daemon.ends(), 0);
}

#[test]
fn who_hangs_raises_or_answers_nonsense_leaves_its_service_to_its_policy_and_others_alone() {
    let hangs = r#"s3.decide("restart", function() s3.sleep("10h") end)"#;
    let raises = r#"s3.decide("restart", function() error("out of order", 0) end)"#;
    let odd = r#"s3.decide("restart", function() return {action = "exploed"} end)"#;
    let good = r#"s3.decide("restart", function() return {action = "delay", delay = 1} end)"#;
    let service = |name: &str, by: &str| format!("{name}: {{command: @{name}, {by} backoff: {{initial: 1h, max: 1h}}}}");
    let services = [
        service("a", "decisions: [hangs],"),
        service("b", "decisions: [raises],"),
        service("c", "decisions: [odd],"),
        service("d", "decisions: [good],"),
        service("e", ""),
    ];
    let all = [("hangs", hangs), ("raises", raises), ("odd", odd), ("good", good)];
    let mut daemon = with_hooks(&services.join(", "), &all);
    for (name, _) in all {
        loaded(&daemon, name);
    }
    // Each in a stream of its own: whose decision is told first is nobody's business.
    let watch = |name: &str| (name.to_owned(), daemon.events());
    let mut watched: Vec<(String, Events)> = ["a", "b", "c", "d", "e"].map(watch).into();
    for name in ["a", "b", "c", "d", "e"] {
        daemon.stage.actor(name).tell("exit 3");
    }
    for (name, events) in &mut watched {
        let verdict = |events: &mut Events| decision(events, name, "restart");
        match name.as_str() {
            "a" => is_none(&verdict(events), "hook:hangs", "no answer within 500ms"),
            "b" => is_none(&verdict(events), "hook:raises", "out of order"),
            "c" => is_none(&verdict(events), "hook:odd", "no such action: `exploed`"),
            "d" => {
                let asked = verdict(events);
                // On a machine that is that slow it has missed its deadline: nothing of it is then to be seen here.
                if asked["verdict"] != "none" {
                    assert_eq!((&asked["verdict"], &asked["applied"]), (&json!("delay 1ms"), &json!(true)), "{asked}");
                }
                let delay = events.until("backoff", "d")["data"]["delay_ms"].clone();
                assert_eq!(delay, if asked["verdict"] == "none" { 3_600_000 } else { 1 });
                continue;
            }
            _ => {}
        }
        assert_eq!(events.until("backoff", name)["data"]["delay_ms"], 3_600_000, "{name}");
        let points = events.seen().iter().filter(|event| event["service"] == name.as_str()).map(|event| &event["data"]["point"]);
        assert_eq!(points.filter(|point| **point == "restart").count(), usize::from(name != "e"), "{name}");
    }
    assert_eq!(daemon.status("e")["state"], "backoff");
}

#[test]
fn one_that_never_yields_costs_its_deadline_and_is_stopped() {
    let loops = r#"s3.decide("restart", function() while true do pcall(function() while true do end end) end end)
s3.on("custom.go", function(ev) s3.emit("heard", {id = ev.id}) end)"#;
    let mut daemon = asked_by("backoff: {initial: 0s}", "loops", loops);
    let mut events = daemon.events();
    daemon.stage.actor("web").tell("exit 3");
    is_none(&decision(&mut events, "web", "restart"), "hook:loops", "no answer within 500ms");
    daemon.stage.actor("web");
    daemon.cli(&["wait", "web", "--for", "running"]).exits(0);
    // That it was late is told by the decision; why, by the end of its slice.
    let failed = events.until_that("who computes for too long", |event| event["type"] == "hook_failed");
    let named = ["script", "handler", "kind", "message"].map(|field| failed["data"][field].as_str().unwrap_or_default());
    assert_eq!(named, ["loops", "decide:restart", "cpu", "ran for over 1s of CPU without waiting"]);
    let handlers = script(&daemon, "loops")["handlers"].clone();
    let asked = handlers.as_array().and_then(|all| all.iter().find(|one| one["name"] == "decide:restart"));
    assert!(asked.is_some_and(|asked| asked["killed"] == 1 && asked["delivered"] == 1), "{handlers}");
    // The script is of use again, in the same host or in the next.
    daemon.cli(&["emit", "go"]).exits(0);
    events.until_daemon("custom.heard");
}

#[test]
fn who_was_not_given_consent_is_never_asked() {
    let nosy = r#"for _, point in ipairs {"start", "restart", "stop"} do
  s3.decide(point, function(c) s3.emit("asked", {service = c.service}) end)
end"#;
    let mut daemon = with_hooks(
        "a: {command: @a, backoff: {initial: 0s}}, b: {command: @b, decisions: [nosy], backoff: {initial: 0s}}",
        &[("nosy", nosy)],
    );
    loaded(&daemon, "nosy");
    let mut events = daemon.events();
    let asked = |event: &Value| event["type"] == "custom.asked";
    daemon.stage.actor("a").tell("exit 3");
    daemon.stage.actor("a");
    daemon.stage.actor("b").tell("exit 3");
    assert_eq!(events.until_that("the question about b", asked)["data"]["service"], "b");
    daemon.stage.actor("b");
    daemon.cli(&["stop", "--all"]).exits(0);
    events.until("stop", "b");
    assert!(!events.story("a").contains(&"decision"), "{:?}", events.seen());
    assert!(events.seen().iter().all(|event| !asked(event) || event["data"]["service"] == "b"));
    assert_eq!(script(&daemon, "nosy")["state"], "loaded");
}
