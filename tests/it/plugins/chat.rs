//! `chat` against what the four services document, and a storm.

use serde_json::json;

use super::{A, loaded};
use crate::support::receiver::{Receiver, Reply, Request};
use crate::support::{Daemon, Home, Launch};

fn daemon(kind: &str, settings: &str, secret: &str) -> Daemon {
    let config = format!(
        "services: {{{A}}}\nsecrets: {{s: {{env: CHAT_SECRET}}}}\nplugins:\n  chat:\n    {{kind: {kind}, wait: 100ms, interval: 1s, events: [crash], {settings}}}\n"
    );
    let daemon = Launch::new(Home::new(&config)).env("CHAT_SECRET", secret).start();
    loaded(&daemon, "chat");
    daemon
}

/// The second request, which must be the first one again: in between came a 429.
fn told_twice(receiver: &Receiver) -> Request {
    let (first, second) = (receiver.next(), receiver.next());
    assert_eq!((&first.method, &first.path), (&second.method, &second.path));
    second
}

#[test]
fn telegram() {
    let busy = json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 1", "parameters": {"retry_after": 1}});
    let receiver = Receiver::tcp(move |number, _| match number {
        0 => Reply(429, vec![], busy.to_string()),
        _ => Reply(200, vec![], "{\"ok\":true,\"result\":{}}".to_owned()),
    });
    let settings = format!("url: \"{}\", token: s, chat: -100123", receiver.address);
    let mut daemon = daemon("telegram", &settings, "123:abcDEF");
    daemon.stage.actor("a").tell("exit 3");
    let request = told_twice(&receiver);
    assert_eq!(request.path, "/bot123:abcDEF/sendMessage");
    assert_eq!(request.json()["chat_id"], "-100123");
    let text = request.json()["text"].as_str().expect("a text").to_owned();
    assert!(text.contains("a crashed") && text.contains("exit 3"), "{text}");
    assert!(!daemon.log_text("section3").contains("abcDEF"));
}

#[test]
fn slack() {
    let receiver = Receiver::tcp(|number, _| match number {
        0 => Reply(429, vec![("Retry-After", "1".to_owned())], "rate_limited".to_owned()),
        _ => Reply(200, vec![], "ok".to_owned()),
    });
    let address = format!("{}/services/T0/B0/X0", receiver.address);
    // The address is a secret: what host it names only the permission can say.
    let mut daemon = daemon("slack", &format!("url: \"{address}\""), "unused");
    daemon.stage.actor("a").tell("exit 3");
    let request = told_twice(&receiver);
    assert_eq!(request.path, "/services/T0/B0/X0");
    let text = request.json()["blocks"][1]["text"].clone();
    assert_eq!(text["type"], "plain_text");
    assert!(text["text"].as_str().is_some_and(|text| text.contains("a crashed")), "{text}");
}

#[test]
fn discord() {
    let busy = json!({"message": "You are being rate limited.", "retry_after": 0.05, "global": false});
    let receiver = Receiver::tcp(move |number, _| match number {
        0 => Reply(429, vec![], busy.to_string()),
        _ => Reply::status(204),
    });
    let mut daemon = daemon("discord", &format!("url: \"{}/api/webhooks/1/x\"", receiver.address), "unused");
    daemon.stage.actor("a").tell("exit 3");
    let request = told_twice(&receiver);
    assert_eq!(request.json()["allowed_mentions"], json!({"parse": []}));
    let text = request.json()["content"].as_str().expect("a text").to_owned();
    assert!(text.len() <= 2000 && text.contains("a crashed"), "{text}");
}

#[test]
fn ntfy() {
    let busy = json!({"code": 42901, "http": 429, "error": "limit reached: too many requests"});
    let receiver = Receiver::tcp(move |number, _| match number {
        0 => Reply(429, vec![], busy.to_string()),
        _ => Reply(200, vec![], "{}".to_owned()),
    });
    let mut daemon = daemon("ntfy", &format!("url: \"{}\", topic: ops, token: s", receiver.address), "tk_secret");
    daemon.stage.actor("a").tell("exit 3");
    let request = told_twice(&receiver);
    assert_eq!(request.header("authorization"), "Bearer tk_secret");
    let message = request.json();
    assert_eq!((message["topic"].as_str(), message["tags"].is_array()), (Some("ops"), true));
    assert!(message["title"].as_str().is_some_and(|title| title.ends_with("a crashed")), "{message}");
}

#[test]
fn a_storm_is_three_messages_at_most_and_the_last_says_what_is_still_down() {
    let receiver = Receiver::tcp(|_, _| Reply::status(200));
    let services: String = (0..20)
        .map(|number| format!("  s{number:02}: {{command: exit 1, backoff: {{initial: 0s, max: 0s, give_up_after: 10}}}}\n"))
        .collect();
    let config = format!(
        "services:\n{services}plugins:\n  chat: {{kind: discord, url: \"{}\", wait: 5s, interval: 60s}}\n",
        receiver.address
    );
    let daemon = Launch::new(Home::new(&config)).start();
    let mut told = 0;
    let last = receiver.until(|request| {
        told += 1;
        request.json()["content"].as_str().is_some_and(|text| text.contains("still down (20)"))
    });
    assert!(told <= 3, "{told} messages");
    let text = last.json()["content"].as_str().expect("a text").to_owned();
    for number in 0..20 {
        assert!(text.contains(&format!("s{number:02}")), "{text}");
    }
    let log = daemon.json(&["hook", "list"]);
    assert!(receiver.rest().is_empty(), "{log}");
}

#[test]
fn settings_that_do_not_go_together_are_told() {
    let daemon = Launch::new(Home::new("services: {}\nplugins: {chat: {kind: telegram}}")).start();
    let failed = daemon.events().until_daemon("hook_failed");
    assert!(failed["data"]["message"].as_str().is_some_and(|said| said.contains("needs `token`")), "{failed}");
}
