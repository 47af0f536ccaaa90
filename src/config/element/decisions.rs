//! `decisions:`: the hooks and plugins that may advise on a service.

use super::hooks::{NAME, is_name};
use crate::config::reader::{Report, Spot, Value, shown};
use crate::config::tree::Node;

const RULE: &str = "allowed: a list of names of hooks and plugins, such as `[policy]`";

/// A script as written; whether there is one of that name is known to who reads `hooks:` and `plugins:`.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub spot: Spot,
}

/// Reads the names, in the order of the file; what is wrong with them is noted.
pub fn read(value: &Value<'_>, report: &mut Report<'_>) -> Option<Vec<Wanted>> {
    if !matches!(value.node(), Node::List(_)) {
        return report.wrong(value, RULE);
    }
    let mut wanted: Vec<Wanted> = Vec::new();
    for item in value.items() {
        let Some(name) = item.word(report, "allowed: the name of a hook or plugin") else { continue };
        wanted.push(Wanted { name: name.into_owned(), spot: item.spot() });
    }
    for (at, Wanted { name, spot }) in wanted.iter().enumerate() {
        if wanted[..at].iter().any(|before| before.name == *name) {
            report.note(spot.clone(), format!("found `{}` a second time; a script is asked once", shown(name)), None);
        } else if !is_name(name) {
            report.note(spot.clone(), format!("found `{}`; {NAME}", shown(name)), None);
        }
    }
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::probe;

    fn names(text: &str) -> Result<Vec<String>, String> {
        probe::read(text, |value, report| read(value, report).filter(|_| report.count() == 0))
            .map(|names| names.into_iter().map(|wanted| wanted.name).collect())
    }

    #[test]
    fn names_that_are_allowed() {
        for (text, wanted) in [("[b, a]", vec!["b", "a"]), ("[\"${FIVE}\", page.sh]", vec!["5", "page.sh"]), ("[]", vec![])] {
            assert_eq!(names(text), Ok(wanted.into_iter().map(str::to_owned).collect()), "{text}");
        }
    }

    #[test]
    fn names_that_are_not() {
        for (text, said) in [
            ("policy", "found `policy`; allowed: a list of names of hooks and plugins"),
            ("", "no value given; allowed: a list of names"),
            ("{a: b}", "found a map; allowed: a list of names"),
            ("[a, a]", "found `a` a second time; a script is asked once"),
            ("[../x]", "found `../x`; a script's name is 1 to 64 letters"),
            ("[\"\"]", "found ``; a script's name is 1 to 64 letters"),
            ("[[a], ~]", "found a list; allowed: the name of a hook or plugin | no value given; allowed: the name"),
        ] {
            let found = names(text).expect_err(text);
            assert!(found.starts_with(said), "{text}: {found}");
        }
    }
}
