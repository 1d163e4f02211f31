//! What is kept of a block and of its row groups once they were opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::FieldRef;
use spans::schema::{AttributeColumn, column};

use super::chunks::Chunks;
use super::columns::FileColumns;
use super::directory::Directory;
use super::version1;
use crate::source::{Dimensions, Projection};

/// What is known of a block once it has been opened.
pub(super) struct OpenBlock {
    pub dimensions: Arc<Dimensions>,
    /// Keys of which a value stands in the list `attributes`.
    pub list_keys: BTreeSet<String>,
    pub layout: Layout,
    pub memory_bytes: usize,
}

impl OpenBlock {
    /// The wanted of the columns of `spans.parquet`, by number; see [`Source::fetch`](crate::Source::fetch) for what is wanted.
    pub fn wanted_roots(&self, columns: &FileColumns, wanted: &Projection) -> Vec<usize> {
        let whole_attributes = wanted.columns.contains(column::ATTRIBUTES);
        let in_list = !wanted.attributes.is_disjoint(&self.list_keys);
        let is_wanted = |field: &FieldRef| match AttributeColumn::of(field) {
            Some(of) => whole_attributes || wanted.attributes.contains(&of.key),
            // traces are runs of rows: the column is made, not read
            None if field.name() == column::TRACE => false,
            None => wanted.columns.contains(field.name().as_str()) || in_list && field.name() == column::ATTRIBUTES,
        };
        let fields = columns.arrow.fields().iter().enumerate();
        fields.filter(|(_, field)| is_wanted(field)).map(|(index, _)| index).collect()
    }
}

/// How its row groups are found.
pub(super) enum Layout {
    Directory(Directory),
    /// A block of version 1 has no directory: it is kept whole.
    Whole(version1::Tables),
}

/// What is known of a row group once it has been opened.
pub(super) struct OpenRowGroup {
    /// Where the columns of its spans stand.
    pub spans: Chunks,
    /// Rows are numbered within the group. Those of a block with a directory lack `services`.
    pub traces: RecordBatch,
    /// Where the columns of its traces stand; a block of version 1, whose traces are all in memory, does not say.
    pub of_traces: Option<Chunks>,
    pub memory_bytes: usize,
}
