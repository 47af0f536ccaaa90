//! Whole files: what they mean, and every word of what is said about broken ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Problems, load, parse};
use crate::spec::{
    Account, Backoff, Command, Condition, Console, Definition, Dependency, ExitWhen, Limit, LimitValue, LogLimits, Policy,
    Resource, Restart, Service, Spec, User,
};
use crate::value::{ByteSize, ServiceName, Signal};

fn read(text: &str) -> Result<Spec, Problems> {
    parse(text, "section3.yml", &|name| (name == "PORT").then(|| "8080".to_owned()))
}

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).expect("name")
}

/// The message without the file's name, which is the same in each line.
fn said(text: &str) -> String {
    read(text).expect_err(text).to_string().replace("section3.yml", "F")
}

/// A service with nothing but a command.
fn plain(service: &str, command: Command) -> Service {
    Service {
        name: name(service),
        definition: Definition {
            command,
            dir: None,
            depends_on: vec![],
            env: [].into(),
            env_files: vec![],
            clean_env: false,
            user: None,
            umask: 0o022,
            nice: None,
            oom_score_adj: None,
            limits: vec![],
            ready: None,
        },
        policy: Policy::default(),
    }
}

#[test]
fn the_config_of_the_article() {
    let spec = read(
        "defaults:\n  dir: /workspace\n  restart: always\nservices:\n  web:\n    command: /usr/local/bin/my-web-server --port 8080\n  \
         worker:\n    command: /usr/local/bin/my-worker --queue default\n    restart: on-crash\n    depends_on:\n      - web\n",
    )
    .expect("article");
    let mut web = plain("web", Command::Shell("/usr/local/bin/my-web-server --port 8080".to_owned()));
    web.definition.dir = Some(PathBuf::from("/workspace"));
    let mut worker = plain("worker", Command::Shell("/usr/local/bin/my-worker --queue default".to_owned()));
    worker.definition.dir = Some(PathBuf::from("/workspace"));
    worker.policy.restart = Restart::OnCrash;
    worker.definition.depends_on = vec![Dependency { name: name("web"), condition: Condition::Ready }];
    assert_eq!(spec.services, [web, worker]);
    assert_eq!(spec.settings, crate::spec::Settings::default());
}

#[test]
fn every_key_of_a_service_and_of_the_supervisor() {
    let spec = parse(
        "services:\n  a:\n    command: [run, \"--port=${PORT}\"]\n    dir: /srv\n    restart: never\n    env: {B: 1.10}\n    \
         env_file: [x.env, /y.env]\n    clean_env: true\n    user: app:100\n    umask: 0027\n    nice: -5\n    oom_score_adj: 500\n    \
         limits: {nofile: 1024}\n    ready: {notify: systemd}\n    health: {file: /x}\n    stop_signal: INT\n    stop_grace: 1s\n    \
         backoff: {initial: 2s}\n    log_max_size: 10M\n    log_keep: 2\n    essential: true\n    decisions: [gate, 5]\n  b: {command: b, depends_on: {a: completed}}\n\
         supervisor: {console: events, log_max_size: 2M, log_keep: 3, stop_grace: 4s, exit_when: all-ended}\n\
         plugins: {gate: {enabled: false}, 5: {enabled: false}}\n",
        "/etc/s3/section3.yml",
        &|name| (name == "PORT").then(|| "8080".to_owned()),
    )
    .expect("good");
    let a = &spec.services[0];
    assert_eq!(a.definition.command, Command::Argv(vec!["run".to_owned(), "--port=8080".to_owned()]));
    assert_eq!(a.definition.dir.as_deref(), Some(Path::new("/srv")));
    assert_eq!(a.definition.env, [("B".to_owned(), "1.10".to_owned())].into());
    assert_eq!(a.definition.env_files, [PathBuf::from("/etc/s3/x.env"), PathBuf::from("/y.env")]);
    assert!(a.definition.clean_env && a.policy.essential);
    assert_eq!(a.policy.decisions, ["gate", "5"]);
    assert_eq!(a.definition.user, Some(User { user: Account::Name("app".to_owned()), group: Some(Account::Number(100)) }));
    assert_eq!((a.definition.umask, a.definition.nice, a.definition.oom_score_adj), (0o027, Some(-5), Some(500)));
    assert_eq!(a.definition.limits, [Limit { resource: Resource::Nofile, value: LimitValue::At(1024) }]);
    assert!(a.definition.ready.is_some() && a.policy.health.is_some());
    assert_eq!(
        (a.policy.restart, a.policy.stop_signal, a.policy.stop_grace),
        (Restart::Never, Signal::INT, Duration::from_secs(1))
    );
    assert_eq!(a.policy.backoff, Backoff { initial: Duration::from_secs(2), ..Backoff::default() });
    assert_eq!(a.policy.log, LogLimits { max_size: ByteSize::mebibytes(10), keep: 2 });
    assert_eq!(spec.services[1].definition.depends_on, [Dependency { name: name("a"), condition: Condition::Completed }]);
    assert_eq!((spec.settings.console, spec.settings.exit_when), (Console::Events, ExitWhen::AllEnded));
    assert_eq!(spec.settings.log, LogLimits { max_size: ByteSize::mebibytes(2), keep: 3 });
    assert_eq!(spec.settings.stop_grace, Duration::from_secs(4));
}

#[test]
fn defaults_lie_under_each_service_and_env_is_merged_by_name() {
    let spec = read(
        "defaults: {env: {A: 1, B: 1}, umask: 077, backoff: {initial: 0s}, log_keep: 9, nice: 5, decisions: [x]}\n\
         services:\n  a: {command: a, env: {B: 2, C: 2}, backoff: {max: 5s}}\n  b: {command: b, umask: 022, decisions: []}\nplugins: {x: {enabled: false}}\n",
    )
    .expect("good");
    let [a, b] = &spec.services[..] else { panic!("two") };
    let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    assert_eq!(a.definition.env, env(&[("A", "1"), ("B", "2"), ("C", "2")]));
    assert_eq!(b.definition.env, env(&[("A", "1"), ("B", "1")]));
    assert_eq!(a.policy.backoff, Backoff { max: Duration::from_secs(5), ..Backoff::default() });
    assert_eq!(b.policy.backoff.initial, Duration::ZERO);
    assert_eq!((a.definition.umask, b.definition.umask), (0o077, 0o022));
    assert_eq!((a.policy.log.keep, b.definition.nice), (9, Some(5)));
    assert_eq!((a.policy.decisions.len(), b.policy.decisions.len()), (1, 0));
}

#[test]
fn nothing_to_run_must_be_written() {
    assert_eq!(read("services: {}\n").map(|spec| spec.services), Ok(vec![]));
    for (text, message) in [
        ("", "F:1:1: no value given; a config is a map with `services`; write `services: {}` to run none"),
        ("# nothing\n", "F:1:1: no value given; a config is a map with `services`; write `services: {}` to run none"),
        ("services\n", "F:1:1: found `services`; a config is a map with `services`; write `services: {}` to run none"),
        ("[]\n", "F:1:1: found a list; a config is a map with `services`; write `services: {}` to run none"),
        ("{}\n", "F:1:1: no `services`; write `services: {}` to run none"),
        ("services:\n", "F:1:1: services: no value given; allowed: a map of name: service; write `services: {}` to run none"),
        ("services: []\n", "F:1:1: services: found a list; allowed: a map of name: service; write `services: {}` to run none"),
        ("services:\n  web:\n", "F:2:3: services.web: no value given; allowed: a map with at least `command`"),
        ("services:\n  web: {}\n", "F:2:3: services.web: no `command`; a service needs one"),
        (
            "services: {a: {command: \"\"}}\n",
            "F:1:25: services.a.command: found ``; allowed: a line for the shell, or a list of a program and its arguments",
        ),
    ] {
        assert_eq!(said(text), message, "{text:?}");
    }
}

#[test]
fn every_problem_of_a_file_in_its_order() {
    let text = "\
version: 3
defaults:
  command: x
  restart: no
services:
  web:
    comand: serve
    restart: nevr
    env: {A: , B: [1]}
    log_max_size: 9999999999G
  \"../../esc\": {command: x}
  section3: {command: x}
  a: {command: a, depends_on: [b, wbe, a]}
  b: {command: b, depends_on: [c]}
  c: {command: c, depends_on: [a], stop_signal: TREM}
  d: {command: d, depends_on: {c: completed, a: service_healthy}}
  web: {command: x}
  e: {command: [e, \"${SECRET}\"], essential: yes}
  f: {dir: 5, umask: 9}
supervisor:
  console: loud
  select: {env: PORT}
hooks: x.lua
";
    let expected = "\
F:1:1: version: unknown key `version`; allowed: `defaults`, `services`, `hooks`, `plugins`, `secrets`, `supervisor`
F:3:3: defaults.command: unknown key `command`; allowed: DEFAULTS
F:4:12: defaults.restart: found `no`; allowed: `always`, `never`, `on-crash`; did you mean `never`?
F:7:5: services.web.comand: unknown key `comand`; allowed: `command`, `depends_on`, DEFAULTS; did you mean `command`?
F:8:14: services.web.restart: found `nevr`; allowed: `always`, `never`, `on-crash`; did you mean `never`?
F:9:11: services.web.env.A: no value given; allowed: text; write \"\" for an empty variable
F:9:16: services.web.env.B: found a list; allowed: text; write \"\" for an empty variable
F:10:19: services.web.log_max_size: found `9999999999G`; a size lies between 4K and 1T
F:11:3: services.../../esc: found the name `../../esc`; a service name is 1 to 64 letters, digits, `_`, `.` or `-`, and starts with a letter or digit
F:12:3: services.section3: found the name `section3`; `section3` is reserved for the supervisor itself
F:13:35: services.a.depends_on[1]: found `wbe`; no such service; did you mean `web`?
F:13:40: services.a.depends_on[2]: found `a`; a service cannot depend on itself
F:15:32: services.c.depends_on[0]: found a cycle: a -> b -> c -> a; take one of these dependencies out
F:15:49: services.c.stop_signal: found `TREM`; no such signal; did you mean `TERM`?
F:16:32: services.d.depends_on.c: found `c: completed`; it never completes, because its `restart` is `always`; give it `restart: never` or `on-crash`
F:16:49: services.d.depends_on.a: found `service_healthy`; allowed: `started`, `ready`, `completed`; did you mean `ready`?
F:17:3: services.web: found `web` a second time; a key is given once
F:18:20: services.e.command[1]: found `${SECRET}`; `SECRET` is not set in the supervisor's environment; set it, or write `${SECRET:-default}`
F:18:45: services.e.essential: found `yes`; allowed: `true`, `false`; did you mean `true`?
F:19:3: services.f: no `command`; a service needs one
F:21:12: supervisor.console: found `loud`; allowed: `all`, `events`, `none`
F:23:8: hooks: found `x.lua`; allowed: a list of Lua files and of programs such as `{on: [crash], run: [./page.sh]}`
and 3 more";
    let defaults = "`dir`, `restart`, `env`, `env_file`, `clean_env`, `user`, `umask`, `nice`, `oom_score_adj`, `limits`, `ready`, \
                    `health`, `stop_signal`, `stop_grace`, `backoff`, `log_max_size`, `log_keep`, `essential`, \
                    `decisions`";
    let found = said(text);
    for (found, expected) in found.lines().zip(expected.replace("DEFAULTS", defaults).lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, expected.replace("DEFAULTS", defaults));
}

#[test]
fn who_advises_is_a_hook_or_a_plugin() {
    let plugins = "plugins: {policy: {enabled: false}}";
    assert!(read(&format!("services: {{a: {{command: x, decisions: [policy]}}}}\n{plugins}")).is_ok());
    assert_eq!(
        said(&format!("defaults: {{decisions: [x]}}\nservices: {{a: {{command: x, decisions: [polcy]}}}}\n{plugins}")),
        "F:1:24: defaults.decisions[0]: found `x`; no hook or plugin of that name\n\
         F:2:40: services.a.decisions[0]: found `polcy`; no hook or plugin of that name; did you mean `policy`?"
    );
}

#[test]
fn a_hint_is_a_key_that_is_allowed_there() {
    for (text, hint) in [
        ("defaults: {cwd: /}\nservices: {}\n", Some("dir")),
        ("defaults: {after: [a]}\nservices: {}\n", None),
        ("services: {a: {command: a, after: [b]}}\n", Some("depends_on")),
        ("services: {a: {command: a, health: {file: x, regex: y}}}\n", None),
    ] {
        let problems = read(text).expect_err(text).problems;
        assert_eq!(problems[0].nearest.as_deref(), hint, "{text}");
    }
}

#[test]
fn a_selection_is_made_among_all_services() {
    let text = "services: {a: {command: a}, b: {command: b}}\nsupervisor: {select: {env: ONLY, unknown: warn}}\n";
    let with = |only: &'static str| parse(text, "F", &move |name| (name == "ONLY").then(|| only.to_owned()));
    let spec = with("b,x").expect("good");
    assert_eq!(spec.services.len(), 2);
    let selection = spec.settings.select.expect("selection");
    assert_eq!((selection.picked, selection.ignored), (Some(vec![name("b")]), vec!["x".to_owned()]));
    let message = "F:2:28: supervisor.select.env: found `x` in the variable `ONLY`, which names no service; allowed: `a`, `b`";
    assert_eq!(with("x").expect_err("none").to_string(), message);
}

#[test]
fn numbers_that_the_kernel_or_nobody_takes() {
    for (keys, allowed) in [
        ("nice: 20", "a whole number from -20 to 19"),
        ("nice: -21", "a whole number from -20 to 19"),
        ("oom_score_adj: 1001", "a whole number from -1000 to 1000"),
        ("oom_score_adj: -1001", "a whole number from -1000 to 1000"),
        ("stop_grace: 61m", "at most 1h"),
    ] {
        let found = said(&format!("services: {{a: {{command: x, {keys}}}}}"));
        assert!(found.ends_with(&format!("allowed: {allowed}")), "{keys}: {found}");
    }
    let found = said("services: {}\nsupervisor: {stop_grace: 61m}");
    assert!(found.ends_with("found `61m`; allowed: at most 1h"), "{found}");
}

/// A message is not as long as the file, and there are not as many as there are lines.
#[test]
fn cycles_are_cut() {
    let ring: String = (0..30).map(|n| format!("  s{n}: {{command: x, depends_on: [s{}]}}\n", (n + 1) % 30)).collect();
    let found = said(&format!("services:\n{ring}"));
    assert!(found.contains("-> s9 -> (10 more) -> s20 ->") && found.lines().count() == 1, "{found}");
    let pairs: String = (0..150)
        .map(|n| format!("  a{n}: {{command: x, depends_on: [b{n}]}}\n  b{n}: {{command: x, depends_on: [a{n}]}}\n"))
        .collect();
    let problems = read(&format!("services:\n{pairs}")).expect_err("cycles");
    assert_eq!(problems.problems.len() + problems.more, 100);
}

#[test]
fn files_as_they_are_named() {
    let env = |_: &str| None;
    let missing = load(Path::new("no/such.yml"), &env).expect_err("missing").to_string();
    let next = "write a first one with `section3 init`, or name another with --config or SECTION3_CONFIG";
    assert_eq!(missing, format!("no/such.yml: no such file; {next}"));
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("section3.yml");
    std::fs::write(&path, "services: {}\n").expect("file");
    assert!(load(&path, &env).is_ok());
}

/// Nothing that a slip or a broken disk can write makes the reader panic or point outside of the file.
#[test]
fn broken_bytes_give_a_spec_or_a_place() {
    let whole = "defaults: &d {dir: /x, env: {A: '1', B: \"\\x41\"}}\nservices:\n  web: # é\n    command: |\n      a\n      b\n    \
                 depends_on: [db]\n    limits: {nofile: 5}\n  ? db\n  : {command: [x, 1.10, ~], ready: {tcp: \"a:1\"}}\n";
    let pieces = [
        "[", "{", "]", "}", ":", "- ", "? ", "\n", "\t", "&x ", "*x", "!", "'", "\"", "|", "#", "---\n", "...\n", "%", "@", "é",
        "\u{feff}", "<<: *d", "~", "${A", "",
    ];
    // A linear congruential generator (Knuth, MMIX): the same histories at each run.
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    assert!(read(whole).is_err_and(|p| p.problems.len() == 1 && p.problems[0].path == "services.db.command[2]"));
    for _ in 0..5_000 {
        let mut text: Vec<char> = whole.chars().collect();
        for _ in 0..=random(4) {
            let at = random(text.len());
            let end = (at + random(6)).min(text.len());
            text.splice(at..end, pieces[random(pieces.len())].chars());
        }
        let text: String = text.into_iter().collect();
        let Err(problems) = read(&text) else { continue };
        assert!(!problems.problems.is_empty(), "{text}");
        for problem in problems.problems {
            // The library puts a missing end on the line after the last.
            assert!(problem.line.is_none_or(|line| line <= text.split('\n').count() + 1), "{problem}: {text}");
        }
    }
}
