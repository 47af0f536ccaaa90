//! section3
pub mod spec;
pub mod value;
pub mod wire;
