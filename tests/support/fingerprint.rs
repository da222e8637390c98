//! What a tree looks like to `stat`, and what differs between two looks at it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::formats::{TOO_LARGE_TO_HASH, sha256};

/// One name of the tree as `stat` sees it, with all that a write would change. The time of access is left out: reading
/// changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    kind: &'static str,
    size: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
    content: String,
}

/// Every name of a tree, relative to its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(BTreeMap<PathBuf, Entry>);

/// The whole tree below a folder: names, types, sizes, times, inodes, contents.
pub(crate) fn fingerprint(root: &Path) -> Fingerprint {
    let entries = WalkDir::new(root).follow_links(false).into_iter().map(|entry| {
        let entry = entry.unwrap();
        let metadata = fs::symlink_metadata(entry.path()).unwrap();
        let kind = entry.file_type();
        let (kind, content) = if kind.is_dir() {
            ("folder", String::new())
        } else if kind.is_symlink() {
            ("symbolic link", fs::read_link(entry.path()).unwrap().to_string_lossy().into_owned())
        } else if kind.is_file() {
            ("file", content_of(entry.path(), metadata.len()))
        } else {
            ("special", String::new())
        };
        let described = Entry {
            kind,
            size: metadata.len(),
            mode: metadata.mode(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            content,
        };
        (entry.path().strip_prefix(root).unwrap().to_owned(), described)
    });
    Fingerprint(entries.collect())
}

/// Fails with what differs, not with two dumps of everything.
#[track_caller]
pub(crate) fn assert_same_tree(before: &Fingerprint, after: &Fingerprint) {
    let changes = before.changes_to(after);
    assert!(changes.is_empty(), "the tree has changed:\n{}", changes.join("\n"));
}

fn content_of(path: &Path, length: u64) -> String {
    if length > TOO_LARGE_TO_HASH {
        let mut head = vec![0; 4096];
        fs::File::open(path).unwrap().read_exact(&mut head).unwrap();
        return format!("begins {}", sha256(&head));
    }
    read_unnoticed(path).map_or_else(|error| error.kind().to_string(), |bytes| sha256(&bytes))
}

impl Fingerprint {
    /// The registry's own files: no folders (a rename in a folder changes its time), nothing of regsweep's, and no
    /// times of change (a rename sets them).
    pub(crate) fn files(&self) -> Self {
        let mut files = self.as_moved_back();
        files.0.retain(|_, entry| entry.kind != "folder");
        files
    }

    /// The tree without what moving things away and back leaves changed: times of change (a rename sets them), times
    /// of the folders in which something moved, and regsweep's own folder. Files keep inode, mode, size, content and
    /// mtime.
    pub(crate) fn as_moved_back(&self) -> Self {
        let own = |path: &Path| path.components().any(|part| part.as_os_str() == "_regsweep");
        let entries = self.0.iter().filter(|(path, _)| !own(path)).map(|(path, entry)| {
            let mut entry = Entry { changed: (0, 0), ..entry.clone() };
            if entry.kind == "folder" {
                (entry.inode, entry.size, entry.modified) = (0, 0, (0, 0));
            }
            (path.clone(), entry)
        });
        Self(entries.collect())
    }

    /// The names below this one.
    pub(crate) fn below(&self, prefix: &str) -> Self {
        let entries = self.0.iter().filter(|(path, _)| path.starts_with(prefix));
        Self(entries.map(|(path, entry)| (path.clone(), entry.clone())).collect())
    }

    /// The inodes of all that is no folder.
    pub(crate) fn inodes(&self) -> BTreeSet<u64> {
        self.0.values().filter(|entry| entry.kind != "folder").map(|entry| entry.inode).collect()
    }

    /// What differs, one line each; nothing where they are the same.
    pub(crate) fn changes_to(&self, after: &Self) -> Vec<String> {
        let names: BTreeSet<&PathBuf> = self.0.keys().chain(after.0.keys()).collect();
        let lines = names.into_iter().filter_map(|name| match (self.0.get(name), after.0.get(name)) {
            (Some(before), Some(after)) if before == after => None,
            (Some(before), Some(after)) => Some(format!("{}: {before:?} became {after:?}", name.display())),
            (Some(_), None) => Some(format!("{}: gone", name.display())),
            (None, _) => Some(format!("{}: new", name.display())),
        });
        lines.collect()
    }

    /// Bytes in regular files whose name begins so.
    pub(crate) fn bytes_below(&self, prefix: &str) -> u64 {
        self.below(prefix).0.values().filter(|entry| entry.kind == "file").map(|entry| entry.size).sum()
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }
}

/// Reads a file and does not change when it was last read: for a cache that is when somebody pulled it.
pub(crate) fn read_unnoticed(path: &Path) -> io::Result<Vec<u8>> {
    let without_trace = i32::try_from(rustix::fs::OFlags::NOATIME.bits()).unwrap();
    let opened = fs::File::options().read(true).custom_flags(without_trace).open(path);
    let mut bytes = Vec::new();
    match opened {
        // Only the owner may.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return fs::read(path),
        opened => opened?.read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}
