//! Floor 1: the kernel, typed. All `unsafe` code and all system calls that nix lacks live here, as small functions; `-1`
//! becomes an error once.
#![allow(unsafe_code)]

#[cfg(all(target_env = "musl", any(target_arch = "x86_64", target_arch = "aarch64"), not(debug_assertions)))]
mod backtrace;
pub mod child;
pub mod clock;
pub mod epoll;
pub mod inherited;
pub mod init;
pub mod logfile;
pub mod memory;
pub mod outlet;
pub mod process;
pub mod raw;
pub mod reexec;
pub mod reserve;
pub mod signals;
pub mod spawn;
pub mod task;
pub mod usage;
pub mod wait;
pub mod wake;
pub mod watch;
pub mod words;
