//! Side by side with the registry's own collector (`docker-registry garbage-collect`, 2.8.2), each on its own copy of
//! the same tree that a real registry wrote.
//!
//! Where the stock collector is right, both leave the same blobs. Where they differ it is by intent, and there is a
//! test for each difference whose comment says why. Those tests pin down what the stock collector does as well, so a
//! newer one that does better is noticed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

mod support;

use support::formats::hex_of;
use support::image::{Image, layer};
use support::process::Run;
use support::real::disk::{blobs_of, copy_tree, layer_links_of, revision_links_of, v2_of};
use support::real::{Mode, RealRegistry, regsweep, stock_collector};

const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";

/// The storage of a stopped registry and a copy of it: regsweep collects the first, the stock collector the second.
struct Pair {
    registry: RealRegistry,
    ours: PathBuf,
    stock: PathBuf,
}

/// Two copies of what `push` makes in a fresh registry.
fn pair(push: impl FnOnce(&mut RealRegistry)) -> Pair {
    let mut registry = RealRegistry::start();
    push(&mut registry);
    registry.stop();
    let stock = registry.fresh_path("stock");
    copy_tree(&registry.root(), &stock);
    Pair { ours: registry.root(), registry, stock }
}

impl Pair {
    fn ours(&self, flags: &[&str]) -> Run {
        regsweep(&[&["gc", "--registry-stopped", self.ours.to_str().unwrap()], flags].concat())
    }

    fn stock(&self, flags: &[&str]) -> Run {
        stock_collector(&self.stock, flags)
    }

    /// Collects both; both have to leave the same blobs, and regsweep all tags as they were.
    fn expect_same_blobs(mut self, flags: &[&str]) {
        let before = blobs_of(&self.ours);
        self.registry.restart(Mode::Writable);
        let pulled = self.registry.pull_all();
        self.registry.stop();

        self.stock(flags).exits(0);
        self.ours(flags).exits(0);
        let (ours, stock) = (blobs_of(&self.ours), blobs_of(&self.stock));
        assert!(stock.len() < before.len(), "nothing to compare: the tree has no garbage");
        let only_ours: BTreeSet<_> = ours.difference(&stock).collect();
        let only_stock: BTreeSet<_> = stock.difference(&ours).collect();
        assert!(only_ours.is_empty() && only_stock.is_empty(), "only ours: {only_ours:?}\nonly stock: {only_stock:?}");
        self.registry.restart(Mode::Writable);
        assert_eq!(self.registry.pull_all(), pulled);
    }

    fn serve_stock(&mut self) {
        self.registry.stop();
        let (ours, aside) = (self.registry.root(), self.registry.fresh_path("aside"));
        fs::rename(&ours, aside).unwrap();
        fs::rename(&self.stock, &ours).unwrap();
        self.registry.restart(Mode::Writable);
    }
}

fn image(words: &str) -> Image {
    Image::oci(words, AMD64, &[layer("base", 9_000), layer(words, 1_000)])
}

fn on_arm(words: &str) -> Image {
    Image::oci(words, ARM64, &[layer(words, 1_000)])
}

// ---- the same

/// Images pushed, pushed again under the same tag, deleted through the API, deleted by hand; a layer without manifest.
fn plain_images(registry: &mut RealRegistry) {
    for (tag, words) in [("1", "one"), ("2", "two"), ("3", "three"), ("latest", "three"), ("latest", "four")] {
        registry.push("team/web", tag, &image(words));
    }
    registry.push("team/api", "1", &Image::docker("api", AMD64, &[layer("base", 9_000), layer("api", 500)]));
    registry.push("team/api", "old", &image("by hand"));
    registry.push("team/api", "older", &image("by API"));
    registry.push("team", "1", &image("two"));
    registry.api_delete("team/web", &image("two").digest());
    registry.api_delete("team/api", &image("by API").digest());
    registry.upload("team/api", layer("no manifest", 700).bytes());
    registry.delete_by_hand("team/api", "old", &image("by hand").digest());
}

#[test]
fn default_mode_leaves_the_same_blobs_plain_images() {
    pair(plain_images).expect_same_blobs(&[]);
}

#[test]
fn delete_untagged_leaves_the_same_blobs_plain_images() {
    pair(plain_images).expect_same_blobs(&["-m"]);
}

#[test]
fn default_mode_leaves_the_same_blobs_indexes() {
    pair(|registry| {
        let gone = Image::index(&[image("gone"), on_arm("gone arm")]);
        registry.push("team/web", "gone", &gone);
        registry.push("team/web", "1", &Image::index(&[image("a"), on_arm("b"), Image::attestation(&image("a"))]));
        registry.push("team/web", "1", &Image::index(&[Image::index(&[image("c"), on_arm("d")]), on_arm("b")]));
        registry.push(
            "team/api",
            "1",
            &Image::manifest_list(&[
                Image::docker("e", AMD64, &[layer("base", 9_000)]),
                Image::docker("f", ARM64, &[layer("f", 800)]),
            ]),
        );
        registry.push_as_docker("team/api", "2", &Image::index(&[image("g"), on_arm("h")]));
        registry.api_delete("team/web", &gone.digest());
        registry.api_delete("team/web", &on_arm("gone arm").digest());
    })
    .expect_same_blobs(&[]);
}

#[test]
fn default_mode_leaves_the_same_blobs_artifacts_and_caches() {
    pair(|registry| {
        let (kept, gone) = (image("kept"), image("gone"));
        let chart = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
        registry.push("team/web", "1", &kept);
        registry.push("team/web", "2", &gone);
        registry.push_untagged("team/web", &Image::referrer("sbom", "application/spdx+json", &kept, 400));
        registry.push_untagged("team/web", &Image::referrer("sbom of gone", "application/spdx+json", &gone, 400));
        registry.push("charts", "1", &Image::oci_artifact("chart", chart, 900));
        registry.push("charts", "1", &image("without mediaType").without_media_type());
        registry.push("ci", "cache", &Image::build_cache("first", &[layer("base", 9_000), layer("step", 700)]));
        registry.push("ci", "cache", &Image::build_cache("second", &[layer("base", 9_000), layer("step 2", 700)]));
        registry.api_delete("team/web", &gone.digest());
        registry.api_delete("ci", &Image::build_cache("first", &[layer("base", 9_000), layer("step", 700)]).digest());
    })
    .expect_same_blobs(&[]);
}

// ---- different, by intent

/// With `-m` the stock collector asks of each manifest whether a tag points at it. The platforms of a tagged index have
/// no tag of their own, so it deletes them: the tag is still there and no platform of it can be pulled. (3.1 has that
/// fixed.) For regsweep what a tagged index lists is as live as the index.
#[test]
fn differs_platforms_of_a_tagged_index_stay_with_delete_untagged() {
    let index = Image::index(&[image("a"), on_arm("b"), Image::attestation(&image("a"))]);
    let mut pair = pair(|registry| {
        registry.push("team/web", "1", &index);
        registry.push("team/web", "latest", &image("first"));
        registry.push("team/web", "latest", &image("second"));
    });
    pair.stock(&["-m"]).exits(0);
    pair.ours(&["-m"]).exits(0);
    assert!(!blobs_of(&pair.ours).contains(&image("first").digest()), "an untagged image goes in both");
    assert!(!blobs_of(&pair.stock).contains(&image("first").digest()), "an untagged image goes in both");

    pair.registry.restart(Mode::Writable);
    let pulled = pair.registry.pull("team/web", "1").unwrap();
    assert_eq!((pulled.contents, pulled.missing.len()), (index.all_digests(), 0));
    pair.serve_stock();
    let pulled = pair.registry.pull("team/web", "1").unwrap();
    assert_eq!(pulled.missing.len(), 3, "the stock collector has learnt: {pulled:?}");
}

/// With `-m` the stock collector deletes every SBOM and signature that refers to an image by `subject` and has no tag,
/// which is how they are stored since OCI 1.1. regsweep keeps a referrer as long as its subject lives, and takes it
/// with its subject.
#[test]
fn differs_referrers_stay_with_their_subject() {
    let (kept, gone) = (image("kept"), image("gone"));
    let (kept_sbom, gone_sbom) = (
        Image::referrer("sbom", "application/spdx+json", &kept, 400),
        Image::referrer("sbom of gone", "application/spdx+json", &gone, 400),
    );
    let signature =
        Image::referrer("signature of the sbom", "application/vnd.dev.cosign.simplesigning.v1+json", &kept_sbom, 90);
    let pair = pair(|registry| {
        registry.push("team/web", "1", &gone);
        registry.push("team/web", "1", &kept);
        registry.push_untagged("team/web", &kept_sbom);
        registry.push_untagged("team/web", &signature);
        registry.push_untagged("team/web", &gone_sbom);
    });
    pair.stock(&["-m"]).exits(0);
    pair.ours(&["-m"]).exits(0);
    let live: BTreeSet<String> = [&kept, &kept_sbom, &signature].iter().flat_map(|i| i.all_digests()).collect();
    assert_eq!(blobs_of(&pair.ours), live);
    assert_eq!(blobs_of(&pair.stock), kept.all_digests());
}

/// An empty link file, which 2.8 leaves when the machine stops while it writes one, ends the stock collector's whole
/// run: nothing is freed anywhere until somebody finds the file. For regsweep it is damage in one repository: that
/// repository keeps everything, the others are collected, and exit status 3 tells.
#[test]
fn differs_an_empty_link_does_not_end_the_run() {
    let pair = pair(|registry| {
        registry.push("team/broken", "1", &image("one"));
        registry.push("team/broken", "2", &image("two"));
        registry.upload("team/broken", layer("in a broken repository", 700).bytes());
        registry.push("team/web", "1", &image("three"));
        registry.upload("team/web", layer("garbage", 700).bytes());
    });
    for root in [&pair.ours, &pair.stock] {
        let tag = v2_of(root).join("repositories/team/broken/_manifests");
        let link = tag.join("revisions/sha256").join(image("two").hex()).join("link");
        fs::write(link, "").unwrap();
    }
    let before = blobs_of(&pair.ours);
    let ran = pair.stock(&[]);
    assert_ne!(ran.code, 0, "the stock collector has learnt: {ran:?}");
    assert_eq!(blobs_of(&pair.stock), before);

    pair.ours(&[]).exits(3);
    let freed: BTreeSet<String> = before.difference(&blobs_of(&pair.ours)).cloned().collect();
    assert_eq!(freed, BTreeSet::from([layer("garbage", 700).digest()]));
}

/// T08 with real pushes: `a` (or `z`) has a tagged index that lists an image which it does not have itself, `m` has a
/// tagged index that lists the same image. With `-m` the stock collector takes the image's layers, whatever the order
/// of the names; for regsweep a digest is expanded wherever it is referenced.
#[test]
fn differs_sparse_indexes() {
    for sparse in ["a", "z"] {
        let (shared, own) = (on_arm("shared"), image("own"));
        let index = Image::index(&[shared.clone(), own.clone()]);
        let whole = Image::index(&[shared.clone(), image("other")]);
        let mut pair = pair(|registry| {
            registry.push("m", "1", &whole);
            registry.push(sparse, "1", &index);
            // 2.8 accepts no sparse index, but it can be made one: its child is deleted through the API.
            registry.api_delete(sparse, &shared.digest());
        });
        pair.stock(&["-m"]).exits(0);
        pair.ours(&["-m"]).exits(0);
        pair.registry.restart(Mode::Writable);
        let pulled = pair.registry.pull("m", "1").unwrap();
        assert_eq!((pulled.contents, pulled.missing.len()), (whole.all_digests(), 0), "{sparse}");
        let pulled = pair.registry.pull(sparse, "1").unwrap();
        assert_eq!(pulled.missing, BTreeSet::from([shared.digest()]), "{sparse}: the gap stays a gap");
        pair.serve_stock();
        assert_ne!(pair.registry.pull("m", "1").unwrap().missing.len(), 0, "the stock collector has learnt");
    }
}

/// The stock collector removes blobs and leaves the links to them, for ever: each later run reads them again, and a
/// tree of a few years is mostly dead links. regsweep takes the links with the blobs.
#[test]
fn differs_dead_links_go_with_their_layers() {
    let gone = image("gone");
    let pair = pair(|registry| {
        registry.push("team/web", "1", &image("kept"));
        registry.push("team/web", "2", &gone);
        registry.api_delete("team/web", &gone.digest());
    });
    pair.stock(&[]).exits(0);
    pair.ours(&[]).exits(0);
    assert_eq!(blobs_of(&pair.ours), blobs_of(&pair.stock));

    let kept: BTreeSet<String> = image("kept").all_digests();
    let config_and_layers = kept.iter().filter(|digest| **digest != image("kept").digest()).cloned().collect();
    assert_eq!(layer_links_of(&pair.ours, "team/web"), config_and_layers);
    assert_eq!(layer_links_of(&pair.stock, "team/web").len(), 5, "the stock collector has learnt");
    let debris =
        |root: &Path| v2_of(root).join("repositories/team/web/_manifests/revisions/sha256").join(gone.hex()).exists();
    assert_eq!((debris(&pair.ours), debris(&pair.stock)), (false, true), "the emptied folder of a deleted revision");
}

/// An image taken out by hand (`tags/<t>/index/...` and `revisions/...`, as many guides say) leaves a tag that is
/// listed and answers 404. The stock collector frees the blobs and leaves the tag; regsweep takes the tag with the
/// image.
#[test]
fn differs_a_tag_deleted_by_hand_goes_with_its_image() {
    let gone = image("gone");
    let mut pair = pair(|registry| {
        registry.push("team/web", "1", &image("kept"));
        registry.push("team/web", "2", &gone);
        registry.delete_by_hand("team/web", "2", &gone.digest());
    });
    pair.stock(&[]).exits(0);
    pair.ours(&[]).exits(0);
    assert_eq!(blobs_of(&pair.ours), blobs_of(&pair.stock));
    pair.registry.restart(Mode::Writable);
    assert_eq!(pair.registry.tags("team/web"), ["1"]);
    pair.serve_stock();
    assert_eq!(pair.registry.tags("team/web"), ["1", "2"], "the stock collector has learnt");
    assert_eq!(pair.registry.digest_of("team/web", "2"), None);
}

/// Uploads that broke off are the registry's own to purge, but only if it runs for a week without a restart. regsweep
/// takes those that are older than `--uploads-older-than`; the stock collector looks at none.
#[test]
fn differs_stale_uploads_go() {
    let mut upload = PathBuf::new();
    let pair = pair(|registry| {
        registry.push("team/web", "1", &image("kept"));
        let folder = registry.abandon_upload("team/web", b"half a layer");
        fs::write(folder.join("startedat"), "2024-01-02T03:04:05Z").unwrap();
        upload = folder.strip_prefix(registry.root()).unwrap().to_owned();
    });
    pair.stock(&[]).exits(0);
    pair.ours(&[]).exits(0);
    assert_eq!((pair.ours.join(&upload).exists(), pair.stock.join(&upload).exists()), (false, true));
}

/// A tag whose revision link is gone while its own history still has the digest (a crash, a bad restore: not how people
/// delete) can be mended by one link as long as its blobs are there. The stock collector takes them; regsweep keeps
/// them and reports the dangling tag.
#[test]
fn differs_a_dangling_tag_keeps_its_image() {
    let dangling = image("dangling");
    let pair = pair(|registry| {
        registry.push("team/web", "1", &image("kept"));
        registry.push("team/web", "2", &dangling);
        let revisions = registry.repository("team/web").join("_manifests/revisions/sha256");
        fs::remove_dir_all(revisions.join(hex_of(&dangling.digest()))).unwrap();
    });
    pair.stock(&[]).exits(0);
    let report = pair.ours(&["--format", "json"]).report().0;
    assert!(report["findings"].as_array().unwrap().iter().any(|f| f["repository"] == "team/web"), "{report:#}");
    assert!(blobs_of(&pair.ours).is_superset(&dangling.all_digests()));
    assert!(!blobs_of(&pair.stock).contains(&dangling.digest()));
    assert_eq!(revision_links_of(&pair.ours, "team/web"), BTreeSet::from([image("kept").digest()]));
}
