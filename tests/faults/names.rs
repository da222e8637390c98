//! A tree in which names may go: rules and their history, signatures beside and far from their images, what runs.

use std::fs;
use std::time::SystemTime;

use regsweep::policy::{Policy, Protected, file};

use super::HOUR;
use super::support::tree::{Manifest, Tree, set_time};

const RULES: &str = "
rules:
  - {tags: 'r.*', keep: {last: 2, tag-history: 1}}
  - {tags: 'x.*', floor: 0, expire: {older-than: 1h}}
";

/// The rules, and what runs: by a name, by a config, and by the digest of what was deleted.
pub(super) fn policy(tree: &Tree, delete_untagged: bool) -> Policy {
    let amd64 = Manifest::docker("amd64", &["amd64"]);
    let deleted = Manifest::docker("in-use deleted", &["of deleted"]);
    assert!(tree.data(&deleted.digest).exists(), "it was pushed under this digest");
    let in_use = format!("registry.example.com/in-use:x-old {} {}", amd64.blobs[0].digest, deleted.digest);
    Policy {
        delete_untagged,
        drop_dangling_tags: true,
        prune_referrers: true,
        retention: Some(file::parse(RULES).unwrap()),
        protected: Protected::parse(&in_use).unwrap(),
        ..Policy::default()
    }
}

/// ```text
/// rules       r0 ... r4, r9, r9h (moved three times)     the last two stay, with one former digest each
///             x1 <~ signature, list; x2                  go, and what belongs to x1 with it
///             r9 <~ signature, list of two               stay
///             dangling                                   goes
/// signatures  of r9; of what is gone; of a child that only a sparse index needs
/// in-use      x-old, x-multi                             stay, x-go goes, `deleted` keeps its blobs
/// ```
pub(super) fn tree() -> Tree {
    let tree = Tree::new();
    let app = tree.repository("rules");
    for n in 0..5 {
        app.image_ago(&format!("r{n}"), HOUR * (30 - n));
    }
    let x = app.image_ago("x1", HOUR * 5);
    app.image_ago("x2", HOUR * 4);
    app.cosign(&x, "sig");
    app.referrers_tag(&x, &[&Manifest::referrer("statement", &x)]);
    let kept = app.image_ago("r9", HOUR);
    app.cosign(&kept, "sig");
    let (one, two) = (Manifest::referrer("one", &kept), Manifest::referrer("two", &kept));
    let (tag, _) = app.referrers_tag(&kept, &[&one, &two]);
    app.pushed_ago(&tag, HOUR * 20);
    for n in 0..4 {
        let image = Manifest::docker(&format!("h{n}"), &[&format!("h{n}")]);
        app.push_tagged("r9h", &image);
        set_time(&app.history("r9h", &image.digest).join("link"), SystemTime::now() - HOUR * (9 - n));
    }
    app.pushed_ago("r9h", HOUR * 2);
    let dangling = app.image("dangling");
    fs::remove_dir_all(app.revision(&dangling.digest)).unwrap();

    let signatures = tree.repository("signatures");
    signatures.cosign(&kept, "sig");
    signatures.cosign(&Manifest::docker("gone", &["gone"]), "sig");
    let child = Manifest::docker("child", &["child"]);
    tree.repository("elsewhere").push(&child);
    signatures.cosign(&child, "att");
    tree.repository("sparse").index("multi", &[&child]);

    let in_use = tree.repository("in-use");
    in_use.image_ago("x-old", HOUR * 50);
    let amd64 = Manifest::docker("amd64", &["amd64"]);
    in_use.push(&amd64);
    in_use.push_tagged_ago("x-multi", &Manifest::index("x-multi", &[&amd64]), HOUR * 60);
    in_use.image_ago("x-go", HOUR * 50);
    let deleted = in_use.image_with_layers("deleted", &["of deleted"]);
    in_use.delete_by_api(&deleted);
    tree.orphan("orphan");
    tree
}
