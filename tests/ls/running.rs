//! Registries that are mounted read-only, that another run works on, or that are being written to.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use regsweep::finding::{Finding, Findings, Severity};
use regsweep::listing::{self, Kind, Listing, Pattern, Request};
use regsweep::progress::Meter;
use regsweep::registry::Registry;
use regsweep::seam::{self, Answer, Interceptor, Operation, Seam};

use super::support::inside::on_one_thread;
use super::support::process::{finish, regsweep_bound_by_permissions};
use super::support::tree::{Manifest, Tree, everything};
use super::{ls, ls_for_people};

const ALL: [&[&str]; 6] = [&[], &["-v"], &["team/app"], &["**:*", "--tree"], &["--untagged"], &["nothing"]];

#[test]
fn nothing_is_written() {
    let tree = everything();
    let before = tree.fingerprint();
    for arguments in ALL {
        ls(&tree, arguments);
        ls_for_people(&tree, arguments);
    }
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
}

/// As a user who may only read.
#[test]
fn nothing_needs_to_be_writable() {
    let tree = everything();
    tree.give_to_nobody();
    let mut folders: Vec<PathBuf> =
        walkdir::WalkDir::new(tree.root()).into_iter().map(|it| it.unwrap().into_path()).collect();
    folders.retain(|path| path.is_dir());
    folders.iter().for_each(|folder| tree.chmod(folder, 0o555));
    let root = tree.root();
    let arguments = ["ls", "--format", "json", root.to_str().unwrap(), "--tree"];
    let run = finish(regsweep_bound_by_permissions(&tree, &arguments));
    folders.iter().for_each(|folder| tree.chmod(folder, 0o755));
    assert_eq!(run.exits(0).text(), ls(&tree, &["--tree"]).text());
}

/// Another run holds the lock; this one asks for none.
#[test]
fn a_lock_is_not_waited_for() {
    let tree = everything();
    let text = ls(&tree, &[]).exits(0).text();
    fs::create_dir(tree.regsweep()).unwrap();
    let lock = fs::File::create(tree.regsweep().join("lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(ls(&tree, &[]).exits(0).text(), text);
}

/// GitLab's registry with a database: the folders are not the truth.
#[test]
fn a_database_is_told_of() {
    let tree = everything();
    let text = ls(&tree, &[]).text();
    let lockfiles = tree.root().join("docker/registry/lockfiles");
    fs::create_dir(&lockfiles).unwrap();
    fs::write(lockfiles.join("database-in-use"), "").unwrap();
    let run = ls(&tree, &[]);
    assert_eq!(run.exits(0).text(), text);
    assert!(run.stderr.contains("database"), "{}", run.stderr);
}

/// Does something once, when somebody asks for this name; with the answer to that call.
struct Once<F> {
    kind: seam::Kind,
    ends_with: String,
    done: AtomicBool,
    act: Mutex<F>,
}

impl<F: FnMut() -> Answer + Send> Interceptor for Once<F> {
    fn before(&self, operation: &Operation<'_>) -> Answer {
        // A file that is read has no name any more; the system knows which one it is.
        let at = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&operation.at))).unwrap();
        let path = if operation.name.as_os_str().is_empty() { at } else { at.join(operation.name) };
        let is_it = operation.kind == self.kind && path.to_str().unwrap().ends_with(&self.ends_with);
        if is_it && !self.done.swap(true, Ordering::Relaxed) {
            return (self.act.lock().unwrap())();
        }
        Answer::Go
    }
}

/// Lists `app` while somebody does this to it.
fn listed_while(
    tree: &Tree,
    kind: seam::Kind,
    ends_with: &str,
    act: impl FnMut() -> Answer + Send + 'static,
) -> (Listing, Vec<Finding>) {
    let (ends_with, done) = (ends_with.to_owned(), AtomicBool::new(false));
    let once: &'static _ = Box::leak(Box::new(Once { kind, ends_with, done, act: Mutex::new(act) }));
    let registry = Registry::open_with(&tree.root(), Seam::intercepted_by(once)).unwrap();
    let request = Request { pattern: Some(Pattern::parse("app").unwrap()), untagged: true, ..Request::default() };
    let findings = Findings::default();
    let listing = on_one_thread(|| listing::list(&registry, &request, &findings, &Meter::new())).unwrap();
    assert!(once.done.load(Ordering::Relaxed), "it has happened");
    (listing, findings.into_sorted())
}

fn tags(listing: &Listing) -> Vec<(String, Kind)> {
    let rows = listing.repositories[0].manifests.iter();
    rows.map(|row| (row.tag.as_deref().unwrap_or("-").to_owned(), row.kind)).collect()
}

fn assert_no_damage(findings: &[Finding]) {
    assert!(findings.iter().all(|finding| finding.severity == Severity::Info), "{findings:#?}");
}

fn remove(path: &Path) {
    fs::remove_dir_all(path).unwrap();
}

/// ```text
/// app   stays     goes: deleted and collected, after it was listed and before it is read
/// ```
#[test]
fn what_vanishes_is_not_there() {
    let tree = Tree::new();
    let app = tree.repository("app");
    app.image("stays");
    let goes = app.image_with_layers("goes", &["of its own"]);
    let loose = app.untagged("loose");
    let folders = [
        app.tag_folder("goes"),
        app.revision(&goes.digest),
        tree.blob(&goes.digest),
        app.revision(&loose.digest),
        tree.blob(&loose.digest),
    ];
    // Manifests are read when everything is listed.
    let (listing, findings) = listed_while(&tree, seam::Kind::OpenFile, "/data", move || {
        folders.iter().for_each(|folder| remove(folder));
        Answer::Go
    });
    assert_eq!(tags(&listing), [("stays".to_owned(), Kind::Image)]);
    assert_eq!(listing.repositories[0].revisions, Some(1));
    assert_no_damage(&findings);
}

/// A registry of 2.8 empties a link and writes it: who reads in between reads nothing.
#[test]
fn a_link_that_is_being_written_is_looked_at_again() {
    let tree = Tree::new();
    let app = tree.repository("app");
    app.image("v1");
    let (listing, findings) = listed_while(&tree, seam::Kind::OpenFile, "v1/current/link", || Answer::Go);
    assert_eq!(tags(&listing), [("v1".to_owned(), Kind::Image)]);
    assert_no_damage(&findings);

    let link = app.current("v1");
    let digest = fs::read(&link).unwrap();
    fs::write(&link, "").unwrap();
    let v2 = app.untagged("v2");
    let data = tree.data(&v2.digest);
    let ends_with = data.strip_prefix(tree.v2()).unwrap().to_str().unwrap().to_owned();
    // By the time at which the first manifest is read it is there.
    let (listing, findings) = listed_while(&tree, seam::Kind::OpenFile, &ends_with, move || {
        fs::write(&link, &digest).unwrap();
        Answer::Go
    });
    assert_eq!(tags(&listing), [("v1".to_owned(), Kind::Image), ("-".to_owned(), Kind::Image)]);
    assert_no_damage(&findings);
}

/// A tag that is moved to an image that was pushed a moment ago, while the old one is collected.
#[test]
fn a_tag_that_moves_is_followed() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let old = app.image_with_layers("v1", &["old"]);
    let new = Manifest::docker("new", &["new"]);
    let digest = new.digest.clone();
    let (link, revision) = (app.current("v1"), app.revision(&new.digest).join("link"));
    for blob in &new.blobs {
        tree.put(blob);
    }
    let (data, bytes) = (tree.data(&new.digest), new.bytes.clone());
    let gone = [app.revision(&old.digest), tree.blob(&old.digest)];
    let (listing, findings) = listed_while(&tree, seam::Kind::OpenFile, "/data", move || {
        for (path, bytes) in [(&data, bytes.as_slice()), (&revision, digest.as_bytes()), (&link, digest.as_bytes())] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        gone.iter().for_each(|folder| remove(folder));
        Answer::Go
    });
    assert_eq!(tags(&listing), [("v1".to_owned(), Kind::Image)]);
    assert_eq!(listing.repositories[0].manifests[0].digest.as_ref().map(ToString::to_string), Some(new.digest));
    assert!(findings.iter().all(|finding| finding.severity != Severity::Error), "{findings:#?}");
}
