//! `section3 self version`.

use crate::cli::exit;
use crate::cli::out::{Halt, Out};
use crate::value::json;
use crate::value::platform::TARGET;
use crate::wire::{Fault, FaultCode, ProgramReport};

/// Prints which program this file is. Asks nobody: an update runs this in a program that it has just downloaded.
///
/// # Errors
///
/// Why it cannot be written.
pub fn run(out: &mut Out, json: bool) -> Result<u8, Halt> {
    let report = ProgramReport {
        version: 1,
        product: env!("CARGO_PKG_NAME").to_owned(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        target: TARGET.unwrap_or_default().to_owned(),
    };
    if json {
        let text = json::to_string(&report)
            .map_err(|error| Fault::new(FaultCode::Internal, format!("cannot write the version as JSON: {error}")))?;
        out.document(&text)?;
    } else {
        let target = TARGET.map_or_else(String::new, |target| format!(" ({target})"));
        out.write(format!("{} {}{target}\n", report.product, report.release).as_bytes())?;
    }
    Ok(exit::DONE)
}
