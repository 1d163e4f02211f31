//! A trace map as bytes.
//!
//! ```text
//! object   header │ bucket 0 … bucket 1,023
//! header   "mosso-tm" │ version │ number of blocks │ for each bucket: end, CRC-32 │ CRC-32 of the header up to here
//! bucket   entries, ascending: 22 bits of the hash of a trace id │ 10 bits: the number of a block
//! ```
//!
//! All numbers are u32, little-endian. The hash has 32 bits; the first 10 are the number of the bucket. Ends are counted
//! in entries, from the end of the header. A CRC-32 of a bucket covers its number too. An entry takes 4 bytes, of which a
//! look-up reads the header and one bucket; of T traces that are mapped, T / 2^32 look as if they were the one asked for.

use std::ops::Range;

use bytes::Bytes;

use crate::trace_ids::TraceHash;

const MAGIC: [u8; 8] = *b"mosso-tm";
/// Version of the map that this code writes and reads.
const VERSION: u32 = 1;

const BLOCK_BITS: u32 = 10;
const BUCKET_BITS: u32 = 10;
/// Most blocks of a map.
pub(crate) const MAX_BLOCKS: usize = 1 << BLOCK_BITS;
const BUCKETS: usize = 1 << BUCKET_BITS;

const START_BYTES: usize = MAGIC.len() + 4 + 4;
const PLACE_BYTES: usize = 8;
pub(crate) const HEADER_BYTES: usize = START_BYTES + BUCKETS * PLACE_BYTES + 4;
const ENTRY_BYTES: usize = 4;

/// That a block has a trace; sorts as the map does.
///
/// The lower half of the number is the entry, the upper half the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair(u64);

impl Pair {
    /// That the block of this number in the map has the trace.
    pub(crate) fn new(hash: TraceHash, block: usize) -> Self {
        debug_assert!(block < MAX_BLOCKS);
        Self(u64::from(hash.0) << BLOCK_BITS | block as u64)
    }

    pub fn bucket(self) -> usize {
        (self.0 >> 32) as usize
    }

    fn entry(self) -> u32 {
        self.0 as u32
    }

    fn of(bucket: usize, entry: u32) -> Self {
        Self((bucket as u64) << 32 | u64::from(entry))
    }

    pub fn hash(self) -> TraceHash {
        TraceHash((self.0 >> BLOCK_BITS) as u32)
    }

    pub fn block(self) -> usize {
        self.0 as usize % MAX_BLOCKS
    }
}

/// The object.
pub(crate) fn encode(mut pairs: Vec<Pair>, block_count: usize) -> Bytes {
    pairs.sort_unstable();
    pairs.dedup();
    let mut object = Vec::with_capacity(HEADER_BYTES + pairs.len() * ENTRY_BYTES);
    object.extend(MAGIC);
    object.extend(VERSION.to_le_bytes());
    object.extend((block_count as u32).to_le_bytes());
    object.resize(HEADER_BYTES, 0);
    let mut rest = pairs.as_slice();
    for bucket in 0..BUCKETS {
        let (of_bucket, after) = rest.split_at(rest.partition_point(|pair| pair.bucket() == bucket));
        rest = after;
        let start = object.len();
        of_bucket.iter().for_each(|pair| object.extend(pair.entry().to_le_bytes()));
        let (end, crc32) = ((object.len() - HEADER_BYTES) / ENTRY_BYTES, checksum(bucket, &object[start..]));
        let place = START_BYTES + bucket * PLACE_BYTES;
        object[place..place + 4].copy_from_slice(&(end as u32).to_le_bytes());
        object[place + 4..place + PLACE_BYTES].copy_from_slice(&crc32.to_le_bytes());
    }
    let crc32 = crc32fast::hash(&object[..HEADER_BYTES - 4]);
    object[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc32.to_le_bytes());
    object.into()
}

fn checksum(bucket: usize, entries: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(entries);
    hasher.update(&(bucket as u32).to_le_bytes());
    hasher.finalize()
}

/// What stands at the beginning of a map.
#[derive(Debug)]
pub(crate) struct Header {
    /// End and CRC-32 of each bucket.
    places: Vec<(u32, u32)>,
}

impl Header {
    /// From the first bytes of an object of this size with so many blocks.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(object: &[u8], object_bytes: u64, block_count: usize) -> Result<Self, String> {
        let header = object.get(..HEADER_BYTES).ok_or("it is too short")?;
        let (header, crc32) = header.split_at(HEADER_BYTES - 4);
        if header[..MAGIC.len()] != MAGIC {
            return Err("it does not begin as a trace map does".to_owned());
        }
        let (numbers, _) = header[MAGIC.len()..].as_chunks::<4>();
        let numbers: Vec<u32> = numbers.iter().map(|number| u32::from_le_bytes(*number)).collect();
        let (start, places) = numbers.split_at(2);
        if start[0] != VERSION {
            return Err(format!("it has version {}, this program knows version {VERSION}", start[0]));
        }
        if crc32 != crc32fast::hash(header).to_le_bytes() {
            return Err("the checksum of its header does not match".to_owned());
        }
        if start[1] as usize != block_count {
            return Err(format!("it has {} blocks, the manifest says {block_count}", start[1]));
        }
        let (places, _) = places.as_chunks::<2>();
        let places: Vec<(u32, u32)> = places.iter().map(|&[end, crc32]| (end, crc32)).collect();
        let end = places.last().map_or(0, |(end, _)| u64::from(*end) * ENTRY_BYTES as u64);
        match places.is_sorted_by_key(|(end, _)| *end) && HEADER_BYTES as u64 + end == object_bytes {
            true => Ok(Self { places }),
            false => Err("its buckets are not in order".to_owned()),
        }
    }

    /// Where a bucket stands in the object.
    pub fn place(&self, bucket: usize) -> Range<u64> {
        let start = bucket.checked_sub(1).map_or(0, |before| self.places[before].0);
        let at = |entries: u32| HEADER_BYTES as u64 + u64::from(entries) * ENTRY_BYTES as u64;
        at(start)..at(self.places[bucket].0)
    }

    /// Whether these are the bytes of a bucket.
    pub fn is_whole(&self, bucket: usize, entries: &[u8]) -> bool {
        let place = self.place(bucket);
        entries.len() as u64 == place.end - place.start && checksum(bucket, entries) == self.places[bucket].1
    }

    pub fn memory_bytes(&self) -> usize {
        size_of_val(self.places.as_slice())
    }
}

/// Whether a bucket says that the block has the trace.
pub(crate) fn holds(bucket: &[u8], pair: Pair) -> bool {
    let (entries, _) = bucket.as_chunks::<ENTRY_BYTES>();
    entries.binary_search_by_key(&pair.entry(), |entry| u32::from_le_bytes(*entry)).is_ok()
}

/// The header of a whole object of which every byte was checked.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn verified(object: &[u8], block_count: usize) -> Result<Header, String> {
    let header = Header::decode(object, object.len() as u64, block_count)?;
    for bucket in 0..BUCKETS {
        if !header.is_whole(bucket, entries_of(&header, bucket, object)) {
            return Err(format!("the checksum of bucket {bucket} does not match"));
        }
    }
    Ok(header)
}

/// All that a whole object says.
///
/// # Errors
/// As [`verified`].
pub(crate) fn decode(object: &[u8], block_count: usize) -> Result<Vec<Pair>, String> {
    let header = verified(object, block_count)?;
    let pairs_of = |bucket| {
        let (entries, _) = entries_of(&header, bucket, object).as_chunks::<ENTRY_BYTES>();
        entries.iter().map(move |entry| Pair::of(bucket, u32::from_le_bytes(*entry)))
    };
    Ok((0..BUCKETS).flat_map(pairs_of).collect())
}

/// A bucket of a whole object: the ends in its header are in order, and the last is its own.
fn entries_of<'a>(header: &Header, bucket: usize, object: &'a [u8]) -> &'a [u8] {
    let place = header.place(bucket);
    &object[place.start as usize..place.end as usize]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use model::TraceId;

    use super::*;

    fn any_pairs() -> impl Strategy<Value = Vec<Pair>> {
        let pair =
            (any::<[u8; 16]>(), 0..MAX_BLOCKS).prop_map(|(id, block)| Pair::new(TraceHash::of(&TraceId(id)), block));
        prop::collection::vec(pair, 0..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]

        #[test]
        fn what_goes_in_comes_out(mut pairs in any_pairs(), absent: [u8; 16], block in 0..MAX_BLOCKS) {
            let object = encode(pairs.clone(), MAX_BLOCKS);
            let header = Header::decode(&object, object.len() as u64, MAX_BLOCKS).unwrap();
            let ask = |pair: Pair| {
                let place = header.place(pair.bucket());
                let bucket = &object[place.start as usize..place.end as usize];
                assert!(header.is_whole(pair.bucket(), bucket));
                holds(bucket, pair)
            };
            prop_assert!(pairs.iter().all(|&pair| ask(pair)));
            let absent = Pair::new(TraceHash::of(&TraceId(absent)), block);
            prop_assert_eq!(ask(absent), pairs.contains(&absent));
            pairs.sort_unstable();
            pairs.dedup();
            prop_assert_eq!(decode(&object, MAX_BLOCKS).unwrap(), pairs);
        }

        #[test]
        fn damage_is_noticed(pairs in any_pairs(), at: prop::sample::Index, mask in 1u8.., cut: prop::sample::Index) {
            let object = encode(pairs, 7).to_vec();
            let mut changed = object.clone();
            changed[at.index(object.len())] ^= mask;
            prop_assert!(decode(&changed, 7).is_err());
            prop_assert!(decode(&object[..cut.index(object.len())], 7).is_err());
            prop_assert!(decode(&object, 8).is_err());
        }
    }

    #[test]
    fn pairs_give_back_what_they_are_made_of() {
        let hash = TraceHash::of(&TraceId([7; 16]));
        let pair = Pair::new(hash, 1_000);
        assert_eq!((pair.hash(), pair.block()), (hash, 1_000));
        assert_eq!(Pair::of(pair.bucket(), pair.entry()), pair);
    }

    #[test]
    fn an_object_of_the_first_version_is_as_it_was() {
        let id = TraceId(*b"0123456789abcdef");
        let object = encode(vec![Pair::new(TraceHash::of(&id), 3)], 4);
        assert_eq!((object.len(), crc32fast::hash(&object)), (HEADER_BYTES + 4, 404_637_628));
    }
}
