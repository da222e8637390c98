//! Blobs and manifests, in memory: a push puts them into the tree.

use serde_json::{Value, json};

use crate::support::formats::{
    DOCKER_CONFIG, DOCKER_LAYER, DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, OCI_CONFIG, OCI_INDEX, OCI_LAYER,
    OCI_MANIFEST, sha256, sha512,
};

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
