//! What a script knows of itself and its surroundings, and the events it brings about.

use mlua::{Lua, Table};
use serde_json::Value as Json;
use tokio::task::spawn_local;

use super::Shared;
use super::define::plain;
use super::json::{Secrets, from_json, to_json};
use super::secret::Secret;
use crate::hooks::clock;
use crate::hooks::frame::Verb;
use crate::hooks::script::{RUN, may_wait, run};
use crate::spec::permission::Permission;
use crate::value::nearest::nearest;
use crate::wire::catalog::{MAX_CUSTOM_NAME, is_custom_name};
use crate::wire::event::Severity;

/// Bytes of an event's data.
const MAX_DATA: usize = 16 << 10;

pub(super) fn install(lua: &Lua, s3: &Table, shared: &Shared) -> mlua::Result<()> {
    let script = &shared.script;
    s3.raw_set("api", 1)?;
    s3.raw_set("version", script.version.as_str())?;
    s3.raw_set("host", script.host.as_str())?;
    s3.raw_set(
        "config",
        if script.settings.is_null() {
            from_json(lua, &Json::Object(serde_json::Map::new()))?
        } else {
            from_json(lua, &script.settings)?
        },
    )?;
    let began = clock::now();
    plain(lua, s3, "mono", move |_, _| Ok(clock::now().saturating_duration_since(began).as_secs_f64()))?;
    let effects = script.effects.clone();
    plain(lua, s3, "now", move |_, _| {
        Ok(effects.wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64())
    })?;
    let own = shared.clone();
    plain(lua, s3, "env", move |lua, args| {
        let name = args.text(0);
        own.permits.require(lua, "env", &Permission::Env(name.clone()))?;
        Ok(own.script.effects.variable(&name))
    })?;
    let own = shared.clone();
    plain(lua, s3, "secret", move |lua, args| {
        let name = args.text(0);
        own.permits.require(lua, "secret", &Permission::Secret(name.clone()))?;
        let source = own.script.secrets.get(&name).cloned().or_else(|| own.script.effects.unnamed_secret(&name));
        let Some(source) = source else {
            let names = || own.script.secrets.keys().map(String::as_str);
            let meant = nearest(&name, names()).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
            return Err(args.misuse(lua, format!("`secrets:` of the config has no `{name}`{meant}")));
        };
        let text = own.script.effects.secret(&name, &source).map_err(|fault| args.misuse(lua, fault.message))?;
        let secret = Secret::new(text.into_bytes());
        own.known.add(&secret);
        Ok(secret)
    })?;
    let own = shared.clone();
    plain(lua, s3, "emit", move |lua, args| {
        may_wait(&own.script).map_err(|why| args.misuse(lua, why))?;
        let name = args.text(0);
        if !is_custom_name(&name) {
            let rule = format!("an event's name is 1 to {MAX_CUSTOM_NAME} letters, digits, `_`, `.` or `-`, found `{name}`");
            return Err(args.misuse(lua, rule));
        }
        let data = match to_json(lua, args.value(1), Secrets::Hidden) {
            Ok(Json::Null) => Json::Object(serde_json::Map::new()),
            Ok(data @ Json::Object(_)) => data,
            Ok(_) => return Err(args.misuse(lua, "the data of an event has names, found a list")),
            Err(what) => return Err(args.misuse(lua, what)),
        };
        let size = data.to_string().len();
        if size > MAX_DATA {
            return Err(args.misuse(lua, format!("the data of an event is at most 16 KiB, found {size} bytes")));
        }
        // Nobody waits for it: a script that tells something has nothing to do with whether anybody listens.
        let (script, told) = (own.script.clone(), name.clone());
        spawn_local(RUN.scope(run(), async move {
            if let Err(error) = script.effects.call(Verb::Emit { name, data: Box::new(data) }).await {
                let line = format!("s3.emit: custom.{told} was not told: {}", error.message);
                script.effects.log(Severity::Warning, line, crate::value::sorted::Map::new());
            }
        }));
        Ok(())
    })
}
