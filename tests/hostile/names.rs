//! Names in every place where a name can stand, and every way in which they are printed. `tests/bad_input/names.rs` has
//! the plain ones; here are all that a terminal obeys or that turns text around, in folders of regsweep's own as well,
//! in the path of the registry itself, and in its config.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::process::{finish, regsweep};
use crate::support::scenario::gc;
use crate::support::tree::{Manifest, Tree, write};
use crate::{assert_plain, cut_off, name_of};

/// Names by what is wrong with them. `FORGED` at the beginning of a line of output would be a line of somebody else's.
fn names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = vec![
        b"x\nFORGED: all is well".to_vec(),
        b"\nFORGED".to_vec(),
        b"x\r\nFORGED\x1b]0;title\x07".to_vec(),
        b"\x1b[1A\x1b[2Kx".to_vec(),
        b"\x1bPq#0\x1b\\x".to_vec(),
        b"\x08\x08\x7f\x0b\x0c".to_vec(),
        b"raw \x9b31m and \xff\xc3\x28".to_vec(),
        b"\xed\xa0\x80 \xf8\x88\x80\x80\x80".to_vec(),
        // With a space before it, text that is broken into lines must not break here.
        [b"x ".repeat(60), b"FORGED".to_vec()].concat(),
        vec![b'n'; 255],
        [vec![0xff; 254], b"x".to_vec()].concat(),
        b"--registry-stopped".to_vec(),
        b"{\"event\":\"swept\"}".to_vec(),
        b"'\"`$(exit)\\".to_vec(),
    ];
    // Every eight-bit control, every bidirectional control, the separators of lines and paragraphs.
    let signs = ('\u{80}'..='\u{9f}').chain("\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{feff}".chars());
    let signs = signs.chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
    names.push(signs.flat_map(|sign| ['x', sign]).collect::<String>().into_bytes());
    names
}

/// Where a name can stand, as a path in which `NAME` is the name.
const PLACES: [&str; 26] = [
    "NAME",
    "NAME/inside",
    "blobs/NAME",
    "blobs/NAME/inside",
    "blobs/sha256/NAME",
    "blobs/sha256/NAME/inside",
    "blobs/sha256/ab/NAME",
    "blobs/sha256/ab/NAME/data",
    "ORPHAN/NAME",
    "repositories/NAME",
    "repositories/NAME/_manifests/tags/v1/current/link",
    "repositories/NAME/app/_layers/sha256/x/link",
    "repositories/team/NAME/_uploads/stale/startedat",
    "repositories/team/app/NAME",
    "repositories/team/app/NAME/inside",
    "repositories/team/app/_manifests/NAME",
    "repositories/team/app/_manifests/revisions/NAME/x/link",
    "repositories/team/app/_manifests/revisions/sha256/NAME/link",
    "repositories/team/app/_manifests/tags/NAME/current/link",
    "repositories/team/app/_manifests/tags/v1/index/NAME/x/link",
    "repositories/team/app/_manifests/tags/v1/index/sha256/NAME/link",
    "repositories/team/app/_layers/NAME/x/link",
    "repositories/team/app/_layers/sha256/NAME/link",
    "repositories/team/app/_uploads/NAME/startedat",
    "repositories/team/app/_uploads/stale/NAME",
    "_regsweep/NAME",
];

/// Where a name can stand in the folders of a run.
const PLACES_OF_A_RUN: [&str; 8] = [
    "../NAME/journal.jsonl",
    "NAME",
    "trash/NAME",
    "trash/NAME/inside",
    "trash/blobs/sha256/NAME/inside",
    "trash/repositories/NAME/_layers/sha256/x/link",
    "trash/repositories/team/app/_manifests/tags/NAME/current/link",
    "trash/repositories/team/app/_uploads/NAME/data",
];

fn put(base: &Path, place: &str, name: &[u8], orphan: &str) -> bool {
    let path: PathBuf = place
        .replace("ORPHAN", orphan)
        .split('/')
        .map(|part| if part == "NAME" { OsStr::from_bytes(name).to_owned() } else { OsString::from(part) })
        .collect();
    let path = base.join(path);
    let Some(parent) = path.parent() else { return false };
    // A name may be in the way of another: then it stands there already.
    fs::create_dir_all(parent).is_ok() && !path.exists() && fs::write(path, b"?").is_ok()
}

fn tree_with_names() -> (Tree, usize) {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    app.untagged("old");
    app.upload("stale", Duration::from_secs(9_000_000));
    let orphan = tree.orphan("orphan");
    let orphan = tree.blob(&orphan.digest).strip_prefix(tree.v2()).unwrap().to_str().unwrap().to_owned();
    let mut count = 0;
    for name in names() {
        for place in PLACES {
            count += usize::from(put(&tree.v2(), place, &name, &orphan));
        }
    }
    (tree, count)
}

const WAYS: [&[&str]; 8] = [
    &["gc", "-dm"],
    &["gc", "-dmv", "--remove-empty-repositories"],
    &["gc", "-dm", "--format", "json"],
    &["gc", "-dmq"],
    // Refused, for want of evidence.
    &["gc", "-m"],
    &["gc", "-m", "--format", "json"],
    &["trash", "list"],
    &["trash", "list", "--format", "json"],
];

#[test]
fn names_in_every_place_and_every_output() {
    let (tree, count) = tree_with_names();
    let root = tree.root();
    let mut outputs = 0;
    let mut check = |arguments: &[&OsStr]| {
        let run = finish(regsweep(arguments));
        assert_plain(&run, &format!("{arguments:?}"));
        if arguments.contains(&OsStr::new("json")) && !run.stdout.is_empty() {
            serde_json::from_slice::<serde_json::Value>(&run.stdout).expect("JSON");
        }
        outputs += 2;
        run
    };
    let with = |way: &[&'static str]| -> Vec<OsString> {
        let mut arguments: Vec<OsString> = way.iter().map(OsString::from).collect();
        arguments.insert(if way[0] == "trash" { 2 } else { 1 }, root.clone().into_os_string());
        arguments
    };
    let mut said = false;
    for way in WAYS {
        let arguments = with(way);
        let run = check(&arguments.iter().map(OsString::as_os_str).collect::<Vec<_>>());
        said |= run.text().contains("FORGED");
    }
    assert!(said, "it does speak of them, or this tests nothing");

    // In the trash, in the names of runs, and in the journal.
    let delivered = tree.deliverable(false);
    let done = gc(&tree, &["-m", "--registry-stopped", "--quarantine"]);
    assert_plain(&done, "gc --quarantine");
    let run = tree.regsweep().join("runs").join(done.report().run());
    let mut in_runs = 0;
    for name in names() {
        for place in PLACES_OF_A_RUN {
            in_runs += usize::from(put(&run, place, &name, ""));
        }
    }
    for name in names() {
        let arguments = [OsStr::new("trash"), OsStr::new("restore"), root.as_os_str(), OsStr::from_bytes(&name)];
        let refused = check(&arguments);
        assert_ne!(refused.code, 0, "no such run: {name:?}");
    }
    let ways: [&[&str]; 7] = [
        &["trash", "list"],
        &["trash", "list", "--format", "json"],
        &["gc", "-mv", "--registry-stopped"],
        &["trash", "restore", name_of(&run), "--registry-stopped"],
        &["trash", "purge"],
        &["gc", "-mq", "--registry-stopped"],
        &["gc", "-m", "--registry-stopped", "--format", "json"],
    ];
    for (step, way) in ways.into_iter().enumerate() {
        let mut arguments: Vec<&OsStr> = way.iter().map(OsStr::new).collect();
        arguments.insert(if way[0] == "trash" { 2 } else { 1 }, root.as_os_str());
        if step == 5 {
            // Cut off, so that putting back is what speaks.
            cut_off(&run);
        }
        check(&arguments);
    }
    assert!(delivered.is_subset(&tree.deliverable(false)));
    println!("hostile: {count} names in the tree, {in_runs} in runs, {outputs} outputs without one of them raw");
}

/// The registry's own path is such a name, as a folder, as a config, and where there is nothing.
#[test]
fn names_on_the_way_to_the_registry() {
    let mut outputs = 0;
    for name in names() {
        let tree = Tree::new();
        let app = tree.repository("team/app");
        app.image("v1");
        app.untagged("old");
        let root = tree.beside().join(OsStr::from_bytes(&name));
        let config = tree.beside().join("configs").join(OsStr::from_bytes(&name));
        write(
            &config,
            format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n", tree.root().display()).as_bytes(),
        );
        let mut check = |arguments: &[&OsStr]| {
            assert_plain(&finish(regsweep(arguments)), &format!("{arguments:?}"));
            outputs += 2;
        };
        let text = |text: &'static str| OsStr::new(text);
        // Nothing is there.
        check(&[text("gc"), text("-d"), text("--"), root.as_os_str()]);
        check(&[text("gc"), text("-d"), text("--config"), root.as_os_str(), tree.root().as_os_str()]);
        // The config lies there.
        check(&[text("gc"), text("-dv"), config.as_os_str()]);
        check(&[text("gc"), config.as_os_str()]);
        write(&config, b"version: 0.1\nstorage: [\n");
        check(&[text("gc"), config.as_os_str()]);
        // The registry does.
        fs::rename(tree.root(), &root).unwrap();
        check(&[text("gc"), text("-dv"), root.as_os_str()]);
        check(&[text("gc"), text("-d"), text("--format"), text("json"), root.as_os_str()]);
        check(&[text("gc"), root.as_os_str()]);
        check(&[text("gc"), text("-m"), text("--quarantine"), text("--registry-stopped"), root.as_os_str()]);
        check(&[text("trash"), text("restore"), root.as_os_str(), text("none")]);
        check(&[text("trash"), text("purge"), root.as_os_str()]);
    }
    println!("hostile: {} names on the way to the registry, {outputs} outputs", names().len());
}

/// What a config says is printed where it is wrong, and where it proves something.
#[test]
fn texts_of_a_config() {
    let evil = r"x\nFORGED\e[2J\x9b31m\u202e\u061c";
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    let root = tree.root();
    let good = format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n", root.display());
    let texts = [
        format!("version: \"{evil}\"\n"),
        format!("version: 0.1\nstorage:\n  \"{evil}\": {{}}\n"),
        format!("version: 0.1\nstorage:\n  \"{evil}\": {{}}\n  filesystem: {{}}\n"),
        format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: \"{evil}\"\n"),
        format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: [\"{evil}\"]\n"),
        format!("{good}proxy:\n  remoteurl: \"{evil}\"\n"),
        format!("{good}http:\n  addr: \"{evil}\"\n"),
        format!("{good}http:\n  addr: \":0\"\n  net: \"{evil}\"\n"),
        format!("{good}http:\n  addr: \"127.0.0.1:1\"\n  prefix: \"/{evil}\"\n"),
        format!("{good}  maintenance:\n    readonly:\n      enabled: \"{evil}\"\n"),
        format!("{good}  maintenance:\n    readonly: \"{evil}\"\n"),
        format!("{good}  maintenance:\n    uploadpurging: \"{evil}\"\n    readonly: {{enabled: true}}\n"),
        format!("{good}\"{evil}\": 1\n\"{evil}\": 2\n"),
        format!("{good}http: !<{evil}> x\n"),
        format!("{good}http: *x\u{202e}\u{9b}y\n"),
        format!("{good}http: {{ \u{61c}\u{202e}"),
    ];
    let config = tree.beside().join("config.yml");
    let mut outputs = 0;
    for text in &texts {
        write(&config, text.as_bytes());
        for flags in [&["gc", "-dv"][..], &["gc", "-d", "--format", "json"], &["gc"]] {
            let mut command = regsweep(flags);
            command.arg(&config);
            let run = finish(command);
            assert_plain(&run, &format!("{text:?} {flags:?}"));
            outputs += 2;
        }
    }
    println!("hostile: {} configs with such a text, {outputs} outputs", texts.len());
}

/// A manifest's own words come into the report where they are what is wrong with it.
#[test]
fn texts_of_a_manifest() {
    let evil = "\\u001b[2J\\nFORGED\u{9b}31m\u{202e}\u{61c}";
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    let texts = [
        format!("{{\"config\":\"{evil}\"}}"),
        format!("{{\"config\":{{\"digest\":\"{evil}\"}}}}"),
        format!("{{\"layers\":\"{evil}\"}}"),
        format!("{{\"mediaType\":\"{evil}\",\"layers\":[{{\"urls\":\"{evil}\",\"digest\":\"x\"}}]}}"),
        format!("{{\"{evil}\":{evil}}}"),
        format!("{{\"subject\":{{\"digest\":\"{evil}\"}},\"config\":null}}"),
    ];
    for (number, text) in texts.iter().enumerate() {
        app.push_tagged(&format!("odd-{number}"), &Manifest::raw(text.clone()));
    }
    for flags in [&["gc", "-dv"][..], &["gc", "-d", "--format", "json"], &["gc", "-dq"]] {
        let mut command = regsweep(flags);
        command.arg(tree.root());
        let run = finish(command);
        run.exits(3);
        assert_plain(&run, &format!("{flags:?}"));
    }
    println!("hostile: {} manifests with such a text", texts.len());
}

/// What a name has 255 bytes of that are no UTF-8 is four times as long when it is shown, and no more.
#[test]
fn names_are_shown_in_proportion() {
    let tree = Tree::new();
    tree.repository("team/app").image("v1");
    for number in 0..200u8 {
        let mut name = vec![0xff; 255];
        name[0] = number.max(b'0');
        name[1] = number / 2 + 0x80;
        write(&tree.v2().join("blobs").join(OsString::from_vec(name)), b"?");
    }
    let mut command = regsweep(&["gc", "-dv"]);
    command.arg(tree.root());
    let run = finish(command);
    run.exits(0);
    assert!(run.stdout.len() < 200 * 1200 + 5000, "{}", run.stdout.len());
    println!("hostile: {} bytes of output for 200 names that are no text", run.stdout.len());
}
