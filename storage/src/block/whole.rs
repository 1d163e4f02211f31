//! A block read whole and in order, every byte compared with its checksum: for compaction, which must not pass damage on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::FieldRef;
use bytes::Bytes;
use model::TenantId;
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::file::metadata::ColumnChunkMetaData;
use spans::schema::AttributeColumn;

use super::directory::Directory;
use super::fetch::StoredFile;
use super::footer::row_groups;
use super::meta::{BlockMeta, FileMeta};
use super::portion::{Portion, one_batch};
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
    file: StoredFile,
    metadata: ArrowReaderMetadata,
    cpu: CpuPool,
    crc32: u32,
    checked: crc32fast::Hasher,
    /// Bytes that were read and checked.
    read_to: u64,
    /// The row group that was read last, by number.
    current: Option<(usize, Portion)>,
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
                let directory = Directory::open(stored(BlockFile::Directory)?.0, &cpu).await?;
                Some(Arc::new(directory.continued().await?.into_iter().collect()))
            }
        };
        let (file, crc32) = stored(BlockFile::Spans)?;
        let metadata = file.load_metadata(entry.spans, &cpu).await?;
        let row_groups = row_groups(metadata.metadata());
        let checked = crc32fast::Hasher::new();
        let (read_to, current) = (0, None);
        Ok(Self {
            entry,
            traces,
            resources,
            scopes,
            continued,
            row_groups,
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
        let portion = self.group_bytes(group).await?;
        let (metadata, group_rows) = (self.metadata.clone(), self.row_groups[group].clone());
        let within = rows.iter().map(|range| range.start - group_rows.start..range.end - group_rows.start);
        let selection = (rows != std::slice::from_ref(&group_rows))
            .then(|| RowSelection::from_consecutive_ranges(within, group_rows.len()));
        let row_count: usize = rows.iter().map(ExactSizeIterator::len).sum();
        let decoded = self.file.decode(&self.cpu, move || {
            let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(portion, metadata)
                .with_row_groups(vec![group])
                .with_batch_size(row_count.max(1));
            if let Some(selection) = selection {
                builder = builder.with_row_selection(selection);
            }
            one_batch(builder)
        });
        let batch = decoded.await?.map_err(|error| self.file.damaged(&error))?;
        match batch.num_rows() == row_count {
            true => Ok(batch),
            false => Err(Error::block_damaged(self.file.path.as_ref(), "a row group has another number of rows")),
        }
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

    async fn group_bytes(&mut self, group: usize) -> Result<Portion, Error> {
        if let Some((number, portion)) = &self.current
            && *number == group
        {
            return Ok(portion.clone());
        }
        self.current = None;
        let (start, end) = (group.checked_sub(1).map_or(0, |before| self.group_end(before)), self.group_end(group));
        let bytes = if self.read_to == start { self.read_on(end).await? } else { self.fetch(start..end).await? };
        let portion = Portion { start, bytes, file_bytes: self.file.bytes };
        self.current = Some((group, portion.clone()));
        Ok(portion)
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
