//! The values of an expression over the rows of a table: one typed array for each type that occurs.
//!
//! Owns how values are held, gathered and looked at. How they compare is in `compare`, how they compute in `arithmetic`.

mod lists;
mod texts;

use arrow::array::{
    Array, ArrowPrimitiveType, AsArray, BooleanArray, BooleanBufferBuilder, Float64Array, Int32Array, Int64Array,
    PrimitiveArray, StringArray, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{nullif, take};
use traceql::{Kind, Static, Status};

pub(crate) use self::lists::Lists;
pub(crate) use self::texts::Texts;
use crate::error::Error;

/// Typed arrays over the same rows; at most one of them has a value at a row.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub rows: usize,
    pub parts: Vec<TypedValues>,
    /// Rows with a value that cannot be compared: maps, bytes, empty and mixed arrays.
    pub opaque: Option<BooleanBuffer>,
    /// Values of a key beyond the first, at rows that have the key several times. They are searched and listed like the
    /// first; what needs one value for a row takes the first.
    pub more: Vec<Lists>,
}

#[derive(Debug, Clone)]
pub(crate) enum TypedValues {
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
        Self { rows, parts: Vec::new(), opaque: None, more: Vec::new() }
    }

    pub fn of(rows: usize, part: TypedValues) -> Self {
        Self { rows, parts: vec![part], opaque: None, more: Vec::new() }
    }

    pub fn of_mask(mask: BooleanBuffer) -> Self {
        Self::of(mask.len(), TypedValues::Bool(BooleanArray::new(mask, None)))
    }

    /// The same value at every row.
    pub fn constant(rows: usize, value: &Static) -> Self {
        let part = match value {
            Static::Nil => return Self::missing(rows),
            Static::Int(number) => TypedValues::Int(Int64Array::from_value(*number, rows)),
            Static::Float(number) => TypedValues::Float(Float64Array::from_value(*number, rows)),
            Static::Duration(nanos) => TypedValues::Duration(Int64Array::from_value(*nanos, rows)),
            Static::Status(status) => TypedValues::Status(Int32Array::from_value(status.otlp(), rows)),
            Static::Kind(kind) => TypedValues::Kind(Int32Array::from_value(kind.otlp(), rows)),
            Static::Bool(value) => {
                let bits = if *value { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) };
                return Self::of_mask(bits);
            }
            Static::String(text) => {
                TypedValues::Text(Texts::coded(Int32Array::from_value(0, rows), StringArray::from(vec![text.as_str()])))
            }
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

    /// Rows with the bool `true` as a value.
    pub fn is_true(&self) -> BooleanBuffer {
        let first = self.first_is_true();
        self.more.iter().fold(first, |all, more| &all | &more.any(&more.items.is_true()))
    }

    fn first_is_true(&self) -> BooleanBuffer {
        let bools = self.parts.iter().filter_map(|part| match part {
            TypedValues::Bool(array) => Some(and_valid(array.values().clone(), array.nulls())),
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
        let more = self.more.iter().map(|more| more.take(indices)).collect::<Result<_, Error>>()?;
        Ok(Self { rows: indices.len(), parts, opaque, more })
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
        for more in &other.more {
            self.more.push(more.without(&taken)?);
        }
        Ok(self)
    }

    /// The values of both, which are never first at the same row.
    pub fn and(mut self, other: Self) -> Self {
        self.parts.extend(other.parts);
        self.opaque = match (self.opaque, other.opaque) {
            (Some(left), Some(right)) => Some(&left | &right),
            (left, right) => left.or(right),
        };
        self.more.extend(other.more);
        self
    }

    /// The value at a row, and those beyond the first.
    pub fn cells(&self, row: usize) -> impl Iterator<Item = Cell> {
        let more = self.more.iter().flat_map(move |more| more.range(row).map(|item| more.items.cell(item)));
        std::iter::once(self.cell(row)).chain(more)
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

impl TypedValues {
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
            Self::Lists(lists) => Self::Lists(lists.without(mask)?),
        })
    }

    /// The value at a row; `None` when it has none of this type.
    pub(super) fn cell(&self, row: usize) -> Option<Cell> {
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

/// `mask` without the rows that are null.
pub(crate) fn and_valid(mask: BooleanBuffer, nulls: Option<&NullBuffer>) -> BooleanBuffer {
    match nulls {
        Some(nulls) => &mask & nulls.inner(),
        None => mask,
    }
}

/// The bits of `mask` at `indices`; false at a null index.
pub(crate) fn take_mask(mask: &BooleanBuffer, indices: &UInt32Array) -> BooleanBuffer {
    BooleanBuffer::collect_bool(indices.len(), |at| indices.is_valid(at) && mask.value(indices.value(at) as usize))
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
