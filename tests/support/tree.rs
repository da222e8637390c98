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

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};
use tempfile::TempDir;

pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";

/// The user and group that own nothing, for permission bits that bind even where the tests run as root.
pub(crate) const NOBODY: u32 = 65534;

/// Above this the witnesses look at a file's size and not at its bytes, so that a sparse 3 GB file costs nothing.
const TOO_LARGE_TO_HASH: u64 = 64 << 20;

// ---------------------------------------------------------------------------------------------------- digests, blobs

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub(crate) fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex::encode(Sha512::digest(bytes)))
}

/// `sha256:ab...` as the two components under which the layout keeps it.
pub(crate) fn halves(digest: &str) -> (&str, &str) {
    digest.split_once(':').expect("a digest has a colon")
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Bytes and the name that they have in the blob store.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) bytes: Vec<u8>,
}

impl Blob {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { digest: sha256(&bytes), bytes }
    }

    pub(crate) fn sha512(bytes: Vec<u8>) -> Self {
        Self { digest: sha512(&bytes), bytes }
    }

    /// A layer made from words. Its size depends on the words, so that sums of bytes mean something.
    pub(crate) fn layer(words: &str) -> Self {
        let seed: u32 = words.bytes().map(u32::from).sum();
        Self::new(format!("layer {words}\n").repeat(20 + (seed % 40) as usize).into_bytes())
    }

    fn config(words: &str, layers: &[Blob]) -> Self {
        let diff_ids: Vec<String> =
            layers.iter().map(|layer| sha256(&[&layer.bytes[..], b"unpacked"].concat())).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Labels": {"words": words}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        Self::new(config.to_string().into_bytes())
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

// ------------------------------------------------------------------------------------------------------------ manifests

/// A manifest, and the blobs that a push sends ahead of it.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) digest: String,
    pub(crate) bytes: Vec<u8>,
    /// Config and layers: what the push uploads, and what gets a layer link.
    pub(crate) blobs: Vec<Blob>,
    media_type: String,
}

impl Manifest {
    fn from_json(value: &Value, blobs: Vec<Blob>) -> Self {
        let media_type = value["mediaType"].as_str().unwrap_or(OCI_MANIFEST).to_owned();
        let bytes = serde_json::to_vec_pretty(value).unwrap();
        Self { digest: sha256(&bytes), bytes, blobs, media_type }
    }

    /// These very bytes, whatever they are.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { digest: sha256(&bytes), bytes, blobs: Vec::new(), media_type: OCI_MANIFEST.to_owned() }
    }

    /// The same bytes under their sha512 name.
    pub(crate) fn named_by_sha512(mut self) -> Self {
        self.digest = sha512(&self.bytes);
        self
    }

    fn image_json(words: &str, layers: &[Blob], types: [&str; 3]) -> (Value, Vec<Blob>) {
        let config = Blob::config(words, layers);
        let value = json!({
            "schemaVersion": 2, "mediaType": types[0], "config": config.descriptor(types[1]),
            "layers": layers.iter().map(|layer| layer.descriptor(types[2])).collect::<Vec<_>>(),
        });
        (value, std::iter::once(config).chain(layers.iter().cloned()).collect())
    }

    /// Docker schema 2, with layers made from words.
    pub(crate) fn docker(words: &str, layers: &[&str]) -> Self {
        Self::docker_of(words, &layers.iter().map(|words| Blob::layer(words)).collect::<Vec<_>>())
    }

    /// Docker schema 2, of these layers.
    pub(crate) fn docker_of(words: &str, layers: &[Blob]) -> Self {
        let (value, blobs) = Self::image_json(words, layers, [DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER]);
        Self::from_json(&value, blobs)
    }

    pub(crate) fn oci(words: &str, layers: &[&str]) -> Self {
        let layers: Vec<Blob> = layers.iter().map(|words| Blob::layer(words)).collect();
        let (value, blobs) = Self::image_json(words, &layers, [OCI_MANIFEST, OCI_CONFIG, OCI_LAYER]);
        Self::from_json(&value, blobs)
    }

    /// An OCI image without `mediaType`, as Podman and Buildah wrote for years.
    pub(crate) fn untyped(words: &str, layers: &[&str]) -> Self {
        let layers: Vec<Blob> = layers.iter().map(|words| Blob::layer(words)).collect();
        let (mut value, blobs) = Self::image_json(words, &layers, [OCI_MANIFEST, OCI_CONFIG, OCI_LAYER]);
        value.as_object_mut().unwrap().remove("mediaType");
        Self::from_json(&value, blobs)
    }

    /// An image, untagged by nature, that says something about another one: a signature, an SBOM.
    pub(crate) fn referrer(words: &str, subject: &Manifest) -> Self {
        let layers = [Blob::layer(&format!("{words} payload"))];
        let (mut value, blobs) =
            Self::image_json(words, &layers, [OCI_MANIFEST, OCI_CONFIG, "application/vnd.test+json"]);
        value["artifactType"] = json!("application/vnd.test.signature");
        value["subject"] = subject.descriptor();
        Self::from_json(&value, blobs)
    }

    /// An OCI artifact manifest: `blobs` instead of `layers`, no config.
    pub(crate) fn artifact(words: &str, blobs: &[&str]) -> Self {
        let blobs: Vec<Blob> = blobs.iter().map(|words| Blob::layer(words)).collect();
        let value = json!({
            "mediaType": OCI_ARTIFACT, "artifactType": "application/vnd.test.artifact",
            "blobs": blobs.iter().map(|blob| blob.descriptor("application/octet-stream")).collect::<Vec<_>>(),
            "annotations": {"words": words},
        });
        Self::from_json(&value, blobs)
    }

    /// Docker schema 1, as the registry keeps it (without its signatures).
    pub(crate) fn schema1(words: &str, layers: &[&str]) -> Self {
        let blobs: Vec<Blob> = layers.iter().map(|words| Blob::layer(words)).collect();
        let value = json!({
            "schemaVersion": 1, "name": words, "tag": "latest", "architecture": "amd64",
            "fsLayers": blobs.iter().map(|blob| json!({"blobSum": blob.digest})).collect::<Vec<_>>(),
            "history": blobs.iter().map(|_| json!({"v1Compatibility": "{\"id\":\"0\"}"})).collect::<Vec<_>>(),
        });
        Self::from_json(&value, blobs)
    }

    /// JSON of a shape that no specification knows, with digests at odd places.
    pub(crate) fn unknown(words: &str, blobs: &[&str]) -> Self {
        let blobs: Vec<Blob> = blobs.iter().map(|words| Blob::layer(words)).collect();
        let mut value = json!({"mediaType": "application/vnd.future.thing.v9+json", "words": words});
        for (n, blob) in blobs.iter().enumerate() {
            match n % 3 {
                0 => value["deep"] = json!({"er": [{"still": blob.digest}]}),
                1 => value["list"] = json!([["nested", blob.digest]]),
                _ => value["plain"] = json!(blob.digest),
            }
        }
        Self::from_json(&value, blobs)
    }

    pub(crate) fn index(words: &str, children: &[&Manifest]) -> Self {
        Self::index_json(words, OCI_INDEX, children)
    }

    pub(crate) fn list(words: &str, children: &[&Manifest]) -> Self {
        Self::index_json(words, DOCKER_LIST, children)
    }

    /// An index without `mediaType`.
    pub(crate) fn untyped_index(words: &str, children: &[&Manifest]) -> Self {
        Self::index_json(words, "", children)
    }

    fn index_json(words: &str, media_type: &str, children: &[&Manifest]) -> Self {
        let entries: Vec<Value> = children
            .iter()
            .enumerate()
            .map(|(n, child)| {
                let mut entry = child.descriptor();
                let architecture = ["amd64", "arm64", "s390x"][n % 3];
                entry["platform"] = json!({"os": "linux", "architecture": architecture});
                entry
            })
            .collect();
        let mut value = json!({"schemaVersion": 2, "manifests": entries, "annotations": {"words": words}});
        if !media_type.is_empty() {
            value["mediaType"] = json!(media_type);
        }
        Self::from_json(&value, Vec::new())
    }

    /// A BuildKit cache: an index whose entries are layer blobs, with the given sizes, and whose last is its config.
    pub(crate) fn buildkit_cache(entries: &[(&str, u64)]) -> Self {
        let last = entries.len() - 1;
        let entries: Vec<Value> = entries
            .iter()
            .enumerate()
            .map(|(n, (digest, size))| {
                let kind = if n == last { "application/vnd.buildkit.cacheconfig.v0" } else { DOCKER_LAYER };
                json!({"mediaType": kind, "digest": digest, "size": size})
            })
            .collect();
        Self::from_json(&json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}), Vec::new())
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }

    /// The digests of config and layers.
    pub(crate) fn blob_digests(&self) -> Vec<&str> {
        self.blobs.iter().map(|blob| blob.digest.as_str()).collect()
    }
}

// ------------------------------------------------------------------------------------------------------------- the tree

/// A registry's storage root in a temporary folder.
pub(crate) struct Tree {
    dir: TempDir,
    labels: RefCell<BTreeMap<String, String>>,
    stashed: Cell<u32>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("regsweep-tree-").tempdir().unwrap();
        let tree = Self { dir, labels: RefCell::default(), stashed: Cell::new(0) };
        fs::create_dir_all(tree.v2().join("blobs/sha256")).unwrap();
        fs::create_dir_all(tree.repositories()).unwrap();
        tree
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
        self.labels.borrow_mut().entry(digest.to_owned()).or_insert_with(|| label.to_owned());
    }

    /// The text with digests replaced by the words of the scenario, for failures that a person can read.
    pub(crate) fn explain(&self, text: &str) -> String {
        self.labels.borrow().iter().fold(text.to_owned(), |text, (digest, label)| text.replace(digest, label))
    }
}

/// A repository of the tree. Handles are cheap; two of the same name are the same repository.
#[derive(Clone)]
pub(crate) struct Repository<'t> {
    tree: &'t Tree,
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
        self.tree.labels.borrow_mut().insert(manifest.digest.clone(), label);
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

pub(crate) fn blob_object(digest: &str) -> String {
    format!("blob {digest}")
}

fn first_words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(30)]).lines().next().unwrap_or_default().to_owned()
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
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

// ------------------------------------------------------------------------------------------------------------- breakers

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
        let number = self.stashed.get();
        self.stashed.set(number + 1);
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

// ------------------------------------------------------------------------------------------------ witness: what is there

impl Tree {
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

// --------------------------------------------------------------------------------- witness: what a client gets out of it

impl Tree {
    /// Everything that a client can get by tag (with `by_digest`: by any revision too), as facts like
    /// `team/app:v1 gets blob sha256:...`. It asks what the registry asks when it serves a pull: the tag's current link,
    /// the revision link in this repository, the blob with the right digest; for each config and layer a layer link in
    /// this repository and the blob; the children of an index likewise. What held before a run must hold after it.
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
        let Ok(bytes) = fs::read(self.data(&target)) else { return };
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
        let Ok(bytes) = fs::read(path) else { return false };
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
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    fs::read_to_string(path).ok().filter(|text| is_digest(text))
}

// --------------------------------------------------------------------------------------- witness: what the tree looks like

/// One name of the tree as `stat` sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    kind: &'static str,
    size: u64,
    mode: u32,
    modified: (i64, i64),
    inode: u64,
    content: String,
}

/// Every name of a tree, relative to its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(BTreeMap<PathBuf, Entry>);

impl Tree {
    /// The whole storage root: names, types, sizes, times, inodes, contents.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let root = self.root();
        let entries = walkdir::WalkDir::new(&root).follow_links(false).into_iter().map(|entry| {
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
                // A folder's size is the file system's own affair.
                size: if kind == "folder" { 0 } else { metadata.len() },
                mode: metadata.mode(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                inode: metadata.ino(),
                content,
            };
            (entry.path().strip_prefix(&root).unwrap().to_owned(), described)
        });
        Fingerprint(entries.collect())
    }
}

fn content_of(path: &Path, length: u64) -> String {
    if length > TOO_LARGE_TO_HASH {
        let mut head = vec![0; 4096];
        fs::File::open(path).unwrap().read_exact(&mut head).unwrap();
        return format!("begins {}", sha256(&head));
    }
    fs::read(path).map_or_else(|error| error.kind().to_string(), |bytes| sha256(&bytes))
}

impl Fingerprint {
    /// The registry's own files: no folders (a rename in a folder changes its time) and nothing of regsweep's.
    pub(crate) fn files(&self) -> Self {
        let own = |path: &Path| path.components().any(|part| part.as_os_str() == "_regsweep");
        let entries = self.0.iter().filter(|(path, entry)| entry.kind != "folder" && !own(path));
        Self(entries.map(|(path, entry)| (path.clone(), entry.clone())).collect())
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
