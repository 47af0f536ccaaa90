//! `webhook` over hours: order, waits, bounds.

use std::cell::Cell;
use std::rc::Rc;

use serde_json::{Value, json};

use super::{Answerer, Play, pass, refused, reply, scene};
use crate::value::json;

fn load(settings: &str, dir: &std::path::Path, answerer: Answerer) -> Play {
    Play::load("webhook", &format!("url: \"http://h/\", events: [crash], {settings}"), dir, answerer).expect("loaded")
}

fn code(text: &str) -> (String, i64) {
    let event: Value = json::from_str(text).expect("JSON");
    (event["service"].as_str().expect("a service").to_owned(), event["data"]["code"].as_i64().expect("a code"))
}

#[test]
fn what_is_not_taken_is_tried_for_hours_and_never_overtaken() {
    scene(async |dir| {
        let is_up = Rc::new(Cell::new(false));
        let up = Rc::clone(&is_up);
        let play = load("", dir, Box::new(move |_, _| if up.get() { reply(200, None, "") } else { refused() }));
        for code in 1..=5 {
            play.event("send", "crash", "a", json!({"code": code}));
            play.event("send", "crash", "b", json!({"code": code}));
            pass(1).await;
        }
        pass(6 * 3600).await;
        // From 1 s doubling to 5 min, and between a half and the whole of that: some 80 to 160 in 6 hours for each of the two.
        let tries = play.sent().len();
        assert!((140..400).contains(&tries), "{tries}");
        // Only the oldest of each is tried.
        assert!(play.sent().iter().all(|(_, text)| code(text).1 == 1));
        assert_eq!(play.command("status").await.expect("status")["waiting"], 10);
        is_up.set(true);
        pass(301).await;
        let taken: Vec<_> = play.sent()[tries..].iter().map(|(_, text)| code(text)).collect();
        for service in ["a", "b"] {
            let codes: Vec<_> = taken.iter().filter(|(of, _)| of == service).map(|(_, code)| *code).collect();
            assert_eq!(codes, [1, 2, 3, 4, 5], "{service}");
        }
        play.event("send", "crash", "a", json!({"code": 6}));
        pass(1).await;
        assert_eq!(code(&play.sent().last().expect("one").1).1, 6);
        let status = play.command("status").await.expect("status");
        assert_eq!((&status["waiting"], &status["sent"], &status["dropped"]), (&json!(0), &json!(11), &json!(0)), "{status}");
        assert!(play.failures().is_empty(), "{:?}", play.failures());
    });
}

#[test]
fn what_waits_outlives_the_host_and_is_given_up_after_keep_for() {
    scene(async |dir| {
        let play = load("", dir, Box::new(|_, _| refused()));
        for code in 1..=3 {
            play.event("send", "crash", "a", json!({"code": code}));
        }
        pass(10).await;
        drop(play);
        let play = load("", dir, Box::new(|_, _| reply(204, None, "")));
        pass(1).await;
        let codes: Vec<_> = play.sent().iter().map(|(_, text)| code(text).1).collect();
        assert_eq!(codes, [1, 2, 3]);
        drop(play);
        let play = load("keep_for: 1h", dir, Box::new(|_, _| refused()));
        pass(1).await;
        assert!(play.sent().is_empty(), "they were taken");
        play.event("send", "crash", "a", json!({"code": 1}));
        pass(3000).await;
        assert_eq!(play.command("status").await.expect("status")["waiting"], 1);
        pass(1000).await;
        let status = play.command("status").await.expect("status");
        assert_eq!((&status["waiting"], &status["dropped"]), (&json!(0), &json!(1)), "{status}");
        assert!(play.world.logged.borrow().iter().any(|line| line.contains("event b-1 was not taken in time")));
    });
}

#[test]
fn what_waits_is_bounded_and_the_oldest_go_first() {
    scene(async |dir| {
        let is_up = Rc::new(Cell::new(false));
        let up = Rc::clone(&is_up);
        let settings = "max_bytes: 30K";
        let play = load(settings, dir, Box::new(move |_, _| if up.get() { reply(200, None, "") } else { refused() }));
        let line = "x".repeat(28_000);
        for code in 0..45 {
            play.event("send", "crash", if code % 2 == 0 { "a" } else { "b" }, json!({"code": code, "log_tail": [line]}));
            pass(1).await;
        }
        let status = play.command("status").await.expect("status");
        let waiting = status["waiting"].as_u64().expect("a number");
        assert!((30..40).contains(&waiting), "1 MiB of 28 KB each: {status}");
        assert_eq!(status["dropped"].as_u64(), Some(45 - waiting));
        let before = play.sent().len();
        is_up.set(true);
        pass(301).await;
        let mut codes: Vec<_> = play.sent()[before..].iter().map(|(_, text)| code(text).1).collect();
        codes.sort_unstable();
        assert_eq!(codes, (45 - i64::try_from(waiting).expect("few")..45).collect::<Vec<_>>());
    });
}

#[test]
fn retry_after_is_obeyed_and_what_is_refused_is_not_tried_again() {
    scene(async |dir| {
        let answers: Answerer = Box::new(|number, _| match number {
            0 => reply(429, Some(("retry-after", "120")), ""),
            1 | 3 => reply(200, None, ""),
            _ => reply(404, None, ""),
        });
        let play = load("", dir, answers);
        play.event("send", "crash", "a", json!({"code": 1}));
        pass(200).await;
        let times: Vec<_> = play.sent().iter().map(|(at, _)| *at).collect();
        assert!(times.len() == 2 && (120_000..121_000).contains(&(times[1] - times[0])), "{times:?}");
        play.event("send", "crash", "a", json!({"code": 2}));
        play.event("send", "crash", "a", json!({"code": 3}));
        pass(3600).await;
        assert_eq!(play.sent().len(), 4);
        assert_eq!(play.failures(), ["the receiver answered 404"]);
    });
}

/// As it stands in RFC 9110 section 10.2.3: a date is as good as seconds; what is neither, or past, asks for nothing.
#[test]
fn retry_after_may_be_a_date() {
    for (value, least, most) in [
        ("Thu, 01 Jan 2026 00:02:00 GMT", 119_000, 121_000),
        ("Fri, 02 Jan 2026 00:00:00 GMT", 3_599_000, 3_601_000),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0, 1_100),
        ("Thu, 01 Jan 2026", 0, 1_100),
        ("nan", 0, 1_100),
    ] {
        scene(async |dir| {
            let answers: Answerer =
                Box::new(
                    move |number, _| {
                        if number == 0 { reply(503, Some(("retry-after", value)), "") } else { reply(200, None, "") }
                    },
                );
            let play = load("", dir, answers);
            play.event("send", "crash", "a", json!({"code": 1}));
            pass(7200).await;
            let times: Vec<_> = play.sent().iter().map(|(at, _)| *at).collect();
            assert!(times.len() == 2 && (least..most).contains(&(times[1] - times[0])), "{value}: {times:?}");
        });
    }
}

#[test]
fn a_receiver_that_is_gone_is_left_alone_until_it_is_loaded_anew() {
    scene(async |dir| {
        let play = load("", dir, Box::new(|number, _| if number < 2 { refused() } else { reply(410, None, "") }));
        for service in ["a", "b", "a"] {
            play.event("send", "crash", service, json!({"code": 1}));
        }
        pass(3600).await;
        assert_eq!(play.sent().len(), 3);
        play.event("send", "crash", "a", json!({"code": 2}));
        pass(3600).await;
        assert_eq!(play.sent().len(), 3);
        let status = play.command("status").await.expect("status");
        assert_eq!((&status["gone"], &status["waiting"], &status["dropped"]), (&json!(true), &json!(0), &json!(4)), "{status}");
        drop(play);
        let play = load("", dir, Box::new(|_, _| reply(200, None, "")));
        play.event("send", "crash", "a", json!({"code": 3}));
        pass(10).await;
        assert_eq!(play.sent().iter().map(|(_, text)| code(text).1).collect::<Vec<_>>(), [3]);
    });
}

#[test]
fn a_key_that_is_none_is_said_at_load_and_what_it_should_sign_is_kept() {
    scene(async |dir| {
        let play = load("sign: [s, bad]", dir, Box::new(|_, _| refused()));
        let said = "error: the secret `bad` is no signing key: this is not Base64";
        assert_eq!(play.world.logged.borrow()[..], [said]);
        play.event("send", "crash", "a", json!({"code": 1}));
        pass(60).await;
        assert!(play.sent().is_empty(), "sent without a signature");
        assert_eq!(play.command("status").await.expect("status")["waiting"], 1);
    });
}

#[test]
fn headers_can_be_secrets() {
    scene(async |dir| {
        let play =
            load("secret_headers: {X-Key: s}, headers: {X-Mine: \"5\"}, token: t", dir, Box::new(|_, _| reply(200, None, "")));
        play.event("send", "crash", "a", json!({"code": 1}));
        pass(1).await;
        let requests = play.world.requests.borrow();
        let headers = &requests[0].1.headers;
        for (name, value) in [("X-Key", "secret-s"), ("X-Mine", "5"), ("Authorization", "Bearer secret-t"), ("webhook-id", "b-1")]
        {
            assert!(headers.iter().any(|(known, given)| known == name && given == value), "{name}");
        }
    });
}
