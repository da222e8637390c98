//! Pulling from a real registry: everything, on all platforms, digest by digest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use walkdir::WalkDir;

use super::http::Answer;
use super::{PASSWORD, RealRegistry, USER};
use crate::support::formats::{DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST, sha256};

/// One tag as it was pulled: what it points at, and every digest that came with it on all platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pulled {
    pub(crate) digest: String,
    pub(crate) contents: BTreeSet<String>,
    /// What the manifests name and the registry does not have: the gaps of a sparse index.
    pub(crate) missing: BTreeSet<String>,
}

impl RealRegistry {
    /// The digest that a tag has now, of the bytes that the registry serves; `None` where it answers 404.
    pub(crate) fn digest_of(&self, repository: &str, tag: &str) -> Option<String> {
        self.manifest(repository, tag).map(|answer| sha256(&answer.body))
    }

    /// Whether a manifest can be had by its digest.
    pub(crate) fn has_manifest(&self, repository: &str, digest: &str) -> bool {
        self.manifest(repository, digest).is_some()
    }

    fn manifest(&self, repository: &str, reference: &str) -> Option<Answer> {
        let accept = [OCI_MANIFEST, OCI_INDEX, OCI_ARTIFACT, DOCKER_MANIFEST, DOCKER_LIST].join(", ");
        let path = format!("/v2/{repository}/manifests/{reference}");
        let answer = self.request("GET", &path, &[("Accept", &accept)], None);
        match answer.status {
            200 => Some(answer),
            404 => None,
            other => panic!("{path}: {other} {}", answer.text()),
        }
    }

    /// Names of all repositories that the storage has (the catalog of 2.8 lists only those with a `_layers` folder).
    pub(crate) fn repositories(&self) -> Vec<String> {
        let base = self.v2().join("repositories");
        let mut names = Vec::new();
        for entry in WalkDir::new(&base).sort_by_file_name() {
            let entry = entry.unwrap();
            if entry.file_name() == "_manifests" {
                let name = entry.path().parent().unwrap().strip_prefix(&base).unwrap();
                names.push(name.to_str().unwrap().to_owned());
            }
        }
        names
    }

    /// The tags that the registry lists for a repository.
    pub(crate) fn tags(&self, repository: &str) -> Vec<String> {
        let answer = self.request("GET", &format!("/v2/{repository}/tags/list"), &[], None);
        if answer.status == 404 {
            return Vec::new();
        }
        let list = answer.expect_status(200).json();
        let mut tags: Vec<String> =
            list["tags"].as_array().into_iter().flatten().map(|tag| tag.as_str().unwrap().to_owned()).collect();
        tags.sort();
        tags
    }

    /// Pulls every tag of every repository on all platforms and verifies all that comes: over HTTP, digest by digest,
    /// and with skopeo. The keys are `repository:tag`; a tag that the registry lists but answers 404 for is not in it.
    pub(crate) fn pull_all(&self) -> BTreeMap<String, Pulled> {
        let mut all = BTreeMap::new();
        for repository in self.repositories() {
            for tag in self.tags(&repository) {
                if let Some(pulled) = self.pull(&repository, &tag) {
                    all.insert(format!("{repository}:{tag}"), pulled);
                }
            }
        }
        all
    }

    /// Pulls one tag on all platforms, as [`RealRegistry::pull_all`] does.
    pub(crate) fn pull(&self, repository: &str, tag: &str) -> Option<Pulled> {
        let answer = self.manifest(repository, tag)?;
        let digest = sha256(&answer.body);
        let mut pulled = Pulled { digest: digest.clone(), contents: BTreeSet::new(), missing: BTreeSet::new() };
        let mut strange = false;
        self.pull_manifest(repository, &digest, answer, &mut pulled, 0, &mut strange);
        if !strange && pulled.missing.is_empty() {
            self.skopeo_pull(repository, tag, &pulled);
        }
        Some(pulled)
    }

    /// Follows one manifest. `strange` is set where there is something in it that skopeo has no notion of.
    fn pull_manifest(
        &self,
        repository: &str,
        digest: &str,
        answer: Answer,
        pulled: &mut Pulled,
        depth: usize,
        strange: &mut bool,
    ) {
        assert_eq!(sha256(&answer.body), digest, "{repository}: the manifest's bytes are not its digest's");
        pulled.contents.insert(digest.to_owned());
        let manifest = answer.json();
        let entries = ["manifests", "layers", "blobs"].iter().filter_map(|key| manifest[*key].as_array()).flatten();
        let descriptors: Vec<&Value> = manifest.get("config").into_iter().chain(entries).collect();
        let is_index = manifest.get("manifests").is_some();
        *strange |= depth > 0 && is_index;
        for descriptor in descriptors {
            let child = descriptor["digest"].as_str().unwrap();
            let media_type = descriptor["mediaType"].as_str().unwrap();
            if media_type.contains(".manifest.") || media_type.contains(".image.index.") {
                match self.manifest(repository, child) {
                    Some(answer) => self.pull_manifest(repository, child, answer, pulled, depth + 1, strange),
                    None => drop(pulled.missing.insert(child.to_owned())),
                }
                continue;
            }
            *strange |= is_index;
            let blob = self.request("GET", &format!("/v2/{repository}/blobs/{child}"), &[], None);
            if blob.status == 404 {
                pulled.missing.insert(child.to_owned());
                continue;
            }
            let bytes = blob.expect_status(200).body;
            assert_eq!(sha256(&bytes), child, "{repository}: the blob's bytes are not its digest's");
            pulled.contents.insert(child.to_owned());
        }
    }

    /// Pulls with skopeo into a `dir:` folder, which keeps every manifest as it came, and looks that all is there.
    fn skopeo_pull(&self, repository: &str, tag: &str, pulled: &Pulled) {
        let out = self.fresh_path("pulled");
        let from = format!("docker://{}/{repository}:{tag}", self.address());
        let to = format!("dir:{}", out.display());
        let mut arguments = vec!["copy", "--quiet", "--all", "--preserve-digests", "--src-tls-verify=false"];
        let account = format!("{USER}:{PASSWORD}");
        if self.with_password {
            arguments.extend(["--src-creds", &account]);
        }
        arguments.extend([from.as_str(), to.as_str()]);
        self.skopeo(&arguments).exits(0);
        let got: BTreeSet<String> = fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name() != "version")
            .map(|entry| sha256(&fs::read(entry.path()).unwrap()))
            .collect();
        assert_eq!(got, pulled.contents, "{repository}:{tag}: what skopeo pulled, against what the manifests name");
        fs::remove_dir_all(&out).unwrap();
    }
}
