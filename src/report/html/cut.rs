//! A tree of any size, cut to what a page can hold.
//!
//! What is kept is what is largest: a node is never larger than its parent, so the largest so many nodes are a tree by
//! themselves, and one pass over sorted sizes finds them. What hung below and is not kept is summed up in its parent,
//! or in a part of kind [`NodeKind::Rest`] beside those of its siblings that are kept. So no byte is lost, and every
//! number of them is a sum of bytes in the model.

use std::borrow::Cow;
use std::cmp::Reverse;

use super::escape::weight;
use super::model::{Bytes, Class, Node, NodeKind};

/// A part of the store as the page knows it.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    /// The part that it is in; none for the store.
    pub(super) parent: Option<usize>,
    /// Its name within that, empty where its kind says all.
    pub(super) name: Cow<'a, str>,
    /// What it is.
    pub(super) kind: NodeKind,
    /// All bytes in it.
    pub(super) bytes: Bytes,
    /// How many nodes it sums up, if it is a rest; else how many children it has in the model, shown or not.
    pub(super) count: u64,
    /// The parts in it, the largest first. Together they hold all of its bytes, if there are any parts.
    pub(super) children: Vec<usize>,
}

/// A tree of parts; the first one is the store, and each stands behind the one that it is in.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) all: Vec<Part<'a>>,
    /// How many nodes of the model are in no part of their own.
    pub(super) left_out: u64,
}

impl Parts<'_> {
    /// The full name: `team/app:v1`.
    pub(super) fn full_name(&self, mut index: usize) -> String {
        let mut name = String::new();
        while let Some(Part { parent: Some(parent), kind, name: own, .. }) = self.all.get(index) {
            let own = if own.is_empty() { kind.name() } else { own };
            name.insert_str(0, own);
            if self.all[*parent].parent.is_some() {
                name.insert_str(0, separator(*kind));
            }
            index = *parent;
        }
        if name.is_empty() { "the store".to_owned() } else { name }
    }
}

/// What stands between the name of a parent and that of its part.
pub(super) fn separator(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Store | NodeKind::Namespace | NodeKind::Repository => "/",
        NodeKind::Tag => ":",
        NodeKind::Untagged | NodeKind::Garbage | NodeKind::Shared | NodeKind::Rest => ", ",
    }
}

/// The model in one list, each node behind its parent.
struct Flat<'a> {
    parent: usize,
    name: &'a str,
    kind: NodeKind,
    bytes: Bytes,
    count: u64,
}

fn flattened(store: &Node) -> Vec<Flat<'_>> {
    let mut flat: Vec<Flat<'_>> = Vec::new();
    let mut waiting = vec![(0, store)];
    while let Some((parent, node)) = waiting.pop() {
        let index = flat.len();
        let is_leaf = node.children.is_empty();
        flat.push(Flat {
            parent,
            name: &node.name,
            kind: node.kind,
            bytes: if is_leaf { node.own } else { Bytes::default() },
            count: node.children.len() as u64,
        });
        // Beside children, what is a node's own is a part like them.
        for class in Class::ALL.into_iter().filter(|class| !is_leaf && node.own.get(*class) > 0) {
            let (kind, name) = match class {
                Class::Live => (NodeKind::Rest, "its own"),
                Class::Shared => (NodeKind::Shared, ""),
                Class::Untagged => (NodeKind::Untagged, ""),
                Class::Garbage => (NodeKind::Garbage, ""),
            };
            flat.push(Flat { parent: index, name, kind, bytes: Bytes::of(class, node.own.get(class)), count: 0 });
        }
        waiting.extend(node.children.iter().map(|child| (index, child)));
    }
    for index in (1..flat.len()).rev() {
        let bytes = flat[index].bytes;
        let parent = flat[index].parent;
        flat[parent].bytes.add(bytes);
    }
    flat
}

/// The largest parts of a store: at most so many, and with at most so many bytes of names
/// once they are escaped.
pub(super) fn cut(store: &Node, most: usize, most_text: usize) -> Parts<'_> {
    let flat = flattened(store);
    // Equal sizes in the order of the list: so a parent comes before its children.
    let mut ranked: Vec<usize> = (1..flat.len()).filter(|index| flat[*index].bytes.sum() > 0).collect();
    ranked.sort_unstable_by_key(|index| (Reverse(flat[*index].bytes.sum()), *index));
    let mut is_kept = vec![false; flat.len()];
    is_kept[0] = true;
    let mut text = 0;
    // Each that is kept can have a rest beside its children.
    for index in ranked.into_iter().take(most.saturating_sub(2) / 2) {
        text += weight(flat[index].name);
        if text > most_text {
            break;
        }
        is_kept[index] = true;
    }
    // What is not kept, below what is: how many, what they hold, and one of them.
    let mut folded: Vec<(u64, Bytes, usize)> = vec![(0, Bytes::default(), 0); flat.len()];
    let mut has_kept = vec![false; flat.len()];
    for (index, node) in flat.iter().enumerate().skip(1) {
        if is_kept[index] {
            has_kept[node.parent] = true;
        } else if is_kept[node.parent] && node.bytes.sum() > 0 {
            let (count, bytes, one) = &mut folded[node.parent];
            *count += 1;
            bytes.add(node.bytes);
            *one = index;
        }
    }
    for parent in 0..flat.len() {
        if has_kept[parent] && folded[parent].0 == 1 {
            // It takes no more room than a rest of one.
            is_kept[folded[parent].2] = true;
            folded[parent].0 = 0;
        }
    }
    let mut place = vec![usize::MAX; flat.len()];
    let mut all: Vec<Part<'_>> = Vec::new();
    for (index, node) in flat.iter().enumerate().filter(|(index, _)| is_kept[*index]) {
        place[index] = all.len();
        let parent = (index > 0).then(|| place[node.parent]);
        let Flat { kind, bytes, count, .. } = *node;
        all.push(Part { parent, name: Cow::Borrowed(node.name), kind, bytes, count, children: Vec::new() });
        let (count, bytes, _) = folded[index];
        if has_kept[index] && count > 0 {
            let (parent, name) = (Some(place[index]), Cow::Owned(format!("{count} more")));
            all.push(Part { parent, name, kind: NodeKind::Rest, bytes, count, children: Vec::new() });
        }
    }
    for index in 1..all.len() {
        if let Some(parent) = all[index].parent {
            all[parent].children.push(index);
        }
    }
    for index in 0..all.len() {
        let mut children = std::mem::take(&mut all[index].children);
        children.sort_by_key(|child| Reverse(all[*child].bytes.sum()));
        all[index].children = children;
    }
    let of_size = flat.iter().skip(1).filter(|node| node.bytes.sum() > 0).count();
    let kept = is_kept.iter().skip(1).filter(|is_kept| **is_kept).count();
    Parts { all, left_out: of_size.saturating_sub(kept) as u64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn live(bytes: u64) -> Bytes {
        Bytes::of(Class::Live, bytes)
    }

    fn repository(name: &str, tags: &[(&str, u64)]) -> Node {
        let tags = tags.iter().map(|(tag, bytes)| Node::leaf(*tag, NodeKind::Tag, live(*bytes))).collect();
        Node::group(name, NodeKind::Repository, tags)
    }

    fn names(parts: &Parts<'_>) -> Vec<String> {
        (0..parts.all.len()).map(|index| parts.full_name(index)).collect()
    }

    #[test]
    fn what_fits_is_there_with_its_own_bytes_as_parts() {
        let mut app = repository("app", &[("v1", 5), ("v2", 7)]);
        app.own = Bytes { shared: 20, garbage: 3, ..Bytes::default() };
        let team = Node::group("team", NodeKind::Namespace, vec![app]);
        let store = Node::group("", NodeKind::Store, vec![team]);
        let parts = cut(&store, 100, 1000);
        let mut names = names(&parts);
        names.sort();
        assert_eq!(
            names,
            ["team", "team/app", "team/app, garbage", "team/app, shared", "team/app:v1", "team/app:v2", "the store"]
        );
        assert_eq!(parts.all[0].bytes, Bytes { live: 12, shared: 20, untagged: 0, garbage: 3 });
    }

    #[test]
    fn the_smallest_are_summed_up_beside_their_siblings() {
        let store =
            Node::group("", NodeKind::Store, vec![repository("a", &[("x", 100), ("y", 2), ("z", 1), ("none", 0)])]);
        let parts = cut(&store, 6, 1000);
        assert_eq!(names(&parts), ["the store", "a", "a, 2 more", "a:x"]);
        let rest = &parts.all[2];
        assert_eq!((rest.count, rest.bytes.sum(), rest.kind), (2, 3, NodeKind::Rest));
        assert_eq!(parts.left_out, 2, "what has no size is nowhere to be missed");
        assert_eq!(parts.all[1].count, 4);
    }

    #[test]
    fn one_alone_keeps_its_name() {
        let store = Node::group("", NodeKind::Store, vec![repository("a", &[("x", 100), ("y", 2)])]);
        assert_eq!(names(&cut(&store, 6, 1000)), ["the store", "a", "a:y", "a:x"]);
    }

    #[test]
    fn names_have_a_limit_too() {
        let long = "n".repeat(200);
        let repositories = (1..50).map(|size| Node::leaf(&long, NodeKind::Repository, live(size))).collect();
        let store = Node::group("", NodeKind::Store, repositories);
        let parts = cut(&store, 1000, 2000);
        assert_eq!(parts.all.len(), 1 + 10 + 1);
        assert_eq!(parts.all[0].bytes.sum(), (1..50).sum::<u64>());
    }

    #[test]
    fn an_empty_store_is_one_part() {
        let store = Node::leaf("", NodeKind::Store, Bytes::default());
        let parts = cut(&store, 100, 1000);
        assert_eq!((parts.all.len(), parts.all[0].bytes.sum()), (1, 0));
    }

    fn any_bytes() -> impl Strategy<Value = Bytes> {
        (0u64..50, 0u64..9, 0u64..3, 0u64..2).prop_map(|(live, shared, untagged, garbage)| Bytes {
            live,
            shared,
            untagged,
            garbage,
        })
    }

    fn any_node() -> impl Strategy<Value = Node> {
        let leaf = any_bytes().prop_map(|own| Node::leaf("leaf", NodeKind::Tag, own));
        leaf.prop_recursive(5, 300, 12, |inner| {
            (any_bytes(), prop::collection::vec(inner, 0..12)).prop_map(|(own, children)| Node {
                name: "group".to_owned(),
                kind: NodeKind::Namespace,
                own,
                children,
            })
        })
    }

    fn sum_of(node: &Node) -> Bytes {
        let mut sum = node.own;
        node.children.iter().for_each(|child| sum.add(sum_of(child)));
        sum
    }

    proptest! {
        #[test]
        fn wherever_it_is_cut_the_sums_stay(store in any_node(), most in 3usize..80) {
            let parts = cut(&store, most, 10_000);
            prop_assert!(parts.all.len() <= most, "{} of {most}", parts.all.len());
            prop_assert_eq!(parts.all[0].bytes, sum_of(&store));
            for (index, part) in parts.all.iter().enumerate() {
                prop_assert!(part.parent.is_none_or(|parent| parent < index));
                if !part.children.is_empty() {
                    let mut sum = Bytes::default();
                    part.children.iter().for_each(|child| sum.add(parts.all[*child].bytes));
                    prop_assert_eq!(sum, part.bytes);
                    let sizes: Vec<u64> = part.children.iter().map(|child| parts.all[*child].bytes.sum()).collect();
                    prop_assert!(sizes.is_sorted_by(|a, b| a >= b));
                }
            }
        }
    }
}
