//! The inputs of a job → the files of new blocks, a row group at a time.
//!
//! What is in memory: the `traces`, `resources` and `scopes` tables of the inputs, whose size the planner limits; a window
//! of decoded spans of each input; one row group being put together; the small files of the block being written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashSet;
use model::{BlockId, TenantId, TraceId};
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use spans::{ById, Copies, MergedTable, Promotion, SpanTable, Traces};
use tokio::io::AsyncWriteExt;

use super::cursor::{MergeCursor, Target, Windows};
use super::division::{Division, Input, NewRowGroup, RowGroup, Share, divide};
use super::planner::{Job, Limits};
use crate::block::{BlockWriter, Continued, EncodedBlock, EncodedColumns, ROW_GROUP_ROWS, SpansLayout, WholeBlock};
use crate::cpu::CpuPool;
use crate::deletion::DeletedTraces;
use crate::error::Error;
use crate::index::IndexBuilder;
use crate::manifest::BlockEntry;
use crate::paths::{self, BlockFile};

/// Memory of a decoded span in a table with some sixty attribute columns, counted generously.
const SPAN_BYTES: usize = 640;

/// What is kept before it is sent: stores take parts of 5 MiB and more.
const PART_BYTES: usize = 5 << 20;
/// Parts that are under way at once, while the next one is gathered.
const PARTS_AT_ONCE: usize = 1;

/// New blocks, stored but in no manifest.
pub(super) struct Merged {
    /// Of the new blocks.
    pub level: u8,
    pub blocks: Vec<BlockEntry>,
    /// Copies that were left out.
    pub dropped_spans: usize,
    /// Traces of which several inputs had a part.
    pub joined_traces: usize,
    /// Spans of deleted traces that were left out.
    pub deleted_spans: u64,
}

/// Why a job came to nothing.
#[derive(Debug)]
pub(super) struct Failure {
    /// The input that cannot be read, when it is one; the others may be merged without it.
    pub input: Option<BlockId>,
    pub error: Box<Error>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { input: None, error: Box::new(error) }
    }
}

/// Where and how jobs of one tenant are done.
pub(super) struct Merger<'a> {
    pub objects: &'a Arc<dyn ObjectStore>,
    pub cpu: &'a CpuPool,
    pub tenant: &'a TenantId,
    pub limits: &'a Limits,
    /// Memory for spans.
    pub budget_bytes: usize,
    /// Traces that new blocks are not to have, and the number of the newest of their tombstones.
    pub deleted: &'a Arc<DeletedTraces>,
    pub redacted_through: u64,
}

impl Merger<'_> {
    /// Does a job. `started` gets the id of every new block before its first byte is stored; `go_on` is asked before each
    /// row group.
    pub(super) async fn merge(
        &self,
        job: &Job,
        started: &mut Vec<BlockId>,
        go_on: impl Fn() -> Result<(), Error>,
    ) -> Result<Merged, Failure> {
        let mut inputs = self.open(job).await?;
        let budget_rows = (self.budget_bytes / SPAN_BYTES).max(1);
        let row_group_rows = (budget_rows / 8 * 3).clamp(1, ROW_GROUP_ROWS);
        let (division, layout, target) = self.prepare(job, &inputs, budget_rows, row_group_rows).await?;
        let level = job.inputs.iter().map(|input| input.level).max().unwrap_or_default().saturating_add(1);
        let written_nanos = job.written_nanos();
        let Division { shares, deleted_spans } = division;
        let mut merged = Merged { level, blocks: Vec::new(), dropped_spans: 0, joined_traces: 0, deleted_spans };
        for share in shares {
            let id = job.newest_id().another();
            started.push(id);
            let block = NewBlock::begin(self, id, &layout, &target)?;
            let entry = self.write(block, share, &mut inputs, &target, &mut merged, &go_on).await?;
            merged.blocks.push(BlockEntry { level, written_nanos, redacted_through: self.redacted_through, ..entry });
        }
        for input in &mut inputs {
            of_input(input.entry.id, input.verify().await)?;
        }
        Ok(merged)
    }

    /// Opens all inputs, in the order in which a query puts the parts of a trace together: siblings keep theirs, and of the
    /// copies of a span the same one counts.
    async fn open(&self, job: &Job) -> Result<Vec<WholeBlock>, Failure> {
        let mut entries = job.inputs.clone();
        entries.sort_by_key(|entry| entry.id);
        let mut inputs = Vec::with_capacity(entries.len());
        for entry in entries {
            let id = entry.id;
            let opened = WholeBlock::open(self.tenant, entry, self.objects.clone(), self.cpu.clone()).await;
            inputs.push(of_input(id, opened)?);
        }
        Ok(inputs)
    }

    async fn prepare(
        &self,
        job: &Job,
        inputs: &[WholeBlock],
        budget_rows: usize,
        row_group_rows: usize,
    ) -> Result<(Division, SpansLayout, Arc<Target>), Error> {
        let row_count = inputs.iter().map(|input| input.entry.spans).sum();
        let columns = inputs.iter().flat_map(WholeBlock::attribute_columns);
        let promotion = Promotion::merge(columns, row_count);
        let layout = SpansLayout {
            schema: promotion.schema(&spans::schema::spans()).into(),
            constant_columns: constant_everywhere(inputs),
        };
        let schema = layout.schema.clone();
        let tables: Vec<_> = inputs.iter().map(|input| input.traces.clone()).collect();
        let dimensions: Vec<_> = inputs.iter().map(|input| (input.resources.clone(), input.scopes.clone())).collect();
        let lists: Vec<_> = inputs.iter().map(|input| input.continued.clone()).collect();
        let row_groups: Vec<_> = inputs.iter().map(|input| input.traces_of_groups.clone()).collect();
        let (group, written_nanos, limits) = (job.group, job.written_nanos(), *self.limits);
        let windows = Windows::within(budget_rows - row_group_rows, inputs.len());
        let deleted = self.deleted.clone();
        let decide = move || -> Result<_, Error> {
            let views = tables.iter().map(Traces::of).collect::<Result<Vec<_>, _>>()?;
            let with_groups = views.into_iter().zip(row_groups);
            let traces: Vec<_> = with_groups
                .map(|(traces, row_groups)| Input { traces, by_id: ById::of(&traces), row_groups })
                .collect();
            let division = divide(&traces, group, written_nanos, &limits, row_group_rows as u64, &deleted)?;
            let pairs: Vec<_> = dimensions.iter().map(|(resources, scopes)| (resources, scopes)).collect();
            let dimensions = spans::merge_dimensions(&pairs)?;
            let continued = still_continued(&traces, &lists, &deleted);
            Ok((division, Target { promotion, schema, dimensions, windows, continued }))
        };
        let (division, target) = self.cpu.run(decide).await??;
        Ok((division, layout, Arc::new(target)))
    }

    /// Writes one new block and stores its files.
    async fn write(
        &self,
        mut block: NewBlock,
        share: Share,
        inputs: &mut [WholeBlock],
        target: &Arc<Target>,
        merged: &mut Merged,
        go_on: &impl Fn() -> Result<(), Error>,
    ) -> Result<BlockEntry, Failure> {
        let mut cursors: Vec<MergeCursor> =
            (0..inputs.len()).map(|input| MergeCursor::new(input, share.traces_of(input))).collect();
        let filled = async {
            for row_group in &share.row_groups {
                go_on()?;
                match row_group {
                    NewRowGroup::Whole { input, group } => {
                        let held_rows = cursors.iter().map(MergeCursor::held_rows).sum();
                        self.take_over(&mut block, *input, &mut inputs[*input], *group, held_rows, target).await?;
                    }
                    NewRowGroup::Joined(rows) => {
                        let tables = self.take(&mut cursors, rows, inputs, target).await?;
                        let added = block.add(tables, self.cpu).await?;
                        merged.dropped_spans += added.dropped_spans;
                        merged.joined_traces += added.joined_traces;
                    }
                }
            }
            Ok(())
        };
        match filled.await {
            Ok(()) => Ok(block.finish(self).await?),
            Err(failure) => {
                block.abort().await;
                Err(failure)
            }
        }
    }

    /// Takes a row group of an input over: its spans are read for the index, columns that are the same stay as they are.
    async fn take_over(
        &self,
        block: &mut NewBlock,
        number: usize,
        input: &mut WholeBlock,
        group: usize,
        held_rows: usize,
        target: &Arc<Target>,
    ) -> Result<(), Failure> {
        let id = input.entry.id;
        let same = target.same_columns(input.schema());
        let places: Arc<BTreeSet<usize>> = Arc::new(same.values().copied().collect());
        let rows: Vec<u32> = input.traces_of_groups[group].clone().map(|row| row as u32).collect();
        let mut left = rows.as_slice();
        while !left.is_empty() {
            let next = MergeCursor::next_of_group(number, input, left, held_rows, target, self.cpu).await;
            let (table, count) = of_input(id, next)?;
            left = &left[count..];
            block.add_rows(table, &places, self.cpu).await?;
        }
        let encoded = of_input(id, input.encoded_columns(group, &same).await)?;
        Ok(block.end_row_group(encoded, self.cpu).await?)
    }

    /// The traces of a row group, from every input.
    async fn take(
        &self,
        cursors: &mut [MergeCursor],
        row_group: &RowGroup,
        inputs: &mut [WholeBlock],
        target: &Arc<Target>,
    ) -> Result<Vec<SpanTable>, Failure> {
        let mut tables = Vec::new();
        for (number, (input, traces)) in inputs.iter_mut().zip(row_group).enumerate() {
            let held_rows = cursors.iter().map(MergeCursor::held_rows).sum();
            let taken = cursors[number].take(input, traces, held_rows, target, self.cpu).await;
            tables.extend(of_input(input.entry.id, taken)?);
        }
        Ok(tables)
    }
}

fn of_input<T>(id: BlockId, result: Result<T, Error>) -> Result<T, Failure> {
    result.map_err(|error| Failure { input: Some(id), error: Box::new(error) })
}

/// The traces that blocks besides the inputs have, too: those that all inputs list that have them, for of all blocks that
/// have a trace one may not list it.
fn still_continued(inputs: &[Input<'_>], lists: &[Continued], deleted: &DeletedTraces) -> Continued {
    let lists = lists.iter().map(Option::as_deref).collect::<Option<Vec<_>>>()?;
    let listed: HashSet<TraceId> = lists.iter().copied().flatten().copied().collect();
    let is_listed_by_all = |id: &TraceId| {
        let mut holders = inputs.iter().zip(&lists).filter(|(input, _)| input.by_id.find(&input.traces, id).is_some());
        !deleted.contains(id) && holders.all(|(_, list)| list.contains(id))
    };
    Some(Arc::new(listed.into_iter().filter(is_listed_by_all).collect()))
}

/// Columns with one value in all rows of all inputs.
fn constant_everywhere(inputs: &[WholeBlock]) -> BTreeSet<String> {
    let constant: Vec<BTreeMap<String, Option<Vec<u8>>>> = inputs.iter().map(WholeBlock::constant_columns).collect();
    let Some((first, others)) = constant.split_first() else { return BTreeSet::new() };
    let everywhere = first.iter().filter(|(name, value)| others.iter().all(|other| other.get(*name) == Some(value)));
    everywhere.map(|(name, _)| name.clone()).collect()
}

/// A block under way.
struct NewBlock {
    id: BlockId,
    /// Lent to the pool while they work.
    writers: Option<(BlockWriter, IndexBuilder)>,
    /// Where `spans.parquet` goes.
    path: Path,
    spans: BufWriter,
}

struct Added {
    dropped_spans: usize,
    joined_traces: usize,
}

impl NewBlock {
    fn begin(merger: &Merger<'_>, id: BlockId, layout: &SpansLayout, target: &Target) -> Result<Self, Error> {
        let (resources, scopes) = (&target.dimensions.resources, &target.dimensions.scopes);
        let writer = BlockWriter::new(id, merger.tenant, layout, resources, scopes, target.continued.clone())?;
        let path = paths::block_file(merger.tenant, &id, BlockFile::Spans);
        let spans = BufWriter::with_capacity(merger.objects.clone(), path.clone(), PART_BYTES)
            .with_max_concurrency(PARTS_AT_ONCE);
        Ok(Self { id, writers: Some((writer, IndexBuilder::default())), path, spans })
    }

    /// Adds traces as one row group.
    async fn add(&mut self, tables: Vec<SpanTable>, cpu: &CpuPool) -> Result<Added, Error> {
        let (bytes, added) =
            self.with_writers(cpu, move |writer, index| join_and_write(writer, index, &tables)).await?;
        self.send(bytes).await?;
        Ok(added)
    }

    /// Adds traces to the row group under way, of which some columns will come encoded.
    async fn add_rows(&mut self, table: SpanTable, encoded: &Arc<BTreeSet<usize>>, cpu: &CpuPool) -> Result<(), Error> {
        let encoded = encoded.clone();
        self.with_writers(cpu, move |writer, index| {
            index.add(&table)?;
            writer.add_rows(&table.spans, &table.traces, &encoded)
        })
        .await
    }

    /// Writes the row group under way.
    async fn end_row_group(&mut self, encoded: EncodedColumns, cpu: &CpuPool) -> Result<(), Error> {
        let bytes = self.with_writers(cpu, move |writer, _| writer.end_row_group(encoded)).await?;
        self.send(bytes).await
    }

    /// Does this on the pool.
    async fn with_writers<T: Send + 'static>(
        &mut self,
        cpu: &CpuPool,
        work: impl FnOnce(&mut BlockWriter, &mut IndexBuilder) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (mut writer, mut index) = self.writers.take().ok_or(Error::Stopping)?;
        let (writers, done) = cpu
            .run(move || {
                let done = work(&mut writer, &mut index);
                ((writer, index), done)
            })
            .await?;
        self.writers = Some(writers);
        done
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.spans.put(bytes).await.map_err(Error::objects("write", &self.path))
    }

    /// Stores what is left, `meta.json` last. What was sent is taken back when that fails.
    async fn finish(mut self, merger: &Merger<'_>) -> Result<BlockEntry, Error> {
        let block = match self.encode_rest(merger.cpu).await {
            Ok(block) => block,
            Err(error) => {
                self.abort().await;
                return Err(error);
            }
        };
        debug_assert_eq!(block.meta.id, self.id);
        // takes back by itself what cannot be completed
        self.spans.shutdown().await.map_err(|error| Error::objects("write", &self.path)(from_io(error)))?;
        block.put(merger.tenant, merger.objects.as_ref()).await?;
        Ok(block.entry())
    }

    async fn encode_rest(&mut self, cpu: &CpuPool) -> Result<EncodedBlock, Error> {
        let (writer, index) = self.writers.take().ok_or(Error::Stopping)?;
        let (rest, block) = cpu.run(move || writer.finish(index.finish()?)).await.flatten()?;
        self.send(rest).await?;
        Ok(block)
    }

    /// Takes back what was sent, as far as that goes.
    async fn abort(&mut self) {
        if let Err(error) = self.spans.abort().await {
            tracing::debug!(path = %self.path, %error, "an unfinished upload could not be taken back");
        }
    }
}

/// The store's error that a writer wrapped.
fn from_io(error: std::io::Error) -> object_store::Error {
    error
        .downcast::<object_store::Error>()
        .unwrap_or_else(|other| object_store::Error::Generic { store: "writer", source: other.into() })
}

fn join_and_write(
    writer: &mut BlockWriter,
    index: &mut IndexBuilder,
    tables: &[SpanTable],
) -> Result<(Bytes, Added), Error> {
    let MergedTable { table, dropped_spans, joined_traces } = spans::merge_tables(tables, Copies::DropAll)?;
    index.add(&table)?;
    let bytes = writer.write(&table.spans, &table.traces)?;
    Ok((bytes, Added { dropped_spans, joined_traces }))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use spans::TableBuilder;
    use spans::testing::shop_request;

    use super::*;

    #[test]
    fn a_trace_stays_listed_if_all_inputs_that_have_it_list_it() {
        let table = |seed| {
            let mut builder = TableBuilder::default();
            builder.append(&shop_request(seed, 3, 1).encode_to_vec()).unwrap();
            builder.snapshot().unwrap()
        };
        let tables = [table(1), table(1), table(2)];
        let inputs = tables.each_ref().map(|table| {
            let traces = table.traces().unwrap();
            Input { traces, by_id: ById::of(&traces), row_groups: Vec::new() }
        });
        let shared = [0, 1].map(|row| inputs[0].traces.id(row));
        let alone = inputs[2].traces.id(0);
        let list = |ids: &[TraceId]| Some(Arc::new(ids.iter().copied().collect::<HashSet<_>>()));
        let lists = [list(&shared), list(&[shared[1]]), list(&[alone])];
        let nothing = DeletedTraces::new();
        assert_eq!(still_continued(&inputs, &lists, &nothing), list(&[shared[1], alone]));
        assert_eq!(still_continued(&inputs, &lists, &[alone].into()), list(&[shared[1]]));
        let unknown = [list(&shared), None, list(&[alone])];
        assert_eq!(still_continued(&inputs, &unknown, &nothing), None, "nor is it known of the new block");
    }
}
