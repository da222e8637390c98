//! `regsweep trash list`: which runs have something in their trash, and what.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use regsweep::finding::{FindingKind, Findings, Severity};
use regsweep::layout::Item;
use regsweep::plan::ActionKind;
use regsweep::report::human::{bytes, counted, kind, wrap};
use regsweep::sweep::{Run, Runs, State};
use serde::Serialize;

use super::{Exit, Failure, Format, chosen};
use crate::cli::output;
use crate::cli::target::Target;

/// The columns that a person gets, terminal or not.
const WIDTH: usize = 80;

/// A run that has something in its trash, as it is listed.
#[derive(Debug, Serialize)]
struct Listed {
    run: String,
    /// `None` where the journal of an old version does not say.
    command: Option<&'static str>,
    /// The word for the [`State`].
    state: &'static str,
    began_at: Option<String>,
    /// How many things it moved.
    items: u64,
    /// The bytes of the blobs and uploads among them.
    bytes: u64,
    /// What lies in it; `None` if nobody asked.
    contents: Option<Vec<Content>>,
}

/// A thing in a trash.
#[derive(Debug, Serialize)]
struct Content {
    kind: ActionKind,
    repository: Option<String>,
    /// A tag's, or an upload's.
    name: Option<String>,
    digest: Option<String>,
}

#[derive(Debug, Serialize)]
struct List {
    schema: &'static str,
    runs: Vec<Listed>,
}

pub(super) fn list(target: &Target, names: &[String], verbose: bool, format: Format) -> Result<Exit, Failure> {
    let opened = target.open(None)?;
    let runs = Runs::of(&opened.registry).context("cannot list the runs")?;
    let has_trash = |run: &Run| run.state() != State::Finished;
    let chosen = match names {
        [] => runs.list().context("cannot list the runs")?.into_iter().filter(has_trash).collect(),
        names => chosen(&runs, names, has_trash)?,
    };
    let findings = Findings::default();
    let listed: Vec<Listed> = chosen.iter().map(|run| listed(run, verbose, &findings)).collect();
    output::print(|out| match format {
        Format::Json => {
            serde_json::to_writer(&mut *out, &List { schema: "regsweep.trash/1", runs: listed })?;
            writeln!(out)
        }
        Format::Human if listed.is_empty() => writeln!(out, "the trash is empty"),
        Format::Human => table(out, &listed),
    })
    .context("cannot write to standard output")?;
    let unseen = findings.into_sorted();
    for finding in &unseen {
        output::error(&format!("{}: {}", finding.path, finding.message));
    }
    Ok(if unseen.is_empty() { Exit::Done } else { Exit::Failed })
}

fn listed(run: &Run, verbose: bool, findings: &Findings) -> Listed {
    let (items, bytes) = run.progress.swept.unwrap_or_default();
    // A time and nothing else: somebody may have edited the journal.
    let began = run.progress.began.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
    let contents = verbose.then(|| contents(run, findings));
    Listed {
        run: run.id.to_string(),
        command: command(run),
        state: word(run.state()),
        began_at: began.map(|began| began.to_string()),
        items,
        bytes,
        contents,
    }
}

/// The command that made a run, if it is one that makes runs: somebody may have edited the journal.
fn command(run: &Run) -> Option<&'static str> {
    let said = run.progress.command.as_deref();
    ["gc", "rm", "check"].into_iter().find(|known| said == Some(*known))
}

/// What lies in a run's trash. What cannot be seen is a finding.
fn contents(run: &Run, findings: &Findings) -> Vec<Content> {
    let unseen = |path: &Path, why: String| findings.add(Severity::Error, FindingKind::Unreadable, None, path, why);
    match run.contents() {
        Ok(seen) => {
            for (path, why) in seen.strange {
                unseen(&path, why);
            }
            let mut contents: Vec<Content> = seen.items.iter().map(content).collect();
            // Names first, as in the plan; the items come in the order of their paths.
            contents.sort_by_key(|content| content.kind as u8);
            contents
        }
        Err(error) => {
            unseen(Path::new(run.id.as_str()), error.to_string());
            Vec::new()
        }
    }
}

fn content(item: &Item) -> Content {
    let (kind, repository, name, digest) = match item {
        Item::Tag(repository, tag) => (ActionKind::Tag, Some(repository), Some(tag.to_string()), None),
        Item::TagHistory(repository, tag, digest) => {
            (ActionKind::TagHistory, Some(repository), Some(tag.to_string()), Some(digest))
        }
        Item::Revision(repository, digest) => (ActionKind::Revision, Some(repository), None, Some(digest)),
        Item::LayerLink(repository, digest) => (ActionKind::LayerLink, Some(repository), None, Some(digest)),
        Item::Upload(repository, upload) => (ActionKind::Upload, Some(repository), Some(upload.to_string()), None),
        Item::Blob(digest) => (ActionKind::Blob, None, None, Some(digest)),
    };
    Content { kind, repository: repository.map(ToString::to_string), name, digest: digest.map(ToString::to_string) }
}

/// The word for a state.
fn word(state: State) -> &'static str {
    match state {
        State::Kept => "kept",
        State::Unpurged => "unpurged",
        State::CutOff => "cut-off",
        State::HalfPurged => "half-purged",
        State::Foreign => "foreign",
        State::Finished => "finished",
    }
}

/// What is to be known of a run that is not simply kept.
fn remark(state: &str) -> Option<&'static str> {
    match state {
        "unpurged" => Some("it ended before its trash was deleted: it can be restored until the next gc deletes it"),
        "cut-off" => Some("it was cut off: the next gc puts back what it had moved"),
        "half-purged" => Some("it ended while its trash was deleted: the next gc deletes the rest"),
        "foreign" => Some("it was made by another version of regsweep, which has to be used for it"),
        _ => None,
    }
}

fn table(out: &mut dyn Write, runs: &[Listed]) -> io::Result<()> {
    row(out, ["RUN", "COMMAND", "STATE", "THINGS", "BYTES"])?;
    for run in runs {
        let is_known = matches!(run.state, "kept" | "unpurged");
        let or_none = |text: String| if is_known { text } else { "-".to_owned() };
        let things = or_none(indicatif::HumanCount(run.items).to_string());
        row(out, [&run.run, run.command.unwrap_or("-"), run.state, &things, &or_none(bytes(run.bytes))])?;
        if let Some(text) = remark(run.state) {
            wrap(text, WIDTH - 2).iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        }
        for content in run.contents.iter().flatten() {
            writeln!(out, "  {}", told(content))?;
        }
    }
    Ok(())
}

/// One thing on a line.
fn told(content: &Content) -> String {
    let Content { kind: what, repository, name, digest } = content;
    let mut line = format!("{:<12}", kind(*what));
    if let Some(repository) = repository {
        line.push_str(&format!(" {repository}"));
    }
    if let Some(name) = name {
        line.push(if *what == ActionKind::Upload { ' ' } else { ':' });
        line.push_str(name);
    }
    if let Some(digest) = digest {
        line.push_str(&format!(" {digest}"));
    }
    line
}

fn row(out: &mut dyn Write, [run, command, state, things, size]: [&str; 5]) -> io::Result<()> {
    let line = format!("{run:<28}  {command:<7}  {state:<11} {things:>10} {size:>12}");
    writeln!(out, "{}", line.trim_end())
}

/// The tags that lie in a run's trash, for whoever wants to know what restoring it brings back.
pub(super) fn tags(run: &Run) -> io::Result<Vec<String>> {
    let tags = run.contents()?.items.into_iter().filter_map(|item| match item {
        Item::Tag(repository, tag) => Some(format!("{repository}:{tag}")),
        _ => None,
    });
    Ok(tags.collect())
}

/// A run, for a person who has to choose one.
pub(super) fn in_a_line(run: &Run) -> String {
    let (items, size) = run.progress.swept.unwrap_or_default();
    let command = command(run).unwrap_or("a run");
    format!("{} ({command}, {}, {})", run.id, counted(items, "thing", "things"), bytes(size))
}
