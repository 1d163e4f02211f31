//! Everything in a source, as one table.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use spans::SpanTable;
use spans::schema::{column, trace_column};

use crate::error::Error;
use crate::source::{Projection, Source};

/// The row groups of a source one after another, all columns.
///
/// # Errors
/// When a row group cannot be read, or there is none.
pub async fn whole_table(source: &dyn Source) -> Result<SpanTable, Error> {
    let dimensions = source.dimensions().await?;
    let (mut spans, mut traces) = (Vec::new(), Vec::new());
    for (number, group) in dimensions.row_groups.iter().enumerate() {
        let rows = 0..group.spans.len();
        let batch = source.fetch(number, std::slice::from_ref(&rows), &Projection::all()).await?.decode()?;
        spans.push(shifted(&batch, column::TRACE, group.traces.start)?);
        traces.push(shifted(&source.traces(number).await?, trace_column::FIRST_ROW, group.spans.start)?);
    }
    let all = |batches: &[RecordBatch]| -> Result<RecordBatch, Error> {
        let schema =
            batches.first().map(RecordBatch::schema).unwrap_or_else(|| Arc::new(arrow::datatypes::Schema::empty()));
        Ok(concat_batches(&schema, batches)?)
    };
    let (resources, scopes) = (dimensions.resources.clone(), dimensions.scopes.clone());
    Ok(SpanTable { spans: all(&spans)?, traces: all(&traces)?, resources, scopes })
}

fn shifted(batch: &RecordBatch, name: &str, by: usize) -> Result<RecordBatch, Error> {
    let rows = spans::u32s(batch, name)?.iter().map(|row| row + by as u32).collect();
    Ok(spans::replace(batch, name, rows)?)
}
