//! `Retry-After`, RFC 9110 section 10.2.3: seconds, or a date.

use std::time::{Duration, SystemTime};

/// The longest wait that an answer can ask for: an hour.
const CAP: Duration = Duration::from_secs(3600);

/// How long an answer asks to wait; at most an hour.
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        super::until(date(value)?, now)
    };
    Some(wait.min(CAP))
}

/// A date of a header: `Sun, 06 Nov 1994 08:49:37 GMT`. The two older forms are not sent any more.
#[must_use]
pub fn date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let rest = text.split_once(", ")?.1.strip_suffix(" GMT")?;
    let mut parts = rest.splitn(4, ' ');
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates() {
        // 1994-11-06T08:49:00Z.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_740);
        for (value, seconds) in [
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("3600", Some(3600)),
            ("86400", Some(3600)),
            ("99999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sat, 05 Nov 1994 08:49:37 GMT", Some(0)),
            ("Wed, 06 Nov 2024 08:49:37 GMT", Some(3600)),
            ("", None),
            ("-1", None),
            ("soon", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(retry_after(value, now).map(|wait| wait.as_secs()), seconds, "{value}");
        }
    }
}
