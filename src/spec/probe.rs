//! How one asks a service whether it is there.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Command;

/// Readiness: one probe and how long it may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Ready {
    /// What is asked.
    pub probe: Probe,
    /// From one answer to the next question, for the probes that are polled.
    pub interval: Duration,
    /// Not ready after this long counts as a crash.
    pub timeout: Duration,
}

/// One way to ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub enum Probe {
    /// The service says so itself.
    Notify(Notify),
    /// A TCP connection to host and port is accepted.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A GET is answered with 2xx or 3xx.
    Http(HttpUrl),
    /// A command exits with 0; it runs with the service's user, env and dir.
    Exec(Command),
    /// A line of its output matches; linear time.
    Log(String),
    /// A file exists.
    File(PathBuf),
    /// A plugin's probe or check says so.
    Plugin {
        /// The plugin.
        plugin: String,
        /// Its probe (for readiness) or its check (for health).
        name: String,
    },
}

/// How a service says that it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notify {
    /// `READY=1` over `NOTIFY_SOCKET`; see `sd_notify(3)`.
    Systemd,
    /// A newline on this descriptor, 3 or above; see s6's `notifywhenup`.
    Fd(i32),
}

/// The parts of an `http://` URL that a probe needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct HttpUrl {
    /// Name or address.
    pub host: String,
    /// Port, 80 if none was written.
    pub port: u16,
    /// Path and query, from `/`.
    pub target: String,
}
