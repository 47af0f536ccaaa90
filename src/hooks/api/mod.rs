//! The table `s3`, but for what the runtime adds (`on`, `every`, `after`, `spawn`, `sleep`, `decide`, `check`, `probe`,
//! `command`): version 1 of the contract's section 8.4, one file a family. What is checked, and what is said of it, comes from
//! [`super::catalog`].
//!
//! Nothing here touches the world: that is for [`super::script::Effects`], whose real one is made from [`world`]. The one
//! exception is reading: files below the script's roots are read right here.

pub mod args;
mod crypto;
mod define;
mod exec;
pub mod fault;
mod fs;
mod http;
pub mod json;
mod kv;
mod log;
mod own;
mod permits;
mod re;
pub mod secret;
mod services;
mod text;
pub mod world;

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, Table};
use tokio::sync::Semaphore;

use super::script::Script;
use http::Chance;
use permits::Permits;
use secret::Known;

/// Requests of one script that are on their way at once; more wait for their turn.
const REQUESTS: usize = 8;

/// What the functions of one script have in common.
#[derive(Clone)]
struct Shared {
    script: Rc<Script>,
    known: Known,
    permits: Rc<Permits>,
    requests: Rc<Semaphore>,
    chance: Chance,
}

thread_local! {
    /// For a rehearsal, which has a thread of its own.
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes what is random in the scripts of this thread the same each time.
pub fn seed(seed: u64) {
    SEED.set(Some(seed));
}

/// Builds the table for one script.
///
/// # Errors
///
/// Where the heap is full.
pub fn install(lua: &Lua, script: &Rc<Script>) -> mlua::Result<Table> {
    let known = Known::default();
    lua.set_app_data(known.clone());
    let shared = Shared {
        script: Rc::clone(script),
        known,
        permits: Rc::new(Permits::of(script)),
        requests: Rc::new(Semaphore::new(REQUESTS)),
        chance: SEED.get().map_or_else(Chance::default, Chance::seeded),
    };
    let s3 = lua.create_table()?;
    fault::install(lua)?;
    for family in [
        own::install,
        http::install,
        exec::install,
        services::install,
        kv::install,
        log::install,
        json::install,
        re::install,
        crypto::install,
        text::install,
        fs::install,
    ] {
        family(lua, &s3, &shared)?;
    }
    Ok(s3)
}

/// A text about a script without the secrets that it has read: for everything that leaves the host.
#[must_use]
pub fn scrub(lua: &Lua, text: &str) -> String {
    lua.app_data_ref::<Known>().map_or_else(|| text.to_owned(), |known| known.scrub(text))
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
