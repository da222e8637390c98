//! A whole scenario: what every run owes, whatever it is about.
//!
//! [`collect`] is the heart of most scenarios. It does a dry run and a real run with the same flags and holds both to
//! what every run owes: the dry run changes nothing; the real run removes exactly what the dry run named, nothing
//! unnamed, each with a reason; the books balance; nothing that a client could get is lost; a second run finds nothing
//! more. The test itself then only says what goes in its scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::process::{Run, finish, regsweep};
use super::report::Report;
use super::tree::Tree;

/// `gc --format json` with these flags.
pub(crate) fn gc(tree: &Tree, flags: &[&str]) -> Run {
    finish(regsweep(&gc_arguments(&tree.root(), flags)))
}

pub(crate) fn gc_arguments(registry: &Path, flags: &[&str]) -> Vec<String> {
    let mut arguments = vec!["gc".to_owned(), "--format".to_owned(), "json".to_owned()];
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    arguments.push(registry.to_str().unwrap().to_owned());
    arguments
}

/// `rm --format json` with these flags and names.
pub(crate) fn rm(tree: &Tree, flags: &[&str], names: &[&str]) -> Run {
    let root = tree.root();
    finish(regsweep(&[&["rm", "--format", "json"], flags, &[root.to_str().unwrap()], names].concat()))
}

/// `trash restore` of a run, with evidence and these flags.
pub(crate) fn restore(tree: &Tree, run: &str, flags: &[&str]) -> Run {
    let root = tree.root();
    finish(regsweep(&[&["trash", "restore", "--registry-stopped"], flags, &[root.to_str().unwrap(), run]].concat()))
}

/// What a dry run and a real run over the same tree did.
pub(crate) struct Collected<'t> {
    tree: &'t Tree,
    pub(crate) dry: Report,
    pub(crate) real: Report,
    code: i32,
    /// What was there before and is not now.
    pub(crate) gone: BTreeSet<String>,
    /// What is there now.
    pub(crate) left: BTreeSet<String>,
}

/// What a client may no longer get after a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// Nothing that a tag leads to.
    Untagged,
    /// What the plan names: tags, and manifests by their digest.
    Named,
}

/// A dry run, a real run with `--registry-stopped`, and a second real run, each held to what every run owes.
pub(crate) fn collect<'t>(tree: &'t Tree, flags: &[&str]) -> Collected<'t> {
    collect_with(tree, flags, Loss::Untagged)
}

/// The same, with flags that let tags go. What a tag or a digest delivered may be lost where the plan names that tag,
/// or that revision, and nowhere else.
pub(crate) fn select<'t>(tree: &'t Tree, flags: &[&str]) -> Collected<'t> {
    collect_with(tree, flags, Loss::Named)
}

fn collect_with<'t>(tree: &'t Tree, flags: &[&str], loss: Loss) -> Collected<'t> {
    let untagged_goes = flags.iter().any(|flag| ["--delete-untagged", "-m"].contains(flag));
    let before = tree.objects();
    let by_digest = !untagged_goes || loss == Loss::Named;
    let delivered = tree.deliverable(by_digest);
    let fingerprint = tree.fingerprint();

    let dry_run = gc(tree, &[&["--dry-run"], flags].concat());
    let dry = dry_run.report();
    assert_eq!(fingerprint.changes_to(&tree.fingerprint()), Vec::<String>::new(), "a dry run changes nothing");
    check_books(tree, &dry, true);
    assert_eq!(dry.0["dry_run"], true);
    assert_eq!(dry.0["delete_untagged"], untagged_goes);

    let real_run = gc(tree, &[&["--registry-stopped"], flags].concat());
    let real = real_run.report();
    assert_eq!(real.outcome(), "complete", "{}\n{}", tree.explain(&real.0.to_string()), real_run.stderr);
    assert_eq!(real.0["dry_run"], false);
    check_books(tree, &real, false);
    assert_eq!(dry.actions(), real.actions(), "the dry run names what the real run does");
    assert_eq!(dry_run.code, real_run.code, "the dry run ends as the real run does");

    let left = tree.objects();
    let gone: BTreeSet<String> = before.difference(&left).cloned().collect();
    check_against_plan(tree, &real, &gone, &left);
    assert_eq!(left.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new(), "nothing appears");
    let trash = tree.fingerprint();
    let trash: Vec<&Path> = trash
        .paths()
        .filter(|path| path.components().any(|part| part.as_os_str() == "trash") && tree.root().join(path).is_file())
        .collect();
    assert_eq!(trash, Vec::<&Path>::new(), "the trash is deleted: only then are the bytes free");

    let now = tree.deliverable(by_digest);
    let named: BTreeSet<String> = real.actions().into_iter().map(|action| action.object).collect();
    let is_named = |fact: &str| {
        let (who, _) = fact.split_once(" gets ").unwrap();
        let object = match who.split_once('@') {
            Some((repository, digest)) => format!("{repository} revision {digest}"),
            None => who.rsplit_once(':').map(|(repository, tag)| format!("{repository} tag {tag}")).unwrap(),
        };
        named.contains(&object)
    };
    let lost = delivered.difference(&now).filter(|fact| loss == Loss::Untagged || !is_named(fact));
    let lost: Vec<String> = lost.map(|fact| tree.explain(fact)).collect();
    assert!(lost.is_empty(), "LOST: {lost:#?}\nactions: {}", tree.explain(&real.0["actions"].to_string()));

    let second = gc(tree, &[&["--registry-stopped"], flags].concat());
    assert_eq!(second.report().actions(), Vec::new(), "a second run finds nothing more");
    assert_eq!(tree.objects(), left, "a second run removes nothing more");
    assert!(!second.report().has_finding("_regsweep"), "its own folder is no stranger: {}", second.text());
    assert_eq!(second.code, real_run.code, "what was wrong is still wrong, and nothing else is: {}", second.text());
    Collected { tree, dry, real, code: real_run.code, gone, left }
}

/// Counts, bytes and actions agree with each other and with the files.
fn check_books(tree: &Tree, report: &Report, dry: bool) {
    assert_eq!(report.0["schema"], "regsweep.report/1");
    assert_eq!(report.0["command"], "gc");
    assert_eq!(report.0["root"].as_str().map(Path::new), Some(&*tree.v2()));
    let actions = report.actions();
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for action in &actions {
        let entry = counts.entry(&action.kind).or_default();
        *entry = (entry.0 + 1, entry.1 + action.bytes);
    }
    let kinds = [
        ("blob", "blobs"),
        ("revision", "revisions"),
        ("tag", "tags"),
        ("tag_history", "tag_history"),
        ("layer_link", "layer_links"),
        ("upload", "uploads"),
        ("repository", "repositories"),
    ];
    for (kind, plural) in kinds {
        let (count, bytes) = counts.get(kind).copied().unwrap_or_default();
        assert_eq!(report.count("garbage", plural), count, "count of {plural} against the actions");
        let removed = if dry { 0 } else { count };
        assert_eq!(report.count("removed", plural), removed, "{plural} removed, dry run: {dry}");
        if ["blob", "upload"].contains(&kind) {
            assert_eq!(report.bytes("garbage", plural), bytes, "bytes of {plural} against the actions");
            assert_eq!(report.bytes("removed", plural), if dry { 0 } else { bytes }, "bytes of {plural} removed");
        }
    }
    let reasons = ["unreferenced", "untagged", "deleted", "expired", "evicted", "stale", "dangling", "empty"];
    for action in &actions {
        assert!(reasons.contains(&action.reason.as_str()), "a reason that the contract does not know: {action:?}");
        if ["blob", "layer_link"].contains(&action.kind.as_str()) {
            assert_eq!(action.reason, "unreferenced", "{}", tree.explain(&action.object));
        }
    }
    if dry {
        for action in actions.iter().filter(|action| action.kind == "blob") {
            let size = fs::metadata(tree.data(&action.object["blob ".len()..])).unwrap().len();
            assert_eq!(action.bytes, size, "{}: bytes are file sizes", tree.explain(&action.object));
        }
    }
}

/// Everything that went was named, and everything that was named went.
fn check_against_plan(tree: &Tree, report: &Report, gone: &BTreeSet<String>, left: &BTreeSet<String>) {
    let actions = report.actions();
    let named: BTreeSet<&str> = actions.iter().map(|action| action.object.as_str()).collect();
    assert_eq!(named.len(), actions.len(), "no object is named twice: {}", report.0["actions"]);
    for object in gone {
        // `team/app tag v1 history sha256:...` goes with `team/app tag v1`, and both with `team/app`.
        let mut covered = named.contains(object.as_str());
        for (at, _) in object.match_indices(' ') {
            covered |= named.contains(&object[..at]);
        }
        assert!(covered, "removed without being named: {}", tree.explain(object));
    }
    for object in named {
        assert!(!left.contains(object), "named and not removed: {}", tree.explain(object));
    }
}

impl Collected<'_> {
    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "exit code; findings: {}", self.tree.explain(&self.real.0["findings"].to_string()));
        self
    }

    /// Exactly these objects were named and went; nothing else did.
    pub(crate) fn removes(&self, objects: &[String]) -> &Self {
        let expected: BTreeSet<&String> = objects.iter().collect();
        let actions = self.real.actions();
        let named: BTreeSet<&String> = actions.iter().map(|action| &action.object).collect();
        let explain = |objects: Vec<&&String>| objects.iter().map(|o| self.tree.explain(o)).collect::<Vec<_>>();
        let missing = explain(expected.difference(&named).collect());
        let surplus = explain(named.difference(&expected).collect());
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "should have gone and stayed: {missing:#?}\nshould have stayed and went: {surplus:#?}\nfindings: {}",
            self.tree.explain(&self.real.0["findings"].to_string())
        );
        self
    }

    /// This object went for one of these reasons.
    pub(crate) fn because(&self, object: &str, reasons: &[&str]) -> &Self {
        let reason = self.real.reason_of(object);
        assert!(
            reason.as_deref().is_some_and(|reason| reasons.contains(&reason)),
            "{} went because of {reason:?}, not {reasons:?}",
            self.tree.explain(object)
        );
        self
    }

    /// These objects are all still there.
    pub(crate) fn keeps<S: AsRef<str>>(&self, objects: &[S]) -> &Self {
        for object in objects {
            let object = object.as_ref();
            assert!(
                self.left.contains(object),
                "should have stayed and went: {}\nactions: {}",
                self.tree.explain(object),
                self.tree.explain(&self.real.0["actions"].to_string())
            );
        }
        self
    }

    /// What was decided about a tag: the reason for which it goes, if it does, and what decided.
    pub(crate) fn verdict(&self, repository: &str, tag: &str) -> (Option<&str>, &str) {
        let tags = self.real.0["retention"]["tags"].as_array().expect("what the rules decided");
        let found = tags.iter().find(|it| it["repository"] == repository && it["tag"] == tag);
        let found = found.unwrap_or_else(|| panic!("nothing was decided about {repository}:{tag}"));
        (found["goes"].as_str(), found["because"].as_str().unwrap())
    }

    /// Nobody complained: no error, no warning.
    pub(crate) fn without_complaint(&self) -> &Self {
        assert_eq!(self.real.complaints(), Vec::<&Value>::new(), "no errors, no warnings");
        self
    }
}

/// What a refused run said.
pub(crate) struct Refused {
    pub(crate) report: Report,
    pub(crate) stderr: String,
}

impl Refused {
    /// Whether the reason that it gives says so, to people or in the report.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.stderr.contains(text) || self.report.reasons().contains(text)
    }
}

/// A real run that must refuse: exit 4, one JSON document that says so, and not one file of the registry touched.
pub(crate) fn refuses(tree: &Tree, flags: &[&str]) -> Refused {
    let before = tree.fingerprint().files();
    let run = gc(tree, &[&["--registry-stopped"], flags].concat());
    run.exits(4);
    assert_eq!(before.changes_to(&tree.fingerprint().files()), Vec::<String>::new(), "refused means untouched");
    let report = run.report();
    assert_eq!(report.outcome(), "refused");
    for kind in ["blobs", "revisions", "tags", "tag_history", "layer_links", "uploads", "repositories"] {
        assert_eq!(report.count("removed", kind), 0, "refused means that no {kind} went");
    }
    Refused { report, stderr: run.stderr }
}
