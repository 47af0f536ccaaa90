//! `section3 man`: the manual page, written from the arguments, so it cannot drift.

use std::fmt::Write;

use clap::{Arg, Args, Command};

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{self, Help, Takes, Verb};
use crate::value::nearest::nearest;
use crate::wire::{Fault, FaultCode};

#[derive(Args)]
pub struct Man {
    /// Command
    #[arg(value_name = "COMMAND")]
    verb: Option<String>,
}

impl Verb for Man {
    const HELP: Help = Help {
        name: "man",
        about: "Print the manual page, of section3 or of one command",
        more: "",
        example: "section3 man > /usr/share/man/man1/section3.1",
    };
    const TAKES: Takes = Takes::NOTHING;

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let mut command = words::command(super::TABLE);
        command.build();
        let (name, command) = match self.verb.as_deref() {
            None => ("section3".to_owned(), &mut command),
            Some(verb) => {
                let known: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
                match command.find_subcommand_mut(verb) {
                    Some(found) => (format!("section3-{verb}"), found),
                    None => {
                        let fault = Fault::new(FaultCode::Usage, format!("no such command: `{verb}`"));
                        return Err(match nearest(verb, known.iter().map(String::as_str)) {
                            Some(near) => fault.with_hint(format!("did you mean `{near}`?")),
                            None => fault.with_hint("`section3 --help` lists the commands"),
                        }
                        .into());
                    }
                }
            }
        };
        context.out.write(roff(&name, command).as_bytes())?;
        Ok(exit::DONE)
    }
}

/// The page of one command, in the macros of man(7).
fn roff(name: &str, command: &mut Command) -> String {
    let usage = command.render_usage().to_string();
    let styled = |text: Option<&clap::builder::StyledStr>| text.map(ToString::to_string).unwrap_or_default();
    let about = styled(command.get_about());
    let (summary, _) = about.split_once('\n').unwrap_or((&about, ""));
    let mut page = format!(
        ".TH {} 1 \"\" \"section3 {}\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n{}\n.SH DESCRIPTION\n",
        name,
        env!("CARGO_PKG_VERSION"),
        escaped(name),
        escaped(summary),
        escaped(usage.trim_start_matches("Usage: "))
    );
    for line in styled(command.get_long_about().or(command.get_about())).lines() {
        let _ = if line.is_empty() { writeln!(page, ".PP") } else { writeln!(page, "{}", escaped(line)) };
    }
    page += ".SH OPTIONS\n";
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        let _ = writeln!(page, ".TP\n{}\n{}", escaped(&heading(arg)), escaped(&styled(arg.get_help())));
    }
    if command.has_subcommands() {
        page += ".SH COMMANDS\n";
    }
    for inner in command.get_subcommands() {
        let _ = writeln!(page, ".TP\n{}\n{}", escaped(inner.get_name()), escaped(&styled(inner.get_about())));
    }
    let _ = writeln!(page, ".SH NOTES\n.nf\n{}\n.fi", escaped(&styled(command.get_after_help())));
    page
}

/// `-n, --lines <N>`, or `<NAME>`.
fn heading(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    let takes_value = arg.get_action().takes_values();
    let value = arg.get_value_names().and_then(<[_]>::first).filter(|_| takes_value).map(|name| format!("<{name}>"));
    [flags.join(", ")].into_iter().filter(|flags| !flags.is_empty()).chain(value).collect::<Vec<_>>().join(" ")
}

/// Text in which roff finds nothing to obey.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let obeyed = |line: &&str| line.starts_with(['.', '\'']);
    text.split('\n').map(|line| if obeyed(&line) { format!("\\&{line}") } else { line.to_owned() }).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_not_obeyed() {
        assert_eq!(escaped("a-b \\n\n.TH\n'x"), "a\\-b \\en\n\\&.TH\n\\&'x");
    }
}
