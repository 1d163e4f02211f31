//! TraceQL over span batches, column by column: which spans a filter keeps, and what values they have.
//!
//! ```text
//! FieldExpr ──compile──▶ Filter ──on_dimensions──▶ DimensionMasks    once for each source
//!                          │                          │
//!                          └──────────select──────────┴─▶ Selection  once for each batch of spans
//! ```
//!
//! What is more than one filter is a [`Pipeline`], which evaluates each of its filters so and then works on the rows that
//! they keep, trace by trace: `structural` (operators between span sets), `group` (`by()`), `aggregate`.
//!
//! Every part of a filter is decided in the smallest table that has its fields (its [`Home`]): a condition on the
//! resource once for each distinct resource, one on the trace once for each trace. Masks are then gathered downwards.
//!
//! Knows tables in memory; knows no source and no answer.

mod aggregate;
mod arithmetic;
pub(crate) mod attributes;
pub(crate) mod column;
mod compare;
mod evaluate;
mod fields;
mod filter;
mod group;
mod items;
mod pipeline;
mod structural;

pub(crate) use column::{Cell, Column};
pub(crate) use evaluate::{DimensionMasks, Evaluation, Selection};
pub(crate) use fields::{FieldUse, Home, SERVICE_NAME, group_if_missing, home, is_service_name};
pub(crate) use filter::Filter;
pub(crate) use group::{Groups, Key};
pub(crate) use pipeline::{Pipeline, PipelineMasks};

use arrow::array::RecordBatch;

use crate::error::Error;

/// A column of texts by its name.
pub(crate) fn text_column(batch: &RecordBatch, name: &str) -> Result<Column, Error> {
    Ok(Column::of(batch.num_rows(), column::TypedValues::Text(fields::texts(batch, name)?)))
}

#[cfg(test)]
mod tests;
