//! The volume changes under the feet of a run: another one is mounted in its place, it is taken away (T50), or somebody
//! writes to it, and the clock does not tell (T49).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use regsweep::run::How;
use regsweep::seam::{Answer, Kind};

use crate::everything;
use crate::support::fingerprint::fingerprint;
use crate::support::inside::{Nth, gc_inside, options};
use crate::support::tree::{Blob, Manifest, Tree};

/// A copy with all times and owners, under other inodes: what a mount of a snapshot looks like.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Puts something else in the place of one folder when the run has planned, and before it moves anything.
fn with_another(path: &str, replace: impl Fn(&Path, &Path) + Sync + Send + 'static, says: &str) {
    let tree = everything();
    let place = tree.root().join(path);
    let away: PathBuf = tree.beside().join("away");
    let before = fingerprint(&tree.root()).files();
    let done = Arc::new(AtomicBool::new(false));
    let (at, to, doing) = (place.clone(), away.clone(), Arc::clone(&done));
    // The first file that a run opens for writing is its lock, the second its journal.
    let hook = Nth::of(
        |kind| kind == Kind::OpenToWrite,
        move |nth, _| {
            if nth == 1 && !doing.swap(true, Ordering::SeqCst) {
                fs::rename(&at, &to).unwrap();
                replace(&to, &at);
            }
            Answer::Go
        },
    );
    let (ended, _) = gc_inside(&tree.root(), hook.seam(), options());
    assert!(done.load(Ordering::SeqCst), "{path}: the run has come to its journal");
    let complaint = ended.complaint.unwrap_or_else(|| panic!("{path}: the run did not stop"));
    assert_eq!(complaint.how, How::Refused, "{path}: {}", complaint.text);
    assert!(complaint.text.contains(says), "{path}: {}", complaint.text);
    if let Ok(there) = fs::symlink_metadata(&place) {
        if there.is_dir() {
            fs::remove_dir_all(&place).unwrap();
        } else {
            fs::remove_file(&place).unwrap();
        }
    }
    fs::rename(&away, &place).unwrap();
    let changes = before.changes_to(&fingerprint(&tree.root()).files());
    assert_eq!(changes, Vec::<String>::new(), "{path}: nothing was touched");
}

#[test]
fn t50_another_volume_in_the_place_of_the_registry_stops_the_run() {
    const ANOTHER: &str = "is another folder than when";
    for path in ["docker/registry/v2", "docker", "docker/registry/v2/blobs", "docker/registry/v2/blobs/sha256"] {
        with_another(path, copy, ANOTHER);
        with_another(path, |away, at| std::os::unix::fs::symlink(away.with_file_name("copy"), at).unwrap(), "");
    }
    with_another("docker/registry/v2/repositories", copy, "repositories has changed");
    with_another("docker/registry/v2/repositories/team", copy, "repositories has changed");
}

#[test]
fn t50_a_volume_that_is_taken_away_stops_the_run() {
    for path in ["docker/registry/v2", "docker/registry/v2/blobs", "docker/registry/v2/blobs/sha256"] {
        with_another(path, |_, _| {}, "");
    }
}

/// Does something to the tree when the run has planned, and puts all times of a folder back that this has changed: a
/// clock that has not ticked in between.
fn within_one_tick(what: &str, folder: impl Fn(&Tree) -> PathBuf, write: impl Fn(&Tree) + Sync + Send + 'static) {
    let tree = everything();
    let (root, folder) = (tree.root(), folder(&tree));
    let tree = Arc::new(Mutex::new(tree));
    // The hook stays for the rest of the process; the tree must not.
    let (writing, at) = (Arc::downgrade(&tree), folder.clone());
    let hook = Nth::of(
        |kind| kind == Kind::OpenToWrite,
        move |nth, _| {
            if nth == 1 {
                let times = times_of(&at);
                write(&writing.upgrade().unwrap().lock().unwrap());
                for (path, time) in times.into_iter().filter(|(path, _)| path.exists()) {
                    fs::File::open(path).unwrap().set_modified(time).unwrap();
                }
            }
            Answer::Go
        },
    );
    let (ended, _) = gc_inside(&root, hook.seam(), options());
    drop(tree);
    let complaint = ended.complaint.unwrap_or_else(|| panic!("{what}: the run did not see it"));
    assert_eq!(complaint.how, How::Refused, "{what}: {}", complaint.text);
    assert!(complaint.text.contains("has changed"), "{what}: {}", complaint.text);
}

fn times_of(folder: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    entries.map(|entry| (entry.path().to_owned(), entry.metadata().unwrap().modified().unwrap())).collect()
}

/// The clock of a volume ticks every few milliseconds, or every two seconds. What is written twice within a tick bears
/// the same time.
#[test]
fn t49_a_second_write_within_the_same_tick_is_seen() {
    let app = |tree: &Tree| tree.repository("team/app").folder();
    within_one_tick("a tag that moves in place", app, |tree| {
        let app = tree.repository("team/app");
        let other = fs::read(app.current("latest")).unwrap();
        assert_ne!(fs::read(app.current("v1")).unwrap(), other);
        fs::write(app.current("v1"), other).unwrap();
    });
    // One goes, one comes: as many folders as before.
    within_one_tick("another tag in the place of one", app, |tree| {
        let app = tree.repository("team/app");
        fs::rename(app.tag_folder("v1"), app.tag_folder("v2")).unwrap();
    });
    within_one_tick("another revision in the place of one", app, |tree| {
        let app = tree.repository("team/app");
        let of = |tag: &str| fs::read_to_string(app.current(tag)).unwrap();
        let new = Manifest::docker("new", &["new"]);
        fs::rename(app.revision(&of("v1")), app.revision(&new.digest)).unwrap();
    });
    within_one_tick("another layer in the place of one", app, |tree| {
        let app = tree.repository("team/app");
        let (old, new) = (Blob::layer("base"), Blob::layer("new"));
        fs::rename(app.layer(&old.digest), app.layer(&new.digest)).unwrap();
    });
}
