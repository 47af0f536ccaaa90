//! The wrapping of the state: a magic word with the version of the format, a length, a checksum. Pure.
//!
//! What is inside is JSON with strict types. Text from services is in it as strings and digits: whatever it holds, it ends
//! where its string ends, and no line of it can be taken for another field.

use std::fmt;

/// Magic word and version of the format. The version goes up where an older program would misread the state; a field that
/// may be missing (`serde(default)`) needs no new version.
const MAGIC: &[u8; 16] = b"section3 state 1";
/// The part of [`MAGIC`] that every version has.
const FAMILY: &[u8] = b"section3 state ";
/// Magic, length, checksum.
const HEAD: usize = MAGIC.len() + 8 + 8;
/// The most that a state may take: the ring with custom events of the largest size, twice.
pub const LONGEST: u64 = 128 << 20;

/// Why something is no state that this program can take over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// Nobody's state.
    Foreign,
    /// Of another version of the format.
    Version(String),
    /// Cut or changed on the way.
    Damaged(&'static str),
    /// Not what it should be.
    Content(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("this is no state of section3"),
            Self::Version(version) => {
                let own = String::from_utf8_lossy(MAGIC.get(FAMILY.len()..).unwrap_or_default());
                write!(f, "the state has format {version}, and this program reads format {own} only")
            }
            Self::Damaged(what) => write!(f, "the state is damaged: its {what} does not fit"),
            Self::Content(what) => write!(f, "the state does not fit: {what}"),
        }
    }
}

/// Wraps.
#[must_use]
pub fn wrap(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + content.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&checksum(content).to_le_bytes());
    bytes.extend_from_slice(content);
    bytes
}

/// Unwraps.
///
/// # Errors
///
/// Why not. Never panics, whatever the bytes.
pub fn unwrap(bytes: &[u8]) -> Result<&[u8], Unfit> {
    let (magic, rest) = bytes.split_at_checked(MAGIC.len()).ok_or(Unfit::Foreign)?;
    if magic != MAGIC {
        let version = magic.strip_prefix(FAMILY).ok_or(Unfit::Foreign)?;
        return Err(Unfit::Version(String::from_utf8_lossy(version).escape_debug().to_string()));
    }
    let (length, rest) = rest.split_first_chunk().ok_or(Unfit::Damaged("length"))?;
    let (sum, content) = rest.split_first_chunk().ok_or(Unfit::Damaged("length"))?;
    if content.len() as u64 != u64::from_le_bytes(*length) {
        return Err(Unfit::Damaged("length"));
    }
    if checksum(content) != u64::from_le_bytes(*sum) {
        return Err(Unfit::Damaged("checksum"));
    }
    Ok(content)
}

/// FNV-1a of 64 bits, over words of eight bytes, the last one filled up with zeroes (the length is compared beside it).
/// Against accidents; against malice stands that nobody else has the descriptor.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let last = if rest.is_empty() { None } else { Some(&last) };
    words.iter().chain(last).fold(0xcbf2_9ce4_8422_2325, |sum: u64, word| {
        // Turned, so that a high bit has a say in the lower ones of the next step.
        (sum ^ u64::from_le_bytes(*word)).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_comes_back_and_nothing_else_does() {
        for content in [b"".as_slice(), b"{}", b"section3 state 1", &[0; 100]] {
            let whole = wrap(content);
            assert_eq!(unwrap(&whole), Ok(content));
            for cut in 0..whole.len() {
                assert!(unwrap(&whole[..cut]).is_err(), "{cut} of {}", whole.len());
            }
            for at in 0..whole.len() {
                let mut other = whole.clone();
                other[at] ^= 1;
                assert!(unwrap(&other).is_err(), "byte {at} changed");
            }
            let longer = [whole.as_slice(), b"x"].concat();
            assert_eq!(unwrap(&longer), Err(Unfit::Damaged("length")));
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut newer = wrap(b"{}");
        newer[15] = b'7';
        let said = unwrap(&newer).unwrap_err().to_string();
        assert_eq!(said, "the state has format 7, and this program reads format 1 only");
        newer[15] = 0x1b;
        assert!(!unwrap(&newer).unwrap_err().to_string().contains('\u{1b}'));
        assert_eq!(unwrap(b"#!/bin/sh\nexit 0, and some more"), Err(Unfit::Foreign));
    }
}
