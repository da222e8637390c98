//! A whole run inside the test's own process, with the test at the seam between regsweep and the system.
//!
//! One thread works, so that the n-th call is the same call each time, as long as the tree is the same.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use jiff::Timestamp;
use regsweep::collect;
use regsweep::finding::{Finding, Findings};
use regsweep::halt::Halt;
use std::sync::LazyLock;

use regsweep::plan::Scope;
use regsweep::policy::Policy;
use regsweep::progress::{Meter, Phase, Unwatched, Watch};
use regsweep::registry::Registry;
use regsweep::run::{self, Ended};
use regsweep::seam::{Answer, Interceptor, Kind, Operation, Seam};
use rustix::io::Errno;

static UNTAGGED_GO: LazyLock<Policy> = LazyLock::new(|| Policy { delete_untagged: true, ..Policy::default() });

/// The options of `gc --delete-untagged --registry-stopped`.
pub(crate) fn options() -> run::Options<'static> {
    let at = Timestamp::now();
    run::Options {
        command: "gc",
        collect: collect::Options {
            policy: &UNTAGGED_GO,
            uploads_older_than: 604_800,
            remove_empty_repositories: true,
            young_since: None,
            max_delete: None,
            last_repositories: None,
            scope: Scope::Everything,
            now: at.as_second(),
        },
        quarantine: false,
        accept_shrink: false,
        at,
        deleters: 1,
        window_began: Instant::now(),
        wants_usage: false,
    }
}

/// What `gc` does after its evidence, with somebody at the seam.
pub(crate) fn gc_inside(root: &Path, seam: Seam, options: run::Options) -> (Ended, Vec<Finding>) {
    let registry = Registry::open_with(root, seam).unwrap();
    let findings = Findings::default();
    let ended = on_one_thread(|| run::real_run(&registry, options, &findings, &Unwatched));
    (ended, findings.into_sorted())
}

/// The same, until somebody asks it to end.
pub(crate) fn gc_until(root: &Path, seam: Seam, options: run::Options, halt: &Halt) -> (Ended, Vec<Finding>) {
    struct Until(Halt);
    impl Watch for Until {
        fn begin(&self, _: Phase) -> Arc<Meter> {
            Arc::new(Meter::until(self.0.clone()))
        }
        fn window_closed(&self, _: f64) {}
        fn halt(&self) -> Halt {
            self.0.clone()
        }
    }
    let registry = Registry::open_with(root, seam).unwrap();
    let findings = Findings::default();
    let ended = on_one_thread(|| run::real_run(&registry, options, &findings, &Until(halt.clone())));
    (ended, findings.into_sorted())
}

/// On a pool of one thread.
pub(crate) fn on_one_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work)
}

/// Does this for every case, on all cores at once. One that fails fails the test.
pub(crate) fn for_each_on_all_cores<T: Sync>(cases: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(case);
                }
            });
        }
    });
}

/// Some of these, the same ones in every run: the first so many after a shuffle by this seed.
pub(crate) fn sample<T>(mut cases: Vec<T>, at_most: usize, seed: u64) -> Vec<T> {
    let mut state = seed;
    for place in (1..cases.len()).rev() {
        // Knuth's MMIX generator; its upper bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        cases.swap(place, usize::try_from(state >> 33).unwrap() % (place + 1));
    }
    cases.truncate(at_most);
    cases
}

/// Somebody at the seam who counts calls and decides by their number, from 0.
pub(crate) struct Nth<F> {
    counted: fn(Kind) -> bool,
    count: AtomicUsize,
    decide: F,
}

impl<F: Fn(usize, &Operation<'_>) -> Answer + Sync + 'static> Nth<F> {
    /// Counts the calls of these kinds, and asks about each of them. It stays for the rest of the process: it is small.
    pub(crate) fn of(counted: fn(Kind) -> bool, decide: F) -> &'static Self {
        Box::leak(Box::new(Self { counted, count: AtomicUsize::new(0), decide }))
    }

    pub(crate) fn seam(&'static self) -> Seam {
        Seam::intercepted_by(self)
    }

    /// How many calls were counted so far.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

impl<F: Fn(usize, &Operation<'_>) -> Answer + Sync> Interceptor for Nth<F> {
    fn before(&self, operation: &Operation<'_>) -> Answer {
        if !(self.counted)(operation.kind) {
            return Answer::Go;
        }
        (self.decide)(self.count.fetch_add(1, Ordering::SeqCst), operation)
    }
}

/// Somebody at the seam for whom the process is dead from the n-th changing call on: nothing that comes after it is
/// done, and nothing can be looked at any more. What is on the disk then is what `kill -9` leaves there.
pub(crate) struct DeadFrom {
    nth: usize,
    count: AtomicUsize,
}

impl DeadFrom {
    pub(crate) fn the(nth: usize) -> &'static Self {
        Box::leak(Box::new(Self { nth, count: AtomicUsize::new(0) }))
    }

    pub(crate) fn seam(&'static self) -> Seam {
        Seam::intercepted_by(self)
    }

    /// Whether the process has come to its death.
    pub(crate) fn has_died(&self) -> bool {
        self.count.load(Ordering::SeqCst) > self.nth
    }
}

impl Interceptor for DeadFrom {
    fn before(&self, operation: &Operation<'_>) -> Answer {
        let count = if operation.kind.changes() {
            self.count.fetch_add(1, Ordering::SeqCst) + 1
        } else {
            self.count.load(Ordering::SeqCst)
        };
        if count > self.nth { Answer::Fail(Errno::IO) } else { Answer::Go }
    }
}

/// Writes down every call of some kinds, with whole paths.
#[derive(Default)]
pub(crate) struct Recorder {
    calls: Mutex<Vec<Call>>,
}

/// A call with whole paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) kind: Kind,
    pub(crate) path: PathBuf,
    /// Where something was moved to.
    pub(crate) to: Option<PathBuf>,
}

impl Recorder {
    pub(crate) fn new() -> &'static Self {
        Box::leak(Box::default())
    }

    pub(crate) fn seam(&'static self) -> Seam {
        Seam::intercepted_by(self)
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

impl Interceptor for Recorder {
    fn before(&self, operation: &Operation<'_>) -> Answer {
        self.calls.lock().unwrap().push(call(operation));
        Answer::Go
    }
}

/// A call with whole paths, which the kernel knows of every handle.
pub(crate) fn call(operation: &Operation<'_>) -> Call {
    use std::os::fd::{AsRawFd as _, BorrowedFd};
    let path_of = |handle: BorrowedFd<'_>| {
        std::fs::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd())).unwrap_or_default()
    };
    let join =
        |folder: PathBuf| if operation.name.as_os_str().is_empty() { folder } else { folder.join(operation.name) };
    Call { kind: operation.kind, path: join(path_of(operation.at)), to: operation.to.map(|to| join(path_of(to))) }
}
