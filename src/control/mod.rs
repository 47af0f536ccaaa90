//! Floor 4: the two ends of the control socket.

pub mod client;
