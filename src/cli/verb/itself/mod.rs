//! `section3 self ...`: the program about its own file.

pub mod reexec;
#[cfg(feature = "update")]
pub mod rollback;
#[cfg(feature = "update")]
pub mod update;
pub mod version;
