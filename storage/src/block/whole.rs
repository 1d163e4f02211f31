//! A block read whole and in order, every byte compared with its checksum: for compaction, which must not pass damage on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, SchemaRef};
use bytes::Bytes;
use model::TenantId;
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};
use spans::Traces;
use spans::schema::AttributeColumn;

use super::chunks::Chunks;
use super::columns::{ColumnRead, FileColumns, WantedRows, misplaced};
use super::directory::Directory;
use super::encoded_chunk::EncodedChunk;
use super::fetch::StoredFile;
use super::footer::row_groups;
use super::meta::{BlockMeta, FileMeta};
use super::row_group::EncodedColumns;
use super::writer::Continued;
use crate::cpu::CpuPool;
use crate::error::Error;
use crate::manifest::BlockEntry;
use crate::paths::{self, BlockFile};

/// An opened block: its small tables, and where it has been read to.
pub(crate) struct WholeBlock {
    pub entry: BlockEntry,
    pub traces: RecordBatch,
    pub resources: RecordBatch,
    pub scopes: RecordBatch,
    pub continued: Continued,
    /// Rows of each row group.
    pub row_groups: Vec<Range<usize>>,
    /// For each row group the rows of `traces` that have their spans in it; empty for a block of version 1.
    pub traces_of_groups: Vec<Range<usize>>,
    file: StoredFile,
    metadata: ArrowReaderMetadata,
    cpu: CpuPool,
    crc32: u32,
    checked: crc32fast::Hasher,
    /// Bytes that were read and checked.
    read_to: u64,
    /// The row group that was read last, by number.
    current: Option<(usize, GroupBytes)>,
}

/// The bytes of a row group, and where its columns stand.
#[derive(Clone)]
struct GroupBytes {
    /// Of the first byte in the file.
    start: u64,
    bytes: Bytes,
    rows: u64,
    chunks: Chunks,
}

impl GroupBytes {
    /// A column chunk, on its own.
    fn chunk(&self, chunk: &ColumnChunkMetaData, pages: &[PageLocation]) -> Result<EncodedChunk, ParquetError> {
        let (start, bytes) = chunk.byte_range();
        let content = self.range(start..start + bytes)?;
        let moved = |at: i64| at.checked_sub(start as i64).ok_or_else(misplaced);
        let metadata = chunk.clone().into_builder();
        let metadata = metadata
            .set_data_page_offset(moved(chunk.data_page_offset())?)
            .set_dictionary_page_offset(chunk.dictionary_page_offset().map(moved).transpose()?)
            .build()?;
        let mut page_locations = pages.to_vec();
        for page in &mut page_locations {
            page.offset = moved(page.offset)?;
        }
        let close = ColumnCloseResult {
            bytes_written: bytes,
            rows_written: self.rows,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(OffsetIndexMetaData { page_locations, unencoded_byte_array_data_bytes: None }),
        };
        Ok(EncodedChunk { content, close })
    }

    /// A range of the file.
    fn range(&self, range: Range<u64>) -> Result<Bytes, ParquetError> {
        let place = |at: u64| usize::try_from(at.checked_sub(self.start)?).ok();
        let within = place(range.start).zip(place(range.end)).map(|(start, end)| start..end);
        let within = within.filter(|within| within.start <= within.end && within.end <= self.bytes.len());
        Ok(self.bytes.slice(within.ok_or_else(misplaced)?))
    }
}

impl WholeBlock {
    /// Reads the small files and the footer.
    ///
    /// # Errors
    /// [`Error::BlockDamaged`] when a file is not what `meta.json` and the manifest say.
    pub async fn open(
        tenant: &TenantId,
        entry: BlockEntry,
        objects: Arc<dyn ObjectStore>,
        cpu: CpuPool,
    ) -> Result<Self, Error> {
        let meta = BlockMeta::read(objects.as_ref(), tenant, &entry).await?;
        let stored = |name: BlockFile| -> Result<_, Error> {
            let path = paths::block_file(tenant, &entry.id, name);
            let FileMeta { bytes, crc32, .. } = *meta.listed(name, &path)?;
            Ok((StoredFile { objects: objects.clone(), path, bytes }, crc32))
        };
        let read_small = async |name: BlockFile| {
            let (file, crc32) = stored(name)?;
            file.decode_all(file.fetch_all().await?, Some(crc32), &cpu).await
        };
        let (traces, resources, scopes) = futures::try_join!(
            read_small(BlockFile::Traces),
            read_small(BlockFile::Resources),
            read_small(BlockFile::Scopes),
        )?;
        let continued = match entry.continued_traces {
            None => None,
            Some(0) => Some(Arc::default()),
            Some(_) => {
                let directory = Directory::open(stored(BlockFile::Directory)?.0).await?;
                Some(Arc::new(directory.continued().await?.into_iter().collect()))
            }
        };
        let (file, crc32) = stored(BlockFile::Spans)?;
        let metadata = file.load_metadata(entry.spans, &cpu).await?;
        let row_groups = row_groups(metadata.metadata());
        let traces_of_groups = match entry.files.directory_bytes {
            0 => Vec::new(),
            _ => traces_of_groups(&traces, &row_groups)?
                .ok_or_else(|| Error::block_damaged(file.path.as_ref(), "a trace's spans are in no row group"))?,
        };
        let checked = crc32fast::Hasher::new();
        let (read_to, current) = (0, None);
        Ok(Self {
            entry,
            traces,
            resources,
            scopes,
            continued,
            row_groups,
            traces_of_groups,
            file,
            metadata,
            cpu,
            crc32,
            checked,
            read_to,
            current,
        })
    }

    /// Attribute columns of `spans`, and how many values each has.
    pub fn attribute_columns(&self) -> impl Iterator<Item = (&FieldRef, u64)> {
        let fields = self.metadata.schema().fields().iter().enumerate();
        fields.filter(|(_, field)| AttributeColumn::of(field).is_some()).map(|(at, field)| {
            let parquet = self.metadata.parquet_schema();
            let leaves = (0..parquet.num_columns()).filter(|&leaf| parquet.get_column_root_idx(leaf) == at);
            let groups = self.metadata.metadata().row_groups();
            let of_leaf = |leaf: usize| groups.iter().map(|group| value_count(group.column(leaf))).sum::<u64>();
            (field, leaves.map(of_leaf).sum())
        })
    }

    /// Columns of `spans` with one value in all rows, other than attribute columns, and that value; `None` for null.
    pub fn constant_columns(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        let (parquet, fields) = (self.metadata.parquet_schema(), self.metadata.schema().fields());
        let mut columns: BTreeMap<usize, Option<Option<Vec<u8>>>> = BTreeMap::new();
        for group in self.metadata.metadata().row_groups() {
            for (leaf, chunk) in group.columns().iter().enumerate() {
                let value = constant_value(chunk);
                let known = columns.entry(parquet.get_column_root_idx(leaf)).or_insert_with(|| value.clone());
                if *known != value {
                    *known = None;
                }
            }
        }
        let constant = columns.into_iter().filter_map(|(at, value)| Some((fields.get(at)?, value?)));
        let constant = constant.filter(|(field, _)| AttributeColumn::of(field).is_none());
        constant.map(|(field, value)| (field.name().clone(), value)).collect()
    }

    /// All columns of some rows of a row group: table rows, ascending, inside the group. Groups are read in order, each
    /// from the store only once as long as no other is read in between.
    pub async fn read(&mut self, group: usize, rows: &[Range<usize>]) -> Result<RecordBatch, Error> {
        let group_bytes = self.group_bytes(group).await?;
        let group_rows = self.row_groups[group].clone();
        let within = rows.iter().map(|range| range.start - group_rows.start..range.end - group_rows.start);
        let ranges = (rows != std::slice::from_ref(&group_rows)).then(|| within.collect());
        let row_count: usize = rows.iter().map(ExactSizeIterator::len).sum();
        let columns = FileColumns::of(&self.metadata);
        let decoded = self.file.decode(&self.cpu, move || {
            let roots: Vec<usize> = (0..columns.arrow.fields().len()).collect();
            let wanted = WantedRows { all: group_rows.len(), ranges };
            let read = ColumnRead::of(&columns, &group_bytes.chunks, &roots, wanted, 1).ok_or_else(misplaced)?;
            let bytes =
                read.ranges().into_iter().map(|range| group_bytes.range(range)).collect::<Result<Vec<_>, _>>()?;
            read.decode(&bytes)
        });
        let batch = decoded.await?.map_err(|error| self.file.damaged(&error))?;
        match batch.num_rows() == row_count {
            true => Ok(batch),
            false => Err(Error::block_damaged(self.file.path.as_ref(), "a row group has another number of rows")),
        }
    }

    /// The columns of `spans`.
    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Some columns of a row group as they are stored: by number here, under the number that they are to have.
    pub async fn encoded_columns(
        &mut self,
        group: usize,
        places: &BTreeMap<usize, usize>,
    ) -> Result<EncodedColumns, Error> {
        let group_bytes = self.group_bytes(group).await?;
        let (metadata, parquet) = (self.metadata.metadata(), self.metadata.parquet_schema());
        let index = metadata.page_index_for_row_group(group);
        let mut encoded = EncodedColumns::new();
        for (leaf, chunk) in metadata.row_group(group).columns().iter().enumerate() {
            let Some(&place) = places.get(&parquet.get_column_root_idx(leaf)) else { continue };
            let pages = index.page_locations(leaf).ok_or_else(misplaced);
            let chunk = pages.and_then(|pages| group_bytes.chunk(chunk, pages));
            encoded.entry(place).or_default().push(chunk.map_err(|error| self.file.damaged(&error))?);
        }
        Ok(encoded)
    }

    /// Reads what is left and compares the checksum of the whole file.
    pub async fn verify(&mut self) -> Result<(), Error> {
        self.current = None;
        for group in 0..self.row_groups.len() {
            let end = self.group_end(group);
            if self.read_to < end {
                self.read_on(end).await?;
            }
        }
        self.read_on(self.file.bytes).await?;
        match self.checked.clone().finalize() == self.crc32 {
            true => Ok(()),
            false => Err(Error::block_damaged(self.file.path.as_ref(), "checksum does not match")),
        }
    }

    /// Bytes of `spans.parquet` that were read and checked.
    pub fn bytes_read(&self) -> u64 {
        self.read_to
    }

    async fn group_bytes(&mut self, group: usize) -> Result<GroupBytes, Error> {
        if let Some((number, bytes)) = &self.current
            && *number == group
        {
            return Ok(bytes.clone());
        }
        self.current = None;
        let (start, end) = (group.checked_sub(1).map_or(0, |before| self.group_end(before)), self.group_end(group));
        let bytes = if self.read_to == start { self.read_on(end).await? } else { self.fetch(start..end).await? };
        let metadata = self.metadata.clone();
        let chunks = self.file.decode(&self.cpu, move || Chunks::of(metadata.metadata(), group)).await?;
        let chunks = chunks.map_err(|error| Error::block_damaged(self.file.path.as_ref(), error.to_string()))?;
        let bytes = GroupBytes { start, bytes, rows: self.row_groups[group].len() as u64, chunks };
        self.current = Some((group, bytes.clone()));
        Ok(bytes)
    }

    /// Reads and checks from where reading has come to up to `end`.
    async fn read_on(&mut self, end: u64) -> Result<Bytes, Error> {
        let bytes = self.fetch(self.read_to..end).await?;
        self.checked.update(&bytes);
        self.read_to = end;
        Ok(bytes)
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Bytes, Error> {
        Ok(self.file.fetch(std::slice::from_ref(&range)).await?.pop().unwrap_or_default())
    }

    /// Where in the file the bytes of a row group end.
    fn group_end(&self, group: usize) -> u64 {
        let columns = self.metadata.metadata().row_group(group).columns().iter();
        columns.map(|chunk| chunk.byte_range()).map(|(start, length)| start + length).max().unwrap_or_default()
    }
}

/// `None` when traces do not stand in the order of their row groups.
fn traces_of_groups(traces: &RecordBatch, row_groups: &[Range<usize>]) -> Result<Option<Vec<Range<usize>>>, Error> {
    let (view, mut next) = (Traces::of(traces)?, 0);
    let rows_of = |group: &Range<usize>| {
        let first = next;
        while next < view.len() && view.span_rows(next).start < group.end {
            next += 1;
        }
        first..next
    };
    let groups = row_groups.iter().map(rows_of).collect();
    Ok((next == view.len()).then_some(groups))
}

fn value_count(chunk: &ColumnChunkMetaData) -> u64 {
    let nulls = chunk.statistics().and_then(|statistics| statistics.null_count_opt()).unwrap_or_default();
    (chunk.num_values() as u64).saturating_sub(nulls)
}

/// The one value of a column chunk, `Some(None)` for null; `None` when there are others or it is not certain.
fn constant_value(chunk: &ColumnChunkMetaData) -> Option<Option<Vec<u8>>> {
    let statistics = chunk.statistics()?;
    match statistics.null_count_opt()? {
        nulls if nulls == chunk.num_values() as u64 => Some(None),
        0 if statistics.min_is_exact() && statistics.max_is_exact() => {
            let (least, greatest) = (statistics.min_bytes_opt()?, statistics.max_bytes_opt()?);
            (least == greatest).then(|| Some(least.to_vec()))
        }
        _ => None,
    }
}
