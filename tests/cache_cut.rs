//! An eviction from a pull-through cache that is cut off anywhere: `cache/cut.rs`. A crate of its own, for its runs are
//! made inside the test and hold the lock, which a process that is started meanwhile would inherit.

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(dead_code, reason = "the scene is shared")]

#[path = "cache/cut.rs"]
mod cut;
#[path = "cache/scene.rs"]
mod scene;
#[path = "support/mod.rs"]
mod support;

use scene::*;
