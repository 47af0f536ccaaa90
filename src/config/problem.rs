//! What is wrong with a config, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::reader::{Finding, Findings};
use super::tree::Syntax;
use crate::value::sorted;

/// Problems listed whatever they belong to. A file that is wrong everywhere is read from the top.
const LISTED: usize = 20;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file as it was named by the operator.
    pub file: String,
    /// Line, from 1; absent where the file could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The keys that lead there (`services.web.restart`); empty for the whole file.
    pub path: String,
    /// What was found and what is allowed.
    pub message: String,
    /// The known word that was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
}

/// Everything that is wrong with a config; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problems {
    /// In the order of the file: the first 20, and after them the first of each service and section.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
}

impl Problems {
    /// A file that could not be read.
    pub(super) fn of_file(file: &str, message: String) -> Self {
        let problem = Problem { file: file.to_owned(), line: None, column: None, path: String::new(), message, nearest: None };
        Self { problems: vec![problem], more: 0 }
    }

    /// The reading itself failed; a fault of ours.
    #[must_use]
    pub fn internal(file: &str, message: String) -> Self {
        Self::of_file(file, message)
    }

    /// Text that is no YAML.
    pub(super) fn of_syntax(file: &str, wrong: Syntax) -> Self {
        let mut problems = Self::of_file(file, wrong.message);
        (problems.problems[0].line, problems.problems[0].column) = wrong.place.unzip();
        problems
    }

    /// YAML that is no config.
    pub(super) fn of_text(file: &str, text: &str, findings: Findings) -> Self {
        let Findings { list, mut more, elsewhere } = findings;
        let mut seen = std::collections::HashSet::new();
        let mut problems = Vec::new();
        let mut lines = Lines::new(text);
        for finding in sorted::sort(list, |one, other| one.spot.at.cmp(&other.spot.at)) {
            if seen.insert(finding.spot.part) || problems.len() < LISTED {
                problems.push(located(file, &mut lines, finding));
            } else {
                more += 1;
            }
        }
        problems.extend(elsewhere);
        Self { problems, more }
    }
}

fn located(file: &str, lines: &mut Lines<'_>, finding: Finding) -> Problem {
    let (line, column) = lines.place(finding.spot.at);
    let Finding { spot, message, nearest } = finding;
    Problem { file: file.to_owned(), line: Some(line), column: Some(column), path: spot.path, message, nearest }
}

/// Byte offsets to lines and columns, asked in rising order.
struct Lines<'t> {
    text: &'t str,
    line: usize,
    start: usize,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, line: 1, start: 0 }
    }

    fn place(&mut self, at: usize) -> (usize, usize) {
        while let Some(end) = self.text[self.start..at].find('\n') {
            self.line += 1;
            self.start += end + 1;
        }
        (self.line, self.text[self.start..at].chars().count() + 1)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.nearest {
            Some(word) => write!(f, "; did you mean `{word}`?"),
            None => Ok(()),
        }
    }
}

/// One line a problem, none at the end.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        if self.more > 0 { write!(f, "\nand {} more", self.more) } else { Ok(()) }
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::super::reader::Spot;
    use super::*;

    fn finding(at: usize, part: usize, path: &str) -> Finding {
        Finding { spot: Spot { at, part, path: path.to_owned() }, message: "m".to_owned(), nearest: None }
    }

    #[test]
    fn places_count_characters_from_one() {
        let mut lines = Lines::new("ab\né x\r\n\ny");
        let places: Vec<_> = [0, 1, 3, 6, 10].into_iter().map(|at| lines.place(at)).collect();
        assert_eq!(places, [(1, 1), (1, 2), (2, 1), (2, 3), (4, 1)]);
    }

    #[test]
    fn a_long_list_is_cut_but_every_service_and_section_keeps_its_first() {
        let mut list: Vec<_> = (0..30).map(|at| finding(at, 0, "services.a.x")).collect();
        list.extend([finding(30, 30, "services.b"), finding(31, 30, "services.b.y"), finding(32, 32, "supervisor.z")]);
        let text = " ".repeat(40);
        let problems = Problems::of_text("f", &text, Findings { list, ..Findings::default() });
        let tail: Vec<_> = problems.problems[19..].iter().map(|p| p.path.as_str()).collect();
        assert_eq!(tail, ["services.a.x", "services.b", "supervisor.z"]);
        assert_eq!(problems.more, 11);
        assert!(problems.to_string().ends_with("\nf:1:33: supervisor.z: m\nand 11 more"), "{problems}");
    }

    #[test]
    fn programs_get_the_same_facts() {
        let mut problems =
            Problems::of_text("f", "abc", Findings { list: vec![finding(2, 0, "services.a.x")], ..Findings::default() });
        problems.problems[0].nearest = Some("y".to_owned());
        assert_eq!(
            crate::value::json::to_string(&problems).expect("json"),
            r#"{"problems":[{"file":"f","line":1,"column":3,"path":"services.a.x","message":"m","nearest":"y"}],"more":0}"#
        );
        assert_eq!(problems.to_string(), "f:1:3: services.a.x: m; did you mean `y`?");
    }
}
