//! `regsweep trash`: what runs with `--quarantine` have put aside.

mod hint;
mod list;
mod restore;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, anyhow};
pub(crate) use hint::with_hint;
use jiff::Timestamp;
use regsweep::exit::Exit;
use regsweep::finding::Findings;
use regsweep::halt::{Halt, Halted};
use regsweep::progress::{Phase, Watch};
use regsweep::registry::Registry;
use regsweep::report::human::{bytes, counted};
use regsweep::run::Outcome;
use regsweep::sweep::{self, LockError, Remembered, Run, RunId, Runs, State};
use regsweep::threads::MOST;
use restore::Wish;

use super::Failure;
use super::limits::{Limits, Load};
use super::output;
use super::progress::{Look, Shown};
use super::target::{self, Age, Evidence, Opened, Target};
use super::work::Began;

/// The name of the last run that will do.
const LATEST: &str = "latest";

const LIST_EXAMPLES: &str = "\
Examples:
  Which runs can be taken back, and how many bytes do they hold?
    regsweep trash list /var/lib/registry

  What exactly lies in the trash of the last one?
    regsweep trash list -v /var/lib/registry latest";

const RESTORE_EXAMPLES: &str = "\
Examples:
  What would come back?
    regsweep trash restore --dry-run /var/lib/registry latest

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
        /// Only these runs [default: all]
        ///
        /// Their names, the beginning of one that no other has, or `latest`.
        #[arg(value_name = "RUN")]
        runs: Vec<String>,
        /// List what lies in them as well, a thing a line
        #[arg(short, long, help_heading = "Output")]
        verbose: bool,
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
        /// The run: its name, the beginning of that, or `latest`
        ///
        /// `trash list` has the names. The beginning must be one that no other run has.
        #[arg(value_name = "RUN")]
        run: Option<String>,
        /// Say what would come back, and change nothing
        #[arg(short = 'd', long)]
        dry_run: bool,
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
        ///
        /// Their names, or the beginning of one that no other has.
        #[arg(value_name = "RUN")]
        runs: Vec<String>,
        /// Say what would be deleted, and change nothing
        #[arg(short = 'd', long)]
        dry_run: bool,
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
        Command::List { target, runs, verbose, format } => {
            let (target, runs) = sort_out(target, runs);
            list::list(&target, &runs, *verbose, *format)
        }
        Command::Restore { target, run, allow_missing, dry_run, load, evidence } => {
            let (target, runs) = sort_out(target, run.as_slice());
            load.step_back();
            let opened = target.open_with(evidence.config(), load.seam())?;
            let wish = Wish { allow_missing: *allow_missing, dry_run: *dry_run };
            restore::restore(&opened, runs.first().map(String::as_str), wish, evidence)
        }
        Command::Purge { target, runs, dry_run, older_than, limits, load } => {
            let halt = limits.halt(Began::now());
            let (target, runs) = sort_out(target, runs);
            load.step_back();
            let opened = target.open_with(None, load.seam())?;
            purge(&opened, &Choice { names: &runs, older_than: older_than.as_ref() }, halt, *dry_run)
        }
    }
}

/// How much of a run's name has to be given, in characters: its day.
const SHORTEST: usize = 8;

/// The run of this name, or whose name begins so, if it will do.
fn find(runs: &Runs, name: &str, will_do: impl Fn(&Run) -> bool) -> Result<Run, Failure> {
    let mut all = runs.list().context("cannot list the runs")?;
    let shown = regsweep::layout::shown(name.as_bytes());
    let begins_so = |run: &Run| run.id.as_str().starts_with(name);
    let place = if name == LATEST {
        all.iter().rposition(&will_do)
    } else if let Some(place) = all.iter().position(|run| run.id.as_str() == name) {
        Some(place)
    } else {
        let alike: Vec<usize> =
            (0..all.len()).filter(|place| begins_so(&all[*place]) && will_do(&all[*place])).collect();
        match &*alike {
            [only] if name.len() >= SHORTEST => Some(*only),
            [_, ..] if name.len() < SHORTEST => {
                let text = format!("'{shown}' is too little of a run's name: give at least its day, {SHORTEST} digits");
                return Err(Failure::usage(anyhow!(text)));
            }
            [_, _, ..] => {
                let names: Vec<&str> = alike.iter().map(|place| all[*place].id.as_str()).collect();
                let text = format!("several runs begin with '{shown}': {}", names.join(", "));
                return Err(Failure::usage(anyhow!(text)));
            }
            _ => None,
        }
    };
    let known = place.map(|place| all.swap_remove(place));
    let why = match known.as_ref().map(Run::state) {
        Some(State::Kept | State::Unpurged) => String::new(),
        Some(State::CutOff) => format!("run '{shown}' was cut off: the next `regsweep gc` puts back what it had moved"),
        Some(State::HalfPurged) => {
            format!("some of the trash of run '{shown}' is deleted already: it cannot be restored")
        }
        Some(State::Foreign) => {
            format!("run '{shown}' was made by another version of regsweep, which has to be used for it")
        }
        None if name == LATEST => "no run has anything in its trash that will do".to_owned(),
        Some(State::Finished) | None => {
            format!("no run '{shown}' has anything in its trash; `regsweep trash list` names those that do")
        }
    };
    known.filter(will_do).ok_or_else(|| Failure::usage(anyhow!(why)))
}

/// These runs, each once.
fn chosen(runs: &Runs, names: &[String], will_do: impl Fn(&Run) -> bool) -> Result<Vec<Run>, Failure> {
    let mut chosen: Vec<Run> = Vec::new();
    for name in names {
        let run = find(runs, name, &will_do)?;
        if chosen.iter().all(|other| other.id != run.id) {
            chosen.push(run);
        }
    }
    Ok(chosen)
}

/// REGISTRY and runs in the order that they were meant: `restore RUN REGISTRY` reads as well as `restore REGISTRY RUN`.
fn sort_out(target: &Target, names: &[String]) -> (Target, Vec<String>) {
    let registry = &target.registry;
    let (Some(first), Some((last, others))) = (registry.to_str(), names.split_last()) else {
        return (Target { registry: registry.clone() }, names.to_vec());
    };
    let is_swapped =
        (RunId::parse(first).is_some() || first == LATEST) && !registry.exists() && Path::new(last).exists();
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
    line.exit_code = Some(exit.code());
    line.say(message.as_deref());
    line.outcome = Some(Outcome::of_exit(exit).name().to_owned());
    if let Err(error) = sweep::record(registry, &line) {
        output::error(&format!("this run cannot be remembered: {error}"));
    }
    drop(lock);
    ended
}

/// What `trash purge` is to delete.
struct Choice<'a> {
    names: &'a [String],
    older_than: Option<&'a Age>,
}

impl Choice<'_> {
    fn of(&self, runs: &Runs) -> Result<Vec<Run>, Failure> {
        let mut chosen = match self.names {
            [] => runs.list().context("cannot list the runs")?.into_iter().filter(Run::can_be_purged).collect(),
            names => chosen(runs, names, Run::can_be_purged)?,
        };
        let now = Timestamp::now().as_second();
        let is_old_enough = |run: &Run| {
            let Some(age) = self.older_than else { return true };
            // A run that does not say when it began is kept: nobody knows how old it is.
            let began = run.progress.began.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
            began.is_some_and(|began| now - began.as_second() >= age.seconds)
        };
        chosen.retain(is_old_enough);
        Ok(chosen)
    }
}

fn purge(opened: &Opened, choice: &Choice<'_>, halt: Halt, dry_run: bool) -> Result<Exit, Failure> {
    let runs = Runs::of(&opened.registry).context("cannot open the registry's folder")?;
    let chosen = choice.of(&runs)?;
    if chosen.is_empty() || dry_run {
        let lines = chosen.iter().map(|run| format!("would be deleted: {}", list::in_a_line(run)));
        let lines: Vec<String> = if chosen.is_empty() { vec!["nothing to purge".to_owned()] } else { lines.collect() };
        output::print(|out| lines.iter().try_for_each(|line| writeln!(out, "{line}")))
            .context("cannot write to standard output")?;
        return Ok(Exit::Done);
    }
    // Looked at again: another run may have restored or purged one meanwhile.
    under_the_lock("trash purge", &opened.registry, |line| delete(&runs, &choice.of(&runs)?, halt, line))
}

fn delete(runs: &Runs, chosen: &[Run], halt: Halt, line: &mut Remembered) -> Result<Exit, Failure> {
    let findings = Findings::default();
    let shown = Shown::until(Look::suitable(false), halt)?;
    let mut halted = None;
    let mut lines = Vec::new();
    line.bytes = Some(0);
    let pool = target::pool(MOST)?;
    for run in chosen {
        let meter = shown.begin(Phase::Purge);
        let (items, size) = run.progress.swept.unwrap_or_default();
        meter.expect(items);
        let purged = pool.install(|| sweep::purge(runs, run, &[], MOST, &meter, &findings));
        halted = purged.err();
        line.items = Some(line.items.unwrap_or_default().saturating_add(meter.done()));
        let deleted = format!("run {}: {} deleted", run.id, counted(meter.done(), "thing", "things"));
        if halted.is_some() {
            // How many bytes these had nobody has counted.
            line.bytes = None;
            lines.push(format!("{deleted} of {items}"));
            break;
        }
        if run.can_be_restored() {
            line.bytes = line.bytes.map(|counted| counted.saturating_add(size));
            lines.push(format!("{deleted} ({})", bytes(size)));
        } else {
            // Some of it had gone before.
            line.bytes = None;
            lines.push(deleted);
        }
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
