//! `section3 plugin show`.

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use serde_json::{Value as Json, json};

use super::{find, place};
use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::{Halt, Out};
use crate::cli::words::{Help, Takes, Verb};
use crate::config::plugin::schema::{Format, Kind, Range, Schema};
use crate::config::plugin::{Found, Manifest};
use crate::value::duration::Human;
use crate::wire::escape;

#[derive(Args)]
pub struct Ask {
    /// Plugin
    name: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Verb for Ask {
    const HELP: Help = Help {
        name: "show",
        about: "Show what a plugin is, may do, registers and can be told",
        more: "",
        example: "section3 plugin show webhook",
    };
    const TAKES: Takes = Takes::CONFIG;

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let config = context.config_or(None)?;
        show(context.out, &config, &self.name, self.json)
    }
}

/// Prints what a plugin is.
///
/// # Errors
///
/// That there is none, or what is wrong with it.
fn show(out: &mut Out, config: &Path, name: &str, json: bool) -> Result<u8, Halt> {
    let (found, manifest) = find(config, name, None)?;
    if json {
        out.document(&document(&found, &manifest).to_string())?;
    } else {
        out.write(escape::message(&page(&found, &manifest)).as_bytes())?;
    }
    Ok(exit::DONE)
}

fn document(found: &Found, manifest: &Manifest) -> Json {
    let settings: Vec<Json> = settings(&manifest.settings)
        .map(|(name, schema, is_required)| {
            let mut setting = json!({"name": name, "type": schema.kind.word(), "required": is_required});
            if let Kind::Text { format: Some(format), .. } = &schema.kind {
                setting["format"] = json!(format.word());
            }
            if let Some(default) = &schema.default {
                setting["default"] = default.clone();
            }
            if !schema.words.is_empty() {
                setting["enum"] = json!(schema.words);
            }
            if !schema.description.is_empty() {
                setting["description"] = json!(schema.description);
            }
            setting
        })
        .collect();
    json!({
        "version": 1,
        "plugin": {
            "name": manifest.name,
            "version": manifest.version,
            "summary": manifest.summary,
            "origin": found.origin,
            "shadowed": found.shadowed,
            "permissions": manifest.permissions.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "provides": manifest.provides,
            "settings": settings,
        }
    })
}

fn page(found: &Found, manifest: &Manifest) -> String {
    let mut page = format!("{} {}: {}\n", manifest.name, manifest.version, manifest.summary);
    let _ = writeln!(page, "from: {}", place(&found.origin));
    for hidden in &found.shadowed {
        let _ = writeln!(page, "hides: {}", place(hidden));
    }
    let permissions: Vec<String> = manifest.permissions.iter().map(ToString::to_string).collect();
    let _ = writeln!(page, "permissions: {}", if permissions.is_empty() { "none".to_owned() } else { permissions.join(", ") });
    let provides = &manifest.provides;
    for (word, names) in [
        ("handlers", &provides.handlers),
        ("checks", &provides.checks),
        ("probes", &provides.probes),
        ("commands", &provides.commands),
        ("decides", &provides.decides),
    ] {
        if !names.is_empty() {
            let _ = writeln!(page, "{word}: {}", names.join(", "));
        }
    }
    let mut settings = settings(&manifest.settings).peekable();
    if settings.peek().is_some() {
        page += "settings:\n";
    }
    for (name, schema, is_required) in settings {
        let default = match &schema.default {
            _ if is_required => ", required".to_owned(),
            Some(default) => format!(", default {}", written(schema, default)),
            None => String::new(),
        };
        let about = if schema.description.is_empty() { String::new() } else { format!(": {}", schema.description) };
        let _ = writeln!(page, "  {name} ({}{default}){about}", kind(schema));
    }
    page
}

/// The settings of a plugin, in the order of its manifest.
fn settings(schema: &Schema) -> impl Iterator<Item = (&str, &Schema, bool)> {
    let (fields, required): (&[(String, Schema)], &[String]) = match &schema.kind {
        Kind::Map { fields, required, .. } => (fields, required),
        _ => (&[], &[]),
    };
    fields.iter().map(|(name, schema)| (name.as_str(), schema, required.contains(name)))
}

/// A value as one would write it into the config.
fn written(schema: &Schema, value: &Json) -> String {
    match (&schema.kind, value.as_f64()) {
        (Kind::Text { format: Some(Format::Duration), .. }, Some(seconds)) => {
            Human(std::time::Duration::from_secs_f64(seconds)).to_string()
        }
        _ => value.to_string(),
    }
}

/// A type in words, with its bounds.
fn kind(schema: &Schema) -> String {
    let range = |range: Range| match (range.from, range.to) {
        (Some(from), Some(to)) => format!(" {from} to {to}"),
        (Some(from), None) => format!(" from {from}"),
        (None, Some(to)) => format!(" up to {to}"),
        (None, None) => String::new(),
    };
    if !schema.words.is_empty() {
        return schema
            .words
            .iter()
            .map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(" | ");
    }
    match &schema.kind {
        Kind::Text { format: Some(format), .. } => format.word().to_owned(),
        Kind::Text { .. } => "text".to_owned(),
        Kind::Integer(bounds) => format!("integer{}", range(*bounds)),
        Kind::Number(bounds) => format!("number{}", range(*bounds)),
        Kind::Truth => "true or false".to_owned(),
        Kind::List { items, .. } => format!("list of {}", kind(items)),
        Kind::Map { .. } => "map".to_owned(),
    }
}
