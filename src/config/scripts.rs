//! The sections `hooks:`, `plugins:` and `secrets:`.

use super::element::{hooks, secrets};
use super::plugin::{self, Entry};
use super::reader::{Report, Spot, Value};
use crate::spec::Scripts;
use crate::spec::script::Hook;

/// What the three sections say, and the names that `decisions:` may name: also of what is switched off or withheld.
#[derive(Default)]
pub struct Read {
    /// The sections.
    pub scripts: Scripts,
    /// Names of hooks and plugins.
    pub names: Vec<String>,
}

/// Reads the three sections; what is wrong is noted.
pub fn read(
    hooks: Option<&Value<'_>>,
    plugins: Option<&Value<'_>>,
    secrets: Option<&Value<'_>>,
    report: &mut Report<'_>,
) -> Read {
    let mut read = Read::default();
    read.scripts.secrets = secrets.map(|value| secrets::read(value, report)).unwrap_or_default();
    // What is in them does not matter then, and the program is smaller without what reads it and the plugins that it has.
    if !cfg!(feature = "hooks") {
        for section in [hooks, plugins].into_iter().flatten() {
            let message = "this section3 was built without hooks and plugins; use one that has them";
            report.note(section.key_spot(), message.to_owned(), None);
        }
        return read;
    }
    let hooks = hooks.map(|value| hooks::read(value, report)).unwrap_or_default();
    let entries = plugins.map(|value| plugin::read(value, report, Some(&read.scripts.secrets))).unwrap_or_default();
    for (hook, _) in hooks {
        let (Hook::File { name, .. } | Hook::Program { name, .. }) = &hook;
        read.names.push(name.clone());
        read.scripts.hooks.push(hook);
    }
    for entry in entries {
        let (name, spot) = match &entry {
            Entry::Loaded(plugin, spot) => (&plugin.name, spot),
            Entry::Withheld(withheld, spot) => (&withheld.name, spot),
            Entry::Disabled(name, spot) => (name, spot),
        };
        taken(name, spot, &read.names, report);
        read.names.push(name.clone());
        match entry {
            Entry::Loaded(plugin, _) => read.scripts.plugins.push(*plugin),
            Entry::Withheld(withheld, _) => read.scripts.withheld.push(withheld),
            Entry::Disabled(..) => {}
        }
    }
    read
}

/// Notes a plugin that is called like a hook: both would be the same word in `decisions:` and `hook list`.
fn taken(name: &str, spot: &Spot, names: &[String], report: &mut Report<'_>) {
    if names.iter().any(|before| before == name) {
        report.note(spot.clone(), format!("there is a hook of the name `{name}`; rename its file"), None);
    }
}
