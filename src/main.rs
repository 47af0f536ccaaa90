//! The program.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match section3::sys::init::too_little_stack() {
        Some(message) => {
            let _ = std::io::stderr().write_all(message.as_bytes());
            ExitCode::FAILURE
        }
        None => with_stack(),
    }
}

/// Its frames must not be those of [`main`], which asks whether there is room for them.
#[inline(never)]
fn with_stack() -> ExitCode {
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
