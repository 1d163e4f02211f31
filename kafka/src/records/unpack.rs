//! How the records of a batch are compressed. Never unpacks beyond a limit.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("compression {0} is not known")]
    Unknown(i16),
    #[error("it takes more than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Broken(#[from] io::Error),
}

/// How snappy begins as Java's clients write it: blocks behind their lengths. Others write one bare block.
const SNAPPY_BLOCKS: &[u8] = b"\x82SNAPPY\0";
/// Two versions stand behind it.
const SNAPPY_HEAD_BYTES: usize = SNAPPY_BLOCKS.len() + 8;

pub(super) fn unpack(packed: Bytes, compression: i16, max_bytes: usize) -> Result<Bytes, Error> {
    let bytes = packed.as_ref();
    match compression {
        0 => Ok(packed),
        1 => read_limited(MultiGzDecoder::new(bytes), max_bytes),
        2 => snappy(bytes, max_bytes),
        3 => read_limited(lz4_flex::frame::FrameDecoder::new(bytes), max_bytes),
        4 => read_limited(zstd::stream::read::Decoder::with_buffer(bytes)?, max_bytes),
        other => Err(Error::Unknown(other)),
    }
}

fn read_limited(decoder: impl Read, max_bytes: usize) -> Result<Bytes, Error> {
    let mut plain = Vec::new();
    decoder.take(max_bytes as u64 + 1).read_to_end(&mut plain)?;
    if plain.len() > max_bytes { Err(Error::TooLarge(max_bytes)) } else { Ok(plain.into()) }
}

fn snappy(packed: &[u8], max_bytes: usize) -> Result<Bytes, Error> {
    let mut plain = Vec::new();
    if !packed.starts_with(SNAPPY_BLOCKS) {
        snappy_block(packed, &mut plain, max_bytes)?;
        return Ok(plain.into());
    }
    let mut rest = packed.get(SNAPPY_HEAD_BYTES..).ok_or(io::ErrorKind::UnexpectedEof).map_err(io::Error::from)?;
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let block = behind.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof).map_err(io::Error::from)?;
        snappy_block(block.0, &mut plain, max_bytes)?;
        rest = block.1;
    }
    Ok(plain.into())
}

/// A block says how long it is unpacked, so it is refused before anything is allocated.
fn snappy_block(block: &[u8], plain: &mut Vec<u8>, max_bytes: usize) -> Result<(), Error> {
    let length = snap::raw::decompress_len(block).map_err(io::Error::from)?;
    if plain.len().saturating_add(length) > max_bytes {
        return Err(Error::TooLarge(max_bytes));
    }
    plain.extend(snap::raw::Decoder::new().decompress_vec(block).map_err(io::Error::from)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(compression: i16, plain: &[u8]) -> Vec<u8> {
        match compression {
            1 => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(plain).unwrap();
                writer.finish().unwrap()
            }
            2 => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
            3 => {
                let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
                writer.write_all(plain).unwrap();
                writer.finish().unwrap()
            }
            4 => zstd::encode_all(plain, 1).unwrap(),
            _ => plain.to_vec(),
        }
    }

    #[test]
    fn every_compression_gives_back_what_was_packed_and_no_more_than_may_be() {
        let plain = b"spans ".repeat(10_000);
        for compression in 0..=4 {
            let bytes = Bytes::from(packed(compression, &plain));
            assert_eq!(unpack(bytes.clone(), compression, plain.len()).unwrap(), plain, "{compression}");
            let cut = unpack(bytes, compression, plain.len() - 1);
            assert!(compression == 0 || matches!(cut, Err(Error::TooLarge(_))), "{compression}");
            let broken = unpack(Bytes::from_static(b"\xff\xff\xffnot packed"), compression, 1 << 20);
            assert!(compression == 0 || broken.is_err(), "{compression}");
        }
        assert!(matches!(unpack(Bytes::new(), 5, 1), Err(Error::Unknown(5))));
    }

    #[test]
    fn snappy_of_java_is_blocks() {
        let blocks = [b"first ".as_slice(), b"second"];
        let mut bytes = [SNAPPY_BLOCKS, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        for block in blocks.map(|block| packed(2, block)) {
            bytes.extend((block.len() as u32).to_be_bytes());
            bytes.extend(block);
        }
        assert_eq!(unpack(Bytes::from(bytes.clone()), 2, 100).unwrap(), "first second");
        assert!(unpack(Bytes::from(bytes.clone()), 2, 8).is_err());
        bytes.pop();
        assert!(unpack(Bytes::from(bytes), 2, 100).is_err());
    }
}
