//! How large the blobs are: one `stat` for each, in parallel, and fourteen bytes of memory.

use rayon::prelude::*;

use crate::finding::{FindingKind, Findings, Severity};
use crate::inventory::{BlobSize, BlobTable, DigestId, Digests, LookedAt};
use crate::layout::blob_dir;
use crate::plan::BlobTotals;
use crate::progress::Meter;
use crate::registry::Registry;

/// The system counts blocks of so many bytes.
const BLOCK: u64 = 512;
/// How many blobs are looked at before their answers are packed: an answer is large, and there may be millions.
const AT_ONCE: usize = 1 << 17;
/// The block count of a blob that has no size.
const NO_SIZE: u32 = u32::MAX;

/// The sizes of all blobs, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    bytes: Vec<u64>,
    /// [`NO_SIZE`] where there is no file that could have one. Two terabytes and more count as almost that.
    blocks: Vec<u32>,
    months: Vec<i16>,
    /// Blobs that are not what the layout says, or cannot be looked at, sorted; and why.
    odd: Vec<(DigestId, LookedAt)>,
}

/// A month, by the calendar in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct YearMonth(i16);

impl YearMonth {
    /// The month of a time in seconds since 1970. What lies outside of the years -760 to 4700 is in the first or the
    /// last month that there is.
    pub fn of(seconds: i64) -> YearMonth {
        let Ok(time) = jiff::Timestamp::from_second(seconds) else {
            return YearMonth(if seconds < 0 { i16::MIN } else { i16::MAX });
        };
        let date = time.to_zoned(jiff::tz::TimeZone::UTC).date();
        let months = i32::from(date.year() - 1970) * 12 + i32::from(date.month()) - 1;
        YearMonth(i16::try_from(months).unwrap_or(if months < 0 { i16::MIN } else { i16::MAX }))
    }
}

impl std::fmt::Display for YearMonth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let months = i32::from(self.0);
        write!(f, "{:04}-{:02}", 1970 + months.div_euclid(12), months.rem_euclid(12) + 1)
    }
}

impl Sizes {
    /// Looks at every blob once.
    pub(super) fn look(registry: &Registry, table: &BlobTable, meter: &Meter) -> Sizes {
        let ids: Vec<DigestId> = table.ids().collect();
        let mut sizes = Sizes {
            bytes: Vec::with_capacity(ids.len()),
            blocks: Vec::with_capacity(ids.len()),
            months: Vec::with_capacity(ids.len()),
            odd: Vec::new(),
        };
        for ids in ids.chunks(AT_ONCE) {
            for (id, looked) in table.look_at(registry, ids, meter) {
                match looked {
                    LookedAt::Sized(blob) => {
                        let blocks = u32::try_from(blob.size.disk_bytes / BLOCK).unwrap_or(NO_SIZE).min(NO_SIZE - 1);
                        sizes.add(blob.size.bytes, blocks, YearMonth::of(blob.modified));
                    }
                    odd => {
                        sizes.add(0, NO_SIZE, YearMonth(0));
                        sizes.odd.push((id, odd));
                    }
                }
            }
        }
        sizes
    }

    fn add(&mut self, bytes: u64, blocks: u32, month: YearMonth) {
        self.bytes.push(bytes);
        self.blocks.push(blocks);
        self.months.push(month.0);
    }

    /// One blob and its size; nothing at all where it has none.
    pub(super) fn one(&self, id: DigestId) -> BlobTotals {
        match (self.bytes.get(id.index()), self.blocks.get(id.index())) {
            (Some(&bytes), Some(&blocks)) if blocks != NO_SIZE => {
                BlobTotals::of(std::iter::once(BlobSize { bytes, disk_bytes: u64::from(blocks) * BLOCK }))
            }
            _ => BlobTotals::default(),
        }
    }

    /// The sizes of these blobs together.
    pub(super) fn sum(&self, ids: impl IntoIterator<Item = DigestId>) -> BlobTotals {
        ids.into_iter().fold(BlobTotals::default(), |sum, id| sum + self.one(id))
    }

    /// The month in which a blob's data was written; `None` where it has no data.
    pub(super) fn month(&self, id: DigestId) -> Option<YearMonth> {
        (*self.blocks.get(id.index())? != NO_SIZE).then(|| YearMonth(self.months[id.index()]))
    }

    /// How many blobs could not be looked at: what they take is not in any figure.
    pub(super) fn unknown(&self) -> u64 {
        self.odd.iter().filter(|(_, looked)| matches!(looked, LookedAt::Unreadable { .. })).count() as u64
    }

    /// Says which blobs have no size, and why. `is_needed` says whether a name leads to one.
    pub(super) fn report(&self, digests: &Digests, is_needed: impl Fn(DigestId) -> bool + Sync, findings: &Findings) {
        self.odd.par_iter().for_each(|(id, looked)| match looked {
            // Gone since it was listed, or never odd.
            LookedAt::Gone | LookedAt::Sized(_) => {}
            LookedAt::Odd(why) => {
                let path = blob_dir(&digests.digest(*id));
                let (severity, what) = match is_needed(*id) {
                    true => (Severity::Error, "a name needs it"),
                    false => (Severity::Warning, "no name needs it"),
                };
                findings.add(severity, FindingKind::DamagedBlob, None, &path, format!("{why}; {what}, it counts 0"));
            }
            LookedAt::Unreadable { path, why } => {
                let message = format!("cannot be looked at ({why}): what is there is in no figure");
                findings.add(Severity::Error, FindingKind::Unreadable, None, path, message);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months() {
        for (seconds, text) in [
            (0, "1970-01"),
            (-1, "1969-12"),
            (1_700_000_000, "2023-11"),
            (1_704_067_199, "2023-12"),
            (1_704_067_200, "2024-01"),
            (i64::MIN, "-761-05"),
            (i64::MAX, "4700-08"),
        ] {
            assert_eq!(YearMonth::of(seconds).to_string(), text, "{seconds}");
        }
        assert!(YearMonth::of(0) < YearMonth::of(i64::MAX), "sorted by time");
    }
}
