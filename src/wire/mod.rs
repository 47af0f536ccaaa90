//! Floor 1: what travels. Pure bytes and types, versioned; no descriptor is touched here.

pub mod event;
pub mod state;

pub use event::{Actor, Event, Kind};
pub use state::State;
