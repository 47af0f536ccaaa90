//! Tasks of the event loop, and work on a thread beside it. Both behind one type each: tokio's machinery of a task is then
//! compiled once, not once for every kind of work, which is 70 KB of a static binary.

use std::panic::catch_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Begins a task of the event loop. Must be called in a `LocalSet`.
pub fn begin(work: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
    let work: Pin<Box<dyn Future<Output = ()>>> = Box::pin(work);
    tokio::task::spawn_local(work)
}

/// Begins work that may wait for a disk or a name server, on a thread of its own; it goes on when nobody waits for its end
/// any more. The answer is an error where the work panicked, the runtime ends, or no thread can be had: the work is then not
/// done, now or later.
pub fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (to, answer) = oneshot::channel();
    let work: Box<dyn FnOnce() + Send> = Box::new(move || {
        // Nobody may be waiting any more.
        let _ = to.send(work());
    });
    let work = Arc::new(Mutex::new(Some(work)));
    let on_thread = Arc::clone(&work);
    let begun = catch_unwind(|| {
        tokio::task::spawn_blocking(move || {
            let work = taken(&on_thread);
            work.map(|work| work())
        })
    });
    // tokio panics where the kernel gives it no thread and none of its own is left, and keeps the work for a thread that may
    // never come. Whoever waits must learn of it, and what the work holds must be let go of.
    if begun.is_err() {
        drop(taken(&work));
    }
    answer
}

fn taken<W>(work: &Mutex<Option<W>>) -> Option<W> {
    work.lock().unwrap_or_else(PoisonError::into_inner).take()
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
