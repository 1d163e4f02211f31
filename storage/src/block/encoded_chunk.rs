//! One column of a row group as it stands in a file, and what Parquet's footer is to say of it.
//!
//! Parquet's writer encodes a column without compression; its pages are compressed here: see [`super::pages`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::basic::Compression;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;

use super::pages::{DICTIONARY_PAGE, append_compressed, kind};

/// A column chunk that can be appended to a row group.
pub(crate) struct EncodedChunk {
    pub content: Bytes,
    /// Offsets are counted from the beginning of `content`.
    pub close: ColumnCloseResult,
}

impl EncodedChunk {
    /// The chunk that a column's writer has made of `pages`, which it put there without compression.
    pub(super) fn compressed(
        chunk: &mut ArrowColumnChunk,
        pages: &Pages,
        compression: Compression,
    ) -> Result<Self, ParquetError> {
        let blobs = std::mem::take(&mut *pages.lock());
        // a page is two blobs: its header, its content
        let pages = blobs.chunks_exact(2).map(|page| Ok((kind(&page[0])? == DICTIONARY_PAGE, &page[0], &page[1])));
        let pages = pages.collect::<Result<Vec<_>, ParquetError>>()?;
        let plain_bytes: usize = blobs.iter().map(Bytes::len).sum();
        let (mut content, mut dictionary_bytes, mut page_bytes) = (Vec::with_capacity(plain_bytes), 0, Vec::new());
        let in_order = pages.iter().filter(|page| page.0).chain(pages.iter().filter(|page| !page.0));
        for &(is_dictionary, header, body) in in_order {
            let start = content.len();
            match compression {
                Compression::UNCOMPRESSED => {
                    content.extend_from_slice(header);
                    content.extend_from_slice(body);
                }
                _ => append_compressed(header, body, &mut content)?,
            }
            match is_dictionary {
                true => dictionary_bytes = content.len(),
                false => page_bytes.push(content.len() - start),
            }
        }
        let close = taken(chunk.close_mut(), compression, dictionary_bytes, content.len(), &page_bytes)?;
        Ok(Self { content: content.into(), close })
    }
}

/// What the writer says of its chunk, with the places of its compressed pages.
fn taken(
    close: &mut ColumnCloseResult,
    compression: Compression,
    dictionary_bytes: usize,
    bytes: usize,
    page_bytes: &[usize],
) -> Result<ColumnCloseResult, ParquetError> {
    let mut offset_index = close.offset_index.take();
    if let Some(index) = &mut offset_index {
        if index.page_locations.len() != page_bytes.len() {
            return Err(ParquetError::General("a column has other pages than were written".to_owned()));
        }
        let mut start = dictionary_bytes;
        for (location, &bytes) in index.page_locations.iter_mut().zip(page_bytes) {
            (location.offset, location.compressed_page_size) = (start as i64, bytes as i32);
            start += bytes;
        }
    }
    let metadata = close.metadata.clone().into_builder();
    let metadata = metadata
        .set_compression(compression)
        .set_total_compressed_size(bytes as i64)
        .set_dictionary_page_offset((dictionary_bytes > 0).then_some(0))
        .set_data_page_offset(dictionary_bytes as i64)
        .build()?;
    Ok(ColumnCloseResult {
        bytes_written: bytes as u64,
        rows_written: close.rows_written,
        metadata,
        bloom_filter: close.bloom_filter.take(),
        column_index: close.column_index.take(),
        offset_index,
    })
}

/// Where the writer of a column puts its pages, and whoever has it finds them. Of one column at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages(Arc<Mutex<Vec<Bytes>>>);

impl Pages {
    fn lock(&self) -> MutexGuard<'_, Vec<Bytes>> {
        // a push leaves nothing half done
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PageStoreFactory for Pages {
    fn create(&self, _: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>, ParquetError> {
        Ok(Box::new(self.clone()))
    }
}

impl PageStore for Pages {
    fn put(&mut self, value: Bytes) -> Result<PageKey, ParquetError> {
        let mut blobs = self.lock();
        blobs.push(value);
        Ok(PageKey::new(blobs.len() as u64 - 1))
    }

    /// Pages are taken from [`EncodedChunk::compressed`] only.
    fn take(&mut self, _: PageKey) -> Result<Bytes, ParquetError> {
        Err(ParquetError::General("pages are not taken one by one".to_owned()))
    }
}
