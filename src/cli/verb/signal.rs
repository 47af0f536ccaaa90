//! `section3 signal`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{Help, Verb};
use crate::control::client::{PATIENCE, call_for};
use crate::wire::request::{service, signal};
use crate::wire::{Request, text};

#[derive(Args)]
pub struct Signal {
    /// Service
    name: String,
    /// Signal: HUP, SIGHUP, 1, RTMIN+3
    signal: String,
}

impl Verb for Signal {
    const HELP: Help = Help {
        name: "signal",
        about: "Send a signal to the main process of a service",
        more: "\
Only to that process, not to its group. Exit 1 if the service has no process.",
        example: "section3 signal web HUP",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let request = Request::Signal { name: service(&self.name)?, signal: signal(&self.signal)? };
        let report = call_for(&context.places, &request, Some(PATIENCE))?;
        context.out.write(text::signal(&report).as_bytes())?;
        Ok(exit::DONE)
    }
}
