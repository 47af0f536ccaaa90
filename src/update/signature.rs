//! Signatures in the form of `minisign(1)`, and what their trusted comments say. Pure.
//!
//! Only prehashed signatures count. The two bytes that say which kind one is are under no signature, so a program that takes
//! both kinds can be made to verify a hash as if it were the file; and the old kind needs the whole file in memory.

use std::fmt;
use std::io::{self, Read};

use minisign_verify::{Error, PublicKey};

use super::MAX_SIGNATURE;
use super::sha256::Sha256;
use crate::value::Version;

/// Keys that are trusted at once: today's, and the one that it is handed over to.
pub const MAX_KEYS: usize = 2;

/// What the trusted comment of a manifest's signature says in the place of a target.
pub const MANIFEST: &str = "manifest";

/// The public keys that are trusted; at least one.
#[derive(Clone, Debug)]
pub struct Keys(Vec<PublicKey>);

/// A signature that can be read; nothing in it is true before [`Keys::verify`].
pub struct Signature(minisign_verify::Signature);

/// What a signed file is, in the words of its signer: the trusted comment of its signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// Whose it is.
    pub product: String,
    /// Of which release.
    pub version: Version,
    /// For which platform; [`MANIFEST`] for a manifest.
    pub target: String,
    /// Its sum.
    pub sha256: Sha256,
}

/// Why a signature does not count.
#[derive(Debug)]
pub enum Flaw {
    /// It is none, or only a part of one.
    Unreadable,
    /// It is of the old kind.
    Legacy,
    /// It was made with a key that is not trusted.
    OtherKey,
    /// It belongs to other bytes.
    Mismatch,
    /// It is good, but does not say what it signs.
    Statement(String),
    /// The signed file cannot be read.
    Io(io::Error),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("it is truncated, or no minisign signature"),
            Self::Legacy => f.write_str("it is a legacy signature; only prehashed ones are accepted (`minisign -H`)"),
            Self::OtherKey => f.write_str("it was made with a key that is not trusted here"),
            Self::Mismatch => f.write_str("it does not match: the file or the signature was changed"),
            Self::Statement(what) => write!(f, "its trusted comment does not say what it signs: {what}"),
            Self::Io(error) => write!(f, "the signed file cannot be read: {}", crate::sys::words::io(error)),
        }
    }
}

impl Keys {
    /// Reads public keys, each the second line of a `minisign.pub`.
    ///
    /// # Errors
    ///
    /// What is allowed.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, String> {
        if !(1..=MAX_KEYS).contains(&texts.len()) {
            return Err(format!("found {} keys; allowed are 1 to {MAX_KEYS}", texts.len()));
        }
        let key = |text: &T| {
            let text = text.as_ref().trim();
            PublicKey::from_base64(text).map_err(|_| {
                let shown: String = text.chars().take(80).collect();
                format!("`{shown}` is no minisign public key; it is the second line of a minisign.pub and begins with `RW`")
            })
        };
        texts.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Reads all of a file and returns what a trusted key says that it is.
    ///
    /// # Errors
    ///
    /// Why the signature does not count for this file.
    pub fn verify(&self, mut file: impl Read, signature: &Signature) -> Result<Statement, Flaw> {
        let mut flaw = Flaw::OtherKey;
        let verifier = self.0.iter().find_map(|key| match key.verify_stream(&signature.0) {
            Ok(verifier) => Some(verifier),
            Err(Error::UnsupportedLegacyMode) => {
                flaw = Flaw::Legacy;
                None
            }
            Err(_) => None,
        });
        let mut verifier = verifier.ok_or(flaw)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => verifier.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Flaw::Io(error)),
            }
        }
        verifier.finalize().map_err(|_| Flaw::Mismatch)?;
        Statement::parse(signature.0.trusted_comment()).map_err(Flaw::Statement)
    }
}

impl Signature {
    /// Reads a signature file. Never panics.
    ///
    /// # Errors
    ///
    /// [`Flaw::Unreadable`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= MAX_SIGNATURE);
        let text = text.filter(|text| text.lines().count() == 4).ok_or(Flaw::Unreadable)?;
        minisign_verify::Signature::decode(text).map(Self).map_err(|_| Flaw::Unreadable)
    }
}

impl Statement {
    /// Reads `product=section3 version=1.2.3 target=linux-amd64 sha256=...`, in any order; nothing else may be there.
    ///
    /// # Errors
    ///
    /// What is wrong. Not escaped: a [`crate::wire::Fault`] does that.
    pub fn parse(comment: &str) -> Result<Self, String> {
        let keys = ["product", "version", "target", "sha256"];
        let mut values = [None; 4];
        for word in comment.split([' ', '\t']) {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is not `key=value`"))?;
            let at = keys.iter().position(|known| *known == key).ok_or_else(|| format!("unknown key `{key}`"))?;
            if values[at].replace(value).is_some() {
                return Err(format!("`{key}` stands twice"));
            }
        }
        let [product, version, target, sha256] = values;
        let there = |at: usize, value: Option<&str>| value.map(str::to_owned).ok_or_else(|| format!("`{}` is missing", keys[at]));
        Ok(Self {
            product: there(0, product)?,
            version: Version::parse(&there(1, version)?)?,
            target: there(2, target)?,
            sha256: Sha256::parse(&there(3, sha256)?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with minisign 0.11: `minisign -GW`, then `minisign -S -H -t "product=... "` and `minisign -S -l` over `hello\n`.
    const KEY: &str = include_str!("testdata/key.pub");
    const OTHER: &str = include_str!("testdata/other.pub");
    const GOOD: &str = include_str!("testdata/hello.minisig");
    const LEGACY: &str = include_str!("testdata/hello.legacy");

    fn keys(files: &[&str]) -> Keys {
        let lines: Vec<_> = files.iter().filter_map(|file| file.lines().nth(1)).collect();
        Keys::parse(&lines).expect("keys")
    }

    fn verify(files: &[&str], bytes: &[u8], signature: &str) -> Result<Statement, Flaw> {
        keys(files).verify(bytes, &Signature::parse(signature.as_bytes())?)
    }

    #[test]
    fn a_good_signature_says_what_it_signs() {
        for trusted in [&[KEY][..], &[OTHER, KEY], &[KEY, OTHER]] {
            let statement = verify(trusted, b"hello\n", GOOD).expect("good");
            assert_eq!((statement.product.as_str(), statement.target.as_str()), ("section3", "linux-amd64"));
            assert_eq!((statement.version.to_string().as_str(), statement.sha256), ("0.2.0", Sha256::of(b"hello\n")));
        }
    }

    #[test]
    fn what_does_not_count() {
        let lines: Vec<_> = GOOD.lines().collect();
        let swapped = |at: usize, line: &str| {
            let mut lines = lines.clone();
            lines[at] = line;
            lines.join("\n") + "\n"
        };
        assert!(matches!(verify(&[OTHER], b"hello\n", GOOD), Err(Flaw::OtherKey)));
        assert!(matches!(verify(&[KEY], b"hello", GOOD), Err(Flaw::Mismatch)));
        assert!(matches!(verify(&[KEY], b"hello\n", LEGACY), Err(Flaw::Legacy)));
        // The two bytes of the kind, exchanged: `RU` (ED) for `RW` (Ed).
        let relabelled = LEGACY.replacen("\nRW", "\nRU", 1);
        assert_ne!(relabelled, LEGACY);
        assert!(matches!(verify(&[KEY], b"hello\n", &relabelled), Err(Flaw::Mismatch)));
        let relabelled = swapped(1, &lines[1].replacen("RU", "RW", 1));
        assert!(matches!(verify(&[KEY], b"hello\n", &relabelled), Err(Flaw::Legacy)));
        // A statement that was not signed.
        let forged = swapped(2, &lines[2].replace("0.2.0", "0.3.0"));
        assert!(matches!(verify(&[KEY], b"hello\n", &forged), Err(Flaw::Mismatch)));
        // The untrusted comment is nobody's business.
        assert!(verify(&[KEY], b"hello\n", &swapped(0, "untrusted comment: \x1b[2J")).is_ok());
    }

    #[test]
    fn what_cannot_be_read() {
        for end in 0..GOOD.trim_end().len() {
            assert!(verify(&[KEY], b"hello\n", &GOOD[..end]).is_err(), "{end}");
        }
        for bytes in [&b""[..], b"\n\n\n\n", b"\xff", &[b'a'; 5000], format!("{GOOD}more\n").as_bytes()] {
            assert!(matches!(Signature::parse(bytes), Err(Flaw::Unreadable)));
        }
        let long = GOOD.replacen("untrusted comment: ", &format!("untrusted comment: {}", "x".repeat(4096)), 1);
        assert_ne!(long, GOOD);
        assert!(matches!(Signature::parse(long.as_bytes()), Err(Flaw::Unreadable)));
        let short = "untrusted comment: a\nRUQ=\ntrusted comment: b\nAAAA\n";
        assert!(matches!(Signature::parse(short.as_bytes()), Err(Flaw::Unreadable)));
    }

    #[test]
    fn statements() {
        let sum = Sha256::of(b"").to_string();
        let good = format!("product=section3 version=0.2.0 target=linux-amd64 sha256={sum}");
        assert!(Statement::parse(&good).is_ok());
        assert!(Statement::parse(&good.replace(' ', "\t")).is_ok());
        for (text, part) in [
            (String::new(), "`` is not `key=value`"),
            ("timestamp:1 file:x".to_owned(), "`timestamp:1` is not"),
            (good.replace("target=", "host="), "unknown key `host`"),
            (good.replace(" target=linux-amd64", ""), "`target` is missing"),
            (good.clone() + " product=other", "`product` stands twice"),
            (good.replace("0.2.0", "dev"), "three numbers"),
            (good.replace(&sum, "0"), "64 small hexadecimal digits"),
            (good.clone() + " ", "`` is not"),
        ] {
            assert!(Statement::parse(&text).is_err_and(|error| error.contains(part)), "{text}");
        }
    }

    #[test]
    fn keys_are_one_or_two() {
        let key = KEY.lines().nth(1).unwrap_or_default();
        assert!(Keys::parse(&[key, key]).is_ok());
        assert!(Keys::parse::<&str>(&[]).is_err_and(|error| error.contains("found 0 keys")));
        assert!(Keys::parse(&[key, key, key]).is_err_and(|error| error.contains("found 3 keys")));
        for text in ["", "x", "RWQ", &key[1..], "RWRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR"] {
            assert!(Keys::parse(&[text]).is_err_and(|error| error.contains("no minisign public key")), "{text}");
        }
    }
}
