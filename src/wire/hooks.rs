//! Answers about hooks and plugins, and their text.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::escape::one_line;

/// The most data of a custom event, as JSON.
pub const MAX_CUSTOM: usize = 16 << 10;

/// The answer to `hook list`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HookReport {
    /// The version of this document: 1.
    pub version: u32,
    /// The process that scripts live in.
    pub host: HostView,
    /// The scripts, in the order of the configuration: hooks, then plugins.
    pub scripts: Vec<ScriptView>,
}

/// The hook host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostView {
    /// Its process; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// How many there were, this one included.
    pub launches: u64,
    /// When the next one is launched. RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start_at: Option<String>,
}

/// One script.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScriptView {
    /// Its name.
    pub name: String,
    /// `hook`, `run` or `plugin`.
    pub kind: String,
    /// How it is doing.
    pub state: ScriptState,
    /// Why, where that needs a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its handlers.
    pub handlers: Vec<HandlerView>,
    /// Commands for `section3 x`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<CommandView>,
}

/// How a script is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptState {
    /// Its newest version is in force.
    Loaded,
    /// An older version is in force: the newest one could not be loaded.
    Stale,
    /// The host has not said yet.
    Loading,
    /// It could not be loaded.
    Failed,
    /// It took the host down too often.
    Quarantined,
    /// An operator switched it off.
    Disabled,
}

impl ScriptState {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Stale => "stale",
            Self::Loading => "loading",
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
            Self::Disabled => "disabled",
        }
    }
}

/// One handler.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HandlerView {
    /// Its name.
    pub name: String,
    /// Events that it is done with.
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
    /// Events that it never got because it was too slow.
    pub lost: u64,
    /// Events that it is not done with.
    pub lag_events: usize,
    /// How old the oldest of them is.
    pub lag_ms: u64,
    /// The median of its last 128 runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_p50_ms: Option<u64>,
    /// Its longest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_max_ms: Option<u64>,
    /// Until when it is paused, after ten failures in a row. RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<String>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// The answer to `hook enable` and `hook disable`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SwitchReport {
    /// Which script.
    pub name: String,
    /// Whether it may run now.
    pub enabled: bool,
    /// Whether it was so already.
    pub unchanged: bool,
}

/// The answer to `emit`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EmitReport {
    /// The event's id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub name: String,
}

/// The answer to `x` without a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommandsReport {
    /// The version of this document: 1.
    pub version: u32,
    /// All commands of the plugins that are loaded, or of the one that was named.
    pub commands: Vec<CommandView>,
}

/// One command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommandView {
    /// The plugin's name.
    pub plugin: String,
    /// Its own.
    pub command: String,
    /// What it does.
    pub summary: String,
}

/// The answer to `x` with a command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CommandReport {
    /// The version of this document: 1.
    pub version: u32,
    /// What the command returned.
    pub result: Value,
}

/// A line for each script, and one below it for each handler.
#[must_use]
pub fn list(report: &HookReport) -> String {
    let mut text = String::new();
    if report.scripts.is_empty() {
        text.push_str("no hooks, no plugins\n");
    }
    let width = super::text::name_width(report.scripts.iter().map(|script| script.name.as_str()));
    for script in &report.scripts {
        let _ = write!(text, "{:width$}  {:6}  {}", one_line(&script.name), one_line(&script.kind), script.state.word());
        if let Some(message) = &script.message {
            let _ = write!(text, ": {}", one_line(message));
        }
        text.push('\n');
        for handler in &script.handlers {
            handler_line(&mut text, handler);
        }
    }
    text
}

fn handler_line(text: &mut String, handler: &HandlerView) {
    let _ = write!(text, "  {}  delivered {}  ok {}", one_line(&handler.name), handler.delivered, handler.ok);
    let counted = [
        ("failed", handler.failed),
        ("timed out", handler.timed_out),
        ("killed", handler.killed),
        ("dropped", handler.dropped),
        ("lost", handler.lost),
    ];
    for (word, count) in counted.into_iter().filter(|(_, count)| *count > 0) {
        let _ = write!(text, "  {word} {count}");
    }
    if handler.lag_events > 0 {
        let _ = write!(text, "  behind {} events, {} ms", handler.lag_events, handler.lag_ms);
    }
    if let (Some(median), Some(longest)) = (handler.run_p50_ms, handler.run_max_ms) {
        let _ = write!(text, "  run {median} ms, at most {longest} ms");
    }
    if let Some(until) = &handler.paused_until {
        let _ = write!(text, "  paused until {}", one_line(until));
    }
    if let Some(error) = &handler.last_error {
        let _ = write!(text, "  last error: {}", one_line(error));
    }
    text.push('\n');
}

/// What became of a switch.
#[must_use]
pub fn switch(report: &SwitchReport) -> String {
    let word = if report.enabled { "enabled" } else { "disabled" };
    let already = if report.unchanged { " already" } else { "" };
    format!("{}: {word}{already}\n", one_line(&report.name))
}

/// The event that was emitted.
#[must_use]
pub fn emit(report: &EmitReport) -> String {
    format!("{}  {}\n", one_line(&report.name), one_line(&report.id))
}

/// A line for each command.
#[must_use]
pub fn commands(report: &CommandsReport) -> String {
    if report.commands.is_empty() {
        return "no commands\n".to_owned();
    }
    let line = |view: &CommandView| format!("{} {}", one_line(&view.plugin), one_line(&view.command));
    let width = report.commands.iter().map(|view| line(view).len()).max().unwrap_or_default();
    report.commands.iter().map(|view| format!("{:width$}  {}\n", line(view), one_line(&view.summary))).collect()
}

/// What a command returned: text as it is, everything else as JSON.
#[must_use]
pub fn command(report: &CommandReport) -> String {
    let lines = |text: &str| text.lines().map(|line| format!("{}\n", one_line(line))).collect();
    match &report.result {
        Value::Null => String::new(),
        Value::String(text) => lines(text),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).map(|text| format!("{}\n", one_line(text))).collect()
        }
        value => lines(&serde_json::to_string_pretty(value).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn handler(name: &str) -> HandlerView {
        HandlerView {
            name: name.to_owned(),
            delivered: 7,
            ok: 7,
            failed: 0,
            timed_out: 0,
            killed: 0,
            dropped: 0,
            lost: 0,
            lag_events: 0,
            lag_ms: 0,
            run_p50_ms: None,
            run_max_ms: None,
            paused_until: None,
            last_error: None,
        }
    }

    #[test]
    fn scripts_and_their_handlers() {
        let script = |name: &str, kind: &str, state, message: Option<&str>, handlers| ScriptView {
            name: name.to_owned(),
            kind: kind.to_owned(),
            state,
            message: message.map(str::to_owned),
            handlers,
            commands: Vec::new(),
        };
        let busy = HandlerView {
            failed: 1,
            lost: 3,
            lag_events: 64,
            lag_ms: 1200,
            run_p50_ms: Some(2),
            run_max_ms: Some(30),
            last_error: Some("page.lua:3: \x1b[2J".to_owned()),
            ..handler("page")
        };
        let report = HookReport {
            version: 1,
            host: HostView { pid: Some(5), launches: 1, next_start_at: None },
            scripts: vec![
                script("notify", "hook", ScriptState::Stale, Some("notify.lua:12: unexpected symbol"), vec![handler("sidecar")]),
                script("page", "run", ScriptState::Loaded, None, vec![busy]),
            ],
        };
        assert_eq!(
            list(&report),
            "notify   hook    stale: notify.lua:12: unexpected symbol\n\
             \x20 sidecar  delivered 7  ok 7\n\
             page     run     loaded\n\
             \x20 page  delivered 7  ok 7  failed 1  lost 3  behind 64 events, 1200 ms  run 2 ms, at most 30 ms  \
             last error: page.lua:3: \\x1b[2J\n"
        );
        assert_eq!(list(&HookReport { scripts: Vec::new(), ..report }), "no hooks, no plugins\n");
    }

    #[test]
    fn what_a_command_returned() {
        for (result, text) in [
            (json!(null), ""),
            (json!("a\nb\u{1b}"), "a\nb\\x1b\n"),
            (json!(["x", "y"]), "x\ny\n"),
            (json!({"a": 1}), "{\n  \"a\": 1\n}\n"),
            (json!(true), "true\n"),
        ] {
            assert_eq!(command(&CommandReport { version: 1, result }), text);
        }
        let view = |command: &str| CommandView { plugin: "p".into(), command: command.into(), summary: "does".into() };
        let report = CommandsReport { version: 1, commands: vec![view("retry"), view("a")] };
        assert_eq!(commands(&report), "p retry  does\np a      does\n");
    }
}
