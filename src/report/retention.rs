//! What retention rules decided, tag by tag.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::digest::Digest;
use crate::inventory::{Inventory, LinkState};
use crate::mark::Marking;
use crate::plan::Reason;
use crate::policy::{Because, Retention, TagVerdict};

/// What retention rules decided.
#[derive(Debug, Serialize)]
pub struct RetentionReport<'a> {
    /// The file that the rules come from; `null` if they were given as options.
    pub policy: Option<String>,
    /// How many tags each rule kept and let go, in the order of the rules; at the end, under `null`, those that no rule
    /// decided about.
    pub rules: Vec<RuleReport>,
    /// Every tag, sorted by repository and name.
    pub tags: Decisions<'a>,
}

/// How many tags a rule decided about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// Its name; `null` for what no rule decided.
    pub name: Option<String>,
    /// Tags that stay because of it.
    pub kept: u64,
    /// Tags that go because of it.
    pub let_go: u64,
    /// Of those that stay, how many have no place of their own: others stay that were pushed in the same second.
    pub kept_as_tied: u64,
}

/// What was decided about each tag. Made one by one: a list of them all would take more memory than the tags.
#[derive(Clone, Copy, Debug)]
pub struct Decisions<'a> {
    inventory: &'a Inventory,
    marking: &'a Marking,
    retention: &'a Retention,
}

/// What was decided about a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagReport<'a> {
    /// Its repository.
    pub repository: &'a str,
    /// Its name.
    pub tag: &'a str,
    /// What it points at; `null` if nobody knows.
    pub digest: Option<Digest>,
    /// When it was pushed (mtime of its current link), RFC 3339; `null` if nobody knows.
    pub pushed_at: Option<String>,
    /// Why it goes; `null` if it stays.
    pub goes: Option<Reason>,
    /// The rule that decided; `null` if none did.
    pub rule: Option<&'a str>,
    /// What decided, as one word.
    pub because: Because,
    /// The same for a person.
    pub explanation: String,
}

impl<'a> RetentionReport<'a> {
    /// Sums up what was decided. `policy` is the file that the rules come from.
    pub fn new(
        policy: Option<String>,
        retention: &'a Retention,
        inventory: &'a Inventory,
        marking: &'a Marking,
    ) -> RetentionReport<'a> {
        let mut counts: BTreeMap<usize, [u64; 3]> = BTreeMap::new();
        // What no rule decided comes last.
        let nobody = retention.rules.len();
        for TagVerdict { goes, rule, is_tied, .. } in marking.repositories.iter().flat_map(|marked| &marked.verdicts) {
            let [kept, let_go, tied] = counts.entry(rule.unwrap_or(nobody)).or_default();
            *(if goes.is_some() { let_go } else { kept }) += 1;
            *tied += u64::from(*is_tied);
        }
        let of = |place: usize, name: Option<String>| {
            let [kept, let_go, kept_as_tied] = counts.get(&place).copied().unwrap_or_default();
            RuleReport { name, kept, let_go, kept_as_tied }
        };
        let mut rules: Vec<RuleReport> =
            retention.rules.iter().enumerate().map(|(place, rule)| of(place, Some(rule.name.to_string()))).collect();
        rules.push(of(nobody, None));
        RetentionReport { policy, rules, tags: Decisions { inventory, marking, retention } }
    }
}

impl<'a> Decisions<'a> {
    /// One by one, sorted by repository and name.
    pub fn iter(self) -> impl Iterator<Item = TagReport<'a>> {
        let Decisions { inventory, marking, retention } = self;
        let seen = inventory.repositories.iter().zip(&marking.repositories);
        seen.flat_map(move |(repository, marked)| {
            repository.tags.iter().zip(&marked.verdicts).map(move |(tag, verdict)| {
                let pushed_at = tag.stamp.and_then(|stamp| Timestamp::from_second(stamp.modified()).ok());
                TagReport {
                    repository: &repository.name,
                    tag: &tag.name,
                    digest: match tag.current {
                        LinkState::Target(target) => Some(inventory.digests.digest(target)),
                        _ => None,
                    },
                    pushed_at: pushed_at.map(|at| at.to_string()),
                    goes: verdict.goes.map(Reason::from),
                    rule: verdict.rule.and_then(|rule| retention.rules.get(rule)).map(|rule| &*rule.name),
                    because: verdict.because,
                    explanation: explanation(retention, verdict),
                }
            })
        })
    }
}

fn explanation(retention: &Retention, verdict: &TagVerdict) -> String {
    let explained = retention.explain(verdict.rule, verdict.because);
    if verdict.is_tied { format!("{explained}, pushed in the same second") } else { explained }
}

impl Serialize for Decisions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}
