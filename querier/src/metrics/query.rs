//! A metrics query made ready: which spans it is about, what is measured of them, and what is done with the result.

use std::sync::Arc;

use model::TimeRange;
use spans::SpanTable;
use storage::source::Projection;
use traceql::{Field, MetricsFunction, Query, SecondStage, Static};

use super::compare::{CompareMeter, CompareTally};
use super::intervals::Intervals;
use super::meter::{Finish, SeriesMeter, SeriesTally};
use crate::answer::Series;
use crate::cancellation::Cancellation;
use crate::error::Error;
use crate::finder::Finder;
use crate::search::Shown;
use crate::selection::SelectedSpans;
use crate::series::Fold;

/// What a metrics query computes.
#[derive(Debug)]
pub(crate) struct MetricsQuery {
    pub finder: Arc<Finder>,
    pub meter: Meter,
    pub second_stages: Vec<SecondStage>,
    /// What exemplars say of their spans.
    pub labels: Arc<Shown>,
}

/// What is measured of spans.
#[derive(Debug)]
pub(crate) enum Meter {
    Series(SeriesMeter),
    Compare(CompareMeter),
}

/// What was measured of some spans.
#[derive(Debug)]
pub(crate) enum Tally {
    Series(SeriesTally),
    Compare(CompareTally),
}

/// What measuring may take.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Most numbers that are held: series times intervals.
    pub max_samples: usize,
    /// Most exemplars in the answer.
    pub max_exemplars: usize,
    /// What they say of their spans.
    pub exemplar_labels: Arc<Shown>,
    /// Ends measuring when nobody waits for it any more.
    pub cancellation: Cancellation,
}

impl MetricsQuery {
    /// # Errors
    /// [`Error::Query`] for a query without a metrics part.
    pub fn of(query: &Query) -> Result<Self, Error> {
        let metrics = query.require_metrics()?;
        let series = |fold, value: Option<&Field>, finish| {
            SeriesMeter::compile(fold, value, &metrics.by, finish).map(Meter::Series)
        };
        let named = |name| Finish::Named(name);
        let meter = match &metrics.function {
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
                Meter::Compare(CompareMeter::compile(selection, *top, *window)?)
            }
        };
        let finder = Arc::new(Finder::of(query)?);
        let besides = metrics.by.iter().chain(metrics.function.field());
        let labels = Arc::new(Shown::by_exemplars(&query.pipeline, besides)?);
        Ok(Self { finder, meter, second_stages: metrics.second_stages.clone(), labels })
    }

    /// The columns of `spans` that are measured, and those that exemplars show if there are any.
    pub fn projection(&self, limits: &Limits) -> Projection {
        let mut projection = self.meter.projection();
        if limits.max_exemplars > 0 {
            projection.merge(&self.labels.values_projection());
        }
        projection
    }

    /// Whether traces must be put together before their spans are found and measured.
    pub fn needs_whole_traces(&self) -> bool {
        self.finder.needs_whole_traces() || self.meter.needs_whole_traces()
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

impl Meter {
    fn needs_whole_traces(&self) -> bool {
        match self {
            Self::Series(meter) => meter.field_use().needs_whole_traces(),
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

    /// Whether spans can only be measured when all spans of their trace were read.
    pub fn needs_whole_runs(&self) -> bool {
        match self {
            Self::Series(meter) => meter.field_use().needs_whole_runs(),
            Self::Compare(meter) => meter.needs_whole_runs(),
        }
    }

    /// The columns of `spans` that [`measure`](Self::measure) reads.
    pub fn projection(&self) -> Projection {
        match self {
            Self::Series(meter) => meter.projection(),
            Self::Compare(meter) => meter.projection(),
        }
    }

    /// Nothing measured yet.
    pub fn nothing(&self, intervals: &Intervals, limits: &Limits) -> Tally {
        match self {
            Self::Series(meter) => Tally::Series(meter.nothing(intervals, limits)),
            Self::Compare(_) => Tally::Compare(CompareTally::new(intervals, limits)),
        }
    }

    /// Measures spans of a batch.
    ///
    /// # Errors
    /// [`Error::Cancelled`] soon after `limits.cancellation` says that nobody waits any more.
    pub fn measure(
        &self,
        table: &SpanTable,
        spans: &SelectedSpans,
        intervals: &Intervals,
        limits: &Limits,
    ) -> Result<Tally, Error> {
        limits.cancellation.count_work(table.span_count())?;
        Ok(match self {
            Self::Series(meter) => Tally::Series(meter.measure(table, spans, intervals, limits)?),
            Self::Compare(meter) => Tally::Compare(meter.measure(table, spans, intervals, limits)?),
        })
    }

    /// The series of the answer, in no order.
    pub fn finish(&self, tally: Tally, intervals: &Intervals) -> Vec<Series> {
        match (self, tally) {
            (Self::Series(meter), Tally::Series(tally)) => meter.finish(tally, intervals),
            (Self::Compare(meter), Tally::Compare(tally)) => meter.finish(tally),
            _ => unreachable!("a tally comes from the meter that finishes it"),
        }
    }
}

impl Tally {
    /// Adds what was measured of other spans by the same meter; its first interval is that of this number here. What
    /// is compared is always measured over all intervals.
    pub fn merge(&mut self, other: Self, first_interval: usize) -> Result<(), Error> {
        match (self, other) {
            (Self::Series(tally), Self::Series(other)) => tally.merge(other, first_interval),
            (Self::Compare(tally), Self::Compare(other)) if first_interval == 0 => tally.merge(other),
            _ => unreachable!("both tallies come from one meter"),
        }
    }

    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Series(tally) => tally.memory_bytes(),
            Self::Compare(tally) => tally.memory_bytes(),
        }
    }
}
