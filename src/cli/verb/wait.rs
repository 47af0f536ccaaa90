//! `section3 wait`.

use super::Context;
use crate::cli::args::Wait;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::control::client::call_for;
use crate::wire::request::{service, state};
use crate::wire::{FaultCode, Request, WaitReport, text};

/// Returns once a service is in a state.
///
/// # Errors
///
/// That the time is over, or why it cannot come about.
pub fn run(context: Context<'_>, asked: &Wait) -> Result<u8, Halt> {
    let (name, state) = (service(&asked.name)?, state(&asked.state)?);
    let request = Request::Wait { name: name.clone(), state };
    let report: WaitReport = call_for(&context.places, &request, asked.timeout).map_err(|fault| match fault.code {
        FaultCode::Timeout if asked.timeout.is_some() => context
            .timed_out(&format!("{name} was not {state}"), std::slice::from_ref(&name), asked.timeout)
            .with_hint(format!("`section3 tail {name}` shows its last lines")),
        _ => fault,
    })?;
    let paint = context.out.paint;
    context.out.write(text::wait(&report, paint).as_bytes())?;
    Ok(exit::DONE)
}
