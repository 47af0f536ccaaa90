//! Events as they travel: the contract's section 8.1, one type a fact.
//!
//! The same JSON goes to `section3 events`, to hooks and to webhooks. Units are in the field names; what is absent is
//! absent.

mod read;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::value::json::Raw;
use crate::value::{Run, ServiceName, Signal};

pub use read::{EndedBy, Word, known_word};

/// One fact about the life of a service or of the supervisor.
#[derive(Clone, Debug)]
pub struct Event {
    /// +1 an event, no holes, within a boot.
    pub seq: u64,
    /// Wall clock, for display only.
    pub time: SystemTime,
    /// Milliseconds since the supervisor started; orders events across steps of the wall clock.
    pub mono_ms: u64,
    /// The service it is about.
    pub service: Option<ServiceName>,
    /// The run it is about.
    pub run: Option<Run>,
    /// Who brought it about.
    pub actor: Actor,
    /// The event that led here.
    pub cause: Option<u64>,
    /// How many actions of scripts lie in the chain that led here.
    pub depth: u8,
    /// What happened.
    pub kind: Kind,
}

/// Who brings things about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// The supervisor itself, by its policies.
    Supervisor,
    /// A client with this user id.
    Client(u32),
    /// A signal sent to the supervisor.
    Signal(Signal),
    /// The hook of this name.
    Hook(Arc<str>),
    /// The plugin of this name.
    Plugin(Arc<str>),
}

impl Actor {
    /// Whether it is somebody outside: a client, or who sent a signal.
    #[must_use]
    pub const fn is_operator(&self) -> bool {
        matches!(self, Self::Client(_) | Self::Signal(_))
    }

    /// Whether it is a hook or a plugin.
    #[must_use]
    pub const fn is_script(&self) -> bool {
        matches!(self, Self::Hook(_) | Self::Plugin(_))
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Supervisor => f.write_str("supervisor"),
            Self::Client(uid) => write!(f, "cli:uid={uid}"),
            Self::Signal(signal) => write!(f, "signal:{signal}"),
            Self::Hook(name) => write!(f, "hook:{name}"),
            Self::Plugin(name) => write!(f, "plugin:{name}"),
        }
    }
}

/// How much an event matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the usual scale")]
pub enum Severity {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

impl Severity {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// Why a run was launched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartReason {
    /// The supervisor started.
    Boot,
    /// An operator said `start`.
    Manual,
    /// Its policy, after the run before it ended; or an operator said `restart`.
    Restart,
    /// A service that depends on it was started.
    Dependency,
    /// A reload brought it, or applied its changed definition.
    Reload,
    /// Its health check failed.
    Health,
    /// A hook or a plugin said so.
    Hook,
}

/// Why a run was ended by the supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// An operator said `stop`.
    Manual,
    /// An operator said `restart`, or a reload applied its changed definition.
    Restart,
    /// A reload no longer has it.
    Reload,
    /// The supervisor shuts down.
    Shutdown,
    /// It was not ready in time.
    NotReady,
    /// Its health check failed.
    Health,
    /// A hook or a plugin said so.
    Hook,
}

/// What follows a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// Another launch, after a wait.
    Backoff,
    /// Nothing: too many crashes in a row.
    GaveUp,
    /// Nothing until its hold ends.
    Hold,
    /// Nothing: its policy is not to.
    None,
}

/// How a readiness was learned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadyBy {
    /// Its program was exec'ed and it has no probe.
    Immediate,
    /// It said so.
    Notify,
    /// A TCP connection was accepted.
    Tcp,
    /// A GET was answered.
    Http,
    /// A command exited with 0.
    Exec,
    /// A line of its output matched.
    Log,
    /// A file was there.
    File,
    /// A plugin said so.
    Plugin,
}

/// The end of a process, as its `exit` and its `crash` both tell it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExitFacts {
    /// Process id, no longer in use.
    pub pid: i32,
    /// Code or signal.
    #[serde(flatten)]
    pub status: EndedBy,
    /// Whether the kernel's OOM killer is the likely cause: SIGKILL that nobody here sent.
    #[serde(skip_serializing_if = "is_false")]
    pub oom: bool,
    /// How long the process lived.
    pub uptime_ms: u64,
    /// Whether the supervisor had asked it to end.
    pub stop_requested: bool,
    /// Its largest resident set, from `wait4(2)`.
    pub max_rss_bytes: u64,
    /// CPU in user mode.
    pub cpu_user_ms: u64,
    /// CPU in the kernel.
    pub cpu_sys_ms: u64,
    /// Its last lines: at most 20, at most 8 KiB; shared by `exit` and `crash`, given up by old events when the ring
    /// holds too much of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_tail: Option<Arc<[String]>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A launch that failed before its program ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchFacts {
    /// The step that failed, in the operator's words: `exec`, `chdir`, `user`, ...
    #[serde(deserialize_with = "known_word")]
    pub stage: Word,
    /// What failed there, with the path.
    pub message: String,
}

/// How a run ended: what `crash`, `gave_up` and `status` tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Ending {
    /// Its process ended.
    Exit(ExitFacts),
    /// Its program never ran.
    Launch(LaunchFacts),
}

/// What happened, with its data; the variant's name in snake case is the event's `type`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the contract's table 8.1 describes each; a second text here would drift")]
pub enum Kind {
    Start {
        pid: i32,
        argv: Arc<[String]>,
        attempt: u32,
        reason: StartReason,
    },
    Ready {
        pid: i32,
        startup_ms: u64,
        by: ReadyBy,
    },
    Exit(ExitFacts),
    #[serde(deserialize_with = "read::crash")]
    Crash {
        #[serde(flatten)]
        ending: Ending,
        crashes: u32,
        next: Next,
    },
    Backoff {
        attempt: u32,
        delay_ms: u64,
        /// RFC 3339; filled in where the wall clock is known.
        next_at: Option<String>,
    },
    Recovered {
        crashes: u32,
        down_ms: u64,
    },
    #[serde(deserialize_with = "read::gave_up")]
    GaveUp {
        crashes: u32,
        #[serde(flatten)]
        last: Ending,
    },
    Stopping {
        reason: StopReason,
        signal: Signal,
        grace_ms: u64,
    },
    #[serde(deserialize_with = "read::stop")]
    Stop {
        #[serde(flatten, skip_serializing_if = "Option::is_none")]
        status: Option<EndedBy>,
        took_ms: u64,
        forced: bool,
        reason: StopReason,
    },
    Health {
        #[serde(deserialize_with = "known_word")]
        check: Word,
        from: HealthWord,
        to: HealthWord,
        failures: u32,
        latency_ms: u64,
        output: String,
    },
    Rotate {
        path: String,
        bytes: u64,
        reason: RotateReason,
        /// Earlier rotations that this one stands for as well; told as `count` of the envelope.
        #[serde(skip)]
        folded: u32,
    },
    LogDropped {
        bytes: u64,
        reason: String,
    },
    Reload {
        added: Vec<ServiceName>,
        removed: Vec<ServiceName>,
        changed: Vec<ServiceName>,
        unchanged: Vec<ServiceName>,
    },
    ReloadFailed {
        errors: Vec<String>,
    },
    DaemonStart {
        #[serde(deserialize_with = "known_word")]
        version: Word,
        pid: u32,
        pid1: bool,
    },
    DaemonReady {
        took_ms: u64,
        failed: Vec<ServiceName>,
    },
    DaemonStopping {
        reason: String,
    },
    DaemonStop {
        exit_code: u8,
    },
    Orphan {
        reaped: u64,
    },
    Hold {
        /// `hook:NAME` or `plugin:NAME`.
        by: String,
        reason: String,
        /// RFC 3339; absent where only `start` or `release` ends it; filled in where the wall clock is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<String>,
        /// How long from now; told as `until`.
        #[serde(skip)]
        for_ms: Option<u64>,
    },
    HookFailed(HookFault),
    HookDisabled(HookFault),
    Decision {
        #[serde(deserialize_with = "known_word")]
        point: Word,
        verdict: String,
        by: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
        took_ms: u64,
        applied: bool,
    },
    Update {
        phase: UpdatePhase,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// `custom.NAME`, from `section3 emit` or a script's `emit`; at most 16 KiB of data.
    Custom {
        name: Arc<str>,
        data: Arc<Raw>,
    },
    Stuck {
        for_ms: u64,
    },
}

/// What went wrong in a hook or a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookFault {
    /// The hook's or plugin's name.
    pub script: String,
    /// The handler's; absent where the script itself is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// The event that it was handed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Which limit or which mistake.
    pub kind: HookFaultKind,
    /// In words.
    pub message: String,
    /// Where in the script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
}

/// How a handler fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookFaultKind {
    /// It raised, or returned `false`.
    Error,
    /// Its time was over.
    Timeout,
    /// It computed for too long without waiting: processor time, not time.
    Cpu,
    /// Its heap was full.
    Memory,
    /// The hook host died with it.
    Crash,
    /// It could not be loaded.
    Load,
}

impl HookFaultKind {
    /// Whether it was ended for what it used.
    #[must_use]
    pub const fn is_over_limit(self) -> bool {
        matches!(self, Self::Cpu | Self::Memory)
    }
}

/// How far an update is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the contract's table 8.1 names them")]
pub enum UpdatePhase {
    Available,
    Applied,
    Failed,
    RolledBack,
    Reexec,
}

impl UpdatePhase {
    /// In a sentence.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
            Self::Reexec => "running it now",
        }
    }
}

/// What a health check says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "plain words")]
pub enum HealthWord {
    Unknown,
    Healthy,
    Unhealthy,
}

/// Why a log was rotated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RotateReason {
    /// It reached its limit.
    Size,
    /// An operator asked.
    Manual,
}

impl Kind {
    /// Its name, as in `type`.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Start { .. } => "start",
            Self::Ready { .. } => "ready",
            Self::Exit(_) => "exit",
            Self::Crash { .. } => "crash",
            Self::Backoff { .. } => "backoff",
            Self::Recovered { .. } => "recovered",
            Self::GaveUp { .. } => "gave_up",
            Self::Stopping { .. } => "stopping",
            Self::Stop { .. } => "stop",
            Self::Health { .. } => "health",
            Self::Rotate { .. } => "rotate",
            Self::LogDropped { .. } => "log_dropped",
            Self::Reload { .. } => "reload",
            Self::ReloadFailed { .. } => "reload_failed",
            Self::DaemonStart { .. } => "daemon_start",
            Self::DaemonReady { .. } => "daemon_ready",
            Self::DaemonStopping { .. } => "daemon_stopping",
            Self::DaemonStop { .. } => "daemon_stop",
            Self::Orphan { .. } => "orphan",
            Self::Hold { .. } => "hold",
            Self::HookFailed(_) => "hook_failed",
            Self::HookDisabled(_) => "hook_disabled",
            Self::Decision { .. } => "decision",
            Self::Update { .. } => "update",
            Self::Custom { name, .. } => return Cow::Owned(format!("custom.{name}")),
            Self::Stuck { .. } => "stuck",
        })
    }

    /// Its data as JSON.
    fn data(&self) -> Arc<Raw> {
        match self {
            Self::Custom { data, .. } => Arc::clone(data),
            _ => Arc::new(Raw::of_variant(self).unwrap_or_default()),
        }
    }

    /// How many occurrences it stands for.
    #[must_use]
    pub const fn count(&self) -> u32 {
        match self {
            Self::Rotate { folded, .. } => folded.saturating_add(1),
            _ => 1,
        }
    }

    /// The default severity of the contract's table.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Stopping { .. } | Self::Orphan { .. } => Severity::Debug,
            Self::Start { .. }
            | Self::Ready { .. }
            | Self::Exit(_)
            | Self::Recovered { .. }
            | Self::Rotate { .. }
            | Self::Reload { .. }
            | Self::DaemonStart { .. }
            | Self::DaemonReady { .. }
            | Self::DaemonStopping { .. }
            | Self::DaemonStop { .. }
            | Self::Decision { .. }
            | Self::Custom { .. } => Severity::Info,
            Self::Update { error, .. } => {
                if error.is_some() {
                    Severity::Error
                } else {
                    Severity::Info
                }
            }
            Self::Stop { forced, .. } => {
                if *forced {
                    Severity::Warning
                } else {
                    Severity::Info
                }
            }
            Self::Backoff { attempt, .. } => {
                if *attempt >= 3 {
                    Severity::Warning
                } else {
                    Severity::Info
                }
            }
            Self::Health { to, .. } => {
                if *to == HealthWord::Unhealthy {
                    Severity::Warning
                } else {
                    Severity::Info
                }
            }
            Self::Crash { .. } | Self::LogDropped { .. } | Self::Hold { .. } | Self::HookFailed(_) => Severity::Warning,
            Self::ReloadFailed { .. } | Self::Stuck { .. } | Self::HookDisabled(_) => Severity::Error,
            Self::GaveUp { .. } => Severity::Critical,
        }
    }
}

/// What every event of one boot has in common.
#[derive(Clone, Debug)]
pub struct Origin {
    /// This incarnation of the supervisor: 16 hexadecimal digits.
    pub boot: String,
    /// The host's name.
    pub host: String,
}

impl Event {
    /// The event as one JSON object.
    #[must_use]
    pub fn envelope<'a>(&'a self, origin: &'a Origin) -> Envelope<'a> {
        Envelope {
            v: 1,
            id: event_id(origin, self.seq),
            seq: self.seq,
            boot: &origin.boot,
            time: humantime::format_rfc3339_millis(self.time).to_string(),
            mono_ms: self.mono_ms,
            host: &origin.host,
            service: self.service.as_ref(),
            run: self.run,
            severity: self.kind.severity(),
            actor: self.actor.to_string(),
            cause: self.cause.map(|seq| event_id(origin, seq)),
            depth: Some(self.depth).filter(|depth| *depth > 0),
            r#type: self.kind.name(),
            data: self.kind.data(),
            count: Some(self.kind.count()).filter(|count| *count > 1),
        }
    }
}

fn event_id(origin: &Origin, seq: u64) -> String {
    format!("{}-{seq}", origin.boot)
}

/// An event with everything that the contract's envelope holds.
#[derive(Serialize)]
pub struct Envelope<'a> {
    v: u8,
    id: String,
    seq: u64,
    boot: &'a str,
    r#type: Cow<'static, str>,
    data: Arc<Raw>,
    time: String,
    mono_ms: u64,
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a ServiceName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Run>,
    severity: Severity,
    actor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
}
