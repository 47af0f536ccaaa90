//! Service names.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a service: `[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`, and not the supervisor's own name.
///
/// A name becomes a file name, a word in `nc` and a prefix on the console, so nothing that could climb out of the
/// log folder, split a request line or look like an option can be a name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

/// The supervisor's own name: its log file, its console prefix, the word for it in `tail`.
pub const SUPERVISOR: &str = "section3";

const MAX_LEN: usize = 64;

impl ServiceName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// The reason in the operator's words, without the name itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == SUPERVISOR {
            return Err(format!("`{SUPERVISOR}` is reserved for the supervisor itself"));
        }
        let mut bytes = text.bytes();
        let first_is_good = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest_is_good = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if first_is_good && rest_is_good && text.len() <= MAX_LEN {
            Ok(Self(text.into()))
        } else {
            Err("a service name is 1 to 64 letters, digits, `_`, `.` or `-`, and starts with a letter or digit".to_owned())
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for ServiceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// As strict as [`ServiceName::parse`]: what was written down is no more to be trusted than what was typed.
impl<'de> Deserialize<'de> for ServiceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl std::borrow::Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_allowed() {
        let longest = "a".repeat(64);
        for good in ["a", "0", "web", "web-1", "web.1", "Web_1", longest.as_str()] {
            assert_eq!(ServiceName::parse(good).map(|n| n.as_str().to_owned()), Ok(good.to_owned()));
        }
    }

    /// G05: a name becomes a file name, an argument and a word of the protocol.
    #[test]
    fn names_that_could_do_harm() {
        let too_long = "a".repeat(65);
        for bad in
            ["", ".", "..", "-a", ".a", "_a", "a b", "a/b", "../../esc", "a\n", "ERROR: ", "é", "section3", too_long.as_str()]
        {
            assert!(ServiceName::parse(bad).is_err(), "{bad:?} was allowed");
        }
    }
}
