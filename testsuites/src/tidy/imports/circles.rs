//! The strongly connected components of a graph.

use std::collections::{BTreeMap, BTreeSet};

/// Whom each node leads to.
pub(super) type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// The components, each sorted (Kosaraju: the nodes in the order in which a walk leaves them,
/// then walks against the edges from the last of them on).
pub(super) fn components<'a>(graph: &Graph<'a>) -> Vec<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut left = Vec::new();
    for node in graph.keys() {
        walk(graph, node, &mut seen, &mut left);
    }
    let back = reversed(graph);
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for node in left.iter().rev() {
        let mut component = Vec::new();
        walk(&back, node, &mut seen, &mut component);
        component.sort_unstable();
        found.push(component);
    }
    found.retain(|component| !component.is_empty());
    found
}

/// Adds what `node` reaches to `left`, each node after those that it leads to.
fn walk<'a>(
    graph: &Graph<'a>,
    node: &'a str,
    seen: &mut BTreeSet<&'a str>,
    left: &mut Vec<&'a str>,
) {
    if seen.insert(node) {
        for next in graph.get(node).into_iter().flatten() {
            walk(graph, next, seen, left);
        }
        left.push(node);
    }
}

fn reversed<'a>(graph: &Graph<'a>) -> Graph<'a> {
    let mut back = Graph::new();
    for (from, to) in graph {
        for to in to {
            back.entry(to).or_default().insert(from);
        }
    }
    back
}
