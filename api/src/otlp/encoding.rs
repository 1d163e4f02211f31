//! `Content-Encoding` of OTLP requests: those that the OpenTelemetry collector knows. Never unpacks beyond the limit.
//!
//! tower-http has such a layer, which knows neither snappy nor lz4, and unpacks on the thread of the request.

use std::io::{self, Read};

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
    /// `zlib`, and `deflate`, which is zlib by the standard and bare deflate from some clients.
    Deflate,
    Snappy,
    Lz4,
}

/// Why a body cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("unsupported Content-Encoding: {0}")]
    Unsupported(String),
    #[error("http: request body too large")]
    TooLarge,
    #[error("decompress the request body: {0}")]
    Broken(#[from] io::Error),
}

/// How a framed snappy stream begins; without it, a body is one bare block.
const SNAPPY_STREAM: &[u8] = b"\xff\x06\x00\x00sNaPpY";

impl Encoding {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Error> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Self::Identity) };
        let name = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
        match name.as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            "zlib" | "deflate" => Ok(Self::Deflate),
            "snappy" | "x-snappy-framed" => Ok(Self::Snappy),
            "lz4" => Ok(Self::Lz4),
            _ => Err(Error::Unsupported(name)),
        }
    }

    /// The plain body, of at most `max_bytes`.
    pub(crate) fn decode(self, body: Bytes, max_bytes: usize) -> Result<Bytes, Error> {
        let packed = body.as_ref();
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => read_limited(MultiGzDecoder::new(packed), max_bytes),
            Self::Zstd => read_limited(zstd::stream::read::Decoder::with_buffer(packed)?, max_bytes),
            Self::Deflate if has_zlib_header(packed) => read_limited(ZlibDecoder::new(packed), max_bytes),
            Self::Deflate => read_limited(DeflateDecoder::new(packed), max_bytes),
            Self::Snappy if packed.starts_with(SNAPPY_STREAM) => {
                read_limited(snap::read::FrameDecoder::new(packed), max_bytes)
            }
            Self::Snappy => decode_snappy_block(packed, max_bytes),
            Self::Lz4 => read_limited(lz4_flex::frame::FrameDecoder::new(packed), max_bytes),
        }
    }
}

fn read_limited(decoder: impl Read, max_bytes: usize) -> Result<Bytes, Error> {
    let mut plain = Vec::new();
    decoder.take(max_bytes as u64 + 1).read_to_end(&mut plain)?;
    if plain.len() > max_bytes { Err(Error::TooLarge) } else { Ok(Bytes::from(plain)) }
}

/// A bare block says how long it is unpacked, so it is refused before anything is allocated.
fn decode_snappy_block(packed: &[u8], max_bytes: usize) -> Result<Bytes, Error> {
    let plain_bytes = snap::raw::decompress_len(packed).map_err(io::Error::from)?;
    if plain_bytes > max_bytes {
        return Err(Error::TooLarge);
    }
    let plain = snap::raw::Decoder::new().decompress_vec(packed).map_err(io::Error::from)?;
    Ok(Bytes::from(plain))
}

/// RFC 1950: method 8, and a check that makes the first two bytes a multiple of 31.
fn has_zlib_header(packed: &[u8]) -> bool {
    matches!(packed, [method, flags, ..] if method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn packed(name: &str, plain: &[u8]) -> Vec<u8> {
        match name {
            "gzip" => written(GzEncoder::new(Vec::new(), Compression::fast()), plain, |w| w.finish().unwrap()),
            "zlib" => written(ZlibEncoder::new(Vec::new(), Compression::fast()), plain, |w| w.finish().unwrap()),
            "deflate" => written(DeflateEncoder::new(Vec::new(), Compression::fast()), plain, |w| w.finish().unwrap()),
            "x-snappy-framed" => {
                written(snap::write::FrameEncoder::new(Vec::new()), plain, |w| w.into_inner().unwrap())
            }
            "lz4" => written(lz4_flex::frame::FrameEncoder::new(Vec::new()), plain, |w| w.finish().unwrap()),
            "zstd" => zstd::encode_all(plain, 1).unwrap(),
            "snappy" => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
            _ => plain.to_vec(),
        }
    }

    fn written<W: Write>(mut writer: W, plain: &[u8], finish: impl FnOnce(W) -> Vec<u8>) -> Vec<u8> {
        writer.write_all(plain).unwrap();
        finish(writer)
    }

    fn named(name: &str) -> Result<Encoding, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, name.parse().unwrap());
        Encoding::of(&headers)
    }

    const NAMES: [&str; 8] = ["identity", "gzip", "zlib", "deflate", "zstd", "snappy", "x-snappy-framed", "lz4"];

    #[test]
    fn every_encoding_gives_back_what_was_packed() {
        let plain = b"spans ".repeat(1000);
        for name in NAMES {
            let body = Bytes::from(packed(name, &plain));
            let unpacked =
                named(name).unwrap().decode(body, plain.len()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(unpacked, plain, "{name}");
        }
    }

    #[test]
    fn a_small_body_that_unpacks_to_a_large_one_is_refused() {
        let bomb = vec![0_u8; 10 << 20];
        for name in &NAMES[1..] {
            let body = Bytes::from(packed(name, &bomb));
            assert!(matches!(named(name).unwrap().decode(body, 1 << 20), Err(Error::TooLarge)), "{name}");
        }
    }

    #[test]
    fn broken_bodies_and_unknown_encodings_are_errors() {
        for name in &NAMES[1..] {
            let error = named(name).unwrap().decode(Bytes::from_static(b"\xff\xff\xffnot packed"), 1 << 20);
            assert!(error.is_err(), "{name}");
        }
        assert_eq!(named("br").unwrap_err().to_string(), "unsupported Content-Encoding: br");
        assert_eq!(named("GZIP").unwrap(), Encoding::Gzip);
        assert_eq!(named("").unwrap(), Encoding::Identity);
    }
}
