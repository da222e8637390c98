//! The tree of names: the store, namespaces, repositories; and where in it a blob counts.
//!
//! # Which node a blob belongs to
//!
//! The repositories are numbered depth first. Of the repositories that reach a blob only the first and the last matter
//! then: their lowest common ancestor is that of all of them. There the blob is exclusive, and so it is to everything
//! above; below, it is shared.
//!
//! # Distinct totals
//!
//! A blob adds its size at each repository that reaches it, and takes it away again at the lowest common ancestor of
//! each two that follow each other. Summed up from below, every node then counts it once, however many of the
//! repositories below reach it.

use std::collections::{HashMap, HashSet};

use crate::plan::BlobTotals;

/// A node of the tree, by its number.
pub(super) type NodeId = u32;

/// A node while it is built.
#[derive(Debug)]
pub(super) struct Node {
    /// The whole name; empty for the store.
    pub(super) name: Box<str>,
    pub(super) parent: NodeId,
    pub(super) depth: u32,
    /// The place of the repository, if it is one.
    pub(super) repository: Option<usize>,
}

/// The tree. Children come behind their parents, and repositories are in the order of a walk, depth first.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// The nodes of the repositories, in the order of the walk.
    pub(super) walk: Vec<NodeId>,
}

/// The store.
pub(super) const STORE: NodeId = 0;

impl Tree {
    /// The tree of these names.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Tree {
        let mut names: Vec<(usize, &str)> = names.enumerate().collect();
        // By their components: `a-b` stands before `a/b` in the order of bytes, and not between `a` and `a/b` here.
        names.sort_by(|(_, a), (_, b)| a.split('/').cmp(b.split('/')));
        let store = Node { name: "".into(), parent: STORE, depth: 0, repository: None };
        let mut tree = Tree { nodes: vec![store], walk: Vec::with_capacity(names.len()) };
        let above = |name: &'a str| name.match_indices('/').map(move |(end, _)| &name[..end]);
        let is_namespace: HashSet<&str> = names.iter().flat_map(|(_, name)| above(name)).collect();
        let mut namespaces: HashMap<&str, NodeId> = HashMap::new();
        for (place, name) in names {
            let mut parent = STORE;
            // A repository may be a namespace as well, and then it stands in that, beside what is below it.
            for namespace in above(name).chain(is_namespace.contains(name).then_some(name)) {
                parent = *namespaces.entry(namespace).or_insert_with(|| tree.add(namespace, parent, None));
            }
            let node = tree.add(name, parent, Some(place));
            tree.walk.push(node);
        }
        tree
    }

    fn add(&mut self, name: &str, parent: NodeId, repository: Option<usize>) -> NodeId {
        let depth = self.nodes[parent as usize].depth + 1;
        self.nodes.push(Node { name: name.into(), parent, depth, repository });
        u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
    }

    /// The lowest node that is above both, or one of them.
    pub(super) fn common(&self, mut a: NodeId, mut b: NodeId) -> NodeId {
        while a != b {
            let (at_a, at_b) = (&self.nodes[a as usize], &self.nodes[b as usize]);
            if at_a.depth >= at_b.depth {
                a = at_a.parent;
            } else {
                b = at_b.parent;
            }
        }
        a
    }

    /// The nodes of each node, in their order.
    pub(super) fn children(&self) -> Vec<Vec<NodeId>> {
        let mut children = vec![Vec::new(); self.nodes.len()];
        for (number, node) in self.nodes.iter().enumerate().skip(1) {
            children[node.parent as usize].push(u32::try_from(number).unwrap_or(u32::MAX));
        }
        children
    }
}

/// Adds and takes away: what is taken away at a node has been added below it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Balance {
    pub(super) added: BlobTotals,
    pub(super) taken: BlobTotals,
}

impl Balance {
    /// What is left.
    pub(super) fn left(self) -> BlobTotals {
        BlobTotals {
            count: self.added.count.saturating_sub(self.taken.count),
            bytes: self.added.bytes.saturating_sub(self.taken.bytes),
            disk_bytes: self.added.disk_bytes.saturating_sub(self.taken.disk_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_a_tree() {
        let names = ["team/web", "a-b", "a/b", "a", "team/web/cache", "zoo"];
        let tree = Tree::of(names.into_iter());
        let walk: Vec<&str> = tree.walk.iter().map(|&node| &*tree.nodes[node as usize].name).collect();
        assert_eq!(walk, ["a", "a/b", "a-b", "team/web", "team/web/cache", "zoo"]);
        for &node in &tree.walk {
            let node = &tree.nodes[node as usize];
            assert_eq!(&*node.name, names[node.repository.unwrap()]);
        }
        let node = |name: &str, is_repository: bool| -> NodeId {
            let found = tree.nodes.iter().position(|it| &*it.name == name && it.repository.is_some() == is_repository);
            u32::try_from(found.unwrap()).unwrap()
        };
        let repository = |name| node(name, true);
        for (a, b, common) in [
            ("a", "a/b", node("a", false)),
            ("a", "a-b", STORE),
            ("a/b", "a-b", STORE),
            ("team/web", "team/web/cache", node("team/web", false)),
            ("team/web", "zoo", STORE),
            ("zoo", "zoo", repository("zoo")),
        ] {
            assert_eq!(tree.common(repository(a), repository(b)), common, "{a} {b}");
            assert_eq!(tree.common(repository(b), repository(a)), common, "{b} {a}");
        }
    }
}
