//! `section3 self ...`: what is about the program and not about services.

use clap::Subcommand;

use super::Context;
use crate::cli::args::after;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::control::client::call_for;
use crate::wire::{ReexecReport, Request, text};

/// The commands behind `self`.
#[derive(Subcommand, Debug)]
#[command(subcommand_value_name = "COMMAND")]
pub enum Own {
    /// Make the running supervisor go on as the program that is on disk now
    ///
    /// With the same PID, also as PID 1; no service is stopped or signalled, no output is lost. The program on disk is tried
    /// on a copy of the state first: if it cannot take over, nothing changes, and the reason is told (exit 1). Returns when
    /// the new program is at work.
    #[command(verbatim_doc_comment, after_help = after("section3 self reexec"))]
    Reexec,
}

impl Own {
    /// Whether it talks to a supervisor.
    pub const fn takes_socket(&self) -> bool {
        match self {
            Self::Reexec => true,
        }
    }
}

/// Does one of them.
///
/// # Errors
///
/// Why it was not done.
pub fn run(context: Context<'_>, asked: &Own) -> Result<u8, Halt> {
    match asked {
        Own::Reexec => reexec(context),
    }
}

/// Has the running supervisor replaced, and says by what. Without a limit of its own: the supervisor's rehearsal has one.
///
/// # Errors
///
/// Why the old program goes on.
pub fn reexec(context: Context<'_>) -> Result<u8, Halt> {
    let report: ReexecReport = call_for(&context.places, &Request::Reexec, None)?;
    context.out.write(text::reexec(&report).as_bytes())?;
    Ok(exit::DONE)
}
