//! The sections `hooks:`, `plugins:` and `secrets:`: what the hook host loads.

use crate::value::sorted::Map;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything the hook host is there for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scripts {
    /// The entries of `hooks:`, in the order of the file; every name is unique among hooks and plugins.
    pub hooks: Vec<Hook>,
    /// The entries of `plugins:` that are enabled, in the order of the file.
    pub plugins: Vec<Plugin>,
    /// The entries of `plugins:` that are good but are not loaded; the services go on without them.
    pub withheld: Vec<Withheld>,
    /// `secrets:`.
    pub secrets: Map<String, SecretSource>,
}

impl Scripts {
    /// Whether a hook host is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hooks.is_empty() && self.plugins.is_empty()
    }
}

/// One entry of `hooks:`.
#[derive(Clone, Debug, PartialEq)]
pub enum Hook {
    /// A Lua file.
    File {
        /// The file's stem.
        name: String,
        /// Where it is; starts at the config's folder.
        path: PathBuf,
    },
    /// A program that is run for each event.
    Program {
        /// The program's file name, with `-2`, `-3` where one is there already.
        name: String,
        /// What is run for what.
        program: Program,
    },
}

/// A `run:` hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Event types and lists; never empty, all known.
    pub on: Vec<String>,
    /// A glob of service names.
    pub service: Option<String>,
    /// The words that are executed; never empty. A relative program with a slash starts at the config's folder.
    pub run: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
    /// The folder it runs in: the config's.
    pub dir: PathBuf,
}

/// One enabled entry of `plugins:`, its manifest read and its settings checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// The manifest's version.
    pub version: String,
    /// Where its Lua files are.
    pub origin: Origin,
    /// What it may do: the manifest's permissions, all covered by `allow:` (or granted, for those in the binary).
    pub permissions: Vec<String>,
    /// What it promised to register.
    pub provides: Provides,
    /// Its settings, checked against the manifest's schema, defaults filled in.
    pub settings: Value,
}

/// A plugin that wants to do more than its entry allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// Its name.
    pub name: String,
    /// Permissions that are missing.
    pub missing: Vec<String>,
    /// What `allow:` must be to load it.
    pub allow: Vec<String>,
}

impl std::fmt::Display for Withheld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |words: &[String]| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        let Self { name, missing, allow } = self;
        let missing = list(missing).replace('"', "`");
        write!(
            f,
            "the plugin `{name}` is not loaded: it wants {missing}, which its entry does not allow; to grant it, write into the config: "
        )?;
        write!(f, "plugins: {{{name}: {{allow: [{}]}}}}", list(allow))
    }
}

/// Where a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A folder.
    Folder(PathBuf),
    /// The binary.
    Binary,
}

/// The manifest's `provides:`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provides {
    /// Names of handlers and timers.
    pub handlers: Vec<String>,
    /// Names of checks.
    pub checks: Vec<String>,
    /// Names of probes.
    pub probes: Vec<String>,
    /// Names of commands.
    pub commands: Vec<String>,
    /// Points it advises on.
    pub decides: Vec<String>,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// A file; a newline at its end is not part of it.
    File(PathBuf),
    /// A variable of the supervisor's environment.
    Env(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withheld_plugin_says_what_to_write() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let withheld =
            Withheld { name: "x".to_owned(), missing: words(&["exec:gzip"]), allow: words(&["services:read", "exec:gzip"]) };
        assert_eq!(
            withheld.to_string(),
            "the plugin `x` is not loaded: it wants `exec:gzip`, which its entry does not allow; to grant it, write into the config: \
             plugins: {x: {allow: [\"services:read\", \"exec:gzip\"]}}"
        );
    }
}
