//! Floor 3: logs. One thread, the pump, owns every service's output pipe and every log file, so that a slow disk delays
//! logs and nothing else; the rest of the house talks to it through [`Pump`], which never waits.
//!
//! From a pipe to the disk: [`engine`] reads it, [`journal`] knows what is missing and who follows, [`file`](mod@file)
//! writes and rotates at the border that [`splitter`] names. [`console`] copies lines to stdout on a thread of its own,
//! [`tail`] and [`follow`] serve readers, [`folder`] makes sure that the folder is ours.

pub mod console;
pub mod diary;
mod engine;
pub mod file;
pub mod folder;
pub mod follow;
pub mod gather;
mod handover;
mod journal;
pub mod pump;
pub mod report;
pub mod rest;
pub mod splitter;
pub mod tail;
#[cfg(test)]
mod tests;

pub use folder::Folder;
pub use follow::{FollowEnd, Follower, Following, following};
pub use pump::{Attached, Clock, Held, Paused, Pump, Setup, SnapshotReply, Voice};
pub use report::{LogCounters, LogId, Report, RotateReason};
pub use tail::Snapshot;
