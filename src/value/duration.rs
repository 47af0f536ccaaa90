//! Durations as people write them.

use std::fmt;
use std::time::Duration;

/// A year: longer waits in a config file are slips of the finger.
const MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Units in the order in which they may follow each other, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads `250ms`, `5s`, `2m`, `1h30m`: whole numbers with units, largest unit first, each at most once; at most a year.
///
/// # Errors
///
/// What is allowed, in the operator's words, without the text itself.
pub fn parse(text: &str) -> Result<Duration, String> {
    let total = parse_ms(text).ok_or("a duration is a number with a unit such as `250ms`, `5s`, `2m` or `1h30m`")?;
    let total = Duration::from_millis(total);
    if total > MAX { Err("a duration is at most 365d".to_owned()) } else { Ok(total) }
}

fn parse_ms(mut text: &str) -> Option<u64> {
    let mut units = UNITS.iter();
    let mut total = 0_u64;
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at(digits);
        let unit_len = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, rest) = rest.split_at(unit_len);
        let (_, ms) = units.by_ref().find(|(name, _)| *name == unit)?;
        total = number.parse::<u64>().ok()?.checked_mul(*ms).and_then(|n| total.checked_add(n))?;
        text = rest;
    }
    Some(total)
}

/// A duration for people: the two largest units (`2h34m`, `1m5s`, `12s`), milliseconds below one second.
#[derive(Clone, Copy, Debug)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        let (days, hours, minutes, seconds) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60, secs % 60);
        match (days, hours, minutes) {
            (0, 0, 0) if secs == 0 => write!(f, "{}ms", self.0.as_millis()),
            (0, 0, 0) => write!(f, "{seconds}s"),
            (0, 0, _) => write!(f, "{minutes}m{seconds}s"),
            (0, _, _) => write!(f, "{hours}h{minutes}m"),
            _ => write!(f, "{days}d{hours}h"),
        }
    }
}

/// A duration in milliseconds, saturating; for fields that end in `_ms`.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_that_are_allowed() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1m500ms", 60_500),
            ("90s", 90_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn durations_that_are_not() {
        for bad in ["", "5", "s", "-5s", "5 s", "1.5s", "5sec", "30m1h", "5s5s", "5S", "99999999999999999999s", "366d", "1h 30m"]
        {
            assert!(parse(bad).is_err(), "{bad:?} was allowed");
        }
    }

    #[test]
    fn durations_for_people() {
        for (ms, shown) in
            [(0, "0ms"), (999, "999ms"), (1_999, "1s"), (65_000, "1m5s"), (9_240_000, "2h34m"), (200_000_000, "2d7h")]
        {
            assert_eq!(Human(Duration::from_millis(ms)).to_string(), shown);
        }
    }
}
