//! A value with its place, and the list of what is wrong: what every element reads from and writes to.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::tree::{Entry, Kind, Node};
use super::{Environment, Problem, Problems, expand};
use crate::value::nearest::nearest;
use crate::value::{ByteSize, duration};

/// Findings kept in memory; a file of a megabyte can be wrong in half a million places.
const KEPT: usize = 10_000;

/// Words compared in the search for the one that was meant, at about a microsecond each: a file in which every name is
/// wrong would otherwise take minutes.
const COMPARED: usize = 200_000;

/// Characters of a wrong value that are shown.
const SHOWN: usize = 60;

/// One thing that is wrong, with its place in bytes.
#[derive(Debug)]
pub struct Finding {
    /// Where.
    pub spot: Spot,
    /// What was found and what is allowed.
    pub message: String,
    /// The known word that was probably meant.
    pub nearest: Option<String>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// In the order in which it was found.
    pub list: Vec<Finding>,
    /// How many were not kept.
    pub more: usize,
    /// What is wrong in other files that this one names.
    pub elsewhere: Vec<Problem>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.elsewhere.is_empty()
    }
}

/// What is wrong so far, and what the elements need to know of the world.
pub struct Report<'e> {
    findings: Findings,
    env: Environment<'e>,
    folder: &'e Path,
    compared: usize,
}

impl<'e> Report<'e> {
    /// Nothing wrong so far; `folder` is the config's.
    pub fn new(env: Environment<'e>, folder: &'e Path) -> Self {
        Self { findings: Findings::default(), env, folder, compared: 0 }
    }

    /// The supervisor's environment.
    pub fn env(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    /// A path that starts at the config's folder.
    pub fn beside_config(&self, path: PathBuf) -> PathBuf {
        self.folder.join(path)
    }

    /// The config's folder.
    pub fn folder(&self) -> &'e Path {
        self.folder
    }

    /// The name that was probably meant among names of the file.
    pub fn meant<'n>(&mut self, word: &str, names: impl ExactSizeIterator<Item = &'n str>) -> Option<&'n str> {
        self.compared += names.len();
        if self.compared > COMPARED { None } else { nearest(word, names) }
    }

    /// How much is wrong so far; an element that is read while this does not change is whole.
    pub fn count(&self) -> usize {
        self.findings.list.len() + self.findings.more + self.findings.elsewhere.len()
    }

    /// What is wrong.
    pub fn into_findings(self) -> Findings {
        self.findings
    }

    /// Notes something wrong at a place.
    pub fn note(&mut self, spot: Spot, message: String, nearest: Option<&str>) {
        if self.findings.list.len() < KEPT {
            let nearest = nearest.map(str::to_owned);
            self.findings.list.push(Finding { spot, message, nearest });
        } else {
            self.findings.more += 1;
        }
    }

    /// Notes what is wrong in another file.
    pub fn elsewhere(&mut self, problems: Problems) {
        self.findings.more += problems.more;
        self.findings.elsewhere.extend(problems.problems);
    }

    /// Notes that a value is not what the rule says; returns `None` for the caller to pass on.
    pub fn wrong<T>(&mut self, value: &Value<'_>, rule: impl std::fmt::Display) -> Option<T> {
        self.note(value.spot(), format!("{}; {rule}", value.found()), None);
        None
    }
}

/// A place that outlives the walk: for what can only be judged when everything was read.
#[derive(Clone, Debug, Default)]
pub struct Spot {
    /// Where, in bytes.
    pub at: usize,
    /// The section or service it belongs to, by the place of its key.
    pub part: usize,
    /// The keys that lead there.
    pub path: String,
}

/// A value, the key or index it stands at, and what it lies in.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    node: &'a Node,
    parent: Option<&'a Value<'a>>,
    key: Option<&'a Entry>,
    index: usize,
}

impl<'a> Value<'a> {
    /// The whole document.
    pub fn root(node: &'a Node) -> Self {
        Self { node, parent: None, key: None, index: 0 }
    }

    /// What was written.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// The items of a list.
    pub fn items(&'a self) -> impl Iterator<Item = Value<'a>> {
        let items: &[Node] = if let Node::List(items) = self.node { items } else { &[] };
        items.iter().enumerate().map(|(index, node)| Value { node, parent: Some(self), key: None, index })
    }

    /// Whether it is a map with a key, or with an unknown one that was probably meant to be it.
    pub fn names(&self, key: &str, keys: &Keys) -> bool {
        let Node::Map(entries) = self.node else { return false };
        entries.iter().any(|entry| entry.key == key || keys.meant(&entry.key) == Some(key))
    }

    /// The place of the value; of its key where the value has none of its own.
    pub fn spot(&self) -> Spot {
        let own = match self.node {
            Node::Scalar(scalar) => scalar.at,
            // An item has no key to point at.
            list_or_map if self.key.is_none() => first_scalar(list_or_map),
            Node::List(_) | Node::Map(_) => None,
        };
        Spot { at: own.unwrap_or_else(|| self.key_at()), ..self.key_spot() }
    }

    /// The place of the key.
    pub fn key_spot(&self) -> Spot {
        Spot { at: self.key_at(), part: self.part(), path: self.path() }
    }

    /// The place of the section's key, or of the service's.
    fn part(&self) -> usize {
        match self.parent {
            Some(section @ Value { parent: Some(_), key: Some(entry), .. })
                if section.is_section() && entry.key == "services" =>
            {
                self.key_at()
            }
            Some(parent) if !self.is_section() => parent.part(),
            _ => self.key_at(),
        }
    }

    fn is_section(&self) -> bool {
        self.parent.is_some_and(|root| root.parent.is_none())
    }

    fn key_at(&self) -> usize {
        let own = self.key.and_then(|entry| entry.at);
        own.or_else(|| self.parent.map(Value::key_at)).unwrap_or(0)
    }

    fn path(&self) -> String {
        let Some(parent) = self.parent else { return String::new() };
        let before = parent.path();
        match self.key {
            Some(entry) if before.is_empty() => shown(&entry.key),
            Some(entry) => format!("{before}.{}", shown(&entry.key)),
            None => format!("{before}[{}]", self.index),
        }
    }

    /// What was found, for a message.
    pub fn found(&self) -> String {
        match self.node {
            Node::Scalar(scalar) if scalar.kind == Kind::Null => "no value given".to_owned(),
            Node::Scalar(scalar) => format!("found `{}`", shown(&scalar.text)),
            Node::List(_) => "found a list".to_owned(),
            Node::Map(_) => "found a map".to_owned(),
        }
    }

    /// The entries of a map, without those whose key was there before; `None` where it is no map.
    pub fn entries(&'a self, report: &mut Report<'_>, rule: &str) -> Option<Vec<(&'a str, Value<'a>)>> {
        let Node::Map(entries) = self.node else { return report.wrong(self, rule) };
        let mut seen = HashSet::with_capacity(entries.len());
        let mut good = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let value = Value { node: &entry.value, parent: Some(self), key: Some(entry), index };
            if seen.insert(entry.key.as_str()) {
                good.push((entry.key.as_str(), value));
            } else {
                report.note(value.key_spot(), format!("found `{}` a second time; a key is given once", shown(&entry.key)), None);
            }
        }
        Some(good)
    }

    /// The key that it stands at; empty for an item of a list.
    pub fn key(&self) -> &'a str {
        self.key.map_or("", |entry| &entry.key)
    }

    /// The entries of a map with one of these keys, the first of each; nothing is noted.
    pub fn fields_named(&'a self, keys: &[&str]) -> Vec<Value<'a>> {
        let entries: &[Entry] = if let Node::Map(entries) = self.node { entries } else { &[] };
        let find = |key: &&str| entries.iter().position(|entry| entry.key == **key);
        let value = |index: usize| Value { node: &entries[index].value, parent: Some(self), key: Some(&entries[index]), index };
        keys.iter().filter_map(find).map(value).collect()
    }

    /// The entries of a map with a closed list of keys: the known ones.
    pub fn fields(&'a self, report: &mut Report<'_>, keys: &Keys) -> Option<Vec<(&'a str, Value<'a>)>> {
        let mut entries = self.entries(report, keys.rule)?;
        entries.retain(|(key, value)| {
            let known = keys.known.contains(key);
            if !known {
                let allowed = ticked(keys.known.iter().copied());
                report.note(value.key_spot(), format!("unknown key `{}`; allowed: {allowed}", shown(key)), keys.meant(key));
            }
            known
        });
        Some(entries)
    }

    /// A scalar as it is spelled, before expansion; `None` and noted where it is none.
    fn spelled(&self, report: &mut Report<'_>, rule: &str) -> Option<&'a str> {
        match self.node {
            Node::Scalar(scalar) if scalar.kind == Kind::Null => report.wrong(self, rule),
            Node::Scalar(scalar) if scalar.text.contains('\0') => report.wrong(self, "a NUL byte cannot be handed to the kernel"),
            Node::Scalar(scalar) => Some(&scalar.text),
            Node::List(_) | Node::Map(_) => report.wrong(self, rule),
        }
    }

    /// Any scalar, expanded.
    pub fn word(&self, report: &mut Report<'_>, rule: &str) -> Option<Cow<'a, str>> {
        let spelled = self.spelled(report, rule)?;
        match expand::expand(spelled, report.env) {
            Ok(text) => Some(text),
            Err(wrong) => {
                report.note(self.spot(), format!("found `{}`; {}", shown(&wrong.piece), wrong.rule), None);
                None
            }
        }
    }

    /// Any scalar as it is spelled: what is the same in every environment.
    pub fn plain(&self, report: &mut Report<'_>, rule: &str) -> Option<&'a str> {
        self.spelled(report, rule)
    }

    /// Text that the shell expands, not section3; a number is none.
    pub fn raw_text(&self, report: &mut Report<'_>, rule: &str) -> Option<&'a str> {
        match self.node {
            Node::Scalar(scalar) if scalar.kind == Kind::Number => report.wrong(self, rule),
            _ => self.spelled(report, rule),
        }
    }

    /// A path, expanded; neither empty nor a number or truth value.
    pub fn path_value(&self, report: &mut Report<'_>) -> Option<PathBuf> {
        const RULE: &str = "allowed: a path; quote it if it looks like a number or a truth value";
        if matches!(self.node, Node::Scalar(scalar) if matches!(scalar.kind, Kind::Number | Kind::Bool)) {
            return report.wrong(self, RULE);
        }
        let text = self.word(report, RULE)?;
        if text.is_empty() { self.refuse(report, &text, RULE) } else { Some(PathBuf::from(text.as_ref())) }
    }

    /// One of a closed list of words; `foreign` are words of other supervisors and what they are called here.
    pub fn choice<T: Copy>(&self, report: &mut Report<'_>, known: &[(&str, T)], foreign: &[(&str, &'static str)]) -> Option<T> {
        let words = || known.iter().map(|(word, _)| *word);
        let rule = format!("allowed: {}", ticked(words()));
        let text = self.word(report, &rule)?;
        if let Some((_, meaning)) = known.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let meant = familiar(&text, foreign).or_else(|| nearest(&text, words()));
        report.note(self.spot(), format!("found `{}`; {rule}", shown(&text)), meant);
        None
    }

    /// `true` or `false`.
    pub fn truth(&self, report: &mut Report<'_>) -> Option<bool> {
        const FOREIGN: &[(&str, &str)] =
            &[("yes", "true"), ("on", "true"), ("1", "true"), ("no", "false"), ("off", "false"), ("0", "false")];
        self.choice(report, &[("true", true), ("false", false)], FOREIGN)
    }

    /// A whole number in a range.
    pub fn integer<T>(&self, report: &mut Report<'_>, range: RangeInclusive<T>) -> Option<T>
    where
        T: std::str::FromStr + PartialOrd + std::fmt::Display,
    {
        let rule = format!("allowed: a whole number from {} to {}", range.start(), range.end());
        let text = self.word(report, &rule)?;
        match text.parse::<T>() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => self.refuse(report, &text, &rule),
        }
    }

    /// A duration.
    pub fn duration(&self, report: &mut Report<'_>, range: RangeInclusive<Duration>) -> Option<Duration> {
        const RULE: &str = "a duration is a number with a unit such as `250ms`, `5s`, `2m` or `1h30m`";
        let text = self.word(report, RULE)?;
        match duration::parse(&text) {
            Ok(duration) if duration < *range.start() => self.refuse(report, &text, "allowed: more than 0s"),
            Ok(duration) if duration > *range.end() => {
                let hours = range.end().as_secs() / 3600;
                self.refuse(report, &text, &format!("allowed: at most {hours}h"))
            }
            Ok(duration) => Some(duration),
            Err(rule) => self.refuse(report, &text, &rule),
        }
    }

    /// A size.
    pub fn size(&self, report: &mut Report<'_>) -> Option<ByteSize> {
        self.parsed(
            report,
            "a size is a whole number of bytes, or one with K, M, G or T such as `512K` or `10M`",
            ByteSize::parse,
        )
    }

    /// What a parser of words makes of it; the parser's error says what is allowed.
    pub fn parsed<T>(&self, report: &mut Report<'_>, rule: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.word(report, rule)?;
        match parse(&text) {
            Ok(good) => Some(good),
            Err(rule) => self.refuse(report, &text, &rule),
        }
    }

    /// Notes an expanded text that is wrong.
    fn refuse<T>(&self, report: &mut Report<'_>, text: &str, rule: &str) -> Option<T> {
        report.note(self.spot(), format!("found `{}`; {rule}", shown(text)), None);
        None
    }
}

/// The keys that a map may have.
pub struct Keys {
    /// All of them.
    pub known: &'static [&'static str],
    /// What other supervisors call them.
    pub foreign: &'static [(&'static str, &'static str)],
    /// What is said where no map was found.
    pub rule: &'static str,
}

impl Keys {
    /// The key that was probably meant by an unknown one.
    fn meant(&self, key: &str) -> Option<&'static str> {
        let ours = familiar(key, self.foreign).filter(|ours| self.known.contains(ours));
        ours.or_else(|| nearest(key, self.known.iter().copied()))
    }
}

/// Durations that may not be zero.
pub const POSITIVE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::MAX;
/// Any duration.
pub const ANY: RangeInclusive<Duration> = Duration::ZERO..=Duration::MAX;
/// A wait for an end: nobody waits longer than an hour for a process that was asked to go.
pub const GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

fn familiar(word: &str, foreign: &[(&str, &'static str)]) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    foreign.iter().find(|(theirs, _)| *theirs == word).map(|(_, ours)| *ours)
}

/// Words for a message: `a`, `b`, `c`.
pub fn ticked<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let mut list = String::new();
    for word in words {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push('`');
        list.push_str(word);
        list.push('`');
    }
    list
}

/// A text from the file for a message: short, and without bytes that could move a terminal's cursor.
pub fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let mut short = String::with_capacity(text.len().min(SHOWN));
    for c in chars.by_ref().take(SHOWN) {
        if c.is_control() { short.extend(c.escape_default()) } else { short.push(c) }
    }
    if chars.next().is_some() {
        short.push_str("...");
    }
    short
}

fn first_scalar(node: &Node) -> Option<usize> {
    match node {
        Node::Scalar(scalar) => scalar.at,
        Node::List(items) => items.first().and_then(first_scalar),
        Node::Map(entries) => entries.first().and_then(|entry| entry.at),
    }
}

#[cfg(test)]
pub mod probe {
    //! One value through one element, for the tables of the elements.

    use super::*;
    use crate::config::tree;

    /// What an element makes of a value: what it means, or the messages.
    pub fn read<T>(text: &str, element: impl Fn(&Value<'_>, &mut Report<'_>) -> Option<T>) -> Result<T, String> {
        let node = tree::read(text).map_err(|wrong| wrong.message)?;
        let env = |name: &str| (name == "FIVE").then(|| "5".to_owned());
        let mut report = Report::new(&env, Path::new("/etc/s3"));
        let read = element(&Value::root(&node), &mut report);
        let findings = report.into_findings().list;
        assert_eq!(read.is_none(), !findings.is_empty(), "{text}: a value or a reason, never both: {findings:?}");
        read.ok_or_else(|| {
            let said = |f: &Finding| {
                f.message.clone() + &f.nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default()
            };
            findings.iter().map(said).collect::<Vec<_>>().join(" | ")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::probe::read;
    use super::*;

    #[test]
    fn numbers_durations_and_truth() {
        for (text, number) in [("5", Ok(5)), ("\"5\"", Ok(5)), ("${FIVE}", Ok(5)), ("-3", Ok(-3))] {
            assert_eq!(read(text, |v, r| v.integer(r, -10_i32..=10)), number, "{text}");
        }
        for bad in ["11", "1.5", "0x5", "many", "", "[5]", "5s"] {
            let said = read(bad, |v, r| v.integer(r, -10_i32..=10)).expect_err(bad);
            assert!(said.ends_with("allowed: a whole number from -10 to 10"), "{bad}: {said}");
        }
        assert_eq!(read("yes", |v, r| v.truth(r)), Err("found `yes`; allowed: `true`, `false`; did you mean `true`?".to_owned()));
        assert_eq!(
            read("True", |v, r| v.truth(r)).expect_err("True"),
            "found `True`; allowed: `true`, `false`; did you mean `true`?"
        );
        assert_eq!(read("0s", |v, r| v.duration(r, POSITIVE)).expect_err("0s"), "found `0s`; allowed: more than 0s");
        assert_eq!(read("2h", |v, r| v.duration(r, GRACE)).expect_err("2h"), "found `2h`; allowed: at most 1h");
        assert_eq!(read("${FIVE}s", |v, r| v.duration(r, GRACE)), Ok(Duration::from_secs(5)));
        assert!(
            read("5", |v, r| v.duration(r, ANY)).expect_err("5").starts_with("found `5`; a duration is a number with a unit")
        );
        assert_eq!(read("3K", |v, r| v.size(r)).expect_err("3K"), "found `3K`; a size lies between 4K and 1T");
    }

    /// A file of a megabyte can be wrong in half a million places.
    #[test]
    fn what_is_kept_and_compared_is_bounded() {
        let env = |_: &str| None;
        let mut report = Report::new(&env, Path::new(""));
        for _ in 0..KEPT + 2 {
            report.note(Spot::default(), String::new(), None);
        }
        assert_eq!(report.count(), KEPT + 2);
        assert_eq!(report.meant("wbe", std::iter::repeat_n("web", COMPARED)), Some("web"));
        assert_eq!(report.meant("wbe", ["web"].into_iter()), None);
        let findings = report.into_findings();
        assert_eq!((findings.list.len(), findings.more), (KEPT, 2));
    }

    #[test]
    fn paths() {
        assert_eq!(read("/a/${FIVE}", |v, r| v.path_value(r)), Ok(PathBuf::from("/a/5")));
        assert_eq!(read("\"5\"", |v, r| v.path_value(r)), Ok(PathBuf::from("5")));
        for bad in ["5", "true", "\"\"", "", "[a]", "\"a\\0b\"", "${NO}"] {
            assert!(read(bad, |v, r| v.path_value(r)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        assert_eq!(shown("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown(&"é".repeat(61)), "é".repeat(60) + "...");
    }
}
