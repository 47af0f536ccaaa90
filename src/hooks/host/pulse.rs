//! How long Lua has computed without waiting: the slice of a run, and what the watchdog sees of it.
//!
//! Each poll of a coroutine is a slice. A count hook inside Lua looks at the clock and ends a slice that is over its limit; code
//! in C (a pattern that backtracks, a sort) runs no hook, so the watchdog looks from another thread.
//!
//! Both count the processor time of the script's own thread: on a machine that is frozen or has no time for the host no script is
//! to blame. A script cannot wait for the kernel inside a slice, it has no io there.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::sys::clock::{self, ThreadCpu};
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
    /// The clock of that thread; nothing until it has a meter.
    clock: OnceLock<ThreadCpu>,
    /// What it showed when the slice that is under way began, in nanoseconds; 0 between slices.
    since: AtomicU64,
    /// The events that handlers have begun with.
    begun: Mutex<Vec<u64>>,
}

impl Pulse {
    /// How much the slice under way has computed. `None` between slices, and where the thread is gone.
    #[must_use]
    pub fn busy_for(&self) -> Option<Duration> {
        // The clock first: a slice that begins between the two looks has then computed nothing, instead of what an earlier one
        // did as well.
        let now = self.clock.get()?.read()?;
        match self.since.load(Ordering::SeqCst) {
            0 => None,
            since => Some(now.saturating_sub(Duration::from_nanos(since))),
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
    /// The slice under way; `None` between slices.
    slice: Cell<Option<Slice>>,
    /// Whether it was over before it ended.
    overran: Cell<bool>,
}

/// A slice under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slice {
    /// What the thread's clock shows when it is over.
    until: Duration,
    /// Not before this it can be over. A thread computes no faster than time passes, and the monotonic clock is read without a
    /// system call, twenty times as fast as the thread's: the count hook reads it every few microseconds.
    not_before: Moment,
}

impl Slice {
    /// One that begins now.
    fn new(limit: Duration, now: Moment, computed: Duration) -> Self {
        Self { until: computed + limit, not_before: now + limit }
    }

    /// Whether it is over; if not, when that may be.
    fn look(self, now: Moment, computed: impl FnOnce() -> Duration) -> Result<Self, ()> {
        if now < self.not_before {
            return Ok(self);
        }
        match self.until.checked_sub(computed()) {
            Some(left) if !left.is_zero() => Ok(Self { not_before: now + left, ..self }),
            _ => Err(()),
        }
    }
}

impl Meter {
    /// A meter of this thread that shows itself through `pulse`, and calls `wake` at the beginning of each slice.
    #[must_use]
    pub fn new(pulse: Arc<Pulse>, wake: impl Fn() + 'static) -> Self {
        if let Some(own) = ThreadCpu::own() {
            // One pulse has one meter.
            let _ = pulse.clock.set(own);
        }
        Self { pulse, wake: Box::new(wake), slice: Cell::new(None), overran: Cell::new(false) }
    }

    /// What other threads see.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Whether the slice under way is over, now that the clock is read: for the count hook.
    pub fn is_over(&self) -> bool {
        if let (false, Some(slice)) = (self.overran.get(), self.slice.get()) {
            match slice.look(clock::monotonic(), clock::thread_cpu) {
                Ok(slice) => self.slice.set(Some(slice)),
                Err(()) => self.overran.set(true),
            }
        }
        self.overran.get()
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
        if self.slice.get().is_some() {
            return Ok(call());
        }
        let computed = clock::thread_cpu();
        self.slice.set(Some(Slice::new(limit, clock::monotonic(), computed)));
        self.overran.set(false);
        let since = u64::try_from(computed.as_nanos()).unwrap_or(u64::MAX);
        self.pulse.since.store(since.max(1), Ordering::SeqCst);
        (self.wake)();
        let out = call();
        self.pulse.since.store(0, Ordering::SeqCst);
        self.slice.set(None);
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

    /// Computes for so long, by this thread's clock.
    fn compute(length: Duration) {
        let until = clock::thread_cpu() + length;
        while clock::thread_cpu() < until {}
    }

    #[test]
    fn a_slice_ends_with_its_call() {
        let meter = meter();
        assert_eq!(meter.slice(SLICE, || meter.pulse().busy_for().is_some()), Ok(true));
        assert_eq!(meter.pulse().busy_for(), None);
    }

    #[test]
    fn only_what_was_computed_counts_and_the_expensive_clock_is_read_when_it_may_tell() {
        let ms = Duration::from_millis;
        let at = |millis| Moment::from_nanos(0) + ms(millis);
        let begun = Slice::new(ms(1000), at(50), ms(7));
        // When it is looked at, what was computed by then where that is asked for, and when it is asked for next.
        for (now, computed, expected) in [
            (60, None, Ok(1050)),
            (1049, None, Ok(1050)),
            (1050, Some(1006), Ok(1051)),
            (1050, Some(1007), Err(())),
            // An hour of standstill.
            (3_600_000, Some(107), Ok(3_600_900)),
            (3_600_000, Some(5000), Err(())),
        ] {
            let looked = begun.look(at(now), || ms(computed.expect("not asked for")));
            assert_eq!(looked.map(|slice| slice.not_before), expected.map(at), "{now}");
        }
    }

    #[test]
    fn who_waits_inside_of_a_slice_is_not_over() {
        let limit = Duration::from_millis(50);
        let meter = meter();
        let waited = meter.slice(limit, || {
            let from = clock::monotonic();
            // The other end does not speak for as long as it computes twice the limit.
            let (end, ended) = std::sync::mpsc::channel::<()>();
            std::thread::spawn(move || {
                compute(2 * limit);
                drop(end);
            });
            let _ = ended.recv();
            assert!(clock::monotonic().since(from) >= 2 * limit);
            meter.is_over()
        });
        assert_eq!(waited, Ok(false));
        let spun = meter.slice(limit, || {
            compute(2 * limit);
            meter.is_over()
        });
        assert_eq!(spun, Err(Overrun(limit)));
    }

    #[test]
    fn another_thread_sees_who_computes_and_who_waits() {
        let pulse = Arc::<Pulse>::default();
        let (own, (tell, told), (end, ended)) = (Arc::clone(&pulse), std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let script = std::thread::spawn(move || {
            let meter = Meter::new(own, || ());
            compute(Duration::from_millis(100));
            meter.slice(SLICE, || {
                tell.send("waits").expect("a listener");
                ended.recv().expect("a word");
                compute(Duration::from_millis(50));
                tell.send("has computed").expect("a listener");
                ended.recv().expect("a word");
            })
        });
        assert_eq!(told.recv(), Ok("waits"));
        // What this thread computes is not its business, nor what itself did before the slice.
        compute(Duration::from_millis(100));
        let busy = pulse.busy_for().expect("busy");
        assert!(busy < Duration::from_millis(50), "{busy:?}");
        end.send(()).expect("a listener");
        assert_eq!(told.recv(), Ok("has computed"));
        assert!(pulse.busy_for() >= Some(Duration::from_millis(50)), "{:?}", pulse.busy_for());
        end.send(()).expect("a listener");
        assert_eq!(script.join().expect("its end"), Ok(()));
        assert_eq!(pulse.busy_for(), None, "its thread is gone");
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
