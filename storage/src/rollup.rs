//! How many spans of each kind every row group of a block has, second by second: what dashboards count by service, name, kind
//! and status is counted without the spans, wherever no interval ends within a [slot](Slots) of the row group.
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
//! by_slot      bytes      how many of them start in each slot, as numbers of base 128 without those of the last slots that have
//!                         none; empty where there is one slot
//! trace        u32        a trace that has one of them, by its row in the row group: that with the smallest [`model::TraceId::draw`]
//! trace_slot   u8         the slot of its first span of them
//! trace_id     16 bytes   its id
//! ```
//!
//! Copies of spans are dropped before, so every span counts once. Row groups with less than [`LEAST_SPANS`], or with more
//! combinations than one for [`SPANS_OF_A_ROW`] spans, are not rolled up, and neither are blocks with a service name that is no text.

mod build;
mod slots;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanBufferBuilder, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt8Type};
use spans::Error;

use crate::source::RowGroup;

pub(crate) use self::build::RollupBuilder;
pub use self::slots::Slots;
use crate::varint;

/// Names of the columns, where they are not those of [`spans::schema::column`].
pub mod column {
    pub const GROUP: &str = "group";
    pub const IS_ROOT: &str = "is_root";
    pub const BUCKET: &str = "bucket";
    pub const SPANS: &str = "spans";
    pub const BY_SLOT: &str = "by_slot";
    pub const TRACE_SLOT: &str = "trace_slot";
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
        Field::new(column::BY_SLOT, DataType::Binary, false),
        Field::new(column::TRACE, DataType::UInt32, false),
        Field::new(column::TRACE_SLOT, DataType::UInt8, false),
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

/// Spans that are counted by kind and time.
#[derive(Debug)]
pub struct CountedAt {
    /// What they are: the columns that do not count.
    pub rows: RecordBatch,
    /// By row, how many they are, and the time that was given to their slots.
    pub spans: Vec<u32>,
    pub times: Vec<u64>,
    /// The rows whose trace has its first span of them in these slots.
    pub with_trace: BooleanBuffer,
}

/// Neighbouring slots that count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotsAt {
    pub slots: usize,
    /// When their spans are taken to start; `None` for slots that do not count.
    pub time: Option<u64>,
}

impl CountedAt {
    /// Of the rows that are wanted each once for each time at which it has spans. `slots` has all slots of each row group that
    /// counts, by its number, and none of the others.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a row says something else of its slots than in all.
    pub fn of(rollup: &Rollup, wanted: &BooleanBuffer, slots: &[Vec<SlotsAt>]) -> Result<Self, Error> {
        let damaged = || Error::damaged(column::BY_SLOT);
        let all = rollup.rows();
        let spans = spans::u32s(all, column::SPANS)?;
        let by_slot = spans::column(all, column::BY_SLOT)?.as_binary_opt::<i32>().ok_or_else(damaged)?;
        let trace_slots = spans::column(all, column::TRACE_SLOT)?.as_primitive_opt::<UInt8Type>();
        let trace_slots = trace_slots.ok_or_else(damaged)?.values();
        let (mut rows, mut counted, mut times) = (Vec::new(), Vec::new(), Vec::new());
        let mut with_trace = BooleanBufferBuilder::new(0);
        for (of_group, slots) in rollup.groups.iter().zip(slots).filter(|(_, slots)| !slots.is_empty()) {
            for row in wanted.slice(of_group.start, of_group.len()).set_indices().map(|row| of_group.start + row) {
                let (mut by_slot, mut left, mut end) = (by_slot.value(row), spans[row], 0);
                for together in slots {
                    let numbers = end..end + together.slots;
                    end = numbers.end;
                    let in_slots = match slots.len() {
                        1 => left,
                        _ => take_sum(&mut by_slot, numbers.len()).filter(|sum| *sum <= left).ok_or_else(damaged)?,
                    };
                    left -= in_slots;
                    if let Some(time) = together.time.filter(|_| in_slots > 0) {
                        rows.push(row as u32);
                        counted.push(in_slots);
                        times.push(time);
                        with_trace.append(numbers.contains(&usize::from(trace_slots[row])));
                    }
                }
                if left > 0 {
                    return Err(damaged());
                }
            }
        }
        let counts = [column::SPANS, column::BY_SLOT, column::TRACE_SLOT];
        let kept = (0..all.num_columns()).filter(|&at| !counts.contains(&all.schema_ref().field(at).name().as_str()));
        let rows = take_record_batch(&all.project(&kept.collect::<Vec<_>>())?, &UInt32Array::from(rows))?;
        Ok(Self { rows, spans: counted, times, with_trace: with_trace.finish() })
    }
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

    /// The rows of a row group; none for one that is not rolled up.
    pub fn rows_of(&self, group: usize) -> Range<usize> {
        self.groups.get(group).cloned().unwrap_or_default()
    }

    /// Those of all row groups, one after another.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    pub fn memory_bytes(&self) -> usize {
        spans::batch_memory_bytes(&[&self.rows])
    }
}

/// The sum of the next numbers; those that are missing are 0.
fn take_sum(numbers: &mut &[u8], count: usize) -> Option<u32> {
    let sum = (0..count).map_while(|_| varint::take(numbers)).try_fold(0_u64, u64::checked_add)?;
    u32::try_from(sum).ok()
}

#[cfg(test)]
pub(crate) mod tests;
