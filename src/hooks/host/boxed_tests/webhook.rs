//! `webhook` over hours: order, waits, bounds.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Answerer, IoFault, Play, pass, refused, reply, scene, silent};
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
        ("Wed, 31 Dec 2025 00:00:00 GMT", 500, 1_100),
        ("0", 500, 1_100),
        ("Thu, 01 Jan 2026", 500, 1_100),
        ("nan", 500, 1_100),
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

/// The value of a header of the first request, which must have it once.
#[track_caller]
fn header(play: &Play, name: &str) -> String {
    let requests = play.world.requests.borrow();
    let found: Vec<_> = requests[0].1.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).collect();
    assert!(found.len() == 1, "{name}: {found:?}");
    found[0].1.clone()
}

#[test]
fn headers_can_be_secrets_and_those_of_the_plugin_are_its_own() {
    scene(async |dir| {
        let plain = "X-Key: plain, X-Mine: \"5\", authorization: a, CONTENT-TYPE: b, Idempotency-Key: c, Webhook-Id: d, \
                     Webhook-Signature: e, Webhook-Timestamp: f";
        let settings = format!("secret_headers: {{x-key: s}}, headers: {{{plain}}}, token: t, sign: [s]");
        let play = load(&settings, dir, Box::new(|_, _| reply(200, None, "")));
        pass(100).await;
        play.event("send", "crash", "a", json!({"code": 1}));
        pass(1).await;
        for (name, value) in [
            ("X-Key", "secret-s"),
            ("X-Mine", "5"),
            ("Authorization", "Bearer secret-t"),
            ("Content-Type", "application/json"),
            ("Idempotency-Key", "b-1"),
            ("webhook-id", "b-1"),
            // A receiver refuses what was signed long ago.
            ("webhook-timestamp", "1767225700"),
        ] {
            assert_eq!(header(&play, name), value, "{name}");
        }
        assert!(header(&play, "webhook-signature").starts_with("v1,"));
        assert_eq!(play.world.requests.borrow()[0].1.timeout, Duration::from_secs(10));
    });
}

/// What a receiver is sent of a crash with these data.
fn sent_of(data: &Value) -> Value {
    let mut body = String::new();
    scene(async |dir| {
        let play = load("max_bytes: 2K", dir, Box::new(|_, _| reply(200, None, "")));
        play.event("send", "crash", "a", data.clone());
        pass(1).await;
        assert!(play.failures().is_empty(), "{:?}", play.failures());
        body.clone_from(&play.sent()[0].1);
    });
    assert!(body.len() <= 2048, "{} bytes", body.len());
    json::from_str(&body).expect("JSON")
}

#[test]
fn a_body_that_is_too_long_loses_its_oldest_lines_and_no_more_than_it_must() {
    let line = |number: usize| format!("{number} {}", "x".repeat(200));
    let lines: Vec<_> = (0..20).map(line).collect();
    let sent = sent_of(&json!({"code": 3, "list": ["a", "b"], "log_tail": lines}));
    assert_eq!((&sent["data"]["code"], &sent["data"]["list"]), (&json!(3), &json!(["a", "b"])));
    // Eight of them would fit; a quarter goes at a time.
    let kept = sent["data"]["log_tail"].as_array().expect("a list").len();
    assert!((6..=8).contains(&kept), "{kept} lines are left");
    assert_eq!(sent["data"]["log_tail"], json!(lines[20 - kept..]));

    let sent = sent_of(&json!({"code": 3, "log_tail": ["x".repeat(5000)]}));
    assert_eq!(sent["data"], json!({"code": 3, "log_tail": []}));

    for log_tail in [json!(null), json!(["short"])] {
        let sent = sent_of(&json!({"message": "x".repeat(5000), "log_tail": log_tail}));
        assert_eq!((&sent["data"], &sent["service"]), (&json!({"truncated": true}), &json!("a")));
    }
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_is_refused() {
    let fault = |retryable| Err(IoFault { code: "tls", message: "no".to_owned(), retryable });
    let answers = [408, 425, 429, 500, 502, 503, 504].map(|status| (reply(status, None, ""), true)).into_iter();
    let refusals = [301, 304, 400, 401, 403, 404, 413].map(|status| (reply(status, None, ""), false));
    for (answer, may_pass) in answers.chain(refusals).chain([(fault(true), true), (fault(false), false)]) {
        scene(async |dir| {
            let first = answer.clone();
            let play = load("", dir, Box::new(move |number, _| if number == 0 { first.clone() } else { reply(200, None, "") }));
            play.event("send", "crash", "a", json!({"code": 1}));
            pass(60).await;
            let status = play.command("status").await.expect("status");
            let told = (play.sent().len(), play.failures().len(), status["sent"].as_u64());
            assert_eq!(told, if may_pass { (2, 0, Some(1)) } else { (1, 1, Some(0)) }, "{answer:?}");
            assert_eq!(status["waiting"], 0);
            let counted = answer.as_ref().is_ok_and(|_| !may_pass);
            assert_eq!(status["refused"], json!(u32::from(counted)), "{answer:?}");
        });
    }
}

#[test]
fn an_event_that_is_delivered_again_waits_once() {
    scene(async |dir| {
        let play = load("", dir, Box::new(|_, _| refused()));
        for _ in 0..3 {
            play.events.set(0);
            play.event("send", "crash", "a", json!({"code": 1}));
            pass(1).await;
        }
        assert_eq!(play.command("status").await.expect("status")["waiting"], 1);
    });
}

#[test]
fn what_waits_is_in_order_however_often_the_host_ends() {
    scene(async |dir| {
        for service in ["a", "b", "c"] {
            let play = load("", dir, Box::new(|_, _| refused()));
            // The numbers of events begin anew with each play; the last ones stand for the service here.
            play.events.set(100 * u64::from(service.as_bytes()[0]));
            for code in 1..=2 {
                play.event("send", "crash", service, json!({"code": code}));
                pass(1).await;
            }
            drop(play);
        }
        let play = load("", dir, Box::new(|_, _| reply(200, None, "")));
        pass(1).await;
        let mut codes: Vec<_> = play.sent().iter().map(|(_, text)| code(text)).collect();
        codes.sort();
        let all = ["a", "b", "c"].into_iter().flat_map(|service| [1, 2].map(|code| (service.to_owned(), code)));
        assert_eq!(codes, all.collect::<Vec<_>>());
        drop(play);
        assert!(load("", dir, Box::new(|_, _| reply(200, None, ""))).sent().is_empty(), "sent twice");
    });
}

/// Events of 28 KB: 1 MiB holds some 36 of them.
fn large(code: usize) -> Value {
    json!({"code": code, "log_tail": ["x".repeat(28_000)]})
}

#[test]
fn what_is_on_its_way_is_not_what_makes_room() {
    scene(async |dir| {
        // The second request, which is the first of `a` again, is never answered.
        let answers: Answerer = Box::new(|number, _| if number == 1 { silent() } else { refused() });
        let play = load("max_bytes: 30K", dir, answers);
        play.event("send", "crash", "a", large(1));
        pass(5).await;
        for code in 2..45 {
            play.event("send", "crash", "b", large(code));
            pass(1).await;
        }
        assert!(play.command("status").await.expect("status")["dropped"].as_u64() > Some(5));
        drop(play);
        let play = load("max_bytes: 30K", dir, Box::new(|_, _| reply(200, None, "")));
        pass(1).await;
        assert!(play.sent().iter().any(|(_, text)| code(text) == ("a".to_owned(), 1)), "it was dropped");
    });
}

#[test]
fn where_nothing_can_make_room_an_event_waits_in_memory() {
    scene(async |dir| {
        let answers: Answerer = Box::new(|number, _| if number == 0 { refused() } else { reply(200, None, "") });
        let play = load("max_bytes: 30K, keep_for: 1d", dir, answers);
        play.event("send", "crash", "a", large(1));
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The first one is on its way again while the others come.
        play.world.takes.set(Duration::from_secs(600));
        pass(5).await;
        for code in 2..=40 {
            play.event("send", "crash", "a", large(code));
        }
        pass(100).await;
        assert_eq!(play.sent().len(), 2, "under way");
        play.world.takes.set(Duration::from_millis(5));
        pass(600).await;
        let codes: Vec<_> = play.sent()[1..].iter().map(|(_, text)| code(text).1).collect();
        assert_eq!(codes, (1..=40).collect::<Vec<_>>(), "all of them, each once");
        let warned = play.world.logged.borrow().iter().filter(|line| line.contains("is kept in memory only")).count();
        assert!((2..10).contains(&warned), "{warned}");
        assert!(play.failures().is_empty(), "{:?}", play.failures());
    });
}

#[test]
fn who_made_room_for_its_own_next_event_still_sends_that() {
    let mut room = 0;
    scene(async |dir| {
        let play = load("max_bytes: 30K", dir, Box::new(|_, _| refused()));
        while play.command("status").await.expect("status")["waiting"] == json!(room) {
            room += 1;
            play.event("send", "crash", "b", large(100 + room));
            pass(1).await;
        }
        room -= 1;
    });
    scene(async |dir| {
        let is_up = Rc::new(Cell::new(false));
        let up = Rc::clone(&is_up);
        let play = load("max_bytes: 30K", dir, Box::new(move |_, _| if up.get() { reply(200, None, "") } else { refused() }));
        for number in 0..=room {
            // It is full before the last one, and its oldest is the only one of its queue.
            let service = if number == 0 || number == room { "a" } else { "b" };
            play.event("send", "crash", service, large(100 + number));
            pass(1).await;
        }
        let status = play.command("status").await.expect("status");
        assert_eq!((&status["dropped"], &status["waiting"]), (&json!(1), &json!(room)), "{status}");
        let before = play.sent().len();
        is_up.set(true);
        pass(900).await;
        let taken: Vec<_> = play.sent()[before..].iter().map(|(_, text)| code(text)).collect();
        assert!(taken.contains(&("a".to_owned(), 100 + i64::try_from(room).expect("few"))), "{taken:?}");
        assert_eq!(taken.len(), room, "{taken:?}");
    });
}

#[test]
fn a_slow_receiver_is_sent_a_long_queue_in_turns() {
    scene(async |dir| {
        let play = load("", dir, Box::new(|number, _| if number == 0 { refused() } else { reply(200, None, "") }));
        play.event("send", "crash", "a", json!({"code": 1}));
        play.world.takes.set(Duration::from_secs(50));
        for code in 2..=30 {
            play.event("send", "crash", "a", json!({"code": code}));
            pass(1).await;
        }
        pass(3600).await;
        let codes: Vec<_> = play.sent()[1..].iter().map(|(_, text)| code(text).1).collect();
        assert_eq!(codes, (1..=30).collect::<Vec<_>>());
        // A run of more than 10 minutes would have been ended in the middle.
        assert!(play.failures().is_empty(), "{:?}", play.failures());
    });
}

#[test]
fn no_more_than_four_queues_are_sent_from_at_once_and_none_waits_for_ever() {
    scene(async |dir| {
        let play = load("", dir, Box::new(|number, _| if number < 9 { refused() } else { reply(200, None, "") }));
        for number in 0..9 {
            play.event("send", "crash", &format!("s{number}"), json!({"code": number}));
        }
        pass(0).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(play.sent().len(), 9);
        play.world.takes.set(Duration::from_secs(20));
        pass(10).await;
        assert_eq!(play.sent().len(), 9 + 4);
        pass(20).await;
        assert_eq!(play.sent().len(), 9 + 8);
        pass(60).await;
        assert_eq!((play.sent().len(), &play.command("status").await.expect("status")["waiting"]), (18, &json!(0)));
    });
}

/// Others are tried as soon as the receiver took one, but not one that was asked to wait.
#[test]
fn a_receiver_that_is_back_is_back_for_all_but_what_it_wants_later() {
    scene(async |dir| {
        let answers: Answerer = Box::new(|number, _| match number {
            0 => reply(429, Some(("retry-after", "1000")), ""),
            1..=4 => refused(),
            _ => reply(200, None, ""),
        });
        let play = load("retry: 5m", dir, answers);
        for service in ["asked", "a", "b", "c", "d"] {
            play.event("send", "crash", service, json!({"code": 1}));
            pass(1).await;
        }
        pass(1100).await;
        let times: Vec<_> = play.sent()[5..].iter().map(|(at, text)| (*at, code(text).0)).collect();
        assert_eq!(times.len(), 5, "{times:?}");
        assert!(times[3].0 - times[0].0 < 1000, "{times:?}");
        assert!(times[4].1 == "asked" && (1_000_000..1_001_500).contains(&times[4].0), "{times:?}");
    });
}

#[test]
fn what_is_refused_later_is_said_and_the_next_one_begins_anew() {
    scene(async |dir| {
        let answers: Answerer = Box::new(|number, _| match number {
            6 => reply(404, None, ""),
            13 => reply(200, None, ""),
            14 => refused(),
            15.. => reply(200, None, ""),
            _ => refused(),
        });
        let play = load("", dir, answers);
        for code in 1..=3 {
            play.event("send", "crash", "a", json!({"code": code}));
            pass(1).await;
        }
        pass(3600).await;
        let said = "error: event b-1: the receiver answered 404";
        assert!(play.world.logged.borrow().iter().any(|line| line == said), "{:?}", play.world.logged.borrow());
        let sent: Vec<_> = play.sent().iter().map(|(at, text)| (*at, code(text).1)).collect();
        assert_eq!(sent.iter().map(|(_, code)| *code).collect::<Vec<_>>(), [[1; 7].as_slice(), &[2; 7], &[3; 2]].concat());
        // The last one has failed once, and its queue six times before.
        assert!(sent[15].0 - sent[14].0 < 1100, "{sent:?}");
    });
}

#[test]
fn what_is_under_way_when_the_receiver_is_gone_is_no_error() {
    scene(async |dir| {
        let answers: Answerer = Box::new(|number, _| match number {
            0 | 1 => refused(),
            2 => reply(200, None, ""),
            _ => reply(410, None, ""),
        });
        let play = load("", dir, answers);
        for service in ["a", "b"] {
            play.event("send", "crash", service, json!({"code": 1}));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        play.world.takes.set(Duration::from_secs(20));
        while play.sent().len() < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        play.world.takes.set(Duration::from_millis(5));
        pass(60).await;
        let status = play.command("status").await.expect("status");
        assert_eq!((play.sent().len(), &status["gone"], &status["waiting"]), (4, &json!(true), &json!(0)), "{status}");
        assert!(!play.world.logged.borrow().iter().any(|line| line.contains("attempt to")), "{:?}", play.world.logged.borrow());
    });
}
