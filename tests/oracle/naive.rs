//! What must go, worked out as plainly as possible: look at the whole registry, apply every rule to everything, and do
//! that again until nothing changes.
//!
//! It shares no code with the collector, and no idea of speed. [`fixpoint`] is the definition of what is kept; what is
//! above it only reads files, what is below it only lists what is not kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use crate::support::formats::{is_digest, sha256, sha512};
use crate::support::tree::{Tree, blob_object};
use crate::world::TAGS;

type Digests = BTreeSet<String>;

/// A registry as it is on disk.
#[derive(Default)]
pub(crate) struct Disk {
    /// Every blob, and what it says if it is a manifest whose bytes are those that its name promises.
    blobs: BTreeMap<String, Option<Manifest>>,
    pub(crate) repositories: BTreeMap<String, Repository>,
}

#[derive(Default)]
pub(crate) struct Repository {
    /// Every digest folder, and the link in it.
    revisions: BTreeMap<String, Link>,
    tags: BTreeMap<String, Tag>,
    layers: BTreeMap<String, Link>,
    stale_uploads: BTreeSet<String>,
    fresh_uploads: BTreeSet<String>,
}

#[derive(Default)]
struct Tag {
    current: Link,
    history: Digests,
}

/// A link file.
#[derive(Default, PartialEq)]
enum Link {
    #[default]
    None,
    Damaged,
    To(String),
}

#[derive(Default)]
struct Manifest {
    /// Entries of an index that are manifests.
    children: Digests,
    /// What may be a manifest or a blob: nobody says.
    perhaps: Digests,
    /// Everything that it names, those included.
    names: Digests,
    subject: Option<String>,
}

impl Disk {
    /// Reads a tree, by the names that the witness of the scenarios gives to what is there.
    pub(crate) fn read(tree: &Tree) -> Self {
        let mut disk = Self::default();
        for object in tree.objects() {
            let words: Vec<&str> = object.split(' ').collect();
            if let ["blob", digest] = words[..] {
                disk.blobs.insert(digest.to_owned(), Manifest::read(digest, &tree.data(digest)));
                continue;
            }
            let folder = tree.repository(words[0]);
            let repository = disk.repositories.entry(words[0].to_owned()).or_default();
            match words[1..] {
                ["revision", digest] => {
                    repository.revisions.insert(digest.to_owned(), Link::read(&folder.revision(digest).join("link")));
                }
                ["layer", digest] => {
                    repository.layers.insert(digest.to_owned(), Link::read(&folder.layer(digest).join("link")));
                }
                ["tag", tag] => {
                    let current = Link::read(&folder.current(tag));
                    repository.tags.insert(tag.to_owned(), Tag { current, history: Digests::new() });
                }
                ["tag", tag, "history", digest] => {
                    repository.tags.get_mut(tag).unwrap().history.insert(digest.to_owned());
                }
                ["upload", id] => {
                    let began = fs::read_to_string(folder.folder().join("_uploads").join(id).join("startedat"));
                    let age = Timestamp::now().duration_since(began.unwrap().parse().unwrap());
                    let is_stale = age.as_hours() >= 7 * 24;
                    let uploads = if is_stale { &mut repository.stale_uploads } else { &mut repository.fresh_uploads };
                    uploads.insert(id.to_owned());
                }
                _ => assert_eq!(words.len(), 1, "{object}"),
            }
        }
        disk
    }

    fn manifest(&self, digest: &str) -> Option<&Manifest> {
        self.blobs.get(digest)?.as_ref()
    }

    /// Whether there is a blob, and it is no manifest.
    fn is_no_manifest(&self, digest: &str) -> bool {
        self.blobs.get(digest).is_some_and(Option::is_none)
    }

    /// The manifests that a manifest lists. Where it does not say whether something is one, it is unless what is there
    /// cannot be read as one, and no revision or tag anywhere says that it is.
    fn children(&self, digest: &str) -> Digests {
        let Some(manifest) = self.manifest(digest) else { return Digests::new() };
        let says_so = |repository: &Repository, digest: &String| {
            let mut tags = repository.tags.values();
            repository.revisions.contains_key(digest) || tags.any(|tag| tag.current == Link::To(digest.clone()))
        };
        let is_manifest =
            |digest: &&String| !self.is_no_manifest(digest) || self.repositories.values().any(|it| says_so(it, digest));
        manifest.children.iter().chain(manifest.perhaps.iter().filter(is_manifest)).cloned().collect()
    }
}

impl Link {
    fn read(path: &Path) -> Self {
        match fs::read_to_string(path) {
            Err(_) => Link::None,
            Ok(text) if is_digest(&text) => Link::To(text),
            Ok(_) => Link::Damaged,
        }
    }
}

/// What the operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) untagged_goes: bool,
    /// Which of the pool's tags a rule lets go; `None` if there is no rule.
    pub(crate) going: Option<[bool; TAGS.len()]>,
}

impl Wish {
    /// Whether any tag may go that somebody could pull.
    fn lets_names_go(self) -> bool {
        self.untagged_goes || self.going.is_some()
    }
}

impl Repository {
    /// Whether the rule lets this tag go. One that cannot be pulled is none of its business.
    fn is_expired(&self, disk: &Disk, wish: Wish, name: &str, tag: &Tag) -> bool {
        let Some(going) = wish.going else { return false };
        let is_named = TAGS.iter().zip(going).any(|(it, goes)| *it == name && goes);
        is_named && self.whole_target(disk, tag).is_some()
    }

    /// What a tag points at, where that can be pulled.
    fn whole_target(&self, disk: &Disk, tag: &Tag) -> Option<String> {
        let is_linked = |digest: &String| self.revisions.get(digest) == Some(&Link::To(digest.clone()));
        tag.current.target().filter(|digest| is_linked(digest) && disk.manifest(digest).is_some())
    }

    /// What the tag of a signature is about, and the signature.
    fn signed(&self, disk: &Disk, wish: Wish, name: &str, tag: &Tag) -> Option<(String, String)> {
        let hex = name.strip_prefix("sha256-")?.strip_suffix(".sig").filter(|_| wish.lets_names_go())?;
        let (subject, signature) = (format!("sha256:{hex}"), self.whole_target(disk, tag)?);
        (subject != signature).then_some((subject, signature))
    }

    /// Every revision that is about this manifest, and every signature of it.
    fn about(&self, disk: &Disk, wish: Wish, digest: &String) -> Digests {
        let says_so = |it: &String| disk.manifest(it).is_some_and(|it| it.subject.as_ref() == Some(digest));
        // The link may name another digest than its path.
        let target = |it: &String| self.revisions.get(it).and_then(Link::target);
        let is_about = |it: &&String| says_so(it) || target(it).is_some_and(|target| says_so(&target));
        let linked = self.revisions.keys().filter(|it| self.has_link(it)).filter(is_about).cloned();
        let signed = self.tags.iter().filter_map(|(name, tag)| self.signed(disk, wish, name, tag));
        linked.chain(signed.filter(|(subject, _)| subject == digest).map(|(_, signature)| signature)).collect()
    }

    /// What tags that go led to, and what belongs to that. Some of it may be needed all the same.
    pub(crate) fn let_go(&self, disk: &Disk, wish: Wish) -> Digests {
        let expired = self.tags.iter().filter(|(name, tag)| self.is_expired(disk, wish, name, tag));
        let mut let_go: Digests = expired.filter_map(|(_, tag)| tag.current.target()).collect();
        loop {
            let before = let_go.len();
            for digest in let_go.clone() {
                let_go.extend(disk.children(&digest));
                let_go.extend(self.about(disk, wish, &digest));
            }
            if let_go.len() == before {
                return let_go;
            }
        }
    }

    /// Whether a config or layer that a manifest names is nowhere, by that name or by the one that its link gives it.
    fn lacks_a_blob(&self, disk: &Disk, digest: &str) -> bool {
        let Some(manifest) = disk.manifest(digest) else { return false };
        let may_be_manifest = |it: &&String| manifest.children.contains(*it) || manifest.perhaps.contains(*it);
        let is_blob = |it: &&String| !may_be_manifest(it) || self.layers.contains_key(*it);
        let target = |it: &String| self.layers.get(it).and_then(Link::target);
        let is_there =
            |it: &String| disk.blobs.contains_key(it) || target(it).is_some_and(|it| disk.blobs.contains_key(&it));
        manifest.names.iter().filter(is_blob).any(|it| !is_there(it))
    }

    /// Whether nothing says that a manifest was here: then it did not go in this run.
    fn was_gone(&self, let_go: &Digests, digest: &String) -> bool {
        !self.has_link(digest) && !let_go.contains(digest)
    }

    /// Whether a tag goes.
    fn goes(&self, disk: &Disk, wish: Wish, kept: &Kept, name: &str, tag: &Tag) -> bool {
        let signed = self.signed(disk, wish, name, tag);
        let goes_with = |(subject, _): (String, String)| {
            !kept.live.contains(&subject) && !self.was_gone(&self.let_go(disk, wish), &subject)
        };
        self.is_deleted(tag) || self.is_expired(disk, wish, name, tag) || signed.is_some_and(goes_with)
    }

    fn has_link(&self, digest: &str) -> bool {
        self.revisions.get(digest).is_some_and(|link| *link != Link::None)
    }

    /// Taken out by hand: the revision link is gone, and so is the tag's own record of it.
    fn is_deleted(&self, tag: &Tag) -> bool {
        matches!(&tag.current, Link::To(digest) if !self.has_link(digest) && !tag.history.contains(digest))
    }
}

impl Manifest {
    fn read(digest: &str, data: &Path) -> Option<Self> {
        let bytes = fs::read(data).unwrap();
        let name = if digest.starts_with("sha512:") { sha512(&bytes) } else { sha256(&bytes) };
        let value: Value = serde_json::from_slice(&bytes).ok().filter(Value::is_object)?;
        if name != digest {
            return None;
        }
        let mut manifest = Self::default();
        every_digest(&value, &mut manifest.names);
        manifest.subject = value["subject"]["digest"].as_str().map(str::to_owned);
        for entry in value["manifests"].as_array().into_iter().flatten() {
            let (kind, digest) = (entry["mediaType"].as_str().unwrap_or_default(), entry["digest"].as_str().unwrap());
            if kind.contains(".manifest.") || kind.contains(".index.") {
                manifest.children.insert(digest.to_owned());
            } else if !kind.contains(".rootfs.") {
                manifest.perhaps.insert(digest.to_owned());
            }
        }
        if ["config", "layers", "manifests", "blobs", "fsLayers"].iter().all(|field| value[field].is_null()) {
            manifest.perhaps = manifest.names.clone();
        }
        Some(manifest)
    }
}

/// Every digest in a document, wherever it stands. What a signature is about is no part of it.
fn every_digest(value: &Value, found: &mut Digests) {
    match value {
        Value::String(text) if is_digest(text) => _ = found.insert(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| every_digest(value, found)),
        Value::Object(members) => {
            let counts = members.iter().filter(|(key, _)| *key != "subject" && *key != "annotations");
            counts.for_each(|(_, value)| every_digest(value, found));
        }
        _ => {}
    }
}

/// What one repository keeps.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Kept {
    /// Manifests that its tags lead to.
    tagged: Digests,
    /// Manifests that any of its roots leads to.
    live: Digests,
    /// What those name, themselves included.
    needed: Digests,
    pub(crate) tainted: bool,
}

/// What every repository keeps. All rules only ever add, so there is one answer, whatever the order.
pub(crate) fn fixpoint(disk: &Disk, wish: Wish) -> BTreeMap<String, Kept> {
    let mut all: BTreeMap<String, Kept> =
        disk.repositories.keys().map(|name| (name.clone(), Kept::default())).collect();
    loop {
        let before = all.clone();
        for (name, repository) in &disk.repositories {
            let Kept { tagged, live, needed, tainted } = all.get_mut(name).unwrap();
            let revisions = &repository.revisions;
            let let_go = repository.let_go(disk, wish);
            // A tag keeps its target; all that it ever pointed at, where nobody can tell which that is.
            for (name, tag) in repository.tags.iter().filter(|(_, tag)| !repository.is_deleted(tag)) {
                if repository.is_expired(disk, wish, name, tag) {
                    continue;
                }
                // The tag of a signature keeps it while what is signed is live, or was gone before.
                if let Some((subject, signature)) = repository.signed(disk, wish, name, tag) {
                    if live.contains(&subject) || repository.was_gone(&let_go, &subject) {
                        tagged.insert(signature);
                    }
                    continue;
                }
                match &tag.current {
                    Link::To(digest) => _ = tagged.insert(digest.clone()),
                    Link::None | Link::Damaged => tagged.extend(tag.history.iter().cloned()),
                }
                *tainted |= match &tag.current {
                    Link::To(digest) => !disk.blobs.contains_key(digest),
                    Link::None => false,
                    Link::Damaged => tag.history.is_empty(),
                };
            }
            // So does a revision link, unless untagged manifests are to go, or what a tag led to that goes; one that
            // says nothing may be needed.
            let goes = |digest: &String| wish.untagged_goes || let_go.contains(digest);
            let is_root = |digest: &String, link: &Link| match link {
                Link::None => false,
                Link::Damaged => true,
                Link::To(_) => !goes(digest),
            };
            let roots = revisions.iter().filter(|(digest, link)| is_root(digest, link));
            live.extend(roots.map(|(digest, _)| digest.clone()));
            live.extend(tagged.iter().cloned());
            // What is live keeps what it lists, what its link names in its place, and those whose subject it is.
            for set in [&mut *tagged, live] {
                for digest in set.clone() {
                    set.extend(disk.children(&digest));
                    set.extend(revisions.get(&digest).and_then(Link::target));
                    if wish.lets_names_go() {
                        set.extend(repository.about(disk, wish, &digest));
                    }
                }
            }
            needed.extend(live.iter().flat_map(|it| disk.manifest(it)).flat_map(|it| it.names.iter().cloned()));
            needed.extend(live.iter().cloned());
            // A layer link may name the same content by another algorithm.
            needed.extend(needed.clone().iter().filter_map(|it| repository.layers.get(it).and_then(Link::target)));
            // Damage: nobody knows what is needed, so everything is that the repository names. A manifest that a tag
            // leads to and that the repository has a link for was here, so it is damage where it is missing; a sparse
            // index's child was not.
            *tainted |= live.iter().any(|it| disk.is_no_manifest(it) || revisions.get(it) == Some(&Link::Damaged));
            *tainted |= tagged.iter().any(|it| repository.has_link(it) && !disk.blobs.contains_key(it));
            // Where an image of a tag that stays lacks a blob, no rule lets a tag go.
            let expires = repository.tags.iter().any(|(name, tag)| repository.is_expired(disk, wish, name, tag));
            *tainted |= expires && tagged.iter().any(|it| repository.lacks_a_blob(disk, it));
            if *tainted {
                live.extend(revisions.keys().cloned());
                live.extend(repository.tags.values().filter_map(|tag| tag.current.target()));
                needed.extend(repository.layers.keys().cloned());
                needed.extend(repository.tags.values().flat_map(|tag| tag.history.iter().cloned()));
            }
        }
        if all == before {
            return all;
        }
    }
}

impl Link {
    fn target(&self) -> Option<String> {
        if let Link::To(digest) = self { Some(digest.clone()) } else { None }
    }
}

/// Everything that goes, by the names of the witness.
pub(crate) fn garbage(
    tree: &Tree,
    disk: &Disk,
    wish: Wish,
    kept: &BTreeMap<String, Kept>,
    remove_empty: bool,
) -> BTreeSet<String> {
    let mut garbage = BTreeSet::new();
    let has_revisions = disk.repositories.values().any(|it| it.revisions.keys().any(|digest| it.has_link(digest)));
    // Half of the volume is not mounted.
    if disk.repositories.is_empty() || disk.blobs.is_empty() && has_revisions {
        return garbage;
    }
    for (name, repository) in &disk.repositories {
        let Kept { live, needed, tainted, .. } = &kept[name];
        let on_disk = tree.repository(name);
        garbage.extend(repository.stale_uploads.iter().map(|id| on_disk.upload_object(id)));
        if *tainted {
            continue;
        }
        let revisions = repository.revisions.keys().filter(|it| !live.contains(*it));
        let layers = repository.layers.keys().filter(|it| !needed.contains(*it));
        let (tags, staying): (Vec<_>, Vec<_>) =
            repository.tags.iter().partition(|(tag_name, tag)| repository.goes(disk, wish, &kept[name], tag_name, tag));
        for (name, tag) in &staying {
            let former = tag.history.iter().filter(|it| !live.contains(*it));
            garbage.extend(former.map(|digest| on_disk.history_object(name, digest)));
        }
        let is_empty = staying.is_empty()
            && repository.fresh_uploads.is_empty()
            && revisions.clone().count() == repository.revisions.len()
            && layers.clone().count() == repository.layers.len();
        garbage.extend(tags.iter().map(|(name, _)| on_disk.tag_object(name)));
        garbage.extend(revisions.map(|digest| on_disk.revision_object(digest)));
        garbage.extend(layers.map(|digest| on_disk.layer_object(digest)));
        garbage.extend((is_empty && remove_empty).then(|| name.clone()));
    }
    let is_needed = |digest: &&String| kept.values().any(|it| it.needed.contains(*digest));
    garbage.extend(disk.blobs.keys().filter(|digest| !is_needed(digest)).map(|digest| blob_object(digest)));
    garbage
}

// ---- what there is to decide, so that a generator that stops generating is noticed

impl Disk {
    /// What makes this registry more than a few images side by side.
    pub(crate) fn features(&self) -> BTreeSet<&'static str> {
        let mut features = BTreeSet::new();
        let mut listed_in: BTreeMap<String, BTreeSet<(&String, &String)>> = BTreeMap::new();
        for (name, repository) in &self.repositories {
            let mut has = |feature, is_there: bool| {
                if is_there {
                    features.insert(feature);
                }
            };
            for digest in repository.revisions.keys().filter(|digest| repository.has_link(digest)) {
                let subject = self.manifest(digest).and_then(|it| it.subject.as_ref());
                has("referrers", subject.is_some());
                let is_referrer = |it: &String| self.manifest(it).is_some_and(|it| it.subject.is_some());
                has("chains of referrers", subject.is_some_and(is_referrer));
                for child in self.children(digest) {
                    has("nested indexes", !self.children(&child).is_empty());
                    has("sparse children", !repository.has_link(&child));
                    let is_target = |tag: &Tag| tag.current == Link::To(child.clone());
                    has("tagged children", repository.tags.values().any(is_target));
                    listed_in.entry(child).or_default().insert((name, digest));
                }
                has("untagged", !repository.tags.values().any(|tag| tag.current == Link::To(digest.clone())));
                has("damaged manifests", self.is_no_manifest(digest));
                has("missing manifests", !self.blobs.contains_key(digest));
            }
            let targets: Vec<String> = repository.tags.values().filter_map(|tag| tag.current.target()).collect();
            has("two tags of one digest", targets.iter().collect::<BTreeSet<_>>().len() < targets.len());
            for tag in repository.tags.values() {
                has("signatures", repository.tags.keys().any(|name| name.ends_with(".sig")));
                has("tag history", tag.history.len() > 1);
                has("tags deleted by hand", repository.is_deleted(tag));
                has("damaged tags", !matches!(tag.current, Link::To(_)));
                let is_dangling = |digest: &String| !repository.has_link(digest) && tag.history.contains(digest);
                let dangling = tag.current.target().filter(is_dangling);
                has("dangling tags", dangling.is_some());
                has("dangling tags without a manifest", dangling.is_some_and(|it| !self.blobs.contains_key(&it)));
            }
            has("deleted revisions", repository.revisions.values().any(|link| *link == Link::None));
            has("damaged revision links", repository.revisions.values().any(|link| *link == Link::Damaged));
            let lost = repository.layers.keys().filter(|digest| !self.blobs.contains_key(*digest));
            has("layer links without a blob", lost.count() > 1);
            has("stale uploads", !repository.stale_uploads.is_empty());
        }
        for of in listed_in.values().filter(|of| of.len() > 1) {
            features.insert("children that indexes share");
            let repositories: BTreeSet<&String> = of.iter().map(|(repository, _)| *repository).collect();
            if repositories.len() > 1 {
                features.insert("children that repositories share");
            }
        }
        features
    }
}
