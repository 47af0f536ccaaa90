//! Logs: every byte, whole lines, bounded files, whatever happens to them.

use std::fs;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::support::deadline::LIMIT;
use crate::support::{Daemon, Home, Launch};

/// All generations of a log, oldest first.
fn generations(daemon: &Daemon, service: &str) -> Vec<String> {
    let folder = daemon.path("log");
    let numbered = (1..=9).rev().map(|n| folder.join(format!("{service}.log.{n}")));
    let all = numbered.chain([daemon.log(service)]);
    all.filter_map(|p| fs::read(p).ok()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

#[test]
fn g14_the_border_between_two_files_falls_after_a_newline() {
    let config = "services: {web: {command: @web, restart: never, log_max_size: 4K}}";
    let mut daemon = Daemon::start(config);
    let mut web = daemon.stage.actor("web");
    web.does("print 3000");
    web.tell("exit 0");
    daemon.events().until("exit", "web");
    let files = generations(&daemon, "web");
    assert_eq!(files.len(), 6, "five generations are kept");
    for file in &files {
        assert!(file.len() <= 4096 && file.ends_with('\n'), "{} bytes, end {:?}", file.len(), file.chars().last());
    }
    let lines: Vec<String> = files.concat().lines().map(str::to_owned).collect();
    let first = 3000 - lines.len() + 1;
    let expected: Vec<String> = (first..=3000).map(|n| format!("web line {n}")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn g19_only_a_line_longer_than_the_limit_is_cut() {
    let config =
        "services: {web: {command: 'head -c 10000 /dev/zero | tr \"\\0\" x; echo; echo end', restart: never, log_max_size: 4K}}";
    let daemon = Daemon::start(config);
    daemon.events().until("exit", "web");
    let files = generations(&daemon, "web");
    assert!(files.iter().all(|f| f.len() <= 4096));
    assert_eq!(files.concat(), format!("{}\nend\n", "x".repeat(10_000)));
}

#[test]
fn g16_the_last_output_is_in_the_file_before_the_exit_is_reported() {
    let daemon = Daemon::start("services: {web: {command: 'echo one; printf end; echo err >&2; printf last', restart: never}}");
    let exit = daemon.events().until("exit", "web");
    assert_eq!(daemon.log_text("web"), "one\nenderr\nlast");
    assert!(exit["data"]["log_tail"].to_string().contains("last"), "{exit}");
}

#[test]
fn the_bytes_of_a_service_are_kept_unchanged() {
    let daemon = Daemon::start("services: {web: {command: [printf, 'a\\000b\\377\\r\\n\\033[0m\\n'], restart: never}}");
    daemon.events().until("exit", "web");
    assert_eq!(fs::read(daemon.log("web")).expect("the log"), b"a\0b\xff\r\n\x1b[0m\n");
}

#[test]
fn a_log_that_was_deleted_comes_back() {
    let mut daemon = Daemon::start("services: {web: {command: @web, restart: never}}");
    let mut web = daemon.stage.actor("web");
    web.does("print 1");
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC).expect("inotify");
    inotify.add_watch(&daemon.path("log"), AddWatchFlags::IN_CREATE).expect("a watch");
    fs::remove_file(daemon.log("web")).expect("a log, made before the first launch");
    web.does("print 1");
    let mut created = false;
    while !created {
        let limit = PollTimeout::try_from(LIMIT).expect("in range");
        let ready = poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], limit).expect("poll");
        assert_eq!(ready, 1, "the log does not come back");
        created = inotify.read_events().expect("events").iter().any(|e| e.name.as_ref().is_some_and(|n| n == "web.log"));
    }
    web.does("print 1");
    web.tell("exit 0");
    daemon.events().until("exit", "web");
    assert!(daemon.log_text("web").ends_with("web line 3\n"));
}

#[test]
fn g18_a_link_or_a_fifo_in_place_of_a_log_is_not_followed() {
    let config = "services: {web: {command: @web}, pipe: {command: @pipe}}";
    let home = crate::support::Home::new(config);
    let victim = home.path("victim");
    fs::write(&victim, "precious").expect("a file");
    fs::create_dir(home.path("log")).expect("the log folder");
    std::os::unix::fs::symlink(&victim, home.log("web")).expect("a link");
    nix::unistd::mkfifo(&home.log("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let mut daemon = crate::support::Launch::new(home).start();
    daemon.stage.actor("web").does("print 5000");
    daemon.stage.actor("pipe").does("print 5000");
    daemon.answers();
    assert_eq!(fs::read_to_string(&victim).expect("the file"), "precious");
}

#[test]
fn g12_an_own_log_that_cannot_be_rotated_stops_nothing() {
    let home = crate::support::Home::new("services: {web: {command: @web}}\nsupervisor: {log_max_size: 4K, console: none}");
    for n in 1..=5 {
        fs::create_dir_all(home.path(&format!("log/section3.log.{n}/in-the-way"))).expect("a folder in place of a file");
    }
    fs::write(home.path("log/section3.log"), "x\n".repeat(2048)).expect("a full log");
    let mut daemon = crate::support::Launch::new(home).start();
    daemon.stage.actor("web");
    for _ in 0..20 {
        daemon.cli(&["restart", "web"]).exits(0);
    }
}

#[test]
fn the_console_has_whole_lines_with_their_service_in_front() {
    let mut daemon = Daemon::start("services: {web: {command: @web}, api: {command: @api}}");
    let (mut web, mut api) = (daemon.stage.actor("web"), daemon.stage.actor("api"));
    web.does("print 500");
    api.does("print 500");
    daemon.cli(&["stop", "--all"]).exits(0);
    for (name, n) in [("web", 500), ("api", 500)] {
        let last = format!("[{name}] {name} line {n}");
        // Both streams may come in any order, so each is looked for from where the other one ended.
        if !daemon.stdout.saw(&last) {
            daemon.stdout.until(&last, |line| line == last);
        }
    }
}

#[test]
fn a_console_that_nobody_reads_stalls_no_service() {
    let home = crate::support::Home::new("services: {web: {command: @web, restart: never}}");
    // A fifo held open by its reader, which never reads.
    let fifo = home.path("console");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).expect("a reader");
    let to_fifo = format!("exec \"$@\" >'{}'", fifo.display());
    let mut daemon = crate::support::Launch::new(home).under(&["sh", "-c", &to_fifo, "sh"]).start();
    let mut web = daemon.stage.actor("web");
    web.does("print 40000");
    web.tell("exit 0");
    daemon.events().until("exit", "web");
    assert!(daemon.log_text("web").ends_with("web line 40000\n"));
}

#[test]
fn a_closed_stdout_of_the_service_is_no_fault() {
    let mut daemon = Daemon::start("services: {web: {command: @web}}");
    let mut web = daemon.stage.actor("web");
    web.does("print 1");
    web.does("close");
    assert_eq!(daemon.status("web")["state"], "running");
    daemon.cli(&["stop", "web"]).exits(0);
    assert_eq!(daemon.log_text("web"), "web line 1\n");
}

#[test]
fn a_log_that_cannot_be_rotated_says_what_stands_in_the_way() {
    let home = Home::new("services: {web: {command: [sleep, '1000']}}");
    fs::create_dir_all(home.log("web")).expect("a folder in its place");
    let daemon = Launch::new(home).start();
    for _ in 0..2 {
        daemon.cli(&["rotate", "web"]).exits(1).says(&["cannot rotate log web.log: is a directory"]);
    }
}
