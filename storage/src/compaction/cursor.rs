//! The traces of one input that go to one new block, read some thousand spans at a time.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use spans::schema::column;
use spans::{Promotion, SharedDimensions, SpanTable, Traces};

use crate::block::WholeBlock;
use crate::cpu::CpuPool;
use crate::error::Error;

/// Goes through one input.
pub(super) struct Cursor {
    /// Number of the input.
    input: usize,
    /// Rows of `traces`, ascending.
    traces: Vec<u32>,
    /// How many of them were read.
    read: usize,
    window: Option<Window>,
}

/// Traces that were read, and how many of them were taken.
struct Window {
    table: SpanTable,
    taken: usize,
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
    pub dimensions: SharedDimensions,
    /// Spans that are read of one input at a time, if a trace does not have more.
    pub window_rows: usize,
}

impl Cursor {
    pub(super) fn new(input: usize, traces: Vec<u32>) -> Self {
        Self { input, traces, read: 0, window: None }
    }

    /// The next traces, as one table or several.
    pub(super) async fn take(
        &mut self,
        block: &mut WholeBlock,
        mut count: usize,
        target: &Arc<Target>,
        cpu: &CpuPool,
    ) -> Result<Vec<SpanTable>, Error> {
        let mut tables = Vec::new();
        while count > 0 {
            let window = match &mut self.window {
                Some(window) if window.taken < window.table.trace_count() => window,
                _ => {
                    self.window = None;
                    let table = self.read_window(block, target, cpu).await?;
                    self.window.insert(Window { table, taken: 0 })
                }
            };
            let end = window.table.trace_count().min(window.taken + count);
            tables.push(window.table.slice_traces(window.taken..end)?);
            count -= end - window.taken;
            window.taken = end;
        }
        Ok(tables)
    }

    async fn read_window(
        &mut self,
        block: &mut WholeBlock,
        target: &Arc<Target>,
        cpu: &CpuPool,
    ) -> Result<SpanTable, Error> {
        let Extent { group, traces, rows } = self.next_window(block, target.window_rows)?;
        let spans = block.read(group, &rows).await?;
        self.read += traces.len();
        let (all_traces, target, input) = (block.traces.clone(), target.clone(), self.input);
        cpu.run(move || {
            let traces = take_record_batch(&all_traces, &UInt32Array::from(traces))?;
            target.bring(input, spans, traces)
        })
        .await?
    }

    /// The next traces to be read: of one row group, and not more than may be read at a time.
    fn next_window(&self, block: &WholeBlock, rows_at_most: usize) -> Result<Extent, Error> {
        let damaged = |reason: &str| Error::Spans(spans::Error::damaged(reason));
        let view = Traces::of(&block.traces)?;
        let rows_of = |trace: &u32| view.span_rows(*trace as usize);
        let rest = &self.traces[self.read..];
        let first = rest.first().map(rows_of).ok_or_else(|| damaged("there are fewer traces than were counted"))?;
        let group = block.row_groups.partition_point(|group| group.end <= first.start);
        let group_rows = block.row_groups.get(group).cloned().unwrap_or_default();
        let (mut traces, mut ranges, mut row_count) = (Vec::new(), Vec::<Range<usize>>::new(), 0);
        for (trace, rows) in rest.iter().map(|trace| (*trace, rows_of(trace))) {
            if rows.start >= group_rows.end || !traces.is_empty() && row_count + rows.len() > rows_at_most {
                break;
            }
            if rows.start < group_rows.start || rows.end > group_rows.end || rows.is_empty() {
                return Err(damaged("a trace does not lie in one row group"));
            }
            row_count += rows.len();
            traces.push(trace);
            match ranges.last_mut() {
                Some(last) if last.end == rows.start => last.end = rows.end,
                Some(last) if last.end > rows.start => return Err(damaged("traces have rows in common")),
                _ => ranges.push(rows),
            }
        }
        match traces.is_empty() {
            true => Err(damaged("a trace does not lie in a row group")),
            false => Ok(Extent { group, traces, rows: ranges }),
        }
    }
}

impl Target {
    /// Spans of an input with the columns, resources and scopes of the new block.
    fn bring(&self, input: usize, spans: RecordBatch, traces: RecordBatch) -> Result<SpanTable, Error> {
        let SharedDimensions { resources, scopes, resource_rows, scope_rows } = &self.dimensions;
        let spans = renumber(&spans, column::RESOURCE, &resource_rows[input])?;
        let spans = renumber(&spans, column::SCOPE, &scope_rows[input])?;
        let spans = self.promotion.conform(&spans)?;
        let (resources, scopes) = (resources.clone(), scopes.clone());
        Ok(SpanTable { spans, traces, resources, scopes }.renumbered()?)
    }
}

fn renumber(spans: &RecordBatch, name: &'static str, new_rows: &[u32]) -> Result<RecordBatch, Error> {
    let damaged = |row: u32| spans::Error::damaged(format!("{name} {row} does not exist"));
    let rows = spans::u32s(spans, name)?.iter();
    let rows = rows.map(|&row| new_rows.get(row as usize).copied().ok_or_else(|| damaged(row)));
    Ok(spans::replace(spans, name, rows.collect::<Result<Vec<_>, _>>()?)?)
}
