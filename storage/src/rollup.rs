//! How many spans of each kind every row group of a block has: what dashboards count by service, name, kind and status is
//! counted without the spans, wherever a row group lies in one interval.
//!
//! A table with a row for each combination that occurs in a row group:
//!
//! ```text
//! group        u32        the row group
//! resource     u32        row of resources.parquet: one with the service name that these spans have, or lack
//! name         text
//! kind         i32
//! status_code  i32
//! is_root      bool       whether they have no parent
//! bucket       u8         of their durations; see [`bucket`]
//! spans        u32        how many they are
//! trace        u32        a trace that has one of them, by its row in the row group: that with the smallest [`model::TraceId::draw`]
//! trace_id     16 bytes   its id
//! ```
//!
//! Copies of spans are dropped before, so every span counts once. Row groups with less than [`LEAST_SPANS`], or with more
//! combinations than one for [`SPANS_OF_A_ROW`] spans, are not rolled up, and neither are blocks with a service name that is no text.

mod build;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use spans::Error;

use crate::source::RowGroup;

pub(crate) use self::build::RollupBuilder;

/// Names of the columns, where they are not those of [`spans::schema::column`].
pub mod column {
    pub const GROUP: &str = "group";
    pub const IS_ROOT: &str = "is_root";
    pub const BUCKET: &str = "bucket";
    pub const SPANS: &str = "spans";
    pub use spans::schema::column::{KIND, NAME, RESOURCE, STATUS_CODE, TRACE};
    pub use spans::schema::trace_column::TRACE_ID;
}

/// The columns, in their order.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(column::GROUP, DataType::UInt32, false),
        Field::new(column::RESOURCE, DataType::UInt32, false),
        Field::new(column::NAME, spans::schema::dictionary(), false),
        Field::new(column::KIND, DataType::Int32, false),
        Field::new(column::STATUS_CODE, DataType::Int32, false),
        Field::new(column::IS_ROOT, DataType::Boolean, false),
        Field::new(column::BUCKET, DataType::UInt8, false),
        Field::new(column::SPANS, DataType::UInt32, false),
        Field::new(column::TRACE, DataType::UInt32, false),
        Field::new(column::TRACE_ID, DataType::FixedSizeBinary(16), false),
    ]))
}

/// Fewer spans than these are soon read.
pub const LEAST_SPANS: usize = 4_096;
/// Fewer spans than these for each row would not be worth the rows.
pub const SPANS_OF_A_ROW: usize = 8;

/// The bucket of a duration in nanoseconds: the least power of two that is not below it. Below 2 ns there is none (as in Tempo).
#[inline]
pub fn bucket(nanos: i64) -> Option<u8> {
    (nanos >= 2).then(|| (64 - (nanos - 1).leading_zeros()) as u8)
}

/// The rows of a block, by row group.
#[derive(Debug, Clone)]
pub struct Rollup {
    rows: RecordBatch,
    /// Of each row group; empty for one that is not rolled up.
    groups: Vec<Range<usize>>,
}

impl Rollup {
    /// # Errors
    /// [`Error::Damaged`] when the rows are not those of such row groups.
    pub(crate) fn of(rows: RecordBatch, row_groups: &[RowGroup]) -> Result<Self, Error> {
        let damaged = || Error::damaged("the rollup is of other row groups");
        let (numbers, spans) = (spans::u32s(&rows, column::GROUP)?, spans::u32s(&rows, column::SPANS)?);
        let traces = spans::u32s(&rows, column::TRACE)?;
        let mut groups = vec![0..0; row_groups.len()];
        let mut next = 0;
        for run in numbers.chunk_by(|one, other| one == other) {
            let rows = next..next + run.len();
            next = rows.end;
            let (Some(group), Some(known)) = (groups.get_mut(run[0] as usize), row_groups.get(run[0] as usize)) else {
                return Err(damaged());
            };
            let counted: u64 = spans[rows.clone()].iter().map(|&count| u64::from(count)).sum();
            let is_inside = traces[rows.clone()].iter().all(|&trace| (trace as usize) < known.traces.len());
            if *group != (0..0) || counted != known.spans.len() as u64 || !is_inside {
                return Err(damaged());
            }
            *group = rows;
        }
        Ok(Self { rows, groups })
    }

    /// Whether a row group is rolled up.
    pub fn has(&self, group: usize) -> bool {
        self.groups.get(group).is_some_and(|rows| rows.start < rows.end)
    }

    /// The rows of some row groups, one after another.
    pub fn rows_of(&self, groups: &[usize]) -> Result<RecordBatch, Error> {
        let slices: Vec<RecordBatch> = groups
            .iter()
            .filter_map(|&group| self.groups.get(group))
            .map(|rows| self.rows.slice(rows.start, rows.len()))
            .collect();
        Ok(concat_batches(self.rows.schema_ref(), &slices)?)
    }

    /// Of the rows of all row groups.
    pub fn memory_bytes(&self) -> usize {
        spans::batch_memory_bytes(&[&self.rows])
    }
}

#[cfg(test)]
pub(crate) mod tests;
