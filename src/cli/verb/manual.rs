//! `section3 completions` and `section3 man`: generated from the arguments, so they cannot drift.

use clap::Command;

use crate::cli::exit;
use crate::cli::out::{Halt, Out};
use crate::value::nearest::nearest;
use crate::wire::{Fault, FaultCode};

/// Prints the completions of a shell.
///
/// # Errors
///
/// Why they cannot be written.
pub fn completions(out: &mut Out, shell: clap_complete::Shell, mut command: Command) -> Result<u8, Halt> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "section3", &mut text);
    out.write(&text)?;
    Ok(exit::DONE)
}

/// Prints a manual page in roff, of the whole program or of one command.
///
/// # Errors
///
/// That there is no such command, or why the page cannot be written.
pub fn page(out: &mut Out, verb: Option<&str>, mut command: Command) -> Result<u8, Halt> {
    command.build();
    let command = match verb {
        None => command,
        Some(verb) => match command.find_subcommand(verb) {
            Some(found) => found.clone().name(format!("section3-{verb}")).bin_name(format!("section3 {verb}")),
            None => {
                let fault = Fault::new(FaultCode::Usage, format!("no such command: `{verb}`"));
                let near = nearest(verb, command.get_subcommands().map(Command::get_name));
                return Err(match near {
                    Some(near) => fault.with_hint(format!("did you mean `{near}`?")),
                    None => fault.with_hint("`section3 --help` lists the commands"),
                }
                .into());
            }
        },
    };
    let mut roff = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut roff)
        .map_err(|error| Fault::new(FaultCode::Internal, format!("cannot write the manual page: {error}")))?;
    out.write(&roff)?;
    Ok(exit::DONE)
}
