//! A bell between threads: `eventfd(2)`. Ringing never blocks and any number of rings before an answer are one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Both ends of the bell; clone it for the other thread.
#[derive(Clone, Debug)]
pub struct Wake(Arc<Bell>);

#[derive(Debug)]
struct Bell {
    fd: EventFd,
    /// Saves the system call where the bell is ringing already.
    rung: AtomicBool,
}

impl Wake {
    /// A silent bell.
    ///
    /// # Errors
    ///
    /// `eventfd(2)`: out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let fd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self(Arc::new(Bell { fd, rung: AtomicBool::new(false) })))
    }

    /// Makes the descriptor readable. Whatever the other side should find must have been put there before.
    pub fn ring(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            // Fails only where the counter is at its end: then it is readable anyway.
            let _ = self.0.fd.write(1);
        }
    }

    /// Whether the bell was rung since the last [`Wake::silence`]; one load, no system call.
    #[must_use]
    pub fn is_rung(&self) -> bool {
        self.0.rung.load(Ordering::Acquire)
    }

    /// Makes the descriptor unreadable. Look for what the other side left only after this.
    pub fn silence(&self) {
        // The order matters: in the other one, a ring between the two lines would be read away and the flag left up, and
        // the bell would be dumb for ever. The swap (not a store) makes what that ring announced visible here.
        let _ = self.0.fd.read();
        self.0.rung.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}
