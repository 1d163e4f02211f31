//! One row group: which of its spans match, and what is measured of them.

use std::sync::Arc;

use hashbrown::HashSet;
use model::TraceId;
use spans::schema::column;

use super::MetricsRun;
use super::query::PartialAggregate;
use crate::engine::matcher::DecidedMasks;
use crate::engine::prune::Pruned;
use crate::engine::scan::{OpenGroup, OpenSource, Rows};
use crate::engine::selection::SelectedSpans;
use crate::error::Error;
use crate::intervals::Intervals;

/// When one in so many spans of a row group may match, all columns are read at once: to come back for the measured ones
/// would decode the same pages.
const DENSE: usize = 4;

impl MetricsRun<'_> {
    /// What is measured in a row group, without the traces in `split`; `None` when nothing matches.
    pub(super) async fn measure_group(
        &self,
        source: &OpenSource,
        group: usize,
        pruned: &Pruned,
        split: &HashSet<TraceId>,
        intervals: &Intervals,
    ) -> Result<Option<PartialAggregate>, Error> {
        let _turn = self.sources.turn().await?;
        let group = source.group(group).await?;
        let (decided, wanted) = self.sources.candidates(&group, &self.query.matcher, pruned, split).await?;
        if wanted.is_empty() {
            return Ok(None);
        }
        match self.is_read_at_once(&group, &wanted)? {
            true => self.measure_at_once(&group, &decided, wanted, intervals).await.map(Some),
            false => self.find_and_measure(&group, &decided, wanted, intervals).await,
        }
    }

    fn is_read_at_once(&self, group: &OpenGroup, wanted: &[usize]) -> Result<bool, Error> {
        if self.query.matcher.decides_whole_traces() {
            return Ok(true);
        }
        let reads_everything = self.query.aggregator.projection().columns.contains(column::ATTRIBUTES);
        if self.query.matcher.first_projection().is_some() || reads_everything {
            return Ok(false);
        }
        let traces = group.traces()?;
        let spans: usize = wanted.iter().map(|&trace| traces.span_rows(trace).len()).sum();
        Ok(spans * DENSE >= group.row_group().spans.len())
    }

    /// Reads the columns of the filter and the measured ones together.
    async fn measure_at_once(
        &self,
        group: &OpenGroup,
        decided: &Arc<DecidedMasks>,
        wanted: Vec<usize>,
        intervals: &Intervals,
    ) -> Result<PartialAggregate, Error> {
        let mut columns = self.query.projection(&self.limits);
        if !self.query.matcher.decides_whole_traces() {
            columns.merge(&self.query.matcher.projection());
        }
        let fetched = group.fetch(&wanted, &columns).await?;
        let (query, decided) = (self.query.clone(), decided.clone());
        let (intervals, limits, budget) = (*intervals, self.limits.clone(), self.sources.budget.clone());
        let measure = move || {
            let rows = fetched.decode(&budget)?;
            let runs = rows.runs(&wanted)?;
            let spans = query.matcher.select(&rows.table, &runs, &decided)?;
            query.aggregator.measure(&rows.table, &spans, &intervals, &limits)
        };
        self.sources.run(measure).await?
    }

    /// Reads the columns of the filter, and the measured ones only where something matches.
    async fn find_and_measure(
        &self,
        group: &OpenGroup,
        decided: &Arc<DecidedMasks>,
        mut wanted: Vec<usize>,
        intervals: &Intervals,
    ) -> Result<Option<PartialAggregate>, Error> {
        let found = self.find(group, decided, &mut wanted).await?;
        if found.is_empty() {
            return Ok(None);
        }
        let columns = self.query.projection(&self.limits);
        let fetched = if self.query.aggregator.needs_whole_runs() {
            group.fetch_only(&wanted, &columns).await?
        } else {
            group.fetch_near(&found, &columns).await?
        };
        let (query, intervals, limits) = (self.query.clone(), *intervals, self.limits.clone());
        let budget = self.sources.budget.clone();
        let measure = move || {
            let rows = fetched.of_known_spans().decode(&budget)?;
            query.aggregator.measure(&rows.table, &at_positions(found, &rows)?, &intervals, &limits)
        };
        Ok(Some(self.sources.run(measure).await??))
    }

    /// The rows of a row group that match; leaves in `wanted` only traces that may.
    async fn find(
        &self,
        group: &OpenGroup,
        decided: &Arc<DecidedMasks>,
        wanted: &mut Vec<usize>,
    ) -> Result<Vec<usize>, Error> {
        let matcher = self.query.matcher.clone();
        let Some(fetched) = self.sources.fetch_candidates(&matcher, decided, group, wanted, |_| Ok(())).await? else {
            return Ok(Vec::new());
        };
        let (decided, traces, budget) = (decided.clone(), wanted.clone(), self.sources.budget.clone());
        let find = move || {
            let rows = fetched.decode(&budget)?;
            let runs = rows.runs(&traces)?;
            matcher.find_rows(&rows.table, &runs, &decided)
        };
        self.sources.run(find).await?
    }
}

/// Rows of the row group, as rows of what was read.
fn at_positions(found: Vec<usize>, rows: &Rows) -> Result<SelectedSpans, Error> {
    let positions = found.into_iter().map(|row| Ok(rows.position(row)? as u32));
    let mut positions = positions.collect::<Result<Vec<u32>, Error>>()?;
    positions.sort_unstable();
    Ok(SelectedSpans::Rows(positions))
}
