//! The words of `hook`, `emit` and `x`.

use std::time::Duration;

use clap::{Args as Group, Subcommand};

use super::args::after;
use crate::value::duration;

#[derive(Group, Debug)]
pub struct Asked {
    /// What to do.
    #[command(subcommand)]
    pub verb: Hook,
}

#[derive(Subcommand, Debug)]
#[allow(missing_docs, reason = "each help text below is the documentation")]
pub enum Hook {
    /// Show hooks and plugins, and how their handlers are doing
    ///
    /// States: loaded, stale (a newer version could not be loaded), loading, failed, quarantined, disabled.
    #[command(verbatim_doc_comment, after_help = after("section3 hook list --json"))]
    List(List),
    /// Let a hook or plugin run again
    ///
    /// Also one that took the hook host down too often, and handlers that are paused.
    #[command(verbatim_doc_comment, after_help = after("section3 hook enable notify"))]
    Enable(Named),
    /// Keep a hook or plugin from running, also over reloads
    #[command(verbatim_doc_comment, after_help = after("section3 hook disable notify"))]
    Disable(Named),
}

impl Hook {
    /// Whether a supervisor is asked.
    #[must_use]
    pub const fn needs_supervisor(&self) -> bool {
        match self {
            Self::List(_) | Self::Enable(_) | Self::Disable(_) => true,
        }
    }
}

#[derive(Group, Debug)]
pub struct List {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Group, Debug)]
pub struct Named {
    /// Hook or plugin
    pub name: String,
}

#[derive(Group, Debug)]
pub struct Emit {
    /// Name of the event, without `custom.`
    pub name: String,
    /// Its data
    #[arg(value_name = "KEY=VALUE")]
    pub data: Vec<String>,
}

#[derive(Group, Debug)]
pub struct Call {
    /// Print one JSON document; before PLUGIN
    #[arg(long)]
    pub json: bool,
    /// Wait at most this long for the command; before PLUGIN
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "30s")]
    pub timeout: Duration,
    /// Plugin
    pub plugin: Option<String>,
    /// Command
    pub command: Option<String>,
    /// What the command takes
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}
