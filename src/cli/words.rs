//! The words of the command line, as tables. What `--help` says is written to be read by a program too: what it does, an
//! example, the exit codes.
//!
//! Of a table only the command that was called gets its options and its help: to build all of them takes as long as all that a
//! `status` does.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ContextKind;
use clap::{ArgMatches, Args, Command};

use super::context::Context;
use super::exit;
use super::out::Halt;
use crate::wire::{Fault, FaultCode};

/// A command: its options are its fields, its help and what it does are here.
pub trait Verb: Args {
    /// What it is and how it is called.
    const HELP: Help;
    /// The paths that have an effect on it.
    const TAKES: Takes = Takes::SOCKET;

    /// Does it; the exit code.
    ///
    /// # Errors
    ///
    /// Why it was not done.
    fn run(self, context: Context<'_>) -> Result<u8, Halt>;
}

/// Commands behind one word.
pub trait Group {
    /// What they are.
    const HELP: Help;
    /// The paths that have an effect on them.
    const TAKES: Takes = Takes::SOCKET;
    /// Each of them.
    const TABLE: &'static [Entry];
}

/// What help says of a command.
#[derive(Clone, Copy)]
pub struct Help {
    /// Its word.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// What else there is to know.
    pub more: &'static str,
    /// How it is called.
    pub example: &'static str,
}

/// The paths that a command can be given.
#[derive(Clone, Copy)]
pub struct Takes {
    config: bool,
    socket: bool,
    log_dir: bool,
}

impl Takes {
    /// It needs nothing of a supervisor.
    pub const NOTHING: Self = Self { config: false, socket: false, log_dir: false };
    /// It reads the config itself.
    pub const CONFIG: Self = Self { config: true, ..Self::NOTHING };
    /// It asks a supervisor.
    pub const SOCKET: Self = Self { socket: true, ..Self::NOTHING };
    /// It is the supervisor.
    const ALL: Self = Self { config: true, socket: true, log_dir: true };
}

/// The paths that were given, before or behind the command.
#[derive(Args, Debug, Default)]
pub struct Paths {
    /// Config of the supervisor [$SECTION3_CONFIG, /workspace/section3.yml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Control socket [$SECTION3_SOCKET, /run/section3/section3.sock for root]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Folder for logs [$SECTION3_LOG_DIR, /var/log/section3 for root]
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
}

impl Paths {
    /// Each with its name and whether it has an effect.
    fn each(&mut self, takes: Takes) -> [(&'static str, &mut Option<PathBuf>, bool); 3] {
        [
            ("config", &mut self.config, takes.config),
            ("socket", &mut self.socket, takes.socket),
            ("log_dir", &mut self.log_dir, takes.log_dir),
        ]
    }

    /// Takes those that were said at one level of the command line; the last one that says a path counts.
    fn fill(&mut self, said: &mut ArgMatches) {
        for (name, path, _) in self.each(Takes::ALL) {
            if let Ok(Some(given)) = said.try_remove_one(name) {
                *path = Some(given);
            }
        }
    }
}

/// A line of a table.
pub struct Entry {
    help: Help,
    takes: Takes,
    fill: fn(Command) -> Command,
    deed: Deed,
}

enum Deed {
    Run(fn(Context<'_>, &mut ArgMatches) -> Result<u8, Halt>),
    One(&'static [Entry]),
}

impl Entry {
    /// The line of a command.
    #[must_use]
    pub const fn verb<V: Verb>() -> Self {
        fn fill<V: Verb>(command: Command) -> Command {
            dressed(V::augment_args(command), V::HELP, V::TAKES)
        }
        fn run<V: Verb>(context: Context<'_>, said: &mut ArgMatches) -> Result<u8, Halt> {
            let asked = V::from_arg_matches_mut(said).map_err(|error| Fault::new(FaultCode::Usage, error.to_string()))?;
            asked.run(context)
        }
        Self { help: V::HELP, takes: V::TAKES, fill: fill::<V>, deed: Deed::Run(run::<V>) }
    }

    /// The line of several.
    #[must_use]
    pub const fn group<G: Group>() -> Self {
        fn fill<G: Group>(command: Command) -> Command {
            let command = command.subcommand_required(true).arg_required_else_help(true);
            dressed(with(command, G::TABLE), G::HELP, G::TAKES)
        }
        Self { help: G::HELP, takes: G::TAKES, fill: fill::<G>, deed: Deed::One(G::TABLE) }
    }
}

/// A command with those of a table behind it, each no more than its word until it is called.
fn with(command: Command, table: &'static [Entry]) -> Command {
    let stub = |entry: &Entry| Command::new(entry.help.name).about(entry.help.about).defer(entry.fill);
    command.subcommand_value_name("COMMAND").subcommands(table.iter().map(stub))
}

/// A command with its help and its paths. Paths without an effect are understood, and refused by [`Asked::check`], which has more
/// to say than that they are unknown.
fn dressed(command: Command, help: Help, takes: Takes) -> Command {
    let mut command = command.about(help.about).after_help(format!("Example:\n  {}\n{}", help.example, exit::TABLE));
    if !help.more.is_empty() {
        command = command.long_about(format!("{}\n\n{}", help.about, help.more));
    }
    // What follows the command of a plugin is the plugin's.
    let keeps_its_words = command.get_arguments().any(|arg| arg.is_trailing_var_arg_set());
    let mut paths = Paths::default();
    let effects = paths.each(takes).map(|(name, _, is_taken)| (name, is_taken));
    let flags = Paths::augment_args(Command::new(""));
    let flags = flags.get_arguments().filter_map(|flag| {
        let (_, is_taken) = effects.into_iter().find(|(name, _)| flag.get_id() == name)?;
        (is_taken || !keeps_its_words).then(|| flag.clone().hide(!is_taken))
    });
    command.args(flags.collect::<Vec<_>>())
}

/// The words of the program.
#[must_use]
pub fn command(table: &'static [Entry]) -> Command {
    let root = Paths::augment_args(Command::new("section3"));
    with(root, table).version(env!("CARGO_PKG_VERSION")).about(ABOUT).long_about(LONG_ABOUT).after_help(NOTES)
}

const ABOUT: &str = "The init system and supervisor for containers that run more than one process";
const LONG_ABOUT: &str = "\
The init system and supervisor for containers that run more than one process.

Without a command it runs the supervisor in the foreground: it reads the config, starts the services and keeps
them going. Every other command talks to a running one through its socket, or needs none.";
const NOTES: &str = "\
Paths: a flag beats its variable, that beats the default. For other users than root the defaults are
  socket  $XDG_RUNTIME_DIR/section3/section3.sock, else /tmp/section3-UID/section3.sock
  logs    $XDG_STATE_HOME/section3, else ~/.local/state/section3, else /tmp/section3-UID/log
Exit codes of commands: 0 done, 1 the action failed, 2 usage, 3 no supervisor at the socket, 4 no such service,
  5 time-out, 6 invalid config, 7 not permitted, 8 an update is available
The supervisor ends with 0 after SIGTERM or SIGINT, or with the code of a service that ended badly for good.
Examples:
  section3 init section3.yml && section3 check section3.yml && section3 --config section3.yml
  section3 status
  section3 restart web && section3 wait web --for running --timeout 30s";

/// A command line that was understood.
pub struct Asked {
    /// The paths in it.
    pub paths: Paths,
    takes: Takes,
    /// The command and its options; none where this is the supervisor.
    pub deed: Option<Call>,
}

/// A command with its options.
pub struct Call {
    run: fn(Context<'_>, &mut ArgMatches) -> Result<u8, Halt>,
    said: ArgMatches,
}

impl Call {
    /// Does it; the exit code.
    ///
    /// # Errors
    ///
    /// Why it was not done.
    pub fn run(mut self, context: Context<'_>) -> Result<u8, Halt> {
        (self.run)(context, &mut self.said)
    }
}

impl Asked {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    ///
    /// What clap says of words that it does not understand, or that help was asked for.
    pub fn read(mut table: &'static [Entry], words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut said = command(table).try_get_matches_from(words).map_err(|mut unread| {
            // That a flag of another command could be passed as a value: no command takes such a one.
            unread.remove(ContextKind::Suggested);
            unread
        })?;
        let mut asked = Self { paths: Paths::default(), takes: Takes::ALL, deed: None };
        loop {
            asked.paths.fill(&mut said);
            let Some((word, inner)) = said.remove_subcommand() else { break };
            said = inner;
            let Some(entry) = table.iter().find(|entry| entry.help.name == word) else { break };
            asked.takes = entry.takes;
            match entry.deed {
                Deed::One(inner) => table = inner,
                Deed::Run(run) => {
                    asked.paths.fill(&mut said);
                    asked.deed = Some(Call { run, said });
                    break;
                }
            }
        }
        Ok(asked)
    }

    /// Refuses paths that would be without effect: whoever gave one meant something by it.
    ///
    /// # Errors
    ///
    /// A fault of code `usage` that names the flag.
    pub fn check(&mut self) -> Result<(), Fault> {
        for (name, path, is_taken) in self.paths.each(self.takes) {
            if path.is_some() && !is_taken {
                let flag = format!("--{}", name.replace('_', "-"));
                let fault = Fault::new(FaultCode::Usage, format!("`{flag}` has no effect on this command"));
                return Err(match name {
                    "socket" => fault.with_hint("it talks to no supervisor"),
                    _ => fault.with_hint(format!("a supervisor is told at its start: `section3 {flag} PATH`")),
                });
            }
        }
        Ok(())
    }
}
