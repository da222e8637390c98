//! Traps that were found while the collector was built. The list goes on from T41.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::{Run, finish, regsweep};
use crate::support::scenario::{collect, gc, gc_arguments, refuses};
use crate::support::tree::{Blob, Manifest, Tree, blob_object, write};
use crate::{control, everything};

/// Runs a script as root of a mount namespace of its own, with the storage root as `$1` and the binary and its
/// arguments after it. Its mounts are gone when it ends.
fn with_mounts(script: &str, tree: &Tree, arguments: &[String]) -> Run {
    let inner = regsweep(arguments);
    let mut command = Command::new("unshare");
    // As anybody but root, a user namespace gives the right to mount; as root it would take rights away.
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "--propagation", "private", "sh", "-e", "-c", script, "sh"]);
    command.arg(tree.root()).arg(inner.get_program()).args(inner.get_args()).env_clear();
    finish(command)
}

/// `ENOENT` behind a symbolic link that leads nowhere is not absence: the volume that it leads to may not be mounted.
#[test]
fn t42_what_is_behind_a_dangling_link_is_not_absent() {
    // A tag's folder, which alone keeps its image with -m.
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let away = tree.beside().join("v1");
    fs::rename(app.tag_folder("v1"), &away).unwrap();
    symlink("/nowhere/v1", app.tag_folder("v1")).unwrap();
    gc(&tree, &["-m", "--registry-stopped"]).exits(3);
    fs::remove_file(app.tag_folder("v1")).unwrap();
    fs::rename(&away, app.tag_folder("v1")).unwrap();
    collect(&tree, &["-m"]).exits(0).keeps(&app.objects_of(&v1));

    // A revision's folder: without its link the image would be garbage by default.
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let loose = app.untagged("loose");
    let garbage = control(&tree);
    let (folder, away) = (app.revision(&loose.digest), tree.beside().join("revision"));
    fs::rename(&folder, &away).unwrap();
    symlink("/nowhere/revision", &folder).unwrap();
    let run = gc(&tree, &["--registry-stopped"]);
    run.exits(3);
    assert_eq!(run.report().actions_of("blob").into_iter().collect::<Vec<_>>(), garbage, "only what is garbage");
    fs::remove_file(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();
    collect(&tree, &[]).exits(0).keeps(&app.objects_of(&loose));

    // A shard of blobs, a repository, and the folder of its layer links.
    let shard = |tree: &Tree| tree.data(&tree.orphan("control").digest).parent().unwrap().parent().unwrap().to_owned();
    let whole = |tree: &Tree| tree.repository("old").folder();
    let layers = |tree: &Tree| tree.repository("old").folder().join("_layers");
    for (place, code) in [(&shard as &dyn Fn(&Tree) -> PathBuf, 3), (&whole, 4), (&layers, 4)] {
        let tree = everything();
        let old = tree.repository("old");
        let v1 = old.image("v1");
        let place = place(&tree);
        let away = tree.beside().join("away");
        fs::rename(&place, &away).unwrap();
        symlink("/nowhere", &place).unwrap();
        let run = gc(&tree, &["-m", "--registry-stopped"]);
        assert_eq!(run.code, code, "{}", place.display());
        fs::remove_file(&place).unwrap();
        fs::rename(&away, &place).unwrap();
        collect(&tree, &["-m"]).keeps(&old.objects_of(&v1));
    }
}

/// A volume of blobs that is not mounted makes every layer link look dead.
#[test]
fn t43_revisions_without_any_blob_are_refused() {
    for absent in [true, false] {
        let tree = everything();
        let blobs = tree.v2().join("blobs");
        fs::rename(&blobs, tree.beside().join("blobs")).unwrap();
        if !absent {
            fs::create_dir(&blobs).unwrap();
        }
        assert!(refuses(&tree, &[]).says("blobs"));
        assert!(refuses(&tree, &["-m"]).says("blobs"));
    }
}

/// Nothing is removed behind a symbolic link, and so nothing that it keeps may be let go: an untagged revision whose
/// link stays keeps its image, with -m as well.
#[test]
fn t44_what_cannot_be_removed_keeps_what_it_names() {
    for part in ["_manifests", "_manifests/revisions", "_manifests/revisions/sha256", "_manifests/tags", "_layers"] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        let loose = app.untagged("loose");
        let garbage = control(&tree);
        let away = tree.v2().join("elsewhere");
        fs::rename(app.folder().join(part), &away).unwrap();
        symlink(&away, app.folder().join(part)).unwrap();
        let before = tree.fingerprint();
        let run = gc(&tree, &["-m", "--registry-stopped"]);
        run.exits(0);
        let gone: Vec<String> = run.report().actions_of("blob").into_iter().collect();
        let after = tree.fingerprint();
        let behind = |fingerprint: &crate::support::fingerprint::Fingerprint| {
            fingerprint.below("docker/registry/v2/elsewhere").files().inodes()
        };
        assert_eq!(behind(&before), behind(&after), "{part}: nothing behind the link was touched");
        if part != "_layers" {
            assert_eq!(gone, garbage, "{part}: the untagged image keeps its blobs");
            assert!(tree.data(&loose.digest).exists());
        }
    }
    // The history of a tag behind a link stays as it is, and stops nothing.
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let old = app.image("latest");
    app.push_tagged("latest", &Manifest::oci("newer", &["newer"]));
    let index = app.tag_folder("latest").join("index");
    let away = tree.v2().join("elsewhere");
    fs::rename(&index, &away).unwrap();
    symlink(&away, &index).unwrap();
    let run = gc(&tree, &["-m", "--registry-stopped"]);
    run.exits(0);
    assert!(run.report().actions_of("blob").contains(&blob_object(&old.digest)));
    let hex = &old.digest["sha256:".len()..];
    assert!(away.join("sha256").join(hex).join("link").exists(), "the history behind the link is as it was");
}

/// A file that somebody laid into the folder of a garbage blob is nobody's garbage. The folder goes into the trash with
/// it, and there it stays until somebody has looked; every run says so.
#[test]
fn t45_a_strangers_file_is_never_deleted() {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    let orphan = tree.orphan("control");
    fs::write(tree.data(&orphan.digest).with_file_name("notes.txt"), "mine").unwrap();
    let notes = |tree: &Tree| -> Vec<String> {
        let paths: Vec<_> = tree.fingerprint().paths().map(Path::to_owned).collect();
        let named = paths.into_iter().filter(|path| path.ends_with("notes.txt"));
        named.map(|path| fs::read_to_string(tree.root().join(path)).unwrap()).collect()
    };
    let run = gc(&tree, &["--registry-stopped"]);
    run.exits(0);
    assert!(run.report().has("warning", "notes.txt"), "{}", run.report().0["findings"]);
    assert_eq!(notes(&tree), ["mine"]);
    let again = gc(&tree, &["--registry-stopped"]);
    assert!(again.report().has("warning", "notes.txt"), "it is said again: {}", again.report().0["findings"]);
    assert_eq!(notes(&tree), ["mine"]);
    assert!(!tree.data(&orphan.digest).exists());
}

/// A bind mount of the same device is another mount all the same: no rename crosses it. `--quarantine` would put the
/// links aside and not the blobs, so it is refused before anything is touched; without it blobs go directly.
#[test]
fn t46_quarantine_across_mounts_is_refused() {
    const SCRIPT: &str =
        r#"mount --bind "$1/docker/registry/v2/blobs" "$1/docker/registry/v2/blobs"; shift; exec "$@""#;
    let tree = everything();
    let before = tree.fingerprint().files();
    let run = with_mounts(SCRIPT, &tree, &gc_arguments(&tree.root(), &["-m", "--quarantine", "--registry-stopped"]));
    run.exits(4);
    assert!(run.stderr.contains("--quarantine is impossible"), "{}", run.stderr);
    assert_eq!(before.changes_to(&tree.fingerprint().files()), Vec::<String>::new());

    let plain = everything();
    let expected = collect(&plain, &["-m"]);
    let run = with_mounts(SCRIPT, &tree, &gc_arguments(&tree.root(), &["-m", "--registry-stopped"]));
    run.exits(0);
    assert_eq!(run.report().actions(), expected.real.actions());
    assert_eq!(tree.objects(), plain.objects(), "what cannot be moved is deleted all the same");
    let left: Vec<String> = expected.real.actions_of("blob").into_iter().collect();
    for blob in left {
        assert!(!tree.data(&blob["blob ".len()..]).parent().unwrap().exists(), "{blob} left its folder behind");
    }
}

/// One shard on another mount is enough.
#[test]
fn t46_quarantine_across_the_mount_of_one_shard_is_refused() {
    let tree = everything();
    let orphan = tree.orphan("orphan one");
    let before = tree.fingerprint().files();
    let shard = tree.blob(&orphan.digest).parent().unwrap().to_owned();
    let mount = |folder: &Path| format!("mount --bind {0} {0}; shift; exec \"$@\"", folder.display());
    let quarantine = gc_arguments(&tree.root(), &["-m", "--quarantine", "--registry-stopped"]);
    let run = with_mounts(&mount(&shard), &tree, &quarantine);
    run.exits(4);
    let name = shard.file_name().unwrap().to_str().unwrap();
    assert!(run.stderr.contains(&format!("--quarantine is impossible: blobs/sha256/{name}")), "{}", run.stderr);
    assert_eq!(before.changes_to(&tree.fingerprint().files()), Vec::<String>::new());
    // Where nothing goes from the other mount, it is no obstacle.
    let app = tree.repository("team/app").image("v1");
    let live = tree.blob(&app.digest).parent().unwrap().to_owned();
    with_mounts(&mount(&live), &tree, &quarantine).exits(0);
}

/// A full volume is when people need a collector most: there is no room for a journal, and the run frees space all the
/// same, also after a run that could not.
#[test]
fn t47_a_full_volume_is_swept() {
    const SCRIPT: &str = r#"
        root=$1; shift
        mkdir "$root.copy"; cp -a "$root/." "$root.copy"
        mount -t tmpfs -o size=2m tmpfs "$root"
        cp -a "$root.copy/." "$root"
        dd if=/dev/zero of="$root/filler" bs=1k 2>/dev/null && exit 97
        "$@" --quarantine >&2 && exit 98
        "$@""#;
    let tree = everything();
    let plain = everything();
    let expected = collect(&plain, &["-m"]);
    let run = with_mounts(SCRIPT, &tree, &gc_arguments(&tree.root(), &["-m", "--registry-stopped"]));
    run.exits(0);
    assert!(run.stderr.contains("collect without --quarantine"), "{}", run.stderr);
    let report = run.report();
    assert!(report.has("warning", "the volume is full"), "{}", report.0["findings"]);
    for kind in ["blobs", "revisions", "tags", "layer_links", "uploads"] {
        assert_eq!(report.count("removed", kind), expected.real.count("removed", kind), "{kind}");
    }
}

/// GitLab's mark lies beside `v2`. A symbolic link on the way to `v2`, or `v2` itself as REGISTRY, must not hide it.
#[test]
fn t48_the_database_is_seen_past_symbolic_links() {
    let tree = everything();
    let lockfiles = tree.v2().with_file_name("lockfiles");
    fs::create_dir(&lockfiles).unwrap();
    fs::write(lockfiles.join("database-in-use"), "").unwrap();
    let elsewhere = tree.beside().join("elsewhere");
    fs::rename(tree.v2(), &elsewhere).unwrap();
    symlink(&elsewhere, tree.v2()).unwrap();
    let before = tree.fingerprint().files();
    for registry in [&tree.root(), &tree.v2()] {
        let run = finish(regsweep(&gc_arguments(registry, &["-m", "--registry-stopped"])));
        run.exits(4);
        assert!(run.stderr.contains("database-in-use"), "{}: {}", registry.display(), run.stderr);
        assert_eq!(before.changes_to(&tree.fingerprint().files()), Vec::<String>::new());
    }
}

/// ```text
/// team/app   v1 => M -> sha512:L      _layers/sha512/L/link  = "sha256:L'"      blobs/sha256/L'
///                                     _layers/sha256/L'/link = "sha256:L'"
/// ```
/// M is of an unknown kind, or an index whose entry does not say what it is: L may be a manifest, and is a layer. Found
/// by `tests/oracle/`: links were only read for what is certainly a layer, and L' went.
#[test]
fn t11_what_may_be_a_layer_that_was_pushed_by_its_sha512_name_stays() {
    let content = b"one content, two names".to_vec();
    let (by_sha256, by_sha512) = (Blob::new(content.clone()), Blob::sha512(content));
    let digest = &by_sha512.digest;
    for manifest in [
        format!(r#"{{"mediaType": "application/vnd.future.thing.v9+json", "needs": ["{digest}"]}}"#),
        format!(r#"{{"schemaVersion": 2, "manifests": [{{"digest": "{digest}"}}]}}"#),
    ] {
        for flags in [&[][..], &["--delete-untagged"]] {
            let tree = Tree::new();
            let app = tree.repository("team/app");
            app.push_tagged("v1", &Manifest::raw(manifest.clone()));
            tree.put(&by_sha256);
            app.link_layer(&by_sha256.digest);
            write(&app.layer(digest).join("link"), by_sha256.digest.as_bytes());
            let garbage = control(&tree);
            let run = collect(&tree, flags);
            run.exits(0).removes(&garbage).keeps(&[blob_object(&by_sha256.digest)]);
        }
    }
}

/// ```text
/// app   v1: current names M with one digit wrong; the history names M, and M is here
/// ```
///
/// The digest in the link is nowhere, and the history has no entry for it: so looks a tag whose image somebody has taken
/// out by hand, and such a tag goes.
#[test]
fn t55_a_single_wrong_digit_is_no_deletion_by_hand() {
    for flags in [&[][..], &["--delete-untagged"]] {
        let tree = Tree::new();
        let app = tree.repository("app");
        let image = app.image("v1");
        app.image("v2");
        app.untagged("old");
        let link = app.current("v1");
        let mut text = std::fs::read(&link).unwrap();
        text[30] = if text[30] == b'0' { b'1' } else { b'0' };
        std::fs::write(&link, text).unwrap();
        let run = collect(&tree, flags);
        run.exits(3).keeps(&app.objects_of(&image)).keeps(&[app.tag_object("v1")]);
        assert!(run.real.has("error", "the current link of app:v1 cannot be used (it names sha256:"));
    }
}

/// The blobs lie on a volume of their own, and that is not mounted: then every name is dangling, and none is to be
/// dropped.
#[test]
fn t56_names_are_not_dropped_because_the_blobs_are_not_mounted() {
    let repair = |tree: &Tree, flags: &[&str]| {
        let root = tree.root();
        let head = ["check", "--format", "json", "--repair", "--registry-stopped", root.to_str().unwrap()];
        finish(regsweep(&[&head[..], &["--drop-dangling-tags", "--drop-dangling-revisions"], flags].concat()))
    };
    let tree = Tree::new();
    let app = tree.repository("app");
    let digests: Vec<String> = (0..30).map(|n| app.image(&format!("v{n}")).digest).collect();
    let names = tree.objects();
    let blobs = tree.v2().join("blobs");
    fs::rename(&blobs, tree.beside().join("blobs")).unwrap();
    fs::create_dir(&blobs).unwrap();
    let run = repair(&tree, &[]);
    run.exits(4);
    assert!(run.stderr.contains("Is the whole volume mounted?"), "{}", run.stderr);
    repair(&tree, &["--dry-run"]).exits(4);
    // Or half of them are not.
    fs::remove_dir(&blobs).unwrap();
    fs::rename(tree.beside().join("blobs"), &blobs).unwrap();
    digests[..20].iter().for_each(|digest| tree.remove(&tree.blob(digest)));
    let run = repair(&tree, &[]);
    run.exits(3);
    assert!(run.report().has("error", "is the whole volume mounted?"), "{:#?}", run.report().findings());
    let left = tree.objects();
    assert!(names.iter().filter(|name| name.starts_with("app ")).all(|name| left.contains(name)));
    // Who says that so many may go, means it.
    let run = repair(&tree, &["--max-delete", "90"]);
    run.exits(0);
    assert_eq!((run.report().count("removed", "tags"), run.report().count("removed", "revisions")), (20, 20));
}
