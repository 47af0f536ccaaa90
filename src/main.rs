//! The program.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "hooks")]
    if std::env::args_os().nth(1).is_some_and(|word| word == section3::hooks::host::WORD) {
        return ExitCode::from(section3::hooks::host::run(|_| None));
    }
    section3::cli::run(std::env::args_os(), section3::daemon::run)
}
