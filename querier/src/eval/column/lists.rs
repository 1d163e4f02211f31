//! OTLP arrays as values of a column.

use arrow::array::UInt32Array;
use arrow::buffer::BooleanBuffer;
use traceql::Static;

use super::{Cell, Column};
use crate::error::Error;

/// Arrays as values. The items of a row are all of one type.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    /// The items of row `i` are `offsets[i]..offsets[i + 1]`; a row without items has no list.
    pub offsets: Vec<u32>,
    pub items: Box<Column>,
}

impl Lists {
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    pub(super) fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn present(&self) -> BooleanBuffer {
        BooleanBuffer::collect_bool(self.rows(), |row| !self.range(row).is_empty())
    }

    /// The row that each item belongs to.
    pub fn rows_of_items(&self) -> UInt32Array {
        UInt32Array::from_iter_values(
            (0..self.rows()).flat_map(|row| std::iter::repeat_n(row as u32, self.range(row).len())),
        )
    }

    /// Rows of which any item is in `items`.
    pub fn any(&self, items: &BooleanBuffer) -> BooleanBuffer {
        BooleanBuffer::collect_bool(self.rows(), |row| self.range(row).any(|item| items.value(item)))
    }

    /// Rows that have items, all of which are in `items`.
    pub fn all(&self, items: &BooleanBuffer) -> BooleanBuffer {
        BooleanBuffer::collect_bool(self.rows(), |row| {
            let mut range = self.range(row);
            !range.is_empty() && range.all(|item| items.value(item))
        })
    }

    pub(super) fn take(&self, indices: &UInt32Array) -> Result<Self, Error> {
        let (mut offsets, mut items) = (Vec::with_capacity(indices.len() + 1), Vec::new());
        offsets.push(0);
        for index in indices.iter() {
            items.extend(index.into_iter().flat_map(|row| self.range(row as usize)).map(|item| item as u32));
            offsets.push(items.len() as u32);
        }
        Ok(Self { offsets, items: Box::new(self.items.take(&UInt32Array::from(items))?) })
    }

    /// The lists of all rows but those of `mask`.
    pub(super) fn without(&self, mask: &BooleanBuffer) -> Result<Self, Error> {
        self.take(&UInt32Array::from_iter((0..mask.len()).map(|row| (!mask.value(row)).then_some(row as u32))))
    }

    pub(super) fn cell(&self, row: usize) -> Option<Cell> {
        let items = self.range(row).filter_map(|item| match self.items.cell(item) {
            Cell::One(value) => Some(value),
            _ => None,
        });
        let items: Vec<Static> = items.collect();
        (!items.is_empty()).then_some(Cell::Many(items))
    }
}
