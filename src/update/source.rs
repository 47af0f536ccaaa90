//! Where releases come from and whose they must be: built in, or set by root in `/etc/section3/release.yml`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use reqwest::Url;
use serde::Deserialize;

use super::failed;
use super::signature::Keys;
use crate::wire::Fault;

/// The file that root may write.
pub const FILE: &str = "/etc/section3/release.yml";

/// Its largest size in bytes: one URL and two keys.
const MAX_FILE: u64 = 16 << 10;

/// What was built in.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// `SECTION3_RELEASE_URL`.
    pub url: Option<&'static str>,
    /// `SECTION3_RELEASE_KEYS`: one or two public keys with a blank or comma between.
    pub keys: Option<&'static str>,
}

/// What was built into this program.
pub const BUILT_IN: BuiltIn = BuiltIn { url: option_env!("SECTION3_RELEASE_URL"), keys: option_env!("SECTION3_RELEASE_KEYS") };

/// Where releases come from and whose they must be.
#[derive(Clone, Debug)]
pub struct Source {
    /// The folder that holds `latest.json`; its path ends in `/`.
    pub url: Url,
    /// Who may sign.
    pub keys: Keys,
}

/// What `release.yml` may say; what it does not say is as built in.
#[derive(Default, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The folder that holds `latest.json`.
    pub url: Option<String>,
    /// One or two public keys.
    pub keys: Option<Vec<String>>,
}

impl Written {
    /// Reads the text of a `release.yml`. Never panics.
    ///
    /// # Errors
    ///
    /// What is wrong, with line and column where that is known.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() as u64 > MAX_FILE {
            return Err(format!("it has more than {MAX_FILE} bytes"));
        }
        if text.trim().is_empty() {
            return Err("it is empty; allowed are `url` and `keys`".to_owned());
        }
        serde_yaml::from_str(text).map_err(|error| error.to_string())
    }
}

impl Source {
    /// The source of this machine: `file` if it is there, and what is built in for what that does not say.
    ///
    /// # Errors
    ///
    /// That nothing is set, or what is wrong with what is. A file that is wrong is never passed over.
    pub fn load(file: &Path, built_in: BuiltIn) -> Result<Self, Fault> {
        let written = read(file).map_err(|what| failed(format!("cannot use {}: {what}", file.display())))?.unwrap_or_default();
        let of_file = file.display().to_string();
        let (url, url_from) = match (&written.url, built_in.url) {
            (Some(url), _) => (url.as_str(), of_file.as_str()),
            (None, Some(url)) if !url.trim().is_empty() => (url, "SECTION3_RELEASE_URL, built in"),
            (None, _) => return Err(unset("where releases come from", "`url`", "SECTION3_RELEASE_URL", &of_file)),
        };
        let (keys, keys_from) = match (written.keys, built_in.keys) {
            (Some(keys), _) => (keys, of_file.as_str()),
            (None, Some(keys)) if !keys.trim().is_empty() => {
                let words = keys.split([' ', ',', '\n', '\t']).filter(|word| !word.is_empty());
                (words.map(str::to_owned).collect(), "SECTION3_RELEASE_KEYS, built in")
            }
            (None, _) => return Err(unset("whose releases to trust", "`keys`", "SECTION3_RELEASE_KEYS", &of_file)),
        };
        Ok(Self {
            url: folder(url).map_err(|what| failed(format!("cannot use the release URL (from {url_from}): {what}")))?,
            keys: Keys::parse(&keys).map_err(|what| failed(format!("cannot use the release keys (from {keys_from}): {what}")))?,
        })
    }
}

fn unset(what: &str, key: &str, variable: &str, file: &str) -> Fault {
    failed(format!("{what} is not set: this program was built without {variable}, and {file} does not say it")).with_hint(
        format!(
            "root sets {key} in {file}: `url: https://HOST/PATH` and `keys: [RW...]`, the public keys of minisign; or build with \
         SECTION3_RELEASE_URL and SECTION3_RELEASE_KEYS"
        ),
    )
}

/// Reads the file, if there is one.
fn read(path: &Path) -> Result<Option<Written>, String> {
    // Without O_NONBLOCK the open of a FIFO waits for a writer, for ever.
    let mut file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(crate::sys::words::io(&error)),
    };
    let found = file.metadata().map_err(|error| crate::sys::words::io(&error))?;
    if !found.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if let Some(refusal) = not_roots(found.uid(), found.mode()) {
        return Err(refusal);
    }
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| crate::sys::words::io(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    Written::parse(&text).map(Some)
}

/// Whoever writes this file says what root will run.
fn not_roots(uid: u32, mode: u32) -> Option<String> {
    if uid != 0 {
        Some(format!("it belongs to uid {uid}; only root may say whom to trust: `chown root`"))
    } else if mode & 0o022 != 0 {
        Some(format!("found mode {:04o}; others than root can write it: `chmod go-w`", mode & 0o7777))
    } else {
        None
    }
}

/// A URL of a folder: https, or http to this very machine, and nothing behind the path.
fn folder(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text.trim()).map_err(|error| format!("`{text}` is no URL: {error}"))?;
    if !is_secure(&url) {
        return Err(format!("`{text}` is neither https nor http to the loopback interface"));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(format!("`{text}` has more than host, port and path"));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// Whether what travels there cannot be seen or changed on the way: https, or not leaving this machine.
#[must_use]
pub fn is_secure(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.host_str().is_some(),
        "http" => is_loopback(url),
        _ => false,
    }
}

/// Whether a URL means this very machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWRYMke8fpOwfnSwfwot6Ic/ecqWeM/1W1YGuqJdm1+sNqDK9ugmoE7s";

    fn load(text: Option<&str>, built_in: BuiltIn) -> Result<Source, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("release.yml");
        if let Some(text) = text {
            std::fs::write(&file, text).expect("written");
        }
        Source::load(&file, built_in).map_err(|fault| fault.to_string())
    }

    const NOTHING: BuiltIn = BuiltIn { url: None, keys: None };
    const BOTH: BuiltIn = BuiltIn { url: Some("https://example.org/s3"), keys: Some(KEY) };

    #[test]
    fn built_in() {
        assert_eq!(load(None, BOTH).map(|source| source.url.to_string()).as_deref(), Ok("https://example.org/s3/"));
        let two = BuiltIn {
            keys: Some(concat!(
                "RWRYMke8fpOwfnSwfwot6Ic/ecqWeM/1W1YGuqJdm1+sNqDK9ugmoE7s, ",
                "RWTQS4aakcA5+YZCSpL3edyqzrJvs/OsHcenSttHiEpUYxT2h3vqTEA/"
            )),
            ..BOTH
        };
        assert!(load(None, two).is_ok());
        for (built_in, part) in [
            (NOTHING, "where releases come from is not set"),
            (BuiltIn { url: Some(""), ..BOTH }, "where releases come from is not set"),
            (BuiltIn { keys: None, ..BOTH }, "whose releases to trust is not set"),
            (BuiltIn { keys: Some(" "), ..BOTH }, "whose releases to trust is not set"),
            (BuiltIn { keys: Some("RWx"), ..BOTH }, "from SECTION3_RELEASE_KEYS, built in): `RWx` is no minisign public key"),
            (BuiltIn { url: Some("http://example.org"), ..BOTH }, "neither https nor http to the loopback"),
        ] {
            let said = load(None, built_in).map(|_| ()).expect_err(part);
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(load(None, NOTHING).is_err_and(|said| said.contains("release.yml: `url: https://HOST/PATH`")));
    }

    #[test]
    fn a_file_of_root_wins() {
        let full = format!("url: http://127.0.0.1:8080/r\nkeys: [{KEY}]\n");
        if !nix::unistd::geteuid().is_root() {
            assert!(load(Some(&full), BOTH).is_err_and(|said| said.contains("only root may say whom to trust")));
            return;
        }
        assert_eq!(load(Some(&full), NOTHING).map(|source| source.url.to_string()).as_deref(), Ok("http://127.0.0.1:8080/r/"));
        assert_eq!(
            load(Some("url: https://mirror"), BOTH).map(|source| source.url.to_string()).as_deref(),
            Ok("https://mirror/")
        );
        for (text, part) in [
            ("", "it is empty"),
            ("url: [}", "invalid type: sequence"),
            ("ulr: https://a", "unknown field `ulr`"),
            ("keys: []", "found 0 keys"),
            ("url: https://a\nurl: https://b", "duplicate"),
            ("url: ftp://a", "neither https"),
            ("url: https://u:p@a/", "more than host, port and path"),
            ("url: https://a/?x", "more than host, port and path"),
            ("url: \u{1b}[2J", "control characters are not allowed"),
            (&"#".repeat(20_000), "more than 16384 bytes"),
        ] {
            let said = load(Some(text), BOTH).map(|_| ()).expect_err(part);
            assert!(said.contains(part), "{text:?}: {said}");
        }
    }

    #[test]
    fn only_root_may_write_it() {
        for (uid, mode, good) in [(0, 0o100_644, true), (0, 0o100_664, false), (0, 0o100_646, false), (1000, 0o100_644, false)] {
            assert_eq!(not_roots(uid, mode).is_none(), good, "{uid} {mode:o}");
        }
    }

    #[test]
    fn what_stays_on_this_machine() {
        for (text, secure) in [
            ("https://example.org/", true),
            ("http://127.0.0.1:1/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:1/", true),
            ("http://localhost/", true),
            ("http://example.org/", false),
            ("http://127.0.0.1.example.org/", false),
            ("http://localhost.example.org/", false),
            ("http://10.0.0.1/", false),
            ("file:///etc/passwd", false),
            ("ftp://127.0.0.1/", false),
        ] {
            assert_eq!(Url::parse(text).is_ok_and(|url| is_secure(&url)), secure, "{text}");
        }
    }
}
