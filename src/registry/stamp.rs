//! What tells whether a file or folder is the one that was read before.

use rustix::fs::Stat;

/// What makes a file or folder the one that was read before. If any of it changes, somebody has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, u32),
    size: u64,
    /// On most file systems a folder has one link for each folder in it, so that a new one shows even within the same
    /// tick of the clock.
    links: u64,
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Stamp {
        Stamp {
            device: stat.st_dev,
            inode: stat.st_ino,
            modified: modified(stat),
            size: stat.st_size.cast_unsigned(),
            links: links(stat),
        }
    }

    /// The device that it lies on.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Device and inode: which file or folder this is, whatever its name.
    pub fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many folders are in a folder, by its link count; `None` where the file system does not count them (btrfs,
    /// very large folders of ext4).
    pub fn folders(&self) -> Option<u64> {
        self.links.checked_sub(2)
    }

    /// How many folders to make room for before a folder is listed. A guess, and never a large one that costs anything:
    /// a link count is what somebody else says.
    pub fn folders_expected(self) -> usize {
        const MOST: u64 = 1 << 16;
        usize::try_from(self.folders().unwrap_or(0).min(MOST)).unwrap_or(0)
    }

    /// When it was last modified: seconds since 1970 and nanoseconds.
    pub fn modified(&self) -> (i64, u32) {
        self.modified
    }
}

/// What makes a link file the one that was read before: the part of its [`Stamp`] that the stamps of the folders above
/// it do not tell. There is one for each revision and tag, so it is kept small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    inode: u64,
    seconds: i64,
    nanoseconds: u32,
    size: u32,
}

impl FileStamp {
    /// When it was last modified, in seconds since 1970.
    pub fn modified(self) -> i64 {
        self.seconds
    }
}

impl From<Stamp> for FileStamp {
    fn from(stamp: Stamp) -> FileStamp {
        let (seconds, nanoseconds) = stamp.modified;
        // A link of 4 GiB is as damaged as one that is larger.
        let size = u32::try_from(stamp.size).unwrap_or(u32::MAX);
        FileStamp { inode: stamp.inode, seconds, nanoseconds, size }
    }
}

#[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
pub(super) fn links(stat: &Stat) -> u64 {
    stat.st_nlink as u64
}

#[allow(clippy::cast_possible_truncation, clippy::unnecessary_cast, reason = "the type differs between architectures")]
fn modified(stat: &Stat) -> (i64, u32) {
    (stat.st_mtime as i64, stat.st_mtime_nsec as u32)
}

#[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
pub(super) fn accessed(stat: &Stat) -> i64 {
    stat.st_atime as i64
}
