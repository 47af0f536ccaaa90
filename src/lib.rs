//! section3
pub mod control;
pub mod spec;
pub mod supervision;
pub mod sys;
pub mod value;
pub mod wire;
