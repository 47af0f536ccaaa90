//! Floor 1: the kernel. All `unsafe` code and all system calls that nix lacks live here, as small typed functions.
#![allow(unsafe_code)]

pub mod child;
pub mod clock;
pub mod init;
pub mod process;
pub mod raw;
pub mod signals;
pub mod spawn;
pub mod wait;
pub mod watch;
