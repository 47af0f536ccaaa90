//! section3
pub mod config;
pub mod spec;
pub mod value;
