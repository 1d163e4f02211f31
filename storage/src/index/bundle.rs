//! The container: one object, of which any part can be read and be known to be undamaged.
//!
//! ```text
//! object   sheet … sheet          4,096 bytes each, the last one shorter
//! sheet    payload … │ CRC-32 u32 LE of the payload and of the sheet's number (u32 LE)
//!
//! the payloads, one after another:
//! fingerprints │ postings │ terms │ directory │ footer
//! footer   starts of postings, terms, directory, footer: u64 LE each │ "mosso-ix" │ version u32 LE
//! ```
//!
//! A question reads the footer and the directory (kept between questions), then the sheets that it needs of the rest.
//! What a question lacks is noted while it runs, fetched, and the question is asked again: so the code that reads knows
//! nothing of waiting.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use bytes::Bytes;
use tantivy::HasLen;
use tantivy::directory::{FileHandle, FileSlice, OwnedBytes};

/// Version of the bundle that this code writes and reads.
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"mosso-ix";
const FOOTER_BYTES: usize = 4 * 8 + MAGIC.len() + 4;

pub(super) const SHEET_BYTES: usize = 4096;
const CRC_BYTES: usize = 4;
const PAYLOAD_BYTES: usize = SHEET_BYTES - CRC_BYTES;

/// The parts of a bundle, whole.
#[derive(Default)]
pub(super) struct Parts {
    pub fingerprints: Vec<u8>,
    pub postings: Vec<u8>,
    pub terms: Vec<u8>,
    pub directory: Vec<u8>,
}

/// Where the parts stand among the payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    pub fingerprints: Range<usize>,
    pub postings: Range<usize>,
    pub terms: Range<usize>,
    pub directory: Range<usize>,
}

impl Parts {
    /// The object.
    pub fn encode(self) -> Bytes {
        let mut payload = self.fingerprints;
        let mut starts = Vec::with_capacity(4);
        for part in [self.postings, self.terms, self.directory] {
            starts.push(payload.len() as u64);
            payload.extend(part);
        }
        starts.push(payload.len() as u64);
        starts.iter().for_each(|start| payload.extend(start.to_le_bytes()));
        payload.extend(MAGIC);
        payload.extend(VERSION.to_le_bytes());
        let mut object = Vec::with_capacity(payload.len() + CRC_BYTES * (payload.len() / PAYLOAD_BYTES + 1));
        for (number, sheet) in payload.chunks(PAYLOAD_BYTES).enumerate() {
            object.extend_from_slice(sheet);
            object.extend(checksum(sheet, number as u32).to_le_bytes());
        }
        object.into()
    }
}

fn checksum(payload: &[u8], number: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(payload);
    hasher.update(&number.to_le_bytes());
    hasher.finalize()
}

/// What the size of an object says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    object_bytes: u64,
}

impl Shape {
    pub fn of(object_bytes: u64) -> Self {
        Self { object_bytes }
    }

    fn sheet_count(self) -> u64 {
        self.object_bytes.div_ceil(SHEET_BYTES as u64)
    }

    fn payload_bytes(self) -> usize {
        self.object_bytes.saturating_sub(CRC_BYTES as u64 * self.sheet_count()) as usize
    }

    /// Where a sheet stands in the object.
    pub fn sheet(self, number: u32) -> Range<u64> {
        let start = u64::from(number) * SHEET_BYTES as u64;
        start..(start + SHEET_BYTES as u64).min(self.object_bytes)
    }

    /// The last sheets, up to so many bytes.
    pub fn tail(self, bytes: u64) -> Range<u32> {
        let count = self.sheet_count();
        count.saturating_sub(bytes.div_ceil(SHEET_BYTES as u64)) as u32..count as u32
    }
}

/// The payload of a sheet that is undamaged.
pub(super) fn verified(sheet: &Bytes, number: u32) -> Option<Bytes> {
    let payload_bytes = sheet.len().checked_sub(CRC_BYTES)?;
    let (payload, crc) = sheet.split_at(payload_bytes);
    (crc == checksum(payload, number).to_le_bytes()).then(|| sheet.slice(..payload_bytes))
}

/// The payloads of a bundle, as far as they were fetched. Cheap to clone.
#[derive(Clone)]
pub(super) struct Payloads {
    shape: Shape,
    sheets: Arc<Mutex<Sheets>>,
}

#[derive(Default)]
struct Sheets {
    held: HashMap<u32, Bytes>,
    wanted: BTreeSet<u32>,
}

impl Payloads {
    pub fn new(shape: Shape) -> Self {
        Self { shape, sheets: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Sheets> {
        // nothing that is done under the lock can leave the two collections half changed
        self.sheets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the verified payload of a sheet.
    pub fn hold(&self, number: u32, payload: Bytes) {
        self.lock().held.insert(number, payload);
    }

    /// The sheets that were missed since the last call.
    pub fn take_wanted(&self) -> BTreeSet<u32> {
        std::mem::take(&mut self.lock().wanted)
    }

    /// Some of the payload; an error notes what is missing, or that there is no such range.
    pub fn read(&self, range: Range<usize>) -> io::Result<Vec<u8>> {
        if range.start > range.end || range.end > self.shape.payload_bytes() {
            return Err(damaged("a part of it lies outside of it"));
        }
        let numbers = range.start / PAYLOAD_BYTES..range.end.div_ceil(PAYLOAD_BYTES);
        let mut sheets = self.lock();
        let missing: Vec<u32> =
            numbers.clone().map(|number| number as u32).filter(|number| !sheets.held.contains_key(number)).collect();
        if !missing.is_empty() {
            sheets.wanted.extend(missing);
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        let mut bytes = Vec::with_capacity(range.len());
        for number in numbers {
            let (payload, start) = (&sheets.held[&(number as u32)], number * PAYLOAD_BYTES);
            let within = range.start.max(start) - start..(range.end - start).min(PAYLOAD_BYTES);
            bytes.extend_from_slice(payload.get(within).ok_or_else(|| damaged("a sheet ends early"))?);
        }
        Ok(bytes)
    }

    /// Some of the payload as a file of tantivy's.
    pub fn file(&self, range: Range<usize>) -> io::Result<FileSlice> {
        if range.start > range.end || range.end > self.shape.payload_bytes() {
            return Err(damaged("a part of it lies outside of it"));
        }
        Ok(FileSlice::new(Arc::new(self.clone())).slice(range))
    }

    /// Reads the footer.
    pub fn places(&self) -> io::Result<Places> {
        let end = self.shape.payload_bytes();
        let start = end.checked_sub(FOOTER_BYTES).ok_or_else(|| damaged("it is too short"))?;
        let footer = self.read(start..end)?;
        let (starts, rest) = footer.split_at(4 * 8);
        let (magic, version) = rest.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(damaged("it does not end as an index does"));
        }
        let version = version.try_into().map_or(0, u32::from_le_bytes);
        if version != VERSION {
            return Err(damaged(format!("it has version {version}, this program knows version {VERSION}")));
        }
        let starts = starts.chunks_exact(8).map(|start| start.try_into().map_or(u64::MAX, u64::from_le_bytes));
        let starts: Vec<usize> = starts.map(|start| usize::try_from(start).unwrap_or(usize::MAX)).collect();
        match starts.as_slice() {
            &[postings, terms, directory, footer]
                if postings <= terms && terms <= directory && directory <= footer && footer == start =>
            {
                Ok(Places {
                    fingerprints: 0..postings,
                    postings: postings..terms,
                    terms: terms..directory,
                    directory: directory..footer,
                })
            }
            _ => Err(damaged("its parts are not in order")),
        }
    }
}

/// What is wrong with an index.
pub(super) fn damaged(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

impl fmt::Debug for Payloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index bundle of {} bytes", self.shape.object_bytes)
    }
}

impl HasLen for Payloads {
    fn len(&self) -> usize {
        self.shape.payload_bytes()
    }
}

impl FileHandle for Payloads {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        Ok(OwnedBytes::new(self.read(range)?))
    }
}
