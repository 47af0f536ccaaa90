//! `s3.services`: what the supervisor is asked, as actor `hook:NAME` or `plugin:NAME`. It checks names, budgets and depths
//! itself, as it does for any client.

use mlua::{Lua, Table, Value};
use serde_json::Value as Json;

use super::Shared;
use super::args::Args;
use super::define::waiting;
use super::fault::Fault;
use super::json::from_json;
use crate::hooks::frame::Verb;
use crate::spec::permission::Permission;
use crate::value::Glob;
use crate::value::duration::millis;

/// Lines of a log that one call can ask for, and how many come unasked.
const MAX_LINES: i64 = 1_000;
const LINES: i64 = 20;

pub(super) fn install(lua: &Lua, s3: &Table, shared: &Shared) -> mlua::Result<()> {
    read(lua, s3, shared, "services.get", |_, args| Ok(Verb::Get { service: args.text(0) }))?;
    read(lua, s3, shared, "services.logs", |lua, args| {
        let lines = args.options(1).integer("lines").unwrap_or(LINES);
        let lines = u32::try_from(lines).ok().filter(|_| (1..=MAX_LINES).contains(&lines));
        let lines = lines.ok_or_else(|| args.misuse(lua, format!("`lines` is 1 to {MAX_LINES}")))?;
        Ok(Verb::Logs { service: args.text(0), lines })
    })?;
    let own = shared.clone();
    waiting(lua, s3, shared, "services.list", move |lua, args| {
        own.permits.require(lua, args.name(), &Permission::ServicesRead)?;
        let glob = (!args.value(0).is_nil()).then(|| Glob::new(&args.text(0)));
        let (lua, script) = (lua.clone(), own.script.clone());
        Ok(async move {
            let mut list = match script.effects.call(Verb::List).await {
                Ok(list) => list,
                Err(error) => return Ok(Err(error.into())),
            };
            if let (Some(glob), Json::Array(list)) = (glob, &mut list) {
                list.retain(|service| service["name"].as_str().is_some_and(|name| glob.matches(name)));
            }
            from_json(&lua, &list).map(Ok)
        })
    })?;
    control(lua, s3, shared, "services.start", |_, args| Ok(Verb::Start { service: args.text(0) }))?;
    control(lua, s3, shared, "services.stop", |_, args| Ok(Verb::Stop { service: args.text(0) }))?;
    control(lua, s3, shared, "services.restart", |_, args| Ok(Verb::Restart { service: args.text(0) }))?;
    control(lua, s3, shared, "services.release", |_, args| Ok(Verb::Release { service: args.text(0) }))?;
    control(lua, s3, shared, "services.signal", |lua, args| {
        let signal = args.text(1);
        match crate::value::Signal::parse(&signal) {
            Ok(_) => Ok(Verb::Signal { service: args.text(0), signal }),
            Err(rule) => Err(args.misuse(lua, format!("`{signal}`: {rule}"))),
        }
    })?;
    control(lua, s3, shared, "services.hold", |_, args| {
        let options = args.options(1);
        let reason = options.text("reason").unwrap_or_default();
        Ok(Verb::Hold { service: args.text(0), reason, for_ms: options.duration("for").map(millis) })
    })
}

/// A question: its answer is what is returned.
fn read(
    lua: &Lua,
    s3: &Table,
    shared: &Shared,
    name: &'static str,
    verb: impl Fn(&Lua, &Args) -> mlua::Result<Verb> + 'static,
) -> mlua::Result<()> {
    let own = shared.clone();
    waiting(lua, s3, shared, name, move |lua, args| {
        own.permits.require(lua, name, &Permission::ServicesRead)?;
        let (lua, script, verb) = (lua.clone(), own.script.clone(), verb(lua, &args)?);
        Ok(async move {
            match script.effects.call(verb).await {
                Ok(answer) => from_json(&lua, &answer).map(Ok),
                Err(error) => Ok(Err(Fault::from(error))),
            }
        })
    })
}

/// An order: `true` where it was carried out.
fn control(
    lua: &Lua,
    s3: &Table,
    shared: &Shared,
    name: &'static str,
    verb: impl Fn(&Lua, &Args) -> mlua::Result<Verb> + 'static,
) -> mlua::Result<()> {
    let own = shared.clone();
    waiting(lua, s3, shared, name, move |lua, args| {
        own.permits.require(lua, name, &Permission::ServicesControl(Glob::new(&args.text(0))))?;
        let (script, verb) = (own.script.clone(), verb(lua, &args)?);
        Ok(async move { Ok(script.effects.call(verb).await.map(|_| Value::Boolean(true)).map_err(Fault::from)) })
    })
}
