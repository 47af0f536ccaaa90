//! The outside in a rehearsal: everything is written down, nothing happens, unless it is to happen for real.

use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::reply::{Answer, Replies, Reply};
use super::sample::BEGIN;
use crate::hooks::api::secret::{Known, Secret};
use crate::hooks::api::world::{World, http, secret};
use crate::hooks::clock;
use crate::hooks::frame::{CallError, Verb};
use crate::hooks::script::{
    Effects, ExecRequest, ExecResult, FileChange, HttpRequest, HttpResponse, IoFault, Local, RequestBody,
};
use crate::spec::script::SecretSource;
use crate::sys;
use crate::value::duration::millis;
use crate::value::sorted::Map;
use crate::wire::event::Severity;

/// One thing that was done, or would have been.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// Milliseconds since the beginning, on the rehearsal's clock.
    pub at_ms: u64,
    /// `event`, `http`, `exec`, `call`, `file`, `log`, `done`, `failed`.
    pub kind: &'static str,
    /// In words.
    pub text: String,
    /// For programs.
    pub data: Value,
}

/// Writes down what a script does.
pub struct Recorder {
    notes: Sender<Effect>,
    began: Instant,
    replies: Replies,
    live: Option<World>,
    log_dir: PathBuf,
    known: Known,
}

impl Recorder {
    /// Within the rehearsal's runtime; with a world it happens for real.
    pub fn new(notes: Sender<Effect>, replies: Vec<Reply>, live: Option<World>, log_dir: PathBuf) -> Self {
        Self { notes, began: clock::now(), replies: Replies::new(replies), live, log_dir, known: Known::default() }
    }

    /// Since the beginning.
    pub fn elapsed(&self) -> Duration {
        clock::now().saturating_duration_since(self.began)
    }

    /// Writes something down.
    pub fn note(&self, kind: &'static str, text: String, data: Value) {
        // Nobody reads on where the script would have been killed.
        let (text, data) = (self.known.scrub(&text), self.scrubbed(data));
        drop(self.notes.send(Effect { at_ms: millis(self.elapsed()), kind, text, data }));
    }

    fn scrubbed(&self, data: Value) -> Value {
        match data {
            Value::String(text) => Value::String(self.known.scrub(&text)),
            Value::Array(list) => Value::Array(list.into_iter().map(|value| self.scrubbed(value)).collect()),
            Value::Object(map) => Value::Object(map.into_iter().map(|(name, value)| (name, self.scrubbed(value))).collect()),
            other => other,
        }
    }

    /// A text without the secrets that were read.
    pub fn scrub(&self, text: &str) -> String {
        self.known.scrub(text)
    }

    /// How a service is in a rehearsal.
    fn service(&self, name: &str) -> Value {
        json!({
            "name": name, "state": "running", "pid": 4711, "run": 2, "uptime_s": 61, "crashes": 1,
            "log": {"path": self.log_dir.join(format!("{name}.log")), "size": 4096, "lost_bytes": 0},
        })
    }

    fn answer(&self, verb: Verb) -> Value {
        match verb {
            Verb::List => json!([self.service("web")]),
            Verb::Get { service } => self.service(&service),
            Verb::Logs { .. } => json!(["listening on 8080", "panic: connection refused"]),
            _ => Value::Null,
        }
    }
}

/// A verb as a script writes it.
fn written(verb: &Verb) -> String {
    match verb {
        Verb::List => "services.list".to_owned(),
        Verb::Get { service } => format!("services.get {service}"),
        Verb::Logs { service, lines } => format!("services.logs {service}, {lines} lines"),
        Verb::Start { service } => format!("services.start {service}"),
        Verb::Stop { service } => format!("services.stop {service}"),
        Verb::Restart { service } => format!("services.restart {service}"),
        Verb::Signal { service, signal } => format!("services.signal {service} {signal}"),
        Verb::Hold { service, reason, for_ms: Some(ms) } => format!("services.hold {service} for {ms} ms: {reason}"),
        Verb::Hold { service, reason, for_ms: None } => format!("services.hold {service}: {reason}"),
        Verb::Release { service } => format!("services.release {service}"),
        Verb::Emit { name, data } => format!("emit custom.{name} {data}"),
    }
}

fn body(request: &HttpRequest) -> (String, Value) {
    match &request.body {
        RequestBody::Empty => (String::new(), Value::Null),
        RequestBody::Bytes(bytes) => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            (format!(" {text}"), json!(text))
        }
        RequestBody::File(path) => (format!(" file {}", path.display()), json!({"file": path})),
    }
}

/// Where an answer to a request stands in the report; the words of a secret stand in none.
fn outcome(answer: &Result<HttpResponse, IoFault>) -> String {
    match answer {
        Ok(answer) => answer.status.to_string(),
        Err(fault) => fault.code.to_owned(),
    }
}

impl Effects for Recorder {
    fn call(&self, verb: Verb) -> Local<'_, Result<Value, CallError>> {
        self.note("call", written(&verb), json!(verb));
        let answer = self.answer(verb);
        Box::pin(async move { Ok(answer) })
    }

    fn http(&self, request: HttpRequest) -> Local<'_, Result<HttpResponse, IoFault>> {
        Box::pin(async move {
            let (text, sent) = body(&request);
            let start = format!("{} {}{text}", request.method, request.url);
            let whom = http::parts(&request).map(|parts| parts.whom()).unwrap_or_default();
            let data = json!({"method": request.method, "url": request.url, "headers": request.headers, "body": sent});
            let answer = match &self.live {
                Some(world) => world.http(request).await,
                None => self.replies.next(&request.method, &whom).http(&whom),
            };
            let outcome = outcome(&answer);
            let mut data = data;
            data["outcome"] = json!(outcome);
            self.note("http", format!("{start} -> {outcome}"), data);
            answer
        })
    }

    fn exec(&self, request: ExecRequest) -> Local<'_, Result<ExecResult, IoFault>> {
        Box::pin(async move {
            let words = request.argv.join(" ");
            let program = request.argv.first().cloned().unwrap_or_default();
            let data = json!({"cmd": request.argv});
            let done = match &self.live {
                Some(world) => world.exec(request).await,
                None => match self.replies.next("exec", &program) {
                    Answer::Code(code, _) => Ok(ExecResult { code: Some(i32::from(code)), ..ExecResult::default() }),
                    Answer::Refused => {
                        let message = format!("cannot run `{program}`: no such file or directory");
                        Err(IoFault { code: "launch", message, retryable: false })
                    }
                    Answer::Timeout => Err(IoFault {
                        code: "timeout",
                        message: format!("`{program}` was killed: it took too long"),
                        retryable: true,
                    }),
                },
            };
            let outcome = match &done {
                Ok(ExecResult { signal: Some(signal), .. }) => signal.clone(),
                Ok(ExecResult { code, .. }) => format!("exit {}", code.unwrap_or_default()),
                Err(fault) => fault.code.to_owned(),
            };
            let mut data = data;
            data["outcome"] = json!(outcome);
            self.note("exec", format!("{words} -> {outcome}"), data);
            done
        })
    }

    fn change(&self, change: FileChange) -> Local<'_, Result<(), IoFault>> {
        Box::pin(async move {
            let text = match &change {
                FileChange::Write { path, bytes } => Some(format!("write {}, {} bytes", path.display(), bytes.len())),
                FileChange::Append { path, bytes } => Some(format!("append {}, {} bytes", path.display(), bytes.len())),
                FileChange::Rename { from, to } => Some(format!("rename {} to {}", from.display(), to.display())),
                FileChange::Remove { path } => Some(format!("remove {}", path.display())),
                FileChange::MakeDir { path } => Some(format!("mkdir {}", path.display())),
                // What is kept is kept for this rehearsal only.
                FileChange::Keep { .. } => None,
            };
            let Some(text) = text else { return Ok(()) };
            self.note("file", text, Value::Null);
            match &self.live {
                Some(world) => world.change(change).await,
                None => Ok(()),
            }
        })
    }

    fn log(&self, level: Severity, message: String, fields: Map<String, String>) {
        let mut text = format!("{}: {message}", level.word());
        for (name, value) in &fields {
            text.push_str(&format!(" {name}={value}"));
        }
        self.note("log", text, json!({"level": level.word(), "message": message, "fields": fields}));
    }

    fn secret(&self, name: &str, source: &SecretSource) -> Result<String, IoFault> {
        let text = if self.live.is_some() { secret(name, source)? } else { format!("SECRET-{name}") };
        self.known.add(&Secret::new(text.clone().into_bytes()));
        Ok(text)
    }

    fn unnamed_secret(&self, name: &str) -> Option<SecretSource> {
        Some(SecretSource::Env(name.to_uppercase()))
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn wall(&self) -> SystemTime {
        match self.live {
            Some(_) => sys::clock::wall(),
            None => SystemTime::UNIX_EPOCH + BEGIN + self.elapsed(),
        }
    }
}
