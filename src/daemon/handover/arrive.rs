//! The first steps of the new program: it reads what the old one left, checks it, and goes on. As PID 1 it must never just
//! end: where it cannot go on it gives way to the old program, of which it has a descriptor, and that failing it ends what is
//! left and begins from scratch.

use std::cell::RefCell;
use std::ffi::{CString, OsString};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

use tokio::sync::mpsc;

use super::state::State;
use super::{parcel, rehearsal};
use crate::control::server::{Answer, Doing};
use crate::daemon::boot::{runtime, start_pump};
use crate::daemon::census::Census;
use crate::daemon::clock::Now;
use crate::daemon::event_loop::{Daemon, Parts};
use crate::daemon::executor::Backlog;
use crate::daemon::hooks::{Catalogue, Hooks};
use crate::daemon::inbox::{CAPACITY, Letter};
use crate::daemon::occupancy::Occupancy;
use crate::daemon::orders::Orders;
use crate::daemon::recipe::{Surroundings, inherited_environment};
use crate::daemon::ring::Ring;
use crate::daemon::watch::Finding;
use crate::log::{Folder, diary};
use crate::spec::Spec;
use crate::sys::reexec::{self, Inherited};
use crate::sys::spawn::Launch;
use crate::sys::{init, process, signals, task, wait, words};
use crate::value::Signal;
use crate::value::json;
use crate::value::sorted::{Map, Set};
use crate::value::version::VERSION;
use crate::wire::event::{Kind, Origin, ReadyBy, UpdatePhase};
use crate::wire::{Fault, FaultCode, ReexecReport, text};

/// What this process does in place of what its command line says; `None` where it says what to do.
#[must_use]
pub fn instead(words: impl IntoIterator<Item = OsString>) -> Option<u8> {
    let words: Vec<OsString> = words.into_iter().skip(1).take(3).collect();
    if let [flag, number] = words.as_slice()
        && flag == rehearsal::FLAG
    {
        return Some(rehearsal::answer(&number.to_string_lossy()));
    }
    let left = Left::find(&std::env::var(super::VARIABLE).ok()?)?;
    match left.take_over() {
        Ok(code) => Some(code),
        Err(reason) => left.give_way(&reason),
    }
}

/// What the old program left.
struct Left {
    memory: RawFd,
    /// The old program; -1 where this is the old program, back again.
    old: RawFd,
    /// Why the new program gave way.
    came_back: Option<String>,
}

impl Left {
    /// Reads [`super::VARIABLE`]; `None` where it is not meant for this process.
    fn find(value: &str) -> Option<Self> {
        let mut parts = value.splitn(4, ':');
        let pid: u32 = parts.next()?.parse().ok()?;
        let memory = parts.next()?.parse().ok()?;
        let old = parts.next()?.parse().ok()?;
        let came_back = parts.next().map(str::to_owned);
        (pid == std::process::id()).then_some(Self { memory, old, came_back })
    }

    /// Goes on from the state; returns when the supervisor ends.
    fn take_over(&self) -> Result<u8, String> {
        let inherited = Inherited::default();
        // Held as they are: whatever goes wrong, the old program will need both.
        let memory = ManuallyDrop::new(inherited.take(self.memory).ok_or("the state is not there")?);
        let bytes = reexec::read_memory(memory.as_fd(), parcel::LONGEST)
            .map_err(|error| format!("cannot read the state: {}", words::io(&error)))?;
        let state = State::decode(&bytes).map_err(|unfit| unfit.to_string())?;
        drop(bytes);
        if state.pid != std::process::id() {
            return Err(format!("the state is one of process {}", state.pid));
        }
        let kept = state.descriptors();
        if let Some(number) = kept.iter().find(|number| !reexec::is_open(**number)) {
            return Err(format!("descriptor {number} did not come along"));
        }
        self.go_on(state, memory, &inherited).inspect_err(|_| {
            let _ = reexec::keep_on_exec(&kept, true);
        })
    }

    fn go_on(&self, state: State, memory: ManuallyDrop<OwnedFd>, inherited: &Inherited) -> Result<u8, String> {
        // First of all: no service must get what we got.
        init::close_inherited_on_exec();
        // What can fail comes before anything is taken: after it there is no way back.
        let signals = signals::block_and_open().map_err(words::errno)?;
        let (null, _) = init::open_null().map_err(|errno| format!("cannot open /dev/null: {}", words::errno(errno)))?;
        init::raise_descriptor_limit().map_err(words::errno)?;
        let runtime = runtime().map_err(|error| format!("cannot start the event loop: {}", words::io(&error)))?;
        let (inbox, letters) = mpsc::channel(CAPACITY);
        let folder = ManuallyDrop::new(inherited.take(state.log.folder).ok_or("the log folder did not come along")?);
        let folder_again = folder.try_clone().map_err(|error| words::io(&error))?;
        let settings = state.supervisor.settings();
        let pump = Folder::inherited(state.log_dir.clone(), folder_again);
        let pump = start_pump(pump, settings.log, settings.console, inbox.clone())
            .map_err(|error| format!("cannot start the log pump: {}", words::io(&error)))?;
        let code = runtime.block_on(async {
            let signals = crate::sys::watch::watch_signals(signals).map_err(|error| words::io(&error))?;
            let lock = inherited.take(state.lock).ok_or("the lock did not come along")?;
            let occupancy = Occupancy::inherited(state.socket.clone(), lock, state.bound)?;
            let listener = inherited.take(state.listener).ok_or("the socket did not come along")?;
            // From here on it is ours for good.
            drop(ManuallyDrop::into_inner(folder));
            // It counts against the container's memory, and nobody could push it out.
            drop(ManuallyDrop::into_inner(memory));
            drop(inherited.take(self.old));
            let parts = Parts {
                spec: Spec::default(),
                catalogue: Catalogue::default(),
                config_path: state.config_path.clone(),
                log_dir: state.log_dir.clone(),
                origin: Origin { boot: state.boot.clone(), host: state.host.clone() },
                began: state.began,
                surroundings: Surroundings {
                    environment: inherited_environment(),
                    boot: state.boot.clone(),
                    socket: state.socket.clone().into_os_string(),
                    descriptor_limit: state.descriptor_limit,
                },
                restrictions: state.restrictions.clone(),
                occupancy,
                pump,
                null,
                program: Some(state.program.clone()).filter(|path| !path.as_os_str().is_empty()),
                inbox,
            };
            let mut daemon = Daemon::new(parts);
            let listener = std::os::unix::net::UnixListener::from(listener);
            let listener = daemon.serve(listener).map_err(|error| format!("cannot watch the socket: {}", words::io(&error)))?;
            daemon.arrive(state, inherited, self.came_back.as_deref(), Now::read());
            Ok(task::apart(daemon.run(signals, letters, listener)).await)
        });
        // A client that reads a log from a dead disk must not hold up the end.
        runtime.shutdown_background();
        code
    }

    /// The old program takes this process back. Returns where even that fails.
    fn give_way(&self, reason: &str) -> Option<u8> {
        let said = |text: String| drop(std::io::stderr().write_all(format!("section3: {text}\n").as_bytes()));
        if self.came_back.is_none()
            && let Some(old) = Inherited::default().take(self.old)
        {
            said(format!("section3 {VERSION} cannot take over, the program before it goes on: {reason}"));
            let plain = reason.replace('\0', " ");
            let value = format!("{}:{}:-1:{plain}", std::process::id(), self.memory);
            let environment = reexec::environment_with(super::VARIABLE, value.as_ref());
            let argv: Vec<CString> = std::env::args_os().filter_map(|word| CString::new(word.into_vec()).ok()).collect();
            let _ = reexec::keep_on_exec(&[self.memory], true);
            let errno = reexec::execute_open(old.as_fd(), &argv, &environment);
            said(format!("the program before it cannot be run either: {}", words::errno(errno)));
        }
        said(format!("cannot take over ({reason}): ends what is left of the services and begins anew"));
        end_everybody();
        reexec::close_everything();
        None
    }
}

/// Ends whatever descends from this process: two copies of a service are worse than a restart.
fn end_everybody() {
    for _ in 0..200 {
        if std::process::id() == 1 {
            init::kill_everybody();
        } else {
            let census = Census::default();
            for process in census.below(&census.children()).into_iter().filter(|process| !process.is_zombie) {
                let _ = process::signal_exactly(process, Signal::KILL);
            }
        }
        while let Some(zombie) = wait::peek() {
            let _ = wait::reap(zombie);
        }
        if process::children().is_some_and(|children| children.is_empty()) {
            return;
        }
        // There is no event loop, and nobody else to wake us.
        let _ = nix::poll::poll(&mut [], 10_u8);
    }
}

impl Daemon {
    /// Fills an empty supervisor with the state of the one before it.
    fn arrive(&mut self, state: State, inherited: &Inherited, came_back: Option<&str>, now: Now) {
        let take = |number: RawFd| inherited.take(number);
        let origin = Origin { boot: state.boot, host: state.host };
        self.ring = Ring::from_rest(origin, state.began, state.ring);
        // The pump first: its own log is to go on, too, before anything is said.
        let pipes: Vec<Option<OwnedFd>> = state.log.feeds.iter().map(|feed| take(feed.fd)).collect();
        let (counters, held) = self.pump.take_over(state.log, pipes);
        diary::begin(self.pump.voice());
        self.supervisor = state.supervisor;
        self.logs = self
            .supervisor
            .services()
            .filter_map(|(id, _)| Some((id, counters.get(&crate::log::LogId(id.0))?.clone())))
            .collect();
        let launches = RefCell::new(Map::new());
        self.children.take_over(state.children, |pid, number| {
            let launch = Rc::new(Launch::inherited(pid, take(number)?).ok()?);
            launches.borrow_mut().insert(pid, Rc::clone(&launch));
            Some(launch)
        });
        let launches = launches.into_inner();
        self.backlog = Backlog::from_rest(state.launches, state.drains, now.moment);
        let under_way: Vec<_> = self.supervisor.services().map(|(id, service)| (id, service.run())).collect();
        for (id, run) in under_way {
            if let Some(launch) =
                self.children.get(id).filter(|child| child.run == run).and_then(|child| launches.get(&child.pid))
            {
                self.await_launch(id, run, launch);
            }
        }
        (self.orphans, self.orphan_notice_at, self.asked_to_stop) = (state.orphans, state.orphan_notice_at, state.asked_to_stop);

        let mut answers: Map<i32, Answer> = Map::new();
        let mut waiting: Set<i32> = Set::new();
        for line in state.lines {
            let (number, doing) = (line.fd, line.doing);
            let answer = take(number).and_then(|stream| self.places.take_over(stream, line, self.calls.clone()).ok().flatten());
            if doing == Doing::Taken {
                waiting.insert(number);
            }
            answers.extend(answer.map(|answer| (number, answer)));
        }
        self.orders = Orders::take_over(state.orders, |number| answers.remove(&number));
        // The first event of the new program comes to those who follow in its turn.
        let asker = state.answer.and_then(|number| answers.remove(&number));
        for (number, next) in state.followers {
            if let Some(answer) = answers.remove(&number) {
                self.stream_events_from(next, answer);
            }
        }
        for tail in state.tails {
            if let Some(answer) = answers.remove(&tail.connection) {
                self.stream_tail_from(tail, answer);
            }
        }
        for (_, answer) in answers {
            answer.refuse(
                &Fault::new(FaultCode::Replaced, "the supervisor replaced its own program meanwhile").with_hint("ask again"),
            );
        }
        self.watch_on(state.watches, inherited);
        drop(held);
        match state.hooks.map(|rest| json::from_str(rest.get())).transpose() {
            Ok(rest) => self.hooks = Hooks::from_rest(rest.unwrap_or_default()),
            Err(error) => tracing::error!("cannot read what was known of hooks, they are off until a reload: {error}"),
        }
        // The host of the program before, if it did not end with its descriptor yet, and whatever it has started.
        self.await_predecessor(now);
        self.look_after_hooks(now);

        let (from, to) = (state.from, VERSION.to_owned());
        let (phase, error) = match came_back {
            None => (UpdatePhase::Reexec, None),
            Some(reason) => (UpdatePhase::Failed, Some(format!("the new program gave way, section3 {to} goes on: {reason}"))),
        };
        let kind = Kind::Update { phase, from: Some(from.clone()), to: Some(to.clone()), error };
        self.tell(None, kind, state.asker, now);
        match (asker, came_back) {
            (None, _) => {}
            (Some(answer), None) => {
                let report = ReexecReport { from, to, pid: std::process::id() };
                answer.finish(&report, || text::reexec(&report));
            }
            (Some(answer), Some(reason)) => {
                let message = format!("the new program gave way, section3 {to} goes on: {reason}");
                answer.refuse(&Fault::new(FaultCode::Failed, message));
            }
        }
        for report in state.reports {
            self.read(Letter::Log(report), now);
        }
        for (id, run) in state.found_ready {
            self.found(id, run, Finding::Ready(ReadyBy::Log), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_for_another_process_is_not_for_us() {
        let me = std::process::id();
        let found = |value: &str| Left::find(value).map(|left| (left.memory, left.old, left.came_back));
        assert_eq!(found(&format!("{me}:7:8")), Some((7, 8, None)));
        assert_eq!(found(&format!("{me}:7:-1:cannot: at all")), Some((7, -1, Some("cannot: at all".to_owned()))));
        for other in [String::new(), format!("{}:7:8", me + 1), format!("{me}:7"), format!("{me}:x:8"), "x".to_owned()] {
            assert_eq!(found(&other), None, "{other:?}");
        }
    }

    #[test]
    fn an_ordinary_command_line_says_itself_what_to_do() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        for line in [&["section3"][..], &["section3", "status"], &["section3", "--config", "x"]] {
            assert_eq!(instead(words(line)), None, "{line:?}");
        }
    }

    /// What a program says that is handed this change of a whole state, before it takes anything.
    fn refusal(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let text = include_str!("../../../tests/fixtures/handover/1.json");
        let mut state: serde_json::Value = json::from_slice(text.as_bytes()).expect("JSON");
        change(&mut state);
        let bytes = parcel::wrap(&json::to_vec(&state).expect("JSON"));
        let memory = std::os::fd::IntoRawFd::into_raw_fd(reexec::in_memory(c"test", &bytes).expect("memory"));
        let refusal = Left { memory, old: -1, came_back: None }.take_over().expect_err("a refusal");
        drop(Inherited::default().take(memory));
        refusal
    }

    /// Numbers that no process has open.
    const CLOSED: i32 = 1 << 30;

    #[test]
    fn a_state_of_another_process_or_without_its_descriptors_is_not_taken() {
        let me = std::process::id();
        let other = refusal(|state| (state[1], state[11]) = ((me + 1).into(), CLOSED.into()));
        assert_eq!(other, format!("the state is one of process {}", me + 1));
        let without = refusal(|state| (state[1], state[11]) = (me.into(), CLOSED.into()));
        assert_eq!(without, format!("descriptor {CLOSED} did not come along"));
        let none = Left { memory: CLOSED, old: -1, came_back: None }.take_over();
        assert_eq!(none, Err("the state is not there".to_owned()));
    }
}
