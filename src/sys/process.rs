//! Processes of others: signals that cannot hit a stranger, and the process tree.

use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::value::Signal;

/// A line of `/proc/PID/stat`, see `proc(5)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// Whether it has ended and only waits to be reaped.
    pub is_zombie: bool,
    /// When it began, in clock ticks since boot: with the number it names one process for ever.
    pub began: u64,
}

/// Signals the main process of a run.
///
/// # Errors
///
/// `ESRCH` where it is gone, `EPERM` where it is not ours to signal.
///
/// # Panics
///
/// On a number below 2, which would mean everybody, ourselves or PID 1.
pub fn signal_leader(pid: i32, signal: Signal) -> Result<(), Errno> {
    assert!(pid > 1, "refusing to signal process {pid}");
    // SAFETY: kill touches no memory.
    Errno::result(unsafe { libc::kill(pid, signal.number()) }).map(drop)
}

/// Signals the process group of a leader that was not reaped yet.
///
/// # Errors
///
/// `ESRCH` where the group is empty, `EPERM` where no member is ours to signal.
///
/// # Panics
///
/// On a number below 2, which would mean everybody, ourselves or PID 1's group.
pub fn signal_group(leader: i32, signal: Signal) -> Result<(), Errno> {
    assert!(leader > 1, "refusing to signal process group {leader}");
    // SAFETY: kill touches no memory.
    Errno::result(unsafe { libc::kill(-leader, signal.number()) }).map(drop)
}

/// Signals exactly this process, and nobody who got its number after it: its start time is compared again once a pidfd
/// holds it.
///
/// # Errors
///
/// `ESRCH` where it is gone, `EPERM` where it is not ours to signal.
pub fn signal_exactly(process: &Process, signal: Signal) -> Result<(), Errno> {
    assert!(process.pid > 1, "refusing to signal process {}", process.pid);
    // SAFETY: the call takes two integers and touches no memory.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, process.pid, 0) };
    if opened == -1 {
        return match Errno::last() {
            // Before Linux 5.3, or forbidden: the check alone must do.
            Errno::ENOSYS | Errno::EPERM if is_same(process) => signal_leader(process.pid, signal),
            Errno::ENOSYS | Errno::EPERM => Err(Errno::ESRCH),
            errno => Err(errno),
        };
    }
    // SAFETY: the kernel gave us this descriptor and nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(opened as i32) };
    if !is_same(process) {
        return Err(Errno::ESRCH);
    }
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed: the kernel fills in what kill(2) would.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal.number(), no_info, 0) };
    Errno::result(sent).map(drop)
}

fn is_same(process: &Process) -> bool {
    stat(process.pid).is_some_and(|now| now.began == process.began)
}

/// One process, or `None` where it is gone or `/proc` is not to be read.
#[must_use]
pub fn stat(pid: i32) -> Option<Process> {
    let mut buffer = [0; 1024];
    let read = fs::File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut buffer)).ok()?;
    parse_stat(pid, buffer.get(..read)?)
}

/// The name in parentheses may hold anything, blanks and parentheses included: the last `)` ends it.
fn parse_stat(pid: i32, line: &[u8]) -> Option<Process> {
    let after_name = line.iter().rposition(|byte| *byte == b')')? + 1;
    let fields: Vec<&str> = std::str::from_utf8(line.get(after_name..)?).ok()?.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse().ok();
    Some(Process {
        pid,
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        is_zombie: matches!(*fields.first()?, "Z" | "X"),
        began: fields.get(19)?.parse().ok()?,
    })
}

/// Every process there is, the newest numbers first. Each is looked at when its turn comes: one that forks and ends, again and
/// again, would be gone once all were looked at.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn newest_first() -> std::io::Result<impl Iterator<Item = Process>> {
    let mut pids: Vec<i32> = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    pids.sort_unstable();
    Ok(pids.into_iter().rev().filter_map(stat))
}

/// Every process that `/proc` shows, by number.
///
/// # Errors
///
/// Where `/proc` is not mounted or not to be read.
pub fn census() -> std::io::Result<Vec<Process>> {
    let mut all: Vec<Process> = newest_first()?.collect();
    all.reverse();
    Ok(all)
}

/// Our own children, adopted orphans included; `None` where the kernel does not list them
/// (`CONFIG_PROC_CHILDREN`, `/proc` restricted).
#[must_use]
pub fn children() -> Option<Vec<i32>> {
    let pid = std::process::id();
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Some(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// The value of a variable in the environment a process was started with, read as far as 256 KiB.
#[must_use]
pub fn variable(pid: i32, name: &str) -> Option<String> {
    let mut environ = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(256 << 10).read_to_end(&mut environ).ok()?;
    let entry = environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(entry.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_moves_no_field() {
        let line = b"7 (a) R 1 (b) c) S 3 4 5 0 -1 1 2 3 4 5 6 7 8 9 10 11 1 0 4242 9 9\n";
        let process = parse_stat(7, line).expect("parsed");
        assert_eq!((process.parent, process.group, process.session, process.is_zombie, process.began), (3, 4, 5, false, 4242));
        assert_eq!(parse_stat(7, b"7 (cut"), None);
        assert_eq!(parse_stat(7, b""), None);
    }

    #[test]
    fn we_are_in_the_census() {
        let me = std::process::id() as i32;
        let found = census().expect("/proc").into_iter().find(|process| process.pid == me).expect("ourselves");
        assert!(!found.is_zombie && is_same(&found));
        assert!(!is_same(&Process { began: found.began + 1, ..found }));
    }

    #[test]
    #[should_panic(expected = "refusing to signal process group 1")]
    fn never_everybody() {
        let _ = signal_group(1, Signal::TERM);
    }
}
