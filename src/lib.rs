//! section3
pub mod cli;
pub mod config;
pub mod control;
pub mod spec;
pub mod supervision;
pub mod sys;
pub mod value;
pub mod wire;
