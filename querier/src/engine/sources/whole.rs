//! Where the parts of traces lie that lie in several sources, and the traces put together.

use std::ops::Range;

use futures::FutureExt;
use hashbrown::{HashMap, HashSet};
use model::{BlockId, TimeRange, TraceId};
use spans::SpanTable;
use storage::source::Projection;

use super::{NumberedSource, QuerySources};
use crate::engine::budget::Held;
use crate::engine::concurrent::try_all;
use crate::engine::matcher::Matcher;
use crate::engine::parts::NumberedPart;
use crate::engine::scan::OpenSource;
use crate::engine::split_cache::SplitAtRest;
use crate::engine::{parts, table_bytes};
use crate::error::Error;

/// Traces that are put together at a time, and the spans from which on they are fewer.
const WHOLE_TRACES_AT_ONCE: usize = 256;
const WHOLE_SPANS_AT_ONCE: usize = 1 << 17;
/// Share of a query's memory for each of these spans: 512 bytes, twice while they are put together, and as much beside.
const MEMORY_BYTES_PER_SPAN: u64 = 2_048;

/// Traces and their parts, in the order of the sources; of each at least one.
pub(crate) struct Parts {
    pub by_trace: HashMap<TraceId, Vec<NumberedPart>>,
    spans_at_once: usize,
    _held: Held,
}

/// Traces that are put together, and the memory that they take.
pub(crate) struct WholeTraces {
    pub table: SpanTable,
    _held: Held,
}

impl QuerySources<'_> {
    /// All parts near the query's range of these traces, wherever they lie.
    pub async fn parts_of(&self, ids: &HashSet<TraceId>) -> Result<Parts, Error> {
        let found = self.find_parts(ids, &self.range).await?;
        self.hold_parts(found)
    }

    /// All parts near the range of these traces, which lie in some source, in the order of the sources. Blocks are only
    /// asked for traces that blocks list, or of which a part is live; and not for those of which it is known at rest
    /// ([`split_at_rest`](Self::split_at_rest)).
    pub async fn find_parts(
        &self,
        ids: &HashSet<TraceId>,
        range: &TimeRange,
    ) -> Result<HashMap<TraceId, Vec<NumberedPart>>, Error> {
        let (sources, concurrency) = (self.near(range), self.engine.config.max_concurrent_reads);
        let listed = self.listed(&sources).await?;
        let (unlisted, listing) = listed.apart(sources);
        let mut ids: Vec<TraceId> = ids.iter().copied().collect();
        ids.sort_unstable();
        let mut found = parts::find(&unlisted, &ids, concurrency, &self.budget).await?;
        ids.retain(|id| listed.has(id) || found.contains_key(id));
        let known = self.split_at_rest.get();
        let is_looked_through =
            |(_, block): &NumberedSource| known.is_some_and(|known| known.covers(&block.block_id()));
        let (looked_through, others): (Vec<_>, Vec<_>) = listing.into_iter().partition(is_looked_through);
        let known = known.map(|known| known_parts(&known.found, &looked_through, &ids)).unwrap_or_default();
        let in_others = parts::find(&others, &ids, concurrency, &self.budget).await?;
        ids.retain(|id| !known.contains_key(id));
        let unknown = parts::find(&looked_through, &ids, concurrency, &self.budget).await?;
        for (id, of_blocks) in known.into_iter().chain(in_others).chain(unknown) {
            let all = found.entry(id).or_default();
            all.extend(of_blocks);
            all.sort_unstable_by_key(|part| part.source);
        }
        Ok(found)
    }

    /// Holds the memory of what was found.
    pub fn hold_parts(&self, by_trace: HashMap<TraceId, Vec<NumberedPart>>) -> Result<Parts, Error> {
        let of_trace =
            |parts: &Vec<NumberedPart>| size_of::<(TraceId, Vec<NumberedPart>)>() + size_of_val(parts.as_slice());
        let _held = self.budget.hold(by_trace.values().map(of_trace).sum())?;
        let fitting = self.engine.config.max_memory_bytes_per_query / MEMORY_BYTES_PER_SPAN;
        let spans_at_once =
            usize::try_from(fitting).map_or(WHOLE_SPANS_AT_ONCE, |spans| spans.min(WHOLE_SPANS_AT_ONCE));
        Ok(Parts { by_trace, spans_at_once, _held })
    }

    /// One table with some of these traces, put together in the order in which their parts arrived. A part that cannot be
    /// read is missing in it, and columns that are not wanted may be empty.
    pub async fn read_whole(
        &self,
        parts: &Parts,
        traces: impl IntoIterator<Item = TraceId>,
        columns: &Projection,
    ) -> Result<WholeTraces, Error> {
        let mut by_group: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
        for part in traces.into_iter().flat_map(|id| &parts.by_trace[&id]) {
            by_group.entry(part.group()).or_default().push(part.at.trace);
        }
        let mut by_group: Vec<_> = by_group.into_iter().collect();
        by_group.sort_unstable_by_key(|((source, group), _)| (self.arrival[*source], *group));
        let read = |(at, mut traces): (_, Vec<usize>)| {
            traces.sort_unstable();
            self.read_group_whole(at, traces, columns).boxed()
        };
        let tables = by_group.into_iter().map(read).collect();
        let tables = try_all(self.engine.config.max_concurrent_reads, tables).await?;
        let (tables, held): (Vec<SpanTable>, Vec<Held>) = tables.into_iter().flatten().unzip();
        // until they are together there are the parts and the whole
        let whole_held = self.budget.hold(tables.iter().map(table_bytes::memory_bytes).sum())?;
        let table = self.run_sized(parts::effort_of(&tables), move || parts::merge_parts(&tables)).await??;
        drop(held);
        Ok(WholeTraces { table, _held: whole_held })
    }

    async fn read_group_whole(
        &self,
        (source, group): (usize, usize),
        traces: Vec<usize>,
        columns: &Projection,
    ) -> Result<Option<(SpanTable, Held)>, Error> {
        let source = self.all[source].clone();
        let block_id = source.block_id();
        let read = async {
            let source = OpenSource::open(source).await?;
            let _turn = self.turn().await?;
            let group = source.group(group).await?;
            let (fetched, budget) = (parts::fetch_whole(&group, &traces, columns).await?, self.budget.clone());
            let (effort, decode) = (fetched.effort(), move || parts::decode_whole(fetched, &traces, &budget));
            let table = self.run_sized(effort, decode).await??;
            let held = self.budget.hold(table_bytes::memory_bytes(&table))?;
            Ok((table, held))
        };
        self.budget.if_readable(block_id, read).await
    }
}

/// The parts that these blocks have of traces of which it is known at rest, without those that were deleted meanwhile.
fn known_parts(
    at_rest: &SplitAtRest,
    blocks: &[NumberedSource],
    ids: &[TraceId],
) -> HashMap<TraceId, Vec<NumberedPart>> {
    let blocks: HashMap<BlockId, &NumberedSource> = blocks.iter().map(|block| (block.1.block_id(), block)).collect();
    let of_trace = |id: &TraceId| {
        let parts = at_rest.get(id)?.parts.iter().filter_map(|(block_id, part)| {
            let (number, source) = blocks.get(block_id)?;
            let is_deleted = source.deleted_traces().is_some_and(|deleted| deleted.contains(id));
            (!is_deleted).then(|| NumberedPart::of(*number, part))
        });
        Some((*id, parts.collect()))
    };
    ids.iter().filter_map(of_trace).filter(|(_, parts): &(_, Vec<NumberedPart>)| !parts.is_empty()).collect()
}

impl Parts {
    /// The traces in the order of their first parts, so that those that follow each other lie in few row groups.
    pub fn in_order(&self) -> Vec<TraceId> {
        let mut traces: Vec<TraceId> = self.by_trace.keys().copied().collect();
        traces.sort_unstable_by_key(|id| (self.by_trace[id].first().map(NumberedPart::place), *id));
        traces
    }

    /// Those of them in which a finder may find something.
    pub fn candidates(&self, matcher: &Matcher) -> Vec<TraceId> {
        let mut traces = self.in_order();
        traces.retain(|id| self.may_match(matcher, id));
        traces
    }

    /// Whether a finder may find something in a trace that has parts here. `false` is certain.
    pub fn may_match(&self, matcher: &Matcher, id: &TraceId) -> bool {
        matcher.may_find_in_traces_of(self.by_trace[id].iter().map(|part| part.span_count).sum())
    }

    /// Cuts a list of traces into runs that are put together at a time.
    pub fn batches(&self, traces: &[TraceId]) -> Vec<Range<usize>> {
        let mut batches: Vec<Range<usize>> = Vec::new();
        let mut room = 0;
        for (number, id) in traces.iter().enumerate() {
            let span_count = self.by_trace.get(id).into_iter().flatten().map(|part| part.span_count).sum();
            let fits = |batch: &&mut Range<usize>| span_count <= room && batch.len() < WHOLE_TRACES_AT_ONCE;
            match batches.last_mut().filter(fits) {
                Some(batch) => batch.end += 1,
                None => {
                    batches.push(number..number + 1);
                    room = self.spans_at_once;
                }
            }
            room = room.saturating_sub(span_count);
        }
        batches
    }
}
