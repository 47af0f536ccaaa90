//! A bundle of daemons in one container, narrowed by a variable.

use crate::support::process::forked_at;
use crate::support::{Home, Launch};

#[test]
fn a_selection_narrows_a_bundle_of_daemons() {
    let config = "supervisor: {select: {env: CLAUDE_BOTTLE_SIDECAR_DAEMONS, unknown: warn}, exit_when: all-ended}
defaults: {restart: never}
services: {egress: {command: @egress}, pipelock: {command: @pipelock}, logship: {command: @logship}, audit: {command: @audit}}
";
    let launch = |names: &str| Launch::new(Home::new(config)).env("CLAUDE_BOTTLE_SIDECAR_DAEMONS", names);
    let mut daemon = launch("pipelock, egress,nonsense").start();
    let mut events = daemon.events();
    let mut egress = daemon.stage.actor("egress");
    let mut pipelock = daemon.stage.actor("pipelock");
    // Not their numbers, which begin anew when the kernel has given them all.
    assert!(forked_at(egress.pid) <= forked_at(pipelock.pid), "in the order of the file");
    egress.tell("exit 0");
    events.until("exit", "egress");
    daemon.answers();
    assert!(daemon.stage.unclaimed().is_empty(), "only what was selected runs");
    pipelock.tell("exit 3");
    assert_eq!(daemon.ends(), 3);

    let mut all = launch("").start();
    for name in ["egress", "pipelock", "logship", "audit"] {
        all.stage.actor(name);
    }

    let mut nothing = launch("nonsense").spawn();
    assert_eq!(nothing.ends(), 6);
    assert!(nothing.stderr.rest().contains("nonsense"));
}
