//! Questions to a script: decisions, checks, probes, commands.

use std::rc::Rc;
use std::time::Duration;

use mlua::{Function, IntoLuaMulti, MultiValue, Value};
use serde_json::{Value as Json, json};

use super::desk::{Desk, Engine};
use super::pulse::SLICE;
use super::registration::Command;
use super::sandbox::{self, overran};
use crate::hooks::frame::{Ask, HookError, Question};
use crate::hooks::script::Run;
use crate::value::glob::Glob;
use crate::wire::event::HookFaultKind;

fn wrong(message: impl Into<String>) -> HookError {
    HookError { kind: HookFaultKind::Error, message: message.into(), traceback: None }
}

impl Desk {
    /// What the script says to this.
    pub(super) async fn answer(self: &Rc<Self>, ask: &Ask) -> Result<Json, HookError> {
        let all = &self.registered;
        match &ask.question {
            Question::Decide { point, subject } => {
                let service = subject.get("service").and_then(Json::as_str).unwrap_or_default();
                let fits = |glob: &Option<String>| glob.as_ref().is_none_or(|glob| Glob::new(glob).matches(service));
                let found = all.decides.iter().find(|(other, glob, _)| other == point && fits(glob));
                let Some((_, _, call)) = found else { return Ok(Json::Null) };
                let returned = self.consult(call, ask, subject).await?;
                self.passed_on(returned.front().unwrap_or(&Value::Nil))
            }
            Question::Check { name, subject } => self.verdict(&all.checks, "check", name, ask, subject).await,
            Question::Probe { name, subject } => self.verdict(&all.probes, "probe", name, ask, subject).await,
            Question::Command { name, args } => {
                let command = self.command(name).ok_or_else(|| wrong(format!("there is no command `{name}`")))?;
                let given = named(command, args)?;
                let arguments = |engine: &Engine| {
                    let table = engine.sandbox.lua.create_table()?;
                    for (at, word) in args.iter().enumerate() {
                        table.raw_set(at + 1, word.as_str())?;
                    }
                    for (key, value) in given {
                        table.raw_set(key, value)?;
                    }
                    table.into_lua_multi(&engine.sandbox.lua)
                };
                let returned = self.put(ask, &command.call, arguments).await?;
                let mut returned = returned.into_iter();
                let first = returned.next().unwrap_or(Value::Nil);
                // `nil, err` and `false, reason` are how the rest of the API fails.
                match returned.next() {
                    Some(reason) if matches!(first, Value::Nil | Value::Boolean(false)) => Err(wrong(self.reason(&reason)?)),
                    _ => self.passed_on(&first),
                }
            }
        }
    }

    async fn put(
        &self,
        ask: &Ask,
        call: &Function,
        arguments: impl FnOnce(&Engine) -> mlua::Result<MultiValue>,
    ) -> Result<MultiValue, HookError> {
        let run = Run { handler: ask.question.handler(), cause: None };
        self.run(run, Duration::from_millis(ask.deadline_ms), call, arguments).await
    }

    async fn consult(&self, call: &Function, ask: &Ask, subject: &Json) -> Result<MultiValue, HookError> {
        let arguments = |engine: &Engine| {
            let lua = &engine.sandbox.lua;
            engine.reader.subject(lua, "what it is asked about", subject)?.into_lua_multi(lua)
        };
        self.put(ask, call, arguments).await
    }

    async fn verdict(
        &self,
        list: &[(String, Function)],
        what: &str,
        name: &str,
        ask: &Ask,
        subject: &Json,
    ) -> Result<Json, HookError> {
        let found = list.iter().find(|(other, _)| other == name);
        let (_, call) = found.ok_or_else(|| wrong(format!("there is no {what} `{name}`")))?;
        let returned = self.consult(call, ask, subject).await?;
        match returned.front() {
            Some(Value::Boolean(true)) => Ok(json!({"ok": true})),
            Some(Value::Boolean(false)) => {
                let reason = self.reason(&returned.get(1).cloned().unwrap_or(Value::Nil))?;
                Ok(json!({"ok": false, "reason": reason}))
            }
            other => Err(wrong(format!(
                "a {what} returns true, or false and a reason; `{name}` returned {}",
                other.map_or("nothing", |value| value.type_name())
            ))),
        }
    }

    fn reason(&self, value: &Value) -> Result<String, HookError> {
        let Some(engine) = &self.engine else { return Ok(String::new()) };
        self.meter.slice(SLICE, || sandbox::reason(&engine.sandbox.lua, value)).map_err(overran)
    }

    fn passed_on(&self, value: &Value) -> Result<Json, HookError> {
        let Some(engine) = &self.engine else { return Ok(Json::Null) };
        let told = self.meter.slice(SLICE, || sandbox::answer(&engine.sandbox.lua, value)).map_err(overran)?;
        told.map_err(|reason| wrong(format!("cannot pass on what it returned: {reason}")))
    }
}

/// The words of a command by the names that it gave them.
fn named(command: &Command, words: &[String]) -> Result<Vec<(String, String)>, HookError> {
    let usage = || {
        let args: String = command.args.iter().map(|arg| format!(" {}", arg.to_uppercase())).collect();
        wrong(format!("usage: {}{args}", command.name))
    };
    let mut words = words.iter();
    let mut out = Vec::new();
    for arg in &command.args {
        if let Some(name) = arg.strip_suffix("...") {
            out.push((name.to_owned(), words.by_ref().map(String::as_str).collect::<Vec<_>>().join(" ")));
            return Ok(out);
        }
        match (words.next(), arg.strip_suffix('?')) {
            (Some(word), name) => out.push((name.unwrap_or(arg).to_owned(), word.clone())),
            (None, Some(_)) => {}
            (None, None) => return Err(usage()),
        }
    }
    if words.next().is_some() && !command.args.is_empty() {
        return Err(usage());
    }
    Ok(out)
}
