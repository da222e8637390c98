//! regsweep: an offline garbage collector for container registries in the layout of CNCF *distribution*.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod age;
pub mod cache;
pub mod check;
pub mod collect;
pub mod config;
pub mod digest;
pub mod exit;
pub mod finding;
pub mod halt;
pub mod interlock;
pub mod inventory;
pub mod layout;
pub mod listing;
pub mod manifest;
pub mod mark;
pub mod nearest;
pub mod pace;
pub mod plan;
pub mod policy;
pub mod progress;
pub mod registry;
pub mod report;
pub mod run;
pub mod seam;
pub mod sweep;
pub mod threads;
pub mod usage;
pub mod why;
pub mod words;
mod yaml;
