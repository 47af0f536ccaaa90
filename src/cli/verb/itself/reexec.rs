//! `section3 self reexec`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{Help, Verb};
use crate::control::client::call_for;
use crate::wire::{ReexecReport, Request, text};

#[derive(Args)]
pub struct Reexec {}

impl Verb for Reexec {
    const HELP: Help = Help {
        name: "reexec",
        about: "Make the running supervisor go on as the program that is on disk now",
        more: "\
With the same PID, also as PID 1; no service is stopped or signalled, no output is lost. The program on disk is tried
on a copy of the state first: if it cannot take over, nothing changes, and the reason is told (exit 1). Returns when
the new program is at work.",
        example: "section3 self reexec",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        // Without a limit of its own: the supervisor's rehearsal has one.
        let report: ReexecReport = call_for(&context.places, &Request::Reexec, None)?;
        context.out.write(text::reexec(&report).as_bytes())?;
        Ok(exit::DONE)
    }
}
