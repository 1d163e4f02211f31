//! A file → records. Which format it has is seen from its first bytes; what is compressed is decompressed on the way.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::record::{Place, Records, Source};
use super::{framed, values};
use crate::error::Error;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 1 << 20;
/// The first byte of a `TracesData`: its first field, a message.
const PROTOBUF_FIELD: u8 = 0x0a;

/// The records of a file from a place on. After an error there are no more.
pub(super) fn records(path: &Path, start: Place) -> Records {
    open(path, start).unwrap_or_else(|source| {
        let error = Error::File { path: path.to_owned(), source };
        Box::new(std::iter::once(Err(error)))
    })
}

fn open(path: &Path, start: Place) -> io::Result<Records> {
    let mut file = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    let head = file.fill_buf()?;
    let mut bytes: Box<dyn BufRead + Send> = match head {
        head if head.starts_with(&GZIP) => buffered(MultiGzDecoder::new(file)),
        head if head.starts_with(&ZSTD) => buffered(zstd::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    };
    let format = Format::of(bytes.fill_buf()?);
    skip(path, &mut bytes, start.offset)?;
    let source = Source { bytes, path: path.to_owned(), start };
    Ok(match format {
        Format::Values => values::records(source),
        Format::Frames => framed::records(source),
        Format::Message => framed::whole(source),
    })
}

fn buffered(reader: impl Read + Send + 'static) -> Box<dyn BufRead + Send> {
    Box::new(BufReader::with_capacity(BUFFER_BYTES, reader))
}

/// Bytes that are not compressed are passed over by seeking.
fn skip(path: &Path, bytes: &mut Box<dyn BufRead + Send>, offset: u64) -> io::Result<()> {
    if offset == 0 {
        return Ok(());
    }
    let mut head = [0; 4];
    let mut file = File::open(path)?;
    let is_compressed = file.read_exact(&mut head).is_ok() && (head.starts_with(&GZIP) || head == ZSTD);
    if is_compressed {
        io::copy(&mut bytes.by_ref().take(offset), &mut io::sink())?;
    } else {
        file.seek(SeekFrom::Start(offset))?;
        *bytes = buffered(file);
    }
    Ok(())
}

enum Format {
    /// One value of JSON after the other.
    Values,
    /// A length, then a message, again and again: the collector's file exporter.
    Frames,
    /// One message of protobuf.
    Message,
}

impl Format {
    fn of(head: &[u8]) -> Self {
        match head.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{' | b'[') => Self::Values,
            // lengths begin with zeros: no frame is as large as a length that begins otherwise says
            Some(0) | None => Self::Frames,
            Some(_) if head.first() == Some(&PROTOBUF_FIELD) => Self::Message,
            Some(_) => Self::Values,
        }
    }
}
