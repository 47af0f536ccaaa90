//! One loaded script at work: events through its intakes into runs, timers, spawned functions, questions.
//!
//! Everything here is one thread's; every run is a coroutine behind a slice meter and a time limit. For each delivery exactly one
//! [`FromHost::Done`] is told, also when the script goes in the middle of a run.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mlua::{Function, IntoLuaMulti, MultiValue, Value};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep_until, timeout};

use super::intake::{Intake, Item, Work};
use super::letter::{Letter, Postmark, Reader, text};
use super::pulse::{Meter, SLICE, Sliced};
use super::registration::{Action, Command, Handler, MAX_TIMEOUT, Register, Registration, Timer};
use super::sandbox::{self, Sandbox, fault_of, overran};
use crate::hooks::clock;
use crate::hooks::frame::{Ask, Delivery, Done, FromHost, HookError, Loaded, Subscription};
use crate::hooks::script::{self, ExecRequest, Phase, RUN, Run, Script};
use crate::spec::script::Program;
use crate::value::duration::{Human, millis};
use crate::value::sorted::Map;
use crate::wire::catalog::selects;
use crate::wire::event::{HookFaultKind, Severity};

/// Runs of one script at once: handlers and timers.
const MAX_RUNS: usize = 16;

/// Questions to one script at once.
const MAX_ASKS: usize = 64;

/// What is kept of the outputs of a `run:` program, for the message of its failure.
const MAX_OUTPUT: usize = 4096;

/// A script that is loaded.
pub struct Desk {
    pub(super) script: Rc<Script>,
    /// Without Lua where the script is a program.
    pub(super) engine: Option<Engine>,
    pub(super) meter: Rc<Meter>,
    pub(super) tell: Rc<dyn Fn(FromHost)>,
    pub(super) register: Rc<Register>,
    pub(super) registered: Registration,
    intakes: RefCell<Vec<Intake>>,
    runs: Arc<Semaphore>,
    asks: RefCell<Map<u64, AbortHandle>>,
    is_open: Cell<bool>,
    /// Where the search for the next run begins: every handler has its turn.
    turn: Cell<usize>,
    /// Something came or went: deadlines may be others.
    changed: Notify,
    /// Something ended.
    settled: Notify,
}

/// The Lua of a script.
pub struct Engine {
    /// Its state.
    pub sandbox: Sandbox,
    /// Makes its events.
    pub reader: Reader,
}

impl Desk {
    /// A desk for what the file body registered. Nothing runs before [`Self::open`].
    pub(super) fn new(
        script: Rc<Script>,
        engine: Option<Engine>,
        meter: Rc<Meter>,
        tell: Rc<dyn Fn(FromHost)>,
        register: Rc<Register>,
        registered: Registration,
    ) -> Rc<Self> {
        let intakes = registered.handlers.iter().map(|handler| Intake::new(handler.shape.clone())).collect();
        let desk = Rc::new(Self {
            script,
            engine,
            meter,
            tell,
            register,
            registered,
            intakes: RefCell::new(intakes),
            runs: Arc::new(Semaphore::new(MAX_RUNS)),
            asks: RefCell::default(),
            is_open: Cell::new(false),
            turn: Cell::new(0),
            changed: Notify::new(),
            settled: Notify::new(),
        });
        desk.register.connect(&desk);
        desk
    }

    /// What the supervisor is told of it.
    #[must_use]
    pub fn loaded(&self, generation: u64) -> Loaded {
        let all = &self.registered;
        let subscription = |handler: &Handler| Subscription {
            name: handler.name.clone(),
            types: handler.types.clone(),
            service: handler.service.clone(),
            severity: handler.severity,
        };
        Loaded {
            script: self.script.name.clone(),
            generation,
            handlers: all.handlers.iter().map(subscription).collect(),
            decides: all.decides.iter().map(|(point, service, _)| (point.clone(), service.clone())).collect(),
            checks: all.checks.iter().map(|(name, _)| name.clone()).collect(),
            probes: all.probes.iter().map(|(name, _)| name.clone()).collect(),
            commands: all.commands.iter().map(|command| (command.name.clone(), command.summary.clone())).collect(),
        }
    }

    /// The script is in force: what waits runs, timers begin. To be called once, on a `LocalSet`.
    pub fn open(self: &Rc<Self>) {
        self.script.phase.set(Phase::Running);
        self.is_open.set(true);
        for timer in &self.registered.timers {
            self.keep_time(timer.clone());
        }
        for call in &self.registered.spawned {
            self.run_aside(call.clone());
        }
        spawn_local(Rc::clone(self).keep_deadlines());
        self.pump();
    }

    /// Takes an event for one of the handlers. It is ticked off, now or later, whatever it is.
    pub fn deliver(self: &Rc<Self>, delivery: &Delivery) {
        let number = delivery.delivery;
        let found = self.registered.handlers.iter().position(|handler| handler.name == delivery.handler);
        let (Some(index), Ok(letter)) = (found, Letter::read(&delivery.event)) else {
            // Of an older version of the script, whose handlers were others.
            return self.tick_off(vec![number], None);
        };
        let handler = &self.registered.handlers[index];
        let mark = Postmark { count: count(&letter), attempt: delivery.attempt, lost: delivery.lost };
        match self.is_wanted(handler, &letter, mark, number) {
            Ok(true) => {}
            Ok(false) => return self.tick_off(vec![number], None),
            Err(error) => return self.tick_off(vec![number], Some(error)),
        }
        let key = handler.key.as_ref().map(|key| same(&letter, key));
        let flush_on = handler.shape.batch.as_ref().map(|batch| batch.flush_on.as_slice()).unwrap_or_default();
        let flushes = flush_on.iter().any(|selector| selects(selector, &letter.kind, severity(&letter)));
        let item = Item { deliveries: vec![number], letter: Rc::new(letter), mark, flushes };
        let gone = self.intakes.borrow_mut()[index].accept(clock::now(), item, key);
        self.tick_off(gone, None);
        self.pump();
        self.settled.notify_one();
    }

    fn is_wanted(&self, handler: &Handler, letter: &Letter, mark: Postmark, number: u64) -> Result<bool, HookError> {
        let (Some(filter), Some(engine)) = (&handler.filter, &self.engine) else { return Ok(true) };
        self.meter.pulse().begin(&[number]);
        let asked = self.meter.slice(SLICE, || {
            let event = engine.reader.table(&engine.sandbox.lua, letter, mark)?;
            filter.call::<Value>(event)
        });
        self.meter.pulse().end(&[number]);
        match asked {
            Ok(Ok(wanted)) => Ok(!matches!(wanted, Value::Nil | Value::Boolean(false))),
            Ok(Err(error)) => Err(fault_of(&engine.sandbox.lua, &error)),
            Err(overrun) => Err(overran(overrun)),
        }
    }

    fn tick_off(&self, deliveries: Vec<u64>, error: Option<HookError>) {
        if !deliveries.is_empty() {
            (self.tell)(FromHost::Done(Done { deliveries, run_ms: None, error }));
        }
    }

    /// Begins what can begin.
    fn pump(self: &Rc<Self>) {
        while self.is_open.get() {
            let Ok(permit) = Arc::clone(&self.runs).try_acquire_owned() else { break };
            let Some((index, work)) = self.next() else { break };
            spawn_local(Rc::clone(self).carry_out(index, work, permit));
        }
        self.changed.notify_one();
    }

    fn next(&self) -> Option<(usize, Work)> {
        let mut intakes = self.intakes.borrow_mut();
        let count = intakes.len();
        let index =
            (0..count).map(|step| (self.turn.get() + step) % count).find_map(|index| Some((index, intakes[index].next()?)));
        if let Some((index, _)) = &index {
            self.turn.set(index + 1);
        }
        index
    }

    /// Folds and batches whose time has come.
    async fn keep_deadlines(self: Rc<Self>) {
        loop {
            let due = self.intakes.borrow().iter().filter_map(Intake::deadline).min();
            let changed = self.changed.notified();
            match due {
                None => changed.await,
                Some(at) => {
                    // Whether it was the time or a change does not matter: both mean to look again.
                    let _ = tokio::time::timeout_at(at, changed).await;
                }
            }
            let now = clock::now();
            let gone: Vec<u64> = self.intakes.borrow_mut().iter_mut().flat_map(|intake| intake.advance(now)).collect();
            self.tick_off(gone, None);
            if due.is_some_and(|at| at <= now) {
                self.pump();
            }
        }
    }

    async fn carry_out(self: Rc<Self>, index: usize, work: Work, permit: OwnedSemaphorePermit) {
        let handler = &self.registered.handlers[index];
        let underway = Underway::begin(&self, &work.items);
        let last = work.items.last().map(|item| Rc::clone(&item.letter));
        let cause = last.map(|letter| (letter.id.clone(), letter.depth));
        let run = Run { handler: handler.name.clone(), cause };
        let error = match &handler.call {
            Action::Lua(call) => self.run_handler(handler, call, run, &work.items).await.err(),
            Action::Program(program) => self.run_program(program, run, &work.items).await.err(),
        };
        underway.end(error);
        self.intakes.borrow_mut()[index].finished(work.lane);
        drop(permit);
        self.pump();
        self.settled.notify_one();
    }

    async fn run_handler(&self, handler: &Handler, call: &Function, run: Run, items: &[Item]) -> Result<(), HookError> {
        let arguments = |engine: &Engine| {
            let lua = &engine.sandbox.lua;
            let tables = items.iter().map(|item| engine.reader.table(lua, &item.letter, item.mark));
            match (&handler.shape.batch, items) {
                (None, [item]) => engine.reader.table(lua, &item.letter, item.mark)?.into_lua_multi(lua),
                _ => lua.create_sequence_from(tables.collect::<mlua::Result<Vec<_>>>()?)?.into_lua_multi(lua),
            }
        };
        self.judged(&self.run(run, handler.timeout, call, arguments).await?)
    }

    /// Whether a handler or a timer has succeeded, by what it returned.
    fn judged(&self, returned: &MultiValue) -> Result<(), HookError> {
        match (returned.front(), &self.engine) {
            (Some(Value::Boolean(false)), Some(engine)) => {
                let given = returned.get(1).cloned().unwrap_or(Value::Nil);
                let told = self.meter.slice(SLICE, || sandbox::reason(&engine.sandbox.lua, &given));
                Err(HookError { kind: HookFaultKind::Error, message: told.map_err(overran)?, traceback: None })
            }
            _ => Ok(()),
        }
    }

    /// Drives a function to its end, within its limits.
    pub(super) async fn run(
        &self,
        run: Run,
        limit: Duration,
        call: &Function,
        arguments: impl FnOnce(&Engine) -> mlua::Result<MultiValue>,
    ) -> Result<MultiValue, HookError> {
        let Some(engine) = &self.engine else { return Ok(MultiValue::new()) };
        let begun = self.meter.slice(SLICE, || arguments(engine).map(|arguments| call.call_async::<MultiValue>(arguments)));
        let future = begun.map_err(overran)?.map_err(|error| self.told(engine, &error))?;
        let driven = RUN.scope(Rc::new(run), timeout(limit, Sliced::new(&self.meter, future))).await;
        match driven {
            Ok(Ok(Ok(returned))) => Ok(returned),
            Ok(Ok(Err(error))) => Err(self.told(engine, &error)),
            Ok(Err(overrun)) => {
                self.clean_up(engine);
                Err(overran(overrun))
            }
            Err(_) => {
                self.clean_up(engine);
                let message = format!("took longer than {}", Human(limit));
                Err(HookError { kind: HookFaultKind::Timeout, message, traceback: None })
            }
        }
    }

    fn told(&self, engine: &Engine, error: &mlua::Error) -> HookError {
        let error = fault_of(&engine.sandbox.lua, error);
        if error.kind == HookFaultKind::Memory {
            self.clean_up(engine);
        }
        error
    }

    /// What a run left behind in the middle of something: requests of a coroutine inside a coroutine end only when Lua sees
    /// that nobody has it any more.
    fn clean_up(&self, engine: &Engine) {
        let _ = self.meter.slice(SLICE, || engine.sandbox.lua.gc_collect());
    }

    async fn run_program(&self, program: &Program, run: Run, items: &[Item]) -> Result<(), HookError> {
        let Some(item) = items.last() else { return Ok(()) };
        let request = ExecRequest {
            argv: program.run.clone(),
            stdin: text(&item.letter, item.mark),
            env: variables(&item.letter),
            dir: Some(program.dir.clone()),
            timeout: program.timeout,
            max_output: MAX_OUTPUT,
        };
        let failed = |kind, message| Err(HookError { kind, message: sandbox::cut(message), traceback: None });
        match RUN.scope(Rc::new(run), self.script.effects.exec(request)).await {
            Ok(result) if result.code == Some(0) => Ok(()),
            Ok(result) => {
                let how = match (result.code, result.signal) {
                    (Some(code), _) => format!("exit {code}"),
                    (None, signal) => signal.unwrap_or_else(|| "a signal".to_owned()),
                };
                let said = String::from_utf8_lossy(&result.stderr);
                let said = said.lines().rfind(|line| !line.trim().is_empty()).map(|line| format!(": {line}"));
                failed(HookFaultKind::Error, format!("{} ended with {how}{}", program.run[0], said.unwrap_or_default()))
            }
            Err(error) if error.code == "timeout" => failed(HookFaultKind::Timeout, error.message),
            Err(error) => failed(HookFaultKind::Error, error.message),
        }
    }

    /// Sets a timer, which [`Register`] has counted.
    pub(super) fn keep_time(self: &Rc<Self>, timer: Timer) {
        let desk = Rc::clone(self);
        spawn_local(async move {
            let ended = timer.cancelled.wake.notified();
            tokio::select! {
                () = desk.tick(&timer) => {}
                () = ended => {}
            }
            desk.register.timers.set(desk.register.timers.get() - 1);
        });
    }

    async fn tick(self: &Rc<Self>, timer: &Timer) {
        let mut due = clock::now() + timer.delay;
        while !timer.cancelled.done.get() {
            sleep_until(due + part_of(timer.jitter, due)).await;
            let permit = self.runs.acquire().await;
            let run = Run { handler: timer.name.clone(), cause: None };
            let returned = self.run(run, timer.timeout, &timer.call, |_| Ok(MultiValue::new())).await;
            if let Err(error) = returned.and_then(|returned| self.judged(&returned)) {
                self.failed(Some(timer.name.clone()), error);
            }
            drop(permit);
            // A handler may wait for the slot that this was.
            self.pump();
            self.settled.notify_one();
            let Some(every) = timer.every else { break };
            let late = clock::now().saturating_duration_since(due);
            let missed = u32::try_from(late.as_nanos() / every.as_nanos().max(1)).unwrap_or(u32::MAX);
            due += every.saturating_mul(missed.saturating_add(1));
        }
    }

    /// Runs a function beside the others, which [`Register`] has counted.
    pub(super) fn run_aside(self: &Rc<Self>, call: Function) {
        let desk = Rc::clone(self);
        let run = (*script::run()).clone();
        spawn_local(async move {
            if let Err(error) = desk.run(run, MAX_TIMEOUT, &call, |_| Ok(MultiValue::new())).await {
                desk.failed(None, error);
            }
            desk.register.spawned.set(desk.register.spawned.get() - 1);
            desk.settled.notify_one();
        });
    }

    fn failed(&self, handler: Option<String>, error: HookError) {
        (self.tell)(FromHost::Failed { script: self.script.name.clone(), handler, error });
    }

    /// Answers a question, within its deadline; exactly once, also when nobody waits any more.
    pub fn ask(self: &Rc<Self>, ask: Ask) {
        let number = ask.ask;
        if self.asks.borrow().len() >= MAX_ASKS {
            let message = format!("there are {MAX_ASKS} questions to it already");
            let error = HookError { kind: HookFaultKind::Error, message, traceback: None };
            return (self.tell)(FromHost::Answer { ask: number, run_ms: None, result: Err(error) });
        }
        let mut asked = Asked { desk: Rc::clone(self), number, began: None, result: None };
        let task = spawn_local(async move {
            asked.began = Some(clock::now());
            let result = asked.desk.answer(&ask).await;
            asked.end(result);
        });
        self.asks.borrow_mut().insert(number, task.abort_handle());
    }

    /// Nobody waits for the answer any more.
    pub fn drop_ask(&self, number: u64) {
        let task = self.asks.borrow_mut().remove(&number);
        if let Some(task) = task {
            task.abort();
        }
    }

    /// Begins with what was held back, and waits until nothing runs: handlers, spawned functions, questions.
    pub async fn finish(self: &Rc<Self>) {
        let now = clock::now();
        let gone: Vec<u64> = self.intakes.borrow_mut().iter_mut().flat_map(|intake| intake.flush(now)).collect();
        self.tick_off(gone, None);
        self.pump();
        while !self.is_idle() {
            self.settled.notified().await;
            let now = clock::now();
            let gone: Vec<u64> = self.intakes.borrow_mut().iter_mut().flat_map(|intake| intake.flush(now)).collect();
            self.tick_off(gone, None);
            self.pump();
        }
    }

    /// Begins nothing more, and waits until what the script keeps is on the disk.
    pub async fn leave(&self) {
        self.is_open.set(false);
        self.script.keeping.is_over().await;
    }

    /// Whether nothing is held back, queued or running but timers.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.intakes.borrow().iter().all(Intake::is_idle)
            && self.register.spawned.get() == 0
            && self.asks.borrow().is_empty()
            && self.runs.available_permits() == MAX_RUNS
    }

    pub(super) fn command(&self, name: &str) -> Option<&Command> {
        self.registered.commands.iter().find(|command| command.name == name)
    }
}

fn count(letter: &Letter) -> u64 {
    letter.envelope.get("count").and_then(serde_json::Value::as_u64).unwrap_or(1)
}

fn severity(letter: &Letter) -> Severity {
    let word = letter.envelope.get("severity").cloned().unwrap_or_default();
    serde_json::from_value(word).unwrap_or(Severity::Info)
}

/// Events of one service with the same value are the same.
fn same(letter: &Letter, key: &str) -> String {
    format!("{}\0{}", letter.service.as_deref().unwrap_or_default(), letter.field(key))
}

/// A part of the jitter, other for each tick: taken from the tick's own time, so that a virtual clock has the same each time.
fn part_of(jitter: Duration, due: Instant) -> Duration {
    if jitter.is_zero() {
        return jitter;
    }
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(due);
    let share = u32::try_from(hash % 1024).unwrap_or(0);
    jitter * share / 1024
}

fn variables(letter: &Letter) -> Vec<(String, String)> {
    let mut out = vec![("SECTION3_EVENT".to_owned(), letter.kind.clone())];
    out.extend(letter.service.clone().map(|service| ("SECTION3_SERVICE".to_owned(), service)));
    for (variable, field) in [("SECTION3_CODE", "code"), ("SECTION3_SIGNAL", "signal")] {
        let value = letter.field(field);
        if !value.is_empty() {
            out.push((variable.to_owned(), value));
        }
    }
    out
}

/// A run that has begun: its events are told to be done when it ends, however it ends.
struct Underway<'a> {
    desk: &'a Desk,
    deliveries: Vec<u64>,
    began: Instant,
    error: Option<HookError>,
}

impl<'a> Underway<'a> {
    fn begin(desk: &'a Desk, items: &[Item]) -> Self {
        let deliveries: Vec<u64> = items.iter().flat_map(|item| item.deliveries.iter().copied()).collect();
        desk.meter.pulse().begin(&deliveries);
        if !deliveries.is_empty() {
            (desk.tell)(FromHost::Began { deliveries: deliveries.clone() });
        }
        let message = "the script was taken out of service in the middle of it".to_owned();
        let error = Some(HookError { kind: HookFaultKind::Timeout, message, traceback: None });
        Self { desk, deliveries, began: clock::now(), error }
    }

    fn end(mut self, error: Option<HookError>) {
        self.error = error;
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let deliveries = std::mem::take(&mut self.deliveries);
        self.desk.meter.pulse().end(&deliveries);
        let run_ms = Some(millis(clock::now().saturating_duration_since(self.began)));
        (self.desk.tell)(FromHost::Done(Done { deliveries, run_ms, error: self.error.take() }));
    }
}

/// A question under way: it is answered when it ends, however it ends.
struct Asked {
    desk: Rc<Desk>,
    number: u64,
    /// Nothing where nobody waited any more before its turn came.
    began: Option<Instant>,
    result: Option<Result<serde_json::Value, HookError>>,
}

impl Asked {
    fn end(mut self, result: Result<serde_json::Value, HookError>) {
        self.result = Some(result);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let is_awaited = self.desk.asks.borrow_mut().remove(&self.number).is_some();
        let result = self.result.take().unwrap_or_else(|| {
            let (kind, message) = if is_awaited {
                (HookFaultKind::Error, "the script was taken out of service in the middle of it")
            } else {
                (HookFaultKind::Timeout, "nobody waits for its answer any more")
            };
            Err(HookError { kind, message: message.to_owned(), traceback: None })
        });
        let run_ms = self.began.map(|began| millis(clock::now().saturating_duration_since(began)));
        (self.desk.tell)(FromHost::Answer { ask: self.number, run_ms, result });
        self.desk.settled.notify_one();
    }
}
