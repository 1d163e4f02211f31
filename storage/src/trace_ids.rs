//! Traces by id, without the ids: a trace is known by 32 bits of a hash, and found by where that falls among all hashes.
//!
//! ```text
//! ids    page … page         the entries of all traces, ascending by hash
//! page   entry × up to 511   hash u32 │ row of the trace in traces.parquet u32 (little-endian)
//!        CRC-32 u32          of the entries and the page's number u32
//! ```
//!
//! Hashes are evenly spread, so the place of one among n is known within some √n: a look-up reads few pages, and needs no
//! index over them. Two traces in 2^32 share a hash: whoever looks one up compares the id itself.

use std::ops::Range;

use model::TraceId;
use spans::Traces;

use crate::index::hash_bytes;

/// Tells this hash from those of an index.
const SEED: u64 = 0x7472_6163_652d_6d61;

const ENTRY_BYTES: usize = 8;
const CRC_BYTES: usize = 4;
/// Entries of a page, which takes 4 KiB less 4 bytes.
const PAGE_ENTRIES: usize = 511;
const PAGE_BYTES: usize = PAGE_ENTRIES * ENTRY_BYTES + CRC_BYTES;

/// In standard deviations of at most √n / 2; see [`margin`].
const DEVIATIONS: usize = 4;

/// By what maps and directories know a trace: 32 bits of a hash of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceHash(pub u32);

impl TraceHash {
    pub fn of(id: &TraceId) -> Self {
        Self((hash_bytes(&id.0, SEED) >> 32) as u32)
    }
}

/// The traces of a block by hash: ten bytes each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceIds {
    /// Ascending by hash, then by row.
    entries: Vec<(TraceHash, u32)>,
    /// All hashes in equal ranges, [`RANGES_PER_ENTRY`] for each entry: the bit of a range is set if it has one. Nearly all
    /// hashes that are not here are known by that, without a search among the entries.
    occupied: Vec<u64>,
}

const RANGES_PER_ENTRY: usize = 16;

impl TraceIds {
    pub fn new(mut entries: Vec<(TraceHash, u32)>) -> Self {
        entries.sort_unstable();
        Self::of_ascending(entries)
    }

    fn of_ascending(entries: Vec<(TraceHash, u32)>) -> Self {
        let mut ids = Self { occupied: vec![0; (entries.len() * RANGES_PER_ENTRY).div_ceil(64)], entries };
        for (hash, _) in &ids.entries {
            let (word, bit) = range_of(*hash, ids.occupied.len());
            ids.occupied[word] |= bit;
        }
        ids
    }

    fn is_occupied(&self, hash: TraceHash) -> bool {
        let (word, bit) = range_of(hash, self.occupied.len());
        self.occupied.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Of traces whose rows do not matter.
    pub fn of_hashes(hashes: impl IntoIterator<Item = TraceHash>) -> Self {
        Self::new(hashes.into_iter().map(|hash| (hash, 0)).collect())
    }

    /// Those of a table.
    pub fn of(traces: &Traces<'_>) -> Self {
        Self::new((0..traces.len()).map(|row| (TraceHash::of(&traces.id(row)), row as u32)).collect())
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Ascending; one that two traces have is there twice.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = TraceHash> {
        self.entries.iter().map(|(hash, _)| *hash)
    }

    /// The rows of the traces that may have an id with this hash.
    pub fn find(&self, hash: TraceHash) -> impl Iterator<Item = u32> {
        let entries = if self.is_occupied(hash) { self.entries.as_slice() } else { &[] };
        rows_of(entries, hash)
    }

    pub fn has(&self, hash: TraceHash) -> bool {
        self.find(hash).next().is_some()
    }

    /// Those of some hashes that traces here have.
    pub fn shared(&self, hashes: impl IntoIterator<Item = TraceHash>) -> Vec<TraceHash> {
        hashes.into_iter().filter(|hash| self.has(*hash)).collect()
    }

    /// The hashes that traces both here and there have: the fewer are looked up among the others. Ascending; one that two of the
    /// fewer have is there twice.
    pub fn shared_with(&self, others: &Self) -> Vec<TraceHash> {
        let (fewer, more) = if self.len() <= others.len() { (self, others) } else { (others, self) };
        more.shared(fewer.hashes())
    }

    pub fn memory_bytes(&self) -> usize {
        size_of_val(self.entries.as_slice()) + size_of_val(self.occupied.as_slice())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let pages = self.entries.chunks(PAGE_ENTRIES);
        let mut bytes = Vec::with_capacity(pages.len() * PAGE_BYTES);
        for (number, page) in pages.enumerate() {
            let start = bytes.len();
            for (TraceHash(hash), row) in page {
                bytes.extend(hash.to_le_bytes());
                bytes.extend(row.to_le_bytes());
            }
            let crc32 = checksum(&bytes[start..], number);
            bytes.extend(crc32.to_le_bytes());
        }
        bytes
    }

    /// All of them; `None` when the bytes are not what [`encode`](Self::encode) gives.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self::of_ascending(decode_pages(bytes, 0)?))
    }
}

/// The range that a hash lies in, of 64 in each of so many words: number of the word, and the bit in it.
fn range_of(hash: TraceHash, words: usize) -> (usize, u64) {
    let range = (u64::from(hash.0) * (words as u64 * 64)) >> 32;
    ((range / 64) as usize, 1 << (range % 64))
}

fn rows_of(entries: &[(TraceHash, u32)], hash: TraceHash) -> impl Iterator<Item = u32> {
    let first = entries.partition_point(|(other, _)| *other < hash);
    entries[first..].iter().take_while(move |(other, _)| *other == hash).map(|(_, row)| *row)
}

fn checksum(entries: &[u8], page: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(entries);
    hasher.update(&(page as u32).to_le_bytes());
    hasher.finalize()
}

/// The entries of consecutive pages; `None` when a checksum does not match.
fn decode_pages(bytes: &[u8], first_page: usize) -> Option<Vec<(TraceHash, u32)>> {
    let mut entries = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
    for (number, page) in bytes.chunks(PAGE_BYTES).enumerate() {
        let (page, crc32) = page.split_last_chunk::<CRC_BYTES>()?;
        if u32::from_le_bytes(*crc32) != checksum(page, first_page + number) {
            return None;
        }
        let (pairs, rest) = page.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return None;
        }
        entries.extend(pairs.iter().map(|pair| {
            let (hash, row) = (pair[..4].try_into().unwrap_or_default(), pair[4..].try_into().unwrap_or_default());
            (TraceHash(u32::from_le_bytes(hash)), u32::from_le_bytes(row))
        }));
    }
    Some(entries)
}

/// How far from its expected place a hash is looked for first.
fn margin(traces: usize) -> usize {
    DEVIATIONS * (traces.isqrt() / 2 + 1)
}

/// A look-up of one hash: which pages to read next, until they are known to hold all of its entries.
pub(crate) struct LookUp {
    hash: TraceHash,
    traces: usize,
    /// Pages that are known to be needed.
    pages: Range<usize>,
}

impl LookUp {
    /// Among so many traces.
    pub fn new(hash: TraceHash, traces: usize) -> Self {
        let expected = ((hash.0 as u128 * traces as u128) >> 32) as usize;
        let margin = margin(traces);
        let last = (expected + margin).min(traces.saturating_sub(1));
        let pages = expected.saturating_sub(margin) / PAGE_ENTRIES..last / PAGE_ENTRIES + 1;
        Self { hash, traces, pages: if traces == 0 { 0..0 } else { pages } }
    }

    /// About how many entries it reads among so many traces.
    pub fn entries_read(traces: usize) -> usize {
        2 * margin(traces) + PAGE_ENTRIES
    }

    /// The bytes to read, in the object that holds the ids in this range.
    pub fn range(&self, ids: &Range<u64>) -> Range<u64> {
        let at = |page: usize| ids.start.saturating_add((page * PAGE_BYTES) as u64).min(ids.end);
        at(self.pages.start)..at(self.pages.end)
    }

    /// The rows of traces that may be the one, from what was read; the inner `None` when more pages are needed, which
    /// [`range`](Self::range) now says. The outer `None`: the pages are damaged.
    pub fn rows(&mut self, bytes: &[u8]) -> Option<Option<Vec<u32>>> {
        let entries = decode_pages(bytes, self.pages.start)?;
        let page_count = self.traces.div_ceil(PAGE_ENTRIES);
        let may_be_before = entries.first().is_none_or(|(first, _)| *first >= self.hash) && self.pages.start > 0;
        let may_be_after = entries.last().is_none_or(|(last, _)| *last <= self.hash) && self.pages.end < page_count;
        if !may_be_before && !may_be_after {
            return Some(Some(rows_of(&entries, self.hash).collect()));
        }
        // hashes of one's own making may be anywhere: what is read doubles each time
        let more = self.pages.len().max(1);
        let start = if may_be_before { self.pages.start.saturating_sub(more) } else { self.pages.start };
        let end = if may_be_after { (self.pages.end + more).min(page_count) } else { self.pages.end };
        self.pages = start..end;
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn found(ids: &TraceIds, hash: TraceHash) -> (Vec<u32>, usize) {
        let bytes = ids.encode();
        let part = 7..7 + bytes.len() as u64;
        let mut look_up = LookUp::new(hash, ids.len());
        let mut read = 0;
        loop {
            let range = look_up.range(&part);
            read += (range.end - range.start) as usize;
            if let Some(rows) = look_up.rows(&bytes[range.start as usize - 7..range.end as usize - 7]).unwrap() {
                return (rows, read);
            }
        }
    }

    proptest! {
        #[test]
        fn every_trace_is_found_wherever_its_hash_falls(
            mut hashes in proptest::collection::vec(prop_oneof![any::<u32>(), 0..3_u32, u32::MAX - 2..=u32::MAX], 0..3_000),
            absent: u32,
        ) {
            hashes.sort_unstable();
            let ids = TraceIds::new(hashes.iter().enumerate().map(|(row, hash)| (TraceHash(*hash), row as u32)).collect());
            prop_assert_eq!(TraceIds::decode(&ids.encode()), Some(ids.clone()));
            for hash in hashes.iter().copied().step_by(97).chain([absent, 0, u32::MAX]).map(TraceHash) {
                let expected: Vec<u32> = ids.find(hash).collect();
                prop_assert_eq!(found(&ids, hash).0, expected);
            }
            let mut asked: Vec<TraceHash> = hashes.iter().copied().step_by(7).chain([absent, 0, u32::MAX]).map(TraceHash).collect();
            asked.sort();
            let here: Vec<TraceHash> = asked.iter().copied().filter(|hash| ids.find(*hash).next().is_some()).collect();
            prop_assert_eq!(ids.shared(asked.iter().copied()), here.as_slice());
            let both: BTreeSet<TraceHash> = ids.shared_with(&TraceIds::of_hashes(asked)).into_iter().collect();
            prop_assert_eq!(both, here.into_iter().collect());
        }
    }

    #[test]
    fn of_many_traces_few_pages_are_read() {
        let spread = |row: u32| (TraceHash(row.wrapping_mul(0x9e37_79b9)), row);
        let ids = TraceIds::new((0..200_000).map(spread).collect());
        assert_eq!(found(&ids, spread(4_711).0).0, [4_711]);
        assert!((0..100).all(|row| found(&ids, spread(row * 1_999).0).1 <= 5 * PAGE_BYTES));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let mut bytes = TraceIds::new((0..1_000).map(|row| (TraceHash(row << 20), row)).collect()).encode();
        bytes[PAGE_BYTES + 3] ^= 1;
        assert_eq!(TraceIds::decode(&bytes), None);
        assert_eq!(decode_pages(&bytes[..PAGE_BYTES], 0).unwrap().len(), PAGE_ENTRIES);
        assert_eq!(decode_pages(&bytes[..PAGE_BYTES], 1), None, "the page of another place");
    }
}
