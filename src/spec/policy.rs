//! How a service's life is looked after.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Probe;
use crate::value::{ByteSize, Signal};

/// The part of a service that changes without a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Policy {
    /// When a run that ended is followed by another.
    pub restart: Restart,
    /// How long to wait before it.
    pub backoff: Backoff,
    /// The polite request to end.
    pub stop_signal: Signal,
    /// From the polite request to SIGKILL.
    pub stop_grace: Duration,
    /// Its log files.
    pub log: LogLimits,
    /// A check while it runs.
    pub health: Option<Health>,
    /// Whether its final end is the supervisor's.
    pub essential: bool,
    /// The hooks and plugins that may advise on it, in the order of the file; empty: nobody is asked.
    pub decisions: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            restart: Restart::Always,
            backoff: Backoff::default(),
            stop_signal: Signal::TERM,
            stop_grace: Duration::from_secs(5),
            log: LogLimits::default(),
            health: None,
            essential: false,
            decisions: Vec::new(),
        }
    }
}

/// When a run that ended is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// After every end that nobody asked for.
    Always,
    /// After a crash.
    OnCrash,
    /// Not.
    Never,
}

/// The wait before a relaunch: `initial`, doubled at each crash in a row, at most `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Backoff {
    /// The first wait; zero is at once.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
    /// A run of this length makes the next wait the first one again.
    pub reset_after: Duration,
    /// Crashes in a row after which the service is left `failed`; `None` is never.
    pub give_up_after: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            reset_after: Duration::from_secs(60),
            give_up_after: None,
        }
    }
}

/// How much of a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct LogLimits {
    /// A file never exceeds this.
    pub max_size: ByteSize,
    /// Rotated files kept beside the current one: 1 to 99.
    pub keep: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { max_size: ByteSize::mebibytes(1), keep: 5 }
    }
}

/// A check of a running service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Health {
    /// What is asked; never `notify` or `log`.
    pub probe: Probe,
    /// From the end of one check to the next.
    pub interval: Duration,
    /// An answer that takes longer is a failure.
    pub timeout: Duration,
    /// After readiness, failures in this time do not count.
    pub grace: Duration,
    /// Failures in a row that make it unhealthy.
    pub failures: u32,
    /// What is then done.
    pub action: HealthAction,
}

/// What is done with an unhealthy service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthAction {
    /// It is stopped and launched again, as after a crash.
    Restart,
    /// It is reported, nothing else.
    None,
}
