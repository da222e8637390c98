//! The volume changes under the feet of a run: another one is mounted in its place, or it is taken away (T50).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use regsweep::run::How;
use regsweep::seam::{Answer, Kind};

use crate::everything;
use crate::support::fingerprint::fingerprint;
use crate::support::inside::{Nth, gc_inside, options};

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
