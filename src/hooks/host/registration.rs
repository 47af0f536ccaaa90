//! What the file body registers: `s3.on`, `every`, `after`, `spawn`, `decide`, `check`, `probe`, `command`.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use mlua::{Function, IntoLuaMulti, Lua, Table, Value};

use super::desk::Desk;
use super::intake::{Batch, Shape};
use crate::hooks::api::args::{Args, Opts, check};
use crate::hooks::script::{Phase, Script, ScriptKind, misuse, waiting};
use crate::spec::script::Program;
use crate::value::duration;
use crate::wire::event::Severity;

/// Timers of one script that are set, and functions that it has spawned, each.
pub const MAX_ASIDE: usize = 64;

/// The longest a run may be allowed to take.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// Handlers of one script.
const MAX_HANDLERS: usize = 64;

/// How long a run may take where nothing else is said.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A handler of events.
pub struct Handler {
    /// Unique in its script.
    pub name: String,
    /// Types and lists of the catalog.
    pub types: Vec<String>,
    /// A glob of service names.
    pub service: Option<String>,
    /// The least severity.
    pub severity: Option<Severity>,
    /// Which events it wants besides.
    pub filter: Option<Function>,
    /// The field that `dedup` compares.
    pub key: Option<String>,
    /// How long a run may take.
    pub timeout: Duration,
    /// Lanes, folds, batches.
    pub shape: Shape,
    /// What runs.
    pub call: Action,
}

/// What a handler is.
pub enum Action {
    /// A function of a script.
    Lua(Function),
    /// A program.
    Program(Program),
}

/// A function that runs later.
#[derive(Clone)]
pub struct Timer {
    /// Its name in messages.
    pub name: String,
    /// The first run is so much later.
    pub delay: Duration,
    /// And then again and again.
    pub every: Option<Duration>,
    /// Each run is later by a random part of this.
    pub jitter: Duration,
    /// How long a run may take.
    pub timeout: Duration,
    /// What runs.
    pub call: Function,
    /// Set by `timer:cancel()`.
    pub cancelled: Rc<Cancel>,
}

/// The way to end a timer before its time.
#[derive(Default)]
pub struct Cancel {
    /// Whether it was ended.
    pub done: Cell<bool>,
    /// Wakes it.
    pub wake: tokio::sync::Notify,
}

/// A command of a plugin.
pub struct Command {
    /// Its name.
    pub name: String,
    /// One line.
    pub summary: String,
    /// The names of its arguments: one that ends in `?` may be absent, the last may end in `...`.
    pub args: Vec<String>,
    /// What runs.
    pub call: Function,
}

/// Everything that a script registered.
#[derive(Default)]
pub struct Registration {
    /// Its handlers.
    pub handlers: Vec<Handler>,
    /// Its timers, until the script is in force.
    pub timers: Vec<Timer>,
    /// What it spawned, until the script is in force.
    pub spawned: Vec<Function>,
    /// Point, glob of services, function.
    pub decides: Vec<(String, Option<String>, Function)>,
    /// Name and function.
    pub checks: Vec<(String, Function)>,
    /// Name and function.
    pub probes: Vec<(String, Function)>,
    /// Its commands.
    pub commands: Vec<Command>,
    /// The names of all timers, for the manifest.
    pub timer_names: Vec<String>,
}

/// Takes registrations; shared by the functions in `s3`.
pub struct Register {
    script: Rc<Script>,
    taken: RefCell<Registration>,
    /// Timers that are set; `every` for ever, `after` until it ran.
    pub timers: Cell<usize>,
    /// Spawned functions that have not ended.
    pub spawned: Cell<usize>,
    desk: RefCell<Weak<Desk>>,
}

impl Register {
    /// Nothing is registered yet.
    pub fn new(script: &Rc<Script>) -> Rc<Self> {
        Rc::new(Self {
            script: Rc::clone(script),
            taken: RefCell::default(),
            timers: Cell::default(),
            spawned: Cell::default(),
            desk: RefCell::default(),
        })
    }

    /// What was registered; the file body has ended.
    pub fn take(&self) -> Registration {
        self.taken.take()
    }

    /// From here on timers and spawned functions go there.
    pub fn connect(&self, desk: &Rc<Desk>) {
        *self.desk.borrow_mut() = Rc::downgrade(desk);
    }

    /// Puts the functions into `s3`.
    ///
    /// # Errors
    ///
    /// Where the heap is full.
    pub fn install(self: &Rc<Self>, lua: &Lua, s3: &Table) -> mlua::Result<()> {
        self.put(lua, s3, "on", Self::on)?;
        self.put(lua, s3, "every", Self::every)?;
        self.put(lua, s3, "after", Self::after)?;
        self.put(lua, s3, "spawn", Self::spawn)?;
        self.put(lua, s3, "decide", Self::decide)?;
        self.put(lua, s3, "check", |this, lua, args| this.check(lua, args, false))?;
        self.put(lua, s3, "probe", |this, lua, args| this.check(lua, args, true))?;
        self.put(lua, s3, "command", Self::command)?;
        let sleep = waiting(lua, &self.script, "s3.sleep", |lua, given| {
            let time = check(&lua, "sleep", given).map(|args| args.duration(0).unwrap_or_default());
            async move {
                tokio::time::sleep(time?).await;
                Ok(())
            }
        })?;
        s3.set("sleep", sleep)
    }

    fn put<R: IntoLuaMulti>(
        self: &Rc<Self>,
        lua: &Lua,
        s3: &Table,
        name: &'static str,
        call: impl Fn(&Self, &Lua, &Args) -> mlua::Result<R> + 'static,
    ) -> mlua::Result<()> {
        let this = Rc::clone(self);
        s3.set(name, lua.create_function(move |lua, given| call(&this, lua, &check(lua, name, given)?))?)
    }

    fn only_at_load(&self, lua: &Lua, args: &Args) -> mlua::Result<()> {
        match self.script.phase.get() {
            Phase::Loading => Ok(()),
            Phase::Running => Err(args.misuse(lua, "call this in the file body, not inside a handler")),
        }
    }

    fn on(&self, lua: &Lua, args: &Args) -> mlua::Result<()> {
        self.only_at_load(lua, args)?;
        let wrong = |what: String| args.misuse(lua, what);
        let (types, options) = (args.events(0), args.options(1));
        let dedup = options.options("dedup");
        let concurrency = within(&options, "concurrency", 16).map_err(wrong)?.unwrap_or(4);
        let handler = Handler {
            name: String::new(),
            service: options.text("service"),
            severity: options.text("severity").and_then(|word| severity_of(&word)),
            filter: options.function("filter"),
            key: dedup.as_ref().map(|dedup| dedup.text("key").unwrap_or_else(|| "type".to_owned())),
            timeout: timeout_of(&options).map_err(wrong)?,
            shape: Shape {
                concurrency,
                dedup: dedup.and_then(|dedup| dedup.duration("window")),
                rate: rate_of(&options).map_err(wrong)?,
                batch: batch_of(&options).map_err(wrong)?,
            },
            call: Action::Lua(function_of(lua, args, 2)?),
            types,
        };
        let mut taken = self.taken.borrow_mut();
        if taken.handlers.len() >= MAX_HANDLERS {
            return Err(wrong(format!("a script has at most {MAX_HANDLERS} handlers")));
        }
        let is_taken = |name: &str| taken.handlers.iter().any(|other| other.name == name);
        let name = match options.text("name") {
            Some(name) if is_taken(&name) => return Err(wrong(format!("there is a handler `{name}` already"))),
            Some(name) if name.is_empty() || name.len() > 64 => return Err(wrong("`name` has 1 to 64 letters".to_owned())),
            Some(name) => name,
            None => unused(handler.types.first().map_or("on", String::as_str), is_taken),
        };
        taken.handlers.push(Handler { name, ..handler });
        Ok(())
    }

    fn every(&self, lua: &Lua, args: &Args) -> mlua::Result<Table> {
        let (every, options) = (args.duration(0).unwrap_or_default(), args.options(1));
        if every < Duration::from_millis(10) {
            return Err(args.misuse(lua, "the interval is at least 10ms"));
        }
        let timer = Timer {
            name: options.text("name").unwrap_or_else(|| format!("every-{}", duration::Human(every))),
            delay: if options.boolean("immediate") == Some(true) { Duration::ZERO } else { every },
            every: Some(every),
            jitter: options.duration("jitter").unwrap_or_default(),
            timeout: timeout_of(&options).map_err(|what| args.misuse(lua, what))?,
            cancelled: Rc::default(),
            call: function_of(lua, args, 2)?,
        };
        self.time(lua, timer)
    }

    fn after(&self, lua: &Lua, args: &Args) -> mlua::Result<Table> {
        let delay = args.duration(0).unwrap_or_default();
        let (name, call) = (format!("after-{}", duration::Human(delay)), function_of(lua, args, 1)?);
        let jitter = Duration::ZERO;
        self.time(lua, Timer { delay, every: None, jitter, timeout: TIMEOUT, cancelled: Rc::default(), name, call })
    }

    fn time(&self, lua: &Lua, timer: Timer) -> mlua::Result<Table> {
        if self.timers.get() >= MAX_ASIDE {
            return Err(misuse(lua, format!("a script has at most {MAX_ASIDE} timers at once")));
        }
        self.timers.set(self.timers.get() + 1);
        let cancelled = Rc::clone(&timer.cancelled);
        let handle = lua.create_table()?;
        let cancel = move |_: &Lua, _: Value| {
            cancelled.done.set(true);
            cancelled.wake.notify_one();
            Ok(())
        };
        handle.set("cancel", lua.create_function(cancel)?)?;
        let desk = self.desk.borrow().upgrade();
        match desk.filter(|_| self.script.phase.get() == Phase::Running) {
            Some(desk) => desk.keep_time(timer),
            None => {
                let mut taken = self.taken.borrow_mut();
                taken.timer_names.push(timer.name.clone());
                taken.timers.push(timer);
            }
        }
        Ok(handle)
    }

    fn spawn(&self, lua: &Lua, args: &Args) -> mlua::Result<()> {
        let call = function_of(lua, args, 0)?;
        if self.spawned.get() >= MAX_ASIDE {
            return Err(args.misuse(lua, format!("a script has at most {MAX_ASIDE} spawned functions at once")));
        }
        self.spawned.set(self.spawned.get() + 1);
        let desk = self.desk.borrow().upgrade();
        match desk.filter(|_| self.script.phase.get() == Phase::Running) {
            Some(desk) => desk.run_aside(call),
            None => self.taken.borrow_mut().spawned.push(call),
        }
        Ok(())
    }

    fn decide(&self, lua: &Lua, args: &Args) -> mlua::Result<()> {
        self.only_at_load(lua, args)?;
        let point = args.text(0);
        if let Some(granted) = &self.script.granted
            && !granted.iter().any(|permission| *permission == format!("decide:{point}"))
        {
            return Err(args.misuse(lua, format!("the manifest's permissions do not have `decide:{point}`")));
        }
        self.taken.borrow_mut().decides.push((point, args.options(1).text("service"), function_of(lua, args, 2)?));
        Ok(())
    }

    fn only_plugins(&self, lua: &Lua, args: &Args) -> mlua::Result<()> {
        match self.script.kind {
            ScriptKind::Plugin => self.only_at_load(lua, args),
            ScriptKind::Hook => Err(args.misuse(lua, "only a plugin can have one")),
        }
    }

    fn check(&self, lua: &Lua, args: &Args, is_probe: bool) -> mlua::Result<()> {
        self.only_plugins(lua, args)?;
        let (name, call) = (args.text(0), function_of(lua, args, 1)?);
        let mut taken = self.taken.borrow_mut();
        let list = if is_probe { &mut taken.probes } else { &mut taken.checks };
        if list.iter().any(|(other, _)| *other == name) {
            return Err(args.misuse(lua, format!("there is a `{name}` already")));
        }
        list.push((name, call));
        Ok(())
    }

    fn command(&self, lua: &Lua, args: &Args) -> mlua::Result<()> {
        self.only_plugins(lua, args)?;
        let (name, options, call) = (args.text(0), args.options(1), function_of(lua, args, 2)?);
        let (summary, words) = (options.text("summary").unwrap_or_default(), options.texts("args"));
        let mut taken = self.taken.borrow_mut();
        if taken.commands.iter().any(|other| other.name == name) {
            return Err(args.misuse(lua, format!("there is a command `{name}` already")));
        }
        taken.commands.push(Command { name, summary, args: words, call });
        Ok(())
    }
}

fn unused(word: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let more = (2..).map(|number| format!("{word}-{number}"));
    std::iter::once(word.to_owned()).chain(more).find(|name| !is_taken(name)).unwrap_or_default()
}

fn function_of(lua: &Lua, args: &Args, at: usize) -> mlua::Result<Function> {
    args.function(at).ok_or_else(|| args.misuse(lua, "the last argument is a function"))
}

fn severity_of(word: &str) -> Option<Severity> {
    [Severity::Debug, Severity::Info, Severity::Warning, Severity::Error, Severity::Critical]
        .into_iter()
        .find(|severity| severity.word() == word)
}

/// A number from 1 to `most`.
fn within(options: &Opts, key: &str, most: usize) -> Result<Option<usize>, String> {
    let Some(number) = options.integer(key) else { return Ok(None) };
    let fits = usize::try_from(number).ok().filter(|number| (1..=most).contains(number));
    fits.map(Some).ok_or_else(|| format!("`{key}` is a number from 1 to {most}, found {number}"))
}

fn timeout_of(options: &Opts) -> Result<Duration, String> {
    match options.duration("timeout") {
        Some(long) if long > MAX_TIMEOUT => Err(format!("`timeout` is at most {}", duration::Human(MAX_TIMEOUT))),
        other => Ok(other.unwrap_or(TIMEOUT)),
    }
}

/// `10/1m`.
fn rate_of(options: &Opts) -> Result<Option<(u64, Duration)>, String> {
    let Some(text) = options.text("rate") else { return Ok(None) };
    let read = text.split_once('/').and_then(|(number, window)| {
        let number = number.parse::<u64>().ok().filter(|number| (1..=1_000_000).contains(number))?;
        let window = duration::parse(window).ok().filter(|window| !window.is_zero())?;
        Some((number, window))
    });
    read.map(Some).ok_or_else(|| format!("`rate` is a number and a duration such as \"10/1m\", found \"{text}\""))
}

fn batch_of(options: &Opts) -> Result<Option<Batch>, String> {
    let Some(batch) = options.options("batch") else { return Ok(None) };
    let wait = batch.duration("wait").unwrap_or_default();
    Ok(Some(Batch {
        wait,
        max_wait: batch.duration("max_wait").unwrap_or(wait * 6),
        max: within(&batch, "max", 1000)?.unwrap_or(500),
        flush_on: batch.events("flush_on"),
    }))
}
