//! `chat`: how many messages a storm makes, what they say, and what the four services are sent.

use serde_json::{Value, json};

use super::{Answerer, Play, pass, refused, reply, scene, silent};
use crate::value::json;

const TELEGRAM: &str = "kind: telegram, token: t, chat: -100";
const DISCORD: &str = "kind: discord, url: \"https://discord.com/api/webhooks/1/x\"";
const SLACK: &str = "kind: slack, url: \"https://hooks.slack.com/services/T/B/X\"";
const NTFY: &str = "kind: ntfy, topic: ops, token: t";

fn load(settings: &str, dir: &std::path::Path, answerer: Answerer) -> Play {
    Play::load("chat", settings, dir, answerer).expect("loaded")
}

fn fine() -> Answerer {
    Box::new(|_, _| reply(200, None, "{\"ok\":true}"))
}

fn service(name: &str, state: &str, crashes: u32) -> Value {
    json!({"name": name, "state": state, "crashes": crashes})
}

/// The text of a message to telegram: the title is its first line.
fn text(body: &str) -> String {
    json::from_str::<Value>(body).expect("JSON")["text"].as_str().expect("a text").to_owned()
}

#[test]
fn a_storm_of_200_crashes_is_three_messages_at_most_and_the_last_says_what_is_still_down() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, fine());
        let name = |number: usize| format!("s{number:02}");
        // 200 crashes of 20 services in a minute; half of the services give up at the end of it.
        for crash in 0..200 {
            let data = json!({"code": 1, "crashes": crash / 20 + 1, "next": "backoff", "log_tail": ["boom"]});
            play.event("collect", "crash", &name(crash % 20), data);
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
        for number in 0..10 {
            play.event("collect", "gave_up", &name(number), json!({"crashes": 10, "code": 1}));
        }
        let state = |number| if number < 10 { "failed" } else { "running" };
        let all: Vec<_> = (0..20).map(|number| service(&name(number), state(number), 10)).collect();
        *play.world.services.borrow_mut() = json!(all);
        pass(7200).await;
        let sent = play.sent();
        assert!((1..=3).contains(&sent.len()), "{} messages", sent.len());
        let last = text(&sent.last().expect("one").1);
        let down: Vec<_> = (0..10).map(name).collect();
        assert!(last.contains(&format!("still down (10): {}\n", down.join(", "))), "{last}");
        assert!(last.contains("next: 0 start again by themselves, 10 stay down"), "{last}");
        // Nothing is counted twice or forgotten.
        let crashes: u64 = sent
            .iter()
            .map(|(_, body)| {
                text(body).split("how often: ").nth(1).expect("a count").split(' ').next().expect("a number").parse::<u64>()
            })
            .sum::<Result<_, _>>()
            .expect("numbers");
        assert_eq!(crashes, 200);
    });
}

#[test]
fn a_loop_that_does_not_end_is_told_less_and_less_often() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, fine());
        *play.world.services.borrow_mut() = json!([service("web", "backoff", 3)]);
        for _ in 0..720 {
            play.event("collect", "crash", "web", json!({"code": 1}));
            pass(60).await;
        }
        // In the first hour after 0.5, 1, 2, 4, ... minutes, then every hour.
        let sent = play.sent();
        assert!((15..25).contains(&sent.len()), "{} messages in 12 hours", sent.len());
        // Calm again: the next storm is told as fast as the first.
        pass(3 * 3600).await;
        let before = play.sent().len();
        for _ in 0..2 {
            play.event("collect", "crash", "web", json!({"code": 1}));
            pass(60).await;
        }
        assert_eq!(play.sent().len(), before + 2);
    });
}

#[test]
fn every_message_has_the_same_parts_in_the_same_order() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, fine());
        let mut view = service("web", "backoff", 3);
        view["next_start_at"] = json!("2026-01-01T00:01:00Z");
        *play.world.services.borrow_mut() = json!([view, service("db", "running", 0)]);
        for _ in 0..3 {
            let tail = ["one", "two", "three", "four", "five", "six\u{1b}[31m"];
            play.event("collect", "crash", "web", json!({"signal": "SIGSEGV", "core": true, "oom": false, "log_tail": tail}));
            pass(1).await;
        }
        pass(20).await;
        let [(_, body)] = &play.sent()[..] else { panic!("{:?}", play.sent()) };
        assert_eq!(
            text(body),
            "box1: web crashed\n\
             what: web crashed\n\
             still down (1): web\n\
             where: box1\n\
             since: 2026-01-01 00:00:00 UTC (12s ago)\n\
             how often: 3 crashes, 3 events\n\
             why: signal SIGSEGV, core dumped\n  | two\n  | three\n  | four\n  | five\n  | six [31m\n\
             next: starts again at 2026-01-01T00:01:00Z\n\
             run: section3 tail -n 50 web"
        );
        *play.world.services.borrow_mut() = json!([service("web", "running", 0), service("db", "running", 0)]);
        play.event("collect", "recovered", "web", json!({"crashes": 3, "down_ms": 5000}));
        pass(60).await;
        let told = text(&play.sent()[1].1);
        assert!(told.starts_with("box1: web recovered\nwhat: web recovered\nnothing is down now\n"), "{told}");
        assert!(told.contains("\nnext: nothing, it is running\n"), "{told}");
    });
}

#[test]
fn the_message_on_the_page_is_one() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, fine());
        let mut view = service("web", "backoff", 3);
        view["next_start_at"] = json!("2026-01-01T00:01:00Z");
        *play.world.services.borrow_mut() = json!([view]);
        for _ in 0..3 {
            let tail = ["the last lines of its log"];
            play.event("collect", "crash", "web", json!({"signal": "SIGSEGV", "core": true, "log_tail": tail}));
            pass(1).await;
        }
        pass(20).await;
        let told = text(&play.sent()[0].1);
        let page = include_str!("../../../../plugins/chat/README.md");
        let (_, block) = page.split_once("```text\n").expect("a message");
        let (block, _) = block.split_once("\n```").expect("its end");
        assert_eq!(told, format!("box1: web crashed\n{block}"));
    });
}

#[test]
fn why_a_service_ended_and_what_becomes_of_it() {
    for (kind, data, view, why, next) in [
        (
            "crash",
            json!({"code": 3}),
            json!({"state": "running", "crashes": 1}),
            "exit 3",
            "running again, not yet counted as recovered",
        ),
        (
            "crash",
            json!({"signal": "SIGKILL", "oom": true}),
            json!({"state": "backoff"}),
            "out of memory (SIGKILL)",
            "starts again",
        ),
        ("gave_up", json!({"code": 1, "crashes": 9}), json!({"state": "failed"}), "exit 1", "stays down until it is started"),
        (
            "crash",
            json!({"stage": "exec", "message": "no such file: /x"}),
            json!({"state": "failed"}),
            "no such file: /x",
            "stays down until it is started",
        ),
        (
            "hold",
            json!({"by": "hook:h", "reason": "deploy"}),
            json!({"state": "stopped", "hold": {"by": "hook:h", "reason": "deploy", "until": "T"}}),
            "deploy",
            "held by hook:h until T",
        ),
        (
            "health",
            json!({"check": "http", "from": "healthy", "to": "unhealthy", "failures": 3, "output": "503"}),
            json!({"state": "running", "health": "unhealthy"}),
            "unhealthy: 503",
            "running, unhealthy",
        ),
    ] {
        scene(async |dir| {
            let play = load(TELEGRAM, dir, fine());
            let mut view = view.clone();
            view["name"] = json!("web");
            view["crashes"] = json!(view["crashes"].as_u64().unwrap_or(0));
            *play.world.services.borrow_mut() = json!([view]);
            play.event("collect", kind, "web", data.clone());
            pass(60).await;
            let told = text(&play.sent()[0].1);
            assert!(told.contains(&format!("\nwhy: {why}\n")) && told.contains(&format!("\nnext: {next}\n")), "{told}");
            assert!(play.failures().is_empty(), "{:?}", play.failures());
        });
    }
}

/// A hundred services with the worst names and lines, and what one of the four is sent.
fn worst(settings: &str) -> Value {
    let mut body = Value::Null;
    scene(async |dir| {
        let play = load(settings, dir, fine());
        let name = |number: usize| format!("{}_{number:03}", "n".repeat(56));
        let line = "``` <!channel> @everyone *b* _i_ [x](http://x) &amp; \u{1F4A5}\u{0000}\n".repeat(5);
        for number in 0..100 {
            play.event("collect", "crash", &name(number), json!({"code": 1, "log_tail": [line, line, line, line, line, line]}));
        }
        let all: Vec<_> = (0..100).map(|number| service(&name(number), "failed", 9)).collect();
        *play.world.services.borrow_mut() = json!(all);
        pass(60).await;
        let [(_, sent)] = &play.sent()[..] else { panic!("{} messages", play.sent().len()) };
        body = json::from_str(sent).expect("JSON");
    });
    body
}

#[test]
fn no_message_is_longer_than_its_service_takes_and_nothing_in_it_is_markup() {
    let utf16 = |text: &Value| text.as_str().expect("a text").encode_utf16().count();
    let end = "run: section3 status";

    let telegram = worst(TELEGRAM);
    let text = telegram["text"].as_str().expect("a text");
    assert!((3000..=4096).contains(&utf16(&telegram["text"])) && text.ends_with(end), "{text}");
    assert!(telegram["parse_mode"].is_null());
    let entity = &telegram["entities"][0];
    let title = text.lines().next().expect("a title").encode_utf16().count();
    assert_eq!(entity["type"], "pre");
    assert_eq!(entity["offset"].as_u64(), Some(title as u64 + 1));
    assert_eq!(entity["length"].as_u64(), Some((utf16(&telegram["text"]) - title - 1) as u64));

    let slack = worst(SLACK);
    for (block, most) in [(0, 150), (1, 3000)] {
        let text = &slack["blocks"][block]["text"];
        assert_eq!(text["type"], "plain_text");
        assert!(utf16(&text["text"]) <= most, "{text}");
    }
    assert!(slack["blocks"][1]["text"]["text"].as_str().is_some_and(|text| text.ends_with(end)), "{slack}");
    let short = slack["text"].as_str().expect("a text");
    assert!(!short.contains(['<', '>']) && short.len() < 4000, "{short}");

    let discord = worst(DISCORD);
    let content = discord["content"].as_str().expect("a text");
    assert!((1000..=2000).contains(&utf16(&discord["content"])), "{content}");
    assert_eq!(discord["allowed_mentions"], json!({"parse": []}));
    // The block begins once and ends once.
    assert_eq!(content.matches("```").count(), 2);
    assert!(content.ends_with(&format!("{end}\n```")), "{content}");

    let ntfy = worst(NTFY);
    assert!(ntfy["message"].as_str().is_some_and(|text| text.len() <= 4096 && text.ends_with(end)), "{ntfy}");
    assert!(ntfy["markdown"].is_null());
    assert_eq!((&ntfy["topic"], &ntfy["priority"], &ntfy["tags"]), (&json!("ops"), &json!(4), &json!(["warning"])));
}

#[test]
fn slack_reads_no_markup_in_the_title() {
    scene(async |dir| {
        let play = load(&format!("{SLACK}, events: [reload_failed]"), dir, fine());
        play.event("collect", "reload_failed", "", json!({"errors": ["<!channel> & more"]}));
        pass(60).await;
        let body: Value = json::from_str(&play.sent()[0].1).expect("JSON");
        assert!(!body["text"].as_str().expect("a text").contains("<!"), "{body}");
    });
}

#[test]
fn a_wait_that_is_asked_for_is_obeyed() {
    for (settings, header, body, wait) in [
        (TELEGRAM, None, "{\"ok\":false,\"parameters\":{\"retry_after\":77}}", 77_000),
        (DISCORD, Some(("retry-after", "5")), "{\"message\":\"slow down\",\"retry_after\":64.5,\"global\":false}", 64_500),
        (SLACK, Some(("retry-after", "30")), "rate_limited", 30_000),
        (NTFY, Some(("retry-after", "soon")), "", 500),
        (NTFY, None, "{\"code\":42901,\"http\":429}", 500),
    ] {
        scene(async |dir| {
            let answers: Answerer =
                Box::new(move |number, _| if number == 0 { reply(429, header, body) } else { reply(200, None, "") });
            let play = load(settings, dir, answers);
            play.event("collect", "crash", "web", json!({"code": 1}));
            pass(600).await;
            let times: Vec<_> = play.sent().iter().map(|(at, _)| *at).collect();
            assert!(times.len() == 2 && (wait..wait + 1000).contains(&(times[1] - times[0])), "{settings}: {times:?}");
        });
    }
}

#[test]
fn a_wait_may_be_asked_for_as_a_date() {
    // The first second of 2026 is when the scene begins; nobody is waited for longer than an hour.
    for (value, second_at) in [("Thu, 01 Jan 2026 00:05:00 GMT", 300_000), ("Sat, 03 Jan 2026 00:00:00 GMT", 3_600_000)] {
        scene(async |dir| {
            let header = Some(("retry-after", value));
            let answers: Answerer = Box::new(move |number, _| reply(if number == 0 { 429 } else { 200 }, header, ""));
            let play = load(SLACK, dir, answers);
            play.event("collect", "crash", "web", json!({"code": 1}));
            pass(7200).await;
            let times: Vec<_> = play.sent().iter().map(|(at, _)| *at).collect();
            assert!(times.len() == 2 && (second_at - 1000..second_at + 60_000).contains(&times[1]), "{value}: {times:?}");
        });
    }
}

#[test]
fn what_cannot_be_sent_is_part_of_the_next_message_and_outlives_the_host() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, Box::new(|_, _| refused()));
        for _ in 0..30 {
            play.event("collect", "crash", "web", json!({"code": 1}));
            pass(60).await;
        }
        assert!(play.sent().len() < 60, "{}", play.sent().len());
        assert_eq!(play.command("status").await.expect("status")["waiting"], 30);
        drop(play);
        let play = load(TELEGRAM, dir, fine());
        pass(60).await;
        let [(_, body)] = &play.sent()[..] else { panic!("{:?}", play.sent()) };
        assert!(
            text(body).contains("how often: 30 crashes, 30 events\nthis is late: cannot reach h: connection refused\n"),
            "{body}"
        );
        drop(play);
        let play = load(TELEGRAM, dir, fine());
        pass(600).await;
        assert!(play.sent().is_empty(), "told twice");
    });
}

#[test]
fn what_was_under_way_when_the_host_ended_is_told_again_and_counted_once() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, Box::new(|_, _| silent()));
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(60).await;
        assert_eq!(play.sent().len(), 1, "under way");
        drop(play);
        // The next host hears of more before it sends, and ends as well.
        for _ in 0..3 {
            let play = load(TELEGRAM, dir, fine());
            play.event("collect", "crash", "web", json!({"code": 1}));
            pass(2).await;
            assert!(play.sent().is_empty(), "too early");
            drop(play);
        }
        let play = load(TELEGRAM, dir, fine());
        pass(60).await;
        let [(_, body)] = &play.sent()[..] else { panic!("{:?}", play.sent()) };
        assert!(text(body).contains("how often: 4 crashes, 4 events\n"), "{body}");
    });
}

#[test]
fn a_run_that_a_limit_ends_is_not_the_last_one() {
    scene(async |dir| {
        let play =
            load(TELEGRAM, dir, Box::new(|number, _| if number == 0 { silent() } else { reply(200, None, "{\"ok\":true}") }));
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(60).await;
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(1800).await;
        assert!(play.failures().iter().any(|why| why.contains("took longer than 10m")), "{:?}", play.failures());
        let [_, (_, body)] = &play.sent()[..] else { panic!("{:?}", play.sent()) };
        assert!(text(body).contains("how often: 2 crashes, 2 events\n"), "{body}");
        assert_eq!(play.command("status").await.expect("status")["waiting"], 0);
    });
}

#[test]
fn a_wrong_token_is_said_and_tried_once_an_hour_for_a_day() {
    scene(async |dir| {
        let answers: Answerer = Box::new(|_, _| reply(401, None, "{\"ok\":false,\"description\":\"Unauthorized\"}"));
        let play = load(TELEGRAM, dir, answers);
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(3 * 24 * 3600).await;
        assert!((24..=26).contains(&play.sent().len()), "{}", play.sent().len());
        let logged = play.world.logged.borrow().clone();
        assert!(
            logged.len() == 2 && logged[1].starts_with("error: a message of 1 events was not sent: telegram answered 401"),
            "{logged:?}"
        );
        assert!(!logged.join("").contains("secret-t"));
    });
}

#[test]
fn what_belongs_together_is_said_at_load() {
    scene(async |dir| {
        for (settings, expected) in [
            ("kind: telegram, token: t", "`kind: telegram` needs `chat`"),
            ("kind: ntfy", "`kind: ntfy` needs `topic`"),
            ("kind: slack", "`kind: slack` needs `address`"),
        ] {
            let said = Play::load("chat", settings, dir, fine()).err().expect("not loaded").message;
            assert!(said.contains(expected), "{said}");
        }
    });
}
