//! section3
pub mod control;
pub mod spec;
pub mod value;
pub mod wire;
