//! Values that are nearly all different (request ids, URLs with parameters), kept as 15 bits of a hash with a page each:
//! about two bytes a value, where a term would cost ten. They answer "which pages may hold this value", nothing else.
//!
//! ```text
//! n groups │ offset u32 LE × (groups + 1) │ group … group
//! group = (hash × groups) >> 64, of 512 values on average; sorted by the next 15 bits of that product. Of a hash count
//! the first 40 bits.
//!         value │ difference of the 15 bits to the value before, base 128 │ page ÷ stride u8
//! ```
//!
//! One value in 64 that is not there seems to be in some page. `stride` makes page numbers fit a byte.

use std::ops::Range;

use crate::varint;

const GROUP_VALUES: usize = 512;
const REST_BITS: u32 = 15;
/// Pages that one byte can name.
const MAX_STRIDES: usize = 256;

/// How many pages one number of a page stands for.
pub(super) fn stride(page_count: usize) -> usize {
    page_count.div_ceil(MAX_STRIDES).max(1)
}

/// Bits of a hash that count, and of the page beside them while an index is built.
const HASH_BITS: u32 = 40;
const PAGE_BITS: u32 = u64::BITS - HASH_BITS;
const HASH_MASK: u64 = u64::MAX << PAGE_BITS;
const PAGE_MASK: u64 = !HASH_MASK;

/// Hashes by their first bits: each part is sorted and encoded by itself.
const PART_BITS: u32 = 6;
/// Entries that a part can hold from the first one on.
const LEAST_ROOM: usize = 512;

/// Group and rest of a hash.
fn place(hash: u64, groups: usize) -> (usize, u16) {
    let product = u128::from(hash & HASH_MASK) * groups as u128;
    ((product >> 64) as usize, (product as u64 >> (64 - REST_BITS)) as u16)
}

/// Hashes and the pages that hold them, while an index is built; eight bytes for each, up to twice that.
pub(super) struct Hashes {
    /// None once there were too many.
    parts: Vec<Vec<u64>>,
    count: usize,
    most: usize,
}

impl Hashes {
    /// Keeps as many as `most`, or none.
    pub fn new(most: usize) -> Self {
        Self { parts: vec![Vec::new(); 1 << PART_BITS], count: 0, most }
    }

    /// A block has fewer than 2²⁴ pages: its row numbers are 32 bits wide, and a page has hundreds of rows.
    #[inline]
    pub fn add(&mut self, hash: u64, page: u32) {
        let Some(part) = self.parts.get_mut((hash >> (u64::BITS - PART_BITS)) as usize) else { return };
        if part.len() == part.capacity() {
            self.count -= make_room(part);
        }
        part.push((hash & HASH_MASK) | (u64::from(page) & PAGE_MASK));
        self.count += 1;
        if self.count > self.most {
            self.parts = Vec::new();
        }
    }

    /// The object's part; empty when there were too many.
    pub fn encode(self, page_count: usize) -> Vec<u8> {
        if self.parts.is_empty() {
            return Vec::new();
        }
        let (mut parts, stride) = (self.parts, stride(page_count) as u64);
        for part in &mut parts {
            part.iter_mut().for_each(|entry| *entry = (*entry & HASH_MASK) | ((*entry & PAGE_MASK) / stride));
            part.sort_unstable();
            part.dedup();
        }
        let count: usize = parts.iter().map(Vec::len).sum();
        let groups = count.div_ceil(GROUP_VALUES);
        let (mut offsets, mut data) = (Vec::with_capacity(groups + 1), Vec::with_capacity(count * 9 / 4));
        let (mut open, mut last) = (0, 0);
        for part in parts {
            for entry in part {
                let (group, rest) = place(entry, groups);
                while offsets.len() <= group {
                    offsets.push(data.len() as u32);
                }
                if group != open {
                    (open, last) = (group, 0);
                }
                varint::put(&mut data, u64::from(rest - last));
                data.push(entry as u8);
                last = rest;
            }
        }
        offsets.resize(groups + 1, data.len() as u32);
        let mut out = Vec::with_capacity(4 * (groups + 2) + data.len());
        out.extend((groups as u32).to_le_bytes());
        offsets.iter().for_each(|offset| out.extend(offset.to_le_bytes()));
        out.extend(data);
        out
    }
}

/// Drops what a full part has twice, for a value is added as often as spans of a page have it; and lets the part grow unless
/// that was half of it. Returns how many were dropped.
fn make_room(part: &mut Vec<u64>) -> usize {
    let before = part.len();
    part.sort_unstable();
    part.dedup();
    if part.len() > before / 2 {
        part.reserve_exact(part.len().max(LEAST_ROOM));
    }
    before - part.len()
}

/// Where the number of groups stands.
pub(super) const GROUPS: Range<usize> = 0..4;

/// Where the offsets of the group stand that the hash would be in.
pub(super) fn offsets_of(hash: u64, groups: usize) -> Range<usize> {
    let at = GROUPS.end + 4 * place(hash, groups).0;
    at..at + 8
}

/// Where the group stands whose offsets these are.
pub(super) fn group_of(offsets: &[u8], groups: usize) -> Option<Range<usize>> {
    let data = GROUPS.end + 4 * (groups + 1);
    let (start, end) = (u32_at(offsets, 0)?, u32_at(offsets, 4)?);
    (start <= end).then_some(data + start..data + end)
}

/// A number of the table of offsets.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
}

/// The numbers of the strides in which the hash stands; `None` for a group that is not one.
pub(super) fn strides(mut group: &[u8], hash: u64, groups: usize) -> Option<Vec<usize>> {
    let (_, wanted) = place(hash, groups);
    let (mut found, mut rest) = (Vec::new(), 0u64);
    while !group.is_empty() && rest <= u64::from(wanted) {
        rest = rest.checked_add(varint::take(&mut group)?)?;
        let (&stride, after) = group.split_first()?;
        group = after;
        if rest == u64::from(wanted) {
            found.push(usize::from(stride));
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::term::hash_bytes;
    use super::*;

    fn encode(hashes: impl IntoIterator<Item = (u64, u32)>, page_count: usize) -> Vec<u8> {
        let mut all = Hashes::new(usize::MAX);
        hashes.into_iter().for_each(|(hash, page)| all.add(hash, page));
        all.encode(page_count)
    }

    fn look_up(encoded: &[u8], hash: u64) -> Vec<usize> {
        let groups = u32_at(encoded, 0).unwrap();
        if groups == 0 {
            return Vec::new();
        }
        let group = group_of(&encoded[offsets_of(hash, groups)], groups).unwrap();
        strides(&encoded[group], hash, groups).unwrap()
    }

    proptest! {
        #[test]
        fn no_value_is_lost(seeds in prop::collection::vec((any::<u64>(), 0u32..5000), 0..2000)) {
            let encoded = encode(seeds.iter().copied(), 5000);
            for (hash, page) in seeds {
                prop_assert!(look_up(&encoded, hash).contains(&(page as usize / stride(5000))));
            }
        }
    }

    #[test]
    fn a_value_that_a_page_has_often_is_kept_once() {
        let hash = |number: u64| hash_bytes(&number.to_le_bytes(), 1);
        let once: Vec<(u64, u32)> = (0..20_000).map(|number| (hash(number), number as u32 / 100)).collect();
        let mut all = Hashes::new(2 * once.len() + (1 << PART_BITS) * LEAST_ROOM);
        for page in once.chunks(100) {
            (0..40).flat_map(|_| page).for_each(|&(hash, page)| all.add(hash, page));
        }
        let held: usize = all.parts.iter().map(Vec::capacity).sum();
        assert!(held > 0 && held <= 3 * once.len() + (1 << PART_BITS) * LEAST_ROOM, "{held} for {}", once.len());
        let encoded = all.encode(200);
        assert!(once.iter().all(|&(hash, page)| look_up(&encoded, hash).contains(&(page as usize))));
    }

    #[test]
    fn a_value_takes_two_bytes_and_few_others_look_like_it() {
        let hash = |number: u64| hash_bytes(&number.to_le_bytes(), 1);
        let encoded = encode((0..100_000).map(|number| (hash(number), number as u32 / 450)), 223);
        assert!(encoded.len() < 220_000, "{} bytes", encoded.len());
        let false_hits = (0..64_000).filter(|&number| !look_up(&encoded, hash(1 << 40 | number)).is_empty()).count();
        assert!((800..1200).contains(&false_hits), "{false_hits} of 64,000");
    }
}
