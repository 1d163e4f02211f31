//! The read path of what others make of whole traces, such as the service map.
//!
//! ```text
//! compile ─▶ plan ─▶ split traces, put together ─▶ which spans match ─▶ Summarize::summarize ─▶ merge ─▶ answer
//!                    traces of each row group    ─▶ which spans match ─▶         "            ─▶   "
//! ```
//!
//! Every trace of which a span lies near the range is read as a whole, with the columns that are asked for, and is in one
//! table. What is made of it, and what of it lies in the range, is the affair of the one who sums up.

use std::sync::{Arc, Mutex};

use arrow::buffer::BooleanBuffer;
use futures::FutureExt;
use hashbrown::HashSet;
use model::TraceId;
use spans::SpanTable;
use storage::source::{Projection, Source};

use crate::answer::SummaryAnswer;
use crate::engine::Engine;
use crate::engine::budget::{Budget, Held};
use crate::engine::concurrent::try_in_order;
use crate::engine::matcher::Matcher;
use crate::engine::parts;
use crate::engine::prune::Pruned;
use crate::engine::scan::{OpenSource, Run};
use crate::engine::sources::QuerySources;
use crate::error::{Error, SummarizeError};
use crate::lock::locked;
use crate::request::SummaryRequest;

/// Sources that are read together.
const SOURCES_AT_ONCE: usize = 16;

/// Makes something of tables of whole traces.
pub trait Summarize: Send + Sync + 'static {
    type Summary: Default + Send + 'static;

    /// The columns of spans that are read; others may be empty.
    fn columns(&self) -> Projection;

    /// Of one table, and its spans that match the query; there may be traces without one. Work of some milliseconds on the CPU pool.
    ///
    /// # Errors
    /// When the table has not the shape that it should have.
    fn summarize(&self, table: &SpanTable, matches: &BooleanBuffer) -> Result<Self::Summary, SummarizeError>;

    fn merge(&self, summary: &mut Self::Summary, other: Self::Summary);

    fn memory_bytes(&self, summary: &Self::Summary) -> usize;
}

/// Sums up the traces of a consistent set of sources.
pub(crate) async fn summarize<S: Summarize>(
    engine: &Engine,
    budget: Arc<Budget>,
    sources: Vec<Arc<dyn Source>>,
    request: &SummaryRequest,
    summarize: &Arc<S>,
) -> Result<SummaryAnswer<S::Summary>, Error> {
    let matcher = Arc::new(Matcher::of(&traceql::parse(&request.query)?)?);
    let mut columns = matcher.projection();
    columns.merge(&summarize.columns());
    let summary = Mutex::new(Gathered { summary: S::Summary::default(), held: budget.hold(0)? });
    let sources = QuerySources::new(engine, budget, sources, request.range);
    let summing = Summing { sources, matcher, columns, summarize, gathered: summary };
    if !summing.matcher.is_never() {
        summing.sum_up().await?;
    }
    let (budget, summary) = (&summing.sources.budget, std::mem::take(&mut locked(&summing.gathered).summary));
    let partial = match budget.left_out() {
        0 => None,
        sources => Some(format!("{sources} blocks could not be read, a partial response is returned")),
    };
    Ok(SummaryAnswer { summary, metrics: budget.spent(), partial })
}

/// One question, while it runs.
struct Summing<'a, S: Summarize> {
    sources: QuerySources<'a>,
    matcher: Arc<Matcher>,
    columns: Projection,
    summarize: &'a Arc<S>,
    gathered: Mutex<Gathered<S::Summary>>,
}

/// What was summed up so far, and its memory.
struct Gathered<T> {
    summary: T,
    held: Held,
}

impl<S: Summarize> Summing<'_, S> {
    async fn sum_up(&self) -> Result<(), Error> {
        let split = self.sources.split_traces(&self.matcher).await?.ids;
        self.split_traces(&split).await?;
        let of_source = |(_, source): (usize, &Arc<dyn Source>)| self.source(source.clone(), &split).boxed();
        let sources = self.sources.in_range().map(of_source).collect();
        try_in_order(SOURCES_AT_ONCE, sources, |summaries: Vec<_>| {
            summaries.into_iter().try_for_each(|(summary, _held)| self.add(summary))
        })
        .await
    }

    /// Traces of which several sources have parts, some at a time.
    async fn split_traces(&self, ids: &HashSet<TraceId>) -> Result<(), Error> {
        let parts = self.sources.parts_of(ids).await?;
        let ids = parts.candidates(&self.matcher);
        for batch in parts.batches(&ids) {
            let whole = self.sources.read_whole(&parts, ids[batch].iter().copied(), &self.columns).await?;
            let work = self.work();
            let summary = self.sources.run(move || work(&whole.table)).await??;
            self.add(summary)?;
        }
        Ok(())
    }

    /// What the row groups of a source give, without the traces in `split`; a damaged source gives nothing.
    async fn source(
        &self,
        source: Arc<dyn Source>,
        split: &HashSet<TraceId>,
    ) -> Result<Vec<(S::Summary, Held)>, Error> {
        let budget = &self.sources.budget;
        let summaries = budget.if_readable(source.block_id(), self.row_groups(source.clone(), split)).await?;
        budget.count_source();
        Ok(summaries.unwrap_or_default())
    }

    async fn row_groups(
        &self,
        source: Arc<dyn Source>,
        split: &HashSet<TraceId>,
    ) -> Result<Vec<(S::Summary, Held)>, Error> {
        let pruned = &Pruned::ask(source.as_ref(), &self.matcher.conditions()).await?;
        if pruned.leaves_nothing(&self.matcher) {
            return Ok(Vec::new());
        }
        let source = &OpenSource::open(source).await?;
        let groups = pruned.newest_groups(source, &self.matcher, &self.sources.range);
        let (budget, block_id) = (&self.sources.budget, source.source.block_id());
        let of_group = |group| {
            let summary = self.row_group(source, group, pruned, split);
            async move { Ok(budget.if_readable(block_id, summary).await?.flatten()) }.boxed()
        };
        let (mut summaries, groups) = (Vec::new(), groups.into_iter().map(of_group).collect());
        try_in_order(self.sources.engine.config.max_concurrent_reads, groups, |summary| {
            summaries.extend(summary);
            Ok(())
        })
        .await?;
        Ok(summaries)
    }

    async fn row_group(
        &self,
        source: &OpenSource,
        group: usize,
        pruned: &Pruned,
        split: &HashSet<TraceId>,
    ) -> Result<Option<(S::Summary, Held)>, Error> {
        let _turn = self.sources.turn().await?;
        let group = source.group(group).await?;
        let (_, wanted) = self.sources.candidates(&group, &self.matcher, pruned, split).await?;
        if wanted.is_empty() {
            return Ok(None);
        }
        let fetched = parts::fetch_whole(&group, &wanted, &self.columns).await?;
        let (budget, work, effort) = (self.sources.budget.clone(), self.work(), fetched.effort());
        let summarize = move || work(&parts::decode_whole(fetched, &wanted, &budget)?);
        let summary = self.sources.run_sized(effort, summarize).await??;
        let held = self.sources.budget.hold(self.summarize.memory_bytes(&summary))?;
        Ok(Some((summary, held)))
    }

    /// Finds the spans of a table that match, and sums it up.
    fn work(&self) -> impl FnOnce(&SpanTable) -> Result<S::Summary, Error> + Send + 'static {
        let (matcher, summarize) = (self.matcher.clone(), self.summarize.clone());
        let cancellation = self.sources.budget.cancellation.clone();
        move |table| {
            cancellation.count_work(table.span_count())?;
            let decided = matcher.on_dimensions(table)?;
            let matches = matcher.select(table, &Run::all(table)?, &decided)?.mask(table.span_count());
            if matches.count_set_bits() == 0 {
                return Ok(S::Summary::default());
            }
            summarize.summarize(table, &matches).map_err(Error::Summarize)
        }
    }

    fn add(&self, summary: S::Summary) -> Result<(), Error> {
        let mut gathered = locked(&self.gathered);
        let Gathered { summary: all, held } = &mut *gathered;
        self.summarize.merge(all, summary);
        held.resize(self.summarize.memory_bytes(all))
    }
}

#[cfg(test)]
mod tests;
