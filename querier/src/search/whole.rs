//! Traces of which several sources have parts, for queries that look at the trace as a whole.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use hashbrown::{HashMap, HashSet};
use model::{TimeRange, TraceId};
use spans::SpanTable;
use storage::source::{Dimensions, Source};
use tracing::warn;

use super::collect::{self, Hits, Place};
use super::{Search, locked, plan};
use crate::concurrent::try_all;
use crate::error::Error;
use crate::parts::{self, PartAt};
use crate::scan::{GroupTraces, Opened, Run};

/// Traces that are put together at a time.
const TRACES_AT_ONCE: usize = 256;

impl Search<'_> {
    /// Traces that must be evaluated as a whole: the query looks at the whole, and several sources have parts.
    pub(super) async fn split_traces(&self) -> Result<HashSet<TraceId>, Error> {
        let sources = self.near();
        if !self.query.finder.needs_whole_traces() || sources.len() < 2 {
            return Ok(HashSet::new());
        }
        let dimensions = sources.into_iter().map(|(_, source)| dimensions(source).boxed()).collect();
        let dimensions = try_all(self.inner.config.max_concurrent_reads, dimensions).await?;
        self.inner.cpu.run(move || repeated_ids(&dimensions.into_iter().flatten().collect::<Vec<_>>())).await?
    }

    /// The sources that may have parts of traces in the range.
    fn near(&self) -> Vec<(usize, Arc<dyn Source>)> {
        let range = plan::widened(&self.range, self.inner.config.trace_reach_nanos());
        let near = self.sources.iter().enumerate().filter(|(_, source)| source.time_range().overlaps(&range));
        near.map(|(number, source)| (number, source.clone())).collect()
    }

    /// Adds the matches among traces that are evaluated as a whole, the newest first.
    pub(super) async fn find_split(&self, split: &HashSet<TraceId>, hits: &Mutex<Hits>) -> Result<(), Error> {
        let mut ids: Vec<TraceId> = split.iter().copied().collect();
        ids.sort_unstable();
        let parts = parts::find(&self.near(), &ids, self.inner.config.max_concurrent_reads).await?;
        let opened = self.open(parts.values().flatten()).await?;
        let mut places: Vec<Place> = Vec::new();
        for (id, parts) in &parts {
            let time = time_range(&opened, parts)?;
            if time.overlaps(&self.range) {
                places.push((Reverse(time.start_nanos), *id));
            }
        }
        places.sort_unstable();
        for places in places.chunks(TRACES_AT_ONCE) {
            let keepable =
                |hits: &Hits| places.iter().take_while(|(Reverse(start), _)| hits.could_keep(*start)).count();
            let places = &places[..keepable(&locked(hits))];
            if places.is_empty() {
                break;
            }
            let table = self.read_whole(&opened, places.iter().flat_map(|(_, id)| &parts[id])).await?;
            let query = self.query.clone();
            let found = move || {
                let runs = (0..table.trace_count()).map(|trace| run_of(&table, trace));
                let runs = runs.collect::<Result<Vec<_>, Error>>()?;
                let decided = query.finder.on_dimensions(&table)?;
                collect::matches(&query.finder, &table, &runs, &decided, 0, 0)
            };
            let found = self.inner.cpu.run(found).await??;
            let mut hits = locked(hits);
            for mut hit in found {
                let Some(first) = parts.get(&hit.trace_id).and_then(|parts| parts.first()) else { continue };
                (hit.source, hit.trace) = (first.source, first.trace);
                hits.add(hit);
            }
        }
        Ok(())
    }

    /// Opens the sources that have these parts.
    pub(super) async fn open(&self, parts: impl Iterator<Item = &PartAt>) -> Result<HashMap<usize, Opened>, Error> {
        let numbers: HashSet<usize> = parts.map(|part| part.source).collect();
        let open = |number: usize| {
            let source = self.sources[number].clone();
            async move { Ok((number, Opened::open(source).await?)) }.boxed()
        };
        let opened = numbers.into_iter().map(open).collect();
        Ok(try_all(self.inner.config.max_concurrent_reads, opened).await?.into_iter().collect())
    }

    /// One table with these parts of traces, put together.
    pub(super) async fn read_whole(
        &self,
        opened: &HashMap<usize, Opened>,
        parts: impl Iterator<Item = &PartAt>,
    ) -> Result<SpanTable, Error> {
        let mut by_source: HashMap<usize, Vec<usize>> = HashMap::new();
        for part in parts {
            by_source.entry(part.source).or_default().push(part.trace);
        }
        let mut reads = Vec::new();
        let mut by_source: Vec<(usize, Vec<usize>)> = by_source.into_iter().collect();
        by_source.sort_unstable();
        for (source, mut traces) in by_source {
            traces.sort_unstable();
            let source = &opened[&source];
            reads.extend(source.by_group(traces)?.into_iter().map(|group| (source, group)));
        }
        let read = |(source, group)| self.read_group_whole(source, group).boxed();
        let tables = reads.into_iter().map(read).collect();
        let tables: Vec<SpanTable> = try_all(self.inner.config.max_concurrent_reads, tables).await?;
        self.inner.cpu.run(move || parts::put_together(&tables)).await?
    }

    async fn read_group_whole(&self, source: &Opened, group: GroupTraces) -> Result<SpanTable, Error> {
        let _read = self.reads.acquire().await.map_err(|_| storage::Error::Stopping)?;
        let (table, bytes) = parts::read_whole(source, &group).await?;
        self.count_read(bytes, table.span_count());
        Ok(table)
    }
}

/// From the start of the earliest part to the end of the latest.
pub(super) fn time_range(opened: &HashMap<usize, Opened>, parts: &[PartAt]) -> Result<TimeRange, Error> {
    let mut range = TimeRange::new(u64::MAX, 0);
    for part in parts {
        let of_part = opened[&part.source].traces()?.time_range(part.trace);
        range.start_nanos = range.start_nanos.min(of_part.start_nanos);
        range.end_nanos = range.end_nanos.max(of_part.end_nanos);
    }
    Ok(range)
}

/// The small tables of a source; `None` when it is damaged.
async fn dimensions(source: Arc<dyn Source>) -> Result<Option<Arc<Dimensions>>, Error> {
    match source.dimensions().await.map_err(Error::from) {
        Err(error) if error.is_of_one_source() => {
            warn!(block_id = %source.block_id(), %error, "source left out of a search");
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// Where a trace of a whole table stands.
pub(super) fn run_of(table: &SpanTable, trace: usize) -> Result<Run, Error> {
    let rows = table.traces()?.span_rows(trace);
    if rows.end > table.span_count() {
        return Err(Error::damaged("first_row"));
    }
    Ok(Run { trace, first_row: rows.start, rows })
}

/// The ids that several of the tables have. Each table is sorted by id, so one walk through all is enough.
fn repeated_ids(dimensions: &[Arc<Dimensions>]) -> Result<HashSet<TraceId>, Error> {
    let tables = dimensions.iter().map(|of| spans::Traces::of(&of.traces)).collect::<Result<Vec<_>, _>>()?;
    let mut next: BinaryHeap<Reverse<(TraceId, usize, usize)>> = BinaryHeap::new();
    next.extend(
        tables.iter().enumerate().filter(|(_, ids)| !ids.is_empty()).map(|(at, ids)| Reverse((ids.id(0), at, 0))),
    );
    let (mut repeated, mut last) = (HashSet::new(), None);
    while let Some(Reverse((id, table, row))) = next.pop() {
        if last == Some(id) {
            repeated.insert(id);
        }
        last = Some(id);
        if row + 1 < tables[table].len() {
            next.push(Reverse((tables[table].id(row + 1), table, row + 1)));
        }
    }
    Ok(repeated)
}
