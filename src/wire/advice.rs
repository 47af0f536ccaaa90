//! Advice: what scripts are asked before a start, before a restart and before a stop, and what they may answer: the
//! contract's section 8.6.
//!
//! The words only. What an answer may do, and which of several wins, is decided in `supervision::advice`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use super::event::{Ending, StartReason, StopReason};
use crate::value::nearest::nearest;
use crate::value::{Run, ServiceName, Signal, duration};

/// Bytes of a reason that are kept: it goes into an event, a line of the log and a line of `status`.
const REASON_BYTES: usize = 512;

/// Where scripts are asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Before a launch.
    Start,
    /// After a crash that the service's policy would restart it after, before the wait.
    Restart,
    /// Before the stop signal.
    Stop,
}

impl Point {
    /// Every point, in the order of the contract's table.
    pub const ALL: [Self; 3] = [Self::Start, Self::Restart, Self::Stop];

    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Stop => "stop",
        }
    }

    /// The actions that may be answered there.
    #[must_use]
    pub const fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Start => &["allow", "delay", "deny"],
            Self::Restart => &["restart", "delay", "hold", "give_up"],
            Self::Stop => &["proceed", "drain", "signal"],
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a script wants done. Lengths are as they were asked for; they are clamped where they are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Start: launch it.
    Allow,
    /// Start, restart: launch it after this long.
    Delay(Duration),
    /// Start: do not launch it; ask again later.
    Deny,
    /// Restart: as its policy says.
    Restart,
    /// Restart: keep it down for this long.
    Hold(Option<Duration>),
    /// Restart: leave it failed.
    GiveUp,
    /// Stop: send the stop signal.
    Proceed,
    /// Stop: send the stop signal after this long.
    Drain(Duration),
    /// Stop: send this signal instead.
    Signal(Signal),
}

impl Step {
    /// The action's word.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Delay(_) => "delay",
            Self::Deny => "deny",
            Self::Restart => "restart",
            Self::Hold(_) => "hold",
            Self::GiveUp => "give_up",
            Self::Proceed => "proceed",
            Self::Drain(_) => "drain",
            Self::Signal(_) => "signal",
        }
    }
}

/// The verdict as events tell it: `delay 30s`, `drain 1500ms`, `signal SIGUSR1`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action())?;
        match self {
            Self::Delay(length) | Self::Hold(Some(length)) | Self::Drain(length) => write!(f, " {}", exact(*length)),
            Self::Signal(signal) => write!(f, " {signal}"),
            Self::Allow | Self::Deny | Self::Restart | Self::Hold(None) | Self::GiveUp | Self::Proceed => Ok(()),
        }
    }
}

/// A length without loss: whole hours, minutes or seconds where it is that, else milliseconds.
fn exact(length: Duration) -> String {
    match (length.as_secs(), length.subsec_millis()) {
        (secs, 0) if secs > 0 && secs.is_multiple_of(3600) => format!("{}h", secs / 3600),
        (secs, 0) if secs > 0 && secs.is_multiple_of(60) => format!("{}m", secs / 60),
        (secs, 0) => format!("{secs}s"),
        _ => format!("{}ms", length.as_millis()),
    }
}

/// What one script answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What it wants.
    pub step: Step,
    /// Why, in its own words; at most 512 bytes.
    pub reason: String,
}

impl Verdict {
    /// Reads what a script returned at this point; `null` is no opinion.
    ///
    /// # Errors
    ///
    /// What was found and what is allowed, in one sentence: an unknown action or key, a length that is none.
    pub fn read(point: Point, value: &Value) -> Result<Option<Self>, String> {
        if value.is_null() {
            return Ok(None);
        }
        let verdict = Self::any(value, point.actions())?;
        Ok(Some(verdict))
    }

    fn any(value: &Value, actions: &[&str]) -> Result<Self, String> {
        let Some(written) = value.as_object() else {
            return Err(format!("found {}; allowed: nothing, or a table with `action`", shown(value)));
        };
        let action = match written.get("action") {
            Some(Value::String(action)) => action.as_str(),
            Some(other) => return Err(format!("found {} as `action`; allowed: {}", shown(other), ticked(actions))),
            None => return Err(format!("no `action`; allowed: {}", ticked(actions))),
        };
        if !actions.contains(&action) {
            let meant = nearest(action, actions.iter().copied());
            let meant = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
            return Err(format!("no such action: `{}`; allowed: {}{meant}", cut(action, 64), ticked(actions)));
        }
        let own: &[&str] = match action {
            "delay" => &["delay"],
            "hold" => &["for"],
            "drain" => &["ms"],
            "signal" => &["signal"],
            _ => &[],
        };
        let is_known = |key: &str| key == "action" || key == "reason" || own.contains(&key);
        if let Some(key) = written.keys().find(|key| !is_known(key)) {
            let known: Vec<&str> = ["action"].iter().chain(own).chain(&["reason"]).copied().collect();
            return Err(format!("unknown key `{}` of `{action}`; allowed: {}", cut(key, 64), ticked(&known)));
        }
        let step = match action {
            "allow" => Step::Allow,
            "delay" => Step::Delay(needed(written, "delay")?),
            "deny" => Step::Deny,
            "restart" => Step::Restart,
            "hold" => Step::Hold(length(written, "for")?),
            "give_up" => Step::GiveUp,
            "proceed" => Step::Proceed,
            "drain" => Step::Drain(needed(written, "ms")?),
            _ => Step::Signal(signal(written)?),
        };
        let reason = match written.get("reason") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(reason)) => cut(reason, REASON_BYTES).to_owned(),
            Some(other) => return Err(format!("found {} as `reason`; allowed: text", shown(other))),
        };
        Ok(Self { step, reason })
    }
}

fn needed(written: &Map<String, Value>, key: &str) -> Result<Duration, String> {
    length(written, key)?.ok_or_else(|| format!("no `{key}`; allowed: {LENGTH}"))
}

const LENGTH: &str = "milliseconds such as 1500, or a duration such as \"30s\"";

/// A length in milliseconds, or as people write it.
fn length(written: &Map<String, Value>, key: &str) -> Result<Option<Duration>, String> {
    let found = match written.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(found) => found,
    };
    let length = match found {
        // Lua's numbers may come as 1500.0; a year is far beyond every clamp and far below what a float cannot hold.
        Value::Number(number) => {
            number.as_f64().filter(|ms| (0.0..=31_536_000_000.0).contains(ms)).map(|ms| Duration::from_millis(ms as u64))
        }
        Value::String(text) => duration::parse(text).ok(),
        _ => None,
    };
    length.map(Some).ok_or_else(|| format!("found {} as `{key}`; allowed: {LENGTH}", shown(found)))
}

fn signal(written: &Map<String, Value>) -> Result<Signal, String> {
    match written.get("signal") {
        Some(Value::String(name)) => Signal::parse(name).map_err(|rule| format!("found `{}` as `signal`; {rule}", cut(name, 64))),
        Some(other) => Err(format!("found {} as `signal`; allowed: a name such as \"USR1\"", shown(other))),
        None => Err("no `signal`; allowed: a name such as \"USR1\"".to_owned()),
    }
}

/// A value in a message, by its kind where it has parts.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(truth) => format!("`{truth}`"),
        Value::Number(number) => format!("`{number}`"),
        Value::String(text) => format!("`{}`", cut(text, 64)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
    }
}

fn ticked(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// At most this many bytes of a text, cut between two characters.
fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("action", self.step.action())?;
        match self.step {
            Step::Delay(length) => map.serialize_entry("delay", &duration::millis(length))?,
            Step::Hold(Some(length)) => map.serialize_entry("for", &duration::millis(length))?,
            Step::Drain(length) => map.serialize_entry("ms", &duration::millis(length))?,
            Step::Signal(signal) => map.serialize_entry("signal", &signal)?,
            Step::Allow | Step::Deny | Step::Restart | Step::Hold(None) | Step::GiveUp | Step::Proceed => {}
        }
        if !self.reason.is_empty() {
            map.serialize_entry("reason", &self.reason)?;
        }
        map.end()
    }
}

/// A verdict of whichever point; whether it fits the point is for who reads it to say.
impl<'de> Deserialize<'de> for Verdict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let mut actions: Vec<&str> = Vec::new();
        for action in Point::ALL.iter().flat_map(|point| point.actions()) {
            if !actions.contains(action) {
                actions.push(action);
            }
        }
        Self::any(&value, &actions).map_err(de::Error::custom)
    }
}

/// What a script is told when it is asked: the `c` of `s3.decide`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Case {
    /// Where.
    pub point: Point,
    /// About which service.
    pub service: ServiceName,
    /// Its present run, or the last one; 0 before the first.
    pub run: Run,
    /// Which attempt in a row the next launch is.
    pub attempt: u32,
    /// Crashes in a row.
    pub crashes: u32,
    /// What only this point knows.
    #[serde(flatten)]
    pub facts: CaseFacts,
    /// What is done if nobody has an opinion.
    pub default: Verdict,
    /// How long the answer is waited for.
    pub deadline_ms: u64,
}

/// What only one of the points knows.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum CaseFacts {
    /// Before a launch.
    Start {
        /// Why it is to be launched.
        reason: StartReason,
    },
    /// After a crash.
    Restart {
        /// How it ended: `code`, or `signal`; `stage` and `message` where it could not be launched.
        exit: Ending,
        /// How long the run lasted.
        uptime_ms: u64,
        /// Its last lines.
        #[serde(skip_serializing_if = "Option::is_none")]
        log_tail: Option<Arc<[String]>>,
    },
    /// Before the stop signal.
    Stop {
        /// Why it is stopped.
        reason: StopReason,
        /// Its main process.
        #[serde(skip_serializing_if = "Option::is_none")]
        pid: Option<i32>,
        /// The signal it will get.
        signal: Signal,
        /// From now to SIGKILL; the time for this question and a drain are part of it.
        grace_ms: u64,
        /// How long the run has lasted.
        uptime_ms: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(point: Point, text: &str) -> Result<Option<Verdict>, String> {
        Verdict::read(point, &crate::value::json::from_str(text).unwrap())
    }

    #[test]
    fn verdicts_that_are_allowed() {
        let ms = Duration::from_millis;
        for (point, text, step, reason, shown) in [
            (Point::Start, r#"{"action":"allow"}"#, Step::Allow, "", "allow"),
            (Point::Start, r#"{"action":"delay","delay":"30s","reason":"OOM"}"#, Step::Delay(ms(30_000)), "OOM", "delay 30s"),
            (Point::Start, r#"{"action":"deny","reason":null}"#, Step::Deny, "", "deny"),
            (Point::Restart, r#"{"action":"restart"}"#, Step::Restart, "", "restart"),
            (Point::Restart, r#"{"action":"delay","delay":0}"#, Step::Delay(ms(0)), "", "delay 0s"),
            (Point::Restart, r#"{"action":"delay","delay":1500.0}"#, Step::Delay(ms(1_500)), "", "delay 1500ms"),
            (Point::Restart, r#"{"action":"hold","for":"1h","reason":"78"}"#, Step::Hold(Some(ms(3_600_000))), "78", "hold 1h"),
            (Point::Restart, r#"{"action":"hold","for":null}"#, Step::Hold(None), "", "hold"),
            (Point::Restart, r#"{"action":"give_up"}"#, Step::GiveUp, "", "give_up"),
            (Point::Stop, r#"{"action":"proceed"}"#, Step::Proceed, "", "proceed"),
            (Point::Stop, r#"{"action":"drain","ms":1500}"#, Step::Drain(ms(1_500)), "", "drain 1500ms"),
            (Point::Stop, r#"{"action":"drain","ms":"2m"}"#, Step::Drain(ms(120_000)), "", "drain 2m"),
            (Point::Stop, r#"{"action":"signal","signal":"USR1"}"#, Step::Signal(Signal::from_number(10)), "", "signal SIGUSR1"),
        ] {
            let verdict = Verdict { step, reason: reason.to_owned() };
            assert_eq!(read(point, text), Ok(Some(verdict.clone())), "{text}");
            assert_eq!(step.to_string(), shown);
            let travelled = crate::value::json::to_string(&verdict).unwrap();
            assert_eq!(crate::value::json::from_str::<Verdict>(&travelled).unwrap(), verdict, "{travelled}");
        }
        assert_eq!(read(Point::Stop, "null"), Ok(None));
    }

    #[test]
    fn verdicts_that_are_not() {
        let restart = "allowed: `restart`, `delay`, `hold`, `give_up`";
        let length = "allowed: milliseconds such as 1500, or a duration such as \"30s\"";
        for (point, text, said) in [
            (Point::Restart, "true", "found `true`; allowed: nothing, or a table with `action`".to_owned()),
            (Point::Restart, "[]", "found a list; allowed: nothing, or a table with `action`".to_owned()),
            (Point::Restart, "{}", format!("no `action`; {restart}")),
            (Point::Restart, r#"{"action":3}"#, format!("found `3` as `action`; {restart}")),
            (Point::Restart, r#"{"action":"hld"}"#, format!("no such action: `hld`; {restart}; did you mean `hold`?")),
            // An answer to another question.
            (Point::Restart, r#"{"action":"allow"}"#, format!("no such action: `allow`; {restart}")),
            (Point::Stop, r#"{"action":"deny"}"#, "no such action: `deny`; allowed: `proceed`, `drain`, `signal`".to_owned()),
            (Point::Restart, r#"{"action":"delay"}"#, format!("no `delay`; {length}")),
            (Point::Restart, r#"{"action":"delay","delay":-1}"#, format!("found `-1` as `delay`; {length}")),
            (Point::Restart, r#"{"action":"delay","delay":1e300}"#, format!("found `1e+300` as `delay`; {length}")),
            (Point::Restart, r#"{"action":"delay","delay":"soon"}"#, format!("found `soon` as `delay`; {length}")),
            (Point::Restart, r#"{"action":"hold","for":{}}"#, format!("found a table as `for`; {length}")),
            (
                Point::Restart,
                r#"{"action":"hold","fro":"1h"}"#,
                "unknown key `fro` of `hold`; allowed: `action`, `for`, `reason`".to_owned(),
            ),
            (
                Point::Stop,
                r#"{"action":"proceed","ms":5}"#,
                "unknown key `ms` of `proceed`; allowed: `action`, `reason`".to_owned(),
            ),
            (Point::Stop, r#"{"action":"drain","ms":[]}"#, format!("found a list as `ms`; {length}")),
            (Point::Stop, r#"{"action":"signal"}"#, "no `signal`; allowed: a name such as \"USR1\"".to_owned()),
            (
                Point::Stop,
                r#"{"action":"signal","signal":"TREM"}"#,
                "found `TREM` as `signal`; no such signal; did you mean `TERM`?".to_owned(),
            ),
            (
                Point::Stop,
                r#"{"action":"signal","signal":9}"#,
                "found `9` as `signal`; allowed: a name such as \"USR1\"".to_owned(),
            ),
            (Point::Stop, r#"{"action":"proceed","reason":1}"#, "found `1` as `reason`; allowed: text".to_owned()),
        ] {
            assert_eq!(read(point, text), Err(said), "{text}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        let text = format!(r#"{{"action":"deny","reason":"x{}"}}"#, "é".repeat(1_000));
        let reason = read(Point::Start, &text).unwrap().unwrap().reason;
        assert_eq!((reason.len(), reason.ends_with('é')), (511, true));
    }

    #[test]
    fn golden_case() {
        let case = Case {
            point: Point::Stop,
            service: ServiceName::parse("web").unwrap(),
            run: Run(3),
            attempt: 1,
            crashes: 0,
            facts: CaseFacts::Stop {
                reason: StopReason::Shutdown,
                pid: Some(7),
                signal: Signal::TERM,
                grace_ms: 5_000,
                uptime_ms: 9,
            },
            default: Verdict { step: Step::Proceed, reason: String::new() },
            deadline_ms: 1_250,
        };
        assert_eq!(
            crate::value::json::to_string(&case).unwrap(),
            concat!(
                r#"{"point":"stop","service":"web","run":3,"attempt":1,"crashes":0,"reason":"shutdown","pid":7,"#,
                r#""signal":"SIGTERM","grace_ms":5000,"uptime_ms":9,"default":{"action":"proceed"},"deadline_ms":1250}"#
            )
        );
    }
}
