//! Between Lua and JSON: `nil` is absent, a list is a table with the keys 1 to n, an empty table is an object unless it is
//! marked as a list; a secret is `[secret]`, but for what goes to where it is meant to go.

use mlua::{Lua, LuaSerdeExt, Table, Value};
use serde_json::{Map, Number, Value as Json};

use super::Shared;
use super::define::{fallible, plain};
use super::secret::{SHOWN, Secret};
use crate::hooks::script::readable;
use crate::value::json;

/// Deeper tables are circular, or nobody's idea of a message.
const DEPTH: usize = 64;

/// What becomes of secrets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// `[secret]`.
    Hidden,
    /// What they are: the text goes to where it is meant to go.
    Sent,
}

/// A Lua value as JSON.
///
/// # Errors
///
/// What JSON has no word for, in words.
pub fn to_json(lua: &Lua, value: &Value, secrets: Secrets) -> Result<Json, String> {
    inner(lua, value, secrets, 0)
}

fn inner(lua: &Lua, value: &Value, secrets: Secrets, depth: usize) -> Result<Json, String> {
    if depth > DEPTH {
        return Err(format!("tables are nested deeper than {DEPTH}, or in a circle"));
    }
    match value {
        Value::Nil => Ok(Json::Null),
        value if value.is_null() => Ok(Json::Null),
        Value::Boolean(flag) => Ok(Json::Bool(*flag)),
        Value::Integer(number) => Ok(Json::Number((*number).into())),
        Value::Number(number) => float(*number),
        Value::String(text) => Ok(Json::String(text.to_string_lossy())),
        Value::UserData(data) => match data.borrow::<Secret>() {
            Ok(secret) if secrets == Secrets::Sent => Ok(Json::String(String::from_utf8_lossy(secret.reveal()).into_owned())),
            Ok(_) => Ok(Json::String(SHOWN.to_owned())),
            Err(_) => Err("JSON has no word for a userdata".to_owned()),
        },
        Value::Table(table) => {
            let marked = table.metatable().is_some_and(|meta| meta == lua.array_metatable());
            self::table(lua, &readable(table), marked, secrets, depth)
        }
        other => Err(format!("JSON has no word for a {}", other.type_name())),
    }
}

fn float(number: f64) -> Result<Json, String> {
    // A whole number in a float is a whole number: `1e3` is 1000, not 1000.0.
    #[allow(clippy::cast_possible_truncation, reason = "checked right here")]
    if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
        return Ok(Json::Number((number as i64).into()));
    }
    Number::from_f64(number).map(Json::Number).ok_or_else(|| format!("JSON has no word for the number {number}"))
}

fn table(lua: &Lua, table: &Table, marked: bool, secrets: Secrets, depth: usize) -> Result<Json, String> {
    let len = table.raw_len();
    let mut named = Map::new();
    let mut numbered = 0;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        match key {
            Value::Integer(at) if at >= 1 && usize::try_from(at).is_ok_and(|at| at <= len) => numbered += 1,
            Value::String(name) => {
                let name = name.to_string_lossy();
                let value = inner(lua, &value, secrets, depth + 1).map_err(|error| format!("{name}: {error}"))?;
                named.insert(name, value);
            }
            Value::Integer(at) => return Err(format!("a list has the keys 1 to n without holes, found {at}")),
            other => return Err(format!("a key is text, found a {}", other.type_name())),
        }
    }
    if !named.is_empty() && (numbered > 0 || marked) {
        return Err("a table is a list or has names, not both".to_owned());
    }
    if numbered != len {
        return Err("a list has the keys 1 to n without holes".to_owned());
    }
    if len == 0 && !marked {
        return Ok(Json::Object(named));
    }
    let mut list = Vec::with_capacity(len);
    for at in 1..=len {
        let value: Value = table.raw_get(at).map_err(|error| error.to_string())?;
        list.push(inner(lua, &value, secrets, depth + 1).map_err(|error| format!("{at}: {error}"))?);
    }
    Ok(Json::Array(list))
}

/// JSON as a Lua value: null in an object is absent, in a list it is `json.null`, so that no place is lost.
///
/// # Errors
///
/// Where the heap is full.
pub fn from_json(lua: &Lua, json: &Json) -> mlua::Result<Value> {
    Ok(match json {
        Json::Null => Value::NULL,
        Json::Bool(flag) => Value::Boolean(*flag),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Value::Number(number.as_f64().unwrap_or(f64::NAN)), Value::Integer)
        }
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(list) => {
            let table = lua.create_table_with_capacity(list.len(), 0)?;
            for (at, value) in list.iter().enumerate() {
                table.raw_set(at + 1, from_json(lua, value)?)?;
            }
            table.set_metatable(Some(lua.array_metatable()))?;
            Value::Table(table)
        }
        Json::Object(map) => {
            let table = lua.create_table_with_capacity(0, map.len())?;
            for (name, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                table.raw_set(name.as_str(), from_json(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
}

pub(super) fn install(lua: &Lua, s3: &Table, _: &Shared) -> mlua::Result<()> {
    plain(lua, s3, "json.encode", |lua, args| {
        to_json(lua, args.value(0), Secrets::Hidden).map(|json| json.to_string()).map_err(|what| args.misuse(lua, what))
    })?;
    fallible(lua, s3, "json.decode", |lua, args| match json::from_slice::<Json>(&args.bytes(0)) {
        // A document that is nothing but null is nothing.
        Ok(Json::Null) => Ok(Ok(Value::Nil)),
        Ok(json) => from_json(lua, &json).map(Ok),
        Err(error) => Ok(Err(super::fault::fault("invalid", format!("this is not JSON: {error}")))),
    })?;
    plain(lua, s3, "json.array", |lua, args| {
        let table = match args.value(0) {
            Value::Table(table) => table.clone(),
            _ => lua.create_table()?,
        };
        if table.metatable().is_some_and(|meta| meta != lua.array_metatable()) {
            return Err(args.misuse(lua, "this table is read-only or has a metatable; copy it first"));
        }
        table.set_metatable(Some(lua.array_metatable()))?;
        Ok(table)
    })?;
    s3.get::<Table>("json")?.set("null", Value::NULL)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{eval, fails};

    #[test]
    fn what_is_encoded() {
        for (lua, json) in [
            ("nil", "null"),
            ("{}", "{}"),
            ("s3.json.array{}", "[]"),
            ("s3.json.array()", "[]"),
            ("{1, 2, {a = 'b'}}", r#"[1,2,{"a":"b"}]"#),
            ("{a = 1, b = 2.5, c = true, d = s3.json.null}", r#"{"a":1,"b":2.5,"c":true,"d":null}"#),
            ("1e3", "1000"),
            ("'\\xff\\n'", "\"\u{fffd}\\n\""),
            ("{k = 'x' .. s3.secret 'tok'}", r#"{"k":"[secret]"}"#),
            ("s3.json.decode('{\"a\":null,\"b\":[1,null,3],\"c\":[]}')", r#"{"b":[1,null,3],"c":[]}"#),
        ] {
            assert_eq!(eval::<String>(&format!("return s3.json.encode({lua})")), json, "{lua}");
        }
    }

    #[test]
    fn what_cannot_be_encoded_is_said() {
        for (lua, message) in [
            ("print", "s3.json.encode: JSON has no word for a function"),
            ("{a = {print}}", "a: 1: JSON has no word for a function"),
            ("0/0", "JSON has no word for the number"),
            ("{1, nil, 3}", "a list has the keys 1 to n without holes"),
            ("{[5] = 1}", "a list has the keys 1 to n without holes, found 5"),
            ("{1, a = 2}", "a table is a list or has names, not both"),
            ("{[true] = 1}", "a key is text, found a boolean"),
            ("(function() local t = {} t.t = t return t end)()", "nested deeper than 64, or in a circle"),
        ] {
            let said = fails(&format!("s3.json.encode({lua})"));
            assert!(said.contains(message), "{lua}: {said}");
            assert!(said.starts_with("hook.lua:1: "), "{said}");
        }
    }

    #[test]
    fn what_is_decoded() {
        assert!(eval::<bool>("return s3.json.decode('{\"a\":null}').a == nil"));
        assert!(eval::<bool>("return s3.json.decode('[null]')[1] == s3.json.null"));
        assert!(eval::<bool>("return s3.json.decode('9007199254740993') == 9007199254740993"));
        assert!(eval::<bool>("return s3.json.decode('null') == nil"));
        let said =
            eval::<String>("local v, err = s3.json.decode('{') return tostring(v) .. ' ' .. err.code .. ' ' .. tostring(err)");
        assert!(said.starts_with("nil invalid this is not JSON: expected a key in quotes, found the end"), "{said}");
    }
}
