//! Plugins of the binary, and the hooks of the repository, on a virtual clock: hours of retries and whole storms in no time,
//! against scripted answers.

mod chat;
mod crashreport;
mod heartbeat;
mod hooks;
mod logship;
mod resguard;
mod webhook;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::pending;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use super::desk::Desk;
use super::load::{Content, load};
use super::pulse::Meter;
use super::source::Folder;
use crate::config;
use crate::hooks::api::world::files::Roots;
use crate::hooks::clock;
use crate::hooks::frame::{Ask, CallError, Delivery, FromHost, HookError, Question, Verb};
use crate::hooks::script::{
    Effects, ExecRequest, ExecResult, FileChange, HttpRequest, HttpResponse, IoFault, Keeping, Local, Phase, RequestBody, Script,
    ScriptKind,
};
use crate::spec::script::SecretSource;
use crate::value::json::Raw;
use crate::value::sorted::Map;
use crate::wire::event::Severity;

/// Who answers: the number of the request from 0, and the request.
type Answerer = Box<dyn FnMut(usize, &HttpRequest) -> Result<HttpResponse, IoFault>>;

/// What becomes of a program that is run.
type Executor = Box<dyn FnMut(&ExecRequest) -> Result<ExecResult, IoFault>>;

thread_local! {
    /// When the scene began: time goes on while no plugin is loaded.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// What a plugin did, and what it is answered.
struct World {
    began: Instant,
    /// Milliseconds since the beginning, and what was asked for.
    requests: RefCell<Vec<(u128, HttpRequest)>>,
    answerer: RefCell<Answerer>,
    /// How long the next answers take.
    takes: Cell<Duration>,
    executor: RefCell<Executor>,
    /// What the supervisor says of its services; where it is nothing, it does not answer.
    services: RefCell<Value>,
    /// What it says of their logs.
    logs: RefCell<Value>,
    /// What else it was asked for, and whether it does that.
    orders: RefCell<Vec<Verb>>,
    obeys: Cell<bool>,
    variables: BTreeMap<&'static str, String>,
    logged: RefCell<Vec<String>>,
    /// By how much somebody has put the clock back.
    back: Cell<Duration>,
    /// How often its `kv` was written.
    kept: Cell<usize>,
    roots: Roots,
}

impl Effects for World {
    fn call(&self, verb: Verb) -> Local<'_, Result<Value, CallError>> {
        let services = self.services.borrow();
        let error =
            |code: &str, message: &str| CallError { code: code.to_owned(), message: message.to_owned(), retryable: false };
        let answer = match verb {
            Verb::List | Verb::Get { .. } if services.is_null() => Err(error("timeout", "no answer")),
            Verb::List => Ok(services.clone()),
            Verb::Get { service } => {
                let found = services.as_array().and_then(|all| all.iter().find(|one| one["name"] == *service));
                found.cloned().ok_or_else(|| error("unknown_service", "no such service"))
            }
            Verb::Logs { lines, .. } => {
                let all = self.logs.borrow().as_array().cloned().unwrap_or_default();
                Ok(Value::from(all[all.len().saturating_sub(lines as usize)..].to_vec()))
            }
            order => {
                let is_done = self.obeys.get() || matches!(order, Verb::Emit { .. });
                self.orders.borrow_mut().push(order);
                if is_done { Ok(Value::Null) } else { Err(error("failed", "it cannot be done")) }
            }
        };
        Box::pin(async move { answer })
    }
    fn http(&self, request: HttpRequest) -> Local<'_, Result<HttpResponse, IoFault>> {
        let number = self.requests.borrow().len();
        let answer = self.answerer.borrow_mut()(number, &request);
        self.requests.borrow_mut().push((self.began.elapsed().as_millis(), request));
        let takes = self.takes.get();
        Box::pin(async move {
            if answer.as_ref().is_err_and(|fault| fault.code == SILENT) {
                pending::<()>().await;
            }
            sleep(takes).await;
            answer
        })
    }
    fn exec(&self, request: ExecRequest) -> Local<'_, Result<ExecResult, IoFault>> {
        let result = self.executor.borrow_mut()(&request);
        Box::pin(async move { result })
    }
    fn change(&self, change: FileChange) -> Local<'_, Result<(), IoFault>> {
        if matches!(change, FileChange::Keep { .. }) {
            self.kept.set(self.kept.get() + 1);
        }
        let done = self.roots.change(&change);
        Box::pin(async move { done })
    }
    fn log(&self, level: Severity, message: String, _: Map<String, String>) {
        self.logged.borrow_mut().push(format!("{}: {message}", level.word()));
    }
    fn secret(&self, name: &str, _: &SecretSource) -> Result<String, IoFault> {
        match name {
            "bad" => Ok("no key!".to_owned()),
            "gone" => Err(IoFault { code: "not_found", message: "G is not set".to_owned(), retryable: false }),
            _ => Ok(format!("secret-{name}")),
        }
    }
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
    fn wall(&self) -> SystemTime {
        // The first second of 2026.
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600) + self.began.elapsed() - self.back.get()
    }
}

/// An answer with a status, one header at most, and a body.
fn reply(status: u16, header: Option<(&str, &str)>, body: &str) -> Result<HttpResponse, IoFault> {
    let headers = header.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(HttpResponse { status, headers, body: body.into() })
}

/// Nobody listens.
fn refused() -> Result<HttpResponse, IoFault> {
    Err(IoFault { code: "connect", message: "cannot reach h: connection refused".to_owned(), retryable: true })
}

/// Somebody listens, and says nothing.
fn silent() -> Result<HttpResponse, IoFault> {
    Err(IoFault { code: SILENT, message: String::new(), retryable: false })
}

/// Not a fault that is told.
const SILENT: &str = "silent";

/// The body of a request.
fn body(request: &HttpRequest) -> String {
    match &request.body {
        RequestBody::Bytes(bytes) => String::from_utf8(bytes.clone()).expect("text"),
        _ => String::new(),
    }
}

/// What a config says of a script.
struct About {
    granted: Option<Vec<String>>,
    settings: Value,
    secrets: Map<String, SecretSource>,
}

/// One plugin or hook, loaded and open.
struct Play {
    world: Rc<World>,
    desk: Rc<Desk>,
    told: Rc<RefCell<Vec<FromHost>>>,
    events: Cell<u64>,
    /// Of which run the next events tell.
    run: Cell<u64>,
    /// How many each of the next events stands for.
    count: Cell<u64>,
    name: &'static str,
    /// The tasks of this desk alone, as on its thread in the host. In the scene's own set they would go on when the play is
    /// over: its timers fire, and write what they keep over what the next play of the same plugin has kept.
    tasks: Rc<LocalSet>,
    driver: AbortHandle,
}

impl Drop for Play {
    fn drop(&mut self) {
        // The other one that has the tasks: dropped before anything else is polled.
        self.driver.abort();
    }
}

impl Play {
    /// Loads a plugin with the settings of its entry, as they stand in a config; `dir` keeps its state.
    fn load(name: &'static str, settings: &str, dir: &Path, answerer: Answerer) -> Result<Self, HookError> {
        let text = format!(
            "services: {{}}\nsecrets: {{s: {{env: S}}, t: {{env: T}}, bad: {{env: B}}, gone: {{env: G}}}}\nplugins: {{{name}: {{{settings}}}}}"
        );
        let spec = config::parse(&text, "/nonexistent/section3.yml", &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        let plugin = spec.scripts.plugins.into_iter().next().expect("the plugin");
        // What the binary holds, without building it anew for each change.
        let folder = Folder::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins").join(name));
        let content = Content::Lua { folder, entry: "init.lua".to_owned(), provides: Some(plugin.provides) };
        let about = About { granted: Some(plugin.permissions), settings: plugin.settings, secrets: spec.scripts.secrets };
        Self::begin(name, ScriptKind::Plugin, about, content, BTreeMap::new(), dir, answerer)
    }

    /// Loads a hook of the repository with these variables in the supervisor's environment.
    fn hook(name: &'static str, variables: &[(&'static str, &str)], dir: &Path, answerer: Answerer) -> Result<Self, HookError> {
        let content = Content::of_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks").join(format!("{name}.lua")));
        let secrets = [("telegram_token".to_owned(), SecretSource::Env("T".to_owned()))].into();
        let about = About { granted: None, settings: Value::Null, secrets };
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self::begin(name, ScriptKind::Hook, about, content, variables, dir, answerer)
    }

    fn begin(
        name: &'static str,
        kind: ScriptKind,
        about: About,
        content: Content,
        variables: BTreeMap<&'static str, String>,
        dir: &Path,
        answerer: Answerer,
    ) -> Result<Self, HookError> {
        let roots = Roots { state: dir.join(name), logs: dir.join("logs") };
        let world = Rc::new(World {
            began: BEGAN.get().expect("a scene"),
            requests: RefCell::default(),
            answerer: RefCell::new(answerer),
            // A real receiver takes its time, in which something else may happen.
            takes: Cell::new(Duration::from_millis(5)),
            executor: RefCell::new(Box::new(|_| Ok(ExecResult::default()))),
            services: RefCell::new(json!([])),
            logs: RefCell::new(json!([])),
            orders: RefCell::default(),
            obeys: Cell::new(true),
            variables,
            logged: RefCell::default(),
            back: Cell::default(),
            kept: Cell::default(),
            roots: roots.clone(),
        });
        let About { granted, settings, secrets } = about;
        let script = Script {
            name: name.to_owned(),
            kind,
            granted,
            settings,
            state_dir: roots.state,
            log_dir: roots.logs,
            host: "box1".to_owned(),
            boot: "b".to_owned(),
            version: "0".to_owned(),
            secrets,
            effects: world.clone(),
            phase: Cell::new(Phase::Loading),
            keeping: Keeping::default(),
        };
        let told = Rc::<RefCell<Vec<FromHost>>>::default();
        let teller = Rc::clone(&told);
        let meter = Meter::new(Arc::default(), || ());
        let tasks = Rc::new(LocalSet::new());
        let desk = {
            let _inside = tasks.enter();
            let desk = load(script, content, meter, Rc::new(move |frame| teller.borrow_mut().push(frame)))?;
            desk.open();
            desk
        };
        let driven = Rc::clone(&tasks);
        let driver = spawn_local(async move { driven.run_until(pending::<()>()).await }).abort_handle();
        Ok(Self { world, desk, told, events: Cell::new(0), run: Cell::new(1), count: Cell::new(1), name, tasks, driver })
    }

    /// An event for a handler, now; of no service where that is empty.
    fn event(&self, handler: &str, kind: &str, service: &str, data: Value) {
        let number = self.events.get() + 1;
        self.events.set(number);
        let _inside = self.tasks.enter();
        let mut event = json!({
            "v": 1, "id": format!("b-{number}"), "seq": number, "boot": "b", "type": kind, "time": "2026-01-01T00:00:00.000Z",
            "host": "box1", "service": service, "run": self.run.get(), "count": self.count.get(), "severity": "warning", "actor": "supervisor", "data": data,
        });
        if service.is_empty() {
            // What is absent is absent.
            event.as_object_mut().expect("an object").retain(|key, _| key != "service" && key != "run");
        }
        self.desk.deliver(&Delivery {
            delivery: number,
            script: self.name.to_owned(),
            handler: handler.to_owned(),
            attempt: 1,
            lost: 0,
            event: Raw::parse(&event.to_string()).expect("JSON"),
        });
    }

    /// What a command returns.
    async fn command(&self, name: &str) -> Result<Value, String> {
        let question = Question::Command { name: name.to_owned(), args: Vec::new() };
        {
            let _inside = self.tasks.enter();
            self.desk.ask(Ask { ask: 9, script: self.name.to_owned(), deadline_ms: 60_000, question });
        }
        loop {
            sleep(Duration::from_millis(1)).await;
            let found = self.told.borrow().iter().position(|frame| matches!(frame, FromHost::Answer { .. }));
            if let Some(at) = found
                && let FromHost::Answer { result, .. } = self.told.borrow_mut().remove(at)
            {
                return result.map_err(|error| error.message);
            }
        }
    }

    /// Milliseconds and texts of the requests so far.
    fn sent(&self) -> Vec<(u128, String)> {
        self.world.requests.borrow().iter().map(|(at, request)| (*at, body(request))).collect()
    }

    /// The events that were emitted so far, each with its name.
    fn emitted(&self) -> Vec<(String, Value)> {
        let orders = self.world.orders.borrow();
        let emitted = orders.iter().filter_map(|order| match order {
            Verb::Emit { name, data } => Some((name.clone(), (**data).clone())),
            _ => None,
        });
        emitted.collect()
    }

    /// Why runs failed: of events, and of timers.
    fn failures(&self) -> Vec<String> {
        let failed = |frame: &FromHost| match frame {
            FromHost::Done(done) => done.error.as_ref().map(|error| error.message.clone()),
            FromHost::Failed { error, .. } => Some(error.message.clone()),
            _ => None,
        };
        self.told.borrow().iter().filter_map(failed).collect()
    }
}

/// Plays a scene on a virtual clock; `dir` keeps state over two loads.
fn scene(play: impl AsyncFnOnce(&Path)) {
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        BEGAN.set(Some(clock::now()));
        play(dir.path()).await;
    });
}

/// Time passes.
async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}
