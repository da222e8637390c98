//! A run that somebody watches from afar: its metrics and its last line are written however it ends.
//!
//! Whoever is woken by an alert needs the figures of the run that failed above all others. So what ends a command early
//! (REGISTRY is not mounted, the report cannot be written) comes through here as well.

use std::cell::{Cell, RefCell};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use regsweep::finding::Severity;
use regsweep::layout::shown_path;
use regsweep::registry::Registry;
use regsweep::report::human::{bytes, counted, duration};
use regsweep::report::log::{Entry, Fields, Summary};
use regsweep::report::metrics::{self, CheckFigures, Figures, Metrics, Trash};
use regsweep::report::{Outcome, Report};
use regsweep::sweep::{self, Runs, State};
use regsweep::usage::Usage;

use super::output::{self, LogFormat};
use super::target::Target;
use super::work::{Began, Output};
use super::{Exit, Failure, files};

/// Metrics of an earlier run that are larger are none of ours.
const MOST_BYTES: u64 = 1024 * 1024;

/// A command at work, as it is seen from outside.
pub(crate) struct Monitor<'a> {
    command: &'static str,
    /// REGISTRY as it was given, absolute: it has to be the same on the night on which the volume is not mounted.
    registry: String,
    output: &'a Output,
    is_dry: bool,
    began: Began,
    /// The `v2` folder, once it is open.
    root: RefCell<Option<PathBuf>>,
    figures: RefCell<Option<Figures>>,
    /// What `--quiet` keeps back until something is wrong.
    held: RefCell<Vec<String>>,
    /// Whether the files that were named may be written: none lies in the registry, and no two are the same.
    may_write: Cell<bool>,
}

impl<'a> Monitor<'a> {
    pub(crate) fn new(
        command: &'static str,
        target: &Target,
        output: &'a Output,
        is_dry: bool,
        began: Began,
    ) -> Monitor<'a> {
        // Where nobody knows the current folder, what was given has to do.
        let absolute = std::path::absolute(&target.registry).unwrap_or_else(|_| target.registry.clone());
        Monitor {
            command,
            registry: shown_path(&absolute),
            output,
            is_dry,
            began,
            root: RefCell::default(),
            figures: RefCell::default(),
            held: RefCell::default(),
            may_write: Cell::new(true),
        }
    }

    /// Runs the command, and tells how it ended.
    pub(crate) fn watch(&self, run: impl FnOnce(&Monitor<'a>) -> Result<Exit, Failure>) -> Result<Exit, Failure> {
        self.doubt_the_name();
        let ended = run(self);
        let mut exit = ended.unwrap_or_else(|failure| {
            output::error(&format!("{:#}", failure.error));
            failure.exit
        });
        if exit != Exit::Done {
            self.held.take().iter().for_each(|text| output::error(text));
        }
        if let Some(path) = &self.output.metrics
            && let Err(failure) = self.write(path, exit)
        {
            output::error(&format!("{:#}", failure.error));
            exit = if exit == Exit::Done { Exit::Failed } else { exit };
        }
        self.summarise(exit);
        Ok(exit)
    }

    /// The registry is open.
    ///
    /// # Errors
    /// If a file that was named lies in it, or two are the same.
    pub(crate) fn opened(&self, registry: &Registry) -> Result<(), Failure> {
        *self.root.borrow_mut() = Some(registry.root().to_owned());
        let checked = self.output.can_be_written(registry);
        self.may_write.set(checked.is_ok());
        checked
    }

    /// Something that matters only if something is wrong.
    pub(crate) fn remark(&self, text: &str) {
        if self.output.quiet {
            self.held.borrow_mut().push(text.to_owned());
        } else {
            output::error(text);
        }
    }

    /// There is a report.
    pub(crate) fn reported(&self, report: &Report<'_>, usage: Option<&Usage>) {
        *self.figures.borrow_mut() = Some(Figures::of(report, usage));
    }

    /// node_exporter passes over files that are named otherwise, and says nothing.
    fn doubt_the_name(&self) {
        if let Some(path) = &self.output.metrics
            && path.extension().is_none_or(|extension| extension != "prom")
            && !self.output.quiet
        {
            let path = shown_path(path);
            output::note(&format!("node_exporter reads only files that end in .prom, and {path} does not"));
        }
    }

    fn write(&self, path: &Path, exit: Exit) -> Result<(), Failure> {
        let root = self.root.borrow();
        let may_write = match &*root {
            Some(_) => self.may_write.get(),
            None => !files::lies_in_any_registry(path),
        };
        if !may_write {
            // Where the registry is open, this is what ended the command, and has been said.
            let path = shown_path(path);
            return match &*root {
                Some(_) => Ok(()),
                None => Err(Failure::usage(anyhow!("{path} lies in a registry's own folders: no metrics are written"))),
            };
        }
        let registry = root.as_deref().and_then(|root| Registry::open(root).ok());
        let ended = Timestamp::now();
        let figures = self.figures.borrow();
        let metrics = Metrics {
            registry: &self.registry,
            command: self.command,
            dry_run: self.is_dry,
            began: seconds(self.began.at),
            ended: seconds(ended),
            seconds: self.began.window.elapsed().as_secs_f64(),
            exit_code: exit.code(),
            last_success: self.last_success(path, registry.as_ref(), figures.as_ref(), exit, seconds(ended)),
            figures: figures.as_ref(),
            trash: registry.as_ref().and_then(|registry| trash(registry).ok()),
        };
        files::replace_for_all(path, |out| metrics::write(out, &metrics))
            .with_context(|| format!("cannot write the metrics to {}", shown_path(path)))
            .map_err(Failure::from)
    }

    /// When a run last did all that it was to do: this one, or the newest that the registry remembers or the file says
    /// that is to be replaced. Neither alone will do: the file may be gone since the machine was started, and the
    /// registry may be what is missing.
    fn last_success(
        &self,
        path: &Path,
        registry: Option<&Registry>,
        figures: Option<&Figures>,
        exit: Exit,
        now: f64,
    ) -> Option<f64> {
        let is_success = matches!(exit, Exit::Done | Exit::Damage)
            && figures.is_some_and(|figures| figures.outcome == Outcome::Complete);
        if is_success && !self.is_dry {
            return Some(now);
        }
        let written = text_of(path).and_then(|text| metrics::last_success(&text, &self.registry, self.command));
        let remembered = registry.and_then(|registry| sweep::remembered(registry).ok()).unwrap_or_default();
        let succeeded = remembered.runs.iter().filter_map(|run| {
            let is_one = run.command.as_deref() == Some(self.command) && run.is_complete();
            let began = run.at.parse::<Timestamp>().ok().filter(|_| is_one)?;
            Some(seconds(began) + run.seconds.unwrap_or_default())
        });
        // A clock that was wrong once must not hide for years that nothing succeeds.
        succeeded.chain(written).filter(|&at| at <= now).reduce(f64::max)
    }

    /// The last line.
    fn summarise(&self, exit: Exit) {
        let figures = self.figures.borrow();
        let is_plain = output::log_format() == LogFormat::Human;
        // A dry run's report is all that it is about; and where there is none, the error has said it all.
        let has_failed = matches!(exit, Exit::Failed | Exit::Usage);
        let did_nothing = figures.as_ref().is_none_or(|figures| what_was_done(self.is_dry, exit, figures).is_none());
        let has_said = exit == Exit::Done && (self.output.quiet || self.is_dry && is_plain)
            || is_plain && has_failed && did_nothing;
        if has_said || is_plain && figures.is_none() {
            return;
        }
        let elapsed = self.began.window.elapsed().as_secs_f64();
        let line = line(self.command, self.is_dry, exit, elapsed, figures.as_ref());
        let figures = figures.as_ref();
        let totals = figures.map(|figures| if self.is_dry { figures.garbage } else { figures.removed });
        let [errors, warnings, _] = figures.map(|figures| figures.findings).unwrap_or_default();
        let level = match exit {
            Exit::Done => Severity::Info,
            Exit::Stopped => Severity::Warning,
            Exit::Failed | Exit::Usage | Exit::Damage | Exit::Refused => Severity::Error,
        };
        let summary = Summary {
            command: self.command,
            registry: &self.registry,
            run: figures.and_then(|figures| figures.run.as_deref()),
            dry_run: self.is_dry,
            exit_code: exit.code(),
            seconds: elapsed,
            window_seconds: figures.and_then(|figures| figures.window_seconds),
            blobs: totals.map_or(0, |totals| totals.blobs.count),
            bytes: totals.map_or(0, |totals| totals.bytes()),
            errors,
            warnings,
        };
        output::log(level, Entry::Summary, &line, Fields::Summary(Box::new(summary)));
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

fn text_of(path: &Path) -> Option<String> {
    let file = std::fs::File::open(path).ok()?;
    // A pipe would wait for somebody to write.
    let is_file = file.metadata().ok()?.is_file();
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text).ok().filter(|_| is_file)?;
    Some(text)
}

/// What is kept in trashes now.
fn trash(registry: &Registry) -> std::io::Result<Trash> {
    let mut trash = Trash::default();
    for run in Runs::of(registry)?.list()?.iter().filter(|run| run.state() == State::Kept) {
        let (_, bytes) = run.progress.swept.unwrap_or_default();
        let began = run.progress.began.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
        trash.runs += 1;
        // Somebody may have edited a journal.
        trash.bytes = trash.bytes.saturating_add(bytes);
        // The first is the oldest.
        trash.oldest = trash.oldest.or(began.map(|began| began.as_second()));
    }
    Ok(trash)
}

/// The last line, for the end of a mail.
fn line(command: &str, is_dry: bool, exit: Exit, elapsed: f64, figures: Option<&Figures>) -> String {
    let flag = if is_dry { " --dry-run" } else { "" };
    let took = duration(elapsed);
    let how = match exit {
        Exit::Done => format!("done in {took}"),
        Exit::Damage => format!("done in {took}, and damage was found"),
        Exit::Refused => format!("refused after {took}, nothing was touched"),
        Exit::Stopped => format!("stopped early after {took}"),
        Exit::Failed | Exit::Usage => format!("failed after {took}"),
    };
    let mut parts = Vec::new();
    if let Some(figures) = figures {
        parts.extend(what_was_done(is_dry, exit, figures));
        parts.extend(figures.window_seconds.map(|seconds| format!("window {}", duration(seconds))));
        let [errors, warnings, _] = figures.findings;
        // What was mended is not wrong any more.
        parts.extend((errors > 0 && exit != Exit::Done).then(|| counted(errors, "error", "errors")));
        parts.extend((warnings > 0).then(|| counted(warnings, "warning", "warnings")));
    }
    let what = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    let code = if exit == Exit::Done { String::new() } else { format!(" (exit code {})", exit.code()) };
    format!("{command}{flag} {how}{what}{code}")
}

fn what_was_done(is_dry: bool, exit: Exit, figures: &Figures) -> Option<String> {
    let totals = if is_dry { &figures.garbage } else { &figures.removed };
    if matches!(exit, Exit::Refused | Exit::Failed | Exit::Usage) && totals.is_nothing() {
        return None;
    }
    let mut parts: Vec<String> = figures.check.iter().map(pulls).collect();
    let mended = figures.check.map_or(0, |check| check.mended);
    parts.extend((mended > 0).then(|| format!("mended {}", counted(mended, "link", "links"))));
    let verb = match (is_dry, figures.quarantine) {
        (true, false) => "would free",
        (true, true) => "would put aside",
        (false, false) if figures.left_in_trash => "moved away",
        (false, false) => "freed",
        (false, true) => "put aside",
    };
    if totals.is_nothing() {
        parts.extend(figures.check.is_none().then(|| format!("{verb} nothing")));
    } else if totals.blobs.count + totals.uploads.count > 0 {
        let blobs = counted(totals.blobs.count, "blob", "blobs");
        parts.push(format!("{verb} {} ({blobs})", bytes(totals.bytes())));
    } else {
        let verb = if is_dry { "would take out" } else { "took out" };
        parts.push(format!("{verb} {}", counted(totals.things(), "name or link", "names and links")));
    }
    if !figures.earlier_trash.is_empty() {
        let sizes: Option<u64> = figures.earlier_trash.iter().map(|earlier| earlier.bytes).sum();
        let what = sizes.map_or_else(|| "what".to_owned(), |size| format!("{} that", bytes(size)));
        parts.push(format!("deleted {what} an earlier run had left in its trash"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn pulls(check: &CheckFigures) -> String {
    match check.tags {
        (tags, 0) => {
            let unread = if tags > 0 && check.read_bytes.is_none() { " (data not read)" } else { "" };
            format!("{} can be pulled{unread}", counted(tags, "tag", "tags"))
        }
        (tags, lost) => format!("{lost} of {} cannot be pulled", counted(tags, "tag", "tags")),
    }
}

#[cfg(test)]
mod tests {
    use regsweep::plan::Totals;
    use regsweep::report::{Leftover, Scanned};

    use super::*;

    fn figures() -> Figures {
        let mut removed = Totals::default();
        removed.blobs.count = 1234;
        removed.blobs.bytes = 3 << 30;
        Figures {
            root: "/r".to_owned(),
            run: None,
            has_seen: true,
            quarantine: false,
            left_in_trash: false,
            earlier_trash: Vec::new(),
            outcome: Outcome::Complete,
            scanned: Scanned::default(),
            garbage: removed,
            removed,
            live_blobs: 0,
            bytes: None,
            findings: [0, 2, 5],
            tainted: 0,
            phases: Vec::new(),
            window_seconds: Some(1.4),
            check: None,
        }
    }

    #[test]
    fn one_line_says_how_it_ended() {
        let done = figures();
        let nothing = Figures {
            removed: Totals::default(),
            garbage: Totals::default(),
            window_seconds: None,
            findings: [1, 0, 0],
            ..figures()
        };
        let left = Figures { left_in_trash: true, ..figures() };
        assert!(line("gc", false, Exit::Stopped, 1.0, Some(&left)).contains(": moved away 3.00 GiB"), "not freed yet");
        let kept = Figures { quarantine: true, ..figures() };
        let leftover = |bytes| Leftover { run: "r".to_owned(), items: 3, bytes, is_left: false };
        let earlier = Figures { findings: [0; 3], earlier_trash: vec![leftover(Some(1 << 30)); 2], ..nothing.clone() };
        let uncounted = Figures { earlier_trash: vec![leftover(Some(1)), leftover(None)], ..earlier.clone() };
        let mut names = nothing.clone();
        names.removed.tags.count = 2;
        let check = CheckFigures {
            tags: (120, 3),
            untagged: (0, 0),
            wrong_links: 0,
            damaged_blobs: 0,
            repairs: true,
            mended: 1,
            read_bytes: None,
        };
        let checked = Figures { check: Some(check), ..nothing.clone() };
        for (is_dry, exit, figures, expected) in [
            (
                false,
                Exit::Done,
                Some(&done),
                "gc done in 3.2 s: freed 3.00 GiB (1,234 blobs), window 1.4 s, 2 warnings",
            ),
            (
                true,
                Exit::Done,
                Some(&done),
                "gc --dry-run done in 3.2 s: would free 3.00 GiB (1,234 blobs), window 1.4 s, 2 warnings",
            ),
            (
                false,
                Exit::Done,
                Some(&kept),
                "gc done in 3.2 s: put aside 3.00 GiB (1,234 blobs), window 1.4 s, 2 warnings",
            ),
            (
                false,
                Exit::Damage,
                Some(&nothing),
                "gc done in 3.2 s, and damage was found: freed nothing, 1 error (exit code 3)",
            ),
            (
                false,
                Exit::Refused,
                Some(&nothing),
                "gc refused after 3.2 s, nothing was touched: 1 error (exit code 4)",
            ),
            (
                false,
                Exit::Done,
                Some(&earlier),
                "gc done in 3.2 s: freed nothing, deleted 2.00 GiB that an earlier run had left in its trash",
            ),
            (
                false,
                Exit::Done,
                Some(&uncounted),
                "gc done in 3.2 s: freed nothing, deleted what an earlier run had left in its trash",
            ),
            (false, Exit::Done, Some(&names), "gc done in 3.2 s: took out 2 names and links"),
            (
                false,
                Exit::Damage,
                Some(&checked),
                "gc done in 3.2 s, and damage was found: 3 of 120 tags cannot be pulled, mended 1 link, 1 error (exit code 3)",
            ),
            (false, Exit::Usage, None, "gc failed after 3.2 s (exit code 2)"),
        ] {
            assert_eq!(line("gc", is_dry, exit, 3.2, figures), expected);
        }
    }
}
