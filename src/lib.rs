//! section3
pub mod log;
pub mod spec;
pub mod sys;
pub mod value;
