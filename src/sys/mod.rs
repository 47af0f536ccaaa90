//! Floor 1: the kernel, typed. All `unsafe` code and all system calls that nix lacks live here, as small functions; `-1`
//! becomes an error once.
#![allow(unsafe_code)]

pub mod child;
pub mod clock;
pub mod epoll;
pub mod inherited;
pub mod init;
pub mod logfile;
pub mod outlet;
pub mod process;
pub mod raw;
pub mod reexec;
pub mod reserve;
pub mod signals;
pub mod spawn;
pub mod wait;
pub mod wake;
pub mod watch;
pub mod words;
