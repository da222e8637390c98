//! What `gc` and `rm` do alike: from their options to a report and an exit code.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use jiff::Timestamp;
use regsweep::collect::Collection;
use regsweep::finding::{FindingKind, Findings, Severity};
use regsweep::halt::Halt;
use regsweep::interlock::evidence::ReadOnly;
use regsweep::layout::shown_path;
use regsweep::plan::Plan;
use regsweep::progress::Phase;
use regsweep::registry::Registry;
use regsweep::report::human::{self, Style};
use regsweep::report::page;
use regsweep::report::{
    CacheReport, Outcome, PhaseReport, Report, RepositoryReport, RetentionReport, SCHEMA, Scanned, Tool,
};
use regsweep::run::{self, Complaint, Ended, How};
use regsweep::sweep::{Left, Swept};
use regsweep::usage::Usage;

use super::files;
use super::limits::Load;
use super::monitor::Monitor;
use super::output::{self, LogFormat};
use super::progress::{Look, Shown};
use super::target::{self, Evidence, Opened, Target};
use super::{Exit, Failure};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// Print nothing unless something is wrong
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Print every object with its reason, and every finding
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// What to print: human or json
    #[arg(long, value_name = "FORMAT", default_value = "human", hide_possible_values = true)]
    pub(crate) format: Format,

    /// Write the report as JSON to this file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Write a page for a browser to this file as well
    ///
    /// The report, with a picture of the store: one file. It loads nothing, and works from a mail attachment and
    /// without scripts. To make it every blob is looked at once, as `du` does.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Write metrics for Prometheus to this file as well
    ///
    /// What the run came to, however it ends: a textfile for node_exporter, which reads names that end in .prom.
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics: Option<PathBuf>,
}

impl Output {
    /// The files that are to be written are not among the registry's, and no two are the same.
    pub(crate) fn can_be_written(&self, registry: &Registry) -> Result<(), Failure> {
        let named = [("--report", &self.report), ("--html", &self.html), ("--metrics", &self.metrics)];
        let named: Vec<(&str, &Path)> =
            named.into_iter().filter_map(|(flag, path)| Some((flag, path.as_deref()?))).collect();
        named.iter().try_for_each(|(_, path)| files::is_outside(path, registry))?;
        files::are_apart(&named)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A summary for a person
    Human,
    /// The report as one JSON document
    Json,
}

/// When a command began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began {
    pub(crate) at: Timestamp,
    pub(crate) window: Instant,
}

impl Began {
    pub(crate) fn now() -> Began {
        Began { at: Timestamp::now(), window: Instant::now() }
    }
}

/// A command that sees, decides and, unless it is a dry run, does.
pub(crate) struct Work<'a> {
    pub(crate) target: &'a Target,
    pub(crate) evidence: &'a Evidence,
    pub(crate) output: &'a Output,
    pub(crate) monitor: &'a Monitor<'a>,
    /// The file that the retention rules come from.
    pub(crate) policy_file: Option<&'a Path>,
    pub(crate) dry_run: bool,
    pub(crate) jobs: Option<usize>,
    /// When it is to end.
    pub(crate) halt: Halt,
    pub(crate) options: run::Options<'a>,
}

/// Opens the registry for a command that works on it, as gently as was asked for.
pub(crate) fn open(
    target: &Target,
    evidence: &Evidence,
    load: &Load,
    monitor: &Monitor<'_>,
) -> Result<Opened, Failure> {
    load.step_back();
    let opened = target.open_with(evidence.config(), load.seam())?;
    monitor.opened(&opened.registry)?;
    Ok(opened)
}

impl Work<'_> {
    /// Does it. `decided` is told what goes before it does; `advice` says what to do next, from a report and whether
    /// the run has ended early.
    pub(crate) fn run(
        &self,
        opened: &Opened,
        decided: &(dyn Fn(&Plan) + Sync),
        advice: &dyn Fn(&Report<'_>, bool) -> Vec<String>,
    ) -> Result<Exit, Failure> {
        let read_only = self.evidence.gather(opened)?;
        let findings = Findings::default();
        let shown = Shown::until(Look::suitable(self.output.quiet), self.halt.clone())?;
        let jobs = self.jobs.unwrap_or_else(|| target::jobs(&opened.registry));
        let pool = target::pool(jobs)?;
        let (registry, watch, dry_run) = (&opened.registry, &shown, self.dry_run);
        let options = run::Options { wants_usage: self.output.html.is_some(), ..self.options };
        let ended = pool.install(|| {
            if dry_run {
                run::dry_run(registry, options, &findings, watch)
            } else if read_only.proven {
                run::real_run_telling(registry, options, &findings, watch, decided)
            } else {
                let text = read_only.refusal(registry.root());
                Ended { complaint: Some(Complaint { how: How::Refused, text }), ..Ended::default() }
            }
        });
        shown.finish();
        self.finish(opened, read_only, findings, jobs, ended, advice)
    }

    /// Makes the report of what has ended, writes it, and finds the exit code.
    fn finish(
        &self,
        opened: &Opened,
        read_only: ReadOnly,
        findings: Findings,
        jobs: usize,
        ended: Ended,
        advice: &dyn Fn(&Report<'_>, bool) -> Vec<String>,
    ) -> Result<Exit, Failure> {
        let outcome = Outcome::of(ended.complaint.as_ref(), ended.swept.as_ref());
        let Ended { collection, usage, swept, removed, earlier, complaint } = ended;
        let nothing = Plan::default();
        let plan = collection.as_ref().map_or(&nothing, |collection| &collection.plan);
        let mut report = Report {
            schema: SCHEMA,
            tool: Tool::THIS,
            command: self.options.command,
            dry_run: self.dry_run,
            delete_untagged: self.options.collect.policy.delete_untagged,
            root: shown_path(opened.registry.root()),
            run: swept.as_ref().and_then(|swept| swept.run.as_ref()).map(ToString::to_string),
            started_at: self.options.at.to_string(),
            finished_at: Timestamp::now().to_string(),
            read_only,
            scanned: collection.as_ref().map(scanned).unwrap_or_default(),
            garbage: plan.totals(),
            removed,
            repositories: collection.as_ref().map(repositories).unwrap_or_default(),
            plan,
            retention: self.retention(collection.as_ref()),
            cache: collection.as_ref().and_then(|it| it.eviction.as_ref()).map(CacheReport::new),
            next_gc: collection.as_ref().and_then(|collection| collection.next_gc),
            check: None,
            findings: findings.into_sorted(),
            jobs,
            phases: phases(collection.as_ref(), swept.as_ref()),
            window_seconds: swept.as_ref().map(|swept| swept.window_seconds),
            quarantine: self.options.quarantine,
            left_in_trash: swept.as_ref().is_some_and(|swept| swept.left_in_trash != Left::Nothing),
            earlier_trash: earlier,
            outcome,
            advice: Vec::new(),
        };
        report.advice = advice(&report, complaint.is_some());
        let left_in_trash = swept.as_ref().map_or(Left::Nothing, |swept| swept.left_in_trash);
        report.advice.extend(self.more_advice(&report, left_in_trash));

        let done = if report.has_damage() { Exit::Damage } else { Exit::Done };
        self.monitor.reported(&report, usage.as_ref());
        deliver(&report, usage.as_ref(), self.output, complaint, done)
    }

    fn retention<'a>(&'a self, collection: Option<&'a Collection>) -> Option<RetentionReport<'a>> {
        let Collection { inventory, marking, .. } = collection?;
        let retention = self.options.collect.policy.retention.as_ref()?;
        Some(RetentionReport::new(self.policy_file.map(shown_path), retention, inventory, marking))
    }

    /// What to do next, whatever the command was.
    fn more_advice(&self, report: &Report<'_>, left_in_trash: Left) -> Vec<String> {
        let mut advice = Vec::new();
        let registry = output::quoted(&self.target.registry);
        let evidence = self.evidence.as_given();
        if report.removed.blobs.count > 0 {
            advice.push(
                "restart the registry before anybody pushes (with redis: flush its cache): its cache still knows the \
                 removed blobs, and a push of one of them would be answered \"already exists\" and leave a broken image"
                    .to_owned(),
            );
        }
        if let Some(run) = &report.run {
            let restore = format!("`regsweep trash restore{evidence} {registry} {run}` brings it back");
            let purge = format!("`regsweep trash purge {registry} {run}` frees the space");
            match (report.quarantine, left_in_trash) {
                (true, _) => advice.push(format!("what went is kept in run {run}: {restore}, {purge}")),
                (false, Left::Nothing) => {}
                (false, Left::Some) => {
                    advice
                        .push(format!("some of what went is still in run {run}; the next run deletes it, {purge} now"));
                }
                (false, Left::All) => advice.push(format!(
                    "what went is still in run {run}; the next run deletes it, {purge} now; until then {restore}"
                )),
            }
        }
        if !report.read_only.proven || !report.read_only.objections.is_empty() {
            // The way to collect has said so already.
            let is_said = |line: &str| self.dry_run && line.starts_with("nothing shows that the registry is read-only");
            advice.extend(report.read_only.advice.iter().filter(|line| !is_said(line)).cloned());
        }
        advice
    }
}

fn scanned(collection: &Collection) -> Scanned {
    Scanned {
        untagged_revisions_kept: collection.marking.repositories.iter().map(|marking| marking.untagged_kept).sum(),
        young_blobs_kept: collection.young_blobs,
        ..Scanned::of(&collection.inventory)
    }
}

fn repositories(collection: &Collection) -> Vec<RepositoryReport> {
    let seen = collection.inventory.repositories.iter();
    let marked = collection.marking.repositories.iter().zip(&collection.exclusive_garbage_bytes);
    seen.zip(marked)
        .map(|(repository, (marking, &exclusive_garbage_bytes))| {
            let plan = collection.plan.repository(&repository.name);
            RepositoryReport {
                name: repository.name.to_string(),
                tags: repository.tags.len() as u64,
                revisions: repository.revision_links() as u64,
                garbage_revisions: plan.map_or(0, |plan| plan.revisions.len() as u64),
                exclusive_garbage_bytes,
                tainted: marking.tainted,
            }
        })
        .collect()
}

fn phases(collection: Option<&Collection>, swept: Option<&Swept>) -> Vec<PhaseReport> {
    let seen = collection.iter().flat_map(|collection| collection.seconds.iter().copied());
    let done =
        swept.into_iter().flat_map(|swept| [Phase::Links, Phase::Blobs, Phase::Purge].into_iter().zip(swept.seconds));
    seen.chain(done).map(|(phase, seconds)| PhaseReport { name: phase.name(), seconds }).collect()
}

/// Writes and prints a report, and finds the exit code: `done` if there is no complaint.
pub(crate) fn deliver(
    report: &Report<'_>,
    usage: Option<&Usage>,
    output: &Output,
    complaint: Option<Complaint>,
    done: Exit,
) -> Result<Exit, Failure> {
    if let Some(path) = &output.report {
        let write = |out: &mut BufWriter<File>| {
            serde_json::to_writer(&mut *out, report)?;
            out.write_all(b"\n")
        };
        files::replace(path, write).with_context(|| format!("cannot write the report to {}", shown_path(path)))?;
    }
    if let Some(path) = &output.html {
        files::write_page(path, &page::of_report(report, usage))?;
    }
    let has_seen = !report.phases.is_empty();
    let is_mistaken = complaint.as_ref().is_some_and(|complaint| complaint.how == How::NotThere);
    let print = match output.format {
        Format::Json => output::print(|out| {
            serde_json::to_writer(&mut *out, report)?;
            writeln!(out)
        }),
        // Who was refused, or has mistaken a name, reads the line that says why.
        Format::Human if output.quiet || !has_seen || is_mistaken => Ok(()),
        Format::Human => {
            let verbose = output.verbose;
            // Whoever named something has read what goes before it went.
            let actions = verbose || report.command == "rm" && report.dry_run;
            let style = Style { colour: output::colours(), verbose, actions };
            output::print(|out| human::write(out, report, style))
        }
    };
    print.context("cannot write to standard output")?;

    // A person reads them in the report, unless there is none.
    let least = match (output.quiet, output::log_format()) {
        (true, _) => Some(Severity::Error),
        (false, LogFormat::Json) if output.verbose => Some(Severity::Info),
        (false, LogFormat::Json) => Some(Severity::Warning),
        (false, LogFormat::Human) => None,
    };
    // Why it was refused or stopped is said below.
    let is_told = |kind| matches!(kind, FindingKind::Refused | FindingKind::Stopped);
    let grave = report.findings.iter().filter(|finding| least.is_some_and(|least| finding.severity <= least));
    grave.filter(|finding| !is_told(finding.kind)).for_each(output::finding);
    let Some(Complaint { how, text }) = complaint else { return Ok(done) };
    if how == How::Refused && !has_seen && text.contains('\n') {
        output::explain(&text);
    } else {
        output::error(&text);
    }
    Ok(how.exit())
}
