//! What a repair and a check once got wrong, or nearly.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::support::scenario::{gc, restore};
use super::support::tree::{Blob, Manifest, Tree, set_time, write};
use super::{check, damaged, finish, lost, mends, names, regsweep, repair};

fn read(path: &std::path::Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("<{}: {error}>", path.display()))
}

const HOUR: Duration = Duration::from_secs(3600);

/// ```text
/// app   v1 => new (its manifest is lost); it pointed at old before, and the link of that entry is empty
/// ```
fn dropped_while_mended() -> (Tree, Manifest, Manifest) {
    let tree = Tree::new();
    let app = tree.repository("app");
    let old = app.image("v1");
    let new = Manifest::docker("new", &["base", "new"]);
    app.push_tagged("v1", &new);
    tree.remove(&tree.blob(&new.digest));
    tree.truncate(&app.history("v1", &old.digest).join("link"), 0);
    (tree, old, new)
}

/// A tag that is dropped while a link of its history is mended must not come back as half a tag: the next repair would
/// point it at an old image.
#[test]
fn a_dropped_tag_stays_dropped() {
    let (tree, old, new) = dropped_while_mended();
    let app = tree.repository("app");
    let run = repair(&tree, &["--drop-dangling-tags"]);
    let dropped = run.report().0["actions"].to_string();
    assert!(dropped.contains("\"tag\""), "{dropped}");
    let is_there = app.tag_folder("v1").exists();
    let second = repair(&tree, &[]);
    let now = read(&app.current("v1"));
    let back = restore(&tree, run.report().run(), &[]);
    let after = read(&app.current("v1"));
    assert!(
        !is_there && mends(&second).is_empty(),
        "tag folder there after its drop: {is_there}; second run mends {:?}; v1 is now {now} (old is {}, new was {}); \
         restore: {} {} {}; v1 then is {after}",
        mends(&second),
        old.digest,
        new.digest,
        back.code,
        back.text(),
        back.stderr
    );
}

/// A tag whose manifest could not be read is not lost, and is not dropped.
#[test]
fn what_cannot_be_read_is_not_lost() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    app.image("v2");
    tree.remove(&app.revision(&image.digest).join("link"));
    let broken = tree.unreadable(&tree.data(&image.digest));
    let run = repair(&tree, &["--drop-dangling-tags"]);
    broken.mend();
    let there = app.current("v1").exists();
    let gc = gc(&tree, &["--registry-stopped"]);
    let blob = tree.blob(&image.digest).exists();
    assert!(
        there,
        "the tag is gone, actions {:#?}; after gc ({}) its manifest is there: {blob}",
        run.report().actions(),
        gc.code
    );
}

/// A repair that mends one link and leaves damage says so at the end.
#[test]
fn damage_that_is_left_is_told_at_the_end() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    let images: Vec<Manifest> = (0..11).map(|n| tree.repository("app").image(&format!("t{n}"))).collect();
    for image in &images {
        tree.flip(&tree.data(image.blob_digests()[2]));
    }
    tree.truncate(&app.layer(image.blob_digests()[2]).join("link"), 0);
    let run = repair(&tree, &["--read-data"]);
    assert!(run.report().has("error", "look at the volume first"));
    let root = tree.root();
    tree.truncate(&app.layer(image.blob_digests()[2]).join("link"), 0);
    let human = finish(regsweep(&["check", "--repair", "--registry-stopped", "--read-data", root.to_str().unwrap()]));
    let after = check(&tree, &["--read-data"]);
    assert_eq!(
        run.code,
        3,
        "11 tagged layers are damaged: a check says {}\nafterwards {}\n{}",
        after.code,
        run.report().0["check"]["afterwards"],
        human.text()
    );
}

/// The same with one layer that cannot be read.
#[test]
fn a_layer_that_cannot_be_put_aside_is_told_at_the_end() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    let other = app.image("v2");
    // Behind a symbolic link, so it stays; damaged.
    let layer = tree.data(other.blob_digests()[2]);
    tree.flip(&layer);
    let aside = tree.beside().join("elsewhere");
    fs::rename(tree.blob(other.blob_digests()[2]), &aside).unwrap();
    tree.symlink(&aside, &tree.blob(other.blob_digests()[2]));
    tree.truncate(&app.layer(image.blob_digests()[2]).join("link"), 0);
    let run = repair(&tree, &["--read-data"]);
    assert_eq!(check(&tree, &["--read-data"]).code, 3);
    assert_eq!(run.code, 3, "{:?} {:#?}", run.report().0["check"]["afterwards"], run.report().findings());
}

/// Power was cut in a push of B over A: the entry of the history has no link (yet), the current link is empty. Nobody
/// knows then that the tag pointed at A last.
#[test]
fn an_entry_without_a_link_is_a_sign() {
    for has_folder in [true, false] {
        let tree = Tree::new();
        let app = tree.repository("app");
        let a = app.image("v1");
        app.pushed_ago("v1", HOUR * 24 * 30);
        let b = Manifest::docker("b", &["base", "b"]);
        app.push_tagged("v1", &b);
        tree.truncate(&app.current("v1"), 0);
        if has_folder {
            tree.remove(&app.history("v1", &b.digest).join("link"));
        } else {
            tree.remove(&app.history("v1", &b.digest));
        }
        let run = repair(&tree, &[]);
        assert_ne!(
            read(&app.current("v1")),
            a.digest,
            "folder of b's entry is there: {has_folder}; v1 pointed at {} a moment ago, and not at this; exit {}",
            b.digest,
            run.code
        );
    }
}

/// Layers linked under a sha512 name, stored as sha256, as registries do.
#[test]
fn a_sha512_alias_is_no_damage() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let content = b"a layer by another name".repeat(5);
    let (short, long) = (Blob::new(content.clone()), Blob::sha512(content.clone()));
    tree.put(&short);
    app.link_layer(&short.digest);
    write(&app.layer(&long.digest).join("link"), short.digest.as_bytes());
    let config = Blob::layer("config");
    tree.put(&config);
    app.link_layer(&config.digest);
    let text = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.digest,
            "size": config.bytes.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": long.digest,
            "size": content.len()}]});
    app.push_tagged("v1", &Manifest::raw(text.to_string()));
    let run = check(&tree, &["--read-data"]);
    assert_eq!((run.code, lost(&run)), (0, names([])), "{:#?}", run.report().findings());
    // And damaged it is.
    tree.flip(&tree.data(&short.digest));
    let run = check(&tree, &["--read-data"]);
    assert_eq!((run.code, lost(&run)), (3, names(["app:v1"])), "{:#?}", run.report().findings());
}

/// Were a damaged untagged manifest put aside, the collector would take its layers, which it keeps as long as it is
/// there.
#[test]
fn gc_after_a_repair_keeps_what_it_kept_before() {
    let tree = Tree::new();
    let app = tree.repository("app");
    app.image("v1");
    let loose = app.untagged("loose");
    tree.flip(&tree.data(&loose.digest));
    let before = gc(&tree, &["--dry-run"]).report().garbage_blobs();
    let run = repair(&tree, &[]);
    assert!(run.report().has("info", "gc keeps what it may need as long as it is here"));
    assert!(tree.blob(&loose.digest).exists());
    let after = gc(&tree, &["--dry-run"]).report().garbage_blobs();
    assert_eq!(before, after, "layers of an image whose damaged manifest was put aside");
}

/// With one position file for two registries each run would go on where that of the other left off, and half of either
/// would never be read.
#[test]
fn a_position_is_of_one_registry() {
    let (one, other) = (Tree::new(), Tree::new());
    let mut all: Vec<String> = Vec::new();
    for tree in [&one, &other] {
        all = (0..10).map(|n| tree.orphan(&format!("blob {n}")).digest).collect();
    }
    all.sort();
    one.flip(&one.data(&all[1]));
    let file = one.beside().join("position");
    let position = file.to_str().unwrap();
    let mut found = 0;
    let mut complaints = 0;
    for _ in 0..30 {
        for tree in [&one, &other] {
            let run = check(tree, &["--read-data-subset", "1", "--position", position]);
            if run.code == 2 {
                complaints += 1;
                continue;
            }
            found += damaged(&run).len();
        }
    }
    assert!(found + complaints > 0, "30 turns over 10 blobs, a damaged one, and nothing is ever said");
}

/// Folders that cannot be listed, and what the check says then.
#[test]
fn what_cannot_be_listed_is_no_all_clear() {
    for what in [
        "repositories/team",
        "repositories/team/app",
        "repositories/team/app/_manifests",
        "repositories/team/app/_manifests/tags",
        "repositories/team/app/_manifests/revisions",
        "repositories/team/app/_manifests/revisions/sha256",
        "repositories/team/app/_layers",
        "repositories/team/app/_layers/sha256",
        "repositories",
        "blobs",
        "blobs/sha256",
        "repositories/team/app/_manifests/tags/v1",
        "repositories/team/app/_manifests/tags/v1/current",
        "repositories/team/app/_manifests/tags/v1/index",
    ] {
        let tree = Tree::new();
        tree.repository("team/app").image("v1");
        tree.repository("other").image("v1");
        let broken = tree.unreadable(&tree.v2().join(what));
        let run = check(&tree, &[]);
        let root = tree.root();
        let human = finish(regsweep(&["check", root.to_str().unwrap()]));
        let first = human.text().lines().next().unwrap_or_default().to_owned();
        if !what.ends_with("index") {
            assert!(run.code != 0, "{what}");
            assert!(
                first.contains("cannot"),
                "{what}: the first line says {first:?}, and a part of the registry was not seen at all"
            );
        }
        broken.mend();
    }
}

/// An entry of an index without a media type, damaged.
#[test]
fn an_untyped_entry_that_is_damaged() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let child = Manifest::docker("child", &["base", "x"]);
    app.push(&child);
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"digest": child.digest, "size": child.bytes.len(),
            "platform": {"os": "linux", "architecture": "amd64"}}]});
    app.push_tagged("v1", &Manifest::raw(index.to_string()));
    let whole = check(&tree, &[]);
    assert_eq!((whole.code, lost(&whole)), (0, names([])), "{:#?}", whole.report().findings());
    tree.flip(&tree.data(&child.digest));
    let run = check(&tree, &[]);
    assert_eq!(run.code, 3, "{:#?}", run.report().findings());
    tree.remove(&app.revision(&child.digest));
    check(&tree, &[]).exits(3);
    repair(&tree, &[]).exits(3);
}

/// A tag with a wrong digit, whose history entry's manifest is gone.
#[test]
fn a_slip_to_what_is_gone() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    let mut wrong = image.digest.clone().into_bytes();
    wrong[20] = if wrong[20] == b'a' { b'b' } else { b'a' };
    write(&app.current("v1"), &wrong);
    tree.remove(&tree.blob(&image.digest));
    let run = repair(&tree, &[]);
    assert_eq!(mends(&run), names([]));
}

/// What is put aside comes back after somebody pushed it anew and it is whole.
#[test]
fn restore_after_a_push() {
    let tree = Tree::new();
    let image = tree.repository("app").image("v1");
    let layer = image.blob_digests()[2].to_owned();
    let whole = fs::read(tree.data(&layer)).unwrap();
    tree.flip(&tree.data(&layer));
    let run = repair(&tree, &["--read-data"]);
    write(&tree.data(&layer), &whole);
    check(&tree, &["--read-data"]).exits(0);
    restore(&tree, run.report().run(), &[]).exits(0);
    assert_eq!(fs::read(tree.data(&layer)).unwrap(), whole);
}

/// Reading in parts comes by everything in a round.
#[test]
fn what_was_found_yesterday() {
    let tree = Tree::new();
    let app = tree.repository("app");
    for n in 0..5 {
        let image = app.image(&format!("v{n}"));
        tree.flip(&tree.data(image.blob_digests()[2]));
    }
    let file = tree.beside().join("position");
    let mut codes = Vec::new();
    for _ in 0..17 {
        codes.push(check(&tree, &["--read-data-subset", "1", "--position", file.to_str().unwrap()]).code);
    }
    assert!(codes.iter().filter(|&&code| code == 3).count() >= 5);
}

/// Times of a copy that kept them by the second.
#[test]
fn history_times_in_the_future() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let a = app.image("v1");
    let b = Manifest::docker("b", &["base", "b"]);
    app.push_tagged("v1", &b);
    let now = SystemTime::now();
    // A copy without times (cp -r, rsync without -t) writes all files in some order within a minute.
    set_time(&app.history("v1", &b.digest).join("link"), now - Duration::from_secs(30));
    set_time(&app.history("v1", &a.digest).join("link"), now - Duration::from_secs(29));
    write(&app.current("v1"), b"");
    set_time(&app.current("v1"), now - Duration::from_secs(28));
    let run = repair(&tree, &[]);
    assert_eq!(
        mends(&run),
        names([]),
        "a copy (cp -r) wrote all within a second or so: v1 is {} and was {}",
        read(&app.current("v1")),
        b.digest
    );
}

/// A tag that was dropped can be put back, by force.
#[test]
fn a_dropped_tag_comes_back_whole() {
    let (tree, _, new) = dropped_while_mended();
    let app = tree.repository("app");
    let run = repair(&tree, &["--drop-dangling-tags"]);
    let back = restore(&tree, run.report().run(), &["--allow-missing"]);
    let list = finish(regsweep(&["trash", "list", tree.root().to_str().unwrap()]));
    assert_eq!(
        read(&app.current("v1")),
        new.digest,
        "restore: {} {} {}; left in the trash: {}",
        back.code,
        back.text(),
        back.stderr,
        list.text()
    );
}

/// A page or a report goes where the operator says; what is there and is no regular file is not replaced by one.
#[test]
fn what_is_no_file_is_not_replaced() {
    use std::os::unix::fs::FileTypeExt as _;
    let tree = Tree::new();
    tree.repository("app").image("v1");
    for flag in ["--html", "--report"] {
        let link = tree.beside().join(format!("link{flag}"));
        let target = tree.beside().join(format!("target{flag}"));
        fs::write(&target, "old").unwrap();
        tree.symlink(&target, &link);
        check(&tree, &[flag, link.to_str().unwrap()]);
        let is_link = fs::symlink_metadata(&link).unwrap().file_type().is_symlink();
        // A socket stands for a device, for which one has to be root.
        let socket = tree.beside().join(format!("socket{flag}"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let run = check(&tree, &[flag, socket.to_str().unwrap()]);
        let is_socket = fs::symlink_metadata(&socket).unwrap().file_type().is_socket();
        assert!(
            is_link && is_socket,
            "{flag}: still a link: {is_link}, still a socket: {is_socket}, exit {}",
            run.code
        );
    }
}

/// A blob that was named to be read and is not there, or cannot be read.
#[test]
fn a_named_blob_that_is_not_there() {
    let tree = Tree::new();
    tree.repository("app").image("v1");
    let root = tree.root();
    let absent = format!("sha256:{}", "0".repeat(64));
    let run = finish(regsweep(&["check", "--read-blob", &absent, root.to_str().unwrap()]));
    assert!(run.code != 0, "exit {}: {}", run.code, run.text());
}

/// A tag that was dropped is dropped by name only: a dangling tag whose history cannot be listed.
#[test]
fn a_revision_folder_that_cannot_be_listed_drops_nothing() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    for what in ["_manifests/revisions", "_manifests/revisions/sha256", "_layers", "_manifests"] {
        let broken = tree.unreadable(&app.folder().join(what));
        let run = repair(&tree, &["--drop-dangling-tags", "--drop-dangling-revisions"]);
        assert!(run.report().actions().is_empty(), "{what}: {:?}", run.report().actions());
        broken.mend();
    }
    let shard = tree.blob(&image.digest).parent().unwrap().to_owned();
    for what in [shard, tree.v2().join("blobs/sha256"), tree.blob(&image.digest), app.revision(&image.digest)] {
        let broken = tree.unreadable(&what);
        let run = repair(&tree, &["--drop-dangling-tags", "--drop-dangling-revisions", "--read-data"]);
        assert!(run.report().actions().is_empty(), "{what:?}: {:?}", run.report().actions());
        broken.mend();
    }
    assert_eq!(check(&tree, &["--read-data"]).code, 0);
}

/// A damaged manifest that a tag's index lists is put aside; the collector keeps what it kept.
#[test]
fn gc_after_a_platform_was_put_aside() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let (amd64, arm64) = (Manifest::docker("amd64", &["base", "a"]), Manifest::docker("arm64", &["base", "b"]));
    let nested = Manifest::index("nested", &[&arm64]);
    [&amd64, &arm64, &nested].iter().for_each(|it| app.push(it));
    app.index("v1", &[&amd64, &nested]);
    tree.flip(&tree.data(&nested.digest));
    let before = gc(&tree, &["--dry-run", "--delete-untagged"]).report().garbage_blobs();
    repair(&tree, &[]);
    let after = gc(&tree, &["--dry-run", "--delete-untagged"]).report().garbage_blobs();
    assert_eq!(before, after);
}

/// Somebody writes while blobs are read: nothing is done then.
#[test]
fn a_hostile_temporary_name() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    let link = app.layer(image.blob_digests()[1]).join("link");
    tree.truncate(&link, 0);
    let victim = tree.beside().join("victim");
    fs::write(&victim, "victim").unwrap();
    tree.symlink(&victim, &link.with_file_name("link.regsweep.tmp"));
    let run = repair(&tree, &[]);
    assert_eq!((run.code, read(&victim).as_str()), (0, "victim"));
    for kind in ["folder", "pipe", "link"] {
        tree.remove(&link);
        match kind {
            "folder" => fs::create_dir(&link).unwrap(),
            "pipe" => tree.fifo(&link),
            _ => tree.symlink(&victim, &link),
        }
        let run = repair(&tree, &[]);
        assert_eq!(read(&victim), "victim");
        assert_eq!(run.code, 3, "{kind}: {:?} {:#?}", mends(&run), run.report().findings());
        assert!(link.symlink_metadata().is_ok(), "{kind}");
    }
}

/// A layer that cannot be opened: only reading tells, and a repair of something else does not forget it.
#[test]
fn an_unreadable_layer_is_not_forgotten() {
    use super::support::process::regsweep_bound_by_permissions as bound;
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    let other = app.image("v2");
    tree.truncate(&app.layer(other.blob_digests()[2]).join("link"), 0);
    tree.give_to_nobody();
    tree.chmod(&tree.data(image.blob_digests()[2]), 0o000);
    let root = tree.root();
    let root = root.to_str().unwrap();
    let plain = finish(bound(&tree, &["check", "--read-data", root]));
    assert_eq!(plain.code, 3, "{}", plain.text());
    let run = finish(bound(&tree, &["check", "--read-data", "--repair", "--registry-stopped", root]));
    assert_eq!(run.code, 3, "{}", run.text());
}
