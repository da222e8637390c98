//! Digests that are no digests: in links, in manifests, in names of folders. Whatever such a text would lead to, were
//! it taken for a path, is there, and nobody touches or reads it.

use std::fs;
use std::path::{Path, PathBuf};

use regsweep::digest::Digest;

use crate::support::fingerprint::fingerprint;
use crate::support::formats::{OCI_INDEX, OCI_MANIFEST};
use crate::support::process::{finish, regsweep};
use crate::support::scenario::gc;
use crate::support::tree::{Manifest, Tree, blob_object, write};
use crate::{Seeded, assert_plain};

/// What is in every file outside; it must not turn up in any output.
const SECRET: &str = "the-secret-of-somebody-else";

/// Texts in the place of a digest.
fn texts(outside: &Path) -> Vec<String> {
    let climb = "../".repeat(12);
    let away = outside.to_str().unwrap().trim_start_matches('/');
    let mut slashes = format!("sha256:{climb}{away}/");
    while slashes.len() < "sha256:".len() + 64 {
        slashes.push('x');
    }
    vec![
        "sha256:../../etc".into(),
        format!("sha256:{climb}{away}"),
        format!("sha256:/{away}"),
        "sha256:..".into(),
        "sha256:.".into(),
        "sha256:".into(),
        format!("sha256:{}", "../".repeat(21) + "x"),
        format!("sha256:{}", "a/".repeat(32)),
        slashes,
        format!("sha256:{}", "AB".repeat(32)),
        format!("SHA256:{}", "ab".repeat(32)),
        format!("sha256:{}\0", "ab".repeat(31) + "a"),
        format!("sha256:ab\0{}", "a".repeat(61)),
        format!("sha256:{}\n", "ab".repeat(32)),
        format!("sha256:{}", "a".repeat(10_000)),
        format!("sha256:{}", "\u{430}".repeat(32)),
        format!("sha512:{}", "ab".repeat(32)),
        format!("../../sha256:{}", "ab".repeat(32)),
        format!("md5:{}", "ab".repeat(16)),
        format!("..:{}", "ab".repeat(32)),
        "sha256:\u{1b}[2J\nFORGED".into(),
        String::new(),
    ]
}

/// A kind of manifest with this text in one of its places.
fn manifests(text: &str) -> Vec<(&'static str, String)> {
    let text = serde_json::to_string(text).unwrap();
    let good = format!("\"sha256:{}\"", "cd".repeat(32));
    vec![
        ("config", format!(r#"{{"mediaType":"{OCI_MANIFEST}","config":{{"digest":{text}}},"layers":[]}}"#)),
        (
            "layers",
            format!(r#"{{"mediaType":"{OCI_MANIFEST}","config":{{"digest":{good}}},"layers":[{{"digest":{text}}}]}}"#),
        ),
        ("manifests", format!(r#"{{"mediaType":"{OCI_INDEX}","manifests":[{{"digest":{text}}}]}}"#)),
        (
            "a manifest by its type",
            format!(r#"{{"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":{text}}}]}}"#),
        ),
        ("subject", format!(r#"{{"config":{{"digest":{good}}},"layers":[],"subject":{{"digest":{text}}}}}"#)),
        ("an unknown shape", format!(r#"{{"mediaType":"application/vnd.x","thing":[{text}],"other":{{{text}:1}}}}"#)),
        ("schema 1", format!(r#"{{"schemaVersion":1,"fsLayers":[{{"blobSum":{text}}}],"history":[]}}"#)),
    ]
}

/// A tree with an image that stays and an orphan that goes, and files outside that a careless path would lead to.
struct Place {
    tree: Tree,
    outside: PathBuf,
    orphan: String,
}

impl Place {
    fn new() -> Self {
        let tree = Tree::in_memory();
        tree.repository("team/app").image("v1");
        let orphan = blob_object(&tree.orphan("orphan").digest);
        let outside = tree.beside().join("outside");
        for name in ["data", "link", "sha256/link", "current/link"] {
            write(&outside.join(name), SECRET.as_bytes());
        }
        // What a path that climbs from a blob, a link or a tag would meet on its way.
        for folder in [tree.v2(), tree.root(), tree.v2().join("blobs"), tree.repositories(), tree.beside().to_owned()] {
            for name in ["etc/data", "etc/link"] {
                write(&folder.join(name), SECRET.as_bytes());
            }
        }
        Self { tree, outside, orphan }
    }

    /// Dry, for people and for programs, and then for real: nothing outside is touched, nothing of it is printed.
    fn check(&self, what: &str) -> i32 {
        let before = fingerprint(&self.outside);
        let etc = |folder: &Path| fingerprint(&folder.join("etc"));
        let folders = [self.tree.v2(), self.tree.root(), self.tree.v2().join("blobs"), self.tree.beside().to_owned()];
        let around = folders.each_ref().map(|folder| etc(folder));
        let delivered = self.tree.deliverable(false);
        let human = finish(regsweep(&["gc", "-dmv", self.tree.root().to_str().unwrap()]));
        let real = gc(&self.tree, &["--registry-stopped", "-m"]);
        for run in [&human, &real] {
            assert_plain(run, what);
            assert!([0, 3].contains(&run.code), "{what}: exit {}: {}", run.code, run.said());
            assert!(!run.said().contains(SECRET), "{what}: read into the report: {}", run.said());
        }
        real.report();
        assert_eq!(before.changes_to(&fingerprint(&self.outside)), Vec::<String>::new(), "{what}: OUTSIDE WAS TOUCHED");
        assert_eq!(around, folders.each_ref().map(|folder| etc(folder)), "{what}: OUTSIDE WAS TOUCHED");
        let lost: Vec<_> = delivered.difference(&self.tree.deliverable(false)).cloned().collect();
        assert!(lost.is_empty(), "{what}: LOST {lost:#?}");
        assert!(!self.tree.objects().contains(&self.orphan), "{what}: the rest is collected");
        real.code
    }
}

/// Every text in every kind of manifest at once, each manifest tagged in a repository of its own: what cannot be
/// understood keeps everything that its repository has.
#[test]
fn manifests_that_name_no_digest() {
    let place = Place::new();
    let (mut count, mut tainted) = (0, Vec::new());
    for (number, text) in texts(&place.outside).iter().enumerate() {
        for (kind, json) in manifests(text) {
            let repository = place.tree.repository(&format!("odd/{}-{number}", kind.replace(' ', "-")));
            repository.push_tagged("v1", &Manifest::raw(json));
            let stray = repository.stray_layer(&format!("perhaps its layer {number}"));
            if kind != "an unknown shape" {
                tainted.push((repository.layer_object(&stray.digest), repository.name.clone()));
            }
            count += 1;
        }
    }
    let code = place.check("manifests");
    assert_eq!(code, 3);
    let left = place.tree.objects();
    for (object, name) in &tainted {
        assert!(left.contains(object), "{name}: nobody knows what it needs, so all of it stays");
    }
    println!("hostile: {count} manifests that name no digest, {} of them taint their repository", tainted.len());
}

/// Every text in every kind of link.
#[test]
fn links_that_name_no_digest() {
    let mut count = 0;
    let place = Place::new();
    for (number, text) in texts(&place.outside).iter().enumerate() {
        for kind in 0..4 {
            let repository = place.tree.repository(&format!("odd/{number}-{kind}"));
            let image = repository.image_with_layers("v1", &[&format!("layer of {number} {kind}")]);
            let link = match kind {
                0 => repository.revision(&image.digest).join("link"),
                1 => repository.current("v1"),
                2 => repository.history("v1", &image.digest).join("link"),
                _ => repository.layer(&image.blobs[1].digest).join("link"),
            };
            place.tree.replace(&link, text.as_bytes());
            count += 1;
        }
    }
    let before = place.tree.objects();
    let code = place.check("links");
    assert_eq!(code, 3);
    let left = place.tree.objects();
    let gone: Vec<&String> = before.difference(&left).filter(|object| **object != place.orphan).collect();
    assert!(gone.is_empty(), "what an image needs stays, whatever its links say: {gone:#?}");
    println!("hostile: {count} links that name no digest");
}

/// Every text as the name of a folder where a digest belongs, as far as a name can be that; a link in it would lead
/// outside.
#[test]
fn folders_whose_names_are_no_digests() {
    let place = Place::new();
    let app = place.tree.repository("team/app");
    let folders = [
        app.folder().join("_manifests/revisions"),
        app.folder().join("_manifests/revisions/sha256"),
        app.folder().join("_manifests/tags/v1/index/sha256"),
        app.folder().join("_layers"),
        app.folder().join("_layers/sha256"),
        place.tree.v2().join("blobs"),
        place.tree.v2().join("blobs/sha256"),
        place.tree.v2().join("blobs/sha256/ab"),
    ];
    let mut count = 0;
    let mut made = Vec::new();
    for text in texts(&place.outside) {
        let hex = text.split_once(':').map_or(&*text, |(_, hex)| hex);
        for name in [&*text, hex] {
            let impossible = ["", ".", ".."].contains(&name) || name.contains(['/', '\0']) || name.len() > 255;
            // Where it is a digest after all, it is one.
            if impossible || Digest::parse(format!("sha256:{name}").as_bytes()).is_ok() {
                continue;
            }
            for folder in &folders {
                let stranger = folder.join(name);
                if !stranger.exists() {
                    fs::create_dir_all(folder).unwrap();
                    write(&stranger.join("data"), b"?");
                    std::os::unix::fs::symlink(place.outside.join("link"), stranger.join("link")).unwrap();
                    made.push(stranger);
                    count += 1;
                }
            }
        }
    }
    place.check("folders");
    for stranger in made {
        assert!(stranger.join("data").exists(), "it is nobody's garbage: {}", stranger.display());
    }
    println!("hostile: {count} folders whose names are no digests");
}

/// The check itself, with whatever bytes: what it accepts is one plain name, and comes back as it was.
#[test]
fn no_bytes_become_a_digest_that_is_a_path() {
    let mut random = Seeded::new(7);
    let alphabet = b"0123456789abcdefABCDEF./\\:\0\n%~- \xff";
    let (mut tried, mut accepted) = (0, 0);
    for _ in 0..200_000 {
        let (algorithm, length) = [("sha256", 64), ("sha512", 128)][random.below(2)];
        let mut bytes: Vec<u8> = format!("{algorithm}:").into_bytes();
        let only_hex = random.below(4) == 0;
        let length = if random.below(5) == 0 { random.below(140) } else { length };
        bytes.extend((0..length).map(|_| alphabet[random.below(if only_hex { 16 } else { alphabet.len() })]));
        tried += 1;
        if let Ok(digest) = Digest::parse(&bytes) {
            accepted += 1;
            assert_eq!(digest.to_string().as_bytes(), bytes);
            assert!(digest.hex().bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
    assert!(accepted > 1000, "{accepted}");
    println!("hostile: {tried} texts, {accepted} of them digests");
}
