//! regsweep's own folder, `_regsweep`, made by somebody else: nothing in it is trusted, nothing of it leads outside.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::support::fingerprint::fingerprint;
use crate::support::process::{Run, finish, regsweep, regsweep_bound_by_permissions};
use crate::support::scenario::{gc, gc_arguments};
use crate::support::tree::{Tree, blob_object, write};
use crate::{assert_one_line, assert_plain, cut_off, name_of, quarantined, small, trash};

/// A tree with a run that was quarantined, something new to collect, and a folder beside it that nobody may touch.
struct Place {
    tree: Tree,
    run: PathBuf,
    outside: PathBuf,
    orphan: String,
}

impl Place {
    fn new() -> Self {
        let tree = small();
        let run = quarantined(&tree);
        let orphan = blob_object(&tree.orphan("new orphan").digest);
        let outside = tree.beside().join("outside");
        write(&outside.join("passwd"), b"root:x:0:0:root:/root:/bin/sh\n");
        let hex = "ab".repeat(32);
        write(&outside.join("folder/blobs/sha256/ab").join(&hex).join("data"), b"precious");
        write(&outside.join("folder/journal.jsonl"), b"precious\n");
        write(&outside.join("folder/trash/repositories/team/app/_layers/sha256").join(hex).join("link"), b"precious");
        write(&outside.join("folder/lock"), b"precious");
        Self { tree, run, outside, orphan }
    }

    fn own(&self, name: &str) -> PathBuf {
        self.tree.regsweep().join(name)
    }

    /// Takes away what is there, so that something else can stand in its place.
    fn clear(&self, path: &Path) {
        if fs::symlink_metadata(path).is_ok() {
            self.tree.remove(path);
        }
    }
}

/// What somebody makes of the folder, and whether a run can still do its work then.
type Case = (&'static str, bool, fn(&Place));

fn link(place: &Place, path: &Path, to: &str) {
    place.clear(path);
    symlink(place.outside.join(to), path).unwrap();
}

/// A second name of a file outside. As its owner, or as root, anybody can make one on the same file system.
fn hard_link(place: &Place, path: &Path, to: &str) {
    place.clear(path);
    fs::hard_link(place.outside.join(to), path).unwrap();
}

fn folder(place: &Place, path: &Path) {
    place.clear(path);
    fs::create_dir(path).unwrap();
}

fn sparse(place: &Place, path: &Path) {
    place.clear(path);
    write(path, b"");
    place.tree.grow(path, 1 << 30);
}

/// A device that gives and takes anything; where devices can be made, which takes root.
fn device(place: &Place, path: &Path) {
    place.clear(path);
    let mode = Mode::from_raw_mode(0o666);
    // /dev/zero.
    if rustix::fs::mknodat(rustix::fs::CWD, path, FileType::CharacterDevice, mode, rustix::fs::makedev(1, 5)).is_err() {
        fs::create_dir(path).unwrap();
    }
}

/// A run with a journal that somebody else put there.
fn stranger(place: &Place, name: &[u8], journal: &str) -> PathBuf {
    let run = place.own("runs").join(regsweep::layout::component(name));
    write(&run.join("journal.jsonl"), journal.as_bytes());
    run
}

const FOLDER_CASES: &[Case] = &[
    ("_regsweep is a file", false, |place| {
        place.clear(&place.tree.regsweep());
        write(&place.tree.regsweep(), b"?");
    }),
    ("_regsweep is a link", false, |place| link(place, &place.tree.regsweep(), "folder")),
    ("_regsweep is a link to nowhere", false, |place| link(place, &place.tree.regsweep(), "nowhere")),
    ("_regsweep is a pipe", false, |place| place.tree.fifo(&place.tree.regsweep())),
    ("runs is a file", false, |place| {
        place.clear(&place.own("runs"));
        write(&place.own("runs"), b"?");
    }),
    ("runs is a link", false, |place| link(place, &place.own("runs"), "folder")),
    ("lock is a pipe", false, |place| place.tree.fifo(&place.own("lock"))),
    ("lock is a folder", false, |place| folder(place, &place.own("lock"))),
    ("lock is a link", false, |place| link(place, &place.own("lock"), "passwd")),
    ("lock is a link to nowhere", false, |place| link(place, &place.own("lock"), "nowhere")),
    ("lock is another name of a file outside", false, |place| hard_link(place, &place.own("lock"), "passwd")),
    ("lock is a device", false, |place| device(place, &place.own("lock"))),
    ("lock is 1 GB", true, |place| sparse(place, &place.own("lock"))),
    ("history is a pipe", false, |place| place.tree.fifo(&place.own("history.jsonl"))),
    ("history is a link", false, |place| link(place, &place.own("history.jsonl"), "passwd")),
    ("history is another name", false, |place| hard_link(place, &place.own("history.jsonl"), "passwd")),
    ("history is a folder", false, |place| folder(place, &place.own("history.jsonl"))),
    ("history is a device", false, |place| device(place, &place.own("history.jsonl"))),
    ("history is rubbish", false, |place| write(&place.own("history.jsonl"), &[0xff; 5000])),
    ("history is half rubbish", true, |place| {
        let mut text = fs::read(place.own("history.jsonl")).unwrap();
        text.extend_from_slice(&[b'x'; 70_000]);
        text.push(b'\n');
        fs::write(place.own("history.jsonl"), text).unwrap();
    }),
    ("the new history is a link", true, |place| {
        let text = fs::read_to_string(place.own("history.jsonl")).unwrap();
        fs::write(place.own("history.jsonl"), text.repeat(1000)).unwrap();
        link(place, &place.own("history.jsonl.new"), "passwd");
    }),
    ("the new history is another name", true, |place| {
        let text = fs::read_to_string(place.own("history.jsonl")).unwrap();
        fs::write(place.own("history.jsonl"), text.repeat(1000)).unwrap();
        hard_link(place, &place.own("history.jsonl.new"), "passwd");
    }),
];

const RUN_CASES: &[Case] = &[
    ("a run with a name that none has", true, |place| {
        stranger(place, b"evil\nname", "{}\n");
        stranger(place, b"..evil", "{}\n");
        stranger(place, b"\xff\xfe", "{}\n");
    }),
    ("a run is a link", true, |place| link(place, &place.own("runs").join("20990101T000000Z-1"), "folder")),
    ("a run of somebody's, without a trash", true, |place| drop(stranger(place, b"20990101T000000Z-1", "rubbish\n"))),
    ("a journal is a pipe", false, |place| place.tree.fifo(&place.run.join("journal.jsonl"))),
    ("a journal is a link", false, |place| link(place, &place.run.join("journal.jsonl"), "passwd")),
    ("a journal is a folder", false, |place| folder(place, &place.run.join("journal.jsonl"))),
    ("a journal is a device", false, |place| device(place, &place.run.join("journal.jsonl"))),
    ("a journal is another name", false, |place| hard_link(place, &place.run.join("journal.jsonl"), "passwd")),
    ("a trash is a link, and the run was cut off", false, |place| {
        cut_off(&place.run);
        link(place, &place.run.join("trash"), "folder");
    }),
    ("a trash is a link, and the run is kept", true, |place| link(place, &place.run.join("trash"), "folder")),
    ("a trash is a file", true, |place| {
        place.clear(&place.run.join("trash"));
        write(&place.run.join("trash"), b"?");
    }),
    ("blobs in the trash are a link, and the run was cut off", false, |place| {
        cut_off(&place.run);
        link(place, &place.run.join("trash/blobs"), "folder/blobs");
    }),
    ("a shard in the trash is a link", true, |place| {
        link(place, &place.run.join("trash/blobs/sha256/ab"), "folder/blobs/sha256/ab");
    }),
    ("strangers in the trash", true, |place| strangers(place, &place.run.join("trash"))),
    ("strangers in a blob in the trash", true, |place| {
        let blob = place.run.join("trash/blobs/sha256/cd").join("cd".repeat(32));
        write(&blob.join("data"), b"?");
        strangers(place, &blob);
    }),
    ("strangers in an upload in the trash", true, |place| {
        strangers(place, &place.run.join("trash/repositories/team/app/_uploads/stale"));
    }),
    ("strangers in the trash of a run that was cut off", false, |place| {
        cut_off(&place.run);
        strangers(place, &place.run.join("trash"));
    }),
    ("5000 folders deep", true, |place| nest(&place.run.join("trash"))),
    ("5000 folders deep in an upload", true, |place| {
        nest(&place.run.join("trash/repositories/team/app/_uploads/stale"));
    }),
    ("5000 folders deep, and the run was cut off", false, |place| {
        cut_off(&place.run);
        nest(&place.run.join("trash"));
    }),
];

/// Everything that is no folder and no plain file of the registry's.
fn strangers(place: &Place, folder: &Path) {
    write(&folder.join("notes.txt"), b"mine");
    symlink(place.outside.join("folder"), folder.join("link to a folder")).unwrap();
    symlink(place.outside.join("passwd"), folder.join("link to a file")).unwrap();
    symlink("/nowhere", folder.join("link to nowhere")).unwrap();
    place.tree.fifo(&folder.join("pipe"));
    // Bound where the path is short, for a socket's has 108 bytes at most.
    let socket = place.tree.beside().join("socket");
    drop(UnixListener::bind(&socket).unwrap());
    fs::rename(socket, folder.join("socket")).unwrap();
    device(place, &folder.join("device"));
    fs::hard_link(place.outside.join("passwd"), folder.join("another name")).unwrap();
}

/// Folders in each other, deeper than any path can say.
fn nest(folder: &Path) {
    let mut inner: OwnedFd = fs::File::open(folder).unwrap().into();
    for _ in 0..5000 {
        rustix::fs::mkdirat(&inner, "d", Mode::RWXU).unwrap();
        inner = rustix::fs::openat(&inner, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
}

/// Takes [`nest`] apart again, wherever it is below a folder: what removes a temporary folder would hold every level
/// open at once.
fn flatten(below: &Path, spare: &Path) {
    for entry in walkdir::WalkDir::new(below).max_depth(12) {
        let Ok(entry) = entry else { continue };
        let top = entry.path();
        if entry.file_name() != "d" || !top.join("d").is_dir() {
            continue;
        }
        while top.join("d").is_dir() {
            fs::rename(top.join("d"), spare).unwrap();
            fs::remove_dir(top).unwrap();
            fs::rename(spare, top).unwrap();
        }
    }
}

/// Every command, one after the other, over what somebody has made of the folder.
fn all_commands(cases: &[Case]) -> (usize, usize) {
    let (mut runs, mut failed) = (0, 0);
    for (what, works, make) in cases {
        println!("{what}");
        let place = Place::new();
        let tree = &place.tree;
        make(&place);
        let before = fingerprint(&place.outside);
        let delivered = tree.deliverable(false);
        // No path leads to the bottom of the deep ones.
        let look = || (!what.starts_with("5000")).then(|| tree.fingerprint());
        let whole = look();
        let name = name_of(&place.run).to_owned();
        let commands: [(&str, &dyn Fn() -> Run); 6] = [
            ("gc --dry-run", &|| gc(tree, &["--dry-run", "-m", "--accept-shrink"])),
            ("trash list", &|| trash::<&str>(tree, "list", &[])),
            ("gc", &|| gc(tree, &["--registry-stopped", "-m"])),
            ("gc", &|| finish(regsweep(&["gc", "-mv", "--registry-stopped", tree.root().to_str().unwrap()]))),
            ("trash restore", &|| trash(tree, "restore", &["--registry-stopped", &name])),
            ("trash purge", &|| trash::<&str>(tree, "purge", &[])),
        ];
        for (step, (command, run)) in commands.into_iter().enumerate() {
            let run = run();
            let case = format!("{what}: {command}");
            println!("    {command}: exit {} {}", run.code, run.stderr.lines().next().unwrap_or_default());
            assert_plain(&run, &case);
            let changes = before.changes_to(&fingerprint(&place.outside));
            assert_eq!(changes, Vec::<String>::new(), "{case}: OUTSIDE WAS TOUCHED");
            let lost: Vec<_> = delivered.difference(&tree.deliverable(false)).cloned().collect();
            assert!(lost.is_empty(), "{case}: LOST {lost:#?}");
            if let (0..2, Some(before), Some(after)) = (step, &whole, look()) {
                assert_eq!(before.changes_to(&after), Vec::<String>::new(), "{case} changes nothing");
            }
            if command == "gc" {
                assert_eq!(run.code == 0, *works, "{case}: exit {}\n{}{}", run.code, run.text(), run.stderr);
                assert_eq!(!tree.objects().contains(&place.orphan), *works, "{case}: what is to go");
            }
            if run.code != 0 {
                assert_one_line(&run, &case);
                failed += 1;
            }
            runs += 1;
        }
        flatten(&tree.regsweep(), &tree.beside().join("spare"));
        flatten(&tree.repositories(), &tree.beside().join("spare"));
    }
    (runs, failed)
}

#[test]
fn a_folder_that_somebody_else_made() {
    let (runs, failed) = all_commands(FOLDER_CASES);
    println!("hostile: {} ways to make _regsweep: {runs} runs, {failed} of them refused or failed", FOLDER_CASES.len());
}

#[test]
fn runs_that_somebody_else_made() {
    let (runs, failed) = all_commands(RUN_CASES);
    println!("hostile: {} ways to make a run: {runs} runs, {failed} of them refused or failed", RUN_CASES.len());
}

/// A folder that the user may not enter: a dry run goes on and says so, the real one does not begin.
#[test]
fn a_folder_that_may_not_be_entered() {
    let place = Place::new();
    place.tree.give_to_nobody();
    place.tree.chmod(&place.tree.regsweep(), 0);
    let objects = place.tree.objects();
    let mut said = 0;
    for (flags, code) in [(&["--dry-run", "-m"][..], 0), (&["--registry-stopped", "-m"], 1)] {
        let run = finish(regsweep_bound_by_permissions(&place.tree, &gc_arguments(&place.tree.root(), flags)));
        run.exits(code);
        assert!(run.said().contains("ermission denied"), "{}", run.said());
        said += usize::from(code == 0 || run.stderr.lines().count() == 1);
    }
    assert_eq!(place.tree.objects(), objects);
    place.tree.chmod(&place.tree.regsweep(), 0o700);
    println!("hostile: a folder that may not be entered: {said} runs say so");
}
