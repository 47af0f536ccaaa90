//! `section3 hook list`, `hook enable`, `hook disable`, `emit` and `x`.

use super::Context;
use crate::cli::exit;
use crate::cli::hook::{Call, Emit, Hook};
use crate::cli::out::Halt;
use crate::control::client::{PATIENCE, call, call_for};
use crate::value::duration;
use crate::wire::request::{self, HookOrder};
use crate::wire::{Request, hooks, reply};

/// Shows or switches.
///
/// # Errors
///
/// Why not.
pub fn run(context: Context<'_>, asked: Hook) -> Result<u8, Halt> {
    let switch = match asked {
        Hook::List(list) => {
            let data = call(&context.places, &Request::Hook(HookOrder::List), Some(PATIENCE))?;
            if list.json {
                // As it came: a newer supervisor may say more than this client knows.
                context.out.document(data.get())?;
            } else {
                context.out.write(hooks::list(&reply::read(&data)?).as_bytes())?;
            }
            return Ok(exit::DONE);
        }
        Hook::Enable(named) => HookOrder::Enable { name: named.name },
        Hook::Disable(named) => HookOrder::Disable { name: named.name },
        #[cfg(feature = "hooks")]
        Hook::Test(asked) => return super::rehearsal::test(context.out, asked),
        #[cfg(feature = "hooks")]
        Hook::Types(asked) => return super::rehearsal::types(context.out, asked.out.as_deref()),
    };
    let report = call_for(&context.places, &Request::Hook(switch), Some(PATIENCE))?;
    context.out.write(hooks::switch(&report).as_bytes())?;
    Ok(exit::DONE)
}

/// Brings an event about.
///
/// # Errors
///
/// Why not.
pub fn emit(context: Context<'_>, asked: &Emit) -> Result<u8, Halt> {
    let request = Request::Emit { name: asked.name.clone(), data: request::pairs(&asked.data)? };
    let report = call_for(&context.places, &request, Some(PATIENCE))?;
    context.out.write(hooks::emit(&report).as_bytes())?;
    Ok(exit::DONE)
}

/// Calls a command of a plugin, or lists them.
///
/// # Errors
///
/// Why not, or how the command failed.
pub fn call_plugin(context: Context<'_>, asked: Call) -> Result<u8, Halt> {
    let Call { json, timeout, plugin, command, args } = asked;
    let is_call = command.is_some();
    let request = Request::Plugin(request::plugin_call(plugin, command, args, duration::millis(timeout))?);
    // The supervisor tells when the time is over; this is for one that does not answer at all.
    let data = call(&context.places, &request, Some(timeout + PATIENCE))?;
    if json {
        context.out.document(data.get())?;
    } else if is_call {
        context.out.write(hooks::command(&reply::read(&data)?).as_bytes())?;
    } else {
        context.out.write(hooks::commands(&reply::read(&data)?).as_bytes())?;
    }
    Ok(exit::DONE)
}
