//! Which tags of a repository are roots, and what goes with those that are not.
//!
//! # Referrers
//!
//! A tag whose name is made from a digest belongs to the manifest of that digest (see [`ReferrerTag`]). No rule counts
//! it. It stays while its subject is live, wherever that is in an image: so such tags are followed like the `subject`
//! of an untagged manifest, until nothing new turns up. What is left then goes with a subject that goes in this run,
//! and stays where its subject was gone before, unless it was asked for otherwise: a signature may lie in another
//! repository than its image, and its absence here says little.
//!
//! # What is let go
//!
//! The manifest that a tag led to goes with it, and its children, and what refers to them; but only as far as nothing
//! that stays leads there. A revision that no tag led to before is not concerned.
//!
//! # In doubt
//!
//! A tag that cannot be pulled (its manifest is missing or damaged, its links cannot be understood) is no tag that a
//! rule may count, and none that it may let go: it stays, and taints as it always does. Only a tag that somebody named
//! goes then; what it led to stays for as long as the repository is tainted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use super::Pushes;
use super::walk::Walk;
use crate::digest::Algorithm;
use crate::finding::{FindingKind, Severity};
use crate::inventory::{DigestId, LinkState, Tag};
use crate::manifest::Loaded;
use crate::policy::retention::{Candidate, Verdict};
use crate::policy::{Agreement, Because, Cause, ReferrerTag, Subject, TagFate, TagVerdict, judge};

/// The tags of a repository, while it is decided about them.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Tags that go, by their place.
    pub(super) tags_gone: Vec<(usize, Cause)>,
    /// What was decided about each tag; empty where nobody asks.
    pub(super) verdicts: Vec<TagVerdict>,
    /// Tags that belong to another manifest.
    followers: Vec<Follower>,
    /// Revisions with long digests by the beginnings that a tag's name has room for; made when it is first asked for.
    beginnings: Option<HashMap<(Algorithm, Box<str>), DigestId>>,
    /// Manifests that are let go, first of all.
    seeds: Vec<(DigestId, Cause)>,
    /// What tags pointed at before and should stay.
    former: Vec<DigestId>,
    /// What tags pointed at before and should not stay.
    expired_history: Vec<DigestId>,
    /// What tags pointed at before of which no rule says anything.
    untouched: HashSet<DigestId>,
    pub(super) subjects_gone: Vec<DigestId>,
    pub(super) judged_by_time: Pushes,
    pub(super) tags_of_the_future: usize,
}

/// A tag that belongs to another manifest.
#[derive(Clone, Copy, Debug)]
struct Follower {
    place: usize,
    target: DigestId,
    /// `None` where only a part of the digest is known, and nothing here begins with it.
    subject: Option<DigestId>,
}

/// A tag that the rules judge.
struct Judged<'a> {
    place: usize,
    target: DigestId,
    candidate: Candidate<'a>,
}

impl Names {
    fn decide(&mut self, place: usize, verdict: TagVerdict) {
        if let Some(decided) = self.verdicts.get_mut(place) {
            *decided = verdict;
        }
    }

    fn stays(&mut self, place: usize, because: Because) {
        self.decide(place, TagVerdict { goes: None, rule: None, because, is_tied: false });
    }

    fn goes(&mut self, place: usize, cause: Cause, because: Because) {
        self.tags_gone.push((place, cause));
        self.decide(place, TagVerdict { goes: Some(cause), rule: None, because, is_tied: false });
    }

    /// The tags that somebody named, by their place.
    pub(super) fn named(&self) -> HashSet<usize> {
        self.tags_gone.iter().filter(|(_, cause)| *cause == Cause::Named).map(|(place, _)| *place).collect()
    }

    /// Whether a rule lets any tag go.
    pub(super) fn lets_tags_expire(&self) -> bool {
        self.tags_gone.iter().any(|(_, cause)| *cause == Cause::Expired)
    }

    /// The end of it. Where nobody knows what is needed, only what was named by somebody goes.
    pub(super) fn decided(mut self, is_tainted: bool) -> Names {
        if is_tainted {
            self.tags_gone.retain(|(_, cause)| *cause == Cause::Named);
            for verdict in self.verdicts.iter_mut().filter(|verdict| verdict.goes.is_some_and(|it| it != Cause::Named))
            {
                *verdict = TagVerdict { goes: None, rule: None, because: Because::Tainted, is_tied: false };
            }
        }
        self.tags_gone.sort_unstable();
        self.subjects_gone.sort_unstable();
        self.subjects_gone.dedup();
        self
    }
}

impl<'a> Walk<'a> {
    /// Whether tags or untagged manifests may go here. Where nothing can be removed, nothing is let go.
    pub(super) fn names_may_go(&self) -> bool {
        !self.pass.is_cautious && self.wishes.policy.lets_names_go() && self.repository.removable.is_some()
    }

    /// Whether the whole repository was named to go.
    pub(super) fn is_named_whole(&self) -> bool {
        self.names_may_go() && self.wishes.removal.names_repository(&self.repository.name)
    }

    /// Judges the tags, and makes roots of what they keep.
    pub(super) fn tags(&mut self) -> Names {
        let repository = self.repository;
        let policy = self.wishes.policy;
        let mut names = Names::default();
        if policy.retention.is_some() {
            let because = match repository.removable {
                None => Because::Irremovable,
                Some(_) if self.pass.is_cautious => Because::Tainted,
                Some(_) => Because::NoRule,
            };
            let verdict = TagVerdict { goes: None, rule: None, because, is_tied: false };
            names.verdicts = vec![verdict; repository.tags.len()];
        }
        let mut judged = Vec::new();
        for (place, tag) in repository.tags.iter().enumerate() {
            if self.was_named(tag) {
                if let LinkState::Target(target) = tag.current {
                    names.seeds.push((target, Cause::Named));
                }
                names.goes(place, Cause::Named, Because::Named);
                continue;
            }
            if self.names_may_go() && self.wishes.evicted.has_tag(&repository.name, place) {
                if let LinkState::Target(target) = tag.current {
                    names.seeds.push((target, Cause::Evicted));
                }
                names.goes(place, Cause::Evicted, Because::Evicted);
                continue;
            }
            // Made where there is something to say; there mostly is not.
            let path = || repository.tag_folder(&tag.name);
            let name = || format!("{}:{}", repository.name, tag.name);
            match judge(repository, tag, self.digests) {
                TagFate::Root(target) => {
                    if !self.names_may_go() || !self.may_go(&mut names, &mut judged, place, target) {
                        self.tag_root(target, name, path);
                    }
                }
                TagFate::Deleted(id) if !self.is_protected(tag, id) => {
                    names.goes(place, Cause::ByHand, Because::ByHand);
                }
                TagFate::Dangling(id) if self.may_drop(tag, id) => {
                    names.goes(place, Cause::Dangling, Because::Dangling);
                }
                TagFate::Dangling(id) | TagFate::Deleted(id) => {
                    let message = format!(
                        "{} points at {}, whose revision link is gone: it cannot be pulled. Its image is kept; push it \
                         again, or let it go with --drop-dangling-tags",
                        name(),
                        self.digests.digest(id)
                    );
                    self.find(Severity::Warning, FindingKind::DanglingTag, path(), message);
                    self.tag_root(id, name, path);
                    names.stays(place, Because::Damaged);
                }
                TagFate::History(ids, why) => {
                    let kept = match ids.len() {
                        1 => "the one image that it ever pointed at is kept".to_owned(),
                        count => format!("all {count} images that it ever pointed at are kept"),
                    };
                    let message = format!("the current link of {} cannot be used ({why}); {kept}", name());
                    self.find(Severity::Error, FindingKind::DamagedLink, path(), message);
                    ids.into_iter().for_each(|id| self.root(id));
                    names.stays(place, Because::Damaged);
                }
                TagFate::Unknown(why) => {
                    let message = format!("neither the current link of {} nor its history can be used ({why})", name());
                    self.find(Severity::Error, FindingKind::DamagedLink, path(), message.clone());
                    self.taints.push(message);
                    names.stays(place, Because::Damaged);
                }
                TagFate::NoTarget(ids) => {
                    let message = format!("{} has no current link, as a push leaves it that was cut off; kept", name());
                    self.find(Severity::Warning, FindingKind::TagWithoutTarget, path(), message);
                    ids.into_iter().for_each(|id| self.root(id));
                    names.stays(place, Because::Damaged);
                }
            }
        }
        if self.names_may_go() {
            let named = self.wishes.removal.manifests_of(&repository.name).map(|digest| self.digests.id(digest));
            names.seeds.extend(named.map(|id| (id, Cause::Named)));
            let evicted = self.wishes.evicted.manifests(&repository.name);
            names.seeds.extend(evicted.map(|id| (id, Cause::Evicted)));
            self.judge(&mut names, &judged);
        }
        names
    }

    fn was_named(&self, tag: &Tag) -> bool {
        let removal = &self.wishes.removal;
        if removal.is_empty() || self.repository.removable.is_none() || tag.removable.is_none() {
            return false;
        }
        // While nobody knows what else is needed, what stands in a plan by its own name may still go.
        if removal.names_tag(&self.repository.name, &tag.name) {
            return true;
        }
        let LinkState::Target(target) = tag.current else { return false };
        let target = self.digests.digest(target);
        removal.manifests_of(&self.repository.name).any(|digest| *digest == target)
    }

    fn may_drop(&self, tag: &Tag, target: DigestId) -> bool {
        // An index that cannot be listed says that something is wrong here, and nobody knows what.
        self.names_may_go()
            && self.wishes.policy.drop_dangling_tags
            && tag.removable.is_some()
            && tag.history.is_ok()
            && !self.is_young(tag)
            && !self.is_protected(tag, target)
    }

    /// Whether it was pushed so late that it may not go; nobody knows of one whose time cannot be read.
    fn is_young(&self, tag: &Tag) -> bool {
        self.wishes.young_since.is_some_and(|since| tag.stamp.is_none_or(|stamp| stamp.modified() > since))
    }

    /// Whether a tag that is whole may be let go; then it is noted for whoever decides. Otherwise it is a root.
    fn may_go(&mut self, names: &mut Names, judged: &mut Vec<Judged<'a>>, place: usize, target: DigestId) -> bool {
        let tag: &'a Tag = &self.repository.tags[place];
        let link = self.repository.revision(target).map(|revision| &revision.link);
        let can_be_pulled = link == Some(&LinkState::Target(target)) && self.store.manifest(target).is_some();
        let Some(stamp) = tag.stamp.filter(|_| can_be_pulled) else {
            names.stays(place, Because::Damaged);
            return false;
        };
        if tag.removable.is_none() {
            names.stays(place, Because::Irremovable);
            return false;
        }
        let pushed = stamp.modified();
        let held = if self.is_protected(tag, target) {
            Some(Because::Protected)
        } else if self.is_young(tag) {
            Some(Because::MinAge)
        } else {
            None
        };
        let referrer = ReferrerTag::parse(&tag.name);
        let agreement = referrer.as_ref().map(|it| it.agreement(target, self.digests, self.store));
        if agreement == Some(Agreement::Unknown) {
            names.stays(place, Because::Damaged);
            return false;
        }
        if let Some(referrer) = referrer.filter(|_| agreement == Some(Agreement::Yes)) {
            if let Some(because) = held {
                names.stays(place, because);
                return false;
            }
            let subject = self.find_subject(names, &referrer.subject);
            names.followers.push(Follower { place, target, subject });
            if let Some(subject) = subject {
                self.referrers.entry(subject).or_default().push(target);
            }
            return true;
        }
        if self.wishes.policy.retention.is_none() {
            if let Some(because) = held {
                names.stays(place, because);
            }
            return false;
        }
        judged.push(Judged { place, target, candidate: Candidate { name: &tag.name, pushed, held } });
        true
    }

    /// The digest that a tag's name means. Where it has only the beginning of one, that of a revision here.
    fn find_subject(&self, names: &mut Names, subject: &Subject) -> Option<DigestId> {
        match subject {
            Subject::Whole(digest) => Some(self.digests.id(digest)),
            Subject::Cut(algorithm, start) => {
                let beginnings = names.beginnings.get_or_insert_with(|| {
                    let digests = self.repository.revisions.iter().map(|revision| revision.id);
                    digests.filter_map(|id| Some((Subject::beginning_of(&self.digests.digest(id))?, id))).collect()
                });
                beginnings.get(&(*algorithm, start.clone())).copied()
            }
        }
    }

    /// Lets the rules decide, and makes roots of what they keep.
    fn judge(&mut self, names: &mut Names, judged: &[Judged<'_>]) {
        let Some(retention) = &self.wishes.policy.retention else { return };
        let repository = self.repository;
        let candidates: Vec<Candidate<'_>> = judged.iter().map(|judged| judged.candidate).collect();
        let verdicts = retention.judge(&repository.name, &candidates, self.wishes.now);
        let decided = retention.times_that_decided(&repository.name, &candidates, &verdicts);
        names.judged_by_time = Pushes::of(decided.into_iter());
        names.tags_of_the_future = verdicts.iter().filter(|verdict| verdict.because == Because::Future).count();
        let has_history = retention.has_history(&repository.name);
        for (Judged { place, target, candidate }, verdict) in judged.iter().zip(&verdicts) {
            let goes = verdict.goes.then_some(Cause::Expired);
            let Verdict { rule, because, is_tied, .. } = *verdict;
            names.decide(*place, TagVerdict { goes, rule, because, is_tied });
            if verdict.goes {
                names.tags_gone.push((*place, Cause::Expired));
                names.seeds.push((*target, Cause::Expired));
            } else {
                // Its manifest is there: that is why it was judged.
                self.root(*target);
            }
            if has_history {
                let tag = &repository.tags[*place];
                self.judge_history(names, tag, *target, candidate.pushed, !verdict.goes);
            }
        }
    }

    /// Lets the rules decide about what a tag pointed at before. With a tag that goes, all of that goes.
    fn judge_history(&mut self, names: &mut Names, tag: &Tag, current: DigestId, pushed: i64, stays: bool) {
        let Some(retention) = &self.wishes.policy.retention else { return };
        let repository = self.repository;
        let can_be_pulled = |id: DigestId| {
            repository.revision(id).is_some_and(|revision| matches!(revision.link, LinkState::Target(_)))
        };
        let is_governed = retention.history(&repository.name, &tag.name, &[], pushed, self.wishes.now).is_some();
        if !is_governed {
            names.untouched.extend(tag.history.iter().flatten());
            return;
        }
        let history = match &tag.history {
            Ok(history) => history.iter().copied(),
            // Some of it may have to stay, and nobody knows what it is.
            Err(why) => {
                self.taints
                    .push(format!("what {}:{} pointed at before cannot be listed: {why}", repository.name, tag.name));
                return;
            }
        };
        let former: Vec<DigestId> = history.filter(|&id| id != current && can_be_pulled(id)).collect();
        if former.is_empty() {
            return;
        }
        let timed: Vec<(DigestId, Option<i64>)> = former
            .iter()
            .map(|&id| match self.links.pointed_at(repository, tag, &self.digests.digest(id)) {
                Ok(at) => (id, at),
                Err(why) => {
                    let path = repository.tag_folder(&tag.name);
                    let message =
                        format!("nobody knows when {}:{} pointed there ({why}); kept", repository.name, tag.name);
                    self.find(Severity::Warning, FindingKind::Unreadable, path, message);
                    (id, None)
                }
            })
            .collect();
        let kept = retention.history(&repository.name, &tag.name, &timed, pushed, self.wishes.now);
        let Some(mut kept) = kept else { return };
        kept.retain(|_| stays);
        let kept: HashSet<DigestId> = kept.into_iter().collect();
        names.expired_history.extend(former.iter().filter(|id| !kept.contains(id)));
        names.former.extend(kept);
    }

    /// What goes with the tags that go: no tag that stays leads to any of it. Some of it may turn out to be needed.
    pub(super) fn let_go(&mut self, names: &mut Names) -> HashMap<DigestId, Cause> {
        if !self.names_may_go() {
            return HashMap::new();
        }
        std::mem::take(&mut names.former).into_iter().for_each(|id| self.root(id));
        self.expand();
        let mut seeds: BTreeMap<Cause, Vec<DigestId>> = BTreeMap::new();
        if self.is_named_whole() {
            seeds.insert(Cause::Named, self.repository.revisions.iter().map(|revision| revision.id).collect());
        }
        let pruned = self.pass.pruned;
        let is_pruned = |follower: &Follower| follower.subject.is_some_and(|subject| pruned.contains(&subject));
        let pruned: Vec<Follower> = names.followers.extract_if(.., |follower| is_pruned(follower)).collect();
        for Follower { place, target, .. } in pruned {
            names.goes(place, Cause::Dangling, Because::SubjectGone);
            names.seeds.push((target, Cause::Dangling));
        }
        let expired = names.expired_history.iter().filter(|former| !names.untouched.contains(former));
        names.seeds.extend(expired.map(|&former| (former, Cause::Expired)));
        for &(id, cause) in &names.seeds {
            seeds.entry(cause).or_default().push(id);
        }
        let mut let_go = HashMap::new();
        for (cause, mut pending) in seeds {
            while let Some(id) = pending.pop() {
                if self.manifests.contains(&id) || let_go.contains_key(&id) {
                    continue;
                }
                let_go.insert(id, cause);
                if let Some(manifest) = self.store.manifest(id) {
                    pending.extend(manifest.children());
                }
                pending.extend(self.referrers.get(&id).into_iter().flatten());
            }
        }
        let_go
    }

    /// Decides about tags that belong to another manifest, now that it is known which of those are live.
    pub(super) fn settle(&mut self, names: &mut Names, let_go: &HashMap<DigestId, Cause>) {
        let mut open = std::mem::take(&mut names.followers);
        let mut staying = Vec::new();
        loop {
            let is_live = |walk: &Walk<'_>, follower: &Follower| {
                follower.subject.is_some_and(|subject| walk.manifests.contains(&subject))
            };
            for follower in open.extract_if(.., |follower| is_live(self, follower)) {
                names.stays(follower.place, Because::Subject);
                staying.push(follower.target);
            }
            // What stays although its subject is gone may itself be the subject of others.
            let goes = |walk: &Walk<'_>, follower: &Follower| {
                follower.subject.is_some_and(|subject| let_go.contains_key(&subject) || walk.has_link(subject))
            };
            let stay: Vec<Follower> = open.extract_if(.., |follower| !goes(self, follower)).collect();
            if stay.is_empty() {
                break;
            }
            for Follower { place, target, subject } in stay {
                names.stays(place, Because::SubjectGone);
                names.subjects_gone.extend(subject);
                self.root(target);
                staying.push(target);
            }
            self.expand();
        }
        self.expand_as_tagged(staying);
        for Follower { place, subject, .. } in open {
            let cause = subject.and_then(|subject| let_go.get(&subject)).copied().unwrap_or(Cause::Untagged);
            names.goes(place, cause, Because::WithSubject);
        }
    }

    fn has_link(&self, id: DigestId) -> bool {
        self.repository.has_revision_link(id)
    }

    /// Whether it was asked that this tag stays, by its name or by something that it leads to.
    fn is_protected(&self, tag: &Tag, target: DigestId) -> bool {
        self.wishes.held.has_tag(&self.repository.name, &tag.name) || self.leads_to_held(target)
    }

    /// Whether this manifest was named to stay, by its own digest or by that of its config or of a layer: a container
    /// runtime may know an image by its config.
    pub(super) fn is_held(&self, id: DigestId) -> bool {
        let held = &self.wishes.held.digests;
        if held.is_empty() {
            return false;
        }
        held.contains(&id)
            || self.store.manifest(id).is_some_and(|manifest| manifest.blobs().iter().any(|blob| held.contains(blob)))
    }

    fn leads_to_held(&self, id: DigestId) -> bool {
        if self.wishes.held.digests.is_empty() {
            return false;
        }
        let (mut seen, mut pending) = (HashSet::new(), vec![id]);
        while let Some(id) = pending.pop() {
            if self.is_held(id) {
                return true;
            }
            if seen.insert(id)
                && let Some(manifest) = self.store.manifest(id)
            {
                pending.extend(manifest.children());
            }
        }
        false
    }

    fn tag_root(&mut self, id: DigestId, name: impl Fn() -> String, path: impl Fn() -> PathBuf) {
        if matches!(self.store.get(id), Some(Loaded::Missing)) {
            let message = format!("{} cannot be pulled: its manifest {} is missing", name(), self.digests.digest(id));
            self.find(Severity::Error, FindingKind::MissingManifest, path(), message.clone());
            self.taints.push(message);
        }
        self.root(id);
    }
}
