//! What a run came to, for Prometheus: the text that node_exporter's textfile collector reads.
//!
//! Everything is a gauge, for a run's figures are no counters: the next run has its own. Names and units are those that
//! Prometheus recommends: seconds, bytes, `_timestamp_seconds`. Each series has the labels `command` and `registry`, so
//! that the files of several commands and registries can be collected side by side.
//!
//! What is not known is left out: a registry that could not be read has not shrunk to nothing. So a run that ended
//! before it saw anything has no `regsweep_scanned_objects`.

use std::io::{self, Write};

use super::{Leftover, Outcome, PhaseReport, Report, Scanned};
use crate::finding::Severity;
use crate::plan::Totals;
use crate::usage::Usage;

/// When a run last did all that it was to do.
const LAST_SUCCESS: &str = "regsweep_last_success_timestamp_seconds";

/// What is taken from a report.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The `v2` folder.
    pub root: String,
    /// The run, if something was changed under its name.
    pub run: Option<String>,
    /// Whether it came to see anything.
    pub has_seen: bool,
    /// Whether what goes is kept in the run's trash.
    pub quarantine: bool,
    /// Whether some of what went could not be deleted in time and still takes its room.
    pub left_in_trash: bool,
    /// What earlier runs had left in their trash, and was deleted.
    pub earlier_trash: Vec<Leftover>,
    /// How it ended.
    pub outcome: Outcome,
    /// What was looked at.
    pub scanned: Scanned,
    /// What the plan names.
    pub garbage: Totals,
    /// What was really removed.
    pub removed: Totals,
    /// How many blobs something needs, or keeps.
    pub live_blobs: u64,
    /// The sizes of all blobs, in bytes, and those of the ones that something needs or keeps; `None` where not every
    /// blob was looked at.
    pub bytes: Option<(u64, u64)>,
    /// How many findings are errors, warnings, notes.
    pub findings: [u64; 3],
    /// Repositories of which everything was kept because something could not be understood.
    pub tainted: u64,
    /// How long each phase took.
    pub phases: Vec<PhaseReport>,
    /// How long the registry had to be read-only, in seconds.
    pub window_seconds: Option<f64>,
    /// What a check found.
    pub check: Option<CheckFigures>,
}

impl Figures {
    /// Whether something was to go, or would be: not so in a check that mends nothing.
    fn takes(&self) -> bool {
        self.check.is_none_or(|check| check.repairs)
    }
}

/// What is taken from what a check found. After a repair it is what is left.
#[derive(Clone, Copy, Debug)]
pub struct CheckFigures {
    /// Tags, and how many of them cannot be pulled.
    pub tags: (u64, u64),
    /// Untagged manifests, and how many of them cannot be pulled.
    pub untagged: (u64, u64),
    /// Links that do not say what their paths say.
    pub wrong_links: u64,
    /// Blobs that are missing or not what they should be.
    pub damaged_blobs: u64,
    /// Whether anything was to be mended.
    pub repairs: bool,
    /// How many links were written.
    pub mended: u64,
    /// How many bytes were read of the blobs.
    pub read_bytes: Option<u64>,
}

impl Figures {
    /// Those of a report; where the bytes are is known only if somebody has looked at every blob.
    pub fn of(report: &Report<'_>, usage: Option<&Usage>) -> Figures {
        let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count() as u64;
        let check = report.check.as_ref();
        let unneeded = check.map_or(report.garbage.blobs.count, |check| check.unreferenced_blobs);
        let whole = usage.filter(|usage| usage.is_whole && usage.unmeasured == 0);
        let bytes = match check {
            Some(check) => Some((check.blob_bytes, check.unreferenced_bytes)),
            None => whole.map(|usage| (usage.blobs.bytes, report.garbage.blobs.bytes)),
        };
        Figures {
            root: report.root.clone(),
            run: report.run.clone(),
            has_seen: !report.phases.is_empty(),
            quarantine: report.quarantine,
            left_in_trash: report.left_in_trash,
            earlier_trash: report.earlier_trash.clone(),
            outcome: report.outcome,
            scanned: report.scanned,
            garbage: report.garbage,
            removed: report.removed,
            live_blobs: report.scanned.blobs.saturating_sub(unneeded),
            bytes: bytes.map(|(all, unneeded)| (all, all.saturating_sub(unneeded))),
            findings: [count(Severity::Error), count(Severity::Warning), count(Severity::Info)],
            tainted: report.repositories.iter().filter(|repository| repository.tainted).count() as u64,
            phases: report.phases.clone(),
            window_seconds: report.window_seconds,
            check: check.map(|check| {
                let left = check.afterwards.as_ref();
                CheckFigures {
                    tags: (check.tags.checked, left.map_or(check.tags.lost, |left| left.lost_tags)),
                    untagged: (check.untagged.checked, left.map_or(check.untagged.lost, |left| left.lost_untagged)),
                    wrong_links: left.map_or(check.links.wrong, |left| left.wrong_links),
                    damaged_blobs: check.damaged.len() as u64,
                    repairs: check.repair,
                    mended: check.mended,
                    read_bytes: check.data.as_ref().map(|data| data.bytes),
                }
            }),
        }
    }
}

/// What lies in trashes that are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trash {
    /// How many runs have kept theirs.
    pub runs: u64,
    /// The bytes of the blobs and uploads in them.
    pub bytes: u64,
    /// When the oldest of these runs began, in seconds since 1970.
    pub oldest: Option<i64>,
}

/// A run that has ended, one way or the other.
#[derive(Clone, Debug)]
pub struct Metrics<'a> {
    /// REGISTRY as it was given, absolute: the same whether or not it can be opened.
    pub registry: &'a str,
    /// The command.
    pub command: &'a str,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// When it began, in seconds since 1970.
    pub began: f64,
    /// When it ended.
    pub ended: f64,
    /// How long it took, in seconds, by a clock that nobody sets.
    pub seconds: f64,
    /// The exit code.
    pub exit_code: u8,
    /// When a run last did all that it was to do, in seconds since 1970; `None` if nobody knows of one.
    pub last_success: Option<f64>,
    /// What the report says; `None` if it did not come to one.
    pub figures: Option<&'a Figures>,
    /// What is kept; `None` if the registry could not be opened.
    pub trash: Option<Trash>,
}

/// Writes them, in the Prometheus text format.
///
/// # Errors
/// Whatever the writer says.
pub fn write(out: &mut dyn Write, metrics: &Metrics<'_>) -> io::Result<()> {
    let mut page = Page { out, labels: labels(metrics.registry, metrics.command) };
    page.run(metrics)?;
    if let Some(trash) = &metrics.trash {
        page.trash(trash)?;
    }
    let Some(figures) = metrics.figures else { return Ok(()) };
    page.done(figures)?;
    if figures.has_seen {
        page.seen(figures)?;
    }
    match &figures.check {
        Some(check) => page.check(check),
        None => Ok(()),
    }
}

/// What an earlier file says about the last success of the same command on the same registry, in seconds since 1970.
pub fn last_success(text: &str, registry: &str, command: &str) -> Option<f64> {
    let begins = format!("{LAST_SUCCESS}{{{}}} ", labels(registry, command));
    let value = text.lines().find_map(|line| line.strip_prefix(&begins))?;
    value.trim().parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0)
}

fn labels(registry: &str, command: &str) -> String {
    format!("command=\"{}\",registry=\"{}\"", escaped(command), escaped(registry))
}

/// A label's value, as it stands between the quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

struct Page<'w> {
    out: &'w mut dyn Write,
    /// What every series has.
    labels: String,
}

impl Page<'_> {
    fn family(&mut self, name: &str, help: &str) -> io::Result<()> {
        writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} gauge")
    }

    fn one(&mut self, name: &str, help: &str, value: impl ToString) -> io::Result<()> {
        self.family(name, help)?;
        writeln!(self.out, "{name}{{{}}} {}", self.labels, value.to_string())
    }

    /// A family whose series differ in one more label.
    fn each<V: ToString>(&mut self, name: &str, help: &str, label: &str, values: &[(&str, V)]) -> io::Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        self.family(name, help)?;
        values.iter().try_for_each(|(of, value)| {
            writeln!(self.out, "{name}{{{},{label}=\"{}\"}} {}", self.labels, escaped(of), value.to_string())
        })
    }

    fn run(&mut self, run: &Metrics<'_>) -> io::Result<()> {
        let root = run.figures.map_or("", |figures| &figures.root);
        let about = [("root", root), ("version", env!("CARGO_PKG_VERSION"))];
        let about: String = about.iter().map(|(label, value)| format!(",{label}=\"{}\"", escaped(value))).collect();
        self.family("regsweep_run_info", "What ran last: the registry's v2 folder and the version of regsweep.")?;
        writeln!(self.out, "regsweep_run_info{{{}{about}}} 1", self.labels)?;
        self.one("regsweep_exit_code", "The exit code of the last run.", run.exit_code)?;
        self.one("regsweep_dry_run", "Whether the last run was not to change anything.", u8::from(run.dry_run))?;
        self.one("regsweep_run_start_timestamp_seconds", "When the last run began.", run.began)?;
        self.one("regsweep_run_end_timestamp_seconds", "When the last run ended, however it ended.", run.ended)?;
        self.one("regsweep_run_duration_seconds", "How long the last run took.", run.seconds)?;
        // A dry run says nothing about whether real ones succeed.
        if run.last_success.is_some() || !run.dry_run {
            let help = "When a run that was no dry run last did all that it was to do; 0 if none is known.";
            self.one(LAST_SUCCESS, help, run.last_success.unwrap_or(0.0))?;
        }
        Ok(())
    }

    fn trash(&mut self, trash: &Trash) -> io::Result<()> {
        self.one("regsweep_trash_runs", "How many runs have kept what they moved away.", trash.runs)?;
        self.one("regsweep_trash_bytes", "Bytes of the blobs and uploads in trashes that are kept.", trash.bytes)?;
        match trash.oldest {
            Some(at) => self.one(
                "regsweep_trash_oldest_timestamp_seconds",
                "When the oldest run began that has kept what it moved away.",
                at,
            ),
            None => Ok(()),
        }
    }

    /// What every run that has a report can say.
    fn done(&mut self, figures: &Figures) -> io::Result<()> {
        let [errors, warnings, notes] = figures.findings;
        let severities = [("error", errors), ("warning", warnings), ("info", notes)];
        self.each("regsweep_findings", "Findings of the last run.", "severity", &severities)?;
        if figures.takes() {
            let removed = kinds(&figures.removed).map(|(kind, count, _)| (kind, count));
            self.each("regsweep_removed_objects", "What the last run removed.", "kind", &removed)?;
            let help = "Bytes of what the last run removed; with --quarantine they are in the trash.";
            self.each("regsweep_removed_bytes", help, "kind", &sizes(&figures.removed))?;
        }
        if let Some(seconds) = figures.window_seconds {
            let help = "How long the registry had to be read-only: from the start to the last rename.";
            self.one("regsweep_window_seconds", help, seconds)?;
        }
        let phases: Vec<(&str, f64)> = figures.phases.iter().map(|phase| (phase.name, phase.seconds)).collect();
        self.each("regsweep_phase_duration_seconds", "How long each phase of the last run took.", "phase", &phases)
    }

    /// What only a run can say that came to look at the registry.
    fn seen(&mut self, figures: &Figures) -> io::Result<()> {
        let scanned = &figures.scanned;
        let objects = [
            ("repository", scanned.repositories),
            ("revision", scanned.revisions),
            ("tag", scanned.tags),
            ("layer_link", scanned.layer_links),
            ("upload", scanned.uploads),
            ("blob", scanned.blobs),
        ];
        self.each("regsweep_scanned_objects", "What the last run looked at.", "kind", &objects)?;
        self.one("regsweep_live_blobs", "Blobs that something needs or keeps.", figures.live_blobs)?;
        if let Some((all, live)) = figures.bytes {
            let help = "Bytes of all blobs, before anything was removed; only where each was looked at.";
            self.one("regsweep_scanned_bytes", help, all)?;
            let help = "Bytes of the blobs that something needs or keeps; only where each was looked at.";
            self.one("regsweep_live_bytes", help, live)?;
        }
        if figures.takes() {
            let garbage = kinds(&figures.garbage).map(|(kind, count, _)| (kind, count));
            self.each("regsweep_garbage_objects", "What the last run found that was to go.", "kind", &garbage)?;
            let help = "Bytes of what the last run found that was to go.";
            self.each("regsweep_garbage_bytes", help, "kind", &sizes(&figures.garbage))?;
        }
        let help = "Repositories of which everything was kept, because something could not be understood.";
        self.one("regsweep_tainted_repositories", help, figures.tainted)
    }

    fn check(&mut self, check: &CheckFigures) -> io::Result<()> {
        let ((tags, lost_tags), (untagged, lost_untagged)) = (check.tags, check.untagged);
        self.one("regsweep_checked_tags", "Tags that the last check looked at.", tags)?;
        self.one("regsweep_lost_tags", "Tags that cannot be pulled, wholly or for some platform.", lost_tags)?;
        self.one("regsweep_checked_untagged_manifests", "Untagged manifests that the last check looked at.", untagged)?;
        self.one("regsweep_lost_untagged_manifests", "Untagged manifests that cannot be pulled.", lost_untagged)?;
        self.one("regsweep_wrong_links", "Links that do not say what their paths say.", check.wrong_links)?;
        let help = "Blobs that the last check found missing or not what they should be.";
        self.one("regsweep_damaged_blobs", help, check.damaged_blobs)?;
        if check.repairs {
            self.one("regsweep_mended_links", "Links that the last check wrote.", check.mended)?;
        }
        match check.read_bytes {
            Some(bytes) => self.one("regsweep_read_bytes", "Bytes of blobs that the last check read.", bytes),
            None => Ok(()),
        }
    }
}

/// The kinds that go, as the report's actions name them: how many, and how large where that is known.
fn kinds(totals: &Totals) -> [(&'static str, u64, Option<u64>); 7] {
    [
        ("blob", totals.blobs.count, Some(totals.blobs.bytes)),
        ("revision", totals.revisions.count, None),
        ("tag", totals.tags.count, None),
        ("tag_history", totals.tag_history.count, None),
        ("layer_link", totals.layer_links.count, None),
        ("upload", totals.uploads.count, Some(totals.uploads.bytes)),
        ("repository", totals.repositories.count, None),
    ]
}

fn sizes(totals: &Totals) -> Vec<(&'static str, u64)> {
    kinds(totals).into_iter().filter_map(|(kind, _, bytes)| Some((kind, bytes?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(registry: &str, last_success: Option<f64>, dry_run: bool) -> String {
        let mut out = Vec::new();
        let metrics = Metrics {
            registry,
            command: "gc",
            dry_run,
            began: 1_795_000_000.5,
            ended: 1_795_000_002.75,
            seconds: 2.25,
            exit_code: 2,
            last_success,
            figures: None,
            trash: None,
        };
        write(&mut out, &metrics).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_path_cannot_leave_its_label() {
        let text = text("/a\"} 1\nregsweep_exit_code{x=\"\\", Some(5.0), false);
        let line = r#"regsweep_exit_code{command="gc",registry="/a\"} 1\nregsweep_exit_code{x=\"\\"} 2"#;
        assert!(text.lines().any(|it| it == line), "{text}");
        assert!(text.lines().all(|line| line.starts_with("# ") || line.starts_with("regsweep_")), "{text}");
    }

    #[test]
    fn what_was_written_is_found_again() {
        let odd = "/a\"\\ b";
        let written = text(odd, Some(1_795_000_000.25), false);
        assert_eq!(last_success(&written, odd, "gc"), Some(1_795_000_000.25));
        assert_eq!(last_success(&written, odd, "check"), None, "another command");
        assert_eq!(last_success(&written, "/a", "gc"), None, "another registry");
        assert_eq!(last_success(&text(odd, None, false), odd, "gc"), None, "0 is none");
        assert_eq!(last_success("regsweep_last_success_timestamp_seconds{} x\n", odd, "gc"), None);
    }

    #[test]
    fn a_dry_run_does_not_say_that_nothing_has_ever_succeeded() {
        assert!(text("/a", None, false).contains(&format!("{LAST_SUCCESS}{{command=\"gc\",registry=\"/a\"}} 0\n")));
        assert!(!text("/a", None, true).contains(LAST_SUCCESS));
        assert!(text("/a", Some(7.0), true).contains(LAST_SUCCESS));
    }
}
