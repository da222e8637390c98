//! The largest blobs, one by one: who needs each of them.

use std::cmp::Reverse;
use std::sync::Arc;

use serde::Serialize;

use super::ledger::Ledger;
use super::reach::Reach;
use super::sizes::Sizes;
use crate::digest::Digest;
use crate::inventory::{DigestId, Inventory};
use crate::mark::Marking;
use crate::plan::BlobTotals;

/// How many of the largest blobs are wanted, and by what they are large.
#[derive(Clone, Copy, Debug, Default)]
pub struct Largest {
    /// How many.
    pub most: usize,
    /// By what they take on the disk, not by how long they are.
    pub on_disk: bool,
}

/// Who needs a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A tag.
    Tagged,
    /// Untagged manifests alone.
    Untagged,
    /// No name, and it stays: something damaged, a link in an odd place, a symbolic link, protection.
    Kept,
    /// Nothing: the next collection frees it.
    Garbage,
    /// Nothing that could be read, while not everything could be.
    Unknown,
}

/// One blob.
#[derive(Clone, Debug)]
pub struct BlobUsage {
    /// Which.
    pub digest: Digest,
    /// How large: a count of one.
    pub size: BlobTotals,
    /// Who needs it.
    pub need: Need,
    /// How many repositories reach it.
    pub repositories: u64,
    /// How many tags of them do. One that belongs to another image (a signature) counts with that.
    pub tags: u64,
    /// The first of these tags, by the names of repository and tag.
    pub first: Option<(Box<str>, Arc<str>)>,
    /// The first of these repositories.
    pub repository: Option<Box<str>>,
}

/// The blobs that take the most, sorted by their numbers.
pub(super) fn choose(sizes: &Sizes, ids: impl Iterator<Item = DigestId>, wanted: Largest) -> Vec<DigestId> {
    if wanted.most == 0 {
        return Vec::new();
    }
    let mut ids: Vec<DigestId> = ids.filter(|&id| sizes.one(id).count > 0).collect();
    let key = |id: &DigestId| (Reverse(wanted.measure(sizes.one(*id))), *id);
    if ids.len() > wanted.most {
        ids.select_nth_unstable_by_key(wanted.most, key);
        ids.truncate(wanted.most);
    }
    ids.sort_unstable();
    ids
}

impl Largest {
    fn measure(self, size: BlobTotals) -> u64 {
        if self.on_disk { size.disk_bytes } else { size.bytes }
    }

    /// Who needs the blobs that were chosen, the largest first. `reaches` are in the order of the inventory's
    /// repositories, and have noted which images reach these blobs.
    pub(super) fn tell(
        self,
        chosen: &[DigestId],
        (inventory, marking): (&Inventory, &Marking),
        reaches: &[Reach],
        (ledger, sizes): (&Ledger<'_>, &Sizes),
        is_all_known: bool,
    ) -> Vec<BlobUsage> {
        let of = |&id: &DigestId| BlobUsage {
            digest: inventory.digests.digest(id),
            size: sizes.one(id),
            need: ledger.need(id, marking, is_all_known),
            repositories: 0,
            tags: 0,
            first: None,
            repository: None,
        };
        let mut blobs: Vec<BlobUsage> = chosen.iter().map(of).collect();
        for (repository, reach) in inventory.repositories.iter().zip(reaches) {
            for (id, blob) in chosen.iter().zip(&mut blobs) {
                if reach.blobs.binary_search_by_key(id, |&(id, _)| id).is_ok() {
                    blob.repositories += 1;
                    blob.repository.get_or_insert_with(|| repository.name.clone());
                }
            }
            for (id, leaf) in &reach.wanted {
                let (Ok(place), Some(image)) = (chosen.binary_search(id), reach.images.get(*leaf as usize)) else {
                    continue;
                };
                let blob = &mut blobs[place];
                for &tag in &image.tags {
                    blob.tags += 1;
                    let name = &repository.tags[tag as usize].name;
                    // Repositories come in the order of their names, and the tags of one in any.
                    let is_first = match &blob.first {
                        None => true,
                        Some((of, first)) => *of == repository.name && name < first,
                    };
                    if is_first {
                        blob.first = Some((repository.name.clone(), name.clone()));
                    }
                }
            }
        }
        for blob in blobs.iter_mut().filter(|blob| blob.tags == 0 && blob.need == Need::Tagged) {
            blob.need = Need::Kept;
        }
        blobs.sort_by(|a, b| {
            (Reverse(self.measure(a.size)), &a.digest).cmp(&(Reverse(self.measure(b.size)), &b.digest))
        });
        blobs
    }
}
