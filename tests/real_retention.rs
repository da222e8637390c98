//! A year of pushes on a real registry, a policy, and a pull of everything that it has to leave: pushed with skopeo,
//! its times set on disk, collected read-only, served again. What must stay is written down here by hand, from the
//! words of the policy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

mod support;

use support::formats::hex_of;
use support::image::{Image, layer};
use support::real::disk::blobs_of;
use support::real::pull::Pulled;
use support::real::{Mode, RealRegistry, regsweep};

const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";
const REPOSITORY: &str = "team/app";

const POLICY: &str = "
rules:
  - name: releases
    tags: 'v.*'
    keep: {last: 3, yearly: 2}
  - name: builds
    tags: build-.*
    keep: {daily: 3, monthly: 6}
  - name: pull requests
    tags: pr-.*
    expire: {older-than: 30d}
  - name: nightly
    tags: nightly
    keep: {last: 1, tag-history: 2}
  - name: other repositories
    repositories: nobody/*
    keep: {last: 1}
";

/// A registry into which a year has been pushed.
///
/// ```text
/// team/app   v0.9                   2024-06-01     a release of the year before, with a signature of its amd64
///            v1.1 ... v1.6          2025-02 ... 2025-12, each a multi-arch image with a signature of its amd64
///            build-0101, -0115 ...  2025, the first and the fifteenth of each month
///            pr-1 ... pr-6          2025
///            pr-now                 just now
///            nightly                moved each month: twelve images, of which the tag points at the last
///            charter                2023, no rule is about it
/// other/app  stable                 2020, no rule is about it
/// ```
struct Year {
    registry: RealRegistry,
    /// Every tag with its image.
    images: BTreeMap<String, Image>,
    /// What `nightly` has pointed at, the oldest first.
    nightlies: Vec<Image>,
}

fn at(day: Date) -> SystemTime {
    day.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp().into()
}

impl Year {
    fn push(&mut self, tag: &str, image: Image, day: Option<Date>) {
        self.registry.push(REPOSITORY, tag, &image);
        if let Some(day) = day {
            let links = [self.link(tag, "current"), self.link(tag, &format!("index/sha256/{}", image.hex()))];
            for link in links {
                fs::File::options().append(true).open(link).unwrap().set_modified(at(day)).unwrap();
            }
        }
        self.images.insert(tag.to_owned(), image);
    }

    fn link(&self, tag: &str, below: &str) -> PathBuf {
        self.registry.repository(REPOSITORY).join("_manifests/tags").join(tag).join(below).join("link")
    }

    fn release(&mut self, tag: &str, day: Date) {
        let base = layer("base", 20_000);
        let image = |platform: &str| {
            let words = format!("{tag} {platform}");
            Image::oci(&words, platform, &[base.clone(), layer(&words, 2_000)])
        };
        let (amd64, arm64) = (image(AMD64), image(ARM64));
        let signature = Image::oci(&format!("signature of {tag}"), AMD64, &[layer(&format!("signature {tag}"), 300)]);
        self.push(tag, Image::index(&[amd64.clone(), arm64]), Some(day));
        self.push(&format!("sha256-{}.sig", amd64.hex()), signature, Some(day));
    }

    fn build(&mut self, tag: &str, day: Option<Date>) {
        let base = layer("base", 20_000);
        self.push(tag, Image::oci(tag, AMD64, &[base, layer(tag, 2_000)]), day);
    }
}

fn a_year_of_pushes() -> Year {
    let mut year = Year { registry: RealRegistry::start(), images: BTreeMap::new(), nightlies: Vec::new() };
    year.build("charter", Some(date(2023, 5, 5)));
    year.release("v0.9", date(2024, 6, 1));
    for month in 1..=12_i8 {
        year.build(&format!("build-{month:02}01"), Some(date(2025, month, 1)));
        year.build(&format!("build-{month:02}15"), Some(date(2025, month, 15)));
        if month % 2 == 0 {
            year.release(&format!("v1.{}", month / 2), date(2025, month, 10));
            year.build(&format!("pr-{}", month / 2), Some(date(2025, month, 20)));
        }
        let words = format!("nightly of month {month}");
        let nightly = Image::oci(&words, AMD64, &[layer(&words, 1_500)]);
        year.push("nightly", nightly.clone(), Some(date(2025, month, 28)));
        year.nightlies.push(nightly);
    }
    year.build("pr-now", None);
    year.registry.push("other/app", "stable", &Image::oci("other", AMD64, &[layer("other", 1_000)]));
    let link = year.registry.repository("other/app").join("_manifests/tags/stable/current/link");
    fs::File::options().append(true).open(link).unwrap().set_modified(at(date(2020, 1, 1))).unwrap();
    year
}

/// The tags that have to stay, from the words of the policy.
fn staying(year: &Year) -> BTreeSet<String> {
    // The last three; the newest of 2025 (among them) and of 2024.
    let releases = ["v1.6", "v1.5", "v1.4", "v0.9"];
    // Three days: December 15 and 1, November 15. Six months: the newest of December to July.
    let builds = ["build-1215", "build-1201", "build-1115", "build-1015", "build-0915", "build-0815", "build-0715"];
    // What runs, and what no rule is about.
    let others = ["pr-now", "nightly", "build-0101", "charter"];
    let mut staying: BTreeSet<String> =
        releases.iter().chain(&builds).chain(&others).map(|tag| (*tag).to_owned()).collect();
    for release in releases {
        let amd64 = &year.images[release].children[0];
        staying.insert(format!("sha256-{}.sig", amd64.hex()));
    }
    staying
}

#[test]
fn a_year_of_pushes_under_a_policy() {
    let mut year = a_year_of_pushes();
    let staying = staying(&year);
    let before = year.registry.pull_all();
    assert_eq!(before.len(), year.images.len() + 1, "everything can be pulled at first");
    let policy = year.registry.fresh_path("policy").with_extension("yml");
    fs::write(&policy, POLICY).unwrap();
    let in_use = year.registry.fresh_path("in-use");
    fs::write(&in_use, format!("{}/{REPOSITORY}:build-0101\n", year.registry.address())).unwrap();
    year.registry.restart(Mode::ReadOnly);
    let root = year.registry.root();
    let gc = |flags: &[&str]| {
        let (policy, in_use, url) = (policy.to_str().unwrap(), in_use.to_str().unwrap(), year.registry.url());
        let always = ["gc", "--format", "json", "--policy", policy, "--protect", in_use, "--registry", &url];
        regsweep(&[&always, flags, &[root.to_str().unwrap()]].concat()).exits(0).report()
    };
    let dry = gc(&["--dry-run"]);
    let real = gc(&[]);
    assert_eq!(dry.actions(), real.actions(), "what was tried is what was done");
    for action in real.actions().iter().filter(|action| ["tag", "revision"].contains(&action.kind.as_str())) {
        assert_eq!(action.reason, "expired", "{action:?}");
    }
    let said: Vec<(String, u64, u64)> = real.0["retention"]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            let count = |field: &str| rule[field].as_u64().unwrap();
            (rule["name"].as_str().unwrap_or("-").to_owned(), count("kept"), count("let_go"))
        })
        .collect();
    // build-0101 is protected, and no rule decides about that: nor about signatures, the charter, the other repository.
    let expected = [
        ("releases", 4, 3),
        ("builds", 7, 16),
        ("pull requests", 1, 6),
        ("nightly", 1, 0),
        ("other repositories", 0, 0),
        ("-", 7, 3),
    ];
    assert_eq!(said, expected.map(|(name, kept, let_go)| (name.to_owned(), kept, let_go)));

    year.registry.restart(Mode::Writable);
    let tags: BTreeSet<String> = year.registry.tags(REPOSITORY).into_iter().collect();
    assert_eq!(tags, staying);
    let is_to_stay = |name: &String| name.strip_prefix("team/app:").is_none_or(|tag| staying.contains(tag));
    let left: BTreeMap<String, Pulled> = before.into_iter().filter(|(name, _)| is_to_stay(name)).collect();
    assert_eq!(year.registry.pull_all(), left, "what stays can be pulled, digest for digest");

    // The last two that nightly pointed at before can be rolled back to; those before are gone.
    let former: Vec<bool> =
        year.nightlies.iter().map(|image| year.registry.has_manifest(REPOSITORY, &image.digest())).collect();
    assert_eq!(former, [vec![false; 9], vec![true; 3]].concat());
    assert!(!year.registry.has_manifest(REPOSITORY, &year.images["v1.1"].digest()));

    // Nothing else is left in the store.
    let mut needed: BTreeSet<String> = staying.iter().flat_map(|tag| year.images[tag].all_digests()).collect();
    needed.extend(year.nightlies[9..].iter().flat_map(Image::all_digests));
    needed.extend(Image::oci("other", AMD64, &[layer("other", 1_000)]).all_digests());
    assert_eq!(blobs_of(&root), needed);
    assert!(needed.len() > 80 && needed.iter().all(|digest| hex_of(digest).len() == 64));

    // What went can be pushed again, whole.
    let image = year.images["v1.1"].clone();
    year.registry.push(REPOSITORY, "v1.1", &image);
    assert_eq!(year.registry.pull(REPOSITORY, "v1.1").unwrap().contents, image.all_digests());
}
