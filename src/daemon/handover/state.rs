//! Everything that must live through a re-exec, in one plain value.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::parcel::{self, Unfit};
use crate::control::server::LineRest;
use crate::daemon::children::ChildrenRest;
use crate::daemon::orders::OrdersRest;
use crate::daemon::ring::RingRest;
use crate::daemon::tails::TailRest;
use crate::daemon::watch::WatchRest;
use crate::log::Report;
use crate::log::rest::Rest;
use crate::supervision::{ServiceId, Supervisor};
use crate::sys::child::Limit;
use crate::value::json::{self, Raw};
use crate::value::{Moment, Run};
use crate::wire::event::Actor;

/// The state. `S` is the set of services: borrowed while it is written down.
///
/// It is written down as a list, and so is what is in it: new fields come last, with a default.
/// Numbers of descriptors are those of the process, which stay what they are across `execve(2)`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct State<S = Supervisor> {
    /// The version of the program that wrote it.
    pub from: String,
    /// The process it belongs to.
    pub pid: u32,
    /// Where the program is on disk.
    pub program: PathBuf,
    /// The mark of this incarnation, and the host.
    pub boot: String,
    pub host: String,
    /// When the first image of the program began.
    pub began: Moment,
    pub config_path: PathBuf,
    pub log_dir: PathBuf,
    pub socket: PathBuf,
    /// The limit of descriptors that services inherit.
    pub descriptor_limit: Limit,
    pub restrictions: Vec<String>,
    /// The lock beside the socket, the listening socket, device and inode of its file.
    pub lock: i32,
    pub listener: i32,
    pub bound: Option<(u64, u64)>,
    pub supervisor: S,
    pub children: ChildrenRest,
    /// Launches that are ordered and not begun.
    pub launches: Vec<(ServiceId, Run)>,
    /// Drains that are asked for, and when they take too long.
    pub drains: Vec<(Moment, ServiceId, Run)>,
    pub watches: Vec<WatchRest>,
    /// Runs whose readiness was found in their output, and not told yet.
    pub found_ready: Vec<(ServiceId, Run)>,
    pub log: Rest,
    /// Reports of the pump that were not read yet.
    pub reports: Vec<Report>,
    pub ring: RingRest,
    /// The rehearsal has read the events before this number.
    pub rehearsed: u64,
    pub orders: OrdersRest,
    /// Connections.
    pub lines: Vec<LineRest>,
    /// Those that follow the events, and the number of the event that each is to be sent next.
    pub followers: Vec<(i32, u64)>,
    pub orphans: u64,
    pub orphan_notice_at: Option<Moment>,
    /// A first TERM or INT came.
    pub asked_to_stop: bool,
    /// Who asked for the re-exec, and where the answer goes.
    pub asker: Actor,
    pub answer: Option<i32>,
    /// What the link to the hook host knows; the host itself is started anew.
    #[serde(default)]
    pub hooks: Option<Raw>,
    /// Those that follow logs, and what each was not sent yet.
    #[serde(default)]
    pub tails: Vec<TailRest>,
}

impl<S: Serialize> State<S> {
    /// The state as bytes.
    ///
    /// # Errors
    ///
    /// Something in it cannot be written as JSON, such as a path that is not UTF-8; or it is too long.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let content = json::to_vec(self).map_err(|error| format!("the state cannot be written down: {error}"))?;
        let bytes = parcel::wrap(&content);
        let length = bytes.len() as u64;
        if length > parcel::LONGEST {
            return Err(format!("the state takes {length} bytes, more than the {} allowed", parcel::LONGEST));
        }
        Ok(bytes)
    }
}

impl<S> State<S> {
    /// The descriptors that must stay open across the exec.
    #[must_use]
    pub fn descriptors(&self) -> Vec<i32> {
        let mut numbers = vec![self.lock, self.listener, self.log.folder];
        numbers.extend(self.children.runs.iter().filter_map(|child| child.launch));
        numbers.extend(self.watches.iter().flat_map(WatchRest::descriptors));
        numbers.extend(self.log.feeds.iter().map(|feed| feed.fd));
        numbers.extend(self.lines.iter().map(|line| line.fd));
        numbers
    }
}

impl State {
    /// Reads the state and checks that it holds together.
    ///
    /// # Errors
    ///
    /// Why this program cannot go on from it. Never panics, whatever the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unfit> {
        Self::from_content(parcel::unwrap(bytes)?)
    }

    /// [`State::decode`], without the wrapping.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_content(content: &[u8]) -> Result<Self, Unfit> {
        let mut state: Self = read(content)?;
        state.check().map_err(Unfit::Content)?;
        Ok(state)
    }

    fn check(&mut self) -> Result<(), String> {
        self.supervisor.restore()?;
        self.children.check()?;
        self.log.check()?;
        self.ring.check(self.rehearsed)?;
        let mut numbers = self.descriptors();
        if let Some(number) = numbers.iter().find(|number| **number <= 2) {
            return Err(format!("descriptor {number} is a standard stream or none"));
        }
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.len() != count {
            return Err("a descriptor is named twice".to_owned());
        }
        if let Some(child) = self.children.runs.iter().find(|child| self.supervisor.service(child.id).is_none()) {
            return Err(format!("run {} belongs to no service", child.run));
        }
        Ok(())
    }
}

fn read<T: DeserializeOwned>(content: &[u8]) -> Result<T, Unfit> {
    json::from_slice(content).map_err(|error| Unfit::Content(error.to_string()))
}

#[cfg(test)]
mod tests;
