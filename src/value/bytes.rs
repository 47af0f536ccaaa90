//! Sizes in bytes.

use std::fmt;

/// A size between 4 KiB and 1 TiB, written `512K`, `10M`, `1G` or in bytes; a trailing `B` is accepted.
///
/// The lower bound keeps a log from turning over faster than anyone can read it; the upper one catches a slip of
/// the finger before the disk does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub struct ByteSize(u64);

impl ByteSize {
    /// 4 KiB.
    pub const MIN: Self = Self(4 << 10);
    /// 1 TiB.
    pub const MAX: Self = Self(1 << 40);

    /// A number of mebibytes; for defaults.
    #[must_use]
    pub const fn mebibytes(n: u64) -> Self {
        Self(n << 20)
    }

    /// Checks a size.
    ///
    /// # Errors
    ///
    /// What is allowed, in the operator's words, without the text itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        let size =
            Self(parse_bytes(text).ok_or("a size is a whole number of bytes, or one with K, M, G or T such as `512K` or `10M`")?);
        if size < Self::MIN || size > Self::MAX {
            return Err("a size lies between 4K and 1T".to_owned());
        }
        Ok(size)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A number of bytes with an optional unit (powers of 1024) and an optional trailing `B`; `None` where it is no
/// number or does not fit.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.strip_suffix(['B', 'b']).unwrap_or(text);
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 10),
        b'M' | b'm' => (&text[..text.len() - 1], 20),
        b'G' | b'g' => (&text[..text.len() - 1], 30),
        b'T' | b't' => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    // `u64::from_str` would take a leading `+`.
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')] {
            if self.0 >= 1 << shift && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_are_allowed() {
        for (text, bytes, shown) in [
            ("4096", 4096, "4K"),
            ("4K", 4096, "4K"),
            ("512K", 512 << 10, "512K"),
            ("10M", 10 << 20, "10M"),
            ("10MB", 10 << 20, "10M"),
            ("1G", 1 << 30, "1G"),
            ("1T", 1 << 40, "1T"),
            ("1t", 1 << 40, "1T"),
            ("1000003", 1_000_003, "1000003"),
        ] {
            let size = ByteSize::parse(text).expect(text);
            assert_eq!((size.get(), size.to_string().as_str()), (bytes, shown), "{text}");
        }
    }

    /// G06: no size overflows, and none is replaced in silence.
    #[test]
    fn sizes_that_are_not() {
        for bad in ["", "K", "B", "-1", "+4096", "4 K", "1.5M", "4095", "3K", "2T", "9999999999G", "18446744073709551616", "10X"]
        {
            assert!(ByteSize::parse(bad).is_err(), "{bad:?} was allowed");
        }
    }
}
