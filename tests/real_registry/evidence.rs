//! What a real registry shows, and what it does not: a run is refused unless it is shown that nobody writes to this very
//! storage.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::fingerprint::{assert_same_tree, fingerprint};
use crate::support::image::{Image, layer};
use crate::support::real::disk::blobs_of;
use crate::support::real::{Mode, PASSWORD, RealRegistry, USER, regsweep, regsweep_where};
use crate::{AMD64, report, story};

/// Each run is refused with exit 4 and leaves the tree as it was, down to the times: no lock, no trash, no trace of
/// the probe.
#[test]
fn t16_a_registry_that_is_not_proven_read_only_is_refused() {
    let mut story = story();
    let (root, url, config) = (story.root(), story.registry.url(), story.config());
    let says_read_only = story.registry.fresh_path("config").with_extension("yml");
    story.registry.write_config(&says_read_only, Mode::ReadOnly);
    let says_read_only = says_read_only.to_str().unwrap();

    let before = fingerprint(&story.registry.root());
    let refused = |what: &str, arguments: &[&str], reasons: &[&str]| {
        let ran = regsweep(&[&["gc"], arguments].concat());
        ran.exits(4);
        let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        for reason in reasons {
            assert!(said.contains(reason), "{what}: it does not say {reason:?}:\n{}", ran.stderr);
        }
        assert_eq!(report(4, arguments)["outcome"], "refused", "{what}");
        assert_same_tree(&before, &fingerprint(Path::new(&root)));
    };
    // All ways out of it, where nothing is proven; who takes pushes, where somebody does.
    let unproven = ["--config", "--registry URL", "--registry-stopped", "REGISTRY_STORAGE_MAINTENANCE_READONLY='{"];
    let pushes = [url.as_str(), "takes pushes", "readonly.enabled: true"];
    refused("no evidence at all", &[&root], &unproven);
    refused("a probe that answers 400", &["--registry", &url, &root], &pushes);
    refused("a config that says nothing of read-only", &["--config", &config, &root], &pushes);
    refused("the config as REGISTRY", &[&config], &pushes);
    refused("T16: only the config says read-only", &["--config", says_read_only, &root], &pushes);
    refused("the operator says stopped", &["--registry-stopped", "--registry", &url, &root], &pushes);
    refused("the same, its address in the config", &["--registry-stopped", "--config", &config, &root], &pushes);
    refused("with --quarantine", &["--quarantine", "--registry", &url, &root], &pushes);

    story.registry.stop();
    refused("nobody serves there, which alone proves nothing", &["--registry", &url, &root], &unproven);
    refused("a writable config, nobody serves there", &["--config", &config, &root], &unproven);
}

/// The probe finds a read-only registry and a writable one, and neither has anything more on disk then.
#[test]
fn the_probe_leaves_no_trace() {
    let mut registry = RealRegistry::start();
    registry.push("team/web", "1.0", &Image::oci("web", AMD64, &[layer("web", 1_000)]));
    let root = registry.root();
    for mode in [Mode::Writable, Mode::ReadOnly] {
        registry.restart(mode);
        let before = fingerprint(&root);
        let report = report(0, &["--dry-run", "--registry", &registry.url(), root.to_str().unwrap()]);
        assert_eq!(report["read_only"]["proven"], mode == Mode::ReadOnly, "{report:#}");
        assert_same_tree(&before, &fingerprint(&root));
    }
}

/// Without the right password a probe proves nothing, and no password is ever printed or written down.
#[test]
fn a_registry_that_asks_for_a_password() {
    let mut registry = RealRegistry::start_with_password();
    registry.push("team/web", "1.0", &Image::oci("web", AMD64, &[layer("web", 1_000)]));
    let orphan = registry.upload("team/web", b"orphan");
    let before = registry.pull_all();
    let root = registry.root();
    let gc = |environment: &[(&str, &str)], url: &str, code: i32| {
        let ran = regsweep_where(environment, &["gc", "-v", "--registry", url, root.to_str().unwrap()]);
        ran.exits(code);
        for secret in [PASSWORD, "wr0ng-Pa55"] {
            assert!(!ran.said().contains(secret), "the password was printed:\n{}", ran.said());
        }
    };
    let right = format!("{USER}:{PASSWORD}");
    let wrong = format!("{USER}:wr0ng-Pa55");

    let tree = fingerprint(&root);
    gc(&[], &registry.url_with_password(), 4); // writable
    registry.restart(Mode::ReadOnly);
    gc(&[], &registry.url(), 4);
    gc(&[], &registry.url().replace("://", &format!("://{wrong}@")), 4);
    gc(&[("REGSWEEP_REGISTRY_AUTH", &wrong)], &registry.url(), 4);
    assert_same_tree(&tree, &fingerprint(&root));

    gc(&[("REGSWEEP_REGISTRY_AUTH", &right)], &registry.url(), 0);
    assert!(!blobs_of(&root).contains(&orphan));
    gc(&[], &registry.url_with_password(), 0);
    for path in fingerprint(&root.join("docker/registry/v2/_regsweep")).paths() {
        let bytes = fs::read(root.join("docker/registry/v2/_regsweep").join(path)).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&bytes).contains(PASSWORD), "the password is in {}", path.display());
    }
    registry.restart(Mode::Writable);
    assert_eq!(registry.pull_all(), before);
}

/// T17: a pull-through cache writes on every pull, read-only or not. It has to be stopped, whatever the config and the
/// probe say; its state file gives it away where the config does not.
#[test]
fn t17_a_pull_through_cache_has_to_be_stopped() {
    let upstream = RealRegistry::start();
    upstream.push("team/web", "1.0", &Image::oci("web", AMD64, &[layer("web", 1_000)]));
    let mut cache = RealRegistry::start_cache_of(&upstream);
    cache.restart(Mode::ReadOnly);
    assert!(cache.pull("team/web", "1.0").is_some(), "through the cache");
    let (root, config, url) = (cache.root(), cache.config(), cache.url());
    let (root, config) = (root.to_str().unwrap(), config.to_str().unwrap());

    let state = cache.root().join("scheduler-state.json");
    let patience = Instant::now() + Duration::from_secs(30);
    while !state.exists() {
        assert!(Instant::now() < patience, "no {}: the registry writes it every 5 s", state.display());
        sleep(Duration::from_millis(100));
    }
    assert!(!blobs_of(&cache.root()).is_empty(), "a read-only cache writes nonetheless");
    regsweep(&["gc", "--config", config, root]).exits(4);
    regsweep(&["gc", "--registry", &url, root]).exits(4);
    regsweep(&["gc", "--config", config, "--registry", &url, root]).exits(4);
    cache.stop();
    regsweep(&["gc", "--config", config, root]).exits(4);
    regsweep(&["gc", "--registry-stopped", "--config", config, root]).exits(0);
    cache.restart(Mode::Writable);
    assert!(cache.pull("team/web", "1.0").is_some(), "through the cache, again");
}

/// One wrong digit in the address: the registry there is read-only, and this storage is another one's, which is not.
#[test]
fn t61_another_registry_that_is_read_only_proves_nothing() {
    let (image, other_image) = (Image::oci("here", AMD64, &[layer("here", 3_000)]), Image::oci("there", AMD64, &[]));
    let mut here = RealRegistry::start();
    here.push("team/app", "v1", &image);
    let mut there = RealRegistry::start();
    let root = here.root();
    let root = root.to_str().unwrap();
    let asked_there = |there: &RealRegistry, code: i32| report(code, &["--registry", &there.url(), root]);
    for (what, says) in [
        ("nothing", "it has no team/app:v1".to_owned()),
        ("the same tag of another image", format!("team/app:v1 is {} there", other_image.digest())),
    ] {
        there.restart(Mode::ReadOnly);
        let refused = asked_there(&there, 4);
        assert_eq!(refused["read_only"]["proven"], false, "{what}");
        let objection = refused["read_only"]["objections"][0].as_str().unwrap();
        assert!(objection.contains("does not serve this storage") && objection.contains(&says), "{what}: {objection}");
        there.restart(Mode::Writable);
        there.push("team/app", "v1", &other_image);
    }
    // A copy cannot be told from it; and one that serves what is here is the right one.
    there.push("team/app", "v1", &image);
    there.restart(Mode::ReadOnly);
    asked_there(&there, 0);
    here.restart(Mode::ReadOnly);
    asked_there(&here, 0);
    // Where no tag can be asked for, nothing is said.
    let tags = here.repository("team/app").join("_manifests/tags");
    std::fs::remove_dir_all(tags).unwrap();
    asked_there(&there, 0);
}

/// The same where the registry asks for a password: with it the answer counts, and it is another's.
#[test]
fn t61_another_registry_with_a_password_proves_nothing_either() {
    let image = Image::oci("here", AMD64, &[layer("here", 3_000)]);
    let mut here = RealRegistry::start_with_password();
    here.push("team/deep/app", "v1", &image);
    let mut there = RealRegistry::start_with_password();
    here.restart(Mode::ReadOnly);
    there.restart(Mode::ReadOnly);
    let root = here.root();
    let root = root.to_str().unwrap();
    let refused = report(4, &["--registry", &there.url_with_password(), root]);
    let objection = refused["read_only"]["objections"][0].as_str().unwrap();
    assert!(objection.ends_with("does not serve this storage: it has no team/deep/app:v1"), "{objection}");
    assert!(!refused.to_string().contains(PASSWORD), "{refused}");
    report(0, &["--registry", &here.url_with_password(), root]);
}

/// T66: two registries that have one image in common, as any two have that hold the same base image. The one that is
/// asked is read-only; the storage is the other one's, which is not.
#[test]
fn t66_another_registry_with_one_image_in_common_proves_nothing() {
    let base = Image::oci("base", AMD64, &[layer("base", 3_000)]);
    let mut here = RealRegistry::start();
    for tag in ["3.19", "3.20", "3.21", "3.22", "latest"] {
        here.push("library/alpine", tag, &base);
    }
    for name in ["team/app", "team/web"] {
        here.push(name, "v1", &Image::oci(name, AMD64, &[layer(name, 3_000)]));
    }
    here.push_untagged("team/app", &Image::oci("old", AMD64, &[layer("old", 9_000)]));
    for tag in ["3.19", "3.20", "3.21", "3.22", "latest"] {
        // The newest of all are those that both have.
        here.push("library/alpine", tag, &base);
    }
    let mut there = RealRegistry::start();
    for tag in ["3.19", "3.20", "3.21", "3.22", "latest"] {
        there.push("library/alpine", tag, &base);
    }
    there.restart(Mode::ReadOnly);
    let root = here.root();
    let root = root.to_str().unwrap();
    let before = fingerprint(&here.root());
    let refused = report(4, &["-m", "--registry", &there.url(), root]);
    let objection = refused["read_only"]["objections"][0].as_str().unwrap();
    assert!(objection.contains("does not serve this storage: it has no team/"), "{objection}");
    assert_same_tree(&before, &fingerprint(&here.root()));
    here.restart(Mode::ReadOnly);
    report(0, &["-m", "--registry", &here.url(), root]);
}

/// A cache that is asked for an image asks its upstream and writes the tag's link anew. So asking would leave a trace,
/// and make the image look as if somebody had pulled it. Its state tells that it is one, or its config.
#[test]
fn asking_a_cache_for_its_images_changes_nothing_there() {
    let upstream = RealRegistry::start();
    upstream.push("library/a", "v1", &Image::oci("a", AMD64, &[layer("a", 5_000)]));
    let mut cache = RealRegistry::start_cache_of(&upstream);
    cache.pull("library/a", "v1").unwrap();
    let state = cache.root().join("scheduler-state.json");
    let patience = Instant::now() + Duration::from_secs(30);
    while !state.exists() {
        assert!(Instant::now() < patience, "no {}: the registry writes it every 5 s", state.display());
        sleep(Duration::from_millis(100));
    }
    cache.restart(Mode::ReadOnly);
    let (root, config, url) = (cache.root(), cache.config(), cache.url());
    let (root, config) = (root.to_str().unwrap(), config.to_str().unwrap());
    let link = cache.repository("library/a").join("_manifests/tags/v1/current/link");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3_600_000);
    let modified = || fs::metadata(&link).unwrap().modified().unwrap();
    let age = || fs::File::options().append(true).open(&link).unwrap().set_modified(long_ago).unwrap();
    age();
    let before = modified();
    let dry = ["--dry-run", "--cache-max-age", "30d", "--registry", &url];
    report(0, &[&dry[..], &[root]].concat());
    assert_eq!(modified(), before, "by its state");
    // A cache with ttl: 0 has no state; its config tells.
    fs::rename(&state, state.with_extension("away")).unwrap();
    report(0, &[&dry[..], &["--config", config, root]].concat());
    assert_eq!(modified(), before, "by its config");
    // It can be seen: somebody else's question leaves its trace.
    cache.request("HEAD", "/v2/library/a/manifests/v1", &[], None);
    assert_ne!(modified(), before);
}
