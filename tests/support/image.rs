//! Images for a real registry, made from a few words: `Image::oci("web 1.0", "linux/amd64", &[layer("alpine", 4096)])`.
//!
//! Everything is deterministic: the same words give the same bytes and the same digests, on every machine. Two images
//! that name the same layer share it, as two images built on one base do. Layers are real gzipped tar files (one file
//! of noise in each, so a layer is as large as it says), and configs name the right `diff_id`s, so any tool takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::formats::{
    DOCKER_CONFIG, DOCKER_LAYER, DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, OCI_CONFIG, OCI_EMPTY, OCI_INDEX,
    OCI_LAYER, OCI_MANIFEST, hex_of, sha256,
};

/// Noise that no compressor shortens, the same for the same words.
pub(crate) fn noise(words: &str, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 32);
    let mut counter = 0u64;
    while bytes.len() < size {
        let block = Sha256::new().chain_update(words).chain_update(counter.to_le_bytes()).finalize();
        bytes.extend_from_slice(&block);
        counter += 1;
    }
    bytes.truncate(size);
    bytes
}

/// A layer: the gzipped tar that the registry holds, and the digest of the tar inside, which the config names.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    gzip: Vec<u8>,
    diff_id: String,
}

impl Layer {
    pub(crate) fn digest(&self) -> String {
        sha256(&self.gzip)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.gzip
    }
}

/// A layer with one file of `size` bytes of noise. The same words and size are the same layer.
pub(crate) fn layer(words: &str, size: usize) -> Layer {
    let tar = tar_of_one_file(&format!("opt/{}", words.replace([' ', '/', ':'], "-")), &noise(words, size));
    Layer { diff_id: sha256(&tar), gzip: gzip_stored(&tar) }
}

/// Something the registry stores by digest, with the media type by which others refer to it.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
}

impl Blob {
    pub(crate) fn new(media_type: &str, bytes: impl Into<Vec<u8>>) -> Blob {
        Blob { media_type: media_type.to_owned(), bytes: bytes.into() }
    }

    fn json(media_type: &str, value: &Value) -> Blob {
        Blob::new(media_type, serde_json::to_vec(value).unwrap())
    }

    pub(crate) fn digest(&self) -> String {
        sha256(&self.bytes)
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len() })
    }
}

/// A manifest with all that it needs: config and layers, or, for an index, the images that it lists.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) manifest: Blob,
    pub(crate) blobs: Vec<Blob>,
    pub(crate) children: Vec<Image>,
    /// What an index that lists this image says about it beside the descriptor.
    listed_as: BTreeMap<&'static str, Value>,
}

impl Image {
    /// An OCI image, `platform` as in `linux/arm64`.
    pub(crate) fn oci(words: &str, platform: &str, layers: &[Layer]) -> Image {
        Image::plain(OCI_MANIFEST, OCI_CONFIG, OCI_LAYER, words, platform, layers)
    }

    /// A Docker schema 2 image.
    pub(crate) fn docker(words: &str, platform: &str, layers: &[Layer]) -> Image {
        Image::plain(DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER, words, platform, layers)
    }

    fn plain(
        manifest_type: &str,
        config_type: &str,
        layer_type: &str,
        words: &str,
        platform: &str,
        layers: &[Layer],
    ) -> Image {
        let (os, architecture) = platform.split_once('/').expect("a platform is os/architecture");
        let history: Vec<Value> = layers
            .iter()
            .map(|_| json!({ "created": "2024-05-17T09:30:00Z", "created_by": format!("RUN build {words}") }))
            .collect();
        let config = Blob::json(
            config_type,
            &json!({
                "created": "2024-05-17T09:30:00Z", "os": os, "architecture": architecture,
                "config": { "Labels": { "org.opencontainers.image.title": words } },
                "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|l| &l.diff_id).collect::<Vec<_>>() },
                "history": history,
            }),
        );
        let layers: Vec<Blob> = layers.iter().map(|l| Blob::new(layer_type, l.gzip.clone())).collect();
        let manifest = Blob::json(
            manifest_type,
            &json!({
                "schemaVersion": 2, "mediaType": manifest_type, "config": config.descriptor(),
                "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
            }),
        );
        let mut blobs = vec![config];
        blobs.extend(layers);
        let listed_as = BTreeMap::from([("platform", json!({ "os": os, "architecture": architecture }))]);
        Image { manifest, blobs, children: Vec::new(), listed_as }
    }

    /// An OCI index of these images (which may be indexes themselves).
    pub(crate) fn index(children: &[Image]) -> Image {
        Image::list(OCI_INDEX, children)
    }

    /// A Docker manifest list of these images.
    pub(crate) fn manifest_list(children: &[Image]) -> Image {
        Image::list(DOCKER_LIST, children)
    }

    fn list(media_type: &str, children: &[Image]) -> Image {
        let entries: Vec<Value> = children
            .iter()
            .map(|child| {
                let mut entry = child.manifest.descriptor();
                for (key, value) in &child.listed_as {
                    entry[*key] = value.clone();
                }
                entry
            })
            .collect();
        let manifest =
            Blob::json(media_type, &json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries }));
        Image { manifest, blobs: Vec::new(), children: children.to_vec(), listed_as: BTreeMap::new() }
    }

    /// The provenance that buildx puts beside an image into the index: an image manifest for `unknown/unknown`.
    pub(crate) fn attestation(of: &Image) -> Image {
        let mut image = Image::oci(&format!("attestation of {}", of.digest()), "unknown/unknown", &[]);
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{ "name": "image", "digest": { "sha256": of.hex() } }],
        });
        image.blobs.push(Blob::json("application/vnd.in-toto+json", &statement));
        image.rewrite(|manifest, blobs| manifest["layers"] = json!([blobs[1].descriptor()]));
        image.listed_as.insert(
            "annotations",
            json!({ "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of.digest() }),
        );
        image
    }

    /// A referrer: an OCI image manifest whose `subject` is another image, as signatures and SBOMs are stored.
    pub(crate) fn referrer(words: &str, artifact_type: &str, subject: &Image, size: usize) -> Image {
        let mut image = Image::oci_artifact(words, artifact_type, size);
        image.rewrite(|manifest, _| manifest["subject"] = subject.manifest.descriptor());
        image
    }

    /// An artifact in the form of an OCI image manifest with the empty config: a chart, a policy, an SBOM.
    pub(crate) fn oci_artifact(words: &str, artifact_type: &str, size: usize) -> Image {
        let config = Blob::new(OCI_EMPTY, "{}");
        let payload = Blob::new(artifact_type, noise(words, size));
        let manifest = Blob::json(
            OCI_MANIFEST,
            &json!({
                "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": artifact_type,
                "config": config.descriptor(), "layers": [payload.descriptor()],
                "annotations": { "org.opencontainers.image.title": words },
            }),
        );
        Image { manifest, blobs: vec![config, payload], children: Vec::new(), listed_as: BTreeMap::new() }
    }

    /// An artifact in the manifest type of its own that a release candidate of OCI 1.1 had, and that was dropped.
    pub(crate) fn artifact_manifest(words: &str, artifact_type: &str, size: usize) -> Image {
        let payload = Blob::new(artifact_type, noise(words, size));
        let manifest = Blob::json(
            OCI_ARTIFACT,
            &json!({ "mediaType": OCI_ARTIFACT, "artifactType": artifact_type, "blobs": [payload.descriptor()] }),
        );
        Image { manifest, blobs: vec![payload], children: Vec::new(), listed_as: BTreeMap::new() }
    }

    /// A build cache as BuildKit exports it by default: an index whose entries are not manifests but layer blobs, and
    /// last the cache's config.
    pub(crate) fn build_cache(words: &str, layers: &[Layer]) -> Image {
        let mut blobs: Vec<Blob> = layers.iter().map(|l| Blob::new(OCI_LAYER, l.gzip.clone())).collect();
        let known: Vec<Value> = layers.iter().map(|l| json!({ "blob": l.digest() })).collect();
        blobs.push(Blob::json(
            "application/vnd.buildkit.cacheconfig.v0",
            &json!({ "layers": known, "records": [{ "digest": sha256(words.as_bytes()) }] }),
        ));
        let manifest = Blob::json(
            OCI_INDEX,
            &json!({
                "schemaVersion": 2, "mediaType": OCI_INDEX,
                "manifests": blobs.iter().map(Blob::descriptor).collect::<Vec<_>>(),
            }),
        );
        Image { manifest, blobs, children: Vec::new(), listed_as: BTreeMap::new() }
    }

    /// The same image with `mediaType` left out of its manifest, as OCI 1.0 tools write it.
    pub(crate) fn without_media_type(mut self) -> Image {
        self.rewrite(|manifest, _| {
            manifest.as_object_mut().unwrap().remove("mediaType");
        });
        self
    }

    fn rewrite(&mut self, change: impl FnOnce(&mut Value, &[Blob])) {
        let mut manifest: Value = serde_json::from_slice(&self.manifest.bytes).unwrap();
        change(&mut manifest, &self.blobs);
        self.manifest = Blob::json(&self.manifest.media_type, &manifest);
    }

    /// The digest of the manifest: what a tag points at.
    pub(crate) fn digest(&self) -> String {
        self.manifest.digest()
    }

    /// The digest without its `sha256:`.
    pub(crate) fn hex(&self) -> String {
        hex_of(&self.digest()).to_owned()
    }

    /// Every digest that has to be there for this image to be pulled whole: manifests, configs, layers.
    pub(crate) fn all_digests(&self) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = self.blobs.iter().map(Blob::digest).collect();
        all.insert(self.digest());
        for child in &self.children {
            all.extend(child.all_digests());
        }
        all
    }

    /// Writes an OCI image layout with this image under the name `name`: what `skopeo copy oci:DIR:NAME ...` reads.
    pub(crate) fn write_layout(&self, dir: &Path, name: &str) {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        self.write_blobs(&blobs);
        let mut entry = self.manifest.descriptor();
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] });
        fs::write(dir.join("index.json"), index.to_string()).unwrap();
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    }

    /// Writes the folder that `skopeo copy dir:DIR ...` reads. Docker's own manifest types go this way: skopeo finds
    /// only OCI's in an OCI layout.
    pub(crate) fn write_dir(&self, dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        self.write_blobs(dir);
        fs::write(dir.join("version"), "Directory Transport Version: 1.1\n").unwrap();
        fs::rename(dir.join(self.hex()), dir.join("manifest.json")).unwrap();
        for child in &self.children {
            fs::rename(dir.join(child.hex()), dir.join(format!("{}.manifest.json", child.hex()))).unwrap();
        }
    }

    fn write_blobs(&self, blobs: &Path) {
        for blob in self.blobs.iter().chain([&self.manifest]) {
            fs::write(blobs.join(hex_of(&blob.digest())), &blob.bytes).unwrap();
        }
        for child in &self.children {
            child.write_blobs(blobs);
        }
    }
}

/// A tar archive (ustar) with one regular file, mtime 0, owner 0.
fn tar_of_one_file(name: &str, content: &[u8]) -> Vec<u8> {
    assert!(name.len() < 100, "a ustar name has at most 100 bytes: {name}");
    let mut header = [0u8; 512];
    let mut put = |at: usize, field: &[u8]| header[at..at + field.len()].copy_from_slice(field);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());

    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

/// A gzip file that stores its content as it is: noise does not compress, and tests need no compressor.
fn gzip_stored(content: &[u8]) -> Vec<u8> {
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut chunks = content.chunks(65_535).peekable();
    while let Some(chunk) = chunks.next() {
        let length = u16::try_from(chunk.len()).unwrap();
        gzip.push(u8::from(chunks.peek().is_none()));
        gzip.extend_from_slice(&length.to_le_bytes());
        gzip.extend_from_slice(&(!length).to_le_bytes());
        gzip.extend_from_slice(chunk);
    }
    gzip.extend_from_slice(&crc32(content).to_le_bytes());
    gzip.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
    gzip
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
