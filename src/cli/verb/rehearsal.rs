//! `section3 hook test` and `hook types`.

use std::path::Path;

use crate::cli::exit;
use crate::cli::hook::Test;
use crate::cli::out::{Halt, Out};
use crate::hooks::catalog::annotations;
use crate::hooks::rehearsal::{Plan, Sample, rehearse};
use crate::sys::words;
use crate::wire::{Fault, FaultCode, escape};

/// Rehearses a hook.
///
/// # Errors
///
/// Where the event cannot be made.
pub fn test(out: &mut Out, asked: Test) -> Result<u8, Halt> {
    let sample = Sample::new(&asked.event, asked.service, &asked.set).map_err(|what| Fault::new(FaultCode::Usage, what))?;
    let Test { file, repeat, every, reply: replies, live, seed, json, .. } = asked;
    let report = rehearse(Plan { file, sample, repeat, every, replies, live, seed });
    if json {
        out.document(&report.json().to_string())?;
    } else {
        for line in report.text().lines() {
            out.write(format!("{}\n", escape::message(line)).as_bytes())?;
        }
    }
    Ok(if report.problems.is_empty() { exit::DONE } else { exit::FAILED })
}

/// Prints or writes the annotations.
///
/// # Errors
///
/// Where the file cannot be written.
pub fn types(out: &mut Out, file: Option<&Path>) -> Result<u8, Halt> {
    let text = annotations();
    let Some(file) = file else {
        out.write(text.as_bytes())?;
        return Ok(exit::DONE);
    };
    std::fs::write(file, text)
        .map_err(|error| Fault::new(FaultCode::Failed, format!("cannot write {}: {}", file.display(), words::io(&error))))?;
    out.write(format!("wrote {}\n", file.display()).as_bytes())?;
    Ok(exit::DONE)
}
