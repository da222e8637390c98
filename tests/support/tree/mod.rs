//! A registry's tree, written as distribution 2.8 writes it, from words that read like the scenario:
//!
//! ```text
//! let tree = Tree::new();
//! let app = tree.repository("team/app");
//! let v1 = app.image("v1");
//! let old = app.untagged("old");
//! ```
//!
//! Beside the builder stand its breakers (a bad disk, a careless hand) and three witnesses that know nothing of
//! regsweep: what is there ([`Tree::objects`]), what every tag can deliver ([`Tree::deliverable`]), and what the whole
//! tree looks like to `stat` ([`Tree::fingerprint`]). The same words give the same bytes, so two images that name the
//! same layer share it.

mod breakers;
mod everything;
mod manifest;
mod repository;
mod witness;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use tempfile::TempDir;

use super::formats::halves;

pub(crate) use everything::everything;
pub(crate) use manifest::{Blob, Manifest};
#[allow(unused_imports, reason = "each test crate uses its own part")]
pub(crate) use repository::{Repository, now, set_time};

/// A registry's storage root in a temporary folder.
pub(crate) struct Tree {
    dir: TempDir,
    labels: Mutex<BTreeMap<String, String>>,
    stashed: AtomicU32,
}

/// Where a file system in memory is mounted, if there is one.
const MEMORY: &str = "/dev/shm";
/// How much of it has to be free, in bytes. Containers often have 64 MiB in all.
const ENOUGH: u64 = 1 << 30;
/// Files of more bytes than this are shared between the copies of a tree.
const LARGE: u64 = 1 << 20;

/// A folder in memory, if there is one with room in it.
fn memory() -> PathBuf {
    let is_there = rustix::fs::statvfs(MEMORY).is_ok_and(|stat| stat.f_bavail * stat.f_frsize >= ENOUGH);
    let may_write = rustix::fs::access(MEMORY, rustix::fs::Access::WRITE_OK).is_ok();
    if is_there && may_write { PathBuf::from(MEMORY) } else { std::env::temp_dir() }
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// In memory, where there is room: for tests that make hundreds of trees and wait for the disk in each.
    pub(crate) fn in_memory() -> Self {
        Self::below(&memory())
    }

    fn below(folder: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("regsweep-tree-").tempdir_in(folder).unwrap();
        let tree = Self { dir, labels: Mutex::default(), stashed: AtomicU32::new(0) };
        fs::create_dir_all(tree.v2().join("blobs/sha256")).unwrap();
        fs::create_dir_all(tree.repositories()).unwrap();
        tree
    }

    /// The same tree once more, its files new ones. Only large ones are shared: a push empties a manifest in its place
    /// that has just come back, and another test with the same file must not see that.
    /// It lies in memory where the system has such a place: then a run does not wait for the disk, and a test can make
    /// thousands of them.
    pub(crate) fn copy(&self) -> Self {
        let dir = tempfile::Builder::new().prefix("regsweep-tree-").tempdir_in(memory()).unwrap();
        let copy = Self { dir, labels: Mutex::new(self.labels.lock().unwrap().clone()), stashed: AtomicU32::new(0) };
        copy_below(&self.root(), &copy.root());
        copy
    }

    /// Room beside the registry, for config files and copies of the binary.
    pub(crate) fn beside(&self) -> &Path {
        self.dir.path()
    }

    /// The storage root.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("registry")
    }

    pub(crate) fn v2(&self) -> PathBuf {
        self.root().join("docker/registry/v2")
    }

    pub(crate) fn repositories(&self) -> PathBuf {
        self.v2().join("repositories")
    }

    /// Where regsweep keeps its lock, its runs and their trash.
    pub(crate) fn regsweep(&self) -> PathBuf {
        self.v2().join("_regsweep")
    }

    pub(crate) fn repository(&self, name: &str) -> Repository<'_> {
        Repository { tree: self, name: name.to_owned() }
    }

    /// A blob that nothing refers to.
    pub(crate) fn orphan(&self, words: &str) -> Blob {
        let blob = Blob::layer(words);
        self.put(&blob);
        self.label(&blob.digest, &format!("<orphan {words}>"));
        blob
    }

    /// Writes a blob, as its upload does.
    pub(crate) fn put(&self, blob: &Blob) {
        write(&self.data(&blob.digest), &blob.bytes);
    }

    /// The folder of a blob.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = halves(digest);
        self.v2().join("blobs").join(algorithm).join(&hex[..2]).join(hex)
    }

    /// The content of a blob.
    pub(crate) fn data(&self, digest: &str) -> PathBuf {
        self.blob(digest).join("data")
    }

    fn label(&self, digest: &str, label: &str) {
        self.labels.lock().unwrap().entry(digest.to_owned()).or_insert_with(|| label.to_owned());
    }

    /// The words of the scenario by their digests, and the same words for another tree of that scenario.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        self.labels.lock().unwrap().clone()
    }

    pub(crate) fn labelled(self, labels: &BTreeMap<String, String>) -> Self {
        self.labels.lock().unwrap().clone_from(labels);
        self
    }

    /// The text with digests replaced by the words of the scenario, for failures that a person can read.
    pub(crate) fn explain(&self, text: &str) -> String {
        self.labels.lock().unwrap().iter().fold(text.to_owned(), |text, (digest, label)| text.replace(digest, label))
    }
}

pub(crate) fn blob_object(digest: &str) -> String {
    format!("blob {digest}")
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Copies a folder with all that is in it.
pub(crate) fn copy_below(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, from, to) = (entry.file_type().unwrap(), entry.path(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_below(&from, &to);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from).unwrap(), &to).unwrap();
        } else if entry.metadata().unwrap().len() <= LARGE || fs::hard_link(&from, &to).is_err() {
            fs::write(&to, fs::read(&from).unwrap()).unwrap();
        }
    }
}
