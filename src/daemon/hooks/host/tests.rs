//! A supervisor with one hook, and the test as its host: what is believed of a host, and what is done about one that lies.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::daemon::hooks::asks::{Asker, Reply, Unanswered};
use crate::daemon::hooks::scripts::{Catalogue, Print};
use crate::daemon::hooks::{Hooks, Memory};
use crate::daemon::ring::Led;
use crate::daemon::stand::{self, Stand};
use crate::hooks::frame::{Body, Call, FromHost, HookError, Loaded, NotLoaded, Question, Verb};
use crate::value::sorted::Map;
use crate::wire::event::{Actor, Kind};

/// No process has this number: whatever is done to it happens to nobody.
const NOBODY: i32 = i32::MAX;

struct Corner {
    daemon: Daemon,
    /// The other end of the link.
    host: UnixStream,
    now: Now,
    _letters: mpsc::Receiver<Letter>,
    _dir: tempfile::TempDir,
}

/// Plays with a host that was launched just now and has said nothing.
fn play(play: impl FnOnce(&mut Corner)) {
    stand::play("services: {web: {command: x}}", |stand| play(&mut corner(stand)));
}

fn corner(stand: Stand) -> Corner {
    let Stand { mut daemon, letters, now, dir } = stand;
    let word = |text: &str| OsString::from(text);
    let inherited = ["KEPT", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "SECTION3_SOCKET", "SECTION3_SERVICE"];
    daemon.surroundings.environment = inherited.iter().map(|name| (word(name), word("outside"))).collect();
    let body = Body::Hook { path: "/a.lua".into() };
    let catalogue = Catalogue { scripts: vec![("a".to_owned(), body, Print::new())] };
    daemon.hooks = Hooks::new(catalogue, Map::new(), 1, Memory::default());
    let (ours, theirs) = link::pair().expect("a socketpair");
    let (status, _) = nix::unistd::pipe().expect("a pipe");
    daemon.hooks.host = Host::Up(Box::new(Up {
        number: 2,
        pid: NOBODY,
        since: now.moment,
        link: Link::new(ours),
        pulse: Pulse::new(now.moment),
        has_greeted: false,
        culprit: None,
        calls: calls::Calls::default(),
        launch: Launch::inherited(NOBODY, status).expect("a launch"),
        stage: Stage::Working,
        is_asked: false,
        condemned: None,
        has_closed: false,
        _tasks: [Task::begin(async {}), Task::begin(async {})],
        draining: None,
    }));
    let host = UnixStream::from(theirs);
    host.set_nonblocking(true).expect("a socket that does not block");
    Corner { daemon, host, now, _letters: letters, _dir: dir }
}

impl Corner {
    fn up(&mut self) -> &mut Up {
        self.daemon.hooks.up().expect("a host")
    }

    fn condemned(&mut self) -> Option<String> {
        self.up().condemned.clone()
    }

    fn says(&mut self, frame: FromHost) {
        self.daemon.host_said(frame, self.now);
    }

    fn greets(&mut self) {
        self.says(FromHost::Hello { version: env!("CARGO_PKG_VERSION").to_owned() });
    }

    fn calls(&mut self, cause: Option<(String, u8)>, verb: Verb) {
        self.says(FromHost::Call(Call { call: 1, script: "a".to_owned(), cause, verb }));
    }

    /// What the host was told since the last time.
    fn told(&mut self) -> Vec<Value> {
        let _ = self.up().link.flush();
        let mut text = Vec::new();
        let _ = self.host.read_to_end(&mut text);
        String::from_utf8_lossy(&text).lines().map(|line| serde_json::from_str(line).expect("a frame")).collect()
    }

    /// The codes of the refusals among the answers since the last time.
    fn refusals(&mut self) -> Vec<String> {
        let told = self.told();
        told.iter().filter_map(|frame| frame["answer"]["result"]["Err"]["code"].as_str().map(str::to_owned)).collect()
    }

    fn count(&self, is_it: impl Fn(&Kind) -> bool) -> usize {
        self.daemon.ring.since(0).iter().filter(|event| is_it(&event.kind)).count()
    }
}

fn loaded(generation: u64) -> Loaded {
    Loaded { script: "a".to_owned(), generation, ..Loaded::default() }
}

fn error() -> HookError {
    HookError { kind: HookFaultKind::Error, message: "no".to_owned(), traceback: None }
}

fn fault() -> HookFault {
    let kind = HookFaultKind::Error;
    HookFault { script: "a".to_owned(), handler: None, event_id: None, kind, message: "no".to_owned(), traceback: None }
}

fn emit() -> Verb {
    Verb::Emit { name: "x".to_owned(), data: Box::new(json!({})) }
}

fn signal() -> Verb {
    Verb::Signal { service: "web".to_owned(), signal: "HUP".to_owned() }
}

#[test]
fn who_does_not_say_who_it_is_or_is_another_version_is_killed() {
    play(|corner| {
        assert!(!corner.up().is_listening(), "it gets no events before");
        corner.greets();
        assert!(corner.up().is_listening() && corner.condemned().is_none());
        corner.up().stage = Stage::Leaving { until: corner.now.moment };
        assert!(!corner.up().is_listening(), "it was told to end");
    });
    play(|corner| {
        corner.says(FromHost::Pong { number: 0 });
        assert_eq!(corner.condemned().as_deref(), Some("it did not say who it is"));
    });
    play(|corner| {
        corner.greets();
        corner.says(FromHost::Hello { version: "x".to_owned() });
        assert!(corner.condemned().is_some_and(|why| why.starts_with("it is of version x")));
        assert!(!corner.up().is_listening(), "it is killed");
    });
}

#[test]
fn garbage_kills_the_host_that_sent_it_and_no_later_one() {
    play(|corner| {
        let garbage = |number| HostNote { number, what: What::Heard(Heard::Garbage("a song".to_owned())) };
        corner.daemon.host_noted(garbage(1), corner.now);
        assert_eq!(corner.condemned(), None);
        corner.daemon.host_noted(garbage(2), corner.now);
        assert_eq!(corner.condemned().as_deref(), Some("it sent a song"));
    });
}

#[test]
fn a_host_that_does_not_answer_is_killed() {
    play(|corner| {
        corner.greets();
        let mut looks = 0;
        while let Some(moment) = corner.up().deadline().filter(|_| looks < 10) {
            corner.daemon.look_after_host(Now { moment, ..corner.now });
            looks += 1;
        }
        assert_eq!((corner.condemned().as_deref(), looks), (Some("it does not answer"), 3), "a ping, a reprieve, the end");
    });
}

#[test]
fn what_is_said_of_an_older_version_of_a_script_changes_nothing() {
    play(|corner| {
        corner.greets();
        corner.daemon.hooks.load("a");
        corner.daemon.hooks.load("a");
        corner.says(FromHost::Loaded(loaded(1)));
        corner.says(FromHost::NotLoaded(NotLoaded { script: "a".to_owned(), generation: 1, error: error() }));
        let script = corner.daemon.hooks.find("a").expect("a script");
        assert!(script.state == State::Loading && script.loaded.is_none(), "{script:?}");
        corner.says(FromHost::Loaded(loaded(2)));
        assert!(corner.daemon.hooks.is_loaded("a"));
    });
}

/// One that took the host down too often is in none, and for it alone there is none.
#[test]
fn who_is_in_quarantine_is_not_loaded() {
    play(|corner| {
        while !corner.daemon.hooks.memory.quarantine.took_down("a", corner.now.moment) {}
        corner.daemon.hooks.load("a");
        assert_eq!((corner.told(), corner.daemon.hooks.is_wanted()), (Vec::new(), false));
        let why = corner.daemon.hooks.why_not_loaded("a").expect("a reason");
        assert!(why.contains("took the hook host down too often"), "{why}");
    });
}

#[test]
fn a_script_empties_no_ring() {
    play(|corner| {
        corner.greets();
        for _ in 0..150 {
            corner.calls(None, emit());
        }
        assert_eq!(corner.count(|kind| matches!(kind, Kind::Custom { .. })), 100);
        assert_eq!(corner.refusals(), vec!["budget"; 50]);
    });
    play(|corner| {
        corner.greets();
        for _ in 0..150 {
            corner.says(FromHost::Failed { script: "a".to_owned(), handler: None, error: error() });
        }
        assert_eq!(corner.count(|kind| matches!(kind, Kind::HookFailed(_))), 100);
    });
}

#[test]
fn the_seventh_signal_within_a_while_is_refused() {
    play(|corner| {
        corner.greets();
        for _ in 0..7 {
            corner.calls(None, signal());
        }
        // Nothing runs that could get one.
        assert_eq!(corner.refusals(), ["failed", "failed", "failed", "failed", "failed", "failed", "budget"]);
    });
}

#[test]
fn a_chain_of_actions_ends_whatever_its_host_says_of_it() {
    play(|corner| {
        corner.greets();
        let led = Some(Led { cause: None, depth: 4 });
        let fault = Kind::HookFailed(fault());
        corner.daemon.tell_led(None, fault, Actor::Supervisor, led, corner.now);
        let event = Some((corner.daemon.event_id(1), 0));
        for (cause, verb) in [(event.clone(), emit()), (event, signal()), (Some(("b-99".to_owned(), 4)), signal())] {
            corner.calls(cause, verb);
        }
        assert_eq!(corner.refusals(), ["depth", "depth", "depth"]);
    });
}

/// Two scripts that fail over each other's failures.
#[test]
fn a_chain_of_failures_ends() {
    play(|corner| {
        for seq in 0..6 {
            corner.daemon.tell_fault(fault(), false, Some(seq), corner.now);
        }
        let depths: Vec<u8> = corner.daemon.ring.since(0).iter().map(|event| event.depth).collect();
        assert_eq!(depths, [0, 1, 2, 3, 4]);
    });
}

#[test]
fn calls_and_questions_that_wait_are_bounded() {
    play(|corner| {
        corner.greets();
        for _ in 0..513 {
            let logs = Verb::Logs { service: "web".to_owned(), lines: 1 };
            let call = Call { call: corner.daemon.hooks.memory.generation, script: "a".to_owned(), cause: None, verb: logs };
            corner.daemon.hooks.memory.generation += 1;
            corner.says(FromHost::Call(call));
        }
        assert_eq!(corner.refusals(), ["busy"]);
        corner.daemon.hooks.load("a");
        let generation = corner.daemon.hooks.memory.generation;
        corner.says(FromHost::Loaded(loaded(generation)));
        let ask = |corner: &mut Corner| {
            let (reply, answer) = tokio::sync::oneshot::channel::<Reply>();
            let question = Question::Check { name: "c".to_owned(), subject: json!({}) };
            corner.daemon.ask("a", question, Duration::from_secs(1), Asker::Task(reply), corner.now);
            answer
        };
        let mut answers: Vec<_> = (0..1025).map(|_| ask(corner)).collect();
        let told = answers.iter_mut().filter_map(|answer| answer.try_recv().ok()).collect::<Vec<_>>();
        assert_eq!(told, [Err(Unanswered::Nobody("1024 questions to scripts are under way".to_owned()))]);
    });
}

#[test]
fn a_host_has_its_own_marks_and_nothing_that_was_meant_for_us() {
    play(|corner| {
        let recipe = corner.daemon.host_recipe(7).expect("a recipe");
        let mut pairs: Vec<_> = recipe.environment.iter().map(|pair| pair.to_string_lossy()).collect();
        pairs.sort_unstable();
        let marks = ["SECTION3_BOOT=b", "SECTION3_RUN=7", "SECTION3_SERVICE=@hooks", "SECTION3_SOCKET=/run/s"];
        assert_eq!(pairs, [&["KEPT=outside"][..], &marks].concat());
    });
}
