//! Texts of a column: plain, or numbers into a dictionary that other columns may share.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringArray, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{nullif, take};
use arrow::datatypes::Int32Type;

use super::{bits, take_primitive};
use crate::error::Error;

/// Texts, plain or with a dictionary.
#[derive(Debug, Clone)]
pub(crate) struct Texts {
    keys: Option<Int32Array>,
    values: StringArray,
    /// Null stands for the empty text rather than for no value.
    null_is_empty: bool,
}

impl Texts {
    /// `None` when the array holds no text.
    pub fn of(array: &ArrayRef) -> Option<Self> {
        if let Some(dictionary) = array.as_dictionary_opt::<Int32Type>() {
            let values = dictionary.values().as_string_opt::<i32>()?.clone();
            return Some(Self { keys: Some(dictionary.keys().clone()), values, null_is_empty: false });
        }
        Some(Self { keys: None, values: array.as_string_opt::<i32>()?.clone(), null_is_empty: false })
    }

    pub fn plain(values: StringArray) -> Self {
        Self { keys: None, values, null_is_empty: false }
    }

    /// Texts by number; `keys` are rows of `values`.
    pub fn coded(keys: Int32Array, values: StringArray) -> Self {
        Self { keys: Some(keys), values, null_is_empty: false }
    }

    /// Null reads as the empty text.
    pub fn null_as_empty(mut self) -> Self {
        self.null_is_empty = true;
        self
    }

    pub fn get(&self, row: usize) -> Option<&str> {
        match self.number(row) {
            Some(number) => Some(self.values.value(number)),
            None => self.null_is_empty.then_some(""),
        }
    }

    /// The row's number among the distinct values: equal numbers are equal texts, but not the other way round.
    pub fn number(&self, row: usize) -> Option<usize> {
        let number = match &self.keys {
            Some(keys) => keys.is_valid(row).then(|| keys.value(row) as usize)?,
            None => row,
        };
        self.values.is_valid(number).then_some(number)
    }

    /// The text that a number means.
    pub fn of_number(&self, number: usize) -> Option<&str> {
        match self.values.is_valid(number) {
            true => Some(self.values.value(number)),
            false => self.null_is_empty.then_some(""),
        }
    }

    /// The number of each row, where rows do not simply number their own texts.
    pub fn keys(&self) -> Option<&Int32Array> {
        self.keys.as_ref()
    }

    /// Whether null stands for the empty text.
    pub fn is_null_empty(&self) -> bool {
        self.null_is_empty
    }

    /// How many numbers there are.
    pub fn number_count(&self) -> usize {
        self.values.len()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.as_ref().map_or(self.values.len(), |keys| keys.len())
    }

    pub(super) fn validity(&self) -> Option<BooleanBuffer> {
        if self.null_is_empty {
            return None;
        }
        match &self.keys {
            Some(_) if self.values.null_count() > 0 => {
                Some(BooleanBuffer::collect_bool(self.len(), |row| self.number(row).is_some()))
            }
            Some(keys) => bits(keys.nulls()),
            None => bits(self.values.nulls()),
        }
    }

    /// Rows whose text passes `test`, which is asked once for each distinct text that occurs.
    pub fn test(&self, test: impl Fn(&str) -> bool) -> BooleanBuffer {
        let empty = self.null_is_empty && test("");
        let Some(keys) = &self.keys else {
            return BooleanBuffer::collect_bool(self.values.len(), |row| {
                if self.values.is_valid(row) { test(self.values.value(row)) } else { empty }
            });
        };
        const FALSE: u8 = 1;
        const TRUE: u8 = 2;
        let mut known = vec![0u8; self.values.len()];
        BooleanBuffer::collect_bool(keys.len(), |row| {
            let Some(number) = self.number(row) else { return empty };
            if known[number] == 0 {
                known[number] = if test(self.values.value(number)) { TRUE } else { FALSE };
            }
            known[number] == TRUE
        })
    }

    pub(super) fn take(&self, indices: &UInt32Array) -> Result<Self, Error> {
        // a null index means no value, so what null means must be settled first
        if self.null_is_empty && indices.null_count() > 0 {
            let texts = indices.iter().map(|index| index.and_then(|index| self.get(index as usize)));
            return Ok(Self::plain(StringArray::from_iter(texts)));
        }
        let null_is_empty = self.null_is_empty;
        Ok(match &self.keys {
            Some(keys) => {
                Self { keys: Some(take_primitive(keys, indices)?), values: self.values.clone(), null_is_empty }
            }
            None => {
                let values = take(&self.values, indices, None)?.as_string::<i32>().clone();
                Self { keys: None, values, null_is_empty }
            }
        })
    }

    pub(super) fn without(&self, nulls: &BooleanArray) -> Result<Self, Error> {
        if self.null_is_empty {
            let texts = (0..self.len()).map(|row| if nulls.value(row) { None } else { self.get(row) });
            return Ok(Self::plain(StringArray::from_iter(texts)));
        }
        Ok(match &self.keys {
            Some(keys) => Self {
                keys: Some(nullif(keys, nulls)?.as_primitive().clone()),
                values: self.values.clone(),
                null_is_empty: false,
            },
            None => Self::plain(nullif(&self.values, nulls)?.as_string::<i32>().clone()),
        })
    }
}
