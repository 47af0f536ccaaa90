//! What the tests stand on: a supervisor in a corner of its own, its events, and children that do as they are told.

pub mod daemon;
pub mod deadline;
pub mod events;
pub mod home;
pub mod lines;
pub mod port;
pub mod process;
pub mod receiver;
pub mod stage;
pub mod tls;

pub use daemon::{Daemon, Launch};
pub use home::Home;
pub use port::Port;
