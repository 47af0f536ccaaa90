//! The process that runs scripts.
