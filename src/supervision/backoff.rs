//! How long to wait before the next launch.

use std::time::Duration;

use crate::spec::Backoff;

impl Backoff {
    /// The wait before the launch that follows the `attempt`th end in a row (1, 2, ...): `initial`, doubled each time, at
    /// most `max`.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(63);
        let factor = 1_u64 << doublings;
        let nanos = u64::try_from(self.initial.as_nanos()).unwrap_or(u64::MAX).saturating_mul(factor);
        Duration::from_nanos(nanos).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_ceiling() {
        let seconds = |backoff: Backoff| [1, 2, 3, 4, 5, 6, 7, 8, 1000, u32::MAX].map(|n| backoff.delay(n).as_secs());
        assert_eq!(seconds(Backoff::default()), [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(seconds(Backoff { initial: Duration::ZERO, ..Backoff::default() }), [0; 10]);
        assert_eq!(seconds(Backoff { initial: Duration::from_secs(90), ..Backoff::default() })[0], 60);
    }
}
