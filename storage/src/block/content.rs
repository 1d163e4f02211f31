//! What a small file says, known by its bytes: blocks of the same traffic have the same columns, and often the same resources and
//! scopes, so what one of them says is decoded once for all.

use std::hash::{Hash, Hasher};

use bytes::Bytes;

/// The bytes of a file or of a part of it, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    crc32: u32,
    bytes: Bytes,
}

impl Content {
    /// Of bytes with this checksum.
    pub fn new(bytes: Bytes, crc32: u32) -> Self {
        Self { crc32, bytes }
    }

    /// The same, in memory of its own: a part of a larger read would keep all of it.
    pub fn copied(&self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), ..*self }
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Hash for Content {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.crc32.hash(state);
    }
}
