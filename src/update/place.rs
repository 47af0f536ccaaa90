//! Where the program is installed, and the names beside it that belong to updates.
//!
//! | name | is |
//! | --- | --- |
//! | `section3` | the program: always wholly the old or wholly the new one |
//! | `section3.prev` | the one before it |
//! | `.section3.record` | what was installed here before: see [`super::record`] |
//! | `.section3.lock` | held by whoever changes any of these; stays |
//! | `.section3.new`, `.section3.prev.new`, `.section3.record.new` | not in place yet; the next run removes what a killed one left |
//!
//! All are in one folder: a rename within it is atomic, and whoever may write there may replace the program anyway.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;

use super::failed;
use crate::sys::words;
use crate::wire::{Fault, FaultCode};

/// An installed program.
#[derive(Clone, Debug)]
pub struct Place {
    program: PathBuf,
    folder: PathBuf,
    name: OsString,
    /// Device and inode: the program is this very file.
    identity: (u64, u64),
    group: u32,
}

/// A place that nobody else changes meanwhile, and that we may change.
pub struct Site {
    place: Place,
    _lock: Flock<File>,
}

impl Place {
    /// Where the running program is installed; a link that led there stays as it is.
    ///
    /// # Errors
    ///
    /// That this cannot be told, or that the file there is not the one that runs.
    pub fn of_this_process() -> Result<Self, Fault> {
        let unknown = |error: io::Error| {
            failed(format!("cannot tell where this program is installed: {}", words::io(&error))).with_hint("is /proc mounted?")
        };
        let program = std::env::current_exe().map_err(unknown)?;
        let running = fs::metadata("/proc/self/exe").map_err(unknown)?;
        let place = Self::at(&program).map_err(|fault| {
            let gone = program.as_os_str().as_encoded_bytes().ends_with(b" (deleted)");
            if gone {
                failed("this program's file was replaced or removed while it runs").with_hint("start again")
            } else {
                fault
            }
        })?;
        if place.identity != (running.dev(), running.ino()) {
            return Err(place.changed());
        }
        Ok(place)
    }

    /// The program at this path.
    ///
    /// # Errors
    ///
    /// That there is no plain file.
    pub fn at(program: &Path) -> Result<Self, Fault> {
        let found = fs::symlink_metadata(program)
            .map_err(|error| failed(format!("cannot look at {}: {}", program.display(), words::io(&error))))?;
        if found.is_symlink() {
            return Err(failed(format!("{} is a symbolic link; only a plain file is replaced", program.display())));
        }
        let (Some(folder), Some(name), true) = (program.parent(), program.file_name(), found.is_file()) else {
            return Err(failed(format!("{} is no plain file", program.display())));
        };
        Ok(Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            name: name.to_owned(),
            identity: (found.dev(), found.ino()),
            group: found.gid(),
        })
    }

    /// The program's path.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The folder that all of it is in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The group that the program belongs to, and its successor will.
    #[must_use]
    pub const fn group(&self) -> u32 {
        self.group
    }

    /// The kept copy: `section3.prev`.
    #[must_use]
    pub fn previous(&self) -> PathBuf {
        let mut name = self.name.clone();
        name.push(".prev");
        self.folder.join(name)
    }

    /// `.section3.` and this.
    #[must_use]
    pub fn hidden(&self, what: &str) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(".");
        name.push(what);
        self.folder.join(name)
    }

    /// That the file at the program's path is still the one that was looked at.
    ///
    /// # Errors
    ///
    /// That it is not.
    pub fn is_unchanged(&self) -> Result<(), Fault> {
        match fs::symlink_metadata(&self.program) {
            Ok(found) if found.is_file() && (found.dev(), found.ino()) == self.identity => Ok(()),
            _ => Err(self.changed()),
        }
    }

    fn changed(&self) -> Fault {
        failed(format!("{} was replaced by somebody else meanwhile; nothing was changed", self.program.display()))
            .with_hint("start again")
    }

    /// Takes the place over for a change: everything that can be told before a download is told here. Removes what a run that
    /// was killed left behind.
    ///
    /// # Errors
    ///
    /// `not_permitted` where it is not ours to change, `busy` where another run changes it.
    pub fn lock(self) -> Result<Site, Fault> {
        let shown = self.program.display();
        let own = geteuid().as_raw();
        let look = |path: &Path| -> Result<Metadata, Fault> {
            fs::symlink_metadata(path)
                .map_err(|error| failed(format!("cannot look at {}: {}", path.display(), words::io(&error))))
        };
        let (program, folder) = (look(&self.program)?, look(&self.folder)?);
        if program.uid() != own {
            return Err(not_permitted(format!(
                "cannot replace {shown}: it belongs to uid {}, and you are uid {own}",
                program.uid()
            ))
            .with_hint("run this as its owner"));
        }
        if let Some(why) = shared(folder.uid(), folder.mode(), own) {
            return Err(not_permitted(format!("cannot replace {shown} safely: its folder {why}")));
        }
        if program.dev() != folder.dev() {
            return Err(not_permitted(format!(
                "cannot replace {shown}: it is a mount of its own; replace what is mounted there"
            )));
        }
        let path = self.hidden("lock");
        let mut lock = OpenOptions::new();
        lock.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = lock.custom_flags(libc::O_NOFOLLOW).open(&path).map_err(|error| {
            let message = format!("cannot replace {shown}: cannot write in {}: {}", self.folder.display(), words::io(&error));
            match error.kind() {
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => not_permitted(message),
                _ => failed(message),
            }
        })?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            nix::errno::Errno::EWOULDBLOCK => {
                Fault::new(FaultCode::Busy, format!("another update of {shown} is under way; nothing was done"))
            }
            errno => failed(format!("cannot lock {}: {}", path.display(), words::errno(errno))),
        })?;
        let site = Site { place: self, _lock: lock };
        site.clean_up()?;
        // Whoever held the lock before may have put another program here.
        site.place.is_unchanged()?;
        Ok(site)
    }
}

/// Who else could exchange files in the folder, if somebody.
fn shared(uid: u32, mode: u32, own: u32) -> Option<String> {
    const STICKY: u32 = 0o1000;
    if uid != own && uid != 0 {
        Some(format!("belongs to uid {uid}"))
    } else if mode & 0o002 != 0 && mode & STICKY == 0 {
        Some(format!("has mode {:04o}: everybody can write there", mode & 0o7777))
    } else {
        None
    }
}

fn not_permitted(message: String) -> Fault {
    Fault::new(FaultCode::NotPermitted, message)
}

impl std::ops::Deref for Site {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Site {
    /// Removes what a run that was killed left behind.
    fn clean_up(&self) -> Result<(), Fault> {
        let kept = self.hidden("prev.new");
        // Killed in the middle of a rollback: the program that was to be kept is not under its name yet.
        if fs::symlink_metadata(self.previous()).is_err() && fs::symlink_metadata(&kept).is_ok() {
            self.rename(&kept, &self.previous())?;
        }
        ["new", "prev.new", "record.new"].iter().try_for_each(|what| remove(&self.hidden(what)))
    }

    /// A new file under a name of ours; it must not be there. Only we can read and write it.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn create(&self, path: &Path) -> Result<File, Fault> {
        OpenOptions::new()
            .read(true)
            .write(true)
            // Through no link either: this is O_EXCL.
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| failed(format!("cannot make {}: {}", path.display(), words::io(&error))))
    }

    /// Renames, over what is there; the change is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), Fault> {
        fs::rename(from, to)
            .map_err(|error| failed(format!("cannot rename {} to {}: {}", from.display(), to.display(), words::io(&error))))?;
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed(format!("cannot write {} to disk: {}", self.folder.display(), words::io(&error))))
    }

    /// A second name for a file of ours, or a copy where the file system has no such thing.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn double(&self, from: &Path, to: &Path) -> Result<(), Fault> {
        if fs::hard_link(from, to).is_ok() {
            return Ok(());
        }
        let copied = || -> io::Result<()> {
            let mut source = File::open(from)?;
            let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
            io::copy(&mut source, &mut copy)?;
            copy.set_permissions(source.metadata()?.permissions())?;
            copy.sync_all()
        };
        copied().map_err(|error| failed(format!("cannot copy {} to {}: {}", from.display(), to.display(), words::io(&error))))
    }
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(failed(format!("cannot remove {}: {}", path.display(), words::io(&error))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn installed() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("section3");
        fs::write(&program, "old").expect("a program");
        let place = Place::at(&program).expect("a place");
        (folder, place)
    }

    #[test]
    fn names() {
        let (folder, place) = installed();
        assert_eq!(place.previous(), folder.path().join("section3.prev"));
        assert_eq!(place.hidden("new"), folder.path().join(".section3.new"));
    }

    #[test]
    fn only_a_plain_file_is_a_program() {
        let (folder, place) = installed();
        let link = folder.path().join("link");
        symlink(place.program(), &link).expect("a link");
        assert!(Place::at(&link).is_err_and(|fault| fault.message.contains("symbolic link")));
        assert!(Place::at(folder.path()).is_err_and(|fault| fault.message.contains("no plain file")));
        assert!(Place::at(&folder.path().join("none")).is_err_and(|fault| fault.message.contains("no such file")));
    }

    #[test]
    fn one_at_a_time() {
        let (_folder, place) = installed();
        let site = place.clone().lock().expect("the first");
        let fault = place.clone().lock().err().expect("the second");
        assert_eq!((fault.code, fault.message.contains("another update")), (FaultCode::Busy, true));
        drop(site);
        assert!(place.lock().is_ok());
    }

    #[test]
    fn what_a_killed_run_left_is_removed() {
        let (folder, place) = installed();
        for name in [".section3.new", ".section3.prev.new", ".section3.record.new", "section3.prev"] {
            fs::write(folder.path().join(name), name).expect("a file");
        }
        drop(place.clone().lock().expect("locked"));
        let mut left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, [".section3.lock", "section3", "section3.prev"]);
        // In the middle of a rollback.
        fs::rename(place.previous(), place.hidden("prev.new")).expect("renamed");
        drop(place.clone().lock().expect("locked"));
        assert_eq!(fs::read_to_string(place.previous()).ok().as_deref(), Some("section3.prev"));
        assert!(!place.hidden("prev.new").exists());
    }

    #[test]
    fn a_program_that_was_exchanged_is_left_alone() {
        let (folder, place) = installed();
        let site = place.clone().lock().expect("locked");
        fs::write(folder.path().join("other"), "other").expect("a file");
        fs::rename(folder.path().join("other"), place.program()).expect("renamed");
        assert!(site.is_unchanged().is_err_and(|fault| fault.message.contains("replaced by somebody else")));
        fs::remove_file(place.program()).expect("removed");
        symlink("/bin/sh", place.program()).expect("a link");
        assert!(site.is_unchanged().is_err());
    }

    #[test]
    fn a_program_that_was_exchanged_before_the_lock_is_left_alone() {
        let (folder, place) = installed();
        fs::write(folder.path().join("other"), "other").expect("a file");
        fs::rename(folder.path().join("other"), place.program()).expect("renamed");
        assert!(place.lock().is_err_and(|fault| fault.message.contains("replaced by somebody else")));
    }

    #[test]
    fn what_is_made_is_new_and_only_ours() {
        let (folder, place) = installed();
        let site = place.lock().expect("locked");
        let path = site.hidden("new");
        let file = site.create(&path).expect("made");
        assert_eq!(file.metadata().expect("it").mode() & 0o7777, 0o600);
        assert!(site.create(&path).is_err_and(|fault| fault.message.contains("file exists")));
        // The kernel's file system knows no second names: a copy is made, and over nothing.
        let copy = folder.path().join("copy");
        site.double(Path::new("/proc/version"), &copy).expect("copied");
        assert_eq!(fs::read(&copy).ok(), fs::read("/proc/version").ok());
        assert_eq!(fs::metadata(&copy).expect("it").mode() & 0o7777, 0o444);
        fs::write(&path, "other").expect("written");
        for from in [Path::new("/proc/version"), site.program()] {
            assert!(site.double(from, &path).is_err_and(|fault| fault.message.contains("file exists")));
        }
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), Some("other"));
    }

    #[test]
    fn a_folder_of_everybody_is_refused() {
        let (folder, place) = installed();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("open");
        let fault = place.lock().err().expect("refused");
        assert!(fault.code == FaultCode::NotPermitted && fault.message.contains("everybody can write there"), "{fault}");
        for (uid, mode, own, refused) in [
            (0, 0o40755, 0, false),
            (0, 0o42775, 0, false),
            (0, 0o41777, 1000, false),
            (1000, 0o40755, 1000, false),
            (1000, 0o40755, 0, true),
            (1001, 0o40755, 1000, true),
            (0, 0o40777, 0, true),
        ] {
            assert_eq!(shared(uid, mode, own).is_some(), refused, "{uid} {mode:o} {own}");
        }
    }

    #[test]
    fn a_lock_that_is_a_link_is_not_followed() {
        let (folder, place) = installed();
        symlink(folder.path().join("victim"), place.hidden("lock")).expect("a link");
        assert!(place.lock().is_err());
        assert!(!folder.path().join("victim").exists());
    }
}
