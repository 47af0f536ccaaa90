//! `section3 self reexec`.

use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::verb::Context;
use crate::control::client::call_for;
use crate::wire::{ReexecReport, Request, text};

/// Has the running supervisor replaced, and says by what. Without a limit of its own: the supervisor's rehearsal has one.
///
/// # Errors
///
/// Why the old program goes on.
pub fn run(context: Context<'_>) -> Result<u8, Halt> {
    let report: ReexecReport = call_for(&context.places, &Request::Reexec, None)?;
    context.out.write(text::reexec(&report).as_bytes())?;
    Ok(exit::DONE)
}
