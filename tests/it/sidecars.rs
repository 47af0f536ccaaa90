//! What the Python supervisor of sidecars did wrong (the P numbers), where no other room has its test.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;

use crate::support::deadline::Deadline;
use crate::support::process::{code_kib, context_switches, counter, is_alive};
use crate::support::{Daemon, Home, Launch};

/// A launch whose stdout is this file.
fn with_stdout(home: Home, file: &str) -> Launch {
    let line = format!("exec \"$@\" >'{file}'");
    Launch::new(home).under(&["sh", "-c", &line, "sh"])
}

/// P01: a stdout that is full and that nobody reads holds up no shutdown.
#[test]
fn p01_a_stdout_that_is_blocked_holds_up_no_shutdown() {
    let home = Home::new("services: {web: {command: @web}, other: {command: @other}}");
    let fifo = home.path("console");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    // Held open by a reader that never reads, and full from the start.
    let nonblocking = OFlag::O_NONBLOCK.bits();
    let mut held = OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(&fifo).expect("a fifo");
    while held.write(&[b'x'; 4096]).is_ok() {}
    let mut daemon = with_stdout(home, &fifo.display().to_string()).start();
    let (mut web, mut other) = (daemon.stage.actor("web"), daemon.stage.actor("other"));
    web.does("print 20000");
    daemon.signal(Signal::SIGTERM);
    web.hears("got TERM");
    other.hears("got TERM");
    assert_eq!(daemon.ends(), 0);
}

/// P03: one program that is missing ends neither the supervisor nor the others.
#[test]
fn p03_a_missing_program_stops_nobody_else() {
    let config = "defaults: {restart: never}
services: {a: {command: @a}, gone: {command: [/nonexistent/program]}, z: {command: @z}}";
    let mut daemon = Daemon::start(config);
    daemon.cli(&["wait", "gone", "--for", "failed"]).exits(0);
    let (a, z) = (daemon.stage.actor("a"), daemon.stage.actor("z"));
    assert!(is_alive(a.pid) && is_alive(z.pid));
    daemon.answers();
}

/// P05: services that a shutdown ended by SIGTERM (-15 in Python) make it no failure: 0, not 241.
#[test]
fn p05_an_asked_shutdown_ends_with_0() {
    let mut daemon = Daemon::start("services: {a: {command: [sleep, '1000']}, b: {command: exec sleep 1000}}");
    for name in ["a", "b"] {
        daemon.cli(&["wait", name, "--for", "running"]).exits(0);
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
}

/// P05: a service that died of SIGSEGV is not hidden by another one's 0.
#[test]
fn p05_a_death_by_signal_is_not_hidden() {
    let config = "supervisor: {exit_when: all-ended}
defaults: {restart: never}
services: {a: {command: exit 0}, b: {command: 'kill -SEGV $$'}, c: {command: exit 1}, d: {command: exit 0}}";
    // Not `start`: it may have ended before anybody sees its socket.
    assert_eq!(Launch::new(Home::new(config)).spawn().ends(), 139);
}

/// P06: output is read in blocks, not byte by byte.
#[test]
fn p06_output_is_read_in_blocks() {
    let mut daemon = Daemon::start("services: {web: {command: @web, restart: never, log_max_size: 10M}}");
    let mut web = daemon.stage.actor("web");
    let before = counter(daemon.pid(), "io", "syscr");
    web.does("print 100000");
    web.tell("exit 0");
    daemon.events().until("exit", "web");
    let reads = counter(daemon.pid(), "io", "syscr") - before;
    let bytes = fs::metadata(daemon.log("web")).expect("its log").len();
    // However little is in the pipe each time, it is many lines; the original made a read of every byte.
    assert!(bytes > 1_400_000 && reads < 20_000, "{reads} reads for {bytes} bytes");
}

/// P07: 100 MB without a newline arrive, and do not grow the supervisor; the console has all of it pass by.
#[test]
fn p07_an_endless_line_does_not_grow_the_supervisor() {
    let config = "services: {web: {command: 'head -c 100000000 /dev/zero; echo end', restart: never, log_max_size: 1M}}";
    let daemon = Daemon::start(config);
    daemon.cli(&["wait", "web", "--for", "exited"]).exits(0);
    assert!(daemon.log_text("web").ends_with("\0end\n"));
    let peak = counter(daemon.pid(), "status", "VmHWM");
    assert!(peak < 32 << 10, "{peak} KiB");
}

/// P08: a stdout that is closed, full or whose reader left ends nothing, and services are read on.
#[test]
fn p08_a_stdout_that_fails_ends_and_blocks_nothing() {
    let home = || Home::new("services: {web: {command: @web, restart: never}}");
    let with_reader = home();
    let fifo = with_reader.path("console");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let mut reader = Some(OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&fifo).expect("a reader"));
    let closed = Launch::new(home()).under(&["sh", "-c", "exec \"$@\" >&-", "sh"]);
    for launch in [with_stdout(with_reader, &fifo.display().to_string()), with_stdout(home(), "/dev/full"), closed] {
        let mut daemon = launch.start();
        let mut web = daemon.stage.actor("web");
        drop(reader.take());
        web.does("print 20000");
        web.tell("exit 0");
        daemon.events().until("exit", "web");
        assert!(daemon.log_text("web").ends_with("web line 20000\n"));
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.ends(), 0);
    }
}

/// P09: what every service says last, at the shutdown, is in its file and on the console.
#[test]
fn p09_the_last_lines_of_all_are_kept() {
    let names = ["a", "b", "c", "d"];
    let line = "'trap \"seq 1000; exit 0\" TERM; echo up; while :; do sleep 1000 & wait; done'";
    let services: Vec<String> = names.iter().map(|name| format!("{name}: {{command: {line}}}")).collect();
    let mut daemon = Daemon::start(&format!("services: {{{}}}", services.join(", ")));
    // Who has said its first word has set its trap.
    for _ in names {
        daemon.stdout.until("its first word", |line| line.ends_with("] up"));
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
    let console = daemon.stdout.rest();
    // So few that they fit into a pipe, however slow its reader is.
    let last_words: String = (1..=1000).map(|n| format!("{n}\n")).collect();
    for name in names {
        assert_eq!(daemon.log_text(name), format!("up\n{last_words}"), "{name}");
        let mark = format!("[{name}] ");
        let shown = console.lines().filter_map(|line| line.strip_prefix(&mark)).filter(|line| *line != "up");
        assert_eq!(shown.map(|line| format!("{line}\n")).collect::<String>(), last_words, "{name}");
    }
}

/// P11: what a `/bin/sh` wrapper started hears the stop signal too.
#[test]
fn p11_the_child_of_a_shell_wrapper_hears_the_stop() {
    let home = Home::new("");
    let words = home.stage.command("web").replace(['[', ']', ','], " ");
    home.configure(&format!("services: {{wrapper: {{command: '{words} & wait; exit 0'}}}}"));
    let mut daemon = Launch::new(home).start();
    let mut web = daemon.stage.actor("web");
    assert_ne!(daemon.status("wrapper")["pid"], web.pid);
    daemon.signal(Signal::SIGTERM);
    web.hears("got TERM");
    assert_eq!(daemon.ends(), 0);
}

/// P14: bytes that are no UTF-8 are the same in the file and on the console.
#[test]
fn p14_bytes_are_not_altered() {
    let home = Home::new("services: {web: {command: [printf, 'a\\377\\376b\\200\\n\\303\\n'], restart: never}}");
    let console = home.path("console");
    let mut daemon = with_stdout(home, &console.display().to_string()).start();
    daemon.events().until("exit", "web");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
    assert_eq!(fs::read(daemon.log("web")).expect("its log"), b"a\xff\xfeb\x80\n\xc3\n");
    let shown = fs::read(console).expect("the console");
    for line in [&b"\n[web] a\xff\xfeb\x80\n"[..], b"\n[web] \xc3\n"] {
        assert!(shown.windows(line.len()).any(|part| part == line), "{}", shown.escape_ascii());
    }
}

/// More than the loop's wait needs, less than any answer does.
const AT_REST_KIB: u64 = 1500;

/// The life of a process that only waits: the daemon under test is left alone meanwhile.
fn a_second_passes() {
    Command::new("sleep").arg("1").stdin(Stdio::null()).status().expect("sleep");
}

/// Asleep it weighs what it remembers: the pages of its code go once nothing happens, each time that something did.
#[test]
fn at_rest_it_lets_go_of_its_code() {
    let daemon = Daemon::start("services: {web: {command: sleep 1000}}");
    let deadline = Deadline::new();
    let look = || {
        assert!(!deadline.is_over(), "{} KiB of code", code_kib(daemon.pid()));
        code_kib(daemon.pid())
    };
    for _ in 0..2 {
        while look() <= AT_REST_KIB {
            daemon.answers();
        }
        while look() > AT_REST_KIB {
            a_second_passes();
        }
    }
}

/// P15: where nothing happens no thread of the supervisor wakes up (the original: ten times a second).
#[test]
fn p15_nothing_wakes_it_when_nothing_happens() {
    let config = "services: {web: {command: @web}, late: {command: exit 1, backoff: {initial: 1h, max: 1h}}, once: {command: exit 0, restart: never}}";
    let mut daemon = Daemon::start(config);
    daemon.stage.actor("web").does("print 10");
    daemon.cli(&["wait", "late", "--for", "backoff"]).exits(0);
    daemon.cli(&["wait", "once", "--for", "exited"]).exits(0);
    // One to let the last client go, one to count in.
    a_second_passes();
    // On a busy machine it may be a while until it has done what there was to do, and rests.
    let deadline = Deadline::new();
    loop {
        let before = context_switches(daemon.pid());
        a_second_passes();
        let woken = context_switches(daemon.pid()) - before;
        if woken < 3 {
            break;
        }
        assert!(!deadline.is_over(), "{woken} wake-ups");
    }
    let before = context_switches(daemon.pid());
    // The count does see a wake-up, once it waits again.
    let deadline = Deadline::new();
    while context_switches(daemon.pid()) == before {
        daemon.answers();
        assert!(!deadline.is_over(), "wake-ups are not seen");
    }
}
