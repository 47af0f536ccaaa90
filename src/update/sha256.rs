//! SHA-256, of text, and of a file without its being in memory.

use std::fmt;
use std::io::{self, Read};

use ring::digest;
use serde::{Deserialize, Serialize};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// Reads 64 small hexadecimal digits.
    ///
    /// # Errors
    ///
    /// What is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digit = |c: u8| (c as char).to_digit(16).filter(|_| !c.is_ascii_uppercase());
        let digits: Option<Vec<u32>> = text.bytes().map(digit).collect();
        let bytes = digits.filter(|digits| digits.len() == 64).map(|digits| {
            // Each digit is below 16.
            digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect::<Vec<u8>>()
        });
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| "a SHA-256 is 64 small hexadecimal digits".to_owned())
    }

    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Summer::new().and(bytes).sum()
    }

    /// Of all that can be read, and how much that was.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn of_all(mut source: impl Read) -> io::Result<(Self, u64)> {
        let mut summer = Summer::new();
        let mut buffer = vec![0; 128 << 10];
        let mut size = 0;
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok((summer.sum(), size)),
                Ok(read) => {
                    summer = summer.and(&buffer[..read]);
                    size += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A sum that is not at its end.
pub struct Summer(digest::Context);

impl Summer {
    /// Of nothing yet.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "there is one way to begin")]
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// With more bytes.
    #[must_use]
    pub fn and(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    /// The sum.
    #[must_use]
    pub fn sum(self) -> Sha256 {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Sha256(bytes)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl TryFrom<String> for Sha256 {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Sha256> for String {
    fn from(sum: Sha256) -> Self {
        sum.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn sums() {
        assert_eq!(Sha256::of(b"abc").to_string(), ABC);
        assert_eq!(Sha256::of_all(&b"abc"[..]).expect("read"), (Sha256::of(b"abc"), 3));
        assert_eq!(Sha256::parse(ABC), Ok(Sha256::of(b"abc")));
    }

    #[test]
    fn what_is_none() {
        for text in ["", "ba78", &ABC.to_uppercase(), &format!("{ABC}00"), &ABC.replace('b', "g"), &"\u{661}".repeat(64)] {
            assert!(Sha256::parse(text).is_err(), "{text}");
        }
    }
}
