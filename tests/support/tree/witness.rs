//! The witnesses: what is there, and what a client gets out of it. They know nothing of regsweep.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Tree;
use crate::support::fingerprint::{Fingerprint, fingerprint, read_unnoticed};
use crate::support::formats::{TOO_LARGE_TO_HASH, halves, is_digest, sha256, sha512};

impl Tree {
    /// The whole storage root: names, types, sizes, times, inodes, contents.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.root())
    }

    /// Every object of the tree by name: one line a folder of the layout, whatever is or is not in it. A name that
    /// continues another's is a part of it: `team/app tag v1 history sha256:...` goes with `team/app tag v1`.
    pub(crate) fn objects(&self) -> BTreeSet<String> {
        let mut objects = BTreeSet::new();
        for algorithm in names(&self.v2().join("blobs")) {
            let folder = self.v2().join("blobs").join(&algorithm);
            for shard in names(&folder) {
                for hex in names(&folder.join(&shard)) {
                    objects.insert(format!("blob {algorithm}:{hex}"));
                }
            }
        }
        self.repositories_below("", &mut |name, folder| {
            objects.insert(name.to_owned());
            for digest in digests(&folder.join("_manifests/revisions")) {
                objects.insert(format!("{name} revision {digest}"));
            }
            for tag in names(&folder.join("_manifests/tags")) {
                objects.insert(format!("{name} tag {tag}"));
                for digest in digests(&folder.join("_manifests/tags").join(&tag).join("index")) {
                    objects.insert(format!("{name} tag {tag} history {digest}"));
                }
            }
            for digest in digests(&folder.join("_layers")) {
                objects.insert(format!("{name} layer {digest}"));
            }
            for upload in names(&folder.join("_uploads")) {
                objects.insert(format!("{name} upload {upload}"));
            }
        });
        objects
    }

    fn repositories_below(&self, name: &str, visit: &mut impl FnMut(&str, &Path)) {
        let folder = self.repositories().join(name);
        if ["_manifests", "_layers", "_uploads"].iter().any(|part| folder.join(part).is_dir()) {
            visit(name, &folder);
        }
        for child in names(&folder) {
            if !child.starts_with('_') && folder.join(&child).is_dir() {
                let name = if name.is_empty() { child } else { format!("{name}/{child}") };
                self.repositories_below(&name, visit);
            }
        }
    }
}

/// The names in a folder, sorted; none where there is no such folder.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn digests(folder: &Path) -> Vec<String> {
    let pairs = names(folder)
        .into_iter()
        .flat_map(|algorithm| names(&folder.join(&algorithm)).into_iter().map(move |hex| format!("{algorithm}:{hex}")));
    pairs.collect()
}

impl Tree {
    /// Everything that a client can get by tag (with `by_digest`: by any revision too), as facts like
    /// `team/app:v1 gets blob sha256:...`. It asks what the registry asks when it serves a pull: the tag's current
    /// link, the revision link in this repository, the blob with the right digest; for each config and layer a layer
    /// link in this repository and the blob; the children of an index likewise. What held before a run must hold after
    /// it.
    ///
    /// It reads a manifest in the plainest way: every digest in it, whatever the shape, but for `subject` and
    /// annotations. It shares no idea with the collector, so they cannot be wrong together.
    pub(crate) fn deliverable(&self, by_digest: bool) -> BTreeSet<String> {
        let mut facts = BTreeSet::new();
        self.repositories_below("", &mut |name, folder| {
            for tag in names(&folder.join("_manifests/tags")) {
                if let Some(digest) = link(&folder.join("_manifests/tags").join(&tag).join("current/link")) {
                    self.deliver(&format!("{name}:{tag}"), folder, &digest, &mut BTreeSet::new(), &mut facts);
                }
            }
            if by_digest {
                for digest in digests(&folder.join("_manifests/revisions")) {
                    self.deliver(&format!("{name}@{digest}"), folder, &digest, &mut BTreeSet::new(), &mut facts);
                }
            }
        });
        facts
    }

    fn deliver(
        &self,
        who: &str,
        repository: &Path,
        digest: &str,
        seen: &mut BTreeSet<String>,
        facts: &mut BTreeSet<String>,
    ) {
        if !is_digest(digest) || !seen.insert(digest.to_owned()) {
            return;
        }
        let (algorithm, hex) = halves(digest);
        // A layer by its sha512 name: 2.8 goes on to the link of the sha256 name, and answers 500 where that is gone.
        let layer_link = |digest: &str| {
            let (algorithm, hex) = halves(digest);
            link(&repository.join("_layers").join(algorithm).join(hex).join("link"))
        };
        let target = layer_link(digest).filter(|target| layer_link(target).as_ref() == Some(target));
        if target.is_some_and(|target| self.holds(&target)) {
            facts.insert(format!("{who} gets blob {digest}"));
        }
        let target = link(&repository.join("_manifests/revisions").join(algorithm).join(hex).join("link"));
        let Some(target) = target.filter(|target| self.holds(target)) else { return };
        facts.insert(format!("{who} gets manifest {digest}"));
        let path = self.data(&target);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > TOO_LARGE_TO_HASH) {
            return;
        }
        let Ok(bytes) = read_unnoticed(&path) else { return };
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else { return };
        let mut children = BTreeSet::new();
        every_digest(&value, &mut children);
        for child in children {
            self.deliver(who, repository, &child, seen, facts);
        }
    }

    /// Whether the blob is there and is what its name says.
    fn holds(&self, digest: &str) -> bool {
        let path = self.data(digest);
        let Ok(metadata) = fs::metadata(&path) else { return false };
        if !metadata.is_file() {
            return false;
        }
        if metadata.len() > TOO_LARGE_TO_HASH {
            return true;
        }
        let Ok(bytes) = read_unnoticed(&path) else { return false };
        digest == if digest.starts_with("sha512:") { sha512(&bytes) } else { sha256(&bytes) }
    }
}

fn every_digest(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if is_digest(text) => {
            found.insert(text.clone());
        }
        Value::Array(values) => values.iter().for_each(|value| every_digest(value, found)),
        Value::Object(members) => {
            for (key, value) in members {
                if key != "subject" && key != "annotations" {
                    every_digest(value, found);
                }
            }
        }
        _ => {}
    }
}

/// The digest in a link file, where there is a regular file and it holds one.
fn link(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > TOO_LARGE_TO_HASH {
        return None;
    }
    fs::read_to_string(path).ok().filter(|text| is_digest(text))
}
