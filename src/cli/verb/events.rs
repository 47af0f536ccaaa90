//! `section3 events`.

use super::Context;
use crate::cli::args::Events;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::wire::{Request, escape, reply, text};

/// Prints events.
///
/// # Errors
///
/// Why not, or why it ended.
pub fn run(mut context: Context<'_>, asked: &Events) -> Result<u8, Halt> {
    let terminal = context.out.terminal;
    let request = Request::Events { lines: asked.lines, follow: asked.follow };
    context.stream(&request, asked.follow, |item, piece| {
        if !asked.json {
            piece.extend_from_slice(text::event(&reply::read(item)?).as_bytes());
        } else if terminal {
            piece.extend_from_slice(escape::one_line(item.get()).as_bytes());
            piece.push(b'\n');
        } else {
            piece.extend_from_slice(item.get().as_bytes());
            piece.push(b'\n');
        }
        Ok(())
    })?;
    Ok(exit::DONE)
}
