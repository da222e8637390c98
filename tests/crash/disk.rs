//! What is on a disk, in memory: names and contents. A tree is made of it as often as one is needed, always the same;
//! and the states that a power cut leaves are made here, without a file.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::WalkDir;

/// Everything below a folder, by its path in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Disk(BTreeMap<PathBuf, Entry>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Entry {
    Folder,
    File(Arc<[u8]>),
}

impl Disk {
    pub(crate) fn of(root: &Path) -> Self {
        let entries = WalkDir::new(root).min_depth(1).into_iter().map(|entry| {
            let entry = entry.unwrap();
            let path = entry.path().strip_prefix(root).unwrap().to_owned();
            let kind = if entry.file_type().is_dir() {
                Entry::Folder
            } else {
                Entry::File(fs::read(entry.path()).unwrap().into())
            };
            (path, kind)
        });
        Self(entries.collect())
    }

    pub(crate) fn write_to(&self, root: &Path) {
        fs::create_dir_all(root).unwrap();
        for (path, entry) in &self.0 {
            let path = root.join(path);
            match entry {
                // The outermost are there in every tree.
                Entry::Folder => fs::create_dir_all(path).unwrap(),
                Entry::File(bytes) => fs::write(path, bytes).unwrap(),
            }
        }
    }

    /// The same for the same state, as far as sixty-four bits go.
    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }

    /// Only what is below this folder, or only what is not.
    pub(crate) fn split(&self, folder: &Path) -> [Disk; 2] {
        let (below, other) = self.0.clone().into_iter().partition(|(path, _)| path.starts_with(folder));
        [Disk(below), Disk(other)]
    }

    /// Regular files and their contents.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.0.iter().filter_map(|(path, entry)| match entry {
            Entry::File(bytes) => Some((&**path, &**bytes)),
            Entry::Folder => None,
        })
    }

    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter(|(_, entry)| **entry == Entry::Folder).map(|(path, _)| &**path)
    }

    pub(crate) fn holds(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || self.0.contains_key(path)
    }

    fn below(&self, folder: &Path) -> impl Iterator<Item = &PathBuf> {
        // A path sorts right before what is below it, since the separator is no part of any name.
        self.0.range(folder.to_owned()..).map(|(path, _)| path).take_while(move |path| path.starts_with(folder)).skip(1)
    }

    pub(crate) fn is_occupied(&self, path: &Path) -> bool {
        match self.0.get(path) {
            Some(Entry::File(_)) => true,
            Some(Entry::Folder) => self.below(path).next().is_some(),
            None => false,
        }
    }

    /// Makes a folder and what is missing above it.
    pub(crate) fn make_folder(&mut self, path: &Path) {
        for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
            self.0.entry(folder.to_owned()).or_insert(Entry::Folder);
        }
    }

    pub(crate) fn write(&mut self, path: &Path, bytes: &[u8]) {
        self.0.insert(path.to_owned(), Entry::File(bytes.into()));
    }

    pub(crate) fn remove(&mut self, path: &Path) {
        self.0.remove(path);
    }

    /// Moves a file, or a folder with all that is in it.
    pub(crate) fn rename(&mut self, from: &Path, to: &Path) {
        let moved: Vec<PathBuf> = self.0.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            let entry = self.0.remove(&path).unwrap();
            let rest = path.strip_prefix(from).unwrap();
            let to = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            self.0.insert(to, entry);
        }
    }

    /// Copies what is in one folder over another.
    pub(crate) fn lay_over(&mut self, from: &Path, to: &Path) {
        let below: Vec<PathBuf> = self.below(from).cloned().collect();
        for path in below {
            let entry = self.0[&path].clone();
            self.0.insert(to.join(path.strip_prefix(from).unwrap()), entry);
        }
    }
}

#[test]
fn what_is_written_is_what_was_read() {
    let temp = tempfile::tempdir().unwrap();
    let mut disk = Disk::default();
    disk.make_folder(Path::new("a/b/empty"));
    disk.make_folder(Path::new("a/b-c"));
    disk.write(Path::new("a/b/file"), b"x");
    assert!(disk.is_occupied(Path::new("a/b")) && !disk.is_occupied(Path::new("a/b-c")));
    disk.write_to(&temp.path().join("one"));
    assert_eq!(Disk::of(&temp.path().join("one")), disk);
    disk.make_folder(Path::new("c"));
    disk.rename(Path::new("a/b"), Path::new("c/b"));
    assert!(!disk.is_occupied(Path::new("a/b")) && disk.holds(Path::new("c/b/file")));
    disk.write_to(&temp.path().join("two"));
    assert_eq!(Disk::of(&temp.path().join("two")).hash(), disk.hash());
}
