//! What was found, as somebody is told it: by the images that are lost, and by the blobs that they lack.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;

use super::blobs::{BlobState, BlobStates};
use super::images::{Fault, Lost, Part, RepositoryImages};
use super::links::{RepositoryLinks, Wrong, history_link, layer_link, revision_link};
use super::{Counts, TrashOf, data};
use crate::digest::Digest;
use crate::finding::{FindingKind, Findings, Severity};
use crate::inventory::{DigestId, Digests, LinkState, Repository};
use crate::layout::blob_dir;
use crate::listing::library::{Library, Loaded};
use crate::registry::Registry;
use crate::words::counted;

/// How many images are named for each blob.
const EXAMPLES: usize = 10;
/// How many of these a sentence names.
const NAMED: usize = 3;

/// An image that cannot be pulled, or one of its platforms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostImage {
    /// The repository.
    pub repository: Box<str>,
    /// The tag; `None` for a manifest to which no tag leads.
    pub tag: Option<Box<str>>,
    /// The manifest; `None` where the tag does not say.
    pub digest: Option<Digest>,
    /// The platform, where it is not all of the image; `attestation` for what BuildKit says about it.
    pub platform: Option<Box<str>>,
    /// What it lacks, a clause each.
    pub lacks: Vec<String>,
}

impl LostImage {
    /// Its name, such as `team/app:v3 (linux/arm64)`.
    pub fn name(&self) -> String {
        let name = match (&self.tag, &self.digest) {
            (Some(tag), _) => format!("{}:{tag}", self.repository),
            (None, Some(digest)) => format!("{}@{digest}", self.repository),
            (None, None) => self.repository.to_string(),
        };
        match &self.platform {
            Some(platform) => format!("{name} ({platform})"),
            None => name,
        }
    }
}

/// What is wrong with a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Problem {
    /// It is not in the blob store.
    Missing,
    /// It is not what its digest names.
    Damaged,
    /// It has another size than a manifest says.
    Size,
    /// It could not be read.
    Unreadable,
}

/// A blob that is missing, or not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedBlob {
    /// Which.
    pub digest: Digest,
    /// What it is to those that need it; `None` if nobody does.
    pub part: Option<&'static str>,
    /// What is wrong with it.
    pub problem: Problem,
    /// The same in words.
    pub why: String,
    /// How many tags need it.
    pub tags: u64,
    /// How many manifests need it to which no tag leads.
    pub untagged: u64,
    /// In how many repositories.
    pub repositories: u64,
    /// Some of the images, tags first.
    pub examples: Vec<String>,
    /// What mends it.
    pub mend: String,
    /// The run in whose trash a whole copy of it lies; `None` if none does.
    pub in_trash_of: Option<String>,
}

impl DamagedBlob {
    /// Who needs it, as a clause.
    pub fn who_needs_it(&self) -> String {
        let names = |of: u64| {
            let named: Vec<&str> = self.examples.iter().take(NAMED).map(String::as_str).collect();
            let dots = if of > named.len() as u64 { ", ..." } else { "" };
            format!("{}{dots}", named.join(", "))
        };
        match (self.tags, self.untagged) {
            (0, 0) => "nothing needs it now".to_owned(),
            (0, untagged) => {
                format!(
                    "no tag needs it, but {} ({})",
                    counted(untagged, "untagged manifest", "untagged manifests"),
                    names(untagged)
                )
            }
            (tags, _) => {
                let repositories = counted(self.repositories, "repository", "repositories");
                let need = if tags == 1 { "needs" } else { "need" };
                format!("{} in {repositories} {need} it ({})", counted(tags, "tag", "tags"), names(tags))
            }
        }
    }
}

/// Who needs a blob.
#[derive(Default)]
struct Needed {
    part: Option<Part>,
    fault: Option<Fault>,
    tags: u64,
    untagged: u64,
    repositories: u64,
    examples: Vec<String>,
}

/// All that there is to tell about.
pub(super) struct Telling<'a> {
    pub(super) registry: &'a Registry,
    pub(super) digests: &'a Digests,
    pub(super) repositories: &'a [Repository],
    pub(super) images: &'a [RepositoryImages],
    pub(super) links: &'a [RepositoryLinks],
    pub(super) states: &'a BlobStates,
    pub(super) trash: TrashOf<'a>,
}

impl Telling<'_> {
    fn each(&self) -> impl Iterator<Item = (&Repository, &RepositoryImages)> {
        self.repositories.iter().zip(self.images)
    }

    /// What cannot be pulled, in the order of the names, noted as findings as well.
    pub(super) fn lost(&self, findings: &Findings) -> Vec<LostImage> {
        let mut all = Vec::new();
        for (repository, images) in self.each() {
            for lost in &images.lost {
                let image = self.image(repository, lost);
                let is_tagged = lost.tag.is_some();
                let severity = if is_tagged { Severity::Error } else { Severity::Warning };
                let more = match image.lacks.len() {
                    0 | 1 => String::new(),
                    count => format!(" (and {} more)", count - 1),
                };
                let untagged = if is_tagged { "" } else { ", to which no tag leads," };
                let first = image.lacks.first().map_or("", String::as_str);
                let message = format!("{}{untagged} cannot be pulled: {first}{more}", image.name());
                let path = match (lost.tag, lost.target) {
                    (Some(place), _) => repository.tag_folder(&repository.tags[place].name),
                    (None, Some(id)) => revision_link(repository, self.digests, id),
                    (None, None) => repository.path.clone(),
                };
                findings.add(severity, FindingKind::CannotBePulled, Some(&repository.name), &path, message);
                all.push(image);
            }
            for &place in &images.taken_out {
                let name = format!("{}:{}", repository.name, repository.tags[place].name);
                let message = format!("{name} was taken out by hand, and its folder is left; gc takes it along");
                let path = repository.tag_folder(&repository.tags[place].name);
                findings.add(Severity::Warning, FindingKind::DanglingTag, Some(&repository.name), &path, message);
            }
            for &place in &images.half_pushed {
                let name = format!("{}:{}", repository.name, repository.tags[place].name);
                let message =
                    format!("{name} has no current link, as a push leaves it that was cut off; push it again");
                let path = repository.tag_folder(&repository.tags[place].name);
                findings.add(Severity::Warning, FindingKind::TagWithoutTarget, Some(&repository.name), &path, message);
            }
        }
        all
    }

    fn image(&self, repository: &Repository, lost: &Lost) -> LostImage {
        let lacks = lost.lacks.iter().map(|lack| lack.text(self.digests));
        LostImage {
            repository: repository.name.clone(),
            tag: lost.tag.map(|place| (&*repository.tags[place].name).into()),
            digest: lost.target.map(|id| self.digests.digest(id)),
            platform: lost.platform.clone(),
            lacks: lost.tag_fault.iter().map(|why| why.to_string()).chain(lacks).collect(),
        }
    }

    /// Blobs that are missing or not what they should be, noted as findings as well.
    pub(super) fn damaged(&self, library: &Library<'_>, findings: &Findings) -> Vec<DamagedBlob> {
        let mut needed: HashMap<DigestId, Needed> = HashMap::new();
        for (repository, images) in self.each() {
            let mut here = HashSet::new();
            // All that is lost of one image stands together.
            let same = |a: &Lost, b: &Lost| (a.tag, a.target) == (b.tag, b.target);
            for image in images.lost.chunk_by(same) {
                let mut of_this = HashSet::new();
                for (lost, lack) in image.iter().flat_map(|lost| lost.lacks.iter().map(move |lack| (lost, lack))) {
                    if matches!(lack.fault, Fault::Link(_)) || !of_this.insert(lack.id) {
                        continue;
                    }
                    let needed = needed.entry(lack.id).or_default();
                    needed.part = needed.part.or(Some(lack.part));
                    needed.fault.get_or_insert_with(|| lack.fault.clone());
                    needed.repositories += u64::from(here.insert(lack.id));
                    if lost.tag.is_some() {
                        needed.tags += 1
                    } else {
                        needed.untagged += 1
                    }
                    if needed.examples.len() < EXAMPLES {
                        let image = LostImage { platform: None, ..self.image(repository, lost) };
                        needed.examples.push(image.name());
                    }
                }
            }
        }
        // What nobody needs may be needed tomorrow: a registry takes what is there for what is pushed.
        for (id, state) in self.states.faulty() {
            needed.entry(id).or_insert_with(|| Needed {
                fault: Some(match state {
                    BlobState::Unreadable(why) => Fault::Unreadable(why.clone()),
                    BlobState::Damaged(why) => Fault::Damaged(why.clone()),
                    BlobState::Whole(_) | BlobState::Missing => Fault::Missing,
                }),
                ..Needed::default()
            });
        }
        let mut copies = self.copies(&needed);
        let blobs =
            needed.into_iter().filter_map(|(id, needed)| Some((id, self.blob(id, needed, copies.remove(&id))?)));
        let mut damaged: Vec<(DigestId, DamagedBlob)> = blobs.collect();
        damaged.sort_by(|(_, a), (_, b)| b.tags.cmp(&a.tags).then_with(|| a.digest.cmp(&b.digest)));
        for (id, blob) in &damaged {
            let kind = match (blob.problem, library.get(*id)) {
                (Problem::Missing, Some(Loaded::Missing)) => FindingKind::MissingManifest,
                (Problem::Missing, _) => FindingKind::MissingBlob,
                (Problem::Unreadable, _) => FindingKind::Unreadable,
                (Problem::Damaged, Some(Loaded::Damaged(_))) => FindingKind::DamagedManifest,
                (Problem::Damaged | Problem::Size, _) => FindingKind::DamagedBlob,
            };
            // What cannot be read may be what somebody needs.
            let is_error = blob.tags > 0 || blob.problem == Problem::Unreadable;
            let severity = if is_error { Severity::Error } else { Severity::Warning };
            let message = format!("{}; {}. {}", blob.why, blob.who_needs_it(), blob.mend);
            findings.add(severity, kind, None, &blob_dir(&blob.digest), message);
        }
        damaged.into_iter().map(|(_, blob)| blob).collect()
    }

    /// The newest runs in whose trashes whole copies lie of what is missing or damaged. Each copy is read: one that
    /// `check --repair` has put aside is damaged itself, and nobody is to be told that it mends anything.
    fn copies(&self, needed: &HashMap<DigestId, Needed>) -> HashMap<DigestId, String> {
        let may_be_put_back = |needed: &Needed| match needed.fault {
            Some(Fault::Missing) => needed.part.is_some(),
            Some(Fault::Damaged(_) | Fault::Size { .. }) => true,
            Some(Fault::Link(_) | Fault::Unreadable(_)) | None => false,
        };
        let wanted = needed.par_iter().filter(|(_, needed)| may_be_put_back(needed));
        let copy_of = |id: DigestId| {
            let digest = self.digests.digest(id);
            let mut copies = (self.trash)(&digest).into_iter();
            copies.find(|copy| data::is_whole_copy(self.registry, &copy.data, &digest)).map(|copy| copy.run)
        };
        wanted.filter_map(|(&id, _)| Some((id, copy_of(id)?))).collect()
    }

    fn blob(&self, id: DigestId, needed: Needed, in_trash_of: Option<String>) -> Option<DamagedBlob> {
        let digest = self.digests.digest(id);
        let part = needed.part.map(Part::name);
        let name = format!("{} {digest}", part.unwrap_or("blob"));
        let again = match needed.tags + needed.untagged {
            1 => "push that image again",
            _ => "push one of these images again",
        };
        // Not the other way round: what is there stays, whatever is put back.
        let with_copy = |run: &str| format!("trash restore brings back a whole copy, from run {run}");
        let (problem, why, mend) = match needed.fault? {
            Fault::Missing if part.is_none() => {
                let mend = "Nothing has to be done about it".to_owned();
                (Problem::Missing, format!("{name} has a folder, and no 'data' in it"), mend)
            }
            Fault::Missing => {
                let mend = match &in_trash_of {
                    Some(run) => format!("It lies in the trash of run {run}: trash restore brings it back"),
                    None => format!("To mend it, {again}"),
                };
                (Problem::Missing, format!("{name} is missing"), mend)
            }
            Fault::Damaged(why) if needed.part == Some(Part::Manifest) && needed.tags == 0 => {
                let mend = "As long as it is here gc keeps what it may need; rm takes it out".to_owned();
                (Problem::Damaged, format!("{name} is damaged ({why})"), mend)
            }
            Fault::Damaged(why) => {
                let mend = match &in_trash_of {
                    Some(run) => format!("check --repair puts it aside; then {}", with_copy(run)),
                    None if needed.tags + needed.untagged > 0 => {
                        format!("check --repair puts it aside, so that a push can replace it; then {again}")
                    }
                    None => "check --repair puts it aside, so that a push can replace it".to_owned(),
                };
                (Problem::Damaged, format!("{name} is damaged ({why})"), mend)
            }
            Fault::Size { is, should_be } => {
                let is = counted(is, "byte", "bytes");
                let then = in_trash_of.as_deref().map_or_else(|| again.to_owned(), with_copy);
                let mend = format!(
                    "check --repair reads it, and puts it aside if it is not what its digest names; then {then}"
                );
                (Problem::Size, format!("{name} has {is} and should have {should_be}"), mend)
            }
            Fault::Unreadable(why) => {
                let mend = "See to the volume first: it may be whole".to_owned();
                (Problem::Unreadable, format!("{name} cannot be read ({why})"), mend)
            }
            Fault::Link(_) => return None,
        };
        let Needed { tags, untagged, repositories, examples, .. } = needed;
        Some(DamagedBlob { digest, part, problem, why, tags, untagged, repositories, examples, mend, in_trash_of })
    }

    /// Links that do not say what their paths say.
    pub(super) fn links(&self, findings: &Findings) {
        for ((repository, images), links) in self.each().zip(self.links) {
            let needed: HashSet<DigestId> = (images.lost.iter().filter(|lost| lost.tag.is_some()))
                .flat_map(|lost| &lost.lacks)
                .filter(|lack| matches!(lack.fault, Fault::Link(_)))
                .map(|lack| lack.id)
                .collect();
            let note = |id: DigestId, wrong: &Wrong, what: &str, path: PathBuf| {
                let is_needed = needed.contains(&id);
                let (severity, kind) = match wrong {
                    // An empty folder that nobody needs is what a deletion leaves.
                    Wrong::Absent if !is_needed => return,
                    Wrong::Unreadable(_) => (Severity::Error, FindingKind::Unreadable),
                    _ if is_needed => (Severity::Error, FindingKind::DamagedLink),
                    _ => (Severity::Warning, FindingKind::DamagedLink),
                };
                let message = format!("the {what} {}", wrong.text(self.digests));
                findings.add(severity, kind, Some(&repository.name), &path, message);
            };
            let sorted: BTreeMap<Digest, (DigestId, &Wrong)> =
                links.layers.iter().map(|(&id, wrong)| (self.digests.digest(id), (id, wrong))).collect();
            for (id, wrong) in sorted.into_values() {
                note(id, wrong, "layer link", layer_link(repository, self.digests, id));
            }
            for revision in &repository.revisions {
                if let Some(wrong) = Wrong::of(self.digests, revision.id, revision.link.clone()) {
                    note(revision.id, &wrong, "revision link", revision_link(repository, self.digests, revision.id));
                }
            }
            for (place, id, wrong) in &links.history {
                let tag = &repository.tags[*place].name;
                let path = history_link(repository, tag, self.digests, *id);
                note(*id, wrong, "link in a tag's history", path);
            }
        }
    }

    /// Counts of what is lost and wrong; the others are zero.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for ((repository, images), links) in self.each().zip(self.links) {
            let tags: HashSet<usize> = images.lost.iter().filter_map(|lost| lost.tag).collect();
            let untagged: HashSet<DigestId> =
                images.lost.iter().filter(|lost| lost.tag.is_none()).filter_map(|lost| lost.target).collect();
            counts.lost_tags += tags.len() as u64;
            counts.lost_untagged += untagged.len() as u64;
            let is_wrong = |wrong: &Wrong| *wrong != Wrong::Absent;
            let wrong = links.layers.values().filter(|wrong| is_wrong(wrong)).count()
                + links.history.iter().filter(|(_, _, wrong)| is_wrong(wrong)).count()
                + repository
                    .revisions
                    .iter()
                    .filter_map(|revision| Wrong::of(self.digests, revision.id, revision.link.clone()))
                    .filter(is_wrong)
                    .count()
                + repository
                    .tags
                    .iter()
                    .filter(|tag| matches!(tag.current, LinkState::Damaged(_) | LinkState::Unreadable(_)))
                    .count();
            counts.wrong_links += wrong as u64;
        }
        counts
    }
}
