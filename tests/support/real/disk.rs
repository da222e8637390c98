//! What a registry has on disk.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use walkdir::WalkDir;

use crate::support::process::finish;

/// `docker/registry/v2` below a storage root.
pub(crate) fn v2_of(root: &Path) -> PathBuf {
    root.join("docker/registry/v2")
}

/// The digests of all blobs that are there: of `blobs/*/*/*/data`.
pub(crate) fn blobs_of(root: &Path) -> BTreeSet<String> {
    let mut digests = BTreeSet::new();
    for entry in WalkDir::new(v2_of(root).join("blobs")).min_depth(4).max_depth(4) {
        let entry = entry.unwrap();
        if entry.file_name() == "data" {
            let folder = entry.path().parent().unwrap();
            let algorithm = folder.parent().unwrap().parent().unwrap().file_name().unwrap();
            digests.insert(format!("{}:{}", algorithm.display(), folder.file_name().unwrap().display()));
        }
    }
    digests
}

/// The digests that have a layer link in a repository.
pub(crate) fn layer_links_of(root: &Path, repository: &str) -> BTreeSet<String> {
    links_of(&v2_of(root).join("repositories").join(repository).join("_layers"))
}

/// The digests that have a revision link in a repository.
pub(crate) fn revision_links_of(root: &Path, repository: &str) -> BTreeSet<String> {
    links_of(&v2_of(root).join("repositories").join(repository).join("_manifests/revisions"))
}

fn links_of(folder: &Path) -> BTreeSet<String> {
    WalkDir::new(folder)
        .into_iter()
        .filter(|entry| {
            !entry.as_ref().is_err_and(|error| error.io_error().is_some_and(|e| e.kind() == ErrorKind::NotFound))
        })
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name() == "link")
        .map(|entry| {
            let folder = entry.path().parent().unwrap();
            let algorithm = folder.parent().unwrap().file_name().unwrap();
            format!("{}:{}", algorithm.display(), folder.file_name().unwrap().display())
        })
        .collect()
}

/// Copies a tree with all its times, links and owners.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    command.arg("-a").arg("--").arg(from).arg(to);
    finish(command).exits(0);
}
