//! `resguard`: when it acts, and how often, by what the supervisor says of a service.

use std::path::Path;

use serde_json::{Value, json};

use super::{Play, pass, reply, scene};
use crate::hooks::frame::Verb;

fn load(settings: &str, dir: &Path) -> Play {
    Play::load("resguard", &format!("interval: 10s, {settings}"), dir, Box::new(|_, _| reply(200, None, ""))).expect("loaded")
}

/// A service of run `run` that uses so much.
fn using(name: &str, run: u64, usage: &Value) -> Value {
    json!({"name": name, "state": "running", "crashes": 0, "pid": 100, "run": run, "usage": usage})
}

fn fds(run: u64, count: u64) -> Value {
    json!([using("a", run, &json!({"fds": count, "cpu_ms": 0}))])
}

fn set(play: &Play, services: Value) {
    *play.world.services.borrow_mut() = services;
}

/// State and action of each event so far.
fn told(play: &Play) -> Vec<(String, String)> {
    let word = |data: &Value, key: &str| data[key].as_str().unwrap_or("-").to_owned();
    play.emitted().iter().map(|(_, data)| (word(data, "state"), word(data, "action"))).collect()
}

fn words(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(state, action)| ((*state).to_owned(), (*action).to_owned())).collect()
}

/// What was done to services, as the last word of each order.
fn done(play: &Play) -> Vec<String> {
    let orders = play.world.orders.borrow();
    let done = orders.iter().filter_map(|order| match order {
        Verb::Restart { service } => Some(format!("restart {service}")),
        Verb::Signal { service, signal } => Some(format!("{signal} {service}")),
        _ => None,
    });
    done.collect()
}

#[test]
fn it_is_told_once_that_a_limit_is_passed_and_once_that_it_is_not() {
    scene(async |dir| {
        let play = load("fds: 100", dir);
        set(&play, fds(1, 100));
        pass(60).await;
        assert_eq!(told(&play), [], "as many as are allowed");
        set(&play, fds(1, 101));
        pass(3600).await;
        assert_eq!(told(&play), words(&[("over", "event")]));
        let (name, data) = play.emitted().remove(0);
        assert_eq!(name, "resource");
        let known = json!({"service": "a", "metric": "fds", "state": "over", "value": 101, "limit": 100, "action": "event",
                           "text": "101, allowed are 100", "for_ms": 0});
        assert_eq!(data, known);
        set(&play, fds(1, 100));
        pass(60).await;
        assert_eq!(told(&play), words(&[("over", "event"), ("ok", "-")]));
        assert!(done(&play).is_empty() && play.failures().is_empty(), "{:?}", play.failures());
    });
}

#[test]
fn what_passes_sooner_is_not_told() {
    scene(async |dir| {
        let play = load("fds: 100, for: 60s", dir);
        for _ in 0..5 {
            set(&play, fds(1, 500));
            pass(50).await;
            set(&play, fds(1, 5));
            pass(20).await;
        }
        assert_eq!(told(&play), []);
        set(&play, fds(1, 500));
        pass(80).await;
        assert_eq!(told(&play), words(&[("over", "event")]));
        assert_eq!(play.emitted()[0].1["for_ms"], 60_000);
    });
}

#[test]
fn a_service_that_stays_over_its_limit_is_restarted_once_a_cooldown_through_all_its_runs() {
    scene(async |dir| {
        let play = load("fds: 100, processes: 1, action: restart, cooldown: 10m", dir);
        let over = |run| json!([using("a", run, &json!({"fds": 500, "processes": 9, "cpu_ms": 0}))]);
        // Each restart is a new run, and each run is over its limits at once.
        for run in 1..=10 {
            set(&play, over(run));
            pass(60).await;
        }
        assert_eq!(done(&play), ["restart a"]);
        assert_eq!(told(&play)[..2], words(&[("over", "restart"), ("over", "cooldown")]));
        set(&play, over(11));
        pass(60).await;
        assert_eq!(done(&play), ["restart a"; 2]);
    });
}

#[test]
fn what_did_not_help_or_could_not_be_done_is_done_again_after_the_cooldown() {
    scene(async |dir| {
        let play = load("fds: 100, action: signal, signal: HUP, cooldown: 10m", dir);
        play.world.obeys.set(false);
        set(&play, fds(1, 500));
        pass(599).await;
        assert_eq!((done(&play), told(&play)), (vec!["HUP a".to_owned()], words(&[("over", "failed")])));
        let logged = play.world.logged.borrow().clone();
        assert_eq!(logged, ["warning: sending HUP to a: fds 500, allowed are 100", "error: cannot signal a: it cannot be done"]);
        play.world.obeys.set(true);
        pass(600).await;
        assert_eq!((done(&play).len(), told(&play)), (2, words(&[("over", "failed"), ("over", "signal")])));
    });
}

#[test]
fn cpu_is_what_one_run_used_between_two_looks() {
    scene(async |dir| {
        let play = load("cpu: 50", dir);
        let used = |run, ms: u64| json!([using("a", run, &json!({"cpu_ms": ms}))]);
        // What it used before it was first looked at is not what it uses now.
        set(&play, used(1, 900_000));
        pass(11).await;
        set(&play, used(1, 905_000));
        pass(10).await;
        assert_eq!(told(&play), [], "5 s of 10 are a half");
        set(&play, used(1, 910_100));
        pass(10).await;
        assert_eq!(told(&play), words(&[("over", "event")]));
        assert_eq!(play.emitted()[0].1["value"], 51);
        // A process that ended took its time with it.
        set(&play, used(1, 100));
        pass(10).await;
        assert_eq!(play.emitted()[1].1, json!({"service": "a", "metric": "cpu", "state": "ok", "value": 0, "limit": 50}));
        // Another run begins anew.
        set(&play, used(2, 500_000));
        pass(10).await;
        // And so does one that was not there for a while, whatever its number.
        set(&play, json!([]));
        pass(10).await;
        set(&play, used(2, 900_000));
        pass(10).await;
        assert_eq!(told(&play).len(), 2);
        assert!(play.failures().is_empty(), "{:?}", play.failures());
    });
}

#[test]
fn how_long_it_lasts_begins_anew_where_a_service_was_away() {
    scene(async |dir| {
        let play = load("fds: 100, for: 60s", dir);
        set(&play, fds(1, 500));
        pass(50).await;
        let mut stopped = fds(1, 500);
        stopped[0]["pid"] = Value::Null;
        set(&play, stopped);
        pass(20).await;
        set(&play, fds(1, 500));
        pass(50).await;
        assert_eq!(told(&play), []);
        pass(30).await;
        assert_eq!(told(&play).len(), 1);
    });
}

#[test]
fn only_the_services_that_were_meant_are_looked_at() {
    scene(async |dir| {
        let play = load("services: [\"w?b-*\", a.b], memory: 1M", dir);
        let over = |name: &str| using(name, 1, &json!({"rss_bytes": 2 << 20, "cpu_ms": 0}));
        let names = ["web-1", "w-b-", "a.b", "axb", "xweb-1", "web1", "a.bc", "weeb-1", "wxeb-1"];
        set(&play, Value::from(names.map(over).to_vec()));
        pass(11).await;
        let told: Vec<_> = play.emitted().iter().map(|(_, data)| data["service"].as_str().unwrap_or("").to_owned()).collect();
        assert_eq!(told, ["web-1", "w-b-", "a.b"]);
    });
}

#[test]
fn a_supervisor_that_does_not_answer_and_a_service_that_is_gone_are_no_service_within_its_limits() {
    scene(async |dir| {
        let play = load("fds: 100", dir);
        set(&play, Value::Null);
        pass(11).await;
        assert_eq!(play.failures(), ["no answer"]);
        set(&play, json!([{"name": "a", "state": "running", "crashes": 0, "pid": 1, "run": 1}]));
        pass(20).await;
        assert_eq!((play.failures().len(), told(&play)), (1, vec![]));
        let usage = json!({"fds": 3, "cpu_ms": 0});
        set(&play, json!([using("a", 1, &usage), {"name": "b", "crashes": 0}, {"name": "c", "pid": 1, "crashes": 0}]));
        assert_eq!(play.command("usage").await, Ok(json!([{"name": "a", "usage": usage}])));
    });
}
