//! The one place that reads the clock for the event loop: once a turn.

use std::time::{Duration, SystemTime};

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

/// Waits for a moment; for ever where there is none.
pub async fn wait_until(due: Option<Moment>, now: Moment) {
    match due {
        Some(at) => tokio::time::sleep(at.since(now)).await,
        None => std::future::pending().await,
    }
}
