//! What the page is made of: plain data, filled by whoever knows the figures.
//!
//! Nothing in here has to be cut to a size or escaped beforehand: the writer does both. Lists come in the order in
//! which they are worth reading, because what the writer leaves out is their tail.

use crate::finding::Finding;
use crate::report::Tool;

/// Everything that one page shows.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// The heading, such as "What is in this registry".
    pub title: String,
    /// The command that made it: `du`, `check`, `gc`.
    pub command: String,
    /// The registry's `v2` folder, as it may be shown.
    pub root: String,
    /// Which tool made it.
    pub tool: Tool,
    /// When, RFC 3339.
    pub made_at: String,
    /// The figures at the head of the page, the most important first. Empty: no such section.
    pub summary: Vec<Fact>,
    /// What the command was for, in tables that come before all else.
    pub lead: Vec<Table>,
    /// What the treemap shows. The node itself is the store. None if nobody has looked: then there is no such section.
    pub store: Option<Node>,
    /// Bytes by the month in which they were pushed, in any order, gaps allowed. Empty: no such section.
    pub months: Vec<Month>,
    /// Images by the bytes that only they need, the largest first. Empty: no such section.
    pub images: Vec<Image>,
    /// Other tables, each in its best order.
    pub tables: Vec<Table>,
    /// What was found, the gravest first.
    pub findings: &'a [Finding],
    /// How many findings there were beyond those.
    pub more_findings: u64,
    /// What to do next, a sentence each. Empty: no such section.
    pub advice: Vec<String>,
}

/// One figure at the head of the page.
#[derive(Clone, Debug)]
pub struct Fact {
    /// What it is.
    pub label: String,
    /// The figure, as text.
    pub value: String,
    /// What to think of it.
    pub tone: Tone,
}

/// What to think of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It is as it should be.
    Good,
    /// Somebody should look at it.
    Bad,
    /// It is just a figure.
    Plain,
}

/// Why bytes are in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One tag needs them, and nothing else.
    Live,
    /// Several tags or several repositories need them.
    Shared,
    /// Only manifests need them that have no tag.
    Untagged,
    /// Nothing needs them.
    Garbage,
}

impl Class {
    /// All of them, in the order in which they are drawn.
    pub const ALL: [Class; 4] = [Class::Live, Class::Shared, Class::Untagged, Class::Garbage];

    /// Its name on the page.
    pub fn name(self) -> &'static str {
        match self {
            Class::Live => "live",
            Class::Shared => "shared",
            Class::Untagged => "untagged",
            Class::Garbage => "garbage",
        }
    }

    /// The same as a heading.
    pub fn title(self) -> &'static str {
        match self {
            Class::Live => "Live",
            Class::Shared => "Shared",
            Class::Untagged => "Untagged",
            Class::Garbage => "Garbage",
        }
    }

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Class::Live => "needed by one tag alone",
            Class::Shared => "needed by several tags or repositories",
            Class::Untagged => "needed only by manifests without a tag",
            Class::Garbage => "needed by nothing",
        }
    }
}

/// Bytes, by why they are in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Of [`Class::Live`].
    pub live: u64,
    /// Of [`Class::Shared`].
    pub shared: u64,
    /// Of [`Class::Untagged`].
    pub untagged: u64,
    /// Of [`Class::Garbage`].
    pub garbage: u64,
}

impl Bytes {
    /// So many bytes, all of one class.
    pub fn of(class: Class, bytes: u64) -> Bytes {
        let mut all = Bytes::default();
        *all.get_mut(class) = bytes;
        all
    }

    /// Those of one class.
    pub fn get(&self, class: Class) -> u64 {
        match class {
            Class::Live => self.live,
            Class::Shared => self.shared,
            Class::Untagged => self.untagged,
            Class::Garbage => self.garbage,
        }
    }

    fn get_mut(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Live => &mut self.live,
            Class::Shared => &mut self.shared,
            Class::Untagged => &mut self.untagged,
            Class::Garbage => &mut self.garbage,
        }
    }

    /// All together; more than fits counts as the largest number there is.
    pub fn sum(&self) -> u64 {
        Class::ALL.into_iter().fold(0, |sum, class| sum.saturating_add(self.get(class)))
    }

    /// Adds others; more than fits counts as the largest number there is.
    pub fn add(&mut self, others: Bytes) {
        for class in Class::ALL {
            let into = self.get_mut(class);
            *into = into.saturating_add(others.get(class));
        }
    }

    /// The class, if they are all of one; none if there are none.
    pub fn only_class(&self) -> Option<Class> {
        let mut classes = Class::ALL.into_iter().filter(|class| self.get(*class) > 0);
        classes.next().filter(|_| classes.next().is_none())
    }
}

/// What a node of the treemap stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// The whole store.
    Store,
    /// What the names of several repositories begin with.
    Namespace,
    /// A repository.
    Repository,
    /// A tag.
    Tag,
    /// What only manifests without a tag need.
    Untagged,
    /// What nothing needs.
    Garbage,
    /// What several of its siblings need.
    Shared,
    /// Several that are not shown one by one.
    Rest,
}

impl NodeKind {
    /// Its name on the page.
    pub fn name(self) -> &'static str {
        match self {
            NodeKind::Store => "store",
            NodeKind::Namespace => "namespace",
            NodeKind::Repository => "repository",
            NodeKind::Tag => "tag",
            NodeKind::Untagged => "untagged",
            NodeKind::Garbage => "garbage",
            NodeKind::Shared => "shared",
            NodeKind::Rest => "others",
        }
    }
}

/// A part of the store. Every blob is in one node only, so that areas add up: what several tags of a repository need is
/// that repository's own (or in a child of kind [`NodeKind::Shared`]), what several repositories need is their common
/// namespace's, or the store's.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name within its parent: `team` for a namespace, `app` for the repository `team/app`, `v1` for a tag.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// Bytes that are in it and in none of its children. They are drawn as further children, one for each class.
    pub own: Bytes,
    /// Its parts, in any order.
    pub children: Vec<Node>,
}

impl Node {
    /// A node without children.
    pub fn leaf(name: impl Into<String>, kind: NodeKind, own: Bytes) -> Node {
        Node { name: name.into(), kind, own, children: Vec::new() }
    }

    /// A node that holds nothing but others.
    pub fn group(name: impl Into<String>, kind: NodeKind, children: Vec<Node>) -> Node {
        Node { name: name.into(), kind, own: Bytes::default(), children }
    }
}

/// Bytes by the month in which their blobs were pushed.
#[derive(Clone, Debug)]
pub struct Month {
    /// The month, as `2026-11`. What is written in another way counts as unknown.
    pub month: String,
    /// What was pushed in it and is still there.
    pub bytes: Bytes,
}

/// One image.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name, such as `team/app:v1`.
    pub name: String,
    /// All bytes that it needs.
    pub total: u64,
    /// Those that nothing else needs: what its removal would free.
    pub exclusive: u64,
    /// When it was pushed, RFC 3339, if that is known.
    pub pushed_at: Option<String>,
    /// How many other images need some of its blobs, if that is known.
    pub shared_with: Option<u64>,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its heading.
    pub caption: String,
    /// A sentence that says what the figures mean; may be empty.
    pub note: String,
    /// Its columns. The first one names the row.
    pub columns: Vec<Column>,
    /// Its rows, the most important first. A row with too few cells is filled up with nothing.
    pub rows: Vec<Vec<Cell>>,
    /// The column that the rows are sorted by, and how, if they are.
    pub sorted_by: Option<(usize, Order)>,
    /// What has been left out already.
    pub left_out: Option<LeftOut>,
}

/// How rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The smallest first.
    Ascending,
    /// The largest first.
    Descending,
}

/// Rows that a table leaves out, summed up.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// How many rows.
    pub rows: u64,
    /// Their sums, for each column; the first cell is not shown.
    pub cells: Vec<Cell>,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// What is in it.
    pub kind: ColumnKind,
    /// Whether the sum of its cells means anything. What several rows share must not be added up.
    pub adds_up: bool,
}

impl Column {
    /// A column of this kind. Counts and bytes add up unless it is said otherwise.
    pub fn new(name: impl Into<String>, kind: ColumnKind) -> Column {
        let adds_up = matches!(kind, ColumnKind::Count | ColumnKind::Bytes);
        Column { name: name.into(), kind, adds_up }
    }

    /// The same, and its cells must not be added up.
    pub fn without_sum(self) -> Column {
        Column { adds_up: false, ..self }
    }
}

/// What is in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Words.
    Text,
    /// Whole numbers.
    Count,
    /// Sizes.
    Bytes,
    /// Points in time, RFC 3339.
    Time,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    Nothing,
    /// Words.
    Text(String),
    /// A whole number.
    Count(u64),
    /// A size in bytes.
    Bytes(u64),
    /// A point in time, RFC 3339.
    Time(String),
}
