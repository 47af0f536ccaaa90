//! What a plugin's settings may be: the part of JSON Schema that a manifest's `config:` may use.

use serde_json::Value as Json;

use super::settings;
use crate::config::reader::{Keys, Report, Value, shown, ticked};
use crate::config::tree::Node;
use crate::value::{bytes, duration};

/// One setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// Which values it may have.
    pub kind: Kind,
    /// The only ones, where there is a closed list.
    pub words: Vec<Json>,
    /// What it is when it is not written; checked, as [`settings`] would have made it.
    pub default: Option<Json>,
    /// What it is for; may be empty.
    pub description: String,
}

/// Which values a setting may have.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `string`.
    Text {
        /// What it means.
        format: Option<Format>,
        /// What it must match somewhere, as a `regex-lite` pattern.
        pattern: Option<String>,
        /// Its length in characters.
        length: Range,
        /// What a duration (in seconds) or a size (in bytes) may be.
        range: Range,
    },
    /// `integer`.
    Integer(Range),
    /// `number`.
    Number(Range),
    /// `boolean`.
    Truth,
    /// `array`.
    List {
        /// Each of its items.
        items: Box<Schema>,
        /// How many.
        length: Range,
    },
    /// `object`.
    Map {
        /// The keys it may have, in the order of the manifest.
        fields: Vec<(String, Schema)>,
        /// The keys it must have.
        required: Vec<String>,
        /// What all other keys are; none are allowed without it.
        others: Option<Box<Schema>>,
    },
}

/// Bounds, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Range {
    /// The least.
    pub from: Option<f64>,
    /// The most.
    pub to: Option<f64>,
}

/// What a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `10s`; a script gets seconds as a number.
    Duration,
    /// `20K`; a script gets bytes as a number.
    Bytes,
    /// `http://...`, `https://...` or `unix:/SOCKET:/PATH`.
    Url,
    /// The name of an entry of `secrets:`; a script hands it to `s3.secret`.
    Secret,
    /// A pattern of names of services.
    ServiceGlob,
    /// A regular expression that takes linear time.
    Regex,
    /// An event type, or one of the lists of them.
    Event,
}

impl Format {
    const WORDS: [(&str, Self); 7] = [
        ("duration", Self::Duration),
        ("bytes", Self::Bytes),
        ("url", Self::Url),
        ("secret", Self::Secret),
        ("service-glob", Self::ServiceGlob),
        ("regex", Self::Regex),
        ("event", Self::Event),
    ];

    /// The word of the manifest.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, format)| *format == self).map_or("", |(word, _)| word)
    }
}

impl Kind {
    /// The word of the manifest.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Text { .. } => "string",
            Self::Integer(_) => "integer",
            Self::Number(_) => "number",
            Self::Truth => "boolean",
            Self::List { .. } => "array",
            Self::Map { .. } => "object",
        }
    }
}

/// Keys of an entry that are not the plugin's own.
pub const RESERVED: [&str; 3] = ["allow", "path", "enabled"];

/// Maps in maps; the reading recurses.
const DEEPEST: usize = 8;

const RULE: &str = "allowed: a map such as `{type: string, default: x}`";

/// The keys that go with each type, after those that go with all.
const OF_ALL: [&str; 4] = ["type", "description", "enum", "default"];
const OF_TEXT: [&str; 6] = ["format", "pattern", "minLength", "maxLength", "minimum", "maximum"];
const OF_NUMBER: [&str; 2] = ["minimum", "maximum"];
const OF_LIST: [&str; 3] = ["items", "minItems", "maxItems"];
const OF_MAP: [&str; 3] = ["properties", "required", "additionalProperties"];

const KEYS: Keys = Keys {
    known: &[
        "type",
        "description",
        "enum",
        "default",
        "format",
        "pattern",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "items",
        "minItems",
        "maxItems",
        "properties",
        "required",
        "additionalProperties",
    ],
    foreign: &[("fields", "properties"), ("values", "enum"), ("min", "minimum"), ("max", "maximum")],
    rule: RULE,
};

/// The settings of a plugin that has none.
#[must_use]
pub fn none() -> Schema {
    let kind = Kind::Map { fields: Vec::new(), required: Vec::new(), others: None };
    Schema { kind, words: Vec::new(), default: None, description: String::new() }
}

/// Reads the `config:` of a manifest: a map, whose keys are the plugin's own settings.
pub fn settings_of_a_plugin(value: &Value<'_>, report: &mut Report<'_>) -> Option<Schema> {
    let schema = read(value, report, 0)?;
    let Kind::Map { fields, .. } = &schema.kind else {
        return report.wrong(value, "the settings of a plugin are an object; allowed: `type: object`");
    };
    if let Some((name, _)) = fields.iter().find(|(name, _)| RESERVED.contains(&name.as_str())) {
        return report.wrong(value, format_args!("`{name}` belongs to the entry of every plugin; give the setting another name"));
    }
    Some(schema)
}

fn read(value: &Value<'_>, report: &mut Report<'_>, depth: usize) -> Option<Schema> {
    if depth > DEEPEST {
        return report.wrong(value, format_args!("settings are at most {DEEPEST} levels deep"));
    }
    let before = report.count();
    let fields = value.fields(report, &KEYS)?;
    let field = |name: &str| fields.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    const TYPES: [(&str, (&str, &[&str])); 6] = [
        ("string", ("string", &OF_TEXT)),
        ("integer", ("integer", &OF_NUMBER)),
        ("number", ("number", &OF_NUMBER)),
        ("boolean", ("boolean", &[])),
        ("array", ("array", &OF_LIST)),
        ("object", ("object", &OF_MAP)),
    ];
    let Some(word) = field("type") else {
        let types = ticked(TYPES.iter().map(|(word, _)| *word));
        return if report.count() > before {
            None
        } else {
            report.wrong(value, format_args!("`type` is missing; allowed: {types}"))
        };
    };
    let (word, own) =
        word.choice(report, &TYPES, &[("bool", "boolean"), ("list", "array"), ("map", "object"), ("int", "integer")])?;
    for (key, value) in fields.iter().filter(|(key, _)| !OF_ALL.contains(key) && !own.contains(key)) {
        let allowed = ticked(OF_ALL.into_iter().chain(own.iter().copied()));
        report.note(value.key_spot(), format!("found `{key}` of type `{word}`; allowed: {allowed}"), None);
    }
    let kind = match word {
        "string" => text(&field, report)?,
        "integer" => Kind::Integer(range(&field, report, ["minimum", "maximum"], number)),
        "number" => Kind::Number(range(&field, report, ["minimum", "maximum"], number)),
        "boolean" => Kind::Truth,
        "array" => list(value, &field, report, depth)?,
        _ => map(&field, report, depth)?,
    };
    let description =
        field("description").and_then(|value| value.plain(report, "allowed: a text")).unwrap_or_default().to_owned();
    let mut schema = Schema { kind, words: Vec::new(), default: None, description };
    if let Some(value) = field("enum") {
        schema.words = words(value, &schema, report)?;
    }
    if let Some(value) = field("default") {
        schema.default = settings::read(value, &schema, report, None);
    }
    (report.count() == before).then_some(schema)
}

/// The value of a key, if it was written.
trait Field<'a>: Fn(&str) -> Option<&'a Value<'a>> {}
impl<'a, F: Fn(&str) -> Option<&'a Value<'a>>> Field<'a> for F {}

fn text<'a>(field: &impl Field<'a>, report: &mut Report<'_>) -> Option<Kind> {
    let format = match field("format") {
        Some(value) => {
            Some(value.choice(report, &Format::WORDS, &[("uri", "url"), ("size", "bytes"), ("glob", "service-glob")])?)
        }
        None => None,
    };
    let pattern = field("pattern").and_then(|value| {
        let pattern = value.plain(report, "allowed: a regular expression")?;
        match regex_lite::Regex::new(pattern) {
            Ok(_) => Some(pattern.to_owned()),
            Err(error) => report.wrong(value, error),
        }
    });
    let length = range(field, report, ["minLength", "maxLength"], number);
    let bounds = ["minimum", "maximum"];
    let range = match format {
        Some(Format::Duration) => range(field, report, bounds, |text| Some(duration::parse(text).ok()?.as_secs_f64())),
        Some(Format::Bytes) => range(field, report, bounds, |text| Some(bytes::parse_bytes(text)? as f64)),
        _ => {
            for value in bounds.into_iter().filter_map(field) {
                report.note(
                    value.key_spot(),
                    "only a duration or a size has bounds; allowed: `minLength`, `maxLength`".to_owned(),
                    None,
                );
            }
            Range::default()
        }
    };
    Some(Kind::Text { format, pattern, length, range })
}

fn list<'a>(value: &Value<'_>, field: &impl Field<'a>, report: &mut Report<'_>, depth: usize) -> Option<Kind> {
    let Some(items) = field("items") else {
        return report.wrong(value, "`items` is missing; say what the array holds, such as `items: {type: string}`");
    };
    let items = Box::new(read(items, report, depth + 1)?);
    Some(Kind::List { items, length: range(field, report, ["minItems", "maxItems"], number) })
}

fn map<'a>(field: &impl Field<'a>, report: &mut Report<'_>, depth: usize) -> Option<Kind> {
    let mut fields = Vec::new();
    let properties = field("properties").and_then(|value| value.entries(report, "allowed: a map of settings"));
    for (name, value) in properties.unwrap_or_default() {
        // A wrong one is there all the same, so that what refers to it is not called unknown.
        fields.push((name.to_owned(), read(&value, report, depth + 1).unwrap_or_else(none)));
    }
    let mut required = Vec::new();
    if let Some(value) = field("required") {
        if !matches!(value.node(), Node::List(_)) {
            return report.wrong(value, "allowed: a list of settings");
        }
        for item in value.items() {
            let Some(name) = item.plain(report, "allowed: the name of a setting") else { continue };
            if fields.iter().any(|(known, _)| known == name) {
                required.push(name.to_owned());
            } else {
                let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
                let meant = report.meant(name, names.into_iter()).map(str::to_owned);
                report.note(item.spot(), format!("found `{}`; `properties` has no such key", shown(name)), meant.as_deref());
            }
        }
    }
    let others = match field("additionalProperties") {
        Some(value) if matches!(value.node(), Node::Map(_)) => Some(Box::new(read(value, report, depth + 1)?)),
        // `true` would let every slip of the finger through.
        Some(value) => {
            value.choice(report, &[("false", ())], &[])?;
            None
        }
        None => None,
    };
    Some(Kind::Map { fields, required, others })
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

fn range<'a>(field: &impl Field<'a>, report: &mut Report<'_>, keys: [&str; 2], parse: fn(&str) -> Option<f64>) -> Range {
    let mut bound = |key| {
        let value = field(key)?;
        let text = value.plain(report, "allowed: a number")?;
        parse(text).or_else(|| report.wrong(value, "it is no value of this type"))
    };
    let (from, to) = (bound(keys[0]), bound(keys[1]));
    if let (Some(least), Some(most), Some(value)) = (from, to, field(keys[1]))
        && least > most
    {
        report.wrong::<()>(value, format_args!("it is less than `{}`", keys[0]));
    }
    Range { from, to }
}

fn words(value: &Value<'_>, schema: &Schema, report: &mut Report<'_>) -> Option<Vec<Json>> {
    if matches!(schema.kind, Kind::List { .. } | Kind::Map { .. }) {
        return report.wrong(value, "only a single value has an `enum`; for an array, say it of its `items`");
    }
    let items: Vec<Json> = value.items().filter_map(|item| settings::read(&item, schema, report, None)).collect();
    if items.is_empty() { report.wrong(value, "allowed: a list of values") } else { Some(items) }
}
