//! What was decided about a pull-through cache.

use serde::{Serialize, Serializer};

use crate::cache::{EvictedImage, Eviction, ToldBy, shown};
use crate::digest::Digest;
use crate::registry::AccessTimes;

/// What was decided about a cache.
#[derive(Clone, Debug, Serialize)]
pub struct CacheReport<'a> {
    /// What the blobs may have, in bytes; `null` if it was not asked for.
    pub max_bytes: Option<u64>,
    /// How long an image stays that nobody pulls, in seconds; `null` if it was not asked for.
    pub max_age_seconds: Option<i64>,
    /// What tells when an image was last pulled.
    pub last_pull: LastPull,
    /// How the volume keeps access times, or why it does not, for a person.
    pub last_pull_detail: String,
    /// How many images there were.
    pub images: u64,
    /// Bytes of all blobs.
    pub bytes_before: u64,
    /// Bytes of the blobs that stay.
    pub bytes_after: u64,
    /// Whether no more stays than was asked for; `null` if nothing was.
    pub is_reached: Option<bool>,
    /// Images that stay whatever the limits are.
    pub kept: Kept,
    /// Tags that go because what they name is not in the cache.
    pub hollow_tags: u64,
    /// The registry's schedule; `null` if it has none.
    pub schedule: Option<ScheduleReport>,
    /// The images that go, in the order in which they were chosen.
    #[serde(serialize_with = "images")]
    pub evicted: &'a [EvictedImage],
}

/// What tells when an image was last pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LastPull {
    /// The access times of layers and configs, and the times of links.
    AccessTime,
    /// The times of links alone: the volume keeps no access times.
    PushTime,
}

/// Why images stay whatever the limits are, and how many. All are counts.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Kept {
    /// Protected.
    pub protected: u64,
    /// Too young.
    pub young: u64,
    /// They cannot be removed, or cannot be understood.
    pub irremovable: u64,
    /// Nothing shows that they were fetched.
    pub unscheduled: u64,
    /// Bytes of all blobs that the unscheduled ones need, each once.
    pub unscheduled_bytes: u64,
    /// Repositories of which everything stays, because something in them cannot be understood.
    pub tainted_repositories: u64,
}

/// Entries of the schedule.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ScheduleReport {
    /// How many there are.
    pub entries: u64,
    /// How many of them go with what they name.
    pub going: u64,
}

/// An image that goes.
#[derive(Clone, Debug, Serialize)]
pub struct EvictedReport<'a> {
    /// Its repository.
    pub repository: &'a str,
    /// Its tags; none for one that was pulled by digest.
    pub tags: Vec<&'a str>,
    /// Its manifest.
    pub digest: &'a Digest,
    /// When it was last pulled, RFC 3339.
    pub pulled_at: String,
    /// What told that.
    pub told_by: LastPull,
    /// All bytes that it needs, whoever else does.
    pub bytes: u64,
}

impl<'a> CacheReport<'a> {
    /// The report of a decision.
    pub fn new(eviction: &'a Eviction) -> CacheReport<'a> {
        let (last_pull, detail) = match &eviction.access_times {
            AccessTimes::Exact => (LastPull::AccessTime, "the volume notes each reading".to_owned()),
            AccessTimes::Daily => {
                let detail = "relatime: of the readings of a day the volume notes the first, so an image may have \
                              been pulled up to a day later";
                (LastPull::AccessTime, detail.to_owned())
            }
            AccessTimes::NotKept(why) => (LastPull::PushTime, why.clone()),
        };
        CacheReport {
            max_bytes: eviction.limits.max_bytes,
            max_age_seconds: eviction.limits.max_age,
            last_pull,
            last_pull_detail: detail,
            images: eviction.images,
            bytes_before: eviction.bytes_before,
            bytes_after: eviction.bytes_after,
            is_reached: eviction.limits.max_bytes.map(|_| !eviction.is_too_large()),
            kept: Kept {
                protected: eviction.protected,
                young: eviction.young,
                irremovable: eviction.irremovable,
                unscheduled: eviction.unscheduled,
                unscheduled_bytes: eviction.unscheduled_bytes,
                tainted_repositories: eviction.tainted_repositories,
            },
            hollow_tags: eviction.hollow_tags,
            schedule: eviction.schedule.map(|(entries, going)| ScheduleReport { entries, going }),
            evicted: &eviction.evicted,
        }
    }

    /// The images that go, one by one.
    pub fn evicted(&self) -> impl Iterator<Item = EvictedReport<'a>> {
        self.evicted.iter().map(EvictedReport::of)
    }
}

impl EvictedReport<'_> {
    fn of(image: &EvictedImage) -> EvictedReport<'_> {
        EvictedReport {
            repository: &image.repository,
            tags: image.tags.iter().map(|tag| &**tag).collect(),
            digest: &image.manifest,
            pulled_at: shown(image.pulled),
            told_by: match image.told_by {
                ToldBy::AccessTime => LastPull::AccessTime,
                ToldBy::PushTime => LastPull::PushTime,
            },
            bytes: image.bytes,
        }
    }
}

/// Written one by one: a list of them all would double the memory of a large cache.
fn images<S: Serializer>(images: &&[EvictedImage], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(images.iter().map(EvictedReport::of))
}
