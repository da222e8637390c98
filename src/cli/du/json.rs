//! Where the bytes are as one JSON document, `regsweep.usage/1`. What its fields mean is in `docs/usage.md`.

use std::collections::HashSet;
use std::io::{self, Write};

use jiff::Timestamp;
use regsweep::digest::Digest;
use regsweep::finding::Finding;
use regsweep::layout::shown_path;
use regsweep::plan::{BlobTotals, CountAndBytes};
use regsweep::registry::Registry;
use regsweep::report::Tool;
use regsweep::usage::{BlobUsage, Contents, ImageUsage, Need, Node, Selected, Usage};
use serde::Serialize;

use super::Trash;
use super::rows::{Index, Kind, Row, Rows};

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    tool: Tool,
    root: String,
    whole: bool,
    refused: Option<String>,
    store: Store,
    names: Option<Names>,
    namespaces: Vec<Namespace<'a>>,
    repositories: Vec<Repository<'a>>,
    tags: Option<Vec<Tag<'a>>>,
    months: Vec<Month>,
    images: Vec<Image<'a>>,
    largest_blobs: Option<Vec<Blob<'a>>>,
    trash: Option<Trash>,
    findings: &'a [Finding],
}

/// All blobs are the exclusive ones, what repositories share, garbage, what else is kept, and what nobody knows.
#[derive(Serialize)]
struct Store {
    repositories: u64,
    blobs: BlobTotals,
    exclusive: BlobTotals,
    shared: BlobTotals,
    untagged: BlobTotals,
    garbage: BlobTotals,
    other: BlobTotals,
    unknown: BlobTotals,
    unmeasured: u64,
    uploads: CountAndBytes,
}

#[derive(Serialize)]
struct Names {
    selected: Vec<String>,
    frees: Option<BlobTotals>,
    refused: Vec<String>,
}

#[derive(Serialize)]
struct Namespace<'a> {
    name: &'a str,
    repositories: u64,
    total: BlobTotals,
    exclusive: BlobTotals,
    shared: BlobTotals,
    common: BlobTotals,
    untagged: BlobTotals,
    garbage: BlobTotals,
}

#[derive(Serialize)]
struct Repository<'a> {
    name: &'a str,
    tainted: bool,
    total: BlobTotals,
    exclusive: BlobTotals,
    shared: BlobTotals,
    common: BlobTotals,
    untagged: BlobTotals,
    kept: BlobTotals,
    garbage: BlobTotals,
    untagged_manifests: u64,
    uploads: CountAndBytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<Tag<'a>>>,
}

#[derive(Serialize)]
struct Tag<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<&'a str>,
    name: &'a str,
    digest: Option<&'a Digest>,
    pushed_at: Option<String>,
    shared_with: usize,
    total: Option<BlobTotals>,
    exclusive: BlobTotals,
}

#[derive(Serialize)]
struct Month {
    month: String,
    exclusive: BlobTotals,
    shared: BlobTotals,
    untagged: BlobTotals,
    garbage: BlobTotals,
    other: BlobTotals,
}

#[derive(Serialize)]
struct Image<'a> {
    repository: &'a str,
    digest: Option<&'a Digest>,
    tags: Vec<&'a str>,
    pushed_at: Option<String>,
    total: BlobTotals,
    exclusive: BlobTotals,
}

#[derive(Serialize)]
struct Blob<'a> {
    digest: &'a Digest,
    bytes: u64,
    disk_bytes: u64,
    need: Need,
    repositories: u64,
    tags: u64,
    repository: Option<&'a str>,
    tag: Option<&'a str>,
}

/// What stands beside the rows.
pub(super) struct Asides {
    /// How many of the largest images.
    pub(super) top: usize,
    /// Whether somebody asked for the largest blobs.
    pub(super) blobs: bool,
    pub(super) trash: Option<Trash>,
}

/// Writes it.
///
/// # Errors
/// Whatever the writer says.
pub(super) fn write(
    out: &mut dyn Write,
    registry: &Registry,
    rows: &Rows<'_>,
    asides: Asides,
    findings: &[Finding],
) -> io::Result<()> {
    let Rows { usage, named, .. } = *rows;
    let listed = rows.rows();
    let mut wanted: HashSet<(bool, &str)> = HashSet::new();
    for row in listed.iter().filter(|row| row.kind != Kind::Tag) {
        wanted.insert((row.kind == Kind::Repository, row.name));
    }
    let spaces: Vec<&str> = listed.iter().filter(|row| row.kind == Kind::Namespace).map(|row| row.name).collect();
    let is_wanted = |node: &&Node| {
        named.is_none()
            || wanted.contains(&(node.repository.is_some(), &*node.name))
            || spaces.iter().any(|space| is_below(space, &node.name))
    };
    let nodes: Vec<&Node> = usage.store.walk().skip(1).filter(is_wanted).collect();
    let namespaces = nodes.iter().filter(|node| node.repository.is_none()).map(|node| namespace(node)).collect();
    let repositories = nodes.iter().filter_map(|node| Some(repository(node, node.repository.as_deref()?, rows.tags)));
    let repositories = repositories.collect();
    let index = Index::of(usage);
    let document = Document {
        schema: "regsweep.usage/1",
        tool: Tool::THIS,
        root: shown_path(registry.root()),
        whole: usage.is_whole,
        refused: usage.brake.as_ref().map(ToString::to_string),
        store: store(usage),
        names: named.map(|named| Names {
            selected: named.selected.iter().map(text).collect(),
            frees: named.freed.as_ref().ok().copied(),
            refused: named.freed.as_ref().err().cloned().unwrap_or_default(),
        }),
        namespaces,
        repositories,
        tags: named
            .map(|_| listed.iter().filter(|row| row.kind == Kind::Tag).map(|row| named_tag(&index, row)).collect()),
        months: usage.months.iter().map(month).collect(),
        images: usage
            .largest_images(asides.top)
            .into_iter()
            .map(|(node, contents, it)| image(node, contents, it))
            .collect(),
        largest_blobs: asides.blobs.then(|| usage.largest.iter().map(blob).collect()),
        trash: asides.trash,
        findings,
    };
    serde_json::to_writer(&mut *out, &document)?;
    writeln!(out)
}

fn is_below(space: &str, name: &str) -> bool {
    name.strip_prefix(space).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn text(selected: &Selected) -> String {
    match selected {
        Selected::Namespace(name) => format!("{name}/"),
        Selected::Repository(name) => name.clone(),
        Selected::Tag(name, tag) => format!("{name}:{tag}"),
    }
}

fn time(seconds: Option<i64>) -> Option<String> {
    Some(Timestamp::from_second(seconds?).ok()?.to_string())
}

fn store(usage: &Usage) -> Store {
    let repositories = usage.store.walk().filter(|node| node.repository.is_some());
    Store {
        repositories: usage.store.repositories,
        blobs: usage.blobs,
        exclusive: repositories.fold(BlobTotals::default(), |sum, node| sum + node.exclusive),
        shared: usage.shared_between_repositories(),
        untagged: usage.store.untagged,
        garbage: usage.all_garbage(),
        other: usage.other,
        unknown: usage.unknown,
        unmeasured: usage.unmeasured,
        uploads: usage.uploads,
    }
}

fn namespace(node: &Node) -> Namespace<'_> {
    Namespace {
        name: &node.name,
        repositories: node.repositories,
        total: node.total,
        exclusive: node.exclusive,
        shared: node.shared(),
        common: node.common,
        untagged: node.untagged,
        garbage: node.garbage,
    }
}

fn repository<'a>(node: &'a Node, contents: &'a Contents, has_tags: bool) -> Repository<'a> {
    let tag = |place: usize| {
        let tag = &contents.tags[place];
        let image = tag.image.and_then(|image| contents.images.get(image as usize));
        let (total, exclusive) = contents.of_tag(tag);
        Tag {
            repository: None,
            name: &tag.name,
            digest: image.and_then(|image| image.digest.as_ref()),
            pushed_at: time(tag.pushed),
            shared_with: image.map_or(0, |image| image.tags.len() - 1),
            total: image.map(|_| total),
            exclusive,
        }
    };
    Repository {
        name: &node.name,
        tainted: contents.is_tainted,
        total: node.total,
        exclusive: node.exclusive,
        shared: node.shared(),
        common: node.common,
        untagged: node.untagged,
        kept: contents.kept,
        garbage: node.garbage,
        untagged_manifests: contents.untagged_manifests,
        uploads: contents.uploads,
        tags: has_tags.then(|| (0..contents.tags.len()).map(tag).collect()),
    }
}

fn named_tag<'a>(index: &Index<'a>, row: &Row<'a>) -> Tag<'a> {
    let name = row.tag.unwrap_or_default();
    let digest =
        index.tag(row.name, name).and_then(|(contents, tag)| contents.images.get(tag.image? as usize)?.digest.as_ref());
    Tag {
        repository: Some(row.name),
        name,
        digest,
        pushed_at: time(row.pushed),
        shared_with: row.same,
        total: row.total,
        exclusive: row.exclusive,
    }
}

fn month(it: &regsweep::usage::Month) -> Month {
    let regsweep::usage::Month { month, exclusive, shared, untagged, garbage, other } = *it;
    Month { month: month.to_string(), exclusive, shared, untagged, garbage, other }
}

fn blob(it: &BlobUsage) -> Blob<'_> {
    let first = it.first.as_ref();
    Blob {
        digest: &it.digest,
        bytes: it.size.bytes,
        disk_bytes: it.size.disk_bytes,
        need: it.need,
        repositories: it.repositories,
        tags: it.tags,
        // Where a tag needs it, the repository of that.
        repository: first.map(|(repository, _)| repository).or(it.repository.as_ref()).map(|name| &**name),
        tag: first.map(|(_, tag)| &**tag),
    }
}

fn image<'a>(node: &'a Node, contents: &'a Contents, it: &'a ImageUsage) -> Image<'a> {
    Image {
        repository: &node.name,
        digest: it.digest.as_ref(),
        tags: it.tags.iter().filter_map(|&tag| Some(&*contents.tags.get(tag as usize)?.name)).collect(),
        pushed_at: time(contents.pushed(it)),
        total: it.total,
        exclusive: it.exclusive,
    }
}
