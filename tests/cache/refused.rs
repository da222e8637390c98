//! What is no cache, what is none any more, and what cannot be brought in step.

use std::fs;
use std::time::Duration;

use crate::support::process::{finish, regsweep};
use crate::support::scenario::{gc, gc_arguments, refuses};
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

/// T65: the config of a cache, and by mistake the folder of the registry beside it. What the config says is of another
/// folder, and no state lies in this one. Where the folder is that of a container, its path can be given.
#[test]
fn t65_the_config_of_a_cache_makes_no_cache_of_another_folder() {
    let tree = Tree::new();
    let pushed = image(&tree, "team/pushed", "v1", &["a"], 40);
    let cache = Tree::new();
    image(&cache, "library/fetched", "v1", &["b"], 40);
    schedule(&cache);
    let (before, config) = (tree.fingerprint(), config(&cache, PROXY));
    let flags = ["--cache-max-age", "30d", "--cache-unscheduled", "--registry-stopped", "--config", &config];
    for more in [&[][..], &["--dry-run"]] {
        let run = gc(&tree, &[&flags, more].concat());
        run.exits(2);
        assert!(run.stderr.contains("the storage root of the config is"), "{}", run.stderr);
        assert!(run.stderr.contains("set REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY to the folder"), "{}", run.stderr);
        assert_eq!(before.changes_to(&tree.fingerprint()), Vec::<String>::new());
    }
    // Somebody says that it is the folder of this config: as an ordinary registry cannot tell that, it is believed.
    let mut command = regsweep(&gc_arguments(&tree.root(), &flags));
    command.env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", tree.root());
    finish(command).exits(0);
    assert!(!tree.objects().contains(&tree.repository("team/pushed").revision_object(&pushed.digest)));
    // The cache itself, and its config by another path to the same folder; no state helps.
    let link = cache.beside().join("link");
    std::os::unix::fs::symlink(cache.root(), &link).unwrap();
    fs::remove_file(state(&cache.root())).unwrap();
    let mut command = regsweep(&gc_arguments(&cache.root(), &flags));
    command.env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", link);
    finish(command).exits(0);
    assert!(!cache.objects().contains(&cache.repository("library/fetched").tag_object("v1")));
}

/// The config of a container names a path that is none here: then the state decides, as if there were no config.
#[test]
fn t65_in_a_container_the_state_decides() {
    let tree = Tree::new();
    image(&tree, "a", "v1", &["a"], 40);
    schedule(&tree);
    let path = tree.beside().join("container.yml");
    let storage = "version: 0.1\nstorage: {filesystem: {rootdirectory: /nowhere/registry}}\n";
    write(&path, format!("{storage}{PROXY}").as_bytes());
    let flags = ["--cache-max-age", "1d", "--config", path.to_str().unwrap()];
    set_times(&state(&tree.root()), DAY * 60, DAY * 60);
    let refused = refuses(&tree, &flags);
    assert!(refused.says("this folder as its storage root"), "{}", refused.stderr);
    set_times(&state(&tree.root()), DAY, DAY);
    gc(&tree, &[&flags[..], &["--registry-stopped"]].concat()).exits(0);
    assert!(!tree.objects().contains(&tree.repository("a").tag_object("v1")), "evicted");
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
