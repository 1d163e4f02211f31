//! OTLP protobuf: one message, or messages with their lengths in front (four bytes, the largest first) as the collector's file
//! exporter writes them. A message may be compressed with zstd, or be JSON: that exporter puts lengths in front of compressed
//! lines, too.

use std::io::{self, Read};

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, TracesData};
use prost::Message;

use super::record::{Place, Record, Records, Source};
use super::values;
use crate::error::Error;

/// A message that is larger is not one: exporters write a few megabytes.
const MAX_MESSAGE_BYTES: u64 = 256 << 20;
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Messages with their lengths in front.
pub(super) fn records(source: Source) -> Records {
    let offset = source.start.offset;
    Box::new(Frames { source, offset, is_over: false })
}

/// The whole of the rest as one message.
pub(super) fn whole(mut source: Source) -> Records {
    let start = source.start;
    if start.offset > 0 {
        return Box::new(std::iter::empty());
    }
    let mut message = Vec::new();
    let read = source.bytes.by_ref().take(MAX_MESSAGE_BYTES + 1).read_to_end(&mut message);
    let record =
        match read {
            Err(error) => Err(Error::File { path: source.path, source: error }),
            Ok(bytes) if bytes as u64 > MAX_MESSAGE_BYTES => Err(source
                .content_error(0, format!("one message of more than {MAX_MESSAGE_BYTES} bytes; write it in several"))),
            Ok(bytes) => {
                let next = Place { offset: bytes as u64, parts: 0 };
                decode(&message)
                    .map(|resource_spans| Record { resource_spans, next })
                    .map_err(|r| source.content_error(0, r))
            }
        };
    Box::new(std::iter::once(record))
}

struct Frames {
    source: Source,
    offset: u64,
    is_over: bool,
}

impl Iterator for Frames {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let frame = self.frame().transpose();
        self.is_over = !matches!(frame, Some(Ok(_)));
        frame
    }
}

impl Frames {
    fn frame(&mut self) -> Result<Option<Record>, Error> {
        let start = self.offset;
        let mut length = [0; 4];
        match self.source.bytes.read(&mut length[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(self.unreadable(start, error)),
        }
        self.source.bytes.read_exact(&mut length[1..]).map_err(|error| self.unreadable(start, error))?;
        let length = u64::from(u32::from_be_bytes(length));
        if length > MAX_MESSAGE_BYTES {
            let reason = format!("a message of {length} bytes; is it OTLP protobuf with lengths in front?");
            return Err(self.source.content_error(start, reason));
        }
        let mut message = vec![0; usize::try_from(length).unwrap_or_default()];
        self.source.bytes.read_exact(&mut message).map_err(|error| self.unreadable(start, error))?;
        self.offset = start + 4 + length;
        let resource_spans = content(message).map_err(|reason| self.source.content_error(start, reason))?;
        Ok(Some(Record { resource_spans, next: Place { offset: self.offset, parts: 0 } }))
    }

    fn unreadable(&self, offset: u64, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.source.content_error(offset, "the file ends in the middle of a message; what is before it is sent")
            }
            _ => Error::File { path: self.source.path.clone(), source: error },
        }
    }
}

fn content(message: Vec<u8>) -> Result<Vec<ResourceSpans>, String> {
    let message = if message.starts_with(&ZSTD) { unpacked(&message)? } else { message };
    match message.first() {
        Some(b'{') => {
            let value = serde_json::from_slice(&message).map_err(|error| error.to_string())?;
            Ok(values::parts(&value)?.into_iter().flatten().collect())
        }
        _ => decode(&message),
    }
}

fn unpacked(message: &[u8]) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let decoder = zstd::Decoder::with_buffer(message).map_err(|error| error.to_string())?;
    decoder.take(MAX_MESSAGE_BYTES).read_to_end(&mut unpacked).map_err(|error| error.to_string())?;
    Ok(unpacked)
}

fn decode(message: &[u8]) -> Result<Vec<ResourceSpans>, String> {
    let decoded = TracesData::decode(message).map_err(|error| format!("it is not OTLP protobuf: {error}"))?;
    Ok(decoded.resource_spans)
}
