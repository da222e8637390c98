//! What must hold for every input, whatever its bytes.
//!
//! One function a parser. Each takes the bytes that a disk, an operator or a vandal may hand to that parser, asserts
//! what regsweep relies on, and says whether the parser accepted them. The fuzz targets of this folder feed them with
//! what libFuzzer makes up; `tests/fuzz.rs` in the main crate feeds them with the seeds and with mutations of those, on
//! stable Rust. So there is nothing of libFuzzer here.
//!
//! "Does not panic" is the least of it. An image is lost if a reference is overlooked, if a text becomes a path
//! that somebody else's file has, if a registry that takes pushes is held for read-only, or if a run that was cut off
//! is held for finished. The properties are written from there, and against second opinions that are too simple to
//! be wrong in the same way: a scan of a JSON tree, a comparison of letters.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use regsweep::config::RegistryConfig;
use regsweep::digest::{Algorithm, Digest};
use regsweep::interlock::probe::RegistryUrl;
use regsweep::layout::{Item, RepositoryName, TagName, UploadId, shown};
use regsweep::manifest::{self, Expect, Parsed, details, parse};
use regsweep::policy::retention::{Because, Candidate};
use regsweep::policy::{self, Protected};
use regsweep::sweep::{Progress, progress_of};
use serde_json::Value;

/// The length of the shortest digest, `sha256:` and 64 digits.
const SHORTEST_DIGEST: usize = 71;

/// The second opinion on what a digest is: `sha256:` and 64 lower-case hex digits, or `sha512:` and 128.
fn looks_like_a_digest(text: &[u8]) -> bool {
    let hex = match (text.strip_prefix(b"sha256:"), text.strip_prefix(b"sha512:")) {
        (Some(hex), _) if hex.len() == 64 => hex,
        (_, Some(hex)) if hex.len() == 128 => hex,
        _ => return false,
    };
    hex.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A path that is only ever used below the tree: names and nothing else, and deep enough to be a thing in it rather
/// than one of its own folders (`blobs`, `repositories`, a repository).
fn stays_below_the_tree(item: &Item) {
    let path = item.path();
    let mut depth = 0;
    for component in path.components() {
        let Component::Normal(name) = component else { panic!("{path:?} is not made of names only") };
        assert!(!name.as_bytes().contains(&0), "{path:?} has a NUL in it");
        depth += 1;
    }
    assert!(depth >= 4, "{path:?} is a folder of the tree itself");
    assert!(path.starts_with("blobs") || path.starts_with("repositories"), "{path:?} lies beside the tree");
    assert_eq!(Item::at(&path), Some(item.clone()), "what lies at {path:?}");
}

/// The text of a digest. What is accepted is exactly what a registry writes, and goes back to the same bytes: two
/// texts for one digest would make a blob that is referenced under one of them look unreferenced under the other.
pub fn digest(data: &[u8]) -> bool {
    let parsed = Digest::parse(data);
    assert_eq!(parsed.is_ok(), looks_like_a_digest(data), "{:?}", shown(data));
    let Ok(digest) = parsed else { return false };
    assert_eq!(digest.to_string().as_bytes(), data);
    assert_eq!(Digest::from_hex(digest.algorithm(), digest.hex().as_bytes()), Ok(digest.clone()));
    assert_eq!(digest.as_bytes().len() * 2, digest.hex().len());
    // Through JSON, as the report and the journal write it.
    let json = serde_json::to_string(&digest).unwrap();
    assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    stays_below_the_tree(&Item::Blob(digest.clone()));
    let repository = RepositoryName::parse("team/app").unwrap();
    let tag = TagName::parse("v1").unwrap();
    stays_below_the_tree(&Item::Revision(repository.clone(), digest.clone()));
    stays_below_the_tree(&Item::LayerLink(repository.clone(), digest.clone()));
    stays_below_the_tree(&Item::TagHistory(repository, tag, digest));
    true
}

/// The content of a link file. A link that was torn, extended or hit by a flipped bit must never be taken for one that
/// leads elsewhere: it is damage, and damage keeps things. Only a flip from one hex digit to another cannot be seen.
pub fn link(data: &[u8]) -> bool {
    let Ok(target) = Digest::parse(data) else {
        // No digest hides in it either: nothing is trimmed, so a file with a newline is damage and not a link.
        assert!(!looks_like_a_digest(data));
        return false;
    };
    for end in 0..data.len() {
        assert!(Digest::parse(&data[..end]).is_err(), "a link torn after {end} bytes leads somewhere");
    }
    let mut changed = data.to_vec();
    for byte in [b'\n', b'\r', b' ', b'0', b':', 0] {
        changed.push(byte);
        assert!(Digest::parse(&changed).is_err(), "a link with {byte:#x} behind it leads somewhere");
        changed.pop();
        changed.insert(0, byte);
        assert!(Digest::parse(&changed).is_err(), "a link with {byte:#x} before it leads somewhere");
        changed.remove(0);
    }
    for at in 0..data.len() {
        for bit in 0..8 {
            changed[at] ^= 1 << bit;
            match Digest::parse(&changed) {
                Ok(other) => {
                    assert_ne!(other, target, "two texts lead to the same blob");
                    assert!(at >= "sha256:".len(), "another algorithm with the same hex");
                }
                Err(_) => assert!(!looks_like_a_digest(&changed)),
            }
            changed[at] ^= 1 << bit;
        }
    }
    // The blob that it leads to is found at one place, and that place names it.
    let path = Item::Blob(target.clone()).path();
    assert_eq!(path.file_name(), Some(OsStr::new(&target.hex())));
    assert!(Algorithm::ALL.iter().any(|algorithm| path.starts_with(Path::new("blobs").join(algorithm.name()))));
    true
}

/// A path from a trash, and a name from the disk or the command line. What is recognised goes back to where it came
/// from, and nowhere else: `Item::at` decides where something that was moved away is put back.
pub fn layout(data: &[u8]) -> bool {
    let path = Path::new(OsStr::from_bytes(data));
    let item = Item::at(path);
    if let Some(item) = &item {
        stays_below_the_tree(item);
        assert!(path.components().eq(item.path().components()), "{path:?} is taken for {:?}", item.path());
    }
    // The same for every name by itself: whatever is accepted as a name can be put into a path and found again.
    let mut named = false;
    if let Ok(text) = std::str::from_utf8(data) {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let app = RepositoryName::parse("app").unwrap();
        if let Ok(name) = RepositoryName::parse(text) {
            named = true;
            assert_eq!(name.as_str(), text);
            stays_below_the_tree(&Item::Revision(name.clone(), digest.clone()));
            stays_below_the_tree(&Item::LayerLink(name, digest.clone()));
        }
        if let Ok(name) = TagName::parse(text) {
            named = true;
            assert_eq!(name.as_str(), text);
            stays_below_the_tree(&Item::Tag(app.clone(), name.clone()));
            stays_below_the_tree(&Item::TagHistory(app.clone(), name, digest));
        }
        if let Ok(name) = UploadId::parse(text) {
            named = true;
            stays_below_the_tree(&Item::Upload(app, name));
        }
    }
    harmless(&shown(data));
    item.is_some() || named
}

/// One line of text that neither drives a terminal nor pretends to be another: no control characters, and none of the
/// twelve characters with the Unicode property `Bidi_Control`.
fn harmless(text: &str) {
    for character in text.chars() {
        let turns = matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}')
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!character.is_control() && !turns, "{character:?} is shown as it is in {text:?}");
    }
}

/// Media types that are manifests (OCI image specification, Docker). A list of its own: a type that goes missing in the
/// parser's would turn manifests into blobs that nobody looks into.
const MANIFEST_TYPES: [&str; 7] = [
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
];

fn media_type(value: &Value) -> Option<&str> {
    Some(value.get("mediaType")?.as_str()?.split(';').next()?.trim())
}

/// What a field of the known ones names: the digests' texts with their descriptors. `None` if it is not of the form
/// that the specifications give it; an absent field and null name nothing.
fn descriptors<'v>(manifest: &'v Value, field: &str) -> Option<Vec<(&'v str, &'v Value)>> {
    let key = if field == "fsLayers" { "blobSum" } else { "digest" };
    let one = |value: &'v Value| Some((value.as_object()?.get(key)?.as_str()?, value));
    match manifest.get(field) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(value) if matches!(field, "config" | "subject") => Some(vec![one(value)?]),
        Some(value) => value.as_array()?.iter().map(one).collect(),
    }
}

/// Every string of a JSON tree, keys too, that is a digest.
fn all_digests<'v>(value: &'v Value, into: &mut BTreeSet<&'v str>) {
    match value {
        Value::String(text) => {
            into.extend(looks_like_a_digest(text.as_bytes()).then_some(text.as_str()));
        }
        Value::Array(values) => values.iter().for_each(|value| all_digests(value, into)),
        Value::Object(map) => {
            for (key, value) in map {
                into.extend(looks_like_a_digest(key.as_bytes()).then_some(key.as_str()));
                all_digests(value, into);
            }
        }
        _ => {}
    }
}

/// The bytes of a manifest. A reference that is overlooked is an image lost, so what the parser finds is held against
/// a walk over the whole JSON tree; and what it cannot understand must be an error, never a manifest without
/// references.
pub fn manifest(data: &[u8]) -> bool {
    let again = parse(data);
    let Ok(parsed) = parse(data) else {
        assert!(again.is_err(), "refused once, accepted once");
        assert!(details(data).is_err(), "listed, and damaged for the collector");
        return false;
    };
    as_it_is_listed(&parsed, data);
    assert_eq!(again.ok().as_ref(), Some(&parsed), "read in two ways");
    let ascending = parsed.references.windows(2).all(|pair| pair[0].digest < pair[1].digest);
    assert!(ascending, "references are not sorted, or one is there twice");
    // Memory in proportion: no document can name more than its length holds.
    assert!(parsed.references.len() <= data.len() / SHORTEST_DIGEST);
    // None comes out of nowhere. JSON can hide a digest in escapes; without them its text is in the bytes.
    if !data.contains(&b'\\') {
        for reference in parsed.references.iter().map(|reference| &reference.digest).chain(&parsed.subject) {
            let text = reference.to_string();
            assert!(data.windows(text.len()).any(|window| window == text.as_bytes()), "{text} is not in the document");
        }
    }
    // A tree cannot be built of what the parser skips without looking, such as the number 1e999 in an annotation.
    if let Ok(tree) = serde_json::from_slice::<Value>(data) {
        against_the_tree(&parsed, &tree);
    }
    true
}

/// What is listed of a manifest is what the collector knows of it, and whatever else stands there breaks nothing.
fn as_it_is_listed(parsed: &Parsed, data: &[u8]) {
    let Ok(details) = details(data) else { panic!("damaged where it is listed, and not for the collector") };
    let blobs = details.blobs.iter().map(|blob| (&blob.digest, !blob.is_foreign));
    let named: BTreeSet<_> = blobs.chain(details.children.iter().map(|child| (&child.digest, true))).collect();
    let known = parsed.references.iter().map(|it| (&it.digest, it.expect != Expect::ForeignBlob));
    assert_eq!(named, known.collect(), "something is left out, or made up");
    assert_eq!(details.subject, parsed.subject);
    for text in [&details.media_type, &details.artifact_type].into_iter().flatten() {
        assert!(!text.contains(char::is_control) && text.len() <= 1024, "{text:?}");
    }
    let platforms = details.children.into_iter().filter_map(|child| child.platform);
    for platform in platforms.chain(manifest::config(data).and_then(|config| config.platform)) {
        assert!(!platform.contains(char::is_control) && platform.len() <= 4096, "{platform:?}");
    }
}

fn against_the_tree(parsed: &Parsed, tree: &Value) {
    assert!(tree.is_object(), "a manifest that is no object");
    let found: BTreeMap<String, Expect> =
        parsed.references.iter().map(|reference| (reference.digest.to_string(), reference.expect)).collect();
    let mut named = BTreeSet::new();
    let mut has_known_fields = false;
    for field in ["config", "layers", "blobs", "manifests", "fsLayers"] {
        let Some(descriptors) = descriptors(tree, field) else { panic!("`{field}` has the wrong form: {tree}") };
        has_known_fields |= tree.get(field).is_some_and(|value| !value.is_null());
        for (digest, descriptor) in descriptors {
            let Some(expect) = found.get(digest) else { panic!("{digest} of `{field}` is overlooked: {tree}") };
            named.insert(digest);
            // How close a look it gets. Too close costs time; not close enough loses what is below.
            let media_type = media_type(descriptor);
            match (field, media_type) {
                ("manifests", Some(name)) if MANIFEST_TYPES.contains(&name) => assert_eq!(*expect, Expect::Manifest),
                ("manifests", None) => assert!(*expect >= Expect::Unknown, "{digest} is not looked into: {tree}"),
                // Only a layer that says so may be missing.
                (_, None) if descriptor.get("urls").is_none() => assert!(*expect >= Expect::Blob, "{tree}"),
                _ => {}
            }
        }
    }
    let Some(subject) = descriptors(tree, "subject") else { panic!("`subject` has the wrong form: {tree}") };
    assert_eq!(parsed.subject.as_ref().map(Digest::to_string).as_deref(), subject.first().map(|(text, _)| *text));
    assert_eq!(parsed.has_signature_links, tree.get("fsLayers").is_some_and(|value| !value.is_null()));
    let has_known_type = media_type(tree).is_none_or(|name| MANIFEST_TYPES.contains(&name));
    if has_known_fields && has_known_type {
        // Not more either: annotations name base images, and those must be allowed to go.
        assert!(found.keys().map(String::as_str).eq(named), "more than the known fields name: {tree}");
    } else {
        let mut all = BTreeSet::new();
        all_digests(tree, &mut all);
        for digest in all {
            assert!(found.contains_key(digest), "{digest} is overlooked in a document of unknown form: {tree}");
        }
    }
}

/// Words that `yaml.v2` takes for true.
const TRUE_WORDS: [&str; 11] = ["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"];

/// Whether one of those words stands somewhere by itself.
fn says_true(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| TRUE_WORDS.contains(&word))
}

/// A config file and variables: the text, and behind a NUL byte each `NAME=value`.
fn config_and_environment(data: &[u8]) -> (&[u8], Vec<(String, String)>) {
    let mut parts = data.split(|&byte| byte == 0);
    let text = parts.next().unwrap_or_default();
    let variables = parts.filter_map(|part| {
        let (name, value) = std::str::from_utf8(part).ok()?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    (text, variables.collect())
}

/// A registry's config and environment. A registry that takes pushes and is held for read-only loses what is pushed
/// while blobs go, so nearly everything here is about never finding that by mistake.
pub fn config(data: &[u8]) -> bool {
    let (text, environment) = config_and_environment(data);
    let parsed = RegistryConfig::parse(text, &environment);
    let again = RegistryConfig::parse(text, &environment);
    assert_eq!(parsed.as_ref().ok(), again.as_ref().ok(), "read in two ways");
    // The environment is a set: the order in which the system lists it means nothing. (A name that is there twice is
    // no environment that a process could have.)
    let names: BTreeSet<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
    if names.len() == environment.len() {
        let reversed: Vec<_> = environment.iter().rev().cloned().collect();
        assert_eq!(parsed.as_ref().ok(), RegistryConfig::parse(text, &reversed).ok().as_ref(), "the order counts");
    }
    let config = match parsed {
        Ok(config) => config,
        Err(error) => {
            harmless(&error.to_string());
            return false;
        }
    };
    assert!(!config.root_directory.as_os_str().is_empty(), "an empty root is the current folder");
    assert_eq!(config.read_only, config.read_only_source.is_some(), "nobody can check what has no source");
    config.notes.iter().chain(&config.read_only_source).for_each(|line| harmless(line));
    if let Some(url) = &config.http_url {
        harmless(url);
        // What is asked is what the config names, if it can be asked at all.
        if let Ok(parsed) = url.parse::<RegistryUrl>() {
            let host = url.split("://").nth(1).unwrap().split('/').next().unwrap().to_ascii_lowercase();
            let host = host.strip_suffix(if url.starts_with("https") { ":443" } else { ":80" }).unwrap_or(&host);
            let asked = parsed.to_string();
            assert!(asked.split("://").nth(1).is_some_and(|rest| rest.starts_with(host)), "{url} asks {asked}");
            assert!(parsed.credentials().is_none(), "an address with credentials: {url}");
        }
    }

    let text = std::str::from_utf8(text).unwrap();
    let all = || std::iter::once(text).chain(environment.iter().map(|(_, value)| value.as_str()));
    // The folder that is worked on, and the address that is asked, are what somebody wrote, to the letter. (YAML can
    // spell a text with escapes, double its quotes and fold its lines.)
    let root = config.root_directory.to_str().unwrap();
    if !all().any(|text| text.contains('\\')) {
        let is_folded = root.contains(['\'', ' ', '\t', '\n']);
        assert!(is_folded || root == "/var/lib/registry" || all().any(|text| text.contains(root)), "{root:?}");
        let address = config.http_url.iter().flat_map(|url| url.split('/').nth(2));
        for (host, port) in address.map(|address| address.rsplit_once(':').unwrap()) {
            let is_written = host == "127.0.0.1" || all().any(|text| text.contains(host));
            assert!(is_written && all().any(|text| text.contains(port)), "{host}:{port}");
        }
    }
    if config.read_only {
        // Whatever else is in there: nobody made it read-only without writing one of these words. Only a word in
        // double quotes can be spelled with escapes, and that is a boolean only behind a tag.
        let is_spelled = all().any(|text| text.contains('\\') && text.contains('!'));
        assert!(is_spelled || all().any(says_true), "read-only, and nobody says so");
    }
    // Who switches it off in the environment, in a form that the registry heeds, is never held for read-only; nor in
    // the form that it ignores, for nobody knows what they rely on.
    for (name, value) in [
        ("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{\"enabled\":false}"),
        ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "false"),
        ("REGISTRY_STORAGE_MAINTENANCE", "{}"),
        ("REGISTRY_STORAGE", "filesystem"),
    ] {
        let off = RegistryConfig::parse(text.as_bytes(), &[(name.to_owned(), value.to_owned())]);
        assert!(!off.is_ok_and(|config| config.read_only), "{name}={value} is not heeded");
    }
    // The registry reads the first document only. A block scalar may swallow what is appended, so not behind one.
    if !text.contains(['|', '>']) {
        let more = format!("{text}\n---\nversion: 0.2\nstorage: {{maintenance: {{readonly: {{enabled: true}}}}}}\n");
        let with_more = RegistryConfig::parse(more.as_bytes(), &environment);
        assert_eq!(with_more.ok().as_ref(), Some(&config), "a second document counts");
    }
    true
}

/// The mark as a run writes it.
const SWEPT: &str =
    r#"{"event":"swept","at":"2026-03-15T02:15:01Z","window_seconds":0.5,"quarantine":false,"moved":3,"bytes":70}"#;

fn progress(journal: &[u8]) -> Progress {
    match progress_of(Cursor::new(journal)) {
        Ok(progress) => progress,
        Err(error) => panic!("no content of a journal is an error: {error}"),
    }
}

fn marks(progress: &Progress) -> [bool; 4] {
    [progress.began.is_some(), progress.swept.is_some(), progress.purged, progress.restored]
}

/// A journal. The mark *swept* decides whether the next run puts everything back or deletes what is in the trash, so it
/// must never be read out of lines that do not say it: not out of half a line, not out of the middle of one.
pub fn journal(data: &[u8]) -> bool {
    let whole = progress(data);
    assert_eq!(whole, progress(data), "read in two ways");

    // The second opinion: a line is a JSON object, and says what it is in its field `event`.
    let mut lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    let said: Vec<Value> = lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let says = |event: &str| {
        let is_this = |line: &&Value| line.get("event").is_some_and(|name| name == event);
        said.iter().filter(is_this).collect::<Vec<_>>()
    };
    if let Some((moved, bytes)) = whole.swept {
        let is_this = |line: &Value| {
            line["moved"].as_u64() == Some(moved)
                && line["bytes"].as_u64() == Some(bytes)
                && line["quarantine"].as_bool() == Some(whole.quarantine)
        };
        assert!(says("swept").into_iter().any(is_this), "swept, and no line says so");
    }
    assert!(!whole.quarantine || whole.swept.is_some(), "a trash that is kept without anything swept");
    assert!(!whole.purged || !says("purged").is_empty(), "purged, and no line says so");
    assert!(!whole.restored || !says("restored").is_empty(), "restored, and no line says so");

    // A crash leaves any part of a line that was about to be written: a mark cannot come of that.
    let cut = data.len() % SWEPT.len();
    for end in [cut, SWEPT.len() - 1] {
        let torn = [data, &SWEPT.as_bytes()[..end]].concat();
        let after = progress(&torn);
        assert!(whole.swept.is_some() || after.swept.is_none(), "half a line makes a run swept");
        assert!(whole.purged || !after.purged, "half a line makes a run purged");
        assert!(whole.restored || !after.restored, "half a line makes a run restored");
        let torn = [data, b"\n", &SWEPT.as_bytes()[..end], b"\n"].concat();
        assert_eq!(progress(&torn), whole, "half a line of its own counts");
    }
    // The mark itself is heard after whatever bytes, or the trash would be put back for ever.
    let swept = progress(&[data, b"\n", SWEPT.as_bytes(), b"\n"].concat());
    assert_eq!((swept.swept, swept.quarantine), (Some((3, 70)), false), "the mark is not heard");
    assert_eq!((swept.purged, swept.restored), (whole.purged, whole.restored));

    // Each line stands for itself: a journal in two pieces says what both say, and which marks are there does not
    // depend on the order.
    let middle = lines.len() / 2;
    let (first, second) = (lines[..middle].join(&b'\n'), lines[middle..].join(&b'\n'));
    let (first, second) = (progress(&first), progress(&second));
    let either: Vec<bool> = marks(&first).iter().zip(marks(&second)).map(|(a, b)| *a || b).collect();
    assert_eq!(marks(&whole)[..], either[..], "two halves say something else than the whole");
    assert_eq!(whole.swept, second.swept.or(first.swept), "the last mark counts");
    lines.reverse();
    assert_eq!(marks(&progress(&lines.join(&b'\n'))), marks(&whole), "the order counts");
    marks(&whole).contains(&true)
}

/// A password that no message may show.
const PASSWORD: &str = "Sw0rdf1sh";

/// The address of a registry, from the command line. It decides who is asked whether pushes are taken, and who gets to
/// see the credentials: what is shown must be what is asked, and a password is never shown, not even in an error.
pub fn url(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let parsed = text.parse::<RegistryUrl>();
    let printed = match &parsed {
        Ok(url) => format!("{url} {url:?}"),
        Err(error) => error.to_string(),
    };
    harmless(&printed);
    // Between a colon and the last @ people write passwords, with letters in them that would have to be escaped.
    let times = |text: &str| text.to_ascii_lowercase().matches(&PASSWORD.to_ascii_lowercase()).count();
    let secret = text.split_once(':').and_then(|(_, rest)| rest.rsplit_once('@')).map_or("", |(secret, _)| secret);
    // Not where the host is called the same.
    if times(secret) > 0 && times(secret) == times(text) {
        assert_eq!(times(&printed), 0, "{text:?} prints {printed}");
    }
    let Ok(url) = parsed else { return false };
    let shown = url.to_string();
    assert!(!shown.contains('@') && !shown.contains(char::is_whitespace), "{shown}");
    let back = shown.parse::<RegistryUrl>();
    assert_eq!(back.as_ref(), Ok(&url), "{shown} leads elsewhere");
    assert!(back.is_ok_and(|back| back.credentials().is_none()));
    true
}

/// A retention policy. A mistake has a place and one line; what is accepted keeps the floor, and does
/// not depend on the order of the tags.
pub fn policy(data: &[u8]) -> bool {
    const DAY: i64 = 86_400;
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let policy = match policy::file::parse(text) {
        Ok(policy) => policy,
        Err(error) => {
            harmless(&error.to_string());
            assert!(error.line >= 1 && error.column >= 1, "{error}");
            assert!(error.line <= text.lines().count() + 1, "a line that is not there: {error}");
            return false;
        }
    };
    let names = ["v1.0.0", "v1.1.0", "latest", "pr-1", "build-7", "x"];
    let tags: Vec<Candidate<'_>> = (0_i64..60)
        .map(|n| Candidate { name: names[(n % 6) as usize], pushed: 400 * DAY - n * n * 3600 * 5, held: None })
        .collect();
    let stay = |tags: &[Candidate<'_>]| -> Vec<bool> {
        policy.judge("team/app", tags, 400 * DAY).iter().map(|verdict| !verdict.goes).collect()
    };
    let kept = stay(&tags);
    let floor = policy.rules.iter().filter(|rule| rule.is_about("team/app")).filter_map(|rule| rule.floor).max();
    let floor = floor.unwrap_or(policy.floor).min(60);
    assert!(kept.iter().filter(|kept| **kept).count() as u64 >= floor, "the floor of {floor} does not hold");
    // The order in which they are listed does not matter.
    let reversed: Vec<Candidate<'_>> = tags.iter().rev().copied().collect();
    let again: Vec<bool> = stay(&reversed).into_iter().rev().collect();
    assert_eq!(kept, again, "the order of the tags counts");
    let held: Vec<Candidate<'_>> =
        tags.iter().map(|tag| Candidate { held: Some(Because::Protected), ..*tag }).collect();
    assert!(stay(&held).iter().all(|kept| *kept), "what is held goes");
    for verdict in policy.judge("team/app", &tags, 400 * DAY) {
        harmless(&policy.explain(verdict.rule, verdict.because));
    }
    true
}

/// A list of what runs. Nothing in it is passed over: what is not understood is an error, and so is an empty list.
pub fn protect(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let list = match Protected::parse(text) {
        Ok(list) => list,
        Err(error) => {
            harmless(&error.to_string());
            return false;
        }
    };
    let words = text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    let digests = words.clone().filter(|word| {
        let end = word.rsplit(['@', '/']).next().unwrap_or(word);
        looks_like_a_digest(end.as_bytes()) && (word.contains('@') || end == *word || word.contains("://"))
    });
    assert!(words.clone().count() > 0, "an empty list");
    assert!(list.digests().count() >= digests.count().min(1), "a digest is passed over: {text:?}");
    true
}
