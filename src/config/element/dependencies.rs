//! `depends_on:`: a list of names, or a map of name: condition.

use std::collections::HashSet;

use super::words;
use crate::config::reader::{Report, Spot, Value, shown};
use crate::config::tree::Node;
use crate::spec::Condition;

const RULE: &str = "allowed: a list such as `[db]`, or a map such as `{db: completed}`";

/// A dependency as written; whether its name exists is known when all services were read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The name.
    pub name: String,
    /// What it must have reached.
    pub condition: Condition,
    /// Where the name stands.
    pub spot: Spot,
}

/// Reads the dependencies of one service, in the order of the file: those that are good, the others are noted.
pub fn read(value: &Value<'_>, report: &mut Report<'_>) -> Vec<Wanted> {
    let mut good = Vec::new();
    match value.node() {
        Node::List(_) => {
            let mut seen = HashSet::new();
            for item in value.items() {
                let Some(name) = item.word(report, "allowed: the name of a service") else { continue };
                let name = name.into_owned();
                if seen.insert(name.clone()) {
                    good.push(Wanted { name, condition: Condition::Ready, spot: item.spot() });
                } else {
                    report.note(item.spot(), format!("found `{}` a second time; a dependency is named once", shown(&name)), None);
                }
            }
        }
        Node::Map(_) | Node::Scalar(_) => {
            for (name, value) in value.entries(report, RULE).unwrap_or_default() {
                let Some(condition) = words::condition(&value, report) else { continue };
                good.push(Wanted { name: name.to_owned(), condition, spot: value.key_spot() });
            }
        }
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::probe;

    fn names(text: &str) -> Result<Vec<(String, Condition)>, String> {
        let whole = |value: &Value<'_>, report: &mut Report<'_>| {
            let good = read(value, report);
            (report.count() == 0).then_some(good)
        };
        probe::read(text, whole).map(|list| list.into_iter().map(|w| (w.name, w.condition)).collect())
    }

    #[test]
    fn dependencies_that_are_allowed() {
        for (text, wanted) in [
            ("[a, b]", vec![("a", Condition::Ready), ("b", Condition::Ready)]),
            ("{b: completed, a: started}", vec![("b", Condition::Completed), ("a", Condition::Started)]),
            ("[\"${FIVE}\", 6]", vec![("5", Condition::Ready), ("6", Condition::Ready)]),
            ("[]", vec![]),
            ("{}", vec![]),
        ] {
            let wanted = wanted.into_iter().map(|(name, condition)| (name.to_owned(), condition)).collect();
            assert_eq!(names(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn dependencies_that_are_not() {
        for (text, said) in [
            ("a", "found `a`; allowed: a list such as `[db]`"),
            ("", "no value given; allowed: a list such as `[db]`"),
            ("[a, a]", "found `a` a second time; a dependency is named once"),
            ("{a: ready, a: ready}", "found `a` a second time; a key is given once"),
            ("{a: }", "no value given; allowed: `started`, `ready`, `completed`"),
            ("{a: redy}", "found `redy`; allowed: `started`, `ready`, `completed`; did you mean `ready`?"),
            ("{a: {condition: ready}}", "found a map; allowed: `started`"),
            ("[a, [b], ~]", "found a list; allowed: the name of a service | no value given; allowed: the name of a service"),
        ] {
            let found = names(text).expect_err(text);
            assert!(found.starts_with(said), "{text}: {found}");
        }
    }
}
