//! The report for a person: a summary that fits a screen, 80 columns wide.

mod cache;
mod check;

use std::collections::BTreeSet;
use std::io::{self, Write};

use indicatif::{HumanBytes, HumanCount};

use super::{Leftover, Outcome, Report, RepositoryReport, RuleReport, TagReport};
use crate::finding::{Finding, FindingKind, Severity};
use crate::plan::{Action, ActionKind, Plan, Reason, Totals};
pub use crate::words::counted;

/// How many repositories a summary names.
const TOP: usize = 10;
/// How many findings a summary names. A finding takes two or three lines, and a summary fits a screen.
const TOP_FINDINGS: usize = 4;
/// The width that text is wrapped to.
const WIDTH: usize = 80;
/// Where the text begins that stands beside a heading.
const INDENT: usize = 15;

/// How a person wants it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Bold and colours, by ANSI escapes.
    pub colour: bool,
    /// Every finding, and what was decided about every tag.
    pub verbose: bool,
    /// Every object that goes, with its reason.
    pub actions: bool,
}

/// Writes the report.
///
/// # Errors
/// Whatever the writer says.
pub fn write(out: &mut dyn Write, report: &Report<'_>, style: Style) -> io::Result<()> {
    let mut page = Page { out, style };
    if style.actions && !report.plan.is_empty() {
        actions(page.out, report.plan)?;
        writeln!(page.out)?;
    }
    if let Some(retention) = report.retention.as_ref().filter(|_| style.verbose) {
        for tag in retention.tags.iter() {
            page.tag(&tag)?;
        }
        writeln!(page.out)?;
    }
    if let Some(cache) = report.cache.as_ref().filter(|cache| style.verbose && !cache.evicted.is_empty()) {
        page.evicted(cache)?;
    }
    page.head(report)?;
    page.scanned(report)?;
    if let Some(check) = &report.check {
        page.check(report, check)?;
        page.findings(&report.findings, check::is_told)?;
        if check.repair {
            page.read_only(report)?;
        }
        return page.next(report);
    }
    page.retention(report)?;
    page.cache(report)?;
    page.totals(report)?;
    page.earlier_trash(report)?;
    page.repositories(report)?;
    page.next_gc(report)?;
    page.findings(&report.findings, |_| false)?;
    page.read_only(report)?;
    page.next(report)
}

/// Writes everything that a plan names, a line each.
///
/// # Errors
/// Whatever the writer says.
pub fn actions(out: &mut dyn Write, plan: &Plan) -> io::Result<()> {
    plan.actions().try_for_each(|it| action(out, &it))
}

fn action(out: &mut dyn Write, action: &Action<'_>) -> io::Result<()> {
    let mut line = format!("{:<12} {:<13}", kind(action.kind), action.reason.name());
    if let Some(repository) = action.repository {
        line.push(' ');
        line.push_str(repository.as_str());
    }
    if let Some(name) = action.name {
        line.push(if action.kind == ActionKind::Upload { ' ' } else { ':' });
        line.push_str(name);
    }
    if let Some(digest) = action.digest {
        line.push_str(&format!(" {digest}"));
    }
    if let Some(size) = action.bytes {
        line.push_str(&format!(" ({})", bytes(size)));
    }
    writeln!(out, "{line}")
}

/// A size for a person, in binary units.
pub fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

struct Page<'a> {
    out: &'a mut dyn Write,
    style: Style,
}

impl Page<'_> {
    fn head(&mut self, report: &Report<'_>) -> io::Result<()> {
        let what = match (report.dry_run, report.outcome) {
            (_, Outcome::Complete) if let Some(check) = &report.check => &check::headline(report, check),
            (_, Outcome::Refused) => "refused: nothing was touched",
            (true, _) => "dry run: nothing was changed",
            (false, Outcome::Complete) => "done",
            (false, Outcome::Incomplete) => "stopped before the end; what was done is consistent",
        };
        let title = format!("regsweep {}  ", report.command);
        let mut lines = wrap(what, WIDTH - title.len()).into_iter();
        writeln!(self.out, "{}  {}", self.bold(title.trim_end()), lines.next().unwrap_or_default())?;
        for line in lines {
            writeln!(self.out, "{}{line}", " ".repeat(title.len()))?;
        }
        writeln!(self.out, "{}", report.root)
    }

    fn scanned(&mut self, report: &Report<'_>) -> io::Result<()> {
        let scanned = &report.scanned;
        let seconds: f64 = report
            .phases
            .iter()
            .filter(|phase| matches!(phase.name, "scan" | "mark" | "plan" | "check"))
            .map(|phase| phase.seconds)
            .sum();
        // A count stays on one line with its noun.
        let text = format!(
            "{}, {}, {}, {}, {}, {}, in {}",
            counted(scanned.repositories, "repository", "repositories"),
            counted(scanned.tags, "tag", "tags"),
            counted(scanned.revisions, "revision", "revisions"),
            counted(scanned.layer_links, "layer link", "layer links"),
            counted(scanned.uploads, "upload", "uploads"),
            counted(scanned.blobs, "blob", "blobs"),
            duration(seconds),
        );
        let text = text.replace(' ', "\u{a0}").replace(",\u{a0}", ", ");
        self.section("Scanned", &text)
    }

    fn totals(&mut self, report: &Report<'_>) -> io::Result<()> {
        let (heading, totals) = match (report.dry_run, report.outcome) {
            (_, Outcome::Refused) if report.removed.is_nothing() && report.garbage.is_nothing() => return Ok(()),
            (false, Outcome::Complete | Outcome::Incomplete) => (report.what_became(), &report.removed),
            _ => ("Would free", &report.garbage),
        };
        // A removal moves names; what it frees is for the next collection to say.
        let (heading, sum) = match (report.command, totals.is_nothing()) {
            (_, true) => (heading, "nothing".to_owned()),
            ("rm", false) if totals.bytes() == 0 && report.dry_run => ("Would remove", String::new()),
            ("rm", false) if totals.bytes() == 0 => ("Removed", String::new()),
            _ => (heading, bytes(totals.bytes())),
        };
        self.section(heading, &sum)?;
        for (kind, count, size, reason) in rows(totals, report) {
            let size = size.map(bytes).unwrap_or_default();
            let line = format!("  {kind:<13}{:>11}{size:>13}   {reason}", HumanCount(count).to_string());
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// What earlier runs had left in their trash.
    fn earlier_trash(&mut self, report: &Report<'_>) -> io::Result<()> {
        for (place, Leftover { run, items, bytes: size, is_left }) in report.earlier_trash.iter().enumerate() {
            let size = size.map_or_else(String::new, |size| format!("{}, ", bytes(size)));
            let things = counted(*items, "thing", "things");
            let rest = if *is_left { "; the rest is still there" } else { "" };
            let text = format!("{size}{things} that run {run} had left in its trash{rest}");
            self.section(if place == 0 { "Also deleted" } else { "" }, &text)?;
        }
        Ok(())
    }

    /// What the rules decided: how many tags each of them kept and let go.
    fn retention(&mut self, report: &Report<'_>) -> io::Result<()> {
        let Some(retention) = &report.retention else { return Ok(()) };
        let sum = |of: fn(&RuleReport) -> u64| retention.rules.iter().map(of).sum::<u64>();
        let text = format!(
            "{} of {} let go",
            HumanCount(sum(|rule| rule.let_go)),
            counted(sum(|rule| rule.kept + rule.let_go), "tag", "tags")
        );
        self.section("Retention", &text)?;
        for rule in retention.rules.iter().filter(|rule| rule.name.is_some() || rule.kept + rule.let_go > 0) {
            let name = rule.name.as_deref().map_or_else(|| "(no rule)".to_owned(), |name| shortened(name, 34));
            let (kept, let_go) = (HumanCount(rule.kept).to_string(), HumanCount(rule.let_go).to_string());
            writeln!(self.out, "  {name:<35}{kept:>11} kept{let_go:>11} let go")?;
            if rule.kept_as_tied > 0 {
                let tied = counted(rule.kept_as_tied, "tag stays", "tags stay");
                self.wrapped(&format!("{tied} because another does that was pushed in the same second"), 4)?;
            }
        }
        Ok(())
    }

    /// What the next collection frees; nothing if this one has freed it.
    fn next_gc(&mut self, report: &Report<'_>) -> io::Result<()> {
        let Some(next) = report.next_gc.filter(|_| report.plan.blobs.is_empty()) else { return Ok(()) };
        let (all, by_this) = (next.bytes(), next.of_these_names.bytes);
        let text = if all == by_this {
            format!("frees {}", bytes(all))
        } else {
            format!("frees {}, {} of it because of this", bytes(all), bytes(by_this))
        };
        self.section("The next gc", &text)
    }

    fn tag(&mut self, tag: &TagReport<'_>) -> io::Result<()> {
        let verdict = if tag.goes.is_some() { "let go" } else { "kept" };
        let pushed = tag.pushed_at.as_deref().map_or_else(|| "-".to_owned(), to_the_minute);
        let TagReport { repository, tag, explanation, .. } = tag;
        writeln!(self.out, "{verdict:<7} {pushed:<16}  {repository}:{tag}  ({explanation})")
    }

    fn repositories(&mut self, report: &Report<'_>) -> io::Result<()> {
        let mut top: Vec<&RepositoryReport> =
            report.repositories.iter().filter(|repository| repository.exclusive_garbage_bytes > 0).collect();
        if top.is_empty() || report.plan.blobs.is_empty() {
            return Ok(());
        }
        top.sort_by(|a, b| b.exclusive_garbage_bytes.cmp(&a.exclusive_garbage_bytes).then_with(|| a.name.cmp(&b.name)));
        let text = match top.len() {
            count if count > TOP => format!("what each frees by itself, the first {TOP} of {count}"),
            _ => "what each frees by itself".to_owned(),
        };
        self.section("By repository", &text)?;
        let exclusive: u64 = top.iter().map(|repository| repository.exclusive_garbage_bytes).sum();
        for repository in top.iter().take(TOP) {
            let size = bytes(repository.exclusive_garbage_bytes);
            let detail = match repository.garbage_revisions {
                0 => String::new(),
                count => counted(count, "revision", "revisions"),
            };
            let line = format!("  {:<46}{size:>13}   {detail}", shortened(&repository.name, 45));
            writeln!(self.out, "{}", line.trim_end())?;
        }
        let rest = report.garbage.blobs.bytes.saturating_sub(exclusive);
        if rest > 0 {
            writeln!(self.out, "  {:<46}{:>13}", "(shared by several, or linked by none)", bytes(rest))?;
        }
        Ok(())
    }

    fn findings(&mut self, findings: &[Finding], is_told_above: fn(FindingKind) -> bool) -> io::Result<()> {
        // Why a run was refused or stopped stands on standard error.
        let is_told = |kind| matches!(kind, FindingKind::Refused | FindingKind::Stopped) || is_told_above(kind);
        let findings: Vec<&Finding> = findings.iter().filter(|finding| !is_told(finding.kind)).collect();
        let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count() as u64;
        let counts: Vec<String> = [
            (of(Severity::Error), "error", "errors"),
            (of(Severity::Warning), "warning", "warnings"),
            (of(Severity::Info), "note", "notes"),
        ]
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| counted(count, one, many))
        .collect();
        let text = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
        let heading = if is_told_above(FindingKind::CannotBePulled) { "Other findings" } else { "Findings" };
        self.section(heading, &text)?;
        let named = if self.style.verbose { findings.len() } else { TOP_FINDINGS };
        for finding in findings.iter().take(named) {
            let severity = match finding.severity {
                Severity::Error => self.red("error"),
                Severity::Warning => self.bold("warning"),
                Severity::Info => "note".to_owned(),
            };
            writeln!(self.out, "  {severity}: {}", finding.path)?;
            self.wrapped(&finding.message, 4)?;
        }
        if findings.len() > named {
            writeln!(self.out, "  and {} more: -v shows them all", findings.len() - named)?;
        }
        Ok(())
    }

    fn read_only(&mut self, report: &Report<'_>) -> io::Result<()> {
        let read_only = &report.read_only;
        let text = if read_only.proven { "proven" } else { "not proven" };
        self.section("Read-only", text)?;
        for evidence in &read_only.evidence {
            self.wrapped(&evidence.detail, 2)?;
        }
        for objection in &read_only.objections {
            self.wrapped(&format!("but {objection}"), 2)?;
        }
        if let Some(seconds) = report.window_seconds {
            self.section("Window", &format!("the registry had to be read-only for {}", duration(seconds)))?;
        }
        Ok(())
    }

    fn next(&mut self, report: &Report<'_>) -> io::Result<()> {
        for (place, advice) in report.advice.iter().enumerate() {
            self.section(if place == 0 { "Next" } else { "" }, advice)?;
        }
        Ok(())
    }

    /// A heading with text beside it, wrapped.
    fn section(&mut self, heading: &str, text: &str) -> io::Result<()> {
        let mut lines = wrap(text, WIDTH - INDENT).into_iter();
        let padding = " ".repeat(INDENT.saturating_sub(heading.chars().count()).max(1));
        let heading = self.bold(heading);
        let first = lines.next().unwrap_or_default();
        writeln!(self.out, "{}", format!("{heading}{padding}{first}").trim_end())?;
        for line in lines {
            writeln!(self.out, "{}{line}", " ".repeat(INDENT))?;
        }
        Ok(())
    }

    fn wrapped(&mut self, text: &str, indent: usize) -> io::Result<()> {
        for line in wrap(text, WIDTH - indent) {
            writeln!(self.out, "{}{line}", " ".repeat(indent))?;
        }
        Ok(())
    }

    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn red(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.style.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

type Row = (&'static str, u64, Option<u64>, String);

fn rows(totals: &Totals, report: &Report<'_>) -> Vec<Row> {
    let plan = &report.plan.repositories;
    let tags = plan.iter().flat_map(|repository| &repository.tags).map(|(_, reason)| *reason);
    let revisions = plan.iter().flat_map(|repository| &repository.revisions).map(|(_, reason)| *reason);
    let rows = [
        ("blobs", totals.blobs.count, Some(totals.blobs.bytes), "no manifest needs them".to_owned()),
        ("revisions", totals.revisions.count, None, why(revisions)),
        ("tags", totals.tags.count, None, why(tags)),
        ("tag history", totals.tag_history.count, None, "names revisions that are gone or go".to_owned()),
        ("layer links", totals.layer_links.count, None, "no manifest of theirs needs them".to_owned()),
        ("uploads", totals.uploads.count, Some(totals.uploads.bytes), "never finished".to_owned()),
        ("repositories", totals.repositories.count, None, why_repositories(report)),
    ];
    rows.into_iter().filter(|(_, count, ..)| *count > 0).collect()
}

fn why_repositories(report: &Report<'_>) -> String {
    let mut whole = report.plan.repositories.iter().filter(|repository| repository.folder);
    if whole.any(|repository| repository.is_named) { "named to go" } else { "nothing left in them" }.to_owned()
}

/// The reasons that there are, each once.
fn why(reasons: impl Iterator<Item = Reason>) -> String {
    let reasons: BTreeSet<Reason> = reasons.collect();
    let phrase = |reason: &Reason| match reason {
        Reason::Deleted => "taken out",
        Reason::Dangling => "of something gone",
        Reason::Empty => "left of removed ones",
        other => other.name(),
    };
    reasons.iter().map(phrase).collect::<Vec<_>>().join(", ")
}

/// The words for a kind of thing, in the singular.
pub fn kind(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Tag => "tag",
        ActionKind::TagHistory => "tag history",
        ActionKind::Revision => "revision",
        ActionKind::LayerLink => "layer link",
        ActionKind::Upload => "upload",
        ActionKind::Blob => "blob",
        ActionKind::Repository => "repository",
    }
}

/// A point in time: the seconds decide too, but nobody reads those.
fn to_the_minute(at: &str) -> String {
    at[..16.min(at.len())].replace('T', " ")
}

/// A time for a person.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.095 => format!("{:.0} ms", (s * 1000.0).max(1.0)),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s => format!("{:.0} min", s / 60.0),
    }
}

/// The end of a long name says more than its beginning.
pub fn shortened(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let end: String = text.chars().skip(count + 3 - width).collect();
    format!("...{end}")
}

/// Breaks text at spaces; not at no-break spaces, which come out as spaces. A word that is too long for a line, such as
/// a path, keeps a line to itself.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    for line in &mut lines {
        *line = line.replace('\u{a0}', " ");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a-very-long-path b", 5), ["a-very-long-path", "b"]);
        assert_eq!(wrap("one two\u{a0}three", 9), ["one", "two three"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn long_names_keep_their_end() {
        assert_eq!(shortened("abc", 5), "abc");
        assert_eq!(shortened("abcdefgh", 6), "...fgh");
    }

    #[test]
    fn times() {
        for (seconds, text) in
            [(0.0001, "1 ms"), (0.05, "50 ms"), (0.1, "0.1 s"), (3.21, "3.2 s"), (61.0, "61 s"), (600.0, "10 min")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
