//! A new program, from the first byte that comes to the rename that puts it in place.
//!
//! At every moment the installed path is wholly the old or wholly the new program. What is verified is what the descriptor
//! holds that is made executable, run and renamed: nothing is opened by its name again but to see that it is still that file.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::decision::stated;
use super::place::{Site, remove};
use super::record::{Known, Record};
use super::sha256::Sha256;
use super::signature::{Keys, Signature, Statement};
use super::{elf, failed, trial};
use crate::sys::words;
use crate::value::Version;
use crate::wire::Fault;

/// A program that comes in. It vanishes unless it is put in place.
pub struct Incoming<'s> {
    site: &'s Site,
    name: Name,
    file: File,
}

/// A program that has come in whole: nobody can write to it any more.
pub struct Sealed<'s> {
    site: &'s Site,
    name: Name,
    file: File,
}

/// A program that is signed for what was asked for, and starts here.
pub struct Verified<'s> {
    site: &'s Site,
    name: Name,
    file: File,
    version: Version,
    sha256: Sha256,
}

/// A temporary name, which goes with its holder.
struct Name(PathBuf);

impl Drop for Name {
    fn drop(&mut self) {
        // After the rename nothing is there any more; what cannot be removed the next run removes.
        let _ = fs::remove_file(&self.0);
    }
}

impl<'s> Incoming<'s> {
    /// An empty file in the program's folder.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn new(site: &'s Site) -> Result<Self, Fault> {
        let path = site.hidden("new");
        let file = site.create(&path)?;
        Ok(Self { site, name: Name(path), file })
    }

    /// Adds bytes. Blocks until they are written.
    ///
    /// # Errors
    ///
    /// Why not; a full disk, mostly.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.file.write_all(bytes).map_err(|error| unwritten(&self.name.0, &error))
    }

    /// All of it has come: on the disk, and closed for writing.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn seal(self) -> Result<Sealed<'s>, Fault> {
        let Self { site, name, file } = self;
        file.sync_all().map_err(|error| unwritten(&name.0, &error))?;
        // A program that somebody has open for writing cannot be run, so the one descriptor is exchanged for another.
        let reader = open(&name.0)?;
        same(&file, &reader, &name.0)?;
        Ok(Sealed { site, name, file: reader })
    }
}

impl<'s> Sealed<'s> {
    /// Whether it is signed by one of these keys, for what was asked for (`sha256` too where that is known), is a program for
    /// this machine, and says so itself when it is run.
    ///
    /// # Errors
    ///
    /// What is wrong; `shown` is how messages call the file.
    pub fn verify(
        mut self,
        shown: &str,
        keys: &Keys,
        signature: &Signature,
        wanted: Wanted<'_>,
        patience: Duration,
    ) -> Result<Verified<'s>, Fault> {
        let unread = |error: std::io::Error| failed(format!("cannot read what was downloaded: {}", words::io(&error)));
        let statement = keys
            .verify(&self.file, signature)
            .map_err(|flaw| failed(format!("the signature of {shown} is not accepted: {flaw}")))?;
        self.file.rewind().map_err(unread)?;
        let (sha256, _) = Sha256::of_all(&self.file).map_err(unread)?;
        let asked = Statement {
            product: super::PRODUCT.to_owned(),
            version: wanted.version,
            target: wanted.target.to_owned(),
            sha256: wanted.sha256.unwrap_or(sha256),
        };
        stated(shown, &statement, &asked)?;
        if sha256 != statement.sha256 {
            return Err(failed(format!("{shown} has the sha256 {sha256}, and signed is {}", statement.sha256)));
        }
        self.file.rewind().map_err(unread)?;
        let mut head = Vec::new();
        (&self.file).take(elf::HEAD as u64).read_to_end(&mut head).map_err(unread)?;
        elf::check(&head, wanted.target).map_err(|what| failed(format!("{shown} is signed, but {what}")))?;

        // Not what the old one had: bits such as set-uid are not carried on.
        let opened = fchown(&self.file, None, Some(self.site.group()))
            .and_then(|()| self.file.set_permissions(Permissions::from_mode(0o755)))
            .and_then(|()| self.file.sync_all());
        opened.map_err(|error| unwritten(&self.name.0, &error))?;
        trial::run(&self.name.0, wanted.version, wanted.target, patience)?;
        Ok(Verified { site: self.site, name: self.name, file: self.file, version: wanted.version, sha256 })
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The version.
    pub version: Version,
    /// The platform.
    pub target: &'a str,
    /// The sum in the manifest, if there was one.
    pub sha256: Option<Sha256>,
}

impl Verified<'_> {
    /// Puts it in place and keeps the old one, of this version, as `section3.prev`.
    ///
    /// # Errors
    ///
    /// Why not; then the old one is still in place.
    pub fn install(self, old: Version) -> Result<(), Fault> {
        let Self { site, name, file, version, sha256 } = self;
        let running = open(site.program())?;
        let (old_sum, _) = Sha256::of_all(&running)
            .map_err(|error| failed(format!("cannot read {}: {}", site.program().display(), words::io(&error))))?;
        let record = Record::read(site)?.with(&[Known { version, sha256 }, Known { version: old, sha256: old_sum }]);
        // Whatever is cut off between two of these steps, the kept copy is one that the record knows.
        record.write(site)?;
        let kept = site.hidden("prev.new");
        site.double(site.program(), &kept)?;
        site.is_unchanged()?;
        same(&file, &open(&name.0)?, &name.0)?;
        site.rename(&kept, &site.previous())?;
        // Where a killed run had come this far, both names are of one file, and rename(2) leaves both.
        remove(&kept)?;
        site.rename(&name.0, site.program())?;
        // Only now: what was never in place was never installed.
        let record = Record { newest: record.newest.max(Some(version)).max(Some(old)), ..record };
        record.write(site).map_err(|fault| failed(format!("section3 {version} is installed, but {}", fault.message)))
    }
}

/// Opens a file of ours for reading; not through a link.
pub(super) fn open(path: &Path) -> Result<File, Fault> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| failed(format!("cannot open {}: {}", path.display(), words::io(&error))))
}

/// That two descriptors are of one file.
pub(super) fn same(one: &File, other: &File, path: &Path) -> Result<(), Fault> {
    let identity = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
    match (identity(one), identity(other)) {
        (Ok(one), Ok(other)) if one == other => Ok(()),
        _ => Err(failed(format!("{} was replaced by somebody else meanwhile; nothing was changed", path.display()))),
    }
}

fn unwritten(path: &Path, error: &std::io::Error) -> Fault {
    failed(format!("cannot write {}: {}; nothing was changed", path.display(), words::io(error)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

    use super::*;
    use crate::update::place::Place;

    fn version(text: &str) -> Version {
        Version::parse(text).expect("a version")
    }

    fn site() -> (tempfile::TempDir, Site) {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("section3");
        fs::write(&program, "old").expect("a program");
        let site = Place::at(&program).and_then(Place::lock).expect("a site");
        (folder, site)
    }

    fn incoming(site: &Site) -> Incoming<'_> {
        let mut incoming = Incoming::new(site).expect("a new file");
        incoming.write(b"new").expect("written");
        incoming
    }

    /// What was written, as it is once its signature was found good.
    fn verified(site: &Site) -> Verified<'_> {
        let Sealed { site, name, file } = incoming(site).seal().expect("sealed");
        Verified { site, name, file, version: version("0.2.0"), sha256: Sha256::of(b"new") }
    }

    fn content(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    /// A way to put something of one's own under a name, in words and done.
    type Exchange<'p> = (&'static str, Box<dyn Fn() + 'p>);

    /// All of them, for the name of what comes in.
    fn exchanges(path: &Path) -> [Exchange<'_>; 4] {
        let evil = path.with_file_name("evil");
        fs::write(&evil, "evil").expect("a file");
        let link = evil.clone();
        [
            ("a file", Box::new(move || fs::rename(&evil, path).expect("renamed"))),
            ("a link", Box::new(move || fs::remove_file(path).and_then(|()| symlink(&link, path)).expect("a link"))),
            (
                // It would be put in place, and what it leads to can be changed after.
                "a link to what came in",
                Box::new(move || {
                    let moved = path.with_file_name("moved");
                    fs::rename(path, &moved).and_then(|()| symlink(&moved, path)).expect("a link");
                }),
            ),
            (
                "a pipe",
                Box::new(move || {
                    fs::remove_file(path).expect("removed");
                    nix::unistd::mkfifo(path, Mode::S_IRWXU).expect("a pipe");
                }),
            ),
        ]
    }

    #[test]
    fn what_comes_in_is_written_to_no_file_that_was_there() {
        let (folder, site) = site();
        let (new, victim) = (site.hidden("new"), folder.path().join("victim"));
        fs::write(&new, "somebody else's").expect("a file");
        let refusal = Incoming::new(&site).err().expect("refused");
        assert!(refusal.message.contains("file exists") && content(&new) == "somebody else's", "{refusal}");
        fs::remove_file(&new).expect("removed");
        symlink(&victim, &new).expect("a link");
        assert!(Incoming::new(&site).is_err() && !victim.exists());
    }

    #[test]
    fn what_is_put_in_the_place_of_a_download_is_not_what_is_verified() {
        for at in 0..4 {
            let (_folder, site) = site();
            let (incoming, new) = (incoming(&site), site.hidden("new"));
            let exchanges = exchanges(&new);
            let (what, exchange) = &exchanges[at];
            exchange();
            assert!(incoming.seal().is_err(), "{what}");
        }
    }

    #[test]
    fn what_is_put_in_the_place_of_a_verified_program_is_not_installed() {
        for at in 0..4 {
            let (_folder, site) = site();
            let (verified, new) = (verified(&site), site.hidden("new"));
            let exchanges = exchanges(&new);
            let (what, exchange) = &exchanges[at];
            exchange();
            assert!(verified.install(version("0.1.0")).is_err(), "{what}");
            assert_eq!(content(site.program()), "old", "{what}");
        }
    }

    #[test]
    fn a_program_that_somebody_else_installed_meanwhile_stays() {
        let (folder, site) = site();
        let verified = verified(&site);
        let theirs = folder.path().join("theirs");
        fs::write(&theirs, "theirs").expect("a file");
        fs::rename(theirs, site.program()).expect("installed");
        let fault = verified.install(version("0.1.0")).expect_err("refused");
        assert!(fault.message.contains("replaced by somebody else"), "{fault}");
        assert_eq!((content(site.program()).as_str(), site.previous().exists()), ("theirs", false));
        // Wherever it is cut off, the copy that may be kept by then is one that is known.
        let record = Record::read(&site).expect("a record");
        assert_eq!((record.version_of(Sha256::of(b"theirs")), record.newest), (Some(version("0.1.0")), None));
    }

    #[test]
    fn what_was_installed_is_remembered_once_it_is_in_place() {
        for (newest, old, remembered) in [
            (None, "0.1.0", "0.2.0"),
            (Some("0.1.5"), "0.1.0", "0.2.0"),
            (Some("0.3.0"), "0.1.0", "0.3.0"),
            // An older one, by `--to`.
            (None, "0.4.0", "0.4.0"),
        ] {
            let (_folder, site) = site();
            // A run before was killed between its last two renames: both names are of one file.
            fs::hard_link(site.program(), site.previous()).expect("a second name");
            let before = Record { newest: newest.map(version), ..Record::default() };
            before.write(&site).expect("a record");
            verified(&site).install(version(old)).expect("installed");
            let record = Record::read(&site).expect("a record");
            assert_eq!(record.newest, Some(version(remembered)), "{newest:?}");
            assert_eq!(record.version_of(Sha256::of(b"new")), Some(version("0.2.0")));
            assert_eq!(record.version_of(Sha256::of(b"old")), Some(version(old)));
            assert_eq!((content(site.program()).as_str(), content(&site.previous()).as_str()), ("new", "old"));
            assert!(!site.hidden("new").exists() && !site.hidden("prev.new").exists());
        }
    }
}
