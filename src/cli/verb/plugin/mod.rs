//! `section3 plugin ...`: what plugins there are, what they are, whether one is right, and new ones.

mod check;
mod list;
mod show;
mod write;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::Context;
use crate::cli::args::after;
use crate::cli::out::Halt;
use crate::config::plugin::{Found, Manifest, folder, judge};
use crate::spec::script::Origin;
use crate::value::nearest::nearest;
use crate::wire::{Fault, FaultCode, escape};

/// The commands behind `plugin`.
#[derive(Subcommand, Debug)]
#[command(subcommand_value_name = "COMMAND")]
#[allow(missing_docs, reason = "each help text below is the documentation")]
pub enum Plugin {
    /// Show the plugins that there are
    ///
    /// Those of the config, those beside it, those of the system and those in the binary: name, version, state, where it is.
    /// States: ready (the config's, `hook list` says how it is doing), withheld (it wants more than its entry allows), unused
    /// (not in the config).
    #[command(verbatim_doc_comment, after_help = after("section3 plugin list --json"))]
    List {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show what a plugin is, may do, registers and can be told
    #[command(verbatim_doc_comment, after_help = after("section3 plugin show webhook"))]
    Show {
        /// Plugin
        name: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Check a plugin, no supervisor needed
    ///
    /// Its manifest, its settings in the config (if it is there), and that init.lua loads and registers what the manifest
    /// promises. Exit 6 if something is wrong.
    #[command(verbatim_doc_comment, after_help = after("section3 plugin check ./plugins/mine"))]
    Check {
        /// Plugin, or the folder of one
        #[arg(value_name = "NAME|DIR")]
        plugin: String,
    },
    /// Write a new plugin that adds a check, a probe, a command and a restart policy
    ///
    /// Into plugins/NAME beside the config, or into DIR/NAME. Never overwrites: exit 1 if the folder exists.
    #[command(verbatim_doc_comment, after_help = after("section3 plugin new mine"))]
    New {
        /// Name of the plugin
        name: String,
        /// Where to; plugins/ beside the config without one
        dir: Option<PathBuf>,
    },
    /// Copy a plugin out of the binary, to change it
    ///
    /// Into plugins/NAME beside the config: from then on the copy is the plugin. Or into DIR/NAME, for an entry with `path:`.
    /// Never overwrites.
    #[command(verbatim_doc_comment, after_help = after("section3 plugin eject webhook"))]
    Eject {
        /// Plugin of the binary
        name: String,
        /// Where to; plugins/ beside the config without one
        dir: Option<PathBuf>,
    },
}

/// Does one of them; `config` is the supervisor's, `named` where the command line says so.
///
/// # Errors
///
/// Why it was not done.
pub fn run(context: Context<'_>, config: &Path, named: bool, asked: &Plugin) -> Result<u8, Halt> {
    match asked {
        Plugin::List { json } => list::run(context, config, *json),
        Plugin::Show { name, json } => show::run(context.out, config, name, *json),
        Plugin::Check { plugin } => check::run(context.out, config, plugin),
        Plugin::New { name, dir } => write::new(context.out, (config, named), name, dir.as_deref()),
        Plugin::Eject { name, dir } => write::eject(context.out, config, name, dir.as_deref()),
    }
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
