//! No second opinion: on random registries, what the plan of a `gc` names is garbage for `why`, with the same reason;
//! everything else has a chain; and each step of each chain is in the bytes of a manifest or of a link.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use regsweep::collect;
use regsweep::digest::Digest;
use regsweep::finding::Findings;
use regsweep::inventory::{DigestId, LinkState};
use regsweep::plan::{ActionKind, Reason, Scope as PlanScope};
use regsweep::policy::retention::{Effect, Keep, Rule};
use regsweep::policy::{Policy, Retention, TagPattern};
use regsweep::progress::Unwatched;
use regsweep::registry::Registry;
use regsweep::why::{Answer, Chain, Edge, Found, Knowledge, RootKind, State};

use crate::built::Built;
use crate::support::tree::Tree;
use crate::world::{Scope, TAGS, World, worlds};

/// How many random registries by default; `REGSWEEP_ORACLE_CASES` says another number.
const REGISTRIES: u32 = 60;

/// A rule about the pool's tags that keeps those that are not to go.
fn rules(world: &World) -> Retention {
    let staying: Vec<&str> = TAGS.into_iter().zip(world.going).filter(|(_, goes)| !goes).map(|(tag, _)| tag).collect();
    let pattern = if staying.is_empty() { "none".to_owned() } else { staying.join("|") };
    let keep = Keep { tags: vec![TagPattern::parse(&pattern).unwrap()], ..Keep::default() };
    let mut rule = Rule::new("staying", Effect::Keep(keep));
    rule.tags = vec![TagPattern::parse(&TAGS.join("|")).unwrap()];
    Retention { rules: vec![rule], floor: 0 }
}

/// What was seen, so that a test that sees nothing fails.
#[derive(Debug, Default)]
struct Seen {
    garbage: u64,
    needed: u64,
    going_revisions: u64,
    going_tags: u64,
    chains: u64,
    subjects: u64,
    layer_links: u64,
    tainted: u64,
    missing: u64,
}

struct Check<'a> {
    tree: &'a Tree,
    knowledge: &'a Knowledge<'a>,
    seen: &'a mut Seen,
}

impl Check<'_> {
    fn all(&mut self) -> Result<(), String> {
        let collection = &self.knowledge.collection;
        let digests = &collection.inventory.digests;
        for id in digests.blobs().ids() {
            self.digest(id)?;
        }
        for (place, repository) in collection.inventory.repositories.iter().enumerate() {
            for revision in &repository.revisions {
                self.revision(place, revision.id)?;
            }
            for &link in repository.layer_links.iter().filter(|link| !digests.is_blob(**link)) {
                self.digest(link)?;
            }
            for tag in 0..repository.tags.len() {
                self.tag(place, tag)?;
            }
        }
        Ok(())
    }

    fn digest(&mut self, id: DigestId) -> Result<(), String> {
        let collection = &self.knowledge.collection;
        let digest = self.knowledge.digest(id);
        let planned = collection.plan.actions().find(|it| it.kind == ActionKind::Blob && it.digest == Some(&digest));
        let is_blob = collection.inventory.digests.is_blob(id);
        let answer = self.knowledge.answer(&Found::Digest(id));
        let count = self.chains(&answer)?;
        match (&planned, answer.state) {
            (Some(action), State::Garbage) if answer.reason == Some(action.reason) && count == 0 => {
                self.seen.garbage += 1;
            }
            (None, State::Needed) if count > 0 && is_blob => self.seen.needed += 1,
            (None, State::Missing) if !is_blob => self.seen.missing += 1,
            // Nothing goes from a registry whose links cannot be listed.
            (None, State::Kept) if collection.brake.is_some() => {}
            (planned, state) => {
                return Err(format!("{digest}: the plan says {planned:?}, why says {state:?} with {count} chains"));
            }
        }
        Ok(())
    }

    fn revision(&mut self, place: usize, id: DigestId) -> Result<(), String> {
        let collection = &self.knowledge.collection;
        let repository = &collection.inventory.repositories[place];
        let digest = self.knowledge.digest(id);
        let planned = collection.plan.repository(&repository.name).and_then(|plan| {
            let found = plan.revisions.iter().find(|(revision, _)| *revision == digest);
            found.map(|(_, reason)| *reason)
        });
        let answer = self.knowledge.answer(&Found::Manifest(place, id));
        let wrong = |what: &str| Err(format!("{}@{digest}: {what}: {:?} {planned:?}", repository.name, answer.state));
        if let Some(reason) = planned {
            self.seen.going_revisions += 1;
            let is_same = answer.state == State::Garbage && answer.reason == Some(reason);
            return if is_same { Ok(()) } else { wrong("it goes") };
        }
        if answer.state == State::Garbage && answer.reason != Some(Reason::Unreferenced) {
            return wrong("it does not go");
        }
        let has_link = repository.revision(id).unwrap().link != LinkState::Absent;
        let leads_here = |chain: &Chain<'_>| chain.root.repository == Some(place);
        if has_link && collection.brake.is_none() && self.count(&answer, leads_here) == 0 {
            return wrong("nothing in its repository leads to it");
        }
        Ok(())
    }

    fn tag(&mut self, place: usize, tag: usize) -> Result<(), String> {
        let repository = &self.knowledge.collection.inventory.repositories[place];
        let name = &*repository.tags[tag].name;
        let plan = self.knowledge.collection.plan.repository(&repository.name);
        let planned = plan.and_then(|plan| plan.tags.iter().find(|(going, _)| going.as_str() == name));
        let planned = planned.map(|(_, reason)| *reason);
        let answer = self.knowledge.answer(&Found::Tag(place, tag));
        let wrong = |what: &str| Err(format!("{}:{name}: {what}: {:?} {planned:?}", repository.name, answer.tag));
        if answer.tag.as_ref().unwrap().goes != planned || planned.is_some() != (answer.state == State::Garbage) {
            // Its image may be garbage for other reasons only where a brake has emptied the plan.
            return wrong("the plan says otherwise");
        }
        self.seen.going_tags += u64::from(planned.is_some());
        let begins_here = |chain: &Chain<'_>| chain.root.repository == Some(place) && chain.root.tags.contains(&tag);
        let begins = self.count(&answer, begins_here);
        match (&repository.tags[tag].current, planned, &self.knowledge.collection.brake) {
            (LinkState::Target(_), None, None) if begins == 0 => wrong("it stays, and no chain begins there"),
            (_, Some(_), _) if begins > 0 => wrong("it goes, and a chain begins there"),
            _ => Ok(()),
        }
    }

    fn count(&self, answer: &Answer<'_>, counts: impl Fn(&Chain<'_>) -> bool) -> u64 {
        let mut count = 0;
        if let Some(chains) = &answer.chains {
            let ended = chains.each(&mut |chain| {
                count += u64::from(counts(&chain));
                ControlFlow::Continue(())
            });
            assert!(ended.is_continue());
        }
        count
    }

    /// Every chain, step by step, against the bytes on the disk; they come shortest first, and as many as were counted.
    fn chains(&mut self, answer: &Answer<'_>) -> Result<u64, String> {
        let chains = answer.chains.as_ref().unwrap();
        let (mut count, mut before, mut wrong) = (0, 0, None);
        let ended = chains.each(&mut |chain: Chain<'_>| {
            count += 1;
            if chain.steps.len() < before {
                wrong = Some("a shorter chain comes after a longer one".to_owned());
            }
            before = chain.steps.len();
            if let Err(why) = self.chain(chain, answer.digest.as_ref().unwrap()) {
                wrong = Some(why);
            }
            if wrong.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Some(why) = wrong {
            return Err(format!("{}: {why}", answer.digest.as_ref().unwrap()));
        }
        assert!(ended.is_continue());
        self.seen.chains += count;
        if count == chains.count {
            Ok(count)
        } else {
            Err(format!("{count} chains, and {} were counted", chains.count))
        }
    }

    fn chain(&mut self, chain: Chain<'_>, asked: &Digest) -> Result<(), String> {
        let root = chain.root;
        let repository = root.repository.map(|place| self.knowledge.repository_name(place).to_owned()).unwrap();
        let folder = self.tree.repository(&repository);
        let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let first = self.knowledge.digest(root.target).to_string();
        for &tag in &root.tags {
            let name = self.knowledge.tag_name(root.repository.unwrap(), tag);
            let is_there = match root.kind {
                RootKind::Tag => text(&folder.current(name)) == first,
                _ => folder.history(name, &first).exists(),
            };
            if !is_there {
                return Err(format!("{repository}:{name} does not point at {first}"));
            }
        }
        self.seen.tainted += u64::from(root.kind == RootKind::Tainted);
        let is_linked = folder.revision(&first).exists() || folder.layer(&first).exists();
        if root.tags.is_empty() && !is_linked && root.kind != RootKind::Tainted {
            return Err(format!("{repository} has no link for {first}"));
        }
        let mut from = first;
        for (number, &(id, edge)) in chain.steps.iter().enumerate() {
            let to = self.knowledge.digest(id).to_string();
            let bytes = |digest: &str| text(&self.tree.data(digest));
            let holds = match edge {
                Edge::Root => number == 0 && from == to,
                Edge::Reference => bytes(&from).contains(&to),
                Edge::Subject => {
                    self.seen.subjects += 1;
                    let linked = text(&folder.revision(&to).join("link"));
                    [&to, &linked].iter().any(|of| {
                        let manifest: serde_json::Value = serde_json::from_str(&bytes(of)).unwrap_or_default();
                        manifest["subject"]["digest"] == *from
                    })
                }
                Edge::RevisionLink => text(&folder.revision(&from).join("link")) == to,
                Edge::LayerLink => {
                    self.seen.layer_links += 1;
                    text(&folder.layer(&from).join("link")) == to
                }
                Edge::Signature => false,
            };
            if !holds {
                return Err(format!("in {repository}, {edge:?} from {from} to {to} is nowhere on the disk"));
            }
            from = to;
        }
        if from == asked.to_string() { Ok(()) } else { Err(format!("a chain ends at {from}")) }
    }
}

#[test]
fn why_says_what_gc_does() {
    let cases = std::env::var("REGSWEEP_ORACLE_CASES").map_or(REGISTRIES, |cases| cases.parse().unwrap());
    let config = Config { cases, failure_persistence: None, max_shrink_time: 60_000, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let seen = std::cell::RefCell::new(Seen::default());
    let result = TestRunner::new_with_rng(config, rng).run(&worlds(Scope::Everything), |world| {
        let built = Built::new(&world);
        let registry = Registry::open(&built.tree.root()).unwrap();
        for (delete_untagged, retention) in
            [(false, None), (true, None), (false, Some(rules(&world))), (true, Some(rules(&world)))]
        {
            let with_rules = retention.is_some();
            let policy = Policy { delete_untagged, retention, ..Policy::default() };
            let options = collect::Options {
                policy: &policy,
                uploads_older_than: collect::UPLOADS_OLDER_THAN,
                remove_empty_repositories: false,
                young_since: None,
                max_delete: None,
                last_repositories: None,
                scope: PlanScope::Everything,
                now: Timestamp::now().as_second(),
            };
            let knowledge = Knowledge::of(&registry, options, &Findings::default(), &Unwatched).unwrap();
            let mut seen = seen.borrow_mut();
            let checked = Check { tree: &built.tree, knowledge: &knowledge, seen: &mut seen }.all();
            if let Err(why) = checked {
                let why = built.explain(&why);
                return Err(TestCaseError::fail(format!("-m {delete_untagged}, rules {with_rules}: {why}")));
            }
        }
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, world)) => panic!("{why}\n\nThe smallest registry:\n{world}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    let seen = seen.into_inner();
    println!("why: {seen:?} in {cases} random registries, four times each");
    let Seen { garbage, needed, going_revisions, going_tags, chains, subjects, layer_links, tainted, missing } = seen;
    for (count, what) in [
        (garbage, "garbage"),
        (needed, "needed blobs"),
        (going_revisions, "revisions that go"),
        (going_tags, "tags that go"),
        (chains, "chains"),
        (subjects, "subjects"),
        (layer_links, "layer links by other names"),
        (tainted, "tainted repositories"),
        (missing, "missing blobs"),
    ] {
        assert!(cases < REGISTRIES || count > 0, "no registry has {what}");
    }
}
