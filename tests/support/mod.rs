//! What the test crates share.
//!
//! - [`tree`]: a registry's tree, written by a builder, and the witnesses that look at it;
//! - [`scenario`]: a dry run, a real run and a second run over such a tree, held to what every run owes;
//! - [`real`]: a real registry, and [`image`], what is pushed to it;
//! - [`inside`]: a run inside the test's process, with the test between it and the system;
//! - [`process`], [`report`], [`fingerprint`], [`formats`]: what both need;
//! - [`source`]: words that stand in the source.

#![allow(dead_code, unused_imports, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]

pub(crate) mod fingerprint;
pub(crate) mod formats;
pub(crate) mod image;
pub(crate) mod inside;
pub(crate) mod process;
pub(crate) mod real;
pub(crate) mod report;
pub(crate) mod scenario;
pub(crate) mod source;
pub(crate) mod tree;
