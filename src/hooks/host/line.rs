//! The way to the supervisor, as scripts use it: calls and their answers, log lines within their rate.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::outbox::Outbox;
use crate::hooks::api::world::{self, World};
use crate::hooks::clock;
use crate::hooks::frame::{Answer, Call, CallError, FromHost, LogLine, Verb};
use crate::hooks::script::{self, Effects, ExecRequest, ExecResult, FileChange, HttpRequest, HttpResponse, IoFault, Local};
use crate::spec::script::SecretSource;
use crate::sys;
use crate::value::sorted::Map;
use crate::wire::event::Severity;

/// Log lines of one script in a second; what is more is counted.
const LINES_A_SECOND: u64 = 100;

/// The longest log line, and the most of its fields.
const MAX_LINE: usize = 4096;
const MAX_FIELDS: usize = 16;

/// What the threads of the process share.
pub struct Line {
    /// Frames to the supervisor.
    pub outbox: Outbox,
    /// To the main thread.
    notices: Mutex<Sender<Notice>>,
    /// Whether the main thread knows that somebody is busy.
    pub is_watched: AtomicBool,
    calls: Mutex<Map<u64, oneshot::Sender<Result<Value, CallError>>>>,
    last_call: AtomicU64,
}

/// What the main thread is told.
#[derive(Debug)]
pub enum Notice {
    /// A slice began while nobody watched.
    Busy,
    /// The supervisor is gone, or what it says cannot be read.
    Gone(Option<String>),
    /// The supervisor ends; there is so much time.
    Bye(Duration),
    /// A script's thread has ended.
    Ended,
    /// The runtime itself failed on a script's thread.
    Broken {
        /// Whose.
        script: String,
        /// What its handlers had begun with.
        deliveries: Vec<u64>,
        /// How.
        message: String,
    },
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// A line whose main thread listens at the other end of `notices`.
    pub fn new(notices: Sender<Notice>) -> Self {
        Self {
            outbox: Outbox::default(),
            notices: Mutex::new(notices),
            is_watched: AtomicBool::new(false),
            calls: Mutex::default(),
            last_call: AtomicU64::new(0),
        }
    }

    /// Tells the main thread.
    pub fn notice(&self, notice: Notice) {
        // The main thread is gone only when the process is about to be.
        let _ = lock(&self.notices).send(notice);
    }

    /// A slice begins.
    pub fn busy(&self) {
        if !self.is_watched.swap(true, Ordering::SeqCst) {
            self.notice(Notice::Busy);
        }
    }

    /// An answer has come.
    pub fn answered(&self, answer: Answer) {
        if let Some(waiter) = lock(&self.calls).remove(&answer.call) {
            // Nobody waits any more: its run was ended meanwhile.
            let _ = waiter.send(answer.result);
        }
    }

    async fn call(&self, script: &str, cause: Option<(String, u8)>, verb: Verb) -> Result<Value, CallError> {
        let call = self.last_call.fetch_add(1, Ordering::Relaxed) + 1;
        let (answer, answered) = oneshot::channel();
        lock(&self.calls).insert(call, answer);
        let waiting = Waiting { line: self, call };
        let error =
            |code: &str, message: &str, retryable| CallError { code: code.to_owned(), message: message.to_owned(), retryable };
        let frame = FromHost::Call(Call { call, script: script.to_owned(), cause, verb });
        if !self.outbox.offer(&frame) {
            return Err(error("unavailable", "the call is too long, or too much waits to be told already", true));
        }
        let answer = answered.await;
        drop(waiting);
        answer.unwrap_or_else(|_| Err(error("unavailable", "the supervisor did not answer", true)))
    }
}

/// A call that is under way; forgotten when its run ends before the answer.
struct Waiting<'a> {
    line: &'a Line,
    call: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.line.calls).remove(&self.call);
    }
}

/// The outside of a real script: the supervisor over the line, the rest is the world.
pub struct Linked {
    line: Arc<Line>,
    script: String,
    world: World,
    rate: RefCell<Rate>,
}

#[derive(Default)]
struct Rate {
    since: Option<Instant>,
    used: u64,
    dropped: u64,
}

impl Linked {
    /// The effects of one script.
    pub fn new(line: &Arc<Line>, script: &str, world: World) -> Self {
        Self { line: Arc::clone(line), script: script.to_owned(), world, rate: RefCell::default() }
    }

    fn say(&self, level: Severity, message: String, fields: Map<String, String>) -> bool {
        self.line.outbox.offer(&FromHost::Log(LogLine { script: self.script.clone(), level, message, fields }))
    }
}

impl Rate {
    /// Whether a line may go now, and how many before it did not.
    fn allows(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            self.since = Some(now);
            self.used = 0;
        }
        if self.used >= LINES_A_SECOND {
            self.dropped += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.dropped))
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_LINE {
        let end = (0..=MAX_LINE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

impl Effects for Linked {
    fn call(&self, verb: Verb) -> Local<'_, Result<Value, CallError>> {
        let cause = script::run().cause.clone();
        Box::pin(self.line.call(&self.script, cause, verb))
    }

    fn http(&self, request: HttpRequest) -> Local<'_, Result<HttpResponse, IoFault>> {
        Box::pin(self.world.http(request))
    }

    fn exec(&self, request: ExecRequest) -> Local<'_, Result<ExecResult, IoFault>> {
        Box::pin(self.world.exec(request))
    }

    fn change(&self, change: FileChange) -> Local<'_, Result<(), IoFault>> {
        Box::pin(self.world.change(change))
    }

    fn log(&self, level: Severity, message: String, fields: Map<String, String>) {
        let Some(dropped) = self.rate.borrow_mut().allows(clock::now()) else { return };
        if dropped > 0 {
            let told = format!("{dropped} lines of this script were dropped: at most {LINES_A_SECOND} a second");
            self.say(Severity::Warning, told, Map::new());
        }
        let fields = fields.into_iter().take(MAX_FIELDS).map(|(name, value)| (shortened(name), shortened(value))).collect();
        if !self.say(level, shortened(message), fields) {
            self.rate.borrow_mut().dropped += 1;
        }
    }

    fn secret(&self, name: &str, source: &SecretSource) -> Result<String, IoFault> {
        world::secret(name, source)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn wall(&self) -> SystemTime {
        sys::clock::wall()
    }
}

/// The folder of a script's own files.
pub fn state_of(folder: &std::path::Path, script: &str) -> PathBuf {
    folder.join(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut_and_counted() {
        let (mut rate, now) = (Rate::default(), clock::now());
        let allowed = (0..1_000).filter(|_| rate.allows(now).is_some()).count();
        assert_eq!(allowed, 100);
        assert_eq!(rate.allows(now + Duration::from_secs(1)), Some(900));
        assert_eq!(rate.allows(now + Duration::from_secs(1)), Some(0));
    }
}
