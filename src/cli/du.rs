//! `regsweep du`: where the bytes are, and what removing names would free.

mod blobs;
mod csv;
mod human;
mod json;
mod rows;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use regsweep::collect::Seen;
use regsweep::finding::{FindingKind, Findings, Severity};
use regsweep::layout::{REGSWEEP, shown_path};
use regsweep::listing::Pattern;
use regsweep::mark::Marking;
use regsweep::plan::BlobTotals;
use regsweep::registry::Registry;
use regsweep::report::page;
use regsweep::sweep::{Runs, State};
use regsweep::usage::{self, Asked, Largest, Selected, Usage};

use super::files;
use super::limits::Load;
use super::output;
use super::progress::{Look, Shown};
use super::target::{self, Target};
use super::{Exit, Failure};
use json::Asides;
use rows::{Order, Rows};
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  Which repositories take the space, and which namespaces:
    regsweep du /var/lib/registry
    regsweep du --depth 1 --sort exclusive /var/lib/registry

  What is in one of them, tag by tag:
    regsweep du --tags /var/lib/registry team/web

  What would go if all tags of version 1.4 went?
    regsweep du /var/lib/registry '**:1.4*'

  The ten largest blobs, and who needs each:
    regsweep du --blobs --top 10 /var/lib/registry";

/// Show where the bytes are, and what removing names would free
///
/// Per repository, namespace or tag. Reads only, needs no evidence, and may run while people push. Each blob is looked
/// at once. TOTAL is what a name reaches; EXCLUSIVE is the part that nothing else reaches, and so what its removal
/// would free; UNTAGGED is the part of that which only untagged manifests reach; GARBAGE is what nothing reaches any
/// more, and the next gc frees. What several share is shown once, below the table, so that everything adds up to what
/// the disk holds.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    /// Only these: REPOSITORY, REPOSITORY:TAG, a folder, or a glob
    ///
    /// And what removing all of them together would free. A folder stands for the repositories below it. Both parts may
    /// be globs, as in `ls`: quote them for the shell. The figure is the one that `rm --dry-run` gives.
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// A row for each namespace at this depth, with all below it
    ///
    /// 1 is the first component of names.
    #[arg(long, value_name = "N", conflicts_with = "names")]
    depth: Option<u32>,

    /// Rows for tags as well, below their repositories
    #[arg(long)]
    tags: bool,

    /// The largest blobs in place of repositories
    ///
    /// Each with how many tags of how many repositories need it, and the first of them.
    #[arg(long, conflicts_with_all = ["names", "depth", "tags", "sort", "reverse"])]
    blobs: bool,

    /// With the name of a repository: everything below it as well
    #[arg(long, requires = "names")]
    recursive: bool,

    /// Count what files take on the disk, not how long they are
    #[arg(long)]
    disk: bool,

    /// How many requests are in flight
    ///
    /// Without it as many as `gc` has.
    #[arg(short, long, value_name = "N", value_parser = target::parse_jobs, help_heading = "Time and load")]
    jobs: Option<usize>,

    #[command(flatten)]
    load: Load,

    /// total (default), exclusive, untagged, garbage, name
    ///
    /// The largest first; names from a to z.
    #[arg(long, value_name = "KEY", default_value = "total", hide_possible_values = true, hide_default_value = true)]
    #[arg(help_heading = "Output")]
    sort: Sort,

    /// The other way round
    #[arg(short, long, help_heading = "Output")]
    reverse: bool,

    /// How many rows and tags are shown [default: 20]
    ///
    /// Tags of each repository; the others become one row. How many blobs with --blobs. In JSON, how many of the
    /// largest images.
    #[arg(long, value_name = "N", help_heading = "Output")]
    top: Option<usize>,

    /// Whole names, all rows and columns, and warnings
    ///
    /// Lines get as long as it takes.
    #[arg(short, long, help_heading = "Output")]
    verbose: bool,

    /// Write a page for a browser to this file as well
    ///
    /// With a picture of the store: one file. It loads nothing, and works from a mail attachment and without scripts.
    /// It always shows the whole store.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    html: Option<PathBuf>,

    /// What to print: human, json or csv
    #[arg(long, value_name = "FORMAT", default_value = "human", hide_possible_values = true, help_heading = "Output")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Human,
    Json,
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    Total,
    Exclusive,
    Untagged,
    Garbage,
    Name,
}

/// How many rows there are where nobody says it.
const TOP: usize = 20;

/// What was named, and what follows.
#[derive(Debug)]
struct Named {
    selected: Vec<Selected>,
    /// What removing all of it would free, or why `rm` would refuse.
    freed: Result<BlobTotals, Vec<String>>,
    /// What is no image of its own, or lies in a repository where nothing is: what removing only this would free.
    alone: Vec<(Selected, BlobTotals)>,
}

pub(crate) fn main(args: &Args) -> Result<Exit, Failure> {
    // Not by clap, which shows what it refuses as it is.
    let asked =
        args.names.iter().map(|name| Ok(Asked { pattern: Pattern::parse(name)?, is_recursive: args.recursive }));
    let asked = asked.collect::<Result<Vec<Asked>, String>>().map_err(|why| Failure::usage(anyhow!(why)))?;
    args.load.step_back();
    let opened = args.target.open_with(None, args.load.seam())?;
    let registry = &opened.registry;
    args.html.iter().try_for_each(|path| files::is_outside(path, registry))?;
    if registry.has_above(1, "lockfiles/database-in-use") {
        output::error("this registry keeps its metadata in a database: what its folders say may be long out of date");
    }
    let findings = Findings::default();
    let shown = Shown::new(Look::suitable(false));
    let pool = target::pool(args.jobs.unwrap_or_else(|| target::jobs(registry)))?;
    let (usage, named) = pool.install(|| -> Result<_, Failure> {
        let (seen, marking) = usage::look(registry, &findings, &shown)?;
        let selected = usage::select(&asked, &seen.inventory.repositories);
        let selected = selected.map_err(|why| Failure::from(anyhow!(why)))?;
        let most = if args.blobs { args.top.unwrap_or(TOP) } else { 0 };
        let largest = Largest { most, on_disk: args.disk };
        let usage = usage::measure_and_list(registry, seen.parts(), &marking, largest, &findings, &shown)?;
        let named = (!asked.is_empty()).then(|| named(registry, &seen, &marking, &usage, selected, &shown));
        Ok((usage, named))
    })?;
    shown.finish();

    let trash = trash(registry, &findings);
    let findings = findings.into_sorted();
    let has_damage = findings.iter().any(|finding| finding.severity == Severity::Error);
    let order = Order { sort: args.sort, reverse: args.reverse, disk: args.disk };
    let rows = Rows { usage: &usage, named: named.as_ref(), depth: args.depth, tags: args.tags, order };
    let (top, blobs) = (args.top.unwrap_or(TOP), args.blobs);
    let print = match args.format {
        Format::Json => output::print(|out| json::write(out, registry, &rows, Asides { top, blobs, trash }, &findings)),
        Format::Csv if blobs => output::print(|out| blobs::write_csv(out, &usage)),
        Format::Csv => output::print(|out| csv::write(out, &rows)),
        Format::Human => {
            let top = if args.verbose { args.top } else { args.top.or(Some(TOP)) };
            let style = human::Style {
                bold: output::colours(),
                has_blocks: human::has_blocks(),
                verbose: args.verbose,
                disk: args.disk,
                width: output::width(),
                top,
            };
            match blobs {
                true => output::print(|out| blobs::write(out, &usage, style)),
                false => output::print(|out| human::write(out, &rows, trash, style)),
            }
        }
    };
    print.context("cannot write to standard output")?;
    if let Some(path) = &args.html {
        let root = shown_path(registry.root());
        files::write_page(path, &page::of_usage(root, Timestamp::now(), &usage, &findings))?;
    }
    let is_told = |severity| severity == Severity::Error || args.verbose && severity == Severity::Warning;
    for finding in findings.iter().filter(|finding| is_told(finding.severity)) {
        output::error(&format!("{}: {}", finding.path, finding.message));
    }
    if let Some(brake) = &usage.brake {
        output::error(&format!("these figures are what there is at least: {brake}"));
    } else if !usage.is_whole {
        output::error("these figures are what there is at least: not everything could be read");
    }
    for why in named.iter().filter_map(|named| named.freed.as_ref().err()).flatten() {
        output::error(&format!("nobody knows what removing these names would free, for rm refuses: {why}"));
    }
    Ok(if has_damage { Exit::Damage } else { Exit::Done })
}

/// What runs have put aside and is still there: in no figure, for it is no part of the registry any more.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Trash {
    /// How many runs keep what they moved away.
    runs: u64,
    /// The bytes of the blobs and uploads among that.
    bytes: u64,
    /// How many other runs have something there: the next run deletes it or puts it back, or another version of
    /// regsweep made it.
    unfinished: u64,
}

/// `None` if nobody can tell, which is a finding.
fn trash(registry: &Registry, findings: &Findings) -> Option<Trash> {
    let listed = Runs::of(registry).and_then(|runs| runs.list());
    let say = |error: &std::io::Error| {
        let message = format!("what runs have in their trash cannot be listed: {error}");
        findings.add(Severity::Warning, FindingKind::Unreadable, None, Path::new(REGSWEEP), message);
    };
    let mut trash = Trash::default();
    for run in listed.inspect_err(say).ok()? {
        match run.state() {
            State::Kept => {
                trash.runs += 1;
                trash.bytes += run.progress.swept.map_or(0, |(_, bytes)| bytes);
            }
            State::CutOff | State::Unpurged | State::HalfPurged | State::Foreign => trash.unfinished += 1,
            State::Finished => {}
        }
    }
    Some(trash)
}

fn named(
    registry: &Registry,
    seen: &Seen,
    marking: &Marking,
    usage: &Usage,
    selected: Vec<Selected>,
    shown: &Shown,
) -> Named {
    let freed = |selected: &[Selected]| usage::freed_by(registry, seen, marking, usage, selected, shown);
    let all = freed(&selected);
    let index = rows::Index::of(usage);
    let mut alone = Vec::new();
    for it in &selected {
        let Selected::Tag(name, tag) = it else { continue };
        let is_image = index.tag(name, tag).is_some_and(|(contents, tag)| tag.image.is_some() && !contents.is_tainted);
        if is_image {
            continue;
        }
        let bytes = if selected.len() == 1 { all.clone() } else { freed(std::slice::from_ref(it)) };
        alone.extend(bytes.ok().map(|bytes| (it.clone(), bytes)));
    }
    Named { selected, freed: all, alone }
}
