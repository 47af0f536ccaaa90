//! Programs that cannot take over, and how the old one goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{exchanged, install, place, reexec, replaceable, version};
use crate::support::home::program;
use crate::support::process::{has_only_its_own, is_alive};
use crate::support::{Daemon, Launch};

#[track_caller]
fn is_refused(daemon: &mut Daemon, said: &[&str]) {
    let pid = daemon.pid();
    daemon.cli(&["self", "reexec"]).exits(1).says(said).says(&["goes on"]);
    assert_eq!(daemon.pid(), pid);
    assert_eq!(daemon.json(&["status"])["supervisor"]["version"], env!("CARGO_PKG_VERSION"));
    // A service launched now has nothing of what was meant for the new program.
    daemon.cli(&["restart", "plain"]).exits(0);
    let plain = i32::try_from(daemon.status("plain")["pid"].as_i64().expect("a PID")).expect("a PID");
    has_only_its_own(plain);
}

const CONFIG: &str = "services: {web: {command: @web}, plain: {command: [sleep, '1000']}}";

fn script(text: &str) -> Vec<u8> {
    format!("#!/bin/sh\n{text}\n").into_bytes()
}

#[test]
fn what_is_on_disk_cannot_take_over() {
    let mut daemon = replaceable(CONFIG).start();
    let mut web = daemon.stage.actor("web");
    let place = place(&daemon);
    let shown = place.display().to_string();

    fs::remove_file(&place).expect("rm");
    is_refused(&mut daemon, &[&shown, "no such file or directory"]);
    fs::create_dir(&place).expect("mkdir");
    is_refused(&mut daemon, &["is no regular file"]);
    fs::remove_dir(&place).expect("rmdir");
    install(&place, &version("9.8.7"));
    fs::set_permissions(&place, PermissionsExt::from_mode(0o644)).expect("chmod");
    is_refused(&mut daemon, &["is not executable"]);
    fs::set_permissions(&place, PermissionsExt::from_mode(0o757)).expect("chmod");
    is_refused(&mut daemon, &["can be written by everybody"]);

    // Another machine's program: the word for the architecture in its header is changed.
    let mut foreign = fs::read(program()).expect("the program");
    foreign[18] ^= 0x55;
    for (bytes, said) in [
        (foreign, "cannot run"),
        (Vec::new(), "cannot run"),
        (b"\x7fELF".to_vec(), "cannot run"),
        // An older format of the state, and a program from before there was one.
        (exchanged(b"section3 state 1", b"section3 state 0"), "the state has format 1, and this program reads format 0 only"),
        (script("echo \"error: unexpected argument '--check-state'\" >&2; exit 2"), "exit 2: error: unexpected argument"),
        (script("exit 0"), "cannot take over"),
        (script("echo 'section3 can take over: 9.9.9'; echo more"), "cannot take over"),
        (script("echo 'section3 can take over: 9.9.9'; exit 1"), "cannot take over"),
        (script("kill -SEGV $$"), "SIGSEGV"),
        (script("yes x | head -c 10000000; exit 3"), "exit 3"),
    ] {
        install(&place, &bytes);
        is_refused(&mut daemon, &[said]);
    }
    assert_eq!(daemon.status("web")["run"], 1);
    web.does("print 1");

    // And then one that can.
    install(&place, &version("9.8.7"));
    reexec(&daemon);
    assert_eq!(daemon.json(&["status"])["supervisor"]["version"], "9.8.7");
    web.does("print 1");
}

#[test]
fn a_program_that_does_not_answer_holds_up_nobody() {
    let daemon = replaceable(CONFIG).start();
    let place = place(&daemon);
    let marker = daemon.path("pid");
    install(&place, &script(&format!("echo $$ > '{0}.new' && mv '{0}.new' '{0}'; exec sleep 1000", marker.display())));
    let waiting = daemon.client(&["self", "reexec"]).spawn().expect("a client");
    let tried = wait_for_number(&marker);
    // Meanwhile everything works, and a second one is refused at once.
    daemon.answers();
    daemon.cli(&["restart", "plain"]).exits(0);
    daemon.cli(&["self", "reexec"]).exits(1).says(&["another re-exec is under way"]);
    let answer = crate::support::home::finish(waiting, "self reexec").exits(1);
    assert!(answer.err.contains("did not say within 10s"), "{}", answer.err);
    let deadline = crate::support::deadline::Deadline::new();
    while is_alive(tried) {
        assert!(!deadline.is_over(), "the program that hangs was left");
        daemon.answers();
    }
    install(&place, &version("9.8.7"));
    reexec(&daemon);
}

#[track_caller]
fn wait_for_number(path: &Path) -> i32 {
    let deadline = crate::support::deadline::Deadline::new();
    loop {
        if let Some(number) = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()) {
            return number;
        }
        assert!(!deadline.is_over(), "{} did not come", path.display());
        std::thread::yield_now();
    }
}

#[test]
fn a_shutdown_goes_before() {
    let mut daemon = replaceable("services: {web: {command: @web, stop_grace: 100s}}").start();
    let mut web = daemon.stage.actor("web");
    web.does("ignore TERM");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    web.hears("got TERM");
    daemon.cli(&["self", "reexec"]).exits(1).says(&["shutting down"]);
    web.tell("exit 0");
    assert_eq!(daemon.ends(), 0);
}

/// The rehearsal said yes and the program then cannot read what it gets: the old one takes the process back.
#[test]
fn a_new_program_that_cannot_go_on_gives_way_to_the_old_one() {
    it_gives_way(std::convert::identity, false);
}

pub fn it_gives_way(launch: impl FnOnce(Launch) -> Launch, pid_1: bool) {
    let mut daemon = launch(replaceable(CONFIG)).start();
    let mut web = daemon.stage.actor("web");
    let (pid, place) = (daemon.pid(), place(&daemon));
    let other = daemon.path("bin/other");
    install(&other, &exchanged(b"section3 state 1", b"section3 state 0"));
    // Honest to the rehearsal, another one afterwards.
    let text = format!(
        "[ \"$1\" = --check-state ] && {{ echo 'section3 can take over: 9.9.9'; exit 0; }}; exec '{}' \"$@\"",
        other.display()
    );
    install(&place, &script(&text));
    let answer = daemon.cli(&["self", "reexec"]).exits(1);
    assert!(answer.err.contains("the new program gave way"), "{}", answer.err);
    assert!(answer.err.contains("reads format 0 only"), "{}", answer.err);
    assert_eq!(daemon.pid(), pid);
    assert_eq!(daemon.json(&["status"])["supervisor"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(daemon.status("web")["run"], 1);
    web.does("print 1");
    is_refused_or_gave_way(&daemon);
    daemon.cli(&["restart", "plain"]).exits(0);
    let plain = i32::try_from(daemon.status("plain")["pid"].as_i64().expect("a PID")).expect("a PID");
    if !pid_1 {
        has_only_its_own(plain);
    }
    install(&place, &version("9.8.7"));
    reexec(&daemon);
    assert_eq!(daemon.json(&["status"])["supervisor"]["version"], "9.8.7");
}

/// And where there is no way back either, nothing of the old services is left beside the new ones.
#[test]
fn where_neither_program_can_go_on_the_new_one_begins_anew() {
    it_begins_anew(std::convert::identity, false);
}

pub fn it_begins_anew(launch: impl FnOnce(Launch) -> Launch, pid_1: bool) {
    // One whose environment says nothing of whose it is.
    let bare = CONFIG.replace("}}", "}, bare: {command: [env, -i, sleep, '1000']}}");
    let mut daemon = launch(replaceable(&bare)).start();
    let web = daemon.stage.actor("web");
    let bare = i32::try_from(daemon.status("bare")["pid"].as_i64().expect("a PID")).expect("a PID");
    let (pid, place) = (daemon.pid(), place(&daemon));
    let boot = daemon.json(&["status"])["supervisor"]["boot"].clone();
    let other = daemon.path("bin/other");
    install(&other, &exchanged(b"section3 state 1", b"section3 state 0"));
    // As above, and the descriptor of the program before it is not the one it is said to be.
    let text = format!(
        "[ \"$1\" = --check-state ] && {{ echo 'section3 can take over: 9.9.9'; exit 0; }}
        SECTION3_HANDOVER=${{SECTION3_HANDOVER%:*}}:9999 exec '{}' \"$@\"",
        other.display()
    );
    install(&place, &script(&text));
    // Its connection ends with the supervisor that it asked.
    assert_ne!(daemon.cli(&["self", "reexec"]).code, 0);
    daemon.stderr.until("why", |line| line.contains("reads format 0 only") && line.contains("begins anew"));
    let mut again = daemon.stage.actor("web");
    assert_ne!(again.pid, web.pid);
    assert_eq!(daemon.pid(), pid);
    assert_ne!(daemon.json(&["status"])["supervisor"]["boot"], boot);
    assert_eq!(daemon.status("web")["run"], 1);
    again.does("print 1");
    daemon.cli(&["wait", "plain", "--for", "running"]).exits(0);
    if !pid_1 {
        assert!(!is_alive(web.pid) && !is_alive(bare), "a service of before is still there");
        let plain = i32::try_from(daemon.status("plain")["pid"].as_i64().expect("a PID")).expect("a PID");
        has_only_its_own(plain);
    }
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
}

/// What was tried is what is run: not what took its place since.
#[test]
fn a_program_that_changes_after_the_rehearsal_is_not_run() {
    let mut daemon = replaceable(CONFIG).start();
    let mut web = daemon.stage.actor("web");
    let marker = daemon.path("ran");
    let text = format!(
        "[ \"$1\" = --check-state ] && {{ echo : >> \"$0\"; echo 'section3 can take over: 9.9.9'; exit 0; }}
        echo > '{}'; exit 1",
        marker.display()
    );
    install(&place(&daemon), &script(&text));
    is_refused(&mut daemon, &["changed after it was tried"]);
    assert!(!marker.exists());
    web.does("print 1");
}

/// The exec itself fails: what was to be kept open for the new program is no service's.
#[test]
fn a_program_that_cannot_be_run_after_the_rehearsal_is_refused() {
    let mut daemon = replaceable(CONFIG).start();
    let mut web = daemon.stage.actor("web");
    // Its interpreter goes with the rehearsal.
    let interpreter = daemon.path("interpreter/sh");
    install(&interpreter, &fs::read("/bin/sh").expect("a shell"));
    let text = format!(
        "#!{0}\n[ \"$1\" = --check-state ] && {{ rm '{0}'; echo 'section3 can take over: 9.9.9'; exit 0; }}\nexit 1\n",
        interpreter.display()
    );
    install(&place(&daemon), text.as_bytes());
    is_refused(&mut daemon, &["cannot run", "no such file or directory"]);
    web.does("print 1");
}

/// The new program has marked everything as its own already when it fails: the old one gets all of it back.
#[test]
fn a_new_program_that_fails_at_its_first_steps_gives_everything_back() {
    let mut daemon = replaceable(CONFIG).start();
    let mut web = daemon.stage.actor("web");
    let (pid, boot) = (daemon.pid(), daemon.json(&["status"])["supervisor"]["boot"].clone());
    install(&place(&daemon), &exchanged(b"/dev/null", b"/bin/sh/x"));
    daemon.cli(&["self", "reexec"]).exits(1).says(&["the new program gave way", "cannot open /bin/sh/x: not a directory"]);
    assert_eq!((daemon.pid(), &daemon.json(&["status"])["supervisor"]["boot"]), (pid, &boot));
    assert_eq!(daemon.status("web")["run"], 1);
    web.does("print 1");
    install(&place(&daemon), &version("9.8.7"));
    reexec(&daemon);
}

/// It can be tried again, with the same end.
#[track_caller]
fn is_refused_or_gave_way(daemon: &Daemon) {
    daemon.cli(&["self", "reexec"]).exits(1).says(&["gave way"]);
}

/// A variable that somebody left in the environment is not taken for a handover.
#[test]
fn a_stale_variable_means_nothing() {
    let home =
        crate::support::Home::new("services: {env: {command: 'env; test $SECTION3_RUN = 1 || echo last; exec sleep 1000'}}");
    let daemon = Launch::new(home).env("SECTION3_HANDOVER", "1:5:6").start();
    daemon.cli(&["wait", "env", "--for", "running"]).exits(0);
    reexec(&daemon);
    daemon.cli(&["restart", "env"]).exits(0);
    // Its shell runs; `env` may not have written yet.
    let deadline = crate::support::deadline::Deadline::new();
    while !daemon.cli(&["tail", "-n", "1000", "env"]).exits(0).out.contains("\nlast\n") {
        assert!(!deadline.is_over(), "no output");
    }
    let text = daemon.log_text("env");
    assert!(text.contains("SECTION3_RUN=2") && !text.contains("SECTION3_HANDOVER"), "{text}");
}
