//! Counting of columns by code: nothing is looked at but the rows that have a value.

use std::ops::{AddAssign, Range};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use hashbrown::HashMap;
use storage::coded::{CodedColumn, CodedValues};

use super::counted::{self, Counted};
use super::partial::{MAX_VALUES, PartialField, SlotCounts};
use crate::error::Error;
use crate::eval::Key;

/// The slot of each row of a batch.
pub(super) struct SlotsOfRows {
    slots: Range<u32>,
    /// Counted from the first of `slots`; the number of slots where a row does not count.
    of_rows: Vec<u32>,
    /// For how many spans each row counts; `None` when each counts for one.
    spans: Option<Vec<f64>>,
}

impl SlotsOfRows {
    /// The slots of what is counted are counted from the first of `slots`.
    pub fn of(counted: &[Counted], row_count: usize, slots: Range<u32>) -> Self {
        let mut of_rows = vec![slots.len() as u32; row_count];
        counted.iter().for_each(|counted| of_rows[counted.row as usize] = counted.slot);
        // a row may be there twice
        let is_one = |counted: &Counted| counted.spans == 1.0;
        let are_once = counted.is_sorted_by(|one, next| one.row < next.row) && counted.iter().all(is_one);
        let spans = (!are_once).then(|| {
            let mut spans = vec![0.0; row_count];
            counted.iter().for_each(|counted| spans[counted.row as usize] += counted.spans);
            spans
        });
        Self { slots, of_rows, spans }
    }

    /// What a column has in each slot; of its values nothing where they are not needed.
    pub fn count(&self, column: &CodedColumn, are_values_needed: bool) -> Result<PartialField, Error> {
        match &self.spans {
            None => self.count_by(column, are_values_needed, |_| 1_u32, f64::from),
            Some(spans) => self.count_by(column, are_values_needed, |row| spans[row as usize], |spans| spans),
        }
    }

    /// `spans` is for how many spans a row counts, `number` what their sum is as a number.
    fn count_by<T: Copy + Default + AddAssign>(
        &self,
        column: &CodedColumn,
        are_values_needed: bool,
        spans: impl Fn(u32) -> T,
        number: impl Fn(T) -> f64,
    ) -> Result<PartialField, Error> {
        // behind the slots stands what does not count
        let (rows, stride) = (column.rows(), self.slots.len() + 1);
        let slot = |row: u32| self.of_rows[row as usize] as usize;
        let of_cells = |cells: &[T]| {
            let numbers = cells.iter().map(|&spans| number(spans));
            SlotCounts::ascending(self.slots.clone().zip(numbers).filter(|(_, spans)| *spans > 0.0))
        };
        let mut totals = vec![T::default(); stride];
        rows.iter().for_each(|&row| totals[slot(row)] += spans(row));
        let mut partial = PartialField { totals: of_cells(&totals), values: None };
        if !are_values_needed {
            return Ok(partial);
        }
        let CodedValues { codes, by_code } = column.values()?;
        let mut values = Values::with_room_for(by_code.len());
        if by_code.len() * stride <= counted::most_cells(rows.len()) {
            let mut cells = vec![T::default(); by_code.len() * stride];
            rows.iter().zip(&codes).for_each(|(&row, &code)| cells[code as usize * stride + slot(row)] += spans(row));
            for (code, cells) in cells.chunks(stride).enumerate() {
                values.add(&by_code, code, of_cells(cells));
            }
        } else {
            let counts = |(&row, &code): (&u32, &u32)| {
                let slot = self.of_rows[row as usize];
                (slot < self.slots.len() as u32).then(|| Counted { row: code, slot, spans: number(spans(row)) })
            };
            let counts: Vec<Counted> = rows.iter().zip(&codes).filter_map(counts).collect();
            let by_number = counted::by_number(&counts, self.slots.len(), by_code.len(), |code| code);
            for of_code in by_number.chunk_by(|one, next| one.row == next.row) {
                let counts = of_code.iter().map(|counted| (self.slots.start + counted.slot, counted.spans));
                values.add(&by_code, of_code[0].row as usize, SlotCounts::ascending(counts));
            }
        }
        partial.values = values.finish();
        Ok(partial)
    }
}

/// What was found of each value.
struct Values {
    by_key: HashMap<Key, SlotCounts>,
    are_too_many: bool,
}

impl Values {
    fn with_room_for(count: usize) -> Self {
        Self { by_key: HashMap::with_capacity(count.min(MAX_VALUES)), are_too_many: false }
    }

    fn add(&mut self, by_code: &ArrayRef, code: usize, counts: SlotCounts) {
        if self.are_too_many || counts.is_empty() {
            return;
        }
        let Some(key) = key(by_code, code) else { return };
        self.by_key.entry(key).or_default().merge(counts);
        self.are_too_many = self.by_key.len() > MAX_VALUES;
    }

    fn finish(self) -> Option<HashMap<Key, SlotCounts>> {
        (!self.are_too_many).then_some(self.by_key)
    }
}

/// The value of a code.
pub(super) fn key(by_code: &ArrayRef, code: usize) -> Option<Key> {
    if let Some(texts) = by_code.as_string_opt::<i32>() {
        return Some(Key::Text(texts.value(code).to_owned()));
    }
    if let Some(ints) = by_code.as_primitive_opt::<Int64Type>() {
        return Some(Key::Int(ints.value(code)));
    }
    if let Some(doubles) = by_code.as_primitive_opt::<Float64Type>() {
        return Some(Key::Float(doubles.value(code).to_bits()));
    }
    Some(Key::Bool(by_code.as_boolean_opt()?.value(code)))
}
