//! The program.

use std::process::ExitCode;

fn main() -> ExitCode {
    section3::cli::run(std::env::args_os(), section3::daemon::run)
}
