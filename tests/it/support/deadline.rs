//! The one clock of the tests: how long a test waits before it says that what it waits for does not come.

use std::time::{Duration, Instant};

/// The longest wait for anything: far beyond what a loaded machine needs, so that reaching it always means a fault.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A point in time, [`LIMIT`] after it was made.
#[derive(Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// Starts the wait.
    #[allow(clippy::disallowed_methods, reason = "a deadline against hanging; no test decides anything by it")]
    pub fn new() -> Self {
        Self(Instant::now() + LIMIT)
    }

    /// What is left of the wait; zero when it is over.
    #[allow(clippy::disallowed_methods, reason = "a deadline against hanging; no test decides anything by it")]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether the wait is over.
    pub fn is_over(self) -> bool {
        self.left().is_zero()
    }
}
