//! The other answers: what was done about orders, a reload, a rotation; lines of logs.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::State;
use crate::value::hex;

/// The answer to `start`, `stop` and `restart`: one entry for each service, in the order of the request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrderReport {
    /// What became of each.
    pub services: Vec<OrderResult>,
}

/// What became of an order for one service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrderResult {
    /// Which service.
    pub name: String,
    /// Whether it is as was wished, or on its way there if the client did not want to wait.
    pub ok: bool,
    /// What came of it.
    pub outcome: Outcome,
    /// Its state when the answer was made.
    pub state: State,
    /// Why, where that needs a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The services that it needs, that were down and are started first; named by `start` and `restart`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<String>,
    /// The services that run and depend on it; named by `stop` and `restart`, which leave them alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<String>,
}

/// What came of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Done,
    /// It was so already.
    Unchanged,
    /// It did not come about.
    Failed,
    /// A later order took its place.
    Overtaken,
    /// Under way; the client did not want to wait.
    Accepted,
}

/// The answer to `reload`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Whether it is only the plan.
    pub dry_run: bool,
    /// The services of the old and the new configuration.
    pub services: Vec<ReloadResult>,
    /// What the supervisor's own settings do, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What a reload did about one service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReloadResult {
    /// Which service.
    pub name: String,
    /// What the new configuration says about it.
    pub change: Change,
    /// What was done, or would be, in words.
    pub done: String,
    /// Whether that came about.
    pub ok: bool,
}

/// What a new configuration says about a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its definition is another one.
    Changed,
    /// Only what takes effect at once is another: log limits, health, stop, backoff, restart, essential.
    Policy,
    /// Nothing.
    Unchanged,
    /// Its definition is another one and it was restarted with it.
    Restarted,
}

impl Change {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Policy => "policy",
            Self::Unchanged => "unchanged",
            Self::Restarted => "restarted",
        }
    }
}

/// The answer to `rotate`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RotateReport {
    /// One entry for each log, in the order of the request.
    pub logs: Vec<RotateResult>,
}

/// What became of one rotation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RotateResult {
    /// Whose log.
    pub name: String,
    /// Whether the next line goes to a new file, or there was nothing to rotate.
    pub ok: bool,
    /// Bytes that the rotated file holds.
    pub bytes: u64,
    /// Why not, or what there was instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The answer to `wait`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WaitReport {
    /// Which service.
    pub name: String,
    /// The state it was waited for, and is in.
    pub state: State,
}

/// What `section3 self version --json` prints: which program this file is. An update reads it from the new program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProgramReport {
    /// The version of this document: 1.
    pub version: u32,
    /// The name of the product.
    pub product: String,
    /// The version of the program.
    pub release: String,
    /// The platform it was built for, as releases call it; empty where none is released.
    pub target: String,
}

/// The answer to `signal`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignalReport {
    /// Which service.
    pub name: String,
    /// The process that got it.
    pub pid: i32,
    /// The signal, as `SIGHUP`.
    pub signal: crate::value::Signal,
}

/// The answer to `version`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VersionReport {
    /// The version of the running supervisor.
    pub version: String,
    /// Its process id.
    pub pid: u32,
}

/// The answer to `reexec`, given by the program that runs from now on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReexecReport {
    /// The version that ran before.
    pub from: String,
    /// The version that runs now.
    pub to: String,
    /// The process id, which is what it was.
    pub pid: u32,
}

/// One line of a log, or the word that a log has none.
///
/// A line travels as `line` where it is UTF-8 and as `line_hex` where it is not, so that no byte is changed on the
/// way. With neither, the log is there and has no line: it gets its heading all the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TailItem {
    /// Whose log.
    pub service: String,
    /// The line without its newline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The bytes of a line that is not UTF-8, two hexadecimal digits each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_hex: Option<String>,
}

impl TailItem {
    /// A line; its newline, if it has one, is left out.
    #[must_use]
    pub fn new(service: impl Into<String>, line: &[u8]) -> Self {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let (line, line_hex) = match std::str::from_utf8(line) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(hex::encode(line))),
        };
        Self { service: service.into(), line, line_hex }
    }

    /// A log without a line.
    #[must_use]
    pub fn heading(service: impl Into<String>) -> Self {
        Self { service: service.into(), line: None, line_hex: None }
    }

    /// The bytes of the line; `None` for a heading, or where the digits are none.
    #[must_use]
    pub fn bytes(&self) -> Option<Cow<'_, [u8]>> {
        match (&self.line, &self.line_hex) {
            (Some(line), _) => Some(line.as_bytes().into()),
            (None, Some(digits)) => hex::decode(digits).map(Cow::Owned),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_arrives_as_it_was() {
        for (line, json) in [
            (b"plain".as_slice(), r#"{"service":"web","line":"plain"}"#),
            (b"with end\n", r#"{"service":"web","line":"with end"}"#),
            (b"", r#"{"service":"web","line":""}"#),
            (b"\x1b[31mred", r#"{"service":"web","line":"\u001b[31mred"}"#),
            (b"\xff\x00a\r", r#"{"service":"web","line_hex":"ff00610d"}"#),
        ] {
            let item = TailItem::new("web", line);
            assert_eq!(crate::value::json::to_string(&item).unwrap(), json);
            let back: TailItem = crate::value::json::from_str(json).unwrap();
            assert_eq!(back.bytes().as_deref(), Some(line.strip_suffix(b"\n").unwrap_or(line)));
        }
        assert_eq!(TailItem::heading("web").bytes(), None);
        for bad in ["f", "zz", "é"] {
            assert_eq!(TailItem { service: "web".into(), line: None, line_hex: Some(bad.into()) }.bytes(), None);
        }
    }

    #[test]
    fn golden_reports() {
        let order = OrderReport {
            services: vec![OrderResult {
                name: "db".into(),
                ok: true,
                outcome: Outcome::Done,
                state: State::Stopped,
                message: None,
                dependencies: Vec::new(),
                dependents: vec!["web".into()],
            }],
        };
        assert_eq!(
            crate::value::json::to_string(&order).unwrap(),
            r#"{"services":[{"name":"db","ok":true,"outcome":"done","state":"stopped","dependents":["web"]}]}"#
        );
        let reload = ReloadReport {
            dry_run: false,
            services: vec![ReloadResult { name: "db".into(), change: Change::Policy, done: "takes effect".into(), ok: true }],
            notes: vec![],
        };
        assert_eq!(
            crate::value::json::to_string(&reload).unwrap(),
            r#"{"dry_run":false,"services":[{"name":"db","change":"policy","done":"takes effect","ok":true}]}"#
        );
    }
}
