//! `regsweep check`: is everything there, and is it what it says it is?

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use anyhow::anyhow;
use jiff::Timestamp;
use regsweep::check::{self, Checked, DamagedBlob, DataRequest, Problem, Subset, Wishes};
use regsweep::digest::Digest;
use regsweep::finding::{Finding, FindingKind, Findings, Severity};
use regsweep::halt::{Halt, Halted};
use regsweep::interlock::evidence::ReadOnly;
use regsweep::layout::shown_path;
use regsweep::plan::Plan;
use regsweep::progress::Watch as _;
use regsweep::registry::Registry;
use regsweep::report::{CheckReport, Outcome, PhaseReport, Report, RepositoryReport, SCHEMA, Scanned, Tool};
use regsweep::run::{self, Complaint, How, Mending, Repaired};
use regsweep::sweep::{self, Remembered};
use regsweep::threads::MOST;
use regsweep::usage::{self, Usage};

use super::files;
use super::limits::Load;
use super::monitor::Monitor;
use super::position::Position;
use super::progress::{Look, Shown};
use super::target::{self, Age, Evidence, Opened, Share, Target};
use super::work::{self, Began, Output};
use super::{Exit, Failure, output};

/// How many runs are named whose trash holds what is missing.
const RUNS: usize = 3;

const EXAMPLES: &str = "\
Examples:
  Can every tag be pulled? Reads links, manifests and sizes; changes nothing:
    regsweep check /var/lib/registry

  Hold every blob against its digest, an hour each night, all of them in turn:
    regsweep check --read-data --time-limit 1h /var/lib/registry

  What could be mended? And then mend it, while the registry is read-only:
    regsweep check --repair --dry-run /var/lib/registry
    regsweep check --repair --registry http://127.0.0.1:5000 /var/lib/registry";

/// Check that every image can be pulled, and mend what can be mended
///
/// Reads every tag, revision, link and manifest, and follows every reference: each blob must be there, as large as the
/// manifests say, and linked in the repository. Reads only, needs no evidence, and may run while people push. Only
/// --repair changes something, and like everything that does it needs evidence that the registry is read-only.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    data: Data,

    #[command(flatten)]
    repair: Repair,

    /// How many requests are in flight
    ///
    /// Without it as many as `gc` has.
    #[arg(short, long, value_name = "N", value_parser = target::parse_jobs, help_heading = "Time and load")]
    jobs: Option<usize>,

    #[command(flatten)]
    load: Load,

    #[command(flatten)]
    evidence: Evidence,

    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Reading the data")]
struct Data {
    /// Read every blob, hold it against its digest
    #[arg(long)]
    read_data: bool,

    /// Read a part of the blobs: 2/7, 5%, 10GiB
    ///
    /// 2/7 is the second of seven parts, always the same ones; 5% or 10GiB go on from where the last run left off.
    #[arg(long, value_name = "PART", conflicts_with = "read_data")]
    read_data_subset: Option<Subset>,

    /// Read these blobs only
    #[arg(long, value_name = "DIGEST", conflicts_with_all = ["read_data", "read_data_subset"])]
    read_blob: Vec<Digest>,

    /// Stop reading after this time, such as 1h
    ///
    /// The next run goes on from there. One blob at least is read whole. Links, manifests and sizes are always checked
    /// whole, and count as well.
    #[arg(long, value_name = "D")]
    time_limit: Option<Age>,

    /// The file that remembers where to go on
    ///
    /// Without it there is one for each registry, in $STATE_DIRECTORY, $XDG_STATE_HOME/regsweep or
    /// ~/.local/state/regsweep.
    #[arg(long, value_name = "FILE")]
    position: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Mending")]
struct Repair {
    /// Mend links, put damaged blobs aside
    ///
    /// Links are written again where it is certain what they have to say. Blobs that are not what their digests name
    /// are put aside, so that a push can replace them.
    #[arg(long)]
    repair: bool,

    /// With --repair: only report; change nothing
    #[arg(short = 'd', long, requires = "repair")]
    dry_run: bool,

    /// With --repair: let lost tags go
    ///
    /// Those whose manifest is lost.
    #[arg(long, requires = "repair")]
    drop_dangling_tags: bool,

    /// With --repair: let lost revisions go
    ///
    /// Those whose manifest is lost, where nothing that stays leads to them.
    #[arg(long, requires = "repair")]
    drop_dangling_revisions: bool,

    /// With --repair: mend nothing if more went
    ///
    /// Put no blob aside if it would be more of them than this, in percent of all, and drop no name. Without it 10, or
    /// ten of them.
    #[arg(long, value_name = "PERCENT", requires = "repair")]
    max_delete: Option<Share>,
}

pub(crate) fn main(args: &Args) -> Result<Exit, Failure> {
    let began = Began::now();
    let monitor = Monitor::new("check", &args.target, &args.output, args.repair.dry_run, began);
    monitor.watch(|monitor| run(args, monitor, began))
}

fn run(args: &Args, monitor: &Monitor<'_>, began: Began) -> Result<Exit, Failure> {
    let reads = args.data.read_data || args.data.read_data_subset.is_some();
    for (given, flag) in
        [(args.data.time_limit.is_some(), "--time-limit"), (args.data.position.is_some(), "--position")]
    {
        if given && !reads {
            return Err(Failure::usage(anyhow!("{flag} goes with --read-data or --read-data-subset")));
        }
    }
    let opened = work::open(&args.target, &args.evidence, &args.load, monitor)?;
    let registry = &opened.registry;
    args.data.position.iter().try_for_each(|path| files::is_outside(path, registry))?;
    if registry.has_above(1, "lockfiles/database-in-use") {
        monitor.remark("this registry keeps its metadata in a database: what its folders say may be long out of date");
    }
    if registry.has_above(3, "scheduler-state.json") {
        monitor.remark("this is a pull-through cache: what nobody has pulled yet is not here, and counts as missing");
    }
    let (data, position) = data(args, &opened, began)?;
    let repair = args.repair.repair.then(|| Wishes {
        drop_dangling_tags: args.repair.drop_dangling_tags,
        drop_dangling_revisions: args.repair.drop_dangling_revisions,
        max_aside: args.repair.max_delete.as_ref().map(|share| share.percent),
    });
    let read_only = args.evidence.gather(&opened)?;
    let request = check::Request { data, repair, known: Vec::new() };
    let findings = Findings::default();
    let shown = Shown::until(Look::suitable(args.output.quiet), Halt::never())?;
    let jobs = args.jobs.unwrap_or_else(|| target::jobs(registry));
    let pool = target::pool(jobs)?;
    let done = pool.install(|| look_and_mend(args, registry, &request, &read_only, began, &findings, &shown));
    let Done { ended, afterwards, usage } = done;
    shown.finish();
    if let (Some(position), Some(checked)) = (&position, &ended.checked)
        && let Some(read) = &checked.data
    {
        position.write(registry.root(), read.next.as_ref());
    }

    let Repaired { checked, swept, removed, complaint, line } = ended;
    let nothing = Plan::default();
    let plan = checked.as_ref().map_or(&nothing, |checked| &checked.repair.plan);
    let outcome = Outcome::of(complaint.as_ref(), swept.as_ref());
    let mended = swept.as_ref().map_or(0, |swept| swept.mended);
    let left = afterwards.as_ref().map(|(checked, _)| checked);
    let mut report = Report {
        schema: SCHEMA,
        tool: Tool::THIS,
        command: "check",
        dry_run: args.repair.dry_run,
        delete_untagged: false,
        root: shown_path(registry.root()),
        run: swept.as_ref().and_then(|swept| swept.run.as_ref()).map(ToString::to_string),
        started_at: began.at.to_string(),
        finished_at: Timestamp::now().to_string(),
        read_only,
        scanned: checked.as_ref().map(|checked| Scanned::of(&checked.inventory)).unwrap_or_default(),
        garbage: plan.totals(),
        removed,
        repositories: checked.as_ref().map(repositories).unwrap_or_default(),
        plan,
        retention: None,
        cache: None,
        next_gc: None,
        check: checked.as_ref().map(|checked| CheckReport::new(checked, args.repair.repair, mended, left)),
        findings: match &afterwards {
            Some((_, left)) => as_it_was(findings.into_sorted(), left),
            None => findings.into_sorted(),
        },
        jobs,
        phases: phases(checked.as_ref()),
        window_seconds: swept.as_ref().map(|swept| swept.window_seconds),
        quarantine: true,
        left_in_trash: false,
        earlier_trash: Vec::new(),
        outcome,
        advice: Vec::new(),
    };
    report.advice = advice(args, &report);
    // Damage that was mended is no damage any more; what was found stands in the report all the same.
    let is_error = |severity| severity == Severity::Error;
    let has_damage = match &afterwards {
        Some((_, left)) => left.iter().any(|finding| is_error(finding.severity)),
        None => report.findings.iter().any(|finding| is_error(finding.severity)),
    };
    let is_unmended = |finding: &Finding| finding.kind == FindingKind::NotMended && is_error(finding.severity);
    let has_damage = has_damage || report.findings.iter().any(is_unmended);
    let done = if has_damage || outcome == Outcome::Incomplete { Exit::Damage } else { Exit::Done };
    if let Some(line) = line {
        remember(registry, line, complaint.as_ref(), done);
    }
    monitor.reported(&report, usage.as_ref());
    work::deliver(&report, usage.as_ref(), &args.output, complaint, done)
}

/// What was found before something was mended, in the light of what another look has found. What is not wrong any more
/// stands in the report all the same, as what was; it is no error then, and nobody has to be told of it at night.
fn as_it_was(mut findings: Vec<Finding>, left: &[Finding]) -> Vec<Finding> {
    // Only what that look has looked for.
    let is_looked_for = |kind| {
        matches!(
            kind,
            FindingKind::CannotBePulled
                | FindingKind::DamagedLink
                | FindingKind::DamagedBlob
                | FindingKind::DamagedManifest
                | FindingKind::MissingBlob
                | FindingKind::MissingManifest
                | FindingKind::DanglingTag
                | FindingKind::TagWithoutTarget
        )
    };
    let left: HashSet<&str> = left.iter().map(|finding| &*finding.path).collect();
    // There are so many left that not all are named: this may be one of them.
    let is_all_known = !left.contains(".");
    for finding in &mut findings {
        if is_all_known && is_looked_for(finding.kind) && !left.contains(&*finding.path) {
            finding.message = format!("before mending: {}", finding.message);
            finding.severity = finding.severity.max(Severity::Warning);
        }
    }
    findings.sort_by_key(|finding| (finding.severity, finding.kind));
    findings
}

/// What came of a check.
#[derive(Default)]
struct Done {
    ended: Repaired,
    /// What is left after mending, and what was found then.
    afterwards: Option<(Checked, Vec<Finding>)>,
    /// Where the bytes are, for the page.
    usage: Option<Usage>,
}

/// Checks, and mends what was asked for.
fn look_and_mend(
    args: &Args,
    registry: &Registry,
    request: &check::Request,
    read_only: &ReadOnly,
    began: Began,
    findings: &Findings,
    shown: &Shown,
) -> Done {
    // Where the bytes are is for the page alone, and what it has to say about them was said by the check. It has no
    // picture if that takes too long for somebody.
    let measured = || -> Result<Usage, Halted> {
        let (seen, marking) = usage::look(registry, &Findings::default(), shown)?;
        usage::measure(registry, seen.parts(), &marking, &Findings::default(), shown)
    };
    let measure = || args.output.html.is_some().then(|| measured().ok()).flatten();
    let complains = |complaint| {
        let ended = Repaired { complaint: Some(complaint), ..Repaired::default() };
        Done { ended, ..Done::default() }
    };
    if !args.repair.repair || args.repair.dry_run {
        let checked = match run::check(registry, request, findings, shown) {
            Ok(checked) => checked,
            Err(halted) => return complains(run::halted_early(halted, findings)),
        };
        let usage = measure();
        let brake = if args.repair.repair { run::mending_brake(&checked.inventory) } else { None };
        let refused = |brake| Complaint { how: How::Refused, text: format!("a repair would be refused: {brake}") };
        let complaint = brake.map(refused).or_else(|| halted_reading(&checked, &shown.halt()));
        let ended = Repaired { checked: Some(checked), complaint, ..Repaired::default() };
        return Done { ended, usage, afterwards: None };
    }
    if !read_only.proven {
        return complains(Complaint { how: How::Refused, text: read_only.refusal(registry.root()) });
    }
    let mending = Mending { deleters: args.jobs.unwrap_or(MOST), at: began.at, window_began: began.window };
    let mut ended = run::repair(registry, request, mending, findings, shown);
    if let (None, Some(checked)) = (&ended.complaint, &ended.checked) {
        ended.complaint = halted_reading(checked, &shown.halt());
    }
    let mut afterwards = None;
    if ended.swept.is_some() {
        // What counts is what a client meets now. It takes no lock: a run that begins meanwhile is welcome.
        let left = Findings::default();
        // What was read and is still there is as damaged as it was.
        let known = ended.checked.as_ref().map(|checked| checked.known.clone()).unwrap_or_default();
        match run::check(registry, &check::Request { known, ..check::Request::default() }, &left, shown) {
            Ok(checked) => afterwards = Some((checked, left.into_sorted())),
            Err(Halted(cause)) => {
                let text = format!("{cause}; nobody has looked at what is left after mending");
                ended.complaint.get_or_insert(Complaint { how: How::Stopped, text });
            }
        }
    }
    Done { ended, afterwards, usage: measure() }
}

/// Why not everything was read that was asked for, if that was against the plan.
fn halted_reading(checked: &Checked, halt: &Halt) -> Option<Complaint> {
    let cause = halt.cause().filter(|_| checked.data.as_ref().is_some_and(|read| read.is_out_of_time))?;
    let text = format!("{cause} while the data was read; what was read counts");
    Some(Complaint { how: How::Stopped, text })
}

/// A repair is remembered once it is known what is left.
fn remember(registry: &Registry, line: Remembered, complaint: Option<&Complaint>, done: Exit) {
    let exit_code = Some(complaint.map_or(done, |complaint| complaint.how.exit()).code());
    if let Err(error) = sweep::record_late(registry, &Remembered { exit_code, ..line }) {
        output::error(&format!("this run cannot be remembered: {error}"));
    }
}

/// What is to be read, and where it is remembered how far that came.
fn data(args: &Args, opened: &Opened, began: Began) -> Result<(Option<DataRequest>, Option<Position>), Failure> {
    let subset = match (&args.data.read_data_subset, &*args.data.read_blob) {
        (Some(subset), _) => subset.clone(),
        (None, []) if !args.data.read_data => return Ok((None, None)),
        (None, []) => Subset::All,
        (None, digests) => Subset::These(digests.to_vec()),
    };
    let limit = args.data.time_limit.as_ref().map(|limit| limit.duration);
    let until = limit.and_then(|duration| began.window.checked_add(duration));
    let mut request = DataRequest { subset, until, from: None };
    if !request.goes_round() {
        return Ok((Some(request), None));
    }
    let position = Position::of(args.data.position.as_deref(), opened.registry.root())?;
    request.from = position.read(opened.registry.root())?;
    Ok((Some(request), Some(position)))
}

fn repositories(checked: &Checked) -> Vec<RepositoryReport> {
    let lost: HashSet<&str> = checked.lost.iter().map(|image| &*image.repository).collect();
    checked
        .inventory
        .repositories
        .iter()
        .map(|repository| RepositoryReport {
            name: repository.name.to_string(),
            tags: repository.tags.len() as u64,
            revisions: repository.revision_links() as u64,
            garbage_revisions: 0,
            exclusive_garbage_bytes: 0,
            tainted: lost.contains(&*repository.name),
        })
        .collect()
}

fn phases(checked: Option<&Checked>) -> Vec<PhaseReport> {
    let phases = checked.iter().flat_map(|checked| checked.seconds.iter());
    phases.map(|(phase, seconds)| PhaseReport { name: phase.name(), seconds: *seconds }).collect()
}

/// Whether `--repair` may have something to do. What is missing as a whole it cannot make; the names that lead to a
/// lost manifest it can let go.
fn may_be_mended(check: &CheckReport<'_>, findings: &[Finding]) -> bool {
    let is_link = |finding: &Finding| matches!(finding.kind, FindingKind::DamagedLink | FindingKind::TagWithoutTarget);
    let is_mendable = |blob: &DamagedBlob| match blob.problem {
        Problem::Damaged | Problem::Size => true,
        Problem::Missing => blob.part == Some("manifest") && blob.in_trash_of.is_none(),
        Problem::Unreadable => false,
    };
    check.links.wrong > 0 || findings.iter().any(is_link) || check.damaged.iter().any(is_mendable)
}

/// What to do next.
fn advice(args: &Args, report: &Report<'_>) -> Vec<String> {
    let mut advice = Vec::new();
    let Some(check) = &report.check else { return advice };
    let registry = output::quoted(&args.target.registry);
    let evidence = args.evidence.as_given();
    let wrong: Vec<&Digest> = (check.damaged.iter())
        .filter(|blob| blob.problem == Problem::Damaged && blob.part != Some("manifest"))
        .map(|blob| &blob.digest)
        .collect();
    // Whoever mends need not read everything again, with the registry read-only all the while.
    let again: String = wrong.iter().take(8).map(|digest| format!(" --read-blob {digest}")).collect();
    let is_proven = report.read_only.proven;
    // What is damaged is in the way of what is put back, until it is put aside.
    let has_put_aside = report.removed.blobs.count > 0;
    let may_be_put_back = |blob: &&DamagedBlob| blob.problem == Problem::Missing || has_put_aside;
    let copies = check.damaged.iter().filter(may_be_put_back).filter_map(|blob| blob.in_trash_of.as_deref());
    for run in copies.collect::<BTreeSet<&str>>().into_iter().take(RUNS) {
        let restore = "regsweep trash restore";
        advice.push(if is_proven {
            format!("to bring back what lies in the trash of run {run}: {restore}{evidence} {registry} {run}")
        } else {
            format!(
                "to bring back what lies in the trash of run {run}, make the registry read-only or stop it, then: \
                 {restore} --registry URL {registry} {run} (or --config FILE, or --registry-stopped)"
            )
        });
    }
    if !args.repair.repair && may_be_mended(check, &report.findings) {
        advice.push(format!("what can be mended here: regsweep check --repair --dry-run{again} {registry}"));
    }
    if args.repair.dry_run && !report.plan.is_empty() {
        let mut flags = String::new();
        for (given, flag) in [
            (args.repair.drop_dangling_tags, " --drop-dangling-tags"),
            (args.repair.drop_dangling_revisions, " --drop-dangling-revisions"),
        ] {
            if given {
                flags.push_str(flag);
            }
        }
        if let Some(share) = &args.repair.max_delete {
            flags.push_str(&format!(" --max-delete {}", output::quoted_word(&share.text)));
        }
        if is_proven {
            advice.push(format!("to mend: regsweep check --repair{flags}{again}{evidence} {registry}"));
        } else {
            advice.push(format!(
                "to mend, make the registry read-only (storage.maintenance.readonly.enabled: true) or stop it, then: \
                 regsweep check --repair{flags}{again} --registry URL {registry} (or --config FILE, or \
                 --registry-stopped)"
            ));
        }
    }
    if report.removed.blobs.count > 0 {
        let text = "restart the registry before anybody pushes (with redis: flush its cache): its cache still knows the \
                    blobs that were put aside; then push the images again that need them";
        advice.push(text.to_owned());
    }
    if let Some(run) = report.run.as_ref().filter(|_| !report.removed.is_nothing()) {
        // A name that was dropped leads to something that is lost.
        let has_names = report.removed.tags.count + report.removed.revisions.count > 0;
        advice.push(if has_names {
            format!(
                "what went is kept in run {run}: `regsweep trash restore --allow-missing{evidence} {registry} {run}` \
                 brings it back, `regsweep trash purge {registry} {run}` frees the space"
            )
        } else {
            format!(
                "what was put aside is kept in run {run}, as damaged as it was: once all can be pulled again \
                 `regsweep trash purge {registry} {run}` frees the space"
            )
        });
    }
    if args.data.read_data && report.window_seconds.is_some() && wrong.is_empty() {
        advice.push("next time read without --repair: then the registry need not be read-only meanwhile".to_owned());
    }
    advice
}
