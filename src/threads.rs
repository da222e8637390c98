//! Threads that work side by side.

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// How many removals are in flight at a time, unless the operator says it. However fast a volume reads, it has to be
/// waited for when something is deleted: for the server, or for a disk that is told of every block that is free
/// (`discard`). Where there is nothing to wait for, 64 threads take no longer than 8 (figures: `docs/benchmarks.md`).
pub const DELETERS: usize = 64;

/// Makes a pool of so many threads.
///
/// # Errors
/// The system has no room for them.
pub fn pool(threads: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|number| format!("regsweep-{number}"))
        // A thread that waits for a part of its work takes up another part meanwhile, on the same stack.
        .stack_size(2 << 20)
        .build()
}

/// Has so many threads do this: those of the current rayon pool if they are so many, or if there can be no others.
pub(crate) fn with<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    if rayon::current_num_threads() == threads {
        return work();
    }
    match pool(threads) {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}
