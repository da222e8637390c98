//! `regsweep trash`: what runs with `--quarantine` have put aside.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use regsweep::cache::schedule::STATE;
use regsweep::finding::Findings;
use regsweep::halt::{Halt, Halted};
use regsweep::layout::shown_path;
use regsweep::progress::{Phase, Watch};
use regsweep::registry::Registry;
use regsweep::report::human::{bytes, counted};
use regsweep::sweep::{self, LockError, Remembered, Run, RunId, Runs, State};
use regsweep::threads::MOST;
use serde::Serialize;

use super::limits::{Limits, Load};
use super::output;
use super::progress::{Look, Shown};
use super::target::{self, Age, Evidence, Opened, Target};
use super::work::Began;
use super::{Exit, Failure};

const LIST_EXAMPLES: &str = "\
Examples:
  Which runs can be taken back, and how many bytes do they hold?
    regsweep trash list /var/lib/registry";

const RESTORE_EXAMPLES: &str = "\
Examples:
  Take a run back, while the registry is read-only:
    regsweep trash restore --registry http://127.0.0.1:5000 \\
      /var/lib/registry 20260315T021501Z-0004711";

const PURGE_EXAMPLES: &str = "\
Examples:
  Free the space of everything that has been in the trash for a week:
    regsweep trash purge --older-than 7d /var/lib/registry

  Of one run:
    regsweep trash purge /var/lib/registry 20260315T021501Z-0004711";

/// List, restore or purge what `gc --quarantine` has put aside
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the runs that still have something in their trash
    #[command(after_long_help = LIST_EXAMPLES)]
    List {
        #[command(flatten)]
        target: Target,
        /// What to print: human or json
        #[arg(long, value_name = "FORMAT", default_value = "human", hide_possible_values = true)]
        #[arg(help_heading = "Output")]
        format: Format,
    },
    /// Put everything back that a run has put aside, bit for bit
    ///
    /// Blobs first, then layer links, revisions and tags. What the registry has written anew meanwhile stays as it is.
    /// Like everything that changes the registry it needs evidence that the registry is read-only.
    #[command(after_long_help = RESTORE_EXAMPLES)]
    Restore {
        #[command(flatten)]
        target: Target,
        /// The run, as `trash list` names it
        #[arg(value_name = "RUN")]
        run: String,
        /// Put images back as well that cannot be pulled then
        ///
        /// Later runs have taken something that they need, so they cannot be pulled until they are pushed again.
        #[arg(long)]
        allow_missing: bool,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        evidence: Evidence,
    },
    /// Delete what runs have put aside, for good
    #[command(after_long_help = PURGE_EXAMPLES)]
    Purge {
        #[command(flatten)]
        target: Target,
        /// Only these runs [default: all]
        #[arg(value_name = "RUN")]
        runs: Vec<String>,
        /// Only runs that began longer ago than this
        #[arg(long, value_name = "D")]
        older_than: Option<Age>,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        load: Load,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table for a person
    Human,
    /// One JSON document
    Json,
}

pub(crate) fn main(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::List { target, format } => list(target, *format),
        Command::Restore { target, run, allow_missing, load, evidence } => {
            let (target, runs) = sort_out(target, std::slice::from_ref(run));
            load.step_back();
            let opened = target.open_with(evidence.config(), load.seam())?;
            restore(&opened, &runs[0], *allow_missing, evidence)
        }
        Command::Purge { target, runs, older_than, limits, load } => {
            let halt = limits.halt(Began::now());
            let (target, runs) = sort_out(target, runs);
            load.step_back();
            let opened = target.open_with(None, load.seam())?;
            purge(&opened, &runs, older_than.as_ref(), halt)
        }
    }
}

/// A run that has something in its trash, as it is listed.
#[derive(Debug, Serialize)]
struct Listed {
    run: String,
    /// `kept`: it can be restored or purged. `cut-off`: the next `gc` puts it back. `half-purged`: the next `gc`
    /// deletes the rest. `foreign`: another version of regsweep has made it.
    state: &'static str,
    began_at: Option<String>,
    /// How many things it moved.
    items: u64,
    /// The bytes of the blobs and uploads among them.
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct List {
    schema: &'static str,
    runs: Vec<Listed>,
}

fn list(target: &Target, format: Format) -> Result<Exit, Failure> {
    let opened = target.open(None)?;
    let all = Runs::of(&opened.registry).and_then(|runs| runs.list()).context("cannot list the runs")?;
    let listed: Vec<Listed> = all
        .iter()
        .filter_map(|run| {
            let (items, bytes) = run.progress.swept.unwrap_or_default();
            let state = match run.state() {
                State::Kept => "kept",
                State::CutOff => "cut-off",
                State::HalfPurged => "half-purged",
                State::Foreign => "foreign",
                State::Finished => return None,
            };
            // A time and nothing else: somebody may have edited the journal.
            let began = run.progress.began.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
            let began_at = began.map(|began| began.to_string());
            Some(Listed { run: run.id.to_string(), state, began_at, items, bytes })
        })
        .collect();
    output::print(|out| match format {
        Format::Json => {
            serde_json::to_writer(&mut *out, &List { schema: "regsweep.trash/1", runs: listed })?;
            writeln!(out)
        }
        Format::Human if listed.is_empty() => writeln!(out, "the trash is empty"),
        Format::Human => {
            for run in &listed {
                let about = match run.state {
                    "kept" => format!("{:>15} {:>12}", counted(run.items, "thing", "things"), bytes(run.bytes)),
                    "cut-off" => "the next gc puts it back".to_owned(),
                    "foreign" => "made by another version of regsweep".to_owned(),
                    _ => "the next gc deletes the rest".to_owned(),
                };
                writeln!(out, "{:<28} {:<11} {about}", run.run, run.state)?;
            }
            Ok(())
        }
    })
    .context("cannot write to standard output")?;
    Ok(Exit::Done)
}

/// The run of this name, if it is in a state that will do.
fn find(runs: &Runs, name: &str, will_do: impl Fn(State) -> bool) -> Result<Run, Failure> {
    let known = RunId::parse(name).map(|id| runs.find(&id)).transpose().context("cannot list the runs")?.flatten();
    let name = regsweep::layout::shown(name.as_bytes());
    let why = match known.as_ref().map(Run::state) {
        Some(State::Kept) => String::new(),
        Some(State::CutOff) => format!("run '{name}' was cut off: the next `regsweep gc` puts back what it had moved"),
        Some(State::HalfPurged) => format!("the trash of run '{name}' is being deleted: it cannot be restored"),
        Some(State::Foreign) => {
            format!("run '{name}' was made by another version of regsweep, which has to be used for it")
        }
        Some(State::Finished) | None => {
            format!("no run '{name}' has anything in its trash; `regsweep trash list` names those that do")
        }
    };
    known.filter(|run| will_do(run.state())).ok_or_else(|| Failure::usage(anyhow!(why)))
}

/// REGISTRY and runs in the order that they were meant: `restore RUN REGISTRY` reads as well as `restore REGISTRY RUN`.
fn sort_out(target: &Target, names: &[String]) -> (Target, Vec<String>) {
    let registry = &target.registry;
    let (Some(first), Some((last, others))) = (registry.to_str(), names.split_last()) else {
        return (Target { registry: registry.clone() }, names.to_vec());
    };
    let is_swapped = RunId::parse(first).is_some() && !registry.exists() && Path::new(last).exists();
    if !is_swapped {
        return (Target { registry: registry.clone() }, names.to_vec());
    }
    let runs = std::iter::once(first.to_owned()).chain(others.iter().cloned()).collect();
    (Target { registry: PathBuf::from(last) }, runs)
}

fn lock(registry: &Registry) -> Result<sweep::Lock, Failure> {
    sweep::acquire(registry, Timestamp::now()).map_err(|error| match error {
        LockError::Held(_) => Failure::refused(error),
        LockError::Io(_) => error.into(),
    })
}

/// Takes the lock, does something, and remembers how that ended: in what it was given it may note what it did.
fn under_the_lock(
    command: &str,
    registry: &Registry,
    act: impl FnOnce(&mut Remembered) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let (at, began) = (Timestamp::now(), Instant::now());
    let lock = lock(registry)?;
    let mut line = Remembered { items: Some(0), ..Remembered::of(command, at.to_string()) };
    let ended = act(&mut line);
    let (exit, message) = match &ended {
        Ok(exit) => (*exit, None),
        Err(failure) => (failure.exit, Some(format!("{:#}", failure.error))),
    };
    line.seconds = Some(began.elapsed().as_secs_f64());
    line.exit_code = Some(exit as u8);
    line.say(message.as_deref());
    let outcome = match exit {
        Exit::Done => sweep::COMPLETE,
        Exit::Usage | Exit::Refused => "refused",
        Exit::Failed | Exit::Damage | Exit::Stopped => "incomplete",
    };
    line.outcome = Some(outcome.to_owned());
    if let Err(error) = sweep::record(registry, &line) {
        output::error(&format!("this run cannot be remembered: {error}"));
    }
    drop(lock);
    ended
}

fn restore(opened: &Opened, name: &str, allow_missing: bool, evidence: &Evidence) -> Result<Exit, Failure> {
    let runs = Runs::of(&opened.registry).context("cannot open the registry's folder")?;
    let is_kept = |state| state == State::Kept;
    find(&runs, name, is_kept)?;
    let read_only = evidence.gather(opened)?;
    if !read_only.proven {
        output::explain(&read_only.refusal(opened.registry.root()));
        return Ok(Exit::Refused);
    }
    under_the_lock("trash restore", &opened.registry, |line| {
        // Looked at again: another run may have restored or purged it meanwhile.
        let run = find(&runs, name, is_kept)?;
        put_back(opened, &runs, &run, allow_missing, line)
    })
}

fn put_back(
    opened: &Opened,
    runs: &Runs,
    run: &Run,
    allow_missing: bool,
    line: &mut Remembered,
) -> Result<Exit, Failure> {
    let pool = target::pool(target::jobs(&opened.registry))?;
    // What is missing in a cache is fetched again: that is no reason to refuse, and not even worth a word.
    let is_cache =
        opened.is_configured_as_cache().unwrap_or_else(|| opened.registry.storage_root_with(STATE).is_some());
    let lacking = match pool.install(|| sweep::lacking(&opened.registry, runs, &run.id)) {
        _ if is_cache => Vec::new(),
        Ok(lacking) => lacking,
        Err(unseen) if allow_missing => {
            output::error(&format!("nobody knows whether all of it can be pulled then: {unseen}"));
            Vec::new()
        }
        Err(unseen) => {
            let text = format!("cannot see what the images of run {} need ({unseen})", run.id);
            return Err(Failure::from(anyhow!("{text}; --allow-missing puts everything back all the same")));
        }
    };
    if let Some(first) = lacking.first() {
        let text = format!(
            "{} of run {} cannot be pulled any more, because later runs have taken something that they need: {}@{} lacks \
             {}",
            counted(lacking.len() as u64, "image", "images"),
            run.id,
            first.repository,
            first.manifest,
            first.lacks
        );
        if !allow_missing {
            return Err(Failure::refused(anyhow!("{text}. --allow-missing puts everything back all the same")));
        }
        output::error(&text);
    }
    // A signal changes nothing here, but for a second one: half of a run put back is no state to leave it in.
    let shown = Shown::until(Look::suitable(false), Halt::never())?;
    let back = pool.install(|| runs.put_back(run, &shown.begin(Phase::Restore)));
    shown.finish();
    let back = back.with_context(|| format!("cannot put back what run {} has put aside", run.id))?;
    line.items = Some(back.items);
    for (path, why) in &back.failed {
        output::error(&format!("not put back: {}: {why}", shown_path(path)));
    }
    if let Some(why) = &back.unscheduled {
        output::error(&format!("scheduler-state.json lacks what is back ({why}): it never expires by itself"));
    }
    output::print(|out| {
        writeln!(out, "{} put back from run {}", counted(back.items, "thing was", "things were"), run.id)?;
        match back.anew {
            0 => Ok(()),
            anew => writeln!(out, "{} had been written anew meanwhile", counted(anew, "more", "more")),
        }
    })
    .context("cannot write to standard output")?;
    Ok(if back.failed.is_empty() { Exit::Done } else { Exit::Failed })
}

fn purge(opened: &Opened, names: &[String], older_than: Option<&Age>, halt: Halt) -> Result<Exit, Failure> {
    let runs = Runs::of(&opened.registry).context("cannot open the registry's folder")?;
    under_the_lock("trash purge", &opened.registry, |line| delete(&runs, names, older_than, halt, line))
}

fn delete(
    runs: &Runs,
    names: &[String],
    older_than: Option<&Age>,
    halt: Halt,
    line: &mut Remembered,
) -> Result<Exit, Failure> {
    // One that was cut off is finished as well.
    let may_be_purged = |state| matches!(state, State::Kept | State::HalfPurged);
    let chosen: Vec<Run> = if names.is_empty() {
        let all = runs.list().context("cannot list the runs")?;
        all.into_iter().filter(|run| may_be_purged(run.state())).collect()
    } else {
        names.iter().map(|name| find(runs, name, may_be_purged)).collect::<Result<_, _>>()?
    };
    let now = Timestamp::now().as_second();
    let is_old_enough = |run: &Run| {
        let Some(age) = older_than else { return true };
        // A run that does not say when it began is kept: nobody knows how old it is.
        let began = run.progress.began.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
        began.is_some_and(|began| now - began.as_second() >= age.seconds)
    };
    let findings = Findings::default();
    let shown = Shown::until(Look::suitable(false), halt)?;
    let mut halted = None;
    let mut lines = Vec::new();
    let pool = target::pool(MOST)?;
    for run in chosen.iter().filter(|run| is_old_enough(run)) {
        let meter = shown.begin(Phase::Purge);
        let (items, size) = run.progress.swept.unwrap_or_default();
        meter.expect(items);
        let purged = pool.install(|| sweep::purge(runs, run, &[], MOST, &meter, &findings));
        halted = purged.err();
        line.items = Some(line.items.unwrap_or_default() + meter.done());
        let deleted = format!("run {}: {} deleted", run.id, counted(meter.done(), "thing", "things"));
        if halted.is_some() {
            // How many bytes these had nobody has counted.
            lines.push(format!("{deleted} of {items}"));
            break;
        }
        line.bytes = Some(line.bytes.unwrap_or_default() + size);
        lines.push(format!("{deleted} ({})", bytes(size)));
    }
    shown.finish();
    if lines.is_empty() {
        lines.push("nothing to purge".to_owned());
    }
    output::print(|out| lines.iter().try_for_each(|line| writeln!(out, "{line}")))
        .context("cannot write to standard output")?;
    let kept = findings.into_sorted();
    for finding in &kept {
        output::error(&format!("{}: {}", finding.path, finding.message));
    }
    if let Some(Halted(cause)) = halted {
        output::error(&format!("{cause}; what is left is deleted when this is run again"));
        return Ok(Exit::Stopped);
    }
    Ok(if kept.is_empty() { Exit::Done } else { Exit::Failed })
}
