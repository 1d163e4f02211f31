//! What a block is made of, for an operator: files, row groups, columns and index, with their sizes.

use std::sync::Arc;

use model::TenantId;
use object_store::ObjectStore;
use serde::Serialize;
use spans::schema::AttributeColumn;

use super::fetch::StoredFile;
use super::meta::BlockMeta;
use crate::cpu::CpuPool;
use crate::error::Error;
use crate::index::{self, Figures};
use crate::manifest::BlockEntry;
use crate::paths::{self, BlockFile};

/// What a block is made of.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    pub meta: BlockMeta,
    /// Of `spans.parquet`, in order.
    pub row_groups: Vec<RowGroup>,
    /// Of `spans.parquet`, in order.
    pub columns: Vec<Column>,
    /// `None` for a block without an index.
    pub index: Option<Figures>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowGroup {
    pub rows: u64,
    /// At rest.
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    pub name: String,
    /// At rest, of all row groups.
    pub bytes: u64,
    /// Encoded, before compression.
    pub uncompressed_bytes: u64,
    /// Whether the column holds one attribute.
    pub is_attribute: bool,
}

/// Looks at a block that a manifest names. Reads the meta, the footer of `spans.parquet` and the end of the index.
///
/// # Errors
/// [`Error::BlockDamaged`] names the first of these that cannot be read.
pub async fn inspect(
    tenant: &TenantId,
    entry: &BlockEntry,
    objects: &Arc<dyn ObjectStore>,
    cpu: &CpuPool,
) -> Result<Inspection, Error> {
    let path = |file| paths::block_file(tenant, &entry.id, file);
    let meta = BlockMeta::read(objects.as_ref(), tenant, entry).await?;
    let spans = StoredFile { objects: objects.clone(), path: path(BlockFile::Spans), bytes: entry.files.spans_bytes };
    let footer = spans.load_metadata(entry.spans, cpu).await?;
    let (index, index_bytes) = (path(BlockFile::Index), entry.files.index_bytes);
    let index = index::figures(entry.id, index, index_bytes, objects.as_ref(), cpu).await?;

    let groups = footer.metadata().row_groups();
    let row_groups = groups
        .iter()
        .map(|group| RowGroup { rows: group.num_rows().unsigned_abs(), bytes: group.compressed_size().unsigned_abs() });
    let fields = footer.schema().fields();
    let mut columns: Vec<Column> = fields
        .iter()
        .map(|field| Column {
            name: field.name().clone(),
            bytes: 0,
            uncompressed_bytes: 0,
            is_attribute: AttributeColumn::of(field).is_some(),
        })
        .collect();
    for group in groups {
        for (leaf, chunk) in group.columns().iter().enumerate() {
            if let Some(column) = columns.get_mut(footer.parquet_schema().get_column_root_idx(leaf)) {
                column.bytes += chunk.compressed_size().unsigned_abs();
                column.uncompressed_bytes += chunk.uncompressed_size().unsigned_abs();
            }
        }
    }
    Ok(Inspection { meta, row_groups: row_groups.collect(), columns, index })
}
