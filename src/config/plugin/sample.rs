//! Settings for a plugin that nobody has configured yet: complete and plausible, so that its `init.lua` can be tried.

use serde_json::{Map, Value as Json, json};

use super::schema::{Format, Kind, Range, Schema};

/// A value that a setting may have: its default, else the first of its list, else one of its type; of a map what it must have,
/// or all that it can have. A `pattern` is not met.
#[must_use]
pub fn sample(schema: &Schema, is_whole: bool) -> Json {
    if let Some(known) = schema.default.as_ref().or(schema.words.first()) {
        return known.clone();
    }
    match &schema.kind {
        Kind::Text { format: Some(format), range, .. } => match format {
            Format::Duration => json!(within(*range, 60.0)),
            Format::Bytes => json!(within(*range, 1_048_576.0) as u64),
            Format::Url => json!("http://127.0.0.1:9100/"),
            Format::ServiceGlob => json!("*"),
            Format::Event => json!("crash"),
            Format::Secret | Format::Regex => json!("sample"),
        },
        Kind::Text { format: None, length, .. } => Json::String("x".repeat(within(*length, 1.0) as usize)),
        Kind::Integer(range) => json!(within(*range, 1.0) as i64),
        Kind::Number(range) => json!(within(*range, 1.0)),
        Kind::Truth => json!(false),
        Kind::List { items, length } => Json::Array(vec![sample(items, is_whole); within(*length, 0.0) as usize]),
        Kind::Map { fields, required, .. } => {
            let needed = |name: &String, schema: &Schema| is_whole || schema.default.is_some() || required.contains(name);
            let fields = fields.iter().filter(|(name, schema)| needed(name, schema));
            Json::Object(fields.map(|(name, schema)| (name.clone(), sample(schema, is_whole))).collect::<Map<_, _>>())
        }
    }
}

fn within(range: Range, usual: f64) -> f64 {
    usual.max(range.from.unwrap_or(usual)).min(range.to.unwrap_or(f64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plugin::manifest;

    #[test]
    fn a_sample_has_what_is_required_and_what_has_a_default() {
        let text =
            "name: x\nversion: 1.0.0\napi: 1\nsummary: tries\nconfig: {type: object, required: [url, tags, every], properties: {
            url: {type: string, format: url}, every: {type: string, format: duration, minimum: 2m}, spare: {type: integer},
            tags: {type: array, items: {type: string, enum: [a, b]}, minItems: 2}, keep: {type: integer, default: 7}}}";
        let manifest = manifest::parse(text, "x/plugin.yml").unwrap_or_else(|problems| panic!("{problems}"));
        let expected = json!({"url": "http://127.0.0.1:9100/", "every": 120.0, "tags": ["a", "a"], "keep": 7});
        assert_eq!(sample(&manifest.settings, false), expected);
        assert_eq!(sample(&manifest.settings, true)["spare"], 1);
    }
}
