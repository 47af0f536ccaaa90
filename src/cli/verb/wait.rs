//! `section3 wait`.

use std::time::Duration;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{Help, Verb};
use crate::control::client::call_for;
use crate::value::duration;
use crate::wire::request::{service, state};
use crate::wire::{FaultCode, Request, WaitReport, text};

#[derive(Args)]
pub struct Wait {
    /// Service
    name: String,
    /// State: stopped, waiting, starting, running, stopping, backoff, exited or failed
    #[arg(long = "for", value_name = "STATE")]
    state: String,
    /// Wait at most this long (for ever without it); exit 5 when it is over
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
}

impl Verb for Wait {
    const HELP: Help = Help {
        name: "wait",
        about: "Wait until a service is in a state",
        more: "",
        example: "section3 wait web --for running --timeout 30s",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let (name, state) = (service(&self.name)?, state(&self.state)?);
        let request = Request::Wait { name: name.clone(), state };
        let report: WaitReport = call_for(&context.places, &request, self.timeout).map_err(|fault| match fault.code {
            FaultCode::Timeout if self.timeout.is_some() => context
                .timed_out(&format!("{name} was not {state}"), std::slice::from_ref(&name), self.timeout)
                .with_hint(format!("`section3 tail {name}` shows its last lines")),
            _ => fault,
        })?;
        let paint = context.out.paint;
        context.out.write(text::wait(&report, paint).as_bytes())?;
        Ok(exit::DONE)
    }
}
