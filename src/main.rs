//! The program.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything is made of the words: they are those of another start, and may be those of another version.
    if let Some(code) = section3::daemon::instead(std::env::args_os()) {
        return ExitCode::from(code);
    }
    section3::cli::run(std::env::args_os(), section3::daemon::run)
}
