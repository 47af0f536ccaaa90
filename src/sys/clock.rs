//! The clocks.

use std::time::SystemTime;

use crate::value::Moment;

/// `CLOCK_MONOTONIC`, now; see `clock_gettime(2)`. Everything that is timed is timed with it: steps of the wall clock
/// change nothing.
#[must_use]
pub fn monotonic() -> Moment {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec; the call writes nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    // Both fields are never negative on this clock.
    Moment::from_nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// The wall clock, now: for display only.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}
