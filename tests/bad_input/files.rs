//! Files that are not what they should be: named pipes, huge files, odd JSON, symbolic links.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::formats::sha256;
use crate::support::scenario::{collect, gc};
use crate::support::tree::{Blob, Manifest, Tree, blob_object, write};

/// A named pipe in the place of a file: whoever opens it to read waits for a writer who never comes.
#[test]
fn named_pipes_do_not_stop_a_run() {
    let places: [(&str, &[i32]); 8] = [
        ("current link", &[3]),
        ("revision link", &[3]),
        ("manifest", &[3]),
        ("untagged revision link", &[0, 3]),
        ("untagged manifest", &[0, 3]),
        ("layer link", &[0, 3]),
        ("orphan's data", &[0, 3]),
        ("startedat", &[0, 3]),
    ];
    for (place, codes) in places {
        for flags in [&[][..], &["-m"]] {
            println!("the {place} is a named pipe, {flags:?}");
            let tree = Tree::new();
            let app = tree.repository("team/app");
            let v1 = app.image("v1");
            let old = app.untagged("old");
            let orphan = tree.orphan("orphan");
            let pipe = tree.orphan("pipe");
            let upload = app.upload("odd", Duration::from_secs(60));
            let at = match place {
                "current link" => app.current("v1"),
                "revision link" => app.revision(&v1.digest).join("link"),
                "manifest" => tree.data(&v1.digest),
                "untagged revision link" => app.revision(&old.digest).join("link"),
                "untagged manifest" => tree.data(&old.digest),
                "layer link" => app.layer(&v1.blobs[1].digest).join("link"),
                "orphan's data" => tree.data(&pipe.digest),
                _ => upload.join("startedat"),
            };
            tree.fifo(&at);
            let began = Instant::now();
            let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
            assert!(began.elapsed() < Duration::from_secs(30), "it waited");
            assert!(codes.contains(&run.code), "exit {}: {}", run.code, run.text());
            let left = tree.objects();
            assert!(left.contains(&app.tag_object("v1")) && left.contains(&blob_object(&v1.digest)));
            for digest in v1.blob_digests() {
                assert!(left.contains(&blob_object(digest)) && left.contains(&app.layer_object(digest)));
            }
            assert!(!left.contains(&blob_object(&orphan.digest)), "the rest is collected");
        }
    }
}

/// 100 MB where a manifest should be, sparse, under a tag: not read to its end, and not believed.
#[test]
fn a_huge_manifest_is_not_read_to_its_end() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let stray = app.stray_layer("stray");
    let orphan = tree.orphan("orphan");
    fs::write(tree.data(&v1.digest), b"").unwrap();
    tree.grow(&tree.data(&v1.digest), 4 << 30);
    let began = Instant::now();
    let run = collect(&tree, &["-m"]);
    assert!(began.elapsed() < Duration::from_secs(20), "it was read: {:?}", began.elapsed());
    run.exits(3).removes(&[blob_object(&orphan.digest)]);
    run.keeps(&app.objects_of(&v1)).keeps(&[app.layer_object(&stray.digest)]);
}

/// 100 MB where a link should be.
#[test]
fn a_huge_link_is_not_read_to_its_end() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let orphan = tree.orphan("orphan");
    tree.grow(&app.current("v1"), 4 << 30);
    let began = Instant::now();
    let run = collect(&tree, &["-m"]);
    assert!(began.elapsed() < Duration::from_secs(20), "it was read: {:?}", began.elapsed());
    run.exits(3).removes(&[blob_object(&orphan.digest)]).keeps(&app.objects_of(&v1));
}

/// The largest manifest that the registry accepts, 4 MiB, is still a manifest.
#[test]
fn a_manifest_of_four_mebibytes_is_read() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = Manifest::docker("large", &["its layer"]);
    let text = String::from_utf8(image.bytes.clone()).unwrap();
    let padding = (4 << 20) - text.len();
    let mut large = Manifest::raw(format!("{}{text}", " ".repeat(padding)));
    assert_eq!(large.bytes.len(), 4 << 20);
    large.blobs = image.blobs;
    app.push_tagged("v1", &large);
    let stray = app.stray_layer("stray");
    let run = collect(&tree, &["-m"]);
    run.exits(0).removes(&[blob_object(&stray.digest), app.layer_object(&stray.digest)]);
    run.keeps(&app.objects_of(&large));
}

/// JSON that overflows the stack of a careless parser, under its right digest and a tag.
#[test]
fn deeply_nested_json_taints_and_does_no_more() {
    let depth = 500_000;
    let nests = [
        "[".repeat(depth) + &"]".repeat(depth),
        "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth),
        "[".repeat(depth),
        format!("{{\"schemaVersion\":2,\"config\":{}1{}}}", "[".repeat(depth), "]".repeat(depth)),
    ];
    for nest in nests {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.push_tagged("v1", &Manifest::raw(nest));
        let stray = app.stray_layer("perhaps its layer");
        let orphan = tree.orphan("orphan");
        let run = collect(&tree, &["-m"]);
        run.exits(3).removes(&[blob_object(&orphan.digest)]).keeps(&[app.layer_object(&stray.digest)]);
    }
}

/// Manifests of odd JSON, each under its right digest and a tag. None may lose what it could mean.
#[test]
fn manifests_of_odd_json_lose_nothing() {
    let config = Blob::layer("config");
    let layer = Blob::layer("layer");
    let (c, l) = (&config.digest, &layer.digest);
    let odd = [
        // Types that are not what the specification says.
        format!(r#"{{"schemaVersion":2,"config":"{c}","layers":["{l}"]}}"#),
        format!(r#"{{"schemaVersion":"2","mediaType":7,"config":{{"digest":"{c}"}},"layers":[{{"digest":"{l}"}}]}}"#),
        format!(r#"{{"schemaVersion":2,"config":{{"digest":"{c}"}},"layers":{{"0":{{"digest":"{l}"}}}}}}"#),
        format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{c}","size":-1}},"layers":[{{"digest":"{l}","size":1e400}}]}}"#
        ),
        // Keys twice: which one counts is the reader's choice.
        format!(r#"{{"config":{{"digest":"{c}"}},"layers":[],"layers":[{{"digest":"{l}"}}]}}"#),
        format!(r#"{{"config":{{"digest":"{c}"}},"layers":[{{"digest":"{l}"}}],"layers":[]}}"#),
        // Null, and more than one of them.
        format!(r#"{{"config":{{"digest":"{c}"}},"layers":[null,{{"digest":"{l}"}}]}}"#),
        format!(r#"{{"mediaType":null,"manifests":null,"config":{{"digest":"{c}"}},"layers":[{{"digest":"{l}"}}]}}"#),
        // A byte order mark, and space around.
        format!("\u{feff}{{\"config\":{{\"digest\":\"{c}\"}},\"layers\":[{{\"digest\":\"{l}\"}}]}}"),
        format!("\n\t {{\"config\":{{\"digest\":\"{c}\"}},\"layers\":[{{\"digest\":\"{l}\"}}]}} \n"),
        // Escapes in keys and digests.
        format!(r#"{{"c\u006fnfig":{{"digest":"{c}"}},"layers":[{{"digest":"{}"}}]}}"#, l.replacen(':', r"\u003a", 1)),
        // A media type that says one thing and members that say another.
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"config":{{"digest":"{c}"}},"layers":[{{"digest":"{l}"}}]}}"#
        ),
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[{{"digest":"{c}"}},{{"digest":"{l}"}}]}}"#
        ),
        // Trailing garbage after a whole document.
        format!(r#"{{"config":{{"digest":"{c}"}},"layers":[{{"digest":"{l}"}}]}} trailing"#),
    ];
    for json in odd {
        println!("{json}");
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let mut manifest = Manifest::raw(json);
        manifest.blobs = vec![config.clone(), layer.clone()];
        app.push_tagged("v1", &manifest);
        let orphan = tree.orphan("orphan");
        let run = collect(&tree, &["-m"]);
        run.removes(&[blob_object(&orphan.digest)]).keeps(&app.objects_of(&manifest));
    }
}

/// A digest in another notation is not another digest, and no reason to lose the blob that it means.
#[test]
fn digests_in_odd_notation_lose_nothing() {
    let layer = Blob::layer("layer");
    let upper = format!("sha256:{}", layer.digest["sha256:".len()..].to_uppercase());
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let json =
        format!(r#"{{"schemaVersion":2,"config":{{"digest":"sha256:short"}},"layers":[{{"digest":"{upper}"}}]}}"#);
    let mut manifest = Manifest::raw(json);
    manifest.blobs = vec![layer];
    app.push_tagged("v1", &manifest);
    let run = collect(&tree, &["-m"]);
    run.keeps(&app.objects_of(&manifest));
    assert!(run.real.has_finding("team/app"), "{}", run.real.0["findings"]);
    assert_ne!(sha256(b""), upper);
}

/// A repository on another volume, behind a symbolic link: its tags count, and nothing behind the link is removed.
/// ```text
/// linked -> elsewhere/linked     v1 => M -> config, L      old, stray
/// ```
#[test]
fn t04_a_symlinked_repository_counts_and_nothing_is_removed_through_it() {
    for flags in [&[][..], &["-m"], &["-m", "--remove-empty-repositories"]] {
        let tree = Tree::new();
        tree.repository("team/app").image("v1");
        let linked = tree.repository("linked");
        let v1 = linked.image("v1");
        linked.untagged("old");
        linked.stray_layer("stray");
        linked.upload("stale", Duration::from_secs(9_000_000));
        let orphan = tree.orphan("orphan");
        let elsewhere = tree.beside().join("elsewhere");
        fs::rename(linked.folder(), &elsewhere).unwrap();
        tree.symlink(&elsewhere, &linked.folder());
        let links = || -> BTreeSet<_> {
            let entries = walkdir::WalkDir::new(&elsewhere).into_iter().map(Result::unwrap);
            entries.map(|entry| entry.into_path()).collect()
        };
        let (before, delivered) = (links(), tree.deliverable(false));
        let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
        assert!([0, 3].contains(&run.code), "exit {}: {}", run.code, run.stderr);
        assert_eq!(links(), before, "{flags:?}: nothing goes through the link");
        assert_eq!(tree.deliverable(false), delivered);
        let left = tree.objects();
        linked.objects_of(&v1).iter().for_each(|object| assert!(left.contains(object), "{}", tree.explain(object)));
        assert!(!left.contains(&blob_object(&orphan.digest)));
        assert!(run.report().has_finding("linked"), "{}", run.report().0["findings"]);
    }
}

/// A shard, and one blob, on another volume: read through the link, removed through none.
#[test]
fn t04_a_symlinked_shard_and_a_symlinked_blob_are_read_and_not_removed() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let shard = tree.blob(&v1.digest).parent().unwrap().to_owned();
    let in_shard = (0..)
        .map(|n| Blob::layer(&format!("orphan {n}")))
        .find(|blob| tree.blob(&blob.digest).parent() == Some(&shard));
    let in_shard = in_shard.unwrap();
    tree.put(&in_shard);
    let moved = tree.orphan("orphan behind a link of its own");
    let plain = tree.orphan("orphan");
    for (n, folder) in [shard.clone(), tree.blob(&moved.digest)].iter().enumerate() {
        let elsewhere = tree.beside().join(format!("elsewhere-{n}"));
        fs::rename(folder, &elsewhere).unwrap();
        tree.symlink(&elsewhere, folder);
    }
    let delivered = tree.deliverable(true);
    for flags in [&[][..], &["-m"]] {
        let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
        assert!([0, 3].contains(&run.code), "exit {}: {}", run.code, run.text());
        assert_eq!(tree.deliverable(true), delivered);
        assert!(tree.data(&in_shard.digest).exists() && tree.data(&moved.digest).exists(), "behind a link it stays");
        assert!(fs::symlink_metadata(&shard).unwrap().is_symlink());
        assert!(!tree.blob(&plain.digest).exists(), "the rest is collected");
    }
}

/// A tag that is a symbolic link to its sibling, as somebody made it by hand: the registry follows it.
#[test]
fn t04_a_symlinked_tag_keeps_what_it_points_at() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    let elsewhere = tree.beside().join("tag");
    write(&elsewhere.join("current/link"), old.digest.as_bytes());
    write(&elsewhere.join("index/sha256").join(&old.digest[7..]).join("link"), old.digest.as_bytes());
    tree.symlink(&elsewhere, &app.tag_folder("by-link"));
    let run = collect(&tree, &["-m"]);
    run.keeps(&app.objects_of(&old)).keeps(&[app.tag_object("by-link")]);
    assert!(elsewhere.join("current/link").exists());
}

/// Loops end; links to nowhere are reported and kept.
#[test]
fn t04_loops_and_links_to_nowhere_end_and_stay() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let orphan = tree.orphan("orphan");
    let nowhere = Path::new("/nowhere/at/all");
    let links = [
        (tree.repositories().join("team/loop"), Path::new("..").to_owned()),
        (tree.repositories().join("up"), tree.repositories()),
        (tree.repositories().join("nowhere"), nowhere.to_owned()),
        (tree.v2().join("blobs/sha256/loop"), Path::new("../..").to_owned()),
        (tree.v2().join("nowhere"), nowhere.to_owned()),
    ];
    for (path, target) in &links {
        tree.symlink(target, path);
    }
    for flags in [&["--dry-run"][..], &["--registry-stopped", "-m", "--remove-empty-repositories"]] {
        let run = gc(&tree, flags);
        assert!([0, 3, 4].contains(&run.code), "exit {}: {}", run.code, run.text());
        assert!(run.report().has_finding("nowhere"), "{}", run.report().0["findings"]);
    }
    for (path, _) in &links {
        assert!(fs::symlink_metadata(path).unwrap().is_symlink(), "{}", path.display());
    }
    assert!(tree.data(&v1.digest).exists() && app.tag_folder("v1").exists());
    assert!(orphan.bytes.len() > 1);
}
