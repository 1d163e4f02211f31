//! What blocks say of whole row groups ([`storage::rollup`]): how many spans of each service, name, kind and status they have,
//! roots or not, and how long those take. Whoever looks at nothing else of a span looks at these in their place: they become
//! a table in the shape of spans, each of which stands for several and has a trace of its own.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Int64Array, RecordBatch,
    UInt32Array, UInt64Array,
};
use arrow::datatypes::UInt8Type;
use model::Intrinsic;
use spans::SpanTable;
use spans::schema::{column, trace_column};
use storage::rollup::{self, Rollup};
use storage::source::Dimensions;
use tokio::sync::OwnedSemaphorePermit;
use traceql::{BinaryOp, CompareOp, Field, FieldExpr, Static};

use super::budget::{Budget, Held};
use super::scan::OpenSource;
use crate::error::Error;
use crate::eval::is_service_name;

/// About how many times their own memory it takes to make rows a table, to take them apart by time, and to look at that.
const MEMORY_OF_ROWS: usize = 4;

/// The rollup of a block, while a query looks at it.
pub(crate) struct HeldRollup {
    pub rollup: Rollup,
    _memory: Held,
    _place: OwnedSemaphorePermit,
}

impl HeldRollup {
    /// `None` where the block has none, where traces were deleted that it counts, and where the query has no room for it: its row
    /// groups are then read, one by one.
    pub async fn of(source: &OpenSource, budget: &Arc<Budget>) -> Result<Option<Self>, Error> {
        if source.source.deleted_traces().is_some_and(|deleted| !deleted.is_empty()) {
            return Ok(None);
        }
        let place = budget.place_of_rollup().await;
        let Some(rollup) = source.source.rollup().await? else { return Ok(None) };
        let Ok(memory) = budget.hold(rollup.memory_bytes() * MEMORY_OF_ROWS) else { return Ok(None) };
        budget.count_inspected(rollup.memory_bytes());
        Ok(Some(Self { rollup, _memory: memory, _place: place }))
    }
}

/// Stands for the parents of all spans that have one.
const PARENT: [u8; 8] = [1; 8];

/// Whether rollups tell of which spans a filter is true.
pub(crate) fn tells(expr: &FieldExpr) -> bool {
    match expr {
        FieldExpr::Literal(_) => true,
        FieldExpr::Field(field) => tells_field(field),
        FieldExpr::Unary { expr, .. } => tells(expr),
        FieldExpr::Binary { op, left, right } => tells_roots(*op, left, right) || (tells(left) && tells(right)),
    }
}

/// Whether rollups tell what spans have there.
pub(crate) fn tells_field(field: &Field) -> bool {
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

/// A span and a trace for each row, which start then.
pub(crate) fn table_of(rows: &RecordBatch, starts: Vec<u64>, dimensions: &Dimensions) -> Result<SpanTable, Error> {
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
    let buckets = spans::column(rows, rollup::column::BUCKET)?.as_primitive_opt::<UInt8Type>();
    let buckets = buckets.ok_or_else(|| Error::damaged(rollup::column::BUCKET))?.values();
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
