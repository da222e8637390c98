//! How collectors lose images, each a test: the scenarios of the traps list, named by their numbers.
//!
//! Every scenario runs through [`support::collect`]: a dry run, the real run, a second run, and the witnesses of
//! [`support::tree`], which ask before and after what a client can get. A scenario adds what must go and what must
//! stay. Pictures show what refers to what: `->` is a reference, `=>` a tag, `~>` a subject, `(x)` something broken or
//! missing.

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use support::tree::{Blob, Manifest, Repository, Tree, blob_object, sha256, write};
use support::{
    Report, Run, bound_by_permissions, collect, finish, gc, gc_arguments, refuses, regsweep,
    regsweep_bound_by_permissions,
};

const HOUR: Duration = Duration::from_secs(3600);

/// Garbage that every run finds: a run that does nothing at all must not pass for a careful one.
fn control(tree: &Tree) -> Vec<String> {
    let orphan = tree.orphan("control");
    vec![blob_object(&orphan.digest)]
}

fn and(mut objects: Vec<String>, more: impl IntoIterator<Item = String>) -> Vec<String> {
    objects.extend(more);
    objects
}

/// Layer links and blobs of an image.
fn blobs_and_links(repository: &Repository<'_>, image: &Manifest) -> Vec<String> {
    let digests = image.blob_digests();
    digests.iter().flat_map(|digest| [blob_object(digest), repository.layer_object(digest)]).collect()
}

// ============================================================================================== roots: T02, T03, T07-T12

#[test]
fn t02_no_repositories_folder_beside_blobs_is_refused() {
    let tree = Tree::new();
    tree.orphan("somebody's layer");
    fs::remove_dir(tree.repositories()).unwrap();
    assert!(refuses(&tree, &[]).says("repositories"), "it says what is missing");
    refuses(&tree, &["--delete-untagged"]);
}

#[test]
fn t02_an_empty_repositories_folder_beside_blobs_is_refused() {
    let tree = Tree::new();
    tree.orphan("somebody's layer");
    refuses(&tree, &[]);
    // A volume that is not mounted yet, with folders but no repository in them, is as empty.
    fs::create_dir_all(tree.repositories().join("team/app")).unwrap();
    refuses(&tree, &[]);
    refuses(&tree, &["--delete-untagged"]);
}

#[test]
fn t02_a_dry_run_over_no_repositories_does_not_call_every_blob_garbage_in_silence() {
    let tree = Tree::new();
    tree.orphan("somebody's layer");
    let before = tree.fingerprint();
    let run = gc(&tree, &["--dry-run"]);
    assert!([0, 4].contains(&run.code), "exit {}", run.code);
    let report = run.report();
    assert!(run.code == 4 || report.has("error", "repositor") || report.has("warning", "repositor"), "{}", report.0);
    assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
}

/// An empty registry is a registry: nothing to do, nothing wrong.
#[test]
fn t02_no_repositories_and_no_blobs_is_fine() {
    let tree = Tree::new();
    collect(&tree, &[]).exits(0).removes(&[]);
}

/// ```text
/// manifests-only   v1 => M (x) no _layers          its manifest lives
/// layers-only      _layers/{L}                     a push that never finished: link and blob go
/// uploads-only     _uploads/{fresh}                stays
/// ```
#[test]
fn t03_repositories_with_only_one_of_the_three_folders() {
    let tree = Tree::new();
    let image = Manifest::docker("manifests only", &["m1"]);
    let manifests_only = tree.repository("manifests-only");
    manifests_only.push_tagged("v1", &image);
    tree.remove(&manifests_only.folder().join("_layers"));
    let layers_only = tree.repository("layers-only");
    let stray = layers_only.stray_layer("never finished");
    let uploads_only = tree.repository("uploads-only");
    uploads_only.upload("fresh", HOUR);

    let run = collect(&tree, &["--delete-untagged"]);
    run.exits(0).removes(&[blob_object(&stray.digest), layers_only.layer_object(&stray.digest)]);
    // The blobs of the first repository are referenced, whether or not the repository may serve them.
    run.keeps(&image.blob_digests().iter().map(|digest| blob_object(digest)).collect::<Vec<_>>());
    run.keeps(&[uploads_only.upload_object("fresh")]);
    assert_eq!(run.real.0["scanned"]["repositories"], 3);
}

#[test]
fn t03_nested_repositories_five_levels_deep_are_all_read() {
    let tree = Tree::new();
    // Names that a path parser could take for something else are names too.
    let names = ["a", "a/b", "a/b/c", "x/y/z/deep/five", "sha256/link", "tags/current", "blobs/data", "UPPER/Case"];
    for name in &names {
        tree.repository(name).image_with_layers("v1", &[name]);
    }
    let run = collect(&tree, &["--delete-untagged"]);
    run.exits(0).removes(&[]);
    assert_eq!(run.real.0["scanned"]["repositories"], names.len());
    assert_eq!(run.real.0["scanned"]["tags"], names.len());
}

#[test]
fn t03_unknown_folders_that_begin_with_an_underscore_are_reported_and_kept() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    write(&app.folder().join("_foo/inside"), b"?");
    write(&app.folder().join("_manifests/_bar/inside"), b"?");
    write(&tree.repositories().join("_catalog/inside"), b"?");
    let run = collect(&tree, &["-m"]);
    run.exits(0).removes(&[]).without_complaint();
    for name in ["_foo", "_bar", "_catalog"] {
        assert!(run.real.has("info", name), "a finding names {name}: {}", run.real.0["findings"]);
    }
    assert!(app.folder().join("_foo/inside").exists());
    assert!(app.folder().join("_manifests/_bar/inside").exists());
    assert!(tree.repositories().join("_catalog/inside").exists());
}

/// A way to break a file.
type BreakFile = fn(&Tree, &Path);

/// A way to break the manifest behind a tag.
type Breakage = (&'static str, fn(&Tree, &Manifest));

const BREAKAGES: &[Breakage] = &[
    ("empty", |tree, manifest| tree.truncate(&tree.data(&manifest.digest), 0)),
    ("truncated", |tree, manifest| tree.truncate(&tree.data(&manifest.digest), 200)),
    ("bit-flipped", |tree, manifest| tree.flip(&tree.data(&manifest.digest))),
    ("not JSON", |tree, manifest| tree.replace(&tree.data(&manifest.digest), b"\x1f\x8b no manifest at all")),
    ("100 MB", |tree, manifest| tree.grow(&tree.data(&manifest.digest), 100 << 20)),
    ("another manifest's bytes", |tree, manifest| {
        tree.replace(&tree.data(&manifest.digest), &Manifest::docker("some other image", &["other"]).bytes);
    }),
    ("an empty JSON object", |tree, manifest| tree.replace(&tree.data(&manifest.digest), b"{}")),
    ("missing data", |tree, manifest| tree.remove(&tree.data(&manifest.digest))),
    ("missing folder", |tree, manifest| tree.remove(&tree.blob(&manifest.digest))),
    ("a folder", |tree, manifest| {
        tree.remove(&tree.data(&manifest.digest));
        fs::create_dir(tree.data(&manifest.digest)).unwrap();
    }),
    ("unreadable", |tree, manifest| {
        // Mended by nobody: the folder stays as it is.
        let _left_broken = tree.unreadable(&tree.data(&manifest.digest));
    }),
];

/// ```text
/// team/app    v1 => M (x) -> config, base, L1        M broken in some way
///                   old -> config', Lold             untagged
///                   stray                            a layer link that nothing names: M may have named it
/// team/other        gone -> ...                      untagged, goes with -m
///             orphan                                 goes
/// ```
fn t07(flags: &[&str]) {
    for (what, break_it) in BREAKAGES {
        println!("the manifest is {what}");
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image("v1");
        let old = app.untagged("old");
        let stray = app.stray_layer("stray");
        let other = tree.repository("team/other");
        other.image("v1");
        let gone = other.untagged("gone");
        let garbage = control(&tree);
        break_it(&tree, &v1);

        let run = collect(&tree, flags);
        run.exits(3);
        let untagged_goes = !flags.is_empty();
        run.removes(&if untagged_goes { and(garbage, other.objects_of(&gone)) } else { garbage });
        run.keeps(&blobs_and_links(&app, &v1));
        run.keeps(&app.objects_of(&old));
        run.keeps(&[blob_object(&stray.digest), app.layer_object(&stray.digest)]);
        run.keeps(&[app.tag_object("v1"), app.revision_object(&v1.digest)]);
        assert_eq!(run.real.tainted(), BTreeSet::from(["team/app"]), "{what}");
        assert!(run.real.has("error", "team/app"), "{what}: {}", run.real.0["findings"]);
    }
}

#[test]
fn t07_a_damaged_manifest_behind_a_tag_keeps_its_repository() {
    t07(&[]);
}

#[test]
fn t07_a_damaged_manifest_behind_a_tag_keeps_its_repository_with_delete_untagged() {
    t07(&["--delete-untagged"]);
}

/// The digest is right and the content is still no manifest: pushed by something odd, or a file system that lost data
/// before it was hashed.
#[test]
fn t07_a_manifest_that_is_not_json_under_its_right_digest_taints_too() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.push_tagged("v1", &Manifest::raw(*b"not JSON"));
    let stray = app.stray_layer("perhaps its layer");
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.exits(3).removes(&garbage).keeps(&[app.layer_object(&stray.digest), blob_object(&stray.digest)]);
}

/// Truncation that leaves valid JSON: the layers are gone from it and it parses. Only the digest tells.
#[test]
fn t07_valid_json_with_fewer_layers_is_not_believed() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image_with_layers("v1", &["one", "two", "three"]);
    let shorter = Manifest::docker("team/app v1", &["one"]);
    tree.replace(&tree.data(&v1.digest), &shorter.bytes);
    let garbage = control(&tree);
    collect(&tree, &["-m"]).exits(3).removes(&garbage).keeps(&blobs_and_links(&app, &v1));
}

/// ```text
/// team/app   v1 => INDEX -> C (x) -> config, L       C broken: what it needs is linked here
/// ```
#[test]
fn t07_a_damaged_child_of_a_tagged_index_taints_as_the_index_would() {
    for (what, break_it) in BREAKAGES.iter().filter(|(what, _)| !what.starts_with("missing")) {
        println!("the child is {what}");
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let child = Manifest::docker("child", &["child"]);
        app.push(&child);
        app.index("v1", &[&child]);
        let garbage = control(&tree);
        break_it(&tree, &child);
        let run = collect(&tree, &["-m"]);
        run.exits(3).removes(&garbage).keeps(&blobs_and_links(&app, &child));
    }
}

/// In default mode an untagged manifest is a root, so its damage keeps what it may need.
#[test]
fn t07_a_damaged_untagged_manifest_taints_while_it_is_a_root() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    let garbage = control(&tree);
    tree.flip(&tree.data(&old.digest));
    let run = collect(&tree, &[]);
    run.exits(3).removes(&garbage).keeps(&app.objects_of(&old));
}

/// An untagged revision whose manifest is missing names nothing that could be kept, and does not taint.
#[test]
fn t07_an_untagged_revision_without_its_manifest_does_not_taint() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    tree.remove(&tree.blob(&old.digest));
    let garbage = and(control(&tree), blobs_and_links(&app, &old));
    let run = collect(&tree, &[]);
    assert_eq!(run.real.tainted(), BTreeSet::new());
    for object in garbage {
        assert!(!run.left.contains(&object), "kept: {}", tree.explain(&object));
    }
    assert!(run.real.has_finding(&old.digest[7..]), "the dangling revision is reported: {}", run.real.0["findings"]);
}

/// Both name orders of
/// ```text
/// A   v1 => INDEX -> C                 A lacks C: the index is sparse
/// B   v1 => INDEX' -> C -> config, L   B has C, untagged
/// ```
/// A collector that marks "seen" by digest when it meets C in A, and expands only what the repository links, never
/// expands C in B; C's config and layers are swept from a tagged image.
#[test]
fn t08_sparse_index_child_lives_in_both_name_orders() {
    for [sparse, full] in [["a-sparse", "b-full"], ["b-sparse", "a-full"]] {
        for same_index in [false, true] {
            for flags in [&[][..], &["--delete-untagged"]] {
                println!("{sparse} is sparse, {full} has the child, same index: {same_index}, {flags:?}");
                let tree = Tree::new();
                let (sparse, full) = (tree.repository(sparse), tree.repository(full));
                let child = Manifest::docker("child", &["child layer", "base"]);
                let sibling = Manifest::docker("sibling", &["sibling layer"]);
                full.push(&child);
                let words = |own: &str| if same_index { "the same index".to_owned() } else { own.to_owned() };
                sparse.push(&sibling);
                sparse.push_tagged("v1", &Manifest::index(&words("in the sparse one"), &[&sibling, &child]));
                full.push(&sibling);
                full.push_tagged("v1", &Manifest::index(&words("in the full one"), &[&sibling, &child]));
                let garbage = control(&tree);
                let run = collect(&tree, flags);
                run.exits(0).removes(&garbage).keeps(&full.objects_of(&child)).keeps(&full.objects_of(&sibling));
            }
        }
    }
}

/// The sparse index alone does not need C in B to be tagged: it lives for B's index only. Where B has no index, C goes
/// from B with `--delete-untagged`, but what A's tagged index can still name stays in the blob store.
#[test]
fn t08_a_sparse_child_is_untagged_where_nothing_local_names_it() {
    for [sparse, full] in [["a-sparse", "b-full"], ["b-sparse", "a-full"]] {
        let tree = Tree::new();
        let (sparse, full) = (tree.repository(sparse), tree.repository(full));
        let child = Manifest::docker("child", &["child layer"]);
        full.push(&child);
        full.image("v1");
        sparse.index("v1", &[&child]);
        let run = collect(&tree, &["-m"]);
        run.exits(0);
        run.because(&full.revision_object(&child.digest), &["untagged"]);
        // The blobs are referenced by a live index, whoever may serve them.
        run.keeps(&[blob_object(&child.digest)]);
        run.keeps(&child.blob_digests().iter().map(|digest| blob_object(digest)).collect::<Vec<_>>());
        assert_eq!(run.real.garbage_blobs(), BTreeSet::new());
    }
}

/// ```text
/// team/app   cache => INDEX -> L1, L2 (3 GB), cacheconfig      entries that are blobs, not manifests
/// ```
/// Reading L2 as a manifest takes minutes or memory, or taints the repository as damaged.
#[test]
fn t09_index_entries_that_are_layers_are_not_read_as_manifests() {
    for flags in [&[][..], &["--delete-untagged"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let small = app.stray_layer("cache layer");
        let large = app.stray_layer("the large one");
        tree.grow(&tree.data(&large.digest), 3 << 30);
        let config = app.stray_layer("cache config");
        let stray = app.stray_layer("no cache names it");
        let size = |blob: &Blob| blob.bytes.len() as u64;
        let cache = Manifest::buildkit_cache(&[
            (&small.digest, size(&small)),
            (&large.digest, 3 << 30),
            (&config.digest, size(&config)),
        ]);
        app.push_tagged("cache", &cache);
        let began = std::time::Instant::now();
        let run = collect(&tree, flags);
        assert!(began.elapsed() < Duration::from_secs(20), "the large layer was read: {:?}", began.elapsed());
        run.exits(0).without_complaint().removes(&[blob_object(&stray.digest), app.layer_object(&stray.digest)]);
        assert_eq!(run.real.tainted(), BTreeSet::new());
    }
}

/// One image of every kind, each tagged in its own repository: nothing of it goes.
#[test]
fn t10_every_kind_of_manifest_keeps_what_it_names() {
    let kinds: Vec<(&str, Manifest)> = vec![
        ("schema2", Manifest::docker("schema2", &["s2 a", "s2 b"])),
        ("oci", Manifest::oci("oci", &["oci a", "oci b"])),
        ("untyped", Manifest::untyped("untyped", &["untyped a", "untyped b"])),
        ("schema1", Manifest::schema1("schema1", &["s1 a", "s1 b"])),
        ("artifact", Manifest::artifact("artifact", &["art a", "art b"])),
        ("unknown", Manifest::unknown("unknown", &["unk a", "unk b", "unk c"])),
    ];
    for flags in [&[][..], &["--delete-untagged"]] {
        let tree = Tree::new();
        for (name, manifest) in &kinds {
            tree.repository(name).push_tagged("v1", manifest);
        }
        let garbage = control(&tree);
        let run = collect(&tree, flags);
        run.exits(0).removes(&garbage);
        for (name, manifest) in &kinds {
            run.keeps(&tree.repository(name).objects_of(manifest));
        }
        assert_eq!(run.real.tainted(), BTreeSet::new());
    }
}

/// Every kind as an untagged manifest goes, whole, with `--delete-untagged`: none is kept for want of understanding.
#[test]
fn t10_every_kind_of_untagged_manifest_goes_with_delete_untagged() {
    for manifest in [
        Manifest::docker("x", &["a", "b"]),
        Manifest::oci("x", &["a", "b"]),
        Manifest::untyped("x", &["a", "b"]),
        Manifest::schema1("x", &["a", "b"]),
        Manifest::artifact("x", &["a", "b"]),
        Manifest::unknown("x", &["a", "b", "c"]),
    ] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        app.push(&manifest);
        collect(&tree, &[]).exits(0).removes(&[]);
        let run = collect(&tree, &["-m"]);
        run.exits(0).removes(&app.objects_of(&manifest));
        run.because(&app.revision_object(&manifest.digest), &["untagged"]);
    }
}

/// Every kind of index over children of every kind.
#[test]
fn t10_every_kind_of_index_keeps_its_children() {
    let children = [
        Manifest::docker("child docker", &["c1"]),
        Manifest::untyped("child untyped", &["c2"]),
        Manifest::oci("child oci", &["c3"]),
    ];
    let children: Vec<&Manifest> = children.iter().collect();
    for index in [
        Manifest::index("oci index", &children),
        Manifest::list("docker list", &children),
        Manifest::untyped_index("untyped index", &children),
    ] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        children.iter().for_each(|child| app.push(child));
        app.push_tagged("v1", &index);
        let run = collect(&tree, &["-m"]);
        run.exits(0).removes(&[]);
        children.iter().for_each(|child| _ = run.keeps(&app.objects_of(child)));
    }
}

/// ```text
/// team/app   v1 => M1 -> L1      revisions/M1/signatures/S1 -> blob S1     lives with M1
///                  M2 -> L2      revisions/M2/signatures/S2 -> blob S2     goes with M2
/// ```
#[test]
fn t10_schema_1_signatures_live_and_go_with_their_revision() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let (kept, gone) = (Manifest::schema1("one", &["s1 one"]), Manifest::schema1("two", &["s1 two"]));
    app.push_tagged("v1", &kept);
    app.push(&gone);
    let signature = |manifest: &Manifest, words: &str| {
        let blob = tree.orphan(words);
        let (algorithm, hex) = support::tree::halves(&blob.digest);
        let link = app.revision(&manifest.digest).join("signatures").join(algorithm).join(hex).join("link");
        write(&link, blob.digest.as_bytes());
        blob_object(&blob.digest)
    };
    let kept_signature = signature(&kept, "signature one");
    let gone_signature = signature(&gone, "signature two");
    collect(&tree, &[]).exits(0).removes(&[]);
    let run = collect(&tree, &["--delete-untagged"]);
    run.exits(0).removes(&and(app.objects_of(&gone), [gone_signature])).keeps(&[kept_signature]);
}

/// ```text
/// team/app   v1 => M (sha256) -> config, L (sha512)
///            v2 => M' (sha512) -> config', L'
/// ```
#[test]
fn t11_sha512_manifests_and_layers_live_and_go_like_others() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let mixed = Manifest::docker_of("mixed", &[Blob::sha512(b"a layer by sha512".to_vec()), Blob::layer("base")]);
    app.push_tagged("v1", &mixed);
    let whole = Manifest::oci("all by sha512", &["its layer"]).named_by_sha512();
    app.push_tagged("v2", &whole);
    let gone = Manifest::docker_of("gone", &[Blob::sha512(b"gone by sha512".to_vec())]).named_by_sha512();
    app.push(&gone);
    let orphan = Blob::sha512(b"orphan by sha512".to_vec());
    tree.put(&orphan);

    let run = collect(&tree, &["-m"]);
    run.exits(0).removes(&and(app.objects_of(&gone), [blob_object(&orphan.digest)]));
    run.keeps(&app.objects_of(&mixed)).keeps(&app.objects_of(&whole));
}

/// Pushed by its sha512 name, kept by its sha256 name, as distribution 2.8 does:
/// ```text
/// team/app   v1 => M -> sha512:L      _layers/sha512/L/link  = "sha256:L'"      blobs/sha256/L'
///                                     _layers/sha256/L'/link = "sha256:L'"
/// ```
/// Only the link's content knows that the two are one. A collector that goes by the links' paths sweeps the layer, or
/// the sha256 link, without which 2.8 answers 500 to whoever pulls the sha512 name.
#[test]
fn t11_a_layer_that_was_pushed_by_its_sha512_name_stays() {
    for flags in [&[][..], &["--delete-untagged"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let content = b"one content, two names".to_vec();
        let (by_sha256, by_sha512) = (Blob::new(content.clone()), Blob::sha512(content));
        let mut image = Manifest::docker_of("two names", std::slice::from_ref(&by_sha512));
        image.blobs.retain(|blob| blob.digest != by_sha512.digest);
        app.push_tagged("v1", &image);
        tree.put(&by_sha256);
        app.link_layer(&by_sha256.digest);
        write(&app.layer(&by_sha512.digest).join("link"), by_sha256.digest.as_bytes());
        assert_eq!(tree.deliverable(false).len(), 3, "manifest, config and layer can be pulled");
        let garbage = control(&tree);
        let run = collect(&tree, flags);
        run.exits(0).removes(&garbage).keeps(&[blob_object(&by_sha256.digest)]);
        run.keeps(&[app.layer_object(&by_sha512.digest), app.layer_object(&by_sha256.digest)]);
    }
}

/// The same content that no manifest names goes, with both its links.
#[test]
fn t11_a_stray_layer_that_was_pushed_by_its_sha512_name_goes() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let content = b"one content, two names, no manifest".to_vec();
    let (by_sha256, by_sha512) = (Blob::new(content.clone()), Blob::sha512(content));
    tree.put(&by_sha256);
    app.link_layer(&by_sha256.digest);
    write(&app.layer(&by_sha512.digest).join("link"), by_sha256.digest.as_bytes());
    let links = [app.layer_object(&by_sha512.digest), app.layer_object(&by_sha256.digest)];
    collect(&tree, &[]).exits(0).removes(&and(links.to_vec(), [blob_object(&by_sha256.digest)]));
}

/// The same for a manifest that was pushed by its sha512 name: the revision link points at the sha256 name.
#[test]
fn t11_a_revision_link_that_points_at_the_sha256_name_keeps_it() {
    for flags in [&[][..], &["--delete-untagged"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let image = Manifest::oci("two names", &["its layer"]);
        let name = support::tree::sha512(&image.bytes);
        app.push(&image);
        tree.remove(&app.revision(&image.digest));
        write(&app.revision(&name).join("link"), image.digest.as_bytes());
        write(&app.history("v1", &name).join("link"), name.as_bytes());
        write(&app.current("v1"), name.as_bytes());
        let garbage = control(&tree);
        let run = collect(&tree, flags);
        run.removes(&garbage).keeps(&[blob_object(&image.digest), app.revision_object(&name)]);
        run.keeps(&blobs_and_links(&app, &image));
    }
}

/// A link whose content differs from its path, both sha256: one of the two is a bad disk's or a careless hand's work,
/// and nothing says which. Both live.
#[test]
fn t11_a_mismatched_revision_link_keeps_both_digests() {
    for flags in [&[][..], &["--delete-untagged"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image("v1");
        let other = app.untagged("other");
        tree.remove(&app.revision(&other.digest));
        tree.replace(&app.revision(&v1.digest).join("link"), other.digest.as_bytes());
        let garbage = control(&tree);
        let run = collect(&tree, flags);
        run.removes(&garbage).keeps(&app.objects_of(&v1)).keeps(&[blob_object(&other.digest)]);
        run.keeps(&blobs_and_links(&app, &other));
        assert!(run.real.has_finding("team/app"), "{}", run.real.0["findings"]);
    }
}

/// A layer link below `sha256` that names another sha256 digest is damage that no registry writes. The registry would
/// serve the other blob's bytes under the name of the first, and every client refuses those; what the image needs is
/// the blob that the path names. Reading every layer link to keep the other one as well would double the time of a
/// scan, so that is not done: the blob of the path stays, the other one stands on its own.
#[test]
fn t11_a_mismatched_layer_link_keeps_the_blob_of_its_path() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image_with_layers("v1", &["own"]);
    let other = tree.orphan("where the link points");
    tree.replace(&app.layer(&Blob::layer("own").digest).join("link"), other.digest.as_bytes());
    let run = collect(&tree, &["-m"]);
    run.removes(&[blob_object(&other.digest)]).keeps(&app.objects_of(&v1));
}

/// Where the blob of the path is gone, the link is all that is left, and what it names may be the content.
#[test]
fn t11_a_mismatched_layer_link_without_the_blob_of_its_path_keeps_its_target() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image_with_layers("v1", &["own"]);
    let other = tree.orphan("where the link points");
    let own = Blob::layer("own").digest;
    tree.replace(&app.layer(&own).join("link"), other.digest.as_bytes());
    tree.remove(tree.data(&own).parent().unwrap());
    collect(&tree, &["-m"]).keeps(&[blob_object(&other.digest)]);
}

/// ```text
/// a   old -> base, own        untagged
/// b   v1 => M -> base         tagged
/// ```
#[test]
fn t12_a_blob_shared_with_another_repositorys_tagged_image_stays() {
    for [one, two] in [["a", "b"], ["b", "a"]] {
        let tree = Tree::new();
        let (one, two) = (tree.repository(one), tree.repository(two));
        let old = one.untagged_with_layers("old", &["base", "own"]);
        one.image_with_layers("keep", &["keep"]);
        let v1 = two.image_with_layers("v1", &["base"]);
        collect(&tree, &[]).exits(0).removes(&[]);

        let base = Blob::layer("base").digest;
        let run = collect(&tree, &["--delete-untagged"]);
        let mut gone = one.objects_of(&old);
        gone.retain(|object| *object != blob_object(&base));
        run.exits(0).removes(&gone).keeps(&two.objects_of(&v1));
        // The dead link is dead in its repository only.
        assert!(!run.left.contains(&one.layer_object(&base)) && run.left.contains(&two.layer_object(&base)));
    }
}

/// One image, the very same digest, untagged in one repository and tagged in the other.
#[test]
fn t12_a_manifest_that_is_tagged_elsewhere_goes_only_where_it_is_untagged() {
    for [one, two] in [["a", "b"], ["b", "a"]] {
        let tree = Tree::new();
        let (one, two) = (tree.repository(one), tree.repository(two));
        one.image("keep");
        let image = Manifest::docker("shared", &["shared layer"]);
        one.push(&image);
        two.push_tagged("v1", &image);
        let run = collect(&tree, &["-m"]);
        let mut gone = one.objects_of(&image);
        gone.retain(|object| !object.starts_with("blob "));
        run.exits(0).removes(&gone).keeps(&two.objects_of(&image));
    }
}

// =================================================================================== names: T13-T15, T38, T40, T41

/// `team` is only a way to `team/app`.
#[test]
fn t13_a_namespace_is_not_an_empty_repository() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let garbage = control(&tree);
    let run = collect(&tree, &["--remove-empty-repositories"]);
    run.exits(0).removes(&garbage).keeps(&app.objects_of(&v1)).keeps(&["team/app"]);
    assert_eq!(run.real.0["scanned"]["repositories"], 1);
}

/// ```text
/// team       _manifests, _layers, nothing in them       a repository, and empty
/// team/app   v1 => M                                    lives, whatever becomes of its parent
/// idle       _uploads/fresh                             not empty: somebody is pushing
/// done                                                  empty: goes, with the option only
/// ```
#[test]
fn t13_an_empty_parent_does_not_take_its_child_along() {
    let make = || {
        let tree = Tree::new();
        for name in ["team", "done"] {
            fs::create_dir_all(tree.repository(name).folder().join("_manifests/revisions")).unwrap();
            fs::create_dir_all(tree.repository(name).folder().join("_layers/sha256")).unwrap();
        }
        tree.repository("team/app").image("v1");
        tree.repository("idle").upload("fresh", HOUR);
        tree
    };
    let tree = make();
    collect(&tree, &["-m"]).exits(0).removes(&[]).keeps(&["team", "team/app", "done", "idle"]);

    let tree = make();
    let (app, idle) = (tree.repository("team/app"), tree.repository("idle"));
    let run = collect(&tree, &["-m", "--remove-empty-repositories"]);
    run.exits(0).keeps(&["team/app", "idle"]).keeps(&[app.tag_object("v1"), idle.upload_object("fresh")]);
    run.because("done", &["empty"]);
    assert!(!tree.repository("done").folder().exists());
    let actions = run.real.actions();
    let rest: Vec<_> = actions.iter().filter(|action| !["team", "done"].contains(&&*action.object)).collect();
    assert!(rest.is_empty(), "{rest:?}");
}

/// A repository that this very run empties is empty: the next run must not find it.
#[test]
fn t13_a_repository_that_the_run_empties_goes_in_the_same_run() {
    let tree = Tree::new();
    tree.repository("keep").image("v1");
    let app = tree.repository("team/app");
    app.untagged("old");
    app.upload("stale", 400 * HOUR);
    let run = collect(&tree, &["-m", "--remove-empty-repositories"]);
    run.exits(0).because("team/app", &["empty"]);
    assert!(!app.folder().exists());
    assert!(tree.repository("keep").folder().exists());
}

/// ```text
/// team/app   v1 => INDEX -> amd64, arm64       the children are untagged, and are the image
///                  loose                       untagged: goes with -m
/// ```
#[test]
fn t14_the_children_of_a_tagged_index_are_not_untagged() {
    for index_of in [Manifest::index, Manifest::list] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let (amd64, arm64) = (Manifest::docker("amd64", &["amd64"]), Manifest::docker("arm64", &["arm64"]));
        app.push(&amd64);
        app.push(&arm64);
        app.push_tagged("v1", &index_of("multi", &[&amd64, &arm64]));
        let loose = app.untagged("loose");
        collect(&tree, &[]).exits(0).removes(&[]);
        collect(&tree, &["--delete-untagged"]).exits(0).removes(&app.objects_of(&loose));
    }
}

/// ```text
/// team/app   v1 => OUTER -> INNER -> child -> config, L
/// ```
#[test]
fn t14_an_index_inside_an_index() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let child = Manifest::docker("child", &["child"]);
    app.push(&child);
    let inner = Manifest::index("inner", &[&child]);
    app.push(&inner);
    app.index("v1", &[&inner]);
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.exits(0).removes(&garbage).keeps(&app.objects_of(&child)).keeps(&app.objects_of(&inner));
}

/// ```text
/// team/app   v1 => INDEX -> amd64, attestation (unknown/unknown) -> in-toto layer
/// ```
#[test]
fn t14_an_attestation_child_keeps_its_statement() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let amd64 = Manifest::oci("amd64", &["amd64"]);
    let attestation = Manifest::oci("attestation", &["in-toto statement"]);
    app.push(&amd64);
    app.push(&attestation);
    let mut index: serde_json::Value =
        serde_json::from_slice(&Manifest::index("multi", &[&amd64, &attestation]).bytes).unwrap();
    index["manifests"][1]["platform"] = serde_json::json!({"architecture": "unknown", "os": "unknown"});
    index["manifests"][1]["annotations"] = serde_json::json!({
        "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": amd64.digest,
    });
    app.push_tagged("v1", &Manifest::raw(index.to_string()));
    let garbage = control(&tree);
    collect(&tree, &["-m"]).exits(0).removes(&garbage).keeps(&app.objects_of(&attestation));
}

/// ```text
/// team/app   v1-amd64 => amd64
///            v1 => INDEX (deleted) -> amd64, arm64
/// ```
#[test]
fn t14_a_child_that_is_tagged_elsewhere_outlives_its_index() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let (amd64, arm64) = (Manifest::docker("amd64", &["amd64"]), Manifest::docker("arm64", &["arm64"]));
    app.push_tagged("v1-amd64", &amd64);
    app.push(&arm64);
    let index = app.index("v1", &[&amd64, &arm64]);
    app.delete_by_api(&index);
    let run = collect(&tree, &["-m"]);
    run.exits(0).removes(&and(app.objects_of(&index), app.objects_of(&arm64))).keeps(&app.objects_of(&amd64));
    run.because(&app.revision_object(&arm64.digest), &["untagged"]);
}

/// ```text
/// team/app   v1 => INDEX1 -> both, one
///            v2 => INDEX2 (deleted) -> both, two
/// ```
#[test]
fn t14_a_child_of_two_indexes_outlives_one_of_them() {
    for deleted_first in [false, true] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let [both, one, two] = ["both", "one", "two"].map(|words| Manifest::docker(words, &[words]));
        [&both, &one, &two].iter().for_each(|child| app.push(child));
        let names = if deleted_first { ["v2", "v1"] } else { ["v1", "v2"] };
        let kept = app.index(names[0], &[&both, &one]);
        let gone = app.index(names[1], &[&both, &two]);
        app.delete_by_api(&gone);
        let run = collect(&tree, &["-m"]);
        run.exits(0).removes(&and(app.objects_of(&gone), app.objects_of(&two)));
        run.keeps(&app.objects_of(&kept)).keeps(&app.objects_of(&both)).keeps(&app.objects_of(&one));
    }
}

/// ```text
/// team/app   v1 => INDEX -> amd64, arm64 (x)       arm64 was never pushed: legal, a sparse index
/// ```
#[test]
fn t14_a_tagged_index_with_a_missing_child_is_legal() {
    for flags in [&[][..], &["--delete-untagged"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let (amd64, arm64) = (Manifest::docker("amd64", &["amd64"]), Manifest::docker("arm64", &["arm64"]));
        app.push(&amd64);
        app.index("v1", &[&amd64, &arm64]);
        let stray = app.stray_layer("stray");
        let run = collect(&tree, flags);
        run.exits(0).removes(&[blob_object(&stray.digest), app.layer_object(&stray.digest)]);
        run.keeps(&app.objects_of(&amd64));
        assert_eq!(run.real.tainted(), BTreeSet::new(), "a missing child taints nothing");
        assert!(run.real.findings().iter().all(|finding| finding["severity"] != "error"));
    }
}

/// An untagged index goes with `--delete-untagged`, and its children with it; without, all of it stays.
#[test]
fn t14_an_untagged_index_goes_with_its_children() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let child = Manifest::docker("child", &["child"]);
    app.push(&child);
    let index = Manifest::index("loose", &[&child]);
    app.push(&index);
    collect(&tree, &[]).exits(0).removes(&[]);
    collect(&tree, &["-m"]).exits(0).removes(&and(app.objects_of(&index), app.objects_of(&child)));
}

/// A tag that is pushed again leaves its old digest in the tag's index: history, not a tag.
#[test]
fn t14_an_index_that_was_pushed_again_loses_its_old_children_only() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let [same, old, new] = ["same", "old", "new"].map(|words| Manifest::docker(words, &[words, "base"]));
    [&same, &old, &new].iter().for_each(|child| app.push(child));
    let first = Manifest::index("first", &[&same, &old]);
    app.push_tagged("v1", &first);
    let second = Manifest::index("second", &[&same, &new]);
    app.push_tagged("v1", &second);
    collect(&tree, &[]).exits(0).removes(&[]).keeps(&[app.history_object("v1", &first.digest)]);

    let run = collect(&tree, &["-m"]);
    let mut gone = and(app.objects_of(&first), app.objects_of(&old));
    let base = Blob::layer("base").digest;
    gone.retain(|object| *object != blob_object(&base) && *object != app.layer_object(&base));
    run.exits(0).removes(&and(gone, [app.history_object("v1", &first.digest)]));
    run.keeps(&app.objects_of(&second)).keeps(&app.objects_of(&same)).keeps(&app.objects_of(&new));
    run.keeps(&[app.tag_object("v1"), app.history_object("v1", &second.digest)]);
}

/// ```text
/// team/app   v1 => M      latest => M        `latest` is removed as 3.x does it: its folder, nothing else
/// ```
#[test]
fn t15_removing_one_tag_leaves_its_sibling_alone() {
    for removed in ["v1", "latest"] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let image = app.image("v1");
        app.tag("latest", &image);
        tree.remove(&app.tag_folder(removed));
        let left = if removed == "v1" { "latest" } else { "v1" };
        let garbage = control(&tree);
        let run = collect(&tree, &["--delete-untagged"]);
        run.exits(0).removes(&garbage).keeps(&app.objects_of(&image)).keeps(&[app.tag_object(left)]);
    }
}

/// ```text
/// team/app   v1 (no index entry) => M <= latest      the revision link is there: both tags can be pulled
/// ```
/// The missing index entry alone says nothing.
#[test]
fn t15_a_tag_without_its_index_entry_is_still_a_tag_while_its_revision_is_there() {
    for with_sibling in [false, true] {
        for flags in [&[][..], &["-m"]] {
            let tree = Tree::new();
            let app = tree.repository("team/app");
            let image = app.image("v1");
            if with_sibling {
                app.tag("latest", &image);
            }
            tree.remove(&app.tag_folder("v1").join("index"));
            let garbage = control(&tree);
            let run = collect(&tree, flags);
            run.removes(&garbage).keeps(&app.objects_of(&image)).keeps(&[app.tag_object("v1")]);
        }
    }
}

/// ```text
/// team/app   v1 (no index entry)  => M (x) <= latest (with its index entry)      M has no revision link
/// ```
/// `v1` was taken out by hand, and with it, by mistake, the revision of `latest`: that one dangles, and its image
/// stays where it can be mended.
#[test]
fn t15_an_image_taken_out_by_hand_leaves_a_sibling_dangling_and_its_blobs_alone() {
    for [by_hand, sibling] in [["v1", "latest"], ["latest", "v1"]] {
        for flags in [&[][..], &["-m"]] {
            let tree = Tree::new();
            let app = tree.repository("team/app");
            let image = app.image(by_hand);
            app.tag(sibling, &image);
            app.delete_by_hand(by_hand, &image);
            let garbage = and(control(&tree), [app.tag_object(by_hand)]);
            let run = collect(&tree, flags);
            run.removes(&garbage).because(&app.tag_object(by_hand), &["deleted"]);
            run.keeps(&[app.tag_object(sibling), app.history_object(sibling, &image.digest)]);
            run.keeps(&blobs_and_links(&app, &image)).keeps(&[blob_object(&image.digest)]);
            assert!(run.real.has_finding(sibling), "the dangling tag is reported: {}", run.real.0["findings"]);
        }
    }
}

/// ```text
/// team/app   v1 => INDEX -> amd64 <~ signature <~ signature of the signature
///                  loose <~ its signature                                           both go
///                  orphan signature ~> (x)                                          its subject was never here
/// ```
#[test]
fn t38_referrers_live_while_their_subject_lives() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let amd64 = Manifest::oci("amd64", &["amd64"]);
    app.push(&amd64);
    let index = app.index("v1", &[&amd64]);
    let signature = Manifest::referrer("signature", &amd64);
    let countersignature = Manifest::referrer("countersignature", &signature);
    let sbom = Manifest::referrer("sbom of the index", &index);
    let loose = Manifest::oci("loose", &["loose"]);
    let loose_signature = Manifest::referrer("signature of the loose one", &loose);
    let never_here = Manifest::oci("never here", &["never"]);
    let lost_signature = Manifest::referrer("signature of nothing", &never_here);
    for manifest in [&signature, &countersignature, &sbom, &loose, &loose_signature, &lost_signature] {
        app.push(manifest);
    }
    collect(&tree, &[]).exits(0).removes(&[]);

    let run = collect(&tree, &["--delete-untagged"]);
    let gone = [&loose, &loose_signature, &lost_signature].into_iter().flat_map(|manifest| app.objects_of(manifest));
    run.exits(0).removes(&gone.collect::<Vec<_>>());
    for manifest in [&signature, &countersignature, &sbom] {
        run.keeps(&app.objects_of(manifest));
    }
}

/// A chain of referrers, found in whatever order the digests come: the fixpoint, not one pass.
#[test]
fn t38_a_long_chain_of_referrers_is_followed_to_its_end() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let mut subject = app.image("v1");
    let mut chain = Vec::new();
    for n in 0..12 {
        let referrer = Manifest::referrer(&format!("link {n}"), &subject);
        app.push(&referrer);
        chain.push(referrer.clone());
        subject = referrer;
    }
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.exits(0).removes(&garbage);
    chain.iter().for_each(|referrer| _ = run.keeps(&app.objects_of(referrer)));
}

/// An index as referrer: its children live with it.
#[test]
fn t38_an_index_that_refers_keeps_its_children() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let child = Manifest::oci("a bundle's part", &["part"]);
    app.push(&child);
    let mut index: serde_json::Value = serde_json::from_slice(&Manifest::index("bundle", &[&child]).bytes).unwrap();
    index["subject"] = serde_json::json!({"mediaType": "x", "digest": v1.digest, "size": v1.bytes.len()});
    let index = Manifest::raw(index.to_string());
    app.push(&index);
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.exits(0).removes(&garbage).keeps(&app.objects_of(&index)).keeps(&app.objects_of(&child));
}

/// ```text
/// team/app   sig => S ~> M         the signature is tagged, the image is not: a referrer does not keep its subject
/// ```
#[test]
fn t38_a_tagged_referrer_does_not_keep_its_subject() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.untagged("signed");
    let signature = Manifest::referrer("signature", &image);
    app.push_tagged("sig", &signature);
    let run = collect(&tree, &["-m"]);
    run.exits(0).removes(&app.objects_of(&image)).keeps(&app.objects_of(&signature));
}

/// Digests cannot form a cycle of subjects honestly; files can say so. It ends, and it loses nothing.
#[test]
fn t38_a_cycle_of_subjects_ends() {
    for flags in [&[][..], &["-m"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image("v1");
        let one = Manifest::referrer("one", &v1);
        app.push(&one);
        let two = Manifest::referrer("two", &one);
        app.push(&two);
        // one ~> two ~> one, and three ~> three.
        tree.replace(&tree.data(&one.digest), &Manifest::referrer("one", &two).bytes);
        let three = Manifest::referrer("three", &v1);
        app.push(&three);
        tree.replace(&tree.data(&three.digest), &Manifest::referrer("three", &three).bytes);
        let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
        assert!([0, 3].contains(&run.code), "exit {}: {}", run.code, run.stderr);
        let left = tree.objects();
        app.objects_of(&v1).iter().for_each(|object| assert!(left.contains(object), "{}", tree.explain(object)));
    }
}

/// Without `--delete-untagged` nothing that a revision link reaches goes, tagged or not.
#[test]
fn t40_the_default_never_removes_a_manifest_that_a_revision_link_reaches() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let loose = app.untagged("loose");
    let child = Manifest::docker("child", &["child"]);
    app.push(&child);
    let index = Manifest::index("loose index", &[&child]);
    app.push(&index);
    let signature = Manifest::referrer("signature of what is not here", &Manifest::raw(*b"{}"));
    app.push(&signature);
    let first = app.image_with_layers("v1", &["first"]);
    let second = Manifest::docker("second", &["second"]);
    app.push_tagged("v1", &second);
    // A repository with nothing but untagged revisions, and no tags folder.
    let untagged_only = tree.repository("untagged/only");
    let alone = untagged_only.untagged("alone");
    let garbage = control(&tree);

    let run = collect(&tree, &[]);
    run.exits(0).removes(&garbage);
    for manifest in [&loose, &child, &index, &signature, &first, &second] {
        run.keeps(&app.objects_of(manifest));
    }
    run.keeps(&untagged_only.objects_of(&alone));
}

/// ```text
/// team/app   v1 => M (x) -> config, L        the revision link is gone, the tag's index entry is there
/// ```
/// The tag cannot be pulled now, and can be mended. It is kept, and reported - in the run after the next, too: were its
/// index entry taken for history without a revision, the second run would take the image for deleted by hand.
#[test]
fn t41_a_tag_whose_revision_link_is_gone_dangles_and_stays() {
    for (what, whole_folder) in [("link", false), ("folder", true)] {
        for flags in [&[][..], &["--delete-untagged"]] {
            println!("the revision's {what} is gone, {flags:?}");
            let tree = Tree::new();
            let app = tree.repository("team/app");
            let v1 = app.image("v1");
            let link = app.revision(&v1.digest).join("link");
            tree.remove(if whole_folder { link.parent().unwrap() } else { &link });
            let garbage = control(&tree);
            let run = collect(&tree, flags);
            let mut gone: BTreeSet<String> = run.gone.clone();
            // Whether the empty digest folder of a dangling tag counts as debris is nobody's loss.
            gone.remove(&app.revision_object(&v1.digest));
            assert_eq!(gone, garbage.into_iter().collect(), "{}", tree.explain(&run.real.0["actions"].to_string()));
            run.keeps(&blobs_and_links(&app, &v1)).keeps(&[blob_object(&v1.digest)]);
            run.keeps(&[app.tag_object("v1"), app.history_object("v1", &v1.digest)]);
            assert!(run.real.has_finding("dangling"), "reported as dangling: {}", run.real.0["findings"]);
            assert!(run.real.findings().iter().any(|finding| finding["repository"] == "team/app"));

            // Mended, it pulls.
            app.link_revision(&v1.digest);
            let facts = tree.deliverable(false);
            assert_eq!(facts.len(), 1 + v1.blobs.len(), "mended, the tag delivers all of the image: {facts:?}");
        }
    }
}

/// The same for an index: its children have their revision links and nothing but the dangling tag to keep them.
#[test]
fn t41_a_dangling_tag_keeps_the_children_of_its_index() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let child = Manifest::docker("child", &["child"]);
    app.push(&child);
    let index = app.index("v1", &[&child]);
    tree.remove(&app.revision(&index.digest));
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.removes(&garbage).keeps(&app.objects_of(&child)).keeps(&[blob_object(&index.digest)]);
}

// ======================================================================================== what people and registries leave

/// ```text
/// team/app   v1 => M -> config, L       index entry and revision removed by hand: the tag's folder is what is left
/// ```
#[test]
fn an_image_taken_out_by_hand_goes_with_its_tag() {
    for flags in [&[][..], &["--delete-untagged"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image_with_layers("v1", &["base", "own"]);
        let v2 = app.image_with_layers("v2", &["base"]);
        app.delete_by_hand("v1", &v1);
        let run = collect(&tree, flags);
        let base = Blob::layer("base").digest;
        let mut gone = app.objects_of(&v1);
        gone.retain(|object| {
            // By hand, the revision went already; the base is the other tag's too.
            *object != app.revision_object(&v1.digest)
                && *object != blob_object(&base)
                && *object != app.layer_object(&base)
        });
        run.exits(0).removes(&and(gone, [app.tag_object("v1")])).keeps(&app.objects_of(&v2));
        run.because(&app.tag_object("v1"), &["deleted"]);
        assert!(!app.tag_folder("v1").exists());
    }
}

/// Taken out by hand where the tag had moved: the older image of the same tag is a revision still, and stays.
#[test]
fn an_image_taken_out_by_hand_leaves_the_tags_older_images() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let older = app.image_with_layers("v1", &["older"]);
    let newer = Manifest::docker("newer", &["newer"]);
    app.push_tagged("v1", &newer);
    app.delete_by_hand("v1", &newer);
    let run = collect(&tree, &[]);
    let mut gone = app.objects_of(&newer);
    gone.retain(|object| *object != app.revision_object(&newer.digest));
    run.exits(0).removes(&and(gone, [app.tag_object("v1")])).keeps(&app.objects_of(&older));
}

/// Taken out by hand, with a revision link that answers with an error instead of "no such file": that is not the same.
#[test]
fn t06_an_error_on_the_revision_link_is_not_deletion() {
    for flags in [&[][..], &["-m"]] {
        for folder in [false, true] {
            let tree = Tree::new();
            let app = tree.repository("team/app");
            let v1 = app.image("v1");
            let delivered = tree.deliverable(false);
            tree.remove(&app.tag_folder("v1").join("index"));
            let link = app.revision(&v1.digest).join("link");
            let broken = tree.unreadable(if folder { link.parent().unwrap() } else { &link });
            let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
            assert!([3, 4].contains(&run.code), "exit {}: {}", run.code, run.text());
            broken.mend();
            assert_eq!(tree.deliverable(false), delivered, "the disk recovers and the image is whole");
        }
    }
}

/// ```text
/// team/app   v1 => INDEX -> child      the child's revision link answers with an error, not with "no such file"
/// ```
#[test]
fn t06_an_error_on_a_childs_revision_link_is_not_absence() {
    for folder in [false, true] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let child = Manifest::docker("child", &["child"]);
        app.push(&child);
        app.index("v1", &[&child]);
        let delivered = tree.deliverable(false);
        let link = app.revision(&child.digest).join("link");
        let broken = tree.unreadable(if folder { link.parent().unwrap() } else { &link });
        let run = gc(&tree, &["--registry-stopped", "-m"]);
        assert!([0, 3, 4].contains(&run.code), "exit {}: {}", run.code, run.text());
        broken.mend();
        assert_eq!(tree.deliverable(false), delivered, "the disk recovers and the image is whole");
    }
}

/// ```text
/// team/app   v1 -?-> (x)     index: old, new        the current link is unreadable, empty or no digest
/// ```
/// All that the tag ever pointed at may be what it points at.
#[test]
fn t06_a_tag_whose_current_link_cannot_be_read_keeps_its_whole_history() {
    let breakages: &[(&str, BreakFile)] = &[
        ("empty", |tree, link| tree.truncate(link, 0)),
        ("cut", |tree, link| tree.truncate(link, 40)),
        ("no digest", |tree, link| tree.replace(link, b"hello")),
        ("an unknown algorithm", |tree, link| tree.replace(link, b"md5:d41d8cd98f00b204e9800998ecf8427e")),
        ("not UTF-8", |tree, link| tree.replace(link, b"\xff\xfe\x00")),
        ("a folder", |tree, link| {
            tree.remove(link);
            fs::create_dir(link).unwrap();
        }),
        ("unreadable", |tree, link| {
            let _left_broken = tree.unreadable(link);
        }),
    ];
    for (what, break_it) in breakages {
        println!("current/link is {what}");
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let old = app.image_with_layers("v1", &["old"]);
        let new = Manifest::docker("new", &["new"]);
        app.push_tagged("v1", &new);
        let loose = app.untagged("loose");
        let garbage = control(&tree);
        break_it(&tree, &app.current("v1"));
        let run = collect(&tree, &["-m"]);
        run.exits(3).keeps(&app.objects_of(&old)).keeps(&app.objects_of(&new)).keeps(&[app.tag_object("v1")]);
        run.keeps(&[app.history_object("v1", &old.digest), app.history_object("v1", &new.digest)]);
        assert!(run.real.has("error", "team/app"), "{what}: {}", run.real.0["findings"]);
        // The history says enough: what it does not name may go.
        assert!(garbage.iter().all(|object| !run.left.contains(object)));
        assert!(!run.left.contains(&app.revision_object(&loose.digest)), "only the tag's history is kept: {what}");
    }
}

#[test]
fn t06_a_tag_without_current_link_and_without_history_taints() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    tree.truncate(&app.current("v1"), 0);
    tree.remove(&app.tag_folder("v1").join("index"));
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.exits(3).removes(&garbage).keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
    assert_eq!(run.real.tainted(), BTreeSet::from(["team/app"]));
}

/// Empty links, as a crash of 2.8 leaves them (it truncates in place).
#[test]
fn an_empty_revision_link_of_a_tagged_image_loses_nothing() {
    for (what, content) in [("empty", &b""[..]), ("no digest", b"sha256:zz"), ("cut", b"sha256:0123456789abcdef")] {
        for flags in [&[][..], &["-m"]] {
            println!("the revision link is {what}, {flags:?}");
            let tree = Tree::new();
            let app = tree.repository("team/app");
            let v1 = app.image("v1");
            tree.replace(&app.revision(&v1.digest).join("link"), content);
            let garbage = control(&tree);
            let run = collect(&tree, flags);
            run.exits(3).removes(&garbage).keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
            assert!(run.real.has("error", "team/app"), "{}", run.real.0["findings"]);
        }
    }
}

#[test]
fn an_empty_revision_link_of_an_untagged_image_is_no_deletion() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    tree.truncate(&app.revision(&old.digest).join("link"), 0);
    let garbage = control(&tree);
    collect(&tree, &[]).removes(&garbage).keeps(&app.objects_of(&old));
}

#[test]
fn an_empty_layer_link_of_a_live_image_stays_and_keeps_its_blob() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image_with_layers("v1", &["own"]);
    tree.truncate(&app.layer(&Blob::layer("own").digest).join("link"), 0);
    let garbage = control(&tree);
    collect(&tree, &["-m"]).removes(&garbage).keeps(&app.objects_of(&v1));
}

/// A manifest deleted through the API: the revision's `link` is gone, its folder is debris, its blobs are garbage.
#[test]
fn t28_a_manifest_deleted_by_the_api_leaves_an_empty_digest_folder_that_is_no_root() {
    for flags in [&[][..], &["--delete-untagged"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image("v1");
        let v2 = app.image_with_layers("v2", &["second"]);
        app.delete_by_api(&v2);
        assert!(app.revision(&v2.digest).is_dir() && !app.tag_folder("v2").exists());
        let run = collect(&tree, flags);
        run.exits(0).without_complaint().removes(&app.objects_of(&v2)).keeps(&app.objects_of(&v1));
        run.because(&app.revision_object(&v2.digest), &["deleted", "empty"]);
    }
}

#[test]
fn t28_empty_digest_folders_are_debris() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let nowhere = sha256(b"nowhere");
    fs::create_dir_all(app.revision(&nowhere)).unwrap();
    fs::create_dir_all(app.layer(&nowhere)).unwrap();
    fs::create_dir_all(app.history("v1", &nowhere)).unwrap();
    let debris = [app.revision_object(&nowhere), app.layer_object(&nowhere), app.history_object("v1", &nowhere)];
    let run = collect(&tree, &[]);
    run.exits(0).without_complaint().removes(&debris).keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
}

/// The revision's folder is there and empty, and a tag's index remembers it.
#[test]
fn tag_history_without_a_revision_goes() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let old = app.image_with_layers("v1", &["old"]);
    let new = Manifest::docker("new", &["new"]);
    app.push_tagged("v1", &new);
    app.delete_by_api(&old);
    let run = collect(&tree, &[]);
    let history = app.history_object("v1", &old.digest);
    run.exits(0).removes(&and(app.objects_of(&old), [history.clone()]));
    run.because(&history, &["deleted", "dangling"]);
    run.keeps(&[app.tag_object("v1"), app.history_object("v1", &new.digest)]).keeps(&app.objects_of(&new));
}

/// Layer links that no live manifest of their repository names, though other repositories' manifests do.
#[test]
fn dead_layer_links_go_and_live_ones_elsewhere_stay() {
    let tree = Tree::new();
    let (one, two) = (tree.repository("one"), tree.repository("two"));
    let image = one.image_with_layers("v1", &["shared"]);
    two.image_with_layers("v1", &["own"]);
    // Mounted into `two` for a push that was never finished.
    let shared = Blob::layer("shared").digest;
    two.link_layer(&shared);
    let run = collect(&tree, &[]);
    run.exits(0).removes(&[two.layer_object(&shared)]).keeps(&one.objects_of(&image));
}

/// A layer link whose blob is gone: dead where nothing names it, kept where a live manifest does.
#[test]
fn layer_links_without_a_blob_go_by_reference_like_others() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image_with_layers("v1", &["own"]);
    tree.remove(&tree.blob(&Blob::layer("own").digest));
    let stray = app.stray_layer("stray");
    tree.remove(&tree.blob(&stray.digest));
    let run = collect(&tree, &["-m"]);
    run.removes(&[app.layer_object(&stray.digest)]).keeps(&[app.layer_object(&Blob::layer("own").digest)]);
    run.keeps(&[app.revision_object(&v1.digest), app.tag_object("v1")]);
}

#[test]
fn uploads_go_by_their_age() {
    let make = || {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        app.upload("begun-this-hour", HOUR / 2);
        app.upload("not-yet-a-week", 167 * HOUR);
        app.upload("just-over-a-week", 169 * HOUR);
        app.upload("last-year", 9000 * HOUR);
        tree
    };
    let tree = make();
    let app = tree.repository("team/app");
    let run = collect(&tree, &[]);
    run.exits(0).removes(&[app.upload_object("just-over-a-week"), app.upload_object("last-year")]);
    run.because(&app.upload_object("last-year"), &["stale"]);
    assert!(run.real.bytes("removed", "uploads") >= 2 * 30 * "upload last-year\n".len() as u64 - 200);

    let tree = make();
    let app = tree.repository("team/app");
    let run = collect(&tree, &["--uploads-older-than", "45m"]);
    run.exits(0).keeps(&[app.upload_object("begun-this-hour")]);
    assert_eq!(run.real.actions_of("upload").len(), 3);

    let tree = make();
    collect(&tree, &["--uploads-older-than", "10000h"]).exits(0).removes(&[]);
}

/// What does not say when it began is not stale: its folder was made a moment ago.
#[test]
fn uploads_that_do_not_say_when_they_began_are_not_stale() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let cases: [(&str, Option<&[u8]>); 5] = [
        ("no-startedat", None),
        ("empty", Some(b"")),
        ("malformed", Some(b"yesterday")),
        ("future", Some(b"2999-01-01T00:00:00Z")),
        ("binary", Some(b"\xff\x00")),
    ];
    for (id, startedat) in cases {
        let folder = app.upload(id, HOUR);
        match startedat {
            Some(bytes) => fs::write(folder.join("startedat"), bytes).unwrap(),
            None => fs::remove_file(folder.join("startedat")).unwrap(),
        }
    }
    let run = collect(&tree, &[]);
    run.removes(&[]);
    assert!([0, 3].contains(&gc(&tree, &["--registry-stopped"]).code));
}

// ================================================================================================= runs: T25-T31

/// One tree with everything in it: garbage of every kind beside live images of every kind.
fn everything() -> Tree {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let moved = app.image("latest");
    app.push_tagged("latest", &Manifest::oci("newer", &["base", "newer"]));
    let deleted = app.image_with_layers("deleted", &["deleted"]);
    app.delete_by_api(&deleted);
    let by_hand = app.image_with_layers("by-hand", &["by hand"]);
    app.delete_by_hand("by-hand", &by_hand);
    app.push(&Manifest::referrer("signature", &moved));
    let nested = tree.repository("team/app/nested");
    let [amd64, arm64, loose] = ["amd64", "arm64", "loose"].map(|words| Manifest::docker(words, &["base", words]));
    [&amd64, &arm64, &loose].iter().for_each(|child| nested.push(child));
    nested.index("multi", &[&amd64, &arm64]);
    nested.push(&Manifest::index("loose index", &[&amd64, &loose]));
    nested.stray_layer("stray");
    nested.upload("stale", 400 * HOUR);
    nested.upload("fresh", HOUR);
    let old = tree.repository("old");
    old.push_tagged("s1", &Manifest::schema1("s1", &["s1"]));
    old.push_tagged("unknown", &Manifest::unknown("u", &["u1", "u2"]));
    old.push_tagged("moved", &Manifest::artifact("a", &["a1"]));
    old.push_tagged("moved", &Manifest::artifact("b", &["b1"]));
    fs::create_dir_all(old.layer(&sha256(b"empty"))).unwrap();
    tree.orphan("orphan one");
    tree.orphan("orphan two");
    tree.put(&Blob::sha512(b"orphan by sha512".to_vec()));
    write(&tree.v2().join("lost+found/x"), b"?");
    tree
}

#[test]
fn t25_a_dry_run_changes_nothing_whatever_it_is_asked() {
    let tree = everything();
    let before = tree.fingerprint();
    for flags in [
        &["--dry-run"][..],
        &["-d", "-m"],
        &["-d", "-m", "-v"],
        &["-d", "-q"],
        &["-d", "-m", "--quarantine"],
        &["-d", "--jobs", "1"],
        &["-d", "-m", "--registry-stopped"],
        &["-d", "-m", "--remove-empty-repositories", "--uploads-older-than", "0s"],
    ] {
        let run = gc(&tree, flags);
        assert_eq!(run.code, 0, "{flags:?}: {}", run.stderr);
        assert!(!run.report().actions().is_empty());
        let changes = before.changes_to(&tree.fingerprint());
        assert_eq!(changes, Vec::<String>::new(), "{flags:?} changed something");
        let human = finish(regsweep(&[&["gc"], flags, &[tree.root().to_str().unwrap()]].concat()));
        assert_eq!(human.code, 0, "{flags:?}, human: {}", human.stderr);
        assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new(), "{flags:?} for people");
    }
    // Without --dry-run and without proof, likewise.
    let run = gc(&tree, &["-m"]);
    run.exits(4);
    assert_eq!(run.report().outcome(), "refused");
    assert_eq!(run.report().0["read_only"]["proven"], false);
    assert_eq!(before.files().changes_to(&tree.fingerprint().files()), Vec::<String>::new(), "refused: untouched");
}

/// Runs it where the storage root is read-only: on a read-only bind mount in a mount namespace of its own, where that
/// can be had, else on a tree without a writable folder as a user whom that binds. Either way the stage is checked
/// before the play: `probe` fails the test where a file can still be made.
fn on_a_read_only_volume(tree: &Tree, arguments: &[String]) -> Run {
    const SCRIPT: &str = r#"
        mount -o bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 97
        if touch "$1/probe" 2>/dev/null; then exit 98; fi
        shift; exec "$@""#;
    let root = tree.root();
    let mut command = std::process::Command::new("unshare");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]).arg(&root);
    command.arg(env!("CARGO_BIN_EXE_regsweep")).args(arguments);
    let can_mount = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"])
        .arg(&root)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success());
    if can_mount {
        println!("on a read-only bind mount");
        return finish(command);
    }
    println!("no mounts here: on a tree without a writable folder, as a user whom that binds");
    let folders: Vec<_> = walkdir::WalkDir::new(&root)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_dir())
        .collect();
    tree.give_to_nobody();
    let change = |mode| folders.iter().for_each(|folder| tree.chmod(folder.path(), mode));
    change(0o555);
    let probe = bound_by_permissions(tree, Path::new("/usr/bin/touch"), &[root.join("probe")]).status().unwrap();
    assert!(!probe.success(), "a file could be made: this would have tested nothing");
    let run = finish(regsweep_bound_by_permissions(tree, arguments));
    change(0o755);
    run
}

#[test]
fn t25_a_dry_run_works_on_a_read_only_mount() {
    let tree = everything();
    let expected = gc(&tree, &["--dry-run", "-m"]).report();
    for flags in [&["--dry-run", "-m"][..], &["--dry-run", "-m", "-v"]] {
        let before = tree.fingerprint();
        let run = on_a_read_only_volume(&tree, &gc_arguments(&tree.root(), flags));
        run.exits(0);
        assert_eq!(run.report().actions(), expected.actions());
        assert_eq!(before.files().changes_to(&tree.fingerprint().files()), Vec::<String>::new());
    }
}

#[test]
fn t25_a_real_run_on_a_read_only_mount_fails_and_says_so() {
    let tree = everything();
    let before = tree.fingerprint();
    let run = on_a_read_only_volume(&tree, &gc_arguments(&tree.root(), &["--registry-stopped", "-m"]));
    assert!([1, 4].contains(&run.code), "exit {}: {}", run.code, run.stderr);
    let said = format!("{}\n{}", run.stderr, run.text());
    assert!(said.contains("ead-only file system") || said.contains("ermission denied"), "it says why: {said}");
    assert_eq!(before.files().changes_to(&tree.fingerprint().files()), Vec::<String>::new());
}

#[test]
fn t26_the_real_run_does_what_the_dry_run_named() {
    for flags in [&[][..], &["-m"], &["-m", "--remove-empty-repositories", "--uploads-older-than", "1m"]] {
        let tree = everything();
        // The rest is in `collect`: equal actions, nothing unnamed gone, nothing named left, balanced books.
        let run = collect(&tree, flags);
        run.exits(0);
        let kinds: BTreeSet<String> = run.real.actions().into_iter().map(|action| action.kind).collect();
        for kind in ["blob", "revision", "tag", "layer_link", "upload"] {
            assert!(kinds.contains(kind), "the scenario has a {kind} to remove: {kinds:?}");
        }
    }
}

/// The same tree, the same report, whatever the threads did.
#[test]
fn t26_two_dry_runs_say_the_same_whatever_the_threads_did() {
    let tree = everything();
    let said = |jobs: &str| {
        let report = gc(&tree, &["-d", "-m", "--jobs", jobs]).report();
        (report.0["actions"].clone(), report.0["findings"].clone(), report.0["repositories"].clone())
    };
    let first = said("1");
    for jobs in ["2", "8", "1", "8"] {
        assert_eq!(said(jobs), first, "with {jobs} jobs");
    }
    let actions = first.0.as_array().unwrap();
    assert!(!actions.is_empty());
}

/// Temporary files of 3.x and NFS's silly renames, beside a live link and alone in a folder.
#[test]
fn t29_temporary_files_are_never_fatal() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image_with_layers("v1", &["own"]);
    let places = [
        app.revision(&v1.digest),
        app.layer(&Blob::layer("own").digest),
        app.current("v1").parent().unwrap().to_owned(),
        tree.blob(&v1.digest),
        tree.v2().join("blobs/sha256"),
        tree.repositories(),
        app.folder().join("_manifests/tags"),
        app.folder().join("_manifests/revisions/sha256"),
        app.folder().join("_layers/sha256"),
        app.folder().join("_uploads"),
    ];
    for place in places {
        write(&place.join("link.0b86c37e-6a4a-4a83-9f0b-5f5f2b7f9e5d.tmp"), b"half");
        write(&place.join(".nfs000000000123456700000001"), b"silly");
    }
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.exits(0).without_complaint().keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
    assert!(garbage.iter().all(|object| !run.left.contains(object)));
    assert_eq!(run.real.tainted(), BTreeSet::new());
    // No temporary file was read as a tag, a repository or a digest.
    assert_eq!(run.real.0["scanned"]["tags"], 1);
    assert_eq!(run.real.0["scanned"]["repositories"], 1);
    assert_eq!(run.real.0["scanned"]["revisions"], 1);
}

/// A digest folder that holds no `link` but what a write that was cut off left.
#[test]
fn t29_a_digest_folder_with_only_a_temporary_file_is_no_root_and_not_fatal() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    for name in ["link.0b86c37e-6a4a-4a83-9f0b-5f5f2b7f9e5d.tmp", ".nfs000000000123456700000001"] {
        let digest = sha256(name.as_bytes());
        write(&app.revision(&digest).join(name), digest.as_bytes());
        write(&app.layer(&digest).join(name), digest.as_bytes());
    }
    let run = collect(&tree, &["-m"]);
    run.exits(0).keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
    assert_eq!(run.real.tainted(), BTreeSet::new());
}

#[test]
fn t30_what_does_not_belong_is_reported_and_kept() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let strangers = [
        tree.v2().join("lost+found/x"),
        tree.v2().join("blobs/lost+found/x"),
        tree.v2().join("blobs/.DS_Store"),
        tree.v2().join("blobs/sha256/.snapshot/hourly/x"),
        tree.v2().join("blobs/sha256/.DS_Store"),
        tree.v2().join("blobs/sha256/zz/x"),
        tree.repositories().join(".snapshot/hourly/x"),
        tree.repositories().join(".DS_Store"),
        tree.repositories().join("README"),
        app.folder().join(".DS_Store"),
        app.folder().join("_manifests/.DS_Store"),
        app.folder().join("_manifests/tags/.DS_Store"),
        app.folder().join("_manifests/revisions/sha256/.DS_Store"),
        app.folder().join("_layers/sha256/.DS_Store"),
        app.folder().join("_uploads/.DS_Store"),
        tree.root().join("docker/registry/notes.txt"),
    ];
    for stranger in &strangers {
        write(stranger, b"somebody's");
    }
    let garbage = control(&tree);
    let run = collect(&tree, &["-m", "--remove-empty-repositories"]);
    run.exits(0).without_complaint().removes(&garbage).keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
    for stranger in &strangers {
        assert_eq!(fs::read(stranger).unwrap(), b"somebody's", "{}", stranger.display());
    }
    for name in ["lost+found", ".snapshot", ".DS_Store", "README"] {
        assert!(run.real.has("info", name), "no finding names {name}: {}", run.real.0["findings"]);
    }
}

/// Names in the blob store that look like blobs and are not quite. None is referenced; none may go.
#[test]
fn t30_blobs_that_are_not_as_they_should_be_are_reported_and_kept() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let store = tree.v2().join("blobs/sha256");
    let hex = |words: &str| sha256(words.as_bytes())["sha256:".len()..].to_owned();

    // A blob folder without `data`, one with something else in it, and one whose `data` is a folder.
    let without_data = hex("without data");
    fs::create_dir_all(store.join(&without_data[..2]).join(&without_data)).unwrap();
    let something_else = hex("something else");
    write(&store.join(&something_else[..2]).join(&something_else).join("other"), b"x");
    let folder = hex("data is a folder");
    write(&store.join(&folder[..2]).join(&folder).join("data/inside"), b"x");
    // In the wrong shard.
    let misplaced = hex("wrong shard");
    let shard = if misplaced.starts_with("00") { "01" } else { "00" };
    write(&store.join(shard).join(&misplaced).join("data"), b"wrong shard");
    // Bad hex: too short, too long, upper case, no hex.
    let short = "ab".repeat(16);
    let long = "ab".repeat(40);
    let upper = hex("upper").to_uppercase();
    let odd = format!("ab{}", "x".repeat(62));
    for name in [&short, &long, &upper, &odd] {
        write(&store.join(name[..2].to_lowercase()).join(name).join("data"), b"bad name");
    }
    // Another algorithm.
    write(&tree.v2().join("blobs/tarsum.v1+sha256/ab").join("ab".repeat(32)).join("data"), b"tarsum");
    write(&tree.v2().join("blobs/md5/d4/d41d8cd98f00b204e9800998ecf8427e/data"), b"md5");

    let garbage = control(&tree);
    let before = tree.objects();
    let run = collect(&tree, &["-m"]);
    assert!([0, 3].contains(&gc(&tree, &["--registry-stopped"]).code));
    run.removes(&garbage);
    let mut expected = before;
    garbage.iter().for_each(|object| _ = expected.remove(object));
    assert_eq!(run.left, expected);
    for name in [&without_data, &folder, &misplaced, &short, &long, &upper, &odd] {
        assert!(run.real.has_finding(name), "no finding names {name}: {}", run.real.0["findings"]);
    }
    assert!(run.real.has_finding("tarsum") && run.real.has_finding("md5"), "{}", run.real.0["findings"]);
}

/// Bad names among the links: kept, reported, and no obstacle.
#[test]
fn t30_links_with_bad_names_are_reported_and_kept() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image("v1");
    let manifests = app.folder().join("_manifests");
    let upper = sha256(b"upper")["sha256:".len()..].to_uppercase();
    let bad = [
        manifests.join("revisions/sha256/abc/link"),
        manifests.join("revisions/sha256").join(&upper).join("link"),
        manifests.join("tags/v1/index/sha256/abc/link"),
        app.folder().join("_layers/sha256/abc/link"),
        app.folder().join("_layers/sha256").join(&upper).join("link"),
    ];
    for path in &bad {
        write(path, b"sha256:abc");
    }
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.removes(&garbage).keeps(&app.objects_of(&v1)).keeps(&[app.tag_object("v1")]);
    for path in &bad {
        assert!(path.exists(), "{}", path.display());
    }
    assert!(run.real.has_finding("abc") && run.real.has_finding(&upper), "{}", run.real.0["findings"]);
}

/// The folders of a repository whose listing fails: not one blob may go, for nobody knows what it refers to.
#[test]
fn t31_an_unlistable_link_folder_is_not_an_empty_one() {
    let folders = [
        "team/app/_layers",
        "team/app/_layers/sha256",
        "team/app/_manifests",
        "team/app/_manifests/revisions",
        "team/app/_manifests/revisions/sha256",
        "team/app/_manifests/tags",
        "team/app",
        "team",
    ];
    for folder in folders {
        for flags in [&[][..], &["--delete-untagged"]] {
            println!("{folder} cannot be listed, {flags:?}");
            let tree = Tree::new();
            let app = tree.repository("team/app");
            app.image("v1");
            app.untagged("old");
            tree.repository("other").image("v1");
            tree.orphan("perhaps team/app's");
            let delivered = tree.deliverable(true);
            let objects = tree.objects();
            let broken = tree.unreadable(&tree.repositories().join(folder));
            assert!(refuses(&tree, flags).says(folder), "it says which");
            broken.mend();
            assert_eq!(tree.objects(), objects, "exit 4: nothing was touched");
            assert_eq!(tree.deliverable(true), delivered, "the disk recovers and every image is whole");
        }
    }
}

/// The same with permission bits, as a user whom they bind.
#[test]
fn t31_permission_denied_on_one_repository_is_not_an_empty_repository() {
    for folder in ["team/app", "team/app/_layers", "team/app/_manifests/revisions/sha256", "team"] {
        for flags in [&[][..], &["--delete-untagged"]] {
            println!("{folder} may not be listed, {flags:?}");
            let tree = Tree::new();
            tree.repository("team/app").image("v1");
            tree.repository("other").image("v1");
            tree.orphan("perhaps team/app's");
            let objects = tree.objects();
            tree.give_to_nobody();
            let denied = tree.repositories().join(folder);
            tree.chmod(&denied, 0o000);
            let flags = [&["--registry-stopped"], flags].concat();
            let run = finish(regsweep_bound_by_permissions(&tree, &gc_arguments(&tree.root(), &flags)));
            tree.chmod(&denied, 0o755);
            run.exits(4);
            assert_eq!(run.report().outcome(), "refused");
            assert!(run.report().0.to_string().contains("ermission denied"), "{}", run.text());
            assert_eq!(tree.objects(), objects, "exit 4: nothing was touched");
        }
    }
}

/// A manifest, a link, a tag that may not be read is kept with all that it may need.
#[test]
fn t31_permission_denied_on_a_file_taints() {
    for what in ["manifest", "blob folder", "current link", "revision link"] {
        println!("the {what} may not be read");
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image("v1");
        tree.repository("other").image("v1");
        let delivered = tree.deliverable(false);
        let garbage = control(&tree);
        tree.give_to_nobody();
        let denied = match what {
            "manifest" => tree.data(&v1.digest),
            "blob folder" => tree.blob(&v1.digest),
            "current link" => app.current("v1"),
            _ => app.revision(&v1.digest).join("link"),
        };
        tree.chmod(&denied, 0o000);
        let flags = ["--registry-stopped", "--delete-untagged"];
        let run = finish(regsweep_bound_by_permissions(&tree, &gc_arguments(&tree.root(), &flags)));
        tree.chmod(&denied, 0o755);
        assert!([3, 4].contains(&run.code), "exit {}: {}", run.code, run.text());
        assert!(run.report().has("error", "team/app"), "{}", run.report().0["findings"]);
        assert_eq!(tree.deliverable(false), delivered, "nothing is lost behind the error");
        if run.code == 3 {
            assert!(garbage.iter().all(|object| !tree.objects().contains(object)), "the rest is collected");
        }
    }
}

/// A shard of the blob store that cannot be listed holds manifests that cannot be read, and blobs that nobody saw.
#[test]
fn t31_an_unlistable_shard_loses_nothing() {
    for flags in [&[][..], &["-m"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = app.image("v1");
        tree.repository("other").image("v1");
        let delivered = tree.deliverable(true);
        let shard = tree.blob(&v1.digest).parent().unwrap().to_owned();
        tree.orphan("an orphan");
        let broken = tree.unreadable(&shard);
        let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
        assert!([3, 4].contains(&run.code), "exit {}: {}", run.code, run.text());
        broken.mend();
        assert_eq!(tree.deliverable(true), delivered);
    }
}

// =========================================================================================== quarantine, trash, cut-off runs

fn trash(arguments: &[&str], tree: &Tree) -> Run {
    let root = tree.root();
    finish(regsweep(&[&["trash", arguments[0], root.to_str().unwrap()], &arguments[1..]].concat()))
}

/// `gc -m --quarantine`, and the report of it.
fn quarantine(tree: &Tree) -> Report {
    let run = gc(tree, &["-m", "--registry-stopped", "--quarantine"]);
    run.exits(0);
    let report = run.report();
    assert!(report.count("removed", "blobs") > 0);
    report
}

fn trash_folder(tree: &Tree, report: &Report) -> std::path::PathBuf {
    tree.regsweep().join("runs").join(report.run()).join("trash")
}

/// The trash mirrors the tree, as section 3 draws it.
#[test]
fn quarantine_puts_everything_aside_under_its_own_name() {
    let tree = everything();
    let plain = everything();
    let expected = collect(&plain, &["-m"]);
    let before = tree.fingerprint();
    let report = quarantine(&tree);
    assert_eq!(report.actions_of("blob"), expected.real.actions_of("blob"));
    assert_eq!(tree.objects(), plain.objects(), "with and without quarantine the tree ends the same");
    let trash = trash_folder(&tree, &report);
    for object in report.actions_of("blob") {
        let hex = &object["blob sha256:".len()..];
        if object.starts_with("blob sha256:") {
            assert!(trash.join("blobs/sha256").join(&hex[..2]).join(hex).join("data").is_file(), "{object}");
        }
    }
    for object in report.actions_of("layer_link") {
        let (repository, digest) = object.split_once(" layer ").unwrap();
        let (algorithm, hex) = support::tree::halves(digest);
        let folder = trash.join("repositories").join(repository).join("_layers").join(algorithm).join(hex);
        assert!(folder.is_dir(), "{object}");
    }
    // Renamed, not copied: the files that went are the files in the trash, inode by inode.
    let after = tree.fingerprint();
    let went: BTreeSet<u64> = before.files().inodes().difference(&after.files().inodes()).copied().collect();
    let aside = after.below(&format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run())).inodes();
    assert_eq!(aside, went, "every file that went is in the trash, and nothing else is");
}

#[test]
fn trash_restore_gives_back_the_same_tree() {
    let tree = everything();
    let (before, objects) = (tree.fingerprint(), tree.objects());
    let report = quarantine(&tree);
    assert_ne!(tree.objects(), objects);

    let listed = trash(&["list"], &tree);
    listed.exits(0);
    assert!(listed.text().contains(report.run()), "the run is listed: {}", listed.text());

    // It changes the volume, so it needs the proof.
    let quarantined = tree.fingerprint();
    trash(&["restore", report.run()], &tree).exits(4);
    assert_eq!(quarantined.files().changes_to(&tree.fingerprint().files()), Vec::<String>::new());

    trash(&["restore", "--registry-stopped", report.run()], &tree).exits(0);
    assert_eq!(tree.objects(), objects, "every object is back");
    let changes = before.files().changes_to(&tree.fingerprint().files());
    assert_eq!(changes, Vec::<String>::new(), "names, contents, sizes, times and inodes are as they were");

    // And it is garbage again, all of it.
    assert_eq!(gc(&tree, &["-d", "-m"]).report().actions(), report.actions());
}

/// What the registry wrote anew meanwhile is not overwritten by what comes back.
#[test]
fn trash_restore_leaves_what_was_pushed_again() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    let report = quarantine(&tree);
    app.push(&old);
    app.tag("again", &old);
    let pushed = tree.fingerprint().files();
    trash(&["restore", "--registry-stopped", report.run()], &tree).exits(0);
    assert_eq!(pushed.changes_to(&tree.fingerprint().files()), Vec::<String>::new(), "what was pushed is untouched");
    collect(&tree, &["-m"]).exits(0).removes(&[]).keeps(&app.objects_of(&old));
}

/// A repository that went whole, and was made anew by a push before it came back: both are there then.
#[test]
fn trash_restore_puts_a_whole_repository_back_beside_what_was_pushed_there() {
    for pushed_again in [false, true] {
        let tree = Tree::new();
        tree.repository("keep").image("v1");
        let app = tree.repository("team/app");
        let old = app.untagged("old");
        app.upload("stale", 400 * HOUR);
        let (before, objects) = (tree.fingerprint(), tree.objects());
        let run = gc(&tree, &["-m", "--registry-stopped", "--quarantine", "--remove-empty-repositories"]);
        run.exits(0);
        assert!(!app.folder().exists());
        let new = Manifest::docker("new", &["new"]);
        if pushed_again {
            app.push_tagged("v1", &new);
        }
        let pushed = tree.deliverable(false);
        trash(&["restore", "--registry-stopped", run.report().run()], &tree).exits(0);
        assert!(objects.is_subset(&tree.objects()), "all that went is back");
        let changes = before.files().changes_to(&tree.fingerprint().files());
        let changes: Vec<_> = changes.iter().filter(|change| !change.ends_with(": new")).collect();
        assert!(changes.is_empty(), "as it was: {changes:#?}");
        assert_eq!(tree.deliverable(false), pushed, "what was pushed is untouched");
        assert!(tree.objects().contains(&app.revision_object(&old.digest)));
    }
}

#[test]
fn trash_purge_frees_the_bytes_for_good() {
    let tree = everything();
    let report = quarantine(&tree);
    let trash_path = format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run());
    let aside = tree.fingerprint().bytes_below(&trash_path);
    assert!(aside >= report.bytes("removed", "blobs"), "{aside} bytes put aside");
    let objects = tree.objects();

    // Not old enough: stays.
    trash(&["purge", "--older-than", "1h"], &tree).exits(0);
    assert_eq!(tree.fingerprint().bytes_below(&trash_path), aside);

    trash(&["purge"], &tree).exits(0);
    assert_eq!(tree.fingerprint().bytes_below(&trash_path), 0, "the bytes are free");
    assert_eq!(tree.objects(), objects);
    let restored = trash(&["restore", "--registry-stopped", report.run()], &tree);
    assert_ne!(restored.code, 0, "there is nothing to restore");
    assert_eq!(tree.objects(), objects);
}

/// A quarantined run is finished: the next run neither rolls it back nor deletes its trash.
#[test]
fn a_quarantined_run_is_left_alone_by_the_next() {
    let tree = everything();
    let report = quarantine(&tree);
    let path = format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run());
    let aside = tree.fingerprint().bytes_below(&path);
    let objects = tree.objects();
    let second = gc(&tree, &["-m", "--registry-stopped"]);
    assert_eq!(second.report().actions(), Vec::new());
    assert_eq!(tree.objects(), objects);
    assert_eq!(tree.fingerprint().bytes_below(&path), aside, "what was put aside is still there");
}

/// A quarantined run whose journal is cut, as by a crash: what a run leaves that died before its mark `swept`, or
/// after it.
fn cut_off(tree: &Tree, report: &Report, keep_the_mark: bool) {
    let journal = tree.regsweep().join("runs").join(report.run()).join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let is_mark = |line: &&str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("each line of the journal is JSON");
        value
            .as_object()
            .is_some_and(|members| members.contains_key("swept") || members.values().any(|it| it == "swept"))
    };
    let mark = lines.iter().position(is_mark).unwrap_or_else(|| panic!("no mark in\n{text}"));
    let kept = &lines[..if keep_the_mark { mark + 1 } else { mark }];
    fs::write(&journal, kept.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

#[test]
fn a_run_cut_off_before_its_mark_is_rolled_back_by_the_next() {
    let tree = everything();
    let (before, objects) = (tree.fingerprint(), tree.objects());
    let report = quarantine(&tree);
    cut_off(&tree, &report, false);

    // A dry run says so and changes nothing, not even that.
    let cut = tree.fingerprint();
    let dry = gc(&tree, &["--dry-run", "-m"]);
    assert!([0, 3].contains(&dry.code), "exit {}: {}", dry.code, dry.stderr);
    assert_eq!(cut.changes_to(&tree.fingerprint()), Vec::<String>::new());

    // Without --delete-untagged the next run wants less than the one that was cut off: what that one had moved and
    // this one does not want is back.
    let next = gc(&tree, &["--registry-stopped"]);
    next.exits(0);
    let wanted: BTreeSet<String> = next.report().actions().into_iter().map(|action| action.object).collect();
    let left = tree.objects();
    for object in &objects {
        let named = wanted.contains(object) || object.match_indices(' ').any(|(at, _)| wanted.contains(&object[..at]));
        assert_eq!(left.contains(object), !named, "{}", tree.explain(object));
    }
    // What came back is what it was, to the inode.
    let changes = before.files().changes_to(&tree.fingerprint().files());
    assert!(changes.iter().all(|change| change.ends_with(": gone")), "{changes:#?}");
    let trash_path = format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run());
    assert_eq!(tree.fingerprint().bytes_below(&trash_path), 0, "nothing stays behind in the old run's trash");
}

/// Rolled back and swept again, the end is the same as of a run that nothing disturbed.
#[test]
fn a_run_cut_off_before_its_mark_converges_to_the_same_end() {
    let undisturbed = everything();
    collect(&undisturbed, &["-m"]);
    let tree = everything();
    let report = quarantine(&tree);
    cut_off(&tree, &report, false);
    let next = gc(&tree, &["-m", "--registry-stopped"]);
    next.exits(0);
    assert_eq!(next.report().actions(), report.actions(), "rolled back, all of it is found again");
    assert_eq!(tree.objects(), undisturbed.objects());
    assert_eq!(gc(&tree, &["-m", "--registry-stopped"]).report().actions(), Vec::new());
}

/// Cut off half-way through the renames: some are in the trash, some are not. Half of what was moved is moved back
/// here, so the journal names more than the trash holds.
#[test]
fn a_run_cut_off_between_two_renames_is_rolled_back_too() {
    let tree = everything();
    let (before, objects) = (tree.fingerprint(), tree.objects());
    let report = quarantine(&tree);
    cut_off(&tree, &report, false);
    let aside = trash_folder(&tree, &report);
    for object in report.actions_of("blob").iter().filter(|object| object.starts_with("blob sha256:")) {
        let digest = &object["blob ".len()..];
        let hex = &digest["sha256:".len()..];
        let home = tree.blob(digest);
        fs::create_dir_all(home.parent().unwrap()).unwrap();
        fs::rename(aside.join("blobs/sha256").join(&hex[..2]).join(hex), home).unwrap();
    }
    let next = gc(&tree, &["--registry-stopped", "--uploads-older-than", "9999h"]);
    next.exits(0);
    let delivered = tree.deliverable(true);
    let lost: Vec<_> = objects.difference(&tree.objects()).cloned().collect();
    let wanted: BTreeSet<String> = next.report().actions().into_iter().map(|action| action.object).collect();
    for object in lost {
        let named = wanted.contains(&object) || object.match_indices(' ').any(|(at, _)| wanted.contains(&object[..at]));
        assert!(named, "lost: {}", tree.explain(&object));
    }
    assert!(!delivered.is_empty());
    let changes = before.files().changes_to(&tree.fingerprint().files());
    assert!(changes.iter().all(|change| change.ends_with(": gone")), "{changes:#?}");
}

/// A run cut off before its mark, and then the registry was started and somebody pushed one of the removed images
/// again: what was pushed stays as it is, the copy in the trash goes.
#[test]
fn rolling_back_leaves_what_was_pushed_again() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let old = app.untagged("old");
    let report = quarantine(&tree);
    cut_off(&tree, &report, false);
    app.push(&old);
    app.tag("again", &old);
    let pushed = tree.fingerprint().files();
    let run = gc(&tree, &["-m", "--registry-stopped"]);
    run.exits(0);
    assert_eq!(run.report().actions(), Vec::new(), "all of it is in use again");
    assert_eq!(pushed.changes_to(&tree.fingerprint().files()), Vec::<String>::new());
    let trash_path = format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run());
    assert_eq!(tree.fingerprint().bytes_below(&trash_path), 0);
}

/// After the mark there is no way back: the next run finishes the deletion. A plain run's journal, not a quarantined
/// one's, is what such a crash leaves, so the words that ask for quarantine are taken out of it.
#[test]
fn a_run_cut_off_after_its_mark_is_rolled_forward_by_the_next() {
    let tree = everything();
    let report = quarantine(&tree);
    let objects = tree.objects();
    cut_off(&tree, &report, true);
    let journal = tree.regsweep().join("runs").join(report.run()).join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    assert!(text.contains("\"quarantine\":true"), "the journal says that the run was to keep its trash: {text}");
    fs::write(&journal, text.replace("\"quarantine\":true", "\"quarantine\":false")).unwrap();
    let next = gc(&tree, &["-m", "--registry-stopped"]);
    next.exits(0);
    assert_eq!(next.report().actions(), Vec::new(), "all of it had been swept");
    assert_eq!(tree.objects(), objects);
    let trash_path = format!("docker/registry/v2/_regsweep/runs/{}/trash", report.run());
    assert_eq!(tree.fingerprint().bytes_below(&trash_path), 0, "the trash is deleted");
}

/// A journal whose last line is half a line, as a crash in the middle of a write leaves it.
#[test]
fn a_torn_last_line_of_the_journal_is_no_obstacle() {
    let tree = everything();
    let objects = tree.objects();
    let report = quarantine(&tree);
    cut_off(&tree, &report, false);
    let journal = tree.regsweep().join("runs").join(report.run()).join("journal.jsonl");
    let length = fs::metadata(&journal).unwrap().len();
    tree.truncate(&journal, length - 3);
    let next = gc(&tree, &["-m", "--registry-stopped"]);
    next.exits(0);
    assert_eq!(next.report().actions(), report.actions(), "rolled back, all of it is found again");
    let left = tree.objects();
    assert!(left.len() < objects.len());
}

// ==================================================================================================== one run at a time

#[test]
fn t22_a_second_run_refuses_while_the_first_holds_the_lock() {
    let tree = everything();
    fs::create_dir_all(tree.regsweep()).unwrap();
    let lock = fs::File::create(tree.regsweep().join("lock")).unwrap();
    lock.lock().unwrap();
    let refused = refuses(&tree, &["-m"]);
    assert!(refused.says("lock") || refused.says("nother"), "{}", refused.stderr);
    // A lock file that nobody holds, left by a run that was killed, is no obstacle.
    drop(lock);
    gc(&tree, &["-m", "--registry-stopped"]).exits(0);
}

/// One value, two writers: what people read on standard error, a reader of the report must find there as well.
#[test]
fn a_refused_report_says_why() {
    let locked = everything();
    fs::create_dir_all(locked.regsweep()).unwrap();
    let lock = fs::File::create(locked.regsweep().join("lock")).unwrap();
    lock.lock().unwrap();
    let no_repositories = Tree::new();
    no_repositories.orphan("somebody's layer");
    let unlistable = everything();
    let broken = unlistable.unreadable(&unlistable.repository("old").folder().join("_layers"));
    for (tree, word) in [(&locked, "lock"), (&no_repositories, "repositories"), (&unlistable, "_layers")] {
        let refused = refuses(tree, &[]);
        assert!(refused.report.reasons().contains(word), "nothing says {word:?} in {}", refused.report.0);
    }
    broken.mend();
}

/// The lock is let go at the end, and the trash commands take it too.
#[test]
fn t22_restore_refuses_while_a_run_holds_the_lock() {
    let tree = everything();
    let report = quarantine(&tree);
    let lock = fs::File::options().write(true).open(tree.regsweep().join("lock")).unwrap();
    lock.try_lock().expect("a finished run holds no lock");
    let before = tree.fingerprint().files();
    trash(&["restore", "--registry-stopped", report.run()], &tree).exits(4);
    assert_eq!(before.changes_to(&tree.fingerprint().files()), Vec::<String>::new());
}
