//! Threads that work side by side.

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// How many requests are in flight at a time where each is waited for, unless the operator says it.
///
/// Reading a slow volume is that, and so is deleting on any: however fast it reads, one waits for the server, or for a
/// disk that is told of every block that is free (`discard`). What both take with fewer is in `docs/benchmarks.md`.
pub const MOST: usize = 64;

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
