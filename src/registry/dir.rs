//! A registry's folders, opened for reading.
//!
//! Everything that looks at the tree goes through [`Dir`]: a directory handle, and names relative to it. Three answers
//! are kept apart, because mixing them up is how collectors lose images:
//!
//! - `Ok(Some(..))`: it is there, and this is it;
//! - `Ok(None)`: it is not there (`ENOENT`, and nothing else);
//! - `Err(Unreadable)`: nobody knows. Permission denied, an I/O error, a stale handle, a symbolic link that leads
//!   nowhere (its volume may not be mounted): never to be read as absent.
//!
//! Nothing in this module can change a file.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::stamp::{Stamp, accessed, links};
use super::volume::open_unnoticed;
use crate::layout::{component, shown_path};
use crate::seam::{self, Limit, Seam};

/// How many bytes a link or `startedat` file may have at most. A sha512 digest is 135 bytes.
pub const MAX_LINK_BYTES: u64 = 1024;

/// Something that could not be read: where, and what the system said.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", shown_path(path))]
pub struct Unreadable {
    /// The path, relative to the `v2` folder.
    pub path: PathBuf,
    /// Why.
    pub cause: Cause,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A symbolic link that leads nowhere.
    #[error("a symbolic link that leads nowhere; is the volume that it points to mounted?")]
    DanglingLink,
    /// Something other than a regular file where a file belongs.
    #[error("not a regular file")]
    NotAFile,
    /// A listing that gave fewer folders than there are, and did not say so.
    #[error("its listing gives {listed} folders, and it holds {held}; run again, and if it stays so, mend the volume")]
    ShortListing {
        /// How many folders the listing gave.
        listed: u64,
        /// How many it holds, by its link count or by a second listing.
        held: u64,
    },
    /// A file that gave fewer bytes than it has, and did not say so; or that somebody cut short just now.
    #[error("reading it gives {read} bytes, and it holds {size}; run again, and if it stays so, mend the volume")]
    ShortRead {
        /// How many bytes the reading gave.
        read: u64,
        /// How many it holds.
        size: u64,
    },
    /// More bytes than such a file can have.
    #[error("{size} bytes, where at most {limit} can be right")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The most that is read.
        limit: u64,
    },
}

/// The kind of a directory entry, as the directory itself tells it; a symbolic link is not followed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    SymbolicLink,
    /// A pipe, socket or device.
    Other,
}

/// A file that was read whole.
#[derive(Debug)]
pub struct Content {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it was when it was read.
    pub stamp: Stamp,
}

/// How far a file was read through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadThrough {
    /// How many bytes.
    pub read: u64,
    /// Whether those are all.
    pub is_whole: bool,
}

/// Sizes of a file that was looked at, not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub bytes: u64,
    /// What it takes on the disk, in bytes (`st_blocks` times 512).
    pub disk_bytes: u64,
    /// When somebody last read it, as far as the volume keeps that, in seconds since 1970.
    pub accessed: i64,
    /// What it was when it was looked at.
    pub stamp: Stamp,
}

/// An open folder of the tree.
pub struct Dir {
    handle: OwnedFd,
    path: PathBuf,
    seam: Seam,
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dir").field(&self.path).finish()
    }
}

impl Dir {
    /// Opens a folder by its path on the machine. Symbolic links are followed.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn open_root(path: &Path) -> io::Result<Dir> {
        let handle = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Dir { handle, path: PathBuf::new(), seam: Seam::default() })
    }

    /// The same folder, with somebody at the seam.
    pub(crate) fn with_seam(self, seam: Seam) -> Dir {
        Dir { seam, ..self }
    }

    /// Who stands at the seam.
    pub(crate) fn seam(&self) -> Seam {
        self.seam
    }

    fn below(&self, handle: OwnedFd, name: &Path) -> Dir {
        Dir { handle, path: self.path.join(name), seam: self.seam }
    }

    fn ask(&self, kind: seam::Kind, name: &Path) -> Result<(), Errno> {
        self.seam.ask(kind, &self.handle, name)
    }

    /// Opens a folder below this one. Symbolic links are followed, as the registry follows them.
    ///
    /// # Errors
    /// [`Unreadable`] for everything but `ENOENT`, and for a symbolic link that leads nowhere.
    pub fn open(&self, name: impl AsRef<Path>) -> Result<Option<Dir>, Unreadable> {
        let name = name.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(self.opened(seam::Kind::OpenFolder, name, flags)?.map(|handle| self.below(handle, name)))
    }

    /// Like [`Dir::open`], and says whether the last name is a symbolic link: then nothing may be removed behind it.
    ///
    /// # Errors
    /// As for [`Dir::open`].
    pub fn open_noting_link(&self, name: impl AsRef<Path>) -> Result<Option<(Dir, bool)>, Unreadable> {
        let name = name.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = self
            .ask(seam::Kind::OpenFolder, name)
            .and_then(|()| rustix::fs::openat(&self.handle, name, flags, Mode::empty()));
        match opened {
            Ok(handle) => Ok(Some((self.below(handle, name), false))),
            // What the system says of a symbolic link; of a file as well, and then opening it says so again.
            Err(Errno::LOOP | Errno::NOTDIR) => Ok(self.open(name)?.map(|dir| (dir, true))),
            Err(Errno::NOENT) => Ok(self.open(name)?.map(|dir| (dir, false))),
            Err(errno) => Err(self.unreadable(name, errno)),
        }
    }

    /// The path of this folder, relative to the `v2` folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What this folder is now.
    ///
    /// # Errors
    /// [`Unreadable`] if the system refuses.
    pub fn stamp(&self) -> Result<Stamp, Unreadable> {
        let name = Path::new("");
        match self.ask(seam::Kind::Look, name).and_then(|()| rustix::fs::fstat(&self.handle)) {
            Ok(stat) => Ok(Stamp::of(&stat)),
            Err(errno) => Err(self.unreadable(name, errno)),
        }
    }

    /// Calls `each` with every entry's name and kind, in no order. Reading happens in large pieces, and nothing is
    /// allocated for an entry.
    ///
    /// # Errors
    /// [`Unreadable`] as soon as the system refuses: what came before is then *not* the whole folder.
    // The buffer is not to become a part of the caller's frame: callers go on to wait for parts of their work, on a
    // stack on which other parts run meanwhile.
    #[inline(never)]
    pub fn for_each(&self, mut each: impl FnMut(&[u8], Kind)) -> Result<(), Unreadable> {
        let failed = |errno| self.unreadable(Path::new(""), errno);
        let Limit { mut at_most, then } =
            self.seam.ask_how_much(seam::Kind::List, &self.handle, Path::new("")).map_err(failed)?;
        let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
        let mut entries = RawDir::new(&self.handle, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // So says a folder that somebody has removed since it was opened. It was empty then.
                Err(Errno::NOENT) if self.is_removed() => break,
                Err(errno) => return Err(failed(errno)),
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if at_most == 0 {
                break;
            }
            at_most -= 1;
            let kind = match entry.file_type() {
                // Some file systems do not say; ask the entry itself.
                FileType::Unknown => match self.look(component(name))? {
                    Some(looked) => looked.kind,
                    None => continue,
                },
                known => kind_of(known),
            };
            each(name, kind);
        }
        then.map_or(Ok(()), |errno| Err(failed(errno)))
    }

    /// Whether no name leads to this folder any more.
    fn is_removed(&self) -> bool {
        rustix::fs::fstat(&self.handle).is_ok_and(|stat| links(&stat) == 0)
    }

    /// [`Dir::for_each`] for a folder whose entries keep something alive: a listing that succeeds with fewer folders
    /// than there are (a network file system that lost its place, a bug in a driver) would make live images look like
    /// garbage. A folder's link count says how many folders are in it; where it does not count them (btrfs, very large
    /// folders of ext4), the folder is listed twice.
    ///
    /// Symbolic links are not counted: see [`Dir::for_each_twice`].
    ///
    /// `before` is what the folder was before the listing. One that another process has removed something from
    /// meanwhile is not short.
    ///
    /// # Errors
    /// As for [`Dir::for_each`], and [`Cause::ShortListing`].
    pub fn for_each_of_all(&self, before: Stamp, mut each: impl FnMut(&[u8], Kind)) -> Result<(), Unreadable> {
        let mut listed = 0;
        self.for_each(|name, kind| {
            listed += u64::from(kind == Kind::Directory);
            each(name, kind);
        })?;
        let held = match before.folders() {
            Some(folders) if listed >= folders => return Ok(()),
            Some(folders) => folders.min(self.stamp()?.folders().unwrap_or(0)),
            None => self.count_again(|kind| kind == Kind::Directory)?,
        };
        self.check_listing(listed, held)
    }

    /// [`Dir::for_each_of_all`] for the few folders in which symbolic links are usual: those of the repositories. No
    /// link count tells how many there are, so the folder is listed a second time.
    ///
    /// # Errors
    /// As for [`Dir::for_each_of_all`].
    pub fn for_each_twice(&self, before: Stamp, mut each: impl FnMut(&[u8], Kind)) -> Result<(), Unreadable> {
        let mut listed = 0;
        self.for_each_of_all(before, |name, kind| {
            listed += u64::from(kind == Kind::SymbolicLink);
            each(name, kind);
        })?;
        let held = self.count_again(|kind| kind == Kind::SymbolicLink)?;
        self.check_listing(listed, held)
    }

    /// How many entries of a kind another listing gives.
    fn count_again(&self, is_counted: impl Fn(Kind) -> bool) -> Result<u64, Unreadable> {
        rustix::fs::seek(&self.handle, rustix::fs::SeekFrom::Start(0))
            .map_err(|errno| self.unreadable(Path::new(""), errno))?;
        let mut count = 0;
        self.for_each(|_, kind| count += u64::from(is_counted(kind)))?;
        Ok(count)
    }

    fn check_listing(&self, listed: u64, held: u64) -> Result<(), Unreadable> {
        if listed < held {
            return Err(Unreadable { path: self.path.clone(), cause: Cause::ShortListing { listed, held } });
        }
        Ok(())
    }

    /// Whether an entry is there, and how large: a `stat` that does not follow a symbolic link at the end.
    ///
    /// # Errors
    /// [`Unreadable`] for everything but `ENOENT`.
    pub fn look(&self, name: impl AsRef<Path>) -> Result<Option<Looked>, Unreadable> {
        let name = name.as_ref();
        let looked = self
            .ask(seam::Kind::Look, name)
            .and_then(|()| rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW));
        match looked {
            Ok(stat) => Ok(Some(Looked {
                kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
                bytes: stat.st_size.cast_unsigned(),
                disk_bytes: stat.st_blocks.cast_unsigned() * 512,
                accessed: accessed(&stat),
                stamp: Stamp::of(&stat),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.unreadable(name, errno)),
        }
    }

    /// What a file or folder is now; symbolic links are followed. `None` if it is not there.
    ///
    /// # Errors
    /// [`Unreadable`] for everything but `ENOENT`.
    pub fn stamp_of(&self, name: impl AsRef<Path>) -> Result<Option<Stamp>, Unreadable> {
        let name = name.as_ref();
        let looked =
            self.ask(seam::Kind::Look, name).and_then(|()| rustix::fs::statat(&self.handle, name, AtFlags::empty()));
        match looked {
            Ok(stat) => Ok(Some(Stamp::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.unreadable(name, errno)),
        }
    }

    /// Reads a small file whole. Symbolic links are followed.
    ///
    /// # Errors
    /// [`Unreadable`] for everything but `ENOENT`; also for what is no regular file, for more than `limit` bytes, of
    /// which none is then read, and for fewer bytes than the file's size.
    pub fn read(&self, name: impl AsRef<Path>, limit: u64) -> Result<Option<Content>, Unreadable> {
        let name = name.as_ref();
        // Without NONBLOCK the opening of a pipe would wait for a writer for ever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Some(file) = self.opened(seam::Kind::OpenFile, name, flags)? else { return Ok(None) };
        let stat = self
            .seam
            .ask(seam::Kind::Look, &file, Path::new(""))
            .and_then(|()| rustix::fs::fstat(&file))
            .map_err(|errno| self.unreadable(name, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Unreadable { path: self.path.join(name), cause: Cause::NotAFile });
        }
        let size = stat.st_size.cast_unsigned();
        if size > limit {
            return Err(Unreadable { path: self.path.join(name), cause: Cause::TooLarge { size, limit } });
        }
        let bytes = self
            .seam
            .ask_how_much(seam::Kind::Read, &file, Path::new(""))
            .and_then(|part| match part.then {
                Some(errno) => Err(errno),
                None => Ok((read_to_end(&file, size, limit)?, part.at_most)),
            })
            .map(|(mut bytes, at_most)| {
                bytes.truncate(at_most);
                bytes
            })
            .map_err(|errno| self.unreadable(name, errno))?;
        if bytes.len() as u64 > limit {
            let cause = Cause::TooLarge { size: bytes.len() as u64, limit };
            return Err(Unreadable { path: self.path.join(name), cause });
        }
        // Half a link or half a manifest is not what it says: it would be damage that lets go of what the whole names.
        if (bytes.len() as u64) < size {
            let cause = Cause::ShortRead { read: bytes.len() as u64, size };
            return Err(Unreadable { path: self.path.join(name), cause });
        }
        Ok(Some(Content { bytes, stamp: Stamp::of(&stat) }))
    }

    /// Reads a small file that tells by itself that it is whole, as one does whose digest is known: `use_it` says what
    /// it makes of the bytes, or `None` if they are not what they should be. Saves asking for the size before.
    ///
    /// `None` says nothing about the file, not even whether it is there: for that there is [`Dir::read`].
    pub fn read_if_whole<T>(&self, name: impl AsRef<Path>, use_it: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let name = name.as_ref();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        self.ask(seam::Kind::OpenFile, name).ok()?;
        let file = open_unnoticed(&self.handle, name, flags).ok()?;
        let part = self.seam.ask_how_much(seam::Kind::Read, &file, Path::new("")).ok()?;
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let (bytes, _) = rustix::io::read(&file, &mut buffer[..]).ok()?;
        if part.then.is_some() {
            return None;
        }
        use_it(&bytes[..bytes.len().min(part.at_most)])
    }

    /// Reads a file of any size from its beginning to its end, and hands over what it holds piece by piece, as much at a
    /// time as the buffer has room for. `None` if there is no such file. The system is told that what is read is read
    /// once, so that it need not take the place of what others need in its memory (Linux listens from 6.3 on).
    ///
    /// `go_on` is asked after each piece; once it says no, the rest is not read, and the answer is what was read so far.
    ///
    /// # Errors
    /// [`Unreadable`] for everything but `ENOENT`; also for what is no regular file, and for fewer bytes than the file's
    /// size.
    pub fn read_through(
        &self,
        name: impl AsRef<Path>,
        buffer: &mut [u8],
        mut go_on: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<ReadThrough>, Unreadable> {
        let name = name.as_ref();
        let failed = |errno| self.unreadable(name, errno);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Some(file) = self.opened(seam::Kind::OpenFile, name, flags)? else { return Ok(None) };
        let asked = self.seam.ask(seam::Kind::Look, &file, Path::new(""));
        let stat = asked.and_then(|()| rustix::fs::fstat(&file)).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Unreadable { path: self.path.join(name), cause: Cause::NotAFile });
        }
        let size = stat.st_size.cast_unsigned();
        // Advice and no more: a file system that takes none reads as it always does.
        let advise = |advice| _ = rustix::fs::fadvise(&file, 0, None, advice);
        advise(Advice::Sequential);
        advise(Advice::NoReuse);
        let mut through = ReadThrough { read: 0, is_whole: true };
        loop {
            let part = self.seam.ask_how_much(seam::Kind::Read, &file, Path::new("")).map_err(failed)?;
            if let Some(errno) = part.then {
                return Err(failed(errno));
            }
            let read = match rustix::io::read(&file, &mut *buffer) {
                Ok(read) => read.min(part.at_most),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            through.read += read as u64;
            if read == 0 {
                break;
            }
            if !go_on(&buffer[..read]) {
                through.is_whole = false;
                break;
            }
        }
        if through.is_whole && through.read < size {
            let cause = Cause::ShortRead { read: through.read, size };
            return Err(Unreadable { path: self.path.join(name), cause });
        }
        Ok(Some(through))
    }

    /// Has the system forget what it holds of a file in its memory, as far as it likes to: whoever reads it next reads the
    /// disk.
    pub fn forget(&self, name: impl AsRef<Path>) {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::openat(&self.handle, name.as_ref(), flags, Mode::empty()) {
            // Advice and no more.
            _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
        }
    }

    /// Opens something. `ENOENT` is only believed if the name is not there when it is asked for as well.
    fn opened(&self, kind: seam::Kind, name: &Path, flags: OFlags) -> Result<Option<OwnedFd>, Unreadable> {
        for _ in 0..2 {
            let opened = self.ask(kind, name).and_then(|()| open_unnoticed(&self.handle, name, flags));
            match opened {
                Ok(handle) => return Ok(Some(handle)),
                Err(Errno::NOENT) if self.is_absent(name)? => return Ok(None),
                // It has come into being since.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.unreadable(name, errno)),
            }
        }
        Err(self.unreadable(name, Errno::NOENT))
    }

    /// Whether a name is not there. Behind a symbolic link that leads nowhere, anywhere on the way, nobody knows.
    fn is_absent(&self, name: &Path) -> Result<bool, Unreadable> {
        let mut way = PathBuf::new();
        for component in name.components() {
            way.push(component);
            match self.look(&way)? {
                None => return Ok(true),
                Some(Looked { kind: Kind::SymbolicLink, .. }) if self.stamp_of(&way)?.is_none() => {
                    return Err(Unreadable { path: self.path.join(way), cause: Cause::DanglingLink });
                }
                Some(_) => {}
            }
        }
        Ok(false)
    }

    fn unreadable(&self, name: &Path, errno: Errno) -> Unreadable {
        let path = if name.as_os_str().is_empty() { self.path.clone() } else { self.path.join(name) };
        Unreadable { path, cause: Cause::Io(errno.into()) }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Reads up to one byte more than `limit`, so that a file that grew meanwhile is seen.
fn read_to_end(file: &OwnedFd, expected: u64, limit: u64) -> Result<Vec<u8>, Errno> {
    // One byte more than expected: the read that fills the file's size then also sees its end.
    let first = usize::try_from(expected.min(limit) + 1).unwrap_or(usize::MAX);
    let mut bytes = vec![0; first];
    let mut filled = 0;
    loop {
        match rustix::io::read(file, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        // A regular file that gave fewer bytes than asked has ended.
        if filled == first.saturating_sub(1) && filled as u64 == expected {
            break;
        }
        if filled == bytes.len() {
            if filled as u64 > limit {
                break;
            }
            bytes.resize(filled + 4096, 0);
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The kind of a file of this type.
pub(crate) fn kind_of(file_type: FileType) -> Kind {
    match file_type {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Symlink => Kind::SymbolicLink,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build trees")]

    use super::*;

    #[test]
    fn absent_is_not_unreadable() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("file"), "12345").unwrap();
        std::fs::create_dir(temp.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("nowhere", temp.path().join("dangling")).unwrap();
        std::os::unix::fs::symlink("loop", temp.path().join("loop")).unwrap();
        std::os::unix::fs::symlink("file", temp.path().join("good")).unwrap();
        let dir = Dir::open_root(temp.path()).unwrap();

        assert!(dir.read("absent", 10).unwrap().is_none());
        assert!(dir.open("absent").unwrap().is_none());
        assert!(dir.look("absent").unwrap().is_none());
        assert_eq!(dir.read("file", 10).unwrap().unwrap().bytes, b"12345");
        assert_eq!(dir.read("file", 5).unwrap().unwrap().bytes, b"12345");
        assert_eq!(dir.read("good", 10).unwrap().unwrap().bytes, b"12345");

        assert!(matches!(dir.read("file", 4).unwrap_err().cause, Cause::TooLarge { size: 5, limit: 4 }));
        assert!(matches!(dir.read("folder", 10).unwrap_err().cause, Cause::NotAFile));
        assert!(matches!(dir.read("dangling", 10).unwrap_err().cause, Cause::DanglingLink));
        assert!(matches!(dir.open("dangling").unwrap_err().cause, Cause::DanglingLink));
        assert!(matches!(dir.read("dangling/current/link", 10).unwrap_err().cause, Cause::DanglingLink));
        assert!(matches!(dir.open("dangling/index").unwrap_err().cause, Cause::DanglingLink));
        assert!(dir.read("folder/absent/link", 10).unwrap().is_none());
        assert!(matches!(dir.read("loop", 10).unwrap_err().cause, Cause::Io(_)));
        assert!(matches!(dir.open("file").unwrap_err().cause, Cause::Io(_)));
        assert_eq!(dir.look("dangling").unwrap().unwrap().kind, Kind::SymbolicLink);
    }
}
