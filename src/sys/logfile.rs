//! Files of a log folder, always relative to the folder's descriptor and never through a link. A FIFO, a device or a link
//! in the place of a log is an error, not something to wait for or to write into.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, mkdir, unlinkat};

use super::reserve;

/// Mode of a log: the group may read.
const LOG_MODE: Mode = Mode::from_bits_truncate(0o640);
/// Mode of a folder that we make.
const FOLDER_MODE: Mode = Mode::from_bits_truncate(0o750);

/// Which file it is, whatever its name is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

/// What is known of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which file.
    pub identity: Identity,
    /// Its length in bytes.
    pub size: u64,
}

/// Makes a folder 0750, whatever the umask, and those above it that are missing. An existing one is left alone.
///
/// # Errors
///
/// `mkdir(2)`.
pub fn make_folder(path: &Path) -> io::Result<()> {
    match mkdir(path, FOLDER_MODE) {
        Ok(()) => {
            fchmod(open_folder(path)?, FOLDER_MODE)?;
            Ok(())
        }
        Err(Errno::EEXIST) => Ok(()),
        Err(Errno::ENOENT) => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).ok_or(Errno::ENOENT)?;
            make_folder(parent)?;
            // Not this function again: in /proc a name stays missing however often its parent is there.
            mkdir(path, FOLDER_MODE)?;
            fchmod(open_folder(path)?, FOLDER_MODE)?;
            Ok(())
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a folder, not a link to one.
///
/// # Errors
///
/// `open(2)`; `ENOTDIR` also for a link.
pub fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// Why a folder is not safe to keep logs in, in words that follow its name; `None` where it is.
///
/// # Errors
///
/// `fstat(2)`.
pub fn folder_fault(folder: impl AsFd) -> io::Result<Option<String>> {
    let stat = fstat(folder)?;
    let us = geteuid().as_raw();
    if stat.st_uid != us {
        return Ok(Some(format!("is owned by uid {}, it must be owned by uid {us}", stat.st_uid)));
    }
    if stat.st_mode & 0o022 != 0 {
        return Ok(Some(format!(
            "has mode {:04o}, so others can write to it; it must not be writable by group or others, run `chmod 0750` on it",
            stat.st_mode & 0o7777
        )));
    }
    Ok(None)
}

/// Whether the folder at `path` is the one that `folder` has open.
#[must_use]
pub fn is_at(folder: impl AsFd, path: &Path) -> bool {
    match (fstat(folder), nix::sys::stat::lstat(path)) {
        (Ok(open), Ok(named)) => identity_of(&open) == identity_of(&named),
        _ => false,
    }
}

/// Opens a log for appending (and reading back), and makes it 0640 where there is none.
///
/// # Errors
///
/// `openat(2)`: `ELOOP` for a link, `EISDIR`, `ENXIO` and so on; "not a regular file" for anything else that is none.
pub fn open_append(folder: impl AsFd, name: &str) -> io::Result<(File, Facts)> {
    let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let made = openat(&folder, name, flags | OFlag::O_CREAT | OFlag::O_EXCL, LOG_MODE);
    let (fd, is_new) = match made {
        Ok(fd) => (fd, true),
        // Gone again between the two calls is an error like any other: the caller tries later.
        Err(Errno::EEXIST) => (openat(&folder, name, flags, Mode::empty())?, false),
        Err(errno) => return Err(errno.into()),
    };
    let fd = reserve::outside(fd, reserve::Purpose::Log)?;
    let stat = fstat(&fd)?;
    if is_new && stat.st_mode & 0o777 != LOG_MODE.bits() {
        // The umask took something away.
        fchmod(&fd, LOG_MODE)?;
    }
    Ok((File::from(fd), facts_of_regular(&stat)?))
}

/// Opens a log for reading only.
///
/// # Errors
///
/// As [`open_append`], and `ENOENT`.
pub fn open_read(folder: impl AsFd, name: &str) -> io::Result<(File, Facts)> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = openat(&folder, name, flags, Mode::empty())?;
    let facts = facts_of_regular(&fstat(&fd)?)?;
    Ok((File::from(fd), facts))
}

/// What is known of an open log now.
///
/// # Errors
///
/// `fstat(2)`.
pub fn facts(file: impl AsFd) -> io::Result<Facts> {
    facts_of_regular(&fstat(file)?)
}

/// Which file has this name now; `None` where there is none.
///
/// # Errors
///
/// `fstatat(2)`.
pub fn identity(folder: impl AsFd, name: &str) -> io::Result<Option<Identity>> {
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(identity_of(&stat))),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Gives a file another name; one that had that name before is replaced.
///
/// # Errors
///
/// `renameat(2)`.
pub fn rename(folder: impl AsFd, from: &str, to: &str) -> io::Result<()> {
    Ok(renameat(&folder, from, &folder, to)?)
}

/// Takes a file's name away.
///
/// # Errors
///
/// `unlinkat(2)`; `EISDIR` for a folder.
pub fn unlink(folder: impl AsFd, name: &str) -> io::Result<()> {
    Ok(unlinkat(folder, name, UnlinkatFlags::NoRemoveDir)?)
}

fn facts_of_regular(stat: &FileStat) -> io::Result<Facts> {
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(Facts { identity: identity_of(stat), size: u64::try_from(stat.st_size).unwrap_or(0) })
}

#[allow(clippy::useless_conversion, reason = "the width of these fields differs between targets")]
fn identity_of(stat: &FileStat) -> Identity {
    Identity { device: stat.st_dev.into(), inode: stat.st_ino.into() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().expect("tempdir");
        let fd = open_folder(dir.path()).expect("folder");
        (dir, fd)
    }

    #[test]
    fn only_a_regular_file_is_a_log() {
        let (dir, fd) = folder();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "keep").expect("write");
        symlink(&victim, dir.path().join("link.log")).expect("symlink");
        nix::unistd::mkfifo(&dir.path().join("fifo.log"), Mode::S_IRWXU).expect("mkfifo");
        std::fs::create_dir(dir.path().join("dir.log")).expect("mkdir");
        for name in ["link.log", "fifo.log", "dir.log"] {
            assert!(open_append(&fd, name).is_err(), "{name} was opened for appending");
            assert!(open_read(&fd, name).is_err(), "{name} was opened for reading");
        }
        assert_eq!(std::fs::read_to_string(victim).expect("read"), "keep");
    }

    #[test]
    fn a_new_log_has_mode_0640() {
        let (dir, fd) = folder();
        let (_, made) = open_append(&fd, "web.log").expect("open");
        let path = dir.path().join("web.log");
        assert_eq!(std::fs::metadata(&path).expect("stat").permissions().mode() & 0o7777, 0o640);
        // The operator's own mode of an existing one stays.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("chmod");
        let (_, again) = open_append(&fd, "web.log").expect("open");
        assert_eq!(made.identity, again.identity);
        assert_eq!(std::fs::metadata(&path).expect("stat").permissions().mode() & 0o7777, 0o600);
    }
}
