//! What is done about a hook host that dies: when the next one is launched, and which script has to stay out of it.
//! Pure; all of it survives a re-exec.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::value::Moment;
use crate::value::sorted::{Map, Set};

/// Deaths within [`WINDOW`] that a script is to blame for before it stays out.
const STRIKES: usize = 3;
/// How long a death counts.
const WINDOW: Duration = Duration::from_secs(600);
/// From the first death to the next launch; doubles.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest wait; a host is never given up.
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A host that lived this long has nothing to do with the deaths before it.
const STABLE: Duration = Duration::from_secs(60);
/// From one answered ping to the next.
const PING_EVERY: Duration = Duration::from_secs(5);
/// For the answer.
const PING_LIMIT: Duration = Duration::from_secs(4);
/// And what follows: if we were asleep with everything else, the answer is there before this is over.
const REPRIEVE: Duration = Duration::from_secs(1);

/// Who is to blame for how much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Quarantine {
    strikes: Map<String, Vec<Moment>>,
    out: Set<String>,
}

impl Quarantine {
    /// A script took the host down; returns whether it has to stay out from now on.
    pub fn took_down(&mut self, script: &str, now: Moment) -> bool {
        let strikes = self.strikes.get_or_default(script.to_owned());
        strikes.retain(|at| now.since(*at) < WINDOW);
        strikes.push(now);
        strikes.len() >= STRIKES && self.out.insert(script.to_owned())
    }

    /// Whether a script has to stay out.
    #[must_use]
    pub fn has(&self, script: &str) -> bool {
        self.out.contains(script)
    }

    /// Its file changed, or an operator said so, or it is gone: it begins anew.
    pub fn release(&mut self, script: &str) {
        self.strikes.remove(script);
        self.out.remove(script);
    }
}

/// When the next host is launched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Revival {
    deaths: u32,
}

impl Revival {
    /// A host died after it had lived for `lived`; returns how long to wait.
    pub fn delay(&mut self, lived: Duration) -> Duration {
        if lived >= STABLE {
            self.deaths = 0;
        }
        let delay = FIRST_DELAY.saturating_mul(1 << self.deaths.min(16));
        self.deaths = self.deaths.saturating_add(1);
        delay.min(LONGEST_DELAY)
    }
}

/// Whether a host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    number: u64,
    beat: Beat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beat {
    Resting { until: Moment },
    Waiting { until: Moment },
    Reprieved { until: Moment },
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Nothing now.
    Quiet,
    /// Send a ping with this number.
    Ping(u64),
    /// It is dead, whatever it does.
    Dead,
}

impl Pulse {
    /// Of a host that was launched just now: its first word is awaited as an answer is.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self { number: 0, beat: Beat::Waiting { until: now + PING_LIMIT } }
    }

    /// When [`Pulse::look`] is due.
    #[must_use]
    pub const fn deadline(&self) -> Moment {
        match self.beat {
            Beat::Resting { until } | Beat::Waiting { until } | Beat::Reprieved { until } => until,
        }
    }

    /// Looks at the clock.
    pub fn look(&mut self, now: Moment) -> Sign {
        if self.deadline() > now {
            return Sign::Quiet;
        }
        match self.beat {
            Beat::Resting { .. } => {
                self.number += 1;
                self.beat = Beat::Waiting { until: now + PING_LIMIT };
                Sign::Ping(self.number)
            }
            Beat::Waiting { .. } => {
                self.beat = Beat::Reprieved { until: now + REPRIEVE };
                Sign::Quiet
            }
            Beat::Reprieved { .. } => Sign::Dead,
        }
    }

    /// It answered; 0 is its first word.
    pub fn answered(&mut self, number: u64, now: Moment) {
        if number == self.number && !matches!(self.beat, Beat::Resting { .. }) {
            self.beat = Beat::Resting { until: now + PING_EVERY };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(0) + Duration::from_millis(ms)
    }

    #[test]
    fn the_third_death_within_ten_minutes_is_one_too_many() {
        for (deaths, out) in [
            (&[0, 1000, 2000][..], true),
            (&[0, 1000], false),
            (&[0, 300_000, 600_000], false),
            (&[0, 300_000, 599_999], true),
            (&[0, 300_000, 600_000, 700_000], true),
        ] {
            let mut quarantine = Quarantine::default();
            for (nth, ms) in deaths.iter().enumerate() {
                assert_eq!(quarantine.took_down("a", at(*ms)), out && nth + 1 == deaths.len(), "{deaths:?}");
            }
            assert_eq!((quarantine.has("a"), quarantine.has("b")), (out, false));
        }
    }

    #[test]
    fn whoever_is_released_begins_anew() {
        let mut quarantine = Quarantine::default();
        let strike = |quarantine: &mut Quarantine| quarantine.took_down("a", at(0));
        assert_eq!([strike(&mut quarantine), strike(&mut quarantine), strike(&mut quarantine)], [false, false, true]);
        quarantine.release("a");
        assert!(!quarantine.has("a"));
        assert_eq!([strike(&mut quarantine), strike(&mut quarantine), strike(&mut quarantine)], [false, false, true]);
    }

    #[test]
    fn the_waits_double_up_to_half_a_minute_and_end_with_a_stable_host() {
        let mut revival = Revival::default();
        let waits: Vec<u64> = (0..9).map(|_| revival.delay(Duration::ZERO).as_millis() as u64).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(revival.delay(Duration::from_secs(59)).as_secs(), 30);
        assert_eq!(revival.delay(Duration::from_secs(60)).as_millis(), 500);
        let mut old = Revival { deaths: u32::MAX };
        assert_eq!(old.delay(Duration::ZERO).as_secs(), 30);
    }

    #[test]
    fn silence_of_five_seconds_is_death() {
        let mut pulse = Pulse::new(at(0));
        pulse.answered(0, at(10));
        assert_eq!((pulse.look(at(5009)), pulse.look(at(5010))), (Sign::Quiet, Sign::Ping(1)));
        pulse.answered(0, at(5011));
        assert_eq!(
            (pulse.look(at(9010)), pulse.look(at(10_009)), pulse.look(at(10_010))),
            (Sign::Quiet, Sign::Quiet, Sign::Dead)
        );
        let mut pulse = Pulse::new(at(0));
        assert_eq!((pulse.look(at(4000)), pulse.look(at(5000))), (Sign::Quiet, Sign::Dead));
    }

    #[test]
    fn who_slept_with_the_supervisor_is_not_dead() {
        let mut pulse = Pulse::new(at(0));
        pulse.answered(0, at(0));
        assert_eq!(pulse.look(at(5000)), Sign::Ping(1));
        // Both were frozen for an hour; the clock is looked at before the answer is read.
        assert_eq!(pulse.look(at(3_600_000)), Sign::Quiet);
        pulse.answered(1, at(3_600_001));
        assert_eq!(pulse.look(at(3_601_000)), Sign::Quiet);
        assert_eq!(pulse.deadline(), at(3_605_001));
    }
}
