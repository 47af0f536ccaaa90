//! Clients across a re-exec: nobody is refused, who waits gets an answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::reexec;
use crate::socket::{followers, is_full};
use crate::support::Daemon;
use crate::support::home::finish;
use crate::support::lines::Lines;

/// Issue 7, line 4.
#[test]
fn nobody_is_refused() {
    let mut daemon = Daemon::start("services: {web: {command: @web}}");
    daemon.stage.actor("web");
    let over = AtomicBool::new(false);
    let mut asked = 0;
    let requests = [
        &["status"][..],
        &["status", "--json"],
        &["tail", "-n", "5"],
        &["events", "-n", "5"],
        &["wait", "web", "--for", "running"],
    ];
    let clients: Vec<_> = requests.iter().map(|words| (words, daemon.client(words))).collect();
    thread::scope(|scope| {
        let loops: Vec<_> = clients
            .into_iter()
            .map(|(words, mut client)| {
                let over = &over;
                scope.spawn(move || {
                    let mut count = 0;
                    while !over.load(Ordering::Acquire) {
                        finish(client.spawn().expect("a client"), &words.join(" ")).exits(0);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        // One that never asks twice, as `nc` does.
        let (over_, socket) = (&over, daemon.socket());
        let plain = scope.spawn(move || {
            while !over_.load(Ordering::Acquire) {
                let mut stream = UnixStream::connect(&socket).expect("a connection");
                stream.write_all(b"version\n").expect("written");
                let mut answer = String::new();
                stream.read_to_string(&mut answer).expect("an answer");
                assert!(answer.starts_with("section3 "), "{answer:?}");
            }
        });
        for _ in 0..20 {
            reexec(&daemon);
        }
        over.store(true, Ordering::Release);
        plain.join().expect("no refusal");
        asked = loops.into_iter().map(|client| client.join().expect("no refusal")).sum();
    });
    assert!(asked > 20, "{asked}");
}

#[test]
fn who_stays_has_a_place_in_the_next_program_too() {
    let daemon = Daemon::start("services: {}");
    let _clients = followers(&daemon, 63);
    reexec(&daemon);
    // Who asked for it may still have the last place when the first one comes.
    let mut last = followers(&daemon, 1);
    if !is_full(&daemon) {
        last.extend(followers(&daemon, 1));
    }
    assert!(is_full(&daemon));
}

#[test]
fn who_waits_is_answered_by_the_next_program() {
    let mut daemon = Daemon::start(
        "services: {web: {command: @web, stop_grace: 2s, restart: never}, slow: {command: @slow, ready: {notify: systemd, timeout: 100s}}}",
    );
    let mut web = daemon.stage.actor("web");
    let mut slow = daemon.stage.actor("slow");
    let mut events = daemon.events();
    let waiting = daemon.client(&["wait", "slow", "--for", "running"]).spawn().expect("a client");
    let starting = daemon.client(&["start", "slow"]).spawn().expect("a client");
    web.does("ignore TERM");
    let stopping = daemon.client(&["stop", "web"]).spawn().expect("a client");
    web.hears("got TERM");
    // A request that is half there, and one on a connection that has asked before.
    let mut half = daemon.connect();
    half.write_all(b"stat").expect("written");
    let json = daemon.connect();
    (&json).write_all(b"{\"v\":1,\"op\":\"version\"}\n{\"v\":1,\"op\":").expect("written");
    let mut answers = BufReader::new(json.try_clone().expect("a copy"));
    let mut answer = String::new();
    answers.read_line(&mut answer).expect("an answer");

    reexec(&daemon);
    reexec(&daemon);
    half.write_all(b"us web\n").expect("written");
    let mut text = String::new();
    BufReader::new(&half).read_line(&mut text).expect("an answer");
    assert!(text.starts_with("web"), "{text}");
    (&json).write_all(b"\"version\"}\n").expect("written");
    let first = std::mem::take(&mut answer);
    answers.read_line(&mut answer).expect("an answer");
    assert_eq!(answer, first);
    slow.does("notify READY=1");
    finish(waiting, "wait").exits(0);
    finish(starting, "start").exits(0);
    // Its grace went on where it was: SIGKILL comes, and the answer.
    let stop = events.until("stop", "web");
    assert_eq!((&stop["data"]["forced"], &stop["data"]["reason"]), (&true.into(), &"manual".into()));
    assert!(stop["data"]["took_ms"].as_u64() >= Some(2000), "{stop}");
    finish(stopping, "stop").exits(0);
}

/// Also in the middle of a line, of several logs, and in the plain form.
#[test]
fn who_follows_a_log_misses_and_doubles_no_line() {
    let count = "i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo $0 line $i; done";
    let services = ["a", "b"].map(|name| format!("{name}: {{command: [sh, -c, '{count}; exec sleep 100000', {name}]}}"));
    let mut daemon = Daemon::start(&format!("services: {{{}, web: {{command: @web}}}}", services.join(", ")));
    let mut web = daemon.stage.actor("web");
    daemon.cli(&["stop", "a", "b"]).exits(0);
    web.does("print 1");
    let mut client = daemon.client(&["tail", "-n", "1", "-f", "a", "b", "web"]).spawn().expect("a client");
    let mut lines = Lines::of(client.stdout.take().expect("stdout"), "tail -f");
    let mut plain = daemon.connect();
    plain.write_all(b"tail -n 1 -f web\n").expect("written");
    let mut plain = Lines::of(plain, "tail -f web, plain");
    // What comes after the last of the lines asked for, they follow.
    lines.until("a line", |line| line == "[web] web line 1");
    plain.until("a line", |line| line == "web line 1");
    web.does("write begun");
    daemon.cli(&["start", "a", "b"]).exits(0);
    for _ in 0..5 {
        reexec(&daemon);
    }
    web.does("print 2");
    let mut next = [("[a] a line ", 1), ("[b] b line ", 1)];
    let mut of_web = Vec::new();
    while of_web.len() < 2 || next.iter().any(|(_, number)| *number <= 4000) {
        let line = lines.next().expect("it goes on");
        match next.iter_mut().find(|(start, _)| line.starts_with(*start)) {
            Some((start, number)) => {
                assert_eq!(line, format!("{start}{number}"));
                *number += 1;
            }
            None => of_web.push(line),
        }
    }
    assert_eq!(of_web, ["[web] begunweb line 2", "[web] web line 3"]);
    assert_eq!([plain.next(), plain.next()].map(Option::unwrap_or_default), ["begunweb line 2", "web line 3"]);
    crate::support::process::signal(client.id().cast_signed(), nix::sys::signal::Signal::SIGTERM);
    finish(client, "tail -f").exits(128 + 15);
}

/// Two at once: one is done, the other is told.
#[test]
fn one_at_a_time() {
    let daemon = Daemon::start("services: {}");
    for _ in 0..10 {
        let clients: Vec<_> = (0..3).map(|_| daemon.client(&["self", "reexec"]).spawn().expect("a client")).collect();
        let answers: Vec<_> = clients.into_iter().map(|client| finish(client, "self reexec")).collect();
        assert!(answers.iter().any(|answer| answer.code == 0), "{answers:?}");
        // Who came while one was under way, or was read right before the program was exchanged.
        let words = ["another re-exec is under way", "the supervisor replaced its own program meanwhile"];
        let told =
            |answer: &&crate::support::home::Answer| answer.code == 0 || words.iter().any(|words| answer.err.contains(words));
        assert!(answers.iter().all(|answer| told(&answer)), "{answers:?}");
    }
}
