//! Counting spans by what blocks say of whole row groups: how many spans of each service, name, kind and status they have,
//! roots or not, and how long those take ([`storage::rollup`]). That answers queries which look at nothing else of a span, for
//! row groups that lie in one interval.
//!
//! The rows become a table in the shape of spans, each of which stands for several and has a trace of its own; they are found
//! and measured as spans are.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Int64Array, RecordBatch,
    UInt32Array, UInt64Array,
};
use arrow::datatypes::UInt8Type;
use hashbrown::HashSet;
use model::{Intrinsic, TraceId};
use spans::SpanTable;
use spans::schema::{column, trace_column};
use storage::rollup;
use storage::source::{Dimensions, RowGroup, TraceAt};
use traceql::{BinaryOp, CompareOp, Field, FieldExpr, Query, Static};

use super::MetricsRun;
use super::aggregator::SeriesAggregator;
use super::measured::{MeasuredRows, Places};
use super::query::PartialAggregate;
use super::timeline::{StartOffsets, primitive};
use crate::engine::scan::{OpenSource, Run};
use crate::error::Error;
use crate::eval::is_service_name;
use crate::intervals::Intervals;

/// Stands for the parents of all spans that have one.
const PARENT: [u8; 8] = [1; 8];

/// Whether what a query counts can be counted by rollups.
pub(super) fn is_told_by_rollups(query: &Query, aggregator: &SeriesAggregator) -> bool {
    let Some(filter) = query.span_filter() else { return false };
    is_told(filter.filter) && aggregator.counts_by().is_some_and(|mut by| by.all(is_told_field))
}

fn is_told(expr: &FieldExpr) -> bool {
    match expr {
        FieldExpr::Literal(_) => true,
        FieldExpr::Field(field) => is_told_field(field),
        FieldExpr::Unary { expr, .. } => is_told(expr),
        FieldExpr::Binary { op, left, right } => tells_roots(*op, left, right) || (is_told(left) && is_told(right)),
    }
}

fn is_told_field(field: &Field) -> bool {
    match field {
        Field::Intrinsic(intrinsic) => matches!(intrinsic, Intrinsic::Name | Intrinsic::Kind | Intrinsic::Status),
        _ => is_service_name(field),
    }
}

/// Whether a comparison is the same for all roots, and for all other spans: their numbers are not known.
fn tells_roots(op: BinaryOp, left: &FieldExpr, right: &FieldExpr) -> bool {
    use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
    let FieldExpr::Field(Field::Intrinsic(Intrinsic::NestedSetParent)) = left else { return false };
    matches!(
        (op, right),
        (BinaryOp::Compare(Lt | Ge), FieldExpr::Literal(Static::Int(0)))
            | (BinaryOp::Compare(Eq | Ne | Le | Gt), FieldExpr::Literal(Static::Int(-1)))
    )
}

impl MetricsRun<'_> {
    /// Counts the spans of row groups that lie in one interval, where the source has rolled them up, and leaves the others.
    /// `split` are traces that are measured elsewhere.
    pub(super) async fn count_rolled_up(
        &self,
        source: &OpenSource,
        groups: &mut Vec<usize>,
        split: &HashSet<TraceId>,
        intervals: &Intervals,
    ) -> Result<Option<PartialAggregate>, Error> {
        let mut inside = self.groups_in_one_interval(source, groups, split, intervals).await?;
        let rollup = if inside.is_empty() { None } else { source.source.rollup().await? };
        let Some(rollup) = rollup else { return Ok(None) };
        inside.retain(|&group| rollup.has(group));
        if inside.is_empty() {
            return Ok(None);
        }
        groups.retain(|group| !inside.contains(group));
        self.sources.budget.count_traces(inside.iter().map(|&group| source.row_group(group).traces.len()).sum());
        self.sources.budget.count_inspected(rollup.memory_bytes());
        let _held = self.sources.budget.hold(rollup.memory_bytes() * MEMORY_OF_ROWS)?;
        let (query, intervals, limits) = (self.query.clone(), *intervals, self.limits.clone());
        let (dimensions, block_id) = (source.dimensions.clone(), source.source.block_id());
        let count = move || {
            let rows = rollup.rows_of(&inside)?;
            let at = places(&rows)?;
            let table = table_of(&rows, &at, &dimensions)?;
            let spans = spans::u32s(&rows, rollup::column::SPANS)?;
            let all = Run { trace: 0, rows: 0..table.span_count(), first_row: 0 };
            let decided = query.matcher.on_dimensions(&table)?;
            let selected = query.matcher.select(&table, &[all], &decided)?;
            let rows = MeasuredRows {
                start_offsets: StartOffsets::OfTraces(Vec::new()),
                spans_of_rows: Some(spans),
                places: Some(Places::OfTraces { block_id, at: &at }),
                ..MeasuredRows::read(&table, &selected)
            };
            query.aggregator.measure(&rows, &intervals, &limits)
        };
        self.sources.run(count).await?.map(Some)
    }

    /// Those of some row groups that may be counted by a rollup.
    async fn groups_in_one_interval(
        &self,
        source: &OpenSource,
        groups: &[usize],
        split: &HashSet<TraceId>,
        intervals: &Intervals,
    ) -> Result<Vec<usize>, Error> {
        let has_deleted = source.source.deleted_traces().is_some_and(|deleted| !deleted.is_empty());
        if !self.query.is_rolled_up || has_deleted {
            return Ok(Vec::new());
        }
        let is_in_one = |group: &usize| {
            let RowGroup { time_range, last_start_nanos, .. } = source.row_group(*group);
            let first = intervals.of(time_range.start_nanos);
            first.is_some() && first == intervals.of(*last_start_nanos)
        };
        let mut inside: Vec<usize> = groups.iter().copied().filter(is_in_one).collect();
        if !split.is_empty() && !inside.is_empty() {
            let split: Vec<TraceId> = split.iter().copied().collect();
            let parts = source.source.find_traces(&split).await?;
            let of_split: HashSet<usize> = parts.into_iter().map(|part| part.at.group).collect();
            inside.retain(|group| !of_split.contains(group));
        }
        Ok(inside)
    }
}

/// About how many times their own memory it takes to make rows a table, and to measure that.
const MEMORY_OF_ROWS: usize = 4;

/// Where the trace of each row lies.
fn places(rows: &RecordBatch) -> Result<Vec<TraceAt>, Error> {
    let (groups, traces) = (spans::u32s(rows, rollup::column::GROUP)?, spans::u32s(rows, rollup::column::TRACE)?);
    let at = |(&group, &trace): (&u32, &u32)| TraceAt { group: group as usize, trace: trace as usize };
    Ok(groups.iter().zip(traces).map(at).collect())
}

/// A span and a trace for each row.
fn table_of(rows: &RecordBatch, at: &[TraceAt], dimensions: &Dimensions) -> Result<SpanTable, Error> {
    let starts = at.iter().map(|at| dimensions.row_groups[at.group].time_range.start_nanos).collect();
    Ok(SpanTable {
        spans: spans_of(rows)?,
        traces: traces_of(rows, starts)?,
        resources: dimensions.resources.clone(),
        scopes: dimensions.scopes.clone(),
    })
}

fn spans_of(rows: &RecordBatch) -> Result<RecordBatch, Error> {
    let copied = |name: &'static str| Ok::<_, Error>((name, spans::column(rows, name)?.clone()));
    let are_roots = spans::column(rows, rollup::column::IS_ROOT)?;
    let are_roots = are_roots.as_boolean_opt().ok_or_else(|| Error::damaged(rollup::column::IS_ROOT))?;
    let buckets = primitive::<UInt8Type>(rows, rollup::column::BUCKET)?.values();
    let count = rows.num_rows();
    let columns: [(&str, ArrayRef); 8] = [
        (column::TRACE, Arc::new(UInt32Array::from_iter_values(0..count as u32))),
        copied(column::RESOURCE)?,
        copied(column::NAME)?,
        copied(column::KIND)?,
        copied(column::STATUS_CODE)?,
        (
            column::DURATION_NANOS,
            Arc::new(Int64Array::from_iter_values(buckets.iter().map(|&bucket| in_bucket(bucket)))),
        ),
        (column::PARENT_OFFSET, Arc::new(UInt32Array::new_null(count))),
        (column::PARENT_SPAN_ID, Arc::new(parents(are_roots)?)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// With the id of the trace that stands for each row.
fn traces_of(rows: &RecordBatch, starts: Vec<u64>) -> Result<RecordBatch, Error> {
    let starts: ArrayRef = Arc::new(UInt64Array::from(starts));
    let count = rows.num_rows();
    let columns: [(&str, ArrayRef); 5] = [
        (trace_column::TRACE_ID, spans::column(rows, rollup::column::TRACE_ID)?.clone()),
        (trace_column::START_NANOS, starts.clone()),
        (trace_column::END_NANOS, starts),
        (trace_column::FIRST_ROW, Arc::new(UInt32Array::from_iter_values(0..count as u32))),
        (trace_column::SPAN_COUNT, Arc::new(UInt32Array::from_value(1, count))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn parents(are_roots: &BooleanArray) -> Result<FixedSizeBinaryArray, Error> {
    let mut parents = FixedSizeBinaryBuilder::with_capacity(are_roots.len(), PARENT.len() as i32);
    for is_root in are_roots.values() {
        match is_root {
            true => parents.append_null(),
            false => parents.append_value(PARENT)?,
        }
    }
    Ok(parents.finish())
}

/// A duration in the middle of a bucket: in nanoseconds, three quarters of its end.
fn in_bucket(bucket: u8) -> i64 {
    match bucket {
        0 => 0,
        1 => 2,
        _ => 3 << (bucket.min(63) - 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_in_a_bucket_is_in_that_bucket() {
        for bucket in 0..=63_u8 {
            assert_eq!(rollup::bucket(in_bucket(bucket)), (bucket > 0).then_some(bucket));
        }
    }
}
