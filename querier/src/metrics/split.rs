//! Traces of which several sources have parts: put together and measured as a whole. What blocks alone have of them is
//! remembered, like what each of them has by itself.

use std::sync::Arc;

use hashbrown::HashSet;
use model::{BlockId, TraceId};
use spans::SpanTable;

use super::MetricsRun;
use super::cache::{MeasuredTraces, PartialKey, deleted_in};
use super::measured::MeasuredRows;
use super::query::{MetricsQuery, PartialAggregate};
use crate::engine::scan::Run;
use crate::engine::sources::split::SplitTraces;
use crate::engine::split_cache::{SplitAtRest, SplitTrace};
use crate::error::Error;
use crate::intervals::Intervals;
use crate::metrics::limits::Limits;

/// The split traces of a query, and what is known of those that blocks list.
pub(super) struct Split {
    traces: SplitTraces,
    at_rest: Arc<SplitAtRest>,
}

impl MetricsRun<'_> {
    /// Also where the query looks at single spans: a span that was sent again may lie in another source.
    pub(super) async fn split_traces(&self) -> Result<Split, Error> {
        let traces = self.sources.split_traces(&self.query.matcher).await?;
        let at_rest = if traces.ids.is_empty() { Arc::default() } else { self.sources.split_at_rest().await?.clone() };
        Ok(Split { traces, at_rest })
    }

    pub(super) async fn measure_split(&self, split: &Split, partial: &mut PartialAggregate) -> Result<(), Error> {
        let near = self.sources.near(&self.sources.range).into_iter().map(|(_, source)| source);
        let is_whole =
            |trace: &SplitTrace| self.query.aggregator.within(&self.intervals, &trace.time_range()).is_some();
        let is_at_rest = |id: &TraceId| split.at_rest.get(id).is_some_and(is_whole);
        let (mut lasting, mut others): (Vec<TraceId>, Vec<TraceId>) =
            split.traces.ids.iter().copied().partition(is_at_rest);
        for source in near.filter(|source| source.is_live()) {
            let of_source: HashSet<TraceId> =
                source.find_traces(&lasting).await?.into_iter().map(|part| part.id).collect();
            lasting.retain(|id| !of_source.contains(id));
            others.extend(of_source);
        }
        self.measure_lasting(lasting, &split.at_rest, partial).await?;
        partial.merge(self.measure_whole(others, &self.intervals).await?, 0)
    }

    /// Measures traces whose parts all lie in blocks and in the range, or remembers what they gave.
    async fn measure_lasting(
        &self,
        mut ids: Vec<TraceId>,
        at_rest: &SplitAtRest,
        partial: &mut PartialAggregate,
    ) -> Result<(), Error> {
        ids.sort_unstable();
        let time_range = ids.iter().map(|id| at_rest[id].time_range()).reduce(|all, one| all.union(&one));
        let Some((intervals, first_interval)) =
            time_range.and_then(|range| self.query.aggregator.within(&self.intervals, &range))
        else {
            return Ok(());
        };
        let mut blocks: Vec<BlockId> =
            ids.iter().flat_map(|id| &at_rest[id].parts).map(|(block_id, _)| *block_id).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let key = PartialKey {
            blocks: blocks.into(),
            query: self.text.clone(),
            intervals,
            max_exemplars: self.limits.max_exemplars,
            traces: MeasuredTraces::Only(ids.clone().into()),
            deleted: deleted_in(self.sources.all.iter()),
        };
        if let Some(known) = self.partials.get(&key) {
            return partial.merge(PartialAggregate::Series(Arc::unwrap_or_clone(known)), first_interval);
        }
        let measured = self.measure_whole(ids, &intervals).await?;
        if let PartialAggregate::Series(series) = &measured
            && self.sources.budget.left_out() == 0
        {
            self.partials.insert(key, Arc::new(series.clone()));
        }
        partial.merge(measured, first_interval)
    }

    /// Measures the traces that are put together first.
    async fn measure_whole(&self, ids: Vec<TraceId>, intervals: &Intervals) -> Result<PartialAggregate, Error> {
        let mut partial = self.query.aggregator.nothing(intervals, &self.limits);
        let parts = self.sources.parts_of(&ids.into_iter().collect()).await?;
        let ids = parts.candidates(&self.query.matcher);
        let mut columns = self.query.matcher.projection();
        columns.merge(&self.query.projection(&self.limits));
        for batch in parts.batches(&ids) {
            let whole = self.sources.read_whole(&parts, ids[batch].iter().copied(), &columns).await?;
            let (query, intervals, limits) = (self.query.clone(), *intervals, self.limits.clone());
            let measure = move || measure_table(&query, &whole.table, &intervals, &limits);
            partial.merge(self.sources.run(measure).await??, 0)?;
        }
        Ok(partial)
    }
}

impl Split {
    /// Those that a source has, as far as a hash tells, ascending.
    pub(super) fn of_source(&self, block_id: BlockId) -> Arc<[TraceId]> {
        let is_listed = |trace: &SplitTrace| trace.parts.iter().any(|(in_block, _)| *in_block == block_id);
        let is_in =
            |id: &&TraceId| self.at_rest.get(*id).is_some_and(is_listed) || self.traces.is_shared_by(block_id, id);
        let mut ids: Vec<TraceId> = self.traces.ids.iter().filter(is_in).copied().collect();
        ids.sort_unstable();
        ids.into()
    }
}

fn measure_table(
    query: &MetricsQuery,
    table: &SpanTable,
    intervals: &Intervals,
    limits: &Limits,
) -> Result<PartialAggregate, Error> {
    let decided = query.matcher.on_dimensions(table)?;
    let spans = query.matcher.select(table, &Run::all(table)?, &decided)?;
    query.aggregator.measure(&MeasuredRows::read(table, &spans), intervals, limits)
}
