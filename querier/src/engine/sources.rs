//! The sources that one query reads, and what reading them has cost.
//!
//! Owns how the parts of traces that lie in several sources are found and put together; which traces do is in `split.rs`.
//! What is looked for in them is the affair of each question.

pub(crate) mod split;

use std::ops::Range;
use std::sync::Arc;

use futures::FutureExt;
use hashbrown::{HashMap, HashSet};
use model::{TimeRange, TraceId};
use spans::SpanTable;
use storage::source::{Projection, Source};

use self::split::SplitTraces;
use crate::engine::budget::{Budget, Held};
use crate::engine::candidates::candidates;
use crate::engine::concurrent::try_all;
use crate::engine::matcher::{DecidedMasks, Matcher};
use crate::engine::parts::PartAt;
use crate::engine::prune::Pruned;
use crate::engine::scan::{FetchedRows, OpenGroup, OpenSource};
use crate::engine::turns::Turn;
use crate::engine::{Engine, parts, plan, prune, table_bytes};
use crate::error::Error;

/// Traces that are put together at a time, and the spans from which on they are fewer.
const WHOLE_TRACES_AT_ONCE: usize = 256;
const WHOLE_SPANS_AT_ONCE: usize = 1 << 17;
/// Share of a query's memory for each of these spans: 512 bytes, twice while they are put together, and as much beside.
const MEMORY_BYTES_PER_SPAN: u64 = 2_048;

/// Sources of a query, while it runs.
pub(crate) struct QuerySources<'a> {
    pub engine: &'a Engine,
    /// Newest first. Sources are known by their number here.
    pub all: Vec<Arc<dyn Source>>,
    /// Place of each source in the order in which their spans arrived.
    arrival: Vec<usize>,
    /// What the query asks about.
    pub range: TimeRange,
    pub budget: Arc<Budget>,
}

impl<'a> QuerySources<'a> {
    pub fn new(engine: &'a Engine, budget: Arc<Budget>, sources: Vec<Arc<dyn Source>>, range: TimeRange) -> Self {
        let (arrival, sources): (Vec<_>, Vec<_>) = plan::newest_first_with_arrival(sources).into_iter().unzip();
        budget.plan(plan::metrics(&sources, &range));
        Self { engine, all: sources, arrival, range, budget }
    }

    /// The sources with spans in the range, by number.
    pub fn in_range(&self) -> impl Iterator<Item = (usize, &Arc<dyn Source>)> {
        self.all.iter().enumerate().filter(|(_, source)| source.time_range().overlaps(&self.range))
    }

    /// The sources that may have parts of traces of which a part lies in `range`.
    pub fn near(&self, range: &TimeRange) -> Vec<(usize, Arc<dyn Source>)> {
        self.numbers_near(range).map(|number| (number, self.all[number].clone())).collect()
    }

    fn numbers_near(&self, range: &TimeRange) -> impl Iterator<Item = usize> {
        let range = range.widened(self.engine.config.trace_reach_nanos());
        (0..self.all.len()).filter(move |&number| self.all[number].time_range().overlaps(&range))
    }

    /// Whether sources may have parts of traces before the range.
    pub fn begins_before_range(&self) -> bool {
        let mut starts = self.numbers_near(&self.range).map(|number| self.all[number].time_range().start_nanos);
        starts.any(|start_nanos| start_nanos < self.range.start_nanos)
    }

    /// Does CPU-bound work for the query, which ends soon after nobody waits for it any more.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let cancellation = self.budget.cancellation.clone();
        Ok(self.engine.cpu.run_for(&self.budget.cpu_time, move || cancellation.during(work)).await?)
    }

    /// The same with work on a row group, which is done at once where that has few rows.
    pub async fn run_on<T: Send + 'static>(
        &self,
        group: &OpenGroup,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        if !group.is_small() {
            return self.run(work).await;
        }
        Ok(self.engine.cpu.run_here(&self.budget.cpu_time, || self.budget.cancellation.during(work))?)
    }

    /// See [`Budget::turn`].
    pub async fn turn(&self) -> Result<Turn, Error> {
        self.budget.turn().await
    }

    /// What the small tables of a row group say of a query, and its traces that may match and lie in no other source; counts
    /// these.
    pub async fn candidates(
        &self,
        group: &OpenGroup,
        matcher: &Arc<Matcher>,
        pruned: &Pruned,
        split: &HashSet<TraceId>,
    ) -> Result<(Arc<DecidedMasks>, Vec<usize>), Error> {
        let (decided, mut wanted) = self.run_on(group, candidates(group, matcher, pruned, &self.range)).await??;
        if !split.is_empty() {
            let traces = group.traces()?;
            wanted.retain(|&trace| !split.contains(&traces.id(trace)));
        }
        self.budget.count_traces(wanted.len());
        Ok((decided, wanted))
    }

    /// Fetches what the finder needs of some traces of a row group: where it pays, first the columns of its filters and then
    /// the others for traces that may match. `keep` takes traces out before each read. `None` when no trace is left.
    pub async fn fetch_candidates(
        &self,
        matcher: &Arc<Matcher>,
        decided: &Arc<DecidedMasks>,
        group: &OpenGroup,
        wanted: &mut Vec<usize>,
        keep: impl Fn(&mut Vec<usize>) -> Result<(), Error>,
    ) -> Result<Option<FetchedRows>, Error> {
        keep(wanted)?;
        let first_columns = matcher.first_projection().filter(|_| !wanted.is_empty());
        if let Some(columns) = &first_columns {
            let (fetched, budget) = (group.fetch(wanted, columns).await?, self.budget.clone());
            let (matcher, decided, traces) = (matcher.clone(), decided.clone(), wanted.clone());
            let narrow = move || {
                let rows = fetched.decode(&budget)?;
                let runs = rows.runs(&traces)?;
                let candidates = matcher.narrow(&rows.table, &runs, &decided)?;
                Ok::<_, Error>(candidates.into_iter().map(|run| runs[run].trace).collect())
            };
            *wanted = self.run_on(group, narrow).await??;
            keep(wanted)?;
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let fetched = group.fetch(wanted, &matcher.projection()).await?;
        Ok(Some(if first_columns.is_some() { fetched.of_known_spans() } else { fetched }))
    }

    /// Traces near the range of which several sources have parts; none when the finder finds nothing anywhere.
    pub async fn split_traces(&self, matcher: &Matcher) -> Result<SplitTraces, Error> {
        let sources = self.near(&self.range);
        if sources.len() < 2 || prune::is_nowhere(&sources, matcher, self.engine.config.max_concurrent_reads).await? {
            return Ok(SplitTraces::default());
        }
        self.all_split_traces().await
    }

    /// All parts near the range of these traces, wherever they lie, and the sources that have them.
    pub async fn parts_of(&self, ids: &HashSet<TraceId>, range: &TimeRange) -> Result<Parts, Error> {
        self.open(self.find_parts(ids, range).await?).await
    }

    /// All parts near the range of these traces, which lie in some source, in the order of the sources. Blocks are only
    /// asked for traces that blocks list, or of which a part is live.
    pub async fn find_parts(
        &self,
        ids: &HashSet<TraceId>,
        range: &TimeRange,
    ) -> Result<HashMap<TraceId, Vec<PartAt>>, Error> {
        let (sources, concurrency) = (self.near(range), self.engine.config.max_concurrent_reads);
        let listed = self.listed(&sources).await?;
        let (unlisted, listing) = listed.apart(sources);
        let mut ids: Vec<TraceId> = ids.iter().copied().collect();
        ids.sort_unstable();
        let mut found = parts::find(&unlisted, &ids, concurrency, &self.budget).await?;
        ids.retain(|id| listed.has(id) || found.contains_key(id));
        for (id, of_blocks) in parts::find(&listing, &ids, concurrency, &self.budget).await? {
            let all = found.entry(id).or_default();
            all.extend(of_blocks);
            all.sort_unstable_by_key(|part| part.source);
        }
        Ok(found)
    }

    /// Opens the row groups that have these parts.
    pub async fn open(&self, by_trace: HashMap<TraceId, Vec<PartAt>>) -> Result<Parts, Error> {
        let wanted: HashSet<(usize, usize)> = by_trace.values().flatten().map(PartAt::group).collect();
        let open = |(source, group): (usize, usize)| {
            let opening = OpenSource::open(self.all[source].clone());
            async move { Ok(((source, group), opening.await?.group(group).await?)) }.boxed()
        };
        let groups = try_all(self.engine.config.max_concurrent_reads, wanted.into_iter().map(open).collect()).await?;
        let fitting = self.engine.config.max_memory_bytes_per_query / MEMORY_BYTES_PER_SPAN;
        let spans_at_once =
            usize::try_from(fitting).map_or(WHOLE_SPANS_AT_ONCE, |spans| spans.min(WHOLE_SPANS_AT_ONCE));
        Ok(Parts { by_trace, groups: groups.into_iter().collect(), spans_at_once })
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
            self.read_group_whole(&parts.groups[&at], traces, columns).boxed()
        };
        let tables = by_group.into_iter().map(read).collect();
        let tables = try_all(self.engine.config.max_concurrent_reads, tables).await?;
        let (tables, held): (Vec<SpanTable>, Vec<Held>) = tables.into_iter().flatten().unzip();
        // until they are together there are the parts and the whole
        let whole_held = self.budget.hold(tables.iter().map(table_bytes::memory_bytes).sum())?;
        let table = self.run(move || parts::merge_parts(&tables)).await??;
        drop(held);
        Ok(WholeTraces { table, _held: whole_held })
    }

    async fn read_group_whole(
        &self,
        group: &OpenGroup,
        traces: Vec<usize>,
        columns: &Projection,
    ) -> Result<Option<(SpanTable, Held)>, Error> {
        let _turn = self.turn().await?;
        let read = async {
            let (fetched, budget) = (parts::fetch_whole(group, &traces, columns).await?, self.budget.clone());
            self.run_on(group, move || parts::decode_whole(fetched, &traces, &budget)).await?
        };
        let Some(table) = self.budget.if_readable(group.source.source.block_id(), read).await? else {
            return Ok(None);
        };
        let held = self.budget.hold(table_bytes::memory_bytes(&table))?;
        Ok(Some((table, held)))
    }
}

/// Traces that are put together, and the memory that they take.
pub(crate) struct WholeTraces {
    pub table: SpanTable,
    _held: Held,
}

/// Where traces lie.
pub(crate) struct Parts {
    pub by_trace: HashMap<TraceId, Vec<PartAt>>,
    /// Every row group that has one of the parts, by the numbers of its source and its own.
    pub groups: HashMap<(usize, usize), OpenGroup>,
    spans_at_once: usize,
}

impl Parts {
    /// Cuts a list of traces into runs that are put together at a time.
    pub fn batches(&self, traces: &[TraceId]) -> Result<Vec<Range<usize>>, Error> {
        let mut batches: Vec<Range<usize>> = Vec::new();
        let mut room = 0;
        for (number, id) in traces.iter().enumerate() {
            let span_count = self.span_count(id)?;
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
        Ok(batches)
    }

    fn span_count(&self, id: &TraceId) -> Result<usize, Error> {
        let parts = self.by_trace.get(id).into_iter().flatten();
        let counts = parts.map(|part| Ok(self.groups[&part.group()].traces()?.span_rows(part.at.trace).len()));
        counts.sum()
    }

    /// When the part starts that starts last.
    pub fn latest_start(&self, parts: &[PartAt]) -> Result<u64, Error> {
        self.fold_times(parts, 0, |latest, of_part| latest.max(of_part.start_nanos))
    }

    /// When the part ends that ends first.
    pub fn earliest_end(&self, parts: &[PartAt]) -> Result<u64, Error> {
        self.fold_times(parts, u64::MAX, |earliest, of_part| earliest.min(of_part.end_nanos))
    }

    /// From the start of the earliest part to the end of the latest.
    pub fn time_range(&self, parts: &[PartAt]) -> Result<TimeRange, Error> {
        self.fold_times(parts, TimeRange::new(u64::MAX, 0), |all, of_part| all.union(&of_part))
    }

    fn fold_times<T>(&self, parts: &[PartAt], first: T, join: impl Fn(T, TimeRange) -> T) -> Result<T, Error> {
        let time_range = |part: &PartAt| Ok(self.groups[&part.group()].traces()?.time_range(part.at.trace));
        parts.iter().map(time_range).try_fold(first, |all, of_part: Result<_, Error>| Ok(join(all, of_part?)))
    }
}
