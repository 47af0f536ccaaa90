//! `secrets:`: where the secrets of hooks and plugins come from. They are read by who asks for them, never here.

use super::hooks::is_name;
use crate::config::expand;
use crate::config::reader::{Keys, Report, Value};
use crate::spec::script::SecretSource;
use crate::value::sorted::Map;

const RULE: &str = "allowed: `{file: PATH}` or `{env: NAME}`; a secret itself is not written into the config";
const SOURCE: Keys =
    Keys { known: &["file", "env"], foreign: &[("path", "file"), ("environment", "env"), ("var", "env")], rule: RULE };

/// Reads `secrets:`; what is wrong is noted.
pub fn read(value: &Value<'_>, report: &mut Report<'_>) -> Map<String, SecretSource> {
    let entries = value.entries(report, "allowed: a map of names such as `{token: {file: /run/secrets/token}}`");
    let mut secrets = Map::new();
    for (name, value) in entries.unwrap_or_default() {
        if !is_name(name) {
            let message = "a secret's name is 1 to 64 letters, digits, `_`, `.` or `-`, and starts with a letter or digit";
            report.note(value.key_spot(), message.to_owned(), None);
        } else if let Some(source) = source(&value, report) {
            secrets.insert(name.to_owned(), source);
        }
    }
    secrets
}

fn source(value: &Value<'_>, report: &mut Report<'_>) -> Option<SecretSource> {
    let before = report.count();
    let mut sources = Vec::new();
    for (key, value) in value.fields(report, &SOURCE)? {
        sources.extend(match key {
            "file" => value.path_value(report).map(|path| SecretSource::File(report.beside_config(path))),
            _ => value
                .parsed(report, "allowed: the name of a variable", |name| {
                    if expand::is_name(name) { Ok(name.to_owned()) } else { Err("allowed: the name of a variable".to_owned()) }
                })
                .map(SecretSource::Env),
        });
    }
    match (sources.pop(), sources.is_empty()) {
        (Some(source), true) => Some(source),
        _ if report.count() > before => None,
        _ => report.wrong(value, RULE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::probe;

    #[test]
    fn where_they_come_from() {
        let read = |text: &str| probe::read(text, |v, r| Some(super::read(v, r)).filter(|_| r.count() == 0));
        let file = |path: &str| SecretSource::File(path.into());
        assert_eq!(
            read("{a: {file: /run/a}, b.c: {file: x}, d: {env: HOME}}"),
            Ok([
                ("a".to_owned(), file("/run/a")),
                ("b.c".to_owned(), file("/etc/s3/x")),
                ("d".to_owned(), SecretSource::Env("HOME".to_owned()))
            ]
            .into())
        );
        for (text, said) in [
            ("[a]", "found a list; allowed: a map of names"),
            ("{a: hunter2}", "found `hunter2`; allowed: `{file: PATH}`"),
            ("{a: {}}", "found a map; allowed: `{file: PATH}`"),
            ("{a: {file: x, env: Y}}", "found a map; allowed: `{file: PATH}`"),
            ("{a: {env: 5}}", "found `5`; allowed: the name of a variable"),
            ("{a b: {env: Y}}", "a secret's name is"),
            ("{a: {flie: x}}", "unknown key `flie`; allowed: `file`, `env`; did you mean `file`?"),
        ] {
            let found = read(text).expect_err(text);
            assert!(found.starts_with(said), "{text}: {found}");
        }
    }
}
