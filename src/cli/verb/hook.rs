//! `section3 hook list`, `hook enable`, `hook disable`, `emit` and `x`.

use std::time::Duration;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{Entry, Group, Help, Verb};
use crate::control::client::{PATIENCE, call_for};
use crate::value::duration;
use crate::wire::request::{self, HookOrder};
use crate::wire::{Request, hooks};

/// The commands behind `hook`.
pub struct Hook;

impl Group for Hook {
    const HELP: Help = Help {
        name: "hook",
        about: "Show hooks and plugins, switch them off and on",
        more: "",
        example: "section3 hook list --json",
    };
    const TABLE: &'static [Entry] = &[
        Entry::verb::<List>(),
        Entry::verb::<Enable>(),
        Entry::verb::<Disable>(),
        #[cfg(feature = "hooks")]
        Entry::verb::<super::rehearsal::Test>(),
        #[cfg(feature = "hooks")]
        Entry::verb::<super::rehearsal::Types>(),
    ];
}

#[derive(Args)]
struct List {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Verb for List {
    const HELP: Help = Help {
        name: "list",
        about: "Show hooks and plugins, and how their handlers are doing",
        more: "\
States: loaded, stale (a newer version could not be loaded), loading, failed, quarantined, disabled.",
        example: "section3 hook list --json",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        context.show(&Request::Hook(HookOrder::List), PATIENCE, self.json, hooks::list)
    }
}

#[derive(Args)]
struct Enable {
    /// Hook or plugin
    name: String,
}

impl Verb for Enable {
    const HELP: Help = Help {
        name: "enable",
        about: "Let a hook or plugin run again",
        more: "\
Also one that took the hook host down too often, and handlers that are paused.",
        example: "section3 hook enable notify",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        switch(context, HookOrder::Enable { name: self.name })
    }
}

#[derive(Args)]
struct Disable {
    /// Hook or plugin
    name: String,
}

impl Verb for Disable {
    const HELP: Help = Help {
        name: "disable",
        about: "Keep a hook or plugin from running, also over reloads",
        more: "",
        example: "section3 hook disable notify",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        switch(context, HookOrder::Disable { name: self.name })
    }
}

fn switch(context: Context<'_>, order: HookOrder) -> Result<u8, Halt> {
    let report = call_for(&context.places, &Request::Hook(order), Some(PATIENCE))?;
    context.out.write(hooks::switch(&report).as_bytes())?;
    Ok(exit::DONE)
}

#[derive(Args)]
pub struct Emit {
    /// Name of the event, without `custom.`
    name: String,
    /// Its data
    #[arg(value_name = "KEY=VALUE")]
    data: Vec<String>,
}

impl Verb for Emit {
    const HELP: Help = Help {
        name: "emit",
        about: "Bring an event about, for hooks and whoever else listens",
        more: "\
The event is custom.NAME. A value that is a number, true or false is one; everything else is text. At most 16 KiB.",
        example: "section3 emit deploy version=1.4.2 canary=true",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let request = Request::Emit { data: request::pairs(&self.data)?, name: self.name };
        let report = call_for(&context.places, &request, Some(PATIENCE))?;
        context.out.write(hooks::emit(&report).as_bytes())?;
        Ok(exit::DONE)
    }
}

#[derive(Args)]
pub struct X {
    /// Print one JSON document; before PLUGIN
    #[arg(long)]
    json: bool,
    /// Wait at most this long for the command; before PLUGIN
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "30s")]
    timeout: Duration,
    /// Plugin
    plugin: Option<String>,
    /// Command
    command: Option<String>,
    /// What the command takes
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

impl Verb for X {
    const HELP: Help = Help {
        name: "x",
        about: "Call a command of a plugin",
        more: "\
Without a command it lists those of the plugin, without a plugin those of all.",
        example: "section3 x logship retry",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let Self { json, timeout, plugin, command, args } = self;
        let is_call = command.is_some();
        let request = Request::Plugin(request::plugin_call(plugin, command, args, duration::millis(timeout))?);
        // The supervisor tells when the time is over; this is for one that does not answer at all.
        let patience = timeout + PATIENCE;
        if is_call {
            context.show(&request, patience, json, hooks::command)
        } else {
            context.show(&request, patience, json, hooks::commands)
        }
    }
}
