//! From a script's files to a desk that is ready to open, or to what is wrong with it.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use mlua::chunk::{Chunk, ChunkMode};
use mlua::{Lua, Table, Value};

use super::desk::{Desk, Engine};
use super::intake::Shape;
use super::letter::Reader;
use super::pulse::{LOADING, Meter};
use super::registration::{Action, Handler, Register, Registration};
use super::sandbox::{Sandbox, cut, fault, fault_of};
use super::source::{Folder, Source};
use crate::config::plugin::boxed;
use crate::hooks::api;
use crate::hooks::frame::{FromHost, HookError};
use crate::hooks::script::{Script, misuse};
use crate::spec::script::{Origin, Plugin, Program, Provides};
use crate::value::duration::Human;
use crate::value::sorted::Map;
use crate::wire::event::{HookFaultKind, Severity};

/// What there is to load.
pub enum Content {
    /// A Lua file, and the folder of its modules.
    Lua {
        /// Where its files are.
        folder: Folder,
        /// The one that is run.
        entry: String,
        /// What a manifest promises.
        provides: Option<Provides>,
    },
    /// A program.
    Program(Program),
}

impl Content {
    /// The content of a hook's file.
    #[must_use]
    pub fn of_file(path: &Path) -> Self {
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let entry = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self::Lua { folder: Folder::Disk(folder), entry, provides: None }
    }

    /// The content of a plugin.
    #[must_use]
    pub fn of_plugin(plugin: Plugin) -> Self {
        let folder = match plugin.origin {
            Origin::Folder(path) => Folder::Disk(path),
            Origin::Binary => Folder::Binary(boxed::files(&plugin.name).unwrap_or_default()),
        };
        Self::Lua { folder, entry: "init.lua".to_owned(), provides: Some(plugin.provides) }
    }
}

/// Loads a script: runs its file body, which only registers.
///
/// # Errors
///
/// What is wrong with it; the kind says whether it was a limit.
pub fn load(script: Script, content: Content, meter: Meter, tell: Rc<dyn Fn(FromHost)>) -> Result<Rc<Desk>, HookError> {
    let (script, meter) = (Rc::new(script), Rc::new(meter));
    let register = Register::new(&script);
    match content {
        Content::Program(program) => {
            let registered = Registration { handlers: vec![handler_of(&script.name, program)], ..Registration::default() };
            Ok(Desk::new(script, None, meter, tell, register, registered))
        }
        Content::Lua { folder, entry, provides } => {
            let source = folder.read(&entry).map_err(refused)?;
            let run = || run_body(&script, &meter, &register, &folder, &source);
            let engine = match meter.slice(LOADING, run) {
                Ok(Ok(engine)) => engine,
                Ok(Err(error)) => {
                    let kind = if error.kind == HookFaultKind::Memory { error.kind } else { HookFaultKind::Load };
                    return Err(HookError { kind, ..error });
                }
                Err(_) => {
                    let message = format!("{entry}: its body ran for over {} of CPU; it only registers", Human(LOADING));
                    return Err(HookError { kind: HookFaultKind::Cpu, message, traceback: None });
                }
            };
            let registered = register.take();
            if let Some(difference) = provides.and_then(|provides| difference(&provides, &registered)) {
                return Err(refused(format!("{entry}: {difference}")));
            }
            Ok(Desk::new(script, Some(engine), meter, tell, register, registered))
        }
    }
}

fn refused(message: String) -> HookError {
    HookError { kind: HookFaultKind::Load, message: cut(message), traceback: None }
}

fn handler_of(name: &str, program: Program) -> Handler {
    Handler {
        name: name.to_owned(),
        types: program.on.clone(),
        service: program.service.clone(),
        severity: None,
        filter: None,
        key: None,
        timeout: program.timeout,
        shape: Shape { concurrency: 4, dedup: None, rate: None, batch: None },
        call: Action::Program(program),
    }
}

fn run_body(
    script: &Rc<Script>,
    meter: &Rc<Meter>,
    register: &Rc<Register>,
    folder: &Folder,
    source: &Source,
) -> Result<Engine, HookError> {
    let printed = Rc::clone(script);
    let print = move |line| printed.effects.log(Severity::Info, cut(line), Map::new());
    let modules = Rc::new(Modules { folder: folder.clone(), s3: RefCell::default(), loaded: RefCell::default() });
    let required = Rc::clone(&modules);
    let require = move |lua: &Lua, name: mlua::LuaString| required.require(lua, &name.to_string_lossy());
    let sandbox = Sandbox::new(meter, print, require).map_err(|error| fault(&error))?;
    let lua = &sandbox.lua;
    let furnish = || {
        let s3 = api::install(lua, script)?;
        register.install(lua, &s3)?;
        *modules.s3.borrow_mut() = Some(s3);
        let reader = Reader::new(lua, &sandbox.freeze)?;
        chunk(lua, source).exec()?;
        Ok(reader)
    };
    let reader = furnish().map_err(|error| fault_of(lua, &error))?;
    Ok(Engine { sandbox, reader })
}

fn chunk<'a>(lua: &Lua, source: &'a Source) -> Chunk<'a> {
    lua.load(source.text.as_slice()).set_name(format!("@{}", source.name)).set_mode(ChunkMode::Text)
}

/// The modules of one state.
struct Modules {
    folder: Folder,
    s3: RefCell<Option<Table>>,
    /// `None` while it is being loaded.
    loaded: RefCell<Map<String, Option<Value>>>,
}

impl Modules {
    fn require(&self, lua: &Lua, name: &str) -> mlua::Result<Value> {
        if name == "section3" {
            return Ok(self.s3.borrow().clone().map_or(Value::Nil, Value::Table));
        }
        match self.loaded.borrow().get(name) {
            Some(Some(value)) => return Ok(value.clone()),
            Some(None) => return Err(misuse(lua, format!("cannot require `{name}`: it requires itself"))),
            None => {}
        }
        let source = self.folder.module(name).map_err(|reason| misuse(lua, reason))?;
        self.loaded.borrow_mut().insert(name.to_owned(), None);
        let returned = chunk(lua, &source).eval::<Value>();
        let value = match returned {
            Ok(Value::Nil) => Ok(Value::Boolean(true)),
            other => other,
        };
        match &value {
            Ok(value) => self.loaded.borrow_mut().insert(name.to_owned(), Some(value.clone())),
            Err(_) => self.loaded.borrow_mut().remove(name),
        };
        value
    }
}

/// What a manifest promises and the script did not register, or the other way round.
fn difference(provides: &Provides, registered: &Registration) -> Option<String> {
    let names = |names: Vec<&String>| names.into_iter().cloned().collect::<Vec<_>>();
    let handlers = registered.handlers.iter().map(|handler| &handler.name).chain(&registered.timer_names);
    let sorts = [
        ("handlers", &provides.handlers, names(handlers.collect())),
        ("checks", &provides.checks, names(registered.checks.iter().map(|(name, _)| name).collect())),
        ("probes", &provides.probes, names(registered.probes.iter().map(|(name, _)| name).collect())),
        ("commands", &provides.commands, names(registered.commands.iter().map(|command| &command.name).collect())),
        ("decides", &provides.decides, names(registered.decides.iter().map(|(point, _, _)| point).collect())),
    ];
    sorts.into_iter().find_map(|(sort, promised, there)| {
        let missing = promised.iter().find(|name| !there.contains(name));
        let more = there.iter().find(|name| !promised.contains(name));
        match (missing, more) {
            (Some(name), _) => Some(format!("plugin.yml provides `{name}` ({sort}), which is not registered")),
            (None, Some(name)) => Some(format!("it registers `{name}`, which is not in plugin.yml under `provides: {sort}`")),
            (None, None) => None,
        }
    })
}
