//! One file a command: arguments in, a request out, its answer printed.

pub mod check;
pub mod completions;
pub mod demo;
pub mod events;
pub mod hook;
pub mod init;
pub mod itself;
pub mod manual;
pub mod order;
#[cfg(feature = "hooks")]
pub mod plugin;
#[cfg(feature = "hooks")]
pub mod rehearsal;
pub mod reload;
pub mod rotate;
pub mod signal;
pub mod status;
pub mod tail;
pub mod wait;

use std::time::Duration;

use super::out::{Halt, Out};
use crate::control::client::{Call, PATIENCE, call_for};
use crate::value::ServiceName;
use crate::value::duration::Human;
use crate::value::json::Raw;
use crate::value::paths::Places;
use crate::wire::{Fault, FaultCode, Reply, Request, State, StatusReport};

/// After a time-out for a look at how things are: whoever set a limit does not wait for a supervisor that is stopped.
const LOOK: Duration = Duration::from_millis(500);
/// Services that a time-out names; of more it says how many.
const MOST_NAMED: usize = 8;

/// What a command that talks to the supervisor needs.
pub struct Context<'a> {
    /// Where it may listen.
    pub places: Places,
    /// Where the words go.
    pub out: &'a mut Out,
}

/// Pieces of a stream are written together up to about this many bytes: a long log is one write for many lines.
const PIECE: usize = 32 << 10;

impl Context<'_> {
    /// Asks for a stream and writes each item as `show` puts it; what is there at once is written at once.
    fn stream(
        &mut self,
        request: &Request,
        follow: bool,
        mut show: impl FnMut(&Raw, &mut Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(), Halt> {
        let patience = (!follow).then_some(PATIENCE);
        let mut call = Call::send(&self.places, request, patience)?;
        let mut piece = Vec::new();
        loop {
            if follow && !call.has_more() {
                self.out.wait_for(call.source())?;
            }
            let reply = call.receive();
            if let Ok(Reply::Item(item)) = &reply {
                show(item, &mut piece)?;
                if call.has_more() && piece.len() < PIECE {
                    continue;
                }
            }
            self.out.write(&piece)?;
            piece.clear();
            match reply? {
                Reply::Item(_) => {}
                Reply::Done(_) => return Ok(()),
                Reply::Fault(fault) => return Err(fault.into()),
            }
        }
    }

    /// What a time-out means for an operator: what was waited for, and how things are now.
    fn timed_out(&self, what: &str, names: &[ServiceName], patience: Option<Duration>) -> Fault {
        let names = names.to_vec();
        let now = call_for::<StatusReport>(&self.places, &Request::Status { names }, Some(LOOK));
        let states = now.map_or_else(
            |_| String::new(),
            |report| {
                let moves = |state| matches!(state, State::Waiting | State::Starting | State::Stopping | State::Backoff);
                // Of many those that are still on their way; what was asked for of one is in its name.
                let several = report.services.len() > 1 && report.services.iter().any(|service| moves(service.state));
                let left = report.services.iter().filter(|service| !several || moves(service.state));
                let states: Vec<_> = left.map(|service| format!("{} is {}", service.name, service.state)).collect();
                let more =
                    if states.len() > MOST_NAMED { format!(" and {} more", states.len() - MOST_NAMED) } else { String::new() };
                format!(": {}{more}", states[..states.len().min(MOST_NAMED)].join(", "))
            },
        );
        let patience = patience.unwrap_or(PATIENCE);
        Fault::new(FaultCode::Timeout, format!("{what} within {}{states}", Human(patience)))
    }
}
