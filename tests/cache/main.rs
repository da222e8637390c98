//! Pull-through caches: what is evicted, what stays, and the schedule of the registry.
//!
//! - [`trees`]: trees as a cache leaves them, with the times of pulls that a test gives them;
//! - [`pushed`]: what may have been pushed before this was a cache;
//! - [`refused`]: what is no cache, and what is none any more;
//! - [`real`]: a registry and a cache of it;
//! - [`scene`]: what they share.
//!
//! What a run that is cut off leaves is in `tests/cache_cut.rs`: runs inside the test hold the lock, which a process that
//! is started meanwhile would inherit.

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod pushed;
mod real;
mod refused;
mod scene;
mod trees;

#[path = "../support/mod.rs"]
mod support;

use scene::*;
