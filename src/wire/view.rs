//! What `status` tells. Absent means not applicable; names and types of fields are part of the contract.

use serde::{Deserialize, Serialize};

use super::State;
use crate::value::{ExitStatus, Signal};

/// The answer to `status`, and the document that `status --json` prints.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StatusReport {
    /// The version of this document: 1.
    pub version: u32,
    /// The supervisor.
    pub supervisor: SupervisorView,
    /// The services, in the order of the configuration, or of the names asked for.
    pub services: Vec<ServiceView>,
}

/// The supervisor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SupervisorView {
    /// Its process id.
    pub pid: u32,
    /// The version that runs.
    pub version: String,
    /// This incarnation: 16 hexadecimal digits.
    pub boot: String,
    /// When this report was made; ages and waits are counted from here. RFC 3339, UTC.
    pub time: String,
    /// When it started. RFC 3339, UTC.
    pub since: String,
    /// Seconds since it started, by the monotonic clock.
    pub uptime_s: u64,
    /// Whether it is on its way out.
    pub state: SupervisorState,
    /// The configuration's path.
    pub config: String,
    /// The log folder's path.
    pub log_dir: String,
    /// Lines that its standard output did not take in time.
    pub console_dropped_lines: u64,
    /// What it cannot do in this container, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restrictions: Vec<String>,
}

/// Whether the supervisor is on its way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupervisorState {
    /// No.
    Running,
    /// Yes: services are being stopped.
    Stopping,
}

/// One service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Its main process, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// How often it was launched: the number of the present or last run. Absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// Since when it is in this state, or, while its program runs, since when that runs. RFC 3339, UTC. Absent if it was
    /// never in another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How long its main process has lived, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<u64>,
    /// Crashes in a row.
    pub crashes: u32,
    /// How its last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<ExitView>,
    /// When its next launch is due, in backoff. RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start_at: Option<String>,
    /// Whether its present run is ready; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// What its health check says; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthView>,
    /// Whether a reload brought a definition that takes effect at the next explicit restart.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub definition_changed: bool,
    /// The services it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
    /// What keeps it down, or will as soon as it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldView>,
    /// Its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogView>,
    /// Why it is as it is (a launch that failed and its stage, why it gave up), or the `STATUS=` it sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl ServiceView {
    /// A service in a state of which nothing else is known; the rest is filled in by whoever knows it.
    #[must_use]
    pub fn new(name: impl Into<String>, state: State) -> Self {
        Self {
            name: name.into(),
            state,
            pid: None,
            run: None,
            since: None,
            uptime_s: None,
            crashes: 0,
            last_exit: None,
            next_start_at: None,
            ready: None,
            health: None,
            definition_changed: false,
            waiting_for: Vec::new(),
            hold: None,
            log: None,
            message: None,
        }
    }
}

/// A script keeps a service down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HoldView {
    /// Who: `hook:NAME` or `plugin:NAME`.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it starts again by itself. RFC 3339, UTC. Absent where only `start` or a release ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// How a run ended: `code`, or `signal`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExitView {
    /// The exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The signal that ended it, as `SIGTERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Whether the kernel wrote a core file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub core: bool,
    /// When. RFC 3339, UTC.
    pub at: String,
    /// How long the run lived, in seconds.
    pub uptime_s: u64,
}

impl ExitView {
    /// The view of an end.
    #[must_use]
    pub fn new(status: ExitStatus, at: String, uptime_s: u64) -> Self {
        let (code, signal, core) = match status {
            ExitStatus::Code(code) => (Some(code), None, false),
            ExitStatus::Signal { signal, core } => (None, Some(signal), core),
        };
        Self { code, signal, core, at, uptime_s }
    }
}

/// What a health check says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthView {
    /// Not asked yet.
    Unknown,
    /// The last answers were good.
    Healthy,
    /// As many in a row as it takes were bad.
    Unhealthy,
}

/// A log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogView {
    /// The present file.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes that could not be kept, since the supervisor started.
    pub lost_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_absent() {
        let view = ServiceView::new("web", State::Stopped);
        let text = crate::value::json::to_string(&view).unwrap();
        assert_eq!(text, r#"{"name":"web","state":"stopped","crashes":0}"#);
        assert_eq!(crate::value::json::from_str::<ServiceView>(&text).unwrap(), view);
    }

    #[test]
    fn golden_service() {
        let signal = ExitStatus::Signal { signal: Signal::KILL, core: true };
        let view = ServiceView {
            pid: Some(77),
            run: Some(3),
            since: Some("2025-01-02T03:04:05Z".into()),
            uptime_s: Some(9),
            crashes: 2,
            last_exit: Some(ExitView::new(signal, "2025-01-02T03:04:04Z".into(), 60)),
            next_start_at: Some("2025-01-02T03:05:05Z".into()),
            ready: Some(true),
            health: Some(HealthView::Unhealthy),
            definition_changed: true,
            waiting_for: vec!["db".into()],
            hold: Some(HoldView { by: "hook:gate".into(), reason: "no".into(), until: Some("2025-01-02T04:05:05Z".into()) }),
            log: Some(LogView { path: "/var/log/section3/web.log".into(), size: 10, lost_bytes: 0 }),
            message: Some("warm".into()),
            ..ServiceView::new("web", State::Running)
        };
        let text = crate::value::json::to_string(&view).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"name":"web","state":"running","pid":77,"run":3,"since":"2025-01-02T03:04:05Z","uptime_s":9,"crashes":2,"#,
                r#""last_exit":{"signal":"SIGKILL","core":true,"at":"2025-01-02T03:04:04Z","uptime_s":60},"#,
                r#""next_start_at":"2025-01-02T03:05:05Z","ready":true,"health":"unhealthy","definition_changed":true,"#,
                r#""waiting_for":["db"],"hold":{"by":"hook:gate","reason":"no","until":"2025-01-02T04:05:05Z"},"log":{"path":"/var/log/section3/web.log","size":10,"lost_bytes":0},"message":"warm"}"#
            )
        );
        assert_eq!(crate::value::json::from_str::<ServiceView>(&text).unwrap(), view);
    }
}
