//! How a process ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Signal;

/// How a process ended, as `waitid(2)` tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It returned from `main` or called `exit(3)`: 0 to 255.
    Code(u8),
    /// A signal ended it.
    Signal {
        /// Which one.
        signal: Signal,
        /// Whether the kernel wrote a core file.
        core: bool,
    },
}

impl ExitStatus {
    /// Code 0.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Code(0))
    }

    /// The number a shell or Docker shows for it: the code, or 128 + signal.
    #[must_use]
    pub const fn shell_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal { signal, .. } => 128_u8.saturating_add(signal.number() as u8),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal { signal, core: false } => write!(f, "{signal}"),
            Self::Signal { signal, core: true } => write!(f, "{signal} (core dumped)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_a_shell_shows() {
        assert_eq!(ExitStatus::Code(7).shell_code(), 7);
        assert_eq!(ExitStatus::Signal { signal: Signal::KILL, core: false }.shell_code(), 137);
        assert_eq!(ExitStatus::Signal { signal: Signal::TERM, core: false }.to_string(), "SIGTERM");
    }
}
