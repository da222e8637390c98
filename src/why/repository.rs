//! What is in a repository and why it stays, in counts: one line a root would be too much.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::Knowledge;
use super::roots::RootKind;
use crate::inventory::DigestId;
use crate::plan::Reason;

/// What is in a repository, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepositorySummary {
    /// Its name.
    pub name: Box<str>,
    /// How many tags it has.
    pub tags: u64,
    /// How many of them stay, by what decided about them; `tag` where there are no rules.
    pub tags_kept: BTreeMap<String, u64>,
    /// How many of them go, and why.
    pub tags_going: BTreeMap<Reason, u64>,
    /// How many revisions it has that have a link.
    pub revisions: u64,
    /// How many of these stay although no tag leads there, and why. What is below an untagged index counts with it.
    pub untagged_kept: BTreeMap<RootKind, u64>,
    /// How many of these go, and why.
    pub revisions_going: BTreeMap<Reason, u64>,
    /// Whether it is tainted: everything in it stays.
    pub is_tainted: bool,
    /// How many layer links it has, to configs and to layers.
    pub layer_links: u64,
    /// How many of these nothing here needs.
    pub layer_links_unneeded: u64,
    /// How many manifests and blobs it needs or links.
    pub digests: u64,
    /// How many of these other repositories link as well.
    pub shared: u64,
    /// How many other repositories link any of them.
    pub shared_with: u64,
}

impl Knowledge<'_> {
    /// What is in the repository at this place, and why.
    pub fn summary(&self, place: usize) -> RepositorySummary {
        let inventory = &self.collection.inventory;
        let (repository, marked) = (&inventory.repositories[place], &self.collection.marking.repositories[place]);
        let plan = self.collection.plan.repository(&repository.name);
        let mut tags_going: BTreeMap<Reason, u64> = BTreeMap::new();
        let mut tags_kept: BTreeMap<String, u64> = BTreeMap::new();
        for number in 0..repository.tags.len() {
            let tag = self.tag_answer(place, number);
            match (tag.goes, tag.explanation) {
                (Some(reason), _) => *tags_going.entry(reason).or_default() += 1,
                (None, explanation) => *tags_kept.entry(explanation.unwrap_or_else(|| "tag".into())).or_default() += 1,
            }
        }
        let mut revisions_going: BTreeMap<Reason, u64> = BTreeMap::new();
        for (_, reason) in plan.iter().flat_map(|plan| &plan.revisions) {
            *revisions_going.entry(*reason).or_default() += 1;
        }
        let revisions = repository.linked_revisions();
        let own: HashSet<DigestId> =
            revisions.map(|revision| revision.id).chain(repository.layer_links.iter().copied()).collect();
        let mut shared = HashSet::new();
        let mut shared_with = 0;
        for (_, other) in inventory.repositories.iter().enumerate().filter(|(other, _)| *other != place) {
            let revisions = other.linked_revisions();
            let mut is_one = false;
            for id in revisions.map(|revision| revision.id).chain(other.layer_links.iter().copied()) {
                if own.contains(&id) {
                    is_one = true;
                    shared.insert(id);
                }
            }
            shared_with += u64::from(is_one);
        }
        RepositorySummary {
            name: repository.name.clone(),
            tags: repository.tags.len() as u64,
            tags_kept,
            tags_going,
            revisions: repository.revision_links() as u64,
            untagged_kept: self.untagged(place),
            revisions_going,
            is_tainted: marked.tainted,
            layer_links: repository.layer_links.len() as u64,
            layer_links_unneeded: marked.unneeded_links.len() as u64,
            digests: own.len() as u64,
            shared: shared.len() as u64,
            shared_with,
        }
    }
}
