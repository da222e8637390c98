//! A run's trash: a mirror of the tree with what was moved away. It is put back, or deleted for good.
//!
//! What lies in a trash is recognised by its place, through [`Item::at`], never by what a journal says: so nothing can
//! be moved to a path that no item has.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::disk::{self, Folder, Gone, OurFile};
use super::movers::Movers;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::halt::Halt;
use crate::layout::{BLOBS, CURRENT, DATA, Item, LINK, STARTED_AT, component, is_debris};
use crate::progress::Meter;
use crate::registry::{Kind, MAX_LINK_BYTES};

/// How many entries of one folder a worker puts back at a time.
const CHUNK: usize = 64;
/// How many bytes of a blob are read at a time.
const PIECE: usize = 256 * 1024;
/// How deep a path may be. Every level holds a folder open; no registry makes half as many.
pub(super) const DEEPEST: usize = 128;
/// What is said of a folder that is deeper.
const TOO_DEEP: &str = "nested deeper than a registry nests; look at it and delete it by hand";

/// What lies in a trash.
#[derive(Debug, Default)]
pub struct Contents {
    /// What can be put back.
    pub items: Vec<Item>,
    /// What nobody has moved there, and why it is taken for that.
    pub strange: Vec<(PathBuf, String)>,
}

/// What became of putting back.
#[derive(Debug, Default)]
pub struct PutBack {
    /// How many things are back.
    pub items: u64,
    /// Things that the registry has written anew meanwhile: those stay, and the copies in the trash are deleted.
    pub anew: u64,
    /// What could not be put back, and why. It is still in the trash.
    pub failed: Vec<(PathBuf, String)>,
    /// Why the schedule of a pull-through cache could not be brought in step again: then what is back never expires by
    /// itself.
    pub unscheduled: Option<String>,
}

/// What became of deleting.
#[derive(Debug, Default)]
pub struct Purged {
    /// How many things are gone.
    pub items: u64,
    /// What could not be deleted, or is nothing that a registry writes, and why. It is still in the trash.
    pub kept: Vec<(PathBuf, String)>,
    /// Whether it was to end before its end: then nobody knows what is left.
    pub is_halted: bool,
}

/// Everything that lies in a trash.
pub(super) fn contents(trash: &Folder) -> io::Result<Contents> {
    let mut contents = Contents::default();
    collect(trash, Path::new(""), &mut contents.items, &mut contents.strange)?;
    contents.items.sort_by_cached_key(Item::path);
    Ok(contents)
}

/// Moves everything in the trash back: blobs first, then layer links, revisions, tags. What a reference leads to is
/// back before the reference.
pub(super) fn put_back(tree: &Folder, trash: &Folder, meter: &Meter) -> io::Result<PutBack> {
    let mut items = Vec::new();
    let mut answer = PutBack::default();
    collect(trash, Path::new(""), &mut items, &mut answer.failed)?;
    items.sort_by_cached_key(|item| (stage(item), item.path()));
    meter.expect(items.len() as u64);
    let (answer, movers) = (Mutex::new(answer), Movers::new());
    for same_stage in items.chunk_by(|a, b| stage(a) == stage(b)) {
        let folders: Vec<&[Item]> = same_stage
            .chunk_by(|a, b| a.path().parent() == b.path().parent())
            .flat_map(|folder| folder.chunks(CHUNK))
            .collect();
        folders.into_par_iter().for_each(|items| put_back_into_one_folder(tree, trash, items, &movers, &answer, meter));
    }
    let mut answer = answer.into_inner().unwrap_or_else(PoisonError::into_inner);
    if answer.failed.is_empty() {
        remove_empty_folders(trash, DEEPEST)?;
    }
    answer.failed.sort();
    Ok(answer)
}

/// The order in which things go back.
fn stage(item: &Item) -> u8 {
    match item {
        Item::Blob(_) => 0,
        Item::LayerLink(..) => 1,
        Item::Revision(..) => 2,
        Item::Tag(..) | Item::TagHistory(..) => 3,
        Item::Upload(..) => 4,
    }
}

/// Finds every item below a folder of the trash.
fn collect(
    folder: &Folder,
    path: &Path,
    items: &mut Vec<Item>,
    strange: &mut Vec<(PathBuf, String)>,
) -> io::Result<()> {
    for (name, kind) in folder.entries()? {
        let below = path.join(component(&name));
        if kind != Kind::Directory {
            strange.push((below, "not something that was moved here".to_owned()));
            continue;
        }
        // Depth is what a stranger decides: it must not end in a stack that is full.
        if below.components().count() > DEEPEST {
            strange.push((below, TOO_DEEP.to_owned()));
            continue;
        }
        let Some(inner) = folder.open(component(&name))? else { continue };
        match Item::at(&below) {
            // A tag's folder is here whole, with its current link, or only as the way to some of its history.
            Some(Item::Tag(..)) if inner.kind(Path::new(CURRENT))?.is_none() => {
                collect(&inner, &below, items, strange)?;
            }
            Some(item) => items.push(item),
            None => collect(&inner, &below, items, strange)?,
        }
    }
    Ok(())
}

fn put_back_into_one_folder(
    tree: &Folder,
    trash: &Folder,
    items: &[Item],
    movers: &Movers,
    answer: &Mutex<PutBack>,
    meter: &Meter,
) {
    let fail = |path: &Path, why: String| lock(answer).failed.push((path.to_owned(), why));
    let Some(parent) = items.first().and_then(|item| item.path().parent().map(Path::to_owned)) else { return };
    let folders = trash.open(&parent).and_then(|from| Ok((from, tree.make(&parent)?)));
    let (from, to) = match folders {
        Ok((Some(from), to)) => (from, to),
        Ok((None, _)) => return,
        Err(error) => return fail(&parent, error.to_string()),
    };
    let paths: Vec<PathBuf> = items.iter().map(Item::path).collect();
    let names = paths.iter().map(|path| Path::new(path.file_name().unwrap_or_default()));
    // What has begun to go back goes back to the end: half of a run put back is no state to leave it in.
    let moved = movers.move_all(&from, &to, names.clone(), &Halt::never());
    for (((item, path), name), moved) in items.iter().zip(&paths).zip(names).zip(moved) {
        match moved {
            Ok(Gone::Now) => lock(answer).items += 1,
            Ok(Gone::Before) => {}
            Err(error) if disk::is_occupied(&error) => match is_written_anew(&from, &to, name, item) {
                Ok(true) => match remove(&from, name, path) {
                    Ok(_) => lock(answer).anew += 1,
                    Err(why) => fail(path, why),
                },
                Ok(false) => {
                    fail(path, "something else is there now; look at both and move the right one by hand".to_owned());
                }
                Err(error) => fail(path, error.to_string()),
            },
            Err(error) => fail(path, error.to_string()),
        }
        meter.add(1);
    }
}

/// Whether the registry has written the same thing anew: then the copy in the trash may go. An empty link that a crash
/// left behind is not the same thing, and neither is a blob that is damaged: the copy in the trash may be the last whole
/// one.
fn is_written_anew(trash: &Folder, tree: &Folder, name: &Path, item: &Item) -> io::Result<bool> {
    let main = match item {
        Item::Blob(_) => name.join(DATA),
        Item::Tag(..) => name.join(CURRENT).join(LINK),
        Item::TagHistory(..) | Item::Revision(..) | Item::LayerLink(..) => name.join(LINK),
        Item::Upload(..) => name.join(STARTED_AT),
    };
    let there = size_below(tree, &main)?;
    match size_below(trash, &main)? {
        Some(size) if there == Some(size) => match item {
            Item::Blob(digest) => Ok(digest_below(tree, &main, digest.algorithm())? == Some(digest.clone())),
            Item::TagHistory(..) | Item::Revision(..) | Item::LayerLink(..) => {
                Ok(link_below(tree, &main)? == link_below(trash, &main)?)
            }
            // A tag that was pushed again stays as it was pushed.
            Item::Tag(..) | Item::Upload(..) => Ok(true),
        },
        Some(_) => Ok(false),
        // An empty digest folder has nothing to lose.
        None => Ok(trash.open(name)?.is_none_or(|folder| folder.entries().is_ok_and(|entries| entries.is_empty()))),
    }
}

/// What a file's bytes have the digest of.
fn digest_below(folder: &Folder, path: &Path, algorithm: Algorithm) -> io::Result<Option<Digest>> {
    let Some(mut file) = file_below(folder, path)? else { return Ok(None) };
    let (mut hasher, mut piece) = (Hasher::new(algorithm), vec![0; PIECE]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(Some(hasher.finish())),
            Ok(read) => hasher.update(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a link says, as far as a link may be long.
fn link_below(folder: &Folder, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = file_below(folder, path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(MAX_LINK_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// A file, without following a symbolic link anywhere on the way.
fn file_below(folder: &Folder, path: &Path) -> io::Result<Option<OurFile>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(None);
    };
    folder.open(parent)?.map_or(Ok(None), |inner| inner.read(name))
}

/// A file's size, without following a symbolic link anywhere on the way.
fn size_below(folder: &Folder, path: &Path) -> io::Result<Option<u64>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    match folder.open(parent)? {
        Some(inner) => inner.size(Path::new(name)),
        None => Ok(None),
    }
}

/// Removes folders in which nothing is left, from the bottom up; so many levels of them.
fn remove_empty_folders(folder: &Folder, levels: usize) -> io::Result<()> {
    let Some(levels) = levels.checked_sub(1) else { return Ok(()) };
    for (name, kind) in folder.entries()? {
        if kind == Kind::Directory
            && let Some(inner) = folder.open(component(&name))?
        {
            remove_empty_folders(&inner, levels)?;
            match folder.remove_empty(component(&name)) {
                Err(error) if !disk::is_occupied(&error) => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Deletes everything in the trash that a registry writes, in parallel on the current rayon pool: these first, in their
/// order, each a list of what lies in one folder or several. Anything else (a file that somebody laid into a blob's
/// folder) is kept and named. If the meter says that the work is to end, the rest is left where it is.
pub(super) fn purge(trash: &Folder, first: &[Vec<PathBuf>], meter: &Meter) -> Purged {
    let purger = Purger { kept: Mutex::default(), meter };
    for paths in first {
        let same_folder: Vec<&[PathBuf]> =
            paths.chunk_by(|a, b| a.parent() == b.parent()).flat_map(|paths| paths.chunks(CHUNK)).collect();
        same_folder.into_par_iter().for_each(|paths| purger.entries_of(trash, paths));
    }
    purger.contents(trash, Path::new(""), false);
    let mut kept = purger.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
    kept.sort();
    // What could not be deleted was tried twice.
    kept.dedup();
    Purged { items: meter.done(), kept, is_halted: meter.is_halted() }
}

/// Deletes blobs of a trash until so many bytes are free. What cannot be deleted is left for the purge, which says so.
pub(super) fn make_room(blobs: &Folder, bytes: u64) {
    let mut freed = 0;
    let listed = |folder: &Folder| folder.entries().unwrap_or_default();
    for (algorithm, _) in listed(blobs) {
        let Ok(Some(shards)) = blobs.open(component(&algorithm)) else { continue };
        for (shard, _) in listed(&shards) {
            let Ok(Some(folder)) = shards.open(component(&shard)) else { continue };
            for (hex, _) in listed(&folder) {
                if freed >= bytes {
                    return;
                }
                let data = component(&hex).join(DATA);
                let size = size_below(&folder, &data).ok().flatten().unwrap_or_default();
                let path = Path::new(BLOBS).join(component(&algorithm)).join(component(&shard)).join(component(&hex));
                if remove(&folder, component(&hex), &path).is_ok() {
                    freed += size;
                }
            }
        }
    }
}

/// Deletes one thing with all that a registry wrote into it. For what cannot be moved.
///
/// `path` is where it lies, relative to the `v2` folder, and decides what belongs in it.
pub(super) fn remove(folder: &Folder, name: &Path, path: &Path) -> Result<Gone, String> {
    // What was deleted to make room comes by here once more, and must not be counted again.
    if folder.kind(name).map_err(|error| error.to_string())?.is_none() {
        return Ok(Gone::Before);
    }
    let meter = Meter::new();
    let purger = Purger { kept: Mutex::default(), meter: &meter };
    purger.entry(folder, name, path, false);
    let kept = purger.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
    match kept.into_iter().next() {
        None => Ok(Gone::Now),
        Some((_, why)) => Err(why),
    }
}

struct Purger<'a> {
    kept: Mutex<Vec<(PathBuf, String)>>,
    meter: &'a Meter,
}

impl Purger<'_> {
    /// Deletes entries that all lie in one folder, where they are there.
    fn entries_of(&self, trash: &Folder, paths: &[PathBuf]) {
        let Some(parent) = paths.first().and_then(|path| path.parent()) else { return };
        match trash.open(parent) {
            Ok(Some(folder)) => {
                for path in paths {
                    self.entry(&folder, Path::new(path.file_name().unwrap_or_default()), path, false);
                }
            }
            Ok(None) => {}
            Err(error) => self.keep(parent, error.to_string()),
        }
    }

    /// Deletes the contents of a folder; `all` if everything below is known to be the registry's.
    fn contents(&self, folder: &Folder, path: &Path, all: bool) {
        let entries = match folder.entries() {
            Ok(entries) => entries,
            Err(error) => return self.keep(path, error.to_string()),
        };
        // Not in chunks of a fixed size: near the top of the trash a folder holds few entries with much below them, and
        // a chunk of those would be one thread's. Rayon splits as finely as idle threads ask for, and leaves what lies
        // side by side to one thread otherwise: the kernel lets only one at a time into a folder.
        entries.par_iter().for_each(|(name, kind)| {
            let below = path.join(component(name));
            match kind {
                Kind::Directory => self.entry(folder, component(name), &below, all),
                _ if all || is_the_registrys(name) => {
                    if let Err(error) = folder.remove_file(component(name)) {
                        self.keep(&below, error.to_string());
                    }
                }
                _ => self.keep(&below, "nothing that a registry writes; look at it and delete it by hand".to_owned()),
            }
        });
    }

    /// Deletes a folder with its contents.
    fn entry(&self, parent: &Folder, name: &Path, path: &Path, all: bool) {
        if self.meter.is_halted() {
            return;
        }
        if path.components().count() > DEEPEST {
            return self.keep(path, TOO_DEEP.to_owned());
        }
        let item = Item::at(path);
        let only_file = match item {
            Some(Item::Blob(_)) => Some(DATA),
            Some(Item::LayerLink(..) | Item::Revision(..) | Item::TagHistory(..)) => Some(LINK),
            _ => None,
        };
        let result = (|| {
            let Some(folder) = parent.open(name)? else { return Ok(Gone::Before) };
            // Nearly every folder holds just the one file that it is there for: take that, and try. Listing each
            // folder first takes half as long again.
            if let Some(file) = only_file {
                folder.remove_file(Path::new(file))?;
                match parent.remove_empty(name) {
                    Err(error) if disk::is_occupied(&error) => {}
                    done => return done,
                }
            }
            let is_on_the_way = matches!(item, Some(Item::Tag(..))) && folder.kind(Path::new(CURRENT))?.is_none();
            self.contents(&folder, path, all || matches!(item, Some(Item::Upload(..))));
            match parent.remove_empty(name) {
                // What is left in it has been named.
                Err(error) if disk::is_occupied(&error) => Ok(Gone::Before),
                // The way to some history of a tag is no tag.
                Ok(_) if is_on_the_way => Ok(Gone::Before),
                done => done,
            }
        })();
        match result {
            Ok(Gone::Now) if item.is_some() => self.meter.add(1),
            Ok(_) => {}
            Err(error) => self.keep(path, error.to_string()),
        }
    }

    fn keep(&self, path: &Path, why: String) {
        lock(&self.kept).push((path.to_owned(), why));
    }
}

/// Whether a file of this name is one that a registry writes into the folder of something that it stores.
fn is_the_registrys(name: &[u8]) -> bool {
    [DATA, LINK, STARTED_AT].iter().any(|known| known.as_bytes() == name) || is_debris(name)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build trees")]

    use std::fs;

    use rustix::fs::{Mode, OFlags};

    use super::*;
    use crate::registry::Dir;
    use crate::seam::{self, Meet, Seam};

    const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

    struct Place {
        temp: tempfile::TempDir,
    }

    impl Place {
        /// A tree and a trash, with these files in them; each holds its own path.
        fn new(files: &[&str]) -> Place {
            let temp = tempfile::tempdir().unwrap();
            let place = Place { temp };
            for folder in ["tree", "trash"] {
                fs::create_dir(place.path(folder)).unwrap();
            }
            for file in files {
                fs::create_dir_all(place.path(file).parent().unwrap()).unwrap();
                fs::write(place.path(file), file).unwrap();
            }
            place
        }

        fn path(&self, path: &str) -> PathBuf {
            self.temp.path().join(path)
        }

        fn folder(&self, path: &str) -> Folder {
            Folder::of(&Dir::open_root(&self.path(path)).unwrap()).unwrap()
        }

        fn put_back(&self) -> PutBack {
            put_back(&self.folder("tree"), &self.folder("trash"), &Meter::new()).unwrap()
        }

        fn read(&self, path: &str) -> Option<String> {
            fs::read_to_string(self.path(path)).ok()
        }
    }

    const HEX: &str = "ab00000000000000000000000000000000000000000000000000000000000000";

    fn paths() -> [String; 4] {
        [
            format!("blobs/sha256/ab/{HEX}/data"),
            format!("repositories/team/app/_layers/sha256/{HEX}/link"),
            format!("repositories/team/app/_manifests/revisions/sha256/{HEX}/link"),
            format!("repositories/team/app/_manifests/tags/v1/index/sha256/{HEX}/link"),
        ]
    }

    #[test]
    fn everything_goes_back_to_its_place() {
        let in_trash = paths().map(|path| format!("trash/{path}"));
        let place = Place::new(&in_trash.each_ref().map(String::as_str));
        let back = place.put_back();
        assert_eq!((back.items, back.anew, back.failed), (4, 0, vec![]));
        for path in paths() {
            assert_eq!(place.read(&format!("tree/{path}")), Some(format!("trash/{path}")));
        }
        assert!(place.folder("trash").entries().unwrap().is_empty(), "no empty folder is left in the trash");
    }

    /// What the registry has written anew stays; what only looks like it does not cost the copy in the trash.
    #[test]
    fn what_is_there_already_is_never_replaced() {
        let [blob, link, _, history] = paths();
        let place =
            Place::new(&[&blob, &link, &history].map(|path| format!("trash/{path}")).each_ref().map(|it| &**it));
        // The same in the tree: written anew. As long, and not of its digest: damaged. An empty link: a crash has left it.
        let damaged = "x".repeat(format!("trash/{blob}").len());
        for (path, content) in [(&blob, damaged), (&link, String::new()), (&history, format!("trash/{history}"))] {
            let path = place.path(&format!("tree/{path}"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let back = place.put_back();
        assert_eq!((back.items, back.anew), (0, 1));
        assert!(place.read(&format!("tree/{blob}")).unwrap().starts_with("xxx"));
        assert_eq!(back.failed.len(), 2, "{:?}", back.failed);
        for path in [&blob, &link] {
            assert_eq!(place.read(&format!("trash/{path}")), Some(format!("trash/{path}")), "the good copy is kept");
        }
        assert_eq!(place.read(&format!("tree/{link}")), Some(String::new()));
        assert_eq!(place.read(&format!("trash/{history}")), None);
    }

    #[test]
    fn nothing_is_put_where_no_item_belongs() {
        let place = Place::new(&["trash/etc/passwd", "trash/blobs/sha256/zz/data", "trash/repositories/a/notes.txt"]);
        let back = place.put_back();
        assert_eq!(back.items, 0);
        assert_eq!(back.failed.len(), 3, "{:?}", back.failed);
        assert!(place.folder("tree").entries().unwrap().is_empty());
    }

    /// A full stack ends the process, and with it every run that tries to put this back.
    #[test]
    fn nothing_is_followed_deeper_than_a_registry_nests() {
        let place = Place::new(&[]);
        let mut folder = rustix::fs::openat(rustix::fs::CWD, place.path("trash"), OPEN, Mode::empty()).unwrap();
        for _ in 0..2000 {
            rustix::fs::mkdirat(&folder, "d", Mode::RWXU).unwrap();
            folder = rustix::fs::openat(&folder, "d", OPEN, Mode::empty()).unwrap();
        }
        let [(path, why)] = &place.put_back().failed[..] else { panic!("one thing is said of it") };
        assert!(path.starts_with("d/d") && why == TOO_DEEP, "{why}");
    }

    #[test]
    fn a_purge_takes_what_a_registry_writes_and_nothing_else() {
        let [blob, link, ..] = paths();
        let upload = "trash/repositories/team/app/_uploads/1-2";
        let place = Place::new(&[
            &format!("trash/{blob}"),
            &format!("trash/{link}"),
            &format!("trash/blobs/sha256/ab/{HEX}/notes.txt"),
            &format!("{upload}/data"),
            &format!("{upload}/hashstates/sha256/0"),
        ]);
        std::os::unix::fs::symlink(place.path("tree"), place.path(&format!("{upload}/swapped"))).unwrap();
        fs::write(place.path("tree/data"), "outside").unwrap();
        let meter = Meter::new();
        let purged = purge(&place.folder("trash"), &[], &meter);
        assert_eq!(purged.items, 2, "the link and the upload");
        let kept: Vec<PathBuf> = purged.kept.into_iter().map(|(path, _)| path).collect();
        assert_eq!(kept, [PathBuf::from(format!("blobs/sha256/ab/{HEX}/notes.txt"))]);
        assert_eq!(place.read(&format!("trash/{blob}")), None);
        assert!(!place.path(upload).exists());
        assert_eq!(place.read("tree/data").as_deref(), Some("outside"), "a symbolic link is removed, not followed");
    }

    /// A trash holds few folders at its top, and all threads have to find their way into those.
    #[test]
    fn two_folders_of_a_trash_are_deleted_by_two_threads() {
        let place = Place::new(&[
            &format!("trash/blobs/sha256/ab/{HEX}/data"),
            &format!("trash/blobs/sha256/cd/{}/data", HEX.replace("ab", "cd")),
        ]);
        let meet: &'static Meet = Box::leak(Box::new(Meet::new(seam::Kind::RemoveFile, 2)));
        let trash = Dir::open_root(&place.path("trash")).unwrap().with_seam(Seam::intercepted_by(meet));
        let trash = Folder::of(&trash).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let purged = pool.install(|| purge(&trash, &[], &Meter::new()));
        assert!(meet.have_met(), "the two never met");
        assert_eq!((purged.items, purged.kept), (2, vec![]));
    }
}
