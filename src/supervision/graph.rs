//! Who depends on whom.

use std::collections::VecDeque;

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

    /// Whether something that needs it, directly or not, `is_so`. The nearest are asked first: in a long chain that is going
    /// down one of them is the answer, and everybody below asks.
    pub fn any_above(&self, id: ServiceId, is_so: impl Fn(ServiceId) -> bool) -> bool {
        let mut seen = Set::from([id]);
        let mut queue = VecDeque::from([id]);
        while let Some(at) = queue.pop_front() {
            for above in self.dependents(at) {
                if seen.insert(*above) {
                    if is_so(*above) {
                        return true;
                    }
                    queue.push_back(*above);
                }
            }
        }
        false
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

/// Everything that can be reached from `id`, the farthest first. A chain can be as long as a config: no recursion.
fn reach(edges: &Map<ServiceId, Vec<ServiceId>>, id: ServiceId) -> Vec<ServiceId> {
    let next = |id| edges.get(&id).map_or(&[] as &[ServiceId], Vec::as_slice).iter();
    let (mut seen, mut found) = (Set::from([id]), Vec::new());
    let mut path = vec![(id, next(id))];
    while let Some((at, rest)) = path.last_mut() {
        match rest.next() {
            Some(farther) if seen.insert(*farther) => path.push((*farther, next(*farther))),
            Some(_) => {}
            None => {
                found.push(*at);
                path.pop();
            }
        }
    }
    found.pop();
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
        let asked = std::cell::RefCell::new(Vec::new());
        let ask = |until: u32| {
            chain().any_above(ServiceId(0), |id| {
                asked.borrow_mut().push(id.0);
                id.0 == until
            })
        };
        assert!(ask(1) && !ask(9));
        assert_eq!(*asked.borrow(), [1, 1, 3, 2]);
    }

    /// As long as a config can make it.
    #[test]
    fn a_chain_of_any_length_fits_the_stack() {
        let long = 100_000;
        let edges = (0..long).map(|n| (ServiceId(n + 1), vec![ServiceId(n)]));
        assert_eq!(Graph::new(edges).below(ServiceId(long)).len(), long as usize);
    }

    #[test]
    fn the_longest_chain_counts() {
        assert_eq!(chain().levels_below(ServiceId(3), |_| true), 3);
        assert_eq!(chain().levels_below(ServiceId(3), |id| id != ServiceId(1)), 2);
        assert_eq!(chain().levels_below(ServiceId(0), |_| true), 0);
    }
}
