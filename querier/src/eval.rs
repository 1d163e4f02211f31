//! TraceQL over span batches, column by column: which spans a filter keeps, and what values they have.
//!
//! ```text
//! FieldExpr ──compile──▶ Filter ──on_dimensions──▶ DimensionMasks    once for each source
//!                          │                          │
//!                          └──────────select──────────┴─▶ Selection  once for each batch of spans
//! ```
//!
//! Every part of a filter is decided in the smallest table that has its fields (its [`Home`]): a condition on the
//! resource once for each distinct resource, one on the trace once for each trace. Masks are then gathered downwards.
//!
//! Knows tables in memory; knows no source and no answer.

mod arithmetic;
pub(crate) mod attributes;
pub(crate) mod column;
mod compare;
mod evaluate;
mod fields;
mod filter;
mod items;

pub(crate) use column::{Cell, Column};
pub(crate) use evaluate::{DimensionMasks, Evaluation, Selection};
pub(crate) use fields::{FieldUse, Home, home};
pub(crate) use filter::Filter;

use arrow::array::RecordBatch;

use crate::error::Error;

/// A column of texts by its name.
pub(crate) fn text_column(batch: &RecordBatch, name: &str) -> Result<Column, Error> {
    Ok(Column::of(batch.num_rows(), column::Part::Text(fields::texts(batch, name)?)))
}

#[cfg(test)]
mod tests;
