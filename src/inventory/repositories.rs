//! Repositories as they are read: revisions, tags, layer links, uploads.
//!
//! Symbolic links are followed, as the registry follows them; what is found through one is marked, and never removed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::digests::{DigestId, Digests};
use super::find::Folder;
use super::tags::{ReadTag, TagReader};
use super::{Selection, symbolic_link, unknown};
use crate::digest::{Algorithm, Digest, HexPlace};
use crate::finding::{FindingKind, Findings, Severity};
use crate::layout::{
    LAYERS, LINK, MANIFESTS, REVISIONS, RepositoryName, STARTED_AT, TAGS, TagName, UPLOADS, UploadId, component,
    is_debris,
};
use crate::registry::{Cause, Dir, FileStamp, Kind, MAX_LINK_BYTES, Registry, Stamp, Unreadable};

/// How many revisions or tags of a repository are read by one thread, one after the other: few enough that all threads
/// have work where one repository holds most of the registry, or where each answer takes a while.
const AT_ONCE: usize = 8;

/// What a link file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It names this digest.
    Target(DigestId),
    /// There is no such file.
    Absent,
    /// It is there, and what it says is no digest.
    Damaged(Box<str>),
    /// It could not be read: nobody knows what it says.
    Unreadable(Box<str>),
}

/// A folder that was listed, or a file that was read, and what it was then.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its path, relative to the `v2` folder.
    pub path: PathBuf,
    /// What it was.
    pub stamp: Stamp,
}

/// A digest folder below `revisions`.
#[derive(Clone, Debug)]
pub struct Revision {
    /// The digest that the path gives.
    pub id: DigestId,
    /// The link in it.
    pub link: LinkState,
    /// What the link file was when it was read; `None` where there was none, or where nobody could tell.
    pub stamp: Option<FileStamp>,
    /// Whether the folder is a symbolic link: then it is never removed.
    pub linked: bool,
}

/// A tag.
#[derive(Clone, Debug)]
pub struct Tag {
    /// Its name, as it may be shown.
    pub name: Arc<str>,
    /// Its name, if it is one that may be removed: inside the grammar, and no symbolic link.
    pub removable: Option<TagName>,
    /// The target that it has now.
    pub current: LinkState,
    /// What the current link was when it was read; `None` where there was none, or where nobody could tell.
    pub stamp: Option<FileStamp>,
    /// Every digest that it ever pointed at, sorted; `Err` if that could not be listed.
    pub history: Result<Vec<DigestId>, Box<str>>,
    /// Whether a symbolic link leads to its history: then nothing of that is removed.
    pub history_linked: bool,
}

/// An upload in progress.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its name.
    pub id: UploadId,
    /// When it began, in seconds since 1970: from `startedat`, or the folder's own time where that file is missing or
    /// damaged.
    pub started: i64,
}

/// A repository as it was read.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Its name, as it may be shown.
    pub name: Box<str>,
    /// Its name, if things in it may be removed: inside the grammar, and not reached through a symbolic link.
    pub removable: Option<RepositoryName>,
    /// Its path, relative to the `v2` folder.
    pub path: PathBuf,
    /// Every digest folder below `revisions`, sorted.
    pub revisions: Vec<Revision>,
    /// Every tag, sorted by name.
    pub tags: Vec<Tag>,
    /// Every digest folder below `_layers`, sorted.
    pub layer_links: Vec<DigestId>,
    /// Digests that links in odd places name (folders of other algorithms, malformed hex, symbolic links): kept.
    pub odd_targets: Vec<DigestId>,
    /// Every upload in progress.
    pub uploads: Vec<Upload>,
    /// Whether something lies in it that the layout does not know, so that it is not empty whatever else goes.
    pub has_unknown_entries: bool,
    /// Its folders that decide what is live, as they were before they were listed.
    pub folders: Vec<Watched>,
}

/// The place of a repository among those of a scan, which are sorted by name; `None` if it is not there.
pub fn place_of(repositories: &[Repository], name: &str) -> Option<usize> {
    repositories.binary_search_by(|seen| (*seen.name).cmp(name)).ok()
}

impl Repository {
    /// The tag of this name, if it has one.
    pub fn tag(&self, name: &str) -> Option<&Tag> {
        self.tags.binary_search_by(|tag| (*tag.name).cmp(name)).ok().map(|place| &self.tags[place])
    }

    /// The revision of this digest, if it has a folder here.
    pub fn revision(&self, id: DigestId) -> Option<&Revision> {
        self.revisions.binary_search_by_key(&id, |revision| revision.id).ok().map(|place| &self.revisions[place])
    }

    /// The revisions that have a link, whatever it says; the others are empty digest folders.
    pub fn linked_revisions(&self) -> impl Iterator<Item = &Revision> {
        self.revisions.iter().filter(|revision| revision.link != LinkState::Absent)
    }

    /// How many revisions have a link.
    pub fn revision_links(&self) -> usize {
        self.linked_revisions().count()
    }

    /// Whether there is a revision link of this digest, whatever it says.
    pub fn has_revision_link(&self, id: DigestId) -> bool {
        self.revision(id).is_some_and(|revision| revision.link != LinkState::Absent)
    }

    /// The folder of a tag, relative to the `v2` folder.
    pub fn tag_folder(&self, tag: &str) -> PathBuf {
        self.path.join(MANIFESTS).join(TAGS).join(tag)
    }

    /// The folder of a revision, relative to the `v2` folder.
    pub fn revision_folder(&self, digest: &Digest) -> PathBuf {
        self.path.join(MANIFESTS).join(REVISIONS).join(digest.algorithm().name()).join(digest.hex())
    }

    /// Whether it has a layer link of this digest.
    pub fn has_layer_link(&self, id: DigestId) -> bool {
        self.layer_links.binary_search(&id).is_ok()
    }

    /// What a layer link says. Only needed where its path alone does not tell which blob it keeps alive.
    pub fn read_layer_link(&self, registry: &Registry, digests: &Digests, id: DigestId) -> LinkState {
        read_link(registry.v2(), &self.layer_link(&digests.digest(id)), digests).0
    }

    /// The path of a layer link, relative to the `v2` folder.
    pub fn layer_link(&self, digest: &Digest) -> PathBuf {
        self.path.join(LAYERS).join(digest.algorithm().name()).join(digest.hex()).join(LINK)
    }
}

/// Reads one repository. What could not be listed comes back beside it.
pub(super) fn read(
    registry: &Registry,
    digests: &Digests,
    folder: Folder,
    selection: &Selection<'_>,
    findings: &Findings,
) -> (Repository, Vec<Unreadable>) {
    let name = folder.name();
    let mut reader = Reader {
        registry,
        digests,
        findings,
        unlistable: Vec::new(),
        repository: Repository {
            removable: if folder.linked { None } else { RepositoryName::parse(&name).ok() },
            name: name.into(),
            path: folder.path.clone(),
            revisions: Vec::new(),
            tags: Vec::new(),
            layer_links: Vec::new(),
            odd_targets: Vec::new(),
            uploads: Vec::new(),
            has_unknown_entries: folder.has_unknown_entries,
            folders: vec![folder.watched],
        },
    };
    let parts = [Reader::manifests, Reader::layers];
    for part in if selection.manifests_only { &parts[..1] } else { &parts } {
        if let Err(unreadable) = part(&mut reader) {
            reader.cannot_list(unreadable);
        }
    }
    if !selection.manifests_only
        && let Err(unreadable) = reader.uploads()
    {
        // No blob depends on an upload: this is no reason to stop.
        let message = format!("cannot be listed ({}); its uploads are kept", unreadable.cause);
        reader.note(Severity::Warning, FindingKind::Unreadable, &unreadable.path, message);
        reader.repository.has_unknown_entries = true;
    }
    let Reader { mut repository, unlistable, .. } = reader;
    if repository.removable.is_none() && !folder.linked {
        let message = "not a name that a registry serves; what it references is kept, and nothing in it is removed";
        findings.add(Severity::Info, FindingKind::UnknownEntry, Some(&repository.name), &repository.path, message);
    }
    repository.revisions.sort_by_key(|revision| revision.id);
    repository.layer_links.sort_unstable();
    repository.tags.sort_by(|a, b| a.name.cmp(&b.name));
    repository.uploads.sort_by(|a, b| a.id.cmp(&b.id));
    (repository, unlistable)
}

struct Reader<'a> {
    registry: &'a Registry,
    digests: &'a Digests,
    findings: &'a Findings,
    repository: Repository,
    unlistable: Vec<Unreadable>,
}

impl Reader<'_> {
    fn manifests(&mut self) -> Result<(), Unreadable> {
        // Watched as well: the first tag or revision of a repository makes a new folder in it.
        let Some((dir, stamp)) = self.open_watched(&self.repository.path.join(MANIFESTS))? else { return Ok(()) };
        let (mut revisions, mut tags) = (false, false);
        dir.for_each_of_all(stamp, |name, kind| {
            let path = dir.path().join(component(name));
            match name {
                name if name == REVISIONS.as_bytes() => revisions = true,
                name if name == TAGS.as_bytes() => tags = true,
                _ => return self.unknown(&path),
            }
            if kind == Kind::SymbolicLink {
                symbolic_link(self.findings, &path);
                self.repository.removable = None;
            }
        })?;
        // One unlistable part does not keep the other from being read: the findings should name all that is wrong.
        if revisions && let Err(unreadable) = self.revisions() {
            self.cannot_list(unreadable);
        }
        if tags { self.tags() } else { Ok(()) }
    }

    fn revisions(&mut self) -> Result<(), Unreadable> {
        let path = self.repository.path.join(MANIFESTS).join(REVISIONS);
        let digests = self.digests;
        self.each_digest_folder(&path, |reader, dir, folders| {
            let read = |&(id, linked): &(DigestId, bool)| {
                let mut hex = HexPlace::new();
                let link = Path::new(digests.digest(id).hex_in(&mut hex)).join(LINK);
                let (link, stamp) = read_link(dir, &link, digests);
                Revision { id, link, stamp, linked }
            };
            reader.repository.revisions.par_extend(folders.par_iter().with_min_len(AT_ONCE).map(read));
        })
    }

    fn layers(&mut self) -> Result<(), Unreadable> {
        let path = self.repository.path.join(LAYERS);
        self.each_digest_folder(&path, |reader, dir, folders| {
            reader.repository.layer_links.reserve(folders.len());
            for &(id, linked) in folders {
                if linked {
                    reader.layer_behind_symbolic_link(dir, id);
                } else {
                    reader.repository.layer_links.push(id);
                }
            }
        })
    }

    /// Its path tells which blob it keeps, unless its name is of an algorithm under which sha256 blobs were linked too.
    fn layer_behind_symbolic_link(&mut self, dir: &Dir, id: DigestId) {
        self.repository.odd_targets.push(id);
        let digest = self.digests.digest(id);
        let folder = PathBuf::from(digest.hex());
        match digest {
            Digest::Sha256(_) => {
                if let (LinkState::Target(target), _) = read_link(dir, &folder.join(LINK), self.digests) {
                    self.repository.odd_targets.push(target);
                }
            }
            Digest::Sha512(_) => self.odd_link(dir, &folder),
        }
    }

    fn tags(&mut self) -> Result<(), Unreadable> {
        let path = self.repository.path.join(MANIFESTS).join(TAGS);
        let Some((dir, stamp)) = self.open_watched(&path)? else { return Ok(()) };
        let mut names = Vec::new();
        dir.for_each_of_all(stamp, |name, kind| match kind {
            Kind::Directory | Kind::SymbolicLink => names.push((name.to_owned(), kind == Kind::SymbolicLink)),
            _ => self.unknown(&dir.path().join(component(name))),
        })?;
        let reader =
            TagReader { dir: &dir, digests: self.digests, findings: self.findings, repository: &self.repository.name };
        let read: Vec<ReadTag> =
            names.par_iter().with_min_len(AT_ONCE).map(|(raw, linked)| reader.read(raw, *linked)).collect();
        for ReadTag { tag, has_unknown_entries } in read {
            self.repository.has_unknown_entries |= has_unknown_entries;
            self.repository.tags.extend(tag);
        }
        Ok(())
    }

    fn uploads(&mut self) -> Result<(), Unreadable> {
        let Some(dir) = self.open(&self.repository.path.join(UPLOADS))? else { return Ok(()) };
        let mut names = Vec::new();
        dir.for_each_of_all(dir.stamp()?, |name, kind| {
            let id = std::str::from_utf8(name).ok().and_then(|text| UploadId::parse(text).ok());
            match id {
                Some(id) if kind == Kind::Directory => names.push(id),
                _ => self.unknown(&dir.path().join(component(name))),
            }
        })?;
        for id in names {
            let folder = Path::new(id.as_str());
            let started = match dir.read(folder.join(STARTED_AT), MAX_LINK_BYTES) {
                Ok(content) => content.and_then(|content| parse_started_at(&content.bytes)),
                Err(unreadable) => {
                    let message = format!("cannot be read ({}); the folder's own time counts", unreadable.cause);
                    self.note(Severity::Warning, FindingKind::Unreadable, &unreadable.path, message);
                    None
                }
            };
            let started = match started {
                Some(started) => started,
                None => match dir.look(folder)? {
                    Some(looked) => looked.stamp.modified().0,
                    // Finished or purged by the registry since it was listed: nothing to say about it, but a repository
                    // in which something is going on is not empty.
                    None => {
                        self.repository.has_unknown_entries = true;
                        continue;
                    }
                },
            };
            self.repository.uploads.push(Upload { id, started });
        }
        Ok(())
    }

    /// Lists `<folder>/<algorithm>/<hex>`, and hands over all of one algorithm at once: their numbers, and whether a
    /// symbolic link leads there.
    fn each_digest_folder(
        &mut self,
        path: &Path,
        mut each: impl FnMut(&mut Self, &Dir, &[(DigestId, bool)]),
    ) -> Result<(), Unreadable> {
        let Some((top, stamp)) = self.open_watched(path)? else { return Ok(()) };
        let mut algorithms = Vec::new();
        top.for_each_of_all(stamp, |name, kind| match Algorithm::from_name(name) {
            Some(algorithm) if matches!(kind, Kind::Directory | Kind::SymbolicLink) => {
                algorithms.push((algorithm, kind == Kind::SymbolicLink));
            }
            _ => {
                self.unknown(&top.path().join(component(name)));
                if matches!(kind, Kind::Directory | Kind::SymbolicLink) {
                    self.odd_links_below(&top, component(name), 0);
                }
            }
        })?;
        for (algorithm, algorithm_linked) in algorithms {
            let Some((dir, stamp)) = self.open_watched(&path.join(algorithm.name()))? else { continue };
            let mut folders = Vec::with_capacity(stamp.folders_expected());
            dir.for_each_of_all(stamp, |name, kind| match Digest::from_hex(algorithm, name) {
                Ok(digest) if matches!(kind, Kind::Directory | Kind::SymbolicLink) => {
                    folders.push((self.digests.id(&digest), algorithm_linked || kind == Kind::SymbolicLink));
                }
                _ if is_debris(name) => {
                    let path = dir.path().join(component(name));
                    self.note(Severity::Info, FindingKind::TemporaryFile, &path, "left behind by a crash; kept");
                    self.repository.has_unknown_entries = true;
                }
                _ => {
                    self.unknown(&dir.path().join(component(name)));
                    if kind == Kind::Directory {
                        self.odd_link(&dir, component(name));
                    }
                }
            })?;
            each(self, &dir, &folders);
        }
        Ok(())
    }

    /// A link in a place that the layout does not know keeps what it names. One that cannot be understood keeps
    /// nothing: no registry can serve anything by it. One that cannot be read may name anything.
    fn odd_link(&mut self, dir: &Dir, folder: &Path) {
        let link = folder.join(LINK);
        match read_link(dir, &link, self.digests).0 {
            LinkState::Target(id) => self.repository.odd_targets.push(id),
            LinkState::Absent | LinkState::Damaged(_) => {}
            LinkState::Unreadable(why) => {
                let cause = Cause::Io(std::io::Error::other(String::from(why)));
                self.cannot_read(Unreadable { path: dir.path().join(link), cause }, "read");
            }
        }
    }

    /// The oldest registries wrote `tarsum/v1/sha256/<hex>/link`: all links below a folder of an unknown algorithm.
    fn odd_links_below(&mut self, dir: &Dir, folder: &Path, depth: u32) {
        const DEEPEST: u32 = 4;
        self.odd_link(dir, folder);
        let below = (|| {
            let Some(dir) = dir.open(folder)? else { return Ok(()) };
            let mut folders = Vec::new();
            dir.for_each_of_all(dir.stamp()?, |name, kind| {
                if kind == Kind::Directory {
                    folders.push(name.to_owned());
                }
            })?;
            for name in folders {
                if depth < DEEPEST {
                    self.odd_links_below(&dir, component(&name), depth + 1);
                }
            }
            Ok(())
        })();
        if let Err(unreadable) = below {
            self.cannot_list(unreadable);
        }
    }

    fn open(&self, path: &Path) -> Result<Option<Dir>, Unreadable> {
        self.registry.v2().open(path)
    }

    /// Opens a folder whose entries decide what is live, and remembers what it was *before* it is listed.
    fn open_watched(&mut self, path: &Path) -> Result<Option<(Dir, Stamp)>, Unreadable> {
        let Some(dir) = self.open(path)? else { return Ok(None) };
        let stamp = dir.stamp()?;
        self.repository.folders.push(Watched { path: path.to_owned(), stamp });
        Ok(Some((dir, stamp)))
    }

    fn unknown(&mut self, path: &Path) {
        self.repository.has_unknown_entries = true;
        unknown(self.findings, Some(&self.repository.name), path);
    }

    fn note(&self, severity: Severity, kind: FindingKind, path: &Path, message: impl Into<String>) {
        self.findings.add(severity, kind, Some(&self.repository.name), path, message);
    }

    fn cannot_list(&mut self, unreadable: Unreadable) {
        self.cannot_read(unreadable, "listed");
    }

    fn cannot_read(&mut self, unreadable: Unreadable, done: &str) {
        let message = format!("cannot be {done} ({}); nobody knows which images need what", unreadable.cause);
        self.note(Severity::Error, FindingKind::Unreadable, &unreadable.path, message);
        self.unlistable.push(unreadable);
    }
}

/// Reads a link file. The registry writes the digest and nothing else, not even a newline.
pub(crate) fn read_link(dir: &Dir, path: &Path, digests: &Digests) -> (LinkState, Option<FileStamp>) {
    match dir.read(path, MAX_LINK_BYTES) {
        Ok(Some(content)) => {
            let state = match Digest::parse(&content.bytes) {
                Ok(digest) => LinkState::Target(digests.id(&digest)),
                Err(_) if content.bytes.is_empty() => LinkState::Damaged("empty".into()),
                Err(error) => LinkState::Damaged(error.to_string().into()),
            };
            (state, Some(content.stamp.into()))
        }
        Ok(None) => (LinkState::Absent, None),
        Err(Unreadable { cause, .. }) => {
            let state = match cause {
                Cause::TooLarge { .. } | Cause::NotAFile => LinkState::Damaged(cause.to_string().into()),
                Cause::Io(_) | Cause::DanglingLink | Cause::ShortListing { .. } | Cause::ShortRead { .. } => {
                    LinkState::Unreadable(cause.to_string().into())
                }
            };
            // What it is can often be told even where what it says cannot.
            (state, dir.stamp_of(path).ok().flatten().map(FileStamp::from))
        }
    }
}

/// `startedat` is an RFC 3339 time (distribution, `registry/storage/blobwriter.go`).
fn parse_started_at(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.trim().parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_upload() {
        for (text, time) in [
            ("1970-01-01T00:01:00Z", Some(60)),
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("1970-01-01T00:00:01.999Z\n", Some(1)),
            ("", None),
            ("yesterday", None),
            ("9999999999", None),
        ] {
            assert_eq!(parse_started_at(text.as_bytes()), time, "{text:?}");
        }
    }
}
