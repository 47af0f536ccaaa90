//! `s3.text` and `s3.time`: what every message needs.

use std::time::{Duration, SystemTime};

use mlua::{Lua, Table};

use super::Shared;
use super::define::{fallible, plain};
use super::fault::fault;
use super::world::date;
use crate::value::duration::Human;

/// The last second of the year 9999: what RFC 3339 can write.
const LAST: f64 = 253_402_300_799.0;

pub(super) fn install(lua: &Lua, s3: &Table, shared: &Shared) -> mlua::Result<()> {
    plain(lua, s3, "text.truncate", |_, args| {
        let mark = if args.value(2).is_nil() { "…".to_owned() } else { args.text(2) };
        Ok(truncated(args.text(0), usize::try_from(args.integer(1).unwrap_or(0)).unwrap_or(0), &mark))
    })?;
    plain(lua, s3, "text.human_ms", |_, args| {
        let ms = args.number(0).unwrap_or(0.0).clamp(0.0, 1e15);
        Ok(Human(Duration::from_secs_f64(ms / 1e3)).to_string())
    })?;
    plain(lua, s3, "text.human_bytes", |_, args| Ok(human_bytes(args.number(0).unwrap_or(0.0))))?;
    let script = shared.script.clone();
    plain(lua, s3, "time.format", move |lua, args| {
        let at = match args.number(0) {
            Some(seconds) if (0.0..=LAST).contains(&seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds),
            Some(seconds) => return Err(args.misuse(lua, format!("a time lies between 1970 and 9999, found {seconds} seconds"))),
            None => script.effects.wall(),
        };
        let rfc = humantime::format_rfc3339_millis(at).to_string();
        if args.value(1).is_nil() {
            return Ok(rfc);
        }
        formed(&args.text(1), &rfc, at).map_err(|what| args.misuse(lua, what))
    })?;
    fallible(lua, s3, "time.parse", |_, args| {
        let text = args.text(0);
        let seconds = with_zone(text.trim()).or_else(|| since_1970(date(text.trim())?));
        Ok(seconds.ok_or_else(|| {
            let allowed = "RFC 3339 such as 2026-01-31T23:59:59Z, or as in headers of HTTP: Sat, 31 Jan 2026 23:59:59 GMT";
            fault("invalid", format!("`{text}` is no time; allowed is {allowed}"))
        }))
    })
}

/// At most `most` bytes, never half a character; what is cut ends in `mark`, as far as that fits.
fn truncated(mut text: String, most: usize, mark: &str) -> String {
    if text.len() <= most {
        return text;
    }
    let mark = if mark.len() <= most { mark } else { "" };
    let end = (0..=most - mark.len()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text.push_str(mark);
    text
}

/// `1.5M`: powers of 1024, one digit behind the point below ten.
fn human_bytes(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["", "K", "M", "G", "T", "P"];
    let (mut rest, mut unit) = (bytes.max(0.0), 0);
    while rest >= 1023.5 && unit + 1 < UNITS.len() {
        (rest, unit) = (rest / 1024.0, unit + 1);
    }
    if unit > 0 && rest < 9.95 { format!("{rest:.1}{}", UNITS[unit]) } else { format!("{rest:.0}{}", UNITS[unit]) }
}

/// The letters of `strftime(3)` that are the same in every language, out of `2026-01-31T23:59:59.123Z`.
fn formed(form: &str, rfc: &str, at: SystemTime) -> Result<String, String> {
    let (date, time) = (&rfc[..10], &rfc[11..19]);
    let mut out = String::new();
    let mut letters = form.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('Y') => out.push_str(&date[..4]),
            Some('m') => out.push_str(&date[5..7]),
            Some('d') => out.push_str(&date[8..]),
            Some('H') => out.push_str(&time[..2]),
            Some('M') => out.push_str(&time[3..5]),
            Some('S') => out.push_str(&time[6..]),
            Some('L') => out.push_str(&rfc[20..23]),
            Some('F') => out.push_str(date),
            Some('T') => out.push_str(time),
            Some('j') => out.push_str(&format!("{:03}", day_of_year(date))),
            Some('s') => {
                let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                out.push_str(&since.as_secs().to_string());
            }
            Some('%') => out.push('%'),
            other => {
                let found = other.map(String::from).unwrap_or_default();
                return Err(format!("unknown `%{found}`; allowed are %Y %m %d %H %M %S %L %F %T %j %s %%"));
            }
        }
    }
    Ok(out)
}

fn day_of_year(date: &str) -> u32 {
    let part = |range: std::ops::Range<usize>| date[range].parse::<u32>().unwrap_or(0);
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    before[(month.clamp(1, 12) - 1) as usize] + day + u32::from(leap && month > 2)
}

fn since_1970(at: SystemTime) -> Option<f64> {
    at.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

/// RFC 3339 with `Z` or an offset, as seconds.
fn with_zone(text: &str) -> Option<f64> {
    let seconds = |text: &str| since_1970(humantime::parse_rfc3339(text).ok()?);
    if text.ends_with('Z') {
        return seconds(text);
    }
    if !text.is_ascii() || text.len() < 7 {
        return None;
    }
    let (plain, zone) = text.split_at(text.len() - 6);
    let sign = match zone.as_bytes()[0] {
        b'+' => 1.0,
        b'-' => -1.0,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let number = |digits: &str, most: u8| {
        let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u8>().ok())??;
        (number <= most).then(|| f64::from(number))
    };
    let offset = number(hours, 23)? * 3600.0 + number(minutes, 59)? * 60.0;
    Some(seconds(&format!("{plain}Z"))? - sign * offset)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{eval, fails};

    #[test]
    fn text() {
        for (call, result) in [
            ("text.truncate('abc', 3)", "abc"),
            ("text.truncate('abcdef', 5)", "ab…"),
            ("text.truncate('abcdef', 5, '..')", "abc.."),
            ("text.truncate('abcdef', 4, '')", "abcd"),
            ("text.truncate('ääää', 5, '')", "ää"),
            ("text.truncate('abcdef', 2)", "ab"),
            ("text.truncate('abc', 0)", ""),
            ("text.truncate('abc', -1)", ""),
            ("text.human_ms(0)", "0ms"),
            ("text.human_ms(9240000)", "2h34m"),
            ("text.human_ms(-5)", "0ms"),
            ("text.human_bytes(0)", "0"),
            ("text.human_bytes(1023)", "1023"),
            ("text.human_bytes(1024)", "1.0K"),
            ("text.human_bytes(1572864)", "1.5M"),
            ("text.human_bytes(52428800)", "50M"),
        ] {
            assert_eq!(eval::<String>(&format!("return s3.{call}")), result, "{call}");
        }
    }

    #[test]
    fn time() {
        for (call, result) in [
            ("time.format(0)", "1970-01-01T00:00:00.000Z"),
            ("time.format(1767225599.5)", "2025-12-31T23:59:59.500Z"),
            (
                "time.format(1767225599, '%Y%m%d-%H%M%S %F %T %j %s %L %%')",
                "20251231-235959 2025-12-31 23:59:59 365 1767225599 000 %",
            ),
            ("time.format(1709164800, '%j')", "060"),
            ("time.parse('1970-01-01T00:01:00Z')", "60.0"),
            ("time.parse('1970-01-01T01:01:00+01:00')", "60.0"),
            ("time.parse('1970-01-01T00:00:00.5-00:01')", "60.5"),
            ("time.parse('Sun, 06 Nov 1994 08:49:37 GMT')", "784111777.0"),
        ] {
            assert_eq!(eval::<String>(&format!("return tostring(s3.{call})")), result, "{call}");
        }
        for bad in [
            "",
            "yesterday",
            "2026-01-01",
            "1970-01-01T00:00:00+1:00",
            "1970-01-01T00:00:00+99:00",
            "1970-01-01T00:00:00ä1:00",
            "Sun, 06 Nov 1994 08:49:37",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Thu, 01 Jan 1969 00:00:00 GMT",
        ] {
            assert!(
                eval::<bool>(&format!("local t, err = s3.time.parse('{bad}') return t == nil and err.code == 'invalid'")),
                "{bad}"
            );
        }
        assert!(fails("s3.time.format(1, '%Q')").contains("unknown `%Q`; allowed are %Y"));
        assert!(fails("s3.time.format(-1)").contains("between 1970 and 9999"));
    }
}
