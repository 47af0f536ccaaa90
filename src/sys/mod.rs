//! Floor 1: the kernel, typed. Every unsafe block and raw call lives here; `-1` becomes an error once.

pub mod epoll;
pub mod logfile;
pub mod outlet;
pub mod wake;
