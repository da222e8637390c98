//! The whole story on a real registry: a dozen images of all kinds are pushed with skopeo; some are deleted through
//! the API, some by hand on disk, some by retagging; the registry is made read-only, regsweep collects, the registry
//! starts again; then every tag that could be pulled can be pulled, digest for digest, and what was removed can be
//! pushed again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

mod evidence;
#[path = "../support/mod.rs"]
mod support;

use support::fingerprint::{assert_same_tree, fingerprint};
use support::formats::hex_of;
use support::image::{Image, layer};
use support::real::disk::{blobs_of, copy_tree, layer_links_of};
use support::real::pull::Pulled;
use support::real::{Mode, RealRegistry, regsweep, regsweep_where, stock_collector};

const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";
const LONG_AGO: &str = "2024-01-02T03:04:05Z";

/// A registry in which a lot has happened, and what there is to know about it. It runs, writable.
///
/// ```text
/// team/web              1.0      OCI image ──────────────── the base layer, one of its own
///                       1.1      index ─┬─ amd64 (base), arm64
///                                       └─ an attestation of each
///                       latest   pushed twice: the first image is untagged now, and has an SBOM
///                       -        an SBOM of 1.0, untagged
///                       0.9      index, deleted through the API: its two platforms are untagged now
/// team/api              2.0      Docker schema 2 ────────── base
///                       2.1      Docker manifest list
///                       2.2, 2.3 the same two made by skopeo --format v2s2
///                       1.9      deleted by hand; 1.8 its sibling with the same digest under another name
/// team/api/worker       main     OCI image without mediaType; a repository below a repository
/// platform/base/alpine  3.20     index ─┬─ index ─── amd64, arm64
///                                       └─ arm64 again
///                       3.19     deleted through the API; edge had it before
/// tools/ci              cache    BuildKit cache: an index of layers
///                       -        a layer that no manifest names, an upload of 2024, an upload of today
/// tools/charts/web      0.3.0    OCI artifact
/// tools/retired         1.0      deleted through the API: nothing is left there
/// ```
struct Story {
    registry: RealRegistry,
    /// All that the tags reach, as it was pulled before anything was collected.
    before: BTreeMap<String, Pulled>,
    /// Untagged images that a default run keeps and `--delete-untagged` takes.
    untagged: Vec<(&'static str, Image)>,
    /// An untagged image that stays, because it refers to a tagged one.
    sbom: Image,
    /// What is gone for the registry already, by API or by hand, and only takes up space.
    deleted: Vec<(&'static str, &'static str, Image)>,
    orphan: String,
    old_upload: PathBuf,
    new_upload: PathBuf,
}

fn story() -> Story {
    let mut registry = RealRegistry::start();
    let base = layer("base", 40_000);
    let on_base = |words: &str| Image::oci(words, AMD64, &[base.clone(), layer(words, 3_000)]);
    let alone = |words: &str, platform: &str| Image::oci(words, platform, &[layer(words, 5_000)]);

    let web_1_0 = on_base("web 1.0");
    let (amd64, arm64) = (on_base("web 1.1"), alone("web 1.1 arm", ARM64));
    let provenance = [Image::attestation(&amd64), Image::attestation(&arm64)];
    let web_1_1 = Image::index(&[[amd64, arm64].as_slice(), &provenance].concat());
    let first_latest = on_base("web of a Monday");
    let first_latest_sbom = Image::referrer("sbom of a Monday", "application/spdx+json", &first_latest, 700);
    let sbom = Image::referrer("sbom of 1.0", "application/spdx+json", &web_1_0, 900);
    let web_0_9_platforms = [on_base("web 0.9"), alone("web 0.9 arm", ARM64)];
    let web_0_9 = Image::index(&web_0_9_platforms);
    registry.push("team/web", "1.0", &web_1_0);
    registry.push("team/web", "1.1", &web_1_1);
    registry.push("team/web", "latest", &first_latest);
    registry.push("team/web", "latest", &on_base("web of a Tuesday"));
    registry.push_untagged("team/web", &first_latest_sbom);
    registry.push_untagged("team/web", &sbom);
    registry.push("team/web", "0.9", &web_0_9);
    registry.api_delete("team/web", &web_0_9.digest());

    let docker = |words: &str, platform: &str| Image::docker(words, platform, &[base.clone(), layer(words, 2_000)]);
    let api_1_9 = docker("api 1.9", AMD64);
    registry.push("team/api", "2.0", &docker("api 2.0", AMD64));
    registry.push("team/api", "2.1", &Image::manifest_list(&[docker("api 2.1", AMD64), docker("api 2.1 arm", ARM64)]));
    registry.push_as_docker("team/api", "2.2", &alone("api 2.2", AMD64));
    registry.push_as_docker("team/api", "2.3", &Image::index(&[on_base("api 2.3"), alone("api 2.3 arm", ARM64)]));
    registry.push("team/api", "1.9", &api_1_9);
    registry.push("team/api/worker", "main", &on_base("worker").without_media_type());

    let alpine_3_19 = alone("alpine 3.19", AMD64);
    let platforms = [alone("alpine 3.20", AMD64), alone("alpine 3.20 arm", ARM64)];
    let alpine_3_20 = Image::index(&[Image::index(&platforms), platforms[1].clone()]);
    registry.push("platform/base/alpine", "3.20", &alpine_3_20);
    registry.push("platform/base/alpine", "3.19", &alpine_3_19);
    registry.push("platform/base/alpine", "edge", &alpine_3_19);
    registry.push("platform/base/alpine", "edge", &alpine_3_20);
    registry.api_delete("platform/base/alpine", &alpine_3_19.digest());

    registry.push("tools/ci", "cache", &Image::build_cache("cache", &[base.clone(), layer("cached step", 6_000)]));
    let orphan = registry.upload("tools/ci", layer("uploaded and forgotten", 8_000).bytes());
    let old_upload = registry.abandon_upload("tools/ci", b"half a layer of 2024");
    let new_upload = registry.abandon_upload("tools/ci", b"half a layer of today");
    let chart_type = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
    registry.push("tools/charts/web", "0.3.0", &Image::oci_artifact("chart", chart_type, 1_000));
    let retired = alone("retired", AMD64);
    registry.push("tools/retired", "1.0", &retired);
    registry.api_delete("tools/retired", &retired.digest());

    registry.stop();
    registry.delete_by_hand("team/api", "1.9", &api_1_9.digest());
    fs::write(old_upload.join("startedat"), LONG_AGO).unwrap();
    registry.restart(Mode::Writable);

    let before = registry.pull_all();
    assert_eq!(before.len(), 12, "tags that can be pulled: {:?}", before.keys());
    assert_eq!(registry.digest_of("team/api", "1.9"), None, "deleted by hand");
    let [web_0_9_amd64, web_0_9_arm64] = web_0_9_platforms;
    Story {
        registry,
        before,
        untagged: vec![
            ("team/web", first_latest),
            ("team/web", first_latest_sbom),
            ("team/web", web_0_9_amd64),
            ("team/web", web_0_9_arm64),
        ],
        sbom,
        deleted: vec![
            ("team/web", "0.9", web_0_9),
            ("team/api", "1.9", api_1_9),
            ("platform/base/alpine", "3.19", alpine_3_19),
            ("tools/retired", "1.0", retired),
        ],
        orphan,
        old_upload,
        new_upload,
    }
}

impl Story {
    fn root(&self) -> String {
        self.registry.root().to_str().unwrap().to_owned()
    }

    fn config(&self) -> String {
        self.registry.config().to_str().unwrap().to_owned()
    }

    /// The blobs that have to be there after a run, and no others.
    fn live(&self, delete_untagged: bool) -> BTreeSet<String> {
        let mut live: BTreeSet<String> =
            self.before.values().flat_map(|pulled| pulled.contents.iter().cloned()).collect();
        live.extend(self.sbom.all_digests());
        if !delete_untagged {
            live.extend(self.untagged.iter().flat_map(|(_, image)| image.all_digests()));
        }
        live
    }

    /// All that has to hold after a run that removed what it should. Starts the registry, writable.
    fn expect_collected(&mut self, delete_untagged: bool) {
        let live = self.live(delete_untagged);
        assert_eq!(blobs_of(&self.registry.root()), live, "the blobs that are left");
        assert!(!self.old_upload.exists(), "the upload of 2024 is still there");
        assert!(self.new_upload.join("data").exists(), "the upload of today is gone");
        for name in self.registry.repositories() {
            let dead: Vec<String> = layer_links_of(&self.registry.root(), &name).difference(&live).cloned().collect();
            assert_eq!(dead, [""; 0], "{name}: links to layers that are gone");
        }

        self.registry.restart(Mode::Writable);
        assert_eq!(self.registry.pull_all(), self.before, "what every tag gives, before and after");
        assert_eq!(self.registry.tags("team/api"), ["2.0", "2.1", "2.2", "2.3"], "1.9 was deleted by hand");
        assert!(self.registry.has_manifest("team/web", &self.sbom.digest()), "the SBOM of a tagged image");
        for (repository, image) in &self.untagged {
            let there = self.registry.has_manifest(repository, &image.digest());
            assert_eq!(there, !delete_untagged, "{repository}: an untagged image, {}", image.digest());
        }
        self.everything_can_be_pushed_again();
    }

    fn everything_can_be_pushed_again(&self) {
        let untagged = self.untagged.iter().enumerate().map(|(n, (name, image))| (*name, format!("again-{n}"), image));
        let deleted = self.deleted.iter().map(|(name, tag, image)| (*name, (*tag).to_owned(), image));
        for (repository, tag, image) in deleted.chain(untagged) {
            self.registry.push(repository, &tag, image);
            let pulled = self.registry.pull(repository, &tag).expect("it was just pushed");
            assert_eq!(pulled.digest, image.digest(), "{repository}:{tag} pushed again");
            assert_eq!(pulled.contents, image.all_digests(), "{repository}:{tag} pushed again");
        }
        self.registry.upload("tools/ci", layer("uploaded and forgotten", 8_000).bytes());
    }
}

/// The report of a run that ended with this exit status.
#[track_caller]
fn report(code: i32, arguments: &[&str]) -> Value {
    regsweep(&[&["gc", "--format", "json"], arguments].concat()).exits(code).report().0
}

fn nothing() -> Value {
    json!({
        "blobs": { "count": 0, "bytes": 0 }, "revisions": { "count": 0 }, "tags": { "count": 0 },
        "tag_history": { "count": 0 }, "layer_links": { "count": 0 }, "uploads": { "count": 0, "bytes": 0 },
        "repositories": { "count": 0 },
    })
}

/// Whether two parts of a report count the same. A writer may add fields (`disk_bytes`), so only those named here
/// count.
#[track_caller]
fn assert_same_counts(left: &Value, right: &Value, what: &str) {
    for (kind, fields) in nothing().as_object().unwrap() {
        for field in fields.as_object().unwrap().keys() {
            assert_eq!(left[kind][field], right[kind][field], "{what}: {kind}.{field}\n{left:#}\n{right:#}");
        }
    }
}

// ---- collecting

/// T25: a dry run changes nothing, with or without evidence, beside a registry that is writable. T26: what it names is
/// what the run takes.
#[test]
fn t25_t26_a_dry_run_changes_nothing_and_names_what_the_run_takes() {
    for untagged in [&[][..], &["--delete-untagged"]] {
        let mut story = story();
        let (root, config) = (story.root(), story.config());
        let tree = fingerprint(&story.registry.root());
        let dry = report(0, &[&["--dry-run", &root], untagged].concat());
        assert_eq!(dry["read_only"]["proven"], false);
        assert_eq!(dry["dry_run"], true);
        assert_same_counts(&dry["removed"], &nothing(), "a dry run removes nothing");
        for more in [&["-v"][..], &["--quarantine"], &["-q"]] {
            regsweep(&[&["gc", "--dry-run", &root], more, untagged].concat()).exits(0);
        }
        assert_same_tree(&tree, &fingerprint(&story.registry.root()));

        story.registry.restart(Mode::ReadOnly);
        let dry_with_evidence = report(0, &[&["--dry-run", "--config", &config, &root], untagged].concat());
        assert_eq!(dry_with_evidence["read_only"]["proven"], true);
        assert_same_tree(&tree, &fingerprint(&story.registry.root()));

        let real = report(0, &[&["--config", &config, &root], untagged].concat());
        for other in [&dry_with_evidence, &real] {
            assert_eq!(other["actions"], dry["actions"]);
            assert_eq!(other["scanned"], dry["scanned"]);
            assert_same_counts(&other["garbage"], &dry["garbage"], "the garbage");
        }
        assert_same_counts(&real["removed"], &dry["garbage"], "what was removed, and the garbage of the dry run");
        assert_eq!(real["outcome"], "complete");
        story.expect_collected(!untagged.is_empty());
    }
}

/// Default mode, proven by a probe of the read-only registry. The registry's own collector, which knows none of the
/// cases in this tree that it gets wrong, leaves the same blobs on a copy.
#[test]
fn collects_beside_a_read_only_registry_that_is_probed() {
    let mut story = story();
    story.registry.restart(Mode::ReadOnly);
    let copy = story.registry.fresh_path("copy");
    copy_tree(&story.registry.root(), &copy);
    stock_collector(&copy, &[]).exits(0);

    let (root, url) = (story.root(), story.registry.url());
    let report = report(0, &["--registry", &url, &root]);
    assert_eq!(report["schema"], "regsweep.report/1");
    assert_eq!(report["read_only"]["proven"], true);
    assert_eq!(report["read_only"]["evidence"][0]["kind"], "probe");
    assert_eq!(blobs_of(&story.registry.root()), blobs_of(&copy), "against docker-registry garbage-collect");
    assert_eq!(reasons(&report, "tag"), [("team/api".to_owned(), "1.9".to_owned(), "deleted".to_owned())]);
    assert_eq!(report["garbage"]["uploads"]["count"], 1, "{report:#}");
    assert!(digests(&report, "blob").contains(&story.orphan));
    // The registry remembers the removed layers until it is restarted: pushes of them would break.
    let advice = report["advice"].to_string();
    assert!(advice.contains("restart"), "{advice}");
    assert_eq!(story.registry.pull_all(), story.before, "the registry serves on, read-only");
    story.expect_collected(false);
}

/// `--delete-untagged`, proven by the config.
#[test]
fn collects_untagged_images_by_the_config() {
    let mut story = story();
    story.registry.restart(Mode::ReadOnly);
    let (root, config) = (story.root(), story.config());
    let report = report(0, &["--delete-untagged", "--config", &config, &root]);
    assert_eq!(report["delete_untagged"], true);
    let untagged: BTreeSet<String> = story.untagged.iter().map(|(_, image)| image.digest()).collect();
    assert!(digests(&report, "revision").is_superset(&untagged), "{report:#}");
    story.expect_collected(true);
}

/// A stopped registry, by the operator's word; the second run finds nothing more to do.
#[test]
fn collects_a_stopped_registry_once() {
    let mut story = story();
    story.registry.stop();
    let root = story.root();
    let ran = regsweep(&["gc", "--registry-stopped", &root]);
    ran.exits(0);
    assert!(!ran.stdout.is_empty(), "a run for people prints its summary");
    let second = report(0, &["--registry-stopped", &root]);
    assert_same_counts(&second["garbage"], &nothing(), "a second run");
    assert_eq!(second["actions"], json!([]));
    story.expect_collected(false);
}

/// The registry's own way of being switched from outside counts as the registry counts it: in the form that both 2.8
/// and 3.x take, and not in the form that 3.x ignores.
#[test]
fn the_environment_switches_the_registry_to_read_only() {
    let mut story = story();
    story.registry.stop();
    let (root, config) = (story.root(), story.config());
    let arguments = ["gc", "--config", &config, &root];
    regsweep_where(&[("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")], &arguments).exits(4);
    regsweep_where(&[("REGISTRY_STORAGE_MAINTENANCE_READONLY", r#"{"enabled":true}"#)], &arguments).exits(0);
    story.expect_collected(false);
}

/// `regsweep garbage-collect CONFIG.yml -d | -m | -q`, word for word as the registry's own command is called.
#[test]
fn garbage_collect_is_a_drop_in_for_the_stock_command() {
    let mut story = story();
    let config = story.config();
    let tree = fingerprint(&story.registry.root());
    regsweep(&["garbage-collect", &config]).exits(4);
    regsweep(&["garbage-collect", "-d", &config]).exits(0);
    regsweep(&["garbage-collect", &config, "--dry-run", "--delete-untagged"]).exits(0);
    assert_same_tree(&tree, &fingerprint(&story.registry.root()));

    story.registry.restart(Mode::ReadOnly);
    let quiet = regsweep(&["garbage-collect", &config, "-q"]);
    quiet.exits(0);
    assert_eq!(quiet.text(), "", "-q is quiet");
    assert_eq!(blobs_of(&story.registry.root()), story.live(false));
    regsweep(&["garbage-collect", &config, "-m"]).exits(0);
    story.expect_collected(true);
}

// ---- quarantine

/// What a run puts aside comes back bit for bit: contents, inodes and times of blobs, links and tags. Put aside again
/// and purged, it is gone, and nothing else is.
#[test]
fn quarantine_restores_bit_for_bit_and_purges_for_good() {
    let mut story = story();
    story.registry.restart(Mode::ReadOnly);
    let (root, url) = (story.root(), story.registry.url());
    let before = fingerprint(&story.registry.root());

    let put_aside = report(0, &["--quarantine", "-m", "--registry", &url, &root]);
    let run = put_aside["run"].as_str().expect("a run has an id").to_owned();
    assert_eq!(blobs_of(&story.registry.root()), story.live(true));
    assert_eq!(story.registry.pull_all(), story.before);
    let trash = story.registry.v2().join("_regsweep/runs").join(&run).join("trash");
    let orphan = hex_of(&story.orphan);
    assert!(trash.join("blobs/sha256").join(&orphan[..2]).join(orphan).join("data").is_file(), "{}", trash.display());

    let list = regsweep(&["trash", "list", &root]);
    list.exits(0);
    assert!(list.text().contains(&run), "trash list does not name the run {run}:\n{}", list.text());
    story.registry.restart(Mode::Writable);
    let url = story.registry.url();
    regsweep(&restore(&[], &run, &root)).exits(4);
    regsweep(&["trash", "restore", &run, &root]).exits(4); // in either order
    regsweep(&restore(&["--registry", &url], &run, &root)).exits(4);
    assert_eq!(blobs_of(&story.registry.root()), story.live(true), "a refused restore moves nothing");
    story.registry.restart(Mode::ReadOnly);
    let url = story.registry.url();
    regsweep(&restore(&["--registry", &url], &run, &root)).exits(0);
    assert_same_tree(&before.as_moved_back(), &fingerprint(&story.registry.root()).as_moved_back());
    assert_eq!(story.registry.pull_all(), story.before);
    for (repository, image) in &story.untagged {
        assert!(story.registry.has_manifest(repository, &image.digest()), "an untagged image after the restore");
    }

    let again = report(0, &["--quarantine", "-m", "--registry", &url, &root]);
    assert_eq!(again["actions"], put_aside["actions"]);
    assert!(occupied(&story.registry.v2().join("_regsweep")) > 8_000, "the trash holds what was put aside");
    regsweep(&["trash", "purge", "--older-than", "1h", &root]).exits(0);
    assert!(occupied(&story.registry.v2().join("_regsweep")) > 8_000, "the run is not an hour old");
    regsweep(&["trash", "purge", &root]).exits(0);
    assert_eq!(trashed_blobs(&story.registry.v2()), 0, "blobs in the trash after the purge");
    story.expect_collected(true);
}

/// The arguments of `trash restore`.
fn restore<'a>(evidence: &[&'a str], run: &'a str, root: &'a str) -> Vec<&'a str> {
    [&["trash", "restore"], evidence, &[root, run]].concat()
}

// ---- the sample

/// The fixture that the README's first command shows is what `fixtures/README.md` says, in a clone too.
#[test]
fn the_sample_registry_is_worth_a_dry_run() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sample-registry");
    let before = fingerprint(&sample);
    let dry = report(0, &["--dry-run", sample.to_str().unwrap()]);
    assert_same_tree(&before, &fingerprint(&sample));
    assert_eq!(dry["scanned"]["repositories"], 6, "{dry:#}");
    assert_eq!(dry["scanned"]["tags"], 12);
    assert_eq!(dry["scanned"]["uploads"], 1);
    let garbage = |kind: &str, count: u64, why: &str| {
        assert_eq!(dry["garbage"][kind]["count"], count, "{kind}: {why}\n{:#}", dry["garbage"]);
    };
    garbage("blobs", 8, "four of web:1.4.1-rc1, three of ci:nightly, a layer of api that nothing names");
    garbage("layer_links", 6, "all of those but the two manifests");
    garbage("tag_history", 1, "web:latest had 1.4.1-rc1");
    garbage("uploads", 1, "the push to api that broke off");
    garbage("tags", 0, "the registry took them itself");
    let untagged = report(0, &["--dry-run", "--delete-untagged", sample.to_str().unwrap()]);
    let revisions = digests(&untagged, "revision").len();
    assert_eq!(revisions, 6, "alpine:3.21's first index with its three manifests, and two builds of worker");
}

// ---- looking

/// Repository, name and reason of all actions of a kind.
fn reasons(report: &Value, kind: &str) -> Vec<(String, String, String)> {
    let text = |action: &Value, key: &str| action[key].as_str().unwrap_or_default().to_owned();
    actions(report, kind).map(|a| (text(a, "repository"), text(a, "name"), text(a, "reason"))).collect()
}

fn digests(report: &Value, kind: &str) -> BTreeSet<String> {
    actions(report, kind).map(|action| action["digest"].as_str().unwrap().to_owned()).collect()
}

fn actions<'a>(report: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    report["actions"].as_array().expect("a report has actions").iter().filter(move |action| action["kind"] == kind)
}

/// The bytes of all files below a folder.
fn occupied(folder: &Path) -> u64 {
    walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

fn trashed_blobs(v2: &Path) -> usize {
    walkdir::WalkDir::new(v2.join("_regsweep"))
        .into_iter()
        .filter(|e| e.as_ref().unwrap().file_name() == "data")
        .count()
}
