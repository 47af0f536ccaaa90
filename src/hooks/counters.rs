//! What is counted of each handler.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::frame::HookError;
use crate::wire::event::HookFaultKind;

/// Runs whose length is kept for the median.
const KEPT: usize = 128;

/// One handler's counters, since its script was first loaded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Counters {
    /// Events that it is done with, whatever came of them.
    pub delivered: u64,
    /// Runs that succeeded.
    pub ok: u64,
    /// Runs that raised, or returned `false`.
    pub failed: u64,
    /// Runs that took too long.
    pub timed_out: u64,
    /// Runs that were ended for what they used, or with the host.
    pub killed: u64,
    /// Events that were given up after the host had died with them twice.
    pub dropped: u64,
    /// Events that the ring overtook before they could be handed over.
    pub lost: u64,
    /// How long runs took.
    pub runs: Runs,
    /// What went wrong last, in words.
    pub last_error: Option<String>,
}

impl Counters {
    /// Takes in the end of a run.
    pub fn ran(&mut self, ms: u64, error: Option<&HookError>) {
        self.runs.add(ms);
        match error {
            None => self.ok += 1,
            Some(error) => self.fail(error.kind, &error.message),
        }
    }

    /// Takes in a failure.
    pub fn fail(&mut self, kind: HookFaultKind, message: &str) {
        match kind {
            HookFaultKind::Error | HookFaultKind::Load => self.failed += 1,
            HookFaultKind::Timeout => self.timed_out += 1,
            HookFaultKind::Cpu | HookFaultKind::Memory | HookFaultKind::Crash => self.killed += 1,
        }
        self.last_error = Some(message.to_owned());
    }
}

/// Lengths of runs, in milliseconds: the last [`KEPT`], and the longest ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Runs {
    last: VecDeque<u64>,
    longest: Option<u64>,
}

impl Runs {
    fn add(&mut self, ms: u64) {
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(ms);
        self.longest = self.longest.max(Some(ms));
    }

    /// The median of the last ones; `None` before the first.
    #[must_use]
    pub fn median(&self) -> Option<u64> {
        let mut sorted: Vec<u64> = self.last.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    /// The longest.
    #[must_use]
    pub const fn longest(&self) -> Option<u64> {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_last_runs_and_the_longest_of_all() {
        let mut runs = Runs::default();
        assert_eq!((runs.median(), runs.longest()), (None, None));
        runs.add(1000);
        assert_eq!((runs.median(), runs.longest()), (Some(1000), Some(1000)));
        for ms in 1..=128 {
            runs.add(ms);
        }
        assert_eq!((runs.median(), runs.longest(), runs.last.len()), (Some(65), Some(1000), KEPT));
    }

    #[test]
    fn every_failure_has_its_counter() {
        use HookFaultKind::{Cpu, Crash, Error, Load, Memory, Timeout};
        let mut counters = Counters::default();
        for kind in [Error, Load, Timeout, Cpu, Memory, Crash] {
            counters.ran(1, Some(&HookError { kind, message: format!("{kind:?}"), traceback: None }));
        }
        counters.ran(1, None);
        assert_eq!((counters.ok, counters.failed, counters.timed_out, counters.killed), (1, 2, 1, 3));
        assert_eq!(counters.last_error.as_deref(), Some("Crash"));
    }
}
