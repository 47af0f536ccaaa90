//! The same re-execs as in `reexec`, as PID 1.

use crate::reexec::{refused, state};
use crate::support::Launch;

#[test]
fn every_state_survives_as_pid_1() {
    state::everything_survives(|home| Launch::new(home).in_pid_namespace());
}

#[test]
fn as_pid_1_a_new_program_that_cannot_go_on_gives_way_to_the_old_one() {
    refused::it_gives_way(Launch::in_pid_namespace, true);
}

#[test]
fn as_pid_1_where_neither_program_can_go_on_the_new_one_begins_anew() {
    refused::it_begins_anew(Launch::in_pid_namespace, true);
}
