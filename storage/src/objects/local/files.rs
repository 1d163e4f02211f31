//! Files of a folder, of which what the system has in memory is read where the reader is.
//!
//! [`LocalFileSystem`] hands every read to a thread that may wait for a disk. Most reads of a query are small and find what they want
//! in the page cache; then to wake a thread, and to be woken by it, takes longer than to copy the bytes. Linux says at once
//! when it would have to wait (`RWF_NOWAIT`, preadv2(2)), and only then, and elsewhere, a thread reads.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// More bytes than these are copied by a thread of their own: whoever reads keeps others from running meanwhile.
const MOST_BYTES_AT_ONCE: u64 = 128 * 1024;

/// The files below a folder.
#[derive(Debug)]
pub(in crate::objects) struct Files(LocalFileSystem);

impl Files {
    pub fn of(folder: LocalFileSystem) -> Self {
        Self(folder)
    }

    /// All of these bytes, if they are few and can be had without waiting.
    #[cfg(target_os = "linux")]
    fn at_once(&self, location: &Path, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
        use std::io::IoSliceMut;

        use rustix::io::{ReadWriteFlags, preadv2};

        let lengths = ranges.iter().map(|range| range.end.checked_sub(range.start));
        let bytes = lengths.clone().sum::<Option<u64>>()?;
        if bytes > MOST_BYTES_AT_ONCE {
            return None;
        }
        let file = std::fs::File::open(self.0.path_to_filesystem(location).ok()?).ok()?;
        let read = |(range, length): (&Range<u64>, Option<u64>)| {
            let mut bytes = vec![0; length? as usize];
            let read = preadv2(&file, &mut [IoSliceMut::new(&mut bytes)], range.start, ReadWriteFlags::NOWAIT).ok()?;
            (read == bytes.len()).then(|| bytes.into())
        };
        ranges.iter().zip(lengths).map(read).collect()
    }

    #[cfg(not(target_os = "linux"))]
    fn at_once(&self, _: &Path, _: &[Range<u64>]) -> Option<Vec<Bytes>> {
        None
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Files {
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.at_once(location, ranges) {
            Some(read) => Ok(read),
            None => self.0.get_ranges(location, ranges).await,
        }
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.0.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn what_is_read_at_once_is_what_a_thread_reads() {
        let folder = tempfile::tempdir().unwrap();
        let local = || LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        let (files, key) = (Files::of(local()), Path::from("a/b"));
        let content: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
        files.put(&key, content.clone().into()).await.unwrap();
        for ranges in [vec![0..7, 3..4], vec![5..2_000, 299_999..300_000], vec![0..300_000, 1..2], vec![]] {
            let expected = local().get_ranges(&key, &ranges).await.unwrap();
            assert_eq!(files.get_ranges(&key, &ranges).await.unwrap(), expected);
            // a system that has no word for it reads by a thread
            if let Some(read) = files.at_once(&key, &ranges) {
                assert_eq!(read, expected);
            }
        }
        // what is too much, is not there or ends early is left to the thread, and to what it says
        let (absent, beyond) = (Path::from("a/c"), 299_990..300_001);
        for (key, range) in [(&key, 0..MOST_BYTES_AT_ONCE + 1), (&key, beyond), (&absent, 0..1)] {
            assert_eq!(files.at_once(key, &[range.clone(), range]), None);
        }
        let error = files.get_ranges(&absent, &[0..1, 1..2]).await.unwrap_err();
        assert!(matches!(error, object_store::Error::NotFound { .. }), "{error}");
    }
}
