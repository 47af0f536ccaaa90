//! What a release says of itself: `latest.json`. Pure; parsed only after its signature was verified, and still strict and
//! bounded, for a signer makes mistakes too.

use std::fmt;
use std::time::SystemTime;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::sha256::Sha256;
use super::{MAX_MANIFEST, MAX_PROGRAM};
use crate::value::Version;
use crate::value::json;
use crate::value::sorted::Map;
use crate::wire::escape;

/// The form of the document that this program knows. What is added to it later gets another number, so that nothing that
/// was signed is passed over unseen.
const FORM: u64 = 1;

/// Platforms in one manifest; beyond is noise.
const MAX_TARGETS: usize = 64;

/// The longest name of a product, a target or a file.
const MAX_NAME: usize = 64;

/// A release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Whose release it is.
    pub product: String,
    /// Which.
    pub version: Version,
    /// When it was signed.
    pub published: SystemTime,
    /// From when on it is stale: whoever answers with it then may be hiding a newer one.
    pub expires: SystemTime,
    /// The program for each platform.
    pub targets: Map<String, Program>,
}

/// The program for one platform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Its name in the folder of the release.
    pub file: String,
    /// Its size in bytes: 1 to [`MAX_PROGRAM`].
    pub size: u64,
    /// Its sum.
    pub sha256: Sha256,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u64,
    product: String,
    version: String,
    published: String,
    expires: String,
    targets: Targets,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenProgram {
    file: String,
    size: u64,
    sha256: String,
}

impl Manifest {
    /// Reads a manifest. Never panics; time and memory are bounded by [`MAX_MANIFEST`].
    ///
    /// # Errors
    ///
    /// What is wrong, escaped.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > MAX_MANIFEST {
            return Err(format!("it has more than {MAX_MANIFEST} bytes"));
        }
        let written: Written = json::from_slice(bytes).map_err(|error| escape::one_line(&error.to_string()).into_owned())?;
        if written.v != FORM {
            return Err(format!("`v` is {}, and this program knows {FORM}; install the new version by hand", written.v));
        }
        let mut targets = Map::new();
        for (name, program) in written.targets.0 {
            let key = |part: &str| format!("targets.{name}.{part}");
            let sha256 = Sha256::parse(&program.sha256).map_err(|allowed| format!("`{}`: {allowed}", key("sha256")))?;
            is_name(&program.file).map_err(|allowed| format!("`{}`: {allowed}", key("file")))?;
            if !(1..=MAX_PROGRAM).contains(&program.size) {
                return Err(format!("`{}` is {}; allowed are 1 to {MAX_PROGRAM} bytes", key("size"), program.size));
            }
            targets.insert(name, Program { file: program.file, size: program.size, sha256 });
        }
        is_name(&written.product).map_err(|allowed| format!("`product`: {allowed}"))?;
        let manifest = Self {
            product: written.product,
            version: Version::parse(&written.version).map_err(|allowed| format!("`version`: {allowed}"))?,
            published: time("published", &written.published)?,
            expires: time("expires", &written.expires)?,
            targets,
        };
        if manifest.expires <= manifest.published {
            return Err("`expires` is not after `published`".to_owned());
        }
        Ok(manifest)
    }
}

fn time(key: &str, text: &str) -> Result<SystemTime, String> {
    // Only this spelling: the parser counts bytes in what it is given.
    let plain = text.len() == 20 && text.is_ascii();
    let parsed = plain.then(|| humantime::parse_rfc3339(text).ok()).flatten();
    parsed.ok_or_else(|| format!("`{key}`: a time is written as 2026-01-31T12:00:00Z"))
}

/// A plain file name: what it is joined to stays the folder it is in.
fn is_name(text: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let good = (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with(['.', '-']);
    if good { Ok(()) } else { Err(format!("a name is 1 to {MAX_NAME} letters, digits, `-`, `_` and `.`")) }
}

/// A map in which no key stands twice: with two meanings for one name, two readers would see two releases.
struct Targets(Vec<(String, WrittenProgram)>);

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Targets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of targets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Targets, A::Error> {
                let mut entries: Vec<(String, WrittenProgram)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    is_name(&name).map_err(A::Error::custom)?;
                    if entries.iter().any(|(other, _)| *other == name) {
                        return Err(A::Error::custom(format!("target `{name}` stands twice")));
                    }
                    if entries.len() == MAX_TARGETS {
                        return Err(A::Error::custom(format!("there are more than {MAX_TARGETS} targets")));
                    }
                    entries.push((name, map.next_value()?));
                }
                Ok(Targets(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn good() -> String {
        format!(
            r#"{{"v":1,"product":"section3","version":"0.2.0","published":"2026-01-01T00:00:00Z","expires":"2026-07-01T00:00:00Z",
"targets":{{"linux-amd64":{{"file":"section3-linux-amd64","size":4200000,"sha256":"{SUM}"}}}}}}"#
        )
    }

    #[test]
    fn a_good_one() {
        let manifest = Manifest::parse(good().as_bytes()).expect("good");
        assert_eq!((manifest.product.as_str(), manifest.version.to_string().as_str()), ("section3", "0.2.0"));
        let program = &manifest.targets["linux-amd64"];
        assert_eq!((program.file.as_str(), program.size), ("section3-linux-amd64", 4_200_000));
        assert_eq!(program.sha256.to_string(), SUM);
    }

    #[test]
    fn bad_ones() {
        let target = r#""linux-amd64":{"file":"section3-linux-amd64","size":4200000,"#;
        for (from, to, part) in [
            ("\"v\":1", "\"v\":2", "`v` is 2"),
            ("\"v\":1,", "", "missing field `v`"),
            ("\"v\":1", "\"v\":1,\"v\":1", "duplicate field `v`"),
            ("\"v\":1", "\"v\":1,\"next\":\"9.0.0\"", "unknown field `next`"),
            ("\"0.2.0\"", "\"0.2\"", "`version`: a version is three numbers"),
            ("\"0.2.0\"", "2", "expected a string"),
            ("\"0.2.0\"", "null", "expected a string"),
            ("section3\",\"ver", "\\u001b[2J\",\"ver", "`product`: a name is"),
            ("2026-01-01T00:00:00Z", "2026-01-01", "`published`: a time is"),
            ("2026-07-01T00:00:00Z", "2026-07-01T00:00:00+02", "`expires`: a time is"),
            ("2026-07-01T00:00:00Z", "2026-07-01T00:00:00.5Z", "`expires`: a time is"),
            ("2026-07-01", "2026-01-01", "`expires` is not after"),
            ("4200000", "0", "`targets.linux-amd64.size` is 0"),
            ("4200000", "-1", "expected a whole number from 0 on"),
            ("4200000", "67108865", "allowed are 1 to 67108864"),
            ("4200000", "1e99", "expected a whole number from 0 on"),
            ("\"section3-linux-amd64\"", "\"../../etc/passwd\"", "`targets.linux-amd64.file`: a name"),
            ("\"section3-linux-amd64\"", "\"a/b\"", ".file`: a name"),
            ("\"section3-linux-amd64\"", "\"\"", ".file`: a name"),
            ("\"section3-linux-amd64\"", "\"-rf\"", ".file`: a name"),
            ("\"linux-amd64\"", "\"\\u001b[2J\"", "a name is"),
            ("ba78", "BA78", "`targets.linux-amd64.sha256`: a SHA-256 is"),
            (target, &format!("{target}\"x\":1,"), "unknown field `x`"),
            ("}}}", "},\"linux-amd64\":{\"file\":\"a\",\"size\":1,\"sha256\":\"\"}}}", "target `linux-amd64` stands twice"),
            ("}}}", "}}} x", "expected the end"),
            ("}}}", "}}", "found the end"),
        ] {
            let text = good().replacen(from, to, 1);
            assert_ne!(text, good(), "{from} is not in it");
            let error = Manifest::parse(text.as_bytes()).expect_err(to);
            assert!(error.contains(part), "{to}: {error}");
            assert!(!error.contains('\x1b'), "{to}: {error}");
        }
    }

    #[test]
    fn bombs() {
        let nested = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
        assert!(Manifest::parse(nested.as_bytes()).is_err());
        let inside = good().replace("\"0.2.0\"", &nested);
        assert!(Manifest::parse(inside.as_bytes()).is_err());
        let deep = "{\"a\":".repeat(10_000);
        assert!(Manifest::parse(deep.as_bytes()).is_err());
        let large = good() + &" ".repeat(65_536);
        assert!(Manifest::parse(large.as_bytes()).is_err_and(|error| error.contains("more than 65536 bytes")));
        let many: Vec<_> = (0..65).map(|n| format!("\"t{n}\":{{\"file\":\"a\",\"size\":1,\"sha256\":\"{SUM}\"}}")).collect();
        let many = good().replace("\"targets\":{", &format!("\"targets\":{{{},", many.join(",")));
        assert!(Manifest::parse(many.as_bytes()).is_err_and(|error| error.contains("more than 64 targets")));
        assert!(Manifest::parse(b"\xff\xfe").is_err());
    }
}
