//! Bytes of a format that is no text and no message: bent as disks, cut copies and wrong programs bend them.

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::one_of;

const ODD_NUMBERS: [u64; 8] = [0, 1, 0x7f, 0x80, u32::MAX as u64, i64::MAX as u64, u64::MAX - 1, u64::MAX];
/// How many bytes a number has that is put over others.
const WIDTHS: [usize; 4] = [1, 2, 4, 8];
const LONGEST_PIECE: usize = 64;

/// The bytes after a few changes.
pub fn bend(random: &mut SmallRng, bytes: &[u8]) -> Vec<u8> {
    let mut bent = bytes.to_vec();
    for _ in 0..random.random_range(0..6_u32) {
        bend_once(random, &mut bent);
    }
    bent
}

fn bend_once(random: &mut SmallRng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return bytes.push(random.random());
    }
    let at = random.random_range(0..bytes.len());
    let end = (at + random.random_range(1..=LONGEST_PIECE)).min(bytes.len());
    match random.random_range(0..7) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let (piece, to) = (bytes[at..end].to_vec(), random.random_range(0..bytes.len()));
            bytes.splice(to..to, piece);
        }
        3 => bytes.truncate(at),
        4 => bytes[at..end].fill(*one_of(random, &[0, 0x80, 0xff])),
        _ => {
            let number = one_of(random, &ODD_NUMBERS).to_le_bytes();
            let width = (*one_of(random, &WIDTHS)).min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&number[..width]);
        }
    }
}
