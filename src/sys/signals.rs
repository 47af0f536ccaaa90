//! Signals to the supervisor: blocked, and read from a descriptor.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal as Known, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::value::Signal;

/// Faults of our own program: blocked, they would only turn into endless loops or a silent SIGKILL.
const FAULTS: [Known; 7] =
    [Known::SIGSEGV, Known::SIGBUS, Known::SIGFPE, Known::SIGILL, Known::SIGABRT, Known::SIGSYS, Known::SIGTRAP];

/// A signal that reached the supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrived {
    /// Which.
    pub signal: Signal,
    /// Who sent it; 0 is the kernel, or somebody outside of our PID namespace.
    pub from_pid: u32,
}

/// Blocks every signal but faults, for this thread and the ones it will start, and opens the descriptor they are read
/// from. Must come before the first thread and the first child: from here on no signal is fatal, and none is lost.
///
/// # Errors
///
/// Where the kernel has no descriptor left.
pub fn block_and_open() -> Result<SignalFd, Errno> {
    let mut set = SigSet::all();
    for fault in FAULTS {
        set.remove(fault);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), None)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
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
