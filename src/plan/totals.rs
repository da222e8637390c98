//! How many, and how large: of what a plan names, or of what was really removed.

use std::ops::Add;

use serde::{Deserialize, Serialize};

use crate::inventory::BlobSize;

/// How many of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// How many.
    pub count: u64,
}

/// How many of a kind, and how large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountAndBytes {
    /// How many.
    pub count: u64,
    /// Their sizes, in bytes.
    pub bytes: u64,
}

/// How many blobs, and how large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobTotals {
    /// How many.
    pub count: u64,
    /// Their sizes, in bytes.
    pub bytes: u64,
    /// What they take on the disk, in bytes.
    pub disk_bytes: u64,
}

impl BlobTotals {
    /// Sums them up.
    pub fn of(sizes: impl Iterator<Item = BlobSize>) -> BlobTotals {
        sizes.fold(BlobTotals::default(), |mut totals, size| {
            totals.count += 1;
            totals.bytes += size.bytes;
            totals.disk_bytes += size.disk_bytes;
            totals
        })
    }
}

impl Add for BlobTotals {
    type Output = BlobTotals;

    fn add(self, more: BlobTotals) -> BlobTotals {
        BlobTotals {
            count: self.count + more.count,
            bytes: self.bytes + more.bytes,
            disk_bytes: self.disk_bytes + more.disk_bytes,
        }
    }
}

/// Counts by kind: of what a plan names, or of what was really removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Blobs.
    pub blobs: BlobTotals,
    /// Revisions.
    pub revisions: Count,
    /// Tags.
    pub tags: Count,
    /// Former targets of tags.
    pub tag_history: Count,
    /// Layer links.
    pub layer_links: Count,
    /// Uploads.
    pub uploads: CountAndBytes,
    /// Repositories.
    pub repositories: Count,
}

impl Add for Totals {
    type Output = Totals;

    fn add(mut self, more: Totals) -> Totals {
        self.blobs.count += more.blobs.count;
        self.blobs.bytes += more.blobs.bytes;
        self.blobs.disk_bytes += more.blobs.disk_bytes;
        self.revisions.count += more.revisions.count;
        self.tags.count += more.tags.count;
        self.tag_history.count += more.tag_history.count;
        self.layer_links.count += more.layer_links.count;
        self.uploads.count += more.uploads.count;
        self.uploads.bytes += more.uploads.bytes;
        self.repositories.count += more.repositories.count;
        self
    }
}

impl Totals {
    /// Whether it is nothing at all.
    pub fn is_nothing(&self) -> bool {
        *self == Totals::default()
    }

    /// How many things of all kinds.
    pub fn things(&self) -> u64 {
        self.blobs.count
            + self.revisions.count
            + self.tags.count
            + self.tag_history.count
            + self.layer_links.count
            + self.uploads.count
            + self.repositories.count
    }

    /// Bytes of blobs and uploads.
    pub fn bytes(&self) -> u64 {
        self.blobs.bytes + self.uploads.bytes
    }
}
