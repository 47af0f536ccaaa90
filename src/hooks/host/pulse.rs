//! How long Lua has run without waiting: the slice of a run, and what the watchdog sees of it.
//!
//! Each poll of a coroutine is a slice. A count hook inside Lua compares the clock and ends a slice that is over its limit; code
//! in C (a pattern that backtracks, a sort) runs no hook, so the watchdog looks from another thread.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::sys::clock;
use crate::value::Moment;

/// The longest slice of a run.
pub const SLICE: Duration = Duration::from_secs(1);

/// The longest that a file body may take.
pub const LOADING: Duration = Duration::from_millis(500);

/// After so long in one slice the watchdog ends the process: the hook would have ended the slice, so it never ran.
pub const STUCK: Duration = Duration::from_secs(2);

/// What other threads see of a script's thread.
#[derive(Debug, Default)]
pub struct Pulse {
    /// When the slice that is under way began, in nanoseconds of the monotonic clock; 0 between slices.
    since: AtomicU64,
    /// The events that handlers have begun with.
    begun: Mutex<Vec<u64>>,
}

impl Pulse {
    /// How long the slice under way has lasted.
    #[must_use]
    pub fn busy_for(&self, now: Moment) -> Option<Duration> {
        match self.since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(now.since(Moment::from_nanos(since))),
        }
    }

    /// The events that handlers have begun with and are not done with.
    #[must_use]
    pub fn begun(&self) -> Vec<u64> {
        self.lock().clone()
    }

    /// A handler begins with these.
    pub fn begin(&self, deliveries: &[u64]) {
        self.lock().extend_from_slice(deliveries);
    }

    /// A handler is done with these.
    pub fn end(&self, deliveries: &[u64]) {
        self.lock().retain(|one| !deliveries.contains(one));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u64>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock of one Lua state's slices, on its own thread.
pub struct Meter {
    pulse: Arc<Pulse>,
    /// Tells the watchdog that somebody is busy.
    wake: Box<dyn Fn()>,
    /// When the slice under way is over; `None` between slices.
    until: Cell<Option<Moment>>,
    /// Whether it was over before it ended.
    overran: Cell<bool>,
}

impl Meter {
    /// A meter that shows itself through `pulse`, and calls `wake` at the beginning of each slice.
    #[must_use]
    pub fn new(pulse: Arc<Pulse>, wake: impl Fn() + 'static) -> Self {
        Self { pulse, wake: Box::new(wake), until: Cell::new(None), overran: Cell::new(false) }
    }

    /// What other threads see.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Whether the slice under way is over, now that the clock is read: for the count hook.
    pub fn is_over(&self) -> bool {
        let over = self.overran.get() || self.until.get().is_some_and(|until| clock::monotonic() > until);
        self.overran.set(over);
        over
    }

    /// Whether the slice under way was found to be over: for everything that catches errors.
    #[must_use]
    pub fn is_condemned(&self) -> bool {
        self.overran.get()
    }

    /// Runs something as a slice; inside of a slice as a part of it.
    ///
    /// # Errors
    ///
    /// Where the slice was over its limit, whatever the call made of that.
    pub fn slice<T>(&self, limit: Duration, call: impl FnOnce() -> T) -> Result<T, Overrun> {
        if self.until.get().is_some() {
            return Ok(call());
        }
        let now = clock::monotonic();
        self.until.set(Some(now + limit));
        self.overran.set(false);
        self.pulse.since.store(now.as_nanos().max(1), Ordering::Relaxed);
        (self.wake)();
        let out = call();
        self.pulse.since.store(0, Ordering::Relaxed);
        self.until.set(None);
        if self.overran.replace(false) { Err(Overrun(limit)) } else { Ok(out) }
    }
}

/// A slice was over its limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overrun(pub Duration);

/// A future each poll of which is a slice; when one is over its limit the future is dropped and this one is done.
pub struct Sliced<'a, F> {
    meter: &'a Meter,
    inner: Option<Pin<Box<F>>>,
}

impl<'a, F: Future> Sliced<'a, F> {
    /// Wraps a future.
    pub fn new(meter: &'a Meter, inner: F) -> Self {
        Self { meter, inner: Some(Box::pin(inner)) }
    }
}

impl<F: Future> Future for Sliced<'_, F> {
    type Output = Result<F::Output, Overrun>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(inner) = this.inner.as_mut() else { return Poll::Pending };
        match this.meter.slice(SLICE, || inner.as_mut().poll(context)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(out)) => Poll::Ready(Ok(out)),
            Err(overrun) => {
                this.close();
                Poll::Ready(Err(overrun))
            }
        }
    }
}

impl<F> Sliced<'_, F> {
    /// Dropping a coroutine runs what it has to close: that is Lua as well, and has the same limit.
    fn close(&mut self) {
        if let Some(inner) = self.inner.take() {
            let _ = self.meter.slice(SLICE, || drop(inner));
        }
    }
}

impl<F> Drop for Sliced<'_, F> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter() -> Meter {
        Meter::new(Arc::default(), || ())
    }

    #[test]
    fn a_slice_ends_with_its_call() {
        let meter = meter();
        assert_eq!(meter.slice(SLICE, || meter.pulse().busy_for(clock::monotonic()).is_some()), Ok(true));
        assert_eq!(meter.pulse().busy_for(clock::monotonic()), None);
    }

    #[test]
    fn who_was_condemned_stays_so_until_the_slice_ends() {
        let meter = meter();
        let inner = meter.slice(Duration::ZERO, || {
            while !meter.is_over() {}
            // A slice inside a slice is no new one.
            let _ = meter.slice(SLICE, || ());
            assert!(meter.is_condemned());
        });
        assert_eq!(inner, Err(Overrun(Duration::ZERO)));
        assert!(!meter.is_condemned() && !meter.is_over());
    }

    #[test]
    fn what_was_begun_and_is_not_done_is_known() {
        let pulse = Pulse::default();
        pulse.begin(&[1, 2]);
        pulse.begin(&[3]);
        pulse.end(&[1, 3]);
        assert_eq!(pulse.begun(), [2]);
    }
}
