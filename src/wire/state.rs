//! The eight words for the state of a service.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a service as `status`, JSON, events and hooks call it: the only words there are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not running because an operator (or the config) said so, or never started.
    Stopped,
    /// Wants to start, a dependency is not there yet.
    Waiting,
    /// Its process runs, not ready yet.
    Starting,
    /// Its process runs and is ready.
    Running,
    /// Asked to end, not gone yet.
    Stopping,
    /// It ended and its next launch is timed.
    Backoff,
    /// It ended with code 0 and its policy does not restart it.
    Exited,
    /// It ended otherwise and stays down.
    Failed,
}

impl State {
    /// Every state, in the order of the contract's table.
    pub const ALL: [Self; 8] =
        [Self::Stopped, Self::Waiting, Self::Starting, Self::Running, Self::Stopping, Self::Backoff, Self::Exited, Self::Failed];

    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Backoff => "backoff",
            Self::Exited => "exited",
            Self::Failed => "failed",
        }
    }

    /// The state that a word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
