//! Floor 3: hooks and plugins. [`frame`] is what the supervisor and its hook host say to each other.
//!
//! The supervisor's side is pure: [`delivery`] knows which handler has heard what, [`quarantine`] what is done about a host
//! that dies, [`budget`] how much scripts may bring about.
//!
//! The host side (`host`, `script`, `api`) runs in a child process of the same binary, never in the supervisor: no limit inside
//! a process can stop every script.

pub mod budget;
mod counters;
pub mod delivery;
pub mod frame;
pub mod quarantine;

pub use counters::Counters;

#[cfg(feature = "hooks")]
pub mod api;
#[cfg(feature = "hooks")]
pub mod catalog;
#[cfg(feature = "hooks")]
pub mod clock;
#[cfg(feature = "hooks")]
pub mod host;
#[cfg(feature = "hooks")]
pub mod rehearsal;
#[cfg(feature = "hooks")]
pub mod script;
