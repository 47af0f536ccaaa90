//! Dependencies that lead back to where they began.

/// The cycles of a graph, each as the nodes on it in order, the edge that closes it last; every edge that closes one is
/// named once, up to `limit`. `edges[n]` are the nodes that `n` needs.
///
/// Without recursion: a chain may be as long as the file.
pub fn cycles(edges: &[Vec<usize>], limit: usize) -> Vec<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; edges.len()];
    let mut found = Vec::new();
    for root in 0..edges.len() {
        if marks[root] != Mark::New {
            continue;
        }
        // The path from the root, with the next edge to follow at each node.
        let mut path = vec![(root, 0)];
        marks[root] = Mark::Open;
        while let Some((node, next)) = path.last_mut() {
            let Some(&to) = edges[*node].get(*next) else {
                marks[*node] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match marks[to] {
                Mark::New => {
                    marks[to] = Mark::Open;
                    path.push((to, 0));
                }
                Mark::Open if found.len() < limit => {
                    let start = path.iter().position(|(node, _)| *node == to).unwrap_or(0);
                    found.push(path[start..].iter().map(|(node, _)| *node).collect());
                }
                Mark::Open | Mark::Done => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::cycles;

    #[test]
    fn graphs() {
        for (edges, found) in [
            (vec![], vec![]),
            (vec![vec![1], vec![2], vec![]], vec![]),
            (vec![vec![1, 2], vec![2], vec![]], vec![]),
            (vec![vec![1], vec![0]], vec![vec![0, 1]]),
            (vec![vec![1], vec![2], vec![1]], vec![vec![1, 2]]),
            (vec![vec![1, 2], vec![0], vec![0]], vec![vec![0, 1], vec![0, 2]]),
        ] {
            assert_eq!(cycles(&edges, 10), found, "{edges:?}");
        }
    }

    #[test]
    fn a_chain_as_long_as_the_file() {
        let mut edges: Vec<_> = (1..=100_000).map(|next| vec![next]).collect();
        edges.push((0..100_000).collect());
        let found = cycles(&edges, 3);
        assert_eq!(found.len(), 3);
        assert_eq!(found.first().map(Vec::len), Some(100_001));
    }
}
