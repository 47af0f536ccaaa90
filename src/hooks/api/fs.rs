//! `s3.fs`: files below the script's own folder and below the log folder.

use std::path::{Path, PathBuf};

use mlua::{IntoLua, Lua, Table, Value};

use super::Shared;
use super::args::Args;
use super::define::waiting;
use super::fault::{Fault, fault};
use super::world::files::{Entry, Roots};
use crate::hooks::script::{FileChange, IoFault};
use crate::spec::permission::Permission;
use crate::value::Glob;

/// Bytes that `read` returns unasked, and at most.
const READ: u64 = 1 << 20;
const MAX_READ: u64 = 8 << 20;

impl Shared {
    /// Where the script may go.
    pub(super) fn roots(&self) -> Roots {
        Roots { state: self.script.state_dir.clone(), logs: self.script.log_dir.clone() }
    }

    /// A path of the script's, whole.
    pub(super) fn path(&self, lua: &Lua, args: &Args, text: &str) -> mlua::Result<PathBuf> {
        self.roots().absolute(Path::new(text)).map_err(|what| args.misuse(lua, what))
    }

    /// A path that the script wants to change.
    fn changeable(&self, lua: &Lua, args: &Args, text: &str) -> mlua::Result<PathBuf> {
        let path = self.path(lua, args, text)?;
        if self.roots().is_log(&path) {
            self.permits.require(lua, args.name(), &Permission::FsWriteLogs)?;
        }
        Ok(path)
    }
}

pub(super) fn install(lua: &Lua, s3: &Table, shared: &Shared) -> mlua::Result<()> {
    let own = shared.clone();
    waiting(lua, s3, shared, "fs.list", move |lua, args| {
        let (roots, path) = (own.roots(), own.path(lua, &args, &args.text(0))?);
        let glob = (!args.value(1).is_nil()).then(|| Glob::new(&args.text(1)));
        let lua = lua.clone();
        Ok(async move {
            let list = match aside(move || roots.list(&path)).await {
                Ok(list) => list,
                Err(fault) => return Ok(Err(fault)),
            };
            let table = lua.create_table()?;
            for entry in list.into_iter().filter(|entry| glob.as_ref().is_none_or(|glob| glob.matches(&entry.name))) {
                table.raw_push(told(&lua, entry)?)?;
            }
            Ok(Ok(table))
        })
    })?;
    let own = shared.clone();
    waiting(lua, s3, shared, "fs.stat", move |lua, args| {
        let (roots, path) = (own.roots(), own.path(lua, &args, &args.text(0))?);
        let lua = lua.clone();
        Ok(async move {
            match aside(move || roots.stat(&path)).await {
                Ok(entry) => told(&lua, entry).map(Ok),
                Err(fault) => Ok(Err(fault)),
            }
        })
    })?;
    let own = shared.clone();
    waiting(lua, s3, shared, "fs.read", move |lua, args| {
        let (roots, path) = (own.roots(), own.path(lua, &args, &args.text(0))?);
        let most = args.size(1).unwrap_or(READ);
        if most > MAX_READ {
            return Err(args.misuse(lua, "at most 8M of a file can be read"));
        }
        let lua = lua.clone();
        Ok(async move {
            match aside(move || roots.read(&path, usize::try_from(most).unwrap_or(usize::MAX))).await {
                Ok(bytes) => lua.create_string(bytes).map(Ok),
                Err(fault) => Ok(Err(fault)),
            }
        })
    })?;
    change(lua, s3, shared, "fs.write", |own, lua, args| {
        Ok(FileChange::Write { path: own.changeable(lua, args, &args.text(0))?, bytes: args.bytes(1) })
    })?;
    change(lua, s3, shared, "fs.append", |own, lua, args| {
        Ok(FileChange::Append { path: own.changeable(lua, args, &args.text(0))?, bytes: args.bytes(1) })
    })?;
    change(lua, s3, shared, "fs.rename", |own, lua, args| {
        let (from, to) = (own.changeable(lua, args, &args.text(0))?, own.changeable(lua, args, &args.text(1))?);
        Ok(FileChange::Rename { from, to })
    })?;
    change(lua, s3, shared, "fs.remove", |own, lua, args| {
        Ok(FileChange::Remove { path: own.changeable(lua, args, &args.text(0))? })
    })?;
    change(lua, s3, shared, "fs.mkdir", |own, lua, args| {
        Ok(FileChange::MakeDir { path: own.changeable(lua, args, &args.text(0))? })
    })
}

fn change(
    lua: &Lua,
    s3: &Table,
    shared: &Shared,
    name: &'static str,
    what: impl Fn(&Shared, &Lua, &Args) -> mlua::Result<FileChange> + 'static,
) -> mlua::Result<()> {
    let own = shared.clone();
    waiting(lua, s3, shared, name, move |lua, args| {
        let change = what(&own, lua, &args)?;
        let script = own.script.clone();
        Ok(async move { Ok(script.effects.change(change).await.map(|()| true).map_err(Fault::from)) })
    })
}

/// Does what may wait for a disk on a thread that may.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, IoFault> + Send + 'static) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Fault::from),
        Err(error) => Err(fault("io", format!("reading failed: {error}"))),
    }
}

fn told(lua: &Lua, entry: Entry) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    table.raw_set("name", entry.name)?;
    table.raw_set("path", entry.path.to_string_lossy().into_owned())?;
    table.raw_set("kind", entry.kind)?;
    table.raw_set("size", entry.size)?;
    table.raw_set("mtime", entry.mtime)?;
    table.raw_set("inode", entry.inode)?;
    table.into_lua(lua)
}
