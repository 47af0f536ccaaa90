//! The keys of `supervisor:`.

use super::element::select::{self, Choice};
use super::element::{backoff, words};
use super::reader::{GRACE, Keys, Report, Value};
use crate::spec::Settings;

const KEYS: Keys = Keys {
    known: &["console", "log_max_size", "log_keep", "stop_grace", "exit_when", "select"],
    foreign: &[
        ("stop_grace_period", "stop_grace"),
        ("stop_timeout", "stop_grace"),
        ("shutdown_timeout", "stop_grace"),
        ("only", "select"),
    ],
    rule: "allowed: a map of the supervisor's own keys",
};

/// Reads `supervisor:`; the selection waits until the services are known.
pub fn read(value: &Value<'_>, report: &mut Report<'_>) -> (Settings, Option<Choice>) {
    let mut settings = Settings::default();
    let mut choice = None;
    for (key, value) in value.fields(report, &KEYS).unwrap_or_default() {
        let to = &mut settings;
        match key {
            "console" => to.console = words::console(&value, report).unwrap_or(to.console),
            "log_max_size" => to.log.max_size = value.size(report).unwrap_or(to.log.max_size),
            "log_keep" => to.log.keep = backoff::log_keep(&value, report).unwrap_or(to.log.keep),
            "stop_grace" => to.stop_grace = value.duration(report, GRACE).unwrap_or(to.stop_grace),
            "exit_when" => to.exit_when = words::exit_when(&value, report).unwrap_or(to.exit_when),
            _ => choice = select::read(&value, report),
        }
    }
    (settings, choice)
}
