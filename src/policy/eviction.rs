//! Which images of a pull-through cache are let go: the least recently pulled first.
//!
//! Pure: it is told when each image was pulled and which blobs it needs, and says which go. What follows from that is
//! `mark`'s business, and what `mark` still finds a use for stays, whatever was chosen here.

use std::collections::{HashMap, HashSet};

use crate::inventory::DigestId;

/// How much of a cache stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The blobs that stay have at most so many bytes.
    pub max_bytes: Option<u64>,
    /// What was not pulled for so many seconds goes.
    pub max_age: Option<i64>,
    /// Whether the registry's own config says that it is a cache. Otherwise only the state that a cache leaves does.
    pub is_configured: bool,
    /// Whether images may go that the cache has not noted as fetched: they may have been pushed before it was one.
    pub takes_unscheduled: bool,
}

/// What is let go, by repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    repositories: HashMap<Box<str>, EvictedHere>,
}

/// What is let go from one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct EvictedHere {
    tags: HashSet<usize>,
    manifests: HashSet<DigestId>,
}

impl Limits {
    /// Whether what was pulled then, at the latest, goes for its age. Both are seconds since 1970.
    pub fn is_too_old(&self, pulled_at_the_latest: i64, now: i64) -> bool {
        self.max_age.is_some_and(|age| now.saturating_sub(pulled_at_the_latest) > age)
    }
}

impl Evicted {
    /// Lets an image go: its tags, by their places in the repository, and its manifest.
    pub fn add(&mut self, repository: &str, tags: &[usize], manifest: DigestId) {
        let here = self.repositories.entry(repository.into()).or_default();
        here.tags.extend(tags);
        here.manifests.insert(manifest);
    }

    /// Whether nothing is let go.
    pub fn is_empty(&self) -> bool {
        self.repositories.is_empty()
    }

    /// Whether the tag at this place goes.
    pub fn has_tag(&self, repository: &str, place: usize) -> bool {
        self.repositories.get(repository).is_some_and(|here| here.tags.contains(&place))
    }

    /// The manifests that go from this repository, in no order.
    pub fn manifests(&self, repository: &str) -> impl Iterator<Item = DigestId> {
        self.repositories.get(repository).into_iter().flat_map(|here| here.manifests.iter().copied())
    }
}

/// An image that may be let go.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// When it was last pulled, in seconds since 1970.
    pub pulled: i64,
    /// When it may have been pulled at the latest: a volume may note only the first reading of a day.
    pub pulled_at_the_latest: i64,
    /// The blobs that it needs, each once.
    pub blobs: &'a [u32],
}

/// Which of the candidates go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Their places, in the order in which they go.
    pub evicted: Vec<usize>,
    /// How many bytes are left.
    pub bytes: u64,
}

/// Chooses what goes: everything that was not pulled for too long, and then, while more is left than may be, what was
/// pulled the longest ago. Of images that were pulled at the same time the first goes first.
///
/// `sizes` are those of all blobs, `bytes` what all that stays has without this, and `needed` says of each blob whether
/// something needs it that is none of the candidates. A blob counts once, and as long as anything needs it. It takes as
/// many steps as the candidates have blobs, and sorts them once.
pub fn choose(
    candidates: &[Candidate<'_>],
    sizes: &[u64],
    bytes: u64,
    needed: impl Fn(u32) -> bool,
    limits: Limits,
    now: i64,
) -> Choice {
    let mut uses: Vec<u32> = vec![0; sizes.len()];
    for &blob in candidates.iter().flat_map(|candidate| candidate.blobs) {
        uses[blob as usize] += 1;
    }
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&place| (candidates[place].pulled, place));
    let mut choice = Choice { evicted: Vec::new(), bytes };
    let mut evict = |choice: &mut Choice, place: usize| {
        choice.evicted.push(place);
        for &blob in candidates[place].blobs {
            let uses = &mut uses[blob as usize];
            *uses -= 1;
            if *uses == 0 && !needed(blob) {
                choice.bytes = choice.bytes.saturating_sub(sizes[blob as usize]);
            }
        }
    };
    let is_too_old = |place: &usize| limits.is_too_old(candidates[*place].pulled_at_the_latest, now);
    for place in order.extract_if(.., |place| is_too_old(place)) {
        evict(&mut choice, place);
    }
    if let Some(most) = limits.max_bytes {
        for place in order {
            if choice.bytes <= most {
                break;
            }
            evict(&mut choice, place);
        }
    }
    choice
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One by one, and everything counted anew each time.
    fn naively(images: &[(i64, Vec<u32>)], sizes: &[u64], needed: &[bool], limits: Limits, now: i64) -> Choice {
        let left = |gone: &[usize]| -> u64 {
            let stays = |blob: usize| {
                needed[blob] || (0..images.len()).any(|it| !gone.contains(&it) && images[it].1.contains(&(blob as u32)))
            };
            (0..sizes.len()).filter(|&blob| stays(blob)).map(|blob| sizes[blob]).sum()
        };
        let mut gone: Vec<usize> = Vec::new();
        let oldest =
            |gone: &[usize]| (0..images.len()).filter(|it| !gone.contains(it)).min_by_key(|&it| (images[it].0, it));
        while let Some(next) = oldest(&gone) {
            let is_old = limits.max_age.is_some_and(|age| now - images[next].0 > age);
            let is_much = limits.max_bytes.is_some_and(|most| left(&gone) > most);
            if !is_old && !is_much {
                break;
            }
            gone.push(next);
        }
        let bytes = left(&gone);
        Choice { evicted: gone, bytes }
    }

    proptest! {
        #[test]
        fn as_a_naive_one_chooses(
            images in prop::collection::vec((0_i64..12, prop::collection::btree_set(0_u32..10, 0..6)), 0..12),
            sizes in prop::collection::vec(0_u64..50, 10),
            needed in prop::collection::vec(any::<bool>(), 10),
            max_bytes in prop::option::of(0_u64..300),
            max_age in prop::option::of(0_i64..14),
        ) {
            let images: Vec<(i64, Vec<u32>)> =
                images.into_iter().map(|(pulled, blobs)| (pulled, blobs.into_iter().collect())).collect();
            let candidates: Vec<Candidate<'_>> = images
                .iter()
                .map(|(pulled, blobs)| Candidate { pulled: *pulled, pulled_at_the_latest: *pulled, blobs })
                .collect();
            let limits = Limits { max_bytes, max_age, ..Limits::default() };
            let reached: u64 = (0..10)
                .filter(|&blob| needed[blob] || images.iter().any(|(_, blobs)| blobs.contains(&(blob as u32))))
                .map(|blob| sizes[blob])
                .sum();
            let chosen = choose(&candidates, &sizes, reached, |blob| needed[blob as usize], limits, 13);
            prop_assert_eq!(chosen, naively(&images, &sizes, &needed, limits, 13));
        }
    }

    /// What may have been pulled within the time stays, although it was not noted.
    #[test]
    fn nothing_goes_that_may_have_been_pulled_in_time() {
        let candidate = |pulled, pulled_at_the_latest| Candidate { pulled, pulled_at_the_latest, blobs: &[] };
        let limits = Limits { max_age: Some(100), ..Limits::default() };
        let chosen = choose(&[candidate(0, 86_400), candidate(86_299, 86_299)], &[], 0, |_| false, limits, 86_400);
        assert_eq!(chosen.evicted, [1]);
    }
}
