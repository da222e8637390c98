//! The largest blobs, for a person and as CSV: a line each, with who needs it.

use std::io::{self, Write};

use regsweep::plan::BlobTotals;
use regsweep::report::human::{bytes, counted, shortened};
use regsweep::usage::{BlobUsage, Need, Usage};

use super::csv::field;
use super::human::Style;

/// How many digits of a digest tell it apart, and are enough for `why`.
const DIGITS: usize = 12;
/// Names are not cut to less than this.
const LEAST: usize = 16;

/// Writes a table.
///
/// # Errors
/// Whatever the writer says.
pub(super) fn write(out: &mut dyn Write, usage: &Usage, style: Style) -> io::Result<()> {
    let size = |size: BlobTotals| if style.disk { size.disk_bytes } else { size.bytes };
    let Some(first) = usage.largest.first() else { return writeln!(out, "no blobs") };
    let whole = |blob: &BlobUsage| blob.digest.to_string();
    let short = |blob: &BlobUsage| format!("{}:{}", blob.digest.algorithm().name(), &blob.digest.hex()[..DIGITS]);
    let digest = |blob: &BlobUsage| if style.verbose { whole(blob) } else { short(blob) };
    let digests = usage.largest.iter().map(|blob| digest(blob).len()).max().unwrap_or(0);
    let sizes = bytes(size(first.size)).len().max(10);
    let head = format!("{:digests$}  {:>sizes$}  {:>5}  {:>5}  NEEDED BY", "BLOB", "SIZE", "TAGS", "REPOS");
    let room = style.width.saturating_sub(head.len() - "NEEDED BY".len()).max(LEAST);
    writeln!(out, "{}", if style.bold { format!("\x1b[1m{head}\x1b[0m") } else { head })?;
    for blob in &usage.largest {
        let by = needed_by(blob);
        let by = if style.verbose { by } else { shortened(&by, room) };
        let BlobUsage { tags, repositories, .. } = blob;
        let (digest, size) = (digest(blob), bytes(size(blob.size)));
        writeln!(out, "{digest:digests$}  {size:>sizes$}  {tags:>5}  {repositories:>5}  {by}")?;
    }
    let these = usage.largest.iter().fold(0, |sum, blob| sum + size(blob.size));
    let (count, all) = (usage.largest.len() as u64, bytes(size(usage.blobs)));
    let (of, hold) = (counted(usage.blobs.count, "blob", "blobs"), if count == 1 { "holds" } else { "hold" });
    writeln!(out, "\n{count} of {of} {hold} {} of {all}", bytes(these))?;
    writeln!(out, "`regsweep why` says what keeps one: the first digits are enough")
}

/// The first that needs it; or, in brackets, that it is no tag.
fn needed_by(blob: &BlobUsage) -> String {
    let place = |what: &str| match &blob.repository {
        Some(repository) => format!("{repository} ({what})"),
        None => format!("({what})"),
    };
    match (blob.need, &blob.first) {
        (Need::Tagged, Some((repository, tag))) => format!("{repository}:{tag}"),
        (Need::Untagged, _) => place("untagged"),
        (Need::Tagged | Need::Kept, _) => place("kept"),
        (Need::Garbage, _) => "(garbage)".to_owned(),
        (Need::Unknown, _) => "(nobody knows)".to_owned(),
    }
}

/// The word for who needs it.
pub(super) fn word(need: Need) -> &'static str {
    match need {
        Need::Tagged => "tagged",
        Need::Untagged => "untagged",
        Need::Kept => "kept",
        Need::Garbage => "garbage",
        Need::Unknown => "unknown",
    }
}

/// Writes one line of names, and one for each blob.
///
/// # Errors
/// Whatever the writer says.
pub(super) fn write_csv(out: &mut dyn Write, usage: &Usage) -> io::Result<()> {
    writeln!(out, "digest,bytes,disk_bytes,need,repositories,tags,repository,tag")?;
    usage.largest.iter().try_for_each(|blob| {
        let BlobUsage { digest, size, need, repositories, tags, first, repository } = blob;
        let (need, tag) = (word(*need), first.as_ref().map_or(String::new(), |(_, tag)| field(tag)));
        // Where a tag needs it, the repository of that.
        let repository = first.as_ref().map(|(repository, _)| repository).or(repository.as_ref());
        let repository = repository.map_or(String::new(), |name| field(name));
        let BlobTotals { bytes, disk_bytes, .. } = size;
        writeln!(out, "{digest},{bytes},{disk_bytes},{need},{repositories},{tags},{repository},{tag}")
    })
}
