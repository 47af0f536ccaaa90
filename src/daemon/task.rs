//! Work beside the loop that ends with its owner.

use tokio::task::AbortHandle;

/// A task that ends with its owner.
#[derive(Debug)]
pub struct Task(AbortHandle);

impl Task {
    /// Begins it on the loop's own thread.
    pub fn begin(work: impl Future<Output = ()> + 'static) -> Self {
        Self(crate::sys::task::begin(work).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
