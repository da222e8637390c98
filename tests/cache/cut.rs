//! T59: an eviction that is cut off anywhere. The schedule may name what is gone, which does no harm; it never lacks
//! what is there, which would then stay in the cache for ever.

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use regsweep::collect;
use regsweep::halt::Halt;
use regsweep::policy::{Limits, Policy};
use regsweep::run::{self, Ended};
use regsweep::seam::{Answer, Interceptor, Kind, Operation, Seam};
use rustix::io::Errno;

use crate::support::inside::{DeadFrom, Nth, for_each_on_all_cores, gc_inside, gc_until, options};
use crate::support::tree::Tree;
use crate::{due, image, schedule, scheduled, state};

static A_MONTH: LazyLock<Policy> = LazyLock::new(|| {
    let limits = Limits { max_age: Some(30 * 86_400), ..Limits::default() };
    Policy { cache: Some(limits), ..Policy::default() }
});

/// ```text
/// a v1 => A -> base, a   40 days ago: goes        b v1 => B -> base, b   10 days ago: stays
/// ```
fn cache() -> Tree {
    let tree = Tree::in_memory();
    image(&tree, "a", "v1", &["base", "a"], 40);
    image(&tree, "b", "v1", &["base", "b"], 10);
    schedule(&tree);
    tree
}

fn evict(tree: &Tree, seam: Seam) -> Ended {
    let collect = collect::Options { policy: &A_MONTH, ..options().collect };
    gc_inside(&tree.root(), seam, run::Options { collect, ..options() }).0
}

/// Somebody asks the run to end, at the n-th thing that is moved.
struct AsksAt {
    nth: usize,
    moved: AtomicUsize,
    halt: Halt,
}

impl Interceptor for AsksAt {
    fn before(&self, operation: &Operation<'_>) -> Answer {
        if operation.kind == Kind::Move && self.moved.fetch_add(1, Ordering::SeqCst) == self.nth {
            self.halt.ask("SIGTERM");
        }
        Answer::Go
    }
}

/// A run that ends early keeps what it did, and what it did not come to stays, with its entries.
#[test]
fn what_an_early_end_leaves_stays_scheduled() {
    let whole = cache();
    evict(&whole, Seam::default());
    let (end, last) = (whole.objects(), scheduled(&whole.root()));
    let mut partly = 0;
    for nth in 0.. {
        let asks = AsksAt { nth, moved: AtomicUsize::new(0), halt: Halt::never() };
        let asks: &'static AsksAt = Box::leak(Box::new(asks));
        let tree = cache();
        let first = scheduled(&tree.root());
        let collect = collect::Options { policy: &A_MONTH, ..options().collect };
        let options = run::Options { collect, quarantine: true, ..options() };
        gc_until(&tree.root(), Seam::intercepted_by(asks), options, &asks.halt);
        let left = scheduled(&tree.root());
        assert!(due(&tree).is_subset(&left), "moved {nth}: {:?}", due(&tree).difference(&left));
        partly += usize::from(left != first && left != last);
        if asks.moved.load(Ordering::SeqCst) <= nth {
            assert_eq!((tree.objects(), left), (end, last), "nobody asked, after {nth} things");
            break;
        }
    }
    assert!(partly > 0, "at some moment a part of the entries was gone");
}

#[test]
fn t59_the_schedule_never_lacks_what_is_there() {
    let whole = cache();
    let (before, first) = (whole.objects(), scheduled(&whole.root()));
    assert_eq!(evict(&whole, Seam::default()).complaint, None);
    let (end, last) = (whole.objects(), scheduled(&whole.root()));
    assert!(end.len() < before.len() && last.len() < first.len());
    assert_eq!(last, due(&whole));

    let counter = Nth::of(Kind::changes, |_, _| Answer::Go);
    evict(&cache(), counter.seam());
    let calls = counter.count();
    assert!(calls > 30, "{calls} calls that change something");
    let cases: Vec<(usize, Option<Errno>)> =
        (0..calls).flat_map(|nth| [None, Some(Errno::IO), Some(Errno::NOSPC)].map(|errno| (nth, errno))).collect();
    for_each_on_all_cores(&cases, |&(nth, errno)| {
        let what = format!("call {nth}, {errno:?}");
        let tree = cache();
        match errno {
            None => {
                let dead = DeadFrom::the(nth);
                evict(&tree, dead.seam());
                assert!(dead.has_died(), "{what}");
            }
            Some(errno) => {
                let fails =
                    Nth::of(Kind::changes, move |call, _| if call == nth { Answer::Fail(errno) } else { Answer::Go });
                evict(&tree, fails.seam());
            }
        }
        let lacks = |tree: &Tree| {
            let scheduled = scheduled(&tree.root());
            due(tree).difference(&scheduled).cloned().collect::<BTreeSet<String>>()
        };
        assert!(lacks(&tree).is_empty(), "{what}: {:?}", lacks(&tree));
        // The next run ends where an undisturbed one does, but for entries that do no harm.
        let next = evict(&tree, Seam::default());
        assert_eq!(next.complaint, None, "{what}");
        assert_eq!(tree.objects(), end, "{what}");
        let left = scheduled(&tree.root());
        assert!(left.is_superset(&last) && left.is_subset(&first), "{what}: {left:?}");
        let root: Vec<_> = fs::read_dir(tree.root()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert!(root.len() == 2 || left != last, "{what}: {root:?}");
        assert!(state(&tree.root()).is_file());
    });
    println!("cut: {} ways to be disturbed", cases.len());
}
