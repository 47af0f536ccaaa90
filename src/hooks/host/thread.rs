//! The thread of one version of one script: loads it, takes over from the version before, hands its errands to its desk.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::desk::Desk;
use super::line::{Line, Linked, Notice, state_of};
use super::load::{self, Content};
use super::pulse::{Meter, Pulse};
use super::roster::{Errand, Roster};
use super::sandbox::cut;
use crate::hooks::api::world::World;
use crate::hooks::frame::{Body, FromHost, Hello, HookError, Load, NotLoaded};
use crate::hooks::script::{Keeping, Phase, Script, ScriptKind};
use crate::sys::words;
use crate::wire::event::HookFaultKind;

/// Address space of a thread's stack; only what is used of it is memory. Lua nests C calls 200 deep at most.
const STACK: usize = 2 << 20;

/// What the runs of a version that was replaced have left.
const GRACE: Duration = Duration::from_secs(10);

/// What every thread of the process gets.
#[derive(Clone)]
pub struct Common {
    /// To the supervisor.
    pub line: Arc<Line>,
    /// Who is in force.
    pub roster: Arc<Roster>,
    /// What every script may know.
    pub hello: Arc<Hello>,
}

impl Common {
    /// Begins to load a script; what comes of it is told to the supervisor.
    pub fn load(&self, load: Load) {
        let pulse = Arc::new(Pulse::default());
        self.roster.wants(&load.script, load.generation, &pulse);
        let (name, generation) = (load.script.clone(), load.generation);
        let common = self.clone();
        let thread = std::thread::Builder::new().stack_size(STACK).name(thread_name(&name));
        let spawned = thread.spawn(move || {
            common.live(load, &pulse);
            drop(pulse);
            common.line.notice(Notice::Ended);
        });
        if let Err(error) = spawned {
            let message = format!("cannot start a thread for it: {}", words::io(&error));
            self.not_loaded(&name, generation, HookError { kind: HookFaultKind::Load, message, traceback: None });
        }
    }

    fn not_loaded(&self, script: &str, generation: u64, error: HookError) {
        self.line.outbox.send(&FromHost::NotLoaded(NotLoaded { script: script.to_owned(), generation, error }));
    }

    fn live(&self, load: Load, pulse: &Arc<Pulse>) {
        let script = load.script.clone();
        let ended = catch_unwind(AssertUnwindSafe(|| self.run(load, pulse)));
        if let Err(panic) = ended {
            let message = format!("the host failed while it ran: {}", words::fault(&*panic));
            self.line.notice(Notice::Broken { script, deliveries: pulse.begun(), message: cut(message) });
        }
    }

    fn run(&self, load: Load, pulse: &Arc<Pulse>) {
        let (script, generation) = (load.script.clone(), load.generation);
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let message = format!("cannot start a runtime for it: {}", words::io(&error));
                return self.not_loaded(&script, generation, HookError { kind: HookFaultKind::Load, message, traceback: None });
            }
        };
        let local = LocalSet::new();
        let (sender, errands) = unbounded_channel();
        let retired = local.block_on(&runtime, async {
            match self.prepare(load, pulse) {
                Ok(desk) => self.serve(&script, generation, desk, sender, errands).await,
                Err(error) => {
                    self.not_loaded(&script, generation, error);
                    None
                }
            }
        });
        // What still runs is dropped here, which ticks its events off; only then may another version begin.
        drop(local);
        drop(runtime);
        drop(retired);
    }

    fn prepare(&self, load: Load, pulse: &Arc<Pulse>) -> Result<Rc<Desk>, HookError> {
        let name = load.script;
        let (kind, granted, settings, content) = match load.body {
            Body::Hook { path } => (ScriptKind::Hook, None, Value::Null, Content::of_file(&path)),
            Body::Program(program) => (ScriptKind::Hook, None, Value::Null, Content::Program(program)),
            Body::Plugin(plugin) => {
                let (granted, settings) = (plugin.permissions.clone(), plugin.settings.clone());
                (ScriptKind::Plugin, Some(granted), settings, Content::of_plugin(plugin))
            }
        };
        let state_dir = state_of(&self.hello.state_dir, &name);
        let world = World::new(&state_dir, &self.hello.log_dir);
        let script = Script {
            effects: Rc::new(Linked::new(&self.line, &name, world)),
            name,
            kind,
            granted,
            settings,
            state_dir,
            log_dir: self.hello.log_dir.clone(),
            host: self.hello.host.clone(),
            boot: self.hello.boot.clone(),
            version: self.hello.version.clone(),
            secrets: self.hello.secrets.clone(),
            phase: Cell::new(Phase::Loading),
            keeping: Keeping::default(),
        };
        let line = Arc::clone(&self.line);
        let meter = Meter::new(Arc::clone(pulse), move || line.busy());
        let line = Arc::clone(&self.line);
        let tell = Rc::new(move |frame: FromHost| tell(&line, frame));
        load::load(script, content, meter, tell)
    }

    /// Hands errands to the desk until the script is to end. What comes back is dropped when all of it is gone.
    async fn serve(
        &self,
        script: &str,
        generation: u64,
        desk: Rc<Desk>,
        sender: UnboundedSender<Errand>,
        mut errands: UnboundedReceiver<Errand>,
    ) -> Option<tokio::sync::oneshot::Sender<()>> {
        let Ok(before) = self.roster.takes_over(script, generation, sender) else {
            let message = "another version of it was asked for meanwhile".to_owned();
            self.not_loaded(script, generation, HookError { kind: HookFaultKind::Load, message, traceback: None });
            return None;
        };
        self.line.outbox.send(&FromHost::Loaded(desk.loaded(generation)));
        if let Some(before) = before {
            let _ = before.await;
        }
        desk.open();
        while let Some(errand) = errands.recv().await {
            match errand {
                Errand::Event(delivery) => desk.deliver(&delivery),
                Errand::Ask(ask) => desk.ask(ask),
                Errand::Drop(ask) => desk.drop_ask(ask),
                Errand::Retire(retired) => {
                    let _ = timeout(GRACE, desk.finish()).await;
                    // The next version reads what this one kept.
                    let _ = timeout(GRACE, desk.leave()).await;
                    return Some(retired);
                }
                Errand::Bye => {
                    desk.finish().await;
                    desk.leave().await;
                    break;
                }
                Errand::Leave => {
                    desk.leave().await;
                    break;
                }
            }
        }
        None
    }
}

/// Frames of the desk: an answer that is too long to travel is a failed one.
fn tell(line: &Line, frame: FromHost) {
    if line.outbox.send(&frame) {
        return;
    }
    if let FromHost::Answer { ask, run_ms, .. } = frame {
        let message = "its answer is longer than 1 MiB".to_owned();
        let result = Err(HookError { kind: HookFaultKind::Error, message, traceback: None });
        line.outbox.send(&FromHost::Answer { ask, run_ms, result });
    }
}

/// The kernel shows 15 bytes of it.
fn thread_name(script: &str) -> String {
    Path::new(script).to_string_lossy().chars().filter(char::is_ascii).take(15).collect()
}
