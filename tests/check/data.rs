//! Reading the data: all of it, a part, or as much as there is time for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::tree::{Blob, Manifest, Tree};
use super::{check, damaged, finish, names, regsweep};

fn with_blobs(count: usize) -> (Tree, Vec<String>) {
    let tree = Tree::new();
    tree.repository("app").image("v1");
    let mut digests: Vec<String> = (0..count).map(|n| tree.orphan(&format!("orphan {n}")).digest).collect();
    digests.sort();
    (tree, digests)
}

fn blobs_of(tree: &Tree) -> Vec<String> {
    let mut digests = Vec::new();
    for shard in fs::read_dir(tree.v2().join("blobs/sha256")).unwrap() {
        for blob in fs::read_dir(shard.unwrap().path()).unwrap() {
            digests.push(format!("sha256:{}", blob.unwrap().file_name().to_str().unwrap()));
        }
    }
    digests.sort();
    digests
}

#[test]
fn every_blob_is_held_against_its_digest() {
    let (tree, digests) = with_blobs(30);
    let run = check(&tree, &["--read-data"]);
    run.exits(0);
    let data = &run.report().0["check"]["data"];
    assert_eq!((&data["blobs"], &data["damaged"]), (&Value::from(blobs_of(&tree).len()), &Value::from(0)));
    assert_eq!(data["bytes"], data["of_bytes"]);
    assert_eq!(data["next"], Value::Null);
    // One bit, in a file that has the right size.
    tree.flip(&tree.data(&digests[7]));
    check(&tree, &[]).exits(0);
    let run = check(&tree, &["--read-data"]);
    assert_eq!(damaged(&run), [(digests[7].clone(), "damaged".to_owned(), 0)]);
    assert!(run.report().has("warning", "its bytes have the digest sha256:"), "{:#?}", run.report().findings());
    // A blob of a tagged image, larger than a piece that is read at a time, damaged at its end.
    let tree = Tree::new();
    let app = tree.repository("app");
    let large = Blob::new(b"0123456789abcdef".repeat(40_000));
    let image = Manifest::docker_of("v1", std::slice::from_ref(&large));
    app.push_tagged("v1", &image);
    let large = large.digest;
    let mut bytes = fs::read(tree.data(&large)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    tree.replace(&tree.data(&large), &bytes);
    let run = check(&tree, &["--read-data"]);
    run.exits(3);
    assert_eq!(damaged(&run), [(large.clone(), "damaged".to_owned(), 1)]);
    assert_eq!(super::lost(&run), names(["app:v1"]));
    // Only what was asked for is read.
    check(&tree, &["--read-blob", &image.digest]).exits(0);
    let run = check(&tree, &["--read-blob", &image.digest, "--read-blob", &large]);
    run.exits(3);
    assert_eq!(run.report().0["check"]["data"]["blobs"], 2);
}

/// The parts hold each blob once, whoever comes or goes beside them.
#[test]
fn parts_of_a_store() {
    let (tree, digests) = with_blobs(60);
    for digest in &digests {
        tree.flip(&tree.data(digest));
    }
    let part = |n: usize| -> BTreeSet<String> {
        let run = check(&tree, &["--read-data-subset", &format!("{n}/7")]);
        assert_eq!(run.report().0["check"]["data"]["next"], Value::Null);
        damaged(&run).into_iter().map(|(digest, ..)| digest).collect()
    };
    let parts: Vec<BTreeSet<String>> = (1..=7).map(part).collect();
    let all: Vec<&String> = parts.iter().flatten().collect();
    assert_eq!(all.len(), digests.len(), "each once");
    assert_eq!(parts.iter().flatten().cloned().collect::<BTreeSet<_>>(), digests.iter().cloned().collect());
    tree.orphan("one more");
    assert_eq!(part(3), parts[2]);
}

fn next(run: &super::Run) -> Option<String> {
    run.report().0["check"]["data"]["next"].as_str().map(str::to_owned)
}

/// Night after night goes on where the last one left off, and comes by everything.
#[test]
fn a_part_goes_on_where_the_last_one_left_off() {
    let (tree, digests) = with_blobs(40);
    for digest in &digests {
        tree.flip(&tree.data(digest));
    }
    for subset in ["13%", "3KiB"] {
        let position = tree.beside().join(format!("position {subset}"));
        let flags = ["--read-data-subset", subset, "--position", position.to_str().unwrap()];
        let mut seen = BTreeSet::new();
        let mut nights = 0;
        loop {
            let run = check(&tree, &flags);
            let found: Vec<String> = damaged(&run).into_iter().map(|(digest, ..)| digest).collect();
            assert!(found.len() < digests.len(), "{subset}: a part, not all");
            for digest in found {
                assert!(seen.insert(digest), "{subset}: nothing twice in a round");
            }
            nights += 1;
            assert!(nights < 60, "{subset} never comes to an end");
            let remembered: Value = serde_json::from_slice(&fs::read(&position).unwrap()).unwrap();
            assert_eq!(remembered["next"].as_str().map(str::to_owned), next(&run));
            // In the order of the digests: the first of the next night comes after all of this one.
            let Some(next) = next(&run) else { break };
            if seen.last().is_some_and(|last| *last >= next) {
                break;
            }
        }
        assert!(nights > 3, "{subset}: {nights}");
        assert_eq!(seen, digests.iter().cloned().collect(), "{subset}");
    }
}

/// No time at all is enough for one blob, so that every blob has its turn in the end.
#[test]
fn a_time_limit_reads_one_blob_at_least() {
    let (tree, _) = with_blobs(5);
    let all = blobs_of(&tree);
    let position = tree.beside().join("position");
    let flags = ["--read-data", "--time-limit", "0s", "--position", position.to_str().unwrap(), "--jobs", "1"];
    let mut places = Vec::new();
    for _ in 0..all.len() {
        let run = check(&tree, &flags);
        run.exits(0);
        let report = run.report();
        assert_eq!(report.0["check"]["data"]["blobs"], 1);
        assert_eq!(report.0["check"]["data"]["out_of_time"], true);
        assert_eq!(report.outcome(), "complete");
        let next = next(&run).unwrap();
        places.push(all.iter().position(|digest| *digest == next).unwrap());
    }
    // One further each time, and then round.
    let round: Vec<usize> = (1..all.len()).chain([0]).collect();
    assert_eq!(places, round);
    // With time enough all of it is read, from there on.
    let flags = ["--read-data", "--time-limit", "1h", "--position", position.to_str().unwrap()];
    let run = check(&tree, &flags);
    assert_eq!(run.report().0["check"]["data"]["blobs"], all.len());
    assert_eq!(next(&run), None);
}

fn in_environment(tree: &Tree, flags: &[&str], environment: &[(&str, &Path)]) -> super::Run {
    let root = tree.root();
    let mut command = regsweep(&[&["check", "--format", "json", root.to_str().unwrap()], flags].concat());
    command.envs(environment.iter().copied());
    finish(command)
}

/// The position is remembered where the user's or the service's state belongs, never in the registry.
#[test]
fn where_the_position_is_remembered() {
    let (tree, _) = with_blobs(5);
    let fingerprint = tree.fingerprint();
    let beside = tree.beside().to_owned();
    let flags = ["--read-data-subset", "1B"];
    let [home, state, service] = ["home", "state", "service"].map(|name| beside.join(name));
    let found = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
        entries.unwrap_or_default()
    };
    in_environment(&tree, &flags, &[("HOME", &home)]).exits(0);
    assert_eq!(found(&home.join(".local/state/regsweep")).len(), 1);
    in_environment(&tree, &flags, &[("HOME", &home), ("XDG_STATE_HOME", &state)]).exits(0);
    assert_eq!(found(&state.join("regsweep")).len(), 1);
    let all = [("HOME", &*home), ("XDG_STATE_HOME", &*state), ("STATE_DIRECTORY", &*service)];
    in_environment(&tree, &flags, &all).exits(0);
    assert_eq!(found(&service).len(), 1);
    assert_eq!(tree.fingerprint(), fingerprint);
    // A registry of its own has a file of its own.
    let (other, _) = with_blobs(5);
    in_environment(&other, &flags, &all).exits(0);
    assert_eq!(found(&service).len(), 2);

    let run = in_environment(&tree, &flags, &[]);
    run.exits(2);
    assert!(run.stderr.contains("--position"), "{}", run.stderr);
    // What is no position is not silently begun anew.
    let position = &found(&service)[0];
    for content in ["", "{}", r#"{"schema":"other/1","root":"/","next":null,"at":""}"#, "\u{0}"] {
        fs::write(position, content).unwrap();
        let run = in_environment(&tree, &["--read-data-subset", "1B", "--position", position.to_str().unwrap()], &[]);
        run.exits(2);
        assert!(run.stderr.contains("remove it, and reading begins anew"), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
    // Where it cannot be written that is said, and the check counts all the same.
    let nowhere = beside.join("absent/position");
    let run = in_environment(&tree, &["--read-data-subset", "1B", "--position", nowhere.to_str().unwrap()], &[]);
    run.exits(0);
    assert!(run.stderr.contains("the next run does not go on here"), "{}", run.stderr);
}

#[test]
fn wrong_subsets() {
    let (tree, _) = with_blobs(1);
    for subset in ["", "0/3", "4/3", "1/0", "x", "0%", "101%", "1e1%", "NaN%", "0", "10GB", "iB", "99999999999T"] {
        let run = check(&tree, &["--read-data-subset", subset]);
        run.exits(2);
        assert!(run.stderr.contains("is no subset"), "{subset}: {}", run.stderr);
    }
    for flags in [
        &["--time-limit", "1h"][..],
        &["--position", "x"],
        &["--dry-run"],
        &["--drop-dangling-tags"],
        &["--drop-dangling-revisions"],
        &["--max-delete", "3"],
        &["--read-data", "--read-data-subset", "1/2"],
        &["--read-data", "--read-blob", "sha256:x"],
        &["--read-blob", "sha256:x"],
    ] {
        check(&tree, flags).exits(2);
    }
}
