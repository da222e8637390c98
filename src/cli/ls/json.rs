//! A listing as one JSON document, `regsweep.list/1`. What its fields mean is in `docs/listing.md`.
//!
//! A tree is written while it is walked: it would be no use to have it in memory as well.

use std::io::{self, Write};

use regsweep::finding::Finding;
use regsweep::layout::shown_path;
use regsweep::listing::{ListedRepository, Listing, Row, Way};
use regsweep::registry::Registry;
use regsweep::report::Tool;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    tool: Tool,
    root: String,
    repositories: Vec<Repository<'a>>,
    findings: &'a [Finding],
}

#[derive(Serialize)]
struct Repository<'a> {
    name: &'a str,
    tags: Option<u64>,
    revisions: Option<u64>,
    untagged_revisions: Option<u64>,
    newest_push: Option<String>,
    bytes: Option<u64>,
    whole: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifests: Option<Nodes<'a>>,
}

/// Rows at the end of a way, with what lies below them in a tree.
struct Nodes<'a> {
    repository: &'a ListedRepository,
    rows: [&'a [Row]; 2],
    way: &'a Way<'a>,
    is_tree: bool,
}

struct Node<'a> {
    nodes: &'a Nodes<'a>,
    row: &'a Row,
}

/// Writes it.
///
/// # Errors
/// Whatever the writer says.
pub(super) fn write(
    out: &mut dyn Write,
    registry: &Registry,
    listing: &Listing,
    is_tree: bool,
    findings: &[Finding],
) -> io::Result<()> {
    let way = Way::default();
    let repository = |it| Repository::new(it, listing.has_manifests.then_some(is_tree), &way);
    let document = Document {
        schema: "regsweep.list/1",
        tool: Tool::THIS,
        root: shown_path(registry.root()),
        repositories: listing.repositories.iter().map(repository).collect(),
        findings,
    };
    serde_json::to_writer(&mut *out, &document)?;
    writeln!(out)
}

impl<'a> Repository<'a> {
    /// `is_tree` is `None` where manifests were not asked for.
    fn new(it: &'a ListedRepository, is_tree: Option<bool>, way: &'a Way<'a>) -> Repository<'a> {
        Repository {
            name: &it.name,
            tags: it.tags,
            revisions: it.revisions,
            untagged_revisions: it.untagged_revisions,
            newest_push: it.newest_push.map(|time| time.to_string()),
            bytes: it.bytes,
            whole: it.is_whole,
            manifests: is_tree.map(|is_tree| Nodes {
                repository: it,
                rows: [&it.manifests, &it.about_gone],
                way,
                is_tree,
            }),
        }
    }
}

impl Serialize for Nodes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows.iter().copied().flatten().map(|row| Node { nodes: self, row }))
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Node { nodes, row } = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("tag", &row.tag.as_deref())?;
        map.serialize_entry("digest", &row.digest)?;
        map.serialize_entry("kind", row.kind.name())?;
        map.serialize_entry("media_type", &row.media_type)?;
        map.serialize_entry("artifact_type", &row.artifact_type)?;
        map.serialize_entry("platforms", &row.platforms)?;
        map.serialize_entry("pushed_at", &row.pushed.map(|time| time.to_string()))?;
        map.serialize_entry("created_at", &row.created.map(|time| time.to_string()))?;
        map.serialize_entry("bytes", &row.bytes)?;
        map.serialize_entry("shared_with", &row.shared_with)?;
        map.serialize_entry("subject", &row.subject)?;
        if nodes.is_tree {
            let (children, referrers): (&[Row], &[Row]);
            let way;
            match nodes.repository.below(row, nodes.way) {
                Some((digest, below)) => {
                    (children, referrers) = (&below.children, &below.referrers);
                    way = nodes.way.to(digest);
                }
                None => ((children, referrers), way) = ((&[], &[]), *nodes.way),
            }
            let below = |rows| Nodes { rows: [rows, &[]], way: &way, ..*nodes };
            map.serialize_entry("children", &below(children))?;
            map.serialize_entry("referrers", &below(referrers))?;
        }
        map.end()
    }
}
