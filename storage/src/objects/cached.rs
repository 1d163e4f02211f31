//! A store that keeps what is read of columns in memory, and forgets blocks whose files are deleted.
//!
//! Only ranges of `spans.parquet` and `directory.bundle` are kept, and only of stores beyond a network: the system keeps
//! local files, and what is read of other objects is kept decoded. A block's files never change, so nothing that is kept can be out of date.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use model::BlockId;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use crate::block::{BlockCache, PageCache};
use crate::paths::{BlockFile, ObjectKey};

/// A range that is longer is not kept: row groups, as compaction reads them once. Dictionaries of texts, which every read
/// of a column needs, are shorter.
const MAX_RANGE_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Cached {
    inner: Arc<dyn ObjectStore>,
    cache: BlockCache,
}

impl Cached {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, cache: BlockCache) -> Self {
        Self { inner, cache }
    }

    /// Where ranges of this object are kept, if they are.
    fn pages(&self, location: &Path) -> Option<(&PageCache, (BlockId, BlockFile))> {
        let pages = self.cache.pages()?;
        match ObjectKey::parse(location)? {
            ObjectKey::BlockFile { block_id, file, .. } => {
                matches!(file, BlockFile::Spans | BlockFile::Directory).then_some((pages, (block_id, file)))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Cached {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let Some((pages, file)) = self.pages(location) else {
            return self.inner.get_ranges(location, ranges).await;
        };
        let key = |range: &Range<u64>| (file, range.clone());
        let kept: Vec<Option<Bytes>> = ranges.iter().map(|range| pages.get(&key(range))).collect();
        let missing = ranges.iter().zip(&kept).filter(|(_, kept)| kept.is_none());
        let missing: Vec<Range<u64>> = missing.map(|(range, _)| range.clone()).collect();
        if missing.is_empty() {
            return Ok(kept.into_iter().flatten().collect());
        }
        let read = self.inner.get_ranges(location, &missing).await?;
        for (range, bytes) in missing.iter().zip(&read) {
            let is_whole = bytes.len() as u64 == range.end - range.start; // an answer can end early
            if is_whole && bytes.len() <= MAX_RANGE_BYTES {
                // a copy of its own, so that the cache holds what it counts
                pages.insert(key(range), Bytes::copy_from_slice(bytes));
            }
        }
        let mut read = read.into_iter();
        Ok(kept.into_iter().filter_map(|kept| kept.or_else(|| read.next())).collect())
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let cache = self.cache.clone();
        let deleted = self.inner.delete_stream(locations).inspect(move |deleted| {
            // one file of a block tells that the block is gone
            if let Some(ObjectKey::BlockFile { block_id, file: BlockFile::Spans, .. }) =
                deleted.as_ref().ok().and_then(ObjectKey::parse)
            {
                cache.forget(&block_id);
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests;
