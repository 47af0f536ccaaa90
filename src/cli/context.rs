//! What commands work with, and how they ask the supervisor.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::exit;
use super::out::{Halt, Out};
use crate::control::client::{Call, PATIENCE, call, call_for_much};
use crate::daemon::DaemonArgs;
use crate::value::ServiceName;
use crate::value::duration::Human;
use crate::value::json::Raw;
use crate::value::paths::{Places, Surroundings};
use crate::wire::{Fault, FaultCode, Reply, Request, State, StatusReport};

/// After a time-out for a look at how things are: whoever set a limit does not wait for a supervisor that is stopped.
const LOOK: Duration = Duration::from_millis(500);
/// Services that a time-out names; of more it says how many.
const MOST_NAMED: usize = 8;

/// What commands work with.
pub struct Context<'a> {
    /// Where the supervisor may listen.
    pub places: Places,
    /// The config that the command line names.
    pub config: Option<PathBuf>,
    /// What says where it is without.
    pub around: Surroundings<'a>,
    /// Where the words go.
    pub out: &'a mut Out,
    /// The supervisor itself; its exit code.
    pub supervise: fn(DaemonArgs) -> u8,
}

/// Pieces of a stream are written together up to about this many bytes: a long log is one write for many lines.
const PIECE: usize = 32 << 10;

impl Context<'_> {
    /// The supervisor's config, or the file that the command names instead.
    pub fn config_or(&self, file: Option<PathBuf>) -> Result<PathBuf, Fault> {
        if file.is_some() && self.config.is_some() {
            return Err(Fault::new(FaultCode::Usage, "FILE and `--config` both name the config; say one of them"));
        }
        Ok(self.around.config(file.or_else(|| self.config.clone())))
    }

    /// Asks and prints the answer: as `text` puts it, or as JSON. That goes on as it came, for a newer supervisor may say more
    /// than this client knows.
    pub fn show<D: DeserializeOwned>(
        self,
        request: &Request,
        patience: Duration,
        json: bool,
        text: impl FnOnce(&D) -> String,
    ) -> Result<u8, Halt> {
        if json {
            self.out.document(call(&self.places, request, Some(patience))?.get())?;
        } else {
            self.out.write(text(&call_for_much(&self.places, request, Some(patience))?).as_bytes())?;
        }
        Ok(exit::DONE)
    }

    /// Asks for a stream and writes each item as `show` puts it; what is there at once is written at once.
    pub fn stream(
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
            let reply = call.receive::<Raw>();
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
    pub fn timed_out(&self, what: &str, names: &[ServiceName], patience: Option<Duration>) -> Fault {
        let names = names.to_vec();
        let now = call_for_much::<StatusReport>(&self.places, &Request::Status { names }, Some(LOOK));
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
