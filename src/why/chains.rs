//! Chains: from a root of a repository, step by step, to the digest.
//!
//! No chain is kept. They are walked once to be counted, and again for each length when somebody wants to see them, so
//! that they come shortest first: a base layer may have a hundred thousand.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use super::Knowledge;
use super::graph::{Ancestry, Edge};
use super::roots::{Root, RootKind};
use crate::inventory::DigestId;

/// How many steps are looked at to count chains: who nests indexes in indexes, each twice, gets more chains than there
/// is time for. A chain has some four, so these are enough for a million.
const MOST_STEPS: u64 = 5_000_000;
/// How many are shown where there are too many to be counted.
const MOST_CHAINS: u64 = 100_000;

/// All chains to a digest.
#[derive(Debug)]
pub struct Chains<'k> {
    knowledge: &'k Knowledge<'k>,
    ancestry: Ancestry,
    roots: Vec<Root>,
    /// How many there are of each length.
    lengths: BTreeMap<usize, u64>,
    /// How many there are.
    pub count: u64,
    /// How many tags they begin at.
    pub tags: u64,
    /// In how many repositories they are.
    pub repositories: u64,
    /// Whether there are more than anybody could count.
    pub is_cut: bool,
}

/// What tells one root from another.
pub type RootKey = (Option<usize>, RootKind, DigestId);

/// One chain.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'c> {
    /// Where it begins.
    pub root: &'c Root,
    /// What follows, the digest itself at last.
    pub steps: &'c [(DigestId, Edge)],
}

impl Chain<'_> {
    /// Where it begins, to be compared.
    pub fn root_key(&self) -> RootKey {
        (self.root.repository, self.root.kind, self.root.target)
    }
}

impl<'k> Chains<'k> {
    pub(super) fn new(knowledge: &'k Knowledge<'k>, target: DigestId) -> Chains<'k> {
        let ancestry = knowledge.ancestry(target);
        let roots = knowledge.roots(&ancestry);
        let mut chains = Chains {
            knowledge,
            ancestry,
            roots,
            lengths: BTreeMap::new(),
            count: 0,
            tags: 0,
            repositories: 0,
            is_cut: false,
        };
        let (mut lengths, mut leading, mut budget) = (BTreeMap::new(), Vec::new(), MOST_STEPS);
        for root in &chains.roots {
            let mut count = 0;
            let ended = chains.walk(root, usize::MAX, &mut budget, &mut |chain: Chain<'_>| {
                *lengths.entry(chain.steps.len()).or_default() += 1;
                count += 1;
                ControlFlow::Continue(())
            });
            chains.is_cut |= ended.is_break();
            if count > 0 {
                leading.push(root);
            }
        }
        chains.tags = leading.iter().map(|root| root.tags.len() as u64).sum();
        chains.repositories = leading.iter().filter_map(|root| root.repository).collect::<HashSet<_>>().len() as u64;
        chains.count = lengths.values().sum();
        chains.lengths = lengths;
        chains
    }

    /// Goes over all of them, the shortest first, then by the names of repositories and tags. Breaks off where the
    /// visitor does; where they could not be counted, some of them are enough.
    pub fn each(&self, visit: &mut dyn FnMut(Chain<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        // Where all of them were counted, each of these walks ends as that one did.
        let (mut budget, mut left) = if self.is_cut { (MOST_STEPS, MOST_CHAINS) } else { (u64::MAX, u64::MAX) };
        for &length in self.lengths.keys() {
            for root in &self.roots {
                let mut has_ended = ControlFlow::Continue(());
                let walked = self.walk(root, length, &mut budget, &mut |chain: Chain<'_>| {
                    if chain.steps.len() < length {
                        return ControlFlow::Continue(());
                    }
                    has_ended = visit(chain);
                    left -= 1;
                    if left == 0 { ControlFlow::Break(()) } else { has_ended }
                });
                has_ended?;
                if walked.is_break() {
                    return ControlFlow::Continue(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// The names of the repositories in which something may lead to it, as they may be shown.
    pub fn repository_names(&self) -> impl Iterator<Item = &str> {
        self.roots.iter().filter_map(|root| root.repository).map(|place| self.knowledge.repository_name(place))
    }

    /// Everything that may lead to the digest.
    pub(super) fn ancestry(&self) -> &Ancestry {
        &self.ancestry
    }

    /// All chains from one root that have no more than so many steps; none goes through anything twice. Breaks off
    /// where the visitor does, or where the budget is used up. A list and no recursion: depth is what a stranger
    /// decides.
    fn walk(
        &self,
        root: &Root,
        longest: usize,
        budget: &mut u64,
        visit: &mut dyn FnMut(Chain<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let target = self.ancestry.target;
        let mut steps: Vec<(DigestId, Edge)> = vec![(root.target, Edge::Root)];
        if root.target == target {
            return visit(Chain { root, steps: &steps });
        }
        let mut next = vec![0];
        while let (Some(&(at, _)), Some(place)) = (steps.last(), next.last_mut()) {
            let below = self.ancestry.down.get(&at).map_or(&[][..], Vec::as_slice);
            let Some(&(to, edge)) = below.get(*place).filter(|_| steps.len() < longest) else {
                steps.pop();
                next.pop();
                continue;
            };
            *place += 1;
            *budget = budget.saturating_sub(1);
            if *budget == 0 {
                return ControlFlow::Break(());
            }
            let is_new = steps.iter().all(|(passed, _)| *passed != to);
            if !is_new || !self.knowledge.holds(root.repository, at, to, edge) {
                continue;
            }
            steps.push((to, edge));
            if to == target {
                visit(Chain { root, steps: &steps })?;
                steps.pop();
            } else {
                next.push(0);
            }
        }
        ControlFlow::Continue(())
    }
}
