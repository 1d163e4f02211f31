//! Names and values of tags, for editors that suggest them.
//!
//! ```text
//! filter (lenient) ─▶ sources in range ─▶ lists, small tables, or rows that pass the filter ─▶ names / values, cut at a size
//! ```
//!
//! Without a filter names come from what a source knows of its keys, and values from its index, if it lists them. Else
//! values of resources, scopes and traces come from the small tables; only those of spans, events and links need rows.
//!
//! Where the value or the filter is about the trace as a whole, traces of which several sources have parts are put
//! together, and looked at as a source of their own.

mod names;
mod remembered;
mod values;

use std::ops::Range;
use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use futures::FutureExt;
use hashbrown::HashSet;
use model::{BlockId, TimeRange, TraceId};
use storage::memory::MemorySource;
use storage::source::{Projection, Source};
use traceql::{Conditions, Field, FieldExpr, TagFilter, parse_tag_filter};

pub(crate) use self::names::tag_names;
pub(crate) use self::remembered::{ValuesCache, values_cache};
pub(crate) use self::values::tag_values;
use crate::engine::Engine;
use crate::engine::budget::Budget;
use crate::engine::concurrent::{Work, try_all};
use crate::engine::kinds;
use crate::engine::prune::{Pruned, is_none_left};
use crate::engine::scan::{OpenGroup, OpenSource, Rows};
use crate::engine::sources::QuerySources;
use crate::error::Error;
use crate::eval::{Evaluation, FieldUse, Filter, Home, Selection};

/// The spans that tags are taken from.
struct TagScan<'a> {
    sources: QuerySources<'a>,
    /// `None`: all spans.
    filter: Option<Arc<Filter>>,
    /// Whether rollups tell which spans pass it.
    is_told: bool,
    /// Traces that must be looked at as a whole, and of which several sources have parts.
    split: HashSet<TraceId>,
    /// The source that has them, put together, goes by this id.
    whole_id: BlockId,
}

/// A source that was opened, and its row groups that may have spans that count.
struct Candidates {
    source: OpenSource,
    groups: Vec<usize>,
    pruned: Pruned,
}

/// Spans that were read, and those of them that count.
struct Selected<'a> {
    rows: &'a Rows,
    evaluation: &'a Evaluation<'a>,
    selection: Selection,
}

impl<'a> TagScan<'a> {
    /// For a look at these fields of the spans that pass the filter.
    async fn new(
        engine: &'a Engine,
        budget: Arc<Budget>,
        sources: Vec<Arc<dyn Source>>,
        range: TimeRange,
        filter: &TagFilter,
        fields: &[Field],
    ) -> Result<Self, Error> {
        // lists and small tables name what deleted traces have: then only the spans of the others tell
        let has_deleted = sources.iter().any(|source| source.deleted_traces().is_some());
        let is_told = matches!(filter, TagFilter::Spans(expr) if kinds::tells(expr));
        let filter = match filter {
            TagFilter::All if has_deleted => Some(Arc::new(Filter::compile(&FieldExpr::TRUE)?)),
            TagFilter::All => None,
            TagFilter::Spans(expr) => Some(Arc::new(Filter::compile(expr)?)),
        };
        let needs_whole = FieldUse::of(fields).needs_whole_traces()
            || filter.as_ref().is_some_and(|filter| filter.field_use().needs_whole_traces());
        let sources = QuerySources::new(engine, budget, sources, range);
        let split = if needs_whole { sources.all_split_traces().await?.ids } else { HashSet::new() };
        Ok(Self { sources, filter, is_told, split, whole_id: BlockId::generate() })
    }

    /// Gives every source of the range to `visit`, and before them the split traces. A damaged source is left out.
    async fn each_source<'s>(&'s self, visit: impl Fn(Arc<dyn Source>) -> Work<'s, ()> + Sync) -> Result<(), Error> {
        if !self.split.is_empty() {
            self.each_whole(&visit).await?;
        }
        let visit = |(_, source): (usize, &Arc<dyn Source>)| self.visit(source.clone(), &visit).boxed();
        let visits = self.sources.in_range().map(visit).collect();
        try_all(self.sources.engine.config.max_concurrent_reads, visits).await?;
        Ok(())
    }

    /// Puts the split traces together, some at a time, and gives them to `visit`.
    async fn each_whole<'s>(&'s self, visit: &(impl Fn(Arc<dyn Source>) -> Work<'s, ()> + Sync)) -> Result<(), Error> {
        let sources = &self.sources;
        let parts = sources.parts_of(&self.split).await?;
        let ids = parts.in_order();
        for batch in parts.batches(&ids) {
            let whole = sources.read_whole(&parts, ids[batch].iter().copied(), &Projection::all()).await?;
            visit(Arc::new(MemorySource::new(self.whole_id, whole.table.clone())?)).await?;
        }
        Ok(())
    }

    async fn visit<'s>(
        &'s self,
        source: Arc<dyn Source>,
        visit: &(impl Fn(Arc<dyn Source>) -> Work<'s, ()> + Sync),
    ) -> Result<(), Error> {
        let block_id = source.block_id();
        if self.sources.budget.if_readable(block_id, visit(source)).await?.is_some() {
            self.sources.budget.count_source();
        }
        Ok(())
    }

    /// The row groups of a source that the filter may keep spans of, and the source opened; `None` when there are none.
    async fn open(&self, source: Arc<dyn Source>) -> Result<Option<Candidates>, Error> {
        let conditions: Vec<Conditions> = self.filter.iter().map(|filter| filter.conditions().clone()).collect();
        let pruned = Pruned::ask(source.as_ref(), &conditions).await?;
        if !conditions.is_empty() && is_none_left(pruned.anywhere(0).as_ref()) {
            return Ok(None);
        }
        let source = OpenSource::open(source).await?;
        let mut groups = source.newest_groups(&self.sources.range);
        groups.retain(|&group| !is_none_left(self.possible(&pruned, &source.row_group(group).traces).as_ref()));
        Ok((!groups.is_empty()).then_some(Candidates { source, groups, pruned }))
    }

    /// Those of some traces that the filter may keep spans of; `None` for all.
    fn possible(&self, pruned: &Pruned, traces: &Range<usize>) -> Option<BooleanBuffer> {
        self.filter.as_ref().and_then(|_| pruned.traces(0, traces))
    }

    /// The traces of a row group, by row, that may count. Those that are put together count only there.
    fn traces_in_range(&self, group: &OpenGroup, pruned: &Pruned) -> Result<Vec<usize>, Error> {
        let traces = group.traces()?;
        let possible = self.possible(pruned, &group.row_group().traces);
        let is_elsewhere = !self.split.is_empty() && group.source.source.block_id() != self.whole_id;
        let deleted = group.source.source.deleted_traces();
        let is_wanted = |&trace: &usize| {
            possible.as_ref().is_none_or(|mask| mask.value(trace))
                && traces.time_range(trace).overlaps(&self.sources.range)
                && !(is_elsewhere && self.split.contains(&traces.id(trace)))
                && deleted.is_none_or(|deleted| !deleted.contains(&traces.id(trace)))
        };
        Ok((0..traces.len()).filter(is_wanted).collect())
    }

    /// Reads the spans of some row groups of a source that may count, and gives those that do to `take`.
    async fn each_selection(
        &self,
        candidates: &Candidates,
        groups: &[usize],
        columns: &Projection,
        take: impl Fn(&Selected<'_>) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let filter = match &self.filter {
            Some(filter) => filter.clone(),
            None => Arc::new(Filter::compile(&FieldExpr::TRUE)?),
        };
        let mut columns = columns.clone();
        columns.merge(&filter.projection());
        let (take, columns) = (Arc::new(take), &columns);
        let block_id = candidates.source.source.block_id();
        let select = |&group: &usize| {
            let select = self.select(candidates, group, columns, filter.clone(), take.clone());
            self.sources.budget.if_readable(block_id, select).boxed()
        };
        let groups = groups.iter().map(select).collect();
        try_all(self.sources.engine.config.max_concurrent_reads, groups).await?;
        Ok(())
    }

    async fn select(
        &self,
        candidates: &Candidates,
        group: usize,
        columns: &Projection,
        filter: Arc<Filter>,
        take: Arc<impl Fn(&Selected<'_>) -> Result<(), Error> + Send + Sync + 'static>,
    ) -> Result<(), Error> {
        let _turn = self.sources.turn().await?;
        let group = candidates.source.group(group).await?;
        let masks = {
            let (filter, table) = (filter.clone(), group.small_tables());
            self.sources.run_sized(group.effort_of_traces(), move || filter.on_dimensions(&table)).await??
        };
        let mut wanted = self.traces_in_range(&group, &candidates.pruned)?;
        wanted.retain(|&trace| masks.traces.as_ref().is_none_or(|mask| mask.value(trace)));
        if masks.is_never || wanted.is_empty() {
            return Ok(());
        }
        let fetched = group.fetch(&wanted, columns).await?;
        let work = move |rows: Rows| {
            let in_range = rows.mask(&rows.runs(&wanted)?);
            let evaluation = Evaluation::new(&rows.table, &masks)?;
            let mut selection = evaluation.select(&filter)?;
            selection.spans = &selection.spans & &in_range;
            if selection.spans.count_set_bits() == 0 {
                return Ok(());
            }
            take(&Selected { rows: &rows, evaluation: &evaluation, selection })
        };
        self.sources.run_on(fetched, work).await
    }
}

impl Selected<'_> {
    /// The rows of a table that belong to the spans that count. Of events and links those count that the filter is true of.
    fn rows_of(&self, home: Home) -> Result<BooleanBuffer, Error> {
        let spans = &self.selection.spans;
        Ok(match home {
            Home::Events => {
                let all = self.evaluation.events()?.of_spans(spans);
                self.selection.events.as_ref().map_or_else(|| all.clone(), |events| &all & events)
            }
            Home::Links => {
                let all = self.evaluation.links()?.of_spans(spans);
                self.selection.links.as_ref().map_or_else(|| all.clone(), |links| &all & links)
            }
            Home::Resources | Home::Scopes | Home::Traces => self.evaluation.referred_rows(home, spans)?,
            _ => spans.clone(),
        })
    }
}

/// What a request's `q` asks for; without one, everything.
fn filter_of(query: Option<&str>, budget: &Budget) -> Result<TagFilter, Error> {
    let Some(query) = query else { return Ok(TagFilter::All) };
    let most = budget.limits().max_condition_groups;
    Ok(parse_tag_filter(query, if most == 0 { usize::MAX } else { saturated(most) })?)
}

/// Bytes of names or values in an answer.
fn max_bytes(budget: &Budget) -> usize {
    saturated(budget.limits().max_bytes_per_tag_answer)
}

fn saturated(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
