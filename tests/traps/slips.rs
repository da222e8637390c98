//! Retention rules with a slip in them, and times that tell nothing: what is told about them (T34, T35, T37).

use std::fs;
use std::time::{Duration, SystemTime};

use crate::support::process::{finish, regsweep};
use crate::support::report::Report;
use crate::support::scenario::{gc, select};
use crate::support::tree::{Manifest, Repository, Tree, set_time};

const DAY: Duration = Duration::from_secs(86_400);

/// Images that were pushed so many seconds after one moment.
fn pushed_at(repository: &Repository<'_>, tags: &[(&str, u64)]) {
    for (tag, seconds) in tags {
        repository.image(tag);
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds);
        set_time(&repository.current(tag), then);
    }
}

/// A dry run with rules as they stand in a policy, without its first line.
fn dry_run_of(tree: &Tree, rules: &str) -> Report {
    let path = tree.beside().join("policy.yml");
    fs::write(&path, format!("rules:\n{rules}\n")).unwrap();
    gc(tree, &["--dry-run", "--policy", path.to_str().unwrap()]).report()
}

/// What a person reads of a dry run, each line without the blanks around it.
fn page(tree: &Tree, flags: &[&str]) -> String {
    let root = tree.root();
    let run = finish(regsweep(&[&["gc", "--dry-run"], flags, &[root.to_str().unwrap()]].concat()));
    run.exits(0);
    run.text().lines().map(|line| format!("{}\n", line.trim())).collect()
}

/// ```text
/// team/app   new                 one of the last two
///            a, b, c             one more place, and one second: all stay
///            old                 goes
/// ```
#[test]
fn t34_that_more_tags_stay_than_were_asked_for_is_told() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    pushed_at(&app, &[("old", 0), ("a", 10), ("b", 10), ("c", 10), ("new", 20)]);
    let told = "2 tags stay because another does that was pushed in the same second";
    assert!(page(&tree, &["--keep-last", "2"]).contains(told));
    let verbose = page(&tree, &["--keep-last", "2", "-v"]);
    assert!(verbose.contains("team/app:a  (flags: last 2)\n"), "{verbose}");
    assert!(verbose.contains("team/app:c  (flags: last 2, pushed in the same second)\n"), "{verbose}");
    assert!(!page(&tree, &["--keep-last", "4"]).contains("pushed in the same second"));

    let run = select(&tree, &["--keep-last", "2"]);
    assert_eq!(run.real.actions_of("tag"), [app.tag_object("old")].into_iter().collect());
    let tied = |report: &Report, rule: usize| report.0["retention"]["rules"][rule]["kept_as_tied"].as_u64().unwrap();
    assert_eq!((tied(&run.real, 0), tied(&run.real, 1)), (2, 0));

    // The floor cannot tell them apart either, and is no rule.
    let tree = Tree::new();
    pushed_at(&tree.repository("team/app"), &[("a", 10), ("b", 10), ("c", 10)]);
    let run = select(&tree, &["--keep-last", "0"]);
    assert_eq!((tied(&run.real, 0), tied(&run.real, 1)), (0, 2));
}

/// A copy without its times is told whoever keeps its tags: the floor, or a rule that protects all but one.
#[test]
fn t34_a_copy_without_its_times_is_told_whatever_keeps_its_tags() {
    let same = "were pushed in the same second (copy)";
    let tree = Tree::new();
    pushed_at(&tree.repository("copy"), &[("a", 0), ("b", 0), ("latest", 0)]);
    for flags in [&["--keep-last", "0"][..], &["--keep-within", "1d", "--keep-last", "0"], &["--keep-tag", "x"]] {
        let report = gc(&tree, &[&["--dry-run"], flags].concat()).report();
        assert!(report.has("warning", same), "{flags:?}: {}", report.0["findings"]);
    }
    for protected in ["latest", "[ab]"] {
        let report = dry_run_of(
            &tree,
            &format!("  - {{tags: '{protected}', protect: true}}\n  - keep: {{last: 1}}\n    floor: 0"),
        );
        assert!(report.has("warning", same), "{protected}: {}", report.0["findings"]);
    }
    // A name has nothing to do with a time; nor has an age, where nobody else's time counts.
    for rules in
        ["  - {tags: '[ab]', protect: true}", "  - {tags: '[ab]', protect: true}\n  - expire: {older-than: 1d}"]
    {
        let report = dry_run_of(&tree, rules);
        assert!(!report.has("warning", same), "{rules}: {}", report.0["findings"]);
    }
    // These are told apart.
    let tree = Tree::new();
    pushed_at(&tree.repository("copy"), &[("a", 0), ("b", 1), ("latest", 2)]);
    for flags in [&["--keep-last", "0"][..], &["--keep-tag", "x"]] {
        let report = gc(&tree, &[&["--dry-run"], flags].concat()).report();
        assert!(!report.has_finding("in the same second"), "{flags:?}: {}", report.0["findings"]);
    }
}

/// ```text
/// team/app   release-2, release-1    the newest
///            d, c, b, a              others, the newest first
/// ```
#[test]
fn t35_a_tag_that_is_left_alone_takes_no_place() {
    let make = || {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let former = app.image("release-1");
        app.push_tagged("release-1", &Manifest::docker("again", &["again"]));
        pushed_at(&app, &[("a", 1), ("b", 2), ("c", 3), ("d", 4)]);
        app.pushed_ago("release-1", DAY * 2);
        app.image_ago("release-2", DAY);
        (tree, former)
    };
    let gone = |tree: &Tree, tags: &[&str]| {
        let app = tree.repository("team/app");
        tags.iter().map(|tag| app.tag_object(tag)).collect()
    };
    let (tree, _) = make();
    let kept = gc(&tree, &["--dry-run", "--keep-last", "3", "--keep-tag", "release-.*"]).report();
    assert_eq!(kept.actions_of("tag"), gone(&tree, &["a", "b", "c"]));
    let of_policy = dry_run_of(&tree, "  - {except-tags: 'release-.*', keep: {last: 3}}");
    assert_eq!(of_policy.actions_of("tag"), gone(&tree, &["a"]));
    let text = page(&tree, &["--keep-last", "3", "--except-tag", "release-.*"]);
    assert!(text.replace('\n', " ").contains("gc --keep-last 3 --except-tag 'release-.*'"), "{text}");

    let flags = ["--keep-last", "3", "--keep-tag-history", "0", "--except-tag", "release-1", "--except-tag", "rel.*2"];
    let run = select(&tree, &flags);
    assert_eq!(run.real.actions_of("tag"), gone(&tree, &["a"]));
    assert_eq!(run.verdict("team/app", "release-2"), (None, "no-rule"));

    // What a tag pointed at before that no rule is about stays as well.
    let (tree, former) = make();
    let app = tree.repository("team/app");
    select(&tree, &["--keep-tag-history", "0", "--except-tag", "release-.*"]).keeps(&app.objects_of(&former));
    select(&tree, &["--keep-tag-history", "0"]).because(&app.revision_object(&former.digest), &["expired"]);
}

/// A pattern with a slip in it keeps nothing of what it was to keep.
#[test]
fn t37_a_pattern_that_matches_nothing_is_told() {
    let tree = Tree::new();
    for (name, tags) in [("team/app", ["release-1", "release-2", "v1", "v1.2"]), ("team/db", ["x", "y", "z", "latest"])]
    {
        let tags: Vec<(&str, u64)> = tags.into_iter().zip([1000, 2000, 3000, 4000]).collect();
        pushed_at(&tree.repository(name), &tags);
    }
    for (rules, severity, says) in [
        // A glob in the place of a regular expression, and the other way round.
        (
            "keep: {tags: 'release-*'}",
            "warning",
            "no tag matches 'release-*', as a whole name, so it keeps nothing, and the rule lets 6 tags go. It is a \
             regular expression, not a glob: write 'release-.*'",
        ),
        ("{tags: 'rel-*', expire: {older-than: 1d}}", "warning", "not a glob: write 'rel-.*'"),
        ("{tags: 'v[0-9]*[.]', protect: true}", "warning", "so nothing stays because of this rule"),
        ("{except-tags: 'release?*', keep: {last: 9}}", "warning", "not a glob: write 'release..*'"),
        (
            "{tags: 'v1*', protect: true}",
            "warning",
            "'v1*' is a regular expression, not a glob, and does not match v1.2: write 'v1.*' if it should",
        ),
        (
            "{repositories: 'team/.*', protect: true}",
            "warning",
            "no repository matches 'team/.*', so nothing stays because of this rule. It is a glob, not a regular \
             expression: write 'team/**'",
        ),
        (
            "{repositories: [team, '**'], keep: {last: 1}}",
            "warning",
            "no repository matches 'team'. For all that is below it, write 'team/**'",
        ),
        (
            "{except-repositories: team/ap, keep: {last: 1}}",
            "warning",
            "matches 'team/ap' (did you mean team/app or team/db?)",
        ),
        // Rules that were to keep something.
        (
            "{name: in use, tags: [latset, main], protect: true}",
            "warning",
            "in use: no tag matches 'latset', as a whole name, so nothing stays because of this rule",
        ),
        ("{tags: nightly, keep: {last: 3}}", "warning", "so nothing stays because of this rule"),
        (
            "{except-tags: '.*', protect: true}",
            "warning",
            "rule 1: it is about no tag that is here, so nothing stays because of it",
        ),
        (
            "keep: {last: 7, tags: [stable, nightly]}",
            "warning",
            "matches 'stable', as a whole name, so it keeps nothing",
        ),
        // Nothing is lost.
        ("keep: {last: 1, tags: [stable, latest]}", "info", "rule 1: no tag matches 'stable', as a whole name"),
        ("{tags: [latest, main], protect: true}", "info", "rule 1: no tag matches 'main', as a whole name"),
        ("{tags: 'pr-\\d+', expire: {older-than: 1d}}", "info", "rule 1: no tag matches 'pr-\\d+', as a whole name"),
        ("{tags: '[pq].*', expire: {older-than: 1d}}", "info", "rule 1: no tag matches '[pq].*', as a whole name"),
    ] {
        let report = dry_run_of(&tree, &format!("  - {rules}"));
        assert!(report.has(severity, says), "{rules}: {}", report.0["findings"]);
        assert!(severity != "info" || report.complaints().is_empty(), "{rules}: {}", report.0["findings"]);
    }
    for rules in ["keep: {tags: ['release-.*', latest]}", "{tags: 'v1.*', protect: true}", "keep: {last: 1}"] {
        let report = dry_run_of(&tree, &format!("  - {rules}"));
        assert!(report.findings().is_empty(), "{rules}: {}", report.0["findings"]);
    }
}
