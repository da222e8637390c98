//! Roots: what keeps things alive in a repository, as far as it may lead to one digest.
//!
//! What is live was decided by `mark`, and is not decided again: a tag that goes is no root, a manifest that is not
//! live is none, and each that is live and that no tag leads to is one. Only *why* it is one is told here.

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::*;
use serde::Serialize;

use super::Knowledge;
use super::graph::{Ancestry, Edge};
use crate::inventory::{DigestId, LinkState, Repository, Tag};
use crate::mark::RepositoryMarking;
use crate::policy::{TagFate, judge, meant_by};

/// What sort of root it is, and why it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootKind {
    /// Tags that point there.
    Tag,
    /// Tags whose current link cannot be used: all that they ever pointed at stays.
    DamagedTag,
    /// A manifest that tags pointed at before, and that a rule keeps for that.
    FormerTarget,
    /// A manifest that no tag leads to, and that stays because untagged manifests were not to go.
    Untagged,
    /// The same, and it stays because it is too young to go.
    Young,
    /// It was asked that it stays.
    Protected,
    /// It cannot be removed: a symbolic link leads there, or the repository has a name that no registry serves.
    Irremovable,
    /// Its revision link cannot be used or what it names cannot be read: it may be needed.
    Unclear,
    /// Its repository is tainted: everything in there stays.
    Tainted,
    /// A link in a place that the layout does not know.
    OddLink,
}

impl RootKind {
    /// Why it stays, in a few words; nothing for what needs no word.
    pub fn text(self) -> &'static str {
        match self {
            RootKind::Tag => "",
            RootKind::DamagedTag => "its current link cannot be used; all that it ever pointed at stays",
            RootKind::FormerTarget => "tags pointed there before, and a rule keeps that",
            RootKind::Untagged => "no tag leads to it; gc without --delete-untagged keeps it",
            RootKind::Young => "no tag leads to it; it is younger than --min-age",
            RootKind::Protected => "--protect names it, or something that it needs",
            RootKind::Irremovable => "no tag leads to it, and it cannot be removed",
            RootKind::Unclear => "no tag leads to it; its links or the manifest cannot be understood, so it stays",
            RootKind::Tainted => "something in this repository is damaged, so everything in it stays",
            RootKind::OddLink => "a link in a place that the layout does not know; kept",
        }
    }
}

/// A root.
#[derive(Clone, Debug)]
pub struct Root {
    /// What sort it is.
    pub kind: RootKind,
    /// Its repository, by its place in the inventory; `None` for what is protected wherever it is.
    pub repository: Option<usize>,
    /// Its tags, by their places in the repository: all those that point at the same.
    pub tags: Vec<usize>,
    /// What it points at.
    pub target: DigestId,
}

/// Roots of one repository, as they are found.
struct Finder<'a> {
    knowledge: &'a Knowledge<'a>,
    ancestry: &'a Ancestry,
    place: usize,
    repository: &'a Repository,
    marked: &'a RepositoryMarking,
    roots: Vec<Root>,
    /// What the roots so far lead to, as far as it may lead to the digest.
    reached: HashSet<DigestId>,
    /// How many revisions each sort of root led to that none before it did.
    led_to: BTreeMap<RootKind, u64>,
}

impl Knowledge<'_> {
    /// The roots that may lead to the digest, sorted by repository; tags first, by name.
    pub(super) fn roots(&self, ancestry: &Ancestry) -> Vec<Root> {
        let inventory = &self.collection.inventory;
        let seen: Vec<_> =
            inventory.repositories.iter().zip(&self.collection.marking.repositories).enumerate().collect();
        let mut roots: Vec<Root> = seen
            .into_par_iter()
            .flat_map_iter(|(place, (repository, marked))| {
                Finder::new(self, ancestry, place, repository, marked).find()
            })
            .collect();
        let mut held: Vec<DigestId> =
            self.held.digests.iter().copied().filter(|&id| ancestry.has(id) && self.is_named(id)).collect();
        held.sort_by_cached_key(|&id| self.digest(id));
        roots.extend(held.into_iter().map(|target| Root {
            kind: RootKind::Protected,
            repository: None,
            tags: Vec::new(),
            target,
        }));
        roots
    }

    /// How many revisions of a repository are live and no tag leads there, by why they are.
    pub(super) fn untagged(&self, place: usize) -> BTreeMap<RootKind, u64> {
        let Some(all) = self.all_of(place) else { return BTreeMap::new() };
        let repository = &self.collection.inventory.repositories[place];
        let marked = &self.collection.marking.repositories[place];
        let mut finder = Finder::new(self, &all, place, repository, marked);
        finder.tags();
        finder.led_to.clear();
        finder.others();
        finder.led_to.retain(|_, count| *count > 0);
        finder.led_to
    }

    /// Whether there is a blob of this digest: what somebody protects may be anywhere.
    fn is_named(&self, id: DigestId) -> bool {
        self.collection.inventory.digests.is_blob(id)
    }
}

impl<'a> Finder<'a> {
    fn new(
        knowledge: &'a Knowledge<'a>,
        ancestry: &'a Ancestry,
        place: usize,
        repository: &'a Repository,
        marked: &'a RepositoryMarking,
    ) -> Finder<'a> {
        let (roots, reached, led_to) = (Vec::new(), HashSet::new(), BTreeMap::new());
        Finder { knowledge, ancestry, place, repository, marked, roots, reached, led_to }
    }

    fn find(mut self) -> Vec<Root> {
        self.tags();
        self.others();
        if self.marked.tainted && !self.reached.contains(&self.ancestry.target) {
            self.tainted();
        }
        self.roots
    }

    /// Tags that stay. Those that point at the same are one root.
    fn tags(&mut self) {
        let mut found: Vec<(DigestId, RootKind, usize)> = Vec::new();
        let digests = &self.knowledge.collection.inventory.digests;
        for (place, tag) in self.repository.tags.iter().enumerate() {
            // Most lead elsewhere, and that is cheap to know.
            if let LinkState::Target(target) = tag.current
                && meant_by(self.repository, tag, digests).is_none()
            {
                if self.ancestry.has(target) && self.marked.tag_goes(place).is_none() {
                    found.push((target, RootKind::Tag, place));
                }
                continue;
            }
            if self.marked.tag_goes(place).is_some() {
                continue;
            }
            if let TagFate::History(ids, _) | TagFate::NoTarget(ids) = judge(self.repository, tag, digests) {
                let ids = ids.into_iter().filter(|&id| self.ancestry.has(id));
                found.extend(ids.map(|id| (id, RootKind::DamagedTag, place)));
            }
        }
        let mut targets: Vec<(DigestId, RootKind)> = Vec::new();
        let mut tags: HashMap<(DigestId, RootKind), Vec<usize>> = HashMap::new();
        for (target, kind, place) in found {
            let tags = tags.entry((target, kind)).or_default();
            if tags.is_empty() {
                targets.push((target, kind));
            }
            tags.push(place);
        }
        // In the order of their first tags.
        for (target, kind) in targets {
            let tags = tags.remove(&(target, kind)).unwrap_or_default();
            self.root(kind, target, tags);
        }
    }

    /// Live manifests that no root so far leads to: those first that no other of them leads to.
    fn others(&mut self) {
        for &id in self.repository.odd_targets.iter().filter(|id| self.ancestry.has(**id)) {
            if !self.reached.contains(&id) {
                self.root(RootKind::OddLink, id, Vec::new());
            }
        }
        let revisions = self.repository.revisions.iter().map(|revision| revision.id);
        let mut open: Vec<DigestId> = revisions
            .filter(|&id| self.ancestry.has(id) && self.marked.is_live(id) && !self.reached.contains(&id))
            .collect();
        open.sort_by_cached_key(|&id| self.knowledge.digest(id));
        let among: HashSet<DigestId> = open.iter().copied().collect();
        let mut led_to = HashSet::new();
        for &id in &among {
            let below = self.below(id).into_iter().filter(|below| *below != id && among.contains(below));
            led_to.extend(below);
        }
        let (first, last): (Vec<DigestId>, Vec<DigestId>) = open.into_iter().partition(|id| !led_to.contains(id));
        // Links that name each other lead to each other: then one of them has to be the first.
        for id in first.into_iter().chain(last) {
            if !self.reached.contains(&id) {
                let (kind, tags) = self.why(id);
                self.root(kind, id, tags);
            }
        }
    }

    /// What a taint keeps that no manifest leads to.
    fn tainted(&mut self) {
        let target = self.ancestry.target;
        let backwards = &self.knowledge.backwards;
        let formerly = |tag: &Tag| tag.history.as_ref().is_ok_and(|all| all.contains(&target));
        let is_linked = self.repository.has_layer_link(target)
            || backwards.other_names(self.place, target).next().is_some()
            || backwards.signed(self.place, target).next().is_some()
            || self.repository.tags.iter().any(formerly);
        if is_linked {
            self.root(RootKind::Tainted, target, Vec::new());
        }
    }

    fn root(&mut self, kind: RootKind, target: DigestId, tags: Vec<usize>) {
        self.roots.push(Root { kind, repository: Some(self.place), tags, target });
        let mut pending = vec![target];
        while let Some(id) = pending.pop() {
            if self.reached.insert(id) {
                let has_link = self.repository.revision(id).is_some_and(|it| it.link != LinkState::Absent);
                *self.led_to.entry(kind).or_default() += u64::from(has_link);
                pending.extend(self.below(id));
            }
        }
    }

    /// One step down, as far as that holds in this repository.
    fn below(&self, id: DigestId) -> Vec<DigestId> {
        let below = self.ancestry.down.get(&id).into_iter().flatten();
        let holds = |&&(to, edge): &&(DigestId, Edge)| self.knowledge.holds(Some(self.place), id, to, edge);
        below.filter(holds).map(|&(to, _)| to).collect()
    }

    /// Why a revision to which no tag leads is live.
    fn why(&self, id: DigestId) -> (RootKind, Vec<usize>) {
        let knowledge = self.knowledge;
        let kind = |kind| (kind, Vec::new());
        let Some(revision) = self.repository.revision(id) else { return kind(RootKind::Unclear) };
        let target = if let LinkState::Target(target) = revision.link { target } else { id };
        if self.marked.tainted {
            return kind(RootKind::Tainted);
        }
        if self.repository.removable.is_none() || revision.linked {
            return kind(RootKind::Irremovable);
        }
        let is_held = |id: DigestId| {
            let held = &knowledge.held.digests;
            let blobs = knowledge.store.manifest(id).map(|manifest| manifest.blobs());
            held.contains(&id) || blobs.into_iter().flatten().any(|blob| held.contains(blob))
        };
        if is_held(id) || is_held(target) {
            return kind(RootKind::Protected);
        }
        if knowledge.young.contains(&id) {
            return kind(RootKind::Young);
        }
        if !matches!(revision.link, LinkState::Target(_)) {
            return kind(RootKind::Unclear);
        }
        if !knowledge.policy.delete_untagged {
            return kind(RootKind::Untagged);
        }
        // Untagged manifests go, and this one stays: a rule about histories, or something that cannot be read.
        let tags = self.repository.tags.iter().enumerate();
        let pointed = tags.filter(|(place, tag)| {
            self.marked.tag_goes(*place).is_none() && tag.history.as_ref().is_ok_and(|all| all.contains(&id))
        });
        let pointed: Vec<usize> = pointed.map(|(place, _)| place).collect();
        let rules = knowledge.policy.retention.as_ref();
        if !pointed.is_empty() && rules.is_some_and(|rules| rules.has_history(&self.repository.name)) {
            return (RootKind::FormerTarget, pointed);
        }
        kind(RootKind::Unclear)
    }
}
