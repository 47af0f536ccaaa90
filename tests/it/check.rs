//! Bad configurations: each is refused, and the message says where, what, and what is allowed.

use std::fs;

use crate::support::{Daemon, Home, Launch};

/// What is written, and what the message must hold.
const BAD: [(&str, &[&str]); 26] = [
    // g02, g03: unknown keys and words, with the nearest known one
    ("services:\n  web:\n    comand: x\n", &[":3:5", "services.web", "comand", "command"]),
    ("services:\n  web: {command: x, restart: nevr}\n", &[":2:", "services.web.restart", "nevr", "never"]),
    ("services:\n  web: {command: x, restart: on-failure}\n", &["on-failure", "on-crash"]),
    ("servces: {}\n", &[":1:1", "servces", "services"]),
    ("defaults: {command: x}\nservices: {}\n", &["defaults", "command"]),
    // g04: nothing to run
    ("services: {web: {command: ''}}\n", &["services.web.command"]),
    ("services: {web: {command: []}}\n", &["services.web.command"]),
    ("services:\n  web:\n", &["services.web", "command"]),
    ("", &["services"]),
    ("defaults: {}\n", &["services"]),
    // g05: names
    ("services: {../esc: {command: x}}\n", &["../esc"]),
    ("services: {'a b': {command: x}}\n", &["a b"]),
    ("services: {section3: {command: x}}\n", &["section3", "reserved"]),
    ("services: {-x: {command: x}}\n", &["-x"]),
    // g06: sizes and durations
    ("services: {web: {command: x, log_max_size: 9999999999G}}\n", &["log_max_size", "9999999999G", "1T"]),
    ("services: {web: {command: x, log_max_size: 1}}\n", &["log_max_size", "4K"]),
    ("services: {web: {command: x, stop_grace: 5}}\n", &["stop_grace", "5"]),
    ("services: {web: {command: x, stop_signal: NOPE}}\n", &["stop_signal", "NOPE"]),
    // g08: dependencies
    ("services: {web: {command: x, depends_on: [wbe]}}\n", &["depends_on", "wbe"]),
    ("services: {a: {command: x, depends_on: [a]}}\n", &["a"]),
    ("services: {a: {command: x, depends_on: [b]}, b: {command: x, depends_on: [a]}}\n", &["a", "b", "depends_on"]),
    // YAML itself
    ("services: {web: {command: x}, web: {command: y}}\n", &[":1:31", "services.web", "a second time"]),
    ("services:\n\tweb: {command: x}\n", &[":2:", "tab"]),
    ("services: {}\n---\nservices: {}\n", &["document"]),
    ("services: {web: {command: x, env: {A: '${NO_SUCH_VARIABLE}'}}}\n", &["NO_SUCH_VARIABLE"]),
    ("services: {web: {command: x, ready: {tcp: 'h:1', file: /x}}}\n", &["services.web.ready"]),
];

/// G02: unknown keys. G03: unknown restart words. G04: nothing to run. G05: names that are paths, blanks or options. G06: sizes that
/// overflow or are too small. G07: a second document, and `command` among the defaults. G08: unknown, own and cyclic dependencies.
#[test]
fn every_fault_is_named_with_its_place() {
    let home = Home::new("");
    let mut wrong = Vec::new();
    for (text, words) in BAD {
        fs::write(home.config(), text).expect("a config");
        let answer = home.cli(&["check"]);
        let missing: Vec<_> = words.iter().chain(&["section3.yml"]).filter(|word| !answer.err.contains(**word)).collect();
        if answer.code != 6 || !missing.is_empty() {
            wrong.push(format!("{text}exit {}, without {missing:?}: {}", answer.code, answer.err));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n\n{}", wrong.len(), BAD.len(), wrong.join("\n"));
}

#[test]
fn problems_are_listed_together_in_line_order() {
    let home =
        Home::new("services:\n  a: {command: x, restart: nevr}\n  b: {command: x, umask: x}\nsupervisor: {console: some}\n");
    let said = home.cli(&["check"]).exits(6).err;
    let places: Vec<_> = ["services.a.restart", "services.b.umask", "supervisor.console"].iter().map(|p| said.find(p)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}:\n{said}");
}

#[test]
fn a_good_file_is_accepted() {
    let home = Home::new("services: {web: {command: x}}");
    home.cli(&["check"]).exits(0);
    home.json(&["check"]);
    let other = home.path("other.yml");
    fs::write(&other, "services: {}\n").expect("a config");
    let other = other.display().to_string();
    home.cli(&["check", &other]).exits(0).says(&["0 services"]);
    // As the supervisor is told which.
    home.cli(&["check", "--config", &other]).exits(0).says(&["0 services"]);
    home.cli(&["check", "--config", &other, &other]).exits(2);
}

#[test]
fn problems_are_listed_as_json_too() {
    let home = Home::new("services: {web: {comand: x}}");
    let answer = home.cli(&["check", "--json"]).exits(6);
    let document: serde_json::Value = serde_json::from_str(&answer.out).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
    assert!(document.to_string().contains("comand"));
}

#[test]
fn g09_what_is_no_small_regular_file_is_refused() {
    let home = Home::new("");
    fs::write(home.config(), format!("services: {{}}\n#{}\n", "x".repeat(1 << 20))).expect("a config");
    home.cli(&["check"]).exits(6).says(&["section3.yml"]);
    fs::remove_file(home.config()).expect("gone");
    home.cli(&["check"]).exits(6).says(&["section3.yml"]);
    nix::unistd::mkfifo(&home.config(), nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    home.cli(&["check"]).exits(6).says(&["section3.yml"]);
    home.cli(&["check", "/"]).exits(6);
}

/// G09: aliases are limited.
#[test]
fn alias_bombs_are_refused() {
    let home = Home::new("");
    let mut bomb = "x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n".to_owned();
    for n in 1..12 {
        bomb += &format!("x{n}: &x{n} [{}]\n", vec![format!("*x{}", n - 1); 10].join(", "));
    }
    fs::write(home.config(), format!("{bomb}services: {{web: {{command: *x11}}}}\n")).expect("a config");
    home.cli(&["check"]).exits(6);
}

/// G09: so is depth, whatever it is made of. An earlier build took 19 s for the first of them.
#[test]
fn depths_are_refused() {
    let home = Home::new("");
    for (open, times) in ["[", "{", "{a: ", "[a, ", "- ", "? "].into_iter().flat_map(|open| [(open, 100_000), (open, 500_000)]) {
        let text: String = format!("services: {}", open.repeat(times)).chars().take((1 << 20) - 1).chain(['\n']).collect();
        fs::write(home.config(), text).expect("a config");
        home.cli(&["check"]).exits(6).says(&["section3.yml:1:"]);
    }
}

#[test]
fn g10_a_supervisor_with_a_bad_config_says_so_on_stderr_and_ends_with_6() {
    let mut daemon = Launch::new(Home::new("services: {web: {comand: x}}")).spawn();
    assert_eq!(daemon.ends(), 6);
    let said = daemon.stderr.rest();
    assert!(said.contains("comand") && said.contains("section3.yml"), "{said}");
}

/// G01: at the start, too.
#[test]
fn a_supervisor_without_a_config_ends_with_6() {
    let home = Home::new("");
    fs::remove_file(home.config()).expect("no config");
    let mut daemon = Launch::new(home).spawn();
    assert_eq!(daemon.ends(), 6);
    assert!(daemon.stderr.rest().contains("section3.yml"));
}

#[test]
fn variables_of_the_supervisor_are_expanded_but_not_in_a_shell_line() {
    let config = "services: {web: {command: [sh, -c, 'echo ${WORD} ${NONE:-other} $$HOME'], restart: never, env: {A: '${WORD}'}},
  line: {command: 'echo ${A:-none}', restart: never, env: {A: 'x-${WORD}'}}}";
    let daemon = Launch::new(Home::new(config)).env("WORD", "hello").env("HOME", "/somewhere").start();
    let mut events = daemon.events();
    for _ in 0..2 {
        events.until_that("an exit", |e| e["type"] == "exit");
    }
    assert_eq!(daemon.log_text("web"), "hello other /somewhere\n");
    assert_eq!(daemon.log_text("line"), "x-hello\n");
}

/// P04: a typo in the selection is no success, and starts nothing.
#[test]
fn a_selection_that_names_nothing_is_an_error() {
    let config = "supervisor: {select: {env: WHICH, unknown: warn}}\nservices: {web: {command: @web}, other: {command: @other}}";
    let mut none = Launch::new(Home::new(config)).env("WHICH", "wbe").spawn();
    assert_ne!(none.ends(), 0);
    let mut one: Daemon = Launch::new(Home::new(config)).env("WHICH", "web,nobody").start();
    one.stage.actor("web");
    one.events().until_daemon("daemon_ready");
    assert!(one.stage.unclaimed().is_empty());
}
