//! What a manifest and its config say about themselves: sizes, platforms, types, times. For people who look at a
//! registry; nothing is decided by it.
//!
//! [`parse`](super::parse()) says what a manifest needs, and is strict: what it refuses is damaged. All else here is
//! lenient, for it is only shown: a size that is no number, a platform that is no object count as not given. Texts come
//! from strangers, so they are cut to a length that can be shown, and go through [`shown`].
//!
//! Sources: OCI image specification (*descriptor*, *image manifest*, *image index*, *image config*), Docker *Image
//! Manifest Version 2*, BuildKit (*Image attestation storage*).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::parse::essence;
use super::{Expect, ManifestError, parse};
use crate::digest::Digest;
use crate::layout::shown;

/// The most that the config of an image may have to be read for its platform, in bytes. They have a few thousand.
pub const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// How many characters of a text are kept. The longest media types that are in use have some eighty.
const MOST_CHARACTERS: usize = 128;

/// What sort of manifest it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A container image: OCI image manifest, or Docker schema 2.
    Image,
    /// A list of manifests, mostly one for each platform: OCI index, Docker manifest list.
    Index,
    /// Something that is no container image: an OCI manifest with a type of its own, or an OCI artifact manifest.
    Artifact,
    /// Docker schema 1.
    Schema1,
    /// JSON of a shape that nobody knows.
    Unknown,
}

/// A blob that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobDetails {
    /// Which.
    pub digest: Digest,
    /// Its size in bytes as the manifest gives it; `None` if it does not (Docker schema 1).
    pub bytes: Option<u64>,
    /// Whether the registry need not have it.
    pub is_foreign: bool,
}

/// A manifest that an index lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildDetails {
    /// Which.
    pub digest: Digest,
    /// Whether it is said to be a manifest, or only may be one: [`Expect::Manifest`] or [`Expect::Unknown`].
    pub expect: Expect,
    /// Its own size in bytes, as the index gives it.
    pub bytes: Option<u64>,
    /// For which platform it is, such as `linux/arm64/v8`; `None` where that is not said, or said to be unknown.
    pub platform: Option<Box<str>>,
    /// Whether it is no image, but what BuildKit says about one beside it.
    pub is_attestation: bool,
}

/// What a manifest says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// What sort it is.
    pub form: Form,
    /// Its `mediaType`, if it has one, as it may be shown.
    pub media_type: Option<Box<str>>,
    /// What sort of artifact it is: its `artifactType`, else the type of its config. Artifacts only.
    pub artifact_type: Option<Box<str>>,
    /// The config of an image.
    pub config: Option<Digest>,
    /// What it names as its config, whatever it is itself: those of artifacts say little.
    pub any_config: Option<Digest>,
    /// Its layers (of an OCI artifact manifest its blobs), each as often as it is named, the lowest first.
    pub layers: Vec<Digest>,
    /// Everything that it needs and that is no manifest, the config included: each digest once, sorted.
    pub blobs: Vec<BlobDetails>,
    /// What it lists, in its own order.
    pub children: Vec<ChildDetails>,
    /// What it is about.
    pub subject: Option<Digest>,
}

/// What the config of an image says about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// For which platform it is.
    pub platform: Option<Box<str>>,
    /// When it was built.
    pub created: Option<Timestamp>,
}

/// Reads what the bytes of a manifest say. Nothing is read beyond these bytes; that they match their digest is for the
/// caller to see to.
///
/// # Errors
/// [`ManifestError`], for the same bytes as [`parse`](super::parse()).
pub fn details(bytes: &[u8]) -> Result<Details, ManifestError> {
    let parsed = parse(bytes)?;
    // What is strict in it was read a moment ago. All that can fail now is a field that is there twice.
    let shape: Shape = serde_json::from_slice(bytes).unwrap_or_default();
    let form = shape.form(parsed.is_index);
    let expected: HashMap<&Digest, Expect> =
        parsed.references.iter().map(|reference| (&reference.digest, reference.expect)).collect();
    let sizes = shape.sizes();

    let mut children = Vec::new();
    let mut seen = HashSet::new();
    for entry in shape.manifests.iter().flatten() {
        let Some(digest) = entry.digest() else { continue };
        let Some(&expect @ (Expect::Manifest | Expect::Unknown)) = expected.get(&digest) else { continue };
        let platform = entry.platform.0.as_ref().and_then(Platform::text);
        // Twice for two platforms is two entries.
        if seen.insert((digest.clone(), platform.clone())) {
            let is_attestation = entry.is_attestation();
            let bytes = entry.size.number();
            children.push(ChildDetails { digest, expect, bytes, platform, is_attestation });
        }
    }
    let listed: HashSet<Digest> = seen.into_iter().map(|(digest, _)| digest).collect();
    let mut blobs = Vec::new();
    for reference in &parsed.references {
        let digest = reference.digest.clone();
        let bytes = sizes.get(&digest).copied();
        match reference.expect {
            Expect::Blob => blobs.push(BlobDetails { digest, bytes, is_foreign: false }),
            Expect::ForeignBlob => blobs.push(BlobDetails { digest, bytes, is_foreign: true }),
            _ if listed.contains(&digest) => {}
            // A digest somewhere in a document of an unknown shape.
            expect => {
                children.push(ChildDetails { digest, expect, bytes, platform: None, is_attestation: false });
            }
        }
    }
    let any_config = shape.config.0.as_ref().and_then(Descriptor::digest);
    let config = if form == Form::Image { any_config.clone() } else { None };
    let artifact_type = if form == Form::Artifact { shape.artifact_type() } else { None };
    let media_type = shape.media_type.text().map(presentable);
    let (layers, subject) = (shape.layers_in_order(), parsed.subject);
    Ok(Details { form, media_type, artifact_type, config, any_config, layers, blobs, children, subject })
}

/// Reads what the bytes of an image's config say; `None` if they are no config. Never fails for a single field.
pub fn config(bytes: &[u8]) -> Option<Config> {
    let Maybe(Some(shape)) = serde_json::from_slice::<Maybe<ConfigShape>>(bytes).ok()? else { return None };
    let created = shape.created.text().and_then(|text| text.parse().ok());
    let platform = Platform { os: shape.os, architecture: shape.architecture, variant: shape.variant };
    Some(Config { platform: platform.text(), created })
}

/// A stranger's text as it may be shown.
fn presentable(text: &str) -> Box<str> {
    let kept: String = text.chars().take(MOST_CHARACTERS).collect();
    let dots = if kept.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", shown(kept.as_bytes())).into()
}

/// The fields of all kinds of manifests that say something about them.
#[derive(Default, Deserialize)]
struct Shape {
    #[serde(rename = "mediaType", default)]
    media_type: Scalar,
    #[serde(rename = "artifactType", default)]
    artifact_type: Scalar,
    #[serde(default)]
    config: Maybe<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Maybe<Descriptor>>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    blobs: Option<Vec<Maybe<Descriptor>>>,
    #[serde(rename = "fsLayers", default)]
    fs_layers: Option<Vec<Maybe<FsLayer>>>,
}

#[derive(Default, Deserialize)]
struct FsLayer {
    #[serde(rename = "blobSum", default)]
    digest: Scalar,
}

#[derive(Default, Deserialize)]
struct Descriptor {
    #[serde(rename = "mediaType", default)]
    media_type: Scalar,
    #[serde(default)]
    digest: Scalar,
    #[serde(default)]
    size: Scalar,
    #[serde(default)]
    platform: Maybe<Platform>,
    #[serde(default)]
    annotations: Maybe<Annotations>,
}

#[derive(Default, Deserialize)]
struct Platform {
    #[serde(default)]
    os: Scalar,
    #[serde(default)]
    architecture: Scalar,
    #[serde(default)]
    variant: Scalar,
}

/// BuildKit: *Image attestation storage*.
#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "vnd.docker.reference.type", default)]
    reference_type: Scalar,
}

#[derive(Default, Deserialize)]
struct ConfigShape {
    #[serde(default)]
    os: Scalar,
    #[serde(default)]
    architecture: Scalar,
    #[serde(default)]
    variant: Scalar,
    #[serde(default)]
    created: Scalar,
}

/// Types of configs that make a manifest a container image.
const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

impl Shape {
    fn form(&self, is_index: bool) -> Form {
        let config_type = self.config.0.as_ref().and_then(|config| config.media_type.text()).map(essence);
        // So said Docker 1.10 of the configs of its images.
        let is_old_docker = self.media_type.text() == Some(DOCKER_MANIFEST)
            && config_type.is_some_and(|name| name == "application/octet-stream");
        let is_image_config = config_type.is_none_or(|name| IMAGE_CONFIGS.contains(&name)) || is_old_docker;
        if self.fs_layers.is_some() {
            Form::Schema1
        } else if is_index {
            Form::Index
        } else if self.config.0.is_some() || self.layers.is_some() {
            let is_image = self.artifact_type.text().is_none_or(str::is_empty) && is_image_config;
            if is_image { Form::Image } else { Form::Artifact }
        } else if self.blobs.is_some() {
            Form::Artifact
        } else {
            Form::Unknown
        }
    }

    /// OCI distribution specification, *Listing Referrers*: where a manifest has no type, its config's counts.
    fn artifact_type(&self) -> Option<Box<str>> {
        let own = self.artifact_type.text().filter(|text| !text.is_empty());
        own.or_else(|| self.config.0.as_ref()?.media_type.text()).map(presentable)
    }

    /// The lowest first. Docker's schema 1 has them the other way round.
    fn layers_in_order(&self) -> Vec<Digest> {
        let blobs = self.layers.iter().flatten().chain(self.blobs.iter().flatten());
        let blobs = blobs.filter_map(|it| it.0.as_ref()?.digest());
        let below = self.fs_layers.iter().flatten().rev().filter_map(|it| it.0.as_ref()?.digest.digest());
        blobs.chain(below).collect()
    }

    /// Sizes as the descriptors give them. Of two for one digest the greater counts, whichever comes first.
    fn sizes(&self) -> HashMap<Digest, u64> {
        let blobs = self.layers.iter().flatten().chain(self.blobs.iter().flatten()).chain([&self.config]);
        let descriptors = blobs.filter_map(|it| it.0.as_ref()).chain(self.manifests.iter().flatten());
        let mut sizes: HashMap<Digest, u64> = HashMap::new();
        for descriptor in descriptors {
            if let (Some(digest), Some(size)) = (descriptor.digest(), descriptor.size.number()) {
                let known = sizes.entry(digest).or_default();
                *known = size.max(*known);
            }
        }
        sizes
    }
}

impl Descriptor {
    fn digest(&self) -> Option<Digest> {
        self.digest.digest()
    }

    fn is_attestation(&self) -> bool {
        let annotations = self.annotations.0.as_ref();
        annotations.and_then(|it| it.reference_type.text()) == Some("attestation-manifest")
    }
}

impl Platform {
    /// `os/architecture[/variant]`; `None` if neither of the first two is known.
    fn text(&self) -> Option<Box<str>> {
        const UNKNOWN: &str = "unknown";
        let part = |scalar: &Scalar| scalar.text().filter(|text| !text.is_empty()).map(presentable);
        let os = part(&self.os).unwrap_or_else(|| UNKNOWN.into());
        let architecture = part(&self.architecture).unwrap_or_else(|| UNKNOWN.into());
        if *os == *UNKNOWN && *architecture == *UNKNOWN {
            return None;
        }
        let variant = part(&self.variant).map(|variant| format!("/{variant}")).unwrap_or_default();
        Some(format!("{os}/{architecture}{variant}").into())
    }
}

/// A text or a number; whatever else stands there counts as nothing.
#[derive(Debug, Default)]
enum Scalar {
    Text(Box<str>),
    Number(u64),
    #[default]
    Nothing,
}

impl Scalar {
    fn text(&self) -> Option<&str> {
        match self {
            Scalar::Text(text) => Some(text),
            Scalar::Number(_) | Scalar::Nothing => None,
        }
    }

    fn digest(&self) -> Option<Digest> {
        Digest::parse(self.text()?.as_bytes()).ok()
    }

    fn number(&self) -> Option<u64> {
        match self {
            Scalar::Number(number) => Some(*number),
            Scalar::Text(_) | Scalar::Nothing => None,
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(AnyScalar)
    }
}

/// An object; whatever else stands there counts as nothing.
#[derive(Debug)]
struct Maybe<T>(Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Maybe<T> {
        Maybe(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Maybe<T>, D::Error> {
        deserializer.deserialize_any(AnyObject(PhantomData)).map(Maybe)
    }
}

/// What both visitors do with what they do not want: nothing, to its end.
macro_rules! nothing_else {
    ($nothing:expr; $($name:ident: $type:ty),*) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("anything")
        }

        $(fn $name<E>(self, _: $type) -> Result<Self::Value, E> {
            Ok($nothing)
        })*

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($nothing)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok($nothing)
        }
    };
}

struct AnyScalar;

impl<'de> Visitor<'de> for AnyScalar {
    type Value = Scalar;

    nothing_else!(Scalar::Nothing; visit_bool: bool, visit_i64: i64, visit_f64: f64);

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nothing)
    }
}

struct AnyObject<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AnyObject<T> {
    type Value = Option<T>;

    nothing_else!(None; visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    fn d(name: &str) -> Digest {
        Digest::of(Algorithm::Sha256, name.as_bytes())
    }

    /// `{A}` in a text stands for the digest of the name `A`.
    fn read(text: &str) -> Details {
        let filled = ["A", "B", "C", "D"]
            .iter()
            .fold(text.to_owned(), |text, name| text.replace(&format!("{{{name}}}"), &format!("\"{}\"", d(name))));
        details(filled.as_bytes()).unwrap()
    }

    #[test]
    fn sorts() {
        const OCI: &str = "application/vnd.oci.image.config.v1+json";
        const DOCKER: &str = "application/vnd.docker.container.image.v1+json";
        let image = |config: &str| format!(r#"{{"config":{{"mediaType":"{config}","digest":{{A}}}},"layers":[]}}"#);
        for (text, form, artifact_type) in [
            (image(OCI), Form::Image, None),
            (image(DOCKER), Form::Image, None),
            (r#"{"config":{"digest":{A}},"layers":[]}"#.to_owned(), Form::Image, None),
            (r#"{"layers":[]}"#.to_owned(), Form::Image, None),
            (
                image("application/vnd.cncf.helm.config.v1+json"),
                Form::Artifact,
                Some("application/vnd.cncf.helm.config.v1+json"),
            ),
            (image("application/octet-stream"), Form::Artifact, Some("application/octet-stream")),
            (
                image("application/octet-stream").replacen('{', &format!("{{\"mediaType\":\"{DOCKER_MANIFEST}\","), 1),
                Form::Image,
                None,
            ),
            (image(OCI).replacen('{', r#"{"artifactType":"text/x","#, 1), Form::Artifact, Some("text/x")),
            (image(OCI).replacen('{', r#"{"artifactType":"","#, 1), Form::Image, None),
            (r#"{"artifactType":"text/x","blobs":[{"digest":{A}}]}"#.to_owned(), Form::Artifact, Some("text/x")),
            (r#"{"manifests":[]}"#.to_owned(), Form::Index, None),
            (r#"{"manifests":[],"artifactType":"text/x"}"#.to_owned(), Form::Index, None),
            (r#"{"fsLayers":[{"blobSum":{A}}]}"#.to_owned(), Form::Schema1, None),
            (r#"{"mediaType":"text/new","x":{A}}"#.to_owned(), Form::Unknown, None),
            ("{}".to_owned(), Form::Unknown, None),
        ] {
            let details = read(&text);
            assert_eq!(details.form, form, "{text}");
            assert_eq!(details.artifact_type.as_deref(), artifact_type, "{text}");
            assert_eq!(details.config.is_some(), form == Form::Image && text.contains("config"), "{text}");
        }
    }

    #[test]
    fn sizes_of_blobs() {
        let blob = |name: &str, bytes, is_foreign| BlobDetails { digest: d(name), bytes, is_foreign };
        for (text, mut blobs) in [
            (
                r#"{"config":{"digest":{A},"size":7},"layers":[{"digest":{B},"size":5000000000},{"digest":{C}}]}"#,
                vec![blob("A", Some(7), false), blob("B", Some(5_000_000_000), false), blob("C", None, false)],
            ),
            // Named twice: once, and the greater size counts.
            (
                r#"{"layers":[{"digest":{A},"size":1},{"digest":{A},"size":3},{"digest":{A},"size":2}]}"#,
                vec![blob("A", Some(3), false)],
            ),
            // No size is worth more than a wrong one.
            (
                r#"{"layers":[{"digest":{A},"size":-1},{"digest":{B},"size":"9"},
                    {"digest":{C},"size":[1,{"a":2}]},{"digest":{D},"size":1.5}]}"#,
                ["A", "B", "C", "D"].map(|name| blob(name, None, false)).to_vec(),
            ),
            (r#"{"layers":[{"digest":{A},"size":1,"urls":["https://x"]}]}"#, vec![blob("A", Some(1), true)]),
            (r#"{"blobs":[{"digest":{A},"size":1}]}"#, vec![blob("A", Some(1), false)]),
            (r#"{"fsLayers":[{"blobSum":{A}}]}"#, vec![blob("A", None, false)]),
            // A BuildKit cache.
            (
                r#"{"manifests":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":{A},"size":4}]}"#,
                vec![blob("A", Some(4), false)],
            ),
            // A field twice: what it needs is known, and no more.
            (r#"{"layers":[{"digest":{A},"size":1,"size":2}]}"#, vec![blob("A", None, false)]),
        ] {
            blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
            assert_eq!(read(text).blobs, blobs, "{text}");
        }
    }

    #[test]
    fn what_an_index_lists() {
        let text = r#"{"manifests":[
            {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":{D},"size":9,
             "platform":{"os":"linux","architecture":"arm64","variant":"v8","os.version":"x"}},
            {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":{A},
             "platform":{"os":"unknown","architecture":"unknown"},
             "annotations":{"vnd.docker.reference.type":"attestation-manifest","other":[1]}},
            {"digest":{B},"platform":"linux/amd64","annotations":7},
            {"digest":{B},"platform":{"os":"linux","architecture":""}},
            {"digest":{B},"platform":"linux/amd64"}]}"#;
        let children = read(text).children;
        let seen: Vec<_> = children
            .iter()
            .map(|child| (&child.digest, child.expect, child.bytes, child.platform.as_deref(), child.is_attestation))
            .collect();
        let expected = [
            (&d("D"), Expect::Manifest, Some(9), Some("linux/arm64/v8"), false),
            (&d("A"), Expect::Manifest, None, None, true),
            (&d("B"), Expect::Unknown, None, None, false),
            (&d("B"), Expect::Unknown, None, Some("linux/unknown"), false),
        ];
        assert_eq!(seen, expected);
        let unknown = read(r#"{"mediaType":"text/new","x":[{A}]}"#).children;
        assert_eq!((&unknown[0].digest, unknown[0].expect), (&d("A"), Expect::Unknown));
        assert_eq!(read(r#"{"layers":[],"subject":{"digest":{A}}}"#).subject, Some(d("A")));
    }

    #[test]
    fn what_a_config_says() {
        let time = |text: &str| text.parse::<Timestamp>().ok();
        for (text, platform, created) in [
            (
                r#"{"os":"linux","architecture":"arm","variant":"v7","created":"2024-05-17T09:30:00.5Z"}"#,
                Some("linux/arm/v7"),
                time("2024-05-17T09:30:00.5Z"),
            ),
            (r#"{"os":"linux","architecture":"amd64"}"#, Some("linux/amd64"), None),
            (r#"{"created":"0001-01-01T00:00:00Z"}"#, None, time("0001-01-01T00:00:00Z")),
            (r#"{"created":"2024-05-17T11:30:00+02:00"}"#, None, time("2024-05-17T09:30:00Z")),
            (r#"{"created":"yesterday","os":["linux"],"architecture":{"a":1}}"#, None, None),
            (r#"{"created":17,"os":null,"architecture":true}"#, None, None),
            (r#"{"os":"unknown","architecture":"unknown"}"#, None, None),
            (r#"{"os":"lin\u001b[2Jux","architecture":"a\u202eb"}"#, Some(r"lin\u{1b}[2Jux/a\u{202e}b"), None),
            ("{}", None, None),
        ] {
            let config = config(text.as_bytes()).unwrap();
            assert_eq!(config.platform.as_deref(), platform, "{text}");
            assert_eq!(config.created, created, "{text}");
        }
        for text in ["", "[]", "7", "null", "{", "{} x"] {
            assert_eq!(config(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn texts_of_strangers_are_short_and_harmless() {
        let long = "x".repeat(5000);
        let text = format!(r#"{{"mediaType":"{long}","artifactType":"a\nb","layers":[]}}"#);
        let details = read(&text);
        assert_eq!(details.media_type.as_deref().map(str::len), Some(MOST_CHARACTERS + 3));
        assert_eq!(details.artifact_type.as_deref(), Some(r"a\nb"));
    }

    /// The same bytes are damaged here and for the collector.
    #[test]
    fn what_is_no_manifest() {
        for text in ["", "[]", "7", "{", r#"{"layers":[{"digest":"sha256:x"}]}"#, r#"{"layers":7}"#, "{}{}"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
            assert!(details(text.as_bytes()).is_err(), "{text}");
        }
    }
}
