//! How long to let output gather before it is read again. Pure.
//!
//! With many slow writers what costs is the number of reads, not of bytes. So after a turn that found little in every pipe,
//! the pump stays away from them for a moment: so long that the fullest one would be a quarter full by then at the rate
//! just seen, and at most [`LONGEST`]. A pipe that fills faster than that is read at once: its writer must not stall.

use std::time::Duration;

use crate::value::Moment;

/// The longest pause: what a reader of `tail -f` does not notice and a burst into an empty pipe survives.
const LONGEST: Duration = Duration::from_millis(4);
/// A shorter pause is not worth a system call.
const SHORTEST: Duration = Duration::from_micros(100);
/// How full the fullest pipe may get meanwhile.
const WANTED_FILL: f64 = 0.25;

/// What a turn leaves of the highest rate seen so far: a fast writer that was held up for a moment is still a fast writer.
const MEMORY: f64 = 0.9;

/// Knows when the last turn was, and how fast the fullest pipe filled lately.
#[derive(Debug, Default)]
pub struct Gather {
    last: Moment,
    /// Pipes full a second.
    rate: f64,
}

impl Gather {
    /// A turn began at `now` that found the fullest pipe `fill` (0 to 1) full; zero where it found nothing.
    pub fn after_turn(&mut self, now: Moment, fill: f64) -> Option<Duration> {
        let period = now.since(self.last).clamp(Duration::from_micros(1), LONGEST);
        self.last = now;
        if fill <= 0.0 {
            return None;
        }
        self.rate = (self.rate * MEMORY).max(fill / period.as_secs_f64());
        if fill >= 2.0 * WANTED_FILL {
            return None;
        }
        let wait = Duration::from_secs_f64(WANTED_FILL / self.rate).min(LONGEST);
        (wait >= SHORTEST).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses() {
        for (what, period_us, fill, expected_us) in [
            ("nothing was read", 500, 0.0, None),
            ("a line after a long silence", 9_000_000, 0.001, Some(4000)),
            ("a slow writer", 4000, 0.01, Some(4000)),
            ("a faster one", 1000, 0.125, Some(2000)),
            ("just as wanted", 1000, 0.25, Some(1000)),
            ("too fast to pause", 50, 0.25, None),
            ("a pipe that was full", 4000, 1.0, None),
        ] {
            let mut gather = Gather { last: Moment::from_nanos(1), rate: 0.0 };
            let now = Moment::from_nanos(1) + Duration::from_micros(period_us);
            assert_eq!(gather.after_turn(now, fill), expected_us.map(Duration::from_micros), "{what}");
        }
    }
}
