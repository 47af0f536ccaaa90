//! The clocks.

use std::time::{Duration, SystemTime};

use crate::value::Moment;

/// `CLOCK_MONOTONIC`, now; see `clock_gettime(2)`. Everything that is timed is timed with it: steps of the wall clock
/// change nothing.
#[must_use]
pub fn monotonic() -> Moment {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec; the call writes nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    // Both fields are never negative on this clock.
    Moment::from_nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// What this thread has computed since it began: `CLOCK_THREAD_CPUTIME_ID`, see `clock_gettime(2)`. Stands still while the
/// thread waits, while others have the processor, and while the machine is frozen. Costs a system call.
#[must_use]
pub fn thread_cpu() -> Duration {
    // There is no thread without this clock.
    read(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

/// The same clock, for other threads of the process to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadCpu(libc::clockid_t);

impl ThreadCpu {
    /// The clock of the thread that calls this; see `pthread_getcpuclockid(3)`. `None` where there is none.
    #[must_use]
    pub fn own() -> Option<Self> {
        let mut id = 0;
        // SAFETY: the thread is alive, since it calls; the pointer is to a live clock id, and nothing else is written.
        let error = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut id) };
        (error == 0).then_some(Self(id))
    }

    /// What the thread has computed; `None` once it is gone. Its number may come round again for a later thread of this
    /// process, whose clock is then read: who asks has to know by other means whether the thread is there.
    #[must_use]
    pub fn read(self) -> Option<Duration> {
        read(self.0)
    }
}

fn read(id: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec; the call writes nothing else, and refuses a clock that does not exist.
    let done = unsafe { libc::clock_gettime(id, &raw mut time) };
    // Below 1,000,000,000, says the manual page.
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    (done == 0).then(|| Duration::new(time.tv_sec.unsigned_abs(), nanos))
}

/// The wall clock, now: for display only.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_waits_does_not_age_and_one_that_computes_does() {
        let (tell, told) = channel();
        let (end, ended) = channel::<()>();
        let waits = thread::spawn(move || {
            tell.send(ThreadCpu::own().expect("a clock")).expect("a listener");
            // Until the other end is dropped.
            let _ = ended.recv();
        });
        let other = told.recv().expect("a clock");
        let (began, before) = (other.read().expect("a thread that lives"), thread_cpu());
        while thread_cpu() < before + Duration::from_millis(50) {}
        let aged = other.read().expect("a thread that lives") - began;
        assert!(aged < Duration::from_millis(50), "{aged:?}");
        assert!(ThreadCpu::own().and_then(ThreadCpu::read).expect("its own") >= before + Duration::from_millis(50));
        drop(end);
        waits.join().expect("its end");
    }

    #[test]
    fn a_clock_of_no_thread_shows_nothing() {
        // As the kernel writes the clock of a thread, with a number that is higher than any thread's.
        assert_eq!(ThreadCpu((!0x0fff_ffff_i32) << 3 | 0b110).read(), None);
    }
}
