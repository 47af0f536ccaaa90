//! Annotations for editors (the Lua language server): one class for each event type, so that `ev.data` is known inside a handler.

use std::fmt::Write as _;

use super::options::{BATCH, COMMAND, DECIDE, DEDUP, EVERY, EXEC, HOLD, KV_SET, LOGS, ON, REQUEST, RETRY, SHORT_REQUEST};
use super::{Arg, FUNCTIONS, Function, Options, VALUES};
use crate::wire::catalog::{ENVELOPE, EVENTS, EventType, Field, LISTS, SYNTHETIC};

/// Every options table there is.
pub(super) static OPTIONS: [&Options; 13] =
    [&ON, &DEDUP, &BATCH, &EVERY, &REQUEST, &SHORT_REQUEST, &RETRY, &EXEC, &LOGS, &HOLD, &KV_SET, &COMMAND, &DECIDE];

/// What functions return, and what goes with every value.
const CLASSES: &str = r#"---@alias section3.Duration number|string seconds, or text such as "500ms", "10s", "1h30m"
---@alias section3.Size integer|string bytes, or text such as "64K", "10M"

---A text that is never printed, logged or encoded; `..` with it is secret, too.
---@class section3.Secret
---@operator concat(string|number|section3.Secret): section3.Secret

---Why something failed: prints as text, works with `assert`.
---@class section3.Error
---@field code string
---@field message string
---@field retryable boolean whether the same may succeed later
---@field status? integer an HTTP status, where there is one

---@class section3.Response
---@field ok boolean whether the status is 200 to 299
---@field status integer
---@field headers table<string, string> names in small letters
---@field body string
---@field attempts integer
---@field ms integer with all attempts and waits

---@class section3.ExecResult
---@field code? integer
---@field signal? string
---@field stdout string
---@field stderr string
---@field truncated boolean whether some output was dropped
---@field ms integer

---@class section3.File
---@field name string
---@field path string absolute
---@field kind "file"|"dir"|"other"
---@field size integer bytes
---@field mtime number seconds since 1970
---@field inode integer stays the same when it is renamed or linked

---@class section3.Service
---@field name string
---@field state "stopped"|"waiting"|"starting"|"running"|"stopping"|"backoff"|"exited"|"failed"
---@field pid? integer
---@field run? integer
---@field since? string
---@field uptime_s? integer
---@field crashes integer
---@field last_exit? {code?: integer, signal?: string, core?: boolean, at: string, uptime_s: integer}
---@field next_start_at? string
---@field ready? boolean
---@field health? "unknown"|"healthy"|"unhealthy"
---@field definition_changed? boolean
---@field waiting_for? string[]
---@field log? {path: string, size: integer, lost_bytes: integer}
---@field message? string

---@class section3.Timer
---@field cancel fun(self: section3.Timer)
"#;

/// The annotations of the whole API as one Lua file.
#[must_use]
pub fn annotations() -> String {
    let mut out = format!(
        "---@meta section3\n-- API v1 of section3 {}, made by `section3 hook types`; not to be edited.\n\n{CLASSES}\n",
        env!("CARGO_PKG_VERSION")
    );
    for options in OPTIONS {
        options_class(&mut out, options);
    }
    let names: Vec<String> =
        EVENTS.iter().map(|event| event.name).chain(LISTS.iter().map(|list| list.name)).map(quoted).collect();
    let _ = writeln!(out, "---@alias section3.EventName {}|string\n", names.join("|"));
    out.push_str("---@class section3.Event\n");
    for field in ENVELOPE.iter().chain([&SYNTHETIC]) {
        event_field(&mut out, field);
    }
    out.push('\n');
    for event in &EVENTS {
        event_class(&mut out, event);
    }
    out.push_str("---@class section3\n");
    for value in VALUES.iter().filter(|value| !value.name.contains('.')) {
        let _ = writeln!(out, "---@field {} {} {}", value.name, value.kind, value.summary);
    }
    out.push_str("local s3 = {}\n\n");
    let mut family = "";
    for function in &FUNCTIONS {
        if let Some((name, _)) = function.name.split_once('.')
            && name != family
        {
            let _ = writeln!(out, "s3.{name} = {{}}\n");
            family = name;
            for value in VALUES.iter().filter(|value| value.name.starts_with(&format!("{name}."))) {
                let _ = writeln!(out, "---{}\n---@type {}\ns3.{} = nil\n", value.summary, value.kind, value.name);
            }
        }
        one_function(&mut out, function);
    }
    out.push_str("return s3\n");
    out
}

fn quoted(word: &str) -> String {
    format!("\"{word}\"")
}

fn options_class(out: &mut String, options: &Options) {
    let _ = writeln!(out, "---@class {}", options.class);
    for field in options.fields {
        let optional = if field.required { "" } else { "?" };
        let default = if field.default.is_empty() { String::new() } else { format!(" (default {})", field.default) };
        // A key that is a word of Lua is written as a string key.
        let name = if field.name == "for" { "[\"for\"]".to_owned() } else { field.name.to_owned() };
        let _ = writeln!(out, "---@field {name}{optional} {} {}{default}", field.kind.luals(), field.meaning);
    }
    out.push('\n');
}

fn event_field(out: &mut String, field: &Field) {
    let optional = if field.always { "" } else { "?" };
    let _ = writeln!(out, "---@field {}{optional} {} {}", field.name, field.kind, field.meaning);
}

/// `crash` is `section3.event.crash`.
fn event_class(out: &mut String, event: &EventType) {
    let _ = writeln!(out, "---@class section3.data.{}", event.name);
    for field in event.fields {
        event_field(out, field);
    }
    let _ = writeln!(out, "\n---{}\n---@class section3.event.{}: section3.Event", event.summary, event.name);
    let _ = writeln!(out, "---@field type \"{}\"", event.name);
    let _ = writeln!(out, "---@field data section3.data.{}", event.name);
    if event.of_service {
        out.push_str("---@field service string the service it is about\n");
    }
    out.push('\n');
}

fn one_function(out: &mut String, function: &Function) {
    let waits = if function.waits { " (waits)" } else { "" };
    let _ = writeln!(out, "---{}{waits}", function.summary);
    if function.name == "on" {
        for event in &EVENTS {
            let handler = format!("fun(ev: section3.event.{}): boolean?, any", event.name);
            let _ = writeln!(out, "---@overload fun(types: \"{}\", handler: {handler})", event.name);
            let _ = writeln!(out, "---@overload fun(types: \"{}\", options: section3.OnOptions, handler: {handler})", event.name);
        }
    }
    // Options that may be left out stand before the function: one overload without them.
    let last_required = function.args.iter().rposition(|arg| arg.required);
    let skips = |(at, arg): (usize, &Arg)| !arg.required && last_required.is_some_and(|last| at < last);
    if function.args.iter().enumerate().any(skips) {
        let args = function.args.iter().enumerate().filter(|(at, arg)| !skips((*at, *arg)));
        let args: Vec<String> = args.map(|(_, arg)| format!("{}: {}", arg.name, arg.kind.luals())).collect();
        let returns = if function.returns.is_empty() { String::new() } else { format!(": {}", function.returns) };
        let _ = writeln!(out, "---@overload fun({}){returns}", args.join(", "));
    }
    for arg in function.args {
        let optional = if arg.required { "" } else { "?" };
        let _ = writeln!(out, "---@param {}{optional} {}", arg.name, arg.kind.luals());
    }
    if function.fails {
        let _ = writeln!(out, "---@return {}? result\n---@return section3.Error? err", function.returns);
    } else if !function.returns.is_empty() {
        let _ = writeln!(out, "---@return {}", function.returns);
    }
    let args: Vec<&str> = function.args.iter().map(|arg| arg.name).collect();
    let _ = writeln!(out, "function s3.{}({}) end\n", function.name, args.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::catalog::Kind;

    #[test]
    fn it_is_lua() {
        let lua = mlua::Lua::new();
        let table: mlua::Table = lua.load(annotations()).eval().expect("Lua");
        let http: mlua::Table = table.get("http").expect("a table");
        assert!(http.get::<mlua::Function>("request").is_ok());
    }

    /// Every class that is named is there once.
    #[test]
    fn every_class_is_there() {
        let text = annotations();
        let mut named: Vec<&str> = Vec::new();
        for (at, _) in text.match_indices("section3.") {
            let name: usize = text[at..].bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_')).count();
            named.push(text[at..at + name].trim_end_matches('.'));
        }
        named.sort_unstable();
        named.dedup();
        for class in named.into_iter().filter(|name| *name != "section3.log") {
            let told = [format!("---@class {class}\n"), format!("---@class {class}:"), format!("---@alias {class} ")];
            assert_eq!(told.iter().map(|line| text.matches(line.as_str()).count()).sum::<usize>(), 1, "{class}");
        }
    }

    #[test]
    fn every_options_table_is_listed() {
        fn listed(kind: Kind) {
            if let Kind::Options(options) = kind {
                assert!(OPTIONS.iter().any(|known| std::ptr::eq(*known, options)), "{}", options.class);
                options.fields.iter().for_each(|field| listed(field.kind));
            }
        }
        FUNCTIONS.iter().flat_map(|function| function.args).for_each(|arg| listed(arg.kind));
    }

    #[test]
    fn each_event_has_its_overload() {
        let text = annotations();
        assert!(text.contains("---@overload fun(types: \"crash\", handler: fun(ev: section3.event.crash): boolean?, any)\n"));
        assert!(text.contains("---@class section3.event.gave_up: section3.Event\n"));
        assert!(text.contains("---@field log_tail? string[] "));
    }
}
