//! What hooks cost: from an event to its handler, the memory of their host, and what a hook that misbehaves does to everybody
//! else.
//!
//! `cargo bench --bench hooks` (needs `cc`); `-- ROUNDS` sets the rounds (200). Three supervisors side by side, interleaved for the
//! machine's mood changes: without hooks, with three plain ones, with three of which one never yields and one sleeps. An event is
//! emitted by a client that is connected already, or connects for it: its age counts from before that, and so has the way into
//! the supervisor in it. Targets: event to handler p50 below 0.3 ms, the host below 8 MiB, status and restart as without hooks.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod stand;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stand::{Fifo, Kind, Running, Stand, children, let_pass, median, millis, number, percentile, pss};

/// Far beyond what anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Notes how old each event is when it runs, in microseconds, and tells all of them in the end.
const NOTES: &str = r#"local ages = {}
s3.on("custom.sent", function(ev) ages[#ages + 1] = math.floor((s3.now() - ev.data.at) * 1e6) end)
s3.on("custom.done", function(ev) s3.emit("ages." .. ev.data.of, {us = ages}) ages = {} end)"#;
const COUNTS: &str = r#"s3.on({"exit", "crash"}, function(ev) s3.kv.incr("n") end)"#;
const WATCHES: &str = r#"s3.on("@problem", function(ev) s3.log.info(ev.type, {service = ev.service}) end)
s3.every("1h", function() end)"#;
const LOOPS: &str = r#"s3.on("custom.tick", function() while true do pcall(function() while true do end end) end end)"#;
const SLEEPS: &str = r#"s3.on("@all", {timeout = "10m"}, function() s3.sleep("9m") end)"#;

struct Subject {
    name: &'static str,
    running: Running,
    pid: i32,
    status: Vec<f64>,
    restart: Vec<f64>,
}

fn main() {
    let stand = Stand::new("hooks", env!("CARGO_BIN_EXE_section3"));
    // What a hook tells in one event has an end.
    let rounds = number(200).min(1000);
    let mut subjects = [
        Subject::new(&stand, "no hooks", &[]),
        Subject::new(&stand, "three hooks", &[("notes", NOTES), ("counts", COUNTS), ("watches", WATCHES)]),
        Subject::new(&stand, "misbehaving", &[("notes", NOTES), ("loops", LOOPS), ("sleeps", SLEEPS)]),
    ];
    let there = event_to_handler(&subjects[1], rounds, true);
    let from_afar = event_to_handler(&subjects[1], rounds, false);
    let memory = subjects[1].host();
    for _ in 0..rounds {
        for subject in &mut subjects {
            // Something for the hooks to stumble over.
            ask(&subject.running.folder, "{\"v\":1,\"op\":\"emit\",\"args\":{\"name\":\"tick\",\"data\":{\"n\":0}}}");
            subject.measure();
        }
    }
    println!("{:24} {:>8} {:>8}", "", "p50 ms", "p99 ms");
    let show = |name: &str, times: &[f64]| println!("{name:24} {:8.2} {:8.2}", median(times), percentile(times, 0.99));
    show("event to handler", &there);
    show("connection to handler", &from_afar);
    for subject in subjects {
        show(&format!("status, {}", subject.name), &subject.status);
        show(&format!("restart, {}", subject.name), &subject.restart);
        subject.running.stop();
    }
    println!("host with three hooks, PSS: {memory} KiB");
}

impl Subject {
    fn new(stand: &Stand, name: &'static str, hooks: &[(&str, &str)]) -> Self {
        let folder = stand.folder();
        let idle = stand.compiled("idle");
        let mut config = format!("defaults: {{backoff: {{initial: 0s}}}}\nservices: {{s: {{command: [{}]}}}}\n", idle.display());
        if !hooks.is_empty() {
            let names: Vec<String> = hooks.iter().map(|(name, _)| format!("{name}.lua")).collect();
            let _ = writeln!(config, "hooks: [{}]", names.join(", "));
        }
        for (name, text) in hooks {
            let text = format!("local s3 = require \"section3\"\n{text}\n");
            fs::write(folder.join(format!("{name}.lua")), text).expect("a hook");
        }
        let mut command = stand.section3(&folder, &config);
        let fifo = Fifo::new(&folder.join("fifo"));
        command.env("BENCH_FIFO", folder.join("fifo"));
        let mut running = Running::new(Kind::Ours, command, fifo, folder);
        let pid = running.told(1)[0];
        let until = Instant::now() + LIMIT;
        while !hooks.is_empty() && ask(&running.folder, HOOK_LIST).matches("\"state\":\"loaded\"").count() < hooks.len() {
            assert!(Instant::now() < until, "the hooks are not loaded: {}", ask(&running.folder, HOOK_LIST));
            let_pass(Duration::from_millis(20));
        }
        Self { name, running, pid, status: Vec::new(), restart: Vec::new() }
    }

    fn measure(&mut self) {
        let_pass(Duration::from_millis(5));
        let from = Instant::now();
        let answer = ask(&self.running.folder, "{\"v\":1,\"op\":\"status\",\"args\":{}}");
        self.status.push(millis(from.elapsed()));
        assert!(answer.contains("\"ok\":true"), "{answer}");
        let from = Instant::now();
        kill(Pid::from_raw(self.pid), Signal::SIGKILL).expect("killed");
        self.pid = self.running.told(1)[0];
        self.restart.push(millis(from.elapsed()));
    }

    /// The memory of its hook host, in KiB.
    fn host(&self) -> u64 {
        children(self.running.pid()).into_iter().filter(|pid| *pid != self.pid).map(pss).sum()
    }
}

const HOOK_LIST: &str = "{\"v\":1,\"op\":\"hook\",\"args\":{\"action\":\"list\"}}";

/// How old each event is when its handler runs: from before the client sends it, or from before it connects.
fn event_to_handler(subject: &Subject, rounds: usize, is_connected: bool) -> Vec<f64> {
    let folder = &subject.running.folder;
    let mut line = BufReader::new(connect(folder));
    for _ in 0..rounds {
        let_pass(Duration::from_millis(5));
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64();
        if !is_connected {
            line = BufReader::new(connect(folder));
        }
        emit(&mut line, "sent", &format!("\"at\":{at:.6}"));
    }
    // Handlers are side by side: the last event may still be on its way to the first one.
    let_pass(Duration::from_millis(500));
    emit(&mut line, "done", &format!("\"of\":{}", u8::from(is_connected)));
    let name = format!("custom.ages.{}\"", u8::from(is_connected));
    let until = Instant::now() + LIMIT;
    let ages = loop {
        let mut stream = send(folder, "{\"v\":1,\"op\":\"events\",\"args\":{\"lines\":20}}");
        let mut told = String::new();
        stream.read_to_string(&mut told).expect("events");
        if let Some((_, rest)) = told.lines().find(|line| line.contains(&name)).and_then(|line| line.split_once("\"us\":[")) {
            break rest.split_once(']').expect("a list").0.to_owned();
        }
        assert!(Instant::now() < until, "the hook does not tell: {told}");
        let_pass(Duration::from_millis(20));
    };
    let ages: Vec<f64> = ages.split(',').filter_map(|age| age.parse::<f64>().ok()).map(|us| us / 1e3).collect();
    assert_eq!(ages.len(), rounds, "handled");
    ages
}

fn emit(line: &mut BufReader<UnixStream>, name: &str, data: &str) {
    let request = format!("{{\"v\":1,\"op\":\"emit\",\"args\":{{\"name\":\"{name}\",\"data\":{{{data}}}}}}}\n");
    line.get_mut().write_all(request.as_bytes()).expect("asked");
    let mut answer = String::new();
    line.read_line(&mut answer).expect("an answer");
    assert!(answer.contains("\"ok\":true"), "{answer}");
}

fn ask(folder: &Path, request: &str) -> String {
    let mut answer = String::new();
    BufReader::new(send(folder, request)).read_line(&mut answer).expect("an answer");
    answer
}

fn send(folder: &Path, request: &str) -> UnixStream {
    let mut stream = connect(folder);
    stream.write_all(request.as_bytes()).and_then(|()| stream.write_all(b"\n")).expect("asked");
    stream.shutdown(Shutdown::Write).expect("all is said");
    stream
}

fn connect(folder: &Path) -> UnixStream {
    let stream = UnixStream::connect(folder.join("socket")).expect("a supervisor");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream
}
