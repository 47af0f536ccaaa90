//! `section3 start`, `stop` and `restart`.

use std::time::Duration;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{Help, Verb};
use crate::control::client::{PATIENCE, call_for};
use crate::value::duration;
use crate::wire::request::order;
use crate::wire::{FaultCode, Order, OrderReport, Request, text};

#[derive(Args)]
pub struct Asked {
    /// Services
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,
    /// Every service
    #[arg(long)]
    all: bool,
    /// Return as soon as the order is accepted
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Wait at most this long (30s, 2m; for ever without it); exit 5 when it is over, the order goes on
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
}

#[derive(Args)]
pub struct Start {
    #[command(flatten)]
    asked: Asked,
}

impl Verb for Start {
    const HELP: Help = Help {
        name: "start",
        about: "Start services and wait until they run",
        more: "\
Dependencies are started first. Starts a service in backoff at once. A service that runs already is left alone
(exit 0). Waits until each is ready; exit 1 if one is not.",
        example: "section3 start web worker --timeout 30s",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        give(context, &self.asked, Request::Start)
    }
}

#[derive(Args)]
pub struct Stop {
    #[command(flatten)]
    asked: Asked,
}

impl Verb for Stop {
    const HELP: Help = Help {
        name: "stop",
        about: "Stop services and wait until they are gone",
        more: "\
Sends the stop signal and, after the service's stop_grace, SIGKILL. Stays stopped until `start`, also across a
reload. Services that depend on it are left alone and named.",
        example: "section3 stop web",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        give(context, &self.asked, Request::Stop)
    }
}

#[derive(Args)]
pub struct Restart {
    #[command(flatten)]
    asked: Asked,
}

impl Verb for Restart {
    const HELP: Help = Help {
        name: "restart",
        about: "Stop and start services and wait until they run",
        more: "\
A definition that a reload has changed takes effect here.",
        example: "section3 restart web",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        give(context, &self.asked, Request::Restart)
    }
}

/// Gives an order and says what became of it: what succeeded on standard output, what did not on standard error.
///
/// # Errors
///
/// Why it was not given, or that the time is over.
fn give(context: Context<'_>, asked: &Asked, request: fn(Order) -> Request) -> Result<u8, Halt> {
    let order = order(&asked.names, asked.all, !asked.no_wait)?;
    let names = order.names.clone();
    let patience = if asked.no_wait { Some(PATIENCE) } else { asked.timeout };
    let request = request(order);
    let op = request.op();
    let report: OrderReport = call_for(&context.places, &request, patience).map_err(|fault| match fault.code {
        FaultCode::Timeout if asked.timeout.is_some() => context
            .timed_out(&format!("{op} was not done"), &names, patience)
            .with_hint("the order goes on; `section3 status` shows how far it is"),
        _ => fault,
    })?;
    let width = text::name_width(report.services.iter().map(|result| result.name.as_str()));
    for result in &report.services {
        if result.ok {
            let line = text::order(op, result, width, context.out.paint);
            context.out.write(line.as_bytes())?;
        } else {
            context.out.complain(&text::order(op, result, width, text::Paint::Plain));
        }
    }
    Ok(if report.services.iter().all(|result| result.ok) { exit::DONE } else { exit::FAILED })
}
