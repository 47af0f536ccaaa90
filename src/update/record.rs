//! What was installed at a place before: `.section3.record`. Whoever can write it can write the program beside it.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use serde::{Deserialize, Serialize};

use super::failed;
use super::place::{Place, Site};
use super::sha256::Sha256;
use crate::sys::words;
use crate::value::Version;
use crate::value::json;
use crate::wire::Fault;

/// Programs that are remembered: the installed one and the kept one, and both of an update that was cut off between.
const MAX_KNOWN: usize = 4;

/// Its largest size in bytes.
const MAX_FILE: u64 = 16 << 10;

/// The record.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The newest version that was ever installed here.
    pub newest: Option<Version>,
    /// Programs that were good, the latest first.
    pub known: Vec<Known>,
}

/// A program that was good.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Its version.
    pub version: Version,
    /// Its sum.
    pub sha256: Sha256,
}

impl Record {
    /// The record of a place; an empty one where there is none.
    ///
    /// # Errors
    ///
    /// That it cannot be read. A damaged record is never taken for an empty one: that would forget what is too old.
    pub fn read(place: &Place) -> Result<Self, Fault> {
        let path = place.hidden("record");
        let wrong = |what: &str| {
            failed(format!("cannot use {}, which says what was installed before: {what}", path.display()))
                .with_hint("remove it to begin anew")
        };
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(wrong(&words::io(&error))),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|error| wrong(&words::io(&error)))?;
        json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))
    }

    /// Puts the record in place, on the disk.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn write(&self, site: &Site) -> Result<(), Fault> {
        let path = site.hidden("record.new");
        let mut file = site.create(&path)?;
        let text = json::to_string(self).map_err(|error| failed(error.to_string()))? + "\n";
        file.write_all(text.as_bytes())
            // Everybody may know: `self update --check` needs no rights.
            .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(0o644)))
            .and_then(|()| file.sync_all())
            .map_err(|error| failed(format!("cannot write {}: {}", path.display(), words::io(&error))))?;
        site.rename(&path, &site.hidden("record"))
    }

    /// With these programs in front, each once.
    #[must_use]
    pub fn with(mut self, programs: &[Known]) -> Self {
        for program in programs.iter().rev() {
            self.known.retain(|known| known.sha256 != program.sha256);
            self.known.insert(0, program.clone());
        }
        self.known.truncate(MAX_KNOWN);
        self
    }

    /// The version of the program with this sum, if it was good.
    #[must_use]
    pub fn version_of(&self, sum: Sha256) -> Option<Version> {
        self.known.iter().find(|known| known.sha256 == sum).map(|known| known.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(version: &str) -> Known {
        Known { version: Version::parse(version).expect("a version"), sha256: Sha256::of(version.as_bytes()) }
    }

    #[test]
    fn it_is_read_back_and_never_guessed() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("section3");
        std::fs::write(&program, "old").expect("a program");
        let site = Place::at(&program).and_then(Place::lock).expect("a site");
        assert_eq!(Record::read(&site), Ok(Record::default()));
        let record = Record { newest: Some(known("0.2.0").version), known: vec![known("0.2.0"), known("0.1.0")] };
        assert_eq!(record.write(&site), Ok(()));
        assert_eq!(record.write(&site), Ok(()));
        assert_eq!(Record::read(&site), Ok(record));
        let path = site.hidden("record");
        // Whoever looks for an update without the right to install one reads it too.
        assert_eq!(std::fs::metadata(&path).expect("it").permissions().mode() & 0o7777, 0o644);
        let whole = std::fs::read_to_string(&path).expect("it");
        let long = " ".repeat(20_000) + &whole;
        for text in ["", "{}", "null", "{\"newest\":\"x\",\"known\":[]}", "\0\0\0", &long] {
            std::fs::write(site.hidden("record"), text).expect("written");
            assert!(Record::read(&site).is_err_and(|fault| fault.message.contains(".section3.record")), "{text:.40?}");
        }
        std::fs::rename(&path, folder.path().join("elsewhere")).expect("renamed");
        std::fs::write(folder.path().join("elsewhere"), whole).expect("written");
        std::os::unix::fs::symlink("elsewhere", &path).expect("a link");
        assert!(Record::read(&site).is_err(), "a link was followed");
    }

    #[test]
    fn the_latest_are_remembered() {
        let record = Record::default().with(&[known("0.1.0")]).with(&[known("0.2.0"), known("0.1.0")]);
        assert_eq!(record.known, [known("0.2.0"), known("0.1.0")]);
        let many = (0..9).fold(record, |record, n| record.with(&[known(&format!("1.0.{n}"))]));
        assert_eq!(many.known.len(), MAX_KNOWN);
        assert_eq!(many.version_of(known("1.0.8").sha256), Some(known("1.0.8").version));
        assert_eq!(many.version_of(known("0.1.0").sha256), None);
    }
}
