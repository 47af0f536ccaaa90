//! The hook host as a process of its own: the test is the supervisor at the other end of its socketpair.
//!
//! Every attack is stopped and named, and a neighbour goes on. Nothing is timed: a test waits for frames.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::process;

/// How long a frame may take: far beyond any limit of the host, on a loaded machine too.
const PATIENCE: Duration = Duration::from_secs(60);

struct Host {
    process: Child,
    frames: BufReader<UnixStream>,
    dir: TempDir,
    /// Frames that came while others were waited for.
    seen: Vec<Value>,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (ours, theirs) = UnixStream::pair().expect("a socketpair");
        ours.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let script = format!("exec '{}' hook-host 3<&0 0</dev/null", env!("CARGO_BIN_EXE_section3"));
        let mut command = Command::new("/bin/sh");
        let process = command.args(["-c", &script]).stdin(Stdio::from(OwnedFd::from(theirs))).spawn().expect("a host");
        // Its end of the socket must be its own alone.
        drop(command);
        let mut host = Self { process, frames: BufReader::new(ours), dir, seen: Vec::new() };
        assert!(host.frame().is_some_and(|frame| frame["hello"]["version"].is_string()));
        let (state, log) = (host.dir.path().join("state"), host.dir.path().join("log"));
        host.send(&json!({"hello": {
            "version": env!("CARGO_PKG_VERSION"), "host": "h", "boot": "b", "state_dir": state, "log_dir": log, "secrets": {},
        }}));
        host
    }

    fn send(&mut self, frame: &Value) {
        self.frames.get_mut().write_all(format!("{frame}\n").as_bytes()).expect("a host that reads");
    }

    fn frame(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.frames.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))),
            Err(error) => panic!("no frame: {error}; before it came {:#?}", self.seen),
        }
    }

    /// The next frame of this sort that fits; others are kept in `seen`.
    fn until(&mut self, sort: &str, fits: impl Fn(&Value) -> bool) -> Value {
        while let Some(frame) = self.frame() {
            self.seen.push(frame);
            if let Some(body) = self.seen.last().and_then(|frame| frame.get(sort)).filter(|body| fits(body)) {
                return body.clone();
            }
        }
        panic!("the host ended before a `{sort}`: {:#?}", self.seen);
    }

    fn write(&self, script: &str, text: &str) -> std::path::PathBuf {
        let path = self.dir.path().join(format!("{script}.lua"));
        fs::write(&path, format!("local s3 = require 'section3'\n{text}")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
        path
    }

    fn load(&mut self, script: &str, generation: u64, text: &str) {
        let path = self.write(script, text);
        self.send(&json!({"load": {"script": script, "generation": generation, "body": {"hook": {"path": path}}}}));
    }

    /// A script that is in force.
    fn with(&mut self, script: &str, text: &str) -> Value {
        self.load(script, 1, text);
        self.until("loaded", |loaded| loaded["script"] == script)
    }

    fn crash(&mut self, delivery: u64, script: &str, service: &str) {
        self.send(&json!({"event": {
            "delivery": delivery, "script": script, "handler": "crash", "attempt": 1, "lost": 0,
            "event": {"v": 1, "id": format!("b-{delivery}"), "type": "crash", "service": service, "data": {"code": 1}},
        }}));
    }

    fn done(&mut self, delivery: u64) -> Value {
        self.until("done", |done| done["deliveries"].as_array().is_some_and(|all| all.contains(&json!(delivery))))
    }

    /// Whether a neighbour works.
    fn neighbour_works(&mut self, delivery: u64) {
        self.crash(delivery, "neighbour", "web");
        assert_eq!(self.done(delivery)["error"], Value::Null);
    }

    fn ended(mut self) -> ExitStatus {
        while self.frame().is_some() {}
        self.process.wait().expect("its end")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const NEIGHBOUR: &str = "s3.on('crash', function(ev) s3.sleep(0) end)";

#[test]
fn what_computes_for_too_long_is_stopped_and_the_script_goes_on() {
    for (name, body, kind) in [
        ("loop", "while true do end", "cpu"),
        ("pcall", "while true do pcall(function() while true do end end) end", "cpu"),
        ("xpcall", "while true do xpcall(function() while true do end end, function() while true do end end) end", "cpu"),
        ("coroutine", "while true do pcall(coroutine.wrap(function() while true do end end)) end", "cpu"),
        ("resume", "local co = coroutine.create(function() while true do end end) while true do coroutine.resume(co) end", "cpu"),
        ("close", "local x <close> = setmetatable({}, {__close = function() while true do end end})", "cpu"),
        (
            "sort",
            "local t = {} for i = 1, 1e5 do t[i] = -i end while true do table.sort(t, function(a, b) return a < b end) end",
            "cpu",
        ),
        ("gsub", "('x'):rep(1e6):gsub('.', function() while true do end end)", "cpu"),
        ("memory", "local t = {} while true do t[#t + 1] = {} end", "memory"),
        ("strings", "local s = 'x' while true do s = s .. s end", "memory"),
        ("rep", "local s = ('x'):rep(1 << 40)", "error"),
        ("gc", "setmetatable({}, {__gc = function() while true do end end})", "error"),
        ("exit", "os.exit(0)", "error"),
        ("bytecode", "assert(load(string.dump(function() end)))", "error"),
        ("outside", "require '../secret'", "error"),
        ("recursion", "local function f() return 1 + f() end f()", "memory"),
    ] {
        let mut host = Host::new();
        host.with("neighbour", NEIGHBOUR);
        host.with(name, &format!("local calm = false s3.on('crash', function(ev) if not calm then calm = true {body} end end)"));
        host.crash(1, name, "web");
        host.until("began", |began| began["deliveries"] == json!([1]));
        host.neighbour_works(2);
        let done = host.seen.iter().find(|frame| frame["done"]["deliveries"] == json!([1])).map(|frame| frame["done"].clone());
        let done = done.unwrap_or_else(|| host.done(1));
        let found = done["error"]["kind"].as_str().unwrap_or_default();
        if found == "cpu" {
            assert_eq!(done["error"]["message"], "ran for over 1s of CPU without waiting", "{name}");
        }
        // On a slow machine the time may be over before the heap is full.
        assert!(found == kind || (kind == "memory" && found == "cpu"), "{name}: {done}");
        // The same script has its next event.
        host.crash(3, name, "web");
        assert_eq!(host.done(3)["error"], Value::Null, "{name}");
    }
}

#[test]
fn what_no_hook_can_stop_ends_the_host_and_is_named() {
    for body in ["string.find(('a'):rep(40), ('a-'):rep(30) .. 'b')", "pcall(string.find, ('a'):rep(40), ('a-'):rep(30) .. 'b')"]
    {
        let mut host = Host::new();
        host.with("neighbour", NEIGHBOUR);
        host.with("pattern", &format!("s3.on('crash', function(ev) {body} end)"));
        host.crash(7, "pattern", "web");
        host.neighbour_works(8);
        let culprit = host.until("culprit", |_| true);
        assert_eq!((&culprit["script"], &culprit["deliveries"]), (&json!("pattern"), &json!([7])));
        assert_eq!(host.ended().code(), Some(86));
    }
}

/// Only what it computes counts, so a machine that is frozen in the middle of a run makes no culprit of it.
#[test]
fn a_script_is_not_to_blame_for_the_time_that_its_host_is_stopped() {
    let mut host = Host::new();
    let computes = "local from = os.clock() print('computes') while os.clock() - from < 0.4 do end";
    host.with("busy", &format!("s3.on('crash', function(ev) {computes} end)"));
    host.crash(1, "busy", "web");
    host.until("log", |line| line["message"] == "computes");
    process::signal(host.process.id().cast_signed(), Signal::SIGSTOP);
    // For as long as it takes another host to blame somebody: 2 s of CPU, which is 2 s at least.
    let mut other = Host::new();
    other.with("pattern", "s3.on('crash', function(ev) string.find(('a'):rep(40), ('a-'):rep(30) .. 'b') end)");
    other.crash(1, "pattern", "web");
    other.until("culprit", |_| true);
    process::signal(host.process.id().cast_signed(), Signal::SIGCONT);
    assert_eq!(host.done(1)["error"], Value::Null);
    host.crash(2, "busy", "web");
    assert_eq!(host.done(2)["error"], Value::Null);
}

#[test]
fn a_file_body_has_half_a_second() {
    let mut host = Host::new();
    host.with("neighbour", NEIGHBOUR);
    host.load("endless", 1, "while true do pcall(function() while true do end end) end");
    let refused = host.until("not_loaded", |_| true);
    assert_eq!((&refused["script"], &refused["error"]["kind"]), (&json!("endless"), &json!("cpu")));
    host.neighbour_works(1);
}

#[test]
fn a_million_timers_and_a_flood_of_output_are_refused() {
    let mut host = Host::new();
    host.with("neighbour", NEIGHBOUR);
    host.with("timers", "s3.on('crash', function() for i = 1, 1e6 do s3.after('1d', function() end) end end)");
    host.crash(1, "timers", "web");
    assert!(host.done(1)["error"]["message"].as_str().is_some_and(|text| text.contains("at most 64 timers")));
    host.with("flood", "s3.on('crash', function() for i = 1, 20000 do print(('x'):rep(10000)) end end)");
    host.crash(2, "flood", "web");
    host.done(2);
    let lines = host.seen.iter().filter(|frame| frame["log"]["script"] == "flood").count();
    assert!(lines <= 2_000, "{lines} lines of a flood");
    host.neighbour_works(3);
}

#[test]
fn sixty_four_handlers_that_sleep_hold_nobody_up() {
    let mut host = Host::new();
    host.with("neighbour", NEIGHBOUR);
    host.with("sleeper", "s3.on('crash', {concurrency = 16}, function() s3.sleep('1d') end)");
    for number in 0..64 {
        host.crash(100 + number, "sleeper", &format!("s{number}"));
    }
    for _ in 0..16 {
        host.until("began", |_| true);
    }
    host.neighbour_works(1);
    host.send(&json!({"ping": {"number": 5}}));
    host.until("pong", |pong| pong["number"] == 5);
    let began = host.seen.iter().filter(|frame| frame.get("began").is_some()).count();
    assert_eq!(began, 17, "16 runs at once, and the neighbour's");
}

#[test]
fn a_time_limit_ends_a_run() {
    let mut host = Host::new();
    host.with("slow", "s3.on('crash', {timeout = '10ms'}, function() s3.sleep('1d') end)");
    host.crash(1, "slow", "web");
    assert_eq!(host.done(1)["error"]["kind"], "timeout");
}

#[test]
fn a_file_that_others_can_write_is_not_loaded() {
    let mut host = Host::new();
    let path = host.write("open", NEIGHBOUR);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("a mode");
    host.send(&json!({"load": {"script": "open", "generation": 1, "body": {"hook": {"path": path}}}}));
    let refused = host.until("not_loaded", |_| true);
    assert!(refused["error"]["message"].as_str().is_some_and(|text| text.contains("can be written by others")), "{refused}");
}

#[test]
fn a_new_version_takes_over_when_the_old_one_is_done_and_a_broken_one_changes_nothing() {
    let mut host = Host::new();
    let ask = "function() local state = s3.services.get('web') print('old ' .. state.name) end";
    host.with("a", &format!("s3.on('crash', {ask})"));
    host.crash(1, "a", "web");
    let call = host.until("call", |_| true);
    host.load("a", 2, "s3.on('crash' oh");
    assert_eq!(host.until("not_loaded", |_| true)["generation"], 2);
    host.load("a", 3, "s3.on('crash', function() print('new') end)");
    assert_eq!(host.until("loaded", |_| true)["generation"], 3);
    // The old one still waits for its answer: the new one has to wait for it.
    host.crash(2, "a", "web");
    host.send(&json!({"ping": {"number": 1}}));
    host.until("pong", |_| true);
    assert!(host.seen.iter().all(|frame| frame["log"]["message"] != "new"));
    host.send(&json!({"answer": {"call": call["call"], "result": {"Ok": {"name": "web"}}}}));
    assert_eq!(host.done(1)["error"], Value::Null);
    assert_eq!(host.done(2)["error"], Value::Null);
    let said: Vec<_> = host.seen.iter().filter_map(|frame| frame["log"]["message"].as_str()).collect();
    assert_eq!(said, ["old web", "new"]);
}

#[test]
fn calls_carry_their_cause() {
    let mut host = Host::new();
    host.with("a", "s3.on('crash', function(ev) assert(s3.services.restart(ev.service)) end)");
    host.crash(1, "a", "web");
    let call = host.until("call", |_| true);
    assert_eq!((&call["script"], &call["cause"]), (&json!("a"), &json!(["b-1", 0])));
    assert_eq!(call["verb"]["restart"]["service"], "web");
    let refused = json!({"code": "budget", "message": "seven in ten minutes", "retryable": false});
    host.send(&json!({"answer": {"call": call["call"], "result": {"Err": refused}}}));
    assert!(host.done(1)["error"]["message"].as_str().is_some_and(|text| text.contains("seven in ten minutes")));
}

#[test]
fn a_program_gets_the_event_and_is_killed_when_its_time_is_over() {
    let mut host = Host::new();
    let out = host.dir.path().join("out");
    let page = format!("cat > '{0}'; echo \"$SECTION3_EVENT $SECTION3_SERVICE $SECTION3_CODE\" >> '{0}'; exit 4", out.display());
    let program = |run: &str, timeout: u64| {
        json!({"program": {
            "on": ["crash"], "service": null, "run": ["/bin/sh", "-c", run], "timeout": {"secs": timeout, "nanos": 0}, "dir": "/",
        }})
    };
    for (script, body) in [("page", program(&page, 60)), ("slow", program("sleep 1000 & sleep 1000", 1))] {
        host.send(&json!({"load": {"script": script, "generation": 1, "body": body}}));
        host.until("loaded", |loaded| loaded["script"] == script);
    }
    let event = json!({"v": 1, "id": "b-1", "type": "crash", "service": "web", "data": {"code": 7}});
    for (delivery, script) in [(1, "page"), (2, "slow")] {
        host.send(&json!({"event": {
            "delivery": delivery, "script": script, "handler": script, "attempt": 2, "lost": 0, "event": event,
        }}));
    }
    let done = host.done(1);
    assert!(done["error"]["message"].as_str().is_some_and(|text| text.contains("exit 4")), "{done}");
    let text = fs::read_to_string(out).expect("what it wrote");
    let (event, words) = text.split_once('\n').expect("two lines");
    assert_eq!(serde_json::from_str::<Value>(event).expect("JSON")["attempt"], 2);
    assert_eq!(words, "crash web 7\n");
    assert_eq!(host.done(2)["error"]["kind"], "timeout");
}

#[test]
fn bye_lets_runs_end_and_the_end_of_the_socket_does_not() {
    let mut host = Host::new();
    host.with("a", "s3.on('crash', {batch = {wait = '1d'}}, function(events) s3.sleep('10ms') print(#events) end)");
    host.crash(1, "a", "web");
    host.crash(2, "a", "db");
    host.send(&json!({"bye": {"budget_ms": 60_000}}));
    assert_eq!(host.done(1)["deliveries"], json!([1, 2]));
    assert_eq!(host.ended().code(), Some(0));

    let mut host = Host::new();
    host.with("a", "s3.on('crash', function() s3.sleep('1d') end)");
    host.crash(1, "a", "web");
    host.until("began", |_| true);
    host.frames.get_mut().shutdown(std::net::Shutdown::Write).expect("our end");
    assert_eq!(host.ended().code(), Some(0));
}

/// Changes more, and more often, than one write takes up.
const KEEPS: &str = "s3.on('crash', function()
  for n = 1, 50 do s3.kv.set('k' .. n % 15, ('x'):rep(4000)) s3.kv.incr('n') s3.sleep(0) end
end)";

fn kept(dir: &std::path::Path, script: &str) -> Value {
    let text = fs::read(dir.join(format!("state/{script}.kv.json"))).expect("what it keeps");
    serde_json::from_slice::<Value>(&text).expect("JSON")["entries"]["n"]["value"].clone()
}

#[test]
fn what_a_script_keeps_is_on_the_disk_when_its_host_has_ended() {
    for is_told in [true, false] {
        let mut host = Host::new();
        fs::create_dir(host.dir.path().join("state")).expect("a folder");
        host.with("a", KEEPS);
        host.crash(1, "a", "web");
        assert_eq!(host.done(1)["error"], Value::Null);
        if is_told {
            host.send(&json!({"bye": {"budget_ms": 60_000}}));
        } else {
            host.frames.get_mut().shutdown(std::net::Shutdown::Write).expect("our end");
        }
        while host.frame().is_some() {}
        assert_eq!(host.process.wait().expect("its end").code(), Some(0));
        assert_eq!(kept(host.dir.path(), "a"), 50, "told: {is_told}");
    }
}

#[test]
fn a_new_version_goes_on_with_what_the_old_one_kept_last() {
    let mut host = Host::new();
    fs::create_dir(host.dir.path().join("state")).expect("a folder");
    host.with("a", "s3.on('crash', function() s3.services.get('web') s3.kv.incr('n') end)");
    host.crash(1, "a", "web");
    let call = host.until("call", |_| true);
    // It is read here, before the old version is done.
    host.load("a", 2, "s3.kv.get('n') s3.on('crash', function() s3.kv.incr('n') end)");
    host.until("loaded", |loaded| loaded["generation"] == 2);
    host.send(&json!({"answer": {"call": call["call"], "result": {"Ok": {"name": "web"}}}}));
    assert_eq!(host.done(1)["error"], Value::Null);
    host.crash(2, "a", "web");
    assert_eq!(host.done(2)["error"], Value::Null);
    host.send(&json!({"bye": {"budget_ms": 60_000}}));
    while host.frame().is_some() {}
    assert_eq!(kept(host.dir.path(), "a"), 2);
}

#[test]
fn who_is_not_our_supervisor_is_not_served() {
    let alone = Command::new(env!("CARGO_BIN_EXE_section3")).arg("hook-host").output().expect("a process");
    assert_eq!(alone.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&alone.stderr).contains("started by the supervisor only"));
    let mut host = Host::new();
    host.send(&json!({"ping": {"number": 1}}));
    host.until("pong", |_| true);
    host.send(&json!({"hello": {"version": "x", "host": "h", "boot": "b", "state_dir": "/", "log_dir": "/", "secrets": {}}}));
    assert_eq!(host.ended().code(), Some(2));
}
