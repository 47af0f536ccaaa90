//! Signals by name.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::nearest::nearest;

/// A signal of Linux, 1 to 64; see `signal(7)`. Real-time signals are `RTMIN+n`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Signal(i32);

/// The kernel's names in the order of their numbers, from 1; the same on x86-64 and arm64.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT",
    "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The first real-time signal that the C libraries leave to programs (`SIGRTMIN` in glibc).
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

impl Signal {
    /// Hang up.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// Interrupt from the keyboard.
    pub const INT: Self = Self(libc::SIGINT);
    /// The end that nobody can refuse.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// The polite request to end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// Go on, for a process that was stopped.
    pub const CONT: Self = Self(libc::SIGCONT);

    /// Reads `TERM`, `SIGTERM`, `15`, `RTMIN+3`; case does not matter.
    ///
    /// # Errors
    ///
    /// What is allowed and the nearest name, without the text itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let word = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(at) = NAMES.iter().position(|name| *name == word) {
            return Ok(Self(at as i32 + 1));
        }
        let number = match word.strip_prefix("RTMIN") {
            Some("") => Some(RTMIN),
            Some(offset) => offset.strip_prefix('+').and_then(|n| n.parse::<u8>().ok()).map(|n| RTMIN + i32::from(n)),
            None => word.parse::<u8>().ok().map(i32::from).filter(|n| (1..=NAMES.len() as i32).contains(n)),
        };
        match number {
            Some(number) if number <= RTMAX => Ok(Self(number)),
            _ => Err(match nearest(&word.to_ascii_lowercase(), NAMES.map(str::to_ascii_lowercase).iter().map(String::as_str)) {
                Some(name) => format!("no such signal; did you mean `{}`?", name.to_ascii_uppercase()),
                None => "a signal is a name such as `TERM`, `HUP`, `USR1` or `RTMIN+3`, or its number".to_owned(),
            }),
        }
    }

    /// A number as the kernel reports it.
    #[must_use]
    pub const fn from_number(number: i32) -> Self {
        Self(number)
    }

    /// The kernel's number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0 - 1).ok().and_then(|at| NAMES.get(at)) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 >= RTMIN => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl Serialize for Signal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_the_name_the_kernel_gives_it() {
        for number in (1..=31).chain(RTMIN..=RTMAX) {
            let signal = Signal::from_number(number);
            assert_eq!(Signal::parse(&signal.to_string()), Ok(signal));
        }
        assert_eq!(Signal::parse("usr1"), Ok(Signal(libc::SIGUSR1)));
        assert_eq!(Signal::parse("SIGWINCH"), Ok(Signal(libc::SIGWINCH)));
        assert_eq!(Signal::parse("sys"), Ok(Signal(libc::SIGSYS)));
        assert_eq!(Signal::parse("15"), Ok(Signal::TERM));
    }

    #[test]
    fn words_that_are_no_signal() {
        for bad in ["", "0", "-1", "32", "65", "SIG", "RTMIN+31", "RTMIN-1", "TREM!", "KILLL "] {
            assert!(Signal::parse(bad).is_err(), "{bad:?} was allowed");
        }
        assert_eq!(Signal::parse("TREM"), Err("no such signal; did you mean `TERM`?".to_owned()));
    }
}
