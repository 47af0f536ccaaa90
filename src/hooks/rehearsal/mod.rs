//! `hook test`: a hook on made-up events, through the runtime of the hook host, without a supervisor. What it does is written
//! down instead of done, and the clock stands still but for jumps to whatever is due next: a day of waiting takes no time.
//!
//! The same file, events and seed give the same report, letter for letter.

mod body;
mod recorder;
mod reply;
mod sample;

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

pub use body::try_plugin;
pub use recorder::Effect;
pub use reply::Reply;
pub use sample::Sample;

use super::api::world::World;
use super::frame::{Delivery, Done, FromHost, HookError};
use super::host::{Content, Meter, Pulse, STUCK, load};
use super::script::{Keeping, Phase, Script, ScriptKind};
use crate::value::Glob;
use crate::value::duration::Human;
use crate::value::json::Raw;
use crate::wire::catalog::selects;
use crate::wire::event::{HookFaultKind, Severity};
use recorder::Recorder;

/// A rehearsal's clock goes at most this far after the last event: longer than any handler may run, batch or wait.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);

/// How often it looks whether everything is done; on its own clock.
const LOOK: Duration = Duration::from_millis(50);

/// How often it is looked at whether Lua runs for so long that it would take the host down; on the real clock.
const WATCH: Duration = Duration::from_millis(100);

/// Events of one rehearsal.
pub const MAX_EVENTS: u32 = 10_000;

/// What is rehearsed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The hook.
    pub file: PathBuf,
    /// The event.
    pub sample: Sample,
    /// How often.
    pub repeat: u32,
    /// How far apart.
    pub every: Duration,
    /// Scripted answers.
    pub replies: Vec<Reply>,
    /// Whether it happens for real, on the real clock.
    pub live: bool,
    /// For what is random.
    pub seed: u64,
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The handlers, each with what it wants to hear.
    pub handlers: Vec<(String, Vec<String>)>,
    /// Everything in order.
    pub effects: Vec<Effect>,
    /// Runs that ended well.
    pub fine: u32,
    /// What is wrong; empty where all is well.
    pub problems: Vec<String>,
}

impl Report {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (name, types) in &self.handlers {
            let _ = writeln!(out, "handler {name}: {}", types.join(", "));
        }
        for effect in &self.effects {
            let (seconds, ms) = (effect.at_ms / 1000, effect.at_ms % 1000);
            let _ = writeln!(out, "{seconds:>6}.{ms:03}s  {:<6} {}", effect.kind, effect.text);
        }
        let _ = writeln!(out, "{} ended well, {} wrong", self.fine, self.problems.len());
        for problem in &self.problems {
            let _ = writeln!(out, "problem: {problem}");
        }
        out
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let handlers: Vec<Value> = self.handlers.iter().map(|(name, types)| json!({"name": name, "types": types})).collect();
        let effects: Vec<Value> = self
            .effects
            .iter()
            .map(|effect| json!({"at_ms": effect.at_ms, "kind": effect.kind, "text": effect.text, "data": effect.data}))
            .collect();
        json!({
            "version": 1, "ok": self.problems.is_empty(), "handlers": handlers, "effects": effects, "fine": self.fine,
            "problems": self.problems,
        })
    }
}

/// What the rehearsal's thread tells at the end.
#[derive(Default)]
struct Outcome {
    handlers: Vec<(String, Vec<String>)>,
    fine: u32,
    problems: Vec<String>,
}

impl Outcome {
    fn lost(problem: String) -> Self {
        Self { problems: vec![problem], ..Self::default() }
    }
}

/// Rehearses. Where the script would take the host down, its thread stays behind: the process should end soon after.
#[must_use]
pub fn rehearse(plan: Plan) -> Report {
    let (notes, noted) = channel();
    let outcome = watched(&stem(&plan.file), move |pulse| perform(&plan, pulse, notes));
    let mut report = Report { handlers: outcome.handlers, fine: outcome.fine, problems: outcome.problems, effects: Vec::new() };
    report.effects.extend(noted.try_iter());
    report
}

/// Runs Lua on a thread of its own, and gives it up where nothing stops it.
fn watched(name: &str, work: impl FnOnce(&Arc<Pulse>) -> Outcome + Send + 'static) -> Outcome {
    let pulse = Arc::new(Pulse::default());
    let (end, ended) = channel();
    let own = Arc::clone(&pulse);
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        // Whoever does not wait for it any more does not need it.
        drop(end.send(work(&own)));
    });
    match thread {
        Ok(_) => wait(&ended, &pulse, name),
        Err(error) => Outcome::lost(format!("cannot start a thread: {error}")),
    }
}

fn wait(ended: &Receiver<Outcome>, pulse: &Pulse, name: &str) -> Outcome {
    loop {
        match ended.recv_timeout(WATCH) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Disconnected) => return Outcome::lost(format!("{name}: the rehearsal itself failed")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if pulse.busy_for().is_some_and(|busy| busy > STUCK) {
            return Outcome::lost(format!(
                "{name} would have been killed, and the hook host with it: it ran for over {} of CPU without waiting, where \
                 nothing could stop it",
                Human(STUCK)
            ));
        }
    }
}

fn stem(file: &Path) -> String {
    file.file_stem().map_or_else(|| "hook".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

fn perform(plan: &Plan, pulse: &Arc<Pulse>, notes: Sender<Effect>) -> Outcome {
    match Builder::new_current_thread().enable_all().start_paused(!plan.live).build() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, play(plan, pulse, notes)),
        Err(error) => Outcome::lost(format!("cannot start the runtime: {error}")),
    }
}

async fn play(plan: &Plan, pulse: &Arc<Pulse>, notes: Sender<Effect>) -> Outcome {
    let name = stem(&plan.file);
    // Never the folder of a running supervisor's scripts.
    let state_dir = std::env::temp_dir().join("section3-hook-test").join(&name);
    let log_dir = plan.sample.log_dir();
    let live = plan.live.then(|| World::new(&state_dir, &log_dir));
    let recorder = Rc::new(Recorder::new(notes, plan.replies.clone(), live, log_dir.clone()));
    let script = Script {
        name: name.clone(),
        kind: ScriptKind::Hook,
        granted: None,
        settings: Value::Null,
        state_dir,
        log_dir,
        host: "host".to_owned(),
        boot: "00000000000000aa".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        secrets: crate::value::sorted::Map::new(),
        effects: Rc::clone(&recorder) as Rc<dyn super::script::Effects>,
        phase: Cell::new(Phase::Loading),
        keeping: Keeping::default(),
    };
    let book = Rc::new(Book::default());
    let (writer, teller) = (Rc::clone(&book), Rc::clone(&recorder));
    let tell = Rc::new(move |frame| writer.take(&teller, frame));
    super::api::seed(plan.seed);
    let desk = match load(script, Content::of_file(&plan.file), Meter::new(Arc::clone(pulse), || {}), tell) {
        Ok(desk) => desk,
        Err(error) => {
            return Outcome::lost(told(&error, "not loaded"));
        }
    };
    let loaded = desk.loaded(1);
    desk.open();
    let mut number = 0;
    let mut wanted = false;
    for turn in 0..plan.repeat {
        if turn > 0 {
            tokio::time::sleep(plan.every).await;
        }
        let event = plan.sample.event(u64::from(turn) + 1, recorder.elapsed());
        let kind = event["type"].as_str().unwrap_or_default();
        let service = event["service"].as_str();
        recorder.note("event", format!("{kind} {}", service.unwrap_or("")).trim_end().to_owned(), event.clone());
        let severity = serde_json::from_value(event["severity"].clone()).unwrap_or(Severity::Info);
        for handler in &loaded.handlers {
            let named = handler.types.iter().any(|selector| selects(selector, kind, severity));
            let placed = handler.service.as_ref().is_none_or(|glob| service.is_some_and(|name| Glob::new(glob).matches(name)));
            if !named || !placed || handler.severity.is_some_and(|least| severity < least) {
                continue;
            }
            wanted = true;
            number += 1;
            book.deliveries.borrow_mut().insert(number, handler.name.clone());
            let Ok(envelope) = Raw::parse(&event.to_string()) else { continue };
            let (script, handler) = (name.clone(), handler.name.clone());
            desk.deliver(&Delivery { delivery: number, script, handler, attempt: 1, lost: 0, event: envelope });
        }
    }
    let last = recorder.elapsed();
    while !desk.is_idle() && recorder.elapsed() < last + PATIENCE {
        tokio::time::sleep(LOOK).await;
    }
    if !wanted {
        let event = plan.sample.event(1, Duration::ZERO);
        let service = event["service"].as_str().map(|name| format!(" of {name}")).unwrap_or_default();
        book.problems.borrow_mut().push(format!("no handler wants `{}`{service}", event["type"].as_str().unwrap_or_default()));
    }
    if !desk.is_idle() {
        book.problems.borrow_mut().push("something still runs, two hours after the last event".to_owned());
    }
    Outcome {
        handlers: loaded.handlers.into_iter().map(|handler| (handler.name, handler.types)).collect(),
        fine: book.fine.get(),
        problems: book.problems.take(),
    }
}

/// What the script tells its host.
#[derive(Default)]
struct Book {
    deliveries: RefCell<crate::value::sorted::Map<u64, String>>,
    fine: Cell<u32>,
    problems: RefCell<Vec<String>>,
}

impl Book {
    fn take(&self, recorder: &Recorder, frame: FromHost) {
        match frame {
            FromHost::Done(done) => self.done(recorder, &done),
            FromHost::Failed { handler, error, .. } => {
                let name = handler.unwrap_or_else(|| "a timer or a spawned function".to_owned());
                self.failed(recorder, &name, &error);
            }
            // The rest is for a supervisor.
            _ => {}
        }
    }

    fn done(&self, recorder: &Recorder, done: &Done) {
        let name = done.deliveries.first().and_then(|number| self.deliveries.borrow().get(number).cloned()).unwrap_or_default();
        let events = match done.deliveries.len() {
            1 => String::new(),
            count => format!(" with {count} events"),
        };
        match (&done.error, done.run_ms) {
            (Some(error), _) => self.failed(recorder, &name, error),
            (None, Some(ms)) => {
                self.fine.set(self.fine.get() + 1);
                recorder.note("done", format!("{name}{events}, after {ms} ms"), json!({"handler": name, "run_ms": ms}));
            }
            (None, None) => recorder.note("done", format!("{name}{events}: passed over"), json!({"handler": name})),
        }
    }

    fn failed(&self, recorder: &Recorder, name: &str, error: &HookError) {
        let text = recorder.scrub(&told(error, name));
        recorder.note("failed", text.clone(), json!({"handler": name, "error": error}));
        self.problems.borrow_mut().push(text);
    }
}

fn told(error: &HookError, name: &str) -> String {
    let killed = match error.kind {
        HookFaultKind::Timeout | HookFaultKind::Cpu | HookFaultKind::Memory | HookFaultKind::Crash => " would have been killed",
        HookFaultKind::Error | HookFaultKind::Load => "",
    };
    let place = error.traceback.as_ref().map(|place| format!("\n  {}", place.replace('\n', "\n  "))).unwrap_or_default();
    format!("{name}{killed}: {}{place}", error.message)
}

#[cfg(test)]
mod tests;
