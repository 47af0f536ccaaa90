//! Floor 0: checked words. Each type can only hold what the contract allows, so later code never asks again.

pub mod bytes;
pub mod duration;
pub mod exit;
pub mod glob;
pub mod hex;
pub mod json;
pub mod moment;
pub mod name;
pub mod nearest;
pub mod paths;
pub mod platform;
pub mod run;
pub mod signal;
pub mod sorted;
pub mod version;

pub use bytes::ByteSize;
pub use exit::ExitStatus;
pub use glob::Glob;
pub use moment::Moment;
pub use name::ServiceName;
pub use run::Run;
pub use signal::Signal;
pub use version::Version;
