//! Why something is there, or why it goes: from a digest or a name back to the roots that keep it.
//!
//! # No second opinion
//!
//! What is live and what goes was decided by `mark` and the plan, with the same options as a collection: the answer is
//! that of a `gc` that would begin now. Here the references are only turned round ([`graph`]) and walked from the
//! roots that stay ([`roots`]) down to what was asked about ([`chains`]). A chain never crosses repositories: a layer
//! that two repositories share has a chain in each.
//!
//! # Reading
//!
//! One scan, as a collection does it, and then numbers. Manifests are read again only to say what a step is
//! (*layer 4 of 7*), so for the chains that somebody wants to see. Nothing is written, nothing is locked: while people
//! push, the answer is of a moment in between.

mod chains;
mod describe;
mod find;
mod graph;
mod question;
mod repository;
mod roots;
mod traces;

use std::collections::HashSet;

use jiff::Timestamp;
use serde::Serialize;

pub use chains::{Chain, Chains, RootKey};
pub use describe::{Describer, Step, What};
pub use find::{Found, NotThere, look_before};
pub use graph::Edge;
pub use question::{Beginning, Question};
pub use repository::RepositorySummary;
pub use roots::{Root, RootKind};
pub use traces::{Trace, TraceKind};

use crate::age::YoungSince;
use crate::collect::{self, Collection, collect_and};
use crate::digest::Digest;
use crate::finding::Findings;
use crate::halt::Halted;
use crate::inventory::{DigestId, LinkState, LookedAt};
use crate::layout::{DATA, blob_dir};
use crate::manifest::Store;
use crate::plan::{Action, Reason};
use crate::policy::{Held, Policy};
use crate::progress::{Meter, Watch};
use crate::registry::Registry;
use graph::Backwards;

/// Everything that was seen and decided, to be asked about.
#[derive(Debug)]
pub struct Knowledge<'a> {
    registry: &'a Registry,
    policy: &'a Policy,
    young_since: Option<YoungSince>,
    /// What was seen, and what a collection would do.
    pub collection: Collection,
    store: Store,
    backwards: Backwards,
    held: Held,
    young: HashSet<DigestId>,
}

/// Whether something is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Roots lead to it.
    Needed,
    /// No root leads to it, and it stays all the same.
    Kept,
    /// It goes.
    Garbage,
    /// Something names it, and it is not in the blob store.
    Missing,
}

/// Why something stays that no root leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// It is younger than `--min-age`, or a link to it is.
    Young,
    /// A brake stops every collection of this registry.
    Refused,
    /// It is not what the layout says a blob is, or it cannot be looked at, or it lies behind a symbolic link.
    Irremovable,
    /// A link that stays names it: its repository cannot be changed, or is damaged.
    Linked,
}

/// What was asked about, if it is a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagAnswer {
    /// Its repository.
    pub repository: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// When it was pushed: the time of its current link.
    #[serde(serialize_with = "traces::as_text")]
    pub pushed_at: Option<Timestamp>,
    /// Why it goes; `None` if it stays.
    pub goes: Option<Reason>,
    /// The retention rule that decided; `None` if none did.
    pub rule: Option<String>,
    /// What decided, for a person; `None` if there are no rules.
    pub explanation: Option<String>,
}

/// The answer about a digest.
#[derive(Debug)]
pub struct Answer<'k> {
    /// The tag, if one was named.
    pub tag: Option<TagAnswer>,
    /// The repository, if one was named.
    pub repository: Option<Box<str>>,
    /// Which digest; `None` for a tag that says none.
    pub digest: Option<Digest>,
    /// What it is.
    pub what: What,
    /// Its size in bytes; `None` if it is not there, or cannot be looked at.
    pub bytes: Option<u64>,
    /// When its blob was written.
    pub written_at: Option<Timestamp>,
    /// What is wrong with its blob, as far as a look tells it; nothing is read.
    pub problem: Option<String>,
    /// In how many repositories it has a link.
    pub linked_in: u64,
    /// Whether it is needed.
    pub state: State,
    /// Why it goes, if it does.
    pub reason: Option<Reason>,
    /// Why it stays although no root leads to it.
    pub kept: Option<Kept>,
    /// Everything of the plan that names it.
    pub goes: Vec<Action<'k>>,
    /// What is left of whatever led to it; only where it goes, or no root leads to it.
    pub traces: Vec<Trace>,
    /// Whether everything was looked into that could have left a trace.
    pub has_all_traces: bool,
    /// What leads to it.
    pub chains: Option<Chains<'k>>,
}

impl Answer<'_> {
    /// Since when it is garbage, as far as a trace says it: the last thing that happened to what led to it. Where tags
    /// that still point there are let go, it is none before that.
    pub fn since(&self) -> Option<Timestamp> {
        if self.traces.iter().any(|trace| trace.kind == TraceKind::GoingTag) {
            return None;
        }
        let is_an_end = |trace: &&Trace| matches!(trace.kind, TraceKind::DeletedRevision | TraceKind::TagHistory);
        (self.state == State::Garbage).then(|| self.traces.iter().filter(is_an_end).filter_map(|it| it.at).max())?
    }

    /// How many tags lead to it.
    pub fn tags(&self) -> u64 {
        self.chains.as_ref().map_or(0, |chains| chains.tags)
    }
}

impl<'a> Knowledge<'a> {
    /// Scans, marks and plans, in parallel on the current rayon pool, as a collection with these options does.
    ///
    /// # Errors
    /// [`Halted`].
    pub fn of(
        registry: &'a Registry,
        options: collect::Options<'a>,
        findings: &Findings,
        watch: &dyn Watch,
    ) -> Result<Knowledge<'a>, Halted> {
        let (collection, store) = collect_and(registry, options, findings, watch, |store| store)?;
        let inventory = &collection.inventory;
        let backwards = Backwards::new(registry, inventory, &collection.marking, &store);
        let (held, _) = options.policy.protected.look_up(&inventory.repositories, &inventory.digests);
        let young_since = options.young_since;
        let young = young_since.map(|since| since.manifests(&inventory.repositories, &store)).unwrap_or_default();
        Ok(Knowledge { registry, policy: options.policy, young_since, collection, store, backwards, held, young })
    }

    /// The digest of this number.
    pub fn digest(&self, id: DigestId) -> Digest {
        self.collection.inventory.digests.digest(id)
    }

    /// The name of a repository by its place, as it may be shown.
    pub fn repository_name(&self, place: usize) -> &str {
        &self.collection.inventory.repositories[place].name
    }

    /// The name of a tag by the places of its repository and its own, as it may be shown.
    pub fn tag_name(&self, repository: usize, tag: usize) -> &str {
        &self.collection.inventory.repositories[repository].tags[tag].name
    }

    /// The answer about a digest, alone or in a repository, or about a tag. For a whole repository there is
    /// [`Knowledge::summary`].
    pub fn answer(&self, found: &Found) -> Answer<'_> {
        let (id, place, tag) = match *found {
            Found::Digest(id) => (Some(id), None, None),
            Found::Manifest(place, id) => (Some(id), Some(place), None),
            Found::Tag(place, tag) => (self.target_of(place, tag), Some(place), Some(tag)),
            Found::Repository(place) => (None, Some(place), None),
        };
        let tag = place.zip(tag).map(|(place, tag)| self.tag_answer(place, tag));
        let repository = place.map(|place| self.repository_name(place).into());
        let Some(id) = id else {
            let reason = tag.as_ref().and_then(|tag| tag.goes);
            return Answer {
                digest: None,
                what: What { kind: "nothing", ..What::default() },
                bytes: None,
                written_at: None,
                problem: None,
                linked_in: 0,
                state: if reason.is_some() { State::Garbage } else { State::Kept },
                reason,
                kept: None,
                goes: Vec::new(),
                traces: Vec::new(),
                has_all_traces: true,
                chains: None,
                tag,
                repository,
            };
        };
        let digest = self.digest(id);
        let chains = Chains::new(self, id);
        let looked = self.look_at(id);
        let (bytes, written_at) = match &looked {
            Some(LookedAt::Sized(sized)) => (Some(sized.size.bytes), Timestamp::from_second(sized.modified).ok()),
            _ => (None, None),
        };
        let problem = match &looked {
            Some(LookedAt::Odd(why) | LookedAt::Unreadable { why, .. }) => Some(why.clone()),
            Some(LookedAt::Gone) => Some("it is gone since the blobs were listed".to_owned()),
            Some(LookedAt::Sized(_)) | None => None,
        };
        let blob_goes = self.collection.plan.blobs.binary_search_by(|blob| blob.digest.cmp(&digest)).is_ok();
        // Asked about in one repository, it goes there even if others need the blob.
        let here = match (&tag, place) {
            (Some(tag), _) => tag.goes,
            (None, Some(place)) => self.revision_goes(place, id),
            (None, None) => None,
        };
        let (state, reason) = match here.or(blob_goes.then_some(Reason::Unreferenced)) {
            Some(reason) => (State::Garbage, Some(reason)),
            None if looked.is_none() => (State::Missing, None),
            None if chains.count > 0 => (State::Needed, None),
            None => (State::Kept, None),
        };
        let kept = (state == State::Kept).then(|| self.why_kept(id, looked.as_ref()));
        let describer = Describer::new(self);
        let wants_traces = chains.count == 0 || state == State::Garbage;
        let (traces, has_all_traces) =
            if wants_traces { self.traces(chains.ancestry(), &describer) } else { (Vec::new(), true) };
        let mut what = describer.what(chains.ancestry());
        if what.kind == "blob" {
            // What is left of the images that it belonged to knows best.
            let part = traces.iter().find_map(|trace| trace.part.clone());
            what = part.map_or_else(|| describer.unknown(&digest), What::in_general);
        }
        Answer {
            linked_in: self.linked_in(id),
            goes: self.goes(&digest),
            digest: Some(digest),
            what,
            bytes,
            written_at,
            problem,
            state,
            reason,
            kept,
            traces,
            has_all_traces,
            chains: Some(chains),
            tag,
            repository,
        }
    }

    /// What a tag points at.
    fn target_of(&self, repository: usize, tag: usize) -> Option<DigestId> {
        match self.collection.inventory.repositories[repository].tags[tag].current {
            LinkState::Target(target) => Some(target),
            _ => None,
        }
    }

    fn tag_answer(&self, place: usize, tag: usize) -> TagAnswer {
        let (repository, marked) =
            (&self.collection.inventory.repositories[place], &self.collection.marking.repositories[place]);
        let seen = &repository.tags[tag];
        let verdict = marked.verdicts.get(tag);
        let rules = self.policy.retention.as_ref();
        let explained = verdict.zip(rules).map(|(verdict, rules)| rules.explain(verdict.rule, verdict.because));
        let rule = verdict.and_then(|it| it.rule).zip(rules).and_then(|(rule, rules)| rules.rules.get(rule));
        let plan = self.collection.plan.repository(&repository.name);
        // Of the plan, not of the marking: what a brake stops does not go.
        let goes = plan.and_then(|plan| plan.tags.iter().find(|(name, _)| *name.as_str() == *seen.name));
        TagAnswer {
            repository: repository.name.clone(),
            name: (*seen.name).into(),
            pushed_at: seen.stamp.and_then(|stamp| Timestamp::from_second(stamp.modified()).ok()),
            goes: goes.map(|(_, reason)| *reason),
            rule: rule.map(|rule| rule.name.to_string()),
            explanation: explained,
        }
    }

    /// Why the plan lets this revision go, if it does.
    fn revision_goes(&self, place: usize, id: DigestId) -> Option<Reason> {
        let plan = self.collection.plan.repository(self.repository_name(place))?;
        let digest = self.digest(id);
        let found = plan.revisions.binary_search_by(|(revision, _)| revision.cmp(&digest)).ok()?;
        Some(plan.revisions[found].1)
    }

    /// Everything of the plan that names this digest.
    fn goes(&self, digest: &Digest) -> Vec<Action<'_>> {
        self.collection.plan.actions().filter(|action| action.digest == Some(digest)).collect()
    }

    fn linked_in(&self, id: DigestId) -> u64 {
        let repositories = self.collection.inventory.repositories.iter();
        let is_linked = repositories.filter(|repository| {
            let has_revision = repository.has_revision_link(id);
            has_revision || repository.has_layer_link(id)
        });
        is_linked.count() as u64
    }

    /// Its blob, looked at; `None` if there is none. One that is not in the table may have been pushed since that was
    /// made, or lie in a folder that could not be listed.
    fn look_at(&self, id: DigestId) -> Option<LookedAt> {
        let digests = &self.collection.inventory.digests;
        if digests.is_blob(id) {
            let looked = digests.blobs().look_at(self.registry, &[id], &Meter::new());
            return looked.into_iter().next().map(|(_, looked)| looked);
        }
        match self.registry.v2().stamp_of(blob_dir(&self.digest(id)).join(DATA)) {
            Ok(None) => None,
            Ok(Some(_)) => Some(LookedAt::Odd("it was not there when the blobs were listed".to_owned())),
            Err(unreadable) => {
                Some(LookedAt::Unreadable { path: unreadable.path.clone(), why: unreadable.cause.to_string() })
            }
        }
    }

    fn why_kept(&self, id: DigestId, looked: Option<&LookedAt>) -> Kept {
        if self.collection.brake.is_some() {
            return Kept::Refused;
        }
        match looked {
            Some(LookedAt::Sized(sized)) => {
                let is_young = self.young_since.is_some_and(|since| since.includes(sized.modified));
                let is_live = self.collection.marking.is_live(id);
                if is_young || self.young_since.is_some() && is_live {
                    Kept::Young
                } else if is_live {
                    Kept::Linked
                } else {
                    Kept::Irremovable
                }
            }
            _ => Kept::Irremovable,
        }
    }
}
