//! Every command: what it prints and how it ends.

use std::process::{Command, Stdio};

use crate::support::home::{finish, program};
use crate::support::lines::Lines;
use crate::support::{Daemon, Home};

/// One command line, split at blanks.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

const TWO: &str = "services: {web: {command: @web}, idle: {command: @idle, restart: never}}";

#[test]
fn without_a_supervisor_every_client_ends_with_3() {
    let home = Home::new("services: {}");
    let lines = "status;start a;stop a;restart a;start --all;reload;reload --dry-run;tail a;tail;wait a --for running;events;\
                 events -f;signal a TERM;rotate a";
    for line in lines.split(';') {
        let answer = home.cli(&words(line)).exits(3);
        assert!(answer.err.contains("section3.sock"), "`{line}` names the socket: {}", answer.err);
    }
}

#[test]
fn an_unknown_service_ends_with_4() {
    let mut daemon = Daemon::start(TWO);
    daemon.stage.actor("web");
    let lines =
        "status wbe;start wbe;stop wbe;restart wbe;tail wbe;tail -f wbe;wait wbe --for running;signal wbe TERM;rotate wbe";
    for line in lines.split(';') {
        daemon.cli(&words(line)).exits(4).says(&["wbe", "web"]);
    }
    // g42: one unknown name, and nothing happens to the others.
    daemon.cli(&["stop", "web", "wbe"]).exits(4);
    assert_eq!(daemon.status("web")["state"], "running");
}

#[test]
fn what_cannot_be_meant_ends_with_2() {
    let daemon = Daemon::start("services: {web: {command: exec sleep 1000}}");
    let lines = "strat web;start;stop;restart;start --all web;tail -n x web;tail -n -1 web;tail -n 99999999999999999999 web;wait web;\
                 wait web --for happy;wait web --for running --timeout soon;signal web NOPE;signal web;rotate;status --jsno;\
                 reload web;events -n -1";
    for line in lines.split(';') {
        daemon.cli(&words(line)).exits(2);
    }
    daemon.answers();
}

#[test]
fn a_wait_that_is_too_long_ends_with_5() {
    let mut daemon = Daemon::start("services: {web: {command: @web, ready: {file: /nonexistent}}}");
    daemon.stage.actor("web");
    daemon.cli(&["wait", "web", "--for", "running", "--timeout", "50ms"]).exits(5);
    daemon.cli(&["start", "web", "--timeout", "50ms"]).exits(5);
    daemon.cli(&["start", "web", "--no-wait"]).exits(0);
}

#[test]
fn a_start_that_fails_ends_with_1() {
    let daemon = Daemon::start("services: {web: {command: [/nonexistent/program], restart: never}}");
    daemon.cli(&["wait", "web", "--for", "failed"]).exits(0);
    daemon.cli(&["start", "web"]).exits(1).says(&["web", "/nonexistent/program"]);
}

#[test]
fn an_invalid_config_ends_with_6() {
    let daemon = Daemon::start("services: {}");
    daemon.configure("services: {web: {comand: x}}");
    for line in ["check", "reload", "reload --dry-run"] {
        daemon.cli(&words(line)).exits(6).says(&["section3.yml", "comand", "command"]);
    }
}

#[test]
fn status_has_one_line_or_one_object_a_service() {
    let mut daemon = Daemon::start(TWO);
    let web = daemon.stage.actor("web");
    daemon.stage.actor("idle").tell("exit 3");
    daemon.cli(&["wait", "idle", "--for", "failed"]).exits(0);
    let text = daemon.cli(&["status"]).exits(0).out;
    assert_eq!(text.lines().count(), 2);
    assert!(text.contains(&format!("PID {}", web.pid)) && text.contains("exit 3") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(daemon.cli(&["status", "idle"]).exits(0).out.lines().count(), 1);

    assert!(!daemon.json(&["status"])["version"].is_null());
    let status = daemon.status("web");
    for field in ["name", "state", "pid", "run", "since", "uptime_s", "crashes", "ready", "log"] {
        assert!(!status[field].is_null(), "`{field}` is missing in {status}");
    }
    assert_eq!(status["log"]["path"], daemon.log("web").display().to_string());
    assert_eq!(status["log"]["lost_bytes"], 0);
    assert_eq!(daemon.status("idle")["last_exit"]["code"], 3);
}

#[test]
fn start_stop_and_restart_answer_in_words() {
    let mut daemon = Daemon::start(TWO);
    daemon.stage.actor("web");
    for (verb, state) in [("stop", "stopped"), ("start", "running"), ("restart", "running")] {
        let answer = daemon.cli(&[verb, "web"]).exits(0);
        assert!(answer.out.contains("web"), "{verb}: {answer:?}");
        assert_eq!(daemon.status("web")["state"], state);
    }
}

#[test]
fn tail_prints_the_last_lines_and_follows() {
    let mut daemon = Daemon::start(TWO);
    let mut web = daemon.stage.actor("web");
    web.does("print 1");
    let mut follow = daemon.client(&["tail", "-n", "1", "-f", "web"]).spawn().expect("the program");
    let mut lines = Lines::of(follow.stdout.take().expect("stdout"), "tail -f");
    // The old line says that it follows; from there on nothing may be missed.
    assert_eq!(lines.next().as_deref(), Some("web line 1"));
    web.does("print 30");
    for n in 2..=31 {
        assert_eq!(lines.next(), Some(format!("web line {n}")));
    }
    let _ = follow.kill();
    let _ = follow.wait();

    daemon.cli(&["stop", "web"]).exits(0);
    let last = daemon.cli(&["tail", "web"]).exits(0).out;
    assert_eq!((last.lines().count(), last.lines().last()), (20, Some("web line 31")));
    assert_eq!(daemon.cli(&["tail", "-n", "2", "web"]).exits(0).out, "web line 30\nweb line 31\n");
    assert_eq!(daemon.cli(&["tail", "-n", "0", "web"]).exits(0).out, "");
    let all = daemon.cli(&["tail", "-n", "1"]).exits(0).out;
    assert!(all.contains("=== web ===") && all.contains("=== idle ==="), "{all}");
}

#[test]
fn wait_returns_when_the_state_is_reached() {
    let mut daemon = Daemon::start(TWO);
    let mut idle = daemon.stage.actor("idle");
    let wait = daemon.client(&["wait", "idle", "--for", "exited", "--timeout", "1h"]).spawn().expect("the program");
    idle.tell("exit 0");
    finish(wait, "wait").exits(0);
    // Also when it was reached long ago.
    daemon.cli(&["wait", "idle", "--for", "exited"]).exits(0);
}

#[test]
fn events_are_listed_as_text_and_as_json() {
    let mut daemon = Daemon::start(TWO);
    daemon.stage.actor("web");
    daemon.events().until_daemon("daemon_ready");
    let text = daemon.cli(&["events"]).exits(0).out;
    assert!(text.contains("daemon_ready") && text.contains("start"), "{text}");
    assert_eq!(daemon.cli(&["events", "-n", "1"]).exits(0).out.lines().count(), 1);
    for line in daemon.cli(&["events", "--json"]).exits(0).out.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("an event");
        for field in ["v", "id", "seq", "boot", "type", "time", "mono_ms", "severity", "actor"] {
            assert!(!event[field].is_null(), "`{field}` is missing in {line}");
        }
    }
}

#[test]
fn signal_reaches_the_main_process() {
    let mut daemon = Daemon::start(TWO);
    let mut web = daemon.stage.actor("web");
    daemon.cli(&["signal", "web", "USR1"]).exits(0);
    web.hears("got USR1");
    daemon.cli(&["stop", "web"]).exits(0);
    daemon.cli(&["signal", "web", "USR1"]).exits(1);
}

#[test]
fn rotate_rotates_now() {
    let mut daemon = Daemon::start(TWO);
    let mut web = daemon.stage.actor("web");
    web.does("print 3");
    web.tell("exit 0");
    daemon.events().until("exit", "web");
    daemon.cli(&["rotate", "web"]).exits(0);
    let event = daemon.events().until("rotate", "web");
    assert_eq!(event["data"]["reason"], "manual");
    let rotated = std::fs::read_to_string(daemon.path("log/web.log.1")).expect("the old generation");
    assert!(rotated.starts_with("web line 1\n"));
    // As good as done: what comes next is in a file of its own.
    daemon.cli(&["rotate", "web"]).exits(0).says(&["web      empty, nothing to rotate"]);
}

/// Not by a SIGSEGV.
#[test]
fn too_little_stack_is_said() {
    let home = Home::new("services: {web: {command: [sleep, '1']}}");
    let limited = |kib: u32, words: &str| {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -s {kib}; exec \"$@\" {words}"), "sh", program()])
            .env("SECTION3_CONFIG", home.config());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().expect("a shell"), words)
    };
    for words in ["", "--version", "check", "hook-host"] {
        limited(128, words).exits(1).says(&["the stack is limited to 128 KiB", "ulimit -s"]);
    }
    for words in ["--version", "check", "status --json --help", "man", "completions bash"] {
        limited(1024, words).exits(0);
    }
}

#[test]
fn init_writes_a_config_that_is_valid_and_never_overwrites() {
    let home = Home::new("");
    std::fs::remove_file(home.config()).expect("no config");
    home.cli(&["init"]).exits(0);
    home.cli(&["check"]).exits(0);
    let written = std::fs::read_to_string(home.config()).expect("the config");
    home.cli(&["init"]).exits(1);
    assert_eq!(std::fs::read_to_string(home.config()).expect("the config"), written);
}

#[test]
fn what_needs_no_supervisor_works_without() {
    let home = Home::new("services: {}");
    assert!(home.cli(&["--version"]).exits(0).out.contains(env!("CARGO_PKG_VERSION")));
    assert!(home.cli(&["--help"]).exits(0).out.contains("status"));
    assert!(home.cli(&["man"]).exits(0).out.contains(".TH section3"));
}

#[test]
fn bash_completes_commands_flags_and_services() {
    let mut daemon = Daemon::start(TWO);
    daemon.stage.actor("web");
    let script = daemon.path("completions");
    std::fs::write(&script, daemon.cli(&["completions", "bash"]).exits(0).out).expect("the completions");
    for (line, completed) in [
        ("sta", "status start"),
        ("status --js", "--json"),
        ("restart w", "web"),
        ("--socket /x tail ", "-n --lines -f --follow --raw --socket -h --help web idle"),
        ("self ree", "reexec"),
        ("completions z", "zsh"),
    ] {
        let script = script.display();
        let command = format!(
            "PATH=$(dirname '{}'):$PATH; . '{script}'; IFS=' ' read -ra COMP_WORDS <<<'section3 {line}'; \
             case '{line}' in *' ') COMP_WORDS+=('') ;; esac; COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _section3; printf '%s ' ${{COMPREPLY[@]}}",
            program()
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &command]).env("SECTION3_SOCKET", daemon.socket());
        bash.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let answer = finish(bash.spawn().expect("bash"), line).exits(0);
        assert_eq!((answer.out.trim_end(), answer.err.as_str()), (completed, ""), "{line}");
    }
}

#[test]
fn a_closed_pipe_ends_a_client_quietly() {
    let mut daemon = Daemon::start(TWO);
    let mut web = daemon.stage.actor("web");
    web.does("print 20000");
    web.tell("exit 0");
    daemon.events().until("exit", "web");
    let line = format!("'{}' tail -n 10000 web | head -n 1", program());
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).env("SECTION3_SOCKET", daemon.socket());
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let answer = finish(shell.spawn().expect("a shell"), "tail | head").exits(0);
    assert_eq!((answer.out.lines().count(), answer.err.as_str()), (1, ""));
}

#[test]
fn control_bytes_of_a_log_go_raw_into_a_pipe() {
    let daemon = Daemon::start("services: {web: {command: [printf, 'a\\033[31mb\\n'], restart: never}}");
    daemon.events().until("exit", "web");
    assert_eq!(daemon.cli(&["tail", "web"]).exits(0).out, "a\u{1b}[31mb\n");
}

#[test]
fn g42_a_log_line_that_looks_like_an_error_is_only_a_line() {
    let daemon = Daemon::start("services: {web: {command: 'echo ERROR: from the app', restart: never}}");
    daemon.events().until("exit", "web");
    let answer = daemon.cli(&["tail", "web"]).exits(0);
    assert_eq!((answer.out.as_str(), answer.err.as_str()), ("ERROR: from the app\n", ""));
}

#[test]
fn g43_a_line_longer_than_64_kib_is_printed_whole() {
    let line = "head -c 300000 /dev/zero | tr \"\\0\" x; echo";
    let daemon = Daemon::start(&format!("services: {{web: {{command: '{line}; echo end', restart: never}}}}"));
    daemon.events().until("exit", "web");
    let expected = format!("{}\nend\n", "x".repeat(300_000));
    let answer = daemon.cli(&["tail", "-n", "2", "web"]).exits(0);
    assert!(answer.out == expected, "{} bytes of {}", answer.out.len(), expected.len());
    assert!(daemon.ask(b"tail -n 2 web\n") == expected);
}

/// G31: what never ran, what an operator stopped, what ended and what failed are told apart, with how it ended.
#[test]
fn g31_every_way_not_to_run_has_its_word() {
    let config = "defaults: {restart: never}
services: {done: {command: exit 0}, bad: {command: exit 3}, web: {command: @web}, later: {command: @later, depends_on: {web: completed}}}";
    let mut daemon = Daemon::start(config);
    daemon.stage.actor("web");
    daemon.cli(&["wait", "done", "--for", "exited"]).exits(0);
    daemon.cli(&["wait", "bad", "--for", "failed"]).exits(0);
    daemon.cli(&["wait", "later", "--for", "waiting"]).exits(0);
    assert_eq!((&daemon.status("done")["last_exit"]["code"], &daemon.status("done")["crashes"]), (&0.into(), &0.into()));
    assert_eq!(daemon.status("bad")["last_exit"]["code"], 3);
    assert!(daemon.status("later")["last_exit"].is_null());
    daemon.cli(&["stop", "web"]).exits(0);
    assert_eq!(daemon.status("web")["state"], "stopped");
}
