//! The recipes in `docs/recipes/`, run for real: the script that all of them use, and what is around it, on a
//! `docker-registry` that is started, stopped and switched by the commands of the settings. In the places of
//! `systemctl`, `docker` and `kubectl` are stand-ins that do to that registry what those would do.

#![allow(clippy::disallowed_methods, reason = "tests build and break trees")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod already;
mod compose;
mod crontab;
mod full;
mod kept;
mod kubernetes;
mod scene;
mod shell;
mod signals;
mod systemd;
mod trouble;
mod window;
mod yaml;

use std::path::{Path, PathBuf};

/// A file of the recipes.
fn recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes").join(name)
}
