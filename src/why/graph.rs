//! The way back: from a digest to everything that may lead to it, over numbers.
//!
//! The manifests are turned round: who lists this one, who needs that blob, what is this about. Some steps hold in one
//! repository only, because a link there says so: a revision link that names another digest, a layer link that serves a
//! blob by another name, signatures beside a schema 1 revision, and a referrer, which must be linked where its subject
//! is. These are collected here as well, and [`Knowledge::holds`] says whether a step holds in a repository.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use super::Knowledge;
use crate::collect::TreeLinks;
use crate::inventory::{DigestId, Inventory, LinkState, Repository};
use crate::manifest::Store;
use crate::mark::{Links as _, Marking};
use crate::registry::Registry;

/// What leads from one thing to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Edge {
    /// A root points at it.
    Root,
    /// A manifest names it: as its config, a layer, a child.
    Reference,
    /// It is about the one before.
    Subject,
    /// A revision link that has the one before in its path names it.
    RevisionLink,
    /// A layer link that has the one before in its path names it.
    LayerLink,
    /// A signature beside the revision of a schema 1 manifest.
    Signature,
}

/// A link of one repository that leads from one digest to another.
type Local = HashMap<DigestId, Vec<(usize, DigestId)>>;

/// The references of all manifests, turned round, and what links say beside them.
#[derive(Debug)]
pub(super) struct Backwards {
    /// By child: the manifests that list it.
    listed_by: HashMap<DigestId, Vec<DigestId>>,
    /// By what a revision link names that is not its own digest.
    revision_links: Local,
    /// By what a layer link names that is not its own digest.
    layer_links: Local,
    /// By signature: the schema 1 revisions.
    signatures: Local,
}

/// Everything that may lead to a digest.
#[derive(Debug)]
pub(super) struct Ancestry {
    pub(super) target: DigestId,
    /// From each of them one step down.
    pub(super) down: HashMap<DigestId, Vec<(DigestId, Edge)>>,
    members: HashSet<DigestId>,
}

impl Ancestry {
    /// Whether it may lead to the digest, or is that itself.
    pub(super) fn has(&self, id: DigestId) -> bool {
        self.members.contains(&id)
    }

    /// The manifests that name the digest itself.
    pub(super) fn parents(&self) -> impl Iterator<Item = DigestId> {
        let leads = |below: &Vec<(DigestId, Edge)>| below.contains(&(self.target, Edge::Reference));
        self.down.iter().filter(move |(_, below)| leads(below)).map(|(&id, _)| id)
    }
}

impl Backwards {
    pub(super) fn new(registry: &Registry, inventory: &Inventory, marking: &Marking, store: &Store) -> Backwards {
        let digests = &inventory.digests;
        let mut listed_by: HashMap<DigestId, Vec<DigestId>> = HashMap::new();
        // Of these a layer link may say that they are another blob.
        let mut unclear = HashSet::new();
        for (id, manifest) in store.manifests() {
            manifest.children().iter().for_each(|&child| listed_by.entry(child).or_default().push(id));
            let named = manifest.children().iter().chain(manifest.blobs());
            unclear.extend(named.copied().filter(|&named| !digests.is_sha256_blob(named)));
        }
        let links = TreeLinks { registry, digests };
        let mut all =
            Backwards { listed_by, revision_links: Local::new(), layer_links: Local::new(), signatures: Local::new() };
        let seen: Vec<_> = inventory.repositories.iter().zip(&marking.repositories).enumerate().collect();
        let found: Vec<(usize, DigestId, DigestId, Edge)> = seen
            .into_par_iter()
            .flat_map_iter(|(place, (repository, marked))| {
                let mut found = Vec::new();
                for revision in &repository.revisions {
                    if let LinkState::Target(target) = revision.link
                        && target != revision.id
                    {
                        found.push((place, revision.id, target, Edge::RevisionLink));
                    }
                    // Where it is not understood, nobody knows whether it has any; a taint keeps them.
                    let may_have = match store.manifest(revision.id) {
                        Some(manifest) => manifest.has_signature_links,
                        None => marked.tainted,
                    };
                    if may_have && let Ok(signatures) = links.signatures(repository, revision.id) {
                        found.extend(signatures.into_iter().map(|it| (place, revision.id, it, Edge::Signature)));
                    }
                }
                let is_read = |id: &DigestId| unclear.contains(id) || marked.tainted && !digests.is_sha256_blob(*id);
                for &id in repository.layer_links.iter().filter(|id| is_read(id)) {
                    if let LinkState::Target(target) = links.layer_link(repository, id)
                        && target != id
                    {
                        found.push((place, id, target, Edge::LayerLink));
                    }
                }
                found
            })
            .collect();
        for (place, from, to, edge) in found {
            let local = match edge {
                Edge::RevisionLink => &mut all.revision_links,
                Edge::LayerLink => &mut all.layer_links,
                _ => &mut all.signatures,
            };
            local.entry(to).or_default().push((place, from));
        }
        all
    }

    /// Whether a link of this repository leads there.
    pub(super) fn has_layer_link(&self, place: usize, from: DigestId, to: DigestId) -> bool {
        has(&self.layer_links, place, from, to)
    }

    /// Whether these signatures lie beside that revision of the repository.
    pub(super) fn has_signature(&self, place: usize, from: DigestId, to: DigestId) -> bool {
        has(&self.signatures, place, from, to)
    }

    /// The layer links of a repository, by their own digests, that name this blob.
    pub(super) fn other_names(&self, place: usize, blob: DigestId) -> impl Iterator<Item = DigestId> {
        let named = self.layer_links.get(&blob).into_iter().flatten();
        named.filter(move |(at, _)| *at == place).map(|(_, id)| *id)
    }

    /// The revisions of a repository beside which this signature lies.
    pub(super) fn signed(&self, place: usize, signature: DigestId) -> impl Iterator<Item = DigestId> {
        let named = self.signatures.get(&signature).into_iter().flatten();
        named.filter(move |(at, _)| *at == place).map(|(_, id)| *id)
    }
}

fn has(local: &Local, place: usize, from: DigestId, to: DigestId) -> bool {
    local.get(&to).is_some_and(|all| all.contains(&(place, from)))
}

impl Knowledge<'_> {
    /// Everything that may lead to this digest, in any repository.
    pub(super) fn ancestry(&self, target: DigestId) -> Ancestry {
        let mut ancestry = Ancestry { target, down: HashMap::new(), members: HashSet::from([target]) };
        // Who needs a blob is asked once, for all names that it goes by.
        let other_names = self.backwards.layer_links.get(&target).into_iter().flatten().map(|(_, id)| *id);
        let blobs: HashSet<DigestId> = other_names.chain([target]).collect();
        let mut needed_by: HashMap<DigestId, Vec<DigestId>> = HashMap::new();
        for (id, manifest) in self.store.manifests() {
            for &blob in manifest.blobs().iter().chain(manifest.foreign()).filter(|blob| blobs.contains(blob)) {
                needed_by.entry(blob).or_default().push(id);
            }
        }
        let mut pending = vec![target];
        while let Some(id) = pending.pop() {
            let mut above: Vec<(DigestId, DigestId, Edge)> = Vec::new();
            let lists = [&self.backwards.listed_by, &needed_by];
            let parents = lists.into_iter().filter_map(|list| list.get(&id)).flatten();
            above.extend(parents.map(|&parent| (parent, id, Edge::Reference)));
            let subject = self.store.manifest(id).and_then(|manifest| manifest.subject);
            above.extend(subject.map(|subject| (subject, id, Edge::Subject)));
            for &(_, named) in self.backwards.revision_links.get(&id).into_iter().flatten() {
                above.push((named, id, Edge::RevisionLink));
                above.extend(subject.map(|subject| (subject, named, Edge::Subject)));
            }
            if id == target {
                let links = |local: &Local| local.get(&id).into_iter().flatten().map(|(_, from)| *from).collect();
                let (named, signed): (Vec<_>, Vec<_>) =
                    (links(&self.backwards.layer_links), links(&self.backwards.signatures));
                above.extend(named.into_iter().map(|from| (from, id, Edge::LayerLink)));
                above.extend(signed.into_iter().map(|from| (from, id, Edge::Signature)));
            }
            for (from, to, edge) in above {
                let below = ancestry.down.entry(from).or_default();
                if !below.contains(&(to, edge)) {
                    below.push((to, edge));
                }
                for id in [from, to] {
                    if ancestry.members.insert(id) {
                        pending.push(id);
                    }
                }
            }
        }
        // By digests, not by numbers: those depend on which thread came first.
        for below in ancestry.down.values_mut() {
            below.sort_by_cached_key(|&(id, edge)| (self.digest(id), edge));
        }
        ancestry
    }

    /// Everything live in a repository, and what leads from one to the next, whatever that may lead to. `None` if it has
    /// no live manifest.
    pub(super) fn all_of(&self, place: usize) -> Option<Ancestry> {
        let repository = &self.collection.inventory.repositories[place];
        let live = &self.collection.marking.repositories[place].manifests;
        let mut down: HashMap<DigestId, Vec<(DigestId, Edge)>> = HashMap::new();
        for &id in live {
            let Some(manifest) = self.store.manifest(id) else { continue };
            let children = manifest.children().iter().map(|&child| (child, Edge::Reference));
            down.entry(id).or_default().extend(children);
            if let Some(subject) = manifest.subject {
                down.entry(subject).or_default().push((id, Edge::Subject));
            }
        }
        for revision in &repository.revisions {
            if let LinkState::Target(target) = revision.link
                && target != revision.id
            {
                down.entry(revision.id).or_default().push((target, Edge::RevisionLink));
                if let Some(subject) = self.store.manifest(target).and_then(|manifest| manifest.subject) {
                    down.entry(subject).or_default().push((revision.id, Edge::Subject));
                }
            }
        }
        Some(Ancestry { target: *live.first()?, down, members: live.iter().copied().collect() })
    }

    /// Whether a step that some manifest or link gives holds in this repository; `None` is what is protected wherever
    /// it is, which follows manifests alone.
    pub(super) fn holds(&self, place: Option<usize>, from: DigestId, to: DigestId, edge: Edge) -> bool {
        let Some(place) = place else { return edge == Edge::Reference };
        let repository: &Repository = &self.collection.inventory.repositories[place];
        let link = |id| repository.revision(id).map(|revision| &revision.link);
        match edge {
            Edge::Root | Edge::Reference => true,
            Edge::Subject => match link(to) {
                None | Some(LinkState::Absent) => false,
                Some(state) => {
                    let target = if let LinkState::Target(target) = state { *target } else { to };
                    let is_about = |id| self.store.manifest(id).is_some_and(|it| it.subject == Some(from));
                    is_about(to) || is_about(target)
                }
            },
            Edge::RevisionLink => link(from) == Some(&LinkState::Target(to)),
            Edge::LayerLink => self.backwards.has_layer_link(place, from, to),
            Edge::Signature => self.backwards.has_signature(place, from, to),
        }
    }
}
