//! Answers as text, for people: what the CLI prints and what the plain form answers. Pure; every word that came from a
//! service is escaped, but the lines of logs, which are the reader's choice.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::escape::{log_line, one_line};
use super::{
    ExitView, HealthView, HoldView, OrderResult, Outcome, ReexecReport, ReloadReport, ReloadResult, RotateResult, ServiceView,
    SignalReport, State, StatusReport, SupervisorState, TailItem, VersionReport, WaitReport,
};
use crate::value::duration::Human;

/// Whether the words for states have colours. Only a terminal gets them, and never with `NO_COLOR`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Paint {
    /// No colours.
    Plain,
    /// The eight colours every terminal has.
    Colour,
}

impl Paint {
    fn state(self, state: State) -> [&'static str; 2] {
        match state {
            _ if self == Self::Plain => ["", ""],
            State::Running => ["\x1b[32m", "\x1b[0m"],
            State::Starting | State::Stopping | State::Waiting => ["\x1b[33m", "\x1b[0m"],
            State::Backoff | State::Failed => ["\x1b[31m", "\x1b[0m"],
            State::Stopped | State::Exited => ["", ""],
        }
    }
}

/// Name and state columns are at least this wide, so that small sets look alike from call to call.
const NAME: usize = 7;
const STATE: usize = 8;

/// What a service is that starts; the supervisor's message about its probe begins with it, too.
pub const NOT_READY: &str = "not ready yet";

/// The width of the name column for these names.
#[must_use]
pub fn name_width<'a>(names: impl IntoIterator<Item = &'a str>) -> usize {
    names.into_iter().map(str::len).max().unwrap_or(0).max(NAME)
}

/// One line a service: name, state, and what matters in that state.
#[must_use]
pub fn status(report: &StatusReport, paint: Paint) -> String {
    let now = humantime::parse_rfc3339_weak(&report.supervisor.time).ok();
    let width = name_width(report.services.iter().map(|service| service.name.as_str()));
    let mut text = String::with_capacity(64 * report.services.len());
    for service in &report.services {
        columns(&mut text, &service.name, width, service.state, paint, &details(service, now));
    }
    if report.services.is_empty() {
        text.push_str("no services\n");
    }
    if report.supervisor.state == SupervisorState::Stopping {
        text.push_str("the supervisor is shutting down\n");
    }
    text
}

fn columns(text: &mut String, name: &str, width: usize, state: State, paint: Paint, details: &[String]) {
    let start = text.len();
    let [from_here, to_here] = paint.state(state);
    let _ = write!(text, "{:width$}  {from_here}{state:STATE$}{to_here}", one_line(name));
    for detail in details {
        text.push_str("  ");
        text.push_str(detail);
    }
    let end = text[start..].trim_end().len();
    text.truncate(start + end);
    text.push('\n');
}

fn details(service: &ServiceView, now: Option<SystemTime>) -> Vec<String> {
    let mut words = Vec::new();
    let ended_at = service.last_exit.as_ref().map(|exit| exit.at.as_str());
    let ago = || {
        let since = service.since.as_deref().or(ended_at)?;
        between(since, now).map(|age| format!("{} ago", rough(age)))
    };
    let exit = service.last_exit.as_ref().map(exit);
    let crashes = (service.crashes > 0).then(|| format!("crash {}", service.crashes));
    match service.state {
        State::Starting | State::Running | State::Stopping => {
            words.extend(service.pid.map(|pid| format!("PID {pid}")));
            words.extend(service.uptime_s.map(|s| format!("uptime {}", human(Duration::from_secs(s)))));
            // The message may say it with the reason.
            let is_told = service.message.as_ref().is_some_and(|message| message.starts_with(NOT_READY));
            if service.state == State::Starting && !is_told {
                words.push(NOT_READY.to_owned());
            }
            words.extend(crashes);
        }
        State::Waiting => {
            words.extend(service.hold.as_ref().map(hold));
            words.extend(next_start(service, now));
            if !service.waiting_for.is_empty() {
                words.push(format!("waiting for {}", one_line(&service.waiting_for.join(", "))));
            }
        }
        State::Backoff => {
            words.extend(exit);
            words.extend(crashes);
            words.extend(next_start(service, now));
        }
        State::Exited | State::Failed => {
            words.extend(exit);
            words.extend(ago());
            words.extend(crashes.filter(|_| service.crashes > 1));
        }
        State::Stopped => words.push(match service.run {
            None => "never started".to_owned(),
            Some(_) => ago().unwrap_or_default(),
        }),
    }
    match service.health {
        Some(HealthView::Unhealthy) => words.push("unhealthy".to_owned()),
        Some(HealthView::Healthy) => words.push("healthy".to_owned()),
        Some(HealthView::Unknown) | None => {}
    }
    if service.definition_changed {
        words.push("definition changed".to_owned());
    }
    if let Some(log) = service.log.as_ref().filter(|log| log.lost_bytes > 0) {
        words.push(format!("log lost {} bytes", log.lost_bytes));
    }
    let message = service.message.as_deref().map(|message| one_line(message).into_owned());
    // A failure's reason is often the exit that is there already.
    words.extend(message.filter(|message| !words.contains(message)));
    words.retain(|word| !word.is_empty());
    words
}

fn next_start(service: &ServiceView, now: Option<SystemTime>) -> Option<String> {
    let at = humantime::parse_rfc3339_weak(service.next_start_at.as_deref()?).ok()?;
    Some(format!("next start in {}", human(at.duration_since(now?).unwrap_or_default())))
}

/// `held by hook:policy until 2026-01-01T00:00:00.000Z: bad configuration`.
fn hold(hold: &HoldView) -> String {
    let until = hold.until.as_ref().map_or_else(String::new, |until| format!(" until {}", one_line(until)));
    let reason = if hold.reason.is_empty() { String::new() } else { format!(": {}", one_line(&hold.reason)) };
    format!("held by {}{until}{reason}", one_line(&hold.by))
}

fn exit(exit: &ExitView) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("{signal}{}", if exit.core { " (core dumped)" } else { "" }),
        (None, None) => String::new(),
    }
}

/// How long before `now` the time `earlier` (RFC 3339) was; nothing if the wall clock was set back meanwhile.
fn between(earlier: &str, now: Option<SystemTime>) -> Option<Duration> {
    now?.duration_since(humantime::parse_rfc3339_weak(earlier).ok()?).ok()
}

/// A duration in whole seconds or larger units: `0s`, `12s`, `2h34m`.
fn human(duration: Duration) -> String {
    if duration.as_secs() == 0 { "0s".to_owned() } else { Human(duration).to_string() }
}

/// A duration in its largest unit: `12s`, `2m`, `5h`, `3d`.
fn rough(duration: Duration) -> String {
    match duration.as_secs() {
        secs @ 0..60 => format!("{secs}s"),
        secs @ 60..3_600 => format!("{}m", secs / 60),
        secs @ 3_600..86_400 => format!("{}h", secs / 3_600),
        secs => format!("{}d", secs / 86_400),
    }
}

/// What became of an order for one service; `op` is `start`, `stop` or `restart`.
#[must_use]
pub fn order(op: &str, result: &OrderResult, width: usize, paint: Paint) -> String {
    let message = result.message.as_deref().map(|message| one_line(message).into_owned());
    let mut details = vec![match (result.outcome, op) {
        (Outcome::Done, "start") => "started".to_owned(),
        (Outcome::Done, "stop") => "stopped".to_owned(),
        (Outcome::Done, _) => "restarted".to_owned(),
        (Outcome::Unchanged, "stop") => "was not running".to_owned(),
        (Outcome::Unchanged, _) => "was running already".to_owned(),
        (Outcome::Failed, _) => format!("did not {op}"),
        (Outcome::Overtaken, _) => "overtaken by a later order".to_owned(),
        (Outcome::Accepted, _) => "accepted".to_owned(),
    }];
    // The state says it already.
    details.retain(|word| *word != "stopped" || result.state != State::Stopped);
    details.extend(message);
    if !result.dependencies.is_empty() {
        details.push(format!("with what it needs: {}", one_line(&result.dependencies.join(", "))));
    }
    if !result.dependents.is_empty() {
        details.push(format!("still running and depending on it: {}", one_line(&result.dependents.join(", "))));
    }
    let mut text = String::new();
    columns(&mut text, &result.name, width, result.state, paint, &details);
    text
}

/// What a reload did, or would do.
#[must_use]
pub fn reload(report: &ReloadReport) -> String {
    let mut text = String::new();
    if report.dry_run {
        text.push_str("dry run, nothing was changed\n");
    }
    let width = name_width(report.services.iter().map(|service| service.name.as_str()));
    for ReloadResult { name, change, done, .. } in &report.services {
        let _ = writeln!(text, "{:width$}  {:9}  {}", one_line(name), change.word(), one_line(done));
    }
    for note in &report.notes {
        let _ = writeln!(text, "{}", one_line(note));
    }
    text
}

/// What became of one rotation.
#[must_use]
pub fn rotate(result: &RotateResult, width: usize) -> String {
    let name = one_line(&result.name);
    match (&result.message, result.ok) {
        (Some(message), _) => format!("{name:width$}  {}\n", one_line(message)),
        (None, false) => format!("{name:width$}  could not be rotated\n"),
        (None, true) => format!("{name:width$}  rotated  {} bytes\n", result.bytes),
    }
}

/// The state that was waited for.
#[must_use]
pub fn wait(report: &WaitReport, paint: Paint) -> String {
    let mut text = String::new();
    columns(&mut text, &report.name, name_width([report.name.as_str()]), report.state, paint, &[]);
    text
}

/// The signal that was sent.
#[must_use]
pub fn signal(report: &SignalReport) -> String {
    format!("{}: sent {} to PID {}\n", one_line(&report.name), report.signal, report.pid)
}

/// What a replacement of the running program did.
#[must_use]
pub fn reexec(report: &ReexecReport) -> String {
    let (from, to) = (one_line(&report.from), one_line(&report.to));
    format!("section3 {to} took over from {from} (PID {}), every service goes on\n", report.pid)
}

/// The version that runs.
#[must_use]
pub fn version(report: &VersionReport) -> String {
    format!("section3 {} (PID {})\n", one_line(&report.version), report.pid)
}

/// One event in one line: time, severity, service, type, then its data as `key=value`.
///
/// Takes the JSON of an event, so that a client shows events that are younger than itself. `log_tail` is left out.
#[must_use]
pub fn event(event: &Value) -> String {
    let word = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or("-");
    let mut line = format!(
        "{}  {:8}  {:12}  {:9}",
        one_line(word("time")),
        one_line(word("severity")),
        one_line(word("service")),
        one_line(word("type"))
    );
    let mut pair = |key: &str, value: &Value| {
        let shown = match value {
            Value::Array(items) if items.is_empty() => return,
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| item.as_str().map_or(item.to_string(), str::to_owned)).collect();
                items.join(if key == "argv" { " " } else { "," })
            }
            Value::String(text) => text.clone(),
            Value::Null => return,
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
        };
        let _ = if shown.is_empty() || shown.contains([' ', '"', '=']) {
            write!(line, "  {}={:?}", one_line(key), one_line(&shown))
        } else {
            write!(line, "  {}={}", one_line(key), one_line(&shown))
        };
    };
    if let Some(run) = event.get("run") {
        pair("run", run);
    }
    if let Some(Value::Object(data)) = event.get("data") {
        data.iter().filter(|(key, _)| *key != "log_tail").for_each(|(key, value)| pair(key, value));
    }
    if let Some(actor) = event.get("actor").filter(|actor| *actor != "supervisor") {
        pair("by", actor);
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

/// How lines of several logs are told apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TailText {
    style: TailStyle,
    last: Option<String>,
    visible: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TailStyle {
    Bare,
    Blocks,
    Prefixed,
}

impl TailText {
    /// `logs` is how many were named, 0 for all; with `visible`, control bytes are escaped.
    #[must_use]
    pub const fn new(logs: usize, follow: bool, visible: bool) -> Self {
        let style = match (logs, follow) {
            (1, _) => TailStyle::Bare,
            (_, true) => TailStyle::Prefixed,
            (_, false) => TailStyle::Blocks,
        };
        Self { style, last: None, visible }
    }

    /// Adds an item to what will be written: its line with a newline, under or behind its name where there are several.
    pub fn write(&mut self, item: &TailItem, out: &mut Vec<u8>) {
        if self.style == TailStyle::Blocks && self.last.as_deref() != Some(&item.service) {
            out.extend_from_slice(format!("=== {} ===\n", one_line(&item.service)).as_bytes());
            self.last = Some(item.service.clone());
        }
        let Some(line) = item.bytes() else { return };
        if self.style == TailStyle::Prefixed {
            out.extend_from_slice(format!("[{}] ", one_line(&item.service)).as_bytes());
        }
        if self.visible {
            out.extend_from_slice(&log_line(&line))
        } else {
            out.extend_from_slice(&line)
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
