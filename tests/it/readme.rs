//! README.md does not lie: its configs are checked, its commands are run, its tables are compared with the program.
//!
//! A ```` ```yaml ```` block must be a valid config. In a ```` ```console ```` block the lines after `$ ` are run against the
//! supervisor of the `yaml quickstart` block, in a ```` ```socket ```` block those after `> ` are sent to it; what they say must be
//! what the page says, with every number as good as any other and `...` standing for any text. Blocks share one supervisor, in
//! the order of the page.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::home::{finish, program};
use crate::support::{Daemon, Home};

const PAGE: &str = include_str!("../../README.md");

/// The fenced blocks whose info string begins with these words.
fn blocks(info: &str) -> Vec<&'static str> {
    let fenced = PAGE.split("\n```").skip(1).step_by(2);
    let blocks: Vec<_> = fenced.filter_map(|block| block.split_once('\n')).filter(|(head, _)| head.starts_with(info)).collect();
    assert!(!blocks.is_empty(), "the page has no block `{info}`");
    blocks.into_iter().map(|(_, body)| body).collect()
}

/// The rows of the first table whose head row begins with this cell, under this heading.
fn table(heading: &str, first_cell: &str) -> Vec<Vec<&'static str>> {
    let (_, under) = PAGE.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("the page has no `{heading}`"));
    let mut lines = under.lines().skip_while(|line| !line.starts_with(&format!("| {first_cell} |")));
    assert!(lines.next().is_some(), "no table of `{first_cell}` under `{heading}`");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// The words between ticks.
fn ticked(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The ticked words in the first cells of a table.
fn names(heading: &str, first_cell: &str) -> BTreeSet<&'static str> {
    table(heading, first_cell).iter().flat_map(|row| ticked(row[0])).collect()
}

/// A text in which every number and every duration is `N`.
fn without_numbers(text: &str) -> String {
    let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit()) || section3::value::duration::parse(word).is_ok();
    let mut plain = String::new();
    for piece in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if !word.is_empty() && is_number(word) {
            plain.push('N');
        } else {
            plain.extend(word.chars().filter(|c| !c.is_ascii_digit()));
        }
        plain += &piece[word.len()..];
    }
    plain.trim_end().to_owned()
}

/// Whether a text is what the page says it is.
fn is_as_written(written: &str, said: &str) -> bool {
    let (written, said) = (without_numbers(written), without_numbers(said));
    let mut rest = said.as_str();
    let pieces: Vec<_> = written.split("...").collect();
    for (at, piece) in pieces.iter().enumerate() {
        let found = match at {
            0 => rest.strip_prefix(piece),
            _ if at + 1 == pieces.len() => rest.ends_with(piece).then_some(""),
            _ => rest.split_once(piece).map(|(_, rest)| rest),
        };
        let Some(found) = found else { return false };
        rest = found;
    }
    rest.is_empty()
}

/// The parts of a block that begin with a line after `mark`: that line, and what follows it.
fn exchanges<'a>(block: &'a str, mark: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let parts = block.strip_prefix(mark).unwrap_or_else(|| panic!("a block does not begin with `{mark}`:\n{block}"));
    parts
        .split(&format!("\n{mark}") as &str)
        .map(|part| part.split_once('\n').unwrap_or((part, "")))
        .collect::<Vec<_>>()
        .into_iter()
}

/// The supervisor of the quick start, once all of it is up.
fn quick_start() -> Daemon {
    let daemon = Daemon::start(blocks("yaml quickstart")[0]);
    daemon.events().until_daemon("daemon_ready");
    daemon
}

/// Runs a line of the page in a shell that knows `section3`.
fn shell(home: &Home, line: &str) -> String {
    let path = Path::new(program()).parent().expect("a folder").display().to_string();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).current_dir(home.path(""));
    command.env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap_or_default()));
    command.env("SECTION3_SOCKET", home.socket()).env("SECTION3_CONFIG", home.config());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let answer = finish(command.spawn().expect("a shell"), line);
    answer.out + &answer.err
}

#[test]
fn its_configs_are_valid() {
    for block in blocks("yaml") {
        let home = Home::new(block);
        home.cli(&["check"]).exits(0);
    }
}

#[test]
fn its_commands_and_requests_say_what_it_says() {
    let daemon = quick_start();
    for block in blocks("console") {
        for (line, written) in exchanges(block, "$ ") {
            let said = shell(&daemon, line);
            assert!(is_as_written(written, &said), "`{line}` says\n{said}\nand the page\n{written}");
        }
    }
    for block in blocks("socket") {
        for (line, written) in exchanges(block, "> ") {
            let said = daemon.ask(format!("{line}\n").as_bytes());
            let written: String = written.lines().map(|line| format!("{}\n", line.strip_prefix("< ").unwrap_or(line))).collect();
            assert!(is_as_written(&written, &said), "`{line}` is answered by\n{said}\nand on the page by\n{written}");
        }
    }
}

#[test]
fn its_event_has_the_fields_of_one() {
    let keys = |value: &serde_json::Value| -> BTreeSet<String> {
        value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
    };
    let daemon = quick_start();
    let written: serde_json::Value = serde_json::from_str(blocks("json")[0]).expect("JSON");
    let real = daemon.events().until("ready", "web");
    assert_eq!((keys(&written), keys(&written["data"])), (keys(&real), keys(&real["data"])));
}

/// The keys that `check` says are allowed at the place of `zzz` in this config.
fn allowed(home: &Home, config: &str) -> BTreeSet<String> {
    std::fs::write(home.config(), config).expect("a config");
    let said = home.cli(&["check"]).exits(6).err;
    let line = said.lines().find(|line| line.contains("unknown key `zzz`")).unwrap_or_else(|| panic!("{config}: {said}"));
    let (_, list) = line.split_once("allowed: ").expect("a list");
    ticked(list).into_iter().map(str::to_owned).collect()
}

/// The keys of a table that stand below `prefix`, without it.
fn below(keys: &BTreeSet<&str>, prefix: &str) -> BTreeSet<String> {
    let inner = keys.iter().filter_map(|key| match prefix {
        "" => key.split('.').next(),
        _ => key.strip_prefix(prefix)?.strip_prefix('.'),
    });
    inner.map(str::to_owned).collect()
}

#[test]
fn its_keys_are_the_keys() {
    let home = Home::new("");
    let service = names("### Service keys", "key");
    let supervisor = names("### Keys of `supervisor`", "key");
    let none = |heading: &str| below(&names(heading, "key"), "");
    for (config, written) in [
        ("services: {}\nzzz: 1", none("### Top-level keys")),
        ("services: {a: {command: x, zzz: 1}}", below(&service, "")),
        ("services: {a: {command: x, limits: {zzz: 1}}}", below(&service, "limits")),
        ("services: {a: {command: x, backoff: {zzz: 1}}}", below(&service, "backoff")),
        ("services: {a: {command: x, ready: {zzz: 1}}}", none("### Keys of `ready`")),
        ("services: {a: {command: x, health: {zzz: 1}}}", none("### Keys of `health`")),
        ("services: {}\nsupervisor: {zzz: 1}", below(&supervisor, "")),
        ("services: {}\nsupervisor: {select: {zzz: 1}}", below(&supervisor, "select")),
        ("services: {}\ndefaults: {zzz: 1}", &below(&service, "") - &["command", "depends_on"].map(str::to_owned).into()),
    ] {
        assert_eq!(written, allowed(&home, config), "the page, and the program on `{config}`");
    }
}

/// `a.b` with a value, as YAML.
fn entry(key: &str, value: &str) -> String {
    key.rsplit('.').fold(value.to_owned(), |inner, word| format!("{{{word}: {inner}}}"))[1..].trim_end_matches('}').to_owned()
        + &"}".repeat(key.matches('.').count())
}

#[test]
fn its_defaults_are_the_defaults() {
    let plain = "a: {command: exec sleep 100000}";
    let ready = "a: {command: exec sleep 100000, ready: {file: /x}}";
    let health = "a: {command: exec sleep 100000, health: {file: /x}}";
    for (base, inside, heading) in
        [(plain, "}", "### Service keys"), (ready, "}}", "### Keys of `ready`"), (health, "}}", "### Keys of `health`")]
    {
        let daemon = Daemon::start(&format!("services: {{{base}}}"));
        for row in table(heading, "key") {
            let (keys, defaults) = (ticked(row[0]), ticked(row[2]));
            for (key, default) in keys.iter().flat_map(|key| defaults.iter().map(move |default| (key, default))) {
                let with = format!("{}, {}{inside}", base.strip_suffix(inside).expect("its end"), entry(key, default));
                daemon.configure(&format!("services: {{{with}}}"));
                let plan = daemon.cli(&["reload", "--dry-run"]).exits(0).out;
                assert!(plan.contains("unchanged"), "`{default}` is not the default of `{key}` under `{heading}`: {plan}");
            }
        }
    }
}

#[test]
fn its_commands_are_the_commands() {
    let home = Home::new("");
    let help = home.cli(&["--help"]).exits(0).out;
    let (_, list) = help.split_once("Commands:\n").expect("the commands");
    let real: BTreeSet<_> =
        list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next()).collect();
    let rows = table("## Commands", "command");
    let verbs = |row: &[&'static str]| ticked(row[0]).into_iter().filter_map(|usage| usage.split(' ').next()).collect::<Vec<_>>();
    assert_eq!(rows.iter().flat_map(|row| verbs(row)).collect::<BTreeSet<_>>(), real);
    for row in &rows {
        // `help` has no help of its own.
        for verb in verbs(row).into_iter().filter(|verb| *verb != "help") {
            let help = home.cli(&[verb, "--help"]).exits(0).out;
            // The paths have a table of their own.
            for line in help.lines().map(str::trim_start).filter(|line| line.starts_with('-')) {
                let flags: Vec<_> = line.split([' ', ',', '=']).filter(|word| word.starts_with('-')).collect();
                let known =
                    flags.iter().any(|flag| ["--help", "--socket", "--config"].contains(flag) || row.concat().contains(*flag));
                assert!(known, "`{verb}` has {flags:?}, and the page not");
            }
        }
    }
    for row in table("## Commands", "path") {
        for word in row.iter().flat_map(|cell| ticked(cell)) {
            assert!(help.contains(word), "--help does not have the `{word}` of the page");
        }
    }
}

#[test]
fn its_exit_codes_are_the_exit_codes() {
    let home = Home::new("");
    let help = home.cli(&["status", "--help"]).exits(0).out.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, real) = help.split_once("Exit codes: ").expect("the codes");
    let written: Vec<_> = table("## Commands", "exit code").iter().map(|row| row.join(" ")).collect();
    assert_eq!(written.join(", "), real);
}

#[test]
fn its_words_are_the_words() {
    let daemon = Daemon::start("services: {a: {command: exec sleep 100000}}");
    let listed = |said: &str, before: &str| -> BTreeSet<String> {
        let (_, list) = said.split_once(before).unwrap_or_else(|| panic!("no list in {said}"));
        list.trim().split(", ").map(str::to_owned).collect()
    };
    let owned = |words: BTreeSet<&str>| words.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    let said = daemon.cli(&["wait", "a", "--for", "zzzzzzzzzzzz"]).exits(2).err;
    assert_eq!(owned(names("## Life of a service", "state")), listed(&said, "the states are "));
    let said = daemon.ask(b"zzzzzzzzzzzz\n");
    assert_eq!(owned(names("## Socket protocol", "op")), listed(&said, "the commands are "));

    let (_, line) = PAGE.split_once("\nError codes: ").expect("the error codes");
    let by_client = ["no_supervisor", "connection_lost"];
    let codes = section3::wire::FaultCode::ALL.iter().map(|code| serde_json::to_value(code).expect("a word"));
    let codes: BTreeSet<_> = codes.filter_map(|code| code.as_str().map(str::to_owned)).collect();
    assert_eq!(
        owned(ticked(line.lines().next().unwrap_or_default()).into_iter().collect()),
        &codes - &by_client.map(str::to_owned).into()
    );
}

#[test]
fn its_events_are_the_events() {
    use section3::wire::catalog::{CUSTOM, EVENTS};
    let real: BTreeSet<_> = EVENTS.iter().chain([&CUSTOM]).map(|event| event.name).collect();
    let written = names("## Events", "type");
    assert_eq!(written, real);
}

#[test]
fn its_plugins_are_the_plugins() {
    let home = Home::new("services: {}");
    let listed = home.json(&["plugin", "list"]);
    let real: BTreeSet<_> = listed["plugins"].as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names("## Hooks and plugins", "plugin"), real);
}

#[test]
fn its_benches_are_the_benches() {
    let manifest = include_str!("../../Cargo.toml");
    let real: BTreeSet<_> = manifest.split("\n[[bench]]\n").skip(1).filter_map(|part| part.split('"').nth(1)).collect();
    assert_eq!(names("## Building and measuring", "bench"), real);
}

#[test]
fn a_lie_would_be_seen() {
    assert!(is_as_written("web  running  PID 1  uptime 1s", "web  running  PID 4711  uptime 12s\n"));
    assert!(is_as_written("uptime 1s\nlog1  5ms ago", "uptime 1h2m\nlog12  1d3h ago"));
    assert!(is_as_written("a ... c\n...\ne", "a b c\nd\nd\ne"));
    for (written, said) in [
        ("web  running", "web  stopped"),
        ("web", "web\nmore"),
        ("uptime 1s", "uptime s"),
        ("a ... c", "a b d"),
        ("", "x"),
        ("x", ""),
    ] {
        assert!(!is_as_written(written, said), "{written:?} {said:?}");
    }
    assert_eq!((entry("dir", "x"), entry("backoff.max", "1s")), ("dir: x".to_owned(), "backoff: {max: 1s}".to_owned()));
}
