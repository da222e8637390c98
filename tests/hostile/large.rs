//! Large things: what a stranger can make large costs memory in proportion to what is really read, and an end comes.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::formats::{OCI_INDEX, OCI_MANIFEST};
use crate::support::process::Run;
use crate::support::tree::{Blob, Manifest, Tree, blob_object, write};
use crate::{assert_plain, measured, quarantined};

/// The most that a registry accepts.
const FOUR_MIB: usize = 4 << 20;

/// A tree with an image that stays, an orphan that goes, and something large.
struct Place {
    tree: Tree,
    orphan: String,
}

impl Place {
    fn new() -> Self {
        let tree = Tree::new();
        tree.repository("team/app").image("v1");
        let orphan = blob_object(&tree.orphan("orphan").digest);
        Self { tree, orphan }
    }

    /// A real run under the limit of memory: it ends with one of these codes, everything is still deliverable, and the
    /// orphan is collected if the run says that it was done.
    fn check(&self, what: &str, codes: &[i32]) -> Run {
        // Asking what can be delivered would read all that is large, in a debug build: the image that is there to stay
        // is looked at by name.
        let image = || -> Vec<String> {
            self.tree.objects().into_iter().filter(|object| object.starts_with("team/app")).collect()
        };
        let before = image();
        let root = self.tree.root();
        // As many threads as regsweep ever takes by itself, however fast this disk is.
        let arguments = ["gc", "-m", "--registry-stopped", "--format", "json", "--jobs", "64"].map(OsStr::new);
        let (run, peak) = measured(&[&arguments[..], &[root.as_os_str()]].concat());
        println!("    {what}: exit {}, {} MB", run.code, peak >> 20);
        assert!(codes.contains(&run.code), "{what}: exit {}: {}", run.code, run.stderr);
        assert_plain(&run, what);
        let collected = [0, 3].contains(&run.code);
        assert_eq!(!self.tree.objects().contains(&self.orphan), collected, "{what}: exit {}", run.code);
        assert_eq!(image(), before, "{what}");
        run
    }
}

fn digest(number: usize) -> String {
    format!("sha256:{number:064x}")
}

/// A document that repeats something up to a size.
fn filled(head: &str, part: impl Fn(usize) -> String, tail: &str, size: usize) -> Vec<u8> {
    let mut text = String::with_capacity(size);
    text.push_str(head);
    for number in 0.. {
        let part = part(number);
        if text.len() + part.len() + tail.len() > size {
            break;
        }
        text.push_str(&part);
    }
    text.push_str(tail);
    text.into_bytes()
}

/// A manifest whose digest another program has made: in a debug build this one would take seconds.
fn hashed(bytes: Vec<u8>) -> Manifest {
    let mut sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sum.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = sum.wait_with_output().unwrap();
    let hex = std::str::from_utf8(&output.stdout[..64]).unwrap();
    let mut manifest = Manifest::raw(Vec::new());
    (manifest.digest, manifest.bytes) = (format!("sha256:{hex}"), bytes);
    manifest
}

fn comma(number: usize) -> &'static str {
    if number == 0 { "" } else { "," }
}

#[test]
fn manifests_as_large_as_they_can_be() {
    let descriptor = |number: usize| format!("{}{{\"digest\":\"{}\"}}", comma(number), digest(number));
    let same = format!("{{\"digest\":\"{}\"}}", digest(1));
    let typed = format!("{{\"mediaType\":\"{OCI_MANIFEST}\",\"digest\":\"{}\"}}", digest(1));
    let layers = r#"{"config":{"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000"},"#;
    let cases: Vec<(&str, Vec<u8>, i32)> = vec![
        ("a million references, 81 MB", filled(r#"{"layers":["#, descriptor, "]}", 81_000_000), 3),
        ("as many layers as fit", filled(&format!("{layers}\"layers\":["), descriptor, "]}", FOUR_MIB), 3),
        ("as many entries of an index as fit", filled(r#"{"manifests":["#, descriptor, "]}", FOUR_MIB), 0),
        (
            "as many digests of an unknown shape as fit",
            filled(r#"{"x":["#, |n| format!("{}\"{}\"", comma(n), digest(n)), "]}", FOUR_MIB),
            0,
        ),
        (
            "50,000 times the same child",
            filled(r#"{"manifests":["#, |n| format!("{}{same}", comma(n)), "]}", FOUR_MIB),
            0,
        ),
        (
            "the same manifest again and again",
            filled(
                &format!(r#"{{"mediaType":"{OCI_INDEX}","manifests":["#),
                |n| format!("{}{typed}", comma(n)),
                "]}",
                FOUR_MIB,
            ),
            0,
        ),
        ("nested arrays", filled(r#"{"config":"#, |_| "[".into(), "", FOUR_MIB), 3),
        ("nested arrays, and their ends", [b"[".repeat(FOUR_MIB / 2), b"]".repeat(FOUR_MIB / 2)].concat(), 3),
        ("nested objects", filled("", |_| "{\"a\":".into(), "", FOUR_MIB), 3),
        ("the same key again and again", filled("{", |n| format!("{}\"a\":1", comma(n)), "}", FOUR_MIB), 0),
        ("layers again and again", filled("{", |n| format!("{}\"layers\":[]", comma(n)), "}", FOUR_MIB), 3),
        ("a string of escapes as type", filled(r#"{"mediaType":""#, |_| "\\u0041".into(), r#""}"#, FOUR_MIB), 0),
        ("a string of escapes as digest", filled(r#"{"config":{"digest":""#, |_| "\\n".into(), r#""}}"#, FOUR_MIB), 3),
        ("a string of escapes as key", filled("{\"", |_| "\\u202e".into(), "\":1}", FOUR_MIB), 0),
        ("a string of escapes that never ends", filled("{\"a\":\"", |_| "\\\\".into(), "", FOUR_MIB), 3),
        ("a number without an end", filled("{\"layers\":", |_| "9".into(), "}", FOUR_MIB), 3),
        ("blanks", filled("{", |_| " ".into(), "", FOUR_MIB), 3),
    ];
    for (what, bytes, code) in &cases {
        let place = Place::new();
        let repository = place.tree.repository("large");
        let large = hashed(bytes.clone());
        repository.push_tagged("v1", &large);
        let stray = repository.stray_layer("perhaps its layer");
        let run = place.check(what, &[*code]);
        let left = place.tree.objects();
        assert!(left.contains(&blob_object(&large.digest)), "{what}");
        let is_tainted = run.report().tainted().contains("large");
        assert_eq!(left.contains(&repository.layer_object(&stray.digest)), is_tainted, "{what}");
    }
    println!("hostile: {} large manifests", cases.len());
}

/// What is wrong with a manifest may quote it. Many repositories have the same one, and each says so.
#[test]
fn what_is_said_of_a_manifest_is_short() {
    let place = Place::new();
    let large = hashed(filled("{\"config\":\"", |_| "\u{7f}".into(), "\"}", FOUR_MIB));
    for number in 0..40 {
        place.tree.repository(&format!("large/{number}")).push_tagged("v1", &large);
    }
    let run = place.check("40 repositories with one large manifest", &[3]);
    assert!(run.stdout.len() < 100_000, "{} bytes of report", run.stdout.len());
    println!("hostile: {} bytes of report for 40 repositories with one large manifest", run.stdout.len());
}

/// The parser's own limit is 128 levels: one less is read to the bottom, one more is no manifest, and keeps everything.
#[test]
fn json_at_the_limit_of_depth() {
    let mut depths = 0;
    for depth in [1, 64, 120, 124, 125, 126, 127, 128, 129, 130, 1000, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let place = Place::new();
            let layer = Blob::layer("at the bottom");
            let head = format!("{{\"x\":{}", open.repeat(depth - 1));
            let mut manifest = Manifest::raw(format!("{head}\"{}\"{}}}", layer.digest, close.repeat(depth - 1)));
            manifest.blobs = vec![layer.clone()];
            let deep = place.tree.repository("deep");
            deep.push_tagged("v1", &manifest);
            let run = place.check(&format!("{depth} levels of {open}"), if depth < 128 { &[0] } else { &[3] });
            let left = place.tree.objects();
            assert!(left.contains(&blob_object(&layer.digest)), "{depth}: {}", run.text());
            assert!(left.contains(&deep.layer_object(&layer.digest)), "{depth}");
            depths += 1;
        }
    }
    println!("hostile: {depths} depths");
}

/// Indexes that list each other in a circle cannot be made: each would have to name the digest of the other, which
/// depends on its own. A chain can, and an index of all of them.
#[test]
fn a_chain_of_indexes() {
    const LENGTH: usize = 3000;
    let place = Place::new();
    let chain = place.tree.repository("chain");
    let image = Manifest::docker("at the end", &["at the end"]);
    chain.push(&image);
    let mut digest = image.digest.clone();
    let mut all = String::new();
    for _ in 0..LENGTH {
        let index = Manifest::raw(format!(
            r#"{{"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{OCI_INDEX}","digest":"{digest}"}}]}}"#
        ));
        chain.push(&index);
        digest.clone_from(&index.digest);
        write!(all, "{}{{\"digest\":\"{digest}\"}}", if all.is_empty() { "" } else { "," }).unwrap();
        chain.tag("v1", &index);
    }
    let all = Manifest::raw(format!("{{\"manifests\":[{all}]}}"));
    place.tree.repository("all").push_tagged("v1", &all);
    let before = place.tree.objects();
    place.check("a chain of 3,000 indexes", &[0]);
    let left = place.tree.objects();
    // The tag was moved 3,000 times, and all that it ever pointed at is still there.
    let gone: Vec<&String> = before.difference(&left).filter(|object| **object != place.orphan).collect();
    assert!(gone.is_empty(), "{gone:?}");
    println!("hostile: a chain of {LENGTH} indexes, and one of all of them");
}

/// Sparse files where a registry writes a few bytes.
#[test]
fn files_as_large_as_they_can_be() {
    let large = |place: &Place, path: &Path, head: &[u8], size: u64| {
        write(path, head);
        place.tree.grow(path, size);
    };
    type Make = fn(&Place, &dyn Fn(&Place, &Path, &[u8], u64));
    let cases: [(&str, &[i32], Make); 15] = [
        ("a current link of 1 GB", &[3], |place, large| {
            let repository = place.tree.repository("large");
            repository.image("v1");
            large(place, &repository.current("v1"), b"sha256:", 1 << 30);
        }),
        ("a revision link of 1 GB", &[3], |place, large| {
            let repository = place.tree.repository("large");
            let image = repository.image("v1");
            large(place, &repository.revision(&image.digest).join("link"), image.digest.as_bytes(), 1 << 30);
        }),
        ("a history link of 1 GB", &[0], |place, large| {
            let repository = place.tree.repository("large");
            let image = repository.image("v1");
            large(place, &repository.history("v1", &image.digest).join("link"), b"", 1 << 30);
        }),
        ("a layer link of 1 GB", &[0], |place, large| {
            let repository = place.tree.repository("large");
            let image = repository.image("v1");
            large(place, &repository.layer(&image.blobs[1].digest).join("link"), b"", 1 << 30);
        }),
        ("a manifest of 3 GB behind a tag", &[3], |place, large| {
            let image = place.tree.repository("large").image("v1");
            large(place, &place.tree.data(&image.digest), &image.bytes, 3 << 30);
        }),
        ("a manifest of 3 GB behind an untagged revision", &[0, 3], |place, large| {
            let image = place.tree.repository("large").untagged("old");
            large(place, &place.tree.data(&image.digest), &image.bytes, 3 << 30);
        }),
        ("a startedat of 1 GB", &[0], |place, large| {
            let upload = place.tree.repository("large").upload("odd", Duration::from_secs(60));
            large(place, &upload.join("startedat"), b"2026-01-01T00:00:00Z", 1 << 30);
        }),
        ("a journal of 1 GB", &[0], |place, large| {
            large(place, &stranger(place), b"{\"event\":\"purged\",\"at\":\"x\"}\n", 1 << 30);
        }),
        ("a journal of 1 GB, and the run was cut off", &[0], |place, large| {
            place.tree.orphan("orphan of an earlier run");
            let journal = quarantined(&place.tree).join("journal.jsonl");
            place.tree.orphan("orphan");
            large(place, &journal, b"rubbish\n", 1 << 30);
        }),
        ("a journal that is one line of 200 MB", &[0], |place, large| {
            large(place, &stranger(place), b"{\"event\":\"kept\",\"path\":\"", 200_000_000);
        }),
        ("a journal of lines as long as they can be", &[0], |place, _| {
            let line = format!("{{\"event\":\"begin\",\"schema\":\"{}\"}}\n", "\\u0041".repeat(10_000));
            write(&stranger(place), line.repeat(500).as_bytes());
        }),
        ("a history of 1 GB", &[4], |place, large| {
            large(place, &place.tree.regsweep().join("history.jsonl"), b"", 1 << 30);
        }),
        ("a history of 1 GB that begins well", &[0], |place, large| {
            let line = concat!(
                r#"{"schema":"regsweep.history/1","at":"x","run":null,"#,
                r#""repositories":1,"tags":1,"blobs":1}"#
            );
            large(place, &place.tree.regsweep().join("history.jsonl"), format!("{line}\n").as_bytes(), 1 << 30);
        }),
        ("a lock of 1 GB", &[0], |place, large| {
            large(place, &place.tree.regsweep().join("lock"), b"{\"pid\":1,", 1 << 30);
        }),
        ("500 runs", &[0], |place, _| {
            for number in 0..500 {
                write(&place.tree.regsweep().join(format!("runs/2026-{number}/journal.jsonl")), b"{}\n");
            }
        }),
    ];
    for (what, codes, make) in &cases {
        let place = Place::new();
        make(&place, &large);
        place.check(what, codes);
    }
    println!("hostile: {} large files", cases.len());
}

/// A journal in the folder of a run that nobody made.
fn stranger(place: &Place) -> std::path::PathBuf {
    place.tree.regsweep().join("runs/20260101T000000Z-1/journal.jsonl")
}

/// Names in such numbers that a list of them is what costs. It is in proportion: some hundred bytes each.
#[test]
fn a_hundred_thousand_unknown_files() {
    const FILES: usize = 100_000;
    let place = Place::new();
    let folder = place.tree.repository("team/app").folder();
    for number in 0..FILES {
        fs::File::create(folder.join(format!("f{number}"))).unwrap();
    }
    let run = place.check("100,000 unknown files", &[0]);
    println!("hostile: {FILES} unknown files: {} MB of report", run.stdout.len() >> 20);
}
