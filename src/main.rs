//! The program.

use std::process::ExitCode;

use section3::daemon::{self, DaemonArgs};

fn main() -> ExitCode {
    section3::cli::run(std::env::args_os(), |launch| {
        ExitCode::from(daemon::run(DaemonArgs { config: launch.config, socket: launch.socket, log_dir: launch.log_dir }))
    })
}
