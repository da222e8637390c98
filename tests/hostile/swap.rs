//! Folders that are swapped while a run is at work, at any call that it makes: for a symbolic link to the same folder
//! outside, for another folder, for a file, for nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use regsweep::finding::Findings;
use regsweep::progress::Meter;
use regsweep::registry::Registry;
use regsweep::seam::{Answer, Operation, Seam};
use regsweep::sweep::{self, Runs};

use crate::support::fingerprint::{Fingerprint, fingerprint};
use crate::support::formats::halves;
use crate::support::inside::{Nth, gc_inside, on_one_thread, options};
use crate::support::tree::{Manifest, Tree};
use crate::{Seeded, cut_off};

/// What stands in the place of a folder afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// A symbolic link to a copy of it outside.
    Link,
    /// A copy of it.
    Copy,
    Empty,
    File,
    Nothing,
}

/// What leads outside is what matters most.
const KINDS: [For; 7] = [For::Link, For::Link, For::Link, For::Copy, For::Empty, For::File, For::Nothing];

/// Tags that stay, and with them everything that a run can take: a tag that was deleted by hand, tag history, an
/// untagged revision, stray layers, an upload, a repository of which nothing is left, orphans.
struct Scene {
    tree: Tree,
    web: Manifest,
    old: Manifest,
}

impl Scene {
    fn new() -> Self {
        let tree = Tree::in_memory();
        let web = tree.repository("team/web");
        let first = web.image_with_layers("v1", &["base", "first"]);
        let image = web.image_with_layers("v1", &["base", "second"]);
        let child = Manifest::docker("child", &["base", "child"]);
        web.push(&child);
        web.index("multi", &[&child]);
        let old = web.untagged("old");
        let by_hand = web.image_with_layers("by-hand", &["base", "by hand"]);
        web.delete_by_hand("by-hand", &by_hand);
        web.stray_layer("stray");
        web.upload("stale", std::time::Duration::from_secs(9_000_000));
        tree.repository("gone").untagged("whole repository");
        tree.repository("other").image_with_layers("v1", &["base", "other"]);
        tree.orphan("orphan");
        assert_ne!(first.digest, image.digest);
        Self { tree, web: image, old }
    }

    /// Every folder that is swapped, relative to `v2`; `RUN` stands for the name of the run.
    fn targets(&self) -> Vec<String> {
        let (_, v1) = halves(&self.web.digest);
        let (_, old) = halves(&self.old.digest);
        let (_, base) = halves(&self.web.blobs[1].digest);
        let (_, stray) = halves(&self.old.blobs[1].digest);
        let web = "repositories/team/web";
        let trash = "_regsweep/runs/RUN/trash";
        [
            "blobs".into(),
            "blobs/sha256".into(),
            format!("blobs/sha256/{}", &old[..2]),
            format!("blobs/sha256/{}/{old}", &old[..2]),
            format!("blobs/sha256/{}/{v1}", &v1[..2]),
            "repositories".into(),
            "repositories/team".into(),
            web.into(),
            format!("{web}/_manifests"),
            format!("{web}/_manifests/revisions"),
            format!("{web}/_manifests/revisions/sha256"),
            format!("{web}/_manifests/revisions/sha256/{old}"),
            format!("{web}/_manifests/revisions/sha256/{v1}"),
            format!("{web}/_manifests/tags"),
            format!("{web}/_manifests/tags/v1"),
            format!("{web}/_manifests/tags/v1/index"),
            format!("{web}/_manifests/tags/by-hand"),
            format!("{web}/_layers"),
            format!("{web}/_layers/sha256"),
            format!("{web}/_layers/sha256/{base}"),
            format!("{web}/_layers/sha256/{stray}"),
            format!("{web}/_uploads"),
            format!("{web}/_uploads/stale"),
            "_regsweep".into(),
            "_regsweep/runs".into(),
            "_regsweep/runs/RUN".into(),
            trash.into(),
            format!("{trash}/blobs"),
            format!("{trash}/blobs/sha256/{}", &old[..2]),
            format!("{trash}/repositories"),
            format!("{trash}/{web}/_manifests"),
            format!("{trash}/{web}/_layers/sha256"),
        ]
        .to_vec()
    }

    /// The tags that the swapped folder itself carries: their own links, or a manifest of theirs. Where that is
    /// replaced by something else, whoever replaced it has taken the tag away.
    fn carried_by(&self, target: &str) -> BTreeSet<String> {
        let v2 = self.tree.v2();
        let mut carried = BTreeSet::new();
        for fact in self.tree.deliverable(false) {
            let (who, digest) = match fact.split_once(" gets manifest ") {
                Some(parts) => parts,
                None => continue,
            };
            let (repository, tag) = who.split_once(':').unwrap();
            let repository = self.tree.repository(repository);
            let needed = [repository.current(tag), repository.revision(digest).join("link"), self.tree.data(digest)];
            if needed.iter().any(|path| path.strip_prefix(&v2).unwrap().starts_with(target)) {
                carried.insert(who.to_owned());
            }
        }
        carried
    }
}

/// A swap that was made.
struct Swapped {
    place: PathBuf,
    aside: PathBuf,
    outside: PathBuf,
    before: Fingerprint,
}

impl Swapped {
    /// Swaps a folder, if it is there.
    fn swap(tree: &Path, v2: &Path, target: &str, kind: For) -> Option<Swapped> {
        let run = || fs::read_dir(v2.join("_regsweep/runs")).ok()?.next().map(|entry| entry.unwrap().file_name());
        let target =
            if target.contains("RUN") { target.replace("RUN", run()?.to_str().unwrap()) } else { target.to_owned() };
        let (place, aside, outside) = (v2.join(target), tree.join("aside"), tree.join("outside"));
        fs::symlink_metadata(&place).ok().filter(fs::Metadata::is_dir)?;
        let copy = |to: &Path| copy(&place, to);
        copy(&outside);
        let copied = tree.join("copied");
        if kind == For::Copy {
            copy(&copied);
        }
        fs::rename(&place, &aside).unwrap();
        match kind {
            For::Link => symlink(&outside, &place).unwrap(),
            For::Copy => fs::rename(&copied, &place).unwrap(),
            For::Empty => fs::create_dir(&place).unwrap(),
            For::File => fs::write(&place, "a file").unwrap(),
            For::Nothing => {}
        }
        let before = fingerprint(&outside);
        Some(Swapped { place, aside, outside, before })
    }

    /// Outside nothing has changed, to the last byte and time. Then the folder comes back.
    fn check_and_swap_back(self, case: &str) {
        let changes = self.before.changes_to(&fingerprint(&self.outside));
        assert_eq!(changes, Vec::<String>::new(), "{case}: OUTSIDE WAS TOUCHED");
        match fs::symlink_metadata(&self.place) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&self.place).unwrap(),
            Ok(_) => fs::remove_file(&self.place).unwrap(),
            Err(_) => {}
        }
        if let Some(parent) = self.place.parent()
            && fs::create_dir_all(parent).is_ok()
        {
            fs::rename(&self.aside, &self.place).unwrap();
        }
    }
}

/// A copy of a folder, by this process: another one would cost more than everything else here.
fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let copied = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir(copied).unwrap();
        } else {
            fs::copy(entry.path(), copied).unwrap();
        }
    }
}

/// What is at work while a folder is swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Gc,
    /// The next run, after one that was cut off.
    Recovery,
    Restore,
    Purge,
}

impl Work {
    /// What came before it.
    fn prepare(self, scene: &Scene) {
        if self != Work::Gc {
            let options = regsweep::run::Options { quarantine: true, ..options() };
            let (ended, _) = gc_inside(&scene.tree.root(), Seam::default(), options);
            assert_eq!(ended.complaint, None);
        }
        if self == Work::Recovery {
            let run = fs::read_dir(scene.tree.regsweep().join("runs")).unwrap().next().unwrap().unwrap();
            cut_off(&run.path());
        }
    }

    /// The work itself; what it complains about must be one line.
    fn run(self, tree: &Tree, seam: Seam) -> Option<String> {
        if matches!(self, Work::Gc | Work::Recovery) {
            return gc_inside(&tree.root(), seam, options()).0.complaint.map(|complaint| complaint.text);
        }
        let registry = Registry::open_with(&tree.root(), seam).unwrap();
        let work = || -> Result<(), String> {
            let runs = Runs::of(&registry).map_err(|error| error.to_string())?;
            let all = runs.list().map_err(|error| error.to_string())?;
            for run in &all {
                if self == Work::Restore {
                    runs.put_back(run, &Meter::new()).map_err(|error| error.to_string())?;
                } else {
                    sweep::purge(&runs, run, &[], 1, &Meter::new(), &Findings::default()).unwrap();
                }
            }
            Ok(())
        };
        on_one_thread(work).err()
    }
}

/// One swap, at the n-th call of the work. `None` where the folder was not there at that moment.
fn swapped_at(work: Work, target: &str, kind: For, nth: usize) -> Option<bool> {
    let case = format!("{work:?}: {target} for {kind:?} at call {nth}");
    println!("{case}");
    let scene = Scene::new();
    let delivered = scene.tree.deliverable(false);
    let carried = match kind {
        For::Link | For::Copy => BTreeSet::new(),
        For::Empty | For::File | For::Nothing => scene.carried_by(target),
    };
    work.prepare(&scene);
    let swapped = Arc::new(Mutex::new(None));
    let hook = {
        let (swapped, target) = (Arc::clone(&swapped), target.to_owned());
        let (beside, v2) = (scene.tree.beside().to_owned(), scene.tree.v2());
        move |call, _: &Operation<'_>| {
            if call == nth {
                *swapped.lock().unwrap() = Swapped::swap(&beside, &v2, &target, kind);
            }
            Answer::Go
        }
    };
    let complaint = work.run(&scene.tree, Nth::of(|_| true, hook).seam());
    let complains = complaint.is_some();
    if let Some(text) = complaint {
        assert!(!text.is_empty() && !text.contains('\n'), "{case}: not one line: {text:?}");
    }
    let swapped = swapped.lock().unwrap().take()?;
    swapped.check_and_swap_back(&case);

    let (ended, findings) = gc_inside(&scene.tree.root(), Seam::default(), options());
    let now = scene.tree.deliverable(false);
    let lost: Vec<String> = delivered
        .difference(&now)
        .filter(|fact| !carried.iter().any(|who| fact.starts_with(&format!("{who} "))))
        .map(|fact| scene.tree.explain(fact))
        .collect();
    let why = ended.complaint.map(|complaint| complaint.text);
    assert!(lost.is_empty(), "{case}: LOST {lost:#?}\n{why:?}\n{findings:#?}");
    Some(complains)
}

/// Every folder, at calls that are spread over the whole work.
fn swap_everything(work: Work, seed: u64) {
    let scene = Scene::new();
    work.prepare(&scene);
    let counter = Nth::of(|_| true, |_, _| Answer::Go);
    assert_eq!(work.run(&scene.tree, counter.seam()), None);
    let calls = counter.count();
    let targets = scene.targets();
    drop(scene);
    let mut random = Seeded::new(seed);
    let (mut made, mut absent, mut complained) = (0, 0, 0);
    for (place, target) in targets.iter().enumerate() {
        // A run in every way; what is shorter, and much the same, by a link and in one way more.
        let ways: &[For] = if work == Work::Gc { &KINDS } else { &[For::Link, KINDS[3 + place % 4]] };
        for (part, &kind) in ways.iter().enumerate() {
            // One in each part of the work, so that none is left out by chance.
            let part = (part + place) % ways.len();
            let (from, to) = (calls * part / ways.len(), calls * (part + 1) / ways.len());
            match swapped_at(work, target, kind, from + random.below((to - from).max(1))) {
                Some(complains) => {
                    made += 1;
                    complained += usize::from(complains);
                }
                None => absent += 1,
            }
        }
    }
    println!(
        "hostile: {work:?}: {calls} calls, {} folders, {made} swaps, {complained} of them stopped the work, {absent} \
         where the folder was not there",
        targets.len()
    );
    assert!(made > absent, "most swaps were made");
}

#[test]
fn folders_swapped_during_a_run() {
    swap_everything(Work::Gc, 1);
}

#[test]
fn folders_swapped_while_a_run_that_was_cut_off_is_put_back() {
    swap_everything(Work::Recovery, 2);
}

#[test]
fn folders_swapped_during_trash_restore() {
    swap_everything(Work::Restore, 3);
}

#[test]
fn folders_swapped_during_trash_purge() {
    swap_everything(Work::Purge, 4);
}
