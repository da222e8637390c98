//! Damage, symbolic links, registries that are read-only or being written to.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use regsweep::finding::{Findings, Severity};
use regsweep::progress::Unwatched;
use regsweep::registry::Registry;
use regsweep::seam::{self, Answer, Interceptor, Operation, Seam};
use regsweep::usage as library;
use serde_json::Value;

use super::support::inside::on_one_thread;
use super::support::process::{Run, finish, regsweep_bound_by_permissions};
use super::support::tree::{Manifest, Tree, everything, write};
use super::{bytes, du, du_for_people, named, usage};

#[track_caller]
fn says(run: &Run, words: &[&str]) {
    run.exits(3);
    for word in words {
        assert!(run.stderr.contains(word), "no line says {word}: {}", run.stderr);
    }
}

/// A layer that a tag needs and that is gone counts nothing, and is an error; so is one without data.
#[test]
fn a_lost_blob_counts_nothing_and_is_said() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image_with_layers("v1", &["lost", "empty folder", "whole"]);
    let before = bytes(&usage(du(&tree, &[]).exits(0))["store"]["blobs"]);
    let [lost, empty] = [&image.blobs[1], &image.blobs[2]];
    tree.remove(&tree.blob(&lost.digest));
    fs::remove_file(tree.data(&empty.digest)).unwrap();
    let run = du(&tree, &[]);
    says(&run, &[&lost.digest, &empty.digest["sha256:".len()..], "a name needs it, it counts 0"]);
    let document = usage(&run);
    let left = before - (lost.bytes.len() + empty.bytes.len()) as u64;
    assert_eq!(bytes(&document["store"]["blobs"]), left);
    assert_eq!(bytes(&document["store"]["exclusive"]), left);
    assert_eq!(document["whole"], true, "it is gone, and nobody could know its size");
}

/// Nobody knows what a repository needs whose links cannot be listed: then nothing is garbage.
#[test]
fn what_cannot_be_listed_is_no_garbage() {
    for part in ["app/_manifests", "app/_manifests/revisions", "app/_layers/sha256"] {
        let tree = Tree::new();
        tree.repository("app").image("v1");
        tree.repository("web").image("v1");
        tree.repository("web").untagged("old");
        tree.orphan("orphan");
        let whole = usage(du(&tree, &[]).exits(0));
        assert!(bytes(&whole["store"]["garbage"]) > 0);
        let guard = tree.unreadable(&tree.repositories().join(part));
        let run = du(&tree, &["web:v1"]);
        says(&run, &[part, "at least", "rm refuses"]);
        let document = usage(&run);
        assert_eq!(document["whole"], false);
        assert_eq!(document["names"]["frees"], Value::Null);
        assert!(document["refused"].as_str().unwrap().contains(part));
        let store = &document["store"];
        assert_eq!(bytes(&store["garbage"]), 0, "{part}");
        assert!(bytes(&store["unknown"]) > 0, "{part}");
        let parts: u64 = ["exclusive", "shared", "unknown"].iter().map(|part| bytes(&store[part])).sum();
        assert_eq!(parts, bytes(&whole["store"]["blobs"]), "{part}");
        let text = du_for_people(&tree, &[]).exits(3).text();
        assert!(text.contains("nobody knows") && !text.contains("--delete-untagged"), "{text}");
        guard.mend();
    }
}

/// A blob that may not be looked at is in no figure, and the figures say that they are too small.
#[test]
fn a_blob_that_cannot_be_looked_at() {
    let tree = Tree::new();
    let image = tree.repository("app").image_with_layers("v1", &["closed", "open"]);
    tree.give_to_nobody();
    let folder = tree.blob(&image.blobs[1].digest);
    tree.chmod(&folder, 0o000);
    let root = tree.root();
    let run = finish(regsweep_bound_by_permissions(&tree, &["du", "--format", "json", root.to_str().unwrap()]));
    tree.chmod(&folder, 0o755);
    says(&run, &["cannot be looked at", "at least"]);
    let document = usage(&run);
    assert_eq!((&document["whole"], &document["store"]["unmeasured"]), (&false.into(), &1.into()));
    let whole = usage(du(&tree, &[]).exits(0));
    let missing = bytes(&whole["store"]["blobs"]) - bytes(&document["store"]["blobs"]);
    assert_eq!(missing, image.blobs[1].bytes.len() as u64);
}

/// gc keeps everything in a tainted repository, so no image there has anything to itself; removing what is damaged
/// frees it all the same.
#[test]
fn a_damaged_image_keeps_its_repository() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let broken = app.image_with_layers("broken", &["b"]);
    app.image_with_layers("whole", &["w"]);
    app.untagged("old");
    tree.repository("web").image("v1");
    tree.repository("web").untagged("old");
    tree.truncate(&tree.data(&broken.digest), 0);
    let run = du(&tree, &["--tags"]);
    says(&run, &[&broken.digest]);
    let document = usage(&run);
    let app = named(&document["repositories"], "app");
    assert_eq!(app["tainted"], true);
    assert_eq!(bytes(&named(&app["tags"], "whole")["exclusive"]), 0);
    assert!(bytes(&app["kept"]) > 0 && bytes(&app["exclusive"]) > bytes(&app["kept"]));
    let text = du_for_people(&tree, &["--tags"]).text();
    assert!(text.contains("<kept, damaged>") && text.contains("\n1 untagged manifest holds "), "{text}");
    let frees = |name: &str| bytes(&usage(&du(&tree, &[name]))["names"]["frees"]);
    assert_eq!(frees("app:whole"), 0);
    assert_eq!(frees("app:broken"), bytes(&app["kept"]));
}

/// What lies behind a symbolic link stays whoever goes: it is nobody's own.
#[test]
fn a_symbolic_link_keeps_what_is_behind_it() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image_with_layers("v1", &["linked", "own"]);
    let linked = &image.blobs[1];
    let link = app.layer(&linked.digest);
    let elsewhere = tree.beside().join("elsewhere");
    fs::rename(&link, &elsewhere).unwrap();
    tree.symlink(&elsewhere, &link);
    let document = usage(du(&tree, &[]).exits(0));
    let store = &document["store"];
    assert_eq!(bytes(&store["shared"]), linked.bytes.len() as u64);
    let own = bytes(&named(&document["repositories"], "app")["exclusive"]);
    assert_eq!(own + linked.bytes.len() as u64, bytes(&store["blobs"]));
    tree.remove(&app.tag_folder("v1"));
    tree.remove(&app.revision(&image.digest));
    let document = usage(du(&tree, &[]).exits(0));
    assert_eq!(bytes(&document["store"]["other"]), linked.bytes.len() as u64);
    assert!(bytes(&document["store"]["garbage"]) > 0);
}

#[test]
fn nothing_is_written() {
    let tree = everything();
    let before = tree.fingerprint();
    for arguments in [&[][..], &["--tags"], &["--depth", "1"], &["team/app"], &["**:*"], &["--format", "csv"]] {
        du(&tree, arguments);
        du_for_people(&tree, arguments);
    }
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
}

#[test]
fn neither_a_lock_nor_a_database_stops_it() {
    let tree = everything();
    let text = du(&tree, &[]).exits(0).text();
    fs::create_dir(tree.regsweep()).unwrap();
    let lock = fs::File::create(tree.regsweep().join("lock")).unwrap();
    lock.lock().unwrap();
    write(&tree.root().join("docker/registry/lockfiles/database-in-use"), b"");
    let run = du(&tree, &[]);
    assert_eq!(run.exits(0).text(), text);
    assert!(run.stderr.contains("database"), "{}", run.stderr);
}

/// The files of an image, in the order in which a push writes them.
type Files = Vec<(PathBuf, Vec<u8>)>;

/// Pushes an image each time when somebody begins to list the repositories.
struct Pushing {
    times: AtomicU32,
    most: u32,
    pushes: Mutex<Vec<Files>>,
}

impl Interceptor for Pushing {
    fn before(&self, operation: &Operation<'_>) -> Answer {
        let is_it = operation.kind == seam::Kind::OpenFolder && operation.name.ends_with("repositories");
        if is_it && self.times.fetch_add(1, Ordering::Relaxed) < self.most {
            for (path, bytes) in self.pushes.lock().unwrap().pop().unwrap() {
                write(&path, &bytes);
            }
        }
        Answer::Go
    }
}

/// An image that is pushed between the listing of blobs and that of repositories lacks nothing: it is looked at again.
#[test]
fn a_push_meanwhile_is_no_damage() {
    let tree = Tree::new();
    let app = tree.repository("app");
    app.image("v1");
    let push = |words: &str| -> Files {
        let image = Manifest::docker(words, &[words]);
        let mut files: Files = image.blobs.iter().map(|blob| (tree.data(&blob.digest), blob.bytes.clone())).collect();
        files.extend(image.blobs.iter().map(|it| (app.layer(&it.digest).join("link"), it.digest.clone().into_bytes())));
        files.push((tree.data(&image.digest), image.bytes.clone()));
        let digest = image.digest.clone().into_bytes();
        files.push((app.revision(&image.digest).join("link"), digest.clone()));
        files.push((app.history(words, &image.digest).join("link"), digest.clone()));
        files.push((app.current(words), digest));
        files
    };
    for (most, is_quiet) in [(1, true), (2, true), (3, false)] {
        let pushes = (0..most).map(|number| push(&format!("p{most}{number}"))).collect();
        let pushing: &'static Pushing =
            Box::leak(Box::new(Pushing { times: AtomicU32::new(0), most, pushes: Mutex::new(pushes) }));
        let registry = Registry::open_with(&tree.root(), Seam::intercepted_by(pushing)).unwrap();
        let findings = Findings::default();
        on_one_thread(|| library::look(&registry, &findings, &Unwatched).unwrap());
        assert!(pushing.times.load(Ordering::Relaxed) >= most, "it has happened");
        let is_error = |severity| severity == Severity::Error;
        let found = findings.into_sorted();
        assert_eq!(!found.iter().any(|it| is_error(it.severity)), is_quiet, "{most} pushes: {found:#?}");
    }
}
