//! `plugins:`: each entry's plugin found, its manifest read, its settings checked and its wishes compared with what it is allowed.
//!
//! Reads files, as the reading of the config itself does: at the start and off the event loop at a reload. Runs nothing.

pub mod boxed;
pub mod folder;
pub mod manifest;
mod sample;
pub mod schema;
mod settings;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use folder::Found;
pub use manifest::Manifest;
pub use sample::sample;

use super::element::hooks::is_name;
use super::problem::Problems;
use super::reader::{Report, Spot, Value, shown};
use super::tree::Node;
use crate::spec::Permission;
use crate::spec::script::{Origin, Plugin, Withheld};
use settings::Secrets;

/// An entry that is good, with the place of its key.
#[derive(Debug)]
pub enum Entry {
    /// It is loaded.
    Loaded(Box<Plugin>, Spot),
    /// It wants more than it is allowed.
    Withheld(Withheld, Spot),
    /// `enabled: false`.
    Disabled(String, Spot),
}

/// Reads `plugins:`; what is wrong is noted, there or in the manifests.
pub fn read(value: &Value<'_>, report: &mut Report<'_>, secrets: Secrets<'_>) -> Vec<Entry> {
    let rule = "allowed: a map of plugins and their settings, such as `{webhook: {url: \"http://127.0.0.1:9100/\"}}`";
    let entries = value.entries(report, rule).unwrap_or_default();
    entries.iter().filter_map(|(name, value)| entry(name, value, report, secrets)).collect()
}

/// The keys that every entry may have.
#[derive(Default)]
struct Reserved {
    allow: Vec<Permission>,
    path: Option<PathBuf>,
    is_disabled: bool,
}

fn entry(name: &str, value: &Value<'_>, report: &mut Report<'_>, secrets: Secrets<'_>) -> Option<Entry> {
    let before = report.count();
    if !is_name(name) || name.contains('.') {
        let rule = "a plugin's name is 1 to 64 letters, digits, `_` or `-`, and starts with a letter or digit";
        report.note(value.key_spot(), format!("found the name `{}`; {rule}", shown(name)), None);
        return None;
    }
    let reserved = reserved(value, report);
    if reserved.is_disabled {
        return (report.count() == before).then(|| Entry::Disabled(name.to_owned(), value.key_spot()));
    }
    let (found, manifest) = find(name, value, &reserved, report)?;
    let settings = settings::of_entry(value, &manifest.settings, report, secrets)?;
    if report.count() > before {
        return None;
    }
    let wanted = match manifest.permissions(&settings) {
        Ok(wanted) => wanted,
        Err((key, rule)) => {
            report.note(value.key_spot(), format!("`{key}` makes no permission; {rule}"), None);
            return None;
        }
    };
    let is_granted = |wish: &Permission| reserved.allow.iter().any(|allowed| allowed.covers(wish));
    let words = |permissions: &[&Permission]| permissions.iter().map(ToString::to_string).collect::<Vec<_>>();
    // Those in the binary are as trusted as the binary.
    let missing: Vec<&Permission> =
        if found.origin == Origin::Binary { Vec::new() } else { wanted.iter().filter(|wish| !is_granted(wish)).collect() };
    if !missing.is_empty() {
        let allow: Vec<&Permission> = reserved.allow.iter().chain(missing.iter().copied()).collect();
        let withheld = Withheld { name: name.to_owned(), missing: words(&missing), allow: words(&allow) };
        return Some(Entry::Withheld(withheld, value.key_spot()));
    }
    let plugin = Plugin {
        name: name.to_owned(),
        version: manifest.version,
        origin: found.origin,
        permissions: wanted.iter().map(ToString::to_string).collect(),
        provides: manifest.provides,
        settings,
    };
    Some(Entry::Loaded(Box::new(plugin), value.key_spot()))
}

fn reserved(value: &Value<'_>, report: &mut Report<'_>) -> Reserved {
    let mut reserved = Reserved::default();
    // What is no map, and a key that is there twice, is said when the settings are read.
    let Node::Map(_) = value.node() else { return reserved };
    for value in value.fields_named(&schema::RESERVED) {
        match value.key() {
            "allow" => reserved.allow = allowed(&value, report),
            "path" => reserved.path = value.path_value(report).map(|path| report.beside_config(path)),
            _ => reserved.is_disabled = value.truth(report) == Some(false),
        }
    }
    reserved
}

fn allowed(value: &Value<'_>, report: &mut Report<'_>) -> Vec<Permission> {
    let rule = "allowed: a list of permissions such as `[\"http:hooks.example.net\", \"services:read\"]`";
    if !matches!(value.node(), Node::List(_)) {
        report.wrong::<()>(value, rule);
    }
    value.items().filter_map(|item| item.parsed(report, rule, Permission::parse)).collect()
}

/// Finds the plugin and reads its manifest; what is wrong is noted here or there.
fn find(name: &str, value: &Value<'_>, reserved: &Reserved, report: &mut Report<'_>) -> Option<(Found, Manifest)> {
    let found = match folder::find(name, reserved.path.as_deref(), report.folder()) {
        Ok(Some(found)) => found,
        Ok(None) => {
            let names = folder::names(report.folder());
            let meant = report.meant(name, names.iter().map(String::as_str)).map(str::to_owned);
            let message = format!(
                "found `{}`; no such plugin in `plugins/` beside the config, in {} and in the binary",
                shown(name),
                folder::SYSTEM
            );
            report.note(value.key_spot(), message, meant.as_deref());
            return None;
        }
        Err(why) => {
            report.note(value.key_spot(), why, None);
            return None;
        }
    };
    match judge(name, &found) {
        Ok(manifest) => Some((found, manifest)),
        Err(problems) => {
            report.elsewhere(problems);
            None
        }
    }
}

/// Reads the manifest of a plugin that was found under this name.
///
/// # Errors
///
/// What is wrong with it.
pub fn judge(name: &str, found: &Found) -> Result<Manifest, Problems> {
    let manifest = manifest::parse(&found.text, &found.file)?;
    if manifest.name != name {
        let message = format!("found the name `{}`; its folder and its entry call it `{name}`", shown(&manifest.name));
        return Err(Problems::of_file(&found.file, message));
    }
    if let Origin::Folder(place) = &found.origin
        && !place.join("init.lua").is_file()
    {
        return Err(Problems::of_file(&found.file, "there is no `init.lua` beside it".to_owned()));
    }
    Ok(manifest)
}
