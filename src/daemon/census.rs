//! Who descends from whom, at one moment.

use std::cell::{Cell, OnceCell};

use crate::sys::process::{self, Process};
use crate::value::sorted::{Map, Set};

/// The processes there are, looked at once and only if asked for.
#[derive(Debug, Default)]
pub struct Census {
    family: OnceCell<Family>,
    /// Whether the strangers were looked at in the same moment.
    pub strangers_known: Cell<bool>,
}

#[derive(Debug)]
struct Family {
    all: Map<i32, Process>,
    children: Map<i32, Vec<i32>>,
}

impl Census {
    fn family(&self) -> &Family {
        self.family.get_or_init(|| {
            // Without /proc nobody but main processes and their groups can be found; the boot says so, once.
            let all = process::census().unwrap_or_default();
            let mut children: Map<i32, Vec<i32>> = Map::new();
            for process in &all {
                children.get_or_default(process.parent).push(process.pid);
            }
            Family { all: all.into_iter().map(|process| (process.pid, process)).collect(), children }
        })
    }

    /// Our own children.
    pub fn children(&self) -> Vec<i32> {
        self.family().children.get(&(std::process::id() as i32)).cloned().unwrap_or_default()
    }

    /// The processes in `roots` and all their descendants.
    pub(super) fn below(&self, roots: &[i32]) -> Vec<&Process> {
        if roots.is_empty() {
            return Vec::new();
        }
        let family = self.family();
        let mut found: Vec<i32> = roots.to_vec();
        // The census is not one instant, so its chains may even form a ring: nobody is visited twice.
        let mut seen: Set<i32> = roots.iter().copied().collect();
        let mut at = 0;
        while let Some(pid) = found.get(at).copied() {
            at += 1;
            let children = family.children.get(&pid).into_iter().flatten();
            found.extend(children.copied().filter(|child| seen.insert(*child)));
        }
        found.iter().filter_map(|pid| family.all.get(pid)).collect()
    }
}
