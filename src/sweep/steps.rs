//! The largest first: in which steps blobs go, and where there is a time limit the layer links that name them.
//!
//! A run that has only so much time is to free as much as it can. So the blobs are divided by size: each step takes the
//! largest of those that are left, as many as make up half of their bytes. With a limit a step takes the layer links
//! first that name its blobs, for a reference dies before what it refers to; without one all links go before the first
//! blob.
//!
//! A few steps and no list in strict order: within one of them whole folders go at a time, side by side, which is
//! several times as fast as going from folder to folder for each blob.

use crate::digest::Digest;
use crate::plan::{BlobPlan, Plan, RepositoryPlan};

/// How many steps there are at most. What the last one takes is a 32nd of the bytes, and most of the blobs.
const STEPS: usize = 6;

/// What goes at a time.
#[derive(Debug, Default)]
pub(super) struct Step<'p> {
    /// The layer links that go before the blobs, by the place of their repository in the plan.
    pub(super) links: Vec<(usize, Vec<&'p Digest>)>,
    /// The blobs, sorted by digest.
    pub(super) blobs: Vec<&'p BlobPlan>,
}

impl Step<'_> {
    /// How many things go.
    pub(super) fn len(&self) -> u64 {
        (self.blobs.len() + self.links.iter().map(|(_, links)| links.len()).sum::<usize>()) as u64
    }
}

/// Divides a plan: its blobs, and its layer links if those have not gone before. Layer links of which the plan takes no
/// blob free nothing, and go with the last step.
pub(super) fn steps(plan: &Plan, with_links: bool) -> Vec<Step<'_>> {
    let step_of = by_size(&plan.blobs);
    let count = usize::from(step_of.iter().copied().max().unwrap_or(0)) + 1;
    let mut steps: Vec<Step<'_>> = std::iter::repeat_with(Step::default).take(count).collect();
    for (blob, &step) in plan.blobs.iter().zip(&step_of) {
        steps[usize::from(step)].blobs.push(blob);
    }
    for (place, repository) in plan.repositories.iter().enumerate().filter(|_| with_links) {
        for (step, links) in links_of(repository, plan, &step_of, count).into_iter().enumerate() {
            if !links.is_empty() {
                steps[step].links.push((place, links));
            }
        }
    }
    steps
}

fn links_of<'p>(repository: &'p RepositoryPlan, plan: &Plan, step_of: &[u8], count: usize) -> Vec<Vec<&'p Digest>> {
    let mut links = vec![Vec::new(); count];
    for digest in &repository.layer_links {
        let place = plan.blobs.binary_search_by(|blob| blob.digest.cmp(digest));
        links[place.map_or(count - 1, |place| usize::from(step_of[place]))].push(digest);
    }
    links
}

/// The step that each blob goes with.
fn by_size(blobs: &[BlobPlan]) -> Vec<u8> {
    let mut largest: Vec<usize> = (0..blobs.len()).collect();
    largest.sort_by_key(|&place| std::cmp::Reverse(blobs[place].size.bytes));
    let mut left: u64 = blobs.iter().map(|blob| blob.size.bytes).sum();
    let (mut step, mut goal) = (0_u8, left / 2);
    let mut steps = vec![0; blobs.len()];
    for place in largest {
        // Empty ones begin no step.
        if left <= goal && left > 0 && usize::from(step) + 1 < STEPS {
            step += 1;
            goal = left / 2;
        }
        steps[place] = step;
        left -= blobs[place].size.bytes;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use crate::inventory::BlobSize;
    use crate::layout::RepositoryName;
    use crate::plan::Reason;

    fn plan(sizes: &[u64]) -> Plan {
        let blob = |(number, &bytes): (usize, &u64)| BlobPlan {
            digest: Digest::of(Algorithm::Sha256, number.to_string().as_bytes()),
            size: BlobSize { bytes, disk_bytes: bytes },
            reason: Reason::Unreferenced,
        };
        let mut blobs: Vec<BlobPlan> = sizes.iter().enumerate().map(blob).collect();
        blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
        Plan { blobs, ..Plan::default() }
    }

    fn sizes(plan: &Plan) -> Vec<Vec<u64>> {
        let sizes = steps(plan, false).into_iter().map(|step| {
            let mut sizes: Vec<u64> = step.blobs.iter().map(|blob| blob.size.bytes).collect();
            assert!(step.blobs.is_sorted_by(|a, b| a.digest <= b.digest));
            sizes.sort_unstable();
            sizes
        });
        sizes.collect()
    }

    #[test]
    fn each_step_takes_half_of_the_bytes_that_are_left() {
        for (blobs, expected) in [
            (&[][..], vec![vec![]]),
            (&[7], vec![vec![7]]),
            (&[0, 0, 0], vec![vec![0, 0, 0]]),
            (&[1, 100, 2, 50, 30], vec![vec![100], vec![50], vec![30], vec![2], vec![1]]),
            (&[10, 10, 10, 10], vec![vec![10, 10], vec![10], vec![10]]),
        ] {
            assert_eq!(sizes(&plan(blobs)), expected, "{blobs:?}");
        }
        let many: Vec<u64> = (0..10_000).map(|number| 1 << (number % 20)).collect();
        let steps = sizes(&plan(&many));
        assert_eq!((steps.len(), steps.iter().flatten().count()), (STEPS, many.len()));
        assert!(steps.windows(2).all(|pair| pair[0].first() >= pair[1].last()), "none is larger than those before it");
        let all: u64 = many.iter().sum();
        assert!(steps[0].iter().sum::<u64>() >= all / 2 && steps[0].len() < many.len() / 10);
    }

    #[test]
    fn links_go_with_the_blob_that_they_name() {
        let mut plan = plan(&[100, 1, 50]);
        let other = Digest::of(Algorithm::Sha256, b"stays");
        for name in ["a", "b"] {
            let mut links: Vec<Digest> = plan.blobs.iter().map(|blob| blob.digest.clone()).collect();
            links.push(other.clone());
            links.sort();
            let name = RepositoryName::parse(name).unwrap();
            plan.repositories.push(RepositoryPlan { layer_links: links, ..RepositoryPlan::of(name) });
        }
        assert!(steps(&plan, false).iter().all(|step| step.links.is_empty()));
        let steps = steps(&plan, true);
        assert_eq!(steps.len(), 3);
        for (number, step) in steps.iter().enumerate() {
            assert_eq!(step.links.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [0, 1]);
            let mut expected: Vec<&Digest> = step.blobs.iter().map(|blob| &blob.digest).collect();
            if number == 2 {
                expected.push(&other);
                expected.sort();
            }
            assert!(step.links.iter().all(|(_, links)| *links == expected), "step {number}");
        }
    }
}
