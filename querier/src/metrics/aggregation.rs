//! Aggregation alone, without sources and without a driver: what benches measure.

use spans::SpanTable;
use storage::source::Projection;
use traceql::Query;

use super::measured::MeasuredRows;
use super::query::MetricsQuery;
use crate::cancellation::Cancellation;
use crate::engine::selection::SelectedSpans;
use crate::error::Error;
use crate::intervals::Intervals;
use crate::metrics::limits::Limits;

/// A metrics query of which every span counts, whatever its filter says.
pub struct Aggregation {
    query: MetricsQuery,
    intervals: Intervals,
    limits: Limits,
}

impl Aggregation {
    /// # Errors
    /// [`Error::Query`] for a query without a metrics part.
    pub fn of(query: &Query, intervals: Intervals, max_exemplars: usize) -> Result<Self, Error> {
        let query = MetricsQuery::of(query)?;
        let (exemplar_labels, cancellation) = (query.labels.clone(), Cancellation::default());
        let limits = Limits { max_samples: usize::MAX, max_exemplars, exemplar_labels, cancellation };
        Ok(Self { query, intervals, limits })
    }

    /// The columns of `spans` that it reads.
    pub fn projection(&self) -> Projection {
        self.query.projection(&self.limits)
    }

    /// Aggregates batches one after another, and returns how many series they make.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a table of another shape.
    pub fn run(&self, batches: &[SpanTable]) -> Result<usize, Error> {
        let aggregator = &self.query.aggregator;
        let mut all = aggregator.nothing(&self.intervals, &self.limits);
        for table in batches {
            let rows = MeasuredRows::read(table, &SelectedSpans::All);
            all.merge(aggregator.measure(&rows, &self.intervals, &self.limits)?, 0)?;
        }
        Ok(aggregator.finish(all, &self.intervals).0.len())
    }
}
