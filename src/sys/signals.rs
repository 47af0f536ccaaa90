//! Signals to the supervisor: blocked, and read from a descriptor.
#![allow(unsafe_code)]

use std::mem::offset_of;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::read;

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

/// The size of what signalfd(2) tells of one signal.
const INFO: usize = size_of::<libc::signalfd_siginfo>();
/// So many are read at once: fewer are all that there are, and are not asked for again.
const AT_ONCE: usize = 8;

/// The signals that are waiting, none where they cannot be read.
pub fn waiting(descriptor: &SignalFd) -> impl Iterator<Item = Arrived> {
    let mut infos = [0; INFO * AT_ONCE];
    let (mut next, mut end) = (infos.len(), infos.len());
    std::iter::from_fn(move || {
        if next == infos.len() {
            (next, end) = (0, read(descriptor, &mut infos).unwrap_or(0));
        }
        let info = infos.get(next..end)?.first_chunk::<INFO>()?;
        next += INFO;
        let field = |offset: usize| info.get(offset..).and_then(<[u8]>::first_chunk).map(|bytes| u32::from_ne_bytes(*bytes));
        Some(Arrived {
            signal: Signal::from_number(field(offset_of!(libc::signalfd_siginfo, ssi_signo))? as i32),
            from_pid: field(offset_of!(libc::signalfd_siginfo, ssi_pid))?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_wait_are_told_with_their_senders() {
        // Of this thread only, and so is what comes to its descriptor.
        let descriptor = block_and_open().expect("a descriptor");
        assert_eq!(waiting(&descriptor).count(), 0);
        let own = std::process::id();
        let numbers: Vec<i32> = (0..2 * AT_ONCE as i32 + 1).map(|nth| libc::SIGRTMIN() + nth).collect();
        for count in [1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE, numbers.len()] {
            for number in &numbers[..count] {
                // SAFETY: the call takes integers; the signal is blocked in this thread, to which it goes.
                assert_eq!(unsafe { libc::syscall(libc::SYS_tgkill, own, libc::gettid(), *number) }, 0);
            }
            let told: Vec<_> = waiting(&descriptor).map(|arrived| (arrived.signal, arrived.from_pid)).collect();
            let sent: Vec<_> = numbers[..count].iter().map(|number| (Signal::from_number(*number), own)).collect();
            assert_eq!(told, sent);
            assert_eq!(waiting(&descriptor).count(), 0);
        }
    }
}
