//! How much scripts may bring about: no hook feeds itself, and none keeps a service from settling. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::frame::CallError;
use crate::value::Moment;
use crate::value::sorted::Map;

/// Actions of scripts in one chain of causes; one more is refused.
pub const MAX_DEPTH: u8 = 4;
/// Control actions of one script on one service within [`WINDOW`].
const ACTIONS: usize = 6;
/// For how long an action counts, and for how long what a service does is taken to follow from it.
pub const WINDOW: Duration = Duration::from_secs(600);
/// Events that one script may emit within [`EMIT_WINDOW`]: ten a second, which no ring is emptied by.
const EMITS: usize = 100;
/// For how long one counts.
const EMIT_WINDOW: Duration = Duration::from_secs(10);

/// What each script did lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Budget {
    actions: Map<String, Map<String, VecDeque<Moment>>>,
    emits: Map<String, VecDeque<Moment>>,
}

impl Budget {
    /// A script wants to start, stop, restart, signal or hold a service.
    ///
    /// # Errors
    ///
    /// That it did so too often of late; it does not count then.
    pub fn act(&mut self, script: &str, service: &str, now: Moment) -> Result<(), CallError> {
        let services = self.actions.get_or_default(script.to_owned());
        services.retain(|_, actions| actions.back().is_some_and(|at| now.since(*at) < WINDOW));
        spend(services.get_or_default(service.to_owned()), ACTIONS, WINDOW, now).map_err(|()| CallError {
            code: "budget".to_owned(),
            message: format!("{script} acted on {service} {ACTIONS} times within 10 minutes; refused for now"),
            retryable: true,
        })
    }

    /// A script wants to emit an event.
    ///
    /// # Errors
    ///
    /// As for [`Budget::act`].
    pub fn emit(&mut self, script: &str, now: Moment) -> Result<(), CallError> {
        spend(self.emits.get_or_default(script.to_owned()), EMITS, EMIT_WINDOW, now).map_err(|()| CallError {
            code: "budget".to_owned(),
            message: format!("{script} emitted {EMITS} events within 10 seconds; refused for now"),
            retryable: true,
        })
    }

    /// A script is no longer there.
    pub fn forget(&mut self, script: &str) {
        self.actions.remove(script);
        self.emits.remove(script);
    }
}

fn spend(spent: &mut VecDeque<Moment>, most: usize, window: Duration, now: Moment) -> Result<(), ()> {
    while spent.front().is_some_and(|at| now.since(*at) >= window) {
        spent.pop_front();
    }
    if spent.len() >= most {
        return Err(());
    }
    spent.push_back(now);
    Ok(())
}

/// The depth of what a script brings about on account of an event of this depth.
///
/// # Errors
///
/// Where that is too deep.
pub fn deeper(depth: u8) -> Result<u8, CallError> {
    if depth < MAX_DEPTH {
        return Ok(depth + 1);
    }
    Err(CallError {
        code: "depth".to_owned(),
        message: format!("{depth} actions of scripts led here already; a chain ends after {MAX_DEPTH}"),
        retryable: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn the_seventh_action_on_one_service_within_ten_minutes_is_refused() {
        let mut budget = Budget::default();
        for second in 0..6 {
            assert_eq!(budget.act("a", "web", at(second)), Ok(()));
        }
        let refused = budget.act("a", "web", at(10)).expect_err("the seventh");
        assert_eq!((refused.code.as_str(), refused.retryable), ("budget", true));
        // Another service, another script, and later.
        assert_eq!(budget.act("a", "db", at(10)), Ok(()));
        assert_eq!(budget.act("b", "web", at(10)), Ok(()));
        assert!(budget.act("a", "web", at(599)).is_err());
        assert_eq!(budget.act("a", "web", at(600)), Ok(()));
        assert!(budget.act("a", "web", at(600)).is_err());
        budget.forget("a");
        assert_eq!(budget.act("a", "web", at(600)), Ok(()));
    }

    #[test]
    fn services_of_the_past_are_forgotten() {
        let mut budget = Budget::default();
        for nth in 0..1000 {
            assert_eq!(budget.act("a", &format!("s{nth}"), at(0)), Ok(()));
        }
        assert_eq!(budget.act("a", "web", at(600)), Ok(()));
        assert_eq!(budget.actions.get("a").map(Map::len), Some(1));
    }

    #[test]
    fn ten_events_a_second_may_be_emitted() {
        let mut budget = Budget::default();
        assert!((0..100).all(|_| budget.emit("a", at(0)).is_ok()));
        assert!(budget.emit("a", at(9)).is_err());
        assert!(budget.emit("a", at(10)).is_ok());
    }

    #[test]
    fn a_chain_has_an_end() {
        let depths: Vec<Option<u8>> = (0..6).map(|depth| deeper(depth).ok()).collect();
        assert_eq!(depths, [Some(1), Some(2), Some(3), Some(4), None, None]);
    }
}
