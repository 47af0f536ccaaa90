//! `section3 start`, `stop` and `restart`.

use super::Context;
use crate::cli::args::Order as Asked;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::control::client::{PATIENCE, call_for};
use crate::wire::request::order;
use crate::wire::{FaultCode, Order, OrderReport, Request, text};

/// Gives an order and says what became of it: what succeeded on standard output, what did not on standard error.
///
/// # Errors
///
/// Why it was not given, or that the time is over.
pub fn run(context: Context<'_>, asked: &Asked, request: fn(Order) -> Request) -> Result<u8, Halt> {
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
