//! The folder of the socket: who holds it, what the last holder left behind, and the socket itself.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen, socket, sockopt,
};

use crate::sys::process;
use crate::sys::words;
use crate::value::Signal;

/// Holds the lock beside the socket for life: at most one supervisor a socket.
#[derive(Debug)]
pub struct Occupancy {
    socket: PathBuf,
    lock: Flock<File>,
    /// Device and inode of the socket that is ours.
    bound: Option<(u64, u64)>,
}

/// Why a socket cannot be ours.
#[derive(Debug)]
pub enum Refusal {
    /// Another supervisor has it.
    Taken(String),
    /// The place cannot be written; another place may do.
    Unwritable(String),
    /// The place is not safe, or worse.
    Unusable(String),
}

impl Refusal {
    /// In words.
    #[must_use]
    pub fn into_message(self) -> String {
        match self {
            Self::Taken(message) | Self::Unwritable(message) | Self::Unusable(message) => message,
        }
    }
}

impl Occupancy {
    /// Takes the lock beside `socket`, making its folder if need be. Touches nothing else.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn take(socket: &Path) -> Result<Self, Refusal> {
        let lock = lock(socket)?;
        // Its file may have been removed from under a supervisor that runs.
        match listening_at(socket) {
            Some(pid) => Err(taken(socket, Some(pid))),
            None => Ok(Self { socket: socket.to_owned(), lock, bound: None }),
        }
    }

    /// The lock that an earlier image of the program took: it was never let go.
    ///
    /// # Errors
    ///
    /// It is not held: somebody removed it from under us.
    pub fn inherited(socket: PathBuf, lock: OwnedFd, bound: Option<(u64, u64)>) -> Result<Self, String> {
        let shown = socket.display().to_string();
        match Flock::lock(File::from(lock), FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { socket, lock, bound }),
            Err((_, errno)) => Err(format!("the lock beside {shown} is not ours any more: {}", words::errno(errno))),
        }
    }

    /// The descriptor of the lock, and what is bound.
    #[must_use]
    pub fn rest(&self) -> (i32, Option<(u64, u64)>) {
        (self.lock.as_raw_fd(), self.bound)
    }

    /// Where the socket is.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The mark of the last holder, if it left one.
    pub fn predecessor(&mut self) -> Option<String> {
        let mut text = String::new();
        self.lock.rewind().and_then(|()| self.lock.read_to_string(&mut text)).ok()?;
        text.split_whitespace().next().map(str::to_owned)
    }

    /// Leaves our own mark.
    ///
    /// # Errors
    ///
    /// What writing says.
    pub fn sign(&mut self, boot: &str) -> std::io::Result<()> {
        self.lock.rewind()?;
        self.lock.set_len(0)?;
        writeln!(self.lock, "{boot} {}", std::process::id())
    }

    /// Makes the socket and listens. What lies in its place is replaced only if it is a socket: the lock says that nobody
    /// uses it.
    ///
    /// # Errors
    ///
    /// What stands in the way.
    pub fn listen(&mut self) -> Result<std::os::unix::net::UnixListener, Refusal> {
        let shown = self.socket.display();
        match fs::symlink_metadata(&self.socket) {
            Ok(found) if found.file_type().is_socket() => {
                fs::remove_file(&self.socket).map_err(|error| unwritable("remove", &self.socket, &error))?;
            }
            Ok(_) => return Err(Refusal::Unusable(format!("{shown} is not a socket; remove it or choose another --socket"))),
            Err(_) => {}
        }
        let failed = |what: &str, errno: Errno| Refusal::Unusable(format!("cannot {what} {shown}: {}", words::errno(errno)));
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let descriptor = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(|errno| failed("make", errno))?;
        // Before bind(2), which gives the file the mode of the descriptor: there is no moment at which it is more open.
        nix::sys::stat::fchmod(&descriptor, nix::sys::stat::Mode::from_bits_truncate(0o600))
            .map_err(|errno| failed("protect", errno))?;
        let address = UnixAddr::new(&self.socket).map_err(|_| {
            Refusal::Unusable(format!("the path of the socket is longer than 107 bytes: {shown}; choose another --socket"))
        })?;
        bind(descriptor.as_raw_fd(), &address).map_err(|errno| failed("bind", errno))?;
        let backlog = Backlog::new(128).map_err(|errno| failed("listen at", errno))?;
        listen(&descriptor, backlog).map_err(|errno| failed("listen at", errno))?;
        self.bound = identity(&self.socket);
        Ok(descriptor.into())
    }

    /// Puts back what was removed from outside: the folder, the lock, the socket. Returns the socket if it is a new one.
    ///
    /// # Errors
    ///
    /// What stands in the way, such as another supervisor that took the place meanwhile.
    pub fn mend(&mut self, boot: &str) -> Result<Option<std::os::unix::net::UnixListener>, Refusal> {
        let name = with_suffix(&self.socket, ".lock");
        if self.lock.metadata().is_ok_and(|meta| identity(&name) != Some((meta.dev(), meta.ino()))) {
            self.lock = if self.is_in_place() { lock(&self.socket)? } else { Self::take(&self.socket)?.lock };
            self.sign(boot).map_err(|error| unwritable("write", &name, &error))?;
        }
        if self.is_in_place() { Ok(None) } else { self.listen().map(Some) }
    }

    /// Whether the socket file is still the one we made.
    fn is_in_place(&self) -> bool {
        let there = identity(&self.socket);
        there.is_some() && there == self.bound
    }

    /// Removes the socket if it is still ours. The lock file stays: removing it could take it from under a successor.
    pub fn leave(self) {
        if self.is_in_place() {
            let _ = fs::remove_file(&self.socket);
        }
        // A clean end leaves nothing behind for the next one to look for.
        let _ = self.lock.set_len(0);
    }
}

/// Ends what is left of the services of a supervisor that was killed: whatever carries its mark. Waits for them, at most
/// two seconds: this is before anything is launched. Returns how many were ended and how many would not go.
#[must_use]
pub fn end_leftovers(boot: &str) -> (usize, usize) {
    let (mut ended, mut left, mut empty_walks) = (Vec::new(), 0, 0);
    for _ in 0..200 {
        left = kill_marked(boot, &mut ended);
        empty_walks = if left > 0 { 0 } else { empty_walks + 1 };
        if empty_walks > EMPTY_WALKS {
            break;
        }
        // Not the event loop yet, and nobody else to wake us: these are not our children.
        let _ = nix::poll::poll(&mut [], PAUSE_MS);
    }
    (ended.len(), left)
}

/// After one walk through the processes that found nothing so many more must, each a while later: what forks faster than one can
/// look slips through some, and one that was stopped in the middle of its exec shows no mark.
const EMPTY_WALKS: u32 = 5;
/// Between two walks.
const PAUSE_MS: u8 = 8;

/// Kills each process with the mark as it is found, and notes whom. Returns how many there were.
fn kill_marked(boot: &str, ended: &mut Vec<i32>) -> usize {
    let me = std::process::id().cast_signed();
    let mut found = 0;
    for process in process::newest_first().into_iter().flatten() {
        let is_other = process.pid != me && process.pid > 1 && !process.is_zombie;
        if is_other && process::variable(process.pid, "SECTION3_BOOT").is_some_and(|mark| mark == boot) {
            found += 1;
            if process::signal_exactly(&process, Signal::KILL).is_ok() && !ended.contains(&process.pid) {
                ended.push(process.pid);
            }
        }
    }
    found
}

/// The lock beside a socket, whose folder is made if need be.
fn lock(socket: &Path) -> Result<Flock<File>, Refusal> {
    let folder = socket.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    make_private(folder)?;
    let path = with_suffix(socket, ".lock");
    let options = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path);
    let file = options.map_err(|error| unwritable("open", &path, &error))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((mut file, Errno::EAGAIN)) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            Err(taken(socket, text.split_whitespace().nth(1).and_then(|pid| pid.parse().ok())))
        }
        Err((_, errno)) => Err(Refusal::Unusable(format!("cannot lock {}: {}", path.display(), words::errno(errno)))),
    }
}

/// Device and inode of what has this name.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn taken(socket: &Path, pid: Option<i32>) -> Refusal {
    let pid = pid.filter(|pid| *pid > 0).map_or_else(String::new, |pid| format!(" (PID {pid})"));
    let shown = socket.display();
    Refusal::Taken(format!(
        "another supervisor{pid} runs at {shown}; talk to it with `section3 status`, or give this one another --socket"
    ))
}

/// Who listens at a socket. Never waits: one whose queue is full is there too, and not asked for its number.
fn listening_at(path: &Path) -> Option<i32> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let descriptor = socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?;
    match connect(descriptor.as_raw_fd(), &UnixAddr::new(path).ok()?) {
        Ok(()) => Some(getsockopt(&descriptor, sockopt::PeerCredentials).map_or(0, |peer| peer.pid())),
        Err(Errno::EAGAIN) => Some(0),
        Err(_) => None,
    }
}

/// A folder of mode 0700 that is ours and nobody else can write.
fn make_private(folder: &Path) -> Result<(), Refusal> {
    let shown = folder.display();
    if !folder.exists() {
        if let Some(parent) = folder.parent().filter(|parent| !parent.exists()) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(parent)
                .map_err(|error| unwritable("make", parent, &error))?;
        }
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(unwritable("make", folder, &error)),
            _ => {}
        }
    }
    let meta = fs::symlink_metadata(folder).map_err(|error| unwritable("look at", folder, &error))?;
    let me = nix::unistd::geteuid().as_raw();
    if !meta.is_dir() {
        return Err(Refusal::Unusable(format!("{shown} is not a folder; choose another --socket")));
    }
    if meta.uid() != me {
        return Err(Refusal::Unusable(format!(
            "{shown} belongs to user {}, not to user {me}; remove it or choose another --socket",
            meta.uid()
        )));
    }
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(Refusal::Unusable(format!(
            "{shown} can be written by others (mode {mode:04o}); chmod 0700 it or choose another --socket"
        )));
    }
    Ok(())
}

fn unwritable(what: &str, path: &Path, error: &std::io::Error) -> Refusal {
    let message = format!("cannot {what} {}: {}", path.display(), words::io(error));
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EROFS | Errno::EACCES | Errno::EPERM | Errno::ENOENT) => Refusal::Unwritable(message),
        _ => Refusal::Unusable(message),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_comes_along_is_ours_or_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("run/s");
        let held = Occupancy::take(&socket).expect("a free place");
        // The same open file, as after an exec.
        let same = held.lock.try_clone().expect("a descriptor");
        let inherited = Occupancy::inherited(socket.clone(), same.into(), Some((1, 2))).expect("ours");
        assert_eq!((inherited.socket(), inherited.bound), (socket.as_path(), Some((1, 2))));
        // The same name, opened by somebody else.
        let other = File::open(with_suffix(&socket, ".lock")).expect("the lock");
        let refusal = Occupancy::inherited(socket, other.into(), None).map(drop).expect_err("another one's");
        assert!(refusal.contains("is not ours any more"), "{refusal}");
    }
}
