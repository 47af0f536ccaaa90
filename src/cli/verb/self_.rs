//! `section3 self ...`: what is about the program and not about services.

#[cfg(feature = "update")]
mod rollback;
#[cfg(feature = "update")]
mod update;
mod version;

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
    /// Print version and platform of this program file
    #[command(verbatim_doc_comment, after_help = after("section3 self version --json"))]
    Version {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Install the newest release in the place of this program file
    ///
    /// Downloads it, verifies its signature, runs it once and exchanges the file in one step; the old one is kept as
    /// section3.prev. A running supervisor goes on with the old one. Where releases come from and whose keys are
    /// trusted is built in, or set by root in /etc/section3/release.yml (`url:` and `keys:`).
    #[cfg(feature = "update")]
    #[command(verbatim_doc_comment, after_help = after("section3 self update --check"))]
    Update(update::Update),
    /// Exchange this program file and section3.prev, without network
    ///
    /// Refuses a copy that is not what was installed before. Twice is back again.
    #[cfg(feature = "update")]
    #[command(verbatim_doc_comment, after_help = after("section3 self rollback"))]
    Rollback,
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
        !matches!(self, Self::Version { .. })
    }
}

/// Does one of them.
///
/// # Errors
///
/// Why it was not done.
pub fn run(context: Context<'_>, asked: &Own) -> Result<u8, Halt> {
    match asked {
        Own::Version { json } => version::run(context.out, *json),
        #[cfg(feature = "update")]
        Own::Update(asked) => update::run(context, asked),
        #[cfg(feature = "update")]
        Own::Rollback => rollback::run(context),
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
