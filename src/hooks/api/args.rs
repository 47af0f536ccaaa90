//! Arguments and options, checked by the catalog: what is wrong is raised with file, line and the nearest name.

use std::time::Duration;

use mlua::{Function as LuaFunction, Lua, MultiValue, Table, Value};

use super::secret::Secret;
use crate::hooks::catalog::{self, Function, Kind, Options};
use crate::hooks::script::{misuse, readable};
use crate::value::bytes::parse_bytes;
use crate::value::duration;
use crate::value::nearest::nearest;
use crate::wire::catalog::check_selector;

/// The longest wait that a number of seconds can ask for: as in the config, a year.
const LONGEST: f64 = 365.0 * 86_400.0;

/// The arguments of one call, each as the catalog says; `nil` where one is absent.
#[derive(Debug)]
pub struct Args {
    function: &'static Function,
    values: Vec<Value>,
}

/// Text as Lua has it, or a secret.
#[derive(Clone, Debug)]
pub enum Secretable {
    /// Bytes that may be shown.
    Plain(Vec<u8>),
    /// Bytes that may not.
    Secret(Secret),
}

impl Secretable {
    /// The bytes, for where they are needed.
    pub fn reveal(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Secret(secret) => secret.reveal(),
        }
    }

    /// Whether it may be shown.
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Plain(text.as_bytes().to_vec())),
            Value::Integer(number) => Some(Self::Plain(number.to_string().into_bytes())),
            Value::Number(number) => Some(Self::Plain(number.to_string().into_bytes())),
            Value::Boolean(flag) => Some(Self::Plain(flag.to_string().into_bytes())),
            Value::UserData(data) => data.borrow::<Secret>().ok().map(|secret| Self::Secret(secret.clone())),
            _ => None,
        }
    }
}

/// Checks the arguments of a call.
///
/// # Errors
///
/// To be raised: what is wrong, where, and what was meant.
pub fn check(lua: &Lua, name: &'static str, given: MultiValue) -> mlua::Result<Args> {
    let function = catalog::function(name).ok_or_else(|| misuse(lua, format!("s3.{name} is not in the catalog")))?;
    let mut given: Vec<Value> = given.into_iter().collect();
    while matches!(given.last(), Some(Value::Nil)) {
        given.pop();
    }
    let wrong = |what: String| misuse(lua, format!("s3.{name}: {what}"));
    if given.len() > function.args.len() {
        return Err(wrong(format!("takes {}, got {}", arguments(function.args.len()), given.len())));
    }
    // Options in the middle may be left out.
    let mut given = given.into_iter().peekable();
    let mut values = Vec::with_capacity(function.args.len());
    for (at, arg) in function.args.iter().enumerate() {
        let needed_after = function.args[at + 1..].iter().filter(|later| later.required).count();
        let skipped = !arg.required && needed_after > 0 && given.len() <= needed_after;
        let value = if skipped { Value::Nil } else { given.next().unwrap_or(Value::Nil) };
        if value.is_nil() {
            if arg.required {
                return Err(wrong(format!("argument {} (`{}`) is missing: {}", at + 1, arg.name, arg.kind.words())));
            }
        } else {
            fits(&value, arg.kind).map_err(|what| wrong(format!("argument {} (`{}`) {what}", at + 1, arg.name)))?;
        }
        values.push(value);
    }
    Ok(Args { function, values })
}

fn arguments(count: usize) -> String {
    match count {
        0 => "no argument".to_owned(),
        1 => "1 argument".to_owned(),
        n => format!("at most {n} arguments"),
    }
}

/// Whether a value is what a kind takes; else the end of a sentence that begins with its name.
fn fits(value: &Value, kind: Kind) -> Result<(), String> {
    let is_secret = || matches!(value, Value::UserData(data) if data.is::<Secret>());
    let must = |fine: bool| {
        if fine {
            Ok(())
        } else if is_secret() {
            Err("is a secret, which is not taken here".to_owned())
        } else {
            Err(format!("must be {}, found {}", kind.words(), found(value)))
        }
    };
    match kind {
        Kind::Text => must(matches!(value, Value::String(_) | Value::Integer(_) | Value::Number(_))),
        Kind::Secretable => must(matches!(value, Value::String(_) | Value::Integer(_) | Value::Number(_)) || is_secret()),
        Kind::Number => must(number(value).is_some()),
        Kind::Integer => must(integer(value).is_some()),
        Kind::Boolean => must(value.is_boolean()),
        Kind::Duration => read_duration(value).map(drop).map_err(|rule| format!("is {}: {rule}", found(value))),
        Kind::Size => must(read_size(value).is_some()),
        Kind::Any => Ok(()),
        Kind::Function(_) => must(value.is_function()),
        Kind::Words(words) => one_of(value, words),
        Kind::Texts => match value.as_table() {
            None => must(false),
            Some(table) => texts(table).map(drop),
        },
        Kind::Events => events(value).map(drop),
        Kind::Map => match value.as_table() {
            None => must(false),
            Some(table) => map(table).map(drop),
        },
        Kind::Table => must(value.is_table()),
        Kind::Options(options) => match value.as_table() {
            None => must(false),
            Some(table) => check_options(table, options),
        },
    }
}

/// What was found, as people say it; never the inside of a secret.
fn found(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let text = text.to_string_lossy();
            let short: String = text.chars().take(40).collect();
            if short.len() < text.len() { format!("\"{short}...\"") } else { format!("\"{short}\"") }
        }
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::UserData(data) if data.is::<Secret>() => "a secret".to_owned(),
        other => match other.type_name() {
            "nil" => "nothing".to_owned(),
            name => format!("a {name}"),
        },
    }
}

fn one_of(value: &Value, words: &[&'static str]) -> Result<(), String> {
    let word = value.as_string().map(|text| text.to_string_lossy());
    if word.as_deref().is_some_and(|word| words.contains(&word)) {
        return Ok(());
    }
    let meant = word.as_deref().and_then(|word| nearest(word, words.iter().copied()));
    let meant = meant.map(|meant| format!("; did you mean \"{meant}\"?")).unwrap_or_default();
    Err(format!("is {}, allowed are {}{meant}", found(value), words.join(", ")))
}

fn number(value: &Value) -> Option<f64> {
    match value {
        #[allow(clippy::cast_precision_loss, reason = "as Lua does it")]
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) if !number.is_nan() => Some(*number),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        // Within 2^53 every whole number is exactly itself.
        #[allow(clippy::cast_possible_truncation, reason = "checked right here")]
        Value::Number(number) if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 => Some(*number as i64),
        _ => None,
    }
}

/// A duration: seconds as a number, or text with units.
///
/// # Errors
///
/// What is allowed.
pub fn read_duration(value: &Value) -> Result<Duration, String> {
    if let Value::String(text) = value {
        return duration::parse(&text.to_string_lossy());
    }
    let rule = "a duration is seconds as a number, or text such as \"250ms\", \"5s\" or \"1h30m\"; at most 365d";
    let seconds = number(value).filter(|seconds| (0.0..=LONGEST).contains(seconds)).ok_or(rule)?;
    Ok(Duration::from_secs_f64(seconds))
}

fn read_size(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => parse_bytes(&text.to_string_lossy()),
        value => integer(value).and_then(|bytes| u64::try_from(bytes).ok()),
    }
}

/// The strings of a list, at most 1,000.
fn texts(table: &Table) -> Result<Vec<String>, String> {
    let table = readable(table);
    let len = table.raw_len();
    let mut out = Vec::with_capacity(len.min(64));
    for at in 1..=len {
        if at > 1_000 {
            return Err("has more than 1000 entries".to_owned());
        }
        let value: Value = table.raw_get(at).map_err(|error| error.to_string())?;
        match &value {
            Value::String(text) => match text.to_str() {
                Ok(text) => out.push(text.to_owned()),
                Err(_) => return Err(format!("has an entry {at} that is not UTF-8")),
            },
            Value::Integer(_) | Value::Number(_) => out.push(found(&value)),
            other => return Err(format!("must be a list of texts, entry {at} is {}", found(other))),
        }
    }
    let others = table.pairs::<Value, Value>().filter(|pair| !matches!(pair, Ok((Value::Integer(_), _)))).count();
    if others > 0 { Err("must be a list of texts, found names in it".to_owned()) } else { Ok(out) }
}

/// Event types and lists of them: one, or a list.
fn events(value: &Value) -> Result<Vec<String>, String> {
    let words = match value {
        Value::String(word) => vec![word.to_string_lossy()],
        Value::Table(table) => texts(table)?,
        other => return Err(format!("must be {}, found {}", Kind::Events.words(), found(other))),
    };
    if words.is_empty() {
        return Err("names no event".to_owned());
    }
    for word in &words {
        check_selector(word).map_err(|what| format!("has an {what}"))?;
    }
    Ok(words)
}

/// Names and texts, sorted by name.
fn map(table: &Table) -> Result<Vec<(String, Secretable)>, String> {
    let mut out = Vec::new();
    for pair in readable(table).pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        let Some(name) = key.as_string().map(|key| key.to_string_lossy()) else {
            return Err(format!("must be a table of names and texts, found the key {}", found(&key)));
        };
        let Some(text) = Secretable::read(&value) else {
            return Err(format!("has a `{name}` that is no text: {}", found(&value)));
        };
        out.push((name, text));
    }
    out.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(out)
}

/// Every option is known and fits, and what must be there is.
fn check_options(table: &Table, options: &'static Options) -> Result<(), String> {
    let table = readable(table);
    let mut pairs = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        let Some(name) = key.as_string().map(|key| key.to_string_lossy()) else {
            return Err(format!("takes options by name, found the key {}", found(&key)));
        };
        pairs.push((name, value));
    }
    // The order of a Lua table is no order: the same mistake is told each time.
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, value) in &pairs {
        let Some(field) = options.fields.iter().find(|field| field.name == name) else {
            let names = || options.fields.iter().map(|field| field.name);
            return Err(match nearest(name, names()) {
                Some(meant) => format!("has an unknown option `{name}`; did you mean `{meant}`?"),
                None => format!("has an unknown option `{name}`; allowed are {}", names().collect::<Vec<_>>().join(", ")),
            });
        };
        fits(value, field.kind).map_err(|what| format!("`{}` {what}", field.name))?;
    }
    match options.fields.iter().find(|field| field.required && !pairs.iter().any(|(name, _)| name == field.name)) {
        Some(field) => Err(format!("lacks `{}`: {}", field.name, field.kind.words())),
        None => Ok(()),
    }
}

impl Args {
    /// The function's name, without `s3.`.
    pub const fn name(&self) -> &'static str {
        self.function.name
    }

    /// A mistake of the caller, to be raised.
    pub fn misuse(&self, lua: &Lua, what: impl AsRef<str>) -> mlua::Error {
        misuse(lua, format!("s3.{}: {}", self.function.name, what.as_ref()))
    }

    /// The value itself.
    pub fn value(&self, at: usize) -> &Value {
        self.values.get(at).unwrap_or(&Value::Nil)
    }

    /// Text, as UTF-8; what is none is replaced.
    pub fn text(&self, at: usize) -> String {
        String::from_utf8_lossy(&self.bytes(at)).into_owned()
    }

    /// Text, byte for byte.
    pub fn bytes(&self, at: usize) -> Vec<u8> {
        match Secretable::read(self.value(at)) {
            Some(Secretable::Plain(bytes)) => bytes,
            _ => Vec::new(),
        }
    }

    /// Text or a secret.
    pub fn secretable(&self, at: usize) -> Secretable {
        Secretable::read(self.value(at)).unwrap_or(Secretable::Plain(Vec::new()))
    }

    /// A number.
    pub fn number(&self, at: usize) -> Option<f64> {
        number(self.value(at))
    }

    /// A whole number.
    pub fn integer(&self, at: usize) -> Option<i64> {
        integer(self.value(at))
    }

    /// A size in bytes.
    pub fn size(&self, at: usize) -> Option<u64> {
        read_size(self.value(at))
    }

    /// A duration.
    pub fn duration(&self, at: usize) -> Option<Duration> {
        read_duration(self.value(at)).ok()
    }

    /// Event types and lists.
    pub fn events(&self, at: usize) -> Vec<String> {
        events(self.value(at)).unwrap_or_default()
    }

    /// A function.
    pub fn function(&self, at: usize) -> Option<LuaFunction> {
        self.value(at).as_function().cloned()
    }

    /// The options; empty where there are none.
    pub fn options(&self, at: usize) -> Opts {
        Opts(self.value(at).as_table().map(readable))
    }
}

/// A checked table of options.
#[derive(Clone, Debug)]
pub struct Opts(Option<Table>);

impl Opts {
    /// The value itself; `nil` where it is not given.
    pub fn value(&self, name: &str) -> Value {
        self.0.as_ref().and_then(|table| table.raw_get(name).ok()).unwrap_or(Value::Nil)
    }

    /// Whether it is given.
    pub fn has(&self, name: &str) -> bool {
        !self.value(name).is_nil()
    }

    /// Text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.value(name).as_string().map(|text| text.to_string_lossy())
    }

    /// Text or a secret.
    pub fn secretable(&self, name: &str) -> Option<Secretable> {
        Secretable::read(&self.value(name))
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        integer(&self.value(name))
    }

    /// `true` or `false`.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.value(name).as_boolean()
    }

    /// A duration.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        read_duration(&self.value(name)).ok()
    }

    /// A size in bytes.
    pub fn size(&self, name: &str) -> Option<u64> {
        read_size(&self.value(name))
    }

    /// A list of texts.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.value(name).as_table().and_then(|table| texts(table).ok()).unwrap_or_default()
    }

    /// Event types and lists.
    pub fn events(&self, name: &str) -> Vec<String> {
        events(&self.value(name)).unwrap_or_default()
    }

    /// Names and texts, sorted by name.
    pub fn map(&self, name: &str) -> Vec<(String, Secretable)> {
        self.value(name).as_table().and_then(|table| map(table).ok()).unwrap_or_default()
    }

    /// A function.
    pub fn function(&self, name: &str) -> Option<LuaFunction> {
        self.value(name).as_function().cloned()
    }

    /// Options inside of options; none where they are not given.
    pub fn options(&self, name: &str) -> Option<Self> {
        self.value(name).as_table().map(|table| Self(Some(readable(table))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `s3.NAME(ARGS)` says, on line 2 of `hook.lua`.
    fn says(name: &'static str, args: &str) -> String {
        let lua = Lua::new();
        let call = lua.create_function(move |lua, args: MultiValue| check(lua, name, args).map(drop)).expect("a function");
        lua.globals().set("call", call).expect("set");
        let secret = lua.create_userdata(Secret::new(b"hidden".to_vec())).expect("a secret");
        lua.globals().set("secret", secret).expect("set");
        match lua.load(format!("\ncall({args})")).set_name("@hook.lua").exec() {
            Ok(()) => String::new(),
            Err(mlua::Error::CallbackError { cause, .. }) => cause.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_right_passes() {
        for (name, args) in [
            ("sleep", "1"),
            ("sleep", "0.5"),
            ("sleep", "'1h30m'"),
            ("on", "'crash', print"),
            ("on", "{'crash', '@daemon', 'custom.x'}, {service = 'web*', batch = {wait = '1s', flush_on = 'gave_up'}}, print"),
            ("after", "5, print"),
            ("every", "5, {name = 'x'}, print"),
            ("every", "5, print"),
            ("http.request", "{url = 'http://x', headers = {a = secret, b = 1}, json = {1, 2}}"),
            ("http.get", "secret, {timeout = 3}"),
            ("exec", "{cmd = {'true', 1}, stdin = secret}"),
            ("kv.set", "'k', {a = 1}, {ttl = '1d'}"),
            ("services.hold", "'web', {reason = 'r', ['for'] = '1m'}"),
            ("now", ""),
            ("kv.get", "'k', nil"),
        ] {
            assert_eq!(says(name, args), "", "{name}({args})");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_what_was_meant() {
        for (name, args, message) in [
            ("sleep", "", "argument 1 (`duration`) is missing: a duration: seconds, or text such as \"10s\""),
            ("sleep", "-1", "argument 1 (`duration`) is -1: a duration is seconds as a number"),
            ("sleep", "'5 s'", "argument 1 (`duration`) is \"5 s\": a duration is a number with a unit"),
            ("sleep", "0/0", "argument 1 (`duration`) is"),
            ("sleep", "1, 2", "takes 1 argument, got 2"),
            ("on", "'gaveup', print", "argument 1 (`types`) has an unknown event `gaveup`; did you mean `gave_up`?"),
            ("on", "{}, print", "argument 1 (`types`) names no event"),
            ("on", "'crash'", "argument 3 (`handler`) is missing: a function"),
            ("on", "'crash', {servce = 'web'}, print", "has an unknown option `servce`; did you mean `service`?"),
            (
                "on",
                "'crash', {batch = {wait = 1, flsh_on = 1}}, print",
                "`batch` has an unknown option `flsh_on`; did you mean `flush_on`?",
            ),
            ("on", "'crash', {batch = {}}, print", "`batch` lacks `wait`: a duration"),
            (
                "on",
                "'crash', {severity = 'warn'}, print",
                "`severity` is \"warn\", allowed are debug, info, warning, error, critical",
            ),
            ("http.request", "{metod = 'GET', url = 'x'}", "unknown option `metod`; did you mean `method`?"),
            ("http.request", "{}", "argument 1 (`request`) lacks `url`: text or a secret"),
            ("http.request", "'http://x'", "argument 1 (`request`) must be a table of options, found \"http://x\""),
            ("http.request", "{url = 'x', headers = {a = {}}}", "`headers` has a `a` that is no text: a table"),
            ("http.request", "{url = 'x', retry = {attempts = 1.5}}", "`retry` `attempts` must be a whole number, found 1.5"),
            ("exec", "{cmd = {secret}}", "`cmd` must be a list of texts, entry 1 is a secret"),
            ("exec", "{cmd = 'ls -l'}", "`cmd` must be a list of texts, found \"ls -l\""),
            ("exec", "{'ls'}", "takes options by name, found the key 1"),
            ("fs.write", "'p', secret", "argument 2 (`text`) is a secret, which is not taken here"),
            ("fs.read", "'p', '1X'", "argument 2 (`max`) must be a size: bytes, or text such as \"64K\", found \"1X\""),
            (
                "crypto.sha256",
                "'x', 'HEX'",
                "argument 2 (`form`) is \"HEX\", allowed are hex, base64, raw; did you mean \"hex\"?",
            ),
            ("text.human_ms", "'x'", "argument 1 (`ms`) must be a number, found \"x\""),
        ] {
            let said = says(name, args);
            assert!(said.contains(message), "{name}({args}): {said}");
            let start = format!("runtime error: hook.lua:2: s3.{name}: ");
            assert!(said.starts_with(&start) || said.starts_with(&start["runtime error: ".len()..]), "{said}");
            assert!(!said.contains("hidden"), "{said}");
        }
    }
}
