//! The store as a tree of areas, each blob in one of them.

use crate::report::html::{Bytes, Class, Month, Node, NodeKind};
use crate::usage::{self, Contents, ImageUsage, Usage};

/// How many tags of one image are named.
const NAMED: usize = 3;

/// The store.
pub(super) fn node(usage: &Usage) -> Node {
    let mut store = Node {
        name: "store".to_owned(),
        kind: NodeKind::Store,
        own: Bytes { shared: usage.store.common.bytes, garbage: usage.garbage.bytes, ..Bytes::default() },
        children: usage.store.children.iter().map(|child| below(child, "")).collect(),
    };
    for (name, bytes) in [("kept for another reason", usage.other.bytes), ("nobody knows", usage.unknown.bytes)] {
        if bytes > 0 {
            store.children.push(Node::leaf(name, NodeKind::Rest, Bytes::of(Class::Live, bytes)));
        }
    }
    store
}

/// A namespace or a repository. `above` is the name of what it is in.
fn below(node: &usage::Node, above: &str) -> Node {
    let name = node.name.strip_prefix(above).unwrap_or(&node.name).trim_start_matches('/');
    let mut area = Node {
        name: name.to_owned(),
        kind: NodeKind::Namespace,
        own: Bytes { shared: node.common.bytes, ..Bytes::default() },
        children: Vec::new(),
    };
    if let Some(contents) = &node.repository {
        fill(&mut area, node, contents);
    }
    for child in &node.children {
        match &child.repository {
            // A repository that is a namespace as well is one area.
            Some(contents) if child.name == node.name => {
                area.own.shared = area.own.shared.saturating_add(child.common.bytes);
                fill(&mut area, child, contents);
            }
            _ => area.children.push(below(child, &node.name)),
        }
    }
    area
}

/// What is in a repository itself.
fn fill(area: &mut Node, node: &usage::Node, contents: &Contents) {
    area.kind = NodeKind::Repository;
    area.own.garbage = node.garbage.bytes;
    for image in contents.images.iter().filter(|image| image.exclusive.bytes > 0) {
        let bytes = Bytes::of(Class::Live, image.exclusive.bytes);
        area.children.push(Node::leaf(tags(contents, image), NodeKind::Tag, bytes));
    }
    if node.untagged.bytes > 0 {
        let bytes = Bytes::of(Class::Untagged, node.untagged.bytes);
        area.children.push(Node::leaf("untagged", NodeKind::Untagged, bytes));
    }
    if contents.kept.bytes > 0 {
        let bytes = Bytes::of(Class::Live, contents.kept.bytes);
        area.children.push(Node::leaf("kept because of damage", NodeKind::Rest, bytes));
    }
}

/// The name of an image: its repository, and the tags that lead to it.
pub(super) fn name_of_image(repository: &str, contents: &Contents, image: &ImageUsage) -> String {
    format!("{repository}:{}", tags(contents, image))
}

fn tags(contents: &Contents, image: &ImageUsage) -> String {
    let names = image.tags.iter().filter_map(|&tag| contents.tags.get(tag as usize)).map(|tag| &*tag.name);
    let named: Vec<&str> = names.take(NAMED).collect();
    match image.tags.len().saturating_sub(named.len()) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// What was pushed when.
pub(super) fn months(usage: &Usage) -> Vec<Month> {
    let month = |month: &usage::Month| Month {
        month: month.month.to_string(),
        bytes: Bytes {
            live: month.exclusive.bytes.saturating_add(month.other.bytes),
            shared: month.shared.bytes,
            untagged: month.untagged.bytes,
            garbage: month.garbage.bytes,
        },
    };
    usage.months.iter().map(month).collect()
}
