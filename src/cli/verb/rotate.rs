//! `section3 rotate`.

use super::Context;
use crate::cli::args::Rotate;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::control::client::{PATIENCE, call_for};
use crate::wire::request::some_logs;
use crate::wire::{Request, RotateReport, text};

/// Has logs rotated and says what became of it.
///
/// # Errors
///
/// Why nothing was tried.
pub fn run(context: Context<'_>, asked: &Rotate) -> Result<u8, Halt> {
    let request = Request::Rotate { logs: some_logs(&asked.names)? };
    let report: RotateReport = call_for(&context.places, &request, Some(PATIENCE))?;
    let width = text::name_width(report.logs.iter().map(|log| log.name.as_str()));
    for result in &report.logs {
        let line = text::rotate(result, width);
        if result.ok { context.out.write(line.as_bytes())? } else { context.out.complain(&line) }
    }
    Ok(if report.logs.iter().all(|log| log.ok) { exit::DONE } else { exit::FAILED })
}
