//! The real outside of one script.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;

use crate::hooks::frame::{CallError, Verb};
use crate::hooks::script::{Effects, ExecRequest, ExecResult, FileChange, HttpRequest, HttpResponse, IoFault, Local};
use crate::spec::script::SecretSource;
use crate::wire::event::Severity;

/// Requests, programs, files, secrets.
pub struct Outside {}

impl Outside {
    /// The outside of a script with these folders.
    pub fn new(_state_dir: &Path, _log_dir: &Path) -> Self {
        Self {}
    }
}

fn gone<T>() -> Result<T, IoFault> {
    Err(IoFault { code: "unavailable", message: "not here".to_owned(), retryable: false })
}

impl Effects for Outside {
    fn call(&self, _: Verb) -> Local<'_, Result<Value, CallError>> {
        Box::pin(std::future::pending())
    }
    fn http(&self, _: HttpRequest) -> Local<'_, Result<HttpResponse, IoFault>> {
        Box::pin(async { gone() })
    }
    fn exec(&self, _: ExecRequest) -> Local<'_, Result<ExecResult, IoFault>> {
        Box::pin(async { gone() })
    }
    fn change(&self, _: FileChange) -> Local<'_, Result<(), IoFault>> {
        Box::pin(async { gone() })
    }
    fn log(&self, _: Severity, _: String, _: BTreeMap<String, String>) {}
    fn secret(&self, _: &str, _: &SecretSource) -> Result<String, IoFault> {
        gone()
    }
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
    fn wall(&self) -> SystemTime {
        crate::sys::clock::wall()
    }
}
