//! Who depends on whom.

use super::message::ServiceId;
use crate::value::sorted::{Map, Set};

/// The dependencies in both directions. Free of cycles: the config was checked.
#[derive(Debug, Default)]
pub struct Graph {
    down: Map<ServiceId, Vec<ServiceId>>,
    up: Map<ServiceId, Vec<ServiceId>>,
}

impl Graph {
    /// The graph of services with what each depends on.
    pub fn new(services: impl Iterator<Item = (ServiceId, Vec<ServiceId>)>) -> Self {
        let mut graph = Self::default();
        for (id, dependencies) in services.filter(|(_, dependencies)| !dependencies.is_empty()) {
            for dependency in &dependencies {
                graph.up.get_or_default(*dependency).push(id);
            }
            graph.down.insert(id, dependencies);
        }
        graph
    }

    /// What it depends on.
    #[must_use]
    pub fn dependencies(&self, id: ServiceId) -> &[ServiceId] {
        self.down.get(&id).map_or(&[], Vec::as_slice)
    }

    /// What depends on it.
    #[must_use]
    pub fn dependents(&self, id: ServiceId) -> &[ServiceId] {
        self.up.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Everything it needs, directly or not, what is needed first coming first.
    #[must_use]
    pub fn below(&self, id: ServiceId) -> Vec<ServiceId> {
        reach(&self.down, id)
    }

    /// Everything that needs it, directly or not.
    #[must_use]
    pub fn above(&self, id: ServiceId) -> Vec<ServiceId> {
        reach(&self.up, id)
    }

    /// The longest chain of dependencies below it that are `counted`.
    pub fn levels_below(&self, id: ServiceId, counted: impl Fn(ServiceId) -> bool) -> u32 {
        let mut levels: Map<ServiceId, u32> = Map::new();
        // What is needed first comes first, so every level below is known when it is asked for.
        for below in self.below(id).into_iter().chain([id]) {
            let deepest = self.dependencies(below).iter().filter_map(|dependency| levels.get(dependency)).max();
            let own = u32::from(below != id && counted(below));
            levels.insert(below, deepest.copied().unwrap_or(0) + own);
        }
        levels.get(&id).copied().unwrap_or(0)
    }
}

/// Everything that can be reached from `id`, the farthest first.
fn reach(edges: &Map<ServiceId, Vec<ServiceId>>, id: ServiceId) -> Vec<ServiceId> {
    fn follow(edges: &Map<ServiceId, Vec<ServiceId>>, id: ServiceId, seen: &mut Set<ServiceId>, found: &mut Vec<ServiceId>) {
        for next in edges.get(&id).into_iter().flatten() {
            if seen.insert(*next) {
                follow(edges, *next, seen, found);
                found.push(*next);
            }
        }
    }
    let (mut seen, mut found) = (Set::from([id]), Vec::new());
    follow(edges, id, &mut seen, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3 -> 2 -> 1 -> 0, and 3 -> 0 directly.
    fn chain() -> Graph {
        let ids = |ids: &[u32]| ids.iter().copied().map(ServiceId).collect();
        Graph::new([(0, ids(&[])), (1, ids(&[0])), (2, ids(&[1])), (3, ids(&[2, 0]))].map(|(n, d)| (ServiceId(n), d)).into_iter())
    }

    #[test]
    fn what_is_needed_first_comes_first() {
        assert_eq!(chain().below(ServiceId(3)), [0, 1, 2].map(ServiceId));
        assert_eq!(chain().dependents(ServiceId(0)), [1, 3].map(ServiceId));
        assert_eq!(chain().above(ServiceId(1)), [3, 2].map(ServiceId));
    }

    #[test]
    fn the_longest_chain_counts() {
        assert_eq!(chain().levels_below(ServiceId(3), |_| true), 3);
        assert_eq!(chain().levels_below(ServiceId(3), |id| id != ServiceId(1)), 2);
        assert_eq!(chain().levels_below(ServiceId(0), |_| true), 0);
    }
}
