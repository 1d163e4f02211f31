//! Parquet's hybrid of run lengths and packed bits: how pages hold codes, and which of their rows have a value.

use parquet::errors::ParquetError;

use super::too_short;
use crate::varint;

/// Appends the rows that have a value, of so many that are counted from `first`: one bit says it of each.
pub(super) fn take_rows(levels: &[u8], first: u32, count: usize, rows: &mut Vec<u32>) -> Result<(), ParquetError> {
    // one row of eight where bits say it: to begin with none means to grow a dozen times
    rows.reserve(levels.len());
    let mut row = first;
    for run in Runs::of(levels, 1, count) {
        let run = run?;
        match run {
            Run::Same { value: 0, .. } => {}
            Run::Same { count, .. } => rows.extend(row..row + count as u32),
            Run::Packed { bytes, count } => put_set_bits(bytes, row, count, rows)?,
        }
        row += run.count() as u32;
    }
    Ok(())
}

/// Appends numbers of so many bits each.
pub(super) fn take_codes(packed: &[u8], width: u8, count: usize, codes: &mut Vec<u32>) -> Result<(), ParquetError> {
    for run in Runs::of(packed, width, count) {
        match run? {
            Run::Same { value, count } => codes.extend(std::iter::repeat_n(value, count)),
            Run::Packed { bytes, count } => unpack(bytes, width, count, codes)?,
        }
    }
    Ok(())
}

/// Appends packed numbers of so many bits each.
pub(super) fn unpack(bytes: &[u8], width: u8, count: usize, numbers: &mut Vec<u32>) -> Result<(), ParquetError> {
    let (width, mask) = (usize::from(width), (1_u64 << width) - 1);
    if bytes.len() * 8 < count * width {
        return Err(too_short());
    }
    // a number of up to 32 bits lies within the eight bytes that begin with its first
    let whole = match bytes.len().checked_sub(size_of::<u64>()) {
        Some(last) => ((last * 8 + 7) / width.max(1) + 1).min(count),
        None => 0,
    };
    numbers.extend((0..whole).map(|at| {
        let bit = at * width;
        let word = bytes[bit / 8..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        (word >> (bit % 8) & mask) as u32
    }));
    numbers.extend((whole..count).map(|at| {
        let bit = at * width;
        let mut word = [0; size_of::<u64>()];
        let rest = &bytes[bit / 8..];
        let length = rest.len().min(word.len());
        word[..length].copy_from_slice(&rest[..length]);
        (u64::from_le_bytes(word) >> (bit % 8) & mask) as u32
    }));
    Ok(())
}

/// Appends which of the first `count` bits are set, counted from `first`.
fn put_set_bits(bytes: &[u8], first: u32, count: usize, set: &mut Vec<u32>) -> Result<(), ParquetError> {
    if bytes.len() * 8 < count {
        return Err(too_short());
    }
    for (start, word) in (0..count).step_by(64).zip(bytes.chunks(size_of::<u64>())) {
        let mut padded = [0; size_of::<u64>()];
        padded[..word.len()].copy_from_slice(word);
        let mut left = u64::from_le_bytes(padded);
        if count - start < 64 {
            left &= (1 << (count - start)) - 1;
        }
        while left != 0 {
            set.push(first + start as u32 + left.trailing_zeros());
            left &= left - 1;
        }
    }
    Ok(())
}

/// Numbers of so many bits, in Parquet's hybrid of run lengths and packed bits.
struct Runs<'a> {
    rest: &'a [u8],
    width: u8,
    /// Numbers that are still to come.
    left: usize,
}

enum Run<'a> {
    Same {
        value: u32,
        count: usize,
    },
    /// `count` numbers, the first in the lowest bits.
    Packed {
        bytes: &'a [u8],
        count: usize,
    },
}

impl Run<'_> {
    fn count(&self) -> usize {
        let (Self::Same { count, .. } | Self::Packed { count, .. }) = self;
        *count
    }
}

impl<'a> Runs<'a> {
    fn of(rest: &'a [u8], width: u8, count: usize) -> Self {
        Self { rest, width, left: count }
    }

    fn next_run(&mut self) -> Option<Run<'a>> {
        if self.width > 32 {
            return None;
        }
        let header = varint::take_usize(&mut self.rest)?;
        let width = usize::from(self.width);
        let run = if header & 1 == 1 {
            let groups = header >> 1;
            // a writer may leave out what pads the last group
            let length = groups.checked_mul(width)?.min(self.rest.len());
            let (bytes, rest) = self.rest.split_at(length);
            self.rest = rest;
            Run::Packed { bytes, count: groups.checked_mul(8)?.min(self.left) }
        } else {
            let (bytes, rest) = self.rest.split_at_checked(width.div_ceil(8))?;
            self.rest = rest;
            let mut value = [0; size_of::<u32>()];
            value[..bytes.len()].copy_from_slice(bytes);
            Run::Same { value: u32::from_le_bytes(value), count: (header >> 1).min(self.left) }
        };
        self.left -= run.count();
        (run.count() > 0).then_some(run)
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = Result<Run<'a>, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let run = self.next_run();
        if run.is_none() {
            self.left = 0;
        }
        Some(run.ok_or_else(too_short))
    }
}
