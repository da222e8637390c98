//! A repository of the tree: pushing, tagging, and deleting as people and registries do it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Blob, Manifest, Tree, blob_object, write};
use crate::support::formats::halves;

/// A repository of the tree. Handles are cheap; two of the same name are the same repository.
#[derive(Clone)]
pub(crate) struct Repository<'t> {
    pub(super) tree: &'t Tree,
    pub(crate) name: String,
}

impl Repository<'_> {
    pub(crate) fn folder(&self) -> PathBuf {
        self.tree.repositories().join(&self.name)
    }

    /// The folder of a revision.
    pub(crate) fn revision(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = halves(digest);
        self.folder().join("_manifests/revisions").join(algorithm).join(hex)
    }

    /// The folder of a layer link.
    pub(crate) fn layer(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = halves(digest);
        self.folder().join("_layers").join(algorithm).join(hex)
    }

    /// The folder of a tag.
    pub(crate) fn tag_folder(&self, tag: &str) -> PathBuf {
        self.folder().join("_manifests/tags").join(tag)
    }

    /// The folder of a tag's index entry.
    pub(crate) fn history(&self, tag: &str, digest: &str) -> PathBuf {
        let (algorithm, hex) = halves(digest);
        self.tag_folder(tag).join("index").join(algorithm).join(hex)
    }

    /// The link that says what the tag points at.
    pub(crate) fn current(&self, tag: &str) -> PathBuf {
        self.tag_folder(tag).join("current/link")
    }

    // ---- pushing

    /// Pushes a manifest with its config and layers, by digest: no tag. The children of an index are not sent with it;
    /// an index whose children were not pushed here is sparse.
    pub(crate) fn push(&self, manifest: &Manifest) {
        for blob in &manifest.blobs {
            self.tree.put(blob);
            self.link_layer(&blob.digest);
            self.tree.label(&blob.digest, &format!("<blob of {}, first {}>", self.name, first_words(&blob.bytes)));
        }
        write(&self.tree.data(&manifest.digest), &manifest.bytes);
        self.link_revision(&manifest.digest);
        self.tree.label(&manifest.digest, &format!("<manifest of {} {}>", self.name, &manifest.digest[7..13]));
    }

    /// Points a tag at a digest, as the registry does: the index entry first, then the current link.
    pub(crate) fn tag(&self, tag: &str, manifest: &Manifest) {
        write(&self.history(tag, &manifest.digest).join("link"), manifest.digest.as_bytes());
        write(&self.current(tag), manifest.digest.as_bytes());
        let label = format!("<manifest {}:{tag}>", self.name);
        self.tree.labels.lock().unwrap().insert(manifest.digest.clone(), label);
    }

    pub(crate) fn push_tagged(&self, tag: &str, manifest: &Manifest) {
        self.push(manifest);
        self.tag(tag, manifest);
    }

    pub(crate) fn link_layer(&self, digest: &str) {
        write(&self.layer(digest).join("link"), digest.as_bytes());
    }

    pub(crate) fn link_revision(&self, digest: &str) {
        write(&self.revision(digest).join("link"), digest.as_bytes());
    }

    /// A layer that was pushed or mounted here and that no manifest names.
    pub(crate) fn stray_layer(&self, words: &str) -> Blob {
        let blob = Blob::layer(words);
        self.tree.put(&blob);
        self.link_layer(&blob.digest);
        self.tree.label(&blob.digest, &format!("<stray layer {words}>"));
        blob
    }

    /// A tagged Docker image with a base layer that all images share and a layer of its own.
    pub(crate) fn image(&self, tag: &str) -> Manifest {
        self.image_with_layers(tag, &["base", &format!("{} {tag}", self.name)])
    }

    pub(crate) fn image_with_layers(&self, tag: &str, layers: &[&str]) -> Manifest {
        let image = Manifest::docker(&format!("{} {tag}", self.name), layers);
        self.push_tagged(tag, &image);
        image
    }

    /// An image that no tag names, with one layer of its own.
    pub(crate) fn untagged(&self, words: &str) -> Manifest {
        self.untagged_with_layers(words, &[&format!("{} {words}", self.name)])
    }

    pub(crate) fn untagged_with_layers(&self, words: &str, layers: &[&str]) -> Manifest {
        let image = Manifest::docker(&format!("{} {words}", self.name), layers);
        self.push(&image);
        image
    }

    /// A tagged index. Push the children for themselves; those that are not pushed here make it sparse.
    pub(crate) fn index(&self, tag: &str, children: &[&Manifest]) -> Manifest {
        let index = Manifest::index(&format!("{} {tag}", self.name), children);
        self.push_tagged(tag, &index);
        index
    }

    /// An upload in progress that began so long ago.
    pub(crate) fn upload(&self, id: &str, age: Duration) -> PathBuf {
        let folder = self.folder().join("_uploads").join(id);
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - age;
        write(&folder.join("data"), format!("upload {id}\n").repeat(30).as_bytes());
        write(&folder.join("hashstates/sha256/0"), b"state");
        write(&folder.join("startedat"), rfc3339(began.as_secs()).as_bytes());
        folder
    }

    /// Makes the push of a tag so old: its current link, its index entry, and the revision that it points at.
    pub(crate) fn pushed_ago(&self, tag: &str, age: Duration) {
        let at = SystemTime::now() - age;
        let digest = fs::read_to_string(self.current(tag)).unwrap();
        for link in [self.current(tag), self.history(tag, &digest).join("link"), self.revision(&digest).join("link")] {
            set_time(&link, at);
        }
    }

    /// Points a tag at an image, so long ago.
    pub(crate) fn push_tagged_ago(&self, tag: &str, manifest: &Manifest, age: Duration) {
        self.push_tagged(tag, manifest);
        self.pushed_ago(tag, age);
    }

    /// A tagged image that was pushed so long ago.
    pub(crate) fn image_ago(&self, tag: &str, age: Duration) -> Manifest {
        let image = self.image(tag);
        self.pushed_ago(tag, age);
        image
    }

    /// What cosign pushes beside an image: `sha256-<hex>.sig`, `.att` or `.sbom`. Gives back its tag.
    pub(crate) fn cosign(&self, subject: &Manifest, suffix: &str) -> (String, Manifest) {
        let tag = format!("{}.{suffix}", subject.digest.replace(':', "-"));
        let words = format!("{suffix} of {}", subject.digest);
        let signature = Manifest::oci(&words, &[&words]);
        self.push_tagged(&tag, &signature);
        (tag, signature)
    }

    /// What a client pushes where the registry has no referrers API: the referrers, untagged, and an index of them
    /// under the tag `sha256-<hex>`. Gives back that tag and the index.
    pub(crate) fn referrers_tag(&self, subject: &Manifest, referrers: &[&Manifest]) -> (String, Manifest) {
        let tag = subject.digest.replace(':', "-");
        referrers.iter().for_each(|referrer| self.push(referrer));
        let index = Manifest::index(&format!("referrers of {}", subject.digest), referrers);
        self.push_tagged(&tag, &index);
        (tag, index)
    }

    // ---- deleting, as people do

    /// `DELETE` of a manifest through the API of 2.8: the revision's link goes, its folder stays; so do tags that point
    /// at it go, whole.
    pub(crate) fn delete_by_api(&self, manifest: &Manifest) {
        fs::remove_file(self.revision(&manifest.digest).join("link")).unwrap();
        let Ok(tags) = fs::read_dir(self.folder().join("_manifests/tags")) else { return };
        for tag in tags {
            let tag = tag.unwrap().path();
            if fs::read_to_string(tag.join("current/link")).is_ok_and(|text| text == manifest.digest) {
                fs::remove_dir_all(tag).unwrap();
            }
        }
    }

    /// What many guides tell people to do: `rm -rf tags/<t>/index/sha256/<hex>` and `rm -rf revisions/sha256/<hex>`.
    pub(crate) fn delete_by_hand(&self, tag: &str, manifest: &Manifest) {
        fs::remove_dir_all(self.history(tag, &manifest.digest)).unwrap();
        fs::remove_dir_all(self.revision(&manifest.digest)).unwrap();
    }

    // ---- the names that the witnesses and the reports share

    pub(crate) fn revision_object(&self, digest: &str) -> String {
        format!("{} revision {digest}", self.name)
    }

    pub(crate) fn layer_object(&self, digest: &str) -> String {
        format!("{} layer {digest}", self.name)
    }

    pub(crate) fn tag_object(&self, tag: &str) -> String {
        format!("{} tag {tag}", self.name)
    }

    pub(crate) fn history_object(&self, tag: &str, digest: &str) -> String {
        format!("{} tag {tag} history {digest}", self.name)
    }

    pub(crate) fn upload_object(&self, id: &str) -> String {
        format!("{} upload {id}", self.name)
    }

    /// Everything that stands on disk only for this image: its revision and layer links here, and its blobs.
    pub(crate) fn objects_of(&self, manifest: &Manifest) -> Vec<String> {
        let links = manifest.blobs.iter().map(|blob| self.layer_object(&blob.digest));
        let blobs = manifest.blobs.iter().map(|blob| blob_object(&blob.digest));
        [self.revision_object(&manifest.digest), blob_object(&manifest.digest)]
            .into_iter()
            .chain(links)
            .chain(blobs)
            .collect()
    }
}

/// Sets the mtime of a file.
pub(crate) fn set_time(path: &Path, at: SystemTime) {
    fs::File::options().append(true).open(path).unwrap().set_modified(at).unwrap();
}

fn first_words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(30)]).lines().next().unwrap_or_default().to_owned()
}

/// RFC 3339 in UTC from seconds since 1970 (days to a date as in Howard Hinnant's `civil_from_days`).
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let era = days / 146_097;
    let day_of_era = days - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Now, as `startedat` has it.
pub(crate) fn now() -> String {
    rfc3339(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}
