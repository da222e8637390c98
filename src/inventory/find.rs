//! Repositories are found here: any folder below `repositories`, at any depth, that holds `_manifests`, `_layers` or
//! `_uploads`, whatever else it holds. `a`, `a/b` and `a/b/c` can all be repositories. (Registry 2.8 looks for
//! `_layers`, 3.x for `_manifests`; looking for either would miss some of the other's.)

use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::repositories::Watched;
use super::{Selection, symbolic_link, unknown};
use crate::finding::{FindingKind, Findings, Severity};
use crate::layout::{LAYERS, MANIFESTS, REPOSITORIES, UPLOADS, component, shown_path};
use crate::progress::Meter;
use crate::registry::{Cause, Kind, Registry, Unreadable};

/// A folder that is a repository.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Whether a symbolic link leads to it, or to one of its parts.
    pub(super) linked: bool,
    pub(super) has_unknown_entries: bool,
    /// What it was before it was listed.
    pub(super) watched: Watched,
}

impl Folder {
    /// The repository's name, as it may be shown.
    pub(super) fn name(&self) -> String {
        name(&self.path)
    }
}

/// The name of the repository or namespace in this folder, as it may be shown.
fn name(folder: &Path) -> String {
    shown_path(folder.strip_prefix(REPOSITORIES).unwrap_or(folder))
}

/// All folders that are repositories.
pub(super) struct Found {
    pub(super) folders: Vec<Folder>,
    pub(super) unlistable: Vec<Unreadable>,
    pub(super) has_repositories_folder: bool,
    pub(super) watched: Vec<Watched>,
}

/// A folder that may be a repository, a namespace, or both.
struct Candidate {
    path: PathBuf,
    linked: bool,
    /// Device and inode of every folder above it: a symbolic link back to one of them is a loop.
    above: Vec<(u64, u64)>,
}

/// What one candidate turned out to be.
#[derive(Default)]
struct Explored {
    repository: Option<Folder>,
    below: Vec<Candidate>,
    watched: Option<Watched>,
    unlistable: Option<Unreadable>,
    exists: bool,
}

/// Walks `repositories`, level by level, each level in parallel. Folders that do not lead to what is selected are not
/// opened.
pub(super) fn find(registry: &Registry, selection: &Selection<'_>, findings: &Findings, meter: &Meter) -> Found {
    let mut found =
        Found { folders: Vec::new(), unlistable: Vec::new(), has_repositories_folder: false, watched: Vec::new() };
    let top = Path::new(REPOSITORIES);
    // A link that cannot be looked at cannot be opened either; that is reported where it is opened.
    let linked = matches!(registry.v2().look(top), Ok(Some(looked)) if looked.kind == Kind::SymbolicLink);
    let mut level = vec![Candidate { path: top.to_owned(), linked, above: Vec::new() }];
    while !level.is_empty() && !meter.is_halted() {
        let candidates = level.into_par_iter().filter(|_| !meter.is_halted());
        let explored: Vec<Explored> =
            candidates.map(|candidate| explore(registry, candidate, selection, findings)).collect();
        level = Vec::new();
        for one in explored {
            found.has_repositories_folder |= one.exists;
            found.folders.extend(one.repository);
            found.watched.extend(one.watched);
            found.unlistable.extend(one.unlistable);
            level.extend(one.below);
        }
    }
    found
}

fn explore(registry: &Registry, candidate: Candidate, selection: &Selection<'_>, findings: &Findings) -> Explored {
    let mut explored = Explored::default();
    if let Err(unreadable) = explore_folder(registry, &candidate, findings, &mut explored) {
        let message = format!("cannot be listed ({}); nobody knows which images are in it", unreadable.cause);
        findings.add(Severity::Error, FindingKind::Unreadable, None, &unreadable.path, message);
        explored.unlistable = Some(unreadable);
    }
    explored.below.retain(|candidate| (selection.leads_to)(&name(&candidate.path)));
    explored
}

fn explore_folder(
    registry: &Registry,
    candidate: &Candidate,
    findings: &Findings,
    explored: &mut Explored,
) -> Result<(), Unreadable> {
    let dir = match registry.v2().open(&candidate.path) {
        Ok(Some(dir)) => dir,
        Ok(None) => return Ok(()),
        // A symbolic link to a file: it is known what it is, and it is no repository.
        Err(Unreadable { cause: Cause::Io(error), path })
            if error.kind() == io::ErrorKind::NotADirectory && candidate.linked =>
        {
            unknown(findings, None, &path);
            return Ok(());
        }
        Err(unreadable) => return Err(unreadable),
    };
    explored.exists = true;
    let stamp = dir.stamp()?;
    if candidate.above.contains(&stamp.identity()) {
        let message = "a symbolic link back to a folder above it; not followed again";
        findings.add(Severity::Info, FindingKind::SymbolicLink, None, &candidate.path, message);
        return Ok(());
    }
    if candidate.linked {
        symbolic_link(findings, &candidate.path);
    }
    let mut above = candidate.above.clone();
    above.push(stamp.identity());
    let is_top = candidate.above.is_empty();
    let (mut is_repository, mut has_linked_part, mut has_unknown_entries) = (false, false, false);
    dir.for_each_twice(stamp, |name, kind| {
        let path = candidate.path.join(component(name));
        let is_part = [MANIFESTS, LAYERS, UPLOADS].iter().any(|part| part.as_bytes() == name);
        let is_hidden = name.starts_with(b".") || name == b"lost+found" || name.starts_with(b"_");
        match kind {
            // The name of a repository cannot be empty.
            kind if is_part && !is_top => {
                is_repository = true;
                if kind == Kind::SymbolicLink {
                    has_linked_part = true;
                    symbolic_link(findings, &path);
                }
            }
            Kind::Directory if !is_hidden => {
                explored.below.push(Candidate { path, linked: candidate.linked, above: above.clone() });
            }
            Kind::SymbolicLink if !is_hidden => {
                explored.below.push(Candidate { path, linked: true, above: above.clone() });
            }
            _ => {
                has_unknown_entries = true;
                unknown(findings, None, &path);
            }
        }
    })?;
    if is_repository {
        explored.repository = Some(Folder {
            path: candidate.path.clone(),
            linked: candidate.linked || has_linked_part,
            has_unknown_entries,
            watched: Watched { path: candidate.path.clone(), stamp },
        });
    } else {
        explored.watched = Some(Watched { path: candidate.path.clone(), stamp });
    }
    Ok(())
}
