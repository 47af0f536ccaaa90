//! The one place that reads the clock for the event loop: once a turn.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::sys::clock;
use crate::value::Moment;

/// Both clocks at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For everything that is timed.
    pub moment: Moment,
    /// For display.
    pub wall: SystemTime,
}

impl Now {
    /// Reads the clocks.
    #[must_use]
    pub fn read() -> Self {
        Self { moment: clock::monotonic(), wall: clock::wall() }
    }

    /// The wall clock's reading at another moment, supposing it was not stepped since.
    #[must_use]
    pub fn wall_at(self, moment: Moment) -> SystemTime {
        if moment >= self.moment { self.wall + moment.since(self.moment) } else { self.wall - self.moment.since(moment) }
    }

    /// The same as RFC 3339 in UTC.
    #[must_use]
    pub fn rfc3339_at(self, moment: Moment) -> String {
        humantime::format_rfc3339_millis(self.wall_at(moment)).to_string()
    }
}

/// What one kind of work may take of a turn of the loop before the others have theirs.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    until: Moment,
}

impl Share {
    /// Begins now.
    #[must_use]
    pub fn of(length: Duration) -> Self {
        Self { until: clock::monotonic() + length }
    }

    /// Whether it is used up.
    #[must_use]
    pub fn is_over(self) -> bool {
        clock::monotonic() >= self.until
    }
}

/// The wait for the next deadline, kept from turn to turn: a timer that is begun anew wakes the runtime it is in, by three system
/// calls, and one that is put off does not.
#[derive(Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Waits for a moment; for ever where there is none.
    pub async fn ring(&mut self, due: Option<Moment>, now: Moment) {
        let Some(due) = due else {
            // Else it would wake the process at the deadline of before.
            self.0 = None;
            return std::future::pending().await;
        };
        let at = Instant::now() + due.since(now);
        match &mut self.0 {
            Some(sleep) => {
                sleep.as_mut().reset(at);
                sleep.await;
            }
            none => none.insert(Box::pin(sleep_until(at))).await,
        }
    }
}
