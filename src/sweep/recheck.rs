//! Is the tree still the one that was read? Asked before the first link goes, again before blobs go, and once more
//! before anything is deleted.
//!
//! Whatever a push adds shows up in a folder that the scan has listed: a new repository, revision, tag or layer link
//! changes the time of its folder. A tag that is pushed again is overwritten in place (registry 2.8 truncates the
//! link), which changes no folder; so every tag's current link is looked at as well, and so is every revision link that
//! goes: once moved, in the trash, for a rename takes what was written into the file just before along, and its time
//! too. Where this run itself has moved something, the time of the folder has changed anyway: there the names in it are
//! compared. The same goes for what was written so shortly before the scan that a second write may bear the same time:
//! there names are compared, and links read again.
//!
//! And the folders must be the folders that were read: a volume may have been mounted over them, or taken away.
//!
//! Uploads are not looked at: the registry's own purger removes stale ones at any time, and an upload alone makes no
//! image.
//!
//! The race that remains is a manifest that is being put while the run looks for the last time, and of which nothing is
//! to be seen: the registry had looked for its layers before they went, and writes the revision link, or where that was
//! there all along the tag, after the last look. Only a read-only registry closes it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::digest::{Algorithm, Digest};
use crate::inventory::{Inventory, LinkState, Repository, Watched, place_of, read_link};
use crate::layout::{CURRENT, Item, LAYERS, LINK, MANIFESTS, REVISIONS, TAGS, component, shown, shown_path};
use crate::plan::Plan;
use crate::registry::{FileStamp, Kind, Registry, Unreadable};

/// What has changed since the scan, in one sentence; `None` if nothing has. What cannot be looked at has changed.
///
/// `moved` are the link folders that this run has moved away, into `trash`, a path below the `v2` folder.
pub(super) fn changed(
    registry: &Registry,
    inventory: &Inventory,
    plan: &Plan,
    moved: &HashSet<PathBuf>,
    trash: &Path,
) -> Option<String> {
    let touched: HashSet<&Path> = moved.iter().filter_map(|path| path.parent()).collect();
    let recent = Recent { since: inventory.began - GRANULARITY };
    let changed = |path: &Path| format!("somebody is writing to the registry: {} has changed", shown_path(path));
    let unreadable = |unreadable: Unreadable| format!("the registry cannot be looked at again: {unreadable}");

    match registry.is_where_it_was() {
        Ok(true) => {}
        Ok(false) => return Some(format!("{} is another folder than when the run began", shown_path(registry.root()))),
        Err(error) => return Some(format!("{} cannot be looked at again: {error}", shown_path(registry.root()))),
    }
    for folder in &inventory.blob_folders {
        match registry.v2().stamp_of(&folder.path) {
            Ok(Some(stamp)) if stamp.identity() == folder.stamp.identity() => {}
            Ok(_) => return Some(format!("{} is another folder than when it was read", shown_path(&folder.path))),
            Err(error) => return Some(unreadable(error)),
        }
    }
    let look = |watched: &Watched| match registry.v2().stamp_of(&watched.path) {
        Ok(Some(stamp)) if stamp == watched.stamp => None,
        Ok(_) => Some(changed(&watched.path)),
        Err(error) => Some(unreadable(error)),
    };
    if let Some(what) = inventory.watched.par_iter().find_map_first(look) {
        return Some(what);
    }
    // `folder` holds the link itself or, for a tag, the folder `current`.
    let is_link_same = |folder: &Path, link: &Path, stamp, state: &LinkState| -> Result<bool, Unreadable> {
        if !moved.contains(folder) {
            return is_same(registry, inventory, recent, &folder.join(link), stamp, state);
        }
        let link = trash.join(folder).join(link);
        // Where nothing could be moved it was deleted, and is not in the trash.
        Ok(registry.v2().stamp_of(&link)?.is_none() || is_same(registry, inventory, recent, &link, stamp, state)?)
    };
    let in_repository = |repository: &Repository| -> Result<Option<String>, Unreadable> {
        for folder in &repository.folders {
            let is_touched = touched.contains(&*folder.path);
            if (is_touched || recent.includes(folder.stamp.modified().0) && has_names_to_compare(&folder.path))
                && let Some(name) = new_name(registry, inventory, repository, &folder.path, moved)?
            {
                return Ok(Some(changed(&name)));
            }
            if !is_touched && let Some(what) = look(folder) {
                return Ok(Some(what));
            }
        }
        let tags = repository.path.join(MANIFESTS).join(TAGS);
        // A name that had to be escaped to be shown is no path; nothing of it goes, and no registry writes it.
        for tag in repository.tags.iter().filter(|tag| tag.removable.is_some()) {
            let folder = tags.join(&*tag.name);
            if !is_link_same(&folder, &Path::new(CURRENT).join(LINK), tag.stamp, &tag.current)? {
                return Ok(Some(changed(&folder)));
            }
        }
        Ok(None)
    };
    let something = inventory.repositories.par_iter().find_map_first(|repository| match in_repository(repository) {
        Ok(what) => what,
        Err(error) => Some(unreadable(error)),
    });
    if something.is_some() {
        return something;
    }
    plan.repositories.par_iter().find_map_first(|going| {
        let place = place_of(&inventory.repositories, going.name.as_str())?;
        let repository = &inventory.repositories[place];
        going.revisions.iter().find_map(|(digest, _)| {
            let path = Item::Revision(going.name.clone(), digest.clone()).path();
            // What goes was seen.
            let revision = repository.revision(inventory.digests.id(digest))?;
            match is_link_same(&path, Path::new(LINK), revision.stamp, &revision.link) {
                Ok(true) => None,
                Ok(false) => Some(changed(&path)),
                Err(error) => Some(unreadable(error)),
            }
        })
    })
}

/// Times on a disk are no finer than this, in seconds: FAT and some network servers count in twos, Linux itself in
/// ticks of a few milliseconds.
const GRANULARITY: i64 = 2;

/// What was written so late that its time does not tell whether it was written again.
#[derive(Clone, Copy)]
struct Recent {
    since: i64,
}

impl Recent {
    fn includes(self, modified: i64) -> bool {
        modified >= self.since
    }
}

/// Whether a folder is one of those whose names were read one by one: of tags, revisions or layer links.
fn has_names_to_compare(folder: &Path) -> bool {
    let parent = folder.parent().unwrap_or(folder);
    parent.ends_with(LAYERS) || parent.ends_with(REVISIONS) || folder.ends_with(Path::new(MANIFESTS).join(TAGS))
}

/// Whether a link is what it was: the same file with the same time, still absent, or as unreadable as before; and one
/// whose time does not tell, with the same content.
fn is_same(
    registry: &Registry,
    inventory: &Inventory,
    recent: Recent,
    link: &Path,
    stamp: Option<FileStamp>,
    state: &LinkState,
) -> Result<bool, Unreadable> {
    let now = match registry.v2().stamp_of(link) {
        Ok(now) => now.map(FileStamp::from),
        Err(_) if stamp.is_none() && matches!(state, LinkState::Unreadable(_)) => return Ok(true),
        Err(unreadable) => return Err(unreadable),
    };
    match stamp {
        Some(stamp) if now == Some(stamp) && recent.includes(stamp.modified()) => {
            Ok(read_link(registry.v2(), link, &inventory.digests).0 == *state)
        }
        _ => Ok(now == stamp),
    }
}

/// A name in this folder that was not there when it was scanned, or that this run has moved away and is there again.
fn new_name(
    registry: &Registry,
    inventory: &Inventory,
    repository: &Repository,
    folder: &Path,
    moved: &HashSet<PathBuf>,
) -> Result<Option<PathBuf>, Unreadable> {
    let Some(dir) = registry.v2().open(folder)? else { return Ok(None) };
    let last = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let algorithm = Algorithm::from_name(last.as_bytes());
    let are_layers = folder.parent().is_some_and(|parent| parent.ends_with(LAYERS));
    let mut new = None;
    dir.for_each(|name, kind| {
        let path = folder.join(component(name));
        let was_there = match algorithm {
            Some(algorithm) => match Digest::from_hex(algorithm, name) {
                Ok(digest) => {
                    let id = inventory.digests.id(&digest);
                    if are_layers {
                        repository.has_layer_link(id) || repository.odd_targets.contains(&id)
                    } else {
                        repository.revision(id).is_some()
                    }
                }
                // No registry writes such a name.
                Err(_) => true,
            },
            None => {
                let shown = shown(name);
                !matches!(kind, Kind::Directory | Kind::SymbolicLink)
                    || repository.tags.iter().any(|tag| *tag.name == *shown)
            }
        };
        if !was_there || moved.contains(&path) {
            new = Some(path);
        }
    })?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build trees")]

    use super::*;
    use crate::finding::Findings;
    use crate::inventory::{list_blobs, list_repositories};
    use crate::progress::Meter;

    /// Where this run has moved something, the time of the folder says nothing: the names in it do.
    #[test]
    fn what_is_there_again_where_this_run_has_moved_it_is_seen() {
        let [a, b, c] = ["a", "b", "c"].map(|text| Digest::of(Algorithm::Sha256, text.as_bytes()));
        let app = Path::new("repositories/team/app");
        let revision = |digest: &Digest| app.join("_manifests/revisions/sha256").join(digest.hex());
        let layer = |digest: &Digest| app.join("_layers/sha256").join(digest.hex());
        let tag = |name: &str| app.join("_manifests/tags").join(name);
        for (moved, other) in [(revision(&b), revision(&c)), (layer(&b), layer(&c)), (tag("old"), tag("new"))] {
            let temp = tempfile::tempdir().unwrap();
            let v2 = temp.path().join("docker/registry/v2");
            std::fs::create_dir_all(v2.join("blobs")).unwrap();
            for (folder, target) in [
                (revision(&a), &a),
                (revision(&b), &b),
                (layer(&a), &a),
                (layer(&b), &b),
                (tag("v1").join(CURRENT), &a),
                (tag("old").join(CURRENT), &b),
            ] {
                std::fs::create_dir_all(v2.join(&folder)).unwrap();
                std::fs::write(v2.join(folder).join(LINK), target.to_string()).unwrap();
            }
            let registry = Registry::open(temp.path()).unwrap();
            let (findings, meter) = (Findings::default(), Meter::new());
            let blobs = list_blobs(&registry, &findings, &meter);
            let listed = list_repositories(&registry, &blobs.digests, &findings, &meter, |_| {});
            let inventory = Inventory::new(blobs, listed);
            let look =
                |moved: &HashSet<PathBuf>| changed(&registry, &inventory, &Plan::default(), moved, Path::new(""));
            assert_eq!(look(&HashSet::new()), None);

            std::fs::remove_dir_all(v2.join(&moved)).unwrap();
            assert!(look(&HashSet::new()).is_some(), "somebody else has removed {}", moved.display());
            let ours = HashSet::from([moved.clone()]);
            assert_eq!(look(&ours), None, "what this run has done is no change");

            for name in [&moved, &other] {
                std::fs::create_dir(v2.join(name)).unwrap();
                let what = look(&ours).unwrap();
                assert!(what.contains(name.to_str().unwrap()), "{what}");
                std::fs::remove_dir(v2.join(name)).unwrap();
            }
            // A file in a folder of tags is no tag.
            std::fs::write(v2.join(tag("file")), "").unwrap();
            assert_eq!(look(&ours).is_some(), !moved.starts_with(app.join("_manifests/tags")), "{}", moved.display());
        }
    }
}
