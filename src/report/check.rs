//! What a check has to say, as a part of the report.

use serde::Serialize;

use crate::check::{Checked, DamagedBlob, LostImage, Read};
use crate::digest::Digest;
use crate::plan::Mend;

/// How many were looked at, and how many of those are lost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pulls {
    /// How many.
    pub checked: u64,
    /// How many cannot be pulled, wholly or for some platform.
    pub lost: u64,
}

/// Links.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LinkCounts {
    /// How many were read.
    pub read: u64,
    /// How many do not say what their paths say.
    pub wrong: u64,
}

/// What was read of the blobs.
#[derive(Clone, Debug, Serialize)]
pub struct DataReport {
    /// How many blobs were read whole.
    pub blobs: u64,
    /// How many bytes.
    pub bytes: u64,
    /// How many blobs there are.
    pub of_blobs: u64,
    /// How many bytes they have.
    pub of_bytes: u64,
    /// How many are not what their digests name.
    pub damaged: u64,
    /// Seconds.
    pub seconds: f64,
    /// Whether the time was up before all was read that was asked for.
    pub out_of_time: bool,
    /// Where the next run begins; `null` at the end of a round, or where runs do not go on from each other.
    pub next: Option<Digest>,
}

/// What is left after something was mended, by another check.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Afterwards<'a> {
    /// Tags that cannot be pulled.
    pub lost_tags: u64,
    /// Manifests that cannot be pulled and to which no tag leads.
    pub lost_untagged: u64,
    /// Links that do not say what their paths say.
    pub wrong_links: u64,
    /// What still cannot be pulled, by name.
    pub lost: &'a [LostImage],
}

/// What a check found.
#[derive(Debug, Serialize)]
pub struct CheckReport<'a> {
    /// Tags.
    pub tags: Pulls,
    /// Manifests to which no tag leads.
    pub untagged: Pulls,
    /// How many manifests were read.
    pub manifests: u64,
    /// Links.
    pub links: LinkCounts,
    /// Entries of indexes that were never pushed here, as an index may have.
    pub sparse: u64,
    /// Blobs that no manifest needs.
    pub unreferenced_blobs: u64,
    /// The sizes of those, in bytes.
    pub unreferenced_bytes: u64,
    /// The sizes of all blobs, in bytes.
    pub blob_bytes: u64,
    /// What was read of the blobs; `null` if nothing was to be.
    pub data: Option<DataReport>,
    /// What cannot be pulled, by name.
    pub lost: &'a [LostImage],
    /// Blobs that are missing or not what they should be, those first that the most tags need.
    pub damaged: &'a [DamagedBlob],
    /// Whether anything was to be mended.
    pub repair: bool,
    /// Links that are written, or would be.
    pub mends: &'a [Mend],
    /// How many links were written.
    pub mended: u64,
    /// How much of what is wrong was left as it is; the findings say why.
    pub unmended: u64,
    /// What is left afterwards; `null` if nothing was changed.
    pub afterwards: Option<Afterwards<'a>>,
}

impl<'a> CheckReport<'a> {
    /// Of what was found; `mended` links were written, and `afterwards` is what another check found.
    pub fn new(checked: &'a Checked, repair: bool, mended: u64, afterwards: Option<&'a Checked>) -> CheckReport<'a> {
        let counts = checked.counts;
        CheckReport {
            tags: Pulls { checked: counts.tags, lost: counts.lost_tags },
            untagged: Pulls { checked: counts.untagged, lost: counts.lost_untagged },
            manifests: counts.manifests,
            links: LinkCounts { read: counts.links, wrong: counts.wrong_links },
            sparse: counts.sparse,
            unreferenced_blobs: counts.unreferenced_blobs,
            unreferenced_bytes: counts.unreferenced_bytes,
            blob_bytes: counts.blob_bytes,
            data: checked.data.as_ref().map(DataReport::of),
            lost: &checked.lost,
            damaged: &checked.damaged,
            repair,
            mends: &checked.repair.plan.mends,
            mended,
            unmended: checked.repair.unmended,
            afterwards: afterwards.map(|Checked { counts, lost, .. }| Afterwards {
                lost_tags: counts.lost_tags,
                lost_untagged: counts.lost_untagged,
                wrong_links: counts.wrong_links,
                lost,
            }),
        }
    }
}

impl DataReport {
    fn of(read: &Read) -> DataReport {
        DataReport {
            blobs: read.blobs,
            bytes: read.bytes,
            of_blobs: read.of_blobs,
            of_bytes: read.of_bytes,
            damaged: read.damaged,
            seconds: read.seconds,
            out_of_time: read.is_out_of_time,
            next: read.next.clone(),
        }
    }
}
