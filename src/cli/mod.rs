//! Floor 6: the command line. Reads arguments, asks the supervisor (or becomes it), prints, and ends with one of the
//! codes of [`exit`]. Decides nothing about services: every rule lives below.

mod context;
pub mod exit;
mod out;
mod verb;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::daemon::DaemonArgs;
use crate::value::paths::Surroundings;
use crate::wire::Fault;
use context::Context;
use out::{Halt, Out};
use words::{Asked, Paths};

/// Runs the command that `words` (the program's name first) are; `supervise` is called for the one that is the
/// supervisor itself and returns its exit code.
pub fn run(words: impl IntoIterator<Item = OsString>, supervise: fn(DaemonArgs) -> u8) -> ExitCode {
    let mut out = Out::of_process();
    let result = match Asked::read(verb::TABLE, words) {
        Err(unread) => {
            let text = unread.render().to_string();
            if unread.use_stderr() {
                out.complain(&text);
                Ok(exit::USAGE)
            } else {
                out.write(text.as_bytes()).map(|()| exit::DONE)
            }
        }
        Ok(asked) => carry_out(asked, &mut out, supervise),
    };
    ExitCode::from(match result {
        Ok(code) => code,
        // Whoever closed the pipe has read what they wanted.
        Err(Halt::ReaderGone) => exit::DONE,
        Err(Halt::Fault(fault)) => {
            out.complain(&told(&fault));
            fault.code.exit_code()
        }
    })
}

fn carry_out(mut asked: Asked, out: &mut Out, supervise: fn(DaemonArgs) -> u8) -> Result<u8, Halt> {
    asked.check()?;
    let Paths { config, socket, log_dir } = asked.paths;
    match asked.deed {
        None => Ok(supervise(DaemonArgs { config, socket, log_dir })),
        Some(call) => {
            let around = Surroundings { uid: nix::unistd::geteuid().as_raw(), env: &|name| std::env::var_os(name) };
            call.run(Context { places: around.socket(socket), around, config, out, supervise })
        }
    }
}

/// Why a command was not done, as standard error says it.
fn told(fault: &Fault) -> String {
    match &fault.hint {
        Some(hint) => format!("error: {}\nhint: {hint}\n", fault.message),
        None => format!("error: {}\n", fault.message),
    }
}

#[cfg(test)]
mod conversation_tests;
#[cfg(test)]
mod tests;
