//! `section3 reload`.

use super::Context;
use crate::cli::args::Reload;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::control::client::call_for;
use crate::wire::{FaultCode, ReloadReport, Request, text};

/// Has the config read anew and says what was done.
///
/// # Errors
///
/// Why nothing was changed, or that the time is over.
pub fn run(context: Context<'_>, asked: &Reload) -> Result<u8, Halt> {
    let request = Request::Reload { dry_run: asked.dry_run, apply: asked.apply };
    let report: ReloadReport = call_for(&context.places, &request, asked.timeout).map_err(|fault| match fault.code {
        FaultCode::Timeout if asked.timeout.is_some() => context
            .timed_out("the reload was not done", &[], asked.timeout)
            .with_hint("the reload goes on; `section3 status` shows how far it is"),
        _ => fault,
    })?;
    context.out.write(text::reload(&report).as_bytes())?;
    Ok(if report.services.iter().all(|service| service.ok) { exit::DONE } else { exit::FAILED })
}
