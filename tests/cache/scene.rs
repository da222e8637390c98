//! A tree as a cache leaves it, with its schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::tree::{Manifest, Repository, Tree};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn state(root: &Path) -> PathBuf {
    root.join("scheduler-state.json")
}

/// The keys that a schedule should have for what is there: one for each revision link and layer link.
pub(crate) fn due(tree: &Tree) -> BTreeSet<String> {
    let links = tree.objects().into_iter().filter_map(|object| {
        let mut words = object.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(repository), Some("revision" | "layer"), Some(digest), None) => {
                Some(format!("{repository}@{digest}"))
            }
            _ => None,
        }
    });
    links.collect()
}

/// Writes the schedule that a cache has for what is there.
pub(crate) fn schedule(tree: &Tree) {
    let revisions: BTreeSet<String> = tree.objects().into_iter().filter(|it| it.contains(" revision ")).collect();
    let entries: BTreeMap<String, Value> = due(tree)
        .into_iter()
        .map(|key| {
            let (repository, digest) = key.split_once('@').unwrap();
            let kind = u64::from(revisions.contains(&format!("{repository} revision {digest}")));
            (key.clone(), json!({"Key": key, "ExpiryData": "2036-11-29T03:54:36.013327816Z", "EntryType": kind}))
        })
        .collect();
    fs::write(state(&tree.root()), serde_json::to_string(&entries).unwrap()).unwrap();
}

/// The keys in a schedule.
pub(crate) fn scheduled(root: &Path) -> BTreeSet<String> {
    scheduled_now(root).expect("a schedule")
}

/// The keys in a schedule that a registry may just be writing, which empties it first.
pub(crate) fn scheduled_now(root: &Path) -> Option<BTreeSet<String>> {
    let entries: BTreeMap<String, Value> = serde_json::from_slice(&fs::read(state(root)).ok()?).ok()?;
    Some(entries.into_keys().collect())
}

/// When a file was last read and written.
pub(crate) fn set_times(path: &Path, accessed: Duration, modified: Duration) {
    let now = SystemTime::now();
    let times = FileTimes::new().set_accessed(now - accessed).set_modified(now - modified);
    fs::File::open(path).unwrap().set_times(times).unwrap();
}

/// An image that was fetched so long ago, and that nobody has asked for since.
pub(crate) fn fetched_ago(repository: &Repository<'_>, tree: &Tree, manifest: &Manifest, tags: &[&str], age: Duration) {
    for digest in [&manifest.digest[..]].into_iter().chain(manifest.blob_digests()) {
        set_times(&tree.data(digest), age, age);
    }
    for digest in manifest.blob_digests() {
        set_times(&repository.layer(digest).join("link"), age, age);
    }
    set_times(&repository.revision(&manifest.digest).join("link"), age, age);
    tags.iter().for_each(|tag| repository.pushed_ago(tag, age));
}

/// A tagged image with these layers, fetched so long ago.
pub(crate) fn image(tree: &Tree, repository: &str, tag: &str, layers: &[&str], days: u32) -> Manifest {
    let repository = tree.repository(repository);
    let image = repository.image_with_layers(tag, layers);
    fetched_ago(&repository, tree, &image, &[tag], DAY * days);
    image
}

/// The size of what a tree holds, in bytes.
pub(crate) fn size(tree: &Tree) -> u64 {
    let files = walkdir::WalkDir::new(tree.v2().join("blobs")).into_iter().map(|entry| entry.unwrap());
    files.filter(|file| file.file_type().is_file()).map(|file| file.metadata().unwrap().len()).sum()
}

/// The bytes of these blobs.
pub(crate) fn bytes_of(tree: &Tree, digests: &[&str]) -> u64 {
    digests.iter().map(|digest| fs::metadata(tree.data(digest)).unwrap().len()).sum()
}

/// Takes the entries out of the schedule whose keys begin so: those of what was pushed before there was one.
pub(crate) fn forget(tree: &Tree, prefix: &str) {
    let path = state(&tree.root());
    let mut entries: BTreeMap<String, Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let before = entries.len();
    entries.retain(|key, _| !key.starts_with(prefix));
    assert!(entries.len() < before, "nothing in the schedule begins with {prefix}");
    fs::write(path, serde_json::to_string(&entries).unwrap()).unwrap();
}
