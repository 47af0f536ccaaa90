//! Arguments and options of what the runtime adds to `s3`; a mistake is told with file, line and the nearest name.

use std::time::Duration;

use mlua::{Function, Lua, Table, Value};

use crate::hooks::script::misuse;
use crate::value::duration;
use crate::value::nearest::nearest;

/// The longest a run may be allowed to take.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// A table of options of one call.
pub struct Options<'a> {
    lua: &'a Lua,
    /// What it belongs to, for messages: `s3.on`, `s3.on: batch`.
    what: String,
    table: Option<Table>,
}

impl<'a> Options<'a> {
    /// Takes a table, or nothing; every key of it must be known.
    ///
    /// # Errors
    ///
    /// The mistake, to be raised.
    pub fn new(lua: &'a Lua, what: impl Into<String>, value: Value, known: &[&str]) -> mlua::Result<Self> {
        let what = what.into();
        let table = match value {
            Value::Nil => None,
            Value::Table(table) => Some(table),
            other => return Err(misuse(lua, format!("{what}: expected a table of options, found a {}", other.type_name()))),
        };
        let options = Self { lua, what, table };
        if let Some(table) = &options.table {
            for pair in table.pairs::<Value, Value>() {
                let key = pair?.0.to_string()?;
                if !known.contains(&key.as_str()) {
                    return Err(options.wrong(match nearest(&key, known.iter().copied()) {
                        Some(meant) => format!("unknown option `{key}`; did you mean `{meant}`?"),
                        None => format!("unknown option `{key}`; allowed are {}", known.join(", ")),
                    }));
                }
            }
        }
        Ok(options)
    }

    /// A mistake in it.
    pub fn wrong(&self, message: impl AsRef<str>) -> mlua::Error {
        misuse(self.lua, format!("{}: {}", self.what, message.as_ref()))
    }

    fn expected(&self, key: &str, what: &str, found: &Value) -> mlua::Error {
        let found = match found {
            Value::String(text) => format!("\"{}\"", text.to_string_lossy()),
            Value::Integer(_) | Value::Number(_) | Value::Boolean(_) => found.to_string().unwrap_or_default(),
            other => format!("a {}", other.type_name()),
        };
        self.wrong(format!("`{key}` is {what}, found {found}"))
    }

    /// The value of a key; nil where there is none.
    pub fn value(&self, key: &str) -> mlua::Result<Value> {
        self.table.as_ref().map_or(Ok(Value::Nil), |table| table.get(key))
    }

    /// A text.
    pub fn text(&self, key: &str) -> mlua::Result<Option<String>> {
        match self.value(key)? {
            Value::Nil => Ok(None),
            Value::String(text) => Ok(Some(text.to_str()?.to_owned())),
            other => Err(self.expected(key, "a text", &other)),
        }
    }

    /// A function.
    pub fn function(&self, key: &str) -> mlua::Result<Option<Function>> {
        match self.value(key)? {
            Value::Nil => Ok(None),
            Value::Function(function) => Ok(Some(function)),
            other => Err(self.expected(key, "a function", &other)),
        }
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &str) -> mlua::Result<bool> {
        match self.value(key)? {
            Value::Nil => Ok(false),
            Value::Boolean(flag) => Ok(flag),
            other => Err(self.expected(key, "true or false", &other)),
        }
    }

    /// A whole number within bounds.
    pub fn number(&self, key: &str, least: usize, most: usize) -> mlua::Result<Option<usize>> {
        let value = self.value(key)?;
        match value.as_usize() {
            _ if value.is_nil() => Ok(None),
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(self.expected(key, &format!("a number from {least} to {most}"), &value)),
        }
    }

    /// A duration of at most `most`.
    pub fn duration(&self, key: &str, most: Duration) -> mlua::Result<Option<Duration>> {
        let value = self.value(key)?;
        if value.is_nil() {
            return Ok(None);
        }
        let read = duration_of(&value).filter(|duration| *duration <= most);
        read.map(Some).ok_or_else(|| {
            self.expected(key, &format!("a duration such as \"10s\", or seconds, at most {}", duration::Human(most)), &value)
        })
    }

    /// A text, or a list of texts.
    pub fn texts(&self, key: &str) -> mlua::Result<Vec<String>> {
        let value = self.value(key)?;
        texts_of(&value).ok_or_else(|| self.expected(key, "a text or a list of texts", &value))
    }
}

/// `"10s"`, or seconds as a number.
pub fn duration_of(value: &Value) -> Option<Duration> {
    match value {
        Value::String(text) => duration::parse(&text.to_string_lossy()).ok(),
        Value::Integer(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
        Value::Number(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
        _ => None,
    }
}

/// A text, or a list of texts; nothing is an empty list.
pub fn texts_of(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Nil => Some(Vec::new()),
        Value::String(text) => Some(vec![text.to_string_lossy()]),
        Value::Table(table) => {
            let items = table.sequence_values::<Value>();
            let texts = items.map(|item| match item {
                Ok(Value::String(text)) => Some(text.to_string_lossy()),
                _ => None,
            });
            texts.collect()
        }
        _ => None,
    }
}
