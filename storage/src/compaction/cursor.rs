//! The traces of one input that go to one new block, read some thousand spans at a time.
//!
//! Inputs and new blocks have their newest traces first, so an input is read from its first trace to its last. What is out
//! of this order are parts of traces that begin earlier in another input: they are kept until their turn, up to a limit,
//! beyond which they are read again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use spans::schema::{AttributeColumn, column};
use spans::{Promotion, SharedDimensions, SpanTable, Traces};

use crate::block::{Continued, WholeBlock};
use crate::cpu::CpuPool;
use crate::error::Error;

/// Goes through one input.
pub(super) struct MergeCursor {
    /// Number of the input.
    input: usize,
    /// Rows of `traces`, ascending.
    traces: Vec<u32>,
    /// How many of them were read.
    read: usize,
    /// Traces that were read and not taken, in the order of reading.
    windows: Vec<Window>,
}

/// Traces that were read together.
struct Window {
    table: SpanTable,
    /// For each trace of `table`, ascending: its row in the input, and whether it was taken.
    traces: Vec<(u32, bool)>,
}

/// Traces of one row group.
struct Extent {
    group: usize,
    traces: Vec<u32>,
    /// Their rows in `spans`, ascending.
    rows: Vec<Range<usize>>,
}

/// What the spans of all inputs are brought to.
pub(super) struct Target {
    pub promotion: Promotion,
    /// Of the new block.
    pub schema: SchemaRef,
    pub dimensions: SharedDimensions,
    pub windows: Windows,
    /// The traces that blocks besides the inputs have, too.
    pub continued: Continued,
}

/// How many spans are read at a time, if a trace does not have more.
///
/// Blocks that came one after the other are merged one after the other: whoever is read while the others rest gets a window
/// as large as a row group, which is decoded once then, and not a part at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Windows {
    /// Of one input, whatever the others hold; and what it keeps of older windows.
    least_rows: usize,
    /// Of all inputs together, beside that.
    all_rows: usize,
}

impl Windows {
    /// All windows together stay within so many rows.
    pub(super) fn within(rows: usize, inputs: usize) -> Self {
        Self { least_rows: (rows / 4 / inputs.max(1)).max(1), all_rows: rows / 2 }
    }

    /// Of the next window, while so many rows are held.
    fn next_rows(&self, held_rows: usize) -> usize {
        self.all_rows.saturating_sub(held_rows).max(self.least_rows)
    }
}

impl MergeCursor {
    pub(super) fn new(input: usize, traces: Vec<u32>) -> Self {
        Self { input, traces, read: 0, windows: Vec::new() }
    }

    /// Rows that were read and are kept.
    pub(super) fn held_rows(&self) -> usize {
        self.windows.iter().map(|window| window.table.span_count()).sum()
    }

    /// These traces (rows, ascending, each asked for once), as tables for [`spans::merge_tables`]. All inputs hold so many rows.
    pub(super) async fn take(
        &mut self,
        block: &mut WholeBlock,
        wanted: &[u32],
        held_rows: usize,
        target: &Arc<Target>,
        cpu: &CpuPool,
    ) -> Result<Vec<SpanTable>, Error> {
        let window_rows = target.windows.next_rows(held_rows);
        let (mut tables, mut wanted) = (Vec::new(), wanted.to_vec());
        for window in &mut self.windows {
            tables.extend(window.take(&mut wanted)?);
        }
        let next = self.traces.get(self.read).copied().unwrap_or(u32::MAX);
        let mut ahead = wanted.split_off(wanted.partition_point(|&row| row < next));
        let mut again = wanted.as_slice();
        while !again.is_empty() {
            let window = self.read_window(block, again, window_rows, target, cpu).await?;
            again = &again[window.traces.len()..];
            tables.push(window.table);
        }
        while !ahead.is_empty() {
            let mut window = self.read_window(block, &self.traces[self.read..], window_rows, target, cpu).await?;
            self.read += window.traces.len();
            tables.extend(window.take(&mut ahead)?);
            self.windows.push(window);
            self.tidy(target.windows.least_rows)?;
        }
        Ok(tables)
    }

    /// A row group that was asked for in no other way, a table after the other, each as large as it may be. Returns the next
    /// table, of the first of `traces`, and how many of them it has.
    pub(super) async fn next_of_group(
        input: usize,
        block: &mut WholeBlock,
        traces: &[u32],
        held_rows: usize,
        target: &Arc<Target>,
        cpu: &CpuPool,
    ) -> Result<(SpanTable, usize), Error> {
        let cursor = Self::new(input, Vec::new());
        let window = cursor.read_window(block, traces, target.windows.next_rows(held_rows), target, cpu).await?;
        Ok((window.table, window.traces.len()))
    }

    /// Keeps what is left of windows in little memory: at most so many spans beside those of the newest window.
    fn tidy(&mut self, spans_at_most: usize) -> Result<(), Error> {
        self.windows.retain(|window| window.left() > 0);
        let Some((_, older)) = self.windows.split_last_mut() else { return Ok(()) };
        let mut kept = 0;
        for window in older.iter_mut().rev() {
            if window.left() * 2 < window.traces.len() {
                window.shrink()?;
            }
            kept += window.table.span_count();
            if kept > spans_at_most {
                window.traces.clear();
            }
        }
        self.windows.retain(|window| !window.traces.is_empty());
        Ok(())
    }

    /// The first of some traces.
    async fn read_window(
        &self,
        block: &mut WholeBlock,
        rows: &[u32],
        rows_at_most: usize,
        target: &Arc<Target>,
        cpu: &CpuPool,
    ) -> Result<Window, Error> {
        let Extent { group, traces, rows } = Extent::next(block, rows, rows_at_most)?;
        let spans = block.read(group, &rows).await?;
        let (all_traces, target, input) = (block.traces.clone(), target.clone(), self.input);
        cpu.run(move || {
            let of_traces = take_record_batch(&all_traces, &UInt32Array::from(traces.clone()))?;
            let table = target.rebase(input, spans, of_traces)?;
            Ok(Window { table, traces: traces.into_iter().map(|row| (row, false)).collect() })
        })
        .await?
    }
}

impl Window {
    /// Traces that were not taken.
    fn left(&self) -> usize {
        self.traces.iter().filter(|(_, is_taken)| !is_taken).count()
    }

    /// Takes those of the wanted traces that are here, and out of `wanted`.
    fn take(&mut self, wanted: &mut Vec<u32>) -> Result<Option<SpanTable>, Error> {
        let mut places = Vec::new();
        wanted.retain(|row| match self.traces.binary_search_by_key(row, |(row, _)| *row) {
            Ok(place) if !self.traces[place].1 => {
                self.traces[place].1 = true;
                places.push(place as u32);
                false
            }
            _ => true,
        });
        Ok(match places.len() {
            0 => None,
            all if all == self.traces.len() => Some(self.table.clone()),
            _ => Some(self.table.with_traces(places)?),
        })
    }

    /// Drops the spans of traces that were taken.
    fn shrink(&mut self) -> Result<(), Error> {
        let is_left = |(place, (_, is_taken)): (usize, &(u32, bool))| (!is_taken).then_some(place as u32);
        let left = self.traces.iter().enumerate().filter_map(is_left).collect();
        self.table = self.table.with_traces(left)?.without_others()?;
        self.traces.retain(|(_, is_taken)| !is_taken);
        Ok(())
    }
}

impl Extent {
    /// The first of some traces: of one row group, and not more spans than may be read at a time, if one does not have more.
    fn next(block: &WholeBlock, traces: &[u32], rows_at_most: usize) -> Result<Self, Error> {
        let damaged = |reason: &str| Error::Spans(spans::Error::damaged(reason));
        let view = Traces::of(&block.traces)?;
        let rows_of = |trace: &u32| view.span_rows(*trace as usize);
        let first = traces.first().map(rows_of).ok_or_else(|| damaged("there are fewer traces than were counted"))?;
        let group = block.row_groups.partition_point(|group| group.end <= first.start);
        let group_rows = block.row_groups.get(group).cloned().unwrap_or_default();
        let (mut taken, mut ranges, mut row_count) = (Vec::new(), Vec::<Range<usize>>::new(), 0);
        for (trace, rows) in traces.iter().map(|trace| (*trace, rows_of(trace))) {
            if rows.start >= group_rows.end || !taken.is_empty() && row_count + rows.len() > rows_at_most {
                break;
            }
            if rows.start < group_rows.start || rows.end > group_rows.end || rows.is_empty() {
                return Err(damaged("a trace does not lie in one row group"));
            }
            row_count += rows.len();
            taken.push(trace);
            match ranges.last_mut() {
                Some(last) if last.end == rows.start => last.end = rows.end,
                Some(last) if last.end > rows.start => return Err(damaged("traces have rows in common")),
                _ => ranges.push(rows),
            }
        }
        match taken.is_empty() {
            true => Err(damaged("a trace does not lie in a row group")),
            false => Ok(Self { group, traces: taken, rows: ranges }),
        }
    }
}

impl Target {
    /// The columns of an input that are the same in the new block: by number there, their numbers here.
    pub(super) fn same_columns(&self, there: &Schema) -> BTreeMap<usize, usize> {
        let changed = self.promotion.changed_keys(there);
        let is_same = |field: &Field| match AttributeColumn::of(field) {
            Some(of) => !changed.contains(&of.key),
            None if field.name() == column::ATTRIBUTES => changed.is_empty(),
            // these have numbers of rows
            None => ![column::TRACE, column::RESOURCE, column::SCOPE].contains(&field.name().as_str()),
        };
        let places = there.fields().iter().enumerate().filter(|(_, field)| is_same(field)).filter_map(|(at, field)| {
            let (place, here) = self.schema.column_with_name(field.name())?;
            (here == field.as_ref()).then_some((at, place))
        });
        places.collect()
    }

    /// Spans of an input with the columns, resources and scopes of the new block.
    fn rebase(&self, input: usize, spans: RecordBatch, traces: RecordBatch) -> Result<SpanTable, Error> {
        let SharedDimensions { resources, scopes, .. } = &self.dimensions;
        let spans = self.promotion.align_schema(&self.dimensions.renumber(input, &spans)?)?;
        let (resources, scopes) = (resources.clone(), scopes.clone());
        Ok(SpanTable { spans, traces, resources, scopes }.renumbered()?)
    }
}

#[cfg(test)]
mod tests {
    use model::{BlockId, TenantId};
    use object_store::ObjectStore;
    use object_store::memory::InMemory;
    use prost::Message;
    use spans::TableBuilder;
    use spans::testing::shop_request;

    use super::*;
    use crate::block::encode;

    #[tokio::test]
    async fn only_numbers_of_rows_and_columns_that_come_or_go_are_written_anew() {
        let mut builder = TableBuilder::default();
        builder.append(&shop_request(1, 20, 1_700_000_000_000_000_000).encode_to_vec()).unwrap();
        let (tenant, objects) = (TenantId::single(), Arc::new(InMemory::new()) as Arc<dyn ObjectStore>);
        let stored = encode(BlockId::generate(), &tenant, &builder.snapshot().unwrap(), None).unwrap();
        stored.put(&tenant, objects.as_ref()).await.unwrap();
        let block = WholeBlock::open(&tenant, stored.entry(), objects, CpuPool::new(1)).await.unwrap();
        let changed = |left_out: usize| {
            let promotion = Promotion::merge(block.attribute_columns().skip(left_out), stored.entry().spans);
            let schema = promotion.schema(&spans::schema::spans()).into();
            let dimensions = spans::merge_dimensions(&[(&block.resources, &block.scopes)]).unwrap();
            let target = Target { promotion, schema, dimensions, windows: Windows::within(1, 1), continued: None };
            let same = target.same_columns(block.schema());
            let fields = block.schema().fields().iter().enumerate().filter(|(at, _)| !same.contains_key(at));
            fields.map(|(_, field)| field.name().clone()).collect::<Vec<_>>()
        };
        assert_eq!(changed(0), [column::TRACE, column::RESOURCE, column::SCOPE]);
        let gone = block.attribute_columns().next().unwrap().0.name();
        assert_eq!(changed(1), [column::TRACE, column::RESOURCE, column::SCOPE, column::ATTRIBUTES, gone]);
    }

    #[test]
    fn windows_shrink_while_others_are_held_and_never_exceed_what_they_may_together() {
        for (rows, inputs) in [(147_456, 4), (147_456, 16), (1_000, 2), (3, 16)] {
            let windows = Windows::within(rows, inputs);
            let held = (0..inputs).fold(0, |held, _| held + windows.next_rows(held));
            let kept = inputs * windows.least_rows;
            assert!(held + kept <= rows.max(3 * inputs), "{held} and {kept} of {rows} rows for {inputs} inputs");
            assert_eq!(windows.next_rows(0), (rows / 2).max(1), "the only one reads as much as it can");
        }
    }
}
