//! `regsweep gc`: mark, plan, sweep, report.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use jiff::Timestamp;
use regsweep::age::YoungSince;
use regsweep::collect::{self, Collection};
use regsweep::finding::{FindingKind, Findings, Severity};
use regsweep::interlock::evidence::ReadOnly;
use regsweep::layout::shown_path;
use regsweep::plan::Plan;
use regsweep::policy::Policy;
use regsweep::progress::Phase;
use regsweep::report::human::{self, Style, counted};
use regsweep::report::{Outcome, PhaseReport, Report, RepositoryReport, RetentionReport, SCHEMA, Scanned, Tool};
use regsweep::run::{self, Complaint, Ended, How};
use regsweep::sweep::Swept;
use regsweep::threads::MOST;

use super::names::Names;
use super::output::{self, say};
use super::progress::{Look, Shown};
use super::target::{self, Age, Evidence, Opened, Share, Target};
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

    /// Keep blobs, layer links and manifests that are younger than this [default: 0s]
    ///
    /// A blob's age is the newest of its own time and the times of every link to it (mtime). What is too young stays
    /// with every link to it, and a manifest with everything that it references.
    #[arg(long, value_name = "D")]
    min_age: Option<Age>,

    /// Refuse if more of the blobs would go than this
    ///
    /// In percent of all blobs, such as 20 or 12.5%. A dry run still reports what would go, and ends with exit code 4.
    #[arg(long, value_name = "PERCENT")]
    max_delete: Option<Share>,

    /// Go on although fewer than half of the repositories of the last completed run are left
    #[arg(long)]
    accept_shrink: bool,

    /// Remove the empty folders of repositories of which nothing is left
    #[arg(long)]
    remove_empty_repositories: bool,

    /// How many requests are in flight at a time [default: four a core, 8 to 64; 64 where the volume answers slowly,
    /// and to delete the trash]
    #[arg(short, long, value_name = "N", value_parser = target::parse_jobs)]
    jobs: Option<usize>,

    #[command(flatten)]
    names: Names,

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

pub(crate) fn main(args: &Args) -> Result<Exit, Failure> {
    let started_at = Timestamp::now();
    let window_began = Instant::now();
    let policy = args.names.policy(args.delete_untagged)?;
    let opened = args.target.open(args.evidence.config())?;
    let read_only = args.evidence.gather(&opened)?;
    let findings = Findings::default();
    let look = Look::suitable(args.output.quiet);
    let shown = Shown::new(look);
    let jobs = args.jobs.unwrap_or_else(|| target::jobs(&opened.registry));
    let pool = target::pool(jobs)?;
    let options = options(args, &policy, started_at, window_began);
    let (registry, watch) = (&opened.registry, &shown);
    let ended = pool.install(|| {
        if args.dry_run {
            run::dry_run(registry, options, &findings, watch)
        } else if read_only.proven {
            run::real_run(registry, options, &findings, watch)
        } else {
            let text = read_only.refusal(registry.root());
            Ended { complaint: Some(Complaint { how: How::Refused, text }), ..Ended::default() }
        }
    });
    shown.finish();
    finish(args, &policy, &opened, read_only, findings, Began { jobs, at: started_at }, ended)
}

fn options<'a>(args: &Args, policy: &'a Policy, at: Timestamp, window_began: Instant) -> run::Options<'a> {
    let now = at.as_second();
    let min_age = args.min_age.as_ref().map_or(0, |age| age.seconds);
    run::Options {
        collect: collect::Options {
            policy,
            uploads_older_than: args.uploads_older_than.seconds,
            remove_empty_repositories: args.remove_empty_repositories,
            young_since: (min_age > 0).then(|| YoungSince(now.saturating_sub(min_age))),
            max_delete: args.max_delete.as_ref().map(|share| share.percent),
            last_repositories: None,
            now,
        },
        quarantine: args.quarantine,
        accept_shrink: args.accept_shrink,
        deleters: args.jobs.unwrap_or(MOST),
        at,
        window_began,
    }
}

/// How a run began.
struct Began {
    jobs: usize,
    at: Timestamp,
}

/// Makes the report of what has ended, writes it, and finds the exit code.
fn finish(
    args: &Args,
    policy: &Policy,
    opened: &Opened,
    read_only: ReadOnly,
    findings: Findings,
    began: Began,
    ended: Ended,
) -> Result<Exit, Failure> {
    let outcome = outcome(&ended);
    let Ended { collection, swept, removed, complaint } = ended;
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
        started_at: began.at.to_string(),
        finished_at: Timestamp::now().to_string(),
        read_only,
        scanned: collection.as_ref().map(scanned).unwrap_or_default(),
        garbage: plan.totals(),
        removed,
        repositories: collection.as_ref().map(repositories).unwrap_or_default(),
        plan,
        retention: retention(args, policy, collection.as_ref()),
        findings: findings.into_sorted(),
        jobs: began.jobs,
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
        Some(Complaint { how, text }) => {
            if how == How::Refused && collection.is_none() && text.contains('\n') {
                say(text.trim_end());
            } else {
                output::error(&text);
            }
            Ok(match how {
                How::Refused => Exit::Refused,
                How::Stopped => Exit::Stopped,
                How::Failed => Exit::Failed,
            })
        }
        None if report.has_damage() => Ok(Exit::Damage),
        None => Ok(Exit::Done),
    }
}

fn retention<'a>(args: &Args, policy: &'a Policy, collection: Option<&'a Collection>) -> Option<RetentionReport<'a>> {
    let Collection { inventory, marking, .. } = collection?;
    Some(RetentionReport::new(args.names.file().map(shown_path), policy.retention.as_ref()?, inventory, marking))
}

fn outcome(ended: &Ended) -> Outcome {
    match &ended.complaint {
        Some(Complaint { how: How::Refused, .. }) => Outcome::Refused,
        Some(_) => Outcome::Incomplete,
        None if ended.swept.as_ref().is_some_and(|swept| !swept.is_complete) => Outcome::Incomplete,
        None => Outcome::Complete,
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
        young_blobs_kept: collection.young_blobs,
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
    flags.push_str(&args.names.as_given());
    if args.uploads_older_than.text != UPLOADS_OLDER_THAN {
        flags.push_str(&format!(" --uploads-older-than '{}'", args.uploads_older_than.text));
    }
    if let Some(age) = args.min_age.as_ref() {
        flags.push_str(&format!(" --min-age '{}'", age.text));
    }
    if let Some(share) = args.max_delete.as_ref() {
        flags.push_str(&format!(" --max-delete '{}'", share.text));
    }
    if args.accept_shrink {
        flags.push_str(" --accept-shrink");
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
    if let Some(age) = args.min_age.as_ref()
        && report.scanned.young_blobs_kept > 0
    {
        let blobs =
            counted(report.scanned.young_blobs_kept, "blob that nothing needs stays", "blobs that nothing needs stay");
        advice.push(format!("{blobs}, younger than {}", age.text));
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
