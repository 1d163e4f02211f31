//! Reads of objects that never change: all that was asked for, or why not. Tells a store that is at fault, which may pass,
//! from an object that is.

use std::ops::Range;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};

/// Why bytes could not be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The object has fewer bytes than were written.
    CutShort {
        found: u64,
    },
    Store(Error),
}

/// These bytes of an object that was written with so many.
///
/// A store fails in ways of its own when it is read past an object's end, and an answer can end early without an error.
/// The size of the object tells which it was.
pub(crate) async fn ranges(
    objects: &dyn ObjectStore,
    key: &Path,
    written_bytes: u64,
    ranges: &[Range<u64>],
) -> Result<Vec<Bytes>, Unread> {
    let is_whole = |(bytes, range): (&Bytes, &Range<u64>)| bytes.len() as u64 == range.end - range.start;
    let error = match objects.get_ranges(key, ranges).await {
        Ok(read) if read.len() == ranges.len() && read.iter().zip(ranges).all(is_whole) => return Ok(read),
        Ok(_) => ended_early(),
        Err(error) => error,
    };
    let found = objects.head(key).await.ok().map(|found| found.size);
    Err(match found.filter(|found| *found < written_bytes) {
        Some(found) => Unread::CutShort { found },
        None => Unread::Store(error),
    })
}

/// The whole of an object, of any size.
pub(crate) async fn whole(objects: &dyn ObjectStore, key: &Path) -> object_store::Result<Bytes> {
    let object = objects.get(key).await?;
    let size = object.meta.size;
    let bytes = object.bytes().await?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(ended_early()) }
}

/// The store gave less than it has.
pub(crate) fn ended_early() -> Error {
    Error::Generic { store: "object store", source: "the answer ended early".into() }
}
