//! One segment file: its header, and writing to it. The layout is drawn in [`super`].

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::TenantId;
use uuid::Uuid;

use super::entry::{ENTRY_HEADER_BYTES, EntryHeader};
use super::files::{Files, NewFile};
use crate::error::Error;
use crate::ids::SegmentSequence;
use crate::paths;

const MAGIC: [u8; 8] = *b"MOSSOWAL";
pub(super) const VERSION: u32 = 1;
const HEADER_COPY_BYTES: usize = 44;
/// Where the first entry begins.
pub(super) const HEADER_BYTES: usize = 2 * HEADER_COPY_BYTES;

/// What a segment states about the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Predecessor {
    pub(super) sequence: SegmentSequence,
    pub(super) bytes: u64,
}

impl Predecessor {
    /// The segment before was left by a process that is gone, or there is none.
    pub(super) const UNKNOWN: Self = Self { sequence: SegmentSequence::NONE, bytes: 0 };
}

/// What stands at the beginning of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) version: u32,
    pub(super) salt: u32,
    pub(super) sequence: SegmentSequence,
    pub(super) predecessor: Predecessor,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let (copy, second) = bytes.split_at_mut(HEADER_COPY_BYTES);
        copy[0..8].copy_from_slice(&MAGIC);
        copy[8..12].copy_from_slice(&self.version.to_le_bytes());
        copy[12..16].copy_from_slice(&self.salt.to_le_bytes());
        copy[16..24].copy_from_slice(&self.sequence.0.to_le_bytes());
        copy[24..32].copy_from_slice(&self.predecessor.sequence.0.to_le_bytes());
        copy[32..40].copy_from_slice(&self.predecessor.bytes.to_le_bytes());
        let checksum = crc32fast::hash(&copy[..40]);
        copy[40..44].copy_from_slice(&checksum.to_le_bytes());
        second.copy_from_slice(copy);
        bytes
    }

    /// The first copy that is whole; `None` when neither is.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.chunks_exact(HEADER_COPY_BYTES).take(2).find_map(Self::decode_copy)
    }

    fn decode_copy(copy: &[u8]) -> Option<Self> {
        let (content, checksum) = copy.split_last_chunk()?;
        let (magic, fields) = content.split_first_chunk()?;
        if *magic != MAGIC || u32::from_le_bytes(*checksum) != crc32fast::hash(content) {
            return None;
        }
        let (version, fields) = fields.split_first_chunk()?;
        let (salt, fields) = fields.split_first_chunk()?;
        let (sequence, fields) = fields.split_first_chunk()?;
        let (predecessor, predecessor_bytes) = fields.split_first_chunk()?;
        Some(Self {
            version: u32::from_le_bytes(*version),
            salt: u32::from_le_bytes(*salt),
            sequence: SegmentSequence(u64::from_le_bytes(*sequence)),
            predecessor: Predecessor {
                sequence: SegmentSequence(u64::from_le_bytes(*predecessor)),
                bytes: u64::from_le_bytes(predecessor_bytes.try_into().ok()?),
            },
        })
    }
}

/// The segment that entries are appended to.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    path: PathBuf,
    file: Box<dyn NewFile>,
    sequence: SegmentSequence,
    salt: u32,
    /// Everything before it is durable; nothing after it counts.
    end: u64,
    /// Something of an append that failed may stand behind `end`, now or when the power goes.
    may_have_more: bool,
    must_be_closed: bool,
}

impl SegmentWriter {
    /// Creates the file. When this returns, the file and its header survive a power loss.
    pub(super) fn create(
        files: &dyn Files,
        dir: &Path,
        sequence: SegmentSequence,
        predecessor: Predecessor,
    ) -> Result<Self, Error> {
        let path = paths::segment(dir, sequence);
        let (salt, ..) = Uuid::new_v4().as_fields();
        let header = SegmentHeader { version: VERSION, salt, sequence, predecessor };
        let mut file = files.create(&path).map_err(Error::io("create log segment", &path))?;
        let mut begin = || {
            file.append(&mut [IoSlice::new(&header.encode())])?;
            file.sync()?;
            files.sync_dir(dir)
        };
        if let Err(error) = begin() {
            // a full disk must not fill up with beginnings of segments; one that stays does no harm
            _ = files.remove(&path);
            return Err(Error::io("create log segment", &path)(error));
        }
        Ok(Self { path, file, sequence, salt, end: HEADER_BYTES as u64, may_have_more: false, must_be_closed: false })
    }

    /// Writes the entries and syncs once. On an error the segment is as before, or it must be closed.
    pub(super) fn append(&mut self, entries: &[(TenantId, Bytes)]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        self.file.check_room()?;
        let headers: Vec<[u8; ENTRY_HEADER_BYTES]> = entries
            .iter()
            .map(|(tenant, payload)| EntryHeader::of(self.salt, tenant, payload).encode(self.salt))
            .collect();
        let mut slices = Vec::with_capacity(3 * entries.len());
        for (header, (tenant, payload)) in headers.iter().zip(entries) {
            slices.extend([&header[..], tenant.as_str().as_bytes(), payload].map(IoSlice::new));
        }
        let bytes: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        self.may_have_more = true;
        if let Err(error) = self.file.append(&mut slices) {
            self.must_be_closed = self.file.cut_back(self.end).is_err();
            return Err(error);
        }
        if let Err(error) = self.file.sync() {
            // After a failed sync the system may have dropped the bytes and call the next sync a success.
            self.must_be_closed = true;
            let _closed_anyway = self.file.cut_back(self.end);
            return Err(error);
        }
        self.end += bytes;
        self.may_have_more = false;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn sequence(&self) -> SegmentSequence {
        self.sequence
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn is_empty(&self) -> bool {
        self.end == HEADER_BYTES as u64 && !self.must_be_closed
    }

    /// Whether bytes of an append that failed may stand behind the end, now or when the power goes.
    pub(super) fn may_have_more(&self) -> bool {
        self.may_have_more
    }

    /// Nothing may be appended any more, because what stands after the end is not known.
    pub(super) fn must_be_closed(&self) -> bool {
        self.must_be_closed
    }

    /// No more entries: a successor that could not be completed may already state where this segment ends.
    pub(super) fn close(&mut self) {
        self.must_be_closed = true;
    }

    pub(super) fn as_predecessor(&self) -> Predecessor {
        Predecessor { sequence: self.sequence, bytes: self.end }
    }
}
