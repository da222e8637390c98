//! What keeps a blob alive: repositories of all shapes, manifests of all kinds, digests of both algorithms, and blobs
//! that repositories share (T02, T03, T08-T12).

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::support::formats::{halves, sha512};
use crate::support::scenario::{collect, gc, refuses};
use crate::support::tree::{Blob, Manifest, Tree, blob_object, write};
use crate::{HOUR, and, blobs_and_links, control};

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
        let (algorithm, hex) = halves(&blob.digest);
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
        let name = sha512(&image.bytes);
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
