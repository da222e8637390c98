//! Scan: what is there. This part lists and reads, and judges nothing.
//!
//! The order is blobs first, repositories after: a blob that is pushed while the scan runs is then not in the list of
//! blobs, and so can never be garbage. Only digests, link targets and what is odd are kept in memory; no garbage is
//! looked for, no blob's folder is opened, and nothing is asked of a file's metadata that is not needed to decide.

mod blobs;
mod digests;
mod find;
mod repositories;
mod selection;
mod tags;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

pub use blobs::{BlobSize, BlobTable, LookedAt, SizedBlob};
pub use digests::{DigestId, Digests};
pub(crate) use repositories::read_link;
pub use repositories::{LinkState, Repository, Revision, Tag, Upload, Watched, place_of};
pub use selection::Selection;

use crate::finding::{FindingKind, Findings, Severity};
use crate::layout::{BLOBS, REGSWEEP, REPOSITORIES, component};
use crate::progress::Meter;
use crate::registry::{Registry, Unreadable};

/// Everything that a scan saw.
#[derive(Debug)]
pub struct Inventory {
    /// The blobs and every other digest that links and manifests name.
    pub digests: Digests,
    /// The repositories, sorted by name.
    pub repositories: Vec<Repository>,
    /// Folders of links that could not be listed. While there is one, nobody knows which blobs are garbage.
    pub unlistable: Vec<Unreadable>,
    /// Whether there is a `repositories` folder.
    pub has_repositories_folder: bool,
    /// Folders above the repositories as they were listed, to be looked at again before anything is removed.
    pub watched: Vec<Watched>,
    /// The folders of the blobs as they were before they were listed. A push changes their times; that they are the
    /// same folders is all that matters.
    pub blob_folders: Vec<Watched>,
    /// When the scan began, in seconds since 1970.
    pub began: i64,
}

impl Inventory {
    /// How many layer links there are, in all repositories.
    pub fn layer_links(&self) -> u64 {
        self.repositories.iter().map(|repository| repository.layer_links.len() as u64).sum()
    }

    /// How many revisions there are, in all repositories; empty digest folders are none.
    pub fn revisions(&self) -> u64 {
        self.repositories.iter().map(|repository| repository.revision_links() as u64).sum()
    }

    /// How many tags there are, in all repositories.
    pub fn tags(&self) -> u64 {
        self.repositories.iter().map(|repository| repository.tags.len() as u64).sum()
    }

    /// How many uploads there are, in all repositories.
    pub fn uploads(&self) -> u64 {
        self.repositories.iter().map(|repository| repository.uploads.len() as u64).sum()
    }
}

/// The blobs, listed: the first half of an [`Inventory`].
#[derive(Debug)]
pub struct Blobs {
    /// The blobs, and room for what else will be named.
    pub digests: Digests,
    folders: Vec<Watched>,
    began: i64,
}

/// The repositories, listed: the other half.
#[derive(Debug)]
pub struct Listed {
    /// The repositories, sorted by name.
    pub repositories: Vec<Repository>,
    /// Folders that could not be listed, sorted by path: what is in them is not in the list, and not gone.
    pub unlistable: Vec<Unreadable>,
    has_repositories_folder: bool,
    watched: Vec<Watched>,
}

/// Lists the blobs, in parallel on the current rayon pool.
///
/// Never fails: what cannot be read is a finding, and nothing that is not in the table can be garbage. Where the meter
/// says that the work is to end, the rest is left out, here and in everything else that lists: whoever decides on it
/// has to ask the meter afterwards whether it is all ([`Meter::check`]).
pub fn list_blobs(registry: &Registry, findings: &Findings, meter: &Meter) -> Blobs {
    let began = jiff::Timestamp::now().as_second();
    look_for_unknown_entries(registry, findings);
    let (table, folders) = blobs::scan(registry, findings, meter);
    Blobs { digests: Digests::new(table), folders, began }
}

/// Lists the repositories, in parallel on the current rayon pool, and hands each to `each` as soon as it is known: what
/// it names can be read while others are still being listed.
///
/// Never fails: what cannot be read is a finding, and where that makes deletion unsafe it is in
/// [`Inventory::unlistable`] or in the state of the thing itself.
pub fn list_repositories(
    registry: &Registry,
    digests: &Digests,
    findings: &Findings,
    meter: &Meter,
    each: impl Fn(&Repository) + Sync,
) -> Listed {
    list_selected(registry, digests, findings, meter, &Selection::EVERYTHING, each)
}

/// [`list_repositories`] for some of them: no folder is opened that leads to none of these. What was listed so must not
/// decide what is garbage.
pub fn list_selected(
    registry: &Registry,
    digests: &Digests,
    findings: &Findings,
    meter: &Meter,
    selection: &Selection<'_>,
    each: impl Fn(&Repository) + Sync,
) -> Listed {
    let found = find::find(registry, selection, findings, meter);
    let folders: Vec<find::Folder> =
        found.folders.into_iter().filter(|folder| (selection.wants)(&folder.name())).collect();
    meter.expect(folders.len() as u64);
    let mut unlistable = found.unlistable;
    let (mut repositories, failed): (Vec<Repository>, Vec<Vec<Unreadable>>) = folders
        .into_par_iter()
        .filter(|_| !meter.is_halted())
        .map(|folder| {
            let (repository, unlistable) = repositories::read(registry, digests, folder, selection, findings);
            each(&repository);
            meter.add(1);
            (repository, unlistable)
        })
        .unzip();
    repositories.sort_by(|a, b| a.name.cmp(&b.name));
    unlistable.extend(failed.into_iter().flatten());
    unlistable.sort_by(|a, b| a.path.cmp(&b.path));
    Listed { repositories, unlistable, has_repositories_folder: found.has_repositories_folder, watched: found.watched }
}

/// The names of all repositories, as they may be shown, sorted: for somebody who asked for one that is not there. What
/// cannot be listed is left out.
pub fn repository_names(registry: &Registry) -> Vec<String> {
    let found = find::find(registry, &Selection::EVERYTHING, &Findings::default(), &Meter::new());
    let mut names: Vec<String> = found.folders.iter().map(find::Folder::name).collect();
    names.sort();
    names
}

impl Inventory {
    /// Puts the two halves together.
    pub fn new(blobs: Blobs, listed: Listed) -> Inventory {
        Inventory {
            digests: blobs.digests,
            repositories: listed.repositories,
            unlistable: listed.unlistable,
            has_repositories_folder: listed.has_repositories_folder,
            watched: listed.watched,
            blob_folders: blobs.folders,
            began: blobs.began,
        }
    }
}

/// The `v2` folder itself: `blobs`, `repositories`, ours, and whatever else lies there.
fn look_for_unknown_entries(registry: &Registry, findings: &Findings) {
    let known = [BLOBS, REPOSITORIES, REGSWEEP];
    let listed = registry.v2().for_each(|name, _| {
        if !known.iter().any(|known| known.as_bytes() == name) {
            unknown(findings, None, component(name));
        }
    });
    if let Err(unreadable) = listed {
        let path = PathBuf::from(".");
        findings.add(Severity::Warning, FindingKind::Unreadable, None, &path, unreadable.to_string());
    }
}

/// Notes something that the layout does not know.
fn unknown(findings: &Findings, repository: Option<&str>, path: &Path) {
    findings.add(Severity::Info, FindingKind::UnknownEntry, repository, path, "not part of a registry's layout; kept");
}

/// Notes a symbolic link.
fn symbolic_link(findings: &Findings, path: &Path) {
    let message = "a symbolic link: what is behind it is marked and kept, and nothing is removed through it";
    findings.add(Severity::Info, FindingKind::SymbolicLink, None, path, message);
}
