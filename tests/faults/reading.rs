//! T01: scan, mark and plan, with a fault at every call that looks at the tree.

use std::sync::Mutex;

use regsweep::seam::{Answer, Kind};
use rustix::io::Errno;

use super::support::inside::{Call, Nth, Recorder, for_each_on_all_cores, on_one_thread, sample};
use super::support::tree::{Manifest, Tree};
use super::{Said, collected, entries, reads, rich};

/// What goes wrong, and for how long.
#[derive(Clone, Copy, Debug)]
struct Fault {
    nth: usize,
    answer: Answer,
    /// Whether it goes wrong whenever the same is asked again, not just once.
    lasts: bool,
}

/// Something that a run may do because of a fault although it would not without: each with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Excuse {
    /// `stat` is how a run asks whether an upload is still there after it was listed. One that is not is gone, and
    /// then its repository may be empty. The sweep removes only folders that are: the upload stays.
    RepositoryWithAnUploadThatStatDenies,
    /// A short listing of uploads, the same way.
    RepositoryWithAnUploadThatNoListingGave,
    /// A manifest that cannot be read taints its repository, because a registry takes a manifest only when everything
    /// that it names is linked there. Of a sparse index that is not true: what it lists may be in another repository
    /// alone. But then no client gets it through the index either, for that takes a revision link beside the index.
    ChildOfASparseIndexThatCannotBeRead,
}

/// What one mode says without any fault, and the calls that it makes.
struct Mode {
    delete_untagged: bool,
    said: Said,
    calls: Vec<Call>,
}

impl Mode {
    fn of(tree: &Tree, delete_untagged: bool) -> Mode {
        let recorder = Recorder::new();
        let said = on_one_thread(|| collected(&tree.root(), delete_untagged, recorder.seam()));
        assert!(!said.is_stopped && said.actions.len() > 20, "the tree has garbage: {:?}", said.actions);
        let calls: Vec<Call> = recorder.calls().into_iter().filter(|call| reads(call.kind)).collect();
        Mode { delete_untagged, said, calls }
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
        on_one_thread(|| collected(&tree.root(), self.delete_untagged, hook.seam()))
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
    // What is not in the table of blobs is no garbage, an upload that nobody saw does not go, and a tag's history
    // matters only where its current link does not say what it is, and there its entries are counted.
    path.contains("/v2/blobs") || path.contains("/_uploads") || path.contains("/index") || path.ends_with("/v2")
}

/// Holds one run with faults to what it owes. Says what it did more than the run without, if that is excused.
fn judge(tree: &Tree, mode: &Mode, faults: &[Fault]) -> Option<Excuse> {
    let faulty = mode.with(tree, faults);
    let told = || {
        let at: Vec<_> = faults.iter().map(|fault| (fault, &mode.calls[fault.nth])).collect();
        tree.explain(&format!("delete untagged: {}, {at:#?}", mode.delete_untagged))
    };
    let more: Vec<&String> = faulty.actions.difference(&mode.said.actions).collect();
    let excuse = excuse_for(&more, mode, faults);
    assert!(
        more.is_empty() || excuse.is_some(),
        "{}\nremoves more: {:#?}",
        told(),
        tree.explain(&format!("{more:#?}"))
    );
    if faulty.is_stopped {
        return excuse;
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
    excuse
}

fn excuse_for(more: &[&String], mode: &Mode, faults: &[Fault]) -> Option<Excuse> {
    if more.is_empty() {
        return None;
    }
    let child = Manifest::docker("sparse child", &["sparse child"]);
    let of_the_child: Vec<String> =
        child.blob_digests().iter().chain(&[&*child.digest]).map(|digest| format!("Blob   {digest}")).collect();
    if more.iter().all(|action| of_the_child.contains(action)) {
        let index =
            Manifest::index("sparse/lists v1", &[&child, &Manifest::docker("sparse and nowhere", &["nowhere"])]);
        let is_of_the_index = |fault: &Fault| mode.calls[fault.nth].path.to_str().unwrap().contains(&index.digest[7..]);
        return faults.iter().any(is_of_the_index).then_some(Excuse::ChildOfASparseIndexThatCannotBeRead);
    }
    if !more.iter().all(|action| action.starts_with("Repository ")) {
        return None;
    }
    faults.iter().find_map(|fault| {
        let call = &mode.calls[fault.nth];
        let is_upload = call.path.to_str().unwrap().contains("/_uploads");
        match fault.answer {
            Answer::Fail(Errno::NOENT) if is_upload && call.kind == Kind::Look => {
                Some(Excuse::RepositoryWithAnUploadThatStatDenies)
            }
            Answer::Short(_) if is_upload && call.kind == Kind::List => {
                Some(Excuse::RepositoryWithAnUploadThatNoListingGave)
            }
            _ => None,
        }
    })
}

/// How often each excuse was needed.
fn counted(mut excuses: Vec<Excuse>) -> String {
    excuses.sort_unstable();
    excuses.chunk_by(|a, b| a == b).map(|same| format!("; excused: {} x {:?}", same.len(), same[0])).collect()
}

fn modes(tree: &Tree) -> [Mode; 2] {
    [Mode::of(tree, false), Mode::of(tree, true)]
}

#[test]
fn t01_a_fault_at_any_place_removes_nothing_more() {
    let tree = rich().copy();
    let modes = modes(&tree);
    let mut cases = Vec::new();
    for (place, mode) in modes.iter().enumerate() {
        for (nth, call) in mode.calls.iter().enumerate() {
            cases.extend(faults_of(nth, call).into_iter().map(|fault| (place, fault)));
        }
    }
    let excuses = Mutex::new(Vec::new());
    for_each_on_all_cores(&cases, |(place, fault)| {
        excuses.lock().unwrap().extend(judge(&tree, &modes[*place], &[*fault]));
    });
    let places: usize = modes.iter().map(|mode| mode.calls.len()).sum();
    println!(
        "reading faults: {places} places, {} faults, none removed more{}",
        cases.len(),
        counted(excuses.into_inner().unwrap())
    );
    assert!(places > 1000 && cases.len() > 5 * places, "{places} places, {} faults", cases.len());
}

/// What `stat` says is not there is believed: that is what it is asked for. What may follow from it is listed here.
#[test]
fn t01_what_stat_says_is_absent_removes_only_what_may_go_then() {
    let tree = rich().copy();
    let modes = modes(&tree);
    let excuses = Mutex::new(Vec::new());
    let mut places = 0;
    for mode in &modes {
        let looks: Vec<usize> = (0..mode.calls.len()).filter(|&nth| mode.calls[nth].kind == Kind::Look).collect();
        places += looks.len();
        for_each_on_all_cores(&looks, |&nth| {
            let fault = Fault { nth, answer: Answer::Fail(Errno::NOENT), lasts: false };
            excuses.lock().unwrap().extend(judge(&tree, mode, &[fault]));
        });
    }
    let excuses = excuses.into_inner().unwrap();
    println!("stat denies: {places} places, none removed more{}", counted(excuses));
    assert!(places > 200, "{places} places");
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
