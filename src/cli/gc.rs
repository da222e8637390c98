//! `regsweep gc`: mark, plan, sweep, report.

use regsweep::age::YoungSince;
use regsweep::collect;
use regsweep::plan::Scope;
use regsweep::policy::Policy;
use regsweep::report::Report;
use regsweep::report::human::counted;
use regsweep::run;
use regsweep::threads::MOST;

use super::cache::Cache;
use super::limits::{Limits, Load};
use super::monitor::Monitor;
use super::names::Names;
use super::output;
use super::target::{self, Age, Evidence, Share, Target};
use super::work::{self, Began, Output, Work};
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

/// Mark what is needed, and sweep the rest
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
    #[arg(short = 'm', long, help_heading = "What goes")]
    delete_untagged: bool,

    /// Keep what goes in the run's trash, for `trash restore`
    #[arg(long)]
    quarantine: bool,

    /// Let older uploads go
    ///
    /// Those that began longer ago than this and were never finished.
    #[arg(long, value_name = "D", default_value = UPLOADS_OLDER_THAN, help_heading = "What goes")]
    uploads_older_than: Age,

    /// Keep what is younger than this
    ///
    /// Blobs, layer links and manifests; without it none is too young. A blob's age is the newest of its own time and
    /// the times of every link to it (mtime). What is too young stays with every link to it, and a manifest with
    /// everything that it references.
    #[arg(long, value_name = "D", help_heading = "What goes")]
    min_age: Option<Age>,

    /// Refuse if more of the blobs would go
    ///
    /// In percent of all blobs, such as 20 or 12.5%. A dry run still reports what would go, and ends with exit code 4.
    #[arg(long, value_name = "PERCENT", help_heading = "Brakes")]
    max_delete: Option<Share>,

    /// Go on though most repositories are gone
    ///
    /// A run refuses where fewer than half of the repositories of the last completed run are left, or not one tag: part
    /// of the volume may not be mounted.
    #[arg(long, help_heading = "Brakes")]
    accept_shrink: bool,

    /// Remove folders of emptied repositories
    ///
    /// Those of which nothing is left.
    #[arg(long, help_heading = "What goes")]
    remove_empty_repositories: bool,

    /// How many requests are in flight
    ///
    /// Without it four a core, 8 to 64 of them; 64 where the volume answers slowly, and to delete the trash.
    #[arg(short, long, value_name = "N", value_parser = target::parse_jobs, help_heading = "Time and load")]
    jobs: Option<usize>,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    load: Load,

    #[command(flatten)]
    names: Names,

    #[command(flatten)]
    cache: Cache,

    #[command(flatten)]
    evidence: Evidence,

    #[command(flatten)]
    output: Output,
}

pub(crate) fn main(args: &Args) -> Result<Exit, Failure> {
    let began = Began::now();
    Monitor::new("gc", &args.target, &args.output, args.dry_run, began).watch(|monitor| run(args, monitor, began))
}

fn run(args: &Args, monitor: &Monitor<'_>, began: Began) -> Result<Exit, Failure> {
    let mut policy = args.names.policy(args.delete_untagged)?;
    let opened = work::open(&args.target, &args.evidence, &args.load, monitor)?;
    policy.cache = args.cache.limits(&opened)?;
    let work = Work {
        target: &args.target,
        evidence: &args.evidence,
        output: &args.output,
        monitor,
        policy_file: args.names.file(),
        dry_run: args.dry_run,
        jobs: args.jobs,
        halt: args.limits.halt(began),
        options: options(args, &policy, began),
    };
    work.run(&opened, &|_| {}, &|report, has_ended_early| advice(args, report, has_ended_early))
}

fn options<'a>(args: &Args, policy: &'a Policy, began: Began) -> run::Options<'a> {
    let now = began.at.as_second();
    let min_age = args.min_age.as_ref().map_or(0, |age| age.seconds);
    run::Options {
        command: "gc",
        collect: collect::Options {
            policy,
            uploads_older_than: args.uploads_older_than.seconds,
            remove_empty_repositories: args.remove_empty_repositories,
            young_since: (min_age > 0).then(|| YoungSince(now.saturating_sub(min_age))),
            max_delete: args.max_delete.as_ref().map(|share| share.percent),
            last_repositories: None,
            scope: Scope::Everything,
            now,
        },
        quarantine: args.quarantine,
        accept_shrink: args.accept_shrink,
        deleters: args.jobs.unwrap_or(MOST),
        at: began.at,
        window_began: began.window,
        wants_usage: false,
    }
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
    flags.push_str(&args.cache.as_given());
    if args.uploads_older_than.text != UPLOADS_OLDER_THAN {
        flags.push_str(&format!(" --uploads-older-than {}", output::quoted_word(&args.uploads_older_than.text)));
    }
    if let Some(age) = args.min_age.as_ref() {
        flags.push_str(&format!(" --min-age {}", output::quoted_word(&age.text)));
    }
    if let Some(share) = args.max_delete.as_ref() {
        flags.push_str(&format!(" --max-delete {}", output::quoted_word(&share.text)));
    }
    if args.accept_shrink {
        flags.push_str(" --accept-shrink");
    }
    if let Some(jobs) = args.jobs {
        flags.push_str(&format!(" --jobs {jobs}"));
    }
    flags.push_str(&args.limits.as_given());
    flags.push_str(&args.load.as_given());
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
    advice
}
