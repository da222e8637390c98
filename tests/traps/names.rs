//! What tags, indexes and referrers keep, and what goes with them: names that contain each other, platforms,
//! signatures, untagged and dangling images (T13-T15, T38, T40, T41).

use std::collections::BTreeSet;
use std::fs;

use crate::support::scenario::{collect, gc, select};
use crate::support::tree::{Blob, Manifest, Tree, blob_object};
use crate::{HOUR, and, blobs_and_links, control};

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

/// What a policy leaves empty is empty in the same run, and the namespace above it as well; unless somebody pushes.
///
/// ```text
/// pr/app/one    v1              goes, and pr/app with it
/// pr/app/two    v1
/// pr/busy       v1, _uploads/fresh
/// main          v1              no rule is about it
/// ```
#[test]
fn t13_a_namespace_goes_with_its_last_repository_and_not_with_an_upload_in_it() {
    let tree = Tree::new();
    for name in ["pr/app/one", "pr/app/two", "pr/busy", "main"] {
        tree.repository(name).image_ago("v1", HOUR * 48);
    }
    let busy = tree.repository("pr/busy");
    busy.upload("fresh", HOUR);
    let policy = tree.beside().join("policy.yml");
    fs::write(&policy, "floor: 0\nrules: [{repositories: 'pr/**', expire: {older-than: 1d}}]").unwrap();
    let flags = ["--policy", policy.to_str().unwrap(), "--remove-empty-repositories"];
    let run = select(&tree, &flags);
    run.exits(0).because("pr/app/one", &["empty"]).because("pr/app/two", &["empty"]);
    run.keeps(&[busy.upload_object("fresh"), tree.repository("main").tag_object("v1"), "pr/busy".to_owned()]);
    assert!(!tree.repository("pr/app").folder().exists() && busy.folder().join("_uploads/fresh").exists());
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
