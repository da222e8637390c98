//! `regsweep runs`: what ran on this registry, when, and how it ended.

use std::io::{self, Write};

use anyhow::Context as _;
use jiff::Timestamp;
use regsweep::layout::shown;
use regsweep::plan::Totals;
use regsweep::report::human::{bytes, counted, duration, wrap};
use regsweep::sweep::{self, Fate, Past, PastRun};
use serde::Serialize;

use super::output;
use super::target::Target;
use super::{Exit, Failure};

/// The columns that a person gets, terminal or not.
const WIDTH: usize = 80;

const EXAMPLES: &str = "\
Examples:
  What happened in the last nights?
    regsweep runs --last 10 /var/lib/registry";

/// List the runs that were, and how they ended
///
/// When, what, how much, how long. Every run that changed something or was to is remembered in the registry's folder
/// _regsweep: those of `gc`, `rm`, `check --repair` and `trash`, refused ones too once they had the lock. The newest
/// come last. Changes nothing, and works on a read-only mount and while a run is at work.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    /// Only the last N runs
    #[arg(long, value_name = "N")]
    last: Option<usize>,

    /// What to print: human or json
    #[arg(long, value_name = "FORMAT", default_value = "human", hide_possible_values = true, help_heading = "Output")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table for a person
    Human,
    /// One JSON document
    Json,
}

#[derive(Serialize)]
struct List<'a> {
    schema: &'static str,
    at_work: Option<AtWork>,
    runs: Vec<Listed<'a>>,
}

/// Who holds the lock.
#[derive(Serialize)]
struct AtWork {
    pid: Option<u32>,
    host: Option<String>,
    since: Option<String>,
}

#[derive(Serialize)]
struct Listed<'a> {
    run: Option<&'a str>,
    command: Option<String>,
    tool: Option<String>,
    began_at: Option<String>,
    seconds: Option<f64>,
    window_seconds: Option<f64>,
    outcome: Option<String>,
    exit_code: Option<u8>,
    items: Option<u64>,
    bytes: Option<u64>,
    removed: Option<Totals>,
    quarantine: Option<bool>,
    fate: Option<Fate>,
    message: Option<String>,
}

/// Somebody may have edited the history.
fn safe(text: Option<&str>) -> Option<String> {
    text.map(|text| shown(text.as_bytes()))
}

impl<'a> Listed<'a> {
    fn of(past: &'a PastRun) -> Listed<'a> {
        let line = &past.line;
        let is_time = |seconds: &f64| seconds.is_finite() && *seconds >= 0.0;
        Listed {
            // Of a folder, whose names are checked, or what somebody has written.
            run: line.run.as_deref().filter(|run| sweep::RunId::parse(run).is_some()),
            command: safe(line.command.as_deref()),
            tool: safe(line.tool.as_deref()),
            began_at: line.at.parse::<Timestamp>().ok().map(|at| at.to_string()),
            seconds: line.seconds.filter(is_time),
            window_seconds: line.window_seconds.filter(is_time),
            outcome: match &line.outcome {
                // A line of an old version: those of completed runs were all that it wrote.
                None if past.is_remembered => Some(sweep::COMPLETE.to_owned()),
                outcome => safe(outcome.as_deref()),
            },
            exit_code: line.exit_code,
            items: line.items,
            bytes: line.bytes,
            removed: line.removed,
            quarantine: line.quarantine,
            fate: past.fate,
            message: safe(line.message.as_deref()),
        }
    }

    /// How it ended, in a word.
    fn ended(&self) -> &'static str {
        match (self.exit_code, self.fate) {
            (Some(0), _) => "done",
            (Some(3), _) => "damage",
            (Some(4), _) => "refused",
            (Some(5), _) => "stopped",
            (Some(_), _) => "failed",
            (None, Some(Fate::AtWork)) => "at work",
            (None, Some(Fate::CutOff | Fate::Unpurged | Fate::HalfPurged | Fate::Restored))
                if self.outcome.is_none() =>
            {
                "cut off"
            }
            (None, _) if self.outcome.as_deref() == Some(sweep::COMPLETE) => "done",
            (None, _) => "-",
        }
    }

    /// What became of what it moved.
    fn became(&self) -> Option<String> {
        let run = self.run?;
        Some(match self.fate? {
            Fate::Kept => format!("kept as run {run}: trash restore, trash purge"),
            Fate::CutOff => format!("run {run} was cut off: the next gc puts back what it had moved"),
            Fate::Unpurged => {
                format!(
                    "run {run} left all it moved away in its trash: the next gc deletes it, trash restore, trash purge"
                )
            }
            Fate::HalfPurged => format!("the trash of run {run} is half deleted: the next gc deletes the rest"),
            Fate::Foreign => format!("run {run} was made by another version of regsweep"),
            Fate::Restored => format!("run {run} was put back"),
            Fate::AtWork => format!("run {run} is at work now"),
            Fate::Purged => return None,
        })
    }
}

pub(crate) fn main(args: &Args) -> Result<Exit, Failure> {
    let opened = args.target.open(None)?;
    let past = sweep::past(&opened.registry).context("cannot read what ran here")?;
    if past.not_understood > 0 {
        let lines = counted(past.not_understood, "line", "lines");
        output::error(&format!("{lines} of _regsweep/history.jsonl cannot be understood"));
    }
    let left_out = args.last.map_or(0, |last| past.runs.len().saturating_sub(last));
    let runs: Vec<Listed<'_>> = past.runs[left_out..].iter().map(Listed::of).collect();
    output::print(|out| match args.format {
        Format::Json => {
            let list = List { schema: "regsweep.runs/1", at_work: at_work(&past), runs };
            serde_json::to_writer(&mut *out, &list)?;
            writeln!(out)
        }
        Format::Human => table(out, &runs, &past),
    })
    .context("cannot write to standard output")?;
    Ok(if past.not_understood > 0 { Exit::Damage } else { Exit::Done })
}

fn at_work(past: &Past) -> Option<AtWork> {
    past.at_work.as_ref().map(|holder| match holder {
        Some(holder) => AtWork {
            pid: Some(holder.pid),
            host: safe(Some(&holder.host)),
            since: holder.since.parse::<Timestamp>().ok().map(|since| since.to_string()),
        },
        None => AtWork { pid: None, host: None, since: None },
    })
}

fn table(out: &mut dyn Write, runs: &[Listed<'_>], past: &Past) -> io::Result<()> {
    if runs.is_empty() {
        writeln!(out, "no run is remembered")?;
    } else {
        row(out, ["BEGAN (UTC)", "COMMAND", "ENDED", "REMOVED", "BYTES", "TOOK", "WINDOW"])?;
    }
    for run in runs {
        let none = || "-".to_owned();
        let when = run.began_at.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
        row(
            out,
            [
                &when.map_or_else(none, |at| at.strftime("%Y-%m-%d %H:%M").to_string()),
                &run.command.as_deref().unwrap_or("-").chars().take(13).collect::<String>(),
                run.ended(),
                &run.items.map_or_else(none, |items| indicatif::HumanCount(items).to_string()),
                &run.bytes.map_or_else(none, bytes),
                &run.seconds.map_or_else(none, time),
                &run.window_seconds.map_or_else(none, time),
            ],
        )?;
        for text in run.message.iter().chain(&run.became()) {
            wrap(text, WIDTH - 2).iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        }
    }
    match &past.at_work {
        Some(Some(holder)) => writeln!(out, "at work now: {holder}"),
        Some(None) => writeln!(out, "at work now: somebody who has not written who it is"),
        None => Ok(()),
    }
}

/// As short as its column is: in hours what has more than three digits of minutes.
fn time(seconds: f64) -> String {
    if seconds < 999.5 * 60.0 { duration(seconds) } else { format!("{:.0} h", seconds / 3600.0) }
}

/// What no run can have come to, and somebody has written there all the same, does not fit into its column.
fn row(out: &mut dyn Write, [when, command, ended, items, size, took, window]: [&str; 7]) -> io::Result<()> {
    let fits = |text, width| if str::chars(text).count() > width { "?" } else { text };
    let (items, took, window) = (fits(items, 10), fits(took, 7), fits(window, 7));
    let line = format!("{when:<16}  {command:<13}  {ended:<8} {items:>10} {size:>11} {took:>7} {window:>7}");
    writeln!(out, "{}", line.trim_end())
}
