//! A registry, and a cache of it.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::image::{Image, layer};
use crate::support::real::{Mode, RealRegistry, regsweep};
use crate::{DAY, scheduled, scheduled_now, set_times, state};

const AMD64: &str = "linux/amd64";

/// Waits until the cache has noted so many things: it writes its schedule every 5 s.
fn wait_for(cache: &RealRegistry, entries: usize) {
    let patience = Instant::now() + Duration::from_secs(60);
    while scheduled_now(&cache.root()).is_none_or(|keys| keys.len() < entries) {
        assert!(Instant::now() < patience, "the cache writes no schedule of {entries} entries");
        sleep(Duration::from_millis(100));
    }
}

/// Makes the last pull of an image so old, by its tag's link, its revision and everything that it alone needs.
fn pulled_ago(cache: &RealRegistry, name: &str, blobs: &[String], age: Duration) {
    let manifests = cache.repository(name).join("_manifests");
    for entry in walkdir::WalkDir::new(manifests) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            set_times(entry.path(), age, age);
        }
    }
    for digest in blobs {
        let hex = digest.strip_prefix("sha256:").unwrap();
        set_times(&cache.v2().join("blobs/sha256").join(&hex[..2]).join(hex).join("data"), age, age);
    }
}

/// Four images are pulled through, the two that were pulled the longest ago are evicted, and everything can still be
/// pulled: what was kept without the upstream, the rest from it. The registry finds its schedule in order.
#[test]
fn what_is_evicted_is_fetched_again_and_the_rest_is_served_without_upstream() {
    let mut upstream = RealRegistry::start();
    let names = ["library/a", "library/b", "library/c", "library/d"];
    for name in names {
        upstream.push(name, "v1", &Image::oci(name, AMD64, &[layer("base", 50_000), layer(name, 20_000)]));
    }
    let mut cache = RealRegistry::start_cache_of(&upstream);
    let pulled = names.map(|name| cache.pull(name, "v1").unwrap());
    // A manifest, a config and two layers each.
    wait_for(&cache, 16);
    cache.stop();
    let shared: Vec<&String> =
        pulled[0].contents.iter().filter(|digest| pulled[1].contents.contains(*digest)).collect();
    assert_eq!(shared.len(), 1);
    for (place, days) in [(0, 40), (1, 3), (2, 30), (3, 2)] {
        let own: Vec<String> = pulled[place].contents.iter().filter(|it| !shared.contains(it)).cloned().collect();
        pulled_ago(&cache, names[place], &own, DAY * days);
    }
    let (root, config) = (cache.root(), cache.config());
    let (root, config) = (root.to_str().unwrap(), config.to_str().unwrap());
    let run = regsweep(&["gc", "--format", "json", "--registry-stopped", "--cache-max-size", "100000", config]);
    run.exits(0);
    let report = run.report();
    let evicted = report.0["cache"]["evicted"].as_array().unwrap();
    let evicted: Vec<&str> = evicted.iter().map(|it| it["repository"].as_str().unwrap()).collect();
    assert_eq!(evicted, ["library/a", "library/c"], "{}", run.text());
    assert_eq!(scheduled(&cache.root()).len(), 8);
    assert!(!scheduled(&cache.root()).iter().any(|key| key.starts_with("library/a@")));
    // And a second one finds nothing more.
    let second = regsweep(&["gc", "--format", "json", "--registry-stopped", "--cache-max-size", "100000", root]);
    second.exits(0);
    assert_eq!(second.report().0["cache"]["evicted"], json!([]));

    // A cache asks its upstream when it starts, and serves without it from then on.
    cache.restart(Mode::Writable);
    upstream.stop();
    for place in [1, 3] {
        assert_eq!(cache.pull(names[place], "v1").as_ref(), Some(&pulled[place]), "{}: kept", names[place]);
    }
    let evicted = cache.request("GET", &format!("/v2/{}/manifests/v1", names[0]), &[], None);
    assert_eq!(evicted.status, 404, "what was evicted is not here");
    upstream.restart(Mode::Writable);
    cache.is_cache_of(&upstream);
    cache.restart(Mode::Writable);
    for place in 0..4 {
        assert_eq!(cache.pull(names[place], "v1").as_ref(), Some(&pulled[place]), "{}: fetched again", names[place]);
    }
    wait_for(&cache, 16);
    cache.stop();
    assert!(!cache.log().contains("Scheduler error"), "{}", cache.log());
}

/// Why a schedule that names too much does no harm: the registry looks, says so in its log, and forgets.
#[test]
fn an_entry_of_something_gone_is_forgotten_when_its_time_comes() {
    let upstream = RealRegistry::start();
    upstream.push("library/a", "v1", &Image::oci("a", AMD64, &[layer("a", 5_000)]));
    let mut cache = RealRegistry::start_cache_of(&upstream);
    let pulled = cache.pull("library/a", "v1").unwrap();
    wait_for(&cache, 3);
    cache.stop();
    let mut entries: Value = serde_json::from_slice(&fs::read(state(&cache.root())).unwrap()).unwrap();
    let keys = [(0, "library/a", "1"), (1, "library/a", "2"), (0, "library/gone", "3")];
    let keys = keys.map(|(kind, name, digit)| (kind, format!("{name}@sha256:{}", digit.repeat(64))));
    for (kind, key) in &keys {
        entries[key] = json!({"Key": key, "ExpiryData": "2020-01-01T00:00:00Z", "EntryType": kind});
    }
    fs::write(state(&cache.root()), entries.to_string()).unwrap();
    cache.restart(Mode::Writable);
    let patience = Instant::now() + Duration::from_secs(60);
    while scheduled_now(&cache.root()).is_none_or(|keys| keys.len() > 3) {
        assert!(Instant::now() < patience, "they are still there");
        sleep(Duration::from_millis(100));
    }
    for (_, key) in &keys {
        assert!(cache.log().contains(&format!("OnExpire({key}): unknown blob")), "{key}");
    }
    assert_eq!(cache.pull("library/a", "v1"), Some(pulled));
}

/// A cache notes each manifest that it fetches, indexes and their children as well. So all of an index goes; and what was
/// pushed to the same folder before it was a cache's stays, and is served.
#[test]
fn t64_an_index_that_was_fetched_goes_and_what_was_pushed_before_stays() {
    let upstream = RealRegistry::start();
    let child = |platform: &str| Image::oci(platform, platform, &[layer(platform, 5_000)]);
    upstream.push("library/index", "v1", &Image::index(&[child(AMD64), child("linux/arm64")]));
    let mut cache = RealRegistry::start();
    cache.push("team/pushed", "v1", &Image::oci("pushed", AMD64, &[layer("pushed", 5_000)]));
    let pushed = cache.pull("team/pushed", "v1").unwrap();
    cache.is_cache_of(&upstream);
    cache.restart(Mode::Writable);
    let fetched = cache.pull("library/index", "v1").unwrap();
    // An index, and of each child a manifest, a config and a layer.
    wait_for(&cache, 7);
    cache.stop();
    for (name, pulled) in [("library/index", &fetched), ("team/pushed", &pushed)] {
        let contents: Vec<String> = pulled.contents.iter().cloned().collect();
        pulled_ago(&cache, name, &contents, DAY * 40);
    }
    let root = cache.root();
    let run =
        regsweep(&["gc", "--format", "json", "--registry-stopped", "--cache-max-age", "30d", root.to_str().unwrap()]);
    run.exits(0);
    let report = run.report();
    let evicted = report.0["cache"]["evicted"].as_array().unwrap();
    let evicted: Vec<&str> = evicted.iter().map(|it| it["repository"].as_str().unwrap()).collect();
    assert_eq!(evicted, ["library/index"], "{}", run.text());
    assert_eq!(report.0["cache"]["kept"]["unscheduled"], 1);
    assert_eq!(scheduled(&cache.root()).len(), 0, "all that was fetched has gone");
    cache.restart(Mode::Writable);
    assert_eq!(cache.pull("team/pushed", "v1"), Some(pushed));
    assert_eq!(cache.pull("library/index", "v1"), Some(fetched), "fetched again");
}
