//! `with (extrapolate=true)`: for how many spans each span of a batch stands.

use spans::SpanTable;
use spans::schema::column;
use traceql::{Query, Static};

use crate::error::Error;
use crate::eval::column::Texts;

/// Whether spans count for those that were not sampled, too.
pub(super) fn is_extrapolated(query: &Query) -> bool {
    query.hint("extrapolate") == Some(&Static::Bool(true))
}

/// By row: what the trace state says, and 1 where it says nothing.
pub(super) fn of_rows(table: &SpanTable) -> Result<Vec<f64>, Error> {
    let trace_states = spans::column(&table.spans, column::TRACE_STATE)?;
    let trace_states = Texts::of(trace_states).ok_or_else(|| Error::damaged(column::TRACE_STATE))?;
    let weight = |number| trace_states.of_number(number).and_then(spans::adjusted_count).unwrap_or(1.0);
    let weights: Vec<f64> = (0..trace_states.number_count()).map(weight).collect();
    let of_row = |row| trace_states.number(row).map_or(1.0, |number| weights[number]);
    Ok((0..table.span_count()).map(of_row).collect())
}
