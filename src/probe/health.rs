//! What a row of answers says about the health of a run. Pure.

use serde::{Deserialize, Serialize};

use crate::spec::Health;
use crate::value::Moment;
use crate::wire::event::HealthWord;

use super::Answer;

/// The standing of one run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Standing {
    word: HealthWord,
    /// Failures in a row that count.
    failures: u32,
    /// Failures before this do not count.
    counts_from: Moment,
}

/// The word changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// What it was.
    pub from: HealthWord,
    /// What it is.
    pub to: HealthWord,
    /// Failures in a row.
    pub failures: u32,
}

impl Standing {
    /// Nothing known yet; failures within the grace after `ready_at` will not count.
    #[must_use]
    pub fn new(policy: &Health, ready_at: Moment) -> Self {
        Self { word: HealthWord::Unknown, failures: 0, counts_from: ready_at + policy.grace }
    }

    /// What is thought of it.
    #[must_use]
    pub const fn word(&self) -> HealthWord {
        self.word
    }

    /// Nobody can say how it is. That is no failure, and no success.
    pub fn forget(&mut self) -> Option<Change> {
        let from = std::mem::replace(&mut self.word, HealthWord::Unknown);
        (from != HealthWord::Unknown).then_some(Change { from, to: HealthWord::Unknown, failures: self.failures })
    }

    /// Takes in one answer.
    pub fn judge(&mut self, policy: &Health, answer: &Answer, now: Moment) -> Option<Change> {
        let to = match answer {
            Ok(()) => {
                self.failures = 0;
                HealthWord::Healthy
            }
            Err(_) if now < self.counts_from => self.word,
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= policy.failures { HealthWord::Unhealthy } else { self.word }
            }
        };
        let from = std::mem::replace(&mut self.word, to);
        (from != to).then_some(Change { from, to, failures: self.failures })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::spec::{HealthAction, Probe};

    /// Answers as a row of signs: `+` good, `-` bad, `?` none; the words after each as `u`nknown, `h`ealthy, `x` unhealthy, capital
    /// where a change was told.
    fn play(failures: u32, grace: u64, answers: &str) -> String {
        let policy = Health {
            probe: Probe::File("/x".into()),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            grace: Duration::from_secs(grace),
            failures,
            action: HealthAction::Restart,
        };
        let begin = Moment::default() + Duration::from_secs(100);
        let mut standing = Standing::new(&policy, begin);
        let step = |(second, sign): (u64, char)| {
            let now = begin + Duration::from_secs(second);
            let change = match sign {
                '+' => standing.judge(&policy, &Ok(()), now),
                '-' => standing.judge(&policy, &Err("bad".to_owned()), now),
                _ => standing.forget(),
            };
            let letter = match standing.word() {
                HealthWord::Unknown => 'u',
                HealthWord::Healthy => 'h',
                HealthWord::Unhealthy => 'x',
            };
            if change.is_some() { letter.to_ascii_uppercase() } else { letter }
        };
        (0..).zip(answers.chars()).map(step).collect()
    }

    #[test]
    fn a_row_of_failures_makes_it_unhealthy_and_one_success_healthy() {
        for (failures, grace, answers, words) in [
            (1, 0, "+-+", "HXH"),
            (3, 0, "---", "uuX"),
            (3, 0, "--+--+---", "uuHhhhhhX"),
            (3, 0, "----", "uuXx"),
            (2, 0, "--+--", "uXHhX"),
            // Without an answer nothing is known, and nothing is counted.
            (2, 0, "+??-?-?+", "HUuuuXUH"),
            (1, 0, "???", "uuu"),
            // Within the grace failures are forgotten, successes not.
            (2, 3, "-----", "uuuuX"),
            (1, 3, "-+-+-", "uHhhX"),
            (1, 2, "--+-", "uuHX"),
        ] {
            assert_eq!(play(failures, grace, answers), words, "{failures} {grace} {answers}");
        }
    }
}
