//! Floor 2: `section3.yml` -> [`Spec`], or every problem in it with its place.
//!
//! Two steps: what was written ([`tree`]), then what is valid ([`check`] with one file an element under [`element`]).
//! [`source`] reads the file and [`plugin`] the manifests it names, everything else is pure: the environment comes in as a
//! function. The room never fills in a default for something wrong, never starts anything and never prints.
//!
//! Rules that the rest of the house may rely on:
//! - `defaults:` lies under each service: a key that the service has wins whole (a service's `backoff: {max: 5s}`
//!   takes nothing from a default `backoff`), except `env`, which is merged by name.
//! - `${NAME}`, `${NAME:-default}` and `$$` are expanded in every value; never in keys, and not in a command that is
//!   one string, which belongs to the shell.
//! - A relative `env_file` starts at the config's folder, a relative `dir` where the supervisor was started.
//! - `supervisor.select` leaves [`Spec::services`] whole: it only fills in `Selection::picked`, and whoever starts
//!   services drops dependencies that were not picked.

mod check;
mod cycle;
mod element;
mod expand;
pub mod plugin;
mod problem;
mod reader;
mod scripts;
mod service;
mod settings;
mod source;
pub mod starter;
mod tree;

#[cfg(test)]
mod golden;

use std::path::Path;

pub use problem::{Problem, Problems};
pub use source::exposure;

use crate::spec::Spec;

/// The supervisor's environment: a name to its value, `None` where it is unset (or no UTF-8).
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads and checks a config file; blocks for one small read.
///
/// # Errors
///
/// What is wrong with the file or in it; never empty.
pub fn load(path: &Path, env: Environment<'_>) -> Result<Spec, Problems> {
    let file = path.display().to_string();
    let text = source::read(path).map_err(|message| Problems::of_file(&file, message))?;
    parse(&text, &file, env)
}

/// Checks the text of a config file; `file` is its path, as it was given, for the messages and for relative paths.
///
/// # Errors
///
/// Everything that is wrong, in the order of the text; never empty.
pub fn parse(text: &str, file: &str, env: Environment<'_>) -> Result<Spec, Problems> {
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let check = |root: &tree::Node| {
        let mut report = reader::Report::new(env, folder);
        let spec = check::spec(root, &mut report);
        spec.ok_or_else(|| report.into_findings())
    };
    let of_syntax = |wrong| Problems::of_syntax(file, wrong);
    // A good file is on the boot path and is read once; only a wrong one is read again for the places.
    if let Ok(spec) = check(&tree::skim(text).map_err(of_syntax)?) {
        return Ok(spec);
    }
    check(&tree::read(text).map_err(of_syntax)?).map_err(|findings| Problems::of_text(file, text, findings))
}
