//! Why something outside failed: the `err` of `nil, err`. It prints as its message, joins with text, and `assert` raises that
//! message with the script's file and line.

use mlua::{IntoLua, Lua, MetaMethod, Table, Value};

use super::secret::Known;
use crate::hooks::frame::CallError;
use crate::hooks::script::{CHUNK, IoFault};

/// `{code, message, retryable, status}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One word for programs.
    pub code: String,
    /// In words; never a secret.
    pub message: String,
    /// Whether the same may succeed later.
    pub retryable: bool,
    /// An HTTP status, where there was one.
    pub status: Option<u16>,
}

/// A fault that comes again if nothing else changes.
pub fn fault(code: &str, message: impl Into<String>) -> Fault {
    Fault { code: code.to_owned(), message: message.into(), retryable: false, status: None }
}

impl Fault {
    /// Without the script's secrets.
    #[must_use]
    pub fn scrubbed(mut self, known: &Known) -> Self {
        self.message = known.scrub(&self.message);
        self
    }
}

impl From<IoFault> for Fault {
    fn from(fault: IoFault) -> Self {
        Self { code: fault.code.to_owned(), message: fault.message, retryable: fault.retryable, status: None }
    }
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        Self { code: error.code, message: error.message, retryable: error.retryable, status: None }
    }
}

/// Where the metatable of all faults is in the state's registry.
const META: &str = "section3.fault";

impl IntoLua for Fault {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        let table = lua.create_table()?;
        table.raw_set("code", self.code)?;
        table.raw_set("message", self.message)?;
        table.raw_set("retryable", self.retryable)?;
        table.raw_set("status", self.status)?;
        table.set_metatable(Some(lua.named_registry_value::<Table>(META)?))?;
        Ok(Value::Table(table))
    }
}

pub(super) fn install(lua: &Lua) -> mlua::Result<()> {
    let meta = lua.create_table()?;
    let message = |fault: &Table| fault.raw_get::<Value>("message");
    meta.raw_set(MetaMethod::ToString.name(), lua.create_function(move |_, fault: Table| message(&fault))?)?;
    let concat = lua.load("local tostring = ... return function(a, b) return tostring(a) .. tostring(b) end").set_name(CHUNK);
    meta.raw_set(MetaMethod::Concat.name(), concat.call::<Value>(lua.globals().get::<Value>("tostring")?)?)?;
    lua.set_named_registry_value(META, meta)?;
    // Lua's own raises a table as it is, and whoever catches it finds an address.
    let assert = lua
        .load(
            "local select, type, tostring, error = ...
            return function(...)
                local ok, reason = ...
                if ok then return ... end
                if select('#', ...) < 2 then reason = 'assertion failed!' end
                if type(reason) == 'table' then reason = tostring(reason) end
                error(reason, 2)
            end",
        )
        .set_name(CHUNK);
    let globals = lua.globals();
    let parts: (Value, Value, Value, Value) =
        (globals.get("select")?, globals.get("type")?, globals.get("tostring")?, globals.get("error")?);
    globals.set("assert", assert.call::<Value>(parts)?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{eval, fails};

    const FAILED: &str = "local v, err = s3.json.decode('{') ";

    #[test]
    fn it_prints_and_joins() {
        assert!(eval::<String>(&format!("{FAILED} return tostring(err)")).starts_with("this is not JSON"));
        assert!(eval::<String>(&format!("{FAILED} return 'upload: ' .. err")).starts_with("upload: this is not JSON"));
        assert!(eval::<bool>(&format!("{FAILED} return v == nil and not err.retryable and err.status == nil")));
    }

    #[test]
    fn assert_raises_its_message() {
        let said = fails("\nassert(s3.json.decode('{'))");
        assert!(said.starts_with("hook.lua:2: this is not JSON: "), "{said}");
        assert_eq!(eval::<i64>("return assert(7, 'x')"), 7);
        assert_eq!(fails("assert(false, 'mine')"), "hook.lua:1: mine");
        assert_eq!(fails("assert(nil)"), "hook.lua:1: assertion failed!");
    }
}
