//! `regsweep trash restore`: puts everything back that a run has put aside.

use anyhow::{Context as _, anyhow};
use regsweep::halt::Halt;
use regsweep::layout::shown_path;
use regsweep::progress::{Phase, Watch};
use regsweep::report::human::{bytes, counted};
use regsweep::sweep::{self, Remembered, Run, Runs};

use super::{Exit, Failure, find, list, under_the_lock};
use crate::cli::output;
use crate::cli::progress::{Look, Shown};
use crate::cli::target::{self, Evidence, Opened};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Images that cannot be pulled then go back as well.
    pub(super) allow_missing: bool,
    /// Nothing is to be changed.
    pub(super) dry_run: bool,
}

pub(super) fn restore(opened: &Opened, name: Option<&str>, wish: Wish, evidence: &Evidence) -> Result<Exit, Failure> {
    let runs = Runs::of(&opened.registry).context("cannot open the registry's folder")?;
    let Some(name) = name else { return Err(which(&runs)) };
    let run = find(&runs, name, Run::can_be_restored)?;
    if wish.dry_run {
        is_whole(opened, &runs, &run, wish)?;
        return tell(&run);
    }
    let read_only = evidence.gather(opened)?;
    if !read_only.proven {
        output::explain(&read_only.refusal(opened.registry.root()));
        return Ok(Exit::Refused);
    }
    under_the_lock("trash restore", &opened.registry, |line| {
        // Looked at again: another run may have restored or purged it meanwhile.
        let run = find(&runs, run.id.as_str(), Run::can_be_restored)?;
        is_whole(opened, &runs, &run, wish)?;
        put_back(opened, &runs, &run, line)
    })
}

/// Somebody has named none: these there are.
fn which(runs: &Runs) -> Failure {
    let all = match runs.list() {
        Ok(all) => all,
        Err(error) => return Failure::from(anyhow!(error).context("cannot list the runs")),
    };
    let lines: Vec<String> =
        all.iter().rev().filter(|run| run.can_be_restored()).map(|run| format!("  {}", list::in_a_line(run))).collect();
    Failure::usage(match &*lines {
        [] => anyhow!("which run? None has anything in its trash that can be restored"),
        lines => anyhow!("which run? `latest`, or one of these:\n{}", lines.join("\n")),
    })
}

/// What would come back.
fn tell(run: &Run) -> Result<Exit, Failure> {
    let tags = list::tags(run).with_context(|| format!("cannot see what lies in the trash of run {}", run.id))?;
    let (items, size) = run.progress.swept.unwrap_or_default();
    output::print(|out| {
        tags.iter().try_for_each(|tag| writeln!(out, "tag {tag}"))?;
        let things = counted(items, "thing", "things");
        let tags = match tags.len() as u64 {
            0 => String::new(),
            count => format!(", {} among them,", counted(count, "tag", "tags")),
        };
        writeln!(out, "dry run: {things} ({}){tags} would be put back from run {}", bytes(size), run.id)
    })
    .context("cannot write to standard output")?;
    Ok(Exit::Done)
}

/// Refuses to put back what cannot be pulled then.
fn is_whole(opened: &Opened, runs: &Runs, run: &Run, wish: Wish) -> Result<(), Failure> {
    // What is missing in a cache is fetched again: that is no reason to refuse, and not even worth a word.
    if opened.is_cache() {
        return Ok(());
    }
    let pool = target::pool(target::jobs(&opened.registry))?;
    let lacking = match pool.install(|| sweep::lacking(&opened.registry, runs, &run.id)) {
        Ok(lacking) => lacking,
        Err(unseen) if wish.allow_missing => {
            output::error(&format!("nobody knows whether all of it can be pulled then: {unseen}"));
            return Ok(());
        }
        Err(unseen) => {
            let text = format!("cannot see what the images of run {} need ({unseen})", run.id);
            return Err(Failure::from(anyhow!("{text}; --allow-missing puts everything back all the same")));
        }
    };
    let Some(first) = lacking.first() else { return Ok(()) };
    let mut text = format!(
        "{} of run {} cannot be pulled any more, because later runs have taken something that they need: {}@{} lacks {}",
        counted(lacking.len() as u64, "image", "images"),
        run.id,
        first.repository,
        first.manifest,
        first.lacks
    );
    if let Some(holder) = &first.lies_in {
        text.push_str(&format!(", which lies in the trash of run {holder}: restore that one first"));
    }
    if !wish.allow_missing {
        return Err(Failure::refused(anyhow!("{text}. --allow-missing puts everything back all the same")));
    }
    output::error(&text);
    Ok(())
}

fn put_back(opened: &Opened, runs: &Runs, run: &Run, line: &mut Remembered) -> Result<Exit, Failure> {
    let pool = target::pool(target::jobs(&opened.registry))?;
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
