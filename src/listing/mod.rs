//! What is in a registry, for somebody who wants to look: repositories, their tags, and with a tag what it is.
//!
//! Only data is made here; the command line prints it. Nothing is written, nothing is locked, and no evidence is
//! needed: a registry that is being written to gives a listing of a moment in between. What vanishes between listing
//! and reading is simply not there; what cannot be read is a finding, and never looks like something that is not there.
//!
//! # Sizes
//!
//! A size is the sum of the sizes of the distinct blobs that are reached: manifests by their bytes, configs and layers
//! by what the manifests say of them. No blob is asked for its size, but those of Docker's schema 1, which does not
//! give it. So a blob that several repositories share counts in each of them, and one that is lost counts as well.
//! Layers that a registry need not have ("foreign" ones) count where the repository has a link for them.

pub(crate) mod library;
mod pattern;
mod repository;
mod tree;

use std::cmp::{Ordering, Reverse};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use rayon::prelude::*;

pub use pattern::Pattern;

use crate::digest::Digest;
use crate::finding::Findings;
use crate::inventory::{self, BlobTable, Digests, LinkState, Listed, Repository, Selection};
use crate::layout::shown;
use crate::nearest::did_you_mean;
use crate::progress::Meter;
use crate::registry::Registry;
use library::Library;
use repository::Book;

/// What somebody wants to see.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Which repositories, and which of their tags; all if there is none.
    pub pattern: Option<Pattern>,
    /// Manifests to which no tag leads as well.
    pub untagged: bool,
    /// What indexes list, and what is said about manifests, below each.
    pub tree: bool,
    /// In which order.
    pub sort: Sort,
    /// And that turned round.
    pub reverse: bool,
}

/// The order of a listing. What has no time or no size comes last; names decide between equals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By name; untagged manifests, which have none, last.
    #[default]
    Name,
    /// The newest push first.
    Pushed,
    /// The largest first.
    Size,
}

/// A listing.
#[derive(Debug)]
pub struct Listing {
    /// The repositories, in the order that was asked for.
    pub repositories: Vec<ListedRepository>,
    /// Whether their manifests were asked for as well.
    pub has_manifests: bool,
}

/// A repository.
#[derive(Debug)]
pub struct ListedRepository {
    /// Its name, as it may be shown.
    pub name: Box<str>,
    /// How many tags it has; `None` if that could not be listed.
    pub tags: Option<u64>,
    /// How many revisions it has that have a link; `None` if that could not be listed.
    pub revisions: Option<u64>,
    /// How many of these no tag leads to, neither directly nor through an index; `None` if that cannot be known.
    pub untagged_revisions: Option<u64>,
    /// When the youngest of its tags was pushed.
    pub newest_push: Option<Timestamp>,
    /// Its size in bytes; `None` if not even its folders could be listed.
    pub bytes: Option<u64>,
    /// Whether everything could be read that belongs to its size; if not, it has at least so many bytes.
    pub is_whole: bool,
    /// Its tags, then what else was asked for; empty if only repositories were asked for.
    pub manifests: Vec<Row>,
    /// What lies below each manifest, if that was asked for.
    below: HashMap<Digest, Below>,
    /// What is said about manifests that are not here.
    pub about_gone: Vec<Row>,
}

/// A tag, or a manifest without one.
#[derive(Clone, Debug)]
pub struct Row {
    /// The tag's name, as it may be shown; `None` for what is listed for itself.
    pub tag: Option<Arc<str>>,
    /// Which manifest; `None` where the tag does not say.
    pub digest: Option<Digest>,
    /// What it is.
    pub kind: Kind,
    /// The manifest's own `mediaType`, if it has one.
    pub media_type: Option<Box<str>>,
    /// What sort of artifact it is.
    pub artifact_type: Option<Box<str>>,
    /// For which platforms it is, each once, in the order of the index.
    pub platforms: Vec<Box<str>>,
    /// When the tag was pushed; without a tag, when the manifest was pushed here by its digest.
    pub pushed: Option<Timestamp>,
    /// When it was built; of several images the newest.
    pub created: Option<Timestamp>,
    /// The size of all that it reaches, in bytes; `None` if something of that could not be read.
    pub bytes: Option<u64>,
    /// How many other tags of the repository have the same digest.
    pub shared_with: u64,
    /// The manifest that it is about.
    pub subject: Option<Digest>,
}

/// What a manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A container image.
    Image,
    /// An index: a list of manifests, mostly of images for several platforms.
    Index,
    /// No container image: a chart, a policy, an SBOM.
    Artifact,
    /// A container image in Docker's oldest format.
    Schema1,
    /// A manifest of a shape that nobody knows.
    Unknown,
    /// A list of referrers: the tag that clients write where a registry has no referrers API.
    Referrers,
    /// A signature, by cosign's tag.
    Signature,
    /// An attestation, by cosign's tag or by BuildKit's mark.
    Attestation,
    /// A bill of materials, by cosign's tag.
    Sbom,
    /// It was read, and is not what its digest names, or no manifest; or the tag's link is no digest.
    Damaged,
    /// It could not be read: it may be whole.
    Unreadable,
    /// It is not in the blob store; or the tag has no link.
    Missing,
}

impl Kind {
    /// The field's own word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Image => "image",
            Kind::Index => "index",
            Kind::Artifact => "artifact",
            Kind::Schema1 => "schema1",
            Kind::Unknown => "unknown",
            Kind::Referrers => "referrers",
            Kind::Signature => "signature",
            Kind::Attestation => "attestation",
            Kind::Sbom => "sbom",
            Kind::Damaged => "damaged",
            Kind::Unreadable => "unreadable",
            Kind::Missing => "missing",
        }
    }
}

/// What lies below a manifest.
#[derive(Debug, Default)]
pub struct Below {
    /// What it lists, in its own order.
    pub children: Vec<Row>,
    /// What is said about it, sorted.
    pub referrers: Vec<Row>,
}

/// How many levels of a tree are shown: more than anybody builds, and few enough for whoever reads the JSON.
const DEEPEST: usize = 24;

/// The way from the top of a tree to a manifest. It ends where a manifest would come below itself: an index may list
/// the image that it is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way<'a> {
    last: Option<(&'a Digest, &'a Way<'a>)>,
    length: usize,
}

impl<'a> Way<'a> {
    /// How many manifests lie on it.
    pub fn length(&self) -> usize {
        self.length
    }

    /// One step further.
    pub fn to(&'a self, digest: &'a Digest) -> Way<'a> {
        Way { last: Some((digest, self)), length: self.length + 1 }
    }

    fn leads_through(&self, digest: &Digest) -> bool {
        let mut way = self;
        while let Some((step, before)) = way.last {
            if step == digest {
                return true;
            }
            way = before;
        }
        false
    }
}

impl ListedRepository {
    /// What lies below a row at the end of this way; nothing where that would never end.
    pub fn below(&self, row: &Row, way: &Way<'_>) -> Option<(&Digest, &Below)> {
        // What a list of referrers lists stands beside it, under the subject.
        if row.kind == Kind::Referrers || way.length >= DEEPEST {
            return None;
        }
        let (digest, below) = self.below.get_key_value(row.digest.as_ref()?)?;
        (!way.leads_through(digest)).then_some((digest, below))
    }
}

/// Nothing is there that was asked for; one line that says so, and what may have been meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NothingMatches(String);

/// Lists a registry, in parallel on the current rayon pool. Changes nothing, waits for nobody.
///
/// What cannot be read is in the findings, as an error where it touches something that was asked for.
///
/// # Errors
/// [`NothingMatches`] if there is a pattern, and everything could be listed where it might lie.
pub fn list(
    registry: &Registry,
    request: &Request,
    findings: &Findings,
    meter: &Meter,
) -> Result<Listing, NothingMatches> {
    // Only blobs that are asked for by name are of interest: a table of them all would take longer than all else.
    let digests = Digests::new(BlobTable::default());
    let scan = |wants: &(dyn Fn(&str) -> bool + Sync)| {
        let leads_to = |folder: &str| request.pattern.as_ref().is_none_or(|pattern| pattern.leads_to(folder));
        let selection = Selection { wants, leads_to: &leads_to, manifests_only: true };
        inventory::list_selected(registry, &digests, findings, meter, &selection, |_| {})
    };
    let mut has_manifests = request.untagged || request.tree;
    let mut listed = match &request.pattern {
        None => scan(&|_| true),
        Some(pattern) => {
            let listed = scan(&|name| pattern.matches_repository(name));
            has_manifests |= pattern.tag().is_some() || pattern.is_name();
            let is_namespace = pattern.is_name() && pattern.tag().is_none() && listed.repositories.is_empty();
            if is_namespace {
                has_manifests = request.untagged || request.tree;
                scan(&|name| pattern.is_above(name))
            } else {
                listed
            }
        }
    };
    if let Some(pattern) = &request.pattern
        && listed.repositories.is_empty()
        && listed.unlistable.is_empty()
    {
        return Err(no_repository(registry, pattern));
    }

    let mut library = Library::new(registry, &digests, meter);
    library.read(listed.repositories.iter().flat_map(repository::manifests));
    look_again(registry, &digests, &mut listed, &mut library);
    if has_manifests {
        let shown: HashSet<_> =
            listed.repositories.iter().flat_map(|repository| repository::shown(repository, request)).collect();
        library.read_configs(&library.reached(shown));
    }

    let mut repositories: Vec<ListedRepository> = listed
        .repositories
        .par_iter()
        .map(|repository| {
            let gaps = repository::Gaps::of(repository, &listed.unlistable);
            Book::new(registry, &library, repository, gaps, findings).listed(request, has_manifests)
        })
        .collect();
    let pattern = request.pattern.as_ref().and_then(|pattern| Some((pattern, pattern.tag()?)));
    if let Some((pattern, tag)) = pattern {
        repositories.retain(|repository| !repository.manifests.is_empty() || repository.tags.is_none());
        if repositories.is_empty() && listed.unlistable.is_empty() {
            return Err(no_tag(pattern, tag, &listed.repositories));
        }
    }
    sort(&mut repositories, request, |it| (it.newest_push, it.bytes), |a, b| a.name.cmp(&b.name));
    Ok(Listing { repositories, has_manifests })
}

fn no_repository(registry: &Registry, pattern: &Pattern) -> NothingMatches {
    let names = inventory::repository_names(registry);
    NothingMatches(pattern.no_repository(names.iter().map(String::as_str)))
}

fn no_tag(pattern: &Pattern, tag: &str, repositories: &[Repository]) -> NothingMatches {
    let shown = shown(tag.as_bytes());
    NothingMatches(match repositories {
        [one] => {
            let near = did_you_mean(tag, one.tags.iter().map(|tag| &*tag.name));
            format!("{} has no tag that matches {shown}{near}", one.name)
        }
        several => format!(
            "none of the {} repositories that match {} has a tag that matches {shown}",
            several.len(),
            crate::layout::shown(pattern.repository().as_bytes()),
        ),
    })
}

/// Looks again at links that say nothing, or lead to a manifest that is not there: a registry may be writing them. One
/// of 2.8 empties a link before it writes it, and what was deleted meanwhile is simply not there.
fn look_again(registry: &Registry, digests: &Digests, listed: &mut Listed, library: &mut Library<'_>) {
    let leads_nowhere = |library: &Library<'_>, link: &LinkState| match link {
        LinkState::Target(id) => matches!(library.get(*id), Some(library::Loaded::Missing)),
        LinkState::Damaged(_) | LinkState::Absent => true,
        LinkState::Unreadable(_) => false,
    };
    let mut moved = Vec::new();
    for repository in &mut listed.repositories {
        let path = repository.path.clone();
        repository.tags.retain_mut(|tag| {
            // The path of a tag whose name is not shown as it is cannot be told.
            if tag.removable.is_none() || !leads_nowhere(library, &tag.current) {
                return true;
            }
            let folder = repository::tag_path(&path, &tag.name);
            (tag.current, tag.stamp) = inventory::read_link(registry.v2(), &repository::current_link(&folder), digests);
            if let LinkState::Target(id) = tag.current {
                moved.push(id);
            }
            tag.current != LinkState::Absent || !matches!(registry.v2().look(&folder), Ok(None))
        });
        for revision in &mut repository.revisions {
            if revision.link != LinkState::Absent && leads_nowhere(library, &LinkState::Target(revision.id)) {
                let link = repository::revision_link(&path, &digests.digest(revision.id));
                (revision.link, revision.stamp) = inventory::read_link(registry.v2(), &link, digests);
            }
        }
    }
    library.read(moved);
}

/// Sorts, with the greatest time or size first, and turns that round if that was asked for.
fn sort<T>(
    rows: &mut [T],
    request: &Request,
    key: impl Fn(&T) -> (Option<Timestamp>, Option<u64>),
    by_name: impl Fn(&T, &T) -> Ordering,
) {
    rows.sort_by(|a, b| {
        let ((a_time, a_bytes), (b_time, b_bytes)) = (key(a), key(b));
        let order = match request.sort {
            Sort::Name => Ordering::Equal,
            Sort::Pushed => Reverse(a_time).cmp(&Reverse(b_time)),
            Sort::Size => Reverse(a_bytes).cmp(&Reverse(b_bytes)),
        };
        order.then_with(|| by_name(a, b))
    });
    if request.reverse {
        rows.reverse();
    }
}

/// Sorts rows. Those without a tag stand behind those with one, by their digests.
fn sort_rows(rows: &mut [Row], request: &Request) {
    let name = |row: &Row| (row.tag.is_none(), row.tag.clone(), row.digest.clone());
    sort(rows, request, |row| (row.pushed, row.bytes), |a, b| name(a).cmp(&name(b)));
}
