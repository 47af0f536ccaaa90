//! `webhook`: TCP, Unix socket, signatures, retries, 410.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{A, asked, loaded, x};
use crate::support::receiver::{Receiver, Reply, Request};
use crate::support::{Daemon, Home, Launch};

fn daemon(settings: &str, secrets: &[(&str, &str)]) -> Daemon {
    let mut config = format!("services: {{{A}}}\nplugins:\n  webhook: {{events: [crash], retry: 10ms, {settings}}}\n");
    if !secrets.is_empty() {
        config += "secrets:\n";
        for (name, _) in secrets {
            config += &format!("  {name}: {{env: {name}}}\n");
        }
    }
    let mut launch = Launch::new(Home::new(&config));
    for (name, value) in secrets {
        launch = launch.env(name, value);
    }
    let daemon = launch.start();
    loaded(&daemon, "webhook");
    daemon
}

#[test]
fn an_event_is_sent_until_it_is_taken() {
    let receiver = Receiver::tcp(|number, _| Reply::status(if number < 2 { 503 } else { 204 }));
    let mut daemon = daemon(&format!("url: \"{}/section3\", headers: {{X-Mine: 5}}", receiver.address), &[]);
    let mut events = daemon.events();
    daemon.stage.actor("a").tell("exit 3");
    let crash = events.until("crash", "a");
    let requests = [receiver.next(), receiver.next(), receiver.next()];
    for request in &requests {
        assert_eq!((request.method.as_str(), request.path.as_str(), request.header("x-mine")), ("POST", "/section3", "5"));
        assert_eq!(request.header("webhook-id"), crash["id"].as_str().expect("an id"));
        assert_eq!(request.header("idempotency-key"), request.header("webhook-id"));
        assert_eq!(request.header("content-type"), "application/json");
        // The same JSON as everywhere, and what is only true of this delivery.
        let mut told = request.json();
        let told = told.as_object_mut().expect("an object");
        let own = ["attempt", "lost", "count"].map(|key| told.remove(key));
        assert_eq!(
            (told, own[0].as_ref().and_then(serde_json::Value::as_i64)),
            (crash.clone().as_object_mut().expect("an object"), Some(1))
        );
    }
    assert_eq!(crash["data"]["code"], 3);
    daemon.stage.actor("a").tell("exit 4");
    assert_eq!(receiver.next().json()["data"]["code"], 4);
}

#[test]
fn a_unix_socket_is_a_receiver() {
    let home = Home::new("");
    let receiver = Receiver::unix(&home.path("sock"), |_, _| Reply::status(200));
    home.configure(&format!(
        "services: {{{A}}}\nplugins: {{webhook: {{events: [crash], url: \"unix:{}:/v1/events\"}}}}",
        receiver.address
    ));
    let mut daemon = Launch::new(home).start();
    loaded(&daemon, "webhook");
    daemon.stage.actor("a").tell("exit 5");
    let request = receiver.next();
    assert_eq!((request.path.as_str(), request.json()["data"]["code"].as_i64()), ("/v1/events", Some(5)));
    assert_eq!(x(&daemon, &["webhook", "test"])["status"], 200);
    assert_eq!(receiver.next().json()["type"], "custom.webhook-test");
}

/// The standardwebhooks library of PyPI; tests/run installs it.
fn python() -> PathBuf {
    let python = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/standardwebhooks/bin/python"));
    assert!(python.exists(), "{} is missing: tests/run installs it", python.display());
    python
}

/// What the library says of a request with one key: `good`, or the name of its error.
fn verified(key: &str, request: &Request, body: &[u8]) -> String {
    const SCRIPT: &str = "
import json, sys
from standardwebhooks import Webhook
asked = json.load(sys.stdin)
try:
    Webhook(asked['key']).verify(asked['body'], asked['headers'])
    print('good')
except Exception as error:
    print(type(error).__name__)
";
    let mut child = Command::new(python())
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python with standardwebhooks");
    let headers: BTreeMap<_, _> = request.headers.iter().filter(|(name, _)| name.starts_with("webhook-")).collect();
    let asked = serde_json::json!({"key": key, "body": String::from_utf8_lossy(body), "headers": headers});
    child.stdin.take().expect("stdin").write_all(asked.to_string().as_bytes()).expect("asked");
    let output = child.wait_with_output().expect("an answer");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn signatures_are_those_of_a_published_library() {
    let receiver = Receiver::tcp(|_, _| Reply::status(200));
    // 24 bytes each, with the prefix that receivers hand out and without it.
    let (old, new) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    let settings = format!("url: \"{}\", sign: [OLD, NEW]", receiver.address);
    let mut daemon = daemon(&settings, &[("OLD", old), ("NEW", new)]);
    daemon.stage.actor("a").tell("exit 3");
    let request = receiver.next();
    for key in [old, new] {
        assert_eq!(verified(key, &request, &request.body), "good", "{key}");
    }
    let mut other = request.body.clone();
    *other.last_mut().expect("a body") = b' ';
    for (key, body) in [("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &request.body), (old, &other)] {
        assert_eq!(verified(key, &request, body), "WebhookVerificationError", "{key}");
    }
    // The key itself is nowhere.
    let log = daemon.log_text("section3");
    assert!(!log.contains("MfKQ9r8GKYqr") && !log.contains("C2FVsBQIhrsc"), "{log}");
}

#[test]
fn a_receiver_that_is_gone_gets_nothing_more() {
    let receiver = Receiver::tcp(|number, _| Reply::status(if number == 0 { 410 } else { 200 }));
    let mut daemon = daemon(&format!("url: \"{}\"", receiver.address), &[]);
    let mut events = daemon.events();
    daemon.stage.actor("a").tell("exit 3");
    assert_eq!(receiver.next().json()["data"]["code"], 3);
    let failed = events.until_daemon("hook_failed");
    assert!(failed["data"]["message"].as_str().is_some_and(|said| said.contains("410")), "{failed}");
    daemon.stage.actor("a").tell("exit 4");
    asked("the second crash is dropped", || (x(&daemon, &["webhook", "status"])["dropped"] == 1).then_some(()));
    assert_eq!(x(&daemon, &["webhook", "resume"])["resumed"], true);
    daemon.stage.actor("a").tell("exit 5");
    // The one between was not kept for later.
    let next = receiver.next().json()["data"]["code"].as_i64();
    assert!(next == Some(5), "{next:?}");
}

#[test]
fn a_body_that_is_too_long_loses_its_oldest_lines_first() {
    let receiver = Receiver::tcp(|_, _| Reply::status(200));
    let mut daemon = daemon(&format!("url: \"{}\", max_bytes: 2K", receiver.address), &[]);
    let mut a = daemon.stage.actor("a");
    for number in 0..20 {
        a.does(&format!("line {number}-{}", "x".repeat(300)));
    }
    a.tell("exit 3");
    let request = receiver.next();
    assert!(request.body.len() <= 2048, "{}", request.body.len());
    let crash = request.json();
    assert_eq!(crash["data"]["code"], 3);
}

#[test]
fn what_a_receiver_did_not_take_is_sent_to_the_one_after_a_reload() {
    // Nobody listens there: a port that was free a moment ago.
    let home = Home::new("");
    let config = |url: &str| format!("services: {{{A}}}\nplugins: {{webhook: {{events: [crash], retry: 1m, url: \"{url}\"}}}}");
    home.configure(&config(&format!("unix:{}:/", home.path("nobody").display())));
    let mut daemon = Launch::new(home).start();
    loaded(&daemon, "webhook");
    for code in [3, 4] {
        daemon.stage.actor("a").tell(&format!("exit {code}"));
    }
    asked("two events wait", || (x(&daemon, &["webhook", "status"])["waiting"] == 2).then_some(()));
    let receiver = Receiver::tcp(|_, _| Reply::status(200));
    daemon.configure(&config(&receiver.address));
    daemon.cli(&["reload"]).exits(0);
    for code in [3, 4] {
        assert_eq!(receiver.next().json()["data"]["code"], code);
    }
}
