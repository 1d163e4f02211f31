//! Whether a block is as it was written: for an operator, who asks when nothing else does.
//!
//! Every file is compared with its checksum in `meta.json`, every row is decoded, and what files say of each other is
//! compared: manifest with meta, meta with traces, traces with the rows of spans, spans with resources and scopes, index
//! with traces.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use model::TenantId;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use spans::schema::column;
use spans::{ById, Traces};

use super::directory::Directory;
use super::fetch::StoredFile;
use super::meta::BlockMeta;
use super::whole::WholeBlock;
use crate::cpu::CpuPool;
use crate::damage::Damage;
use crate::error::Error;
use crate::manifest::BlockEntry;
use crate::paths::{self, BlockFile};
use crate::trace_ids::TraceHash;
use crate::{exact, index};

/// A block to be looked at as a whole.
#[derive(Clone, Copy)]
pub struct Verifier<'a> {
    pub tenant: &'a TenantId,
    pub entry: &'a BlockEntry,
    pub objects: &'a Arc<dyn ObjectStore>,
    pub cpu: &'a CpuPool,
    /// Hears how many bytes were read since it was last told.
    pub read: &'a (dyn Fn(u64) + Sync),
}

impl Verifier<'_> {
    /// Everything that is wrong, at most one thing for each file; nothing for a block that is as it was written.
    ///
    /// # Errors
    /// When the store cannot be read, which says nothing of the block.
    pub async fn damages(self) -> Result<Vec<Damage>, Error> {
        let mut found = Found::default();
        let meta = found.take(BlockMeta::read(self.objects.as_ref(), self.tenant, self.entry).await)?;
        let small =
            [BlockFile::Traces, BlockFile::Resources, BlockFile::Scopes, BlockFile::Index, BlockFile::Directory];
        for file in small {
            found.take(self.check_file(file, meta.as_ref()).await)?;
        }
        let rows_need = |damage: &Damage| !matches!(damage.file, BlockFile::Index | BlockFile::Directory);
        match !found.damages.iter().any(rows_need) {
            true => found.take(self.check_rows().await)?,
            false => found.take(self.check_file(BlockFile::Spans, meta.as_ref()).await)?,
        };
        if !found.names(BlockFile::Index) {
            found.take(self.check_index().await)?;
        }
        if !found.names(BlockFile::Directory) && !found.names(BlockFile::Traces) {
            found.take(self.check_directory().await)?;
        }
        Ok(found.damages)
    }

    fn path(self, file: BlockFile) -> Path {
        paths::block_file(self.tenant, &self.entry.id, file)
    }

    /// Reads a file piece by piece and compares size and checksum.
    async fn check_file(self, file: BlockFile, meta: Option<&BlockMeta>) -> Result<(), Error> {
        let (path, expected_bytes) = (self.path(file), self.entry.files.bytes_of(file).unwrap_or_default());
        if expected_bytes == 0 {
            return Ok(()); // a block without an index
        }
        let object = self.objects.get(&path).await.map_err(Error::objects("read", &path))?;
        let found_bytes = object.meta.size;
        if found_bytes != expected_bytes {
            let reason = format!("it has {found_bytes} bytes, the manifest says {expected_bytes}");
            return Err(Error::block_damaged(path.as_ref(), reason));
        }
        let mut pieces = object.into_stream();
        let (mut bytes, mut checksum) = (0, crc32fast::Hasher::new());
        while let Some(piece) = pieces.try_next().await.map_err(Error::objects("read", &path))? {
            bytes += piece.len() as u64;
            checksum.update(&piece);
            (self.read)(piece.len() as u64);
        }
        if bytes != found_bytes {
            return Err(Error::objects("read", &path)(exact::ended_early()));
        }
        match meta.and_then(|meta| meta.file(file)).is_some_and(|listed| listed.crc32 != checksum.finalize()) {
            true => Err(Error::block_damaged(path.as_ref(), "checksum does not match")),
            false => Ok(()),
        }
    }

    /// Decodes every row of `spans` and compares it with the small tables, which are whole.
    async fn check_rows(self) -> Result<(), Error> {
        let (objects, cpu) = (self.objects.clone(), self.cpu.clone());
        let mut block = WholeBlock::open(self.tenant, self.entry.clone(), objects, cpu).await?;
        self.check_traces(&block.traces, &block.row_groups)?;
        let sizes = Sizes { resources: block.resources.num_rows(), scopes: block.scopes.num_rows() };
        let mut told = 0;
        for (group, rows) in block.row_groups.clone().into_iter().enumerate() {
            let spans = block.read(group, std::slice::from_ref(&rows)).await?;
            let traces = block.traces.clone();
            let checked = self.cpu.run(move || check_group(&spans, &rows, &traces, sizes)).await?;
            checked.map_err(|reason| Error::block_damaged(self.path(BlockFile::Spans).as_ref(), reason))?;
            (self.read)(block.bytes_read() - told);
            told = block.bytes_read();
        }
        block.verify().await?;
        (self.read)(block.bytes_read() - told);
        Ok(())
    }

    /// Counts, ids and times of `traces` against the manifest, its rows against the row groups.
    fn check_traces(self, traces: &RecordBatch, row_groups: &[Range<usize>]) -> Result<(), Error> {
        let damaged = |reason: String| Error::block_damaged(self.path(BlockFile::Traces).as_ref(), reason);
        let view = Traces::of(traces).map_err(|error| damaged(error.to_string()))?;
        let BlockEntry { traces: trace_count, spans: span_count, .. } = *self.entry;
        if view.len() as u64 != trace_count {
            return Err(damaged(format!("it has {} traces, the manifest says {trace_count}", view.len())));
        }
        if let Some(twice) = ById::of(&view).repeated(&view) {
            return Err(damaged(format!("trace {twice} is there twice")));
        }
        let (mut next_row, mut range) = (0, None);
        for row in 0..view.len() {
            let rows = view.span_rows(row);
            let is_in_one_group = row_groups.iter().any(|group| group.start <= rows.start && rows.end <= group.end);
            if rows.start != next_row || rows.is_empty() || !is_in_one_group {
                return Err(damaged(format!("the spans of trace {} are not one run of rows", view.id(row))));
            }
            next_row = rows.end;
            let of_trace = view.time_range(row);
            range = Some(range.map_or(of_trace, |range: model::TimeRange| range.union(&of_trace)));
        }
        if next_row as u64 != span_count {
            return Err(damaged(format!("its traces have {next_row} spans, the manifest says {span_count}")));
        }
        match range.is_none_or(|range| range == self.entry.time_range()) {
            true => Ok(()),
            false => Err(damaged("its traces have another time range than the manifest says".to_owned())),
        }
    }

    /// Opens every row group by the directory, and looks every trace up in it.
    async fn check_directory(self) -> Result<(), Error> {
        let (path, bytes) = (self.path(BlockFile::Directory), self.entry.files.directory_bytes);
        if bytes == 0 {
            return Ok(()); // a block of version 1
        }
        let file = |path, bytes| StoredFile { objects: self.objects.clone(), path, bytes };
        let traces_file = file(self.path(BlockFile::Traces), self.entry.files.traces_bytes);
        let file = file(path, bytes);
        let directory = Directory::open(file.clone()).await?;
        directory.columns(self.cpu).await?;
        let damaged = |reason: &str| Error::block_damaged(file.path.as_ref(), reason);
        let ids = directory.ids(self.cpu).await?;
        if directory.trace_count() as u64 != self.entry.traces {
            return Err(damaged("it has another number of traces than the manifest says"));
        }
        for (number, group) in directory.row_groups.iter().enumerate() {
            let stored = directory.row_group(number, &traces_file).await?;
            let decoded = file.decode(self.cpu, move || stored.decode()).await?;
            let decoded = decoded.map_err(|error| file.damaged(&error))?;
            directory.services(number, &decoded.of_traces, &traces_file, self.cpu).await?;
            let view = Traces::of(&decoded.traces)?;
            let is_found = |row: usize| {
                let of_hash = ids.find(TraceHash::of(&view.id(row)));
                of_hash.into_iter().any(|found| found as usize == group.traces.start + row)
            };
            if view.len() != group.traces.len() || !(0..view.len()).all(is_found) {
                return Err(damaged("a row group has other traces than it says"));
            }
        }
        directory.rollup(self.cpu).await?;
        Ok(())
    }

    /// Opens the index and compares it with the manifest.
    async fn check_index(self) -> Result<(), Error> {
        let path = self.path(BlockFile::Index);
        let bytes = self.entry.files.index_bytes;
        match index::figures(self.entry.id, path.clone(), bytes, self.objects.as_ref(), self.cpu).await? {
            Some(figures) if figures.traces as u64 != self.entry.traces => {
                let reason = format!("it is about {} traces, the block has {}", figures.traces, self.entry.traces);
                Err(Error::block_damaged(path.as_ref(), reason))
            }
            _ => Ok(()),
        }
    }
}

/// Rows of the small tables that spans refer to.
#[derive(Clone, Copy)]
struct Sizes {
    resources: usize,
    scopes: usize,
}

/// Whether spans refer to their traces, resources and scopes; says what is wrong.
fn check_group(spans: &RecordBatch, rows: &Range<usize>, traces: &RecordBatch, sizes: Sizes) -> Result<(), String> {
    let column = |name| spans::u32s(spans, name).map_err(|error| error.to_string());
    let view = Traces::of(traces).map_err(|error| error.to_string())?;
    for (row, &trace) in rows.clone().zip(column(column::TRACE)?) {
        let trace = trace as usize;
        if trace >= view.len() || !view.span_rows(trace).contains(&row) {
            return Err(format!("the span in row {row} is of another trace than traces.parquet says"));
        }
    }
    for (name, count) in [(column::RESOURCE, sizes.resources), (column::SCOPE, sizes.scopes)] {
        if let Some(at) = column(name)?.iter().position(|&referred| referred as usize >= count) {
            return Err(format!("the span in row {} refers to a {name} that does not exist", rows.start + at));
        }
    }
    Ok(())
}

/// What was found so far.
#[derive(Default)]
struct Found {
    damages: Vec<Damage>,
}

impl Found {
    /// The result, unless it is damage.
    fn take<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                self.damages.push(Damage::of(&error).ok_or(error)?);
                Ok(None)
            }
        }
    }

    fn names(&self, file: BlockFile) -> bool {
        self.damages.iter().any(|damage| damage.file == file)
    }
}

#[cfg(test)]
mod tests;
