//! Signals to the supervisor: blocked, and read from a descriptor.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::value::Signal;

/// A signal that reached the supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrived {
    /// Which.
    pub signal: Signal,
    /// Who sent it; 0 is the kernel, or somebody outside of our PID namespace.
    pub from_pid: u32,
}

/// Blocks every signal, for this thread and the ones it will start, and opens the descriptor they are read from. Must come
/// before the first thread and the first child: from here on no signal is fatal, and none is lost. A fault of our own is fatal
/// all the same: the kernel unblocks its signal first.
///
/// # Errors
///
/// Where the kernel has no descriptor left.
pub fn block_and_open() -> Result<SignalFd, Errno> {
    let set = SigSet::all();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), None)?;
    ignore_reserved();
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// The C library keeps the first real-time signals for itself and lets nobody block them, but whoever sends one ends us. What
/// it wants them for, cancelled threads and a changed uid, does not happen here.
fn ignore_reserved() {
    // The kernel's sigaction: handler, flags, restorer, mask.
    let ignore = [libc::SIG_IGN, 0, 0, 0];
    for signal in 32..libc::SIGRTMIN() {
        // SAFETY: the call reads a structure that lives until it returns, and is told the size of its mask.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, ignore.as_ptr(), 0, 8) };
    }
}

/// The next signal, if one is waiting.
///
/// # Errors
///
/// What `read(2)` says.
pub fn next(descriptor: &SignalFd) -> Result<Option<Arrived>, Errno> {
    let read = descriptor.read_signal()?;
    Ok(read.map(|info| Arrived { signal: Signal::from_number(info.ssi_signo as i32), from_pid: info.ssi_pid }))
}
