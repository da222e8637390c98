//! One parser for every kind of manifest.
//!
//! `mediaType` may be absent, and may lie, so the shape decides: whatever the known fields of any kind name is a
//! reference. A manifest that mixes the fields of two kinds references what both name. Only a `mediaType` or a shape
//! that nobody knows widens the net: then every string in the document that is a digest counts.
//!
//! Sources: OCI image specification (*image manifest*, *image index*, *descriptor*), OCI 1.1 release candidates
//! (*artifact manifest*), Docker *Image Manifest Version 2*, *Schema 2* and *Schema 1*.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::digest::Digest;

/// What is expected behind a reference. Of several expectations the greatest counts: the one that looks closest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expect {
    /// A layer that the registry need not have: it is fetched from elsewhere (`urls`, "foreign" layers).
    ForeignBlob,
    /// A blob that nobody looks into: a config or a layer.
    Blob,
    /// Nobody says. If it can be read as a manifest it is expanded; if not, it is a blob and nothing is wrong.
    Unknown,
    /// A manifest, by the media type of its descriptor: referenced, and expanded.
    Manifest,
}

/// One reference of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// What it names.
    pub digest: Digest,
    /// What is expected there.
    pub expect: Expect,
}

/// What a manifest says about others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Everything that it needs, each digest once, sorted.
    pub references: Vec<Reference>,
    /// What it is about (OCI 1.1 referrers). Not a reference: a signature does not keep its image alive.
    pub subject: Option<Digest>,
    /// Whether the registry may have stored signatures beside its revision link (Docker schema 1).
    pub has_signature_links: bool,
    /// Whether it lists manifests, and has no field of any other kind (OCI index, Docker manifest list).
    pub is_index: bool,
}

/// Why a manifest cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no JSON, or one of the known fields has the wrong form.
    #[error("not a manifest: {0}")]
    Json(String),
    /// It is JSON, and no object.
    #[error("not a manifest: no JSON object")]
    NoObject,
    /// A reference is no digest, so nobody knows what it needs.
    #[error("it references {0:?}, which is no digest that a registry of this layout can hold")]
    Digest(String),
}

/// Parses the bytes of a manifest of any kind.
///
/// Nothing is read beyond these bytes, and nothing is built but the references: unknown fields are skipped over.
/// Nesting is limited by the JSON parser (128 levels).
///
/// # Errors
/// [`ManifestError`]; a caller that needs the manifest must then treat its references as unknown, never as none.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ManifestError> {
    // serde would read an array as well, its elements as the fields in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(ManifestError::NoObject);
    }
    // Looked through for UTF-8 once, not string by string. Bytes that are none may still stand where nobody looks.
    let shape: Shape<'_> = match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text)?,
        Err(_) => serde_json::from_slice(bytes)?,
    };
    let mut references: Vec<Reference> = Vec::new();
    let mut refer = |text: &str, expect: Expect| -> Result<(), ManifestError> {
        let digest = Digest::parse(text.as_bytes()).map_err(|_| ManifestError::Digest(shortened(text)))?;
        references.push(Reference { digest, expect });
        Ok(())
    };

    for Object(descriptor) in
        shape.config.iter().chain(shape.layers.iter().flatten()).chain(shape.blobs.iter().flatten())
    {
        let expect = if descriptor.is_foreign() { Expect::ForeignBlob } else { Expect::Blob };
        refer(&descriptor.digest, expect)?;
    }
    for Object(descriptor) in shape.manifests.iter().flatten() {
        refer(&descriptor.digest, descriptor.expectation())?;
    }
    for Object(layer) in shape.fs_layers.iter().flatten() {
        refer(&layer.blob_sum, Expect::Blob)?;
    }
    let subject = match &shape.subject {
        Some(Object(subject)) => Some(
            Digest::parse(subject.digest.as_bytes()).map_err(|_| ManifestError::Digest(shortened(&subject.digest)))?,
        ),
        None => None,
    };
    if !shape.is_known() {
        let mut texts = Vec::new();
        serde_json::Deserializer::from_slice(bytes).deserialize_any(DigestsIn(&mut texts))?;
        let named: BTreeSet<Digest> = references.iter().map(|reference| reference.digest.clone()).collect();
        let others = texts.into_iter().filter(|digest| !named.contains(digest));
        references.extend(others.map(|digest| Reference { digest, expect: Expect::Unknown }));
    }
    // Named twice with different expectations: the one that looks closer wins.
    references.sort_unstable_by(|a, b| a.digest.cmp(&b.digest).then(b.expect.cmp(&a.expect)));
    references.dedup_by(|later, first| later.digest == first.digest);
    let is_index = shape.manifests.is_some() && !shape.has_fields_of_an_image();
    Ok(Parsed { references, subject, has_signature_links: shape.fs_layers.is_some(), is_index })
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

/// What the parser says may quote the document, up to six times as long as it is, and every repository that has the
/// manifest repeats it. Line and column stand at the end.
impl From<serde_json::Error> for ManifestError {
    fn from(error: serde_json::Error) -> ManifestError {
        const MOST: usize = 300;
        let text = error.to_string();
        if text.len() <= MOST {
            return ManifestError::Json(text);
        }
        ManifestError::Json(format!("{}... at line {} column {}", shortened(&text), error.line(), error.column()))
    }
}

/// The fields of all kinds of manifests that name something.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow, rename = "mediaType", default)]
    media_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    config: Option<Object<Descriptor<'a>>>,
    #[serde(borrow, default)]
    layers: Option<Vec<Object<Descriptor<'a>>>>,
    #[serde(borrow, default)]
    manifests: Option<Vec<Object<Descriptor<'a>>>>,
    #[serde(borrow, default)]
    blobs: Option<Vec<Object<Descriptor<'a>>>>,
    #[serde(borrow, rename = "fsLayers", default)]
    fs_layers: Option<Vec<Object<FsLayer<'a>>>>,
    #[serde(borrow, default)]
    subject: Option<Object<Descriptor<'a>>>,
}

/// A `T` that is written as an object. By itself serde also takes an array for one, its elements as the fields in their
/// order: of `["sha256:...", "sha256:..."]` it would see the second digest only, and the registry none.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectOf(PhantomData)).map(Object)
    }
}

struct ObjectOf<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectOf<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// OCI image specification, *Descriptors*.
#[derive(Deserialize)]
struct Descriptor<'a> {
    #[serde(borrow, rename = "mediaType", default)]
    media_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    digest: Cow<'a, str>,
    #[serde(default)]
    urls: Option<Vec<IgnoredAny>>,
}

/// Docker schema 1.
#[derive(Deserialize)]
struct FsLayer<'a> {
    #[serde(borrow, rename = "blobSum")]
    blob_sum: Cow<'a, str>,
}

/// Media types that are manifests, and so expanded wherever a descriptor names them.
const MANIFEST_TYPES: [&str; 7] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

impl Shape<'_> {
    /// Whether the fields above are all that such a manifest can name.
    fn is_known(&self) -> bool {
        let has_known_fields = self.manifests.is_some() || self.has_fields_of_an_image();
        let has_known_type = self.media_type.as_deref().is_none_or(|name| MANIFEST_TYPES.contains(&essence(name)));
        has_known_fields && has_known_type
    }

    fn has_fields_of_an_image(&self) -> bool {
        self.config.is_some() || self.layers.is_some() || self.blobs.is_some() || self.fs_layers.is_some()
    }
}

impl Descriptor<'_> {
    fn is_foreign(&self) -> bool {
        let by_type = |name: &str| name.contains("foreign") || name.contains("nondistributable");
        self.media_type.as_deref().is_some_and(by_type) || self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
    }

    /// What an entry of an index is. Mostly a manifest, but BuildKit writes its caches as an index of layer blobs, some
    /// of them gigabytes; those must not be read to find out.
    fn expectation(&self) -> Expect {
        match self.media_type.as_deref().map(essence) {
            Some(name) if MANIFEST_TYPES.contains(&name) => Expect::Manifest,
            Some(name) if name.contains(".layer.") || name.contains(".rootfs.") => Expect::Blob,
            _ => Expect::Unknown,
        }
    }
}

/// A media type without its parameters.
pub(super) fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// Collects every string of a JSON document, keys included, that is a digest.
struct DigestsIn<'a>(&'a mut Vec<Digest>);

impl DigestsIn<'_> {
    fn take(&mut self, text: &str) {
        self.0.extend(Digest::parse(text.as_bytes()));
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for DigestsIn<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DigestsIn<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document")
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        self.take(text);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(DigestsIn(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            self.take(&key);
            map.next_value_seed(DigestsIn(self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    fn d(name: &str) -> Digest {
        Digest::of(Algorithm::Sha256, name.as_bytes())
    }

    /// `{A}` in a text stands for the digest of the name `A`.
    fn fill(text: &str) -> String {
        ["A", "B", "C", "D"]
            .iter()
            .fold(text.to_owned(), |text, name| text.replace(&format!("{{{name}}}"), &format!("\"{}\"", d(name))))
    }

    fn references(text: &str) -> Vec<(Digest, Expect)> {
        let parsed = parse(fill(text).as_bytes()).unwrap();
        parsed.references.into_iter().map(|reference| (reference.digest, reference.expect)).collect()
    }

    fn expected(list: &[(&str, Expect)]) -> Vec<(Digest, Expect)> {
        let mut list: Vec<_> = list.iter().map(|(name, expect)| (d(name), *expect)).collect();
        list.sort();
        list
    }

    #[test]
    fn every_kind() {
        use Expect::{Blob, ForeignBlob, Manifest, Unknown};
        for (name, text, list) in [
            (
                "OCI image manifest",
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"x","digest":{A},"size":1},"layers":[{"mediaType":"y","digest":{B},"size":1},{"digest":{C}}]}"#,
                &[("A", Blob), ("B", Blob), ("C", Blob)][..],
            ),
            (
                "Docker schema 2 with a foreign layer",
                r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"digest":{A}},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":{B},"urls":["https://example.com/x"]}]}"#,
                &[("A", Blob), ("B", ForeignBlob)],
            ),
            (
                "index",
                r#"{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":{A}},{"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","digest":{B}}]}"#,
                &[("A", Manifest), ("B", Manifest)],
            ),
            (
                "BuildKit cache: an index of layers",
                r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":{A},"size":3000000000},{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":{B}},{"digest":{C}}]}"#,
                &[("A", Blob), ("B", Unknown), ("C", Unknown)],
            ),
            (
                "OCI artifact manifest",
                r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"x/y","blobs":[{"digest":{A}}],"subject":{"digest":{B}}}"#,
                &[("A", Blob)],
            ),
            (
                "schema 1",
                r#"{"schemaVersion":1,"name":"app","fsLayers":[{"blobSum":{A}},{"blobSum":{B}},{"blobSum":{A}}],"history":[]}"#,
                &[("A", Blob), ("B", Blob)],
            ),
            ("no media type", r#"{"config":{"digest":{A}},"layers":[]}"#, &[("A", Blob)]),
            (
                "null fields",
                r#"{"config":{"digest":{A}},"layers":null,"manifests":null,"subject":null}"#,
                &[("A", Blob)],
            ),
            (
                "a mix of two kinds",
                r#"{"config":{"digest":{A}},"manifests":[{"digest":{B}}]}"#,
                &[("A", Blob), ("B", Unknown)],
            ),
            (
                "annotations of a known kind are not references",
                r#"{"config":{"digest":{A}},"annotations":{"org.opencontainers.image.base.digest":{B}}}"#,
                &[("A", Blob)],
            ),
            (
                "an unknown shape",
                r#"{"deep":[{"er":{A}},[{B},"sha256:short",17,null,true,1.5]],"text":"no digest"}"#,
                &[("A", Unknown), ("B", Unknown)],
            ),
            (
                "an unknown media type with known fields",
                r#"{"mediaType":"application/vnd.future+json","layers":[{"digest":{A}}],"extra":{B}}"#,
                &[("A", Blob), ("B", Unknown)],
            ),
            ("an empty object", "{}", &[]),
        ] {
            assert_eq!(references(text), expected(list), "{name}");
        }
    }

    #[test]
    fn a_digest_as_a_key_counts_in_an_unknown_shape() {
        let text = format!(r#"{{"{}":1}}"#, d("A"));
        assert_eq!(parse(text.as_bytes()).unwrap().references[0].digest, d("A"));
    }

    #[test]
    fn the_subject_is_not_a_reference() {
        let parsed =
            parse(fill(r#"{"config":{"digest":{A}},"layers":[],"subject":{"digest":{B}}}"#).as_bytes()).unwrap();
        assert_eq!(parsed.subject, Some(d("B")));
        assert_eq!(parsed.references.len(), 1);
    }

    #[test]
    fn the_closer_look_wins() {
        let text = format!(
            r#"{{"manifests":[{{"mediaType":"{OCI_LAYER}","digest":{{A}}}},{{"mediaType":"{OCI_MANIFEST}","digest":{{A}}}}]}}"#
        );
        assert_eq!(references(&text), expected(&[("A", Expect::Manifest)]));
        let untyped =
            format!(r#"{{"manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":{{A}}}},{{"digest":{{A}}}}]}}"#);
        assert_eq!(references(&untyped), expected(&[("A", Expect::Manifest)]));
    }

    #[test]
    fn only_schema_1_has_signature_links() {
        assert!(parse(fill(r#"{"fsLayers":[{"blobSum":{A}}]}"#).as_bytes()).unwrap().has_signature_links);
        assert!(!parse(fill(r#"{"config":{"digest":{A}}}"#).as_bytes()).unwrap().has_signature_links);
    }

    #[test]
    fn what_cannot_be_understood_is_an_error_and_never_no_references() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in [
            "",
            "null",
            "17",
            "\"text\"",
            "[]",
            "{",
            "\u{1f}\u{8b}",
            r#"{"config":"text"}"#,
            r#"{"layers":{}}"#,
            &fill(r#"{"config":["x",{A},null]}"#),
            &fill(r#"{"layers":[[{A},{B},null]]}"#),
            &fill(r#"{"manifests":[["x",{A},[]]]}"#),
            &fill(r#"{"fsLayers":[[{A}]]}"#),
            &fill(r#"{"config":null,"layers":[],"subject":["x",{A},null]}"#),
            r#"{"config":{"size":1}}"#,
            r#"{"config":{"digest":"sha256:../../etc"}}"#,
            r#"{"layers":[{"digest":"SHA256:x"}]}"#,
            r#"{"manifests":[{"digest":""}]}"#,
            r#"{"subject":{"digest":"x"},"config":null}"#,
            r#"{"fsLayers":[{"blobSum":"tarsum.v1+sha256:x"}]}"#,
            r#"{"config":{"digest":1}}"#,
            r#"{"a":1}{"b":2}"#,
            &deep,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{}", shortened(text));
        }
    }

    #[test]
    fn escapes_in_strings_are_resolved() {
        let text = fill(r#"{"config":{"digest":{A}}}"#).replace("sha256:", "sha\\u0032\\u0035\\u0036:");
        assert_eq!(parse(text.as_bytes()).unwrap().references[0].digest, d("A"));
    }
}
