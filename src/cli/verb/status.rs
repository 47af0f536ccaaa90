//! `section3 status`.

use super::Context;
use crate::cli::args::Status;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::control::client::{PATIENCE, call};
use crate::wire::request::services;
use crate::wire::{Request, reply, text};

/// Shows how services are.
///
/// # Errors
///
/// Why not.
pub fn run(context: Context<'_>, asked: &Status) -> Result<u8, Halt> {
    let request = Request::Status { names: services(&asked.names)? };
    let data = call(&context.places, &request, Some(PATIENCE))?;
    if asked.json {
        // As it came: a newer supervisor may say more than this client knows.
        context.out.document(data.get())?;
    } else {
        let paint = context.out.paint;
        context.out.write(text::status(&reply::read(&data)?, paint).as_bytes())?;
    }
    Ok(exit::DONE)
}
