//! A Lua state with nothing in it that reaches outside, and nothing that outlives its limits.
//!
//! What a script finds is made in `sandbox.lua`. Here are the limits: the count hook that ends a slice, the heap, and the words
//! in which a failure is told.

use std::rc::Rc;

use mlua::{Function, HookTriggers, Lua, LuaOptions, LuaSerdeExt, LuaString, StdLib, Value, VmState};

use super::pulse::{Meter, Overrun};
use crate::hooks::api;
use crate::hooks::frame::HookError;
use crate::hooks::script::{self, CHUNK};
use crate::value::duration::Human;
use crate::wire::event::HookFaultKind;

/// The heap of one script.
pub const HEAP: usize = 32 << 20;

/// How many instructions lie between two looks at the clock: under a tenth of a millisecond, and not measurable in speed.
const LOOK_EVERY: u32 = 1_000;

/// Coroutines that are kept for the next runs.
const COROUTINES_KEPT: usize = 16;

/// The longest message and the longest traceback that leave the host.
const MAX_TEXT: usize = 4096;

/// A hardened state.
pub struct Sandbox {
    /// The state.
    pub lua: Lua,
    /// `freeze(table, what, known, unknown)`: a read-only view of a table.
    pub freeze: Function,
}

impl Sandbox {
    /// A fresh state whose slices `meter` times. `print` and `require` are the script's own: they are called back.
    ///
    /// # Errors
    ///
    /// Where there is no memory for it.
    pub fn new(
        meter: &Rc<Meter>,
        print: impl Fn(String) + 'static,
        require: impl Fn(&Lua, LuaString) -> mlua::Result<Value> + 'static,
    ) -> mlua::Result<Self> {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH | StdLib::UTF8 | StdLib::COROUTINE | StdLib::OS;
        let lua = Lua::new_with(libraries, LuaOptions::new().thread_pool_size(COROUTINES_KEPT))?;
        let freeze = furnish(&lua, meter, print, require)?;
        lua.set_memory_limit(HEAP)?;
        let clock = Rc::clone(meter);
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(LOOK_EVERY), move |_, _| {
            if clock.is_over() { Err(mlua::Error::RuntimeError(OVER.to_owned())) } else { Ok(VmState::Continue) }
        })?;
        Ok(Self { lua, freeze })
    }
}

/// What a run that is over its limit is told; nobody catches it.
const OVER: &str = "ran for too long on the CPU without waiting";

fn furnish(
    lua: &Lua,
    meter: &Rc<Meter>,
    print: impl Fn(String) + 'static,
    require: impl Fn(&Lua, LuaString) -> mlua::Result<Value> + 'static,
) -> mlua::Result<Function> {
    let clock = Rc::clone(meter);
    let condemned = lua.create_function(move |_, ()| Ok(clock.is_condemned().then_some(OVER)))?;
    let plain = lua.create_function(|lua, error: Value| match error {
        Value::Error(error) => lua.create_string(fault(&error).message).map(Value::String),
        other => Ok(other),
    })?;
    let log = lua.create_function(move |_, line: LuaString| {
        print(line.to_string_lossy());
        Ok(())
    })?;
    let traceback = lua.create_function(|lua, (first, second, third): (Value, Value, Value)| {
        // `traceback([thread,] [message [, level]])`; another thread's stack is not looked at.
        let (message, level) = if first.is_thread() { (second, third) } else { (first, second) };
        let text = match &message {
            Value::Nil => None,
            Value::String(_) | Value::Integer(_) | Value::Number(_) => Some(message.to_string()?),
            _ => return Ok(message),
        };
        let level = level.as_usize().unwrap_or(1);
        lua.traceback(text.as_deref(), level).map(Value::String)
    })?;
    let require = lua.create_function(require)?;
    let pending = Value::LightUserData(Lua::poll_pending());
    let freeze =
        lua.load(include_str!("sandbox.lua")).set_name(CHUNK).call((condemned, plain, log, traceback, pending, require))?;
    if let Some(strings) = lua.type_metatable::<LuaString>() {
        strings.raw_set("__metatable", "read-only")?;
    }
    Ok(freeze)
}

/// The innermost error and its traceback.
fn root(error: &mlua::Error) -> (&mlua::Error, Option<&str>) {
    let (mut error, mut place) = (error, None);
    loop {
        match error {
            mlua::Error::CallbackError { traceback, cause } => {
                place.get_or_insert(traceback.as_str());
                error = cause;
            }
            mlua::Error::WithContext { cause, .. } => error = cause,
            _ => return (error, place),
        }
    }
}

/// A failure of Lua as it is told.
#[must_use]
pub fn fault(error: &mlua::Error) -> HookError {
    let (error, place) = root(error);
    let (kind, text) = match error {
        mlua::Error::MemoryError(_) => {
            return HookError {
                kind: HookFaultKind::Memory,
                message: format!("the heap of {} MiB is full", HEAP >> 20),
                traceback: None,
            };
        }
        mlua::Error::RuntimeError(text) => (HookFaultKind::Error, text.clone()),
        mlua::Error::SyntaxError { message, .. } => (HookFaultKind::Load, message.clone()),
        other => (HookFaultKind::Error, other.to_string()),
    };
    let (message, inside) = match text.split_once("\nstack traceback:") {
        Some((message, inside)) => (message.to_owned(), Some(inside.to_owned())),
        None => (text, place.map(str::to_owned)),
    };
    HookError { kind, message: cut(message), traceback: inside.as_deref().and_then(own_frames) }
}

/// The same without the secrets that the script has read: for what leaves the host.
#[must_use]
pub fn fault_of(lua: &Lua, error: &mlua::Error) -> HookError {
    let error = fault(error);
    let traceback = error.traceback.map(|traceback| api::scrub(lua, &traceback));
    HookError { message: api::scrub(lua, &error.message), traceback, ..error }
}

/// The frames of a traceback that are the script's, without those of the host between them.
fn own_frames(traceback: &str) -> Option<String> {
    let is_own = |line: &&str| {
        let line = line.trim();
        !line.is_empty() && !["stack traceback:", "section3:", "__mlua", "[C]:"].iter().any(|other| line.starts_with(other))
    };
    let frames: Vec<&str> = traceback.lines().filter(is_own).map(str::trim).collect();
    (!frames.is_empty()).then(|| cut(frames.join("\n")))
}

/// A text that fits into a frame many times over.
#[must_use]
pub fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A slice that was over its limit, as it is told.
#[must_use]
pub fn overran(overrun: Overrun) -> HookError {
    HookError {
        kind: HookFaultKind::Cpu,
        message: format!("ran for over {} of CPU without waiting", Human(overrun.0)),
        traceback: None,
    }
}

/// What a handler gave as its reason: a text, or an error with a message.
#[must_use]
pub fn reason(lua: &Lua, value: &Value) -> String {
    let text = match value {
        Value::Nil => return "it returned false".to_owned(),
        Value::Error(error) => fault(error).message,
        Value::Table(table) => match script::readable(table).raw_get::<Option<LuaString>>("message") {
            Ok(Some(message)) => message.to_string_lossy(),
            _ => in_words(lua, value),
        },
        other => in_words(lua, other),
    };
    cut(api::scrub(lua, &text))
}

fn in_words(lua: &Lua, value: &Value) -> String {
    let told = lua.globals().get::<Function>("tostring").and_then(|tostring| tostring.call::<LuaString>(value.clone()));
    told.map_or_else(|error| fault(&error).message, |text| text.to_string_lossy())
}

/// A value as an answer that travels: `nil` is null.
///
/// # Errors
///
/// What JSON cannot say, or that it is longer than an answer may be.
pub fn answer(lua: &Lua, value: &Value) -> Result<serde_json::Value, String> {
    json(lua, value, 0)
}

/// The deepest answer.
const MAX_DEPTH: usize = 32;

fn json(lua: &Lua, value: &Value, depth: usize) -> Result<serde_json::Value, String> {
    use serde_json::Value as Json;
    if depth > MAX_DEPTH {
        return Err(format!("a table in it is nested more than {MAX_DEPTH} deep"));
    }
    Ok(match value {
        Value::Nil => Json::Null,
        Value::LightUserData(pointer) if pointer.0.is_null() => Json::Null,
        Value::Boolean(flag) => Json::Bool(*flag),
        Value::Integer(number) => Json::from(*number),
        Value::Number(number) => serde_json::Number::from_f64(*number).map(Json::Number).ok_or("a number in it is not finite")?,
        Value::String(text) => Json::String(text.to_string_lossy()),
        Value::Table(table) => {
            // An empty table is an object, unless it is marked as a list.
            let is_list = table.metatable().is_some_and(|meta| meta == lua.array_metatable());
            let table = script::readable(table);
            let length = table.raw_len();
            if length > 0 || is_list {
                let items = (1..=length).map(|at| json(lua, &table.raw_get::<Value>(at).unwrap_or(Value::Nil), depth + 1));
                return items.collect::<Result<_, _>>().map(Json::Array);
            }
            let mut map = serde_json::Map::new();
            for pair in table.pairs::<Value, Value>() {
                let (key, value) = pair.map_err(|error| fault(&error).message)?;
                let Value::String(key) = key else { return Err("a key in it is no text".to_owned()) };
                map.insert(key.to_string_lossy(), json(lua, &value, depth + 1)?);
            }
            Json::Object(map)
        }
        Value::UserData(_) => Json::String(value.to_string().map_err(|error| fault(&error).message)?),
        other => return Err(format!("a {} in it cannot be told", other.type_name())),
    })
}
