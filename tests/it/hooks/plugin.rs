//! A plugin of the test's own: its commands, its probe, its check, and what it may do to services.

use std::fs;

use serde_json::json;

use crate::plugins::{asked, loaded, x};
use crate::support::{Daemon, Home, Launch};

const MANIFEST: &str = r#"name: own
version: 0.1.0
api: 1
summary: What a test wants
permissions: ["services:read", "services:control:*"]
provides: {checks: [alive, spins], probes: [warm, spins], commands: [act, boom, data, eat, get, hang, look, refuse, say, set]}
"#;

/// What the probe and the check say is set by a command, so that a test need not wait for a time to pass.
const INIT: &str = r#"local s3 = require "section3"
s3.command("say", {summary = "says it again"}, function(words) return table.concat(words, " ") end)
s3.command("data", {summary = "a table"}, function(words) return {first = words[1], count = #words} end)
s3.command("boom", {summary = "raises"}, function() error("boom and gone", 0) end)
s3.command("refuse", {summary = "returns nil, reason"}, function() return nil, "not today" end)
s3.command("hang", {summary = "never returns"}, function() s3.sleep("10h") end)
s3.command("set", {summary = "sets", args = {"key", "value"}}, function(a) s3.kv.set(a.key, a.value) end)
s3.command("get", {summary = "gets", args = {"key"}}, function(a) return s3.kv.get(a.key) end)
s3.command("look", {summary = "what is known", args = {"service"}}, function(a)
  local one, why = s3.services.get(a.service)
  if not one then return nil, why.code .. ": " .. why.message end
  local names = {}
  for _, service in ipairs(s3.services.list()) do names[#names + 1] = service.name end
  return {state = one.state, processes = one.usage.processes, names = names, log = s3.services.logs(a.service, {lines = 2})}
end)
s3.command("act", {summary = "does it", args = {"verb", "service", "more?"}}, function(a)
  local more = a.more
  if a.verb == "hold" then more = {reason = "a test", ["for"] = "1h"} end
  local done, why
  if more then done, why = s3.services[a.verb](a.service, more) else done, why = s3.services[a.verb](a.service) end
  if not done then return nil, why.code .. ": " .. why.message end
  return "done"
end)
local function spin() while true do pcall(function() while true do end end) end end
s3.check("spins", spin)
s3.probe("spins", spin)
s3.command("eat", {summary = "eats memory"}, function() local t = {} while true do t[#t + 1] = {} end end)
s3.probe("warm", function(about)
  return s3.kv.get("warm") == about.service, "cold"
end)
s3.check("alive", function(about)
  s3.kv.incr("asked")
  local mood = s3.kv.get("mood")
  if mood == "raise" then error("cannot tell", 0) end
  if mood == "odd" then return "perhaps" end
  return mood ~= "bad", "in a bad mood"
end)
"#;

fn with_plugin(services: &str) -> Daemon {
    let home = Home::new("services: {}");
    let folder = home.path("plugins/own");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("plugin.yml"), MANIFEST).expect("a manifest");
    fs::write(folder.join("init.lua"), INIT).expect("a script");
    home.cli(&["plugin", "check", "own"]).exits(0);
    let plugin = "plugins: {own: {allow: [\"services:read\", \"services:control:*\"]}}";
    home.configure(&format!("services: {{{services}}}\n{plugin}\n"));
    let daemon = Launch::new(home).start();
    loaded(&daemon, "own");
    daemon
}

#[test]
fn commands_say_what_they_return_and_how_they_fail() {
    let daemon = with_plugin("");
    daemon.cli(&["x"]).exits(0).says(&["own say", "says it again"]);
    daemon.cli(&["x", "own"]).exits(0).says(&["own boom"]);
    let said = daemon.cli(&["x", "own", "say", "a  b", "--json"]).exits(0);
    assert_eq!(said.out, "a  b --json\n", "what follows the command is its own");
    let told = daemon.cli(&["x", "--json", "own", "data", "a", "b"]).exits(0);
    let told: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(told, json!({"version": 1, "result": {"first": "a", "count": 2}}));
    assert_eq!(x(&daemon, &["own", "set", "k", "v"]), json!(null));
    assert_eq!(daemon.cli(&["x", "own", "get", "k"]).exits(0).out, "v\n");
    daemon.cli(&["x", "own", "sey"]).exits(2).says(&["own has no command `sey`", "did you mean `say`?", "section3 x own"]);
    daemon.cli(&["x", "owm", "say"]).exits(1).says(&["no such hook or plugin: `owm`", "did you mean `own`?"]);
    daemon.cli(&["x", "own", "boom"]).exits(1).says(&["boom and gone"]);
    daemon.cli(&["x", "own", "refuse"]).exits(1).says(&["not today"]);
    daemon.cli(&["x", "own", "get"]).exits(1).says(&["usage: get KEY"]);
    daemon.cli(&["x", "own", "get", "a", "b"]).exits(1).says(&["usage: get KEY"]);
    daemon.cli(&["x", "--timeout", "100ms", "own", "hang"]).exits(5).says(&["no answer within 100ms"]);
    assert_eq!(daemon.cli(&["x", "own", "say", "on"]).exits(0).out, "on\n");
}

/// Its own time-out is over long before the script's limit.
#[test]
fn a_check_and_a_probe_that_never_yield_are_named_though_nobody_waits_for_them_any_more() {
    for (key, name) in [
        ("ready: {plugin: own.spins, timeout: 10h", "probe:spins"),
        ("health: {plugin: own.spins, timeout: 100ms", "check:spins"),
    ] {
        let daemon = with_plugin(&format!("web: {{command: exec sleep 100000, {key}, interval: 10ms}}}}"));
        let failed = daemon.events().until_that("who computes for too long", |event| event["type"] == "hook_failed");
        let named = ["script", "handler", "kind", "message"].map(|field| failed["data"][field].as_str().unwrap_or_default());
        assert_eq!(named, ["own", name, "cpu", "ran for over 1s of CPU without waiting"]);
        let own = super::script(&daemon, "own");
        let handler = &own["handlers"][0];
        assert_eq!((&own["state"], &handler["name"]), (&json!("loaded"), &json!(name)), "{own}");
        assert!(handler["killed"].as_u64() >= Some(1), "{own}");
    }
}

#[test]
fn who_runs_over_a_limit_ten_times_in_a_row_is_not_asked_for_a_while() {
    let daemon = with_plugin("");
    let mut events = daemon.events();
    let is_it =
        |kind: &'static str| move |event: &serde_json::Value| event["type"] == kind && event["data"]["handler"] == "command:eat";
    for _ in 0..10 {
        daemon.cli(&["x", "own", "eat"]).exits(1);
        let failed = events.until_that("the failure", is_it("hook_failed"));
        // On a slow machine the time may be over before the heap is full.
        assert!(["memory", "cpu"].map(|kind| json!(kind)).contains(&failed["data"]["kind"]), "{failed}");
    }
    events.until_that("the pause", is_it("hook_disabled"));
    daemon
        .cli(&["x", "own", "eat"])
        .exits(1)
        .says(&["command:eat ran over a limit 10 times in a row", "section3 hook enable own"]);
    assert_eq!(daemon.cli(&["x", "own", "say", "on"]).exits(0).out, "on\n");
    let eat = &super::script(&daemon, "own")["handlers"][0];
    assert_eq!((&eat["name"], &eat["delivered"], &eat["killed"]), (&json!("command:eat"), &json!(10), &json!(10)), "{eat}");
    assert!(eat["paused_until"].is_string(), "{eat}");
    daemon.cli(&["hook", "list"]).exits(0).says(&["command:eat"]);
    daemon.cli(&["hook", "enable", "own"]).exits(0);
    daemon.cli(&["x", "own", "eat"]).exits(1);
    events.until_that("the failure", is_it("hook_failed"));
}

#[test]
fn its_probe_makes_ready_and_its_check_restarts() {
    let ready = "ready: {plugin: own.warm, interval: 20ms, timeout: 10h}";
    let health = "health: {plugin: own.alive, interval: 20ms, failures: 3}";
    let mut daemon = with_plugin(&format!("web: {{command: @web, {ready}, {health}, backoff: {{initial: 0s}}}}"));
    let mut events = daemon.events();
    daemon.stage.actor("web");
    asked("the probe's word", || daemon.status("web")["message"].as_str().filter(|message| message.contains("cold")).map(|_| ()));
    assert_eq!(daemon.status("web")["state"], "starting");
    x(&daemon, &["own", "set", "warm", "web"]);
    assert_eq!(events.until("ready", "web")["data"]["by"], "plugin");
    let health = events.until("health", "web");
    assert_eq!((&health["data"]["from"], &health["data"]["to"]), (&json!("unknown"), &json!("healthy")), "{health}");
    // What raises, or says neither yes nor no, is no opinion, however often.
    for mood in ["raise", "odd"] {
        x(&daemon, &["own", "set", "mood", mood]);
        let before = x(&daemon, &["own", "get", "asked"]).as_u64().expect("a count");
        asked("more checks than failures are allowed", || {
            (x(&daemon, &["own", "get", "asked"]).as_u64() > Some(before + 5)).then_some(())
        });
    }
    x(&daemon, &["own", "set", "mood", "good"]);
    let health = events.until("health", "web");
    assert_eq!((&health["data"]["from"], &health["data"]["to"]), (&json!("healthy"), &json!("unknown")), "{health}");
    assert!(health["data"]["output"].as_str().is_some_and(|said| said.contains("cannot tell")), "{health}");
    let health = events.until("health", "web");
    assert_eq!((&health["data"]["from"], &health["data"]["to"]), (&json!("unknown"), &json!("healthy")), "{health}");
    x(&daemon, &["own", "set", "mood", "bad"]);
    let health = events.until("health", "web");
    assert_eq!((&health["data"]["to"], &health["data"]["failures"]), (&json!("unhealthy"), &json!(3)), "{health}");
    assert_eq!(health["data"]["output"], "in a bad mood");
    x(&daemon, &["own", "set", "mood", "good"]);
    let start = events.until("start", "web");
    assert_eq!((&start["data"]["reason"], &start["run"]), (&json!("health"), &json!(2)), "{start}");
    daemon.stage.actor("web");
}

#[test]
fn it_acts_under_its_own_name_and_the_seventh_time_not_at_all() {
    let mut daemon = with_plugin("web: {command: @web}, db: {command: exec sleep 100000}");
    let mut events = daemon.events();
    let mut web = daemon.stage.actor("web");
    web.does("line hello");
    daemon.cli(&["wait", "web", "--for", "running"]).exits(0);
    let act = |words: &[&str]| assert_eq!(x(&daemon, &[&["own", "act"], words].concat()), json!("done"), "{words:?}");
    asked("the line in the log", || {
        let known = x(&daemon, &["own", "look", "web"]);
        assert_eq!(known["state"], "running");
        assert_eq!((&known["processes"], &known["names"]), (&json!(1), &json!(["web", "db"])), "{known}");
        known["log"].as_array().is_some_and(|lines| lines.iter().any(|line| line.as_str() == Some("hello"))).then_some(())
    });
    daemon.cli(&["x", "own", "look", "wbe"]).exits(1).says(&["unknown_service: ", "did you mean `web`?"]);
    daemon.cli(&["x", "own", "act", "start", "wbe"]).exits(1).says(&["unknown_service: ", "did you mean `web`?"]);

    act(&["signal", "web", "USR1"]);
    web.hears("got USR1");
    act(&["restart", "web"]);
    let start = events.until_that("run 2", |event| event["type"] == "start" && event["service"] == "web" && event["run"] == 2);
    assert_eq!((&start["data"]["reason"], &start["actor"]), (&json!("hook"), &json!("plugin:own")), "{start}");
    act(&["stop", "web"]);
    let stop = events.until_that("its stop", |event| event["type"] == "stop" && event["run"] == 2);
    assert_eq!((&stop["data"]["reason"], &stop["actor"]), (&json!("hook"), &json!("plugin:own")), "{stop}");
    act(&["start", "web"]);
    act(&["hold", "web"]);
    let hold = events.until("hold", "web");
    assert_eq!((&hold["data"]["by"], &hold["data"]["reason"]), (&json!("plugin:own"), &json!("a test")), "{hold}");
    let status = daemon.status("web");
    assert_eq!((&status["hold"]["by"], &status["hold"]["until"]), (&json!("plugin:own"), &hold["data"]["until"]), "{status}");
    act(&["release", "web"]);
    assert!(daemon.status("web").get("hold").is_none());
    daemon.cli(&["x", "own", "act", "stop", "web"]).exits(1).says(&["budget: own acted on web 6 times within 10 minutes"]);
    // Another service has a budget of its own.
    act(&["restart", "db"]);
}

/// Each start that it brings about leads to the next one, until the chain is too long.
#[test]
fn a_hook_that_feeds_itself_comes_to_an_end() {
    let feeds = r#"s3.on("start", {name = "feeds", service = "web", filter = function(ev) return ev.data.reason ~= "boot" end}, function(ev)
  local done, why = s3.services.restart(ev.service)
  if not done then return false, why.code .. ": " .. why.message end
end)"#;
    let mut daemon = super::with_hooks("web: {command: @web}", &[("chain", feeds)]);
    loaded(&daemon, "chain");
    let mut events = daemon.events();
    daemon.stage.actor("web");
    daemon.cli(&["restart", "web"]).exits(0);
    let refused = events.until_that("the refusal", |event| super::is_failure(event, "chain", "depth: "));
    assert_eq!(refused["data"]["handler"], "feeds");
    let starts: Vec<_> = events.seen().iter().filter(|event| event["type"] == "start").collect();
    let depths: Vec<_> = starts.iter().map(|start| start["depth"].as_u64().unwrap_or(0)).collect();
    assert_eq!(depths, [0, 0, 1, 2, 3, 4], "{starts:?}");
    assert!(starts.iter().skip(2).all(|start| start["actor"] == "hook:chain" && start["cause"].is_string()), "{starts:?}");
    daemon.cli(&["wait", "web", "--for", "running"]).exits(0);
}
