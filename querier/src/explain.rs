//! What a query would read and what it would leave out, without running it: for an operator who asks why one is slow.
//!
//! It asks what a query asks before it reads columns: the time ranges of the sources, their indexes, their small tables.
//! A search may read less, because it ends when its newest results are certain; a query that looks at traces as a whole
//! may read more, of those that lie in several sources.

use std::sync::Arc;

use model::{BlockId, TimeRange};
use serde::Serialize;
use storage::CpuPool;
use storage::source::{Projection, Source};
use traceql::{Condition, Conditions, Query};

use crate::engine::candidates::candidates;
use crate::engine::matcher::Matcher;
use crate::engine::plan;
use crate::engine::prune::Pruned;
use crate::engine::scan::OpenSource;
use crate::error::Error;
use crate::metrics::MetricsQuery;
use crate::shown::Shown;

/// What a query would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The query as it is understood.
    pub query: String,
    /// What the index of each source is asked, for each filter of the query: all of these hold for a span that it keeps.
    /// A filter without conditions asks nothing.
    pub conditions: Vec<Vec<String>>,
    /// Whether traces that lie in several sources are put together before they are looked at.
    pub needs_whole_traces: bool,
    /// Which columns of `spans` are read one after the other, each for what the steps before left.
    pub steps: Vec<Step>,
    /// Newest first, as they are looked at.
    pub sources: Vec<SourcePlan>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub purpose: &'static str,
    /// Columns of attributes are named `span.<key>`.
    pub columns: Vec<String>,
}

/// What a query would do with one source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourcePlan {
    pub block_id: BlockId,
    pub start_nanos: u64,
    pub end_nanos: u64,
    pub spans: usize,
    pub bytes: u64,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How far a query gets with a source.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// No span of the source lies in the range.
    OutsideRange,
    /// By its index nothing matches: the source is not opened.
    NothingByIndex,
    /// These are what is left to read.
    Read(Read),
    /// The source is left out, and the answer says that it is partial.
    Unreadable { reason: String },
}

/// What a query would read of a source.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Read {
    pub traces: usize,
    /// Traces that the index leaves.
    pub by_index: usize,
    /// Of these, traces that the small tables and the range leave.
    pub left: usize,
    pub left_spans: usize,
    pub row_groups: usize,
    pub left_row_groups: usize,
}

/// Explains a search, or a metrics query, in TraceQL.
///
/// # Errors
/// [`Error::Query`] when it is not TraceQL; others when a source cannot be read for now.
pub async fn explain(
    sources: Vec<Arc<dyn Source>>,
    query: &str,
    range: TimeRange,
    cpu: &CpuPool,
) -> Result<Explanation, Error> {
    let query = traceql::parse(query)?;
    let matcher = Arc::new(Matcher::of(&query)?);
    let (last_step, needs_whole_traces) = last_step(&query, &matcher)?;
    let mut steps = finder_steps(&matcher);
    steps.push(last_step);
    let conditions = matcher.conditions();
    let mut plans = Vec::new();
    for source in plan::newest_first(sources) {
        let outcome = match plan_source(&source, &matcher, &conditions, &range, cpu).await {
            Err(error) if error.is_of_one_source() => Outcome::Unreadable { reason: error.to_string() },
            outcome => outcome?,
        };
        let TimeRange { start_nanos, end_nanos } = source.time_range();
        let (block_id, spans, bytes) = (source.block_id(), source.span_count(), source.size_bytes());
        plans.push(SourcePlan { block_id, start_nanos, end_nanos, spans, bytes, outcome });
    }
    Ok(Explanation {
        query: query.to_string(),
        conditions: conditions.iter().map(conditions_in_words).collect(),
        needs_whole_traces,
        steps,
        sources: plans,
    })
}

async fn plan_source(
    source: &Arc<dyn Source>,
    matcher: &Arc<Matcher>,
    conditions: &[Conditions],
    range: &TimeRange,
    cpu: &CpuPool,
) -> Result<Outcome, Error> {
    if !source.time_range().overlaps(range) {
        return Ok(Outcome::OutsideRange);
    }
    let pruned = Pruned::ask(source.as_ref(), conditions).await?;
    if pruned.leaves_nothing(matcher) {
        return Ok(Outcome::NothingByIndex);
    }
    let source = OpenSource::open(source.clone()).await?;
    let row_groups = source.dimensions.row_groups.len();
    let mut read = Read { row_groups, ..Read::default() };
    for number in 0..row_groups {
        let traces = source.row_group(number).traces.clone();
        let by_index = pruned.traces_of(matcher, &traces).map_or(traces.len(), |mask| mask.count_set_bits());
        read.traces += traces.len();
        read.by_index += by_index;
        if by_index == 0 || !source.row_group(number).time_range.overlaps(range) {
            continue;
        }
        let group = source.group(number).await?;
        let (_, left) = cpu.run(candidates(&group, matcher, &pruned, range, 0)).await??;
        let view = group.traces()?;
        read.left += left.len();
        read.left_spans += left.iter().map(|&trace| view.span_rows(trace).len()).sum::<usize>();
        read.left_row_groups += usize::from(!left.is_empty());
    }
    Ok(Outcome::Read(read))
}

/// What is read to find matches.
fn finder_steps(matcher: &Matcher) -> Vec<Step> {
    if matcher.decides_whole_traces() {
        return Vec::new(); // the small tables say it all
    }
    let first = matcher.first_projection().map(|columns| Step::new("filter", &columns));
    let purpose = if first.is_some() { "evaluate" } else { "filter" };
    first.into_iter().chain([Step::new(purpose, &matcher.projection())]).collect()
}

/// What is read of matches, and whether their traces are put together before.
fn last_step(query: &Query, matcher: &Matcher) -> Result<(Step, bool), Error> {
    if query.metrics.is_none() {
        let shown = Shown::of(&query.pipeline)?;
        return Ok((Step::new("show", &shown.projection()), matcher.needs_whole_traces()));
    }
    let metrics = MetricsQuery::of(query)?;
    Ok((Step::new("measure", &metrics.aggregator.projection()), metrics.needs_whole_traces()))
}

impl Step {
    fn new(purpose: &'static str, columns: &Projection) -> Self {
        let attributes = columns.attributes.iter().map(|key| format!("span.{key}"));
        Self { purpose, columns: columns.columns.iter().map(|name| (*name).to_owned()).chain(attributes).collect() }
    }
}

fn conditions_in_words(conditions: &Conditions) -> Vec<String> {
    let word = |condition: &Condition| format!("{} {} {}", condition.field, condition.op, condition.value);
    let alone = conditions.all.iter().map(word);
    let groups = conditions.any.iter().map(|group| match group.is_empty() {
        true => "false".to_owned(),
        false => group.iter().map(word).collect::<Vec<_>>().join(" || "),
    });
    alone.chain(groups).collect()
}

#[cfg(test)]
mod tests {
    use storage::index::Limits;

    use super::*;
    use crate::testing::{Damaged, START, attributes, indexed_block, int, service, span, table};

    /// A block of two traces, each a page of its own; `START` is when the first begins.
    async fn block() -> Arc<dyn Source> {
        let spans = [1, 2].map(|trace| {
            let mut span = span(trace, 1, 0, "op", u64::from(trace) * 1000, 10);
            span.attributes = attributes(&[("n", int(i64::from(trace)))]);
            span
        });
        let limits = Limits { page_spans: 1, ..Limits::default() };
        Arc::new(indexed_block(&table(vec![service("shop", spans.into())]), limits).await)
    }

    async fn explained(query: &str, range: TimeRange) -> Explanation {
        explain(vec![block().await], query, range, &CpuPool::new(1)).await.unwrap()
    }

    fn left(traces: usize, by_index: usize, left: usize) -> Outcome {
        let (row_groups, left_row_groups) = (1, left.min(1));
        Outcome::Read(Read { traces, by_index, left, left_spans: left, row_groups, left_row_groups })
    }

    #[tokio::test]
    async fn each_way_to_leave_something_out_is_named() {
        let outcome = async |query: &str, range| explained(query, range).await.sources[0].outcome.clone();
        assert_eq!(outcome("{ }", TimeRange::ALL).await, left(2, 2, 2));
        assert_eq!(outcome("{ }", TimeRange::new(0, START)).await, Outcome::OutsideRange);
        assert_eq!(outcome("{ span.n = 3 }", TimeRange::ALL).await, Outcome::NothingByIndex);
        assert_eq!(outcome("{ span.n = 2 }", TimeRange::ALL).await, left(2, 1, 1));
        let first_only = TimeRange::new(START, START + 1_100_000_000);
        assert_eq!(outcome("{ }", first_only).await, left(2, 2, 1));
        let damaged: Arc<dyn Source> = Arc::new(Damaged);
        let explanation = explain(vec![damaged], "{ }", TimeRange::ALL, &CpuPool::new(1)).await.unwrap();
        assert!(
            matches!(&explanation.sources[0].outcome, Outcome::Unreadable { reason } if reason.contains("damaged"))
        );
    }

    #[tokio::test]
    async fn columns_are_named_in_the_order_in_which_they_are_read() {
        let steps = async |query: &str| {
            let steps = explained(query, TimeRange::ALL).await.steps;
            let step = |step: Step| format!("{}: {}", step.purpose, step.columns.join(" "));
            steps.into_iter().map(step).collect::<Vec<_>>()
        };
        let show = "show: duration_nanos span_id start_offset_nanos span.n";
        assert_eq!(steps("{ span.n = 2 }").await, ["filter: span.n", show]);
        let two_steps = steps("{ span.n > 1 } >> { name = `op` }").await;
        assert_eq!(two_steps.len(), 3, "{two_steps:?}");
        assert!(two_steps[0].starts_with("filter: ") && two_steps[1].starts_with("evaluate: "), "{two_steps:?}");
        assert_eq!(steps("{ } | rate()").await.last().unwrap(), "measure: start_offset_nanos trace");
    }

    #[tokio::test]
    async fn what_the_index_is_asked_is_told() {
        let explanation = explained("{ span.n = 2 && (name = `a` || name = `b`) }", TimeRange::ALL).await;
        assert_eq!(explanation.conditions, [["span.n = 2", "name = `a` || name = `b`"]]);
        assert!(!explanation.needs_whole_traces);
        assert!(explained("{ traceDuration > 1s }", TimeRange::ALL).await.needs_whole_traces);
        let not_traceql = explain(Vec::new(), "{ span.n = ", TimeRange::ALL, &CpuPool::new(1)).await.unwrap_err();
        assert!(not_traceql.as_query_error().is_some());
    }
}
