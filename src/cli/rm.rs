//! `regsweep rm`: take names out, on disk.

use regsweep::collect;
use regsweep::halt::Halt;
use regsweep::plan::{Plan, Scope};
use regsweep::policy::{Name, Policy, Request};
use regsweep::report::{Report, human};
use regsweep::run;
use regsweep::threads::MOST;

use super::limits::Load;
use super::monitor::Monitor;
use super::target::{self, Evidence, Target};
use super::work::{self, Began, Format, Output, Work};
use super::{Exit, Failure, output};

const EXAMPLES: &str = "\
Examples:
  One tag; others that point at the same image stay, and so does the image:
    regsweep rm --registry-stopped /var/lib/registry team/web:1.4.1

  What would go with a whole namespace, and what would that free?
    regsweep rm --dry-run --recursive /var/lib/registry team

  A repository, and its bytes at once:
    regsweep rm --collect --registry-stopped /var/lib/registry team/worker";

/// Take out a tag, a manifest or a whole repository by name
///
/// An image goes with its last tag: its revision, its platforms and its signatures, as far as nothing that stays leads
/// there. The blobs are for the next `gc`, or for this run with --collect. Like everything that changes the registry
/// this needs evidence that the registry is read-only. `trash restore` brings back what went.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    /// What goes: REPOSITORY:TAG, REPOSITORY@DIGEST or REPOSITORY
    ///
    /// With a tag only that tag; with a digest the manifest and every tag that points at it; else all of the
    /// repository.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<Name>,

    /// Only report what would go; changes nothing at all
    #[arg(short = 'd', long)]
    dry_run: bool,

    /// Everything below a repository or a namespace as well
    #[arg(short, long)]
    recursive: bool,

    /// Collect garbage in the same run, so that bytes are free
    ///
    /// As `gc` does. Then only --quarantine keeps what goes.
    #[arg(long)]
    collect: bool,

    /// With --collect: keep what goes in the run's trash
    ///
    /// For `regsweep trash restore`. Without --collect it is always kept.
    #[arg(long, requires = "collect")]
    quarantine: bool,

    /// Go on though most repositories are gone
    ///
    /// A run refuses where fewer than half of the repositories of the last completed run are left: part of the volume
    /// may not be mounted.
    #[arg(long, help_heading = "Brakes")]
    accept_shrink: bool,

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

pub(crate) fn main(args: &Args) -> Result<Exit, Failure> {
    let began = Began::now();
    Monitor::new("rm", &args.target, &args.output, args.dry_run, began).watch(|monitor| run(args, monitor, began))
}

fn run(args: &Args, monitor: &Monitor<'_>, began: Began) -> Result<Exit, Failure> {
    let request = Request { names: args.names.clone(), is_recursive: args.recursive };
    let policy = Policy { request, ..Policy::default() };
    let opened = work::open(&args.target, &args.evidence, &args.load, monitor)?;
    let scope = if args.collect { Scope::Everything } else { Scope::Named };
    let work = Work {
        target: &args.target,
        evidence: &args.evidence,
        output: &args.output,
        monitor,
        policy_file: None,
        dry_run: args.dry_run,
        jobs: args.jobs,
        halt: Halt::never(),
        options: run::Options {
            command: "rm",
            collect: collect::Options {
                policy: &policy,
                uploads_older_than: collect::UPLOADS_OLDER_THAN,
                remove_empty_repositories: false,
                young_since: None,
                max_delete: None,
                last_repositories: None,
                scope,
                now: began.at.as_second(),
            },
            quarantine: args.quarantine || !args.collect,
            accept_shrink: args.accept_shrink,
            deleters: args.jobs.unwrap_or(MOST),
            at: began.at,
            window_began: began.window,
            wants_usage: false,
        },
    };
    work.run(&opened, &|plan| tell(args, plan), &|report, has_ended_early| advice(args, report, has_ended_early))
}

/// Names what goes, before it does: where the result is for a program, on standard error.
fn tell(args: &Args, plan: &Plan) {
    let named = Plan { repositories: plan.repositories.clone(), ..Plan::default() };
    let mut lines = Vec::new();
    if args.output.quiet || human::actions(&mut lines, &named).is_err() {
        return;
    }
    match args.output.format {
        // Who has closed the pipe does not want to know.
        Format::Human => drop(output::print(|out| out.write_all(&lines))),
        Format::Json => output::say(String::from_utf8_lossy(&lines).trim_end()),
    }
}

/// What to do next.
fn advice(args: &Args, report: &Report<'_>, has_ended_early: bool) -> Vec<String> {
    let mut advice = Vec::new();
    let takes_all = report.garbage.repositories.count == report.scanned.repositories;
    if takes_all && !has_ended_early && !args.collect {
        let text =
            "no repository is left then, and gc takes no blobs where there is none: --collect takes them with it";
        advice.push(text.to_owned());
    }
    if args.dry_run && !has_ended_early {
        let mut flags = String::new();
        for (given, flag) in [
            (args.recursive, " --recursive"),
            (args.collect, " --collect"),
            (args.quarantine, " --quarantine"),
            (args.accept_shrink, " --accept-shrink"),
        ] {
            if given {
                flags.push_str(flag);
            }
        }
        let registry = output::quoted(&args.target.registry);
        let names: Vec<String> = args.names.iter().map(ToString::to_string).collect();
        let (evidence, names) = (args.evidence.as_given(), names.join(" "));
        if report.read_only.proven {
            advice.push(format!("to do it: regsweep rm{flags}{evidence} {registry} {names}"));
        } else if report.read_only.objections.is_empty() {
            advice.push(format!(
                "to do it, make the registry read-only (storage.maintenance.readonly.enabled: true) or stop it, then: \
                 regsweep rm{flags} --registry URL {registry} {names} (or --config FILE, or --registry-stopped)"
            ));
        } else {
            advice.push("to do it, first see to what speaks against it above".to_owned());
        }
    }
    advice
}
