//! A repository as a tree: what an index lists below it, and what is said about a manifest below that.
//!
//! Only one step is kept for each manifest; whoever prints goes from one to the next, and ends where a manifest would
//! come below itself ([`super::Way`]). So a tree takes no more memory than the manifests that it is made of, however
//! often they name each other.
//!
//! ```text
//! v1                      index
//!   linux/amd64           image        listed by the index
//!     sha256-...sig       signature    a tag that is made from the digest of the image
//!   <spdx+json>           artifact     its `subject` is the index
//! ```

use std::collections::{HashMap, HashSet};

use super::library::Loaded;
use super::repository::{Book, target};
use super::{Below, Kind, ListedRepository, Request, Row, sort_rows};
use crate::inventory::{DigestId, Tag};
use crate::policy::Subject;

/// A tag that is made from the digest of another manifest.
struct Special<'a> {
    tag: &'a Tag,
    /// What it is about; `None` if that is not here.
    subject: Option<DigestId>,
    target: DigestId,
}

/// Who stands below whom.
#[derive(Default)]
struct Edges {
    below: HashMap<DigestId, Vec<DigestId>>,
}

impl Edges {
    /// Notes everything that can be reached from here.
    fn reach(&self, from: DigestId, reached: &mut HashSet<DigestId>) {
        let mut pending = vec![from];
        while let Some(id) = pending.pop() {
            if reached.insert(id) {
                pending.extend(self.below.get(&id).into_iter().flatten());
            }
        }
    }
}

/// Puts the rows of these tags and what belongs to them into the repository.
pub(super) fn grow(book: &mut Book<'_>, wanted: &[&Tag], request: &Request, listed: &mut ListedRepository) {
    let all = book.all();
    let here: HashSet<DigestId> = all.iter().copied().collect();
    let (specials, plain): (Vec<_>, Vec<_>) =
        book.repository.tags.iter().map(|tag| special(book, tag, &all)).partition(Result::is_ok);
    let specials: Vec<Special<'_>> = specials.into_iter().filter_map(Result::ok).collect();
    let is_wanted: HashSet<&str> = wanted.iter().map(|tag| &*tag.name).collect();
    let edges = below(book, &all, &specials, request, listed);

    let mut reached = HashSet::new();
    for tag in plain.into_iter().filter_map(Result::err).filter(|tag| is_wanted.contains(&*tag.name)) {
        target(tag).into_iter().for_each(|id| edges.reach(id, &mut reached));
        listed.manifests.push(book.tag_row(tag));
    }
    let about_gone = |book: &Book<'_>, id: DigestId| {
        book.library.manifest(id).and_then(|it| it.subject).is_some_and(|subject| !here.contains(&subject))
    };
    if request.untagged {
        let mut untagged = book.untagged();
        untagged.retain(|&id| !about_gone(book, id));
        untagged.sort_by_cached_key(|&id| book.digest(id));
        let stands_below: HashSet<DigestId> = edges.below.values().flatten().copied().collect();
        // First those below nobody. What is left then stands below each other in a circle, and some one begins.
        let (below, above): (Vec<_>, Vec<_>) = untagged.into_iter().partition(|id| stands_below.contains(id));
        for id in above.into_iter().chain(below) {
            if !reached.contains(&id) {
                edges.reach(id, &mut reached);
                listed.manifests.push(book.manifest_row(id));
            }
        }
    }
    // A tag is always shown: below what it is about, or where that is not shown, for itself.
    let mut homeless: Vec<&Special<'_>> = Vec::new();
    for it in specials.iter().filter(|it| is_wanted.contains(&*it.tag.name)) {
        match it.subject {
            Some(subject) if reached.contains(&subject) => {}
            Some(_) => homeless.push(it),
            None => listed.about_gone.push(book.tag_row(it.tag)),
        }
    }
    let targets: HashSet<DigestId> = homeless.iter().map(|it| it.target).collect();
    let (below, above): (Vec<_>, Vec<_>) =
        homeless.into_iter().partition(|it| it.subject.is_some_and(|subject| targets.contains(&subject)));
    for it in above.into_iter().chain(below) {
        if !it.subject.is_some_and(|subject| reached.contains(&subject)) {
            edges.reach(it.target, &mut reached);
            listed.manifests.push(book.tag_row(it.tag));
        }
    }
    if request.untagged || request.pattern.as_ref().is_none_or(|pattern| pattern.tag().is_none()) {
        let tagged: HashSet<DigestId> = book.repository.tags.iter().filter_map(target).collect();
        let gone = all.iter().copied().filter(|id| !tagged.contains(id) && about_gone(book, *id));
        let rows: Vec<Row> = gone.collect::<Vec<_>>().into_iter().map(|id| book.manifest_row(id)).collect();
        listed.about_gone.extend(rows);
    }
    sort_rows(&mut listed.manifests, request);
    sort_rows(&mut listed.about_gone, request);
}

/// What is about another manifest by its name; the tag itself if it is one like any other.
fn special<'a>(book: &Book<'_>, tag: &'a Tag, all: &[DigestId]) -> Result<Special<'a>, &'a Tag> {
    let (Some(special), Some(target)) = (book.special(tag), target(tag)) else { return Err(tag) };
    let subject = match &special.subject {
        Subject::Whole(digest) => {
            let id = book.library.digests.id(digest);
            all.binary_search_by_key(digest, |&id| book.digest(id)).is_ok().then_some(id)
        }
        Subject::Cut(..) => all.iter().copied().find(|&id| special.subject.is(&book.digest(id))),
    };
    Ok(Special { tag, subject, target })
}

/// Makes the rows that stand below each manifest, and says who they are.
fn below(
    book: &mut Book<'_>,
    all: &[DigestId],
    specials: &[Special<'_>],
    request: &Request,
    listed: &mut ListedRepository,
) -> Edges {
    let mut edges = Edges::default();
    let mut referrers: HashMap<DigestId, Vec<Row>> = HashMap::new();
    let mut said = HashSet::new();
    for it in specials {
        let Some(subject) = it.subject else { continue };
        said.insert((subject, it.target));
        edges.below.entry(subject).or_default().push(it.target);
        referrers.entry(subject).or_default().push(book.tag_row(it.tag));
    }
    for &id in all {
        let Some(subject) = book.library.manifest(id).and_then(|manifest| manifest.subject) else { continue };
        // Cosign also writes a `subject` into what it tags.
        if said.insert((subject, id)) {
            edges.below.entry(subject).or_default().push(id);
            referrers.entry(subject).or_default().push(book.manifest_row(id));
        }
    }
    for &id in all {
        let children = children(book, id);
        let mut referrers = referrers.remove(&id).unwrap_or_default();
        if children.is_empty() && referrers.is_empty() {
            continue;
        }
        sort_rows(&mut referrers, request);
        edges.below.entry(id).or_default().extend(children.iter().map(|(child, _)| child));
        let children = children.into_iter().map(|(_, row)| row).collect();
        listed.below.insert(book.digest(id), Below { children, referrers });
    }
    edges
}

fn children(book: &mut Book<'_>, id: DigestId) -> Vec<(DigestId, Row)> {
    let library = book.library;
    let Some(manifest) = library.manifest(id) else { return Vec::new() };
    let is_manifest = |id: DigestId| !matches!(library.get(id), Some(Loaded::Blob));
    let mut rows = Vec::new();
    for child in manifest.children.iter().filter(|child| is_manifest(child.id)) {
        let mut row = book.manifest_row(child.id);
        if child.is_attestation && row.kind == Kind::Image {
            row.kind = Kind::Attestation;
            (row.platforms, row.created) = (Vec::new(), None);
        } else if let Some(platform) = &child.platform {
            row.platforms = vec![platform.clone()];
        }
        rows.push((child.id, row));
    }
    rows
}
