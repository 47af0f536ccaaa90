//! The words of the command line. What `--help` says is written to be read by a program too: what it does, an example,
//! the exit codes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ContextKind;
use clap::{ArgMatches, Args as Group, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::verb::completions::Shell;
#[cfg(feature = "hooks")]
use super::verb::plugin::Plugin;
use super::{exit, hook};
use crate::value::duration;
use crate::wire::request::MAX_LINES;
use crate::wire::{Fault, FaultCode};

/// The init system and supervisor for containers that run more than one process.
///
/// Without a command it runs the supervisor in the foreground: it reads the config, starts the services and keeps
/// them going. Every other command talks to a running one through its socket, or needs none.
#[derive(Parser, Debug)]
#[command(name = "section3", version, verbatim_doc_comment, after_help = ROOT, subcommand_value_name = "COMMAND")]
pub struct Args {
    /// Config of the supervisor [$SECTION3_CONFIG, /workspace/section3.yml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Control socket [$SECTION3_SOCKET, /run/section3/section3.sock for root]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Folder for logs [$SECTION3_LOG_DIR, /var/log/section3 for root]
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// The words of the command, such as `self update`; none where this is the supervisor.
    #[arg(skip)]
    pub path: String,
}

const ROOT: &str = "\
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

#[derive(Subcommand, Debug)]
#[allow(missing_docs, reason = "each help text below is the documentation")]
pub enum Verb {
    /// Show how services are, one line each
    ///
    /// Shows name, state and what matters in that state; of every service without a name. States: stopped, waiting,
    /// starting, running, stopping, backoff, exited, failed.
    #[command(verbatim_doc_comment, after_help = after("section3 status web --json"))]
    Status(Status),
    /// Start services and wait until they run
    ///
    /// Dependencies are started first. Starts a service in backoff at once. A service that runs already is left alone
    /// (exit 0). Waits until each is ready; exit 1 if one is not.
    #[command(verbatim_doc_comment, after_help = after("section3 start web worker --timeout 30s"))]
    Start(Order),
    /// Stop services and wait until they are gone
    ///
    /// Sends the stop signal and, after the service's stop_grace, SIGKILL. Stays stopped until `start`, also across a
    /// reload. Services that depend on it are left alone and named.
    #[command(verbatim_doc_comment, after_help = after("section3 stop web"))]
    Stop(Order),
    /// Stop and start services and wait until they run
    ///
    /// A definition that a reload has changed takes effect here.
    #[command(verbatim_doc_comment, after_help = after("section3 restart web"))]
    Restart(Order),
    /// Read the config anew
    ///
    /// Checks everything first; on any error nothing changes (exit 6). Then removed services stop, new ones start,
    /// running ones are left alone until their next restart. Exit 1 if a part failed.
    #[command(verbatim_doc_comment, after_help = after("section3 reload --dry-run"))]
    Reload(Reload),
    /// Show the last lines of logs
    ///
    /// Of every service without a name; `section3` is the supervisor's own log. Reads across rotations. Control bytes
    /// are escaped on a terminal and left as they are in a pipe.
    #[command(verbatim_doc_comment, after_help = after("section3 tail -n 100 web\n  section3 tail -f"))]
    Tail(Tail),
    /// Wait until a service is in a state
    #[command(verbatim_doc_comment, after_help = after("section3 wait web --for running --timeout 30s"))]
    Wait(Wait),
    /// Show what happened, oldest first
    ///
    /// One line an event: time, severity, service, type, data. With --json one JSON object a line.
    #[command(verbatim_doc_comment, after_help = after("section3 events -f --json"))]
    Events(Events),
    /// Send a signal to the main process of a service
    ///
    /// Only to that process, not to its group. Exit 1 if the service has no process.
    #[command(verbatim_doc_comment, after_help = after("section3 signal web HUP"))]
    Signal(Signal),
    /// Rotate logs now
    #[command(verbatim_doc_comment, after_help = after("section3 rotate web"))]
    Rotate(Rotate),
    /// Show hooks and plugins, switch them off and on
    #[command(verbatim_doc_comment, subcommand_value_name = "COMMAND", after_help = after("section3 hook list --json"))]
    Hook(hook::Asked),
    /// Bring an event about, for hooks and whoever else listens
    ///
    /// The event is custom.NAME. A value that is a number, true or false is one; everything else is text. At most 16 KiB.
    #[command(verbatim_doc_comment, after_help = after("section3 emit deploy version=1.4.2 canary=true"))]
    Emit(hook::Emit),
    /// Call a command of a plugin
    ///
    /// Without a command it lists those of the plugin, without a plugin those of all.
    #[command(verbatim_doc_comment, after_help = after("section3 x logship retry"))]
    X(hook::Call),
    /// See, check and write plugins
    #[cfg(feature = "hooks")]
    #[command(subcommand, after_help = after("section3 plugin list"))]
    Plugin(Plugin),
    /// Check a config, no supervisor needed
    ///
    /// Lists every problem with file, line, column and key; exit 6 if there is one.
    #[command(verbatim_doc_comment, after_help = after("section3 check ./section3.yml --json"))]
    Check(Check),
    /// Write a commented starter config where there is none
    ///
    /// Never overwrites: exit 1 if the file exists.
    #[command(verbatim_doc_comment, after_help = after("section3 init ./section3.yml"))]
    Init(ConfigPlace),
    /// Run a supervisor on small example services
    ///
    /// In the foreground, in a folder of its own that is removed at the end. Says how to talk to it. Ctrl-C ends it.
    #[command(verbatim_doc_comment, after_help = after("section3 demo"))]
    Demo,
    /// Update this program, replace the one that runs, or say which it is
    #[command(name = "self", verbatim_doc_comment, subcommand_value_name = "COMMAND", after_help = after("section3 self version --json"))]
    Itself(Itself),
    /// Print the completions of a shell
    #[command(verbatim_doc_comment, after_help = after("section3 completions bash > /etc/bash_completion.d/section3"))]
    Completions(Completions),
    /// Print the manual page, of section3 or of one command
    #[command(verbatim_doc_comment, after_help = after("section3 man > /usr/share/man/man1/section3.1"))]
    Man(Man),
}

pub(super) fn after(example: &str) -> String {
    format!("Example:\n  {example}\n{}", exit::TABLE)
}

#[derive(Group, Debug)]
pub struct Status {
    /// Services; all without one
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Group, Debug)]
pub struct Order {
    /// Services
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    pub names: Vec<String>,
    /// Every service
    #[arg(long)]
    pub all: bool,
    /// Return as soon as the order is accepted
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
    /// Wait at most this long (30s, 2m; for ever without it); exit 5 when it is over, the order goes on
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Option<Duration>,
}

#[derive(Group, Debug)]
pub struct Reload {
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Restart running services whose definition changed
    #[arg(long)]
    pub apply: bool,
    /// Wait at most this long; exit 5 when it is over, the reload goes on
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Option<Duration>,
}

#[derive(Group, Debug)]
pub struct Tail {
    /// Services; all without one
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Lines of each, 0 to 10000
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, default_value_t = crate::wire::request::TAIL_LINES, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_LINES)))]
    pub lines: u32,
    /// Go on with new lines
    #[arg(short, long)]
    pub follow: bool,
    /// Never escape control bytes
    #[arg(long)]
    pub raw: bool,
}

#[derive(Group, Debug)]
pub struct Wait {
    /// Service
    pub name: String,
    /// State: stopped, waiting, starting, running, stopping, backoff, exited or failed
    #[arg(long = "for", value_name = "STATE")]
    pub state: String,
    /// Wait at most this long (for ever without it); exit 5 when it is over
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Option<Duration>,
}

#[derive(Group, Debug)]
pub struct Events {
    /// The last N, 0 to 10000
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, default_value_t = crate::wire::request::EVENT_LINES, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_LINES)))]
    pub lines: u32,
    /// Go on with new ones
    #[arg(short, long)]
    pub follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Group, Debug)]
pub struct Signal {
    /// Service
    pub name: String,
    /// Signal: HUP, SIGHUP, 1, RTMIN+3
    pub signal: String,
}

#[derive(Group, Debug)]
pub struct Rotate {
    /// Services, or section3 for the supervisor's own log
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

#[derive(Group, Debug)]
pub struct Check {
    #[command(flatten)]
    pub place: ConfigPlace,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// A config that can be named with and without its flag.
#[derive(Group, Debug)]
pub struct ConfigPlace {
    /// Config; the supervisor's without one
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

impl ConfigPlace {
    /// The file that was named, in either way.
    pub fn or(self, config: Option<PathBuf>) -> Option<PathBuf> {
        self.file.or(config)
    }
}

#[derive(Group, Debug)]
pub struct Itself {
    /// What to do.
    #[command(subcommand)]
    pub verb: SelfVerb,
}

#[derive(Subcommand, Debug)]
#[allow(missing_docs, reason = "each help text below is the documentation")]
pub enum SelfVerb {
    /// Print version and platform of this program file
    #[command(verbatim_doc_comment, after_help = after("section3 self version --json"))]
    Version {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Make the running supervisor go on as the program that is on disk now
    ///
    /// With the same PID, also as PID 1; no service is stopped or signalled, no output is lost. The program on disk is tried
    /// on a copy of the state first: if it cannot take over, nothing changes, and the reason is told (exit 1). Returns when
    /// the new program is at work.
    #[command(verbatim_doc_comment, after_help = after("section3 self reexec"))]
    Reexec,
    /// Install the newest release in the place of this program file
    ///
    /// Downloads it, verifies its signature, runs it once and exchanges the file in one step; the old one is kept as
    /// section3.prev. A running supervisor goes on with the old one. Where releases come from and whose keys are
    /// trusted is built in, or set by root in /etc/section3/release.yml (`url:` and `keys:`).
    #[cfg(feature = "update")]
    #[command(verbatim_doc_comment, after_help = after("section3 self update --check"))]
    Update(Update),
    /// Exchange this program file and section3.prev, without network
    ///
    /// Refuses a copy that is not what was installed before. Twice is back again.
    #[cfg(feature = "update")]
    #[command(verbatim_doc_comment, after_help = after("section3 self rollback"))]
    Rollback,
}

#[cfg(feature = "update")]
#[derive(Group, Debug)]
pub struct Update {
    /// Only say whether there is a newer release: exit 8 if there is
    #[arg(long, conflicts_with = "to")]
    pub check: bool,
    /// Install this version, also an older one
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    /// Make the running supervisor go on as the new program, as `section3 self reexec` does
    #[arg(long, conflicts_with = "check")]
    pub live: bool,
}

#[derive(Group, Debug)]
pub struct Completions {
    /// Shell
    pub shell: Shell,
}

#[derive(Group, Debug)]
pub struct Man {
    /// Command
    #[arg(value_name = "COMMAND")]
    pub verb: Option<String>,
}

/// The paths that a command can be given.
struct Paths {
    config: bool,
    socket: bool,
    log_dir: bool,
}

impl Paths {
    /// Of the command with these words.
    fn of(path: &str) -> Self {
        let (config, socket, log_dir) = match path {
            "" => (true, true, true),
            "check" | "init" => (true, false, false),
            _ if path.starts_with("plugin") => (true, false, false),
            "demo" | "completions" | "man" | "self version" | "hook test" | "hook types" => (false, false, false),
            _ => (false, true, false),
        };
        Self { config, socket, log_dir }
    }
}

impl Args {
    /// Reads the words of a command line, the program's name first.
    ///
    /// # Errors
    ///
    /// What clap says of words that it does not understand, or that help was asked for.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Self::words().try_get_matches_from(words).map_err(|mut unread| {
            // That a flag of another command could be passed as a value: no command takes such a one.
            unread.remove(ContextKind::Suggested);
            unread
        })?;
        Ok(Self { path: path(&matches), ..Self::from_arg_matches(&matches)? })
    }

    /// Every command, with the paths that it takes among its options. The others are understood and refused by
    /// [`Args::check`], which knows more to say than that they are unknown.
    pub fn words() -> Command {
        let root = Self::command();
        let paths: Vec<_> = root.get_arguments().cloned().map(|arg| arg.global(true)).collect();
        give(root, "", &paths)
    }

    /// Refuses flags that would be without effect: whoever gave one meant something by it.
    ///
    /// # Errors
    ///
    /// A fault of code `usage` that names the flag.
    pub fn check(&self) -> Result<(), Fault> {
        let takes = Paths::of(&self.path);
        for (given, taken, flag) in [
            (self.config.is_some(), takes.config, "--config"),
            (self.socket.is_some(), takes.socket, "--socket"),
            (self.log_dir.is_some(), takes.log_dir, "--log-dir"),
        ] {
            if given && !taken {
                let fault = Fault::new(FaultCode::Usage, format!("`{flag}` has no effect on this command"));
                return Err(match flag {
                    "--socket" => fault.with_hint("it talks to no supervisor"),
                    _ => fault.with_hint(format!("a supervisor is told at its start: `section3 {flag} PATH`")),
                });
            }
        }
        if let (Some(Verb::Check(Check { place, .. }) | Verb::Init(place)), Some(_)) = (&self.verb, &self.config)
            && place.file.is_some()
        {
            return Err(Fault::new(FaultCode::Usage, "FILE and `--config` both name the config; say one of them"));
        }
        Ok(())
    }
}

/// Gives a command and all below it those of these flags that they take, and the others unseen.
fn give(mut command: Command, path: &str, flags: &[clap::Arg]) -> Command {
    if !path.is_empty() {
        let takes = Paths::of(path);
        for flag in flags {
            let is_taken = match flag.get_id().as_str() {
                "config" => takes.config,
                "socket" => takes.socket,
                _ => takes.log_dir,
            };
            // What follows the command of a plugin is the plugin's.
            if is_taken || path != "x" {
                command = command.arg(flag.clone().hide(!is_taken));
            }
        }
    }
    command.mut_subcommands(|inner| {
        let path = format!("{path} {}", inner.get_name());
        give(inner, path.trim_start(), flags)
    })
}

/// The words of the command that was given.
fn path(matches: &ArgMatches) -> String {
    match matches.subcommand() {
        Some((word, inner)) => format!("{word} {}", path(inner)).trim_end().to_owned(),
        None => String::new(),
    }
}
