//! Mark: what is live, in which repository, and what is tainted.
//!
//! # Referenced and expanded
//!
//! *Referenced* says that something needs a digest; *expanded* says that the manifest behind it has been looked into.
//! Every manifest was read once, by digest, into the [`Store`], however many repositories list it and whether or not
//! the repository at hand has a link for it. Marking only walks those results.
//!
//! # Twice
//!
//! Liveness is kept twice: for blobs over the whole registry, and for revision and layer links per repository. A child
//! of an index keeps its layers in the blob store for everybody, but a layer link lives only while a live manifest of
//! its own repository references it.
//!
//! # Taint
//!
//! Where a live manifest cannot be read, verified or understood, nobody knows what it needs. But the registry accepts a
//! manifest only when everything that it references is linked in the same repository; so keeping all layer links and
//! all revisions of that repository keeps whatever it needed. That is what *tainted* means. It lasts for the run.
//!
//! # Names that go
//!
//! Where a tag is let go ([`Policy`]), everything follows in the same run: the manifest that it led to goes as well,
//! with its children and with what refers to it, unless something that stays leads there too. What was untagged before
//! is another matter, and stays unless untagged manifests were to go. See `names.rs`.
//!
//! # What this part never does
//!
//! It removes nothing and reads nothing by itself: the few links whose content matters are asked for through
//! [`Links`].

mod names;
mod walk;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::digest::Digest;
use crate::finding::{FindingKind, Findings, Severity};
use crate::inventory::{DigestId, Digests, Inventory, LinkState, Repository, Tag};
use crate::layout::REPOSITORIES;
use crate::manifest::{Expect, Loaded, Store};
use crate::policy::{Cause, Evicted, Held, Policy, Removal, TagFate, TagVerdict, judge};
use crate::progress::Meter;
use walk::Walk;

/// Links whose content is only asked for where a path alone does not tell what they keep.
pub trait Links: Sync {
    /// What the layer link of this digest says.
    fn layer_link(&self, repository: &Repository, id: DigestId) -> LinkState;
    /// The signatures beside a schema 1 revision.
    ///
    /// # Errors
    /// One line that says why they cannot be listed.
    fn signatures(&self, repository: &Repository, id: DigestId) -> Result<Vec<DigestId>, String>;
    /// When a tag was last pointed at a digest that is in its history, in seconds since 1970; `None` if there is no
    /// link there that could tell.
    ///
    /// # Errors
    /// One line that says why that cannot be looked at.
    fn pointed_at(&self, repository: &Repository, tag: &Tag, digest: &Digest) -> Result<Option<i64>, String>;
}

/// What decides which names are roots, beside the tree itself.
#[derive(Clone, Copy, Debug)]
pub struct Wishes<'a> {
    /// What the operator asked for.
    pub policy: &'a Policy,
    /// What stays whatever else is asked for.
    pub held: &'a Held,
    /// What was named to go.
    pub removal: &'a Removal,
    /// What a pull-through cache is to be without.
    pub evicted: &'a Evicted,
    /// Manifests that are too young to go: roots wherever they have a revision link.
    pub young: &'a HashSet<DigestId>,
    /// Tags that were pushed after this, in seconds since 1970, are too young to go.
    pub young_since: Option<i64>,
    /// Now, in seconds since 1970.
    pub now: i64,
}

/// What is live.
#[derive(Debug)]
pub struct Marking {
    /// One entry a repository, in the order of the inventory.
    pub repositories: Vec<RepositoryMarking>,
    /// Something that is protected and that nobody knows the needs of: no blob is safe then.
    pub unlistable: Option<String>,
    live: Vec<AtomicU64>,
}

/// Pushes of some tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushes {
    /// How many.
    pub count: usize,
    /// When the first and the last were, in seconds since 1970.
    pub span: Option<(i64, i64)>,
}

impl Pushes {
    /// Those that were then.
    pub fn of(times: impl Iterator<Item = i64>) -> Pushes {
        times.fold(Pushes::default(), |all, time| all.and(Pushes { count: 1, span: Some((time, time)) }))
    }

    /// These and others.
    #[must_use]
    pub fn and(self, others: Pushes) -> Pushes {
        let span = match (self.span, others.span) {
            (Some((first, last)), Some((other_first, other_last))) => {
                Some((first.min(other_first), last.max(other_last)))
            }
            (one, other) => one.or(other),
        };
        Pushes { count: self.count + others.count, span }
    }

    /// How many seconds lie between the first and the last.
    pub fn seconds(self) -> i64 {
        self.span.map_or(0, |(first, last)| last.saturating_sub(first))
    }
}

/// What is live in one repository.
#[derive(Debug, Default)]
pub struct RepositoryMarking {
    /// Manifests that a root reaches, sorted.
    pub manifests: Vec<DigestId>,
    /// Layer links that none of them needs, sorted.
    pub unneeded_links: Vec<DigestId>,
    /// How many revisions stay that no tag leads to.
    pub untagged_kept: u64,
    /// Whether everything in it is kept because something could not be understood.
    pub tainted: bool,
    /// A folder whose contents nobody knows, and which no taint makes up for: no blob is safe then.
    pub unlistable: Option<String>,
    /// Whether a live manifest could not be read.
    pub has_unreadable_manifest: bool,
    /// Tags that go, by their place in the repository, sorted.
    pub tags_gone: Vec<(usize, Cause)>,
    /// What was decided about each tag, in their order; empty where there are no rules.
    pub verdicts: Vec<TagVerdict>,
    /// Manifests that go because tags go, and why; sorted. None of them is live here.
    pub let_go: Vec<(DigestId, Cause)>,
    /// Subjects that were gone before, while a tag that belongs to them is here.
    subjects_gone: Vec<DigestId>,
    /// The tags that rules judged by the times of their pushes.
    pub judged_by_time: Pushes,
    /// How many of its tags were pushed in the future.
    pub tags_of_the_future: usize,
}

impl RepositoryMarking {
    /// Whether a root of this repository reaches the manifest.
    pub fn is_live(&self, id: DigestId) -> bool {
        self.manifests.binary_search(&id).is_ok()
    }

    /// Why this manifest goes, if it does so because tags go.
    pub fn let_go(&self, id: DigestId) -> Option<Cause> {
        self.let_go.binary_search_by_key(&id, |(id, _)| *id).ok().map(|place| self.let_go[place].1)
    }

    /// How many of its tags are evicted.
    pub fn evicted_tags(&self) -> usize {
        self.tags_gone.iter().filter(|(_, cause)| *cause == Cause::Evicted).count()
    }

    /// Why this tag goes, if it does.
    pub fn tag_goes(&self, place: usize) -> Option<Cause> {
        self.tags_gone.binary_search_by_key(&place, |(place, _)| *place).ok().map(|place| self.tags_gone[place].1)
    }
}

impl Marking {
    fn new(blobs: usize) -> Marking {
        Marking {
            repositories: Vec::new(),
            unlistable: None,
            live: (0..blobs.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Everything that could not be listed, in the tree or on the way through it, a line each.
    pub fn all_unlistable(&self, inventory: &Inventory) -> Vec<String> {
        let hidden = self.repositories.iter().filter_map(|marked| marked.unlistable.clone());
        inventory.unlistable.iter().map(ToString::to_string).chain(hidden).chain(self.unlistable.clone()).collect()
    }

    /// Whether some repository needs this blob. `false` for a digest that is no blob.
    pub fn is_live(&self, id: DigestId) -> bool {
        let word = self.live.get(id.index() / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        word & (1 << (id.index() % 64)) != 0
    }

    /// Keeps these, and every layer link to them.
    pub fn keep_all(&mut self, digests: &Digests, kept: &HashSet<DigestId>) {
        kept.iter().for_each(|&id| self.keep(digests, id));
        for marked in &mut self.repositories {
            marked.unneeded_links.retain(|link| !kept.contains(link));
        }
    }

    fn keep(&self, digests: &Digests, id: DigestId) {
        if digests.is_blob(id) {
            self.live[id.index() / 64].fetch_or(1 << (id.index() % 64), Ordering::Relaxed);
        }
    }
}

/// Which digests of a repository have to be read as manifests before [`mark`] can walk: every revision and every tag's
/// target, and their histories where the target cannot be understood.
pub fn manifests_to_read(repository: &Repository, digests: &Digests) -> Vec<(DigestId, Expect)> {
    let certain = roots_of(repository, digests).into_iter().map(|id| (id, Expect::Manifest));
    // What a link in an odd place names may be a manifest or a layer.
    let odd = repository.odd_targets.iter().map(|&id| (id, Expect::Unknown));
    let mut wanted: Vec<(DigestId, Expect)> = certain.chain(odd).collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

fn roots_of(repository: &Repository, digests: &Digests) -> Vec<DigestId> {
    let mut wanted = Vec::with_capacity(repository.revisions.len());
    for revision in &repository.revisions {
        match revision.link {
            // An empty digest folder is no root; but a tag, an index or a taint may still lead to its digest.
            LinkState::Target(target) if target != revision.id => wanted.extend([revision.id, target]),
            _ => wanted.push(revision.id),
        }
    }
    for tag in &repository.tags {
        match judge(repository, tag, digests) {
            TagFate::Root(id) | TagFate::Dangling(id) | TagFate::Deleted(id) => wanted.push(id),
            TagFate::History(ids, _) | TagFate::NoTarget(ids) => wanted.extend(ids),
            TagFate::Unknown(_) => {}
        }
    }
    wanted
}

/// How carefully one walks.
#[derive(Clone, Copy, Debug)]
struct Pass<'a> {
    /// Nothing goes but tags that were named one by one: nobody knows what needs the rest.
    is_cautious: bool,
    /// Subjects that are gone from all of the registry, so that what belongs to them goes too.
    pruned: &'a HashSet<DigestId>,
}

/// Marks all repositories, in parallel on the current rayon pool. Where the meter says that the work is to end, some are
/// left out: then the answer is good for nothing.
pub fn mark(
    inventory: &Inventory,
    store: &Store,
    links: &dyn Links,
    wishes: Wishes<'_>,
    findings: &Findings,
    meter: &Meter,
) -> Marking {
    let Inventory { digests, repositories, .. } = inventory;
    // Each walk has findings of its own: what is said in one that does not count is not so.
    let walk = |pass: Pass<'_>| -> (Marking, Findings) {
        meter.expect(repositories.len() as u64);
        let findings = Findings::default();
        let mut marking = Marking::new(digests.blobs().len());
        let repositories = repositories.par_iter().filter(|_| !meter.is_halted());
        let marked = repositories.map(|repository| {
            let marked = Walk::new(digests, store, links, &findings, repository, wishes, pass).run(&marking);
            meter.add(1);
            marked
        });
        let marked = marked.collect();
        marking.repositories = marked;
        hold(&mut marking, digests, store, wishes.held);
        (marking, findings)
    };
    let mut gone = HashSet::new();
    let (mut marking, mut found) = walk(Pass { is_cautious: false, pruned: &gone });
    let is_blind = |marking: &Marking| marking.repositories.iter().any(|marked| marked.has_unreadable_manifest);
    while wishes.policy.prune_referrers && !is_blind(&marking) && digests.blobs().is_complete() {
        // A signature may lie in another repository than its image, and what it signs may go with this very walk.
        let more = gone_everywhere(&marking, repositories, &gone);
        if more.is_empty() {
            break;
        }
        gone.extend(more);
        (marking, found) = walk(Pass { is_cautious: false, pruned: &gone });
    }
    if wishes.policy.lets_names_go() && is_blind(&marking) {
        // It may be a sparse index, and what that names may lie in another repository alone, untagged there.
        let message = "a manifest that is needed cannot be read, and may be an index of images in any repository: \
                       untagged manifests and tags stay in this run";
        findings.add(Severity::Error, FindingKind::Unreadable, None, Path::new(REPOSITORIES), message);
        (marking, found) = walk(Pass { is_cautious: true, pruned: &HashSet::new() });
    }
    findings.take_all(found);
    marking
}

/// Subjects that are nowhere in the registry, beside those that are known to be gone. That a digest is not in the table
/// of blobs says nothing: a listing may have been short, and a manifest whose blob is lost is damaged, not gone. So
/// nothing may lead to it that stays, no revision link, no tag and no index, in any repository.
fn gone_everywhere(marking: &Marking, repositories: &[Repository], known: &HashSet<DigestId>) -> Vec<DigestId> {
    let mut gone: HashSet<DigestId> =
        marking.repositories.iter().flat_map(|marked| &marked.subjects_gone).copied().collect();
    gone.retain(|&subject| !known.contains(&subject) && !marking.is_live(subject));
    if gone.is_empty() {
        return Vec::new();
    }
    for (repository, marked) in repositories.iter().zip(&marking.repositories) {
        // What is not live goes in this run, unless it cannot be removed.
        let stays = |subject: &DigestId| {
            repository.revision(*subject).is_some_and(|revision| match revision.link {
                LinkState::Absent => false,
                LinkState::Target(_) => marked.tainted || revision.linked,
                LinkState::Damaged(_) | LinkState::Unreadable(_) => true,
            })
        };
        gone.retain(|subject| !marked.is_live(*subject) && !stays(subject));
        for (place, tag) in repository.tags.iter().enumerate() {
            match (&tag.current, &tag.history) {
                _ if marked.tag_goes(place).is_some() => {}
                (LinkState::Target(target), _) => _ = gone.remove(target),
                // It may have pointed at any of these.
                (_, Ok(history)) => history.iter().for_each(|former| _ = gone.remove(former)),
                (_, Err(_)) => return Vec::new(),
            }
        }
    }
    gone.into_iter().collect()
}

/// Keeps what is protected, also where no repository leads to it any more, with everything below it.
fn hold(marking: &mut Marking, digests: &Digests, store: &Store, held: &Held) {
    let mut kept = HashSet::new();
    let mut pending: Vec<DigestId> = held.digests.iter().copied().collect();
    while let Some(id) = pending.pop() {
        if !kept.insert(id) {
            continue;
        }
        match store.get(id) {
            Some(Loaded::Manifest(manifest)) => {
                pending.extend(manifest.children().iter().chain(manifest.blobs()).chain(manifest.foreign()));
            }
            // Whatever it needs, nobody knows what that is.
            Some(Loaded::Unreadable(why)) => {
                let digest = digests.digest(id);
                marking.unlistable = Some(format!("the manifest {digest}, which is protected: {why}"));
            }
            _ => {}
        }
    }
    kept.into_iter().for_each(|id| marking.keep(digests, id));
    if !held.digests.is_empty() {
        marking.keep_all(digests, &held.digests);
    }
}
