//! What somebody asks for is not in the registry; it may lie in the trash of a run.

use anyhow::anyhow;
use regsweep::digest::Digest;
use regsweep::layout::{Item, RepositoryName, TagName};
use regsweep::registry::Registry;
use regsweep::sweep::{Run, Runs};

use crate::cli::Failure;

/// An error that says that something is not there, with the run that can bring it back, if one can. What cannot be
/// looked at is left out: it is a hint.
pub(crate) fn with_hint(error: impl Into<anyhow::Error>, registry: &Registry, asked: &str) -> Failure {
    let error = error.into();
    match run_with(registry, asked) {
        Some(run) => {
            Failure::from(anyhow!("{error}; it lies in the trash of run {run}, and `trash restore` brings that back"))
        }
        None => Failure::from(error),
    }
}

/// The newest run that can be restored and whose trash holds this tag or this blob.
fn run_with(registry: &Registry, asked: &str) -> Option<String> {
    let tag = || {
        let (repository, tag) = asked.rsplit_once(':')?;
        Some(Item::Tag(RepositoryName::parse(repository).ok()?, TagName::parse(tag).ok()?))
    };
    let item = asked.parse::<Digest>().ok().map(Item::Blob).or_else(tag)?;
    let path = item.path();
    let holds_it = |run: &&Run| {
        let trash = run.trash().ok().flatten().filter(|_| run.can_be_restored());
        trash.is_some_and(|trash| matches!(trash.open(&path), Ok(Some(_))))
    };
    let runs = Runs::of(registry).ok()?.list().ok()?;
    runs.iter().rev().find(holds_it).map(|run| run.id.to_string())
}
