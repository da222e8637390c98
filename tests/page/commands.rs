//! The pages that commands write of a registry: they say what the JSON of the same run says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::browser::Browser;
use crate::support::process::{Run, finish, regsweep};
use crate::support::tree::{Blob, Manifest, Tree, everything, write};

/// A command with `--format json` and `--html`, and where the page is.
fn page(tree: &Tree, command: &str, flags: &[&str]) -> (Run, PathBuf) {
    let path = tree.beside().join(format!("{command}.html"));
    let root = tree.root();
    let head = [command, "--format", "json", "--html", path.to_str().unwrap(), root.to_str().unwrap()];
    (finish(regsweep(&[&head[..], flags].concat())), path)
}

fn json(run: &Run) -> Value {
    serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", run.text(), run.stderr))
}

/// The rows of the table with this caption: the first cell, and the exact figures of the others.
fn rows(browser: &mut Browser, caption: &str) -> BTreeMap<String, Vec<u64>> {
    let table = format!(
        "(() => {{
            const at = [...document.querySelectorAll('table')].find(table =>
                (document.getElementById(table.getAttribute('aria-labelledby')) ?? table.caption)
                    .textContent.startsWith({caption:?}));
            return [...at.tBodies[0].rows].map(row => [row.cells[0].textContent,
                ...[...row.cells].slice(1).map(cell => Number(cell.dataset.v ?? NaN)).filter(it => !isNaN(it))]);
        }})()"
    );
    let list = browser.eval(&table);
    let rows = list.as_array().unwrap_or_else(|| panic!("no table {caption}: {list}"));
    rows.iter()
        .map(|row| {
            let cells = row.as_array().unwrap();
            (cells[0].as_str().unwrap().to_owned(), cells[1..].iter().map(|cell| cell.as_u64().unwrap()).collect())
        })
        .collect()
}

#[test]
fn pages_say_what_the_json_says() {
    let tree = everything();
    tree.age(std::time::Duration::from_secs(40 * 24 * 3600));
    let mut browser = Browser::start();
    browser.set_window(1280, 900);

    let (run, path) = page(&tree, "du", &[]);
    run.exits(0);
    let usage = json(&run);
    browser.go_to_file(&path);
    assert_eq!(browser.text("document.querySelector('h1').textContent"), "What is in this registry");
    let shown = rows(&mut browser, "Repositories");
    let repositories = usage["repositories"].as_array().unwrap();
    assert!(repositories.len() > 2 && shown.len() == repositories.len(), "{shown:?}");
    for repository in repositories {
        let name = repository["name"].as_str().unwrap();
        let bytes = |key: &str| repository[key]["bytes"].as_u64().unwrap();
        let sizes = ["total", "exclusive", "shared", "untagged", "garbage"].map(bytes);
        assert_eq!(shown[name][2..], sizes, "{name}");
    }
    // The picture holds each blob once.
    let all = usage["store"]["blobs"]["bytes"].as_u64().unwrap();
    let parts: u64 = rows(&mut browser, "What is in the store").values().map(|cells| cells[0]).sum();
    assert_eq!(parts, all);
    browser.assert_quiet();

    let (run, path) = page(&tree, "gc", &["--dry-run", "--delete-untagged"]);
    run.exits(0);
    browser.go_to_file(&path);
    assert_eq!(browser.text("document.querySelector('h1').textContent"), "What would go");
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for action in json(&run)["actions"].as_array().unwrap() {
        *sums.entry(action["kind"].as_str().unwrap().replace('_', " ")).or_default() += 1;
    }
    let names = browser.texts(
        "[...document.querySelectorAll('#table-1 tbody tr')].map(row => row.cells[0].textContent + '=' + \
         row.cells[2].dataset.v)",
    );
    let mut shown: BTreeMap<String, u64> = BTreeMap::new();
    for name in names {
        let (name, count) = name.split_once('=').unwrap();
        *shown.entry(name.to_owned()).or_default() += count.parse::<u64>().unwrap();
    }
    assert_eq!(shown, sums);
    browser.assert_quiet();

    let run_of_rm = page(&tree, "rm", &["--dry-run", "team/app:v1"]);
    run_of_rm.0.exits(0);
    browser.go_to_file(&run_of_rm.1);
    assert_eq!(browser.text("document.querySelector('h1').textContent"), "What would go");
    browser.assert_quiet();
}

#[test]
fn the_page_of_a_check_tells_what_is_lost() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    let (amd64, arm64) = (Manifest::docker("amd64", &["base", "a"]), Manifest::docker("arm64", &["base", "b"]));
    app.push(&amd64);
    app.push(&arm64);
    app.index("v1", &[&amd64, &arm64]);
    app.image("v2");
    let layer = Blob::layer("b").digest;
    tree.remove(&tree.blob(&layer));
    let mut browser = Browser::start();
    let (run, path) = page(&tree, "check", &["--read-data"]);
    run.exits(3);
    browser.go_to_file(&path);
    assert_eq!(browser.text("document.querySelector('h1').textContent"), "Can every image be pulled?");
    let lost = rows(&mut browser, "What cannot be pulled");
    assert_eq!(lost.keys().collect::<Vec<_>>(), ["team/app:v1 (linux/arm64)"]);
    assert_eq!(rows(&mut browser, "Damaged blobs")[&layer], [1, 0], "a tag, and no untagged manifest");
    let lacks = browser.text("document.querySelector('#table-1 tbody tr').cells[1].textContent");
    assert_eq!(lacks, format!("layer {layer} is missing"));
    let text = browser.text("document.querySelector('main').textContent");
    assert!(text.contains("1 of 2"), "{text}");
    browser.assert_quiet();

    // A run that is refused has a page as well, and says nothing of what nobody has looked at.
    let (run, path) = page(&tree, "check", &["--repair"]);
    run.exits(4);
    browser.go_to_file(&path);
    assert_eq!(browser.text("document.querySelector('h1').textContent"), "check: refused, nothing was touched");
    assert!(!browser.text("document.body.textContent").contains("Where the bytes are"));
    browser.assert_quiet();
}

/// Names from the disk are data on the way from the folder to the page.
#[test]
fn names_on_the_disk_run_nothing() {
    const TAG: &str = "<img src=x onerror=window.ran=1>";
    const REPOSITORY: &str = "\"><svg onload=window.ran=1>";
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image("v1");
    write(&app.folder().join("_manifests/tags").join(TAG).join("current/link"), image.digest.as_bytes());
    let odd = tree.repositories().join(REPOSITORY);
    write(&odd.join("_manifests/revisions/sha256").join(&image.digest[7..]).join("link"), image.digest.as_bytes());
    tree.truncate(&app.current("v1"), 0);
    let mut browser = Browser::start();
    for (command, flags) in [("du", &[][..]), ("check", &[]), ("gc", &["--dry-run"])] {
        let (run, path) = page(&tree, command, flags);
        assert!(matches!(run.code, 0 | 3), "{command}: {}", run.stderr);
        browser.go_to_file(&path);
        browser.settle();
        let text = browser.text("document.body.textContent");
        assert!(text.contains(REPOSITORY), "{command}: {text}");
        assert!(browser.eval("window.ran ?? null").is_null(), "{command}");
        assert_eq!(browser.eval("document.querySelectorAll('img, [onload], [onerror]').length"), 0, "{command}");
        browser.assert_quiet();
    }
}

/// What cannot be written is said in one line, and what was printed is printed.
#[test]
fn a_page_that_cannot_be_written() {
    let tree = Tree::new();
    tree.repository("app").image("v1");
    for command in ["du", "check"] {
        let root = tree.root();
        let path = tree.beside().join("absent/page.html");
        let run =
            finish(regsweep(&[command, "--html", path.to_str().unwrap(), root.to_str().unwrap(), "--format", "json"]));
        run.exits(1);
        assert!(run.stderr.contains("cannot write the page to"), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}
