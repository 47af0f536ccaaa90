//! `heartbeat`: success, failure and silence.

use serde_json::json;

use super::{loaded, x};
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Daemon, Home, Launch};

/// The timer beats once; all other beats are asked for, so that none comes by surprise.
fn daemon(receiver: &Receiver, settings: &str) -> Daemon {
    let daemon = Launch::new(Home::new(&format!(
        "services:\n  a: {{command: @a, restart: never}}\n  b: {{command: exit 1, restart: never}}\n  c: {{command: exit 0, restart: never}}\n\
         plugins:\n  heartbeat: {{url: \"{}/ping\", interval: 1d, services: [a, c], {settings}}}\n",
        receiver.address
    )))
    .start();
    loaded(&daemon, "heartbeat");
    daemon
}

#[test]
fn success_failure_and_success_again() {
    let mut failures = 0;
    let receiver = Receiver::tcp(move |_, request| {
        failures += usize::from(request.path == "/ping/fail");
        Reply::status(if request.path == "/ping/fail" && failures == 1 { 500 } else { 200 })
    });
    let mut daemon = daemon(&receiver, "");
    // At once, and b is nobody's concern.
    let beat = receiver.next();
    assert_eq!((beat.method.as_str(), beat.path.as_str()), ("POST", "/ping"));
    let mut events = daemon.events();
    daemon.stage.actor("a").tell("exit 3");
    events.until("crash", "a");
    let told = x(&daemon, &["heartbeat", "beat"]);
    assert_eq!(told, json!({"told": "failure", "trouble": ["a: failed"]}));
    // The first one was not taken.
    for _ in 0..2 {
        let beat = receiver.until(|request| request.path == "/ping/fail");
        assert!(beat.text().ends_with("a: failed"), "{}", beat.text());
    }
    daemon.cli(&["start", "a"]).exits(0);
    assert_eq!(x(&daemon, &["heartbeat", "beat"])["told"], "success");
    receiver.until(|request| request.path == "/ping");
    // What an operator stopped is no trouble.
    daemon.cli(&["stop", "a"]).exits(0);
    assert_eq!(x(&daemon, &["heartbeat", "beat"])["told"], "success");
}

#[test]
fn silence() {
    let receiver = Receiver::tcp(|_, _| Reply::status(200));
    let mut daemon = daemon(&receiver, "on_problem: skip");
    receiver.next();
    let mut events = daemon.events();
    daemon.stage.actor("a").tell("exit 3");
    events.until("crash", "a");
    // Behind a beat that may have begun before the crash.
    let nothing = json!({"told": "nothing", "trouble": ["a: failed"]});
    assert_eq!(x(&daemon, &["heartbeat", "beat"]), nothing);
    receiver.rest();
    assert_eq!(x(&daemon, &["heartbeat", "beat"]), nothing);
    assert!(receiver.rest().is_empty());
}
