//! T01: scan, mark and plan, with a fault at every call that looks at the tree.

use regsweep::seam::{Answer, Kind};
use rustix::io::Errno;

use super::names;
use super::support::inside::{Call, Nth, Recorder, for_each_on_all_cores, on_one_thread, sample};
use super::support::tree::Tree;
use super::{Policy, Said, collected, entries, policy, reads, rich};

/// What goes wrong, and for how long.
#[derive(Clone, Copy, Debug)]
struct Fault {
    nth: usize,
    answer: Answer,
    /// Whether it goes wrong whenever the same is asked again, not just once.
    lasts: bool,
}

/// What one mode says without any fault, and the calls that it makes.
struct Mode {
    policy: Policy,
    said: Said,
    calls: Vec<Call>,
}

impl Mode {
    fn of(tree: &Tree, policy: Policy) -> Mode {
        let recorder = Recorder::new();
        let said = on_one_thread(|| collected(&tree.root(), &policy, recorder.seam()));
        assert!(!said.is_stopped && said.actions.len() > 20, "the tree has garbage: {:?}", said.actions);
        let calls: Vec<Call> = recorder.calls().into_iter().filter(|call| reads(call.kind)).collect();
        Mode { policy, said, calls }
    }

    /// The same with faults.
    fn with(&self, tree: &Tree, faults: &[Fault]) -> Said {
        let faults = faults.to_vec();
        let lasting: Vec<(Call, Answer)> = faults
            .iter()
            .filter(|fault| fault.lasts)
            .map(|fault| (self.calls[fault.nth].clone(), fault.answer))
            .collect();
        let hook = Nth::of(reads, move |n, operation| {
            if let Some(fault) = faults.iter().find(|fault| fault.nth == n) {
                return fault.answer;
            }
            if lasting.iter().any(|(call, _)| call.kind == operation.kind) {
                let now = super::support::inside::call(operation);
                if let Some((_, answer)) = lasting.iter().find(|(call, _)| *call == now) {
                    return *answer;
                }
            }
            Answer::Go
        });
        on_one_thread(|| collected(&tree.root(), &self.policy, hook.seam()))
    }
}

/// Every fault that a call can meet.
fn faults_of(nth: usize, call: &Call) -> Vec<Fault> {
    let mut answers: Vec<Answer> = [Errno::IO, Errno::ACCESS, Errno::STALE].map(Answer::Fail).to_vec();
    match call.kind {
        Kind::OpenFolder | Kind::OpenFile => answers.push(Answer::Fail(Errno::NOENT)),
        Kind::List => {
            let all = entries(call);
            let mut parts = vec![0, 1, all / 2, all.saturating_sub(1)];
            parts.sort_unstable();
            parts.dedup();
            answers.extend(parts.iter().filter(|&&part| part < all).map(|&part| Answer::Short(part)));
            answers.extend(parts.iter().map(|&part| Answer::Torn(part, Errno::IO)));
        }
        Kind::Read => {
            answers.extend([0, 1, 40, 70].map(Answer::Short));
            answers.push(Answer::Torn(10, Errno::IO));
        }
        _ => {}
    }
    let once = answers.iter().map(|&answer| Fault { nth, answer, lasts: false });
    // One that comes back is another case where the call is made again: after an ENOENT, and in a second listing.
    let lasting = answers.iter().filter(|&&answer| {
        answer == Answer::Fail(Errno::NOENT) || matches!(answer, Answer::Short(_)) && call.kind == Kind::List
    });
    once.chain(lasting.map(|&answer| Fault { nth, answer, lasts: true })).collect()
}

/// Whether a listing may be short without anybody noticing: nothing is kept alive by what it did not give.
fn may_be_short_in_silence(call: &Call) -> bool {
    let path = call.path.to_str().unwrap();
    // What is not in the table of blobs is no garbage, and an upload that nobody saw does not go.
    path.contains("/v2/blobs") || path.contains("/_uploads") || path.ends_with("/v2")
}

/// Holds one run with faults to what it owes: it does nothing that the run without would not do, and where it does less
/// it says why.
fn judge(tree: &Tree, mode: &Mode, faults: &[Fault]) {
    let faulty = mode.with(tree, faults);
    let told = || {
        let at: Vec<_> = faults.iter().map(|fault| (fault, &mode.calls[fault.nth])).collect();
        tree.explain(&format!("delete untagged: {}, {at:#?}", mode.policy.delete_untagged))
    };
    let more: Vec<&String> = faulty.actions.difference(&mode.said.actions).collect();
    assert!(more.is_empty(), "{}\nremoves more: {}", told(), tree.explain(&format!("{more:#?}")));
    if faulty.is_stopped {
        return;
    }
    let is_silent = |fault: &Fault| {
        matches!(fault.answer, Answer::Short(_)) && may_be_short_in_silence(&mode.calls[fault.nth])
            || fault.answer == Answer::Fail(Errno::NOENT) && !fault.lasts
    };
    if faulty.actions.len() < mode.said.actions.len() && !faults.iter().any(is_silent) {
        let before = mode.said.complaints();
        let new = faulty.complaints().into_iter().any(|finding| !before.contains(finding));
        let kept: Vec<&String> = mode.said.actions.difference(&faulty.actions).collect();
        assert!(new, "{}\nkeeps and does not say so: {}", told(), tree.explain(&format!("{kept:#?}")));
    }
}

fn modes(tree: &Tree) -> [Mode; 2] {
    [false, true].map(|delete_untagged| Mode::of(tree, policy(delete_untagged)))
}

#[test]
fn t01_a_fault_at_any_place_removes_nothing_more() {
    let tree = rich().copy();
    a_fault_at_any_place_removes_nothing_more(&tree, &modes(&tree), 1000);
}

/// The same where rules, a list of what runs and options let names go. (A copy would lose the times of the pushes.)
#[test]
fn t01_a_fault_at_any_place_lets_no_name_go() {
    let tree = names::tree();
    let modes = [false, true].map(|delete_untagged| Mode::of(&tree, names::policy(&tree, delete_untagged)));
    a_fault_at_any_place_removes_nothing_more(&tree, &modes, 500);
}

fn a_fault_at_any_place_removes_nothing_more(tree: &Tree, modes: &[Mode], at_least: usize) {
    let mut cases = Vec::new();
    for (place, mode) in modes.iter().enumerate() {
        for (nth, call) in mode.calls.iter().enumerate() {
            cases.extend(faults_of(nth, call).into_iter().map(|fault| (place, fault)));
        }
    }
    for_each_on_all_cores(&cases, |(place, fault)| judge(tree, &modes[*place], &[*fault]));
    let places: usize = modes.iter().map(|mode| mode.calls.len()).sum();
    println!("reading faults: {places} places, {} faults, none removed more", cases.len());
    assert!(places > at_least && cases.len() > 5 * places, "{places} places, {} faults", cases.len());
}

/// What `stat` says is not there is believed, for that is what it is asked for; but a name that was listed and is not
/// there any more removes nothing by itself.
#[test]
fn t01_what_stat_says_is_absent_removes_nothing_more() {
    let tree = rich().copy();
    let modes = modes(&tree);
    let mut places = 0;
    for mode in &modes {
        let looks: Vec<usize> = (0..mode.calls.len()).filter(|&nth| mode.calls[nth].kind == Kind::Look).collect();
        places += looks.len();
        for_each_on_all_cores(&looks, |&nth| {
            judge(&tree, mode, &[Fault { nth, answer: Answer::Fail(Errno::NOENT), lasts: false }]);
        });
    }
    println!("stat denies: {places} places, none removed more");
    assert!(places > 200, "{places} places");
}

/// The link count of a folder does not count symbolic links, and behind one may be a repository.
#[test]
fn t01_a_listing_that_drops_a_symbolic_link_is_not_believed() {
    let tree = Tree::new();
    let app = tree.repository("team/app");
    app.image("v1");
    for number in 0..30 {
        tree.orphan(&number.to_string());
    }
    for (name, elsewhere) in [("linked", "one"), ("team/linked", "another")] {
        let linked = tree.repository(name);
        linked.image("v1");
        let elsewhere = tree.beside().join(elsewhere);
        std::fs::rename(linked.folder(), &elsewhere).unwrap();
        tree.symlink(&elsewhere, &linked.folder());
    }
    let mut listings = 0;
    for mode in modes(&tree) {
        for nth in (0..mode.calls.len()).filter(|&nth| mode.calls[nth].kind == Kind::List) {
            listings += 1;
            for part in 0..entries(&mode.calls[nth]) {
                judge(&tree, &mode, &[Fault { nth, answer: Answer::Short(part), lasts: false }]);
            }
        }
    }
    assert!(listings > 20, "{listings} listings");
}

#[test]
fn t01_two_faults_at_once_remove_nothing_more() {
    const PAIRS: usize = 1500;
    let tree = rich().copy();
    let modes = modes(&tree);
    let pairs: Vec<(usize, usize)> =
        modes.iter().enumerate().flat_map(|(place, mode)| (0..mode.calls.len()).map(move |nth| (place, nth))).collect();
    let (first, second) = (sample(pairs.clone(), PAIRS, 1), sample(pairs, PAIRS, 2));
    let cases: Vec<_> = first.into_iter().zip(second).collect();
    for_each_on_all_cores(&cases, |&((place, one), (_, other))| {
        let mode = &modes[place];
        let other = other % mode.calls.len();
        let faults = [one, other].map(|nth| Fault { nth, answer: Answer::Fail(Errno::IO), lasts: false });
        judge(&tree, mode, &faults);
    });
    println!("two faults: {} pairs of EIO, a seeded sample, none removed more", cases.len());
    assert_eq!(cases.len(), PAIRS);
}
