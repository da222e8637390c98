//! What the names of one repository reach.
//!
//! The names are the *leaves*: each image that tags point at (several tags of one digest are one leaf, for removing one
//! of them frees nothing), all untagged manifests together, and, where the repository is tainted, everything that is
//! kept because of that. It is the same walk as that of `mark`, with another question: not whether anything leads to a
//! blob, but which leaves do.
//!
//! # What goes along
//!
//! What `rm` lets go with a tag is no leaf of its own: what the image lists, what is about it by its `subject`, and
//! what a tag that is made from its digest points at. All of that is part of every leaf that reaches its subject. A tag
//! whose subject is gone is a leaf like any other. (One whose subject is here without a link of its own, for only an
//! untagged index leads to it, counts with that as untagged; `gc --delete-untagged` takes that subject for gone, and
//! keeps what is about it.)
//!
//! # Links that say something else
//!
//! A revision link may name another digest than its path. Then the other one is kept by this one, but does not go with
//! it: if it has a revision of its own, that is untagged.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::collect::TreeLinks;
use crate::digest::Algorithm;
use crate::inventory::{DigestId, LinkState, Repository, Revision, Tag};
use crate::manifest::{Loaded, Manifest, Store};
use crate::mark::{Links as _, Marking, RepositoryMarking};
use crate::plan::BlobTotals;
use crate::policy::{Agreement, ReferrerTag, Subject, TagFate, judge};

/// Which leaf of its repository reaches a blob: the place of an image, or one of those below.
pub(super) type Leaf = u32;
/// Several leaves.
pub(super) const SEVERAL: Leaf = u32::MAX;
/// The untagged manifests.
pub(super) const UNTAGGED: Leaf = u32::MAX - 1;
/// What is kept because something could not be understood.
pub(super) const KEPT: Leaf = u32::MAX - 2;

/// An image that tags point at.
#[derive(Debug)]
pub(super) struct Reached {
    /// What the tags point at; `None` for a tag whose link cannot be used, and which keeps what it ever pointed at.
    pub(super) target: Option<DigestId>,
    /// The tags, by their places.
    pub(super) tags: Vec<u32>,
    /// What it takes: every blob that it reaches, once.
    pub(super) total: BlobTotals,
}

/// What a repository reaches.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// The images, in the order of the first of their tags.
    pub(super) images: Vec<Reached>,
    /// Every blob that some leaf reaches, sorted, and which leaf that is.
    pub(super) blobs: Vec<(DigestId, Leaf)>,
    /// Of the blobs that somebody wants to know more about: each image that reaches one.
    pub(super) wanted: Vec<(DigestId, Leaf)>,
    /// How many untagged manifests there are that stay.
    pub(super) untagged: u64,
    /// What links in odd places keep, and symbolic links: nothing that is removed by name. Sorted.
    pub(super) odd: Vec<DigestId>,
    /// Which image each tag belongs to; `None` for a tag that goes with its subject, or that keeps nothing.
    pub(super) image_of: Vec<Option<u32>>,
}

/// An image that tags point at, before it is followed.
struct Tagged {
    target: Option<DigestId>,
    /// The target, or what the tag ever pointed at.
    roots: Vec<DigestId>,
    tags: Vec<u32>,
}

/// A tag that belongs to another manifest.
struct Follower {
    place: u32,
    target: DigestId,
    subject: Option<DigestId>,
}

/// Whether one goes on to what a revision link names.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// What stays while this stays.
    Keeps,
    /// What goes if this goes.
    LetsGo,
}

/// The walk through a repository.
pub(super) struct Walk<'a> {
    links: TreeLinks<'a>,
    store: &'a Store,
    repository: &'a Repository,
    marking: &'a Marking,
    marked: &'a RepositoryMarking,
    size_of: &'a (dyn Fn(DigestId) -> BlobTotals + Sync),
    /// Blobs of which every image is noted that reaches them.
    wanted: &'a [DigestId],
    /// Manifests by what they are about.
    referrers: HashMap<DigestId, Vec<DigestId>>,
    /// What layer links say whose path does not tell it.
    layer_links: HashMap<DigestId, Option<DigestId>>,
    leaves: HashMap<DigestId, Leaf>,
    reach: Reach,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        links: TreeLinks<'a>,
        store: &'a Store,
        repository: &'a Repository,
        (marking, marked): (&'a Marking, &'a RepositoryMarking),
        size_of: &'a (dyn Fn(DigestId) -> BlobTotals + Sync),
        wanted: &'a [DigestId],
    ) -> Walk<'a> {
        Walk {
            links,
            store,
            repository,
            marking,
            marked,
            size_of,
            wanted,
            referrers: HashMap::new(),
            layer_links: HashMap::new(),
            leaves: HashMap::new(),
            reach: Reach { image_of: vec![None; repository.tags.len()], ..Reach::default() },
        }
    }

    pub(super) fn run(mut self) -> Reach {
        for revision in self.linked_revisions() {
            let target = if let LinkState::Target(target) = revision.link { target } else { revision.id };
            for id in [revision.id, target] {
                if let Some(Manifest { subject: Some(subject), .. }) = self.store.manifest(id) {
                    self.referrers.entry(*subject).or_default().push(revision.id);
                }
            }
        }
        let (images, followers) = self.tags();
        let mut let_go = HashSet::new();
        let mut by_tags = HashSet::new();
        for image in images {
            self.follow(&image.roots, Way::Keeps, &mut by_tags);
            self.follow(image.target.as_slice(), Way::LetsGo, &mut let_go);
            self.image(image);
        }
        self.untagged_and_followers(followers, let_go, by_tags);
        if self.marked.tainted {
            self.kept();
        }
        self.odd();
        let Walk { leaves, mut reach, .. } = self;
        reach.blobs = leaves.into_iter().collect();
        reach.blobs.sort_unstable();
        reach
    }

    fn linked_revisions(&self) -> impl Iterator<Item = &'a Revision> + use<'a> {
        self.repository.revisions.iter().filter(|revision| revision.link != LinkState::Absent)
    }

    /// The images that tags point at, each with what it is rooted in, and the tags that belong to other manifests.
    fn tags(&mut self) -> (Vec<Tagged>, Vec<Follower>) {
        let repository = self.repository;
        let mut images = Vec::new();
        let mut by_target: HashMap<DigestId, usize> = HashMap::new();
        let mut followers = Vec::new();
        let mut beginnings = None;
        for (at, tag) in repository.tags.iter().enumerate() {
            let place = u32::try_from(at).unwrap_or(u32::MAX);
            if self.marked.tag_goes(at).is_some() {
                continue;
            }
            match judge(repository, tag, self.links.digests) {
                TagFate::Root(target) => match self.subject_of(tag, target, &mut beginnings) {
                    Some(subject) => {
                        if let Some(subject) = subject {
                            self.referrers.entry(subject).or_default().push(target);
                        }
                        followers.push(Follower { place, target, subject });
                    }
                    None => add_tag(&mut images, &mut by_target, target, place),
                },
                TagFate::Dangling(target) => add_tag(&mut images, &mut by_target, target, place),
                TagFate::History(roots, _) | TagFate::NoTarget(roots) => {
                    images.push(Tagged { target: None, roots, tags: vec![place] });
                }
                TagFate::Deleted(_) | TagFate::Unknown(_) => {}
            }
        }
        (images, followers)
    }

    /// What a tag is about, if its name is made from a digest and its target agrees; `Some(None)` where only a part of
    /// that digest is known, and nothing here begins with it. The same conditions as those under which `mark` lets a
    /// tag go with its subject.
    fn subject_of(
        &self,
        tag: &Tag,
        target: DigestId,
        beginnings: &mut Option<HashMap<(Algorithm, Box<str>), DigestId>>,
    ) -> Option<Option<DigestId>> {
        let referrer = ReferrerTag::parse(&tag.name)?;
        let repository = self.repository;
        let link = repository.revision(target).map(|revision| &revision.link);
        let can_be_pulled = link == Some(&LinkState::Target(target)) && self.store.manifest(target).is_some();
        let is_removable = repository.removable.is_some() && tag.removable.is_some() && tag.stamp.is_some();
        if !can_be_pulled
            || !is_removable
            || referrer.agreement(target, self.links.digests, self.store) != Agreement::Yes
        {
            return None;
        }
        Some(match &referrer.subject {
            Subject::Whole(digest) => Some(self.links.digests.id(digest)),
            Subject::Cut(algorithm, start) => {
                let beginnings = beginnings.get_or_insert_with(|| {
                    let ids = repository.revisions.iter().map(|revision| revision.id);
                    ids.filter_map(|id| Some((Subject::beginning_of(&self.links.digests.digest(id))?, id))).collect()
                });
                beginnings.get(&(*algorithm, start.clone())).copied()
            }
        })
    }

    /// Everything that these lead to: manifests, and what may be one.
    fn follow(&self, roots: &[DigestId], way: Way, seen: &mut HashSet<DigestId>) {
        let mut pending: Vec<DigestId> = roots.iter().copied().filter(|&root| seen.insert(root)).collect();
        while let Some(id) = pending.pop() {
            let mut go = |next: DigestId| {
                if seen.insert(next) {
                    pending.push(next);
                }
            };
            if let Some(manifest) = self.store.manifest(id) {
                manifest.children().iter().copied().for_each(&mut go);
            }
            self.referrers.get(&id).into_iter().flatten().copied().for_each(&mut go);
            if way == Way::Keeps
                && let Some(Revision { link: LinkState::Target(target), .. }) = self.repository.revision(id)
            {
                go(*target);
            }
        }
    }

    /// The blobs of these manifests, with themselves.
    fn blobs_of(&mut self, manifests: &HashSet<DigestId>) -> HashSet<DigestId> {
        let mut blobs = HashSet::with_capacity(manifests.len() * 8);
        let store = self.store;
        for &id in manifests {
            blobs.insert(id);
            let Some(manifest) = store.manifest(id) else { continue };
            blobs.extend(manifest.foreign());
            for &blob in manifest.blobs() {
                blobs.insert(blob);
                blobs.extend(self.linked_as(blob));
            }
            for &child in manifest.children() {
                blobs.extend(self.linked_as(child));
            }
            if manifest.has_signature_links && self.repository.revision(id).is_some() {
                // What cannot be listed has tainted the repository, and was said.
                blobs.extend(self.links.signatures(self.repository, id).into_iter().flatten());
            }
        }
        let (digests, marking) = (self.links.digests, self.marking);
        blobs.retain(|&id| digests.is_blob(id) && marking.is_live(id));
        blobs
    }

    /// Which other blob a layer link of this digest serves, if its path does not tell.
    fn linked_as(&mut self, id: DigestId) -> Option<DigestId> {
        let Walk { links, repository, layer_links, .. } = self;
        if links.digests.is_sha256_blob(id) || !repository.has_layer_link(id) {
            return None;
        }
        *layer_links.entry(id).or_insert_with(|| match links.layer_link(repository, id) {
            LinkState::Target(target) => Some(target),
            // One that cannot be read has tainted the repository, and was said.
            LinkState::Absent | LinkState::Damaged(_) | LinkState::Unreadable(_) => None,
        })
    }

    fn claim(&mut self, blobs: impl IntoIterator<Item = DigestId>, leaf: Leaf) {
        for id in blobs {
            match self.leaves.entry(id) {
                Entry::Vacant(free) => _ = free.insert(leaf),
                Entry::Occupied(mut taken) if *taken.get() != leaf => _ = taken.insert(SEVERAL),
                Entry::Occupied(_) => {}
            }
        }
    }

    fn image(&mut self, Tagged { target, roots, tags }: Tagged) {
        let leaf = u32::try_from(self.reach.images.len()).unwrap_or(KEPT - 1).min(KEPT - 1);
        let mut manifests = HashSet::new();
        self.follow(&roots, Way::Keeps, &mut manifests);
        let blobs = self.blobs_of(&manifests);
        let size_of = self.size_of;
        let total = blobs.iter().fold(BlobTotals::default(), |sum, &id| sum + size_of(id));
        for &tag in &tags {
            self.reach.image_of[tag as usize] = Some(leaf);
        }
        self.reach.images.push(Reached { target, tags, total });
        self.reach.wanted.extend(self.wanted.iter().filter(|id| blobs.contains(id)).map(|&id| (id, leaf)));
        self.claim(blobs, leaf);
    }

    /// Tags that belong to others, and untagged manifests. A tag whose subject is gone is a leaf of its own; and
    /// untagged is what goes with none of the leaves.
    fn untagged_and_followers(
        &mut self,
        mut followers: Vec<Follower>,
        mut let_go: HashSet<DigestId>,
        mut by_tags: HashSet<DigestId>,
    ) {
        // Every manifest counts here that is not an image's, also that of a signature: of two that are about each other
        // neither is left alone.
        let mut manifests = HashSet::new();
        if !followers.is_empty() {
            self.follow(&self.untagged_roots(&let_go), Way::Keeps, &mut manifests);
        }
        let is_here = |subject| by_tags.contains(&subject) || manifests.contains(&subject);
        followers.retain(|follower| !follower.subject.is_some_and(is_here));
        let (mut images, mut by_target) = (Vec::new(), HashMap::new());
        followers.iter().for_each(|it| add_tag(&mut images, &mut by_target, it.target, it.place));
        for image in images {
            self.follow(&image.roots, Way::Keeps, &mut by_tags);
            self.follow(&image.roots, Way::LetsGo, &mut let_go);
            self.image(image);
        }
        manifests.clear();
        self.follow(&self.untagged_roots(&let_go), Way::Keeps, &mut manifests);
        let untagged = self.linked_revisions().filter(|it| manifests.contains(&it.id) && !by_tags.contains(&it.id));
        self.reach.untagged = untagged.count() as u64;
        let blobs = self.blobs_of(&manifests);
        self.claim(blobs, UNTAGGED);
    }

    /// Revisions that stay by themselves, where these go with tags.
    fn untagged_roots(&self, let_go: &HashSet<DigestId>) -> Vec<DigestId> {
        let is_unreadable = |id| matches!(self.store.get(id), Some(Loaded::Unreadable(_)));
        let is_root = |revision: &&Revision| {
            let LinkState::Target(target) = revision.link else { return true };
            !let_go.contains(&revision.id) || is_unreadable(revision.id) || is_unreadable(target)
        };
        let stays = |revision: &&Revision| self.marked.is_live(revision.id) && !revision.linked;
        self.linked_revisions().filter(stays).filter(is_root).map(|revision| revision.id).collect()
    }

    /// What a taint keeps: every layer link and every revision, with everything that they lead to.
    fn kept(&mut self) {
        let repository = self.repository;
        let mut manifests: HashSet<DigestId> = self.marked.manifests.iter().copied().collect();
        self.follow(&self.marked.manifests, Way::Keeps, &mut manifests);
        let mut blobs = self.blobs_of(&manifests);
        let mut more: Vec<DigestId> = repository.layer_links.clone();
        more.extend(repository.layer_links.iter().filter_map(|&link| self.linked_as(link)));
        more.extend(repository.tags.iter().flat_map(|tag| tag.history.iter().flatten()));
        for revision in &repository.revisions {
            if self.store.manifest(revision.id).is_none_or(|manifest| manifest.has_signature_links) {
                more.extend(self.links.signatures(repository, revision.id).into_iter().flatten());
            }
        }
        let (digests, marking) = (self.links.digests, self.marking);
        blobs.extend(more.into_iter().filter(|&id| digests.is_blob(id) && marking.is_live(id)));
        self.claim(blobs, KEPT);
    }

    /// What links in odd places keep, and revisions behind symbolic links: they stay whoever wants them gone.
    fn odd(&mut self) {
        let is_manifest =
            |id: &DigestId| matches!(self.store.get(*id), Some(Loaded::Manifest(_) | Loaded::Unreadable(_)));
        let repository = self.repository;
        let linked = self.linked_revisions().filter(|revision| revision.linked).map(|revision| revision.id);
        let roots: Vec<DigestId> = repository.odd_targets.iter().copied().filter(is_manifest).chain(linked).collect();
        let mut manifests = HashSet::new();
        self.follow(&roots, Way::Keeps, &mut manifests);
        let mut odd = self.blobs_of(&manifests);
        let digests = self.links.digests;
        odd.extend(repository.odd_targets.iter().filter(|id| digests.is_blob(**id)));
        self.reach.odd = odd.into_iter().collect();
        self.reach.odd.sort_unstable();
    }
}

/// Puts a tag to the others that point at the same digest.
fn add_tag(images: &mut Vec<Tagged>, by_target: &mut HashMap<DigestId, usize>, target: DigestId, tag: u32) {
    match by_target.entry(target) {
        Entry::Occupied(at) => images[*at.get()].tags.push(tag),
        Entry::Vacant(free) => {
            free.insert(images.len());
            images.push(Tagged { target: Some(target), roots: vec![target], tags: vec![tag] });
        }
    }
}
