//! The values of an expression over the rows of a table: one typed array for each type that occurs.
//!
//! Owns how values are held, gathered and looked at. How they compare is in `compare`, how they compute in `arithmetic`.

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, BooleanBufferBuilder, Float64Array, Int32Array, Int64Array, PrimitiveArray,
    StringArray, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{nullif, take};
use arrow::datatypes::Int32Type;
use traceql::{Kind, Static, Status};

use crate::error::Error;

/// Typed arrays over the same rows; at most one of them has a value at a row.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub rows: usize,
    pub parts: Vec<Part>,
    /// Rows with a value that cannot be compared: maps, bytes, empty and mixed arrays.
    pub opaque: Option<BooleanBuffer>,
}

#[derive(Debug, Clone)]
pub(crate) enum Part {
    Text(Texts),
    Int(Int64Array),
    Float(Float64Array),
    Bool(BooleanArray),
    /// Nanoseconds.
    Duration(Int64Array),
    /// OTLP's numbers.
    Status(Int32Array),
    /// OTLP's numbers.
    Kind(Int32Array),
    Lists(Lists),
}

/// Texts, plain or with a dictionary.
#[derive(Debug, Clone)]
pub(crate) struct Texts {
    keys: Option<Int32Array>,
    values: StringArray,
    /// Null stands for the empty text rather than for no value.
    null_is_empty: bool,
}

/// Arrays as values. The items of a row are all of one type.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    /// The items of row `i` are `offsets[i]..offsets[i + 1]`; a row without items has no list.
    pub offsets: Vec<u32>,
    pub items: Box<Column>,
}

/// One row of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Missing,
    /// There is a value, but none that can be compared or shown.
    Opaque,
    One(Static),
    Many(Vec<Static>),
}

impl Column {
    pub fn missing(rows: usize) -> Self {
        Self { rows, parts: Vec::new(), opaque: None }
    }

    pub fn of(rows: usize, part: Part) -> Self {
        Self { rows, parts: vec![part], opaque: None }
    }

    pub fn of_mask(mask: BooleanBuffer) -> Self {
        Self::of(mask.len(), Part::Bool(BooleanArray::new(mask, None)))
    }

    /// The same value at every row.
    pub fn constant(rows: usize, value: &Static) -> Self {
        let part = match value {
            Static::Nil => return Self::missing(rows),
            Static::Int(number) => Part::Int(Int64Array::from_value(*number, rows)),
            Static::Float(number) => Part::Float(Float64Array::from_value(*number, rows)),
            Static::Duration(nanos) => Part::Duration(Int64Array::from_value(*nanos, rows)),
            Static::Status(status) => Part::Status(Int32Array::from_value(status.otlp(), rows)),
            Static::Kind(kind) => Part::Kind(Int32Array::from_value(kind.otlp(), rows)),
            Static::Bool(value) => {
                let bits = if *value { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) };
                return Self::of_mask(bits);
            }
            Static::String(text) => Part::Text(Texts {
                keys: Some(Int32Array::from_value(0, rows)),
                values: StringArray::from(vec![text.as_str()]),
                null_is_empty: false,
            }),
        };
        Self::of(rows, part)
    }

    /// Rows with any value.
    pub fn present(&self) -> BooleanBuffer {
        let start = self.opaque.clone().unwrap_or_else(|| BooleanBuffer::new_unset(self.rows));
        self.parts.iter().fold(start, |all, part| match part.validity() {
            None => BooleanBuffer::new_set(self.rows),
            Some(valid) => &all | &valid,
        })
    }

    /// Rows whose value is the bool `true`.
    pub fn is_true(&self) -> BooleanBuffer {
        let bools = self.parts.iter().filter_map(|part| match part {
            Part::Bool(array) => Some(and_valid(array.values().clone(), array.nulls())),
            _ => None,
        });
        bools.reduce(|all, one| &all | &one).unwrap_or_else(|| BooleanBuffer::new_unset(self.rows))
    }

    /// The rows at `indices`, in that order; a null index gives a missing value.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self, Error> {
        let parts = self.parts.iter().map(|part| part.take(indices)).collect::<Result<_, Error>>()?;
        let opaque = self.opaque.as_ref().map(|mask| {
            BooleanBuffer::collect_bool(indices.len(), |at| {
                indices.is_valid(at) && mask.value(indices.value(at) as usize)
            })
        });
        Ok(Self { rows: indices.len(), parts, opaque })
    }

    /// `self`, and where it is missing `other`.
    pub fn or_else(mut self, other: &Self) -> Result<Self, Error> {
        let taken = self.present();
        for part in &other.parts {
            self.parts.push(part.without(&taken)?);
        }
        let added = other.opaque.as_ref().map(|mask| mask & &!&taken);
        self.opaque = match (self.opaque, added) {
            (Some(left), Some(right)) => Some(&left | &right),
            (left, right) => left.or(right),
        };
        Ok(self)
    }

    pub fn cell(&self, row: usize) -> Cell {
        if let Some(cell) = self.parts.iter().find_map(|part| part.cell(row)) {
            return cell;
        }
        match &self.opaque {
            Some(mask) if mask.value(row) => Cell::Opaque,
            _ => Cell::Missing,
        }
    }
}

impl Part {
    /// Rows with a value; `None` when all have one.
    fn validity(&self) -> Option<BooleanBuffer> {
        match self {
            Self::Text(texts) => texts.validity(),
            Self::Int(array) | Self::Duration(array) => bits(array.nulls()),
            Self::Float(array) => bits(array.nulls()),
            Self::Bool(array) => bits(array.nulls()),
            Self::Status(array) | Self::Kind(array) => bits(array.nulls()),
            Self::Lists(lists) => Some(lists.present()),
        }
    }

    fn take(&self, indices: &UInt32Array) -> Result<Self, Error> {
        Ok(match self {
            Self::Text(texts) => Self::Text(texts.take(indices)?),
            Self::Int(array) => Self::Int(take_primitive(array, indices)?),
            Self::Duration(array) => Self::Duration(take_primitive(array, indices)?),
            Self::Float(array) => Self::Float(take_primitive(array, indices)?),
            Self::Bool(array) => Self::Bool(take(array, indices, None)?.as_boolean().clone()),
            Self::Status(array) => Self::Status(take_primitive(array, indices)?),
            Self::Kind(array) => Self::Kind(take_primitive(array, indices)?),
            Self::Lists(lists) => Self::Lists(lists.take(indices)?),
        })
    }

    /// The values of all rows but those of `mask`.
    fn without(&self, mask: &BooleanBuffer) -> Result<Self, Error> {
        let nulls = BooleanArray::new(mask.clone(), None);
        let primitive = |array: &dyn Array| nullif(array, &nulls);
        Ok(match self {
            Self::Text(texts) => Self::Text(texts.without(&nulls)?),
            Self::Int(array) => Self::Int(primitive(array)?.as_primitive().clone()),
            Self::Duration(array) => Self::Duration(primitive(array)?.as_primitive().clone()),
            Self::Float(array) => Self::Float(primitive(array)?.as_primitive().clone()),
            Self::Bool(array) => Self::Bool(primitive(array)?.as_boolean().clone()),
            Self::Status(array) => Self::Status(primitive(array)?.as_primitive().clone()),
            Self::Kind(array) => Self::Kind(primitive(array)?.as_primitive().clone()),
            Self::Lists(lists) => {
                let kept = UInt32Array::from_iter(
                    (0..mask.len()).map(|row| (!mask.value(row)).then_some(row as u32)),
                );
                Self::Lists(lists.take(&kept)?)
            }
        })
    }

    fn cell(&self, row: usize) -> Option<Cell> {
        let value = match self {
            Self::Text(texts) => Static::String(texts.get(row)?.to_owned()),
            Self::Int(array) => Static::Int(array.is_valid(row).then(|| array.value(row))?),
            Self::Duration(array) => Static::Duration(array.is_valid(row).then(|| array.value(row))?),
            Self::Float(array) => Static::Float(array.is_valid(row).then(|| array.value(row))?),
            Self::Bool(array) => Static::Bool(array.is_valid(row).then(|| array.value(row))?),
            Self::Status(array) => {
                return array.is_valid(row).then(|| {
                    Status::from_otlp(array.value(row)).map_or(Cell::Opaque, |status| Cell::One(Static::Status(status)))
                });
            }
            Self::Kind(array) => {
                return array.is_valid(row).then(|| {
                    Kind::from_otlp(array.value(row)).map_or(Cell::Opaque, |kind| Cell::One(Static::Kind(kind)))
                });
            }
            Self::Lists(lists) => return lists.cell(row),
        };
        Some(Cell::One(value))
    }
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

    /// How many numbers there are.
    pub fn number_count(&self) -> usize {
        self.values.len()
    }

    fn len(&self) -> usize {
        self.keys.as_ref().map_or(self.values.len(), |keys| keys.len())
    }

    fn validity(&self) -> Option<BooleanBuffer> {
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

    fn take(&self, indices: &UInt32Array) -> Result<Self, Error> {
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

    fn without(&self, nulls: &BooleanArray) -> Result<Self, Error> {
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

impl Lists {
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    fn rows(&self) -> usize {
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

    fn take(&self, indices: &UInt32Array) -> Result<Self, Error> {
        let (mut offsets, mut items) = (Vec::with_capacity(indices.len() + 1), Vec::new());
        offsets.push(0);
        for index in indices.iter() {
            items.extend(index.into_iter().flat_map(|row| self.range(row as usize)).map(|item| item as u32));
            offsets.push(items.len() as u32);
        }
        Ok(Self { offsets, items: Box::new(self.items.take(&UInt32Array::from(items))?) })
    }

    fn cell(&self, row: usize) -> Option<Cell> {
        let items = self.range(row).filter_map(|item| match self.items.cell(item) {
            Cell::One(value) => Some(value),
            _ => None,
        });
        let items: Vec<Static> = items.collect();
        (!items.is_empty()).then_some(Cell::Many(items))
    }
}

/// `mask` without the rows that are null.
pub(crate) fn and_valid(mask: BooleanBuffer, nulls: Option<&NullBuffer>) -> BooleanBuffer {
    match nulls {
        Some(nulls) => &mask & nulls.inner(),
        None => mask,
    }
}

/// The bits of `mask` at `indices`; false at a null index.
pub(crate) fn take_mask(mask: &BooleanBuffer, indices: &UInt32Array) -> BooleanBuffer {
    let bits = BooleanBuffer::collect_bool(indices.len(), |at| {
        indices.is_valid(at) && mask.value(indices.value(at) as usize)
    });
    bits
}

/// An array with values at some rows, given in ascending order, and null at the others.
pub(crate) fn sparse<T: ArrowPrimitiveType>(
    rows: usize,
    entries: impl Iterator<Item = (u32, T::Native)>,
) -> PrimitiveArray<T> {
    let mut values = vec![T::Native::default(); rows];
    let mut valid = BooleanBufferBuilder::new(rows);
    valid.append_n(rows, false);
    for (row, value) in entries {
        values[row as usize] = value;
        valid.set_bit(row as usize, true);
    }
    PrimitiveArray::new(values.into(), Some(NullBuffer::new(valid.finish())))
}

fn bits(nulls: Option<&NullBuffer>) -> Option<BooleanBuffer> {
    nulls.filter(|nulls| nulls.null_count() > 0).map(|nulls| nulls.inner().clone())
}

fn take_primitive<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    indices: &UInt32Array,
) -> Result<PrimitiveArray<T>, Error> {
    Ok(take(array, indices, None)?.as_primitive::<T>().clone())
}
