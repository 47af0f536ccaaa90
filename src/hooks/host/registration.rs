//! What the file body registers: `s3.on`, `every`, `after`, `spawn`, `decide`, `check`, `probe`, `command`.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use mlua::{Function, Lua, Table, Value};

use super::desk::Desk;
use super::intake::{Batch, Shape};
use super::option::{MAX_TIMEOUT, Options, duration_of, texts_of};
use crate::hooks::script::{Phase, Script, ScriptKind, misuse, waiting};
use crate::spec::script::Program;
use crate::value::duration;
use crate::wire::catalog;
use crate::wire::event::Severity;

/// Timers of one script that are set, and functions that it has spawned, each.
pub const MAX_ASIDE: usize = 64;

/// The longest wait of a timer or a sleep: a year, as in the config.
const MAX_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

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
        let this = Rc::clone(self);
        s3.set("on", lua.create_function(move |lua, (types, options, call)| this.on(lua, types, options, call))?)?;
        let this = Rc::clone(self);
        s3.set("every", lua.create_function(move |lua, (every, options, call)| this.every(lua, every, options, call))?)?;
        let this = Rc::clone(self);
        s3.set("after", lua.create_function(move |lua, (delay, call)| this.after(lua, delay, call))?)?;
        let this = Rc::clone(self);
        s3.set("spawn", lua.create_function(move |lua, call| this.spawn(lua, call))?)?;
        let this = Rc::clone(self);
        s3.set("decide", lua.create_function(move |lua, (point, options, call)| this.decide(lua, point, options, call))?)?;
        for (name, is_probe) in [("check", false), ("probe", true)] {
            let this = Rc::clone(self);
            s3.set(name, lua.create_function(move |lua, (name, call)| this.check(lua, is_probe, name, call))?)?;
        }
        let this = Rc::clone(self);
        s3.set("command", lua.create_function(move |lua, (name, options, call)| this.command(lua, name, options, call))?)?;
        let sleep = waiting(lua, &self.script, "s3.sleep", |lua, time: Value| async move {
            tokio::time::sleep(wait_of(&lua, "s3.sleep", &time)?).await;
            Ok(())
        })?;
        s3.set("sleep", sleep)
    }

    fn only_at_load(&self, lua: &Lua, what: &str) -> mlua::Result<()> {
        match self.script.phase.get() {
            Phase::Loading => Ok(()),
            Phase::Running => Err(misuse(lua, format!("{what}: call this in the file body, not inside a handler"))),
        }
    }

    fn on(&self, lua: &Lua, types: Value, options: Value, call: Value) -> mlua::Result<()> {
        self.only_at_load(lua, "s3.on")?;
        let (options, call) = if call.is_nil() { (Value::Nil, options) } else { (options, call) };
        let call = function_of(lua, "s3.on", call)?;
        let types = selectors(lua, "s3.on", &types)?;
        if types.is_empty() {
            return Err(misuse(lua, "s3.on: the first argument is an event or a list of events"));
        }
        let known = ["name", "service", "severity", "filter", "timeout", "concurrency", "dedup", "batch", "rate"];
        let options = Options::new(lua, "s3.on", options, &known)?;
        let severity = options.text("severity")?.map(|word| severity_of(&word).ok_or(word)).transpose();
        let severity = severity.map_err(|word| {
            options.wrong(format!("unknown severity `{word}`; allowed are debug, info, warning, error, critical"))
        })?;
        let dedup = Options::new(lua, "s3.on: dedup", options.value("dedup")?, &["key", "window"])?;
        let window = dedup.duration("window", MAX_WAIT)?;
        if window.is_none() && !options.value("dedup")?.is_nil() {
            return Err(dedup.wrong("`window` is missing"));
        }
        let key = dedup.text("key")?.or_else(|| window.map(|_| "type".to_owned()));
        let handler = Handler {
            name: String::new(),
            service: options.text("service")?,
            severity,
            filter: options.function("filter")?,
            key,
            timeout: options.duration("timeout", MAX_TIMEOUT)?.unwrap_or(TIMEOUT),
            shape: Shape {
                concurrency: options.number("concurrency", 1, 16)?.unwrap_or(4),
                dedup: window,
                rate: rate_of(&options)?,
                batch: batch_of(lua, &options)?,
            },
            types,
            call: Action::Lua(call),
        };
        let mut taken = self.taken.borrow_mut();
        if taken.handlers.len() >= MAX_HANDLERS {
            return Err(options.wrong(format!("a script has at most {MAX_HANDLERS} handlers")));
        }
        let is_taken = |name: &str| taken.handlers.iter().any(|other| other.name == name);
        let name = match options.text("name")? {
            Some(name) if is_taken(&name) => return Err(options.wrong(format!("there is a handler `{name}` already"))),
            Some(name) if name.is_empty() || name.len() > 64 => return Err(options.wrong("`name` has 1 to 64 letters")),
            Some(name) => name,
            None => unused(&handler.types[0], is_taken),
        };
        taken.handlers.push(Handler { name, ..handler });
        Ok(())
    }

    fn every(&self, lua: &Lua, every: Value, options: Value, call: Value) -> mlua::Result<Table> {
        let (options, call) = if call.is_nil() { (Value::Nil, options) } else { (options, call) };
        let call = function_of(lua, "s3.every", call)?;
        let every = wait_of(lua, "s3.every", &every)?;
        if every < Duration::from_millis(10) {
            return Err(misuse(lua, "s3.every: the interval is at least 10ms"));
        }
        let options = Options::new(lua, "s3.every", options, &["name", "timeout", "immediate", "jitter"])?;
        let name = match options.text("name")? {
            Some(name) => name,
            None => format!("every-{}", duration::Human(every)),
        };
        self.time(
            lua,
            Timer {
                delay: if options.flag("immediate")? { Duration::ZERO } else { every },
                every: Some(every),
                jitter: options.duration("jitter", MAX_WAIT)?.unwrap_or_default(),
                timeout: options.duration("timeout", MAX_TIMEOUT)?.unwrap_or(TIMEOUT),
                cancelled: Rc::default(),
                name,
                call,
            },
        )
    }

    fn after(&self, lua: &Lua, delay: Value, call: Value) -> mlua::Result<Table> {
        let call = function_of(lua, "s3.after", call)?;
        let delay = wait_of(lua, "s3.after", &delay)?;
        let name = format!("after-{}", duration::Human(delay));
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

    fn spawn(&self, lua: &Lua, call: Value) -> mlua::Result<()> {
        let call = function_of(lua, "s3.spawn", call)?;
        if self.spawned.get() >= MAX_ASIDE {
            return Err(misuse(lua, format!("a script has at most {MAX_ASIDE} spawned functions at once")));
        }
        self.spawned.set(self.spawned.get() + 1);
        let desk = self.desk.borrow().upgrade();
        match desk.filter(|_| self.script.phase.get() == Phase::Running) {
            Some(desk) => desk.run_aside(call),
            None => self.taken.borrow_mut().spawned.push(call),
        }
        Ok(())
    }

    fn decide(&self, lua: &Lua, point: String, options: Value, call: Value) -> mlua::Result<()> {
        self.only_at_load(lua, "s3.decide")?;
        let (options, call) = if call.is_nil() { (Value::Nil, options) } else { (options, call) };
        let call = function_of(lua, "s3.decide", call)?;
        let options = Options::new(lua, "s3.decide", options, &["service"])?;
        let points = ["start", "restart", "stop"];
        if !points.contains(&point.as_str()) {
            return Err(options.wrong(match crate::value::nearest::nearest(&point, points) {
                Some(meant) => format!("unknown point `{point}`; did you mean `{meant}`?"),
                None => format!("unknown point `{point}`; allowed are start, restart, stop"),
            }));
        }
        if let Some(granted) = &self.script.granted
            && !granted.iter().any(|permission| *permission == format!("decide:{point}"))
        {
            return Err(options.wrong(format!("the manifest's permissions do not have `decide:{point}`")));
        }
        self.taken.borrow_mut().decides.push((point, options.text("service")?, call));
        Ok(())
    }

    fn only_plugins(&self, lua: &Lua, what: &str) -> mlua::Result<()> {
        match self.script.kind {
            ScriptKind::Plugin => self.only_at_load(lua, what),
            ScriptKind::Hook => Err(misuse(lua, format!("{what}: only a plugin can have one"))),
        }
    }

    fn check(&self, lua: &Lua, is_probe: bool, name: String, call: Value) -> mlua::Result<()> {
        let what = if is_probe { "s3.probe" } else { "s3.check" };
        self.only_plugins(lua, what)?;
        let call = function_of(lua, what, call)?;
        let mut taken = self.taken.borrow_mut();
        let list = if is_probe { &mut taken.probes } else { &mut taken.checks };
        if list.iter().any(|(other, _)| *other == name) {
            return Err(misuse(lua, format!("{what}: there is a `{name}` already")));
        }
        list.push((name, call));
        Ok(())
    }

    fn command(&self, lua: &Lua, name: String, options: Value, call: Value) -> mlua::Result<()> {
        self.only_plugins(lua, "s3.command")?;
        let call = function_of(lua, "s3.command", call)?;
        let options = Options::new(lua, "s3.command", options, &["summary", "args"])?;
        let summary = options.text("summary")?.ok_or_else(|| options.wrong("`summary` is missing"))?;
        let args = options.texts("args")?;
        let mut taken = self.taken.borrow_mut();
        if taken.commands.iter().any(|other| other.name == name) {
            return Err(options.wrong(format!("there is a command `{name}` already")));
        }
        taken.commands.push(Command { name, summary, args, call });
        Ok(())
    }
}

fn unused(word: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let more = (2..).map(|number| format!("{word}-{number}"));
    std::iter::once(word.to_owned()).chain(more).find(|name| !is_taken(name)).unwrap_or_default()
}

fn function_of(lua: &Lua, what: &str, value: Value) -> mlua::Result<Function> {
    match value {
        Value::Function(function) => Ok(function),
        other => Err(misuse(lua, format!("{what}: the last argument is a function, found a {}", other.type_name()))),
    }
}

fn wait_of(lua: &Lua, what: &str, value: &Value) -> mlua::Result<Duration> {
    duration_of(value)
        .filter(|wait| *wait <= MAX_WAIT)
        .ok_or_else(|| misuse(lua, format!("{what}: a duration is a text such as \"10s\" or seconds, at most 365d")))
}

fn selectors(lua: &Lua, what: &str, value: &Value) -> mlua::Result<Vec<String>> {
    let words = texts_of(value).ok_or_else(|| misuse(lua, format!("{what}: events are a text or a list of texts")))?;
    for word in &words {
        catalog::check_selector(word).map_err(|message| misuse(lua, format!("{what}: {message}")))?;
    }
    Ok(words)
}

fn severity_of(word: &str) -> Option<Severity> {
    [Severity::Debug, Severity::Info, Severity::Warning, Severity::Error, Severity::Critical]
        .into_iter()
        .find(|severity| severity.word() == word)
}

/// `10/1m`.
fn rate_of(options: &Options<'_>) -> mlua::Result<Option<(u64, Duration)>> {
    let Some(text) = options.text("rate")? else { return Ok(None) };
    let read = text.split_once('/').and_then(|(number, window)| {
        let number = number.parse::<u64>().ok().filter(|number| (1..=1_000_000).contains(number))?;
        let window = duration::parse(window).ok().filter(|window| !window.is_zero())?;
        Some((number, window))
    });
    read.map(Some).ok_or_else(|| options.wrong(format!("`rate` is a number and a duration such as \"10/1m\", found \"{text}\"")))
}

fn batch_of(lua: &Lua, options: &Options<'_>) -> mlua::Result<Option<Batch>> {
    let value = options.value("batch")?;
    if value.is_nil() {
        return Ok(None);
    }
    let batch = Options::new(lua, "s3.on: batch", value, &["wait", "max_wait", "max", "flush_on"])?;
    let wait = batch.duration("wait", MAX_WAIT)?.ok_or_else(|| batch.wrong("`wait` is missing"))?;
    Ok(Some(Batch {
        wait,
        max_wait: batch.duration("max_wait", MAX_WAIT)?.unwrap_or(wait * 6),
        max: batch.number("max", 1, 1000)?.unwrap_or(500),
        flush_on: selectors(lua, "s3.on: batch", &batch.value("flush_on")?)?,
    }))
}
