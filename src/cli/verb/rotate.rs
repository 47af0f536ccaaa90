//! `section3 rotate`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{Help, Verb};
use crate::control::client::{PATIENCE, call_for};
use crate::wire::request::some_logs;
use crate::wire::{Request, RotateReport, text};

#[derive(Args)]
pub struct Rotate {
    /// Services, or section3 for the supervisor's own log
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

impl Verb for Rotate {
    const HELP: Help = Help { name: "rotate", about: "Rotate logs now", more: "", example: "section3 rotate web" };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let request = Request::Rotate { logs: some_logs(&self.names)? };
        let report: RotateReport = call_for(&context.places, &request, Some(PATIENCE))?;
        let width = text::name_width(report.logs.iter().map(|log| log.name.as_str()));
        for result in &report.logs {
            let line = text::rotate(result, width);
            if result.ok { context.out.write(line.as_bytes())? } else { context.out.complain(&line) }
        }
        Ok(if report.logs.iter().all(|log| log.ok) { exit::DONE } else { exit::FAILED })
    }
}
