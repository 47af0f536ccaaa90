//! The one description of API v1: every function that scripts can call, with its arguments, options and limits. Beside it
//! stand the events of [`crate::wire::catalog`].
//!
//! From it come the checks of names and types (`api::args`), the annotations of `hook types` and the table in
//! `hooks/README.md`; tests hold it equal to what a Lua state really offers, both ways.

mod functions;
mod luals;
mod options;
mod readme;

pub use functions::{FUNCTIONS, VALUES};
pub use luals::annotations;
pub use readme::{api_table, event_table, option_tables};

/// One function of the API.
#[derive(Debug)]
pub struct Function {
    /// Behind `s3.`: `http.request`.
    pub name: &'static str,
    /// What it takes, in order.
    pub args: &'static [Arg],
    /// What it returns, as LuaLS writes it; empty for nothing.
    pub returns: &'static str,
    /// Whether it may return `nil, err` instead.
    pub fails: bool,
    /// Whether it may wait, so that the file body cannot call it.
    pub waits: bool,
    /// What a plugin needs for it.
    pub permission: &'static str,
    /// What it does.
    pub summary: &'static str,
}

/// A value that is no function.
#[derive(Debug)]
pub struct Constant {
    /// Behind `s3.`.
    pub name: &'static str,
    /// Its type, as LuaLS writes it.
    pub kind: &'static str,
    /// What it is.
    pub summary: &'static str,
}

/// One argument.
#[derive(Debug)]
pub struct Arg {
    /// Its name in messages.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
}

/// What an argument or an option takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A string.
    Text,
    /// A string or a secret.
    Secretable,
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// Seconds as a number, or text such as `10s`.
    Duration,
    /// Bytes as a number, or text such as `64K`.
    Size,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A list of strings.
    Texts,
    /// Event types and lists: one, or a list of them.
    Events,
    /// String to string, number, boolean or secret.
    Map,
    /// A table of whatever JSON can say.
    Table,
    /// Anything.
    Any,
    /// A function, as LuaLS writes it.
    Function(&'static str),
    /// An options table.
    Options(&'static Options),
}

/// An options table.
#[derive(Debug)]
pub struct Options {
    /// The LuaLS class.
    pub class: &'static str,
    /// The options it takes, and no other.
    pub fields: &'static [Field],
}

/// One option.
#[derive(Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
    /// Its default, as one writes it in Lua; empty for none.
    pub default: &'static str,
    /// What it does, with its limits.
    pub meaning: &'static str,
}

/// The function of this name.
#[must_use]
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

impl Kind {
    /// As LuaLS writes it.
    #[must_use]
    pub fn luals(self) -> String {
        match self {
            Self::Text => "string".to_owned(),
            Self::Secretable => "string|section3.Secret".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Integer => "integer".to_owned(),
            Self::Boolean => "boolean".to_owned(),
            Self::Duration => "section3.Duration".to_owned(),
            Self::Size => "section3.Size".to_owned(),
            Self::Words(words) => words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join("|"),
            Self::Texts => "string[]".to_owned(),
            Self::Events => "section3.EventName|section3.EventName[]".to_owned(),
            Self::Map => "table<string, string|number|boolean|section3.Secret>".to_owned(),
            Self::Table => "table".to_owned(),
            Self::Any => "any".to_owned(),
            Self::Function(signature) => signature.to_owned(),
            Self::Options(options) => options.class.to_owned(),
        }
    }

    /// For people.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Secretable => "text or a secret".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Integer => "a whole number".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::Duration => "a duration: seconds, or text such as \"10s\"".to_owned(),
            Self::Size => "a size: bytes, or text such as \"64K\"".to_owned(),
            Self::Words(words) => words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "),
            Self::Texts => "a list of texts".to_owned(),
            Self::Events => "an event type, or a list of them".to_owned(),
            Self::Map => "a table of names and texts".to_owned(),
            Self::Table => "a table".to_owned(),
            Self::Any => "a value".to_owned(),
            Self::Function(_) => "a function".to_owned(),
            Self::Options(_) => "a table of options".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Vec<&'static Options> {
        fn inside(options: &'static Options, out: &mut Vec<&'static Options>) {
            out.push(options);
            for field in options.fields {
                if let Kind::Options(deeper) = field.kind {
                    inside(deeper, out);
                }
            }
        }
        let mut out = Vec::new();
        for arg in FUNCTIONS.iter().flat_map(|function| function.args) {
            if let Kind::Options(options) = arg.kind {
                inside(options, &mut out);
            }
        }
        out
    }

    #[test]
    fn names_are_there_once() {
        let mut names: Vec<&str> =
            FUNCTIONS.iter().map(|function| function.name).chain(VALUES.iter().map(|value| value.name)).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        for options in tables() {
            let mut names: Vec<&str> = options.fields.iter().map(|field| field.name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{}: {names:?}", options.class);
        }
    }

    #[test]
    fn what_must_be_there_comes_first_and_has_no_default() {
        for function in &FUNCTIONS {
            // `on` and its like take their options before the function.
            let first_optional = function.args.iter().position(|arg| !arg.required).unwrap_or(function.args.len());
            let late = function.args[first_optional..].iter().filter(|arg| arg.required);
            assert!(late.into_iter().all(|arg| matches!(arg.kind, Kind::Function(_))), "{}", function.name);
        }
        for options in tables() {
            assert!(options.fields.iter().all(|field| !field.required || field.default.is_empty()), "{}", options.class);
        }
    }
}
