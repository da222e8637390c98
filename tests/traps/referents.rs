//! References die before referents, and what cannot be listed hides nothing: each of these lost something once.

use crate::support::formats::halves;
use crate::support::process::{finish, regsweep_bound_by_permissions};
use crate::support::scenario::{collect, gc, gc_arguments};
use crate::support::tree::{Blob, Manifest, Tree, blob_object, write};
use crate::{blobs_and_links, control};

/// References die before referents: a revision that will not go keeps its layer links.
#[test]
fn t27_layer_links_stay_while_a_revision_will_not_go() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let loose = app.untagged("loose");
    let delivered = tree.deliverable(true);
    tree.give_to_nobody();
    let revisions = app.folder().join("_manifests/revisions/sha256");
    tree.chmod(&revisions, 0o555);
    let arguments = gc_arguments(&tree.root(), &["-m", "--registry-stopped"]);
    let run = finish(regsweep_bound_by_permissions(&tree, &arguments));
    tree.chmod(&revisions, 0o755);
    println!("exit {}: {}", run.code, run.stderr);
    assert!(tree.objects().contains(&app.revision_object(&loose.digest)));
    assert_eq!(tree.deliverable(true), delivered, "what is left is whole");
}

/// Signatures that cannot be listed: what they name is kept.
#[test]
fn t31_signatures_that_cannot_be_listed_keep_what_they_name() {
    for flip in [false, true] {
        println!("the manifest itself is damaged: {flip}");
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let v1 = Manifest::schema1("one", &["s1 one"]);
        app.push_tagged("v1", &v1);
        let signature = tree.orphan("signature");
        let (algorithm, hex) = halves(&signature.digest);
        let signatures = app.revision(&v1.digest).join("signatures");
        write(&signatures.join(algorithm).join(hex).join("link"), signature.digest.as_bytes());
        let _left_broken = if flip {
            tree.flip(&tree.data(&v1.digest));
            None
        } else {
            Some(tree.unreadable(&signatures))
        };
        // A damaged manifest taints; a folder that nobody can look into hides blobs that no taint keeps.
        gc(&tree, &["-m", "--registry-stopped"]).exits(if flip { 3 } else { 4 });
        assert!(tree.objects().contains(&blob_object(&signature.digest)));
    }
}

/// A link in an odd place that names a manifest keeps all that the manifest needs.
#[test]
fn t11_a_manifest_named_by_an_odd_link_keeps_what_it_needs() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let image = app.untagged("odd");
    tree.remove(&app.revision(&image.digest));
    let link = format!("_manifests/revisions/sha256/{}/link", "AB".repeat(32));
    write(&app.folder().join(link), image.digest.as_bytes());
    let garbage = control(&tree);
    let run = collect(&tree, &["-m"]);
    run.exits(0).removes(&garbage).keeps(&blobs_and_links(&app, &image)).keeps(&[blob_object(&image.digest)]);
}

/// Taken out by hand, it seems: but an index that cannot be listed may well hold the entry.
#[test]
fn t06_a_tag_whose_history_cannot_be_listed_was_not_taken_out_by_hand() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let v2 = app.image("v2");
    tree.remove(&app.revision(&v2.digest));
    let garbage = control(&tree);
    let _left_broken = tree.unreadable(&app.tag_folder("v2").join("index"));
    let run = collect(&tree, &["-m"]);
    run.removes(&garbage).keeps(&blobs_and_links(&app, &v2)).keeps(&[app.tag_object("v2"), blob_object(&v2.digest)]);
}

/// A blob in a shard that cannot be listed is not missing.
#[test]
fn t31_blobs_in_an_unlistable_shard_are_not_called_missing() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let v1 = app.image_with_layers("v1", &["own"]);
    let shard = |digest: &str| tree.blob(digest).parent().unwrap().to_owned();
    let own = Blob::layer("own").digest;
    assert_ne!(shard(&own), shard(&v1.digest));
    let _left_broken = tree.unreadable(&shard(&own));
    let run = gc(&tree, &["-m", "--registry-stopped"]);
    run.exits(3);
    assert!(run.report().has("error", "cannot be listed"), "{}", run.report().0["findings"]);
    assert!(!run.report().has_finding("missing"), "{}", run.report().0["findings"]);
}
