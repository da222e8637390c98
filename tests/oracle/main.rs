//! The oracle: on random registries, regsweep's plan is what a naive fixpoint says.
//!
//! The traps ask about situations that somebody thought of. Here a generator ([`world`]) thinks of them: nested and
//! sparse indexes, chains of referrers, tags that move, images deleted in one repository and alive in another, damage.
//! A model ([`naive`]) that shares no code with the collector says what has to go, and four properties hold:
//!
//! - the plan names exactly that, by default and with `--delete-untagged`;
//! - a real run takes exactly what the plan names, loses nothing that a client could get, and leaves nothing to do;
//! - neither the number of threads nor the order in which the tree was written changes plan or findings;
//! - where the registry's own collector is right, the same blobs go ([`stock`]).
//!
//! The registries are the same in every run, so that a failure is one tomorrow as well. To look at others:
//!
//! ```text
//! REGSWEEP_ORACLE_SEED=7 REGSWEEP_ORACLE_CASES=5000 cargo test --test oracle -- --nocapture
//! ```
//!
//! `REGSWEEP_ORACLE_SEED` is any text. `REGSWEEP_ORACLE_CASES` is how many registries the first property sees; the
//! others, which take longer for each, see fewer in proportion. What fails is shrunk and printed in words.

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod built;
mod naive;
mod stock;
mod world;

#[path = "../support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner};
use rayon::ThreadPoolBuilder;
use regsweep::collect::{self, Collection, collect};
use regsweep::finding::{Finding, Findings};
use regsweep::plan::{self, Action, ActionKind};
use regsweep::policy::retention::{Effect, Keep, Rule};
use regsweep::policy::{Policy, Retention, TagPattern};
use regsweep::progress::Unwatched;
use regsweep::registry::Registry;
use regsweep::sweep::{self, sweep};

use built::Built;
use naive::{Disk, Wish, fixpoint, garbage};
use support::formats::sha256;
use support::tree::blob_object;
use world::{Scope, TAGS, World, worlds};

/// How many registries the first property sees by default: all of this crate together takes some 15 s in a debug build.
const REGISTRIES: u32 = 240;

/// With and without `--delete-untagged`, with and without a rule.
fn modes(world: &World) -> [Wish; 4] {
    let wish = |untagged_goes, going| Wish { untagged_goes, going };
    let going = Some(world.going);
    [wish(false, None), wish(true, None), wish(false, going), wish(true, going)]
}

/// Holds a property to so many random registries (of [`REGISTRIES`]); fails with the smallest one that breaks it.
fn holds(property: &str, share: u32, scope: Scope, test: impl Fn(&World) -> TestCaseResult) {
    let cases = match std::env::var("REGSWEEP_ORACLE_CASES") {
        Ok(cases) => cases.parse().expect("REGSWEEP_ORACLE_CASES is a number"),
        Err(_) => REGISTRIES,
    };
    let cases = u32::try_from(u64::from(cases) * u64::from(share) / u64::from(REGISTRIES)).unwrap().max(1);
    let seed = std::env::var("REGSWEEP_ORACLE_SEED").unwrap_or_else(|_| "regsweep".to_owned());
    // Each property sees registries of its own.
    let seed = const_hex::decode(&sha256(format!("{seed} {property}").as_bytes())["sha256:".len()..]).unwrap();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_time: 60_000,
        max_shrink_iters: 10_000,
        ..Config::default()
    };
    let result = TestRunner::new_with_rng(config, rng).run(&worlds(scope), |world| test(&world));
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, world)) => panic!("{property}: {why}\n\nThe smallest registry:\n{world}"),
        Err(TestError::Abort(why)) => panic!("{property}: {why}"),
    }
}

/// How often something was seen.
#[derive(Default)]
struct Seen(RefCell<BTreeMap<&'static str, u64>>);

impl Seen {
    fn add(&self, what: &'static str, count: usize) {
        *self.0.borrow_mut().entry(what).or_default() += count as u64;
    }

    fn count(&self, what: &str) -> u64 {
        self.0.borrow().get(what).copied().unwrap_or_default()
    }

    /// At least one in so many registries has each of these. Where there are few, a rare thing may well be missing.
    fn are_not_trivial(&self, shares: &[(&str, u64)]) {
        let registries = self.count("registries");
        for (what, one_in) in shares.iter().filter(|(_, one_in)| registries >= 50.max(2 * one_in)) {
            let count = self.count(what);
            assert!(count * one_in >= registries, "only {count} of {registries} registries have {what}");
        }
    }
}

fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The wish as a policy: one rule about the pool's tags that keeps those that are not to go, and no floor.
fn policy(wish: Wish) -> Policy {
    let rule = |going: [bool; TAGS.len()]| {
        let staying: Vec<&str> = TAGS.into_iter().zip(going).filter(|(_, goes)| !goes).map(|(tag, _)| tag).collect();
        let pattern = if staying.is_empty() { "none".to_owned() } else { staying.join("|") };
        let keep = Keep { tags: vec![TagPattern::parse(&pattern).unwrap()], ..Keep::default() };
        let mut rule = Rule::new("staying", Effect::Keep(keep));
        rule.tags = vec![TagPattern::parse(&TAGS.join("|")).unwrap()];
        Retention { rules: vec![rule], floor: 0 }
    };
    Policy { delete_untagged: wish.untagged_goes, retention: wish.going.map(rule), ..Policy::default() }
}

/// What regsweep sees and decides.
fn decide(root: &Path, wish: Wish, remove_empty: bool) -> (Registry, Collection, Vec<Finding>) {
    let registry = Registry::open(root).unwrap();
    let policy = policy(wish);
    let options = collect::Options {
        policy: &policy,
        uploads_older_than: 7 * 24 * 3600,
        remove_empty_repositories: remove_empty,
        young_since: None,
        max_delete: None,
        last_repositories: None,
        scope: plan::Scope::Everything,
        now: Timestamp::now().as_second(),
    };
    let findings = Findings::default();
    let collection = collect(&registry, options, &findings, &Unwatched).unwrap();
    (registry, collection, findings.into_sorted())
}

/// The things that a plan names, by the names of the witness: kind, repository, digest and name are all in there.
fn named(collection: &Collection) -> BTreeSet<String> {
    let name = |action: Action<'_>| {
        let repository = action.repository.map_or("", |name| name.as_str());
        let digest = action.digest.map_or(String::new(), ToString::to_string);
        let name = action.name.unwrap_or_default();
        match action.kind {
            ActionKind::Tag => format!("{repository} tag {name}"),
            ActionKind::TagHistory => format!("{repository} tag {name} history {digest}"),
            ActionKind::Revision => format!("{repository} revision {digest}"),
            ActionKind::LayerLink => format!("{repository} layer {digest}"),
            ActionKind::Upload => format!("{repository} upload {name}"),
            ActionKind::Blob => blob_object(&digest),
            ActionKind::Repository => repository.to_owned(),
        }
    };
    let actions: Vec<String> = collection.plan.actions().map(name).collect();
    let named: BTreeSet<String> = actions.iter().cloned().collect();
    assert_eq!(named.len(), actions.len(), "nothing is named twice: {actions:#?}");
    named
}

/// Fails with what only one of two sets has, in words, and the tree beside it.
fn same(built: &Built, what: &str, [left, right]: [(&str, &BTreeSet<String>); 2]) -> TestCaseResult {
    let only_left = built.list(left.1.difference(right.1));
    let only_right = built.list(right.1.difference(left.1));
    if only_left.is_empty() && only_right.is_empty() {
        return Ok(());
    }
    Err(TestCaseError::fail(format!(
        "{what}\nonly {}: {only_left}\nonly {}: {only_right}\n\nThe tree: {}",
        left.0,
        right.0,
        built.list(&built.tree.objects())
    )))
}

fn mode(wish: Wish) -> &'static str {
    match (wish.untagged_goes, wish.going) {
        (false, None) => "by default",
        (true, None) => "with --delete-untagged",
        (false, Some(_)) => "with a rule",
        (true, Some(_)) => "with a rule and --delete-untagged",
    }
}

#[test]
fn the_plan_equals_the_oracle() {
    let seen = Seen::default();
    holds("the plan equals the oracle", REGISTRIES, Scope::Everything, |world| {
        let built = Built::new(world);
        let disk = Disk::read(&built.tree);
        let mut features = disk.features();
        for wish in modes(world) {
            let kept = fixpoint(&disk, wish);
            let oracle = garbage(&built.tree, &disk, wish, &kept, world.remove_empty);
            let (_, collection, _) = decide(&built.tree.root(), wish, world.remove_empty);
            let plan = named(&collection);
            same(&built, mode(wish), [("the plan", &plan), ("the oracle", &oracle)])?;
            let by_oracle: BTreeSet<&str> =
                kept.iter().filter(|(_, kept)| kept.tainted).map(|(name, _)| name.as_str()).collect();
            let repositories = collection.inventory.repositories.iter().zip(&collection.marking.repositories);
            let by_plan: BTreeSet<&str> =
                repositories.filter(|(_, marked)| marked.tainted).map(|(repository, _)| &*repository.name).collect();
            prop_assert_eq!(&by_plan, &by_oracle, "tainted {}", mode(wish));
            seen.add("plans", 1);
            seen.add("actions", oracle.len());
            features.extend((!by_oracle.is_empty()).then_some("taint"));
            features.extend((by_oracle.len() < kept.len() && !by_oracle.is_empty()).then_some("taint beside none"));
            features.extend(oracle.iter().any(|object| object.starts_with("blob ")).then_some("garbage blobs"));
            features.extend(oracle.iter().any(|object| object.contains(" history ")).then_some("garbage history"));
            features.extend(oracle.iter().any(|object| object.contains(" layer ")).then_some("garbage layer links"));
            features.extend(oracle.iter().any(|object| !object.contains(' ')).then_some("empty repositories"));
            let goes = |end: &str| {
                oracle.iter().any(|it| it.contains(" tag ") && !it.contains(" history ") && it.ends_with(end))
            };
            if wish.going.is_some() {
                features.extend(TAGS.iter().any(|tag| goes(&format!(" {tag}"))).then_some("tags let go"));
            }
            features.extend(goes(".sig").then_some("signatures that go"));
        }
        seen.add("registries", 1);
        features.into_iter().for_each(|feature| seen.add(feature, 1));
        Ok(())
    });
    println!(
        "oracle: {} random registries, {} plans equal the naive fixpoint ({} actions compared)",
        thousands(seen.count("registries")),
        thousands(seen.count("plans")),
        thousands(seen.count("actions"))
    );
    println!("        they have {:?}", seen.0.borrow());
    seen.are_not_trivial(&[
        ("garbage blobs", 2),
        ("garbage layer links", 2),
        ("garbage history", 6),
        ("empty repositories", 10),
        ("taint", 6),
        ("taint beside none", 8),
        ("nested indexes", 10),
        ("sparse children", 6),
        ("tagged children", 6),
        ("children that indexes share", 5),
        ("children that repositories share", 6),
        ("referrers", 4),
        ("chains of referrers", 40),
        ("untagged", 2),
        ("signatures", 4),
        ("signatures that go", 12),
        ("tags let go", 3),
        ("two tags of one digest", 10),
        ("tag history", 4),
        ("tags deleted by hand", 12),
        ("deleted revisions", 5),
        ("dangling tags", 30),
        ("dangling tags without a manifest", 120),
        ("layer links without a blob", 20),
        ("damaged tags", 30),
        ("damaged manifests", 20),
        ("missing manifests", 20),
        ("damaged revision links", 50),
        ("stale uploads", 8),
    ]);
}

#[test]
fn a_real_run_does_what_the_plan_says() {
    let seen = Seen::default();
    holds("a real run does what the plan says", REGISTRIES / 4, Scope::Everything, |world| {
        for wish in modes(world) {
            let built = Built::new(world);
            let tree = &built.tree;
            let (before, delivered) = (tree.objects(), tree.deliverable(!wish.untagged_goes));
            let window_began = Instant::now();
            let (registry, collection, _) = decide(&tree.root(), wish, world.remove_empty);
            if collection.brake.is_some() {
                seen.add("stopped", 1);
                continue;
            }
            let plan = named(&collection);
            let options = sweep::Options {
                command: "gc",
                quarantine: false,
                delete_untagged: wish.untagged_goes,
                deleters: 1,
                window_began,
            };
            let (inventory, findings) = (&collection.inventory, Findings::default());
            let swept = sweep(&registry, inventory, &collection.plan, options, &findings, &Unwatched);
            prop_assert_eq!(findings.into_sorted(), Vec::new(), "{}", mode(wish));
            let swept = swept.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(swept.is_complete);
            let totals = collection.plan.totals();
            prop_assert_eq!(swept.removed, totals, "counts and bytes {}", mode(wish));

            let left = tree.objects();
            // What is inside a tag that goes, goes with it.
            let is_in_a_tag =
                |object: &String| object.rsplit_once(" history ").is_some_and(|(tag, _)| plan.contains(tag));
            let gone = before.difference(&left).filter(|object| !is_in_a_tag(object)).cloned().collect();
            same(&built, mode(wish), [("the plan", &plan), ("what went", &gone)])?;
            let now = tree.deliverable(!wish.untagged_goes);
            // What the plan names may be lost, and nothing else.
            let is_named = |fact: &&String| {
                let (who, _) = fact.split_once(" gets ").unwrap();
                let object = match who.split_once('@') {
                    Some((repository, digest)) => format!("{repository} revision {digest}"),
                    None => who.rsplit_once(':').map(|(name, tag)| format!("{name} tag {tag}")).unwrap(),
                };
                wish.going.is_some() && plan.contains(&object) || who.ends_with(".sig") && plan.contains(&object)
            };
            let owed = delivered.iter().filter(|fact| !is_named(fact)).cloned().collect();
            let now = now.iter().filter(|fact| !is_named(fact)).cloned().collect();
            same(&built, mode(wish), [("before", &owed), ("after", &now)])?;
            let (_, again, _) = decide(&tree.root(), wish, world.remove_empty);
            let (again, nothing) = (named(&again), BTreeSet::new());
            same(&built, mode(wish), [("the second plan", &again), ("an empty plan", &nothing)])?;
            seen.add("sweeps", 1);
            seen.add("things", plan.len());
            seen.add("facts", delivered.len());
        }
        seen.add("registries", 1);
        Ok(())
    });
    println!(
        "oracle: {} random registries, {} sweeps took the {} things that their plans named; {} blobs and manifests can \
         be pulled as before",
        thousands(seen.count("registries")),
        thousands(seen.count("sweeps")),
        thousands(seen.count("things")),
        thousands(seen.count("facts"))
    );
    seen.are_not_trivial(&[("sweeps", 1), ("things", 1), ("facts", 1)]);
}

#[test]
fn threads_and_the_order_of_writing_change_nothing() {
    let pools: Vec<_> = [1, 2, 16].map(|threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap()).into();
    // What the report would print, without the sizes on disk: a file system settles those when it likes.
    let text = |root: &Path, wish: Wish, remove_empty: bool| -> Vec<String> {
        let (_, collection, findings) = decide(root, wish, remove_empty);
        let mut actions: Vec<Action<'_>> = collection.plan.actions().collect();
        actions.iter_mut().for_each(|action| action.disk_bytes = None);
        let actions = actions.iter().map(|action| serde_json::to_string(action).unwrap());
        let findings = findings.iter().map(|finding| serde_json::to_string(finding).unwrap());
        let own = |brake| vec![format!("{brake:?}"), format!("{:?}", collection.exclusive_garbage_bytes)];
        own(&collection.brake).into_iter().chain(actions).chain(findings).collect()
    };
    let seen = Seen::default();
    holds("threads and the order of writing change nothing", REGISTRIES / 3, Scope::Everything, |world| {
        let (built, reversed) = (Built::new(world), Built::reversed(world));
        let (root, other) = (built.tree.root(), reversed.tree.root());
        for wish in modes(world) {
            let mut texts = pools.iter().map(|pool| pool.install(|| text(&root, wish, world.remove_empty)));
            let one_thread = texts.next().unwrap();
            for (text, threads) in texts.zip([2, 16]) {
                prop_assert_eq!(&text, &one_thread, "{} threads, {}", threads, mode(wish));
            }
            let other_order = pools[1].install(|| text(&other, wish, world.remove_empty));
            prop_assert_eq!(&other_order, &one_thread, "the other order, {}", mode(wish));
            seen.add("plans", 4);
            seen.add("lines", one_thread.len() - 2);
        }
        seen.add("registries", 1);
        Ok(())
    });
    println!(
        "oracle: {} random registries, {} plans with 1, 2 and 16 threads and in another order are the same ({} actions \
         and findings)",
        thousands(seen.count("registries")),
        thousands(seen.count("plans")),
        thousands(seen.count("lines"))
    );
    seen.are_not_trivial(&[("plans", 1), ("lines", 1)]);
}
