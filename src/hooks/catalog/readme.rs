//! The tables of `hooks/README.md`.

use std::fmt::Write as _;

use super::luals::OPTIONS;
use super::{Arg, FUNCTIONS, VALUES};
use crate::wire::catalog::{CUSTOM, ENVELOPE, EVENTS, Field, LISTS};

/// Text inside of a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Every function and value.
#[must_use]
pub fn api_table() -> String {
    let mut out = "| call | returns | does | a plugin needs |\n| --- | --- | --- | --- |\n".to_owned();
    for function in &FUNCTIONS {
        let waits = if function.waits { " ⏸" } else { "" };
        let args: Vec<String> = function.args.iter().map(shown).collect();
        let returns = match (function.returns, function.fails) {
            ("", _) => String::new(),
            (returns, true) => format!("`{}` or `nil, err`", returns.replace("section3.", "")),
            (returns, false) => format!("`{}`", returns.replace("section3.", "")),
        };
        let _ = writeln!(
            out,
            "| `s3.{}({})`{waits} | {} | {} | {} |",
            function.name,
            args.join(", "),
            cell(&returns),
            cell(function.summary),
            function.permission
        );
    }
    for value in &VALUES {
        let _ = writeln!(out, "| `s3.{}` | `{}` | {} | |", value.name, value.kind, cell(value.summary));
    }
    out
}

fn shown(arg: &Arg) -> String {
    if arg.required { arg.name.to_owned() } else { format!("[{}]", arg.name) }
}

/// Every options table.
#[must_use]
pub fn option_tables() -> String {
    let mut out = String::new();
    for (number, options) in OPTIONS.iter().enumerate() {
        let gap = if number == 0 { "" } else { "\n" };
        let name = options.class.trim_start_matches("section3.");
        let _ = writeln!(out, "{gap}`{name}`\n\n| option | takes | default | |\n| --- | --- | --- | --- |");
        for field in options.fields {
            let default = match (field.required, field.default) {
                (true, _) => "required".to_owned(),
                (false, "") => String::new(),
                (false, text) if text.starts_with('"') && text.ends_with('"') => format!("`{text}`"),
                (false, text) => text.to_owned(),
            };
            let takes = match field.kind {
                super::Kind::Options(deeper) => format!("`{}`", deeper.class.trim_start_matches("section3.")),
                kind => kind.words(),
            };
            let _ = writeln!(out, "| `{}` | {} | {default} | {} |", field.name, cell(&takes), cell(field.meaning));
        }
    }
    out
}

/// The envelope, every event with its data, and the lists.
#[must_use]
pub fn event_table() -> String {
    let names = |fields: &[Field]| {
        let shown = fields.iter().map(|field| format!("`{}`{}", field.name, if field.always { "" } else { "?" }));
        shown.collect::<Vec<_>>().join(", ")
    };
    let mut out = "| event | severity | when | `ev.data` |\n| --- | --- | --- | --- |\n".to_owned();
    for event in EVENTS.iter().chain([&CUSTOM]) {
        let severity = event.severity.word();
        let _ = writeln!(out, "| `{}` | {severity} | {} | {} |", event.name, cell(event.summary), names(event.fields));
    }
    let _ = writeln!(out, "| every event | | | the envelope: {} |", names(&ENVELOPE));
    for list in &LISTS {
        let types: Vec<String> = list.types.iter().map(|name| format!("`{name}`")).collect();
        let all = if types.is_empty() { "everything".to_owned() } else { types.join(", ") };
        let bad = if list.name == "@problem" { " (`health` and `stop` of severity warning only)" } else { "" };
        let _ = writeln!(out, "| `{}` | | {all}{bad} | |", list.name);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document with each table as it should be.
    fn filled(text: &str) -> String {
        let mut out = text.to_owned();
        for (name, table) in [("api", api_table()), ("options", option_tables()), ("events", event_table())] {
            let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
            let from = out.find(&begin).expect(&begin) + begin.len();
            let to = out.find(&end).expect(&end);
            out.replace_range(from..to, &format!("\n{table}\n"));
        }
        out
    }

    /// `SECTION3_WRITE=1 cargo test hooks_readme` writes what it should be.
    #[test]
    fn the_hooks_readme_says_what_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/hooks/README.md");
        let text = std::fs::read_to_string(path).expect("hooks/README.md");
        let filled = filled(&text);
        if std::env::var_os("SECTION3_WRITE").is_some() {
            std::fs::write(path, &filled).expect("written");
        } else if let Some((found, wanted)) = text.lines().zip(filled.lines()).find(|(found, wanted)| found != wanted) {
            panic!("hooks/README.md says\n{found}\nand should say\n{wanted}");
        } else {
            assert_eq!(text.len(), filled.len());
        }
    }
}
