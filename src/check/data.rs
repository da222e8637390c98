//! Reading the data: is every blob what its digest names?
//!
//! All of it, a part, or as much as there is time for. What is read in part goes round: it begins where the last run
//! left off, in the order of the digests, so that a short run every night comes by everything in turn.

use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::digest::{Algorithm, Digest, Hasher};
use crate::inventory::{DigestId, Digests};
use crate::layout::{DATA, blob_dir};
use crate::policy::parse_size;
use crate::progress::Meter;
use crate::registry::{ReadThrough, Registry, Unreadable};

use super::blobs::{BlobState, BlobStates};

/// How many bytes are asked for at a time: enough that asking costs nothing, and few enough to stay in a core's cache
/// until they are hashed.
const PIECE: usize = 256 * 1024;

/// Which blobs are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Subset {
    /// All.
    #[default]
    All,
    /// One of so many parts of about the same number of blobs: always the same ones, whatever comes or goes beside
    /// them.
    Part {
        /// Which, counted from 1.
        number: u32,
        /// Of how many.
        of: u32,
    },
    /// So many percent of the bytes, from where the last run left off.
    Percent(f64),
    /// So many bytes, from where the last run left off; the blob that reaches it is read whole.
    Bytes(u64),
    /// These, as far as they are there.
    These(Vec<Digest>),
}

impl Subset {
    /// Whether it begins where the last run left off.
    pub fn goes_round(&self) -> bool {
        matches!(self, Subset::Percent(_) | Subset::Bytes(_))
    }
}

impl FromStr for Subset {
    type Err = String;

    /// `2/7`, `5%` or `10GiB` (also KiB, MiB, TiB, or bytes without a unit; K, M, G, T are the same as with iB).
    fn from_str(text: &str) -> Result<Subset, String> {
        let wrong = || format!("'{}' is no subset: write 2/7, 5% or 10GiB", crate::layout::shown(text.as_bytes()));
        if let Some((number, of)) = text.split_once('/') {
            let (number, of) = (plain(number).ok_or_else(wrong)?, plain(of).ok_or_else(wrong)?);
            return if (1..=of).contains(&number) { Ok(Subset::Part { number, of }) } else { Err(wrong()) };
        }
        if let Some(percent) = text.strip_suffix('%') {
            let is_plain = percent.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let percent: f64 = percent.parse().ok().filter(|_| is_plain).ok_or_else(wrong)?;
            return if percent > 0.0 && percent <= 100.0 { Ok(Subset::Percent(percent)) } else { Err(wrong()) };
        }
        parse_size(text).map(Subset::Bytes).ok_or_else(wrong)
    }
}

fn plain(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What is to be read.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Which blobs.
    pub subset: Subset,
    /// When to stop. One blob at least is read whole, so that even the largest has its turn.
    pub until: Option<Instant>,
    /// Where the last run left off: blobs before it come last.
    pub from: Option<Digest>,
}

impl Request {
    /// Whether it begins where the last run left off.
    pub fn goes_round(&self) -> bool {
        self.subset.goes_round() || self.until.is_some()
    }
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// How many blobs, whole.
    pub blobs: u64,
    /// How many bytes.
    pub bytes: u64,
    /// How many blobs there are.
    pub of_blobs: u64,
    /// How many bytes they have.
    pub of_bytes: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The first that was not read, where the next run begins; `None` if all were read that were asked for, to the end
    /// of the round.
    pub next: Option<Digest>,
    /// Whether the time was up before all was read that was asked for.
    pub is_out_of_time: bool,
    /// How many turned out not to be what their digests name.
    pub damaged: u64,
}

/// Reads blobs, in parallel on the current rayon pool, and notes what is wrong with them.
pub(super) fn read(
    registry: &Registry,
    digests: &Digests,
    states: &mut BlobStates,
    request: &Request,
    meter: &Meter,
) -> Read {
    let began = Instant::now();
    let all = states.whole(digests);
    let mut answer =
        Read { of_blobs: all.len() as u64, of_bytes: all.iter().map(|(_, bytes)| bytes).sum(), ..Read::default() };
    let (chosen, mut next) = choose(digests, all, request, answer.of_bytes);
    meter.expect(chosen.iter().map(|(_, bytes)| bytes).sum());

    let (taken, blobs, bytes) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let found: Mutex<Vec<(DigestId, BlobState)>> = Mutex::default();
    let unread: Mutex<Vec<usize>> = Mutex::default();
    let is_over = AtomicBool::new(false);
    let is_time_up = || request.until.is_some_and(|until| Instant::now() >= until);
    // The first is read whatever the time is, but not against somebody's word.
    let is_to_end = |place: usize| meter.is_halted() || (place > 0 && is_time_up());
    let work = || {
        let mut buffer = vec![0; PIECE];
        loop {
            let place = taken.fetch_add(1, Ordering::Relaxed);
            let Some(&(id, size)) = chosen.get(place) else { break };
            if is_over.load(Ordering::Relaxed) && place > 0 || is_to_end(place) {
                is_over.store(true, Ordering::Relaxed);
                lock(&unread).push(place);
                break;
            }
            let go_on = |piece: u64| {
                meter.add(piece);
                !is_to_end(place)
            };
            let digest = digests.digest(id);
            match hash(registry, &digest, &mut buffer, go_on) {
                Ok(None) => lock(&found).push((id, BlobState::Missing)),
                Ok(Some((_, through))) if !through.is_whole => {
                    is_over.store(true, Ordering::Relaxed);
                    lock(&unread).push(place);
                }
                Ok(Some((is, through))) => {
                    blobs.fetch_add(1, Ordering::Relaxed);
                    bytes.fetch_add(through.read, Ordering::Relaxed);
                    if is != digest
                        && let Some(state) = confirm(registry, &digest, &is, &mut buffer)
                    {
                        lock(&found).push((id, state));
                    }
                }
                Err(unreadable) => {
                    meter.add(size);
                    lock(&found).push((id, BlobState::Unreadable(unreadable.cause.to_string().into())));
                }
            }
        }
    };
    rayon::scope(|scope| (0..rayon::current_num_threads()).for_each(|_| scope.spawn(|_| work())));

    let first_unread = unread.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().min();
    // Those that were not even taken come after it.
    let first_unread = first_unread.or_else(|| {
        let taken = taken.into_inner();
        (is_over.into_inner() && taken < chosen.len()).then_some(taken)
    });
    if let Some(place) = first_unread {
        answer.is_out_of_time = true;
        next = Some(digests.digest(chosen[place].0));
    }
    for (id, state) in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
        answer.damaged += u64::from(matches!(state, BlobState::Damaged(_)));
        states.note(id, state);
    }
    (answer.blobs, answer.bytes) = (blobs.into_inner(), bytes.into_inner());
    answer.next = next.filter(|_| request.goes_round());
    answer.seconds = began.elapsed().as_secs_f64();
    answer
}

/// Which blobs are read, in which order, and where the next run begins if all of them are.
fn choose(
    digests: &Digests,
    mut all: Vec<(DigestId, u64)>,
    request: &Request,
    of_bytes: u64,
) -> (Vec<(DigestId, u64)>, Option<Digest>) {
    match &request.subset {
        &Subset::Part { number, of } => all.retain(|(id, _)| part_of(&digests.digest(*id), of) + 1 == number),
        Subset::These(these) => all.retain(|(id, _)| these.contains(&digests.digest(*id))),
        Subset::All | Subset::Percent(_) | Subset::Bytes(_) => {}
    }
    if !request.goes_round() {
        // The largest first: the last to end is then a small one, and no thread waits long for another.
        all.sort_by_key(|&(id, bytes)| (std::cmp::Reverse(bytes), id));
        return (all, None);
    }
    // They are in the order of their digests.
    let begin = request.from.as_ref().map_or(0, |from| all.partition_point(|(id, _)| digests.digest(*id) < *from));
    all.rotate_left(begin);
    let enough = match request.subset {
        Subset::Bytes(bytes) => bytes,
        // Rounded up: a hundred runs of 1 % come by everything.
        Subset::Percent(percent) => (of_bytes as f64 * percent / 100.0).ceil() as u64,
        Subset::All | Subset::Part { .. } | Subset::These(_) => u64::MAX,
    };
    let mut sum = 0;
    let mut is_short_of_it = |bytes: u64| {
        let is_short = sum < enough;
        sum += bytes;
        is_short
    };
    let count = all.iter().take_while(|(_, bytes)| is_short_of_it(*bytes)).count();
    let next = all.get(count).map(|(id, _)| digests.digest(*id));
    all.truncate(count);
    (all, next)
}

/// In which of so many parts a digest is, counted from 0. Digests are as good as random.
fn part_of(digest: &Digest, of: u32) -> u32 {
    let mut first = [0; 4];
    first.copy_from_slice(&digest.as_bytes()[..4]);
    let place = (u64::from(u32::from_be_bytes(first)) * u64::from(of)) >> 32;
    u32::try_from(place).unwrap_or_default()
}

/// The digest of a blob's bytes, and how far they were read; `None` if it is not there.
fn hash(
    registry: &Registry,
    digest: &Digest,
    buffer: &mut [u8],
    go_on: impl FnMut(u64) -> bool,
) -> Result<Option<(Digest, ReadThrough)>, Unreadable> {
    hash_at(registry, &blob_dir(digest).join(DATA), digest.algorithm(), buffer, go_on)
}

/// The digest of a file's bytes, and how far they were read; `None` if it is not there.
fn hash_at(
    registry: &Registry,
    path: &Path,
    algorithm: Algorithm,
    buffer: &mut [u8],
    mut go_on: impl FnMut(u64) -> bool,
) -> Result<Option<(Digest, ReadThrough)>, Unreadable> {
    let mut hasher = Hasher::new(algorithm);
    let read = registry.v2().read_through(path, buffer, |piece| {
        hasher.update(piece);
        go_on(piece.len() as u64)
    })?;
    Ok(read.map(|through| (hasher.finish(), through)))
}

/// Reads a blob once more whose bytes had another digest. Whoever says that somebody's data is damaged should be sure:
/// memory, a cable or a disk that fails now and then reads wrong what lies there whole.
fn confirm(registry: &Registry, digest: &Digest, was: &Digest, buffer: &mut [u8]) -> Option<BlobState> {
    registry.v2().forget(blob_dir(digest).join(DATA));
    Some(match hash(registry, digest, buffer, |_| true) {
        Ok(Some((is, _))) if is == *was => BlobState::Damaged(format!("its bytes have the digest {is}").into()),
        Ok(Some(_)) => BlobState::Unreadable(
            "read twice, it gave different bytes: look at the memory and the disks of this machine".into(),
        ),
        // Somebody has taken it away meanwhile.
        Ok(None) => return None,
        Err(unreadable) => BlobState::Unreadable(unreadable.cause.to_string().into()),
    })
}

/// What a blob is that seems to be damaged, read whole and twice.
pub(super) fn examine(registry: &Registry, digest: &Digest) -> BlobState {
    let mut buffer = vec![0; PIECE];
    match hash(registry, digest, &mut buffer, |_| true) {
        Ok(Some((is, through))) if is == *digest => BlobState::Whole(through.read),
        Ok(Some((is, _))) => confirm(registry, digest, &is, &mut buffer).unwrap_or(BlobState::Missing),
        Ok(None) => BlobState::Missing,
        Err(unreadable) => BlobState::Unreadable(unreadable.cause.to_string().into()),
    }
}

/// Whether a copy of a blob is what its digest names. One that cannot be read is not known to be.
pub(super) fn is_whole_copy(registry: &Registry, copy: &Path, digest: &Digest) -> bool {
    let mut buffer = vec![0; PIECE];
    let read = hash_at(registry, copy, digest.algorithm(), &mut buffer, |_| true);
    matches!(read, Ok(Some((is, through))) if is == *digest && through.is_whole)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
