//! `s3.log`: lines of `section3.log`. Never waits; what is too much is dropped and counted behind [`Effects::log`].
//!
//! [`Effects::log`]: crate::hooks::script::Effects::log

use mlua::{Lua, Table, Value};
use serde_json::Value as Json;

use super::Shared;
use super::define::plain;
use super::json::{Secrets, to_json};
use crate::value::sorted::Map;
use crate::wire::event::Severity;

/// Bytes of a line's message, and of each of its fields.
const MAX_TEXT: usize = 8 << 10;

pub(super) fn install(lua: &Lua, s3: &Table, shared: &Shared) -> mlua::Result<()> {
    for (name, level) in [
        ("log.debug", Severity::Debug),
        ("log.info", Severity::Info),
        ("log.warn", Severity::Warning),
        ("log.error", Severity::Error),
    ] {
        let shared = shared.clone();
        plain(lua, s3, name, move |lua, args| {
            let message = match args.value(0) {
                Value::Nil => "nil".to_owned(),
                value => value.to_string()?,
            };
            let mut fields = Map::new();
            if let Value::Table(table) = args.value(1) {
                for pair in crate::hooks::script::readable(table).pairs::<Value, Value>() {
                    let (key, value) = pair?;
                    let text = match to_json(lua, &value, Secrets::Hidden) {
                        Ok(Json::String(text)) => text,
                        Ok(json) => json.to_string(),
                        Err(_) => value.to_string()?,
                    };
                    fields.insert(cut(key.to_string()?), cut(shared.known.scrub(&text)));
                }
            }
            shared.script.effects.log(level, cut(shared.known.scrub(&message)), fields);
            Ok(())
        })?;
    }
    Ok(())
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
