//! The words of `hook`, `emit` and `x`.

#[cfg(feature = "hooks")]
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Subcommand};

use super::args::after;
#[cfg(feature = "hooks")]
use crate::hooks::rehearsal::{MAX_EVENTS, Reply};
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
    /// Run a hook on made-up events, no supervisor needed
    ///
    /// What it does is printed in order instead of done, and the clock jumps to whatever is due next. Exit 1 when its handler
    /// failed or would have been killed.
    #[cfg(feature = "hooks")]
    #[command(verbatim_doc_comment, after_help = after("section3 hook test hooks/notify-sidecar.lua --event crash --set data.code=78"))]
    Test(Test),
    /// Print annotations of the Lua API, for editors
    #[cfg(feature = "hooks")]
    #[command(verbatim_doc_comment, after_help = after("section3 hook types --out section3.d.lua"))]
    Types(Types),
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

#[cfg(feature = "hooks")]
#[derive(Group, Debug)]
pub struct Test {
    /// Lua file
    pub file: PathBuf,
    /// Event: its type, such as crash or custom.deploy
    #[arg(long, value_name = "TYPE")]
    pub event: String,
    /// Service of the event; web without it
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Set a field of the event: data.code=1, severity=error
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Events in all
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_EVENTS)))]
    pub repeat: u32,
    /// Time between two events
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "0s")]
    pub every: Duration,
    /// Answers, in order: 'POST api.example.net=503,429:7,200', 'GET unix:*=refused', 'exec gzip=1'
    #[arg(long, value_name = "WHOM=ANSWERS", value_parser = Reply::parse)]
    pub reply: Vec<Reply>,
    /// Do everything for real, but for what would be asked of the supervisor
    #[arg(long)]
    pub live: bool,
    /// The same seed gives the same output
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[cfg(feature = "hooks")]
#[derive(Group, Debug)]
pub struct Types {
    /// Write to this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
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
