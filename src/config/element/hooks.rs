//! `hooks:`: Lua files, and programs that are run for events.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command;
use crate::config::reader::{Keys, Report, Value, shown};
use crate::config::source::{self, Kind};
use crate::config::tree::Node;
use crate::spec::Command;
use crate::spec::script::{Hook, Program};
use crate::value::duration;
use crate::value::nearest::nearest;
use crate::wire::catalog;

const LIST: &str = "allowed: a list of Lua files and of programs such as `{on: [crash], run: [./page.sh]}`";
const PROGRAM: Keys = Keys {
    known: &["on", "service", "run", "timeout"],
    foreign: &[
        ("event", "on"),
        ("events", "on"),
        ("types", "on"),
        ("services", "service"),
        ("command", "run"),
        ("cmd", "run"),
        ("exec", "run"),
    ],
    rule: LIST,
};
/// A run of a handler that names no other limit.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that a handler may run: its lane waits for it.
const LONGEST: Duration = Duration::from_secs(600);

/// A hook with the place of its entry.
pub type Placed = (Hook, crate::config::reader::Spot);

/// Reads `hooks:`; what is wrong is noted. Every name is there once.
pub fn read(value: &Value<'_>, report: &mut Report<'_>) -> Vec<Placed> {
    if !matches!(value.node(), Node::List(_)) {
        report.wrong::<()>(value, LIST);
        return Vec::new();
    }
    let mut names = HashSet::new();
    let mut hooks = Vec::new();
    for item in value.items() {
        let hook = match item.node() {
            Node::Map(_) => program(&item, report, &mut names),
            _ => file(&item, report, &mut names),
        };
        hooks.extend(hook.map(|hook| (hook, item.spot())));
    }
    hooks
}

fn file(value: &Value<'_>, report: &mut Report<'_>, names: &mut HashSet<String>) -> Option<Hook> {
    if let Node::Scalar(_) = value.node() {
        let path = value.path_value(report)?;
        let path = absolute(report, path);
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| is_name(stem)) else {
            return report.wrong(value, format_args!("{NAME}, and the file's name without its ending is that name"));
        };
        let name = name.to_owned();
        safe(value, report, &path)?;
        if !names.insert(name.clone()) {
            return report.wrong(value, format_args!("there is a hook `{name}` before this one; rename one of the files"));
        }
        return Some(Hook::File { name, path });
    }
    report.wrong(value, LIST)
}

fn program(value: &Value<'_>, report: &mut Report<'_>, names: &mut HashSet<String>) -> Option<Hook> {
    let before = report.count();
    // Not an empty path: beside a config without a folder it would stay one, and nothing can run there.
    let dir = absolute(report, PathBuf::from("."));
    let (mut on, mut service, mut run, mut timeout) = (None, None, None, TIMEOUT);
    for (key, value) in value.fields(report, &PROGRAM)? {
        match key {
            "on" => on = events(&value, report),
            "service" => service = value.parsed(report, GLOB, service_glob),
            "run" => run = words(&value, report),
            _ => timeout = value.parsed(report, "allowed: a duration such as `10s`", limit).unwrap_or(timeout),
        }
    }
    if report.count() > before {
        return None;
    }
    let Some(on) = on else { return report.wrong(value, "`on` is missing; name the events it is run for, such as `[crash]`") };
    let Some(run) = run else { return report.wrong(value, "`run` is missing; name the program and its arguments") };
    let name = free_name(run.first().map_or("", String::as_str), names);
    Some(Hook::Program { name, program: Program { on, service, run, timeout, dir } })
}

/// The program and its arguments; a line is the shell's.
fn words(value: &Value<'_>, report: &mut Report<'_>) -> Option<Vec<String>> {
    let mut words = match command::read(value, report)? {
        Command::Shell(line) => return Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), line]),
        Command::Argv(words) => words,
    };
    let program = words.first_mut()?;
    // Without a slash it is looked up in PATH when it is run.
    if program.contains('/') {
        let path = absolute(report, PathBuf::from(&*program));
        safe(value, report, &path)?;
        *program = path.to_string_lossy().into_owned();
    }
    Some(words)
}

fn events(value: &Value<'_>, report: &mut Report<'_>) -> Option<Vec<String>> {
    let before = report.count();
    let rule = "allowed: event types such as `[crash, gave_up]`, or `@problem`, `@life`, `@daemon`, `@all`";
    let mut types = Vec::new();
    let mut take = |value: &Value<'_>, report: &mut Report<'_>| {
        let Some(word) = value.word(report, rule) else { return };
        match event_type(&word) {
            Ok(()) => types.push(word.into_owned()),
            Err(meant) => report.note(value.spot(), format!("found `{}`; no such event; {rule}", shown(&word)), meant),
        }
    };
    match value.node() {
        Node::List(_) => value.items().for_each(|item| take(&item, report)),
        _ => take(value, report),
    }
    if types.is_empty() && report.count() == before {
        return report.wrong(value, rule);
    }
    (report.count() == before).then_some(types)
}

/// Whether a word names events that can be listened to.
///
/// # Errors
///
/// The word that was probably meant.
pub fn event_type(word: &str) -> Result<(), Option<&'static str>> {
    catalog::check_selector(word).map_err(|_| nearest(word, catalog::selectors()))
}

const GLOB: &str = "allowed: a name of services, `*` for any text and `?` for any one character in it";

/// A pattern that can match the name of a service.
///
/// # Errors
///
/// What is allowed.
pub fn service_glob(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'*' | b'?');
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(good) { Ok(text.to_owned()) } else { Err(GLOB.to_owned()) }
}

fn limit(text: &str) -> Result<Duration, String> {
    let limit = duration::parse(text)?;
    if limit.is_zero() || limit > LONGEST { Err("allowed: more than 0s, at most 10m".to_owned()) } else { Ok(limit) }
}

/// What a script's name is: it becomes a part of `hook:NAME` and of file names.
pub const NAME: &str = "a script's name is 1 to 64 letters, digits, `_`, `.` or `-`, and starts with a letter or digit";

/// Whether it is a name for a script.
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && text.len() <= 64
}

/// The program's file name, as far as it can be a name, with a number where it is there already.
fn free_name(program: &str, names: &mut HashSet<String>) -> String {
    let file = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let base = if is_name(file) { file } else { "program" };
    let numbered = (2_usize..).map(|number| format!("{}-{number}", &base[..base.len().min(56)]));
    let name = std::iter::once(base.to_owned()).chain(numbered).find(|name| !names.contains(name)).unwrap_or_default();
    names.insert(name.clone());
    name
}

/// A path that means the same to the hook host, which may stand elsewhere.
fn absolute(report: &Report<'_>, path: PathBuf) -> PathBuf {
    let path = report.beside_config(path);
    std::path::absolute(&path).unwrap_or(path)
}

/// Notes a script that is not there or that others can write.
fn safe(value: &Value<'_>, report: &mut Report<'_>, path: &Path) -> Option<()> {
    source::examine(path, Kind::File).or_else(|why| report.wrong(value, why).ok_or(())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use crate::config::tree;

    fn hooks(text: &str, folder: &Path) -> Result<Vec<Hook>, Vec<String>> {
        let node = tree::read(text).expect(text);
        let env: Environment<'_> = &|_| None;
        let mut report = Report::new(env, folder);
        let hooks = super::read(&Value::root(&node), &mut report);
        let findings = report.into_findings().list;
        let said = |f: crate::config::reader::Finding| f.message + &f.nearest.map(|n| format!(" -> {n}")).unwrap_or_default();
        if findings.is_empty() {
            Ok(hooks.into_iter().map(|(hook, _)| hook).collect())
        } else {
            Err(findings.into_iter().map(said).collect())
        }
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        for name in ["a.lua", "page.sh", ".hidden.lua"] {
            std::fs::write(folder.path().join(name), "").expect("file");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            std::fs::set_permissions(folder.path().join(name), mode).expect("mode");
        }
        folder
    }

    #[test]
    fn files_and_programs() {
        let folder = folder();
        let text = "[a.lua, {on: crash, run: [./page.sh, -x]}, {on: ['@problem', custom.x], service: 'web*', run: [page.sh], timeout: 10s}, \
                    {on: [exit], run: 'echo $SECTION3_CODE'}]";
        let read = hooks(text, folder.path()).expect("good");
        let program = |name: &str, on: &[&str], service: Option<&str>, run: &[&str], timeout| {
            let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let (on, run, service) = (owned(on), owned(run), service.map(str::to_owned));
            let program = Program { on, service, run, timeout: Duration::from_secs(timeout), dir: folder.path().to_owned() };
            Hook::Program { name: name.to_owned(), program }
        };
        let page = folder.path().join("./page.sh").components().collect::<PathBuf>().display().to_string();
        let expected = [
            Hook::File { name: "a".to_owned(), path: folder.path().join("a.lua") },
            program("page.sh", &["crash"], None, &[&page, "-x"], 30),
            program("page.sh-2", &["@problem", "custom.x"], Some("web*"), &["page.sh"], 10),
            program("sh", &["exit"], None, &["/bin/sh", "-c", "echo $SECTION3_CODE"], 30),
        ];
        for (read, expected) in read.iter().zip(&expected) {
            assert_eq!(read, expected);
        }
        assert_eq!(read.len(), expected.len());
        assert_eq!(hooks("[]", folder.path()), Ok(vec![]));
    }

    /// As with `--config section3.yml`.
    #[test]
    fn a_program_runs_in_the_working_directory_where_the_config_is_there() {
        for folder in ["", "."] {
            let read = hooks("[{on: crash, run: x}]", Path::new(folder)).expect("good");
            let Hook::Program { program, .. } = &read[0] else { panic!("{read:?}") };
            assert_eq!(program.dir, std::env::current_dir().expect("a folder"), "{folder:?}");
        }
    }

    #[test]
    fn what_is_wrong() {
        let folder = folder();
        for (text, said) in [
            ("a.lua", "found `a.lua`; allowed: a list of Lua files"),
            ("[[a.lua]]", "found a list; allowed: a list of Lua files"),
            ("[a.lua, a.lua]", "found `a.lua`; there is a hook `a` before this one; rename one of the files"),
            ("[b.lua]", "found `b.lua`; no such file: "),
            ("[.hidden.lua]", "found `.hidden.lua`; a script's name is"),
            ("[{}]", "found a map; `on` is missing"),
            ("[{on: crash}]", "found a map; `run` is missing"),
            ("[{on: [], run: x}]", "found a list; allowed: event types"),
            (
                "[{on: [gaveup], run: x}]",
                "found `gaveup`; no such event; allowed: event types such as `[crash, gave_up]`, or `@problem`, `@life`, `@daemon`, `@all` -> gave_up",
            ),
            (
                "[{on: '@problems', run: x}]",
                "found `@problems`; no such event; allowed: event types such as `[crash, gave_up]`, or `@problem`, `@life`, `@daemon`, `@all` -> @problem",
            ),
            ("[{on: custom, run: x}]", "found `custom`; no such event"),
            ("[{on: crash, run: [./no.sh]}]", "found a list; no such file: "),
            ("[{on: crash, run: []}]", "found a list; a command of no words"),
            ("[{on: crash, run: x, timeout: 11m}]", "found `11m`; allowed: more than 0s, at most 10m"),
            ("[{on: crash, run: x, timeout: 0s}]", "found `0s`; allowed: more than 0s, at most 10m"),
            ("[{on: crash, run: x, service: ''}]", "found ``; allowed: a name of services"),
            ("[{on: crash, run: x, service: 'a b'}]", "found `a b`; allowed: a name of services"),
            ("[{event: crash, run: x}]", "unknown key `event`; allowed: `on`, `service`, `run`, `timeout` -> on"),
        ] {
            let found = hooks(text, folder.path()).expect_err(text);
            assert!(found[0].starts_with(said), "{text}: {found:?}");
        }
    }

    #[test]
    fn names_and_patterns() {
        let (longest, longer) = ("a".repeat(64), "a".repeat(65));
        for (text, is_one) in [("a", true), ("7.b-c_d", true), (&longest, true), (&longer, false), ("", false), ("-a", false)] {
            assert_eq!(is_name(text), is_one, "{text}");
        }
        for (text, is_one) in [("*", true), ("a?", true), (&longest, true), (&longer, false), ("", false)] {
            assert_eq!(service_glob(text).is_ok(), is_one, "{text}");
        }
        let mut names = HashSet::new();
        let mut free = |program: &str| free_name(program, &mut names);
        assert_eq!([free("/bin/a"), free("a"), free("a b"), free("x/..")], ["a", "a-2", "program", "program-2"]);
        assert_eq!((free(&longest), free(&longest)), (longest.clone(), format!("{}-2", "a".repeat(56))));
    }

    #[test]
    fn what_is_wrong_is_said_once() {
        let found = hooks("[{on: gaveup, run: x, timeout: 0s}]", Path::new("/")).expect_err("wrong");
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn what_others_can_write_is_no_hook() {
        let folder = folder();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(folder.path().join("a.lua"), mode).expect("mode");
        let found = hooks("[a.lua]", folder.path()).expect_err("open");
        assert!(found[0].ends_with("has mode 0666, others can write it; run `chmod go-w` on it"), "{found:?}");
    }
}
