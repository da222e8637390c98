//! What belongs to an image, signatures above all, stays with it and goes with it (T38).

use crate::support::scenario::{collect, select};
use crate::support::tree::{Manifest, Tree};
use crate::{HOUR, and, control};

/// ```text
/// team/app   v1 => INDEX -> amd64 <~ sha256-<amd64>.sig
///            sha256-<INDEX>.att, .sbom
/// ```
#[test]
fn t38_what_belongs_to_an_image_or_to_a_platform_of_it_stays_with_it() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let amd64 = Manifest::docker("amd64", &["amd64"]);
    app.push(&amd64);
    let index = app.index("v1", &[&amd64]);
    let tags = [app.cosign(&amd64, "sig").0, app.cosign(&index, "att").0, app.cosign(&index, "sbom").0];
    let garbage = control(&tree);
    for flags in [&["-m"][..], &["--keep-last", "1"], &["-m", "--keep-last", "1", "--prune-referrers"]] {
        let objects = tags.iter().map(|tag| app.tag_object(tag)).collect::<Vec<_>>();
        let run = collect(&tree, flags);
        run.exits(0).keeps(&objects).without_complaint();
        if flags == ["-m"] {
            run.removes(&garbage);
        } else {
            run.removes(&[]);
            assert_eq!(run.verdict("team/app", &tags[0]), (None, "subject"));
            assert_eq!(run.verdict("team/app", "v1"), (None, "last"), "signatures are not counted");
        }
    }
}

/// ```text
/// team/app   old => OLD -> amd64 <~ sha256-<amd64>.sig         old goes, and all of it
///                   OLD <~ R <- sha256-<OLD>                    a referrer, by the tag of OCI 1.1
///            new => NEW <~ sha256-<NEW>.sig                     stays
/// ```
#[test]
fn t38_what_belongs_to_an_image_goes_with_it_in_the_same_run() {
    for flags in [&["--keep-last", "1"][..], &["--keep-last", "1", "-m"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let amd64 = Manifest::docker("amd64", &["amd64"]);
        app.push(&amd64);
        let old = Manifest::index("old", &[&amd64]);
        app.push_tagged_ago("old", &old, HOUR);
        let (platform_tag, platform_signature) = app.cosign(&amd64, "sig");
        let referrer = Manifest::referrer("statement", &old);
        let (list_tag, list) = app.referrers_tag(&old, &[&referrer]);
        let new = app.image("new");
        let (kept_tag, kept) = app.cosign(&new, "sig");

        let run = select(&tree, flags);
        let mut gone = vec![app.tag_object("old"), app.tag_object(&platform_tag), app.tag_object(&list_tag)];
        for manifest in [&old, &amd64, &platform_signature, &referrer, &list] {
            gone.extend(app.objects_of(manifest));
        }
        run.exits(0).removes(&gone).keeps(&app.objects_of(&kept)).keeps(&[app.tag_object(&kept_tag)]);
        for tag in ["old", &platform_tag, &list_tag] {
            run.because(&app.tag_object(tag), &["expired"]);
        }
        for manifest in [&old, &amd64, &platform_signature, &referrer, &list] {
            run.because(&app.revision_object(&manifest.digest), &["expired"]);
        }
        assert_eq!(run.verdict("team/app", &platform_tag), (Some("expired"), "with-subject"));
    }
}

/// Nobody leads to the image but its signature, and that is no reason to keep it.
#[test]
fn t38_a_signature_goes_with_its_untagged_image() {
    let make = || {
        let tree = Tree::new();
        tree.repository("team/app").image("v1");
        let loose = tree.repository("team/app").untagged("loose");
        let signature = tree.repository("team/app").cosign(&loose, "sig");
        (tree, loose, signature)
    };
    let (tree, ..) = make();
    collect(&tree, &[]).exits(0).removes(&[]);
    let (tree, loose, (tag, signature)) = make();
    let app = tree.repository("team/app");
    let run = select(&tree, &["-m"]);
    let gone = and(app.objects_of(&loose), and(app.objects_of(&signature), [app.tag_object(&tag)]));
    run.exits(0).removes(&gone).because(&app.tag_object(&tag), &["untagged"]);
}

/// ```text
/// team/app   sha256-<gone>.sig => S <~ sha256-<S>.sig           nobody knows <gone> any more
/// ```
#[test]
fn t38_a_signature_whose_image_was_gone_before_goes_only_if_it_is_asked_for() {
    let make = || {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        let gone = Manifest::docker("gone", &["gone"]);
        let (tag, signature) = app.cosign(&gone, "sig");
        let (second_tag, second) = app.cosign(&signature, "sig");
        (tree, [tag, second_tag], [signature, second])
    };
    for flags in [&[][..], &["-m"], &["--keep-last", "1"], &["-m", "--keep-last", "1"]] {
        let (tree, tags, _) = make();
        let app = tree.repository("team/app");
        let run = collect(&tree, flags);
        run.exits(0).removes(&[]).without_complaint();
        if flags.contains(&"--keep-last") {
            assert_eq!(run.verdict("team/app", &tags[0]), (None, "subject-gone"));
            assert_eq!(run.verdict("team/app", &tags[1]), (None, "subject"));
        }
        run.keeps(&tags.map(|tag| app.tag_object(&tag)));
    }
    for flags in [&["--prune-referrers"][..], &["--prune-referrers", "-m"]] {
        let (tree, tags, manifests) = make();
        let app = tree.repository("team/app");
        let run = select(&tree, flags);
        let gone = tags.iter().map(|tag| app.tag_object(tag)).collect::<Vec<_>>();
        run.exits(0).removes(&and(gone, manifests.iter().flat_map(|manifest| app.objects_of(manifest))));
        for tag in &tags {
            run.because(&app.tag_object(tag), &["dangling"]);
        }
    }
}

/// Signatures may be kept in a repository of their own: what is not beside them is not gone.
///
/// ```text
/// team/app    v1 => M
/// signatures  sha256-<M>.sig                 M has no link here
/// mirror      multi => INDEX -> C            sparse: C lies nowhere but in other/app
/// other/app   C                              untagged, and needed by mirror
/// signatures  sha256-<C>.sig
/// ```
#[test]
fn t38_an_image_in_another_repository_is_not_gone() {
    let tree = Tree::new();
    let image = tree.repository("team/app").image("v1");
    let child = tree.repository("other/app").untagged("child");
    tree.repository("mirror").index("multi", &[&child]);
    let signatures = tree.repository("signatures");
    let tags = [signatures.cosign(&image, "sig").0, signatures.cosign(&child, "sig").0];
    let run = select(&tree, &["-m", "--prune-referrers", "--keep-last", "1"]);
    let other = tree.repository("other/app");
    run.exits(0).keeps(&tags.map(|tag| signatures.tag_object(&tag)));
    let links = child.blobs.iter().map(|blob| other.layer_object(&blob.digest));
    run.removes(&and(vec![other.revision_object(&child.digest)], links));
}

/// A name alone proves nothing: mirrors tag images by their own digest.
///
/// ```text
/// team/app   sha256-<M> => M                         an image under its own digest
///            sha256-<N>.imgpkg => N                  the same, as another tool does it
///            sha256-<gone> => INDEX -> amd64         an image, whatever it is called
///            sha256-<M>.sig => M                     not a signature of itself
///            sha256-<lost> => artifact               it lists nothing, and is no list
/// ```
#[test]
fn t38_a_name_that_looks_like_a_referrer_is_no_proof() {
    let make = || {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let (m, n, gone) =
            (Manifest::docker("m", &["m"]), Manifest::docker("n", &["n"]), Manifest::docker("x", &["x"]));
        let amd64 = Manifest::docker("amd64", &["amd64"]);
        app.push(&amd64);
        let index = Manifest::index("multi", &[&amd64]);
        let name = |manifest: &Manifest| manifest.digest.replace(':', "-");
        let (lost, artifact) = (Manifest::docker("lost", &["lost"]), Manifest::artifact("artifact", &[]));
        let tags = [name(&m), format!("{}.imgpkg", name(&n)), name(&gone), format!("{}.sig", name(&m)), name(&lost)];
        for (place, (tag, manifest)) in tags.iter().zip([&m, &n, &index, &m, &artifact]).enumerate() {
            app.push_tagged_ago(tag, manifest, HOUR * (place as u32 + 1));
        }
        (tree, tags)
    };
    let (tree, tags) = make();
    let app = tree.repository("team/app");
    let run = select(&tree, &["-m", "--prune-referrers"]);
    run.exits(0).removes(&[]).keeps(&tags.each_ref().map(|tag| app.tag_object(tag)));
    // They are counted like any other.
    let (tree, tags) = make();
    let app = tree.repository("team/app");
    let run = select(&tree, &["--keep-last", "2"]);
    let left: Vec<bool> = tags.iter().map(|tag| app.tag_folder(tag).exists()).collect();
    assert_eq!(left, [true, true, false, false, false]);
    assert_eq!(run.verdict("team/app", &tags[0]), (None, "last"));
    assert_eq!(run.verdict("team/app", &tags[2]), (Some("expired"), "not-kept"));
}

/// A digest of 128 characters does not fit into a tag; the first 64 of them stand for it.
#[test]
fn t38_a_long_digest_in_a_tag_is_cut() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = |words: &str| Manifest::docker(words, &[words]).named_by_sha512();
    let (old, new, gone) = (image("old"), image("new"), image("gone"));
    app.push_tagged_ago("old", &old, HOUR);
    app.push_tagged("new", &new);
    let lists = [&old, &new, &gone].map(|subject| {
        let referrer = Manifest::referrer(&format!("about {}", subject.digest), subject);
        app.push(&referrer);
        let list = Manifest::index(&format!("referrers of {}", subject.digest), &[&referrer]);
        let tag = format!("sha512-{}", &subject.digest["sha512:".len()..][..64]);
        app.push_tagged(&tag, &list);
        (tag, list, referrer)
    });
    let run = select(&tree, &["--keep-last", "1", "--prune-referrers"]);
    let (tag, list, referrer) = &lists[0];
    let objects = [&old, list, referrer].into_iter().flat_map(|manifest| app.objects_of(manifest));
    run.exits(0).removes(&and(vec![app.tag_object("old"), app.tag_object(tag)], objects));
    assert_eq!(run.verdict("team/app", &lists[1].0), (None, "subject"));
    // Nobody knows which digest it was.
    assert_eq!(run.verdict("team/app", &lists[2].0), (None, "subject-gone"));
}

/// ```text
/// team/app   A <~ B <~ C <~ A            untagged, in a circle
///            sha256-<S>.sig => T, sha256-<T>.sig => S      two signatures of each other
/// ```
#[test]
fn t38_circles_end() {
    let make = || {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        let (s, t) = (Manifest::oci("s", &["s"]), Manifest::oci("t", &["t"]));
        let name = |manifest: &Manifest| format!("{}.sig", manifest.digest.replace(':', "-"));
        app.push_tagged(&name(&s), &t);
        app.push_tagged(&name(&t), &s);
        (tree, [name(&s), name(&t)], [s, t])
    };
    let (tree, tags, manifests) = make();
    let app = tree.repository("team/app");
    collect(&tree, &["--keep-last", "1"]).exits(0).removes(&[]).keeps(&tags.each_ref().map(|tag| app.tag_object(tag)));
    let run = select(&tree, &["-m"]);
    let gone = tags.iter().map(|tag| app.tag_object(tag)).collect::<Vec<_>>();
    run.exits(0).removes(&and(gone, manifests.iter().flat_map(|manifest| app.objects_of(manifest))));
}

/// A referrer of an image that a tag and another image share goes only when both are gone.
#[test]
fn t38_a_platform_that_two_indexes_share_keeps_its_signature() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let (shared, own) = (Manifest::docker("shared", &["shared"]), Manifest::docker("own", &["own"]));
    app.push(&shared);
    app.push(&own);
    let (old, new) = (Manifest::index("old", &[&shared, &own]), Manifest::index("new", &[&shared]));
    app.push_tagged_ago("old", &old, HOUR);
    app.push_tagged("new", &new);
    let (kept_tag, kept) = app.cosign(&shared, "sig");
    let (gone_tag, gone) = app.cosign(&own, "sig");
    let run = select(&tree, &["--keep-last", "1"]);
    let objects = [&old, &own, &gone].into_iter().flat_map(|manifest| app.objects_of(manifest));
    run.exits(0).removes(&and(vec![app.tag_object("old"), app.tag_object(&gone_tag)], objects));
    run.keeps(&app.objects_of(&kept)).keeps(&[app.tag_object(&kept_tag)]);
}

/// The registry may keep links of referrers in a folder of its own one day: nobody knows yet what is in it.
#[test]
fn t38_a_folder_named_referrers_is_kept() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let old = app.image_ago("old", HOUR);
    app.image("new");
    let signature = Manifest::referrer("signature", &old);
    app.push(&signature);
    let hex = |manifest: &Manifest| manifest.digest.replace(':', "/");
    let mut links = Vec::new();
    for folder in [app.folder().join("_referrers"), app.folder().join("_manifests/_referrers")] {
        let link = folder.join(hex(&old)).join(hex(&signature)).join("link");
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::fs::write(&link, &signature.digest).unwrap();
        links.push(link);
    }
    let flags = ["-m", "--keep-last", "1", "--prune-referrers", "--remove-empty-repositories"];
    let run = select(&tree, &flags);
    run.exits(0).because(&app.revision_object(&signature.digest), &["expired"]);
    for link in links {
        assert_eq!(std::fs::read_to_string(&link).unwrap(), signature.digest);
    }
    assert!(run.real.has("info", "_referrers"));
}

/// What cannot be read is not a signature that may go, and its subject is not known to be gone.
#[test]
fn t38_a_damaged_signature_stays_and_taints() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image_ago("old", HOUR);
    let old = tree.repository("team/app").image_ago("older", HOUR * 2);
    let new = app.image("new");
    let (tag, signature) = app.cosign(&old, "sig");
    std::fs::write(tree.data(&signature.digest), b"{}").unwrap();
    let run = collect(&tree, &["--keep-last", "1"]);
    run.exits(3).removes(&[]).keeps(&app.objects_of(&new)).keeps(&[app.tag_object("older"), app.tag_object(&tag)]);
    assert_eq!(run.verdict("team/app", "older"), (None, "tainted"));
    assert_eq!(run.verdict("team/app", &tag), (None, "damaged"));
}
