//! What was decided about a pull-through cache, for a person.

use std::io;

use indicatif::HumanCount;

use super::{Page, bytes, counted, to_the_minute};
use crate::report::{CacheReport, LastPull, Report};

impl Page<'_> {
    /// What goes and what stays, in sums.
    pub(super) fn cache(&mut self, report: &Report<'_>) -> io::Result<()> {
        let Some(cache) = &report.cache else { return Ok(()) };
        let text = format!(
            "{} of {} evicted; {} of {} stay",
            HumanCount(cache.evicted.len() as u64),
            counted(cache.images, "image", "images"),
            bytes(cache.bytes_after),
            bytes(cache.bytes_before),
        );
        self.section("Cache", &text)?;
        if let (Some(most), Some(false)) = (cache.max_bytes, cache.is_reached) {
            let text = format!("more than {} stay, for nothing else may be evicted", bytes(most));
            self.wrapped(&text, 2)?;
        }
        let kept = [
            (cache.kept.protected, "protected image stays", "protected images stay"),
            (cache.kept.young, "image stays, younger than --min-age", "images stay, younger than --min-age"),
            (cache.kept.irremovable, "image stays that cannot be removed", "images stay that cannot be removed"),
            (cache.kept.tainted_repositories, "damaged repository stays whole", "damaged repositories stay whole"),
            (cache.hollow_tags, "tag goes that names nothing here", "tags go that name nothing here"),
        ];
        for (count, one, many) in kept.into_iter().filter(|(count, ..)| *count > 0) {
            self.wrapped(&counted(count, one, many), 2)?;
        }
        if cache.kept.unscheduled > 0 {
            let images = counted(cache.kept.unscheduled, "image stays", "images stay");
            let text = format!(
                "{images} ({}): nothing shows that they were fetched (--cache-unscheduled)",
                bytes(cache.kept.unscheduled_bytes)
            );
            self.wrapped(&text, 2)?;
        }
        let told_by = match cache.last_pull {
            LastPull::AccessTime => "by access time",
            LastPull::PushTime => "by push time",
        };
        self.wrapped(&format!("last pulled: {told_by} ({})", cache.last_pull_detail), 2)?;
        if let Some(schedule) = cache.schedule {
            let entries = counted(schedule.entries, "entry", "entries");
            let text = format!("scheduler-state.json: {} of {entries} go as well", HumanCount(schedule.going));
            self.wrapped(&text, 2)?;
        }
        Ok(())
    }

    /// Every image that goes, a line each.
    pub(super) fn evicted(&mut self, cache: &CacheReport<'_>) -> io::Result<()> {
        for image in cache.evicted() {
            let told_by = match image.told_by {
                LastPull::AccessTime => "access time",
                LastPull::PushTime => "push time",
            };
            let name = match &image.tags[..] {
                [] => format!("{}@{}", image.repository, image.digest),
                tags => format!("{}:{}", image.repository, tags.join(", :")),
            };
            let pulled = to_the_minute(&image.pulled_at);
            writeln!(self.out, "evicted {pulled:<16}  {name}  ({told_by}; {})", bytes(image.bytes))?;
        }
        writeln!(self.out)
    }
}
