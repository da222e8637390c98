//! Those who move folders from one place to another, in a sweep and when it is taken back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use rayon::prelude::*;

use super::disk::{Folder, Gone};
use crate::halt::Halt;
use crate::layout::Item;
use crate::plan::Plan;

/// How many workers move things at a time. The system moves one folder at a time on a whole volume, and whoever comes
/// meanwhile waits, which costs time as well; with two, the one gets ready while the other has its turn.
const AT_A_TIME: usize = 2;

/// Lets few workers move at a time, and has all of them get ready.
pub(super) struct Movers {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Movers {
    pub(super) fn new() -> Self {
        Self { free: Mutex::new(AT_A_TIME), freed: Condvar::new() }
    }

    /// Moves entries of one folder to another, in this order, and says of each what became of it. Those that cannot be
    /// moved do not keep the others from it. If it is to end meanwhile, nothing is said of the rest, which stays where it
    /// is.
    ///
    /// What is to be done about them is done afterwards, when it is another worker's turn: a worker that waited for
    /// others during its own could wait for ever.
    pub(super) fn move_all<'n>(
        &self,
        from: &Folder,
        to: &Folder,
        names: impl Iterator<Item = &'n Path> + Clone,
        halt: &Halt,
    ) -> Vec<io::Result<Gone>> {
        // All threads wait for the disk at once, and few for the lock of the volume.
        names.clone().take_while(|_| !halt.is_due()).for_each(|name| from.fetch(name));
        let _turn = self.enter();
        names.take_while(|_| !halt.is_due()).map(|name| from.move_to(name, to)).collect()
    }

    /// Waits for a turn, which is over when the answer is dropped.
    fn enter(&self) -> Turn<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Turn(self)
    }
}

struct Turn<'a>(&'a Movers);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

/// Whether the blobs, as far as the first of them tells, lie where nothing can be moved from. What cannot be looked at
/// is for whoever moves it to say.
pub(super) fn deletes_directly(tree: &Folder, plan: &Plan) -> bool {
    let first = plan.blobs.first().map(|blob| Item::Blob(blob.digest.clone()).path());
    let Some(parent) = first.as_deref().and_then(Path::parent) else { return false };
    tree.open(parent).is_ok_and(|folder| folder.is_some_and(|folder| folder.can_move_to(tree).is_ok_and(|can| !can)))
}

/// The first folder that the plan takes something from, and from which nothing can be moved into the trash, because it
/// is another device or another mount (a bind mount of the same device counts).
pub(super) fn on_another_mount(tree: &Folder, plan: &Plan) -> io::Result<Option<PathBuf>> {
    let mut folders: Vec<PathBuf> =
        plan.actions().filter_map(|action| action.item()?.path().parent().map(Path::to_owned)).collect();
    folders.dedup();
    let is_elsewhere = |path: &PathBuf| match tree.open(path)? {
        Some(folder) => Ok(!folder.can_move_to(tree)?),
        None => Ok(false),
    };
    folders
        .into_par_iter()
        .find_map_first(|path| is_elsewhere(&path).map(|it| it.then_some(path)).transpose())
        .transpose()
}
