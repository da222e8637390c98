//! The rows of a table: which nodes of the tree somebody wants to see, sorted.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use regsweep::plan::BlobTotals;
use regsweep::usage::{Contents, Node, Selected, TagUsage, Usage};

use super::{Named, Sort};

/// Everything that decides about the rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) usage: &'a Usage,
    pub(super) named: Option<&'a Named>,
    pub(super) depth: Option<u32>,
    pub(super) tags: bool,
    pub(super) order: Order,
}

/// In which order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) sort: Sort,
    pub(super) reverse: bool,
    /// By what files take on the disk.
    pub(super) disk: bool,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Namespace,
    Repository,
    Tag,
    /// What only untagged manifests of the repository above reach.
    Untagged,
    /// What several of the tags above reach, and nothing outside of the repository.
    Common,
    /// What only damage keeps.
    Kept,
    /// So many rows that are not shown.
    More(usize),
}

/// A row.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    pub(super) kind: Kind,
    /// The repository, or the namespace.
    pub(super) name: &'a str,
    pub(super) tag: Option<&'a str>,
    /// What it reaches; `None` where that would not add up, or is part of something else.
    pub(super) total: Option<BlobTotals>,
    pub(super) exclusive: BlobTotals,
    pub(super) untagged: BlobTotals,
    pub(super) garbage: BlobTotals,
    /// When a tag was pushed, in seconds since 1970.
    pub(super) pushed: Option<i64>,
    /// How many other tags lead to the same image.
    pub(super) same: usize,
    /// The rows below it.
    pub(super) below: Vec<Row<'a>>,
}

/// Nodes and tags by their names.
pub(super) struct Index<'a> {
    nodes: HashMap<(&'a str, bool), &'a Node>,
}

impl<'a> Index<'a> {
    pub(super) fn of(usage: &'a Usage) -> Index<'a> {
        let nodes = usage.store.walk().map(|node| ((&*node.name, node.repository.is_some()), node)).collect();
        Index { nodes }
    }

    fn node(&self, name: &str, is_repository: bool) -> Option<&'a Node> {
        self.nodes.get(&(name, is_repository)).copied()
    }

    /// A tag, and the repository that it is in.
    pub(super) fn tag(&self, repository: &str, tag: &str) -> Option<(&'a Contents, &'a TagUsage)> {
        let contents = self.node(repository, true)?.repository.as_deref()?;
        let place = contents.tags.binary_search_by(|it| (*it.name).cmp(tag)).ok()?;
        Some((contents, &contents.tags[place]))
    }
}

impl<'a> Rows<'a> {
    /// The rows, sorted.
    pub(super) fn rows(&self) -> Vec<Row<'a>> {
        let mut rows = Vec::new();
        match self.named {
            None => self.cut(&self.usage.store, 0, &mut rows),
            Some(named) => {
                let index = Index::of(self.usage);
                rows.extend(named.selected.iter().filter_map(|it| self.selected(&index, named, it)));
            }
        }
        self.sort(&mut rows);
        rows
    }

    /// The nodes at the depth that was asked for, or the repositories.
    fn cut(&self, node: &'a Node, depth: u32, rows: &mut Vec<Row<'a>>) {
        if node.repository.is_some() || self.depth == Some(depth) {
            rows.push(self.node(node));
        } else {
            node.children.iter().for_each(|child| self.cut(child, depth + 1, rows));
        }
    }

    /// What is common to the rows of the whole table, each blob once.
    pub(super) fn common(&self) -> BlobTotals {
        self.common_above(&self.usage.store, 0)
    }

    fn common_above(&self, node: &Node, depth: u32) -> BlobTotals {
        if node.repository.is_some() || self.depth == Some(depth) {
            return BlobTotals::default();
        }
        node.children.iter().fold(node.common, |sum, child| sum + self.common_above(child, depth + 1))
    }

    fn selected(&self, index: &Index<'a>, named: &Named, it: &Selected) -> Option<Row<'a>> {
        match it {
            Selected::Namespace(name) => index.node(name, false).map(|node| self.node(node)),
            Selected::Repository(name) => index.node(name, true).map(|node| self.node(node)),
            Selected::Tag(name, tag) => {
                let node = index.node(name, true)?;
                let (contents, tag) = index.tag(name, tag)?;
                let mut row = tag_row(&node.name, contents, tag);
                if let Some((_, alone)) = named.alone.iter().find(|(other, _)| other == it) {
                    row.exclusive = *alone;
                }
                Some(row)
            }
        }
    }

    fn node(&self, node: &'a Node) -> Row<'a> {
        let kind = if node.repository.is_some() { Kind::Repository } else { Kind::Namespace };
        let mut row = Row {
            total: Some(node.total),
            untagged: node.untagged,
            garbage: node.garbage,
            ..Row::of(kind, &node.name, node.exclusive)
        };
        if self.tags {
            row.below = match &node.repository {
                Some(contents) => self.tags(node, contents),
                None => {
                    let repositories = node.walk().filter(|node| node.repository.is_some());
                    repositories.map(|node| self.node(node)).collect()
                }
            };
            self.sort(&mut row.below);
        }
        row
    }

    /// The rows of tags, and what of the repository belongs to none of them: together they are what is exclusive to it.
    fn tags(&self, node: &'a Node, contents: &'a Contents) -> Vec<Row<'a>> {
        let listed = contents.tags.iter().filter(|tag| tag.image.is_some());
        let mut rows: Vec<Row<'a>> = listed.map(|tag| tag_row(&node.name, contents, tag)).collect();
        // What several tags of one image have to themselves belongs to no tag alone.
        let images = contents.images.iter().filter(|image| image.tags.len() != 1);
        let common = images.fold(node.common, |sum, image| sum + image.exclusive);
        for (kind, bytes) in [(Kind::Untagged, node.untagged), (Kind::Common, common), (Kind::Kept, contents.kept)] {
            if bytes.count > 0 {
                let untagged = if kind == Kind::Untagged { bytes } else { BlobTotals::default() };
                rows.push(Row { untagged, ..Row::of(kind, &node.name, bytes) });
            }
        }
        rows
    }

    fn sort(&self, rows: &mut [Row<'_>]) {
        let Order { sort, reverse, disk } = self.order;
        let bytes = |size: BlobTotals| if disk { size.disk_bytes } else { size.bytes };
        rows.sort_by(|a, b| {
            let key = |row: &Row<'_>| match sort {
                Sort::Total => bytes(row.total.unwrap_or(row.exclusive)),
                Sort::Exclusive => bytes(row.exclusive),
                Sort::Untagged => bytes(row.untagged),
                Sort::Garbage => bytes(row.garbage),
                Sort::Name => 0,
            };
            let order = Reverse(key(a)).cmp(&Reverse(key(b)));
            order.then_with(|| by_name(a, b))
        });
        if reverse {
            rows.reverse();
        }
    }
}

/// What has no name of its own stands last.
fn by_name(a: &Row<'_>, b: &Row<'_>) -> Ordering {
    let key = |row: &Row<'_>| !matches!(row.kind, Kind::Namespace | Kind::Repository | Kind::Tag);
    (key(a), a.name, a.tag).cmp(&(key(b), b.name, b.tag))
}

impl<'a> Row<'a> {
    fn of(kind: Kind, name: &'a str, exclusive: BlobTotals) -> Row<'a> {
        let none = BlobTotals::default();
        let below = Vec::new();
        Row {
            kind,
            name,
            tag: None,
            total: None,
            exclusive,
            untagged: none,
            garbage: none,
            pushed: None,
            same: 0,
            below,
        }
    }

    /// What is not exclusive of what it reaches.
    pub(super) fn shared(&self) -> Option<BlobTotals> {
        let total = self.total?;
        Some(BlobTotals {
            count: total.count.saturating_sub(self.exclusive.count),
            bytes: total.bytes.saturating_sub(self.exclusive.bytes),
            disk_bytes: total.disk_bytes.saturating_sub(self.exclusive.disk_bytes),
        })
    }
}

fn tag_row<'a>(repository: &'a str, contents: &'a Contents, tag: &'a TagUsage) -> Row<'a> {
    let (total, exclusive) = contents.of_tag(tag);
    let image = tag.image.and_then(|image| contents.images.get(image as usize));
    Row {
        tag: Some(&tag.name),
        total: image.map(|_| total),
        pushed: tag.pushed,
        same: image.map_or(0, |image| image.tags.len() - 1),
        ..Row::of(Kind::Tag, repository, exclusive)
    }
}

/// Keeps the first so many rows, and makes one of the others, so that what is exclusive still adds up.
pub(super) fn cut_to<'a>(mut rows: Vec<Row<'a>>, top: Option<usize>) -> Vec<Row<'a>> {
    let top = top.unwrap_or(usize::MAX);
    // One row more is no shorter than one that says so.
    if rows.len() > top.saturating_add(1) {
        let rest = rows.split_off(top);
        let mut more = Row::of(Kind::More(rest.len()), "", BlobTotals::default());
        for row in rest {
            more.exclusive = more.exclusive + row.exclusive;
            more.untagged = more.untagged + row.untagged;
            more.garbage = more.garbage + row.garbage;
        }
        rows.push(more);
    }
    for row in &mut rows {
        row.below = cut_to(std::mem::take(&mut row.below), Some(top));
    }
    rows
}
