//! Registries that are whole: what every command says about them, and what runs leave behind.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::outputs::Collector;
use crate::support::formats::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use crate::support::process::{finish, holds_something, regsweep, signalled};
use crate::support::tree::{Blob, Manifest, Tree, everything, write};

const STOPPED: &str = "--registry-stopped";
const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn add(all: &mut Collector) {
    looking(all);
    collecting(all);
    refusing(all);
    by_rules(all);
    evicting(all);
    by_name(all);
    trash(all);
    watching(all);
    why(all);
}

/// `ls` and `du`, on everything.
fn looking(all: &mut Collector) {
    let tree = everything();
    let app = tree.repository("team/app");
    app.push_tagged("dated", &dated());
    tree.repository("nested/empty").upload("fresh", Duration::from_secs(1));
    for flags in [&["ls"][..], &["ls", "--tree", "--untagged"], &["ls", "--sort", "size"]] {
        all.run(&tree, flags, &[], 0);
    }
    for pattern in ["**:*", "team/app", "team"] {
        all.run(&tree, &["ls"], &[pattern], 0);
    }
    for flags in [&["du"][..], &["du", "--tags"], &["du", "--depth", "1"], &["du", "--top", "1"]] {
        all.run(&tree, flags, &[], 0);
    }
    all.run(&tree, &["du", "--blobs", "--top", "1000"], &[], 0);
    for names in [&["team/app:v1"][..], &["team/app:v1", "team/app:latest"], &["team/app"], &["team"], &["old:*"]] {
        all.run(&tree, &["du"], names, 0);
    }
}

/// An image that says when it was built.
fn dated() -> Manifest {
    let config = json!({"os": "linux", "architecture": "amd64", "created": "2026-01-02T03:04:05Z"});
    let blobs = vec![Blob::new(config.to_string().into_bytes()), Blob::layer("dated")];
    let described = |blob: &Blob, of: &str| json!({"mediaType": of, "digest": blob.digest, "size": blob.bytes.len()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described(&blobs[0], OCI_CONFIG),
        "layers": [described(&blobs[1], OCI_LAYER)],
    });
    let mut manifest = Manifest::raw(manifest.to_string());
    manifest.blobs = blobs;
    manifest
}

/// `gc`: dry, real, twice, with and without a trash.
fn collecting(all: &mut Collector) {
    let tree = everything();
    all.run(&tree, &["gc", "--dry-run"], &[], 0);
    all.run(&tree, &["gc", "--dry-run", "-m", "--min-age", "1h", "--remove-empty-repositories"], &[], 0);
    all.run(&tree, &["gc", "--quarantine", STOPPED], &[], 0);
    all.run(&tree, &["gc", "-m", "--remove-empty-repositories", STOPPED], &[], 0);
    // Nothing is left to do: no run, no window.
    all.run(&tree, &["gc", "-m", STOPPED], &[], 0);
    all.files(&tree);
    let config = tree.beside().join("config.yml");
    let text = "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ROOT\n  maintenance:\n    readonly:\n      \
                enabled: true\n";
    write(&config, text.replace("ROOT", tree.root().to_str().unwrap()).as_bytes());
    all.run(&tree, &["gc", "--config", config.to_str().unwrap()], &[], 0);
}

/// Nothing was touched: for want of evidence, by an objection, by a brake.
fn refusing(all: &mut Collector) {
    let tree = everything();
    all.run(&tree, &["gc"], &[], 4);
    all.run(&tree, &["gc", STOPPED, "--max-delete", "1"], &[], 4);
    all.run(&tree, &["check", "--repair"], &[], 4);
    write(&tree.root().join("docker/registry/lockfiles/database-in-use"), b"");
    all.run(&tree, &["gc", STOPPED], &[], 4);
    // Blobs, and no repository that could need them.
    let tree = Tree::new();
    let blob = tree.orphan("orphan");
    fs::create_dir_all(tree.repositories()).unwrap();
    all.run(&tree, &["gc", STOPPED], &[], 4);
    all.run(&tree, &["du"], &[], 0);
    all.run(&tree, &["why"], &[&blob.digest], 0);
}

/// A pull-through cache, with and without a schedule.
fn evicting(all: &mut Collector) {
    let tree = Tree::new();
    let app = tree.repository("library/app");
    app.image_ago("v1", DAY * 9);
    let untagged = app.untagged("by digest");
    for digest in [&untagged.digest[..]].into_iter().chain(untagged.blob_digests()) {
        tree.set_age(&tree.data(digest), DAY * 9);
    }
    let config = tree.beside().join("config.yml");
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nproxy:\n  remoteurl: https://registry.example\n",
        tree.root().display()
    );
    write(&config, text.as_bytes());
    let by_config = ["gc", "--cache-max-age", "1d", "--dry-run", "--config", config.to_str().unwrap()];
    all.run(&tree, &by_config, &[], 0);
    let key = format!("library/app@{}", untagged.digest);
    let entries = json!({&key: {"Key": key, "ExpiryData": "2036-01-01T00:00:00Z", "EntryType": 1}});
    write(&tree.root().join("scheduler-state.json"), entries.to_string().as_bytes());
    all.run(&tree, &["gc", "--cache-max-size", "1", "--cache-unscheduled", "--dry-run"], &[], 0);
    // A rule says of the tag that it was evicted.
    all.run(&tree, &["gc", "--cache-max-size", "1", "--cache-unscheduled", "--keep-last", "5", STOPPED], &[], 0);
    all.files(&tree);
}

/// Retention, by options and by a policy.
fn by_rules(all: &mut Collector) {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    for (tag, days) in [("v1", 9), ("v2", 8), ("v3", 7)] {
        app.image_ago(tag, DAY * days);
    }
    app.image("odd");
    fs::remove_file(app.current("odd")).unwrap();
    tree.repository("other").image("v1");
    all.run(&tree, &["gc", "--dry-run", "--keep-last", "1"], &[], 0);
    let policy = tree.beside().join("policy.yml");
    write(&policy, b"rules:\n  - name: newest\n    repositories: team/*\n    keep: {last: 1}\n");
    let policy = policy.to_str().unwrap();
    for name in ["team/app:v1", "team/app:v3", "team/app:odd", "team/app"] {
        all.run(&tree, &["why", "--policy", policy], &[name], 0);
    }
    all.run(&tree, &["gc", "-m", "--policy", policy, STOPPED], &[], 0);
    all.files(&tree);
}

/// `rm`: dry and real, a tag, a manifest and a repository.
fn by_name(all: &mut Collector) {
    let tree = everything();
    let digest = tree.repository("team/app/nested").untagged("loose").digest;
    all.run(&tree, &["rm", "--dry-run"], &["team/app:v1"], 0);
    all.run(&tree, &["rm", STOPPED], &["team/app:v1", &format!("team/app/nested@{digest}")], 0);
    all.run(&tree, &["rm", STOPPED, "--collect"], &["old"], 0);
    all.run(&tree, &["rm"], &["team/app:latest"], 4);
    all.files(&tree);
}

/// `trash list`, and the journals of what was restored, purged or cut off.
fn trash(all: &mut Collector) {
    let tree = everything();
    let list = ["trash", "list"];
    all.run(&tree, &list, &[], 0);
    let act = |words: &[&str], run: &[&str]| {
        let root = tree.root();
        finish(regsweep(&[words, &[root.to_str().unwrap()], run].concat())).exits(0);
    };
    let quarantine = |all: &mut Collector| {
        let report = all.run(&tree, &["gc", "-m", "--quarantine", STOPPED], &[], 0);
        report["run"].as_str().unwrap().to_owned()
    };
    let restored = quarantine(all);
    all.run(&tree, &[&list[..], &["-v"]].concat(), &[], 0);
    act(&["trash", "restore", STOPPED], &[&restored]);
    let purged = quarantine(all);
    act(&["trash", "purge"], &[&purged]);
    all.files(&tree);
    // One that had to end while it moved things away.
    (0..40).for_each(|number| _ = tree.orphan(&format!("one of many {number}")));
    let (root, runs) = (tree.root(), tree.regsweep().join("runs"));
    let known = fs::read_dir(&runs).unwrap().count();
    let has_moved = || fs::read_dir(&runs).is_ok_and(|runs| runs.count() > known) && holds_something(&runs);
    let slow = ["gc", "-m", "--quarantine", STOPPED, "--jobs", "1", "--max-ops-per-second", "150", "-q"];
    let slow = regsweep(&[&slow[..], &[root.to_str().unwrap()]].concat());
    signalled(slow, &[(Signal::TERM, &has_moved)]).exits(5);
    all.files(&tree);
    let list_of_runs = all.run(&tree, &list, &[], 0);
    act(&["trash", "purge"], &[list_of_runs["runs"][0]["run"].as_str().unwrap()]);
    // One that was to delete its trash, and was taken back before that.
    tree.orphan("taken back");
    let run = quarantine(all);
    let journal = tree.regsweep().join("runs").join(&run).join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replace("\"quarantine\":true", "\"quarantine\":false")).unwrap();
    act(&["trash", "restore", STOPPED], &[&run]);
    all.files(&tree);
    // Ends that left something to delete: all of it, and nobody knows how much.
    for is_whole in [true, false] {
        tree.orphan(&format!("left: {is_whole}"));
        let run = quarantine(all);
        let journal = tree.regsweep().join("runs").join(run).join("journal.jsonl");
        let text = fs::read_to_string(&journal).unwrap();
        let purging = r#"{"event":"purging","at":"2026-01-01T00:00:00Z"}"#;
        let unkept = text.replace("\"quarantine\":true", "\"quarantine\":false");
        fs::write(&journal, if is_whole { unkept } else { format!("{text}{purging}\n") }).unwrap();
        all.run(&tree, &[&list[..], &["-v"]].concat(), &[], 0);
        let report = all.run(&tree, &["gc", STOPPED], &[], 0);
        assert_eq!(report["earlier_trash"][0]["bytes"].is_number(), is_whole);
    }
    // What the journal says decides what a run is: cut off before its mark, or after it, or of another version.
    tree.orphan("one more");
    let run = quarantine(all);
    let journal = tree.regsweep().join("runs").join(run).join("journal.jsonl");
    let whole = fs::read_to_string(&journal).unwrap();
    let (before, swept) = whole.trim_end().rsplit_once('\n').unwrap();
    let purging = r#"{"event":"purging","at":"2026-01-01T00:00:00Z"}"#;
    for (text, state, has_time) in [
        (format!("{before}\n"), "cut-off", true),
        (format!("{whole}{purging}\n"), "half-purged", true),
        (whole.replace("\"quarantine\":true", "\"quarantine\":false"), "unpurged", true),
        (whole.replace("regsweep.journal/1", "regsweep.journal/9"), "foreign", true),
        (format!("{swept}\n"), "kept", false),
    ] {
        fs::write(&journal, text).unwrap();
        let listed = all.run(&tree, &list, &[], 0);
        assert_eq!((&listed["runs"][0]["state"], has_time), (&json!(state), listed["runs"][0]["began_at"].is_string()));
    }
}

/// `runs`, in every state of a run, and what `--log-format json` writes.
fn watching(all: &mut Collector) {
    const LOG: [&str; 2] = ["--log-format", "json"];
    let tree = everything();
    let runs = ["runs"];
    all.run(&tree, &runs, &[], 0);
    all.run(&tree, &[&["gc", "--dry-run", "-m"][..], &LOG].concat(), &[], 0);
    all.run(&tree, &[&["gc", "--quarantine", STOPPED, "-v"][..], &LOG].concat(), &[], 0);
    tree.replace(&tree.repository("team/app").current("v1"), b"");
    all.run(&tree, &[&["gc"][..], &LOG].concat(), &[], 4);
    all.run(&tree, &[&["gc", STOPPED, "-m", "--max-delete", "0"][..], &LOG].concat(), &[], 4);
    all.run(&tree, &[&["gc", STOPPED, "-m", "--metrics", "/dev/null"][..], &LOG].concat(), &[], 3);
    all.run(&tree, &[&["check", "--repair", STOPPED][..], &LOG].concat(), &[], 0);
    all.run(&tree, &runs, &[], 0);
    all.run(&tree, &["runs", "--last", "1"], &[], 0);
    // The newest run of those that have a folder, in every state that its journal can say.
    tree.orphan("one more");
    let run = all.run(&tree, &["gc", "--quarantine", STOPPED], &[], 0)["run"].as_str().unwrap().to_owned();
    let journal = tree.regsweep().join("runs").join(run).join("journal.jsonl");
    let whole = fs::read_to_string(&journal).unwrap();
    let before = whole.trim_end().rsplit_once('\n').unwrap().0.to_owned();
    let history = tree.regsweep().join("history.jsonl");
    let lines = fs::read_to_string(&history).unwrap();
    let others = lines.trim_end().rsplit_once('\n').unwrap().0.to_owned();
    let old =
        r#"{"schema":"regsweep.history/1","at":"2026-01-01T00:00:00Z","run":null,"repositories":1,"tags":1,"blobs":1}"#;
    fs::write(&history, format!("{old}\n{others}\n")).unwrap();
    all.files(&tree);
    let purging = r#"{"event":"purging","at":"2026-01-01T00:00:00Z"}"#;
    for (text, fate) in [
        (format!("{before}\n"), "cut-off"),
        (format!("{whole}{purging}\n"), "half-purged"),
        (whole.replace("\"quarantine\":true", "\"quarantine\":false"), "unpurged"),
        (whole.replace("regsweep.journal/1", "regsweep.journal/9"), "foreign"),
    ] {
        fs::write(&journal, text).unwrap();
        let listed = all.run(&tree, &runs, &[], 0);
        assert_eq!(listed["runs"].as_array().unwrap().last().unwrap()["fate"], fate);
    }
    // One that does not say when it began.
    fs::write(&journal, whole.trim_end().rsplit_once('\n').unwrap().1).unwrap();
    all.run(&tree, &runs, &[], 0);
    fs::write(&journal, format!("{before}\n")).unwrap();
    let lock = fs::File::options().append(true).open(tree.regsweep().join("lock")).unwrap();
    lock.lock().unwrap();
    all.run(&tree, &runs, &[], 0);
    lock.set_len(0).unwrap();
    let listed = all.run(&tree, &runs, &[], 0);
    assert_eq!(listed["runs"].as_array().unwrap().last().unwrap()["fate"], "at-work");
}

/// `why`: what keeps something, and what is left of what kept it.
fn why(all: &mut Collector) {
    let tree = everything();
    let app = tree.repository("team/app");
    let image = app.image_with_layers("why", &["base", "own", "own"]);
    let (tag, _) = app.cosign(&image, "sig");
    let was = app.image_with_layers("moved", &["base", "was"]);
    app.image_with_layers("moved", &["is"]);
    let cache = tree.repository("cache");
    let entry = cache.stray_layer("entry");
    cache.push_tagged("cache", &Manifest::buildkit_cache(&[(&entry.digest, 9)]));
    let artifact = Manifest::artifact("a chart", &["a chart"]);
    app.push_tagged("artifact", &artifact);
    let by_hand = app.image_with_layers("gone", &["left"]);
    fs::remove_dir_all(app.revision(&by_hand.digest)).unwrap();
    app.image_with_layers("gone", &["is"]);
    let (base, own) = (&image.blobs[1].digest, &image.blobs[2].digest);
    let orphan = tree.orphan("of nobody").digest;
    for name in [
        base,
        own,
        &entry.digest,
        &image.digest,
        &orphan,
        &artifact.digest,
        &was.blobs[2].digest,
        &by_hand.blobs[1].digest,
        "team/app",
        "team/app/nested",
        "old",
        "team/app:why",
        "old:s1",
        "cache:cache",
        &format!("team/app:{tag}"),
        &format!("team/app@{}", was.digest),
    ] {
        for flags in [&["why"][..], &["why", "-m"], &["why", "--keep-last", "1"], &["why", "--min-age", "1h"]] {
            all.run(&tree, flags, &[name], 0);
        }
    }
    let protect = tree.beside().join("in-use");
    write(&protect, format!("{}\n", image.digest).as_bytes());
    let document = all.run(&tree, &["why", "--protect", protect.to_str().unwrap()], &[own], 0);
    let is_everywhere = |chain: &Value| chain["repository"].is_null();
    assert!(document["chains"].as_array().unwrap().iter().any(is_everywhere), "{document:#}");
    let missing = app.image_with_layers("missing", &["lost"]);
    tree.remove(&tree.blob(&missing.blobs[1].digest));
    all.run(&tree, &["why"], &[&missing.blobs[1].digest], 3);
    tree.remove(&tree.data(own));
    all.run(&tree, &["why"], &[own], 3);
    fs::remove_file(app.current("why")).unwrap();
    all.run(&tree, &["why"], &["team/app:why"], 3);
}
