//! Who ended, and how.

use std::time::Duration;

use nix::errno::Errno;

use crate::value::{ExitStatus, Signal};

/// A child that ended and was not reaped yet: its number is still its own, so its group can be signalled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Zombie {
    /// Process id.
    pub pid: i32,
    /// How it ended.
    pub status: ExitStatus,
}

/// What `wait4(2)` tells of a reaped child.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename = "[]")]
pub struct Usage {
    /// Largest resident set, in bytes.
    pub max_rss_bytes: u64,
    /// CPU in user mode.
    pub cpu_user: Duration,
    /// CPU in the kernel.
    pub cpu_sys: Duration,
}

/// Looks at one ended child without reaping it; `None` where there is none. Does not wait.
///
/// nix's `waitid` is not used: it fails on a child that a real-time signal ended.
#[must_use]
pub fn peek() -> Option<Zombie> {
    look(libc::P_ALL, 0, libc::WNOHANG)
}

/// Waits until this child has ended, and does not reap it. `None` where there is no such child.
#[must_use]
pub fn until_ended(pid: i32) -> Option<Zombie> {
    look(libc::P_PID, pid.unsigned_abs(), 0)
}

fn look(whose: libc::idtype_t, id: libc::id_t, patience: i32) -> Option<Zombie> {
    loop {
        // SAFETY: siginfo_t is plain data, and all zeroes is a value of it: "nothing".
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOWAIT | patience;
        // SAFETY: the pointer is to a live siginfo_t.
        let result = unsafe { libc::waitid(whose, id, &raw mut info, flags) };
        if result == -1 && Errno::last() == Errno::EINTR {
            continue;
        }
        // SAFETY: the fields of SIGCHLD are valid: the kernel filled them, or they are zero.
        let (pid, code) = unsafe { (info.si_pid(), info.si_status()) };
        if result == -1 || pid == 0 {
            return None; // ECHILD, or nobody ended.
        }
        let status = match info.si_code {
            libc::CLD_EXITED => ExitStatus::Code(code as u8),
            how => ExitStatus::Signal { signal: Signal::from_number(code), core: how == libc::CLD_DUMPED },
        };
        return Some(Zombie { pid, status });
    }
}

/// Reaps a child that [`peek`] showed. From here on its number may be anybody's.
#[must_use]
pub fn reap(zombie: Zombie) -> Usage {
    // SAFETY: rusage is plain data, and all zeroes is a value of it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a null status is allowed, and the other pointer is to a live rusage.
    unsafe { libc::wait4(zombie.pid, std::ptr::null_mut(), libc::WNOHANG, &raw mut usage) };
    let time = |t: libc::timeval| Duration::new(t.tv_sec.unsigned_abs(), t.tv_usec.unsigned_abs() as u32 * 1000);
    Usage { max_rss_bytes: usage.ru_maxrss.unsigned_abs() * 1024, cpu_user: time(usage.ru_utime), cpu_sys: time(usage.ru_stime) }
}
