//! Floor 3: how a service is asked whether it is there. One file a probe; what can be decided without the world is a pure
//! function beside it.
//!
//! Nothing here blocks the event loop: names and files are looked at on threads of their own, every answer has a limit of
//! time and of size, and every question is given up by dropping its future. Nothing here ever decides what a good or a bad
//! answer leads to; that is the state machine's.

pub mod file;
pub mod health;
pub mod http;
pub mod newline;
pub mod note;
pub mod notify;
pub mod pattern;
pub mod place;
pub mod tcp;

mod aside;

pub use aside::{Aside, LookUps, MOST_LOOK_UPS};

/// What a question came to: there, or why not in a few words.
pub type Answer = Result<(), String>;
