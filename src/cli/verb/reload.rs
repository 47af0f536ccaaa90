//! `section3 reload`.

use std::time::Duration;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{Help, Verb};
use crate::control::client::call_for;
use crate::value::duration;
use crate::wire::{FaultCode, ReloadReport, Request, text};

#[derive(Args)]
pub struct Reload {
    /// Print the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Restart running services whose definition changed
    #[arg(long)]
    apply: bool,
    /// Wait at most this long; exit 5 when it is over, the reload goes on
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
}

impl Verb for Reload {
    const HELP: Help = Help {
        name: "reload",
        about: "Read the config anew",
        more: "\
Checks everything first; on any error nothing changes (exit 6). Then removed services stop, new ones start,
running ones are left alone until their next restart. Exit 1 if a part failed.",
        example: "section3 reload --dry-run",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let request = Request::Reload { dry_run: self.dry_run, apply: self.apply };
        let report: ReloadReport = call_for(&context.places, &request, self.timeout).map_err(|fault| match fault.code {
            FaultCode::Timeout if self.timeout.is_some() => context
                .timed_out("the reload was not done", &[], self.timeout)
                .with_hint("the reload goes on; `section3 status` shows how far it is"),
            _ => fault,
        })?;
        context.out.write(text::reload(&report).as_bytes())?;
        Ok(if report.services.iter().all(|service| service.ok) { exit::DONE } else { exit::FAILED })
    }
}
