//! One segment file: its header, and writing to it. The layout is drawn in [`super`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::TenantId;
use uuid::Uuid;

use super::SegmentSequence;
use super::entry::{ENTRY_HEADER_BYTES, EntryHeader};
use crate::durable;
use crate::error::Error;
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
    file: File,
    sequence: SegmentSequence,
    salt: u32,
    /// Everything before it is durable; nothing after it counts.
    end: u64,
    must_be_closed: bool,
    #[cfg(test)]
    pub(super) faults: Faults,
}

/// Failures that tests switch on.
#[cfg(test)]
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Faults {
    /// Writes stop in the middle, as on a full disk, when this many bytes of a batch are written.
    pub(super) write_after_bytes: Option<usize>,
    pub(super) truncate: bool,
    pub(super) sync: bool,
}

impl SegmentWriter {
    /// Creates the file. When this returns, the file and its header survive a power loss.
    pub(super) fn create(dir: &Path, sequence: SegmentSequence, predecessor: Predecessor) -> Result<Self, Error> {
        let path = paths::segment(dir, sequence);
        let (salt, ..) = Uuid::new_v4().as_fields();
        let header = SegmentHeader { version: VERSION, salt, sequence, predecessor };
        let create = || -> io::Result<File> {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            file.write_all(&header.encode())?;
            file.sync_all()?;
            durable::sync_dir(dir)?;
            Ok(file)
        };
        let file = create().map_err(Error::io("create log segment", &path))?;
        Ok(Self {
            path,
            file,
            sequence,
            salt,
            end: HEADER_BYTES as u64,
            must_be_closed: false,
            #[cfg(test)]
            faults: Faults::default(),
        })
    }

    /// Writes the entries and syncs once. On an error the segment is as before, or it must be closed.
    pub(super) fn append(&mut self, entries: &[(TenantId, Bytes)]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let headers: Vec<[u8; ENTRY_HEADER_BYTES]> = entries
            .iter()
            .map(|(tenant, payload)| EntryHeader::of(self.salt, tenant, payload).encode(self.salt))
            .collect();
        let mut slices = Vec::with_capacity(3 * entries.len());
        for (header, (tenant, payload)) in headers.iter().zip(entries) {
            slices.extend([&header[..], tenant.as_str().as_bytes(), payload].map(IoSlice::new));
        }
        let bytes: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        if let Err(error) = self.write(&mut slices) {
            self.must_be_closed = self.cut_back().is_err();
            return Err(error);
        }
        if let Err(error) = self.sync() {
            // After a failed sync the system may have dropped the bytes and call the next sync a success.
            self.must_be_closed = true;
            let _closed_anyway = self.cut_back();
            return Err(error);
        }
        self.end += bytes;
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

    fn write(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        #[cfg(test)]
        if let Some(bytes) = self.faults.write_after_bytes {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            self.file.write_all(&all[..bytes.min(all.len())])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        write_all_vectored(&mut self.file, slices)
    }

    fn sync(&mut self) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.sync {
            return Err(io::Error::other("sync"));
        }
        self.file.sync_data()
    }

    fn cut_back(&mut self) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.truncate {
            return Err(io::Error::other("truncate"));
        }
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end)).map(drop)
    }
}

/// Cuts a file that nobody writes to, durably.
pub(super) fn truncate(path: &Path, bytes: u64) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(path)?;
    file.set_len(bytes)?;
    file.sync_all()
}

fn write_all_vectored(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0); // drops empty slices at the front
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
