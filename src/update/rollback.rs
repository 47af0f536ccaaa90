//! Back to the kept copy, without network: the program and `section3.prev` change places. Twice is back again.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::install::{open, same};
use super::place::{Site, remove};
use super::record::{Known, Record};
use super::sha256::Sha256;
use super::{failed, trial};
use crate::sys::words;
use crate::value::Version;
use crate::wire::Fault;

/// Exchanges the program, of version `running`, and the kept copy; returns the version that is in place now.
///
/// The copy must be one that was installed here before, unchanged, and is run once first.
///
/// # Errors
///
/// Why not; then nothing has changed.
pub fn swap(site: &Site, running: Version, target: &str, patience: Duration) -> Result<Version, Fault> {
    let (program, previous) = (site.program(), site.previous());
    if std::fs::symlink_metadata(&previous).is_err() {
        return Err(failed(format!("there is no kept copy: {} does not exist", previous.display()))
            .with_hint("`section3 self update --to VERSION` installs any release"));
    }
    let unread =
        |path: &std::path::Path, error: &std::io::Error| failed(format!("cannot read {}: {}", path.display(), words::io(error)));
    let (kept, current) = (open(&previous)?, open(program)?);
    let owner = kept.metadata().map_err(|error| unread(&previous, &error))?;
    if !owner.is_file() || owner.uid() != nix::unistd::geteuid().as_raw() {
        return Err(failed(format!("the kept copy {} is not a file of yours; nothing was changed", previous.display())));
    }
    let (sum, _) = Sha256::of_all(&kept).map_err(|error| unread(&previous, &error))?;
    let record = Record::read(site)?;
    let Some(version) = record.version_of(sum) else {
        return Err(failed(format!(
            "the kept copy {} is damaged: its sha256 is {sum}, which no program had that was installed here; nothing was changed",
            previous.display()
        ))
        .with_hint("`section3 self update --to VERSION` installs any release"));
    };
    trial::run(&previous, version, target, patience)?;
    let (sha256, _) = Sha256::of_all(&current).map_err(|error| unread(program, &error))?;
    let record = record.with(&[Known { version, sha256: sum }, Known { version: running, sha256 }]);
    Record { newest: record.newest.max(Some(running)), ..record }.write(site)?;
    let aside = site.hidden("prev.new");
    remove(&aside)?;
    site.double(program, &aside)?;
    site.is_unchanged()?;
    same(&kept, &open(&previous)?, &previous)?;
    site.rename(&previous, program)?;
    site.rename(&aside, &previous)?;
    Ok(version)
}
