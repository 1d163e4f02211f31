//! Arithmetic on columns. Two ints give an int; a float or a duration on either side gives a float; what is not a number
//! gives the bool `false`, as the language wants it.

use arrow::array::{Array, Float64Array, Int64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use traceql::{ArithmeticOp, Static};

use super::column::{Column, TypedValues};
use crate::error::Error;

/// `left op right` at every row. Rows outside `active` are not computed, so that they cannot fail.
///
/// # Errors
/// Division of ints by zero at an active row.
pub(crate) fn compute(
    op: ArithmeticOp,
    left: &Column,
    right: &Column,
    active: Option<&BooleanBuffer>,
) -> Result<Column, Error> {
    let rows = left.rows;
    let mut result = Column::missing(rows);
    for left in left.parts.iter().filter_map(Numbers::of) {
        for right in right.parts.iter().filter_map(Numbers::of) {
            let Some(valid) = both_valid(rows, left.nulls(), right.nulls(), active) else { continue };
            result.parts.push(match (left, right) {
                (Numbers::Int(left), Numbers::Int(right)) => ints(op, left, right, valid)?,
                (left, right) => floats(op, &left, &right, valid),
            });
        }
    }
    let not_numbers = !&result.present();
    if not_numbers.count_set_bits() > 0 {
        let falses = BooleanBuffer::new_unset(rows);
        result
            .parts
            .push(TypedValues::Bool(arrow::array::BooleanArray::new(falses, Some(NullBuffer::new(not_numbers)))));
    }
    Ok(result)
}

/// `-column`; missing where the value is not a number.
pub(crate) fn negate(column: &Column) -> Column {
    let parts = column.parts.iter().filter_map(|part| match part {
        TypedValues::Int(array) => Some(TypedValues::Int(array.unary(i64::wrapping_neg))),
        TypedValues::Duration(array) => Some(TypedValues::Duration(array.unary(i64::wrapping_neg))),
        TypedValues::Float(array) => Some(TypedValues::Float(array.unary(|value| -value))),
        _ => None,
    });
    Column { rows: column.rows, parts: parts.collect(), opaque: None, more: Vec::new() }
}

#[derive(Clone, Copy)]
enum Numbers<'a> {
    Int(&'a Int64Array),
    Duration(&'a Int64Array),
    Float(&'a Float64Array),
}

impl<'a> Numbers<'a> {
    fn of(part: &'a TypedValues) -> Option<Self> {
        match part {
            TypedValues::Int(array) => Some(Self::Int(array)),
            TypedValues::Duration(array) => Some(Self::Duration(array)),
            TypedValues::Float(array) => Some(Self::Float(array)),
            _ => None,
        }
    }

    fn nulls(&self) -> Option<&NullBuffer> {
        match self {
            Self::Int(array) | Self::Duration(array) => array.nulls(),
            Self::Float(array) => array.nulls(),
        }
    }

    fn value(&self, row: usize) -> f64 {
        match self {
            Self::Int(array) | Self::Duration(array) => array.value(row) as f64,
            Self::Float(array) => array.value(row),
        }
    }
}

/// Active rows with a number on both sides; `None` when there is no such row.
fn both_valid(
    rows: usize,
    left: Option<&NullBuffer>,
    right: Option<&NullBuffer>,
    active: Option<&BooleanBuffer>,
) -> Option<NullBuffer> {
    let active = active.map(|active| NullBuffer::new(active.clone()));
    let valid = NullBuffer::union(NullBuffer::union(left, right).as_ref(), active.as_ref());
    let valid = valid.unwrap_or_else(|| NullBuffer::new_valid(rows));
    (valid.null_count() < rows).then_some(valid)
}

fn ints(op: ArithmeticOp, left: &Int64Array, right: &Int64Array, valid: NullBuffer) -> Result<TypedValues, Error> {
    let mut values = vec![0; left.len()];
    for row in valid.valid_indices() {
        let result = Static::Int(left.value(row)).compute(op, &Static::Int(right.value(row)))?;
        if let Static::Int(number) = result {
            values[row] = number;
        }
    }
    Ok(TypedValues::Int(Int64Array::new(values.into(), Some(valid))))
}

fn floats(op: ArithmeticOp, left: &Numbers<'_>, right: &Numbers<'_>, valid: NullBuffer) -> TypedValues {
    let apply: fn(f64, f64) -> f64 = match op {
        ArithmeticOp::Add => |left, right| left + right,
        ArithmeticOp::Sub => |left, right| left - right,
        ArithmeticOp::Mul => |left, right| left * right,
        ArithmeticOp::Div => |left, right| left / right,
        ArithmeticOp::Mod => |left, right| left % right,
        ArithmeticOp::Pow => f64::powf,
    };
    let values: Vec<f64> = (0..valid.len()).map(|row| apply(left.value(row), right.value(row))).collect();
    TypedValues::Float(Float64Array::new(values.into(), Some(valid)))
}
