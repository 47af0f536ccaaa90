//! Tasks of the event loop, and work on a thread beside it. Both behind one type each: tokio's machinery of a task is then
//! compiled once, not once for every kind of work, which is 70 KB of a static binary.

use std::pin::Pin;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Begins a task of the event loop. Must be called in a `LocalSet`.
pub fn begin(work: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
    let work: Pin<Box<dyn Future<Output = ()>>> = Box::pin(work);
    tokio::task::spawn_local(work)
}

/// Begins work that may wait for a disk or a name server, on a thread of its own; it goes on when nobody waits for its end
/// any more. The answer is an error where the work panicked or the runtime ends.
pub fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (to, answer) = oneshot::channel();
    let work: Box<dyn FnOnce() + Send> = Box::new(move || {
        // Nobody may be waiting any more.
        let _ = to.send(work());
    });
    tokio::task::spawn_blocking(work);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_has_no_answer() {
        assert_eq!(aside(|| 7).await, Ok(7));
        assert!(aside::<u8>(|| std::panic::resume_unwind(Box::new(()))).await.is_err());
    }
}
