//! The scripts that the config names, how each is doing, and what a reload changes about them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::hooks::frame::{Body, Loaded};
use crate::spec::Scripts;
use crate::spec::script::{Hook, Origin};
use crate::supervision::Ticket;
use crate::value::sorted::Map;
use crate::wire::event::Actor;

/// Files of one script that are looked at; one with more is reloaded only when its first ones change.
const MOST_FILES: usize = 256;
/// Folders below a script's own that are looked into.
const DEEPEST: usize = 3;

/// One script.
#[derive(Debug)]
pub struct Script {
    /// Its name; unique.
    pub name: String,
    /// Hook, program or plugin, as the host is told.
    pub body: Body,
    /// How its files were when it was read last.
    pub print: Print,
    /// The newest version that the host was told to load.
    pub generation: u64,
    /// The event from which its new handlers hear.
    pub from: u64,
    /// How the newest version is doing.
    pub state: State,
    /// What the version in force registered.
    pub loaded: Option<Loaded>,
    /// The client that waits for the newest version to load.
    pub ticket: Option<Ticket>,
    /// Lines of its log that may still be told within this while, and those that were not.
    pub voice: super::stderr::Voice,
}

/// How the newest version of a script is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The host was not told of it.
    Absent,
    /// The host was told.
    Loading,
    /// It is in force.
    Loaded,
    /// It could not be loaded: why. An older version may be in force.
    Refused(String),
}

impl Script {
    /// Who acts when it acts.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let name: Arc<str> = self.name.as_str().into();
        match &self.body {
            Body::Plugin(_) => Actor::Plugin(name),
            Body::Hook { .. } | Body::Program(_) => Actor::Hook(name),
        }
    }

    /// The word for what it is.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match &self.body {
            Body::Hook { .. } => "hook",
            Body::Program(_) => "run",
            Body::Plugin(_) => "plugin",
        }
    }
}

/// The scripts of a config, with what tells one version of their files from the next.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Name, body, files; in the order of the file, hooks first.
    pub scripts: Vec<(String, Body, Print)>,
}

/// What tells one version of a script's files from the next: path, inode, size and time of each.
pub type Print = Map<PathBuf, (u64, u64, i64, i64)>;

impl Catalogue {
    /// Looks at the files of these scripts. Waits for the disk: not for the event loop.
    #[must_use]
    pub fn read(scripts: &Scripts) -> Self {
        let files: Vec<&Path> = scripts
            .hooks
            .iter()
            .filter_map(|hook| match hook {
                Hook::File { path, .. } => Some(path.as_path()),
                Hook::Program { .. } => None,
            })
            .collect();
        let hooks = scripts.hooks.iter().map(|hook| match hook {
            Hook::File { name, path } => {
                let mut print = Print::new();
                look_at(path, &mut print);
                // What it may `require`; the other hooks of the folder have nothing to do with it.
                if let Some(folder) = path.parent() {
                    look_into(folder, 1, &files, &mut print);
                }
                (name.clone(), Body::Hook { path: path.clone() }, print)
            }
            Hook::Program { name, program } => (name.clone(), Body::Program(program.clone()), Print::new()),
        });
        let plugins = scripts.plugins.iter().map(|plugin| {
            let mut print = Print::new();
            if let Origin::Folder(folder) = &plugin.origin {
                look_into(folder, DEEPEST, &[], &mut print);
            }
            (plugin.name.clone(), Body::Plugin(plugin.clone()), print)
        });
        Self { scripts: hooks.chain(plugins).collect() }
    }
}

fn look_at(path: &Path, print: &mut Print) {
    if let Ok(meta) = std::fs::metadata(path) {
        print.insert(path.to_owned(), (meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()));
    }
}

fn look_into(folder: &Path, depth: usize, except: &[&Path], print: &mut Print) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.take(4 * MOST_FILES).flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if print.len() >= MOST_FILES {
            return;
        }
        let is_source = path.extension().is_some_and(|extension| extension == "lua" || extension == "yml");
        if is_source && !except.contains(&path.as_path()) {
            look_at(&path, print);
        } else if depth > 1 && path.is_dir() {
            look_into(&path, depth - 1, except, print);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(name: &str, folder: &Path) -> Hook {
        Hook::File { name: name.to_owned(), path: folder.join(format!("{name}.lua")) }
    }

    #[test]
    fn a_change_of_a_file_or_of_what_it_requires_is_seen_and_its_neighbours_is_not() {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        for name in ["a.lua", "b.lua", "lib.lua", "notes.txt"] {
            write(name, "x");
        }
        let hooks = vec![hook("a", folder.path()), hook("b", folder.path())];
        let scripts = Scripts { hooks, ..Scripts::default() };
        let read = || Catalogue::read(&scripts).scripts.into_iter().map(|(.., print)| print).collect::<Vec<_>>();
        let mut before = read();
        for (name, changes) in [("b.lua", [false, true]), ("lib.lua", [true, true]), ("notes.txt", [false, false])] {
            write(name, "longer");
            let after = read();
            assert_eq!([after[0] != before[0], after[1] != before[1]], changes, "{name}");
            before = after;
        }
    }
}
