//! How scripts answer questions: what is counted of each, and who is not asked for a while.
//!
//! Pure, plain and serialisable. A question that runs over a limit (processor time, memory) is a fault of its script, as it is in
//! a handler. What a script raises and a time-out are told to whoever asked, and pause nobody: a policy server that is down
//! for a minute must not switch its policy off for ten.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::counters::Counters;
use super::delivery::{PAUSE, Standing};
use super::frame::HookError;
use crate::value::Moment;
use crate::wire::event::HookFaultKind;

/// Faults in a row after which a question is not put for [`PAUSE`]. After the pause each further one begins another.
pub const FAULTS: u32 = 10;

/// All that were asked so far, by script and by the name of what answers: `decide:restart`, `check:NAME`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tallies(BTreeMap<String, BTreeMap<String, Tally>>);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    counters: Counters,
    faults_in_a_row: u32,
    paused_until: Option<Moment>,
}

/// Whether a run was ended for what it used.
#[must_use]
pub const fn is_over_limit(kind: HookFaultKind) -> bool {
    matches!(kind, HookFaultKind::Cpu | HookFaultKind::Memory)
}

impl Tallies {
    /// A script was asked and is done; returns whether it is not asked that again for a while.
    pub fn ended(&mut self, script: &str, handler: &str, run_ms: u64, error: Option<&HookError>, now: Moment) -> bool {
        let tally = self.0.entry(script.to_owned()).or_default().entry(handler.to_owned()).or_default();
        tally.counters.delivered += 1;
        tally.counters.ran(run_ms, error);
        match error.map(|error| error.kind) {
            // It was ended before it could run over a limit: that says nothing.
            Some(HookFaultKind::Timeout) => return false,
            Some(kind) if is_over_limit(kind) => {}
            _ => {
                tally.faults_in_a_row = 0;
                return false;
            }
        }
        tally.faults_in_a_row = tally.faults_in_a_row.saturating_add(1);
        // What was under way when the pause began changes nothing.
        if tally.faults_in_a_row < FAULTS || tally.paused_until.is_some_and(|until| until > now) {
            return false;
        }
        tally.paused_until = Some(now + PAUSE);
        true
    }

    /// Until when a script is not asked this.
    #[must_use]
    pub fn pause(&self, script: &str, handler: &str, now: Moment) -> Option<Moment> {
        self.0.get(script)?.get(handler)?.paused_until.filter(|until| *until > now)
    }

    /// A new version of a script answers these; the others are forgotten.
    pub fn keep(&mut self, script: &str, handlers: &[String]) {
        if let Some(tallies) = self.0.get_mut(script) {
            tallies.retain(|handler, _| handlers.contains(handler));
        }
    }

    /// A script is no longer there.
    pub fn forget(&mut self, script: &str) {
        self.0.remove(script);
    }

    /// Takes back the pauses of a script.
    pub fn resume(&mut self, script: &str) {
        for tally in self.0.get_mut(script).into_iter().flat_map(BTreeMap::values_mut) {
            tally.faults_in_a_row = 0;
            tally.paused_until = None;
        }
    }

    /// How a script has answered so far, what it was never asked left out.
    pub fn standings<'a>(&'a self, script: &'a str, now: Moment) -> impl Iterator<Item = Standing<'a>> {
        self.0.get(script).into_iter().flatten().map(move |(handler, tally)| Standing {
            script,
            handler,
            counters: &tally.counters,
            lag: 0,
            lag_ms: 0,
            paused_until: tally.paused_until.filter(|until| *until > now),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(0) + Duration::from_secs(seconds)
    }

    fn error(kind: HookFaultKind) -> HookError {
        HookError { kind, message: format!("{kind:?}"), traceback: None }
    }

    /// Asks so many times at once; returns which of them began a pause.
    fn ask(tallies: &mut Tallies, times: usize, kind: Option<HookFaultKind>, now: Moment) -> Vec<usize> {
        let error = kind.map(error);
        (1..=times).filter(|_| tallies.ended("a", "decide:stop", 5, error.as_ref(), now)).collect()
    }

    #[test]
    fn ten_faults_in_a_row_are_a_pause_and_nothing_else_is() {
        use HookFaultKind::{Cpu, Error, Memory, Timeout};
        for (story, paused) in [
            (&[(9, Some(Cpu))][..], false),
            (&[(10, Some(Cpu))], true),
            (&[(5, Some(Cpu)), (5, Some(Memory))], true),
            (&[(9, Some(Cpu)), (1, None), (9, Some(Cpu))], false),
            (&[(9, Some(Cpu)), (1, Some(Error)), (9, Some(Cpu))], false),
            (&[(9, Some(Cpu)), (9, Some(Timeout)), (1, Some(Cpu))], true),
            (&[(100, Some(Error)), (100, Some(Timeout))], false),
        ] {
            let mut tallies = Tallies::default();
            let pauses: usize = story.iter().map(|(times, kind)| ask(&mut tallies, *times, *kind, at(0)).len()).sum();
            assert_eq!(
                (pauses, tallies.pause("a", "decide:stop", at(599)).is_some()),
                (usize::from(paused), paused),
                "{story:?}"
            );
            assert_eq!(tallies.pause("a", "decide:start", at(0)), None);
        }
    }

    #[test]
    fn a_pause_ends_and_the_next_fault_begins_another() {
        let mut tallies = Tallies::default();
        assert_eq!(ask(&mut tallies, 12, Some(HookFaultKind::Cpu), at(0)), [10], "what was under way does not count twice");
        assert_eq!(tallies.pause("a", "decide:stop", at(599)), Some(at(600)));
        assert_eq!(tallies.pause("a", "decide:stop", at(600)), None);
        assert_eq!(ask(&mut tallies, 1, Some(HookFaultKind::Cpu), at(700)), [1]);
        tallies.resume("a");
        assert_eq!(tallies.pause("a", "decide:stop", at(700)), None);
        assert!(ask(&mut tallies, 9, Some(HookFaultKind::Cpu), at(700)).is_empty());
        let standings: Vec<_> = tallies.standings("a", at(700)).collect();
        assert_eq!((standings[0].handler, standings[0].counters.killed, standings[0].paused_until), ("decide:stop", 22, None));
        tallies.keep("a", &["decide:stop".to_owned()]);
        assert_eq!(tallies.standings("a", at(700)).count(), 1);
        tallies.keep("a", &["decide:start".to_owned()]);
        assert_eq!(tallies.standings("a", at(700)).count(), 0);
    }
}
