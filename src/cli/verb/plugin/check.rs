//! `section3 plugin check`.

use std::path::Path;

use clap::Args;

use super::{find, folder_of};
use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::{Halt, Out};
use crate::cli::words::{Help, Takes, Verb};
use crate::config;
use crate::config::plugin::{Found, Manifest, folder, judge, sample};
use crate::hooks::rehearsal::try_plugin;
use crate::spec::script::Plugin;
use crate::wire::{Fault, FaultCode, escape};

#[derive(Args)]
pub struct Ask {
    /// Plugin, or the folder of one
    #[arg(value_name = "NAME|DIR")]
    plugin: String,
}

impl Verb for Ask {
    const HELP: Help = Help {
        name: "check",
        about: "Check a plugin, no supervisor needed",
        more: "\
Its manifest, its settings in the config (if it is there), and that init.lua loads and registers what the manifest
promises. Exit 6 if something is wrong.",
        example: "section3 plugin check ./plugins/mine",
    };
    const TAKES: Takes = Takes::CONFIG;

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let config = context.config_or(None)?;
        check(context.out, &config, &self.plugin)
    }
}

/// Checks a plugin by its name or by its folder, and what the config says to it.
///
/// # Errors
///
/// What is wrong.
fn check(out: &mut Out, config: &Path, plugin: &str) -> Result<u8, Halt> {
    let (found, manifest) = if plugin.contains('/') { at(config, Path::new(plugin))? } else { find(config, plugin, None)? };
    let mut entry = "not in the config";
    let mut configured = None;
    if config.exists() && !plugin.contains('/') {
        let spec = config::load(config, &|name| std::env::var(name).ok())
            .map_err(|problems| Fault::new(FaultCode::InvalidConfig, escape::message(&problems.to_string())))?;
        if let Some(withheld) = spec.scripts.withheld.iter().find(|withheld| withheld.name == manifest.name) {
            return Err(Fault::new(FaultCode::InvalidConfig, escape::message(&withheld.to_string())).into());
        }
        if let Some(plugin) = spec.scripts.plugins.into_iter().find(|plugin| plugin.name == manifest.name) {
            entry = "its settings are good";
            configured = Some((plugin, spec.scripts.secrets));
        }
    }
    let wrong = |why: String| Fault::new(FaultCode::InvalidConfig, escape::message(&why));
    let tried = match configured {
        Some((plugin, secrets)) => try_plugin(plugin, secrets),
        // Some need more than the schema can say: `kind: telegram` a token, for instance.
        None => {
            let attempt = |is_whole| try_plugin(unconfigured(&found, &manifest, is_whole)?, crate::value::sorted::Map::new());
            attempt(false).or_else(|_| attempt(true))
        }
    };
    tried.map_err(wrong)?;
    out.write(format!("{}: valid, {entry}\n", escape::one_line(&found.file)).as_bytes())?;
    Ok(exit::DONE)
}

/// The plugin with made-up settings: what it registers does not depend on them, or its manifest could not tell.
fn unconfigured(found: &Found, manifest: &Manifest, is_whole: bool) -> Result<Plugin, String> {
    let settings = sample(&manifest.settings, is_whole);
    let permissions = manifest.permissions(&settings).map_err(|(key, rule)| format!("permissions: {key}: {rule}"))?;
    Ok(Plugin {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        origin: found.origin.clone(),
        permissions: permissions.iter().map(ToString::to_string).collect(),
        provides: manifest.provides.clone(),
        settings,
    })
}

/// The plugin in a folder, which is called like it.
fn at(config: &Path, dir: &Path) -> Result<(Found, Manifest), Fault> {
    let wrong = |why: &str| Fault::new(FaultCode::InvalidConfig, escape::message(why));
    let dir = std::path::absolute(dir).map_err(|error| wrong(&error.to_string()))?;
    let found = folder::find("", Some(&dir), folder_of(config)).map_err(|why| wrong(&why))?;
    let found = found.ok_or_else(|| wrong("there is nothing"))?;
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match judge(&name, &found) {
        Ok(manifest) => Ok((found, manifest)),
        Err(problems) => Err(wrong(&problems.to_string())),
    }
}
