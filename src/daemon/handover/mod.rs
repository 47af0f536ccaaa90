//! Re-exec in place (section 10 of the contract): this process goes on as the program that is on disk now.
//!
//! 1. [`Daemon::begin_reexec`]: the program on disk is rehearsed, as a child, on a copy of the state ([`rehearsal`]).
//! 2. [`Daemon::reexec_when_calm`]: once nothing is in hand that cannot be written down, the pump stands still, the state goes
//!    into memory that has a descriptor ([`state`], wrapped by [`parcel`]), and the program is replaced ([`leave`]).
//! 3. [`arrive`]: the new program checks the state, and goes on. Where it cannot, it gives way to the old one.
//!
//! Until `execve(2)` has succeeded, every step can be taken back, and is. What each thing the supervisor knows becomes:
//!
//! | of [`Daemon`] | |
//! | --- | --- |
//! | `supervisor` | written down as it is; graph, deadlines, who waits: made again from the rest. Moments are of `CLOCK_MONOTONIC`, which goes on |
//! | `children` | written down; a launch under way by the descriptor that tells its outcome. The kernel keeps parent, parent-death signals and zombies |
//! | errands of probes | ended and reaped; their questions are asked again |
//! | `backlog` | launches: written down, those whose files are being read begin again; drains with their limits. Ended children are looked for at once |
//! | `logs`, `pump` | stands still; begun lines, lost bytes not marked yet, tails, reports, console bytes: written down; pipes and folder by descriptor |
//! | `watches` | written down: `NOTIFY_SOCKET`, watchdogs and readiness pipes by descriptor, searches by their begun line, health by its standing and the time of the next check. Polled questions are asked again |
//! | `ring` | written down: no hole in `seq`, `boot` stays |
//! | `orders`, `places` | connections by descriptor with what is unread, unsent, and waited for; a request that nobody read yet is read again |
//! | `subscribers` | connections, each with the next event it is to get |
//! | `tails` | connections that follow logs, each with the bytes it was not sent yet; the pump stands still until they follow again |
//! | `questions` | waited for, a second at most; then the machine goes on at their deadline, as it does without an answer |
//! | answers under way (`flows`) | waited for, a second at most; then they end with a message |
//! | a reload, a search of output on another thread, the launch of a service with a `log:` probe | waited for; where that takes too long the re-exec is refused |
//! | `surroundings`, paths, `restrictions`, `orphans`, `asked_to_stop` | written down; the environment is the process's own |
//! | `occupancy` | the lock is one of an open file: its descriptor holds it |
//! | the listening socket | by descriptor; never unbound, so nobody is refused |
//! | signals | blocked all the time; pending ones stay pending |
//! | subreaper, limits, working directory | the kernel keeps them |
//! | `hooks` | cursors, counters, quarantine, what is disabled, the scripts as they are in force: written down. The host ends with its descriptor and is started anew; what a handler had begun with is a second attempt |

pub mod arrive;
mod leave;
mod parcel;
mod program;
mod rehearsal;
mod state;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use super::clock::Now;
use super::event_loop::Daemon;
use super::inbox::Letter;
use crate::control::server::Answer;
use crate::value::Moment;
use crate::value::version::VERSION;
use crate::wire::event::{Actor, Kind, UpdatePhase};
use crate::wire::{Fault, FaultCode};

pub use program::on_disk;
pub use rehearsal::Rehearsed;

/// Whether this program could go on from a state with this content, its wrapping (length, checksum) left aside.
///
/// # Errors
///
/// Why not. Never panics, whatever the bytes.
pub fn fits(content: &[u8]) -> Result<(), String> {
    state::State::from_content(content).map(drop).map_err(|unfit| unfit.to_string())
}

/// The variable by which a program finds what the one before it left: `PID:STATE:PROGRAM`, numbers of descriptors, and after a
/// fourth colon why the new program gave way to the old one. The PID keeps a service from mistaking it for its own.
pub const VARIABLE: &str = "SECTION3_HANDOVER";

/// For what cannot be written down to be over.
const CALM_WITHIN: Duration = Duration::from_secs(5);
/// For answers that go on for a while: after that they are cut off.
const FLOWS_WITHIN: Duration = Duration::from_secs(1);
/// From one look to the next while something is in the way.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Where the replacement of this program stands.
#[derive(Debug, Default)]
pub struct Handover {
    /// Where the program is on disk; unknown without `/proc`.
    pub program: Option<PathBuf>,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// The program on disk is being tried.
    Rehearsing(Asker),
    /// It can take over.
    Rehearsed { asker: Asker, rehearsed: Rehearsed, since: Moment, look_at: Moment },
}

/// Who asked.
#[derive(Debug)]
pub struct Asker {
    /// By whose word.
    pub actor: Actor,
    /// Who waits for the outcome.
    pub answer: Option<Answer>,
}

impl Handover {
    /// Nothing is under way.
    #[must_use]
    pub fn new(program: Option<PathBuf>) -> Self {
        Self { program, stage: Stage::Idle }
    }

    /// When to look again.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match &self.stage {
            Stage::Rehearsed { look_at, .. } => Some(*look_at),
            Stage::Idle | Stage::Rehearsing(_) => None,
        }
    }
}

/// Why it was not now.
enum Hitch {
    /// Something was in the way that will not be in a moment.
    Passing(String),
    /// It will not be.
    Final(String),
}

impl Daemon {
    /// Begins to replace this program by the one on disk.
    pub(super) fn begin_reexec(&mut self, asker: Asker, now: Now) {
        if self.supervisor.is_stopping() {
            return decline(asker, FaultCode::ShuttingDown, "the supervisor is shutting down");
        }
        if !matches!(self.handover.stage, Stage::Idle) {
            return decline(asker, FaultCode::Busy, "another re-exec is under way");
        }
        match self.rehearse(&asker, now) {
            Ok(()) => self.handover.stage = Stage::Rehearsing(asker),
            Err(reason) => self.stay(asker, &reason, now),
        }
    }

    /// The rehearsal is over.
    pub(super) fn rehearsed(&mut self, outcome: Result<Rehearsed, String>, now: Now) {
        let Stage::Rehearsing(asker) = std::mem::take(&mut self.handover.stage) else { return };
        match outcome {
            Ok(rehearsed) => {
                tracing::info!("section3 {VERSION} gives way to {}", rehearsed.version);
                self.handover.stage = Stage::Rehearsed { asker, rehearsed, since: now.moment, look_at: now.moment };
            }
            Err(reason) => self.stay(asker, &reason, now),
        }
    }

    /// Replaces the program once it was rehearsed and nothing is in the way. Returns where it did not.
    pub(super) fn reexec_when_calm(&mut self, letters: &mut Receiver<Letter>, now: Now) {
        let (since, rehearsed) = match &self.handover.stage {
            Stage::Rehearsed { rehearsed, since, look_at, .. } if *look_at <= now.moment => (*since, rehearsed.clone()),
            Stage::Rehearsed { .. } | Stage::Rehearsing(_) | Stage::Idle => return,
        };
        let Stage::Rehearsed { asker, .. } = std::mem::take(&mut self.handover.stage) else { return };
        if self.supervisor.is_stopping() {
            return decline(asker, FaultCode::ShuttingDown, "the supervisor is shutting down");
        }
        let cuts_flows = now.moment.since(since) >= FLOWS_WITHIN;
        let hitch = match self.in_the_way(cuts_flows) {
            Some(reason) => Hitch::Passing(reason.to_owned()),
            None => self.leave(&asker, &rehearsed, cuts_flows, letters, now),
        };
        match hitch {
            Hitch::Passing(_) if now.moment.since(since) < CALM_WITHIN => {
                self.handover.stage = Stage::Rehearsed { asker, rehearsed, since, look_at: now.moment + LOOK_AGAIN };
            }
            Hitch::Passing(reason) | Hitch::Final(reason) => self.stay(asker, &reason, now),
        }
    }

    /// What is in hand that cannot be written down.
    fn in_the_way(&self, cuts_flows: bool) -> Option<&'static str> {
        match () {
            () if self.reloading => Some("a reload is under way"),
            () if self.watches.is_in_between() => Some("the output of a service that starts is being searched"),
            () if !self.supervisor.is_at_rest() => Some("decisions wait to be carried out"),
            () if !cuts_flows && !self.questions.is_empty() => Some("a hook is asked for its advice"),
            () if !cuts_flows && std::rc::Rc::strong_count(&self.flows) > 1 => Some("answers are under way"),
            () => None,
        }
    }

    /// The old program goes on, and says why.
    fn stay(&mut self, asker: Asker, reason: &str, now: Now) {
        let Asker { actor, answer } = asker;
        let kind = Kind::Update {
            phase: UpdatePhase::Failed,
            from: Some(VERSION.to_owned()),
            to: None,
            error: Some(format!("cannot re-exec, section3 {VERSION} goes on: {reason}")),
        };
        self.tell(None, kind, actor, now);
        if let Some(answer) = answer {
            let fault = Fault::new(FaultCode::Failed, format!("not replaced, section3 {VERSION} goes on: {reason}"));
            answer.refuse(&fault.with_hint("nothing was changed"));
        }
    }
}

/// Refuses without having tried.
fn decline(asker: Asker, code: FaultCode, message: &str) {
    match asker.answer {
        Some(answer) => answer.refuse(&Fault::new(code, message)),
        None => tracing::warn!("did not re-exec: {message}"),
    }
}

#[cfg(test)]
mod tests;
