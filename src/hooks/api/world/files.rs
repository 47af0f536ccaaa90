//! The files of a script: below its own folder and below the log folder, and nowhere else.
//!
//! A path is walked part by part from its root, and no part is a link: none that was there, and none that is put there
//! meanwhile, leads out. Everything here may wait for a disk: call it on a thread that may.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use crate::hooks::script::{FileChange, IoFault};
use crate::sys::words;

/// Entries of a folder that are listed.
const MAX_ENTRIES: usize = 10_000;

/// Where a script may go.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Its own folder; made when something is first put there.
    pub state: PathBuf,
    /// Where the logs are.
    pub logs: PathBuf,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// `file`, `dir` or `other`.
    pub kind: &'static str,
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: f64,
    /// What stays the same when it is renamed or linked.
    pub inode: u64,
}

/// The file in which a script's `kv` is: beside the script's own folder, so that no script writes it by hand.
#[must_use]
pub fn kept(state_dir: &Path) -> PathBuf {
    let mut name = state_dir.file_name().map_or_else(|| OsString::from("kv"), OsString::from);
    name.push(".kv.json");
    state_dir.with_file_name(name)
}

impl Roots {
    /// The root that a path lies in, and its parts below it. Relative paths start at the script's own folder.
    ///
    /// # Errors
    ///
    /// Where it leads out of both, in words.
    pub fn place(&self, path: &Path) -> Result<(&Path, Vec<OsString>), String> {
        let rule = || {
            format!(
                "`{}` is neither below the script's own folder {} nor below the log folder {}",
                path.display(),
                self.state.display(),
                self.logs.display()
            )
        };
        let (root, below) = if path.is_relative() {
            (self.state.as_path(), path)
        } else {
            [self.state.as_path(), self.logs.as_path()]
                .into_iter()
                .find_map(|root| path.strip_prefix(root).ok().map(|below| (root, below)))
                .ok_or_else(rule)?
        };
        let mut parts = Vec::new();
        for part in below.components() {
            match part {
                Component::Normal(name) => parts.push(name.to_owned()),
                Component::CurDir => {}
                _ => return Err(rule()),
            }
        }
        Ok((root, parts))
    }

    /// The whole path of one that may be relative.
    ///
    /// # Errors
    ///
    /// As [`Self::place`].
    pub fn absolute(&self, path: &Path) -> Result<PathBuf, String> {
        let (root, parts) = self.place(path)?;
        Ok(parts.iter().fold(root.to_owned(), |path, part| path.join(part)))
    }

    /// Whether a path lies in the log folder rather than in the script's own.
    #[must_use]
    pub fn is_log(&self, path: &Path) -> bool {
        self.place(path).is_ok_and(|(root, _)| root == self.logs && self.logs != self.state)
    }

    /// The folder that holds a path's last part, and that part; none for the root itself.
    fn parent(&self, path: &Path) -> Result<(OwnedFd, Option<OsString>), IoFault> {
        let (root, mut parts) = self.place(path).map_err(|what| IoFault { code: "outside", message: what, retryable: false })?;
        if root == self.state {
            make_root(root).map_err(|errno| fault(root, errno))?;
        }
        let last = parts.pop();
        let folder = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut at = nix::fcntl::open(root, folder, Mode::empty()).map_err(|errno| fault(root, errno))?;
        for part in &parts {
            at = openat(&at, part.as_os_str(), folder | OFlag::O_NOFOLLOW, Mode::empty()).map_err(|errno| fault(path, errno))?;
        }
        Ok((at, last))
    }

    /// Opens a regular file to read, with its size.
    ///
    /// # Errors
    ///
    /// What the kernel says; where it is no regular file.
    pub fn open(&self, path: &Path) -> Result<(File, u64), IoFault> {
        let (folder, name) = self.parent(path)?;
        let name = name.ok_or_else(|| fault(path, Errno::EISDIR))?;
        // Without O_NONBLOCK a fifo would hold the thread until somebody writes.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&folder, name.as_os_str(), flags, Mode::empty()).map_err(|errno| fault(path, errno))?;
        let stat = fstat(&file).map_err(|errno| fault(path, errno))?;
        match kind(&stat) {
            "file" => Ok((File::from(file), size(&stat))),
            "dir" => Err(fault(path, Errno::EISDIR)),
            _ => Err(IoFault { code: "invalid", message: format!("{} is no regular file", path.display()), retryable: false }),
        }
    }

    /// A file's bytes.
    ///
    /// # Errors
    ///
    /// What the kernel says; where it is longer than `most`.
    pub fn read(&self, path: &Path, most: usize) -> Result<Vec<u8>, IoFault> {
        let (file, _) = self.open(path)?;
        let mut bytes = Vec::new();
        let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut bytes).map_err(|error| from_io(path, &error))?;
        if bytes.len() > most {
            let message = format!("{} is longer than {most} bytes; ask for more with the second argument", path.display());
            return Err(IoFault { code: "too_large", message, retryable: false });
        }
        Ok(bytes)
    }

    /// What is in a folder, newest first.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn list(&self, path: &Path) -> Result<Vec<Entry>, IoFault> {
        let (folder, name) = self.parent(path)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let name = name.unwrap_or_else(|| OsString::from("."));
        let mut dir = Dir::openat(&folder, name.as_os_str(), flags, Mode::empty()).map_err(|errno| fault(path, errno))?;
        let path = self.absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut names = Vec::new();
        for entry in dir.iter().take(MAX_ENTRIES) {
            let name = entry.map_err(|errno| fault(&path, errno))?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        let mut out = Vec::with_capacity(names.len());
        for name in names {
            // One that went away meanwhile is not there.
            if let Ok(stat) = fstatat(&dir, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                out.push(entry(path.join(&name), name, &stat));
            }
        }
        out.sort_by(|a, b| b.mtime.total_cmp(&a.mtime).then_with(|| b.name.cmp(&a.name)));
        Ok(out)
    }

    /// One file or folder.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn stat(&self, path: &Path) -> Result<Entry, IoFault> {
        let (folder, name) = self.parent(path)?;
        let stat = match &name {
            Some(name) => fstatat(&folder, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW),
            None => fstat(&folder),
        };
        let absolute = self.absolute(path).unwrap_or_else(|_| path.to_owned());
        let name = absolute.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(entry(absolute, name, &stat.map_err(|errno| fault(path, errno))?))
    }

    /// Changes something.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn change(&self, change: &FileChange) -> Result<(), IoFault> {
        match change {
            FileChange::Write { path, bytes } => self.replace(path, bytes),
            FileChange::Append { path, bytes } => self.append(path, bytes),
            FileChange::Rename { from, to } => {
                let ((old, from_name), (new, to_name)) = (self.parent(from)?, self.parent(to)?);
                let from_name = from_name.ok_or_else(|| fault(from, Errno::EBUSY))?;
                let to_name = to_name.ok_or_else(|| fault(to, Errno::EBUSY))?;
                renameat(&old, from_name.as_os_str(), &new, to_name.as_os_str()).map_err(|errno| fault(from, errno))
            }
            FileChange::Remove { path } => {
                let (folder, name) = self.parent(path)?;
                let name = name.ok_or_else(|| fault(path, Errno::EBUSY))?;
                match unlinkat(&folder, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
                    Err(Errno::EISDIR | Errno::EPERM) => unlinkat(&folder, name.as_os_str(), UnlinkatFlags::RemoveDir),
                    done => done,
                }
                .map_err(|errno| fault(path, errno))
            }
            FileChange::MakeDir { path } => self.make_dirs(path),
            FileChange::Keep { bytes } => {
                let path = kept(&self.state);
                let folder = path.parent().unwrap_or(Path::new("/"));
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                let folder = nix::fcntl::open(folder, flags, Mode::empty()).map_err(|errno| fault(&path, errno))?;
                let name = path.file_name().unwrap_or_default();
                replace_in(&folder, name, bytes).map_err(|error| from_io(&path, &error))
            }
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), IoFault> {
        let (folder, name) = self.parent(path)?;
        let name = name.ok_or_else(|| fault(path, Errno::EISDIR))?;
        replace_in(&folder, &name, bytes).map_err(|error| from_io(path, &error))
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> Result<(), IoFault> {
        let (folder, name) = self.parent(path)?;
        let name = name.ok_or_else(|| fault(path, Errno::EISDIR))?;
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&folder, name.as_os_str(), flags, private()).map_err(|errno| fault(path, errno))?;
        let stat = fstat(&file).map_err(|errno| fault(path, errno))?;
        if kind(&stat) != "file" {
            return Err(IoFault { code: "invalid", message: format!("{} is no regular file", path.display()), retryable: false });
        }
        File::from(file).write_all(bytes).map_err(|error| from_io(path, &error))
    }

    fn make_dirs(&self, path: &Path) -> Result<(), IoFault> {
        let (root, parts) = self.place(path).map_err(|what| IoFault { code: "outside", message: what, retryable: false })?;
        if root == self.state {
            make_root(root).map_err(|errno| fault(root, errno))?;
        }
        let folder = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut at = nix::fcntl::open(root, folder, Mode::empty()).map_err(|errno| fault(root, errno))?;
        for part in &parts {
            match mkdirat(&at, part.as_os_str(), Mode::S_IRWXU) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(fault(path, errno)),
            }
            at = openat(&at, part.as_os_str(), folder | OFlag::O_NOFOLLOW, Mode::empty()).map_err(|errno| fault(path, errno))?;
        }
        Ok(())
    }
}

/// The script's own folder; the one above it is there.
fn make_root(root: &Path) -> Result<(), Errno> {
    match nix::unistd::mkdir(root, Mode::S_IRWXU) {
        Err(Errno::EEXIST) => Ok(()),
        done => done,
    }
}

const fn private() -> Mode {
    Mode::S_IRUSR.union(Mode::S_IWUSR)
}

/// At every moment the file is wholly the old or wholly the new one, also after a loss of power.
fn replace_in(folder: &OwnedFd, name: &std::ffi::OsStr, bytes: &[u8]) -> std::io::Result<()> {
    // One script writes from one thread at a time, but a host that was killed may have left its file.
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let open = || openat(folder, temporary.as_os_str(), flags, private());
    let file = match open() {
        Err(Errno::EEXIST) => {
            unlinkat(folder, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
            open()?
        }
        opened => opened?,
    };
    let mut file = File::from(file);
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    let put = written.and_then(|()| Ok(renameat(folder, temporary.as_os_str(), folder, name)?));
    if put.is_err() {
        let _gone = unlinkat(folder, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
    } else if let Ok(folder) = openat(folder, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        // Not every file system can: the rename is done anyway.
        let _unable = fsync(folder.as_fd());
    }
    put
}

fn kind(stat: &FileStat) -> &'static str {
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => "file",
        SFlag::S_IFDIR => "dir",
        _ => "other",
    }
}

fn size(stat: &FileStat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

#[allow(clippy::cast_precision_loss, reason = "exact for the next 200 million years")]
fn entry(path: PathBuf, name: String, stat: &FileStat) -> Entry {
    let mtime = stat.st_mtime as f64 + stat.st_mtime_nsec as f64 / 1e9;
    Entry { name, path, kind: kind(stat), size: size(stat), mtime, inode: stat.st_ino }
}

fn fault(path: &Path, errno: Errno) -> IoFault {
    let (code, retryable) = match errno {
        Errno::ENOENT => ("not_found", false),
        Errno::EACCES | Errno::EPERM | Errno::EROFS => ("not_permitted", false),
        Errno::ELOOP | Errno::ENOTDIR => ("outside", false),
        Errno::ENOSPC | Errno::EDQUOT => ("full", true),
        Errno::EEXIST | Errno::ENOTEMPTY => ("exists", false),
        _ => ("io", false),
    };
    let what = match errno {
        Errno::ELOOP => "a part of it is a link, and links are not followed here".to_owned(),
        errno => words::errno(errno),
    };
    IoFault { code, message: format!("{}: {what}", path.display()), retryable }
}

fn from_io(path: &Path, error: &std::io::Error) -> IoFault {
    error.raw_os_error().map_or_else(
        || IoFault { code: "io", message: format!("{}: {}", path.display(), words::io(error)), retryable: false },
        |number| fault(path, Errno::from_raw(number)),
    )
}

#[cfg(test)]
mod tests;
