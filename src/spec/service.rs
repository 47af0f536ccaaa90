//! One entry of `services:`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Policy, Ready};
use crate::value::ServiceName;
use crate::value::sorted::Map;

/// A service: what is launched, and how its life is looked after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// What a launch needs. A change takes effect at the next explicit restart of a running service.
    pub definition: Definition,
    /// How it is looked after. A change takes effect at once.
    pub policy: Policy,
}

/// The part of a service that its process is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Definition {
    /// What to run.
    pub command: Command,
    /// Working directory; `None` is the one the supervisor was started in.
    pub dir: Option<PathBuf>,
    /// What must be there before a launch.
    pub depends_on: Vec<Dependency>,
    /// Variables set on top of the inherited ones and of `env_files`.
    pub env: Map<String, String>,
    /// Files of `NAME=value` lines, read anew at every launch; later ones win.
    pub env_files: Vec<PathBuf>,
    /// Whether the supervisor's environment is left out, but for `PATH`, `HOME` and `USER`.
    pub clean_env: bool,
    /// Who it runs as; `None` is the supervisor's own user.
    pub user: Option<User>,
    /// File mode creation mask.
    pub umask: u32,
    /// Nice value, -20 to 19; `None` is inherited.
    pub nice: Option<i32>,
    /// `oom_score_adj`, -1000 to 1000; `None` is inherited.
    pub oom_score_adj: Option<i32>,
    /// Resource limits; what is not named is inherited.
    pub limits: Vec<Limit>,
    /// How one knows that it is ready; `None`: as soon as its program has been exec'ed.
    pub ready: Option<Ready>,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments, executed directly; never empty.
    Argv(Vec<String>),
}

impl Command {
    /// The words that are executed.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
            Self::Argv(words) => words.clone(),
        }
    }
}

/// A service that must be there before a launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Dependency {
    /// Which.
    pub name: ServiceName,
    /// What "there" means.
    pub condition: Condition,
}

/// What a dependency must have reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Its process runs (or has ended with 0 for good).
    Started,
    /// It is ready (or has ended with 0 for good).
    Ready,
    /// It has ended with 0 for good.
    Completed,
}

/// Who a service runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct User {
    /// The user.
    pub user: Account,
    /// The group; `None` is the user's primary one.
    pub group: Option<Account>,
}

/// A user or group as written; names are looked up at each launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Account {
    /// By name.
    Name(String),
    /// By number.
    Number(u32),
}

/// One resource limit, soft and hard alike; see `setrlimit(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Limit {
    /// Which.
    pub resource: Resource,
    /// How much.
    pub value: LimitValue,
}

/// The resources that `limits:` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of setrlimit(2)")]
pub enum Resource {
    Nofile,
    Nproc,
    Core,
    Memlock,
    Stack,
    As,
    Fsize,
}

/// The height of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitValue {
    /// A number of descriptors, processes or bytes.
    At(u64),
    /// None.
    Unlimited,
}
