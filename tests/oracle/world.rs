//! Random registries, described as plain data and then written to disk by the builder of all scenarios.
//!
//! Everything is drawn from small pools (a few manifests, fewer layers, three tags), so that what makes collectors go
//! wrong is frequent: layers and children that several images and repositories share, tags that move back and forth,
//! an image that is deleted in one repository and alive in the next.
//!
//! The numbers that proptest draws are arbitrary; [`World::resolve`] turns them into places in the pools. So a world
//! that is shrunk is a world still, and what a failure prints is what was built.

use std::collections::BTreeSet;
use std::fmt;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

/// Two of them lie inside others, as registries allow.
const NAMES: [&str; 6] = ["app", "app/web", "app/web/deep", "library/base", "team/api", "zoo"];
pub(crate) const TAGS: [&str; 3] = ["v1", "v2", "latest"];
pub(crate) const LAYERS: usize = 8;
/// This layer goes by its sha512 name, in the blob store too.
pub(crate) const SHA512_LAYER: usize = 6;
/// Manifests name this layer by sha512, and the registry has linked it to the sha256 blob of the same content.
pub(crate) const ALIASED_LAYER: usize = 7;

/// What a world may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Everything,
    /// What the stock collector gets right without `-m`: nothing damaged or missing, no dangling tags, only the formats
    /// that it reads, and no child of an index without a revision link of its own.
    StockDefault,
    /// What it gets right with `-m`: furthermore no indexes and no referrers, and each repository has had a tag.
    StockUntagged,
}

/// A registry. Whoever changes it is a step of a repository; damage comes after all of them.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) scope: Scope,
    /// A manifest refers only to those before it: digests allow nothing else.
    pub(crate) manifests: Vec<Entry>,
    pub(crate) repositories: Vec<(&'static str, Vec<Step>)>,
    pub(crate) orphans: Vec<usize>,
    pub(crate) damage: Vec<Damage>,
    /// Whether the run is to remove repositories of which nothing is left.
    pub(crate) remove_empty: bool,
    /// Which tags a rule lets go, where there is one.
    pub(crate) going: [bool; TAGS.len()],
}

/// A manifest of the pool. Layers and other manifests are places in their pools.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Image(Format, Vec<usize>),
    Index(List, Vec<usize>),
    /// A BuildKit cache: an index of layer blobs.
    Cache(Vec<usize>),
    Referrer(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Docker,
    Oci,
    Untyped,
    Artifact,
    Schema1,
    Unknown,
    /// Docker's, by its sha512 name.
    NamedBySha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Oci,
    Docker,
    Untyped,
}

/// What somebody did to a repository.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A manifest is pushed, all that an index lists before it, except for these.
    Push {
        manifest: usize,
        tag: Option<usize>,
        without: Vec<usize>,
    },
    DeleteByApi(usize),
    /// The image that the tag points at, in the way of the guides.
    DeleteByHand(usize),
    /// A manifest is pushed under the tag that cosign gives to a signature of another.
    Sign {
        subject: usize,
        signature: usize,
    },
    StrayLayer(usize),
    Upload {
        stale: bool,
    },
}

/// What a bad disk, a crash or a careless hand did. What is not there (any more) cannot be damaged.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    /// The blobs of a manifest's last layers are gone.
    MissingLayers {
        manifest: usize,
        count: usize,
    },
    /// The blobs of these layers are gone, whoever needs them.
    LostLayers(Vec<usize>),
    MissingManifest(usize),
    FlippedManifest(usize),
    /// Its bytes now say that it refers to a later manifest, which may refer to it: no honest digest allows that.
    Cycle {
        manifest: usize,
        subject: usize,
    },
    Revision {
        repository: usize,
        manifest: usize,
        how: Revision,
    },
    Current {
        repository: usize,
        tag: usize,
        how: Current,
    },
}

impl Damage {
    fn manifest(&mut self) -> Option<&mut usize> {
        match self {
            Damage::MissingLayers { manifest, .. }
            | Damage::MissingManifest(manifest)
            | Damage::FlippedManifest(manifest)
            | Damage::Cycle { manifest, .. }
            | Damage::Revision { manifest, .. } => Some(manifest),
            Damage::Current { .. } | Damage::LostLayers(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Revision {
    /// Folder and all.
    Removed,
    /// And the manifest's blob as well.
    RemovedWithBlob,
    /// An empty file, as a crash leaves it.
    Emptied,
    /// It names another manifest of the pool.
    Names(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Current {
    /// As a push leaves it that was cut off.
    Removed,
    Emptied,
    Garbled,
    /// And the tag's history is lost as well.
    EmptiedWithHistory,
}

// ---- drawing

fn any_place() -> impl Strategy<Value = usize> {
    0..1000usize
}

/// How far back a manifest refers. Often to the one just before it: so chains come about.
fn back() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0), 2 => any_place()]
}

fn entry(scope: Scope) -> BoxedStrategy<Entry> {
    use Format::{Artifact, Docker, NamedBySha512, Oci, Schema1, Unknown, Untyped};
    let (formats, others): (&[Format], u32) = match scope {
        Scope::Everything => {
            (&[Docker, Docker, Docker, Docker, Oci, Oci, Oci, Untyped, Artifact, Schema1, Unknown, NamedBySha512], 1)
        }
        Scope::StockDefault => (&[Docker, Oci, Untyped], 1),
        Scope::StockUntagged => (&[Docker, Oci, Untyped], 0),
    };
    let layers = if scope == Scope::Everything { LAYERS } else { SHA512_LAYER };
    let lists = select(vec![List::Oci, List::Oci, List::Docker, List::Untyped]);
    prop_oneof![
        12 => (select(formats.to_vec()), vec(0..layers, 1..4))
            .prop_map(|(format, layers)| Entry::Image(format, layers)),
        10 * others => (lists, vec(back(), 1..4)).prop_map(|(list, children)| Entry::Index(list, children)),
        others => vec(0..layers, 2..4).prop_map(Entry::Cache),
        6 * others => back().prop_map(Entry::Referrer),
    ]
    .boxed()
}

fn step() -> impl Strategy<Value = Step> {
    let without = prop_oneof![Just(Vec::new()), vec(any_place(), 1..3)];
    prop_oneof![
        12 => (any_place(), weighted(0.6, 0..TAGS.len()), without)
            .prop_map(|(manifest, tag, without)| Step::Push { manifest, tag, without }),
        2 => any_place().prop_map(Step::DeleteByApi),
        2 => (0..TAGS.len()).prop_map(Step::DeleteByHand),
        2 => (any_place(), any_place()).prop_map(|(subject, signature)| Step::Sign { subject, signature }),
        1 => (0..SHA512_LAYER).prop_map(Step::StrayLayer),
        2 => any::<bool>().prop_map(|stale| Step::Upload { stale }),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    let revision = prop_oneof![
        3 => select(vec![Revision::Removed, Revision::RemovedWithBlob, Revision::Emptied]),
        1 => any_place().prop_map(Revision::Names),
    ];
    let current = select(vec![Current::Removed, Current::Emptied, Current::Garbled, Current::EmptiedWithHistory]);
    prop_oneof![
        1 => (any_place(), 1..4usize).prop_map(|(manifest, count)| Damage::MissingLayers { manifest, count }),
        1 => vec(0..LAYERS, 2..6).prop_map(Damage::LostLayers),
        1 => any_place().prop_map(Damage::MissingManifest),
        1 => any_place().prop_map(Damage::FlippedManifest),
        1 => (any_place(), any_place()).prop_map(|(manifest, subject)| Damage::Cycle { manifest, subject }),
        2 => (any_place(), any_place(), revision)
            .prop_map(|(repository, manifest, how)| Damage::Revision { repository, manifest, how }),
        2 => (any_place(), 0..TAGS.len(), current)
            .prop_map(|(repository, tag, how)| Damage::Current { repository, tag, how }),
    ]
}

/// Random registries.
pub(crate) fn worlds(scope: Scope) -> impl Strategy<Value = World> {
    let damage = match scope {
        // Either here and there, or all of it to one image.
        Scope::Everything => (prop_oneof![Just(Vec::new()), vec(damage(), 1..5)], weighted(0.4, any_place()))
            .prop_map(|(mut all, one)| {
                let places = all.iter_mut().filter_map(Damage::manifest);
                places.for_each(|place| *place = one.unwrap_or(*place));
                all
            })
            .boxed(),
        _ => Just(Vec::new()).boxed(),
    };
    let names = (subsequence(&NAMES[..], 4), any::<Index>()).prop_map(|(mut names, start)| {
        // In any order: who is listed first is not who is written first.
        let start = start.index(names.len());
        names.rotate_left(start);
        names
    });
    let steps = vec(vec(step(), 1..9), 1..5);
    let wish = (any::<bool>(), any::<[bool; TAGS.len()]>());
    (vec(entry(scope), 3..10), names, steps, vec(0..LAYERS, 0..3), damage, wish).prop_map(
        move |(manifests, names, steps, orphans, damage, (remove_empty, going))| {
            let repositories = names.into_iter().zip(steps).collect();
            World { scope, manifests, repositories, orphans, damage, remove_empty, going }.resolve()
        },
    )
}

impl World {
    /// Arbitrary numbers become places in the pools.
    fn resolve(mut self) -> Self {
        for place in 0..self.manifests.len() {
            let unique = |all: &[usize], within: usize| -> Vec<usize> {
                all.iter().map(|it| it % within).collect::<BTreeSet<_>>().into_iter().collect()
            };
            self.manifests[place] = match self.manifests[place].clone() {
                // Nothing is before the first.
                Entry::Index(..) | Entry::Referrer(_) if place == 0 => Entry::Image(Format::Oci, vec![0]),
                Entry::Index(list, children) => {
                    let back: Vec<usize> = children.iter().map(|child| place - 1 - child % place).collect();
                    Entry::Index(list, unique(&back, place))
                }
                Entry::Referrer(subject) => Entry::Referrer(place - 1 - subject % place),
                Entry::Image(format, layers) => Entry::Image(format, unique(&layers, LAYERS)),
                Entry::Cache(layers) => Entry::Cache(unique(&layers, LAYERS)),
            };
        }
        let count = self.manifests.len();
        let mut all_pushed = Vec::new();
        let mut repositories = std::mem::take(&mut self.repositories);
        for (repository, (_, steps)) in repositories.iter_mut().enumerate() {
            if self.scope != Scope::Everything {
                // The stock collector knows a repository by its `_layers`, and fails with -m where there is no `tags`.
                steps.insert(0, Step::Push { manifest: 0, tag: Some(0), without: Vec::new() });
            }
            let mut pushed = Vec::new();
            for step in steps {
                match step {
                    Step::Push { manifest, without, .. } => {
                        *manifest %= count;
                        let below: Vec<usize> = self.below(*manifest).into_iter().collect();
                        *without =
                            without.iter().filter(|_| !below.is_empty()).map(|n| below[n % below.len()]).collect();
                        pushed.push(*manifest);
                        pushed.extend(below);
                    }
                    Step::DeleteByApi(manifest) => {
                        *manifest = *pushed.get(*manifest % pushed.len().max(1)).unwrap_or(&0)
                    }
                    // To the stock collector it is a tag like any other.
                    Step::Sign { .. } if self.scope != Scope::Everything => *step = Step::StrayLayer(0),
                    Step::Sign { subject, signature } => {
                        // Mostly of something that is there.
                        *subject = *pushed.get(*subject % (pushed.len() + 1)).unwrap_or(&(*subject % count));
                        *signature %= count;
                        pushed.push(*signature);
                        pushed.extend(self.below(*signature));
                    }
                    _ => {}
                }
            }
            all_pushed.extend(pushed.into_iter().map(|manifest| (repository, manifest)));
        }
        self.repositories = repositories;
        let (repositories, entries) = (self.repositories.len(), &self.manifests);
        for damage in &mut self.damage {
            // What was pushed nowhere cannot be damaged.
            let (at, pushed) = match damage.manifest() {
                Some(place) => *all_pushed.get(*place % all_pushed.len().max(1)).unwrap_or(&(0, 0)),
                None => (0, 0),
            };
            if let Some(place) = damage.manifest() {
                *place = pushed;
            }
            match damage {
                Damage::Cycle { manifest, subject } => {
                    // Only a referrer can be in a cycle of them.
                    let is_referrer = |place: &usize| matches!(entries[*place], Entry::Referrer(_));
                    *manifest = (0..count).cycle().skip(*manifest).take(count).find(is_referrer).unwrap_or(*manifest);
                    *subject %= count;
                }
                Damage::Revision { repository, how, .. } => {
                    *repository = at;
                    if let Revision::Names(other) = how {
                        *other %= count;
                    }
                }
                Damage::Current { repository, .. } => *repository %= repositories,
                _ => {}
            }
        }
        self
    }

    /// What an index lists, to the end.
    pub(crate) fn below(&self, manifest: usize) -> BTreeSet<usize> {
        let Entry::Index(_, children) = &self.manifests[manifest] else { return BTreeSet::new() };
        children.iter().flat_map(|&child| self.below(child).into_iter().chain([child])).collect()
    }
}

/// In words, for a failure that a person can read.
impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, entry) in self.manifests.iter().enumerate() {
            match entry {
                Entry::Image(format, layers) => writeln!(f, "m{place}: {format:?} image of layers {layers:?}")?,
                Entry::Index(list, children) => writeln!(f, "m{place}: {list:?} index of m{children:?}")?,
                Entry::Cache(layers) => writeln!(f, "m{place}: build cache of layers {layers:?}")?,
                Entry::Referrer(subject) => writeln!(f, "m{place}: refers to m{subject}")?,
            }
        }
        for (name, steps) in &self.repositories {
            writeln!(f, "{name}:")?;
            for step in steps {
                match step {
                    Step::Push { manifest, tag, without } => {
                        let tag = tag.map_or(String::new(), |tag| format!(" as {}", TAGS[tag]));
                        let without = if without.is_empty() { String::new() } else { format!(" without m{without:?}") };
                        writeln!(f, "  push m{manifest}{tag}{without}")?;
                    }
                    Step::DeleteByApi(manifest) => writeln!(f, "  delete m{manifest} by API")?,
                    Step::DeleteByHand(tag) => writeln!(f, "  delete what {} points at, by hand", TAGS[*tag])?,
                    Step::Sign { subject, signature } => writeln!(f, "  push m{signature} as signature of m{subject}")?,
                    other => writeln!(f, "  {other:?}")?,
                }
            }
        }
        writeln!(f, "orphans: layers {:?}", self.orphans)?;
        for damage in &self.damage {
            writeln!(f, "damage: {damage:?}")?;
        }
        let going: Vec<&str> = TAGS.into_iter().zip(self.going).filter(|(_, goes)| *goes).map(|(tag, _)| tag).collect();
        writeln!(f, "tags that a rule lets go: {going:?}")?;
        writeln!(f, "empty repositories are to go: {}", self.remove_empty)
    }
}
