//! Traces: what was once between a tag and something that nothing needs any more.
//!
//! A registry deletes little. A `DELETE` over its API takes the link out of a revision's folder and leaves the folder,
//! whose time is then the time of that; a tag that moves on keeps a history; layer links stay for ever, and so do the
//! blobs of manifests. None of that proves what was: it is what is still there.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use jiff::Timestamp;
use rayon::prelude::*;
use serde::Serialize;

use super::Knowledge;
use super::describe::{Describer, What};
use super::graph::Ancestry;
use crate::digest::Digest;
use crate::inventory::{DigestId, LinkState};
use crate::layout::{LAYERS, LINK};
use crate::manifest::Details;
use crate::plan::Reason;

/// Manifests have a few thousand bytes; layers are mostly larger, and are not looked into.
const MOST_BYTES: u64 = 256 * 1024;
/// How many blobs without a link are looked into for manifests that name the digest.
const MOST_BLOBS: usize = 20_000;

/// Something that is still there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Trace {
    /// What sort of trace it is.
    pub kind: TraceKind,
    /// In which repository; `None` for a blob that no link leads to.
    pub repository: Option<Box<str>>,
    /// Of a tag's history: which tag.
    pub tag: Option<Box<str>>,
    /// The manifest that led to it, or its own digest.
    pub digest: Digest,
    /// What it is to that manifest; `None` if that is itself, or leads there over others.
    pub part: Option<What>,
    /// When that was, as far as a time says it.
    #[serde(serialize_with = "as_text")]
    pub at: Option<Timestamp>,
    /// Of a tag's history: what the tag points at now.
    pub now: Option<Digest>,
    /// Of a revision or a tag that goes: why.
    pub reason: Option<Reason>,
}

/// What sort of trace it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceKind {
    /// The folder of a revision whose link was taken out. Its time is when.
    DeletedRevision,
    /// A revision that goes. The time of its link is when it was pushed.
    GoingRevision,
    /// A tag that points there, and that goes. The time of its link is when it was pushed.
    GoingTag,
    /// A tag pointed there before. The time of its current link is since when it points elsewhere.
    TagHistory,
    /// A layer link of a repository. Its time is since when it is linked there.
    LayerLink,
    /// A manifest that is still in the blob store, and that no link leads to.
    UnlinkedManifest,
}

pub(super) fn as_text<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(serializer)
}

impl Knowledge<'_> {
    /// What is left of whatever led to this digest, and whether everything was looked into that could tell.
    pub(super) fn traces(&self, ancestry: &Ancestry, describer: &Describer<'_>) -> (Vec<Trace>, bool) {
        let target = ancestry.target;
        let parents: HashSet<DigestId> = ancestry.parents().collect();
        let (mut traces, unlinked, is_whole) = self.unlinked_manifests(target, describer);
        let leads_there = |id: &DigestId| ancestry.has(*id) || unlinked.contains(id);
        let marked = &self.collection.marking.repositories;
        let seen = self.collection.inventory.repositories.iter().zip(marked).enumerate();
        for (place, (repository, marked)) in seen {
            let trace = |kind, digest: Digest, at: Option<i64>| Trace {
                kind,
                repository: Some(repository.name.clone()),
                tag: None,
                digest,
                part: None,
                at: at.and_then(|at| Timestamp::from_second(at).ok()),
                now: None,
                reason: None,
            };
            for revision in repository.revisions.iter().filter(|revision| ancestry.has(revision.id)) {
                let part = parents.contains(&revision.id).then(|| describer.part(revision.id, target));
                let digest = self.digest(revision.id);
                if revision.link == LinkState::Absent {
                    let at = self.time_of(&repository.revision_folder(&digest));
                    traces.push(Trace { part, ..trace(TraceKind::DeletedRevision, digest, at) });
                } else if let Some(reason) = self.revision_goes(place, revision.id) {
                    let at = revision.stamp.map(|stamp| stamp.modified());
                    traces.push(Trace { part, reason: Some(reason), ..trace(TraceKind::GoingRevision, digest, at) });
                }
            }
            for (number, tag) in repository.tags.iter().enumerate() {
                let former = tag.history.iter().flatten().filter(|id| leads_there(id));
                for &id in former.filter(|id| tag.current != LinkState::Target(**id)) {
                    let now = match tag.current {
                        LinkState::Target(now) => Some(self.digest(now)),
                        _ => None,
                    };
                    let at = tag.stamp.map(|stamp| stamp.modified());
                    let moved = trace(TraceKind::TagHistory, self.digest(id), at);
                    traces.push(Trace { tag: Some((*tag.name).into()), now, ..moved });
                }
                if let (LinkState::Target(id), Some(reason)) = (&tag.current, marked.tag_goes(number))
                    && ancestry.has(*id)
                {
                    let at = tag.stamp.map(|stamp| stamp.modified());
                    let going = trace(TraceKind::GoingTag, self.digest(*id), at);
                    traces.push(Trace { tag: Some((*tag.name).into()), reason: Some(Reason::from(reason)), ..going });
                }
            }
            if repository.has_layer_link(target) {
                let digest = self.digest(target);
                let folder = repository.path.join(LAYERS).join(digest.algorithm().name()).join(digest.hex());
                traces.push(trace(TraceKind::LayerLink, digest, self.time_of(&folder.join(LINK))));
            }
        }
        traces.sort();
        (traces, is_whole)
    }

    /// Manifests among the blobs that go and that nobody has read, for no link leads to them: traces, their numbers, and
    /// whether all such blobs were looked into.
    fn unlinked_manifests(&self, target: DigestId, describer: &Describer<'_>) -> (Vec<Trace>, HashSet<DigestId>, bool) {
        let digests = &self.collection.inventory.digests;
        let blobs = self.collection.plan.blobs.iter().filter(|blob| blob.size.bytes <= MOST_BYTES);
        let blobs: Vec<&Digest> = blobs
            .map(|blob| &blob.digest)
            .filter(|digest| digests.blobs().find(digest).is_some_and(|id| self.store.get(id).is_none()))
            .collect();
        let is_whole = blobs.len() <= MOST_BLOBS;
        let looked_into = &blobs[..blobs.len().min(MOST_BLOBS)];
        let read: Vec<(&Digest, Details)> =
            looked_into.par_iter().filter_map(|&digest| Some((digest, self.read_manifest(digest)?))).collect();
        let mut named_by: HashMap<&Digest, Vec<usize>> = HashMap::new();
        for (place, (_, details)) in read.iter().enumerate() {
            let blobs = details.blobs.iter().map(|blob| &blob.digest);
            for named in blobs.chain(details.children.iter().map(|child| &child.digest)) {
                named_by.entry(named).or_default().push(place);
            }
        }
        let wanted = self.digest(target);
        let (mut traces, mut seen, mut pending) = (Vec::new(), HashSet::new(), vec![&wanted]);
        while let Some(below) = pending.pop() {
            for &place in named_by.get(below).into_iter().flatten() {
                let (digest, details) = &read[place];
                if digests.blobs().find(digest).is_none_or(|id| id == target || !seen.insert(id)) {
                    continue;
                }
                traces.push(Trace {
                    kind: TraceKind::UnlinkedManifest,
                    repository: None,
                    tag: None,
                    digest: (*digest).clone(),
                    part: (*below == wanted).then(|| describer.part_of(details, target)),
                    at: None,
                    now: None,
                    reason: None,
                });
                pending.push(digest);
            }
        }
        (traces, seen, is_whole)
    }

    /// When this was last modified, in seconds since 1970; `None` if nobody can tell.
    fn time_of(&self, path: &Path) -> Option<i64> {
        Some(self.registry.v2().stamp_of(path).ok().flatten()?.modified().0)
    }
}
