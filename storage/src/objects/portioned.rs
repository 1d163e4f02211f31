//! Requests of a size that a remote store handles well: ranges that lie near each other are read by one request, and a
//! large object is uploaded in parts.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, WriteMultipart,
};

/// Two ranges are joined when at most this lies between them: it takes about as long to read as a request to be answered.
const JOIN_GAP_BYTES: u64 = 512 << 10;
/// Joining stops here, so that a long read goes over several connections.
const MAX_JOINED_BYTES: u64 = 8 << 20;
/// Requests of one call that are under way at once.
const CONCURRENCY: usize = 8;

#[derive(Debug)]
pub(super) struct Portioned<T> {
    inner: T,
    /// Larger objects are uploaded in parts of this size.
    part_bytes: u64,
}

impl<T: ObjectStore> Portioned<T> {
    pub(super) fn new(inner: T, part_bytes: u64) -> Self {
        Self { inner, part_bytes }
    }

    async fn read(&self, location: &Path, range: Range<u64>) -> Result<Bytes> {
        let wanted = range.end.saturating_sub(range.start);
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let bytes = self.inner.get_opts(location, options).await?.bytes().await?;
        match bytes.len() as u64 == wanted {
            true => Ok(bytes),
            false => Err(object_store::Error::Generic {
                store: "portioned",
                source: format!("{location}: asked for {wanted} bytes, received {}", bytes.len()).into(),
            }),
        }
    }

    /// Parts share the payload's memory. A failed upload is aborted; one that is cancelled leaves its parts to the store's
    /// own rule for unfinished uploads.
    async fn upload(&self, location: &Path, payload: PutPayload, opts: PutMultipartOptions) -> Result<PutResult> {
        let upload = self.inner.put_multipart_opts(location, opts).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, self.part_bytes as usize);
        for mut chunk in payload {
            while !chunk.is_empty() {
                if let Err(error) = writer.wait_for_capacity(CONCURRENCY).await {
                    _ = writer.abort().await; // the first failure says more
                    return Err(error);
                }
                writer.put(chunk.split_to(chunk.len().min(self.part_bytes as usize)));
            }
        }
        writer.finish().await
    }
}

/// Ranges that cover all of `ranges`, sorted and apart.
fn joined(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match joined.last_mut() {
            Some(last) if range.start < last.end || may_join(last, &range) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

fn may_join(first: &Range<u64>, second: &Range<u64>) -> bool {
    second.start - first.end <= JOIN_GAP_BYTES && second.end - first.start <= MAX_JOINED_BYTES
}

/// The bytes of `range`, from the portion that covers it.
fn cut(range: &Range<u64>, portions: &[(Range<u64>, Bytes)]) -> Bytes {
    let after = portions.partition_point(|(portion, _)| portion.start <= range.start);
    match after.checked_sub(1).and_then(|index| portions.get(index)) {
        Some((portion, bytes)) if !range.is_empty() => {
            bytes.slice((range.start - portion.start) as usize..(range.end - portion.start) as usize)
        }
        _ => Bytes::new(),
    }
}

impl<T: fmt::Display> fmt::Display for Portioned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: ObjectStore> ObjectStore for Portioned<T> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if opts.mode != PutMode::Overwrite || payload.content_length() as u64 <= self.part_bytes {
            return self.inner.put_opts(location, payload, opts).await;
        }
        let PutOptions { tags, attributes, extensions, .. } = opts;
        let opts = PutMultipartOptions { tags, attributes, extensions };
        self.upload(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let portions: Vec<(Range<u64>, Bytes)> = futures::stream::iter(joined(ranges))
            .map(|portion| async move {
                Ok::<_, object_store::Error>((portion.clone(), self.read(location, portion).await?))
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(ranges.iter().map(|range| cut(range, &portions)).collect())
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
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
