//! What a person, a program and a spreadsheet see.

use serde_json::{Value, json};

use super::support::process::{finish, regsweep};
use super::support::scenario::gc;
use super::support::tree::{Blob, Manifest, Tree};
use super::{bytes, du, du_for_people, named, usage};

/// Thirty repositories in three teams, of different sizes, all of which share a layer.
fn many() -> Tree {
    let tree = Tree::in_memory();
    for number in 0..30 {
        let layers: Vec<String> = (0..=number).map(|layer| format!("{number} {layer}")).collect();
        let mut layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        layers.push("base");
        tree.repository(&format!("team-{}/app-{number:02}", number % 3)).image_with_layers("v1", &layers);
    }
    tree
}

fn lines(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn the_largest_come_first_and_the_others_are_one_row() {
    let tree = many();
    let text = du_for_people(&tree, &[]).exits(0).text();
    let rows: Vec<&str> = text.lines().skip(1).take_while(|line| !line.is_empty()).collect();
    assert_eq!(rows.len(), 21, "{text}");
    assert!(rows[0].starts_with("team-2/app-26 ") && rows[20].starts_with("and 10 more "), "{text}");
    for (arguments, count, first) in [
        (&["--top", "3"][..], 4, "team-2/app-26"),
        (&["--top", "29"], 30, "team-2/app-26"),
        (&["-v"], 30, "team-2/app-26"),
        (&["--sort", "name", "--top", "2"], 3, "team-0/app-00"),
        (&["--reverse", "--top", "1"], 2, "team-0/app-00"),
        (&["--depth", "1"], 3, "team-2/"),
        (&["--depth", "0"], 1, "/"),
        (&["--depth", "9", "-v"], 30, "team-2/app-26"),
    ] {
        let text = du_for_people(&tree, arguments).exits(0).text();
        let rows: Vec<&str> = text.lines().skip(1).take_while(|line| !line.is_empty()).collect();
        assert_eq!(rows.len(), count, "{arguments:?}: {text}");
        assert_eq!(rows[0].split_whitespace().next(), Some(first), "{arguments:?}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80 || arguments.contains(&"-v")), "{text}");
    }
}

/// Bars are of blocks where the locale has them, and of two different characters in any case.
#[test]
fn bars_are_of_two_shades() {
    let tree = many();
    let bar = |environment: &[(&str, &str)]| -> String {
        let root = tree.root();
        let mut command = regsweep(&["du", "--top", "1", root.to_str().unwrap()]);
        command.envs(environment.iter().copied());
        let text = finish(command).exits(0).text();
        text.lines().nth(1).unwrap().split_whitespace().last().unwrap().to_owned()
    };
    for (environment, own, shared) in [
        (&[][..], '#', '-'),
        (&[("LANG", "C.UTF-8")], '█', '░'),
        (&[("LC_ALL", "de_DE.utf8"), ("LANG", "C")], '█', '░'),
        (&[("LC_ALL", "C"), ("LANG", "C.UTF-8")], '#', '-'),
        (&[("LANG", "C.UTF-8"), ("TERM", "dumb")], '#', '-'),
        (&[("LANG", "C.UTF-8"), ("NO_COLOR", "1")], '█', '░'),
    ] {
        let bar = bar(environment);
        assert!(bar.starts_with(own) && bar.ends_with(shared), "{environment:?}: {bar}");
        assert!(bar.chars().count() >= 8, "{bar}");
    }
}

#[test]
fn a_long_name_is_cut_and_whole_with_verbose() {
    let tree = Tree::new();
    let name = format!("{}/app", "long-".repeat(30));
    tree.repository(&name).image("v1");
    let text = du_for_people(&tree, &["--tags"]).exits(0).text();
    assert!(text.contains("...") && text.lines().take(3).all(|line| line.chars().count() <= 80), "{text}");
    assert!(du_for_people(&tree, &["-v"]).exits(0).text().contains(&name));
}

#[test]
fn nothing_at_all() {
    let tree = Tree::new();
    std::fs::create_dir_all(tree.repositories()).unwrap();
    let text = du_for_people(&tree, &[]).exits(0).text();
    assert!(text.starts_with("no repositories\n") && text.contains("all blobs"), "{text}");
    assert_eq!(usage(du(&tree, &[]).exits(0))["store"]["blobs"]["count"], 0);
}

/// At each depth, with tags and without: what the rows have for themselves and the lines below them are all blobs.
#[test]
fn csv_adds_up_and_no_spreadsheet_runs_it() {
    let tree = many();
    let odd = "=cmd,\"x\"";
    tree.repository(odd).image_with_layers("v1", &["odd"]);
    tree.repository("team-0/app-00").untagged("old");
    tree.orphan("orphan");
    let root = tree.root();
    let all = bytes(&usage(&du(&tree, &[]))["store"]["blobs"]);
    for arguments in [&[][..], &["--depth", "1"], &["--tags"], &["--top", "2"]] {
        let head = ["du", "--format", "csv", root.to_str().unwrap()];
        let text = finish(regsweep(&[&head[..], arguments].concat())).exits(0).text();
        let columns: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        assert_eq!((columns.len(), columns[6]), (12, "exclusive_bytes"));
        let mut sum = 0;
        for line in text.lines().skip(1) {
            let cells: Vec<&str> = line.rsplitn(11, ',').collect();
            if !["tag", "untagged", "common"].iter().any(|kind| line.starts_with(&format!("{kind},"))) {
                sum += cells[5].parse::<u64>().unwrap();
            }
        }
        assert_eq!(sum, all, "{arguments:?}: {text}");
        assert!(text.contains(",\"'=cmd,\"\"x\"\"\","), "{text}");
        assert_eq!(text.contains("\ntag,"), arguments.contains(&"--tags"));
    }
}

/// `--disk` counts blocks, and the order goes by them too.
#[test]
fn blocks_of_the_disk() {
    let tree = Tree::new();
    tree.repository("app").image_with_layers("v1", &["one"]);
    let app = usage(&du(&tree, &[]))["repositories"][0].clone();
    let (bytes, blocks) = (app["total"]["bytes"].as_u64().unwrap(), app["total"]["disk_bytes"].as_u64().unwrap());
    assert!(blocks > bytes, "three small files");
    let total = |arguments: &[&str]| -> String {
        let text = du_for_people(&tree, arguments).text();
        lines(&text)[1][1..3].join(" ")
    };
    assert_eq!(total(&["--disk"]), regsweep::report::human::bytes(blocks));
    assert_eq!(total(&[]), regsweep::report::human::bytes(bytes));
}

/// What is in a trash takes room that no table shows.
#[test]
fn the_trash_of_runs_is_told() {
    let tree = many();
    assert!(!du_for_people(&tree, &[]).text().contains("trash"));
    assert_eq!(usage(&du(&tree, &[]))["trash"], json!({"runs": 0, "bytes": 0, "unfinished": 0}));
    let blob = tree.orphan("orphan");
    let report = gc(&tree, &["--quarantine", "--registry-stopped"]).report();
    let size = blob.bytes.len();
    let text = du_for_people(&tree, &[]).exits(0).text();
    let human = regsweep::report::human::bytes(size as u64);
    let line = format!("\n1 run keeps {human} in its trash, in no figure above: `regsweep trash list`\n");
    assert!(text.contains(&line), "{text}");
    assert_eq!(usage(&du(&tree, &[]))["trash"], json!({"runs": 1, "bytes": size, "unfinished": 0}));
    // The mark that ends a run is gone: it was cut off.
    let journal = tree.regsweep().join("runs").join(report.run()).join("journal.jsonl");
    let lines = std::fs::read_to_string(&journal).unwrap();
    let cut: String = lines.split_inclusive('\n').filter(|line| !line.contains("\"swept\"")).collect();
    std::fs::write(&journal, cut).unwrap();
    assert_eq!(usage(&du(&tree, &[]))["trash"], json!({"runs": 0, "bytes": 0, "unfinished": 1}));
    let text = du_for_people(&tree, &[]).text();
    assert!(text.contains("\n1 unfinished run has something in the trash: `regsweep runs`\n"), "{text}");
    // What cannot be listed is not nothing.
    std::fs::remove_dir_all(tree.regsweep().join("runs")).unwrap();
    std::fs::write(tree.regsweep().join("runs"), "").unwrap();
    let document = usage(du(&tree, &[]).exits(0));
    assert_eq!((&document["trash"], &document["findings"][0]["kind"]), (&json!(null), &json!("unreadable")));
}

/// Blobs one by one, the largest first:
///
/// ```text
/// a/app   v1, v1-again => config, base, huge      (untagged) => config, base, loose
/// b/app   v2 => config, base
/// ```
#[test]
fn the_largest_blobs_and_who_needs_them() {
    let tree = Tree::in_memory();
    let layer = |size: usize, word: &str| Blob::new(word.repeat(size).into_bytes());
    let (huge, base, loose) = (layer(3000, "huge"), layer(2000, "base"), layer(1000, "idle"));
    let garbage = layer(1500, "gone");
    let (app, other) = (tree.repository("a/app"), tree.repository("b/app"));
    let image = Manifest::docker_of("v1", &[base.clone(), huge.clone()]);
    app.push_tagged("v1-again", &image);
    app.tag("v1", &image);
    app.push(&Manifest::docker_of("loose", &[base.clone(), loose.clone()]));
    other.push_tagged("v2", &Manifest::docker_of("v2", std::slice::from_ref(&base)));
    tree.put(&garbage);
    let blobs = usage(du(&tree, &["--blobs", "--top", "4"]).exits(0))["largest_blobs"].clone();
    let expected = [
        json!({"digest": huge.digest, "bytes": 12_000, "need": "tagged", "repositories": 1, "tags": 2,
               "repository": "a/app", "tag": "v1"}),
        json!({"digest": base.digest, "bytes": 8_000, "need": "tagged", "repositories": 2, "tags": 3,
               "repository": "a/app", "tag": "v1"}),
        json!({"digest": garbage.digest, "bytes": 6_000, "need": "garbage", "repositories": 0, "tags": 0,
               "repository": null, "tag": null}),
        json!({"digest": loose.digest, "bytes": 4_000, "need": "untagged", "repositories": 1, "tags": 0,
               "repository": "a/app", "tag": null}),
    ];
    let blobs: Vec<Value> = blobs.as_array().unwrap().iter().map(without_blocks).collect();
    assert_eq!(blobs, expected);
    assert_eq!(usage(&du(&tree, &[]))["largest_blobs"], json!(null), "nobody has asked");
    let text = du_for_people(&tree, &["--blobs", "--top", "4"]).exits(0).text();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let rows = lines(&text);
    assert_eq!(rows[1], [&huge.digest[..19], "11.72", "KiB", "2", "1", "a/app:v1"], "{text}");
    assert_eq!(rows[3][1..], ["5.86", "KiB", "0", "0", "(garbage)"], "{text}");
    assert_eq!(rows[4][3..], ["0", "1", "a/app", "(untagged)"], "{text}");
    assert!(text.contains("\n4 of 10 blobs hold 29.30 KiB of "), "{text}");
    assert!(du_for_people(&tree, &["--blobs", "-v"]).text().contains(&huge.digest));
    let root = tree.root();
    let csv = finish(regsweep(&["du", "--blobs", "--top", "1", "--format", "csv", root.to_str().unwrap()])).text();
    assert!(csv.lines().nth(1).unwrap().ends_with(",tagged,1,2,a/app,v1"), "{csv}");
    assert_eq!(csv.lines().count(), 2, "{csv}");
    // What a repository's rows are sorted by is nothing to it.
    du_for_people(&tree, &["--blobs", "a/app"]).exits(2);
    let nothing = Tree::new();
    std::fs::create_dir_all(nothing.repositories()).unwrap();
    assert_eq!(du_for_people(&nothing, &["--blobs"]).exits(0).text(), "no blobs\n");
}

fn without_blocks(blob: &Value) -> Value {
    let mut blob = blob.clone();
    blob.as_object_mut().unwrap().remove("disk_bytes");
    blob
}

/// The sentence below a table of names.
#[test]
fn what_removal_frees_is_said_below() {
    let tree = many();
    let text = du_for_people(&tree, &["team-0/app-00", "team-1/app-01:v1"]).exits(0).text();
    let document = usage(&du(&tree, &["team-0/app-00", "team-1/app-01:v1"]));
    let frees = regsweep::report::human::bytes(bytes(&document["names"]["frees"]));
    let last = text.lines().last().unwrap();
    assert!(last.starts_with(&format!("removing these 2 frees {frees} (")), "{text}");
    assert!(!text.contains("all blobs"), "{text}");
    assert_eq!(document["repositories"].as_array().unwrap().len(), 1);
    assert_eq!(named(&document["tags"], "v1")["repository"], "team-1/app-01");
    let one = du_for_people(&tree, &["team-0"]).exits(0).text();
    assert!(one.lines().last().unwrap().starts_with("removing it frees "), "{one}");
}
