//! The `supervisor:` section.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::LogLimits;
use crate::value::ServiceName;

/// The supervisor's own settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Settings {
    /// What goes to its stdout.
    pub console: Console,
    /// Its own log file.
    pub log: LogLimits,
    /// One budget for the whole shutdown.
    pub stop_grace: Duration,
    /// When it ends by itself.
    pub exit_when: ExitWhen,
    /// Which services are started.
    pub select: Option<Selection>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            console: Console::All,
            log: LogLimits::default(),
            // Docker sends SIGKILL after 10 s.
            stop_grace: Duration::from_secs(8),
            exit_when: ExitWhen::Never,
            select: None,
        }
    }
}

impl Settings {
    /// Whether a service is to be started: no selection, or one that names it.
    #[must_use]
    pub fn selects(&self, name: &ServiceName) -> bool {
        let picked = self.select.as_ref().and_then(|select| select.picked.as_ref());
        picked.is_none_or(|names| names.contains(name))
    }
}

/// What goes to the supervisor's stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Console {
    /// Every service's lines, prefixed, and its own messages.
    All,
    /// Its own messages.
    Events,
    /// Nothing.
    None,
}

/// When the supervisor ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitWhen {
    /// Not.
    Never,
    /// When no service runs, waits or is timed.
    AllEnded,
}

/// The services that an environment variable picked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Selection {
    /// The variable.
    pub env: String,
    /// What an unknown name in it means.
    pub unknown: UnknownName,
    /// The names it held that exist, in the order of the file; `None` where it was unset or empty: all of them.
    pub picked: Option<Vec<ServiceName>>,
    /// The names it held that do not exist; only under [`UnknownName::Warn`].
    pub ignored: Vec<String>,
}

/// What an unknown name in a selection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnknownName {
    /// The config is refused.
    Error,
    /// It is reported and left out.
    Warn,
}
