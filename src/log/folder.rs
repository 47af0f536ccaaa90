//! The log folder. Whoever can write to it can put a link in the place of a log, so it must be ours alone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::sys::{logfile, words};

/// The folder that holds the logs, open.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    fd: OwnedFd,
}

impl Folder {
    /// Opens the folder, and makes it (0750) where it is missing.
    ///
    /// # Errors
    ///
    /// Names the folder: it cannot be made or opened, is a link or no folder, belongs to somebody else, or others can
    /// write to it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let named = |error: &io::Error, what: &str| {
            io::Error::new(error.kind(), format!("cannot {what} log folder {}: {}", path.display(), words::io(error)))
        };
        logfile::make_folder(path).map_err(|error| named(&error, "make"))?;
        let fd = logfile::open_folder(path).map_err(|error| named(&error, "open"))?;
        if let Some(fault) = logfile::folder_fault(&fd).map_err(|error| named(&error, "check"))? {
            return Err(io::Error::other(format!("log folder {} {fault}", path.display())));
        }
        Ok(Self { path: path.to_owned(), fd })
    }

    /// The folder that an earlier image of the program opened and checked.
    #[must_use]
    pub const fn inherited(path: PathBuf, fd: OwnedFd) -> Self {
        Self { path, fd }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the folder that is at the path now, in case the open one was deleted or moved away.
    ///
    /// # Errors
    ///
    /// As [`Folder::open`].
    pub fn refresh(&mut self) -> io::Result<()> {
        if !logfile::is_at(&self.fd, &self.path) {
            *self = Self::open(&self.path)?;
        }
        Ok(())
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn it_is_made_0750_and_must_be_ours_alone() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("state/logs");
        Folder::open(&path).expect("made");
        assert_eq!(std::fs::metadata(&path).expect("stat").permissions().mode() & 0o7777, 0o750);
        for mode in [0o770, 0o777, 0o1777, 0o702] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("chmod");
            let message = Folder::open(&path).expect_err("writable by others").to_string();
            assert!(message.contains(&format!("state/logs has mode {mode:04o}")), "{message}");
        }
        let link = dir.path().join("link");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o750)).expect("chmod");
        symlink(&path, &link).expect("symlink");
        assert!(Folder::open(&link).expect_err("a link").to_string().starts_with("cannot open log folder "));
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(12345), None).expect("chown");
            assert!(Folder::open(&path).expect_err("another's").to_string().contains("is owned by uid 12345"));
        }
    }

    #[test]
    fn a_folder_that_the_kernel_does_not_make_is_an_error() {
        // In /proc mkdir(2) says that the name is missing, though its parent is there.
        let said = Folder::open(Path::new("/proc/section3")).expect_err("made in /proc").to_string();
        assert!(said.starts_with("cannot make log folder /proc/section3: "), "{said}");
    }

    #[test]
    fn a_folder_that_disappeared_is_made_again() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("logs");
        let mut folder = Folder::open(&path).expect("made");
        std::fs::remove_dir(&path).expect("rmdir");
        folder.refresh().expect("made again");
        logfile::open_append(&folder, "web.log").expect("open");
        assert!(path.join("web.log").exists());
    }
}
