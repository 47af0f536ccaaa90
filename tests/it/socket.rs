//! The socket: who may connect, what is refused, and that no client ends or stalls the supervisor.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use nix::sys::signal::Signal;

use crate::support::home::finish;
use crate::support::lines::Lines;
use crate::support::process::signal;
use crate::support::{Daemon, Home, Launch};

const ONE: &str = "services: {web: {command: @web}}";

#[test]
fn g40_the_socket_is_the_owners_alone() {
    let daemon = Daemon::start("services: {}");
    assert_eq!(fs::metadata(daemon.socket()).expect("the socket").permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(daemon.path("run")).expect("its folder").permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(daemon.path("log")).expect("the logs").permissions().mode() & 0o777, 0o750);
}

#[test]
fn g40_a_folder_that_others_may_write_is_refused() {
    let home = Home::new("services: {}");
    fs::set_permissions(home.path("run"), fs::Permissions::from_mode(0o777)).expect("a lax folder");
    let mut daemon = Launch::new(home).spawn();
    assert_ne!(daemon.ends(), 0);
    let said = daemon.stderr.rest();
    assert!(said.contains(&daemon.path("run").display().to_string()), "{said}");
}

#[test]
fn g39_a_second_supervisor_is_refused_and_touches_nothing() {
    let mut daemon = Daemon::start(ONE);
    let web = daemon.stage.actor("web");
    let before = fs::metadata(daemon.socket()).expect("the socket");
    let flags = daemon.flags();
    let second = daemon.cli(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    assert_ne!(second.code, 0);
    assert!(second.err.contains("section3.sock"), "{second:?}");
    let after = fs::metadata(daemon.socket()).expect("the socket");
    assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
    assert_eq!(daemon.status("web")["pid"], web.pid);
    assert!(daemon.stage.unclaimed().is_empty());
}

#[test]
fn g39_of_six_at_once_one_wins() {
    let mut daemon = Launch::new(Home::new(ONE)).start();
    let flags = daemon.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let others: Vec<_> = (0..5).map(|_| daemon.client(&flags).spawn().expect("the program")).collect();
    for other in others {
        assert_ne!(crate::support::home::finish(other, "section3").code, 0);
    }
    daemon.stage.actor("web");
    daemon.answers();
    assert!(daemon.stage.unclaimed().is_empty());
}

#[test]
fn a_stale_socket_is_replaced() {
    let home = Home::new("services: {}");
    drop(UnixListener::bind(home.socket()).expect("a socket that nobody serves"));
    Launch::new(home).start().answers();
}

#[test]
fn what_is_no_socket_is_not_replaced() {
    let home = Home::new("services: {}");
    fs::write(home.socket(), "precious").expect("a file in its place");
    let mut daemon = Launch::new(home).spawn();
    assert_ne!(daemon.ends(), 0);
    assert_eq!(fs::read_to_string(daemon.socket()).expect("the file"), "precious");
}

#[test]
fn a_deleted_socket_comes_back_on_sighup() {
    let daemon = Daemon::start("services: {}");
    let mut events = daemon.events();
    events.until_daemon("daemon_ready");
    fs::remove_file(daemon.socket()).expect("no socket");
    daemon.signal(Signal::SIGHUP);
    events.until_that("a reload", |e| e["type"] == "reload");
    daemon.answers();
}

/// As a cleaner of `/tmp` does.
#[test]
fn a_deleted_folder_comes_back_on_sighup_and_with_it_the_lock() {
    let daemon = Daemon::start("services: {web: {command: exec sleep 100000}}");
    let mut events = daemon.events();
    events.until_daemon("daemon_ready");
    let lock = fs::read_to_string(daemon.path("run/section3.sock.lock")).expect("the lock");
    fs::remove_dir_all(daemon.path("run")).expect("no folder");
    daemon.signal(Signal::SIGHUP);
    events.until_that("a reload", |e| e["type"] == "reload");
    daemon.answers();
    assert_eq!(fs::metadata(daemon.path("run")).expect("the folder").permissions().mode() & 0o777, 0o700);
    // The mark by which the next one knows what is left of this one.
    assert_eq!(fs::read_to_string(daemon.path("run/section3.sock.lock")).expect("the lock"), lock);
    second_is_refused(&daemon);
}

/// G39: without its file the lock keeps nobody out; who listens does.
#[test]
fn a_deleted_lock_lets_no_second_supervisor_in() {
    let daemon = Daemon::start("services: {web: {command: exec sleep 100000}}");
    let mut events = daemon.events();
    events.until_daemon("daemon_ready");
    let lock = daemon.path("run/section3.sock.lock");
    let mark = fs::read_to_string(&lock).expect("the lock");
    fs::remove_file(&lock).expect("no lock");
    second_is_refused(&daemon);
    daemon.answers();
    daemon.signal(Signal::SIGHUP);
    events.until_that("a reload", |e| e["type"] == "reload");
    assert_eq!(fs::read_to_string(&lock).expect("the lock"), mark);
    second_is_refused(&daemon);
    daemon.answers();
}

/// Nor does a SIGHUP take the place of one that came meanwhile.
#[test]
fn a_supervisor_that_came_meanwhile_keeps_the_socket() {
    let mut first = Daemon::start("services: {}");
    first.events().until_daemon("daemon_ready");
    fs::remove_dir_all(first.path("run")).expect("no folder");
    fs::create_dir(first.path("run")).expect("a folder");
    let flags = first.flags();
    let mut second = first.client(&[]);
    let mut second = second.args(&flags).spawn().expect("the program");
    let mut said = Lines::of(second.stdout.take().expect("stdout"), "the second supervisor");
    said.until("the end of its boot", |line| line.contains("every service is up"));
    first.signal(Signal::SIGHUP);
    first.stdout.until("why not", |line| line.contains("cannot make the socket") && line.contains("another supervisor"));
    assert_eq!(first.json(&["status"])["supervisor"]["pid"], second.id());
    signal(second.id().cast_signed(), Signal::SIGTERM);
    finish(second, "the second supervisor").exits(0);
}

fn second_is_refused(daemon: &Daemon) {
    let flags = daemon.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let pid = daemon.pid().to_string();
    daemon.cli(&flags).exits(1).says(&["another supervisor", &pid]);
}

#[test]
fn why_a_socket_does_not_come_back_is_said_in_words() {
    let mut daemon = Daemon::start("services: {}");
    fs::remove_file(daemon.socket()).expect("no socket");
    fs::create_dir(daemon.socket()).expect("a folder in its place");
    daemon.signal(Signal::SIGHUP);
    let line = daemon.stdout.until("why not", |line| line.contains("cannot make the socket"));
    assert!(line.ends_with("is not a socket; remove it or choose another --socket"), "{line}");
    fs::remove_dir(daemon.socket()).expect("the folder");
    daemon.signal(Signal::SIGHUP);
    daemon.stdout.until("the socket", |line| line.contains("made the socket"));
}

#[test]
fn json_lines_are_answered_with_json_lines() {
    let daemon = Daemon::start("services: {}");
    let answer = |request: &str| -> serde_json::Value {
        let text = daemon.ask(format!("{request}\n").as_bytes());
        serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_else(|e| panic!("{request}: {e}: {text}"))
    };
    let status = answer(r#"{"v":1,"op":"status","args":{}}"#);
    assert_eq!((&status["v"], &status["ok"]), (&1.into(), &true.into()));
    for bad in
        [r#"{"v":1,"op":"fly"}"#, r#"{"v":2,"op":"status","args":{}}"#, r#"{"v":1,"#, "{}", r#"{"v":1,"op":"start","args":7}"#]
    {
        let error = answer(bad);
        assert_eq!(error["ok"], false, "{bad}");
        assert!(error["error"]["code"].is_string() && error["error"]["message"].is_string(), "{bad}: {error}");
    }
    let unknown = answer(r#"{"v":1,"op":"stop","args":{"names":["nobody"]}}"#);
    assert_eq!(unknown["error"]["code"], "unknown_service", "{unknown}");
}

#[test]
fn the_plain_form_answers_as_the_command_line_does() {
    let mut daemon = Daemon::start(ONE);
    let mut web = daemon.stage.actor("web");
    web.does("print 3");
    assert!(daemon.ask(b"status\n").starts_with("web"));
    assert!(daemon.ask(b"fly away\n").starts_with("ERROR: "));
    assert!(daemon.ask(b"stop nobody\n").starts_with("ERROR: "));
    assert!(!daemon.ask(b"stop web\n").starts_with("ERROR: "));
    web.dies();
    assert_eq!(daemon.ask(b"tail -n 2 web\n"), "web line 2\nweb line 3\n");
    assert!(!daemon.ask(b"start web\n").starts_with("ERROR: "));
    daemon.stage.actor("web");
}

#[test]
fn g35_a_number_out_of_range_ends_no_supervisor() {
    let mut daemon = Daemon::start(ONE);
    daemon.stage.actor("web").does("print 3");
    for number in ["-1", "-9223372036854775808", "99999999999999999999999", "x", ""] {
        daemon.cli(&["tail", "-n", number, "web"]).exits(2);
        assert!(daemon.ask(format!("tail -n {number} web\n").as_bytes()).starts_with("ERROR: "), "{number}");
        daemon.ask(format!("{{\"v\":1,\"op\":\"tail\",\"args\":{{\"lines\":{number},\"names\":[\"web\"]}}}}\n").as_bytes());
    }
    daemon.answers();
    assert_eq!(daemon.status("web")["run"], 1);
}

/// G35: no request can end the process.
#[test]
fn garbage_is_answered_or_dropped() {
    let daemon = Daemon::start("services: {}");
    let deep = format!("{}\n", "{\"a\":".repeat(10_000));
    let junk: [&[u8]; 7] = [b"", b"\n", b"\0\0\0\n", b"\xff\xfe\xfd\n", b"{\n", b"GET / HTTP/1.1\r\n\r\n", deep.as_bytes()];
    for bytes in junk {
        daemon.ask(bytes);
    }
    daemon.answers();
}

#[test]
fn g41_a_request_line_has_at_most_64_kib() {
    let daemon = Daemon::start("services: {}");
    for first in [b'{', b'a'] {
        let mut stream = daemon.connect();
        // It may refuse as soon as the limit is passed, and the rest then finds nobody: both are right.
        let _ = stream.write_all(&[first]).and_then(|()| stream.write_all(&vec![b'a'; 1 << 20]));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 4096);
    }
    daemon.answers();
}

#[test]
fn g41_half_a_request_is_dropped_after_5_s() {
    let daemon = Daemon::start("services: {}");
    let mut streams: Vec<_> = [&b""[..], b"{\"v\":1", b"stat"].iter().map(|_| daemon.connect()).collect();
    for (stream, half) in streams.iter_mut().zip([&b""[..], b"{\"v\":1", b"stat"]) {
        stream.write_all(half).expect("half a request");
    }
    for mut stream in streams {
        // The end comes by itself, though this side stays open; the read has a deadline of its own.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the end of the stream");
    }
    daemon.answers();
}

/// G41: and its output is bounded.
#[test]
fn a_client_that_does_not_read_stalls_nobody() {
    let mut daemon = Daemon::start(ONE);
    let mut web = daemon.stage.actor("web");
    let mut deaf: Vec<_> = (0..8).map(|_| daemon.connect()).collect();
    for stream in &mut deaf {
        stream.write_all(b"tail -n 0 -f web\n").expect("a request");
    }
    for _ in 0..20 {
        web.does("print 20000");
        daemon.answers();
    }
}

/// Whether the next client is told that there are as many as there may be.
pub fn is_full(daemon: &Daemon) -> bool {
    let mut stream = daemon.connect();
    // Who is turned away is not read: both may find the other end closed.
    let _ = stream.write_all(b"status\n").and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).contains("64 clients are connected, that is the most")
}

/// Clients that stay.
pub fn followers(daemon: &Daemon, count: usize) -> Vec<std::os::unix::net::UnixStream> {
    let follow = || {
        let mut stream = daemon.connect();
        stream.write_all(b"events -n 0 -f\n").expect("a request");
        stream
    };
    std::iter::repeat_with(follow).take(count).collect()
}

#[test]
fn g41_there_are_64_clients_at_most() {
    let daemon = Daemon::start("services: {}");
    let clients = followers(&daemon, 64);
    assert!(is_full(&daemon));
    drop(clients);
    let deadline = crate::support::deadline::Deadline::new();
    while is_full(&daemon) {
        assert!(!deadline.is_over(), "places are not given back");
    }
}

/// G41: connections are limited, and their descriptors come back.
#[test]
fn a_hundred_connections_leave_it_working() {
    let daemon = Daemon::start("services: {}");
    // The answer comes from the log pump: it has opened its own log by now.
    daemon.cli(&["tail", "section3"]).exits(0);
    let before = crate::support::process::descriptors(daemon.pid()).len();
    let streams: Vec<_> = (0..100).map(|_| daemon.connect()).collect();
    drop(streams);
    // At most 64 at once: the next one gets in when the dropped ones were noticed, which is a matter of one turn.
    let deadline = crate::support::deadline::Deadline::new();
    while daemon.cli(&["status"]).code != 0 || crate::support::process::descriptors(daemon.pid()).len() > before {
        assert!(!deadline.is_over(), "descriptors or places are not given back");
    }
}
