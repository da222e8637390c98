//! Small numbers for digests.
//!
//! Every blob has a number: its place in the sorted table of blobs. A digest that a link or a manifest names and that
//! is no blob gets a number above those. Whatever is marked, referenced or linked is then a `u32` instead of 32 bytes,
//! sets are bitmaps, and a comparison is one instruction. The numbers of blobs are in the order of their digests; those
//! of the others depend on which thread came first, so nothing that a user sees may be ordered by them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::blobs::BlobTable;
use crate::digest::Digest;

/// The number of a digest. Only good for the [`Digests`] that gave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestId(u32);

impl DigestId {
    /// As an index into arrays of [`Digests::blobs`] length, if it is a blob's.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The blob at this place of the table.
    pub(super) fn from_index(index: usize) -> DigestId {
        // 4 billion blobs are 128 GiB of digests alone: the table could not have been built.
        DigestId(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

/// Locks are spread over this many shards, so that threads do not wait for each other: a registry that the stock
/// collector has swept for years has more links to blobs that are gone than blobs.
const SHARDS: usize = 64;

#[derive(Debug, Default)]
struct Absent {
    numbers: HashMap<Digest, u32>,
    digests: Vec<Digest>,
}

/// All digests of one scan: the blobs, and what else was named.
#[derive(Debug)]
pub struct Digests {
    blobs: BlobTable,
    absent: Vec<Mutex<Absent>>,
}

impl Digests {
    /// Starts with the blobs.
    pub fn new(blobs: BlobTable) -> Digests {
        Digests { blobs, absent: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// The blobs.
    pub fn blobs(&self) -> &BlobTable {
        &self.blobs
    }

    /// The number of this digest; given out now if it is a new one.
    pub fn id(&self, digest: &Digest) -> DigestId {
        if let Some(id) = self.blobs.find(digest) {
            return id;
        }
        let shard = digest.as_bytes()[0] as usize % SHARDS;
        let mut absent = lock(&self.absent[shard]);
        let next = absent.digests.len();
        let number = *absent.numbers.entry(digest.clone()).or_insert(u32::try_from(next).unwrap_or(u32::MAX));
        if number as usize == next {
            absent.digests.push(digest.clone());
        }
        DigestId::from_index(self.blobs.len() + number as usize * SHARDS + shard)
    }

    /// Whether a blob of this digest was listed.
    pub fn is_blob(&self, id: DigestId) -> bool {
        id.index() < self.blobs.len()
    }

    /// Whether a blob of this digest was listed, and the digest is a SHA-256 one.
    pub fn is_sha256_blob(&self, id: DigestId) -> bool {
        self.blobs.is_sha256(id)
    }

    /// Everything from one digest to another, both of them included, sorted by digest: what begins with the same digits.
    pub fn between(&self, first: &Digest, last: &Digest) -> Vec<DigestId> {
        // The numbers of blobs are in the order of the digests.
        let (mut low, mut high) = (0, self.blobs.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.blobs.digest(DigestId::from_index(middle)) < *first {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let blobs = (low..self.blobs.len()).map(DigestId::from_index);
        let mut found: Vec<(Digest, DigestId)> =
            blobs.map(|id| (self.blobs.digest(id), id)).take_while(|(digest, _)| digest <= last).collect();
        for (shard, absent) in self.absent.iter().enumerate() {
            for (number, digest) in lock(absent).digests.iter().enumerate() {
                if (first..=last).contains(&digest) {
                    let id = DigestId::from_index(self.blobs.len() + number * SHARDS + shard);
                    found.push((digest.clone(), id));
                }
            }
        }
        found.sort();
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// The digest of this number.
    pub fn digest(&self, id: DigestId) -> Digest {
        if self.is_blob(id) {
            return self.blobs.digest(id);
        }
        let above = id.index() - self.blobs.len();
        lock(&self.absent[above % SHARDS]).digests[above / SHARDS].clone()
    }
}

fn lock(absent: &Mutex<Absent>) -> MutexGuard<'_, Absent> {
    absent.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn numbers_go_both_ways() {
        let all: Vec<Digest> =
            (0..500u32).flat_map(|n| Algorithm::ALL.map(|a| Digest::of(a, &n.to_le_bytes()))).collect();
        let digests = Digests::new(BlobTable::from_digests(all[..400].to_vec()));
        let ids: Vec<DigestId> = all.iter().map(|digest| digests.id(digest)).collect();
        for (n, (digest, id)) in all.iter().zip(&ids).enumerate() {
            assert_eq!(digests.digest(*id), *digest);
            assert_eq!(digests.id(digest), *id, "the number stays");
            assert_eq!(digests.is_blob(*id), n < 400);
        }
        let different: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn what_lies_between_two_digests() {
        let all: Vec<Digest> =
            (0..500u32).flat_map(|n| Algorithm::ALL.map(|a| Digest::of(a, &n.to_le_bytes()))).collect();
        let digests = Digests::new(BlobTable::from_digests(all[..400].to_vec()));
        all.iter().for_each(|digest| _ = digests.id(digest));
        for (first, last) in [(&all[0], &all[2]), (&all[2], &all[0]), (&all[7], &all[7]), (&all[4], &all[3])] {
            let mut expected: Vec<Digest> =
                all.iter().filter(|digest| (first..=last).contains(digest)).cloned().collect();
            expected.sort();
            let found: Vec<Digest> = digests.between(first, last).into_iter().map(|id| digests.digest(id)).collect();
            assert_eq!(found, expected);
        }
    }
}
