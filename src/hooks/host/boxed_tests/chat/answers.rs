//! What `chat` makes of what the four services answer, and what they are asked.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Answerer, IoFault, pass, reply, scene};
use super::{DISCORD, SLACK, TELEGRAM, failing, fine, load};
use crate::value::json;

#[test]
fn what_is_asked_of_a_service_does_not_depend_on_how_it_says_no() {
    let fault = |retryable| Err(IoFault { code: "tls", message: "no".to_owned(), retryable });
    let (soon, later) = (0..2_500, 3_600_000..3_602_000);
    for (answer, wait) in [
        (reply(408, None, ""), soon.clone()),
        (reply(429, None, "[1]"), soon.clone()),
        (reply(429, None, "\"x\""), soon.clone()),
        (reply(429, None, "{\"parameters\":\"x\"}"), soon.clone()),
        (reply(429, None, "{\"parameters\":3}"), soon.clone()),
        (reply(429, None, "7"), soon.clone()),
        (reply(500, None, ""), soon.clone()),
        (reply(503, None, ""), soon.clone()),
        // No wish makes it sooner than that, and none later than an hour.
        (reply(503, Some(("retry-after", "-5")), ""), 400..2_500),
        (reply(503, Some(("retry-after", "0")), ""), 400..2_500),
        (reply(503, Some(("retry-after", "1e9")), ""), later.clone()),
        (reply(400, None, ""), later.clone()),
        (reply(404, Some(("retry-after", "1")), ""), later.clone()),
        (fault(true), soon.clone()),
        (fault(false), later.clone()),
    ] {
        scene(async |dir| {
            let first = answer.clone();
            let answers: Answerer = Box::new(move |number, _| if number == 0 { first.clone() } else { reply(200, None, "") });
            let play = load(TELEGRAM, dir, answers);
            play.event("collect", "crash", "web", json!({"code": 1}));
            pass(7200).await;
            let times: Vec<_> = play.sent().iter().map(|(at, _)| *at).collect();
            assert!(times.len() == 2 && wait.contains(&(times[1] - times[0])), "{answer:?}: {times:?}");
        });
    }
}

/// Each wait is twice the one before, up to five minutes, and what was sent makes the next failure the first.
#[test]
fn waits_grow_to_five_minutes_and_begin_anew() {
    scene(async |dir| {
        let play = load(TELEGRAM, dir, failing(40));
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(6 * 3600).await;
        let times: Vec<_> = play.sent().iter().map(|(at, _)| *at).collect();
        let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(waits.len(), 40, "{waits:?}");
        assert!(waits.iter().enumerate().all(|(at, wait)| {
            let most = 1000 * 2_u128.pow(u32::try_from(at).expect("few").min(20)).min(300);
            (most / 2..=most + 50).contains(wait)
        }));
        // Many that failed together do not come back together.
        assert!(waits[20..].iter().any(|wait| wait.abs_diff(waits[20]) > 1000), "{waits:?}");
        *play.world.answerer.borrow_mut() = failing(times.len() + 1);
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(3600).await;
        let times: Vec<_> = play.sent()[times.len()..].iter().map(|(at, _)| *at).collect();
        assert!(times.len() == 2 && times[1] - times[0] < 1_100, "{times:?}");
    });
}

#[test]
fn what_one_of_them_answers_is_told_in_one_short_line_without_secrets() {
    scene(async |dir| {
        let answers: Answerer = Box::new(|_, _| reply(403, None, &format!("no\u{1b}[2J\n{}", "b".repeat(5000))));
        let play = load(TELEGRAM, dir, answers);
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(60).await;
        let logged = play.world.logged.borrow().clone();
        assert!(logged.len() == 1 && logged[0].len() < 350 && !logged[0].contains(['\u{1b}', '\n']), "{logged:?}");
        let said = play.command("test").await.expect_err("refused");
        assert!(said.ends_with("; try again in 1h0m") && !said.contains("secret-"), "{said}");
        let status = play.command("status").await.expect("status");
        assert!(status["last_error"].as_str().is_some_and(|said| said.starts_with("telegram answered 403: no")), "{status}");
    });
}

/// What cannot be read when a message is made, such as a secret, may be there later.
#[test]
fn a_message_that_cannot_be_made_waits_as_well() {
    scene(async |dir| {
        let play = load("kind: slack, address: s, url: \"https://hooks.slack.com/other\"", dir, fine());
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(60).await;
        // The address is no URL, and the one that is no secret is not asked in its place.
        assert_eq!((play.sent().len(), &play.command("status").await.expect("status")["waiting"]), (0, &json!(1)));
        let logged = play.world.logged.borrow().clone();
        assert!(logged.len() == 1 && logged[0].contains("a message waits, 1h") && !logged[0].contains("secret-s"), "{logged:?}");
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(7200).await;
        assert_eq!(play.command("status").await.expect("status")["waiting"], 2);
        assert_eq!(play.world.logged.borrow().len(), 1, "said once");
    });
    scene(async |dir| {
        let play = load("kind: telegram, token: gone, chat: x", dir, fine());
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(7200).await;
        let logged = play.world.logged.borrow().clone();
        assert!(
            logged.len() == 1 && logged[0].contains("a message waits, 1h0m: ") && logged[0].contains("G is not set"),
            "{logged:?}"
        );
        assert_eq!(play.command("status").await.expect("status")["waiting"], 1);
    });
    scene(async |dir| {
        let play = load("kind: discord, address: s, url: \"https://discord.com/other\"", dir, fine());
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(60).await;
        assert!(play.sent().is_empty());
    });
}

#[test]
fn titles_are_no_markup_either() {
    let title = "<b>&amp; *x* _y_ ~z~ `c` |p| [l](u) #h :e: @everyone";
    let sent = |settings: &str| {
        let mut body = Value::Null;
        scene(async |dir| {
            let play = load(&format!("{settings}, events: [reload_failed]"), dir, fine());
            play.event("collect", "reload_failed", "", json!({"errors": [title]}));
            pass(60).await;
            body = json::from_str(&play.sent()[0].1).expect("JSON");
        });
        body
    };
    let slack = sent(SLACK);
    assert!(slack["text"].as_str().is_some_and(|text| text.contains("&lt;b&gt;&amp;amp; *x*")), "{slack}");
    assert_eq!((&slack["mrkdwn"], &slack["blocks"][0]["text"]["emoji"]), (&json!(false), &json!(false)));
    let discord = sent(DISCORD);
    let expected = r"\<b\>&amp; \*x\* \_y\_ \~z\~ \`c\` \|p\| \[l\](u) \#h \:e\: \@everyone";
    assert!(discord["content"].as_str().is_some_and(|text| text.contains(expected)), "{discord}");
    assert_eq!(discord["flags"], 4);
    assert_eq!(sent(TELEGRAM)["link_preview_options"], json!({"is_disabled": true}));
}

#[test]
fn addresses_and_tokens() {
    scene(async |dir| {
        let play = load("kind: ntfy, topic: ops, token: t, url: \"http://h/\"", dir, fine());
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(60).await;
        let requests = play.world.requests.borrow();
        let header = requests[0].1.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        assert_eq!(header.map(|(_, value)| value.as_str()), Some("Bearer secret-t"));
    });
    scene(async |dir| {
        let play = load("kind: telegram, token: t, chat: x, url: \"http://h//\"", dir, fine());
        play.event("collect", "crash", "web", json!({"code": 1}));
        pass(60).await;
        let requests = play.world.requests.borrow();
        assert_eq!(requests[0].1.url, "http://h/botsecret-t/sendMessage");
        assert_eq!(requests[0].1.timeout, Duration::from_secs(10));
    });
}
