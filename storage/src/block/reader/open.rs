//! How a block and its row groups are opened: with the first question, once for all that ask at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use bytes::Bytes;
use futures::FutureExt;
use model::Scope;
use parquet::file::metadata::ParquetMetaData;
use spans::batch_memory_bytes;
use spans::schema::trace_column;

use super::BlockSource;
use crate::block::columns::FileColumns;
use crate::block::content::Content;
use crate::block::directory::{DecodedGroup, Directory};
use crate::block::footer::{KEYS_METADATA, LIST_KEYS_METADATA, keys_from_json};
use crate::block::group_traces::in_group;
use crate::block::meta::BlockMeta;
use crate::block::open_block::{Layout, OpenBlock, OpenRowGroup};
use crate::block::version1;
use crate::damage::{Damage, DamagedPart};
use crate::error::Error;
use crate::paths::{self, BlockFile};
use crate::source::Dimensions;

impl BlockSource {
    pub(in crate::block) async fn opened(&self) -> Result<Arc<OpenBlock>, Error> {
        let open = || async { Ok(Arc::new(self.guarded(DamagedPart::Tables, self.open()).await?)) }.boxed();
        self.cache.opened.get_or_load(&self.entry.id, open).await
    }

    /// Sizes and checksums of the files.
    pub(in crate::block) async fn meta(&self) -> Result<BlockMeta, Error> {
        self.guarded(DamagedPart::Meta, BlockMeta::read(self.objects.as_ref(), &self.tenant, &self.entry)).await
    }

    /// The same; `None` when it is damaged: the small tables are then read as they are.
    async fn meta_if_whole(&self) -> Result<Option<BlockMeta>, Error> {
        match self.meta().await {
            Err(error) if Damage::of(&error).is_some() => Ok(None),
            result => result.map(Some),
        }
    }

    async fn open(&self) -> Result<OpenBlock, Error> {
        match self.entry.files.directory_bytes {
            0 => self.open_whole().await,
            _ => self.open_directory().await,
        }
    }

    async fn open_directory(&self) -> Result<OpenBlock, Error> {
        let fetch = async |name: BlockFile| self.file(name).fetch_all().await;
        let (directory, resources, scopes) = futures::try_join!(
            Directory::open(self.file(BlockFile::Directory)),
            fetch(BlockFile::Resources),
            fetch(BlockFile::Scopes),
        )?;
        let (resources, scopes) = futures::try_join!(
            self.small_table(BlockFile::Resources, resources, directory.resources_crc32),
            self.small_table(BlockFile::Scopes, scopes, directory.scopes_crc32),
        )?;
        let (spans, traces) = directory.row_groups.last().map_or((0, 0), |last| (last.spans.end, last.traces.end));
        if (spans as u64, traces as u64) != (self.entry.spans, self.entry.traces) {
            let path = paths::block_file(&self.tenant, &self.entry.id, BlockFile::Directory);
            return Err(Error::block_damaged(path.as_ref(), "it has other counts than the manifest"));
        }
        let memory_bytes = directory.memory_bytes() + batch_memory_bytes(&[&resources, &scopes]);
        let (row_groups, keys) = (directory.row_groups.clone(), directory.keys.clone());
        Ok(OpenBlock {
            dimensions: Arc::new(Dimensions { resources, scopes, row_groups, keys }),
            list_keys: directory.list_keys.iter().map(|(_, key)| key.clone()).collect(),
            layout: Layout::Directory(directory),
            memory_bytes,
        })
    }

    async fn open_whole(&self) -> Result<OpenBlock, Error> {
        let spans_file = self.file(BlockFile::Spans);
        let fetch = async |name: BlockFile| self.file(name).fetch_all().await;
        let (meta, spans, traces, resources, scopes) = futures::try_join!(
            self.meta_if_whole(),
            spans_file.load_metadata(self.entry.spans, &self.cpu),
            fetch(BlockFile::Traces),
            fetch(BlockFile::Resources),
            fetch(BlockFile::Scopes),
        )?;
        let crc32 = |name| meta.as_ref().and_then(|meta| meta.file(name)).map(|listed| listed.crc32);
        let (traces, resources, scopes) = futures::try_join!(
            self.decode(BlockFile::Traces, traces, crc32(BlockFile::Traces)),
            self.decode(BlockFile::Resources, resources, crc32(BlockFile::Resources)),
            self.decode(BlockFile::Scopes, scopes, crc32(BlockFile::Scopes)),
        )?;
        let damaged = || Error::block_damaged(spans_file.path.as_ref(), "the footer does not list its attribute keys");
        let (keys, list_keys) = footer_keys(spans.metadata()).ok_or_else(damaged)?;
        let tables = self.cpu.run(move || version1::Tables::of(spans, &traces)).await??;
        let memory_bytes = tables.memory_bytes() + batch_memory_bytes(&[&resources, &scopes]);
        let row_groups = tables.row_groups.clone();
        Ok(OpenBlock {
            dimensions: Arc::new(Dimensions { resources, scopes, row_groups, keys }),
            list_keys: list_keys.into_iter().map(|(_, key)| key).collect(),
            layout: Layout::Whole(tables),
            memory_bytes,
        })
    }

    /// A table that blocks share where they say the same.
    async fn small_table(&self, name: BlockFile, content: Bytes, crc32: u32) -> Result<RecordBatch, Error> {
        let file = self.file(name);
        file.check(&content, crc32)?;
        let content = Content::new(content, crc32);
        let load = || file.decode_all(content.bytes().clone(), None, &self.cpu).boxed();
        self.cache.small_tables.get_or_load(&content, load).await
    }

    /// The columns of `spans.parquet`.
    pub(in crate::block) async fn columns(&self, opened: &OpenBlock) -> Result<FileColumns, Error> {
        match &opened.layout {
            Layout::Directory(directory) => {
                let load = || directory.columns(&self.cpu).boxed();
                self.cache.columns.get_or_load(&directory.schema, load).await
            }
            Layout::Whole(tables) => Ok(tables.columns.clone()),
        }
    }

    async fn decode(&self, name: BlockFile, content: Bytes, crc32: Option<u32>) -> Result<RecordBatch, Error> {
        self.file(name).decode_all(content, crc32, &self.cpu).await
    }

    pub(in crate::block) async fn opened_group(&self, group: usize) -> Result<Arc<OpenRowGroup>, Error> {
        let opened = self.opened().await?;
        let open = async || {
            let open = self.open_group(&opened, group);
            Ok(Arc::new(self.guarded(DamagedPart::RowGroup(group), open).await?))
        };
        self.cache.groups.get_or_load(&(self.entry.id, group), || open().boxed()).await
    }

    async fn open_group(&self, opened: &OpenBlock, group: usize) -> Result<OpenRowGroup, Error> {
        let rows = &opened.dimensions.row_groups[group];
        let directory = match &opened.layout {
            Layout::Directory(directory) => directory,
            Layout::Whole(tables) => {
                let (spans, traces) = (tables.chunks[group].clone(), tables.traces[group].clone());
                // its memory is counted with the block's
                return Ok(OpenRowGroup { spans, traces, of_traces: None, memory_bytes: 0 });
            }
        };
        let file = self.file(BlockFile::Traces);
        let stored = directory.row_group(group, &file).await?;
        let decoded = file.decode(&self.cpu, move || stored.decode()).await?;
        let DecodedGroup { spans, of_traces, traces } = decoded.map_err(|error| file.damaged(&error))?;
        let traces = in_group(&traces, rows).map_err(|reason| Error::block_damaged(file.path.as_ref(), reason))?;
        let memory_bytes = spans.memory_bytes() + of_traces.memory_bytes() + batch_memory_bytes(&[&traces]);
        Ok(OpenRowGroup { spans, traces, of_traces: Some(of_traces), memory_bytes })
    }

    /// The column `services` of a row group's traces.
    pub(in crate::block) async fn services_of(&self, group: usize) -> Result<ArrayRef, Error> {
        let read = || self.read_services(group).boxed();
        self.cache.services.get_or_load(&(self.entry.id, group), read).await
    }

    async fn read_services(&self, group: usize) -> Result<ArrayRef, Error> {
        let (opened, opened_group) = (self.opened().await?, self.opened_group(group).await?);
        match (&opened.layout, &opened_group.of_traces) {
            (Layout::Directory(directory), Some(of_traces)) => {
                let file = self.file(BlockFile::Traces);
                let read = directory.services(group, of_traces, &file, &self.cpu);
                self.guarded(DamagedPart::RowGroup(group), read).await
            }
            _ => Ok(spans::column(&opened_group.traces, trace_column::SERVICES)?.clone()),
        }
    }
}

/// The attribute keys that the footer of `spans.parquet` lists: all, and those of the list `attributes`.
fn footer_keys(metadata: &ParquetMetaData) -> Option<(Keys, Keys)> {
    let keys_of = |name: &str| {
        let entry = metadata.file_metadata().key_value_metadata()?.iter().find(|entry| entry.key == name)?;
        keys_from_json(entry.value.as_deref()?)
    };
    Some((keys_of(KEYS_METADATA)?, keys_of(LIST_KEYS_METADATA)?))
}

type Keys = BTreeSet<(Scope, String)>;
