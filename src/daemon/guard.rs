//! The last line of defence: a fault of our own in one piece of work ends that piece, not PID 1 and everything under it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sys::words;

/// Does a piece of work; a panic in it is reported and survived. What the piece was changing may be left half changed: for
/// one service that is better than the end of all.
pub fn guarded(piece: impl FnOnce()) {
    if let Err(fault) = catch_unwind(AssertUnwindSafe(piece)) {
        tracing::error!("went on after a fault of section3 itself, please report it: {}", words::fault(&*fault));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g35_a_fault_in_one_piece_is_survived() {
        let mut done = 0;
        guarded(|| done += 1);
        guarded(|| panic!("planted"));
        guarded(|| done += 1);
        assert_eq!(done, 2);
    }
}
