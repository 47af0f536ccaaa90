//! Custom events: `section3 emit`, and what scripts emit.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::clock::Now;
use super::event_loop::Daemon;
use crate::control::server::Answer;
use crate::value::json::Raw;
use crate::wire::event::{Actor, Kind};
use crate::wire::fault::shown;
use crate::wire::hooks::{self, EmitReport, MAX_CUSTOM};
use crate::wire::{Fault, FaultCode, catalog};

impl Daemon {
    pub(super) fn emit(&mut self, name: &str, data: Map<String, Value>, actor: Actor, answer: Answer, now: Now) {
        match custom(name, &Value::Object(data)) {
            Ok(kind) => {
                let (seq, name) = (self.ring.next_seq(), kind.name().into_owned());
                self.tell(None, kind, actor, now);
                let report = EmitReport { id: self.event_id(seq), name };
                answer.finish(&report, || hooks::emit(&report));
            }
            Err(why) => answer.refuse(&Fault::new(FaultCode::Usage, why)),
        }
    }

    pub(super) fn event_id(&self, seq: u64) -> String {
        format!("{}-{seq}", self.ring.origin().boot)
    }
}

/// A custom event, from whoever emits it.
///
/// # Errors
///
/// What is wrong with its name or its data.
pub fn custom(name: &str, data: &Value) -> Result<Kind, String> {
    let name = name.strip_prefix("custom.").unwrap_or(name);
    if !catalog::is_custom_name(name) {
        let most = catalog::MAX_CUSTOM_NAME;
        return Err(format!("`{}` is no name of an event: 1 to {most} letters, digits, `_`, `.` or `-`", shown(name)));
    }
    if !matches!(data, Value::Object(_) | Value::Null | Value::Array(_)) {
        return Err("the data of an event is a table".to_owned());
    }
    // A table without fields is `{}` or `[]`: Lua does not tell the two apart.
    let is_empty = data.as_array().is_some_and(Vec::is_empty) || data.is_null();
    let data = if is_empty { Raw::of(&Map::new()) } else { Raw::of(data) }.map_err(|error| error.to_string())?;
    let bytes = data.get().len();
    if bytes > MAX_CUSTOM {
        return Err(format!("the data of custom.{name} takes {bytes} bytes, at most {MAX_CUSTOM} are allowed"));
    }
    Ok(Kind::Custom { name: name.into(), data: Arc::from(data) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn custom_events_have_a_name_and_a_bounded_table() {
        let kind = |name: &str, data: Value| custom(name, &data).map(|kind| kind.name().into_owned());
        assert_eq!(kind("deploy", json!({"v": 1})), Ok("custom.deploy".to_owned()));
        assert_eq!(kind("custom.a.b-c_9", json!([])), Ok("custom.a.b-c_9".to_owned()));
        assert!(kind("no blank", json!({})).is_err() && kind("", json!({})).is_err());
        assert!(kind("x", json!(1)).is_err());
        assert!(kind("x", json!({"a": "y".repeat(MAX_CUSTOM)})).is_err_and(|why| why.contains("at most 16384")));
    }
}
