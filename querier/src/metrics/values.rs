//! What is measured of the spans of a batch: a number or a bucket for each row.

use std::rc::Rc;

use arrow::array::Array;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use traceql::Static;

use super::quantile::bucket;
use crate::eval::column::TypedValues;
use crate::eval::{Cell, Column};

/// How values are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Numbers,
    /// Durations are numbers of seconds.
    NumbersInSeconds,
    /// By bucket, of ints and durations.
    Buckets,
}

/// Buckets are below this; 0 stands for a value without one.
pub(super) const BUCKET_COUNT: usize = 64;
const NO_BUCKET: u32 = 0;

/// The values of a batch. Those of rows that do not count may be anything.
pub(super) struct Values {
    form: Form,
    column: Rc<Column>,
    /// By row, NaN where there is none; empty with buckets.
    pub numbers: Vec<f64>,
}

impl Values {
    pub fn of(column: Rc<Column>, form: Form) -> Self {
        let numbers = if form == Form::Buckets { Vec::new() } else { numbers(&column, nanos_of_unit(form)) };
        Self { form, column, numbers }
    }

    /// The bucket of each row, where values are counted by bucket.
    pub fn buckets(&self) -> Option<Vec<u32>> {
        (self.form == Form::Buckets).then(|| buckets(&self.column))
    }

    /// The rows that have a number; `None` when all have one.
    pub fn with_number(&self) -> Option<BooleanBuffer> {
        let are_missing = self.numbers.iter().fold(false, |any, number| any | number.is_nan());
        are_missing.then(|| BooleanBuffer::collect_bool(self.numbers.len(), |row| !self.numbers[row].is_nan()))
    }

    /// The value at a row in the unit of the answer.
    pub fn number(&self, row: usize) -> f64 {
        match self.form {
            Form::Buckets => match self.static_value(row) {
                Some(Static::Duration(nanos)) => nanos as f64 / nanos_of_unit(self.form),
                Some(Static::Int(number)) => number as f64,
                _ => f64::NAN,
            },
            _ => self.numbers[row],
        }
    }

    fn static_value(&self, row: usize) -> Option<Static> {
        match self.column.cell(row) {
            Cell::One(value) => Some(value),
            _ => None,
        }
    }
}

/// The rows that have a bucket; `None` when all have one.
pub(super) fn with_bucket(buckets: &[u32]) -> Option<BooleanBuffer> {
    let are_missing = buckets.iter().fold(false, |any, &bucket| any | (bucket == NO_BUCKET));
    are_missing.then(|| BooleanBuffer::collect_bool(buckets.len(), |row| buckets[row] != NO_BUCKET))
}

fn nanos_of_unit(form: Form) -> f64 {
    if form == Form::Numbers { 1.0 } else { 1e9 }
}

fn numbers(column: &Column, nanos_of_unit: f64) -> Vec<f64> {
    match &column.parts[..] {
        [TypedValues::Int(array)] if array.null_count() == 0 => array.values().iter().map(|&int| int as f64).collect(),
        [TypedValues::Duration(array)] if array.null_count() == 0 => {
            array.values().iter().map(|&nanos| nanos as f64 / nanos_of_unit).collect()
        }
        parts => {
            let mut numbers = vec![f64::NAN; column.rows];
            for part in parts {
                match part {
                    TypedValues::Int(array) => fill(&mut numbers, array.nulls(), |row| array.value(row) as f64),
                    TypedValues::Duration(array) => {
                        fill(&mut numbers, array.nulls(), |row| array.value(row) as f64 / nanos_of_unit);
                    }
                    TypedValues::Float(array) => fill(&mut numbers, array.nulls(), |row| array.value(row)),
                    _ => {}
                }
            }
            numbers
        }
    }
}

fn buckets(column: &Column) -> Vec<u32> {
    let of_value = |value: i64| bucket(value).map_or(NO_BUCKET, u32::from);
    match &column.parts[..] {
        [TypedValues::Int(array) | TypedValues::Duration(array)] if array.null_count() == 0 => {
            array.values().iter().map(|&value| of_value(value)).collect()
        }
        parts => {
            let mut buckets = vec![NO_BUCKET; column.rows];
            for part in parts {
                if let TypedValues::Int(array) | TypedValues::Duration(array) = part {
                    fill(&mut buckets, array.nulls(), |row| of_value(array.value(row)));
                }
            }
            buckets
        }
    }
}

fn fill<T>(values: &mut [T], nulls: Option<&NullBuffer>, value: impl Fn(usize) -> T) {
    match nulls {
        Some(nulls) => nulls.valid_indices().for_each(|row| values[row] = value(row)),
        None => values.iter_mut().enumerate().for_each(|(row, slot)| *slot = value(row)),
    }
}
