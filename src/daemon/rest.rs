//! Rest: a supervisor has nothing to do nearly all the time, and weighs what it has to remember then, not what it can do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::sys::memory;
use crate::value::Moment;

/// So long after the last turn of the loop.
const AFTER: Duration = Duration::from_secs(1);

/// Whether the loop's next wait is its rest.
static BEGINS: AtomicBool = AtomicBool::new(false);

/// When the loop comes to rest: once after everything that happens, and never again until something does.
#[derive(Debug, Default)]
pub struct Rest(Option<Moment>);

impl Rest {
    /// When it comes to rest.
    pub fn due(&self) -> Option<Moment> {
        self.0
    }

    /// The loop turned. Whether it comes to rest now: it turned for nothing else.
    pub fn turn(&mut self, now: Moment) -> bool {
        let is_over = self.0.is_some_and(|due| due <= now);
        self.0 = (!is_over).then(|| now + AFTER);
        is_over
    }
}

/// The wait that comes next is the rest.
pub fn begin() {
    BEGINS.store(true, Ordering::Relaxed);
}

/// To be called right before each wait: what was let go of any sooner would be brought back by the way there.
pub fn before_a_wait() {
    if BEGINS.swap(false, Ordering::Relaxed) {
        memory::let_go_of_code();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn it_comes_to_rest_once_and_wakes_nobody() {
        let mut rest = Rest::default();
        for (ms, rests, due) in
            [(0, false, Some(1000)), (900, false, Some(1900)), (1900, true, None), (5000, false, Some(6000)), (6001, true, None)]
        {
            assert_eq!((rest.turn(at(ms)), rest.due()), (rests, due.map(at)), "at {ms}");
        }
    }
}
