//! Where the columns of one row group stand in their Parquet file: all that a reader needs of Parquet's metadata, for the
//! columns that it asks for, without decoding that of the others.
//!
//! ```text
//! count u32 │ for each leaf column, where its entry ends u32 │ entries
//! entry: start of the chunk in the file │ bytes of its dictionary page, or 0 │ compression │ for each page: bytes │ rows
//! ```
//!
//! Numbers of entries are varints; a chunk is its dictionary page, if it has one, and its pages, one after another.

use std::ops::Range;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::offset_index::PageLocation;

use crate::error::Error;
use crate::varint::{put, take, take_usize};

/// The column chunks of a row group.
#[derive(Debug, Clone)]
pub(super) struct Chunks(Bytes);

/// One column chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub start: u64,
    /// 0 without a dictionary.
    pub dictionary_bytes: usize,
    pub is_zstd: bool,
    pub pages: Vec<Page>,
}

/// A data page, its header included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub bytes: usize,
    pub rows: usize,
}

const NUMBER_BYTES: usize = size_of::<u32>();

impl Chunks {
    /// Those of a row group of a file, of whose columns the pages are known.
    ///
    /// # Errors
    /// [`Error::Parquet`] when a column has no offset index, or a compression that no block has.
    pub fn of(metadata: &ParquetMetaData, row_group: usize) -> Result<Self, Error> {
        let group = metadata.row_groups().get(row_group).ok_or_else(|| missing("row group"))?;
        let index = metadata.page_index_for_row_group(row_group);
        let (mut ends, mut entries) = (Vec::new(), Vec::new());
        for (leaf, chunk) in group.columns().iter().enumerate() {
            let is_zstd = match chunk.compression() {
                Compression::UNCOMPRESSED => false,
                Compression::ZSTD(_) => true,
                other => return Err(ParquetError::General(format!("a column is compressed by {other}")).into()),
            };
            let (start, bytes) = chunk.byte_range();
            let locations = index.page_locations(leaf).ok_or_else(|| missing("offset index"))?;
            let pages = pages_of(locations, group.num_rows() as usize);
            let of_pages: usize = pages.iter().map(|page| page.bytes).sum();
            let dictionary_bytes = (bytes as usize).checked_sub(of_pages).ok_or_else(|| missing("page"))?;
            Chunk { start, dictionary_bytes, is_zstd, pages }.encode(&mut entries);
            ends.push(entries.len() as u32);
        }
        let numbers = [ends.len() as u32].into_iter().chain(ends);
        let mut table: Vec<u8> = numbers.flat_map(u32::to_le_bytes).collect();
        table.extend(entries);
        Ok(Self(table.into()))
    }

    /// What [`encoded`](Self::encoded) gave. Nothing of it is believed before it is used.
    pub fn decode(encoded: Bytes) -> Self {
        Self(encoded)
    }

    pub fn encoded(&self) -> &[u8] {
        &self.0
    }

    /// The chunk of a leaf column; `None` when there is none, or the table is not what a writer wrote.
    pub fn get(&self, leaf: usize) -> Option<Chunk> {
        let count = self.number(0)?;
        let entries_start = count.checked_add(1)?.checked_mul(NUMBER_BYTES)?;
        let start = if leaf == 0 { 0 } else { self.number(leaf)? };
        let end = if leaf < count { self.number(leaf + 1)? } else { return None };
        Chunk::decode(self.0.get(entries_start.checked_add(start)?..entries_start.checked_add(end)?)?)
    }

    pub fn memory_bytes(&self) -> usize {
        self.0.len()
    }

    fn number(&self, at: usize) -> Option<usize> {
        let bytes = self.0.get(at.checked_mul(NUMBER_BYTES)?..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes) as usize)
    }
}

fn pages_of(locations: &[PageLocation], rows: usize) -> Vec<Page> {
    let starts = locations.iter().map(|page| page.first_row_index as usize);
    let ends = starts.clone().skip(1).chain([rows]);
    let rows = starts.zip(ends).map(|(start, end)| end.saturating_sub(start));
    locations.iter().zip(rows).map(|(page, rows)| Page { bytes: page.compressed_page_size as usize, rows }).collect()
}

fn missing(what: &str) -> Error {
    ParquetError::General(format!("a {what} was not written")).into()
}

impl Chunk {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.start);
        put(out, self.dictionary_bytes as u64);
        out.push(u8::from(self.is_zstd));
        for page in &self.pages {
            put(out, page.bytes as u64);
            put(out, page.rows as u64);
        }
    }

    fn decode(mut entry: &[u8]) -> Option<Self> {
        let (start, dictionary_bytes) = (take(&mut entry)?, take_usize(&mut entry)?);
        let (&is_zstd, mut entry) = entry.split_first()?;
        let mut pages = Vec::new();
        while !entry.is_empty() {
            pages.push(Page { bytes: take_usize(&mut entry)?, rows: take_usize(&mut entry)? });
        }
        Some(Self { start, dictionary_bytes, is_zstd: is_zstd != 0, pages })
    }

    /// Where the dictionary page stands; empty without one.
    pub fn dictionary_range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.dictionary_bytes as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunks() -> impl Strategy<Value = Vec<Chunk>> {
        let page = (0..100_000_usize, 0..3_000_usize).prop_map(|(bytes, rows)| Page { bytes, rows });
        let pages = prop::collection::vec(page, 0..30);
        let chunk = (any::<u64>(), 0..100_000_usize, any::<bool>(), pages);
        let chunk = chunk.prop_map(|(start, dictionary_bytes, is_zstd, pages)| Chunk {
            start,
            dictionary_bytes,
            is_zstd,
            pages,
        });
        prop::collection::vec(chunk, 0..20)
    }

    fn table(chunks: &[Chunk]) -> Chunks {
        let (mut ends, mut entries) = (vec![chunks.len() as u32], Vec::new());
        for chunk in chunks {
            chunk.encode(&mut entries);
            ends.push(entries.len() as u32);
        }
        let mut table: Vec<u8> = ends.into_iter().flat_map(u32::to_le_bytes).collect();
        table.extend(entries);
        Chunks::decode(table.into())
    }

    proptest! {
        #[test]
        fn every_chunk_comes_back(chunks in chunks()) {
            let table = table(&chunks);
            let read: Vec<Chunk> = (0..).map_while(|leaf| table.get(leaf)).collect();
            prop_assert_eq!(read, chunks);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), leaf in 0..70_usize) {
            _ = Chunks::decode(bytes.into()).get(leaf);
        }
    }
}
