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
            how @ (libc::CLD_KILLED | libc::CLD_DUMPED) => {
                ExitStatus::Signal { signal: Signal::from_number(code), core: how == libc::CLD_DUMPED }
            }
            // Not asked for, and told all the same: it has made us its tracer.
            _ => {
                let_go(pid, code);
                continue;
            }
        };
        return Some(Zombie { pid, status });
    }
}

/// Ends the tracing of a child that called `PTRACE_TRACEME`, as some programs do to keep debuggers away. Else it would stop at
/// its first signal and wait for us for ever. It gets the signal it stopped at, but for the SIGTRAP that follows an exec.
fn let_go(pid: i32, stopped_at: i32) {
    let pass_on = if stopped_at == libc::SIGTRAP { 0 } else { stopped_at };
    let nowhere = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the call takes integers; no memory of ours or of the child is touched.
    let detached = unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, nowhere, pass_on as usize) };
    if detached == -1 && Errno::last() != Errno::ESRCH {
        // It was not reaped, so the number is its own; and the others behind it want to be seen.
        // SAFETY: the call takes two integers and touches no memory.
        unsafe { libc::kill(pid, libc::SIGKILL) };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A child that makes this thread its tracer and sends itself a signal; how it ends.
    fn traced(signal: i32) -> Option<ExitStatus> {
        // SAFETY: after the fork the child makes system calls only.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: the calls take integers; none of them allocates or takes a lock.
            unsafe {
                libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                libc::kill(libc::getpid(), signal);
                libc::_exit(7)
            }
        }
        let zombie = until_ended(pid)?;
        let _ = reap(zombie);
        Some(zombie.status)
    }

    #[test]
    fn a_child_that_stops_for_its_tracer_has_not_ended() {
        for harmless in [libc::SIGURG, libc::SIGTRAP] {
            assert_eq!(traced(harmless), Some(ExitStatus::Code(7)), "signal {harmless}");
        }
        let killed = ExitStatus::Signal { signal: Signal::from_number(libc::SIGTERM), core: false };
        assert_eq!(traced(libc::SIGTERM), Some(killed));
    }
}
