//! The tests' own tool: the scripted child does as it is told, also without a supervisor. When this fails, look here first.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::lines::Lines;
use crate::support::process::{is_alive, signal};
use crate::support::stage::{Stage, child_program};

#[test]
fn the_scripted_child_does_as_it_is_told() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut stage = Stage::new(&dir.path().join("stage"));
    let mut command = Command::new(child_program());
    command.arg(dir.path().join("stage")).arg("web").stdout(Stdio::piped());
    let mut child = command.spawn().expect("the child");
    let mut out = Lines::of(child.stdout.take().expect("stdout"), "stdout of the child");
    let mut web = stage.actor("web");
    assert_eq!(web.pid, child.id().cast_signed());

    web.does("print 2");
    web.does("write no end");
    web.does("spawn member");
    web.does("daemonize far");
    let (mut far, mut member) = (stage.actor("far"), stage.actor("member"));
    member.does("ignore TERM");
    signal(member.pid, Signal::SIGTERM);
    member.hears("got TERM");
    member.does("close");
    far.does("close");
    let session = |pid: i32| nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid))).expect("a live process").as_raw();
    assert_eq!((session(far.pid) == far.pid, session(member.pid) == session(web.pid)), (true, true));

    far.tell("raise KILL");
    far.dies();
    signal(web.pid, Signal::SIGUSR1);
    web.hears("got USR1");
    web.tell("exit 7");
    web.dies();
    assert_eq!(child.wait().expect("its status").code(), Some(7));
    assert_eq!(out.rest(), "web line 1\nweb line 2\nno end\n");
    assert!(is_alive(member.pid) && stage.unclaimed().is_empty());
    // The test ends, and so does what is left.
    drop(stage);
    member.dies();
}
