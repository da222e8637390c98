//! A tree as often as one is needed, what is known of it, and the judges of what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regsweep::finding::Finding;
use regsweep::seam::{Answer, Kind, Seam};
use serde_json::Value;
use walkdir::WalkDir;

use crate::disk::Disk;
use crate::runs::{self, Work, gc, quarantine};
use crate::support::formats::{halves, is_digest};
use crate::support::inside::Nth;
use crate::support::tree::Tree;

/// A tree, and what an undisturbed run makes of it.
pub(crate) struct Scene {
    /// Before any run.
    pub(crate) disk: Disk,
    /// After a run with `--quarantine`.
    pub(crate) aside: Disk,
    /// What every tag can deliver.
    pub(crate) facts: BTreeSet<String>,
    /// What refers to something that is not there, before any run.
    dangling: BTreeSet<String>,
    pub(crate) objects: BTreeSet<String>,
    /// What is left after an undisturbed run.
    pub(crate) end: BTreeSet<String>,
    /// What an undisturbed run finds.
    pub(crate) findings: Vec<Finding>,
    labels: BTreeMap<String, String>,
}

pub(crate) static RICH: LazyLock<Scene> = LazyLock::new(|| Scene::of(crate::rich));
pub(crate) static LITTLE: LazyLock<Scene> = LazyLock::new(|| Scene::of(crate::little));

impl Scene {
    pub(crate) fn of(build: fn(&Tree)) -> Self {
        let tree = Tree::in_memory();
        build(&tree);
        let mut scene = Self {
            disk: Disk::of(&tree.root()),
            aside: Disk::default(),
            facts: tree.deliverable(false),
            dangling: dangling(&tree),
            objects: tree.objects(),
            end: BTreeSet::new(),
            findings: Vec::new(),
            labels: tree.labels(),
        };
        let tree = scene.tree();
        let done = gc(&tree, Seam::default());
        assert_eq!(done.complaint, None);
        (scene.end, scene.findings) = (tree.objects(), done.findings);
        scene.nothing_is_lost(&tree, "undisturbed");
        let tree = scene.tree();
        assert_eq!(quarantine(&tree, Seam::default()).complaint, None);
        scene.aside = Disk::of(&tree.root());
        assert!(scene.end.len() < scene.objects.len() && !scene.facts.is_empty());
        scene
    }

    /// A fresh tree.
    pub(crate) fn tree(&self) -> Tree {
        self.tree_of(&self.disk)
    }

    pub(crate) fn tree_of(&self, disk: &Disk) -> Tree {
        let tree = Tree::in_memory().labelled(&self.labels);
        disk.write_to(&tree.root());
        tree
    }

    /// How many calls of these kinds are made of a disk by some work that nothing disturbs.
    pub(crate) fn count(&self, disk: &Disk, counted: fn(Kind) -> bool, work: Work) -> usize {
        let once = || {
            let counter = Nth::of(counted, |_, _| Answer::Go);
            let done = work(&self.tree_of(disk), counter.seam());
            assert_eq!(done.complaint, None);
            counter.count()
        };
        let count = once();
        assert_eq!(count, once(), "the n-th call is the same each time");
        count
    }

    /// Everything that a tag could deliver it still can.
    pub(crate) fn nothing_is_lost(&self, tree: &Tree, what: &str) {
        let now = tree.deliverable(false);
        let lost: Vec<String> = self.facts.difference(&now).map(|fact| tree.explain(fact)).collect();
        assert!(lost.is_empty(), "{what}: LOST: {lost:#?}");
    }

    /// References die before what they refer to, and come back after it.
    pub(crate) fn nothing_dangles(&self, tree: &Tree, what: &str) {
        let now = dangling(tree);
        let new: Vec<String> = now.difference(&self.dangling).map(|fact| tree.explain(fact)).collect();
        assert!(new.is_empty(), "{what}: refers to what is gone: {new:#?}");
    }

    /// Whatever was cut off here: nothing is lost; a dry run changes nothing; the next run says what it found and ends
    /// where an undisturbed one ends; and the one after that has nothing to do.
    pub(crate) fn survives(&self, tree: &Tree, what: &str) {
        self.nothing_is_lost(tree, what);
        let before = Disk::of(&tree.root());
        let dry = runs::dry_run(tree);
        assert!(before == Disk::of(&tree.root()), "{what}: the dry run has changed something");
        let moved = runs::trashes(tree);
        let is_uncommitted =
            |(trash, progress): &(PathBuf, runs::Progress)| progress.swept.is_none() && holds_any(trash);
        if moved.iter().any(is_uncommitted) {
            assert!(dry.tells_of_an_unfinished_run(), "{what}: the dry run does not say that a run was cut off");
        }
        self.ends_as(tree, &self.end, what);
    }

    /// The same without the dry run, and with another end.
    pub(crate) fn ends_as(&self, tree: &Tree, end: &BTreeSet<String>, what: &str) {
        self.runs_to(tree, end, what);
        self.nothing_is_lost(tree, what);
    }

    /// The next run ends complete, leaves exactly these objects, and says what was cut off before it; the one after it
    /// finds nothing.
    pub(crate) fn runs_to(&self, tree: &Tree, end: &BTreeSet<String>, what: &str) {
        self.next_run_ends_at(tree, end, what);
        let again = gc(tree, Seam::default());
        assert_eq!(again.complaint, None, "{what}");
        assert!(!again.tells_of_an_unfinished_run(), "{what}: {:#?}", again.findings);
        assert_eq!(again.planned, Some(0), "{what}: a further run finds nothing");
    }

    fn next_run_ends_at(&self, tree: &Tree, end: &BTreeSet<String>, what: &str) {
        let moved = runs::trashes(tree).iter().any(|(trash, progress)| {
            let is_kept = progress.swept.is_some() && progress.quarantine;
            holds_any(trash) && !is_kept
        });
        let next = gc(tree, Seam::default());
        assert_eq!(next.complaint, None, "{what}: {:#?}", next.findings);
        if moved {
            assert!(next.tells_of_an_unfinished_run(), "{what}: nothing is said of the run that was cut off");
        }
        self.is_at(tree, end, what);
    }

    /// The next run ends as an undisturbed one does; whether the one after it finds anything is not asked.
    pub(crate) fn next_run_ends(&self, tree: &Tree, what: &str) {
        self.next_run_ends_at(tree, &self.end, what);
        self.nothing_is_lost(tree, what);
    }

    /// The tree holds these objects, and no trash is left that the next run would have to do something about.
    pub(crate) fn is_at(&self, tree: &Tree, end: &BTreeSet<String>, what: &str) {
        let left = tree.objects();
        let explained = |objects: Vec<&String>| objects.iter().map(|it| tree.explain(it)).collect::<Vec<_>>();
        let surplus = explained(left.difference(end).collect());
        let missing = explained(end.difference(&left).collect());
        assert!(surplus.is_empty() && missing.is_empty(), "{what}: left over {surplus:#?}, missing {missing:#?}");
        for (trash, progress) in runs::trashes(tree) {
            assert!(progress.quarantine && progress.swept.is_some(), "{what}: {} is still there", trash.display());
        }
    }
}

/// Whether anything was moved into this trash: folders that only lead to something do not count, folders of digests do.
pub(crate) fn holds_any(trash: &Path) -> bool {
    let is_thing = |path: &Path| path.is_file() || path.file_name().is_some_and(|name| name.len() >= 64);
    WalkDir::new(trash).into_iter().any(|entry| is_thing(entry.unwrap().path()))
}

/// Everything in the tree that refers to something which is not there. Which child an index has is left out: an index
/// and its children go in any order.
fn dangling(tree: &Tree) -> BTreeSet<String> {
    let repositories = tree.repositories();
    let has_data = |digest: &str| tree.data(digest).is_file();
    let mut dangling = BTreeSet::new();
    for entry in WalkDir::new(&repositories).into_iter().map(Result::unwrap) {
        if entry.file_name() != "link" {
            continue;
        }
        let path = entry.path().strip_prefix(&repositories).unwrap().to_str().unwrap();
        let target = fs::read_to_string(entry.path()).unwrap();
        let mut lacks = |what: &str| _ = dangling.insert(format!("{path} lacks {what}"));
        if !is_digest(&target) {
            continue;
        }
        if let Some((name, _)) = path.split_once("/_manifests/tags/") {
            if !tree.repository(name).revision(&target).join("link").is_file() {
                lacks("its revision");
            }
        } else if let Some((name, _)) = path.split_once("/_manifests/revisions/") {
            if !has_data(&target) {
                lacks("its manifest");
            }
            let manifest = fs::read(tree.data(&target)).unwrap_or_default();
            for blob in blobs_of(&serde_json::from_slice(&manifest).unwrap_or_default()) {
                let (algorithm, hex) = halves(&blob);
                let layer = repositories.join(name).join("_layers").join(algorithm).join(hex);
                if !layer.join("link").is_file() || !has_data(&blob) {
                    lacks(&blob);
                }
            }
        } else if !has_data(&target) {
            lacks("its blob");
        }
    }
    dangling
}

/// Config and layers of a manifest, by all the names that they have had.
fn blobs_of(manifest: &Value) -> Vec<String> {
    let lists = ["layers", "blobs", "fsLayers"].iter().filter_map(|list| manifest[list].as_array()).flatten();
    let all = lists.chain([&manifest["config"]]).filter_map(|blob| {
        blob["digest"].as_str().or_else(|| blob["blobSum"].as_str()).filter(|digest| is_digest(digest))
    });
    all.map(str::to_owned).collect()
}
