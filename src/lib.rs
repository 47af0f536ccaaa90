//! section3
pub mod spec;
pub mod supervision;
pub mod value;
pub mod wire;
