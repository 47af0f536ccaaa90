//! `chat`: how many messages a storm makes, what they say, and what the four services are sent.

mod answers;

use std::time::Duration;

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

/// Fails the first so many times, with answers that take as long as the play says.
fn failing(times: usize) -> Answerer {
    Box::new(move |number, _| if number < times { refused() } else { reply(200, None, "") })
}

#[test]
fn what_comes_while_a_message_fails_is_told_in_one_with_it() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, failing(1));
        play.world.takes.set(Duration::from_secs(5));
        play.event("collect", "crash", "web", json!({"code": 3, "log_tail": ["boom"]}));
        play.event("collect", "crash", "web", json!({"code": 3, "log_tail": ["boom"]}));
        pass(12).await;
        assert_eq!(play.sent().len(), 1, "under way");
        play.count.set(7);
        play.event("collect", "crash", "web", json!({}));
        pass(60).await;
        let told = text(&play.sent()[1].1);
        for part in ["since: 2026-01-01 00:00:00 UTC", "how often: 9 crashes, 9 events", "why: exit 3\n  | boom\n"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("this is late"), "{told}");
    });
}

#[test]
fn what_is_kept_in_mind_of_a_storm_is_bounded() {
    // All at once, and the second half while the first is under way.
    for (first, second) in [(150, 0), (60, 60)] {
        scene(async |dir| {
            let play = load(&format!("{TELEGRAM}, events: [crash, reload_failed]"), dir, failing(1));
            play.world.takes.set(Duration::from_secs(5));
            for (half, count) in [first, second].into_iter().enumerate() {
                for number in 0..count {
                    play.event("collect", "crash", &format!("s{half}-{number:03}"), json!({"code": 1}));
                }
                for _ in 0..30 {
                    play.event("collect", "reload_failed", "", json!({"errors": ["e".repeat(1000)]}));
                }
                pass(12).await;
            }
            pass(60).await;
            let told = text(&play.sent()[1].1);
            let crashes = first + second;
            assert!(told.starts_with(&format!("box1: 100 services, {crashes} crashes\n")), "{told}");
            assert!(told.contains(&format!("how often: {crashes} crashes, {} events", crashes + 60)), "{told}");
        });
    }
    scene(async |dir| {
        // Events of no service alone: each is one line, of a bounded length.
        let play = load(&format!("{NTFY}, events: [reload_failed]"), dir, failing(1));
        play.world.takes.set(Duration::from_secs(5));
        for _ in 0..2 {
            for number in 0..30 {
                play.event("collect", "reload_failed", "", json!({"errors": [format!("{number} {}", "e".repeat(200))]}));
            }
            pass(12).await;
        }
        pass(60).await;
        let body: Value = json::from_str(&play.sent()[1].1).expect("JSON");
        let told = body["message"].as_str().expect("a text");
        assert_eq!(told.matches("why: reload_failed: ").count(), 12, "{told}");
        assert!(told.contains("\nwhy: reload_failed: 11 e"), "{told}");
        assert_eq!((&body["priority"], &body["tags"]), (&json!(3), &json!(["white_check_mark"])));
        play.event("collect", "reload_failed", "", json!({"errors": ["e".repeat(1000)]}));
        pass(600).await;
        let body: Value = json::from_str(&play.sent()[2].1).expect("JSON");
        let told = body["message"].as_str().expect("a text");
        assert!(
            told.lines().all(|line| line.len() <= 320) && told.lines().next().is_some_and(|what| what.len() <= 210),
            "{told}"
        );
        assert!(told.starts_with("what: reload_failed: eee") && told.contains("\nwhy: reload_failed: eee"), "{told}");
        assert!(body["title"].as_str().expect("a title").len() <= 140, "{body}");
    });
}

/// The worst names and lines there are, at which what is kept would be too long.
#[test]
fn a_storm_is_not_forgotten_however_much_its_services_said() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, Box::new(|_, _| refused()));
        let quotes = "\"".repeat(500);
        for number in 0..100 {
            let name = format!("{}_{number:03}", "n".repeat(56));
            play.event(
                "collect",
                "crash",
                &name,
                json!({"message": quotes, "log_tail": [quotes, quotes, quotes, quotes, quotes]}),
            );
        }
        pass(5).await;
        drop(play);
        let play = load(TELEGRAM, dir, fine());
        pass(60).await;
        assert!(text(&play.sent()[0].1).contains("how often: 100 crashes, 100 events\n"));
    });
    // Where they said no more than services do, that is not forgotten either.
    scene(async |dir| {
        let play = load(TELEGRAM, dir, Box::new(|_, _| refused()));
        let lines = vec!["x".repeat(500); 20];
        for number in 0..100 {
            play.event("collect", "crash", &format!("service-{number:03}"), json!({"code": 1, "log_tail": lines}));
        }
        pass(5).await;
        drop(play);
        let play = load(TELEGRAM, dir, fine());
        pass(60).await;
        let told = text(&play.sent()[0].1);
        assert!(told.contains("why: service-000 crashed: exit 1\n  | xxx"), "{told}");
    });
}

#[test]
fn a_clock_that_was_put_back_holds_no_message_up() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, fine());
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(5).await;
        play.world.back.set(Duration::from_secs(3600));
        pass(60).await;
        assert!(text(&play.sent()[0].1).contains("since: 2026-01-01 00:00:00 UTC (0ms ago)\n"), "{:?}", play.sent());
    });
}

#[test]
fn what_happens_is_kept_within_a_second_and_once_a_second() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, fine());
        for _ in 0..500 {
            play.event("collect", "crash", "web", json!({"code": 1}));
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let kept = play.world.kept.get();
        assert!((2..=5).contains(&kept), "{kept} writes in 3 s");
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(2).await;
        drop(play);
        let play = load(TELEGRAM, dir, fine());
        pass(60).await;
        assert!(text(&play.sent()[0].1).contains("how often: 501 crashes, 501 events\n"), "{:?}", play.sent());
    });
}

/// A loop of crashes has made the messages rare; then something happens that nobody should wait an hour for.
#[test]
fn what_will_not_go_on_by_itself_does_not_wait_for_the_storm_to_pass() {
    for (kind, fails) in [("gave_up", false), ("recovered", false), ("gave_up", true)] {
        scene(async |dir| {
            let play = load(TELEGRAM, dir, fine());
            for _ in 0..200 {
                play.event("collect", "crash", "web", json!({"code": 1}));
                pass(60).await;
            }
            let before = play.sent().len();
            if fails {
                *play.world.answerer.borrow_mut() = failing(before + 1);
            }
            play.event("collect", kind, "web", json!({}));
            pass(15).await;
            assert_eq!(play.sent().len(), before + 1 + usize::from(fails), "{kind}");
            // And not the next one sooner than that after it.
            play.event("collect", kind, "web", json!({}));
            pass(14).await;
            assert_eq!(play.sent().len(), before + 1 + usize::from(fails), "{kind}");
            pass(30).await;
            assert_eq!(play.sent().len(), before + 2 + usize::from(fails), "{kind}");
        });
    }
}

#[test]
fn those_that_crash_most_come_first_and_the_first_three_in_detail() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, fine());
        let lines: Vec<_> = (1..=7).map(|number| format!("line {number}{}", "x".repeat(300))).collect();
        for number in 1..=5 {
            for _ in 0..number {
                play.event("collect", "crash", &format!("s{number}"), json!({"message": "m".repeat(900), "log_tail": lines}));
            }
            play.event("collect", "gave_up", &format!("s{number}"), json!({"message": "short"}));
        }
        let mut held = service("s1", "backoff", 1);
        held["hold"] = json!({"by": "hook:h", "reason": "r"});
        let mut stopped = service("s4", "stopped", 1);
        stopped["hold"] = held["hold"].clone();
        let down = [held, service("s2", "backoff", 1), service("s3", "failed", 1), stopped, service("s5", "running", 1)];
        *play.world.services.borrow_mut() = json!(down);
        pass(60).await;
        let told = text(&play.sent()[0].1);
        let whys: Vec<_> = told.lines().filter(|line| line.starts_with("why: ")).collect();
        let expected = [
            "why: s5 gave up, 5 times: short",
            "why: s4 gave up, 4 times: short",
            "why: s3 gave up, 3 times: short",
            "why: s2 gave up, 2 times: short",
            "why: s1 gave up: short",
        ];
        assert_eq!(whys, expected, "{told}");
        let lines: Vec<_> = told.split("why: ").skip(1).map(|part| part.matches("\n  | line ").count()).collect();
        assert_eq!(lines, [5, 5, 5, 1, 1], "{told}");
        assert!(told.contains("\n  | line 7xxx") && !told.contains("line 2"), "the last ones: {told}");
        assert!(told.lines().all(|line| line.len() <= 210), "{told}");
        assert!(told.contains("still down (4): s1, s2, s3, s4\n"), "{told}");
        assert!(told.contains("next: 1 start again by themselves, 3 stay down"), "{told}");
    });
}

#[test]
fn of_many_services_twelve_are_told_and_the_others_counted() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, fine());
        for number in 0..15 {
            play.event("collect", "crash", &format!("s{number:02}"), json!({"code": 1, "log_tail": ["a", "b", "c"]}));
        }
        play.event("collect", "crash", "s00", json!({"message": "m".repeat(900)}));
        pass(60).await;
        let told = text(&play.sent()[0].1);
        assert!(told.lines().all(|line| line.len() <= 240) && told.contains("why: s00 crashed, 2 times: mmm"), "{told}");
        assert!(told.contains("\nwhy: s11 crashed: exit 1\n") && !told.contains("why: s12"), "{told}");
        assert!(told.contains("\nwhy: ... and 3 more services\nnext: "), "{told}");
    });
}

#[test]
fn a_message_that_is_late_says_so_and_one_of_a_long_storm_does_not() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, fine());
        *play.world.services.borrow_mut() = Value::Null;
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(60).await;
        let told = text(&play.sent()[0].1);
        assert!(told.contains("\nstill down: not known, no answer\n"), "{told}");
        assert!(told.contains("\nnext: the service is not configured any more\n"), "{told}");
        // Late, but nothing has failed: it waited for its turn.
        play.event("collect", "crash", "web", json!({"code": 1}));
        for _ in 0..200 {
            play.event("collect", "crash", "web", json!({"code": 1}));
            pass(60).await;
        }
        let all: Vec<_> = play.sent().iter().map(|(_, body)| text(body)).collect();
        assert!(all.iter().any(|told| told.contains("h0m") || told.contains("m")), "{all:?}");
        assert!(all.iter().all(|told| !told.contains("this is late")), "{all:?}");
    });
}

#[test]
fn a_steady_stream_does_not_put_its_message_off_for_ever() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, fine());
        for _ in 0..9 {
            play.event("collect", "crash", "web", json!({"code": 1}));
            pass(5).await;
        }
        let [(at, _)] = play.sent()[..] else { panic!("{} messages", play.sent().len()) };
        assert!((40_000..41_000).contains(&at), "{at}");
    });
}
