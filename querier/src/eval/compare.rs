//! Comparisons of columns with literals, patterns and other columns. A missing value makes every comparison false.
//!
//! Numbers compare across ints, floats and durations; other types only with their own. An array satisfies `=`, `=~` and
//! the orderings if any element does, `!=` and `!~` if every element does; two arrays are never comparable. Values of a
//! key that a span has several times count as the elements of an array, whatever their types are.

use arrow::array::{Array, ArrowPrimitiveType, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use traceql::{CompareOp, Static};

use super::column::{Column, Texts, TypedValues, and_valid};
use crate::error::Error;

/// Rows where `column op literal` holds.
pub(crate) fn with_literal(column: &Column, op: CompareOp, literal: &Static) -> BooleanBuffer {
    let is_equal =
        (op == CompareOp::Ne).then_some(|column: &Column| first_with_literal(column, CompareOp::Eq, literal));
    with_more(column, |column| first_with_literal(column, op, literal), is_equal)
}

fn first_with_literal(column: &Column, op: CompareOp, literal: &Static) -> BooleanBuffer {
    any_part(column, |part| match (part, literal) {
        (TypedValues::Text(texts), Static::String(text)) => Some(texts.test(|value| holds(op, value, text.as_str()))),
        (TypedValues::Int(array) | TypedValues::Duration(array), Static::Int(number) | Static::Duration(number)) => {
            Some(each(array, |value| holds(op, &value, number)))
        }
        (TypedValues::Int(array) | TypedValues::Duration(array), Static::Float(number)) => {
            Some(each(array, |value| holds(op, &(value as f64), number)))
        }
        (TypedValues::Float(array), Static::Int(_) | Static::Float(_) | Static::Duration(_)) => {
            let number = literal.as_f64()?;
            Some(each(array, |value| holds(op, &value, &number)))
        }
        (TypedValues::Bool(array), Static::Bool(value)) => {
            let equal = if *value { array.values().clone() } else { !array.values() };
            Some(and_valid(equal_or_not(op, equal)?, array.nulls()))
        }
        (TypedValues::Status(array), Static::Status(status)) => {
            let code = status.otlp();
            is_equality(op).then(|| each(array, |value| holds(op, &value, &code)))
        }
        (TypedValues::Kind(array), Static::Kind(kind)) => {
            let code = kind.otlp();
            is_equality(op).then(|| each(array, |value| holds(op, &value, &code)))
        }
        (TypedValues::Lists(lists), _) => {
            let items = with_literal(&lists.items, op, literal);
            Some(if op == CompareOp::Ne { lists.all(&items) } else { lists.any(&items) })
        }
        _ => None,
    })
}

/// Rows whose text matches a pattern (or does not, if `negated`). Other types do neither.
pub(crate) fn with_pattern(column: &Column, is_match: &dyn Fn(&str) -> bool, negated: bool) -> BooleanBuffer {
    let matches = negated.then_some(|column: &Column| first_with_pattern(column, is_match, false));
    with_more(column, |column| first_with_pattern(column, is_match, negated), matches)
}

/// Rows of which some value passes `test`, and of which none passes the test of a negated comparison.
fn with_more(
    column: &Column,
    test: impl Fn(&Column) -> BooleanBuffer,
    negated: Option<impl Fn(&Column) -> BooleanBuffer>,
) -> BooleanBuffer {
    let any = |test: &dyn Fn(&Column) -> BooleanBuffer| {
        column.more.iter().fold(test(column), |all, more| &all | &more.any(&test(&more.items)))
    };
    match negated.filter(|_| !column.more.is_empty()) {
        Some(negated) => &any(&test) & &!&any(&negated),
        None => any(&test),
    }
}

fn first_with_pattern(column: &Column, is_match: &dyn Fn(&str) -> bool, negated: bool) -> BooleanBuffer {
    any_part(column, |part| match part {
        TypedValues::Text(texts) => Some(texts.test(|value| is_match(value) != negated)),
        TypedValues::Lists(lists) => {
            let items = with_pattern(&lists.items, is_match, negated);
            Some(if negated { lists.all(&items) } else { lists.any(&items) })
        }
        _ => None,
    })
}

/// Rows where `left op right` holds.
pub(crate) fn columns(left: &Column, op: CompareOp, right: &Column) -> Result<BooleanBuffer, Error> {
    let mut all = BooleanBuffer::new_unset(left.rows);
    for left_part in &left.parts {
        for right_part in &right.parts {
            if let Some(mask) = parts(left.rows, left_part, op, right_part)? {
                all = &all | &mask;
            }
        }
    }
    Ok(all)
}

/// `None` when the types cannot be compared.
fn parts(rows: usize, left: &TypedValues, op: CompareOp, right: &TypedValues) -> Result<Option<BooleanBuffer>, Error> {
    Ok(match (left, right) {
        (TypedValues::Lists(_), TypedValues::Lists(_)) => None,
        (TypedValues::Lists(lists), other) => {
            let others = Column::of(rows, other.clone()).take(&lists.rows_of_items())?;
            let items = columns(&lists.items, op, &others)?;
            Some(if op == CompareOp::Ne { lists.all(&items) } else { lists.any(&items) })
        }
        (other, TypedValues::Lists(lists)) => {
            let others = Column::of(rows, other.clone()).take(&lists.rows_of_items())?;
            let items = columns(&others, op, &lists.items)?;
            Some(if op == CompareOp::Ne { lists.all(&items) } else { lists.any(&items) })
        }
        (TypedValues::Text(left), TypedValues::Text(right)) => Some(both_texts(rows, left, op, right)),
        (
            TypedValues::Int(left) | TypedValues::Duration(left),
            TypedValues::Int(right) | TypedValues::Duration(right),
        ) => Some(both(left, right, |left, right| holds(op, &left, &right))),
        (TypedValues::Int(left) | TypedValues::Duration(left), TypedValues::Float(right)) => {
            Some(both(left, right, |left, right| holds(op, &(left as f64), &right)))
        }
        (TypedValues::Float(left), TypedValues::Int(right) | TypedValues::Duration(right)) => {
            Some(both(left, right, |left, right| holds(op, &left, &(right as f64))))
        }
        (TypedValues::Float(left), TypedValues::Float(right)) => {
            Some(both(left, right, |left, right| holds(op, &left, &right)))
        }
        (TypedValues::Bool(left), TypedValues::Bool(right)) => {
            let equal = !&(left.values() ^ right.values());
            equal_or_not(op, equal).map(|mask| and_valid(and_valid(mask, left.nulls()), right.nulls()))
        }
        (TypedValues::Status(left), TypedValues::Status(right))
        | (TypedValues::Kind(left), TypedValues::Kind(right)) => {
            is_equality(op).then(|| both(left, right, |left, right| holds(op, &left, &right)))
        }
        _ => None,
    })
}

fn any_part(column: &Column, mask: impl Fn(&TypedValues) -> Option<BooleanBuffer>) -> BooleanBuffer {
    let masks = column.parts.iter().filter_map(mask);
    masks.reduce(|all, one| &all | &one).unwrap_or_else(|| BooleanBuffer::new_unset(column.rows))
}

/// NaN is neither equal to anything nor different from it.
#[inline]
fn holds<T: PartialOrd + ?Sized>(op: CompareOp, left: &T, right: &T) -> bool {
    match op {
        CompareOp::Eq => left == right,
        CompareOp::Ne => left.partial_cmp(right).is_some_and(std::cmp::Ordering::is_ne),
        CompareOp::Lt => left < right,
        CompareOp::Le => left <= right,
        CompareOp::Gt => left > right,
        CompareOp::Ge => left >= right,
        CompareOp::Match | CompareOp::NotMatch => false,
    }
}

fn is_equality(op: CompareOp) -> bool {
    matches!(op, CompareOp::Eq | CompareOp::Ne)
}

fn equal_or_not(op: CompareOp, equal: BooleanBuffer) -> Option<BooleanBuffer> {
    match op {
        CompareOp::Eq => Some(equal),
        CompareOp::Ne => Some(!&equal),
        _ => None,
    }
}

fn each<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, test: impl Fn(T::Native) -> bool) -> BooleanBuffer {
    let values = array.values();
    and_valid(BooleanBuffer::collect_bool(values.len(), |row| test(values[row])), array.nulls())
}

fn both<L: ArrowPrimitiveType, R: ArrowPrimitiveType>(
    left: &PrimitiveArray<L>,
    right: &PrimitiveArray<R>,
    test: impl Fn(L::Native, R::Native) -> bool,
) -> BooleanBuffer {
    let (lefts, rights) = (left.values(), right.values());
    let mask = BooleanBuffer::collect_bool(lefts.len(), |row| test(lefts[row], rights[row]));
    and_valid(mask, NullBuffer::union(left.nulls(), right.nulls()).as_ref())
}

fn both_texts(rows: usize, left: &Texts, op: CompareOp, right: &Texts) -> BooleanBuffer {
    BooleanBuffer::collect_bool(rows, |row| match (left.get(row), right.get(row)) {
        (Some(left), Some(right)) => holds(op, left, right),
        _ => false,
    })
}
