//! How a function of the catalog gets into the table: checked before it is called, told as `nil, err` where it fails.

use std::future::Future;

use mlua::{Function, IntoLua, IntoLuaMulti, Lua, MultiValue, Table, Value};

use super::Shared;
use super::args::{Args, check};
use super::fault::Fault;
use crate::hooks::script;

/// What a function returns that may fail without a mistake of the script.
pub type Outcome<R> = mlua::Result<Result<R, Fault>>;

/// Puts a function that never waits and never fails but by a mistake of its caller.
pub fn plain<R: IntoLuaMulti>(
    lua: &Lua,
    s3: &Table,
    name: &'static str,
    call: impl Fn(&Lua, Args) -> mlua::Result<R> + 'static,
) -> mlua::Result<()> {
    put(lua, s3, name, lua.create_function(move |lua, args: MultiValue| call(lua, check(lua, name, args)?))?)
}

/// Puts a function that never waits and returns `nil, err` where it fails.
pub fn fallible<R: IntoLua>(
    lua: &Lua,
    s3: &Table,
    name: &'static str,
    call: impl Fn(&Lua, Args) -> Outcome<R> + 'static,
) -> mlua::Result<()> {
    put(lua, s3, name, lua.create_function(move |lua, args: MultiValue| told(lua, call(lua, check(lua, name, args)?)?))?)
}

/// Puts a function that waits. `begin` runs at once, where the caller's place is known: mistakes are its; what it returns is
/// waited for.
pub fn waiting<R: IntoLua, F: Future<Output = Outcome<R>> + 'static>(
    lua: &Lua,
    s3: &Table,
    shared: &Shared,
    name: &'static str,
    begin: impl Fn(&Lua, Args) -> mlua::Result<F> + 'static,
) -> mlua::Result<()> {
    let call = script::waiting(lua, &shared.script, &format!("s3.{name}"), move |lua: Lua, args: MultiValue| {
        let begun = check(&lua, name, args).and_then(|args| begin(&lua, args));
        async move { told(&lua, begun?.await?) }
    })?;
    put(lua, s3, name, call)
}

fn told<R: IntoLua>(lua: &Lua, outcome: Result<R, Fault>) -> mlua::Result<(Value, Value)> {
    match outcome {
        Ok(value) => Ok((value.into_lua(lua)?, Value::Nil)),
        Err(fault) => Ok((Value::Nil, fault.into_lua(lua)?)),
    }
}

/// `http.get` is put into the table `http`, which is made where it is not there.
fn put(lua: &Lua, s3: &Table, name: &str, call: Function) -> mlua::Result<()> {
    let Some((family, name)) = name.split_once('.') else { return s3.raw_set(name, call) };
    let table = match s3.raw_get::<Option<Table>>(family)? {
        Some(table) => table,
        None => {
            let table = lua.create_table()?;
            s3.raw_set(family, &table)?;
            table
        }
    };
    table.raw_set(name, call)
}
