//! What a service says over `NOTIFY_SOCKET`, see `sd_notify(3)`. Pure.

use std::time::Duration;

/// The longest `STATUS=` that is kept.
const LONGEST_STATUS: usize = 256;

/// One datagram: the assignments that mean something here; all others are passed over.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Note {
    /// `READY=1`.
    pub ready: bool,
    /// `STOPPING=1`.
    pub stopping: bool,
    /// `STATUS=`, printable and short.
    pub status: Option<String>,
    /// `WATCHDOG=`.
    pub watchdog: Option<Watchdog>,
    /// `WATCHDOG_USEC=`: how long it may be silent from now on; zero ends the watch.
    pub watchdog_limit: Option<Duration>,
}

/// What `WATCHDOG=` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watchdog {
    /// It is alive.
    Alive,
    /// It asks to be dealt with now.
    Trigger,
}

impl Note {
    /// Reads a datagram. A value that makes no sense is as if it had not been said.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Self {
        let mut note = Self::default();
        for line in datagram.split(|byte| *byte == b'\n') {
            let Some(at) = memchr::memchr(b'=', line) else { continue };
            let (name, value) = (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default());
            match (name, value) {
                (b"READY", b"1") => note.ready = true,
                (b"STOPPING", b"1") => note.stopping = true,
                (b"STATUS", text) => note.status = Some(printable(text)),
                (b"WATCHDOG", b"1") => note.watchdog = Some(Watchdog::Alive),
                (b"WATCHDOG", b"trigger") => note.watchdog = Some(Watchdog::Trigger),
                (b"WATCHDOG_USEC", number) => note.watchdog_limit = microseconds(number).or(note.watchdog_limit),
                _ => {}
            }
        }
        note
    }
}

/// A number of microseconds, as `WATCHDOG_USEC` holds it.
#[must_use]
pub fn microseconds(text: &[u8]) -> Option<Duration> {
    std::str::from_utf8(text).ok()?.parse().ok().map(Duration::from_micros)
}

/// At most [`LONGEST_STATUS`] bytes, control characters escaped.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut out = String::new();
    for c in text.chars() {
        let shown = if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
        if out.len() + shown.len() > LONGEST_STATUS {
            break;
        }
        out.push_str(&shown);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_datagram_says() {
        let status = |text: &str| Note { status: Some(text.to_owned()), ..Note::default() };
        for (datagram, expected) in [
            ("", Note::default()),
            ("READY=1", Note { ready: true, ..Note::default() }),
            ("READY=0\nREADY\nREADY=1 \nNOTREADY=1\nready=1", Note::default()),
            ("READY=1\nSTATUS=warm\n", Note { ready: true, ..status("warm") }),
            ("STATUS=a=b", status("a=b")),
            ("STATUS=\u{1b}[31mred\t\u{e4}", status("\\u{1b}[31mred\\t\u{e4}")),
            ("STATUS=", status("")),
            ("STOPPING=1", Note { stopping: true, ..Note::default() }),
            ("WATCHDOG=1", Note { watchdog: Some(Watchdog::Alive), ..Note::default() }),
            ("WATCHDOG=trigger", Note { watchdog: Some(Watchdog::Trigger), ..Note::default() }),
            ("WATCHDOG_USEC=1500", Note { watchdog_limit: Some(Duration::from_micros(1500)), ..Note::default() }),
            (
                "WATCHDOG_USEC=1500\nWATCHDOG_USEC=x",
                Note { watchdog_limit: Some(Duration::from_micros(1500)), ..Note::default() },
            ),
            ("WATCHDOG_USEC=-1\nMAINPID=1\nFDSTORE=1\nERRNO=2", Note::default()),
        ] {
            assert_eq!(Note::parse(datagram.as_bytes()), expected, "{datagram:?}");
        }
        assert!(Note::parse(b"\xff\xfe=1\nREADY=1").ready);
        let long = Note::parse(&[b"STATUS=".as_slice(), &[b'\x01'; 1000]].concat()).status.expect("status");
        assert!(long.len() <= LONGEST_STATUS && long.ends_with("\\u{1}"), "{long}");
    }
}
