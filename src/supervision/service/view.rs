//! What others may see of a service.

use std::sync::Arc;
use std::time::Duration;

use super::advice::because;
use super::{Service, State, Target};
use crate::spec;
use crate::supervision::message::{Action, Advice, LastEnd};
use crate::value::{Moment, Run, ServiceName};
use crate::wire::State as Word;

impl Service {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ServiceName {
        &self.spec.name
    }

    /// What it is made from now.
    #[must_use]
    pub const fn spec(&self) -> &Arc<spec::Service> {
        &self.spec
    }

    /// What it will be made from at its next explicit restart: the newest spec there is.
    #[must_use]
    pub fn newest(&self) -> &Arc<spec::Service> {
        self.fresh.as_ref().unwrap_or(&self.spec)
    }

    /// The contract's word for its state.
    #[must_use]
    pub const fn word(&self) -> Word {
        match &self.state {
            State::Down => Word::Stopped,
            State::Waiting | State::Preparing { .. } | State::Held(_) => Word::Waiting,
            State::Launching(_) | State::Starting(..) => Word::Starting,
            State::Up { .. } => Word::Running,
            State::Parting { .. } | State::Stopping { .. } | State::Killing { .. } | State::Stuck { .. } => Word::Stopping,
            State::Judging { .. } | State::Backoff(_) => Word::Backoff,
            State::Ended => Word::Exited,
            State::Failed(_) => Word::Failed,
        }
    }

    /// What the operator wants.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// The present run, or the last one.
    #[must_use]
    pub const fn run(&self) -> Run {
        self.run
    }

    /// The main process of the present run.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.life().filter(|life| life.exited.is_none()).and_then(|life| life.pid)
    }

    /// Since when the program of the present run has been running.
    #[must_use]
    pub fn executed_at(&self) -> Option<Moment> {
        self.life().and_then(|life| life.executed_at)
    }

    /// Since when it is in its state; `None` if it was never in another.
    #[must_use]
    pub const fn since(&self) -> Option<Moment> {
        self.since
    }

    /// Since when it has been ready.
    #[must_use]
    pub const fn ready_at(&self) -> Option<Moment> {
        match &self.state {
            State::Up { ready_at, .. } => Some(*ready_at),
            _ => None,
        }
    }

    /// When the next launch is due.
    #[must_use]
    pub const fn next_start_at(&self) -> Option<Moment> {
        match &self.state {
            State::Backoff(until) | State::Preparing { until, delay: Some(_), .. } => Some(*until),
            _ => None,
        }
    }

    /// Crashes in a row.
    #[must_use]
    pub const fn crashes(&self) -> u32 {
        self.crashes
    }

    /// The last end of a run.
    #[must_use]
    pub const fn last(&self) -> Option<&LastEnd> {
        self.last.as_ref()
    }

    /// Whether a changed definition waits for its next explicit restart.
    #[must_use]
    pub const fn definition_changed(&self) -> bool {
        self.fresh.is_some()
    }

    /// What there is to say about its state.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        match &self.state {
            State::Failed(message) => Some(message.clone()),
            State::Stuck { .. } => Some(self.stuck_message()),
            State::Preparing { delay: Some(Advice { by, verdict }), .. } => {
                Some(format!("{by} delays its start{}", because(&verdict.reason)))
            }
            State::Preparing { .. } => Some(format!("asking {} about its start", self.spec.policy.decisions.join(", "))),
            State::Judging { .. } => Some(format!("asking {} what is to follow", self.spec.policy.decisions.join(", "))),
            State::Parting { drained_by: Some(by), .. } => Some(format!("{by} drains it before its stop signal")),
            State::Parting { .. } => Some(format!("asking {} about its stop", self.spec.policy.decisions.join(", "))),
            _ => self
                .last
                .as_ref()
                .filter(|_| self.word() == Word::Backoff)
                .and_then(|end| end.launch.as_ref().map(|facts| format!("cannot launch: {}: {}", facts.stage, facts.message))),
        }
    }

    /// Whether a process of it may be alive.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.life().is_some()
    }

    /// Whether it waits for its dependencies.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    /// Whether scripts are asked about its launch, or one of them delays it.
    #[must_use]
    pub const fn is_preparing(&self) -> bool {
        matches!(self.state, State::Preparing { .. })
    }

    /// Whether nothing will happen to it unless somebody orders it.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        matches!(self.state, State::Down | State::Ended | State::Failed(_))
    }

    /// Whether SIGKILL did not end it.
    #[must_use]
    pub const fn is_stuck(&self) -> bool {
        matches!(self.state, State::Stuck { .. })
    }

    /// The code of a service that ended for good: 0, its exit code, 128 + signal; 127 where it could not be launched and
    /// 1 where a dependency failed.
    #[must_use]
    pub fn final_code(&self) -> Option<u8> {
        match &self.state {
            State::Ended => Some(0),
            State::Failed(_) => Some(match &self.last {
                Some(LastEnd { launch: Some(_), .. }) => 127,
                Some(LastEnd { status: Some(status), .. }) if !status.is_success() => status.shell_code(),
                _ => 1,
            }),
            _ => None,
        }
    }

    /// Whether it is to be forgotten once it is down.
    #[must_use]
    pub const fn is_removed(&self) -> bool {
        self.removed
    }

    /// Scripts are asked about it no more: there is too little time left.
    pub const fn hush(&mut self) {
        self.hushed = true;
    }

    /// Says whether it is to be forgotten once it is down. The order to stop or start comes beside it.
    pub const fn set_removed(&mut self, removed: bool) {
        self.removed = removed;
    }

    /// Takes over what a reload says: the policy at once, the definition at once where no process of it is alive, else
    /// at its next explicit restart.
    pub fn revise(&mut self, spec: Arc<spec::Service>, out: &mut Vec<Action>) {
        let policy_before = self.spec.policy.clone();
        if !self.is_live() || spec.definition == self.spec.definition {
            self.fresh = None;
            self.spec = spec;
        } else {
            self.spec = Arc::new(spec::Service {
                name: spec.name.clone(),
                definition: self.spec.definition.clone(),
                policy: spec.policy.clone(),
            });
            self.fresh = Some(spec);
        }
        let policy = &self.spec.policy;
        if policy.log != policy_before.log {
            out.push(Action::LimitLog(policy.log));
        }
        if policy.health != policy_before.health && matches!(self.state, State::Up { .. }) {
            out.push(Action::WatchHealth(self.run));
        }
    }

    /// How long its present run has lasted.
    #[must_use]
    pub fn uptime(&self, now: Moment) -> Option<Duration> {
        self.executed_at().map(|at| now.since(at))
    }
}
