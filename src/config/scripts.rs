//! The sections `hooks:`, `plugins:` and `secrets:`.

use super::element::{hooks, secrets};
use super::reader::{Report, Value};
use crate::spec::Scripts;

/// Reads the three sections; what is wrong is noted.
pub fn read(
    hooks: Option<&Value<'_>>,
    plugins: Option<&Value<'_>>,
    secrets: Option<&Value<'_>>,
    report: &mut Report<'_>,
) -> Scripts {
    for section in [hooks, plugins].into_iter().flatten() {
        if !cfg!(feature = "hooks") {
            report.note(
                section.key_spot(),
                "this section3 was built without hooks and plugins; use one that has them".to_owned(),
                None,
            );
        }
    }
    let secrets = secrets.map(|value| secrets::read(value, report)).unwrap_or_default();
    let hooks = hooks.map(|value| hooks::read(value, report)).unwrap_or_default();
    Scripts { hooks: hooks.into_iter().map(|(hook, _)| hook).collect(), plugins: Vec::new(), secrets }
}
