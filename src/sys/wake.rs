//! A bell between threads: `eventfd(2)`. Ringing never blocks and any number of rings before an answer are one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Both ends of the bell; clone it for the other thread.
#[derive(Clone, Debug)]
pub struct Wake(Arc<Bell>);

#[derive(Debug)]
struct Bell {
    fd: EventFd,
    state: AtomicU8,
}

/// Somebody rang: saves the system call of whoever rings after that.
const RUNG: u8 = 1;
/// The descriptor is left alone for a while.
const QUIET: u8 = 2;

impl Wake {
    /// A silent bell.
    ///
    /// # Errors
    ///
    /// `eventfd(2)`: out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let fd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self(Arc::new(Bell { fd, state: AtomicU8::new(0) })))
    }

    /// Makes the descriptor readable. Whatever the other side should find must have been put there before.
    pub fn ring(&self) {
        if self.0.state.fetch_or(RUNG, Ordering::AcqRel) == 0 {
            self.write();
        }
    }

    /// Puts off what is rung by anybody until the guard goes, or [`Wake::aloud`]: for who has more urgent things to do than to
    /// wake somebody who then wants the processor.
    #[must_use]
    pub fn quiet(&self) -> Quiet {
        self.0.state.fetch_or(QUIET, Ordering::AcqRel);
        Quiet(self.clone())
    }

    /// Ends the quiet: what was rung meanwhile is rung now.
    pub fn aloud(&self) {
        if self.0.state.fetch_and(!QUIET, Ordering::AcqRel) == RUNG | QUIET {
            self.write();
        }
    }

    fn write(&self) {
        // Fails only where the counter is at its end: then it is readable anyway.
        let _ = self.0.fd.write(1);
    }

    /// Whether the bell was rung since the last [`Wake::silence`]; one load, no system call.
    #[must_use]
    pub fn is_rung(&self) -> bool {
        self.0.state.load(Ordering::Acquire) & RUNG != 0
    }

    /// Makes the descriptor unreadable. Look for what the other side left only after this.
    pub fn silence(&self) {
        // The order matters: in the other one, a ring between the two would be read away and the mark left, and the bell would be
        // dumb for ever. Where nothing can be read, whoever rang has yet to write, and the mark stays until that has been read as
        // well: without it nobody would read it. Every ring changes the state, also to what it was: what it announced is visible.
        if self.0.fd.read().is_ok() {
            self.0.state.fetch_and(!RUNG, Ordering::AcqRel);
        }
    }
}

/// While this is there the bell is quiet.
#[derive(Debug)]
pub struct Quiet(Wake);

impl Drop for Quiet {
    fn drop(&mut self) {
        self.0.aloud();
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn wakes(bell: &Wake) -> bool {
        poll(&mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
    }

    #[test]
    fn many_rings_are_one() {
        let bell = Wake::new().expect("a bell");
        assert!(!bell.is_rung() && !wakes(&bell));
        bell.ring();
        bell.ring();
        assert!(bell.is_rung() && wakes(&bell));
        bell.silence();
        assert!(!bell.is_rung() && !wakes(&bell));
        bell.ring();
        assert!(bell.is_rung() && wakes(&bell));
    }

    #[test]
    fn who_answers_before_the_ring_is_complete_is_not_woken_for_ever() {
        let bell = Wake::new().expect("a bell");
        // Between the two steps of a ring.
        bell.0.state.fetch_or(RUNG, Ordering::AcqRel);
        bell.silence();
        bell.write();
        // Woken, and told why.
        assert!(wakes(&bell) && bell.is_rung());
        bell.silence();
        assert!(!wakes(&bell) && !bell.is_rung());
    }

    #[test]
    fn in_the_quiet_nobody_is_woken_and_after_it_once() {
        let bell = Wake::new().expect("a bell");
        let quiet = bell.quiet();
        bell.ring();
        // Who is awake anyway finds it.
        assert!(!wakes(&bell) && bell.is_rung());
        bell.silence();
        drop(quiet);
        assert!(wakes(&bell) && bell.is_rung());
        bell.silence();
        assert!(!wakes(&bell) && !bell.is_rung());
        drop(bell.quiet());
        assert!(!wakes(&bell) && !bell.is_rung());
        let _quiet = bell.quiet();
        bell.aloud();
        bell.ring();
        assert!(wakes(&bell));
    }

    #[test]
    fn what_was_rung_before_the_quiet_is_heard_in_it() {
        let bell = Wake::new().expect("a bell");
        bell.ring();
        let _quiet = bell.quiet();
        assert!(wakes(&bell) && bell.is_rung());
        bell.silence();
        assert!(!wakes(&bell) && !bell.is_rung());
    }
}
