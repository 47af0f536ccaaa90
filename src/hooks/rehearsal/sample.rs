//! Made-up events, from the catalog's samples.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::value::duration::millis;
use crate::value::json;
use crate::value::nearest::nearest;
use crate::wire::catalog::{self, ENVELOPE, EventType, Field, SYNTHETIC};

/// When all rehearsals begin: one that is repeated says the same.
pub const BEGIN: Duration = Duration::from_secs(1_767_225_600);

/// Fields of which an exit has one or the other.
const EITHER: [(&str, &str); 2] = [("signal", "code"), ("code", "signal")];

/// What a sample event is to be like.
#[derive(Clone, Debug)]
pub struct Sample {
    of: &'static EventType,
    /// `crash`, `custom.deploy`.
    name: String,
    service: Option<String>,
    set: Vec<(Vec<String>, Value)>,
}

impl Sample {
    /// A sample of this type with these fields set: `data.code=1`, `severity=error`.
    ///
    /// # Errors
    ///
    /// What is not known or does not fit, with what was meant.
    pub fn new(name: &str, service: Option<String>, set: &[String]) -> Result<Self, String> {
        let Some(of) = catalog::event_type(name) else {
            catalog::check_selector(name)?;
            return Err(format!("`{name}` stands for several events; name one, such as `crash`"));
        };
        let set = set.iter().map(|word| assignment(of, word)).collect::<Result<_, _>>()?;
        Ok(Self { of, name: name.to_owned(), service, set })
    }

    /// The event's service.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.service.as_deref().or(self.of.of_service.then_some("web"))
    }

    /// Where the logs are said to be: where the event says that one is, else where root has them.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        let event = self.event(1, Duration::ZERO);
        let named = event["data"]["path"].as_str().and_then(|path| Path::new(path).parent());
        named.filter(|dir| dir.is_absolute()).unwrap_or(Path::new("/var/log/section3")).to_owned()
    }

    /// The number-th event, `at` after the beginning.
    #[must_use]
    pub fn event(&self, number: u64, at: Duration) -> Value {
        let sample = |field: &Field| (field.name.to_owned(), json::from_str(field.sample).unwrap_or(Value::Null));
        let data: Map<String, Value> = self.of.fields.iter().filter(|field| !field.sample.is_empty()).map(sample).collect();
        let mut event: Map<String, Value> = ENVELOPE.iter().filter(|field| !field.sample.is_empty()).map(sample).collect();
        event.insert("id".to_owned(), json!(format!("00000000000000aa-{number}")));
        event.insert("seq".to_owned(), json!(number));
        event.insert("type".to_owned(), json!(self.name));
        event.insert("severity".to_owned(), json!(self.of.severity.word()));
        let time = SystemTime::UNIX_EPOCH + BEGIN + at;
        event.insert("time".to_owned(), json!(humantime::format_rfc3339_millis(time).to_string()));
        event.insert("mono_ms".to_owned(), json!(1000 + millis(at)));
        event.insert("data".to_owned(), Value::Object(data));
        event.insert(SYNTHETIC.name.to_owned(), json!(true));
        match self.service() {
            Some(service) => drop(event.insert("service".to_owned(), json!(service))),
            None => drop((event.remove("service"), event.remove("run"))),
        }
        let mut event = Value::Object(event);
        for (path, value) in &self.set {
            put(&mut event, path, value.clone());
            if let [data, name] = path.as_slice() {
                let is_set = |other: &str| self.set.iter().any(|(path, _)| path.len() == 2 && path[1] == other);
                for (_, other) in EITHER.iter().filter(|(one, other)| one == name && !is_set(other)) {
                    event[data.as_str()].as_object_mut().map(|data| data.remove(*other));
                }
            }
        }
        event
    }
}

fn put(event: &mut Value, path: &[String], value: Value) {
    let mut at = event;
    for part in path {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[part.as_str()];
    }
    *at = value;
}

/// `data.code=1`: the value is JSON where it can be and is meant to be, else text.
fn assignment(of: &EventType, word: &str) -> Result<(Vec<String>, Value), String> {
    let (path, text) = word.split_once('=').ok_or_else(|| format!("`{word}`: write KEY=VALUE, such as data.code=1"))?;
    let parts: Vec<String> = path.split('.').map(str::to_owned).collect();
    let is_free = of.fields.is_empty();
    let fields: &[Field] = match (parts[0].as_str(), parts.len()) {
        ("data", 2..) if is_free => return Ok((parts, free(text))),
        ("data", 2) => of.fields,
        (_, 1) => &ENVELOPE,
        _ => return Err(format!("`{path}`: a field of the event, such as severity, or of its data, such as data.code")),
    };
    let name = parts.last().map_or("", String::as_str);
    let Some(field) = fields.iter().find(|field| field.name == name) else {
        let prefix = if parts.len() == 2 { "data." } else { "" };
        let here = of.fields.iter().any(|field| field.name == name);
        let meant = match nearest(name, fields.iter().map(|field| field.name)) {
            _ if here => format!("; did you mean `data.{name}`?"),
            Some(meant) => format!("; did you mean `{prefix}{meant}`?"),
            None => format!("; there are {}", fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ")),
        };
        return Err(format!("`{}` has no field `{path}`{meant}", of.name));
    };
    let value = if field.kind == "string" { Value::String(text.to_owned()) } else { free(text) };
    if fits(&value, field.kind) { Ok((parts, value)) } else { Err(format!("`{path}` is {}, found `{text}`", field.kind)) }
}

fn free(text: &str) -> Value {
    json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn fits(value: &Value, kind: &str) -> bool {
    match kind {
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "table" => value.is_object(),
        "string[]" => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        words => value.as_str().is_some_and(|word| words.split('|').any(|known| known == format!("\"{word}\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::catalog::EVENTS;

    fn made(name: &str, set: &[&str]) -> Result<Value, String> {
        let set: Vec<String> = set.iter().map(|word| (*word).to_owned()).collect();
        Sample::new(name, None, &set).map(|sample| sample.event(3, Duration::from_millis(1500)))
    }

    #[test]
    fn every_type_has_a_sample() {
        for of in &EVENTS {
            let event = made(of.name, &[]).expect(of.name);
            assert_eq!(event["type"], of.name);
            assert_eq!(event.get("service").is_some(), of.of_service, "{}", of.name);
            for field in of.fields.iter().filter(|field| field.always) {
                assert!(fits(&event["data"][field.name], field.kind), "{}.{}", of.name, field.name);
            }
        }
        let event = made("custom.deploy", &["data.v=1.2", "data.who=me", "data.deep.list=[1]"]).expect("made");
        assert_eq!(event["data"], json!({"v": 1.2, "who": "me", "deep": {"list": [1]}}));
        assert_eq!(
            (&event["id"], &event["time"], &event["synthetic"]),
            (&json!("00000000000000aa-3"), &json!("2026-01-01T00:00:01.500Z"), &json!(true))
        );
    }

    #[test]
    fn fields_can_be_set() {
        let event = made("crash", &["data.code=78", "severity=error", "data.log_tail=[\"a\"]", "host=9"]).expect("made");
        assert_eq!((&event["data"]["code"], &event["severity"], &event["host"]), (&json!(78), &json!("error"), &json!("9")));
        let event = made("crash", &["data.signal=SIGSEGV"]).expect("made");
        assert_eq!((&event["data"]["signal"], event["data"].get("code")), (&json!("SIGSEGV"), None));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        for (name, set, says) in [
            ("crsh", "", "unknown event `crsh`; did you mean `crash`?"),
            ("@all", "", "`@all` stands for several events"),
            ("crash", "data.cod=1", "`crash` has no field `data.cod`; did you mean `data.code`?"),
            ("crash", "code=1", "`crash` has no field `code`; did you mean `data.code`?"),
            ("crash", "data.code=x", "`data.code` is integer, found `x`"),
            ("crash", "data.next=soon", "`data.next` is \"backoff\"|"),
            ("crash", "severity=warn", "`severity` is \"debug\"|"),
            ("crash", "data", "`data`: write KEY=VALUE"),
            ("crash", "a.b.c=1", "`a.b.c`: a field of the event"),
        ] {
            let set: Vec<&str> = if set.is_empty() { Vec::new() } else { vec![set] };
            let said = made(name, &set).expect_err(says);
            assert!(said.starts_with(says), "{said}");
        }
    }
}
