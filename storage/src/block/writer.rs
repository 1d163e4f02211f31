//! A span table → the files of a block, in memory. CPU work: run it through [`crate::cpu`].

use std::collections::BTreeSet;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, UInt32Type};
use bytes::Bytes;
use model::{BlockId, Scope, TenantId, TimeRange};
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use spans::schema::{column, trace_column};
use spans::{Promotion, SpanTable};

use super::footer::{KEYS_METADATA, LIST_KEYS_METADATA, keys_to_json};
use super::meta::{BlockMeta, FileMeta};
use super::row_group::FileWriter;
use crate::error::Error;
use crate::index;
use crate::manifest::{BlockEntry, BlockFiles};
use crate::paths::{self, BlockFile};

/// A row group ends with the first trace that reaches this many rows.
const ROW_GROUP_ROWS: usize = 65_536;
/// Rows of a page: what a look-up of one trace decodes of each column. Half as many cost 12 % more in size.
const PAGE_ROWS: usize = 2_048;
/// Bytes of a page before compression: keeps the pages of long texts as quick to decode as the others.
const PAGE_BYTES: usize = 64 * 1024;
const ZSTD_LEVEL: i32 = 3;

/// The files of a block, ready to be stored.
pub struct EncodedBlock {
    pub meta: BlockMeta,
    /// File and content, in the order in which they must be written; without `meta.json`.
    pub files: Vec<(BlockFile, Bytes)>,
}

impl EncodedBlock {
    /// What a manifest says of this block.
    pub fn entry(&self) -> BlockEntry {
        let bytes_of = |file: BlockFile| {
            let content = self.files.iter().find(|(name, _)| *name == file).map(|(_, content)| content.len());
            content.unwrap_or_default() as u64
        };
        BlockEntry {
            id: self.meta.id,
            start_nanos: self.meta.start_nanos,
            end_nanos: self.meta.end_nanos,
            traces: self.meta.trace_count,
            spans: self.meta.span_count,
            level: 0,
            files: BlockFiles {
                spans_bytes: bytes_of(BlockFile::Spans),
                traces_bytes: bytes_of(BlockFile::Traces),
                resources_bytes: bytes_of(BlockFile::Resources),
                scopes_bytes: bytes_of(BlockFile::Scopes),
                index_bytes: bytes_of(BlockFile::Index),
            },
        }
    }

    /// Stores the files, `meta.json` last. The block does not exist before a manifest names it.
    pub async fn put(&self, tenant: &TenantId, objects: &dyn ObjectStore) -> Result<(), Error> {
        let meta = serde_json::to_vec_pretty(&self.meta).expect("a meta has a JSON form");
        let files = self.files.iter().map(|(file, content)| (*file, content.clone()));
        for (file, content) in files.chain([(BlockFile::Meta, meta.into())]) {
            let key = paths::block_file(tenant, &self.meta.id, file);
            objects.put(&key, content.into()).await.map_err(Error::objects("write", &key))?;
        }
        Ok(())
    }
}

/// Encodes a table that is not empty as a block.
///
/// # Errors
/// [`Error`] of kind `Internal` when a column cannot be encoded; `Corrupt` when the table lacks a column.
pub fn encode(id: BlockId, tenant: &TenantId, table: &SpanTable) -> Result<EncodedBlock, Error> {
    let range = table.time_range()?.unwrap_or(TimeRange::new(0, 0));
    let mut meta = BlockMeta::new(id, tenant, range, table.trace_count(), table.span_count());
    let files = vec![
        (BlockFile::Spans, encode_spans(table)?),
        (BlockFile::Traces, encode_file(&table.traces, traces_properties())?),
        (BlockFile::Resources, encode_dimension(&table.resources, Scope::Resource)?),
        (BlockFile::Scopes, encode_dimension(&table.scopes, Scope::Instrumentation)?),
        (BlockFile::Index, index::encode(table)?),
    ];
    let file_meta = |(file, content): &(BlockFile, Bytes)| FileMeta {
        name: file.name().to_owned(),
        bytes: content.len() as u64,
        crc32: crc32fast::hash(content),
    };
    meta.files = files.iter().map(file_meta).collect();
    Ok(EncodedBlock { meta, files })
}

fn encode_spans(table: &SpanTable) -> Result<Bytes, Error> {
    let promotion = Promotion::plan(&table.spans, Scope::Span)?;
    let schema = promotion.schema(table.spans.schema_ref());
    let properties = spans_properties(&schema, &table.spans)?;
    let mut writer = FileWriter::of(ArrowWriter::try_new(Vec::new(), schema.into(), Some(properties))?)?;
    let mut list_keys = BTreeSet::new();
    for rows in row_groups(table)? {
        let batch = promotion.apply(&table.spans.slice(rows.start, rows.len()))?;
        list_keys.extend(spans::list_keys(&batch, Scope::Span)?);
        writer.write_row_group(&batch)?;
    }
    for (name, keys) in [(KEYS_METADATA, spans::attribute_keys(table)?), (LIST_KEYS_METADATA, list_keys)] {
        writer.file().append_key_value_metadata(KeyValue::new(name.to_owned(), keys_to_json(&keys)));
    }
    Ok(writer.finish()?.into())
}

/// Runs of whole traces of about [`ROW_GROUP_ROWS`] rows.
fn row_groups(table: &SpanTable) -> Result<Vec<Range<usize>>, Error> {
    let traces = table.traces()?;
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for trace in 0..traces.len() {
        let end = traces.span_rows(trace).end;
        if end - start >= ROW_GROUP_ROWS || trace + 1 == traces.len() {
            groups.push(start..end);
            start = end;
        }
    }
    Ok(groups)
}

fn encode_dimension(batch: &RecordBatch, scope: Scope) -> Result<Bytes, Error> {
    let promoted = Promotion::plan(batch, scope)?.apply(batch)?;
    encode_file(&promoted, base_properties().build())
}

fn encode_file(batch: &RecordBatch, properties: WriterProperties) -> Result<Bytes, Error> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(batch)?;
    Ok(writer.into_inner()?.into())
}

fn base_properties() -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("a constant within zstd's levels");
    WriterProperties::builder()
        .set_created_by(concat!("mosso ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(Some(32))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_write_batch_size(PAGE_ROWS)
        .set_max_row_group_row_count(None)
}

fn spans_properties(schema: &Schema, spans: &RecordBatch) -> Result<WriterProperties, Error> {
    let mut properties = base_properties();
    for delta in [column::TRACE, column::START_OFFSET_NANOS, column::DURATION_NANOS] {
        properties = with_delta(properties, delta.into());
    }
    let event_times = [column::EVENTS, "list", "item", "time_offset_nanos"].map(str::to_owned).to_vec();
    properties = with_delta(properties, ColumnPath::from(event_times));
    for path in constant_leaves(schema, spans)? {
        properties = properties.set_column_compression(path, Compression::UNCOMPRESSED);
    }
    Ok(without_dictionary(properties, column::SPAN_ID.into()).build())
}

/// Leaves of columns with one value in all rows: run lengths make them tiny, and a reader of one trace, which opens
/// every column, is spared the decompressor.
fn constant_leaves(schema: &Schema, spans: &RecordBatch) -> Result<Vec<ColumnPath>, Error> {
    let parquet_schema = ArrowSchemaConverter::new().convert(schema)?;
    let leaves = 0..parquet_schema.num_columns();
    let is_constant = |&leaf: &usize| {
        let name = schema.field(parquet_schema.get_column_root_idx(leaf)).name();
        spans.column_by_name(name).is_some_and(is_constant)
    };
    Ok(leaves.filter(is_constant).map(|leaf| parquet_schema.column(leaf).path().clone()).collect())
}

/// Cheap and cautious: false where it would take a closer look.
fn is_constant(array: &ArrayRef) -> bool {
    let all_equal = |values: &[u32]| values.iter().all(|value| Some(value) == values.first());
    match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().values().is_empty(),
        DataType::UInt32 if array.null_count() == 0 => all_equal(array.as_primitive::<UInt32Type>().values()),
        _ => array.null_count() == array.len(),
    }
}

fn traces_properties() -> WriterProperties {
    let mut properties = base_properties();
    for delta in [trace_column::START_NANOS, trace_column::END_NANOS, trace_column::FIRST_ROW] {
        properties = with_delta(properties, delta.into());
    }
    without_dictionary(properties, trace_column::TRACE_ID.into()).build()
}

/// For numbers that are near their neighbours.
fn with_delta(properties: WriterPropertiesBuilder, path: ColumnPath) -> WriterPropertiesBuilder {
    properties
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
}

/// For random ids: neither a dictionary nor zstd can shorten them.
fn without_dictionary(properties: WriterPropertiesBuilder, path: ColumnPath) -> WriterPropertiesBuilder {
    properties
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_compression(path, Compression::UNCOMPRESSED)
}
