//! One script as its Lua sees the world: what it is called, what it may do, and through whom it reaches the outside.
//!
//! The seam between the runtime ([`super::host`]) and the API ([`super::api`]): the runtime makes a [`Script`] for each Lua
//! state and runs its functions, the API builds the table `s3` from it. Nothing here touches the world: that is what
//! [`Effects`] is for, so that `hook test` can put a recorder in its place. Time comes from tokio's clock only (see
//! [`super::clock`]), so that it can be virtual.

use std::cell::Cell;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, Table};
use serde_json::Value;

use super::frame::{CallError, Verb};
use crate::spec::script::SecretSource;
use crate::value::sorted::Map;
use crate::wire::event::Severity;

/// A future that stays on its thread.
pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What a script is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScriptKind {
    /// The operator's own file: everything but decisions is granted.
    Hook,
    /// A folder with a manifest: what the manifest says is granted.
    Plugin,
}

/// How far a script's life is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Its file body runs: it may only register.
    Loading,
    /// Its handlers run.
    Running,
}

/// One script; there is one Lua state for each, on a thread of its own, and this lives beside it in an [`Rc`].
pub struct Script {
    /// Unique among hooks and plugins.
    pub name: String,
    /// What it is.
    pub kind: ScriptKind,
    /// A plugin's permissions; `None` for a hook.
    pub granted: Option<Vec<String>>,
    /// A plugin's settings, checked and complete; `null` for a hook.
    pub settings: Value,
    /// The folder of its own files, mode 0700; made when it first writes.
    pub state_dir: PathBuf,
    /// Where the logs are.
    pub log_dir: PathBuf,
    /// The host's name, as in events.
    pub host: String,
    /// This incarnation of the supervisor, as in events.
    pub boot: String,
    /// The program's version.
    pub version: String,
    /// Where secrets come from.
    pub secrets: Map<String, SecretSource>,
    /// The way to the outside.
    pub effects: Rc<dyn Effects>,
    /// How far it is; the runtime changes it once.
    pub phase: Cell<Phase>,
    /// What of its `kv` is on its way to the disk.
    pub keeping: Keeping,
}

/// Whether everything that a script wants to keep is kept.
#[derive(Debug, Default)]
pub struct Keeping {
    is_writing: Cell<bool>,
    written: tokio::sync::Notify,
}

impl Keeping {
    /// Something changed that is not written yet.
    pub fn begin(&self) {
        self.is_writing.set(true);
    }

    /// All of it is written, or cannot be.
    pub fn end(&self) {
        self.is_writing.set(false);
        self.written.notify_one();
    }

    /// Waits until nothing is on its way.
    pub async fn is_over(&self) {
        while self.is_writing.get() {
            self.written.notified().await;
        }
    }
}

/// Everything a script does to the world, or learns from it. The real one and the recorder of `hook test` differ here only.
///
/// Limits that are the script's own mistake (permissions, sizes, requests at once) are the API's; what is asked here is done.
pub trait Effects {
    /// Asks the supervisor. The cause is the current [`Run`]'s.
    ///
    /// # Errors
    ///
    /// What the supervisor says; `unavailable` where it cannot be asked.
    fn call(&self, verb: Verb) -> Local<'_, Result<Value, CallError>>;

    /// Makes one request, without retries.
    ///
    /// # Errors
    ///
    /// Where no answer came; an answer with a status of an error is an answer.
    fn http(&self, request: HttpRequest) -> Local<'_, Result<HttpResponse, IoFault>>;

    /// Runs a program in a group of its own, which is killed when the time is over or the future is dropped.
    ///
    /// # Errors
    ///
    /// Where it could not be launched, or its time was over.
    fn exec(&self, request: ExecRequest) -> Local<'_, Result<ExecResult, IoFault>>;

    /// Changes a file. Paths are absolute and inside of the script's roots already.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    fn change(&self, change: FileChange) -> Local<'_, Result<(), IoFault>>;

    /// A line for `section3.log`; never waits: what is too much is dropped and counted.
    fn log(&self, level: Severity, message: String, fields: Map<String, String>);

    /// A secret, read now.
    ///
    /// # Errors
    ///
    /// Where its file or variable cannot be read.
    fn secret(&self, name: &str, source: &SecretSource) -> Result<String, IoFault>;

    /// Where a secret comes from that `secrets:` does not name; nowhere, but in `hook test`.
    fn unnamed_secret(&self, _name: &str) -> Option<SecretSource> {
        None
    }

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;

    /// The wall clock.
    fn wall(&self) -> SystemTime;
}

/// One HTTP request.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// In capitals.
    pub method: String,
    /// `http://`, `https://`, or `unix:/socket:/path`.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub body: RequestBody,
    /// From the first try to connect to the last byte of the answer.
    pub timeout: Duration,
    /// Bytes of the answer's body; more is a fault.
    pub max_body: usize,
}

/// What a request sends.
#[derive(Clone, Debug)]
pub enum RequestBody {
    /// Nothing.
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file's, read while it is sent.
    File(PathBuf),
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// Names in small letters, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// One program to run.
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// Its words; never empty. Without a slash the program is looked for in `PATH`.
    pub argv: Vec<String>,
    /// What it reads; nothing is end of file at once.
    pub stdin: Vec<u8>,
    /// Variables on top of the host's own.
    pub env: Vec<(String, String)>,
    /// The folder it runs in; the host's own without one.
    pub dir: Option<PathBuf>,
    /// How long it may run.
    pub timeout: Duration,
    /// Bytes that are kept of each of its two outputs; the rest is read and dropped.
    pub max_output: usize,
}

/// How a program ended.
#[derive(Clone, Debug, Default)]
pub struct ExecResult {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it, by name.
    pub signal: Option<String>,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it complained.
    pub stderr: Vec<u8>,
    /// Whether some of it was dropped.
    pub truncated: bool,
    /// How long it ran.
    pub ms: u64,
}

/// A change to a file.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "what the names say")]
pub enum FileChange {
    /// Whole, through a temporary file; mode 0600.
    Write {
        path: PathBuf,
        bytes: Vec<u8>,
    },
    Append {
        path: PathBuf,
        bytes: Vec<u8>,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    MakeDir {
        path: PathBuf,
    },
    /// The script's `kv`, as its file holds it.
    Keep {
        bytes: Vec<u8>,
    },
}

/// Why something outside failed, as scripts see it: `{code, message, retryable, status}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoFault {
    /// `connect`, `timeout`, `too_large`, `not_found`, `launch`, ...
    pub code: &'static str,
    /// In words; never a secret.
    pub message: String,
    /// Whether the same may succeed later.
    pub retryable: bool,
}

/// The run of a handler, a timer or a spawned function that the current task belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The handler or timer.
    pub handler: String,
    /// The id and the depth of the event that it runs for.
    pub cause: Option<(String, u8)>,
}

tokio::task_local! {
    /// The current run; set by the runtime around every coroutine that it drives.
    pub static RUN: Rc<Run>;
}

/// The current run; an empty one outside of runs.
#[must_use]
pub fn run() -> Rc<Run> {
    RUN.try_with(Rc::clone).unwrap_or_default()
}

/// The name that every embedded chunk has; frames of such chunks are not the script's.
pub const CHUNK: &str = "=section3";

/// The place in the script's own text that the running function was called from: `file:line: `; empty where there is none.
#[must_use]
pub fn place(lua: &Lua) -> String {
    // Deep stacks are runaway recursion: the innermost frames name it.
    for level in 0..32 {
        let found = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let name = source.source.as_deref()?;
            let line = frame.current_line()?;
            name.starts_with('@').then(|| format!("{}:{line}: ", source.short_src.as_deref().unwrap_or(&name[1..])))
        });
        match found {
            None => break,
            Some(Some(place)) => return place,
            Some(None) => {}
        }
    }
    String::new()
}

/// A mistake in the script, with the file and the line it was made at; to be raised.
#[must_use]
pub fn misuse(lua: &Lua, message: impl AsRef<str>) -> mlua::Error {
    mlua::Error::RuntimeError(format!("{}{}", place(lua), message.as_ref()))
}

/// Refuses what may not be done while the file body runs.
///
/// # Errors
///
/// The text to raise.
pub fn may_wait(script: &Script) -> Result<(), &'static str> {
    match script.phase.get() {
        Phase::Loading => Err("call this inside a handler"),
        Phase::Running => Ok(()),
    }
}

/// A Lua function `name` that may wait: an async function behind the rule of where waiting is allowed. In the load phase it
/// raises "call this inside a handler", inside callbacks of C functions (a comparator of `table.sort`, a replacement of
/// `string.gsub`) "cannot wait here: move the call out of the callback", both with the caller's file and line.
///
/// # Errors
///
/// Where the heap is full.
pub fn waiting<F, A, FR, R>(lua: &Lua, script: &Rc<Script>, name: &str, call: F) -> mlua::Result<Function>
where
    F: Fn(Lua, A) -> FR + 'static,
    A: FromLuaMulti,
    FR: Future<Output = mlua::Result<R>> + 'static,
    R: IntoLuaMulti,
{
    let script = Rc::clone(script);
    let refusal = lua.create_function(move |_, ()| Ok(may_wait(&script).err()))?;
    let call = lua.create_async_function(call)?;
    lua.load(
        "local name, refusal, call, yieldable, error = ...
        return function(...)
            local no = refusal()
            if not no and not yieldable() then no = 'cannot wait here: move the call out of the callback' end
            if no then error(name .. ': ' .. no, 2) end
            return call(...)
        end",
    )
    .set_name(CHUNK)
    .call((
        name,
        refusal,
        call,
        lua.globals().get::<Table>("coroutine")?.get::<Function>("isyieldable")?,
        lua.globals().get::<Function>("error")?,
    ))
}

/// The table behind a read-only one (an event, or a part of one); any other table itself. Whoever walks a table from Rust
/// walks this one: the read-only ones are empty to a raw look.
#[must_use]
pub fn readable(table: &Table) -> Table {
    table.metatable().and_then(|meta| meta.raw_get::<Option<Table>>(FROZEN).ok().flatten()).unwrap_or_else(|| table.clone())
}

/// The key in a read-only table's metatable under which the table behind it is.
pub const FROZEN: &str = "__frozen";
