//! The settings of a plugin, checked against what its manifest says: complete, with their defaults, as its script gets them.

use serde_json::{Map, Number, Value as Json};

use super::schema::{Format, Kind, RESERVED, Range, Schema};
use crate::config::element::hooks::{event_type, service_glob};
use crate::config::reader::{Report, Value, shown, ticked};
use crate::config::tree::{self, Node};
use crate::spec::script::SecretSource;
use crate::value::{bytes, duration, sorted};

/// What a secret's name is looked up in; `None` where the config is not known.
pub type Secrets<'a> = Option<&'a sorted::Map<String, SecretSource>>;

/// The settings of an entry of `plugins:`, with the defaults of what is not written; `None` and noted where one is wrong.
pub fn of_entry(value: &Value<'_>, schema: &Schema, report: &mut Report<'_>, secrets: Secrets<'_>) -> Option<Json> {
    map(value, schema, report, secrets, &RESERVED)
}

/// One setting; `None` and noted where it is wrong.
pub fn read(value: &Value<'_>, schema: &Schema, report: &mut Report<'_>, secrets: Secrets<'_>) -> Option<Json> {
    let json = match &schema.kind {
        Kind::Text { format, pattern, length, range } => {
            let text = text(value, report)?;
            if let Some(rule) = outside(*length, text.chars().count() as f64, |bound| format!("{bound} characters")) {
                return refuse(value, report, &text, &rule);
            }
            if let Some(pattern) = pattern
                && !regex_lite::Regex::new(pattern).is_ok_and(|regex| regex.is_match(&text))
            {
                return refuse(value, report, &text, &format!("allowed: what matches `{}`", shown(pattern)));
            }
            match format {
                Some(Format::Secret) => secret(value, report, text, secrets)?,
                Some(format) => match formatted(*format, &text, *range) {
                    Ok(json) => json,
                    Err((rule, meant)) => {
                        report.note(value.spot(), format!("found `{}`; {rule}", shown(&text)), meant);
                        return None;
                    }
                },
                None => Json::String(text),
            }
        }
        Kind::Integer(range) => {
            let number: i64 = value.integer(report, i64::MIN..=i64::MAX)?;
            in_range(value, report, *range, number as f64)?;
            Json::from(number)
        }
        Kind::Number(range) => {
            let rule = "allowed: a number";
            let number = value.parsed(report, rule, |text| {
                text.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(|| rule.to_owned())
            })?;
            in_range(value, report, *range, number)?;
            Json::Number(Number::from_f64(number)?)
        }
        Kind::Truth => Json::Bool(value.truth(report)?),
        Kind::List { items, length } => {
            if !matches!(value.node(), Node::List(_)) {
                return report.wrong(value, "allowed: a list");
            }
            let before = report.count();
            let list: Vec<Json> = value.items().filter_map(|item| read(&item, items, report, secrets)).collect();
            if report.count() > before {
                return None;
            }
            if let Some(rule) = outside(*length, list.len() as f64, |bound| format!("{bound} items")) {
                return report.wrong(value, rule);
            }
            Json::Array(list)
        }
        Kind::Map { .. } => map(value, schema, report, secrets, &[])?,
    };
    if schema.words.is_empty() || schema.words.contains(&json) {
        return Some(json);
    }
    let words: Vec<String> =
        schema.words.iter().map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned)).collect();
    let found = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
    let meant = report.meant(&found, words.iter().map(String::as_str)).map(str::to_owned);
    let allowed = ticked(words.iter().map(String::as_str));
    report.note(value.spot(), format!("found `{}`; allowed: {allowed}", shown(&found)), meant.as_deref());
    None
}

fn map(value: &Value<'_>, schema: &Schema, report: &mut Report<'_>, secrets: Secrets<'_>, skipped: &[&str]) -> Option<Json> {
    let Kind::Map { fields, required, others } = &schema.kind else { return None };
    let before = report.count();
    let mut json = Map::new();
    // `NAME:` with nothing behind it is an entry without settings.
    let is_empty_entry = !skipped.is_empty() && matches!(value.node(), Node::Scalar(scalar) if scalar.kind == tree::Kind::Null);
    let entries = if is_empty_entry { Vec::new() } else { value.entries(report, "allowed: a map of settings")? };
    for (key, value) in entries.iter().filter(|(key, _)| !skipped.contains(key)) {
        let known = fields.iter().find(|(name, _)| name == key).map(|(_, schema)| schema);
        let Some(schema) = known.or(others.as_deref()) else {
            let names = || fields.iter().map(|(name, _)| name.as_str());
            let all: Vec<&str> = names().chain(skipped.iter().copied()).collect();
            let allowed = ticked(all.iter().copied());
            let allowed = if allowed.is_empty() { "no keys are allowed here".to_owned() } else { format!("allowed: {allowed}") };
            let meant = report.meant(key, all.into_iter()).map(str::to_owned);
            report.note(value.key_spot(), format!("unknown key `{}`; {allowed}", shown(key)), meant.as_deref());
            continue;
        };
        if let Some(setting) = read(value, schema, report, secrets) {
            json.insert((*key).to_owned(), setting);
        }
    }
    for name in required.iter().filter(|name| !entries.iter().any(|(key, _)| key == name)) {
        // Said already where it is there under a misspelled name.
        if report.count() == before {
            report.note(value.key_spot(), format!("`{name}` is missing"), None);
        }
    }
    for (name, schema) in fields {
        if let Some(default) = &schema.default
            && !entries.iter().any(|(key, _)| key == name)
        {
            json.insert(name.clone(), default.clone());
        }
    }
    (report.count() == before).then_some(Json::Object(json))
}

/// A text; a number is taken as it is spelled, a truth value is a slip.
fn text(value: &Value<'_>, report: &mut Report<'_>) -> Option<String> {
    const RULE: &str = "allowed: a text; quote it if it looks like a truth value";
    if matches!(value.node(), Node::Scalar(scalar) if scalar.kind == tree::Kind::Bool) {
        return report.wrong(value, RULE);
    }
    value.word(report, RULE).map(std::borrow::Cow::into_owned)
}

fn secret(value: &Value<'_>, report: &mut Report<'_>, name: String, secrets: Secrets<'_>) -> Option<Json> {
    let Some(secrets) = secrets.filter(|secrets| !secrets.contains_key(&name)) else { return Some(Json::String(name)) };
    let meant = report.meant(&name, secrets.keys().map(String::as_str).collect::<Vec<_>>().into_iter()).map(str::to_owned);
    // What stands here may be the secret itself.
    let message = "no such entry in `secrets:`; write the name of one, such as `secrets: {token: {file: /run/secrets/token}}`";
    report.note(value.spot(), message.to_owned(), meant.as_deref());
    None
}

/// What a text means, or what is allowed and what was probably meant.
fn formatted(format: Format, text: &str, range: Range) -> Result<Json, (String, Option<&'static str>)> {
    let plain = |rule: String| (rule, None);
    match format {
        Format::Duration => {
            let seconds = duration::parse(text).map_err(plain)?.as_secs_f64();
            let human = |bound: f64| duration::Human(std::time::Duration::from_secs_f64(bound)).to_string();
            outside(range, seconds, human).map_or(Ok(()), |rule| Err(plain(rule)))?;
            Ok(number(seconds))
        }
        Format::Bytes => {
            let rule = "a size is a whole number of bytes, or one with K, M, G or T such as `512K` or `10M`";
            let size = bytes::parse_bytes(text).ok_or_else(|| plain(rule.to_owned()))?;
            outside(range, size as f64, |bound| format!("{bound} bytes")).map_or(Ok(()), |rule| Err(plain(rule)))?;
            Ok(Json::from(size))
        }
        Format::Url => {
            let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
            let unix = text.strip_prefix("unix:/").is_some_and(|rest| rest.contains(":/"));
            let web = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
            let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control());
            // The permission is read from the same text; where it finds no host there is none.
            let host = crate::spec::Permission::parse(&format!("http:{text}")).is_ok();
            let rule = "allowed: `http://HOST/PATH`, `https://HOST/PATH` or `unix:/SOCKET:/PATH`";
            if (unix || web) && clean && host { Ok(Json::from(text)) } else { Err(plain(rule.to_owned())) }
        }
        Format::ServiceGlob => service_glob(text).map(Json::String).map_err(plain),
        Format::Regex => match regex_lite::Regex::new(text) {
            Ok(_) => Ok(Json::from(text)),
            Err(error) => Err(plain(format!("allowed: a regular expression: {error}"))),
        },
        Format::Event => match event_type(text) {
            Ok(()) => Ok(Json::from(text)),
            Err(meant) => Err(("no such event".to_owned(), meant)),
        },
        // Looked up by the caller, who knows the secrets.
        Format::Secret => Ok(Json::from(text)),
    }
}

/// Whole seconds stay whole for who prints them.
fn number(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() < 9e15 { Json::from(value as i64) } else { Json::from(value) }
}

fn in_range(value: &Value<'_>, report: &mut Report<'_>, range: Range, number: f64) -> Option<()> {
    match outside(range, number, |bound| bound.to_string()) {
        Some(rule) => report.wrong(value, rule),
        None => Some(()),
    }
}

/// What is allowed, where a number is not.
fn outside(range: Range, number: f64, show: impl Fn(f64) -> String) -> Option<String> {
    let is_inside = range.from.is_none_or(|from| number >= from) && range.to.is_none_or(|to| number <= to);
    if is_inside {
        return None;
    }
    Some(match (range.from, range.to) {
        (Some(from), Some(to)) => format!("allowed: {} to {}", show(from), show(to)),
        (Some(from), None) => format!("allowed: at least {}", show(from)),
        (_, to) => format!("allowed: at most {}", to.map(show).unwrap_or_default()),
    })
}

fn refuse<T>(value: &Value<'_>, report: &mut Report<'_>, text: &str, rule: &str) -> Option<T> {
    report.note(value.spot(), format!("found `{}`; {rule}", shown(text)), None);
    None
}
