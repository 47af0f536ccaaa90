//! `plugin check`: a plugin's `init.lua` is run as the hook host would, far enough to know what it registers.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use super::recorder::Recorder;
use super::{Outcome, told, watched};
use crate::hooks::host::{Content, Meter, Pulse, load};
use crate::hooks::script::{Effects, Keeping, Phase, Script, ScriptKind};
use crate::spec::script::{Plugin, SecretSource};
use crate::value::sorted::Map;
use crate::value::version::VERSION;

/// Runs the body of a plugin's `init.lua`, which only registers.
///
/// # Errors
///
/// Why the hook host would not load it: a mistake, a limit, or something else registered than `provides` says.
pub fn try_plugin(plugin: Plugin, secrets: Map<String, SecretSource>) -> Result<(), String> {
    let name = plugin.name.clone();
    let outcome = watched(&name, move |pulse| perform(plugin, secrets, pulse));
    match outcome.problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

fn perform(plugin: Plugin, secrets: Map<String, SecretSource>, pulse: &Arc<Pulse>) -> Outcome {
    let runtime = match Builder::new_current_thread().enable_all().start_paused(true).build() {
        Ok(runtime) => runtime,
        Err(error) => return Outcome::lost(format!("cannot start the runtime: {error}")),
    };
    LocalSet::new().block_on(&runtime, async {
        let name = plugin.name.clone();
        // Nothing is written there: a body cannot wait, so it can do nothing.
        let nowhere = PathBuf::from("/nonexistent");
        let recorder: Rc<dyn Effects> = Rc::new(Recorder::new(channel().0, Vec::new(), None, nowhere.clone()));
        let script = Script {
            name: name.clone(),
            kind: ScriptKind::Plugin,
            granted: Some(plugin.permissions.clone()),
            settings: plugin.settings.clone(),
            state_dir: nowhere.clone(),
            log_dir: nowhere,
            host: "host".to_owned(),
            boot: "00000000000000aa".to_owned(),
            version: VERSION.to_owned(),
            secrets,
            effects: recorder,
            phase: Cell::new(Phase::Loading),
            keeping: Keeping::default(),
        };
        let content = Content::of_plugin(plugin);
        match load(script, content, Meter::new(Arc::clone(pulse), || {}), Rc::new(|_| {})) {
            Ok(_) => Outcome::default(),
            Err(error) => Outcome::lost(told(&error, &name)),
        }
    })
}
