//! What a second pair of eyes has found: in doubt something was taken for gone, for whole, or for empty.

use std::fs;
use std::time::Duration;

use regsweep::policy::{Policy, file};
use regsweep::seam::{Answer, Kind};

use crate::support::inside::{Nth, call, gc_inside, options};
use crate::support::process::{finish, regsweep};
use crate::support::scenario::{gc, restore, rm, select};
use crate::support::tree::{Manifest, Tree, blob_object};

const DAY: Duration = Duration::from_secs(86_400);

/// Only the tag is in the trash, and its image went later.
#[test]
fn t53_a_tag_whose_image_went_later_is_not_put_back() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1");
    app.tag("v2", &image);
    app.image("other");
    let first = rm(&tree, &["--registry-stopped"], &["team/app:v1"]).report();
    rm(&tree, &["--registry-stopped", "--collect"], &["team/app:v2"]).exits(0);
    assert!(!tree.objects().contains(&blob_object(&image.digest)));
    let run = restore(&tree, first.run(), &[]);
    run.exits(4);
}

/// The same where only the revision went later.
#[test]
fn t53_a_tag_whose_revision_went_later_is_not_put_back() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1");
    app.tag("v2", &image);
    app.image("other");
    let first = rm(&tree, &["--registry-stopped"], &["team/app:v1"]).report();
    rm(&tree, &["--registry-stopped"], &["team/app:v2"]).exits(0);
    let run = restore(&tree, first.run(), &[]);
    run.exits(4);
}

/// A child of the index went with another index later.
#[test]
fn t53_an_index_whose_child_went_later_is_not_put_back() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let shared = Manifest::docker("shared", &["shared"]);
    app.push(&shared);
    app.index("v1", &[&shared]);
    app.index("v2", &[&shared]);
    app.image("other");
    let first = rm(&tree, &["--registry-stopped"], &["team/app:v1"]).report();
    rm(&tree, &["--registry-stopped"], &["team/app:v2"]).exits(0);
    let run = restore(&tree, first.run(), &[]);
    run.exits(4);
}

/// The same where the blobs of the child were collected.
#[test]
fn t53_an_index_whose_child_was_collected_is_not_put_back() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let shared = Manifest::docker("shared", &["shared"]);
    app.push(&shared);
    app.push_tagged_ago("v1", &Manifest::index("v1", &[&shared]), DAY);
    app.push_tagged("v2", &Manifest::index("v2", &[&shared]));
    app.image("other");
    let first = gc(&tree, &["--registry-stopped", "--quarantine", "--keep-tag", "v2|other"]).report();
    assert_eq!(first.actions_of("tag").len(), 1);
    rm(&tree, &["--registry-stopped", "--collect"], &["team/app:v2"]).exits(0);
    assert!(!tree.objects().contains(&blob_object(&shared.digest)));
    restore(&tree, first.run(), &[]).exits(4);
}

/// A layer by its sha512 name, whose link names the sha256 one.
#[test]
fn t53_a_layer_by_its_sha512_name_is_not_missed() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let layer = app.stray_layer("long");
    let config = app.stray_layer("config");
    let long = crate::support::formats::sha512(&layer.bytes);
    let folder = app.layer(&long);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("link"), &layer.digest).unwrap();
    let json = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{long}","size":{}}}]}}"#,
        config.digest,
        config.bytes.len(),
        layer.bytes.len()
    );
    app.push_tagged("v1", &Manifest::raw(json));
    app.image("other");
    let delivered = tree.deliverable(true);
    gc(&tree, &["--registry-stopped"]).exits(0);
    assert_eq!(delivered, tree.deliverable(true));
    let first = rm(&tree, &["--registry-stopped"], &["team/app:v1"]).report();
    let run = restore(&tree, first.run(), &[]);
    run.exits(0);
}

/// A referrer that is named by its digest goes while its subject stays.
#[test]
fn t38_a_referrer_that_is_named_goes_alone() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1");
    let referrer = Manifest::referrer("sbom", &image);
    app.push(&referrer);
    let run = rm(&tree, &["--registry-stopped"], &[&format!("team/app@{}", referrer.digest)]);
    run.exits(0);
}

/// Signatures of signatures, each in a repository of its own.
#[test]
fn t38_chains_through_repositories_go_in_one_run() {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    let gone = Manifest::docker("gone", &["gone"]);
    let (_, first) = tree.repository("signatures").cosign(&gone, "sig");
    let (_, second) = tree.repository("more").cosign(&first, "sig");
    tree.repository("yet-more").cosign(&second, "sig");
    select(&tree, &["--prune-referrers"]).exits(0);
}

/// The image is tagged, and its manifest blob was lost: it is damaged, not gone.
#[test]
fn t38_an_image_whose_manifest_is_lost_is_damaged_and_not_gone() {
    let tree = Tree::new();
    let image = tree.repository("team/app").image("v1");
    tree.repository("team/app").image("v2");
    let signatures = tree.repository("signatures");
    let (tag, _) = signatures.cosign(&image, "sig");
    fs::remove_dir_all(tree.blob(&image.digest)).unwrap();
    let run = select(&tree, &["--prune-referrers"]);
    run.keeps(&[signatures.tag_object(&tag)]);
}

/// `stable` is a tag that no rule is about.
#[test]
fn t37_the_history_of_a_tag_that_no_rule_is_about_stays() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let former = Manifest::docker("former", &["former"]);
    for tag in ["latest", "stable"] {
        app.push_tagged(tag, &former);
        app.push_tagged(tag, &Manifest::docker(&format!("now {tag}"), &[tag]));
    }
    let path = tree.beside().join("policy.yml");
    fs::write(&path, "rules: [{tags: latest, keep: {tag-history: 0}}]").unwrap();
    let run = select(&tree, &["--policy", path.to_str().unwrap()]);
    run.keeps(&app.objects_of(&former)).keeps(&[app.history_object("stable", &former.digest)]);
}

/// What is almost a digest would be taken for a name, and protect nothing.
#[test]
fn t54_what_is_almost_a_digest_is_no_name() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let old = app.image_ago("old", DAY);
    app.image("new");
    for text in [
        old.digest.to_uppercase().replace("SHA256", "sha256"),
        old.digest[..19].to_owned(),
        old.digest[7..].to_owned(),
        old.digest[7..19].to_owned(),
        format!("SHA256:{}", &old.digest[7..]),
    ] {
        let path = tree.beside().join("in-use");
        fs::write(&path, &text).unwrap();
        let run = gc(&tree, &["--dry-run", "--keep-last", "1", "--protect", path.to_str().unwrap()]);
        run.exits(2);
        assert!(run.stderr.contains("line 1: ") && run.stderr.contains("is neither a digest nor"), "{}", run.stderr);
    }
}

/// A protected digest without a link that cannot be read.
#[test]
fn t06_a_protected_manifest_that_cannot_be_read_keeps_every_blob() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v2");
    let v1 = app.image_with_layers("v1", &["only v1"]);
    app.delete_by_api(&v1);
    let path = tree.beside().join("in-use");
    fs::write(&path, &v1.digest).unwrap();
    let broken = tree.unreadable(&tree.data(&v1.digest));
    let run = gc(&tree, &["--registry-stopped", "-m", "--protect", path.to_str().unwrap()]);
    broken.mend();
    run.exits(4);
    assert!(run.stderr.contains("which is protected"), "{}", run.stderr);
    for blob in &v1.blobs {
        assert!(tree.objects().contains(&blob_object(&blob.digest)), "{} went", blob.digest);
    }
}

/// A referrer behind a revision link that names another digest than its path.
#[test]
fn t11_a_referrer_behind_a_mismatched_link_stays_with_its_subject() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1");
    let referrer = Manifest::referrer("sbom", &image);
    app.push(&referrer);
    let odd = Manifest::docker("odd", &["odd"]);
    fs::rename(app.revision(&referrer.digest), app.revision(&odd.digest)).unwrap();
    let delivered = tree.deliverable(true);
    gc(&tree, &["--registry-stopped", "-m"]);
    let now = tree.deliverable(true);
    let lost: Vec<_> = delivered.difference(&now).collect();
    assert!(lost.is_empty(), "{lost:#?}");
}

/// What was removed as empty is not missing.
#[test]
fn t02_repositories_that_were_removed_as_empty_are_not_missed() {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    for n in 0..4 {
        tree.repository(&format!("old/app{n}")).untagged("x");
    }
    gc(&tree, &["--registry-stopped", "-m", "--remove-empty-repositories"]).exits(0);
    let run = gc(&tree, &["--registry-stopped", "-m", "--remove-empty-repositories"]);
    run.exits(0);
}

/// A repository that goes whole, with a revision behind a symbolic link.
#[test]
fn t04_a_linked_revision_of_a_repository_that_goes_keeps_its_image() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    tree.repository("other").image("v1");
    let linked = app.untagged("linked");
    let outside = tree.beside().join("outside");
    fs::rename(app.revision(&linked.digest), &outside).unwrap();
    tree.symlink(&outside, &app.revision(&linked.digest));
    let report = rm(&tree, &["--registry-stopped"], &["team/app"]).report();
    let next = gc(&tree, &["--registry-stopped"]).report();
    assert_eq!(next.bytes("removed", "blobs"), report.0["next_gc"]["blobs"]["bytes"].as_u64().unwrap());
}

/// The newest tag lacks a layer: it must not push out the one that can be pulled.
#[test]
fn t35_a_tag_that_lacks_a_layer_takes_nobodys_place() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image_ago("v1", DAY);
    let v2 = app.image_with_layers("v2", &["only v2"]);
    let layer = v2.blobs.last().unwrap();
    fs::remove_dir_all(tree.blob(&layer.digest)).unwrap();
    let run = gc(&tree, &["--registry-stopped", "--keep-last", "1"]);
    run.exits(3);
    assert!(run.report().has("error", "no rule lets a tag go here"), "{}", run.text());
    assert!(tree.objects().contains(&app.tag_object("v1")));
}

/// Where no repository is left, `gc` refuses to take the blobs.
#[test]
fn t02_who_removes_the_last_repository_is_told_how_to_free_its_blobs() {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    let report = rm(&tree, &["--registry-stopped"], &["team/app"]).report();
    assert!(report.0["advice"].to_string().contains("--collect"), "{}", report.0["advice"]);
    gc(&tree, &["--registry-stopped"]).exits(4);
}

/// A list of referrers, one of which is damaged; its image stays.
#[test]
fn t38_a_list_with_a_damaged_referrer_stays() {
    for how in ["damaged", "unreadable"] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        let image = app.image("v1");
        let (whole, broken) = (Manifest::referrer("whole", &image), Manifest::referrer("broken", &image));
        let (tag, list) = app.referrers_tag(&image, &[&whole, &broken]);
        app.pushed_ago(&tag, DAY);
        let mended = if how == "damaged" {
            fs::write(tree.data(&broken.digest), b"{").unwrap();
            None
        } else {
            Some(tree.unreadable(&tree.data(&broken.digest)))
        };
        let run = gc(&tree, &["--registry-stopped", "--keep-last", "1"]);
        if let Some(it) = mended {
            it.mend();
        }
        run.exits(3);
        assert!(tree.objects().contains(&app.tag_object(&tag)), "{how}: the list of {} went", list.digest);
    }
}

/// `--min-age` and a dangling tag that was pushed a moment ago.
#[test]
fn t41_a_dangling_tag_that_is_too_young_stays() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v2");
    let image = app.image("v1");
    fs::remove_dir_all(app.revision(&image.digest)).unwrap();
    let run = gc(&tree, &["--dry-run", "--drop-dangling-tags", "--min-age", "1h"]);
    assert_eq!(run.report().actions(), []);
}

/// No pattern, duration or path that is wrong reaches the terminal raw.
#[test]
fn escape_sequences_in_patterns_are_not_printed_raw() {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    let root = tree.root();
    for flags in [
        vec!["--repository", "[\u{1b}-\u{1}]", "--keep-last", "1"],
        vec!["--keep-tag", "\u{1b}[31m("],
        vec!["--keep-tag", "[\u{1b}-\u{1}]"],
        vec!["--keep-within", "\u{1b}[31m"],
        vec!["--keep-tag-history", "\u{1b}[31m"],
        vec!["--policy", "/no/\u{1b}[31m"],
        vec!["--keep-last", "1", "--repository", "\u{1b}[31mx"],
    ] {
        let arguments: Vec<String> = ["gc", "--dry-run"]
            .iter()
            .chain(&flags)
            .map(|it| (*it).to_owned())
            .chain([root.to_str().unwrap().to_owned()])
            .collect();
        let run = finish(regsweep(&arguments));
        let out = format!("{}{}", run.stderr, String::from_utf8_lossy(&run.stdout));
        assert!(!out.contains('\u{1b}'), "{}", out.escape_debug());
    }
    for text in [
        "rules: [{repositories: \"[\\e-\\x01]\", keep: {last: 1}}]",
        "rules: [{\"\\e[31m\": 1}]",
        "rules: [{tags: \"\\e[31m(\", keep: {last: 1}}]",
        "rules: [{name: x, repositories: \"{\\e\", keep: {last: 1}}]",
        "rules: \"\\e[31m",
        "rules: [{keep: {last: \"\\e[31m\"}}]",
        "version: \"\\e[31m\"\nrules: []",
    ] {
        let path = tree.beside().join("p.yml");
        fs::write(&path, text).unwrap();
        let run = finish(regsweep(&["gc", "--dry-run", "--policy", path.to_str().unwrap(), root.to_str().unwrap()]));
        let out = format!("{}{}", run.stderr, String::from_utf8_lossy(&run.stdout));
        assert!(!out.contains('\u{1b}'), "{}", out.escape_debug());
    }
}

/// A list of referrers whose image was gone before stays; one of what it lists is damaged, as T07 has it.
#[test]
fn t07_a_list_that_stays_without_its_image_taints() {
    for flags in [&[][..], &["--keep-last", "5"], &["-m"], &["--drop-dangling-tags"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        let gone = Manifest::docker("gone", &["gone"]);
        let referrer = Manifest::referrer("statement", &gone);
        let (tag, _) = app.referrers_tag(&gone, &[&referrer]);
        fs::remove_dir_all(tree.blob(&referrer.digest)).unwrap();
        let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
        assert!(tree.objects().contains(&app.tag_object(&tag)));
        for blob in &referrer.blobs {
            assert!(tree.objects().contains(&app.layer_object(&blob.digest)), "{flags:?}: {} went", blob.digest);
        }
        run.exits(3);
    }
}

/// A signature that stays without its image, and lacks a layer.
#[test]
fn t07_a_signature_that_stays_and_lacks_a_layer_is_damage() {
    for flags in [&[][..], &["--keep-last", "5"], &["-m"]] {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        let gone = Manifest::docker("gone", &["gone"]);
        let (_, signature) = app.cosign(&gone, "sig");
        fs::remove_dir_all(tree.blob(&signature.blobs[1].digest)).unwrap();
        let run = gc(&tree, &[&["--registry-stopped"], flags].concat());
        run.exits(3);
    }
}

/// In a tainted repository, the history of a tag that was named keeps nothing.
#[test]
fn t07_what_a_named_tag_led_to_is_not_kept_by_its_history() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let damaged = app.image("damaged");
    fs::write(tree.data(&damaged.digest), b"{").unwrap();
    let dangling = app.image("dangling");
    fs::remove_dir_all(app.revision(&dangling.digest)).unwrap();
    let report = rm(&tree, &["--registry-stopped"], &["team/app:dangling"]).report();
    let next = gc(&tree, &["--registry-stopped"]).report();
    assert_eq!(next.bytes("removed", "blobs"), report.0["next_gc"]["blobs"]["bytes"].as_u64().unwrap());
}

/// Nobody knows what an unreadable manifest needs; it is put back if that is allowed.
#[test]
fn t53_what_cannot_be_read_can_be_put_back_all_the_same() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let image = app.image("v1");
    app.image("v2");
    tree.repository("other").image("v1");
    let objects = tree.objects();
    let broken = tree.unreadable(&tree.data(&image.digest));
    let report = rm(&tree, &["--registry-stopped"], &["team/app"]).report();
    restore(&tree, report.run(), &[]).exits(1);
    restore(&tree, report.run(), &["--allow-missing"]).exits(0);
    broken.mend();
    assert_eq!(tree.objects(), objects);
}

/// Damage that goes with a tag that is pruned is no damage of the tree as it will be.
#[test]
fn t38_damage_that_goes_with_a_pruned_tag_is_none() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let gone = Manifest::docker("gone", &["gone"]);
    let child = Manifest::docker("child", &["child"]);
    app.push(&child);
    let tag = format!("{}.att", gone.digest.replace(':', "-"));
    app.index(&tag, &[&child]);
    fs::write(tree.data(&child.digest), b"{").unwrap();
    select(&tree, &["--prune-referrers"]).exits(0).without_complaint();
}

/// The same where the image is there, and untagged.
#[test]
fn t07_a_list_that_stays_with_an_untagged_image_taints() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let loose = app.untagged("loose");
    let referrer = Manifest::referrer("statement", &loose);
    app.referrers_tag(&loose, &[&referrer]);
    fs::remove_dir_all(tree.blob(&referrer.digest)).unwrap();
    let run = gc(&tree, &["--registry-stopped", "--keep-last", "5"]);
    for blob in &referrer.blobs {
        assert!(tree.objects().contains(&app.layer_object(&blob.digest)), "{} went", blob.digest);
    }
    run.exits(3);
}

/// The history of a tag cannot be listed: it is not empty.
#[test]
fn t06_a_history_that_cannot_be_listed_is_not_empty() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let former = app.image("latest");
    app.push_tagged("latest", &Manifest::docker("now", &["now"]));
    let broken = tree.unreadable(&app.tag_folder("latest").join("index"));
    gc(&tree, &["--registry-stopped", "-m", "--keep-tag-history", "5"]).exits(3);
    broken.mend();
    for object in app.objects_of(&former) {
        assert!(tree.objects().contains(&object), "{object} went");
    }
}

/// A listing of a tag's history that gives less than is there.
#[test]
fn t01_a_short_listing_of_a_history_is_not_believed() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let former: Vec<Manifest> = (0..3)
        .map(|n| {
            let image = Manifest::docker(&format!("former {n}"), &[&format!("former {n}")]);
            app.push_tagged("latest", &image);
            image
        })
        .collect();
    app.push_tagged("latest", &Manifest::docker("now", &["now"]));
    let retention = Some(file::parse("rules: [{keep: {tag-history: 9}}]").unwrap());
    let policy: &'static Policy = Box::leak(Box::new(Policy { delete_untagged: true, retention, ..Policy::default() }));
    for part in 0..4 {
        let tree = tree.copy();
        let app = tree.repository("team/app");
        let hook = Nth::of(
            |kind| kind == Kind::List,
            move |_, operation| {
                if call(operation).path.ends_with("latest/index/sha256") { Answer::Short(part) } else { Answer::Go }
            },
        );
        let mut options = options();
        options.collect.policy = policy;
        gc_inside(&tree.root(), hook.seam(), options);
        for image in &former {
            assert!(tree.objects().contains(&app.revision_object(&image.digest)), "{part}: {} went", image.digest);
        }
    }
}

/// A listing of the blobs that gives less than is there; an image that a tag leads to is not gone.
#[test]
fn t01_a_short_listing_of_blobs_is_no_reason_to_prune() {
    let tree = Tree::new();
    let image = tree.repository("team/app").image("v1");
    let signatures = tree.repository("signatures");
    let (tag, _) = signatures.cosign(&image, "sig");
    let policy: &'static Policy = Box::leak(Box::new(Policy { prune_referrers: true, ..Policy::default() }));
    let shard = tree.blob(&image.digest).parent().unwrap().file_name().unwrap().to_owned();
    for what in ["the shards", "one shard"] {
        let tree = tree.copy();
        let shard = shard.clone();
        let hook = Nth::of(
            |kind| kind == Kind::List,
            move |_, operation| {
                let path = call(operation).path;
                let is_it = if what == "the shards" {
                    path.ends_with("blobs/sha256")
                } else {
                    path.ends_with(std::path::Path::new("blobs/sha256").join(&shard))
                };
                if is_it { Answer::Short(0) } else { Answer::Go }
            },
        );
        let mut options = options();
        options.collect.policy = policy;
        gc_inside(&tree.root(), hook.seam(), options);
        assert!(
            tree.objects().contains(&format!("signatures tag {tag}")),
            "{what}: the signature of a tagged image went"
        );
    }
}
