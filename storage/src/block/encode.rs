//! Tables in memory → the files of a block, a row group at a time. CPU work: run it through [`crate::cpu`].
//!
//! ```text
//! traces of all tables, newest first ─▶ row groups ─▶ spans of one row group, put together ─▶ writer, index
//! ```
//!
//! Only one row group is put together and expanded into attribute columns at a time: what that takes does not grow with
//! the block. The same tables give the same bytes, whenever they are encoded.

use std::cmp::Reverse;
use std::ops::Range;

use model::{BlockId, Scope, TenantId, TraceId};
use spans::{Copies, Promotion, SharedDimensions, SpanTable, Traces};

use super::properties::{ROW_GROUP_ROWS, constant_columns};
use super::writer::{BlockWriter, Continued, EncodedBlock, SpansLayout};
use crate::error::Error;
use crate::index::IndexBuilder;
use crate::paths::BlockFile;

/// Encodes a table that is not empty as a block, its traces in their order.
///
/// # Errors
/// [`Error`] of kind `Internal` when a column cannot be encoded; `Corrupt` when the table lacks a column.
pub fn encode(id: BlockId, tenant: &TenantId, table: &SpanTable, continued: Continued) -> Result<EncodedBlock, Error> {
    let row_groups = runs(&table.traces()?, even_row_groups(table.span_count(), ROW_GROUP_ROWS));
    let slices = row_groups.into_iter().map(|traces| Ok(table.slice_traces(traces)?));
    write(id, tenant, std::slice::from_ref(table), slices, continued)
}

/// Encodes tables that are not empty as one block: newest traces first, all parts of a trace in one place, copies of spans
/// left out.
///
/// # Errors
/// As [`encode`].
pub fn encode_tables(
    id: BlockId,
    tenant: &TenantId,
    tables: &[SpanTable],
    continued: Continued,
) -> Result<EncodedBlock, Error> {
    let tables = with_shared_dimensions(tables)?;
    let span_count = tables.iter().map(SpanTable::span_count).sum();
    let row_groups = divide(&tables, even_row_groups(span_count, ROW_GROUP_ROWS))?;
    write(id, tenant, &tables, row_groups.iter().map(|row_group| join(&tables, row_group)), continued)
}

/// Writes a block: `row_groups` have the spans of `tables`, and their resources and scopes.
fn write(
    id: BlockId,
    tenant: &TenantId,
    tables: &[SpanTable],
    row_groups: impl Iterator<Item = Result<SpanTable, Error>>,
    continued: Continued,
) -> Result<EncodedBlock, Error> {
    let Some(first) = tables.first() else { return Err(spans::Error::damaged("a block without spans").into()) };
    let spans: Vec<_> = tables.iter().map(|table| &table.spans).collect();
    let promotion = Promotion::plan_together(spans.iter().copied(), Scope::Span)?;
    let layout = SpansLayout {
        schema: promotion.schema(first.spans.schema_ref()).into(),
        constant_columns: constant_columns(&spans),
    };
    let mut writer = BlockWriter::new(id, tenant, &layout, &first.resources, &first.scopes, continued)?;
    let (mut index, mut content) = (IndexBuilder::default(), Vec::new());
    for table in row_groups {
        let table = table?;
        index.add(&table)?;
        content.extend_from_slice(&writer.write(&promotion.apply(&table.spans)?, &table.traces)?);
    }
    let (rest, mut block) = writer.finish(index.finish()?)?;
    content.extend_from_slice(&rest);
    block.files.insert(0, (BlockFile::Spans, content.into()));
    Ok(block)
}

/// Rows of each row group, so that all have about the same and none has more than `most`: a small last one would be put
/// together with others by the next merge, where the rest goes over as it is.
fn even_row_groups(span_count: usize, most: usize) -> usize {
    span_count.div_ceil(span_count.div_ceil(most).max(1)).max(1)
}

/// Runs of whole traces of about so many spans.
fn runs(traces: &Traces<'_>, row_group_rows: usize) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let (mut start, mut first_row) = (0, 0);
    for trace in 0..traces.len() {
        let end_row = traces.span_rows(trace).end;
        if end_row - first_row >= row_group_rows || trace + 1 == traces.len() {
            groups.push(start..trace + 1);
            (start, first_row) = (trace + 1, end_row);
        }
    }
    groups
}

/// The tables with one pair of small tables.
fn with_shared_dimensions(tables: &[SpanTable]) -> Result<Vec<SpanTable>, Error> {
    let pairs: Vec<_> = tables.iter().map(|table| (&table.resources, &table.scopes)).collect();
    let shared = spans::merge_dimensions(&pairs)?;
    let SharedDimensions { resources, scopes, .. } = &shared;
    let rebase = |(number, table): (usize, &SpanTable)| -> Result<SpanTable, Error> {
        let spans = shared.renumber(number, &table.spans)?;
        Ok(SpanTable { spans, traces: table.traces.clone(), resources: resources.clone(), scopes: scopes.clone() })
    };
    tables.iter().enumerate().map(rebase).collect()
}

/// For each table the rows of `traces` whose spans go to one row group, ascending.
type RowGroup = Vec<Vec<u32>>;

/// Which traces go to which row group: the newest first, all parts of a trace to the same one, about so many spans to each.
fn divide(tables: &[SpanTable], row_group_rows: usize) -> Result<Vec<RowGroup>, Error> {
    let views = tables.iter().map(SpanTable::traces).collect::<Result<Vec<_>, _>>()?;
    let mut parts: Vec<(TraceId, usize, usize)> = Vec::new();
    for (table, traces) in views.iter().enumerate() {
        parts.extend((0..traces.len()).map(|row| (traces.id(row), table, row)));
    }
    parts.sort_unstable();
    let mut newest_first: Vec<_> = parts.chunk_by(|a, b| a.0 == b.0).collect();
    newest_first
        .sort_by_cached_key(|parts| Reverse(parts.iter().map(|&(_, table, row)| views[table].start_nanos(row)).min()));
    let empty = || vec![Vec::new(); tables.len()];
    let (mut row_groups, mut open, mut rows_of_open) = (Vec::<RowGroup>::new(), empty(), 0);
    for parts in newest_first {
        for &(_, table, row) in parts {
            open[table].push(row as u32);
            rows_of_open += views[table].span_rows(row).len();
        }
        if rows_of_open >= row_group_rows {
            row_groups.push(std::mem::replace(&mut open, empty()));
            rows_of_open = 0;
        }
    }
    if rows_of_open > 0 {
        row_groups.push(open);
    }
    row_groups.iter_mut().flatten().for_each(|rows| rows.sort_unstable());
    Ok(row_groups)
}

/// The spans of a row group, put together.
fn join(tables: &[SpanTable], row_group: &RowGroup) -> Result<SpanTable, Error> {
    let parts = tables.iter().zip(row_group).filter(|(_, rows)| !rows.is_empty());
    let parts = parts.map(|(table, rows)| table.slice_with_traces(rows.clone())).collect::<Result<Vec<_>, _>>()?;
    Ok(spans::merge_tables(&parts, Copies::DropAll)?.table)
}

#[cfg(test)]
mod tests;
