//! Interned strings: each distinct text of a table once, known by a small number.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Int32Type;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::error::Error;

/// Distinct texts in order of first appearance. Holds at most `i32::MAX` bytes; the limits of a table keep far below.
pub(crate) struct Interner {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    index: HashTable<i32>,
    /// With a seed of its own: texts come from outside, and nobody there can make them collide.
    hasher: DefaultHashBuilder,
}

impl Default for Interner {
    fn default() -> Self {
        Self { bytes: Vec::new(), offsets: vec![0], index: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }
}

impl Interner {
    /// The number of `text`. Bytes that are not UTF-8 are replaced by U+FFFD, so a broken client loses no span.
    pub(crate) fn intern(&mut self, text: &[u8]) -> i32 {
        let hash = self.hasher.hash_one(text);
        if let Some(&id) = self.index.find(hash, |&id| slice(&self.bytes, &self.offsets, id) == text) {
            return id;
        }
        match str::from_utf8(text) {
            Ok(_) => self.add(hash, text),
            Err(_) => self.intern(String::from_utf8_lossy(text).into_owned().as_bytes()),
        }
    }

    fn add(&mut self, hash: u64, text: &[u8]) -> i32 {
        let id = self.offsets.len() as i32 - 1;
        self.bytes.extend_from_slice(text);
        self.offsets.push(self.bytes.len() as i32);
        let (bytes, offsets, hasher) = (&self.bytes, &self.offsets, &self.hasher);
        self.index.insert_unique(hash, id, |&id| hasher.hash_one(slice(bytes, offsets, id)));
        id
    }

    /// The text of a number that this interner gave out.
    pub(crate) fn get(&self, id: i32) -> &[u8] {
        slice(&self.bytes, &self.offsets, id)
    }

    /// Bytes of text held.
    pub(crate) fn text_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// All texts, to be shared as the values of every dictionary column of a table.
    pub(crate) fn values(&self) -> SharedTexts {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets.clone()));
        let values = Buffer::from_slice_ref(&self.bytes);
        Arc::new(StringArray::new(offsets, values, None))
    }
}

/// The texts that every dictionary column of a table shares.
pub(crate) type SharedTexts = ArrayRef;

/// A dictionary column from text numbers, null where the number is.
pub(crate) fn dictionary_column(keys: Int32Array, texts: &SharedTexts) -> Result<ArrayRef, Error> {
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, texts.clone())?))
}

fn slice<'a>(bytes: &'a [u8], offsets: &[i32], id: i32) -> &'a [u8] {
    &bytes[offsets[id as usize] as usize..offsets[id as usize + 1] as usize]
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn no_text_has_a_hash_that_is_known_beforehand() {
        let hashes = [(); 2].map(|()| Interner::default().hasher.hash_one(b"key".as_slice()));
        assert_ne!(hashes[0], hashes[1]);
    }

    #[test]
    fn equal_texts_share_a_number_and_broken_ones_are_mended() {
        let mut strings = Interner::default();
        let ids: Vec<i32> =
            [&b"a"[..], b"", b"a", b"\xff", "\u{fffd}".as_bytes()].map(|text| strings.intern(text)).into();
        assert_eq!(ids, [0, 1, 0, 2, 2]);
        let values = strings.values();
        assert_eq!(values.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "", "\u{fffd}"]);
    }
}
