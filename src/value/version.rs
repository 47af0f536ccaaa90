//! The version of a release, and of this program.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number behind a mark: so it can be found in the file, and tests can make another version without building one.
const MARKED: &str = concat!("section3-version=", env!("CARGO_PKG_VERSION"));

/// The version of this program, as `status` shows it.
pub const VERSION: &str = MARKED.split_at("section3-version=".len()).1;

/// The largest number in a version. Beyond it is noise, or an attempt to lock real releases out.
const MAX_PART: u32 = 99_999;

/// `MAJOR.MINOR.PATCH`, the numbers of <https://semver.org> and nothing behind them: each 0 to 99999 without leading zeros.
/// Pre-releases are not published, so they have no order here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    /// Grows with what breaks.
    pub major: u32,
    /// Grows with what is new.
    pub minor: u32,
    /// Grows with what is mended.
    pub patch: u32,
}

impl Version {
    /// Reads a version.
    ///
    /// # Errors
    ///
    /// What is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('.').map(part);
        match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten(), parts.next()) {
            (Some(major), Some(minor), Some(patch), None) => Ok(Self { major, minor, patch }),
            _ => Err(format!("a version is three numbers such as 1.2.3, each 0 to {MAX_PART}")),
        }
    }
}

fn part(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten().filter(|number| *number <= MAX_PART)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}.{}", self.major, self.minor, self.patch))
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for text in ["0.0.0", "0.1.0", "1.2.3", "10.20.30", "99999.99999.99999"] {
            assert_eq!(Version::parse(text).map(|version| version.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "dev",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.2.3-rc.1",
            "1.2.3+7",
            "v1.2.3",
            " 1.2.3",
            "1.2.3\n",
            "1..3",
            "+1.2.3",
            "-1.2.3",
            "1.2.100000",
            "99999999999999999999.0.0",
            "\u{661}.2.3",
        ] {
            assert!(Version::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn order_is_that_of_the_numbers() {
        let sorted = ["0.0.9", "0.1.0", "0.2.0", "0.10.0", "1.0.0", "2.0.0", "10.0.0"].map(Version::parse);
        assert!(sorted.is_sorted());
    }

    #[test]
    fn this_program_has_one() {
        assert_eq!(VERSION, env!("CARGO_PKG_VERSION"));
        assert!(Version::parse(VERSION).is_ok());
    }
}
