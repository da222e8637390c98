//! Pushing to a real registry, and deleting from it, as clients and people do.

use std::fs;
use std::path::PathBuf;

use super::http::Answer;
use super::{PASSWORD, RealRegistry, USER};
use crate::support::formats::{DOCKER_LIST, OCI_ARTIFACT, OCI_INDEX, hex_of, sha256};
use crate::support::image::Image;

impl RealRegistry {
    /// Pushes an image with skopeo under a tag, byte for byte, all platforms; what skopeo has no notion of (an index
    /// in an index, a build cache) goes over the registry's HTTP API instead.
    pub(crate) fn push(&self, repository: &str, tag: &str, image: &Image) {
        if skopeo_knows(image) {
            self.skopeo_push(repository, tag, image, &["--preserve-digests"]);
        } else {
            self.raw_push(repository, tag, image);
        }
        let now = self.digest_of(repository, tag);
        assert_eq!(now.as_deref(), Some(image.digest().as_str()), "{repository}:{tag} after its push");
    }

    /// Pushes with `skopeo --format v2s2`, which rewrites an OCI image as Docker schema 2, and an index as a manifest
    /// list. Says which digest the tag has then.
    pub(crate) fn push_as_docker(&self, repository: &str, tag: &str, image: &Image) -> String {
        self.skopeo_push(repository, tag, image, &["--format", "v2s2"]);
        self.digest_of(repository, tag).expect("it was just pushed")
    }

    /// Pushes an image that no tag names: by digest.
    pub(crate) fn push_untagged(&self, repository: &str, image: &Image) {
        self.raw_push(repository, &image.digest(), image);
    }

    fn skopeo_push(&self, repository: &str, tag: &str, image: &Image, flags: &[&str]) {
        let layout = self.fresh_path("layout");
        let from = if image.manifest.media_type.contains(".docker.") {
            image.write_dir(&layout);
            format!("dir:{}", layout.display())
        } else {
            image.write_layout(&layout, "it");
            format!("oci:{}:it", layout.display())
        };
        let to = format!("docker://{}/{repository}:{tag}", self.address());
        let mut arguments = vec!["copy", "--quiet", "--all", "--dest-tls-verify=false"];
        let account = format!("{USER}:{PASSWORD}");
        if self.with_password {
            arguments.extend(["--dest-creds", &account]);
        }
        arguments.extend(flags);
        arguments.extend([from.as_str(), to.as_str()]);
        self.skopeo(&arguments).exits(0);
        fs::remove_dir_all(&layout).unwrap();
    }

    /// Pushes over HTTP: blobs first, then children, then the manifest; `reference` is a tag or a digest.
    pub(crate) fn raw_push(&self, repository: &str, reference: &str, image: &Image) {
        for blob in &image.blobs {
            self.upload(repository, &blob.bytes);
        }
        for child in &image.children {
            self.raw_push(repository, &child.digest(), child);
        }
        self.put_manifest(repository, reference, image).expect_status(201);
    }

    /// Puts a manifest alone and gives the registry's answer, whatever it is.
    pub(crate) fn put_manifest(&self, repository: &str, reference: &str, image: &Image) -> Answer {
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.request("PUT", &path, &[("Content-Type", &image.manifest.media_type)], Some(&image.manifest.bytes))
    }

    /// Uploads a blob that nothing refers to yet; gives its digest.
    pub(crate) fn upload(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        if self.request("HEAD", &format!("/v2/{repository}/blobs/{digest}"), &[], None).status == 200 {
            return digest;
        }
        let location = self.begin_upload(repository);
        let joint = if location.contains('?') { '&' } else { '?' };
        let octets = [("Content-Type", "application/octet-stream")];
        self.request("PUT", &format!("{location}{joint}digest={digest}"), &octets, Some(bytes)).expect_status(201);
        digest
    }

    /// Begins an upload, sends these bytes and never finishes; gives the upload's folder.
    pub(crate) fn abandon_upload(&self, repository: &str, bytes: &[u8]) -> PathBuf {
        let location = self.begin_upload(repository);
        let octets = [("Content-Type", "application/octet-stream")];
        self.request("PATCH", &location, &octets, Some(bytes)).expect_status(202);
        let id = location.split('?').next().unwrap().rsplit('/').next().unwrap();
        let folder = self.repository(repository).join("_uploads").join(id);
        assert!(folder.join("startedat").is_file(), "{} has no startedat", folder.display());
        folder
    }

    fn begin_upload(&self, repository: &str) -> String {
        let begun = self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], Some(b""));
        begun.expect_status(202).location
    }

    /// `DELETE` of a manifest by digest, as clients do it.
    pub(crate) fn api_delete(&self, repository: &str, digest: &str) {
        self.request("DELETE", &format!("/v2/{repository}/manifests/{digest}"), &[], None).expect_status(202);
    }

    /// Takes an image out on disk as many guides tell people to: the tag's index entry and the revision, nothing else.
    pub(crate) fn delete_by_hand(&self, repository: &str, tag: &str, digest: &str) {
        let manifests = self.repository(repository).join("_manifests");
        fs::remove_dir_all(manifests.join("tags").join(tag).join("index/sha256").join(hex_of(digest))).unwrap();
        fs::remove_dir_all(manifests.join("revisions/sha256").join(hex_of(digest))).unwrap();
    }
}

/// skopeo pushes images, and indexes of images.
fn skopeo_knows(image: &Image) -> bool {
    let plain = |image: &Image| image.manifest.media_type != OCI_ARTIFACT && !is_index(image);
    if is_index(image) { !image.children.is_empty() && image.children.iter().all(plain) } else { plain(image) }
}

fn is_index(image: &Image) -> bool {
    [OCI_INDEX, DOCKER_LIST].contains(&image.manifest.media_type.as_str())
}
