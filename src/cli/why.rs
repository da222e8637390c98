//! `regsweep why`: what keeps something, or why it goes.

mod garbage;
mod human;
mod json;

use std::collections::HashSet;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use regsweep::age::YoungSince;
use regsweep::collect::{self, UPLOADS_OLDER_THAN};
use regsweep::finding::{Finding, Findings, Severity};
use regsweep::layout::{shown, shown_path};
use regsweep::plan::Scope;
use regsweep::why::{Answer, Found, Knowledge, NotThere, Question, State, look_before};

use super::names::Names;
use super::output;
use super::progress::{Look, Shown};
use super::target::{self, Age, Target};
use super::trash;
use super::{Exit, Failure};

/// How many chains and traces are printed where nobody asks for all.
const MOST: usize = 10;

const EXAMPLES: &str = "\
Examples:
  What keeps this layer? The first digits are enough:
    regsweep why /var/lib/registry sha256:5d569ae5b11b

  What does this tag point at, and what else leads there?
    regsweep why /var/lib/registry team/web:latest

  Would tonight's run let it go, and by which rule?
    regsweep why -m --keep-last 10 /var/lib/registry team/web:1.4.0";

/// Show what keeps a digest, a tag or a repository, or why it goes
///
/// Lists every chain from a root (a tag, an untagged manifest) down to it, the shortest first. For garbage it says the
/// reason, and what is still there of whatever led to it. The answer is that of a gc with the same options that would
/// begin now.
///
/// Reads only, needs no evidence, and may run while people push. Times are in UTC.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    /// A digest or its first digits, a tag, an image or a repository
    ///
    /// Four digits at least (sha256:3f5a, 3f5a); REPOSITORY:TAG; REPOSITORY@DIGEST; or REPOSITORY. What is both the
    /// beginning of a digest and the name of a repository is the repository; write sha256: before the digits for the
    /// other. A path does as well: of a blob, or of a link or folder below repositories.
    #[arg(value_name = "DIGEST|NAME")]
    name: String,

    /// Answer for a gc that lets untagged manifests go too
    #[arg(short = 'm', long, help_heading = "What goes")]
    delete_untagged: bool,

    /// Answer for a gc that keeps what is younger than this
    #[arg(long, value_name = "D", help_heading = "What goes")]
    min_age: Option<Age>,

    #[command(flatten)]
    names: Names,

    /// All chains, not only the ten shortest
    #[arg(long, help_heading = "Output")]
    all: bool,

    /// All chains, whole digests, and warnings
    ///
    /// Lines get as long as it takes.
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

pub(crate) fn main(args: &Args) -> Result<Exit, Failure> {
    // Not by clap, which shows what it refuses as it is.
    let question: Question = args.name.parse().map_err(|why: String| Failure::usage(anyhow!(why)))?;
    let policy = args.names.policy(args.delete_untagged)?;
    let opened = args.target.open(None)?;
    let registry = &opened.registry;
    if registry.has_above(1, "lockfiles/database-in-use") {
        output::error("this registry keeps its metadata in a database: what its folders say may be long out of date");
    }
    let not_there = |error: NotThere| trash::with_hint(error, registry, &args.name);
    look_before(registry, &question).map_err(not_there)?;
    let now = Timestamp::now().as_second();
    let min_age = args.min_age.as_ref().map_or(0, |age| age.seconds);
    let options = collect::Options {
        policy: &policy,
        uploads_older_than: UPLOADS_OLDER_THAN,
        remove_empty_repositories: false,
        young_since: (min_age > 0).then(|| YoungSince(now.saturating_sub(min_age))),
        max_delete: None,
        last_repositories: None,
        scope: Scope::Everything,
        now,
    };
    let findings = Findings::default();
    let shown_progress = Shown::new(Look::suitable(false));
    let pool = target::pool(target::jobs(registry))?;
    let asked = shown(args.name.as_bytes());
    pool.install(|| {
        let knowledge = Knowledge::of(registry, options, &findings, &shown_progress)?;
        shown_progress.finish();
        let found = knowledge.find(&question).map_err(not_there)?;
        let findings = findings.into_sorted();
        let page =
            Page { args, knowledge: &knowledge, root: shown_path(registry.root()), asked: &asked, findings: &findings };
        page.print(&found)
    })
}

/// What is printed, and from what.
struct Page<'a> {
    args: &'a Args,
    knowledge: &'a Knowledge<'a>,
    root: String,
    /// What was asked about, as it may be shown.
    asked: &'a str,
    findings: &'a [Finding],
}

impl Page<'_> {
    fn print(&self, found: &Found) -> Result<Exit, Failure> {
        let style = human::Style {
            bold: output::colours(),
            verbose: self.args.verbose,
            most: if self.args.all || self.args.verbose { usize::MAX } else { MOST },
            width: output::width(),
        };
        let (findings, exit, printed) = match *found {
            Found::Repository(place) => {
                let summary = self.knowledge.summary(place);
                let findings = self.touching(&HashSet::from([&*summary.name]), None);
                let printed = output::print(|out| match self.args.format {
                    Format::Json => json::repository(out, self.document(&findings), &summary),
                    Format::Human => human::repository(out, &summary, style),
                });
                (findings, Exit::Done, printed)
            }
            _ => {
                let answer = self.knowledge.answer(found);
                let mut names: HashSet<&str> = answer.chains.iter().flat_map(|it| it.repository_names()).collect();
                names.extend(answer.traces.iter().filter_map(|trace| trace.repository.as_deref()));
                names.extend(answer.repository.as_deref());
                let hex = answer.digest.as_ref().map(|digest| digest.hex());
                let findings = self.touching(&names, hex.as_deref());
                let printed = output::print(|out| match self.args.format {
                    Format::Json => json::answer(out, self.document(&findings), &answer),
                    Format::Human => human::answer(out, self.knowledge, &answer, style),
                });
                (findings, exit_of(&answer), printed)
            }
        };
        printed.context("cannot write to standard output")?;
        let is_told = |severity| severity == Severity::Error || self.args.verbose && severity == Severity::Warning;
        for finding in findings.iter().filter(|finding| is_told(finding.severity)) {
            output::error(&format!("{}: {}", finding.path, finding.message));
        }
        let has_damage = findings.iter().any(|finding| finding.severity == Severity::Error);
        Ok(if has_damage { Exit::Damage } else { exit })
    }

    fn document<'a>(&'a self, findings: &'a [&'a Finding]) -> json::Document<'a> {
        json::Document {
            knowledge: self.knowledge,
            root: self.root.clone(),
            asked: self.asked,
            delete_untagged: self.args.delete_untagged,
            findings,
        }
    }

    /// The findings that touch the question: those about the repositories that lead there or did, about the digest
    /// itself, and those that are about no repository, for they may be about any.
    fn touching(&self, repositories: &HashSet<&str>, hex: Option<&str>) -> Vec<&Finding> {
        let is_about = |finding: &&Finding| match &finding.repository {
            Some(name) => {
                let names_it = |hex: &str| finding.path.contains(hex) || finding.message.contains(hex);
                repositories.contains(&**name) || hex.is_some_and(names_it)
            }
            None => finding.severity != Severity::Info,
        };
        self.findings.iter().filter(is_about).collect()
    }
}

/// An image that cannot be pulled is damage.
fn exit_of(answer: &Answer<'_>) -> Exit {
    let is_whole = answer.state != State::Missing && answer.problem.is_none();
    if is_whole || answer.tags() == 0 { Exit::Done } else { Exit::Damage }
}
