//! Aggregates: one number from the values of a span set.

use traceql::Static;

use super::column::{Cell, Column};

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregation {
    Count,
    Min,
    Max,
    Avg,
    Sum,
}

/// The aggregate of the values at `rows`; a count needs no values.
///
/// Missing values are passed over, and so is `false`, which is what arithmetic gives for them. `None` when nothing is
/// left, or when a value is no number.
pub(crate) fn aggregate(aggregation: Aggregation, values: Option<&Column>, rows: &[u32]) -> Option<Static> {
    let Some(values) = values else { return i64::try_from(rows.len()).ok().map(Static::Int) };
    let mut numbers = Vec::with_capacity(rows.len());
    for &row in rows {
        match values.cell(row as usize) {
            Cell::Missing | Cell::Opaque | Cell::One(Static::Bool(_)) => {}
            Cell::One(value) => numbers.push(Some(value).filter(|value| value.as_f64().is_some())?),
            Cell::Many(_) => return None,
        }
    }
    match aggregation {
        Aggregation::Count => Some(Static::Int(rows.len() as i64)),
        Aggregation::Min => numbers.into_iter().reduce(|least, value| better(least, value, |order| order.is_lt())),
        Aggregation::Max => numbers.into_iter().reduce(|most, value| better(most, value, |order| order.is_gt())),
        Aggregation::Sum => total(&numbers).map(|total| total.sum),
        Aggregation::Avg => total(&numbers).map(|total| total.average(numbers.len())),
    }
}

/// What is not a number (NaN) gives way to everything else.
fn better(best: Static, value: Static, wins: fn(std::cmp::Ordering) -> bool) -> Static {
    match value.order(&best) {
        Some(order) if !wins(order) => best,
        Some(_) => value,
        None if best.as_f64().is_some_and(f64::is_nan) => value,
        None => best,
    }
}

struct Total {
    /// An int if all are ints, a duration if all are durations, else a float.
    sum: Static,
    exact: Option<i128>,
}

fn total(numbers: &[Static]) -> Option<Total> {
    let first = numbers.first()?;
    let whole = |value: &Static| match value {
        Static::Int(number) | Static::Duration(number) => Some(i128::from(*number)),
        _ => None,
    };
    let is_one_type = numbers.iter().all(|value| std::mem::discriminant(value) == std::mem::discriminant(first));
    let exact = if is_one_type { numbers.iter().map(whole).sum::<Option<i128>>() } else { None };
    let sum = match (first, exact) {
        (Static::Int(_), Some(sum)) => Static::Int(clamp(sum)),
        (Static::Duration(_), Some(sum)) => Static::Duration(clamp(sum)),
        _ => Static::Float(numbers.iter().filter_map(Static::as_f64).sum()),
    };
    Some(Total { sum, exact })
}

impl Total {
    /// Of durations a duration, of other numbers a float.
    fn average(self, count: usize) -> Static {
        match (self.sum, self.exact) {
            (Static::Duration(_), Some(nanos)) => Static::Duration(clamp(nanos / count as i128)),
            (_, Some(sum)) => Static::Float(sum as f64 / count as f64),
            (sum, None) => Static::Float(sum.as_f64().unwrap_or(f64::NAN) / count as f64),
        }
    }
}

fn clamp(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray};

    use super::super::column::{Texts, TypedValues};
    use super::*;

    fn all(column: &Column) -> [Option<Static>; 5] {
        let rows: Vec<u32> = (0..column.rows as u32).collect();
        use Aggregation::{Avg, Count, Max, Min, Sum};
        [Count, Min, Max, Avg, Sum]
            .map(|aggregation| aggregate(aggregation, (aggregation != Count).then_some(column), &rows))
    }

    fn ints(values: &[Option<i64>]) -> Column {
        Column::of(values.len(), TypedValues::Int(Int64Array::from(values.to_vec())))
    }

    #[test]
    fn ints_keep_their_type_but_for_the_average() {
        let [count, min, max, avg, sum] = all(&ints(&[Some(-5), Some(-7), None, Some(2)]));
        assert_eq!((count, min, max), (Some(Static::Int(4)), Some(Static::Int(-7)), Some(Static::Int(2))));
        assert_eq!((avg, sum), (Some(Static::Float(-10.0 / 3.0)), Some(Static::Int(-10))));
    }

    #[test]
    fn durations_stay_durations() {
        let nanos = Int64Array::from(vec![500_000_000, 150_000_000, 29_999_998]);
        let [_, min, _, avg, sum] = all(&Column::of(3, TypedValues::Duration(nanos)));
        assert_eq!(min, Some(Static::Duration(29_999_998)));
        assert_eq!(avg.map(|avg| avg.to_string()).as_deref(), Some("226.666666ms"));
        assert_eq!(sum, Some(Static::Duration(679_999_998)));
    }

    #[test]
    fn mixed_numbers_become_floats_and_the_extremes_stay_what_they_are() {
        let mut mixed = ints(&[Some(1), None, Some(4), None]);
        mixed.parts.push(TypedValues::Float(Float64Array::from(vec![None, Some(2.5), None, Some(f64::NAN)])));
        let [_, min, max, _, _] = all(&mixed);
        assert_eq!((min, max), (Some(Static::Int(1)), Some(Static::Int(4))));
        let [.., avg, sum] = all(&mixed.take(&vec![0, 1, 2].into()).unwrap());
        assert_eq!((avg, sum), (Some(Static::Float(2.5)), Some(Static::Float(7.5))));
    }

    #[test]
    fn no_value_or_a_text_is_no_aggregate() {
        let nothing = [Some(Static::Int(2)), None, None, None, None];
        assert_eq!(all(&ints(&[None, None])), nothing);
        let mut text = ints(&[Some(1), None]);
        text.parts.push(TypedValues::Text(Texts::plain(StringArray::from(vec![None, Some("5")]))));
        assert_eq!(all(&text), nothing);
    }

    #[test]
    fn sums_beyond_an_int_are_clamped() {
        let [.., avg, sum] = all(&ints(&[Some(i64::MAX), Some(i64::MAX)]));
        assert_eq!((avg, sum), (Some(Static::Float(i64::MAX as f64)), Some(Static::Int(i64::MAX))));
    }
}
