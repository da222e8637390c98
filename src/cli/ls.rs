//! `regsweep ls`: repositories, tags, manifests.

mod human;
mod json;

use anyhow::{Context as _, anyhow};
use regsweep::finding::{Findings, Severity};
use regsweep::listing::{self, Pattern, Request};
use regsweep::progress::{Phase, Watch as _};

use super::output;
use super::progress::{Look, Shown};
use super::target::{self, Target};
use super::trash;
use super::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  All repositories, the largest first:
    regsweep ls --sort size /var/lib/registry

  The tags of one, what was pushed last first; and all that is known of 1.4.1:
    regsweep ls --sort pushed /var/lib/registry team/web
    regsweep ls --verbose --tree /var/lib/registry team/web:1.4.1

  Every tag of version 1.4 below team, at any depth:
    regsweep ls /var/lib/registry 'team/**:1.4*'";

/// List repositories, and with a PATTERN their tags
///
/// Reads only, needs no evidence, and may run while people push. Times are in UTC: PUSHED is when the tag's link was
/// written (mtime), CREATED is what the image says of itself.
///
/// SIZE is the sum of the distinct blobs that are reached, as the manifests give their sizes. What several share
/// counts in each of them, so sizes do not add up to what the disk holds.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    /// REPOSITORY for its tags, REPOSITORY:TAG, a folder, or a glob
    ///
    /// A folder stands for the repositories below it. Both parts may be globs: `*` and `?` (in a repository not over a
    /// slash), `**` over several folders, `[a-z]`, `{a,b}`. A glob without a colon lists the repositories that match,
    /// with one the tags of all of them. Quote it for the shell.
    #[arg(value_name = "PATTERN")]
    pattern: Option<String>,

    /// List manifests as well to which no tag leads
    ///
    /// Neither directly nor through an index.
    #[arg(long)]
    untagged: bool,

    /// Show what an index lists, and signatures, below their image
    ///
    /// SBOMs and the like as well.
    #[arg(long)]
    tree: bool,

    /// By name, pushed (newest first), size
    ///
    /// With size the largest come first.
    #[arg(long, value_name = "KEY", default_value = "name", hide_possible_values = true, help_heading = "Output")]
    sort: Sort,

    /// The other way round
    #[arg(short, long, help_heading = "Output")]
    reverse: bool,

    /// Whole digests and names, every column, and warnings
    ///
    /// Lists of platforms as well; lines get as long as it takes.
    #[arg(short, long, help_heading = "Output")]
    verbose: bool,

    /// What to print: human or json
    #[arg(long, value_name = "FORMAT", default_value = "human", hide_possible_values = true, help_heading = "Output")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Human,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    Name,
    Pushed,
    Size,
}

pub(crate) fn main(args: &Args) -> Result<Exit, Failure> {
    // Not by clap, which shows what it refuses as it is.
    let pattern = args.pattern.as_deref().map(Pattern::parse).transpose();
    let pattern = pattern.map_err(|why| Failure::usage(anyhow!(why)))?;
    let opened = args.target.open(None)?;
    let registry = &opened.registry;
    let request = Request {
        pattern,
        untagged: args.untagged,
        tree: args.tree,
        sort: match args.sort {
            Sort::Name => listing::Sort::Name,
            Sort::Pushed => listing::Sort::Pushed,
            Sort::Size => listing::Sort::Size,
        },
        reverse: args.reverse,
    };
    if registry.has_above(1, "lockfiles/database-in-use") {
        output::error("this registry keeps its metadata in a database: what its folders say may be long out of date");
    }
    let findings = Findings::default();
    let shown = Shown::new(Look::suitable(false));
    let pool = target::pool(target::jobs(registry))?;
    let listed = pool.install(|| listing::list(registry, &request, &findings, &shown.begin(Phase::Scan)));
    shown.finish();
    let asked = args.pattern.as_deref().unwrap_or_default();
    let listed = listed.map_err(|error| trash::with_hint(error, registry, asked))?;
    let findings = findings.into_sorted();
    let has_damage = findings.iter().any(|finding| finding.severity == Severity::Error);
    let print = match args.format {
        Format::Json => output::print(|out| json::write(out, registry, &listed, request.tree, &findings)),
        // What is not there because it could not be read is no empty registry.
        Format::Human if listed.repositories.is_empty() && has_damage => Ok(()),
        Format::Human => {
            let style = human::Style { bold: output::colours(), verbose: args.verbose, width: output::width() };
            output::print(|out| human::write(out, &listed, &request, style))
        }
    };
    print.context("cannot write to standard output")?;
    let is_told = |severity| severity == Severity::Error || args.verbose && severity == Severity::Warning;
    for finding in findings.iter().filter(|finding| is_told(finding.severity)) {
        output::error(&format!("{}: {}", finding.path, finding.message));
    }
    Ok(if has_damage { Exit::Damage } else { Exit::Done })
}
