//! section3
pub mod value;

pub mod spec;
pub mod sys;
pub mod wire;

pub mod config;
pub mod supervision;

pub mod control;

pub mod cli;
