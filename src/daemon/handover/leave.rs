//! The last steps of the old program. All of it in one turn of the loop: no task runs in between, and no process is made.

use std::ffi::{CString, OsString};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::mpsc::Receiver;

use super::program::edition;
use super::state::State;
use super::{Asker, Hitch, Rehearsed};
use crate::control::server::Answer;
use crate::daemon::clock::Now;
use crate::daemon::event_loop::Daemon;
use crate::daemon::inbox::Letter;
use crate::daemon::watch::{Finding, WatchRest};
use crate::log::Report;
use crate::log::rest::Rest;
use crate::supervision::{ServiceId, Supervisor};
use crate::sys::{reexec, words};
use crate::value::Run;
use crate::value::json::Raw;
use crate::value::version::VERSION;
use crate::wire::event::ReadyBy;

/// For the pump to come to a stop. The loop waits for it: longer would hold up everybody.
pub(super) const PUMP_STOPS: Duration = Duration::from_millis(20);
/// Letters that are read before the end: more than the inbox holds.
const LAST_LETTERS: usize = 2 * crate::daemon::inbox::CAPACITY;

type Found = (Vec<WatchRest>, Vec<(ServiceId, Run)>);

impl Daemon {
    /// Replaces the program. Where it returns, everything is as it was.
    pub(super) fn leave(
        &mut self,
        asker: &Asker,
        rehearsed: &Rehearsed,
        cuts_flows: bool,
        letters: &mut Receiver<Letter>,
        now: Now,
    ) -> Hitch {
        let Some(path) = self.handover.program.clone() else { return Hitch::Final("the program has no path".to_owned()) };
        match edition(&path) {
            Ok(edition) if edition == rehearsed.edition => {}
            Ok(_) => return Hitch::Final(format!("{} changed after it was tried; call `self reexec` again", path.display())),
            Err(reason) => return Hitch::Final(reason),
        }
        // Whatever is known already is acted upon before, and what comes of it.
        for _ in 0..LAST_LETTERS {
            let Ok(letter) = letters.try_recv() else { break };
            self.read(letter, now);
            self.obey(now);
        }
        if let Some(reason) = self.in_the_way(cuts_flows) {
            return Hitch::Passing(reason.to_owned());
        }
        let paused = match self.pump.pause(PUMP_STOPS) {
            Ok(paused) => paused,
            Err(reason) => return Hitch::Passing(reason),
        };
        // No task has run since: only the pump can have written.
        let held: Vec<Letter> = std::iter::from_fn(|| letters.try_recv().ok()).collect();
        let reports = held.iter().filter_map(|letter| match letter {
            Letter::Log(report) => Some(report.clone()),
            _ => None,
        });
        let reports: Vec<Report> = reports.collect();
        let is_complete = reports.len() == held.len();
        let watches = self.watches.rest();
        let found = watches.1.clone();
        let hitch = if is_complete {
            let state = self.state(asker, paused.rest.clone(), reports, watches, rehearsed.events);
            Hitch::Final(replace(&path, &state))
        } else {
            Hitch::Passing("letters came in the last moment".to_owned())
        };
        // Still here: the old program goes on.
        drop(paused);
        for letter in held {
            self.read(letter, now);
        }
        for (id, run) in found {
            self.found(id, run, Finding::Ready(ReadyBy::Log), now);
        }
        self.carry_out(now);
        hitch
    }

    /// Everything that must live on. Events before the number `rehearsed` were part of an earlier one that was tried.
    pub(super) fn state(
        &self,
        asker: &Asker,
        log: Rest,
        reports: Vec<Report>,
        watches: Found,
        rehearsed: u64,
    ) -> State<&Supervisor> {
        let (watches, found_ready) = watches;
        let (lock, bound) = self.occupancy.rest();
        let (launches, drains) = self.backlog.rest();
        let origin = self.ring.origin();
        State {
            from: VERSION.to_owned(),
            pid: std::process::id(),
            program: self.handover.program.clone().unwrap_or_default(),
            boot: origin.boot.clone(),
            host: origin.host.clone(),
            began: self.began,
            config_path: self.config_path.clone(),
            log_dir: self.log_dir.clone(),
            socket: self.occupancy.socket().to_owned(),
            descriptor_limit: self.surroundings.descriptor_limit,
            restrictions: self.restrictions.clone(),
            lock,
            listener: self.listening.get(),
            bound,
            supervisor: &self.supervisor,
            children: self.children.rest(),
            launches,
            drains,
            watches,
            found_ready,
            log,
            reports,
            ring: self.ring.rest(),
            rehearsed,
            orders: self.orders.rest(),
            lines: self.places.rest(),
            followers: self.subscribers.rest(),
            orphans: self.orphans,
            orphan_notice_at: self.orphan_notice_at,
            asked_to_stop: self.asked_to_stop,
            asker: asker.actor.clone(),
            answer: asker.answer.as_ref().and_then(Answer::connection),
            hooks: Raw::of(&self.hooks.rest()).ok(),
            tails: self.tails.rest(),
        }
    }
}

/// Hands the process over; returns why that did not happen.
fn replace(path: &Path, state: &State<&Supervisor>) -> String {
    match try_to_replace(path, state) {
        Ok(never) => match never {},
        Err(reason) => reason,
    }
}

fn try_to_replace(path: &Path, state: &State<&Supervisor>) -> Result<std::convert::Infallible, String> {
    let memory = reexec::in_memory(c"section3 state", &state.encode()?).map_err(|error| words::io(&error))?;
    let own = reexec::own_image().map_err(|errno| format!("cannot keep hold of this program: {}", words::errno(errno)))?;
    let mut kept = state.descriptors();
    kept.extend([memory.as_raw_fd(), own.as_raw_fd()]);
    let value = format!("{}:{}:{}", std::process::id(), memory.as_raw_fd(), own.as_raw_fd());
    let environment = reexec::environment_with(super::VARIABLE, OsString::from_vec(value.into_bytes()).as_os_str());
    let program = CString::new(path.as_os_str().as_bytes()).map_err(|_| "its path holds a NUL byte".to_owned())?;
    // As it was called the first time: `ps` and whoever looks for the process by its words find it as before.
    let argv: Vec<CString> = std::env::args_os().filter_map(|word| CString::new(word.into_vec()).ok()).collect();
    let failed = |errno: Errno| format!("cannot run {}: {}", path.display(), words::errno(errno));
    let kept_open = reexec::keep_on_exec(&kept, true);
    let errno = match kept_open {
        Ok(()) => reexec::execute(&program, &argv, &environment),
        Err(errno) => errno,
    };
    // No service must ever get one of these.
    let _ = reexec::keep_on_exec(&kept, false);
    Err(failed(errno))
}
