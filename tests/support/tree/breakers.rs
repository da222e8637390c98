//! What breaks a tree: a bad disk, a careless hand, permission bits.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::Tree;
use crate::support::process::NOBODY;

impl Tree {
    /// Cuts a file short.
    pub(crate) fn truncate(&self, path: &Path, length: u64) {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
    }

    /// Turns one bit over in the middle of a file.
    pub(crate) fn flip(&self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) {
        assert!(path.exists(), "nothing to replace at {}", path.display());
        fs::write(path, bytes).unwrap();
    }

    /// Makes the file this long without writing: a sparse file.
    pub(crate) fn grow(&self, path: &Path, length: u64) {
        self.truncate(path, length);
    }

    pub(crate) fn remove(&self, path: &Path) {
        if fs::symlink_metadata(path).unwrap().is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    pub(crate) fn symlink(&self, target: &Path, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// Puts a named pipe in the place of a file: whoever opens it to read waits forever.
    pub(crate) fn fifo(&self, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.exists() {
            self.remove(path);
        }
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }

    /// Makes a file or folder answer every access with an error that is not "no such file": a symbolic link to itself
    /// (ELOOP) stands in its place until the guard is mended. It stands for EIO and ESTALE, and it binds root too.
    pub(crate) fn unreadable(&self, path: &Path) -> Unreadable {
        let number = self.stashed.fetch_add(1, Ordering::Relaxed);
        let stash = self.dir.path().join(format!("stash-{number}"));
        fs::rename(path, &stash).unwrap();
        symlink(path.file_name().unwrap(), path).unwrap();
        let error = fs::metadata(path).unwrap_err();
        assert_ne!(error.kind(), std::io::ErrorKind::NotFound, "the stand-in must not look absent");
        Unreadable { path: path.to_owned(), stash }
    }

    /// Gives the tree to the user that owns nothing else and lets that user reach it, where the tests run as root.
    pub(crate) fn give_to_nobody(&self) {
        fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if rustix::process::geteuid().is_root() {
            for entry in walkdir::WalkDir::new(self.root()) {
                std::os::unix::fs::lchown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
    }

    /// Makes everything in the tree look as if it was written so long ago.
    pub(crate) fn age(&self, by: Duration) {
        for entry in walkdir::WalkDir::new(self.v2()) {
            self.set_age(entry.unwrap().path(), by);
        }
    }

    /// Makes a file or folder look as if it was written so long ago.
    pub(crate) fn set_age(&self, path: &Path, age: Duration) {
        fs::File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    pub(crate) fn chmod(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// What [`Tree::unreadable`] put aside.
#[must_use = "mend it, to see that nothing was lost behind the error"]
pub(crate) struct Unreadable {
    path: PathBuf,
    stash: PathBuf,
}

impl Unreadable {
    /// The disk recovers: what was behind the error is there again.
    pub(crate) fn mend(self) {
        fs::remove_file(&self.path).expect("the stand-in is still there");
        fs::rename(&self.stash, &self.path).unwrap();
    }
}
