//! Descriptors kept back: services and their logs may not take the last ones, or nobody could connect to stop them.
//!
//! The kernel gives the lowest free number, so the number of a new descriptor tells how many are open.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

/// The limit of this process; until it is told, none.
static LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);

/// What a descriptor is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The output of a run: not from the last quarter (at most 80: every client and a little more).
    Output,
    /// A log file: not from the upper half, so that there are runs to log.
    Log,
}

impl Purpose {
    const fn ceiling(self, limit: u64) -> u64 {
        match self {
            Self::Output => limit - if limit / 4 < 80 { limit / 4 } else { 80 },
            Self::Log => limit / 2,
        }
    }
}

/// Tells the limit of open descriptors.
pub fn set_limit(limit: u64) {
    LIMIT.store(limit, Ordering::Relaxed);
}

/// Keeps a descriptor that was just opened, unless it comes from the reserve.
///
/// # Errors
///
/// `EMFILE`, as if there were no more; the descriptor is closed.
pub fn outside(descriptor: OwnedFd, purpose: Purpose) -> Result<OwnedFd, Errno> {
    let number = u64::try_from(descriptor.as_raw_fd()).unwrap_or(u64::MAX);
    if number < purpose.ceiling(LIMIT.load(Ordering::Relaxed)) { Ok(descriptor) } else { Err(Errno::EMFILE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_descriptors_are_for_clients() {
        for (limit, output, log) in [(64, 48, 32), (1024, 944, 512), (1 << 20, (1 << 20) - 80, 1 << 19)] {
            assert_eq!((Purpose::Output.ceiling(limit), Purpose::Log.ceiling(limit)), (output, log));
        }
    }
}
