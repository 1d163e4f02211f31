//! A metrics query made ready: which spans it is about, what is measured of them, and what is done with the result.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::TimeRange;
use spans::schema::{AttributeColumn, column};
use storage::coded::Coding;
use storage::source::Projection;
use traceql::{Field, MetricsFunction, Query, SecondStage, Static};

use super::aggregator::SeriesAggregator;
use super::by_trace::CountsByTrace;
use super::compare::{ComparisonAggregator, PartialComparison};
use super::finish::UnreadSpan;
use super::limits::Limits;
use super::measured::MeasuredRows;
use super::rolled_up::is_told_by_rollups;
use super::weights;
use crate::answer::Series;
use crate::engine::matcher::Matcher;
use crate::error::Error;
use crate::intervals::Intervals;
use crate::metrics::finish::Finish;
use crate::metrics::partial_series::PartialSeries;
use crate::series::Fold;
use crate::shown::Shown;

/// What a metrics query computes.
#[derive(Debug)]
pub(crate) struct MetricsQuery {
    pub matcher: Arc<Matcher>,
    pub aggregator: Aggregator,
    /// What counts spans without reading them, where that can be done.
    pub by_trace: Option<CountsByTrace>,
    /// Whether row groups are counted by what blocks say of them.
    pub is_rolled_up: bool,
    pub second_stages: Vec<SecondStage>,
    /// What exemplars say of their spans.
    pub labels: Arc<Shown>,
    /// Attributes that are not only counted, where the others are measured by code.
    coded_without: Option<BTreeSet<String>>,
}

/// What is measured of spans.
#[derive(Debug)]
pub(crate) enum Aggregator {
    Series(SeriesAggregator),
    Compare(ComparisonAggregator),
}

/// What was measured of some spans.
#[derive(Debug)]
pub(crate) enum PartialAggregate {
    Series(PartialSeries),
    Compare(PartialComparison),
}

impl MetricsQuery {
    /// # Errors
    /// [`Error::Query`] for a query without a metrics part.
    pub fn of(query: &Query) -> Result<Self, Error> {
        let metrics = query.require_metrics()?;
        let is_extrapolated = weights::is_extrapolated(query);
        let series = |fold, value: Option<&Field>, finish| {
            SeriesAggregator::compile(fold, value, &metrics.by, finish, is_extrapolated).map(Aggregator::Series)
        };
        let named = |name| Finish::Named(name);
        let aggregator = match &metrics.function {
            MetricsFunction::Rate => series(Fold::Count, None, Finish::Rate)?,
            MetricsFunction::CountOverTime => series(Fold::Count, None, named("count_over_time"))?,
            MetricsFunction::MinOverTime(field) => series(Fold::Min, Some(field), named("min_over_time"))?,
            MetricsFunction::MaxOverTime(field) => series(Fold::Max, Some(field), named("max_over_time"))?,
            MetricsFunction::AvgOverTime(field) => series(Fold::Average, Some(field), named("avg_over_time"))?,
            MetricsFunction::SumOverTime(field) => series(Fold::Sum, Some(field), named("sum_over_time"))?,
            MetricsFunction::HistogramOverTime(field) => series(Fold::Count, Some(field), Finish::Histogram)?,
            MetricsFunction::QuantileOverTime { field, quantiles } => {
                series(Fold::Count, Some(field), Finish::Quantiles(quantiles.clone()))?
            }
            MetricsFunction::Compare { selection, top, window } => {
                Aggregator::Compare(ComparisonAggregator::compile(selection, *top, *window, is_extrapolated)?)
            }
        };
        let matcher = Arc::new(Matcher::of(query)?);
        let besides = metrics.by.iter().chain(metrics.function.field());
        let labels = Arc::new(Shown::by_exemplars(&query.pipeline, besides)?);
        let (by_trace, is_rolled_up) = match &aggregator {
            Aggregator::Series(aggregator) => {
                (CountsByTrace::of(query, aggregator), is_told_by_rollups(query, aggregator))
            }
            Aggregator::Compare(_) => (None, false),
        };
        let coded_without = match &aggregator {
            Aggregator::Series(_) => None,
            Aggregator::Compare(aggregator) => {
                let mut looked_at = matcher.projection();
                looked_at.merge(&aggregator.selection_projection());
                (!looked_at.columns.contains(column::ATTRIBUTES)).then_some(looked_at.attributes)
            }
        };
        let second_stages = metrics.second_stages.clone();
        Ok(Self { matcher, aggregator, by_trace, is_rolled_up, second_stages, labels, coded_without })
    }

    /// The columns of `spans` that are measured, and those that exemplars show if there are any.
    pub fn projection(&self, limits: &Limits) -> Projection {
        let mut projection = self.aggregator.projection();
        if limits.max_exemplars > 0 {
            projection.merge(&self.labels.values_projection());
        }
        projection
    }

    /// How a column of an attribute is read: what is looked at row by row stands in the table.
    pub fn coding(&self, attribute: &AttributeColumn) -> Coding {
        match &self.coded_without {
            Some(others) if !others.contains(&attribute.key) => Coding::ByCode,
            _ => Coding::InBatch,
        }
    }

    /// Whether traces must be put together before their spans are found and measured.
    pub fn needs_whole_traces(&self) -> bool {
        self.matcher.needs_whole_traces() || self.aggregator.needs_whole_traces()
    }
}

/// How many exemplars a query asks for, of those it may have.
pub(crate) fn exemplars_of(query: &Query, most: usize) -> usize {
    match query.hint("exemplars") {
        Some(Static::Bool(false)) => 0,
        Some(Static::Int(number)) => usize::try_from(*number).map_or(most, |number| number.min(most)),
        _ => most,
    }
}

impl Aggregator {
    fn needs_whole_traces(&self) -> bool {
        match self {
            Self::Series(aggregator) => aggregator.field_use().needs_whole_traces(),
            Self::Compare(_) => true,
        }
    }

    /// The intervals that the times of a range fall into, if they can be measured alone, and the number of the first:
    /// what is compared is always measured over all.
    pub fn within(&self, intervals: &Intervals, range: &TimeRange) -> Option<(Intervals, usize)> {
        match self {
            Self::Series(_) => intervals.within(range),
            Self::Compare(_) => None,
        }
    }

    /// Whether parts may be merged in any order and give the same to the last digit: sums of floats do not.
    pub fn is_order_free(&self) -> bool {
        match self {
            Self::Series(aggregator) => aggregator.is_order_free(),
            Self::Compare(aggregator) => aggregator.is_order_free(),
        }
    }

    /// Whether spans can only be measured when all spans of their trace were read.
    pub fn needs_whole_runs(&self) -> bool {
        match self {
            Self::Series(aggregator) => aggregator.field_use().needs_whole_runs(),
            Self::Compare(aggregator) => aggregator.needs_whole_runs(),
        }
    }

    /// The columns of `spans` that [`measure`](Self::measure) reads.
    pub fn projection(&self) -> Projection {
        match self {
            Self::Series(aggregator) => aggregator.projection(),
            Self::Compare(aggregator) => aggregator.projection(),
        }
    }

    /// Nothing measured yet.
    pub fn nothing(&self, intervals: &Intervals, limits: &Limits) -> PartialAggregate {
        match self {
            Self::Series(aggregator) => PartialAggregate::Series(aggregator.nothing(intervals, limits)),
            Self::Compare(_) => PartialAggregate::Compare(PartialComparison::new(intervals, limits)),
        }
    }

    /// Takes note of what was measured, where that spares looking at some of what is measured next.
    pub fn note(&self, measured: &PartialAggregate) {
        if let (Self::Compare(aggregator), PartialAggregate::Compare(measured)) = (self, measured) {
            aggregator.note(measured);
        }
    }

    /// Whether spans can be measured of which it is not known when they start, but in which interval.
    pub fn needs_all_starts(&self) -> bool {
        matches!(self, Self::Compare(_))
    }

    /// Measures spans of a batch.
    ///
    /// # Errors
    /// [`Error::Cancelled`] soon after `limits.cancellation` says that nobody waits any more.
    pub fn measure(
        &self,
        rows: &MeasuredRows<'_>,
        intervals: &Intervals,
        limits: &Limits,
    ) -> Result<PartialAggregate, Error> {
        limits.cancellation.count_work(rows.table.span_count())?;
        Ok(match self {
            Self::Series(aggregator) => PartialAggregate::Series(aggregator.measure(rows, intervals, limits)?),
            Self::Compare(aggregator) => PartialAggregate::Compare(aggregator.measure(rows, intervals, limits)?),
        })
    }

    /// The series of the answer, in no order, and the exemplars among them that are still to be read.
    pub fn finish(&self, partial: PartialAggregate, intervals: &Intervals) -> (Vec<Series>, Vec<UnreadSpan>) {
        let mut unread = Vec::new();
        let series = match (self, partial) {
            (Self::Series(aggregator), PartialAggregate::Series(partial)) => {
                aggregator.finish(partial, intervals, &mut unread)
            }
            (Self::Compare(aggregator), PartialAggregate::Compare(partial)) => aggregator.finish(partial),
            _ => unreachable!("a partial comes from the aggregator that finishes it"),
        };
        (series, unread)
    }
}

impl PartialAggregate {
    /// Adds what was measured of other spans by the same meter; its first interval is that of this number here. What
    /// is compared is always measured over all intervals.
    pub fn merge(&mut self, other: Self, first_interval: usize) -> Result<(), Error> {
        match (self, other) {
            (Self::Series(partial), Self::Series(other)) => partial.merge(other, first_interval).map(drop),
            (Self::Compare(partial), Self::Compare(other)) if first_interval == 0 => partial.merge(other),
            _ => unreachable!("both partials come from one aggregator"),
        }
    }

    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Series(partial) => partial.memory_bytes(),
            Self::Compare(partial) => partial.memory_bytes(),
        }
    }
}
