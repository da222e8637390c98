//! What is no cache, what is none any more, and what cannot be brought in step.

use std::fs;
use std::time::Duration;

use crate::support::process::{finish, regsweep};
use crate::support::scenario::{gc, refuses};
use crate::support::tree::{Tree, write};
use crate::{DAY, image, schedule, set_times, state};

fn config(tree: &Tree, more: &str) -> String {
    let path = tree.beside().join("config.yml");
    let root = tree.root();
    write(&path, format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root:?}}}}}\n{more}").as_bytes());
    path.to_str().unwrap().to_owned()
}

const PROXY: &str = "proxy: {remoteurl: 'https://registry.example'}\n";

/// What goes from any other registry can be fetched from nowhere.
#[test]
fn only_caches_evict() {
    let tree = Tree::new();
    image(&tree, "a", "v1", &["a"], 40);
    let none = config(&tree, "");
    for flags in [&["--cache-max-age", "1d"][..], &["--cache-max-size", "1K"]] {
        let run = gc(&tree, &[flags, &["--registry-stopped"]].concat());
        run.exits(2);
        assert!(run.stderr.contains("nothing shows that this is one"), "{}", run.stderr);
    }
    schedule(&tree);
    let before = tree.fingerprint();
    // A config decides, whatever lies in the storage root.
    let run = gc(&tree, &["--cache-max-age", "1d", "--registry-stopped", "--config", &none]);
    run.exits(2);
    assert!(run.stderr.contains("the config has no proxy.remoteurl"), "{}", run.stderr);
    gc(&tree, &["--cache-max-size", "0"]).exits(2);
    // A cache that may be running is not touched, whatever else is evidence.
    gc(&tree, &["--cache-max-age", "1d"]).exits(4);
    let read_only = config(&tree, &format!("{PROXY}storage.maintenance: x\n"));
    finish(regsweep(&["gc", "--cache-max-age", "1d", &read_only])).exits(4);
    assert_eq!(before.files().changes_to(&tree.fingerprint().files()), Vec::<String>::new());
    let proxy = config(&tree, PROXY);
    gc(&tree, &["--cache-max-age", "1d", "--registry-stopped", "--config", &proxy]).exits(0);
}

#[test]
fn a_schedule_that_cannot_be_read_stops_an_eviction() {
    for text in ["", "[]", "{\"a\":1}", "{\"a\":{\"EntryType\":0}"] {
        let tree = Tree::new();
        image(&tree, "a", "v1", &["a"], 40);
        fs::write(state(&tree.root()), text).unwrap();
        let refused = refuses(&tree, &["--cache-max-age", "1d"]);
        assert!(refused.says("scheduler-state.json cannot be used"), "{}", refused.stderr);
        gc(&tree, &["--dry-run", "--cache-max-age", "1d"]).exits(4);
        // A collection that evicts nothing leaves it as it is, and says so where it would change something.
        tree.repository("a").stray_layer("stray");
        let plain = gc(&tree, &["--registry-stopped"]);
        plain.exits(0);
        assert!(plain.report().has("warning", "was not brought in step"), "{}", plain.text());
        assert_eq!(fs::read_to_string(state(&tree.root())).unwrap(), text);
    }
}

/// T57: a registry that was a cache once still has the state of one, and what was pushed to it since can be fetched from
/// nowhere. A cache notes what it stores within seconds; with its config there is no doubt.
#[test]
fn t57_a_registry_that_was_a_cache_once_is_none() {
    let tree = Tree::new();
    image(&tree, "a", "v1", &["a"], 40);
    schedule(&tree);
    image(&tree, "pushed", "v1", &["b"], 20);
    set_times(&state(&tree.root()), DAY * 30, DAY * 30);
    let refused = refuses(&tree, &["--cache-max-age", "1d"]);
    assert!(refused.says("pushed got something"), "{}", refused.stderr);
    let proxy = config(&tree, PROXY);
    gc(&tree, &["--dry-run", "--cache-max-age", "1d", "--config", &proxy]).exits(0);
    set_times(&state(&tree.root()), DAY * 20 - Duration::from_secs(5), DAY * 20 - Duration::from_secs(5));
    gc(&tree, &["--registry-stopped", "--cache-max-age", "1d"]).exits(0);
}
