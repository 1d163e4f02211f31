//! Damage in each file of a block: named once, left alone for a while, and no more than that is lost.

use model::ErrorKind;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use parquet::file::metadata::ParquetMetaDataReader;
use spans::Promotion;
use traceql::{FieldExpr, Static};

use super::*;
use crate::block::tests::table_of;
use crate::block::{BlockWriter, SpansLayout};
use crate::index;
use crate::telemetry::Telemetry;
use crate::telemetry::tests::sum;
use crate::testing::{Fault, FaultyStore};

/// A block of two row groups in a store that can be changed, and a source that reads it.
struct Changeable {
    objects: Arc<dyn ObjectStore>,
    tenant: TenantId,
    entry: BlockEntry,
    registry: prometheus_client::registry::Registry,
    source: BlockSource,
}

impl Changeable {
    async fn new() -> Self {
        Self::stored_in(Arc::new(InMemory::new())).await
    }

    async fn stored_in(objects: Arc<dyn ObjectStore>) -> Self {
        let (tenant, id) = (TenantId::single(), BlockId::generate());
        let table = table_of(&(0..40).collect::<Vec<_>>());
        let promotion = Promotion::plan(&table.spans, Scope::Span).unwrap();
        let schema = promotion.schema(table.spans.schema_ref()).into();
        let layout = SpansLayout { schema, constant_columns: Default::default() };
        let mut writer = BlockWriter::new(id, &tenant, &layout, &table.resources, &table.scopes, None).unwrap();
        let (half, mut spans) = (table.trace_count() / 2, Vec::new());
        for traces in [0..half, half..table.trace_count()] {
            let group = table.slice_traces(traces).unwrap();
            spans.extend_from_slice(&writer.write(&promotion.apply(&group.spans).unwrap(), &group.traces).unwrap());
        }
        let (rest, mut block) = writer.finish(index::encode(&table).unwrap()).unwrap();
        spans.extend_from_slice(&rest);
        block.files.insert(0, (BlockFile::Spans, spans.into()));
        block.put(&tenant, objects.as_ref()).await.unwrap();
        Self::open(objects, tenant, block.entry())
    }

    fn open(objects: Arc<dyn ObjectStore>, tenant: TenantId, entry: BlockEntry) -> Self {
        let mut registry = prometheus_client::registry::Registry::default();
        let cache = BlockCache::new(1 << 20, Telemetry::register(&mut registry));
        let source = BlockSource::new(tenant.clone(), entry.clone(), objects.clone(), CpuPool::new(1), cache);
        Self { objects, tenant, entry, registry, source }
    }

    /// As after a restart.
    fn reopened(self) -> Self {
        Self::open(self.objects, self.tenant, self.entry)
    }

    fn path(&self, file: BlockFile) -> object_store::path::Path {
        paths::block_file(&self.tenant, &self.entry.id, file)
    }

    async fn content(&self, file: BlockFile) -> Vec<u8> {
        self.objects.get(&self.path(file)).await.unwrap().bytes().await.unwrap().to_vec()
    }

    async fn put(&self, file: BlockFile, content: Vec<u8>) {
        self.objects.put(&self.path(file), content.into()).await.unwrap();
    }

    /// Changes a file in one of several ways; `false` when there are no more of them.
    async fn damage(&self, file: BlockFile, way: usize) -> bool {
        let mut content = self.content(file).await;
        let length = content.len();
        match way {
            0 => content.iter_mut().rev().take(6).for_each(|byte| *byte ^= 0x55),
            1 => content.truncate(length / 2),
            2 => content.clear(),
            3 => {
                self.objects.delete(&self.path(file)).await.unwrap();
                return true;
            }
            _ => return false,
        }
        self.put(file, content).await;
        true
    }

    /// How often damage of such a file was counted.
    fn counted(&self, file: BlockFile) -> u64 {
        sum(&self.registry, &format!("mosso_storage_damaged_total{{file=\"{}\"}} ", file.kind()))
    }

    async fn read_group(&self, group: usize) -> Result<usize, Error> {
        let rows = 0..self.source.dimensions().await?.row_groups[group].spans.len();
        let fetched = self.source.fetch(group, std::slice::from_ref(&rows), &Projection::all()).await?;
        Ok(fetched.decode()?.num_rows())
    }
}

#[tokio::test]
async fn a_block_with_a_damaged_table_is_named_once_and_left_alone() {
    let mut block = Changeable::new().await;
    for file in [BlockFile::Directory, BlockFile::Resources, BlockFile::Scopes] {
        for way in 0.. {
            block = block.reopened();
            let whole = block.content(file).await;
            if !block.damage(file, way).await {
                break;
            }
            let error = block.source.dimensions().await.unwrap_err();
            assert_eq!(Damage::of(&error).unwrap().file, file, "{error}");
            block.put(file, whole).await;
            let again = block.source.dimensions().await.unwrap_err();
            assert_eq!((again.kind(), block.counted(file)), (ErrorKind::Corrupt, 1), "not read again: {again}");
        }
    }
}

#[tokio::test]
async fn a_row_group_with_damaged_traces_is_named_once_and_left_alone() {
    let mut block = Changeable::new().await;
    let whole = block.content(BlockFile::Traces).await;
    let mut changed = whole.clone();
    changed[20] ^= 1; // the first row group's
    for (damaged, is_readable) in [(Some(changed), true), (Some(whole[..10].to_vec()), false), (None, false)] {
        block = block.reopened();
        match damaged {
            Some(content) => block.put(BlockFile::Traces, content).await,
            None => block.objects.delete(&block.path(BlockFile::Traces)).await.unwrap(),
        }
        let error = block.source.traces(0).await.unwrap_err();
        assert_eq!(Damage::of(&error).unwrap().file, BlockFile::Traces, "{error}");
        assert_eq!(block.source.traces(1).await.is_ok(), is_readable, "the other row group");
        block.put(BlockFile::Traces, whole.clone()).await;
        let again = block.source.traces(0).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Corrupt, "not read again: {again}");
        assert_eq!(block.counted(BlockFile::Traces), if is_readable { 1 } else { 2 }, "once for each row group");
    }
}

#[tokio::test]
async fn a_damaged_index_is_named_and_costs_no_answer() {
    let conditions = Conditions::of(&FieldExpr::Literal(Static::Bool(false)));
    let mut block = Changeable::new().await;
    let whole = block.content(BlockFile::Index).await;
    for way in 0.. {
        block.put(BlockFile::Index, whole.clone()).await;
        block = block.reopened();
        if !block.damage(BlockFile::Index, way).await {
            break;
        }
        for _ in 0..2 {
            let rows = block.source.dimensions().await.unwrap().row_groups[0].spans.len();
            assert_eq!(block.read_group(0).await.unwrap(), rows);
            assert_eq!(block.source.may_match(std::slice::from_ref(&conditions)).await.unwrap(), [None]);
        }
        assert_eq!(block.counted(BlockFile::Index), 1, "{way}");
    }
}

#[tokio::test]
async fn a_damaged_row_group_leaves_the_others_readable() {
    let block = Changeable::new().await;
    let mut spans = block.content(BlockFile::Spans).await;
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::from(spans.clone())).unwrap();
    let columns = metadata.row_group(1).columns().iter().map(|chunk| chunk.byte_range());
    for (start, length) in columns {
        spans[start as usize..(start + length) as usize].fill(0xff);
    }
    block.put(BlockFile::Spans, spans).await;
    let error = block.read_group(1).await.unwrap_err();
    assert_eq!(Damage::of(&error).unwrap().file, BlockFile::Spans, "{error}");
    assert!(block.read_group(0).await.unwrap() > 0);
    assert!(block.read_group(1).await.is_err());
    assert_eq!(block.counted(BlockFile::Spans), 1);
}

/// No bytes at all make a reader panic or fail in a way that would fail a query over other blocks.
#[tokio::test]
async fn a_changed_byte_in_spans_is_damage_or_harmless() {
    let mut block = Changeable::new().await;
    let whole = block.content(BlockFile::Spans).await;
    for at in (0..whole.len()).step_by(whole.len() / 100 + 1) {
        block = block.reopened();
        let mut changed = whole.clone();
        changed[at] ^= 0x41;
        block.put(BlockFile::Spans, changed).await;
        for group in 0..2 {
            let read = block.read_group(group).await;
            assert!(read.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::Corrupt), "byte {at}: {read:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_ends_early_is_the_stores_fault_and_not_remembered() {
    let store = FaultyStore::default();
    let mut block = Changeable::stored_in(Arc::new(store.clone())).await;
    let conditions = Conditions::of(&FieldExpr::Literal(Static::Bool(false)));
    for call in 0.. {
        block = block.reopened();
        store.faults().plan(call, Fault::Truncated);
        let read = [block.read_group(0).await, block.read_group(1).await];
        let pruned = block.source.may_match(std::slice::from_ref(&conditions)).await.unwrap();
        if pruned[0].is_some() && read.iter().all(Result::is_ok) {
            assert!(call as usize > BlockFile::ALL.len(), "every file was read");
            break;
        }
        for error in read.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "call {call}: {error}");
        }
        for file in BlockFile::ALL {
            assert_eq!(block.counted(file), 0, "call {call}: {}", file.name());
        }
        for group in 0..2 {
            assert!(block.read_group(group).await.is_ok(), "call {call}");
        }
        assert!(block.source.may_match(std::slice::from_ref(&conditions)).await.unwrap()[0].is_some(), "call {call}");
    }
}
