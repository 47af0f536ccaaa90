//! `heartbeat`: what it tells when, by the states of services.

use serde_json::{Value, json};

use super::{Play, pass, reply, scene};

fn load(settings: &str, dir: &std::path::Path) -> Play {
    let play =
        Play::load("heartbeat", &format!("url: \"http://h/ping?x=1\", {settings}"), dir, Box::new(|_, _| reply(200, None, "")));
    play.expect("loaded")
}

fn service(name: &str, state: &str) -> Value {
    json!({"name": name, "state": state, "crashes": 0})
}

/// Addresses of all beats so far.
fn urls(play: &Play) -> Vec<String> {
    play.world.requests.borrow().iter().map(|(_, request)| request.url.clone()).collect()
}

#[test]
fn success_failure_and_success_again() {
    scene(async |dir| {
        let play = load("services: [\"web*\", db]", dir);
        *play.world.services.borrow_mut() = json!([service("web1", "running"), service("db", "running"), service("x", "failed")]);
        pass(121).await;
        assert_eq!(urls(&play), ["http://h/ping?x=1"; 3]);
        *play.world.services.borrow_mut() = json!([service("web1", "failed"), service("db", "running")]);
        // Told at once, and many that gave up together once.
        for name in ["web1", "web2", "web3"] {
            play.event("gave-up", "gave_up", name, json!({"crashes": 5}));
        }
        pass(2).await;
        assert_eq!(urls(&play)[3..], ["http://h/ping/fail?x=1"]);
        assert_eq!(play.sent()[3].1, "box1\nweb1: failed");
        pass(60).await;
        assert_eq!(urls(&play)[4..], ["http://h/ping/fail?x=1"]);
        *play.world.services.borrow_mut() = json!([service("web1", "stopped"), service("db", "exited")]);
        pass(60).await;
        assert_eq!(urls(&play)[5..], ["http://h/ping?x=1"]);
        assert_eq!(play.command("beat").await, Ok(json!({"told": "success", "trouble": []})));
        assert!(play.failures().is_empty());
    });
}

#[test]
fn silence() {
    scene(async |dir| {
        let play = load("on_problem: skip, method: GET", dir);
        *play.world.services.borrow_mut() = json!([service("a", "running")]);
        pass(61).await;
        assert_eq!(urls(&play).len(), 2);
        assert_eq!(play.world.requests.borrow()[0].1.method, "GET");
        *play.world.services.borrow_mut() = json!([service("a", "backoff")]);
        pass(600).await;
        assert_eq!(urls(&play).len(), 2);
        let told = play.command("beat").await.expect("told");
        assert_eq!(told, json!({"told": "nothing", "trouble": ["a: backoff"]}));
    });
}

#[test]
fn what_counts_as_trouble() {
    scene(async |dir| {
        let play = load("services: [a, \"w*\", nobody], interval: 1d", dir);
        let held = json!({"name": "a", "state": "stopped", "crashes": 0, "hold": {"by": "hook:drain", "reason": "r"}});
        let ill = json!({"name": "web", "state": "running", "crashes": 0, "health": "unhealthy"});
        *play.world.services.borrow_mut() = json!([held, ill, service("other", "failed"), service("w2", "starting")]);
        let told = play.command("beat").await.expect("told");
        let trouble = ["a: held by hook:drain", "web: unhealthy", "no service is called `nobody`"];
        assert_eq!(told, json!({"told": "failure", "trouble": trouble}));
    });
}

#[test]
fn a_switch_that_does_not_answer_is_an_error() {
    scene(async |dir| {
        let answers = |_: usize, _: &_| reply(404, None, "");
        let play = Play::load("heartbeat", "url: \"http://h/ping\"", dir, Box::new(answers)).expect("loaded");
        pass(1).await;
        assert_eq!(play.failures(), ["the switch answered 404"]);
    });
}
