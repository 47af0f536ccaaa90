//! The keys of a service, and `defaults:`, which has the same but two.

use std::path::PathBuf;
use std::time::Duration;

use super::element::{backoff, command, decisions, dependencies, environment, limits, probe, user, words};
use super::reader::{GRACE, Keys, Report, Value};
use super::tree::Node;
use crate::spec::{Backoff, Command, Definition, Dependency, Health, Limit, LogLimits, Policy, Ready, Restart, Service, User};
use crate::value::sorted::Map;
use crate::value::{ByteSize, ServiceName, Signal};

/// The file mode creation mask of a service that names none.
const UMASK: u32 = 0o022;

/// Other supervisors' names for our keys: Compose, systemd, supervisord, process-compose, pm2.
const FOREIGN: &[(&str, &str)] = &[
    ("cmd", "command"),
    ("exec", "command"),
    ("execstart", "command"),
    ("entrypoint", "command"),
    ("run", "command"),
    ("script", "command"),
    ("cwd", "dir"),
    ("directory", "dir"),
    ("working_dir", "dir"),
    ("workdir", "dir"),
    ("workingdirectory", "dir"),
    ("environment", "env"),
    ("environmentfile", "env_file"),
    ("env_files", "env_file"),
    ("autorestart", "restart"),
    ("availability", "restart"),
    ("restart_policy", "restart"),
    ("after", "depends_on"),
    ("requires", "depends_on"),
    ("needs", "depends_on"),
    ("ulimits", "limits"),
    ("readiness", "ready"),
    ("readiness_probe", "ready"),
    ("healthcheck", "health"),
    ("liveness_probe", "health"),
    ("stopsignal", "stop_signal"),
    ("kill_signal", "stop_signal"),
    ("stop_grace_period", "stop_grace"),
    ("stopwaitsecs", "stop_grace"),
    ("kill_timeout", "stop_grace"),
    ("stop_timeout", "stop_grace"),
    ("restart_sec", "backoff"),
    ("restart_delay", "backoff"),
    ("stdout_logfile_maxbytes", "log_max_size"),
    ("log_size", "log_max_size"),
    ("stdout_logfile_backups", "log_keep"),
    ("oom_score", "oom_score_adj"),
    ("oomscoreadjust", "oom_score_adj"),
    ("uid", "user"),
    ("group", "user"),
    ("critical", "essential"),
];

const SERVICE: Keys = Keys {
    known: &[
        "command",
        "depends_on",
        "dir",
        "restart",
        "env",
        "env_file",
        "clean_env",
        "user",
        "umask",
        "nice",
        "oom_score_adj",
        "limits",
        "ready",
        "health",
        "stop_signal",
        "stop_grace",
        "backoff",
        "log_max_size",
        "log_keep",
        "essential",
        "decisions",
    ],
    foreign: FOREIGN,
    rule: "allowed: a map with at least `command`",
};

/// The keys of one service, or of `defaults:`; what was not written is `None`.
#[derive(Default)]
pub struct Written {
    /// What to run.
    pub command: Option<Command>,
    /// What must be there before.
    pub depends_on: Vec<dependencies::Wanted>,
    /// The scripts that may advise; whether they exist is for who knows them to check.
    pub decisions: Option<Vec<decisions::Wanted>>,
    dir: Option<PathBuf>,
    restart: Option<Restart>,
    env: Map<String, String>,
    env_files: Option<Vec<PathBuf>>,
    clean_env: Option<bool>,
    user: Option<User>,
    umask: Option<u32>,
    nice: Option<i32>,
    oom_score_adj: Option<i32>,
    limits: Option<Vec<Limit>>,
    ready: Option<Ready>,
    health: Option<Health>,
    stop_signal: Option<Signal>,
    stop_grace: Option<Duration>,
    backoff: Option<Backoff>,
    log_max_size: Option<ByteSize>,
    log_keep: Option<u32>,
    essential: Option<bool>,
}

/// Reads `defaults:`.
pub fn defaults(value: &Value<'_>, report: &mut Report<'_>) -> Written {
    let keys = Keys { known: &SERVICE.known[2..], foreign: FOREIGN, rule: "allowed: a map of keys for all services" };
    read(value, &keys, report)
}

/// Reads one entry of `services:`.
pub fn service(value: &Value<'_>, report: &mut Report<'_>) -> Written {
    let written = read(value, &SERVICE, report);
    // Where it is wrong or misspelled that has been said.
    if matches!(value.node(), Node::Map(_)) && !value.names("command", &SERVICE) {
        report.note(value.key_spot(), "no `command`; a service needs one".to_owned(), None);
    }
    written
}

fn read(value: &Value<'_>, keys: &Keys, report: &mut Report<'_>) -> Written {
    let mut written = Written::default();
    for (key, value) in value.fields(report, keys).unwrap_or_default() {
        let (value, to) = (&value, &mut written);
        match key {
            "command" => to.command = command::read(value, report),
            "depends_on" => to.depends_on = dependencies::read(value, report),
            "dir" => to.dir = value.path_value(report),
            "restart" => to.restart = words::restart(value, report),
            "env" => to.env = environment::read(value, report).unwrap_or_default(),
            "env_file" => to.env_files = environment::files(value, report),
            "clean_env" => to.clean_env = value.truth(report),
            "user" => to.user = user::read(value, report),
            "umask" => to.umask = user::umask(value, report),
            // setpriority(2) and proc(5).
            "nice" => to.nice = value.integer(report, -20..=19),
            "oom_score_adj" => to.oom_score_adj = value.integer(report, -1000..=1000),
            "limits" => to.limits = limits::read(value, report),
            "ready" => to.ready = probe::ready(value, report),
            "health" => to.health = probe::health(value, report),
            "stop_signal" => to.stop_signal = value.parsed(report, "allowed: a signal such as `TERM` or `INT`", Signal::parse),
            "stop_grace" => to.stop_grace = value.duration(report, GRACE),
            "backoff" => to.backoff = backoff::read(value, report),
            "log_max_size" => to.log_max_size = value.size(report),
            "log_keep" => to.log_keep = backoff::log_keep(value, report),
            "essential" => to.essential = value.truth(report),
            _ => to.decisions = decisions::read(value, report),
        }
    }
    written
}

impl Written {
    /// When it restarts, with what lies under it.
    pub fn restart(&self, under: &Self) -> Restart {
        self.restart.or(under.restart).unwrap_or(Policy::default().restart)
    }

    /// The whole service: its own keys, then the defaults of the file, then those of the contract.
    pub fn complete(self, under: &Self, name: ServiceName, command: Command, depends_on: Vec<Dependency>) -> Service {
        let base = Policy::default();
        let log = LogLimits::default();
        let mut env = under.env.clone();
        let restart = self.restart(under);
        env.extend(self.env);
        Service {
            name,
            definition: Definition {
                command,
                dir: self.dir.or_else(|| under.dir.clone()),
                depends_on,
                env,
                env_files: self.env_files.or_else(|| under.env_files.clone()).unwrap_or_default(),
                clean_env: self.clean_env.or(under.clean_env).unwrap_or(false),
                user: self.user.or_else(|| under.user.clone()),
                umask: self.umask.or(under.umask).unwrap_or(UMASK),
                nice: self.nice.or(under.nice),
                oom_score_adj: self.oom_score_adj.or(under.oom_score_adj),
                limits: self.limits.or_else(|| under.limits.clone()).unwrap_or_default(),
                ready: self.ready.or_else(|| under.ready.clone()),
            },
            policy: Policy {
                restart,
                backoff: self.backoff.or(under.backoff).unwrap_or(base.backoff),
                stop_signal: self.stop_signal.or(under.stop_signal).unwrap_or(base.stop_signal),
                stop_grace: self.stop_grace.or(under.stop_grace).unwrap_or(base.stop_grace),
                log: LogLimits {
                    max_size: self.log_max_size.or(under.log_max_size).unwrap_or(log.max_size),
                    keep: self.log_keep.or(under.log_keep).unwrap_or(log.keep),
                },
                health: self.health.or_else(|| under.health.clone()),
                essential: self.essential.or(under.essential).unwrap_or(base.essential),
                decisions: self
                    .decisions
                    .as_ref()
                    .or(under.decisions.as_ref())
                    .map_or_else(Vec::new, |names| names.iter().map(|wanted| wanted.name.clone()).collect()),
            },
        }
    }
}
