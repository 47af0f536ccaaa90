//! `heartbeat`: what it tells when, by the states of services.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Play, pass, refused, reply, scene, silent};

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

#[test]
fn what_a_switch_does_not_take_is_told_again_as_often_as_it_is_said() {
    for (attempts, tries) in [(1, 1), (5, 5)] {
        scene(async |dir| {
            let settings = format!("url: \"http://h/ping\", interval: 1d, attempts: {attempts}");
            let play = Play::load("heartbeat", &settings, dir, Box::new(|_, _| refused())).expect("loaded");
            pass(60).await;
            assert_eq!(urls(&play).len(), tries);
            assert!(play.failures()[0].starts_with("cannot reach h: connection refused"), "{:?}", play.failures());
            assert!(play.command("beat").await.is_err());
            play.event("gave-up", "gave_up", "web", json!({}));
            pass(60).await;
            assert_eq!(play.failures().len(), 2, "{:?}", play.failures());
        });
    }
}

#[test]
fn where_a_problem_is_told() {
    for (settings, url) in [
        ("url: \"http://h/ping/\"", "http://h/ping/fail"),
        ("url: \"http://h/ping?x=/\"", "http://h/ping/fail?x=/"),
        ("url: \"http://h/ping\", fail_url: \"http://f/alarm\"", "http://f/alarm"),
    ] {
        scene(async |dir| {
            let answers = |_: usize, _: &_| reply(200, None, "");
            let settings = format!("{settings}, interval: 1d, services: [\"*\", web], method: GET");
            let play = Play::load("heartbeat", &settings, dir, Box::new(answers)).expect("loaded");
            *play.world.services.borrow_mut() = json!([service("web", "failed")]);
            // Two globs mean it, and it is one trouble.
            assert_eq!(play.command("beat").await, Ok(json!({"told": "failure", "trouble": ["web: failed"]})));
            assert_eq!(urls(&play).last().map(String::as_str), Some(url));
            let requests = play.world.requests.borrow();
            let (_, last) = requests.last().expect("one");
            assert!(super::body(last).is_empty() && last.headers.is_empty(), "{last:?}");
            assert_eq!(last.timeout, Duration::from_secs(10));
        });
    }
}

#[test]
fn no_service_is_no_trouble_and_a_supervisor_that_does_not_answer_is() {
    scene(async |dir| {
        let play = load("interval: 1d", dir);
        assert_eq!(play.command("beat").await, Ok(json!({"told": "success", "trouble": []})));
        *play.world.services.borrow_mut() = Value::Null;
        let trouble = ["the supervisor does not answer: no answer"];
        assert_eq!(play.command("beat").await, Ok(json!({"told": "failure", "trouble": trouble})));
    });
}

/// An older success must not arrive behind a newer failure.
#[test]
fn one_beat_at_a_time_and_what_happens_meanwhile_is_told_after_it() {
    scene(async |dir| {
        let play = load("interval: 1d", dir);
        play.world.takes.set(Duration::from_secs(20));
        pass(1).await;
        *play.world.services.borrow_mut() = json!([service("web", "failed")]);
        for name in ["web", "db"] {
            play.event("gave-up", "gave_up", name, json!({}));
            pass(2).await;
        }
        assert_eq!(urls(&play), ["http://h/ping?x=1"]);
        pass(30).await;
        assert_eq!(urls(&play), ["http://h/ping?x=1", "http://h/ping/fail?x=1"]);
        pass(600).await;
        assert_eq!(urls(&play).len(), 2, "once for both");
        // A command waits for its own.
        let last = play.command("beat").await.expect("told");
        assert_eq!((last["told"].as_str(), urls(&play).len()), (Some("failure"), 3));
    });
}

#[test]
fn a_beat_that_a_limit_ends_is_not_the_last_one() {
    scene(async |dir| {
        let answers = |number: usize, _: &_| if number == 0 { silent() } else { reply(200, None, "") };
        let play = Play::load("heartbeat", "url: \"http://h/ping\"", dir, Box::new(answers)).expect("loaded");
        pass(661).await;
        assert!(play.failures().iter().any(|why| why.contains("took longer than 10m")), "{:?}", play.failures());
        let before = urls(&play).len();
        pass(180).await;
        assert!(urls(&play).len() >= before + 2, "{} beats", urls(&play).len());
    });
}
