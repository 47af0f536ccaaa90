//! `plugin.yml`: what a plugin is called, may do, registers and can be told. Data, so that it can be judged without running it.

use std::path::Path;

use serde_json::Value as Json;

use super::schema::{self, Kind, Schema};
use crate::config::element::hooks::is_name;
use crate::config::problem::Problems;
use crate::config::reader::{Keys, Report, Value, shown, ticked};
use crate::config::tree::{self, Node};
use crate::spec::permission::{Permission, Point};
use crate::spec::script::Provides;

/// The version of the API that this program has.
pub const API: u32 = 1;

/// A manifest, read and checked in itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The plugin's name, and its folder's.
    pub name: String,
    /// Its own version, as it is written.
    pub version: String,
    /// What it is for, in one line.
    pub summary: String,
    /// What it wants to do.
    pub permissions: Vec<Wish>,
    /// What it registers.
    pub provides: Provides,
    /// What it can be told.
    pub settings: Schema,
}

/// A permission, perhaps one that depends on a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// As it is.
    Plain(Permission),
    /// `before${config.key}after`: one for each value of the setting, none where it is not set.
    Setting {
        /// What stands before it.
        before: String,
        /// The setting.
        key: String,
        /// What stands behind it.
        after: String,
    },
}

impl std::fmt::Display for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(permission) => permission.fmt(f),
            Self::Setting { before, key, after } => write!(f, "{before}${{config.{key}}}{after}"),
        }
    }
}

const KEYS: Keys = Keys {
    known: &["name", "version", "api", "summary", "permissions", "provides", "config"],
    foreign: &[("description", "summary"), ("settings", "config"), ("schema", "config"), ("allow", "permissions")],
    rule: "a manifest is a map with `name`, `version`, `api` and `summary`",
};

const PROVIDES: Keys = Keys {
    known: &["handlers", "checks", "probes", "commands", "decides"],
    foreign: &[("decisions", "decides"), ("policies", "decides"), ("hooks", "handlers")],
    rule: "allowed: a map such as `{handlers: [send], commands: [test]}`",
};

/// Reads a manifest; `file` is its name in messages.
///
/// # Errors
///
/// Everything that is wrong with it, with places.
pub fn parse(text: &str, file: &str) -> Result<Manifest, Problems> {
    let root = tree::read(text).map_err(|wrong| Problems::of_syntax(file, wrong))?;
    // Nothing of the environment belongs into a manifest: it is the same everywhere.
    let mut report = Report::new(&|_| None, Path::new(""));
    let manifest = read(&Value::root(&root), &mut report);
    let findings = report.into_findings();
    manifest.filter(|_| findings.is_empty()).ok_or_else(|| Problems::of_text(file, text, findings))
}

fn read(root: &Value<'_>, report: &mut Report<'_>) -> Option<Manifest> {
    let fields = root.fields(report, &KEYS)?;
    let field = |name: &str| fields.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    for name in ["name", "version", "api", "summary"] {
        if field(name).is_none() && !root.names(name, &KEYS) {
            report.note(root.key_spot(), format!("no `{name}`; a manifest has `name`, `version`, `api` and `summary`"), None);
        }
    }
    let line = |name: &str, report: &mut Report<'_>| {
        let value = field(name)?;
        let text = value.plain(report, "allowed: a line of text")?;
        if text.is_empty() || text.chars().count() > 200 || text.contains('\n') {
            return report.wrong(value, "allowed: a line of at most 200 characters");
        }
        Some(text.to_owned())
    };
    let name = line("name", report);
    if let (Some(name), Some(value)) = (&name, field("name"))
        && (!is_name(name) || name.contains('.'))
    {
        report.wrong::<()>(value, "a plugin's name is 1 to 64 letters, digits, `_` or `-`, and starts with a letter or digit");
    }
    let (version, summary) = (line("version", report), line("summary", report));
    if let Some(value) = field("api")
        && value.plain(report, "allowed: `1`").is_some_and(|text| text != "1")
    {
        report.wrong::<()>(value, format_args!("this section3 has version {API} of the API; allowed: `{API}`"));
    }
    let settings = match field("config") {
        Some(value) => schema::settings_of_a_plugin(value, report).unwrap_or_else(schema::none),
        None => schema::none(),
    };
    let permissions = field("permissions").map(|value| wishes(value, &settings, report)).unwrap_or_default();
    let provides = field("provides").and_then(|value| provides(value, report)).unwrap_or_default();
    Some(Manifest { name: name?, version: version?, summary: summary?, permissions, provides, settings })
}

fn wishes(value: &Value<'_>, settings: &Schema, report: &mut Report<'_>) -> Vec<Wish> {
    let rule = "allowed: a list of permissions such as `[\"http:hooks.example.net\", \"services:read\"]`";
    if !matches!(value.node(), Node::List(_)) {
        report.wrong::<()>(value, rule);
    }
    value.items().filter_map(|item| wish(&item, item.plain(report, rule)?, settings, report)).collect()
}

fn wish(value: &Value<'_>, text: &str, settings: &Schema, report: &mut Report<'_>) -> Option<Wish> {
    let form = "allowed: one `${config.KEY}`, KEY being a setting of type `string`, or an array or a map of them";
    let Some((before, rest)) = text.split_once("${") else {
        return match Permission::parse(text) {
            Ok(permission) => Some(Wish::Plain(permission)),
            Err(rule) => report.wrong(value, rule),
        };
    };
    let Some((key, after)) = rest.split_once('}').and_then(|(inside, after)| Some((inside.strip_prefix("config.")?, after)))
    else {
        return report.wrong(value, form);
    };
    let Kind::Map { fields, .. } = &settings.kind else { return None };
    let Some((_, setting)) = fields.iter().find(|(name, _)| name == key) else {
        let meant =
            report.meant(key, fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().into_iter()).map(str::to_owned);
        report.note(
            value.spot(),
            format!("found `{}`; `config:` has no setting `{}`", shown(text), shown(key)),
            meant.as_deref(),
        );
        return None;
    };
    let kind = match &setting.kind {
        Kind::List { items, .. } => &items.kind,
        Kind::Map { fields, others: Some(values), .. } if fields.is_empty() => &values.kind,
        kind => kind,
    };
    if !matches!(kind, Kind::Text { .. }) || after.contains("${") {
        return report.wrong(value, form);
    }
    // What it will be is not known yet; that it can be a permission at all is.
    let sample = |word: &str| Permission::parse(&format!("{before}{word}{after}"));
    if let Err(rule) = sample("a").or_else(|rule| sample("/a").map_err(|_| rule)) {
        return report.wrong(value, rule);
    }
    Some(Wish::Setting { before: before.to_owned(), key: key.to_owned(), after: after.to_owned() })
}

fn provides(value: &Value<'_>, report: &mut Report<'_>) -> Option<Provides> {
    let mut provides = Provides::default();
    for (key, value) in value.fields(report, &PROVIDES)? {
        let names = names(&value, report, key == "decides");
        match key {
            "handlers" => provides.handlers = names,
            "checks" => provides.checks = names,
            "probes" => provides.probes = names,
            "commands" => provides.commands = names,
            _ => provides.decides = names,
        }
    }
    Some(provides)
}

fn names(value: &Value<'_>, report: &mut Report<'_>, are_points: bool) -> Vec<String> {
    if !matches!(value.node(), Node::List(_)) {
        report.wrong::<()>(value, "allowed: a list of names");
    }
    let mut names: Vec<String> = Vec::new();
    for item in value.items() {
        let Some(name) = item.plain(report, "allowed: a name") else { continue };
        if are_points && Point::of_word(name).is_none() {
            report.wrong::<()>(&item, format_args!("allowed: {}", ticked(Point::ALL.map(Point::word))));
        } else if !is_name(name) {
            report.wrong::<()>(&item, "a name is 1 to 64 letters, digits, `_`, `.` or `-`, and starts with a letter or digit");
        } else if names.iter().any(|before| before == name) {
            report.wrong::<()>(&item, "it is there a second time");
        } else {
            names.push(name.to_owned());
        }
    }
    names
}

impl Manifest {
    /// What the plugin may do with these settings, each once.
    ///
    /// # Errors
    ///
    /// A setting that makes no permission: its name, and what is allowed.
    pub fn permissions(&self, settings: &Json) -> Result<Vec<Permission>, (String, String)> {
        let mut all = Vec::new();
        for wish in &self.permissions {
            match wish {
                Wish::Plain(permission) => all.push(permission.clone()),
                Wish::Setting { before, key, after } => {
                    let values: Vec<&Json> = match settings.get(key) {
                        Some(Json::Array(values)) => values.iter().collect(),
                        Some(Json::Object(values)) => values.values().collect(),
                        Some(value) => vec![value],
                        None => Vec::new(),
                    };
                    for value in values.into_iter().filter_map(Json::as_str) {
                        all.push(Permission::parse(&format!("{before}{value}{after}")).map_err(|rule| (key.clone(), rule))?);
                    }
                }
            }
        }
        all.sort();
        all.dedup();
        Ok(all)
    }
}
