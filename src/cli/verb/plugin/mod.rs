//! `section3 plugin ...`: what plugins there are, what they are, whether one is right, and new ones.

mod check;
mod list;
mod show;
mod write;

use std::path::Path;

use crate::cli::words::{Entry, Group, Help, Takes};
use crate::config::plugin::{Found, Manifest, folder, judge};
use crate::spec::script::Origin;
use crate::value::nearest::nearest;
use crate::wire::{Fault, FaultCode, escape};

/// The commands behind `plugin`.
pub struct Plugin;

impl Group for Plugin {
    const HELP: Help = Help { name: "plugin", about: "See, check and write plugins", more: "", example: "section3 plugin list" };
    const TAKES: Takes = Takes::CONFIG;
    const TABLE: &'static [Entry] = &[
        Entry::verb::<list::Ask>(),
        Entry::verb::<show::Ask>(),
        Entry::verb::<check::Ask>(),
        Entry::verb::<write::New>(),
        Entry::verb::<write::Eject>(),
    ];
}

/// The folder that plugins lie beside.
fn folder_of(config: &Path) -> &Path {
    config.parent().unwrap_or(Path::new(""))
}

/// Where a plugin is, in words.
fn place(origin: &Origin) -> String {
    match origin {
        Origin::Folder(path) => path.display().to_string(),
        Origin::Binary => "binary".to_owned(),
    }
}

/// A plugin by its name, or at its `path:`, and its manifest.
fn find(config: &Path, name: &str, path: Option<&Path>) -> Result<(Found, Manifest), Fault> {
    let found = folder::find(name, path, folder_of(config));
    let found = found.map_err(|why| Fault::new(FaultCode::InvalidConfig, escape::message(&why)))?;
    let Some(found) = found else {
        let names = folder::names(folder_of(config));
        let fault = Fault::new(FaultCode::Failed, format!("no plugin `{}`", escape::message(name)));
        return Err(match nearest(name, names.iter().map(String::as_str)) {
            Some(meant) => fault.with_hint(format!("did you mean `{meant}`?")),
            None => fault.with_hint("`section3 plugin list` shows those that there are"),
        });
    };
    match judge(name, &found) {
        Ok(manifest) => Ok((found, manifest)),
        Err(problems) => Err(Fault::new(FaultCode::InvalidConfig, escape::message(&problems.to_string()))),
    }
}
