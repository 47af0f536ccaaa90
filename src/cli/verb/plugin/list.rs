//! `section3 plugin list`.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::{find, folder_of, place};
use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{Help, Takes, Verb};
use crate::config::{self, plugin::folder};
use crate::spec::script::{Origin, Provides};
use crate::value::json;
use crate::wire::{Fault, FaultCode, escape};

#[derive(Args)]
pub struct Ask {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Verb for Ask {
    const HELP: Help = Help {
        name: "list",
        about: "Show the plugins that there are",
        more: "\
Those of the config, those beside it, those of the system and those in the binary: name, version, state, where it is.
States: ready (the config's, `hook list` says how it is doing), withheld (it wants more than its entry allows), unused
(not in the config).",
        example: "section3 plugin list --json",
    };
    const TAKES: Takes = Takes::CONFIG;

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let config = context.config_or(None)?;
        list(context, &config, self.json)
    }
}

/// What `plugin list --json` prints.
#[derive(Serialize)]
struct List {
    version: u32,
    plugins: Vec<Line>,
}

/// One plugin.
#[derive(Serialize)]
pub struct Line {
    name: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shadowed: Vec<Origin>,
    permissions: Vec<String>,
    provides: Provides,
    /// Why it is in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Prints the plugins, those of the config first.
///
/// # Errors
///
/// What is wrong with the config.
fn list(context: Context<'_>, config: &Path, json: bool) -> Result<u8, Halt> {
    // Without a config there are still those that one could name.
    let spec = match config.exists() {
        true => config::load(config, &|name| std::env::var(name).ok())
            .map_err(|problems| Fault::new(FaultCode::InvalidConfig, escape::message(&problems.to_string())))?,
        false => crate::spec::Spec::default(),
    };
    let mut lines: Vec<Line> = Vec::new();
    for plugin in spec.scripts.plugins {
        let path = if let Origin::Folder(path) = &plugin.origin { Some(path.as_path()) } else { None };
        let mut line = line(config, plugin.name, "ready", path);
        (line.permissions, line.provides) = (plugin.permissions, plugin.provides);
        lines.push(line);
    }
    for withheld in spec.scripts.withheld {
        let message = withheld.to_string();
        lines.push(Line { message: Some(message), ..line(config, withheld.name, "withheld", None) });
    }
    for name in folder::names(folder_of(config)) {
        if !lines.iter().any(|line| line.name == name) {
            lines.push(line(config, name, "unused", None));
        }
    }
    if json {
        let text = json::to_string(&List { version: 1, plugins: lines });
        let text = text.map_err(|error| Fault::new(FaultCode::Internal, format!("cannot write the list as JSON: {error}")))?;
        context.out.document(&text)?;
    } else {
        context.out.write(table(&lines).as_bytes())?;
    }
    Ok(exit::DONE)
}

/// What can be said of a plugin without its entry.
fn line(config: &Path, name: String, state: &str, path: Option<&Path>) -> Line {
    let mut line = Line {
        name,
        state: state.to_owned(),
        version: None,
        summary: None,
        origin: None,
        shadowed: Vec::new(),
        permissions: Vec::new(),
        provides: Provides::default(),
        message: None,
    };
    match find(config, &line.name, path) {
        Ok((found, manifest)) => {
            line.permissions = manifest.permissions.iter().map(ToString::to_string).collect();
            (line.version, line.summary, line.provides) = (Some(manifest.version), Some(manifest.summary), manifest.provides);
            line.shadowed = found.shadowed.into_iter().chain(hidden(config, &line.name, path)).collect();
            line.origin = Some(found.origin);
        }
        Err(fault) => line.message = Some(fault.message),
    }
    line
}

/// What a plugin at a `path:` hides: all of the same name elsewhere.
fn hidden(config: &Path, name: &str, path: Option<&Path>) -> Vec<Origin> {
    let Some(path) = path else { return Vec::new() };
    let named = folder::find(name, None, folder_of(config)).ok().flatten();
    let all = named.into_iter().flat_map(|found| std::iter::once(found.origin).chain(found.shadowed));
    all.filter(|origin| *origin != Origin::Folder(path.to_owned())).collect()
}

fn table(lines: &[Line]) -> String {
    let cells: Vec<[String; 5]> = lines
        .iter()
        .map(|line| {
            let text = |text: &Option<String>| escape::one_line(text.as_deref().unwrap_or("-")).into_owned();
            let about = if line.message.is_some() { &line.message } else { &line.summary };
            let place = line.origin.as_ref().map(place);
            [line.name.clone(), text(&line.version), line.state.clone(), text(&place), text(about)]
        })
        .collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..4).map(width).collect();
    let mut out = String::new();
    for row in &cells {
        for (cell, width) in row.iter().zip(&widths) {
            out += &format!("{cell:width$}  ");
        }
        out += &row[4];
        out.push('\n');
    }
    out
}
