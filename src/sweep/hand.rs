//! The hand that moves things away, and the tally of what is gone.
//!
//! It is told by the plan what goes, entry by entry, and knows nothing else: it never looks whether something else
//! could go as well. An entry that is gone already is no error; one that will not go is kept, with a finding that says
//! why. What goes before what is for [`sweep`](super::sweep) to say; only the order within a repository is kept here.

use std::collections::BTreeMap;
use std::io;
use std::ops::Index;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::disk::{self, Folder, Gone};
use super::movers::Movers;
use super::trash;
use crate::digest::Digest;
use crate::finding::{FindingKind, Findings, Severity};
use crate::halt::{Cause, Halt};
use crate::inventory::BlobSize;
use crate::layout::{
    INDEX, Item, LAYERS, LINK, MANIFESTS, REPOSITORIES, REVISIONS, RepositoryName, TAGS, UPLOADS, repository_dir,
};
use crate::plan::{BlobPlan, Plan, RepositoryPlan, Totals};
use crate::progress::Meter;

/// How many things a worker takes at a time.
const CHUNK: usize = 128;

/// The hand that moves things away.
pub(super) struct Hand<'a> {
    tree: &'a Folder,
    /// `None` if everything is deleted directly.
    pub(super) trash: Option<&'a Folder>,
    quarantine: bool,
    findings: &'a Findings,
    pub(super) tally: &'a Tally,
    /// What the plan names and is still there, with the reason.
    kept: Mutex<Vec<(PathBuf, String)>>,
    /// Every link folder that is gone.
    moved: Mutex<Vec<PathBuf>>,
    movers: Movers,
    halt: Halt,
    /// Whether something was left where it is because it is to end.
    is_cut: AtomicBool,
}

impl<'a> Hand<'a> {
    pub(super) fn new(
        tree: &'a Folder,
        trash: Option<&'a Folder>,
        quarantine: bool,
        findings: &'a Findings,
        tally: &'a Tally,
        halt: Halt,
    ) -> Self {
        Self {
            tree,
            trash,
            quarantine,
            findings,
            tally,
            kept: Mutex::default(),
            moved: Mutex::default(),
            movers: Movers::new(),
            halt,
            is_cut: AtomicBool::new(false),
        }
    }

    /// Whether to leave the rest where it is.
    fn is_halted(&self) -> bool {
        let is_due = self.halt.is_due();
        if is_due {
            self.is_cut.store(true, Ordering::Relaxed);
        }
        is_due
    }

    /// Why something was left where it is; nothing if all was done.
    pub(super) fn was_cut_by(&self) -> Option<Cause> {
        self.halt.cause().filter(|_| self.is_cut.load(Ordering::Relaxed))
    }

    /// The names of one repository: tags and their history, then revisions; and its uploads. Where one of them will not
    /// go, what it refers to stays as well: what is left must be whole. Says whether all are gone, so that layer links
    /// may follow.
    pub(super) fn names(&self, plan: &RepositoryPlan, meter: &Meter) -> bool {
        let folder = repository_dir(&plan.name);
        let tags = folder.join(MANIFESTS).join(TAGS);

        let names: Vec<String> = plan.tags.iter().map(|(tag, _)| tag.to_string()).collect();
        let mut all_gone = self.take_all(&tags, &names, meter, |way, _| bump(&self.tally[way].tags));

        let mut history: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
        for (tag, digest, _) in &plan.tag_history {
            let index = tags.join(tag.as_str()).join(INDEX).join(digest.algorithm().name());
            history.entry(index).or_default().push(digest.hex());
        }
        for (index, names) in &history {
            all_gone &= self.take_all(index, names, meter, |way, _| bump(&self.tally[way].tag_history));
        }

        let mut revisions_gone = all_gone;
        let revisions = by_algorithm(plan.revisions.iter().map(|(digest, _)| digest));
        for (algorithm, names) in revisions.iter().filter(|_| all_gone) {
            let revisions = folder.join(MANIFESTS).join(REVISIONS).join(algorithm);
            revisions_gone &= self.take_all(&revisions, names, meter, |way, _| bump(&self.tally[way].revisions));
        }

        let names: Vec<String> = plan.uploads.iter().map(|(upload, _)| upload.to_string()).collect();
        self.take_all(&folder.join(UPLOADS), &names, meter, |way, place| {
            bump(&self.tally[way].uploads);
            self.tally[way].upload_bytes.fetch_add(plan.uploads[place].1, Ordering::Relaxed);
        });
        revisions_gone
    }

    /// These layer links of a repository of which all names that the plan takes are gone.
    pub(super) fn layer_links<'d>(
        &self,
        repository: &RepositoryName,
        links: impl Iterator<Item = &'d Digest>,
        meter: &Meter,
    ) {
        for (algorithm, names) in &by_algorithm(links) {
            let layers = repository_dir(repository).join(LAYERS).join(algorithm);
            self.take_all(&layers, names, meter, |way, _| bump(&self.tally[way].layer_links));
        }
    }

    /// These blobs, in the order of their digests, shard by shard, side by side.
    pub(super) fn blobs(&self, blobs: &[&BlobPlan], meter: &Meter) {
        let shard = |blob: &BlobPlan| (blob.digest.algorithm(), blob.digest.as_bytes()[0]);
        blobs.par_chunk_by(|a, b| shard(a) == shard(b)).for_each(|blobs| {
            let path = Item::Blob(blobs[0].digest.clone()).path();
            let Some(shard) = path.parent() else { return };
            let names: Vec<String> = blobs.iter().map(|blob| blob.digest.hex()).collect();
            self.take_all(shard, &names, meter, |way, place| {
                self.tally[way].blob(blobs[place].size);
            });
        });
    }

    /// Takes entries of one folder away, and says whether none stayed; some do if it is to end meanwhile. `gone` is called
    /// with the place of each that was there and is gone, and the way that it went.
    fn take_all(&self, folder: &Path, names: &[String], meter: &Meter, gone: impl Fn(Way, usize) + Sync) -> bool {
        if names.is_empty() {
            return true;
        }
        if self.is_halted() {
            return false;
        }
        let from = match self.tree.open(folder) {
            Ok(Some(from)) => from,
            // Somebody took the whole folder away. That is what was to be reached, and the recheck will see it.
            Ok(None) => {
                meter.add(names.len() as u64);
                return true;
            }
            Err(error) => {
                names.iter().for_each(|name| self.keep(&folder.join(name), error.to_string()));
                meter.add(names.len() as u64);
                return false;
            }
        };
        let to = match self.trash.map(|trash| trash.make(folder)).transpose() {
            Ok(to) => to,
            Err(error) if disk::is_full(&error) && !self.quarantine => None,
            Err(error) => {
                names.iter().for_each(|name| self.keep(&folder.join(name), error.to_string()));
                meter.add(names.len() as u64);
                return false;
            }
        };
        let all_gone = AtomicBool::new(true);
        names.par_chunks(CHUNK).enumerate().for_each(|(chunk, names)| {
            let mut moved = to
                .as_ref()
                .map(|to| self.movers.move_all(&from, to, names.iter().map(Path::new), &self.halt).into_iter());
            let mut done = Vec::with_capacity(names.len());
            for (place, name) in names.iter().enumerate() {
                let tried = match &mut moved {
                    Some(moved) => moved.next().map(Some),
                    None => (!self.is_halted()).then_some(None),
                };
                let Some(tried) = tried else {
                    self.is_cut.store(true, Ordering::Relaxed);
                    all_gone.store(false, Ordering::Relaxed);
                    break;
                };
                match self.way_of(tried, &from, folder, Path::new(name)) {
                    Ok(Some(way)) => {
                        gone(way, chunk * CHUNK + place);
                        done.push(folder.join(name));
                    }
                    Ok(None) => {}
                    Err(why) => {
                        self.keep(&folder.join(name), why);
                        all_gone.store(false, Ordering::Relaxed);
                    }
                }
                meter.add(1);
            }
            // Blobs are many, and nobody asks for them again.
            if folder.starts_with(REPOSITORIES) {
                self.moved.lock().unwrap_or_else(PoisonError::into_inner).extend(done);
            }
        });
        all_gone.into_inner()
    }

    /// Which way an entry went, now that it was tried to move it: what cannot be moved is deleted directly, and so is
    /// everything where nothing was tried. Nothing if the entry was gone already.
    fn way_of(
        &self,
        moved: Option<io::Result<Gone>>,
        from: &Folder,
        folder: &Path,
        name: &Path,
    ) -> Result<Option<Way>, String> {
        let (way, gone) = match moved {
            Some(Ok(gone)) => (Way::Moved, gone),
            Some(Err(error)) if self.quarantine || !(disk::is_full(&error) || disk::is_other_device(&error)) => {
                return Err(error.to_string());
            }
            Some(Err(_)) | None => (Way::Deleted, trash::remove(from, name, &folder.join(name))?),
        };
        Ok((gone == Gone::Now).then_some(way))
    }

    /// Removes the empty folders of a repository of which nothing is left, and of the namespaces above it. What still
    /// holds something stays, whatever it is.
    pub(super) fn empty_folders(&self, repository: &RepositoryName) {
        let path = repository_dir(repository);
        let result = (|| {
            let Some(folder) = self.tree.open(&path)? else { return Ok(()) };
            for part in [MANIFESTS, LAYERS, UPLOADS] {
                if let Some(inner) = folder.open(Path::new(part))? {
                    remove_empty_below(&inner, trash::DEEPEST)?;
                    folder.remove_empty(Path::new(part))?;
                }
            }
            bump(&self.tally[Way::Deleted].repositories);
            let mut above = path.as_path();
            while let (Some(parent), Some(name)) = (above.parent(), above.file_name()) {
                if parent.as_os_str().is_empty() {
                    break;
                }
                let Some(folder) = self.tree.open(parent)? else { break };
                match folder.remove_empty(Path::new(name)) {
                    Ok(_) => above = parent,
                    // Another repository lies in it.
                    Err(error) if disk::is_occupied(&error) => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })();
        if let Err(error) = result {
            self.keep(&path, io::Error::to_string(&error));
        }
    }

    /// Writes the links that are to be mended, in their order, and says how many were, and whether all say now what they
    /// have to say.
    pub(super) fn mend(&self, plan: &Plan) -> (u64, bool) {
        let (mut mended, mut all) = (0, true);
        for mend in &plan.mends {
            match super::mend::write(self.tree, mend) {
                Ok(Gone::Now) => mended += 1,
                Ok(Gone::Before) => {}
                Err(why) => {
                    let path = mend.folder().join(LINK);
                    let message = format!("could not be written: {why}");
                    self.findings.add(Severity::Error, FindingKind::NotMended, None, &path, message);
                    self.kept().push((path, why.to_string()));
                    all = false;
                }
            }
        }
        (mended, all)
    }

    fn keep(&self, path: &Path, why: String) {
        let message = format!("could not be removed: {why}");
        self.findings.add(Severity::Error, FindingKind::NotRemoved, None, path, message);
        self.kept().push((path.to_owned(), why));
    }

    /// What the plan names and is still there, with the reason.
    pub(super) fn kept(&self) -> MutexGuard<'_, Vec<(PathBuf, String)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every link folder that is gone since this was asked last: they are handed over.
    pub(super) fn moved(&self) -> Vec<PathBuf> {
        std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Into the trash.
    Moved,
    /// For good.
    Deleted,
}

/// What is gone, by the way that it went.
#[derive(Debug, Default)]
pub(super) struct Tally {
    moved: Counters,
    deleted: Counters,
}

impl Index<Way> for Tally {
    type Output = Counters;

    fn index(&self, way: Way) -> &Counters {
        match way {
            Way::Moved => &self.moved,
            Way::Deleted => &self.deleted,
        }
    }
}

impl Tally {
    /// All that is gone.
    pub(super) fn totals(&self) -> Totals {
        self.moved.totals() + self.deleted.totals()
    }
}

/// Counted by many threads.
#[derive(Debug, Default)]
pub(super) struct Counters {
    tags: AtomicU64,
    tag_history: AtomicU64,
    revisions: AtomicU64,
    layer_links: AtomicU64,
    uploads: AtomicU64,
    upload_bytes: AtomicU64,
    blobs: AtomicU64,
    blob_bytes: AtomicU64,
    blob_disk_bytes: AtomicU64,
    repositories: AtomicU64,
}

impl Counters {
    pub(super) fn blob(&self, size: BlobSize) {
        self.blobs.fetch_add(1, Ordering::Relaxed);
        self.blob_bytes.fetch_add(size.bytes, Ordering::Relaxed);
        self.blob_disk_bytes.fetch_add(size.disk_bytes, Ordering::Relaxed);
    }

    /// How many things.
    pub(super) fn things(&self) -> u64 {
        let counters = [&self.tags, &self.tag_history, &self.revisions, &self.layer_links, &self.uploads, &self.blobs];
        counters.into_iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn totals(&self) -> Totals {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut totals = Totals::default();
        totals.tags.count = get(&self.tags);
        totals.tag_history.count = get(&self.tag_history);
        totals.revisions.count = get(&self.revisions);
        totals.layer_links.count = get(&self.layer_links);
        totals.uploads.count = get(&self.uploads);
        totals.uploads.bytes = get(&self.upload_bytes);
        totals.blobs.count = get(&self.blobs);
        totals.blobs.bytes = get(&self.blob_bytes);
        totals.blobs.disk_bytes = get(&self.blob_disk_bytes);
        totals.repositories.count = get(&self.repositories);
        totals
    }
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn by_algorithm<'a>(digests: impl Iterator<Item = &'a Digest>) -> BTreeMap<&'static str, Vec<String>> {
    let mut names: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for digest in digests {
        names.entry(digest.algorithm().name()).or_default().push(digest.hex());
    }
    names
}

/// Removes empty folders below this one, from the bottom up, so many levels of them. A folder that holds anything else
/// is an error.
fn remove_empty_below(folder: &Folder, levels: usize) -> io::Result<()> {
    let Some(levels) = levels.checked_sub(1) else { return Ok(()) };
    for (name, _) in folder.entries()? {
        let name = crate::layout::component(&name);
        if let Some(inner) = folder.open(name)? {
            remove_empty_below(&inner, levels)?;
        }
        folder.remove_empty(name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build trees")]

    use rustix::io::Errno;

    use super::*;
    use crate::digest::{Algorithm, Digest};
    use crate::layout::{TagName, UploadId};
    use crate::plan::Reason;
    use crate::registry::Dir;
    use crate::seam::{self, Answer, Interceptor, Meet, Operation, Seam};

    #[test]
    fn references_go_before_what_they_refer_to() {
        let name = RepositoryName::parse("team/app").unwrap();
        let [deleted, moved] = ["deleted", "moved"].map(|tag| TagName::parse(tag).unwrap());
        let upload = UploadId::parse("a-1").unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let items = [
            Item::Tag(name.clone(), deleted.clone()),
            Item::TagHistory(name.clone(), moved.clone(), digest.clone()),
            Item::Revision(name.clone(), digest.clone()),
            Item::Upload(name.clone(), upload.clone()),
            Item::LayerLink(name.clone(), digest.clone()),
        ];
        let plan = RepositoryPlan {
            name,
            tags: vec![(deleted, Reason::Deleted)],
            tag_history: vec![(moved, digest.clone(), Reason::Dangling)],
            revisions: vec![(digest.clone(), Reason::Untagged)],
            layer_links: vec![digest],
            uploads: vec![(upload, 7)],
            folder: false,
            is_named: false,
        };
        for directly in [false, true] {
            let temp = tempfile::tempdir().unwrap();
            std::fs::create_dir(temp.path().join("trash")).unwrap();
            for item in &items {
                std::fs::create_dir_all(temp.path().join(item.path())).unwrap();
            }
            let tree = Folder::of(&Dir::open_root(temp.path()).unwrap()).unwrap();
            let trash = tree.open(Path::new("trash")).unwrap().filter(|_| !directly);
            let (findings, tally) = (Findings::default(), Tally::default());
            let hand = Hand::new(&tree, trash.as_ref(), false, &findings, &tally, Halt::never());
            assert!(hand.names(&plan, &Meter::new()));
            hand.layer_links(&plan.name, plan.layer_links.iter(), &Meter::new());
            let went = hand.moved.lock().unwrap().clone();
            assert_eq!(went, items.clone().map(|item| item.path()), "in this order");
            let totals = tally.totals();
            assert_eq!((totals.tags.count, totals.tag_history.count, totals.revisions.count), (1, 1, 1));
            assert_eq!((totals.layer_links.count, totals.uploads.count, totals.uploads.bytes), (1, 1, 7));
            assert_eq!(tally[Way::Moved].things(), if directly { 0 } else { 5 });
        }
    }

    /// Nothing can be moved, because the folders lie on another device; at the removal of a file three threads meet.
    struct OtherDevice(Meet);

    impl Interceptor for OtherDevice {
        fn before(&self, operation: &Operation<'_>) -> Answer {
            match operation.kind {
                seam::Kind::Move => Answer::Fail(Errno::XDEV),
                _ => self.0.before(operation),
            }
        }
    }

    /// To delete a folder is work for many threads, and one that waits for a part of it begins with other folders
    /// meanwhile. If it waited there for its turn to move, and had not given back the one it has, all would stand
    /// still; so nobody deletes while it is their turn, and more delete at a time than may move.
    #[test]
    fn nobody_deletes_while_it_is_their_turn_to_move() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("trash")).unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let plans = ["a", "b", "c"].map(|name| {
            let name = RepositoryName::parse(name).unwrap();
            let revision = temp.path().join(Item::Revision(name.clone(), digest.clone()).path());
            std::fs::create_dir_all(&revision).unwrap();
            std::fs::write(revision.join("link"), "x").unwrap();
            let revisions = vec![(digest.clone(), Reason::Untagged)];
            RepositoryPlan { revisions, ..RepositoryPlan::of(name) }
        });
        let other_device: &'static OtherDevice =
            Box::leak(Box::new(OtherDevice(Meet::new(seam::Kind::RemoveFile, plans.len()))));
        let tree = Dir::open_root(temp.path()).unwrap().with_seam(Seam::intercepted_by(other_device));
        let tree = Folder::of(&tree).unwrap();
        let trash = tree.open(Path::new("trash")).unwrap();
        let (findings, tally) = (Findings::default(), Tally::default());
        let hand = Hand::new(&tree, trash.as_ref(), false, &findings, &tally, Halt::never());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(plans.len()).build().unwrap();
        pool.install(|| plans.par_iter().for_each(|plan| _ = hand.names(plan, &Meter::new())));
        assert!(other_device.0.have_met(), "the three never met");
        assert_eq!((tally[Way::Moved].things(), tally[Way::Deleted].things()), (0, 3));
    }
}
