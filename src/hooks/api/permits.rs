//! What a plugin may do: looked at before each call that reaches outside. A hook is the operator's own and may do everything.

use mlua::Lua;

use crate::hooks::script::{Script, ScriptKind, misuse};
use crate::spec::permission::Permission;

/// The permissions of one script.
#[derive(Debug)]
pub struct Permits {
    plugin: String,
    granted: Option<Vec<Permission>>,
}

impl Permits {
    /// Those of a script; a permission that cannot be read permits nothing.
    pub fn of(script: &Script) -> Self {
        let granted = script.granted.as_ref().map(|list| list.iter().filter_map(|text| Permission::parse(text).ok()).collect());
        // A plugin that was granted nothing at all may do nothing.
        let granted = granted.or_else(|| (script.kind == ScriptKind::Plugin).then(Vec::new));
        Self { plugin: script.name.clone(), granted }
    }

    /// Whether the script may do this.
    pub fn has(&self, wanted: &Permission) -> bool {
        self.granted.as_ref().is_none_or(|granted| granted.iter().any(|permission| permission.covers(wanted)))
    }

    /// Refuses what was not granted.
    ///
    /// # Errors
    ///
    /// To be raised, with what to write where.
    pub fn require(&self, lua: &Lua, function: &str, wanted: &Permission) -> mlua::Result<()> {
        if self.has(wanted) {
            return Ok(());
        }
        Err(misuse(
            lua,
            format!(
                "s3.{function} needs the permission `{wanted}`; name it under `permissions:` in plugin.yml, and grant it in section3.yml:\n\
                 plugins:\n  {}:\n    allow: [\"{wanted}\"]",
                self.plugin
            ),
        ))
    }
}
