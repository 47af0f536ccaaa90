//! `section3 self version`. Asks nobody: an update runs this in a program that it has just downloaded.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{Help, Takes, Verb};
use crate::value::json;
use crate::value::platform::TARGET;
use crate::wire::{Fault, FaultCode, ProgramReport};

#[derive(Args)]
pub struct Version {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Verb for Version {
    const HELP: Help = Help {
        name: "version",
        about: "Print version and platform of this program file",
        more: "",
        example: "section3 self version --json",
    };
    const TAKES: Takes = Takes::NOTHING;

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let report = ProgramReport {
            version: 1,
            product: env!("CARGO_PKG_NAME").to_owned(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            target: TARGET.unwrap_or_default().to_owned(),
        };
        if self.json {
            let text = json::to_string(&report)
                .map_err(|error| Fault::new(FaultCode::Internal, format!("cannot write the version as JSON: {error}")))?;
            context.out.document(&text)?;
        } else {
            let target = TARGET.map_or_else(String::new, |target| format!(" ({target})"));
            context.out.write(format!("{} {}{target}\n", report.product, report.release).as_bytes())?;
        }
        Ok(exit::DONE)
    }
}
