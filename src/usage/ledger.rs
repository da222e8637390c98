//! Whose each blob is, and what that adds up to.

use super::largest::Need;
use super::reach::{KEPT, Reach, SEVERAL, UNTAGGED};
use super::sizes::{Sizes, YearMonth};
use super::tree::{Balance, NodeId, STORE, Tree};
use super::{Contents, ImageUsage, Month, Node, TagUsage};
use crate::inventory::{DigestId, Inventory};
use crate::mark::Marking;
use crate::plan::BlobTotals;
use crate::registry::FileStamp;

/// No repository.
const NONE: u32 = u32::MAX;

/// Whose each blob is, by the places of repositories in the walk through the tree.
pub(super) struct Ledger<'a> {
    sizes: &'a Sizes,
    /// Where each repository is in the walk.
    at: Vec<u32>,
    /// The first and the last repository that reach a blob; of garbage those that have a link to it.
    ends: Vec<(u32, u32)>,
    flags: Vec<u8>,
    balances: Vec<Balance>,
    own: Vec<BlobTotals>,
    own_untagged: Vec<BlobTotals>,
    own_garbage: Vec<BlobTotals>,
    pub(super) garbage: BlobTotals,
    pub(super) other: BlobTotals,
    pub(super) unknown: BlobTotals,
    pub(super) months: Vec<Month>,
}

/// Something else than untagged manifests reaches it.
const TAGGED: u8 = 1;
/// It stays whoever goes.
const ODD: u8 = 2;

impl<'a> Ledger<'a> {
    pub(super) fn new(
        inventory: &Inventory,
        marking: &Marking,
        tree: &Tree,
        reaches: &[Reach],
        sizes: &'a Sizes,
        is_all_known: bool,
    ) -> Ledger<'a> {
        let Inventory { digests, repositories, .. } = inventory;
        let blobs = digests.blobs().len();
        let nothing = || vec![BlobTotals::default(); tree.nodes.len()];
        let mut ledger = Ledger {
            sizes,
            at: vec![NONE; repositories.len()],
            ends: vec![(NONE, NONE); blobs],
            flags: vec![0; blobs],
            balances: vec![Balance::default(); tree.nodes.len()],
            own: nothing(),
            own_untagged: nothing(),
            own_garbage: nothing(),
            garbage: BlobTotals::default(),
            other: BlobTotals::default(),
            unknown: BlobTotals::default(),
            months: Vec::new(),
        };
        for (at, &node) in tree.walk.iter().enumerate() {
            let Some(place) = tree.nodes[node as usize].repository else { continue };
            let at = u32::try_from(at).unwrap_or(NONE - 1);
            ledger.at[place] = at;
            for &(id, leaf) in &reaches[place].blobs {
                let size = sizes.one(id);
                let before = ledger.reached(id, at);
                let sums = &mut ledger.balances;
                sums[node as usize].added = sums[node as usize].added + size;
                if before != NONE {
                    let common = tree.common(tree.walk[before as usize], node) as usize;
                    sums[common].taken = sums[common].taken + size;
                }
                if leaf != UNTAGGED {
                    ledger.flags[id.index()] |= TAGGED;
                }
            }
            reaches[place].odd.iter().for_each(|id| ledger.flags[id.index()] |= ODD);
            // What is not live is reached by nothing, and so these are traces of garbage.
            let repository = &repositories[place];
            let traces = repository.layer_links.iter().copied().chain(repository.revisions.iter().map(|it| it.id));
            for id in traces.filter(|&id| digests.is_blob(id) && !marking.is_live(id)) {
                ledger.reached(id, at);
            }
        }
        for id in digests.blobs().ids() {
            if digests.blobs().is_linked(id) {
                ledger.flags[id.index()] |= ODD;
            }
            ledger.book(id, marking, tree, is_all_known);
        }
        ledger.months.sort_by_key(|month| month.month);
        ledger
    }

    /// Notes that this repository leads to a blob, and says which one did before.
    fn reached(&mut self, id: DigestId, at: u32) -> u32 {
        let (first, last) = self.ends[id.index()];
        self.ends[id.index()] = (if first == NONE { at } else { first }, at);
        last
    }

    /// Puts a blob into the one place where it counts.
    fn book(&mut self, id: DigestId, marking: &Marking, tree: &Tree, is_all_known: bool) {
        let size = self.sizes.one(id);
        let (first, last) = self.ends[id.index()];
        let flags = self.flags[id.index()];
        let node = |at: u32| tree.walk[at as usize];
        let add = |sum: &mut BlobTotals| *sum = *sum + size;
        let which: fn(&mut Month) -> &mut BlobTotals;
        if !marking.is_live(id) {
            if !is_all_known {
                add(&mut self.unknown);
                which = |month| &mut month.other;
            } else if flags & ODD != 0 {
                // No collection takes it.
                add(&mut self.other);
                which = |month| &mut month.other;
            } else {
                add(if first == last && first != NONE {
                    &mut self.own_garbage[node(first) as usize]
                } else {
                    &mut self.garbage
                });
                which = |month| &mut month.garbage;
            }
        } else if first == NONE {
            add(&mut self.other);
            which = |month| &mut month.other;
        } else {
            let top: NodeId = if flags & ODD != 0 { STORE } else { tree.common(node(first), node(last)) };
            add(&mut self.own[top as usize]);
            if flags & TAGGED == 0 {
                if flags & ODD == 0 {
                    add(&mut self.own_untagged[top as usize]);
                }
                which = |month| &mut month.untagged;
            } else if tree.nodes[top as usize].repository.is_some() {
                which = |month| &mut month.exclusive;
            } else {
                which = |month| &mut month.shared;
            }
        }
        if let Some(month) = self.sizes.month(id) {
            add(which(self.month(month)));
        }
    }

    fn month(&mut self, month: YearMonth) -> &mut Month {
        // A registry has a few hundred of them at the most, and neighbours are mostly looked for one after the other.
        let place = self.months.iter().rposition(|it| it.month == month).unwrap_or_else(|| {
            let none = BlobTotals::default();
            self.months.push(Month {
                month,
                exclusive: none,
                shared: none,
                untagged: none,
                garbage: none,
                other: none,
            });
            self.months.len() - 1
        });
        &mut self.months[place]
    }

    /// Who needs a blob. What only damage keeps counts as tagged here.
    pub(super) fn need(&self, id: DigestId, marking: &Marking, is_all_known: bool) -> Need {
        let (first, _) = self.ends[id.index()];
        let is_odd = self.flags[id.index()] & ODD != 0;
        match marking.is_live(id) {
            false if !is_all_known => Need::Unknown,
            false if is_odd => Need::Kept,
            false => Need::Garbage,
            true if first == NONE => Need::Kept,
            true if self.is_tagged(id) => Need::Tagged,
            true if is_odd => Need::Kept,
            true => Need::Untagged,
        }
    }

    pub(super) fn is_tagged(&self, id: DigestId) -> bool {
        self.flags[id.index()] & TAGGED != 0
    }

    /// Images and tags of a repository.
    pub(super) fn contents(&self, inventory: &Inventory, marking: &Marking, reach: &Reach, place: usize) -> Contents {
        let repository = &inventory.repositories[place];
        let mut contents = Contents {
            tags: Vec::with_capacity(repository.tags.len()),
            images: Vec::with_capacity(reach.images.len()),
            untagged_manifests: reach.untagged,
            is_tainted: marking.repositories[place].tainted,
            ..Contents::default()
        };
        for (tag, &image) in repository.tags.iter().zip(&reach.image_of) {
            contents.tags.push(TagUsage { name: tag.name.clone(), image, pushed: tag.stamp.map(FileStamp::modified) });
        }
        for image in &reach.images {
            contents.images.push(ImageUsage {
                digest: image.target.map(|target| inventory.digests.digest(target)),
                tags: image.tags.clone(),
                total: image.total,
                exclusive: BlobTotals::default(),
            });
        }
        let at = self.at[place];
        for &(id, leaf) in &reach.blobs {
            if self.ends[id.index()] != (at, at) || self.flags[id.index()] & ODD != 0 {
                continue;
            }
            let sum = match leaf {
                SEVERAL | UNTAGGED => continue,
                KEPT => &mut contents.kept,
                image => &mut contents.images[image as usize].exclusive,
            };
            *sum = *sum + self.sizes.one(id);
        }
        contents
    }

    /// The node with everything below it, summed up.
    pub(super) fn node(
        &self,
        tree: &Tree,
        children: &[Vec<NodeId>],
        id: NodeId,
        contents: &mut [Option<Box<Contents>>],
    ) -> Node {
        self.node_and_balance(tree, children, id, contents).0
    }

    fn node_and_balance(
        &self,
        tree: &Tree,
        children: &[Vec<NodeId>],
        id: NodeId,
        contents: &mut [Option<Box<Contents>>],
    ) -> (Node, Balance) {
        // As deep as the components of a name, of which the system allows some hundred.
        let number = id as usize;
        let repository = tree.nodes[number].repository.and_then(|place| contents[place].take());
        let own = self.own[number];
        let mut balance = self.balances[number];
        let mut node = Node {
            name: tree.nodes[number].name.clone(),
            total: BlobTotals::default(),
            exclusive: own,
            common: own,
            untagged: self.own_untagged[number],
            garbage: self.own_garbage[number],
            repositories: u64::from(repository.is_some()),
            children: Vec::with_capacity(children[number].len()),
            repository,
        };
        if let Some(contents) = &node.repository {
            let of_images = contents.images.iter().fold(BlobTotals::default(), |sum, it| sum + it.exclusive);
            node.common = Balance { added: own, taken: of_images + contents.kept + node.untagged }.left();
        }
        for &child in &children[number] {
            let (child, below) = self.node_and_balance(tree, children, child, contents);
            node.exclusive = node.exclusive + child.exclusive;
            node.untagged = node.untagged + child.untagged;
            node.garbage = node.garbage + child.garbage;
            node.repositories += child.repositories;
            balance.added = balance.added + below.added;
            balance.taken = balance.taken + below.taken;
            node.children.push(child);
        }
        node.total = balance.left();
        (node, balance)
    }
}
