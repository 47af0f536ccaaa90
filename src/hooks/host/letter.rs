//! Events as handlers get them: read-only Lua tables, absent fields `nil`, unknown ones a mistake.

use std::rc::Rc;

use mlua::{Function, Lua, Table, Value};
use serde_json::{Map, Value as Json};

use crate::hooks::script::misuse;
use crate::value::json::{self, Raw};
use crate::value::nearest::nearest;
use crate::wire::catalog::{ENVELOPE, EVENTS, SYNTHETIC, event_type};

/// One event, read.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Its type.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// The service it is about.
    pub service: Option<String>,
    /// Actions of scripts in the chain that led to it.
    pub depth: u8,
    /// All of it.
    pub envelope: Map<String, Json>,
}

impl Letter {
    /// Reads an envelope.
    ///
    /// # Errors
    ///
    /// What is missing in it.
    pub fn read(text: &Raw) -> Result<Self, String> {
        let envelope: Map<String, Json> = json::from_str(text.get()).map_err(|error| format!("no event: {error}"))?;
        let word = |name: &str| envelope.get(name).and_then(Json::as_str).map(str::to_owned);
        Ok(Self {
            kind: word("type").ok_or("no event: it has no type")?,
            id: word("id").ok_or("no event: it has no id")?,
            service: word("service"),
            depth: envelope.get("depth").and_then(Json::as_u64).and_then(|depth| u8::try_from(depth).ok()).unwrap_or(0),
            envelope,
        })
    }

    /// A field of `data`, or else of the envelope, as text: what `dedup` compares.
    #[must_use]
    pub fn field(&self, name: &str) -> String {
        let data = self.envelope.get("data").and_then(|data| data.get(name));
        match data.or_else(|| self.envelope.get(name)) {
            None | Some(Json::Null) => String::new(),
            Some(Json::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}

/// What a delivery adds to its event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Postmark {
    /// How many occurrences it stands for.
    pub count: u64,
    /// 1, or 2 when the host died with it before.
    pub attempt: u8,
    /// Events that this handler missed just before.
    pub lost: u64,
}

impl Postmark {
    /// What is told of the loss: without one nothing.
    const fn lost(self) -> Option<u64> {
        if self.lost == 0 { None } else { Some(self.lost) }
    }
}

/// The event as JSON with its postmark: what a `run:` program reads.
#[must_use]
pub fn text(letter: &Letter, mark: Postmark) -> Vec<u8> {
    let mut envelope = letter.envelope.clone();
    for (name, number) in [("count", mark.count), ("attempt", u64::from(mark.attempt))] {
        envelope.insert(name.to_owned(), Json::from(number));
    }
    if let Some(lost) = mark.lost() {
        envelope.insert("lost".to_owned(), Json::from(lost));
    }
    let mut text = json::to_vec(&envelope).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Makes read-only tables of events.
pub struct Reader {
    freeze: Function,
    envelope: (Table, Function),
    data: (Table, Function),
}

impl Reader {
    /// A reader for this state.
    ///
    /// # Errors
    ///
    /// Where the heap is full.
    pub fn new(lua: &Lua, freeze: &Function) -> mlua::Result<Self> {
        let envelope: Rc<[&str]> = ENVELOPE.iter().chain([&SYNTHETIC]).map(|field| field.name).collect();
        let mut data: Vec<&str> = EVENTS.iter().flat_map(|kind| kind.fields).map(|field| field.name).collect();
        data.sort_unstable();
        data.dedup();
        Ok(Self {
            freeze: freeze.clone(),
            envelope: known(lua, "an event", envelope)?,
            data: known(lua, "the data of an event", data.into())?,
        })
    }

    /// The event as a table.
    ///
    /// # Errors
    ///
    /// Where the heap is full.
    pub fn table(&self, lua: &Lua, letter: &Letter, mark: Postmark) -> mlua::Result<Table> {
        let event = lua.create_table_with_capacity(0, letter.envelope.len() + 3)?;
        for (name, value) in &letter.envelope {
            let value = match (name.as_str(), value) {
                (_, Json::Null) => continue,
                ("data", Json::Object(fields)) => Value::Table(self.data(lua, &letter.kind, fields)?),
                (_, other) => value_of(lua, other)?,
            };
            event.raw_set(name.as_str(), value)?;
        }
        event.raw_set("count", mark.count)?;
        event.raw_set("attempt", mark.attempt)?;
        event.raw_set("lost", mark.lost())?;
        self.freeze.call((event, "event", &self.envelope.0, &self.envelope.1))
    }

    fn data(&self, lua: &Lua, kind: &str, fields: &Map<String, Json>) -> mlua::Result<Table> {
        let table = table_of(lua, fields)?;
        // The data of custom events is free.
        if event_type(kind).is_none_or(|kind| kind.fields.is_empty()) {
            return self.freeze.call((table, "event"));
        }
        self.freeze.call((table, "event", &self.data.0, &self.data.1))
    }

    /// Any JSON object as a read-only table; `what` it is for whoever tries to change it.
    ///
    /// # Errors
    ///
    /// Where the heap is full.
    pub fn subject(&self, lua: &Lua, what: &str, value: &Json) -> mlua::Result<Value> {
        match value {
            Json::Object(fields) => self.freeze.call((table_of(lua, fields)?, what)),
            other => value_of(lua, other),
        }
    }
}

fn known(lua: &Lua, what: &'static str, names: Rc<[&'static str]>) -> mlua::Result<(Table, Function)> {
    let table = lua.create_table()?;
    for name in names.iter() {
        table.raw_set(*name, true)?;
    }
    let unknown = lua.create_function(move |lua, key: Value| -> mlua::Result<()> {
        let key = key.to_string()?;
        Err(misuse(
            lua,
            match nearest(&key, names.iter().copied()) {
                Some(meant) => format!("unknown field `{key}` of {what}; did you mean `{meant}`?"),
                None => format!("unknown field `{key}` of {what}; there are {}", names.join(", ")),
            },
        ))
    })?;
    Ok((table, unknown))
}

fn table_of(lua: &Lua, fields: &Map<String, Json>) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, fields.len())?;
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        table.raw_set(name.as_str(), value_of(lua, value)?)?;
    }
    Ok(table)
}

/// JSON as Lua: what is null in an object is absent.
fn value_of(lua: &Lua, value: &Json) -> mlua::Result<Value> {
    Ok(match value {
        Json::Null => Value::NULL,
        Json::Bool(flag) => Value::Boolean(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Integer(whole),
            None => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(items) => {
            let list = lua.create_table_with_capacity(items.len(), 0)?;
            for item in items {
                list.raw_push(value_of(lua, item)?)?;
            }
            Value::Table(list)
        }
        Json::Object(fields) => Value::Table(table_of(lua, fields)?),
    })
}
