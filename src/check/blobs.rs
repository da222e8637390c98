//! What is known of each blob: is it there, how large is it, can it be believed?

use rayon::prelude::*;
use std::collections::HashMap;

use crate::digest::Digest;
use crate::inventory::{DigestId, Digests, LookedAt};
use crate::layout::{DATA, blob_dir};
use crate::progress::Meter;
use crate::registry::{Cause, Kind, Registry};

/// What is known of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobState {
    /// It is there, with so many bytes; they may have been read or not.
    Whole(u64),
    /// It is not in the blob store.
    Missing,
    /// It is there, and it is not what its digest names: one clause that says why.
    Damaged(Box<str>),
    /// It could not be looked at or read: it may be whole.
    Unreadable(Box<str>),
}

/// The states of all blobs that were listed, and of what else somebody names.
#[derive(Debug)]
pub struct BlobStates {
    /// By the place in the table; [`NOT_WHOLE`] for those that are among the others.
    sizes: Vec<u64>,
    others: HashMap<DigestId, BlobState>,
}

/// In place of a size. No file is as large.
const NOT_WHOLE: u64 = u64::MAX;

impl BlobStates {
    /// Looks at every blob that was listed, and looks for every other digest that is named, each once, in parallel on
    /// the current rayon pool. Nothing is opened.
    pub fn look(registry: &Registry, digests: &Digests, named: &[DigestId], meter: &Meter) -> BlobStates {
        let ids: Vec<DigestId> = digests.blobs().ids().collect();
        let looked = digests.blobs().look_at(registry, &ids, meter);
        let mut states = BlobStates { sizes: vec![NOT_WHOLE; ids.len()], others: HashMap::new() };
        let mut again = Vec::new();
        for (id, looked) in looked {
            match looked {
                LookedAt::Sized(sized) => states.sizes[id.index()] = sized.size.bytes,
                // Gone since it was listed, or a symbolic link, or worse: looked at by itself.
                LookedAt::Gone | LookedAt::Odd(_) => again.push(id),
                LookedAt::Unreadable { why, .. } => _ = states.others.insert(id, BlobState::Unreadable(why.into())),
            }
        }
        // What is not in the table may have been pushed since, or lie behind a symbolic link.
        again.extend(named.iter().copied().filter(|&id| !digests.is_blob(id)));
        again.sort_unstable();
        again.dedup();
        meter.expect(again.len() as u64);
        let found: Vec<(DigestId, BlobState)> = again
            .into_par_iter()
            .filter(|_| !meter.is_halted())
            .map(|id| {
                let state = look_alone(registry, &digests.digest(id));
                meter.add(1);
                (id, state)
            })
            .collect();
        states.others.extend(found);
        states
    }

    /// What is known of this one. What nobody named and was not listed is not there.
    pub fn of(&self, id: DigestId) -> BlobState {
        match self.sizes.get(id.index()) {
            Some(&NOT_WHOLE) | None => self.others.get(&id).cloned().unwrap_or(BlobState::Missing),
            Some(&bytes) => BlobState::Whole(bytes),
        }
    }

    /// Whether it is there, and nothing is known that is wrong with it.
    pub fn is_whole(&self, id: DigestId) -> bool {
        matches!(self.of(id), BlobState::Whole(_))
    }

    /// Something has come to be known that is wrong with it.
    pub fn note(&mut self, id: DigestId, state: BlobState) {
        if let Some(size) = self.sizes.get_mut(id.index()) {
            *size = NOT_WHOLE;
        }
        self.others.insert(id, state);
    }

    /// The size of a blob that was listed and is whole.
    pub fn size(&self, id: DigestId) -> Option<u64> {
        match self.of(id) {
            BlobState::Whole(bytes) => Some(bytes),
            BlobState::Missing | BlobState::Damaged(_) | BlobState::Unreadable(_) => None,
        }
    }

    /// Every blob that is whole, as far as that is known, with its size: those that were listed, and those that are
    /// named and lie behind symbolic links. In the order of their digests.
    pub fn whole(&self, digests: &Digests) -> Vec<(DigestId, u64)> {
        let listed = digests.blobs().ids().filter_map(|id| Some((id, self.size(id)?)));
        let mut whole: Vec<(DigestId, u64)> = listed.collect();
        let count = whole.len();
        let linked = self.others.iter().filter(|(id, _)| id.index() >= self.sizes.len());
        whole.extend(linked.filter_map(|(id, state)| match state {
            BlobState::Whole(bytes) => Some((*id, *bytes)),
            BlobState::Missing | BlobState::Damaged(_) | BlobState::Unreadable(_) => None,
        }));
        // The numbers of listed blobs are in the order of their digests, and those of others are not.
        if whole.len() > count {
            whole.sort_by_cached_key(|(id, _)| digests.digest(*id));
        }
        whole
    }

    /// Those that were listed and are not whole, whether or not anything names them. One that is missing has a folder,
    /// and nothing in it.
    pub fn faulty(&self) -> impl Iterator<Item = (DigestId, &BlobState)> {
        let is_whole = |state: &BlobState| matches!(state, BlobState::Whole(_));
        let was_listed = |id: DigestId| id.index() < self.sizes.len();
        let faulty = self
            .others
            .iter()
            .filter(move |(id, state)| !is_whole(state) && (was_listed(**id) || !matches!(state, BlobState::Missing)));
        faulty.map(|(id, state)| (*id, state))
    }
}

/// Looks at one blob by its whole path, through symbolic links, as the registry would.
fn look_alone(registry: &Registry, digest: &Digest) -> BlobState {
    let looked = registry.v2().open(blob_dir(digest)).and_then(|dir| {
        let Some(dir) = dir else { return Ok(BlobState::Missing) };
        Ok(match dir.look(DATA)?.map(|looked| looked.kind) {
            Some(Kind::SymbolicLink) => match dir.stamp_of(DATA)? {
                Some(stamp) if dir.open(DATA).is_err() => BlobState::Whole(stamp.size()),
                Some(_) => BlobState::Damaged("its 'data' is a folder".into()),
                None => BlobState::Unreadable(Cause::DanglingLink.to_string().into()),
            },
            Some(Kind::File) => BlobState::Whole(dir.look(DATA)?.map_or(0, |looked| looked.bytes)),
            Some(Kind::Directory) => BlobState::Damaged("its 'data' is a folder".into()),
            Some(Kind::Other) => BlobState::Damaged("its 'data' is no regular file".into()),
            // A push writes it there.
            None => BlobState::Missing,
        })
    });
    looked.unwrap_or_else(|unreadable| BlobState::Unreadable(unreadable.cause.to_string().into()))
}
