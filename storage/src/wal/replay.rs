//! Reading old segments back: entry by entry, over damage, with one entry in memory at a time.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use model::TenantId;

use super::Position;
use super::entry::{ENTRY_HEADER_BYTES, ENTRY_MAGIC, EntryHeader};
use super::files::{Files, OldFile};
use super::segment::{HEADER_BYTES, SegmentHeader, VERSION};
use crate::error::Error;
use crate::ids::SegmentSequence;
use crate::paths;

const READ_BUFFER_BYTES: usize = 256 << 10;

/// What is found in old segments, in the order of their sequences and of the appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayEvent {
    Entry {
        segment: SegmentSequence,
        tenant: TenantId,
        payload: Bytes,
    },
    /// Something that may have been acknowledged cannot be read; what follows it can.
    Corrupt {
        segment: SegmentSequence,
        offset: u64,
        reason: &'static str,
    },
    /// The last append before the process died was cut short; it was not acknowledged, and replay removes what it left.
    /// A last entry that was whole and is damaged since cannot be told from it.
    TornTail {
        segment: SegmentSequence,
        offset: u64,
    },
    /// Nothing more comes from this segment.
    SegmentEnd {
        segment: SegmentSequence,
    },
}

/// The segments that an earlier process left.
#[derive(Debug)]
pub struct Recovery {
    files: Arc<dyn Files>,
    segments: Vec<OldSegment>,
}

/// What is done with an append that was cut short, and with a segment that goes away meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The log is this process's own: torn tails are cut off, and what is read stays as it is when the power goes.
    Replay,
    /// Another process may be writing and deleting segments: nothing is changed, what is gone is left out.
    Look,
}

#[derive(Debug)]
struct OldSegment {
    sequence: SegmentSequence,
    path: PathBuf,
    bytes: u64,
    /// `None` when it is damaged, or that of another segment.
    header: Option<SegmentHeader>,
    /// Where the segment ends, if its successor says so; only without it may the tail be torn.
    stated_bytes: Option<u64>,
}

/// Closed segments of a log that goes on.
#[derive(Debug)]
pub struct Closed {
    pub(super) files: Arc<dyn Files>,
    pub(super) dir: PathBuf,
    /// With the ends of what was synced.
    pub(super) segments: BTreeMap<SegmentSequence, u64>,
}

/// What one segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeSegment {
    pub sequence: SegmentSequence,
    pub entries: Vec<(TenantId, Bytes)>,
    /// Where something cannot be read, and why.
    pub damage: Vec<(u64, &'static str)>,
}

impl Closed {
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Reads them, from the oldest on. Nothing is changed.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn read(self) -> Result<Replay, Error> {
        let Self { files, dir, segments } = self;
        let open = |(sequence, bytes): (SegmentSequence, u64)| -> Result<OldSegment, Error> {
            let segment = OldSegment::open(files.as_ref(), sequence, paths::segment(&dir, sequence))?;
            Ok(OldSegment { stated_bytes: Some(bytes), ..segment })
        };
        let segments = segments.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Recovery { files, segments }.look())
    }
}

impl Recovery {
    /// The segments in a folder to which nobody writes any more.
    ///
    /// # Errors
    /// [`Error::SegmentVersion`], and when the folder cannot be read.
    pub fn open(files: Arc<dyn Files>, dir: &Path) -> Result<Self, Error> {
        let mut segments = Vec::new();
        for path in files.list(dir).map_err(Error::io("list log folder", dir))? {
            if let Some(sequence) = paths::parse_segment(&path) {
                segments.extend(unless_gone(OldSegment::open(files.as_ref(), sequence, path))?);
            }
        }
        segments.sort_by_key(|segment| segment.sequence);
        let stated: BTreeMap<SegmentSequence, u64> = segments
            .iter()
            .filter_map(|segment| segment.header)
            .map(|header| (header.predecessor.sequence, header.predecessor.bytes))
            .collect();
        for segment in &mut segments {
            segment.stated_bytes = stated.get(&segment.sequence).copied();
        }
        Ok(Self { files, segments })
    }

    /// The old segments and their sizes.
    pub fn sizes(&self) -> BTreeMap<SegmentSequence, u64> {
        self.segments.iter().map(|segment| (segment.sequence, segment.bytes)).collect()
    }

    /// Reads everything, from the oldest segment on.
    pub fn replay(self) -> Replay {
        self.replay_as(Mode::Replay)
    }

    /// As [`replay`](Self::replay), beside a process that may be using the log.
    pub(super) fn look(self) -> Replay {
        self.replay_as(Mode::Look)
    }

    fn replay_as(self, mode: Mode) -> Replay {
        Replay { files: self.files, waiting: self.segments.into(), current: None, mode }
    }
}

impl OldSegment {
    fn open(files: &dyn Files, sequence: SegmentSequence, path: PathBuf) -> Result<Self, Error> {
        let read_header = || -> io::Result<(u64, Option<SegmentHeader>)> {
            let mut start = Vec::with_capacity(HEADER_BYTES);
            let mut file = files.open(&path)?;
            let bytes = file.seek(SeekFrom::End(0))?;
            file.rewind()?;
            file.take(HEADER_BYTES as u64).read_to_end(&mut start)?;
            Ok((bytes, SegmentHeader::decode(&start)))
        };
        let (bytes, header) = read_header().map_err(Error::io("read header of log segment", &path))?;
        if let Some(found) = header.map(|header| header.version).filter(|version| *version != VERSION) {
            return Err(Error::SegmentVersion { path, found, known: VERSION });
        }
        let header = header.filter(|header| header.sequence == sequence);
        Ok(Self { sequence, path, bytes, header, stated_bytes: None })
    }

    /// Up to where it is read.
    fn end(&self) -> u64 {
        self.stated_bytes.map_or(self.bytes, |stated| stated.min(self.bytes))
    }
}

/// Iterates over the events; ends after an error.
#[derive(Debug)]
pub struct Replay {
    files: Arc<dyn Files>,
    waiting: VecDeque<OldSegment>,
    current: Option<SegmentReader>,
    mode: Mode,
}

impl Iterator for Replay {
    type Item = Result<ReplayEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.next_event().transpose()?;
        match &event {
            Ok(ReplayEvent::SegmentEnd { .. }) => self.current = None,
            Ok(_) => {}
            Err(_) => (self.current, self.waiting) = (None, VecDeque::new()),
        }
        Some(event)
    }
}

impl Replay {
    /// What the next segment holds, all of it in memory; `None` at the end.
    ///
    /// # Errors
    /// When the segment cannot be read.
    pub fn next_whole(&mut self) -> Result<Option<WholeSegment>, Error> {
        let (mut entries, mut damage) = (Vec::new(), Vec::new());
        for event in self.by_ref() {
            match event? {
                ReplayEvent::Entry { tenant, payload, .. } => entries.push((tenant, payload)),
                ReplayEvent::Corrupt { offset, reason, .. } => damage.push((offset, reason)),
                ReplayEvent::TornTail { .. } => {}
                ReplayEvent::SegmentEnd { segment } => {
                    return Ok(Some(WholeSegment { sequence: segment, entries, damage }));
                }
            }
        }
        Ok(None)
    }

    /// Behind the event that came last; `None` between segments.
    pub fn position(&self) -> Option<Position> {
        self.current.as_ref().map(|reader| Position { segment: reader.sequence, offset: reader.offset })
    }

    fn next_event(&mut self) -> Result<Option<ReplayEvent>, Error> {
        let reader = match &mut self.current {
            Some(reader) => reader,
            None => match self.next_segment()? {
                Some(reader) => self.current.insert(reader),
                None => return Ok(None),
            },
        };
        let event = reader.next_event()?;
        if let (ReplayEvent::TornTail { offset, .. }, Mode::Replay) = (&event, self.mode) {
            self.files
                .truncate(&reader.path, *offset)
                .map_err(Error::io("cut torn tail of log segment", &reader.path))?;
        }
        Ok(Some(event))
    }

    fn next_segment(&mut self) -> Result<Option<SegmentReader>, Error> {
        while let Some(segment) = self.waiting.pop_front() {
            if self.mode == Mode::Replay {
                // what is read now, later starts must read, and nothing else, also when the power goes
                let synced = self.files.truncate(&segment.path, segment.end());
                synced.map_err(Error::io("sync log segment", &segment.path))?;
            }
            let reader = SegmentReader::open(self.files.as_ref(), segment);
            if let Some(reader) = if self.mode == Mode::Look { unless_gone(reader)? } else { Some(reader?) } {
                return Ok(Some(reader));
            }
        }
        Ok(None)
    }
}

/// `None` for a segment that was deleted since it was listed.
fn unless_gone<T>(opened: Result<T, Error>) -> Result<Option<T>, Error> {
    match opened {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// A place in a segment that is being read.
#[derive(Debug)]
struct SegmentReader {
    sequence: SegmentSequence,
    path: PathBuf,
    file: BufReader<Box<dyn OldFile>>,
    /// Where `file` stands.
    position: u64,
    /// Where the next entry should begin.
    offset: u64,
    end: u64,
    salt: Option<u32>,
    may_be_torn: bool,
    /// The file is shorter than its successor states, and this is not yet reported.
    shortened: bool,
}

impl SegmentReader {
    fn open(files: &dyn Files, segment: OldSegment) -> Result<Self, Error> {
        let end = segment.end();
        let OldSegment { sequence, path, bytes, header, stated_bytes } = segment;
        let file = files.open(&path).map_err(Error::io("open log segment", &path))?;
        let salt = header.map(|header| header.salt);
        Ok(Self {
            sequence,
            path,
            file: BufReader::with_capacity(READ_BUFFER_BYTES, file),
            position: 0,
            offset: salt.map_or(0, |_| HEADER_BYTES as u64),
            end,
            salt,
            may_be_torn: stated_bytes.is_none(),
            shortened: stated_bytes.is_some_and(|stated| stated > bytes),
        })
    }

    fn next_event(&mut self) -> Result<ReplayEvent, Error> {
        if self.offset >= self.end {
            return Ok(match std::mem::take(&mut self.shortened) {
                true => self.corrupt(self.end, "segment is shorter than when it was closed"),
                false => ReplayEvent::SegmentEnd { segment: self.sequence },
            });
        }
        let Some(salt) = self.salt else {
            // A header is durable before the first entry is written, so only a file without entries can have a torn one.
            self.may_be_torn &= self.end <= HEADER_BYTES as u64;
            return Ok(self.end_early(0, "segment header is damaged"));
        };
        self.read_entry(salt).map_err(Error::io("read log segment", &self.path))
    }

    fn read_entry(&mut self, salt: u32) -> io::Result<ReplayEvent> {
        let start = self.offset;
        let Some(header) = self.read_entry_header(salt, start)? else {
            return Ok(match self.find_entry_header(salt, start + 1)? {
                Some(next) => {
                    self.offset = next;
                    self.corrupt(start, "entry header is damaged")
                }
                None => self.end_early(start, "entry header is damaged"),
            });
        };
        let body_start = start + ENTRY_HEADER_BYTES as u64;
        let body_end = body_start + header.body_bytes() as u64;
        if body_end > self.end {
            return Ok(self.end_early(start, "segment ends inside an entry"));
        }
        let mut body = vec![0; header.body_bytes()];
        self.read_exact_at(body_start, &mut body)?;
        self.offset = body_end;
        Ok(match header.open_body(salt, body.into()) {
            Ok((tenant, payload)) => ReplayEvent::Entry { segment: self.sequence, tenant, payload },
            Err(reason) if body_end == self.end => self.end_early(start, reason),
            Err(reason) => self.corrupt(start, reason),
        })
    }

    /// Nothing can be read from `offset` on: a torn tail, which is cut off, or damage.
    fn end_early(&mut self, offset: u64, reason: &'static str) -> ReplayEvent {
        self.offset = self.end;
        self.shortened = false;
        if !self.may_be_torn {
            return self.corrupt(offset, reason);
        }
        ReplayEvent::TornTail { segment: self.sequence, offset }
    }

    fn corrupt(&self, offset: u64, reason: &'static str) -> ReplayEvent {
        ReplayEvent::Corrupt { segment: self.sequence, offset, reason }
    }

    fn read_entry_header(&mut self, salt: u32, offset: u64) -> io::Result<Option<EntryHeader>> {
        if self.end - offset < ENTRY_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut bytes = [0; ENTRY_HEADER_BYTES];
        self.read_exact_at(offset, &mut bytes)?;
        Ok(EntryHeader::decode(salt, &bytes))
    }

    /// The offset of the first whole entry header at or after `from`.
    fn find_entry_header(&mut self, salt: u32, from: u64) -> io::Result<Option<u64>> {
        let mut chunk = vec![0; READ_BUFFER_BYTES];
        let mut chunk_start = from;
        while self.end.saturating_sub(chunk_start) >= ENTRY_HEADER_BYTES as u64 {
            let chunk_bytes = (self.end - chunk_start).min(chunk.len() as u64) as usize;
            let chunk = &mut chunk[..chunk_bytes];
            self.read_exact_at(chunk_start, chunk)?;
            let is_header = |bytes: &[u8; ENTRY_HEADER_BYTES]| EntryHeader::decode(salt, bytes).is_some();
            let found = chunk
                .windows(ENTRY_HEADER_BYTES)
                .position(|window| window.starts_with(&ENTRY_MAGIC) && window.first_chunk().is_some_and(is_header));
            if let Some(index) = found {
                return Ok(Some(chunk_start + index as u64));
            }
            // A header that begins in the last bytes of this chunk is found in the next one.
            chunk_start += (chunk_bytes - (ENTRY_HEADER_BYTES - 1)) as u64;
        }
        Ok(None)
    }

    fn read_exact_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.seek_relative(offset as i64 - self.position as i64)?;
        self.position = offset;
        self.file.read_exact(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}
