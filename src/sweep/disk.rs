//! The one module that changes files.
//!
//! Every call is relative to an open folder, and no call follows a symbolic link: a path is opened one component at a
//! time with `O_NOFOLLOW`, so a folder that somebody swaps for a symbolic link while a run is at work leads nowhere.
//! `clippy.toml` forbids the same calls everywhere else.

#![expect(clippy::disallowed_methods, reason = "this is the module that changes files")]

mod ours;

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawDir, Uid};
use rustix::io::Errno;

use crate::registry::{Dir, Kind, kind_of};
use crate::seam::{self, Seam};
pub(super) use ours::OurFile;

const OPEN_FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open folder in which things may be changed.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
    seam: Seam,
}

/// What became of a request to take something away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It was there, and is gone now.
    Now,
    /// It was not there: somebody else was first, which is success.
    Before,
}

impl Folder {
    /// The same folder that is open for reading.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn of(dir: &Dir) -> io::Result<Folder> {
        Ok(Folder { handle: dir.as_fd().try_clone_to_owned()?, seam: dir.seam() })
    }

    fn ask(&self, kind: seam::Kind, name: &Path) -> Result<(), Errno> {
        self.seam.ask(kind, &self.handle, name)
    }

    /// Opens a folder in this one. Never through a symbolic link.
    fn open_in(&self, name: &Path) -> Result<Folder, Errno> {
        self.ask(seam::Kind::OpenFolder, name)?;
        let handle = rustix::fs::openat(&self.handle, name, OPEN_FOLDER, Mode::empty())?;
        Ok(Folder { handle, seam: self.seam })
    }

    fn make_in(&self, name: &Path, mode: Mode) -> Result<(), Errno> {
        self.ask(seam::Kind::MakeFolder, name)?;
        match rustix::fs::mkdirat(&self.handle, name, mode) {
            // Another thread may have been first.
            Err(Errno::EXIST) => Ok(()),
            made => made,
        }
    }

    /// Opens a folder below this one; `None` if there is none. Never through a symbolic link.
    ///
    /// # Errors
    /// Whatever the system says, except that something is absent; also for a path that is not plain names.
    pub fn open(&self, path: &Path) -> io::Result<Option<Folder>> {
        let mut opened: Option<Folder> = None;
        for name in plain_names(path) {
            opened = match opened.as_ref().unwrap_or(self).open_in(name?) {
                Ok(below) => Some(below),
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            };
        }
        // Only the empty path is this folder itself; a handle is duplicated for that alone, not for every item.
        match opened {
            Some(folder) => Ok(Some(folder)),
            None => self.duplicate().map(Some),
        }
    }

    pub(super) fn duplicate(&self) -> io::Result<Folder> {
        Ok(Folder { handle: self.handle.try_clone()?, seam: self.seam })
    }

    /// Opens a folder below this one and makes what is missing on the way. New folders get the owner, group and mode
    /// of the folder that they are made in, so that a registry which runs as another user can go on writing there.
    ///
    /// # Errors
    /// Whatever the system says; also for a path that is not plain names.
    pub fn make(&self, path: &Path) -> io::Result<Folder> {
        let mut folder = self.duplicate()?;
        for name in plain_names(path) {
            let name = name?;
            folder = match folder.open_in(name) {
                Err(Errno::NOENT) => {
                    let above = rustix::fs::fstat(&folder.handle)?;
                    folder.make_in(name, Mode::from_raw_mode(above.st_mode))?;
                    let made = folder.open_in(name)?;
                    made.give_to(&above)?;
                    made
                }
                opened => opened?,
            };
        }
        Ok(folder)
    }

    /// Gives a new folder the owner and group of the one that it was made in.
    fn give_to(&self, above: &rustix::fs::Stat) -> io::Result<()> {
        let stat = rustix::fs::fstat(&self.handle)?;
        if (stat.st_uid, stat.st_gid) == (above.st_uid, above.st_gid) {
            return Ok(());
        }
        self.ask(seam::Kind::GiveAway, Path::new(""))?;
        let (owner, group) = (Uid::from_raw(above.st_uid), Gid::from_raw(above.st_gid));
        match rustix::fs::fchown(&self.handle, Some(owner), Some(group)) {
            // Only root can give things away; for everybody else the folder is their own anyway.
            Ok(()) | Err(Errno::PERM) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes a folder that only its owner can enter, if it is not there yet.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn make_private(&self, name: &str) -> io::Result<Folder> {
        let name = Path::new(name);
        self.make_in(name, Mode::RWXU)?;
        Ok(self.open_in(name)?)
    }

    /// Moves an entry to the same name in another folder. What is there already is never replaced, unless it is an
    /// empty folder.
    ///
    /// # Errors
    /// Whatever the system says; `EXDEV` between devices, `ENOTEMPTY` or `EEXIST` if something is there.
    pub fn move_to(&self, name: &Path, to: &Folder) -> io::Result<Gone> {
        let moved = self
            .seam
            .ask_to_move(&self.handle, name, &to.handle)
            .and_then(|()| rustix::fs::renameat(&self.handle, name, &to.handle, name));
        match moved {
            Ok(()) => Ok(Gone::Now),
            // Either the entry or a folder of ours is gone; the second would fail for every entry alike.
            Err(Errno::NOENT) if self.kind(name)?.is_none() => Ok(Gone::Before),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Has the system read what it needs to move a folder of this one: its entries, for one of them says where it is.
    /// Moving it would read them too, but then everybody who wants to move something waits for the disk.
    ///
    /// Whatever is wrong with it is for [`Folder::move_to`] to say.
    pub fn fetch(&self, name: &Path) {
        if let Ok(folder) = self.open_in(name) {
            let mut buffer = [MaybeUninit::uninit(); 1024];
            let _ = RawDir::new(&folder.handle, &mut buffer).next();
        }
    }

    /// Puts a file of ours in the place of another, both in this folder.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn replace(&self, new: &str, old: &str) -> io::Result<()> {
        self.seam.ask_to_move(&self.handle, Path::new(new), &self.handle)?;
        Ok(rustix::fs::renameat(&self.handle, new, &self.handle, old)?)
    }

    /// Writes a small file of the registry's in the place of what is there: all of it or nothing, whenever it is cut off.
    /// It gets the owner and group of this folder. What a cut leaves is a file that ends in `.tmp`.
    ///
    /// # Errors
    /// Whatever the system says; then what was there is still there.
    pub fn write_whole(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let folder = rustix::fs::fstat(&self.handle)?;
        self.write_as(name, bytes, &folder)
    }

    /// Like [`Folder::write_whole`], and the file gets owner, group and mode of the one that is there.
    ///
    /// # Errors
    /// As for [`Folder::write_whole`]; also if there is none.
    pub fn write_over_whole(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let like = self.stat(Path::new(name))?.ok_or_else(|| io::Error::from(Errno::NOENT))?;
        self.write_as(name, bytes, &like)?;
        self.sync()
    }

    fn write_as(&self, name: &str, bytes: &[u8], like: &rustix::fs::Stat) -> io::Result<()> {
        let temporary = format!("{name}.regsweep.tmp");
        // Of a run that was cut off.
        self.remove_file(Path::new(&temporary))?;
        let written = (|| {
            let file = self.create_new(&temporary)?.ok_or_else(|| io::Error::other("somebody else writes it"))?;
            file.give_to(like)?;
            file.write_over(bytes)?;
            // Before it gets its name: an empty link is what this is to mend.
            file.sync()?;
            self.replace(&temporary, name)
        })();
        if written.is_err() {
            // Why it could not be written is what there is to say.
            drop(self.remove_file(Path::new(&temporary)));
        }
        written
    }

    /// Removes a file, or a symbolic link itself.
    ///
    /// # Errors
    /// Whatever the system says, except that it is absent.
    pub fn remove_file(&self, name: &Path) -> io::Result<Gone> {
        let asked = self.ask(seam::Kind::RemoveFile, name);
        gone(asked.and_then(|()| rustix::fs::unlinkat(&self.handle, name, AtFlags::empty())))
    }

    /// Removes an empty folder. One that holds something stays, and is an error.
    ///
    /// # Errors
    /// Whatever the system says, except that it is absent.
    pub fn remove_empty(&self, name: &Path) -> io::Result<Gone> {
        let asked = self.ask(seam::Kind::RemoveFolder, name);
        gone(asked.and_then(|()| rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR)))
    }

    /// Its entries, without `.` and `..`, in no order.
    ///
    /// # Errors
    /// Whatever the system says; then nothing is known of the folder.
    pub fn entries(&self) -> io::Result<Vec<(Vec<u8>, Kind)>> {
        let seam::Limit { mut at_most, then } =
            self.seam.ask_how_much(seam::Kind::List, &self.handle, Path::new(""))?;
        // A handle of its own: two listings of one handle would share the position.
        let handle = rustix::fs::openat(&self.handle, ".", OPEN_FOLDER, Mode::empty())?;
        let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
        let mut listing = RawDir::new(handle, &mut buffer);
        let mut entries = Vec::new();
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if at_most == 0 {
                break;
            }
            at_most -= 1;
            let kind = match entry.file_type() {
                FileType::Unknown => match self.kind(crate::layout::component(name))? {
                    Some(kind) => kind,
                    None => continue,
                },
                known => kind_of(known),
            };
            entries.push((name.to_owned(), kind));
        }
        then.map_or(Ok(entries), |errno| Err(errno.into()))
    }

    /// What kind of entry this is; `None` if there is none. A symbolic link at the end is not followed.
    ///
    /// # Errors
    /// Whatever the system says, except that it is absent.
    pub fn kind(&self, name: &Path) -> io::Result<Option<Kind>> {
        Ok(self.stat(name)?.map(|stat| kind_of(FileType::from_raw_mode(stat.st_mode))))
    }

    /// The size of a regular file in bytes; `None` if there is none.
    ///
    /// # Errors
    /// Whatever the system says, except that it is absent.
    pub fn size(&self, name: &Path) -> io::Result<Option<u64>> {
        let regular = |stat: &rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(self.stat(name)?.filter(regular).map(|stat| stat.st_size.cast_unsigned()))
    }

    fn stat(&self, name: &Path) -> io::Result<Option<rustix::fs::Stat>> {
        let asked = self.ask(seam::Kind::Look, name);
        match asked.and_then(|()| rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens a file of ours for appending, and makes it if it is not there. Never through a symbolic link, and never
    /// one that has another name as well: what is written to it would be written there, wherever that is.
    ///
    /// # Errors
    /// Whatever the system says; also for what is no regular file, and for one with a second name (a hard link).
    pub fn append(&self, name: &str) -> io::Result<OurFile> {
        let name = Path::new(name);
        self.ask(seam::Kind::OpenToWrite, name)?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR)?;
        if regular(&handle)?.st_nlink > 1 {
            return Err(io::Error::other("it has another name as well (a hard link), so it is not written to"));
        }
        Ok(OurFile { file: File::from(handle), seam: self.seam })
    }

    /// Makes a new file of ours; `None` if there is one of that name already.
    ///
    /// # Errors
    /// Whatever the system says, except that it is there.
    pub fn create_new(&self, name: &str) -> io::Result<Option<OurFile>> {
        let name = Path::new(name);
        self.ask(seam::Kind::OpenToWrite, name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(handle) => Ok(Some(OurFile { file: File::from(handle), seam: self.seam })),
            Err(Errno::EXIST) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens a file of ours for reading; `None` if there is none. Never through a symbolic link.
    ///
    /// # Errors
    /// Whatever the system says, except that it is absent; also for what is no regular file: a pipe or a device may
    /// never come to an end.
    pub fn read(&self, name: &str) -> io::Result<Option<OurFile>> {
        let name = Path::new(name);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let asked = self.ask(seam::Kind::OpenFile, name);
        match asked.and_then(|()| rustix::fs::openat(&self.handle, name, flags, Mode::empty())) {
            Ok(handle) => {
                regular(&handle)?;
                Ok(Some(OurFile { file: File::from(handle), seam: self.seam }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether anything in this folder can be moved to that one by a rename. Nothing is moved to find out: the kernel
    /// compares the mounts before it looks for the entry, and this asks for one that cannot be there.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn can_move_to(&self, to: &Folder) -> io::Result<bool> {
        const NOBODY: &str = ".regsweep-no-such-entry";
        match rustix::fs::renameat(&self.handle, NOBODY, &to.handle, NOBODY) {
            Err(Errno::XDEV) => Ok(false),
            Err(Errno::NOENT) => Ok(true),
            Err(errno) => Err(errno.into()),
            Ok(()) => Err(io::Error::other("an entry was there that cannot be")),
        }
    }

    /// Waits until the names in this folder are on the disk.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn sync(&self) -> io::Result<()> {
        self.ask(seam::Kind::SyncFolder, Path::new(""))?;
        Ok(rustix::fs::fsync(&self.handle)?)
    }

    /// Waits until everything that was changed on this file system is on the disk.
    ///
    /// # Errors
    /// Whatever the system says: then nobody knows what is on the disk.
    pub fn sync_volume(&self) -> io::Result<()> {
        self.ask(seam::Kind::SyncVolume, Path::new(""))?;
        Ok(rustix::fs::syncfs(&self.handle)?)
    }

    /// Takes an advisory lock on the folder itself, which needs no space on the volume. `false` if somebody else holds
    /// it. File systems that cannot lock folders say so by an error, which is for the caller to judge.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn lock(&self) -> io::Result<bool> {
        let asked = self.ask(seam::Kind::Lock, Path::new(""));
        match asked.and_then(|()| rustix::fs::flock(&self.handle, rustix::fs::FlockOperation::NonBlockingLockExclusive))
        {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// What an open file is, if it is a regular file.
fn regular(file: &OwnedFd) -> io::Result<rustix::fs::Stat> {
    let stat = rustix::fs::fstat(file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(stat),
        _ => Err(io::Error::other("not a regular file")),
    }
}

fn gone(result: Result<(), Errno>) -> io::Result<Gone> {
    match result {
        Ok(()) => Ok(Gone::Now),
        Err(Errno::NOENT) => Ok(Gone::Before),
        Err(errno) => Err(errno.into()),
    }
}

/// The names of a relative path; everything else (`..`, `/`) is an error.
fn plain_names(path: &Path) -> impl Iterator<Item = io::Result<&Path>> {
    path.components().map(|component| match component {
        Component::Normal(name) => Ok(Path::new(name)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path of plain names")),
    })
}

/// Whether the volume has no room for one more name or byte.
pub fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}

/// Whether the two folders are on different devices, so that nothing can be moved between them.
pub(super) fn is_other_device(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::XDEV)
}

/// Whether this file system has no locks at all, or none for such a file.
pub(super) fn has_no_locks(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::BADF))
}

/// Whether something is there already.
pub(super) fn is_occupied(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR))
}

/// Whether the volume is mounted read-only, or we may not write to it.
pub fn is_forbidden(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ROFS | Errno::ACCESS | Errno::PERM))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &Path) -> Folder {
        Folder::of(&Dir::open_root(path).unwrap()).unwrap()
    }

    #[test]
    fn no_symbolic_link_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("outside/inner")).unwrap();
        std::fs::create_dir(temp.path().join("tree")).unwrap();
        std::os::unix::fs::symlink("../outside", temp.path().join("tree/swapped")).unwrap();
        let tree = folder(&temp.path().join("tree"));
        assert!(tree.open(Path::new("swapped")).is_err());
        assert!(tree.open(Path::new("swapped/inner")).is_err());
        assert!(tree.make(Path::new("swapped/new")).is_err());
        assert!(tree.append("swapped").is_err());
        assert!(!temp.path().join("outside/new").exists());
        // A symbolic link is removed itself.
        assert_eq!(tree.remove_file(Path::new("swapped")).unwrap(), Gone::Now);
        assert!(temp.path().join("outside/inner").is_dir());
    }

    /// A journal that is a device would be read for ever; a lock with a second name would be emptied there as well.
    #[test]
    fn our_files_are_plain_files_with_one_name() {
        let temp = tempfile::tempdir().unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, temp.path().join("pipe"), FileType::Fifo, mode, 0).unwrap();
        std::fs::write(temp.path().join("outside"), "outside").unwrap();
        std::fs::hard_link(temp.path().join("outside"), temp.path().join("lock")).unwrap();
        let tree = folder(temp.path());
        assert!(tree.read("pipe").is_err() && tree.append("pipe").is_err());
        assert!(tree.append("lock").unwrap_err().to_string().contains("another name"));
        assert!(tree.read("lock").unwrap().is_some(), "reading does no harm");
        assert!(tree.append("new").is_ok() && tree.append("new").is_ok());
    }

    #[test]
    fn only_plain_names() {
        let temp = tempfile::tempdir().unwrap();
        let tree = folder(temp.path());
        for path in ["..", "a/../..", "/etc"] {
            assert!(tree.open(Path::new(path)).is_err() || tree.open(Path::new(path)).unwrap().is_none(), "{path}");
            assert!(tree.make(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn nothing_that_is_there_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        for path in ["a/x", "b/x", "c"] {
            std::fs::create_dir_all(temp.path().join(path)).unwrap();
        }
        std::fs::write(temp.path().join("a/x/data"), "old").unwrap();
        std::fs::write(temp.path().join("b/x/data"), "new").unwrap();
        let tree = folder(temp.path());
        let [a, b, c] = ["a", "b", "c"].map(|name| tree.open(Path::new(name)).unwrap().unwrap());
        assert!(is_occupied(&a.move_to(Path::new("x"), &b).unwrap_err()));
        assert_eq!(std::fs::read(temp.path().join("b/x/data")).unwrap(), b"new");
        assert_eq!(a.move_to(Path::new("x"), &c).unwrap(), Gone::Now);
        assert_eq!(a.move_to(Path::new("x"), &c).unwrap(), Gone::Before);
        assert_eq!(std::fs::read(temp.path().join("c/x/data")).unwrap(), b"old");
        assert!(is_occupied(&c.remove_empty(Path::new("x")).unwrap_err()));
    }
}
