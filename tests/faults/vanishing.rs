//! A registry that is at work while it is read: things vanish between a listing and the look at what it gave.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regsweep::finding::{FindingKind, Severity};
use regsweep::seam::{Answer, Kind};

use super::support::inside::{Call, Nth, Recorder, call, for_each_on_all_cores, on_one_thread};
use super::support::tree::{Manifest, Tree};
use super::{HOUR, Said, collected, policy, reads};

/// A dry run during which this is done right before the n-th call, and the number of the calls.
fn read_while(tree: &Tree, delete_untagged: bool, nth: usize, act: impl Fn() + Send + Sync + 'static) -> Said {
    let hook = Nth::of(reads, move |n, _| {
        if n == nth {
            act();
        }
        Answer::Go
    });
    on_one_thread(|| collected(&tree.root(), &policy(delete_untagged), hook.seam()))
}

/// The calls of a dry run in which nothing vanishes.
fn calls(tree: &Tree, delete_untagged: bool) -> (Said, Vec<Call>) {
    let recorder = Recorder::new();
    let said = on_one_thread(|| collected(&tree.root(), &policy(delete_untagged), recorder.seam()));
    (said, recorder.calls().into_iter().filter(|call| reads(call.kind)).collect())
}

/// Errors and warnings, each with its path.
fn complaints(said: &Said) -> Vec<String> {
    said.complaints().into_iter().map(|finding| format!("{:?} {}", finding.kind, finding.path)).collect()
}

/// One revision link vanishes between the listing and the reading: the revisions after it still count.
#[test]
fn t05_a_revision_link_that_vanishes_hides_none_of_the_others() {
    let template = Tree::new();
    let app = template.repository("team/app");
    let images: Vec<Manifest> = (0..6).map(|n| app.untagged(&format!("image {n}"))).collect();
    template.orphan("orphan");
    for (n, vanishing) in images.iter().enumerate() {
        let tree = template.copy();
        let link = tree.repository("team/app").revision(&vanishing.digest).join("link");
        let path = link.clone();
        let hook = Nth::of(
            |kind| kind == Kind::OpenFile,
            move |_, operation| {
                if call(operation).path == path {
                    fs::remove_file(&path).unwrap();
                }
                Answer::Go
            },
        );
        let said = on_one_thread(|| collected(&tree.root(), &policy(false), hook.seam()));
        assert!(!link.exists(), "it was asked for, and vanished");
        assert!(!said.is_stopped);
        assert_eq!(complaints(&said), Vec::<String>::new(), "a revision that was deleted is no damage");
        for (other, image) in images.iter().enumerate().filter(|(other, _)| *other != n) {
            for digest in image.blob_digests().into_iter().chain([&*image.digest]) {
                let gone = said.actions.iter().find(|action| action.contains(digest));
                assert_eq!(gone, None, "image {n} vanishes and image {other} goes");
            }
        }
        assert!(said.actions.iter().any(|action| action.contains(&vanishing.digest)), "what was deleted goes");
    }
}

/// The registry finishes and purges uploads at any time.
#[test]
fn t18_uploads_that_vanish_during_the_scan_are_nothing_to_speak_of() {
    let template = Tree::new();
    template.repository("team/app").image("v1");
    template.repository("team/app").untagged("old");
    for (id, age) in [("stale", 400 * HOUR), ("fresh", HOUR)] {
        template.repository("team/app").upload(id, age);
        template.repository("team/uploading").upload(id, age);
    }
    template.orphan("orphan");
    let (undisturbed, calls) = calls(&template, true);
    let uploads = undisturbed.actions.iter().filter(|action| action.starts_with("Upload")).count();
    assert_eq!(uploads, 2);
    let without_uploads = |said: &Said| -> BTreeSet<String> {
        let of_no_upload = |action: &&String| !action.starts_with("Upload") && !action.starts_with("Repository");
        said.actions.iter().filter(of_no_upload).cloned().collect()
    };
    let cases: Vec<(usize, &str)> =
        (0..calls.len()).flat_map(|nth| [(nth, "stale"), (nth, "fresh"), (nth, "_uploads")]).collect();
    for_each_on_all_cores(&cases, |&(nth, what)| {
        let tree = template.copy();
        let folders = ["team/app", "team/uploading"].map(|name| {
            let uploads = tree.repository(name).folder().join("_uploads");
            if what == "_uploads" { uploads } else { uploads.join(what) }
        });
        let act = move || folders.iter().for_each(|folder| fs::remove_dir_all(folder).unwrap());
        let said = read_while(&tree, true, nth, act);
        let told = || format!("{what} vanishes before {nth} of {}: {:?}", calls.len(), calls[nth]);
        assert!(!said.is_stopped, "{}", told());
        assert_eq!(complaints(&said), Vec::<String>::new(), "{}", told());
        assert_eq!(without_uploads(&said), without_uploads(&undisturbed), "{}", told());
    });
    println!("vanishing uploads: {} moments, no finding, no failure", cases.len());
    assert!(cases.len() > 300);
}

/// What the API of a registry at work, or its operator, takes away while a dry run reads.
#[test]
fn t05_what_is_deleted_while_a_dry_run_reads_is_no_damage() {
    let template = Tree::new();
    let app = template.repository("team/app");
    app.image("v1");
    let deleted = app.image("deleted");
    app.push_tagged("moved", &Manifest::oci("before", &["before"]));
    app.push_tagged("moved", &Manifest::oci("after", &["after"]));
    let child = Manifest::docker("child", &["child"]);
    app.push(&child);
    app.index("multi", &[&child]);
    template.repository("team/whole").image("v1");
    template.repository("team/whole").untagged("old");
    template.orphan("orphan");
    let kept: BTreeSet<String> = ["v1", "moved", "multi"].map(|tag| format!("team/app:{tag} gets ")).into();

    let mut moments = 0;
    for delete_untagged in [false, true] {
        let (undisturbed, calls) = calls(&template, delete_untagged);
        let cases: Vec<(usize, &str)> = (0..calls.len())
            .flat_map(|nth| ["a tag", "an image", "a repository", "all images of a repository"].map(|what| (nth, what)))
            .collect();
        moments += cases.len();
        for_each_on_all_cores(&cases, |&(nth, what)| {
            let tree = template.copy();
            let delivered = tree.deliverable(false);
            let needed: BTreeSet<&str> = delivered
                .iter()
                .filter(|fact| kept.iter().any(|tag| fact.starts_with(tag)))
                .filter_map(|fact| fact.rsplit(' ').next())
                .collect();
            let root = tree.repositories();
            let digest = deleted.digest.clone();
            let said = read_while(&tree, delete_untagged, nth, move || vanish(&root, what, &digest));
            let told = || format!("{what} vanishes before {nth} of {}: {:?}", calls.len(), calls[nth]);
            let going = said
                .actions
                .iter()
                .find(|action| needed.iter().any(|digest| action.contains(digest)) && !action.contains(" team/whole "));
            assert_eq!(going.map(|action| tree.explain(action)), None, "{}", told());
            for finding in said.complaints().into_iter().filter(|finding| !undisturbed.findings.contains(finding)) {
                assert!(
                    is_true(finding.kind, finding.severity, what),
                    "{}\n{}",
                    told(),
                    tree.explain(&format!("{finding:#?}"))
                );
            }
        });
    }
    println!("vanishing images: {moments} moments, nothing that stays goes, no false complaint");
    assert!(moments > 1500);
}

fn vanish(repositories: &Path, what: &str, digest: &str) {
    let app = repositories.join("team/app/_manifests");
    let whole = repositories.join("team/whole");
    let gone: Vec<PathBuf> = match what {
        "a tag" => vec![app.join("tags/deleted")],
        // As 2.8 does it: the link, and each tag that points there.
        "an image" => {
            vec![app.join("revisions/sha256").join(&digest[7..]).join("link"), app.join("tags/deleted")]
        }
        "a repository" => vec![whole],
        _ => vec![whole.join("_manifests"), whole.join("_layers")],
    };
    for path in gone {
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
}

/// What a run may say that read one part before somebody deleted, and another part after it.
fn is_true(kind: FindingKind, severity: Severity, what: &str) -> bool {
    match kind {
        // The listing gave the tag, and then its current link was gone; or its revision link was.
        FindingKind::TagWithoutTarget | FindingKind::DanglingTag => severity == Severity::Warning && what != "a tag",
        _ => false,
    }
}
