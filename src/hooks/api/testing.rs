//! A script for tests: its effects are recorded, its answers are put there before.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use mlua::{FromLuaMulti, Lua};
use serde_json::{Value as Json, json};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use super::install;
use super::world::files::Roots;
use crate::hooks::frame::{CallError, Verb};
use crate::hooks::script::{
    Effects, ExecRequest, ExecResult, FileChange, HttpRequest, HttpResponse, IoFault, Keeping, Local, Phase, Script, ScriptKind,
};
use crate::spec::script::SecretSource;
use crate::value::json;
use crate::value::sorted::Map;
use crate::wire::event::Severity;

/// What happened, and what is answered.
pub struct Stage {
    pub told: RefCell<Vec<String>>,
    pub answers: RefCell<VecDeque<Result<HttpResponse, IoFault>>>,
    pub requests: RefCell<Vec<HttpRequest>>,
    /// Requests that are under way, and that were at most.
    pub under_way: Cell<usize>,
    pub most: Cell<usize>,
    pub execs: RefCell<Vec<ExecRequest>>,
    /// Seconds since 1970, on top of the virtual clock.
    pub wall: Cell<u64>,
    roots: Roots,
    began: tokio::time::Instant,
}

impl Stage {
    fn tell(&self, what: impl Into<String>) {
        self.told.borrow_mut().push(what.into());
    }
}

/// An answer with this status.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Result<HttpResponse, IoFault> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Ok(HttpResponse { status, headers, body: body.into() })
}

impl Effects for Stage {
    fn call(&self, verb: Verb) -> Local<'_, Result<Json, CallError>> {
        self.tell(json::to_string(&verb).expect("JSON"));
        let unknown = |service: &str| CallError {
            code: "unknown_service".to_owned(),
            message: format!("no service `{service}`"),
            retryable: false,
        };
        let answer = match verb {
            Verb::List => Ok(json!([{"name": "web", "state": "running"}, {"name": "db", "state": "failed"}])),
            Verb::Get { service } if service == "web" => Ok(json!({"name": "web", "state": "running", "pid": null})),
            Verb::Get { service } => Err(unknown(&service)),
            Verb::Logs { .. } => Ok(json!(["one", "two"])),
            _ => Ok(Json::Null),
        };
        Box::pin(async move { answer })
    }

    fn http(&self, request: HttpRequest) -> Local<'_, Result<HttpResponse, IoFault>> {
        let at = (crate::hooks::clock::now() - self.began).as_millis();
        self.tell(format!("{at} {} {}", request.method, request.url));
        self.requests.borrow_mut().push(request);
        let answer = self.answers.borrow_mut().pop_front().unwrap_or_else(|| answer(200, &[], ""));
        Box::pin(async move {
            self.under_way.set(self.under_way.get() + 1);
            self.most.set(self.most.get().max(self.under_way.get()));
            tokio::task::yield_now().await;
            self.under_way.set(self.under_way.get() - 1);
            answer
        })
    }

    fn exec(&self, request: ExecRequest) -> Local<'_, Result<ExecResult, IoFault>> {
        self.tell(format!("exec {}", request.argv.join(" ")));
        self.execs.borrow_mut().push(request);
        Box::pin(async { Ok(ExecResult { code: Some(0), ..ExecResult::default() }) })
    }

    fn change(&self, change: FileChange) -> Local<'_, Result<(), IoFault>> {
        let done = self.roots.change(&change);
        Box::pin(async move { done })
    }

    fn log(&self, level: Severity, message: String, fields: Map<String, String>) {
        self.tell(format!("{}: {message} {fields:?}", level.word()));
    }

    fn secret(&self, name: &str, _: &SecretSource) -> Result<String, IoFault> {
        match name {
            "tok" => Ok("t0p-secret".to_owned()),
            _ => Err(IoFault { code: "secret", message: format!("cannot read the secret `{name}`: gone"), retryable: false }),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    fn wall(&self) -> SystemTime {
        let since = crate::hooks::clock::now() - self.began;
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.wall.get()) + since
    }
}

/// A script in a folder, its clock virtual.
pub struct Play {
    pub stage: Rc<Stage>,
    pub script: Rc<Script>,
    pub lua: Lua,
}

impl Play {
    /// Within a runtime.
    pub fn new(dir: &Path, granted: Option<&[&str]>) -> Self {
        std::fs::create_dir_all(dir.join("logs")).expect("a folder");
        let roots = Roots { state: dir.join("script"), logs: dir.join("logs") };
        let stage = Rc::new(Stage {
            told: RefCell::default(),
            answers: RefCell::default(),
            requests: RefCell::default(),
            under_way: Cell::default(),
            most: Cell::default(),
            execs: RefCell::default(),
            wall: Cell::new(1_767_225_600),
            roots: roots.clone(),
            began: crate::hooks::clock::now(),
        });
        let secret = |name: &str| (name.to_owned(), SecretSource::Env(name.to_owned()));
        let script = Rc::new(Script {
            name: "script".to_owned(),
            kind: if granted.is_some() { ScriptKind::Plugin } else { ScriptKind::Hook },
            granted: granted.map(|list| list.iter().map(|word| (*word).to_owned()).collect()),
            settings: granted.map_or(Json::Null, |_| json!({"url": "http://x", "list": [1, 2]})),
            state_dir: roots.state,
            log_dir: roots.logs,
            host: "box".to_owned(),
            boot: "b".to_owned(),
            version: "0.0.0".to_owned(),
            secrets: [secret("tok"), secret("broken")].into(),
            effects: stage.clone(),
            phase: Cell::new(Phase::Running),
            keeping: Keeping::default(),
        });
        let lua = Lua::new();
        super::seed(1);
        let s3 = install(&lua, &script).expect("installed");
        lua.globals().set("s3", s3).expect("set");
        Self { stage, script, lua }
    }

    /// Runs code as a handler does.
    pub async fn run<R: FromLuaMulti>(&self, code: &str) -> Result<R, String> {
        self.lua.load(format!("; {code}")).set_name("@hook.lua").eval_async().await.map_err(|error| root(&error))
    }

    pub fn told(&self) -> Vec<String> {
        self.stage.told.borrow().clone()
    }
}

fn root(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } => root(cause),
        mlua::Error::RuntimeError(text) => text.lines().next().unwrap_or_default().to_owned(),
        other => other.to_string(),
    }
}

/// Plays on a virtual clock.
pub fn play<T>(granted: Option<&[&str]>, scene: impl AsyncFnOnce(&Play) -> T) -> T {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    LocalSet::new().block_on(&runtime, async { scene(&Play::new(dir.path(), granted)).await })
}

/// What code returns in a hook.
pub fn eval<R: FromLuaMulti>(code: &str) -> R {
    play(None, async |play| play.run(code).await.unwrap_or_else(|error| panic!("{code}: {error}")))
}

/// What code raises in a hook.
pub fn fails(code: &str) -> String {
    play(None, async |play| play.run::<mlua::MultiValue>(code).await.expect_err(code))
}
