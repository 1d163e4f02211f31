//! Row groups → the files of a block. CPU work: run it through [`crate::cpu`].
//!
//! [`BlockWriter`] takes one row group at a time and gives the bytes of `spans.parquet` away as they come: what it keeps
//! is the small files. Tables that are in memory go through it by [`encode`](super::encode).

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use hashbrown::HashSet;
use model::{BlockId, Scope, TenantId, TimeRange, TraceId};
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use spans::Promotion;
use spans::schema::{column, trace_column};

use super::directory::{DirectoryBuilder, EncodedRollup, WrittenFiles};
use super::footer::{KEYS_METADATA, LIST_KEYS_METADATA, keys_to_json};
use super::meta::{BlockMeta, FileMeta};
use super::properties::{base_properties, rollup_properties, spans_properties, traces_properties};
use super::row_group::{EncodedColumns, FileWriter};
use crate::error::Error;
use crate::manifest::{BlockEntry, BlockFiles};
use crate::paths::{self, BlockFile};
use crate::rollup::RollupBuilder;

/// The files of a block, ready to be stored. Contents are shared between clones.
#[derive(Debug, Clone)]
pub struct EncodedBlock {
    pub meta: BlockMeta,
    /// File and content; without `meta.json`, and without `spans.parquet` where that was stored while it was written.
    pub files: Vec<(BlockFile, Bytes)>,
    /// As in the block's [`BlockEntry`].
    pub continued_traces: Option<u64>,
}

/// The traces of a block that older blocks have, too; `None` where that is not known.
pub type Continued = Option<Arc<HashSet<TraceId>>>;

impl EncodedBlock {
    /// What a manifest says of this block: as of a new one, written when its id was made.
    pub fn entry(&self) -> BlockEntry {
        let bytes_of = |file: BlockFile| {
            let stored = self.meta.files.iter().find(|stored| stored.name == file.name());
            stored.map_or(0, |stored| stored.bytes)
        };
        BlockEntry {
            id: self.meta.id,
            start_nanos: self.meta.start_nanos,
            end_nanos: self.meta.end_nanos,
            traces: self.meta.trace_count,
            spans: self.meta.span_count,
            level: 0,
            continued_traces: self.continued_traces,
            redacted_through: 0,
            written_nanos: self.meta.id.created_nanos(),
            files: BlockFiles {
                spans_bytes: bytes_of(BlockFile::Spans),
                traces_bytes: bytes_of(BlockFile::Traces),
                resources_bytes: bytes_of(BlockFile::Resources),
                scopes_bytes: bytes_of(BlockFile::Scopes),
                index_bytes: bytes_of(BlockFile::Index),
                directory_bytes: bytes_of(BlockFile::Directory),
                unknown: Default::default(),
            },
            unknown: Default::default(),
        }
    }

    /// Stores the files in two rounds: all but `meta.json` at once, and then that one, so that who finds it finds the others.
    /// The block does not exist before a manifest names it.
    pub async fn put(&self, tenant: &TenantId, objects: &dyn ObjectStore) -> Result<(), Error> {
        let meta = serde_json::to_vec_pretty(&self.meta).expect("a meta has a JSON form");
        let put = async |file: BlockFile, content: Bytes| {
            let key = paths::block_file(tenant, &self.meta.id, file);
            objects.put(&key, content.into()).await.map_err(Error::objects("write", &key))
        };
        let first = self.files.iter().map(|(file, content)| put(*file, content.clone()));
        futures::future::try_join_all(first).await?;
        put(BlockFile::Meta, meta.into()).await?;
        Ok(())
    }
}

/// The columns of `spans.parquet`.
pub(crate) struct SpansLayout {
    pub schema: SchemaRef,
    /// Columns with one value in all rows.
    pub constant_columns: BTreeSet<String>,
}

/// A block that is being written.
pub(crate) struct BlockWriter {
    meta: BlockMeta,
    spans: FileWriter,
    traces: FileWriter,
    directory: DirectoryBuilder,
    rollup: RollupBuilder,
    open: OpenRowGroup,
    continued: Continued,
    resources: UsedRows,
    scopes: UsedRows,
    keys: BTreeSet<(Scope, String)>,
    list_keys: BTreeSet<(Scope, String)>,
    time_range: Option<TimeRange>,
    spans_bytes: u64,
    spans_crc32: crc32fast::Hasher,
}

/// The rows of a row group that is being put together, numbered as in the block.
#[derive(Default)]
struct OpenRowGroup {
    spans: Vec<RecordBatch>,
    traces: Vec<RecordBatch>,
}

impl BlockWriter {
    /// `resources` and `scopes` are those of all spans to come, without attribute columns; what no span refers to is left
    /// out. `continued`: see [`BlockEntry::continued_traces`].
    pub fn new(
        id: BlockId,
        tenant: &TenantId,
        layout: &SpansLayout,
        resources: &RecordBatch,
        scopes: &RecordBatch,
        continued: Continued,
    ) -> Result<Self, Error> {
        let properties = spans_properties(&layout.schema, &layout.constant_columns)?;
        Ok(Self {
            meta: BlockMeta::new(id, tenant, TimeRange::new(0, 0), 0, 0),
            spans: FileWriter::new(&layout.schema, &properties)?,
            traces: FileWriter::new(&spans::schema::traces(), &traces_properties())?,
            directory: DirectoryBuilder::default(),
            rollup: RollupBuilder::new(resources)?,
            open: OpenRowGroup::default(),
            continued,
            resources: UsedRows::of(resources),
            scopes: UsedRows::of(scopes),
            keys: BTreeSet::new(),
            list_keys: BTreeSet::new(),
            time_range: None,
            spans_bytes: 0,
            spans_crc32: crc32fast::Hasher::new(),
        })
    }

    /// Adds traces and their spans as one row group; rows are numbered from 0 in both. Returns the next bytes of
    /// `spans.parquet`.
    pub fn write(&mut self, spans: &RecordBatch, traces: &RecordBatch) -> Result<Bytes, Error> {
        self.add_rows(spans, traces, &BTreeSet::new())?;
        self.end_row_group(EncodedColumns::new())
    }

    /// Adds traces and their spans to the row group that is being put together; rows are numbered from 0 in both. Columns
    /// that will be given encoded are not kept: their numbers are in `encoded`.
    pub fn add_rows(
        &mut self,
        spans: &RecordBatch,
        traces: &RecordBatch,
        encoded: &BTreeSet<usize>,
    ) -> Result<(), Error> {
        self.keys.extend(spans::span_keys(spans)?);
        self.list_keys.extend(spans::list_keys(spans, Scope::Span)?);
        let batch = shifted(spans, column::TRACE, self.meta.trace_count as u32)?;
        let batch = self.resources.renumber(&batch, column::RESOURCE)?;
        let batch = self.scopes.renumber(&batch, column::SCOPE)?;
        self.rollup.add(spans, traces, spans::u32s(&batch, column::RESOURCE)?)?;
        let kept: Vec<usize> = (0..batch.num_columns()).filter(|at| !encoded.contains(at)).collect();
        self.open.spans.push(batch.project(&kept)?);
        self.open.traces.push(shifted(traces, trace_column::FIRST_ROW, self.meta.span_count as u32)?);
        self.meta.trace_count += traces.num_rows() as u64;
        self.meta.span_count += spans.num_rows() as u64;
        Ok(())
    }

    /// Writes the rows that were added as one row group. Returns the next bytes of `spans.parquet`.
    pub fn end_row_group(&mut self, encoded: EncodedColumns) -> Result<Bytes, Error> {
        let OpenRowGroup { spans, traces } = std::mem::take(&mut self.open);
        let Some(first) = traces.first() else { return Err(spans::Error::damaged("a row group without rows").into()) };
        let all_traces = concat_batches(first.schema_ref(), &traces)?;
        let view = spans::Traces::of(&all_traces)?;
        for trace in 0..view.len() {
            let range = view.time_range(trace);
            self.time_range = Some(self.time_range.map_or(range, |before| before.union(&range)));
        }
        self.spans.write_row_group(&spans, encoded)?;
        self.traces.write_row_group(std::slice::from_ref(&all_traces), EncodedColumns::new())?;
        let none = HashSet::new();
        let span_count = spans.iter().map(RecordBatch::num_rows).sum();
        let first_start_nanos = (0..view.len()).map(|trace| view.start_nanos(trace)).min().unwrap_or_default();
        let last_start_nanos = self.rollup.end_row_group(first_start_nanos);
        self.directory.add(&view, span_count, last_start_nanos, self.continued.as_deref().unwrap_or(&none));
        let content = self.spans.take_bytes();
        self.spans_bytes += content.len() as u64;
        self.spans_crc32.update(&content);
        Ok(content.into())
    }

    /// The last bytes of `spans.parquet`, and the other files; `index` is that of all tables that were written.
    pub fn finish(self, index: Bytes) -> Result<(Bytes, EncodedBlock), Error> {
        let continued_traces = self.continued.as_ref().map(|_| self.directory.continued_count() as u64);
        let Self { mut meta, mut spans, traces, directory, rollup, resources, scopes, mut keys, list_keys, .. } = self;
        let (resources, scopes) = (resources.used()?, scopes.used()?);
        keys.extend(spans::list_keys(&resources, Scope::Resource)?);
        keys.extend(spans::list_keys(&scopes, Scope::Instrumentation)?);
        for (name, keys) in [(KEYS_METADATA, &keys), (LIST_KEYS_METADATA, &list_keys)] {
            spans.add_entry(KeyValue::new(name.to_owned(), keys_to_json(keys)));
        }
        let (rest, of_spans) = spans.finish()?;
        let (bytes, mut crc32) = (self.spans_bytes + rest.len() as u64, self.spans_crc32);
        crc32.update(&rest);
        meta.files.push(FileMeta { name: BlockFile::Spans.name().to_owned(), bytes, crc32: crc32.finalize() });
        let (traces, of_traces) = traces.finish()?;
        let resources = encode_dimension(&resources, Scope::Resource)?;
        let scopes = encode_dimension(&scopes, Scope::Instrumentation)?;
        let rollup = rollup.finish()?.map(|rows| encode_rollup(&rows)).transpose()?;
        let directory = directory.finish(&WrittenFiles {
            spans: &of_spans,
            traces: &of_traces,
            traces_content: &traces,
            resources_content: &resources,
            scopes_content: &scopes,
            keys: &keys,
            list_keys: &list_keys,
            rollup: rollup.as_ref(),
        })?;
        let files = vec![
            (BlockFile::Traces, traces.into()),
            (BlockFile::Resources, resources),
            (BlockFile::Scopes, scopes),
            (BlockFile::Index, index),
            (BlockFile::Directory, directory),
        ];
        let file_meta = |(file, content): &(BlockFile, Bytes)| FileMeta {
            name: file.name().to_owned(),
            bytes: content.len() as u64,
            crc32: crc32fast::hash(content),
        };
        meta.files.extend(files.iter().map(file_meta));
        let range = self.time_range.unwrap_or(TimeRange::new(0, 0));
        (meta.start_nanos, meta.end_nanos) = (range.start_nanos, range.end_nanos);
        Ok((rest.into(), EncodedBlock { meta, files, continued_traces }))
    }
}

/// The batch with `by` added to a column of row numbers.
fn shifted(batch: &RecordBatch, name: &str, by: u32) -> Result<RecordBatch, Error> {
    let shifted = spans::u32s(batch, name)?.iter().map(|row| row + by).collect();
    Ok(spans::replace(batch, name, shifted)?)
}

/// Rows of a small table that spans refer to, numbered in the order in which they are first met.
struct UsedRows {
    batch: RecordBatch,
    new_rows: Vec<Option<u32>>,
    used: Vec<u32>,
}

impl UsedRows {
    fn of(batch: &RecordBatch) -> Self {
        Self { batch: batch.clone(), new_rows: vec![None; batch.num_rows()], used: Vec::new() }
    }

    /// The spans with new numbers in the column that refers to this table.
    fn renumber(&mut self, spans: &RecordBatch, name: &'static str) -> Result<RecordBatch, Error> {
        let mut rows = Vec::with_capacity(spans.num_rows());
        for &row in spans::u32s(spans, name)? {
            let damaged = || spans::Error::damaged(format!("{name} {row} does not exist"));
            let new_row = self.new_rows.get_mut(row as usize).ok_or_else(damaged)?;
            rows.push(*new_row.get_or_insert_with(|| {
                self.used.push(row);
                self.used.len() as u32 - 1
            }));
        }
        Ok(spans::replace(spans, name, rows)?)
    }

    fn used(self) -> Result<RecordBatch, Error> {
        Ok(take_record_batch(&self.batch, &UInt32Array::from(self.used))?)
    }
}

fn encode_dimension(batch: &RecordBatch, scope: Scope) -> Result<Bytes, Error> {
    let promoted = Promotion::plan(batch, scope)?.apply(batch)?;
    encode_file(&promoted, base_properties().build())
}

fn encode_rollup(rows: &RecordBatch) -> Result<EncodedRollup, Error> {
    let mut file = FileWriter::new(&rows.schema(), &rollup_properties())?;
    file.write_row_group(std::slice::from_ref(rows), EncodedColumns::new())?;
    let (content, metadata) = file.finish()?;
    Ok(EncodedRollup { rows: rows.num_rows(), content, metadata })
}

fn encode_file(batch: &RecordBatch, properties: WriterProperties) -> Result<Bytes, Error> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(batch)?;
    Ok(writer.into_inner()?.into())
}
