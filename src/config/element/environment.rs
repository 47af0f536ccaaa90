//! `env:` and `env_file:`.

use std::path::PathBuf;

use crate::config::reader::{Report, Value, shown};
use crate::config::tree::Node;
use crate::value::sorted::Map;

/// Reads `env:`. Numbers and truth values are taken as they are spelled.
pub fn read(value: &Value<'_>, report: &mut Report<'_>) -> Option<Map<String, String>> {
    let entries = value.entries(report, "allowed: a map such as `{PORT: 8080}`")?;
    let mut good = true;
    let mut env = Map::new();
    for (name, value) in entries {
        // What execve(2) can carry, less what nobody means: `=` ends a name, blanks and control bytes are slips.
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b'=') {
            let rule = "the name of a variable has no blank and no `=`; write `NAME: value`";
            report.note(value.key_spot(), format!("found `{}`; {rule}", shown(name)), None);
            good = false;
        } else if let Some(text) = value.word(report, "allowed: text; write \"\" for an empty variable") {
            env.insert(name.to_owned(), text.into_owned());
        } else {
            good = false;
        }
    }
    good.then_some(env)
}

/// Reads `env_file:`: a path or a list of paths, relative ones from the config's folder.
pub fn files(value: &Value<'_>, report: &mut Report<'_>) -> Option<Vec<PathBuf>> {
    let paths: Vec<_> = match value.node() {
        Node::List(_) => value.items().map(|item| item.path_value(report)).collect(),
        _ => vec![value.path_value(report)],
    };
    Some(paths.into_iter().collect::<Option<Vec<_>>>()?.into_iter().map(|path| report.beside_config(path)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::probe;

    #[test]
    fn variables() {
        let env = probe::read("{A: 1.10, B: ~x, C: true, D: 0755, E: \"\", F: \"${FIVE}$$\", a.b-c: x}", read).expect("good");
        let pairs: Vec<_> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A", "1.10"), ("B", "~x"), ("C", "true"), ("D", "0755"), ("E", ""), ("F", "5$"), ("a.b-c", "x")]);
        for (text, said) in [
            ("[A=1]", "found a list; allowed: a map"),
            ("", "no value given; allowed: a map"),
            ("{A: }", "no value given; allowed: text; write \"\""),
            ("{A: [1]}", "found a list; allowed: text"),
            ("{A=1: x}", "found `A=1`; the name of a variable"),
            ("{\"\": x}", "found ``; the name of a variable"),
            (
                "{A B: x, C: }",
                "found `A B`; the name of a variable has no blank and no `=`; write `NAME: value` | no value given",
            ),
        ] {
            let found = probe::read(text, read).expect_err(text);
            assert!(found.starts_with(said), "{text}: {found}");
        }
    }

    #[test]
    fn files_start_at_the_config() {
        for (text, paths) in [("a.env", vec!["/etc/s3/a.env"]), ("[a, /b]", vec!["/etc/s3/a", "/b"]), ("[]", vec![])] {
            assert_eq!(probe::read(text, files), Ok(paths.into_iter().map(PathBuf::from).collect()), "{text}");
        }
        for bad in ["", "5", "{a: b}", "[a, \"\"]"] {
            assert!(probe::read(bad, files).is_err(), "{bad} was allowed");
        }
    }
}
