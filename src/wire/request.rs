//! What a client can ask: a closed list. No request holds a path, and none can be longer than [`MAX_LINE`].

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::fault::shortened;
use super::{Fault, FaultCode, State, UpdateNote, plain};
use crate::value::json::{self, Table};
use crate::value::name::SUPERVISOR;
use crate::value::sorted::Set;
use crate::value::{ServiceName, Signal};

/// The version of the protocol.
pub const VERSION: u64 = 1;

/// The longest request line in bytes, its newline included.
///
/// Room for about a thousand service names; 64 clients at this bound cost the supervisor 4 MiB, while a client that
/// never sends a newline must not be able to fill its memory.
pub const MAX_LINE: usize = 64 << 10;

/// The most lines `tail` and `events` look back. A larger number is a slip of the finger, and work for the supervisor.
pub const MAX_LINES: u32 = 10_000;

/// Lines that `tail` shows unless told otherwise.
pub const TAIL_LINES: u32 = 20;

/// Events that `events` shows unless told otherwise.
pub const EVENT_LINES: u32 = 1_000;

/// The two ways to speak; the answer has the form of the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// One JSON object a line.
    Json,
    /// A line as typed at the CLI, answered by text.
    Plain,
}

/// What a client asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// How services are; of all without a name.
    Status {
        /// Which.
        names: Vec<ServiceName>,
    },
    /// Bring services up.
    Start(Order),
    /// Take services down.
    Stop(Order),
    /// Take services down and up again, with their newest definition.
    Restart(Order),
    /// Read the configuration anew.
    Reload {
        /// Only say what would be done.
        dry_run: bool,
        /// Restart running services whose definition changed.
        apply: bool,
    },
    /// The last lines of logs; of every service without a name. Answered by a stream of [`super::TailItem`].
    Tail {
        /// Whose.
        logs: Vec<LogName>,
        /// How many lines of each: 0 to [`MAX_LINES`].
        lines: u32,
        /// Whether to go on with new lines.
        follow: bool,
    },
    /// Answered once a service is in a state.
    Wait {
        /// Which service.
        name: ServiceName,
        /// Which state.
        state: State,
    },
    /// The newest events. Answered by a stream of events.
    Events {
        /// How many: 0 to [`MAX_LINES`].
        lines: u32,
        /// Whether to go on with new ones.
        follow: bool,
    },
    /// Send a signal to the main process of a service.
    Signal {
        /// Which service.
        name: ServiceName,
        /// Which signal.
        signal: Signal,
    },
    /// Rotate logs now.
    Rotate {
        /// Whose; at least one.
        logs: Vec<LogName>,
    },
    /// About hooks and plugins.
    Hook(HookOrder),
    /// Bring an event about: `custom.NAME`.
    Emit {
        /// Without `custom.`.
        name: String,
        /// Its data.
        data: Map<String, Value>,
    },
    /// Call a command of a plugin, or list them.
    Plugin(PluginCall),
    /// Which version runs.
    Version,
    /// Replace the running program by what is on disk now, and leave every service alone. Answered by the new program once it
    /// has taken over, or by the old one with the reason why it goes on.
    Reexec,
    /// What became of an update of the program on disk. Answered as [`Request::Version`].
    Updated(UpdateNote),
}

/// What about hooks and plugins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HookOrder {
    /// How they are doing.
    List,
    /// Let one run again.
    Enable {
        /// Which.
        name: String,
    },
    /// Keep one from running, also over reloads.
    Disable {
        /// Which.
        name: String,
    },
}

/// A command of a plugin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PluginCall {
    /// Which plugin; without one the commands of all are listed.
    pub plugin: Option<String>,
    /// Which command; without one the plugin's are listed.
    pub command: Option<String>,
    /// The words after it.
    pub args: Vec<String>,
    /// For the answer, in milliseconds: at most [`MAX_CALL_MS`].
    pub limit_ms: u64,
}

/// How long a command of a plugin may take, unless told otherwise.
pub const CALL_MS: u64 = 30_000;

/// The longest that it may be given.
pub const MAX_CALL_MS: u64 = 600_000;

/// Services to start, stop or restart: either some names or all, never both, never neither; no name twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Which; empty with `all`.
    pub names: Vec<ServiceName>,
    /// Every service.
    pub all: bool,
    /// Whether the answer comes when it is done, or when it is accepted.
    pub wait: bool,
}

/// Whose log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogName {
    /// A service's.
    Service(ServiceName),
    /// The supervisor's own, `section3`.
    Supervisor,
}

impl Serialize for LogName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl LogName {
    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Service(name) => name.as_str(),
            Self::Supervisor => SUPERVISOR,
        }
    }
}

/// Every op of the protocol. All but `updated` are verbs of the plain form too.
pub const OPS: [&str; 16] = [
    "status", "start", "stop", "restart", "reload", "tail", "wait", "events", "signal", "rotate", "hook", "emit", "x", "version",
    "reexec", "updated",
];

impl Request {
    /// Reads one request line, with or without its line end, and says which form it has.
    ///
    /// A line whose first byte is `{` is JSON; any other is the plain form. Never panics, takes time linear in the
    /// length of the line.
    ///
    /// # Errors
    ///
    /// A fault of code `usage` that names what was not understood, or `unknown_service` for a name no service can have.
    pub fn decode(line: &[u8]) -> (Form, Result<Self, Fault>) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let form = if line.first() == Some(&b'{') { Form::Json } else { Form::Plain };
        if line.len() >= MAX_LINE {
            return (form, Err(Self::too_long()));
        }
        let request = match (form, std::str::from_utf8(line)) {
            (_, Err(_)) => Err(usage("the request is not UTF-8")),
            (Form::Json, Ok(text)) => decode_json(text),
            (Form::Plain, Ok(text)) => plain::decode(text),
        };
        (form, request)
    }

    /// The fault for a line over [`MAX_LINE`].
    #[must_use]
    pub fn too_long() -> Fault {
        usage(format!("the request line is longer than {MAX_LINE} bytes"))
    }

    /// The request as one JSON line, its newline included.
    #[must_use]
    pub fn encode(&self) -> String {
        // Only a map with keys that are no strings cannot be written, and there is none.
        let args = self.args().end().unwrap_or_default();
        format!("{{\"v\":{VERSION},\"op\":\"{}\",\"args\":{}}}\n", self.op(), args.get())
    }

    /// The word for it.
    #[must_use]
    pub const fn op(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Start(_) => "start",
            Self::Stop(_) => "stop",
            Self::Restart(_) => "restart",
            Self::Reload { .. } => "reload",
            Self::Tail { .. } => "tail",
            Self::Wait { .. } => "wait",
            Self::Events { .. } => "events",
            Self::Signal { .. } => "signal",
            Self::Rotate { .. } => "rotate",
            Self::Hook(_) => "hook",
            Self::Emit { .. } => "emit",
            Self::Plugin(_) => "x",
            Self::Version => "version",
            Self::Reexec => "reexec",
            Self::Updated(_) => "updated",
        }
    }

    fn args(&self) -> Table {
        let args = Table::default();
        match self {
            Self::Status { names } => args.field("names", names),
            Self::Start(order) | Self::Stop(order) | Self::Restart(order) => {
                args.field("names", &order.names).field("all", &order.all).field("wait", &order.wait)
            }
            Self::Reload { dry_run, apply } => args.field("dry_run", dry_run).field("apply", apply),
            Self::Tail { logs, lines, follow } => args.field("names", logs).field("lines", lines).field("follow", follow),
            Self::Wait { name, state } => args.field("name", name).field("state", state),
            Self::Events { lines, follow } => args.field("lines", lines).field("follow", follow),
            Self::Signal { name, signal } => args.field("name", name).field("signal", signal),
            Self::Rotate { logs } => args.field("names", logs),
            Self::Hook(HookOrder::List) => args.field("action", "list"),
            Self::Hook(HookOrder::Enable { name }) => args.field("action", "enable").field("name", name),
            Self::Hook(HookOrder::Disable { name }) => args.field("action", "disable").field("name", name),
            Self::Emit { name, data } => args.field("name", name).field("data", data),
            Self::Plugin(PluginCall { plugin, command, args: words, limit_ms }) => args
                .field("args", words)
                .field("limit_ms", limit_ms)
                .maybe("plugin", plugin.as_ref())
                .maybe("command", command.as_ref()),
            Self::Version | Self::Reexec => args,
            Self::Updated(note) => note.add_to(args),
        }
    }
}

fn decode_json(text: &str) -> Result<Request, Fault> {
    let mut frame: Map<String, Value> =
        json::from_str(text).map_err(|error| usage(format!("the request is not a JSON object: {error}")))?;
    match frame.remove("v") {
        Some(Value::Number(v)) if v.as_u64() == Some(VERSION) => {}
        Some(v) => {
            return Err(usage(format!("version {} of the protocol is not known; this is version 1", shortened(&v.to_string()))));
        }
        None => return Err(usage("the request has no `v`").with_hint(r#"{"v":1,"op":"status","args":{}}"#)),
    }
    let op = match frame.remove("op") {
        Some(Value::String(op)) => op,
        _ => return Err(usage("the request has no `op`").with_hint(r#"{"v":1,"op":"status","args":{}}"#)),
    };
    let args = match frame.remove("args") {
        Some(Value::Object(args)) => args,
        Some(_) => return Err(usage("`args` is not an object")),
        None => Map::new(),
    };
    if let Some(key) = frame.keys().next() {
        return Err(usage(format!("unknown key `{}`", shortened(key))).with_nearest(key, ["v", "op", "args"]));
    }
    let mut args = Args { args, known: Vec::new() };
    let request = match op.as_str() {
        "status" => Request::Status { names: services(&args.words("names")?)? },
        "start" => Request::Start(args.order()?),
        "stop" => Request::Stop(args.order()?),
        "restart" => Request::Restart(args.order()?),
        "reload" => Request::Reload { dry_run: args.flag("dry_run", false)?, apply: args.flag("apply", false)? },
        "tail" => Request::Tail {
            logs: logs(&args.words("names")?)?,
            lines: args.lines(TAIL_LINES)?,
            follow: args.flag("follow", false)?,
        },
        "wait" => Request::Wait { name: service(&args.word("name")?)?, state: state(&args.word("state")?)? },
        "events" => Request::Events { lines: args.lines(EVENT_LINES)?, follow: args.flag("follow", false)? },
        "signal" => Request::Signal { name: service(&args.word("name")?)?, signal: signal(&args.word("signal")?)? },
        "rotate" => Request::Rotate { logs: some_logs(&args.words("names")?)? },
        "hook" => {
            let action = args.word("action")?;
            let name = if action == "list" { None } else { Some(args.word("name")?) };
            Request::Hook(hook(&action, name)?)
        }
        "emit" => Request::Emit { name: args.word("name")?, data: args.table("data")? },
        "x" => {
            let (plugin, command) = (args.optional_word("plugin")?, args.optional_word("command")?);
            let limit_ms = args.number("limit_ms", CALL_MS)?;
            Request::Plugin(plugin_call(plugin, command, args.words("args")?, limit_ms)?)
        }
        "version" => Request::Version,
        "reexec" => Request::Reexec,
        "updated" => Request::Updated(UpdateNote::decode(&mut args)?),
        _ => return Err(unknown_op(&op)),
    };
    args.end()?;
    Ok(request)
}

/// The arguments of a JSON request: each is taken once, what is left over is unknown.
pub(super) struct Args {
    args: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Args {
    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.args.remove(key)
    }

    fn words(&mut self, key: &'static str) -> Result<Vec<String>, Fault> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(word) => Ok(word),
                    _ => Err(usage(format!("`{key}` is not a list of strings"))),
                })
                .collect(),
            Some(_) => Err(usage(format!("`{key}` is not a list of strings"))),
        }
    }

    pub(super) fn optional_word(&mut self, key: &'static str) -> Result<Option<String>, Fault> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(word)) => Ok(Some(word)),
            Some(_) => Err(usage(format!("`{key}` is not a string"))),
        }
    }

    pub(super) fn word(&mut self, key: &'static str) -> Result<String, Fault> {
        match self.optional_word(key)? {
            Some(word) => Ok(word),
            None => match self.args.keys().next() {
                // A misspelt key and a missing one are the same slip.
                Some(other) => Err(usage(format!("`{key}` is missing")).with_nearest(other, [key])),
                None => Err(usage(format!("`{key}` is missing"))),
            },
        }
    }

    fn table(&mut self, key: &'static str) -> Result<Map<String, Value>, Fault> {
        match self.take(key) {
            Some(Value::Object(table)) => Ok(table),
            Some(_) => Err(usage(format!("`{key}` is not an object"))),
            None => Ok(Map::new()),
        }
    }

    fn number(&mut self, key: &'static str, default: u64) -> Result<u64, Fault> {
        match self.take(key) {
            None => Ok(default),
            Some(value) => value.as_u64().ok_or_else(|| usage(format!("`{key}` is not a whole number"))),
        }
    }

    fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, Fault> {
        match self.take(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(usage(format!("`{key}` is neither true nor false"))),
        }
    }

    fn lines(&mut self, default: u32) -> Result<u32, Fault> {
        match self.take("lines") {
            None => Ok(default),
            Some(value) => lines(&value.to_string()),
        }
    }

    fn order(&mut self) -> Result<Order, Fault> {
        order(&self.words("names")?, self.flag("all", false)?, self.flag("wait", true)?)
    }

    fn end(self) -> Result<(), Fault> {
        match self.args.keys().next() {
            None => Ok(()),
            Some(key) => Err(usage(format!("unknown argument `{}`", shortened(key))).with_nearest(key, self.known)),
        }
    }
}

pub(super) fn usage(message: impl AsRef<str>) -> Fault {
    Fault::new(FaultCode::Usage, message)
}

pub(super) fn unknown_op(op: &str) -> Fault {
    let fault = usage(format!("unknown command `{}`", shortened(op)));
    let hinted = fault.clone().with_nearest(op, OPS);
    if hinted.hint.is_some() { hinted } else { fault.with_hint(format!("the commands are {}", OPS.join(", "))) }
}

/// The services of an order: names or all.
///
/// # Errors
///
/// `usage` for neither or both, `unknown_service` for a name no service can have.
pub fn order<T: AsRef<str>>(names: &[T], all: bool, wait: bool) -> Result<Order, Fault> {
    match (names.is_empty(), all) {
        (true, false) => Err(usage("no service is named").with_hint("name one, or say `--all`")),
        (false, true) => Err(usage("both services and all of them are named").with_hint("name some, or say `--all`")),
        _ => Ok(Order { names: services(names)?, all, wait }),
    }
}

/// An order about hooks and plugins: `list`, or `enable` and `disable` with a name.
///
/// # Errors
///
/// `usage` for another word, or a name too few or too many.
pub fn hook(action: &str, name: Option<String>) -> Result<HookOrder, Fault> {
    match (action, name) {
        ("list", None) => Ok(HookOrder::List),
        ("list", Some(name)) => Err(usage(format!("`hook list` does not take `{}`", shortened(&name)))),
        ("enable", Some(name)) => Ok(HookOrder::Enable { name }),
        ("disable", Some(name)) => Ok(HookOrder::Disable { name }),
        ("enable" | "disable", None) => Err(usage(format!("`hook {action}` needs a hook or plugin"))),
        _ => {
            let fault = usage(format!("`hook` does not know `{}`", shortened(action)));
            let hinted = fault.clone().with_nearest(action, HOOK_ACTIONS);
            Err(if hinted.hint.is_some() { hinted } else { fault.with_hint(format!("it knows {}", HOOK_ACTIONS.join(", "))) })
        }
    }
}

/// What the supervisor knows about hooks; `hook test` and `hook types` need none.
const HOOK_ACTIONS: [&str; 3] = ["list", "enable", "disable"];

/// A call of a plugin's command, or the wish to see them.
///
/// # Errors
///
/// `usage` for a command without a plugin, words without a command, or a limit that is none.
pub fn plugin_call(
    plugin: Option<String>,
    command: Option<String>,
    args: Vec<String>,
    limit_ms: u64,
) -> Result<PluginCall, Fault> {
    match (&plugin, &command) {
        (None, Some(_)) => Err(usage("a command is named, and no plugin")),
        (_, None) if !args.is_empty() => Err(usage("words for a command are given, and no command")),
        _ if !(1..=MAX_CALL_MS).contains(&limit_ms) => Err(usage("a command may take up to 10m")),
        _ => Ok(PluginCall { plugin, command, args, limit_ms }),
    }
}

/// The data of an event from `NAME=VALUE` words: a value that is a number or a truth value is one, everything else is text.
///
/// # Errors
///
/// `usage` for a word without `=` or a name that was given before.
pub fn pairs<T: AsRef<str>>(words: &[T]) -> Result<Map<String, Value>, Fault> {
    let mut data = Map::new();
    for word in words {
        let word = word.as_ref();
        let Some((name, value)) = word.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(usage(format!("`{}` is not NAME=VALUE", shortened(word))));
        };
        let plain: Option<Value> = json::from_str(value).ok().filter(|value: &Value| value.is_number() || value.is_boolean());
        if data.insert(name.to_owned(), plain.unwrap_or_else(|| value.into())).is_some() {
            return Err(usage(format!("`{}` is given twice", shortened(name))));
        }
    }
    Ok(data)
}

/// Service names, each once, in the order given.
///
/// # Errors
///
/// `unknown_service` for a name no service can have.
pub fn services<T: AsRef<str>>(words: &[T]) -> Result<Vec<ServiceName>, Fault> {
    let mut seen = Set::new();
    let mut names = Vec::with_capacity(words.len());
    for word in words {
        let name = service(word.as_ref())?;
        if seen.insert(name.clone()) {
            names.push(name);
        }
    }
    Ok(names)
}

/// One service name.
///
/// # Errors
///
/// `unknown_service` for a name no service can have.
pub fn service(word: &str) -> Result<ServiceName, Fault> {
    ServiceName::parse(word)
        .map_err(|why| Fault::new(FaultCode::UnknownService, format!("no such service: `{}`", shortened(word))).with_hint(why))
}

/// Names of logs, each once, in the order given.
///
/// # Errors
///
/// `unknown_service` for a name no service can have.
pub fn logs<T: AsRef<str>>(words: &[T]) -> Result<Vec<LogName>, Fault> {
    let mut seen = Set::new();
    let mut logs = Vec::with_capacity(words.len());
    for word in words {
        let name = match word.as_ref() {
            SUPERVISOR => LogName::Supervisor,
            word => LogName::Service(service(word)?),
        };
        if seen.insert(name.clone()) {
            logs.push(name);
        }
    }
    Ok(logs)
}

/// As [`logs`], at least one.
///
/// # Errors
///
/// `usage` for none, `unknown_service` for a name no service can have.
pub fn some_logs<T: AsRef<str>>(words: &[T]) -> Result<Vec<LogName>, Fault> {
    if words.is_empty() { Err(usage("no service is named")) } else { logs(words) }
}

/// A number of lines as written; JSON numbers come here in their text form, so `-1`, `1e3` and `2.5` are all refused.
pub(super) fn lines(text: &str) -> Result<u32, Fault> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|n| *n <= MAX_LINES)
        .ok_or_else(|| usage(format!("a number of lines lies between 0 and {MAX_LINES}, not `{}`", shortened(text))))
}

/// One of the eight words for a state.
///
/// # Errors
///
/// `usage`, with the nearest word.
pub fn state(word: &str) -> Result<State, Fault> {
    State::parse(word).ok_or_else(|| {
        let words = State::ALL.map(State::word);
        let fault = usage(format!("no such state: `{}`", shortened(word)));
        let hinted = fault.clone().with_nearest(word, words);
        if hinted.hint.is_some() { hinted } else { fault.with_hint(format!("the states are {}", words.join(", "))) }
    })
}

/// A signal.
///
/// # Errors
///
/// `usage`, with the nearest name.
pub fn signal(word: &str) -> Result<Signal, Fault> {
    Signal::parse(word).map_err(|why| usage(format!("`{}`: {why}", shortened(word))))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
