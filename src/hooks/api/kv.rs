//! `s3.kv`: what a script keeps for later. In memory, and written to one file soon after each change, so that it outlives the
//! host and the supervisor; nothing here waits for the disk.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use mlua::{Lua, Table, Value};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::task::spawn_local;

use super::Shared;
use super::define::{fallible, plain};
use super::fault::{Fault, fault};
use super::json::{Secrets, from_json, to_json};
use super::world::files;
use crate::hooks::script::{FileChange, Script, may_wait};
use crate::value::json;
use crate::value::sorted::Map;
use crate::wire::event::Severity;

/// Bytes of all keys and values together.
const MAX_TOTAL: usize = 1 << 20;
/// Bytes of one value, as JSON.
const MAX_VALUE: usize = 64 << 10;
/// Bytes of a key.
const MAX_KEY: usize = 256;

/// What is kept.
struct Store {
    script: Rc<Script>,
    entries: Map<String, Entry>,
    /// Of all keys and values.
    bytes: usize,
    /// Whether something changed that no write has taken up yet.
    changed: bool,
    /// Whether a write is under way.
    writing: bool,
    /// Whether it was read after the version of the script before this one had written its last.
    is_latest: bool,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    value: Json,
    /// Milliseconds since 1970; for ever without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Kept {
    v: u32,
    entries: Map<String, Entry>,
}

impl Store {
    /// What an earlier host kept. A file that is not ours is told and left until the first change.
    fn open(script: Rc<Script>) -> Self {
        let mut store = Self { script, entries: Map::new(), bytes: 0, changed: false, writing: false, is_latest: false };
        store.read();
        store
    }

    fn read(&mut self) {
        let Self { script, .. } = self;
        self.is_latest = may_wait(script).is_ok();
        let path = files::kept(&script.state_dir);
        let mut entries = Map::new();
        match std::fs::read(&path).map(|bytes| json::from_slice::<Kept>(&bytes)) {
            Ok(Ok(kept)) if kept.v == 1 => entries = kept.entries,
            Ok(_) => {
                let line = format!("{} is no file of `kv`, which begins empty", path.display());
                script.effects.log(Severity::Warning, line, Map::new());
            }
            Err(_) => {} // Nothing was kept yet.
        }
        self.bytes = entries.iter().map(|(key, entry)| size(key, &entry.value)).sum();
        self.entries = entries;
    }

    /// The store as it is now. A version that was loaded while the one before it went on has read too early.
    fn latest(store: &Rc<RefCell<Self>>) -> &Rc<RefCell<Self>> {
        {
            let mut store = store.borrow_mut();
            if !store.is_latest && may_wait(&store.script).is_ok() {
                store.read();
            }
        }
        store
    }

    fn now_ms(&self) -> u64 {
        let since = self.script.effects.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        crate::value::duration::millis(since)
    }

    fn get(&self, key: &str) -> Option<&Json> {
        let now = self.now_ms();
        self.entries.get(key).filter(|entry| entry.is_there(now)).map(|entry| &entry.value)
    }

    fn set(&mut self, key: String, value: Json, until_ms: Option<u64>) -> Result<(), Fault> {
        let now = self.now_ms();
        let size = size(&key, &value);
        if size - key.len() > MAX_VALUE {
            return Err(fault("too_large", format!("a value is at most 64 KiB, found {} bytes", size - key.len())));
        }
        let old = self.entries.get(&key).map_or(0, |entry| self::size(&key, &entry.value));
        if self.bytes - old + size > MAX_TOTAL {
            self.sweep(now);
        }
        let old = self.entries.get(&key).map_or(0, |entry| self::size(&key, &entry.value));
        if self.bytes - old + size > MAX_TOTAL {
            return Err(fault("full", "a script keeps at most 1 MiB: delete something, or give it a `ttl`"));
        }
        self.bytes = self.bytes - old + size;
        self.entries.insert(key, Entry { value, until_ms });
        Ok(())
    }

    fn delete(&mut self, key: &str) -> bool {
        let now = self.now_ms();
        let Some(entry) = self.entries.remove(key) else { return false };
        self.bytes -= size(key, &entry.value);
        entry.is_there(now)
    }

    /// Forgets what is over.
    fn sweep(&mut self, now: u64) {
        self.entries.retain(|_, entry| entry.is_there(now));
        self.bytes = self.entries.iter().map(|(key, entry)| size(key, &entry.value)).sum();
    }

    fn written(&mut self) -> Vec<u8> {
        self.sweep(self.now_ms());
        json::to_vec(&Kept { v: 1, entries: self.entries.clone() }).unwrap_or_default()
    }
}

impl Entry {
    fn is_there(&self, now: u64) -> bool {
        self.until_ms.is_none_or(|until| until > now)
    }
}

fn size(key: &str, value: &Json) -> usize {
    key.len() + value.to_string().len()
}

/// Writes what changed, one write at a time; what changes meanwhile is in the next one.
fn write(store: &Rc<RefCell<Store>>) {
    let script = {
        let mut store = store.borrow_mut();
        store.changed = true;
        if store.writing {
            return;
        }
        store.writing = true;
        store.script.keeping.begin();
        store.script.clone()
    };
    let store = Rc::clone(store);
    spawn_local(async move {
        loop {
            let bytes = {
                let mut store = store.borrow_mut();
                if !store.changed {
                    store.writing = false;
                    script.keeping.end();
                    return;
                }
                store.changed = false;
                store.written()
            };
            if let Err(fault) = script.effects.change(FileChange::Keep { bytes }).await {
                let line = format!("`kv` is in memory only: {}", fault.message);
                script.effects.log(Severity::Warning, line, Map::new());
            }
        }
    });
}

pub(super) fn install(lua: &Lua, s3: &Table, shared: &Shared) -> mlua::Result<()> {
    let script = Rc::clone(&shared.script);
    let store = Rc::new(RefCell::new(Store::open(Rc::clone(&script))));
    let kept = Rc::clone(&store);
    plain(lua, s3, "kv.get", move |lua, args| match Store::latest(&kept).borrow().get(&args.text(0)) {
        Some(value) => from_json(lua, value),
        None => Ok(args.value(1).clone()),
    })?;
    let (kept, own) = (Rc::clone(&store), Rc::clone(&script));
    fallible(lua, s3, "kv.set", move |lua, args| {
        may_wait(&own).map_err(|why| args.misuse(lua, why))?;
        let key = args.text(0);
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(args.misuse(lua, format!("a key has 1 to {MAX_KEY} bytes")));
        }
        let value = to_json(lua, args.value(1), Secrets::Hidden).map_err(|what| args.misuse(lua, what))?;
        if value.is_null() {
            return Err(args.misuse(lua, "nothing cannot be kept; s3.kv.delete forgets a key"));
        }
        let until = args
            .options(2)
            .duration("ttl")
            .map(|ttl: Duration| kept.borrow().now_ms().saturating_add(crate::value::duration::millis(ttl)));
        let done = Store::latest(&kept).borrow_mut().set(key, value, until);
        if done.is_ok() {
            write(&kept);
        }
        Ok(done.map(|()| Value::Boolean(true)))
    })?;
    let (kept, own) = (Rc::clone(&store), Rc::clone(&script));
    fallible(lua, s3, "kv.incr", move |lua, args| {
        may_wait(&own).map_err(|why| args.misuse(lua, why))?;
        let key = args.text(0);
        let by = args.number(1).unwrap_or(1.0);
        let (old, until) = {
            let store = Store::latest(&kept).borrow();
            let old = store.get(&key).cloned();
            let until = old.as_ref().and_then(|_| store.entries.get(&key)).and_then(|entry| entry.until_ms);
            (old, until)
        };
        let old = match old {
            None => 0.0,
            Some(Json::Number(number)) => number.as_f64().unwrap_or(0.0),
            Some(_) => return Ok(Err(fault("invalid", format!("`{key}` is no number")))),
        };
        let value = to_json(lua, &Value::Number(old + by), Secrets::Hidden).map_err(|what| args.misuse(lua, what))?;
        let done = kept.borrow_mut().set(key, value.clone(), until);
        if done.is_ok() {
            write(&kept);
        }
        match done {
            Ok(()) => from_json(lua, &value).map(Ok),
            Err(fault) => Ok(Err(fault)),
        }
    })?;
    let (kept, own) = (Rc::clone(&store), Rc::clone(&script));
    plain(lua, s3, "kv.delete", move |lua, args| {
        may_wait(&own).map_err(|why| args.misuse(lua, why))?;
        let was_there = Store::latest(&kept).borrow_mut().delete(&args.text(0));
        if was_there {
            write(&kept);
        }
        Ok(was_there)
    })?;
    plain(lua, s3, "kv.keys", move |_, args| {
        let prefix = args.text(0);
        let store = Store::latest(&store).borrow();
        let now = store.now_ms();
        let there = store.entries.iter().filter(|(key, entry)| key.starts_with(&prefix) && entry.is_there(now));
        Ok(there.map(|(key, _)| key.clone()).collect::<Vec<_>>())
    })
}
