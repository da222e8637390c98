//! The page (`--html`) in a real browser: what is on it and what it must never do ([`shows`]), tables ([`figures`]),
//! the treemap ([`walk`]), what people see and hear of it who use it in different ways ([`people`]), and the pages that
//! commands write of a registry ([`commands`]).
//!
//! Needs Chromium. With `REGSWEEP_PAGE_SHOTS=FOLDER` pictures of the pages go into that folder.

#![allow(clippy::disallowed_methods, reason = "tests write pages and pictures")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod browser;
mod commands;
mod figures;
mod people;
mod samples;
mod shows;
mod walk;

#[path = "../support/mod.rs"]
mod support;
