//! What holds for every registry, as the oracle draws them: nested and sparse indexes, signatures, tags that move,
//! shared layers, garbage, damage.
//!
//! `REGSWEEP_ORACLE_CASES` and `REGSWEEP_ORACLE_SEED` mean what they mean to the oracle.

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};
use std::fs;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner};
use regsweep::collect::{self, Collection, TreeLinks, collect};
use regsweep::finding::Findings;
use regsweep::inventory::{Inventory, LinkState, Revision};
use regsweep::mark::{self, Wishes};
use regsweep::plan::{self, BlobTotals};
use regsweep::policy::{Evicted, Held, Policy, ReferrerTag, Removal, Subject};
use regsweep::progress::{Meter, Unwatched};
use regsweep::registry::Registry;
use regsweep::usage::{self, Largest, Need, Node, Selected, Usage};

use super::built::Built;
use super::support::formats::sha256;
use super::support::process::{finish, regsweep};
use super::support::tree::Tree;
use super::world::{Scope, World, worlds};
use super::{du, usage as document};

/// Holds a property to so many random registries; fails with the smallest one that breaks it.
fn holds(property: &str, cases: u32, test: impl Fn(&Built) -> TestCaseResult) {
    let cases = match std::env::var("REGSWEEP_ORACLE_CASES") {
        Ok(of_all) => of_all.parse::<u32>().expect("REGSWEEP_ORACLE_CASES is a number").max(240) / 240 * cases,
        Err(_) => cases,
    };
    let seed = std::env::var("REGSWEEP_ORACLE_SEED").unwrap_or_default();
    let seed = sha256(format!("{property} {seed}").as_bytes());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 5000, ..Config::default() };
    let seed: Vec<u8> = seed["sha256:".len()..].bytes().take(32).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let test = |world: World| {
        let built = Built::new(&world);
        test(&built).map_err(|error| match error {
            TestCaseError::Fail(why) => TestCaseError::fail(built.explain(&why.to_string())),
            other => other,
        })
    };
    match TestRunner::new_with_rng(config, rng).run(&worlds(Scope::Everything), test) {
        Ok(()) => {}
        Err(TestError::Fail(why, world)) => panic!("{property}: {why}\n\nThe smallest registry:\n{world}"),
        Err(TestError::Abort(why)) => panic!("{property}: {why}"),
    }
}

/// What a collection would take.
fn collected(tree: &Tree, delete_untagged: bool) -> Collection {
    let registry = Registry::open(&tree.root()).unwrap();
    let policy = Policy { delete_untagged, ..Policy::default() };
    let options = collect::Options {
        policy: &policy,
        uploads_older_than: 7 * 24 * 3600,
        remove_empty_repositories: false,
        young_since: None,
        max_delete: None,
        last_repositories: None,
        scope: plan::Scope::Everything,
        now: Timestamp::now().as_second(),
    };
    collect(&registry, options, &Findings::default(), &Unwatched).unwrap()
}

/// What lies on the disk, by the names of the witness.
fn on_disk(tree: &Tree) -> (u64, u64) {
    let (mut count, mut bytes) = (0, 0);
    for object in tree.objects() {
        if let Some(digest) = object.strip_prefix("blob ") {
            count += 1;
            bytes += fs::metadata(tree.data(digest)).unwrap().len();
        }
    }
    (count, bytes)
}

fn plus(sizes: impl IntoIterator<Item = BlobTotals>) -> BlobTotals {
    sizes.into_iter().fold(BlobTotals::default(), |sum, it| sum + it)
}

/// Every node's figures are those of what is in it.
fn adds_up(node: &Node) -> TestCaseResult {
    let name = &node.name;
    match &node.repository {
        None => {
            let below = plus(node.children.iter().map(|child| child.exclusive));
            prop_assert_eq!(node.exclusive, below + node.common, "exclusive of {}", name);
            prop_assert_eq!(node.garbage, plus(node.children.iter().map(|child| child.garbage)));
        }
        Some(contents) => {
            let images = plus(contents.images.iter().map(|image| image.exclusive));
            let parts = images + node.common + node.untagged + contents.kept;
            prop_assert_eq!(node.exclusive, parts, "exclusive of {}", name);
        }
    }
    prop_assert!(node.total.bytes >= node.exclusive.bytes && node.exclusive.bytes >= node.untagged.bytes, "{}", name);
    node.children.iter().try_for_each(adds_up)
}

struct Measured {
    registry: Registry,
    seen: collect::Seen,
    marking: regsweep::mark::Marking,
    usage: Usage,
}

impl Measured {
    fn of(tree: &Tree) -> Measured {
        let registry = Registry::open(&tree.root()).unwrap();
        let findings = Findings::default();
        let (seen, marking) = usage::look(&registry, &findings, &Unwatched).unwrap();
        let usage = usage::measure(&registry, seen.parts(), &marking, &findings, &Unwatched).unwrap();
        Measured { registry, seen, marking, usage }
    }

    fn freed_by(&self, selected: &[Selected]) -> Result<BlobTotals, Vec<String>> {
        usage::freed_by(&self.registry, &self.seen, &self.marking, &self.usage, selected, &Unwatched)
    }
}

/// Whether something is about a manifest that no client can get here: one that a link names under another path, or that
/// only an index leads to. What is about it counts as untagged if that is; `--delete-untagged` takes it for a tag whose
/// subject is gone, and keeps it.
fn has_odd_subjects(gc: &Collection) -> bool {
    let Inventory { repositories, digests, .. } = &gc.inventory;
    let names_another = |it: &Revision| matches!(it.link, LinkState::Target(target) if target != it.id);
    repositories.iter().zip(&gc.marking.repositories).any(|(repository, marked)| {
        let has_no_link = |id| repository.revision(id).is_none_or(|it| it.link == LinkState::Absent);
        let subjects = repository.tags.iter().filter_map(|tag| match ReferrerTag::parse(&tag.name)?.subject {
            Subject::Whole(digest) => Some(digests.id(&digest)),
            Subject::Cut(..) => None,
        });
        repository.revisions.iter().any(names_another)
            || subjects.into_iter().any(|subject| marked.is_live(subject) && has_no_link(subject))
    })
}

#[test]
fn everything_adds_up() {
    let (garbage, shared, untagged, damaged) = (Cell::new(0), Cell::new(0), Cell::new(0), Cell::new(0));
    let count = |cell: &Cell<u64>, is_so: bool| cell.set(cell.get() + u64::from(is_so));
    holds("everything adds up", 240, |built| {
        let Measured { usage, .. } = Measured::of(&built.tree);
        let (blobs, size) = on_disk(&built.tree);
        prop_assert_eq!((usage.blobs.count, usage.blobs.bytes), (blobs, size), "what lies on the disk");
        adds_up(&usage.store)?;
        let parts = usage.store.exclusive + usage.all_garbage() + usage.other + usage.unknown;
        prop_assert_eq!(parts, usage.blobs, "the store and what is in no name");
        let repositories = usage.store.walk().filter(|node| node.repository.is_some());
        let exclusive = plus(repositories.map(|node| node.exclusive));
        prop_assert_eq!(exclusive + usage.shared_between_repositories(), usage.store.exclusive);
        let months = plus(usage.months.iter().map(|it| it.exclusive + it.shared + it.untagged + it.garbage + it.other));
        prop_assert_eq!(months, usage.blobs, "by months");

        let gc = collected(&built.tree, false);
        let goes = BlobTotals::of(gc.plan.blobs.iter().map(|blob| blob.size));
        prop_assert_eq!(usage.all_garbage(), goes, "garbage is what gc takes");
        let of_one: Vec<u64> =
            usage.store.walk().filter(|it| it.repository.is_some()).map(|it| it.garbage.bytes).collect();
        let mut by_gc = gc.exclusive_garbage_bytes.clone();
        let mut sorted = of_one.clone();
        by_gc.sort_unstable();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, by_gc, "garbage of single repositories is what gc says");
        let is_damaged = gc.marking.repositories.iter().any(|marked| marked.tainted) || has_odd_subjects(&gc);
        if !is_damaged {
            let all = collected(&built.tree, true);
            if !all.marking.repositories.iter().any(|marked| marked.tainted) {
                let more = BlobTotals::of(all.plan.blobs.iter().map(|blob| blob.size));
                prop_assert_eq!(usage.store.untagged + goes, more, "untagged is what --delete-untagged takes");
            }
        }
        count(&garbage, goes.count > 0);
        count(&shared, usage.shared_between_repositories().count > 0);
        count(&untagged, usage.store.untagged.count > 0);
        count(&damaged, is_damaged);
        Ok(())
    });
    for (what, cell) in [("garbage", garbage), ("shared", shared), ("untagged", untagged), ("damaged", damaged)] {
        assert!(cell.get() >= 20, "only {} registries are {what}", cell.get());
    }
}

/// All blobs one by one are the sums of all blobs, and each tag finds every blob of its image.
#[test]
fn single_blobs_add_up() {
    let (shared, kept) = (Cell::new(0), Cell::new(0));
    holds("single blobs add up", 240, |built| {
        let registry = Registry::open(&built.tree.root()).unwrap();
        let findings = Findings::default();
        let (seen, marking) = usage::look(&registry, &findings, &Unwatched).unwrap();
        let all = Largest { most: usize::MAX, on_disk: false };
        let usage = usage::measure_and_list(&registry, seen.parts(), &marking, all, &findings, &Unwatched).unwrap();
        let of = |need| plus(usage.largest.iter().filter(|blob| blob.need == need).map(|blob| blob.size));
        prop_assert_eq!(of(Need::Garbage), usage.all_garbage());
        prop_assert_eq!(of(Need::Unknown), usage.unknown);
        prop_assert_eq!(of(Need::Untagged), usage.store.untagged);
        prop_assert_eq!(plus(usage.largest.iter().map(|blob| blob.size)), usage.blobs);
        let of_tags: u64 = usage.largest.iter().map(|blob| blob.size.bytes * blob.tags).sum();
        let contents = usage.store.walk().filter_map(|node| node.repository.as_deref());
        let images = contents.flat_map(|contents| &contents.images);
        let by_images: u64 = images.map(|image| image.total.bytes * image.tags.len() as u64).sum();
        prop_assert_eq!(of_tags, by_images, "each tag has all of its image");
        for blob in &usage.largest {
            prop_assert_eq!(blob.tags > 0, blob.need == Need::Tagged);
            prop_assert_eq!(blob.first.is_some(), blob.tags > 0);
            prop_assert_eq!(blob.repository.is_some(), blob.repositories > 0);
        }
        let is_sorted = usage.largest.windows(2).all(|pair| pair[0].size.bytes >= pair[1].size.bytes);
        prop_assert!(is_sorted, "the largest first");
        let few = Largest { most: 3, on_disk: false };
        let first = usage::measure_and_list(&registry, seen.parts(), &marking, few, &findings, &Unwatched).unwrap();
        let digests = |of: &Usage| of.largest.iter().take(3).map(|blob| blob.digest.clone()).collect::<Vec<_>>();
        prop_assert_eq!(digests(&first), digests(&usage), "the first of them");
        shared.set(shared.get() + u64::from(usage.largest.iter().any(|blob| blob.repositories > 1)));
        kept.set(kept.get() + u64::from(of(Need::Kept).count > 0));
        Ok(())
    });
    assert!(shared.get() > 50 && kept.get() > 20, "{shared:?} have shared blobs, {kept:?} kept ones");
}

/// A collection that lets names go may ask as well: what they alone reached is garbage then, and everything adds up.
#[test]
fn what_a_policy_lets_go_is_garbage() {
    let more = Cell::new(0);
    holds("what a policy lets go is garbage", 120, |built| {
        let registry = Registry::open(&built.tree.root()).unwrap();
        let policy = Policy { delete_untagged: true, ..Policy::default() };
        let (findings, meter) = (Findings::default(), Meter::new());
        let seen = collect::see(&registry, &policy, false, &findings, &meter).unwrap();
        let links = TreeLinks { registry: &registry, digests: &seen.inventory.digests };
        let (held, removal, young) = (Held::default(), Removal::default(), HashSet::new());
        let wishes = Wishes {
            policy: &policy,
            held: &held,
            removal: &removal,
            evicted: &Evicted::default(),
            young: &young,
            young_since: None,
            now: 0,
        };
        let marking = mark::mark(&seen.inventory, &seen.store, &links, wishes, &findings, &meter);
        let usage = usage::measure(&registry, seen.parts(), &marking, &findings, &Unwatched).unwrap();
        let goes = |delete_untagged| {
            BlobTotals::of(collected(&built.tree, delete_untagged).plan.blobs.iter().map(|blob| blob.size))
        };
        prop_assert_eq!(usage.all_garbage(), goes(true));
        adds_up(&usage.store)?;
        prop_assert_eq!(usage.store.exclusive + usage.all_garbage() + usage.other + usage.unknown, usage.blobs);
        more.set(more.get() + u64::from(usage.all_garbage() != goes(false)));
        Ok(())
    });
    assert!(more.get() > 20, "only {more:?} policies let anything go");
}

/// Rows say of one name what removing it frees; in a tainted repository they say nothing of single tags.
#[test]
fn exclusive_is_what_removal_frees() {
    let (rows, freeing) = (Cell::new(0), Cell::new(0));
    holds("exclusive is what removal frees", 240, |built| {
        let measured = Measured::of(&built.tree);
        if measured.usage.brake.is_some() {
            return Ok(());
        }
        for node in measured.usage.store.walk().skip(1) {
            let name = node.name.to_string();
            let selected = match &node.repository {
                Some(_) => Selected::Repository(name.clone()),
                None => Selected::Namespace(name.clone()),
            };
            prop_assert_eq!(measured.freed_by(&[selected]), Ok(node.exclusive), "{}", name);
            rows.set(rows.get() + 1);
            let Some(contents) = node.repository.as_ref().filter(|contents| !contents.is_tainted) else { continue };
            for tag in contents.tags.iter().filter(|tag| tag.image.is_some()) {
                let freed = measured.freed_by(&[Selected::Tag(name.clone(), tag.name.to_string())]);
                let exclusive = contents.of_tag(tag).1;
                prop_assert_eq!(freed, Ok(exclusive), "{}:{}", name, tag.name);
                rows.set(rows.get() + 1);
                freeing.set(freeing.get() + u64::from(exclusive.count > 0));
            }
            for image in &contents.images {
                let tags = image.tags.iter().map(|&tag| contents.tags[tag as usize].name.to_string());
                let selected: Vec<Selected> = tags.map(|tag| Selected::Tag(name.clone(), tag)).collect();
                prop_assert_eq!(measured.freed_by(&selected), Ok(image.exclusive), "{:?}", selected);
            }
        }
        Ok(())
    });
    assert!(rows.get() > 1500 && freeing.get() > 100, "{rows:?} rows, {freeing:?} tags free something");
}

/// `du NAME...` and `rm --dry-run NAME...` through the binary.
#[test]
fn what_names_free_is_what_rm_says() {
    let (asked, freeing) = (Cell::new(0), Cell::new(0));
    holds("what names free is what rm says", 60, |built| {
        let tree = &built.tree;
        let root = tree.root();
        let (mut tags, mut repositories) = (BTreeSet::new(), BTreeSet::new());
        for object in tree.objects() {
            let words: Vec<&str> = object.split(' ').collect();
            if words[0] != "blob" {
                repositories.insert(words[0].to_owned());
            }
            if let [repository, "tag", tag] = words[..] {
                tags.insert(format!("{repository}:{tag}"));
            }
        }
        let mut requests: Vec<(Vec<String>, bool)> = Vec::new();
        requests.extend(tags.iter().take(3).map(|tag| (vec![tag.clone()], false)));
        requests.extend(tags.iter().find(|tag| tag.ends_with(".sig")).map(|tag| (vec![tag.clone()], false)));
        requests.push((tags.iter().step_by(2).cloned().collect(), false));
        requests.push((tags.iter().cloned().collect(), false));
        for repository in repositories.iter().take(2) {
            requests.push((vec![repository.clone()], false));
            requests.push((vec![repository.split('/').next().unwrap().to_owned()], true));
        }
        requests.push((repositories.into_iter().collect(), false));
        for (names, is_recursive) in requests.iter().filter(|(names, _)| !names.is_empty()) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut options = vec!["rm", "--dry-run", "--format", "json"];
            options.extend(is_recursive.then_some("--recursive"));
            options.push(root.to_str().unwrap());
            let rm = finish(regsweep(&[&options[..], &names[..]].concat()));
            let flag: &[&str] = if *is_recursive { &["--recursive"] } else { &[] };
            let run = du(tree, &[&names[..], flag].concat());
            prop_assert!([0, 3].contains(&run.code), "exit {}: {}", run.code, run.stderr);
            let frees = document(&run)["names"]["frees"].clone();
            let report: serde_json::Value = serde_json::from_slice(&rm.stdout).unwrap();
            let expected = report["next_gc"]["of_these_names"].clone();
            prop_assert_eq!(&frees, &expected, "{:?} recursive: {}\n{}", names, is_recursive, rm.stderr);
            prop_assert!(!expected.is_null(), "rm says something");
            asked.set(asked.get() + 1);
            freeing.set(freeing.get() + u64::from(expected["count"].as_u64() > Some(0)));
        }
        Ok(())
    });
    assert!(asked.get() > 300 && freeing.get() > 100, "{asked:?} asked, {freeing:?} free something");
}
