//! What is done to a tree: a run, a dry run, and what `trash restore` and `trash purge` do after their evidence.

use std::path::PathBuf;

use jiff::Timestamp;
use regsweep::finding::{Finding, Findings};
use regsweep::plan::Totals;
use regsweep::progress::{Meter, Unwatched};
use regsweep::registry::Registry;
use regsweep::run::{self, Ended};
use regsweep::seam::{Answer, Kind, Seam};
pub(crate) use regsweep::sweep::Progress;
use regsweep::sweep::{self, Runs, State};

use crate::support::inside::{Nth, gc_inside, on_one_thread, options};
use crate::support::tree::Tree;

/// How something that changes a tree has ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// Why it is not what was asked for.
    pub(crate) complaint: Option<String>,
    pub(crate) findings: Vec<Finding>,
    /// Whether it deleted what an earlier run had left in its trash.
    pub(crate) has_purged_another: bool,
    /// What a run says that it removed.
    pub(crate) removed: Totals,
    /// How many actions it had planned; `None` if it did not come to that.
    pub(crate) planned: Option<usize>,
}

impl Done {
    pub(crate) fn tells_of_an_unfinished_run(&self) -> bool {
        let is_told = |finding: &Finding| finding.kind == regsweep::finding::FindingKind::UnfinishedRun;
        self.has_purged_another || self.findings.iter().any(is_told)
    }

    fn of_run((ended, findings): (Ended, Vec<Finding>)) -> Self {
        let mut complaint = ended.complaint.map(|complaint| complaint.text);
        if ended.swept.is_some_and(|swept| !swept.is_complete) {
            complaint.get_or_insert_with(|| "not complete".to_owned());
        }
        let planned = ended.collection.map(|collection| collection.plan.actions().count());
        let has_purged_another = !ended.earlier.is_empty();
        Self { complaint, findings, has_purged_another, removed: ended.removed, planned }
    }

    fn failed(why: &str) -> Self {
        let complaint = Some(why.to_owned());
        Self { complaint, findings: Vec::new(), has_purged_another: false, removed: Totals::default(), planned: None }
    }
}

/// Something that changes a tree, with somebody at the seam.
pub(crate) type Work = fn(&Tree, Seam) -> Done;

/// `gc --delete-untagged --remove-empty-repositories`.
pub(crate) fn gc(tree: &Tree, seam: Seam) -> Done {
    Done::of_run(gc_inside(&tree.root(), seam, options()))
}

/// The same with `--quarantine`.
pub(crate) fn quarantine(tree: &Tree, seam: Seam) -> Done {
    Done::of_run(gc_inside(&tree.root(), seam, run::Options { quarantine: true, ..options() }))
}

/// A dry run, which may not even ask for a change.
pub(crate) fn dry_run(tree: &Tree) -> Done {
    let changes = Nth::of(Kind::changes, |_, _| Answer::Fail(rustix::io::Errno::ROFS));
    let registry = Registry::open_with(&tree.root(), changes.seam()).unwrap();
    let findings = Findings::default();
    let ended = on_one_thread(|| run::dry_run(&registry, options(), &findings, &Unwatched));
    assert_eq!(changes.count(), 0, "a dry run asks for no change");
    Done::of_run((ended, findings.into_sorted()))
}

/// What `trash restore` does with the one run that can be restored.
pub(crate) fn restore(tree: &Tree, seam: Seam) -> Done {
    with_the_kept_run(tree, seam, |runs, run, done| match runs.put_back(run, &Meter::new()) {
        Err(error) => done.complaint = Some(error.to_string()),
        Ok(back) => done.complaint = back.failed.first().map(|(path, why)| format!("{}: {why}", path.display())),
    })
}

/// What `trash purge` does with it.
pub(crate) fn purge(tree: &Tree, seam: Seam) -> Done {
    with_the_kept_run(tree, seam, |runs, run, done| {
        let findings = Findings::default();
        sweep::purge(runs, run, &[], 1, &Meter::new(), &findings).unwrap();
        done.findings = findings.into_sorted();
    })
}

fn with_the_kept_run(tree: &Tree, seam: Seam, act: impl Fn(&Runs, &sweep::Run, &mut Done) + Sync) -> Done {
    let root = tree.root();
    on_one_thread(|| {
        let registry = Registry::open_with(&root, seam).unwrap();
        let lock = match sweep::acquire(&registry, Timestamp::now()) {
            Ok(lock) => lock,
            Err(error) => return Done::failed(&error.to_string()),
        };
        let mut done = Done { complaint: None, ..Done::failed("") };
        match Runs::of(&registry).and_then(|runs| Ok((runs.list()?, runs))) {
            Err(error) => done.complaint = Some(error.to_string()),
            Ok((all, runs)) => match all.iter().find(|run| run.can_be_restored()) {
                None => done.complaint = Some("no run can be restored or purged".to_owned()),
                Some(run) => act(&runs, run, &mut done),
            },
        }
        drop(lock);
        done
    })
}

/// What the next run would do about each run.
pub(crate) fn states(tree: &Tree) -> Vec<State> {
    let runs = Runs::of(&Registry::open(&tree.root()).unwrap()).unwrap().list().unwrap();
    runs.iter().map(sweep::Run::state).collect()
}

/// The trash of every run that has one, with how far the run came.
pub(crate) fn trashes(tree: &Tree) -> Vec<(PathBuf, sweep::Progress)> {
    let runs = Runs::of(&Registry::open(&tree.root()).unwrap()).unwrap().list().unwrap();
    let of = |run: sweep::Run| (tree.regsweep().join("runs").join(run.id.as_str()).join("trash"), run.progress);
    runs.into_iter().map(of).filter(|(trash, _)| trash.exists()).collect()
}
