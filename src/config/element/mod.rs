//! One element of the config a file: what may be written, what it means, a table of good and bad cases.

pub mod backoff;
pub mod command;
pub mod decisions;
pub mod dependencies;
pub mod environment;
pub mod hooks;
pub mod limits;
pub mod probe;
pub mod secrets;
pub mod select;
pub mod user;
pub mod words;
