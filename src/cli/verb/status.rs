//! `section3 status`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::out::Halt;
use crate::cli::words::{Help, Verb};
use crate::control::client::PATIENCE;
use crate::value::Version;
use crate::wire::request::services;
use crate::wire::{Request, StatusReport, text};

#[derive(Args)]
pub struct Status {
    /// Services; all without one
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Verb for Status {
    const HELP: Help = Help {
        name: "status",
        about: "Show how services are, one line each",
        more: "\
Shows name, state and what matters in that state; of every service without a name. States: stopped, waiting,
starting, running, stopping, backoff, exited, failed.",
        example: "section3 status web --json",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let request = Request::Status { names: services(&self.names)? };
        let paint = context.out.paint;
        context.show(&request, PATIENCE, self.json, |report: &StatusReport| {
            let newer = newer_on_disk(&report.supervisor.version, env!("CARGO_PKG_VERSION"));
            text::status(report, paint) + newer.as_deref().unwrap_or_default()
        })
    }
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
