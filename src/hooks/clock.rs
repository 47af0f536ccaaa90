//! The clock of scripts: tokio's, which stands still and jumps where `hook test` says so. The one place in this room that
//! reads it.

use tokio::time::Instant;

/// Now.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}
