//! Floor 2: decisions. Pure: time is an argument, effects are values.

pub mod advice;
pub mod backoff;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod cases;
pub mod graph;
pub mod message;
pub mod reload;
pub mod service;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod sim;
pub mod stops;
pub mod supervisor;

pub use message::{
    Action, Advice, Effect, Event, Fact, Gate, Hold, HoldOrder, Order, Outcome, Question, Remains, ServiceId, Ticket, Wish,
};
pub use reload::Change;
pub use service::{Service, Target};
pub use supervisor::Supervisor;
