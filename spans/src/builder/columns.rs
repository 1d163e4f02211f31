//! Growing columns that Arrow has no cheap builder for: attribute lists and shared bytes.

use crate::decode::AnyValue;
use crate::strings::Interner;

/// Where each list ends. List `i` holds items `end(i - 1)..end(i)`.
#[derive(Default)]
pub(super) struct Lists {
    ends: Vec<u32>,
}

impl Lists {
    /// Ends the current list; `item_count` is how many items all lists hold by now.
    pub(super) fn close(&mut self, item_count: usize) {
        self.ends.push(item_count as u32);
    }

    /// How many items the first `lists` lists hold.
    pub(super) fn item_count(&self, lists: usize) -> usize {
        lists.checked_sub(1).map_or(0, |last| self.ends[last] as usize)
    }

    pub(super) fn truncate(&mut self, lists: usize) {
        self.ends.truncate(lists);
    }

    pub(super) fn items(&self, list: usize) -> std::ops::Range<usize> {
        self.item_count(list)..self.ends[list] as usize
    }
}

/// Byte strings by number, not deduplicated.
#[derive(Default)]
pub(super) struct Binaries {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Binaries {
    pub(super) fn push(&mut self, value: &[u8]) -> i32 {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len() as u32);
        self.ends.len() as i32 - 1
    }

    pub(super) fn get(&self, id: i32) -> &[u8] {
        let start = if id == 0 { 0 } else { self.ends[id as usize - 1] };
        &self.bytes[start as usize..self.ends[id as usize] as usize]
    }

    pub(super) fn byte_count(&self) -> usize {
        self.bytes.len() + self.ends.len() * 4
    }
}

/// The type of an attribute's value, and how its 64 bits are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tag {
    Empty,
    /// Number of a text.
    String,
    Int,
    /// Bits of a double.
    Double,
    Bool,
    /// Number of a serialized `AnyValue`.
    Other,
}

/// Attributes of all spans (or events, links, …), one after another; [`Lists`] says which belong together.
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) key: Vec<i32>,
    pub(super) tag: Vec<Tag>,
    pub(super) bits: Vec<u64>,
}

impl Attributes {
    pub(super) fn len(&self) -> usize {
        self.key.len()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.key.truncate(len);
        self.tag.truncate(len);
        self.bits.truncate(len);
    }

    #[inline]
    pub(super) fn push(&mut self, strings: &mut Interner, others: &mut Binaries, key: &[u8], value: AnyValue<'_>) {
        self.key.push(strings.intern(key));
        let (tag, bits) = match value {
            AnyValue::Empty => (Tag::Empty, 0),
            AnyValue::String(text) => (Tag::String, strings.intern(text) as u64),
            AnyValue::Int(value) => (Tag::Int, value as u64),
            AnyValue::Double(value) => (Tag::Double, value.to_bits()),
            AnyValue::Bool(value) => (Tag::Bool, u64::from(value)),
            AnyValue::Other(message) => (Tag::Other, others.push(message) as u64),
        };
        self.tag.push(tag);
        self.bits.push(bits);
    }
}
