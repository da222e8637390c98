//! What a volume keeps of who reads it, and reading that leaves no trace there.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::Registry;

/// Whether the system has refused once to read without a trace: it does so to everybody who is neither the owner of a
/// file nor root, and to ask again for each file would double the calls.
static IS_REFUSED: AtomicBool = AtomicBool::new(false);

/// Opens something, and does not change when it was last read: that is when somebody pulled it.
pub(super) fn open_unnoticed(folder: &OwnedFd, name: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let open = |flags| rustix::fs::openat(folder, name, flags, Mode::empty());
    if flags.contains(OFlags::DIRECTORY) || IS_REFUSED.load(Ordering::Relaxed) {
        return open(flags);
    }
    match open(flags | OFlags::NOATIME) {
        // Some file systems do not know the flag.
        Err(Errno::PERM | Errno::INVAL) => {
            let opened = open(flags)?;
            IS_REFUSED.store(true, Ordering::Relaxed);
            Ok(opened)
        }
        opened => opened,
    }
}

/// Whether a volume keeps when its files were last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTimes {
    /// At each reading.
    Exact,
    /// At the first reading after a change, and then once a day (`relatime`).
    Daily,
    /// It does not, or nobody knows: one clause that says why.
    NotKept(String),
}

/// File systems on a disk of this machine or in its memory, which keep access times as their mount says. Over a network
/// a client reads from its own memory, and the server hears nothing of it; what the mount says means nothing then.
const LOCAL: &[(u32, &str)] = &[
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xf2f5_2010, "f2fs"),
    (0xca45_1a4e, "bcachefs"),
    (0x3153_464a, "jfs"),
    (0x0102_1994, "tmpfs"),
    (0x794c_7630, "overlay"),
];

impl Registry {
    /// Whether the volume of the blobs keeps when they were last read, by the file system and by the options of the
    /// mount that is seen from here.
    pub fn access_times(&self) -> AccessTimes {
        let blobs = match self.v2().open(crate::layout::BLOBS) {
            Ok(Some(blobs)) => blobs,
            Ok(None) => return AccessTimes::NotKept("there are no blobs".to_owned()),
            Err(unreadable) => return AccessTimes::NotKept(unreadable.to_string()),
        };
        let asked = (rustix::fs::fstatfs(blobs.as_fd()), rustix::fs::fstatvfs(blobs.as_fd()));
        let (Ok(kind), Ok(mount)) = asked else {
            return AccessTimes::NotKept("the volume does not say how it is mounted".to_owned());
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "magic numbers have 32 bits")]
        let kind = kind.f_type as u32;
        judge(kind, mount.f_flag)
    }
}

fn judge(kind: u32, flags: StatVfsMountFlags) -> AccessTimes {
    let Some((_, name)) = LOCAL.iter().find(|(known, _)| *known == kind) else {
        return AccessTimes::NotKept(format!("file system {kind:#x} is none that is known to keep access times"));
    };
    if flags.contains(StatVfsMountFlags::NOATIME) {
        AccessTimes::NotKept(format!("{name} is mounted with noatime"))
    } else if flags.contains(StatVfsMountFlags::RELATIME) {
        AccessTimes::Daily
    } else {
        AccessTimes::Exact
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_volume_keeps() {
        let (ext4, nfs) = (0xef53, 0x6969);
        let none = StatVfsMountFlags::empty();
        assert_eq!(judge(ext4, none), AccessTimes::Exact);
        assert_eq!(judge(ext4, StatVfsMountFlags::RELATIME | StatVfsMountFlags::RDONLY), AccessTimes::Daily);
        for (kind, flags, why) in [
            (ext4, StatVfsMountFlags::NOATIME, "ext4 is mounted with noatime"),
            (ext4, StatVfsMountFlags::NOATIME | StatVfsMountFlags::RELATIME, "ext4 is mounted with noatime"),
            (nfs, StatVfsMountFlags::RELATIME, "file system 0x6969 is none that is known to keep access times"),
        ] {
            assert_eq!(judge(kind, flags), AccessTimes::NotKept(why.to_owned()));
        }
    }
}
