//! Every type of event there is, with its data: the one description from which come the check of names in configs and
//! scripts, the samples of `hook test`, the editor types of `hook types`, and what `@problem` and its like stand for.
//!
//! The tests hold it equal to what [`Kind`](super::event::Kind) serialises, field for field, both ways.

use super::event::Severity;
use crate::value::nearest::nearest;

/// One type of event.
#[derive(Debug)]
pub struct EventType {
    /// The word in `type`; `custom.NAME` stands for all custom events.
    pub name: &'static str,
    /// Its usual severity.
    pub severity: Severity,
    /// When it happens.
    pub summary: &'static str,
    /// Whether the envelope names a service.
    pub of_service: bool,
    /// What is in `data`; nothing of a custom event, whose data is free.
    pub fields: &'static [Field],
}

/// One field of an event.
#[derive(Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// Its type, as LuaLS writes it.
    pub kind: &'static str,
    /// Whether it is in every event of its type.
    pub always: bool,
    /// A value as JSON; in the sample event unless it is empty.
    pub sample: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

const fn field(name: &'static str, kind: &'static str, sample: &'static str, meaning: &'static str) -> Field {
    Field { name, kind, always: true, sample, meaning }
}

/// A field that may be absent; with an empty sample it is not in the sample event.
const fn maybe(name: &'static str, kind: &'static str, sample: &'static str, meaning: &'static str) -> Field {
    Field { name, kind, always: false, sample, meaning }
}

const fn of_service(name: &'static str, severity: Severity, summary: &'static str, fields: &'static [Field]) -> EventType {
    EventType { name, severity, summary, of_service: true, fields }
}

const fn of_supervisor(name: &'static str, severity: Severity, summary: &'static str, fields: &'static [Field]) -> EventType {
    EventType { name, severity, summary, of_service: false, fields }
}

const START_REASON: &str = r#""boot"|"manual"|"restart"|"dependency"|"reload"|"health"|"hook""#;
const STOP_REASON: &str = r#""manual"|"restart"|"reload"|"shutdown"|"not_ready"|"health"|"hook""#;
const FAULT_KIND: &str = r#""error"|"timeout"|"cpu"|"memory"|"crash"|"load""#;
const LOG_TAIL: &str = r#"["listening on 8080","panic: connection refused"]"#;

/// What every event holds beside its data, in the order in which it travels.
pub static ENVELOPE: [Field; 18] = [
    field("v", "integer", "1", "version of the envelope"),
    field("id", "string", r#""00000000000000aa-1""#, "unique; an idempotency key"),
    field("seq", "integer", "1", "+1 an event, no holes"),
    field("boot", "string", r#""00000000000000aa""#, "this life of the supervisor"),
    field("type", "string", r#""crash""#, "which type of event"),
    field("time", "string", r#""2026-01-01T00:00:00.000Z""#, "RFC 3339, UTC, milliseconds"),
    field("mono_ms", "integer", "1000", "milliseconds since the supervisor started; orders events across steps of the clock"),
    field("host", "string", r#""host""#, "the host's name"),
    maybe("service", "string", r#""web""#, "the service it is about"),
    maybe("run", "integer", "1", "which launch of the service"),
    field("severity", r#""debug"|"info"|"warning"|"error"|"critical""#, r#""info""#, "how much it matters"),
    field(
        "actor",
        "string",
        r#""supervisor""#,
        "who brought it about: supervisor, cli:uid=0, signal:SIGHUP, hook:NAME, plugin:NAME",
    ),
    maybe("cause", "string", "", "id of the event that led here"),
    maybe("depth", "integer", "", "actions of scripts in the chain that led here"),
    field("data", "table", "{}", "what is particular to its type"),
    maybe("count", "integer", "", "folded occurrences"),
    maybe("attempt", "integer", "", "2 when the hook host died with it before"),
    maybe("lost", "integer", "", "events that this handler missed just before"),
];

/// Only in events that nothing real brought about: `hook test`.
pub static SYNTHETIC: Field = maybe("synthetic", "boolean", "true", "made by `hook test`");

static EXIT: [Field; 11] = [
    field("pid", "integer", "4711", "process id, no longer in use"),
    maybe("code", "integer", "1", "exit code; absent when a signal ended it"),
    maybe("signal", "string", "", "the signal that ended it"),
    maybe("core", "boolean", "", "whether a core file was written; beside `signal`"),
    maybe("oom", "boolean", "", "true where the OOM killer is the likely cause"),
    field("uptime_ms", "integer", "61000", "how long it lived"),
    field("stop_requested", "boolean", "false", "whether the supervisor had asked it to end"),
    field("max_rss_bytes", "integer", "12582912", "its largest resident set"),
    field("cpu_user_ms", "integer", "120", "CPU in user mode"),
    field("cpu_sys_ms", "integer", "30", "CPU in the kernel"),
    maybe("log_tail", "string[]", LOG_TAIL, "its last lines, at most 20 and 8 KiB"),
];

static CRASH: [Field; 15] = [
    maybe("pid", "integer", "4711", "process id, no longer in use; absent where the launch itself failed"),
    maybe("code", "integer", "1", "exit code; absent when a signal ended it"),
    maybe("signal", "string", "", "the signal that ended it"),
    maybe("core", "boolean", "", "whether a core file was written; beside `signal`"),
    maybe("oom", "boolean", "", "true where the OOM killer is the likely cause"),
    maybe("uptime_ms", "integer", "61000", "how long it lived"),
    maybe("stop_requested", "boolean", "false", "whether the supervisor had asked it to end"),
    maybe("max_rss_bytes", "integer", "12582912", "its largest resident set"),
    maybe("cpu_user_ms", "integer", "120", "CPU in user mode"),
    maybe("cpu_sys_ms", "integer", "30", "CPU in the kernel"),
    maybe("log_tail", "string[]", LOG_TAIL, "its last lines, at most 20 and 8 KiB"),
    maybe("stage", "string", "", "the step of the launch that failed"),
    maybe("message", "string", "", "what failed there"),
    field("crashes", "integer", "1", "crashes in a row"),
    field("next", r#""backoff"|"gave_up"|"hold"|"none""#, r#""backoff""#, "what follows"),
];

static GAVE_UP: [Field; 14] = [
    field("crashes", "integer", "5", "crashes in a row"),
    maybe("pid", "integer", "4711", "process id, no longer in use; absent where the launch itself failed"),
    maybe("code", "integer", "1", "exit code of the last run; absent when a signal ended it"),
    maybe("signal", "string", "", "the signal that ended it"),
    maybe("core", "boolean", "", "whether a core file was written; beside `signal`"),
    maybe("oom", "boolean", "", "true where the OOM killer is the likely cause"),
    maybe("uptime_ms", "integer", "900", "how long the last run lived"),
    maybe("stop_requested", "boolean", "false", "whether the supervisor had asked it to end"),
    maybe("max_rss_bytes", "integer", "12582912", "its largest resident set"),
    maybe("cpu_user_ms", "integer", "120", "CPU in user mode"),
    maybe("cpu_sys_ms", "integer", "30", "CPU in the kernel"),
    maybe("log_tail", "string[]", LOG_TAIL, "its last lines, at most 20 and 8 KiB"),
    maybe("stage", "string", "", "the step of the launch that failed"),
    maybe("message", "string", "", "what failed there"),
];

static HOOK_FAULT: [Field; 6] = [
    field("script", "string", r#""telegram""#, "the hook's or plugin's name"),
    maybe("handler", "string", r#""telegram""#, "the handler's; absent where the script itself is meant"),
    maybe("event_id", "string", r#""00000000000000aa-7""#, "the event that it was handed"),
    field("kind", FAULT_KIND, r#""error""#, "which limit or which mistake"),
    field("message", "string", r#""telegram.lua:12: attempt to index a nil value""#, "in words"),
    maybe("traceback", "string", "", "where in the script"),
];

/// All types, in the order of a service's life, then the supervisor's own.
pub static EVENTS: [EventType; 25] = [
    of_service(
        "start",
        Severity::Info,
        "a process was launched",
        &[
            field("pid", "integer", "4711", "process id"),
            field("argv", "string[]", r#"["/usr/local/bin/web","--port","8080"]"#, "the words that were executed"),
            field("attempt", "integer", "1", "launches in a row"),
            field("reason", START_REASON, r#""boot""#, "why"),
        ],
    ),
    of_service(
        "ready",
        Severity::Info,
        "a run is ready",
        &[
            field("pid", "integer", "4711", "process id"),
            field("startup_ms", "integer", "350", "since its launch"),
            field("by", r#""immediate"|"notify"|"tcp"|"http"|"exec"|"log"|"file""#, r#""http""#, "how that was learned"),
        ],
    ),
    of_service("exit", Severity::Info, "a process ended, whatever the reason", &EXIT),
    of_service(
        "crash",
        Severity::Warning,
        "a run ended badly without being asked to, right after its `exit`; or was not launched",
        &CRASH,
    ),
    of_service(
        "backoff",
        Severity::Info,
        "the next launch is timed",
        &[
            field("attempt", "integer", "1", "which wait in a row"),
            field("delay_ms", "integer", "1000", "how long"),
            field("next_at", "string", r#""2026-01-01T00:00:01.000Z""#, "until when, RFC 3339"),
        ],
    ),
    of_service(
        "recovered",
        Severity::Info,
        "a run passed `reset_after` after crashes",
        &[
            field("crashes", "integer", "3", "how many there had been"),
            field("down_ms", "integer", "4200", "from the first crash to the launch that held"),
        ],
    ),
    of_service("gave_up", Severity::Critical, "crashed too often in a row; stays down", &GAVE_UP),
    of_service(
        "stopping",
        Severity::Debug,
        "a run was asked to end",
        &[
            field("reason", STOP_REASON, r#""manual""#, "why"),
            field("signal", "string", r#""SIGTERM""#, "how"),
            field("grace_ms", "integer", "5000", "until SIGKILL"),
        ],
    ),
    of_service(
        "stop",
        Severity::Info,
        "a run that was asked to end is gone, with all its processes",
        &[
            maybe("code", "integer", "0", "exit code"),
            maybe("signal", "string", "", "the signal that ended it"),
            maybe("core", "boolean", "", "whether a core file was written; beside `signal`"),
            field("took_ms", "integer", "120", "from being asked"),
            field("forced", "boolean", "false", "whether SIGKILL was needed; severity warning then"),
            field("reason", STOP_REASON, r#""manual""#, "why"),
        ],
    ),
    of_service("stuck", Severity::Error, "SIGKILL does not end it", &[field("for_ms", "integer", "2000", "since SIGKILL")]),
    of_service(
        "hold",
        Severity::Warning,
        "kept down by a script",
        &[
            field("by", "string", r#""hook:maintenance""#, "by whom"),
            field("reason", "string", r#""bad configuration""#, "why"),
            maybe("until", "string", r#""2026-01-01T01:00:00.000Z""#, "RFC 3339; absent where only `start` or a release ends it"),
        ],
    ),
    of_service(
        "health",
        Severity::Warning,
        "a health check changed its mind",
        &[
            field("check", "string", r#""http""#, "which"),
            field("from", r#""unknown"|"healthy"|"unhealthy""#, r#""healthy""#, "before"),
            field(
                "to",
                r#""unknown"|"healthy"|"unhealthy""#,
                r#""unhealthy""#,
                "now; severity warning when unhealthy, else info",
            ),
            field("failures", "integer", "3", "in a row"),
            field("latency_ms", "integer", "12", "of the last check"),
            field("output", "string", r#""503 Service Unavailable""#, "of the last check"),
        ],
    ),
    of_service(
        "rotate",
        Severity::Info,
        "a log was rotated",
        &[
            field("path", "string", r#""/var/log/section3/web.log.1""#, "the file that was put aside"),
            field("bytes", "integer", "1048576", "its size"),
            field("reason", r#""size"|"manual""#, r#""size""#, "why"),
        ],
    ),
    of_service(
        "log_dropped",
        Severity::Warning,
        "bytes could not be kept",
        &[field("bytes", "integer", "4096", "how many"), field("reason", "string", r#""no space left on device""#, "why")],
    ),
    of_service(
        "decision",
        Severity::Info,
        "a script was asked for advice",
        &[
            field("point", r#""start"|"restart"|"stop""#, r#""restart""#, "about what"),
            field("verdict", "string", r#""delay""#, "what it said"),
            field("by", "string", r#""hook:maintenance""#, "who"),
            maybe("reason", "string", r#""disk is full""#, "why"),
            field("took_ms", "integer", "3", "how long it thought"),
            field("applied", "boolean", "true", "whether that is what happens"),
        ],
    ),
    of_supervisor(
        "reload",
        Severity::Info,
        "a new config is in force",
        &[
            field("added", "string[]", r#"["worker"]"#, "services"),
            field("removed", "string[]", "[]", "services"),
            field("changed", "string[]", r#"["web"]"#, "services"),
            field("unchanged", "string[]", "[]", "services"),
        ],
    ),
    of_supervisor(
        "reload_failed",
        Severity::Error,
        "a new config was refused; the old one stays",
        &[field("errors", "string[]", r#"["section3.yml:3:5: services.web.comand: unknown key"]"#, "each with its place")],
    ),
    of_supervisor(
        "update",
        Severity::Info,
        "how far an update is; severity error where it failed",
        &[
            field("phase", r#""available"|"applied"|"failed"|"rolled_back"|"reexec""#, r#""applied""#, "how far"),
            maybe("from", "string", r#""0.1.0""#, "version before"),
            maybe("to", "string", r#""0.2.0""#, "version after"),
            maybe("error", "string", "", "why it failed"),
        ],
    ),
    of_supervisor(
        "daemon_start",
        Severity::Info,
        "the supervisor started",
        &[
            field("version", "string", r#""0.1.0""#, "its version"),
            field("pid", "integer", "1", "its process id"),
            field("pid1", "boolean", "true", "whether it is the init process"),
        ],
    ),
    of_supervisor(
        "daemon_ready",
        Severity::Info,
        "every service that starts by itself is ready, or failed",
        &[
            field("took_ms", "integer", "850", "since the start"),
            field("failed", "string[]", "[]", "services that did not make it"),
        ],
    ),
    of_supervisor(
        "daemon_stopping",
        Severity::Info,
        "the shutdown begins",
        &[field("reason", "string", r#""SIGTERM""#, "who asked")],
    ),
    of_supervisor(
        "daemon_stop",
        Severity::Info,
        "the shutdown is over",
        &[field("exit_code", "integer", "0", "of the supervisor")],
    ),
    of_supervisor(
        "orphan",
        Severity::Debug,
        "stray processes were reaped; at most one event a minute",
        &[field("reaped", "integer", "3", "how many")],
    ),
    of_supervisor("hook_failed", Severity::Warning, "a handler failed", &HOOK_FAULT),
    of_supervisor("hook_disabled", Severity::Error, "a handler or a script is paused", &HOOK_FAULT),
];

/// All custom events: `custom.NAME`.
pub static CUSTOM: EventType = of_supervisor(
    "custom.NAME",
    Severity::Info,
    "from `section3 emit` or a script's `emit`; its data is free, at most 16 KiB",
    &[],
);

/// A word that stands for several types.
#[derive(Debug)]
pub struct List {
    /// With its `@`.
    pub name: &'static str,
    /// The types; of `health` and `stop` in `@problem` only those of severity warning count.
    pub types: &'static [&'static str],
}

/// All lists.
pub static LISTS: [List; 4] = [
    List { name: "@problem", types: &["crash", "gave_up", "hold", "health", "reload_failed", "log_dropped", "stop", "stuck"] },
    List {
        name: "@life",
        types: &[
            "start",
            "ready",
            "exit",
            "crash",
            "backoff",
            "recovered",
            "gave_up",
            "stopping",
            "stop",
            "stuck",
            "hold",
            "health",
        ],
    },
    List {
        name: "@daemon",
        types: &["reload", "reload_failed", "update", "daemon_start", "daemon_ready", "daemon_stopping", "daemon_stop"],
    },
    List { name: "@all", types: &[] },
];

/// The longest name of a custom event, without `custom.`.
pub const MAX_CUSTOM_NAME: usize = 64;

/// The type of this name; for `custom.NAME` the one of all custom events.
#[must_use]
pub fn event_type(name: &str) -> Option<&'static EventType> {
    match name.strip_prefix("custom.") {
        Some(rest) => is_custom_name(rest).then_some(&CUSTOM),
        None => EVENTS.iter().find(|event| event.name == name),
    }
}

/// Whether a custom event can be called so: 1 to 64 letters, digits, `_`, `.` or `-`.
#[must_use]
pub fn is_custom_name(name: &str) -> bool {
    (1..=MAX_CUSTOM_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Checks what somebody wants to hear: a type, a list, `custom.NAME` or `custom.*`.
///
/// # Errors
///
/// In words, with the nearest name that is allowed.
pub fn check_selector(word: &str) -> Result<(), String> {
    if word == "custom.*" || event_type(word).is_some() || LISTS.iter().any(|list| list.name == word) {
        return Ok(());
    }
    if word.starts_with("custom.") {
        return Err(format!(
            "unknown event `{word}`: after `custom.` come 1 to {MAX_CUSTOM_NAME} letters, digits, `_`, `.` or `-`, or one `*`"
        ));
    }
    Err(match nearest(word, selectors()) {
        Some(meant) => format!("unknown event `{word}`; did you mean `{meant}`?"),
        None => format!("unknown event `{word}`; allowed are {}", selectors().collect::<Vec<_>>().join(", ")),
    })
}

/// Every word that [`check_selector`] takes.
pub fn selectors() -> impl Iterator<Item = &'static str> {
    EVENTS.iter().map(|event| event.name).chain(["custom.*", CUSTOM.name]).chain(LISTS.iter().map(|list| list.name))
}

/// Whether somebody who wants to hear `selector` wants this event.
#[must_use]
pub fn selects(selector: &str, event: &str, severity: Severity) -> bool {
    match selector {
        "@all" => true,
        "custom.*" => event.starts_with("custom."),
        "@problem" if matches!(event, "health" | "stop") => severity >= Severity::Warning,
        _ => selector == event || LISTS.iter().any(|list| list.name == selector && list.types.contains(&event)),
    }
}

#[cfg(test)]
mod tests;
