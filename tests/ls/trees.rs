//! What stands below what.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::process::Run;
use super::support::tree::{Manifest, Tree, everything};
use super::{about, image, index_of, ls, ls_for_people, on, repositories, rows, tag_about};

/// Rows and what lies below them as indented lines: what each is called and of what kind it is.
fn drawn(rows: &[Value], name: &impl Fn(&Value) -> String) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows {
        lines.push(format!("{} {}", name(row), row["kind"].as_str().unwrap()));
        for (list, mark) in [("children", "-"), ("referrers", "+")] {
            let below = drawn(row[list].as_array().unwrap(), name);
            lines.extend(below.into_iter().map(|line| match line.strip_prefix("  ") {
                Some(deeper) => format!("    {deeper}"),
                None => format!("  {mark} {line}"),
            }));
        }
    }
    lines
}

/// The tags of rows, else the name of the manifest in the scenario.
fn tree_of(run: &Run, names: &[(&str, &Manifest)]) -> Vec<String> {
    run.exits(0);
    let name = |row: &Value| match row["tag"].as_str() {
        Some(tag) => {
            names.iter().fold(tag.to_owned(), |tag, (name, manifest)| tag.replace(&manifest.digest[7..], name))
        }
        None => {
            let digest = row["digest"].as_str().unwrap();
            let known = names.iter().find(|(_, manifest)| manifest.digest == digest);
            format!("({})", known.map_or(digest, |(name, _)| name))
        }
    };
    drawn(&rows(run), &name)
}

/// ```text
/// v1, latest => INDEX -> amd64, arm64
/// sbom: about the index, by `subject`      scan: about the sbom, by `subject`
/// sha256-INDEX => list of referrers -> sbom
/// sha256-INDEX.sig: about the index        sha256-arm64.att: about a platform
/// loose, and loose-sbom about it           sha256-gone.sig, gone-sbom: about what is not here
/// ```
struct Scene {
    tree: Tree,
    manifests: Vec<(&'static str, Manifest)>,
}

impl Scene {
    fn new() -> Scene {
        let tree = Tree::new();
        let app = tree.repository("app");
        let (amd64, arm64) =
            (image("linux/amd64", "2020-01-01T00:00:00Z"), image("linux/arm64", "2020-01-01T00:00:00Z"));
        let index = index_of(&[(&amd64, on("linux/amd64")), (&arm64, on("linux/arm64"))], &json!({}));
        [&amd64, &arm64].iter().for_each(|child| app.push(child));
        app.push_tagged("v1", &index);
        app.tag("latest", &index);
        let sbom = about(&index, "application/spdx+json");
        let scan = about(&sbom, "text/scan");
        let signature = Manifest::oci("signature", &["signature"]);
        let attestation = Manifest::oci("attestation", &["attestation"]);
        let list = index_of(&[(&sbom, json!({"artifactType": "application/spdx+json"}))], &json!({}));
        app.push(&sbom);
        app.push(&scan);
        app.push_tagged(&tag_about(&index, ""), &list);
        app.push_tagged(&tag_about(&index, ".sig"), &signature);
        app.push_tagged(&tag_about(&arm64, ".att"), &attestation);
        let loose = image("linux/riscv64", "2020-01-01T00:00:00Z");
        let loose_sbom = about(&loose, "application/spdx+json");
        app.push(&loose);
        app.push(&loose_sbom);
        let gone = image("linux/mips", "2020-01-01T00:00:00Z");
        let gone_sbom = about(&gone, "application/spdx+json");
        app.push(&gone_sbom);
        app.push_tagged(&tag_about(&gone, ".sig"), &signature);
        let manifests = vec![
            ("INDEX", index),
            ("amd64", amd64),
            ("arm64", arm64),
            ("sbom", sbom),
            ("scan", scan),
            ("list", list),
            ("loose", loose),
            ("loose-sbom", loose_sbom),
            ("GONE", gone),
            ("gone-sbom", gone_sbom),
        ];
        Scene { tree, manifests }
    }

    fn drawn(&self, arguments: &[&str]) -> Vec<String> {
        let names: Vec<(&str, &Manifest)> = self.manifests.iter().map(|(name, manifest)| (*name, manifest)).collect();
        tree_of(&ls(&self.tree, &[&["--tree"], arguments].concat()), &names)
    }

    fn manifest(&self, name: &str) -> &Manifest {
        &self.manifests.iter().find(|(known, _)| *known == name).unwrap().1
    }
}

const BELOW_THE_INDEX: [&str; 7] = [
    "  - (amd64) image",
    "  - (arm64) image",
    "    + sha256-arm64.att attestation",
    "  + sha256-INDEX referrers",
    "  + sha256-INDEX.sig signature",
    "  + (sbom) artifact",
    "    + (scan) artifact",
];

fn with_all_below(tags: &[&str], more: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    for tag in tags {
        lines.push(format!("{tag} index"));
        lines.extend(BELOW_THE_INDEX.map(str::to_owned));
    }
    lines.extend(more.iter().map(|line| (*line).to_owned()));
    lines
}

#[test]
fn everything_stands_below_what_it_belongs_to() {
    let scene = Scene::new();
    let gone = ["sha256-GONE.sig signature", "(gone-sbom) artifact"];
    assert_eq!(scene.drawn(&["app"]), with_all_below(&["latest", "v1"], &gone));
    let loose = ["(loose) image", "  + (loose-sbom) artifact"];
    assert_eq!(
        scene.drawn(&["app", "--untagged"]),
        with_all_below(&["latest", "v1"], &[&loose[..], &gone[..]].concat())
    );
    // With a tag: that, and what belongs to it.
    assert_eq!(scene.drawn(&["app:v1"]), with_all_below(&["v1"], &[]));
    // A tag that was asked for is shown, also where what it is about is not.
    assert_eq!(scene.drawn(&["app:*.att"]), ["sha256-arm64.att attestation"]);
    assert_eq!(scene.drawn(&["app:sha256-*.sig"]), ["sha256-INDEX.sig signature", "sha256-GONE.sig signature"]);
}

/// Without a tree every tag has a row of its own, and nothing else has.
#[test]
fn without_a_tree_tags_stand_side_by_side() {
    let scene = Scene::new();
    let rows = rows(&ls(&scene.tree, &["app"]));
    assert_eq!(rows.len(), 6);
    assert!(rows.iter().all(|row| row["tag"].is_string() && row.get("children").is_none()), "{rows:#?}");
}

/// The same for a person.
#[test]
fn a_tree_is_drawn_by_indenting() {
    let scene = Scene::new();
    let text = ls_for_people(&scene.tree, &["app", "--tree", "-v"]).exits(0).text();
    let digest_of = |name: &str| scene.manifest(name).digest.clone();
    let index = digest_of("INDEX").replace(':', "-");
    for (indent, label, digest) in [
        (0, "v1", digest_of("INDEX")),
        (2, "linux/arm64", digest_of("arm64")),
        (4, &format!("{}.att", digest_of("arm64").replace(':', "-")), String::new()),
        (2, &index, digest_of("list")),
        (2, &format!("{index}.sig"), String::new()),
        (2, "<spdx+json>", digest_of("sbom")),
        (4, "<text/scan>", digest_of("scan")),
        (2, "<spdx+json>", digest_of("gone-sbom")),
    ] {
        let begins = format!("{}{label} ", " ".repeat(indent));
        let is_it = |line: &&str| line.starts_with(&begins) && line.contains(&digest);
        assert!(text.lines().any(|line| is_it(&line)), "{begins:?} {digest} in\n{text}");
    }
    let end: Vec<&str> = text.lines().skip_while(|line| *line != "<subject gone>").collect();
    assert_eq!(end.len(), 3, "{text}");
}

/// An index that lists the image that it is about, and two cosign tags that are about each other.
///
/// ```text
/// v1 => image        audit (subject: image) -> image         sha256-A.sig => B      sha256-B.sig => A
/// ```
#[test]
fn a_circle_ends() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let v1 = app.image("v1");
    let subject = json!({"subject": {"mediaType": "x", "digest": v1.digest, "size": v1.bytes.len()}});
    let audit = index_of(&[(&v1, json!({}))], &subject);
    app.push(&audit);
    let [a, b] = ["a", "b"].map(|words| Manifest::oci(words, &[words]));
    app.push_tagged(&tag_about(&a, ".sig"), &b);
    app.push_tagged(&tag_about(&b, ".sig"), &a);
    for flags in [&["app"][..], &["app", "--untagged"]] {
        let names = [("audit", &audit), ("image", &v1), ("A", &a), ("B", &b)];
        let drawn = tree_of(&ls(&tree, &[&["--tree"], flags].concat()), &names);
        let [.., first, second, third] = drawn.as_slice() else { panic!("{drawn:#?}") };
        assert_eq!([first, second, third], ["v1 image", "  + (audit) index", "    - (image) image"], "{drawn:#?}");
        for tag in ["sha256-A.sig", "sha256-B.sig"] {
            assert!(drawn.iter().any(|line| line.contains(tag)), "{tag} is there: {drawn:#?}");
        }
        assert!(drawn.len() <= 7, "{drawn:#?}");
        assert!(ls_for_people(&tree, &[&["--tree"], flags].concat()).exits(0).text().lines().count() <= 9);
    }
}

/// Every tag and every revision is somewhere, whatever there is.
#[test]
fn nothing_is_lost_in_a_tree() {
    fn collect(rows: &[Value], tags: &mut BTreeSet<String>, digests: &mut BTreeSet<String>) {
        for row in rows {
            tags.extend(row["tag"].as_str().map(str::to_owned));
            digests.extend(row["digest"].as_str().map(str::to_owned));
            ["children", "referrers"].iter().for_each(|list| collect(row[list].as_array().unwrap(), tags, digests));
        }
    }
    for tree in [everything(), Scene::new().tree] {
        let flat = repositories(ls(&tree, &["--untagged"]).exits(0));
        let deep = repositories(ls(&tree, &["--untagged", "--tree"]).exits(0));
        for (flat, deep) in flat.iter().zip(&deep) {
            let (mut tags, mut digests) = (BTreeSet::new(), BTreeSet::new());
            collect(deep["manifests"].as_array().unwrap(), &mut tags, &mut digests);
            for row in flat["manifests"].as_array().unwrap() {
                assert!(row["tag"].as_str().is_none_or(|tag| tags.contains(tag)), "{row:#}");
                assert!(digests.contains(row["digest"].as_str().unwrap()), "{row:#}");
            }
            let folder = tree.repositories().join(flat["name"].as_str().unwrap()).join("_manifests/tags");
            assert_eq!(tags.len(), std::fs::read_dir(folder).unwrap().count());
        }
    }
}

/// Something about something about something: as deep as somebody wants, and the stack holds, and so does whoever reads
/// the JSON.
#[test]
fn a_long_chain_ends() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let mut last = app.image("v1");
    for _ in 0..1000 {
        last = about(&last, "text/x");
        app.push(&last);
    }
    let rows = rows(ls(&tree, &["app", "--tree"]).exits(0));
    let mut depth = 0;
    let mut row = &rows[0];
    while let Some(next) = row["referrers"].get(0) {
        (row, depth) = (next, depth + 1);
    }
    assert_eq!((rows.len(), depth), (1, 24));
    assert_eq!(ls_for_people(&tree, &["app", "--tree"]).exits(0).text().lines().count(), 26);
}

/// Indexes of indexes that each list the next one many times over: every row is written, and within 80 columns.
#[test]
fn what_is_listed_many_times_is_shown_as_often() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let mut last = app.image("v1");
    for level in 0..3 {
        let entries: Vec<(&Manifest, Value)> = (0..40).map(|n| (&last, on(&format!("linux/{level}-{n}")))).collect();
        last = index_of(&entries, &json!({}));
        app.push(&last);
    }
    app.tag("bomb", &last);
    let text = ls_for_people(&tree, &["app:bomb", "--tree"]).exits(0).text();
    assert_eq!(text.lines().count(), 2 + 40 + 40 * 40 + 40 * 40 * 40);
    assert!(text.lines().all(|line| line.chars().count() <= 80));
}
