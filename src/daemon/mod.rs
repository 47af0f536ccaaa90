//! Floor 5: the supervisor at work. One event loop ([`event_loop`]) brings the outside to the pure state machine and carries
//! out what it decides; nothing here waits for a disk, a script or a client.
#![cfg_attr(not(feature = "hooks"), allow(dead_code, reason = "some of it is for scripts only"))]

mod advice;
mod boot;
mod census;
mod children;
mod clock;
mod desk;
mod emit;
mod errand;
mod event_loop;
mod executor;
mod guard;
mod handover;
#[cfg(feature = "hooks")]
mod hooks;
#[cfg(not(feature = "hooks"))]
#[path = "no_hooks.rs"]
mod hooks;
mod inbox;
mod occupancy;
mod orders;
mod question;
mod recipe;
mod reload;
mod rest;
mod ring;
mod sentence;
#[cfg(test)]
mod stand;
mod streams;
mod tails;
mod task;
mod usage;
mod view;
mod watch;

pub use boot::{DaemonArgs, run};
pub use handover::{arrive::instead, fits};
