//! One row group that is not told by a rollup: which of its spans match, and what is measured of them.
//!
//! ```text
//! traces that may match ─┬─▶ lie in one interval, and only counted ─▶ what traces say of their spans ──────┐
//!                        └─▶ others ─▶ columns of the filter and measured ones, starts where they matter ─┴▶ measure
//! ```

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::Int64Type;
use hashbrown::HashSet;
use model::TraceId;
use spans::schema::{AttributeColumn, column};
use storage::source::Projection;

use super::MetricsRun;
use super::by_trace::{self, CountsByTrace, ResourcesByService};
use super::measured::{MeasuredRows, Places};
use super::query::PartialAggregate;
use super::timeline::{StartOffsets, by_extent, primitive};
use crate::engine::budget::Budget;
use crate::engine::matcher::DecidedMasks;
use crate::engine::prune::Pruned;
use crate::engine::scan::{FetchedRows, OpenGroup, OpenSource, Rows, Run};
use crate::engine::selection::SelectedSpans;
use crate::error::Error;
use crate::intervals::Intervals;

/// When one in so many spans of a row group may match, all columns are read at once: to come back for the measured ones
/// would decode the same pages.
const DENSE: usize = 4;

/// When spans start is read with their other columns when it is needed of more than one in so many.
const MANY_STARTS: usize = 2;

/// A source, while its row groups are measured.
pub(super) struct SourceScan<'a> {
    pub source: &'a OpenSource,
    pub pruned: &'a Pruned,
    /// Traces that are measured elsewhere.
    pub split: &'a HashSet<TraceId>,
    pub intervals: &'a Intervals,
    /// Where spans are counted without reading them.
    pub counts: Option<(CountsByTrace, Arc<ResourcesByService>)>,
}

/// Traces of a row group that are measured.
struct WantedTraces<'a> {
    group: OpenGroup,
    decided: Arc<DecidedMasks>,
    /// Ascending.
    traces: Vec<usize>,
    intervals: &'a Intervals,
}

impl WantedTraces<'_> {
    /// Where spans are found later; `None` where all of them are at hand anyway.
    fn places(&self) -> Option<Places<'static>> {
        let source = &self.group.source.source;
        (!source.is_live()).then(|| Places::OfGroup { block_id: source.block_id(), group: self.group.number })
    }

    fn span_count(&self, traces: &[usize]) -> Result<usize, Error> {
        let view = self.group.traces()?;
        Ok(traces.iter().map(|&trace| view.span_rows(trace).len()).sum())
    }
}

impl MetricsRun<'_> {
    /// What is measured in a row group; `None` when nothing matches.
    pub(super) async fn measure_group(
        &self,
        scan: &SourceScan<'_>,
        group: usize,
    ) -> Result<Option<PartialAggregate>, Error> {
        let _turn = self.sources.turn().await?;
        let group = scan.source.group(group).await?;
        let (decided, traces) = self.sources.candidates(&group, &self.query.matcher, scan.pruned, scan.split).await?;
        let mut wanted = WantedTraces { group, decided, traces, intervals: scan.intervals };
        let counted = match &scan.counts {
            Some((counts, resources)) => self.count_by_trace(&mut wanted, *counts, resources.clone()).await?,
            None => None,
        };
        if wanted.traces.is_empty() {
            return Ok(counted);
        }
        let measured = match self.is_read_at_once(&wanted)? {
            true => Some(self.measure_at_once(wanted).await?),
            false => self.find_and_measure(wanted).await?,
        };
        match (counted, measured) {
            (Some(mut counted), Some(measured)) => {
                counted.merge(measured, 0)?;
                Ok(Some(counted))
            }
            (counted, measured) => Ok(counted.or(measured)),
        }
    }

    /// Counts the spans of traces that lie in one interval, and leaves the others.
    async fn count_by_trace(
        &self,
        wanted: &mut WantedTraces<'_>,
        counts: CountsByTrace,
        resources: Arc<ResourcesByService>,
    ) -> Result<Option<PartialAggregate>, Error> {
        let (inside, others) = by_extent(&wanted.group.traces()?, &wanted.traces, wanted.intervals);
        if inside.is_empty() {
            return Ok(None);
        }
        let group = if counts.needs_services() { wanted.group.with_services().await? } else { wanted.group.clone() };
        let (query, decided, places) = (self.query.clone(), wanted.decided.clone(), wanted.places());
        let (intervals, limits) = (*wanted.intervals, self.limits.clone());
        let count = move || {
            let Some(rows) = by_trace::rows(counts, group.small_tables(), &resources, &inside)? else {
                return Ok(None);
            };
            let selected = query.matcher.select(&rows.table, &rows.runs, &decided)?;
            let rows = MeasuredRows {
                table: &rows.table,
                selected: &selected,
                coded: &[],
                start_offsets: StartOffsets::OfTraces(Vec::new()),
                spans_of_rows: Some(&rows.spans),
                places,
            };
            query.aggregator.measure(&rows, &intervals, &limits).map(Some)
        };
        let counted = self.sources.run(count).await??;
        if counted.is_some() {
            wanted.traces = others;
        }
        Ok(counted)
    }

    fn is_read_at_once(&self, wanted: &WantedTraces<'_>) -> Result<bool, Error> {
        if self.query.matcher.decides_whole_traces() {
            return Ok(true);
        }
        let reads_everything = self.query.aggregator.projection().columns.contains(column::ATTRIBUTES);
        if self.query.matcher.first_projection().is_some() || reads_everything {
            return Ok(false);
        }
        Ok(wanted.span_count(&wanted.traces)? * DENSE >= wanted.group.row_group().spans.len())
    }

    /// Reads the columns of the filter and the measured ones together.
    async fn measure_at_once(&self, wanted: WantedTraces<'_>) -> Result<PartialAggregate, Error> {
        let mut columns = self.query.projection(&self.limits);
        if !self.query.matcher.decides_whole_traces() {
            columns.merge(&self.query.matcher.projection());
        }
        let starts = self.traces_with_starts(&wanted)?;
        if starts.is_some() {
            columns.columns.remove(column::START_OFFSET_NANOS);
        }
        let (starts, fetched) = futures::try_join!(
            FetchedStarts::fetch(&wanted.group, starts),
            wanted.group.fetch(&wanted.traces, &columns)
        )?;
        let (query, limits, budget) = (self.query.clone(), self.limits.clone(), self.sources.budget.clone());
        let (intervals, places, effort) = (*wanted.intervals, wanted.places(), fetched.effort());
        let WantedTraces { decided, traces, .. } = wanted;
        let measure = move || {
            let start_offsets = starts.map_or(Ok(StartOffsets::InTable), |starts| starts.decode(&budget))?;
            let rows = fetched.decode_coded(&budget, &|attribute| query.coding(attribute))?;
            let runs = rows.runs(&traces)?;
            let selected = query.matcher.select(&rows.table, &runs, &decided)?;
            let Rows { table, coded, .. } = &rows;
            let rows = MeasuredRows { coded, start_offsets, places, ..MeasuredRows::read(table, &selected) };
            query.aggregator.measure(&rows, &intervals, &limits)
        };
        self.sources.run_sized(effort, measure).await?
    }

    /// The traces of which it is read when spans start: those that do not lie in one interval. `None` where it is read of all.
    fn traces_with_starts(&self, wanted: &WantedTraces<'_>) -> Result<Option<Vec<usize>>, Error> {
        if wanted.places().is_none() || self.query.aggregator.needs_all_starts() {
            return Ok(None);
        }
        let (_, traces) = by_extent(&wanted.group.traces()?, &wanted.traces, wanted.intervals);
        if wanted.span_count(&traces)? * MANY_STARTS > wanted.span_count(&wanted.traces)? {
            return Ok(None);
        }
        Ok(Some(traces))
    }

    /// Reads the columns of the filter, and the measured ones only where something matches.
    async fn find_and_measure(&self, mut wanted: WantedTraces<'_>) -> Result<Option<PartialAggregate>, Error> {
        let found = self.find(&mut wanted).await?;
        if found.is_empty() {
            return Ok(None);
        }
        let WantedTraces { group, traces, intervals, .. } = wanted;
        let columns = self.query.projection(&self.limits);
        let fetched = if self.query.aggregator.needs_whole_runs() {
            group.fetch_only(&traces, &columns).await?
        } else {
            group.fetch_near(&found, &columns).await?
        };
        let (query, intervals, limits) = (self.query.clone(), *intervals, self.limits.clone());
        let (budget, effort) = (self.sources.budget.clone(), fetched.effort());
        let measure = move || {
            let coding = |attribute: &AttributeColumn| query.coding(attribute);
            let rows = fetched.of_known_spans().decode_coded(&budget, &coding)?;
            let selected = at_positions(found, &rows)?;
            let Rows { table, coded, .. } = &rows;
            let rows = MeasuredRows { coded, ..MeasuredRows::read(table, &selected) };
            query.aggregator.measure(&rows, &intervals, &limits)
        };
        Ok(Some(self.sources.run_sized(effort, measure).await??))
    }

    /// The rows of a row group that match; leaves only traces that may.
    async fn find(&self, wanted: &mut WantedTraces<'_>) -> Result<Vec<usize>, Error> {
        let matcher = self.query.matcher.clone();
        let WantedTraces { group, decided, traces, .. } = wanted;
        let Some(fetched) = self.sources.fetch_candidates(&matcher, decided, group, traces, |_| Ok(())).await? else {
            return Ok(Vec::new());
        };
        let (decided, traces) = (decided.clone(), traces.clone());
        let find = move |rows: Rows| {
            let runs = rows.runs(&traces)?;
            matcher.find_rows(&rows.table, &runs, &decided)
        };
        self.sources.run_on(fetched, find).await
    }
}

/// When the spans of some traces start, not yet decoded.
struct FetchedStarts {
    /// Ascending.
    traces: Vec<usize>,
    /// `None` without traces.
    fetched: Option<FetchedRows>,
}

impl FetchedStarts {
    async fn fetch(group: &OpenGroup, traces: Option<Vec<usize>>) -> Result<Option<Self>, Error> {
        let Some(traces) = traces else { return Ok(None) };
        if traces.is_empty() {
            return Ok(Some(Self { traces, fetched: None }));
        }
        let starts = Projection { columns: [column::START_OFFSET_NANOS].into(), ..Projection::default() };
        let fetched = group.fetch_only(&traces, &starts).await?.of_known_spans();
        Ok(Some(Self { traces, fetched: Some(fetched) }))
    }

    fn decode(self, budget: &Budget) -> Result<StartOffsets, Error> {
        let Some(fetched) = self.fetched else { return Ok(StartOffsets::OfTraces(Vec::new())) };
        let rows = fetched.decode(budget)?;
        let offsets: &Int64Array = primitive::<Int64Type>(&rows.table.spans, column::START_OFFSET_NANOS)?;
        let of_trace = |run: Run| (run.trace, offsets.slice(run.rows.start, run.rows.len()));
        Ok(StartOffsets::OfTraces(rows.runs(&self.traces)?.into_iter().map(of_trace).collect()))
    }
}

/// Rows of the row group, as rows of what was read.
fn at_positions(found: Vec<usize>, rows: &Rows) -> Result<SelectedSpans, Error> {
    let positions = found.into_iter().map(|row| Ok(rows.position(row)? as u32));
    let mut positions = positions.collect::<Result<Vec<u32>, Error>>()?;
    positions.sort_unstable();
    Ok(SelectedSpans::Rows(positions))
}
