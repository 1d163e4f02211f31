//! Values of a column by number: those of a dictionary, or of a small range.

use arrow::array::{Array, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use traceql::{Kind, Static, Status};

use super::counted::{self, Counted};
use crate::eval::Key;
use crate::eval::column::{Texts, TypedValues};

/// Most numbers between the smallest and the largest value of a column, if they are to be the numbers of the values.
const MOST_OF_RANGE: u64 = 1 << 16;

/// The numbers of the values of one type.
pub(super) enum Codes<'a> {
    Texts { texts: &'a Texts, keys: &'a [i32], nulls: Option<&'a NullBuffer> },
    Range { part: &'a TypedValues, least: i64, count: usize },
    Bools(&'a BooleanArray),
}

impl<'a> Codes<'a> {
    /// `None` for values that are not numbered so.
    pub fn of(part: &'a TypedValues) -> Option<Self> {
        match part {
            TypedValues::Text(texts) => {
                let keys = texts.keys()?;
                Some(Self::Texts { texts, keys: keys.values(), nulls: keys.nulls() })
            }
            TypedValues::Int(array) | TypedValues::Duration(array) => Self::range(part, array),
            TypedValues::Status(array) | TypedValues::Kind(array) => Self::range(part, array),
            TypedValues::Bool(array) => Some(Self::Bools(array)),
            TypedValues::Float(_) | TypedValues::Lists(_) => None,
        }
    }

    fn range<T: ArrowPrimitiveType<Native: Into<i64>>>(
        part: &'a TypedValues,
        array: &PrimitiveArray<T>,
    ) -> Option<Self> {
        let ends = |(least, most): (i64, i64), &number: &T::Native| (least.min(number.into()), most.max(number.into()));
        // what stands at rows without a value may only widen the range
        let (least, most) = array.values().iter().fold((i64::MAX, i64::MIN), ends);
        let range = most.checked_sub(least).and_then(|range| u64::try_from(range).ok())?;
        (range < MOST_OF_RANGE).then_some(Self::Range { part, least, count: range as usize + 1 })
    }

    /// Numbers are below this. The last of texts stands for none.
    pub fn count(&self) -> usize {
        match self {
            Self::Texts { texts, .. } => texts.number_count() + 1,
            Self::Range { count, .. } => *count,
            Self::Bools(_) => 2,
        }
    }

    /// Counts by [number][slot].
    pub fn count_cells(&self, counted: &[Counted], slot_count: usize) -> Vec<f64> {
        let count = self.count();
        match self {
            Self::Texts { keys, nulls: None, .. } => {
                counted::by_code(counted, slot_count, count, |row| Some(keys[row] as usize))
            }
            Self::Texts { texts, keys, nulls: Some(nulls) } => {
                let none = texts.is_null_empty().then_some(count - 1);
                let code = |row: usize| if nulls.is_valid(row) { Some(keys[row] as usize) } else { none };
                counted::by_code(counted, slot_count, count, code)
            }
            Self::Range { part: TypedValues::Int(array) | TypedValues::Duration(array), least, .. } => {
                of_range(array, *least, counted, slot_count, count)
            }
            Self::Range { part: TypedValues::Status(array) | TypedValues::Kind(array), least, .. } => {
                of_range(array, *least, counted, slot_count, count)
            }
            Self::Range { .. } => unreachable!("a range is of numbers"),
            Self::Bools(array) => {
                let code = |row: usize| array.is_valid(row).then(|| usize::from(array.value(row)));
                counted::by_code(counted, slot_count, count, code)
            }
        }
    }

    /// The value of a number; `None` for none, and for what cannot be compared.
    pub fn key(&self, code: usize) -> Option<Key> {
        let value = match self {
            Self::Texts { texts, .. } if code < texts.number_count() => {
                Static::String(texts.of_number(code)?.to_owned())
            }
            Self::Texts { .. } => Static::String(String::new()),
            Self::Range { part, least, .. } => {
                let number = least + code as i64;
                match part {
                    TypedValues::Int(_) => Static::Int(number),
                    TypedValues::Duration(_) => Static::Duration(number),
                    TypedValues::Status(_) => Static::Status(Status::from_otlp(i32::try_from(number).ok()?)?),
                    _ => Static::Kind(Kind::from_otlp(i32::try_from(number).ok()?)?),
                }
            }
            Self::Bools(_) => Static::Bool(code == 1),
        };
        Key::of(&value)
    }
}

fn of_range<T: ArrowPrimitiveType<Native: Into<i64>>>(
    array: &PrimitiveArray<T>,
    least: i64,
    counted: &[Counted],
    slot_count: usize,
    count: usize,
) -> Vec<f64> {
    let values = array.values();
    let number = |row: usize| {
        let value: i64 = values[row].into();
        (value - least) as usize
    };
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => counted::by_code(counted, slot_count, count, |row| Some(number(row))),
        Some(nulls) => counted::by_code(counted, slot_count, count, |row| nulls.is_valid(row).then(|| number(row))),
    }
}
