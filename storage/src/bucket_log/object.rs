//! One object of a log: a batch of requests, or a seal. Numbers are little-endian, checksums are CRC-32.
//!
//! ```text
//! header   0   8  magic "MOSSOBLG"
//!          8   4  version, 1
//!         12   4  kind: 1, requests; 2, a seal, which has no requests
//!         16  16  incarnation of the writer whose log it is
//!         32   8  number of this object
//!         40  16  nonce: a random number of this object, the same however often it is put
//!         56   8  earliest start of a span, in unix nanoseconds
//!         64   8  latest end of a span
//!         72   8  length of the requests, before they are compressed
//!         80   4  number of requests
//!         84   4  length of the tenants
//!         88   4  checksum of the compressed requests
//!         92   4  checksum of bytes 0..92 and the tenants
//!         96      tenants: of each, its length (2) and its name
//! body            zstd of: of each request, the number of its tenant (varint), its length (varint), its bytes
//! ```

use std::collections::HashMap;
use std::io::Write;

use bytes::Bytes;
use model::{TenantId, TimeRange};
use object_store::path::Path;
use uuid::Uuid;

use crate::error::Error;
use crate::incarnation::Incarnation;
use crate::varint;
use crate::wal::MAX_PAYLOAD_BYTES;

const MAGIC: [u8; 8] = *b"MOSSOBLG";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 96;
const KIND_REQUESTS: u32 = 1;
const KIND_SEAL: u32 = 2;
/// Requests that one object may have: a batch ends before this, unless one request alone is as large.
const MAX_RAW_BYTES: u64 = 2 * MAX_PAYLOAD_BYTES as u64;
/// Higher levels make objects of spans a few percent smaller and take twice the time.
const ZSTD_LEVEL: i32 = 1;

/// A request on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub tenant: TenantId,
    pub payload: Bytes,
    /// Of its spans.
    pub time_range: TimeRange,
}

/// What one object says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogObject {
    pub writer: Incarnation,
    pub number: u64,
    pub nonce: Uuid,
    pub is_seal: bool,
    pub time_range: TimeRange,
    pub tenants: Vec<TenantId>,
    requests: u32,
    raw_bytes: u64,
    body: Bytes,
}

impl LogObject {
    /// The bytes of an object with these requests. CPU work: some 5 ms for a megabyte.
    ///
    /// # Errors
    /// [`Error::EntryTooLarge`] for a request that a log does not take.
    pub(super) fn encode(writer: Incarnation, number: u64, nonce: Uuid, entries: &[LogEntry]) -> Result<Bytes, Error> {
        let mut numbers: HashMap<&TenantId, u64> = HashMap::new();
        let (mut tenants, mut raw_bytes) = (Vec::new(), 0);
        let mut time_range: Option<TimeRange> = None;
        let mut body = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL).expect("the level is one that there is");
        let mut head = Vec::new();
        for LogEntry { tenant, payload, time_range: of_entry } in entries {
            if payload.len() > MAX_PAYLOAD_BYTES {
                let (tenant, bytes) = (tenant.clone(), payload.len());
                return Err(Error::EntryTooLarge { tenant, bytes, max_bytes: MAX_PAYLOAD_BYTES });
            }
            let next = numbers.len() as u64;
            let tenant_number = *numbers.entry(tenant).or_insert_with(|| {
                put_text(&mut tenants, tenant.as_str());
                next
            });
            head.clear();
            varint::put(&mut head, tenant_number);
            varint::put(&mut head, payload.len() as u64);
            body.write_all(&head).and_then(|()| body.write_all(payload)).expect("memory can be written");
            raw_bytes += (head.len() + payload.len()) as u64;
            time_range = Some(time_range.map_or(*of_entry, |all| all.union(of_entry)));
        }
        let body = body.finish().expect("memory can be written");
        let time_range = time_range.unwrap_or(TimeRange::new(0, 0));
        let header = Header { writer, number, nonce, is_seal: false, time_range, requests: entries.len(), raw_bytes };
        Ok(header.encode(&tenants, &body))
    }

    /// The bytes of a seal.
    pub(super) fn encode_seal(writer: Incarnation, number: u64, nonce: Uuid) -> Bytes {
        let time_range = TimeRange::new(0, 0);
        Header { writer, number, nonce, is_seal: true, time_range, requests: 0, raw_bytes: 0 }.encode(&[], &[])
    }

    /// Reads an object that lies at `key`; its requests stay compressed.
    ///
    /// # Errors
    /// [`Error::LogObjectDamaged`] and [`Error::LogObjectVersion`].
    pub(super) fn decode(key: &Path, writer: Incarnation, number: u64, bytes: &Bytes) -> Result<Self, Error> {
        let damaged = |reason: &str| damaged(key, reason);
        let header = bytes.get(..HEADER_BYTES).ok_or_else(|| damaged("is shorter than its header"))?;
        if header.get(..8) != Some(&MAGIC) {
            return Err(damaged("is no object of a log"));
        }
        let mut rest = header.get(8..).unwrap_or_default();
        let found = take_u32(&mut rest);
        if found != VERSION {
            return Err(Error::LogObjectVersion { key: key.to_string(), found, known: VERSION });
        }
        let kind = take_u32(&mut rest);
        let (of_writer, of_number, nonce) = (take_u128(&mut rest), take_u64(&mut rest), take_u128(&mut rest));
        let time_range = TimeRange::new(take_u64(&mut rest), take_u64(&mut rest));
        let (raw_bytes, requests, tenants_bytes) = (take_u64(&mut rest), take_u32(&mut rest), take_u32(&mut rest));
        let (body_checksum, checksum) = (take_u32(&mut rest), take_u32(&mut rest));
        let body_at = HEADER_BYTES.saturating_add(tenants_bytes as usize);
        let tenants = bytes.get(HEADER_BYTES..body_at).ok_or_else(|| damaged("ends among its tenants"))?;
        if checksum_of(header.get(..HEADER_BYTES - 4).unwrap_or_default(), tenants) != checksum {
            return Err(damaged("the checksum of its header does not match"));
        }
        let body = bytes.slice(body_at..);
        if crc32fast::hash(&body) != body_checksum {
            return Err(damaged("the checksum of its requests does not match"));
        }
        if (of_writer, of_number) != (writer.0.as_u128(), number) || raw_bytes > MAX_RAW_BYTES {
            return Err(damaged("is that of another place"));
        }
        let is_seal = match kind {
            KIND_REQUESTS => false,
            KIND_SEAL => true,
            _ => return Err(damaged("is of no kind that is known")),
        };
        let tenants = texts(tenants).ok_or_else(|| damaged("its tenants cannot be read"))?;
        let nonce = Uuid::from_u128(nonce);
        Ok(Self { writer, number, nonce, is_seal, time_range, tenants, requests, raw_bytes, body })
    }

    /// Size of the requests before they were compressed.
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// The requests, in their order. CPU work.
    ///
    /// # Errors
    /// [`Error::LogObjectDamaged`].
    pub fn entries(&self, key: &Path) -> Result<Vec<(TenantId, Bytes)>, Error> {
        if self.is_seal {
            return Ok(Vec::new());
        }
        let damaged = |reason: &str| damaged(key, reason);
        let raw_bytes = usize::try_from(self.raw_bytes).unwrap_or(usize::MAX);
        let raw = zstd::bulk::decompress(&self.body, raw_bytes).map_err(|error| damaged(&error.to_string()))?;
        let raw = Bytes::from(raw);
        let (mut rest, mut entries) = (&raw[..], Vec::new());
        for _ in 0..self.requests {
            let entry = varint::take_usize(&mut rest).and_then(|tenant| {
                let payload = varint::take_bytes(&mut rest)?;
                Some((self.tenants.get(tenant)?.clone(), raw.slice_ref(payload)))
            });
            entries.push(entry.ok_or_else(|| damaged("its requests cannot be read"))?);
        }
        match rest {
            [] => Ok(entries),
            _ => Err(damaged("has more than its requests")),
        }
    }
}

/// Where an object says what it is.
struct Header {
    writer: Incarnation,
    number: u64,
    nonce: Uuid,
    is_seal: bool,
    time_range: TimeRange,
    requests: usize,
    raw_bytes: u64,
}

impl Header {
    fn encode(&self, tenants: &[u8], body: &[u8]) -> Bytes {
        let kind = if self.is_seal { KIND_SEAL } else { KIND_REQUESTS };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + tenants.len() + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&self.writer.0.as_u128().to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.nonce.as_u128().to_le_bytes());
        bytes.extend_from_slice(&self.time_range.start_nanos.to_le_bytes());
        bytes.extend_from_slice(&self.time_range.end_nanos.to_le_bytes());
        bytes.extend_from_slice(&self.raw_bytes.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.requests).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(tenants.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
        let checksum = checksum_of(&bytes, tenants);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(tenants);
        bytes.extend_from_slice(body);
        bytes.into()
    }
}

fn checksum_of(header: &[u8], tenants: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(tenants);
    hasher.finalize()
}

fn damaged(key: &Path, reason: &str) -> Error {
    Error::LogObjectDamaged { key: key.to_string(), reason: reason.to_owned() }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn texts(mut bytes: &[u8]) -> Option<Vec<TenantId>> {
    let mut tenants = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        tenants.push(TenantId::parse(std::str::from_utf8(name).ok()?).ok()?);
        bytes = rest;
    }
    bytes.is_empty().then_some(tenants)
}

/// Takes bytes off the front of a header, whose length is known.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (taken, rest) = bytes.split_first_chunk().expect("a header has its length");
    *bytes = rest;
    *taken
}

fn take_u32(bytes: &mut &[u8]) -> u32 {
    u32::from_le_bytes(take(bytes))
}

fn take_u64(bytes: &mut &[u8]) -> u64 {
    u64::from_le_bytes(take(bytes))
}

fn take_u128(bytes: &mut &[u8]) -> u128 {
    u128::from_le_bytes(take(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: Incarnation = Incarnation(Uuid::from_u128(7));
    const NONCE: Uuid = Uuid::from_u128(9);

    fn key() -> Path {
        crate::paths::log_object(&WRITER, 3)
    }

    fn entry(tenant: &str, payload: &'static [u8], start: u64, end: u64) -> LogEntry {
        let tenant = TenantId::parse(tenant).unwrap();
        LogEntry { tenant, payload: Bytes::from_static(payload), time_range: TimeRange::new(start, end) }
    }

    #[test]
    fn requests_come_back_in_their_order_and_the_header_says_whose_they_are() {
        let entries = [entry("b", b"one", 5, 9), entry("a", b"", 4, 4), entry("b", b"three", 6, 20)];
        let bytes = LogObject::encode(WRITER, 3, NONCE, &entries).unwrap();
        let object = LogObject::decode(&key(), WRITER, 3, &bytes).unwrap();
        let tenants: Vec<&str> = object.tenants.iter().map(TenantId::as_str).collect();
        assert_eq!((tenants, object.time_range, object.nonce), (vec!["b", "a"], TimeRange::new(4, 20), NONCE));
        let back = object.entries(&key()).unwrap();
        assert_eq!(back, entries.map(|entry| (entry.tenant, entry.payload)));
        assert!(!object.is_seal);
    }

    #[test]
    fn a_seal_has_no_requests() {
        let seal = LogObject::decode(&key(), WRITER, 3, &LogObject::encode_seal(WRITER, 3, NONCE)).unwrap();
        assert!(seal.is_seal && seal.tenants.is_empty() && seal.entries(&key()).unwrap().is_empty());
    }

    #[test]
    fn every_damaged_byte_and_every_missing_end_is_noticed() {
        let bytes = LogObject::encode(WRITER, 3, NONCE, &[entry("a", b"some bytes", 1, 2)]).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x10;
            LogObject::decode(&key(), WRITER, 3, &damaged.into()).unwrap_err();
            LogObject::decode(&key(), WRITER, 3, &bytes.slice(..at)).unwrap_err();
        }
        let elsewhere = LogObject::decode(&key(), WRITER, 4, &bytes).unwrap_err();
        assert!(elsewhere.to_string().ends_with("is damaged: is that of another place"), "{elsewhere}");
    }

    #[test]
    fn an_object_of_a_newer_program_is_not_guessed_at() {
        let mut bytes = LogObject::encode_seal(WRITER, 3, NONCE).to_vec();
        bytes[8] = 2;
        let error = LogObject::decode(&key(), WRITER, 3, &bytes.into()).unwrap_err();
        assert!(error.to_string().ends_with("has version 2, this program knows version 1"), "{error}");
    }
}
