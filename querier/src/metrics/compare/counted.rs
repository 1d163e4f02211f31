//! Spans that are counted: by the row that has what is looked at, and by slot, which is an interval and a side.

use arrow::buffer::BooleanBuffer;
use hashbrown::HashMap;

use crate::mask;

/// Spans of one slot that belong to one row of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Counted {
    pub row: u32,
    pub slot: u32,
    /// How many, or for how many they stand.
    pub spans: f64,
}

/// The rows that have something that is counted.
pub(super) fn mask(counted: &[Counted], row_count: usize) -> BooleanBuffer {
    mask::of_rows(row_count, counted.iter().map(|counted| counted.row as usize))
}

/// Counts of numbers and slots are held in an array while there are so few, or not many more than what is counted.
const FEW_CELLS: usize = 1 << 10;
const MOST_CELLS_OF_ONE: usize = 4;

/// Whether counts of so many numbers and slots are held in an array.
pub(super) fn are_few(counted: &[Counted], slot_count: usize, number_count: usize) -> bool {
    number_count.saturating_mul(slot_count) <= most_cells(counted.len())
}

/// Most numbers times slots for which an array is made, where so much is counted.
pub(super) fn most_cells(count: usize) -> usize {
    FEW_CELLS.max(count.saturating_mul(MOST_CELLS_OF_ONE))
}

/// Counts by [number][slot], where each row has a number or none.
pub(super) fn by_code(
    counted: &[Counted],
    slot_count: usize,
    code_count: usize,
    code: impl Fn(usize) -> Option<usize>,
) -> Vec<f64> {
    let mut cells = vec![0.0; code_count * slot_count];
    for Counted { row, slot, spans } in counted {
        if let Some(code) = code(*row as usize) {
            cells[code * slot_count + *slot as usize] += spans;
        }
    }
    cells
}

/// Puts together what has the same number and the same slot: the number is the row of the result. Ascending by number.
pub(super) fn by_number(
    counted: &[Counted],
    slot_count: usize,
    number_count: usize,
    number: impl Fn(u32) -> u32,
) -> Vec<Counted> {
    if counted.is_empty() {
        return Vec::new();
    }
    let cell = |counted: &Counted| number(counted.row) as usize * slot_count + counted.slot as usize;
    let summed = |(cell, spans): (usize, f64)| Counted {
        row: (cell / slot_count) as u32,
        slot: (cell % slot_count) as u32,
        spans,
    };
    if are_few(counted, slot_count, number_count) {
        let mut cells = vec![0.0; number_count * slot_count];
        counted.iter().for_each(|counted| cells[cell(counted)] += counted.spans);
        return cells.into_iter().enumerate().filter(|(_, spans)| *spans > 0.0).map(summed).collect();
    }
    let mut cells: HashMap<usize, f64> = HashMap::new();
    counted.iter().for_each(|counted| *cells.entry(cell(counted)).or_default() += counted.spans);
    let mut cells: Vec<(usize, f64)> = cells.into_iter().collect();
    cells.sort_unstable_by_key(|(cell, _)| *cell);
    cells.into_iter().map(summed).collect()
}

/// The same for numbers that may lie far from 0, but near each other: rows of a small table.
pub(super) fn by_row(counted: &[Counted], slot_count: usize, rows: &[u32]) -> Vec<Counted> {
    let row = |counted: &Counted| rows[counted.row as usize];
    let (least, most) =
        counted.iter().map(row).fold((u32::MAX, 0), |(least, most), row| (least.min(row), most.max(row)));
    let row_count = most.saturating_sub(least) as usize + 1;
    let mut summed = by_number(counted, slot_count, row_count, |span| rows[span as usize] - least);
    summed.iter_mut().for_each(|counted| counted.row += least);
    summed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_number_and_slot_is_put_together() {
        let one = |row, slot| Counted { row, slot, spans: 1.0 };
        let counted = [one(0, 1), one(1, 0), one(2, 1), one(0, 1)];
        for (numbers, slot_count) in [([7, 8, 7], 2), ([7, 8_000_000, 7], 2), ([7, 8, 7], 1 << 20)] {
            let found = by_number(&counted, slot_count, numbers[1] as usize + 1, |row| numbers[row as usize]);
            let [first, second] = [numbers[0], numbers[1]];
            let expected = [Counted { row: first, slot: 1, spans: 3.0 }, Counted { row: second, slot: 0, spans: 1.0 }];
            assert_eq!(found, expected);
        }
        assert_eq!(by_number(&[], 2, 9, |row| row), []);
    }
}
