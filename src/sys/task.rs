//! Tasks of the event loop, and work on a thread beside it. Both behind one type each: tokio's machinery of a task is then
//! compiled once, not once for every kind of work, which is 70 KB of a static binary.

use std::panic::{catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Begins a task of the event loop. Must be called in a `LocalRuntime` or a `LocalSet`.
pub fn begin(work: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
    let work: Pin<Box<dyn Future<Output = ()>>> = Box::pin(work);
    tokio::task::spawn_local(work)
}

/// Does work as a task of its own, and waits for its end; a panic in it goes on here. For what is woken all the time: to wake the
/// work that it waits for itself, a runtime writes to a descriptor and finds that at its next wait, a wait too early, which are
/// three system calls each time.
pub async fn apart<T: 'static>(work: impl Future<Output = T> + 'static) -> T {
    let (to, end) = oneshot::channel();
    let task = begin(async move {
        // Somebody waits: this is dropped with the task or not at all.
        let _ = to.send(work.await);
    });
    match end.await {
        Ok(value) => value,
        Err(_) => match task.await {
            Err(fault) => resume_unwind(fault.into_panic()),
            Ok(()) => unreachable!("the end of a task is told before it ends"),
        },
    }
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

    #[test]
    fn what_is_done_apart_is_as_if_done_here() {
        let runtime = tokio::runtime::Builder::new_current_thread().build_local(Default::default()).expect("a runtime");
        assert_eq!(runtime.block_on(apart(async { 7 })), 7);
        let fault = catch_unwind(|| runtime.block_on(apart(async { resume_unwind(Box::new(7)) })));
        assert_eq!(fault.err().and_then(|fault| fault.downcast().ok()), Some(Box::new(7)));
    }

    #[tokio::test]
    async fn work_that_panics_has_no_answer() {
        assert_eq!(aside(|| 7).await, Ok(7));
        assert!(aside::<u8>(|| std::panic::resume_unwind(Box::new(()))).await.is_err());
    }
}
