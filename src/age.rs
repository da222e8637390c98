//! What is too young to go.
//!
//! A blob's age is the newest of its own time and the times of every link to it (mtime): an old layer that was mounted
//! into another repository an hour ago, for an image that is still being pushed, is an hour old. What is too young
//! stays, with every link to it; an untagged manifest that is too young stays with everything that it references, as a
//! tagged one does, so that what is left is whole.
//!
//! A time in the future is young: a clock that is wrong keeps more. What cannot be looked at is young as well.

use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;

use crate::finding::{FindingKind, Findings, Severity};
use crate::inventory::{DigestId, Inventory, Repository, SizedBlob};
use crate::layout::{LAYERS, LINK};
use crate::manifest::Store;
use crate::mark::{Marking, RepositoryMarking};
use crate::registry::Registry;

/// What is newer than this, in seconds since 1970, is too young to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct YoungSince(pub i64);

impl YoungSince {
    /// Whether what was modified then, in seconds since 1970, is too young.
    pub fn includes(self, modified: i64) -> bool {
        modified > self.0
    }

    /// Manifests that are too young: by themselves, or by a revision link in any repository.
    pub fn manifests(self, repositories: &[Repository], store: &Store) -> HashSet<DigestId> {
        let revisions = repositories.iter().flat_map(|repository| &repository.revisions);
        revisions
            .filter(|revision| {
                let manifest = store.manifest(revision.id);
                revision.stamp.is_some_and(|stamp| self.includes(stamp.modified()))
                    || manifest.is_some_and(|manifest| self.includes(manifest.modified))
            })
            .map(|revision| revision.id)
            .collect()
    }

    /// What layer links that nothing needs point at, where one of them is too young. A `stat` for each such link.
    pub fn layers(
        self,
        registry: &Registry,
        inventory: &Inventory,
        marking: &Marking,
        findings: &Findings,
    ) -> HashSet<DigestId> {
        let seen = inventory.repositories.par_iter().zip(&marking.repositories);
        seen.flat_map_iter(|(repository, marked)| self.young_layers(registry, inventory, repository, marked, findings))
            .collect()
    }

    fn young_layers(
        self,
        registry: &Registry,
        inventory: &Inventory,
        repository: &Repository,
        marked: &RepositoryMarking,
        findings: &Findings,
    ) -> Vec<DigestId> {
        let unneeded = marked.unneeded_links.iter().copied();
        let is_young = |&id: &DigestId| {
            let digest = inventory.digests.digest(id);
            let folder = repository.path.join(LAYERS).join(digest.algorithm().name()).join(digest.hex());
            // A folder without a link in it is as old as itself.
            let stamp = match registry.v2().stamp_of(folder.join(LINK)) {
                Ok(None) => registry.v2().stamp_of(&folder),
                looked => looked,
            };
            match stamp {
                Ok(stamp) => stamp.is_some_and(|stamp| self.includes(stamp.modified().0)),
                Err(unreadable) => {
                    let message = format!("nobody knows how old it is ({}); kept", unreadable.cause);
                    let (name, path): (_, &Path) = (Some(&*repository.name), &unreadable.path);
                    findings.add(Severity::Warning, FindingKind::Unreadable, name, path, message);
                    true
                }
            }
        };
        unneeded.filter(is_young).collect()
    }

    /// Blobs that are too young by themselves.
    pub fn blobs(self, blobs: &[SizedBlob]) -> impl Iterator<Item = DigestId> {
        blobs.iter().filter(move |blob| self.includes(blob.modified)).map(|blob| blob.id)
    }
}
