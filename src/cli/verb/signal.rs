//! `section3 signal`.

use super::Context;
use crate::cli::args::Signal;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::control::client::{PATIENCE, call_for};
use crate::wire::request::{service, signal};
use crate::wire::{Request, text};

/// Has a signal sent.
///
/// # Errors
///
/// Why not.
pub fn run(context: Context<'_>, asked: &Signal) -> Result<u8, Halt> {
    let request = Request::Signal { name: service(&asked.name)?, signal: signal(&asked.signal)? };
    let report = call_for(&context.places, &request, Some(PATIENCE))?;
    context.out.write(text::signal(&report).as_bytes())?;
    Ok(exit::DONE)
}
