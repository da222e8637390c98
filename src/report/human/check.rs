//! What a check found, for a person.

use std::io;

use indicatif::HumanCount;

use super::{Page, bytes, counted, duration};
use crate::check::{DamagedBlob, LostImage, Problem};
use crate::digest::Algorithm;
use crate::finding::{FindingKind, Severity};
use crate::plan::{Mend, MendedLink};
use crate::report::{CheckReport, Report};

/// How many lost images and damaged blobs a summary names.
const TOP: usize = 8;

/// Findings that the sections of a check tell by themselves.
pub(super) fn is_told(kind: FindingKind) -> bool {
    matches!(
        kind,
        FindingKind::CannotBePulled
            | FindingKind::MissingBlob
            | FindingKind::MissingManifest
            | FindingKind::DamagedBlob
            | FindingKind::DamagedManifest
    )
}

/// What the first line says.
pub(super) fn headline(report: &Report<'_>, check: &CheckReport<'_>) -> String {
    let lost = check.afterwards.map_or(check.tags.lost, |afterwards| afterwards.lost_tags);
    // A folder that could not be listed may hold any number of tags.
    let is_partial =
        report.findings.iter().any(|it| it.kind == FindingKind::Unreadable && it.severity == Severity::Error);
    // On one line, if it does not fit behind the rest.
    let unread = match &check.data {
        None => "; data was not read: --read-data".to_owned(),
        Some(data) if data.blobs < data.of_blobs => {
            format!("; {} of {} read", HumanCount(data.blobs), counted(data.of_blobs, "blob", "blobs"))
        }
        Some(_) => String::new(),
    };
    let unread = unread.replace(' ', "\u{a0}").replacen('\u{a0}', " ", 1);
    let what = match (lost, check.tags.checked) {
        (0, _) if is_partial => "something cannot be read; nothing else is lost".to_owned(),
        (0, 0) => "no tags".to_owned(),
        (0, 1) => format!("the tag can be pulled{unread}"),
        (0, count) => format!("all {} can be pulled{unread}", counted(count, "tag", "tags")),
        (lost, count) => format!("{} of {} cannot be pulled", lost, counted(count, "tag", "tags")),
    };
    match (check.repair, report.dry_run) {
        (true, true) => format!("dry run: nothing was changed; {what}"),
        (true, false) if check.afterwards.is_some() => format!("mended; {what}"),
        _ => what,
    }
}

impl Page<'_> {
    pub(super) fn check(&mut self, report: &Report<'_>, check: &CheckReport<'_>) -> io::Result<()> {
        let text = format!(
            "{}, {}, {} and their sizes",
            counted(check.manifests, "manifest", "manifests"),
            counted(check.links.read, "link", "links"),
            counted(report.scanned.blobs, "blob", "blobs"),
        );
        self.section("Checked", &text)?;
        self.data(check)?;
        let heading = if check.afterwards.is_some() { "Was lost" } else { "Lost" };
        self.lost(heading, (check.tags.lost, check.untagged.lost), check.lost)?;
        self.damaged(check)?;
        self.mends(report, check)?;
        match &check.afterwards {
            Some(left) => self.lost("Still lost", (left.lost_tags, left.lost_untagged), left.lost),
            None => Ok(()),
        }
    }

    fn shown(&self, text: &str) -> String {
        if self.style.verbose { text.to_owned() } else { with_short_digests(text) }
    }

    fn data(&mut self, check: &CheckReport<'_>) -> io::Result<()> {
        let Some(data) = &check.data else {
            return self.section("Data", "not read: --read-data holds every blob against its digest");
        };
        let rate = (data.bytes as f64 / data.seconds.max(0.001)) as u64;
        let all = if data.blobs == data.of_blobs { "all ".to_owned() } else { String::new() };
        let of = if data.blobs == data.of_blobs {
            String::new()
        } else {
            format!(" of {} ({})", counted(data.of_blobs, "blob", "blobs"), bytes(data.of_bytes))
        };
        // Of a moment it says nothing.
        let rate = if data.seconds < 1.0 { String::new() } else { format!(" ({}/s)", bytes(rate)) };
        let mut text = format!(
            "{all}{} read, {}{of}, in {}{rate}",
            counted(data.blobs, "blob", "blobs"),
            bytes(data.bytes),
            duration(data.seconds),
        );
        let is_fine = |blob: &DamagedBlob| matches!(blob.problem, Problem::Missing | Problem::Size);
        if data.blobs > 0 && check.damaged.iter().all(is_fine) {
            text.push_str("; what was read is whole");
        }
        if let Some(next) = &data.next {
            let why = if data.out_of_time { "the time is up; " } else { "" };
            text.push_str(&format!("; {why}the next run goes on at {}:{}", next.algorithm().name(), &next.hex()[..12]));
        }
        self.section("Data", &text)
    }

    fn lost(&mut self, heading: &str, (tags, untagged): (u64, u64), lost: &[LostImage]) -> io::Result<()> {
        if lost.is_empty() {
            return Ok(());
        }
        let mut parts = Vec::new();
        if tags > 0 {
            parts.push(counted(tags, "tag", "tags"));
        }
        if untagged > 0 {
            parts.push(counted(untagged, "untagged manifest", "untagged manifests"));
        }
        let verb = if heading == "Was lost" { "could not be pulled" } else { "cannot be pulled" };
        self.section(heading, &format!("{} {verb}", parts.join(" and ")))?;
        let mut images: Vec<_> = lost.iter().collect();
        // Tags first; otherwise in their order.
        images.sort_by_key(|image| image.tag.is_none());
        let named = if self.style.verbose { images.len() } else { TOP };
        for image in images.iter().take(named) {
            writeln!(self.out, "  {}", self.shown(&image.name()))?;
            let lacks = if self.style.verbose { image.lacks.len() } else { 1 };
            for lack in image.lacks.iter().take(lacks) {
                self.wrapped(&self.shown(lack), 4)?;
            }
            if image.lacks.len() > lacks {
                writeln!(self.out, "    and {} more", image.lacks.len() - lacks)?;
            }
        }
        if images.len() > named {
            writeln!(self.out, "  and {} more: -v shows them all", images.len() - named)?;
        }
        Ok(())
    }

    fn damaged(&mut self, check: &CheckReport<'_>) -> io::Result<()> {
        if check.damaged.is_empty() {
            return Ok(());
        }
        self.section("Damaged", &counted(check.damaged.len() as u64, "blob", "blobs"))?;
        let named = if self.style.verbose { check.damaged.len() } else { TOP };
        for blob in check.damaged.iter().take(named) {
            self.wrapped(&self.shown(&blob.why), 2)?;
            self.wrapped(&self.shown(&blob.who_needs_it()), 4)?;
            self.wrapped(&blob.mend, 4)?;
        }
        if check.damaged.len() > named {
            writeln!(self.out, "  and {} more: -v shows them all", check.damaged.len() - named)?;
        }
        Ok(())
    }

    fn mends(&mut self, report: &Report<'_>, check: &CheckReport<'_>) -> io::Result<()> {
        if !check.repair {
            return Ok(());
        }
        let (heading, totals, links) = if report.dry_run {
            ("Would mend", &report.garbage, check.mends.len() as u64)
        } else {
            ("Mended", &report.removed, check.mended)
        };
        let mut parts = Vec::new();
        for (count, one, many) in [
            (links, "link", "links"),
            (totals.blobs.count, "damaged blob (put aside)", "damaged blobs (put aside)"),
            (totals.tags.count, "tag (dropped)", "tags (dropped)"),
            (totals.revisions.count, "revision (dropped)", "revisions (dropped)"),
        ] {
            if count > 0 {
                parts.push(counted(count, one, many));
            }
        }
        let mut text = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
        if check.unmended > 0 {
            text.push_str(&format!("; {} left as it is", counted(check.unmended, "thing", "things")));
        }
        self.section(heading, &text)?;
        let named = if self.style.verbose { check.mends.len() } else { TOP };
        for mend in check.mends.iter().take(named) {
            self.wrapped(&self.shown(&mend_text(mend)), 2)?;
        }
        if check.mends.len() > named {
            writeln!(self.out, "  and {} more: -v shows them all", check.mends.len() - named)?;
        }
        Ok(())
    }
}

/// A text with the digests in it cut to twelve digits: enough to tell them apart, and for `regsweep why`.
fn with_short_digests(text: &str) -> String {
    const SHOWN: usize = 12;
    let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = Algorithm::ALL.iter().filter_map(|it| rest.find(&format!("{}:", it.name()))).min() {
        let begin = at + rest[at..].find(':').unwrap_or(0) + 1;
        let digits = rest[begin..].bytes().take_while(|byte| is_hex(byte)).count();
        out.push_str(&rest[..begin + digits.min(SHOWN)]);
        rest = &rest[begin + digits..];
    }
    out.push_str(rest);
    out
}

/// What is written where, in one line.
fn mend_text(mend: &Mend) -> String {
    let Mend { link, repository, digest, was, .. } = mend;
    match link {
        MendedLink::LayerLink => format!("layer link of {digest} in {repository} (was: {was})"),
        MendedLink::Revision => format!("revision link of {digest} in {repository} (was: {was})"),
        MendedLink::TagHistory(tag) => format!("history of {repository}:{tag}, {digest} (was: {was})"),
        MendedLink::Tag(tag) => format!("{repository}:{tag} points at {digest} again (was: {was})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_short() {
        let long = |algorithm: &str, digit: &str, count| format!("{algorithm}:{}", digit.repeat(count));
        for (text, short) in [
            (String::new(), String::new()),
            ("no digest: none".to_owned(), "no digest: none".to_owned()),
            (
                format!("layer {} is gone", long("sha256", "a", 64)),
                format!("layer {} is gone", long("sha256", "a", 12)),
            ),
            (
                format!("{} and {}", long("sha512", "0", 128), long("sha256", "f", 64)),
                format!("{} and {}", long("sha512", "0", 12), long("sha256", "f", 12)),
            ),
            ("sha256:abc sha256:".to_owned(), "sha256:abc sha256:".to_owned()),
        ] {
            assert_eq!(with_short_digests(&text), short);
        }
    }
}
