//! Floor 6: the command line. Reads arguments, asks the supervisor (or becomes it), prints, and ends with one of the
//! codes of [`exit`]. Decides nothing about services: every rule lives below.

mod args;
pub mod exit;
mod hook;
mod out;
mod verb;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::daemon::DaemonArgs;
use crate::value::paths::Surroundings;
use crate::wire::Fault;
use args::{Args, SelfVerb, Verb};
use out::{Halt, Out};
use verb::Context;

/// Runs the command that `words` (the program's name first) are; `supervise` is called for the one that is the
/// supervisor itself and returns its exit code.
pub fn run(words: impl IntoIterator<Item = OsString>, supervise: fn(DaemonArgs) -> u8) -> ExitCode {
    let mut out = Out::of_process();
    let result = match Args::read(words) {
        Err(unread) => {
            let text = unread.render().to_string();
            if unread.use_stderr() {
                out.complain(&text);
                Ok(exit::USAGE)
            } else {
                out.write(text.as_bytes()).map(|()| exit::DONE)
            }
        }
        Ok(args) => match carry_out(args, &mut out) {
            Ok(Next::Exit(code)) => Ok(code),
            Ok(Next::Supervise(args)) => Ok(supervise(args)),
            Ok(Next::Demo(demo)) => Ok(demo.run(supervise)),
            Err(halt) => Err(halt),
        },
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

/// What is left to do once the client's part is done.
enum Next {
    Exit(u8),
    Supervise(DaemonArgs),
    Demo(verb::demo::Demo),
}

fn carry_out(args: Args, out: &mut Out) -> Result<Next, Halt> {
    args.check()?;
    let Args { config, socket, log_dir, verb, path: _ } = args;
    let Some(verb) = verb else { return Ok(Next::Supervise(DaemonArgs { config, socket, log_dir })) };
    let around = Surroundings { uid: nix::unistd::geteuid().as_raw(), env: &|name| std::env::var_os(name) };
    let context = Context { places: around.socket(socket), out };
    let code = match verb {
        Verb::Status(asked) => verb::status::run(context, &asked)?,
        Verb::Start(asked) => verb::order::run(context, &asked, crate::wire::Request::Start)?,
        Verb::Stop(asked) => verb::order::run(context, &asked, crate::wire::Request::Stop)?,
        Verb::Restart(asked) => verb::order::run(context, &asked, crate::wire::Request::Restart)?,
        Verb::Reload(asked) => verb::reload::run(context, &asked)?,
        Verb::Tail(asked) => verb::tail::run(context, &asked)?,
        Verb::Wait(asked) => verb::wait::run(context, &asked)?,
        Verb::Events(asked) => verb::events::run(context, &asked)?,
        Verb::Signal(asked) => verb::signal::run(context, &asked)?,
        Verb::Rotate(asked) => verb::rotate::run(context, &asked)?,
        Verb::Hook(asked) => verb::hook::run(context, asked.verb)?,
        Verb::Emit(asked) => verb::hook::emit(context, &asked)?,
        Verb::X(asked) => verb::hook::call_plugin(context, asked)?,
        #[cfg(feature = "hooks")]
        Verb::Plugin(asked) => {
            let named = config.is_some();
            verb::plugin::run(context, &around.config(config), named, &asked)?
        }
        Verb::Check(asked) => verb::check::run(context.out, &around.config(asked.place.or(config)), asked.json)?,
        Verb::Init(asked) => verb::init::run(context.out, &around.config(asked.or(config)))?,
        Verb::Demo => return Ok(Next::Demo(verb::demo::Demo::new(context.out)?)),
        Verb::Itself(asked) => match asked.verb {
            SelfVerb::Version { json } => verb::itself::version::run(context.out, json)?,
            SelfVerb::Reexec => verb::itself::reexec::run(context)?,
            #[cfg(feature = "update")]
            SelfVerb::Update(asked) => verb::itself::update::run(context, &asked)?,
            #[cfg(feature = "update")]
            SelfVerb::Rollback => verb::itself::rollback::run(context)?,
        },
        Verb::Completions(asked) => verb::completions::run(context.out, asked.shell, Args::words())?,
        Verb::Man(asked) => verb::manual::page(context.out, asked.verb.as_deref(), Args::words())?,
    };
    Ok(Next::Exit(code))
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
