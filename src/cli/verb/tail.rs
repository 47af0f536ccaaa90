//! `section3 tail`.

use super::Context;
use crate::cli::args::Tail;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::wire::request::logs;
use crate::wire::text::TailText;
use crate::wire::{Request, TailItem, reply};

/// Prints lines of logs.
///
/// # Errors
///
/// Why not, or why it ended.
pub fn run(mut context: Context<'_>, asked: &Tail) -> Result<u8, Halt> {
    let logs = logs(&asked.names)?;
    let mut text = TailText::new(logs.len(), asked.follow, context.out.terminal && !asked.raw);
    let request = Request::Tail { logs, lines: asked.lines, follow: asked.follow };
    context.stream(&request, asked.follow, |item, piece| {
        text.write(&reply::read::<TailItem>(item)?, piece);
        Ok(())
    })?;
    Ok(exit::DONE)
}
