//! What the supervisor and its hook host say to each other over their socketpair.
//!
//! One JSON object a line, at most [`MAX_FRAME`] bytes, no answer is ever waited for: each side goes on and takes what comes.
//! Both ends are the same program; [`Hello`] carries its version, and an end that hears another one hangs up.
//!
//! The supervisor keeps the cursors: an event that was handed over is [`ToHost::Event`] with a delivery number until the host
//! says [`FromHost::Done`] for it. The host keeps order: the events of one service one after the other for each handler.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::spec::script::{Plugin, Program, SecretSource};
use crate::value::json::{self, Raw};
use crate::value::sorted::Map;
use crate::wire::event::{HookFaultKind, Severity};

/// The longest frame: an answer with 1,000 lines of a log, or an upload of a plugin's configuration, with room to spare.
pub const MAX_FRAME: usize = 1 << 20;

/// How long a host whose supervisor is gone may write what its scripts keep (`kv`). The next supervisor waits for it.
pub const LAST_WRITES: Duration = Duration::from_secs(3);

/// Events of one handler that are on their way; the rest waits in the ring.
pub const MAX_IN_FLIGHT: usize = 64;

/// From the supervisor to the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToHost {
    /// The first frame.
    Hello(Hello),
    /// Load a script, or a new version of one; answered by [`FromHost::Loaded`] or [`FromHost::NotLoaded`]. A new version that
    /// loads takes over when the handler runs of the old one are done; one that does not changes nothing.
    Load(Load),
    /// Forget a script: no new run, those under way have 10 s.
    Unload {
        /// Which.
        script: String,
    },
    /// An event for a handler; ticked off by [`FromHost::Done`].
    Event(Delivery),
    /// The answer to a [`Call`].
    Answer(Answer),
    /// A question to a script; answered by [`FromHost::Answer`], exactly once, whatever becomes of it.
    Ask(Ask),
    /// Nobody waits for the answer to this question any more: it is to end. It is answered all the same, by how it ended.
    Drop {
        /// Its number.
        ask: u64,
    },
    /// Answered by [`FromHost::Pong`], however busy the scripts are.
    Ping {
        /// Comes back.
        number: u64,
    },
    /// The supervisor ends: what is done within the budget is done, then the host ends with 0.
    Bye {
        /// Milliseconds.
        budget_ms: u64,
    },
}

/// What every script may know.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The program's version; both ends are the same file.
    pub version: String,
    /// The host's name, as in events.
    pub host: String,
    /// This incarnation, as in events.
    pub boot: String,
    /// A folder of mode 0700 beside the socket, for `kv` and the scripts' own files; it exists.
    pub state_dir: PathBuf,
    /// Where the logs are.
    pub log_dir: PathBuf,
    /// Where secrets come from; read by the host, when a script asks for one.
    pub secrets: Map<String, SecretSource>,
}

/// A script to load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Its name: the hook file's stem, the plugin's name, or the name made for a `run:` hook.
    pub script: String,
    /// Comes back with the answer: tells the versions of one script apart.
    pub generation: u64,
    /// What it is.
    pub body: Body,
}

/// What a script is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A Lua file of the operator.
    Hook {
        /// Where it is, absolute.
        path: PathBuf,
    },
    /// A program that is run for each event.
    Program(Program),
    /// A folder with a manifest; its settings are checked and complete.
    Plugin(Plugin),
}

/// An event on its way to a handler.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Unique for the life of the supervisor.
    pub delivery: u64,
    /// Whose.
    pub script: String,
    /// The handler's name.
    pub handler: String,
    /// 1, or 2 when the host died with it before.
    pub attempt: u8,
    /// Events this handler missed just before.
    pub lost: u64,
    /// The event's envelope, without `attempt` and `lost`.
    pub event: Raw,
}

/// The answer to a [`Call`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The call's number.
    pub call: u64,
    /// What it returns, or why not.
    pub result: Result<Value, CallError>,
}

/// Why a call failed, as scripts see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallError {
    /// `refused`, `unknown_service`, `budget`, `depth`, `timeout`, ...
    pub code: String,
    /// In words.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
}

/// A question to a script.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Comes back with the answer.
    pub ask: u64,
    /// Who is asked.
    pub script: String,
    /// After this many milliseconds nobody listens any more.
    pub deadline_ms: u64,
    /// What is asked.
    pub question: Question,
}

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// `s3.decide(point, ...)`: answered by the verdict as the script gave it, `null` for no opinion.
    Decide {
        /// `start`, `restart` or `stop`.
        point: String,
        /// The facts; field `service` is the service's name.
        subject: Value,
    },
    /// `s3.check(name, ...)`: answered by `{"ok":true}` or `{"ok":false,"reason":"..."}`.
    Check {
        /// The check's name.
        name: String,
        /// `service`, `run`, `pid`.
        subject: Value,
    },
    /// `s3.probe(name, ...)`: answered as a check.
    Probe {
        /// The probe's name.
        name: String,
        /// `service`, `run`, `pid`.
        subject: Value,
    },
    /// `s3.command(name, ...)`: answered by what the command returned.
    Command {
        /// The command's name.
        name: String,
        /// The words after it.
        args: Vec<String>,
    },
}

impl Question {
    /// What answers it, as handlers are called in `hook list` and in events.
    #[must_use]
    pub fn handler(&self) -> String {
        match self {
            Self::Decide { point, .. } => format!("decide:{point}"),
            Self::Check { name, .. } => format!("check:{name}"),
            Self::Probe { name, .. } => format!("probe:{name}"),
            Self::Command { name, .. } => format!("command:{name}"),
        }
    }
}

/// From the host to the supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FromHost {
    /// The first frame.
    Hello {
        /// The program's version.
        version: String,
    },
    /// A script, or its new version, is in force.
    Loaded(Loaded),
    /// A script could not be loaded; an older version of it goes on.
    NotLoaded(NotLoaded),
    /// A handler begins with these events: from here on a death of the host counts against them.
    Began {
        /// Their numbers; several for a batch.
        deliveries: Vec<u64>,
    },
    /// A handler is done with these events.
    Done(Done),
    /// A script wants something of the supervisor; answered by [`ToHost::Answer`].
    Call(Call),
    /// The answer to an [`Ask`]: what the script returned, or why it did not.
    Answer {
        /// The question's number.
        ask: u64,
        /// How long the script took; nothing where it was not asked.
        run_ms: Option<u64>,
        /// The answer.
        result: Result<Value, HookError>,
    },
    /// A line for `section3.log`.
    Log(LogLine),
    /// Something failed that belongs to no event: a timer, a spawned function.
    Failed {
        /// Whose.
        script: String,
        /// Which timer, where it has a name.
        handler: Option<String>,
        /// How.
        error: HookError,
    },
    /// The answer to a ping.
    Pong {
        /// The ping's.
        number: u64,
    },
    /// The last frame before the host ends itself: this script would not be stopped.
    Culprit {
        /// Which.
        script: String,
        /// The events its handlers had begun with.
        deliveries: Vec<u64>,
        /// Which limit, in words.
        message: String,
    },
}

/// What a script registered.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loaded {
    /// Its name.
    pub script: String,
    /// Which version of it.
    pub generation: u64,
    /// Its handlers, each name once.
    pub handlers: Vec<Subscription>,
    /// Points it advises on: `start`, `restart`, `stop`, each with the glob of services.
    pub decides: Vec<(String, Option<String>)>,
    /// Checks of a plugin.
    pub checks: Vec<String>,
    /// Probes of a plugin.
    pub probes: Vec<String>,
    /// Commands of a plugin, each with its summary.
    pub commands: Vec<(String, String)>,
}

impl Loaded {
    /// What answers questions, each by its name in `hook list`; see [`Question::handler`].
    #[must_use]
    pub fn questions(&self) -> Vec<String> {
        let points = self.decides.iter().map(|(point, _)| format!("decide:{point}"));
        let checks = self.checks.iter().map(|name| format!("check:{name}"));
        let probes = self.probes.iter().map(|name| format!("probe:{name}"));
        let commands = self.commands.iter().map(|(name, _)| format!("command:{name}"));
        points.chain(checks).chain(probes).chain(commands).collect()
    }
}

/// What a handler wants to hear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// The handler's name within its script.
    pub name: String,
    /// Event types and the lists `@problem`, `@life`, `@daemon`, `@all`; never empty.
    pub types: Vec<String>,
    /// A glob of service names; without one events of no service count as well.
    pub service: Option<String>,
    /// The least severity.
    pub severity: Option<Severity>,
}

/// Why a script is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotLoaded {
    /// Its name.
    pub script: String,
    /// Which version of it.
    pub generation: u64,
    /// What is wrong.
    pub error: HookError,
}

/// The end of a handler's run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// The events; several for a batch or a fold.
    pub deliveries: Vec<u64>,
    /// How long the handler ran; nothing for events that were filtered, folded or rated away.
    pub run_ms: Option<u64>,
    /// Why it failed.
    pub error: Option<HookError>,
}

/// How something in a script failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookError {
    /// Which limit or which mistake.
    pub kind: HookFaultKind,
    /// In words, with file and line where they are known; never a secret.
    pub message: String,
    /// Where in the script; none for limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
}

/// A line of a script's own log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// Whose.
    pub script: String,
    /// `debug`, `info`, `warning` or `error`.
    pub level: Severity,
    /// The line.
    pub message: String,
    /// Fields behind it, each as text.
    pub fields: Map<String, String>,
}

/// Something a script wants of the supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Comes back with the answer; unique for the life of the host.
    pub call: u64,
    /// Who calls.
    pub script: String,
    /// The id of the event that its handler runs for, and that event's depth.
    pub cause: Option<(String, u8)>,
    /// What it wants.
    pub verb: Verb,
}

/// What scripts may want. Names are checked by the supervisor, as those of any client are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the contract's table 8.4 describes each")]
pub enum Verb {
    List,
    Get { service: String },
    Logs { service: String, lines: u32 },
    Start { service: String },
    Stop { service: String },
    Restart { service: String },
    Signal { service: String, signal: String },
    Hold { service: String, reason: String, for_ms: Option<u64> },
    Release { service: String },
    Emit { name: String, data: Box<Value> },
}

/// One frame, its newline included; `None` where it is longer than [`MAX_FRAME`] or cannot be written as JSON.
pub fn frame<T: Serialize>(frame: &T) -> Option<Vec<u8>> {
    let mut line = json::to_vec(frame).ok()?;
    line.push(b'\n');
    (line.len() <= MAX_FRAME).then_some(line)
}
