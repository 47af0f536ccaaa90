//! The program.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything is made of the words: they are those of another start, and may be those of another version.
    if let Some(code) = section3::daemon::instead(std::env::args_os()) {
        return ExitCode::from(code);
    }
    #[cfg(feature = "hooks")]
    if std::env::args_os().nth(1).is_some_and(|word| word == section3::hooks::host::WORD) {
        return ExitCode::from(section3::hooks::host::run());
    }
    section3::cli::run(std::env::args_os(), section3::daemon::run)
}
