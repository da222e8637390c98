//! `kill -9`, for real: the binary is killed at moments that nobody chose, again and again, and whatever is on the
//! disk then is a registry that delivers everything that it delivered before.
//!
//! A delay alone would hit other places on a fast machine than on a slow one. So each kill waits for a stage of the
//! run, as its journal and its trash show it, and then for a while more, which is shortened when it was too long.

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::process::{finish, regsweep};
use support::tree::{Blob, Manifest, Tree};

/// How many kills there are of a run, of a restore, of a purge.
const KILLS: [usize; 3] = [84, 20, 20];

/// Where a process was when it was killed, by what it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hit {
    /// Nothing was moved yet.
    BeforeTheFirstMove,
    /// Something was, and the mark was not written.
    WhileMoving,
    /// The mark was there, and the trash was not gone.
    AfterTheMark,
    /// It had come to its end.
    AtTheEnd,
}

/// When a process is killed: a random while after this has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Moved,
    Mark,
}

struct Seeded(u64);

impl Seeded {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// Repositories that share layers, each with tags that stay and much that goes: a few thousand objects.
///
/// ```text
/// team/<n>   v0..v5 => shared layers, own layers     old-0..old-5 (untagged)     strays, tag history, uploads
/// ```
fn large() -> Tree {
    let tree = Tree::new();
    let shared: Vec<Blob> = (0..20).map(|number| Blob::layer(&format!("shared {number}"))).collect();
    for repository in 0..12 {
        let name = format!("team/{repository}");
        let handle = tree.repository(&name);
        let image = |words: &str, number: usize| {
            let own = (0..2).map(|part| Blob::layer(&format!("{name} {words} {number} {part}")));
            let shared = [&shared[(repository + number) % 20], &shared[(repository * 7 + number) % 20]];
            Manifest::docker_of(
                &format!("{name} {words} {number}"),
                &shared.into_iter().cloned().chain(own).collect::<Vec<_>>(),
            )
        };
        for number in 0..6 {
            handle.push_tagged(&format!("v{number}"), &image("first", number));
            handle.push_tagged(&format!("v{number}"), &image("now", number));
        }
    }
    garbage(&tree);
    tree
}

/// What goes. Laid again into a tree from which it has gone, it is the same garbage again.
fn garbage(tree: &Tree) {
    for repository in 0..12 {
        let name = format!("team/{repository}");
        let handle = tree.repository(&name);
        for number in 0..6 {
            handle.untagged(&format!("old {number}"));
            handle.stray_layer(&format!("{name} stray {number}"));
            handle.upload(&format!("stale-{number}"), Duration::from_secs(9_000_000));
        }
    }
    for number in 0..200 {
        tree.orphan(&format!("orphan {number}"));
    }
}

/// The same tree again; the builder would take ten times as long.
fn copy_of(tree: &Tree) -> Tree {
    let copy = Tree::new();
    fs::remove_dir_all(copy.root()).unwrap();
    assert!(Command::new("cp").arg("-a").arg(tree.root()).arg(copy.root()).status().unwrap().success());
    copy
}

fn gc(tree: &Tree, flags: &[&str]) -> Command {
    let root = tree.root();
    regsweep(&[&["gc", "-mq", "--registry-stopped", root.to_str().unwrap()], flags].concat())
}

fn trash(tree: &Tree, arguments: &[&str]) -> Command {
    let root = tree.root();
    regsweep(&[&["trash", arguments[0], root.to_str().unwrap()], &arguments[1..]].concat())
}

/// The folders of all runs, sorted by name and so by time.
fn runs(tree: &Tree) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(tree.regsweep().join("runs")) else { return Vec::new() };
    let mut runs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    runs
}

fn says(run: &Path, event: &str) -> bool {
    let journal = fs::read_to_string(run.join("journal.jsonl")).unwrap_or_default();
    // Whole lines only: half a line is no mark.
    journal.split_inclusive('\n').any(|line| line.ends_with('\n') && line.contains(&format!("\"event\":\"{event}\"")))
}

/// Whether anything lies in the trash of a run.
fn has_moved(run: &Path) -> bool {
    walkdir::WalkDir::new(run.join("trash"))
        .into_iter()
        .any(|entry| entry.is_ok_and(|entry| entry.file_type().is_file()))
}

/// Whether a stage of a run has come that was not there before.
fn has_come(tree: &Tree, stage: Stage, before: &BTreeSet<PathBuf>) -> bool {
    let new = || runs(tree).into_iter().find(|run| !before.contains(run));
    match stage {
        Stage::Start => true,
        Stage::Moved => new().is_some_and(|run| {
            let folders =
                |path: &str| fs::read_dir(run.join("trash").join(path)).is_ok_and(|mut it| it.next().is_some());
            folders("repositories") || folders("blobs")
        }),
        Stage::Mark => new().is_some_and(|run| says(&run, "swept")),
    }
}

/// Starts it, waits for the stage and a random part of `extra` more, and kills it. Whether it was still alive then.
fn killed(mut command: Command, mut has_come: impl FnMut() -> bool, extra: Duration, random: &mut Seeded) -> bool {
    let mut child: Child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !has_come() && child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(120), "it hangs");
        // Not a busy loop: the process needs the core more.
        std::thread::sleep(Duration::from_micros(50));
    }
    let micros = u64::try_from(extra.as_micros()).unwrap();
    std::thread::sleep(Duration::from_micros(random.below(micros.max(1))));
    // SIGKILL, to this very process, which is ours until it is waited for.
    let was_alive = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    was_alive
}

/// Where the newest run that was not there before was when it died.
fn hit(tree: &Tree, before: &BTreeSet<PathBuf>, was_alive: bool) -> Hit {
    let Some(run) = runs(tree).into_iter().rfind(|run| !before.contains(run)) else {
        return if was_alive { Hit::BeforeTheFirstMove } else { Hit::AtTheEnd };
    };
    match (says(&run, "swept"), says(&run, "purged"), has_moved(&run)) {
        (_, true, _) => Hit::AtTheEnd,
        (true, false, _) => Hit::AfterTheMark,
        (false, false, true) => Hit::WhileMoving,
        (false, false, false) => Hit::BeforeTheFirstMove,
    }
}

#[track_caller]
fn assert_delivers(tree: &Tree, delivered: &BTreeSet<String>, what: &str) {
    let now = tree.deliverable(false);
    let lost: Vec<String> = delivered.difference(&now).map(|fact| tree.explain(fact)).collect();
    assert!(lost.is_empty(), "{what}: LOST {lost:#?}");
}

/// How long one undisturbed run takes, and what it leaves.
fn undisturbed(tree: &Tree, flags: &[&str]) -> (Tree, Duration) {
    let copy = copy_of(tree);
    let began = Instant::now();
    finish(gc(&copy, flags)).exits(0);
    (copy, began.elapsed())
}

fn count<T: Ord>(counts: &mut BTreeMap<T, usize>, what: T) {
    *counts.entry(what).or_default() += 1;
}

/// Runs are killed, and the runs after them that put back what those had moved, with a push in between now and then;
/// every few rounds one comes to its end.
#[test]
fn runs_that_are_killed() {
    let original = large();
    let (swept, took) = undisturbed(&original, &[]);
    let end = swept.objects();
    let mut random = Seeded(0x5EED_0001);
    let (mut hits, mut kills, mut rounds, mut pushes) = (BTreeMap::new(), 0, 0, 0);
    let mut extra = [took / 2, took / 32, took / 32];
    while kills < KILLS[0] {
        let tree = copy_of(&original);
        let mut expected = end.clone();
        let mut delivered = tree.deliverable(false);
        let in_this_round = 5 + random.below(5);
        for number in 0..in_this_round {
            let before: BTreeSet<PathBuf> = runs(&tree).into_iter().collect();
            let place = (kills + rounds) % 3;
            let stage = [Stage::Start, Stage::Moved, Stage::Mark][place];
            let was_alive = killed(gc(&tree, &[]), || has_come(&tree, stage, &before), extra[place], &mut random);
            let hit = hit(&tree, &before, was_alive);
            let is_too_late = match stage {
                Stage::Start | Stage::Mark => hit == Hit::AtTheEnd,
                Stage::Moved => hit > Hit::WhileMoving,
            };
            // How long is right depends on the machine, and on who else is at work on it.
            extra[place] = if is_too_late { extra[place] / 2 } else { extra[place] * 5 / 4 };
            count(&mut hits, hit);
            kills += 1;
            assert_delivers(&tree, &delivered, &format!("round {rounds}, kill {number} at {stage:?}"));
            if hit == Hit::AtTheEnd {
                // A run that finds nothing to do is not worth a kill.
                garbage(&tree);
            }
            if random.below(3) == 0 {
                // The registry is started, takes a push, and is stopped again.
                let name = format!("team/{}", random.below(14));
                let image = Manifest::docker(
                    &format!("pushed {rounds} {number}"),
                    &[&format!("pushed {rounds} {number}"), &format!("orphan {}", random.below(200))],
                );
                let repository = tree.repository(&name);
                let tag = format!("pushed-{number}");
                repository.push_tagged(&tag, &image);
                expected.extend(repository.objects_of(&image));
                expected.extend([
                    name.clone(),
                    repository.tag_object(&tag),
                    repository.history_object(&tag, &image.digest),
                ]);
                delivered = tree.deliverable(false);
                pushes += 1;
            }
        }
        let run = finish(gc(&tree, &[]));
        run.exits(0);
        assert_delivers(&tree, &delivered, "the run that comes to its end");
        let left = tree.objects();
        let differ: Vec<_> = left.symmetric_difference(&expected).map(|object| tree.explain(object)).collect();
        assert!(differ.is_empty(), "round {rounds}: not what an undisturbed run leaves: {differ:#?}");
        let in_trash: Vec<PathBuf> = runs(&tree).into_iter().filter(|run| has_moved(run)).collect();
        assert!(in_trash.is_empty(), "something is left in the trash: {in_trash:?}");
        rounds += 1;
    }
    let of = |hit| hits.get(&hit).copied().unwrap_or_default();
    println!(
        "kill: {kills} kills in {rounds} rounds, {pushes} pushes in between; {} before the first move, {} while \
         things moved, {} after the mark, {} at the end; {} objects, an undisturbed run takes {} ms",
        of(Hit::BeforeTheFirstMove),
        of(Hit::WhileMoving),
        of(Hit::AfterTheMark),
        of(Hit::AtTheEnd),
        original.objects().len(),
        took.as_millis()
    );
    for hit in [Hit::BeforeTheFirstMove, Hit::WhileMoving, Hit::AfterTheMark] {
        assert!(of(hit) >= 3, "no kill has hit it: {hit:?}");
    }
}

/// How many files are in a trash.
fn files_in_trash(run: &Path) -> usize {
    let entries = walkdir::WalkDir::new(run.join("trash")).into_iter().filter_map(Result::ok);
    entries.filter(|entry| entry.file_type().is_file()).count()
}

/// A restore that is killed goes on where it was, until everything is back as it was, to the inode.
#[test]
fn restores_that_are_killed() {
    let tree = large();
    let (before, objects, delivered) = (tree.fingerprint().files(), tree.objects(), tree.deliverable(false));
    let mut random = Seeded(0x5EED_0002);
    let (mut kills, mut amid, mut rounds, mut alive) = (0, 0, 0, 0);
    while kills < KILLS[1] {
        finish(gc(&tree, &["--quarantine"])).exits(0);
        let run = runs(&tree).pop().unwrap();
        let name = run.file_name().unwrap().to_str().unwrap().to_owned();
        let whole = files_in_trash(&run);
        let restore = || trash(&tree, &["restore", &name, "--registry-stopped"]);
        for _ in 0..6 {
            if !run.join("trash").exists() {
                break;
            }
            // At once, or when something is back.
            let (kind, left) = (random.below(4), files_in_trash(&run));
            let has_begun = || kind == 0 || files_in_trash(&run) < left;
            let was_alive = killed(restore(), has_begun, Duration::from_millis(12), &mut random);
            alive += usize::from(was_alive);
            let now = files_in_trash(&run);
            amid += usize::from(0 < now && now < whole);
            kills += 1;
            assert_delivers(&tree, &delivered, &format!("restore killed, {now} of {whole} files left"));
        }
        if says(&run, "restored") && !run.join("trash").exists() {
            // It was killed after its last line.
        } else {
            finish(restore()).exits(0);
        }
        assert_eq!(tree.objects(), objects, "every object is back");
        assert_eq!(before.changes_to(&tree.fingerprint().files()), Vec::<String>::new(), "as it was, to the inode");
        rounds += 1;
    }
    println!(
        "kill: {kills} kills of a restore in {rounds} rounds, {alive} while it ran, {amid} left half in the trash"
    );
    assert!(amid >= 3, "no kill has hit a restore amid its work");
}

/// A purge that is killed is finished by the next run, and touches nothing that is in use.
#[test]
fn purges_that_are_killed() {
    let original = large();
    let (kept, _) = undisturbed(&original, &["--quarantine"]);
    let (end, delivered) = (kept.objects(), kept.deliverable(false));
    let mut random = Seeded(0x5EED_0003);
    let (mut kills, mut amid, mut rounds, mut alive) = (0, 0, 0, 0);
    while kills < KILLS[2] {
        let tree = copy_of(&kept);
        let run = runs(&tree).pop().unwrap();
        let whole = files_in_trash(&run);
        // Once it is noted that the trash is being deleted, the next run does that.
        while kills < KILLS[2] && files_in_trash(&run) > 0 {
            let kind = random.below(4);
            let command = if says(&run, "purging") { gc(&tree, &[]) } else { trash(&tree, &["purge"]) };
            let left = files_in_trash(&run);
            let has_begun = || kind == 0 || files_in_trash(&run) < left;
            alive += usize::from(killed(command, has_begun, Duration::from_millis(8), &mut random));
            let now = files_in_trash(&run);
            amid += usize::from(0 < now && now < whole);
            kills += 1;
            assert_delivers(&tree, &delivered, &format!("purge killed, {now} of {whole} files left"));
            assert_eq!(tree.objects(), end, "nothing comes back");
        }
        finish(trash(&tree, &["purge"])).exits(0);
        finish(gc(&tree, &[])).exits(0);
        assert_eq!(tree.objects(), end);
        assert!(!run.join("trash").exists(), "nothing is left in the trash");
        rounds += 1;
    }
    println!("kill: {kills} kills of a purge in {rounds} rounds, {alive} while it ran, {amid} left half in the trash");
    assert!(amid >= 3, "no kill has hit a purge amid its work");
}
