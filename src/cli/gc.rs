//! `regsweep gc`: mark, plan, sweep, report.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use jiff::Timestamp;
use regsweep::collect::{self, Collection, collect};
use regsweep::finding::{FindingKind, Findings, Severity};
use regsweep::interlock::evidence::ReadOnly;
use regsweep::layout::shown_path;
use regsweep::plan::{Plan, Totals};
use regsweep::policy::Policy;
use regsweep::progress::{Phase, Watch};
use regsweep::registry::Registry;
use regsweep::report::human::{self, Style, counted};
use regsweep::report::{Outcome, PhaseReport, Report, RepositoryReport, SCHEMA, Scanned, Tool};
use regsweep::sweep::{self, LockError, Run, Runs, State, SweepError, Swept};

use super::output::{self, say};
use super::progress::{Look, Shown};
use super::target::{self, Age, Evidence, Opened, Target};
use super::{Exit, Failure};

/// The registry's own default, of its upload purger.
const UPLOADS_OLDER_THAN: &str = "168h";

const EXAMPLES: &str = "\
Examples:
  What would go, why, and how much does it free? Changes nothing, needs nothing:
    regsweep gc --dry-run /var/lib/registry

  Collect while the registry runs in read-only mode:
    regsweep gc --registry http://127.0.0.1:5000 /var/lib/registry

  In place of `registry garbage-collect`:
    regsweep garbage-collect --delete-untagged /etc/docker/registry/config.yml";

/// Collect garbage: mark what revisions and tags reach, and sweep the rest
///
/// Walks the registry's folders, marks every blob that a revision or a tag reaches, and moves the rest into the run's
/// trash, which is deleted at the end. Refuses to change anything unless it is shown that nobody writes to the
/// registry.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    /// Only report what would go; changes nothing at all
    #[arg(short = 'd', long)]
    dry_run: bool,

    /// Let untagged manifests go too
    ///
    /// Never a child of a tagged index, and never a referrer (signature, SBOM, attestation) whose subject stays.
    #[arg(short = 'm', long)]
    delete_untagged: bool,

    /// Keep what goes in the run's trash, for `regsweep trash restore`
    #[arg(long)]
    quarantine: bool,

    /// Let uploads go that began longer ago than this
    #[arg(long, value_name = "D", default_value = UPLOADS_OLDER_THAN)]
    uploads_older_than: Age,

    /// Remove the empty folders of repositories of which nothing is left
    #[arg(long)]
    remove_empty_repositories: bool,

    /// How many requests are in flight at a time [default: four a core, at least 16]
    #[arg(short, long, value_name = "N", value_parser = target::parse_jobs)]
    jobs: Option<usize>,

    #[command(flatten)]
    evidence: Evidence,

    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct Output {
    /// Print nothing unless something is wrong
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// Print every object with its reason, and every finding
    #[arg(short, long)]
    verbose: bool,

    /// What to print
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    format: Format,

    /// Write the report as JSON to this file as well
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A summary for a person
    Human,
    /// The report as one JSON document
    Json,
}

/// The path of a finding about the whole registry, relative to the `v2` folder like all others.
const WHOLE: &str = ".";

/// A run that has ended, one way or the other.
struct Ended {
    collection: Option<Collection>,
    swept: Option<Swept>,
    /// What is gone; zero unless something was swept.
    removed: Totals,
    outcome: Outcome,
    /// Said on standard error, and why the exit code is not that of the report alone.
    complaint: Option<(Exit, String)>,
}

impl Ended {
    fn new(collection: Option<Collection>, outcome: Outcome) -> Ended {
        Ended { collection, swept: None, removed: Totals::default(), outcome, complaint: None }
    }

    /// Refused for a reason that the evidence does not tell, so that it is noted for the report as well.
    fn refused_for(text: String, findings: &Findings) -> Ended {
        findings.add(Severity::Error, FindingKind::Refused, None, Path::new(WHOLE), text.clone());
        Ended::refused(text)
    }

    fn refused(text: String) -> Ended {
        Ended { complaint: Some((Exit::Refused, text)), ..Ended::new(None, Outcome::Refused) }
    }
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let started_at = Timestamp::now();
    let window_began = Instant::now();
    let opened = args.target.open(args.evidence.config())?;
    let read_only = args.evidence.gather(&opened)?;
    let findings = Findings::default();
    let look = Look::suitable(args.output.quiet);
    let shown = Shown::new(look);
    let pool = target::pool(args.jobs)?;
    let ended = pool.install(|| {
        if args.dry_run {
            dry_run(args, &opened.registry, started_at, &findings, &shown)
        } else if read_only.proven {
            real_run(args, &opened.registry, started_at, window_began, &findings, &shown)
        } else {
            Ok(Ended::refused(read_only.refusal(opened.registry.root())))
        }
    });
    shown.finish();
    finish(args, &opened, read_only, findings, started_at, ended?)
}

fn options(args: &Args, now: Timestamp) -> collect::Options {
    collect::Options {
        policy: Policy { delete_untagged: args.delete_untagged },
        uploads_older_than: args.uploads_older_than.seconds,
        remove_empty_repositories: args.remove_empty_repositories,
        now: now.as_second(),
    }
}

/// Sees and decides, and stops there.
fn dry_run(
    args: &Args,
    registry: &Registry,
    now: Timestamp,
    findings: &Findings,
    watch: &dyn Watch,
) -> Result<Ended, Failure> {
    look_for_other_runs(registry, findings);
    let collection = collect(registry, options(args, now), findings, watch);
    let Some(brake) = &collection.brake else {
        return Ok(Ended::new(Some(collection), Outcome::Complete));
    };
    findings.add(Severity::Error, FindingKind::Refused, None, Path::new(WHOLE), brake.to_string());
    let complaint = Some((Exit::Refused, format!("a sweep would be refused: {brake}")));
    Ok(Ended { complaint, ..Ended::new(Some(collection), Outcome::Refused) })
}

/// A dry run takes no lock and puts nothing back; it says what stands in the way of its figures.
fn look_for_other_runs(registry: &Registry, findings: &Findings) {
    let path = Path::new(regsweep::layout::REGSWEEP);
    let note = |message: String| findings.add(Severity::Warning, FindingKind::UnfinishedRun, None, path, message);
    match sweep::is_held(registry) {
        Ok(None) => {}
        Ok(Some(holder)) => {
            let who = holder.map_or_else(|| "another process".to_owned(), |holder| holder.to_string());
            note(format!("a run is at work now ({who}); these figures are of a moment in between"));
        }
        Err(error) => note(format!("cannot see whether another run is at work: {error}")),
    }
    match Runs::of(registry).and_then(|runs| runs.list()) {
        Err(error) => note(format!("cannot see whether an earlier run was cut off: {error}")),
        Ok(runs) => {
            for run in runs.iter().filter(|run| run.state() == State::CutOff) {
                note(format!(
                    "run {} was cut off; the next sweep puts back what it had moved, before it looks at anything",
                    run.id
                ));
            }
        }
    }
}

fn real_run(
    args: &Args,
    registry: &Registry,
    now: Timestamp,
    window_began: Instant,
    findings: &Findings,
    watch: &dyn Watch,
) -> Result<Ended, Failure> {
    let lock = match sweep::acquire(registry, now) {
        Ok(lock) => lock,
        Err(held @ LockError::Held(_)) => return Ok(Ended::refused_for(held.to_string(), findings)),
        Err(LockError::Io(error)) if sweep::is_forbidden(&error) => {
            let hint = "run as the user that the registry's files belong to, on a volume that is mounted writable";
            let message = format!("cannot write to {}: {error}; {hint}", shown_path(registry.root()));
            return Err(anyhow::anyhow!(message).into());
        }
        Err(error) => return Err(error.into()),
    };
    let runs = Runs::of(registry).context("cannot open the registry's folder")?;
    let unfinished = recover(&runs, findings, watch)?;
    if args.quarantine
        && let Some(folder) = sweep::on_another_mount(registry)?
    {
        let message = format!(
            "--quarantine is impossible: {folder} is another mount than {}, so nothing in it can be moved into the \
             trash. Without --quarantine it is deleted directly",
            shown_path(registry.root())
        );
        return Ok(Ended::refused_for(message, findings));
    }
    let collection = collect(registry, options(args, now), findings, watch);
    if let Some(brake) = &collection.brake {
        findings.add(Severity::Error, FindingKind::Refused, None, Path::new(WHOLE), brake.to_string());
        let complaint = Some((Exit::Refused, brake.to_string()));
        return Ok(Ended { complaint, ..Ended::new(Some(collection), Outcome::Refused) });
    }
    let mut ended = Ended::new(None, Outcome::Complete);
    if !collection.plan.is_empty() {
        let options =
            sweep::Options { quarantine: args.quarantine, delete_untagged: args.delete_untagged, window_began };
        match sweep::sweep(registry, &collection.inventory, &collection.plan, options, findings, watch) {
            Ok(swept) => {
                if !swept.is_complete {
                    ended.outcome = Outcome::Incomplete;
                }
                ended.removed = swept.removed;
                ended.swept = Some(swept);
            }
            Err(error) => {
                let (outcome, exit, kind) = match &error {
                    SweepError::Changed(_) => (Outcome::Refused, Exit::Refused, FindingKind::Refused),
                    SweepError::ChangedMeanwhile { .. } => (Outcome::Incomplete, Exit::Stopped, FindingKind::Stopped),
                    SweepError::ChangedTooLate { removed, .. } => {
                        ended.removed = **removed;
                        (Outcome::Incomplete, Exit::Stopped, FindingKind::Stopped)
                    }
                    SweepError::NotPutBack { .. } | SweepError::Io { .. } => {
                        (Outcome::Incomplete, Exit::Failed, FindingKind::Stopped)
                    }
                };
                let text = format!("{:#}", anyhow::Error::from(error));
                findings.add(Severity::Error, kind, None, Path::new(WHOLE), text.clone());
                ended.outcome = outcome;
                ended.complaint = Some((exit, text));
            }
        }
    }
    // Outside the window: what an earlier run was cut off at.
    for run in unfinished {
        sweep::purge(&runs, &run, &watch.begin(Phase::Purge), findings);
    }
    ended.collection = Some(collection);
    drop(lock);
    Ok(ended)
}

/// Puts back what runs have moved that were cut off before their mark, and says so. Returns the runs that were cut off
/// after it: their trash is deleted at the end.
fn recover(runs: &Runs, findings: &Findings, watch: &dyn Watch) -> Result<Vec<Run>, Failure> {
    let all = runs.list().context("cannot see whether an earlier run was cut off")?;
    let mut half_purged = Vec::new();
    for run in all {
        let path = Path::new(regsweep::layout::REGSWEEP).join("runs").join(run.id.as_str());
        let note = |message: String| findings.add(Severity::Info, FindingKind::UnfinishedRun, None, &path, message);
        match run.state() {
            State::Finished | State::Kept => {}
            State::HalfPurged => {
                note(format!("run {} was cut off while it deleted its trash; the rest is deleted now", run.id));
                half_purged.push(run);
            }
            State::CutOff => {
                let back = runs
                    .put_back(&run, &watch.begin(Phase::Restore))
                    .with_context(|| format!("cannot put back what run {} has moved", run.id))?;
                if let Some((path, why)) = back.failed.first() {
                    let message = format!(
                        "cannot put back what run {} has moved: {}: {why} ({} things are still in its trash)",
                        run.id,
                        shown_path(path),
                        back.failed.len()
                    );
                    return Err(anyhow::anyhow!(message).into());
                }
                let restored = sweep::Event::Restored { at: Timestamp::now().to_string(), items: back.items };
                match run.note(&restored) {
                    // Its trash is empty: the next run finds nothing to put back, and tries to note that again.
                    Err(error) if sweep::is_full(&error) => {}
                    noted => noted.with_context(|| format!("cannot write the journal of run {}", run.id))?,
                }
                let things = counted(back.items, "thing was", "things were");
                let message = match back.anew {
                    0 => format!("run {} was cut off; {things} put back", run.id),
                    anew => format!(
                        "run {} was cut off; {things} put back, {anew} more had been written anew meanwhile",
                        run.id
                    ),
                };
                note(message);
            }
        }
    }
    Ok(half_purged)
}

/// Makes the report of what has ended, writes it, and finds the exit code.
fn finish(
    args: &Args,
    opened: &Opened,
    read_only: ReadOnly,
    findings: Findings,
    started_at: Timestamp,
    ended: Ended,
) -> Result<Exit, Failure> {
    let Ended { collection, swept, removed, outcome, complaint } = ended;
    let nothing = Plan::default();
    let plan = collection.as_ref().map_or(&nothing, |collection| &collection.plan);
    let mut report = Report {
        schema: SCHEMA,
        tool: Tool::THIS,
        command: "gc",
        dry_run: args.dry_run,
        delete_untagged: args.delete_untagged,
        root: shown_path(opened.registry.root()),
        run: swept.as_ref().and_then(|swept| swept.run.as_ref()).map(ToString::to_string),
        started_at: started_at.to_string(),
        finished_at: Timestamp::now().to_string(),
        read_only,
        scanned: collection.as_ref().map(scanned).unwrap_or_default(),
        garbage: plan.totals(),
        removed,
        repositories: collection.as_ref().map(repositories).unwrap_or_default(),
        plan,
        findings: findings.into_sorted(),
        phases: phases(collection.as_ref(), swept.as_ref()),
        window_seconds: swept.as_ref().map(|swept| swept.window_seconds),
        quarantine: args.quarantine,
        outcome,
        advice: Vec::new(),
    };
    report.advice = advice(args, &report, complaint.is_some());

    if let Some(path) = &args.output.report {
        write_report(path, &report)?;
    }
    let print = match args.output.format {
        Format::Json => output::print(|out| {
            serde_json::to_writer(&mut *out, &report)?;
            writeln!(out)
        }),
        // Who was refused reads the paragraph that says why.
        Format::Human if args.output.quiet || collection.is_none() => Ok(()),
        Format::Human => {
            let style = Style { colour: output::colours(), verbose: args.output.verbose };
            output::print(|out| human::write(out, &report, style))
        }
    };
    print.context("cannot write to standard output")?;

    if args.output.quiet {
        // Why it was refused or stopped is said below.
        let is_told = |kind| matches!(kind, FindingKind::Refused | FindingKind::Stopped);
        let errors = report.findings.iter().filter(|finding| finding.severity == Severity::Error);
        for finding in errors.filter(|finding| !is_told(finding.kind)) {
            output::error(&format!("{}: {}", finding.path, finding.message));
        }
    }
    match complaint {
        Some((exit, text)) => {
            if exit == Exit::Refused && collection.is_none() && text.contains('\n') {
                say(text.trim_end());
            } else {
                output::error(&text);
            }
            Ok(exit)
        }
        None if report.has_damage() => Ok(Exit::Damage),
        None => Ok(Exit::Done),
    }
}

fn scanned(collection: &Collection) -> Scanned {
    let inventory = &collection.inventory;
    Scanned {
        repositories: inventory.repositories.len() as u64,
        revisions: inventory.revisions(),
        tags: inventory.tags(),
        layer_links: inventory.layer_links(),
        uploads: inventory.uploads(),
        blobs: inventory.digests.blobs().len() as u64,
        untagged_revisions_kept: collection.marking.repositories.iter().map(|marking| marking.untagged_kept).sum(),
    }
}

fn repositories(collection: &Collection) -> Vec<RepositoryReport> {
    let plans = &collection.plan.repositories;
    let seen = collection.inventory.repositories.iter();
    let marked = collection.marking.repositories.iter().zip(&collection.exclusive_garbage_bytes);
    seen.zip(marked)
        .map(|(repository, (marking, &exclusive_garbage_bytes))| {
            let plan = plans.binary_search_by(|plan| plan.name.as_str().cmp(&repository.name)).ok();
            RepositoryReport {
                name: repository.name.to_string(),
                tags: repository.tags.len() as u64,
                revisions: repository.revision_links() as u64,
                garbage_revisions: plan.map_or(0, |place| plans[place].revisions.len() as u64),
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

/// What to do next.
fn advice(args: &Args, report: &Report<'_>, has_ended_early: bool) -> Vec<String> {
    let mut advice = Vec::new();
    let registry = output::quoted(&args.target.registry);
    let mut flags = String::new();
    for (given, flag) in [
        (args.delete_untagged, " --delete-untagged"),
        (args.quarantine, " --quarantine"),
        (args.remove_empty_repositories, " --remove-empty-repositories"),
    ] {
        if given {
            flags.push_str(flag);
        }
    }
    if args.uploads_older_than.text != UPLOADS_OLDER_THAN {
        flags.push_str(&format!(" --uploads-older-than '{}'", args.uploads_older_than.text));
    }
    if let Some(jobs) = args.jobs {
        flags.push_str(&format!(" --jobs {jobs}"));
    }
    let evidence = args.evidence.as_given();
    let collects = !report.plan.is_empty();
    if args.dry_run && !has_ended_early && collects {
        if report.read_only.proven {
            advice.push(format!("to collect: regsweep gc{flags}{evidence} {registry}"));
        } else if report.read_only.objections.is_empty() {
            advice.push(format!(
                "to collect, make the registry read-only (storage.maintenance.readonly.enabled: true) or stop it, \
                 then: regsweep gc{flags} --registry URL {registry} (or --config FILE, or --registry-stopped)"
            ));
        } else {
            advice.push("to collect, first see to what speaks against it above".to_owned());
        }
    }
    if !has_ended_early && report.scanned.untagged_revisions_kept > 0 && !args.delete_untagged {
        let untagged =
            counted(report.scanned.untagged_revisions_kept, "untagged manifest stays", "untagged manifests stay");
        advice.push(format!("{untagged}; --delete-untagged lets those go that no live index or subject keeps"));
    }
    if report.removed.blobs.count > 0 {
        advice.push(
            "restart the registry before anybody pushes (with redis: flush its cache): its cache still knows the \
             removed blobs, and a push of one of them would be answered \"already exists\" and leave a broken image"
                .to_owned(),
        );
    }
    if report.quarantine
        && let Some(run) = &report.run
    {
        advice.push(format!(
            "what went is kept in run {run}: `regsweep trash restore{evidence} {registry} {run}` brings it back, \
             `regsweep trash purge {registry}` frees the space"
        ));
    }
    if !report.read_only.proven || !report.read_only.objections.is_empty() {
        // The way to collect has said so already.
        let is_said = |line: &str| args.dry_run && line.starts_with("nothing shows that the registry is read-only");
        advice.extend(report.read_only.advice.iter().filter(|line| !is_said(line)).cloned());
    }
    advice
}

/// Writes the report to a file that the operator named. It lies outside of what this tool collects, and is replaced as
/// a whole: whoever reads it sees the last report or this one.
#[expect(clippy::disallowed_methods, reason = "the operator named this file; it is no part of the registry")]
fn write_report(path: &Path, report: &Report<'_>) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        let mut out = io::BufWriter::new(std::fs::File::create(&temporary)?);
        serde_json::to_writer(&mut out, report)?;
        io::Write::write_all(&mut out, b"\n")?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write the report to {}", shown_path(path))).map_err(Failure::from)
}
