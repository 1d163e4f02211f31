//! Masks: a bit for each row of a table.

use std::ops::Range;

use arrow::array::BooleanBufferBuilder;
use arrow::buffer::BooleanBuffer;

/// Marks some of so many rows; they come in any order.
pub(crate) fn of_rows(row_count: usize, rows: impl IntoIterator<Item = usize>) -> BooleanBuffer {
    let mut mask = BooleanBufferBuilder::new(row_count);
    mask.append_n(row_count, false);
    rows.into_iter().for_each(|row| mask.set_bit(row, true));
    mask.finish()
}

/// Marks ranges of so many rows; they come in ascending order and apart, and what is beyond the last row is left out.
pub(crate) fn of_ranges(row_count: usize, ranges: impl IntoIterator<Item = Range<usize>>) -> BooleanBuffer {
    let mut mask = BooleanBufferBuilder::new(row_count);
    for range in ranges {
        mask.append_n(range.start.min(row_count).saturating_sub(mask.len()), false);
        mask.append_n(range.end.min(row_count).saturating_sub(mask.len()), true);
    }
    mask.append_n(row_count - mask.len(), false);
    mask.finish()
}
