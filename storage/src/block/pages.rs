//! Pages of a Parquet file without their compression, and back.
//!
//! Parquet's own reader and writer make a compressor and a decompressor for each column chunk that they open. With a hundred
//! columns to a row group that takes more time than all they decompress; here each thread has one of each. So pages are
//! taken out of their compression before Parquet's reader sees them, and are compressed after its writer has made them.

use std::cell::RefCell;

use parquet::errors::ParquetError;
use zstd::bulk::{Compressor, Decompressor};

use crate::varint;

/// Of every page that is compressed.
pub(super) const ZSTD_LEVEL: i32 = 3;

/// Most bytes that a page may have without its compression: about a thousand times what a writer aims at.
const MAX_PAGE_BYTES: usize = 64 << 20;

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    /// And where it writes to.
    static COMPRESSOR: RefCell<Option<(Compressor<'static>, Vec<u8>)>> = const { RefCell::new(None) };
}

/// Appends a page, header and content, without compression.
///
/// A header is a Thrift struct in the compact protocol whose first three fields are numbers: the kind of the page, its size
/// without compression, its size here (parquet.thrift, `PageHeader`). The third takes the value of the second; the rest
/// stays. Nothing but the content is compressed in pages of version 1, the only ones that a block has.
///
/// # Errors
/// When it is not such a page.
pub(super) fn append_plain(page: &[u8], out: &mut Vec<u8>) -> Result<(), ParquetError> {
    let mut rest = page;
    let mut number = || take_field(&mut rest).ok_or_else(broken);
    let (kind, plain, stored) = (number()?, number()?, number()?);
    let at = rest.len().checked_sub(stored).filter(|_| plain <= MAX_PAGE_BYTES).ok_or_else(broken)?;
    let (header, content) = rest.split_at(at);
    [kind, plain, plain].into_iter().for_each(|number| put_field(out, number));
    out.extend_from_slice(header);
    decompress(content, plain, out)
}

/// Appends a page, whose header and content have no compression, with it: the inverse of [`append_plain`].
///
/// # Errors
/// When it is not such a page.
pub(super) fn append_compressed(header: &[u8], content: &[u8], out: &mut Vec<u8>) -> Result<(), ParquetError> {
    let mut rest = header;
    let mut number = || take_field(&mut rest).ok_or_else(broken);
    let (kind, plain, stored) = (number()?, number()?, number()?);
    if plain != content.len() || stored != content.len() {
        return Err(broken());
    }
    with_compressor(|zstd, compressed| {
        compressed.clear();
        compressed.reserve(zstd::zstd_safe::compress_bound(content.len()));
        zstd.compress_to_buffer(content, compressed)?;
        [kind, plain, compressed.len()].into_iter().for_each(|number| put_field(out, number));
        out.extend_from_slice(rest);
        out.extend_from_slice(compressed);
        Ok(())
    })
}

/// The kind of a page, by its header: Parquet's number of a dictionary page.
pub(super) const DICTIONARY_PAGE: usize = 2;

/// What kind of page begins with this header.
///
/// # Errors
/// When it is no header.
pub(super) fn kind(mut header: &[u8]) -> Result<usize, ParquetError> {
    take_field(&mut header).ok_or_else(broken)
}

/// What stands before a field that follows its predecessor and is an i32.
const NEXT_I32: u8 = 0x15;

fn put_field(out: &mut Vec<u8>, number: usize) {
    out.push(NEXT_I32);
    varint::put(out, number as u64 * 2); // zigzag
}

/// Takes a field off the front that [`put_field`] could have put.
fn take_field(rest: &mut &[u8]) -> Option<usize> {
    *rest = rest.strip_prefix(&[NEXT_I32])?;
    let number = varint::take_usize(rest)?;
    number.is_multiple_of(2).then_some(number / 2)
}

/// Appends what `content` is without zstd, which must be so many bytes.
fn decompress(content: &[u8], plain: usize, out: &mut Vec<u8>) -> Result<(), ParquetError> {
    if plain == 0 {
        return Ok(());
    }
    let start = out.len();
    out.resize(start + plain, 0);
    let written = with_decompressor(|zstd| zstd.decompress_to_buffer(content, &mut out[start..]))?;
    if written == plain { Ok(()) } else { Err(broken()) }
}

/// The bytes without zstd, at most so many.
pub(super) fn decompressed(content: &[u8], at_most: usize) -> Result<Vec<u8>, ParquetError> {
    let plain = Decompressor::upper_bound(content).unwrap_or(at_most).min(at_most);
    with_decompressor(|zstd| zstd.decompress(content, plain))
}

fn with_decompressor<T>(
    work: impl FnOnce(&mut Decompressor<'static>) -> std::io::Result<T>,
) -> Result<T, ParquetError> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let zstd = match slot {
            Some(zstd) => zstd,
            none => none.insert(Decompressor::new()?),
        };
        Ok(work(zstd)?)
    })
}

fn with_compressor<T>(
    work: impl FnOnce(&mut Compressor<'static>, &mut Vec<u8>) -> std::io::Result<T>,
) -> Result<T, ParquetError> {
    COMPRESSOR.with_borrow_mut(|slot| {
        let (zstd, buffer) = match slot {
            Some(kept) => kept,
            none => none.insert((Compressor::new(ZSTD_LEVEL)?, Vec::new())),
        };
        Ok(work(zstd, buffer)?)
    })
}

fn broken() -> ParquetError {
    ParquetError::General("a page is not as long as its header says".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A page with this content as a writer would write it, its header cut after the sizes.
    fn page(content: &[u8], stored: &[u8]) -> Vec<u8> {
        let mut page = Vec::new();
        [3, content.len(), stored.len()].into_iter().for_each(|number| put_field(&mut page, number));
        page.extend([0x2c, 0x15, 0x02, 0x00, 0x00]); // the rest of a header: data_page_header { 1 }
        page.extend(stored);
        page
    }

    proptest! {
        #[test]
        fn a_page_becomes_what_it_would_be_without_compression(content in prop::collection::vec(0..4_u8, 1..5_000)) {
            let compressed = zstd::bulk::compress(&content, 3).unwrap();
            let mut plain = b"before".to_vec();
            append_plain(&page(&content, &compressed), &mut plain).unwrap();
            prop_assert_eq!(plain, [b"before", page(&content, &content).as_slice()].concat());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), is_page in any::<bool>()) {
            let bytes = if is_page { page(&[7; 40], &bytes) } else { bytes };
            _ = append_plain(&bytes, &mut Vec::new());
        }
    }

    proptest! {
        #[test]
        fn a_compressed_page_becomes_what_it_was(content in prop::collection::vec(0..4_u8, 0..5_000)) {
            let plain = page(&content, &content);
            let (header, _) = plain.split_at(plain.len() - content.len());
            let (mut compressed, mut again) = (Vec::new(), Vec::new());
            append_compressed(header, &content, &mut compressed).unwrap();
            prop_assert!(compressed.len() < plain.len() || content.len() < 100);
            append_plain(&compressed, &mut again).unwrap();
            prop_assert_eq!(again, plain);
        }
    }

    #[test]
    fn a_page_that_claims_too_much_is_refused() {
        let compressed = zstd::bulk::compress(&[1; 100], 3).unwrap();
        for claimed in [99, 101, MAX_PAGE_BYTES + 1] {
            let mut page = Vec::new();
            [3, claimed, compressed.len()].into_iter().for_each(|number| put_field(&mut page, number));
            page.extend(&compressed);
            append_plain(&page, &mut Vec::new()).unwrap_err();
        }
    }
}
