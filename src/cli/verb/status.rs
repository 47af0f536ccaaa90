//! `section3 status`.

use super::Context;
use crate::cli::args::Status;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::control::client::{PATIENCE, call};
use crate::value::Version;
use crate::wire::request::services;
use crate::wire::{Request, StatusReport, reply, text};

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
        let report: StatusReport = reply::read(&data)?;
        let mut said = text::status(&report, paint);
        said.extend(newer_on_disk(&report.supervisor.version, env!("CARGO_PKG_VERSION")));
        context.out.write(said.as_bytes())?;
    }
    Ok(exit::DONE)
}

/// This client is the program on disk: whether that is newer than the supervisor, in a line that names the next command.
fn newer_on_disk(running: &str, own: &str) -> Option<String> {
    let (running, own) = (Version::parse(running).ok()?, Version::parse(own).ok()?);
    (own > running).then(|| {
        format!("section3 {own} is installed, the supervisor runs {running}; `section3 self reexec` makes it run the new one\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_program_on_disk_is_said() {
        assert_eq!(
            newer_on_disk("0.9.1", "0.10.0").as_deref(),
            Some("section3 0.10.0 is installed, the supervisor runs 0.9.1; `section3 self reexec` makes it run the new one\n")
        );
        for (running, own) in [("0.1.0", "0.1.0"), ("0.2.0", "0.1.0"), ("dev", "0.1.0"), ("\u{1b}[2J", "0.1.0")] {
            assert_eq!(newer_on_disk(running, own), None);
        }
    }
}
