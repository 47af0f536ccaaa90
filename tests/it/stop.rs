//! What `stop` and shutdown promise: afterwards nothing of the service is alive.

use nix::sys::signal::Signal;

use crate::support::Daemon;
use crate::support::process::is_alive;

#[test]
fn g26_members_of_the_group_that_ignore_term_are_gone_when_stop_answers() {
    let mut daemon = Daemon::start("services: {web: {command: @web, stop_grace: 100ms}}");
    let mut web = daemon.stage.actor("web");
    web.does("spawn member");
    let mut member = daemon.stage.actor("member");
    member.does("ignore TERM");
    daemon.cli(&["stop", "web"]).exits(0);
    assert!(!is_alive(web.pid) && !is_alive(member.pid));
}

#[test]
fn g28_a_double_fork_with_a_session_of_its_own_is_gone_when_stop_answers() {
    let mut daemon = Daemon::start("services: {web: {command: @web, stop_grace: 100ms}}");
    let mut web = daemon.stage.actor("web");
    web.does("daemonize far");
    let mut far = daemon.stage.actor("far");
    far.does("ignore TERM");
    daemon.cli(&["stop", "web"]).exits(0);
    assert!(!is_alive(web.pid) && !is_alive(far.pid));
}

#[test]
fn members_and_those_that_left_are_asked_before_they_are_killed() {
    let mut daemon = Daemon::start("services: {web: {command: @web, stop_grace: 1h}}");
    let mut web = daemon.stage.actor("web");
    web.does("spawn member");
    web.does("daemonize far");
    let (mut member, mut far) = (daemon.stage.actor("member"), daemon.stage.actor("far"));
    daemon.cli(&["stop", "web"]).exits(0);
    member.hears("got TERM");
    far.hears("got TERM");
}

#[test]
fn a_stop_says_whether_it_had_to_kill() {
    let mut daemon = Daemon::start("services: {mild: {command: @mild}, hard: {command: @hard, stop_grace: 50ms}}");
    let mut events = daemon.events();
    daemon.stage.actor("mild");
    daemon.stage.actor("hard").does("ignore TERM");
    daemon.cli(&["stop", "mild", "hard"]).exits(0);
    for _ in 0..2 {
        let stop = events.until_that("a stop", |e| e["type"] == "stop");
        assert_eq!(stop["data"]["forced"], stop["service"] == "hard", "{stop}");
    }
}

#[test]
fn the_stop_signal_is_the_services_own() {
    let mut daemon = Daemon::start("services: {web: {command: @web, stop_signal: INT}}");
    let mut web = daemon.stage.actor("web");
    daemon.cli(&["stop", "web"]).exits(0);
    let said = web.dies();
    assert!(said.contains("got INT") && !said.contains("got TERM"), "{said}");
}

#[test]
fn g25_four_that_ignore_term_are_stopped_together() {
    let config = "defaults: {stop_grace: 300ms}
services: {a: {command: @a}, b: {command: @b}, c: {command: @c}, d: {command: @d}}";
    let mut daemon = Daemon::start(config);
    let mut events = daemon.events();
    for name in ["a", "b", "c", "d"] {
        daemon.stage.actor(name).does("ignore TERM");
    }
    daemon.cli(&["stop", "--all"]).exits(0);
    let kinds: Vec<String> = (0..8)
        .map(|_| events.until_that("stopping or exit", |e| e["type"] == "stopping" || e["type"] == "exit"))
        .map(|e| e["type"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(kinds, ["stopping", "stopping", "stopping", "stopping", "exit", "exit", "exit", "exit"]);
}

#[test]
fn g25_the_whole_shutdown_has_one_budget() {
    let config = "defaults: {stop_grace: 60s}
supervisor: {stop_grace: 300ms}
services: {a: {command: @a}, b: {command: @b, depends_on: [a]}, c: {command: @c, depends_on: [b]}}";
    let mut daemon = Daemon::start(config);
    for name in ["a", "b", "c"] {
        daemon.stage.actor(name).does("ignore TERM");
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
}

#[test]
fn g37_a_second_term_kills_at_once() {
    let mut daemon = Daemon::start("supervisor: {stop_grace: 60s}\nservices: {web: {command: @web, stop_grace: 60s}}");
    let mut web = daemon.stage.actor("web");
    web.does("ignore TERM");
    daemon.signal(Signal::SIGTERM);
    web.hears("got TERM");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
    web.dies();
}

#[test]
fn g30_no_start_is_accepted_once_the_shutdown_began() {
    let config = "supervisor: {stop_grace: 1h}\nservices: {web: {command: @web, stop_grace: 1h}, late: {command: @late}}";
    let mut daemon = Daemon::start(config);
    let mut web = daemon.stage.actor("web");
    daemon.stage.actor("late");
    daemon.cli(&["stop", "late"]).exits(0);
    web.does("ignore TERM");
    daemon.signal(Signal::SIGTERM);
    web.hears("got TERM");
    daemon.cli(&["start", "late"]).exits(1);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
    assert!(daemon.stage.unclaimed().is_empty());
}

#[test]
fn g29_a_stop_overtakes_a_restart() {
    let mut daemon = Daemon::start("services: {web: {command: @web, stop_grace: 1h}}");
    let mut web = daemon.stage.actor("web");
    web.does("ignore TERM");
    let restart = daemon.client(&["restart", "--timeout", "1h", "web"]).spawn().expect("the program");
    web.hears("got TERM");
    daemon.cli(&["stop", "--no-wait", "web"]).exits(0);
    web.tell("exit 0");
    daemon.cli(&["stop", "web"]).exits(0);
    let told = crate::support::home::finish(restart, "restart web");
    assert_eq!(told.code, 1, "an overtaken client is told so: {told:?}");
    assert_eq!(daemon.status("web")["state"], "stopped");
    assert!(daemon.stage.unclaimed().is_empty());
}

#[test]
fn a_shutdown_is_told_to_the_end() {
    let mut daemon = Daemon::start("services: {web: {command: @web}}");
    let mut events = daemon.events();
    // From here on it is known to follow.
    events.until("ready", "web");
    daemon.signal(Signal::SIGTERM);
    events.until_daemon("daemon_stopping");
    events.until("stop", "web");
    assert_eq!(daemon.ends(), 0);
    assert!(!daemon.socket().exists(), "the socket goes with its supervisor");
}
