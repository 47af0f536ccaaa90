//! The supervisor is killed: its services do not outlive it, and the next one never makes a second copy.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::lines::Lines;
use crate::support::process::is_alive;
use crate::support::{Daemon, Home, Launch};

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

/// One that forks and ends every few milliseconds, out of its group and its session.
#[test]
fn what_is_left_cannot_run_away() {
    let home = Home::new("services: {}");
    let (chain, alive) = (home.path("chain"), home.path("alive"));
    home.configure(&format!("services: {{chain: {{command: [sh, -c, '{} & exec sleep 1000']}}}}", chain.display()));
    mkfifo(&alive, Mode::S_IRWXU).expect("a named pipe");
    let text = format!("#!/bin/sh\n[ -e /proc/self/fd/9 ] || {{ exec 9>{}; echo on >&9; }}\nsetsid \"$0\" &\n", alive.display());
    home.replace(&chain, &text);
    fs::set_permissions(&chain, Permissions::from_mode(0o755)).expect("a mode");
    let first_end = File::options().read(true).write(true).open(&alive).expect("a writer");
    let mut chained = Lines::of(File::open(&alive).expect("the pipe"), "the chain");
    let daemon = Launch::new(home).start();
    chained.until("its begin", |line| line == "on");
    drop(first_end);
    let home = daemon.killed();
    home.configure("services: {}");
    let _daemon = Launch::new(home).start();
    // Only when all of it is gone.
    assert_eq!(chained.next(), None);
}

#[test]
fn it_can_be_killed_again_and_again() {
    let mut home = Home::new("services: {web: {command: @web}}");
    for _ in 0..5 {
        let mut daemon = Launch::new(home).start();
        let mut web = daemon.stage.actor("web");
        home = daemon.killed();
        web.dies();
        assert!(home.stage.unclaimed().is_empty());
    }
}
