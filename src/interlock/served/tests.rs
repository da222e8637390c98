#![allow(clippy::disallowed_methods, reason = "tests build trees")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::*;

/// A registry that is made by hand.
struct Made(tempfile::TempDir);

impl Made {
    fn new() -> Made {
        let made = Made(tempfile::tempdir().unwrap());
        fs::create_dir_all(made.v2().join(REPOSITORIES)).unwrap();
        fs::create_dir_all(made.v2().join("blobs")).unwrap();
        made
    }

    fn v2(&self) -> PathBuf {
        self.0.path().join("docker/registry/v2")
    }

    fn write(&self, path: &Path, text: &str) -> PathBuf {
        let path = self.v2().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A tag whose image is whole, as old as that in minutes. Returns the path of its link.
    fn tag(&self, repository: &str, tag: &str, number: u64, minutes: u64) -> PathBuf {
        let repository = RepositoryName::parse(repository).unwrap();
        let digest = digest(number);
        let link = repository_dir(&repository).join(MANIFESTS).join(TAGS).join(tag).join(CURRENT).join(LINK);
        let link = self.write(&link, &digest.to_string());
        self.write(&Item::Revision(repository, digest.clone()).path().join(LINK), &digest.to_string());
        self.write(&Item::Blob(digest).path().join(DATA), "{}");
        let at = SystemTime::now() - Duration::from_secs(60 * minutes);
        fs::File::options().append(true).open(&link).unwrap().set_modified(at).unwrap();
        link
    }

    fn on_disk(&self) -> Vec<String> {
        let registry = Registry::open(self.0.path()).unwrap();
        on_disk(&registry).iter().map(|it| format!("{}:{} {}", it.repository, it.tag, it.digest.hex())).collect()
    }
}

fn digest(number: u64) -> Digest {
    format!("sha256:{number:064x}").parse().unwrap()
}

fn told(repository: &str, tag: &str, number: u64) -> String {
    format!("{repository}:{tag} {number:064x}")
}

#[test]
fn the_newest_come_first_and_not_more_than_are_asked_for() {
    let made = Made::new();
    for (number, minutes) in [(1, 50), (2, 10), (3, 40), (4, 20)] {
        made.tag("team/app", &format!("v{number}"), number, minutes);
    }
    made.tag("alone", "v5", 5, 30);
    // Of each repository one, and then another one.
    let wanted = [("team/app", "v2", 2), ("alone", "v5", 5), ("team/app", "v4", 4), ("team/app", "v3", 3)];
    assert_eq!(made.on_disk(), wanted.map(|(repository, tag, number)| told(repository, tag, number)));
}

/// A repository of a base image, with many tags, is what two registries have in common.
#[test]
fn t66_other_repositories_are_asked_about_however_many_tags_one_has() {
    let made = Made::new();
    for number in 1..=4 {
        made.tag("library/base", &format!("v{number}"), number, number);
        made.tag("library/other", &format!("v{number}"), number, number);
    }
    // The folders are taken from the end.
    for (number, name) in [(5, "a"), (6, "b")] {
        made.tag(name, "v1", number, 1000);
    }
    let wanted = [("library/base", "v1", 1), ("library/other", "v1", 1), ("a", "v1", 5), ("b", "v1", 6)];
    assert_eq!(made.on_disk(), wanted.map(|(repository, tag, number)| told(repository, tag, number)));
}

/// A repository may lie in another, and bear the names that its parts have.
#[test]
fn repositories_in_repositories_are_found() {
    for name in ["a", "a/b", "a/b/c/d/e", "manifests/tags", "a/current", "link/data"] {
        let made = Made::new();
        made.tag(name, "v1", 7, 1);
        assert_eq!(made.on_disk(), [told(name, "v1", 7)], "{name}");
        // The one around it is no reason to stop.
        made.tag("a", "around", 8, 2);
        assert!(made.on_disk().contains(&told(name, "v1", 7)), "{name}: {:?}", made.on_disk());
    }
}

/// Only what a registry that serves this can deliver is asked for.
#[test]
fn what_cannot_be_delivered_is_passed_over() {
    type Damage = fn(&Made, &Path);
    let table: [(&str, Damage); 9] = [
        ("empty link", |_, link| fs::write(link, "").unwrap()),
        ("half a link", |_, link| fs::write(link, &digest(1).to_string()[..40]).unwrap()),
        ("no digest", |_, link| fs::write(link, [0xff; 71]).unwrap()),
        ("long link", |_, link| fs::write(link, "x".repeat(1 << 20)).unwrap()),
        ("no link", |_, link| fs::remove_file(link).unwrap()),
        ("a folder for a link", |_, link| {
            fs::remove_file(link).unwrap();
            fs::create_dir(link).unwrap();
        }),
        ("another digest, of which nothing is there", |_, link| fs::write(link, digest(99).to_string()).unwrap()),
        ("no blob", |made, _| {
            fs::remove_file(made.v2().join(Item::Blob(digest(1)).path()).join(DATA)).unwrap();
        }),
        ("no revision", |made, _| {
            let repository = RepositoryName::parse("team/app").unwrap();
            fs::remove_file(made.v2().join(Item::Revision(repository, digest(1)).path()).join(LINK)).unwrap();
        }),
    ];
    for (what, damage) in table {
        let made = Made::new();
        let link = made.tag("team/app", "v1", 1, 1);
        assert_eq!(made.on_disk(), [told("team/app", "v1", 1)], "{what}: whole");
        damage(&made, &link);
        assert_eq!(made.on_disk(), Vec::<String>::new(), "{what}");
        // Others are found all the same.
        made.tag("team/app", "v2", 2, 1);
        assert_eq!(made.on_disk(), [told("team/app", "v2", 2)], "{what}");
    }
}

/// It is bounded: this is inside the window.
#[test]
fn a_large_registry_is_not_searched_for_long() {
    let made = Made::new();
    for number in 0..FOLDERS + 10 {
        fs::create_dir_all(made.v2().join(REPOSITORIES).join(format!("empty{number:04}"))).unwrap();
    }
    // The folders are taken from the end.
    made.tag("a-first", "v1", 1, 1);
    assert_eq!(made.on_disk(), Vec::<String>::new());
    made.tag("z-last", "v1", 1, 1);
    assert_eq!(made.on_disk(), [told("z-last", "v1", 1)]);
}
