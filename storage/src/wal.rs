//! The write-ahead log: requests that are acknowledged, but not yet in a published block.
//!
//! Owns the folder of segment files and their format. Does not know what a payload means, when a segment may go, or who
//! waits for an append. All calls block; one thread owns a [`Log`].
//!
//! A segment is a file `<20-digit sequence>.wal`. Numbers are little-endian, checksums are CRC-32.
//!
//! ```text
//! segment  = header header entry*            the header stands twice, so that one damaged byte does not lose the segment
//!
//! header   0   8  magic "MOSSOWAL"
//!          8   4  version, 1
//!         12   4  salt: a random number that all checksums of the segment's entries start from
//!         16   8  sequence of this segment
//!         24   8  sequence of the segment that this one follows; 0 when its end is not known
//!         32   8  length of that segment; bytes past it belong to an append that failed
//!         40   4  checksum of bytes 0..40
//!
//! entry    0   4  magic "MENT"
//!          4   4  length of tenant and payload together
//!          8   2  length of the tenant
//!         10   1  kind of the payload: 1, an OTLP ExportTraceServiceRequest in protobuf
//!         11   1  0
//!         12   4  checksum of tenant and payload, salted
//!         16   4  checksum of bytes 0..16, salted
//!         20      tenant, payload
//! ```
//!
//! - **Append**: all entries of a batch are written, then one `fdatasync`; only then may any of them be acknowledged.
//! - **A failed append** is cut off again. When that fails, or when the sync failed (nothing is certain about a file
//!   after that), the segment is closed: the header of the next one says where it ends. Before it is removed it is cut for good,
//!   for the file may be back after a loss of power, and the next one not.
//! - **Start**: an append never goes into an old segment. Replay reads the old ones one entry at a time, and first makes
//!   what it will read of one durable: bytes, or a cut, that an earlier process left may not be.
//! - **Damage**: an entry with a damaged body is skipped by its length; after a damaged entry header, replay searches for
//!   the next one. The salt keeps a payload that contains the bytes of an entry from being taken for one.
//! - **Torn tail**: a segment whose end no successor states may end inside an entry that was never acknowledged.

mod entry;
mod files;
mod replay;
mod segment;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use model::TenantId;

use crate::error::Error;
use crate::ids::{Incarnation, SegmentSequence};
use crate::paths;

pub use files::{Files, LocalFiles, NewFile, OldFile};
pub use replay::{Closed, Recovery, Replay, ReplayEvent, WholeSegment};
use segment::{Predecessor, SegmentWriter};
pub use survey::{LogDamage, Requests, SegmentSurvey, Survey};

/// Longest payload of an entry.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// A place between two entries of the log, or before or behind all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub segment: SegmentSequence,
    pub offset: u64,
}

impl Position {
    /// The newest segment of which nothing lies behind this.
    pub fn whole_segments(self) -> SegmentSequence {
        self.segment.previous()
    }
}

/// The logs in `dir` that are shipped to the bucket, or were: each start of a writer has a folder of its own.
///
/// # Errors
/// When the folder cannot be listed.
pub fn shipped_logs(files: &dyn Files, dir: &Path) -> Result<Vec<(Incarnation, PathBuf)>, Error> {
    let found = files.list(dir).map_err(Error::io("list log folder", dir))?;
    Ok(found.into_iter().filter_map(|path| Some((paths::parse_shipped_log_dir(&path)?, path))).collect())
}

/// The open log.
#[derive(Debug)]
pub struct Log {
    files: Arc<dyn Files>,
    dir: PathBuf,
    /// None as long as there was no room to start the first one.
    current: Option<SegmentWriter>,
    /// The highest sequence that was ever tried; a file may exist although its creation failed.
    newest: SegmentSequence,
    /// Closed segments and their sizes.
    sealed: BTreeMap<SegmentSequence, u64>,
    /// Those of them that stay.
    held: BTreeMap<SegmentSequence, u64>,
    /// Closed segments that may be longer than that.
    longer: BTreeSet<SegmentSequence>,
}

impl Log {
    /// Opens the log in `dir`, creating the folder if it is missing, and starts a new segment. On a full disk that is
    /// left to the first append for which there is room.
    ///
    /// [`Recovery`] holds what was there before; replay it before the first append.
    ///
    /// # Errors
    /// [`Error::SegmentVersion`] when a segment was written by a newer program; nothing is changed then.
    pub fn open(dir: &Path) -> Result<(Self, Recovery), Error> {
        Self::open_on(Arc::new(LocalFiles::default()), dir)
    }

    /// As [`open`](Self::open), on other files than those of this machine.
    pub fn open_on(files: Arc<dyn Files>, dir: &Path) -> Result<(Self, Recovery), Error> {
        files.create_dir(dir).map_err(Error::io("create log folder", dir))?;
        let recovery = Recovery::open(files.clone(), dir)?;
        let sealed = recovery.sizes();
        let newest = sealed.last_key_value().map_or(SegmentSequence::NONE, |(sequence, _)| *sequence);
        let (held, longer, dir) = (BTreeMap::new(), BTreeSet::new(), dir.to_owned());
        let mut log = Self { files, dir, current: None, newest, sealed, held, longer };
        log.start_segment_if_room()?;
        Ok((log, recovery))
    }

    /// Makes later appends go to segments after `sequence`.
    ///
    /// To be called at start with the highest watermark of this writer: should the log's files have been lost, their
    /// sequences must not be used again, or replay would take new entries for flushed ones.
    pub fn start_after(&mut self, sequence: SegmentSequence) -> Result<(), Error> {
        if self.newest > sequence {
            return Ok(());
        }
        self.newest = sequence;
        self.start_segment_if_room()
    }

    /// Writes all entries and makes them durable together.
    ///
    /// # Errors
    /// None of the entries may be acknowledged then, and none of them will be found by an append that comes later.
    /// [`Error::EntryTooLarge`] refuses the batch before anything is written; [`Error::Io`] may pass, as a full disk does.
    pub fn append_batch(&mut self, entries: &[(TenantId, Bytes)]) -> Result<Position, Error> {
        if let Some((tenant, payload)) = entries.iter().find(|(_, payload)| payload.len() > MAX_PAYLOAD_BYTES) {
            let (tenant, bytes) = (tenant.clone(), payload.len());
            return Err(Error::EntryTooLarge { tenant, bytes, max_bytes: MAX_PAYLOAD_BYTES });
        }
        let current = match &mut self.current {
            Some(current) if !current.must_be_closed() => current,
            _ => self.start_segment()?,
        };
        current.append(entries).map_err(Error::io("append to log segment", current.path()))?;
        Ok(self.position())
    }

    /// Closes the current segment: all entries so far lie in segments up to the one that is returned, later ones after it.
    ///
    /// # Errors
    /// The next segment could not be created; the next append tries again.
    pub fn rotate(&mut self) -> Result<SegmentSequence, Error> {
        if self.current.as_ref().is_some_and(SegmentWriter::is_empty) {
            return Ok(self.newest.previous());
        }
        let closed = self.newest;
        self.start_segment()?;
        Ok(closed)
    }

    /// The closed segments above `sequence` that are there, for somebody who reads them while this log goes on.
    pub fn closed_after(&self, sequence: SegmentSequence) -> Closed {
        let closed = self.sealed.iter().chain(&self.held).filter(|(closed, _)| **closed > sequence);
        let segments = closed.map(|(closed, bytes)| (*closed, *bytes)).collect();
        Closed { files: self.files.clone(), dir: self.dir.clone(), segments }
    }

    /// Keeps a closed segment from being deleted for as long as this log is open.
    pub fn hold(&mut self, sequence: SegmentSequence) {
        self.held.extend(self.sealed.remove_entry(&sequence));
    }

    /// As [`hold`](Self::hold), all closed segments up to `sequence`.
    pub fn hold_through(&mut self, sequence: SegmentSequence) {
        let later = self.sealed.split_off(&SegmentSequence(sequence.0.saturating_add(1)));
        self.held.append(&mut self.sealed);
        self.sealed = later;
    }

    /// Deletes the closed segments up to `sequence` that are not held. The newest segment stays, because its file says
    /// which sequence is next: the current one, or without that the last closed one.
    pub fn remove_through(&mut self, sequence: SegmentSequence) -> Result<(), Error> {
        let kept = usize::from(self.current.is_none());
        while self.sealed.len() > kept
            && let Some(oldest) = self.sealed.first_entry().filter(|entry| *entry.key() <= sequence)
        {
            let path = paths::segment(&self.dir, *oldest.key());
            // the power may bring it back, without the one that says where it ends
            let is_longer = self.longer.contains(oldest.key());
            let cut = if is_longer { self.files.truncate(&path, *oldest.get()) } else { Ok(()) };
            match cut.and_then(|()| self.files.remove(&path)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("delete log segment", &path)(error));
                }
                _ => {
                    self.longer.remove(oldest.key());
                    oldest.remove();
                }
            }
        }
        Ok(())
    }

    /// Behind everything that was appended.
    pub fn position(&self) -> Position {
        match &self.current {
            Some(current) => Position { segment: current.sequence(), offset: current.end() },
            None => Position { segment: self.newest.next(), offset: 0 },
        }
    }

    /// Size of all segments.
    pub fn bytes(&self) -> u64 {
        let closed: u64 = self.sealed.values().chain(self.held.values()).sum();
        closed + self.current.as_ref().map_or(0, SegmentWriter::end)
    }

    /// Number of segments, the current one included.
    pub fn segments(&self) -> usize {
        self.sealed.len() + self.held.len() + usize::from(self.current.is_some())
    }

    fn start_segment_if_room(&mut self) -> Result<(), Error> {
        match self.start_segment() {
            Err(error) if error.is_full_disk() => {
                tracing::error!(%error, "no room for the write-ahead log, requests are refused until there is some");
                Ok(())
            }
            started => started.map(drop),
        }
    }

    fn start_segment(&mut self) -> Result<&mut SegmentWriter, Error> {
        self.newest = self.newest.next();
        let predecessor = self.current.as_ref().map_or(Predecessor::UNKNOWN, SegmentWriter::as_predecessor);
        let next = SegmentWriter::create(self.files.as_ref(), &self.dir, self.newest, predecessor);
        let next = next.inspect_err(|_| self.current.iter_mut().for_each(SegmentWriter::close))?;
        if let Some(closed) = self.current.take() {
            self.sealed.insert(closed.sequence(), closed.end());
            self.longer.extend(closed.may_have_more().then_some(closed.sequence()));
        }
        Ok(self.current.insert(next))
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
