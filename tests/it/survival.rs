//! The supervisor is killed: its services do not outlive it, and the next one never makes a second copy.

use crate::support::process::is_alive;
use crate::support::{Daemon, Launch};

#[test]
fn services_die_with_their_supervisor() {
    let mut daemon = Daemon::start("services: {web: {command: @web}, api: {command: @api}}");
    let (mut web, mut api) = (daemon.stage.actor("web"), daemon.stage.actor("api"));
    web.does("ignore TERM");
    let _home = daemon.killed();
    web.dies();
    api.dies();
}

#[test]
fn the_next_one_ends_what_is_left_before_it_launches() {
    let mut daemon = Daemon::start("services: {web: {command: @web}}");
    let mut web = daemon.stage.actor("web");
    web.does("spawn member");
    web.does("daemonize far");
    let (mut member, mut far) = (daemon.stage.actor("member"), daemon.stage.actor("far"));
    member.does("ignore TERM");
    far.does("ignore TERM");
    let home = daemon.killed();
    web.dies();
    let mut daemon = Launch::new(home).start();
    daemon.stage.actor("web");
    assert!(!is_alive(member.pid) && !is_alive(far.pid), "two copies");
    member.dies();
    far.dies();
    assert!(daemon.stage.unclaimed().is_empty());
}

#[test]
fn it_can_be_killed_again_and_again() {
    let mut home = crate::support::Home::new("services: {web: {command: @web}}");
    for _ in 0..5 {
        let mut daemon = Launch::new(home).start();
        let mut web = daemon.stage.actor("web");
        home = daemon.killed();
        web.dies();
        assert!(home.stage.unclaimed().is_empty());
    }
}
