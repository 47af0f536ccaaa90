//! Holds the house rules that the compiler cannot: who may import whom, how long a room may be, where the clock, `unsafe` and
//! `process::exit` live, and that no test sleeps.
//!
//! Every rule is a pure function from sources to findings, and every rule has a self-test that hands it a bad sample: a rule
//! that finds nothing any more fails as loudly as a rule that is broken.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The floors of `src/lib.rs`, lowest first. A room imports rooms of lower floors only, never its neighbours.
const FLOORS: [&[&str]; 7] = [
    &["value"],
    &["spec", "wire", "sys", "https"],
    &["supervision", "config"],
    &["log", "probe", "hooks", "update"],
    &["control"],
    &["daemon"],
    &["cli"],
];

/// The longest a module may be, in lines: what one can read in one sitting. Most should stay under 250.
const LONGEST_MODULE: usize = 700;

/// What may lie at the top of the repository.
const TOP_LEVEL: [&str; 15] = [
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".git",
    ".gitignore",
    ".rustfmt.toml",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "hooks",
    "packaging",
    "plugins",
    "src",
    "tests",
];

/// One source file, as a rule sees it.
struct Source {
    /// Path from the top of the repository, with forward slashes.
    path: String,
    /// The file as it is.
    text: String,
    /// The file with the insides of comments and strings blanked; the lines are the same.
    code: String,
    /// For every line, whether it belongs to an item under `#[cfg(test)]` or to a file under `tests/`.
    is_test: Vec<bool>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let code = blank_comments_and_strings(text);
        let is_test = if path.starts_with("tests/") { vec![true; code.lines().count()] } else { lines_under_cfg_test(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, is_test }
    }

    /// The room (top-level module) this file belongs to; `None` for `lib.rs`, `main.rs` and everything outside `src/`.
    fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let first = inside.split('/').next()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (name != "lib" && name != "main").then_some(name)
    }

    /// How many `super::` lead from this file to the root of the crate.
    fn depth(&self) -> usize {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        inside.split('/').count()
    }

    /// Numbered lines of code, with whether each is part of a test.
    fn lines(&self) -> impl Iterator<Item = (usize, &str, bool)> {
        self.code.lines().zip(&self.is_test).enumerate().map(|(index, (line, test))| (index + 1, line, *test))
    }

    fn found(&self, line: usize, what: impl AsRef<str>) -> String {
        format!("{}:{line}: {}", self.path, what.as_ref())
    }
}

/// Blanks comments, strings and character literals, so that a rule only ever sees code.
fn blank_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    while at < chars.len() {
        let end = if starts(at, "//") {
            chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| at + n)
        } else if starts(at, "/*") {
            block_comment_end(&chars, at)
        } else if let Some(end) = raw_string_end(&chars, at) {
            end
        } else if chars[at] == '"' {
            quoted_end(&chars, at, '"')
        } else if chars[at] == '\'' && (chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'')) {
            quoted_end(&chars, at, '\'')
        } else {
            out.push(chars[at]);
            at += 1;
            continue;
        };
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

/// The end of a raw string that starts here (`r"`, `r#"`, `br#"`), if one does.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let after_a_word = start > 0 && (chars[start - 1].is_alphanumeric() || chars[start - 1] == '_');
    let r = if chars[start] == 'b' { start + 1 } else { start };
    if after_a_word || chars.get(r) != Some(&'r') {
        return None;
    }
    let hashes = chars[r + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(r + 1 + hashes) != Some(&'"') {
        return None;
    }
    let mut at = r + 2 + hashes;
    while at < chars.len() {
        if chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(chars.len())
}

fn quoted_end(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// For every line of blanked code, whether it lies in an item under `#[cfg(test)]`.
fn lines_under_cfg_test(code: &str) -> Vec<bool> {
    let mut out = Vec::new();
    let mut waiting = false; // the attribute was seen, its item not yet
    let mut open = 0_i64; // braces open inside the item
    for line in code.lines() {
        waiting |= open == 0 && line.contains("#[cfg(test)]");
        out.push(waiting || open > 0);
        if waiting || open > 0 {
            let braces = line.matches('{').count() as i64 - line.matches('}').count() as i64;
            let opened = line.contains('{');
            open += braces;
            if opened || (waiting && line.contains(';')) {
                waiting = false;
            }
        }
    }
    out
}

/// Whether `word` stands in `line` with no identifier character around it.
fn has_word(line: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(inside) && !line[at + word.len()..].chars().next().is_some_and(inside)
    })
}

/// The rooms that follow `crate::` in this code, also in a group (`crate::{a::B, c}`), with the line each stands on.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + found.len()..];
        let ident = |s: &str| s.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut first = true;
            for (i, c) in group.char_indices() {
                if first && depth == 0 && !c.is_whitespace() && c != '}' {
                    out.push((line, ident(&group[i..])));
                    first = false;
                }
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => first = true,
                    _ => {}
                }
            }
        } else {
            out.push((line, ident(rest)));
        }
    }
    out
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// A room imports lower floors only, every room has a floor, and nobody reaches the root of the crate through `super`.
fn floors(sources: &[Source]) -> Vec<String> {
    let mut out = Vec::new();
    for source in sources {
        let Some(room) = source.room() else { continue };
        let Some(floor) = floor_of(room) else {
            out.push(source.found(1, format!("room `{room}` has no floor in tests/tidy.rs")));
            continue;
        };
        for (line, other) in crate_paths(&source.code) {
            if other != room && floor_of(&other).is_none_or(|below| below >= floor) {
                out.push(source.found(line, format!("`{room}` (floor {floor}) may not import `{other}`")));
            }
        }
        for (line, code, test) in source.lines() {
            let chain =
                if code.contains("super::super::super::") { 3 } else { code.matches("super::super::").count().min(1) + 1 };
            let chain = if has_word(code, "super") { chain } else { 0 };
            if chain >= source.depth() + usize::from(test) {
                out.push(
                    source.found(line, "`super` reaches the root of the crate: write `crate::`, so that the floors can be read"),
                );
            }
        }
    }
    out
}

fn module_length(sources: &[Source]) -> Vec<String> {
    let long = sources.iter().map(|s| (s, s.text.lines().count())).filter(|(_, lines)| *lines > LONGEST_MODULE);
    long.map(|(s, lines)| s.found(lines, format!("{lines} lines, at most {LONGEST_MODULE}: split it by concept"))).collect()
}

/// One rule about words: where they stand, where they may stand, and what to do instead.
struct Ban {
    words: &'static [&'static str],
    /// Whether a line of this file counts, given whether the line is part of a test.
    applies: fn(path: &str, test: bool) -> bool,
    instead: &'static str,
}

const UNSAFE: Ban = Ban {
    words: &["unsafe"],
    applies: |path, _| !path.starts_with("src/sys/"),
    instead: "`unsafe` lives under src/sys, nowhere else",
};
const CLOCK: Ban = Ban {
    words: &["Instant::now", "SystemTime::now", "clock_gettime"],
    applies: |path, _| {
        path.starts_with("src/") && !["src/sys/clock.rs", "src/daemon/clock.rs", "src/hooks/clock.rs"].contains(&path)
    },
    instead: "time comes in as an argument; the clock is read in src/sys/clock.rs, src/daemon/clock.rs and src/hooks/clock.rs",
};
const SLEEP: Ban = Ban {
    words: &["thread::sleep", "time::sleep", "usleep", "nanosleep"],
    applies: |_, test| test,
    instead: "a test waits on a descriptor, an event or a channel with a deadline",
};
const EXIT: Ban = Ban {
    words: &["process::exit"],
    applies: |path, _| path != "src/main.rs",
    instead: "return the exit code; only src/main.rs ends the process",
};
const STUBS: Ban =
    Ban { words: &["todo!", "unimplemented!", "dbg!"], applies: |_, _| true, instead: "finish it or leave it out" };
const IGNORED: Ban = Ban {
    words: &["ignore"],
    applies: |_, _| true,
    instead: "a test runs or is deleted; what a machine cannot run is left out by name in tests/run, aloud",
};

/// The lines of code that break a ban.
fn banned(sources: &[Source], ban: &Ban) -> Vec<String> {
    let mut out = Vec::new();
    for source in sources {
        for (line, code, test) in source.lines() {
            for word in ban.words.iter().filter(|word| contains(code, word)) {
                if (ban.applies)(&source.path, test) {
                    out.push(source.found(line, format!("`{word}`: {}", ban.instead)));
                }
            }
        }
    }
    out
}

/// A word of a ban: `ignore` means the attribute, a word that ends in `!` a macro, the rest are paths or keywords.
fn contains(code: &str, word: &str) -> bool {
    match word {
        "ignore" => code.contains("#[ignore"),
        macro_name if macro_name.ends_with('!') => has_word(code, macro_name.trim_end_matches('!')) && code.contains(macro_name),
        path => has_word(code, path),
    }
}

/// Notes to self in comments, where the code is blank to the other rules.
fn left_over_notes(sources: &[Source]) -> Vec<String> {
    let mut out = Vec::new();
    // This file must name what it looks for.
    for source in sources.iter().filter(|s| s.path != "tests/tidy.rs") {
        for (index, line) in source.text.lines().enumerate() {
            for word in ["TODO", "FIXME", "XXX"].iter().filter(|word| has_word(line, word)) {
                out.push(source.found(index + 1, format!("`{word}`: finish it, or write down the limit it stands for")));
            }
        }
    }
    out
}

fn top_level(names: &[String]) -> Vec<String> {
    let stray = names.iter().filter(|name| *name != "target" && !TOP_LEVEL.contains(&name.as_str()));
    stray.map(|name| format!("{name}: not in the list of top-level names in tests/tidy.rs")).collect()
}

fn readme(text: &str) -> Vec<String> {
    if text.contains("tests/run") {
        Vec::new()
    } else {
        vec!["README.md: does not name `tests/run`, the one command for all tests".to_owned()]
    }
}

// ---- the house -------------------------------------------------------------------------------------------------------

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust source under `src/` and `tests/`, in path order.
fn house() -> Vec<Source> {
    let mut folders = vec![repository().join("src"), repository().join("tests")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let relative = |path: &Path| path.strip_prefix(repository()).expect("inside").to_string_lossy().into_owned();
    files.iter().map(|p| Source::new(&relative(p), &fs::read_to_string(p).expect("a readable file"))).collect()
}

#[track_caller]
fn holds(findings: &[String]) {
    let mut list = String::new();
    for finding in findings {
        let _ = writeln!(list, "  {finding}");
    }
    assert!(findings.is_empty(), "\n{list}");
}

#[test]
fn rooms_import_lower_floors_only() {
    holds(&floors(&house()));
}

#[test]
fn no_module_is_too_long() {
    holds(&module_length(&house()));
}

#[test]
fn unsafe_is_under_one_roof() {
    holds(&banned(&house(), &UNSAFE));
}

#[test]
fn the_clock_is_read_in_one_place() {
    holds(&banned(&house(), &CLOCK));
}

#[test]
fn no_test_sleeps() {
    holds(&banned(&house(), &SLEEP));
}

#[test]
fn only_main_ends_the_process() {
    holds(&banned(&house(), &EXIT));
}

#[test]
fn nothing_is_left_unfinished() {
    holds(&banned(&house(), &STUBS));
    holds(&left_over_notes(&house()));
}

#[test]
fn no_test_is_switched_off() {
    holds(&banned(&house(), &IGNORED));
}

#[test]
fn the_top_of_the_repository_is_tidy() {
    let entries = fs::read_dir(repository()).expect("a readable repository");
    holds(&top_level(&entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()));
}

#[test]
fn the_readme_names_the_one_test_command() {
    holds(&readme(&fs::read_to_string(repository().join("README.md")).unwrap_or_default()));
}

// ---- the rules themselves --------------------------------------------------------------------------------------------

/// Asserts that a rule finds exactly the named lines of one sample file.
#[track_caller]
fn finds(rule: impl Fn(&[Source]) -> Vec<String>, path: &str, text: &str, lines: &[usize]) {
    let findings = rule(&[Source::new(path, text)]);
    let expected: Vec<String> = lines.iter().map(|n| format!("{path}:{n}: ")).collect();
    let matches = findings.len() == expected.len() && findings.iter().zip(&expected).all(|(f, e)| f.starts_with(e));
    assert!(matches, "expected findings at {expected:?}, got {findings:?}");
}

#[test]
fn self_test_floors() {
    finds(floors, "src/value/a.rs", "use crate::value::B;\nuse crate::sys::C;", &[2]);
    finds(floors, "src/wire/mod.rs", "use crate::{value::A, spec::B};", &[1]);
    finds(floors, "src/config/mod.rs", "fn f() { crate::supervision::x() }", &[1]);
    finds(floors, "src/cli/mod.rs", "use crate::{\n    control::{Call, spec},\n    daemon,\n};", &[]);
    finds(floors, "src/attic/mod.rs", "", &[1]);
    finds(floors, "src/spec/mod.rs", "use super::value::A;\n#[cfg(test)]\nmod tests {\n    use super::*;\n}", &[1]);
    finds(floors, "src/spec/a.rs", "use super::B;\nuse super::super::value::C;", &[2]);
    finds(floors, "src/value/a.rs", "// use crate::sys::C;\nlet a = \"crate::sys\";", &[]);
}

#[test]
fn self_test_module_length() {
    finds(module_length, "src/a.rs", &"\n".repeat(LONGEST_MODULE + 1), &[LONGEST_MODULE + 1]);
    finds(module_length, "src/a.rs", &"\n".repeat(LONGEST_MODULE), &[]);
}

#[test]
fn self_test_bans() {
    let by = |ban: &'static Ban| move |sources: &[Source]| banned(sources, ban);
    finds(by(&UNSAFE), "src/log/a.rs", "#![deny(unsafe_code)]\nunsafe { x() }", &[2]);
    finds(by(&UNSAFE), "src/sys/a.rs", "unsafe { x() }", &[]);
    finds(by(&CLOCK), "src/log/a.rs", "let t = Instant::now();\n// Instant::now\nstd::time::SystemTime::now()", &[1, 3]);
    finds(by(&CLOCK), "src/daemon/clock.rs", "Instant::now()", &[]);
    finds(
        by(&SLEEP),
        "src/log/a.rs",
        "time::sleep(d)\n#[cfg(test)]\nmod tests {\n  fn a() { thread::sleep(d) }\n}\nusleep()",
        &[4],
    );
    finds(by(&SLEEP), "tests/it/a.rs", "std::thread::sleep(d);", &[1]);
    finds(by(&EXIT), "src/cli/a.rs", "std::process::exit(1)", &[1]);
    finds(by(&EXIT), "src/main.rs", "std::process::exit(1)", &[]);
    finds(by(&STUBS), "src/cli/a.rs", "todo!()\nunimplemented!()\ndbg!(1)\nlet todo = 1;", &[1, 2, 3]);
    finds(by(&IGNORED), "tests/it/a.rs", "#[test]\n#[ignore = \"slow\"]", &[2]);
}

#[test]
fn self_test_left_over_notes() {
    finds(left_over_notes, "src/a.rs", "// FIXME later\nlet x = 1; // XXX\n// TODO\n// an X", &[1, 2, 3]);
}

#[test]
fn self_test_top_level_and_readme() {
    assert_eq!(top_level(&["src".to_owned(), "target".to_owned(), "notes.txt".to_owned()]).len(), 1);
    assert_eq!(readme("run the tests").len(), 1);
    assert_eq!(readme("run `tests/run`").len(), 0);
}

#[test]
fn self_test_blanking() {
    let text = "a /* x /* y */ z */ b\n\"c // \\\" d\" e // f\nr#\"g \" h\"# i '\"' j 'k' &'l m";
    let blank = blank_comments_and_strings(text);
    let words: Vec<&str> = blank.split_whitespace().collect();
    assert_eq!(words, ["a", "b", "e", "i", "j", "&'l", "m"]);
    assert_eq!(blank.lines().count(), 3);
}
