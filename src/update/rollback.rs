//! Back to the kept copy, without network: the program and `section3.prev` change places. Twice is back again.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::install::{open, same};
use super::place::Site;
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
    site.double(program, &aside)?;
    site.is_unchanged()?;
    same(&kept, &open(&previous)?, &previous)?;
    site.rename(&previous, program)?;
    site.rename(&aside, &previous)?;
    Ok(version)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::update::place::Place;

    const RUNNING: Version = Version { major: 0, minor: 2, patch: 0 };
    const KEPT: Version = Version { major: 0, minor: 1, patch: 0 };

    /// A program `new`, and a kept copy of it that does something before it says its version; it is run in the middle of a
    /// rollback.
    struct Scene {
        folder: tempfile::TempDir,
        site: Site,
        kept: String,
    }

    impl Scene {
        fn new(newest: Option<Version>, does: &str) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let program = folder.path().join("section3");
            fs::write(&program, "new").expect("a program");
            let site = Place::at(&program).and_then(Place::lock).expect("a site");
            let folder_path = folder.path().display();
            let says = format!(r#"{{"version":1,"product":"section3","release":"{KEPT}","target":"t"}}"#);
            let kept = format!("#!/bin/sh\ncd '{folder_path}' || exit\n{does}\necho '{says}'\n");
            fs::write(site.previous(), &kept).expect("a kept copy");
            fs::set_permissions(site.previous(), fs::Permissions::from_mode(0o755)).expect("a mode");
            let known = vec![Known { version: KEPT, sha256: Sha256::of(kept.as_bytes()) }];
            Record { newest, known }.write(&site).expect("a record");
            Self { folder, site, kept }
        }

        fn swap(&self) -> Result<Version, crate::wire::Fault> {
            // Another test's fork may hold our write descriptor for a moment: such a file cannot be run yet.
            loop {
                match swap(&self.site, RUNNING, "t", trial::PATIENCE) {
                    Err(fault) if fault.message.contains("text file busy") => {}
                    result => return result,
                }
            }
        }

        fn content(&self, name: &str) -> String {
            fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
        }
    }

    #[test]
    fn what_was_rolled_back_does_not_come_back_by_itself() {
        let later = Version { minor: 3, ..RUNNING };
        for (newest, remembered) in [(None, RUNNING), (Some(KEPT), RUNNING), (Some(later), later)] {
            let scene = Scene::new(newest, "");
            assert_eq!(scene.swap(), Ok(KEPT));
            assert_eq!((scene.content("section3"), scene.content("section3.prev")), (scene.kept.clone(), "new".to_owned()));
            let record = Record::read(&scene.site).expect("a record");
            assert_eq!(record.newest, Some(remembered), "{newest:?}");
            // Both may be rolled back to.
            assert_eq!(record.version_of(Sha256::of(b"new")), Some(RUNNING));
            assert_eq!(record.version_of(Sha256::of(scene.kept.as_bytes())), Some(KEPT));
        }
    }

    #[test]
    fn what_somebody_else_exchanges_meanwhile_stays() {
        for (does, program) in [
            ("echo theirs >x; mv x section3", "theirs\n"),
            ("rm section3; ln -s /bin/sh section3", ""),
            ("echo theirs >x; mv x section3.prev", "new"),
            ("rm section3.prev; ln -s section3 section3.prev", "new"),
            ("rm section3.prev; mkfifo section3.prev", "new"),
        ] {
            let scene = Scene::new(None, does);
            let fault = scene.swap().expect_err(does);
            assert!(
                fault.message.contains("replaced by somebody else") || fault.message.contains("cannot open"),
                "{does}: {fault}"
            );
            if program.is_empty() {
                assert!(scene.site.program().is_symlink(), "{does}");
            } else {
                assert_eq!(scene.content("section3"), program, "{does}");
            }
        }
    }

    #[test]
    fn a_kept_copy_is_a_file() {
        let scene = Scene::new(None, "");
        fs::remove_file(scene.site.previous()).and_then(|()| fs::create_dir(scene.site.previous())).expect("a folder");
        assert!(scene.swap().is_err_and(|fault| fault.message.contains("is not a file of yours")));
    }

    #[test]
    fn only_what_was_installed_here_is_run() {
        let scene = Scene::new(None, "touch was-run");
        Record::default().write(&scene.site).expect("a record");
        assert!(scene.swap().is_err_and(|fault| fault.message.contains("is damaged")));
        assert!(!scene.folder.path().join("was-run").exists());
    }
}
