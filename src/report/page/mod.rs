//! What stands on the page of a command: from its report and the [`Usage`] of the registry to the model that
//! [`html`](super::html) writes.

mod store;
mod tables;

use indicatif::HumanCount;
use jiff::Timestamp;

use super::html::{Fact, Image, Page, Tone};
use super::human::{bytes, counted, duration};
use super::{Outcome, Report, Tool};
use crate::finding::{Finding, FindingKind, Severity};
use crate::usage::Usage;

/// How many images are listed.
const IMAGES: usize = 1000;

/// The page of `du`: where the bytes are.
pub fn of_usage<'a>(root: String, made_at: Timestamp, usage: &Usage, findings: &'a [Finding]) -> Page<'a> {
    let mut summary = vec![fact("In the store", bytes(usage.blobs.bytes), Tone::Plain)];
    summary.extend(sizes(usage));
    summary.extend(damage(findings));
    Page {
        title: "What is in this registry".to_owned(),
        command: "du".to_owned(),
        root,
        tool: Tool::THIS,
        made_at: made_at.to_string(),
        summary,
        lead: Vec::new(),
        store: Some(store::node(usage)),
        months: store::months(usage),
        images: images(usage),
        tables: tables::of_usage(usage),
        findings,
        more_findings: 0,
        advice: advice(usage),
    }
}

/// What would free something.
fn advice(usage: &Usage) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(brake) = &usage.brake {
        advice.push(format!("these figures are what there is at least: {brake}"));
        return advice;
    }
    let garbage = usage.all_garbage();
    if garbage.count > 0 {
        let blobs = counted(garbage.count, "blob", "blobs");
        advice.push(format!("`regsweep gc` frees {}: {blobs} that nothing needs", bytes(garbage.bytes)));
    }
    if usage.store.untagged.bytes > 0 {
        let untagged = bytes(usage.store.untagged.bytes);
        advice.push(format!("`regsweep gc --delete-untagged` frees {untagged} more, which no tag leads to"));
    }
    advice
}

/// The page of a command that has a report: `gc` or `check`. Without a usage, because nothing was looked at, there is no
/// picture of the store.
pub fn of_report<'a>(report: &'a Report<'_>, usage: Option<&Usage>) -> Page<'a> {
    let mut summary = match &report.check {
        Some(check) => {
            let lost = check.afterwards.map_or(check.tags.lost, |afterwards| afterwards.lost_tags);
            let tone = if lost == 0 { Tone::Good } else { Tone::Bad };
            let mut facts = vec![fact(
                "Tags that cannot be pulled",
                format!("{} of {}", HumanCount(lost), HumanCount(check.tags.checked)),
                tone,
            )];
            let wrong = HumanCount(check.damaged.len() as u64).to_string();
            let tone = if check.damaged.is_empty() { Tone::Good } else { Tone::Bad };
            facts.push(fact("Damaged blobs", wrong, tone));
            facts.push(match &check.data {
                Some(data) => fact(
                    "Data read",
                    format!("{} of {}", bytes(data.bytes), bytes(data.of_bytes)),
                    if data.damaged == 0 { Tone::Good } else { Tone::Bad },
                ),
                None => fact("Data", "not read".to_owned(), Tone::Plain),
            });
            facts
        }
        None => collected(report),
    };
    if let Some(usage) = usage {
        summary.push(fact("In the store", bytes(usage.blobs.bytes), Tone::Plain));
        summary.extend(sizes(usage));
    }
    if report.check.is_none() {
        summary.extend(damage(&report.findings));
    }
    Page {
        title: title(report),
        command: report.command.to_owned(),
        root: report.root.clone(),
        tool: report.tool,
        made_at: report.finished_at.clone(),
        summary,
        lead: tables::of_report(report),
        store: usage.map(store::node),
        months: usage.map(store::months).unwrap_or_default(),
        images: usage.map(images).unwrap_or_default(),
        tables: usage.map(tables::of_usage).unwrap_or_default(),
        findings: &report.findings,
        more_findings: 0,
        advice: report.advice.clone(),
    }
}

fn title(report: &Report<'_>) -> String {
    match (&report.check, report.dry_run, report.outcome) {
        (_, _, Outcome::Refused) => format!("{}: refused, nothing was touched", report.command),
        (Some(check), dry_run, _) => match (check.repair, dry_run) {
            (false, _) => "Can every image be pulled?".to_owned(),
            (true, true) => "What could be mended".to_owned(),
            (true, false) => "What was mended".to_owned(),
        },
        (None, true, _) => "What would go".to_owned(),
        (None, false, Outcome::Incomplete) => "What went; the run ended early".to_owned(),
        (None, false, _) => "What went".to_owned(),
    }
}

/// What a collection has done, or would do.
fn collected(report: &Report<'_>) -> Vec<Fact> {
    let (label, totals) =
        if report.dry_run { ("Would free", report.garbage) } else { (report.what_became(), report.removed) };
    let mut facts = vec![fact(label, bytes(totals.bytes()), Tone::Plain)];
    facts.push(fact("Blobs that go", HumanCount(totals.blobs.count).to_string(), Tone::Plain));
    if let Some(seconds) = report.window_seconds {
        facts.push(fact("Had to be read-only for", duration(seconds), Tone::Plain));
    } else {
        let (text, tone) = if report.read_only.proven { ("proven", Tone::Good) } else { ("not proven", Tone::Plain) };
        facts.push(fact("Read-only", text.to_owned(), tone));
    }
    facts
}

fn sizes(usage: &Usage) -> Vec<Fact> {
    let repositories = || usage.store.walk().filter_map(|node| Some((node, node.repository.as_ref()?)));
    let tags: u64 = repositories().map(|(_, contents)| contents.tags.len() as u64).sum();
    let mut facts = vec![
        fact("Garbage", bytes(usage.all_garbage().bytes), Tone::Plain),
        fact("Only untagged manifests need", bytes(usage.store.untagged.bytes), Tone::Plain),
        fact("Repositories", HumanCount(repositories().count() as u64).to_string(), Tone::Plain),
        fact("Tags", HumanCount(tags).to_string(), Tone::Plain),
    ];
    if usage.uploads.count > 0 {
        let text = format!("{} ({})", HumanCount(usage.uploads.count), bytes(usage.uploads.bytes));
        facts.push(fact("Uploads in progress", text, Tone::Plain));
    }
    if !usage.is_whole {
        facts.push(fact("These figures", "are what there is at least".to_owned(), Tone::Bad));
    }
    facts
}

/// Whether something is damaged; why a run was refused or stopped is said elsewhere.
fn damage(findings: &[Finding]) -> Option<Fact> {
    let is_damage = |finding: &&Finding| {
        finding.severity == Severity::Error && !matches!(finding.kind, FindingKind::Refused | FindingKind::Stopped)
    };
    let count = findings.iter().filter(is_damage).count() as u64;
    (count > 0).then(|| fact("Damage", counted(count, "finding", "findings"), Tone::Bad))
}

fn images(usage: &Usage) -> Vec<Image> {
    let image = |(node, contents, image): (&crate::usage::Node, &crate::usage::Contents, &crate::usage::ImageUsage)| {
        let pushed = contents.pushed(image).and_then(|at| Timestamp::from_second(at).ok());
        Image {
            name: store::name_of_image(&node.name, contents, image),
            total: image.total.bytes,
            exclusive: image.exclusive.bytes,
            pushed_at: pushed.map(|at| at.to_string()),
            shared_with: None,
        }
    };
    usage.largest_images(IMAGES).into_iter().map(image).collect()
}

fn fact(label: &str, value: String, tone: Tone) -> Fact {
    Fact { label: label.to_owned(), value, tone }
}
