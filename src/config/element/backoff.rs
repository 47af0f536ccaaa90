//! `backoff:`, `log_max_size:` and `log_keep:`.

use crate::config::reader::{ANY, Keys, POSITIVE, Report, Value};
use crate::spec::Backoff;
use crate::value::duration::Human;

const KEYS: Keys = Keys {
    known: &["initial", "max", "reset_after", "give_up_after"],
    foreign: &[
        ("initial_delay", "initial"),
        ("delay", "initial"),
        ("max_delay", "max"),
        ("cap", "max"),
        ("reset", "reset_after"),
        ("max_restarts", "give_up_after"),
        ("max_attempts", "give_up_after"),
        ("retries", "give_up_after"),
        ("startretries", "give_up_after"),
    ],
    rule: "allowed: a map such as `{initial: 1s, max: 60s}`",
};

/// Reads the backoff; what is not named keeps its default.
pub fn read(value: &Value<'_>, report: &mut Report<'_>) -> Option<Backoff> {
    let before = report.count();
    let mut backoff = Backoff::default();
    for (key, value) in value.fields(report, &KEYS)? {
        match key {
            "initial" => backoff.initial = value.duration(report, ANY).unwrap_or(backoff.initial),
            "max" => backoff.max = value.duration(report, ANY).unwrap_or(backoff.max),
            "reset_after" => backoff.reset_after = value.duration(report, POSITIVE).unwrap_or(backoff.reset_after),
            _ => backoff.give_up_after = give_up_after(&value, report),
        }
    }
    if report.count() != before {
        return None;
    }
    if backoff.initial > backoff.max {
        let (initial, max) = (Human(backoff.initial), Human(backoff.max));
        return report.wrong(value, format_args!("`initial` ({initial}) is above `max` ({max}); raise `max` or lower `initial`"));
    }
    Some(backoff)
}

/// A number of crashes or `never`; `None` means never, or that something was noted.
fn give_up_after(value: &Value<'_>, report: &mut Report<'_>) -> Option<u32> {
    const RULE: &str = "allowed: a whole number from 1 to 1000000, or `never`";
    value.parsed(report, RULE, |text| match text {
        "never" => Ok(None),
        _ => text.parse().ok().filter(|n| (1..=1_000_000).contains(n)).map(Some).ok_or_else(|| RULE.to_owned()),
    })?
}

/// Reads `log_keep:`.
pub fn log_keep(value: &Value<'_>, report: &mut Report<'_>) -> Option<u32> {
    value.integer(report, 1..=99)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::reader::probe;

    #[test]
    fn backoffs() {
        let default = Backoff::default();
        let ms = Duration::from_millis;
        for (text, backoff) in [
            ("{}", default),
            ("{initial: 0s}", Backoff { initial: ms(0), ..default }),
            ("{initial: 50ms, max: 50ms}", Backoff { initial: ms(50), max: ms(50), ..default }),
            ("{reset_after: 5m, give_up_after: 5}", Backoff { reset_after: ms(300_000), give_up_after: Some(5), ..default }),
            ("{give_up_after: never}", default),
        ] {
            assert_eq!(probe::read(text, read), Ok(backoff), "{text}");
        }
        for (text, said) in [
            ("", "no value given; allowed: a map"),
            ("5s", "found `5s`; allowed: a map"),
            ("{initial: 2m}", "found a map; `initial` (2m0s) is above `max` (1m0s); raise `max` or lower `initial`"),
            ("{max: 500ms}", "found a map; `initial` (1s) is above `max` (500ms)"),
            ("{initial: 5}", "found `5`; a duration is a number with a unit"),
            ("{reset_after: 0s}", "found `0s`; allowed: more than 0s"),
            ("{give_up_after: 0}", "found `0`; allowed: a whole number from 1 to 1000000, or `never`"),
            (
                "{retries: 3}",
                "unknown key `retries`; allowed: `initial`, `max`, `reset_after`, `give_up_after`; did you mean `give_up_after`?",
            ),
        ] {
            let found = probe::read(text, read).expect_err(text);
            assert!(found.starts_with(said), "{text}: {found}");
        }
    }

    #[test]
    fn generations() {
        assert_eq!((probe::read("1", log_keep), probe::read("99", log_keep)), (Ok(1), Ok(99)));
        for bad in ["0", "100", "-1", "many", ""] {
            assert!(probe::read(bad, log_keep).is_err(), "{bad} was allowed");
        }
    }
}
